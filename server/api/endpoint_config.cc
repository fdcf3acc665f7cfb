#include "server/api/endpoint_config.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "server/api/port_forward.h"
#include "server/api/rate_limit.h"
#include "server/api/text.h"
#include "server/engine/ip_config.h"
#include "server/netlink/bridge_port.h"
#include "server/netlink/ip_address.h"

namespace netprov::api {
namespace {

using engine::AddressSpec;
using engine::EndpointConfig;
using engine::NeighbourSpec;
using engine::RouteSpec;
using engine::RouteType;
using netlink::IpAddress;
using netlink::IpFamily;
using netlink::IpPrefix;

constexpr int kMostAddresses = 64;
constexpr int kMostGateways = 2;
constexpr int kMostRoutes = 256;
constexpr int kMostNeighbours = 256;
constexpr int kMostAlternativeNames = 16;
constexpr size_t kLongestAlternativeName = 127;  // ALTIFNAMSIZ of linux/if.h, less the terminating zero
constexpr size_t kLongestAlias = 100;            // IFALIASZ leaves so much beside the longest tag
constexpr uint32_t kMostQueues = 4096;
constexpr uint32_t kLeastIpv4Mtu = 68;    // RFC 791
constexpr uint32_t kLeastIpv6Mtu = 1280;  // RFC 8200
constexpr uint32_t kLeastGsoSize = 256;   // more than MAX_TCP_HEADER + 1, which the kernel wants
constexpr uint32_t kGreatestOffloadSize = 524280;
constexpr uint32_t kMostSegments = 65535;
constexpr int kMostVlans = 64;
constexpr uint32_t kGreatestVlan = 4094;
constexpr uint32_t kGreatestPortCost = 65535;
constexpr uint32_t kGreatestPortPriority = 63;  // BR_PORT_BITS leaves so much

bool IsIpv6(const IpAddress& address) { return address.family() == IpFamily::kIpv6; }

bool IsMulticast(const IpAddress& address) {
  const auto first = static_cast<uint8_t>(address.bytes()[0]);
  return IsIpv6(address) ? first == 0xff : (first & 0xf0) == 0xe0;
}

bool IsBroadcast(const IpAddress& address) { return address == *IpAddress::Parse("255.255.255.255"); }

bool IsLinkLocal(const IpAddress& address) {
  return IsIpv6(address) && IpPrefix::Parse("fe80::/10")->Contains(address);
}

// The checks of one endpoint. Each Check method names what is wrong and returns nothing that may be used then.
class Reader {
 public:
  Reader(absl::string_view field, const v1::VethEndpoint& endpoint, const engine::EndpointSpec& spec,
         Violations& violations)
      : field_(field), endpoint_(endpoint), spec_(spec), violations_(violations) {}

  EndpointConfig Read() {
    ReadOptions();
    ReadPort();
    ReadLimits();
    ReadAlternativeNames();
    if (!FitsIn("addresses", endpoint_.addresses_size(), kMostAddresses) ||
        !FitsIn("gateways", endpoint_.gateways_size(), kMostGateways) ||
        !FitsIn("routes", endpoint_.routes_size(), kMostRoutes) ||
        !FitsIn("neighbors", endpoint_.neighbors_size(), kMostNeighbours)) {
      return {};
    }
    for (int i = 0; i < endpoint_.addresses_size(); ++i) {
      ReadAddress(Item("addresses", i), endpoint_.addresses(i));
    }
    for (int i = 0; i < endpoint_.neighbors_size(); ++i) {
      ReadNeighbour(Item("neighbors", i), endpoint_.neighbors(i));
    }
    // Before the gateways: a route may lead to one.
    for (int i = 0; i < endpoint_.routes_size(); ++i) ReadRoute(Item("routes", i), endpoint_.routes(i));
    for (int i = 0; i < endpoint_.gateways_size(); ++i) ReadGateway(Item("gateways", i), endpoint_.gateways(i));
    ReadNat(field_, endpoint_, config_, violations_);
    return std::move(config_);
  }

 private:
  std::string Field(absl::string_view name) const { return absl::StrCat(field_, ".", name); }
  std::string Item(absl::string_view name, int i) const { return absl::StrCat(field_, ".", name, "[", i, "]"); }

  bool FitsIn(absl::string_view name, int size, int most) {
    if (size <= most) return true;
    violations_.Add(Field(name), absl::StrCat("must have at most ", most, " items, but has ", size));
    return false;
  }

  static bool IsAlias(absl::string_view text) {
    return text.size() <= kLongestAlias &&
           std::none_of(text.begin(), text.end(), [](char c) { return absl::ascii_iscntrl(c); });
  }

  // In `value`, or `usual` for 0.
  uint32_t CheckRange(absl::string_view name, uint32_t value, uint32_t least, uint32_t greatest, uint32_t usual) {
    if (value == 0) return usual;
    if (value < least || value > greatest) {
      violations_.Add(Field(name),
                      absl::StrCat("must be ", least, " to ", greatest, ", or 0 for the default, but is ", value));
    }
    return value;
  }
  std::optional<uint32_t> CheckLimit(absl::string_view name, uint32_t value, uint32_t least, uint32_t greatest) {
    if (value == 0) return std::nullopt;
    return CheckRange(absl::StrCat("offload_limits.", name), value, least, greatest, 0);
  }

  void ReadOptions() {
    config_.options.tx_queues = CheckRange("tx_queues", endpoint_.tx_queues(), 1, kMostQueues, 1);
    config_.options.rx_queues = CheckRange("rx_queues", endpoint_.rx_queues(), 1, kMostQueues, 1);
    config_.options.promiscuous = endpoint_.promiscuous();
    config_.options.all_multicast = endpoint_.all_multicast();
    config_.options.alias = endpoint_.alias();
    if (!IsAlias(endpoint_.alias())) {
      violations_.Add(Field("alias"),
                      absl::StrCat("must be at most ", kLongestAlias, " bytes without control characters, but is ",
                                   Quote(endpoint_.alias())));
    }
    config_.announce = endpoint_.announce();
    const v1::OffloadLimits& limits = endpoint_.offload_limits();
    config_.options.limits = {
        .gso_max_size = CheckLimit("gso_max_size", limits.gso_max_size(), kLeastGsoSize, kGreatestOffloadSize),
        .gso_max_segments = CheckLimit("gso_max_segments", limits.gso_max_segments(), 1, kMostSegments),
        .gro_max_size = CheckLimit("gro_max_size", limits.gro_max_size(), 1, kGreatestOffloadSize),
        .gso_ipv4_max_size =
            CheckLimit("gso_ipv4_max_size", limits.gso_ipv4_max_size(), kLeastGsoSize, kGreatestOffloadSize),
        .gro_ipv4_max_size = CheckLimit("gro_ipv4_max_size", limits.gro_ipv4_max_size(), 1, kGreatestOffloadSize)};
  }

  void ReadLimits() {
    if (endpoint_.has_ingress_limit()) {
      config_.ingress_limit = ToRateLimit(Field("ingress_limit"), endpoint_.ingress_limit(), spec_.mtu, violations_);
    }
    if (endpoint_.has_egress_limit()) {
      config_.egress_limit = ToRateLimit(Field("egress_limit"), endpoint_.egress_limit(), spec_.mtu, violations_);
    }
  }

  void ReadPort() {
    if (!endpoint_.bridge().empty()) {
      config_.bridge = engine::BridgeName(CheckBridgeName(Field("bridge"), endpoint_.bridge(), violations_));
    }
    if (!endpoint_.bridge_interface().empty()) {
      const std::string field = Field("bridge_interface");
      config_.bridge_interface = CheckInterfaceName(field, endpoint_.bridge_interface(), violations_);
      if (IsInterfaceNamePattern(config_.bridge_interface)) {
        violations_.Add(field, "must be the name of a bridge, without %d");
      }
      if (!endpoint_.bridge().empty()) {
        violations_.Add(field, "must not be set beside bridge: a link is a port of one bridge");
      }
    }
    if (endpoint_.has_bridge_port() && endpoint_.bridge().empty() && endpoint_.bridge_interface().empty()) {
      violations_.Add(Field("bridge_port"), "must not be set without a bridge or a bridge_interface");
    }
    const v1::BridgePort& port = endpoint_.bridge_port();
    netlink::BridgePort& settings = config_.port.settings;
    if (port.has_hairpin()) settings.hairpin = port.hairpin();
    if (port.has_isolated()) settings.isolated = port.isolated();
    if (port.has_learning()) settings.learning = port.learning();
    if (port.has_unicast_flood()) settings.unicast_flood = port.unicast_flood();
    if (port.has_multicast_flood()) settings.multicast_flood = port.multicast_flood();
    if (port.has_broadcast_flood()) settings.broadcast_flood = port.broadcast_flood();
    if (port.has_neighbor_suppression()) settings.neighbour_suppression = port.neighbor_suppression();
    if (port.has_cost()) {
      settings.cost = port.cost();
      if (port.cost() < 1 || port.cost() > kGreatestPortCost) {
        violations_.Add(Field("bridge_port.cost"),
                        absl::StrCat("must be 1 to ", kGreatestPortCost, ", but is ", port.cost()));
      }
    }
    if (port.has_priority()) {
      settings.priority = static_cast<uint16_t>(port.priority());
      if (port.priority() > kGreatestPortPriority) {
        violations_.Add(Field("bridge_port.priority"),
                        absl::StrCat("must be 0 to ", kGreatestPortPriority, ", but is ", port.priority()));
      }
    }
    ReadVlans(port);
  }

  void ReadVlans(const v1::BridgePort& port) {
    if (!FitsIn("bridge_port.vlans", port.vlans_size(), kMostVlans)) return;
    bool has_pvid = false;
    for (int i = 0; i < port.vlans_size(); ++i) {
      const v1::BridgeVlan& vlan = port.vlans(i);
      const std::string field = Item("bridge_port.vlans", i);
      const uint32_t last = vlan.last() == 0 ? vlan.first() : vlan.last();
      if (vlan.first() < 1 || last > kGreatestVlan || last < vlan.first()) {
        violations_.Add(field, absl::StrCat("must be within 1 to ", kGreatestVlan, " with the last not before the ",
                                            "first, but is ", vlan.first(), " to ", last));
        continue;
      }
      if (!config_.port.vlans.empty() && vlan.first() <= config_.port.vlans.back().last) {
        violations_.Add(field, absl::StrCat("must begin after ", config_.port.vlans.back().last, ", where the one ",
                                            "before it ends, but begins with ", vlan.first()));
      }
      if (vlan.pvid() && (has_pvid || last != vlan.first())) {
        violations_.Add(field + ".pvid", "must be set for one VLAN at most: what comes in untagged belongs to one");
      }
      has_pvid = has_pvid || vlan.pvid();
      config_.port.vlans.push_back({.first = static_cast<uint16_t>(vlan.first()),
                                    .last = static_cast<uint16_t>(last),
                                    .pvid = vlan.pvid(),
                                    .untagged = vlan.untagged()});
    }
  }

  void ReadAlternativeNames() {
    if (!FitsIn("alternative_names", endpoint_.alternative_names_size(), kMostAlternativeNames)) return;
    for (int i = 0; i < endpoint_.alternative_names_size(); ++i) {
      const std::string& name = endpoint_.alternative_names(i);
      const std::string field = Item("alternative_names", i);
      const bool valid =
          !name.empty() && name.size() <= kLongestAlternativeName && name != "." && name != ".." &&
          absl::c_all_of(name, [](char c) { return absl::ascii_isgraph(c) && c != '/' && c != ':' && c != '%'; });
      if (!valid) {
        violations_.Add(field, absl::StrCat("must be 1 to ", kLongestAlternativeName,
                                            " visible ASCII characters without /, : and %, neither . nor .., but is ",
                                            Quote(name)));
      } else if (name == spec_.interface_name || absl::c_linear_search(config_.alternative_names, name)) {
        violations_.Add(field, absl::StrCat(Quote(name), " is a name of the link already"));
      }
      config_.alternative_names.push_back(name);
    }
  }

  // One address of a host.
  std::optional<IpAddress> CheckHost(const std::string& field, const std::string& text) {
    const std::optional<IpAddress> address = IpAddress::Parse(text);
    if (!address.has_value()) {
      violations_.Add(field, absl::StrCat("must be an IP address, as 10.0.0.1 or 2001:db8::1, but is ", Quote(text)));
      return std::nullopt;
    }
    return CheckUnicast(field, *address) ? address : std::nullopt;
  }
  bool CheckUnicast(const std::string& field, const IpAddress& address) {
    if (address != IpAddress::Any(address.family()) && !IsMulticast(address) && !IsBroadcast(address)) return true;
    violations_.Add(field, absl::StrCat("must be the address of one host, but is ", address.ToString()));
    return false;
  }
  bool CheckFamily(const std::string& field, const IpAddress& address, IpFamily family) {
    if (address.family() == family) return true;
    violations_.Add(field, absl::StrCat("must be an ", family == IpFamily::kIpv6 ? "IPv6" : "IPv4", " address, but is ",
                                        address.ToString()));
    return false;
  }
  bool CheckIpv6Fits(const std::string& field, const IpAddress& address) {
    if (!IsIpv6(address) || spec_.mtu.value_or(kLeastIpv6Mtu) >= kLeastIpv6Mtu) return true;
    violations_.Add(field, absl::StrCat("needs an MTU of at least ", kLeastIpv6Mtu, ": IPv6 has it so"));
    return false;
  }
  bool CheckIsUp(const std::string& field) {
    if (spec_.up) return true;
    violations_.Add(field, "needs the end to be up, but admin_state is ADMIN_STATE_DOWN");
    return false;
  }

  template <typename Scope>
  uint8_t CheckScope(const std::string& field, Scope scope, Scope global, Scope link, Scope host, uint8_t usual,
                     bool has_scopes) {
    if (scope == Scope(0)) return usual;
    if (scope != global && scope != link && scope != host) {
      violations_.Add(field, absl::StrCat("must be one of the scopes that are defined, but is ", scope));
    } else if (!has_scopes && scope != global) {
      violations_.Add(field, "must be left out: only IPv4 has scopes to choose");
    }
    if (scope == link) return engine::kScopeLink;
    if (scope == host) return engine::kScopeHost;
    return engine::kScopeGlobal;
  }

  void ReadAddress(const std::string& field, const v1::Address& proto) {
    const std::optional<IpPrefix> local = IpPrefix::Parse(proto.address());
    if (!local.has_value()) {
      violations_.Add(field + ".address",
                      absl::StrCat("must be an address with the length of its prefix, as 10.0.0.2/24 or "
                                   "2001:db8::2/64, but is ",
                                   Quote(proto.address())));
      return;
    }
    const bool is_ipv6 = IsIpv6(local->address);
    if (!CheckUnicast(field + ".address", local->address) || !CheckIpv6Fits(field + ".address", local->address)) return;
    AddressSpec address{.local = *local, .peer = std::nullopt};
    if (!proto.peer().empty()) {
      address.peer = CheckHost(field + ".peer", proto.peer());
      if (!address.peer.has_value() || !CheckFamily(field + ".peer", *address.peer, local->address.family())) return;
      // The kernel takes that for an address without a peer.
      if (*address.peer == local->address) {
        violations_.Add(field + ".peer", "must differ from the address");
        return;
      }
    }
    address.scope = CheckScope(field + ".scope", proto.scope(), v1::Address::SCOPE_GLOBAL, v1::Address::SCOPE_LINK,
                               v1::Address::SCOPE_HOST, engine::kScopeGlobal, !is_ipv6);
    switch (proto.duplicate_detection()) {
      case v1::Address::DUPLICATE_DETECTION_UNSPECIFIED:
      case v1::Address::DUPLICATE_DETECTION_NONE:
        break;
      case v1::Address::DUPLICATE_DETECTION_WAIT:
        address.detect_duplicates = true;
        if (!is_ipv6) violations_.Add(field + ".duplicate_detection", "must be left out: only IPv6 has it");
        CheckIsUp(field + ".duplicate_detection");
        break;
      default:
        violations_.Add(field + ".duplicate_detection",
                        absl::StrCat("must be one of those that are defined, but is ", proto.duplicate_detection()));
    }
    for (const AddressSpec& other : config_.ip.addresses) {
      // The kernel goes by the address alone for IPv6, and by the prefix too for IPv4.
      if (is_ipv6 ? other.local.address == local->address : other.local == *local) {
        violations_.Add(field + ".address", absl::StrCat("must not be there twice, as ", local->ToString(), " is"));
      }
    }
    config_.ip.addresses.push_back(address);
  }

  void ReadNeighbour(const std::string& field, const v1::Neighbor& proto) {
    const std::optional<IpAddress> address = CheckHost(field + ".address", proto.address());
    if (proto.mac_address().empty()) violations_.Add(field + ".mac_address", "must be set");
    const std::optional<netlink::MacAddress> mac =
        CheckMacAddress(field + ".mac_address", proto.mac_address(), violations_);
    if (!address.has_value() || !mac.has_value() || !CheckIpv6Fits(field + ".address", *address) || !CheckIsUp(field)) {
      return;
    }
    const bool twice =
        absl::c_any_of(config_.ip.neighbours, [&](const NeighbourSpec& other) { return other.address == *address; });
    if (twice)
      violations_.Add(field + ".address", absl::StrCat("must not be there twice, as ", proto.address(), " is"));
    config_.ip.neighbours.push_back({.address = *address, .mac = *mac});
  }

  void ReadRoute(const std::string& field, const v1::Route& proto) {
    const std::optional<IpPrefix> destination = IpPrefix::Parse(proto.destination());
    if (!destination.has_value()) {
      violations_.Add(field + ".destination",
                      absl::StrCat("must be a network with the length of its prefix, as 10.1.0.0/16 or ::/0, but is ",
                                   Quote(proto.destination())));
      return;
    }
    if (destination->Network() != *destination) {
      violations_.Add(field + ".destination",
                      absl::StrCat("must have no bits after the prefix: ", destination->Network().ToString(),
                                   " in place of ", destination->ToString()));
      return;
    }
    const IpFamily family = destination->address.family();
    const bool is_ipv6 = family == IpFamily::kIpv6;
    if (!CheckIpv6Fits(field + ".destination", destination->address)) return;
    RouteSpec route{.destination = *destination, .gateway = std::nullopt, .preferred_source = std::nullopt};
    route.metric = proto.metric() == 0 ? engine::DefaultMetric(family) : proto.metric();
    route.table = proto.table() == 0 ? engine::kMainTable : proto.table();
    if (!ReadType(field, proto, route)) return;
    if (!proto.gateway().empty()) {
      route.gateway = CheckHost(field + ".gateway", proto.gateway());
      if (!route.gateway.has_value() || !CheckFamily(field + ".gateway", *route.gateway, family)) return;
    }
    if (proto.on_link() && !route.gateway.has_value()) {
      violations_.Add(field + ".on_link", "must be left out where there is no gateway");
    }
    route.on_link = proto.on_link();
    const uint8_t usual_scope =
        route.gateway.has_value() || is_ipv6 || !route.through_link() ? engine::kScopeGlobal : engine::kScopeLink;
    route.scope = CheckScope(field + ".scope", proto.scope(), v1::Route::SCOPE_GLOBAL, v1::Route::SCOPE_LINK,
                             v1::Route::SCOPE_HOST, usual_scope, !is_ipv6);
    if (!proto.preferred_source().empty()) {
      route.preferred_source = CheckHost(field + ".preferred_source", proto.preferred_source());
      if (!route.preferred_source.has_value()) return;
      if (!HasAddress(*route.preferred_source)) {
        violations_.Add(field + ".preferred_source",
                        absl::StrCat("must be one of the endpoint's addresses, but is ", proto.preferred_source()));
      }
      if (!CheckFamily(field + ".preferred_source", *route.preferred_source, family)) return;
    }
    if (proto.mtu() != 0) {
      const uint32_t least = is_ipv6 ? kLeastIpv6Mtu : kLeastIpv4Mtu;
      if (proto.mtu() < least) {
        violations_.Add(field + ".mtu", absl::StrCat("must be at least ", least, " bytes, but is ", proto.mtu()));
      }
      route.mtu = proto.mtu();
    }
    if (route.through_link() && !CheckIsUp(field)) return;
    CheckGateway(field + ".gateway", route);
    CheckIsNew(field + ".destination", route);
    config_.ip.routes.push_back(route);
  }

  // Whether the rest of the route is to be read.
  bool ReadType(const std::string& field, const v1::Route& proto, RouteSpec& route) {
    switch (proto.type()) {
      case v1::Route::TYPE_UNSPECIFIED:
      case v1::Route::TYPE_UNICAST:
        return true;
      case v1::Route::TYPE_BLACKHOLE:
        route.type = RouteType::kBlackhole;
        break;
      case v1::Route::TYPE_UNREACHABLE:
        route.type = RouteType::kUnreachable;
        break;
      case v1::Route::TYPE_PROHIBIT:
        route.type = RouteType::kProhibit;
        break;
      default:
        violations_.Add(field + ".type",
                        absl::StrCat("must be one of the types that are defined, but is ", proto.type()));
        return false;
    }
    if (proto.gateway().empty() && proto.preferred_source().empty() && !proto.on_link() && proto.mtu() == 0 &&
        (proto.scope() == v1::Route::SCOPE_UNSPECIFIED || proto.scope() == v1::Route::SCOPE_GLOBAL)) {
      return true;
    }
    violations_.Add(field, "must have a destination, a metric and a table only, as it leads nowhere");
    return false;
  }

  void ReadGateway(const std::string& field, const std::string& text) {
    const std::optional<IpAddress> gateway = CheckHost(field, text);
    if (!gateway.has_value() || !CheckIsUp(field)) return;
    const RouteSpec route = engine::DefaultRoute(*gateway);
    CheckGateway(field, route);
    CheckIsNew(field, route);
    config_.gateways.push_back(*gateway);
  }

  bool HasAddress(const IpAddress& address) const {
    return absl::c_any_of(config_.ip.addresses,
                          [&](const AddressSpec& other) { return other.local.address == address; });
  }

  // What fib_check_nh() of the kernel looks at, as far as it depends on this endpoint alone.
  void CheckGateway(const std::string& field, const RouteSpec& route) {
    if (!route.gateway.has_value()) return;
    const IpAddress& gateway = *route.gateway;
    if (HasAddress(gateway)) {
      violations_.Add(field,
                      absl::StrCat("must be another host's, but ", gateway.ToString(), " is the endpoint's own"));
      return;
    }
    const bool by_address = absl::c_any_of(config_.ip.addresses, [&](const AddressSpec& address) {
      return IpPrefix{.address = address.peer.value_or(address.local.address), .length = address.local.length}.Contains(
          gateway);
    });
    const bool by_route = absl::c_any_of(config_.ip.routes, [&](const RouteSpec& other) {
      return other.through_link() && !other.gateway.has_value() && other.destination.Contains(gateway);
    });
    if (route.on_link || by_address || by_route || IsLinkLocal(gateway)) return;
    violations_.Add(field, absl::StrCat("must be within the prefix of one of the endpoint's addresses, but is ",
                                        gateway.ToString(), "; or give a route with on_link"));
  }

  void CheckIsNew(const std::string& field, const RouteSpec& route) {
    auto is_it = [&](const RouteSpec& other) {
      return other.destination == route.destination && other.table == route.table && other.metric == route.metric;
    };
    const bool twice = absl::c_any_of(config_.ip.routes, is_it) ||
                       absl::c_any_of(config_.gateways,
                                      [&](const IpAddress& gateway) { return is_it(engine::DefaultRoute(gateway)); });
    if (!twice) return;
    violations_.Add(field, absl::StrCat("must differ from every other route in destination, table or metric, but ",
                                        route.destination.ToString(), " is there twice"));
  }

  const std::string field_;
  const v1::VethEndpoint& endpoint_;
  const engine::EndpointSpec& spec_;
  Violations& violations_;
  EndpointConfig config_;
};

v1::Address::Scope ToAddressScope(uint8_t scope) {
  if (scope == engine::kScopeLink) return v1::Address::SCOPE_LINK;
  if (scope == engine::kScopeHost) return v1::Address::SCOPE_HOST;
  return v1::Address::SCOPE_GLOBAL;
}

v1::Route::Scope ToRouteScope(uint8_t scope) {
  if (scope == engine::kScopeLink) return v1::Route::SCOPE_LINK;
  if (scope == engine::kScopeHost) return v1::Route::SCOPE_HOST;
  return v1::Route::SCOPE_GLOBAL;
}

v1::Route::Type ToType(RouteType type) {
  switch (type) {
    case RouteType::kUnicast:
      return v1::Route::TYPE_UNICAST;
    case RouteType::kBlackhole:
      return v1::Route::TYPE_BLACKHOLE;
    case RouteType::kUnreachable:
      return v1::Route::TYPE_UNREACHABLE;
    case RouteType::kProhibit:
      return v1::Route::TYPE_PROHIBIT;
  }
  return v1::Route::TYPE_UNSPECIFIED;
}

void ToProto(const RouteSpec& route, v1::Route& proto) {
  proto.set_destination(route.destination.ToString());
  if (route.gateway.has_value()) proto.set_gateway(route.gateway->ToString());
  proto.set_metric(route.metric);
  proto.set_table(route.table);
  const bool is_ipv4 = !IsIpv6(route.destination.address);
  if (is_ipv4 && route.through_link()) proto.set_scope(ToRouteScope(route.scope));
  if (route.preferred_source.has_value()) proto.set_preferred_source(route.preferred_source->ToString());
  proto.set_on_link(route.on_link);
  proto.set_mtu(route.mtu.value_or(0));
  proto.set_type(ToType(route.type));
}

}  // namespace

engine::EndpointConfig ToConfig(absl::string_view field, const v1::VethEndpoint& endpoint,
                                const engine::EndpointSpec& spec, Violations& violations) {
  return Reader(field, endpoint, spec, violations).Read();
}

static void ToProto(const engine::PortOptions& port, v1::BridgePort& proto) {
  const netlink::BridgePort& settings = port.settings;
  if (settings.hairpin.has_value()) proto.set_hairpin(*settings.hairpin);
  if (settings.isolated.has_value()) proto.set_isolated(*settings.isolated);
  if (settings.learning.has_value()) proto.set_learning(*settings.learning);
  if (settings.unicast_flood.has_value()) proto.set_unicast_flood(*settings.unicast_flood);
  if (settings.multicast_flood.has_value()) proto.set_multicast_flood(*settings.multicast_flood);
  if (settings.broadcast_flood.has_value()) proto.set_broadcast_flood(*settings.broadcast_flood);
  if (settings.neighbour_suppression.has_value()) proto.set_neighbor_suppression(*settings.neighbour_suppression);
  if (settings.cost.has_value()) proto.set_cost(*settings.cost);
  if (settings.priority.has_value()) proto.set_priority(*settings.priority);
  for (const netlink::BridgeVlan& vlan : port.vlans) {
    v1::BridgeVlan& added = *proto.add_vlans();
    added.set_first(vlan.first);
    added.set_last(vlan.last);
    added.set_pvid(vlan.pvid);
    added.set_untagged(vlan.untagged);
  }
}

void AddToProto(const engine::EndpointConfig& config, v1::VethEndpoint& endpoint) {
  endpoint.set_bridge(config.bridge);
  endpoint.set_bridge_interface(config.bridge_interface);
  if (!config.port.empty()) ToProto(config.port, *endpoint.mutable_bridge_port());
  if (config.ingress_limit.has_value()) *endpoint.mutable_ingress_limit() = ToProto(*config.ingress_limit);
  if (config.egress_limit.has_value()) *endpoint.mutable_egress_limit() = ToProto(*config.egress_limit);
  endpoint.set_masquerade(config.masquerade);
  for (const engine::PortForward& forward : config.port_forwards) *endpoint.add_port_forwards() = ToProto(forward);
  endpoint.set_ip_forwarding(config.ip_forwarding);
  for (const AddressSpec& address : config.ip.addresses) {
    v1::Address& proto = *endpoint.add_addresses();
    proto.set_address(address.local.ToString());
    if (address.peer.has_value()) proto.set_peer(address.peer->ToString());
    // What the other family does not have is left out.
    if (IsIpv6(address.local.address)) {
      proto.set_duplicate_detection(address.detect_duplicates ? v1::Address::DUPLICATE_DETECTION_WAIT
                                                              : v1::Address::DUPLICATE_DETECTION_NONE);
    } else {
      proto.set_scope(ToAddressScope(address.scope));
    }
  }
  for (const IpAddress& gateway : config.gateways) endpoint.add_gateways(gateway.ToString());
  for (const RouteSpec& route : config.ip.routes) ToProto(route, *endpoint.add_routes());
  for (const NeighbourSpec& neighbour : config.ip.neighbours) {
    v1::Neighbor& proto = *endpoint.add_neighbors();
    proto.set_address(neighbour.address.ToString());
    proto.set_mac_address(neighbour.mac.ToString());
  }
  for (const std::string& name : config.alternative_names) endpoint.add_alternative_names(name);
  endpoint.set_tx_queues(config.options.tx_queues);
  endpoint.set_rx_queues(config.options.rx_queues);
  endpoint.set_promiscuous(config.options.promiscuous);
  endpoint.set_all_multicast(config.options.all_multicast);
  const std::string& alias = config.options.alias;
  // Somebody inside may have changed it.
  endpoint.set_alias(IsUtf8(alias) ? alias : Printable(alias, 256));
  endpoint.set_announce(config.announce);
  const auto& limits = config.options.limits;
  if (limits == engine::LinkOptions().limits) return;
  v1::OffloadLimits& proto = *endpoint.mutable_offload_limits();
  proto.set_gso_max_size(limits.gso_max_size.value_or(0));
  proto.set_gso_max_segments(limits.gso_max_segments.value_or(0));
  proto.set_gro_max_size(limits.gro_max_size.value_or(0));
  proto.set_gso_ipv4_max_size(limits.gso_ipv4_max_size.value_or(0));
  proto.set_gro_ipv4_max_size(limits.gro_ipv4_max_size.value_or(0));
}

}  // namespace netprov::api
