// What links have beyond what all have, by their kind (IFLA_LINKINFO): bridges, macvlans, VXLANs, VLANs, ipvlans,
// dummies and ifbs. ip-link(8), Linux net/bridge/br_netlink.c, drivers/net/macvlan.c, drivers/net/vxlan/vxlan_core.c,
// net/8021q/vlan_netlink.c, drivers/net/ipvlan/ipvlan_main.c, drivers/net/dummy.c and drivers/net/ifb.c. Pure
// functions; requests are made for Session, and replies come from it.
#ifndef NETPROV_SERVER_NETLINK_LINK_INFO_H_
#define NETPROV_SERVER_NETLINK_LINK_INFO_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <ratio>
#include <span>
#include <variant>
#include <vector>

#include "server/base/kernel_error.h"
#include "server/netlink/ip_address.h"
#include "server/netlink/link.h"
#include "server/netlink/mac_address.h"
#include "server/netlink/message.h"

namespace netprov::netlink {

// The kernel's unit of a bridge's times: ticks of USER_HZ, 100 a second on all architectures of today.
using Centiseconds = std::chrono::duration<uint32_t, std::centi>;

// The protocol of VLAN tags: an Ethernet type.
enum class VlanProtocol : uint16_t { kDot1Q = 0x8100, kDot1Ad = 0x88a8 };

// Options of a bridge. In a request, what is not set stays as it is, or is the kernel's default in a new bridge, which
// is given in parentheses; in a reply all are set that the kernel has.
struct BridgeInfo {
  // Whether it speaks the spanning tree protocol (no). The kernel asks /sbin/bridge-stp in the first namespace only.
  std::optional<bool> stp;

  // How long a port listens and then learns before it forwards (15 s): 2 to 30 s where STP is on (ERANGE).
  std::optional<Centiseconds> forward_delay;

  // Between the messages of a root bridge (2 s): 1 to 10 s (ERANGE).
  std::optional<Centiseconds> hello_time;

  // After which a root bridge is taken for lost (20 s): 6 to 40 s (ERANGE).
  std::optional<Centiseconds> max_age;

  // How long a learnt address is remembered without traffic (300 s); with 0 all is flooded.
  std::optional<Centiseconds> ageing_time;

  // Bridge priority of the spanning tree, the lowest becomes root (32768).
  std::optional<uint16_t> priority;

  // Whether it minds VLANs (no). EOPNOTSUPP where the kernel is built without (CONFIG_BRIDGE_VLAN_FILTERING), which
  // also ignores the two that follow.
  std::optional<bool> vlan_filtering;

  // The tags that it minds (802.1Q).
  std::optional<VlanProtocol> vlan_protocol;

  // The VLAN of what comes untagged to a port that is given none, 0 to 4094; 0 is none (1).
  std::optional<uint16_t> default_pvid;

  // Whether it sends multicast only where it is wanted (IGMP and MLD snooping, yes).
  std::optional<bool> multicast_snooping;

  // Which link-local groups, 01:80:c2:00:00:0N, are forwarded, as bits 1 << N (0). Bits 0 to 2, STP, MAC pause and
  // LACP, are EINVAL.
  std::optional<uint16_t> group_forward_mask;

  friend bool operator==(const BridgeInfo&, const BridgeInfo&) = default;
};

// MACVLAN_MODE_*: what macvlans of one lower link exchange with each other.
enum class MacvlanMode : uint32_t {
  // Nothing.
  kPrivate = 1,
  // What an external switch sends back.
  kVepa = 2,
  // All, at once.
  kBridge = 4,
  // It is the only one and has the lower link for itself, with its hardware address.
  kPassthru = 8,
  // It receives only from a list of senders.
  kSource = 16,
};

// A link with a hardware address of its own on a lower link.
struct MacvlanInfo {
  // The lower link, an ifindex in the session's namespace, whatever the namespace of birth; positive. EBUSY where it is
  // a port already, EINVAL where another one passes through.
  int lower = 0;

  MacvlanMode mode = MacvlanMode::kBridge;

  // MACVLAN_FLAG_*: 1 (no promiscuity) leaves the lower link's alone, which only passthru changes; 2 (no destination)
  // keeps source mode from taking packets from the others. EINVAL for more.
  uint16_t flags = 0;

  // The senders of source mode; EINVAL in other modes, EADDRNOTAVAIL where one is no unicast address.
  std::vector<MacAddress> sources;

  friend bool operator==(const MacvlanInfo&, const MacvlanInfo&) = default;
};

// UDP ports, from the first to the last.
struct PortRange {
  uint16_t first = 0;
  uint16_t last = 0;

  friend bool operator==(const PortRange&, const PortRange&) = default;
};

// An Ethernet over UDP (RFC 7348).
struct VxlanInfo {
  // The network identifier (VNI), below 2^24 (ERANGE). EEXIST where the namespace that its packets
  // are in has another link of the same identifier and port, whatever they stand on.
  uint32_t vni = 0;

  // The source address of what it sends; the route's otherwise. A unicast address of the same family as `remote`
  // (EINVAL).
  std::optional<IpAddress> local;

  // Where to send what the forwarding database does not say: one endpoint, or a multicast group, which needs a lower
  // link (EINVAL).
  std::optional<IpAddress> remote;

  // The lower link, an ifindex in the session's namespace, through which it sends; the route's otherwise. Its packets
  // stay in the session's namespace, whatever the namespace of birth.
  std::optional<int> lower;

  // The UDP port that it listens to and sends to; the kernel's own default is another (8472).
  uint16_t port = 4789;

  // The UDP ports that it sends from, one for each flow, from `first` to below `last`; 0 and 0 is the namespace's
  // range. EINVAL where `last` comes before `first`.
  PortRange source_ports;

  // Hops of the outer packets; 0 is the namespace's default, 1 for a group.
  uint8_t ttl = 0;

  // Whether it learns senders' endpoints.
  bool learning = true;

  // Whether it answers for neighbours that it knows (ARP and neighbour discovery).
  bool proxy = false;

  // How long what it has learnt is remembered without traffic; the kernel takes 0 for its default, 300.
  std::chrono::duration<uint32_t> ageing = std::chrono::seconds(300);

  friend bool operator==(const VxlanInfo&, const VxlanInfo&) = default;
};

// What has one VLAN's tag on a lower link.
struct VlanInfo {
  // The lower link, an ifindex in the session's namespace; positive.
  int lower = 0;

  // 0 to 4094 (ERANGE). EEXIST where the lower link has one.
  uint16_t id = 0;

  VlanProtocol protocol = VlanProtocol::kDot1Q;

  friend bool operator==(const VlanInfo&, const VlanInfo&) = default;
};

// IPVLAN_MODE_*: at which layer an ipvlan exchanges packets with its lower link.
enum class IpvlanMode : uint16_t {
  // As a switch.
  kL2 = 0,
  // As a router; no broadcast, no multicast.
  kL3 = 1,
  // As a router whose packets pass netfilter.
  kL3s = 2,
};

// A link with its lower link's hardware address.
struct IpvlanInfo {
  // The lower link, an ifindex in the session's namespace; positive. EBUSY where it is a port, as of a macvlan.
  int lower = 0;

  // The same for all on one lower link: that of the last one counts.
  IpvlanMode mode = IpvlanMode::kL3;

  // IPVLAN_F_*: 1 (private) keeps those on one lower link apart, 2 (VEPA) leaves it to an external switch. Not both
  // (EINVAL).
  uint16_t flags = 0;

  friend bool operator==(const IpvlanInfo&, const IpvlanInfo&) = default;
};

// A link that takes packets and drops them.
struct DummyInfo {
  friend bool operator==(const DummyInfo&, const DummyInfo&) = default;
};

// A link to redirect packets to, so that its queueing discipline sees them.
struct IfbInfo {
  friend bool operator==(const IfbInfo&, const IfbInfo&) = default;
};

// What is of a link's kind; none for other kinds.
using LinkInfo =
    std::variant<std::monostate, BridgeInfo, MacvlanInfo, VxlanInfo, VlanInfo, IpvlanInfo, DummyInfo, IfbInfo>;

// RTM_NEWLINK that creates a link. EEXIST where the name is taken, EOPNOTSUPP ("Unknown device type") where the kernel
// does not have the kind. Born in the session's namespace, the request asks for an echo, as EncodeNewVeth. EINVAL in
// Session without a kind or where a lower link's ifindex is not positive.
Request EncodeNewLink(const NewLink& link, const LinkInfo& info);

// RTM_NEWLINK that changes options of a bridge, one by one: after an error, the earlier ones may stand. ENODEV where
// there is no such link, EOPNOTSUPP where it is of another kind.
Request EncodeSetBridge(const LinkRef& link, const BridgeInfo& bridge);

// RTM_NEWLINK that changes what can be changed of a macvlan (mode and, in source mode, the senders), a VXLAN (remote
// and local address where they are set, ttl, learning and ageing) or an ipvlan (mode and flags), which takes all of it.
// EINVAL: a macvlan's mode becomes passthru or is it no longer. ENODEV, EOPNOTSUPP as EncodeSetBridge. EINVAL in
// Session for other kinds.
Request EncodeSetLinkInfo(const LinkRef& link, const LinkInfo& info);

// Reads what is of the kind from a reply to EncodeGetLink or EncodeDumpLinks. EBADMSG where it is malformed: cut short,
// an attribute of the wrong length, or without what its kind must say. Attributes that are not here are skipped.
KernelResult<LinkInfo> DecodeLinkInfo(std::span<const std::byte> payload);

}  // namespace netprov::netlink

#endif  // NETPROV_SERVER_NETLINK_LINK_INFO_H_
