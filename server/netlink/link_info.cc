#include "server/netlink/link_info.h"

#include <arpa/inet.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <type_traits>
#include <utility>

#include "absl/strings/str_cat.h"

namespace netprov::netlink {
namespace {

// The kernel's name of each kind.
const char* KindOf(const BridgeInfo&) { return "bridge"; }
const char* KindOf(const MacvlanInfo&) { return "macvlan"; }
const char* KindOf(const VxlanInfo&) { return "vxlan"; }
const char* KindOf(const VlanInfo&) { return "vlan"; }
const char* KindOf(const IpvlanInfo&) { return "ipvlan"; }
const char* KindOf(const DummyInfo&) { return "dummy"; }
const char* KindOf(const IfbInfo&) { return "ifb"; }
const char* KindOf(std::monostate) { return ""; }

// What stands beside IFLA_LINKINFO for the kinds that have a lower link.
void PutLower(MessageBuilder& message, int lower) {
  if (lower <= 0) message.Fail(EINVAL);
  message.PutU32(IFLA_LINK, static_cast<uint32_t>(lower));
}

template <typename T>
void PutLowerOf(MessageBuilder& message, const T& info) {
  if constexpr (std::is_same_v<T, MacvlanInfo> || std::is_same_v<T, VlanInfo> || std::is_same_v<T, IpvlanInfo>) {
    PutLower(message, info.lower);
  }
}

void PutData(MessageBuilder& message, const BridgeInfo& bridge) {
  if (bridge.forward_delay) message.PutU32(IFLA_BR_FORWARD_DELAY, bridge.forward_delay->count());
  if (bridge.hello_time) message.PutU32(IFLA_BR_HELLO_TIME, bridge.hello_time->count());
  if (bridge.max_age) message.PutU32(IFLA_BR_MAX_AGE, bridge.max_age->count());
  if (bridge.ageing_time) message.PutU32(IFLA_BR_AGEING_TIME, bridge.ageing_time->count());
  if (bridge.stp) message.PutU32(IFLA_BR_STP_STATE, *bridge.stp ? 1 : 0);
  if (bridge.priority) message.PutU16(IFLA_BR_PRIORITY, *bridge.priority);
  if (bridge.vlan_filtering) message.PutU8(IFLA_BR_VLAN_FILTERING, *bridge.vlan_filtering ? 1 : 0);
  if (bridge.vlan_protocol) {
    message.PutU16(IFLA_BR_VLAN_PROTOCOL, htons(static_cast<uint16_t>(*bridge.vlan_protocol)));
  }
  if (bridge.group_forward_mask) message.PutU16(IFLA_BR_GROUP_FWD_MASK, *bridge.group_forward_mask);
  if (bridge.multicast_snooping) message.PutU8(IFLA_BR_MCAST_SNOOPING, *bridge.multicast_snooping ? 1 : 0);
  if (bridge.default_pvid) message.PutU16(IFLA_BR_VLAN_DEFAULT_PVID, *bridge.default_pvid);
}

// In place of those that it has.
void PutSources(MessageBuilder& message, const MacvlanInfo& macvlan) {
  message.PutU32(IFLA_MACVLAN_MACADDR_MODE, MACVLAN_MACADDR_SET);
  size_t list = message.BeginNest(IFLA_MACVLAN_MACADDR_DATA);
  for (const MacAddress& source : macvlan.sources) {
    message.PutBytes(IFLA_MACVLAN_MACADDR, std::as_bytes(std::span(source.octets)));
  }
  message.EndNest(list);
}

void PutData(MessageBuilder& message, const MacvlanInfo& macvlan) {
  message.PutU32(IFLA_MACVLAN_MODE, static_cast<uint32_t>(macvlan.mode));
  if (macvlan.flags != 0) message.PutU16(IFLA_MACVLAN_FLAGS, macvlan.flags);
  if (!macvlan.sources.empty()) PutSources(message, macvlan);
}

void PutAddress(MessageBuilder& message, uint16_t ipv4, uint16_t ipv6, const IpAddress& address) {
  message.PutBytes(address.family() == IpFamily::kIpv4 ? ipv4 : ipv6, address.bytes());
}

void PutData(MessageBuilder& message, const VxlanInfo& vxlan) {
  message.PutU32(IFLA_VXLAN_ID, vxlan.vni);
  if (vxlan.remote) PutAddress(message, IFLA_VXLAN_GROUP, IFLA_VXLAN_GROUP6, *vxlan.remote);
  if (vxlan.lower) {
    if (*vxlan.lower <= 0) message.Fail(EINVAL);
    message.PutU32(IFLA_VXLAN_LINK, static_cast<uint32_t>(*vxlan.lower));
  }
  if (vxlan.local) PutAddress(message, IFLA_VXLAN_LOCAL, IFLA_VXLAN_LOCAL6, *vxlan.local);
  message.PutU8(IFLA_VXLAN_TTL, vxlan.ttl);
  message.PutU8(IFLA_VXLAN_LEARNING, vxlan.learning ? 1 : 0);
  message.PutU32(IFLA_VXLAN_AGEING, vxlan.ageing.count());
  if (vxlan.source_ports != PortRange{}) {
    ifla_vxlan_port_range range = {.low = htons(vxlan.source_ports.first), .high = htons(vxlan.source_ports.last)};
    message.PutBytes(IFLA_VXLAN_PORT_RANGE, std::as_bytes(std::span(&range, 1)));
  }
  message.PutU8(IFLA_VXLAN_PROXY, vxlan.proxy ? 1 : 0);
  message.PutU16(IFLA_VXLAN_PORT, htons(vxlan.port));
}

void PutData(MessageBuilder& message, const VlanInfo& vlan) {
  message.PutU16(IFLA_VLAN_ID, vlan.id);
  message.PutU16(IFLA_VLAN_PROTOCOL, htons(static_cast<uint16_t>(vlan.protocol)));
}

void PutData(MessageBuilder& message, const IpvlanInfo& ipvlan) {
  message.PutU16(IFLA_IPVLAN_MODE, static_cast<uint16_t>(ipvlan.mode));
  message.PutU16(IFLA_IPVLAN_FLAGS, ipvlan.flags);
}

void PutData(MessageBuilder&, const DummyInfo&) {}
void PutData(MessageBuilder&, const IfbInfo&) {}
void PutData(MessageBuilder& message, std::monostate) { message.Fail(EINVAL); }

// What of the data can be changed.
void PutChange(MessageBuilder& message, const MacvlanInfo& macvlan) {
  message.PutU32(IFLA_MACVLAN_MODE, static_cast<uint32_t>(macvlan.mode));
  if (macvlan.mode == MacvlanMode::kSource) PutSources(message, macvlan);
}

void PutChange(MessageBuilder& message, const VxlanInfo& vxlan) {
  message.PutU32(IFLA_VXLAN_ID, vxlan.vni);
  if (vxlan.remote) PutAddress(message, IFLA_VXLAN_GROUP, IFLA_VXLAN_GROUP6, *vxlan.remote);
  if (vxlan.local) PutAddress(message, IFLA_VXLAN_LOCAL, IFLA_VXLAN_LOCAL6, *vxlan.local);
  message.PutU8(IFLA_VXLAN_TTL, vxlan.ttl);
  message.PutU8(IFLA_VXLAN_LEARNING, vxlan.learning ? 1 : 0);
  message.PutU32(IFLA_VXLAN_AGEING, vxlan.ageing.count());
}

void PutChange(MessageBuilder& message, const IpvlanInfo& ipvlan) { PutData(message, ipvlan); }

template <typename T>
void PutChange(MessageBuilder& message, const T&) {
  message.Fail(EINVAL);
}

template <typename T>
void PutInfo(MessageBuilder& message, const T& info) {
  size_t nest = message.BeginNest(IFLA_LINKINFO);
  message.PutString(IFLA_INFO_KIND, KindOf(info));
  size_t data = message.BeginNest(IFLA_INFO_DATA);
  PutData(message, info);
  message.EndNest(data);
  message.EndNest(nest);
}

KernelError Malformed(const std::string& what) {
  return {.code = EBADMSG, .operation = absl::StrCat("RTM_NEWLINK reply: ", what), .extack = {}};
}

// Stores a value that was read; false where it was not.
template <typename T, typename U>
bool Store(std::optional<U> value, T& target) {
  if (!value) return false;
  target = static_cast<T>(*value);
  return true;
}

// The same for what is in network order.
template <typename T>
bool StoreBigEndian(std::optional<uint16_t> value, T& target) {
  if (!value) return false;
  target = static_cast<T>(ntohs(*value));
  return true;
}

bool StoreTime(std::optional<uint32_t> value, std::optional<Centiseconds>& target) {
  if (!value) return false;
  target = Centiseconds(*value);
  return true;
}

// Calls `decode` for each attribute; false once that is, or where they are cut short.
template <typename Decode>
bool ForEach(std::span<const std::byte> attributes, Decode decode) {
  AttributeReader reader(attributes);
  while (std::optional<AttributeView> attribute = reader.Next()) {
    if (!decode(*attribute)) return false;
  }
  return !reader.malformed();
}

// What says how to decode, found anywhere in the message.
struct RawInfo {
  std::string kind;
  std::span<const std::byte> data;
  // IFLA_LINK, or 0.
  int lower = 0;
};

bool DecodeInfo(const AttributeView& attribute, RawInfo& raw) {
  switch (attribute.type) {
    case IFLA_INFO_KIND:
      return Store(attribute.String(), raw.kind);
    case IFLA_INFO_DATA:
      raw.data = attribute.payload;
      return true;
    default:
      return true;
  }
}

bool DecodeData(const AttributeView& attribute, BridgeInfo& bridge) {
  switch (attribute.type) {
    case IFLA_BR_FORWARD_DELAY:
      return StoreTime(attribute.U32(), bridge.forward_delay);
    case IFLA_BR_HELLO_TIME:
      return StoreTime(attribute.U32(), bridge.hello_time);
    case IFLA_BR_MAX_AGE:
      return StoreTime(attribute.U32(), bridge.max_age);
    case IFLA_BR_AGEING_TIME:
      return StoreTime(attribute.U32(), bridge.ageing_time);
    case IFLA_BR_STP_STATE:
      return Store(attribute.U32(), bridge.stp.emplace());
    case IFLA_BR_PRIORITY:
      return Store(attribute.U16(), bridge.priority.emplace());
    case IFLA_BR_VLAN_FILTERING:
      return Store(attribute.U8(), bridge.vlan_filtering.emplace());
    case IFLA_BR_VLAN_PROTOCOL:
      return StoreBigEndian(attribute.U16(), bridge.vlan_protocol.emplace());
    case IFLA_BR_GROUP_FWD_MASK:
      return Store(attribute.U16(), bridge.group_forward_mask.emplace());
    case IFLA_BR_MCAST_SNOOPING:
      return Store(attribute.U8(), bridge.multicast_snooping.emplace());
    case IFLA_BR_VLAN_DEFAULT_PVID:
      return Store(attribute.U16(), bridge.default_pvid.emplace());
    default:
      return true;
  }
}

bool DecodeSource(const AttributeView& attribute, MacvlanInfo& macvlan) {
  if (attribute.type != IFLA_MACVLAN_MACADDR) return true;
  MacAddress source;
  if (attribute.payload.size() != source.octets.size()) return false;
  std::memcpy(source.octets.data(), attribute.payload.data(), source.octets.size());
  macvlan.sources.push_back(source);
  return true;
}

bool DecodeData(const AttributeView& attribute, MacvlanInfo& macvlan) {
  switch (attribute.type) {
    case IFLA_MACVLAN_MODE:
      return Store(attribute.U32(), macvlan.mode);
    case IFLA_MACVLAN_FLAGS:
      return Store(attribute.U16(), macvlan.flags);
    case IFLA_MACVLAN_MACADDR_DATA:
      return ForEach(attribute.payload, [&](const AttributeView& source) { return DecodeSource(source, macvlan); });
    default:
      return true;
  }
}

bool DecodePortRange(std::span<const std::byte> payload, PortRange& ports) {
  ifla_vxlan_port_range range;
  if (payload.size() != sizeof(range)) return false;
  std::memcpy(&range, payload.data(), sizeof(range));
  ports = {.first = ntohs(range.low), .last = ntohs(range.high)};
  return true;
}

bool DecodeData(const AttributeView& attribute, VxlanInfo& vxlan) {
  switch (attribute.type) {
    case IFLA_VXLAN_ID:
      return Store(attribute.U32(), vxlan.vni);
    case IFLA_VXLAN_GROUP:
    case IFLA_VXLAN_GROUP6:
      return Store(IpAddress::FromBytes(attribute.payload), vxlan.remote.emplace());
    case IFLA_VXLAN_LOCAL:
    case IFLA_VXLAN_LOCAL6:
      return Store(IpAddress::FromBytes(attribute.payload), vxlan.local.emplace());
    case IFLA_VXLAN_LINK:
      return Store(attribute.U32(), vxlan.lower.emplace()) && *vxlan.lower > 0;
    case IFLA_VXLAN_TTL:
      return Store(attribute.U8(), vxlan.ttl);
    case IFLA_VXLAN_LEARNING:
      return Store(attribute.U8(), vxlan.learning);
    case IFLA_VXLAN_AGEING: {
      std::optional<uint32_t> seconds = attribute.U32();
      vxlan.ageing = std::chrono::duration<uint32_t>(seconds.value_or(0));
      return seconds.has_value();
    }
    case IFLA_VXLAN_PORT_RANGE:
      return DecodePortRange(attribute.payload, vxlan.source_ports);
    case IFLA_VXLAN_PROXY:
      return Store(attribute.U8(), vxlan.proxy);
    case IFLA_VXLAN_PORT:
      return StoreBigEndian(attribute.U16(), vxlan.port);
    default:
      return true;
  }
}

bool DecodeData(const AttributeView& attribute, VlanInfo& vlan) {
  switch (attribute.type) {
    case IFLA_VLAN_ID:
      return Store(attribute.U16(), vlan.id);
    case IFLA_VLAN_PROTOCOL:
      return StoreBigEndian(attribute.U16(), vlan.protocol);
    default:
      return true;
  }
}

bool DecodeData(const AttributeView& attribute, IpvlanInfo& ipvlan) {
  switch (attribute.type) {
    case IFLA_IPVLAN_MODE:
      return Store(attribute.U16(), ipvlan.mode);
    case IFLA_IPVLAN_FLAGS:
      return Store(attribute.U16(), ipvlan.flags);
    default:
      return true;
  }
}

template <typename T>
KernelResult<LinkInfo> DecodeAs(const RawInfo& raw) {
  T info;
  if (!ForEach(raw.data, [&](const AttributeView& attribute) { return DecodeData(attribute, info); })) {
    return Malformed(absl::StrCat("data of a ", raw.kind));
  }
  if constexpr (std::is_same_v<T, MacvlanInfo> || std::is_same_v<T, VlanInfo> || std::is_same_v<T, IpvlanInfo>) {
    if (raw.lower <= 0) return Malformed(absl::StrCat("no lower link of a ", raw.kind));
    info.lower = raw.lower;
  }
  return LinkInfo(std::move(info));
}

// The option that not every kernel has and that one without it refuses without a word (br_vlan_filter_toggle()).
template <typename Info>
const char* RareOptionOf(const Info&) {
  return "";
}
const char* RareOptionOf(const BridgeInfo& bridge) { return bridge.vlan_filtering ? " vlan_filtering" : ""; }

}  // namespace

Request EncodeNewLink(const NewLink& link, const LinkInfo& info) {
  return std::visit(
      [&](const auto& of_kind) {
        // The echo goes to the socket that has our port number where the link is born, whoever's that is.
        const uint16_t echo = link.netns_fd ? 0 : NLM_F_ECHO;
        MessageBuilder message(
            absl::StrCat("RTM_NEWLINK ", link.name, " type ", KindOf(of_kind), RareOptionOf(of_kind)), RTM_NEWLINK,
            NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK | echo);
        PutNewLink(message, link);
        PutLowerOf(message, of_kind);
        PutInfo(message, of_kind);
        return std::move(message).Build();
      },
      info);
}

Request EncodeSetBridge(const LinkRef& link, const BridgeInfo& bridge) {
  MessageBuilder message(DescribeLink("RTM_NEWLINK", link) + RareOptionOf(bridge), RTM_NEWLINK, NLM_F_ACK);
  PutLinkRef(message, link);
  PutInfo(message, bridge);
  return std::move(message).Build();
}

Request EncodeSetLinkInfo(const LinkRef& link, const LinkInfo& info) {
  MessageBuilder message(DescribeLink("RTM_NEWLINK", link), RTM_NEWLINK, NLM_F_ACK);
  PutLinkRef(message, link);
  std::visit(
      [&](const auto& of_kind) {
        size_t nest = message.BeginNest(IFLA_LINKINFO);
        message.PutString(IFLA_INFO_KIND, KindOf(of_kind));
        size_t data = message.BeginNest(IFLA_INFO_DATA);
        PutChange(message, of_kind);
        message.EndNest(data);
        message.EndNest(nest);
      },
      info);
  return std::move(message).Build();
}

KernelResult<LinkInfo> DecodeLinkInfo(std::span<const std::byte> payload) {
  if (!TakeHeader<ifinfomsg>(payload)) return Malformed("no ifinfomsg");
  RawInfo raw;
  bool whole = ForEach(payload, [&](const AttributeView& attribute) {
    if (attribute.type == IFLA_LINK) return Store(attribute.U32(), raw.lower);
    if (attribute.type != IFLA_LINKINFO) return true;
    return ForEach(attribute.payload, [&](const AttributeView& info) { return DecodeInfo(info, raw); });
  });
  if (!whole) return Malformed("link info");
  if (raw.kind == "bridge") return DecodeAs<BridgeInfo>(raw);
  if (raw.kind == "macvlan") return DecodeAs<MacvlanInfo>(raw);
  if (raw.kind == "vxlan") return DecodeAs<VxlanInfo>(raw);
  if (raw.kind == "vlan") return DecodeAs<VlanInfo>(raw);
  if (raw.kind == "ipvlan") return DecodeAs<IpvlanInfo>(raw);
  if (raw.kind == "dummy") return LinkInfo(DummyInfo{});
  if (raw.kind == "ifb") return LinkInfo(IfbInfo{});
  return LinkInfo();
}

}  // namespace netprov::netlink
