// Ports of bridges in rtnetlink: their options, and the VLANs of ports and of bridges. bridge(8), Linux
// net/bridge/br_netlink.c and net/core/rtnetlink.c (rtnl_bridge_setlink). Pure functions; requests are made for
// Session, and replies come from it. How a link becomes a port: LinkChange::master.
#ifndef NETPROV_SERVER_NETLINK_BRIDGE_PORT_H_
#define NETPROV_SERVER_NETLINK_BRIDGE_PORT_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "server/base/kernel_error.h"
#include "server/netlink/message.h"

namespace netprov::netlink {

// BR_STATE_*: what a port does in the spanning tree.
enum class PortState : uint8_t {
  kDisabled = 0,
  kListening = 1,
  kLearning = 2,
  kForwarding = 3,
  kBlocking = 4,
};

// Options of a port. In a request, what is not set stays as it is; in a reply all are set. The values of a new port are
// given in parentheses.
struct BridgePort {
  // Only where the bridge does not speak STP itself (EBUSY), and of a port that is up and has its carrier (ENETDOWN).
  std::optional<PortState> state;

  // Path cost of the spanning tree, 1 to 65535 (ERANGE), by the link's speed (a veth has 2).
  std::optional<uint32_t> cost;

  // Port priority of the spanning tree, 0 to 63 (ERANGE), the lowest is preferred (32).
  std::optional<uint16_t> priority;

  // Whether it sends out what came in by itself (no).
  std::optional<bool> hairpin;

  // Whether it exchanges nothing with other isolated ports (no).
  std::optional<bool> isolated;

  // Whether senders' addresses are learnt (yes).
  std::optional<bool> learning;

  // Whether it is sent what is for an address not known, for a group nobody has asked for, and for all (yes).
  std::optional<bool> unicast_flood;
  std::optional<bool> multicast_flood;
  std::optional<bool> broadcast_flood;

  // Whether the bridge answers ARP and neighbour discovery for what it knows, in place of flooding them to this port
  // (no).
  std::optional<bool> neighbour_suppression;

  friend bool operator==(const BridgePort&, const BridgePort&) = default;
};

// RTM_SETLINK of AF_BRIDGE that changes options of the port, an ifindex in the session's namespace, one by one: after
// an error, the earlier ones may stand. ENODEV where there is no such link, EOPNOTSUPP where it is no port.
Request EncodeSetBridgePort(int ifindex, const BridgePort& port);

// Reads the options from a reply to EncodeGetLink or EncodeDumpLinks; none where the link is no port of a bridge.
// EBADMSG where it is malformed: cut short, or an attribute of the wrong length.
KernelResult<std::optional<BridgePort>> DecodeBridgePort(std::span<const std::byte> payload);

// VLANs of a port or of a bridge.
struct BridgeVlan {
  // The first and the last of a range, 1 to 4094, the same for a single one.
  uint16_t first = 0;
  uint16_t last = 0;

  // What comes untagged belongs to it (port VLAN identifier); not for more than one.
  bool pvid = false;

  // It is sent untagged.
  bool untagged = false;

  friend bool operator==(const BridgeVlan&, const BridgeVlan&) = default;
};

// What VLANs are of: a port, or a bridge itself, as the link that the host has to the bridge.
enum class VlanMember : uint8_t { kPort, kBridge };

// RTM_SETLINK of AF_BRIDGE that adds VLANs to a link, one by one, or changes how it has them: after an error, the
// earlier ones may stand. EOPNOTSUPP where the link is not what `member` says, or where the kernel is built without
// CONFIG_BRIDGE_VLAN_FILTERING. EINVAL in Session for no VLAN, or one out of range. They count while the bridge minds
// VLANs (BridgeInfo::vlan_filtering).
Request EncodeAddBridgeVlans(int ifindex, VlanMember member, std::span<const BridgeVlan> vlans);

// RTM_DELLINK of AF_BRIDGE that takes VLANs away. Success also where the link does not have them.
Request EncodeDeleteBridgeVlans(int ifindex, VlanMember member, std::span<const BridgeVlan> vlans);

// RTM_GETLINK for the VLANs of all bridges and ports of the session's namespace (RTEXT_FILTER_BRVLAN_COMPRESSED), for
// Session::Dump.
Request EncodeDumpBridgeVlans();

// The VLANs of one link.
struct BridgeVlans {
  // The port or the bridge.
  int ifindex = 0;

  // The bridge of a port; none of a bridge itself.
  std::optional<int> master;

  // In order.
  std::vector<BridgeVlan> vlans;

  friend bool operator==(const BridgeVlans&, const BridgeVlans&) = default;
};

// Reads a reply to EncodeDumpBridgeVlans. EBADMSG where it is malformed: cut short, an attribute of the wrong length,
// without ifindex, or with a range without its begin or end. EAFNOSUPPORT for another family than AF_BRIDGE.
KernelResult<BridgeVlans> DecodeBridgeVlans(std::span<const std::byte> payload);

}  // namespace netprov::netlink

#endif  // NETPROV_SERVER_NETLINK_BRIDGE_PORT_H_
