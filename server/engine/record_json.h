// The registry's records as JSON, the form in which they are stored.
#ifndef NETPROV_SERVER_ENGINE_RECORD_JSON_H_
#define NETPROV_SERVER_ENGINE_RECORD_JSON_H_

#include <optional>
#include <string>

#include "server/engine/records.h"

namespace netprov::engine {

// One line of JSON each. Times are nanoseconds since the epoch; a field that is unset is left out.
std::string ToJson(const NamespaceRecord& record);
std::string ToJson(const VethRecord& record);
std::string ToJson(const DeviceRecord& record);
std::string ToJson(const Intent& intent);
// The answer alone: the request id and the fingerprint are not in it.
std::string AnswerToJson(const RequestRecord& record);

// The reverse. nullopt: the text is not what the above write. Fields that they do not know are ignored.
std::optional<NamespaceRecord> NamespaceRecordFromJson(const std::string& text);
std::optional<VethRecord> VethRecordFromJson(const std::string& text);
std::optional<DeviceRecord> DeviceRecordFromJson(const std::string& text);
std::optional<Intent> IntentFromJson(const std::string& text);
// Fills in the answer only.
std::optional<RequestRecord> AnswerFromJson(const std::string& text);

}  // namespace netprov::engine

#endif  // NETPROV_SERVER_ENGINE_RECORD_JSON_H_
