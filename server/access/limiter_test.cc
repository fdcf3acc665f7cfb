#include "server/access/limiter.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace netprov::access {
namespace {

using ::testing::HasSubstr;

const absl::Time kStart = absl::FromUnixSeconds(1'000'000);

TEST(LimiterTest, CallsUnderWayAreCountedByCaller) {
  Limiter limiter;
  const CallLimits limits{.concurrent_calls = 2};
  EXPECT_FALSE(limiter.Enter("a", limits, kStart).has_value());
  EXPECT_FALSE(limiter.Enter("a", limits, kStart).has_value());
  const auto refused = limiter.Enter("a", limits, kStart);
  ASSERT_TRUE(refused.has_value());
  EXPECT_EQ(refused->why, "has 2 calls under way, as many as it may");
  EXPECT_GT(refused->retry_after, absl::ZeroDuration());
  EXPECT_FALSE(limiter.Enter("b", limits, kStart).has_value());
  limiter.Leave("a", kStart);
  EXPECT_FALSE(limiter.Enter("a", limits, kStart).has_value());
  EXPECT_TRUE(limiter.Enter("a", limits, kStart).has_value());
  EXPECT_EQ(limiter.statistics().concurrent.value(), 2u);
  EXPECT_EQ(limiter.statistics().rate.value(), 0u);
}

TEST(LimiterTest, TheRateCountsInTheLongRunAndTheBurstAtOnce) {
  Limiter limiter;
  const CallLimits limits{.calls_per_second = 10, .burst = 3, .concurrent_calls = 0};
  auto call = [&](absl::Time now) {
    const auto refused = limiter.Enter("a", limits, now);
    if (!refused.has_value()) limiter.Leave("a", now);
    return refused;
  };
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(call(kStart).has_value()) << i;
  const auto refused = call(kStart);
  ASSERT_TRUE(refused.has_value());
  EXPECT_THAT(refused->why, HasSubstr("10 a second"));
  EXPECT_EQ(absl::Trunc(refused->retry_after + absl::Microseconds(500), absl::Milliseconds(1)),
            absl::Milliseconds(100));
  EXPECT_TRUE(call(kStart + absl::Milliseconds(99)).has_value());
  EXPECT_FALSE(call(kStart + absl::Milliseconds(101)).has_value());
  EXPECT_TRUE(call(kStart + absl::Milliseconds(102)).has_value());
  EXPECT_EQ(limiter.statistics().rate.value(), 3u);
  EXPECT_EQ(limiter.statistics().concurrent.value(), 0u);
  // A rest fills the bucket, and no more.
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(call(kStart + absl::Hours(1)).has_value()) << i;
  EXPECT_TRUE(call(kStart + absl::Hours(1)).has_value());
}

TEST(LimiterTest, ARefusedCallCostsNothing) {
  Limiter limiter;
  const CallLimits limits{.calls_per_second = 1, .burst = 1};
  EXPECT_FALSE(limiter.Enter("a", limits, kStart).has_value());
  limiter.Leave("a", kStart);
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(limiter.Enter("a", limits, kStart).has_value());
  EXPECT_FALSE(limiter.Enter("a", limits, kStart + absl::Seconds(1)).has_value());
}

TEST(LimiterTest, LessThanOneASecondIsARateToo) {
  Limiter limiter;
  const CallLimits limits{.calls_per_second = 0.5};
  EXPECT_FALSE(limiter.Enter("a", limits, kStart).has_value());
  const auto refused = limiter.Enter("a", limits, kStart);
  ASSERT_TRUE(refused.has_value());
  EXPECT_EQ(refused->retry_after, absl::Seconds(2));
}

TEST(LimiterTest, ChangedLimitsCountAtOnce) {
  Limiter limiter;
  EXPECT_FALSE(limiter.Enter("a", {.calls_per_second = 1}, kStart).has_value());
  EXPECT_TRUE(limiter.Enter("a", {.calls_per_second = 1}, kStart).has_value());
  EXPECT_FALSE(limiter.Enter("a", {.calls_per_second = 5}, kStart).has_value());
  EXPECT_FALSE(limiter.Enter("a", {}, kStart).has_value());
}

TEST(LimiterTest, WhoIsAtRestIsForgotten) {
  Limiter limiter;
  for (int i = 0; i < 100; ++i) {
    const std::string caller = std::to_string(i);
    EXPECT_FALSE(limiter.Enter(caller, {}, kStart).has_value());
    limiter.Leave(caller, kStart);
  }
  EXPECT_EQ(limiter.callers(), 0u);
  for (int i = 0; i < 100; ++i) {
    const std::string caller = std::to_string(i);
    EXPECT_FALSE(limiter.Enter(caller, {.calls_per_second = 10}, kStart).has_value());
    limiter.Leave(caller, kStart);
  }
  EXPECT_EQ(limiter.callers(), 100u);
  EXPECT_FALSE(limiter.Enter("b", {}, kStart + absl::Minutes(1)).has_value());
  EXPECT_EQ(limiter.callers(), 1u);
}

}  // namespace
}  // namespace netprov::access
