#include "server/api/namespace.h"

#include <string>

#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "google/rpc/error_details.pb.h"
#include "gtest/gtest.h"
#include "server/api/page_token.h"

namespace netprov::api {
namespace {

using ::testing::HasSubstr;

constexpr char kUuid[] = "8f14e45f-ceea-467f-a0e6-90ab5d3c1f52";

TEST(NamespaceRequestTest, CreateBecomesACall) {
  v1::CreateNamespaceRequest request;
  request.set_namespace_id("blue");
  request.set_request_id(kUuid);
  request.set_validate_only(true);
  request.set_allow_existing(true);
  request.mutable_namespace_()->set_name("ignored, as only the server sets it");
  (*request.mutable_namespace_()->mutable_sysctls())["net/ipv4/ip_forward"] = "1";
  const auto call = ToCall(request);
  ASSERT_TRUE(call.ok()) << call.status();
  EXPECT_EQ(call->id, "blue");
  EXPECT_EQ(call->context.request_id, kUuid);
  EXPECT_TRUE(call->context.validate_only);
  EXPECT_TRUE(call->allow_existing);
  EXPECT_EQ(call->spec.sysctls, (engine::Sysctls{{"net.ipv4.ip_forward", "1"}}));
}

TEST(NamespaceRequestTest, CreateTellsAllThatIsWrong) {
  v1::CreateNamespaceRequest request;
  request.set_namespace_id("../etc");
  request.set_request_id("x");
  (*request.mutable_namespace_()->mutable_sysctls())["kernel.hostname"] = "x";
  const absl::Status status = ToCall(request).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  google::rpc::BadRequest bad;
  ASSERT_TRUE(bad.ParseFromString(std::string(*status.GetPayload("type.googleapis.com/google.rpc.BadRequest"))));
  ASSERT_EQ(bad.field_violations_size(), 3);
  EXPECT_EQ(bad.field_violations(0).field(), "request_id");
  EXPECT_EQ(bad.field_violations(1).field(), "namespace.sysctls");
  EXPECT_EQ(bad.field_violations(2).field(), "namespace_id");
}

TEST(NamespaceRequestTest, DeleteBecomesACall) {
  v1::DeleteNamespaceRequest request;
  request.set_name("namespaces/my%20net");
  request.set_allow_missing(true);
  request.set_force(true);
  const auto call = ToCall(request);
  ASSERT_TRUE(call.ok()) << call.status();
  EXPECT_EQ(call->id, "my net");
  EXPECT_TRUE(call->allow_missing);
  EXPECT_TRUE(call->force);
  request.set_name("blue");
  EXPECT_FALSE(ToCall(request).ok());
}

TEST(NamespaceRequestTest, AdoptAndReleaseBecomeCalls) {
  v1::AdoptNamespaceRequest adopt;
  adopt.set_name("namespaces/lab");
  adopt.mutable_namespace_()->mutable_metadata()->set_owner("ci");
  (*adopt.mutable_namespace_()->mutable_sysctls())["net.ipv4.ip_forward"] = "1";
  adopt.mutable_namespace_()->mutable_dns()->add_nameservers("10.0.0.53");
  adopt.set_allow_existing(true);
  const auto call = ToCall(adopt);
  ASSERT_TRUE(call.ok()) << call.status();
  EXPECT_EQ(call->id, "lab");
  EXPECT_EQ(call->metadata.owner, "ci");
  EXPECT_EQ(call->spec.sysctls.size(), 1u);
  EXPECT_EQ(call->spec.dns.nameservers.size(), 1u);
  EXPECT_TRUE(call->allow_existing);
  adopt.mutable_namespace_()->mutable_metadata()->set_persistent(true);
  EXPECT_FALSE(ToCall(adopt).ok());
  adopt.mutable_namespace_()->mutable_metadata()->set_persistent(false);
  for (const char* name : {"namespaces/%FF", "namespaces/a%0Ab"}) {
    adopt.set_name(name);
    EXPECT_THAT(std::string(ToCall(adopt).status().message()), HasSubstr("must be UTF-8 without control characters"))
        << name;
  }

  v1::ReleaseNamespaceRequest release;
  release.set_name("namespaces/lab");
  release.set_allow_missing(true);
  EXPECT_EQ(ToCall(release)->id, "lab");
  EXPECT_TRUE(ToCall(release)->allow_missing);
  release.set_name("lab");
  EXPECT_FALSE(ToCall(release).ok());
}

TEST(NamespaceRequestTest, GetAndListBecomeCalls) {
  v1::GetNamespaceRequest get;
  EXPECT_FALSE(ToCall(get).ok());
  get.set_name("namespaces/blue");
  EXPECT_EQ(ToCall(get)->id, "blue");
  EXPECT_FALSE(ToCall(get)->with_inhabitants);
  get.set_view(v1::NAMESPACE_VIEW_FULL);
  EXPECT_TRUE(ToCall(get)->with_inhabitants);
  get.set_view(static_cast<v1::NamespaceView>(3));
  EXPECT_FALSE(ToCall(get).ok());
  v1::ListNamespacesRequest list;
  list.set_page_token(FormatPageToken("ListNamespaces", "blue"));
  EXPECT_EQ(ToCall(list)->after, "blue");
  EXPECT_EQ(ToCall(list)->limit, 100u);
  list.set_page_token(FormatPageToken("ListVeths", "blue"));
  EXPECT_FALSE(ToCall(list).ok());
}

TEST(NamespaceToProtoTest, ShowsAManagedOne) {
  const v1::Namespace proto = ToProto(
      engine::Namespace{.id = "blue",
                        .uid = kUuid,
                        .create_time = absl::FromUnixNanos(1700000000000000001),
                        .managed = true,
                        .state = engine::State::kReady,
                        .cookie = 42,
                        .spec = {.sysctls = {{"net.ipv4.ip_forward", "1"}}},
                        .inhabitants = engine::Inhabitants{.count = 2, .first = {{.pid = 7, .command = "\xff"}}}});
  EXPECT_EQ(proto.name(), "namespaces/blue");
  EXPECT_EQ(proto.path(), "/run/netns/blue");
  EXPECT_EQ(proto.uid(), kUuid);
  EXPECT_EQ(proto.create_time().seconds(), 1700000000);
  EXPECT_EQ(proto.create_time().nanos(), 1);
  EXPECT_TRUE(proto.managed());
  EXPECT_EQ(proto.state(), v1::Namespace::STATE_READY);
  EXPECT_EQ(proto.cookie(), 42u);
  EXPECT_EQ(proto.sysctls().at("net.ipv4.ip_forward"), "1");
  EXPECT_EQ(proto.processes().count(), 2);
  EXPECT_EQ(proto.processes().first(0).pid(), 7);
  EXPECT_EQ(proto.processes().first(0).command(), "\\xff");
}

TEST(NamespaceToProtoTest, ShowsAForeignOne) {
  v1::Namespace proto = ToProto(engine::Namespace{.id = "my net", .state = engine::State::kStale});
  EXPECT_EQ(proto.name(), "namespaces/my%20net");
  EXPECT_EQ(proto.path(), "/run/netns/my net");
  EXPECT_FALSE(proto.has_create_time());
  EXPECT_EQ(proto.state(), v1::Namespace::STATE_STALE);
  // A string can't hold the path, and one that did would make the message unreadable.
  proto = ToProto(engine::Namespace{.id = "\xff", .state = engine::State::kMissing});
  EXPECT_EQ(proto.name(), "namespaces/%FF");
  EXPECT_EQ(proto.path(), "");
  EXPECT_EQ(proto.state(), v1::Namespace::STATE_MISSING);
  EXPECT_TRUE(v1::Namespace().ParseFromString(proto.SerializeAsString()));
}

TEST(NamespaceToProtoTest, APageNamesTheNext) {
  engine::Page<engine::Namespace> page;
  page.items = {{.id = "a"}, {.id = "b"}};
  EXPECT_EQ(ToProto(page).next_page_token(), "");
  page.more = true;
  const v1::ListNamespacesResponse response = ToProto(page);
  EXPECT_EQ(response.namespaces_size(), 2);
  v1::ListNamespacesRequest next;
  next.set_page_token(response.next_page_token());
  EXPECT_EQ(ToCall(next)->after, "b");
}

TEST(NamespaceUpdateTest, ChangesWhatIsNamedAlone) {
  v1::UpdateNamespaceRequest request;
  request.mutable_namespace_()->set_name("namespaces/blue");
  (*request.mutable_namespace_()->mutable_sysctls())["net.ipv4.ip_forward"] = "1";
  request.mutable_update_mask()->add_paths("sysctls");
  const auto call = ToCall(request);
  ASSERT_TRUE(call.ok()) << call.status();
  EXPECT_EQ(call->id, "blue");
  const engine::Asked<engine::NamespaceSpec> present{.spec = {.sysctls = {{"net.core.somaxconn", "128"}}},
                                                     .metadata = {.owner = "ci"}};
  auto asked = call->edit(present);
  ASSERT_TRUE(asked.ok());
  EXPECT_EQ(asked->spec.sysctls, (engine::Sysctls{{"net.ipv4.ip_forward", "1"}}));
  EXPECT_EQ(asked->metadata, present.metadata);
  request.mutable_update_mask()->set_paths(0, "metadata.owner");
  asked = ToCall(request)->edit(present);
  EXPECT_EQ(asked->spec, present.spec);
  EXPECT_EQ(asked->metadata, engine::Metadata());
  request.mutable_update_mask()->set_paths(0, "metadata.ttl");
  request.mutable_namespace_()->mutable_metadata()->mutable_ttl()->set_seconds(1);
  EXPECT_FALSE(ToCall(request)->edit({}).ok()) << "a lease needs an owner";
  request.mutable_update_mask()->set_paths(0, "managed");
  EXPECT_EQ(ReasonOf(ToCall(request).status()), "INVALID_FIELD");
}

}  // namespace
}  // namespace netprov::api
