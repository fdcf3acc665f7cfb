// What changes in this machine's kernel.
#ifndef NETPROV_SERVER_ENGINE_LINUX_WATCH_H_
#define NETPROV_SERVER_ENGINE_LINUX_WATCH_H_

#include <chrono>
#include <functional>
#include <memory>

#include "server/base/kernel_error.h"
#include "server/base/unique_fd.h"
#include "server/engine/kernel.h"
#include "server/netlink/statistics.h"
#include "server/netns/netns_directory.h"

namespace netprov::engine {

// Watches the links of the calling thread's namespace and of those that are tracked, and the names in `directory`.
// `open` opens a namespace (NetnsRef's contract). All of them must outlive the watch.
//
// What comes after a rest is told at once; what follows within 50 ms is gathered, and told together. `clock` says how
// much of these has passed. `statistics` is where to count.
//
// A namespace is tracked by the number that the host's has for it, which is given to it if need be, and dies with it.
KernelResult<std::unique_ptr<KernelWatch>> OpenLinuxWatch(
    const netns::NetnsDirectory& directory, std::function<KernelResult<UniqueFd>(const NetnsRef&)> open,
    netlink::Statistics& statistics,
    std::function<std::chrono::steady_clock::time_point()> clock = std::chrono::steady_clock::now);

}  // namespace netprov::engine

#endif  // NETPROV_SERVER_ENGINE_LINUX_WATCH_H_
