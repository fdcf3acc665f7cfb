#include "server/api/update.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/util/field_mask_util.h"
#include "server/api/text.h"

namespace netprov::api {
namespace {

using google::protobuf::FieldMask;
using google::protobuf::util::FieldMaskUtil;

bool IsBelow(absl::string_view path, absl::string_view other) {
  return absl::StartsWith(path, other) && (path.size() == other.size() || path[other.size()] == '.');
}

bool LeadsToField(absl::string_view path, const google::protobuf::Message& resource) {
  // The library passes over empty parts.
  for (absl::string_view part : absl::StrSplit(path, '.')) {
    if (part.empty()) return false;
  }
  return FieldMaskUtil::GetFieldDescriptors(resource.GetDescriptor(), std::string(path), /*field_descriptors=*/nullptr);
}

}  // namespace

FieldMask CheckUpdateMask(absl::string_view field, const FieldMask& mask, const google::protobuf::Message& resource,
                          absl::Span<const absl::string_view> changeable, Violations& violations) {
  FieldMask checked;
  if (mask.paths().empty()) {
    violations.Add(field, "must name what to change, as paths in the resource, or be `*`");
  }
  for (const std::string& path : mask.paths()) {
    const bool is_all = path == "*";
    if (!is_all && !LeadsToField(path, resource)) {
      violations.Add(field, absl::StrCat("must name fields, but there is no ", Quote(path)));
      continue;
    }
    const auto inside = [&](absl::string_view other) { return is_all || IsBelow(other, path); };
    if (std::any_of(changeable.begin(), changeable.end(),
                    [&](absl::string_view other) { return IsBelow(path, other); })) {
      checked.add_paths(path);
    } else if (std::any_of(changeable.begin(), changeable.end(), inside)) {
      for (absl::string_view other : changeable) {
        if (inside(other)) checked.add_paths(std::string(other));
      }
    } else {
      violations.Add(field, absl::StrCat("must name fields that can be changed, but ", Quote(path), " can't"));
    }
  }
  return checked;
}

void Merge(const FieldMask& mask, const google::protobuf::Message& wanted, google::protobuf::Message& present) {
  FieldMaskUtil::MergeOptions options;
  options.set_replace_message_fields(true);
  options.set_replace_repeated_fields(true);
  FieldMaskUtil::MergeMessageTo(wanted, mask, options, &present);
}

std::vector<engine::InvalidField> ToInvalidFields(const Violations& violations) {
  std::vector<engine::InvalidField> invalid;
  for (const FieldViolation& violation : violations.list()) {
    invalid.push_back({.field = violation.field, .description = violation.description});
  }
  return invalid;
}

}  // namespace netprov::api
