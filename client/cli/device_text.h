// Kinds of devices as people type them, and as `contain` prints them. Only the syntax is judged here.
#ifndef NETPROV_CLIENT_CLI_DEVICE_TEXT_H_
#define NETPROV_CLIENT_CLI_DEVICE_TEXT_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "netprov/v1/device.pb.h"

namespace netprov::cli {

// Each sets a mode in the words of ip-link(8), nothing where `text` is empty. INVALID_ARGUMENT with a message for the
// user.
absl::Status SetMacvlanMode(const std::string& text, v1::Macvlan& macvlan);
absl::Status SetIpvlanMode(const std::string& text, v1::Ipvlan& ipvlan);
absl::Status SetIpvlanModeFlag(const std::string& text, v1::Ipvlan& ipvlan);
absl::Status SetVlanProtocol(const std::string& text, v1::Vlan& vlan);

// `MAC dst ADDRESS [port PORT] [vni VNI]`, as `bridge fdb` has it. INVALID_ARGUMENT with a message for the user, which
// does not quote the whole text.
absl::StatusOr<v1::Vxlan::FdbEntry> ParseFdbEntry(const std::string& text);
// The reverse.
std::string FormatFdbEntry(const v1::Vxlan::FdbEntry& entry);

// `macvlan`; empty where it is none that this program knows.
std::string KindName(const v1::Device& device);

// What is of the kind, in the words of the options, one a line: `mode bridge`. Without entries.
std::vector<std::string> FormatKind(const v1::Device& device);

}  // namespace netprov::cli

#endif  // NETPROV_CLIENT_CLI_DEVICE_TEXT_H_
