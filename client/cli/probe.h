// Whether a daemon is there.
#ifndef NETPROV_CLIENT_CLI_PROBE_H_
#define NETPROV_CLIENT_CLI_PROBE_H_

#include <string>

#include "absl/status/statusor.h"

namespace netprov::cli {

// Whether somebody listens on the unix stream socket at `path` (at most 107 bytes). Connects and hangs up.
//
// False when there is no such file, or when it is the socket of a process that has ended (unix(7): ECONNREFUSED). A
// socket that can't be asked is an error, since a daemon may well be behind it: PERMISSION_DENIED, or
// FAILED_PRECONDITION for anything else.
absl::StatusOr<bool> IsListening(const std::string& path);

}  // namespace netprov::cli

#endif  // NETPROV_CLIENT_CLI_PROBE_H_
