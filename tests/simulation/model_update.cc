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

// Whether what is beside the links is as it was asked for.
bool IsWhole(const State::VethRecord& record, const State& state) {
  if (!state.IsThere(record)) return false;
  State whole = state;
  SetRest(record, whole);
  return whole.links == state.links && whole.beside == state.beside;
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
  if (found == s.veths.end() || !HoldsPlaces(outcomes.circumstances(), found->second.spec)) {
    return outcomes.Refuse(Reason::kVethNotFound);
  }
  State now = s;
  FinishEarlierUpdate(call, found->second.instance, outcomes, now);
  const State::VethRecord& record = found->second;
  State::VethRecord updated = record;
  if (!call.change.Apply(updated.metadata)) return outcomes.RefuseAfter(now, Reason::kInvalidChange);
  call.change.Apply(updated.spec);
  if (!MayPersist(updated.spec, updated.metadata)) return outcomes.RefuseAfter(now, Reason::kInvalidChange);
  LinkTurn a;
  LinkTurn b;
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
    (is_a ? a : b) =
        TurnOf(now, old, wanted, now.links.at(*where), routes == now.routes.end() ? Traits() : routes->second,
               is_a ? updated.made.a : updated.made.b);
    if (wanted.config.bridge != old.config.bridge) {
      outcomes.Fail(now);
      const std::optional<Reason> refusal = BridgeRefusal(now, wanted);
      if (refusal.has_value()) return outcomes.RefuseAfter(now, *refusal);
    }
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
    const std::optional<int> in_a = PlaceOf(now, record.spec.a);
    const std::optional<int> in_b = PlaceOf(now, record.spec.b);
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
                    .spec = WithoutPorts(updated.made),
                    .a_there = true,
                    .b_there = true,
                    .metadata = updated.metadata,
                    .expires = {}};
  if (call.validate) {
    outcomes.Fail(s);
    recorded.a_port = PortWords(updated.spec.a.config.port);
    recorded.b_port = PortWords(updated.spec.b.config.port);
    recorded.spec.a.mtu = updated.spec.a.mtu.has_value() ? updated.spec.a.mtu : record.made.a.mtu;
    recorded.spec.b.mtu = updated.spec.b.mtu.has_value() ? updated.spec.b.mtu : record.made.b.mtu;
    recorded.expires = record.metadata.ttl != absl::ZeroDuration();
    return outcomes.Succeed(s, {.netns = {}, .veth = recorded});
  }
  if (!updated.spec.a.config.bridge.empty()) recorded.a_port.reset();
  if (!updated.spec.b.config.bridge.empty()) recorded.b_port.reset();
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
  // A link that is not there is not held to anything.
  const bool has_no_limits = changes_limits && (!where_a.has_value() || !where_b.has_value());
  auto is_possible = [&now](const LinkTurn& turn, const auto& where, const EndpointSpec& made) {
    return !where.has_value() || IsPossible(turn, now.links.at(*where), made);
  };
  if (has_no_limits || !is_possible(a, where_a, updated.made.a) || !is_possible(b, where_b, updated.made.b)) {
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
