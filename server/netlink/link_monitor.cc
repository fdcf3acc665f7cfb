#include "server/netlink/link_monitor.h"

#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <utility>

#include "server/netlink/message.h"

namespace netprov::netlink {
namespace {

// A multicast message of one link; those with many virtual functions are long.
constexpr size_t kReceiveSize = size_t{64} * 1024;

// Some hundred links may come at once, as when a namespace with many is deleted.
constexpr int kReceiveQueue = 4 * 1024 * 1024;

std::optional<int> NsidOf(msghdr& message) {
  for (cmsghdr* control = CMSG_FIRSTHDR(&message); control != nullptr; control = CMSG_NXTHDR(&message, control)) {
    if (control->cmsg_level != SOL_NETLINK || control->cmsg_type != NETLINK_LISTEN_ALL_NSID) continue;
    int nsid = 0;
    std::memcpy(&nsid, CMSG_DATA(control), sizeof(nsid));
    return nsid;
  }
  return std::nullopt;
}

// The link that a message is about; none where it does not matter.
std::optional<int> LinkOf(const MessageView& message) {
  std::span<const std::byte> payload = message.payload;
  switch (message.type) {
    case RTM_NEWLINK:
    case RTM_DELLINK: {
      std::optional<ifinfomsg> header = TakeHeader<ifinfomsg>(payload);
      // Of AF_BRIDGE is a link as a port, whose settings are told in no other way.
      if (!header || (header->ifi_family != AF_UNSPEC && header->ifi_family != AF_BRIDGE)) return std::nullopt;
      return header->ifi_index;
    }
    case RTM_DELADDR: {
      std::optional<ifaddrmsg> header = TakeHeader<ifaddrmsg>(payload);
      if (!header) return std::nullopt;
      return static_cast<int>(header->ifa_index);
    }
    case RTM_NEWROUTE:
      // Else it takes nothing away.
      if ((message.flags & NLM_F_REPLACE) == 0) return std::nullopt;
      [[fallthrough]];
    case RTM_DELROUTE: {
      std::optional<rtmsg> header = TakeHeader<rtmsg>(payload);
      if (!header) return std::nullopt;
      AttributeReader reader(payload);
      while (std::optional<AttributeView> attribute = reader.Next()) {
        // IPv6 shows a route that belongs to no link with the loopback link.
        if (attribute->type == RTA_OIF && header->rtm_type == RTN_UNICAST) {
          return static_cast<int>(attribute->U32().value_or(0));
        }
      }
      return 0;
    }
    case RTM_NEWQDISC:
    case RTM_DELQDISC:
    case RTM_NEWTFILTER:
    case RTM_DELTFILTER: {
      std::optional<tcmsg> header = TakeHeader<tcmsg>(payload);
      // Filters that links share are of none.
      if (!header || header->tcm_ifindex <= 0) return std::nullopt;
      return header->tcm_ifindex;
    }
    default:
      return std::nullopt;
  }
}

}  // namespace

std::vector<LinkEvent> DecodeLinkEvents(std::span<const std::byte> datagram, std::optional<int> nsid) {
  std::vector<LinkEvent> events;
  MessageReader reader(datagram);
  while (std::optional<MessageView> message = reader.Next()) {
    if (std::optional<int> ifindex = LinkOf(*message); ifindex) events.push_back({.nsid = nsid, .ifindex = *ifindex});
  }
  return events;
}

KernelResult<std::unique_ptr<LinkMonitor>> LinkMonitor::Open() {
  UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE));
  if (!fd.valid()) return ErrnoError("socket(NETLINK_ROUTE)");
  // As in mnl_transport.cc: in a user namespace only the second is allowed.
  if (::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUFFORCE, &kReceiveQueue, sizeof(kReceiveQueue)) < 0 &&
      ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &kReceiveQueue, sizeof(kReceiveQueue)) < 0) {
    return ErrnoError("setsockopt(SO_RCVBUF)");
  }
  sockaddr_nl address = {};
  address.nl_family = AF_NETLINK;
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return ErrnoError("bind(NETLINK_ROUTE)");
  }
  const int on = 1;
  if (::setsockopt(fd.get(), SOL_NETLINK, NETLINK_LISTEN_ALL_NSID, &on, sizeof(on)) != 0) {
    return ErrnoError("setsockopt(NETLINK_LISTEN_ALL_NSID)");
  }
  for (const int group :
       {RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE, RTNLGRP_TC}) {
    if (::setsockopt(fd.get(), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) != 0) {
      return ErrnoError("setsockopt(NETLINK_ADD_MEMBERSHIP)");
    }
  }
  return std::unique_ptr<LinkMonitor>(new LinkMonitor(std::move(fd)));
}

KernelResult<LinkMonitor::News> LinkMonitor::Read() {
  News news;
  std::vector<std::byte> buffer(kReceiveSize);
  while (true) {
    sockaddr_nl sender = {};
    iovec part{.iov_base = buffer.data(), .iov_len = buffer.size()};
    alignas(cmsghdr) std::array<char, 256> control;
    msghdr message = {};
    message.msg_name = &sender;
    message.msg_namelen = sizeof(sender);
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t size = ::recvmsg(socket_.get(), &message, 0);
    if (size < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN) return news;
      if (errno != ENOBUFS) return ErrnoError("recvmsg(NETLINK_ROUTE)");
      news.lost = true;
      continue;
    }
    if (sender.nl_pid != 0) continue;
    if ((message.msg_flags & MSG_TRUNC) != 0) news.lost = true;
    std::vector<LinkEvent> events =
        DecodeLinkEvents(std::span(buffer).first(static_cast<size_t>(size)), NsidOf(message));
    news.events.insert(news.events.end(), events.begin(), events.end());
  }
}

}  // namespace netprov::netlink
