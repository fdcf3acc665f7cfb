// What is counted of conversations with the kernel.
#ifndef NETPROV_SERVER_NETLINK_STATISTICS_H_
#define NETPROV_SERVER_NETLINK_STATISTICS_H_

#include "server/base/statistics.h"

namespace netprov::netlink {

// Of any number of sessions and monitors. Thread-safe.
struct Statistics {
  // Round trips: from when requests are sent until their last answer is read, or given up. The kernel works on changes
  // under a lock (RTNL) that all programs of the machine share, so these also show who else holds it.
  Histogram changes;       // a batch with at least one change
  Histogram gets;          // a batch of nothing but gets
  Histogram dumps;         // each try of a dump
  Histogram transactions;  // of nf_tables

  Counter requests;           // in all of these, each message by itself
  Counter interrupted_dumps;  // tries that a change interrupted (NLM_F_DUMP_INTR), which are repeated

  // Answers that are lost, once for each round trip.
  Counter late;          // ETIMEDOUT
  Counter overrun;       // ENOBUFS
  Counter truncated;     // EMSGSIZE
  Counter malformed;     // EBADMSG
  Counter other_losses;  // whatever else the socket failed with

  // Times that a monitor learned that news was dropped.
  Counter lost_news;
};

}  // namespace netprov::netlink

#endif  // NETPROV_SERVER_NETLINK_STATISTICS_H_
