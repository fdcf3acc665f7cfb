// Namespaces that are made before they are asked for.
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

void AwaitHeld(size_t count) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (Held().size() != count) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline) << Held().size() << " are held, and not " << count;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

std::string NameOf(const UniqueFd& netns) {
  struct stat status = {};
  EXPECT_EQ(::fstat(netns.get(), &status), 0);
  return absl::StrCat("net:[", status.st_ino, "]");
}

class NetnsPoolTest : public ::testing::Test {
 protected:
  NetnsPoolTest() : home_(*netns::OpenCurrent()) {}

  UniqueFd home_;
};

TEST_F(NetnsPoolTest, AsManyAreReadyAsWereTakenUpToTheMost) {
  NetnsPool pool(home_.get(), kLasting);
  EXPECT_EQ(Held().size(), 1u) << "nobody has asked yet";
  for (size_t taken = 1; taken <= 2 * kLasting.most; ++taken) {
    ASSERT_TRUE(pool.Take().ok());
    AwaitHeld(1 + std::min(taken, kLasting.most));
    if (HasFatalFailure()) return;
  }
}

TEST_F(NetnsPoolTest, EachIsGivenAwayOnce) {
  NetnsPool pool(home_.get(), kLasting);
  std::vector<NetnsPool::Made> kept;  // another would get the same number again
  std::set<std::string> given;
  bool was_ready = false;
  for (size_t i = 0; i < 50; ++i) {
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
    for (int looks = 0; looks < 50 && seen < 2; ++looks) seen = Held().size();
  }
  AwaitHeld(1);
}

TEST_F(NetnsPoolTest, TheyGoWhenTheyWouldInheritSomethingElse) {
  auto kernel = LinuxKernel::Open(kLasting);
  ASSERT_TRUE(kernel.ok());
  const size_t without = Held().size();
  ASSERT_TRUE((*kernel)->CreateNetns("first", "", {}).ok());
  AwaitHeld(without + 1);
  const std::set<std::string> ready = Held();
  ASSERT_TRUE((*kernel)->SetSysctls({}, {{"net.ipv4.ip_forward", "1"}}).ok());
  auto cookie = (*kernel)->CreateNetns("second", "", {});
  ASSERT_TRUE(cookie.ok());
  EXPECT_THAT(ready, Not(Contains(absl::StrCat("net:[", Shell("stat -Lc %i /run/netns/second | tr -d '\\n'"), "]"))));
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
  AwaitHeld(without + 1);
  const std::set<std::string> ready = Held();
  EXPECT_EQ(describe("ready"), made_now);
  EXPECT_THAT(ready, Contains(absl::StrCat("net:[", Shell("stat -Lc %i /run/netns/ready | tr -d '\\n'"), "]")));
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
  EXPECT_TRUE(pool.Take().ok());
  AwaitHeld(3);
}

}  // namespace
}  // namespace netprov::testing
