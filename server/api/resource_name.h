// Resource names (AIP-122): `namespaces/{namespace}`, `veths/{veth}`, `bridges/{bridge}` and `devices/{device}`.
//
// The id of a namespace is the name of a file at /run/netns. netprov's own ids need no encoding; of a file that
// somebody else made, each byte that no id may hold is percent-encoded in the resource name: `namespaces/my%20net` is
// /run/netns/my net.
#ifndef NETPROV_SERVER_API_RESOURCE_NAME_H_
#define NETPROV_SERVER_API_RESOURCE_NAME_H_

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"
#include "server/base/result.h"

namespace netprov::api {

inline constexpr size_t kLongestNamespaceId = 255;  // NAME_MAX
inline constexpr size_t kLongestVethId = 63;

// What is wrong with a name, and what is allowed: one clause to put behind `must`, the value quoted.
struct NameError {
  std::string message;
};

// Checks the id of a namespace that netprov shall make: 1 to 255 characters of `A-Z a-z 0-9 . _ -`, the first one a
// letter, a digit or
// `_`. Such an id is a file name that stays in its directory.
netprov::Result<void, NameError> CheckNamespaceId(absl::string_view id);

// The same for a veth pair, a bridge or a device: 1 to 63 characters.
netprov::Result<void, NameError> CheckVethId(absl::string_view id);

// Whether the bytes are a file name that stays in its directory: 1 to 255 bytes, neither `.` nor `..`, without `/` and
// NUL.
bool IsSafeFileName(absl::string_view id);

// The id in `namespaces/{namespace}`, percent-decoded: always a safe file name. Only the form that
// FormatNamespaceName() writes is accepted, so that a namespace has one name.
netprov::Result<std::string, NameError> ParseNamespaceName(absl::string_view name);

// The id in `veths/{veth}`, `bridges/{bridge}` or `devices/{device}`, which CheckVethId() accepts.
netprov::Result<std::string, NameError> ParseVethName(absl::string_view name);
netprov::Result<std::string, NameError> ParseBridgeName(absl::string_view name);
netprov::Result<std::string, NameError> ParseDeviceName(absl::string_view name);

// The reverse. Any bytes give a name.
std::string FormatNamespaceName(absl::string_view id);
std::string FormatVethName(absl::string_view id);

}  // namespace netprov::api

#endif  // NETPROV_SERVER_API_RESOURCE_NAME_H_
