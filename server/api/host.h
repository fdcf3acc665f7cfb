// What was found on the host: reports of the engine to messages.
#ifndef NETPROV_SERVER_API_HOST_H_
#define NETPROV_SERVER_API_HOST_H_

#include <string>
#include <vector>

#include "netprov/v1/host.pb.h"
#include "server/engine/host_report.h"

namespace netprov::api {

// As in the proto, without the prefix: `ROLLED_BACK`.
std::string NameOf(engine::Finding::Kind kind);

// `configuration_faults`: see the proto.
v1::HostReport ToProto(const engine::HostReport& report, const std::vector<std::string>& configuration_faults = {});

}  // namespace netprov::api

#endif  // NETPROV_SERVER_API_HOST_H_
