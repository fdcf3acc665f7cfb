#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "tests/simulation/model.h"
#include "tests/simulation/outcomes.h"

namespace netprov::simulation {

using engine::Metadata;
using engine::ObjectRef;
using engine::VethName;

namespace {

std::vector<Outcome> DeletionsOf(const State& s, const Found& found, const Circumstances& circumstances) {
  const Call deletion{.method = found.is_namespace ? Call::Method::kDeleteNamespace : Call::Method::kDeleteVeth,
                      .id = found.id};
  Outcomes outcomes(s, deletion, circumstances);
  if (found.is_namespace) {
    DeleteNamespace(s, deletion, outcomes);
  } else {
    DeleteVeth(s, deletion, outcomes);
  }
  return std::move(outcomes).Take();
}

}  // namespace

std::optional<Found> Find(const ObjectRef& object, State& state) {
  absl::string_view id = object.name;
  Found found{.is_namespace = absl::ConsumePrefix(&id, "namespaces/")};
  if (!found.is_namespace) absl::ConsumePrefix(&id, "veths/");
  found.id = std::string(id);
  int instance = 0;
  if (found.is_namespace) {
    auto record = state.namespaces.find(found.id);
    if (record == state.namespaces.end()) return std::nullopt;
    instance = record->second.instance;
    found.metadata = record->second.metadata;
  } else {
    auto record = state.veths.find(found.id);
    if (record == state.veths.end()) return std::nullopt;
    instance = record->second.instance;
    found.metadata = record->second.metadata;
  }
  if (!Learn(state, instance, object.uid)) return std::nullopt;
  return found;
}

// Another's pair ends in the namespace, or one that the owner keeps.
bool IsNeeded(const State& state, const std::string& id, const std::string& owner,
              const std::vector<std::string>& keep) {
  return std::any_of(state.veths.begin(), state.veths.end(), [&](const auto& veth) {
    return EndsIn(veth.second, id) && (veth.second.metadata.owner != owner ||
                                       std::find(keep.begin(), keep.end(), VethName(veth.first)) != keep.end());
  });
}

void Expire(const State& before, const Call& call, Outcomes& outcomes) {
  State s = before;
  const std::optional<Found> found = Find(call.object, s);
  if (!found.has_value()) return outcomes.Succeed(before, {});
  if (s.Remaining(found->metadata).value_or(absl::InfiniteDuration()) > absl::ZeroDuration()) {
    outcomes.Succeed(before, {});
    // Its lease had ended when the call began: a sign of the owner's that came later, and met nothing to renew, changes
    // nothing any more, though others saw the object until its end.
    if (!outcomes.circumstances().overlapped) return;
  }
  if (found->is_namespace) {
    for (const auto& [id, veth] : s.veths) {
      if (!EndsIn(veth, found->id) || veth.metadata.owner.empty() || veth.metadata.owner == found->metadata.owner) {
        continue;
      }
      return outcomes.Succeed(s, {.kept = {call.object.name}});
    }
  }
  for (Outcome& outcome : DeletionsOf(s, *found, outcomes.circumstances())) {
    if (outcome.kind == Outcome::Kind::kDone) outcome.expected.deleted = {call.object.name};
    outcomes.Add(outcome.kind, std::move(outcome.after), std::move(outcome.expected));
  }
}

// One object after the other, each as if by a call of its own.
std::vector<Outcome> StepsOf(const State& before, const Call& call, const Circumstances& circumstances,
                             const Expected* so_far) {
  std::vector<Outcome> outcomes;
  if (so_far == nullptr) {
    Outcome begun{.after = before, .expected = {.kept = call.kept}, .is_over = call.doomed.empty()};
    Hear(call.owner, begun.after);
    outcomes.push_back(std::move(begun));
    return outcomes;
  }
  const ObjectRef& object = call.doomed[so_far->steps];
  auto add = [&](State after, std::vector<std::string> Expected::*list) {
    Outcome outcome{.after = std::move(after), .expected = *so_far};
    ++outcome.expected.steps;
    if (list != nullptr) (outcome.expected.*list).push_back(object.name);
    outcome.is_over = outcome.expected.steps == call.doomed.size();
    outcomes.push_back(std::move(outcome));
  };
  // Its caller gave up.
  if (so_far->deleted.empty()) outcomes.push_back({.kind = Outcome::Kind::kFailed, .after = before, .expected = {}});
  if (circumstances.disturbed) add(before, &Expected::kept);
  State s = before;
  const std::optional<Found> found = Find(object, s);
  if (!found.has_value()) {
    add(std::move(s), nullptr);
    return outcomes;
  }
  // An update has given it to another owner since.
  if (found->metadata.owner != call.owner) {
    add(std::move(s), nullptr);
    return outcomes;
  }
  // Nothing else may be planned.
  if (std::find(call.keep.begin(), call.keep.end(), object.name) != call.keep.end()) return outcomes;
  if (found->is_namespace && IsNeeded(s, found->id, call.owner, call.keep)) {
    add(std::move(s), &Expected::kept);
    return outcomes;
  }
  for (Outcome& outcome : DeletionsOf(s, *found, circumstances)) {
    switch (outcome.kind) {
      case Outcome::Kind::kDone:
        add(std::move(outcome.after), &Expected::deleted);
        break;
      case Outcome::Kind::kRollbackFailed:
        if (circumstances.disturbed) add(std::move(outcome.after), &Expected::kept);
        break;
      case Outcome::Kind::kIntentStays:
        if (circumstances.registry_failed) add(std::move(outcome.after), &Expected::kept);
        break;
      case Outcome::Kind::kFailed:
      case Outcome::Kind::kOvertaken:
      case Outcome::Kind::kLost:
        break;
    }
  }
  return outcomes;
}

Garbage PlanGarbage(const State& state, const std::string& owner, const std::vector<std::string>& keep) {
  Garbage garbage;
  auto is_garbage = [&](const std::string& name, const Metadata& metadata) {
    return metadata.owner == owner && std::find(keep.begin(), keep.end(), name) == keep.end();
  };
  for (const auto& [id, record] : state.veths) {
    if (is_garbage(VethName(id), record.metadata)) garbage.doomed.push_back(VethName(id));
  }
  for (const auto& [id, record] : state.namespaces) {
    const std::string name = engine::NamespaceName(id);
    if (!is_garbage(name, record.metadata)) continue;
    (IsNeeded(state, id, owner, keep) ? garbage.kept : garbage.doomed).push_back(name);
  }
  return garbage;
}

}  // namespace netprov::simulation
