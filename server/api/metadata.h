// Metadata, deviations and states, which all resources share.
#ifndef NETPROV_SERVER_API_METADATA_H_
#define NETPROV_SERVER_API_METADATA_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "google/protobuf/repeated_field.h"
#include "netprov/v1/metadata.pb.h"
#include "server/api/validate.h"
#include "server/engine/objects.h"

namespace netprov::api {

// An owner's name: 1 to 128 characters of `A-Z a-z 0-9 . _ - / : @`.
bool IsOwner(absl::string_view owner);

// As Metadata says it. Adds what is wrong; the result must then not be used. `field` is where the message stands, as in
// `veth.metadata`.
engine::Metadata ToMetadata(const std::string& field, const v1::Metadata& proto, Violations& violations);

// The owner in `field`, which must be set.
std::string CheckOwner(absl::string_view field, absl::string_view owner, Violations& violations);

// `creator` may be any bytes, and is made printable.
v1::Metadata ToProto(const engine::Metadata& metadata, const std::optional<absl::Time>& expire_time,
                     absl::string_view creator = "");

// Sets the deviations of a resource. Values that somebody else chose may be no UTF-8, and are made printable.
void AddDeviations(const std::vector<engine::Deviation>& deviations,
                   google::protobuf::RepeatedPtrField<v1::Deviation>* proto);

}  // namespace netprov::api

#endif  // NETPROV_SERVER_API_METADATA_H_
