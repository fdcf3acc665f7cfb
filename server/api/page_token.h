// Page tokens (AIP-158).
#ifndef NETPROV_SERVER_API_PAGE_TOKEN_H_
#define NETPROV_SERVER_API_PAGE_TOKEN_H_

#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace netprov::api {

// A token that says where the next page of `method`, such as `ListVeths`, begins: behind the id `after`, any bytes.
// Callers must take it for opaque, so its content may change with the version in it.
std::string FormatPageToken(absl::string_view method, absl::string_view after);

// The `after` of a token that FormatPageToken() made for this method; nullopt for anything else.
std::optional<std::string> ParsePageToken(absl::string_view method, absl::string_view token);

}  // namespace netprov::api

#endif  // NETPROV_SERVER_API_PAGE_TOKEN_H_
