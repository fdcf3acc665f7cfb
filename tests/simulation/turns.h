// Threads that run one at a time, each until it yields: interleavings without chance.
#ifndef NETPROV_TESTS_SIMULATION_TURNS_H_
#define NETPROV_TESTS_SIMULATION_TURNS_H_

#include <functional>
#include <memory>
#include <semaphore>
#include <thread>

namespace netprov::simulation {

// The death of the process, as an exception: it unwinds a call of the engine, which must not notice.
struct Crash {};

// One call on a thread of its own. The thread runs only within Step() and Kill(), so that exactly one thread of the
// simulation runs at any time.
class Turn {
 public:
  // Nothing of `body` runs before the first Step().
  explicit Turn(std::function<void()> body);
  // Kills it unless it has ended.
  ~Turn();
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

  // Lets the thread run to its next Yield() or to its end. Must not be called after the end.
  void Step();
  // Lets it die where it is: Yield() throws Crash.
  void Kill();

  bool ended() const { return ended_; }
  // It ended by a Crash.
  bool crashed() const { return crashed_; }

  // Called by whatever runs on the thread: gives the turn back. Outside of such a thread it does nothing.
  static void Yield();

 private:
  std::function<void()> body_;
  std::binary_semaphore go_{0};
  std::binary_semaphore back_{0};
  bool killed_ = false;
  bool ended_ = false;
  bool crashed_ = false;
  std::thread thread_;
};

}  // namespace netprov::simulation

#endif  // NETPROV_TESTS_SIMULATION_TURNS_H_
