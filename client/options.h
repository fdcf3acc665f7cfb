// What a caller can choose for its calls, and what a Connection is told about one call.
#ifndef NETPROV_CLIENT_OPTIONS_H_
#define NETPROV_CLIENT_OPTIONS_H_

#include <optional>
#include <string>

#include "absl/time/time.h"

namespace netprov::client {

// How long to wait between attempts. The n-th wait is drawn evenly from [d/2, d] with d = min(initial *
// multiplier^(n-1), max), and is never shorter than the server's google.rpc.RetryInfo asks for.
struct Backoff {
  // At least 1 ms; less counts as 1 ms.
  absl::Duration initial = absl::Milliseconds(100);
  // At least `initial`; less counts as `initial`.
  absl::Duration max = absl::Seconds(5);
  // At least 1; less counts as 1.
  double multiplier = 2;

  friend bool operator==(const Backoff&, const Backoff&) = default;
};

// Choices for one call or for all calls of a Client. What is unset is taken from the next in this order: the call's own
// options, the client's options, the defaults written here.
struct Options {
  // How long a call may take in all, attempts and waits together. Default: 30 s. A listing that needs several pages has
  // it for each page. absl::InfiniteDuration() means no bound.
  std::optional<absl::Duration> timeout;

  // How long one attempt may take. Default: what is left of `timeout`. An attempt that takes longer ends the call with
  // DEADLINE_EXCEEDED; it is not repeated, because the server may still be at it.
  std::optional<absl::Duration> attempt_timeout;

  // Whether to repeat an attempt that ended with UNAVAILABLE, the only code that is ever retried. Default: true. A
  // create or a delete is repeated only if its request holds a request_id or only validates.
  std::optional<bool> retry;

  // Whether a create or a delete whose request holds no request_id gets a fresh one (a version 4 UUID). Default: true.
  // A request_id in the request always stays as it is.
  std::optional<bool> generate_request_id;

  // Default: as Backoff says.
  std::optional<Backoff> backoff;

  // Who calls: a name as in v1::Metadata.owner, sent as `netprov-owner` in the call's gRPC metadata. Every call with it
  // is a sign of life that renews this owner's leases; it does not make this owner that of what a call creates.
  // Default, and when empty: nobody in particular.
  std::optional<std::string> owner;
};

// The same with all choices made; what a Connection gets.
struct CallOptions {
  absl::Duration timeout = absl::Seconds(30);
  absl::Duration attempt_timeout = absl::InfiniteDuration();
  bool retry = true;
  Backoff backoff;
  std::string owner;

  friend bool operator==(const CallOptions&, const CallOptions&) = default;
};

}  // namespace netprov::client

#endif  // NETPROV_CLIENT_OPTIONS_H_
