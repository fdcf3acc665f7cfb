// Runs as root in namespaces of its own: tests/testing/kernel_test_main.cc sees to that.
#include "client/cli/exec.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/private_host.h"

namespace netprov::cli {
namespace {

using ::netprov::testing::Shell;
using ::testing::HasSubstr;
using ::testing::Not;

struct Outcome {
  int exit_code = -1;
  std::string output;  // stdout and stderr
};

// Does what `contain` does, in a child process. `prepare` runs there first.
Outcome Exec(
    const ExecRequest& request, const std::function<void()>& prepare = [] {}) {
  int fds[2];
  EXPECT_EQ(pipe2(fds, O_CLOEXEC), 0);
  const pid_t child = fork();
  if (child == 0) {
    dup2(fds[1], STDOUT_FILENO);
    dup2(fds[1], STDERR_FILENO);
    prepare();
    const auto say = [](const std::string& text) { dprintf(STDERR_FILENO, "%s\n", text.c_str()); };
    const ExecFailure failure = ExecInNamespace(request, say);
    say(failure.message);
    _exit(failure.exit_code);
  }
  close(fds[1]);
  Outcome outcome;
  char buffer[4096];
  ssize_t count;
  while ((count = read(fds[0], buffer, sizeof(buffer))) > 0) outcome.output.append(buffer, count);
  close(fds[0]);
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  if (WIFEXITED(status)) outcome.exit_code = WEXITSTATUS(status);
  return outcome;
}

class ExecTest : public ::testing::Test {
 protected:
  ExecTest() {
    EXPECT_EQ(Shell("ip netns add blue"), "");
    EXPECT_EQ(Shell("ip -n blue link add inside type veth peer name outside"), "");
  }
  ~ExecTest() override { EXPECT_EQ(Shell("ip netns delete blue"), ""); }

  Outcome Run(const std::string& command) {
    return Exec({.path = "/run/netns/blue", .command = {"sh", "-c", command}});
  }
};

TEST_F(ExecTest, CommandSeesTheNamespace) {
  const Outcome outcome = Run("ip -br link | cut -d@ -f1 | cut -d' ' -f1 | sort");
  EXPECT_EQ(outcome.output, "inside\nlo\noutside\n");
  EXPECT_EQ(outcome.exit_code, 0);
}

TEST_F(ExecTest, SysIsThatOfTheNamespace) { EXPECT_EQ(Run("ls /sys/class/net").output, "inside\nlo\noutside\n"); }

TEST_F(ExecTest, ExitCodeIsTheCommands) { EXPECT_EQ(Run("exit 7").exit_code, 7); }

TEST_F(ExecTest, ArgumentsArriveUnchanged) {
  const Outcome outcome =
      Exec({.path = "/run/netns/blue", .command = {"printf", "<%s>", "a b", "", "--", "[x,y]", "$HOME", "-o"}});
  EXPECT_EQ(outcome.output, "<a b><><--><[x,y]><$HOME><-o>");
}

TEST_F(ExecTest, MountsStayInside) {
  EXPECT_EQ(Run("mount -t tmpfs none /mnt && touch /mnt/inside && ls /mnt").output, "inside\n");
  EXPECT_THAT(Shell("ls /mnt"), Not(HasSubstr("inside")));
  EXPECT_THAT(Shell("ls /sys/class/net"), Not(HasSubstr("inside")));
}

TEST_F(ExecTest, NothingOfOursIsOpenInTheCommand) {
  // The directory that ls reads is 3.
  const Outcome outcome = Exec({.path = "/run/netns/blue", .command = {"ls", "/proc/self/fd"}}, [] {
    for (int fd = 3; fd < 64; ++fd) close(fd);
  });
  EXPECT_EQ(outcome.output, "0\n1\n2\n3\n");
}

TEST_F(ExecTest, FilesInEtcNetnsStandInForTheHosts) {
  const Outcome outcome =
      Exec({.path = "/run/netns/blue", .command = {"sh", "-c", "cat /etc/resolv.conf /etc/directory/file"}}, [] {
        // Of this child alone.
        if (unshare(CLONE_NEWNS) != 0 || mount("", "/", "none", MS_PRIVATE | MS_REC, nullptr) != 0 ||
            mount("none", "/etc", "tmpfs", 0, nullptr) != 0) {
          _exit(99);
        }
        for (const char* directory : {"/etc/netns", "/etc/netns/blue", "/etc/directory", "/etc/netns/blue/directory"}) {
          mkdir(directory, 0755);
        }
        std::ofstream("/etc/resolv.conf") << "the host's\n";
        std::ofstream("/etc/netns/blue/resolv.conf") << "blue's\n";
        std::ofstream("/etc/netns/blue/directory/file") << "in a directory\n";
        std::ofstream("/etc/netns/blue/lost") << "nowhere to go\n";
      });
  EXPECT_THAT(outcome.output, HasSubstr("binding /etc/netns/blue/lost to /etc/lost: No such file"));
  EXPECT_THAT(outcome.output, HasSubstr("blue's\nin a directory\n"));
  EXPECT_EQ(outcome.exit_code, 0);
}

TEST_F(ExecTest, NoSuchProgramIs127) {
  const Outcome outcome = Exec({.path = "/run/netns/blue", .command = {"no-such-program"}});
  EXPECT_EQ(outcome.exit_code, 127);
  EXPECT_EQ(outcome.output, "no-such-program: No such file or directory\n");
}

TEST_F(ExecTest, ProgramThatCannotBeExecutedIs126) {
  const Outcome outcome = Exec({.path = "/run/netns/blue", .command = {"/etc/passwd"}});
  EXPECT_EQ(outcome.exit_code, 126);
  EXPECT_EQ(outcome.output, "/etc/passwd: Permission denied\n");
}

TEST_F(ExecTest, NoSuchFile) {
  const Outcome outcome = Exec({.path = "/run/netns/red", .command = {"true"}});
  EXPECT_EQ(outcome.exit_code, 73);
  EXPECT_EQ(outcome.output, "/run/netns/red: is not there\n");
}

TEST_F(ExecTest, FileThatIsNoNamespace) {
  std::ofstream("/run/stale") << "";
  for (const char* path : {"/run/stale", "/proc/self/ns/mnt", "/run"}) {
    const Outcome outcome = Exec({.path = path, .command = {"true"}});
    EXPECT_EQ(outcome.exit_code, 73) << path;
    EXPECT_THAT(outcome.output, HasSubstr("is no network namespace")) << path;
  }
}

TEST_F(ExecTest, AnotherNamespaceThanTheServersIsRefused) {
  const Outcome outcome = Exec({.path = "/run/netns/blue", .cookie = 1, .command = {"true"}});
  EXPECT_EQ(outcome.exit_code, 73);
  EXPECT_THAT(outcome.output, HasSubstr("is another namespace than the server's"));
}

TEST_F(ExecTest, TheRightCookieIsAccepted) {
  const std::string text = Run("python3 -c 'import socket; s = socket.socket(); "
                               "print(int.from_bytes(s.getsockopt(socket.SOL_SOCKET, 71, 8), \"little\"))'")
                               .output;
  ASSERT_FALSE(text.empty());
  const Outcome outcome =
      Exec({.path = "/run/netns/blue", .cookie = std::strtoull(text.c_str(), nullptr, 10), .command = {"true"}});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
}

}  // namespace
}  // namespace netprov::cli
