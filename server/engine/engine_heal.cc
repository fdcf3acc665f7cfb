#include <algorithm>
#include <cerrno>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "server/engine/engine.h"
#include "server/engine/error.h"

namespace netprov::engine {
namespace {

// What of a made end differs from what the kernel has; nothing where all is the same.
std::optional<LinkSettings> WhatDiffers(const Endpoint& made, const LinkOptions& options, const Link& link,
                                        const std::string& tag) {
  LinkSettings settings;
  bool differs = false;
  auto compare = [&differs](auto& setting, const auto& expected, const auto& actual) {
    if (expected == actual) return;
    setting = expected;
    differs = true;
  };
  compare(settings.name, made.interface_name, link.name);
  if (made.mac.has_value()) compare(settings.mac, *made.mac, link.mac);
  compare(settings.mtu, made.mtu, link.mtu);
  compare(settings.group, kOwnedGroup, link.group);
  compare(settings.alias, tag, link.alias);
  compare(settings.up, made.up, link.up);
  compare(settings.promiscuous, options.promiscuous, link.options.promiscuous);
  compare(settings.all_multicast, options.all_multicast, link.options.all_multicast);
  auto compare_limit = [&compare](auto& setting, const std::optional<uint32_t>& expected,
                                  const std::optional<uint32_t>& actual) {
    if (expected.has_value()) compare(setting, expected, actual);
  };
  compare_limit(settings.limits.gso_max_size, options.limits.gso_max_size, link.options.limits.gso_max_size);
  compare_limit(settings.limits.gso_max_segments, options.limits.gso_max_segments,
                link.options.limits.gso_max_segments);
  compare_limit(settings.limits.gro_max_size, options.limits.gro_max_size, link.options.limits.gro_max_size);
  compare_limit(settings.limits.gso_ipv4_max_size, options.limits.gso_ipv4_max_size,
                link.options.limits.gso_ipv4_max_size);
  compare_limit(settings.limits.gro_ipv4_max_size, options.limits.gro_ipv4_max_size,
                link.options.limits.gro_ipv4_max_size);
  if (!differs) return std::nullopt;
  return settings;
}

}  // namespace

std::vector<std::string> Engine::Keys(const ObjectRef& object) const {
  if (auto id = NamespaceIdIn(object.name); id.has_value()) return Keys(DeleteNamespaceCall{.id = *id});
  return Keys(DeleteVethCall{.id = VethIdIn(object.name).value_or("")});
}

EngineResult<std::optional<Engine::Condition>> Engine::Inspect(const ObjectRef& object) {
  if (auto id = NamespaceIdIn(object.name); id.has_value()) {
    const std::optional<NamespaceRecord> record = registry_.FindNamespace(*id);
    if (!record.has_value() || record->uid != object.uid) return std::optional<Condition>();
    NETPROV_ASSIGN_OR_RETURN(Namespace netns, Describe(*id, record));
    return std::optional(Condition{
        .state = netns.state, .deviations = std::move(netns.deviations), .self_heal = netns.metadata.self_heal});
  }
  const std::optional<VethRecord> record = registry_.FindVeth(VethIdIn(object.name).value_or(""));
  if (!record.has_value() || record->uid != object.uid) return std::optional<Condition>();
  NETPROV_ASSIGN_OR_RETURN(Veth veth, Describe(*record));
  return std::optional(
      Condition{.state = veth.state, .deviations = std::move(veth.deviations), .self_heal = veth.metadata.self_heal});
}

EngineResult<void> Engine::Heal(const ObjectRef& object) {
  if (auto id = NamespaceIdIn(object.name); id.has_value()) {
    const std::optional<NamespaceRecord> record = registry_.FindNamespace(*id);
    if (!record.has_value() || record->uid != object.uid) return {};
    return HealNamespace(*record);
  }
  const std::optional<VethRecord> record = registry_.FindVeth(VethIdIn(object.name).value_or(""));
  if (!record.has_value() || record->uid != object.uid) return {};
  return HealVeth(*record);
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
  if (record.spec.sysctls.empty()) return {};
  KernelResult<void> set = kernel_.SetSysctls(netns, record.spec.sysctls);
  if (!set.ok()) return KernelFailure(object, "set the sysctls again", set.error());
  return {};
}

EngineResult<void> Engine::HealNamespace(const NamespaceRecord& record) {
  const std::string object = NamespaceName(record.id);
  NETPROV_ASSIGN_OR_RETURN(const std::optional<NetnsEntry> entry, FindNetns(record.id));
  if (IsThere(record, entry)) return ResetNamespace(record, *entry);
  if (entry.has_value() && entry->is_netns) return NamespaceNotManaged(record.id);
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

KernelResult<void> Engine::DeleteStrayLinksOf(const VethRecord& record) {
  const std::string tag = TagFor(record);
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
      if (link.kind != "veth" || link.alias != tag) continue;
      NETPROV_RETURN_IF_ERROR(UnlessGone(kernel_.DeleteLink(place, link.ifindex)));
    }
  }
  return DeleteRoutesWithoutLinkOf(record);
}

EngineResult<void> Engine::Supply(const VethRecord& record, const EndpointSpec& spec, const Link& link) {
  NETPROV_ASSIGN_OR_RETURN(const Shortage shortage, FindShortage(record, spec, link));
  if (shortage.alternative_names.empty() && shortage.ip.empty()) return {};
  const std::string step = "configure " + link.name + " again";
  const NetnsRef netns = RefOf(spec.namespace_id);
  KernelResult<void> configured =
      kernel_.Configure(netns, link.ifindex, shortage.alternative_names, shortage.ip, /*anew=*/true);
  if (!configured.ok()) return KernelFailure(VethName(record.id), step, configured.error());
  const std::vector<RouteSpec> without_link = RoutesWithoutLinkOf(shortage.ip);
  if (without_link.empty()) return {};
  KernelResult<void> added = kernel_.AddRoutes(netns, without_link);
  if (!added.ok()) return KernelFailure(VethName(record.id), step, added.error());
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
      const std::optional<LinkSettings> settings =
          WhatDiffers(*end.made, end.spec->config.options, end.link, TagFor(record));
      if (!settings.has_value()) continue;
      KernelResult<void> set = kernel_.SetLink(RefOf(end.made->namespace_id), end.made->ifindex, *settings);
      if (!set.ok()) healed = KernelFailure(object, "set " + end.made->interface_name + " again", set.error());
    }
    // Then what may have gone with it: a link that goes down loses its routes and its IPv6 addresses.
    for (const End& end : found) {
      if (EngineResult<void> supplied = Supply(record, *end.spec, end.link); !supplied.ok()) healed = supplied;
    }
    return healed;
  }
  // Where only one end is in its place, the other was moved away, and the pair is made anew.
  const EndpointSpec place_a{.namespace_id = record.a.namespace_id, .interface_name = record.a.interface_name};
  const EndpointSpec place_b{.namespace_id = record.b.namespace_id, .interface_name = record.b.interface_name};
  NETPROV_ASSIGN_OR_RETURN(const NetnsRef netns_a, ResolveByLooking(place_a, "endpoint_a"));
  NETPROV_ASSIGN_OR_RETURN(const NetnsRef netns_b, ResolveByLooking(place_b, "endpoint_b"));
  NETPROV_RETURN_IF_ERROR(CheckNameIsFree(place_a, netns_a, "endpoint_a", object, record));
  NETPROV_RETURN_IF_ERROR(CheckNameIsFree(place_b, netns_b, "endpoint_b", object, record));
  KernelResult<void> cleared = found.empty() ? DeleteStrayLinksOf(record) : DeleteLinksOf(record);
  if (!cleared.ok()) return KernelFailure(object, "delete what is left of veth " + record.id, cleared.error());
  auto link = [](const EndpointSpec& spec, const Endpoint& made, const NetnsRef& netns) {
    return LinkSpec{.netns = netns,
                    .name = made.interface_name,
                    .mac = made.mac,
                    .mtu = made.mtu,
                    .up = made.up,
                    .options = spec.config.options};
  };
  VethRecord again = record;
  again.boot_id = kernel_.BootId();
  EngineResult<VethRecord> made =
      MakeVeth(again, link(record.spec.a, record.a, netns_a), link(record.spec.b, record.b, netns_b), {},
               /*is_new=*/false, /*replaced=*/std::nullopt);
  if (!made.ok()) return std::move(made).error();
  return {};
}

}  // namespace netprov::engine
