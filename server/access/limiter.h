// How much each caller asks for, kept within its limits.
#ifndef NETPROV_SERVER_ACCESS_LIMITER_H_
#define NETPROV_SERVER_ACCESS_LIMITER_H_

#include <cstddef>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "server/access/policy.h"
#include "server/base/statistics.h"

namespace netprov::access {

// Counts calls by the names of their callers: those that are under way, and those of late by a token bucket.
// Thread-safe.
class Limiter {
 public:
  // Why a call is not let in.
  struct Refusal {
    std::string why;             // a sentence without its caller, as in `has 16 calls under way, as many as it may`
    absl::Duration retry_after;  // when there may be room
  };

  // Lets a call of `caller` in, which Leave() must follow then, or says why not. `now` never goes back.
  std::optional<Refusal> Enter(const std::string& caller, const CallLimits& limits, absl::Time now);
  void Leave(const std::string& caller, absl::Time now);

  // Calls that were not let in.
  struct Statistics {
    Counter rate;        // for the calls a second
    Counter concurrent;  // for those under way
  };
  const Statistics& statistics() const { return statistics_; }

  // How many callers are remembered: those with calls under way, and those whose bucket is not full again.
  size_t callers() const;

 private:
  struct Caller {
    size_t calls = 0;
    double used = 0;  // of the bucket, at `time`
    double rate = 0;  // at which it becomes free again; 0: nothing is counted
    absl::Time time = absl::InfinitePast();

    void Refresh(absl::Time now);
  };

  Statistics statistics_;
  mutable std::mutex mutex_;
  std::map<std::string, Caller> callers_;
  absl::Time next_sweep_ = absl::InfinitePast();
};

}  // namespace netprov::access

#endif  // NETPROV_SERVER_ACCESS_LIMITER_H_
