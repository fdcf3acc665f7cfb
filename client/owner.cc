#include "client/owner.h"

#include <algorithm>
#include <cstddef>

#include "absl/strings/ascii.h"

namespace netprov::client {
namespace {

constexpr size_t kMaxSize = 128;

bool IsAllowed(char c) {
  return absl::ascii_isalnum(c) || std::string_view("._-/:@").find(c) != std::string_view::npos;
}

}  // namespace

absl::Status CheckOwner(std::string_view owner) {
  if (!owner.empty() && owner.size() <= kMaxSize && std::all_of(owner.begin(), owner.end(), IsAllowed)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError("must be 1 to 128 characters of A-Z a-z 0-9 . _ - / : @");
}

}  // namespace netprov::client
