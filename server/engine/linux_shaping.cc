#include "server/engine/linux_shaping.h"

#include <linux/pkt_sched.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <optional>
#include <span>
#include <utility>
#include <variant>
#include <vector>

#include "server/netlink/filter.h"
#include "server/netlink/link.h"
#include "server/netlink/link_info.h"
#include "server/netlink/message.h"
#include "server/netlink/qdisc.h"

namespace netprov::engine {
namespace {

using netlink::Classifier;
using netlink::FilterHook;

// By which a filter is known for netprov's.
constexpr uint16_t kPriority = kOwnedGroup;

// The kernel says ENOENT of a discipline, a classifier or an action that it does not have.
KernelResult<void> OrMissing(KernelResult<void> result) {
  if (!result.ok() && result.error().code == ENOENT) result.error().code = EOPNOTSUPP;
  return result;
}

KernelResult<void> Unless(int code, KernelResult<void> result) {
  return !result.ok() && result.error().code == code ? KernelResult<void>() : result;
}

// What there is on a link, and at the roots of all.
struct Look {
  std::map<int, netlink::TokenBucket> buckets;  // at roots, by ifindex
  bool has_hook = false;                        // a place for filters
  bool has_clsact = false;
  bool has_filter = false;        // of kPriority
  bool has_other_filter = false;  // of others
  int target = 0;                 // where the filter redirects to
};

KernelResult<void> LookAtFilters(netlink::Session& session, int ifindex, FilterHook hook, Look& look) {
  NETPROV_ASSIGN_OR_RETURN(const std::vector<netlink::Payload> payloads,
                           session.Dump(netlink::EncodeDumpFilters(ifindex, hook)));
  for (const netlink::Payload& payload : payloads) {
    NETPROV_ASSIGN_OR_RETURN(const netlink::Filter filter, netlink::DecodeFilter(payload));
    if (filter.priority != kPriority) {
      look.has_other_filter = true;
      continue;
    }
    look.has_filter = true;
    if (filter.mirred.has_value() && filter.mirred->action == netlink::MirredAction::kRedirectEgress) {
      look.target = filter.mirred->ifindex;
    }
  }
  return {};
}

KernelResult<Look> LookAt(netlink::Session& session, int ifindex) {
  Look look;
  NETPROV_ASSIGN_OR_RETURN(const std::vector<netlink::Payload> payloads, session.Dump(netlink::EncodeDumpQdiscs()));
  for (const netlink::Payload& payload : payloads) {
    NETPROV_ASSIGN_OR_RETURN(const netlink::Qdisc qdisc, netlink::DecodeQdisc(payload));
    const auto* bucket = std::get_if<netlink::TokenBucket>(&qdisc.options);
    if (bucket != nullptr && qdisc.parent == TC_H_ROOT) look.buckets[qdisc.ifindex] = *bucket;
    if (qdisc.ifindex != ifindex) continue;
    if (std::holds_alternative<netlink::Clsact>(qdisc.options)) look.has_hook = look.has_clsact = true;
    if (std::holds_alternative<netlink::Ingress>(qdisc.options)) look.has_hook = true;
  }
  if (look.has_hook) NETPROV_RETURN_IF_ERROR(LookAtFilters(session, ifindex, FilterHook::kIngress, look));
  return look;
}

KernelResult<std::optional<netlink::Link>> Find(netlink::Session& session, const netlink::LinkRef& ref) {
  KernelResult<netlink::Payload> payload = session.Get(netlink::EncodeGetLink(ref));
  if (!payload.ok()) {
    if (payload.error().code == ENODEV) return std::optional<netlink::Link>();
    return std::move(payload).error();
  }
  NETPROV_ASSIGN_OR_RETURN(netlink::Link link, netlink::DecodeLink(*payload));
  return std::optional(std::move(link));
}

// The ifb that the link has or may take; 0: none.
KernelResult<std::optional<netlink::Link>> FindIfb(netlink::Session& session, const Look& look,
                                                   const ShapingSpec& wanted) {
  auto is_ours = [&](const std::optional<netlink::Link>& link) {
    return link.has_value() && link->kind == "ifb" &&
           (link->alias == wanted.alias || (link->alias.empty() && link->group == kOwnedGroup));
  };
  std::optional<netlink::Link> ifb;
  // Somebody may have renamed it.
  if (look.target != 0) {
    NETPROV_ASSIGN_OR_RETURN(ifb, Find(session, look.target));
    if (is_ours(ifb)) return ifb;
  }
  NETPROV_ASSIGN_OR_RETURN(ifb, Find(session, wanted.ifb_name));
  if (!is_ours(ifb)) ifb.reset();
  return ifb;
}

// An ifb that holds what it is given to `bucket`.
KernelResult<int> SetUpIfb(netlink::Session& session, const Look& look, const ShapingSpec& wanted,
                           const netlink::TokenBucket& bucket) {
  NETPROV_ASSIGN_OR_RETURN(std::optional<netlink::Link> ifb, FindIfb(session, look, wanted));
  if (!ifb.has_value()) {
    netlink::NewLink birth{.name = wanted.ifb_name, .mac = std::nullopt, .mtu = std::nullopt, .group = kOwnedGroup};
    birth.up = true;
    birth.netns_fd = std::nullopt;
    const netlink::Request request = netlink::EncodeNewLink(birth, netlink::IfbInfo{});
    netlink::Outcome born = session.ExecuteBatch(std::span(&request, 1)).front();
    if (!born.ok()) return *std::move(born.error);
    NETPROV_ASSIGN_OR_RETURN(ifb, Find(session, wanted.ifb_name));
    if (!ifb.has_value()) return KernelError{.code = ENODEV, .operation = request.operation, .extack = {}};
  }
  if (!ifb->up || ifb->alias != wanted.alias) {
    NETPROV_RETURN_IF_ERROR(session.Execute(netlink::EncodeSetLink(ifb->ifindex, {.up = true, .alias = wanted.alias})));
  }
  NETPROV_RETURN_IF_ERROR(
      OrMissing(session.Execute(netlink::EncodeReplaceQdisc({.ifindex = ifb->ifindex, .options = bucket}))));
  return ifb->ifindex;
}

// Sends what the link receives to the ifb, which holds it to its rate already.
KernelResult<void> Redirect(netlink::Session& session, int ifindex, const Look& look, int ifb) {
  if (look.has_filter && look.target == ifb) return {};
  if (!look.has_hook) {
    // In place of an ingress, so that others can hang filters at both directions.
    NETPROV_RETURN_IF_ERROR(OrMissing(
        Unless(EEXIST, session.Execute(netlink::EncodeNewQdisc({.ifindex = ifindex, .options = netlink::Clsact{}})))));
  }
  if (look.has_filter) {
    NETPROV_RETURN_IF_ERROR(
        Unless(ENOENT, session.Execute(netlink::EncodeDeleteFilters(ifindex, FilterHook::kIngress, kPriority))));
  }
  KernelResult<void> added;
  // Kernels have the one, the other or both. To ask for one that is not there makes the kernel look for a module.
  for (const Classifier classifier : {Classifier::kU32, Classifier::kMatchall}) {
    added = session.Execute(netlink::EncodeNewFilter(
        {.ifindex = ifindex, .priority = kPriority, .classifier = classifier, .mirred = {.ifindex = ifb}}));
    if (added.ok() || added.error().code != ENOENT) break;
  }
  return OrMissing(std::move(added));
}

KernelResult<void> StopRedirecting(netlink::Session& session, int ifindex, Look& look, const ShapingSpec& wanted) {
  if (look.has_filter) {
    NETPROV_RETURN_IF_ERROR(
        Unless(ENOENT, session.Execute(netlink::EncodeDeleteFilters(ifindex, FilterHook::kIngress, kPriority))));
    if (look.has_clsact) NETPROV_RETURN_IF_ERROR(LookAtFilters(session, ifindex, FilterHook::kEgress, look));
    if (look.has_clsact && !look.has_other_filter) {
      NETPROV_RETURN_IF_ERROR(Unless(
          ENOENT, session.Execute(netlink::EncodeDeleteQdisc({.ifindex = ifindex, .options = netlink::Clsact{}}))));
    }
  }
  NETPROV_ASSIGN_OR_RETURN(const std::optional<netlink::Link> ifb, FindIfb(session, look, wanted));
  if (!ifb.has_value()) return {};
  return Unless(ENODEV, session.Execute(netlink::EncodeDeleteLink(ifb->ifindex)));
}

}  // namespace

KernelResult<uint32_t> ShapeLink(netlink::Session& session, uint32_t ifindex, const ShapingSpec& wanted) {
  const int index = static_cast<int>(ifindex);
  NETPROV_ASSIGN_OR_RETURN(Look look, LookAt(session, index));
  const bool has_bucket = look.buckets.contains(index);
  if (wanted.egress.has_value()) {
    NETPROV_RETURN_IF_ERROR(
        OrMissing(session.Execute(netlink::EncodeReplaceQdisc({.ifindex = index, .options = *wanted.egress}))));
  } else if (has_bucket && !wanted.leaves_root) {
    NETPROV_RETURN_IF_ERROR(session.Execute(
        netlink::EncodeDeleteQdisc({.ifindex = index, .options = netlink::TokenBucket(look.buckets.at(index))})));
  }
  if (!wanted.ingress.has_value()) {
    NETPROV_RETURN_IF_ERROR(StopRedirecting(session, index, look, wanted));
    return 0;
  }
  NETPROV_ASSIGN_OR_RETURN(const int ifb, SetUpIfb(session, look, wanted, *wanted.ingress));
  NETPROV_RETURN_IF_ERROR(Redirect(session, index, look, ifb));
  return static_cast<uint32_t>(ifb);
}

KernelResult<Shaping> FindShapingOfLink(netlink::Session& session, uint32_t ifindex) {
  const int index = static_cast<int>(ifindex);
  NETPROV_ASSIGN_OR_RETURN(const Look look, LookAt(session, index));
  auto at = [&look](int link) {
    const auto bucket = look.buckets.find(link);
    return bucket == look.buckets.end() ? std::nullopt : std::optional(bucket->second);
  };
  Shaping shaping{.egress = at(index), .ingress = std::nullopt};
  if (look.target == 0) return shaping;
  NETPROV_ASSIGN_OR_RETURN(const std::optional<netlink::Link> ifb, Find(session, look.target));
  if (!ifb.has_value() || !ifb->up) return shaping;
  shaping.ingress = at(look.target);
  shaping.ifb_ifindex = static_cast<uint32_t>(look.target);
  return shaping;
}

}  // namespace netprov::engine
