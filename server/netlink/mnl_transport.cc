#include "server/netlink/mnl_transport.h"

#include <libmnl/libmnl.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace netprov::netlink {
namespace {

// `socket(NETLINK_ROUTE)` and the like.
std::string Call(const char* call, const char* protocol) { return std::string(call) + "(" + protocol + ")"; }

// The kernel fills at most 32 KiB per datagram of a dump if the buffer allows. A single link with many virtual
// functions is longer than that.
constexpr size_t kReceiveSize = size_t{64} * 1024;

// Room for the replies to a batch, which are all queued before the first is read.
constexpr int kReceiveQueue = 1024 * 1024;

// Room for one nf_tables transaction, which must be one datagram; rtnetlink's fit the default.
constexpr int kTransactionQueue = 2 * 1024 * 1024;

// Sets a queue's size: with `force` beyond the system's limit, which in a user namespace is not allowed, else with
// `within` up to it.
bool SetQueue(int fd, int force, int within, int size) {
  return ::setsockopt(fd, SOL_SOCKET, force, &size, sizeof(size)) == 0 ||
         ::setsockopt(fd, SOL_SOCKET, within, &size, sizeof(size)) == 0;
}

}  // namespace

KernelResult<std::unique_ptr<MnlTransport>> MnlTransport::Open(std::chrono::milliseconds timeout,
                                                               NetlinkProtocol protocol) {
  if (timeout.count() <= 0) return KernelError{.code = EINVAL, .operation = "setsockopt(SO_RCVTIMEO)", .extack = {}};

  const bool netfilter = protocol == NetlinkProtocol::kNetfilter;
  const char* name = netfilter ? "NETLINK_NETFILTER" : "NETLINK_ROUTE";
  mnl_socket* socket = mnl_socket_open2(netfilter ? NETLINK_NETFILTER : NETLINK_ROUTE, SOCK_CLOEXEC);
  if (socket == nullptr) return ErrnoError(Call("socket", name));
  std::unique_ptr<MnlTransport> transport(new MnlTransport(socket, name));
  if (mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0) return ErrnoError(Call("bind", name));

  struct Option {
    int number;
    const char* operation;
  };
  for (const Option& option :
       {Option{NETLINK_EXT_ACK, "setsockopt(NETLINK_EXT_ACK)"}, Option{NETLINK_CAP_ACK, "setsockopt(NETLINK_CAP_ACK)"},
        Option{NETLINK_GET_STRICT_CHK, "setsockopt(NETLINK_GET_STRICT_CHK)"}}) {
    int on = 1;
    if (mnl_socket_setsockopt(socket, option.number, &on, sizeof(on)) < 0) return ErrnoError(option.operation);
  }

  timeval wait{.tv_sec = timeout.count() / 1000, .tv_usec = timeout.count() % 1000 * 1000};
  if (::setsockopt(transport->fd(), SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) < 0) {
    return ErrnoError("setsockopt(SO_RCVTIMEO)");
  }

  // If the system's limit is too little, an overrun is noticed, and a transaction too long is refused.
  if (!SetQueue(transport->fd(), SO_RCVBUFFORCE, SO_RCVBUF, kReceiveQueue)) return ErrnoError("setsockopt(SO_RCVBUF)");
  if (netfilter && !SetQueue(transport->fd(), SO_SNDBUFFORCE, SO_SNDBUF, kTransactionQueue)) {
    return ErrnoError("setsockopt(SO_SNDBUF)");
  }
  return transport;
}

MnlTransport::MnlTransport(mnl_socket* socket, const char* protocol) : socket_(socket), protocol_(protocol) {}

MnlTransport::~MnlTransport() { mnl_socket_close(socket_); }

KernelResult<void> MnlTransport::Send(std::span<const std::byte> datagram) {
  if (mnl_socket_sendto(socket_, datagram.data(), datagram.size()) < 0) return ErrnoError(Call("sendto", protocol_));
  return {};
}

KernelResult<Datagram> MnlTransport::Receive() {
  // One per thread and not per socket: sockets are opened by the thousand, and fresh memory costs page faults.
  thread_local const std::unique_ptr<std::byte[]> buffer = std::make_unique_for_overwrite<std::byte[]>(kReceiveSize);
  // mnl_socket_recvfrom does not tell who sent.
  sockaddr_nl sender = {};
  iovec part{.iov_base = buffer.get(), .iov_len = kReceiveSize};
  msghdr message = {};
  message.msg_name = &sender;
  message.msg_namelen = sizeof(sender);
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  ssize_t size = ::recvmsg(fd(), &message, 0);
  if (size < 0) {
    KernelError error = ErrnoError(Call("recvmsg", protocol_));
    if (error.code == EAGAIN) error.code = ETIMEDOUT;
    return error;
  }
  return Datagram{.bytes = std::vector<std::byte>(buffer.get(), buffer.get() + size),
                  .sender = sender.nl_pid,
                  .truncated = (message.msg_flags & MSG_TRUNC) != 0};
}

uint32_t MnlTransport::port_id() const { return mnl_socket_get_portid(socket_); }

int MnlTransport::fd() const { return mnl_socket_get_fd(socket_); }

}  // namespace netprov::netlink
