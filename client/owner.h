// The name of an owner of objects, and how a call carries it.
#ifndef NETPROV_CLIENT_OWNER_H_
#define NETPROV_CLIENT_OWNER_H_

#include <string_view>

#include "absl/status/status.h"

namespace netprov::client {

// The key of a call's gRPC metadata that holds the owner's name.
inline constexpr char kOwnerKey[] = "netprov-owner";

// INVALID_ARGUMENT unless `owner` is a name as netprov.v1.Metadata.owner has them: 1 to 128 characters of
// `A-Z a-z 0-9 . _ - / : @`. The error's message reads on after what the name stands in.
absl::Status CheckOwner(std::string_view owner);

}  // namespace netprov::client

#endif  // NETPROV_CLIENT_OWNER_H_
