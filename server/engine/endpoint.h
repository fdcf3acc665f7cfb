// A link as it is asked for, as the kernel is asked for it, and as it was made.
#ifndef NETPROV_SERVER_ENGINE_ENDPOINT_H_
#define NETPROV_SERVER_ENGINE_ENDPOINT_H_

#include <cstdint>
#include <string>

#include "server/engine/kernel.h"
#include "server/engine/objects.h"

namespace netprov::engine {

// Whether a name has a `%d` in place of which a number is to be chosen.
bool IsPattern(const std::string& interface_name);

// What is known of a link before it is made.
Endpoint Projected(const EndpointSpec& spec, const std::string& interface_name);

// What becomes of a link that was made, as far as that is known before.
Endpoint Projected(const EndpointSpec& spec, const Endpoint& made);

// What the kernel is asked for; `bridge` is the ifindex of the one that it shall be a port of, 0 of none.
LinkSpec ToLinkSpec(const EndpointSpec& spec, const NetnsRef& netns, const std::string& interface_name,
                    uint32_t bridge);

// What the kernel made; `where` says where it lives.
Endpoint ToEndpoint(const Endpoint& where, const Link& link);

// The first of the asked offload limits that the kernel has passed over, as it does with what it does not know; null:
// none.
const char* MissingLimit(const netlink::OffloadLimits& asked, const netlink::OffloadLimits& actual);

}  // namespace netprov::engine

#endif  // NETPROV_SERVER_ENGINE_ENDPOINT_H_
