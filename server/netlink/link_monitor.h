// The kernel's own news of links, and of what they lose.
#ifndef NETPROV_SERVER_NETLINK_LINK_MONITOR_H_
#define NETPROV_SERVER_NETLINK_LINK_MONITOR_H_

#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "server/base/kernel_error.h"
#include "server/base/unique_fd.h"

namespace netprov::netlink {

// A link was made, changed or deleted, lost an address or a route, or its queueing disciplines or filters changed.
struct LinkEvent {
  // The namespace that it is in, by the number that the monitor's has for it (nsid.h); nullopt: the monitor's own.
  std::optional<int> nsid;
  // 0: a route that belongs to no link is gone.
  int ifindex = 0;

  friend bool operator==(const LinkEvent&, const LinkEvent&) = default;
};

// The links that a datagram tells of. What is added to a link, and other messages, are skipped; what follows a
// malformed one too.
std::vector<LinkEvent> DecodeLinkEvents(std::span<const std::byte> datagram, std::optional<int> nsid);

// Listens to RTNLGRP_LINK, RTNLGRP_TC, and those of addresses and routes of IPv4 and IPv6, of the namespace in which it
// was opened, and of every other for which that one has a number (NETLINK_LISTEN_ALL_NSID; the kernel wants
// CAP_NET_BROADCAST for those, and is silent without it). The number does not keep a namespace alive. For one thread.
class LinkMonitor {
 public:
  // Close-on-exec, not blocking. Fails with the system call's error.
  static KernelResult<std::unique_ptr<LinkMonitor>> Open();

  // Readable when there is news.
  int fd() const { return socket_.get(); }

  struct News {
    std::vector<LinkEvent> events;
    // More came than the socket could hold (ENOBUFS), so some is missing.
    bool lost = false;
  };

  // All that has come; nothing of it twice.
  KernelResult<News> Read();

 private:
  explicit LinkMonitor(UniqueFd socket) : socket_(std::move(socket)) {}

  UniqueFd socket_;
};

}  // namespace netprov::netlink

#endif  // NETPROV_SERVER_NETLINK_LINK_MONITOR_H_
