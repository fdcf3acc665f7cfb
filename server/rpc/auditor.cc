#include "server/rpc/auditor.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "netprov/v1/host.pb.h"
#include "server/access/policy.h"
#include "server/engine/tag.h"

namespace netprov::rpc {
namespace {

using Changes = std::vector<std::pair<std::string, std::string>>;

// So much of a UUID tells processes apart.
constexpr size_t kProcessDigits = 16;

const char* NameOf(engine::Fate fate) {
  switch (fate) {
    case engine::Fate::kUnfinished:
      return "unfinished";
    case engine::Fate::kDone:
      return "done";
    case engine::Fate::kUndone:
      return "undone";
    case engine::Fate::kRolledBack:
      return "rolled_back";
    case engine::Fate::kCompleted:
      return "completed";
  }
  return "unfinished";
}

Changes ChangesOf(const std::vector<engine::TracedChange>& traced) {
  Changes changes;
  for (const engine::TracedChange& change : traced) {
    for (const std::string& object : change.objects) changes.emplace_back(object, NameOf(change.fate));
  }
  return changes;
}

// What a finding of a start says that it did without being called, as a method; null: it did nothing.
const char* ActOf(engine::Finding::Kind kind) {
  switch (kind) {
    case engine::Finding::Kind::kRolledBack:
      return "RollBack";
    case engine::Finding::Kind::kCompleted:
      return "Complete";
    case engine::Finding::Kind::kOrphanRemoved:
      return "RemoveOrphan";
    case engine::Finding::Kind::kRestored:
    case engine::Finding::Kind::kNotRestored:
      return "Restore";
    default:
      return nullptr;
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<Auditor>> Auditor::Open(const std::string& path, bool durable,
                                                       engine::Registry& registry) {
  absl::StatusOr<std::unique_ptr<audit::Log>> log = audit::Log::Open(path, durable);
  if (!log.ok()) return log.status();
  // A registry that can't be written refuses changes anyway.
  (void)registry.SetAuditLog(path);
  return std::unique_ptr<Auditor>(new Auditor(*std::move(log), registry));
}

Auditor::Auditor(std::unique_ptr<audit::Log> log, engine::Registry& registry)
    : log_(std::move(log)),
      registry_(registry),
      process_(absl::StrReplaceAll(engine::NewUid(), {{"-", ""}}).substr(0, kProcessDigits)) {}

bool Auditor::IsFor(absl::string_view method) {
  const std::optional<access::Power> power = access::PowerOf(method);
  return power != access::Power::kNothing && power != access::Power::kView;
}

std::string Auditor::NewCallId() { return absl::StrCat(process_, "-", ++calls_); }

bool Auditor::Reserve() {
  if (log_->Reserve()) return true;
  MarkWritten(log_->Retry());
  return log_->Reserve();
}

void Auditor::Write(const std::string& call_id, std::string line, bool reserved, bool durably) {
  MarkWritten(log_->Write(call_id, std::move(line), reserved, durably));
}

void Auditor::MarkWritten(const std::vector<std::string>& call_ids) {
  for (const std::string& call_id : call_ids) registry_.MarkAudited(call_id);
}

void Auditor::WriteCall(const audit::Call& call, audit::Ending ending, bool reserved, bool may_have_changed) {
  if (may_have_changed) {
    Changes changes = ChangesOf(registry_.ListTracedOf(call.id));
    for (auto& change : ending.changes) {
      const bool is_told = absl::c_any_of(changes, [&](const auto& other) { return other.first == change.first; });
      if (!is_told) changes.push_back(std::move(change));
    }
    ending.changes = std::move(changes);
  }
  Write(call.id, audit::FormatLine(absl::Now(), call, ending), reserved, may_have_changed);
}

std::vector<std::pair<std::string, std::string>> Auditor::RemovedBy(const google::protobuf::Message& answer) {
  Changes removed;
  const auto* report = dynamic_cast<const v1::HostReport*>(&answer);
  if (report == nullptr) return removed;
  for (const v1::Finding& finding : report->findings()) {
    if (finding.kind() == v1::Finding::KIND_ORPHAN_REMOVED) removed.emplace_back(finding.resource(), "removed");
  }
  return removed;
}

audit::Call Auditor::CallOfSelf(const std::string& method, const std::string& resource) {
  return {.id = NewCallId(),
          .begun = absl::Now(),
          .who = {.kind = access::Identity::Kind::kSelf, .from = "self"},
          .method = method,
          .resource = resource};
}

audit::Call Auditor::BeginChore(const engine::Chore& chore) { return CallOfSelf(chore.act, chore.object); }

void Auditor::EndChore(const audit::Call& chore, const std::vector<engine::Notice>& notices) {
  audit::Ending ending{.decision = audit::Decision::kAllowed, .duration = absl::Now() - chore.begun};
  ending.changes = ChangesOf(registry_.ListTracedOf(chore.id));
  bool is_worth_a_line = !ending.changes.empty();
  for (const engine::Notice& notice : notices) {
    const bool is_done = notice.event == "healed" || notice.event == "lease_expired";
    const bool has_failed = notice.event == "heal_failed" || notice.event == "expiry_failed";
    // What kept an object from being deleted is nothing that was done.
    is_worth_a_line |= is_done || notice.event == "heal_failed";
    if (is_done) ending.code = "OK";
    if (has_failed) ending.code = "UNKNOWN";
    if (is_done || has_failed) ending.error = notice.detail;
  }
  if (!is_worth_a_line) return;
  Write(chore.id, audit::FormatLine(absl::Now(), chore, ending), /*reserved=*/false, /*durably=*/true);
}

void Auditor::Recover(const engine::HostReport& report) {
  std::map<std::string, std::vector<engine::TracedChange>> calls;
  std::set<std::string> call_ids;
  absl::Time since = absl::Now();
  for (engine::TracedChange& change : registry_.ListTraced()) {
    call_ids.insert(change.call_id);
    since = std::min(since, audit::BeginningOf(change.origin).value_or(since));
    calls[change.call_id].push_back(std::move(change));
  }
  const std::set<std::string> written = log_->Find(call_ids, since);
  std::set<std::string> told;  // of which a line says what became of them
  for (const auto& [call_id, changes] : calls) {
    if (written.contains(call_id)) {
      registry_.MarkAudited(call_id);
    } else {
      for (const engine::TracedChange& change : changes) told.insert(change.objects.begin(), change.objects.end());
      Write(call_id, audit::FormatRecovered(absl::Now(), call_id, changes.front().origin, ChangesOf(changes)),
            /*reserved=*/false, /*durably=*/true);
    }
  }
  for (const engine::Finding& finding : report.findings) {
    const char* act = ActOf(finding.kind);
    const bool is_of_a_call =
        finding.kind == engine::Finding::Kind::kRolledBack || finding.kind == engine::Finding::Kind::kCompleted;
    if (act == nullptr || (is_of_a_call && told.contains(finding.resource))) continue;
    const audit::Call call = CallOfSelf(act, finding.resource);
    const bool is_done = finding.kind != engine::Finding::Kind::kNotRestored;
    Write(call.id,
          audit::FormatLine(absl::Now(), call,
                            {.decision = audit::Decision::kAllowed,
                             .code = is_done ? "OK" : "UNKNOWN",
                             .error = is_done ? "" : finding.detail}),
          /*reserved=*/false, /*durably=*/true);
  }
}

absl::Status Auditor::Reopen() {
  if (absl::Status opened = log_->Reopen(); !opened.ok()) return opened;
  registry_.FlushAudited();
  return absl::OkStatus();
}

std::optional<std::string> Auditor::Check() {
  MarkWritten(log_->Retry());
  return log_->Fault();
}

}  // namespace netprov::rpc
