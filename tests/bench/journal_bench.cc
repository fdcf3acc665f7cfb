// What the registry takes of the attach path: the intent, the outcome and the look at the request id of one CreateVeth
// that makes the namespace too; and the same with its line in the audit log, but for the digest of the request.
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "server/access/identity.h"
#include "server/audit/line.h"
#include "server/audit/log.h"
#include "server/engine/origin.h"
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

// One attach, with a line in the log unless that is null.
void Attach(AttachRecords& attach, Registry& registry, audit::Log* log) {
  if (log == nullptr) {
    attach.Begin(registry);
    attach.Commit(registry);
    return;
  }
  static std::atomic<int64_t> calls = 0;
  const audit::Call call = {
      .id = absl::StrCat("0123456789abcdef-", ++calls),
      .begun = absl::Now(),
      .who = {.kind = access::Identity::Kind::kUnix, .uid = 0, .gid = 0, .pid = 1, .from = "pid:1"},
      .method = "CreateVeth",
      .resource = "veths/bench-0-0",
      .request_id = "8f14e45f-ceea-467f-a0e6-90ab5d3c1f51",
      .digest = std::string(64, 'd')};
  Check(log->Reserve(), "Reserve");
  const engine::Origin origin = {.call_id = call.id, .text = audit::FormatCall(call)};
  attach.Begin(registry, &origin);
  attach.Commit(registry);
  const std::string line = audit::FormatLine(
      absl::Now(), call, {.decision = audit::Decision::kAllowed, .code = "OK", .changes = {{call.resource, "done"}}});
  for (const std::string& id : log->Write(call.id, line, /*reserved=*/true, /*durably=*/true)) registry.MarkAudited(id);
}

Measured Measure(const std::string& path, Durability durability, bool audited, int threads, int attaches) {
  const std::string log_path = path + ".audit.log";
  std::filesystem::remove(log_path);
  std::unique_ptr<audit::Log> log;
  if (audited) {
    auto opened = audit::Log::Open(log_path, durability == Durability::kPower);
    Check(opened.ok(), "audit::Log::Open");
    log = *std::move(opened);
  }
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
          Attach(attach, **registry, log.get());
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
  std::filesystem::remove(log_path);
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
  absl::PrintF("%-12s %10s %8s %12s %12s %14s\n", "durability", "audit log", "threads", "p50 ms", "p99 ms",
               "attaches/s");
  for (Durability durability : {Durability::kProcess, Durability::kPower}) {
    for (int threads : {1, 8}) {
      for (bool audited : {false, true}) {
        const Measured measured = Measure(path, durability, audited, threads, attaches);
        absl::PrintF("%-12s %10s %8d %12.3f %12.3f %14.0f\n", durability == Durability::kPower ? "power" : "process",
                     audited ? "with" : "without", threads, measured.each[measured.each.size() / 2],
                     measured.each[measured.each.size() * 99 / 100], measured.per_second);
      }
    }
  }
  return 0;
}

}  // namespace
}  // namespace netprov::bench

int main(int argc, char** argv) { return netprov::bench::Main(argc, argv); }
