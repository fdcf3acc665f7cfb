#include "server/access/identity.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace netprov::access {

std::string Identity::SpiffeId() const {
  const auto found =
      std::find_if(uris.begin(), uris.end(), [](const std::string& uri) { return absl::StartsWith(uri, "spiffe://"); });
  return found == uris.end() ? "" : *found;
}

std::string Identity::Name() const {
  switch (kind) {
    case Kind::kSelf:
      return "self";
    case Kind::kUnix:
      return absl::StrCat("uid:", uid);
    case Kind::kPlaintext:
      return "plaintext";
    case Kind::kTls:
      break;
  }
  if (std::string spiffe = SpiffeId(); !spiffe.empty()) return spiffe;
  if (!uris.empty()) return absl::StrCat("uri:", uris.front());
  if (!dns_names.empty()) return absl::StrCat("dns:", dns_names.front());
  return absl::StrCat("cn:", common_name);
}

bool Identity::IsInGroup(gid_t group) const {
  return kind == Kind::kUnix && (gid == group || std::find(groups.begin(), groups.end(), group) != groups.end());
}

}  // namespace netprov::access
