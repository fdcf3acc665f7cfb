#include "client/cli/error_text.h"

#include "client/status.h"
#include "gtest/gtest.h"

namespace netprov::cli {
namespace {

TEST(ExitCodeTest, Is64PlusTheCode) {
  EXPECT_EQ(ExitCode(absl::OkStatus()), 0);
  EXPECT_EQ(ExitCode(absl::CancelledError("")), 65);
  EXPECT_EQ(ExitCode(absl::NotFoundError("")), 69);
  EXPECT_EQ(ExitCode(absl::UnavailableError("")), 78);
  EXPECT_EQ(ExitCode(absl::UnauthenticatedError("")), 80);
}

TEST(ErrorTextTest, MessageAlone) {
  EXPECT_EQ(ErrorText(absl::NotFoundError("no such namespace: blue")), "contain: no such namespace: blue\n");
}

TEST(ErrorTextTest, WithoutAMessageTheCodeHasToDo) {
  EXPECT_EQ(ErrorText(absl::UnavailableError("")), "contain: UNAVAILABLE\n");
}

TEST(ErrorTextTest, EveryDetailHasItsLine) {
  absl::Status status = absl::InvalidArgumentError("the pair is wrong");
  google::rpc::BadRequest bad;
  bad.add_field_violations()->set_field("veth.endpoint_a.mtu");
  bad.mutable_field_violations(0)->set_description("must be 68 to 65535");
  bad.add_field_violations()->set_field("veth_id");
  bad.mutable_field_violations(1)->set_description("must not be empty");
  client::SetDetail(status, bad);
  google::rpc::PreconditionFailure failure;
  failure.add_violations()->set_subject("namespaces/blue");
  failure.mutable_violations(0)->set_description("is not managed");
  client::SetDetail(status, failure);
  google::rpc::ResourceInfo resource;
  resource.set_resource_name("veths/uplink");
  client::SetDetail(status, resource);
  google::rpc::ErrorInfo info;
  info.set_reason("KERNEL_REFUSED");
  (*info.mutable_metadata())["operation"] = "RTM_NEWLINK veth0";
  (*info.mutable_metadata())["errno"] = "EINVAL";
  client::SetDetail(status, info);

  EXPECT_EQ(ErrorText(status),
            "contain: the pair is wrong\n"
            "  veth.endpoint_a.mtu: must be 68 to 65535\n"
            "  veth_id: must not be empty\n"
            "  namespaces/blue: is not managed\n"
            "  resource: veths/uplink\n"
            "  reason: KERNEL_REFUSED\n"
            "  errno: EINVAL\n"
            "  operation: RTM_NEWLINK veth0\n");
}

TEST(ErrorTextTest, NamesTheFeatureThatIsMissing) {
  absl::Status status = absl::FailedPreconditionError("the kernel has no CONFIG_DUMMY");
  google::rpc::ErrorInfo info;
  info.set_reason("KERNEL_FEATURE_MISSING");
  (*info.mutable_metadata())["feature"] = "CONFIG_DUMMY";
  client::SetDetail(status, info);
  EXPECT_EQ(ErrorText(status),
            "contain: the kernel has no CONFIG_DUMMY\n"
            "  reason: KERNEL_FEATURE_MISSING\n"
            "  feature: CONFIG_DUMMY\n");
}

TEST(ErrorTextTest, ControlCharactersDoNotReachTheTerminal) {
  EXPECT_EQ(ErrorText(absl::InternalError("a\x1b[2J\nb")), "contain: a\\x1b[2J\\x0ab\n");
}

}  // namespace
}  // namespace netprov::cli
