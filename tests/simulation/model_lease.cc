#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/time/time.h"
#include "server/netlink/link_info.h"
#include "tests/simulation/model.h"
#include "tests/simulation/outcomes.h"

namespace netprov::simulation {

using engine::Metadata;
using engine::ObjectRef;
using engine::VethName;

namespace {

std::vector<Outcome> DeletionsOf(const State& s, const std::string& name, const std::string& id,
                                 const Circumstances& circumstances) {
  Call deletion{.method = Call::Method::kDeleteDevice, .id = id};
  if (engine::NamespaceIdIn(name).has_value()) deletion.method = Call::Method::kDeleteNamespace;
  if (engine::VethIdIn(name).has_value()) deletion.method = Call::Method::kDeleteVeth;
  return OutcomesOf(s, deletion, circumstances, /*so_far=*/nullptr);
}

// Calls `visit` with the names and the metadata of all that is in a namespace, or is a port of a bridge.
template <typename Visit>
void ForEachUser(const State& state, const std::string& name, Visit visit) {
  const std::optional<std::string> id = engine::NamespaceIdIn(name);
  for (const auto& [veth_id, veth] : state.veths) {
    const bool is_port = veth.spec.a.config.bridge == name || veth.spec.b.config.bridge == name;
    if (id.has_value() ? EndsIn(veth, *id) : is_port) visit(VethName(veth_id), veth.metadata);
  }
  for (const auto& [device_name, device] : state.devices) {
    if (device.spec.link.namespace_id == id) visit(device_name, device.metadata);
  }
}

}  // namespace

std::optional<Found> Find(const ObjectRef& object, State& state) {
  std::optional<Found> found;
  int instance = 0;
  auto set = [&](const std::string& id, const auto& record, const auto& view) {
    instance = record.instance;
    found = Found{
        .id = id, .metadata = record.metadata, .presence = view.presence, .vague = view.vague, .boot = record.boot};
  };
  if (const auto netns = engine::NamespaceIdIn(object.name); netns.has_value()) {
    const auto record = state.namespaces.find(*netns);
    if (record != state.namespaces.end()) set(*netns, record->second, state.Describe(*netns));
  } else if (const auto veth = engine::VethIdIn(object.name); veth.has_value()) {
    const auto record = state.veths.find(*veth);
    if (record != state.veths.end()) set(*veth, record->second, state.DescribeVeth(*veth));
  } else {
    const auto record = state.devices.find(object.name);
    if (record != state.devices.end()) set(object.name, record->second, state.DescribeDevice(object.name));
  }
  return found.has_value() && Learn(state, instance, object.uid) ? found : std::nullopt;
}

bool IsNeeded(const State& state, const std::string& name, const std::string& owner,
              const std::vector<std::string>& keep) {
  bool is_needed = false;
  ForEachUser(state, name, [&](const std::string& user, const Metadata& metadata) {
    is_needed = is_needed || metadata.owner != owner || std::find(keep.begin(), keep.end(), user) != keep.end();
  });
  return is_needed;
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
  if (engine::NamespaceIdIn(call.object.name).has_value()) {
    bool is_needed = false;
    ForEachUser(s, call.object.name, [&](const std::string&, const Metadata& metadata) {
      is_needed = is_needed || (!metadata.owner.empty() && metadata.owner != found->metadata.owner);
    });
    if (is_needed) return outcomes.Succeed(s, {.kept = {call.object.name}});
  }
  for (Outcome& outcome : DeletionsOf(s, call.object.name, found->id, outcomes.circumstances())) {
    if (outcome.kind == Outcome::Kind::kDone) {
      // A bridge that has ports stays.
      (outcome.expected.ok ? outcome.expected.deleted : outcome.expected.kept) = {call.object.name};
      outcome.expected.ok = true;
    }
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
  if (IsNeeded(s, object.name, call.owner, call.keep)) {
    add(std::move(s), &Expected::kept);
    return outcomes;
  }
  for (Outcome& outcome : DeletionsOf(s, object.name, found->id, circumstances)) {
    switch (outcome.kind) {
      case Outcome::Kind::kDone:
        add(std::move(outcome.after), outcome.expected.ok ? &Expected::deleted : &Expected::kept);
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
  auto plan = [&](const std::string& name, const Metadata& metadata) {
    if (metadata.owner != owner || std::find(keep.begin(), keep.end(), name) != keep.end()) return;
    (IsNeeded(state, name, owner, keep) ? garbage.kept : garbage.doomed).push_back(name);
  };
  for (const auto& [id, record] : state.veths) plan(VethName(id), record.metadata);
  // Bridges after what may be their ports.
  for (const bool is_bridge : {false, true}) {
    for (const auto& [name, record] : state.devices) {
      if (std::holds_alternative<netlink::BridgeInfo>(record.spec.options) == is_bridge) plan(name, record.metadata);
    }
  }
  for (const auto& [id, record] : state.namespaces) plan(engine::NamespaceName(id), record.metadata);
  return garbage;
}

}  // namespace netprov::simulation
