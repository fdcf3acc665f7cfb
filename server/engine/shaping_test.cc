#include "server/engine/shaping.h"

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/engine/objects.h"
#include "server/netlink/qdisc.h"

namespace netprov::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr RateLimit kTenMegabits{.rate = 10'000'000, .burst = 32768, .latency = absl::Milliseconds(50)};

std::vector<std::string> Compare(const std::optional<RateLimit>& asked,
                                 const std::optional<netlink::TokenBucket>& now) {
  std::vector<Deviation> deviations;
  CompareLimit("endpoint_b.ingress_limit", asked, now, deviations);
  std::vector<std::string> texts;
  for (const Deviation& deviation : deviations) {
    texts.push_back(absl::StrCat(deviation.field, " ", deviation.expected, " ", deviation.actual));
  }
  return texts;
}

TEST(ShapingTest, ALimitBecomesABucket) {
  const netlink::TokenBucket bucket = ToBucket(kTenMegabits);
  EXPECT_EQ(bucket, (netlink::TokenBucket{.rate = 1'250'000, .burst = 32768, .limit = 62500 + 32768}));
  EXPECT_EQ(ToRateLimit(bucket), kTenMegabits);
  EXPECT_EQ(ToBucket({.rate = 8007, .burst = 2000, .latency = absl::Milliseconds(1)}),
            (netlink::TokenBucket{.rate = 1000, .burst = 2000, .limit = 2001}));
}

TEST(ShapingTest, WhatTheKernelRoundsIsNoDifference) {
  for (const RateLimit& asked :
       {kTenMegabits, RateLimit{.rate = 8001, .burst = 1514, .latency = absl::Microseconds(1001)},
        RateLimit{.rate = 1'000'000'000'000, .burst = 1'250'000'000, .latency = absl::Seconds(10)}}) {
    netlink::TokenBucket now = ToBucket(asked);
    EXPECT_THAT(Compare(asked, now), IsEmpty());
    // In ticks of 64 ns.
    now.burst -= static_cast<uint32_t>(static_cast<double>(now.rate) * 64e-9);
    EXPECT_THAT(Compare(asked, now), IsEmpty());
    std::vector<Deviation> none;
    EXPECT_EQ(CompareLimit("limit", asked, now, none), asked);
  }
}

TEST(ShapingTest, WhatDiffersIsSaid) {
  EXPECT_THAT(Compare(std::nullopt, ToBucket(kTenMegabits)), IsEmpty());
  EXPECT_THAT(Compare(kTenMegabits, std::nullopt), ElementsAre("endpoint_b.ingress_limit.rate 10000000 "));
  RateLimit other = kTenMegabits;
  other.rate = 20'000'000;
  EXPECT_THAT(Compare(kTenMegabits, ToBucket(other)), ElementsAre("endpoint_b.ingress_limit.rate 10000000 20000000"));
  other = kTenMegabits;
  other.burst = 40000;
  EXPECT_THAT(Compare(kTenMegabits, ToBucket(other)), ElementsAre("endpoint_b.ingress_limit.burst 32768 40000"));
  other = kTenMegabits;
  other.latency = absl::Milliseconds(70);
  EXPECT_THAT(Compare(kTenMegabits, ToBucket(other)), ElementsAre("endpoint_b.ingress_limit.latency 50ms 70ms"));
  std::vector<Deviation> deviations;
  EXPECT_EQ(CompareLimit("limit", kTenMegabits, ToBucket(other), deviations), other);
  EXPECT_EQ(CompareLimit("limit", kTenMegabits, std::nullopt, deviations), std::nullopt);
}

TEST(ShapingTest, AnIfbIsNamedAfterItsPairAndTheEndBesideIt) {
  EXPECT_EQ(ShaperName("01234567-89ab-4cde-8f01-23456789abcd", 'a'), "ifba0123456789a");
  EXPECT_THAT(ShaperName("01234567-89ab-4cde-8f01-23456789abcd", 'b'), SizeIs(15));
  VethSpec spec;
  EXPECT_THAT(ShaperNames("u", spec), IsEmpty());
  spec.b.config.ingress_limit = kTenMegabits;
  EXPECT_THAT(ShaperNames("u", spec), IsEmpty());
  spec.b.config.egress_limit = spec.a.config.egress_limit = kTenMegabits;
  EXPECT_THAT(ShaperNames("u", spec), ElementsAre("ifbbu", "ifbau"));
}

}  // namespace
}  // namespace netprov::engine
