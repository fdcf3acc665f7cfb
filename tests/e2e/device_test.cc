// Devices that are no bridges: what passes through them, and what becomes of them. What they have is shown by
// fields_test.
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/component/test_client.h"
#include "tests/e2e/host_fixture.h"
#include "tests/testing/private_host.h"

namespace netprov::testing {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

class DeviceTest : public HostTest {
 protected:
  void SetUp() override {
    HostTest::SetUp();
    Shell(
        "ip link add low0 type veth peer name low1; "
        "for i in low0 low1; do ip link set $i addrgenmode none; done; ip link set low0 up; ip link set low1 up");
    StartDaemon();
    for (const char* name : {"blue", "green"}) EXPECT_OK(client_->CreateNamespace(name));
  }
  void TearDown() override {
    for (const char* name : {"blue", "green"}) EXPECT_OK(client_->DeleteNamespace(name));
    Shell("ip link delete low0 2>/dev/null; true");
    HostTest::TearDown();
  }

  // `d`, which is d0 in blue; `things` in the text format of Device.
  static v1::CreateDeviceRequest Request(const std::string& things) {
    v1::CreateDeviceRequest request;
    request.set_device_id("d");
    request.mutable_device()->set_namespace_("namespaces/blue");
    request.mutable_device()->set_interface_name("d0");
    EXPECT_TRUE(google::protobuf::TextFormat::MergeFromString(things, request.mutable_device())) << things;
    return request;
  }

  // What `ip -d link` says of d0 in blue.
  static nlohmann::json Shown() {
    const auto links = nlohmann::json::parse(Shell("ip -n blue -j -d link show dev d0"), nullptr, false);
    return links.is_array() && links.size() == 1 ? links[0] : nlohmann::json::object();
  }
  static nlohmann::json ShownData() { return Shown()["linkinfo"]["info_data"]; }

  // The state of the host and of both namespaces.
  static std::string Everything() {
    return Shell("ip -d address show; for ns in blue green; do ip -n $ns -d address show; ip -n $ns route; done");
  }

  // Creates it, and expects the answer to have what was asked for, and Get to agree with it.
  v1::Device ExpectMade(const v1::CreateDeviceRequest& request) {
    const Reply<v1::Device> made = client_->Create(request);
    EXPECT_OK(made);
    EXPECT_EQ(made.value.state(), v1::Device::STATE_READY);
    EXPECT_EQ(client_->GetDevice(request.device_id()).value.DebugString(), made.value.DebugString());
    return made.value;
  }

  // Whether a program in green talks to one in blue.
  static bool GreenReaches(const std::string& address) {
    return Shell(absl::StrCat("if ip netns exec green /usr/bin/python3 tests/kernel/echo_through.py blue ", address,
                              " 2>/dev/null; then echo yes; fi")) == "yes\n";
  }
};

TEST_F(DeviceTest, AMacvlanTalksToItsNeighbor) {
  ExpectMade(Request(R"(macvlan {} lower_interface: "low0" addresses { address: "10.0.0.1/24" })"));
  v1::CreateDeviceRequest other = Request(
      R"(macvlan {} lower_interface: "low0" namespace: "namespaces/green" addresses { address: "10.0.0.2/24" })");
  other.set_device_id("e");
  ExpectMade(other);
  EXPECT_TRUE(GreenReaches("10.0.0.1"));
  EXPECT_OK(client_->DeleteDevice("e"));
  other.mutable_device()->mutable_macvlan()->set_mode(v1::Macvlan::MODE_PRIVATE);
  EXPECT_OK(client_->Create(other));
  EXPECT_FALSE(GreenReaches("10.0.0.1"));
  EXPECT_OK(client_->DeleteDevice("e"));
  EXPECT_OK(client_->DeleteDevice("d"));
}

TEST_F(DeviceTest, WhatSomebodyChangesOfAVxlanShows) {
  const std::string before = Everything();
  ExpectMade(Request(R"(
      vxlan { vni: 42 ttl: 7 fdb { mac_address: "00:00:00:00:00:00" destination: "192.0.2.3" port: 99 vni: 7 }
              fdb { mac_address: "02:00:00:00:00:01" destination: "192.0.2.4" } }
      lower_interface: "low0")"));
  Shell(
      "ip netns exec blue bridge fdb del 02:00:00:00:00:01 dev d0 dst 192.0.2.4; "
      "ip -n blue link set d0 type vxlan id 42 ttl 9");
  const v1::Device changed = client_->GetDevice("d").value;
  EXPECT_EQ(changed.state(), v1::Device::STATE_DEGRADED);
  std::vector<std::string> fields;
  for (const v1::Deviation& deviation : changed.deviations()) fields.push_back(deviation.field());
  EXPECT_THAT(fields, UnorderedElementsAre("vxlan.ttl", "vxlan.fdb"));
  EXPECT_THAT(changed.vxlan().fdb(), SizeIs(1));
  EXPECT_OK(client_->DeleteDevice("d"));
  EXPECT_EQ(Everything(), before);
}

TEST_F(DeviceTest, AnUpdateChangesADeviceInUse) {
  const std::string before = Everything();
  ExpectMade(Request(R"(vxlan { vni: 42 local: "192.0.2.1" remote: "192.0.2.2" ttl: 7
              fdb { mac_address: "02:00:00:00:00:01" destination: "192.0.2.4" } } lower_interface: "low0")"));
  v1::UpdateDeviceRequest update;
  ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(R"(
      device { name: "devices/d" mtu: 1300 addresses { address: "10.0.0.9/24" }
               vxlan { ttl: 9 learning: false
                       fdb { mac_address: "00:00:00:00:00:00" destination: "192.0.2.5" } } }
      update_mask { paths: "mtu" paths: "addresses" paths: "vxlan.ttl" paths: "vxlan.learning" paths: "vxlan.remote"
                    paths: "vxlan.fdb" })",
                                                            &update));
  const Reply<v1::Device> updated = client_->Update(update);
  EXPECT_OK(updated);
  EXPECT_EQ(updated.value.state(), v1::Device::STATE_READY) << updated.value.DebugString();
  EXPECT_EQ(client_->GetDevice("d").value.DebugString(), updated.value.DebugString());
  EXPECT_EQ(ShownData()["ttl"], 9);
  EXPECT_EQ(ShownData()["learning"], false);
  EXPECT_EQ(ShownData()["local"], "192.0.2.1");
  EXPECT_FALSE(ShownData().contains("remote"));
  EXPECT_EQ(Shown()["mtu"], 1300);
  const std::string entries = Shell("ip netns exec blue bridge fdb show dev d0");
  EXPECT_THAT(entries, HasSubstr("00:00:00:00:00:00 dst 192.0.2.5"));
  EXPECT_THAT(entries, Not(AnyOf(HasSubstr("192.0.2.2"), HasSubstr("192.0.2.4"))));
  // All or nothing.
  Shell("ip -n blue route add blackhole 10.8.0.0/16");
  update.mutable_device()->mutable_vxlan()->set_ttl(11);
  update.mutable_device()->mutable_vxlan()->clear_fdb();
  v1::Route& route = *update.mutable_device()->add_routes();
  route.set_destination("10.8.0.0/16");
  route.set_gateway("10.0.0.1");
  update.mutable_update_mask()->add_paths("routes");
  EXPECT_EQ(client_->Update(update).Summary(), "ALREADY_EXISTS ROUTE_ALREADY_EXISTS");
  Shell("ip -n blue route del blackhole 10.8.0.0/16");
  EXPECT_EQ(client_->GetDevice("d").value.DebugString(), updated.value.DebugString());
  EXPECT_OK(client_->DeleteDevice("d"));

  ExpectMade(Request(R"(macvlan { mode: MODE_BRIDGE } lower_interface: "low0")"));
  v1::UpdateDeviceRequest mode;
  ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(
      R"(device { name: "devices/d" macvlan { mode: MODE_SOURCE source_mac_addresses: "02:00:00:00:00:01" } }
         update_mask { paths: "macvlan" })",
      &mode));
  EXPECT_OK(client_->Update(mode));
  EXPECT_EQ(ShownData()["mode"], "source");
  EXPECT_TRUE(ShownData().contains("macaddr_data"));
  mode.mutable_device()->mutable_macvlan()->set_mode(v1::Macvlan::MODE_PASSTHRU);
  mode.mutable_device()->mutable_macvlan()->clear_source_mac_addresses();
  EXPECT_EQ(client_->Update(mode).Summary(), "FAILED_PRECONDITION DEVICE_REFUSED");
  EXPECT_EQ(client_->GetDevice("d").value.state(), v1::Device::STATE_READY);
  EXPECT_OK(client_->DeleteDevice("d"));
  EXPECT_EQ(Everything(), before);
}

TEST_F(DeviceTest, AVxlanLeadsFromNamespaceToNamespace) {
  v1::CreateVethRequest under = VethRequest("v", "unused", "blue", "eth0");
  v1::VethEndpoint& a = *under.mutable_veth()->mutable_endpoint_a();
  a.set_namespace_("namespaces/green");
  a.set_interface_name("eth0");
  a.add_addresses()->set_address("192.0.2.2/24");
  under.mutable_veth()->mutable_endpoint_b()->add_addresses()->set_address("192.0.2.1/24");
  EXPECT_OK(client_->Create(under));
  ExpectMade(Request(R"(vxlan { vni: 42 local: "192.0.2.1"
                                fdb { mac_address: "00:00:00:00:00:00" destination: "192.0.2.2" } }
                        lower_namespace: "namespaces/blue" addresses { address: "10.9.0.1/24" })"));
  v1::CreateDeviceRequest other = Request(R"(vxlan { vni: 42 remote: "192.0.2.1" }
      lower_namespace: "namespaces/green" namespace: "namespaces/green" addresses { address: "10.9.0.2/24" })");
  other.set_device_id("e");
  ExpectMade(other);
  EXPECT_TRUE(GreenReaches("10.9.0.1"));
  // With the namespace goes what has its packets there.
  EXPECT_OK(client_->DeleteDevice("e"));
  EXPECT_OK(client_->DeleteDevice("d"));
  EXPECT_OK(client_->DeleteVeth("v"));
}

TEST_F(DeviceTest, WhatCannotBeIsSaidAndNothingIsLeft) {
  const std::string before = Everything();
  const Reply<v1::Device> nowhere = client_->Create(Request(R"(macvlan {} lower_interface: "low9")"));
  EXPECT_EQ(nowhere.Summary(), "NOT_FOUND LOWER_INTERFACE_NOT_FOUND");
  EXPECT_THAT(nowhere.Fields(), ::testing::ElementsAre("device.lower_interface"));
  Shell("ip link add brx type bridge; ip link set low1 master brx");
  const Reply<v1::Device> port = client_->Create(Request(R"(macvlan {} lower_interface: "low1")"));
  EXPECT_EQ(port.Summary(), "FAILED_PRECONDITION DEVICE_REFUSED");
  EXPECT_EQ(port.Metadata()["errno"], "EBUSY");
  Shell("ip link delete brx");
  EXPECT_EQ(Everything(), before);
}

TEST_F(DeviceTest, AKindThatTheKernelLacksIsNamedAndNothingIsLeft) {
  struct Kind {
    const char* device;
    const char* link;  // for `ip link add`
    const char* feature;
  };
  for (const Kind& kind :
       {Kind{R"(vlan { id: 7 } lower_interface: "low0")", "link low0 name probe type vlan id 7", "CONFIG_VLAN_8021Q"},
        Kind{"dummy {}", "probe type dummy", "CONFIG_DUMMY"},
        Kind{R"(ipvlan {} lower_interface: "low0")", "link low0 name probe type ipvlan", "CONFIG_IPVLAN"}}) {
    SCOPED_TRACE(kind.device);
    const std::string before = Everything();
    if (Shell(absl::StrCat("if ip link add ", kind.link, " 2>/dev/null; then ip link delete probe; echo yes; fi")) ==
        "yes\n") {
      ExpectMade(Request(kind.device));
      EXPECT_OK(client_->DeleteDevice("d"));
    } else {
      const Reply<v1::Device> made = client_->Create(Request(kind.device));
      EXPECT_EQ(made.Summary(), "FAILED_PRECONDITION KERNEL_FEATURE_MISSING");
      EXPECT_EQ(made.Metadata()["feature"], kind.feature);
      EXPECT_THAT(made.message, HasSubstr(kind.feature));
      EXPECT_EQ(client_->GetDevice("d").Summary(), "NOT_FOUND DEVICE_NOT_FOUND");
    }
    EXPECT_EQ(Everything(), before);
  }
}

TEST_F(DeviceTest, WithWhatItStandsOnItGoes) {
  v1::CreateDeviceRequest request = Request(R"(macvlan {} lower_interface: "low0" metadata { self_heal: true })");
  const v1::Device made = ExpectMade(request);
  Shell("ip link delete low0");
  EXPECT_EQ(client_->GetDevice("d").value.state(), v1::Device::STATE_MISSING);
  EXPECT_OK(client_->DeleteDevice("d"));
  // An ifb stands on nothing.
  ExpectMade(Request("ifb {}"));
  EXPECT_EQ(Shown()["linkinfo"]["info_kind"], "ifb");
  EXPECT_EQ(Shown()["ifalias"].get<std::string>().substr(0, 8), "netprov:");
  // And keeps its MAC address, which is no harm to what is asked of it after that.
  v1::UpdateDeviceRequest update;
  ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(R"(
      device { name: "devices/d" mtu: 1400 mac_address: "02:00:00:00:00:0d" }
      update_mask { paths: "mtu" paths: "mac_address" })",
                                                            &update));
  EXPECT_EQ(client_->Update(update).Summary(), "FAILED_PRECONDITION DEVICE_REFUSED");
  EXPECT_EQ(Shown()["mtu"], 1500);
  update.mutable_update_mask()->mutable_paths()->RemoveLast();
  EXPECT_OK(client_->Update(update));
  EXPECT_EQ(Shown()["mtu"], 1400);
  EXPECT_OK(client_->DeleteDevice("d"));
}

}  // namespace
}  // namespace netprov::testing
