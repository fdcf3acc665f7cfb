#include "server/engine/tag.h"

#include <sys/random.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace netprov::engine {

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

std::string TagOf(const std::string& uid, const std::string& object) {
  // IFALIASZ - 1, the terminating zero among them.
  constexpr size_t kLongestAlias = 254;
  return absl::StrCat("netprov:", uid, ":", object).substr(0, kLongestAlias);
}

}  // namespace netprov::engine
