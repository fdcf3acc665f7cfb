// Veth pairs: requests to calls of the engine, and its answers to messages.
#ifndef NETPROV_SERVER_API_VETH_H_
#define NETPROV_SERVER_API_VETH_H_

#include <string>

#include "absl/status/statusor.h"
#include "netprov/v1/veth.pb.h"
#include "server/api/validate.h"
#include "server/engine/engine.h"
#include "server/engine/objects.h"

namespace netprov::api {

// Checks everything that can be checked without looking at the machine. INVALID_FIELD, with every field that is wrong.
absl::StatusOr<engine::CreateVethCall> ToCall(const v1::CreateVethRequest& request);
absl::StatusOr<engine::UpdateVethCall> ToCall(const v1::UpdateVethRequest& request);
absl::StatusOr<engine::DeleteVethCall> ToCall(const v1::DeleteVethRequest& request);
absl::StatusOr<ListCall> ToCall(const v1::ListVethsRequest& request);
// One end. `field` is where it stands in the request.
engine::EndpointSpec ToSpec(const std::string& field, const v1::VethEndpoint& endpoint, Violations& violations);
v1::VethEndpoint ToProto(const engine::Endpoint& endpoint);
// An end as asked for.
engine::Endpoint AsAsked(const engine::EndpointSpec& spec);

// The id of the pair to read.
absl::StatusOr<std::string> ToCall(const v1::GetVethRequest& request);

// Without a name when the pair has no id yet, as in the answer to validate_only.
v1::Veth ToProto(const engine::Veth& veth);
v1::ListVethsResponse ToProto(const engine::Page<engine::Veth>& page);

}  // namespace netprov::api

#endif  // NETPROV_SERVER_API_VETH_H_
