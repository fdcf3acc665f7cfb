#include "tests/simulation/traits.h"

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/netlink/ip_address.h"
#include "server/netlink/link_info.h"

namespace netprov::simulation {
namespace {

using engine::EndpointConfig;
using engine::RateLimit;
using engine::VethSpec;

constexpr char kSends[] = "sends ";
constexpr char kReceives[] = "receives ";
const char* YesOrNo(bool value) { return value ? "yes" : "no"; }

std::string VlanText(const std::vector<netlink::BridgeVlan>& vlans) {
  return absl::StrJoin(vlans, ",", [](std::string* text, const netlink::BridgeVlan& vlan) {
    absl::StrAppend(text, vlan.first, "-", vlan.last, vlan.pvid ? " pvid" : "", vlan.untagged ? " untagged" : "");
  });
}

// The kernel rounds the rest.
std::string Rate(uint64_t bytes_a_second) { return absl::StrCat("at most ", bytes_a_second, " bytes a second"); }

// Where forwarded ports lead to: the first address of each family.
std::vector<netlink::IpAddress> TargetsOf(const EndpointConfig& config) {
  std::vector<netlink::IpAddress> targets;
  for (const netlink::IpFamily family : {netlink::IpFamily::kIpv4, netlink::IpFamily::kIpv6}) {
    const auto first = std::find_if(config.ip.addresses.begin(), config.ip.addresses.end(),
                                    [family](const auto& address) { return address.local.address.family() == family; });
    if (first != config.ip.addresses.end()) targets.push_back(first->local.address);
  }
  return targets;
}

std::string ForwardTrait(uint16_t host_port, const netlink::IpAddress& target, uint16_t port) {
  return absl::StrCat("tcp ", host_port, " to ", target.ToString(), " port ", port);
}

Traits NatTraits(const EndpointConfig& config) {
  Traits traits;
  if (config.masquerade) {
    for (const engine::AddressSpec& address : config.ip.addresses) {
      traits.insert("masquerade " + address.local.address.ToString());
    }
  }
  if (config.port_forwards.empty()) return traits;
  for (const netlink::IpAddress& target : TargetsOf(config)) {
    traits.insert("hairpin " + target.ToString());
    for (const engine::PortForward& forward : config.port_forwards) {
      traits.insert(ForwardTrait(forward.host_port, target, forward.port));
    }
  }
  return traits;
}

}  // namespace

Traits Without(Traits traits, const Traits& others) {
  std::erase_if(traits, [&](const std::string& trait) { return others.contains(trait); });
  return traits;
}

Traits With(Traits traits, const Traits& others) {
  traits.insert(others.begin(), others.end());
  return traits;
}

Traits IpTraits(const EndpointConfig& config) { return IpTraits(config.ip); }

Traits RouteTraits(const EndpointConfig& config) {
  Traits traits;
  for (const engine::RouteSpec& route : config.ip.routes) {
    if (!route.through_link()) traits.insert(TraitOf(route));
  }
  return traits;
}

Traits LimitTraits(const VethSpec& spec, bool on_a) {
  Traits traits;
  // What the one receives, the other sends.
  const EndpointConfig& held = on_a ? spec.b.config : spec.a.config;
  constexpr uint64_t kBits = 8;
  if (held.ingress_limit.has_value()) traits.insert(kSends + Rate(held.ingress_limit->rate / kBits));
  if (held.egress_limit.has_value()) traits.insert(kReceives + Rate(held.egress_limit->rate / kBits));
  return traits;
}

Traits NatTraits(const VethSpec& spec, bool at_a) { return NatTraits(at_a ? spec.b.config : spec.a.config); }

Traits ShaperTraits(const VethSpec& spec, bool at_a) {
  const EndpointConfig& held = at_a ? spec.b.config : spec.a.config;
  return held.egress_limit.has_value() ? Traits{absl::StrCat("ifb ", at_a ? "a" : "b")} : Traits();
}

Words PortWords(const engine::PortOptions& port) {
  Words words;
  if (port.settings.isolated.has_value()) words["isolated"] = YesOrNo(*port.settings.isolated);
  if (port.settings.hairpin.has_value()) words["hairpin"] = YesOrNo(*port.settings.hairpin);
  if (!port.vlans.empty()) words[kVlans] = VlanText(port.vlans);
  return words;
}

Words DeviceWords(const engine::DeviceOptions& options) {
  Words words;
  if (const auto* bridge = std::get_if<netlink::BridgeInfo>(&options); bridge != nullptr) {
    if (bridge->priority.has_value()) words["priority"] = absl::StrCat(*bridge->priority);
    if (bridge->multicast_snooping.has_value()) words["snooping"] = YesOrNo(*bridge->multicast_snooping);
  } else if (const auto* macvlan = std::get_if<netlink::MacvlanInfo>(&options); macvlan != nullptr) {
    words["mode"] = absl::StrCat(static_cast<uint32_t>(macvlan->mode));
  } else if (const auto* vxlan = std::get_if<engine::VxlanOptions>(&options); vxlan != nullptr) {
    words["vni"] = absl::StrCat(vxlan->info.vni);
    words["remote"] = vxlan->info.remote.has_value() ? vxlan->info.remote->ToString() : "none";
    words["ttl"] = absl::StrCat(vxlan->info.ttl);
  } else if (const auto* vlan = std::get_if<netlink::VlanInfo>(&options); vlan != nullptr) {
    words["id"] = absl::StrCat(vlan->id);
  } else if (const auto* ipvlan = std::get_if<netlink::IpvlanInfo>(&options); ipvlan != nullptr) {
    words["mode"] = absl::StrCat(static_cast<uint32_t>(ipvlan->mode));
    words["flags"] = absl::StrCat(ipvlan->flags);
  }
  return words;
}

bool FollowsLowerMac(const engine::DeviceOptions& options) {
  return std::holds_alternative<netlink::VlanInfo>(options) || std::holds_alternative<netlink::IpvlanInfo>(options);
}

bool IsShaper(const std::string& kind, const std::string& name) {
  return kind == "ifb" && absl::StartsWith(name, "ifb");
}

Words NewPortWords(bool has_vlans) {
  Words words = {{"isolated", YesOrNo(false)}, {"hairpin", YesOrNo(false)}};
  if (has_vlans) words[kVlans] = "1-1 pvid untagged";
  return words;
}

Words NewDeviceWords(const engine::DeviceOptions& options) {
  const bool is_bridge = std::holds_alternative<netlink::BridgeInfo>(options);
  const Words usual = is_bridge ? Words{{"priority", "32768"}, {"snooping", YesOrNo(true)}} : Words();
  return With(usual, DeviceWords(options));
}

Traits FdbTraits(const engine::DeviceOptions& options) {
  Traits traits;
  const auto* vxlan = std::get_if<engine::VxlanOptions>(&options);
  if (vxlan == nullptr) return traits;
  for (const engine::FdbEntry& entry : vxlan->fdb) traits.insert(TraitOf(entry));
  return traits;
}

Words With(Words words, const Words& others) {
  for (const auto& [name, value] : others) words[name] = value;
  return words;
}

bool Contains(const Words& words, const Words& others) {
  return std::all_of(others.begin(), others.end(), [&](const auto& item) {
    const auto found = words.find(item.first);
    return found != words.end() && found->second == item.second;
  });
}

std::map<std::string, std::string> DnsTraits(const engine::DnsSpec& dns) {
  std::map<std::string, std::string> texts;
  for (const std::string& server : dns.nameservers) absl::StrAppend(&texts["resolv.conf"], "nameserver ", server, "\n");
  for (const engine::HostsEntry& entry : dns.hosts) {
    std::string& text = texts["hosts"];
    if (text.empty()) text = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n";
    absl::StrAppend(&text, entry.address, " ", absl::StrJoin(entry.names, " "), "\n");
  }
  return texts;
}

const engine::Sysctls& UsualSysctls() {
  static const auto* const sysctls =
      new engine::Sysctls{{"net.core.somaxconn", "4096"}, {"net.ipv4.ip_local_port_range", "32768 60999"}};
  return *sysctls;
}

const std::string& UsualSysctl(const std::string& name) { return UsualSysctls().at(name); }

static bool IsIpv4Address(const std::string& trait) {
  return absl::StartsWith(trait, "address ") && !absl::StrContains(trait, ':');
}

Traits AfterDown(Traits ip) {
  std::erase_if(ip, [](const std::string& trait) { return !IsIpv4Address(trait); });
  return ip;
}

Traits AfterLastAddress(Traits ip) {
  // Histories have only IPv4 routes and neighbours.
  if (!HasIpv4(ip)) std::erase_if(ip, [](const std::string& trait) { return !absl::StartsWith(trait, "address "); });
  return ip;
}

bool HasIpv4(const Traits& ip) { return std::any_of(ip.begin(), ip.end(), IsIpv4Address); }

void KeepThere(const Traits& ip, const Traits& routes, EndpointConfig& config) {
  std::erase_if(config.ip.addresses, [&](const auto& address) { return !ip.contains(TraitOf(address)); });
  std::erase_if(config.ip.neighbours, [&](const auto& neighbour) { return !ip.contains(TraitOf(neighbour)); });
  std::erase_if(config.ip.routes, [&](const engine::RouteSpec& route) {
    return !(route.through_link() ? ip : routes).contains(TraitOf(route));
  });
}

void KeepThere(const Traits& limits, const Traits& nat, bool forwards, const EndpointConfig& asked,
               EndpointConfig& config) {
  auto has = [&](const char* direction) {
    return std::any_of(limits.begin(), limits.end(),
                       [&](const std::string& trait) { return absl::StartsWith(trait, direction); });
  };
  if (!has(kSends)) config.ingress_limit.reset();
  if (!has(kReceives)) config.egress_limit.reset();
  config.ip_forwarding = config.ip_forwarding && forwards;
  const Traits wanted = NatTraits(asked);
  config.masquerade = config.masquerade && std::all_of(wanted.begin(), wanted.end(), [&](const std::string& trait) {
                        return !absl::StartsWith(trait, "masquerade") || nat.contains(trait);
                      });
  const std::vector<netlink::IpAddress> targets = TargetsOf(asked);
  std::erase_if(config.port_forwards, [&](const engine::PortForward& forward) {
    return !std::all_of(targets.begin(), targets.end(), [&](const netlink::IpAddress& target) {
      return nat.contains(ForwardTrait(forward.host_port, target, forward.port));
    });
  });
}

std::string NatKeyOf(const std::string& trait) {
  if (!absl::StartsWith(trait, "tcp ")) return "";
  // The families are apart.
  return absl::StrCat(trait.substr(0, trait.find(" to ")), absl::StrContains(trait, ':') ? " of IPv6" : "");
}

bool Collide(const Traits& nat, const Traits& others) {
  return std::any_of(nat.begin(), nat.end(), [&](const std::string& trait) {
    const std::string key = NatKeyOf(trait);
    return !key.empty() &&
           std::any_of(others.begin(), others.end(), [&](const std::string& other) { return NatKeyOf(other) == key; });
  });
}

std::string TraitOf(const engine::AddressSpec& address) { return "address " + engine::ToText(address); }
std::string TraitOf(const engine::NeighbourSpec& neighbour) { return "neighbor " + engine::ToText(neighbour); }
std::string TraitOf(const engine::RouteSpec& route) { return "route " + engine::ToText(route); }

std::string TraitOf(const engine::FdbEntry& entry) {
  return absl::StrCat("entry ", entry.mac.ToString(), " to ", entry.destination.ToString());
}

std::string TraitOf(const netlink::NatElement& element) {
  if (const auto* masquerade = std::get_if<netlink::Masquerade>(&element.rule); masquerade != nullptr) {
    return "masquerade " + masquerade->source.ToString();
  }
  if (const auto* hairpin = std::get_if<netlink::Hairpin>(&element.rule); hairpin != nullptr) {
    return "hairpin " + hairpin->target.ToString();
  }
  const auto& forward = std::get<netlink::PortForward>(element.rule);
  return ForwardTrait(forward.host_port, forward.target, forward.target_port);
}

Traits IpTraits(const engine::IpConfig& ip) {
  Traits traits;
  const netlink::IpPrefix link_local = *netlink::IpPrefix::Parse("fe80::/10");
  for (const engine::AddressSpec& address : ip.addresses) {
    if (!link_local.Contains(address.local.address)) traits.insert(TraitOf(address));
  }
  for (const engine::NeighbourSpec& neighbour : ip.neighbours) traits.insert(TraitOf(neighbour));
  for (const engine::RouteSpec& route : ip.routes) {
    // The kernel's own lead to a network of the link's.
    if (route.through_link() && route.gateway.has_value()) traits.insert(TraitOf(route));
  }
  return traits;
}

Traits LimitTraits(const engine::Shaping& shaping) {
  Traits traits;
  if (shaping.egress.has_value()) traits.insert(kSends + Rate(shaping.egress->rate));
  if (shaping.ingress.has_value()) traits.insert(kReceives + Rate(shaping.ingress->rate));
  return traits;
}

}  // namespace netprov::simulation
