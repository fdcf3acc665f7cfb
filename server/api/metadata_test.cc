#include "server/api/metadata.h"

#include <string>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace netprov::api {
namespace {

using ::testing::HasSubstr;

std::string WhatIsWrong(const v1::Metadata& proto) {
  Violations violations;
  ToMetadata("veth.metadata", proto, violations);
  return violations.empty() ? "" : std::string(violations.ToStatus().message());
}

TEST(MetadataTest, BecomesTheEnginesAndBack) {
  v1::Metadata proto;
  proto.set_owner("ci/runner-7:job@host");
  (*proto.mutable_labels())["app.kubernetes.io/name"] = "web shop";
  proto.mutable_ttl()->set_seconds(90);
  proto.mutable_ttl()->set_nanos(500000000);
  proto.set_persistent(true);
  proto.set_self_heal(true);
  Violations violations;
  const engine::Metadata metadata = ToMetadata("metadata", proto, violations);
  ASSERT_TRUE(violations.empty());
  EXPECT_EQ(metadata.owner, "ci/runner-7:job@host");
  EXPECT_EQ(metadata.ttl, absl::Seconds(90.5));
  EXPECT_EQ(ToProto(metadata, std::nullopt).SerializeAsString(), proto.SerializeAsString());
  EXPECT_EQ(ToProto(metadata, absl::FromUnixSeconds(5)).expire_time().seconds(), 5);
  EXPECT_EQ(ToProto(metadata, std::nullopt, "cn:c\xff").creator(), "cn:c\\xff") << "any bytes of a certificate";
  // Whoever creates something does not say who it is.
  proto.set_creator("uid:0");
  EXPECT_EQ(ToMetadata("metadata", proto, violations), metadata);
  EXPECT_TRUE(violations.empty());
}

TEST(MetadataTest, NothingIsNothing) {
  Violations violations;
  EXPECT_EQ(ToMetadata("metadata", {}, violations), engine::Metadata());
  EXPECT_TRUE(violations.empty());
}

TEST(MetadataTest, BadValuesAreRefusedByName) {
  v1::Metadata proto;
  for (const std::string& owner : {std::string("a b"), std::string("\xc3\xa4"), std::string(129, 'a')}) {
    proto.set_owner(owner);
    EXPECT_THAT(WhatIsWrong(proto), HasSubstr("veth.metadata.owner must be 1 to 128 characters")) << owner;
  }
  proto.Clear();
  for (const std::string& key : {std::string(), std::string("Upper"), std::string("-a"), std::string(64, 'a')}) {
    proto.mutable_labels()->clear();
    (*proto.mutable_labels())[key] = "v";
    EXPECT_THAT(WhatIsWrong(proto), HasSubstr("veth.metadata.labels must have keys")) << key;
  }
  for (const std::string& value : {std::string("a\nb"), std::string(256, 'a')}) {
    proto.mutable_labels()->clear();
    (*proto.mutable_labels())["k"] = value;
    EXPECT_THAT(WhatIsWrong(proto), HasSubstr("veth.metadata.labels must have values")) << value;
  }
  proto.mutable_labels()->clear();
  for (int i = 0; i < 65; ++i) (*proto.mutable_labels())["k" + std::to_string(i)] = "";
  EXPECT_THAT(WhatIsWrong(proto), HasSubstr("at most 64"));
}

TEST(MetadataTest, ATtlIsASecondToTenYearsAndHasAnOwner) {
  v1::Metadata proto;
  proto.mutable_ttl()->set_seconds(60);
  EXPECT_THAT(WhatIsWrong(proto), HasSubstr("veth.metadata.ttl must not be set without an owner"));
  proto.set_owner("ci");
  EXPECT_EQ(WhatIsWrong(proto), "");
  for (int64_t seconds : {int64_t{0}, int64_t{-5}, int64_t{400000000}, INT64_MAX, INT64_MIN + 1}) {
    proto.mutable_ttl()->set_seconds(seconds);
    EXPECT_THAT(WhatIsWrong(proto), HasSubstr("veth.metadata.ttl must be 1 second to 10 years")) << seconds;
  }
  proto.mutable_ttl()->set_seconds(1);
  proto.mutable_ttl()->set_nanos(-5);
  EXPECT_THAT(WhatIsWrong(proto), HasSubstr("veth.metadata.ttl"));
}

TEST(MetadataTest, DeviationsArePrintable) {
  google::protobuf::RepeatedPtrField<v1::Deviation> proto;
  AddDeviations({{"endpoint_a.mtu", "1500", "1400"}, {"endpoint_a.alias", "tag", "\xff"}}, &proto);
  ASSERT_EQ(proto.size(), 2);
  EXPECT_EQ(proto[0].field(), "endpoint_a.mtu");
  EXPECT_EQ(proto[0].expected(), "1500");
  EXPECT_EQ(proto[0].actual(), "1400");
  EXPECT_EQ(proto[1].actual(), "\\xff");
}

}  // namespace
}  // namespace netprov::api
