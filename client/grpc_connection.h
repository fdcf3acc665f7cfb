// The Connection that speaks gRPC.
#ifndef NETPROV_CLIENT_GRPC_CONNECTION_H_
#define NETPROV_CLIENT_GRPC_CONNECTION_H_

#include <memory>
#include <string_view>

#include "absl/status/statusor.h"
#include "client/clock.h"
#include "client/connection.h"
#include "client/tls.h"

// <grpcpp/grpcpp.h> costs each file that includes it seconds to compile.
namespace grpc {
class Channel;
}  // namespace grpc

namespace netprov::client {

// A connection over `channel`, which may be any, also an in-process one. Thread-safe.
//
// UNAVAILABLE is retried, as client/retry.h says: creates and deletes if their request holds a request_id, by which the
// server knows a repeat, or has validate_only set, and everything else always. Nothing else ever is. A request with a
// string that is not UTF-8, and an owner in the options that is no name of one, are INVALID_ARGUMENT without a call.
// `clock` times the waits between attempts.
std::shared_ptr<Connection> MakeConnection(std::shared_ptr<grpc::Channel> channel,
                                           std::shared_ptr<Clock> clock = SystemClock());

// A connection to a server, by TCP or by a unix socket; client/endpoint.h has the forms of `endpoint`, and its
// kDefaultEndpoint is where netprovd listens. INVALID_ARGUMENT if it has none of them. Does not wait for the server:
// calls are UNAVAILABLE as long as it can't be reached.
//
// With TLS where `tls` says how, else in plain text. INVALID_ARGUMENT for TLS that lacks something, is for a unix
// socket, or has a file that can't be read. A file that is not what it should be, and a server that is not trusted or
// does not trust the client, are UNAVAILABLE when a call is made.
//
// The environment's HTTP proxy is not used.
absl::StatusOr<std::shared_ptr<Connection>> MakeConnection(std::string_view endpoint, const TlsOptions& tls = {});

}  // namespace netprov::client

#endif  // NETPROV_CLIENT_GRPC_CONNECTION_H_
