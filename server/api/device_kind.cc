#include "server/api/device_kind.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "server/api/text.h"
#include "server/netlink/ip_address.h"
#include "server/netlink/link_info.h"
#include "server/netlink/mac_address.h"

namespace netprov::api {
namespace {

using netlink::IpAddress;
using netlink::IpFamily;
using netlink::IpvlanInfo;
using netlink::IpvlanMode;
using netlink::MacAddress;
using netlink::MacvlanInfo;
using netlink::MacvlanMode;
using netlink::VlanInfo;
using netlink::VlanProtocol;
using netlink::VxlanInfo;

constexpr int kMostSources = 256;
constexpr int kMostEntries = 1024;
constexpr uint32_t kGreatestVni = (1u << 24) - 1;
constexpr uint32_t kGreatestPort = 65535;
constexpr uint32_t kGreatestTtl = 255;
constexpr uint32_t kGreatestVlan = 4094;
constexpr int64_t kLongestAgeing = 1000000;  // seconds
constexpr uint16_t kPrivateFlag = 1;         // IPVLAN_F_PRIVATE
constexpr uint16_t kVepaFlag = 2;            // IPVLAN_F_VEPA

template <typename T>
T CheckNumber(const std::string& field, uint32_t number, uint32_t least, uint32_t greatest, Violations& violations) {
  if (number < least || number > greatest) {
    violations.Add(field, absl::StrCat("must be ", least, " to ", greatest, ", but is ", number));
  }
  return static_cast<T>(number);
}

bool IsMulticast(const IpAddress& address) {
  const auto first = static_cast<uint8_t>(address.bytes()[0]);
  return address.family() == IpFamily::kIpv4 ? first >> 4 == 14 : first == 255;
}

bool IsUnspecified(const IpAddress& address) {
  return absl::c_all_of(address.bytes(), [](std::byte byte) { return byte == std::byte{0}; });
}

std::optional<IpAddress> CheckAddress(const std::string& field, const std::string& text, bool may_be_group,
                                      Violations& violations) {
  std::optional<IpAddress> address = IpAddress::Parse(text);
  if (!address.has_value()) {
    violations.Add(field, absl::StrCat("must be an IP address, as 192.0.2.1 or 2001:db8::1, but is ", Quote(text)));
  } else if (IsUnspecified(*address) || (!may_be_group && IsMulticast(*address))) {
    violations.Add(field, absl::StrCat("must be the address of ", may_be_group ? "an endpoint or a group" : "a host",
                                       ", but is ", Quote(text)));
  }
  return address;
}

MacvlanMode ToMode(v1::Macvlan::Mode mode, Violations& violations) {
  switch (mode) {
    case v1::Macvlan::MODE_UNSPECIFIED:
    case v1::Macvlan::MODE_BRIDGE:
      return MacvlanMode::kBridge;
    case v1::Macvlan::MODE_PRIVATE:
      return MacvlanMode::kPrivate;
    case v1::Macvlan::MODE_VEPA:
      return MacvlanMode::kVepa;
    case v1::Macvlan::MODE_PASSTHRU:
      return MacvlanMode::kPassthru;
    case v1::Macvlan::MODE_SOURCE:
      return MacvlanMode::kSource;
    default:
      violations.Add("device.macvlan.mode", absl::StrCat("must be one of the modes that are defined, but is ", mode));
      return MacvlanMode::kBridge;
  }
}

MacvlanInfo ToInfo(const v1::Macvlan& proto, const v1::Device& device, Violations& violations) {
  const std::string field = "device.macvlan.source_mac_addresses";
  MacvlanInfo info{.lower = 0, .mode = ToMode(proto.mode(), violations), .flags = 0, .sources = {}};
  if (info.mode == MacvlanMode::kPassthru && !device.mac_address().empty()) {
    violations.Add("device.mac_address",
                   "must not be set of a macvlan that passes through: it has that of lower_interface");
  }
  if (proto.source_mac_addresses_size() != 0 && info.mode != MacvlanMode::kSource) {
    violations.Add(field, "must not be set but in MODE_SOURCE");
  }
  if (proto.source_mac_addresses_size() > kMostSources) {
    violations.Add(field,
                   absl::StrCat("must be at most ", kMostSources, ", but are ", proto.source_mac_addresses_size()));
    return info;
  }
  for (int i = 0; i < proto.source_mac_addresses_size(); ++i) {
    const std::string at = absl::StrCat(field, "[", i, "]");
    const std::string& text = proto.source_mac_addresses(i);
    if (text.empty()) violations.Add(at, "must be a MAC address, as 02:00:5e:10:00:01, but is empty");
    const std::optional<MacAddress> source = CheckMacAddress(at, text, violations);
    if (!source.has_value()) continue;
    if (absl::c_linear_search(info.sources, *source)) {
      violations.Add(at, absl::StrCat("must differ from the others, but ", Quote(text), " is there twice"));
    }
    info.sources.push_back(*source);
  }
  return info;
}

// An entry's hardware address may be zero, or a group's.
std::optional<MacAddress> CheckEntryMac(const std::string& field, const std::string& text, Violations& violations) {
  std::optional<MacAddress> mac = MacAddress::Parse(text);
  if (!mac.has_value()) {
    violations.Add(field,
                   absl::StrCat("must be a MAC address, as 02:00:5e:10:00:01, or 00:00:00:00:00:00 for all that ",
                                "have no entry, but is ", Quote(text)));
  }
  return mac;
}

void AddEntry(const std::string& field, const v1::Vxlan::FdbEntry& proto, engine::VxlanOptions& options,
              Violations& violations) {
  const std::optional<MacAddress> mac = CheckEntryMac(field + ".mac_address", proto.mac_address(), violations);
  const std::optional<IpAddress> destination =
      CheckAddress(field + ".destination", proto.destination(), /*may_be_group=*/false, violations);
  engine::FdbEntry entry;
  if (proto.port() != 0) {
    entry.port = CheckNumber<uint16_t>(field + ".port", proto.port(), 1, kGreatestPort, violations);
  }
  if (proto.vni() != 0) entry.vni = CheckNumber<uint32_t>(field + ".vni", proto.vni(), 1, kGreatestVni, violations);
  if (!mac.has_value() || !destination.has_value()) return;
  entry.mac = *mac;
  entry.destination = *destination;
  const bool has_several = mac->IsZero() || !mac->IsUnicast();
  // As the kernel has it, for which the device's own port and vni are none.
  auto bare = [&](engine::FdbEntry of) {
    if (of.port == options.info.port) of.port.reset();
    if (of.vni == options.info.vni) of.vni.reset();
    return of;
  };
  const bool twice = absl::c_any_of(options.fdb, [&](const engine::FdbEntry& other) {
    return has_several ? bare(other) == bare(entry) : other.mac == entry.mac;
  });
  const engine::FdbEntry of_remote{
      .mac = {}, .destination = options.info.remote.value_or(IpAddress()), .port = std::nullopt, .vni = std::nullopt};
  if (options.info.remote.has_value() && bare(entry) == of_remote) {
    violations.Add(field, "must not be what remote is: the kernel has one entry for both");
  }
  if (twice)
    violations.Add(field, absl::StrCat("must differ from the others, but ", mac->ToString(), " is there twice"));
  options.fdb.push_back(entry);
}

// What vxlan_fdb_parse() and vxlan_config_validate() refuse with words that nobody would understand.
void CheckFamilies(const engine::VxlanOptions& options, Violations& violations) {
  const VxlanInfo& info = options.info;
  if (info.local.has_value() && info.remote.has_value() && info.local->family() != info.remote->family()) {
    violations.Add("device.vxlan.local", "must be of the same family as remote");
    return;
  }
  IpFamily family = IpFamily::kIpv4;
  if (info.local.has_value()) family = info.local->family();
  if (info.remote.has_value()) family = info.remote->family();
  const bool differs =
      absl::c_any_of(options.fdb, [&](const engine::FdbEntry& entry) { return entry.destination.family() != family; });
  if (!differs) return;
  violations.Add("device.vxlan.fdb",
                 absl::StrCat("must have destinations of the family of local and remote, which are ",
                              family == IpFamily::kIpv4 ? "IPv4; for IPv6, set local" : "IPv6"));
}

engine::VxlanOptions ToInfo(const v1::Vxlan& proto, const v1::Device& device, Violations& violations) {
  engine::VxlanOptions options;
  VxlanInfo& info = options.info;
  info.vni = CheckNumber<uint32_t>("device.vxlan.vni", proto.vni(), 1, kGreatestVni, violations);
  if (!proto.local().empty()) {
    info.local = CheckAddress("device.vxlan.local", proto.local(), /*may_be_group=*/false, violations);
  }
  if (!proto.remote().empty()) {
    info.remote = CheckAddress("device.vxlan.remote", proto.remote(), /*may_be_group=*/true, violations);
    if (info.remote.has_value() && IsMulticast(*info.remote) && device.lower_interface().empty()) {
      violations.Add("device.lower_interface", "must be set where vxlan.remote is a multicast group");
    }
  }
  if (proto.port() != 0) {
    info.port = CheckNumber<uint16_t>("device.vxlan.port", proto.port(), 1, kGreatestPort, violations);
  }
  info.ttl = CheckNumber<uint8_t>("device.vxlan.ttl", proto.ttl(), 0, kGreatestTtl, violations);
  if (proto.has_learning()) info.learning = proto.learning();
  info.proxy = proto.proxy();
  if (proto.has_ageing_time()) {
    const int64_t seconds = proto.ageing_time().seconds();
    if (proto.ageing_time().nanos() != 0 || seconds < 1 || seconds > kLongestAgeing) {
      violations.Add("device.vxlan.ageing_time", absl::StrCat("must be whole seconds, 1s to ", kLongestAgeing, "s"));
    } else {
      info.ageing = std::chrono::duration<uint32_t>(static_cast<uint32_t>(seconds));
    }
  }
  if (proto.fdb_size() > kMostEntries) {
    violations.Add("device.vxlan.fdb", absl::StrCat("must be at most ", kMostEntries, ", but are ", proto.fdb_size()));
    return options;
  }
  for (int i = 0; i < proto.fdb_size(); ++i) {
    AddEntry(absl::StrCat("device.vxlan.fdb[", i, "]"), proto.fdb(i), options, violations);
  }
  CheckFamilies(options, violations);
  return options;
}

VlanInfo ToInfo(const v1::Vlan& proto, Violations& violations) {
  VlanInfo info{.lower = 0,
                .id = CheckNumber<uint16_t>("device.vlan.id", proto.id(), 1, kGreatestVlan, violations),
                .protocol = VlanProtocol::kDot1Q};
  if (proto.protocol() == v1::Vlan::PROTOCOL_DOT1AD) {
    info.protocol = VlanProtocol::kDot1Ad;
  } else if (proto.protocol() != v1::Vlan::PROTOCOL_UNSPECIFIED && proto.protocol() != v1::Vlan::PROTOCOL_DOT1Q) {
    violations.Add("device.vlan.protocol",
                   absl::StrCat("must be PROTOCOL_DOT1Q or PROTOCOL_DOT1AD, but is ", proto.protocol()));
  }
  return info;
}

IpvlanInfo ToInfo(const v1::Ipvlan& proto, const v1::Device& device, Violations& violations) {
  IpvlanInfo info;
  if (!device.mac_address().empty()) {
    violations.Add("device.mac_address", "must not be set of an ipvlan: it has that of lower_interface");
  }
  switch (proto.mode()) {
    case v1::Ipvlan::MODE_UNSPECIFIED:
    case v1::Ipvlan::MODE_L3:
      info.mode = IpvlanMode::kL3;
      break;
    case v1::Ipvlan::MODE_L2:
      info.mode = IpvlanMode::kL2;
      break;
    case v1::Ipvlan::MODE_L3S:
      info.mode = IpvlanMode::kL3s;
      break;
    default:
      violations.Add("device.ipvlan.mode",
                     absl::StrCat("must be one of the modes that are defined, but is ", proto.mode()));
  }
  switch (proto.mode_flag()) {
    case v1::Ipvlan::MODE_FLAG_UNSPECIFIED:
    case v1::Ipvlan::MODE_FLAG_BRIDGE:
      break;
    case v1::Ipvlan::MODE_FLAG_PRIVATE:
      info.flags = kPrivateFlag;
      break;
    case v1::Ipvlan::MODE_FLAG_VEPA:
      info.flags = kVepaFlag;
      break;
    default:
      violations.Add("device.ipvlan.mode_flag",
                     absl::StrCat("must be one of the flags that are defined, but is ", proto.mode_flag()));
  }
  return info;
}

void AddKind(const MacvlanInfo& info, v1::Device& device) {
  v1::Macvlan& proto = *device.mutable_macvlan();
  switch (info.mode) {
    case MacvlanMode::kPrivate:
      proto.set_mode(v1::Macvlan::MODE_PRIVATE);
      break;
    case MacvlanMode::kVepa:
      proto.set_mode(v1::Macvlan::MODE_VEPA);
      break;
    case MacvlanMode::kBridge:
      proto.set_mode(v1::Macvlan::MODE_BRIDGE);
      break;
    case MacvlanMode::kPassthru:
      proto.set_mode(v1::Macvlan::MODE_PASSTHRU);
      break;
    case MacvlanMode::kSource:
      proto.set_mode(v1::Macvlan::MODE_SOURCE);
      break;
  }
  for (const MacAddress& source : info.sources) proto.add_source_mac_addresses(source.ToString());
}

void AddKind(const engine::VxlanOptions& options, v1::Device& device) {
  v1::Vxlan& proto = *device.mutable_vxlan();
  const VxlanInfo& info = options.info;
  proto.set_vni(info.vni);
  if (info.local.has_value()) proto.set_local(info.local->ToString());
  if (info.remote.has_value()) proto.set_remote(info.remote->ToString());
  proto.set_port(info.port);
  proto.set_ttl(info.ttl);
  proto.set_learning(info.learning);
  proto.set_proxy(info.proxy);
  proto.mutable_ageing_time()->set_seconds(info.ageing.count());
  for (const engine::FdbEntry& entry : options.fdb) {
    v1::Vxlan::FdbEntry& added = *proto.add_fdb();
    added.set_mac_address(entry.mac.ToString());
    added.set_destination(entry.destination.ToString());
    added.set_port(entry.port.value_or(0));
    added.set_vni(entry.vni.value_or(0));
  }
}

void AddKind(const VlanInfo& info, v1::Device& device) {
  v1::Vlan& proto = *device.mutable_vlan();
  proto.set_id(info.id);
  proto.set_protocol(info.protocol == VlanProtocol::kDot1Ad ? v1::Vlan::PROTOCOL_DOT1AD : v1::Vlan::PROTOCOL_DOT1Q);
}

void AddKind(const IpvlanInfo& info, v1::Device& device) {
  v1::Ipvlan& proto = *device.mutable_ipvlan();
  switch (info.mode) {
    case IpvlanMode::kL2:
      proto.set_mode(v1::Ipvlan::MODE_L2);
      break;
    case IpvlanMode::kL3:
      proto.set_mode(v1::Ipvlan::MODE_L3);
      break;
    case IpvlanMode::kL3s:
      proto.set_mode(v1::Ipvlan::MODE_L3S);
      break;
  }
  proto.set_mode_flag(v1::Ipvlan::MODE_FLAG_BRIDGE);
  if ((info.flags & kPrivateFlag) != 0) proto.set_mode_flag(v1::Ipvlan::MODE_FLAG_PRIVATE);
  if ((info.flags & kVepaFlag) != 0) proto.set_mode_flag(v1::Ipvlan::MODE_FLAG_VEPA);
}

void AddKind(const netlink::DummyInfo&, v1::Device& device) { device.mutable_dummy(); }
void AddKind(const netlink::IfbInfo&, v1::Device& device) { device.mutable_ifb(); }
void AddKind(const netlink::BridgeInfo&, v1::Device&) {}

}  // namespace

engine::DeviceOptions ToOptions(const v1::Device& device, Violations& violations) {
  switch (device.kind_case()) {
    case v1::Device::kMacvlan:
      return ToInfo(device.macvlan(), device, violations);
    case v1::Device::kVxlan:
      return ToInfo(device.vxlan(), device, violations);
    case v1::Device::kVlan:
      return ToInfo(device.vlan(), violations);
    case v1::Device::kIpvlan:
      return ToInfo(device.ipvlan(), device, violations);
    case v1::Device::kDummy:
      return netlink::DummyInfo();
    case v1::Device::kIfb:
      return netlink::IfbInfo();
    case v1::Device::KIND_NOT_SET:
      break;
  }
  violations.Add("device", "must say what it is: set macvlan, vxlan, vlan, ipvlan, dummy or ifb");
  return netlink::DummyInfo();
}

engine::LowerSpec ToLower(const v1::Device& device, Violations& violations) {
  engine::LowerSpec lower;
  const bool has_lower = device.kind_case() != v1::Device::kDummy && device.kind_case() != v1::Device::kIfb &&
                         device.kind_case() != v1::Device::KIND_NOT_SET;
  if (!has_lower) {
    if (!device.lower_interface().empty()) {
      violations.Add("device.lower_interface", "must not be set: the device stands on nothing");
    }
    if (!device.lower_namespace().empty()) {
      violations.Add("device.lower_namespace", "must not be set: the device stands on nothing");
    }
    return lower;
  }
  if (!device.lower_namespace().empty()) {
    lower.namespace_id = CheckNamespaceName("device.lower_namespace", device.lower_namespace(), violations);
  }
  if (device.lower_interface().empty()) {
    if (device.kind_case() != v1::Device::kVxlan) {
      violations.Add("device.lower_interface", "must be set: the device stands on a link");
    }
    return lower;
  }
  lower.interface_name = CheckInterfaceName("device.lower_interface", device.lower_interface(), violations);
  if (IsInterfaceNamePattern(lower.interface_name)) {
    violations.Add("device.lower_interface", "must be the name of a link, without %d");
  }
  return lower;
}

void AddToProto(const engine::DeviceOptions& options, v1::Device& device) {
  std::visit([&device](const auto& of_kind) { AddKind(of_kind, device); }, options);
}

}  // namespace netprov::api
