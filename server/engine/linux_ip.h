// Addresses, neighbours and routes of links on this machine, over a session in their namespace.
#ifndef NETPROV_SERVER_ENGINE_LINUX_IP_H_
#define NETPROV_SERVER_ENGINE_LINUX_IP_H_

#include <cstdint>
#include <string>
#include <vector>

#include "server/base/kernel_error.h"
#include "server/engine/ip_config.h"
#include "server/netlink/session.h"

namespace netprov::engine {

// Kernel::Configure(), Kernel::Unconfigure() and Kernel::FindIpConfig().
KernelResult<void> ConfigureLink(netlink::Session& session, uint32_t ifindex,
                                 const std::vector<std::string>& alternative_names, const IpConfig& ip, bool anew);
KernelResult<void> UnconfigureLink(netlink::Session& session, uint32_t ifindex,
                                   const std::vector<std::string>& alternative_names, const IpConfig& ip);
KernelResult<IpConfig> FindIpConfigOfLink(netlink::Session& session, uint32_t ifindex);

// Kernel::ListRoutesWithoutLink(), Kernel::AddRoutes() and Kernel::DeleteRoutes().
KernelResult<std::vector<RouteSpec>> OwnRoutesWithoutLink(netlink::Session& session);
KernelResult<void> AddRoutesWithoutLink(netlink::Session& session, const std::vector<RouteSpec>& routes);
KernelResult<void> DeleteRoutesWithoutLink(netlink::Session& session, const std::vector<RouteSpec>& routes);

}  // namespace netprov::engine

#endif  // NETPROV_SERVER_ENGINE_LINUX_IP_H_
