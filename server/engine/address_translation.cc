#include "server/engine/address_translation.h"

#include <algorithm>
#include <array>
#include <utility>
#include <variant>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "server/engine/ip_config.h"
#include "server/netlink/nft.h"

namespace netprov::engine {
namespace {

using netlink::Hairpin;
using netlink::IpAddress;
using netlink::IpFamily;
using netlink::IpPrefix;
using netlink::Masquerade;
using netlink::NatElement;

constexpr std::array kFamilies = {IpFamily::kIpv4, IpFamily::kIpv6};

}  // namespace

std::string NatTag(const std::string& tag) { return tag.substr(0, netlink::kMaxNftComment); }

bool IsTranslatable(const IpAddress& address) {
  return address.family() == IpFamily::kIpv4 || !IpPrefix::Parse("fe80::/10")->Contains(address);
}

std::optional<IpAddress> NatTarget(const EndpointConfig& config, IpFamily family) {
  for (const AddressSpec& address : config.ip.addresses) {
    const IpAddress& local = address.local.address;
    if (local.family() == family && IsTranslatable(local)) return local;
  }
  return std::nullopt;
}

std::vector<NatElement> NatElements(const PortForward& forward, const EndpointConfig& config, const std::string& tag) {
  std::vector<NatElement> elements;
  for (const IpFamily family : kFamilies) {
    const bool is_asked = !forward.host_address.has_value() || forward.host_address->family() == family;
    const std::optional<IpAddress> target = NatTarget(config, family);
    if (!is_asked || !target.has_value()) continue;
    const bool is_any = !forward.host_address.has_value() || *forward.host_address == IpAddress::Any(family);
    for (int i = 0; i < forward.count; ++i) {
      elements.push_back({.rule = netlink::PortForward{.protocol = forward.protocol,
                                                       .host_address = is_any ? std::nullopt : forward.host_address,
                                                       .host_port = static_cast<uint16_t>(forward.host_port + i),
                                                       .target = *target,
                                                       .target_port = static_cast<uint16_t>(forward.port + i)},
                          .tag = tag});
    }
  }
  return elements;
}

std::vector<NatElement> NatElements(const EndpointConfig& config, uint32_t ifindex, const std::string& tag) {
  std::vector<NatElement> elements;
  // An address may be there twice, with two prefixes.
  auto add_once = [&](NatElement element) {
    if (std::find(elements.begin(), elements.end(), element) == elements.end()) elements.push_back(std::move(element));
  };
  const int index = static_cast<int>(ifindex);
  if (config.masquerade && ifindex != 0) {
    for (const AddressSpec& address : config.ip.addresses) {
      const IpAddress& local = address.local.address;
      if (IsTranslatable(local)) add_once({.rule = Masquerade{.source = local, .ifindex = index}, .tag = tag});
    }
  }
  std::vector<NatElement> forwards;
  for (const PortForward& forward : config.port_forwards) {
    const std::vector<NatElement> added = NatElements(forward, config, tag);
    forwards.insert(forwards.end(), added.begin(), added.end());
  }
  for (const IpFamily family : kFamilies) {
    const bool has_any = std::any_of(forwards.begin(), forwards.end(), [family](const NatElement& forward) {
      return std::get<netlink::PortForward>(forward.rule).target.family() == family;
    });
    if (!has_any || ifindex == 0) continue;
    elements.push_back({.rule = Hairpin{.target = *NatTarget(config, family), .ifindex = index}, .tag = tag});
  }
  elements.insert(elements.end(), forwards.begin(), forwards.end());
  return elements;
}

size_t CountNatElements(const EndpointConfig& config) {
  if (!config.HasNat()) return 0;
  size_t count = 0;
  if (config.masquerade) {
    std::vector<IpAddress> sources;
    for (const AddressSpec& address : config.ip.addresses) {
      const IpAddress& local = address.local.address;
      if (!IsTranslatable(local) || std::find(sources.begin(), sources.end(), local) != sources.end()) continue;
      sources.push_back(local);
    }
    count += sources.size();
  }
  for (const IpFamily family : kFamilies) {
    if (config.port_forwards.empty() || !NatTarget(config, family).has_value()) continue;
    size_t ports = 0;
    for (const PortForward& forward : config.port_forwards) {
      if (!forward.host_address.has_value() || forward.host_address->family() == family) ports += forward.count;
    }
    // And the one for what goes out and comes back in.
    if (ports != 0) count += ports + 1;
  }
  return count;
}

std::string NatKey(const NatElement& element) {
  const auto* forward = std::get_if<netlink::PortForward>(&element.rule);
  // Each kind has sets of its own.
  if (forward == nullptr) return absl::StrCat(element.rule.index(), " ", netlink::ToString(element));
  // The maps of the two families are apart.
  const IpAddress host = forward->host_address.value_or(IpAddress::Any(forward->target.family()));
  return absl::StrCat("forward ", static_cast<int>(forward->protocol), " ", host.ToString(), " ", forward->host_port);
}

EngineResult<void> ExpectPlaceForNat(const std::string& object, const VethSpec& spec, bool is_one_place) {
  if (!is_one_place) return {};
  std::vector<InvalidField> invalid;
  for (const auto& [end, field] : {std::pair(&spec.a, "veth.endpoint_a"), std::pair(&spec.b, "veth.endpoint_b")}) {
    auto refuse = [&invalid, of = field](bool is_asked, const char* name) {
      if (!is_asked) return;
      invalid.push_back({.field = FieldIn(of, name), .description = "needs the other end to be in another place"});
    };
    refuse(end->config.masquerade, "masquerade");
    refuse(!end->config.port_forwards.empty(), "port_forwards");
    refuse(end->config.ip_forwarding, "ip_forwarding");
  }
  if (invalid.empty()) return {};
  return InvalidChange(object, std::move(invalid));
}

std::string LinkForwardSysctl(const std::string& whole, const std::string& link) {
  const char* family = whole == kIpv4ForwardSysctl ? "ipv4" : "ipv6";
  // As netns::ReadSysctl() has names.
  return absl::StrCat("net.", family, ".conf.", absl::StrReplaceAll(link, {{".", "/"}}), ".forwarding");
}

Sysctls ForwardingToRestore(const Sysctls& former, const Sysctls& now) {
  Sysctls restored;
  for (const char* whole : {kIpv4ForwardSysctl, kIpv6ForwardSysctl}) {
    const auto before = former.find(whole);
    const auto present = now.find(whole);
    if (before == former.end() || present == now.end() || present->second != "1") continue;
    restored.insert(*before);
    const char* prefix = whole == kIpv4ForwardSysctl ? "net.ipv4." : "net.ipv6.";
    for (const auto& [name, value] : former) {
      const auto single = now.find(name);
      // Of a link that is gone, there is nothing.
      if (name == whole || !absl::StartsWith(name, prefix) || single == now.end()) continue;
      const bool is_as_switched = single->second == (name == kIpv4RedirectsSysctl ? "0" : "1");
      restored.emplace(name, is_as_switched ? value : single->second);
    }
  }
  return restored;
}

Sysctls ForwardingSysctls(const EndpointConfig& config) {
  Sysctls sysctls;
  for (const AddressSpec& address : config.ip.addresses) {
    const bool is_ipv4 = address.local.address.family() == IpFamily::kIpv4;
    sysctls.emplace(is_ipv4 ? kIpv4ForwardSysctl : kIpv6ForwardSysctl, "1");
  }
  return sysctls;
}

}  // namespace netprov::engine
