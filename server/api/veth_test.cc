#include "server/api/veth.h"

#include <functional>
#include <map>
#include <string>
#include <utility>
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
  request.set_create_namespaces(true);
  const auto call = ToCall(request);
  ASSERT_TRUE(call.ok()) << call.status();
  EXPECT_EQ(call->id, "v");
  EXPECT_TRUE(call->allow_existing);
  EXPECT_TRUE(call->create_namespaces);
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
      {"create_namespaces", {[](auto& r) {
         r.set_create_namespaces(true);
         r.mutable_veth()->mutable_endpoint_b()->set_netns_path("/run/place");
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

// An end with something of everything that can be asked for.
engine::EndpointSpec FullEnd() {
  const auto spec = [] {
    v1::VethEndpoint end;
    end.set_namespace_("namespaces/blue");
    end.set_interface_name("eth%d");
    end.set_mac_address("02:00:00:00:00:01");
    end.set_mtu(1400);
    end.add_addresses()->set_address("10.0.0.2/24");
    v1::Address& peer = *end.add_addresses();
    peer.set_address("10.0.2.2/32");
    peer.set_peer("10.0.2.1");
    end.add_addresses()->set_address("2001:db8::2/64");
    end.add_gateways("10.0.0.1");
    end.add_gateways("2001:db8::1");
    v1::Route& route = *end.add_routes();
    route.set_destination("10.1.0.0/16");
    route.set_gateway("10.0.0.1");
    route.set_metric(7);
    route.set_table(100);
    route.set_mtu(1300);
    v1::Route& blackhole = *end.add_routes();
    blackhole.set_destination("10.9.0.0/16");
    blackhole.set_type(v1::Route::TYPE_BLACKHOLE);
    v1::Neighbor& neighbor = *end.add_neighbors();
    neighbor.set_address("10.0.0.9");
    neighbor.set_mac_address("02:00:00:00:00:09");
    end.add_alternative_names("another");
    end.set_tx_queues(2);
    end.set_rx_queues(3);
    end.set_promiscuous(true);
    end.set_all_multicast(true);
    end.set_alias("to the lab");
    end.set_announce(true);
    end.mutable_offload_limits()->set_gso_max_size(1000);
    end.set_bridge("bridges/br");
    end.mutable_bridge_port()->set_isolated(true);
    end.mutable_bridge_port()->set_cost(7);
    v1::BridgeVlan& vlan = *end.mutable_bridge_port()->add_vlans();
    vlan.set_first(10);
    vlan.set_last(20);
    Violations violations;
    engine::EndpointSpec read = ToSpec("end", end, violations);
    EXPECT_TRUE(violations.empty());
    return read;
  };
  return spec();
}

v1::UpdateVethRequest SomeUpdate(const std::vector<std::string>& paths) {
  v1::UpdateVethRequest request;
  request.mutable_veth()->set_name("veths/v");
  request.mutable_update_mask()->mutable_paths()->Add(paths.begin(), paths.end());
  return request;
}

TEST(VethUpdateTest, WhatIsNotNamedStaysAsItWasAskedFor) {
  engine::Asked<engine::VethSpec> present{
      .spec = {.a = {.interface_name = "h0", .up = false}, .b = FullEnd()},
      .metadata = {.owner = "ci", .labels = {{"a", "b"}}, .ttl = absl::Seconds(90)}};
  v1::UpdateVethRequest request = SomeUpdate({"endpoint_b.mtu"});
  request.mutable_veth()->mutable_endpoint_b()->set_mtu(1500);
  // Not in the mask, and so of no account.
  request.mutable_veth()->mutable_endpoint_b()->set_interface_name("other");
  const auto call = ToCall(request);
  ASSERT_TRUE(call.ok()) << call.status();
  EXPECT_EQ(call->id, "v");
  const auto asked = call->edit(present);
  ASSERT_TRUE(asked.ok()) << asked.error()[0].field << " " << asked.error()[0].description;
  engine::Asked<engine::VethSpec> expected = present;
  expected.spec.b.mtu = 1500;
  EXPECT_EQ(asked->spec, expected.spec);
  EXPECT_EQ(asked->metadata, expected.metadata);
}

TEST(VethUpdateTest, ABurstThatNobodyAskedForFollowsTheRateAndTheMtu) {
  auto updated = [](const engine::RateLimit& limit, const std::string& path, const auto& edit) {
    engine::Asked<engine::VethSpec> present{
        .spec = {.a = {.interface_name = "h0"}, .b = {.namespace_id = "blue", .interface_name = "eth0"}}};
    present.spec.b.config.egress_limit = limit;
    v1::UpdateVethRequest request = SomeUpdate({path});
    edit(*request.mutable_veth()->mutable_endpoint_b());
    return ToCall(request)->edit(present)->spec.b.config.egress_limit;
  };
  const engine::RateLimit usual{.rate = 10'000'000, .burst = 32768, .latency = absl::Milliseconds(20)};
  auto faster = [](v1::VethEndpoint& end) { end.mutable_egress_limit()->set_rate(1'000'000'000); };
  const auto of_rate = updated(usual, "endpoint_b.egress_limit.rate", faster);
  EXPECT_EQ(of_rate, (engine::RateLimit{.rate = 1'000'000'000, .burst = 1'250'000, .latency = usual.latency}));
  const auto of_mtu = updated(usual, "endpoint_b.mtu", [](v1::VethEndpoint& end) { end.set_mtu(65535); });
  EXPECT_EQ(of_mtu, (engine::RateLimit{.rate = usual.rate, .burst = 65549, .latency = usual.latency}));
  engine::RateLimit asked = usual;
  asked.burst = 40000;
  const auto kept = updated(asked, "endpoint_b.egress_limit.rate", faster);
  EXPECT_EQ(kept, (engine::RateLimit{.rate = 1'000'000'000, .burst = 40000, .latency = usual.latency}));
}

TEST(VethUpdateTest, WhatIsNamedAndLeftOutIsTakenAway) {
  const engine::Asked<engine::VethSpec> present{.spec = {.a = {.interface_name = "h0"}, .b = FullEnd()},
                                                .metadata = {.owner = "ci", .labels = {{"a", "b"}}}};
  const auto call = ToCall(SomeUpdate({"endpoint_b", "metadata"}));
  ASSERT_TRUE(call.ok()) << call.status();
  const auto asked = call->edit(present);
  ASSERT_TRUE(asked.ok()) << asked.error()[0].field << " " << asked.error()[0].description;
  engine::EndpointSpec bare{.namespace_id = "blue", .interface_name = "eth%d"};
  bare.config.options.tx_queues = 2;
  bare.config.options.rx_queues = 3;
  bare.config.announce = true;
  EXPECT_EQ(asked->spec.b, bare) << "where it lives, its name, its queues and what was announced stay";
  EXPECT_EQ(asked->metadata, engine::Metadata());
  // An end that leaves its bridge leaves the port's settings behind.
  const auto leaves = ToCall(SomeUpdate({"endpoint_b.bridge"}))->edit(present);
  ASSERT_TRUE(leaves.ok());
  EXPECT_TRUE(leaves->spec.b.config.port.empty());
  EXPECT_EQ(leaves->spec.b.config.ip, present.spec.b.config.ip);
}

TEST(VethUpdateTest, ABridgeOfSomebodyElsesTakesThePlaceOfOnesOwn) {
  const engine::Asked<engine::VethSpec> present{.spec = {.a = {.interface_name = "h0"}, .b = FullEnd()},
                                                .metadata = {}};
  v1::UpdateVethRequest request = SomeUpdate({"endpoint_b.bridge", "endpoint_b.bridge_interface"});
  request.mutable_veth()->mutable_endpoint_b()->set_bridge_interface("br-lan");
  const auto changes = ToCall(request)->edit(present);
  ASSERT_TRUE(changes.ok()) << changes.error()[0].description;
  EXPECT_EQ(changes->spec.b.config.bridge, "");
  EXPECT_EQ(changes->spec.b.config.bridge_interface, "br-lan");
  EXPECT_EQ(changes->spec.b.config.port, present.spec.b.config.port) << "what is not named stays";
  const engine::Asked<engine::VethSpec> foreign{.spec = changes->spec, .metadata = {}};
  const auto leaves = ToCall(SomeUpdate({"endpoint_b.bridge_interface"}))->edit(foreign);
  ASSERT_TRUE(leaves.ok());
  EXPECT_FALSE(leaves->spec.b.config.IsPort());
  EXPECT_TRUE(leaves->spec.b.config.port.empty());
  // It has one already.
  request = SomeUpdate({"endpoint_b.bridge_interface"});
  request.mutable_veth()->mutable_endpoint_b()->set_bridge_interface("br-lan");
  const auto both = ToCall(request)->edit(present);
  ASSERT_FALSE(both.ok());
  EXPECT_EQ(both.error()[0].field, "veth.endpoint_b.bridge_interface");
}

TEST(VethUpdateTest, WhatCouldNotBeCreatedIsRefused) {
  engine::Asked<engine::VethSpec> present{.spec = {.a = {.interface_name = "h0"}, .b = FullEnd()}, .metadata = {}};
  v1::UpdateVethRequest request = SomeUpdate({"endpoint_b.addresses"});
  request.mutable_veth()->mutable_endpoint_b()->add_addresses()->set_address("10.7.0.2/24");
  auto asked = ToCall(request)->edit(present);
  ASSERT_FALSE(asked.ok()) << "the gateways are out of reach";
  EXPECT_EQ(asked.error()[0].field, "veth.endpoint_b.routes[0].gateway");
  request = SomeUpdate({"endpoint_a.bridge_port.isolated"});
  request.mutable_veth()->mutable_endpoint_a()->mutable_bridge_port()->set_isolated(true);
  asked = ToCall(request)->edit(present);
  ASSERT_FALSE(asked.ok());
  EXPECT_EQ(asked.error()[0].field, "veth.endpoint_a.bridge_port");
}

TEST(VethUpdateTest, RefusesWhatIsNoPairAndWhatCannotChange) {
  for (const auto& [name, path] : std::vector<std::pair<std::string, std::string>>{{"", "metadata.labels"},
                                                                                   {"bridges/b", "metadata.labels"},
                                                                                   {"veths/v", "endpoint_a.host"},
                                                                                   {"veths/v", "endpoint_a.announce"},
                                                                                   {"veths/v", "x"}}) {
    v1::UpdateVethRequest request = SomeUpdate({path});
    request.mutable_veth()->set_name(name);
    EXPECT_EQ(ReasonOf(ToCall(request).status()), "INVALID_FIELD") << name << " " << path;
  }
}

TEST(VethUpdateTest, ABridgeThatIsNamedIsOneOfItsKeys) {
  v1::UpdateVethRequest request = SomeUpdate({"endpoint_a.bridge"});
  request.mutable_veth()->mutable_endpoint_a()->set_bridge("bridges/br");
  EXPECT_THAT(ToCall(request)->bridges, ElementsAre("bridges/br"));
}

}  // namespace
}  // namespace netprov::api
