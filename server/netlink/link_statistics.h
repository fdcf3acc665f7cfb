// What a link has carried (IFLA_STATS64 in replies to RTM_GETLINK). Linux include/uapi/linux/if_link.h,
// rtnl_link_stats64. Pure functions; requests are made for Session, and replies come from it.
#ifndef NETPROV_SERVER_NETLINK_LINK_STATISTICS_H_
#define NETPROV_SERVER_NETLINK_LINK_STATISTICS_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "server/base/kernel_error.h"
#include "server/netlink/link.h"
#include "server/netlink/message.h"

namespace netprov::netlink {

// Counters since the link was made, in packets where nothing else is said. What counts as bytes is the driver's choice:
// mostly from the Ethernet header on, of the loopback link from the IP header on.
struct LinkStatistics {
  // The link, by its ifindex in the session's namespace; positive.
  int ifindex = 0;

  uint64_t rx_packets = 0;
  uint64_t tx_packets = 0;
  uint64_t rx_bytes = 0;
  uint64_t tx_bytes = 0;

  uint64_t rx_errors = 0;
  uint64_t tx_errors = 0;

  // For want of room, or because nobody wanted them.
  uint64_t rx_dropped = 0;
  uint64_t tx_dropped = 0;

  // Multicast that was received.
  uint64_t multicast = 0;

  // Received by a link that is not meant to, as the backup of a bond.
  uint64_t rx_no_handler = 0;

  friend bool operator==(const LinkStatistics&, const LinkStatistics&) = default;
};

// RTM_GETLINK for one link with its statistics, which DecodeLink reads too. ENODEV where there is none.
Request EncodeGetLinkStatistics(const LinkRef& link);

// RTM_GETLINK for all links of the session's namespace with their statistics, for Session::Dump. Takes the kernel
// longer than EncodeDumpLinks.
Request EncodeDumpLinkStatistics();

// Reads a reply to these. EBADMSG where it is malformed: cut short, without ifindex or statistics, or with ones shorter
// than those of Linux 4.6; what newer kernels add at the end is skipped.
KernelResult<LinkStatistics> DecodeLinkStatistics(std::span<const std::byte> payload);

}  // namespace netprov::netlink

#endif  // NETPROV_SERVER_NETLINK_LINK_STATISTICS_H_
