// What `contain` prints on stderr when a call fails, and the exit code that goes with it.
#ifndef NETPROV_CLIENT_CLI_ERROR_TEXT_H_
#define NETPROV_CLIENT_CLI_ERROR_TEXT_H_

#include <string>

#include "absl/status/status.h"

namespace netprov::cli {

// 64 plus the number of the gRPC code; 0 for OK.
int ExitCode(const absl::Status& status);

// `contain: MESSAGE`, then a line for each detail, indented by two spaces: wrong fields and unmet preconditions with
// what is wrong, the resource, the reason, and the reason's metadata by key. Ends with a newline. `status` is not OK.
std::string ErrorText(const absl::Status& status);

}  // namespace netprov::cli

#endif  // NETPROV_CLIENT_CLI_ERROR_TEXT_H_
