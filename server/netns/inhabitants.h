// Who is inside a network namespace.
#ifndef NETPROV_SERVER_NETNS_INHABITANTS_H_
#define NETPROV_SERVER_NETNS_INHABITANTS_H_

#include <string>
#include <vector>

#include "server/base/kernel_error.h"

namespace netprov::netns {

// The numbers of the processes whose main thread is in the namespace `netns`, in ascending order. Reads
// /proc/PID/ns/net of each process, a few microseconds apiece; what the caller may not see (ptrace(2),
// PTRACE_MODE_READ_FSCREDS) and what has just ended is not among them. Errors: those of fstat(2) and readlink(2), and
// of opening and reading /proc.
KernelResult<std::vector<int>> FindProcesses(int netns);

// One process of each network namespace that has any, as above.
KernelResult<std::vector<int>> FindOneProcessInEach();

// The name of a process's command (/proc/PID/comm); empty: it has ended, or may not be seen. Errors: those of open(2)
// and read(2).
KernelResult<std::string> CommandOf(int pid);

}  // namespace netprov::netns

#endif  // NETPROV_SERVER_NETNS_INHABITANTS_H_
