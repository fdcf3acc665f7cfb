#include "server/api/lease.h"

#include <string>

#include "gmock/gmock.h"
#include "google/rpc/error_details.pb.h"
#include "gtest/gtest.h"

namespace netprov::api {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(LeaseTest, RenewNeedsAnOwner) {
  v1::RenewLeaseRequest request;
  EXPECT_THAT(std::string(ToCall(request).status().message()), HasSubstr("owner must be 1 to 128"));
  request.set_owner("ci");
  EXPECT_EQ(*ToCall(request), "ci");
}

TEST(LeaseTest, AnOwnersRenewalIsTold) {
  const v1::RenewLeaseResponse none = ToProto(engine::LeaseBook::Renewal{});
  EXPECT_EQ(none.renewed(), 0);
  EXPECT_FALSE(none.has_expire_time());
  const v1::RenewLeaseResponse some = ToProto(engine::LeaseBook::Renewal{.leases = 2, .shortest = absl::Minutes(1)});
  EXPECT_EQ(some.renewed(), 2);
  EXPECT_TRUE(some.has_expire_time());
}

TEST(LeaseTest, GarbageIsAskedForByNamesThatCanBe) {
  v1::CollectGarbageRequest request;
  request.set_owner("ci");
  request.add_keep("namespaces/blue");
  request.add_keep("veths/v");
  request.set_validate_only(true);
  auto query = ToCall(request);
  ASSERT_TRUE(query.ok()) << query.status();
  EXPECT_EQ(query->owner, "ci");
  EXPECT_THAT(query->keep, ElementsAre("namespaces/blue", "veths/v"));
  EXPECT_TRUE(query->validate_only);

  request.add_keep("blue");
  request.add_keep("veths/../x");
  const absl::Status status = ToCall(request).status();
  google::rpc::BadRequest bad;
  ASSERT_TRUE(bad.ParseFromString(std::string(*status.GetPayload("type.googleapis.com/google.rpc.BadRequest"))));
  ASSERT_EQ(bad.field_violations_size(), 2);
  EXPECT_EQ(bad.field_violations(0).field(), "keep[2]");
  EXPECT_EQ(bad.field_violations(1).field(), "keep[3]");
}

TEST(LeaseTest, WhatWasCollectedIsTold) {
  const v1::CollectGarbageResponse proto =
      ToProto(engine::Garbage{.deleted = {"veths/v"}, .failures = {{"namespaces/blue", "busy"}}});
  EXPECT_THAT(proto.deleted(), ElementsAre("veths/v"));
  ASSERT_EQ(proto.failures_size(), 1);
  EXPECT_EQ(proto.failures(0).name(), "namespaces/blue");
  EXPECT_EQ(proto.failures(0).message(), "busy");
}

}  // namespace
}  // namespace netprov::api
