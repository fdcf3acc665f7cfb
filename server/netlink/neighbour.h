// Neighbours of links in rtnetlink, RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH: who has an IP address on a link (ARP and
// neighbour discovery), and behind which port of a bridge or which VXLAN endpoint a hardware address is (forwarding
// database, FDB). rtnetlink(7), bridge(8), Linux net/core/neighbour.c, net/core/rtnetlink.c, net/bridge/br_fdb.c and
// drivers/net/vxlan/vxlan_core.c. Pure functions; requests are made for Session, and replies come from it.
#ifndef NETPROV_SERVER_NETLINK_NEIGHBOUR_H_
#define NETPROV_SERVER_NETLINK_NEIGHBOUR_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "server/base/kernel_error.h"
#include "server/netlink/ip_address.h"
#include "server/netlink/mac_address.h"
#include "server/netlink/message.h"

namespace netprov::netlink {

// Which hardware address an IP address has on a link.
struct Neighbour {
  // The link, by its ifindex in the session's namespace; positive.
  int ifindex = 0;

  IpAddress address;

  // None in a reply where the kernel does not know it, or where it is none of six octets. A new entry whose state says
  // that it is known needs one (EINVAL in Session; the kernel would leave an entry of state 0 behind).
  std::optional<MacAddress> mac;

  // NUD_*: 0x80 (permanent) is never asked for again; 0x02 is reachable, 0x04 stale. A proxy has 0.
  uint16_t state = 0x80;

  // NTF_*: 0x08 (proxy) answers others who ask for the address, 0x80 (router) says that it is a router's (IPv6).
  uint8_t flags = 0;

  // Who made it (NDA_PROTOCOL), an RTPROT_* number as of routes; 0 says nothing.
  uint8_t protocol = 0;

  friend bool operator==(const Neighbour&, const Neighbour&) = default;
};

// RTM_NEWNEIGH that adds `neighbour`. EEXIST where the link has an entry for the address, also one that the kernel has
// learnt.
Request EncodeNewNeighbour(const Neighbour& neighbour);

// RTM_NEWNEIGH that adds `neighbour` or puts it in place of the entry for the address.
Request EncodeReplaceNeighbour(const Neighbour& neighbour);

// RTM_DELNEIGH for the link's entry for the address, a proxy's where flags has that. ENOENT where there is none.
Request EncodeDeleteNeighbour(const Neighbour& neighbour);

// Of which entries a dump is; all of them where nothing is set.
struct NeighbourFilter {
  std::optional<IpFamily> family;
  // Those of one link, by its ifindex.
  std::optional<int> ifindex;
  // Those of all links that are ports of this one, by its ifindex.
  std::optional<int> master;
};

// RTM_GETNEIGH for the entries of links of the session's namespace, for Session::Dump. Proxies are not among them.
Request EncodeDumpNeighbours(const NeighbourFilter& filter = {});

// RTM_GETNEIGH for the proxies; by link or master they can't be chosen.
Request EncodeDumpProxies(std::optional<IpFamily> family = std::nullopt);

// Reads a reply to EncodeDumpNeighbours or EncodeDumpProxies. EBADMSG where it is malformed: cut short, an attribute of
// the wrong length, or without ifindex or address. EAFNOSUPPORT for another family than IPv4 and IPv6.
KernelResult<Neighbour> DecodeNeighbour(std::span<const std::byte> payload);

// Where a bridge or a VXLAN link sends what is for a hardware address.
struct FdbEntry {
  // The port of a bridge, the VXLAN link, or the bridge itself, by its ifindex in the session's namespace; positive.
  int ifindex = 0;

  // Of a VXLAN link, the zero address stands for all that it has no entry for.
  MacAddress mac;

  // NTF_*: whose table it is in, 0x02 (self) the link's own, as of a VXLAN link or of a bridge itself, or 0x04 (master)
  // that of the bridge which the link is a port of; one of these. 0x10 (external) is what something outside the kernel
  // has learnt, 0x40 (sticky) does not move to another port.
  uint8_t flags = 0;

  // NUD_*: 0x80 (permanent) is an address of the host itself in a bridge's table, and what is never forgotten in a
  // VXLAN link's; 0x40 (no ARP) is never forgotten; 0x02 (reachable) ages.
  uint16_t state = 0x80;

  // Of a bridge that filters VLANs: the VLAN, 1 to 4094; none otherwise.
  std::optional<uint16_t> vlan;

  // Of a VXLAN link: the endpoint to send to, its UDP port, its network identifier and the ifindex of the link through
  // which it is reached, where they are not the link's own.
  std::optional<IpAddress> destination;
  std::optional<uint16_t> port;
  std::optional<uint32_t> vni;
  std::optional<int> lower;

  // In a reply: the bridge of the port (NDA_MASTER), by its ifindex.
  std::optional<int> master;

  friend bool operator==(const FdbEntry&, const FdbEntry&) = default;
};

// RTM_NEWNEIGH that adds `entry`. EEXIST where the table has one for the address. EOPNOTSUPP where `flags` says master
// and the link is no port of a bridge; EINVAL where the link is no Ethernet. EINVAL in Session where `flags` says
// neither self nor master, or both.
Request EncodeNewFdbEntry(const FdbEntry& entry);

// RTM_NEWNEIGH that adds a further destination to a VXLAN link's entry for the zero address or a multicast one, to
// which packets are copied, or that makes such an entry. Success where the entry has that destination; also, and
// nothing is done, where another address has an entry.
Request EncodeAppendFdbEntry(const FdbEntry& entry);

// RTM_NEWNEIGH that adds `entry` or puts it in place of the one for the address; not for the zero address (EOPNOTSUPP).
Request EncodeReplaceFdbEntry(const FdbEntry& entry);

// RTM_DELNEIGH. ENOENT where there is none. Of a VXLAN link `destination` says which of several goes; without it all
// do.
Request EncodeDeleteFdbEntry(const FdbEntry& entry);

// RTM_GETNEIGH for the entries of all tables, or of one link, or of one bridge and its ports, for Session::Dump.
Request EncodeDumpFdb(std::optional<int> ifindex = std::nullopt, std::optional<int> master = std::nullopt);

// Reads a reply to EncodeDumpFdb; what comes is as EncodeDeleteFdbEntry wants it. EBADMSG where it is malformed: cut
// short, an attribute of the wrong length, without ifindex or hardware address, or of two tables. EAFNOSUPPORT for
// another family than AF_BRIDGE.
KernelResult<FdbEntry> DecodeFdbEntry(std::span<const std::byte> payload);

}  // namespace netprov::netlink

#endif  // NETPROV_SERVER_NETLINK_NEIGHBOUR_H_
