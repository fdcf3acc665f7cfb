// The links of FakeKernel: their births and ends, their settings, bridges and ports, and shaping.
#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "server/engine/fake_kernel.h"
#include "server/engine/tag.h"
#include "server/netlink/bridge_port.h"
#include "server/netlink/link_info.h"

namespace netprov::engine {
namespace {

constexpr size_t kLongestLinkName = 15;  // IFNAMSIZ less the terminating zero

// dev_valid_name() of the kernel.
bool IsLinkName(const std::string& name) {
  return !name.empty() && name.size() <= kLongestLinkName && name != "." && name != ".." &&
         std::none_of(name.begin(), name.end(),
                      [](unsigned char c) { return c == '/' || c == ':' || isspace(c) != 0; });
}

// The most ports that a bridge has (BR_MAX_PORTS, less the one that is never given).
constexpr int kMostPorts = 1023;

// What a new port of the machine has, of which those that have no speed cost more (port_cost()).
netlink::BridgePort NewPort(const std::string& kind) {
  const bool has_speed = kind == "veth" || kind == "macvlan" || kind == "vlan";
  return {.state = std::nullopt,
          .cost = has_speed ? 2 : 100,
          .priority = 32,
          .hairpin = false,
          .isolated = false,
          .learning = true,
          .unicast_flood = true,
          .multicast_flood = true,
          .broadcast_flood = true,
          .neighbour_suppression = false};
}

// What a new bridge of the machine has.
netlink::BridgeInfo NewBridge() {
  return {.stp = false,
          .forward_delay = netlink::Centiseconds(1500),
          .hello_time = netlink::Centiseconds(200),
          .max_age = netlink::Centiseconds(2000),
          .ageing_time = netlink::Centiseconds(30000),
          .priority = 32768,
          .vlan_filtering = false,
          .vlan_protocol = netlink::VlanProtocol::kDot1Q,
          .default_pvid = 1,
          .multicast_snooping = true,
          .group_forward_mask = 0};
}

void Set(const netlink::BridgeInfo& wanted, netlink::BridgeInfo& bridge) {
  auto set = [](auto& setting, const auto& value) {
    if (value.has_value()) setting = value;
  };
  set(bridge.stp, wanted.stp);
  set(bridge.forward_delay, wanted.forward_delay);
  set(bridge.hello_time, wanted.hello_time);
  set(bridge.max_age, wanted.max_age);
  set(bridge.ageing_time, wanted.ageing_time);
  set(bridge.priority, wanted.priority);
  set(bridge.vlan_filtering, wanted.vlan_filtering);
  set(bridge.vlan_protocol, wanted.vlan_protocol);
  set(bridge.default_pvid, wanted.default_pvid);
  set(bridge.multicast_snooping, wanted.multicast_snooping);
  set(bridge.group_forward_mask, wanted.group_forward_mask);
}

}  // namespace

std::optional<Link> FakeKernel::Find(const FakeNetns& netns, const std::string& name) {
  for (const auto& [ifindex, link] : netns.links) {
    const std::vector<std::string>& others = link.link.alternative_names;
    if (link.link.name == name || std::find(others.begin(), others.end(), name) != others.end()) return link.link;
  }
  return std::nullopt;
}

std::optional<KernelError> FakeKernel::WhyNot(const FakeNetns& netns, const LinkSpec& spec, const std::string& alias) {
  const std::string operation = absl::StrCat("RTM_NEWLINK ", spec.name);
  if (spec.name.size() > kLongestLinkName) return Fail(ERANGE, operation);
  if (!IsLinkName(spec.name)) return Fail(EINVAL, operation);
  if (spec.mac.has_value() && (!spec.mac->IsUnicast() || spec.mac->IsZero())) {
    return Fail(EADDRNOTAVAIL, operation, "Invalid address");
  }
  if (spec.mtu.has_value() && (*spec.mtu < 68 || *spec.mtu > 65535)) {
    return Fail(EINVAL, operation, "mtu out of range");
  }
  if (Find(netns, spec.name).has_value()) return Fail(EEXIST, operation);
  if (alias.size() > kLongestAlias) return Fail(ERANGE, absl::StrCat("RTM_SETLINK ", spec.name));
  return std::nullopt;
}

uint32_t FakeKernel::AddLink(FakeNetns& netns, const LinkSpec& spec, const std::string& kind) {
  const uint32_t ifindex = netns.next_ifindex++;
  const netlink::MacAddress chosen = {{0x02, 0, 0, 0, 0, next_mac_++}};
  netns.links[ifindex].link = {.ifindex = ifindex,
                               .name = spec.name,
                               .mac = spec.mac.value_or(chosen),
                               .mtu = spec.mtu.value_or(1500),
                               .up = spec.up,
                               .group = kOwnedGroup,
                               .alias = "",
                               .kind = kind,
                               .peer_ifindex = 0,
                               .options = spec.options};
  netns.links[ifindex].forwards_ipv4 = netns.sysctls[kForwardsByDefault[0]];
  netns.links[ifindex].forwards_ipv6 = netns.sysctls[kForwardsByDefault[1]];
  // What a veth of the machine has.
  netlink::OffloadLimits& limits = netns.links[ifindex].link.options.limits;
  limits.gso_max_size = limits.gso_max_size.value_or(65536);
  limits.gso_max_segments = limits.gso_max_segments.value_or(65535);
  limits.gro_max_size = limits.gro_max_size.value_or(65536);
  limits.gso_ipv4_max_size = limits.gso_ipv4_max_size.value_or(std::min(*limits.gso_max_size, 65536u));
  limits.gro_ipv4_max_size = limits.gro_ipv4_max_size.value_or(std::min(*limits.gro_max_size, 65536u));
  return ifindex;
}

void FakeKernel::DeleteLinkAndPeer(uint64_t cookie, uint32_t ifindex) {
  FakeNetns& netns = namespaces_[cookie];
  const auto found = netns.links.find(ifindex);
  if (found == netns.links.end()) return;
  const FakeLink link = found->second;
  netns.links.erase(found);
  for (const auto& [where, index] : StandingOn(cookie, ifindex)) DeleteLinkAndPeer(where, index);
  for (auto& [index, port] : netns.links) {
    if (port.link.master_ifindex != ifindex) continue;
    port.link.master_ifindex = 0;
    port.link.port.reset();
    TellLink(cookie, index);
  }
  TellLink(cookie, ifindex);
  if (auto peer = namespaces_.find(link.peer_cookie); peer != namespaces_.end()) {
    peer->second.links.erase(link.link.peer_ifindex);
    TellLink(link.peer_cookie, link.link.peer_ifindex);
    for (const auto& [where, index] : StandingOn(link.peer_cookie, link.link.peer_ifindex)) {
      DeleteLinkAndPeer(where, index);
    }
  }
}

void FakeKernel::Apply(const LinkSettings& settings, FakeLink& fake) {
  Link& link = fake.link;
  link.name = settings.name.value_or(link.name);
  // neigh_changeaddr()
  if (settings.mac.has_value() && *settings.mac != link.mac) fake.ip.neighbours.clear();
  link.mac = settings.mac.value_or(link.mac);
  link.mtu = settings.mtu.value_or(link.mtu);
  link.group = settings.group.value_or(link.group);
  if (settings.alias.has_value() && link.kind.empty()) {
    link.alias = *settings.alias;
  } else if (settings.alias.has_value()) {
    std::tie(link.alias, link.options.alias) = SplitAlias(*settings.alias);
  }
  if (link.up && settings.up == false) {
    // fib_disable_ip(), addrconf_ifdown()
    LoseIpv4(fake.ip);
    const auto is_ipv6 = [](const auto& address) { return address.family() == netlink::IpFamily::kIpv6; };
    std::erase_if(fake.ip.addresses, [&](const AddressSpec& address) { return is_ipv6(address.local.address); });
    std::erase_if(fake.ip.routes, [&](const RouteSpec& route) { return is_ipv6(route.destination.address); });
    std::erase_if(fake.ip.neighbours, [&](const NeighbourSpec& neighbour) { return is_ipv6(neighbour.address); });
  }
  link.up = settings.up.value_or(link.up);
  link.options.promiscuous = settings.promiscuous.value_or(link.options.promiscuous);
  link.options.all_multicast = settings.all_multicast.value_or(link.options.all_multicast);
  auto set = [](std::optional<uint32_t>& limit, const std::optional<uint32_t>& setting) {
    if (setting.has_value()) limit = setting;
  };
  // netif_set_gso_max_size(), netif_set_gro_max_size()
  auto set_with_ipv4 = [&set](std::optional<uint32_t>& limit, std::optional<uint32_t>& of_ipv4,
                              const std::optional<uint32_t>& setting) {
    constexpr uint32_t kMostOfIpv4 = 65536;
    if (setting.has_value() && setting != limit && *setting <= kMostOfIpv4) of_ipv4 = setting;
    set(limit, setting);
  };
  set_with_ipv4(link.options.limits.gso_max_size, link.options.limits.gso_ipv4_max_size, settings.limits.gso_max_size);
  set(link.options.limits.gso_max_segments, settings.limits.gso_max_segments);
  set_with_ipv4(link.options.limits.gro_max_size, link.options.limits.gro_ipv4_max_size, settings.limits.gro_max_size);
  set(link.options.limits.gso_ipv4_max_size, settings.limits.gso_ipv4_max_size);
  set(link.options.limits.gro_ipv4_max_size, settings.limits.gro_ipv4_max_size);
  if (settings.device.has_value() && link.device.has_value()) {
    if (link.kind == "bridge") {
      Set(std::get<netlink::BridgeInfo>(*settings.device), std::get<netlink::BridgeInfo>(*link.device));
    } else {
      (void)SetDevice(*settings.device, fake);
    }
  }
}

KernelResult<void> FakeKernel::Join(FakeNetns& netns, uint32_t ifindex, uint32_t master, const PortOptions& port) {
  FakeLink& link = netns.links[ifindex];
  const std::string operation = absl::StrCat("RTM_SETLINK ", link.link.name);
  if (link.link.master_ifindex != master) {
    uint16_t pvid = 0;
    if (master != 0) {
      auto bridge = netns.links.find(master);
      if (bridge == netns.links.end()) return Fail(EINVAL, operation);
      if (bridge->second.link.kind != "bridge") return Fail(EOPNOTSUPP, operation);
      if (link.link.kind == "bridge") return Fail(ELOOP, operation, "Can not enslave a bridge to a bridge");
      const auto ports = std::count_if(netns.links.begin(), netns.links.end(),
                                       [&](const auto& item) { return item.second.link.master_ifindex == master; });
      if (ports >= kMostPorts) return Fail(EXFULL, operation);
      pvid = std::get<netlink::BridgeInfo>(*bridge->second.link.device).default_pvid.value_or(0);
    }
    link.link.master_ifindex = master;
    link.link.port = master == 0 ? std::nullopt : std::optional(NewPort(link.link.kind));
    link.vlans.clear();
    if (pvid != 0) link.vlans = {{.first = pvid, .last = pvid, .pvid = true, .untagged = true}};
  }
  if (port.empty()) return {};
  if (!link.link.port.has_value()) return Fail(EOPNOTSUPP, operation);
  auto set = [](auto& setting, const auto& wanted) {
    if (wanted.has_value()) setting = wanted;
  };
  netlink::BridgePort& now = *link.link.port;
  set(now.cost, port.settings.cost);
  set(now.priority, port.settings.priority);
  set(now.hairpin, port.settings.hairpin);
  set(now.isolated, port.settings.isolated);
  set(now.learning, port.settings.learning);
  set(now.unicast_flood, port.settings.unicast_flood);
  set(now.multicast_flood, port.settings.multicast_flood);
  set(now.broadcast_flood, port.settings.broadcast_flood);
  set(now.neighbour_suppression, port.settings.neighbour_suppression);
  if (!port.vlans.empty()) link.vlans = port.vlans;
  return {};
}

uint32_t FakeKernel::FindIfb(const FakeNetns& netns, const FakeLink& link, const ShapingSpec& wanted) {
  for (const auto& [ifindex, ifb] : netns.links) {
    const bool is_ours = ifb.link.kind == "ifb" &&
                         (ifb.link.alias == wanted.alias || (ifb.link.alias.empty() && ifb.link.group == kOwnedGroup));
    if (is_ours && (ifindex == link.redirected_to || ifb.link.name == wanted.ifb_name)) return ifindex;
  }
  return 0;
}

// ---- For tests

void FakeKernel::AddForeignLinkForTest(const NetnsRef& netns, const std::string& name, const std::string& kind) {
  std::lock_guard<std::mutex> lock(mutex_);
  KernelResult<FakeNetns*> inside = Enter(netns);
  if (!inside.ok()) return;
  const uint32_t ifindex = AddLink(**inside, {.netns = netns, .name = name}, kind);
  (*inside)->links[ifindex].link.group = 0;
  if (kind == "bridge") (*inside)->links[ifindex].link.device = NewBridge();
}

void FakeKernel::RenameLinkForTest(const NetnsRef& netns, const std::string& name, const std::string& new_name) {
  std::lock_guard<std::mutex> lock(mutex_);
  KernelResult<FakeNetns*> inside = Enter(netns);
  if (!inside.ok()) return;
  for (auto& [ifindex, link] : (*inside)->links) {
    if (link.link.name == name) link.link.name = new_name;
    TellLink(netns.is_host() ? host_cookie_ : netns.cookie, ifindex);
  }
}

void FakeKernel::SetLinkForTest(const NetnsRef& netns, const std::string& name, const LinkSettings& settings) {
  std::lock_guard<std::mutex> lock(mutex_);
  KernelResult<FakeNetns*> inside = Enter(netns);
  if (!inside.ok()) return;
  for (auto& [ifindex, link] : (*inside)->links) {
    if (link.link.name != name) continue;
    Apply(settings, link);
    if (settings.master.has_value()) (void)Join(**inside, ifindex, *settings.master, settings.port);
    TellLink(netns.is_host() ? host_cookie_ : netns.cookie, ifindex);
  }
}

void FakeKernel::MoveLinkForTest(const NetnsRef& netns, const std::string& name, const NetnsRef& to) {
  std::lock_guard<std::mutex> lock(mutex_);
  KernelResult<FakeNetns*> from = Enter(netns);
  KernelResult<FakeNetns*> target = Enter(to);
  if (!from.ok() || !target.ok() || Find(**target, name).has_value()) return;
  const std::optional<Link> found = Find(**from, name);
  if (!found.has_value()) return;
  const uint64_t from_cookie = netns.is_host() ? host_cookie_ : netns.cookie;
  const uint64_t to_cookie = to.is_host() ? host_cookie_ : to.cookie;
  FakeLink link = (*from)->links[found->ifindex];
  (*from)->links.erase(found->ifindex);
  // It keeps its index where that is free, and is down and without its addresses and routes
  // (dev_change_net_namespace()).
  if ((*target)->links.contains(link.link.ifindex)) link.link.ifindex = (*target)->next_ifindex;
  (*target)->next_ifindex = std::max((*target)->next_ifindex, link.link.ifindex + 1);
  link.link.up = false;
  link.link.master_ifindex = 0;
  link.link.port.reset();
  link.ip = {};
  link.bucket.reset();
  link.redirected_to = 0;
  (*target)->links[link.link.ifindex] = link;
  for (const auto& [where, index] : StandingOn(from_cookie, found->ifindex)) {
    FakeLink& upper = namespaces_[where].links[index];
    upper.lower_cookie = to_cookie;
    upper.link.lower_ifindex = link.link.ifindex;
  }
  if (auto peer = namespaces_.find(link.peer_cookie); peer != namespaces_.end()) {
    if (auto end = peer->second.links.find(link.link.peer_ifindex); end != peer->second.links.end()) {
      end->second.link.peer_ifindex = link.link.ifindex;
      end->second.peer_cookie = to_cookie;
    }
  }
  TellLink(from_cookie, found->ifindex);
  TellLink(to_cookie, link.link.ifindex);
}

void FakeKernel::SetBucketForTest(const NetnsRef& netns, const std::string& name,
                                  const std::optional<netlink::TokenBucket>& bucket) {
  std::lock_guard<std::mutex> lock(mutex_);
  KernelResult<FakeNetns*> inside = Enter(netns);
  if (!inside.ok()) return;
  for (auto& [ifindex, link] : (*inside)->links) {
    if (link.link.name != name) continue;
    link.bucket = bucket;
    TellLink(netns.is_host() ? host_cookie_ : netns.cookie, ifindex);
  }
}

void FakeKernel::RemoveFiltersForTest(const NetnsRef& netns, const std::string& name) {
  std::lock_guard<std::mutex> lock(mutex_);
  KernelResult<FakeNetns*> inside = Enter(netns);
  if (!inside.ok()) return;
  for (auto& [ifindex, link] : (*inside)->links) {
    if (link.link.name != name) continue;
    link.redirected_to = 0;
    TellLink(netns.is_host() ? host_cookie_ : netns.cookie, ifindex);
  }
}

// ---- Kernel

KernelResult<std::pair<Link, Link>> FakeKernel::CreateVeth(const LinkSpec& a, const LinkSpec& b,
                                                           const std::string& alias) {
  if (auto error = Ask("CreateVeth"); error.has_value()) return *error;
  std::unique_lock<std::mutex> lock(mutex_);
  NETPROV_ASSIGN_OR_RETURN(FakeNetns * netns_a, Enter(a.netns));
  NETPROV_ASSIGN_OR_RETURN(FakeNetns * netns_b, Enter(b.netns));
  for (const auto& [place, spec] : {std::pair(netns_a, &a), std::pair(netns_b, &b)}) {
    if (auto error = WhyNot(*place, *spec, alias); error.has_value()) return *error;
  }
  if (netns_a == netns_b && a.name == b.name) return Fail(EEXIST, absl::StrCat("RTM_NEWLINK ", a.name));
  // The kernel registers the peer first.
  const uint32_t index_b = AddLink(*netns_b, b, "veth");
  const uint32_t index_a = AddLink(*netns_a, a, "veth");
  FakeLink& link_a = netns_a->links[index_a];
  FakeLink& link_b = netns_b->links[index_b];
  link_a.link.peer_ifindex = index_b;
  link_a.peer_cookie = b.netns.is_host() ? host_cookie_ : b.netns.cookie;
  link_b.link.peer_ifindex = index_a;
  link_b.peer_cookie = a.netns.is_host() ? host_cookie_ : a.netns.cookie;
  if (born_ != nullptr) {
    const std::function<void()> born = born_;
    const uint64_t cookie_a = link_b.peer_cookie;
    lock.unlock();
    born();
    lock.lock();
    auto place = namespaces_.find(cookie_a);
    if (place == namespaces_.end() || !place->second.links.contains(index_a)) {
      return Fail(ENODEV, absl::StrCat("RTM_SETLINK ", a.name));
    }
  }
  // A pair lives and dies with both ends, and so do the references.
  for (const auto& [place, ifindex, spec] : {std::tuple(netns_a, index_a, &a), std::tuple(netns_b, index_b, &b)}) {
    if (spec->master == 0) continue;
    KernelResult<void> joined = Join(*place, ifindex, spec->master, spec->port);
    if (joined.ok()) continue;
    DeleteLinkAndPeer(link_b.peer_cookie, index_a);
    return std::move(joined).error();
  }
  link_a.link.alias = link_b.link.alias = alias;
  TellLink(link_b.peer_cookie, index_a);
  TellLink(link_a.peer_cookie, index_b);
  return std::pair(link_a.link, link_b.link);
}

KernelResult<Link> FakeKernel::CreateDevice(const LinkSpec& link, const DeviceOptions& options,
                                            const std::string& alias) {
  if (auto error = Ask("CreateDevice"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  NETPROV_ASSIGN_OR_RETURN(FakeNetns * netns, Enter(link.netns));
  if (auto error = WhyNot(*netns, link, alias); error.has_value()) return *error;
  const auto* bridge = std::get_if<netlink::BridgeInfo>(&options);
  FakeLink device;
  if (bridge == nullptr) {
    NETPROV_ASSIGN_OR_RETURN(device, NewDevice(link, options));
  }
  const uint32_t ifindex = AddLink(*netns, link, KindOf(options));
  FakeLink& made = netns->links[ifindex];
  made.link.alias = alias;
  if (bridge != nullptr) {
    made.link.device = NewBridge();
    Set(*bridge, std::get<netlink::BridgeInfo>(*made.link.device));
  } else {
    Become(device, link, made);
  }
  const uint64_t cookie = link.netns.is_host() ? host_cookie_ : link.netns.cookie;
  if (link.master != 0) {
    KernelResult<void> joined = Join(*netns, ifindex, link.master, link.port);
    if (!joined.ok()) {
      DeleteLinkAndPeer(cookie, ifindex);
      return std::move(joined).error();
    }
  }
  TellLink(cookie, ifindex);
  return made.link;
}

KernelResult<void> FakeKernel::DeleteLink(const NetnsRef& netns, uint32_t ifindex) {
  if (auto error = Ask("DeleteLink"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  NETPROV_ASSIGN_OR_RETURN(FakeNetns * inside, Enter(netns));
  auto found = inside->links.find(ifindex);
  if (found == inside->links.end()) return Fail(ENODEV, "RTM_DELLINK");
  if (found->second.link.kind.empty()) return Fail(EOPNOTSUPP, "RTM_DELLINK");
  DeleteLinkAndPeer(netns.is_host() ? host_cookie_ : netns.cookie, ifindex);
  return {};
}

KernelResult<void> FakeKernel::DeleteLinksInside(const NetnsRef& netns) {
  if (auto error = Ask("DeleteLinksInside"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  NETPROV_ASSIGN_OR_RETURN(FakeNetns * inside, Enter(netns));
  std::vector<uint32_t> links;
  for (const auto& [ifindex, link] : inside->links) {
    if (!link.link.kind.empty()) links.push_back(ifindex);
  }
  const uint64_t cookie = netns.is_host() ? host_cookie_ : netns.cookie;
  for (uint32_t ifindex : links) {
    if (inside->links.contains(ifindex)) DeleteLinkAndPeer(cookie, ifindex);
  }
  return {};
}

KernelResult<void> FakeKernel::SetLink(const NetnsRef& netns, uint32_t ifindex, const LinkSettings& settings) {
  if (auto error = Ask("SetLink"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  NETPROV_ASSIGN_OR_RETURN(FakeNetns * inside, Enter(netns));
  auto found = inside->links.find(ifindex);
  if (found == inside->links.end()) return Fail(ENODEV, "RTM_SETLINK");
  if (settings.mac.has_value() && found->second.link.kind == "ifb") {
    return Fail(EOPNOTSUPP, absl::StrCat("RTM_SETLINK ifindex ", ifindex));
  }
  if (settings.name.has_value() && *settings.name != found->second.link.name &&
      Find(*inside, *settings.name).has_value()) {
    return Fail(EEXIST, absl::StrCat("RTM_SETLINK ", *settings.name));
  }
  if (settings.master.has_value() || !settings.port.empty()) {
    const uint32_t master = settings.master.value_or(found->second.link.master_ifindex);
    NETPROV_RETURN_IF_ERROR(Join(*inside, ifindex, master, settings.port));
  }
  if (settings.no_vlans) {
    if (!found->second.link.port.has_value()) return Fail(EOPNOTSUPP, absl::StrCat("RTM_DELLINK ifindex ", ifindex));
    found->second.vlans.clear();
  }
  for (const FdbEntry& entry : settings.lost_fdb) RemoveFdb(entry, found->second);
  if (settings.device.has_value() && found->second.link.kind != "bridge") {
    NETPROV_RETURN_IF_ERROR(SetDevice(*settings.device, found->second));
  }
  Apply(settings, found->second);
  TellLink(netns.is_host() ? host_cookie_ : netns.cookie, ifindex);
  return {};
}

KernelResult<std::map<uint32_t, std::vector<netlink::BridgeVlan>>> FakeKernel::ListPortVlans(const NetnsRef& netns) {
  if (auto error = Ask("ListPortVlans"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  NETPROV_ASSIGN_OR_RETURN(FakeNetns * inside, Enter(netns));
  std::map<uint32_t, std::vector<netlink::BridgeVlan>> vlans;
  for (const auto& [ifindex, link] : inside->links) {
    if (link.link.port.has_value()) vlans[ifindex] = link.vlans;
  }
  return vlans;
}

KernelResult<std::optional<Link>> FakeKernel::FindLink(const NetnsRef& netns, const std::string& name) {
  if (auto error = Ask("FindLink"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  NETPROV_ASSIGN_OR_RETURN(FakeNetns * inside, Enter(netns));
  return Find(*inside, name);
}

KernelResult<std::optional<Link>> FakeKernel::FindLink(const NetnsRef& netns, uint32_t ifindex) {
  if (auto error = Ask("FindLink"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  NETPROV_ASSIGN_OR_RETURN(FakeNetns * inside, Enter(netns));
  auto found = inside->links.find(ifindex);
  if (found == inside->links.end()) return std::optional<Link>();
  return std::optional(found->second.link);
}

KernelResult<std::vector<Link>> FakeKernel::ListLinks(const NetnsRef& netns) {
  if (auto error = Ask("ListLinks"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  NETPROV_ASSIGN_OR_RETURN(FakeNetns * inside, Enter(netns));
  std::vector<Link> links;
  for (const auto& [ifindex, link] : inside->links) links.push_back(link.link);
  return links;
}

KernelResult<std::vector<ObservedLink>> FakeKernel::ObserveLinks(const NetnsRef& netns,
                                                                 const std::optional<std::string>& name) {
  if (auto error = Ask("ObserveLinks"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  NETPROV_ASSIGN_OR_RETURN(FakeNetns * inside, Enter(netns));
  const std::optional<Link> named = name.has_value() ? Find(*inside, *name) : std::nullopt;
  std::vector<ObservedLink> links;
  for (const auto& [ifindex, link] : inside->links) {
    if (name.has_value() && (!named.has_value() || named->ifindex != ifindex)) continue;
    links.push_back({.link = link.link,
                     .oper_state = link.link.up ? netlink::OperState::kUp : netlink::OperState::kDown,
                     .statistics = {.ifindex = static_cast<int>(ifindex)}});
  }
  return links;
}

KernelResult<std::string> FakeKernel::FreeLinkName(const NetnsRef& netns, const std::string& pattern,
                                                   const std::vector<std::string>& taken) {
  if (auto error = Ask("FreeLinkName"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  NETPROV_ASSIGN_OR_RETURN(FakeNetns * inside, Enter(netns));
  for (int number = 0;; ++number) {
    std::string name = absl::StrReplaceAll(pattern, {{"%d", absl::StrCat(number)}});
    if (name.size() > kLongestLinkName) return Fail(ENFILE, absl::StrCat("name ", pattern));
    if (!Find(*inside, name).has_value() && std::find(taken.begin(), taken.end(), name) == taken.end()) return name;
  }
}

KernelResult<uint32_t> FakeKernel::Shape(const NetnsRef& netns, uint32_t ifindex, const ShapingSpec& wanted) {
  if (auto error = Ask("Shape"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  NETPROV_ASSIGN_OR_RETURN(FakeNetns * inside, Enter(netns));
  auto found = inside->links.find(ifindex);
  if (found == inside->links.end()) return Fail(ENODEV, "RTM_NEWQDISC");
  FakeLink& link = found->second;
  const uint64_t cookie = netns.is_host() ? host_cookie_ : netns.cookie;
  uint32_t ifb = FindIfb(*inside, link, wanted);
  if (wanted.ingress.has_value()) {
    if (ifb == 0) {
      const LinkSpec spec{.netns = netns, .name = wanted.ifb_name};
      if (auto error = WhyNot(*inside, spec, wanted.alias); error.has_value()) return *error;
      ifb = AddLink(*inside, spec, "ifb");
    }
    FakeLink& shaper = inside->links[ifb];
    shaper.link.alias = wanted.alias;
    shaper.link.up = true;
    shaper.bucket = wanted.ingress;
    TellLink(cookie, ifb);
  } else if (ifb != 0) {
    inside->links.erase(std::exchange(ifb, 0));
  }
  link.redirected_to = ifb;
  if (wanted.egress.has_value() || !wanted.leaves_root) link.bucket = wanted.egress;
  TellLink(cookie, ifindex);
  return ifb;
}

KernelResult<Shaping> FakeKernel::FindShaping(const NetnsRef& netns, uint32_t ifindex) {
  if (auto error = Ask("FindShaping"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  NETPROV_ASSIGN_OR_RETURN(FakeNetns * inside, Enter(netns));
  auto found = inside->links.find(ifindex);
  if (found == inside->links.end()) return Shaping();
  Shaping shaping{.egress = found->second.bucket, .ingress = std::nullopt};
  if (auto ifb = inside->links.find(found->second.redirected_to); ifb != inside->links.end() && ifb->second.link.up) {
    shaping.ingress = ifb->second.bucket;
    shaping.ifb_ifindex = ifb->first;
  }
  return shaping;
}

}  // namespace netprov::engine
