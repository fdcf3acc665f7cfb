#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/simulation/model.h"
#include "tests/simulation/outcomes.h"

namespace netprov::simulation {

using engine::DeviceOptions;
using engine::EndpointSpec;
using engine::Intent;
using engine::Reason;

namespace {

void TurnOptions(const DeviceOptions& old, const DeviceOptions& wanted, const State::Link& link, LinkTurn& turn) {
  TurnWords(DeviceWords(old), DeviceWords(wanted), link.device, turn.wanted.device, turn.former.device);
  turn.wanted.fdb_gained = Without(FdbTraits(wanted), FdbTraits(old));
  turn.wanted.fdb_lost = Without(FdbTraits(old), FdbTraits(wanted));
  turn.former.fdb_gained = Without(turn.wanted.fdb_lost, Without(turn.wanted.fdb_lost, link.fdb));
  turn.former.fdb_lost = turn.wanted.fdb_gained;
}

// What is set again of a link that is there, but for its name.
State::Link SetAgain(const State::DeviceRecord& record, const State::Link& link, bool with_ip) {
  State::Link again = link;
  again.tagged = true;
  again.alias.reset();
  again.mac.reset();
  again.mtu.reset();
  again.up.reset();
  again.device = With(again.device, DeviceWords(record.spec.options));
  again.fdb = With(again.fdb, FdbTraits(record.spec.options));
  if (with_ip) again.ip = IpTraits(record.spec.link.config);
  return again;
}

void HealInPlace(const State& s, const std::string& name, Outcomes& outcomes) {
  const State::DeviceRecord& record = s.devices.at(name);
  const std::pair<int, std::string> where = *s.Find(record);
  const std::pair<int, std::string> home = {where.first, record.made.link.interface_name};
  const bool is_taken = where != home && s.links.contains(home);
  // All of it that comes before the name, or nothing.
  for (const bool is_set : {false, true}) {
    State partly = s;
    if (is_set) partly.links.at(where) = SetAgain(record, s.links.at(where), /*with_ip=*/false);
    partly.devices.at(name).vague = true;
    outcomes.Fail(partly);
    outcomes.Die(partly);
    if (is_taken) outcomes.RefuseAfter(partly, Reason::kKernel);
  }
  if (is_taken) return;
  State after = s;
  after.links.erase(where);
  State::Link& link = after.links[home];
  link = SetAgain(record, s.links.at(where), /*with_ip=*/false);
  link.renamed = false;
  State unsupplied = after;
  unsupplied.devices.at(name).vague = true;
  outcomes.Fail(unsupplied);
  outcomes.Die(unsupplied);
  link = SetAgain(record, link, /*with_ip=*/true);
  after.devices.at(name).vague = false;
  outcomes.Succeed(std::move(after), {.healed = true});
}

}  // namespace

void UpdateDevice(const State& s, const Call& call, Outcomes& outcomes) {
  if (outcomes.Replay()) return;
  outcomes.Die(s);
  const auto found = s.devices.find(call.id);
  // One that came before the device was made holds nothing of the places where it lives.
  if (found == s.devices.end() ||
      !Holds(outcomes.circumstances(), {found->second.spec.link.namespace_id, found->second.spec.lower.namespace_id})) {
    return outcomes.Refuse(Reason::kDeviceNotFound);
  }
  State now = s;
  FinishEarlierUpdate(call, found->second.instance, outcomes, now);
  const State::DeviceRecord& record = found->second;
  State::DeviceRecord updated = record;
  if (!call.change.Apply(updated.metadata)) return outcomes.RefuseAfter(now, Reason::kInvalidChange);
  call.change.Apply(updated.spec);
  LinkTurn turn;
  const auto where = now.Find(record);
  if (updated.spec != record.spec) {
    outcomes.Fail(now);
    if (!where.has_value()) return outcomes.RefuseAfter(now, Reason::kObjectMissing);
    const State::Link& link = now.links.at(*where);
    turn = TurnOf(now, record.spec.link, updated.spec.link, link, {}, updated.made.link);
    TurnOptions(record.spec.options, updated.spec.options, link, turn);
    updated.made.options = updated.spec.options;
  }
  // As the record says, without a look at the kernel.
  DeviceView recorded{.name = call.id,
                      .instance = record.instance,
                      .spec = updated.made,
                      .there = true,
                      .words = {},
                      .fdb = FdbTraits(updated.spec.options),
                      .ports = PortsOf(now, call.id),
                      .metadata = updated.metadata,
                      .expires = {}};
  if (!updated.spec.link.mtu.has_value()) recorded.spec.link.mtu.reset();
  if (call.validate) {
    outcomes.Fail(s);
    recorded.words = DeviceWords(updated.spec.options);
    recorded.expires = record.metadata.ttl != absl::ZeroDuration();
    return outcomes.Succeed(s, {.device = recorded});
  }
  FailUpdate(Outcome::Kind::kFailed, record.metadata, updated.metadata, now, outcomes);
  for (const bool stays_so : {false, true}) {
    State stays = now;
    stays.unfinished.push_back({.kind = Intent::Kind::kUpdateDevice,
                                .id = call.id,
                                .instance = record.instance,
                                .made = record.pair,
                                .boot = now.boot,
                                .a = turn.former,
                                .b = {}});
    if (stays_so && where.has_value()) Set(turn.wanted, record.made.link, *where, stays);
    if (outcomes.circumstances().disturbed && updated.spec != record.spec) {
      FailUpdate(Outcome::Kind::kRollbackFailed, record.metadata, updated.metadata, stays, outcomes);
    }
    if (outcomes.circumstances().registry_failed && !stays_so) {
      FailUpdate(Outcome::Kind::kIntentStays, record.metadata, updated.metadata, stays, outcomes);
    }
  }
  if (where.has_value() && !IsPossible(turn, now.links.at(*where), updated.made.link)) {
    return outcomes.RefuseAfter(now, Reason::kKernel);
  }
  State after = now;
  after.devices[call.id] = updated;
  if (where.has_value()) Set(turn.wanted, updated.made.link, *where, after);
  ChangeLease(record.metadata, updated.metadata, after);
  // A failure to look is no failure of what was done.
  if (outcomes.circumstances().disturbed) outcomes.Succeed(after, {.device = recorded});
  const Expected expected{.device = after.DescribeDevice(call.id)};
  outcomes.Succeed(std::move(after), expected);
}

void HealDevice(const State& s, const std::string& name, Outcomes& outcomes) {
  const State::DeviceRecord& record = s.devices.at(name);
  if (s.IsThere(record)) return HealInPlace(s, name, outcomes);
  const EndpointSpec& made = record.made.link;
  const std::optional<int> place = PlaceOf(s, made.namespace_id);
  if (!place.has_value()) return outcomes.Refuse(NamespaceRefusal(s, made.namespace_id));
  if (s.links.contains({*place, made.interface_name})) return outcomes.Refuse(Reason::kInterfaceNameTaken);
  const Footing footing = FootingOf(s, record.spec);
  if (footing.refusal.has_value()) return outcomes.Refuse(*footing.refusal);
  State after = s;
  State::DeviceRecord& again = after.devices.at(name);
  after.RemovePair(record.pair);
  outcomes.Fail(after);
  outcomes.Die(after);
  const int pair = after.next_instance++;
  outcomes.LeaveIntent(after, Intent::Kind::kCreateDevice, record.instance, pair);
  outcomes.Leave(after, Intent::Kind::kCreateDevice, record.instance, pair);
  if (IsDeviceTaken(after, record.spec, footing.lower)) return outcomes.RefuseAfter(after, Reason::kKernel);
  State::DeviceRecord remade = record;
  remade.pair = pair;
  for (const bool tagged : {false, true}) {
    PutDevice(remade, *place, footing.lower, tagged, after);
    outcomes.Leave(after, Intent::Kind::kCreateDevice, record.instance, pair);
  }
  again.pair = pair;
  again.boot = s.boot;
  again.vague = false;
  outcomes.Succeed(std::move(after), {.healed = true});
}

}  // namespace netprov::simulation
