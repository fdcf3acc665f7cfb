#include "server/engine/link_difference.h"

#include <optional>
#include <string>

#include "gtest/gtest.h"
#include "server/netlink/link_info.h"

namespace netprov::engine {
namespace {

using netlink::BridgeInfo;
using netlink::Centiseconds;

TEST(MissingOptionTest, WhatTheKernelDoesNotHaveCannotBeOn) {
  const BridgeInfo has_nothing;
  EXPECT_EQ(MissingOption(BridgeInfo{.vlan_filtering = true}, has_nothing), "vlan_filtering");
  EXPECT_EQ(MissingOption(BridgeInfo{.default_pvid = 1}, has_nothing), "default_pvid");
  EXPECT_EQ(MissingOption(BridgeInfo{.multicast_snooping = true}, has_nothing), "multicast_snooping");
  EXPECT_EQ(MissingOption(BridgeInfo{.group_forward_mask = 8}, has_nothing), "group_forward_mask");
  const BridgeInfo off{.vlan_filtering = false, .multicast_snooping = false};
  EXPECT_EQ(MissingOption(off, has_nothing), std::nullopt);
  EXPECT_EQ(MissingOption(BridgeInfo{.vlan_filtering = true}, BridgeInfo{.vlan_filtering = false}), std::nullopt);
  LinkDifference difference;
  CompareOptions(off, has_nothing, difference);
  EXPECT_TRUE(difference.deviations.empty());
}

TEST(CompareOptionsTest, ATickIsNoDifference) {
  const BridgeInfo asked{.ageing_time = Centiseconds(1501)};
  LinkDifference difference;
  CompareOptions(asked, BridgeInfo{.ageing_time = Centiseconds(1500)}, difference);
  EXPECT_TRUE(difference.deviations.empty());
  EXPECT_EQ(difference.settings.device, std::nullopt);
  CompareOptions(asked, BridgeInfo{.ageing_time = Centiseconds(1499)}, difference);
  ASSERT_EQ(difference.deviations.size(), 1u);
  EXPECT_EQ(difference.deviations[0].expected, "15.01s");
  EXPECT_EQ(difference.deviations[0].actual, "14.99s");
  EXPECT_EQ(difference.settings.device, DeviceOptions(asked));
}

}  // namespace
}  // namespace netprov::engine
