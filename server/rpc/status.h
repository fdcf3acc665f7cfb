// absl::Status to grpc::Status, details included.
#ifndef NETPROV_SERVER_RPC_STATUS_H_
#define NETPROV_SERVER_RPC_STATUS_H_

#include <grpcpp/support/status.h>

#include "absl/status/status.h"

namespace netprov::rpc {

// Code and message stay what they are; the payloads become the details of a google.rpc.Status in error_details(),
// google.rpc.ErrorInfo first, the others ordered by type URL. Keys of payloads must be type URLs, as server/api makes
// them.
grpc::Status ToGrpcStatus(const absl::Status& status);

}  // namespace netprov::rpc

#endif  // NETPROV_SERVER_RPC_STATUS_H_
