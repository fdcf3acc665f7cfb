#include "server/engine/linux_watch.h"

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/base/kernel_error.h"
#include "server/base/unique_fd.h"
#include "server/engine/kernel.h"
#include "server/netlink/statistics.h"
#include "server/netns/netns_directory.h"
#include "tests/testing/private_host.h"

namespace netprov::testing {
namespace {

using engine::Hint;
using engine::KernelWatch;
using std::chrono::milliseconds;
using ::testing::Contains;
using ::testing::IsEmpty;

// By a clock that stands still until it is told otherwise.
class LinuxWatchTest : public ::testing::Test {
 protected:
  void SetUp() override {
    Shell("mkdir -p /run/names; ip link add w0 type veth peer name w1; ip link add w2 type veth peer name w3");
    auto no_namespace = [](const engine::NetnsRef&) -> KernelResult<UniqueFd> {
      return KernelError{.code = ENOENT, .operation = "open", .extack = {}};
    };
    auto watch = engine::OpenLinuxWatch(directory_, no_namespace, statistics_, [this] { return now_; });
    ASSERT_TRUE(watch.ok()) << watch.error().ToString();
    watch_ = *std::move(watch);
  }
  void TearDown() override { Shell("ip link delete w0; ip link delete w2; rm -rf /run/names"); }

  static Hint OfLink(const std::string& name) {
    const std::string ifindex = Shell("ip -o link show " + name + " | cut -d: -f1");
    return {.kind = Hint::Kind::kLink, .netns = {}, .ifindex = static_cast<uint32_t>(std::stoul(ifindex))};
  }

  const netns::NetnsDirectory directory_{"/run/names"};
  std::chrono::steady_clock::time_point now_{std::chrono::hours(1)};
  netlink::Statistics statistics_;
  std::unique_ptr<KernelWatch> watch_;
};

TEST_F(LinuxWatchTest, WhatComesAfterARestIsToldAtOnceAndWhatFollowsTogether) {
  Shell("ip link set w0 mtu 1400");
  EXPECT_THAT(watch_->Wait(std::chrono::hours(1)), Contains(OfLink("w0")));
  for (const char* change : {"ip link set w0 mtu 1401", "ip link set w2 mtu 1402", "touch /run/names/blue"}) {
    Shell(change);
    EXPECT_THAT(watch_->Wait(milliseconds(1)), IsEmpty()) << change;
  }
  now_ += milliseconds(49);
  EXPECT_THAT(watch_->Wait(milliseconds(1)), IsEmpty());
  now_ += milliseconds(1);
  const std::vector<Hint> together = watch_->Wait(std::chrono::hours(1));
  EXPECT_THAT(together, Contains(OfLink("w0")));
  EXPECT_THAT(together, Contains(OfLink("w2")));
  EXPECT_THAT(together, Contains(Hint{.kind = Hint::Kind::kName, .netns = {.name = "blue"}, .ifindex = 0}));
  now_ += milliseconds(50);
  EXPECT_THAT(watch_->Wait(milliseconds(0)), IsEmpty()) << "nothing is told twice";
}

TEST_F(LinuxWatchTest, WhoeverWakesItDoesNotWaitForWhatIsGathered) {
  Shell("ip link set w0 mtu 1400");
  EXPECT_THAT(watch_->Wait(std::chrono::hours(1)), Contains(OfLink("w0")));
  Shell("ip link set w0 mtu 1401");
  watch_->Wake();
  EXPECT_THAT(watch_->Wait(std::chrono::hours(1)), IsEmpty());
  now_ += milliseconds(50);
  EXPECT_THAT(watch_->Wait(std::chrono::hours(1)), Contains(OfLink("w0")));
}

}  // namespace
}  // namespace netprov::testing
