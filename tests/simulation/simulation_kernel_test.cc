// The same histories on the real kernel, with `ip` as the witness.
#include <cstdint>
#include <cstdio>

#include "gtest/gtest.h"
#include "tests/simulation/linux_world.h"
#include "tests/simulation/simulation.h"

namespace netprov::simulation {
namespace {

constexpr uint64_t kSeeds = 600;
constexpr int kParts = 20;

class SimulationKernelTest : public ::testing::TestWithParam<int> {};

TEST_P(SimulationKernelTest, EveryHistoryKeepsThePromises) {
  LinuxWorld world;
  Statistics statistics;
  const uint64_t from = kSeeds / kParts * GetParam();
  for (uint64_t seed = from; seed < from + kSeeds / kParts; ++seed) {
    const Report report = Simulate(seed, {.directory = "/run"}, world);
    world.Clear();
    statistics.Add(report.statistics);
    if (report.failure.empty()) continue;
    const Report again = Simulate(seed, {.directory = "/run", .verbose = true}, world);
    world.Clear();
    FAIL() << "seed " << seed << " on the real kernel; the fake one may not show it\n"
           << (again.failure.empty() ? "It did not fail a second time.\n" + report.failure : again.log);
  }
  std::printf("%s", statistics.ToString().c_str());
}

INSTANTIATE_TEST_SUITE_P(Seeds, SimulationKernelTest, ::testing::Range(0, kParts));

}  // namespace
}  // namespace netprov::simulation
