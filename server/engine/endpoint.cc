#include "server/engine/endpoint.h"

#include <optional>

#include "absl/strings/match.h"

namespace netprov::engine {

bool IsPattern(const std::string& interface_name) { return absl::StrContains(interface_name, '%'); }

Endpoint Projected(const EndpointSpec& spec, const std::string& interface_name) {
  return {.namespace_id = spec.namespace_id,
          .interface_name = interface_name,
          .mac = spec.mac,
          .mtu = spec.mtu.value_or(0),
          .up = spec.up,
          .place = spec.place};
}

Endpoint Projected(const EndpointSpec& spec, const Endpoint& made) {
  Endpoint endpoint = made;
  if (spec.mac.has_value()) endpoint.mac = spec.mac;
  endpoint.mtu = spec.mtu.value_or(made.mtu);
  endpoint.up = spec.up;
  endpoint.config = spec.config;
  return endpoint;
}

LinkSpec ToLinkSpec(const EndpointSpec& spec, const NetnsRef& netns, const std::string& interface_name,
                    uint32_t bridge) {
  return {.netns = netns,
          .name = interface_name,
          .mac = spec.mac,
          .mtu = spec.mtu,
          .up = spec.up,
          .options = spec.config.options,
          .master = bridge,
          .port = spec.config.port};
}

Endpoint ToEndpoint(const Endpoint& where, const Link& link) {
  Endpoint endpoint{.namespace_id = where.namespace_id,
                    .interface_name = link.name,
                    .mac = link.mac,
                    .mtu = link.mtu,
                    .up = link.up,
                    .ifindex = link.ifindex,
                    .place = where.place,
                    .netns_cookie = where.netns_cookie};
  if (link.port.has_value()) endpoint.config.port.settings = *link.port;
  return endpoint;
}

const char* MissingLimit(const netlink::OffloadLimits& asked, const netlink::OffloadLimits& actual) {
  auto is_missing = [](const std::optional<uint32_t>& limit, const std::optional<uint32_t>& now) {
    return limit.has_value() && limit != now;
  };
  if (is_missing(asked.gso_max_size, actual.gso_max_size)) return "gso_max_size";
  if (is_missing(asked.gso_max_segments, actual.gso_max_segments)) return "gso_max_segments";
  if (is_missing(asked.gro_max_size, actual.gro_max_size)) return "gro_max_size";
  if (is_missing(asked.gso_ipv4_max_size, actual.gso_ipv4_max_size)) return "gso_ipv4_max_size";
  if (is_missing(asked.gro_ipv4_max_size, actual.gro_ipv4_max_size)) return "gro_ipv4_max_size";
  return nullptr;
}

}  // namespace netprov::engine
