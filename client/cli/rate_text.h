// Rates and sizes as people type them, and as `contain` prints them. Only the syntax is judged here.
#ifndef NETPROV_CLIENT_CLI_RATE_TEXT_H_
#define NETPROV_CLIENT_CLI_RATE_TEXT_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "netprov/v1/veth.pb.h"

namespace netprov::cli {

// In the words of tc(8); the units are read in either case. INVALID_ARGUMENT with a message for the user.

// Bits a second: a number, which may have decimals, with `bit`, `kbit`, `mbit`, `gbit` or `tbit` behind it, each a
// thousand of the one before; nothing is `bit`.
absl::StatusOr<uint64_t> ParseRate(const std::string& text);
// Bytes: a number with `b`, `k` or `kb`, `m` or `mb`, `g` or `gb` behind it, each 1024 of the one before; nothing is
// `b`.
absl::StatusOr<uint32_t> ParseSize(const std::string& text);

// `10mbit burst 32768 latency 50ms`.
std::string FormatLimit(const v1::RateLimit& limit);

}  // namespace netprov::cli

#endif  // NETPROV_CLIENT_CLI_RATE_TEXT_H_
