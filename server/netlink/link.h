// Links (network interfaces) in rtnetlink: RTM_NEWLINK, RTM_SETLINK, RTM_GETLINK, RTM_DELLINK. rtnetlink(7), Linux
// net/core/rtnetlink.c and drivers/net/veth.c.
//
// Pure functions: requests are made for Session, and replies come from it. An interface name is a string of 1 to 15
// bytes for the kernel, which refuses others (ERANGE, EINVAL); names are not checked here, except that one with a NUL
// byte fails in Session with EINVAL.
#ifndef NETPROV_SERVER_NETLINK_LINK_H_
#define NETPROV_SERVER_NETLINK_LINK_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "server/base/kernel_error.h"
#include "server/netlink/mac_address.h"
#include "server/netlink/message.h"

namespace netprov::netlink {

// Which link of the session's namespace is meant: its ifindex, or its name. A name also finds the link that has it as
// an alternative name; one of more than 15 bytes can be nothing else.
using LinkRef = std::variant<int, std::string>;

// The largest packets that a link takes and makes where segments are cut late and joined early. Sizes are in bytes of
// the whole packet.
struct OffloadLimits {
  // Of a packet to be cut later (IFLA_GSO_MAX_SIZE): at least some 200 bytes (ERANGE), at most what the driver can do,
  // for a veth 524,280 (EINVAL). A size of up to 65,536 goes for gso_ipv4_max_size too.
  std::optional<uint32_t> gso_max_size;
  // Into how many segments (IFLA_GSO_MAX_SEGS), at most what the driver can do, for a veth 65,535 (EINVAL).
  std::optional<uint32_t> gso_max_segments;
  // Of a packet joined from those received (IFLA_GRO_MAX_SIZE), at most 524,280 (EINVAL). A size of up to 65,536 goes
  // for gro_ipv4_max_size too.
  std::optional<uint32_t> gro_max_size;
  // The same for IPv4, where they are set apart (IFLA_GSO_IPV4_MAX_SIZE, IFLA_GRO_IPV4_MAX_SIZE, Linux 6.3; older
  // kernels ignore them).
  std::optional<uint32_t> gso_ipv4_max_size;
  std::optional<uint32_t> gro_ipv4_max_size;

  friend bool operator==(const OffloadLimits&, const OffloadLimits&) = default;
};

// How a link gets IPv6 addresses by itself, IN6_ADDR_GEN_MODE_*. Linux include/uapi/linux/if_link.h.
enum class AddressGeneration : uint8_t {
  // From the hardware address (RFC 4291), the default.
  kEui64 = 0,
  // No link-local address, which spares its duplicate address detection.
  kNone = 1,
  // From a secret (RFC 7217); EINVAL where there is none (net.ipv6.conf.*.stable_secret).
  kStablePrivacy = 2,
  // As kStablePrivacy, from a secret that the kernel draws.
  kRandom = 3,
};

// What a new link of any kind can have from birth. In a create the kernel ignores alias, alternative names and, for the
// peer of a veth, the master, and refuses the address generation (EAFNOSUPPORT); these take a request of their own.
struct NewLink {
  // Interface name. The kernel fills in a free number for a `%d`.
  std::string name;

  // Hardware address; the kernel draws a random one otherwise.
  std::optional<MacAddress> mac;

  // Maximum transmission unit in bytes, 68 to 65535 for a veth; 1500 otherwise.
  std::optional<uint32_t> mtu;

  // IFLA_GROUP; 0 is the default group.
  uint32_t group = 0;

  // Whether the link is administratively up from the start. Not for the peer of a veth: the kernel opens that one
  // before it joins the two, and refuses (ENOTCONN, veth_open). It is set up by a request of its own.
  bool up = false;

  // An open descriptor of the network namespace in which it is born, not owned; that of the session's socket otherwise.
  std::optional<int> netns_fd;

  // Transmit and receive queues, 1 to 4096 (EINVAL). Left to itself, the kernel makes a veth with one per CPU.
  uint32_t tx_queues = 1;
  uint32_t rx_queues = 1;

  // The link that it becomes a port of, such as a bridge, by its ifindex in the namespace in which the new link is born
  // (IFLA_MASTER). Not for the peer of a veth, where the kernel ignores it.
  std::optional<int> master;

  // Whether it receives what is for others (IFF_PROMISC), and all multicast (IFF_ALLMULTI).
  bool promiscuous = false;
  bool all_multicast = false;

  OffloadLimits limits;
};

// An end of a new veth pair.
using VethEnd = NewLink;

// A new veth pair. Both ends are born in place, at once or not at all.
struct VethRequest {
  VethEnd end;
  VethEnd peer;
};

// RTM_NEWLINK that creates a pair. EEXIST where a name is taken, without a word on which end. The kernel looks
// `end.name` up in the session's namespace too, even if it is born elsewhere, so the end that lives where the socket is
// should come first. Where it does, the request asks for an echo (NLM_F_ECHO): since Linux 6.2 the kernel replies with
// `end` as it was made.
Request EncodeNewVeth(const VethRequest& veth);

// Changes to one link. What is not set stays as it is.
struct LinkChange {
  // A link without a carrier to wait for gets its IPv6 addresses as it comes up, before address_generation is looked
  // at: where that is to count, it is set in a request before. A veth waits for its carrier.
  std::optional<bool> up;
  // A new name, only for a link that is named by its ifindex.
  std::optional<std::string> name;
  std::optional<MacAddress> mac;
  std::optional<uint32_t> mtu;
  std::optional<uint32_t> group;
  // At most 255 bytes (IFLA_IFALIAS); empty removes it.
  std::optional<std::string> alias;
  // An open descriptor of the network namespace to move to, not owned. Slow: some 20 ms, during which the kernel stalls
  // every other change of links.
  std::optional<int> netns_fd;
  // The ifindex of the link to become a port of; 0 leaves the one that it is a port of. EINVAL where there is no such
  // link or this one can't be a port (the loopback link), EOPNOTSUPP where that one has no ports, ELOOP for a bridge of
  // a bridge.
  std::optional<int> master;
  // IFF_PROMISC and IFF_ALLMULTI, as an administrator asks for them: the kernel counts its own wants apart.
  std::optional<bool> promiscuous;
  std::optional<bool> all_multicast;
  OffloadLimits limits;
  // Affects what is generated from then on. EAFNOSUPPORT where the link has no IPv6 (its MTU is below 1280).
  std::optional<AddressGeneration> address_generation;
};

// RTM_SETLINK. ENODEV where there is no such link. The kernel applies the changes one by one: after an error, the
// earlier ones may stand.
Request EncodeSetLink(const LinkRef& link, const LinkChange& change);

// RTM_NEWLINKPROP: gives the link alternative names (IFLA_ALT_IFNAME), at least one, of at most 127 bytes (ERANGE); the
// kernel takes any characters. EEXIST where one of them is a name or an alternative name in the namespace; those before
// it stand. A link keeps them when it moves.
Request EncodeAddAlternativeNames(const LinkRef& link, std::span<const std::string> names);

// RTM_DELLINKPROP: takes alternative names away. ENOENT where nothing has one of them, EINVAL where another link has it
// or where it is the link's name; those before it are gone.
Request EncodeDeleteAlternativeNames(const LinkRef& link, std::span<const std::string> names);

// RTM_GETLINK for one link, without its statistics. ENODEV where there is none.
Request EncodeGetLink(const LinkRef& link);

// RTM_GETLINK for all links of the session's namespace, without their statistics, for Session::Dump.
Request EncodeDumpLinks();

// RTM_DELLINK. A veth goes with its peer. ENODEV where there is no such link, EOPNOTSUPP for a link that can't be
// deleted.
Request EncodeDeleteLink(const LinkRef& link);

// RTM_DELLINK for all links of the session's namespace that are in `group`, in one go. The kernel deletes none if one
// of them can't be deleted (EOPNOTSUPP). ENODEV where the group is empty, EPERM for group 0.
Request EncodeDeleteLinkGroup(uint32_t group);

// Operational state (RFC 2863), IF_OPER_*.
enum class OperState : uint8_t {
  // The driver does not say.
  kUnknown = 0,
  kNotPresent = 1,
  kDown = 2,
  // The link that this one stands on is down, or the other end of a veth.
  kLowerLayerDown = 3,
  kTesting = 4,
  // Waits for something other than a carrier.
  kDormant = 5,
  kUp = 6,
};

// What the kernel says about a link.
struct Link {
  // Positive; unique in its namespace while it exists.
  int ifindex = 0;
  std::string name;

  // None for links without a six-octet hardware address.
  std::optional<MacAddress> mac;

  uint32_t mtu = 0;

  // IFF_*, netdevice(7).
  uint32_t flags = 0;

  // Administratively up (IFF_UP).
  bool up = false;

  // Able to pass packets: up, with a carrier (IFF_LOWER_UP), and operational (IFF_RUNNING). Of a veth: both ends are
  // up.
  bool running = false;

  // IFLA_GROUP; 0 is the default group.
  uint32_t group = 0;

  // IFLA_IFALIAS, mostly empty.
  std::string alias;

  // IFLA_INFO_KIND, as in `veth`; empty for links without one, such as the loopback link.
  std::string kind;

  // The link that this one stands on, and for a veth its peer (IFLA_LINK), as an ifindex in the namespace link_netnsid.
  std::optional<int> link;

  // The session's namespace's number for the namespace of `link`, where that is another one (IFLA_LINK_NETNSID).
  // Negative where it has none.
  std::optional<int> link_netnsid;

  // The link that this one is a port of, by its ifindex in the same namespace (IFLA_MASTER).
  std::optional<int> master;

  // IFLA_ALT_IFNAME, in the order in which they were given.
  std::vector<std::string> alternative_names;

  // IFF_PROMISC and IFF_ALLMULTI as an administrator has set them; the kernel may want them besides, as for a port of a
  // bridge.
  bool promiscuous = false;
  bool all_multicast = false;

  uint32_t tx_queues = 0;
  uint32_t rx_queues = 0;

  // Those that the kernel has.
  OffloadLimits limits;

  // None where the link has no IPv6.
  std::optional<AddressGeneration> address_generation;

  OperState oper_state = OperState::kUnknown;
};

// Reads a reply to EncodeGetLink or EncodeDumpLinks. EBADMSG where it is malformed: cut short, an attribute of the
// wrong length, or without ifindex or name. Attributes that are not in Link are skipped.
KernelResult<Link> DecodeLink(std::span<const std::byte> payload);

// For the other encoders of links in this layer: the header and the attributes of a new link; the header, of an address
// family or of none, and the name that say which link is meant (EINVAL in Session where the ifindex is not positive);
// and both as Request::operation says it.
void PutNewLink(MessageBuilder& message, const NewLink& link);
void PutLinkRef(MessageBuilder& message, const LinkRef& link, uint8_t family = 0);
std::string DescribeLink(const char* message, const LinkRef& link);

}  // namespace netprov::netlink

#endif  // NETPROV_SERVER_NETLINK_LINK_H_
