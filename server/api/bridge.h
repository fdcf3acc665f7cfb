// Bridges: requests to calls of the engine, and its answers to messages.
#ifndef NETPROV_SERVER_API_BRIDGE_H_
#define NETPROV_SERVER_API_BRIDGE_H_

#include <string>

#include "absl/status/statusor.h"
#include "netprov/v1/bridge.pb.h"
#include "server/api/validate.h"
#include "server/engine/engine.h"
#include "server/engine/objects.h"

namespace netprov::api {

// Checks everything that can be checked without looking at the machine. INVALID_FIELD, with every field that is wrong.
absl::StatusOr<engine::CreateDeviceCall> ToCall(const v1::CreateBridgeRequest& request);
absl::StatusOr<engine::UpdateDeviceCall> ToCall(const v1::UpdateBridgeRequest& request);
absl::StatusOr<engine::DeleteDeviceCall> ToCall(const v1::DeleteBridgeRequest& request);
absl::StatusOr<ListCall> ToCall(const v1::ListBridgesRequest& request);
// The resource name of the bridge to read.
absl::StatusOr<std::string> ToCall(const v1::GetBridgeRequest& request);

// Without a name when the bridge has no id yet, as in the answer to validate_only.
v1::Bridge ToBridge(const engine::Device& device);
v1::ListBridgesResponse ToBridges(const engine::Page<engine::Device>& page);

}  // namespace netprov::api

#endif  // NETPROV_SERVER_API_BRIDGE_H_
