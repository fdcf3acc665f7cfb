// What the running daemon has left itself: the capabilities of each of its threads, the filter of its system calls, and
// what it can't do any more at its start and does all the same.
#include <linux/capability.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/e2e/host_fixture.h"
#include "tests/testing/private_host.h"
#include "tests/testing/process.h"

namespace netprov::testing {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Pair;
using ::testing::SizeIs;

constexpr uint64_t Bit(int capability) { return uint64_t{1} << capability; }
constexpr uint64_t kKept = Bit(CAP_NET_ADMIN) | Bit(CAP_NET_BROADCAST) | Bit(CAP_SYS_ADMIN) | Bit(CAP_SYS_PTRACE);

using Status = std::map<std::string, std::string>;

// /proc/PID/status of a task.
Status StatusOf(const std::filesystem::path& task) {
  Status status;
  std::ifstream file(task / "status");
  for (std::string line; std::getline(file, line);) {
    const std::vector<std::string> parts = absl::StrSplit(line, absl::MaxSplits(":\t", 1));
    status[parts.front()] = parts.back();
  }
  return status;
}

std::vector<Status> StatusOfEachThread(pid_t process) {
  std::vector<Status> all;
  for (const auto& task : std::filesystem::directory_iterator(absl::StrCat("/proc/", process, "/task"))) {
    all.push_back(StatusOf(task.path()));
  }
  return all;
}

std::string LineOfLimits(pid_t process, const std::string& name) {
  std::ifstream limits(absl::StrCat("/proc/", process, "/limits"));
  for (std::string line; std::getline(limits, line);) {
    if (absl::StartsWith(line, name)) return line;
  }
  return "";
}

class ConfinementTest : public HostTest {
 protected:
  // The daemon's command, without a capability from its start on.
  static std::vector<std::string> Without(const std::string& capability) {
    return {"setpriv", absl::StrCat("--bounding-set=-", capability), kNetprovd};
  }

  void StartWithout(const std::string& capability) {
    daemon_ = std::make_unique<Process>(Without(capability));
    daemon_->WaitForLine("listening address=unix:");
    client_ = std::make_unique<TestClient>(absl::StrCat("unix:", kSocket));
  }
};

TEST_F(ConfinementTest, EachThreadHasWhatIsNeededAndNoMore) {
  StartDaemon();
  // So that there are threads of all kinds.
  MakeBlueWithPair();
  EXPECT_OK(client_->GetReport());
  const std::string kept = absl::StrFormat("%016x", kKept);
  const std::string none = absl::StrFormat("%016x", 0);
  const std::vector<Status> threads = StatusOfEachThread(daemon_->pid());
  EXPECT_THAT(threads, SizeIs(::testing::Gt(5)));
  EXPECT_THAT(threads,
              Each(AllOf(Contains(Pair("CapEff", kept)), Contains(Pair("CapPrm", kept)), Contains(Pair("CapBnd", kept)),
                         Contains(Pair("CapInh", none)), Contains(Pair("CapAmb", none)),
                         Contains(Pair("NoNewPrivs", "1")), Contains(Pair("Seccomp", "2")))));
  // Soft and hard.
  EXPECT_THAT(LineOfLimits(daemon_->pid(), "Max core file size"), ::testing::ContainsRegex("size +0 +0 "));
  EXPECT_THAT(daemon_->log(),
              HasSubstr("event=confined caps=cap_net_admin,cap_sys_admin,cap_sys_ptrace,cap_net_broadcast "
                        "seccomp=on\n"));
}

TEST_F(ConfinementTest, NothingIsTakenWithoutTheSandbox) {
  const std::string all = StatusOf("/proc/self")["CapEff"];
  StartDaemon({"--no-sandbox"});
  EXPECT_THAT(StatusOfEachThread(daemon_->pid()),
              Each(AllOf(Contains(Pair("CapEff", all)), Contains(Pair("NoNewPrivs", "0")),
                         Contains(Pair("Seccomp", StatusOf("/proc/self")["Seccomp"])))));
  EXPECT_EQ(LineOfLimits(daemon_->pid(), "Max core file size"), LineOfLimits(::getpid(), "Max core file size"));
  EXPECT_THAT(daemon_->log(), HasSubstr("event=unconfined reason=--no-sandbox\n"));
  EXPECT_THAT(daemon_->log(), Not(HasSubstr("event=confined")));
}

TEST_F(ConfinementTest, TheSocketGoesToItsGroupWithoutChown) {
  std::string may_join;
  std::ifstream("/proc/self/setgroups") >> may_join;
  if (may_join == "deny") GTEST_SKIP() << "this user namespace has no groups to join";
  StartDaemon({"--socket-group", "12345"});
  struct stat socket = {};
  ASSERT_EQ(::stat(kSocket, &socket), 0);
  EXPECT_EQ(socket.st_gid, 12345U);
  EXPECT_THAT(StatusOfEachThread(daemon_->pid()), Each(Contains(Pair("CapEff", absl::StrFormat("%016x", kKept)))));
}

TEST_F(ConfinementTest, APortBelow1024IsServedWithoutBindService) {
  Shell("ip link set lo up");
  StartDaemon({"--listen", "127.0.0.1:701", "--insecure"});
  daemon_->WaitForLine("listening address=127.0.0.1:701");
  EXPECT_THAT(StatusOfEachThread(daemon_->pid()), Each(Contains(Pair("CapEff", absl::StrFormat("%016x", kKept)))));
  EXPECT_EQ(RunCommand({kContain, "--endpoint", "127.0.0.1:701", "whoami"}).exit_code, 0);
  // As before: the second one says what is the matter.
  EXPECT_THAT(Refusal({kNetprovd, "--listen", "127.0.0.1:701", "--insecure", "--state-dir", "/run/other"}),
              HasSubstr("cannot listen on 127.0.0.1:701: Address already in use"));
}

// What it has is what it needs: without, this is what is missing. What CAP_NET_BROADCAST is
// for, server/confinement_test.cc says.
TEST_F(ConfinementTest, NothingWorksWithoutTheAdminCapabilities) {
  EXPECT_THAT(Refusal(Without("sys_admin")), HasSubstr("CAP_SYS_ADMIN and CAP_NET_ADMIN are needed"));
  StartWithout("net_admin");
  EXPECT_EQ(client_->CreateNamespace("blue").Summary(), "FAILED_PRECONDITION KERNEL_PERMISSION_DENIED");
}

TEST_F(ConfinementTest, ProcessesWithMoreCapabilitiesAreSeenByPtraceAlone) {
  for (const bool can_see : {true, false}) {
    can_see ? StartDaemon() : StartWithout("sys_ptrace");
    EXPECT_OK(client_->CreateNamespace("held"));
    Process inside({"ip", "netns", "exec", "held", "sh", "-c", "echo inside >&2; exec sleep 60"});
    inside.WaitForLine("inside");
    EXPECT_EQ(client_->DeleteNamespace("held").Summary(), can_see ? "FAILED_PRECONDITION NAMESPACE_BUSY" : "OK");
    inside.Stop(SIGKILL);
    if (can_see) EXPECT_OK(client_->DeleteNamespace("held"));
    KillDaemon();
  }
}

}  // namespace
}  // namespace netprov::testing
