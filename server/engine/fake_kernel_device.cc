// The devices of FakeKernel that are no bridges.
#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/engine/fake_kernel.h"
#include "server/netlink/link_info.h"
#include "server/netlink/mac_address.h"

namespace netprov::engine {
namespace {

using netlink::IpvlanInfo;
using netlink::MacvlanInfo;
using netlink::MacvlanMode;
using netlink::VlanInfo;

constexpr uint32_t kVxlanOverhead = 50;  // VXLAN_HEADROOM

KernelError Refusal(int code, const LinkSpec& spec, const DeviceOptions& options, std::string extack = "") {
  return {.code = code,
          .operation = absl::StrCat("RTM_NEWLINK ", spec.name, " type ", KindOf(options)),
          .extack = std::move(extack)};
}

bool IsGroup(const std::optional<netlink::IpAddress>& address) {
  if (!address.has_value()) return false;
  const auto first = static_cast<uint8_t>(address->bytes()[0]);
  return address->family() == netlink::IpFamily::kIpv4 ? first >> 4 == 14 : first == 255;
}

// Without what is the device's own.
FdbEntry AsShown(FdbEntry entry, const netlink::VxlanInfo& vxlan) {
  if (entry.port == vxlan.port) entry.port.reset();
  if (entry.vni == vxlan.vni) entry.vni.reset();
  return entry;
}

}  // namespace

KernelResult<void> FakeKernel::CheckMacvlan(const LinkSpec& spec, const MacvlanInfo& macvlan, uint64_t cookie,
                                            uint32_t lower) {
  const Link& below = namespaces_[cookie].links[lower].link;
  if (below.ifindex == kLoopbackIndex) return Refusal(EINVAL, spec, macvlan);
  if (below.master_ifindex != 0) return Refusal(EBUSY, spec, macvlan);
  if (!macvlan.sources.empty() && macvlan.mode != MacvlanMode::kSource) return Refusal(EINVAL, spec, macvlan);
  for (const auto& [where, netns] : namespaces_) {
    for (const auto& [index, link] : netns.links) {
      if (link.lower_cookie != cookie || link.link.lower_ifindex != lower) continue;
      if (link.link.kind == "ipvlan") return Refusal(EBUSY, spec, macvlan);
      if (link.link.kind != "macvlan") continue;
      const bool passes = std::get<MacvlanInfo>(*link.link.device).mode == MacvlanMode::kPassthru;
      if (passes || macvlan.mode == MacvlanMode::kPassthru) return Refusal(EINVAL, spec, macvlan);
    }
  }
  return {};
}

KernelResult<void> FakeKernel::CheckBeside(const LinkSpec& spec, const DeviceOptions& options, uint64_t cookie,
                                           uint32_t lower) {
  const bool is_ipvlan = std::holds_alternative<IpvlanInfo>(options);
  const Link& below = namespaces_[cookie].links[lower].link;
  if (is_ipvlan && below.ifindex == kLoopbackIndex) return Refusal(EINVAL, spec, options);
  if (is_ipvlan && below.master_ifindex != 0) return Refusal(EBUSY, spec, options);
  for (const auto& [where, index] : StandingOn(cookie, lower)) {
    const Link& other = namespaces_[where].links[index].link;
    if (is_ipvlan && other.kind == "macvlan") return Refusal(EBUSY, spec, options);
    const auto* vlan = std::get_if<VlanInfo>(&options);
    if (vlan == nullptr || other.kind != "vlan") continue;
    const auto& there = std::get<VlanInfo>(*other.device);
    if (there.id == vlan->id && there.protocol == vlan->protocol) {
      return Refusal(EEXIST, spec, options, "VLAN device already exists");
    }
  }
  return {};
}

KernelResult<void> FakeKernel::CheckVxlan(const LinkSpec& spec, const VxlanOptions& vxlan, uint64_t cookie,
                                          uint32_t lower) const {
  if (IsGroup(vxlan.info.remote) && lower == 0) {
    return Refusal(EINVAL, spec, vxlan, "Local interface required for multicast remote destination");
  }
  for (const auto& [where, netns] : namespaces_) {
    for (const auto& [index, link] : netns.links) {
      // Whatever they stand on.
      if (link.link.kind != "vxlan" || link.lower_cookie != cookie) continue;
      const netlink::VxlanInfo& other = std::get<VxlanOptions>(*link.link.device).info;
      if (other.vni != vxlan.info.vni || other.port != vxlan.info.port) continue;
      return Refusal(EEXIST, spec, vxlan, "A VXLAN device with the specified VNI already exists");
    }
  }
  return {};
}

KernelResult<FakeKernel::FakeLink> FakeKernel::NewDevice(const LinkSpec& spec, const DeviceOptions& options) {
  FakeLink device;
  Link& link = device.link;
  link.device = options;
  link.mtu = 1500;
  if (auto* vxlan = std::get_if<VxlanOptions>(&*link.device); vxlan != nullptr) vxlan->fdb.clear();
  if (!spec.lower.has_value()) return device;
  NETPROV_ASSIGN_OR_RETURN(FakeNetns * below, Enter(spec.lower->netns));
  device.lower_cookie = spec.lower->netns.is_host() ? host_cookie_ : spec.lower->netns.cookie;
  link.lower_ifindex = spec.lower->ifindex;
  if (link.lower_ifindex != 0) {
    auto lower = below->links.find(link.lower_ifindex);
    if (lower == below->links.end()) return Refusal(ENODEV, spec, options);
    link.mtu = lower->second.link.mtu;
    link.mac = lower->second.link.mac;
    // One on a macvlan stands beside it.
    if (lower->second.link.kind == "macvlan" && std::holds_alternative<MacvlanInfo>(options)) {
      device.lower_cookie = lower->second.lower_cookie;
      link.lower_ifindex = lower->second.link.lower_ifindex;
    }
  }
  if (const auto* macvlan = std::get_if<MacvlanInfo>(&options); macvlan != nullptr) {
    if (spec.mtu.value_or(0) > link.mtu) return Refusal(EINVAL, spec, options);
    NETPROV_RETURN_IF_ERROR(CheckMacvlan(spec, *macvlan, device.lower_cookie, link.lower_ifindex));
    if (macvlan->mode != MacvlanMode::kPassthru) link.mac = {};
  } else if (const auto* vxlan = std::get_if<VxlanOptions>(&options); vxlan != nullptr) {
    NETPROV_RETURN_IF_ERROR(CheckVxlan(spec, *vxlan, device.lower_cookie, link.lower_ifindex));
    if (link.lower_ifindex != 0) link.mtu -= kVxlanOverhead;
    link.mac = {};
    AddFdb(*vxlan, device);
  } else {
    NETPROV_RETURN_IF_ERROR(CheckBeside(spec, options, device.lower_cookie, link.lower_ifindex));
  }
  return device;
}

void FakeKernel::Become(const FakeLink& device, const LinkSpec& spec, FakeLink& made) {
  made.link.device = device.link.device;
  made.link.lower_ifindex = device.link.lower_ifindex;
  made.lower_cookie = device.lower_cookie;
  made.fdb = device.fdb;
  if (!spec.mtu.has_value()) made.link.mtu = device.link.mtu;
  if (!spec.mac.has_value() && !device.link.mac.IsZero()) made.link.mac = device.link.mac;
}

void FakeKernel::AddFdb(const VxlanOptions& vxlan, FakeLink& link) {
  for (FdbEntry entry : vxlan.fdb) {
    entry = AsShown(entry, vxlan.info);
    const bool has_several = entry.mac.IsZero() || !entry.mac.IsUnicast();
    std::erase_if(link.fdb,
                  [&](const FdbEntry& other) { return has_several ? other == entry : other.mac == entry.mac; });
    link.fdb.push_back(entry);
  }
}

void FakeKernel::RemoveFdb(const FdbEntry& entry, FakeLink& link) {
  if (link.link.kind != "vxlan") return;
  std::erase(link.fdb, AsShown(entry, std::get<VxlanOptions>(*link.link.device).info));
}

KernelResult<void> FakeKernel::SetDevice(const DeviceOptions& wanted, FakeLink& link) {
  DeviceOptions& now = *link.link.device;
  if (const auto* macvlan = std::get_if<MacvlanInfo>(&wanted); macvlan != nullptr) {
    auto& set = std::get<MacvlanInfo>(now);
    if ((macvlan->mode == MacvlanMode::kPassthru) != (set.mode == MacvlanMode::kPassthru)) {
      return KernelError{.code = EINVAL, .operation = absl::StrCat("RTM_NEWLINK ", link.link.name), .extack = {}};
    }
    set.mode = macvlan->mode;
    set.sources.clear();
    if (set.mode == MacvlanMode::kSource) set.sources = macvlan->sources;
  } else if (const auto* vxlan = std::get_if<VxlanOptions>(&wanted); vxlan != nullptr) {
    netlink::VxlanInfo& info = std::get<VxlanOptions>(now).info;
    for (auto address : {&netlink::VxlanInfo::remote, &netlink::VxlanInfo::local}) {
      const std::optional<netlink::IpAddress>& set = vxlan->info.*address;
      if (!set.has_value()) continue;
      info.*address = set;
      if (*set == netlink::IpAddress::Any(set->family())) (info.*address).reset();
    }
    info.ttl = vxlan->info.ttl;
    info.learning = vxlan->info.learning;
    info.ageing = vxlan->info.ageing;
    AddFdb(*vxlan, link);
  } else if (const auto* ipvlan = std::get_if<IpvlanInfo>(&wanted); ipvlan != nullptr) {
    now = *ipvlan;
  }
  return {};
}

void FakeKernel::DeleteFdbForTest(const NetnsRef& netns, const std::string& name) {
  std::lock_guard<std::mutex> lock(mutex_);
  KernelResult<FakeNetns*> inside = Enter(netns);
  if (!inside.ok()) return;
  for (auto& [ifindex, link] : (*inside)->links) {
    if (link.link.name == name) link.fdb.clear();
  }
}

std::vector<std::pair<uint64_t, uint32_t>> FakeKernel::StandingOn(uint64_t cookie, uint32_t ifindex) const {
  std::vector<std::pair<uint64_t, uint32_t>> uppers;
  for (const auto& [where, netns] : namespaces_) {
    for (const auto& [index, link] : netns.links) {
      const bool stands = link.lower_cookie == cookie && link.link.lower_ifindex == ifindex;
      if (stands) uppers.emplace_back(where, index);
    }
  }
  return uppers;
}

KernelResult<std::vector<FdbEntry>> FakeKernel::ListFdb(const NetnsRef& netns, uint32_t ifindex) {
  if (auto error = Ask("ListFdb"); error.has_value()) return *error;
  std::lock_guard<std::mutex> lock(mutex_);
  NETPROV_ASSIGN_OR_RETURN(FakeNetns * inside, Enter(netns));
  std::vector<FdbEntry> entries;
  const auto found = inside->links.find(ifindex);
  if (found == inside->links.end() || found->second.link.kind != "vxlan") return entries;
  entries = found->second.fdb;
  // The remote endpoint is one, too.
  const netlink::VxlanInfo& info = std::get<VxlanOptions>(*found->second.link.device).info;
  const FdbEntry remote{
      .mac = {}, .destination = info.remote.value_or(netlink::IpAddress()), .port = std::nullopt, .vni = std::nullopt};
  if (info.remote.has_value() && std::find(entries.begin(), entries.end(), remote) == entries.end()) {
    entries.push_back(remote);
  }
  return entries;
}

}  // namespace netprov::engine
