// What a kernel lacks, by name.
#ifndef NETPROV_SERVER_ENGINE_KERNEL_FEATURE_H_
#define NETPROV_SERVER_ENGINE_KERNEL_FEATURE_H_

#include <string>
#include <vector>

#include "server/base/kernel_error.h"

namespace netprov::engine {

// The feature for want of which the kernel refused something, by the kernel's own symbol: the option that it has to be
// built with, as in `CONFIG_VLAN_8021Q`, or, of what no option switches, the attribute or the socket option that an
// older kernel does not know, as in `IFLA_GRO_IPV4_MAX_SIZE`. It is told from KernelError::operation, and where several
// would do, by the extack. Where no symbol is known, what was asked of the kernel: the system call or the message, as
// in `open_tree`. Empty only without an operation. For errors of which the reason is KERNEL_FEATURE_MISSING.
std::string MissingFeature(const KernelError& error);

// All symbols that MissingFeature() knows, as docs/errors.md lists them.
std::vector<std::string> KernelFeatures();

}  // namespace netprov::engine

#endif  // NETPROV_SERVER_ENGINE_KERNEL_FEATURE_H_
