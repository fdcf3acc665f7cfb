#include "server/api/port_forward.h"

#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/strings/str_cat.h"
#include "server/api/text.h"
#include "server/engine/address_translation.h"
#include "server/netlink/ip_address.h"
#include "server/netlink/nat.h"

namespace netprov::api {
namespace {

using engine::EndpointConfig;
using engine::PortForward;
using netlink::IpAddress;
using netlink::IpFamily;
using netlink::IpPrefix;
using netlink::TransportProtocol;

constexpr int kMostForwards = 64;
// Each is an element, and all elements of an end fit into one transaction with those of its addresses.
constexpr size_t kMostPorts = netlink::kMaxForwardedPorts;
constexpr uint32_t kGreatestPort = 65535;

bool IsLoopback(const IpAddress& address) {
  return IpPrefix::Parse("127.0.0.0/8")->Contains(address) || IpPrefix::Parse("::1/128")->Contains(address);
}

bool IsMulticastOrBroadcast(const IpAddress& address) {
  return IpPrefix::Parse("224.0.0.0/4")->Contains(address) || IpPrefix::Parse("ff00::/8")->Contains(address) ||
         IpPrefix::Parse("255.255.255.255/32")->Contains(address);
}

// Whether the end's forwards may lead there; says what is wrong otherwise.
bool CheckHostAddress(const std::string& field, const std::string& text, const EndpointConfig& config,
                      PortForward& forward, Violations& violations) {
  if (text.empty()) {
    if (engine::NatTarget(config, IpFamily::kIpv4).has_value() ||
        engine::NatTarget(config, IpFamily::kIpv6).has_value()) {
      return true;
    }
    violations.Add(field,
                   "needs the endpoint to have an address to which it leads, other than a link-local one of IPv6");
    return false;
  }
  forward.host_address = IpAddress::Parse(text);
  const std::string address_field = field + ".host_address";
  if (!forward.host_address.has_value()) {
    violations.Add(address_field,
                   absl::StrCat("must be an IP address, as 192.0.2.1 or 2001:db8::1, but is ", Quote(text)));
    return false;
  }
  const IpAddress& address = *forward.host_address;
  if (IsMulticastOrBroadcast(address)) {
    violations.Add(address_field, absl::StrCat("must be the address of one host, but is ", address.ToString()));
    return false;
  }
  if (IsLoopback(address)) {
    violations.Add(address_field,
                   absl::StrCat("must not be a loopback address, as nothing is forwarded from those, but is ",
                                address.ToString()));
    return false;
  }
  if (engine::NatTarget(config, address.family()).has_value()) return true;
  violations.Add(address_field,
                 absl::StrCat("needs the endpoint to have an ", address.family() == IpFamily::kIpv4 ? "IPv4" : "IPv6",
                              " address to which it leads, but ", address.ToString(), " has none"));
  return false;
}

bool CheckPorts(const std::string& field, const v1::PortForward& proto, PortForward& forward, Violations& violations) {
  const uint32_t first = proto.host_port();
  if (first < 1 || first > kGreatestPort) {
    violations.Add(field + ".host_port", absl::StrCat("must be 1 to ", kGreatestPort, ", but is ", first));
    return false;
  }
  const uint32_t last = proto.host_port_last() == 0 ? first : proto.host_port_last();
  if (last < first || last > kGreatestPort) {
    violations.Add(field + ".host_port_last",
                   absl::StrCat("must be ", first, ", the first, to ", kGreatestPort, ", but is ", last));
    return false;
  }
  const uint32_t count = last - first + 1;
  const uint32_t port = proto.port() == 0 ? first : proto.port();
  if (port > kGreatestPort || port + count - 1 > kGreatestPort) {
    violations.Add(field + ".port", absl::StrCat("must be 1 to ", kGreatestPort - (count - 1),
                                                 ", so that all ports of the range have one, but is ", port));
    return false;
  }
  if (count > kMostPorts) {
    violations.Add(field + ".host_port_last",
                   absl::StrCat("must make at most ", kMostPorts, " ports, but makes ", count));
    return false;
  }
  forward.host_port = static_cast<uint16_t>(first);
  forward.count = static_cast<uint16_t>(count);
  forward.port = static_cast<uint16_t>(port);
  return true;
}

bool CheckProtocol(const std::string& field, const v1::PortForward& proto, PortForward& forward,
                   Violations& violations) {
  switch (proto.protocol()) {
    case v1::PortForward::PROTOCOL_UNSPECIFIED:
    case v1::PortForward::PROTOCOL_TCP:
      return true;
    case v1::PortForward::PROTOCOL_UDP:
      forward.protocol = TransportProtocol::kUdp;
      return true;
    default:
      violations.Add(field + ".protocol",
                     absl::StrCat("must be PROTOCOL_TCP or PROTOCOL_UDP, but is ", proto.protocol()));
      return false;
  }
}

// Whether both would forward one port of one address, or of all.
bool Overlap(const PortForward& a, const PortForward& b) {
  if (a.protocol != b.protocol || a.host_port + a.count <= b.host_port || b.host_port + b.count <= a.host_port) {
    return false;
  }
  auto is_any = [](const PortForward& forward, IpFamily family) {
    return !forward.host_address.has_value() || *forward.host_address == IpAddress::Any(family);
  };
  for (const IpFamily family : {IpFamily::kIpv4, IpFamily::kIpv6}) {
    if (is_any(a, family) && is_any(b, family)) return true;
  }
  return a.host_address.has_value() && a.host_address == b.host_address;
}

void ReadForwards(absl::string_view field, const v1::VethEndpoint& endpoint, EndpointConfig& config,
                  Violations& violations) {
  const std::string all = absl::StrCat(field, ".port_forwards");
  if (endpoint.port_forwards_size() > kMostForwards) {
    violations.Add(
        all, absl::StrCat("must have at most ", kMostForwards, " items, but has ", endpoint.port_forwards_size()));
    return;
  }
  size_t ports = 0;
  for (int i = 0; i < endpoint.port_forwards_size(); ++i) {
    const v1::PortForward& proto = endpoint.port_forwards(i);
    const std::string item = absl::StrCat(all, "[", i, "]");
    PortForward forward;
    const bool is_valid = CheckProtocol(item, proto, forward, violations) &&
                          CheckPorts(item, proto, forward, violations) &&
                          CheckHostAddress(item, proto.host_address(), config, forward, violations);
    if (!is_valid) continue;
    for (const PortForward& other : config.port_forwards) {
      if (!Overlap(forward, other)) continue;
      violations.Add(item, absl::StrCat("must have other ports than ", engine::ToText(other), ", which is there too"));
      break;
    }
    ports += engine::NatElements(forward, config, "").size();
    config.port_forwards.push_back(forward);
  }
  if (ports > kMostPorts) {
    violations.Add(all, absl::StrCat("must have at most ", kMostPorts,
                                     " ports in all, those of both families counted twice, but has ", ports));
  }
}

}  // namespace

void ReadNat(absl::string_view field, const v1::VethEndpoint& endpoint, EndpointConfig& config,
             Violations& violations) {
  config.masquerade = endpoint.masquerade();
  const bool has_address =
      engine::NatTarget(config, IpFamily::kIpv4).has_value() || engine::NatTarget(config, IpFamily::kIpv6).has_value();
  if (config.masquerade && !has_address) {
    violations.Add(absl::StrCat(field, ".masquerade"),
                   "needs the endpoint to have an address, other than a link-local one of IPv6");
  }
  config.ip_forwarding = endpoint.ip_forwarding();
  if (config.ip_forwarding && config.ip.addresses.empty()) {
    violations.Add(absl::StrCat(field, ".ip_forwarding"),
                   "needs the endpoint to have an address: the families of those are forwarded");
  }
  ReadForwards(field, endpoint, config, violations);
}

v1::PortForward ToProto(const PortForward& forward) {
  v1::PortForward proto;
  proto.set_protocol(forward.protocol == TransportProtocol::kTcp ? v1::PortForward::PROTOCOL_TCP
                                                                 : v1::PortForward::PROTOCOL_UDP);
  if (forward.host_address.has_value()) proto.set_host_address(forward.host_address->ToString());
  proto.set_host_port(forward.host_port);
  proto.set_host_port_last(forward.host_port + forward.count - 1u);
  proto.set_port(forward.port);
  return proto;
}

}  // namespace netprov::api
