// A start that makes persistent objects again after a reboot is killed at every system call, and every system call of
// it fails once. The next start ends with all of them as they were.
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/e2e/failures.h"
#include "tests/e2e/host_fixture.h"
#include "tests/e2e/mutation.h"
#include "tests/e2e/tracer.h"
#include "tests/testing/private_host.h"
#include "tests/testing/process.h"

namespace netprov::testing {
namespace {

using ::testing::AnyOf;
using ::testing::Contains;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr char kTrace[] = "/run/strace.out";
constexpr char kListening[] = "listening address=";

class RestorePointTest : public HostTest {
 protected:
  void SetUp() override {
    HostTest::SetUp();
    StartDaemon();
    v1::Metadata metadata;
    metadata.set_persistent(true);
    MakeBlueWithPair(metadata);
    restored_ = PictureOf(*client_);
    EXPECT_EQ(daemon_->Stop(SIGTERM), 0);
    BelongToAnotherBoot();
    Shell("cp -a /var/lib/netprov /run/before");
  }

  void TearDown() override {
    HostTest::TearDown();
    Shell("rm -rf /run/before");
  }

  // As after a start of the host: nothing is there, and the registry says what was.
  void Reboot() {
    client_ = nullptr;
    daemon_ = nullptr;
    Shell(
        "ip link del h0 2>/dev/null; ip netns delete blue 2>/dev/null; rm -rf /var/lib/netprov && "
        "cp -a /run/before /var/lib/netprov");
  }

  // Starts the daemon under strace. The main thread is the one that restores. Whether it came to serve.
  bool StartTraced(const std::vector<std::string>& flags) {
    // -D: the daemon is the child, and strace beside it.
    std::vector<std::string> command = {"strace", "-D", "-y", "-s", "32", "-o", kTrace};
    command.insert(command.end(), flags.begin(), flags.end());
    command.insert(command.end(), {kNetprovd, "--workers", "1"});
    daemon_ = std::make_unique<Process>(command);
    return daemon_->Reaches(kListening);
  }

  // A name of system calls, and how many of it a start makes before it begins to restore.
  using Prelude = std::vector<std::pair<std::string, int>>;

  // The system calls of a restore, in the order of their first occurrence.
  Prelude Record() {
    Reboot();
    EXPECT_TRUE(StartTraced({}));
    daemon_->Stop(SIGKILL);
    Prelude names;
    std::map<std::string, int> before;
    bool begun = false;
    for (const SystemCall& call : ReadTrace(kTrace)) {
      // A recovery begins with a look at the names, and ends before the first thread that serves.
      begun = begun || (call.name == "getdents64" && absl::StrContains(call.line, "/run/netns"));
      if (begun && call.name == "clone3") break;
      if (!begun) ++before[call.name];
      auto is_it = [&call](const auto& item) { return item.first == call.name; };
      if (begun && std::none_of(names.begin(), names.end(), is_it)) names.emplace_back(call.name, before[call.name]);
    }
    EXPECT_THAT(names, Contains(::testing::Pair("move_mount", 0))) << "it restores nothing";
    return names;
  }

  // Starts the daemon again, and expects what there was before the reboot.
  void ExpectRestored() {
    StartDaemon();
    EXPECT_EQ(PictureOf(*client_), restored_);
    EXPECT_THAT(Findings(), Each(AnyOf(StartsWith("KIND_RESTORED "), StartsWith("KIND_ROLLED_BACK "))));
  }

  std::string restored_;  // a picture
};

TEST_F(RestorePointTest, KilledAtEverySystemCall) {
  int points = 0;
  for (const auto& [name, before] : Record()) {
    for (int n = before + 1;; ++n) {
      SCOPED_TRACE(absl::StrCat("killed at ", name, " ", n));
      Reboot();
      const bool served = StartTraced({"-e", absl::StrCat("inject=", name, ":signal=KILL:when=", n)});
      if (!served) ++points;
      ExpectRestored();
      ASSERT_FALSE(HasFailure());
      if (served) break;
    }
  }
  EXPECT_GT(points, 50);
  std::printf("restore: %d crash points\n", points);
}

TEST_F(RestorePointTest, EverySystemCallFails) {
  int failures = 0;
  int refused = 0;
  int reported = 0;
  // Whether a system call of that number failed.
  auto fail = [&](const std::string& name, int n, int code) {
    Reboot();
    const bool served =
        StartTraced({"-e", absl::StrCat("inject=", name, ":error=", strerrorname_np(code), ":when=", n)});
    const std::vector<SystemCall> calls = ReadTrace(kTrace);
    auto injected = std::find_if(calls.begin(), calls.end(), [](const SystemCall& call) { return call.injected(); });
    if (injected == calls.end()) return false;
    SCOPED_TRACE(injected->line);
    ++failures;
    if (!served) {
      ++refused;
      // The last: no memory for the stack of a thread, when all is restored.
      EXPECT_THAT(daemon_->log(), AnyOf(HasSubstr("netprovd: cannot "), HasSubstr("cannot return to the host's"),
                                        HasSubstr("std::system_error")));
    } else {
      client_ = std::make_unique<TestClient>(absl::StrCat("unix:", kSocket));
      const std::vector<std::string> findings = Findings();
      if (findings == std::vector<std::string>{"KIND_RESTORED namespaces/blue", "KIND_RESTORED veths/v"}) {
        EXPECT_EQ(PictureOf(*client_), restored_);
      } else {
        ++reported;
      }
    }
    ExpectRestored();
    return true;
  };
  Prelude names = Record();
  std::erase_if(names, [](const auto& item) { return LeftAlone().contains(item.first); });
  for (const auto& [name, before] : names) EXPECT_TRUE(Failures().contains(name)) << "say how this may fail: " << name;
  ASSERT_FALSE(HasFailure());
  for (const auto& [name, before] : names) {
    // Each fails in one way, and the next in the next.
    const std::vector<int>& codes = Failures().at(name);
    for (int n = before + 1; fail(name, n, codes[n % codes.size()]); ++n) ASSERT_FALSE(HasFailure());
  }
  EXPECT_GT(failures, 50);
  std::printf("restore: %d failures; %d kept the daemon from starting, %d were reported\n", failures, refused,
              reported);
}

}  // namespace
}  // namespace netprov::testing
