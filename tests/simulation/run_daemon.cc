#include <unistd.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "server/engine/engine.h"
#include "server/engine/registry.h"
#include "tests/simulation/history.h"
#include "tests/simulation/model.h"
#include "tests/simulation/registry_faults.h"
#include "tests/simulation/run.h"
#include "tests/simulation/turns.h"

namespace netprov::simulation {

using engine::Engine;
using engine::Finding;
using engine::Registry;

void Simulation::Open() {
  auto registry = Registry::Open(path_);
  if (!registry.ok()) Break(absl::StrCat("the registry cannot be opened: ", registry.error().message));
  registry_ = *std::move(registry);
  engine_ = std::make_unique<Engine>(kernel_, *registry_, options_.clock(now_));
}

void Simulation::Close() {
  engine_.reset();
  registry_.reset();
}

void Simulation::Start(bool troubled) {
  constexpr int kMostAttempts = 4;
  int attempts = 0;
  disturbed_ = false;
  engine::HostReport last;
  for (int attempt = 1;; ++attempt) {
    armed_ = false;
    Open();
    armed_ = troubled && attempt < kMostAttempts;
    attempts = attempt;
    bool recovered = false;
    std::string why = "killed";
    try {
      auto report = engine_->Recover();
      if (report.ok()) {
        // What it could not do, it says.
        recovered = report->Count(Finding::Kind::kUnfinished) == 0 && report->Count(Finding::Kind::kOrphan) == 0 &&
                    registry_->ListPending().empty();
        last = *report;
        Log(absl::StrCat("start: ", report->Count(Finding::Kind::kRolledBack), " rolled back, ",
                         report->Count(Finding::Kind::kCompleted), " completed, ",
                         report->Count(Finding::Kind::kOrphanRemoved), " orphans removed"));
        why = "something is unfinished";
      } else {
        why = report.error().message;
      }
    } catch (const netprov::simulation::Crash&) {
    }
    armed_ = false;
    recovered = recovered && !dead_;
    if (recovered) break;
    Log(absl::StrCat("start: failed, ", why));
    Count("recovery failed");
    if (attempt == kMostAttempts) Break(absl::StrCat("recovery fails by itself: ", why));
    if (dead_) {
      const std::string copy = absl::StrCat(options_.directory, "/netprov-simulation-", ::getpid(), "-", ++generation_);
      CopyDatabase(path_, copy);
      Close();
      for (const char* suffix : {"", "-wal"}) ::unlink(absl::StrCat(path_, suffix).c_str());
      path_ = copy;
      dead_ = false;
    } else {
      Close();
    }
  }
  Recovered(last, disturbed_, attempts == 1);
  for (Config& config : configs_) HearAll(config.state);
  if (!disturbed_) Compare(last);
  if (!registry_->ListPending().empty()) Break("something is pending after a recovery that succeeded");
  Look();
  armed_ = true;
}

void Simulation::Recovered(const engine::HostReport& report, bool disturbed, bool is_first) {
  std::map<std::string, bool> restored;
  for (const Finding& finding : report.findings) {
    if (finding.kind == Finding::Kind::kRestored || finding.kind == Finding::Kind::kNotRestored) {
      restored[finding.resource] = finding.kind == Finding::Kind::kRestored;
      Count(absl::StrCat(report.at_start ? "" : "check: ", restored[finding.resource] ? "restored: " : "not restored: ",
                         Collection(finding.resource)));
    }
  }
  std::vector<Config> recovered;
  for (Config& config : configs_) {
    Recover(config.state);
    for (State& state : Restore(config.state, restored, disturbed, is_first)) {
      AddNew({.state = std::move(state), .effective = {}, .progress = {}}, recovered);
    }
  }
  if (recovered.empty()) {
    std::string text;
    for (const auto& [name, was] : restored) absl::StrAppend(&text, " ", name, was ? " restored" : " not restored");
    Break(absl::StrCat("a report must not say", text, "\n", Describe(configs_)));
  }
  configs_ = std::move(recovered);
}

void Simulation::Check(bool look_only) {
  Drain();
  const bool was_armed = std::exchange(armed_, false);
  const int pending = static_cast<int>(registry_->ListPending().size());
  auto report = engine_->CheckHost(engine_->PlanCheck(look_only));
  if (!report.ok()) Break(absl::StrCat("the host cannot be checked: ", report.error().message));
  const int unfinished = report->Count(Finding::Kind::kUnfinished);
  const int finished = report->Count(Finding::Kind::kRolledBack) + report->Count(Finding::Kind::kCompleted);
  const int left = static_cast<int>(registry_->ListPending().size());
  Log(absl::StrCat("check", look_only ? ", look only" : "", ": ", unfinished, " unfinished, ", finished, " finished"));
  Count(look_only ? "check, look only" : "check");
  if (unfinished > 0) Count("check: found something unfinished");
  if (finished > 0) Count("check: finished something");
  // Of what is in the registry, nothing is passed over.
  if (unfinished != (look_only ? pending : 0) || finished != (look_only ? 0 : pending) ||
      left != (look_only ? pending : 0)) {
    Break(absl::StrCat("a check must not find ", unfinished, " unfinished and finish ", finished, " of ", pending));
  }
  if (!look_only) {
    if (report->Count(Finding::Kind::kOrphan) > 0) Break("a check leaves an orphan, though nothing fails");
    Recovered(*report, /*disturbed=*/false, /*is_first=*/true);
  }
  if (left == 0) Compare(*report);
  Look();
  armed_ = was_armed;
}

void Simulation::Advance(absl::Duration time) {
  Drain();
  Log(absl::StrCat("time: ", absl::FormatDuration(time)));
  Count("time passes");
  now_ += time;
  for (Config& config : configs_) config.state.now = now_;
  // Each uid is known from here on, so that what has expired is known too.
  Look();
}

void Simulation::Renew(const std::string& owner) {
  std::vector<Config> closed;
  for (const Config& config : configs_) Close(config, /*dies=*/false, closed);
  const engine::LeaseBook::Renewal renewal = engine_->RenewLease(owner);
  Log(absl::StrCat("renew: ", owner, ", ", renewal.leases, " leases"));
  Count(renewal.leases > 0 ? "renewed" : "renewed nothing");
  configs_.clear();
  for (Config& config : closed) {
    // A call that is under way may have begun or claimed a lease, and fail.
    if (flights_.empty() && !MatchesRenewal(renewal, owner, config.state)) continue;
    Hear(owner, config.state);
    AddNew(std::move(config), configs_);
  }
  if (configs_.empty()) Break(absl::StrCat(owner, " must not have ", renewal.leases, " leases"));
}

void Simulation::Expire() {
  std::vector<engine::LeaseBook::Lease> expired = engine_->leases().Expired();
  // They come by uid, which is another one each time.
  std::sort(expired.begin(), expired.end(), [](const auto& a, const auto& b) { return a.object < b.object; });
  for (const engine::LeaseBook::Lease& lease : expired) {
    // One object is in one chore at a time.
    const bool is_busy = std::any_of(flights_.begin(), flights_.end(), [&](const auto& flight) {
      return flight.second.call.method == Call::Method::kExpire && flight.second.call.object.uid == lease.uid;
    });
    if (is_busy) continue;
    // As if each came in its turn.
    events_.push_front({.kind = Event::Kind::kCall,
                        .call = {.method = Call::Method::kExpire, .object = {.name = lease.object, .uid = lease.uid}},
                        .act = {}});
  }
}

void Simulation::Tend() {
  auto tend = [&](const std::string& name, const std::string& uid, const engine::Metadata& metadata) {
    if (!metadata.self_heal && !history_.OneIn(4)) return;
    events_.push_front({.kind = Event::Kind::kCall,
                        .call = {.method = Call::Method::kTend, .object = {.name = name, .uid = uid}},
                        .act = {}});
  };
  for (const auto& record : registry_->ListVeths("", SIZE_MAX)) {
    tend(engine::VethName(record.id), record.uid, record.metadata);
  }
  for (const auto& record : registry_->ListDevices()) tend(record.name, record.uid, record.metadata);
  for (const auto& record : registry_->ListNamespaces()) {
    tend(engine::NamespaceName(record.id), record.uid, record.metadata);
  }
}

void Simulation::Compare(const engine::HostReport& report) {
  std::map<std::string, Presence> found;
  for (const Finding& finding : report.findings) {
    if (finding.kind == Finding::Kind::kMissing) found[finding.resource] = Presence::kMissing;
    if (finding.kind == Finding::Kind::kDegraded) found[finding.resource] = Presence::kDegraded;
  }
  std::erase_if(configs_, [&](const Config& config) {
    return !MatchesUnwell(found, config.state) ||
           config.state.namespaces.size() + config.state.veths.size() + config.state.devices.size() !=
               static_cast<size_t>(report.objects);
  });
  if (!configs_.empty()) return;
  std::string text;
  for (const auto& [name, presence] : found) {
    absl::StrAppend(&text, " ", name, presence == Presence::kMissing ? " missing" : " degraded");
  }
  Break(absl::StrCat("of ", report.objects, " objects a look must not find", text));
}

void Simulation::Stop() {
  Drain();
  Log("the daemon stops");
  Count("stop");
  Close();
  Start(/*troubled=*/true);
}

void Simulation::Crash(bool reboot) {
  Log(reboot ? "the host reboots" : "the daemon is killed");
  Count(reboot ? "reboot" : "crash");
  dead_ = true;
  armed_ = false;
  // The other threads die where they are.
  for (auto& [number, flight] : flights_) {
    if (flight.turn != nullptr && !flight.turn->ended()) flight.turn->Kill();
  }
  dead_ = false;
  const std::string copy = absl::StrCat(options_.directory, "/netprov-simulation-", ::getpid(), "-", ++generation_);
  CopyDatabase(path_, copy);
  Close();
  for (const char* suffix : {"", "-wal"}) ::unlink(absl::StrCat(path_, suffix).c_str());
  path_ = copy;

  std::vector<Config> closed;
  for (const Config& config : configs_) Close(config, /*dies=*/true, closed);
  // A deletion that nothing disturbed is not begun or finished, together with the answer to its request id; but where
  // something older is unfinished, recovery finishes that first.
  std::erase_if(closed, [this](const Config& config) {
    return std::any_of(config.effective.begin(), config.effective.end(), [&](const auto& effective) {
      const Flight& flight = flights_.at(effective.first);
      const Outcome::Kind kind = effective.second.first;
      if (!flight.call.deletes() && flight.call.method != Call::Method::kExpire) return false;
      const bool is_first = config.state.unfinished.size() == 1;
      return (kind == Outcome::Kind::kIntentStays && !flight.registry_failed && is_first) ||
             (kind == Outcome::Kind::kRollbackFailed && !flight.disturbed);
    });
  });
  // A pair that somebody renamed while it was made may have been recorded under either name.
  for (size_t i = 0, known = closed.size(); i < known; ++i) {
    for (auto& [number, effective] : std::map(closed[i].effective)) {
      Config adopted = closed[i];
      AdoptNames(flights_.at(number).call, nullptr, effective.second, adopted.state);
      AddNew(std::move(adopted), closed);
    }
  }
  // A client whose answer was lost asks again.
  for (const auto& [number, flight] : flights_) {
    if (flight.call.reads() || flight.call.is_chore() || !history_.OneIn(2)) continue;
    events_.push_front({.kind = Event::Kind::kCall, .call = flight.call, .act = {}});
  }
  configs_.clear();
  flights_.clear();
  lines_.clear();
  for (Config& config : closed) {
    config.effective.clear();
    config.progress.clear();
    if (reboot) Reboot(config.state);
    AddNew(std::move(config), configs_);
  }
  if (reboot) {
    world_.Reboot();
    pids_.clear();
  }
  Start(/*troubled=*/true);
}

}  // namespace netprov::simulation
