// Addresses, routes and what else an endpoint has: the messages of ip.proto to what the engine wants, and back.
#ifndef NETPROV_SERVER_API_ENDPOINT_CONFIG_H_
#define NETPROV_SERVER_API_ENDPOINT_CONFIG_H_

#include "absl/strings/string_view.h"
#include "netprov/v1/veth.pb.h"
#include "server/api/validate.h"
#include "server/engine/objects.h"

namespace netprov::api {

// Of the endpoint that is in `field`. `spec` is what is known of it by then: MTU, state and name.
engine::EndpointConfig ToConfig(absl::string_view field, const v1::VethEndpoint& endpoint,
                                const engine::EndpointSpec& spec, Violations& violations);

void AddToProto(const engine::EndpointConfig& config, v1::VethEndpoint& endpoint);

}  // namespace netprov::api

#endif  // NETPROV_SERVER_API_ENDPOINT_CONFIG_H_
