#include "server/api/inspection.h"

#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "server/api/page_token.h"
#include "server/api/resource_name.h"
#include "server/api/text.h"
#include "server/base/digest.h"
#include "server/engine/tag.h"
#include "server/netlink/ip_address.h"
#include "server/netlink/link.h"

namespace netprov::api {
namespace {

constexpr char kListLinks[] = "ListLinks";
constexpr char kListAddresses[] = "ListAddresses";
constexpr char kListRoutes[] = "ListRoutes";
constexpr char kListNeighbors[] = "ListNeighbors";

constexpr char kHost[] = "host";
constexpr size_t kLongestName = 127;   // ALTIFNAMSIZ of linux/if.h, less the terminating zero
constexpr size_t kLongestText = 1024;  // an alias of 254 bytes, each as four characters

// ---- Requests

// The id of the namespace; empty: the host's.
std::string CheckParent(const std::string& parent, Violations& violations) {
  if (parent == kHost) return "";
  netprov::Result<std::string, NameError> id = ParseNamespaceName(parent);
  if (id.ok()) return *std::move(id);
  violations.Add("parent", absl::StrCat("must be ", kHost, " or namespaces/{namespace}: it must ", id.error().message));
  return "";
}

std::string CheckText(absl::string_view field, const std::string& text, Violations& violations) {
  if (text.size() > kLongestName || absl::StrContains(text, '\0')) {
    violations.Add(field, absl::StrCat("must be at most ", kLongestName, " bytes without NUL, but is ", Quote(text)));
  }
  return text;
}

std::optional<netlink::IpFamily> CheckFamily(v1::IpFamily family, Violations& violations) {
  switch (family) {
    case v1::IP_FAMILY_UNSPECIFIED:
      return std::nullopt;
    case v1::IP_FAMILY_IPV4:
      return netlink::IpFamily::kIpv4;
    case v1::IP_FAMILY_IPV6:
      return netlink::IpFamily::kIpv6;
    default:
      violations.Add("family", absl::StrCat("must be one of the families that are defined, but is ", family));
      return std::nullopt;
  }
}

// Reads the page, and checks that its token is one of this very list. `what` are parent and filters.
template <typename Request, typename Filter>
void CheckInspectPage(absl::string_view method, const Request& request, const std::string& what,
                      InspectCall<Filter>& call, Violations& violations) {
  call.parent = request.parent();
  call.scope = absl::StrCat(absl::Hex(Digest(what), absl::kZeroPad16), "/");
  const size_t before = violations.size();
  call.page = CheckPage(method, request.page_size(), request.page_token(), violations);
  if (call.page.after.empty() || violations.size() != before) return;
  if (!absl::StartsWith(call.page.after, call.scope)) {
    violations.Add("page_token", "must be used with the parent and the filters that it came with");
  }
  call.page.after.erase(0, call.scope.size());
}

template <typename Request>
absl::StatusOr<ListIpCall> ToIpCall(absl::string_view method, const Request& request, uint32_t table) {
  Violations violations;
  ListIpCall call;
  call.filter.namespace_id = CheckParent(request.parent(), violations);
  call.filter.family = CheckFamily(request.family(), violations);
  call.filter.interface_name = CheckText("interface_name", request.interface_name(), violations);
  if (table != 0) call.filter.table = table;
  CheckInspectPage(method, request,
                   absl::StrCat(request.parent(), "\n", static_cast<int>(request.family()), "\n", table, "\n",
                                request.interface_name()),
                   call, violations);
  if (!violations.empty()) return violations.ToStatus();
  return call;
}

// ---- Answers

// Names and texts of the kernel are bytes.
std::string Text(const std::string& text) { return Printable(text, kLongestText); }

std::string ToText(const std::optional<netlink::IpAddress>& address) {
  return address.has_value() ? address->ToString() : "";
}

v1::IpScope ToScope(uint8_t scope) {
  switch (scope) {
    case RT_SCOPE_UNIVERSE:
      return v1::IP_SCOPE_GLOBAL;
    case RT_SCOPE_SITE:
      return v1::IP_SCOPE_SITE;
    case RT_SCOPE_LINK:
      return v1::IP_SCOPE_LINK;
    case RT_SCOPE_HOST:
      return v1::IP_SCOPE_HOST;
    case RT_SCOPE_NOWHERE:
      return v1::IP_SCOPE_NOWHERE;
    default:
      return v1::IP_SCOPE_UNSPECIFIED;
  }
}

v1::Link::OperState ToProto(netlink::OperState state) {
  switch (state) {
    case netlink::OperState::kUnknown:
      return v1::Link::OPER_STATE_UNSPECIFIED;
    case netlink::OperState::kNotPresent:
      return v1::Link::OPER_STATE_NOT_PRESENT;
    case netlink::OperState::kDown:
      return v1::Link::OPER_STATE_DOWN;
    case netlink::OperState::kLowerLayerDown:
      return v1::Link::OPER_STATE_LOWER_LAYER_DOWN;
    case netlink::OperState::kTesting:
      return v1::Link::OPER_STATE_TESTING;
    case netlink::OperState::kDormant:
      return v1::Link::OPER_STATE_DORMANT;
    case netlink::OperState::kUp:
      return v1::Link::OPER_STATE_UP;
  }
  return v1::Link::OPER_STATE_UNSPECIFIED;
}

v1::RouteEntry::Type ToRouteType(uint8_t type) {
  switch (type) {
    case RTN_UNICAST:
      return v1::RouteEntry::TYPE_UNICAST;
    case RTN_LOCAL:
      return v1::RouteEntry::TYPE_LOCAL;
    case RTN_BROADCAST:
      return v1::RouteEntry::TYPE_BROADCAST;
    case RTN_ANYCAST:
      return v1::RouteEntry::TYPE_ANYCAST;
    case RTN_MULTICAST:
      return v1::RouteEntry::TYPE_MULTICAST;
    case RTN_BLACKHOLE:
      return v1::RouteEntry::TYPE_BLACKHOLE;
    case RTN_UNREACHABLE:
      return v1::RouteEntry::TYPE_UNREACHABLE;
    case RTN_PROHIBIT:
      return v1::RouteEntry::TYPE_PROHIBIT;
    case RTN_THROW:
      return v1::RouteEntry::TYPE_THROW;
    default:
      return v1::RouteEntry::TYPE_UNSPECIFIED;
  }
}

v1::NeighborEntry::State ToNeighborState(uint16_t state) {
  switch (state) {
    case NUD_INCOMPLETE:
      return v1::NeighborEntry::STATE_INCOMPLETE;
    case NUD_REACHABLE:
      return v1::NeighborEntry::STATE_REACHABLE;
    case NUD_STALE:
      return v1::NeighborEntry::STATE_STALE;
    case NUD_DELAY:
      return v1::NeighborEntry::STATE_DELAY;
    case NUD_PROBE:
      return v1::NeighborEntry::STATE_PROBE;
    case NUD_FAILED:
      return v1::NeighborEntry::STATE_FAILED;
    case NUD_NOARP:
      return v1::NeighborEntry::STATE_NOARP;
    case NUD_PERMANENT:
      return v1::NeighborEntry::STATE_PERMANENT;
    default:
      return v1::NeighborEntry::STATE_UNSPECIFIED;
  }
}

v1::LinkStatistics ToProto(const netlink::LinkStatistics& statistics) {
  v1::LinkStatistics proto;
  proto.set_rx_packets(statistics.rx_packets);
  proto.set_tx_packets(statistics.tx_packets);
  proto.set_rx_bytes(statistics.rx_bytes);
  proto.set_tx_bytes(statistics.tx_bytes);
  proto.set_rx_errors(statistics.rx_errors);
  proto.set_tx_errors(statistics.tx_errors);
  proto.set_rx_dropped(statistics.rx_dropped);
  proto.set_tx_dropped(statistics.tx_dropped);
  proto.set_multicast(statistics.multicast);
  proto.set_rx_no_handler(statistics.rx_no_handler);
  return proto;
}

v1::OffloadLimits ToProto(const netlink::OffloadLimits& limits) {
  v1::OffloadLimits proto;
  proto.set_gso_max_size(limits.gso_max_size.value_or(0));
  proto.set_gso_max_segments(limits.gso_max_segments.value_or(0));
  proto.set_gro_max_size(limits.gro_max_size.value_or(0));
  proto.set_gso_ipv4_max_size(limits.gso_ipv4_max_size.value_or(0));
  proto.set_gro_ipv4_max_size(limits.gro_ipv4_max_size.value_or(0));
  return proto;
}

v1::Link ToProto(const std::string& parent, const engine::InspectedLink& item) {
  const engine::Link& link = item.observed.link;
  v1::Link proto;
  proto.set_name(absl::StrCat(parent, "/links/", link.ifindex));
  proto.set_ifindex(link.ifindex);
  proto.set_interface_name(Text(link.name));
  for (const std::string& name : link.alternative_names) proto.add_alternative_names(Text(name));
  proto.set_kind(Text(link.kind));
  proto.set_mac_address(link.mac.ToString());
  proto.set_mtu(link.mtu);
  proto.set_admin_state(link.up ? v1::VethEndpoint::ADMIN_STATE_UP : v1::VethEndpoint::ADMIN_STATE_DOWN);
  proto.set_oper_state(ToProto(item.observed.oper_state));
  proto.set_master_ifindex(item.observed.link.master_ifindex);
  proto.set_peer_ifindex(link.peer_ifindex);
  proto.set_group(link.group);
  proto.set_alias(Text(engine::JoinAlias(link.alias, link.options.alias)));
  proto.set_tx_queues(link.options.tx_queues);
  proto.set_rx_queues(link.options.rx_queues);
  proto.set_promiscuous(link.options.promiscuous);
  proto.set_all_multicast(link.options.all_multicast);
  *proto.mutable_offload_limits() = ToProto(link.options.limits);
  *proto.mutable_statistics() = ToProto(item.observed.statistics);
  proto.set_object(item.object);
  return proto;
}

v1::AddressEntry ToAddressEntry(const engine::InspectedAddress& item) {
  const netlink::Address& address = item.address;
  v1::AddressEntry proto;
  proto.set_ifindex(static_cast<uint32_t>(address.ifindex));
  proto.set_interface_name(Text(item.interface_name));
  proto.set_address(address.local.ToString());
  proto.set_peer(ToText(address.peer));
  proto.set_scope(ToScope(address.scope));
  proto.set_permanent((address.flags & IFA_F_PERMANENT) != 0);
  proto.set_tentative((address.flags & IFA_F_TENTATIVE) != 0);
  proto.set_duplicate((address.flags & IFA_F_DADFAILED) != 0);
  proto.set_deprecated((address.flags & IFA_F_DEPRECATED) != 0);
  proto.set_secondary((address.flags & IFA_F_SECONDARY) != 0);
  proto.set_protocol(address.protocol);
  proto.set_object(item.object);
  return proto;
}

v1::RouteEntry ToRouteEntry(const engine::InspectedRoute& item) {
  const netlink::Route& route = item.route;
  v1::RouteEntry proto;
  proto.set_destination(route.destination.ToString());
  proto.set_type(ToRouteType(route.type));
  proto.set_table(route.table);
  proto.set_metric(route.metric.value_or(0));
  proto.set_tos(route.tos);
  proto.set_scope(ToScope(route.scope));
  proto.set_protocol(route.protocol);
  proto.set_gateway(ToText(route.via.has_value() ? route.via : route.gateway));
  proto.set_ifindex(static_cast<uint32_t>(route.ifindex.value_or(0)));
  proto.set_interface_name(Text(item.interface_name));
  proto.set_preferred_source(ToText(route.preferred_source));
  proto.set_on_link(route.onlink);
  proto.set_mtu(route.mtu.value_or(0));
  for (size_t i = 0; i < route.next_hops.size(); ++i) {
    v1::RouteEntry::NextHop& hop = *proto.add_next_hops();
    hop.set_gateway(ToText(route.next_hops[i].gateway));
    hop.set_ifindex(static_cast<uint32_t>(route.next_hops[i].ifindex));
    hop.set_interface_name(Text(item.next_hop_names[i]));
    hop.set_weight(route.next_hops[i].weight);
    hop.set_on_link(route.next_hops[i].onlink);
  }
  proto.set_object(item.object);
  return proto;
}

v1::NeighborEntry ToNeighborEntry(const engine::InspectedNeighbour& item) {
  const netlink::Neighbour& neighbour = item.neighbour;
  v1::NeighborEntry proto;
  proto.set_ifindex(static_cast<uint32_t>(neighbour.ifindex));
  proto.set_interface_name(Text(item.interface_name));
  proto.set_address(neighbour.address.ToString());
  if (neighbour.mac.has_value()) proto.set_mac_address(neighbour.mac->ToString());
  proto.set_state(ToNeighborState(neighbour.state));
  proto.set_router((neighbour.flags & NTF_ROUTER) != 0);
  proto.set_protocol(neighbour.protocol);
  proto.set_object(item.object);
  return proto;
}

}  // namespace

absl::StatusOr<ListLinksCall> ToCall(const v1::ListLinksRequest& request) {
  Violations violations;
  ListLinksCall call;
  call.filter = {.namespace_id = CheckParent(request.parent(), violations),
                 .kind = CheckText("kind", request.kind(), violations),
                 .interface_name = CheckText("interface_name", request.interface_name(), violations)};
  CheckInspectPage(kListLinks, request,
                   absl::StrCat(request.parent(), "\n", request.kind(), "\n", request.interface_name()), call,
                   violations);
  if (!violations.empty()) return violations.ToStatus();
  return call;
}

absl::StatusOr<ListIpCall> ToCall(const v1::ListAddressesRequest& request) {
  return ToIpCall(kListAddresses, request, /*table=*/0);
}

absl::StatusOr<ListIpCall> ToCall(const v1::ListRoutesRequest& request) {
  return ToIpCall(kListRoutes, request, request.table());
}

absl::StatusOr<ListIpCall> ToCall(const v1::ListNeighborsRequest& request) {
  return ToIpCall(kListNeighbors, request, /*table=*/0);
}

v1::ListLinksResponse ToProto(const ListLinksCall& call, const engine::Page<engine::InspectedLink>& page) {
  v1::ListLinksResponse proto;
  const auto to_link = [&call](const engine::InspectedLink& item) { return ToProto(call.parent, item); };
  proto.set_next_page_token(FillPage(kListLinks, page, proto.mutable_links(), to_link, call.scope));
  return proto;
}

v1::ListAddressesResponse ToProto(const ListIpCall& call, const engine::Page<engine::InspectedAddress>& page) {
  v1::ListAddressesResponse proto;
  proto.set_next_page_token(FillPage(kListAddresses, page, proto.mutable_addresses(), ToAddressEntry, call.scope));
  return proto;
}

v1::ListRoutesResponse ToProto(const ListIpCall& call, const engine::Page<engine::InspectedRoute>& page) {
  v1::ListRoutesResponse proto;
  proto.set_next_page_token(FillPage(kListRoutes, page, proto.mutable_routes(), ToRouteEntry, call.scope));
  return proto;
}

v1::ListNeighborsResponse ToProto(const ListIpCall& call, const engine::Page<engine::InspectedNeighbour>& page) {
  v1::ListNeighborsResponse proto;
  proto.set_next_page_token(FillPage(kListNeighbors, page, proto.mutable_neighbors(), ToNeighborEntry, call.scope));
  return proto;
}

}  // namespace netprov::api
