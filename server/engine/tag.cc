#include "server/engine/tag.h"

#include <sys/random.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"

namespace netprov::engine {
namespace {

constexpr char kPrefix[] = "netprov:";
constexpr size_t kUidSize = 36;  // a UUID in text

}  // namespace

std::string NewUid() {
  std::array<uint8_t, 16> bytes;
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) std::abort();
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  std::string text;
  for (size_t i = 0; i < bytes.size(); ++i) {
    absl::StrAppendFormat(&text, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", bytes[i]);
  }
  return text;
}

std::string TagOf(const std::string& registry, const std::string& uid, const std::string& object) {
  // IFALIASZ - 1, the terminating zero among them.
  constexpr size_t kLongestAlias = 254;
  return absl::StrCat(kPrefix, registry, ":", uid, ":", object).substr(0, kLongestAlias);
}

std::optional<Tag> ParseTag(const std::string& alias) {
  std::vector<std::string> parts = absl::StrSplit(alias, absl::MaxSplits(':', 3));
  if (parts.size() != 4 || parts[0] != "netprov" || parts[1].size() != kUidSize || parts[2].size() != kUidSize) {
    return std::nullopt;
  }
  return Tag{.registry = std::move(parts[1]), .uid = std::move(parts[2]), .object = std::move(parts[3])};
}

std::string JoinAlias(const std::string& tag, const std::string& text) {
  return text.empty() ? tag : absl::StrCat(tag, " ", text);
}

std::pair<std::string, std::string> SplitAlias(const std::string& alias) {
  const size_t space = alias.find(' ');
  if (space == std::string::npos || !ParseTag(alias).has_value()) return {alias, ""};
  return {alias.substr(0, space), alias.substr(space + 1)};
}

}  // namespace netprov::engine
