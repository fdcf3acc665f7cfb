#include "server/api/update.h"

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "netprov/v1/veth.pb.h"

namespace netprov::api {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr absl::string_view kChangeable[] = {"endpoint_a.mtu", "endpoint_a.bridge_port", "metadata.labels"};

google::protobuf::FieldMask MaskOf(const std::vector<std::string>& paths) {
  google::protobuf::FieldMask mask;
  mask.mutable_paths()->Add(paths.begin(), paths.end());
  return mask;
}

google::protobuf::FieldMask Checked(const std::vector<std::string>& paths) {
  Violations violations;
  google::protobuf::FieldMask mask = CheckUpdateMask("update_mask", MaskOf(paths), v1::Veth(), kChangeable, violations);
  EXPECT_TRUE(violations.empty());
  return mask;
}

std::string Refusal(const std::vector<std::string>& paths) {
  Violations violations;
  (void)CheckUpdateMask("update_mask", MaskOf(paths), v1::Veth(), kChangeable, violations);
  if (violations.size() != 1) return "";
  EXPECT_EQ(violations.list()[0].field, "update_mask");
  return violations.list()[0].description;
}

TEST(UpdateMask, AFieldAndWhatIsBelowItCanBeNamed) {
  EXPECT_THAT(Checked({"endpoint_a.mtu", "endpoint_a.bridge_port.isolated"}).paths(),
              ElementsAre("endpoint_a.mtu", "endpoint_a.bridge_port.isolated"));
}

TEST(UpdateMask, AMessageIsAllInItThatCanBeChanged) {
  EXPECT_THAT(Checked({"endpoint_a"}).paths(), ElementsAre("endpoint_a.mtu", "endpoint_a.bridge_port"));
  EXPECT_THAT(Checked({"*"}).paths(), ElementsAre("endpoint_a.mtu", "endpoint_a.bridge_port", "metadata.labels"));
}

TEST(UpdateMask, WhatCannotBeChangedIsNamed) {
  EXPECT_THAT(Refusal({}), HasSubstr("must name what to change"));
  EXPECT_THAT(Refusal({"endpoint_a.mtu", "endpoint_a.host"}), HasSubstr("\"endpoint_a.host\" can't"));
  EXPECT_THAT(Refusal({"endpoint_b"}), HasSubstr("\"endpoint_b\" can't"));
  EXPECT_THAT(Refusal({"uid"}), HasSubstr("\"uid\" can't"));
  for (const char* path : {"no_such", "endpoint_a.mtu.more", "endpoint_a.addresses.address", "", ".", "endpoint_a."}) {
    EXPECT_THAT(Refusal({path}), HasSubstr("there is no")) << path;
  }
}

TEST(Merge, OnlyWhatIsNamedChangesAndWhatIsLeftOutIsCleared) {
  v1::Veth present;
  present.mutable_endpoint_a()->set_mtu(1400);
  present.mutable_endpoint_a()->set_mac_address("02:00:00:00:00:01");
  present.mutable_endpoint_a()->mutable_bridge_port()->set_isolated(true);
  present.mutable_endpoint_a()->mutable_bridge_port()->set_cost(7);
  present.mutable_endpoint_a()->add_gateways("10.0.0.1");
  (*present.mutable_metadata()->mutable_labels())["old"] = "1";
  v1::Veth wanted;
  wanted.mutable_endpoint_a()->set_mac_address("02:00:00:00:00:02");
  wanted.mutable_endpoint_a()->add_gateways("10.0.0.2");
  (*wanted.mutable_metadata()->mutable_labels())["new"] = "1";
  Merge(MaskOf({"endpoint_a.mtu", "endpoint_a.bridge_port.isolated", "endpoint_a.gateways", "metadata.labels"}), wanted,
        present);
  EXPECT_EQ(present.endpoint_a().mtu(), 0U);
  EXPECT_EQ(present.endpoint_a().mac_address(), "02:00:00:00:00:01");
  EXPECT_FALSE(present.endpoint_a().bridge_port().has_isolated());
  EXPECT_EQ(present.endpoint_a().bridge_port().cost(), 7U);
  EXPECT_THAT(present.endpoint_a().gateways(), ElementsAre("10.0.0.2"));
  EXPECT_FALSE(present.metadata().labels().contains("old"));
  EXPECT_TRUE(present.metadata().labels().contains("new"));
}

}  // namespace
}  // namespace netprov::api
