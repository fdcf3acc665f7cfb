// Addresses, routes and neighbors as people type them, and as `contain` prints them. Only the syntax is judged here;
// what an address is, the server knows.
#ifndef NETPROV_CLIENT_CLI_IP_TEXT_H_
#define NETPROV_CLIENT_CLI_IP_TEXT_H_

#include <string>

#include "absl/status/statusor.h"
#include "netprov/v1/ip.pb.h"

namespace netprov::cli {

// Each returns INVALID_ARGUMENT with a message for the user, which does not quote the whole text.

// `ADDRESS[/LENGTH]`, and behind commas, in any order, `peer=ADDRESS`, `scope=global|link|host`, and `dad` or `nodad`.
absl::StatusOr<v1::Address> ParseAddress(const std::string& text);

// In the words of ip-route(8): `[TYPE] DESTINATION`, and then, in any order, `via ADDRESS`, `metric NUMBER`,
// `table NUMBER|main`, `src ADDRESS`, `mtu BYTES`, `scope global|link|host`, `onlink`. TYPE is `unicast`, `blackhole`,
// `unreachable` or `prohibit`. The destination `default` is `::/0` where the gateway or the source is one of IPv6, else
// `0.0.0.0/0`.
absl::StatusOr<v1::Route> ParseRoute(const std::string& text);

// `ADDRESS=MAC`.
absl::StatusOr<v1::Neighbor> ParseNeighbor(const std::string& text);

// Each returns what the function above takes for the same thing. What is so anyway is not said: a global scope of an
// address, the scope that a route has by its gateway, the main table, `unicast`, `nodad`. A value that this program
// does not know is a number.
std::string FormatAddress(const v1::Address& address);
std::string FormatRoute(const v1::Route& route);
std::string FormatNeighbor(const v1::Neighbor& neighbor);

}  // namespace netprov::cli

#endif  // NETPROV_CLIENT_CLI_IP_TEXT_H_
