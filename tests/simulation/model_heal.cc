#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/simulation/model.h"
#include "tests/simulation/outcomes.h"

namespace netprov::simulation {

using engine::EndpointSpec;
using engine::Intent;
using engine::Reason;
using engine::VethSpec;

namespace {

// An end that is in its place; false: its name is taken.
bool HealEnd(const State::VethRecord& record, bool is_a, State& state) {
  const std::pair<int, std::string> where = *state.Find(record, is_a);
  const std::string& name = (is_a ? record.made.a : record.made.b).interface_name;
  State::Link& link = state.links.at(where);
  link = {.pair = link.pair,
          .instance = link.instance,
          .is_a = is_a,
          .renamed = where.second != name,
          .ip = link.ip,
          .limits = link.limits,
          .master = link.master,
          .port = link.port};
  Join(state, is_a ? record.spec.a : record.spec.b, link);
  if (!link.renamed) return true;
  if (state.links.contains({where.first, name})) return false;
  State::Link moved = link;
  moved.renamed = false;
  state.links.erase(where);
  state.links[{where.first, name}] = moved;
  return true;
}

// Why an end can't be a port of its bridge.
std::optional<Reason> PortRefusal(const State& s, const VethSpec& spec) {
  const std::optional<Reason> of_a = BridgeRefusal(s, spec.a);
  return of_a.has_value() ? of_a : BridgeRefusal(s, spec.b);
}

void HealEnds(const State& s, const std::string& id, const State::VethRecord& record, Outcomes& outcomes) {
  // One after the other, also where the first can't be.
  struct Way {
    State state;
    bool refused = false;
    bool failed = false;
  };
  std::vector<Way> ways = {{.state = s}};
  for (bool is_a : {true, false}) {
    std::vector<Way> next;
    for (const Way& way : ways) {
      Way healed = way;
      healed.refused = !HealEnd(record, is_a, healed.state) || way.refused;
      // The kernel may set the rest before it refuses the name, or nothing.
      next.push_back({.state = way.state, .refused = healed.refused, .failed = way.failed || !healed.refused});
      next.push_back(std::move(healed));
    }
    ways = std::move(next);
  }
  const int place_a = s.Find(record, /*is_a=*/true)->first;
  const int place_b = s.Find(record, /*is_a=*/false)->first;
  const bool is_nat_taken = IsNatTaken(s, record.spec, place_a, place_b, record.instance);
  const std::optional<Reason> no_port = PortRefusal(s, record.spec);
  for (Way& way : ways) {
    outcomes.Die(way.state);
    outcomes.Fail(way.state);
    // Then what is beside them, as far as it can be.
    State blurred = way.state;
    blurred.veths.at(id).vague = true;
    BlurPlaces(record.spec, blurred);
    outcomes.Die(blurred);
    outcomes.Fail(blurred);
    outcomes.LeaveIntent(blurred, Intent::Kind::kCreateVeth, record.instance, record.pair);
    if (way.failed) continue;
    // Whatever was put right.
    if (no_port.has_value()) {
      outcomes.RefuseAfter(blurred, *no_port);
      continue;
    }
    if (is_nat_taken || s.IsAnythingVague()) outcomes.RefuseAfter(blurred, Reason::kPortForwardTaken);
    if (is_nat_taken) continue;
    if (way.refused) {
      outcomes.RefuseAfter(blurred, Reason::kKernel);
    } else {
      way.state.Equip(record, place_a, place_b);
      way.state.veths.at(id).vague = false;
      outcomes.Succeed(std::move(way.state), {.healed = true});
    }
  }
}

}  // namespace

void HealNamespace(const State& s, const std::string& id, Outcomes& outcomes) {
  const State::NamespaceRecord& record = s.namespaces.at(id);
  State after = s;
  auto file = after.files.find(id);
  if (s.IsThere(id, record)) {
    file->second.up = true;
    file->second.alias.reset();
    outcomes.Fail(after);
    outcomes.Die(after);
    SetSysctls(record.spec.sysctls, file->second);
    outcomes.Fail(after);
    outcomes.Die(after);
    if (IsDnsTaken(after, id, record.spec.dns, record.instance)) return outcomes.RefuseAfter(after, Reason::kKernel);
    if (!record.spec.dns.empty()) WriteDns(after, id, record.instance, record.spec.dns);
    outcomes.Die(after);
    after.namespaces.at(id).vague = false;
    return outcomes.Succeed(std::move(after), {.healed = true});
  }
  const bool is_others = file != after.files.end() && file->second.kind == State::File::Kind::kNetns;
  if (is_others) return outcomes.Refuse(Reason::kNamespaceNotManaged);
  // What others made in it can't be made again.
  if (record.former_alias.has_value()) return outcomes.Refuse(Reason::kNamespaceMissing);
  if (file != after.files.end()) {
    if (file->second.kind == State::File::Kind::kFull) return outcomes.Refuse(Reason::kNamespaceFileStale);
    after.files.erase(file);
    outcomes.Fail(after);
    outcomes.Die(after);
  }
  if (IsDnsTaken(after, id, record.spec.dns, record.instance)) return outcomes.RefuseAfter(after, Reason::kKernel);
  const int netns = after.next_instance++;
  if (!record.spec.dns.empty()) {
    // They are taken away with what was made.
    State without = after;
    WriteDns(without, id, record.instance, {});
    outcomes.Fail(without);
    outcomes.LeaveIntent(without, Intent::Kind::kCreateNamespace, record.instance, netns);
    outcomes.Leave(without, Intent::Kind::kCreateNamespace, record.instance, netns);
    WriteDns(after, id, record.instance, record.spec.dns);
    outcomes.Die(after);
    outcomes.Fail(after);
    outcomes.Leave(after, Intent::Kind::kCreateNamespace, record.instance, netns);
  }
  outcomes.LeaveIntent(after, Intent::Kind::kCreateNamespace, record.instance, netns);
  after.Bear(netns);
  after.files[id] = {.kind = State::File::Kind::kNetns,
                     .netns = netns,
                     .instance = record.instance,
                     .up = true,
                     .alias = {},
                     .sysctls = Unusual(record.spec.sysctls)};
  outcomes.Leave(after, Intent::Kind::kCreateNamespace, record.instance, netns);
  if (!record.spec.dns.empty()) {
    State without = after;
    WriteDns(without, id, record.instance, {});
    outcomes.Leave(without, Intent::Kind::kCreateNamespace, record.instance, netns);
  }
  after.namespaces.at(id).netns = netns;
  after.namespaces.at(id).boot = s.boot;
  after.namespaces.at(id).vague = false;
  outcomes.Succeed(std::move(after), {.healed = true});
}

void HealVeth(const State& s, const std::string& id, Outcomes& outcomes) {
  const State::VethRecord& record = s.veths.at(id);
  if (s.IsThere(record)) return HealEnds(s, id, record, outcomes);
  const VethSpec& made = record.made;
  for (const EndpointSpec* end : {&made.a, &made.b}) {
    if (!PlaceOf(s, *end).has_value()) return outcomes.Refuse(PlaceRefusal(s, *end));
    if (IsAnotherProcess(s, record, *end)) return outcomes.Refuse(Reason::kPlaceNotFound);
  }
  const int place_a = *PlaceOf(s, made.a);
  const int place_b = *PlaceOf(s, made.b);
  State after = s;
  const int pair = after.next_instance++;
  after.RemovePair(record.pair);
  after.Strip(record);
  for (const auto& [end, place] : {std::pair(&made.a, place_a), std::pair(&made.b, place_b)}) {
    if (after.links.contains({place, end->interface_name})) return outcomes.Refuse(Reason::kInterfaceNameTaken);
  }
  // Both places may lead to one namespace by now.
  if (place_a == place_b && made.a.interface_name == made.b.interface_name) {
    return outcomes.Refuse(Reason::kInterfaceNameTaken);
  }
  if (const std::optional<Reason> no_port = PortRefusal(s, record.spec); no_port.has_value()) {
    return outcomes.Refuse(*no_port);
  }
  State cleared = s;
  cleared.veths.at(id).vague = true;
  BlurPlaces(record.spec, cleared);
  outcomes.Fail(cleared);
  outcomes.Die(cleared);
  cleared.RemovePair(record.pair);
  outcomes.Fail(cleared);
  outcomes.Die(cleared);
  outcomes.Fail(after);
  outcomes.Die(after);
  outcomes.Overtake(s);
  outcomes.Overtake(after);
  const bool is_taken = IsRouteTaken(after, RouteTraits(record.spec.a.config), place_a) ||
                        IsRouteTaken(after, RouteTraits(record.spec.b.config), place_b) ||
                        IsNatTaken(after, record.spec, place_a, place_b, record.instance);
  if (is_taken || s.IsAnythingVague()) outcomes.RefuseAfter(after, Reason::kKernel);
  if (is_taken && !s.IsAnythingVague()) return;
  outcomes.LeaveIntent(after, Intent::Kind::kCreateVeth, record.instance, pair);
  outcomes.Leave(after, Intent::Kind::kCreateVeth, record.instance, pair);
  for (bool tagged : {false, true}) {
    PutLinks(made, place_a, place_b, {.pair = pair, .instance = record.instance, .tagged = tagged}, after);
    outcomes.Leave(after, Intent::Kind::kCreateVeth, record.instance, pair);
  }
  after.veths.at(id).pair = pair;
  after.veths.at(id).boot = s.boot;
  after.veths.at(id).netns_a = place_a;
  after.veths.at(id).netns_b = place_b;
  after.veths.at(id).vague = false;
  after.Equip(after.veths.at(id), place_a, place_b);
  outcomes.Succeed(std::move(after), {.healed = true});
}

void Heal(const State& s, const std::string& name, const std::string& id, Outcomes& outcomes) {
  if (engine::NamespaceIdIn(name).has_value()) return HealNamespace(s, id, outcomes);
  if (engine::VethIdIn(name).has_value()) return HealVeth(s, id, outcomes);
  HealDevice(s, id, outcomes);
}

void Tend(const State& before, const Call& call, Outcomes& outcomes) {
  State s = before;
  outcomes.Fail(before);
  outcomes.Die(before);
  const std::optional<Found> found = Find(call.object, s);
  if (!found.has_value()) return outcomes.Succeed(before, {});
  Presence presence = found->presence;
  if (found->vague && presence != Presence::kMissing) {
    outcomes.Succeed(s, {.presence = Presence::kThere});
    if (!found->metadata.self_heal) outcomes.Succeed(s, {.presence = Presence::kDegraded});
    presence = Presence::kDegraded;
  }
  const bool is_unrestored = found->metadata.persistent && found->boot != s.boot;
  const bool heals = presence != Presence::kThere && (found->metadata.self_heal || is_unrestored);
  // It saw something else, if others were about.
  if (!heals || outcomes.circumstances().overlapped) outcomes.Succeed(s, {.presence = presence});
  if (!heals) return;
  Call healing = call;
  healing.id = found->id;
  Outcomes healed(s, healing, outcomes.circumstances());
  Heal(s, call.object.name, found->id, healed);
  for (Outcome& outcome : std::move(healed).Take()) {
    if (outcome.expected.ok) outcome.expected.presence = presence;
    outcomes.Add(outcome.kind, std::move(outcome.after), std::move(outcome.expected));
  }
}

}  // namespace netprov::simulation
