#include "server/engine/linux_ip.h"

#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <optional>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/engine/kernel.h"
#include "server/engine/linux_link.h"
#include "server/netlink/address.h"
#include "server/netlink/ip_address.h"
#include "server/netlink/link.h"
#include "server/netlink/message.h"
#include "server/netlink/neighbour.h"
#include "server/netlink/route.h"

namespace netprov::engine {
namespace {

netlink::Address ToAddress(const AddressSpec& spec, uint32_t ifindex) {
  uint32_t flags = 0;
  if (spec.local.address.family() == netlink::IpFamily::kIpv6 && !spec.detect_duplicates) flags |= IFA_F_NODAD;
  return {.ifindex = static_cast<int>(ifindex),
          .local = spec.local,
          .peer = spec.peer,
          .scope = spec.scope,
          .flags = flags,
          .protocol = kOwnedProtocol};
}

netlink::Route ToRoute(const RouteSpec& spec, std::optional<uint32_t> ifindex) {
  netlink::Route route{.destination = spec.destination,
                       .gateway = spec.gateway,
                       .ifindex = std::nullopt,
                       .metric = spec.metric,
                       .table = spec.table,
                       .scope = spec.scope,
                       .type = static_cast<uint8_t>(spec.type),
                       .protocol = kOwnedProtocol,
                       .preferred_source = spec.preferred_source,
                       .onlink = spec.on_link,
                       .mtu = spec.mtu};
  if (ifindex.has_value()) route.ifindex = static_cast<int>(*ifindex);
  return route;
}

netlink::Neighbour ToNeighbour(const NeighbourSpec& spec, uint32_t ifindex) {
  return {.ifindex = static_cast<int>(ifindex), .address = spec.address, .mac = spec.mac, .protocol = kOwnedProtocol};
}

KernelResult<std::vector<netlink::Address>> DumpAddresses(netlink::Session& session, uint32_t ifindex) {
  KernelResult<std::vector<netlink::Payload>> payloads =
      session.Dump(netlink::EncodeDumpAddresses(/*family=*/std::nullopt, static_cast<int>(ifindex)));
  std::vector<netlink::Address> addresses;
  if (!payloads.ok()) {
    if (payloads.error().code == ENODEV) return addresses;
    return std::move(payloads).error();
  }
  for (const netlink::Payload& payload : *payloads) {
    NETPROV_ASSIGN_OR_RETURN(const netlink::Address address, netlink::DecodeAddress(payload));
    addresses.push_back(address);
  }
  return addresses;
}

std::optional<RouteType> ToType(const netlink::Route& route) {
  for (const RouteType type : kRouteTypes) {
    if (static_cast<uint8_t>(type) == route.type) return type;
  }
  return std::nullopt;
}

// Of a type that netprov knows.
RouteSpec ToRouteSpec(const netlink::Route& route) {
  const RouteType type = ToType(route).value_or(RouteType::kUnicast);
  const bool has_scope = route.destination.address.family() == netlink::IpFamily::kIpv4 && type == RouteType::kUnicast;
  return {.destination = route.destination,
          .type = type,
          .gateway = route.gateway,
          .metric = route.metric.value_or(0),
          .table = route.table,
          .scope = has_scope ? route.scope : kScopeGlobal,
          .preferred_source = route.preferred_source,
          .on_link = route.onlink,
          .mtu = route.mtu};
}

// What RTM_DELROUTE takes for every route of the link to that destination with that table and metric.
netlink::Route AnyRouteLike(const RouteSpec& route, uint32_t ifindex) {
  return {.destination = route.destination,
          .gateway = std::nullopt,
          .ifindex = static_cast<int>(ifindex),
          .metric = route.metric,
          .table = route.table,
          .scope = RT_SCOPE_NOWHERE,
          .type = RTN_UNSPEC,
          .protocol = RTPROT_UNSPEC};
}

// All routes, or those of a link.
KernelResult<std::vector<netlink::Route>> DumpRoutes(netlink::Session& session, std::optional<int> ifindex) {
  std::vector<netlink::Route> routes;
  for (const netlink::IpFamily family : {netlink::IpFamily::kIpv4, netlink::IpFamily::kIpv6}) {
    KernelResult<std::vector<netlink::Payload>> payloads =
        session.Dump(netlink::EncodeDumpRoutes(family, /*table=*/std::nullopt, ifindex));
    // ENODEV: there is no such link.
    if (!payloads.ok() && payloads.error().code == ENODEV && ifindex.has_value()) continue;
    if (!payloads.ok()) return std::move(payloads).error();
    for (const netlink::Payload& payload : *payloads) {
      NETPROV_ASSIGN_OR_RETURN(netlink::Route route, netlink::DecodeRoute(payload));
      routes.push_back(std::move(route));
    }
  }
  return routes;
}

// Checks that the kernel has the tables that routes name.
KernelResult<void> ExpectTables(netlink::Session& session, const std::vector<RouteSpec>& routes) {
  for (const netlink::IpFamily family : {netlink::IpFamily::kIpv4, netlink::IpFamily::kIpv6}) {
    auto is_always_there = [family](uint32_t table) {
      return table == RT_TABLE_MAIN || (table == RT_TABLE_LOCAL && family == netlink::IpFamily::kIpv4);
    };
    const bool needs_rules = std::any_of(routes.begin(), routes.end(), [&](const RouteSpec& route) {
      return route.destination.address.family() == family && !is_always_there(route.table);
    });
    if (!needs_rules) continue;
    KernelResult<std::vector<netlink::Payload>> rules = session.Dump(netlink::EncodeDumpRules(family));
    if (rules.ok()) continue;
    if (rules.error().code == EAFNOSUPPORT) rules.error().code = EOPNOTSUPP;
    return std::move(rules).error();
  }
  return {};
}

// Waits until the kernel has made up its mind about those of the addresses that are to be alone.
KernelResult<void> AwaitDuplicateDetection(netlink::Session& session, uint32_t ifindex,
                                           const std::vector<AddressSpec>& specs) {
  constexpr std::chrono::milliseconds kBetween(20);
  // RFC 4862 has a delay of up to a second and one of a second after the question, of which there is one by default.
  constexpr int kMostLooks = 500;
  for (int look = 0; look < kMostLooks; ++look) {
    NETPROV_ASSIGN_OR_RETURN(const std::vector<netlink::Address> addresses, DumpAddresses(session, ifindex));
    bool tentative = false;
    for (const netlink::Address& address : addresses) {
      const bool is_meant = std::any_of(specs.begin(), specs.end(), [&](const AddressSpec& spec) {
        return spec.detect_duplicates && spec.local.address == address.local.address;
      });
      if (!is_meant) continue;
      if ((address.flags & IFA_F_DADFAILED) != 0) {
        return KernelError{.code = EADDRINUSE,
                           .operation = absl::StrCat("duplicate address detection of ", address.local.ToString()),
                           .extack = {}};
      }
      if ((address.flags & IFA_F_TENTATIVE) != 0) tentative = true;
    }
    if (!tentative) return {};
    std::this_thread::sleep_for(kBetween);
  }
  return KernelError{.code = ETIMEDOUT, .operation = "duplicate address detection", .extack = {}};
}

}  // namespace

KernelResult<std::vector<RouteSpec>> OwnRoutesWithoutLink(netlink::Session& session) {
  std::vector<RouteSpec> own;
  NETPROV_ASSIGN_OR_RETURN(const std::vector<netlink::Route> routes, DumpRoutes(session, std::nullopt));
  for (const netlink::Route& route : routes) {
    const std::optional<RouteType> type = ToType(route);
    // IPv6 shows them with the loopback link.
    if (route.protocol != kOwnedProtocol || !type.has_value() || *type == RouteType::kUnicast) continue;
    own.push_back(ToRouteSpec(route));
  }
  return own;
}

KernelResult<void> ConfigureLink(netlink::Session& session, uint32_t ifindex,
                                 const std::vector<std::string>& alternative_names, const IpConfig& ip, bool anew) {
  NETPROV_RETURN_IF_ERROR(ExpectTables(session, ip.routes));
  std::vector<netlink::Request> requests;
  if (anew) {
    for (const AddressSpec& address : ip.addresses) {
      requests.push_back(netlink::EncodeDeleteAddress(
          {.ifindex = static_cast<int>(ifindex), .local = address.local, .peer = std::nullopt}));
    }
    for (const RouteSpec& route : ip.routes) {
      if (route.through_link()) requests.push_back(netlink::EncodeDeleteRoute(AnyRouteLike(route, ifindex)));
    }
    NETPROV_RETURN_IF_ERROR(
        ExecuteAll(session, requests, [](int code) { return code == EADDRNOTAVAIL || code == ESRCH; }));
    requests.clear();
  }
  if (!alternative_names.empty()) {
    requests.push_back(netlink::EncodeAddAlternativeNames(Index(ifindex), alternative_names));
  }
  for (const AddressSpec& address : ip.addresses) {
    requests.push_back(netlink::EncodeNewAddress(ToAddress(address, ifindex)));
  }
  // The kernel may have learnt of the neighbour already.
  for (const NeighbourSpec& neighbour : ip.neighbours) {
    requests.push_back(netlink::EncodeReplaceNeighbour(ToNeighbour(neighbour, ifindex)));
  }
  for (const RouteSpec& route : ip.routes) {
    if (route.through_link()) requests.push_back(netlink::EncodeNewRoute(ToRoute(route, ifindex)));
  }
  NETPROV_RETURN_IF_ERROR(ExecuteAll(session, requests, ToleratesNothing));
  const bool waits = std::any_of(ip.addresses.begin(), ip.addresses.end(),
                                 [](const AddressSpec& address) { return address.detect_duplicates; });
  return waits ? AwaitDuplicateDetection(session, ifindex, ip.addresses) : KernelResult<void>();
}

KernelResult<void> UnconfigureLink(netlink::Session& session, uint32_t ifindex,
                                   const std::vector<std::string>& alternative_names, const IpConfig& ip) {
  NETPROV_ASSIGN_OR_RETURN(const std::optional<Link> link, FindLinkAt(session, Index(ifindex)));
  if (!link.has_value()) {
    return KernelError{.code = ENODEV, .operation = absl::StrCat("RTM_GETLINK ", ifindex), .extack = {}};
  }
  std::vector<netlink::Request> requests;
  for (const RouteSpec& route : ip.routes) {
    if (route.through_link()) requests.push_back(netlink::EncodeDeleteRoute(ToRoute(route, ifindex)));
  }
  for (const NeighbourSpec& neighbour : ip.neighbours) {
    requests.push_back(netlink::EncodeDeleteNeighbour(ToNeighbour(neighbour, ifindex)));
  }
  for (const AddressSpec& address : ip.addresses) {
    requests.push_back(netlink::EncodeDeleteAddress(ToAddress(address, ifindex)));
  }
  std::vector<std::string> names;
  for (const std::string& name : alternative_names) {
    if (std::find(link->alternative_names.begin(), link->alternative_names.end(), name) !=
        link->alternative_names.end()) {
      names.push_back(name);
    }
  }
  if (!names.empty()) requests.push_back(netlink::EncodeDeleteAlternativeNames(Index(ifindex), names));
  return ExecuteAll(session, requests,
                    [](int code) { return code == EADDRNOTAVAIL || code == ESRCH || code == ENOENT; });
}

KernelResult<IpConfig> FindIpConfigOfLink(netlink::Session& session, uint32_t ifindex) {
  IpConfig ip;
  NETPROV_ASSIGN_OR_RETURN(const std::vector<netlink::Address> addresses, DumpAddresses(session, ifindex));
  for (const netlink::Address& address : addresses) {
    const bool has_scope = address.local.address.family() == netlink::IpFamily::kIpv4;
    const bool not_asked = (address.flags & IFA_F_NODAD) != 0 || has_scope;
    ip.addresses.push_back({.local = address.local,
                            .peer = address.peer,
                            .scope = has_scope ? address.scope : kScopeGlobal,
                            .detect_duplicates = !not_asked});
  }
  KernelResult<std::vector<netlink::Payload>> neighbours = session.Dump(netlink::EncodeDumpNeighbours(
      {.family = std::nullopt, .ifindex = static_cast<int>(ifindex), .master = std::nullopt}));
  if (!neighbours.ok()) {
    if (neighbours.error().code != ENODEV) return std::move(neighbours).error();
    neighbours = std::vector<netlink::Payload>();
  }
  for (const netlink::Payload& payload : *neighbours) {
    NETPROV_ASSIGN_OR_RETURN(const netlink::Neighbour neighbour, netlink::DecodeNeighbour(payload));
    if ((neighbour.state & NUD_PERMANENT) == 0 || !neighbour.mac.has_value()) continue;
    ip.neighbours.push_back({.address = neighbour.address, .mac = *neighbour.mac});
  }
  NETPROV_ASSIGN_OR_RETURN(const std::vector<netlink::Route> routes, DumpRoutes(session, static_cast<int>(ifindex)));
  for (const netlink::Route& route : routes) {
    if (route.ifindex == static_cast<int>(ifindex) && ToType(route) == RouteType::kUnicast) {
      ip.routes.push_back(ToRouteSpec(route));
    }
  }
  return ip;
}

KernelResult<void> AddRoutesWithoutLink(netlink::Session& session, const std::vector<RouteSpec>& routes) {
  NETPROV_RETURN_IF_ERROR(ExpectTables(session, routes));
  for (size_t i = 0; i < routes.size(); ++i) {
    KernelResult<void> added = session.Execute(netlink::EncodeNewRoute(ToRoute(routes[i], std::nullopt)));
    if (added.ok()) continue;
    // One whose answer was lost may have been there before.
    std::vector<netlink::Request> undo;
    for (size_t k = 0; k < i; ++k) undo.push_back(netlink::EncodeDeleteRoute(ToRoute(routes[k], std::nullopt)));
    KernelResult<void> undone = ExecuteAll(session, undo, [](int code) { return code == ESRCH; });
    if (!undone.ok()) added.error().may_have_effect = true;
    return added;
  }
  return {};
}

KernelResult<void> DeleteRoutesWithoutLink(netlink::Session& session, const std::vector<RouteSpec>& routes) {
  // The kernel goes by destination, table and metric alone for IPv6, and would delete what is no such route.
  NETPROV_ASSIGN_OR_RETURN(const std::vector<RouteSpec> there, OwnRoutesWithoutLink(session));
  std::vector<netlink::Request> requests;
  for (const RouteSpec& route : routes) {
    if (std::find(there.begin(), there.end(), route) == there.end()) continue;
    requests.push_back(netlink::EncodeDeleteRoute(ToRoute(route, std::nullopt)));
  }
  return ExecuteAll(session, requests, [](int code) { return code == ESRCH; });
}

}  // namespace netprov::engine
