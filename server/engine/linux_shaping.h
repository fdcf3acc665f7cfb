// Rate limits of links on this machine: token buckets, and ifbs that what is received is redirected to.
#ifndef NETPROV_SERVER_ENGINE_LINUX_SHAPING_H_
#define NETPROV_SERVER_ENGINE_LINUX_SHAPING_H_

#include <cstdint>

#include "server/base/kernel_error.h"
#include "server/engine/kernel.h"
#include "server/netlink/session.h"

namespace netprov::engine {

// Kernel::Shape() and Kernel::FindShaping(), over a session in the link's namespace.
KernelResult<uint32_t> ShapeLink(netlink::Session& session, uint32_t ifindex, const ShapingSpec& wanted);
KernelResult<Shaping> FindShapingOfLink(netlink::Session& session, uint32_t ifindex);

}  // namespace netprov::engine

#endif  // NETPROV_SERVER_ENGINE_LINUX_SHAPING_H_
