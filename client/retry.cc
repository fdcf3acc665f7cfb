#include "client/retry.h"

#include <algorithm>
#include <optional>

#include "client/status.h"

namespace netprov::client {
namespace {

// The delay that the server asks for; zero when it doesn't.
absl::Duration RequestedDelay(const absl::Status& status) {
  const std::optional<google::rpc::RetryInfo> info = GetDetail<google::rpc::RetryInfo>(status);
  if (!info.has_value()) return absl::ZeroDuration();
  return absl::Seconds(info->retry_delay().seconds()) + absl::Nanoseconds(info->retry_delay().nanos());
}

}  // namespace

absl::Status CallWithRetries(const CallOptions& options, bool repeatable, Clock& clock,
                             const std::function<absl::Status(absl::Duration timeout)>& attempt) {
  const absl::Duration end = clock.Now() + options.timeout;
  absl::Duration step = std::max(options.backoff.initial, absl::Milliseconds(1));
  const absl::Duration max_step = std::max(options.backoff.max, step);
  absl::Status last = absl::DeadlineExceededError("the call's timeout was over before the first attempt");
  for (;;) {
    const absl::Duration timeout = std::min(options.attempt_timeout, end - clock.Now());
    if (timeout <= absl::ZeroDuration()) return last;
    last = attempt(timeout);
    if (!options.retry || !repeatable || !absl::IsUnavailable(last)) return last;

    const absl::Duration wait = std::max(step * (0.5 + clock.Random() / 2), RequestedDelay(last));
    if (wait >= end - clock.Now()) return last;
    clock.Sleep(wait);
    step = std::min(step * std::max(options.backoff.multiplier, 1.0), max_step);
  }
}

}  // namespace netprov::client
