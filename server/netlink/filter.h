// Filters that redirect or copy what a link receives or sends to another link, in rtnetlink: RTM_NEWTFILTER,
// RTM_DELTFILTER, RTM_GETTFILTER. tc(8), tc-u32(8), tc-matchall(8), tc-mirred(8), Linux net/sched/cls_api.c,
// net/sched/cls_u32.c, net/sched/cls_matchall.c and net/sched/act_mirred.c. Pure functions; requests are made for
// Session, and replies come from it.
#ifndef NETPROV_SERVER_NETLINK_FILTER_H_
#define NETPROV_SERVER_NETLINK_FILTER_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "server/base/kernel_error.h"
#include "server/netlink/message.h"

namespace netprov::netlink {

// What a filter looks at, of a link with an Ingress or a Clsact (qdisc.h).
enum class FilterHook : uint32_t {
  // What the link receives.
  kIngress = 0xfffffff2,
  // What the link sends; with a Clsact alone.
  kEgress = 0xfffffff3,
};

// Which classifier lets all packets match. They do the same; kernels are built with the one, the other or both.
enum class Classifier : uint8_t {
  kMatchall,
  // One key that is always met.
  kU32,
};

// What happens to a packet that matches, TCA_EGRESS_* and TCA_INGRESS_*.
enum class MirredAction : int {
  // The other link sends it in place of this one, or of its reception.
  kRedirectEgress = 1,
  // The other link sends a copy.
  kMirrorEgress = 2,
  // The other link receives it, or a copy.
  kRedirectIngress = 3,
  kMirrorIngress = 4,
};

// The action and the other link.
struct Mirred {
  MirredAction action = MirredAction::kRedirectEgress;

  // An ifindex in the session's namespace, positive; in a reply 0 where that link is gone, after which packets are
  // dropped.
  int ifindex = 0;

  friend bool operator==(const Mirred&, const Mirred&) = default;
};

// A filter that all packets match.
struct NewFilter {
  // The link, by its ifindex in the session's namespace; positive.
  int ifindex = 0;
  FilterHook hook = FilterHook::kIngress;

  // 1 to 65535 (EINVAL in Session), the lowest comes first. Filters of one priority have one classifier.
  uint16_t priority = 1;

  Classifier classifier = Classifier::kMatchall;
  Mirred mirred;
};

// RTM_NEWTFILTER that adds a filter. EINVAL where the link has neither Ingress nor Clsact, or the priority another
// classifier; EEXIST where the priority has a filter of kMatchall; ENOENT where the kernel has no such classifier;
// ENODEV where there is no such link, or not the other one.
Request EncodeNewFilter(const NewFilter& filter);

// RTM_DELTFILTER for all filters of a priority. EINVAL where the link has neither Ingress nor Clsact, ENOENT where
// there are none.
Request EncodeDeleteFilters(int ifindex, FilterHook hook, uint16_t priority);

// RTM_GETTFILTER for the filters of one link, for Session::Dump. An empty list where it has neither Ingress nor Clsact.
// Where a priority is taken by kU32 on both hooks of a Clsact, each list has the filters of both.
Request EncodeDumpFilters(int ifindex, FilterHook hook);

// What the kernel says about a filter. It tells of each priority first, and of hash tables of u32; those have no
// action.
struct Filter {
  int ifindex = 0;
  uint16_t priority = 0;

  // TCA_KIND: `matchall`, `u32` or another.
  std::string kind;

  // The kernel's number for it; 0 is the priority as a whole.
  uint32_t handle = 0;

  // None where the action is another one, or where there is none.
  std::optional<Mirred> mirred;

  friend bool operator==(const Filter&, const Filter&) = default;
};

// Reads a reply to EncodeDumpFilters. EBADMSG where it is malformed: cut short, an attribute of the wrong length, or
// without ifindex or kind. Whether all packets match is not looked at.
KernelResult<Filter> DecodeFilter(std::span<const std::byte> payload);

}  // namespace netprov::netlink

#endif  // NETPROV_SERVER_NETLINK_FILTER_H_
