// Queueing disciplines of links in rtnetlink: RTM_NEWQDISC, RTM_DELQDISC, RTM_GETQDISC. tc(8), tc-tbf(8), Linux
// net/sched/sch_api.c, net/sched/sch_tbf.c and net/sched/sch_ingress.c. Pure functions; requests are made for Session,
// and replies come from it.
#ifndef NETPROV_SERVER_NETLINK_QDISC_H_
#define NETPROV_SERVER_NETLINK_QDISC_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>

#include "server/base/kernel_error.h"
#include "server/netlink/message.h"

namespace netprov::netlink {

// A token bucket filter (tbf): what a link sends is held to a rate.
struct TokenBucket {
  // Bytes a second, at least 1.
  uint64_t rate = 0;

  // Bytes that may be sent at once, at least the link's MTU with its Ethernet header, or longer packets are dropped; at
  // least what comes in `rate` in a tick of the kernel's clock (1/HZ), or the rate is not reached. The time for it at
  // `rate` must be less than 274 s. The kernel keeps that time in ticks of 64 ns: what it replies is up to 64 ns of
  // `rate` and a byte less or more.
  uint32_t burst = 0;

  // Bytes that may wait, beyond which packets are dropped; at least 1.
  uint32_t limit = 0;

  friend bool operator==(const TokenBucket&, const TokenBucket&) = default;
};

// The `limit` at which no packet waits longer than `latency`: burst and what is sent in that time; at most 2^32 - 1.
uint32_t TokenBucketLimit(uint64_t rate, uint32_t burst, std::chrono::microseconds latency);

// Where filters of what a link receives hang (ingress).
struct Ingress {
  friend bool operator==(const Ingress&, const Ingress&) = default;
};

// Where filters of what a link receives and of what it sends hang (clsact). A link has one of these two at most.
struct Clsact {
  friend bool operator==(const Clsact&, const Clsact&) = default;
};

// A queueing discipline of a link.
struct Qdisc {
  // The link, by its ifindex in the session's namespace; positive.
  int ifindex = 0;

  // What it is; none for other kinds.
  std::variant<std::monostate, TokenBucket, Ingress, Clsact> options;

  // In a reply: TCA_KIND, as in `pfifo_fast`.
  std::string kind;

  // In a reply: the kernel's or its maker's number for it, 0 for a link's default, and what it hangs at, 0xffffffff
  // being the root and 0xfffffff1 ingress and clsact.
  uint32_t handle = 0;
  uint32_t parent = 0;

  friend bool operator==(const Qdisc&, const Qdisc&) = default;
};

// RTM_NEWQDISC that gives a link a discipline: a TokenBucket as its root, in place of its default, or the others in
// their place. EEXIST where the place is taken. ENODEV where there is no such link, ENOENT where the kernel does not
// have the kind. EINVAL in Session without a kind, or for a TokenBucket out of range.
Request EncodeNewQdisc(const Qdisc& qdisc);

// RTM_NEWQDISC that gives a link a discipline, or puts it in place of the one that is there, or changes its options
// where that is of the same kind. A change of a TokenBucket keeps what waits.
Request EncodeReplaceQdisc(const Qdisc& qdisc);

// RTM_DELQDISC for what is where `qdisc` would be, with its filters; a root's place is taken by the default again.
// ENOENT where the place is empty, EINVAL where it has another kind, as that of a root has by default.
Request EncodeDeleteQdisc(const Qdisc& qdisc);

// RTM_GETQDISC for all links of the session's namespace, for Session::Dump. The kernel knows no filter by link.
Request EncodeDumpQdiscs();

// Reads a reply to EncodeDumpQdiscs. EBADMSG where it is malformed: cut short, an attribute of the wrong length,
// without ifindex or kind, or a TokenBucket without its parameters.
KernelResult<Qdisc> DecodeQdisc(std::span<const std::byte> payload);

}  // namespace netprov::netlink

#endif  // NETPROV_SERVER_NETLINK_QDISC_H_
