#include "server/engine/linux_link.h"

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>

#include "server/engine/linux_device.h"
#include "server/engine/tag.h"
#include "server/netlink/bridge_port.h"
#include "server/netlink/link_info.h"
#include "server/netlink/link_statistics.h"

namespace netprov::engine {

netlink::LinkRef Index(uint32_t ifindex) { return static_cast<int>(ifindex); }

Link ToLink(const netlink::Link& link) {
  // A tag of a namespace, which is on its loopback link, may have spaces, and there is no text beside it.
  auto [alias, text] = link.kind.empty() ? std::pair(link.alias, std::string()) : SplitAlias(link.alias);
  return {.ifindex = static_cast<uint32_t>(link.ifindex),
          .name = link.name,
          .mac = link.mac.value_or(netlink::MacAddress{}),
          .mtu = link.mtu,
          .up = link.up,
          .group = link.group,
          .alias = std::move(alias),
          .kind = link.kind,
          .peer_ifindex = link.kind == "veth" ? static_cast<uint32_t>(link.link.value_or(0)) : 0,
          .options = {.tx_queues = link.tx_queues,
                      .rx_queues = link.rx_queues,
                      .promiscuous = link.promiscuous,
                      .all_multicast = link.all_multicast,
                      .limits = link.limits,
                      .alias = std::move(text)},
          .alternative_names = link.alternative_names,
          .master_ifindex = static_cast<uint32_t>(link.master.value_or(0)),
          .port = std::nullopt,
          .device = std::nullopt,
          .lower_ifindex = 0};
}

KernelResult<Link> ToLink(const netlink::Payload& payload) {
  NETPROV_ASSIGN_OR_RETURN(const netlink::Link decoded, netlink::DecodeLink(payload));
  Link link = ToLink(decoded);
  if (link.master_ifindex != 0) {
    NETPROV_ASSIGN_OR_RETURN(link.port, netlink::DecodeBridgePort(payload));
    if (link.port.has_value()) link.port->state.reset();
  }
  // It would be looked at in vain.
  if (link.kind.empty() || link.kind == "veth") return link;
  NETPROV_ASSIGN_OR_RETURN(const netlink::LinkInfo info, netlink::DecodeLinkInfo(payload));
  AddDevice(info, link);
  return link;
}

KernelResult<std::optional<Link>> FindLinkAt(netlink::Session& session, const netlink::LinkRef& ref) {
  KernelResult<netlink::Payload> payload = session.Get(netlink::EncodeGetLink(ref));
  if (!payload.ok()) {
    if (payload.error().code == ENODEV) return std::optional<Link>();
    return std::move(payload).error();
  }
  NETPROV_ASSIGN_OR_RETURN(Link link, ToLink(*payload));
  return std::optional(std::move(link));
}

KernelResult<std::vector<Link>> DumpLinks(netlink::Session& session) {
  NETPROV_ASSIGN_OR_RETURN(std::vector<netlink::Payload> payloads, session.Dump(netlink::EncodeDumpLinks()));
  std::vector<Link> links;
  links.reserve(payloads.size());
  for (const netlink::Payload& payload : payloads) {
    NETPROV_ASSIGN_OR_RETURN(Link link, ToLink(payload));
    links.push_back(std::move(link));
  }
  std::sort(links.begin(), links.end(), [](const Link& a, const Link& b) { return a.ifindex < b.ifindex; });
  return links;
}

KernelResult<ObservedLink> ToObservedLink(const netlink::Payload& payload) {
  NETPROV_ASSIGN_OR_RETURN(const netlink::Link decoded, netlink::DecodeLink(payload));
  NETPROV_ASSIGN_OR_RETURN(Link link, ToLink(payload));
  NETPROV_ASSIGN_OR_RETURN(netlink::LinkStatistics statistics, netlink::DecodeLinkStatistics(payload));
  return ObservedLink{.link = std::move(link), .oper_state = decoded.oper_state, .statistics = statistics};
}

KernelResult<void> ExecuteAll(netlink::Session& session, std::span<const netlink::Request> requests,
                              bool (*tolerates)(int code)) {
  while (!requests.empty()) {
    const size_t size = std::min(requests.size(), netlink::Session::kMaxBatchRequests);
    for (netlink::Outcome& outcome : session.ExecuteBatch(requests.first(size))) {
      if (!outcome.ok() && !tolerates(outcome.error->code)) return *std::move(outcome.error);
    }
    requests = requests.subspan(size);
  }
  return {};
}

bool ToleratesNothing(int /*code*/) { return false; }

}  // namespace netprov::engine
