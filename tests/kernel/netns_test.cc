// Named namespaces, held against ip-netns(8) in both directions.
#include "server/netns/netns.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <future>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "server/engine/linux_kernel.h"
#include "server/netns/inhabitants.h"
#include "server/netns/netns_directory.h"
#include "server/netns/place.h"
#include "tests/testing/private_host.h"
#include "tests/testing/process.h"

namespace netprov::testing {
namespace {

using engine::LinuxKernel;
using netns::NetnsDirectory;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::unique_ptr<LinuxKernel> OpenKernel() {
  auto kernel = LinuxKernel::Open();
  EXPECT_TRUE(kernel.ok()) << kernel.error().ToString();
  return *std::move(kernel);
}

// The names that `ip netns` knows.
std::set<std::string> IpNetnsNames() {
  std::set<std::string> names;
  const std::string output = Shell("ip -j netns list");
  // Without a namespace, iproute2 6.1 prints nothing at all.
  if (output.empty()) return names;
  for (const auto& item : nlohmann::json::parse(output)) names.insert(item.at("name"));
  return names;
}

// The mount points at and below /run/netns, one entry per mount.
std::multiset<std::string> MountPoints() {
  std::multiset<std::string> points;
  std::ifstream mounts("/proc/self/mountinfo");
  for (std::string line; std::getline(mounts, line);) {
    const std::vector<std::string> fields = absl::StrSplit(line, ' ');
    if (absl::StartsWith(fields.at(4), NetnsDirectory::kPath)) points.insert(fields[4]);
  }
  return points;
}

class NetnsTest : public ::testing::Test {
 protected:
  void TearDown() override {
    NetnsDirectory directory;
    auto entries = directory.List();
    ASSERT_TRUE(entries.ok());
    for (const auto& entry : *entries) {
      auto netns = directory.Open(entry.name);
      EXPECT_TRUE(netns.ok() ? directory.Remove(entry.name, netns->get()).ok() : directory.RemoveFile(entry.name).ok())
          << entry.name;
    }
    while (::umount2(NetnsDirectory::kPath, MNT_DETACH | UMOUNT_NOFOLLOW) == 0) {
    }
    ::rmdir(NetnsDirectory::kPath);
  }
};

TEST_F(NetnsTest, WhatWeMakeIpNetnsListsEntersAndDeletes) {
  auto kernel = OpenKernel();
  auto cookie = kernel->CreateNetns("blue", "tag", {});
  ASSERT_TRUE(cookie.ok()) << cookie.error().ToString();
  EXPECT_THAT(IpNetnsNames(), ElementsAre("blue"));
  const auto links = nlohmann::json::parse(Shell("ip netns exec blue ip -j link show"));
  ASSERT_EQ(links.size(), 1u);
  EXPECT_EQ(links[0].at("ifname"), "lo");
  EXPECT_EQ(links[0].at("ifalias"), "tag");
  EXPECT_THAT(links[0].at("flags").get<std::vector<std::string>>(), ::testing::Contains("UP"));
  Shell("ip netns delete blue");
  EXPECT_EQ(*kernel->FindNetns("blue"), std::nullopt);
}

TEST_F(NetnsTest, WhatIpNetnsMakesWeListAndRead) {
  Shell("ip netns add green");
  auto kernel = OpenKernel();
  EXPECT_THAT(*kernel->ListNetns(), ElementsAre("green"));
  auto entry = kernel->FindNetns("green");
  ASSERT_TRUE(entry.ok() && entry->has_value());
  EXPECT_TRUE((*entry)->is_netns);
  EXPECT_NE((*entry)->cookie, 0u);
}

TEST_F(NetnsTest, TheDirectoryIsOneSharedMount) {
  OpenKernel();
  OpenKernel();
  EXPECT_THAT(MountPoints(), ElementsAre("/run/netns"));
  EXPECT_THAT(Shell("grep ' /run/netns ' /proc/self/mountinfo"), HasSubstr("shared:"));
  Shell("ip netns add green");
  EXPECT_THAT(MountPoints(), ElementsAre("/run/netns", "/run/netns/green"));
}

TEST_F(NetnsTest, TheDirectoryIsMadeAgainWhenSomebodyUnmountsIt) {
  auto kernel = OpenKernel();
  ASSERT_EQ(::umount2(NetnsDirectory::kPath, 0), 0);
  ASSERT_TRUE(kernel->CreateNetns("blue", "", {}).ok());
  EXPECT_THAT(MountPoints(), ElementsAre("/run/netns", "/run/netns/blue"));
}

TEST_F(NetnsTest, AnotherMountNamespaceThatSharesTheDirectorySeesTheNames) {
  auto kernel = OpenKernel();
  // A shell in a mount namespace of its own that receives what happens here, as a container with rslave propagation
  // does.
  std::FILE* other =
      ::popen("unshare -m --propagation slave sh -c 'echo ready; read line; ip netns exec blue ip link show lo'", "w");
  ASSERT_NE(other, nullptr);
  ASSERT_TRUE(kernel->CreateNetns("blue", "", {}).ok());
  std::fputs("go\n", other);
  EXPECT_EQ(::pclose(other), 0);
}

TEST_F(NetnsTest, ManyProcessesAtOnceAndIpNetnsDoNotCorruptTheMountTree) {
  constexpr int kProcesses = 4;
  constexpr int kNames = 15;
  std::vector<pid_t> children;
  for (int process = 0; process < kProcesses; ++process) {
    const pid_t child = ::fork();
    ASSERT_NE(child, -1);
    if (child == 0) {
      auto kernel = LinuxKernel::Open();
      for (int i = 0; kernel.ok() && i < kNames; ++i) {
        if (!(*kernel)->CreateNetns(absl::StrCat("ours-", process, "-", i), "", {}).ok()) ::_exit(1);
      }
      ::_exit(kernel.ok() ? 0 : 1);
    }
    children.push_back(child);
  }
  Shell(absl::StrCat("for i in $(seq 0 ", kNames - 1, "); do ip netns add theirs-$i || exit 1; done"));
  for (pid_t child : children) {
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
  EXPECT_EQ(IpNetnsNames().size(), static_cast<size_t>((kProcesses + 1) * kNames));
  const std::multiset<std::string> mounts = MountPoints();
  EXPECT_EQ(mounts.size(), static_cast<size_t>((kProcesses + 1) * kNames + 1));
  EXPECT_EQ(std::set<std::string>(mounts.begin(), mounts.end()).size(), mounts.size()) << "nothing is mounted twice";
}

TEST_F(NetnsTest, AllWhoWantOneNameAtOnceButOneAreRefused) {
  OpenKernel();
  constexpr int kProcesses = 8;
  std::vector<pid_t> children;
  for (int process = 0; process < kProcesses; ++process) {
    const pid_t child = ::fork();
    ASSERT_NE(child, -1);
    if (child == 0) {
      auto kernel = LinuxKernel::Open();
      auto made = (*kernel)->CreateNetns("blue", "", {});
      ::_exit(made.ok() ? 0 : made.error().code == EEXIST ? 1 : 2);
    }
    children.push_back(child);
  }
  std::multiset<int> outcomes;
  for (pid_t child : children) {
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    outcomes.insert(WEXITSTATUS(status));
  }
  EXPECT_EQ(outcomes.count(0), 1u);
  EXPECT_EQ(outcomes.count(1), kProcesses - 1u);
}

TEST_F(NetnsTest, OddFilesAreToldFromNamespacesAndLeftAlone) {
  auto kernel = OpenKernel();
  std::ofstream("/run/netns/file") << "content";
  ASSERT_EQ(::symlink("/etc/hostname", "/run/netns/link"), 0);
  ASSERT_EQ(::mkfifo("/run/netns/fifo", 0600), 0);
  ASSERT_EQ(::mkdir("/run/netns/directory", 0700), 0);
  std::ofstream("/run/netns/uts");
  ASSERT_EQ(::mount("/proc/self/ns/uts", "/run/netns/uts", nullptr, MS_BIND, nullptr), 0);
  ASSERT_TRUE(kernel->CreateNetns("blue", "", {}).ok());

  const std::vector<std::string> odd = {"directory", "fifo", "file", "link", "uts"};
  EXPECT_THAT(*kernel->ListNetns(), ElementsAre("blue", "directory", "fifo", "file", "link", "uts"));
  for (const std::string& name : odd) {
    auto entry = kernel->FindNetns(name);
    ASSERT_TRUE(entry.ok() && entry->has_value()) << name;
    EXPECT_FALSE((*entry)->is_netns) << name;
    EXPECT_EQ(kernel->CreateNetns(name, "", {}).error().code, EEXIST) << name;
    EXPECT_EQ(kernel->RemoveStaleNetnsFile(name).error().code, EMEDIUMTYPE) << name;
  }
  struct stat status = {};
  for (const std::string& name : odd) EXPECT_EQ(::lstat(absl::StrCat("/run/netns/", name).c_str(), &status), 0) << name;

  ASSERT_EQ(::umount2("/run/netns/uts", MNT_DETACH), 0);
  for (const char* name : {"file", "link", "fifo", "uts"})
    ASSERT_EQ(::unlink(absl::StrCat("/run/netns/", name).c_str()), 0);
  ASSERT_EQ(::rmdir("/run/netns/directory"), 0);
}

TEST_F(NetnsTest, ANamespaceThatCannotBePublishedLeavesNothing) {
  auto kernel = OpenKernel();
  // The name exists only since the namespace was begun.
  std::ofstream("/run/netns/blue");
  const std::string before = Shell("ls -la --time-style=+ /run/netns");
  EXPECT_EQ(kernel->CreateNetns("blue", "", {}).error().code, EEXIST);
  EXPECT_EQ(Shell("ls -la --time-style=+ /run/netns"), before);
}

TEST_F(NetnsTest, RemovesANameThatSomebodyMountedTwice) {
  auto kernel = OpenKernel();
  auto cookie = kernel->CreateNetns("blue", "", {});
  ASSERT_TRUE(cookie.ok());
  ASSERT_EQ(::mount("/run/netns/blue", "/run/netns/blue", nullptr, MS_BIND, nullptr), 0);
  ASSERT_TRUE(kernel->RemoveNetns({.name = "blue", .cookie = *cookie}).ok());
  EXPECT_THAT(MountPoints(), ElementsAre("/run/netns"));
  EXPECT_THAT(*kernel->ListNetns(), IsEmpty());
}

// What `ip netns` and mount(8) do between the look at a name and its removal.
TEST_F(NetnsTest, AnothersNamespaceThatTookTheNameSinceItWasLookedAtStays) {
  OpenKernel();
  const NetnsDirectory directory;
  Shell("ip netns add green");
  const auto inode_of = [](const std::string& name) {
    struct stat status = {};
    EXPECT_EQ(::stat(absl::StrCat(NetnsDirectory::kPath, "/", name).c_str(), &status), 0);
    return status.st_ino;
  };
  for (const char* takes_the_name : {
           "ip netns delete blue && ip netns add blue",
           "umount -l /run/netns/blue && mount --bind /run/netns/green /run/netns/blue",
           "mount --bind /run/netns/green /run/netns/blue",
       }) {
    SCOPED_TRACE(takes_the_name);
    Shell("ip netns add blue");
    auto looked_at = directory.Open("blue");
    ASSERT_TRUE(looked_at.ok());
    Shell(takes_the_name);
    const ino_t theirs = inode_of("blue");
    const std::multiset<std::string> mounts = MountPoints();
    EXPECT_TRUE(directory.Remove("blue", looked_at->get()).ok());
    EXPECT_EQ(inode_of("blue"), theirs);
    EXPECT_EQ(MountPoints(), mounts);
    Shell("while umount -l /run/netns/blue 2>/dev/null; do :; done; rm /run/netns/blue");
  }
}

TEST_F(NetnsTest, WhatIsUnmountedIsWhatWasLookedAt) {
  OpenKernel();
  Shell("ip netns add blue");
  const auto open = [] { return UniqueFd(::open("/run/netns/blue", O_PATH | O_NOFOLLOW | O_CLOEXEC)); };
  {
    const UniqueFd looked_at = open();
    Shell("ip netns delete blue && ip netns add blue");
    EXPECT_EQ(netns::UnmountOpened(looked_at.get()).error().code, EINVAL);
    EXPECT_THAT(MountPoints(), ElementsAre("/run/netns", "/run/netns/blue"));
  }
  const UniqueFd looked_at = open();
  EXPECT_TRUE(netns::UnmountOpened(looked_at.get()).ok());
  EXPECT_THAT(MountPoints(), ElementsAre("/run/netns"));
}

TEST_F(NetnsTest, AProcessWhoseCommandCannotBeReadHasNotEnded) {
  EXPECT_EQ(*netns::CommandOf(1), Shell("cat /proc/1/comm | tr -d '\\n'"));
  const pid_t ended = ::fork();
  if (ended == 0) ::_exit(0);
  ASSERT_EQ(::waitpid(ended, nullptr, 0), ended);
  EXPECT_EQ(*netns::CommandOf(ended), "");
  rlimit before = {};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none{.rlim_cur = 0, .rlim_max = before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  const auto command = netns::CommandOf(1);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(command.error().code, EMFILE);
}

TEST_F(NetnsTest, AThreadComesBackFromWhereItWasSent) {
  auto home = netns::OpenCurrent();
  ASSERT_TRUE(home.ok());
  auto inode = [](int fd) {
    struct stat status = {};
    EXPECT_EQ(::fstat(fd, &status), 0);
    return status.st_ino;
  };
  ino_t inside = 0;
  auto made = netns::MakeAnonymous(home->get(), [&] { inside = inode(netns::OpenCurrent()->get()); });
  ASSERT_TRUE(made.ok());
  EXPECT_EQ(inside, inode(made->get()));
  EXPECT_EQ(inode(netns::OpenCurrent()->get()), inode(home->get()));
  inside = 0;
  ASSERT_TRUE(netns::RunInside(made->get(), home->get(), [&] { inside = inode(netns::OpenCurrent()->get()); }).ok());
  EXPECT_EQ(inside, inode(made->get()));
  EXPECT_EQ(inode(netns::OpenCurrent()->get()), inode(home->get()));
  UniqueFd no_netns(::open("/proc/self/ns/uts", O_RDONLY | O_CLOEXEC));
  EXPECT_TRUE(*netns::IsNetns(home->get()));
  EXPECT_FALSE(*netns::IsNetns(no_netns.get()));
  UniqueFd no_namespace(::open("/proc/self/status", O_RDONLY | O_CLOEXEC));
  EXPECT_FALSE(*netns::IsNetns(no_namespace.get()));
  EXPECT_EQ(netns::IsNetns(-1).error().code, EBADF) << "where it cannot be told, it is not denied";
  auto refused = netns::RunInside(no_netns.get(), home->get(), [] { ADD_FAILURE() << "ran elsewhere"; });
  EXPECT_EQ(refused.error().code, EINVAL);
}

// Opening what others made, by a path or by a process.
class PlaceTest : public NetnsTest {
 protected:
  void TearDown() override {
    Shell("umount -q /run/place/* || true; rm -rf /run/place /run/link");
    NetnsTest::TearDown();
  }

  // A process in a namespace of its own.
  static std::unique_ptr<Process> StartInside() {
    auto process = std::make_unique<Process>(
        std::vector<std::string>{"unshare", "-n", "sh", "-c", "echo ready >&2; exec sleep infinity"});
    process->WaitForLine("ready");
    return process;
  }

  // The number of a namespace, as `/proc/PID/ns/net` reads; 0: it could not be opened.
  static ino_t Inode(const KernelResult<UniqueFd>& netns) {
    struct stat status = {};
    if (!netns.ok()) {
      ADD_FAILURE() << netns.error().ToString();
      return 0;
    }
    EXPECT_EQ(::fstat(netns->get(), &status), 0);
    return status.st_ino;
  }
  static ino_t InodeOf(pid_t pid) {
    struct stat status = {};
    EXPECT_EQ(::stat(absl::StrCat("/proc/", pid, "/ns/net").c_str(), &status), 0);
    return status.st_ino;
  }
  static int CodeAt(const std::string& path) {
    auto netns = netns::OpenNetnsAt(path);
    return netns.ok() ? 0 : netns.error().code;
  }
};

TEST_F(PlaceTest, OpensTheNamespaceAtAPath) {
  const auto process = StartInside();
  Shell(absl::StrCat("mkdir /run/place; touch /run/place/it; mount --bind /proc/", process->pid(),
                     "/ns/net /run/place/it"));
  EXPECT_EQ(Inode(netns::OpenNetnsAt("/run/place/it")), InodeOf(process->pid()));
}

TEST_F(PlaceTest, FollowsNoLinkAndSaysWhatToGiveInItsPlace) {
  Shell("ip netns add blue; ln -s /run/netns /run/link; mkdir /run/place; ln -s ../netns/blue /run/place/it");
  for (const char* path : {"/run/link/blue", "/run/place/it"}) {
    auto netns = netns::OpenNetnsAt(path);
    ASSERT_FALSE(netns.ok()) << path;
    EXPECT_EQ(netns.error().code, ELOOP) << path;
    EXPECT_THAT(netns.error().extack, HasSubstr("is /run/netns/blue")) << path;
  }
  auto of_proc = netns::OpenNetnsAt("/proc/self/ns/net");
  ASSERT_FALSE(of_proc.ok());
  EXPECT_EQ(of_proc.error().code, ELOOP);
  EXPECT_THAT(of_proc.error().extack, HasSubstr("its number"));
  Shell("ln -sfn /nowhere /run/link");
  EXPECT_THAT(netns::OpenNetnsAt("/run/link").error().extack, HasSubstr("leads nowhere"));
  EXPECT_EQ(CodeAt("/run/netns/blue"), 0);
}

TEST_F(PlaceTest, OpensNothingThatIsNoNetworkNamespace) {
  Shell(
      "mkdir /run/place; cd /run/place; touch file empty user; mkfifo fifo; mkdir directory; mknod null c 1 3 || true");
  Shell("mount --bind /proc/self/ns/user /run/place/user");
  // A FIFO that were opened would block.
  for (const char* name : {"file", "fifo", "directory", "user"}) {
    EXPECT_EQ(CodeAt(absl::StrCat("/run/place/", name)), EMEDIUMTYPE) << name;
  }
  EXPECT_EQ(CodeAt("/dev/null"), EMEDIUMTYPE);
  EXPECT_EQ(CodeAt("/run/place/nothing"), ENOENT);
  EXPECT_EQ(CodeAt("/run/place/file/it"), ENOTDIR);
  EXPECT_EQ(CodeAt("run/place/file"), EINVAL);
  EXPECT_EQ(CodeAt(std::string("/run/place/file\0it", 18)), EINVAL);
  EXPECT_EQ(CodeAt(""), EINVAL);
}

// By PIDFD_GET_NET_NAMESPACE, or by /proc as on older kernels.
class ProcessPlaceTest : public PlaceTest, public ::testing::WithParamInterface<KernelResult<UniqueFd> (*)(int)> {
 protected:
  KernelResult<UniqueFd> Open(pid_t pid) { return GetParam()(pid); }
  int CodeOf(pid_t pid) {
    auto netns = Open(pid);
    return netns.ok() ? 0 : netns.error().code;
  }
};

TEST_P(ProcessPlaceTest, OpensTheNamespaceOfAProcess) {
  const auto process = StartInside();
  EXPECT_EQ(Inode(Open(process->pid())), InodeOf(process->pid()));
  EXPECT_NE(InodeOf(process->pid()), InodeOf(::getpid()));
  EXPECT_EQ(Inode(Open(::getpid())), InodeOf(::getpid()));
}

TEST_P(ProcessPlaceTest, AProcessThatHasEndedIsNone) {
  const auto process = StartInside();
  process->Stop(SIGKILL);
  EXPECT_EQ(CodeOf(process->pid()), ESRCH);
  // Ended, and its parent has not asked yet how.
  const pid_t zombie = ::fork();
  ASSERT_NE(zombie, -1);
  if (zombie == 0) ::_exit(0);
  siginfo_t info = {};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(zombie), &info, WEXITED | WNOWAIT), 0);
  EXPECT_EQ(CodeOf(zombie), ESRCH);
  ASSERT_EQ(::waitpid(zombie, nullptr, 0), zombie);
}

TEST_P(ProcessPlaceTest, AThreadOrNoNumberIsNoProcess) {
  std::promise<pid_t> number;
  std::promise<void> done;
  std::thread thread([&] {
    number.set_value(::gettid());
    done.get_future().wait();
  });
  EXPECT_EQ(CodeOf(number.get_future().get()), ESRCH);
  done.set_value();
  thread.join();
  EXPECT_EQ(CodeOf(0), ESRCH);
  EXPECT_EQ(CodeOf(-1), ESRCH);
  EXPECT_EQ(CodeOf(4194304), ESRCH) << "PID_MAX_LIMIT";
}

INSTANTIATE_TEST_SUITE_P(Ways, ProcessPlaceTest,
                         ::testing::Values(&netns::OpenNetnsOfProcess, &netns::OpenNetnsOfProcessByProc),
                         [](const auto& way) { return way.index == 0 ? "Pidfd" : "Proc"; });

TEST_F(PlaceTest, AProcOfOtherNumbersIsNotUsed) {
  // The child's number there is another one than in this /proc.
  const pid_t child = ::fork();
  ASSERT_NE(child, -1);
  if (child == 0) {
    if (::unshare(CLONE_NEWPID) != 0) ::_exit(2);
    const pid_t inside = ::fork();
    if (inside == 0) {
      auto netns = netns::OpenNetnsOfProcessByProc(::getpid());
      ::_exit(!netns.ok() && netns.error().code == EMEDIUMTYPE ? 0 : 1);
    }
    int status = 0;
    ::waitpid(inside, &status, 0);
    ::_exit(WEXITSTATUS(status));
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace netprov::testing
