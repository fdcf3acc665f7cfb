// The kinds of devices: their messages to what the engine wants, and back.
#ifndef NETPROV_SERVER_API_DEVICE_KIND_H_
#define NETPROV_SERVER_API_DEVICE_KIND_H_

#include "netprov/v1/device.pb.h"
#include "server/api/validate.h"
#include "server/engine/objects.h"

namespace netprov::api {

// The options of a device and the link that it stands on, as they are in `device`, which stands in the request's field
// of that name.
engine::DeviceOptions ToOptions(const v1::Device& device, Violations& violations);
engine::LowerSpec ToLower(const v1::Device& device, Violations& violations);

// Must not be a bridge's.
void AddToProto(const engine::DeviceOptions& options, v1::Device& device);

}  // namespace netprov::api

#endif  // NETPROV_SERVER_API_DEVICE_KIND_H_
