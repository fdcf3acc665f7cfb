// Field masks of updates (AIP-134, AIP-161).
#ifndef NETPROV_SERVER_API_UPDATE_H_
#define NETPROV_SERVER_API_UPDATE_H_

#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "google/protobuf/field_mask.pb.h"
#include "google/protobuf/message.h"
#include "server/api/validate.h"
#include "server/engine/error.h"

namespace netprov::api {

// The paths in a mask, each as far down as what can be changed: `*` and the path of a message become all in it that can
// be. `changeable` are the paths of fields of `resource`, below which all can be changed too. A path that leads
// nowhere, or to what can't be changed, is a violation, and so is an empty mask.
google::protobuf::FieldMask CheckUpdateMask(absl::string_view field, const google::protobuf::FieldMask& mask,
                                            const google::protobuf::Message& resource,
                                            absl::Span<const absl::string_view> changeable, Violations& violations);

// Gives `present` what the mask, of CheckUpdateMask(), names of `wanted`. A list or a map is replaced as a whole.
void Merge(const google::protobuf::FieldMask& mask, const google::protobuf::Message& wanted,
           google::protobuf::Message& present);

// For an engine::Edit.
std::vector<engine::InvalidField> ToInvalidFields(const Violations& violations);

}  // namespace netprov::api

#endif  // NETPROV_SERVER_API_UPDATE_H_
