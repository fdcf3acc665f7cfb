// The addresses, routes and neighbours of FakeKernel.
#include <linux/if_addr.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/engine/fake_kernel.h"
#include "server/netlink/ip_address.h"

namespace netprov::engine {
namespace {

// Whether a gateway can be reached through a link that has `ip`.
bool LeadsTo(const IpConfig& ip, const netlink::IpAddress& gateway) {
  // Every link has that network, if it has IPv6.
  if (netlink::IpPrefix::Parse("fe80::/10")->Contains(gateway)) return true;
  const bool by_address = std::any_of(ip.addresses.begin(), ip.addresses.end(), [&](const AddressSpec& address) {
    const netlink::IpPrefix prefix{.address = address.peer.value_or(address.local.address),
                                   .length = address.local.length};
    return prefix.Contains(gateway);
  });
  return by_address || std::any_of(ip.routes.begin(), ip.routes.end(), [&](const RouteSpec& route) {
           return !route.gateway.has_value() && route.destination.Contains(gateway);
         });
}

}  // namespace

bool FakeKernel::HasRoute(const FakeNetns& netns, const RouteSpec& route) {
  auto is_it = [&route](const RouteSpec& other) { return HaveOneKey(other, route); };
  if (std::any_of(netns.routes.begin(), netns.routes.end(), is_it)) return true;
  return std::any_of(netns.links.begin(), netns.links.end(), [&](const auto& item) {
    const std::vector<RouteSpec>& routes = item.second.ip.routes;
    return std::any_of(routes.begin(), routes.end(), is_it);
  });
}

// Not __inet_del_ifa() whole, which can be told to keep the others (promote_secondaries).
void FakeKernel::DeleteAddress(const AddressSpec& address, IpConfig& ip) {
  const bool is_ipv4 = address.local.address.family() == netlink::IpFamily::kIpv4;
  auto in_its_network = [&](const AddressSpec& other) {
    return other.local.length == address.local.length && other.local.Contains(address.local.address);
  };
  const auto first = std::find_if(ip.addresses.begin(), ip.addresses.end(), in_its_network);
  if (first == ip.addresses.end()) return;
  std::vector<netlink::IpAddress> gone;
  const bool is_primary = is_ipv4 && first->local == address.local;
  std::erase_if(ip.addresses, [&](const AddressSpec& other) {
    const bool goes = other.local == address.local || (is_primary && in_its_network(other));
    if (goes) gone.push_back(other.local.address);
    return goes;
  });
  std::erase_if(ip.routes, [&](const RouteSpec& route) {
    return route.preferred_source.has_value() &&
           std::find(gone.begin(), gone.end(), *route.preferred_source) != gone.end();
  });
  // With the last one goes the rest (fib_disable_ip()).
  const bool has_more = std::any_of(ip.addresses.begin(), ip.addresses.end(), [](const AddressSpec& other) {
    return other.local.address.family() == netlink::IpFamily::kIpv4;
  });
  if (is_ipv4 && !gone.empty() && !has_more) LoseIpv4(ip);
}

void FakeKernel::LoseIpv4(IpConfig& ip) {
  std::erase_if(ip.routes,
                [](const RouteSpec& route) { return route.destination.address.family() == netlink::IpFamily::kIpv4; });
  std::erase_if(ip.neighbours,
                [](const NeighbourSpec& neighbour) { return neighbour.address.family() == netlink::IpFamily::kIpv4; });
}

// ---- For tests

void FakeKernel::SetIpConfigForTest(const NetnsRef& netns, const std::string& name, const IpConfig& ip) {
  std::lock_guard<std::mutex> lock(mutex_);
  KernelResult<FakeNetns*> inside = Enter(netns);
  if (!inside.ok()) return;
  for (auto& [ifindex, link] : (*inside)->links) {
    if (link.link.name != name) continue;
    link.ip = ip;
    link.ip_protocol = 0;
    TellLink(netns.is_host() ? host_cookie_ : netns.cookie, ifindex);
  }
}

int FakeKernel::AnnouncementsForTest(const NetnsRef& netns, const std::string& name) {
  std::lock_guard<std::mutex> lock(mutex_);
  KernelResult<FakeNetns*> inside = Enter(netns);
  if (!inside.ok()) return 0;
  for (const auto& [ifindex, link] : (*inside)->links) {
    if (link.link.name == name) return link.announcements;
  }
  return 0;
}

// ---- Kernel

KernelResult<void> FakeKernel::Configure(const NetnsRef& netns, uint32_t ifindex,
                                         const std::vector<std::string>& alternative_names, const IpConfig& ip,
                                         bool anew) {
  if (auto error = Ask("Configure"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  NETPROV_ASSIGN_OR_RETURN(FakeNetns * inside, Enter(netns));
  auto found = inside->links.find(ifindex);
  if (found == inside->links.end()) return Fail(ENODEV, "RTM_NEWADDR");
  FakeLink& link = found->second;
  for (const std::string& name : alternative_names) {
    if (Find(*inside, name).has_value()) return Fail(EEXIST, absl::StrCat("RTM_NEWLINKPROP ", name));
    link.link.alternative_names.push_back(name);
  }
  if (anew) {
    for (const AddressSpec& address : ip.addresses) {
      std::erase_if(link.ip.addresses, [&](const AddressSpec& other) { return other.local == address.local; });
    }
    for (const RouteSpec& route : ip.routes) {
      std::erase_if(link.ip.routes, [&](const RouteSpec& other) { return HaveOneKey(other, route); });
    }
  }
  for (const AddressSpec& address : ip.addresses) {
    const bool has_it = std::any_of(link.ip.addresses.begin(), link.ip.addresses.end(),
                                    [&](const AddressSpec& other) { return other.local == address.local; });
    if (has_it) return Fail(EEXIST, absl::StrCat("RTM_NEWADDR ", address.local.ToString()));
    link.ip.addresses.push_back(address);
  }
  for (const NeighbourSpec& neighbour : ip.neighbours) {
    std::erase_if(link.ip.neighbours, [&](const NeighbourSpec& other) { return other.address == neighbour.address; });
    link.ip.neighbours.push_back(neighbour);
  }
  for (const RouteSpec& route : ip.routes) {
    if (!route.through_link()) continue;
    const std::string operation = absl::StrCat("RTM_NEWROUTE ", route.destination.ToString());
    if (!link.link.up) return Fail(ENETDOWN, operation, "Nexthop device is not up");
    if (HasRoute(*inside, route)) return Fail(EEXIST, operation);
    if (route.gateway.has_value() && !route.on_link && !LeadsTo(link.ip, *route.gateway)) {
      return Fail(ENETUNREACH, operation, "Nexthop has invalid gateway");
    }
    link.ip.routes.push_back(route);
  }
  return {};
}

KernelResult<void> FakeKernel::Unconfigure(const NetnsRef& netns, uint32_t ifindex,
                                           const std::vector<std::string>& alternative_names, const IpConfig& ip) {
  if (auto error = Ask("Unconfigure"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  NETPROV_ASSIGN_OR_RETURN(FakeNetns * inside, Enter(netns));
  auto found = inside->links.find(ifindex);
  if (found == inside->links.end()) return Fail(ENODEV, "RTM_GETLINK");
  FakeLink& link = found->second;
  for (const RouteSpec& route : ip.routes) std::erase(link.ip.routes, route);
  for (const NeighbourSpec& neighbour : ip.neighbours) {
    std::erase_if(link.ip.neighbours, [&](const NeighbourSpec& other) { return other.address == neighbour.address; });
  }
  for (const AddressSpec& address : ip.addresses) DeleteAddress(address, link.ip);
  for (const std::string& name : alternative_names) std::erase(link.link.alternative_names, name);
  TellLink(netns.is_host() ? host_cookie_ : netns.cookie, ifindex);
  return {};
}

KernelResult<void> FakeKernel::Announce(const NetnsRef& netns, uint32_t ifindex) {
  if (auto error = Ask("Announce"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  NETPROV_ASSIGN_OR_RETURN(FakeNetns * inside, Enter(netns));
  const auto link = inside->links.find(ifindex);
  if (link == inside->links.end()) return Fail(ENODEV, "RTM_GETLINK");
  ++link->second.announcements;
  if (link->second.link.up) link->second.ip.neighbours.clear();
  return {};
}

KernelResult<IpConfig> FakeKernel::FindIpConfig(const NetnsRef& netns, uint32_t ifindex) {
  if (auto error = Ask("FindIpConfig"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  NETPROV_ASSIGN_OR_RETURN(FakeNetns * inside, Enter(netns));
  auto found = inside->links.find(ifindex);
  return found == inside->links.end() ? IpConfig() : found->second.ip;
}

KernelResult<std::vector<RouteSpec>> FakeKernel::ListRoutesWithoutLink(const NetnsRef& netns) {
  if (auto error = Ask("ListRoutesWithoutLink"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  NETPROV_ASSIGN_OR_RETURN(FakeNetns * inside, Enter(netns));
  return inside->routes;
}

KernelResult<void> FakeKernel::AddRoutes(const NetnsRef& netns, const std::vector<RouteSpec>& routes) {
  if (auto error = Ask("AddRoutes"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  NETPROV_ASSIGN_OR_RETURN(FakeNetns * inside, Enter(netns));
  const std::vector<RouteSpec> before = inside->routes;
  for (const RouteSpec& route : routes) {
    if (HasRoute(*inside, route)) {
      inside->routes = before;
      return Fail(EEXIST, absl::StrCat("RTM_NEWROUTE ", route.destination.ToString()));
    }
    inside->routes.push_back(route);
  }
  return {};
}

KernelResult<void> FakeKernel::DeleteRoutes(const NetnsRef& netns, const std::vector<RouteSpec>& routes) {
  if (auto error = Ask("DeleteRoutes"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  NETPROV_ASSIGN_OR_RETURN(FakeNetns * inside, Enter(netns));
  for (const RouteSpec& route : routes) std::erase(inside->routes, route);
  TellLink(netns.is_host() ? host_cookie_ : netns.cookie, 0);
  return {};
}

KernelResult<std::vector<netlink::Address>> FakeKernel::ListAddresses(const NetnsRef& netns,
                                                                      std::optional<netlink::IpFamily> family,
                                                                      std::optional<uint32_t> ifindex) {
  if (auto error = Ask("ListAddresses"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  NETPROV_ASSIGN_OR_RETURN(FakeNetns * inside, Enter(netns));
  std::vector<netlink::Address> addresses;
  for (const auto& [index, link] : inside->links) {
    if (ifindex.value_or(index) != index) continue;
    for (const AddressSpec& address : link.ip.addresses) {
      if (family.value_or(address.local.address.family()) != address.local.address.family()) continue;
      addresses.push_back({.ifindex = static_cast<int>(index),
                           .local = address.local,
                           .peer = address.peer,
                           .scope = address.scope,
                           .flags = IFA_F_PERMANENT,
                           .protocol = link.ip_protocol});
    }
  }
  return addresses;
}

KernelResult<std::vector<netlink::Route>> FakeKernel::ListRoutes(const NetnsRef& netns,
                                                                 std::optional<netlink::IpFamily> family,
                                                                 std::optional<uint32_t> table) {
  if (auto error = Ask("ListRoutes"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  NETPROV_ASSIGN_OR_RETURN(FakeNetns * inside, Enter(netns));
  std::vector<netlink::Route> routes;
  const auto add = [&](const RouteSpec& route, uint32_t ifindex, uint8_t protocol) {
    const netlink::IpFamily its_family = route.destination.address.family();
    if (family.value_or(its_family) != its_family || table.value_or(route.table) != route.table) return;
    // The machine gives IPv6 routes that belong to no link the loopback link.
    if (ifindex == 0 && its_family == netlink::IpFamily::kIpv6) ifindex = kLoopbackIndex;
    netlink::Route added{.destination = route.destination,
                         .gateway = route.gateway,
                         .ifindex = std::nullopt,
                         .metric = route.metric,
                         .table = route.table,
                         .scope = route.scope,
                         .type = static_cast<uint8_t>(route.type),
                         .protocol = protocol,
                         .preferred_source = route.preferred_source,
                         .onlink = route.on_link,
                         .mtu = route.mtu};
    if (ifindex != 0) added.ifindex = static_cast<int>(ifindex);
    if (route.metric == 0 && its_family == netlink::IpFamily::kIpv4) added.metric = std::nullopt;
    routes.push_back(std::move(added));
  };
  for (const auto& [ifindex, link] : inside->links) {
    for (const RouteSpec& route : link.ip.routes) add(route, ifindex, link.ip_protocol);
  }
  for (const RouteSpec& route : inside->routes) add(route, 0, kOwnedProtocol);
  return routes;
}

KernelResult<std::vector<netlink::Neighbour>> FakeKernel::ListNeighbours(const NetnsRef& netns,
                                                                         std::optional<netlink::IpFamily> family,
                                                                         std::optional<uint32_t> ifindex) {
  if (auto error = Ask("ListNeighbours"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  NETPROV_ASSIGN_OR_RETURN(FakeNetns * inside, Enter(netns));
  std::vector<netlink::Neighbour> neighbours;
  for (const auto& [index, link] : inside->links) {
    if (ifindex.value_or(index) != index) continue;
    for (const NeighbourSpec& neighbour : link.ip.neighbours) {
      if (family.value_or(neighbour.address.family()) != neighbour.address.family()) continue;
      neighbours.push_back({.ifindex = static_cast<int>(index),
                            .address = neighbour.address,
                            .mac = neighbour.mac,
                            .protocol = link.ip_protocol});
    }
  }
  return neighbours;
}

}  // namespace netprov::engine
