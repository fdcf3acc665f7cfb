// The kernel settings of a network namespace (sysctl(8), /proc/sys/net).
#ifndef NETPROV_SERVER_NETNS_SYSCTL_H_
#define NETPROV_SERVER_NETNS_SYSCTL_H_

#include <map>
#include <string>

#include "server/base/kernel_error.h"

namespace netprov::netns {

// Both work on the namespace that the calling thread is in: what is below /proc/sys/net follows it. A name is as in
// `net.ipv4.conf.eth0/1.forwarding`: with dots, and a slash for a dot within a part. Nothing outside /proc/sys/net is
// ever opened, whatever the name. Errors: `sysctl NAME` as the operation, and EOPNOTSUPP where there is no such sysctl.

// The value, runs of white space as one space.
KernelResult<std::string> ReadSysctl(const std::string& name);

// Sets sysctls to such values, and reads them back. Those that have their value already are not written. EINVAL, with
// how it reads in the error's extack: the kernel keeps another value.
KernelResult<void> WriteSysctls(const std::map<std::string, std::string>& sysctls);

}  // namespace netprov::netns

#endif  // NETPROV_SERVER_NETNS_SYSCTL_H_
