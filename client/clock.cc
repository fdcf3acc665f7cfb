#include "client/clock.h"

#include <chrono>
#include <random>
#include <thread>

namespace netprov::client {
namespace {

class RealClock final : public Clock {
 public:
  absl::Duration Now() override { return absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch()); }

  void Sleep(absl::Duration duration) override { std::this_thread::sleep_for(absl::ToChronoNanoseconds(duration)); }

  double Random() override {
    thread_local std::minstd_rand generator{std::random_device{}()};
    return std::uniform_real_distribution<double>(0, 1)(generator);
  }
};

}  // namespace

std::shared_ptr<Clock> SystemClock() { return std::make_shared<RealClock>(); }

}  // namespace netprov::client
