#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "tests/simulation/model.h"
#include "tests/simulation/outcomes.h"

namespace netprov::simulation {

using engine::EndpointSpec;
using engine::Intent;
using engine::Metadata;

namespace {

uint32_t MtuOf(const State::Link& link, const EndpointSpec& made) {
  return link.mtu.value_or(made.mtu.value_or(kUsualMtu));
}

void SetRoutes(int place, const State::Settings& settings, State& state) {
  if (settings.routes_gained.empty() && settings.routes_lost.empty()) return;
  state.routes[place] = With(Without(state.routes[place], settings.routes_lost), settings.routes_gained);
  if (state.routes[place].empty()) state.routes.erase(place);
}

// What was asked for and is lost, an update of something else neither brings back nor takes away.
void TurnIp(const EndpointSpec& old, const EndpointSpec& wanted, const State::Link& link, const Traits& routes,
            LinkTurn& turn) {
  const Traits ip = IpTraits(old.config);
  const Traits wanted_ip = IpTraits(wanted.config);
  turn.wanted.ip_gained = Without(wanted_ip, ip);
  turn.wanted.ip_lost = Without(ip, wanted_ip);
  turn.former.ip_gained = turn.wanted.ip_lost;
  std::erase_if(turn.former.ip_gained, [&](const std::string& trait) { return !link.ip.contains(trait); });
  turn.former.ip_lost = turn.wanted.ip_gained;
  turn.wanted.routes_gained = Without(RouteTraits(wanted.config), RouteTraits(old.config));
  turn.wanted.routes_lost = Without(RouteTraits(old.config), RouteTraits(wanted.config));
  turn.former.routes_gained = turn.wanted.routes_lost;
  std::erase_if(turn.former.routes_gained, [&](const std::string& trait) { return !routes.contains(trait); });
  turn.former.routes_lost = turn.wanted.routes_gained;
}

void TurnPort(const State& state, const EndpointSpec& old, const EndpointSpec& wanted, const State::Link& link,
              LinkTurn& turn) {
  const Words asked = PortWords(wanted.config.port);
  if (wanted.config.bridge != old.config.bridge) {
    turn.wanted.bridge = wanted.config.bridge;
    turn.wanted.port = asked;
    const bool is_port = link.master != 0 && link.master == BridgeNumber(state, old);
    turn.former.bridge = is_port ? old.config.bridge : "";
    if (is_port) turn.former.port = link.port;
    return;
  }
  const Words before = PortWords(old.config.port);
  TurnWords(before, asked, link.port, turn.wanted.port, turn.former.port);
  // With those that were asked for gone, it has those of a new port.
  const bool is_port = link.master != 0 && link.master == BridgeNumber(state, old);
  const auto of_new_port = state.new_port.find(kVlans);
  const bool loses_vlans = before.contains(kVlans) && !asked.contains(kVlans) && link.port.contains(kVlans);
  if (is_port && loses_vlans && of_new_port != state.new_port.end()) turn.wanted.port.insert(*of_new_port);
}

}  // namespace

void TurnWords(const Words& old, const Words& asked, const Words& now, Words& wanted, Words& former) {
  for (const auto& [name, value] : asked) {
    if (!Contains(old, {{name, value}})) wanted[name] = value;
  }
  // What is not asked for any more stays, and is what to go back to all the same.
  for (const auto& [name, value] : now) {
    const bool is_same = old.contains(name) == asked.contains(name) && !wanted.contains(name);
    if (!is_same) former[name] = value;
  }
}

LinkTurn TurnOf(const State& state, const EndpointSpec& old, const EndpointSpec& wanted, const State::Link& link,
                const Traits& routes, EndpointSpec& made) {
  LinkTurn turn;
  TurnIp(old, wanted, link, routes, turn);
  TurnPort(state, old, wanted, link, turn);
  made.config = wanted.config;
  if (wanted.mtu != old.mtu) {
    const uint32_t present = MtuOf(link, made);
    if (wanted.mtu != present) turn.former.mtu = present;
    turn.wanted.mtu = wanted.mtu.value_or(present);
    made.mtu = turn.wanted.mtu;
  }
  if (wanted.up != old.up) {
    const bool present = link.up.value_or(made.up);
    if (wanted.up != present) turn.former.up = present;
    turn.wanted.up = wanted.up;
    made.up = wanted.up;
  }
  return turn;
}

bool IsPossible(const LinkTurn& turn, const State::Link& link, const EndpointSpec& made) {
  if (!turn.wanted.bridge.has_value() && !turn.wanted.port.empty() && link.master == 0) return false;
  const bool gains_route = std::any_of(turn.wanted.ip_gained.begin(), turn.wanted.ip_gained.end(),
                                       [](const std::string& trait) { return absl::StartsWith(trait, "route "); });
  if (!gains_route) return true;
  const bool is_up = turn.wanted.up.value_or(link.up.value_or(made.up));
  return is_up && HasIpv4(With(Without(link.ip, turn.wanted.ip_lost), turn.wanted.ip_gained));
}

void Set(const State::Settings& settings, const EndpointSpec& made, const std::pair<int, std::string>& where,
         State& state) {
  State::Link& link = state.links.at(where);
  if (settings.mtu.has_value()) {
    link.mtu = settings.mtu == made.mtu.value_or(kUsualMtu) ? std::nullopt : settings.mtu;
  }
  if (settings.up.has_value()) link.up = settings.up == made.up ? std::nullopt : settings.up;
  link.ip = With(Without(link.ip, settings.ip_lost), settings.ip_gained);
  link.device = With(link.device, settings.device);
  link.fdb = With(Without(link.fdb, settings.fdb_lost), settings.fdb_gained);
  if (settings.bridge.has_value()) {
    EndpointSpec port = made;
    port.config.bridge = *settings.bridge;
    link.master = BridgeNumber(state, port);
    link.port = link.master == 0 ? Words() : state.new_port;
  }
  if (link.master != 0) link.port = With(link.port, settings.port);
  SetRoutes(where.first, settings, state);
}

void SetRest(const State::VethRecord& record, State& state) {
  const auto a = state.Find(record, /*is_a=*/true);
  const auto b = state.Find(record, /*is_a=*/false);
  if (!a.has_value() || !b.has_value()) return;
  for (const bool is_a : {true, false}) {
    state.links.at(is_a ? *a : *b).limits = LimitTraits(record.spec, is_a);
  }
  std::erase_if(state.beside, [&](const auto& item) { return item.first.second == record.instance; });
  for (const bool is_a : {true, false}) {
    const State::Beside here{.nat = NatTraits(record.spec, is_a), .shapers = ShaperTraits(record.spec, is_a)};
    if (here == State::Beside()) continue;
    State::Beside& now = state.beside[{is_a ? a->first : b->first, record.instance}];
    now = {.nat = With(now.nat, here.nat), .shapers = With(now.shapers, here.shapers)};
  }
}

void SetEnds(const State::VethRecord& record, const State::Settings& a, const State::Settings& b, State& state) {
  for (const bool is_a : {true, false}) {
    const auto where = state.Find(record, is_a);
    if (where.has_value()) Set(is_a ? a : b, is_a ? record.made.a : record.made.b, *where, state);
  }
}

void UndoUpdate(const State::Unfinished& item, bool a, bool b, State& state) {
  if (item.kind == Intent::Kind::kUpdateNamespace) return UndoNamespaceUpdate(item, state);
  if (item.kind == Intent::Kind::kUpdateDevice) {
    const auto device = state.devices.find(item.id);
    if (!a || device == state.devices.end() || device->second.pair != item.made) return;
    const auto where = state.Find(device->second);
    if (where.has_value()) Set(item.a, device->second.made.link, *where, state);
    return;
  }
  const auto record = state.veths.find(item.id);
  if (item.kind != Intent::Kind::kUpdateVeth || record == state.veths.end()) return;
  if (record->second.instance != item.instance) return;
  if (record->second.pair == item.made) {
    SetEnds(record->second, a ? item.a : State::Settings(), b ? item.b : State::Settings(), state);
  }
  if (!item.changes_more) return;
  SetRest(record->second, state);
  // Of a pair that is not whole, some of it goes.
  if (!state.IsThere(record->second)) record->second.vague = true;
}

// What an earlier update of the object could not undo is undone first, or the next one fails.
void FinishEarlierUpdate(const Call& call, int instance, Outcomes& outcomes, State& state) {
  if (call.validate) return;
  const auto item = std::find_if(state.unfinished.begin(), state.unfinished.end(), [&](const auto& unfinished) {
    return (unfinished.kind == Intent::Kind::kUpdateNamespace || unfinished.kind == Intent::Kind::kUpdateVeth ||
            unfinished.kind == Intent::Kind::kUpdateDevice) &&
           unfinished.instance == instance;
  });
  if (item == state.unfinished.end()) return;
  // As it was before that, but for what somebody else may know.
  for (const int ends : {0, 1, 2, 3}) {
    State partly = state;
    UndoUpdate(*item, (ends & 1) != 0, (ends & 2) != 0, partly);
    if (outcomes.circumstances().disturbed) outcomes.Add(Outcome::Kind::kRollbackFailed, std::move(partly));
  }
  UndoUpdate(*item, /*a=*/true, /*b=*/true, state);
  state.unfinished.erase(item);
}

// Another lease begins now, and the same one is renewed.
void ChangeLease(const Metadata& from, const Metadata& to, State& state) {
  const bool is_same = from.owner == to.owner && from.ttl == to.ttl;
  if (is_same || to.ttl != absl::ZeroDuration()) Hear(to.owner, state);
}

// An update that failed has left this. On its way back it may have begun the lease anew.
void FailUpdate(Outcome::Kind kind, const Metadata& from, const Metadata& to, const State& after, Outcomes& outcomes) {
  outcomes.Add(kind, after);
  State heard = after;
  ChangeLease(to, from, heard);
  if (heard.heard != after.heard) outcomes.Add(kind, heard);
  State heard_of_both = after;
  ChangeLease(from, to, heard_of_both);
  ChangeLease(to, from, heard_of_both);
  if (heard_of_both.heard != heard.heard) outcomes.Add(kind, std::move(heard_of_both));
}

bool HoldsPlaces(const Circumstances& circumstances, const engine::VethSpec& spec) {
  const std::vector<std::string>& keys = circumstances.keys;
  for (const EndpointSpec* end : {&spec.a, &spec.b}) {
    const bool has_place = end->place.has_value();
    if (has_place && std::find(keys.begin(), keys.end(), PlaceName(*end->place)) == keys.end()) return false;
  }
  return Holds(circumstances, {spec.a.namespace_id, spec.b.namespace_id});
}

bool Holds(const Circumstances& circumstances, const std::vector<std::string>& namespace_ids) {
  const std::vector<std::string>& keys = circumstances.keys;
  return std::all_of(namespace_ids.begin(), namespace_ids.end(), [&](const std::string& id) {
    return id.empty() || std::find(keys.begin(), keys.end(), engine::NamespaceName(id)) != keys.end();
  });
}

}  // namespace netprov::simulation
