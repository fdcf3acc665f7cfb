// LeaseService over gRPC.
#ifndef NETPROV_SERVER_RPC_LEASE_SERVICE_H_
#define NETPROV_SERVER_RPC_LEASE_SERVICE_H_

#include <grpcpp/impl/service_type.h>

#include <memory>

#include "server/engine/engine.h"
#include "server/rpc/call_runner.h"
#include "server/rpc/gate.h"

namespace netprov::rpc {

// The methods on leases, each one line of what to call; the rest is the runner's. Engine and runner must outlive it.
std::unique_ptr<grpc::Service> MakeLeaseService(engine::Engine& engine, const Gate& gate, CallRunner& runner);

}  // namespace netprov::rpc

#endif  // NETPROV_SERVER_RPC_LEASE_SERVICE_H_
