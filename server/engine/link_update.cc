#include "server/engine/link_update.h"

#include <algorithm>
#include <optional>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include "absl/algorithm/container.h"
#include "server/netlink/ip_address.h"
#include "server/netlink/link.h"
#include "server/netlink/link_info.h"

namespace netprov::engine {
namespace {

using netlink::BridgeInfo;
using netlink::BridgePort;
using netlink::IpFamily;
using netlink::OffloadLimits;

constexpr std::tuple kLimits(&OffloadLimits::gso_max_size, &OffloadLimits::gso_max_segments,
                             &OffloadLimits::gro_max_size, &OffloadLimits::gso_ipv4_max_size,
                             &OffloadLimits::gro_ipv4_max_size);
constexpr std::tuple kPortSettings(&BridgePort::cost, &BridgePort::priority, &BridgePort::hairpin,
                                   &BridgePort::isolated, &BridgePort::learning, &BridgePort::unicast_flood,
                                   &BridgePort::multicast_flood, &BridgePort::broadcast_flood,
                                   &BridgePort::neighbour_suppression);
constexpr std::tuple kBridgeOptions(&BridgeInfo::stp, &BridgeInfo::forward_delay, &BridgeInfo::hello_time,
                                    &BridgeInfo::max_age, &BridgeInfo::ageing_time, &BridgeInfo::priority,
                                    &BridgeInfo::vlan_filtering, &BridgeInfo::vlan_protocol, &BridgeInfo::default_pvid,
                                    &BridgeInfo::multicast_snooping, &BridgeInfo::group_forward_mask);
constexpr std::tuple kVxlanOptions(&netlink::VxlanInfo::local, &netlink::VxlanInfo::remote, &netlink::VxlanInfo::ttl,
                                   &netlink::VxlanInfo::learning, &netlink::VxlanInfo::ageing);

// What the kernel has now of the fields that differ.
template <typename T, typename Fields>
T FormerOf(const Fields& fields, const T& old, const T& wanted, const T& now) {
  T former = old;
  auto take = [&](auto field) {
    if (wanted.*field != old.*field) former.*field = now.*field;
  };
  std::apply([&](auto... field) { (take(field), ...); }, fields);
  return former;
}

// The fields that differ, as `to` has them.
template <typename T, typename Fields>
T SettingsOf(const Fields& fields, const T& from, const T& to) {
  T settings;
  auto take = [&](auto field) {
    if ((to.*field).has_value() && to.*field != from.*field) settings.*field = to.*field;
  };
  std::apply([&](auto... field) { (take(field), ...); }, fields);
  return settings;
}

// The addresses of one IPv4 network with the lengths of their prefixes, in order.
std::vector<AddressSpec> OfNetworkOf(const AddressSpec& address, const std::vector<AddressSpec>& addresses) {
  std::vector<AddressSpec> of_network;
  for (const AddressSpec& other : addresses) {
    if (other.local.Network() == address.local.Network()) of_network.push_back(other);
  }
  return of_network;
}

// The addresses that are to be added, in order: those that are not there, and those before which others come now.
std::vector<AddressSpec> GainedAddresses(const std::vector<AddressSpec>& from, const std::vector<AddressSpec>& to) {
  std::vector<AddressSpec> gained;
  for (const AddressSpec& address : to) {
    bool stays = absl::c_linear_search(from, address);
    if (stays && address.local.address.family() == IpFamily::kIpv4) {
      std::vector<AddressSpec> kept = OfNetworkOf(address, from);
      const std::vector<AddressSpec> wanted = OfNetworkOf(address, to);
      std::erase_if(kept, [&](const AddressSpec& other) { return !absl::c_linear_search(wanted, other); });
      stays = std::equal(kept.begin(), kept.end(), wanted.begin());
    }
    if (!stays) gained.push_back(address);
  }
  return gained;
}

DeviceOptions FormerOf(const DeviceOptions& old, const DeviceOptions& wanted, const DeviceOptions& now) {
  if (const auto* bridge = std::get_if<BridgeInfo>(&old); bridge != nullptr) {
    return FormerOf(kBridgeOptions, *bridge, std::get<BridgeInfo>(wanted), std::get<BridgeInfo>(now));
  }
  if (const auto* vxlan = std::get_if<VxlanOptions>(&old); vxlan != nullptr) {
    const auto& present = std::get<VxlanOptions>(now);
    return VxlanOptions{.info = FormerOf(kVxlanOptions, vxlan->info, std::get<VxlanOptions>(wanted).info, present.info),
                        .fdb = present.fdb};
  }
  return wanted == old ? old : now;
}

// Those of `entries` that are not among `others`.
std::vector<FdbEntry> Without(std::vector<FdbEntry> entries, const std::vector<FdbEntry>& others) {
  std::erase_if(entries, [&](const FdbEntry& entry) { return absl::c_linear_search(others, entry); });
  return entries;
}

void AddSettings(const VxlanOptions& from, const VxlanOptions& to, LinkSettings& settings) {
  settings.lost_fdb = Without(from.fdb, to.fdb);
  VxlanOptions options{.info = to.info, .fdb = Without(to.fdb, from.fdb)};
  if (options.info == from.info && options.fdb.empty()) return;
  // What is left out stays.
  for (auto address : {&netlink::VxlanInfo::remote, &netlink::VxlanInfo::local}) {
    const std::optional<netlink::IpAddress>& before = from.info.*address;
    if (before.has_value() && !(to.info.*address).has_value()) {
      options.info.*address = netlink::IpAddress::Any(before->family());
    }
  }
  settings.device = options;
}

void AddSettings(const DeviceOptions& from, const DeviceOptions& to, LinkSettings& settings) {
  if (const auto* bridge = std::get_if<BridgeInfo>(&to); bridge != nullptr) {
    const BridgeInfo options = SettingsOf(kBridgeOptions, std::get<BridgeInfo>(from), *bridge);
    if (options != BridgeInfo()) settings.device = options;
  } else if (const auto* vxlan = std::get_if<VxlanOptions>(&to); vxlan != nullptr) {
    AddSettings(std::get<VxlanOptions>(from), *vxlan, settings);
  } else if (to != from) {
    settings.device = to;
  }
}

}  // namespace

LinkShape Former(const LinkShape& old, const LinkShape& wanted, const Link& now,
                 const std::vector<netlink::BridgeVlan>& vlans) {
  LinkShape former = old;
  const EndpointSpec& link = wanted.link;
  if (link.mac != old.link.mac) former.link.mac = now.mac;
  if (link.mtu != old.link.mtu) former.link.mtu = now.mtu;
  if (link.up != old.link.up) former.link.up = now.up;
  const LinkOptions& options = old.link.config.options;
  LinkOptions& former_options = former.link.config.options;
  if (link.config.options.promiscuous != options.promiscuous) former_options.promiscuous = now.options.promiscuous;
  if (link.config.options.all_multicast != options.all_multicast) {
    former_options.all_multicast = now.options.all_multicast;
  }
  if (link.config.options.alias != options.alias) former_options.alias = now.options.alias;
  const OffloadLimits& limits = link.config.options.limits;
  former_options.limits = FormerOf(kLimits, options.limits, limits, now.options.limits);
  // With each of these, the kernel changes that of IPv4 (netif_set_gso_max_size(), netif_set_gro_max_size()).
  if (limits.gso_max_size != options.limits.gso_max_size) {
    former_options.limits.gso_ipv4_max_size = now.options.limits.gso_ipv4_max_size;
  }
  if (limits.gro_max_size != options.limits.gro_max_size) {
    former_options.limits.gro_ipv4_max_size = now.options.limits.gro_ipv4_max_size;
  }
  if (now.port.has_value()) {
    PortOptions& port = former.link.config.port;
    if (!link.config.HasBridgeOf(old.link.config)) {
      port = {.settings = *now.port, .vlans = vlans};
    } else {
      port.settings = FormerOf(kPortSettings, old.link.config.port.settings, link.config.port.settings, *now.port);
      if (link.config.port.vlans != old.link.config.port.vlans) port.vlans = vlans;
    }
  }
  if (old.options.has_value() && wanted.options.has_value() && now.device.has_value()) {
    former.options = FormerOf(*old.options, *wanted.options, *now.device);
  }
  return former;
}

void RemoveLostEntries(const LinkShape& old, const LinkShape& former, LinkShape& to) {
  if (!to.options.has_value() || !std::holds_alternative<VxlanOptions>(*to.options)) return;
  auto& fdb = std::get<VxlanOptions>(*to.options).fdb;
  fdb = Without(fdb, Without(std::get<VxlanOptions>(*old.options).fdb, std::get<VxlanOptions>(*former.options).fdb));
}

LinkSettings SettingsBetween(const LinkShape& from, const LinkShape& to, uint32_t bridge) {
  LinkSettings settings;
  if (to.link.mac != from.link.mac) settings.mac = to.link.mac;
  if (to.link.mtu != from.link.mtu) settings.mtu = to.link.mtu;
  if (to.link.up != from.link.up) settings.up = to.link.up;
  const EndpointConfig& config = to.link.config;
  const EndpointConfig& before = from.link.config;
  if (config.options.promiscuous != before.options.promiscuous) settings.promiscuous = config.options.promiscuous;
  if (config.options.all_multicast != before.options.all_multicast) {
    settings.all_multicast = config.options.all_multicast;
  }
  const OffloadLimits& limits = config.options.limits;
  settings.limits = SettingsOf(kLimits, before.options.limits, limits);
  // The kernel changes these with the others: where nobody asks for them, they follow.
  if (settings.limits.gso_max_size.has_value()) settings.limits.gso_ipv4_max_size = limits.gso_ipv4_max_size;
  if (settings.limits.gro_max_size.has_value()) settings.limits.gro_ipv4_max_size = limits.gro_ipv4_max_size;
  if (!config.HasBridgeOf(before)) {
    settings.master = config.IsPort() ? bridge : 0;
    if (config.IsPort()) settings.port = config.port;
  } else {
    settings.port.settings = SettingsOf(kPortSettings, before.port.settings, config.port.settings);
    if (config.port.vlans != before.port.vlans) settings.port.vlans = config.port.vlans;
  }
  if (from.options.has_value() && to.options.has_value()) AddSettings(*from.options, *to.options, settings);
  return settings;
}

void LeaveOutWhatIs(const Link& now, LinkSettings& settings) {
  if (settings.mac == now.mac) settings.mac.reset();
  if (settings.mtu == now.mtu) settings.mtu.reset();
  if (settings.up == now.up) settings.up.reset();
  if (settings.promiscuous == now.options.promiscuous) settings.promiscuous.reset();
  if (settings.all_multicast == now.options.all_multicast) settings.all_multicast.reset();
  if (!settings.device.has_value() || !now.device.has_value()) return;
  auto* bridge = std::get_if<BridgeInfo>(&*settings.device);
  const auto* present = std::get_if<BridgeInfo>(&*now.device);
  if (bridge == nullptr || present == nullptr) return;
  *bridge = SettingsOf(kBridgeOptions, *present, *bridge);
  if (*bridge == BridgeInfo()) settings.device.reset();
}

IpChange ChangeBetween(const IpConfig& from, const IpConfig& to) {
  IpChange change{.in_the_way = {}, .gained = Missing(to, from), .lost = Missing(from, to)};
  change.gained.addresses = GainedAddresses(from.addresses, to.addresses);
  // Of what is added in place of its like, nothing is left to be taken away.
  std::erase_if(change.lost.addresses, [&](const AddressSpec& address) {
    return absl::c_any_of(change.gained.addresses,
                          [&](const AddressSpec& other) { return other.local == address.local; });
  });
  std::erase_if(change.lost.neighbours, [&](const NeighbourSpec& neighbour) {
    return absl::c_any_of(change.gained.neighbours,
                          [&](const NeighbourSpec& other) { return other.address == neighbour.address; });
  });
  auto is_replaced = [&](const RouteSpec& route) {
    return absl::c_any_of(change.gained.routes, [&](const RouteSpec& other) { return HaveOneKey(other, route); });
  };
  // A route takes the place of one through the same link only.
  for (const RouteSpec& route : change.lost.routes) {
    if (is_replaced(route)) change.in_the_way.routes.push_back(route);
  }
  std::erase_if(change.lost.routes, is_replaced);
  // An IPv6 address is there once, whatever the length of its prefix (ipv6_chk_same_addr()).
  auto is_once = [&](const AddressSpec& address) {
    return address.local.address.family() == IpFamily::kIpv6 &&
           absl::c_any_of(change.gained.addresses,
                          [&](const AddressSpec& other) { return other.local.address == address.local.address; });
  };
  for (const AddressSpec& address : change.lost.addresses) {
    if (is_once(address)) change.in_the_way.addresses.push_back(address);
  }
  std::erase_if(change.lost.addresses, is_once);
  return change;
}

}  // namespace netprov::engine
