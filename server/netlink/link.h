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

#include "server/base/kernel_error.h"
#include "server/netlink/mac_address.h"
#include "server/netlink/message.h"

namespace netprov::netlink {

// One end of a new veth pair.
struct VethEnd {
  // Interface name. The kernel fills in a free number for a `%d`.
  std::string name;

  // Hardware address; the kernel draws a random one otherwise.
  std::optional<MacAddress> mac;

  // Maximum transmission unit in bytes, 68 to 65535 for a veth; 1500 otherwise.
  std::optional<uint32_t> mtu;

  // IFLA_GROUP; 0 is the default group.
  uint32_t group = 0;

  // Whether the link is administratively up from the start. Not for the peer: the kernel opens that one before it joins
  // the two, and refuses (ENOTCONN, veth_open). It is set up by a request of its own.
  bool up = false;

  // An open descriptor of the network namespace in which it is born, not owned; that of the session's socket otherwise.
  std::optional<int> netns_fd;

  // Transmit queues and as many receive queues, at least 1. The kernel would make one per CPU.
  uint32_t queues = 1;
};

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

// Which link of the session's namespace is meant: its ifindex, or its name. A name also finds the link that has it as
// an alternative name.
using LinkRef = std::variant<int, std::string>;

// Changes to one link. What is not set stays as it is.
struct LinkChange {
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
};

// RTM_SETLINK. ENODEV where there is no such link. The kernel applies the changes
// one by one: after an error, the earlier ones may stand.
Request EncodeSetLink(const LinkRef& link, const LinkChange& change);

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
};

// Reads a reply to EncodeGetLink or EncodeDumpLinks. EBADMSG where it is malformed: cut short, an attribute of the
// wrong length, or without ifindex or name. Attributes that are not in Link are skipped.
KernelResult<Link> DecodeLink(std::span<const std::byte> payload);

}  // namespace netprov::netlink

#endif  // NETPROV_SERVER_NETLINK_LINK_H_
