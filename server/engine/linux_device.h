// Devices of all kinds, between the engine's terms and netlink's. For LinuxKernel.
#ifndef NETPROV_SERVER_ENGINE_LINUX_DEVICE_H_
#define NETPROV_SERVER_ENGINE_LINUX_DEVICE_H_

#include <cstdint>
#include <span>
#include <vector>

#include "server/engine/kernel.h"
#include "server/engine/objects.h"
#include "server/netlink/link_info.h"
#include "server/netlink/message.h"
#include "server/netlink/neighbour.h"

namespace netprov::engine {

// What the kernel is asked for. `lower` is what the device stands on, 0: on nothing.
netlink::LinkInfo ToLinkInfo(const DeviceOptions& options, uint32_t lower);

// Sets what a link is as a device; nothing where `info` is of no kind that netprov makes.
void AddDevice(const netlink::LinkInfo& info, Link& link);

// What changes a device's options to these, as LinkSettings::device says.
void AddDeviceRequests(uint32_t ifindex, const DeviceOptions& options, std::vector<netlink::Request>& requests);

// What gives a VXLAN device its entries; nothing for another. It does no harm where it has them.
void AddFdbRequests(uint32_t ifindex, const DeviceOptions& options, std::vector<netlink::Request>& requests);

// Takes one entry out. ENOENT: it is not there.
netlink::Request DeletionOf(uint32_t ifindex, const FdbEntry& entry);

// Those of a link's entries that say where to send.
std::vector<FdbEntry> WithDestination(std::span<const netlink::FdbEntry> entries);

}  // namespace netprov::engine

#endif  // NETPROV_SERVER_ENGINE_LINUX_DEVICE_H_
