// Forwarded ports as people type them, and as `contain` prints them. Only the syntax is judged here.
#ifndef NETPROV_CLIENT_CLI_PUBLISH_TEXT_H_
#define NETPROV_CLIENT_CLI_PUBLISH_TEXT_H_

#include <string>

#include "absl/status/statusor.h"
#include "netprov/v1/veth.pb.h"

namespace netprov::cli {

// `[HOST_ADDRESS:]HOST_PORT[-LAST]:PORT[/PROTOCOL]`, as in `8080:80`, `192.0.2.1:5000-5009:5000/udp` or
// `[2001:db8::1]:443:8443`; without a protocol it is tcp. INVALID_ARGUMENT with a message for the user.
absl::StatusOr<v1::PortForward> ParsePublish(const std::string& text);

// The same words, with the protocol.
std::string FormatPublish(const v1::PortForward& forward);

}  // namespace netprov::cli

#endif  // NETPROV_CLIENT_CLI_PUBLISH_TEXT_H_
