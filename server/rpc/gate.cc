#include "server/rpc/gate.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "google/protobuf/descriptor.h"
#include "server/api/errors.h"
#include "server/api/needs.h"
#include "server/api/request.h"
#include "server/api/resource_name.h"
#include "server/base/boot_time.h"

namespace netprov::rpc {
namespace {

using access::Demand;
using access::Identity;
using access::Labels;
using access::Policy;
using access::Right;
using access::Verdict;
using google::protobuf::FieldDescriptor;

// Says which labels the resource would have to have, and not which it has, nor whether it is there.
absl::Status Denied(const Policy& policy, const Identity& caller, const Demand& demand) {
  if (demand.right.has_value()) {
    return api::AccessDenied(caller.Name(), demand.method, /*resource=*/"", access::NameOf(*demand.right),
                             /*labels=*/"");
  }
  std::vector<std::string> alternatives;
  for (const Labels& labels : policy.LabelsThatAllow(caller, demand)) {
    alternatives.push_back(absl::StrJoin(labels, ",", absl::PairFormatter("=")));
  }
  return api::AccessDenied(caller.Name(), demand.method, demand.resource, /*right=*/"",
                           absl::StrJoin(alternatives, " or "));
}

// What is left of a call's needs once all was decided that can be by the request alone.
struct Rest {
  std::vector<api::Need> up_to_labels;
  std::vector<Right> missing;  // rights that the caller lacks and the object that is changed may need
  std::string changes;
  std::string method;
  std::string request_id;
};

// What the registry knows of a resource by its name in the API.
std::optional<engine::ObjectFacts> FactsOf(const engine::Engine& engine, const std::string& resource) {
  if (!absl::StartsWith(resource, "namespaces/")) return engine.FactsOf(resource);
  // An id of somebody else's is percent-encoded in its name.
  const auto id = api::ParseNamespaceName(resource);
  return id.ok() ? engine.FactsOf(absl::StrCat("namespaces/", *id)) : std::nullopt;
}

bool IsNeeded(Right right, const engine::ObjectFacts& facts) {
  switch (right) {
    case Right::kHost:
      return facts.is_at_host;
    case Right::kPath:
      return facts.has_path;
    case Right::kPid:
      return facts.has_pid;
  }
  return true;
}

engine::Quota ToQuota(const access::ObjectLimits& limits) {
  return {.namespaces = limits.namespaces,
          .links = limits.links,
          .addresses = limits.addresses,
          .routes = limits.routes,
          .nat_elements = limits.nat_elements};
}

engine::Allowance AllowanceFor(const Policy& policy, const Identity& caller) {
  if (access::IsOfTheHost(caller)) return {};
  return {.own = ToQuota(policy.ObjectLimitsFor(caller)), .total = ToQuota(policy.total())};
}

absl::Status DecideLater(const engine::Engine& engine, const Policy& policy, const Identity& caller, const Rest& rest) {
  for (const api::Need& need : rest.up_to_labels) {
    const std::optional<engine::ObjectFacts> facts = FactsOf(engine, need.demand.resource);
    // A resource that is not there has no labels; whoever may see only some does not learn which are.
    static const Labels none;
    const Labels* labels = facts.has_value() ? &facts->labels : need.labels.has_value() ? &*need.labels : &none;
    // What it has been deleted by may be asked for again: the engine answers as it did then, or refuses.
    const bool may_be_repeat = !facts.has_value() && need.demand.resource == rest.changes;
    if (may_be_repeat && engine.IsAnswered(rest.request_id)) continue;
    if (policy.Decide(caller, need.demand, labels) != Verdict::kAllowed) return Denied(policy, caller, need.demand);
  }
  if (rest.missing.empty()) return absl::OkStatus();
  const std::optional<engine::ObjectFacts> facts = FactsOf(engine, rest.changes);
  if (!facts.has_value()) return absl::OkStatus();
  for (const Right right : rest.missing) {
    if (IsNeeded(right, *facts)) return Denied(policy, caller, {.method = rest.method, .right = right});
  }
  return absl::OkStatus();
}

}  // namespace

Gate::Gate(const engine::Engine& engine, Policy policy)
    : engine_(engine), policy_(std::make_shared<const Policy>(std::move(policy))) {}

void Gate::SetPolicy(Policy policy) {
  auto next = std::make_shared<const Policy>(std::move(policy));
  std::lock_guard<std::mutex> lock(mutex_);
  policy_ = std::move(next);
}

std::shared_ptr<const Policy> Gate::policy() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return policy_;
}

Gate::Entry Gate::Check(const std::shared_ptr<const Identity>& caller, absl::string_view method,
                        google::protobuf::Message& request) const {
  const std::shared_ptr<const Policy> policy = this->policy();
  Entry entry{.allowance = AllowanceFor(*policy, *caller)};
  if (policy->IsUnrestricted(*caller)) return entry;
  api::Needs needs = api::NeedsOf(method, request);
  Rest rest{.changes = needs.changes, .method = std::string(method), .request_id = api::Summarize(request).request_id};
  for (api::Need& need : needs.all) {
    const Verdict verdict = policy->Decide(*caller, need.demand, nullptr);
    if (verdict == Verdict::kDenied) return {.status = Denied(*policy, *caller, need.demand)};
    if (verdict == Verdict::kAllowed) continue;
    // It is up to labels: those that it will have, and those that it has.
    const bool is_as_asked_for = need.labels.has_value() && !need.may_be_made;
    if (is_as_asked_for && policy->Decide(*caller, need.demand, &*need.labels) != Verdict::kAllowed) {
      return {.status = Denied(*policy, *caller, need.demand)};
    }
    rest.up_to_labels.push_back(std::move(need));
  }
  for (const Right right : {Right::kHost, Right::kPath, Right::kPid}) {
    if (rest.changes.empty()) break;
    const Demand demand{.method = rest.method, .right = right};
    if (policy->Decide(*caller, demand, nullptr) != Verdict::kAllowed) rest.missing.push_back(right);
  }
  if (const FieldDescriptor* field = request.GetDescriptor()->FindFieldByName("page_token"); field != nullptr) {
    const std::string sealed = request.GetReflection()->GetString(request, field);
    std::optional<std::string> token = sealed.empty() ? "" : seal_.Open(sealed, caller->Name());
    if (!token.has_value()) {
      return {.status = api::InvalidFields(
                  {{.field = "page_token", .description = "must be one that a list of yours returned of late"}})};
    }
    request.GetReflection()->SetString(&request, field, *std::move(token));
  }
  if (!rest.up_to_labels.empty() || !rest.missing.empty()) {
    entry.later = [this, policy, caller, rest = std::move(rest)] {
      return DecideLater(engine_, *policy, *caller, rest);
    };
  }
  entry.filter = [this, policy, caller, method = std::string(method)](google::protobuf::Message& response) {
    api::Filter(response, [&](const std::string& resource, const Labels& labels) {
      return policy->Decide(*caller, {.method = method, .resource = resource}, &labels) == Verdict::kAllowed;
    });
    api::FilterPorts(response, [&](const std::string& port) {
      const std::optional<engine::ObjectFacts> facts = FactsOf(engine_, port);
      const char* reading = absl::StartsWith(port, "veths/") ? "GetVeth" : "GetDevice";
      return facts.has_value() &&
             policy->Decide(*caller, {.method = reading, .resource = port}, &facts->labels) == Verdict::kAllowed;
    });
    const FieldDescriptor* next = response.GetDescriptor()->FindFieldByName("next_page_token");
    if (next == nullptr) return;
    const std::string token = response.GetReflection()->GetString(response, next);
    if (!token.empty()) response.GetReflection()->SetString(&response, next, seal_.Seal(token, caller->Name()));
  };
  return entry;
}

bool Gate::MayDelete(const Identity& caller, const std::string& resource) const {
  const std::shared_ptr<const Policy> policy = this->policy();
  if (policy->IsUnrestricted(caller)) return true;
  const std::string method = api::DeletionOf(resource);
  const std::optional<engine::ObjectFacts> facts = FactsOf(engine_, resource);
  if (!facts.has_value()) return false;
  for (const Right right : {Right::kHost, Right::kPath, Right::kPid}) {
    const Demand demand{.method = method, .right = right};
    if (IsNeeded(right, *facts) && policy->Decide(caller, demand, nullptr) != Verdict::kAllowed) return false;
  }
  return policy->Decide(caller, {.method = method, .resource = resource}, &facts->labels) == Verdict::kAllowed;
}

bool Gate::MayRenew(const Identity& caller, const std::string& owner) const {
  const Demand demand{.method = "RenewLease", .resource = absl::StrCat("owners/", owner)};
  return policy()->Decide(caller, demand, nullptr) == Verdict::kAllowed;
}

namespace {

// The limiter's time, which the host's clock may not set back.
absl::Time LimiterTime() { return absl::UnixEpoch() + BootTime(); }

}  // namespace

absl::Status Gate::Enter(const Identity& caller) {
  const std::optional<access::Limiter::Refusal> refusal =
      limiter_.Enter(caller.Name(), policy()->LimitsFor(caller), LimiterTime());
  if (!refusal.has_value()) return absl::OkStatus();
  return api::CallLimitExceeded(caller.Name(), refusal->why, refusal->retry_after);
}

void Gate::Leave(const Identity& caller) { limiter_.Leave(caller.Name(), LimiterTime()); }

}  // namespace netprov::rpc
