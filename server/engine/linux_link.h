// Links of this machine, as the engine knows them, over a session in their namespace.
#ifndef NETPROV_SERVER_ENGINE_LINUX_LINK_H_
#define NETPROV_SERVER_ENGINE_LINUX_LINK_H_

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "server/base/kernel_error.h"
#include "server/engine/kernel.h"
#include "server/netlink/link.h"
#include "server/netlink/message.h"
#include "server/netlink/session.h"

namespace netprov::engine {

netlink::LinkRef Index(uint32_t ifindex);

// A link without what is of its kind, or of the port that it is.
Link ToLink(const netlink::Link& link);
// With both.
KernelResult<Link> ToLink(const netlink::Payload& payload);
KernelResult<ObservedLink> ToObservedLink(const netlink::Payload& payload);

// nullopt: there is no such link.
KernelResult<std::optional<Link>> FindLinkAt(netlink::Session& session, const netlink::LinkRef& ref);
// Ordered by ifindex.
KernelResult<std::vector<Link>> DumpLinks(netlink::Session& session);

// Carries out `requests`, as many at a time as go into a batch. Returns the first error for which `tolerates` is false.
KernelResult<void> ExecuteAll(netlink::Session& session, std::span<const netlink::Request> requests,
                              bool (*tolerates)(int code));
bool ToleratesNothing(int code);

}  // namespace netprov::engine

#endif  // NETPROV_SERVER_ENGINE_LINUX_LINK_H_
