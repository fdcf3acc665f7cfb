// A Clock that a test winds itself.
#ifndef NETPROV_CLIENT_TESTING_FAKE_CLOCK_H_
#define NETPROV_CLIENT_TESTING_FAKE_CLOCK_H_

#include <mutex>
#include <vector>

#include "client/clock.h"

namespace netprov::client {

// Sleep() returns at once, moves the time and is recorded. Thread-safe.
class FakeClock : public Clock {
 public:
  absl::Duration Now() override {
    std::lock_guard lock(mutex_);
    return now_;
  }

  void Sleep(absl::Duration duration) override {
    std::lock_guard lock(mutex_);
    now_ += duration;
    sleeps_.push_back(duration);
  }

  double Random() override {
    std::lock_guard lock(mutex_);
    return random_;
  }

  void Advance(absl::Duration duration) {
    std::lock_guard lock(mutex_);
    now_ += duration;
  }

  // What Random() returns from now on. At first 0.
  void set_random(double random) {
    std::lock_guard lock(mutex_);
    random_ = random;
  }

  std::vector<absl::Duration> sleeps() const {
    std::lock_guard lock(mutex_);
    return sleeps_;
  }

 private:
  mutable std::mutex mutex_;
  absl::Duration now_ = absl::Hours(1000);
  double random_ = 0;
  std::vector<absl::Duration> sleeps_;
};

}  // namespace netprov::client

#endif  // NETPROV_CLIENT_TESTING_FAKE_CLOCK_H_
