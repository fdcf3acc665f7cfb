// Bytes to the kernel and back: the seam between the netlink protocol (Session) and a socket or a script.
#ifndef NETPROV_SERVER_NETLINK_TRANSPORT_H_
#define NETPROV_SERVER_NETLINK_TRANSPORT_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "server/base/kernel_error.h"

namespace netprov::netlink {

// What one receive gave.
struct Datagram {
  // Mostly one reply, or many messages of a dump.
  std::vector<std::byte> bytes;

  // The port id of the sender; 0 is the kernel. Any process may send to any netlink socket.
  uint32_t sender = 0;

  // The datagram was longer than `bytes`, and its rest is lost.
  bool truncated = false;
};

// One end of a netlink connection to a kernel. Every error is passed on as it is: what to retry, to skip or to give up
// is the Session's business. For one thread at a time.
class Transport {
 public:
  virtual ~Transport() = default;

  // Sends one datagram with one or more messages. The kernel works on all of them before this returns, so it may block
  // for as long as they take. After an error, EINTR included, nothing was done.
  virtual KernelResult<void> Send(std::span<const std::byte> datagram) = 0;

  // Waits for the next datagram, not forever. Errors: ETIMEDOUT where none came in time, ENOBUFS where the kernel had
  // to drop one, EINTR after a signal, and others.
  virtual KernelResult<Datagram> Receive() = 0;

  // The port id that the kernel's replies carry.
  virtual uint32_t port_id() const = 0;
};

}  // namespace netprov::netlink

#endif  // NETPROV_SERVER_NETLINK_TRANSPORT_H_
