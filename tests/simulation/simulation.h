// Plays a history that a seed determines against the engine, and holds it to its model.
#ifndef NETPROV_TESTS_SIMULATION_SIMULATION_H_
#define NETPROV_TESTS_SIMULATION_SIMULATION_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/time/time.h"
#include "server/engine/kernel.h"
#include "server/engine/lease_book.h"
#include "tests/simulation/world.h"

namespace netprov::simulation {

// What happened, for a summary and to see that nothing has gone out of use.
struct Statistics {
  int64_t histories = 0;
  std::map<std::string, int64_t> counts;  // by what it was, as in `answer: ok`

  void Add(const Statistics& other);
  std::string ToString() const;
};

struct Options {
  // Where the registry goes, with as many files as there are restarts. On a tmpfs a history costs milliseconds.
  std::string directory = "/dev/shm";

  // Collects what happens, step by step.
  bool verbose = false;

  // Whether to look at the machine whenever no call runs, and not only after a crash and at the end.
  bool looks_often = true;

  // Puts a kernel on top of the world's, below the faults: to see that a broken one is noticed.
  std::function<std::unique_ptr<engine::Kernel>(engine::Kernel&)> wrap;

  // The engine's clock, which must tell `now`: to see that a wrong one is noticed.
  std::function<engine::LeaseBook::Clock(const absl::Duration& now)> clock = [](const absl::Duration& now) {
    return [&now] { return now; };
  };
};

struct Report {
  std::string failure;  // what broke; empty: nothing
  std::string log;      // with Options::verbose
  Statistics statistics;
};

// Runs the history of `seed` in `world`, which must be empty. Afterwards it holds what other programs made in it. The
// same seed, options and kind of world give the same history, step by step. Not thread-safe: one at a time in a
// process.
Report Simulate(uint64_t seed, const Options& options, World& world);

}  // namespace netprov::simulation

#endif  // NETPROV_TESTS_SIMULATION_SIMULATION_H_
