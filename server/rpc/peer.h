// Who is at the other end of a call.
#ifndef NETPROV_SERVER_RPC_PEER_H_
#define NETPROV_SERVER_RPC_PEER_H_

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_context.h>

#include <cstddef>
#include <memory>

#include "server/access/identity.h"
#include "server/rpc/connections.h"

namespace netprov::rpc {

// Credentials of the connection at a place among those of unix sockets. gRPC tells a method nothing of a unix peer, so
// that each place has an acceptor of its own with such credentials, which leave the place's number with the connection.
// What is sent is what a client without credentials expects.
std::shared_ptr<grpc::ServerCredentials> PlaceCredentials(size_t place);

// Who calls by a socket. Null: nobody knows, and the call must be refused.
std::shared_ptr<const access::Identity> CallerOf(const grpc::ServerContextBase& context,
                                                 const Connections& connections);

}  // namespace netprov::rpc

#endif  // NETPROV_SERVER_RPC_PEER_H_
