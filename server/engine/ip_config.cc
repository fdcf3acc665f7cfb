#include "server/engine/ip_config.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace netprov::engine {
namespace {

const char* WordFor(RouteType type) {
  switch (type) {
    case RouteType::kUnicast:
      return "";
    case RouteType::kBlackhole:
      return "blackhole ";
    case RouteType::kUnreachable:
      return "unreachable ";
    case RouteType::kProhibit:
      return "prohibit ";
  }
  return "";
}

}  // namespace

uint32_t DefaultMetric(netlink::IpFamily family) { return family == netlink::IpFamily::kIpv6 ? 1024 : 0; }

bool HaveOneKey(const RouteSpec& a, const RouteSpec& b) {
  return a.destination == b.destination && a.table == b.table && a.metric == b.metric;
}

std::vector<RouteSpec> RoutesWithoutLinkOf(const IpConfig& ip) {
  std::vector<RouteSpec> routes;
  for (const RouteSpec& route : ip.routes) {
    if (!route.through_link()) routes.push_back(route);
  }
  return routes;
}

RouteSpec DefaultRoute(const netlink::IpAddress& gateway) {
  RouteSpec route;
  route.destination.address = netlink::IpAddress::Any(gateway.family());
  route.gateway = gateway;
  route.metric = DefaultMetric(gateway.family());
  return route;
}

IpConfig Missing(const IpConfig& expected, const IpConfig& actual) {
  auto missing = [](auto items, const auto& there) {
    std::erase_if(items,
                  [&there](const auto& item) { return std::find(there.begin(), there.end(), item) != there.end(); });
    return items;
  };
  return {.addresses = missing(expected.addresses, actual.addresses),
          .neighbours = missing(expected.neighbours, actual.neighbours),
          .routes = missing(expected.routes, actual.routes)};
}

std::string ToText(const AddressSpec& address) {
  std::string text = address.local.ToString();
  if (address.peer.has_value()) absl::StrAppend(&text, " peer ", address.peer->ToString());
  if (address.scope == kScopeLink) absl::StrAppend(&text, " scope link");
  if (address.scope == kScopeHost) absl::StrAppend(&text, " scope host");
  return text;
}

std::string ToText(const RouteSpec& route) {
  std::string text = absl::StrCat(WordFor(route.type), route.destination.ToString());
  if (route.gateway.has_value()) absl::StrAppend(&text, " via ", route.gateway->ToString());
  if (route.on_link) absl::StrAppend(&text, " onlink");
  if (route.table != kMainTable) absl::StrAppend(&text, " table ", route.table);
  if (route.preferred_source.has_value()) absl::StrAppend(&text, " src ", route.preferred_source->ToString());
  if (route.metric != DefaultMetric(route.destination.address.family())) {
    absl::StrAppend(&text, " metric ", route.metric);
  }
  if (route.mtu.has_value()) absl::StrAppend(&text, " mtu ", *route.mtu);
  return text;
}

std::string ToText(const NeighbourSpec& neighbour) {
  return absl::StrCat(neighbour.address.ToString(), " lladdr ", neighbour.mac.ToString());
}

}  // namespace netprov::engine
