#include "server/engine/objects.h"

#include <algorithm>
#include <iterator>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"

namespace netprov::engine {
namespace {

std::optional<std::string> IdIn(absl::string_view name, absl::string_view collection) {
  if (!absl::ConsumePrefix(&name, collection)) return std::nullopt;
  return std::string(name);
}

}  // namespace

std::optional<std::string> NamespaceIdIn(absl::string_view name) { return IdIn(name, NamespaceName("")); }
std::optional<std::string> VethIdIn(absl::string_view name) { return IdIn(name, VethName("")); }

std::string ToText(const NetnsPlace& place) {
  return place.path.empty() ? absl::StrCat("process ", place.pid) : place.path;
}

std::string PlaceName(const NetnsPlace& place) {
  return place.path.empty() ? absl::StrCat("processes/", place.pid) : place.path;
}

std::string NetnsKey(const std::string& namespace_id, const std::optional<NetnsPlace>& place, uint64_t cookie) {
  return place.has_value() ? absl::StrCat("/", cookie) : namespace_id;
}

std::string ToText(const PortForward& forward) {
  const char* protocol = forward.protocol == netlink::TransportProtocol::kTcp ? "tcp " : "udp ";
  std::string text = absl::StrCat(protocol, forward.host_port);
  if (forward.count > 1) absl::StrAppend(&text, "-", forward.host_port + forward.count - 1);
  if (forward.host_address.has_value()) text = absl::StrCat(forward.host_address->ToString(), " ", text);
  return absl::StrCat(text, " to port ", forward.port);
}

IpConfig EndpointConfig::WholeIp() const {
  IpConfig whole = ip;
  for (const netlink::IpAddress& gateway : gateways) whole.routes.push_back(DefaultRoute(gateway));
  return whole;
}

std::vector<RouteSpec> EndpointConfig::RoutesWithoutLink() const { return RoutesWithoutLinkOf(ip); }

void EndpointConfig::Remove(const IpConfig& missing) {
  std::erase_if(gateways, [&missing](const netlink::IpAddress& gateway) {
    return std::find(missing.routes.begin(), missing.routes.end(), DefaultRoute(gateway)) != missing.routes.end();
  });
  ip = Missing(ip, missing);
}

std::string ToText(const std::vector<Process>& processes) {
  return absl::StrJoin(processes, ", ", [](std::string* text, const Process& process) {
    absl::StrAppend(text, process.pid, process.command.empty() ? "" : " ", process.command);
  });
}

std::string ToText(const std::vector<Deviation>& deviations) {
  return absl::StrJoin(deviations, "; ", [](std::string* text, const Deviation& deviation) {
    absl::StrAppend(text, deviation.field, " is '", deviation.actual, "' in place of '", deviation.expected, "'");
  });
}

std::string KindOf(const DeviceOptions& options) {
  // In the order of the variant.
  constexpr const char* kKinds[] = {"bridge", "macvlan", "vxlan", "vlan", "ipvlan", "dummy", "ifb"};
  static_assert(std::size(kKinds) == std::variant_size_v<DeviceOptions>);
  return kKinds[options.index()];
}

bool HasLower(const DeviceOptions& options) {
  return !std::holds_alternative<netlink::BridgeInfo>(options) &&
         !std::holds_alternative<netlink::DummyInfo>(options) && !std::holds_alternative<netlink::IfbInfo>(options);
}

}  // namespace netprov::engine
