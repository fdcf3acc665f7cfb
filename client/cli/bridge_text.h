// Ports of bridges as people type them, and as `contain` prints them. Only the syntax is judged here.
#ifndef NETPROV_CLIENT_CLI_BRIDGE_TEXT_H_
#define NETPROV_CLIENT_CLI_BRIDGE_TEXT_H_

#include <string>

#include "absl/status/statusor.h"
#include "netprov/v1/veth.pb.h"

namespace netprov::cli {

// In the words of bridge(8), in any order: `hairpin`, `isolated`, `learning`, `flood`, `mcast_flood`, `bcast_flood` and
// `neigh_suppress`, each with `on` or `off`, and `cost` and `priority` with a number. INVALID_ARGUMENT with a message
// for the user, which does not quote the whole text.
absl::StatusOr<v1::BridgePort> ParsePort(const std::string& text);

// `VID[-VID]`, and then, in any order, `pvid` and `untagged`.
absl::StatusOr<v1::BridgeVlan> ParseVlan(const std::string& text);

// Each returns what the function above takes for the same thing; without VLANs.
std::string FormatPort(const v1::BridgePort& port);
// The same without what every new port has (new_nbp() in the kernel's net/bridge/br_if.c).
std::string FormatPortUnlikeNew(v1::BridgePort port);
std::string FormatVlan(const v1::BridgeVlan& vlan);

}  // namespace netprov::cli

#endif  // NETPROV_CLIENT_CLI_BRIDGE_TEXT_H_
