// netprov's table of address translation as the engine changes it, over a NETLINK_NETFILTER socket.
#ifndef NETPROV_SERVER_ENGINE_LINUX_NAT_H_
#define NETPROV_SERVER_ENGINE_LINUX_NAT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "server/base/kernel_error.h"
#include "server/netlink/nat.h"
#include "server/netlink/session.h"

namespace netprov::engine {

// As Kernel::AddNat(), Kernel::DeleteNat(), Kernel::ListNat() and Kernel::FindNat(), in the namespace of the session.
// `settled` is NatTable::settled() of the namespace, before and after.
KernelResult<void> AddNat(netlink::Session& session, const std::string& registry,
                          const std::vector<netlink::NatElement>& elements, uint32_t& settled);
KernelResult<void> DeleteNat(netlink::Session& session, const std::string& registry,
                             const std::vector<netlink::NatElement>& elements, uint32_t& settled);
KernelResult<std::vector<netlink::NatElement>> ListNat(netlink::Session& session, const std::string& registry);
KernelResult<std::vector<netlink::NatElement>> FindNat(netlink::Session& session, const std::string& registry,
                                                       const std::vector<netlink::NatElement>& elements);

}  // namespace netprov::engine

#endif  // NETPROV_SERVER_ENGINE_LINUX_NAT_H_
