// What a pair and its ends can have: as asked for, as Get reads it, as iproute2, nft and sysctl show it, and as updates
// change it.
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/e2e/field_matrix.h"
#include "tests/testing/private_host.h"
#include "tests/testing/process.h"

namespace netprov::testing {
namespace {

using google::protobuf::Message;
using nlohmann::json;
using ::testing::HasSubstr;

constexpr char kLink[] = "ip -n blue -j -d link show dev eth0";
constexpr char kPort[] = "bridge -n blue -j -d link show dev eth0";
constexpr char kAddresses[] = "ip -n blue -j address show dev eth0";
constexpr char kRoutes[] = "ip -n blue -j -d route show table all";
constexpr char kRoutes6[] = "ip -n blue -6 -j -d route show table all";
constexpr char kNeighbors[] = "ip -n blue -j neighbor show dev eth0";
constexpr char kQueueing[] = "tc -j qdisc show";
constexpr char kFilters[] = "tc -j filter show dev h0 ingress";
constexpr char kRules[] = "nft -j list ruleset";

// Where no program of netprov's has been.
constexpr char kPlace[] = "/run/netns/place";

constexpr char kV4[] = R"(addresses { address: "10.0.0.2/24" } )";
constexpr char kV6[] = R"(addresses { address: "2001:db8::2/64" } )";
constexpr char kBridge[] = R"(bridge: "bridges/br" )";

// Of the end in blue.
Thing Of(const std::string& text, std::vector<Witness> witnesses, Thing::Kind kind = Thing::kAny,
         const std::string& probe = "") {
  return {absl::StrCat("endpoint_b { ", text, " }"), std::move(witnesses), kind, probe};
}

Thing OfPort(const std::string& text, const std::string& witness) {
  return Of(absl::StrCat(kBridge, "bridge_port { ", text, " }"),
            {{kPort, absl::StrCat(R"([{"master":"br0",)", witness, "}]")}});
}

// What nft has in one of the table's sets or maps.
std::string Element(const std::string& kind, const std::string& name, const std::string& element) {
  return absl::StrCat(R"({"nftables":[{")", kind, R"(":{"family":"inet","table":"netprov","name":")", name,
                      R"(","elem":[)", element, "]}}]}");
}

std::vector<Thing> Things(pid_t inside) {
  std::vector<Thing> things = {
      // Where it lives, and what it is called.
      Of("host {}", {{"ip -j link show", R"([{"ifname":"eth0"}])"}}, Thing::kAlone),
      Of(R"(namespace: "namespaces/green")", {{"ip -n green -j link show", R"([{"ifname":"eth0"}])"}}, Thing::kAlone),
      Of(absl::StrCat("netns_path: \"", kPlace, "\""), {{"ip -n place -j link show", R"([{"ifname":"eth0"}])"}},
         Thing::kAlone),
      Of(absl::StrCat("pid: ", inside), {{"ip -n place -j link show", R"([{"ifname":"eth0"}])"}}, Thing::kAlone),
      Of(R"(interface_name: "other0")", {{"ip -n blue -j link show", R"([{"ifname":"other0"}])"}}, Thing::kAlone),
      Of(R"(alternative_names: "a-name-of-more-than-15-bytes" alternative_names: "short")",
         {{kLink, R"([{"altnames":["a-name-of-more-than-15-bytes","short"]}])"}}),
      // The link.
      Of(R"(mac_address: "02:00:00:00:00:0b")", {{kLink, R"([{"address":"02:00:00:00:00:0b"}])"}}),
      Of("mtu: 1400", {{kLink, R"([{"mtu":1400}])"}}),
      Of("admin_state: ADMIN_STATE_UP", {{kLink, R"([{"flags":["UP","LOWER_UP"]}])"}}, Thing::kDefault),
      Of("admin_state: ADMIN_STATE_DOWN", {{kLink, R"([{"operstate":"DOWN"}])"}}, Thing::kAlone),
      Of("tx_queues: 2", {{kLink, R"([{"num_tx_queues":2}])"}}),
      Of("rx_queues: 3", {{kLink, R"([{"num_rx_queues":3}])"}}),
      Of("promiscuous: true", {{kLink, R"([{"flags":["PROMISC"]}])"}}),
      Of("all_multicast: true", {{kLink, R"([{"flags":["ALLMULTI"]}])"}}),
      Of("offload_limits { gso_max_size: 20000 gso_ipv4_max_size: 20000 }", {{kLink, R"([{"gso_max_size":20000}])"}}),
      Of("offload_limits { gso_max_segments: 100 }", {{kLink, R"([{"gso_max_segs":100}])"}}),
      Of("offload_limits { gro_max_size: 30000 gro_ipv4_max_size: 30000 }", {{kLink, R"([{"gro_max_size":30000}])"}}),
      Of("announce: true", {{"ip netns exec blue sysctl net.ipv4.conf.eth0.arp_notify", "arp_notify = 1"},
                            {"ip netns exec blue sysctl net.ipv6.conf.eth0.ndisc_notify", "ndisc_notify = 1"}}),
      // Addresses.
      Of(kV4, {{kAddresses, R"([{"addr_info":[{"local":"10.0.0.2","prefixlen":24,"scope":"global"}]}])"}}),
      Of(kV6, {{kAddresses, R"([{"addr_info":[{"local":"2001:db8::2","prefixlen":64,"nodad":true}]}])"},
               {kRoutes6, R"([{"dst":"2001:db8::/64","dev":"eth0"}])"}}),
      Of(R"(addresses { address: "10.0.1.2" peer: "10.0.1.1" scope: SCOPE_GLOBAL })",
         {{kAddresses, R"([{"addr_info":[{"local":"10.0.1.2","address":"10.0.1.1","prefixlen":32}]}])"}}),
      Of(R"(addresses { address: "10.0.2.2/24" scope: SCOPE_LINK })",
         {{kAddresses, R"([{"addr_info":[{"local":"10.0.2.2","scope":"link"}]}])"}}),
      Of(R"(addresses { address: "10.0.3.2/24" scope: SCOPE_HOST })",
         {{kAddresses, R"([{"addr_info":[{"local":"10.0.3.2","scope":"host"}]}])"}}),
      Of(R"(addresses { address: "2001:db8:4::2/64" duplicate_detection: DUPLICATE_DETECTION_NONE })",
         {{kAddresses, R"([{"addr_info":[{"local":"2001:db8:4::2","nodad":true}]}])"}}),
      Of(R"(addresses { address: "2001:db8:5::2/64" duplicate_detection: DUPLICATE_DETECTION_WAIT })",
         {{kAddresses, R"([{"addr_info":[{"local":"2001:db8:5::2","prefixlen":64,"scope":"global"}]}])"}}),
      // Routes.
      Of(absl::StrCat(kV4, R"( gateways: "10.0.0.1" gateways: "fe80::1")"),
         {{kRoutes, R"([{"dst":"default","gateway":"10.0.0.1","dev":"eth0","protocol":"110"}])"},
          {kRoutes6, R"([{"dst":"default","gateway":"fe80::1","dev":"eth0","protocol":"110"}])"}}),
      Of(R"(routes { destination: "10.2.0.0/16" scope: SCOPE_LINK })",
         {{kRoutes, R"([{"dst":"10.2.0.0/16","dev":"eth0","protocol":"110","scope":"link","table":"main"}])"}}),
      Of(R"(routes { destination: "10.4.0.0/16" scope: SCOPE_HOST table: 1000 })",
         {{kRoutes, R"([{"dst":"10.4.0.0/16","dev":"eth0","scope":"host","table":"1000"}])"}}),
      Of(absl::StrCat(kV4, R"( routes { destination: "10.3.0.0/16" gateway: "192.0.2.1" metric: 7 table: 1000
             scope: SCOPE_GLOBAL preferred_source: "10.0.0.2" on_link: true mtu: 1400 type: TYPE_UNICAST })"),
         {{kRoutes, R"([{"type":"unicast","dst":"10.3.0.0/16","gateway":"192.0.2.1","dev":"eth0","table":"1000",
                         "protocol":"110","scope":"global","prefsrc":"10.0.0.2","metric":7,"flags":["onlink"],
                         "metrics":[{"mtu":1400}]}])"}}),
      Of(absl::StrCat(kV6, R"( routes { destination: "2001:db8:1::/48" gateway: "2001:db8::1" mtu: 1300 })"),
         {{kRoutes6, R"([{"dst":"2001:db8:1::/48","gateway":"2001:db8::1","dev":"eth0","protocol":"110","metric":1024,
                          "metrics":[{"mtu":1300}]}])"}}),
      Of(R"(routes { destination: "10.7.0.0/16" type: TYPE_BLACKHOLE })",
         {{kRoutes, R"([{"type":"blackhole","dst":"10.7.0.0/16","protocol":"110"}])"}}),
      Of(R"(routes { destination: "10.8.0.0/16" metric: 9 type: TYPE_UNREACHABLE })",
         {{kRoutes, R"([{"type":"unreachable","dst":"10.8.0.0/16","protocol":"110","metric":9}])"}}),
      Of(R"(routes { destination: "2001:db8:9::/48" type: TYPE_PROHIBIT })",
         {{kRoutes6, R"([{"type":"prohibit","dst":"2001:db8:9::/48","protocol":"110","metric":1024}])"}}),
      // Neighbors.
      Of(R"(neighbors { address: "10.0.0.9" mac_address: "02:00:00:00:00:09" }
            neighbors { address: "2001:db8::9" mac_address: "02:00:00:00:00:0a" })",
         {{kNeighbors, R"([{"dst":"10.0.0.9","lladdr":"02:00:00:00:00:09","state":["PERMANENT"]},
                           {"dst":"2001:db8::9","lladdr":"02:00:00:00:00:0a","state":["PERMANENT"]}])"}}),
      // A port of a bridge.
      Of(kBridge, {{kLink, R"([{"master":"br0","linkinfo":{"info_slave_kind":"bridge"}}])"}}),
      Of(R"(bridge_interface: "br-lan" bridge_port { isolated: true })",
         {{kPort, R"([{"master":"br-lan","isolated":true}])"}}, Thing::kAlone),
      Of(absl::StrCat(kBridge,
                      "bridge_port { vlans { first: 10 last: 19 } vlans { first: 20 pvid: true untagged: true } }"),
         {{"bridge -n blue -j vlan show dev eth0",
           R"([{"vlans":[{"vlan":10,"vlanEnd":19},{"vlan":20,"flags":["PVID","Egress Untagged"]}]}])"}},
         Thing::kAny, "ip link add probe type bridge vlan_filtering 1 && ip link delete probe"),
      // Rates, which are at the other end.
      Of("ingress_limit { rate: 10000000 burst: 20000 latency { nanos: 20000000 } }",
         {{kQueueing, R"([{"kind":"tbf","dev":"h0","root":true,"options":{"rate":1250000,"lat":20000}}])"}}),
      Of("egress_limit { rate: 20000000 burst: 30000 latency { nanos: 30000000 } }",
         {{kQueueing, R"([{"kind":"clsact","dev":"h0"},
                          {"kind":"tbf","root":true,"options":{"rate":2500000,"lat":30000}}])"},
          {kFilters, R"([{"pref":28272,"protocol":"all","options":{"actions":[
                         {"kind":"mirred","mirred_action":"redirect","direction":"egress"}]}}])"},
          {"ip -j -d link show type ifb", R"([{"linkinfo":{"info_kind":"ifb"}}])"}}),
      // Address translation, which is at the other end.
      Of(absl::StrCat(kV4, kV6, "masquerade: true"),
         {{kRules, Element("set", "masquerade4", R"({"elem":{"val":{"concat":["10.0.0.2","h0"]}}})")},
          {kRules, Element("set", "masquerade6", R"({"elem":{"val":{"concat":["2001:db8::2","h0"]}}})")}}),
      Of(absl::StrCat(kV4, kV6, "port_forwards { host_port: 8080 port: 80 }"),
         {{kRules,
           Element("map", "forward4_any", R"([{"elem":{"val":{"concat":["tcp",8080]}}},{"concat":["10.0.0.2",80]}])")},
          {kRules, Element("map", "forward6_any",
                           R"([{"elem":{"val":{"concat":["tcp",8080]}}},{"concat":["2001:db8::2",80]}])")}}),
      Of(absl::StrCat(kV4, R"(port_forwards { protocol: PROTOCOL_UDP host_address: "192.0.2.1" host_port: 5000
                                              host_port_last: 5001 port: 6000 })"),
         {{kRules, Element("map", "forward4",
                           R"([{"elem":{"val":{"concat":["192.0.2.1","udp",5000]}}},{"concat":["10.0.0.2",6000]}],
                              [{"elem":{"val":{"concat":["192.0.2.1","udp",5001]}}},{"concat":["10.0.0.2",6001]}])")}}),
      Of(absl::StrCat(kV4, R"(port_forwards { protocol: PROTOCOL_TCP host_address: "0.0.0.0" host_port: 443 })"),
         {{kRules, Element("map", "forward4_any",
                           R"([{"elem":{"val":{"concat":["tcp",443]}}},{"concat":["10.0.0.2",443]}])")}}),
      Of(absl::StrCat(kV4, kV6, "ip_forwarding: true"),
         {{"sysctl net.ipv4.ip_forward", "= 1"}, {"sysctl net.ipv6.conf.all.forwarding", "= 1"}}),
      // A text of its user's.
      Of(R"(alias: "to the lab")", {{"ip -n blue -d link show dev eth0", ":veths/v to the lab"}}),
      // Of whom the kernel knows nothing.
      {R"(metadata { owner: "ci/job-17" ttl { seconds: 600 } })", {}},
      {R"(metadata { labels { key: "stage" value: "test" } labels { key: "empty" value: "" } })", {}},
      {"metadata { persistent: true }", {}},
      {"metadata { self_heal: true }", {}},
  };
  for (const auto& [text, witness] : kPortSettings) things.push_back(OfPort(text, witness));
  return things;
}

// What no update can name: where an end lives, and what it got at its birth.
std::set<std::string> Fixed() {
  std::set<std::string> fixed;
  for (const char* end : {"endpoint_a.", "endpoint_b."}) {
    for (const char* field :
         {"host", "namespace", "netns_path", "pid", "interface_name", "tx_queues", "rx_queues", "announce"}) {
      fixed.insert(absl::StrCat(end, field));
    }
  }
  return fixed;
}

void FillEnd(const v1::VethEndpoint& made, v1::VethEndpoint& end) {
  FillLink(made, 1500, end);
  if (end.tx_queues() == 0) end.set_tx_queues(1);
  if (end.rx_queues() == 0) end.set_rx_queues(1);
  for (v1::Address& address : *end.mutable_addresses()) FillAddress(address);
  for (v1::Route& route : *end.mutable_routes()) FillRoute(route);
  if (!end.bridge().empty() || !end.bridge_interface().empty()) FillPort(/*cost=*/2, *end.mutable_bridge_port());
  for (v1::PortForward& forward : *end.mutable_port_forwards()) {
    if (forward.protocol() == v1::PortForward::PROTOCOL_UNSPECIFIED)
      forward.set_protocol(v1::PortForward::PROTOCOL_TCP);
    if (forward.host_port_last() == 0) forward.set_host_port_last(forward.host_port());
    if (forward.port() == 0) forward.set_port(forward.host_port());
  }
}

class VethFieldsTest : public FieldMatrixTest {
 protected:
  void SetUp() override {
    HostTest::SetUp();
    Shell("sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0; ip netns add place");
    inside_ = std::make_unique<Process>(
        std::vector<std::string>{"ip", "netns", "exec", "place", "sh", "-c", "echo here >&2; exec sleep 600"});
    inside_->WaitForLine("here");
    StartDaemon();
    for (const char* name : {"blue", "green"}) {
      v1::CreateNamespaceRequest netns;
      netns.set_namespace_id(name);
      netns.mutable_namespace_()->mutable_metadata()->set_persistent(true);
      EXPECT_OK(client_->Create(netns));
    }
    v1::CreateBridgeRequest bridge;
    bridge.set_bridge_id("br");
    bridge.mutable_bridge()->set_namespace_("namespaces/blue");
    bridge.mutable_bridge()->set_interface_name("br0");
    bridge.mutable_bridge()->mutable_metadata()->set_persistent(true);
    EXPECT_OK(client_->Create(bridge));
    Shell("ip -n blue link add br-lan address 02:00:00:00:00:1a type bridge; ip -n blue link set br-lan up");
  }
  void TearDown() override {
    for (const char* name : {"blue", "green"}) EXPECT_OK(client_->DeleteNamespace(name));
    inside_ = nullptr;
    Shell("ip netns delete place");
    HostTest::TearDown();
  }

  static v1::Veth Base(const std::string& more = "") {
    v1::Veth veth = VethRequest("v", "h0", "blue", "eth0").veth();
    EXPECT_TRUE(google::protobuf::TextFormat::MergeFromString(more, &veth)) << more;
    return veth;
  }

  Answer Make(const Message& asked) override {
    // No field of the pair, and nothing that goes with it.
    Shell("sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0");
    v1::CreateVethRequest request;
    request.set_veth_id("v");
    return MakeBy(request, request.mutable_veth(), asked);
  }
  Answer Read() override { return AnswerOf(client_->GetVeth("v")); }
  Answer Update(const Message& wanted, const std::vector<std::string>& paths, bool validate_only) override {
    v1::UpdateVethRequest request;
    return UpdateBy(request, request.mutable_veth(), wanted, paths, validate_only);
  }
  void Remove() override { EXPECT_OK(client_->DeleteVeth("v")); }

  void Fill(const Message& made, Message& asked) override {
    const auto& answered = static_cast<const v1::Veth&>(made);
    auto& veth = static_cast<v1::Veth&>(asked);
    FillObject(answered, "veths/v", veth);
    FillEnd(answered.endpoint_a(), *veth.mutable_endpoint_a());
    FillEnd(answered.endpoint_b(), *veth.mutable_endpoint_b());
  }

  std::string Everything() override {
    return Shell(absl::StrCat(
        "for ns in blue green place; do ip -n $ns -d address; ip -n $ns neighbor show nud permanent; "
        "ip -n $ns route show table all proto 110; ip -n $ns -6 route show table all proto 110; done",
        kSteady, "ip -d address", kSteady,
        "tc qdisc show | grep 'tbf\\|clsact'; tc filter show dev h0 ingress 2>/dev/null; nft list ruleset"));
  }

  std::unique_ptr<Process> inside_;
};

TEST_F(VethFieldsTest, EachAlone) { ExpectEachAlone(Base(), Things(inside_->pid())); }

TEST_F(VethFieldsTest, AllTogether) { ExpectAllTogether(Base(), Things(inside_->pid())); }

TEST_F(VethFieldsTest, UpdatesOfEachAloneAndOfAllTogether) {
  // So that the kernel's own values come back.
  ExpectUpdates(Base("endpoint_b { offload_limits { gso_max_size: 65536 gso_max_segments: 65535 gro_max_size: 65536 "
                     "gso_ipv4_max_size: 65536 gro_ipv4_max_size: 65536 } }"),
                Things(inside_->pid()), Fixed());
}

TEST_F(VethFieldsTest, WhatTheServerFillsInIsTheKernels) {
  const Answer made = Make(Base());
  EXPECT_OK(made);
  const auto& veth = static_cast<const v1::Veth&>(*made.value);
  for (const auto& [end, command] : {std::pair(&veth.endpoint_a(), "ip -j link show dev h0"),
                                     std::pair(&veth.endpoint_b(), "ip -n blue -j link show dev eth0")}) {
    EXPECT_TRUE(Shows(json::parse(Shell(command), nullptr, false), LinkOf(end->ifindex(), end->mac_address(), 1500)))
        << command;
    EXPECT_THAT(Shell(command), HasSubstr(absl::StrCat(":", veth.uid(), ":veths/v")));
  }
  Remove();
}

TEST_F(VethFieldsTest, NothingIsForgotten) {
  ExpectComplete(Base(), Things(inside_->pid()));
  ExpectRefusesOnly(Base(), Fixed());
}

}  // namespace
}  // namespace netprov::testing
