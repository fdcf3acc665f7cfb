// The kernel's netlink sockets, by libmnl.
#ifndef NETPROV_SERVER_NETLINK_MNL_TRANSPORT_H_
#define NETPROV_SERVER_NETLINK_MNL_TRANSPORT_H_

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "server/base/kernel_error.h"
#include "server/netlink/transport.h"

struct mnl_socket;

namespace netprov::netlink {

// What is at the other end.
enum class NetlinkProtocol {
  kRoute,      // NETLINK_ROUTE: rtnetlink(7)
  kNetfilter,  // NETLINK_NETFILTER: nf_tables, for transactions of many messages
};

// A netlink socket. It belongs for good to the network namespace that the thread was in when it was opened, and
// keeps that namespace alive until it is destroyed. Opening takes some 10 us. For one thread at a time, not always the
// same.
class MnlTransport : public Transport {
 public:
  static constexpr std::chrono::milliseconds kDefaultTimeout = std::chrono::seconds(5);

  // Opens a socket in the calling thread's network namespace, close-on-exec, with extended acknowledgements that don't
  // repeat the request (NETLINK_EXT_ACK, NETLINK_CAP_ACK) and strict checking of requests (NETLINK_GET_STRICT_CHK,
  // Linux 4.20). `timeout`, more than 0, bounds one Receive. Fails with the system call's error, or EINVAL for the
  // timeout.
  static KernelResult<std::unique_ptr<MnlTransport>> Open(std::chrono::milliseconds timeout = kDefaultTimeout,
                                                          NetlinkProtocol protocol = NetlinkProtocol::kRoute);

  ~MnlTransport() override;
  MnlTransport(const MnlTransport&) = delete;
  MnlTransport& operator=(const MnlTransport&) = delete;

  KernelResult<void> Send(std::span<const std::byte> datagram) override;
  KernelResult<Datagram> Receive() override;
  uint32_t port_id() const override;

  // The socket, still owned, for socket options such as SO_NETNS_COOKIE.
  int fd() const;

 private:
  MnlTransport(mnl_socket* socket, const char* protocol);

  mnl_socket* socket_;
  // The protocol's name, for errors.
  const char* protocol_;
};

}  // namespace netprov::netlink

#endif  // NETPROV_SERVER_NETLINK_MNL_TRANSPORT_H_
