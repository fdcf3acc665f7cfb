#include "server/api/veth.h"

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "google/rpc/error_details.pb.h"
#include "gtest/gtest.h"
#include "server/api/page_token.h"

namespace netprov::api {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

v1::CreateVethRequest SomeRequest() {
  v1::CreateVethRequest request;
  request.set_veth_id("v");
  request.mutable_veth()->mutable_endpoint_a()->mutable_host();
  request.mutable_veth()->mutable_endpoint_a()->set_interface_name("h0");
  request.mutable_veth()->mutable_endpoint_b()->set_namespace_("namespaces/blue");
  return request;
}

// The fields that are wrong, in the order in which they are told.
std::vector<std::string> Faults(const v1::CreateVethRequest& request) {
  const absl::Status status = ToCall(request).status();
  if (status.ok()) return {};
  EXPECT_EQ(ReasonOf(status), "INVALID_FIELD");
  google::rpc::BadRequest bad;
  EXPECT_TRUE(bad.ParseFromString(std::string(*status.GetPayload("type.googleapis.com/google.rpc.BadRequest"))));
  std::vector<std::string> fields;
  for (const auto& violation : bad.field_violations()) {
    EXPECT_FALSE(violation.description().empty());
    fields.push_back(violation.field());
  }
  return fields;
}

TEST(VethRequestTest, CreateBecomesACall) {
  v1::CreateVethRequest request = SomeRequest();
  v1::VethEndpoint& b = *request.mutable_veth()->mutable_endpoint_b();
  b.set_mac_address("02:00:5E:10:00:01");
  b.set_mtu(9000);
  b.set_admin_state(v1::VethEndpoint::ADMIN_STATE_DOWN);
  b.set_ifindex(99);  // Only the server sets it.
  request.set_allow_existing(true);
  const auto call = ToCall(request);
  ASSERT_TRUE(call.ok()) << call.status();
  EXPECT_EQ(call->id, "v");
  EXPECT_TRUE(call->allow_existing);
  EXPECT_EQ(call->spec.a, (engine::EndpointSpec{.namespace_id = "", .interface_name = "h0", .up = true}));
  EXPECT_EQ(call->spec.b, (engine::EndpointSpec{.namespace_id = "blue",
                                                .interface_name = "veth%d",
                                                .mac = netlink::MacAddress{{0x02, 0x00, 0x5e, 0x10, 0x00, 0x01}},
                                                .mtu = 9000,
                                                .up = false}));
}

TEST(VethRequestTest, TellsEachFieldThatIsWrong) {
  using Change = std::function<void(v1::CreateVethRequest&)>;
  const std::map<std::string, std::vector<Change>> cases = {
      {"veth_id", {[](auto& r) { r.set_veth_id("a/b"); }, [](auto& r) { r.set_veth_id(std::string(64, 'v')); }}},
      {"request_id", {[](auto& r) { r.set_request_id("not a UUID"); }}},
      {"veth", {[](auto& r) { r.clear_veth(); }}},
      {"allow_existing", {[](auto& r) {
         r.clear_veth_id();
         r.set_allow_existing(true);
       }}},
      {"veth.endpoint_a",
       {[](auto& r) { r.mutable_veth()->clear_endpoint_a(); },
        [](auto& r) { r.mutable_veth()->mutable_endpoint_a()->clear_location(); }}},
      {"veth.endpoint_b", {[](auto& r) { r.mutable_veth()->clear_endpoint_b(); }}},
      {"veth.endpoint_b.namespace",
       {[](auto& r) { r.mutable_veth()->mutable_endpoint_b()->set_namespace_(""); },
        [](auto& r) { r.mutable_veth()->mutable_endpoint_b()->set_namespace_("blue"); },
        [](auto& r) { r.mutable_veth()->mutable_endpoint_b()->set_namespace_("namespaces/.."); }}},
      {"veth.endpoint_b.netns_path",
       {[](auto& r) { r.mutable_veth()->mutable_endpoint_b()->set_netns_path(""); },
        [](auto& r) { r.mutable_veth()->mutable_endpoint_b()->set_netns_path("run/netns/blue"); },
        [](auto& r) { r.mutable_veth()->mutable_endpoint_b()->set_netns_path(std::string("/run/a\0b", 8)); },
        [](auto& r) { r.mutable_veth()->mutable_endpoint_b()->set_netns_path("/" + std::string(4095, 'x')); }}},
      {"veth.endpoint_b.pid",
       {[](auto& r) { r.mutable_veth()->mutable_endpoint_b()->set_pid(0); },
        [](auto& r) { r.mutable_veth()->mutable_endpoint_b()->set_pid(4194305); }}},
      {"veth.metadata.persistent", {[](auto& r) {
         r.mutable_veth()->mutable_endpoint_b()->set_pid(7);
         r.mutable_veth()->mutable_metadata()->set_persistent(true);
       }}},
      {"veth.endpoint_a.interface_name",
       {[](auto& r) { r.mutable_veth()->mutable_endpoint_a()->set_interface_name("sixteen-bytes-xx"); }}},
      {"veth.endpoint_a.mac_address",
       {[](auto& r) { r.mutable_veth()->mutable_endpoint_a()->set_mac_address("01:00:00:00:00:00"); }}},
      {"veth.endpoint_a.mtu", {[](auto& r) { r.mutable_veth()->mutable_endpoint_a()->set_mtu(67); }}},
      {"veth.endpoint_a.admin_state", {[](auto& r) {
         r.mutable_veth()->mutable_endpoint_a()->set_admin_state(static_cast<v1::VethEndpoint::AdminState>(7));
       }}},
      {"veth.endpoint_b.interface_name", {[](auto& r) {
         r.mutable_veth()->mutable_endpoint_b()->mutable_host();
         r.mutable_veth()->mutable_endpoint_b()->set_interface_name("h0");
       }}},
  };
  EXPECT_THAT(Faults(SomeRequest()), ElementsAre());
  for (const auto& [field, changes] : cases) {
    for (const Change& change : changes) {
      v1::CreateVethRequest request = SomeRequest();
      change(request);
      EXPECT_THAT(Faults(request), ElementsAre(field)) << request.DebugString();
    }
  }
}

TEST(VethRequestTest, TellsAllAtOnce) {
  v1::CreateVethRequest request;
  request.set_veth_id(" ");
  request.set_request_id(" ");
  v1::VethEndpoint bad;
  bad.set_interface_name("a b");
  bad.set_mac_address("x");
  bad.set_mtu(1);
  bad.set_admin_state(static_cast<v1::VethEndpoint::AdminState>(-1));
  *request.mutable_veth()->mutable_endpoint_a() = bad;
  *request.mutable_veth()->mutable_endpoint_b() = bad;
  EXPECT_THAT(Faults(request),
              UnorderedElementsAre("veth_id", "request_id", "veth.endpoint_a", "veth.endpoint_a.interface_name",
                                   "veth.endpoint_a.mac_address", "veth.endpoint_a.mtu", "veth.endpoint_a.admin_state",
                                   "veth.endpoint_b", "veth.endpoint_b.interface_name", "veth.endpoint_b.mac_address",
                                   "veth.endpoint_b.mtu", "veth.endpoint_b.admin_state"));
}

TEST(VethRequestTest, TwoEndsMayShareAPatternOrANameInTwoPlaces) {
  v1::CreateVethRequest request = SomeRequest();
  request.mutable_veth()->mutable_endpoint_b()->set_interface_name("h0");
  EXPECT_THAT(Faults(request), ElementsAre());
  request.mutable_veth()->mutable_endpoint_b()->mutable_host();
  request.mutable_veth()->mutable_endpoint_a()->set_interface_name("p%d");
  request.mutable_veth()->mutable_endpoint_b()->set_interface_name("p%d");
  EXPECT_THAT(Faults(request), ElementsAre());
}

TEST(VethRequestTest, AnEndMayBeAtAPathOrAProcess) {
  v1::CreateVethRequest request = SomeRequest();
  request.mutable_veth()->mutable_metadata()->set_persistent(true);
  const std::string longest = "/" + std::string(4094, 'x');
  request.mutable_veth()->mutable_endpoint_b()->set_netns_path(longest);
  EXPECT_EQ(ToCall(request)->spec.b.place, (engine::NetnsPlace{.path = longest, .pid = 0}));
  request.mutable_veth()->mutable_metadata()->clear_persistent();
  request.mutable_veth()->mutable_endpoint_b()->set_pid(4194304);
  EXPECT_EQ(ToCall(request)->spec.b.place, (engine::NetnsPlace{.path = "", .pid = 4194304}));
  EXPECT_TRUE(ToCall(request)->spec.a.is_at_host());

  // The same name in another place, and in the same.
  request.mutable_veth()->mutable_endpoint_b()->set_interface_name("h0");
  EXPECT_THAT(Faults(request), ElementsAre());
  request.mutable_veth()->mutable_endpoint_a()->set_pid(4194304);
  EXPECT_THAT(Faults(request), ElementsAre("veth.endpoint_b.interface_name"));
}

TEST(VethRequestTest, OthersBecomeCalls) {
  v1::GetVethRequest get;
  EXPECT_FALSE(ToCall(get).ok());
  get.set_name("veths/v");
  EXPECT_EQ(*ToCall(get), "v");
  v1::DeleteVethRequest del;
  del.set_name("veths/v");
  del.set_allow_missing(true);
  del.set_validate_only(true);
  del.set_request_id("8f14e45f-ceea-467f-a0e6-90ab5d3c1f52");
  const auto call = ToCall(del);
  ASSERT_TRUE(call.ok());
  EXPECT_EQ(call->id, "v");
  EXPECT_TRUE(call->allow_missing);
  EXPECT_TRUE(call->context.validate_only);
  EXPECT_FALSE(call->context.fingerprint.empty());
  v1::ListVethsRequest list;
  list.set_page_size(-1);
  EXPECT_FALSE(ToCall(list).ok());
}

TEST(VethToProtoTest, ShowsBothEnds) {
  const engine::Veth veth{
      .id = "v",
      .uid = "u",
      .create_time = absl::FromUnixSeconds(1700000000),
      .state = engine::State::kReady,
      .a = {.interface_name = "h0",
            .mac = netlink::MacAddress{{0x02, 0, 0, 0, 0, 0xab}},
            .mtu = 1500,
            .up = true,
            .ifindex = 3},
      .b = {.namespace_id = "my net", .interface_name = "veth0", .mtu = 9000, .up = false, .ifindex = 2}};
  const v1::Veth proto = ToProto(veth);
  EXPECT_EQ(proto.name(), "veths/v");
  EXPECT_EQ(proto.uid(), "u");
  EXPECT_EQ(proto.create_time().seconds(), 1700000000);
  EXPECT_EQ(proto.state(), v1::Veth::STATE_READY);
  EXPECT_TRUE(proto.endpoint_a().has_host());
  EXPECT_EQ(proto.endpoint_a().interface_name(), "h0");
  EXPECT_EQ(proto.endpoint_a().mac_address(), "02:00:00:00:00:ab");
  EXPECT_EQ(proto.endpoint_a().mtu(), 1500u);
  EXPECT_EQ(proto.endpoint_a().admin_state(), v1::VethEndpoint::ADMIN_STATE_UP);
  EXPECT_EQ(proto.endpoint_a().ifindex(), 3u);
  EXPECT_EQ(proto.endpoint_b().namespace_(), "namespaces/my%20net");
  EXPECT_EQ(proto.endpoint_b().mac_address(), "");
  EXPECT_EQ(proto.endpoint_b().admin_state(), v1::VethEndpoint::ADMIN_STATE_DOWN);
}

TEST(VethToProtoTest, ShowsPlacesAsTheyWereGiven) {
  engine::Veth veth{.a = {.interface_name = "p0", .place = engine::NetnsPlace{.path = "/run/x/../y", .pid = 0}},
                    .b = {.interface_name = "p1", .place = engine::NetnsPlace{.path = "", .pid = 7}}};
  const v1::Veth proto = ToProto(veth);
  EXPECT_EQ(proto.endpoint_a().netns_path(), "/run/x/../y");
  EXPECT_EQ(proto.endpoint_b().pid(), 7u);
}

TEST(VethToProtoTest, IsReadableWhateverTheLinkIsCalled) {
  engine::Veth veth{.a = {.interface_name = "\xff"}, .b = {.interface_name = "x"}};
  veth.state = engine::State::kMissing;
  const v1::Veth proto = ToProto(veth);
  EXPECT_EQ(proto.name(), "");
  EXPECT_EQ(proto.state(), v1::Veth::STATE_MISSING);
  EXPECT_EQ(proto.endpoint_a().interface_name(), "\\xff");
  EXPECT_TRUE(v1::Veth().ParseFromString(proto.SerializeAsString()));
}

TEST(VethResponseTest, APageFitsIntoAMessage) {
  engine::Page<engine::Veth> page;
  page.more = false;
  for (int i = 0; i < 1000; ++i) {
    engine::Veth veth;
    veth.id = "v" + std::to_string(1000 + i);
    for (int k = 0; k < 64; ++k) veth.metadata.labels["key" + std::to_string(k)] = std::string(255, 'v');
    page.items.push_back(std::move(veth));
  }
  const v1::ListVethsResponse proto = ToProto(page);
  EXPECT_LT(proto.ByteSizeLong(), size_t{4} << 20);
  ASSERT_GT(proto.veths_size(), 100);
  EXPECT_EQ(ParsePageToken("ListVeths", proto.next_page_token()),
            proto.veths(proto.veths_size() - 1).name().substr(std::string("veths/").size()));
}

}  // namespace
}  // namespace netprov::api
