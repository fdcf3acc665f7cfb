// Bridges and their ports: what passes through them, and what becomes of them. What they have is shown by fields_test.
#include <chrono>
#include <functional>
#include <string>
#include <thread>

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

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class BridgeTest : public HostTest {
 protected:
  void SetUp() override {
    HostTest::SetUp();
    StartDaemon();
    for (const char* name : {"blue", "green"}) EXPECT_OK(client_->CreateNamespace(name));
  }
  void TearDown() override {
    for (const char* name : {"blue", "green"}) EXPECT_OK(client_->DeleteNamespace(name));
    HostTest::TearDown();
  }

  // `br`, which is br0 on the host.
  static v1::CreateBridgeRequest Request(const std::string& things = "") {
    v1::CreateBridgeRequest request;
    request.set_bridge_id("br");
    EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(things, request.mutable_bridge())) << things;
    request.mutable_bridge()->mutable_host();
    request.mutable_bridge()->set_interface_name("br0");
    return request;
  }

  // From a port of `br` to eth0 in a namespace with that address.
  static v1::CreateVethRequest Port(const std::string& netns, const std::string& address,
                                    const std::string& things = "") {
    v1::CreateVethRequest request = VethRequest(netns, absl::StrCat("p-", netns), netns, "eth0");
    v1::VethEndpoint& port = *request.mutable_veth()->mutable_endpoint_a();
    port.set_bridge("bridges/br");
    EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(things, port.mutable_bridge_port())) << things;
    request.mutable_veth()->mutable_endpoint_b()->add_addresses()->set_address(address);
    return request;
  }

  // The vxlan `id`, whose interface has that name too.
  static v1::CreateDeviceRequest Vxlan(const std::string& id, const std::string& things) {
    v1::CreateDeviceRequest request;
    request.set_device_id(id);
    request.mutable_device()->set_interface_name(id);
    EXPECT_TRUE(google::protobuf::TextFormat::MergeFromString(things, request.mutable_device())) << things;
    return request;
  }

  // What `ip` says of the bridge that a link of the host is a port of; empty: of none.
  static std::string MasterOf(const std::string& link) {
    const auto links = nlohmann::json::parse(Shell(absl::StrCat("ip -j link show dev ", link)), nullptr, false);
    return links.is_array() && links.size() == 1 ? links[0].value("master", "") : "";
  }

  static bool Await(const std::function<bool()>& condition) {
    for (int i = 0; i < 1000 && !condition(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    return condition();
  }

  // Whether a program started with `from` before it talks to one in blue.
  static bool Reaches(const std::string& from, const std::string& address) {
    return Shell(absl::StrCat("if ", from, " /usr/bin/python3 tests/kernel/echo_through.py blue ", address,
                              " 2>/dev/null; then echo yes; fi")) == "yes\n";
  }
};

TEST_F(BridgeTest, NamespacesOnABridgeReachEachOtherAndTheHost) {
  EXPECT_OK(
      client_->Create(Request(R"(addresses { address: "10.0.0.1/24" } addresses { address: "2001:db8::1/64" })")));
  v1::CreateVethRequest blue = Port("blue", "10.0.0.2/24");
  blue.mutable_veth()->mutable_endpoint_b()->add_addresses()->set_address("2001:db8::2/64");
  v1::CreateVethRequest green = Port("green", "10.0.0.3/24");
  green.mutable_veth()->mutable_endpoint_b()->add_addresses()->set_address("2001:db8::3/64");
  EXPECT_OK(client_->Create(blue));
  EXPECT_OK(client_->Create(green));
  EXPECT_THAT(client_->GetBridge("br").value.ports(), ElementsAre("veths/blue", "veths/green"));
  for (const char* address : {"10.0.0.2", "2001:db8::2"}) {
    EXPECT_TRUE(Reaches("ip netns exec green", address)) << address;
    EXPECT_TRUE(Reaches("", address)) << address;
  }
  const Reply<google::protobuf::Empty> refused = client_->DeleteBridge("br");
  EXPECT_EQ(refused.Summary(), "FAILED_PRECONDITION DEVICE_IN_USE");
  for (const char* name : {"blue", "green"}) EXPECT_OK(client_->DeleteVeth(name));
  EXPECT_OK(client_->DeleteBridge("br"));
  EXPECT_THAT(Shell("ip -o link"), Not(HasSubstr("br0")));
}

TEST_F(BridgeTest, IsolatedPortsDoNotReachEachOther) {
  EXPECT_OK(client_->Create(Request(R"(addresses { address: "10.0.0.1/24" })")));
  EXPECT_OK(client_->Create(Port("blue", "10.0.0.2/24", "isolated: true")));
  EXPECT_OK(client_->Create(Port("green", "10.0.0.3/24", "isolated: true")));
  EXPECT_TRUE(Reaches("", "10.0.0.2"));
  EXPECT_FALSE(Reaches("ip netns exec green", "10.0.0.2"));
  for (const char* name : {"blue", "green"}) EXPECT_OK(client_->DeleteVeth(name));
  EXPECT_OK(client_->DeleteBridge("br"));
}

TEST_F(BridgeTest, ABridgeInANamespaceGoesWithIt) {
  v1::CreateBridgeRequest request = Request();
  request.mutable_bridge()->set_namespace_("namespaces/blue");
  EXPECT_OK(client_->Create(request));
  v1::CreateVethRequest port = VethRequest("v", "h0", "blue", "p0");
  port.mutable_veth()->mutable_endpoint_b()->set_bridge("bridges/br");
  EXPECT_OK(client_->Create(port));
  EXPECT_THAT(Shell("ip -n blue -o link show master br0"), HasSubstr("p0"));
  EXPECT_OK(client_->DeleteNamespace("blue"));
  EXPECT_EQ(client_->GetBridge("br").Summary(), "NOT_FOUND DEVICE_NOT_FOUND");
  EXPECT_EQ(client_->GetVeth("v").Summary(), "NOT_FOUND VETH_NOT_FOUND");
  EXPECT_OK(client_->CreateNamespace("blue"));
}

TEST_F(BridgeTest, WhatTheKernelLacksIsSaidAndNothingIsLeft) {
  const std::string before = Shell("ip -d address show");
  const Reply<v1::Bridge> made = client_->Create(Request("vlan_filtering: true"));
  if (made.ok()) {
    EXPECT_THAT(Shell("ip -d link show dev br0"), HasSubstr("vlan_filtering 1"));
    EXPECT_OK(
        client_->Create(Port("blue", "10.0.0.2/24", "vlans { first: 10 last: 19 } vlans { first: 20 pvid: true }")));
    EXPECT_EQ(client_->GetVeth("blue").value.endpoint_a().bridge_port().vlans_size(), 2);
    EXPECT_EQ(client_->GetVeth("blue").value.state(), v1::Veth::STATE_READY);
    EXPECT_OK(client_->DeleteVeth("blue"));
    EXPECT_OK(client_->DeleteBridge("br"));
  } else {
    EXPECT_EQ(made.Summary(), "FAILED_PRECONDITION KERNEL_FEATURE_MISSING");
    EXPECT_EQ(made.Metadata()["feature"], "CONFIG_BRIDGE_VLAN_FILTERING");
    EXPECT_EQ(Shell("ip -d address show"), before);
    EXPECT_OK(client_->Create(Request()));
    const Reply<v1::Veth> port = client_->Create(Port("blue", "10.0.0.2/24", "vlans { first: 10 }"));
    EXPECT_EQ(port.Summary(), "FAILED_PRECONDITION KERNEL_FEATURE_MISSING");
    EXPECT_EQ(port.Metadata()["feature"], "CONFIG_BRIDGE_VLAN_FILTERING");
    EXPECT_THAT(Shell("ip -o link show"), Not(HasSubstr("p-blue")));
    v1::UpdateBridgeRequest update;
    update.mutable_bridge()->set_name("bridges/br");
    update.mutable_bridge()->set_vlan_filtering(true);
    update.mutable_update_mask()->add_paths("vlan_filtering");
    const Reply<v1::Bridge> updated = client_->Update(update);
    EXPECT_EQ(updated.Summary(), "FAILED_PRECONDITION KERNEL_FEATURE_MISSING");
    EXPECT_EQ(updated.Metadata()["feature"], "CONFIG_BRIDGE_VLAN_FILTERING");
    EXPECT_OK(client_->DeleteBridge("br"));
  }
}

TEST_F(BridgeTest, DriftIsHealedFromTheBridgeUp) {
  v1::CreateBridgeRequest request = Request("stp: true");
  request.mutable_bridge()->mutable_metadata()->set_self_heal(true);
  EXPECT_OK(client_->Create(request));
  v1::CreateVethRequest port = Port("blue", "10.0.0.2/24", "isolated: true");
  port.mutable_veth()->mutable_metadata()->set_self_heal(true);
  EXPECT_OK(client_->Create(port));
  // Told in no other way than as a change of the port, and healed before the minute's look.
  Shell("bridge link set dev p-blue isolated off");
  auto is_isolated = [] { return Shell("ip -d link show dev p-blue").find("isolated on") != std::string::npos; };
  for (int i = 0; i < 1000 && !is_isolated(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_TRUE(is_isolated());
  Shell("ip link delete br0");
  auto is_well = [&] {
    return client_->GetBridge("br").value.state() == v1::Bridge::STATE_READY &&
           client_->GetVeth("blue").value.state() == v1::Veth::STATE_READY;
  };
  for (int i = 0; i < 1000 && !is_well(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_TRUE(is_well());
  EXPECT_THAT(Shell("ip -d link show dev p-blue"), HasSubstr("master br0"));
  EXPECT_THAT(Shell("ip -d link show dev p-blue"), HasSubstr("isolated on"));
  EXPECT_THAT(Shell("ip -d link show dev br0"), HasSubstr("stp_state 1"));
  EXPECT_OK(client_->DeleteVeth("blue"));
  EXPECT_OK(client_->DeleteBridge("br"));
}

TEST_F(BridgeTest, AVxlanMakesOneLinkOfTwoBridges) {
  v1::CreateVethRequest underlay = VethRequest("u", "u0", "blue", "u1");
  underlay.mutable_veth()->mutable_endpoint_a()->add_addresses()->set_address("192.0.2.1/30");
  underlay.mutable_veth()->mutable_endpoint_b()->add_addresses()->set_address("192.0.2.2/30");
  EXPECT_OK(client_->Create(underlay));
  EXPECT_OK(client_->Create(Request(R"(addresses { address: "10.0.0.1/24" })")));
  v1::CreateBridgeRequest inside = Request(R"(addresses { address: "10.0.0.2/24" })");
  inside.set_bridge_id("inside");
  inside.mutable_bridge()->set_namespace_("namespaces/blue");
  EXPECT_OK(client_->Create(inside));
  EXPECT_OK(client_->Create(Port("green", "10.0.0.3/24")));
  EXPECT_OK(client_->Create(Vxlan("x0", R"(host {} bridge: "bridges/br" bridge_port { learning: false hairpin: true }
                                           vxlan { vni: 10 local: "192.0.2.1" remote: "192.0.2.2" }
                                           metadata { self_heal: true })")));
  EXPECT_OK(client_->Create(Vxlan("x1", R"(namespace: "namespaces/blue" lower_namespace: "namespaces/blue"
                                           bridge: "bridges/inside"
                                           vxlan { vni: 10 local: "192.0.2.2" remote: "192.0.2.1" })")));
  EXPECT_EQ(MasterOf("x0"), "br0");
  EXPECT_THAT(Shell("ip -d link show dev x0"), HasSubstr("hairpin on"));
  EXPECT_THAT(Shell("bridge -n blue link show dev x1"), HasSubstr("master br0"));
  EXPECT_THAT(client_->GetBridge("br").value.ports(), ElementsAre("devices/x0", "veths/green"));
  EXPECT_TRUE(Reaches("", "10.0.0.2"));
  EXPECT_TRUE(Reaches("ip netns exec green", "10.0.0.2"));
  // What somebody takes off comes back, with its settings.
  Shell("ip link set x0 nomaster");
  EXPECT_TRUE(Await([] { return MasterOf("x0") == "br0"; }));
  EXPECT_TRUE(Await([&] { return client_->GetDevice("x0").value.state() == v1::Device::STATE_READY; }));
  EXPECT_THAT(Shell("ip -d link show dev x0"), HasSubstr("hairpin on"));
  EXPECT_THAT(Shell("ip -d link show dev x0"), HasSubstr("learning off"));
  EXPECT_TRUE(Reaches("ip netns exec green", "10.0.0.2"));
  EXPECT_OK(client_->DeleteVeth("green"));
  const Reply<google::protobuf::Empty> refused = client_->DeleteBridge("br");
  EXPECT_EQ(refused.Summary(), "FAILED_PRECONDITION DEVICE_IN_USE");
  EXPECT_THAT(refused.message, HasSubstr("devices/x0"));
  // Off the bridge, and away with it.
  v1::UpdateDeviceRequest leave;
  leave.mutable_device()->set_name("devices/x0");
  for (const char* path : {"bridge", "bridge_port"}) leave.mutable_update_mask()->add_paths(path);
  EXPECT_OK(client_->Update(leave));
  EXPECT_EQ(MasterOf("x0"), "");
  EXPECT_OK(client_->DeleteBridge("br"));
  for (const char* name : {"x0", "x1"}) EXPECT_OK(client_->DeleteDevice(name));
  EXPECT_OK(client_->DeleteVeth("u"));
}

TEST_F(BridgeTest, OfABridgeThatNetprovDidNotMakeThePortsAloneAreItsOwn) {
  const char* make = "ip link add br-lan address 02:00:00:00:00:1a type bridge; ip link set br-lan up";
  Shell(absl::StrCat(make, "; ip address add 10.0.0.1/24 dev br-lan"));
  const std::string index = Shell("ip -o link show br-lan | cut -d: -f1");
  v1::CreateVethRequest port = VethRequest("v", "p0", "blue", "eth0");
  v1::VethEndpoint& end = *port.mutable_veth()->mutable_endpoint_a();
  end.mutable_bridge_port()->set_isolated(true);
  port.mutable_veth()->mutable_endpoint_b()->add_addresses()->set_address("10.0.0.2/24");
  port.mutable_veth()->mutable_metadata()->set_self_heal(true);
  EXPECT_OK(client_->Create(Request()));
  for (const char* unusable : {"br-wan", "br0", "lo"}) {
    end.set_bridge_interface(unusable);
    const Reply<v1::Veth> refused = client_->Create(port);
    EXPECT_EQ(refused.Summary(), "FAILED_PRECONDITION BRIDGE_UNUSABLE") << unusable;
    EXPECT_THAT(refused.Fields(), ElementsAre("veth.endpoint_a.bridge_interface")) << unusable;
  }
  end.set_bridge_interface("br-lan");
  EXPECT_OK(client_->Create(port));
  EXPECT_OK(client_->Create(Vxlan("x0", R"(host {} bridge_interface: "br-lan" vxlan { vni: 10 remote: "192.0.2.2" }
                                           metadata { self_heal: true })")));
  for (const char* link : {"p0", "x0"}) EXPECT_EQ(MasterOf(link), "br-lan");
  EXPECT_THAT(Shell("ip -d link show dev p0"), HasSubstr("isolated on"));
  EXPECT_TRUE(Reaches("", "10.0.0.2"));
  Shell("ip link set p0 nomaster");
  EXPECT_TRUE(Await([] { return MasterOf("p0") == "br-lan"; }));
  EXPECT_TRUE(Await([&] { return client_->GetVeth("v").value.state() == v1::Veth::STATE_READY; }));
  EXPECT_THAT(Shell("ip -d link show dev p0"), HasSubstr("isolated on"));
  EXPECT_EQ(Shell("ip -o link show br-lan | cut -d: -f1"), index);
  // It goes, and another comes.
  Shell("ip link delete br-lan");
  const v1::Veth lost = client_->GetVeth("v").value;
  EXPECT_EQ(lost.state(), v1::Veth::STATE_DEGRADED);
  ASSERT_EQ(lost.deviations_size(), 1);
  EXPECT_EQ(lost.deviations(0).field(), "endpoint_a.bridge_interface");
  EXPECT_EQ(lost.deviations(0).expected(), "br-lan");
  ASSERT_EQ(client_->GetDevice("x0").value.deviations_size(), 1);
  EXPECT_EQ(client_->GetDevice("x0").value.deviations(0).field(), "bridge_interface");
  KillDaemon();
  Shell(make);
  StartDaemon();
  EXPECT_TRUE(Await([] { return MasterOf("p0") == "br-lan" && MasterOf("x0") == "br-lan"; }));
  EXPECT_TRUE(Await([&] { return client_->GetVeth("v").value.state() == v1::Veth::STATE_READY; }));
  EXPECT_OK(client_->DeleteVeth("v"));
  EXPECT_OK(client_->DeleteDevice("x0"));
  EXPECT_OK(client_->DeleteBridge("br"));
  EXPECT_EQ(Shell("ip -o link show master br-lan"), "");
  Shell("ip link delete br-lan");
}

TEST_F(BridgeTest, PortsOfBothBridgesComeBackAfterAReboot) {
  const char* make = "ip link add br-lan address 02:00:00:00:00:1a type bridge; ip link set br-lan up";
  Shell(make);
  v1::CreateBridgeRequest bridge = Request();
  bridge.mutable_bridge()->mutable_metadata()->set_persistent(true);
  EXPECT_OK(client_->Create(bridge));
  EXPECT_OK(client_->Create(Vxlan("x0", R"(host {} bridge: "bridges/br" bridge_port { isolated: true } vxlan { vni: 10 }
                                           metadata { persistent: true })")));
  EXPECT_OK(client_->Create(Vxlan("x1", R"(host {} bridge_interface: "br-lan" vxlan { vni: 11 }
                                           metadata { persistent: true })")));
  KillDaemon();
  Shell("ip link delete x0; ip link delete x1; ip link delete br0; ip link delete br-lan");
  Sql("UPDATE devices SET record = json_set(record, '$.boot_id', 'another')");
  StartDaemon();
  EXPECT_EQ(MasterOf("x0"), "br0");
  EXPECT_THAT(Shell("ip -d link show dev x0"), HasSubstr("isolated on"));
  EXPECT_EQ(client_->GetDevice("x0").value.state(), v1::Device::STATE_READY);
  // It waits for the bridge, and is made at the next attempt.
  EXPECT_EQ(client_->GetDevice("x1").value.state(), v1::Device::STATE_MISSING);
  Shell(make);
  EXPECT_OK(client_->Check());
  EXPECT_EQ(MasterOf("x1"), "br-lan");
  for (const char* name : {"x0", "x1"}) EXPECT_OK(client_->DeleteDevice(name));
  EXPECT_OK(client_->DeleteBridge("br"));
  Shell("ip link delete br-lan");
}

}  // namespace
}  // namespace netprov::testing
