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
std::optional<LinkSettings> WhatDiffers(const Endpoint& made, const Link& link, const std::string& tag) {
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

EngineResult<void> Engine::HealNamespace(const NamespaceRecord& record) {
  const std::string object = NamespaceName(record.id);
  NETPROV_ASSIGN_OR_RETURN(const std::optional<NetnsEntry> entry, FindNetns(record.id));
  if (IsThere(record, entry)) {
    LinkSettings settings;
    if (!entry->loopback_up) settings.up = true;
    if (entry->loopback_alias != TagFor(record)) settings.alias = TagFor(record);
    if (!settings.up.has_value() && !settings.alias.has_value()) return {};
    KernelResult<void> set = kernel_.SetLink({.name = record.id, .cookie = record.cookie}, kLoopbackIndex, settings);
    if (!set.ok()) return KernelFailure(object, "set the loopback link again", set.error());
    return {};
  }
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
  EngineResult<NamespaceRecord> made = MakeNamespace(std::move(again), {}, /*is_new=*/false);
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
      KernelResult<void> deleted = kernel_.DeleteLink(place, link.ifindex);
      if (!deleted.ok() && deleted.error().code != ENODEV && !NamespaceIsGone(deleted.error())) return deleted;
    }
  }
  return {};
}

EngineResult<void> Engine::HealVeth(const VethRecord& record) {
  const std::string object = VethName(record.id);
  std::vector<std::pair<const Endpoint*, Link>> found;
  for (const auto& [end, other] : {std::pair(&record.a, &record.b), std::pair(&record.b, &record.a)}) {
    KernelResult<std::optional<Link>> link = FindEnd(record, *end, *other);
    if (!link.ok()) return KernelFailure(object, "look at veth " + record.id, link.error());
    if (link->has_value()) found.emplace_back(end, **link);
  }
  if (found.size() == 2) {
    EngineResult<void> healed;
    // Both, also where one can't be: what was put right stays so.
    for (const auto& [end, link] : found) {
      const std::optional<LinkSettings> settings = WhatDiffers(*end, link, TagFor(record));
      if (!settings.has_value()) continue;
      KernelResult<void> set = kernel_.SetLink(RefOf(end->namespace_id), end->ifindex, *settings);
      if (!set.ok()) healed = KernelFailure(object, "set " + end->interface_name + " again", set.error());
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
  auto link = [](const Endpoint& made, const NetnsRef& netns) {
    return LinkSpec{.netns = netns, .name = made.interface_name, .mac = made.mac, .mtu = made.mtu, .up = made.up};
  };
  VethRecord again = record;
  again.boot_id = kernel_.BootId();
  EngineResult<VethRecord> made =
      MakeVeth(again, link(record.a, netns_a), link(record.b, netns_b), {}, /*is_new=*/false);
  if (!made.ok()) return std::move(made).error();
  return {};
}

}  // namespace netprov::engine
