// What the registry takes of the attach path: the intent, the outcome and the look at the request id of one CreateVeth
// that makes the namespace too.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/engine/registry.h"
#include "tests/bench/attach_records.h"

namespace netprov::bench {
namespace {

using engine::Durability;
using engine::Registry;
using Clock = std::chrono::steady_clock;

constexpr int kInARow = 20;  // then as many deletions, which do not count

void Check(bool ok, const char* what) {
  if (ok) return;
  std::fprintf(stderr, "%s failed\n", what);
  std::exit(1);
}

// Milliseconds of each attach, and how many of all there were in a second.
struct Measured {
  std::vector<double> each;
  double per_second = 0;
};

Measured Measure(const std::string& path, Durability durability, int threads, int attaches) {
  for (const char* suffix : {"", "-wal"}) std::filesystem::remove(path + suffix);
  auto registry = Registry::Open(path, {.durability = durability});
  if (!registry.ok()) std::fprintf(stderr, "%s\n", registry.error().message.c_str());
  Check(registry.ok(), "Open");
  Measured measured;
  std::vector<std::vector<double>> each(threads);
  double seconds = 0;
  for (int done = 0; done < attaches; done += threads * kInARow) {
    std::vector<std::vector<AttachRecords>> work(threads);
    for (int i = 0; i < threads; ++i) {
      for (int k = 0; k < kInARow; ++k) work[i].emplace_back(absl::StrCat("bench-", i, "-", k));
    }
    const Clock::time_point begin = Clock::now();
    std::vector<std::thread> running;
    for (int i = 0; i < threads; ++i) {
      running.emplace_back([&, i] {
        for (AttachRecords& attach : work[i]) {
          const Clock::time_point start = Clock::now();
          attach.Begin(**registry);
          attach.Commit(**registry);
          each[i].push_back(std::chrono::duration<double, std::milli>(Clock::now() - start).count());
        }
      });
    }
    for (std::thread& thread : running) thread.join();
    seconds += std::chrono::duration<double>(Clock::now() - begin).count();
    for (const auto& row : work) {
      for (const AttachRecords& attach : row) attach.Remove(**registry);
    }
    (*registry)->Checkpoint();
  }
  for (const auto& row : each) measured.each.insert(measured.each.end(), row.begin(), row.end());
  std::sort(measured.each.begin(), measured.each.end());
  measured.per_second = static_cast<double>(measured.each.size()) / seconds;
  registry->reset();
  std::filesystem::remove(path);
  return measured;
}

int Main(int argc, char** argv) {
  int attaches = 2000;
  if (argc < 2 || argc > 3 || (argc == 3 && !absl::SimpleAtoi(argv[2], &attaches)) || attaches < 160 ||
      attaches > 1000000) {
    std::fprintf(stderr, "usage: %s DIRECTORY [ATTACHES, 160 to 1000000]\n", argv[0]);
    return 2;
  }
  const std::string path = absl::StrCat(argv[1], "/journal_bench-", ::getpid(), ".db");
  absl::PrintF("What the registry takes of one attach (an intent, an outcome, a new request id)\n\n");
  absl::PrintF("%-12s %8s %12s %12s %14s\n", "durability", "threads", "p50 ms", "p99 ms", "attaches/s");
  for (Durability durability : {Durability::kProcess, Durability::kPower}) {
    for (int threads : {1, 8}) {
      const Measured measured = Measure(path, durability, threads, attaches);
      absl::PrintF("%-12s %8d %12.3f %12.3f %14.0f\n", durability == Durability::kPower ? "power" : "process", threads,
                   measured.each[measured.each.size() / 2], measured.each[measured.each.size() * 99 / 100],
                   measured.per_second);
    }
  }
  return 0;
}

}  // namespace
}  // namespace netprov::bench

int main(int argc, char** argv) { return netprov::bench::Main(argc, argv); }
