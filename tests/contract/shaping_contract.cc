// Rates.
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/netlink/qdisc.h"
#include "tests/contract/kernel_contract.h"

namespace netprov::testing {
namespace {

using engine::Link;
using engine::NetnsRef;
using ::testing::IsEmpty;

}  // namespace

void ShapingContractTest::SetUp() {
  auto made = kernel_.CreateVeth({.name = "c0"}, {.netns = MakeNetns("blue"), .name = "c1"}, "tag");
  ASSERT_TRUE(made.ok()) << made.error().ToString();
  end_ = made->first.ifindex;
  // What the kernel does not round.
  both_ = {.egress = netlink::TokenBucket{.rate = 1'250'000, .burst = 40000, .limit = 102500},
           .ingress = netlink::TokenBucket{.rate = 12'500'000, .burst = 400000, .limit = 1025000},
           .ifb_name = "ifbx",
           .alias = "tag"};
}

std::vector<Link> ShapingContractTest::Ifbs() {
  std::vector<Link> ifbs = *kernel_.ListLinks(kHost);
  std::erase_if(ifbs, [](const Link& link) { return link.kind != "ifb"; });
  return ifbs;
}

TEST_P(ShapingContractTest, ALinkIsShapedAndNoMore) {
  EXPECT_EQ(Now(), engine::Shaping());
  auto shaped = kernel_.Shape(kHost, end_, both_);
  ASSERT_TRUE(shaped.ok()) << shaped.error().ToString();
  EXPECT_EQ(Now(), (engine::Shaping{.egress = both_.egress, .ingress = both_.ingress, .ifb_ifindex = *shaped}));
  ASSERT_EQ(Ifbs().size(), 1u);
  const Link ifb = Ifbs()[0];
  EXPECT_EQ(ifb.ifindex, *shaped);
  EXPECT_EQ(ifb.name, "ifbx");
  EXPECT_EQ(ifb.alias, "tag");
  EXPECT_EQ(ifb.group, engine::kOwnedGroup);
  EXPECT_TRUE(ifb.up);
  // Once more.
  EXPECT_EQ(*kernel_.Shape(kHost, end_, both_), *shaped);
  // With other rates, by the same ifb.
  both_.egress->rate = 2'500'000;
  both_.ingress->rate = 125'000'000;
  EXPECT_EQ(*kernel_.Shape(kHost, end_, both_), *shaped);
  EXPECT_EQ(Now().egress->rate, 2'500'000u);
  EXPECT_EQ(Now().ingress->rate, 125'000'000u);
  // One after the other goes.
  engine::ShapingSpec less = both_;
  less.egress.reset();
  EXPECT_EQ(*kernel_.Shape(kHost, end_, less), *shaped);
  EXPECT_EQ(Now().egress, std::nullopt);
  EXPECT_TRUE(Now().ingress.has_value());
  less.ingress.reset();
  EXPECT_EQ(*kernel_.Shape(kHost, end_, less), 0u);
  EXPECT_EQ(Now(), engine::Shaping());
  EXPECT_THAT(Ifbs(), IsEmpty());
  EXPECT_EQ(*kernel_.Shape(kHost, end_, less), 0u) << "nothing is nothing again";
}

TEST_P(ShapingContractTest, WhatIsThereIsMadeWhatIsWanted) {
  const uint32_t ifb = *kernel_.Shape(kHost, end_, both_);
  ASSERT_EQ(CodeOf(kernel_.SetLink(kHost, ifb, {.name = "renamed", .alias = "", .up = false})), 0);
  EXPECT_EQ(Now(), (engine::Shaping{.egress = both_.egress, .ingress = std::nullopt}))
      << "nothing passes an ifb that is down";
  EXPECT_EQ(*kernel_.Shape(kHost, end_, both_), ifb);
  EXPECT_EQ((*kernel_.FindLink(kHost, ifb))->alias, "tag");
  EXPECT_EQ(Now().ingress, both_.ingress);
  // Without its ifb, what is received goes nowhere.
  ASSERT_EQ(CodeOf(kernel_.DeleteLink(kHost, ifb)), 0);
  EXPECT_EQ(Now(), (engine::Shaping{.egress = both_.egress, .ingress = std::nullopt}));
  const uint32_t another = *kernel_.Shape(kHost, end_, both_);
  EXPECT_EQ(Now().ifb_ifindex, another);
  EXPECT_EQ(Now().ingress, both_.ingress);
  EXPECT_EQ(Ifbs().size(), 1u);
}

TEST_P(ShapingContractTest, ABucketAtTheRootMayStay) {
  engine::ShapingSpec theirs = both_;
  theirs.ingress.reset();
  ASSERT_EQ(*kernel_.Shape(kHost, end_, theirs), 0u);
  engine::ShapingSpec one_way = both_;
  one_way.egress.reset();
  one_way.leaves_root = true;
  const uint32_t ifb = *kernel_.Shape(kHost, end_, one_way);
  EXPECT_EQ(Now(), (engine::Shaping{.egress = both_.egress, .ingress = both_.ingress, .ifb_ifindex = ifb}));
  one_way.ingress.reset();
  EXPECT_EQ(*kernel_.Shape(kHost, end_, one_way), 0u);
  EXPECT_EQ(Now(), (engine::Shaping{.egress = both_.egress, .ingress = std::nullopt}));
  one_way.egress = one_way.ingress = both_.ingress;
  EXPECT_NE(*kernel_.Shape(kHost, end_, one_way), 0u);
  EXPECT_EQ(Now().egress, both_.ingress) << "what is wanted takes its place all the same";
}

TEST_P(ShapingContractTest, OneThatWasLeftIsTaken) {
  const uint32_t ifb = *kernel_.Shape(kHost, end_, both_);
  ASSERT_EQ(CodeOf(kernel_.DeleteLink(kHost, end_)), 0);
  EXPECT_EQ(Now(), engine::Shaping());
  ASSERT_EQ(Ifbs().size(), 1u) << "it does not go with the link";
  auto made = kernel_.CreateVeth({.name = "c0"}, {.name = "c1"}, "tag");
  ASSERT_TRUE(made.ok());
  EXPECT_EQ(*kernel_.Shape(kHost, made->second.ifindex, both_), ifb);
  EXPECT_EQ(kernel_.FindShaping(kHost, made->second.ifindex)->ingress, both_.ingress);
  EXPECT_EQ(*kernel_.FindShaping(kHost, made->first.ifindex), engine::Shaping());
}

TEST_P(ShapingContractTest, WhatCannotBeIsRefused) {
  EXPECT_EQ(CodeOf(kernel_.Shape(kHost, 4711, both_)), ENODEV);
  EXPECT_EQ(*kernel_.FindShaping(kHost, 4711), engine::Shaping());
  const NetnsRef none{.name = "none", .cookie = 1};
  EXPECT_EQ(CodeOf(kernel_.Shape(none, end_, both_)), ENOENT);
  EXPECT_EQ(CodeOf(kernel_.FindShaping(none, end_)), ENOENT);
  // The name is another's.
  both_.egress.reset();
  both_.ifb_name = "c0";
  EXPECT_EQ(CodeOf(kernel_.Shape(kHost, end_, both_)), EEXIST);
  both_.ifb_name = "ifbx";
  ASSERT_EQ(CodeOf(kernel_.Shape(kHost, end_, both_)), 0);
  auto made = kernel_.CreateVeth({.name = "c2"}, {.name = "c3"}, "other");
  ASSERT_TRUE(made.ok());
  both_.alias = "other";
  EXPECT_EQ(CodeOf(kernel_.Shape(kHost, made->first.ifindex, both_)), EEXIST);
  EXPECT_EQ(Now().ingress, both_.ingress);
}

TEST_P(ShapingContractTest, AWatchTellsOfIt) {
  auto watch = kernel_.Watch();
  ASSERT_TRUE(watch.ok()) << watch.error().ToString();
  auto tells = [&](uint32_t ifindex) {
    for (int i = 0; i < 100; ++i) {
      for (const engine::Hint& hint : (*watch)->Wait(std::chrono::milliseconds(100))) {
        if (hint.kind == engine::Hint::Kind::kLink && hint.netns.is_host() && hint.ifindex == ifindex) return true;
      }
    }
    return false;
  };
  engine::ShapingSpec egress = both_;
  egress.ingress.reset();
  ASSERT_EQ(CodeOf(kernel_.Shape(kHost, end_, egress)), 0);
  EXPECT_TRUE(tells(end_));
  const uint32_t ifb = *kernel_.Shape(kHost, end_, both_);
  EXPECT_TRUE(tells(ifb));
  while (!(*watch)->Wait(std::chrono::milliseconds(100)).empty()) {
  }
  both_.ingress->rate *= 2;
  ASSERT_EQ(CodeOf(kernel_.Shape(kHost, end_, both_)), 0);
  EXPECT_TRUE(tells(ifb));
}

}  // namespace netprov::testing
