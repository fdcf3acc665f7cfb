#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "server/base/digest.h"
#include "server/engine/engine.h"
#include "server/engine/error.h"
#include "server/engine/inspection.h"
#include "server/engine/tag.h"
#include "server/netlink/ip_address.h"

namespace netprov::engine {
namespace {

// How often a namespace is looked into that is replaced by another of ours meanwhile.
constexpr int kMostLooks = 3;

using LinksByIndex = std::map<uint32_t, Link>;

// A key whose bytes are ordered as what was put into it.
class Key {
 public:
  Key& Number(uint32_t number) {
    for (int shift = 24; shift >= 0; shift -= 8) key_ += static_cast<char>(number >> shift);
    return *this;
  }
  Key& Byte(uint8_t byte) {
    key_ += static_cast<char>(byte);
    return *this;
  }
  Key& Address(const netlink::IpAddress& address) {
    Byte(static_cast<uint8_t>(address.family()));
    for (const std::byte byte : address.bytes()) Byte(static_cast<uint8_t>(byte));
    return *this;
  }
  Key& Address(const std::optional<netlink::IpAddress>& address) {
    return address.has_value() ? Address(*address) : Byte(0);
  }
  // Of further bytes, whose order says nothing.
  Key& DigestOf(const std::string& bytes) {
    const uint64_t digest = Digest(bytes);
    return Number(static_cast<uint32_t>(digest >> 32)).Number(static_cast<uint32_t>(digest));
  }
  std::string Take() { return std::move(key_); }

 private:
  std::string key_;
};

std::string KeyOf(const ObservedLink& link) { return Key().Number(link.link.ifindex).Take(); }

// The kernel tells addresses apart by their prefix and peer too.
std::string KeyOf(const netlink::Address& address) {
  return Key()
      .Number(static_cast<uint32_t>(address.ifindex))
      .Address(address.local.address)
      .Byte(address.local.length)
      .Address(address.peer)
      .Take();
}

std::string KeyOf(const netlink::Neighbour& neighbour) {
  return Key().Number(static_cast<uint32_t>(neighbour.ifindex)).Address(neighbour.address).Take();
}

// All that a route is: two of one destination, metric and table may differ in anything else.
std::string KeyOf(const netlink::Route& route) {
  Key rest;
  rest.Byte(route.type).Byte(route.protocol).Byte(route.scope).Byte(route.onlink ? 1 : 0);
  rest.Number(static_cast<uint32_t>(route.ifindex.value_or(0))).Number(route.mtu.value_or(0));
  rest.Address(route.gateway).Address(route.via).Address(route.preferred_source);
  for (const netlink::NextHop& hop : route.next_hops) {
    rest.Number(static_cast<uint32_t>(hop.ifindex)).Number(hop.weight).Byte(hop.onlink ? 1 : 0).Address(hop.gateway);
  }
  return Key()
      .Byte(static_cast<uint8_t>(route.destination.address.family()))
      .Number(route.table)
      .Address(route.destination.address)
      .Byte(route.destination.length)
      .Number(route.metric.value_or(0))
      .Byte(route.tos)
      .DigestOf(rest.Take())
      .Take();
}

// What is after `after`, in order, up to `limit`. Those whose keys are the same are told apart by a number.
template <typename Item>
Page<Item> PageOf(std::vector<Item> items, const std::string& after, size_t limit) {
  const auto before = [](const Item& a, const Item& b) { return a.id < b.id; };
  std::sort(items.begin(), items.end(), before);
  std::string last;
  uint32_t same = 0;
  for (Item& item : items) {
    same = item.id == last ? same + 1 : 0;
    last = item.id;
    if (same > 0) item.id = Key().Number(same).Take().insert(0, last);
  }
  std::sort(items.begin(), items.end(), before);
  Page<Item> page;
  const auto first = std::find_if(items.begin(), items.end(), [&after](const Item& item) { return item.id > after; });
  const size_t left = static_cast<size_t>(items.end() - first);
  page.more = left > limit;
  items.erase(first + static_cast<std::ptrdiff_t>(std::min(left, limit)), items.end());
  items.erase(items.begin(), first);
  page.items = std::move(items);
  return page;
}

// What there is, and the links that it may be on.
template <typename Value>
struct Looked {
  std::vector<Value> values;
  LinksByIndex links;
};

const Link* FindByIndex(const LinksByIndex& links, int ifindex) {
  const auto found = links.find(static_cast<uint32_t>(ifindex));
  return found == links.end() ? nullptr : &found->second;
}

KernelResult<LinksByIndex> LinksOf(Kernel& kernel, const NetnsRef& netns) {
  NETPROV_ASSIGN_OR_RETURN(std::vector<Link> links, kernel.ListLinks(netns));
  LinksByIndex by_index;
  for (Link& link : links) {
    const uint32_t ifindex = link.ifindex;
    by_index[ifindex] = std::move(link);
  }
  return by_index;
}

// What is on each link, or on the one of that name. `list` takes its index.
template <typename Value, typename List>
KernelResult<Looked<Value>> LookAtLinks(Kernel& kernel, const NetnsRef& netns, const std::string& name, List list) {
  Looked<Value> looked;
  if (!name.empty()) {
    NETPROV_ASSIGN_OR_RETURN(const std::optional<Link> link, kernel.FindLink(netns, name));
    if (!link.has_value()) return looked;
    NETPROV_ASSIGN_OR_RETURN(looked.values, list(std::optional(link->ifindex)));
    looked.links[link->ifindex] = *link;
    return looked;
  }
  NETPROV_ASSIGN_OR_RETURN(looked.values, list(std::optional<uint32_t>()));
  // After them: what is there all the while has its link then, too.
  NETPROV_ASSIGN_OR_RETURN(looked.links, LinksOf(kernel, netns));
  return looked;
}

// The names of the links of a route's next hops; nullopt: one of them is gone, and the route with it.
std::optional<std::vector<std::string>> NextHopNames(const netlink::Route& route, const LinksByIndex& links) {
  std::vector<std::string> names;
  for (const netlink::NextHop& hop : route.next_hops) {
    const Link* link = FindByIndex(links, hop.ifindex);
    if (link == nullptr) return std::nullopt;
    names.push_back(link->name);
  }
  return names;
}

bool HasName(const Link& link, const std::string& name) {
  return link.name == name ||
         std::find(link.alternative_names.begin(), link.alternative_names.end(), name) != link.alternative_names.end();
}

// Whether a route leads through the link of that name.
bool LeadsThrough(const netlink::Route& route, const LinksByIndex& links, const std::string& name) {
  const auto is_it = [&](int ifindex) {
    const Link* link = FindByIndex(links, ifindex);
    return link != nullptr && HasName(*link, name);
  };
  return (route.ifindex.has_value() && is_it(*route.ifindex)) ||
         std::any_of(route.next_hops.begin(), route.next_hops.end(),
                     [&is_it](const netlink::NextHop& hop) { return is_it(hop.ifindex); });
}

bool IsOneOf(const netlink::Route& route, const std::vector<RouteSpec>& specs) {
  return std::any_of(specs.begin(), specs.end(), [&route](const RouteSpec& spec) {
    return spec.destination == route.destination && static_cast<uint8_t>(spec.type) == route.type &&
           spec.table == route.table && spec.metric == route.metric.value_or(0);
  });
}

}  // namespace

template <typename Look>
auto Engine::LookInto(const std::string& namespace_id, const char* step, Look look)
    -> EngineResult<std::decay_t<decltype(*look(NetnsRef()))>> {
  const std::string object = namespace_id.empty() ? "host" : NamespaceName(namespace_id);
  for (int i = 0; i < kMostLooks; ++i) {
    NetnsRef netns;
    if (!namespace_id.empty()) {
      NETPROV_ASSIGN_OR_RETURN(netns, FindManaged(namespace_id));
    }
    auto found = look(netns);
    if (found.ok()) return *std::move(found);
    // Where it is gone, the next look says so.
    if (netns.is_host() || !NamespaceIsGone(found.error())) return KernelFailure(object, step, found.error());
  }
  return NamespaceMissing(namespace_id);
}

std::string Engine::ObjectOfLink(const std::string& namespace_id, const Link& link) const {
  if (const std::optional<Tag> tag = ParseTag(link.alias); tag.has_value()) {
    if (tag->registry != registry_.id()) return "";
    const std::optional<std::string> id = VethIdIn(tag->object);
    if (!id.has_value()) {
      const std::optional<DeviceRecord> device = registry_.FindDevice(tag->object);
      return device.has_value() && device->uid == tag->uid ? device->name : "";
    }
    const std::optional<VethRecord> record = registry_.FindVeth(*id);
    return record.has_value() && record->uid == tag->uid ? VethName(*id) : "";
  }
  if (link.group != kOwnedGroup) return "";
  // Somebody took the tag away: as FindEnd() and FindLinkOf() tell.
  for (const VethRecord& record : registry_.ListVethsOf(namespace_id)) {
    if (record.boot_id != kernel_.BootId() || link.kind != "veth") continue;
    for (const auto& [end, other] : {std::pair(&record.a, &record.b), std::pair(&record.b, &record.a)}) {
      if (end->netns_key() == namespace_id && end->ifindex == link.ifindex && other->ifindex == link.peer_ifindex) {
        return VethName(record.id);
      }
    }
  }
  for (const DeviceRecord& record : registry_.ListDevicesOf(namespace_id)) {
    const bool is_it = record.boot_id == kernel_.BootId() && record.link.ifindex == link.ifindex;
    if (is_it && link.kind == KindOf(record.spec.options)) return record.name;
  }
  return "";
}

// ObjectOfLink(), asked once for each link.
class Engine::ObjectsOfLinks {
 public:
  ObjectsOfLinks(const Engine& engine, const std::string& namespace_id)
      : engine_(engine), namespace_id_(namespace_id) {}

  const std::string& Of(const Link& link) {
    const auto [object, is_new] = by_index_.try_emplace(link.ifindex);
    if (is_new) object->second = engine_.ObjectOfLink(namespace_id_, link);
    return object->second;
  }

 private:
  const Engine& engine_;
  const std::string& namespace_id_;
  std::map<uint32_t, std::string> by_index_;
};

std::string Engine::ObjectOfRouteWithoutLink(const std::string& namespace_id, const netlink::Route& route) const {
  for (const VethRecord& record : registry_.ListVethsOf(namespace_id)) {
    for (const auto& [spec, end] : {std::pair(&record.spec.a, &record.a), std::pair(&record.spec.b, &record.b)}) {
      if (end->netns_key() == namespace_id && IsOneOf(route, spec->config.RoutesWithoutLink())) {
        return VethName(record.id);
      }
    }
  }
  return "";
}

EngineResult<Page<InspectedLink>> Engine::ListLinks(const LinkFilter& filter, const std::string& after, size_t limit) {
  std::optional<std::string> name;
  if (!filter.interface_name.empty()) name = filter.interface_name;
  NETPROV_ASSIGN_OR_RETURN(std::vector<ObservedLink> links,
                           LookInto(filter.namespace_id, "list links",
                                    [&](const NetnsRef& netns) { return kernel_.ObserveLinks(netns, name); }));
  std::vector<InspectedLink> items;
  for (ObservedLink& link : links) {
    if (!filter.kind.empty() && link.link.kind != filter.kind) continue;
    std::string id = KeyOf(link);
    items.push_back({.id = std::move(id), .observed = std::move(link), .object = {}});
  }
  Page<InspectedLink> page = PageOf(std::move(items), after, limit);
  for (InspectedLink& item : page.items) item.object = ObjectOfLink(filter.namespace_id, item.observed.link);
  return page;
}

EngineResult<Page<InspectedAddress>> Engine::ListAddresses(const IpFilter& filter, const std::string& after,
                                                           size_t limit) {
  const auto look = [&](const NetnsRef& netns) {
    return LookAtLinks<netlink::Address>(kernel_, netns, filter.interface_name, [&](std::optional<uint32_t> ifindex) {
      return kernel_.ListAddresses(netns, filter.family, ifindex);
    });
  };
  NETPROV_ASSIGN_OR_RETURN(const Looked<netlink::Address> looked,
                           LookInto(filter.namespace_id, "list addresses", look));
  std::vector<InspectedAddress> items;
  for (const netlink::Address& address : looked.values) {
    const Link* link = FindByIndex(looked.links, address.ifindex);
    if (link == nullptr) continue;
    items.push_back({.id = KeyOf(address), .address = address, .interface_name = link->name, .object = {}});
  }
  Page<InspectedAddress> page = PageOf(std::move(items), after, limit);
  ObjectsOfLinks objects(*this, filter.namespace_id);
  for (InspectedAddress& item : page.items) {
    if (item.address.protocol != kOwnedProtocol) continue;
    item.object = objects.Of(*FindByIndex(looked.links, item.address.ifindex));
  }
  return page;
}

EngineResult<Page<InspectedNeighbour>> Engine::ListNeighbours(const IpFilter& filter, const std::string& after,
                                                              size_t limit) {
  const auto look = [&](const NetnsRef& netns) {
    return LookAtLinks<netlink::Neighbour>(kernel_, netns, filter.interface_name, [&](std::optional<uint32_t> ifindex) {
      return kernel_.ListNeighbours(netns, filter.family, ifindex);
    });
  };
  NETPROV_ASSIGN_OR_RETURN(const Looked<netlink::Neighbour> looked,
                           LookInto(filter.namespace_id, "list neighbors", look));
  std::vector<InspectedNeighbour> items;
  for (const netlink::Neighbour& neighbour : looked.values) {
    const Link* link = FindByIndex(looked.links, neighbour.ifindex);
    if (link == nullptr) continue;
    items.push_back({.id = KeyOf(neighbour), .neighbour = neighbour, .interface_name = link->name, .object = {}});
  }
  Page<InspectedNeighbour> page = PageOf(std::move(items), after, limit);
  ObjectsOfLinks objects(*this, filter.namespace_id);
  for (InspectedNeighbour& item : page.items) {
    if (item.neighbour.protocol != kOwnedProtocol) continue;
    item.object = objects.Of(*FindByIndex(looked.links, item.neighbour.ifindex));
  }
  return page;
}

EngineResult<Page<InspectedRoute>> Engine::ListRoutes(const IpFilter& filter, const std::string& after, size_t limit) {
  const auto look = [&](const NetnsRef& netns) -> KernelResult<Looked<netlink::Route>> {
    Looked<netlink::Route> looked;
    NETPROV_ASSIGN_OR_RETURN(looked.values, kernel_.ListRoutes(netns, filter.family, filter.table));
    NETPROV_ASSIGN_OR_RETURN(looked.links, LinksOf(kernel_, netns));
    return looked;
  };
  NETPROV_ASSIGN_OR_RETURN(const Looked<netlink::Route> looked, LookInto(filter.namespace_id, "list routes", look));
  std::vector<InspectedRoute> items;
  for (const netlink::Route& route : looked.values) {
    if (!filter.interface_name.empty() && !LeadsThrough(route, looked.links, filter.interface_name)) continue;
    const Link* link = route.ifindex.has_value() ? FindByIndex(looked.links, *route.ifindex) : nullptr;
    std::optional<std::vector<std::string>> hops = NextHopNames(route, looked.links);
    if ((route.ifindex.has_value() && link == nullptr) || !hops.has_value()) continue;
    items.push_back({.id = KeyOf(route),
                     .route = route,
                     .interface_name = link != nullptr ? link->name : "",
                     .next_hop_names = *std::move(hops),
                     .object = {}});
  }
  Page<InspectedRoute> page = PageOf(std::move(items), after, limit);
  ObjectsOfLinks objects(*this, filter.namespace_id);
  for (InspectedRoute& item : page.items) {
    if (item.route.protocol != kOwnedProtocol) continue;
    if (item.route.type != static_cast<uint8_t>(RouteType::kUnicast)) {
      item.object = ObjectOfRouteWithoutLink(filter.namespace_id, item.route);
    } else if (item.route.ifindex.has_value()) {
      item.object = objects.Of(*FindByIndex(looked.links, *item.route.ifindex));
    }
  }
  return page;
}

}  // namespace netprov::engine
