// Devices but for bridges: requests to calls of the engine, and its answers to messages.
#ifndef NETPROV_SERVER_API_DEVICE_H_
#define NETPROV_SERVER_API_DEVICE_H_

#include <string>

#include "absl/status/statusor.h"
#include "netprov/v1/device.pb.h"
#include "server/api/validate.h"
#include "server/engine/engine.h"
#include "server/engine/objects.h"

namespace netprov::api {

// Checks everything that can be checked without looking at the machine. INVALID_FIELD, with every field that is wrong.
absl::StatusOr<engine::CreateDeviceCall> ToCall(const v1::CreateDeviceRequest& request);
absl::StatusOr<engine::UpdateDeviceCall> ToCall(const v1::UpdateDeviceRequest& request);
absl::StatusOr<engine::DeleteDeviceCall> ToCall(const v1::DeleteDeviceRequest& request);
absl::StatusOr<ListCall> ToCall(const v1::ListDevicesRequest& request);
// The resource name of the device to read.
absl::StatusOr<std::string> ToCall(const v1::GetDeviceRequest& request);

// Must not be a bridge. Without a name when the device has no id yet, as in the answer to validate_only.
v1::Device ToDevice(const engine::Device& device);
v1::ListDevicesResponse ToDevices(const engine::Page<engine::Device>& page);

}  // namespace netprov::api

#endif  // NETPROV_SERVER_API_DEVICE_H_
