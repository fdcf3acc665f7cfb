#include "server/api/page_token.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace netprov::api {
namespace {

constexpr absl::string_view kVersion = "1:";

// No id is longer than a file name.
constexpr size_t kLongestToken = 1024;

}  // namespace

std::string FormatPageToken(absl::string_view method, absl::string_view after) {
  return absl::WebSafeBase64Escape(absl::StrCat(kVersion, method, ":", after));
}

std::optional<std::string> ParsePageToken(absl::string_view method, absl::string_view token) {
  std::string content;
  if (token.size() > kLongestToken || !absl::WebSafeBase64Unescape(token, &content)) return std::nullopt;
  absl::string_view after = content;
  if (!absl::ConsumePrefix(&after, kVersion) || !absl::ConsumePrefix(&after, method) ||
      !absl::ConsumePrefix(&after, ":") || after.empty()) {
    return std::nullopt;
  }
  return std::string(after);
}

}  // namespace netprov::api
