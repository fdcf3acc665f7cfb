#include "server/api/bridge.h"

#include <chrono>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "netprov/v1/bridge.pb.h"
#include "server/api/errors.h"
#include "server/engine/engine.h"
#include "server/netlink/link_info.h"

namespace netprov::api {
namespace {

using ::testing::HasSubstr;

v1::CreateBridgeRequest Request() {
  v1::CreateBridgeRequest request;
  request.set_bridge_id("br0");
  request.mutable_bridge()->mutable_host();
  return request;
}

TEST(BridgeTest, LeastRequest) {
  const auto call = ToCall(Request());
  ASSERT_TRUE(call.ok()) << call.status();
  EXPECT_EQ(call->name, "bridges/br0");
  EXPECT_EQ(call->spec.link.namespace_id, "");
  EXPECT_EQ(call->spec.link.interface_name, "br%d");
  EXPECT_TRUE(call->spec.link.up);
  EXPECT_EQ(call->spec.link.mtu, std::nullopt);
  EXPECT_EQ(call->spec.options, engine::DeviceOptions(netlink::BridgeInfo()));
}

TEST(BridgeTest, EverythingSaidComesBack) {
  v1::CreateBridgeRequest request = Request();
  v1::Bridge& bridge = *request.mutable_bridge();
  bridge.set_namespace_("namespaces/blue");
  bridge.set_interface_name("lan");
  bridge.set_mac_address("02:00:00:00:00:07");
  bridge.set_mtu(1400);
  bridge.set_admin_state(v1::VethEndpoint::ADMIN_STATE_DOWN);
  bridge.add_addresses()->set_address("10.0.0.1/24");
  bridge.add_alternative_names("the-lan");
  bridge.set_stp(true);
  bridge.mutable_forward_delay()->set_seconds(2);
  bridge.mutable_forward_delay()->set_nanos(500'000'000);
  bridge.mutable_hello_time()->set_seconds(1);
  bridge.mutable_max_age()->set_seconds(6);
  bridge.mutable_ageing_time()->set_seconds(0);
  bridge.set_priority(0);
  bridge.set_vlan_filtering(false);
  bridge.set_default_pvid(0);
  bridge.set_multicast_snooping(false);
  bridge.set_group_forward_mask(0xfff8);
  const auto call = ToCall(request);
  ASSERT_TRUE(call.ok()) << call.status();
  const netlink::BridgeInfo expected{.stp = true,
                                     .forward_delay = netlink::Centiseconds(250),
                                     .hello_time = netlink::Centiseconds(100),
                                     .max_age = netlink::Centiseconds(600),
                                     .ageing_time = netlink::Centiseconds(0),
                                     .priority = 0,
                                     .vlan_filtering = false,
                                     .vlan_protocol = std::nullopt,
                                     .default_pvid = 0,
                                     .multicast_snooping = false,
                                     .group_forward_mask = 0xfff8};
  EXPECT_EQ(call->spec.options, engine::DeviceOptions(expected));

  const engine::EndpointSpec& link = call->spec.link;
  const engine::Device device{.name = call->name,
                              .uid = "u",
                              .create_time = absl::UnixEpoch(),
                              .state = engine::State::kDegraded,
                              .link = {.namespace_id = link.namespace_id,
                                       .interface_name = link.interface_name,
                                       .mac = link.mac,
                                       .mtu = *link.mtu,
                                       .up = link.up,
                                       .ifindex = 9,
                                       .config = link.config},
                              .options = call->spec.options,
                              .ports = {"veths/a", "veths/b"},
                              .metadata = {},
                              .expire_time = std::nullopt,
                              .deviations = {{.field = "stp", .expected = "true", .actual = "false"}}};
  v1::Bridge expected_proto = bridge;
  expected_proto.set_name("bridges/br0");
  expected_proto.set_uid("u");
  expected_proto.mutable_create_time();
  expected_proto.set_state(v1::Bridge::STATE_DEGRADED);
  expected_proto.set_ifindex(9);
  expected_proto.mutable_addresses(0)->set_scope(v1::Address::SCOPE_GLOBAL);
  expected_proto.mutable_metadata();
  expected_proto.add_ports("veths/a");
  expected_proto.add_ports("veths/b");
  v1::Deviation& deviation = *expected_proto.add_deviations();
  deviation.set_field("stp");
  deviation.set_expected("true");
  deviation.set_actual("false");
  EXPECT_EQ(ToBridge(device).DebugString(), expected_proto.DebugString());
}

TEST(BridgeTest, WrongFields) {
  using Edit = std::function<void(v1::CreateBridgeRequest&)>;
  const std::vector<std::pair<std::string, Edit>> wrong = {
      {"bridge_id", [](auto& r) { r.set_bridge_id("a/b"); }},
      {"bridge", [](auto& r) { r.clear_bridge(); }},
      {"bridge", [](auto& r) { r.mutable_bridge()->clear_location(); }},
      {"bridge.namespace", [](auto& r) { r.mutable_bridge()->set_namespace_("blue"); }},
      {"bridge.interface_name", [](auto& r) { r.mutable_bridge()->set_interface_name("a b"); }},
      {"bridge.mac_address", [](auto& r) { r.mutable_bridge()->set_mac_address("01:00:00:00:00:01"); }},
      {"bridge.mtu", [](auto& r) { r.mutable_bridge()->set_mtu(67); }},
      {"bridge.addresses[0].address",
       [](auto& r) { r.mutable_bridge()->add_addresses()->set_address("10.0.0.300/8"); }},
      {"bridge.addresses[0].duplicate_detection",
       [](auto& r) {
         v1::Address& address = *r.mutable_bridge()->add_addresses();
         address.set_address("2001:db8::1/64");
         address.set_duplicate_detection(v1::Address::DUPLICATE_DETECTION_WAIT);
       }},
      {"bridge.forward_delay", [](auto& r) { r.mutable_bridge()->mutable_forward_delay()->set_seconds(31); }},
      {"bridge.forward_delay", [](auto& r) { r.mutable_bridge()->mutable_forward_delay()->set_seconds(-1); }},
      {"bridge.hello_time", [](auto& r) { r.mutable_bridge()->mutable_hello_time(); }},
      {"bridge.max_age", [](auto& r) { r.mutable_bridge()->mutable_max_age()->set_seconds(5); }},
      {"bridge.ageing_time", [](auto& r) { r.mutable_bridge()->mutable_ageing_time()->set_seconds(1000001); }},
      {"bridge.priority", [](auto& r) { r.mutable_bridge()->set_priority(65536); }},
      {"bridge.default_pvid", [](auto& r) { r.mutable_bridge()->set_default_pvid(4095); }},
      {"bridge.group_forward_mask", [](auto& r) { r.mutable_bridge()->set_group_forward_mask(1); }},
      {"bridge.group_forward_mask", [](auto& r) { r.mutable_bridge()->set_group_forward_mask(65536); }},
      {"allow_existing",
       [](auto& r) {
         r.clear_bridge_id();
         r.set_allow_existing(true);
       }},
  };
  for (const auto& [field, edit] : wrong) {
    v1::CreateBridgeRequest request = Request();
    edit(request);
    const absl::Status status = ToCall(request).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << field;
    EXPECT_EQ(ReasonOf(status), "INVALID_FIELD") << field;
    EXPECT_THAT(std::string(status.message()), HasSubstr(field + " ")) << field;
  }
}

TEST(BridgeTest, NamesOfBridges) {
  v1::GetBridgeRequest get;
  get.set_name("bridges/br0");
  EXPECT_EQ(*ToCall(get), "bridges/br0");
  get.set_name("veths/br0");
  EXPECT_THAT(std::string(ToCall(get).status().message()), HasSubstr("bridges/{bridge}"));
  v1::DeleteBridgeRequest del;
  del.set_name("bridges/br0");
  EXPECT_EQ(ToCall(del)->name, "bridges/br0");
}

TEST(BridgeTest, PagesGoOnByName) {
  engine::Page<engine::Device> page;
  page.items.emplace_back().name = "bridges/a";
  page.more = true;
  const v1::ListBridgesResponse answer = ToBridges(page);
  ASSERT_EQ(answer.bridges_size(), 1);
  v1::ListBridgesRequest next;
  next.set_page_token(answer.next_page_token());
  EXPECT_EQ(ToCall(next)->after, "bridges/a");
}

TEST(BridgeUpdateTest, ChangesWhatIsNamedAlone) {
  v1::UpdateBridgeRequest request;
  request.mutable_bridge()->set_name("bridges/br");
  request.mutable_bridge()->set_stp(true);
  request.mutable_bridge()->mutable_ageing_time()->set_seconds(60);
  for (const char* path : {"stp", "ageing_time", "priority", "addresses"})
    request.mutable_update_mask()->add_paths(path);
  const auto call = ToCall(request);
  ASSERT_TRUE(call.ok()) << call.status();
  EXPECT_EQ(call->name, "bridges/br");
  engine::Asked<engine::DeviceSpec> present{
      .spec = {.link = {.namespace_id = "blue", .interface_name = "br%d", .mtu = 1400},
               .options = netlink::BridgeInfo{.priority = 7, .group_forward_mask = 8}},
      .metadata = {.owner = "ci"}};
  present.spec.link.config.ip.addresses = {{.local = *netlink::IpPrefix::Parse("10.0.0.1/24"), .peer = std::nullopt}};
  const auto asked = call->edit(present);
  ASSERT_TRUE(asked.ok()) << asked.error()[0].field << " " << asked.error()[0].description;
  present.spec.link.config.ip.addresses.clear();
  present.spec.options = netlink::BridgeInfo{
      .stp = true, .ageing_time = netlink::Centiseconds(6000), .priority = std::nullopt, .group_forward_mask = 8};
  EXPECT_EQ(asked->spec, present.spec);
  EXPECT_EQ(asked->metadata, present.metadata);

  request.mutable_bridge()->mutable_ageing_time()->set_seconds(-1);
  EXPECT_EQ(ToCall(request)->edit(present).error()[0].field, "bridge.ageing_time");
  for (const char* path : {"namespace", "interface_name", "ports", "uid", "name"}) {
    request.mutable_update_mask()->set_paths(0, path);
    EXPECT_EQ(ReasonOf(ToCall(request).status()), "INVALID_FIELD") << path;
  }
}

}  // namespace
}  // namespace netprov::api
