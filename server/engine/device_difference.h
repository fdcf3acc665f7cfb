// How the options of a device that is no bridge differ from what was asked for.
#ifndef NETPROV_SERVER_ENGINE_DEVICE_DIFFERENCE_H_
#define NETPROV_SERVER_ENGINE_DEVICE_DIFFERENCE_H_

#include <vector>

#include "server/engine/link_difference.h"
#include "server/engine/objects.h"

namespace netprov::engine {

// As CompareOptions(), for all kinds but bridges; both are of one kind. Only what can be changed is compared: with
// another identifier, say, it would be another link.
void CompareKind(const DeviceOptions& expected, const DeviceOptions& actual, LinkDifference& difference);

// Those of `asked` that are among `there`, which has no port and identifier where they are the device's own.
std::vector<FdbEntry> Present(const VxlanOptions& asked, const std::vector<FdbEntry>& there);

// `now` with what has no order of its own in the kernel, the senders of a macvlan, in that in which it was asked for;
// what was not comes last.
DeviceOptions InAskedOrder(const DeviceOptions& asked, DeviceOptions now);

}  // namespace netprov::engine

#endif  // NETPROV_SERVER_ENGINE_DEVICE_DIFFERENCE_H_
