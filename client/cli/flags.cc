#include "client/cli/flags.h"

#include <cstdint>
#include <string_view>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"

namespace netprov::cli {

std::string Name(const char* collection, const std::string& text) {
  return absl::StartsWith(text, collection) ? text : collection + text;
}

std::string Id(const char* collection, const std::string& text) {
  return absl::StartsWith(text, collection) ? text.substr(std::string_view(collection).size()) : text;
}

CLI::Validator Decimal() {
  return CLI::Validator(
      [](std::string& text) {
        uint32_t number = 0;
        const bool digits = !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
        if (!digits || !absl::SimpleAtoi(text, &number)) return "must be a whole number, not `" + text + "`";
        text = absl::StrCat(number);
        return std::string();
      },
      /*validator_desc=*/"");
}

bool ParsePositiveDuration(const std::string& text, absl::Duration& duration) {
  return absl::ParseDuration(text, &duration) && duration > absl::ZeroDuration() &&
         duration != absl::InfiniteDuration();
}

void Set(absl::Duration duration, google::protobuf::Duration& proto) {
  proto.set_seconds(absl::IDivDuration(duration, absl::Seconds(1), &duration));
  proto.set_nanos(static_cast<int>(absl::ToInt64Nanoseconds(duration)));
}

absl::StatusOr<google::protobuf::Duration> ParseDuration(const std::string& option, const std::string& text,
                                                         const char* examples) {
  absl::Duration duration;
  if (!absl::ParseDuration(text, &duration) || duration < absl::ZeroDuration() ||
      duration == absl::InfiniteDuration()) {
    return absl::InvalidArgumentError(
        absl::StrCat(option, ": must be a duration such as ", examples, ", not `", text, "`"));
  }
  google::protobuf::Duration proto;
  Set(duration, proto);
  return proto;
}

}  // namespace netprov::cli
