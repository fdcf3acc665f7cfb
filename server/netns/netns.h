// Making and entering network namespaces (network_namespaces(7), setns(2), unshare(2)).
#ifndef NETPROV_SERVER_NETNS_NETNS_H_
#define NETPROV_SERVER_NETNS_NETNS_H_

#include <cstdint>
#include <functional>
#include <string>

#include "server/base/kernel_error.h"
#include "server/base/unique_fd.h"

namespace netprov::netns {

// Opens the network namespace that the calling thread is in, which may differ from the process's.
KernelResult<UniqueFd> OpenCurrent();

// Whether `fd` is a network namespace, and not a file or a namespace of another type (NS_GET_NSTYPE, ioctl_ns(2)).
// Errors: those of a security module, such as EACCES.
KernelResult<bool> IsNetns(int fd);

// Opens what `found` stands for, an O_PATH descriptor, if it is a network namespace, and nothing else: opening a FIFO
// or a device may block or have effects. `operation` is for errors. EMEDIUMTYPE: it is none.
KernelResult<UniqueFd> OpenFound(int found, const std::string& operation);

// Runs `body` with the calling thread inside the namespace `netns`, then takes the thread back to `home`, the namespace
// that it came from. Only sockets, namespace descriptors and /proc/sys/net should be opened inside; nothing else of
// the process's may run there.
//
// Ends the process if the thread cannot be brought back: it would serve others from within a tenant's namespace.
// Errors: setns(2): EPERM without CAP_SYS_ADMIN, EINVAL when `netns` is no network namespace.
KernelResult<void> RunInside(int netns, int home, const std::function<void()>& body);

// Makes a network namespace that has no name yet: it lives as long as the returned descriptor, or anything else in it.
// `body` runs inside, as above. Costs 0.3 ms and more with thousands alive. Errors: unshare(2): EPERM, ENOSPC
// (max_net_namespaces), ENOMEM.
KernelResult<UniqueFd> MakeAnonymous(int home, const std::function<void()>& body);

// The kernel's number for the namespace that `socket` belongs to: unique until the host reboots (SO_NETNS_COOKIE,
// Linux 5.14).
KernelResult<uint64_t> Cookie(int socket);

}  // namespace netprov::netns

#endif  // NETPROV_SERVER_NETNS_NETNS_H_
