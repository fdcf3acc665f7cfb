#ifndef NETPROV_SERVER_RPC_ACCESS_SERVICE_H_
#define NETPROV_SERVER_RPC_ACCESS_SERVICE_H_

#include <grpcpp/impl/service_type.h>

#include <memory>

#include "server/rpc/call_runner.h"
#include "server/rpc/gate.h"

namespace netprov::rpc {

// netprov.v1.AccessService. Both must outlive it.
std::unique_ptr<grpc::Service> MakeAccessService(const Gate& gate, CallRunner& runner);

}  // namespace netprov::rpc

#endif  // NETPROV_SERVER_RPC_ACCESS_SERVICE_H_
