#include "server/api/metadata.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "google/protobuf/duration.pb.h"
#include "server/api/text.h"
#include "server/api/timestamp.h"

namespace netprov::api {
namespace {

constexpr size_t kLongestOwner = 128;
constexpr int kMostLabels = 64;
constexpr size_t kLongestLabelKey = 63;
constexpr size_t kLongestLabelValue = 255;
constexpr absl::Duration kShortestTtl = absl::Seconds(1);
constexpr absl::Duration kLongestTtl = absl::Hours(24 * 3652);
constexpr size_t kLongestValueShown = 300;
constexpr size_t kLongestCallerName = 1024;  // as WhoAmI tells it

bool Contains(absl::string_view set, char c) { return set.find(c) != absl::string_view::npos; }

bool IsLabelKey(absl::string_view key) {
  auto is_alphanumeric = [](char c) { return absl::ascii_islower(c) || absl::ascii_isdigit(c); };
  return !key.empty() && key.size() <= kLongestLabelKey && is_alphanumeric(key[0]) &&
         std::all_of(key.begin(), key.end(), [&](char c) { return is_alphanumeric(c) || Contains("._-/", c); });
}

bool IsLabelValue(absl::string_view value) {
  return value.size() <= kLongestLabelValue &&
         std::none_of(value.begin(), value.end(), [](char c) { return absl::ascii_iscntrl(c); });
}

// nullopt: out of the range of google.protobuf.Duration.
std::optional<absl::Duration> ToDuration(const google::protobuf::Duration& proto) {
  constexpr int64_t kMostSeconds = 315576000000;
  constexpr int32_t kNanosPerSecond = 1000000000;
  const bool signs_differ = (proto.seconds() > 0 && proto.nanos() < 0) || (proto.seconds() < 0 && proto.nanos() > 0);
  if (std::abs(proto.seconds()) > kMostSeconds || std::abs(proto.nanos()) >= kNanosPerSecond || signs_differ) {
    return std::nullopt;
  }
  return absl::Seconds(proto.seconds()) + absl::Nanoseconds(proto.nanos());
}

}  // namespace

bool IsOwner(absl::string_view owner) {
  return !owner.empty() && owner.size() <= kLongestOwner && std::all_of(owner.begin(), owner.end(), [](char c) {
    return absl::ascii_isalnum(c) || Contains("._-/:@", c);
  });
}

std::string CheckOwner(absl::string_view field, absl::string_view owner, Violations& violations) {
  if (!IsOwner(owner)) {
    violations.Add(field, absl::StrCat("must be 1 to ", kLongestOwner,
                                       " characters of A-Z a-z 0-9 . _ - / : @, but is ", Quote(owner)));
  }
  return std::string(owner);
}

engine::Metadata ToMetadata(const std::string& field, const v1::Metadata& proto, Violations& violations) {
  engine::Metadata metadata;
  if (!proto.owner().empty()) metadata.owner = CheckOwner(field + ".owner", proto.owner(), violations);
  if (proto.labels_size() > kMostLabels) {
    violations.Add(field + ".labels", absl::StrCat("must be at most ", kMostLabels, ", but are ", proto.labels_size()));
  }
  for (const auto& [key, value] : proto.labels()) {
    if (!IsLabelKey(key)) {
      violations.Add(field + ".labels", absl::StrCat("must have keys of 1 to ", kLongestLabelKey,
                                                     " characters of a-z 0-9 . _ - /, the first one a letter or a ",
                                                     "digit, but one is ", Quote(key)));
    } else if (!IsLabelValue(value)) {
      violations.Add(field + ".labels",
                     absl::StrCat("must have values of at most ", kLongestLabelValue,
                                  " bytes without control characters, but that of ", key, " is ", Quote(value)));
    }
    metadata.labels[key] = value;
  }
  if (proto.has_ttl()) {
    const std::optional<absl::Duration> ttl = ToDuration(proto.ttl());
    if (!ttl.has_value() || *ttl < kShortestTtl || *ttl > kLongestTtl) {
      violations.Add(field + ".ttl", absl::StrCat("must be 1 second to 10 years, but is ",
                                                  ttl.has_value() ? absl::FormatDuration(*ttl) : "out of range"));
    } else if (metadata.owner.empty()) {
      violations.Add(field + ".ttl", "must not be set without an owner, who renews it");
    }
    metadata.ttl = ttl.value_or(absl::ZeroDuration());
  }
  metadata.persistent = proto.persistent();
  metadata.self_heal = proto.self_heal();
  return metadata;
}

v1::Metadata ToProto(const engine::Metadata& metadata, const std::optional<absl::Time>& expire_time,
                     absl::string_view creator) {
  v1::Metadata proto;
  proto.set_owner(metadata.owner);
  for (const auto& [key, value] : metadata.labels) (*proto.mutable_labels())[key] = value;
  if (metadata.ttl != absl::ZeroDuration()) {
    const int64_t seconds = absl::ToInt64Seconds(metadata.ttl);
    proto.mutable_ttl()->set_seconds(seconds);
    proto.mutable_ttl()->set_nanos(
        static_cast<int32_t>(absl::ToInt64Nanoseconds(metadata.ttl - absl::Seconds(seconds))));
  }
  if (expire_time.has_value()) *proto.mutable_expire_time() = ToTimestamp(*expire_time);
  proto.set_persistent(metadata.persistent);
  proto.set_self_heal(metadata.self_heal);
  proto.set_creator(Printable(creator, kLongestCallerName));
  return proto;
}

void AddDeviations(const std::vector<engine::Deviation>& deviations,
                   google::protobuf::RepeatedPtrField<v1::Deviation>* proto) {
  auto show = [](const std::string& value) { return IsUtf8(value) ? value : Printable(value, kLongestValueShown); };
  for (const engine::Deviation& deviation : deviations) {
    v1::Deviation& added = *proto->Add();
    added.set_field(deviation.field);
    added.set_expected(show(deviation.expected));
    added.set_actual(show(deviation.actual));
  }
}

}  // namespace netprov::api
