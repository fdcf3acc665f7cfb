// Time and chance, as the retries need them; a test puts its own in their place.
#ifndef NETPROV_CLIENT_CLOCK_H_
#define NETPROV_CLIENT_CLOCK_H_

#include <memory>

#include "absl/time/time.h"

namespace netprov::client {

// Implementations are thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;

  // The time since a fixed moment in the past. Never goes back.
  virtual absl::Duration Now() = 0;

  // Blocks the calling thread for `duration`, which is finite and not negative.
  virtual void Sleep(absl::Duration duration) = 0;

  // Drawn evenly from [0, 1).
  virtual double Random() = 0;
};

// The real one: CLOCK_MONOTONIC.
std::shared_ptr<Clock> SystemClock();

}  // namespace netprov::client

#endif  // NETPROV_CLIENT_CLOCK_H_
