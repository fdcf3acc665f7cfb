#include "server/rpc/gate.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/api/errors.h"
#include "server/api/needs.h"

namespace netprov::rpc {
namespace {

using access::Demand;
using access::Identity;
using access::Labels;
using access::Policy;
using access::Right;
using access::Verdict;

absl::Status Denied(const Identity& caller, const Demand& demand) {
  return api::AccessDenied(caller.Name(), demand.method, demand.resource,
                           demand.right.has_value() ? access::NameOf(*demand.right) : "");
}

// What is left of a call's needs once all was decided that can be by the request alone.
struct Rest {
  std::vector<api::Need> up_to_labels;
  std::vector<Right> missing;  // rights that the caller lacks and the object that is changed may need
  std::string changes;
  std::string method;
};

absl::Status DecideLater(const engine::Engine& engine, const Policy& policy, const Identity& caller, const Rest& rest) {
  for (const api::Need& need : rest.up_to_labels) {
    const std::optional<engine::ObjectFacts> facts = engine.FactsOf(need.demand.resource);
    // A resource that is not there has no labels; whoever may see only some does not learn which are.
    const Labels* labels = nullptr;
    static const Labels none;
    if (facts.has_value()) {
      labels = &facts->labels;
    } else {
      labels = need.may_be_made && need.labels.has_value() ? &*need.labels : &none;
    }
    if (policy.Decide(caller, need.demand, labels) != Verdict::kAllowed) return Denied(caller, need.demand);
  }
  if (rest.missing.empty()) return absl::OkStatus();
  const std::optional<engine::ObjectFacts> facts = engine.FactsOf(rest.changes);
  if (!facts.has_value()) return absl::OkStatus();
  for (const Right right : rest.missing) {
    const bool is_needed = (right == Right::kHost && facts->is_at_host) || (right == Right::kPath && facts->has_path) ||
                           (right == Right::kPid && facts->has_pid);
    if (is_needed) return Denied(caller, {.method = rest.method, .right = right});
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
                        const google::protobuf::Message& request) const {
  const std::shared_ptr<const Policy> policy = this->policy();
  if (policy->IsUnrestricted(*caller)) return {};
  api::Needs needs = api::NeedsOf(method, request);
  Rest rest{.changes = needs.changes, .method = std::string(method)};
  for (api::Need& need : needs.all) {
    const bool is_decided_by_request = need.labels.has_value() && !need.may_be_made;
    switch (policy->Decide(*caller, need.demand, is_decided_by_request ? &*need.labels : nullptr)) {
      case Verdict::kAllowed:
        break;
      case Verdict::kDenied:
        return {.status = Denied(*caller, need.demand)};
      case Verdict::kUpToLabels:
        rest.up_to_labels.push_back(std::move(need));
        break;
    }
  }
  for (const Right right : {Right::kHost, Right::kPath, Right::kPid}) {
    if (rest.changes.empty()) break;
    const Demand demand{.method = rest.method, .right = right};
    if (policy->Decide(*caller, demand, nullptr) != Verdict::kAllowed) rest.missing.push_back(right);
  }
  Entry entry;
  if (!rest.up_to_labels.empty() || !rest.missing.empty()) {
    entry.later = [this, policy, caller, rest = std::move(rest)] {
      return DecideLater(engine_, *policy, *caller, rest);
    };
  }
  entry.filter = [policy, caller, method = std::string(method)](google::protobuf::Message& response) {
    api::Filter(response, [&](const std::string& resource, const Labels& labels) {
      return policy->Decide(*caller, {.method = method, .resource = resource}, &labels) == Verdict::kAllowed;
    });
  };
  return entry;
}

bool Gate::MayRenew(const Identity& caller, const std::string& owner) const {
  const Demand demand{.method = "RenewLease", .resource = absl::StrCat("owners/", owner)};
  return policy()->Decide(caller, demand, nullptr) == Verdict::kAllowed;
}

absl::Status Gate::Enter(const Identity& caller) {
  const std::optional<access::Limiter::Refusal> refusal =
      limiter_.Enter(caller.Name(), policy()->LimitsFor(caller), absl::Now());
  if (!refusal.has_value()) return absl::OkStatus();
  return api::CallLimitExceeded(caller.Name(), refusal->why, refusal->retry_after);
}

void Gate::Leave(const Identity& caller) { limiter_.Leave(caller.Name(), absl::Now()); }

}  // namespace netprov::rpc
