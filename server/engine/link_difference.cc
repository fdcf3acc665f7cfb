#include "server/engine/link_difference.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/engine/device_difference.h"
#include "server/engine/tag.h"
#include "server/netlink/link_info.h"
#include "server/netlink/mac_address.h"

namespace netprov::engine {
namespace {

std::string TextOf(const std::string& text) { return text; }
std::string TextOf(bool value) { return value ? "true" : "false"; }
std::string TextOf(uint16_t number) { return absl::StrCat(number); }
std::string TextOf(uint32_t number) { return absl::StrCat(number); }
std::string TextOf(const netlink::MacAddress& mac) { return mac.ToString(); }
std::string TextOf(netlink::Centiseconds time) {
  return absl::StrCat(time.count() / 100, ".", absl::Dec(time.count() % 100, absl::kZeroPad2), "s");
}
std::string TextOf(netlink::VlanProtocol protocol) {
  return protocol == netlink::VlanProtocol::kDot1Ad ? "802.1ad" : "802.1q";
}

// The kernel tells of neighbours that are alike as of one range.
std::vector<netlink::BridgeVlan> Merged(const std::vector<netlink::BridgeVlan>& vlans) {
  std::vector<netlink::BridgeVlan> merged;
  for (const netlink::BridgeVlan& vlan : vlans) {
    const bool goes_on = !merged.empty() && merged.back().last + 1 == vlan.first && !merged.back().pvid && !vlan.pvid &&
                         merged.back().untagged == vlan.untagged;
    if (goes_on) {
      merged.back().last = vlan.last;
    } else {
      merged.push_back(vlan);
    }
  }
  return merged;
}

class Comparison {
 public:
  Comparison(std::string prefix, LinkDifference& difference) : prefix_(std::move(prefix)), difference_(difference) {}

  void Add(const std::string& field, std::string expected, std::string actual) {
    difference_.deviations.push_back(
        {.field = prefix_ + field, .expected = std::move(expected), .actual = std::move(actual)});
  }

  template <typename T>
  void Value(const char* field, const T& expected, const T& actual, std::optional<T>& setting) {
    if (expected == actual) return;
    Add(field, TextOf(expected), TextOf(actual));
    setting = expected;
  }

  // The kernel keeps times in ticks, which may be longer than a hundredth of a second.
  void IfAsked(const char* field, const std::optional<netlink::Centiseconds>& expected,
               const std::optional<netlink::Centiseconds>& actual, std::optional<netlink::Centiseconds>& setting) {
    if (!expected.has_value()) return;
    const bool is_same =
        actual.has_value() && std::max(*expected, *actual) - std::min(*expected, *actual) <= netlink::Centiseconds(1);
    if (is_same) return;
    Add(field, TextOf(*expected), actual.has_value() ? TextOf(*actual) : "");
    setting = expected;
  }

  // One that nobody asked for may be anything.
  template <typename T>
  void IfAsked(const char* field, const std::optional<T>& expected, const std::optional<T>& actual,
               std::optional<T>& setting) {
    if (!expected.has_value() || expected == actual) return;
    Add(field, TextOf(*expected), actual.has_value() ? TextOf(*actual) : "");
    setting = expected;
  }

 private:
  const std::string prefix_;
  LinkDifference& difference_;
};

void CompareLimits(const netlink::OffloadLimits& expected, const netlink::OffloadLimits& actual, Comparison& compare,
                   netlink::OffloadLimits& settings) {
  compare.IfAsked("offload_limits.gso_max_size", expected.gso_max_size, actual.gso_max_size, settings.gso_max_size);
  compare.IfAsked("offload_limits.gso_max_segments", expected.gso_max_segments, actual.gso_max_segments,
                  settings.gso_max_segments);
  compare.IfAsked("offload_limits.gro_max_size", expected.gro_max_size, actual.gro_max_size, settings.gro_max_size);
  compare.IfAsked("offload_limits.gso_ipv4_max_size", expected.gso_ipv4_max_size, actual.gso_ipv4_max_size,
                  settings.gso_ipv4_max_size);
  compare.IfAsked("offload_limits.gro_ipv4_max_size", expected.gro_ipv4_max_size, actual.gro_ipv4_max_size,
                  settings.gro_ipv4_max_size);
  // With each of the others, the kernel changes that of IPv4 (netif_set_gso_max_size(), netif_set_gro_max_size()).
  if (settings.gso_max_size.has_value()) settings.gso_ipv4_max_size = expected.gso_ipv4_max_size;
  if (settings.gro_max_size.has_value()) settings.gro_ipv4_max_size = expected.gro_ipv4_max_size;
}

void ComparePort(const PortOptions& expected, const netlink::BridgePort& actual,
                 const std::vector<netlink::BridgeVlan>& vlans, Comparison& compare, PortOptions& settings) {
  const netlink::BridgePort& asked = expected.settings;
  netlink::BridgePort& set = settings.settings;
  compare.IfAsked("bridge_port.cost", asked.cost, actual.cost, set.cost);
  compare.IfAsked("bridge_port.priority", asked.priority, actual.priority, set.priority);
  compare.IfAsked("bridge_port.hairpin", asked.hairpin, actual.hairpin, set.hairpin);
  compare.IfAsked("bridge_port.isolated", asked.isolated, actual.isolated, set.isolated);
  compare.IfAsked("bridge_port.learning", asked.learning, actual.learning, set.learning);
  compare.IfAsked("bridge_port.unicast_flood", asked.unicast_flood, actual.unicast_flood, set.unicast_flood);
  compare.IfAsked("bridge_port.multicast_flood", asked.multicast_flood, actual.multicast_flood, set.multicast_flood);
  compare.IfAsked("bridge_port.broadcast_flood", asked.broadcast_flood, actual.broadcast_flood, set.broadcast_flood);
  compare.IfAsked("bridge_port.neighbor_suppression", asked.neighbour_suppression, actual.neighbour_suppression,
                  set.neighbour_suppression);
  if (expected.vlans.empty() || Merged(expected.vlans) == Merged(vlans)) return;
  compare.Add("bridge_port.vlans", ToText(expected.vlans), ToText(vlans));
  settings.vlans = expected.vlans;
}

}  // namespace

std::string ToText(const std::vector<netlink::BridgeVlan>& vlans) {
  return absl::StrJoin(vlans, ", ", [](std::string* text, const netlink::BridgeVlan& vlan) {
    absl::StrAppend(text, vlan.first);
    if (vlan.last != vlan.first) absl::StrAppend(text, "-", vlan.last);
    absl::StrAppend(text, vlan.pvid ? " pvid" : "", vlan.untagged ? " untagged" : "");
  });
}

LinkDifference Compare(const LinkExpectation& expected, const Link& link,
                       const std::vector<netlink::BridgeVlan>& vlans) {
  LinkDifference difference;
  LinkSettings& settings = difference.settings;
  const Endpoint& made = expected.made;
  const LinkOptions& options = expected.config.options;
  Comparison compare(expected.field.empty() ? "" : expected.field + ".", difference);
  compare.Value("interface_name", made.interface_name, link.name, settings.name);
  if (made.mac.has_value()) compare.Value("mac_address", *made.mac, link.mac, settings.mac);
  compare.Value("mtu", made.mtu, link.mtu, settings.mtu);
  if (made.up != link.up) {
    compare.Add("admin_state", made.up ? "up" : "down", link.up ? "up" : "down");
    settings.up = made.up;
  }
  compare.Value("alias", JoinAlias(expected.tag, options.alias), JoinAlias(link.alias, link.options.alias),
                settings.alias);
  compare.Value("group", kOwnedGroup, link.group, settings.group);
  compare.Value("promiscuous", options.promiscuous, link.options.promiscuous, settings.promiscuous);
  compare.Value("all_multicast", options.all_multicast, link.options.all_multicast, settings.all_multicast);
  CompareLimits(options.limits, link.options.limits, compare, settings.limits);
  const EndpointConfig& config = expected.config;
  // What it is a port of besides is somebody else's business.
  if (!config.IsPort()) return difference;
  if (expected.bridge_ifindex == 0 || link.master_ifindex != expected.bridge_ifindex) {
    if (config.bridge.empty()) {
      compare.Add("bridge_interface", config.bridge_interface, "");
    } else {
      compare.Add("bridge", config.bridge, "");
    }
    if (expected.bridge_ifindex != 0) {
      settings.master = expected.bridge_ifindex;
      settings.port = config.port;
    }
    return difference;
  }
  difference.is_port = true;
  if (link.port.has_value()) ComparePort(config.port, *link.port, vlans, compare, settings.port);
  difference.vlans = settings.port.vlans.empty() ? config.port.vlans : vlans;
  return difference;
}

std::optional<std::string> MissingOption(const DeviceOptions& asked, const DeviceOptions& actual) {
  if (!std::holds_alternative<netlink::BridgeInfo>(asked)) return std::nullopt;
  const auto& wanted = std::get<netlink::BridgeInfo>(asked);
  const auto& has = std::get<netlink::BridgeInfo>(actual);
  if (wanted.vlan_filtering.value_or(false) && !has.vlan_filtering.has_value()) return "vlan_filtering";
  if (wanted.default_pvid.has_value() && !has.default_pvid.has_value()) return "default_pvid";
  if (wanted.multicast_snooping.value_or(false) && !has.multicast_snooping.has_value()) return "multicast_snooping";
  if (wanted.group_forward_mask.has_value() && !has.group_forward_mask.has_value()) return "group_forward_mask";
  return std::nullopt;
}

void CompareOptions(const DeviceOptions& expected, const DeviceOptions& actual, LinkDifference& difference) {
  if (!std::holds_alternative<netlink::BridgeInfo>(expected)) return CompareKind(expected, actual, difference);
  const auto& asked = std::get<netlink::BridgeInfo>(expected);
  netlink::BridgeInfo now = std::get<netlink::BridgeInfo>(actual);
  // What the kernel does not have is off.
  now.vlan_filtering = now.vlan_filtering.value_or(false);
  now.multicast_snooping = now.multicast_snooping.value_or(false);
  netlink::BridgeInfo settings;
  Comparison compare("", difference);
  compare.IfAsked("stp", asked.stp, now.stp, settings.stp);
  if (!now.stp.value_or(false)) {
    compare.IfAsked("forward_delay", asked.forward_delay, now.forward_delay, settings.forward_delay);
    compare.IfAsked("hello_time", asked.hello_time, now.hello_time, settings.hello_time);
    compare.IfAsked("max_age", asked.max_age, now.max_age, settings.max_age);
    compare.IfAsked("ageing_time", asked.ageing_time, now.ageing_time, settings.ageing_time);
  }
  compare.IfAsked("priority", asked.priority, now.priority, settings.priority);
  compare.IfAsked("vlan_filtering", asked.vlan_filtering, now.vlan_filtering, settings.vlan_filtering);
  compare.IfAsked("vlan_protocol", asked.vlan_protocol, now.vlan_protocol, settings.vlan_protocol);
  compare.IfAsked("default_pvid", asked.default_pvid, now.default_pvid, settings.default_pvid);
  compare.IfAsked("multicast_snooping", asked.multicast_snooping, now.multicast_snooping, settings.multicast_snooping);
  compare.IfAsked("group_forward_mask", asked.group_forward_mask, now.group_forward_mask, settings.group_forward_mask);
  if (settings != netlink::BridgeInfo()) difference.settings.device = settings;
}

}  // namespace netprov::engine
