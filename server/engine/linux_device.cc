#include "server/engine/linux_device.h"

#include <linux/neighbour.h>

#include <optional>
#include <utility>
#include <variant>

#include "server/netlink/link.h"
#include "server/netlink/mac_address.h"

namespace netprov::engine {
namespace {

using netlink::BridgeInfo;
using netlink::DummyInfo;
using netlink::IfbInfo;
using netlink::IpvlanInfo;
using netlink::LinkInfo;
using netlink::MacvlanInfo;
using netlink::VlanInfo;
using netlink::VxlanInfo;

// Whether it may have several destinations, to which packets are copied.
bool HasSeveral(const netlink::MacAddress& mac) { return mac.IsZero() || !mac.IsUnicast(); }

netlink::FdbEntry ToNetlink(uint32_t ifindex, const FdbEntry& entry) {
  return {.ifindex = static_cast<int>(ifindex),
          .mac = entry.mac,
          .flags = NTF_SELF,
          .state = NUD_PERMANENT,
          .vlan = std::nullopt,
          .destination = entry.destination,
          .port = entry.port,
          .vni = entry.vni,
          .lower = std::nullopt,
          .master = std::nullopt};
}

}  // namespace

LinkInfo ToLinkInfo(const DeviceOptions& options, uint32_t lower) {
  const int index = static_cast<int>(lower);
  LinkInfo info;
  if (const auto* vxlan = std::get_if<VxlanOptions>(&options); vxlan != nullptr) {
    VxlanInfo made = vxlan->info;
    if (lower != 0) made.lower = index;
    info = made;
  } else if (const auto* macvlan = std::get_if<MacvlanInfo>(&options); macvlan != nullptr) {
    MacvlanInfo made = *macvlan;
    made.lower = index;
    info = std::move(made);
  } else if (const auto* vlan = std::get_if<VlanInfo>(&options); vlan != nullptr) {
    info = VlanInfo{.lower = index, .id = vlan->id, .protocol = vlan->protocol};
  } else if (const auto* ipvlan = std::get_if<IpvlanInfo>(&options); ipvlan != nullptr) {
    info = IpvlanInfo{.lower = index, .mode = ipvlan->mode, .flags = ipvlan->flags};
  } else if (std::holds_alternative<DummyInfo>(options)) {
    info = DummyInfo();
  } else if (std::holds_alternative<IfbInfo>(options)) {
    info = IfbInfo();
  } else {
    info = std::get<BridgeInfo>(options);
  }
  return info;
}

void AddDevice(const LinkInfo& info, Link& link) {
  if (const auto* vxlan = std::get_if<VxlanInfo>(&info); vxlan != nullptr) {
    VxlanOptions options{.info = *vxlan, .fdb = {}};
    link.lower_ifindex = static_cast<uint32_t>(vxlan->lower.value_or(0));
    options.info.lower.reset();
    link.device = std::move(options);
  } else if (const auto* macvlan = std::get_if<MacvlanInfo>(&info); macvlan != nullptr) {
    MacvlanInfo options = *macvlan;
    link.lower_ifindex = static_cast<uint32_t>(std::exchange(options.lower, 0));
    link.device = std::move(options);
  } else if (const auto* vlan = std::get_if<VlanInfo>(&info); vlan != nullptr) {
    link.lower_ifindex = static_cast<uint32_t>(vlan->lower);
    link.device = VlanInfo{.lower = 0, .id = vlan->id, .protocol = vlan->protocol};
  } else if (const auto* ipvlan = std::get_if<IpvlanInfo>(&info); ipvlan != nullptr) {
    link.lower_ifindex = static_cast<uint32_t>(ipvlan->lower);
    link.device = IpvlanInfo{.lower = 0, .mode = ipvlan->mode, .flags = ipvlan->flags};
  } else if (std::holds_alternative<DummyInfo>(info)) {
    link.device = DummyInfo();
  } else if (std::holds_alternative<IfbInfo>(info)) {
    link.device = IfbInfo();
  } else if (const auto* bridge = std::get_if<BridgeInfo>(&info); bridge != nullptr) {
    link.device = *bridge;
  }
}

void AddDeviceRequests(uint32_t ifindex, const DeviceOptions& options, std::vector<netlink::Request>& requests) {
  const netlink::LinkRef link = static_cast<int>(ifindex);
  if (const auto* bridge = std::get_if<BridgeInfo>(&options); bridge != nullptr) {
    requests.push_back(netlink::EncodeSetBridge(link, *bridge));
    return;
  }
  requests.push_back(netlink::EncodeSetLinkInfo(link, ToLinkInfo(options, 0)));
  AddFdbRequests(ifindex, options, requests);
}

void AddFdbRequests(uint32_t ifindex, const DeviceOptions& options, std::vector<netlink::Request>& requests) {
  const auto* vxlan = std::get_if<VxlanOptions>(&options);
  if (vxlan == nullptr) return;
  for (const FdbEntry& entry : vxlan->fdb) {
    // One that it has learnt gives way.
    requests.push_back(HasSeveral(entry.mac) ? netlink::EncodeAppendFdbEntry(ToNetlink(ifindex, entry))
                                             : netlink::EncodeReplaceFdbEntry(ToNetlink(ifindex, entry)));
  }
}

netlink::Request DeletionOf(uint32_t ifindex, const FdbEntry& entry) {
  return netlink::EncodeDeleteFdbEntry(ToNetlink(ifindex, entry));
}

std::vector<FdbEntry> WithDestination(std::span<const netlink::FdbEntry> entries) {
  std::vector<FdbEntry> result;
  for (const netlink::FdbEntry& entry : entries) {
    if (!entry.destination.has_value()) continue;
    result.push_back({.mac = entry.mac, .destination = *entry.destination, .port = entry.port, .vni = entry.vni});
  }
  return result;
}

}  // namespace netprov::engine
