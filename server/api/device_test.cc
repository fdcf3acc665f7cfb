#include "server/api/device.h"

#include <functional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"
#include "netprov/v1/device.pb.h"
#include "server/api/errors.h"
#include "server/engine/engine.h"
#include "server/netlink/link_info.h"

namespace netprov::api {
namespace {

using ::testing::HasSubstr;

// `things` in the text format of Device.
v1::CreateDeviceRequest Request(const std::string& things) {
  v1::CreateDeviceRequest request;
  request.set_device_id("d");
  request.mutable_device()->mutable_host();
  EXPECT_TRUE(google::protobuf::TextFormat::MergeFromString(things, request.mutable_device())) << things;
  return request;
}

TEST(DeviceTest, LeastRequests) {
  const std::pair<const char*, const char*> kinds[] = {{R"(macvlan {} lower_interface: "eth0")", "macvlan%d"},
                                                       {"vxlan { vni: 1 }", "vxlan%d"},
                                                       {R"(vlan { id: 1 } lower_interface: "eth0")", "vlan%d"},
                                                       {R"(ipvlan {} lower_interface: "eth0")", "ipvlan%d"},
                                                       {"dummy {}", "dummy%d"},
                                                       {"ifb {}", "ifb%d"}};
  for (const auto& [things, pattern] : kinds) {
    SCOPED_TRACE(things);
    const auto call = ToCall(Request(things));
    ASSERT_TRUE(call.ok()) << call.status();
    EXPECT_EQ(call->name, "devices/d");
    EXPECT_EQ(call->spec.link.interface_name, pattern);
    EXPECT_EQ(engine::KindOf(call->spec.options) + "%d", pattern);
    EXPECT_EQ(call->spec.lower.namespace_id, "");
  }
  const auto macvlan = ToCall(Request(R"(macvlan {} lower_interface: "eth0")"));
  EXPECT_EQ(std::get<netlink::MacvlanInfo>(macvlan->spec.options).mode, netlink::MacvlanMode::kBridge);
  const auto vxlan = ToCall(Request("vxlan { vni: 1 }"));
  netlink::VxlanInfo defaults;
  defaults.vni = 1;
  EXPECT_EQ(std::get<engine::VxlanOptions>(vxlan->spec.options).info, defaults);
  const auto ipvlan = ToCall(Request(R"(ipvlan {} lower_interface: "eth0")"));
  EXPECT_EQ(std::get<netlink::IpvlanInfo>(ipvlan->spec.options), netlink::IpvlanInfo());
}

TEST(DeviceTest, EverythingSaidComesBack) {
  const char* kinds[] = {
      R"(macvlan { mode: MODE_PRIVATE } lower_interface: "eth0")",
      R"(macvlan { mode: MODE_VEPA } lower_interface: "eth0")",
      R"(macvlan { mode: MODE_BRIDGE } lower_interface: "eth0")",
      R"(macvlan { mode: MODE_SOURCE source_mac_addresses: ["02:00:00:00:00:01", "02:00:00:00:00:02"] }
         lower_interface: "eth0" lower_namespace: "namespaces/red")",
      R"(vxlan { vni: 16777215 local: "192.0.2.1" remote: "239.0.0.1" port: 65535 ttl: 255 learning: false proxy: true
                 ageing_time { seconds: 1000000 }
                 fdb { mac_address: "00:00:00:00:00:00" destination: "192.0.2.2" port: 1 vni: 2 }
                 fdb { mac_address: "00:00:00:00:00:00" destination: "192.0.2.3" }
                 fdb { mac_address: "02:00:00:00:00:01" destination: "192.0.2.2" } }
         lower_interface: "eth0")",
      R"(vxlan { vni: 1 local: "2001:db8::1" port: 1 learning: true ageing_time { seconds: 1 }
                 fdb { mac_address: "01:00:5e:00:00:01" destination: "2001:db8::2" } }
         lower_namespace: "namespaces/red")",
      R"(vlan { id: 4094 protocol: PROTOCOL_DOT1AD } lower_interface: "eth0")",
      R"(vlan { id: 1 protocol: PROTOCOL_DOT1Q } lower_interface: "eth0")",
      R"(ipvlan { mode: MODE_L2 mode_flag: MODE_FLAG_PRIVATE } lower_interface: "eth0")",
      R"(ipvlan { mode: MODE_L3 mode_flag: MODE_FLAG_VEPA } lower_interface: "eth0")",
      R"(ipvlan { mode: MODE_L3S mode_flag: MODE_FLAG_BRIDGE } lower_interface: "eth0")",
      "dummy {}",
      "ifb {}"};
  for (const char* things : kinds) {
    SCOPED_TRACE(things);
    v1::CreateDeviceRequest request = Request(things);
    v1::Device& device = *request.mutable_device();
    device.set_namespace_("namespaces/blue");
    device.set_interface_name("d0");
    device.set_mtu(1400);
    device.set_admin_state(v1::VethEndpoint::ADMIN_STATE_UP);
    device.add_addresses()->set_address("10.0.0.2/24");
    device.add_gateways("10.0.0.1");
    device.add_routes()->set_destination("10.1.0.0/16");
    device.add_alternative_names("other");
    device.set_bridge("bridges/br");
    device.mutable_bridge_port()->set_isolated(true);
    device.mutable_bridge_port()->set_cost(7);
    const auto call = ToCall(request);
    ASSERT_TRUE(call.ok()) << call.status();
    const engine::EndpointSpec& link = call->spec.link;
    const v1::Device answer = ToDevice({.name = call->name,
                                        .uid = "u",
                                        .create_time = absl::UnixEpoch(),
                                        .link = {.namespace_id = link.namespace_id,
                                                 .interface_name = link.interface_name,
                                                 .mac = link.mac,
                                                 .mtu = *link.mtu,
                                                 .up = link.up,
                                                 .config = link.config},
                                        .options = call->spec.options,
                                        .lower = call->spec.lower});
    v1::Device expected = answer;
    // Repeated fields would be there twice.
    expected.clear_addresses();
    expected.clear_gateways();
    expected.clear_routes();
    expected.clear_alternative_names();
    expected.clear_kind();
    v1::Device asked = device;
    *asked.mutable_routes() = answer.routes();
    *asked.mutable_addresses() = answer.addresses();
    expected.MergeFrom(asked);
    EXPECT_EQ(answer.DebugString(), expected.DebugString());
    EXPECT_EQ(answer.routes_size(), 1);
  }
}

TEST(DeviceTest, WhatIsWrongIsSaid) {
  const struct {
    const char* things;
    const char* message;
  } kCases[] = {
      {"", "device must say what it is"},
      {"macvlan {}", "device.lower_interface must be set"},
      {"vlan { id: 1 }", "device.lower_interface must be set"},
      {"ipvlan {}", "device.lower_interface must be set"},
      {R"(dummy {} lower_interface: "eth0")", "device.lower_interface must not be set"},
      {R"(ifb {} lower_namespace: "namespaces/blue")", "device.lower_namespace must not be set"},
      {R"(macvlan {} lower_interface: "eth%d")", "device.lower_interface must be the name of a link"},
      {R"(macvlan {} lower_interface: "a/b")", "device.lower_interface must be 1 to 15"},
      {R"(macvlan {} lower_interface: "eth0" lower_namespace: "blue")", "device.lower_namespace must have the form"},
      {R"(macvlan { mode: MODE_PASSTHRU } lower_interface: "eth0" mac_address: "02:00:00:00:00:01")",
       "device.mac_address must not be set"},
      {R"(ipvlan {} lower_interface: "eth0" mac_address: "02:00:00:00:00:01")", "device.mac_address must not be set"},
      {R"(macvlan { source_mac_addresses: "02:00:00:00:00:01" } lower_interface: "eth0")",
       "device.macvlan.source_mac_addresses must not be set but in MODE_SOURCE"},
      {R"(macvlan { mode: MODE_SOURCE source_mac_addresses: "" } lower_interface: "eth0")",
       "device.macvlan.source_mac_addresses[0] must be a MAC address"},
      {R"(macvlan { mode: MODE_SOURCE source_mac_addresses: "01:00:00:00:00:01" } lower_interface: "eth0")",
       "device.macvlan.source_mac_addresses[0] must be unicast"},
      {R"(macvlan { mode: MODE_SOURCE source_mac_addresses: ["02:00:00:00:00:01", "02:00:00:00:00:01"] }
          lower_interface: "eth0")",
       "device.macvlan.source_mac_addresses[1] must differ"},
      {"vxlan {}", "device.vxlan.vni must be 1 to 16777215, but is 0"},
      {"vxlan { vni: 16777216 }", "device.vxlan.vni must be"},
      {"vxlan { vni: 1 port: 65536 }", "device.vxlan.port must be"},
      {"vxlan { vni: 1 ttl: 256 }", "device.vxlan.ttl must be"},
      {R"(vxlan { vni: 1 local: "x" })", "device.vxlan.local must be an IP address"},
      {R"(vxlan { vni: 1 local: "0.0.0.0" })", "device.vxlan.local must be the address of a host"},
      {R"(vxlan { vni: 1 local: "239.0.0.1" })", "device.vxlan.local must be the address of a host"},
      {R"(vxlan { vni: 1 remote: "::" })", "device.vxlan.remote must be the address of an endpoint or a group"},
      {R"(vxlan { vni: 1 remote: "ff05::1" })", "device.lower_interface must be set where vxlan.remote"},
      {R"(vxlan { vni: 1 local: "192.0.2.1" remote: "2001:db8::1" })", "device.vxlan.local must be of the same family"},
      {"vxlan { vni: 1 ageing_time { seconds: -1 } }", "device.vxlan.ageing_time must be whole seconds"},
      {"vxlan { vni: 1 ageing_time {} }", "device.vxlan.ageing_time must be whole seconds"},
      {"vxlan { vni: 1 ageing_time { nanos: 1 } }", "device.vxlan.ageing_time must be whole seconds"},
      {R"(vxlan { vni: 1 fdb { mac_address: "x" destination: "192.0.2.1" } })",
       "device.vxlan.fdb[0].mac_address must be a MAC address"},
      {R"(vxlan { vni: 1 fdb { mac_address: "02:00:00:00:00:01" } })",
       "device.vxlan.fdb[0].destination must be an IP address"},
      {R"(vxlan { vni: 1 fdb { mac_address: "02:00:00:00:00:01" destination: "192.0.2.1" port: 70000 } })",
       "device.vxlan.fdb[0].port must be"},
      {R"(vxlan { vni: 1 fdb { mac_address: "02:00:00:00:00:01" destination: "192.0.2.1" vni: 16777216 } })",
       "device.vxlan.fdb[0].vni must be"},
      {R"(vxlan { vni: 1 fdb { mac_address: "02:00:00:00:00:01" destination: "2001:db8::1" } })",
       "device.vxlan.fdb must have destinations of the family"},
      {R"(vxlan { vni: 1 fdb { mac_address: "02:00:00:00:00:01" destination: "192.0.2.1" }
                         fdb { mac_address: "02:00:00:00:00:01" destination: "192.0.2.2" } })",
       "device.vxlan.fdb[1] must differ"},
      {R"(vlan {} lower_interface: "eth0")", "device.vlan.id must be 1 to 4094"},
      {R"(vlan { id: 4095 } lower_interface: "eth0")", "device.vlan.id must be 1 to 4094"},
      {R"(dummy {} routes { destination: "10.0.0.0/8" type: TYPE_BLACKHOLE })", "device.routes[0].type must be"},
      {R"(dummy {} gateways: "10.0.0.1")", "device.gateways[0] must be within"},
      {"dummy {} mtu: 67", "device.mtu must be"},
      {R"(dummy {} interface_name: "a b")", "device.interface_name must be"},
      {R"(dummy {} bridge: "br0")", "device.bridge must have the form bridges/{bridge}"},
      {R"(dummy {} bridge: "bridges/br" bridge_interface: "br-lan")", "device.bridge_interface must not be set beside"},
      {"dummy {} bridge_port { hairpin: true }", "device.bridge_port must not be set without"},
      {R"(dummy {} bridge: "bridges/br" bridge_port { cost: 65536 })", "device.bridge_port.cost must be"},
  };
  for (const auto& [things, message] : kCases) {
    SCOPED_TRACE(things);
    const auto call = ToCall(Request(things));
    ASSERT_FALSE(call.ok());
    EXPECT_EQ(ReasonOf(call.status()), "INVALID_FIELD");
    EXPECT_THAT(std::string(call.status().message()), HasSubstr(message));
  }
}

TEST(DeviceTest, UnknownEnumsAndMissingParts) {
  const std::pair<std::function<void(v1::CreateDeviceRequest&)>, const char*> kCases[] = {
      {[](auto& request) { request.mutable_device()->mutable_macvlan()->set_mode(static_cast<v1::Macvlan::Mode>(9)); },
       "device.macvlan.mode"},
      {[](auto& request) { request.mutable_device()->mutable_ipvlan()->set_mode(static_cast<v1::Ipvlan::Mode>(9)); },
       "device.ipvlan.mode"},
      {[](auto& request) {
         request.mutable_device()->mutable_ipvlan()->set_mode_flag(static_cast<v1::Ipvlan::ModeFlag>(9));
       },
       "device.ipvlan.mode_flag"},
      {[](auto& request) {
         request.mutable_device()->mutable_vlan()->set_id(1);
         request.mutable_device()->mutable_vlan()->set_protocol(static_cast<v1::Vlan::Protocol>(9));
       },
       "device.vlan.protocol"},
      {[](auto& request) { request.clear_device(); }, "device must be set"},
      {[](auto& request) { request.mutable_device()->clear_host(); }, "device must say where it lives"},
      {[](auto& request) { request.set_device_id("-"); }, "device_id must"},
      {[](auto& request) {
         request.clear_device_id();
         request.set_allow_existing(true);
       },
       "allow_existing must not be set"},
  };
  for (const auto& [change, message] : kCases) {
    SCOPED_TRACE(message);
    v1::CreateDeviceRequest request = Request(R"(macvlan {} lower_interface: "eth0")");
    change(request);
    const auto call = ToCall(request);
    ASSERT_FALSE(call.ok());
    EXPECT_THAT(std::string(call.status().message()), HasSubstr(message));
  }
  v1::CreateDeviceRequest many = Request("vxlan { vni: 1 }");
  for (int i = 0; i < 1025; ++i) many.mutable_device()->mutable_vxlan()->add_fdb();
  EXPECT_THAT(std::string(ToCall(many).status().message()), HasSubstr("device.vxlan.fdb must be at most 1024"));
}

TEST(DeviceTest, NamesOfOtherRequests) {
  v1::GetDeviceRequest get;
  get.set_name("devices/d");
  EXPECT_EQ(*ToCall(get), "devices/d");
  get.set_name("bridges/d");
  EXPECT_THAT(std::string(ToCall(get).status().message()), HasSubstr("name must have the form devices/{device}"));
  v1::DeleteDeviceRequest del;
  del.set_name("devices/d");
  del.set_allow_missing(true);
  EXPECT_EQ(ToCall(del)->name, "devices/d");
  EXPECT_TRUE(ToCall(del)->allow_missing);
  del.set_name("d");
  EXPECT_FALSE(ToCall(del).ok());
  v1::ListDevicesRequest list;
  list.set_page_size(-1);
  EXPECT_FALSE(ToCall(list).ok());
}

TEST(DeviceTest, EntriesThatAreOneInTheKernelAreRefused) {
  const std::string zero = R"(mac_address: "00:00:00:00:00:00" destination: "192.0.2.2")";
  for (const std::string& things : {"vxlan { vni: 7 fdb { " + zero + " } fdb { " + zero + " port: 4789 } }",
                                    "vxlan { vni: 7 fdb { " + zero + " vni: 7 } fdb { " + zero + " } }",
                                    "vxlan { vni: 7 remote: '192.0.2.2' fdb { " + zero + " } }",
                                    "vxlan { vni: 7 port: 99 remote: '192.0.2.2' fdb { " + zero + " port: 99 } }"}) {
    const auto call = ToCall(Request(things));
    ASSERT_FALSE(call.ok()) << things;
    EXPECT_THAT(std::string(call.status().message()), HasSubstr("device.vxlan.fdb[")) << things;
  }
  EXPECT_TRUE(ToCall(Request("vxlan { vni: 7 remote: '192.0.2.2' fdb { " + zero + " port: 99 } }")).ok());
}

v1::UpdateDeviceRequest UpdateRequest(const std::string& things, const std::vector<std::string>& paths) {
  v1::UpdateDeviceRequest request;
  request.mutable_device()->set_name("devices/d");
  EXPECT_TRUE(google::protobuf::TextFormat::MergeFromString(things, request.mutable_device())) << things;
  request.mutable_update_mask()->mutable_paths()->Add(paths.begin(), paths.end());
  return request;
}

TEST(DeviceUpdateTest, ChangesWhatIsNamedAlone) {
  const auto created = ToCall(Request(R"(
      vxlan { vni: 7 local: "192.0.2.1" remote: "192.0.2.2" ttl: 3 learning: false proxy: true
              fdb { mac_address: "02:00:00:00:00:01" destination: "192.0.2.4" } }
      mtu: 1400 addresses { address: "10.0.0.1/24" })"));
  ASSERT_TRUE(created.ok()) << created.status();
  const engine::Asked<engine::DeviceSpec> present{.spec = created->spec, .metadata = {.owner = "ci"}};
  const auto call = ToCall(UpdateRequest(R"(vxlan { ttl: 9 } mac_address: "02:00:00:00:00:09")",
                                         {"vxlan.ttl", "vxlan.remote", "vxlan.fdb", "addresses"}));
  ASSERT_TRUE(call.ok()) << call.status();
  EXPECT_EQ(call->name, "devices/d");
  const auto asked = call->edit(present);
  ASSERT_TRUE(asked.ok()) << asked.error()[0].field << " " << asked.error()[0].description;
  engine::DeviceSpec expected = present.spec;
  auto& vxlan = std::get<engine::VxlanOptions>(expected.options);
  vxlan.info.ttl = 9;
  vxlan.info.remote.reset();
  vxlan.fdb.clear();
  expected.link.config.ip.addresses.clear();
  EXPECT_EQ(asked->spec, expected);
  EXPECT_EQ(asked->metadata, present.metadata);
  // All of its kind, without a word of the others.
  const auto all = ToCall(UpdateRequest("vxlan { ttl: 9 }", {"*"}));
  ASSERT_TRUE(all.ok()) << all.status();
  const auto bare = all->edit(present);
  ASSERT_TRUE(bare.ok()) << bare.error()[0].field << " " << bare.error()[0].description;
  EXPECT_EQ(std::get<engine::VxlanOptions>(bare->spec.options).info.vni, 7u);
  EXPECT_TRUE(std::get<engine::VxlanOptions>(bare->spec.options).info.learning);
  EXPECT_EQ(bare->spec.link.mtu, std::nullopt);
}

TEST(DeviceUpdateTest, ItJoinsAndLeavesABridge) {
  const auto created = ToCall(Request("ifb {}"));
  const auto join =
      ToCall(UpdateRequest(R"(bridge: "bridges/br" bridge_port { hairpin: true })", {"bridge", "bridge_port.hairpin"}));
  ASSERT_TRUE(join.ok()) << join.status();
  EXPECT_THAT(join->bridges, ::testing::ElementsAre("bridges/br"));
  const auto joined = join->edit({.spec = created->spec, .metadata = {}});
  ASSERT_TRUE(joined.ok());
  EXPECT_EQ(joined->spec.link.config.bridge, "bridges/br");
  EXPECT_EQ(joined->spec.link.config.port.settings.hairpin, true);
  const engine::Asked<engine::DeviceSpec> port{.spec = joined->spec, .metadata = {}};
  // The settings go with the bridge.
  EXPECT_EQ(ToCall(UpdateRequest("", {"bridge"}))->edit(port)->spec, created->spec);
  const auto changed =
      ToCall(UpdateRequest(R"(bridge_interface: "br-lan")", {"bridge", "bridge_interface"}))->edit(port);
  ASSERT_TRUE(changed.ok());
  EXPECT_EQ(changed->spec.link.config.bridge, "");
  EXPECT_EQ(changed->spec.link.config.bridge_interface, "br-lan");
  EXPECT_EQ(changed->spec.link.config.port.settings.hairpin, true);
  const auto alone = ToCall(UpdateRequest("bridge_port { hairpin: true }", {"bridge_port"}));
  EXPECT_EQ(alone->edit({.spec = created->spec, .metadata = {}}).error()[0].field, "device.bridge_port");
}

TEST(DeviceUpdateTest, RefusesWhatNeverChangesAndWhatIsOfAnotherKind) {
  for (const char* path : {"name", "host", "interface_name", "lower_interface", "vxlan.vni", "vxlan.port", "vlan",
                           "vlan.id", "dummy", "uid", "metadata.expire_time", "vxlan.fdb.port", "macvlan.color"}) {
    EXPECT_EQ(ReasonOf(ToCall(UpdateRequest("", {path})).status()), "INVALID_FIELD") << path;
  }
  const auto created = ToCall(Request("vxlan { vni: 7 }"));
  const engine::Asked<engine::DeviceSpec> present{.spec = created->spec, .metadata = {}};
  const auto other = ToCall(UpdateRequest("macvlan { mode: MODE_VEPA }", {"macvlan.mode"}))->edit(present);
  ASSERT_FALSE(other.ok());
  EXPECT_EQ(other.error()[0].field, "device.macvlan");
  EXPECT_EQ(other.error()[1].field, "update_mask");
  EXPECT_THAT(other.error()[1].description, HasSubstr("\"macvlan.mode\" is none of a vxlan"));
  EXPECT_FALSE(ToCall(UpdateRequest("macvlan {}", {"*"}))->edit(present).ok());
  EXPECT_FALSE(ToCall(UpdateRequest("", {"ipvlan.mode"}))->edit(present).ok());
  // The family stays.
  EXPECT_EQ(ToCall(UpdateRequest("vxlan { local: '2001:db8::1' }", {"vxlan.local"}))->edit(present).error()[0].field,
            "device.vxlan.local");
  const auto six = ToCall(Request("vxlan { vni: 7 local: '2001:db8::1' }"));
  const auto none = ToCall(UpdateRequest("", {"vxlan.local"}))->edit({.spec = six->spec, .metadata = {}});
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(none.error()[0].field, "device.vxlan.remote");
  EXPECT_THAT(none.error()[0].description, HasSubstr("must be an IPv6 address"));
  EXPECT_EQ(ToCall(UpdateRequest("vxlan { ttl: 256 }", {"vxlan.ttl"}))->edit(present).error()[0].field,
            "device.vxlan.ttl");
}

}  // namespace
}  // namespace netprov::api
