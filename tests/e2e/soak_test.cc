// The same names are made and deleted again and again, and the daemon stays as it was: no failure, no more memory, no
// more descriptors, no more threads. A tenth of a minute in Bazel; tests/e2e/soak.sh has the long form.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/component/test_client.h"
#include "tests/e2e/daemon_fixture.h"
#include "tests/testing/private_host.h"

namespace netprov::testing {
namespace {

using ::testing::IsEmpty;

constexpr int kDefaultRounds = 200;
// By then the allocator, gRPC and SQLite's cache have what they need.
constexpr int kWarmUpRounds = 100;
constexpr int kCallsPerRound = 10;
// What malloc keeps back now and then. A leak of 100 bytes per call is ten times that after 100,000.
constexpr long kMemoryLeewayKb = 2048;
// gRPC has up to two threads per processor for what it does in the background, and starts them when it is busy.
constexpr long kThreadLeeway = 4;

struct Resources {
  long memory_kb = 0;  // RssAnon of /proc/PID/status
  long descriptors = 0;
  long threads = 0;
};

// Once nothing is ready for the next call: what is made ahead goes after a second.
Resources ResourcesOf(pid_t pid) {
  std::this_thread::sleep_for(std::chrono::seconds(2));
  auto count = [&](const char* what) {
    const std::filesystem::directory_iterator entries(absl::StrCat("/proc/", pid, "/", what));
    return static_cast<long>(std::distance(begin(entries), end(entries)));
  };
  Resources resources{.memory_kb = 0, .descriptors = count("fd"), .threads = count("task")};
  std::ifstream status(absl::StrCat("/proc/", pid, "/status"));
  for (std::string line; std::getline(status, line);) {
    std::sscanf(line.c_str(), "RssAnon: %ld kB", &resources.memory_kb);
  }
  return resources;
}

class SoakTest : public DaemonTest {};

TEST_F(SoakTest, ItStaysAsItIs) {
  int rounds = kDefaultRounds;
  if (const char* text = std::getenv("NETPROV_SOAK_ROUNDS"); text != nullptr) {
    ASSERT_TRUE(absl::SimpleAtoi(text, &rounds) && rounds > 0 && rounds <= 1000000) << "NETPROV_SOAK_ROUNDS=" << text;
  }
  TestClient client("unix:/run/netprov/netprovd.sock");
  Resources before;
  for (int round = -kWarmUpRounds; round < rounds; ++round) {
    if (round == 0) before = ResourcesOf(daemon_->pid());
    SCOPED_TRACE(round);
    ASSERT_EQ(client.CreateNamespace("again").Summary(), "OK");
    ASSERT_EQ(client.Create(VethRequest("again", "again-host", "again", "veth0")).Summary(), "OK");
    ASSERT_EQ(client.Create(VethRequest("again", "again-host", "again", "veth0")).Summary(),
              "ALREADY_EXISTS VETH_ALREADY_EXISTS");
    ASSERT_EQ(client.GetNamespace("again").value.state(), v1::Namespace::STATE_READY);
    ASSERT_EQ(client.GetVeth("again").value.state(), v1::Veth::STATE_READY);
    ASSERT_EQ(client.List(v1::ListNamespacesRequest()).value.namespaces_size(), 1);
    ASSERT_EQ(client.List(v1::ListVethsRequest()).value.veths_size(), 1);
    // Now with the pair, now after it.
    if (round % 2 == 0) {
      ASSERT_EQ(client.DeleteVeth("again").Summary(), "OK");
    }
    ASSERT_EQ(client.DeleteNamespace("again").Summary(), "OK");
    ASSERT_EQ(client.GetVeth("again").Summary(), "NOT_FOUND VETH_NOT_FOUND");
  }
  const Resources after = ResourcesOf(daemon_->pid());
  std::printf("rounds=%d calls=%d failures=0 memory_kb=%ld->%ld descriptors=%ld->%ld threads=%ld->%ld\n", rounds,
              rounds * kCallsPerRound, before.memory_kb, after.memory_kb, before.descriptors, after.descriptors,
              before.threads, after.threads);
  EXPECT_LE(after.memory_kb, before.memory_kb + kMemoryLeewayKb);
  EXPECT_LE(after.descriptors, before.descriptors);
  EXPECT_LE(after.threads, before.threads + kThreadLeeway);
  EXPECT_THAT(Shell("ls /run/netns; ip -o link show type veth"), IsEmpty());
}

}  // namespace
}  // namespace netprov::testing
