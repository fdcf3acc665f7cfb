// Numbers by which one network namespace knows another (ip-netns(8), `nsid`).
#ifndef NETPROV_SERVER_NETLINK_NSID_H_
#define NETPROV_SERVER_NETLINK_NSID_H_

#include <cstddef>
#include <span>

#include "server/base/kernel_error.h"
#include "server/netlink/message.h"

namespace netprov::netlink {

// RTM_NEWNSID: the session's namespace gives the namespace behind the open descriptor a number, the lowest that is
// free. EEXIST where it has one.
Request EncodeNewNsid(int netns_fd);

// RTM_GETNSID: asks for that number.
Request EncodeGetNsid(int netns_fd);

// Reads a reply to EncodeGetNsid: the number, negative where there is none. EBADMSG where it is malformed.
KernelResult<int> DecodeNsid(std::span<const std::byte> payload);

}  // namespace netprov::netlink

#endif  // NETPROV_SERVER_NETLINK_NSID_H_
