#include "tests/simulation/specs.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "server/engine/ip_config.h"
#include "server/netlink/ip_address.h"
#include "server/netlink/link_info.h"

namespace netprov::simulation {

using engine::EndpointSpec;
using engine::VethSpec;

namespace {

constexpr char kBridge[] = "bridges/br";  // mostly at the host
constexpr char kLan[] = "bridges/lan";    // mostly in a namespace
constexpr char kDummy[] = "devices/d";
constexpr char kIfb[] = "devices/i";
constexpr char kMacvlan[] = "devices/m";
constexpr char kIpvlan[] = "devices/p";
constexpr char kVlan[] = "devices/t";
constexpr char kOtherVlan[] = "devices/u";

bool IsPattern(const std::string& name) { return name.find('%') != std::string::npos; }

engine::AddressSpec AddressOf(const std::string& text) {
  return {.local = *netlink::IpPrefix::Parse(text), .peer = std::nullopt};
}

engine::RouteSpec RouteOf(const std::string& destination, const std::string& gateway) {
  engine::RouteSpec route{.destination = *netlink::IpPrefix::Parse(destination)};
  if (gateway.empty()) {
    route.type = engine::RouteType::kBlackhole;
  } else {
    route.gateway = *netlink::IpAddress::Parse(gateway);
  }
  return route;
}

engine::RateLimit MakeLimit(Random& random) {
  return {.rate = random.Pick<uint64_t>({8000000, 16000000}), .burst = 20000, .latency = absl::Milliseconds(50)};
}

// Addresses of networks of its own, and what is reached by them.
engine::IpConfig MakeIp(Random& random, size_t network, int own) {
  engine::IpConfig ip;
  const std::string prefix = absl::StrCat("10.0.", network, ".");
  std::vector<engine::AddressSpec>& addresses = ip.addresses;
  if (!random.OneIn(4)) addresses.push_back(AddressOf(absl::StrCat(prefix, own, "/24")));
  if (random.OneIn(3)) addresses.push_back(AddressOf(absl::StrCat(prefix, 10 + own, "/24")));
  const bool is_dual = random.OneIn(4);
  if (is_dual) addresses.push_back(AddressOf(absl::StrCat("fd00:", network, "::", own, "/64")));
  if (addresses.empty() || (is_dual && addresses.size() == 1)) return ip;
  if (random.OneIn(3)) {
    ip.routes.push_back(RouteOf(absl::StrCat("10.", 20 + own, ".", network, ".0/24"), absl::StrCat(prefix, "99")));
  }
  if (random.OneIn(4)) {
    ip.neighbours.push_back({.address = *netlink::IpAddress::Parse(absl::StrCat(prefix, "98")),
                             .mac = {{0x02, 0, 0, 0, 0, static_cast<uint8_t>(random.Below(2))}}});
  }
  return ip;
}

bool HasIpv4(const engine::IpConfig& ip) {
  return std::any_of(ip.addresses.begin(), ip.addresses.end(), [](const engine::AddressSpec& address) {
    return address.local.address.family() == netlink::IpFamily::kIpv4;
  });
}

// What the ends of two pairs can collide in are the ports that are forwarded and the route that belongs to no link.
engine::EndpointConfig MakeConfig(Random& random, const std::string& id, bool is_a) {
  engine::EndpointConfig config;
  const size_t pair = 1 + (id == kVethIds[1] ? 1 : id == kVethIds[2] ? 2 : 0);
  if (random.OneIn(4)) config.ingress_limit = MakeLimit(random);
  if (random.OneIn(4)) config.egress_limit = MakeLimit(random);
  const bool has_route = random.OneIn(6);
  if (!random.OneIn(3)) {
    config.ip = MakeIp(random, pair, is_a ? 1 : 2);
    if (HasIpv4(config.ip)) {
      config.masquerade = random.OneIn(3);
      for (const uint16_t port : {8080, 8081}) {
        if (random.OneIn(3)) config.port_forwards.push_back({.host_port = port, .port = 80});
      }
      const bool is_dual = config.ip.addresses.back().local.address.family() == netlink::IpFamily::kIpv6;
      config.ip_forwarding = !is_dual && random.OneIn(3);
    }
  }
  if (has_route) config.ip.routes.insert(config.ip.routes.begin(), RouteOf("10.9.0.0/16", ""));
  return config;
}

engine::PortOptions MakePort(Random& random) {
  engine::PortOptions port;
  if (random.OneIn(2)) port.settings.isolated = random.OneIn(2);
  if (random.OneIn(3)) port.settings.hairpin = true;
  const auto vlan = static_cast<uint16_t>(10 * (1 + random.Below(2)));
  if (random.OneIn(3)) port.vlans = {{.first = vlan, .last = vlan, .pvid = true, .untagged = true}};
  return port;
}

// The bridge that is most likely where the end is; empty: none.
std::string MakeBridge(Random& random, const std::string& namespace_id) {
  if (random.OneIn(10)) return random.OneIn(2) ? kBridge : kLan;
  if (random.OneIn(3)) return "";
  return namespace_id.empty() ? kBridge : namespace_id == kNamespaceIds.front() ? kLan : "";
}

// What the kernel refuses, and so does server/api: routes through a link that is down. And what is not in histories:
// translation between two ends in one namespace, or for what is reached by a bridge.
void Normalize(VethSpec& spec) {
  const bool is_one_place = spec.a.namespace_id == spec.b.namespace_id && spec.a.place == spec.b.place;
  RestrictPlaces(spec);
  for (EndpointSpec* end : {&spec.a, &spec.b}) {
    if (!end->up) std::erase_if(end->config.ip.routes, [](const auto& route) { return route.through_link(); });
    if (!(end == &spec.a ? spec.b : spec.a).config.bridge.empty()) {
      end->config.masquerade = false;
      end->config.port_forwards.clear();
    }
    if (!is_one_place) continue;
    end->config.masquerade = end->config.ip_forwarding = false;
    end->config.port_forwards.clear();
    // Of both, in the other's place.
    if (end == &spec.b) {
      std::erase_if(end->config.ip.routes, [](const auto& route) { return !route.through_link(); });
    }
  }
}

void Normalize(engine::DeviceSpec& spec) {
  std::vector<engine::RouteSpec>& routes = spec.link.config.ip.routes;
  // The lower link has the say, too.
  if (!spec.lower.interface_name.empty()) spec.link.mtu.reset();
  if (!spec.link.up || std::holds_alternative<netlink::BridgeInfo>(spec.options)) routes.clear();
  if (std::holds_alternative<netlink::BridgeInfo>(spec.options)) spec.link.config.ip.neighbours.clear();
}

engine::Sysctls MakeSysctls(Random& random) {
  engine::Sysctls sysctls;
  if (random.OneIn(2)) sysctls["net.core.somaxconn"] = random.Pick({"1024", "2048", "4096"});
  if (random.OneIn(3)) sysctls["net.ipv4.ip_local_port_range"] = random.Pick({"20000 30000", "32768 60999"});
  return sysctls;
}

engine::DnsSpec MakeDns(Random& random) {
  engine::DnsSpec dns;
  if (random.OneIn(2)) dns.nameservers = {random.Pick({"192.0.2.1", "192.0.2.2"})};
  if (random.OneIn(3)) dns.hosts = {{.address = "192.0.2.9", .names = {"gate"}}};
  return dns;
}

engine::DeviceOptions MakeOptions(Random& random, const std::string& name) {
  if (absl::StartsWith(name, "bridges/")) {
    netlink::BridgeInfo bridge;
    if (random.OneIn(2)) bridge.priority = random.Pick<uint16_t>({4096, 8192});
    if (random.OneIn(2)) bridge.multicast_snooping = random.OneIn(3);
    return bridge;
  }
  if (name == kMacvlan) {
    return netlink::MacvlanInfo{.mode = random.Pick({netlink::MacvlanMode::kBridge, netlink::MacvlanMode::kPrivate,
                                                     netlink::MacvlanMode::kVepa})};
  }
  if (name == kIpvlan) {
    const auto mode = random.Pick({netlink::IpvlanMode::kL2, netlink::IpvlanMode::kL3});
    return netlink::IpvlanInfo{.mode = mode, .flags = static_cast<uint16_t>(random.Below(3))};
  }
  if (name == kVlan || name == kOtherVlan) return netlink::VlanInfo{.id = random.Pick<uint16_t>({5, 6})};
  if (name == kDummy) return netlink::DummyInfo();
  if (name == kIfb) return netlink::IfbInfo();
  engine::VxlanOptions vxlan{.info = {.vni = random.Pick<uint32_t>({10, 20})}, .fdb = {}};
  if (random.OneIn(2)) vxlan.info.remote = netlink::IpAddress::Parse(random.Pick({"192.0.2.1", "192.0.2.2"}));
  if (random.OneIn(3)) vxlan.info.ttl = 5;
  for (const uint8_t mac : {1, 2}) {
    if (random.OneIn(2)) continue;
    vxlan.fdb.push_back({.mac = {{0x02, 0xfd, 0, 0, 0, mac}},
                         .destination = *netlink::IpAddress::Parse(random.Pick({"192.0.2.7", "192.0.2.8"})),
                         .port = std::nullopt,
                         .vni = std::nullopt});
  }
  return vxlan;
}

std::string MakeDeviceLinkName(Random& random, const std::string& name) {
  if (name == kMacvlan) return "m0";
  // Another's, often.
  if (name == kIpvlan) return random.Pick({"m0", "p0"});
  if (name == kVlan || name == kOtherVlan) return random.Pick({"t0", "t%d"});
  if (name == kDummy) return "d0";
  if (name == kIfb) return random.Pick({"i0", "i%d"});
  return random.Pick({"x0", "vx%d"});
}

engine::IpConfig MakeDeviceIp(Random& random, const std::string& name) {
  const auto number = std::find(kDeviceNames.begin(), kDeviceNames.end(), name) - kDeviceNames.begin();
  return MakeIp(random, 4 + static_cast<size_t>(number), /*own=*/3);
}

Change::End MakeLinkChange(Random& random) {
  Change::End end;
  switch (random.Below(4)) {
    case 0:
      end.mtu = random.Pick<uint32_t>({1350, 1400, 1500});
      break;
    case 1:
      end.any_mtu = true;
      break;
    case 2:
      end.mtu = random.Pick<uint32_t>({1400, 1450});
      end.up = random.OneIn(2);
      break;
    default:
      end.up = random.OneIn(2);
  }
  return end;
}

Change::End MakeEndChange(Random& random, const std::string& id, bool is_a, bool has_ports) {
  std::optional<std::string> bridge;
  if (has_ports && random.OneIn(2)) bridge = MakeBridge(random, random.OneIn(2) ? "" : kNamespaceIds.front());
  std::optional<engine::EndpointConfig> config;
  if (random.OneIn(2)) config = MakeConfig(random, id, is_a);
  const bool is_all = (bridge.has_value() || config.has_value()) && !random.OneIn(4);
  Change::End end = is_all ? Change::End() : MakeLinkChange(random);
  end.config = config;
  end.bridge = bridge;
  if (bridge.has_value() && !bridge->empty()) end.port = MakePort(random);
  return end;
}

void AddMetadata(Random& random, Change& change) {
  if (random.OneIn(2)) change.label = random.Pick({"red", "blue"});
  if (random.OneIn(3)) change.owner = random.Pick({std::string(), random.Pick(kOwners), random.Pick(kOwners)});
  if (random.OneIn(3)) change.ttl = kTick * random.Pick({0, 1, 3});
  if (random.OneIn(4)) change.persistent = random.OneIn(2);
  if (random.OneIn(4)) change.self_heal = random.OneIn(2);
}

}  // namespace

engine::NamespaceSpec MakeNamespaceSpec(Random& random) {
  engine::NamespaceSpec spec;
  if (random.OneIn(3)) spec.sysctls = MakeSysctls(random);
  if (random.OneIn(4)) spec.dns = MakeDns(random);
  return spec;
}

VethSpec MakeVethSpec(Random& random, const std::string& id, bool has_ports, bool has_places) {
  VethSpec spec;
  // Mostly from the host to a namespace; few names, so that they are often taken.
  if (random.OneIn(3)) spec.a.namespace_id = random.Pick(kNamespaceIds);
  if (!random.OneIn(4)) spec.b.namespace_id = random.Pick(kNamespaceIds);
  if (has_places) PutAtPlaces(random, spec);
  spec.a.interface_name = random.Pick({"h0", "h1", "veth%d", "h%d"});
  spec.b.interface_name = random.Pick({"p0", "h0", "veth%d", "veth0"});
  // The kernel refuses one name for both ends in one place, and so does server/api.
  if (spec.a.namespace_id == spec.b.namespace_id && spec.a.place == spec.b.place && !IsPattern(spec.a.interface_name) &&
      spec.a.interface_name == spec.b.interface_name) {
    spec.b.interface_name = "p0";
  }
  if (random.OneIn(4)) spec.a.mtu = 1400;
  if (random.OneIn(4)) spec.b.up = false;
  if (!random.OneIn(3)) spec.a.config = MakeConfig(random, id, /*is_a=*/true);
  if (!random.OneIn(3)) spec.b.config = MakeConfig(random, id, /*is_a=*/false);
  for (EndpointSpec* end : {&spec.a, &spec.b}) {
    if (has_ports) end->config.bridge = MakeBridge(random, end->namespace_id);
    if (!end->config.bridge.empty()) end->config.port = MakePort(random);
  }
  Normalize(spec);
  return spec;
}

engine::DeviceSpec MakeDeviceSpec(Random& random, const std::string& name) {
  engine::DeviceSpec spec{.link = {}, .options = MakeOptions(random, name)};
  EndpointSpec& link = spec.link;
  const bool is_bridge = std::holds_alternative<netlink::BridgeInfo>(spec.options);
  if (random.OneIn(name == kBridge || name == kDummy ? 6 : 2)) link.namespace_id = random.Pick(kNamespaceIds);
  if (name == kLan && !random.OneIn(4)) link.namespace_id = kNamespaceIds.front();
  if (is_bridge) {
    link.interface_name = random.Pick({"br0", "br0", name == kBridge ? "h1" : "br1", "br%d"});
  } else {
    link.interface_name = MakeDeviceLinkName(random, name);
    const bool is_vxlan = std::holds_alternative<engine::VxlanOptions>(spec.options);
    if (engine::HasLower(spec.options) && (!is_vxlan || random.OneIn(3))) {
      const bool is_vlan = std::holds_alternative<netlink::VlanInfo>(spec.options);
      spec.lower.interface_name =
          is_vlan ? random.Pick({"br0", "d0", "d0", "d0"}) : random.Pick({"br0", "br0", "br0", "br0", "br1", "d0"});
      if (random.OneIn(8)) spec.lower.namespace_id = kNamespaceIds.front();
    }
  }
  if (random.OneIn(4)) link.mtu = 1400;
  if (random.OneIn(4)) link.up = false;
  if (!random.OneIn(3)) link.config.ip = MakeDeviceIp(random, name);
  Normalize(spec);
  return spec;
}

engine::Metadata MakeMetadata(Random& random) {
  engine::Metadata metadata;
  if (random.OneIn(3)) return metadata;
  metadata.persistent = random.OneIn(3);
  metadata.self_heal = random.OneIn(3);
  if (random.OneIn(4)) return metadata;
  metadata.owner = random.Pick(kOwners);
  if (random.OneIn(2)) metadata.ttl = kTick * random.Pick({1, 3});
  return metadata;
}

Change MakeNamespaceChange(Random& random) {
  Change change;
  if (random.OneIn(2)) {
    if (random.OneIn(2)) change.sysctls = MakeSysctls(random);
    if (random.OneIn(2)) change.dns = MakeDns(random);
  }
  AddMetadata(random, change);
  return change;
}

Change MakeVethChange(Random& random, const std::string& id, bool has_ports) {
  Change change;
  if (!random.OneIn(4)) {
    const size_t ends = random.Below(3);
    if (ends != 0) change.a = MakeEndChange(random, id, /*is_a=*/true, has_ports);
    if (ends != 1) change.b = MakeEndChange(random, id, /*is_a=*/false, has_ports);
    if (!random.OneIn(3)) return change;
  }
  AddMetadata(random, change);
  return change;
}

Change MakeDeviceChange(Random& random, const std::string& name) {
  Change change;
  if (!random.OneIn(4)) {
    if (random.OneIn(2)) change.options = MakeOptions(random, name);
    if (random.OneIn(2)) change.a = MakeLinkChange(random);
    if (random.OneIn(2)) {
      change.a.config = engine::EndpointConfig();
      change.a.config->ip = MakeDeviceIp(random, name);
    }
    if (!random.OneIn(3)) return change;
  }
  AddMetadata(random, change);
  return change;
}

static void Apply(const Change::End& change, EndpointSpec& now) {
  if (change.mtu.has_value() || change.any_mtu) now.mtu = change.mtu;
  now.up = change.up.value_or(now.up);
  engine::EndpointConfig& config = now.config;
  const std::string bridge = change.bridge.value_or(config.bridge);
  const engine::PortOptions port = change.bridge.has_value() ? change.port : config.port;
  config = change.config.value_or(config);
  config.bridge = bridge;
  config.port = port;
}

void Change::Apply(VethSpec& spec) const {
  simulation::Apply(a, spec.a);
  simulation::Apply(b, spec.b);
  Normalize(spec);
}

void Change::Apply(engine::DeviceSpec& spec) const {
  simulation::Apply(a, spec.link);
  if (options.has_value()) {
    const engine::DeviceOptions before = spec.options;
    spec.options = *options;
    // What they are told apart by stays.
    if (auto* vxlan = std::get_if<engine::VxlanOptions>(&spec.options); vxlan != nullptr) {
      vxlan->info.vni = std::get<engine::VxlanOptions>(before).info.vni;
    }
    if (std::holds_alternative<netlink::VlanInfo>(before)) spec.options = before;
  }
  Normalize(spec);
}

void Change::Apply(engine::NamespaceSpec& spec) const {
  spec.sysctls = sysctls.value_or(spec.sysctls);
  spec.dns = dns.value_or(spec.dns);
}

bool Change::Apply(engine::Metadata& metadata) const {
  metadata.owner = owner.value_or(metadata.owner);
  metadata.ttl = ttl.value_or(metadata.ttl);
  metadata.persistent = persistent.value_or(metadata.persistent);
  metadata.self_heal = self_heal.value_or(metadata.self_heal);
  if (label.has_value()) metadata.labels["label"] = *label;
  return metadata.ttl == absl::ZeroDuration() || !metadata.owner.empty();
}

}  // namespace netprov::simulation
