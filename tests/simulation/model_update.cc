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
using engine::Reason;
using engine::VethSpec;

namespace {

uint32_t MtuOf(const State::Link& link, const EndpointSpec& made) {
  return link.mtu.value_or(made.mtu.value_or(kUsualMtu));
}

void Set(const State::Settings& settings, const EndpointSpec& made, State::Link& link) {
  if (settings.mtu.has_value()) {
    link.mtu = settings.mtu == made.mtu.value_or(kUsualMtu) ? std::nullopt : settings.mtu;
  }
  if (settings.up.has_value()) link.up = settings.up == made.up ? std::nullopt : settings.up;
  link.ip = With(Without(link.ip, settings.ip_lost), settings.ip_gained);
}

void SetRoutes(int place, const State::Settings& settings, State& state) {
  if (settings.routes_gained.empty() && settings.routes_lost.empty()) return;
  state.routes[place] = With(Without(state.routes[place], settings.routes_lost), settings.routes_gained);
  if (state.routes[place].empty()) state.routes.erase(place);
}

// What is held to rates and translated for a pair that is there becomes what it asks for.
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

// Whether what is beside the links is as it was asked for.
bool IsWhole(const State::VethRecord& record, const State& state) {
  if (!state.IsThere(record)) return false;
  State whole = state;
  SetRest(record, whole);
  return whole.links == state.links && whole.beside == state.beside;
}

// Both ends, or one of them, of a pair as far as it is there.
void SetEnds(const State::VethRecord& record, const State::Settings& a, const State::Settings& b, State& state) {
  for (const bool is_a : {true, false}) {
    const auto where = state.Find(record, is_a);
    if (!where.has_value()) continue;
    Set(is_a ? a : b, is_a ? record.made.a : record.made.b, state.links.at(*where));
    SetRoutes(where->first, is_a ? a : b, state);
  }
}

}  // namespace

// What an update did to the pair, and not to one that was made in its stead since. With `a` alone only that end.
void UndoUpdate(const State::Unfinished& item, bool a, bool b, State& state) {
  if (item.kind == Intent::Kind::kUpdateNamespace) return UndoNamespaceUpdate(item, state);
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
    return (unfinished.kind == Intent::Kind::kUpdateNamespace || unfinished.kind == Intent::Kind::kUpdateVeth) &&
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
namespace {

// What an update makes of an end that is there, and what it goes back to.
struct EndTurn {
  State::Settings former;
  State::Settings wanted;
};

// What was asked for and is lost, an update of something else neither brings back nor takes away.
void TurnConfig(const EndpointSpec& old, const EndpointSpec& wanted, const State::Link& link, const Traits& routes,
                EndTurn& turn) {
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

EndTurn TurnOf(const EndpointSpec& old, const EndpointSpec& wanted, const State::Link& link, const Traits& routes,
               EndpointSpec& made) {
  EndTurn turn;
  TurnConfig(old, wanted, link, routes, turn);
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

// Whether the kernel takes the routes that an end gains.
bool TakesRoutes(const EndTurn& turn, const std::optional<std::pair<int, std::string>>& where, const EndpointSpec& made,
                 const State& state) {
  const bool gains_route = std::any_of(turn.wanted.ip_gained.begin(), turn.wanted.ip_gained.end(),
                                       [](const std::string& trait) { return absl::StartsWith(trait, "route "); });
  if (!gains_route || !where.has_value()) return true;
  const State::Link& link = state.links.at(*where);
  const bool is_up = turn.wanted.up.value_or(link.up.value_or(made.up));
  return is_up && HasIpv4(With(Without(link.ip, turn.wanted.ip_lost), turn.wanted.ip_gained));
}

bool HoldsPlacesOf(const State::VethRecord& record, const Circumstances& circumstances) {
  const std::vector<std::string>& keys = circumstances.keys;
  auto holds = [&](const EndpointSpec& end) {
    return end.namespace_id.empty() ||
           std::find(keys.begin(), keys.end(), engine::NamespaceName(end.namespace_id)) != keys.end();
  };
  return holds(record.spec.a) && holds(record.spec.b);
}

// Whether something else is translated for an end.
bool TranslatesOtherwise(const VethSpec& one, const VethSpec& other) {
  for (const bool is_a : {true, false}) {
    const engine::EndpointConfig& a = is_a ? one.a.config : one.b.config;
    const engine::EndpointConfig& b = is_a ? other.a.config : other.b.config;
    if (!a.HasNat() && !b.HasNat()) continue;
    if (a.masquerade != b.masquerade || a.port_forwards != b.port_forwards || a.ip.addresses != b.ip.addresses) {
      return true;
    }
  }
  return false;
}

}  // namespace

void UpdateVeth(const State& s, const Call& call, Outcomes& outcomes) {
  if (outcomes.Replay()) return;
  outcomes.Die(s);
  const auto found = s.veths.find(call.id);
  // One that came before the pair was made holds nothing of the places where it lives.
  if (found == s.veths.end() || !HoldsPlacesOf(found->second, outcomes.circumstances())) {
    return outcomes.Refuse(Reason::kVethNotFound);
  }
  State now = s;
  FinishEarlierUpdate(call, found->second.instance, outcomes, now);
  const State::VethRecord& record = found->second;
  State::VethRecord updated = record;
  if (!call.change.Apply(updated.metadata)) return outcomes.RefuseAfter(now, Reason::kInvalidChange);
  call.change.Apply(updated.spec);
  EndTurn a;
  EndTurn b;
  for (const bool is_a : {true, false}) {
    const EndpointSpec& old = is_a ? record.spec.a : record.spec.b;
    const EndpointSpec& wanted = is_a ? updated.spec.a : updated.spec.b;
    if (wanted == old) continue;
    const auto where = now.Find(record, is_a);
    if (!where.has_value()) {
      outcomes.Fail(now);
      return outcomes.RefuseAfter(now, Reason::kObjectMissing);
    }
    const auto routes = now.routes.find(where->first);
    (is_a ? a : b) = TurnOf(old, wanted, now.links.at(*where), routes == now.routes.end() ? Traits() : routes->second,
                            is_a ? updated.made.a : updated.made.b);
    const Traits gained = (is_a ? a : b).wanted.routes_gained;
    if (gained.empty()) continue;
    outcomes.Fail(now);
    const bool is_taken = IsRouteTaken(now, gained, where->first);
    if (is_taken || now.IsAnythingVague()) outcomes.RefuseAfter(now, Reason::kKernel);
    if (is_taken && !now.IsAnythingVague()) return;
  }
  const bool changes_limits = LimitTraits(record.spec, true) != LimitTraits(updated.spec, true) ||
                              LimitTraits(record.spec, false) != LimitTraits(updated.spec, false);
  const bool has_nat = record.spec.a.config.HasNat() || record.spec.b.config.HasNat() ||
                       updated.spec.a.config.HasNat() || updated.spec.b.config.HasNat();
  const bool changes_nat = has_nat && TranslatesOtherwise(record.spec, updated.spec);
  const bool changes_more = changes_limits || changes_nat;
  const auto where_a = now.Find(record, /*is_a=*/true);
  const auto where_b = now.Find(record, /*is_a=*/false);
  if (changes_nat) {
    outcomes.Fail(now);
    const std::optional<int> in_a = PlaceOf(now, record.spec.a.namespace_id);
    const std::optional<int> in_b = PlaceOf(now, record.spec.b.namespace_id);
    // One that is gone cannot be looked into.
    if (!in_a.has_value() || !in_b.has_value()) outcomes.RefuseAfter(now, Reason::kKernel);
    const bool is_taken =
        in_a.has_value() && in_b.has_value() && IsNatTaken(now, updated.spec, *in_a, *in_b, record.instance);
    if (is_taken || now.IsAnythingVague()) outcomes.RefuseAfter(now, Reason::kPortForwardTaken);
    if (is_taken && !now.IsAnythingVague()) return;
  }
  // As the record says, without a look at the kernel.
  VethView recorded{.id = call.id,
                    .instance = record.instance,
                    .spec = updated.made,
                    .a_there = true,
                    .b_there = true,
                    .metadata = updated.metadata,
                    .expires = {}};
  if (call.validate) {
    outcomes.Fail(s);
    recorded.spec.a.mtu = updated.spec.a.mtu.has_value() ? updated.spec.a.mtu : record.made.a.mtu;
    recorded.spec.b.mtu = updated.spec.b.mtu.has_value() ? updated.spec.b.mtu : record.made.b.mtu;
    recorded.expires = record.metadata.ttl != absl::ZeroDuration();
    return outcomes.Succeed(s, {.netns = {}, .veth = recorded});
  }
  BlurForwarding(updated.spec, now, outcomes);
  State undone = now;
  // What is beside the links is made again as it was asked for.
  if (changes_more && !IsWhole(record, now)) {
    undone.veths.at(call.id).vague = true;
    outcomes.Die(undone);
    FailUpdate(Outcome::Kind::kFailed, record.metadata, updated.metadata, undone, outcomes);
  }
  FailUpdate(Outcome::Kind::kFailed, record.metadata, updated.metadata, now, outcomes);
  // What one end or both could not go back from.
  for (const int ends : {0, 1, 2, 3}) {
    const bool stays_a = (ends & 1) != 0;
    const bool stays_b = (ends & 2) != 0;
    if ((stays_a && a.former == State::Settings()) || (stays_b && b.former == State::Settings())) continue;
    State stays = now;
    stays.unfinished.push_back({.kind = Intent::Kind::kUpdateVeth,
                                .id = call.id,
                                .instance = record.instance,
                                .made = record.pair,
                                .boot = now.boot,
                                .a = a.former,
                                .b = b.former,
                                .changes_more = changes_more});
    SetEnds(record, stays_a ? a.wanted : State::Settings(), stays_b ? b.wanted : State::Settings(), stays);
    if (outcomes.circumstances().disturbed && updated.spec != record.spec) {
      FailUpdate(Outcome::Kind::kRollbackFailed, record.metadata, updated.metadata, stays, outcomes);
    }
    if (outcomes.circumstances().registry_failed && ends == 0) {
      FailUpdate(Outcome::Kind::kIntentStays, record.metadata, updated.metadata, stays, outcomes);
    }
  }
  // A link that is not there is not held to anything, and one that is down or has no address of the gateway's network
  // gets no route.
  const bool has_no_limits = changes_limits && (!where_a.has_value() || !where_b.has_value());
  if (has_no_limits || !TakesRoutes(a, where_a, updated.made.a, now) || !TakesRoutes(b, where_b, updated.made.b, now)) {
    return outcomes.RefuseAfter(undone, Reason::kKernel);
  }
  State after = now;
  after.veths[call.id] = updated;
  SetEnds(updated, a.wanted, b.wanted, after);
  if (changes_more) SetRest(updated, after);
  // What is translated for one that is not whole is so all the same, as far as a namespace is there.
  if (changes_more && !after.IsThere(updated)) after.veths.at(call.id).vague = true;
  for (const bool is_a : {true, false}) {
    const engine::EndpointConfig& config = is_a ? updated.spec.a.config : updated.spec.b.config;
    const engine::EndpointConfig& before = is_a ? record.spec.a.config : record.spec.b.config;
    const auto& other = is_a ? where_b : where_a;
    const bool is_new = config.ip_forwarding && (!before.ip_forwarding || before.ip.addresses != config.ip.addresses);
    if (is_new && other.has_value()) after.forwarding.insert(other->first);
  }
  ChangeLease(record.metadata, updated.metadata, after);
  // A failure to look is no failure of what was done.
  if (outcomes.circumstances().disturbed) outcomes.Succeed(after, {.netns = {}, .veth = recorded});
  const Expected expected{.netns = {}, .veth = after.DescribeVeth(call.id)};
  outcomes.Succeed(std::move(after), expected);
}

}  // namespace netprov::simulation
