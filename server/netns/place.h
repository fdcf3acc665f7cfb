// Opening network namespaces that others made, by a path or by a process.
#ifndef NETPROV_SERVER_NETNS_PLACE_H_
#define NETPROV_SERVER_NETNS_PLACE_H_

#include <string>

#include "server/base/kernel_error.h"
#include "server/base/unique_fd.h"

namespace netprov::netns {

// Opens the network namespace at an absolute path. No link on the way is followed, neither a symbolic one nor one of
// /proc such as /proc/PID/ns/net, and nothing is opened that is no namespace, so nothing can block or have effects.
// Errors: ELOOP: there is a link on the way, of which the extack says what to give in its place. EMEDIUMTYPE: it is no
// network namespace. EINVAL: the path is not absolute, or has a NUL. Those of openat2(2).
KernelResult<UniqueFd> OpenNetnsAt(const std::string& path);

// Opens the network namespace of a process, as numbered in this process's PID namespace: of that which has the number
// now, never that of another which gets it meanwhile. Errors: ESRCH: there is no such process, it has ended, or the
// number is that of a thread. EACCES, EPERM: it may not be looked at (ptrace(2), PTRACE_MODE_READ_FSCREDS).
KernelResult<UniqueFd> OpenNetnsOfProcess(int pid);

// The same by /proc alone, as it is done where the kernel has no PIDFD_GET_NET_NAMESPACE (Linux 6.11). EMEDIUMTYPE
// also: /proc is not that of this process's PID namespace.
KernelResult<UniqueFd> OpenNetnsOfProcessByProc(int pid);

}  // namespace netprov::netns

#endif  // NETPROV_SERVER_NETNS_PLACE_H_
