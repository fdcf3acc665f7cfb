// Namespaces that are made before they are asked for.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <set>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/base/unique_fd.h"
#include "server/engine/linux_kernel.h"
#include "server/engine/linux_netns_pool.h"
#include "server/netns/netns.h"
#include "tests/testing/private_host.h"

namespace netprov::testing {
namespace {

using engine::LinuxKernel;
using engine::NetnsPool;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

// None lapses while it is waited for.
constexpr NetnsPool::Options kLasting{.most = 3, .keep = std::chrono::hours(1)};

// The namespaces that this process has a descriptor of, as `net:[INODE]`.
std::set<std::string> Held() {
  std::set<std::string> held;
  for (const auto& fd : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    const std::string target = std::filesystem::read_symlink(fd.path(), gone).string();
    if (absl::StartsWith(target, "net:[")) held.insert(target);
  }
  return held;
}

// Waits until so many are held, and expects that it stays so for a while in which another would have been made.
void AwaitHeld(size_t count) {
  constexpr std::chrono::milliseconds kBetween(1);
  constexpr int kLooks = 10;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (Held().size() != count) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline) << Held().size() << " are held, and not " << count;
    std::this_thread::sleep_for(kBetween);
  }
  for (int look = 0; look < kLooks; ++look) {
    std::this_thread::sleep_for(kBetween);
    ASSERT_EQ(Held().size(), count);
  }
}

std::string NameOf(const UniqueFd& netns) {
  struct stat status = {};
  EXPECT_EQ(::fstat(netns.get(), &status), 0);
  return absl::StrCat("net:[", status.st_ino, "]");
}

// Of the namespace with that name.
std::string Published(const std::string& name) {
  return absl::StrCat("net:[", Shell(absl::StrCat("stat -Lc %i /run/netns/", name, " | tr -d '\\n'")), "]");
}

// One more descriptor of each that is held.
std::vector<UniqueFd> HoldAll() {
  std::vector<std::filesystem::path> paths;
  for (const auto& fd : std::filesystem::directory_iterator("/proc/self/fd")) paths.push_back(fd.path());
  std::vector<UniqueFd> kept;
  for (const std::filesystem::path& path : paths) {
    std::error_code gone;
    if (!absl::StartsWith(std::filesystem::read_symlink(path, gone).string(), "net:[")) continue;
    kept.emplace_back(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  }
  return kept;
}

class NetnsPoolTest : public ::testing::Test {
 protected:
  NetnsPoolTest() : home_(*netns::OpenCurrent()) {}

  UniqueFd home_;
};

TEST_F(NetnsPoolTest, AsManyAreReadyAsWereTakenUpToTheMost) {
  NetnsPool pool(home_.get(), kLasting);
  for (size_t taken = 0; taken <= 2 * kLasting.most; ++taken) {
    // One alone is no succession.
    AwaitHeld(1 + (taken < 2 ? 0 : std::min(taken, kLasting.most)));
    if (HasFatalFailure()) return;
    ASSERT_TRUE(pool.Take().ok());
  }
}

TEST_F(NetnsPoolTest, OneAtATimeIsEnough) {
  NetnsPool pool(home_.get(), {.most = 1, .keep = std::chrono::hours(1)});
  ASSERT_TRUE(pool.Take().ok());
  ASSERT_TRUE(pool.Take().ok());
  AwaitHeld(2);
}

TEST_F(NetnsPoolTest, EachIsGivenAwayOnce) {
  NetnsPool pool(home_.get(), kLasting);
  std::vector<NetnsPool::Made> kept;  // another would get the same number again
  std::set<std::string> given;
  bool was_ready = false;
  for (size_t i = 0; i < 50; ++i) {
    // From then on some are ready, if not always.
    if (i == 2) AwaitHeld(1 + kept.size() + 2);
    const std::set<std::string> ready = Held();
    auto made = pool.Take();
    ASSERT_TRUE(made.ok()) << made.error().ToString();
    EXPECT_TRUE(given.insert(NameOf(made->netns)).second);
    was_ready = was_ready || ready.contains(NameOf(made->netns));
    kept.push_back(*std::move(made));
  }
  EXPECT_TRUE(was_ready);
}

TEST_F(NetnsPoolTest, TheyGoWhenNobodyAsks) {
  NetnsPool pool(home_.get(), {.most = 3, .keep = std::chrono::milliseconds(200)});
  // It may be gone again before it is seen.
  for (size_t seen = 1; seen < 2;) {
    ASSERT_TRUE(pool.Take().ok());
    ASSERT_TRUE(pool.Take().ok());
    for (int looks = 0; looks < 50 && seen < 2; ++looks) seen = Held().size();
  }
  AwaitHeld(1);
}

TEST_F(NetnsPoolTest, TheyGoWhenTheyWouldInheritSomethingElse) {
  auto kernel = LinuxKernel::Open(kLasting);
  ASSERT_TRUE(kernel.ok());
  const size_t without = Held().size();
  ASSERT_TRUE((*kernel)->CreateNetns("first", "", {}).ok());
  ASSERT_TRUE((*kernel)->CreateNetns("second", "", {}).ok());
  AwaitHeld(without + 2);
  const std::set<std::string> ready = Held();
  const std::vector<UniqueFd> kept = HoldAll();  // another would get the same number again
  ASSERT_TRUE((*kernel)->SetSysctls({}, {{"net.ipv4.ip_forward", "1"}}).ok());
  ASSERT_TRUE((*kernel)->CreateNetns("third", "", {}).ok());
  EXPECT_THAT(ready, Not(Contains(Published("third"))));
}

TEST_F(NetnsPoolTest, OneThatWasReadyIsAsOneThatIsMadeNow) {
  auto kernel = LinuxKernel::Open(kLasting);
  ASSERT_TRUE(kernel.ok());
  const size_t without = Held().size();
  auto describe = [&](const std::string& name) {
    auto cookie = (*kernel)->CreateNetns(name, "tag", {{"net.ipv4.ip_forward", "1"}});
    EXPECT_TRUE(cookie.ok()) << cookie.error().ToString();
    return Shell(absl::StrCat("ip netns exec ", name,
                              " sh -c 'ip -d addr; ip -4 route show table all; ip -6 route show "
                              "table all; sysctl -a 2>/dev/null | grep ^net | grep -v random'"));
  };
  const std::string made_now = describe("now");
  describe("too");
  AwaitHeld(without + 2);
  const std::set<std::string> ready = Held();
  EXPECT_EQ(describe("ready"), made_now);
  EXPECT_THAT(ready, Contains(Published("ready")));
  EXPECT_THAT(made_now, HasSubstr("net.ipv4.ip_forward = 1"));
}

TEST_F(NetnsPoolTest, WhereOneCannotBeMadeTheCallerHearsOfIt) {
  NetnsPool pool(home_.get(), kLasting);
  rlimit limit = {};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  rlimit none = limit;
  none.rlim_cur = 0;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  auto refused = pool.Take();
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, EMFILE);
  // And so is the thread, at the next.
  EXPECT_TRUE(pool.Take().ok());
  AwaitHeld(3);
}

}  // namespace
}  // namespace netprov::testing
