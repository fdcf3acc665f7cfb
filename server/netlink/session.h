// The netlink protocol: requests are sent, and the kernel's answers are found among whatever arrives.
#ifndef NETPROV_SERVER_NETLINK_SESSION_H_
#define NETPROV_SERVER_NETLINK_SESSION_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "server/base/kernel_error.h"
#include "server/netlink/message.h"
#include "server/netlink/statistics.h"
#include "server/netlink/transport.h"

namespace netprov::netlink {

// The payload of one reply without its nlmsghdr, as DecodeLink and its like take it.
using Payload = std::vector<std::byte>;

// What became of one request of a batch.
struct Outcome {
  // None after success.
  std::optional<KernelError> error;

  // The objects that the kernel answered with: one for a get that succeeded, none for a change.
  std::vector<Payload> replies;

  bool ok() const { return !error.has_value(); }
};

// Why a transaction was refused as a whole.
struct TransactionError {
  KernelError error;

  // Which of the requests was refused, the first of them; none where the transaction itself was.
  std::optional<size_t> request;
};

struct SessionOptions {
  // Bounds the wait for the answers to one call, all tries of a dump together. The transport's receive timeout comes on
  // top, once. It does not bound Transport::Send, in which the kernel does its work.
  std::chrono::milliseconds max_wait = std::chrono::seconds(30);

  // How often a dump is tried, at least 1, until the kernel gives one that no change interrupted.
  int max_dump_tries = 16;

  // The clock of max_wait.
  std::function<std::chrono::steady_clock::time_point()> now = std::chrono::steady_clock::now;

  // Where to count; must outlive the session. Null: nowhere.
  Statistics* statistics = nullptr;
};

// A conversation over one Transport. Each request gets its own sequence number; what comes from another sender than the
// kernel, for another port or with another sequence is skipped, such as a late answer to a call that was given up.
//
// Errors carry the request's operation, the errno, and the kernel's explanation (NLMSGERR_ATTR_MSG) where it gave one.
// Where the transport fails, so does each request that has no answer yet. Where a request was sent and its answer was
// late (ETIMEDOUT), dropped (ENOBUFS), cut off (EMSGSIZE) or not understood (EBADMSG), the kernel may have carried it
// out all the same (KernelError::may_have_effect), and the caller must read the objects back. Interrupted system calls
// (EINTR) go on. For one thread at a time.
class Session {
 public:
  // Limits of one batch, so that its answers fit the socket's queue.
  static constexpr size_t kMaxBatchRequests = 64;
  static constexpr size_t kMaxBatchBytes = size_t{64} * 1024;

  // Limits of one transaction, for the same reason: each request may be refused, and at most one is acknowledged.
  static constexpr size_t kMaxTransactionRequests = 2048;
  static constexpr size_t kMaxTransactionBytes = size_t{1024} * 1024;

  explicit Session(std::unique_ptr<Transport> transport, SessionOptions options = {});
  // `transport` must outlive the session.
  explicit Session(Transport& transport, SessionOptions options = {});

  // Carries out one change.
  KernelResult<void> Execute(const Request& request);

  // Reads one object. EBADMSG where the kernel answers with none or with several.
  KernelResult<Payload> Get(const Request& request);

  // Sends changes and gets in one system call and returns an outcome for each, in the same order. The kernel takes them
  // in that order and goes on after one that failed. A request that could not be built is left out and fails alone.
  // More than the limits above allow, or a dump among them, and every request fails with E2BIG or EINVAL and none is
  // sent.
  std::vector<Outcome> ExecuteBatch(std::span<const Request> requests);

  // Sends changes of nf_tables as one transaction (nfnetlink_rcv_batch): the kernel carries out all of them or none,
  // and no packet sees a part of them. With a `generation` other than 0 it does so only while the rule set of the
  // namespace is of that generation (EncodeGetNftGeneration), and else fails with ERESTART. Further errors of the
  // transaction itself: EPERM without CAP_NET_ADMIN, EOPNOTSUPP where the kernel has no nf_tables; and before anything
  // is sent, E2BIG for more than the limits above or than the socket's queue takes, EINVAL for no requests or one that
  // is no change of nf_tables. Of the requests' errors it returns the first, as those after it may be its consequence;
  // ENOMEM of the commit comes as that of the first request.
  Result<void, TransactionError> ExecuteTransaction(std::span<const Request> requests, uint32_t generation = 0);

  // Reads all objects of a kind: one whole list that no change interrupted, or an error. An interrupted dump
  // (NLM_F_DUMP_INTR) is tried again, and fails with EAGAIN after max_dump_tries. EINVAL where `request` is no dump.
  KernelResult<std::vector<Payload>> Dump(const Request& request);

  Transport& transport() { return *transport_; }

 private:
  using TimePoint = std::chrono::steady_clock::time_point;
  struct DumpTry;

  // The first of `count` new sequence numbers; 0 is never one, the kernel's notifications have it.
  uint32_t TakeSequences(size_t count);
  KernelResult<void> Send(std::span<const std::byte> datagram);
  // The next datagram from the kernel.
  KernelResult<Datagram> Receive(TimePoint deadline);
  // Waits for the kernel's verdict on `requests`, of which the first has the sequence after `begin`, the batch's own.
  Result<void, TransactionError> ReadTransaction(std::span<const Request> requests, uint32_t begin, TimePoint deadline);
  KernelResult<DumpTry> TryDump(const Request& request, TimePoint deadline);
  // The kind of round trip, of so many requests, that begins.
  Histogram* Begin(Histogram Statistics::*kind, size_t requests) const;
  // The answer of one did not come as it should.
  void CountLoss(int code) const;

  std::unique_ptr<Transport> owned_;
  Transport* transport_;
  SessionOptions options_;
  uint32_t next_sequence_ = 1;
};

}  // namespace netprov::netlink

#endif  // NETPROV_SERVER_NETLINK_SESSION_H_
