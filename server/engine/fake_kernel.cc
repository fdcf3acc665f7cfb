#include "server/engine/fake_kernel.h"

#include <linux/if_addr.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "server/engine/tag.h"
#include "server/netlink/bridge_port.h"
#include "server/netlink/ip_address.h"
#include "server/netlink/link_info.h"

namespace netprov::engine {
namespace {

constexpr absl::string_view kNetnsDirectory = "/run/netns/";
constexpr size_t kLongestLinkName = 15;  // IFNAMSIZ less the terminating zero
constexpr size_t kLongestAlias = 254;    // IFALIASZ - 1, the terminating zero among them

KernelError Fail(int code, std::string operation, std::string extack = "") {
  return {.code = code, .operation = std::move(operation), .extack = std::move(extack)};
}

bool IsFileName(const std::string& name) {
  return !name.empty() && name.size() <= 255 && name != "." && name != ".." && !absl::StrContains(name, '/') &&
         !absl::StrContains(name, '\0');
}

// dev_valid_name() of the kernel.
bool IsLinkName(const std::string& name) {
  return !name.empty() && name.size() <= kLongestLinkName && name != "." && name != ".." &&
         std::none_of(name.begin(), name.end(),
                      [](unsigned char c) { return c == '/' || c == ':' || isspace(c) != 0; });
}

// Of links to come.
constexpr const char* kForwardsByDefault[] = {"net.ipv4.conf.default.forwarding", "net.ipv6.conf.default.forwarding"};

// Of a new namespace. A few that the machine has too.
const Sysctls& DefaultSysctls() {
  static const auto* const sysctls = new Sysctls{{"net.core.somaxconn", "4096"},
                                                 {"net.ipv4.conf.all.accept_redirects", "1"},
                                                 {"net.ipv4.conf.all.rp_filter", "0"},
                                                 {kForwardsByDefault[0], "0"},
                                                 {"net.ipv4.ip_forward", "0"},
                                                 {"net.ipv4.ip_local_port_range", "32768 60999"},
                                                 {"net.ipv6.conf.all.disable_ipv6", "0"},
                                                 {"net.ipv6.conf.all.forwarding", "0"},
                                                 {kForwardsByDefault[1], "0"}};
  return *sysctls;
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

// What the kernel makes of numbers, and prints; nullopt: it is none.
std::optional<std::string> AsNumbers(const std::string& value) {
  std::vector<std::string> numbers;
  for (absl::string_view word : absl::StrSplit(value, ' ')) {
    int32_t number = 0;
    if (!absl::SimpleAtoi(word, &number)) return std::nullopt;
    numbers.push_back(absl::StrCat(number));
  }
  return absl::StrJoin(numbers, " ");
}

// Whether a gateway can be reached through a link that has `ip`.
bool LeadsTo(const IpConfig& ip, const netlink::IpAddress& gateway) {
  // Every link has that network, if it has IPv6.
  if (netlink::IpPrefix::Parse("fe80::/10")->Contains(gateway)) return true;
  const bool by_address = std::any_of(ip.addresses.begin(), ip.addresses.end(), [&](const AddressSpec& address) {
    const netlink::IpPrefix prefix{.address = address.peer.value_or(address.local.address),
                                   .length = address.local.length};
    return prefix.Contains(gateway);
  });
  return by_address || std::any_of(ip.routes.begin(), ip.routes.end(), [&](const RouteSpec& route) {
           return !route.gateway.has_value() && route.destination.Contains(gateway);
         });
}

}  // namespace

class FakeKernel::FakeWatch : public KernelWatch {
 public:
  explicit FakeWatch(FakeKernel& kernel) : kernel_(kernel) {}

  KernelResult<void> Track(const NetnsRef& netns) override {
    {
      std::lock_guard<std::mutex> lock(kernel_.mutex_);
      NETPROV_RETURN_IF_ERROR(kernel_.Enter(netns));
    }
    std::lock_guard<std::mutex> lock(mutex_);
    tracked_[netns.cookie] = netns;
    return {};
  }

  std::vector<Hint> Wait(std::chrono::milliseconds timeout) override {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait_for(lock, timeout, [this] { return woken_ || !hints_.empty(); });
    woken_ = false;
    return std::exchange(hints_, {});
  }

  void Wake() override {
    std::lock_guard<std::mutex> lock(mutex_);
    woken_ = true;
    changed_.notify_all();
  }

  void Tell(Hint hint) {
    std::lock_guard<std::mutex> lock(mutex_);
    hints_.push_back(std::move(hint));
    changed_.notify_all();
  }

  void TellLink(bool of_host, uint64_t cookie, uint32_t ifindex) {
    Hint hint{.kind = Hint::Kind::kLink, .netns = {}, .ifindex = ifindex};
    if (!of_host) {
      std::lock_guard<std::mutex> lock(mutex_);
      auto found = tracked_.find(cookie);
      if (found == tracked_.end()) return;
      hint.netns = found->second;
    }
    Tell(std::move(hint));
  }

 private:
  FakeKernel& kernel_;
  std::mutex mutex_;  // taken after the kernel's
  std::condition_variable changed_;
  std::map<uint64_t, NetnsRef> tracked_;
  std::vector<Hint> hints_;
  bool woken_ = false;
};

FakeKernel::FakeKernel() { Boot(); }

void FakeKernel::TellLink(uint64_t cookie, uint32_t ifindex) {
  for (const std::weak_ptr<FakeWatch>& weak : watches_) {
    if (auto watch = weak.lock()) watch->TellLink(cookie == host_cookie_, cookie, ifindex);
  }
}

void FakeKernel::TellName(const std::string& name) {
  for (const std::weak_ptr<FakeWatch>& weak : watches_) {
    if (auto watch = weak.lock()) {
      watch->Tell({.kind = Hint::Kind::kName, .netns = {.name = name, .cookie = 0}, .ifindex = 0});
    }
  }
}

KernelResult<std::unique_ptr<KernelWatch>> FakeKernel::Watch() {
  // What the caller owns is a handle, as the kernel must know whether the watch still lives.
  class Handle : public KernelWatch {
   public:
    explicit Handle(std::shared_ptr<FakeWatch> watch) : watch_(std::move(watch)) {}
    KernelResult<void> Track(const NetnsRef& netns) override { return watch_->Track(netns); }
    std::vector<Hint> Wait(std::chrono::milliseconds timeout) override { return watch_->Wait(timeout); }
    void Wake() override { watch_->Wake(); }

   private:
    std::shared_ptr<FakeWatch> watch_;
  };
  if (auto error = Ask("Watch"); error.has_value()) return *error;
  auto watch = std::make_shared<FakeWatch>(*this);
  std::lock_guard<std::mutex> lock(mutex_);
  watches_.push_back(watch);
  return std::unique_ptr<KernelWatch>(std::make_unique<Handle>(std::move(watch)));
}

void FakeKernel::Boot() {
  ++boots_;
  // The machine counts from the start again, so that a cookie of another boot may stand for another namespace, and a
  // number for another process.
  next_cookie_ = 1;
  next_pid_ = kFirstPid;
  namespaces_.clear();
  files_.clear();
  mounts_.clear();
  host_cookie_ = AddNetns("");
}

uint64_t FakeKernel::AddNetns(const std::string& alias) {
  const uint64_t cookie = next_cookie_++;
  FakeNetns& netns = namespaces_[cookie];
  const uint32_t ifindex = netns.next_ifindex++;
  netns.links[ifindex].link = {.ifindex = ifindex, .name = "lo", .mtu = 65536, .up = true, .alias = alias};
  netns.sysctls = DefaultSysctls();
  return cookie;
}

std::string* FakeKernel::FindSysctl(const std::string& name, FakeNetns& netns) {
  if (auto setting = netns.sysctls.find(name); setting != netns.sysctls.end()) return &setting->second;
  for (auto& [ifindex, link] : netns.links) {
    const std::string of_link =
        absl::StrCat(".conf.", absl::StrReplaceAll(link.link.name, {{".", "/"}}), ".forwarding");
    if (name == absl::StrCat("net.ipv4", of_link)) return &link.forwards_ipv4;
    if (name == absl::StrCat("net.ipv6", of_link)) return &link.forwards_ipv6;
  }
  return nullptr;
}

void FakeKernel::WriteSysctl(const std::string& name, const std::string& value, FakeNetns& netns) {
  std::string* const setting = FindSysctl(name, netns);
  if (setting == nullptr || *setting == value) return;
  *setting = value;
  const bool is_ipv4 = name == "net.ipv4.ip_forward";
  if (!is_ipv4 && name != "net.ipv6.conf.all.forwarding") return;
  netns.sysctls[kForwardsByDefault[is_ipv4 ? 0 : 1]] = value;
  for (auto& [ifindex, link] : netns.links) (is_ipv4 ? link.forwards_ipv4 : link.forwards_ipv6) = value;
  if (is_ipv4) netns.sysctls["net.ipv4.conf.all.accept_redirects"] = absl::StrCat(value == "0" ? 1 : 0);
}

KernelResult<void> FakeKernel::Write(const Sysctls& sysctls, FakeNetns& netns) {
  for (const auto& [name, value] : sysctls) {
    const std::string operation = absl::StrCat("sysctl ", name);
    if (FindSysctl(name, netns) == nullptr) return Fail(EOPNOTSUPP, operation, "the kernel does not have it");
    const std::optional<std::string> kept = AsNumbers(value);
    if (!kept.has_value()) return Fail(EINVAL, operation);
    WriteSysctl(name, *kept, netns);
    if (*kept != value) return Fail(EINVAL, operation, absl::StrCat("it reads '", *kept, "'"));
  }
  // Some change others.
  for (const auto& [name, value] : sysctls) WriteSysctl(name, value, netns);
  return {};
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

void FakeKernel::DestroyNetns(uint64_t cookie) {
  std::vector<uint32_t> indexes;
  for (const auto& [ifindex, link] : namespaces_[cookie].links) indexes.push_back(ifindex);
  for (uint32_t ifindex : indexes) DeleteLinkAndPeer(cookie, ifindex);
  for (const auto& [where, index] : StandingOn(cookie, 0)) DeleteLinkAndPeer(where, index);
  namespaces_.erase(cookie);
}

std::optional<KernelError> FakeKernel::Ask(const std::string& operation) {
  Fault fault;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    for (auto next = fail_next_.begin(); next != fail_next_.end(); ++next) {
      if (next->first != operation) continue;
      KernelError error = next->second;
      fail_next_.erase(next);
      return error;
    }
    fault = fault_;
  }
  return fault == nullptr ? std::nullopt : fault(operation);
}

KernelResult<FakeKernel::FakeNetns*> FakeKernel::Enter(const NetnsRef& netns) {
  if (netns.is_host()) return &namespaces_[host_cookie_];
  if (netns.place.has_value()) {
    const KernelResult<uint64_t> cookie = LookAt(*netns.place);
    if (cookie.ok() && *cookie == netns.cookie) return &namespaces_[*cookie];
    if (!cookie.ok() && cookie.error().code == ENOENT) return cookie.error();
    return Fail(ESTALE, absl::StrCat("open(", PlaceName(*netns.place), ")"));
  }
  auto file = files_.find(netns.name);
  if (file == files_.end()) return Fail(ENOENT, absl::StrCat("open(/run/netns/", netns.name, ")"));
  // A file that is no namespace has no cookie, which a reference to a namespace that nobody knows has neither.
  if (file->second.cookie == 0 || file->second.cookie != netns.cookie) {
    return Fail(ESTALE, absl::StrCat("open(/run/netns/", netns.name, ")"));
  }
  return &namespaces_[netns.cookie];
}

KernelResult<uint64_t> FakeKernel::LookAt(const NetnsPlace& place) const {
  const std::string operation = absl::StrCat("open(", PlaceName(place), ")");
  if (!place.path.empty()) {
    const auto mount = mounts_.find(place.path);
    if (mount != mounts_.end()) return mount->second;
    if (const auto odd = odd_paths_.find(place.path); odd != odd_paths_.end()) {
      return Fail(odd->second, operation, odd->second == ELOOP ? "a link is not followed" : "");
    }
    const auto file = absl::StartsWith(place.path, kNetnsDirectory)
                          ? files_.find(place.path.substr(kNetnsDirectory.size()))
                          : files_.end();
    if (file == files_.end()) return Fail(ENOENT, operation);
    if (file->second.cookie == 0) return Fail(EMEDIUMTYPE, operation);
    return file->second.cookie;
  }
  for (const auto& [cookie, netns] : namespaces_) {
    for (const Process& process : netns.processes) {
      if (static_cast<uint32_t>(process.pid) == place.pid) return cookie;
    }
  }
  return Fail(ESRCH, operation);
}

void FakeKernel::DestroyIfUnused(uint64_t cookie) {
  auto has_name = [cookie](const auto& item) { return item.second.cookie == cookie; };
  auto is_mounted = [cookie](const auto& item) { return item.second == cookie; };
  const bool is_used = cookie == host_cookie_ || !namespaces_[cookie].processes.empty() ||
                       std::any_of(files_.begin(), files_.end(), has_name) ||
                       std::any_of(mounts_.begin(), mounts_.end(), is_mounted);
  if (!is_used) DestroyNetns(cookie);
}

std::optional<Link> FakeKernel::Find(const FakeNetns& netns, const std::string& name) {
  for (const auto& [ifindex, link] : netns.links) {
    const std::vector<std::string>& others = link.link.alternative_names;
    if (link.link.name == name || std::find(others.begin(), others.end(), name) != others.end()) return link.link;
  }
  return std::nullopt;
}

bool FakeKernel::HasRoute(const FakeNetns& netns, const RouteSpec& route) {
  auto is_it = [&route](const RouteSpec& other) { return HaveOneKey(other, route); };
  if (std::any_of(netns.routes.begin(), netns.routes.end(), is_it)) return true;
  return std::any_of(netns.links.begin(), netns.links.end(), [&](const auto& item) {
    const std::vector<RouteSpec>& routes = item.second.ip.routes;
    return std::any_of(routes.begin(), routes.end(), is_it);
  });
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

// ---- For tests

void FakeKernel::SetFaultForTest(Fault fault) {
  std::lock_guard<std::mutex> lock(mutex_);
  fault_ = std::move(fault);
}

void FakeKernel::SetBornForTest(std::function<void()> born) {
  std::lock_guard<std::mutex> lock(mutex_);
  born_ = std::move(born);
}

void FakeKernel::FailNextForTest(const std::string& operation, int code, const std::string& extack) {
  std::lock_guard<std::mutex> lock(mutex_);
  fail_next_.emplace_back(operation, Fail(code, operation, extack));
}

void FakeKernel::AddForeignNetnsForTest(const std::string& name) {
  std::lock_guard<std::mutex> lock(mutex_);
  files_[name].cookie = AddNetns("");
  TellName(name);
}

void FakeKernel::RemoveForeignNetnsForTest(const std::string& name) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (files_[name].cookie != 0) DestroyNetns(files_[name].cookie);
  files_.erase(name);
  TellName(name);
}

void FakeKernel::AddStaleFileForTest(const std::string& name, bool empty) {
  std::lock_guard<std::mutex> lock(mutex_);
  files_[name] = {.cookie = 0, .empty = empty};
  TellName(name);
}

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

// Not __inet_del_ifa() whole, which can be told to keep the others (promote_secondaries).
void FakeKernel::DeleteAddress(const AddressSpec& address, IpConfig& ip) {
  const bool is_ipv4 = address.local.address.family() == netlink::IpFamily::kIpv4;
  auto in_its_network = [&](const AddressSpec& other) {
    return other.local.length == address.local.length && other.local.Contains(address.local.address);
  };
  const auto first = std::find_if(ip.addresses.begin(), ip.addresses.end(), in_its_network);
  if (first == ip.addresses.end()) return;
  std::vector<netlink::IpAddress> gone;
  const bool is_primary = is_ipv4 && first->local == address.local;
  std::erase_if(ip.addresses, [&](const AddressSpec& other) {
    const bool goes = other.local == address.local || (is_primary && in_its_network(other));
    if (goes) gone.push_back(other.local.address);
    return goes;
  });
  std::erase_if(ip.routes, [&](const RouteSpec& route) {
    return route.preferred_source.has_value() &&
           std::find(gone.begin(), gone.end(), *route.preferred_source) != gone.end();
  });
  // With the last one goes the rest (fib_disable_ip()).
  const bool has_more = std::any_of(ip.addresses.begin(), ip.addresses.end(), [](const AddressSpec& other) {
    return other.local.address.family() == netlink::IpFamily::kIpv4;
  });
  if (is_ipv4 && !gone.empty() && !has_more) LoseIpv4(ip);
}

void FakeKernel::LoseIpv4(IpConfig& ip) {
  std::erase_if(ip.routes,
                [](const RouteSpec& route) { return route.destination.address.family() == netlink::IpFamily::kIpv4; });
  std::erase_if(ip.neighbours,
                [](const NeighbourSpec& neighbour) { return neighbour.address.family() == netlink::IpFamily::kIpv4; });
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

void FakeKernel::SetIpConfigForTest(const NetnsRef& netns, const std::string& name, const IpConfig& ip) {
  std::lock_guard<std::mutex> lock(mutex_);
  KernelResult<FakeNetns*> inside = Enter(netns);
  if (!inside.ok()) return;
  for (auto& [ifindex, link] : (*inside)->links) {
    if (link.link.name != name) continue;
    link.ip = ip;
    link.ip_protocol = 0;
    TellLink(netns.is_host() ? host_cookie_ : netns.cookie, ifindex);
  }
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

int FakeKernel::AnnouncementsForTest(const NetnsRef& netns, const std::string& name) {
  std::lock_guard<std::mutex> lock(mutex_);
  KernelResult<FakeNetns*> inside = Enter(netns);
  if (!inside.ok()) return 0;
  for (const auto& [ifindex, link] : (*inside)->links) {
    if (link.link.name == name) return link.announcements;
  }
  return 0;
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

void FakeKernel::SetSysctlForTest(const NetnsRef& netns, const std::string& name, const std::string& value) {
  std::lock_guard<std::mutex> lock(mutex_);
  KernelResult<FakeNetns*> inside = Enter(netns);
  if (inside.ok()) WriteSysctl(name, value, **inside);
}

void FakeKernel::SetEtcFileForTest(const std::string& name, const std::string& file,
                                   const std::optional<std::string>& text) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (text.has_value()) {
    etc_[name][file] = *text;
  } else {
    etc_[name].erase(file);
  }
}

uint32_t FakeKernel::StartProcessForTest(const NetnsRef& netns, const std::string& command) {
  std::lock_guard<std::mutex> lock(mutex_);
  KernelResult<FakeNetns*> inside = Enter(netns);
  if (!inside.ok()) return 0;
  (*inside)->processes.push_back({.pid = next_pid_, .command = command});
  return static_cast<uint32_t>(next_pid_++);
}

uint32_t FakeKernel::StartProcessInNewNetnsForTest(const std::string& command) {
  std::lock_guard<std::mutex> lock(mutex_);
  namespaces_[AddNetns("")].processes.push_back({.pid = next_pid_, .command = command});
  return static_cast<uint32_t>(next_pid_++);
}

std::optional<Process> FakeKernel::TakeProcess(uint32_t pid) {
  const KernelResult<uint64_t> cookie = LookAt({.path = "", .pid = pid});
  if (!cookie.ok()) return std::nullopt;
  std::vector<Process>& processes = namespaces_[*cookie].processes;
  const auto found = std::find_if(processes.begin(), processes.end(),
                                  [pid](const Process& process) { return static_cast<uint32_t>(process.pid) == pid; });
  Process process = *found;
  processes.erase(found);
  DestroyIfUnused(*cookie);
  return process;
}

void FakeKernel::EndProcessForTest(uint32_t pid) {
  std::lock_guard<std::mutex> lock(mutex_);
  TakeProcess(pid);
}

void FakeKernel::UnshareForTest(uint32_t pid) {
  std::lock_guard<std::mutex> lock(mutex_);
  std::optional<Process> process = TakeProcess(pid);
  if (process.has_value()) namespaces_[AddNetns("")].processes.push_back(*std::move(process));
}

void FakeKernel::MountForTest(uint32_t pid, const std::string& path) {
  std::lock_guard<std::mutex> lock(mutex_);
  const KernelResult<uint64_t> cookie = LookAt({.path = "", .pid = pid});
  if (!cookie.ok()) return;
  if (absl::StartsWith(path, kNetnsDirectory)) {
    files_[path.substr(kNetnsDirectory.size())] = {.cookie = *cookie, .empty = true};
  } else {
    mounts_[path] = *cookie;
  }
}

void FakeKernel::UnmountForTest(const std::string& path) {
  std::lock_guard<std::mutex> lock(mutex_);
  const auto mount = mounts_.find(path);
  if (mount == mounts_.end()) return;
  const uint64_t cookie = mount->second;
  mounts_.erase(mount);
  DestroyIfUnused(cookie);
}

void FakeKernel::AddOddPathForTest(const std::string& path, int code) {
  std::lock_guard<std::mutex> lock(mutex_);
  odd_paths_[path] = code;
}

void FakeKernel::OverrunWatchesForTest() {
  std::lock_guard<std::mutex> lock(mutex_);
  for (const std::weak_ptr<FakeWatch>& weak : watches_) {
    if (auto watch = weak.lock()) watch->Tell({.kind = Hint::Kind::kEverything, .netns = {}, .ifindex = 0});
  }
}

void FakeKernel::RebootForTest() {
  std::lock_guard<std::mutex> lock(mutex_);
  Boot();
}

std::string FakeKernel::DumpForTest() const {
  std::lock_guard<std::mutex> lock(mutex_);
  std::string text;
  std::map<std::string, uint64_t> places = {{"(host)", host_cookie_}};
  for (const auto& [name, file] : files_) {
    if (file.cookie == 0) absl::StrAppend(&text, "file ", name, "\n");
    if (file.cookie != 0) places[name] = file.cookie;
  }
  int unnamed = 0;
  for (const auto& [cookie, netns] : namespaces_) {
    auto is_it = [of = cookie](const auto& item) { return item.second == of; };
    if (std::none_of(places.begin(), places.end(), is_it)) places[absl::StrCat("(unnamed ", ++unnamed, ")")] = cookie;
  }
  for (const auto& [name, cookie] : places) {
    absl::StrAppend(&text, "netns ", name, "\n");
    for (const auto& [sysctl, value] : namespaces_.at(cookie).sysctls) {
      if (value != DefaultSysctls().at(sysctl)) absl::StrAppend(&text, "  ", sysctl, " = ", value, "\n");
    }
    for (const auto& [ifindex, link] : namespaces_.at(cookie).links) {
      absl::StrAppend(&text, "  ", link.link.name, " ", link.link.mtu, " ", link.link.up ? "up" : "down", " ",
                      link.link.group, " ", JoinAlias(link.link.alias, link.link.options.alias), "\n");
      if (link.announcements > 0) absl::StrAppend(&text, "    announces\n");
      if (link.forwards_ipv4 != "0") absl::StrAppend(&text, "    forwards IPv4\n");
      if (link.forwards_ipv6 != "0") absl::StrAppend(&text, "    forwards IPv6\n");
      for (const std::string& other : link.link.alternative_names) absl::StrAppend(&text, "    altname ", other, "\n");
      if (auto bridge = namespaces_.at(cookie).links.find(link.link.master_ifindex);
          bridge != namespaces_.at(cookie).links.end()) {
        absl::StrAppend(&text, "    port of ", bridge->second.link.name, "\n");
      }
      if (link.bucket.has_value()) {
        absl::StrAppend(&text, "    tbf ", link.bucket->rate, " ", link.bucket->burst, " ", link.bucket->limit, "\n");
      }
      if (link.redirected_to != 0) absl::StrAppend(&text, "    redirected\n");
      for (const AddressSpec& address : link.ip.addresses) absl::StrAppend(&text, "    ", ToText(address), "\n");
      for (const NeighbourSpec& neighbour : link.ip.neighbours) {
        absl::StrAppend(&text, "    ", ToText(neighbour), "\n");
      }
      for (const RouteSpec& route : link.ip.routes) absl::StrAppend(&text, "    ", ToText(route), "\n");
    }
    for (const netlink::NatElement& element : namespaces_.at(cookie).nat) {
      absl::StrAppend(&text, "  nat ", ToString(element), " ", element.tag, "\n");
    }
    for (const RouteSpec& route : namespaces_.at(cookie).routes) absl::StrAppend(&text, "  ", ToText(route), "\n");
  }
  for (const auto& [name, files] : etc_) {
    absl::StrAppend(&text, "etc ", name, "\n");
    for (const auto& [file, content] : files) absl::StrAppend(&text, "  ", file, ":\n", content);
  }
  absl::StrAppend(&text, namespaces_.size(), " namespaces\n");
  return text;
}

// ---- Kernel

std::string FakeKernel::BootId() {
  std::lock_guard<std::mutex> lock(mutex_);
  return absl::StrCat("boot-", boots_);
}

KernelResult<uint64_t> FakeKernel::CreateNetns(const std::string& name, const std::string& alias,
                                               const Sysctls& sysctls) {
  if (auto error = Ask("CreateNetns"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  if (!IsFileName(name)) return Fail(EINVAL, "CreateNetns");
  FakeNetns trial{.sysctls = DefaultSysctls()};
  NETPROV_RETURN_IF_ERROR(Write(sysctls, trial));
  if (alias.size() > kLongestAlias) return Fail(ERANGE, "RTM_SETLINK lo");
  if (files_.contains(name)) return Fail(EEXIST, absl::StrCat("open(/run/netns/", name, ")"));
  const uint64_t cookie = AddNetns(alias);
  namespaces_[cookie].sysctls = std::move(trial.sysctls);
  files_[name].cookie = cookie;
  TellName(name);
  return cookie;
}

KernelResult<Sysctls> FakeKernel::FindSysctls(const NetnsRef& netns, const Sysctls& wanted) {
  if (auto error = Ask("FindSysctls"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  NETPROV_ASSIGN_OR_RETURN(FakeNetns * inside, Enter(netns));
  Sysctls found;
  for (const auto& [name, value] : wanted) {
    if (const std::string* now = FindSysctl(name, *inside); now != nullptr) found.emplace(name, *now);
  }
  return found;
}

KernelResult<void> FakeKernel::SetSysctls(const NetnsRef& netns, const Sysctls& sysctls) {
  if (auto error = Ask("SetSysctls"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  NETPROV_ASSIGN_OR_RETURN(FakeNetns * inside, Enter(netns));
  return Write(sysctls, *inside);
}

KernelResult<void> FakeKernel::SetEtcFiles(const std::string& name, const std::string& mark, const EtcFiles& files,
                                           bool owns_directory) {
  if (auto error = Ask("SetEtcFiles"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  if (!IsFileName(name)) return Fail(EINVAL, "SetEtcFiles");
  EtcFiles now;
  if (const auto there = etc_.find(name); there != etc_.end()) {
    now = there->second;
  } else if (files.empty()) {
    return {};
  }
  std::erase_if(now, [&mark](const auto& file) { return absl::StartsWith(file.second, mark + "\n"); });
  for (const auto& [file, text] : files) {
    if (!now.emplace(file, text).second) return Fail(EMEDIUMTYPE, absl::StrCat("write(/etc/netns/", name, ")"));
  }
  etc_[name] = std::move(now);
  if (files.empty() && owns_directory && etc_[name].empty()) etc_.erase(name);
  return {};
}

KernelResult<EtcEntry> FakeKernel::FindEtcFiles(const std::string& name) {
  if (auto error = Ask("FindEtcFiles"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  if (!IsFileName(name)) return Fail(EINVAL, "FindEtcFiles");
  const auto there = etc_.find(name);
  if (there == etc_.end()) return EtcEntry();
  return EtcEntry{.exists = true, .files = there->second};
}

KernelResult<std::vector<std::string>> FakeKernel::ListEtc() {
  if (auto error = Ask("ListEtc"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  std::vector<std::string> names;
  for (const auto& [name, files] : etc_) names.push_back(name);
  return names;
}

KernelResult<Inhabitants> FakeKernel::FindInhabitants(const NetnsRef& netns, size_t most) {
  if (auto error = Ask("FindInhabitants"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  NETPROV_ASSIGN_OR_RETURN(FakeNetns * inside, Enter(netns));
  Inhabitants inhabitants{.count = inside->processes.size(), .first = inside->processes};
  if (inhabitants.first.size() > most) inhabitants.first.resize(most);
  return inhabitants;
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

KernelResult<void> FakeKernel::RemoveNetns(const NetnsRef& netns) {
  if (auto error = Ask("RemoveNetns"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  KernelResult<FakeNetns*> inside = Enter(netns);
  if (!inside.ok()) {
    if (inside.error().code == ENOENT) return {};
    return std::move(inside).error();
  }
  files_.erase(netns.name);
  DestroyNetns(netns.cookie);
  TellName(netns.name);
  return {};
}

KernelResult<void> FakeKernel::RemoveStaleNetnsFile(const std::string& name) {
  if (auto error = Ask("RemoveStaleNetnsFile"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  auto file = files_.find(name);
  if (file == files_.end()) return {};
  if (file->second.cookie != 0 || !file->second.empty) return Fail(EMEDIUMTYPE, "RemoveStaleNetnsFile");
  files_.erase(file);
  return {};
}

KernelResult<std::optional<NetnsEntry>> FakeKernel::FindNetns(const std::string& name) {
  if (auto error = Ask("FindNetns"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  if (!IsFileName(name)) return Fail(EINVAL, "FindNetns");
  auto file = files_.find(name);
  if (file == files_.end()) return std::optional<NetnsEntry>();
  NetnsEntry entry{.name = name, .is_netns = file->second.cookie != 0, .cookie = file->second.cookie};
  if (entry.is_netns) {
    const Link& loopback = namespaces_[entry.cookie].links[kLoopbackIndex].link;
    entry.loopback_up = loopback.up;
    entry.loopback_alias = loopback.alias;
  }
  return std::optional(std::move(entry));
}

KernelResult<PlaceEntry> FakeKernel::FindPlace(const NetnsPlace& place) {
  if (auto error = Ask("FindPlace"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  NETPROV_ASSIGN_OR_RETURN(const uint64_t cookie, LookAt(place));
  return PlaceEntry{.cookie = cookie, .is_host = cookie == host_cookie_};
}

KernelResult<std::optional<NetnsPlace>> FakeKernel::FindWayIn(uint64_t cookie) {
  if (auto error = Ask("FindWayIn"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  const auto netns = namespaces_.find(cookie);
  if (netns == namespaces_.end() || netns->second.processes.empty()) return std::optional<NetnsPlace>();
  return std::optional(NetnsPlace{.path = "", .pid = static_cast<uint32_t>(netns->second.processes.front().pid)});
}

KernelResult<std::vector<std::string>> FakeKernel::ListNetns() {
  if (auto error = Ask("ListNetns"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  std::vector<std::string> names;
  for (const auto& [name, file] : files_) names.push_back(name);
  return names;
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

KernelResult<void> FakeKernel::Configure(const NetnsRef& netns, uint32_t ifindex,
                                         const std::vector<std::string>& alternative_names, const IpConfig& ip,
                                         bool anew) {
  if (auto error = Ask("Configure"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  NETPROV_ASSIGN_OR_RETURN(FakeNetns * inside, Enter(netns));
  auto found = inside->links.find(ifindex);
  if (found == inside->links.end()) return Fail(ENODEV, "RTM_NEWADDR");
  FakeLink& link = found->second;
  for (const std::string& name : alternative_names) {
    if (Find(*inside, name).has_value()) return Fail(EEXIST, absl::StrCat("RTM_NEWLINKPROP ", name));
    link.link.alternative_names.push_back(name);
  }
  if (anew) {
    for (const AddressSpec& address : ip.addresses) {
      std::erase_if(link.ip.addresses, [&](const AddressSpec& other) { return other.local == address.local; });
    }
    for (const RouteSpec& route : ip.routes) {
      std::erase_if(link.ip.routes, [&](const RouteSpec& other) { return HaveOneKey(other, route); });
    }
  }
  for (const AddressSpec& address : ip.addresses) {
    const bool has_it = std::any_of(link.ip.addresses.begin(), link.ip.addresses.end(),
                                    [&](const AddressSpec& other) { return other.local == address.local; });
    if (has_it) return Fail(EEXIST, absl::StrCat("RTM_NEWADDR ", address.local.ToString()));
    link.ip.addresses.push_back(address);
  }
  for (const NeighbourSpec& neighbour : ip.neighbours) {
    std::erase_if(link.ip.neighbours, [&](const NeighbourSpec& other) { return other.address == neighbour.address; });
    link.ip.neighbours.push_back(neighbour);
  }
  for (const RouteSpec& route : ip.routes) {
    if (!route.through_link()) continue;
    const std::string operation = absl::StrCat("RTM_NEWROUTE ", route.destination.ToString());
    if (!link.link.up) return Fail(ENETDOWN, operation, "Nexthop device is not up");
    if (HasRoute(*inside, route)) return Fail(EEXIST, operation);
    if (route.gateway.has_value() && !route.on_link && !LeadsTo(link.ip, *route.gateway)) {
      return Fail(ENETUNREACH, operation, "Nexthop has invalid gateway");
    }
    link.ip.routes.push_back(route);
  }
  return {};
}

KernelResult<void> FakeKernel::Unconfigure(const NetnsRef& netns, uint32_t ifindex,
                                           const std::vector<std::string>& alternative_names, const IpConfig& ip) {
  if (auto error = Ask("Unconfigure"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  NETPROV_ASSIGN_OR_RETURN(FakeNetns * inside, Enter(netns));
  auto found = inside->links.find(ifindex);
  if (found == inside->links.end()) return Fail(ENODEV, "RTM_GETLINK");
  FakeLink& link = found->second;
  for (const RouteSpec& route : ip.routes) std::erase(link.ip.routes, route);
  for (const NeighbourSpec& neighbour : ip.neighbours) {
    std::erase_if(link.ip.neighbours, [&](const NeighbourSpec& other) { return other.address == neighbour.address; });
  }
  for (const AddressSpec& address : ip.addresses) DeleteAddress(address, link.ip);
  for (const std::string& name : alternative_names) std::erase(link.link.alternative_names, name);
  TellLink(netns.is_host() ? host_cookie_ : netns.cookie, ifindex);
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

KernelResult<void> FakeKernel::Announce(const NetnsRef& netns, uint32_t ifindex) {
  if (auto error = Ask("Announce"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  NETPROV_ASSIGN_OR_RETURN(FakeNetns * inside, Enter(netns));
  const auto link = inside->links.find(ifindex);
  if (link == inside->links.end()) return Fail(ENODEV, "RTM_GETLINK");
  ++link->second.announcements;
  if (link->second.link.up) link->second.ip.neighbours.clear();
  return {};
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
  link.bucket = wanted.egress;
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

KernelResult<IpConfig> FakeKernel::FindIpConfig(const NetnsRef& netns, uint32_t ifindex) {
  if (auto error = Ask("FindIpConfig"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  NETPROV_ASSIGN_OR_RETURN(FakeNetns * inside, Enter(netns));
  auto found = inside->links.find(ifindex);
  return found == inside->links.end() ? IpConfig() : found->second.ip;
}

KernelResult<std::vector<RouteSpec>> FakeKernel::ListRoutesWithoutLink(const NetnsRef& netns) {
  if (auto error = Ask("ListRoutesWithoutLink"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  NETPROV_ASSIGN_OR_RETURN(FakeNetns * inside, Enter(netns));
  return inside->routes;
}

KernelResult<void> FakeKernel::AddRoutes(const NetnsRef& netns, const std::vector<RouteSpec>& routes) {
  if (auto error = Ask("AddRoutes"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  NETPROV_ASSIGN_OR_RETURN(FakeNetns * inside, Enter(netns));
  const std::vector<RouteSpec> before = inside->routes;
  for (const RouteSpec& route : routes) {
    if (HasRoute(*inside, route)) {
      inside->routes = before;
      return Fail(EEXIST, absl::StrCat("RTM_NEWROUTE ", route.destination.ToString()));
    }
    inside->routes.push_back(route);
  }
  return {};
}

KernelResult<void> FakeKernel::DeleteRoutes(const NetnsRef& netns, const std::vector<RouteSpec>& routes) {
  if (auto error = Ask("DeleteRoutes"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  NETPROV_ASSIGN_OR_RETURN(FakeNetns * inside, Enter(netns));
  for (const RouteSpec& route : routes) std::erase(inside->routes, route);
  TellLink(netns.is_host() ? host_cookie_ : netns.cookie, 0);
  return {};
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

KernelResult<std::vector<netlink::Address>> FakeKernel::ListAddresses(const NetnsRef& netns,
                                                                      std::optional<netlink::IpFamily> family,
                                                                      std::optional<uint32_t> ifindex) {
  if (auto error = Ask("ListAddresses"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  NETPROV_ASSIGN_OR_RETURN(FakeNetns * inside, Enter(netns));
  std::vector<netlink::Address> addresses;
  for (const auto& [index, link] : inside->links) {
    if (ifindex.value_or(index) != index) continue;
    for (const AddressSpec& address : link.ip.addresses) {
      if (family.value_or(address.local.address.family()) != address.local.address.family()) continue;
      addresses.push_back({.ifindex = static_cast<int>(index),
                           .local = address.local,
                           .peer = address.peer,
                           .scope = address.scope,
                           .flags = IFA_F_PERMANENT,
                           .protocol = link.ip_protocol});
    }
  }
  return addresses;
}

KernelResult<std::vector<netlink::Route>> FakeKernel::ListRoutes(const NetnsRef& netns,
                                                                 std::optional<netlink::IpFamily> family,
                                                                 std::optional<uint32_t> table) {
  if (auto error = Ask("ListRoutes"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  NETPROV_ASSIGN_OR_RETURN(FakeNetns * inside, Enter(netns));
  std::vector<netlink::Route> routes;
  const auto add = [&](const RouteSpec& route, uint32_t ifindex, uint8_t protocol) {
    const netlink::IpFamily its_family = route.destination.address.family();
    if (family.value_or(its_family) != its_family || table.value_or(route.table) != route.table) return;
    // The machine gives IPv6 routes that belong to no link the loopback link.
    if (ifindex == 0 && its_family == netlink::IpFamily::kIpv6) ifindex = kLoopbackIndex;
    netlink::Route added{.destination = route.destination,
                         .gateway = route.gateway,
                         .ifindex = std::nullopt,
                         .metric = route.metric,
                         .table = route.table,
                         .scope = route.scope,
                         .type = static_cast<uint8_t>(route.type),
                         .protocol = protocol,
                         .preferred_source = route.preferred_source,
                         .onlink = route.on_link,
                         .mtu = route.mtu};
    if (ifindex != 0) added.ifindex = static_cast<int>(ifindex);
    if (route.metric == 0 && its_family == netlink::IpFamily::kIpv4) added.metric = std::nullopt;
    routes.push_back(std::move(added));
  };
  for (const auto& [ifindex, link] : inside->links) {
    for (const RouteSpec& route : link.ip.routes) add(route, ifindex, link.ip_protocol);
  }
  for (const RouteSpec& route : inside->routes) add(route, 0, kOwnedProtocol);
  return routes;
}

KernelResult<std::vector<netlink::Neighbour>> FakeKernel::ListNeighbours(const NetnsRef& netns,
                                                                         std::optional<netlink::IpFamily> family,
                                                                         std::optional<uint32_t> ifindex) {
  if (auto error = Ask("ListNeighbours"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  NETPROV_ASSIGN_OR_RETURN(FakeNetns * inside, Enter(netns));
  std::vector<netlink::Neighbour> neighbours;
  for (const auto& [index, link] : inside->links) {
    if (ifindex.value_or(index) != index) continue;
    for (const NeighbourSpec& neighbour : link.ip.neighbours) {
      if (family.value_or(neighbour.address.family()) != neighbour.address.family()) continue;
      neighbours.push_back({.ifindex = static_cast<int>(index),
                            .address = neighbour.address,
                            .mac = neighbour.mac,
                            .protocol = link.ip_protocol});
    }
  }
  return neighbours;
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

}  // namespace netprov::engine
