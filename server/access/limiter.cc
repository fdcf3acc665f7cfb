#include "server/access/limiter.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace netprov::access {
namespace {

// When a call may have ended that was under way.
constexpr absl::Duration kPause = absl::Milliseconds(100);

// How often callers of long ago are forgotten.
constexpr absl::Duration kSweepInterval = absl::Seconds(10);

}  // namespace

void Limiter::Caller::Refresh(absl::Time now) {
  if (now > time && time != absl::InfinitePast()) {
    used = std::max(0.0, used - rate * absl::ToDoubleSeconds(now - time));
  }
  time = std::max(time, now);
}

std::optional<Limiter::Refusal> Limiter::Enter(const std::string& caller, const CallLimits& limits, absl::Time now) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (now >= next_sweep_) {
    next_sweep_ = now + kSweepInterval;
    for (auto it = callers_.begin(); it != callers_.end();) {
      it->second.Refresh(now);
      it = it->second.calls == 0 && it->second.used == 0 ? callers_.erase(it) : std::next(it);
    }
  }
  Caller& known = callers_[caller];
  if (limits.concurrent_calls != 0 && known.calls >= limits.concurrent_calls) {
    statistics_.concurrent.Add();
    return Refusal{.why = absl::StrCat("has ", known.calls, " calls under way, as many as it may"),
                   .retry_after = kPause};
  }
  known.Refresh(now);
  known.rate = limits.calls_per_second;
  if (known.rate == 0) {
    known.used = 0;
  } else {
    const double burst = limits.burst != 0 ? static_cast<double>(limits.burst) : std::max(1.0, known.rate);
    if (known.used + 1 > burst) {
      statistics_.rate.Add();
      return Refusal{.why = absl::StrCat("makes more calls than the ", known.rate, " a second that it may"),
                     .retry_after = absl::Seconds((known.used + 1 - burst) / known.rate)};
    }
    ++known.used;
  }
  ++known.calls;
  return std::nullopt;
}

void Limiter::Leave(const std::string& caller, absl::Time now) {
  std::lock_guard<std::mutex> lock(mutex_);
  const auto known = callers_.find(caller);
  if (known == callers_.end()) return;
  --known->second.calls;
  known->second.Refresh(now);
  if (known->second.calls == 0 && known->second.used == 0) callers_.erase(known);
}

size_t Limiter::callers() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return callers_.size();
}

}  // namespace netprov::access
