#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tests/simulation/model.h"
#include "tests/simulation/outcomes.h"

namespace netprov::simulation {

using engine::EndpointSpec;
using engine::Intent;
using engine::Reason;
using engine::VethSpec;

bool IsPattern(const std::string& name) { return absl::StrContains(name, '%'); }

std::vector<std::string> ChooseNames(const State& state, int place, const std::string& name, const std::string& taken,
                                     bool overlapped) {
  if (!IsPattern(name)) return {name};
  std::vector<std::string> names;
  for (int number = 0; names.size() < (overlapped ? 3 : 1); ++number) {
    std::string chosen = absl::StrReplaceAll(name, {{"%d", absl::StrCat(number)}});
    if (chosen != taken && !state.links.contains({place, chosen})) names.push_back(std::move(chosen));
  }
  return names;
}

bool IsRecorded(const State& state, int pair) {
  auto is_it = [&](const auto& record) { return record.second.pair == pair && record.second.boot == state.boot; };
  return std::any_of(state.veths.begin(), state.veths.end(), is_it) ||
         std::any_of(state.devices.begin(), state.devices.end(), is_it);
}

bool EndsIn(const State::VethRecord& veth, const std::string& id) {
  return veth.spec.a.namespace_id == id || veth.spec.b.namespace_id == id;
}

bool IsNatTaken(const State& state, const VethSpec& spec, int place_a, int place_b, int instance) {
  for (const bool is_a : {true, false}) {
    const Traits wanted = NatTraits(spec, is_a);
    for (const auto& [where, beside] : state.beside) {
      if (where.first == (is_a ? place_a : place_b) && where.second != instance && Collide(wanted, beside.nat))
        return true;
    }
  }
  return false;
}

bool IsRouteTaken(const State& state, const Traits& routes, int place) {
  const auto there = state.routes.find(place);
  return there != state.routes.end() && Without(routes, there->second) != routes;
}

void BlurForwarding(const VethSpec& spec, const State& state, Outcomes& outcomes) {
  State blurred = state;
  for (const bool is_a : {true, false}) {
    if (!(is_a ? spec.a : spec.b).config.ip_forwarding) continue;
    const auto place = PlaceOf(state, is_a ? spec.b : spec.a);
    if (!place.has_value() || state.forwarding.contains(*place)) continue;
    const bool is_relied_on = std::any_of(state.veths.begin(), state.veths.end(), [&](const auto& veth) {
      const VethSpec& other = veth.second.spec;
      return (other.a.config.ip_forwarding && PlaceOf(state, other.b) == place) ||
             (other.b.config.ip_forwarding && PlaceOf(state, other.a) == place);
    });
    if (is_relied_on) blurred.vague.insert(*place);
  }
  if (blurred.vague == state.vague) return;
  outcomes.Fail(blurred);
  outcomes.Die(blurred);
}

void BlurPlaces(const VethSpec& spec, State& state) {
  for (const bool is_a : {true, false}) {
    const EndpointSpec& end = is_a ? spec.a : spec.b;
    const EndpointSpec& other = is_a ? spec.b : spec.a;
    if (RouteTraits(end.config).empty() && !other.config.ip_forwarding) continue;
    if (const auto place = PlaceOf(state, end); place.has_value()) state.vague.insert(*place);
  }
}

VethSpec WithoutPorts(VethSpec spec) {
  spec.a.config.port = spec.b.config.port = {};
  return spec;
}

void PutLinks(const VethSpec& names, int place_a, int place_b, State::Link link, State& state) {
  link.is_a = true;
  state.links[{place_a, names.a.interface_name}] = link;
  link.is_a = false;
  state.links[{place_b, names.b.interface_name}] = link;
}

// One that comes with a pair.
static void BearNamespace(const std::string& id, int number, const engine::Metadata& metadata, State& state) {
  state.Bear(number);
  state.files[id] = {
      .kind = State::File::Kind::kNetns, .netns = number, .instance = number, .alias = {}, .sysctls = {}};
  state.namespaces[id] = {.instance = number, .netns = number, .boot = state.boot, .spec = {}, .metadata = metadata};
}

void CreateVeth(const State& s, const Call& call, Outcomes& outcomes) {
  if (outcomes.Replay()) return;
  outcomes.Fail(s);
  outcomes.Die(s);
  auto existing = s.veths.find(call.id);
  const bool exists = existing != s.veths.end();
  if (exists && s.IsThere(existing->second)) {
    const bool matches = existing->second.spec == call.spec && existing->second.metadata == call.metadata;
    if (!call.allow || !matches) return outcomes.RefuseExisting(Reason::kVethAlreadyExists, matches);
    return outcomes.Succeed(s, {.netns = {}, .veth = s.DescribeVeth(call.id)});
  }
  // First what the registry knows of both, then what the kernel does.
  std::map<std::string, int> births;
  for (const EndpointSpec* end : {&call.spec.a, &call.spec.b}) {
    if (end->place.has_value() && !PlaceOf(s, *end).has_value()) return outcomes.Refuse(PlaceRefusal(s, *end));
    if (end->namespace_id.empty()) continue;
    auto record = s.namespaces.find(end->namespace_id);
    if (call.births && record == s.namespaces.end() && !s.files.contains(end->namespace_id)) {
      births[end->namespace_id] = 0;
      continue;
    }
    if (record == s.namespaces.end() || record->second.boot != s.boot) {
      return outcomes.Refuse(NamespaceRefusal(s, end->namespace_id));
    }
  }
  bool is_no_port = false;
  for (const EndpointSpec* end : {&call.spec.a, &call.spec.b}) {
    const std::optional<Reason> refusal = BridgeRefusal(s, *end);
    // What else is wrong may be said in its place.
    if (refusal.has_value()) outcomes.Refuse(*refusal);
    is_no_port = is_no_port || refusal.has_value();
  }
  BlurForwarding(call.spec, s, outcomes);
  // Other calls see a pair that is made and then undone.
  outcomes.Overtake(s);
  State room = s;
  const int instance = room.next_instance++;
  if (exists) {
    // Its remains make room; it is missing until the new one is there.
    outcomes.Leave(room, Intent::Kind::kCreateVeth, instance, instance);
    State begun = room;
    begun.veths.at(call.id).vague = true;
    BlurPlaces(existing->second.spec, begun);
    for (const bool removes : {false, true}) {
      if (removes) begun.RemovePair(existing->second.pair);
      outcomes.Fail(begun);
      outcomes.Die(begun);
      outcomes.Leave(begun, Intent::Kind::kCreateVeth, instance, instance);
    }
    room.RemovePair(existing->second.pair);
    room.Strip(existing->second);
    outcomes.Fail(room);
    outcomes.Overtake(room);
    outcomes.Die(room);
  }
  // The namespaces that come with it, one after the other.
  State here = s;
  for (auto& [id, number] : births) {
    number = room.next_instance++;
    BearNamespace(id, number, call.metadata, here);
  }
  auto leave = [&](const State& left) { outcomes.Leave(left, Intent::Kind::kCreateVeth, instance, instance, births); };
  // Only the intent, or the kernel refused and nobody could make sure that nothing was left.
  leave(room);
  State all = room;
  for (const auto& [id, number] : births) {
    State left = room;
    for (State* with : {&left, &all}) {
      BearNamespace(id, number, call.metadata, *with);
      with->namespaces.erase(id);
    }
    leave(left);
  }
  if (births.size() > 1) leave(all);
  auto has_taken_name = [&](const EndpointSpec& end) {
    const std::optional<int> place = PlaceOf(here, end);
    return place.has_value() && !IsPattern(end.interface_name) && room.links.contains({*place, end.interface_name});
  };
  for (const EndpointSpec* end : {&call.spec.a, &call.spec.b}) {
    if (PlaceOf(here, *end).has_value()) continue;
    // Of two reasons, a failure may point at the other.
    const bool name_is_taken = has_taken_name(call.spec.a) || has_taken_name(call.spec.b);
    if (outcomes.circumstances().disturbed && name_is_taken) outcomes.Refuse(Reason::kInterfaceNameTaken);
    return outcomes.Refuse(PlaceRefusal(here, *end));
  }
  const int place_a = *PlaceOf(here, call.spec.a);
  const int place_b = *PlaceOf(here, call.spec.b);
  // What an earlier call has left without a tag, under the same names, cannot be told from what this one may have left.
  const auto left_a = s.links.find({place_a, call.spec.a.interface_name});
  const auto left_b = s.links.find({place_b, call.spec.b.interface_name});
  if (left_a != s.links.end() && left_b != s.links.end() && left_a->second.kind == "veth" && !left_a->second.tagged &&
      left_a->second.pair == left_b->second.pair && !IsRecorded(s, left_a->second.pair)) {
    State swept = room;
    swept.RemovePair(left_a->second.pair);
    outcomes.Fail(swept);
    leave(swept);
  }
  const bool name_is_taken = has_taken_name(call.spec.a) || has_taken_name(call.spec.b);
  const bool nat_is_taken = IsNatTaken(room, call.spec, place_a, place_b, instance);
  const bool route_is_taken = !call.validate && (IsRouteTaken(room, RouteTraits(call.spec.a.config), place_a) ||
                                                 IsRouteTaken(room, RouteTraits(call.spec.b.config), place_b));
  const bool looks_first = call.validate || exists;
  // What is left of others may be in the way, or have gone meanwhile.
  const bool is_sure = !s.IsAnythingVague();
  const bool has_nat = !NatTraits(call.spec, true).empty() || !NatTraits(call.spec, false).empty();
  const bool has_routes = !RouteTraits(call.spec.a.config).empty() || !RouteTraits(call.spec.b.config).empty();
  if (!is_sure && has_nat) outcomes.Refuse(Reason::kPortForwardTaken);
  if (!is_sure && has_routes) outcomes.Refuse(Reason::kKernel);
  if (route_is_taken && !looks_first) outcomes.Refuse(Reason::kKernel);
  if (route_is_taken && !looks_first && is_sure && !outcomes.circumstances().disturbed) return;
  if (name_is_taken) return outcomes.Refuse(Reason::kInterfaceNameTaken);
  if (nat_is_taken) outcomes.Refuse(Reason::kPortForwardTaken);
  // Else it is the kernel that refuses, when the links are there.
  const bool is_refused_late = nat_is_taken && !looks_first && is_sure;
  if (nat_is_taken && looks_first && is_sure) return;
  if (route_is_taken) outcomes.Refuse(Reason::kKernel);
  if (route_is_taken && is_sure) return;
  if (is_no_port) return;
  // Two ways may lead to one place.
  if (place_a == place_b && !IsPattern(call.spec.a.interface_name) &&
      call.spec.a.interface_name == call.spec.b.interface_name) {
    return outcomes.Refuse(Reason::kInterfaceNameTaken);
  }
  auto make = [&](const VethSpec& spec) {
    if (call.validate) {
      return outcomes.Succeed(s, {.netns = {},
                                  .veth = VethView{.id = call.id,
                                                   .instance = 0,
                                                   .presence = Presence::kThere,
                                                   .spec = WithoutPorts(spec),
                                                   .a_port = PortWords(spec.a.config.port),
                                                   .b_port = PortWords(spec.b.config.port),
                                                   .metadata = call.metadata,
                                                   .expires = {}}});
    }
    State made = room;
    for (const auto& [id, number] : births) BearNamespace(id, number, call.metadata, made);
    for (bool tagged : {false, true}) {
      PutLinks(spec, place_a, place_b, {.pair = instance, .instance = instance, .tagged = tagged}, made);
      State left = made;
      for (const auto& [id, number] : births) left.namespaces.erase(id);
      leave(left);
    }
    if (is_refused_late) return;
    made.veths[call.id] = {.instance = instance,
                           .pair = instance,
                           .boot = s.boot,
                           .spec = call.spec,
                           .made = spec,
                           .metadata = call.metadata,
                           .netns_a = place_a,
                           .netns_b = place_b};
    made.Equip(made.veths.at(call.id), place_a, place_b);
    const Expected expected{.netns = {}, .veth = made.DescribeVeth(call.id)};
    outcomes.Succeed(std::move(made), expected);
  };
  VethSpec spec = call.spec;
  const bool overlapped = outcomes.circumstances().overlapped;
  const std::string fixed_b = place_a == place_b && !IsPattern(spec.b.interface_name) ? spec.b.interface_name : "";
  for (const std::string& name_a : ChooseNames(here, place_a, call.spec.a.interface_name, fixed_b, overlapped)) {
    spec.a.interface_name = name_a;
    for (const std::string& name_b :
         ChooseNames(here, place_b, call.spec.b.interface_name, place_a == place_b ? name_a : "", overlapped)) {
      spec.b.interface_name = name_b;
      make(spec);
    }
  }
}

void DeleteVeth(const State& s, const Call& call, Outcomes& outcomes) {
  if (outcomes.Replay()) return;
  outcomes.Fail(s);
  outcomes.Die(s);
  auto record = s.veths.find(call.id);
  if (record == s.veths.end()) {
    if (!call.allow) return outcomes.Refuse(Reason::kVethNotFound);
    return outcomes.Succeed(s, {});
  }
  if (call.validate) return outcomes.Succeed(s, {});
  State after = s;
  const int instance = record->second.instance;
  outcomes.LeaveIntent(after, Intent::Kind::kDeleteVeth, instance);
  State partly = s;
  partly.veths.at(call.id).vague = true;
  BlurPlaces(record->second.spec, partly);
  // It is one step, which may stop half way.
  outcomes.Fail(partly);
  outcomes.LeaveHalfDeleted(partly, Intent::Kind::kDeleteVeth, instance);
  partly.RemovePair(record->second.pair);
  outcomes.Fail(partly);
  outcomes.LeaveHalfDeleted(partly, Intent::Kind::kDeleteVeth, instance);
  after.RemovePair(record->second.pair);
  after.Strip(record->second);
  outcomes.LeaveHalfDeleted(after, Intent::Kind::kDeleteVeth, instance);
  after.veths.erase(call.id);
  outcomes.Succeed(std::move(after), {});
}

}  // namespace netprov::simulation
