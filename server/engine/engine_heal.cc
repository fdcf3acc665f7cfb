#include <algorithm>
#include <cerrno>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "server/engine/endpoint.h"
#include "server/engine/engine.h"
#include "server/engine/error.h"
#include "server/engine/link_difference.h"

namespace netprov::engine {
std::vector<std::string> Engine::Keys(const ObjectRef& object) const {
  if (auto id = NamespaceIdIn(object.name); id.has_value()) return Keys(DeleteNamespaceCall{.id = *id});
  if (auto id = VethIdIn(object.name); id.has_value()) return Keys(DeleteVethCall{.id = *id});
  return Keys(DeleteDeviceCall{.name = object.name});
}

template <typename Record>
bool Engine::IsToBeHealed(const Record& record) const {
  return record.metadata.self_heal || (record.metadata.persistent && record.boot_id != kernel_.BootId());
}

EngineResult<std::optional<Engine::Condition>> Engine::Inspect(const ObjectRef& object) {
  if (auto id = NamespaceIdIn(object.name); id.has_value()) {
    const std::optional<NamespaceRecord> record = registry_.FindNamespace(*id);
    if (!record.has_value() || record->uid != object.uid) return std::optional<Condition>();
    NETPROV_ASSIGN_OR_RETURN(Namespace netns, Describe(*id, record));
    return std::optional(Condition{
        .state = netns.state, .deviations = std::move(netns.deviations), .is_to_be_healed = IsToBeHealed(*record)});
  }
  if (auto id = VethIdIn(object.name); id.has_value()) {
    const std::optional<VethRecord> record = registry_.FindVeth(*id);
    if (!record.has_value() || record->uid != object.uid) return std::optional<Condition>();
    NETPROV_ASSIGN_OR_RETURN(Veth veth, Describe(*record));
    return std::optional(Condition{
        .state = veth.state, .deviations = std::move(veth.deviations), .is_to_be_healed = IsToBeHealed(*record)});
  }
  const std::optional<DeviceRecord> record = registry_.FindDevice(object.name);
  if (!record.has_value() || record->uid != object.uid) return std::optional<Condition>();
  NETPROV_ASSIGN_OR_RETURN(Device device, Describe(*record));
  return std::optional(Condition{
      .state = device.state, .deviations = std::move(device.deviations), .is_to_be_healed = IsToBeHealed(*record)});
}

EngineResult<void> Engine::Heal(const ObjectRef& object) {
  if (auto id = NamespaceIdIn(object.name); id.has_value()) {
    const std::optional<NamespaceRecord> record = registry_.FindNamespace(*id);
    if (!record.has_value() || record->uid != object.uid) return {};
    return HealNamespace(*record);
  }
  if (auto id = VethIdIn(object.name); id.has_value()) {
    const std::optional<VethRecord> record = registry_.FindVeth(*id);
    if (!record.has_value() || record->uid != object.uid) return {};
    return HealVeth(*record);
  }
  const std::optional<DeviceRecord> record = registry_.FindDevice(object.name);
  if (!record.has_value() || record->uid != object.uid) return {};
  return HealDevice(*record);
}

EngineResult<void> Engine::ResetNamespace(const NamespaceRecord& record, const NetnsEntry& entry) {
  const std::string object = NamespaceName(record.id);
  const NetnsRef netns{.name = record.id, .cookie = record.cookie};
  LinkSettings settings;
  if (!entry.loopback_up) settings.up = true;
  if (entry.loopback_alias != TagFor(record)) settings.alias = TagFor(record);
  if (settings.up.has_value() || settings.alias.has_value()) {
    KernelResult<void> set = kernel_.SetLink(netns, kLoopbackIndex, settings);
    if (!set.ok()) return KernelFailure(object, "set the loopback link again", set.error());
  }
  if (!record.spec.sysctls.empty()) {
    KernelResult<void> set = kernel_.SetSysctls(netns, record.spec.sysctls);
    if (!set.ok()) return KernelFailure(object, "set the sysctls again", set.error());
  }
  // A file of somebody else's may be in the way for long.
  return ResetDns(record);
}

EngineResult<void> Engine::HealNamespace(const NamespaceRecord& record) {
  const std::string object = NamespaceName(record.id);
  NETPROV_ASSIGN_OR_RETURN(const std::optional<NetnsEntry> entry, FindNetns(record.id));
  if (IsThere(record, entry)) return ResetNamespace(record, *entry);
  if (entry.has_value() && entry->is_netns) return NamespaceNotManaged(record.id);
  // What others made in it can't be made again.
  if (record.adoption.has_value()) return NamespaceMissing(record.id);
  // The file is what is left of ours, unless it holds something.
  if (entry.has_value()) {
    KernelResult<void> removed = kernel_.RemoveStaleNetnsFile(record.id);
    if (!removed.ok() && removed.error().code == EMEDIUMTYPE) return NamespaceFileStale(record.id);
    if (!removed.ok()) return KernelFailure(object, "remove the file " + record.id, removed.error());
  }
  NamespaceRecord again = record;
  again.boot_id = kernel_.BootId();
  again.cookie = 0;
  EngineResult<NamespaceRecord> made = MakeNamespace(std::move(again), {}, /*is_new=*/false, /*replaced=*/std::nullopt);
  if (!made.ok()) return std::move(made).error();
  return {};
}

KernelResult<void> Engine::DeleteStrayLinks(const std::string& kind, const std::string& tag) {
  std::vector<NetnsRef> places = {NetnsRef{}};
  NETPROV_ASSIGN_OR_RETURN(const std::vector<std::string> names, kernel_.ListNetns());
  for (const std::string& name : names) {
    KernelResult<std::optional<NetnsEntry>> entry = kernel_.FindNetns(name);
    // Nor could anybody have moved them into one that can't be entered.
    if (!entry.ok() || !entry->has_value() || !(*entry)->is_netns) continue;
    places.push_back({.name = name, .cookie = (*entry)->cookie});
  }
  for (const NetnsRef& place : places) {
    KernelResult<std::vector<Link>> links = kernel_.ListLinks(place);
    if (!links.ok()) {
      if (NamespaceIsGone(links.error())) continue;
      return std::move(links).error();
    }
    for (const Link& link : *links) {
      if (link.kind != kind || link.alias != tag) continue;
      NETPROV_RETURN_IF_ERROR(UnlessGone(kernel_.DeleteLink(place, link.ifindex)));
    }
  }
  return {};
}

EngineResult<void> Engine::Reset(const std::string& object, const NetnsRef& netns, const Endpoint& made,
                                 const LinkDifference& difference) {
  if (difference.deviations.empty()) return {};
  KernelResult<void> set = kernel_.SetLink(netns, made.ifindex, difference.settings);
  if (!set.ok()) return KernelFailure(object, "set " + made.interface_name + " again", set.error());
  return {};
}

EngineResult<void> Engine::Supply(const std::string& object, const NetnsRef& netns, const EndpointSpec& spec,
                                  const Link& link) {
  NETPROV_ASSIGN_OR_RETURN(const Shortage shortage, FindShortage(object, netns, spec, link));
  if (shortage.alternative_names.empty() && shortage.ip.empty()) return {};
  const std::string step = "configure " + link.name + " again";
  KernelResult<void> configured =
      kernel_.Configure(netns, link.ifindex, shortage.alternative_names, shortage.ip, /*anew=*/true);
  if (!configured.ok()) return KernelFailure(object, step, configured.error());
  const std::vector<RouteSpec> without_link = RoutesWithoutLinkOf(shortage.ip);
  if (without_link.empty()) return {};
  KernelResult<void> added = kernel_.AddRoutes(netns, without_link);
  if (!added.ok()) return KernelFailure(object, step, added.error());
  return {};
}

EngineResult<void> Engine::HealVeth(const VethRecord& record) {
  const std::string object = VethName(record.id);
  struct End {
    const EndpointSpec* spec;
    const Endpoint* made;
    const Endpoint* other;
    Link link;
  };
  std::vector<End> found;
  for (End end : {End{&record.spec.a, &record.a, &record.b, {}}, End{&record.spec.b, &record.b, &record.a, {}}}) {
    KernelResult<std::optional<Link>> link = FindEnd(record, *end.made, *end.other);
    if (!link.ok()) return KernelFailure(object, "look at veth " + record.id, link.error());
    if (!link->has_value()) continue;
    end.link = **link;
    found.push_back(std::move(end));
  }
  if (found.size() == 2) {
    EngineResult<void> healed;
    // Both, also where one can't be: what was put right stays so.
    for (const End& end : found) {
      const NetnsRef netns = RefOf(record, *end.made);
      NETPROV_ASSIGN_OR_RETURN(const LinkDifference difference,
                               FindDifference(object, "", netns, *end.made, *end.spec, TagFor(record), end.link));
      EngineResult<void> set = Reset(object, netns, *end.made, difference);
      if (!set.ok()) healed = std::move(set);
    }
    // Then what may have gone with it: a link that goes down loses its routes and its IPv6 addresses.
    for (const End& end : found) {
      EngineResult<void> supplied = Supply(object, RefOf(record, *end.made), *end.spec, end.link);
      if (!supplied.ok()) healed = std::move(supplied);
    }
    if (EngineResult<void> limited = HealLimits(record); !limited.ok()) healed = std::move(limited);
    if (EngineResult<void> translated = HealNat(record); !translated.ok()) healed = std::move(translated);
    // Without its bridge an end is no port, whatever was put right.
    for (const End& end : found) {
      EngineResult<uint32_t> bridge = ResolveBridge(*end.spec, RefOf(record, *end.made), "", /*by_looking=*/true);
      if (!bridge.ok()) healed = std::move(bridge).error();
    }
    return healed;
  }
  // Where only one end is in its place, the other was moved away, and the pair is made anew.
  auto resolve = [&](const Endpoint& made, const std::string& field) -> EngineResult<NetnsRef> {
    NETPROV_ASSIGN_OR_RETURN(const NetnsRef netns, ResolveAgain(made, field));
    // The machine counts processes and cookies from the start again: those of another boot say nothing.
    const bool is_process = made.place.has_value() && made.place->path.empty();
    if (is_process && record.boot_id != kernel_.BootId()) return PlaceReplaced(*made.place, field);
    return netns;
  };
  NETPROV_ASSIGN_OR_RETURN(const NetnsRef netns_a, resolve(record.a, "endpoint_a"));
  NETPROV_ASSIGN_OR_RETURN(const NetnsRef netns_b, resolve(record.b, "endpoint_b"));
  EndpointSpec place_a = record.spec.a;
  EndpointSpec place_b = record.spec.b;
  place_a.interface_name = record.a.interface_name;
  place_b.interface_name = record.b.interface_name;
  NETPROV_RETURN_IF_ERROR(CheckNameIsFree(place_a, netns_a, "endpoint_a", object, record));
  NETPROV_RETURN_IF_ERROR(CheckNameIsFree(place_b, netns_b, "endpoint_b", object, record));
  // Both places may lead to one namespace by now.
  if (netns_a.key() == netns_b.key() && place_a.interface_name == place_b.interface_name) {
    return InterfaceNameTaken(object, "endpoint_b", place_b.interface_name, place_b.namespace_id, place_b.place);
  }
  // Before that is there, the pair waits.
  NETPROV_ASSIGN_OR_RETURN(const uint32_t bridge_a,
                           ResolveBridge(record.spec.a, netns_a, "endpoint_a", /*by_looking=*/true));
  NETPROV_ASSIGN_OR_RETURN(const uint32_t bridge_b,
                           ResolveBridge(record.spec.b, netns_b, "endpoint_b", /*by_looking=*/true));
  KernelResult<void> cleared = DeleteNatOf(record);
  if (cleared.ok() && found.empty()) cleared = DeleteStrayLinks("veth", TagFor(record));
  // Also by another way in than its place, if that leads elsewhere by now.
  if (cleared.ok()) cleared = DeleteLinksOf(record);
  if (!cleared.ok()) return KernelFailure(object, "delete what is left of veth " + record.id, cleared.error());
  auto link = [](EndpointSpec spec, const Endpoint& made, const NetnsRef& netns, uint32_t bridge) {
    spec.mac = made.mac;
    spec.mtu = made.mtu;
    spec.up = made.up;
    return ToLinkSpec(spec, netns, made.interface_name, bridge);
  };
  VethRecord again = record;
  again.boot_id = kernel_.BootId();
  again.a.shaper_ifindex = again.b.shaper_ifindex = 0;
  EngineResult<VethRecord> made = MakeVeth(again, link(record.spec.a, record.a, netns_a, bridge_a),
                                           link(record.spec.b, record.b, netns_b, bridge_b), {},
                                           /*is_new=*/false, /*replaced=*/std::nullopt);
  if (!made.ok()) return std::move(made).error();
  return {};
}

}  // namespace netprov::engine
