// The retry policy of the client library.
#ifndef NETPROV_CLIENT_RETRY_H_
#define NETPROV_CLIENT_RETRY_H_

#include <functional>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/clock.h"
#include "client/options.h"

namespace netprov::client {

// Calls `attempt` until it ends with anything but UNAVAILABLE, or until another one would not fit into options.timeout;
// returns its last status. `repeatable` says whether a second attempt can do no harm; if not, or if options.retry is
// false, there is one attempt.
//
// `attempt` gets the time that it may take: the smaller of options.attempt_timeout and what is left of options.timeout,
// positive, possibly infinite. Between attempts it waits as Backoff says; when that wait would reach the end of
// options.timeout, the error is returned at once. A timeout that is not positive is DEADLINE_EXCEEDED without an
// attempt.
absl::Status CallWithRetries(const CallOptions& options, bool repeatable, Clock& clock,
                             const std::function<absl::Status(absl::Duration timeout)>& attempt);

}  // namespace netprov::client

#endif  // NETPROV_CLIENT_RETRY_H_
