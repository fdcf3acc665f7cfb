// Forwarded ports, masquerade and forwarding of an end: proto <-> domain.
#ifndef NETPROV_SERVER_API_PORT_FORWARD_H_
#define NETPROV_SERVER_API_PORT_FORWARD_H_

#include <string>

#include "absl/strings/string_view.h"
#include "netprov/v1/veth.pb.h"
#include "server/api/validate.h"
#include "server/engine/objects.h"

namespace netprov::api {

// Checks what of the endpoint in `field` is translated, and fills in what is left out. `config` has its addresses by
// then.
void ReadNat(absl::string_view field, const v1::VethEndpoint& endpoint, engine::EndpointConfig& config,
             Violations& violations);

v1::PortForward ToProto(const engine::PortForward& forward);

}  // namespace netprov::api

#endif  // NETPROV_SERVER_API_PORT_FORWARD_H_
