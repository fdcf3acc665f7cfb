// Addresses, routes and neighbours as netprov makes them.
#ifndef NETPROV_SERVER_ENGINE_IP_CONFIG_H_
#define NETPROV_SERVER_ENGINE_IP_CONFIG_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "server/netlink/ip_address.h"
#include "server/netlink/mac_address.h"

namespace netprov::engine {

// RT_SCOPE_* of linux/rtnetlink.h.
inline constexpr uint8_t kScopeGlobal = 0;
inline constexpr uint8_t kScopeLink = 253;
inline constexpr uint8_t kScopeHost = 254;

// RTN_* of linux/rtnetlink.h.
enum class RouteType : uint8_t { kUnicast = 1, kBlackhole = 6, kUnreachable = 7, kProhibit = 8 };
inline constexpr std::array kRouteTypes = {RouteType::kUnicast, RouteType::kBlackhole, RouteType::kUnreachable,
                                           RouteType::kProhibit};

inline constexpr uint32_t kMainTable = 254;  // RT_TABLE_MAIN

// The metric that the kernel takes in place of 0: IP6_RT_PRIO_USER for IPv6.
uint32_t DefaultMetric(netlink::IpFamily family);

// An address of a link.
struct AddressSpec {
  netlink::IpPrefix local;
  std::optional<netlink::IpAddress> peer;  // of the same family
  uint8_t scope = kScopeGlobal;            // of IPv6 always that
  bool detect_duplicates = false;          // of IPv6 only

  friend bool operator==(const AddressSpec&, const AddressSpec&) = default;
};

// A route with everything filled in. One that is not unicast belongs to no link.
struct RouteSpec {
  netlink::IpPrefix destination;
  RouteType type = RouteType::kUnicast;
  std::optional<netlink::IpAddress> gateway;
  uint32_t metric = 0;
  uint32_t table = kMainTable;
  uint8_t scope = kScopeGlobal;  // of IPv6 always that
  std::optional<netlink::IpAddress> preferred_source;
  bool on_link = false;
  std::optional<uint32_t> mtu;

  bool through_link() const { return type == RouteType::kUnicast; }
  friend bool operator==(const RouteSpec&, const RouteSpec&) = default;
};

// Whether they are to the same destination with the same table and metric: the kernel has room for one of them.
bool HaveOneKey(const RouteSpec& a, const RouteSpec& b);

// A permanent neighbour.
struct NeighbourSpec {
  netlink::IpAddress address;
  netlink::MacAddress mac;

  friend bool operator==(const NeighbourSpec&, const NeighbourSpec&) = default;
};

// What the kernel is to have for a link, in the order in which it gets it.
struct IpConfig {
  std::vector<AddressSpec> addresses;
  std::vector<NeighbourSpec> neighbours;
  std::vector<RouteSpec> routes;

  bool empty() const { return addresses.empty() && neighbours.empty() && routes.empty(); }
  friend bool operator==(const IpConfig&, const IpConfig&) = default;
};

// What of `expected` is not in `actual`.
IpConfig Missing(const IpConfig& expected, const IpConfig& actual);

// Those that belong to no link.
std::vector<RouteSpec> RoutesWithoutLinkOf(const IpConfig& ip);

// The default route through a gateway.
RouteSpec DefaultRoute(const netlink::IpAddress& gateway);

// For a person, in the words of ip(8): `10.0.0.2/24 peer 10.0.0.1`, `blackhole 10.9.0.0/16`, `10.1.0.0/16 via 10.0.0.1
// metric 100`, `10.0.0.1 lladdr 02:00:00:00:00:01`.
std::string ToText(const AddressSpec& address);
std::string ToText(const RouteSpec& route);
std::string ToText(const NeighbourSpec& neighbour);

}  // namespace netprov::engine

#endif  // NETPROV_SERVER_ENGINE_IP_CONFIG_H_
