#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "tests/simulation/model.h"
#include "tests/simulation/outcomes.h"

namespace netprov::simulation {

using engine::DeviceSpec;
using engine::EndpointSpec;
using engine::Intent;
using engine::Reason;

std::vector<std::string> PortsOf(const State& state, const std::string& bridge) {
  std::vector<std::string> ports;
  for (const auto& [id, veth] : state.veths) {
    if (veth.spec.a.config.bridge == bridge || veth.spec.b.config.bridge == bridge) {
      ports.push_back(engine::VethName(id));
    }
  }
  return ports;
}

int BridgeNumber(const State& state, const EndpointSpec& end) {
  const auto bridge = state.devices.find(end.config.bridge);
  if (bridge == state.devices.end() || bridge->second.spec.link.namespace_id != end.namespace_id ||
      end.place.has_value()) {
    return 0;
  }
  return state.IsThere(bridge->second) ? bridge->second.pair : 0;
}

std::optional<Reason> BridgeRefusal(const State& state, const EndpointSpec& end) {
  if (end.config.bridge.empty()) return std::nullopt;
  if (!state.devices.contains(end.config.bridge)) return Reason::kDeviceNotFound;
  return BridgeNumber(state, end) == 0 ? std::optional(Reason::kBridgeUnusable) : std::nullopt;
}

void Join(const State& state, const EndpointSpec& end, State::Link& link) {
  const int bridge = BridgeNumber(state, end);
  if (bridge == 0) return;
  if (link.master != bridge) link.port = state.new_port;
  link.master = bridge;
  link.port = With(link.port, PortWords(end.config.port));
}

Footing FootingOf(const State& state, const DeviceSpec& spec) {
  const std::optional<int> place = PlaceOf(state, spec.lower.namespace_id);
  if (!place.has_value()) return {.refusal = NamespaceRefusal(state, spec.lower.namespace_id)};
  if (spec.lower.interface_name.empty()) return {};
  const auto lower = state.links.find({*place, spec.lower.interface_name});
  if (lower == state.links.end()) return {.refusal = Reason::kLowerNotFound};
  return {.lower = lower->second.pair, .refusal = std::nullopt};
}

bool IsDeviceTaken(const State& state, const DeviceSpec& spec, int lower) {
  const std::string kind = KindOf(spec.options);
  // Where its own packets are: where the link is that it stands on.
  auto place_below = [&state](int number) {
    const auto found = std::find_if(state.links.begin(), state.links.end(),
                                    [number](const auto& item) { return item.second.pair == number; });
    return found == state.links.end() ? 0 : found->first.first;
  };
  Words words = DeviceWords(spec.options);
  return std::any_of(state.links.begin(), state.links.end(), [&](const auto& item) {
    const State::Link& link = item.second;
    // A namespace has one identifier once.
    if (kind == "vxlan" && link.kind == kind) {
      return link.device.at("vni") == words["vni"] && place_below(link.lower) == place_below(lower);
    }
    if (lower == 0 || link.lower != lower) return false;
    if (kind == "vlan" && link.kind == kind) return link.device.at("id") == words["id"];
    return (kind == "macvlan" && link.kind == "ipvlan") || (kind == "ipvlan" && link.kind == "macvlan");
  });
}

void PutDevice(const State::DeviceRecord& record, int place, int lower, bool tagged, State& state) {
  state.links[{place, record.made.link.interface_name}] = {.pair = record.pair,
                                                           .instance = record.instance,
                                                           .kind = KindOf(record.spec.options),
                                                           .is_a = true,
                                                           .tagged = tagged,
                                                           .alias = {},
                                                           .mac = {},
                                                           .mtu = {},
                                                           .up = {},
                                                           .ip = IpTraits(record.spec.link.config),
                                                           .device = NewDeviceWords(record.spec.options),
                                                           .fdb = FdbTraits(record.spec.options),
                                                           .lower = lower};
}

DeviceView State::DescribeDevice(const std::string& name) const {
  const DeviceRecord& record = devices.at(name);
  DeviceSpec made = record.made;
  // Else it follows that of other links.
  if (!record.spec.link.mtu.has_value()) made.link.mtu.reset();
  DeviceView view{.name = name,
                  .instance = record.instance,
                  .presence = Presence::kMissing,
                  .spec = made,
                  .words = {},
                  .ports = PortsOf(*this, name),
                  .vague = IsVague(record),
                  .metadata = record.metadata,
                  .expires = {}};
  const auto where = Find(record);
  if (!where.has_value()) return view;
  const Link& link = links.at(*where);
  EndpointSpec& now = view.spec.link;
  now.interface_name = where->second;
  if (link.mac.has_value() && !FollowsLowerMac(record.spec.options)) now.mac = link.mac;
  if (now.mtu.has_value() && link.mtu.has_value()) now.mtu = link.mtu;
  now.up = link.up.value_or(now.up);
  KeepThere(link.ip, {}, now.config);
  view.there = true;
  view.words = link.device;
  const Traits asked = FdbTraits(record.spec.options);
  view.fdb = Without(asked, Without(asked, link.fdb));
  const bool is_as_made =
      link.tagged && now == made.link && view.fdb == asked && Contains(link.device, DeviceWords(record.spec.options));
  view.presence = is_as_made ? Presence::kThere : Presence::kDegraded;
  return view;
}

std::optional<std::pair<int, std::string>> State::Find(const DeviceRecord& device) const {
  if (device.boot != boot) return std::nullopt;
  const auto found = std::find_if(links.begin(), links.end(), [&](const auto& link) {
    return link.second.pair == device.pair && !link.second.moved;
  });
  return found == links.end() ? std::nullopt : std::optional(found->first);
}

void CreateDevice(const State& s, const Call& call, Outcomes& outcomes) {
  if (outcomes.Replay()) return;
  outcomes.Fail(s);
  outcomes.Die(s);
  const auto existing = s.devices.find(call.id);
  const bool exists = existing != s.devices.end();
  if (exists && s.IsThere(existing->second)) {
    const bool matches = existing->second.spec == call.device && existing->second.metadata == call.metadata;
    if (!call.allow || !matches) return outcomes.RefuseExisting(Reason::kDeviceAlreadyExists, matches);
    return outcomes.Succeed(s, {.device = s.DescribeDevice(call.id)});
  }
  const EndpointSpec& link = call.device.link;
  if (exists && existing->second.spec.link.namespace_id != link.namespace_id && !PortsOf(s, call.id).empty()) {
    return outcomes.Refuse(Reason::kDeviceInUse);
  }
  outcomes.Overtake(s);
  State room = s;
  const int instance = room.next_instance++;
  // Only the intent, or the kernel refused and nobody could make sure that nothing was left.
  outcomes.Leave(room, Intent::Kind::kCreateDevice, instance, instance);
  const std::optional<int> place = PlaceOf(s, link.namespace_id);
  const Footing footing = FootingOf(s, call.device);
  // Of several reasons, any may be said.
  if (!place.has_value()) outcomes.Refuse(NamespaceRefusal(s, link.namespace_id));
  if (footing.refusal.has_value()) outcomes.Refuse(*footing.refusal);
  if (!place.has_value()) return;
  const auto taken = s.links.find({*place, link.interface_name});
  if (taken != s.links.end()) {
    outcomes.Refuse(Reason::kInterfaceNameTaken);
    // What an earlier call has left without a tag cannot be told from what this one may have left.
    const State::Link& left = taken->second;
    if (left.kind == KindOf(call.device.options) && !left.tagged && !IsRecorded(s, left.pair)) {
      State swept = room;
      swept.RemovePair(left.pair);
      outcomes.Fail(swept);
      outcomes.Leave(swept, Intent::Kind::kCreateDevice, instance, instance);
    }
  }
  if (footing.refusal.has_value() || (taken != s.links.end() && !IsPattern(link.interface_name))) return;
  if (s.missing_kinds.contains(KindOf(call.device.options)) && !call.validate) return outcomes.Refuse(Reason::kKernel);
  // Only the kernel knows, when it is asked to make it.
  if (IsDeviceTaken(s, call.device, footing.lower) && !call.validate) {
    return outcomes.Refuse(Reason::kDeviceRefused);
  }
  for (const std::string& name :
       ChooseNames(s, *place, link.interface_name, /*taken=*/"", outcomes.circumstances().overlapped)) {
    State::DeviceRecord record{.instance = instance,
                               .pair = instance,
                               .boot = s.boot,
                               .spec = call.device,
                               .made = call.device,
                               .metadata = call.metadata};
    record.made.link.interface_name = name;
    if (call.validate) {
      outcomes.Succeed(s, {.device = DeviceView{.name = call.id,
                                                .spec = record.made,
                                                .words = DeviceWords(call.device.options),
                                                .fdb = FdbTraits(call.device.options),
                                                .ports = {},
                                                .metadata = call.metadata,
                                                .expires = {}}});
      continue;
    }
    State made = room;
    for (const bool tagged : {false, true}) {
      PutDevice(record, *place, footing.lower, tagged, made);
      outcomes.Leave(made, Intent::Kind::kCreateDevice, instance, instance);
    }
    made.devices[call.id] = std::move(record);
    const Expected expected{.device = made.DescribeDevice(call.id)};
    outcomes.Succeed(std::move(made), expected);
  }
}

void DeleteDevice(const State& s, const Call& call, Outcomes& outcomes) {
  if (outcomes.Replay()) return;
  outcomes.Fail(s);
  outcomes.Die(s);
  const auto record = s.devices.find(call.id);
  if (record == s.devices.end()) {
    if (!call.allow) return outcomes.Refuse(Reason::kDeviceNotFound);
    return outcomes.Succeed(s, {});
  }
  if (!PortsOf(s, call.id).empty()) return outcomes.Refuse(Reason::kDeviceInUse);
  if (call.validate) return outcomes.Succeed(s, {});
  const int instance = record->second.instance;
  outcomes.LeaveIntent(s, Intent::Kind::kDeleteDevice, instance);
  State after = s;
  after.RemovePair(record->second.pair);
  outcomes.LeaveHalfDeleted(after, Intent::Kind::kDeleteDevice, instance);
  after.devices.erase(call.id);
  outcomes.Succeed(std::move(after), {});
}

}  // namespace netprov::simulation
