#include "server/netlink/bridge_port.h"

#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace netprov::netlink {
namespace {

constexpr uint16_t kLastVlan = 4094;

MessageBuilder BridgeMessage(const char* name, uint16_t type, int ifindex) {
  MessageBuilder message(absl::StrCat(name, " ifindex ", ifindex), type, NLM_F_ACK);
  if (ifindex <= 0) message.Fail(EINVAL);
  ifinfomsg header = {};
  header.ifi_family = AF_BRIDGE;
  header.ifi_index = ifindex;
  message.PutHeader(header);
  return message;
}

void PutFlag(MessageBuilder& message, uint16_t type, const std::optional<bool>& value) {
  if (value) message.PutU8(type, *value ? 1 : 0);
}

void PutVlan(MessageBuilder& message, uint16_t flags, uint16_t vid) {
  bridge_vlan_info info = {.flags = flags, .vid = vid};
  message.PutBytes(IFLA_BRIDGE_VLAN_INFO, std::as_bytes(std::span(&info, 1)));
}

void PutVlans(MessageBuilder& message, const BridgeVlan& vlan) {
  if (vlan.first == 0 || vlan.last < vlan.first || vlan.last > kLastVlan || (vlan.pvid && vlan.first != vlan.last)) {
    message.Fail(EINVAL);
  }
  uint16_t flags = 0;
  if (vlan.pvid) flags |= BRIDGE_VLAN_INFO_PVID;
  if (vlan.untagged) flags |= BRIDGE_VLAN_INFO_UNTAGGED;
  if (vlan.first == vlan.last) return PutVlan(message, flags, vlan.first);
  PutVlan(message, flags | BRIDGE_VLAN_INFO_RANGE_BEGIN, vlan.first);
  PutVlan(message, flags | BRIDGE_VLAN_INFO_RANGE_END, vlan.last);
}

Request EncodeVlans(const char* name, uint16_t type, int ifindex, VlanMember member,
                    std::span<const BridgeVlan> vlans) {
  MessageBuilder message = BridgeMessage(name, type, ifindex);
  if (vlans.empty()) message.Fail(EINVAL);
  size_t spec = message.BeginNest(IFLA_AF_SPEC);
  if (member == VlanMember::kBridge) message.PutU16(IFLA_BRIDGE_FLAGS, BRIDGE_FLAGS_SELF);
  for (const BridgeVlan& vlan : vlans) PutVlans(message, vlan);
  message.EndNest(spec);
  return std::move(message).Build();
}

KernelError Malformed(int code, const std::string& what) {
  return {.code = code, .operation = absl::StrCat("RTM_NEWLINK reply: ", what), .extack = {}};
}

// Stores a value that was read; false where it was not.
template <typename T, typename U>
bool Store(std::optional<U> value, T& target) {
  if (!value) return false;
  target = static_cast<T>(*value);
  return true;
}

bool DecodeOption(const AttributeView& attribute, BridgePort& port) {
  switch (attribute.type) {
    case IFLA_BRPORT_STATE:
      return Store(attribute.U8(), port.state.emplace());
    case IFLA_BRPORT_COST:
      return Store(attribute.U32(), port.cost.emplace());
    case IFLA_BRPORT_PRIORITY:
      return Store(attribute.U16(), port.priority.emplace());
    case IFLA_BRPORT_MODE:
      return Store(attribute.U8(), port.hairpin.emplace());
    case IFLA_BRPORT_ISOLATED:
      return Store(attribute.U8(), port.isolated.emplace());
    case IFLA_BRPORT_LEARNING:
      return Store(attribute.U8(), port.learning.emplace());
    case IFLA_BRPORT_UNICAST_FLOOD:
      return Store(attribute.U8(), port.unicast_flood.emplace());
    case IFLA_BRPORT_MCAST_FLOOD:
      return Store(attribute.U8(), port.multicast_flood.emplace());
    case IFLA_BRPORT_BCAST_FLOOD:
      return Store(attribute.U8(), port.broadcast_flood.emplace());
    case IFLA_BRPORT_NEIGH_SUPPRESS:
      return Store(attribute.U8(), port.neighbour_suppression.emplace());
    default:
      return true;
  }
}

// IFLA_LINKINFO of a port: whose port it is, and the options.
struct SlaveInfo {
  std::string kind;
  std::span<const std::byte> data;
};

bool DecodeSlaveInfo(std::span<const std::byte> attributes, SlaveInfo& slave) {
  AttributeReader reader(attributes);
  while (std::optional<AttributeView> attribute = reader.Next()) {
    if (attribute->type == IFLA_INFO_SLAVE_KIND && !Store(attribute->String(), slave.kind)) return false;
    if (attribute->type == IFLA_INFO_SLAVE_DATA) slave.data = attribute->payload;
  }
  return !reader.malformed();
}

// Reads the VLANs of a link, one after the other.
class VlanReader {
 public:
  explicit VlanReader(std::vector<BridgeVlan>& vlans) : vlans_(vlans) {}

  bool Read(std::span<const std::byte> attributes) {
    AttributeReader reader(attributes);
    while (std::optional<AttributeView> attribute = reader.Next()) {
      if (attribute->type == IFLA_BRIDGE_VLAN_INFO && !ReadOne(attribute->payload)) return false;
    }
    return !reader.malformed() && !first_;
  }

 private:
  bool ReadOne(std::span<const std::byte> payload) {
    bridge_vlan_info info;
    if (payload.size() != sizeof(info)) return false;
    std::memcpy(&info, payload.data(), sizeof(info));
    const bool begins = (info.flags & BRIDGE_VLAN_INFO_RANGE_BEGIN) != 0;
    const bool ends = (info.flags & BRIDGE_VLAN_INFO_RANGE_END) != 0;
    // What is no end must not come within a range, and an end nowhere else.
    if (ends != first_.has_value() || (begins && ends)) return false;
    if (begins) {
      first_ = info.vid;
      return true;
    }
    const uint16_t first = first_.value_or(info.vid);
    first_.reset();
    vlans_.push_back({.first = first,
                      .last = info.vid,
                      .pvid = (info.flags & BRIDGE_VLAN_INFO_PVID) != 0,
                      .untagged = (info.flags & BRIDGE_VLAN_INFO_UNTAGGED) != 0});
    return first <= info.vid;
  }

  std::vector<BridgeVlan>& vlans_;
  // The begin of a range whose end is still to come.
  std::optional<uint16_t> first_;
};

}  // namespace

Request EncodeSetBridgePort(int ifindex, const BridgePort& port) {
  MessageBuilder message = BridgeMessage("RTM_SETLINK bridge", RTM_SETLINK, ifindex);
  size_t options = message.BeginNest(IFLA_PROTINFO);
  if (port.state) message.PutU8(IFLA_BRPORT_STATE, static_cast<uint8_t>(*port.state));
  if (port.priority) message.PutU16(IFLA_BRPORT_PRIORITY, *port.priority);
  if (port.cost) message.PutU32(IFLA_BRPORT_COST, *port.cost);
  PutFlag(message, IFLA_BRPORT_MODE, port.hairpin);
  PutFlag(message, IFLA_BRPORT_LEARNING, port.learning);
  PutFlag(message, IFLA_BRPORT_UNICAST_FLOOD, port.unicast_flood);
  PutFlag(message, IFLA_BRPORT_MCAST_FLOOD, port.multicast_flood);
  PutFlag(message, IFLA_BRPORT_BCAST_FLOOD, port.broadcast_flood);
  PutFlag(message, IFLA_BRPORT_NEIGH_SUPPRESS, port.neighbour_suppression);
  PutFlag(message, IFLA_BRPORT_ISOLATED, port.isolated);
  message.EndNest(options);
  return std::move(message).Build();
}

KernelResult<std::optional<BridgePort>> DecodeBridgePort(std::span<const std::byte> payload) {
  if (!TakeHeader<ifinfomsg>(payload)) return Malformed(EBADMSG, "no ifinfomsg");
  SlaveInfo slave;
  AttributeReader reader(payload);
  while (std::optional<AttributeView> attribute = reader.Next()) {
    if (attribute->type == IFLA_LINKINFO && !DecodeSlaveInfo(attribute->payload, slave)) {
      return Malformed(EBADMSG, "link info");
    }
  }
  if (reader.malformed()) return Malformed(EBADMSG, "attributes cut short");
  if (slave.kind != "bridge") return std::optional<BridgePort>();

  BridgePort port;
  AttributeReader options(slave.data);
  while (std::optional<AttributeView> option = options.Next()) {
    if (!DecodeOption(*option, port)) return Malformed(EBADMSG, absl::StrCat("option of a port ", option->type));
  }
  if (options.malformed()) return Malformed(EBADMSG, "options of a port cut short");
  return std::optional(port);
}

Request EncodeAddBridgeVlans(int ifindex, VlanMember member, std::span<const BridgeVlan> vlans) {
  return EncodeVlans("RTM_SETLINK bridge vlan", RTM_SETLINK, ifindex, member, vlans);
}

Request EncodeDeleteBridgeVlans(int ifindex, VlanMember member, std::span<const BridgeVlan> vlans) {
  return EncodeVlans("RTM_DELLINK bridge vlan", RTM_DELLINK, ifindex, member, vlans);
}

Request EncodeDumpBridgeVlans() {
  MessageBuilder message("RTM_GETLINK dump of bridges", RTM_GETLINK, NLM_F_DUMP);
  ifinfomsg header = {};
  header.ifi_family = AF_BRIDGE;
  message.PutHeader(header);
  message.PutU32(IFLA_EXT_MASK, RTEXT_FILTER_BRVLAN_COMPRESSED);
  return std::move(message).Build();
}

KernelResult<BridgeVlans> DecodeBridgeVlans(std::span<const std::byte> payload) {
  std::optional<ifinfomsg> header = TakeHeader<ifinfomsg>(payload);
  if (!header) return Malformed(EBADMSG, "no ifinfomsg");
  if (header->ifi_family != AF_BRIDGE) return Malformed(EAFNOSUPPORT, absl::StrCat("family ", header->ifi_family));
  BridgeVlans link;
  link.ifindex = header->ifi_index;
  if (link.ifindex <= 0) return Malformed(EBADMSG, "no ifindex");

  AttributeReader reader(payload);
  while (std::optional<AttributeView> attribute = reader.Next()) {
    bool good = true;
    // The kernel says of a bridge that it is its own master.
    if (attribute->type == IFLA_MASTER) good = Store(attribute->U32(), link.master.emplace());
    if (attribute->type == IFLA_AF_SPEC) good = VlanReader(link.vlans).Read(attribute->payload);
    if (!good) return Malformed(EBADMSG, absl::StrCat("attribute ", attribute->type));
  }
  if (reader.malformed()) return Malformed(EBADMSG, "attributes cut short");
  if (link.master == link.ifindex) link.master.reset();
  return link;
}

}  // namespace netprov::netlink
