// The options of devices that are no bridges, as JSON. For record_json.cc.
#ifndef NETPROV_SERVER_ENGINE_DEVICE_JSON_H_
#define NETPROV_SERVER_ENGINE_DEVICE_JSON_H_

#include "nlohmann/json.hpp"
#include "server/engine/objects.h"

namespace netprov::engine {

// Must not be a bridge's.
nlohmann::json KindToJson(const DeviceOptions& options);

// Reads what `from` has under the name of a kind; false: it has none that is here. Throws what the library does where
// something is malformed.
bool KindFromJson(const nlohmann::json& from, DeviceOptions& options);

}  // namespace netprov::engine

#endif  // NETPROV_SERVER_ENGINE_DEVICE_JSON_H_
