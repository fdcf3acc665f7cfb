// Routes in rtnetlink: RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE. rtnetlink(7), Linux net/ipv4/fib_frontend.c and
// net/ipv6/route.c. Pure functions; requests are made for Session, and replies come from it.
#ifndef NETPROV_SERVER_NETLINK_ROUTE_H_
#define NETPROV_SERVER_NETLINK_ROUTE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "server/base/kernel_error.h"
#include "server/netlink/ip_address.h"
#include "server/netlink/message.h"

namespace netprov::netlink {

// One of several ways that a route leads.
struct NextHop {
  // The next hop, of either family; none on the link itself.
  std::optional<IpAddress> gateway;

  // The link that packets leave through, an ifindex in the session's namespace; positive.
  int ifindex = 0;

  // Its share of the packets, 1 to 256.
  uint32_t weight = 1;

  // RTNH_F_ONLINK.
  bool onlink = false;

  friend bool operator==(const NextHop&, const NextHop&) = default;
};

// A route.
struct Route {
  // Where it leads; 0.0.0.0/0 and ::/0 are the default routes. Bits after the prefix must be 0, or the kernel answers
  // EINVAL.
  IpPrefix destination;

  // The next hop, of the destination's family.
  std::optional<IpAddress> gateway;

  // The link that packets leave through (RTA_OIF), an ifindex in the session's namespace; positive.
  std::optional<int> ifindex;

  // RTA_PRIORITY, the lowest wins. Left out, IPv4 has 0 and IPv6 1024.
  std::optional<uint32_t> metric;

  // 254 is the main table, 255 the local one; any number but 0.
  uint32_t table = 254;

  // RT_SCOPE_*: 0 (universe) for a route through a gateway, 253 (link) for one straight onto a link, which gateways can
  // then be reached by. IPv6 has no scopes.
  uint8_t scope = 0;

  // RTN_*: 1 is unicast; 6 (blackhole) drops packets, 7 (unreachable) and 8 (prohibit) also tell the sender. These
  // three have neither gateway nor link; in replies for IPv6 the kernel gives them the loopback link.
  uint8_t type = 1;

  // Who made it (RTPROT_*): 2 the kernel, 3 at boot, 4 an administrator; others are for the taking.
  uint8_t protocol = 4;

  // The source address that this host's own packets get (RTA_PREFSRC), of the destination's family.
  std::optional<IpAddress> preferred_source;

  // The gateway counts as reachable through the link even if no prefix says so (RTNH_F_ONLINK).
  bool onlink = false;

  // Path MTU in bytes (RTAX_MTU in RTA_METRICS).
  std::optional<uint32_t> mtu;

  // These are read and never written: an encoder fails with EINVAL in Session where one of them is set.

  // Type of service, for IPv4 part of what tells routes apart (rtm_tos).
  uint8_t tos = 0;

  // A next hop of the other family (RTA_VIA); there is no `gateway` then.
  std::optional<IpAddress> via;

  // Where there are several (RTA_MULTIPATH); there is neither `gateway` nor `ifindex` then.
  std::vector<NextHop> next_hops;

  friend bool operator==(const Route&, const Route&) = default;
};

// RTM_NEWROUTE that adds `route`. EEXIST where one of the same destination, table and metric exists. EINVAL in Session
// for a prefix too long, an address of another family, or table 0.
Request EncodeNewRoute(const Route& route);

// RTM_DELROUTE for the route that is like `route` in everything that is set. ESRCH where there is none.
Request EncodeDeleteRoute(const Route& route);

// RTM_GETROUTE for all routes of a family in all tables, or in one, through all links, or one, for Session::Dump. A
// table that does not exist is ENOENT, a link that does not ENODEV.
Request EncodeDumpRoutes(IpFamily family, std::optional<uint32_t> table = std::nullopt,
                         std::optional<int> ifindex = std::nullopt);

// RTM_GETRULE for all rules of a family (ip-rule(8)), for Session::Dump. EOPNOTSUPP, EAFNOSUPPORT: the kernel has no
// policy routing, or none of the family, and takes its one table for any that a route names (fib_get_table(),
// fib6_get_table()).
Request EncodeDumpRules(IpFamily family);

// Reads a reply to EncodeDumpRoutes. EBADMSG where it is malformed: cut short, or an attribute of the wrong length.
// EAFNOSUPPORT for another family than IPv4 and IPv6.
KernelResult<Route> DecodeRoute(std::span<const std::byte> payload);

}  // namespace netprov::netlink

#endif  // NETPROV_SERVER_NETLINK_ROUTE_H_
