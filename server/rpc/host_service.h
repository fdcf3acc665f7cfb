// HostService over gRPC.
#ifndef NETPROV_SERVER_RPC_HOST_SERVICE_H_
#define NETPROV_SERVER_RPC_HOST_SERVICE_H_

#include <grpcpp/impl/service_type.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "server/engine/engine.h"
#include "server/rpc/call_runner.h"

namespace netprov::rpc {

// The methods on the host, each one line of what to call; the rest is the runner's. Engine and runner must outlive it.
// `configuration_faults` says why configuration is not in use; null: all is.
std::unique_ptr<grpc::Service> MakeHostService(engine::Engine& engine, CallRunner& runner,
                                               std::function<std::vector<std::string>()> configuration_faults);

}  // namespace netprov::rpc

#endif  // NETPROV_SERVER_RPC_HOST_SERVICE_H_
