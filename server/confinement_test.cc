// Each case confines a process of its own, as there is no way back.
#include "server/confinement.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/private_host.h"

namespace netprov {
namespace {

using ::testing::Contains;
using ::testing::IsEmpty;
using ::testing::IsSupersetOf;
using ::testing::Not;
using ::testing::UnorderedElementsAreArray;

constexpr int kCannotBegin = 255;

// How a process of its own ends that does this: as wait(2) has it.
int EndOf(const std::function<int()>& body) {
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child == 0) ::_exit(body());
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return status;
}

// What it returns, which is 0 to 255.
int ResultOf(const std::function<int()>& body) {
  const int status = EndOf(body);
  EXPECT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
  return WEXITSTATUS(status);
}

int ResultOfConfined(const std::function<int()>& body) {
  return ResultOf([&] {
    if (!DropPrivileges(std::nullopt).ok() || !FilterSystemCalls().ok()) return kCannotBegin;
    return body();
  });
}

// 0, or the errno of a system call that returns -1 where it fails.
int ErrnoOf(int64_t result) { return result < 0 ? errno : 0; }

// The value of a line of /proc/PID/status, as in `0000000000201000` of CapEff.
std::string StatusOf(const std::filesystem::path& task, const std::string& name) {
  std::ifstream status(task / "status");
  for (std::string line; std::getline(status, line);) {
    const std::vector<std::string> parts = absl::StrSplit(line, absl::MaxSplits(":\t", 1));
    if (parts.front() == name) return parts.back();
  }
  return "";
}

uint64_t SetOf(const std::string& name) { return std::stoull(StatusOf("/proc/self", name), nullptr, 16); }

constexpr uint64_t Bit(int capability) { return uint64_t{1} << capability; }
constexpr uint64_t kKept = Bit(CAP_NET_ADMIN) | Bit(CAP_NET_BROADCAST) | Bit(CAP_SYS_ADMIN) | Bit(CAP_SYS_PTRACE);

// Drops from the effective and permitted capabilities of the calling process.
bool Drop(int capability) {
  __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct data[2] = {};
  if (::syscall(SYS_capget, &header, data) != 0) return false;
  data[capability / 32].effective &= ~(1U << capability % 32);
  data[capability / 32].permitted &= ~(1U << capability % 32);
  return ::syscall(SYS_capset, &header, data) == 0;
}

struct Forbidden {
  const char* what;
  std::function<int()> call;  // 0, or an errno; where nothing is filtered, not EPERM
};

// What a daemon that is taken over would do next.
std::vector<Forbidden> AllForbidden() {
  return {
      {"run a program",
       [] {
         ::execl("/bin/true", "true", nullptr);
         return errno;
       }},
      {"make a process",
       [] {
         const pid_t child = ::fork();
         if (child == 0) ::_exit(0);
         return ErrnoOf(child);
       }},
      {"trace", [] { return ErrnoOf(::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr)); }},
      {"copy another's memory",
       [] { return ErrnoOf(::syscall(SYS_process_vm_readv, ::getppid(), nullptr, 0, nullptr, 0, 0)); }},
      {"signal another", [] { return ErrnoOf(::syscall(SYS_tgkill, ::getppid(), ::getppid(), 0)); }},
      {"signal", [] { return ErrnoOf(::kill(::getpid(), 0)); }},
      {"make a user namespace", [] { return ErrnoOf(::unshare(CLONE_NEWUSER)); }},
      {"make a mount namespace", [] { return ErrnoOf(::unshare(CLONE_NEWNS)); }},
      {"make one beside that of the network", [] { return ErrnoOf(::unshare(CLONE_NEWNET | CLONE_NEWUTS)); }},
      {"start a thread in a user namespace",
       [] {
         return ErrnoOf(::syscall(SYS_clone, CLONE_THREAD | CLONE_SIGHAND | CLONE_VM | CLONE_NEWUSER, 0, 0, 0, 0));
       }},
      {"enter any namespace", [] { return ErrnoOf(::setns(-1, 0)); }},
      {"enter a mount namespace", [] { return ErrnoOf(::setns(-1, CLONE_NEWNS)); }},
      {"mount a file system", [] { return ErrnoOf(::mount("none", "/run/nothing", "tmpfs", 0, nullptr)); }},
      {"mount another way", [] { return ErrnoOf(::mount("/run", "/run/nothing", "", MS_BIND, nullptr)); }},
      {"open a file system", [] { return ErrnoOf(::syscall(SYS_fsopen, "tmpfs", 0)); }},
      {"clone another tree", [] { return ErrnoOf(::syscall(SYS_open_tree, AT_FDCWD, "/run", 1)); }},
      {"move a mount by its path", [] { return ErrnoOf(::syscall(SYS_move_mount, -1, "", -1, "", 0)); }},
      {"unmount what is in use", [] { return ErrnoOf(::umount2("/run/nothing", 0)); }},
      {"change the root", [] { return ErrnoOf(::chroot("/run")); }},
      {"open a packet socket", [] { return ErrnoOf(::socket(AF_PACKET, SOCK_RAW, 0)); }},
      {"open a raw socket", [] { return ErrnoOf(::socket(AF_INET, SOCK_RAW, IPPROTO_ICMP)); }},
      {"speak another netlink", [] { return ErrnoOf(::socket(AF_NETLINK, SOCK_RAW, NETLINK_GENERIC)); }},
      {"open an odd socket", [] { return ErrnoOf(::socket(AF_ALG, SOCK_SEQPACKET, 0)); }},
      {"read keys of the kernel's",
       [] { return ErrnoOf(::syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0)); }},
      {"load a module", [] { return ErrnoOf(::syscall(SYS_finit_module, -1, "", 0)); }},
      {"use io_uring, past the filter", [] { return ErrnoOf(::syscall(SYS_io_uring_setup, 0, nullptr)); }},
      {"make a file without a name", [] { return ErrnoOf(::syscall(SYS_memfd_create, "x", 0)); }},
      {"map memory to write and execute",
       [] {
         void* const memory =
             ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
         return memory == MAP_FAILED ? errno : 0;
       }},
      {"execute what was written",
       [] {
         void* const memory = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
         return memory == MAP_FAILED ? kCannotBegin : ErrnoOf(::mprotect(memory, 4096, PROT_READ | PROT_EXEC));
       }},
      {"make a program setuid",
       [] {
         const int file = ::open("/run/setuid", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
         return file < 0 ? kCannotBegin : ErrnoOf(::fchmod(file, 04755));
       }},
      {"type into the terminal", [] { return ErrnoOf(::ioctl(-1, TIOCSTI, "x")); }},
      {"leave a core", [] { return ErrnoOf(::prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)); }},
      {"change a limit",
       [] {
         rlimit files = {};
         return ::getrlimit(RLIMIT_NOFILE, &files) != 0 ? kCannotBegin : ErrnoOf(::setrlimit(RLIMIT_NOFILE, &files));
       }},
  };
}

TEST(ConfinementTest, WhatIsForbiddenFailsAndDoesNothing) {
  for (const Forbidden& forbidden : AllForbidden()) {
    EXPECT_EQ(ResultOfConfined(forbidden.call), EPERM) << forbidden.what;
    EXPECT_NE(ResultOf(forbidden.call), EPERM) << "it fails without the filter: " << forbidden.what;
  }
}

TEST(ConfinementTest, WhatNoTestMayTryIsNotAmongWhatIsAllowed) {
  const std::vector<std::string> allowed = AllowedSystemCalls();
  ASSERT_THAT(allowed, Contains("read"));
  for (const char* const name : {"acct",
                                 "add_key",
                                 "bpf",
                                 "clone3",
                                 "create_module",
                                 "delete_module",
                                 "execve",
                                 "execveat",
                                 "fanotify_init",
                                 "fsconfig",
                                 "fsmount",
                                 "init_module",
                                 "iopl",
                                 "ioperm",
                                 "kexec_file_load",
                                 "kexec_load",
                                 "mknod",
                                 "mount_setattr",
                                 "name_to_handle_at",
                                 "open_by_handle_at",
                                 "perf_event_open",
                                 "pidfd_getfd",
                                 "pidfd_send_signal",
                                 "pivot_root",
                                 "process_vm_writev",
                                 "quotactl",
                                 "reboot",
                                 "request_key",
                                 "seccomp",
                                 "setgid",
                                 "sethostname",
                                 "settimeofday",
                                 "setuid",
                                 "swapon",
                                 "syslog",
                                 "userfaultfd"}) {
    EXPECT_THAT(allowed, Not(Contains(name)));
  }
}

TEST(ConfinementTest, WhatTheDaemonDoesSeldomIsAllowed) {
  EXPECT_EQ(ResultOfConfined([] { return ErrnoOf(::unshare(CLONE_NEWNET)); }), 0);
  // As where the policy is read again.
  EXPECT_EQ(
      ResultOfConfined([] { return ::getgrnam("root") != nullptr && ::getgrnam("nobody-has-it") == nullptr ? 0 : 1; }),
      0);
  // Also that it does not try again for ever: glibc asks for clone3(2) first.
  EXPECT_EQ(ResultOfConfined([] {
              int result = 1;
              std::thread([&result] { result = 0; }).join();
              return result;
            }),
            0);
  EXPECT_EQ(ResultOfConfined([] { return ErrnoOf(::syscall(SYS_clone3, nullptr, 0)); }), ENOSYS);
  const int aborted = EndOf([] {
    if (!DropPrivileges(std::nullopt).ok() || !FilterSystemCalls().ok()) return kCannotBegin;
    std::abort();
  });
  EXPECT_TRUE(WIFSIGNALED(aborted) && WTERMSIG(aborted) == SIGABRT && !WCOREDUMP(aborted)) << aborted;
}

TEST(ConfinementTest, ThreadsThatWereThereAreFilteredToo) {
  EXPECT_EQ(ResultOf([] {
              if (!DropPrivileges(std::nullopt).ok()) return kCannotBegin;
              std::atomic<bool> is_filtered = false;
              int result = kCannotBegin;
              std::thread there([&] {
                is_filtered.wait(false);
                result = ErrnoOf(::unshare(CLONE_NEWUTS));
              });
              const bool filtered = FilterSystemCalls().ok();
              for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
                if (StatusOf(task, "Seccomp") != "2" || StatusOf(task, "NoNewPrivs") != "1") ::_exit(1);
              }
              is_filtered = true;
              is_filtered.notify_all();
              there.join();
              return filtered ? result : kCannotBegin;
            }),
            EPERM);
}

// A step of a case that runs in a process of its own: says what is wrong and makes it fail.
#define REQUIRE(condition)                                                         \
  do {                                                                             \
    if (!(condition)) {                                                            \
      std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
      return 1;                                                                    \
    }                                                                              \
  } while (false)

TEST(ConfinementTest, OnlyTheCapabilitiesThatAreNeededStay) {
  EXPECT_EQ(ResultOf([] {
              const absl::StatusOr<std::vector<std::string>> effective = DropPrivileges(std::nullopt);
              REQUIRE(effective.ok());
              REQUIRE(*effective == KeptCapabilities());
              REQUIRE(SetOf("CapEff") == kKept);
              REQUIRE(SetOf("CapPrm") == kKept);
              REQUIRE(SetOf("CapBnd") == kKept);
              REQUIRE(SetOf("CapInh") == 0);
              REQUIRE(SetOf("CapAmb") == 0);
              REQUIRE(StatusOf("/proc/self", "NoNewPrivs") == "1");
              REQUIRE(::prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0);
              rlimit core = {};
              REQUIRE(::getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_cur == 0 && core.rlim_max == 0);
              // What a process may do with its own, although it can't be dumped.
              REQUIRE(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC) >= 0);
              return 0;
            }),
            0);
}

// What the other capabilities are for, tests/e2e/confinement_test.cc says. The kernel sends its news at once, so that
// they are there when the command has ended.
TEST(ConfinementTest, NewsFromInsideOfNamespacesTakesBroadcast) {
  testing::Shell("ip netns add inside && ip netns set inside auto");
  const auto hear = [] {
    if (!DropPrivileges(std::nullopt).ok()) return kCannotBegin;
    const int socket = ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    sockaddr_nl address = {};
    address.nl_family = AF_NETLINK;
    address.nl_groups = RTMGRP_LINK;
    if (::bind(socket, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) return kCannotBegin;
    const int on = 1;
    if (::setsockopt(socket, SOL_NETLINK, NETLINK_LISTEN_ALL_NSID, &on, sizeof(on)) != 0) return errno;
    if (std::system("ip -n inside link set lo up") != 0) return kCannotBegin;
    char news = 0;
    return ErrnoOf(::recv(socket, &news, sizeof(news), MSG_DONTWAIT));
  };
  EXPECT_EQ(ResultOf(hear), 0);
  EXPECT_EQ(ResultOf([&] { return Drop(CAP_NET_BROADCAST) ? hear() : kCannotBegin; }), EPERM);
  testing::Shell("ip netns delete inside");
}

TEST(ConfinementTest, WhatWasNotThereIsNotGained) {
  EXPECT_EQ(ResultOf([] {
              REQUIRE(Drop(CAP_SYS_PTRACE));
              const absl::StatusOr<std::vector<std::string>> effective = DropPrivileges(std::nullopt);
              REQUIRE(effective.ok());
              REQUIRE(std::find(effective->begin(), effective->end(), "cap_sys_ptrace") == effective->end());
              REQUIRE(SetOf("CapEff") == (kKept & ~Bit(CAP_SYS_PTRACE)));
              REQUIRE(SetOf("CapPrm") == (kKept & ~Bit(CAP_SYS_PTRACE)));
              return 0;
            }),
            0);
}

TEST(ConfinementTest, ABoundingSetThatItMayNotChangeKeepsNobodyFromStarting) {
  EXPECT_EQ(ResultOf([] {
              const uint64_t before = SetOf("CapBnd");
              REQUIRE(Drop(CAP_SETPCAP));
              REQUIRE(DropPrivileges(std::nullopt).ok());
              REQUIRE(SetOf("CapBnd") == before);
              REQUIRE(SetOf("CapEff") == kKept);
              return 0;
            }),
            0);
}

TEST(ConfinementTest, AFileCanBeGivenToTheGroup) {
  std::string may_join;
  std::ifstream("/proc/self/setgroups") >> may_join;
  if (may_join == "deny") GTEST_SKIP() << "this user namespace has no groups to join";
  constexpr gid_t kGroup = 12345;
  EXPECT_EQ(ResultOf([=] {
              REQUIRE(DropPrivileges(kGroup).ok());
              REQUIRE((SetOf("CapEff") & Bit(CAP_CHOWN)) == 0);
              const int file = ::open("/run/for-the-group", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
              REQUIRE(::fchown(file, static_cast<uid_t>(-1), kGroup) == 0);
              REQUIRE(::fchown(file, static_cast<uid_t>(-1), kGroup + 1) != 0);
              return 0;
            }),
            0);
}

// The words of all lines `NAME=...` of the unit.
std::set<std::string> WordsOfUnit(const std::string& name) {
  std::set<std::string> words;
  std::ifstream unit("deploy/systemd/netprovd.service");
  EXPECT_TRUE(unit.good());
  for (std::string line; std::getline(unit, line);) {
    const std::vector<std::string> parts = absl::StrSplit(line, absl::MaxSplits('=', 1));
    if (parts.front() != name) continue;
    for (const absl::string_view word : absl::StrSplit(parts.back(), ' ')) words.emplace(word);
  }
  return words;
}

TEST(ConfinementTest, TheUnitLeavesTheSameCapabilities) {
  std::vector<std::string> kept = KeptCapabilities();
  for (std::string& name : kept) absl::AsciiStrToUpper(&name);
  EXPECT_THAT(WordsOfUnit("CapabilityBoundingSet"), UnorderedElementsAreArray(kept));
}

// The unit's filter is there from before the daemon starts, so it has more.
TEST(ConfinementTest, TheUnitAllowsWhatIsAllowed) {
  std::set<std::string> allowed;
  std::set<std::string> groups;
  std::vector<std::string> words;
  for (const std::string& word : WordsOfUnit("SystemCallFilter")) words.push_back(word);
  EXPECT_THAT(words, Not(IsEmpty()));
  while (!words.empty()) {
    const std::string word = words.back();
    words.pop_back();
    if (word.empty()) continue;
    if (word.front() != '@') {
      allowed.insert(word);
    } else if (groups.insert(word).second) {
      std::istringstream members(testing::Shell("systemd-analyze --no-pager syscall-filter " + word));
      for (std::string line; std::getline(members, line);) {
        const std::string member(absl::StripAsciiWhitespace(line));
        if (member != word && member.find('#') == member.npos) words.push_back(member);
      }
    }
  }
  // Of a start by systemd, ahead of the daemon's own filter.
  for (const char* const early : {"capset", "execve", "prctl", "seccomp", "setgroups", "setrlimit"}) {
    EXPECT_THAT(allowed, Contains(early));
  }
  EXPECT_THAT(allowed, IsSupersetOf(AllowedSystemCalls()));
}

}  // namespace
}  // namespace netprov
