#include "client/status.h"

#include <string>

#include "absl/strings/cord.h"
#include "google/rpc/status.pb.h"
#include "gtest/gtest.h"

namespace netprov::client {
namespace {

google::rpc::ErrorInfo Info(const std::string& reason) {
  google::rpc::ErrorInfo info;
  info.set_domain("netprov.v1");
  info.set_reason(reason);
  return info;
}

TEST(FromGrpcStatusTest, KeepsCodeMessageAndDetails) {
  google::rpc::Status wire;
  wire.set_code(3);
  wire.set_message("the veth is wrong");
  wire.add_details()->PackFrom(Info("INVALID_FIELD"));
  google::rpc::BadRequest bad;
  bad.add_field_violations()->set_field("veth.endpoint_a.mtu");
  wire.add_details()->PackFrom(bad);

  const absl::Status status =
      FromGrpcStatus(grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "the veth is wrong", wire.SerializeAsString()));

  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), "the veth is wrong");
  EXPECT_TRUE(status.GetPayload("type.googleapis.com/google.rpc.ErrorInfo").has_value());
  ASSERT_TRUE(GetErrorInfo(status).has_value());
  EXPECT_EQ(GetErrorInfo(status)->reason(), "INVALID_FIELD");
  ASSERT_TRUE(GetBadRequest(status).has_value());
  EXPECT_EQ(GetBadRequest(status)->field_violations(0).field(), "veth.endpoint_a.mtu");
  EXPECT_FALSE(GetDetail<google::rpc::RetryInfo>(status).has_value());
}

TEST(FromGrpcStatusTest, OkIsOk) { EXPECT_TRUE(FromGrpcStatus(grpc::Status::OK).ok()); }

TEST(FromGrpcStatusTest, EveryCodeKeepsItsNumber) {
  for (int code = 1; code <= 16; ++code) {
    EXPECT_EQ(FromGrpcStatus(grpc::Status(static_cast<grpc::StatusCode>(code), "")).raw_code(), code);
  }
}

TEST(FromGrpcStatusTest, UnheardOfCodeIsUnknown) {
  EXPECT_EQ(FromGrpcStatus(grpc::Status(static_cast<grpc::StatusCode>(31), "m")).code(), absl::StatusCode::kUnknown);
  EXPECT_EQ(FromGrpcStatus(grpc::Status(grpc::StatusCode::DO_NOT_USE, "m")).code(), absl::StatusCode::kUnknown);
}

TEST(FromGrpcStatusTest, GarbledDetailsLeaveCodeAndMessage) {
  const absl::Status status =
      FromGrpcStatus(grpc::Status(grpc::StatusCode::NOT_FOUND, "no such namespace", "\xff\xff garbage"));
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(status.message(), "no such namespace");
  EXPECT_FALSE(GetErrorInfo(status).has_value());
}

TEST(FromGrpcStatusTest, FirstOfTwoDetailsOfOneTypeStays) {
  google::rpc::Status wire;
  wire.add_details()->PackFrom(Info("FIRST"));
  wire.add_details()->PackFrom(Info("SECOND"));
  const absl::Status status = FromGrpcStatus(grpc::Status(grpc::StatusCode::INTERNAL, "", wire.SerializeAsString()));
  EXPECT_EQ(GetErrorInfo(status)->reason(), "FIRST");
}

TEST(GetDetailTest, PayloadThatDoesNotParseIsNone) {
  absl::Status status = absl::InternalError("m");
  status.SetPayload(DetailTypeUrl<google::rpc::ErrorInfo>(), absl::Cord("\xff\xff\xff"));
  EXPECT_FALSE(GetErrorInfo(status).has_value());
}

TEST(ToGrpcStatusTest, IsTheReverse) {
  absl::Status status = absl::UnavailableError("too many calls");
  SetDetail(status, Info("QUEUE_FULL"));
  google::rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_seconds(2);
  SetDetail(status, retry);

  const grpc::Status wire = ToGrpcStatus(status);

  EXPECT_EQ(wire.error_code(), grpc::StatusCode::UNAVAILABLE);
  google::rpc::Status details;
  ASSERT_TRUE(details.ParseFromString(wire.error_details()));
  EXPECT_EQ(details.code(), 14);
  EXPECT_EQ(details.message(), "too many calls");
  ASSERT_EQ(details.details_size(), 2);
  EXPECT_EQ(details.details(0).type_url(), "type.googleapis.com/google.rpc.ErrorInfo");
  EXPECT_EQ(details.details(1).type_url(), "type.googleapis.com/google.rpc.RetryInfo");
  EXPECT_EQ(FromGrpcStatus(wire), status);
}

TEST(ToGrpcStatusTest, WithoutPayloadsThereAreNoDetails) {
  EXPECT_TRUE(ToGrpcStatus(absl::OkStatus()).ok());
  EXPECT_EQ(ToGrpcStatus(absl::NotFoundError("m")).error_details(), "");
}

TEST(ToGrpcStatusTest, PayloadThatIsNoTypeUrlIsDropped) {
  absl::Status status = absl::NotFoundError("m");
  status.SetPayload("mine", absl::Cord("x"));
  EXPECT_EQ(ToGrpcStatus(status).error_details(), "");
}

}  // namespace
}  // namespace netprov::client
