// What the layers count for whoever shows it, so cheaply that nobody has to think before counting.
#ifndef NETPROV_SERVER_BASE_STATISTICS_H_
#define NETPROV_SERVER_BASE_STATISTICS_H_

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace netprov {

// Counts events since the start of the process. Thread-safe, and orders nothing: who reads two counters may see one
// event in one of them only.
class Counter {
 public:
  void Add(uint64_t count = 1) { value_.fetch_add(count, std::memory_order_relaxed); }
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_ = 0;
};

// Counts durations by their length. Thread-safe as Counter is.
class Histogram {
 public:
  using Duration = std::chrono::nanoseconds;

  // The longest duration of each bucket, itself included; one more bucket takes all that is longer.
  static constexpr std::array<Duration, 18> kBounds = {
      std::chrono::microseconds(25),   std::chrono::microseconds(50),  std::chrono::microseconds(100),
      std::chrono::microseconds(250),  std::chrono::microseconds(500), std::chrono::milliseconds(1),
      std::chrono::microseconds(2500), std::chrono::milliseconds(5),   std::chrono::milliseconds(10),
      std::chrono::milliseconds(25),   std::chrono::milliseconds(50),  std::chrono::milliseconds(100),
      std::chrono::milliseconds(250),  std::chrono::milliseconds(500), std::chrono::seconds(1),
      std::chrono::milliseconds(2500), std::chrono::seconds(5),        std::chrono::seconds(10)};

  // A negative one, of a clock that was set back, counts as 0.
  void Observe(Duration duration) {
    duration = std::max(duration, Duration::zero());
    const auto* const bound = std::lower_bound(kBounds.begin(), kBounds.end(), duration);
    counts_[static_cast<size_t>(bound - kBounds.begin())].Add();
    sum_.Add(static_cast<uint64_t>(duration.count()));
  }

  struct Snapshot {
    std::array<uint64_t, kBounds.size() + 1> counts = {};  // of each bucket by itself
    Duration sum = Duration::zero();
  };
  Snapshot Read() const {
    Snapshot snapshot;
    std::transform(counts_.begin(), counts_.end(), snapshot.counts.begin(), [](const Counter& c) { return c.value(); });
    snapshot.sum = Duration(sum_.value());
    return snapshot;
  }

 private:
  std::array<Counter, kBounds.size() + 1> counts_;
  Counter sum_;  // in nanoseconds
};

// Observes how long it lives, by the steady clock. Null: nothing.
class ScopedTimer {
 public:
  explicit ScopedTimer(Histogram* histogram) : histogram_(histogram) {
    if (histogram_ != nullptr) start_ = Clock::now();
  }
  ~ScopedTimer() {
    if (histogram_ != nullptr) histogram_->Observe(Clock::now() - start_);
  }
  ScopedTimer(const ScopedTimer&) = delete;
  ScopedTimer& operator=(const ScopedTimer&) = delete;

 private:
  using Clock = std::chrono::steady_clock;
  Histogram* const histogram_;
  Clock::time_point start_;
};

}  // namespace netprov

#endif  // NETPROV_SERVER_BASE_STATISTICS_H_
