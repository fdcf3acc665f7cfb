#include "server/api/request.h"

#include <optional>
#include <string>

#include "gmock/gmock.h"
#include "google/rpc/error_details.pb.h"
#include "gtest/gtest.h"
#include "netprov/v1/device.pb.h"
#include "netprov/v1/lease.pb.h"
#include "netprov/v1/namespace.pb.h"
#include "netprov/v1/veth.pb.h"
#include "server/api/errors.h"

namespace netprov::api {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

// The field that BadRequest names; nullopt when there is no BadRequest.
std::optional<std::string> FieldOf(const absl::Status& status) {
  const auto payload = status.GetPayload("type.googleapis.com/google.rpc.BadRequest");
  if (!payload.has_value()) return std::nullopt;
  google::rpc::BadRequest bad;
  EXPECT_TRUE(bad.ParseFromString(std::string(*payload)));
  EXPECT_EQ(bad.field_violations_size(), 1);
  return bad.field_violations(0).field();
}

// A length-delimited field on the wire; numbers below 16 and lengths below 128.
std::string Wire(int number, const std::string& content) {
  return std::string{static_cast<char>(number << 3 | 2), static_cast<char>(content.size())} + content;
}

TEST(DecodeTest, ReadsWhatIsValid) {
  v1::CreateNamespaceRequest sent;
  sent.set_namespace_id("blue");
  v1::CreateNamespaceRequest read;
  EXPECT_TRUE(Decode(sent.SerializeAsString(), read).ok());
  EXPECT_EQ(read.namespace_id(), "blue");
  EXPECT_TRUE(Decode("", read).ok());
  EXPECT_EQ(read.namespace_id(), "");
}

TEST(DecodeTest, NamesTheStringThatIsNotUtf8) {
  v1::CreateNamespaceRequest create;
  absl::Status status = Decode(Wire(1, "a\xff"), create);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReasonOf(status), "MALFORMED_REQUEST");
  EXPECT_EQ(FieldOf(status), "namespace_id");
  EXPECT_THAT(std::string(status.message()), HasSubstr("namespace_id must be UTF-8, but is \"a\\xff\""));

  v1::CreateVethRequest veth;
  const std::string endpoint = Wire(3, "ok") + Wire(4, "\xc0\x80");
  status = Decode(Wire(1, "v") + Wire(2, Wire(6, endpoint)), veth);
  EXPECT_EQ(ReasonOf(status), "MALFORMED_REQUEST");
  EXPECT_EQ(FieldOf(status), "veth.endpoint_b.mac_address");
}

TEST(DecodeTest, RefusesWhatIsNoMessage) {
  v1::CreateVethRequest request;
  absl::Status status = Decode("\x07\xff\xff", request);
  EXPECT_EQ(ReasonOf(status), "MALFORMED_REQUEST");
  EXPECT_EQ(FieldOf(status), std::nullopt);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("no valid Protobuf message of type netprov.v1.CreateVethRequest"));
  // The outer message is sound, the inner one is cut.
  status = Decode(Wire(2, Wire(5, "\x1a\x7f")), request);
  EXPECT_EQ(FieldOf(status), "veth.endpoint_a");
}

v1::CreateVethRequest SomeRequest() {
  v1::CreateVethRequest request;
  request.set_veth_id("v");
  request.set_request_id("8f14e45f-ceea-467f-a0e6-90ab5d3c1f52");
  request.mutable_veth()->mutable_endpoint_a()->mutable_host();
  request.mutable_veth()->mutable_endpoint_b()->set_namespace_("namespaces/n");
  return request;
}

TEST(FingerprintTest, LeavesOutWhatDoesNotCount) {
  const std::string fingerprint = Fingerprint("CreateVeth", "veths/v", SomeRequest());
  v1::CreateVethRequest request = SomeRequest();
  request.set_request_id("another");
  EXPECT_EQ(Fingerprint("CreateVeth", "veths/v", request), fingerprint);
  request.mutable_veth()->set_name("set only by the server");
  request.mutable_veth()->mutable_endpoint_a()->set_ifindex(7);
  EXPECT_EQ(Fingerprint("CreateVeth", "veths/v", request), fingerprint);
  request = SomeRequest();
  ASSERT_TRUE(request.MergeFromString(Wire(15, std::string(100, 'x'))));
  EXPECT_EQ(Fingerprint("CreateVeth", "veths/v", request), fingerprint);
  EXPECT_EQ(SomeRequest().request_id(), "8f14e45f-ceea-467f-a0e6-90ab5d3c1f52");
}

// A repeat may meet a newer daemon than the call did.
TEST(FingerprintTest, IsTheSameInAllVersions) {
  v1::DeleteVethRequest del;
  del.set_name("veths/v");
  del.set_request_id("8f14e45f-ceea-467f-a0e6-90ab5d3c1f52");
  EXPECT_EQ(Fingerprint("DeleteVeth", "veths/v", del), "DeleteVeth:\n\7veths/v");
  v1::UpdateDeviceRequest update;
  update.mutable_device()->set_name("devices/m0");
  update.mutable_update_mask()->add_paths("mtu");
  update.mutable_device()->set_mtu(1400);
  EXPECT_THAT(Fingerprint("UpdateDevice", "devices/m0", update), StartsWith("UpdateDevice devices/m0:\n"));
  v1::UpdateDeviceRequest other = update;
  other.mutable_device()->set_name("devices/m1");
  EXPECT_EQ(Fingerprint("UpdateDevice", "devices/m0", other), Fingerprint("UpdateDevice", "devices/m0", update));
  EXPECT_NE(Fingerprint("UpdateDevice", "devices/m1", other), Fingerprint("UpdateDevice", "devices/m0", update));
}

TEST(FingerprintTest, DiffersInEverythingElse) {
  const std::string fingerprint = Fingerprint("CreateVeth", "veths/v", SomeRequest());
  EXPECT_NE(Fingerprint("UpdateVeth", "veths/v", SomeRequest()), fingerprint);
  v1::CreateVethRequest request = SomeRequest();
  request.set_veth_id("w");
  EXPECT_NE(Fingerprint("CreateVeth", "veths/v", request), fingerprint);
  request = SomeRequest();
  request.set_allow_existing(true);
  EXPECT_NE(Fingerprint("CreateVeth", "veths/v", request), fingerprint);
  request = SomeRequest();
  request.mutable_veth()->mutable_endpoint_a()->set_mtu(9000);
  EXPECT_NE(Fingerprint("CreateVeth", "veths/v", request), fingerprint);
  request = SomeRequest();
  request.mutable_veth()->mutable_endpoint_b()->mutable_host();
  EXPECT_NE(Fingerprint("CreateVeth", "veths/v", request), fingerprint);
}

TEST(SummarizeTest, NamesTheResource) {
  EXPECT_EQ(Summarize(SomeRequest()).resource, "veths/v");
  EXPECT_EQ(Summarize(SomeRequest()).request_id, "8f14e45f-ceea-467f-a0e6-90ab5d3c1f52");
  EXPECT_FALSE(Summarize(SomeRequest()).validate_only);
  v1::CreateNamespaceRequest create;
  create.set_namespace_id("blue");
  create.set_validate_only(true);
  EXPECT_EQ(Summarize(create).resource, "namespaces/blue");
  EXPECT_TRUE(Summarize(create).validate_only);
  v1::DeleteVethRequest del;
  del.set_name("veths/x");
  EXPECT_EQ(Summarize(del).resource, "veths/x");
  v1::CreateDeviceRequest device;
  device.set_device_id("m0");
  EXPECT_EQ(Summarize(device).resource, "devices/m0");
  v1::UpdateDeviceRequest update;
  update.mutable_device()->set_name("devices/m0");
  EXPECT_EQ(Summarize(update).resource, "devices/m0");
  EXPECT_EQ(Summarize(v1::ListVethsRequest()).resource, "");
  v1::RenewLeaseRequest renew;
  renew.set_owner("ci/job-17");
  EXPECT_EQ(Summarize(renew).resource, "owners/ci/job-17");
}

}  // namespace
}  // namespace netprov::api
