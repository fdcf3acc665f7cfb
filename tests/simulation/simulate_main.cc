// Runs simulations by hand: `bazel run //tests/simulation:simulate -- --seed=N --verbose`.
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "tests/simulation/simulation.h"
#include "tests/simulation/world.h"

namespace netprov::simulation {
namespace {

constexpr char kUsage[] =
    "usage: simulate [--seed=N] [--seeds=COUNT|FROM..TO] [--verbose] [--keep-going]\n"
    "  --seed=N          one history\n"
    "  --seeds=COUNT     the histories 0 to COUNT - 1; default 10000\n"
    "  --seeds=FROM..TO  these and those between\n"
    "  --verbose         prints each history step by step\n"
    "  --keep-going      goes on after a failure\n";

struct Arguments {
  uint64_t from = 0;
  uint64_t to = 9999;
  bool verbose = false;
  bool keep_going = false;
};

bool Parse(const std::vector<absl::string_view>& given, Arguments& arguments) {
  for (absl::string_view argument : given) {
    if (argument == "--verbose") {
      arguments.verbose = true;
    } else if (argument == "--keep-going") {
      arguments.keep_going = true;
    } else if (absl::ConsumePrefix(&argument, "--seed=")) {
      if (!absl::SimpleAtoi(argument, &arguments.from)) return false;
      arguments.to = arguments.from;
    } else if (absl::ConsumePrefix(&argument, "--seeds=")) {
      const std::pair<absl::string_view, absl::string_view> ends = absl::StrSplit(argument, absl::MaxSplits("..", 1));
      if (!absl::SimpleAtoi(ends.first, &arguments.from)) return false;
      if (ends.second.empty()) {
        if (arguments.from == 0) return false;
        arguments.to = std::exchange(arguments.from, 0) - 1;
      } else if (!absl::SimpleAtoi(ends.second, &arguments.to) || arguments.to < arguments.from) {
        return false;
      }
    } else {
      return false;
    }
  }
  return true;
}

int Run(const Arguments& arguments) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point start = Clock::now();
  Clock::time_point said = start;
  auto seconds = [&] { return std::chrono::duration<double>(Clock::now() - start).count(); };
  Statistics statistics;
  uint64_t failures = 0;
  for (uint64_t seed = arguments.from;; ++seed) {
    const std::unique_ptr<World> world = MakeFakeWorld();
    const Report report = Simulate(seed, {.verbose = arguments.verbose}, *world);
    statistics.Add(report.statistics);
    if (arguments.verbose) std::printf("history %lu\n%s", seed, report.log.c_str());
    if (!report.failure.empty()) {
      ++failures;
      std::printf("FAILED seed %lu: %s\n", seed, report.failure.c_str());
      std::printf("  again: bazel run //tests/simulation:simulate -- --seed=%lu --verbose\n", seed);
      std::fflush(stdout);
    }
    if (seed == arguments.to || (failures != 0 && !arguments.keep_going)) break;
    if (Clock::now() - said > std::chrono::seconds(5)) {
      said = Clock::now();
      std::fprintf(stderr, "%lu of %lu, %lu failed, %.0f per second\n", statistics.histories,
                   arguments.to - arguments.from + 1, failures, statistics.histories / seconds());
    }
  }
  std::printf("%s%.1f s; %lu failed\n", statistics.ToString().c_str(), seconds(), failures);
  return failures == 0 ? 0 : 1;
}

}  // namespace
}  // namespace netprov::simulation

int main(int argc, char** argv) {
  netprov::simulation::Arguments arguments;
  if (!netprov::simulation::Parse(std::vector<absl::string_view>(argv + 1, argv + argc), arguments)) {
    std::fputs(netprov::simulation::kUsage, stderr);
    return 2;
  }
  return netprov::simulation::Run(arguments);
}
