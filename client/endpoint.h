// Where a server listens, as text.
#ifndef NETPROV_CLIENT_ENDPOINT_H_
#define NETPROV_CLIENT_ENDPOINT_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace netprov::client {

// Where netprovd listens unless told otherwise.
inline constexpr char kDefaultEndpoint[] = "unix:///run/netprov/netprovd.sock";

// One of two: a unix socket (`socket_path` is not empty) or a TCP address.
struct Endpoint {
  // An absolute path of at most 107 bytes, what sockaddr_un can hold.
  std::string socket_path;

  // A DNS name, an IPv4 address, or an IPv6 address without its brackets.
  std::string host;
  // 1 to 65535.
  int port = 0;

  // Whether the server runs on this host for sure.
  bool is_local() const { return !socket_path.empty(); }

  friend bool operator==(const Endpoint&, const Endpoint&) = default;
};

// Understands `unix:///run/netprov/netprovd.sock` (the path is taken literally, nothing is percent-decoded),
// `host:port` and
// `[2001:db8::1]:port`. Anything else is INVALID_ARGUMENT, and the message says why.
absl::StatusOr<Endpoint> ParseEndpoint(std::string_view text);

// The same for gRPC's name resolver: `unix:/run/netprov/netprovd.sock` or `dns:///host:port`, percent-encoded where
// needed.
std::string GrpcTarget(const Endpoint& endpoint);

}  // namespace netprov::client

#endif  // NETPROV_CLIENT_ENDPOINT_H_
