// What devices that are no bridges can have, each kind with its own: as asked for, as Get reads it, as iproute2 shows
// it, and as updates change it.
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/e2e/field_matrix.h"
#include "tests/testing/private_host.h"

namespace netprov::testing {
namespace {

using google::protobuf::Message;
using nlohmann::json;
using ::testing::HasSubstr;

constexpr char kLink[] = "ip -n blue -j -d link show dev d0";
constexpr char kAddresses[] = "ip -n blue -j address show dev d0";
constexpr char kRoutes[] = "ip -n blue -j -d route show table all";
constexpr char kRoutes6[] = "ip -n blue -6 -j -d route show table all";
constexpr char kPort[] = "bridge -n blue -j -d link show dev d0";
constexpr char kEntries[] = "bridge -n blue -j fdb show dev d0";

constexpr char kMacvlan[] = R"(lower_interface: "low0" macvlan {})";
constexpr char kVxlan[] = R"(lower_interface: "low0" vxlan { vni: 42 })";
constexpr char kIfb[] = "ifb {}";

// What the kernel says of a device's kind.
Thing OfKind(const std::string& text, const std::string& kind, const std::string& data,
             Thing::Kind together = Thing::kAny) {
  return {text,
          {{kLink, absl::StrCat(R"([{"linkinfo":{"info_kind":")", kind, R"(","info_data":{)", data, "}}}]")}},
          together};
}

// What any device can have.
std::vector<Thing> Things() {
  std::vector<Thing> things = {
      {"host {}", {{"ip -j link show", R"([{"ifname":"d0"}])"}}, Thing::kAlone},
      {R"(namespace: "namespaces/green")", {{"ip -n green -j link show", R"([{"ifname":"d0"}])"}}, Thing::kAlone},
      {R"(interface_name: "other0")", {{"ip -n blue -j link show", R"([{"ifname":"other0"}])"}}, Thing::kAlone},
      {R"(mac_address: "02:00:00:00:00:0d")", {{kLink, R"([{"address":"02:00:00:00:00:0d"}])"}}},
      {"mtu: 1400", {{kLink, R"([{"mtu":1400}])"}}},
      {"admin_state: ADMIN_STATE_UP", {{kLink, R"([{"flags":["UP"]}])"}}, Thing::kDefault},
      {"admin_state: ADMIN_STATE_DOWN", {{kLink, R"([{"operstate":"DOWN"}])"}}, Thing::kAlone},
      {R"(addresses { address: "10.2.0.2/24" } addresses { address: "2001:db8:d::2/64" })",
       {{kAddresses, R"([{"addr_info":[{"local":"10.2.0.2","prefixlen":24},
                                       {"local":"2001:db8:d::2","prefixlen":64,"nodad":true}]}])"}}},
      {R"(addresses { address: "10.2.0.2/24" } gateways: "10.2.0.1" gateways: "fe80::1")",
       {{kRoutes, R"([{"dst":"default","gateway":"10.2.0.1","dev":"d0","protocol":"110"}])"},
        {kRoutes6, R"([{"dst":"default","gateway":"fe80::1","dev":"d0","protocol":"110"}])"}}},
      {R"(routes { destination: "10.3.0.0/16" metric: 7 table: 1000 mtu: 1300 })",
       {{kRoutes, R"([{"dst":"10.3.0.0/16","dev":"d0","protocol":"110","metric":7,"table":"1000",
                       "metrics":[{"mtu":1300}]}])"}}},
      {R"(alternative_names: "the-device")", {{kLink, R"([{"altnames":["the-device"]}])"}}},
      // A port of a bridge.
      {R"(bridge: "bridges/br")", {{kLink, R"([{"master":"br0","linkinfo":{"info_slave_kind":"bridge"}}])"}}},
      {R"(bridge_interface: "br-lan" bridge_port { isolated: true })",
       {{kPort, R"([{"master":"br-lan","isolated":true}])"}},
       Thing::kAlone},
      {R"(bridge: "bridges/br"
          bridge_port { vlans { first: 10 last: 19 } vlans { first: 20 pvid: true untagged: true } })",
       {{"bridge -n blue -j vlan show dev d0",
         R"([{"vlans":[{"vlan":10,"vlanEnd":19},{"vlan":20,"flags":["PVID","Egress Untagged"]}]}])"}},
       Thing::kAny,
       "ip link add probe type bridge vlan_filtering 1 && ip link delete probe"},
      {R"(metadata { owner: "ci/job-17" ttl { seconds: 600 } })", {}},
      {R"(metadata { labels { key: "stage" value: "test" } })", {}},
      {"metadata { persistent: true }", {}},
      {"metadata { self_heal: true }", {}},
  };
  for (const auto& [text, witness] : kPortSettings) {
    things.push_back({absl::StrCat(R"(bridge: "bridges/br" bridge_port { )", text, " }"),
                      {{kPort, absl::StrCat(R"([{"master":"br0",)", witness, "}]")}}});
  }
  return things;
}

std::vector<Thing> OfMacvlan() {
  return {
      OfKind("macvlan { mode: MODE_PRIVATE }", "macvlan", R"("mode":"private")", Thing::kAlone),
      OfKind("macvlan { mode: MODE_VEPA }", "macvlan", R"("mode":"vepa")", Thing::kAlone),
      OfKind("macvlan { mode: MODE_BRIDGE }", "macvlan", R"("mode":"bridge")", Thing::kDefault),
      OfKind(R"(macvlan { mode: MODE_SOURCE source_mac_addresses: "02:00:00:00:00:01"
                          source_mac_addresses: "02:00:00:00:00:02" })",
             "macvlan",
             R"("mode":"source","macaddr_count":2,"macaddr_data":["02:00:00:00:00:01","02:00:00:00:00:02"])"),
      // By the indexes that SetUp() gives.
      {R"(lower_interface: "low1")", {{kLink, R"([{"link_index":71}])"}}, Thing::kAlone},
      {R"(lower_namespace: "namespaces/green")", {{kLink, R"([{"link_index":80}])"}}, Thing::kAlone},
  };
}

// No update leads to it or away from it.
std::vector<Thing> OfMacvlanAtItsBirth() {
  return {OfKind("macvlan { mode: MODE_PASSTHRU }", "macvlan", R"("mode":"passthru")", Thing::kAlone)};
}

std::vector<Thing> OfVxlan() {
  return {
      OfKind("vxlan { vni: 43 }", "vxlan", R"("id":43)", Thing::kAlone),
      OfKind("vxlan { port: 4790 }", "vxlan", R"("port":4790)"),
      OfKind(R"(vxlan { local: "192.0.2.1" })", "vxlan", R"("local":"192.0.2.1")"),
      OfKind(R"(vxlan { remote: "192.0.2.2" })", "vxlan", R"("remote":"192.0.2.2")"),
      OfKind(R"(vxlan { remote: "239.1.1.1" })", "vxlan", R"("group":"239.1.1.1")", Thing::kAlone),
      OfKind("vxlan { ttl: 7 }", "vxlan", R"("ttl":7)"),
      OfKind("vxlan { learning: false }", "vxlan", R"("learning":false)"),
      OfKind("vxlan { proxy: true }", "vxlan", R"("proxy":true)"),
      OfKind("vxlan { ageing_time { seconds: 60 } }", "vxlan", R"("ageing":60)"),
      {R"(vxlan { fdb { mac_address: "00:00:00:00:00:00" destination: "192.0.2.3" port: 99 vni: 7 }
                  fdb { mac_address: "02:00:00:00:00:01" destination: "192.0.2.4" } })",
       {{kEntries, R"([{"mac":"00:00:00:00:00:00","dst":"192.0.2.3","port":99,"vni":7,"state":"permanent"},
                       {"mac":"02:00:00:00:00:01","dst":"192.0.2.4","state":"permanent"}])"}}},
      {R"(lower_interface: "low1")", {{kLink, R"([{"linkinfo":{"info_data":{"link":"if71"}}}])"}}, Thing::kAlone},
  };
}

// Kinds that a kernel may not have.
std::vector<Thing> OfOthers() {
  const auto shows = [](const char* kind, const std::string& what) {
    return std::vector<Witness>{{kLink, absl::StrCat(R"([{"linkinfo":{"info_kind":")", kind, R"("}}])")},
                                // Where the JSON of iproute2 changed from one to the next.
                                {"ip -n blue -d link show dev d0", what}};
  };
  const std::string probe = "ip link add link low0 name probe type ";
  std::vector<Thing> things;
  things.push_back({"dummy {}", shows("dummy", "dummy"), Thing::kAlone, probe + "dummy"});
  for (const auto& [text, shown] :
       {std::pair("id: 7", "802.1Q id 7"), std::pair("id: 8 protocol: PROTOCOL_DOT1Q", "id 8"),
        std::pair("id: 4094 protocol: PROTOCOL_DOT1AD", "802.1ad id 4094")}) {
    things.push_back({absl::StrCat("lower_interface: \"low0\" vlan { ", text, " }"), shows("vlan", shown),
                      Thing::kAlone, probe + "vlan id 7"});
  }
  for (const auto& [text, shown] :
       {std::pair("", "l3 bridge"), std::pair("mode: MODE_L2 mode_flag: MODE_FLAG_BRIDGE", "l2 bridge"),
        std::pair("mode: MODE_L3 mode_flag: MODE_FLAG_PRIVATE", "l3 private"),
        std::pair("mode: MODE_L3S mode_flag: MODE_FLAG_VEPA", "l3s vepa")}) {
    things.push_back({absl::StrCat("lower_interface: \"low0\" ipvlan { ", text, " }"), shows("ipvlan", shown),
                      Thing::kAlone, probe + "ipvlan"});
  }
  for (Thing& thing : things) absl::StrAppend(&thing.probe, " && ip link delete probe");
  return things;
}

std::vector<Thing> Joined(std::vector<Thing> things, const std::vector<Thing>& more) {
  things.insert(things.end(), more.begin(), more.end());
  return things;
}

const std::set<std::string> kFixed = {"host",      "namespace",  "interface_name", "lower_interface", "lower_namespace",
                                      "vxlan.vni", "vxlan.port", "vxlan.proxy",    "vlan.id",         "vlan.protocol",
                                      "dummy",     "ifb"};

// Of a device of that kind also what others have.
std::set<std::string> FixedOf(const std::string& kind) {
  std::set<std::string> fixed = kFixed;
  for (const std::string& path : PathsOf(*v1::Device::descriptor(), /*is_all=*/false)) {
    for (const char* other : {"macvlan", "vxlan", "ipvlan"}) {
      if (kind != other && absl::StartsWith(path, absl::StrCat(other, "."))) fixed.insert(path);
    }
  }
  return fixed;
}

class DeviceFieldsTest : public FieldMatrixTest {
 protected:
  void SetUp() override {
    HostTest::SetUp();
    Shell("ip link add low0 index 70 type veth peer name low1 index 71");
    StartDaemon();
    for (const char* name : {"blue", "green"}) {
      v1::CreateNamespaceRequest netns;
      netns.set_namespace_id(name);
      netns.mutable_namespace_()->mutable_metadata()->set_persistent(true);
      EXPECT_OK(client_->Create(netns));
    }
    Shell(
        "ip -n green link add low0 index 80 type veth peer name low1; for ip in ip 'ip -n green'; do "
        "for i in low0 low1; do $ip link set $i addrgenmode none; $ip link set $i up; done; done; "
        "ip -n blue link add br-lan address 02:00:00:00:00:1a type bridge; ip -n blue link set br-lan addrgenmode "
        "none; ip -n blue link set br-lan up");
    v1::CreateBridgeRequest bridge;
    bridge.set_bridge_id("br");
    bridge.mutable_bridge()->set_namespace_("namespaces/blue");
    bridge.mutable_bridge()->set_interface_name("br0");
    bridge.mutable_bridge()->mutable_metadata()->set_persistent(true);
    EXPECT_OK(client_->Create(bridge));
  }
  void TearDown() override {
    for (const char* name : {"blue", "green"}) EXPECT_OK(client_->DeleteNamespace(name));
    Shell("ip link delete low0");
    HostTest::TearDown();
  }

  static v1::Device Base(const std::string& kind) {
    v1::Device device;
    EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(kind, &device)) << kind;
    device.set_namespace_("namespaces/blue");
    device.set_interface_name("d0");
    return device;
  }

  Answer Make(const Message& asked) override {
    v1::CreateDeviceRequest request;
    request.set_device_id("d");
    return MakeBy(request, request.mutable_device(), asked);
  }
  Answer Read() override { return AnswerOf(client_->GetDevice("d")); }
  Answer Update(const Message& wanted, const std::vector<std::string>& paths, bool validate_only) override {
    v1::UpdateDeviceRequest request;
    return UpdateBy(request, request.mutable_device(), wanted, paths, validate_only);
  }
  void Remove() override { EXPECT_OK(client_->DeleteDevice("d")); }

  void Fill(const Message& made, Message& asked) override {
    const auto& answered = static_cast<const v1::Device&>(made);
    auto& device = static_cast<v1::Device&>(asked);
    FillObject(answered, "devices/d", device);
    FillLink(answered, device.has_vxlan() ? 1450 : 1500, device);
    for (v1::Address& address : *device.mutable_addresses()) FillAddress(address);
    for (v1::Route& route : *device.mutable_routes()) FillRoute(route);
    if (!device.bridge().empty() || !device.bridge_interface().empty()) {
      // By its speed: it has that of what it stands on, or none.
      FillPort(!device.lower_interface().empty() ? 2 : 100, *device.mutable_bridge_port());
    }
    if (device.has_macvlan() && device.macvlan().mode() == v1::Macvlan::MODE_UNSPECIFIED) {
      device.mutable_macvlan()->set_mode(v1::Macvlan::MODE_BRIDGE);
    }
    if (device.has_vxlan()) {
      v1::Vxlan& vxlan = *device.mutable_vxlan();
      if (vxlan.port() == 0) vxlan.set_port(4789);
      if (!vxlan.has_learning()) vxlan.set_learning(true);
      if (!vxlan.has_ageing_time()) vxlan.mutable_ageing_time()->set_seconds(300);
    }
    if (device.has_vlan() && device.vlan().protocol() == v1::Vlan::PROTOCOL_UNSPECIFIED) {
      device.mutable_vlan()->set_protocol(v1::Vlan::PROTOCOL_DOT1Q);
    }
    if (device.has_ipvlan()) {
      v1::Ipvlan& ipvlan = *device.mutable_ipvlan();
      if (ipvlan.mode() == v1::Ipvlan::MODE_UNSPECIFIED) ipvlan.set_mode(v1::Ipvlan::MODE_L3);
      if (ipvlan.mode_flag() == v1::Ipvlan::MODE_FLAG_UNSPECIFIED) ipvlan.set_mode_flag(v1::Ipvlan::MODE_FLAG_BRIDGE);
    }
  }

  // Without the groups of link-local addresses (RFC 4291, 2.7.1), which a bridge joins once a port of it has a carrier.
  std::string Everything() override {
    return Shell(absl::StrCat("ip -d address", kSteady,
                              "for ns in blue green; do ip -n $ns -d address; ip -n $ns route; "
                              "bridge -n $ns fdb | grep -v ^33:33:ff: | sort; ip -n $ns -6 route show proto 110; done",
                              kSteady));
  }
};

TEST_F(DeviceFieldsTest, EachAlone) {
  ExpectEachAlone(Base(kMacvlan), Joined(Joined(Things(), OfMacvlan()), OfMacvlanAtItsBirth()));
  ExpectEachAlone(Base(kVxlan), OfVxlan());
  ExpectEachAlone(Base(kIfb), OfOthers());
}

TEST_F(DeviceFieldsTest, AllTogether) {
  ExpectAllTogether(Base(kMacvlan), Joined(Things(), OfMacvlan()));
  ExpectAllTogether(Base(kVxlan), Joined(Things(), OfVxlan()));
  ExpectAllTogether(Base(kIfb), Things());
}

TEST_F(DeviceFieldsTest, UpdatesOfEachAloneAndOfAllTogether) {
  ExpectUpdates(Base(kMacvlan), Joined(Things(), OfMacvlan()), kFixed);
  ExpectUpdates(Base(kVxlan), Joined(Things(), OfVxlan()), kFixed);
  // The kernel sets the address of an ifb at its birth alone.
  std::set<std::string> fixed = kFixed;
  fixed.insert("mac_address");
  ExpectUpdates(Base(kIfb), Things(), fixed);
}

TEST_F(DeviceFieldsTest, WhatTheServerFillsInIsTheKernels) {
  for (const auto& [base, mtu] : {std::pair(kMacvlan, 1500U), std::pair(kVxlan, 1450U), std::pair(kIfb, 1500U)}) {
    const Answer made = Make(Base(base));
    EXPECT_OK(made);
    const auto& device = static_cast<const v1::Device&>(*made.value);
    const std::string shown = Shell(kLink);
    EXPECT_TRUE(Shows(json::parse(shown, nullptr, false), LinkOf(device.ifindex(), device.mac_address(), mtu)))
        << shown;
    EXPECT_THAT(shown, HasSubstr(absl::StrCat(":", device.uid(), ":devices/d")));
    Remove();
  }
}

TEST_F(DeviceFieldsTest, NothingIsForgotten) {
  std::vector<Thing> all = Joined(Joined(Things(), OfMacvlan()), OfMacvlanAtItsBirth());
  all = Joined(Joined(all, OfVxlan()), OfOthers());
  // What an address and a route can have besides is in the table of pairs.
  std::set<std::string> elsewhere = FieldsOf(*v1::Address::descriptor());
  elsewhere.merge(FieldsOf(*v1::Route::descriptor()));
  ExpectComplete(Base(kIfb), all, elsewhere);
  for (const auto& [base, kind] :
       {std::pair(kMacvlan, "macvlan"), std::pair(kVxlan, "vxlan"), std::pair(kIfb, "ifb")}) {
    SCOPED_TRACE(kind);
    ExpectRefusesOnly(Base(base), FixedOf(kind));
  }
}

}  // namespace
}  // namespace netprov::testing
