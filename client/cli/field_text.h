// Fields of resources as people type them, for updates.
#ifndef NETPROV_CLIENT_CLI_FIELD_TEXT_H_
#define NETPROV_CLIENT_CLI_FIELD_TEXT_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "google/protobuf/field_mask.pb.h"
#include "google/protobuf/message.h"

namespace netprov::cli {

// Sets in `message` what `settings` say, each as in `endpoint_b.mtu=1400`, and adds each path to the mask once. A list
// or a map gets all the values that are given; one without a value, as in `endpoint_b.routes=`, is left out of the
// message. Values are as in JSON without quotes, and besides:
// - an address, a route, a neighbor, a VLAN or a VXLAN entry as in the options, and a port as in `--port`,
// - a label or a sysctl as KEY=VALUE,
// - a duration as in `10m`, a rate as in `10mbit`, a burst as in `32k`,
// - `yes` and `no`, and of an enumeration the end of the name, as in `down`.
// INVALID_ARGUMENT with a message for the user.
absl::Status SetFields(const std::vector<std::string>& settings, google::protobuf::Message& message,
                       google::protobuf::FieldMask& mask);

}  // namespace netprov::cli

#endif  // NETPROV_CLIENT_CLI_FIELD_TEXT_H_
