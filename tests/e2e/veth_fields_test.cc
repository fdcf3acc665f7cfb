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

// Where no program of netprov's has been.
constexpr char kPlace[] = "/run/netns/place";

constexpr char kV4[] = R"(addresses { address: "10.0.0.2/24" } )";
constexpr char kV6[] = R"(addresses { address: "2001:db8::2/64" } )";

// An end of the pair: how it is asked for, where it is seen, and what there is beside it.
struct End {
  std::string field;
  std::string name;
  // The namespace for ip, tc and bridge, as ` -n blue`, and for what has no such option, as `ip netns exec blue `.
  std::string option;
  std::string prefix;
  std::string bridge;  // whose port it may be
  int host;            // of an address that nobody else has

  std::string Ip(const std::string& arguments) const { return absl::StrCat("ip", option, " ", arguments); }
};

End Inside() {
  return {.field = "endpoint_b",
          .name = "eth0",
          .option = " -n blue",
          .prefix = "ip netns exec blue ",
          .bridge = "bridges/br",
          .host = 2};
}
End OnTheHost() {
  return {.field = "endpoint_a", .name = "h0", .option = "", .prefix = "", .bridge = "bridges/hostbr", .host = 3};
}

// What nft has in one of the table's sets or maps.
std::string Element(const std::string& kind, const std::string& name, const std::string& element) {
  return absl::StrCat(R"({"nftables":[{")", kind, R"(":{"family":"inet","table":"netprov","name":")", name,
                      R"(","elem":[)", element, "]}}]}");
}

// Of `end`. `other` is where its limits and the translation of its addresses are.
std::vector<Thing> ThingsOf(const End& end, const End& other, pid_t inside) {
  const std::string link = end.Ip(absl::StrCat("-j -d link show dev ", end.name));
  const std::string port = absl::StrCat("bridge", end.option, " -j -d link show dev ", end.name);
  const std::string addresses = end.Ip(absl::StrCat("-j address show dev ", end.name));
  const std::string routes = end.Ip("-j -d route show table all");
  const std::string routes6 = end.Ip("-6 -j -d route show table all");
  const std::string neighbors = end.Ip(absl::StrCat("-j neighbor show dev ", end.name));
  const std::string queueing = absl::StrCat("tc", other.option, " -j qdisc show");
  const std::string filters = absl::StrCat("tc", other.option, " -j filter show dev ", other.name, " ingress");
  const std::string rules = absl::StrCat(other.prefix, "nft -j list ruleset");
  const std::string bridge = absl::StrCat("bridge: \"", end.bridge, "\" ");
  const auto of = [&end](const std::string& text, std::vector<Witness> witnesses, Thing::Kind kind = Thing::kAny,
                         const std::string& probe = "") {
    return Thing{absl::StrCat(end.field, " { ", text, " }"), std::move(witnesses), kind, probe};
  };
  const auto of_port = [&](const std::string& text, const std::string& witness) {
    return of(absl::StrCat(bridge, "bridge_port { ", text, " }"),
              {{port, absl::StrCat(R"([{"master":"br0",)", witness, "}]")}});
  };
  // It where it lives elsewhere, and a route through it.
  const std::string named = absl::StrCat("[{\"ifname\":\"", end.name, "\"}]");
  const auto through = [&end](const std::string& route) {
    return absl::StrCat("[{", route, ",\"dev\":\"", end.name, "\"}]");
  };
  // The link beside it is the other end or, where that is a port, the bridge: nat_test and stack_test need the right
  // one.
  const auto leaves = [](const std::string& address) {
    return absl::StrCat(R"({"elem":{"val":{"concat":[")", address, "\"]}}}");
  };
  const std::string alone = absl::StrCat("2001:db8:5::", end.host);
  const std::string mac = absl::StrCat("02:00:00:00:00:0", end.host);
  return {
      // Where it lives, and what it is called.
      of(R"(namespace: "namespaces/green")", {{"ip -n green -j link show", named}}, Thing::kAlone),
      of(absl::StrCat("netns_path: \"", kPlace, "\""), {{"ip -n place -j link show", named}}, Thing::kAlone),
      of(absl::StrCat("pid: ", inside), {{"ip -n place -j link show", named}}, Thing::kAlone),
      of(R"(interface_name: "other0")", {{end.Ip("-j link show"), R"([{"ifname":"other0"}])"}}, Thing::kAlone),
      of(R"(alternative_names: "a-name-of-more-than-15-bytes" alternative_names: "short")",
         {{link, R"([{"altnames":["a-name-of-more-than-15-bytes","short"]}])"}}),
      // The link.
      of(absl::StrCat("mac_address: \"", mac, "\""), {{link, absl::StrCat(R"([{"address":")", mac, R"("}])")}}),
      of("mtu: 1400", {{link, R"([{"mtu":1400}])"}}),
      of("admin_state: ADMIN_STATE_UP", {{link, R"([{"flags":["UP","LOWER_UP"]}])"}}, Thing::kDefault),
      of("admin_state: ADMIN_STATE_DOWN", {{link, R"([{"operstate":"DOWN"}])"}}, Thing::kAlone),
      of("tx_queues: 2", {{link, R"([{"num_tx_queues":2}])"}}),
      of("rx_queues: 3", {{link, R"([{"num_rx_queues":3}])"}}),
      of("promiscuous: true", {{link, R"([{"flags":["PROMISC"]}])"}}),
      of("all_multicast: true", {{link, R"([{"flags":["ALLMULTI"]}])"}}),
      of("offload_limits { gso_max_size: 20000 gso_ipv4_max_size: 20000 }", {{link, R"([{"gso_max_size":20000}])"}}),
      of("offload_limits { gso_max_segments: 100 }", {{link, R"([{"gso_max_segs":100}])"}}),
      of("offload_limits { gro_max_size: 30000 gro_ipv4_max_size: 30000 }", {{link, R"([{"gro_max_size":30000}])"}}),
      of("announce: true",
         {{absl::StrCat(end.prefix, "sysctl net.ipv4.conf.", end.name, ".arp_notify"), "arp_notify = 1"},
          {absl::StrCat(end.prefix, "sysctl net.ipv6.conf.", end.name, ".ndisc_notify"), "ndisc_notify = 1"}}),
      // Addresses.
      of(kV4, {{addresses, R"([{"addr_info":[{"local":"10.0.0.2","prefixlen":24,"scope":"global"}]}])"}}),
      of(kV6, {{addresses, R"([{"addr_info":[{"local":"2001:db8::2","prefixlen":64,"nodad":true}]}])"},
               {routes6, through(R"("dst":"2001:db8::/64")")}}),
      of(R"(addresses { address: "10.0.1.2" peer: "10.0.1.1" scope: SCOPE_GLOBAL })",
         {{addresses, R"([{"addr_info":[{"local":"10.0.1.2","address":"10.0.1.1","prefixlen":32}]}])"}}),
      of(R"(addresses { address: "10.0.2.2/24" scope: SCOPE_LINK })",
         {{addresses, R"([{"addr_info":[{"local":"10.0.2.2","scope":"link"}]}])"}}),
      of(R"(addresses { address: "10.0.3.2/24" scope: SCOPE_HOST })",
         {{addresses, R"([{"addr_info":[{"local":"10.0.3.2","scope":"host"}]}])"}}),
      of(R"(addresses { address: "2001:db8:4::2/64" duplicate_detection: DUPLICATE_DETECTION_NONE })",
         {{addresses, R"([{"addr_info":[{"local":"2001:db8:4::2","nodad":true}]}])"}}),
      of(absl::StrCat("addresses { address: \"", alone, "/64\" duplicate_detection: DUPLICATE_DETECTION_WAIT }"),
         {{addresses,
           absl::StrCat(R"([{"addr_info":[{"local":")", alone, R"(","prefixlen":64,"scope":"global"}]}])")}}),
      // Routes.
      of(absl::StrCat(kV4, R"( gateways: "10.0.0.1" gateways: "fe80::1")"),
         {{routes, through(R"("dst":"default","gateway":"10.0.0.1","protocol":"110")")},
          {routes6, through(R"("dst":"default","gateway":"fe80::1","protocol":"110")")}}),
      of(R"(routes { destination: "10.2.0.0/16" scope: SCOPE_LINK })",
         {{routes, through(R"("dst":"10.2.0.0/16","protocol":"110","scope":"link","table":"main")")}}),
      of(R"(routes { destination: "10.4.0.0/16" scope: SCOPE_HOST table: 1000 })",
         {{routes, through(R"("dst":"10.4.0.0/16","scope":"host","table":"1000")")}}),
      of(absl::StrCat(kV4, R"( routes { destination: "10.3.0.0/16" gateway: "192.0.2.1" metric: 7 table: 1000
             scope: SCOPE_GLOBAL preferred_source: "10.0.0.2" on_link: true mtu: 1400 type: TYPE_UNICAST })"),
         {{routes, through(R"("type":"unicast","dst":"10.3.0.0/16","gateway":"192.0.2.1","table":"1000",
                         "protocol":"110","scope":"global","prefsrc":"10.0.0.2","metric":7,"flags":["onlink"],
                         "metrics":[{"mtu":1400}])")}}),
      of(absl::StrCat(kV6, R"( routes { destination: "2001:db8:1::/48" gateway: "2001:db8::1" mtu: 1300 })"),
         {{routes6, through(R"("dst":"2001:db8:1::/48","gateway":"2001:db8::1","protocol":"110","metric":1024,
                          "metrics":[{"mtu":1300}])")}}),
      of(R"(routes { destination: "10.7.0.0/16" type: TYPE_BLACKHOLE })",
         {{routes, R"([{"type":"blackhole","dst":"10.7.0.0/16","protocol":"110"}])"}}),
      of(R"(routes { destination: "10.8.0.0/16" metric: 9 type: TYPE_UNREACHABLE })",
         {{routes, R"([{"type":"unreachable","dst":"10.8.0.0/16","protocol":"110","metric":9}])"}}),
      of(R"(routes { destination: "2001:db8:9::/48" type: TYPE_PROHIBIT })",
         {{routes6, R"([{"type":"prohibit","dst":"2001:db8:9::/48","protocol":"110","metric":1024}])"}}),
      // Neighbors.
      of(R"(neighbors { address: "10.0.0.9" mac_address: "02:00:00:00:00:09" }
            neighbors { address: "2001:db8::9" mac_address: "02:00:00:00:00:0a" })",
         {{neighbors, R"([{"dst":"10.0.0.9","lladdr":"02:00:00:00:00:09","state":["PERMANENT"]},
                           {"dst":"2001:db8::9","lladdr":"02:00:00:00:00:0a","state":["PERMANENT"]}])"}}),
      // A port of a bridge.
      of(bridge, {{link, R"([{"master":"br0","linkinfo":{"info_slave_kind":"bridge"}}])"}}),
      of(R"(bridge_interface: "br-lan" bridge_port { isolated: true })",
         {{port, R"([{"master":"br-lan","isolated":true}])"}}, Thing::kAlone),
      of_port("hairpin: true", R"("hairpin":true)"),
      of_port("isolated: true", R"("isolated":true)"),
      of_port("learning: false", R"("learning":false)"),
      of_port("unicast_flood: false", R"("flood":false)"),
      of_port("multicast_flood: false", R"("mcast_flood":false)"),
      of_port("broadcast_flood: false", R"("bcast_flood":false)"),
      of_port("neighbor_suppression: true", R"("neigh_suppress":true)"),
      of_port("cost: 7", R"("cost":7)"),
      of_port("priority: 5", R"("priority":5)"),
      of(absl::StrCat(bridge,
                      "bridge_port { vlans { first: 10 last: 19 } vlans { first: 20 pvid: true untagged: true } }"),
         {{absl::StrCat("bridge", end.option, " -j vlan show dev ", end.name),
           R"([{"vlans":[{"vlan":10,"vlanEnd":19},{"vlan":20,"flags":["PVID","Egress Untagged"]}]}])"}},
         Thing::kAny, "ip link add probe type bridge vlan_filtering 1 && ip link delete probe"),
      // Rates, which are at the other end.
      of("ingress_limit { rate: 10000000 burst: 20000 latency { nanos: 20000000 } }",
         {{queueing, absl::StrCat(R"([{"kind":"tbf","dev":")", other.name,
                                  R"(","root":true,"options":{"rate":1250000,"burst":20000,"lat":20000}}])")}}),
      of("egress_limit { rate: 20000000 burst: 30000 latency { nanos: 30000000 } }",
         {{queueing, absl::StrCat(R"([{"kind":"clsact","dev":")", other.name, R"("},
                          {"kind":"tbf","root":true,"options":{"rate":2500000,"burst":30000,"lat":30000}}])")},
          {filters, R"([{"pref":28272,"protocol":"all","options":{"actions":[
                         {"kind":"mirred","mirred_action":"redirect","direction":"egress"}]}}])"},
          {other.Ip("-j -d link show type ifb"), R"([{"linkinfo":{"info_kind":"ifb"}}])"}}),
      // Address translation, which is at the other end.
      of(absl::StrCat(kV4, kV6, "masquerade: true"), {{rules, Element("set", "masquerade4", leaves("10.0.0.2"))},
                                                      {rules, Element("set", "masquerade6", leaves("2001:db8::2"))}}),
      of(absl::StrCat(kV4, kV6, "port_forwards { host_port: 8080 port: 80 }"),
         {{rules,
           Element("map", "forward4_any", R"([{"elem":{"val":{"concat":["tcp",8080]}}},{"concat":["10.0.0.2",80]}])")},
          {rules, Element("map", "forward6_any",
                          R"([{"elem":{"val":{"concat":["tcp",8080]}}},{"concat":["2001:db8::2",80]}])")}}),
      of(absl::StrCat(kV4, R"(port_forwards { protocol: PROTOCOL_UDP host_address: "192.0.2.1" host_port: 5000
                                              host_port_last: 5001 port: 6000 })"),
         {{rules, Element("map", "forward4",
                          R"([{"elem":{"val":{"concat":["192.0.2.1","udp",5000]}}},{"concat":["10.0.0.2",6000]}],
                              [{"elem":{"val":{"concat":["192.0.2.1","udp",5001]}}},{"concat":["10.0.0.2",6001]}])")}}),
      of(absl::StrCat(kV4, R"(port_forwards { protocol: PROTOCOL_TCP host_address: "0.0.0.0" host_port: 443 })"),
         {{rules, Element("map", "forward4_any",
                          R"([{"elem":{"val":{"concat":["tcp",443]}}},{"concat":["10.0.0.2",443]}])")}}),
      of(absl::StrCat(kV4, kV6, "ip_forwarding: true"),
         {{absl::StrCat(other.prefix, "sysctl net.ipv4.ip_forward"), "= 1"},
          {absl::StrCat(other.prefix, "sysctl net.ipv6.conf.all.forwarding"), "= 1"}}),
      // A text of its user's.
      of(R"(alias: "to the lab")", {{end.Ip(absl::StrCat("-d link show dev ", end.name)), ":veths/v to the lab"}}),
  };
}

std::vector<Thing> Things(pid_t inside) {
  const std::vector<Thing> of_both[] = {ThingsOf(Inside(), OnTheHost(), inside),
                                        ThingsOf(OnTheHost(), Inside(), inside)};
  std::vector<Thing> all = {
      {"endpoint_a { namespace: \"namespaces/blue\" }",
       {{"ip -n blue -j link show", R"([{"ifname":"h0"}])"}},
       Thing::kAlone},
      {"endpoint_b { host {} }", {{"ip -j link show", R"([{"ifname":"eth0"}])"}}, Thing::kAlone},
      // Of whom the kernel knows nothing.
      {R"(metadata { owner: "ci/job-17" ttl { seconds: 600 } })", {}},
      {R"(metadata { labels { key: "stage" value: "test" } labels { key: "empty" value: "" } })", {}},
      {"metadata { persistent: true }", {}},
      {"metadata { self_heal: true }", {}},
  };
  for (const std::vector<Thing>& things : of_both) all.insert(all.end(), things.begin(), things.end());
  return all;
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
        std::vector<std::string>{"ip", "netns", "exec", "place", "sh", "-c", "echo here >&2; exec sleep infinity"});
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
    bridge.set_bridge_id("hostbr");
    bridge.mutable_bridge()->mutable_host();
    EXPECT_OK(client_->Create(bridge));
    Shell(
        "ip link add br-lan address 02:00:00:00:00:1a type bridge; ip link set br-lan addrgenmode none; ip link set "
        "br-lan up");
    Shell(
        "ip -n blue link add br-lan address 02:00:00:00:00:1b type bridge; ip -n blue link set br-lan addrgenmode "
        "none; ip -n blue link set br-lan up");
  }
  void TearDown() override {
    for (const char* name : {"blue", "green"}) EXPECT_OK(client_->DeleteNamespace(name));
    EXPECT_OK(client_->DeleteBridge("hostbr"));
    Shell("ip link delete br-lan");
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
    for (const End& end : {Inside(), OnTheHost()}) {
      Shell(absl::StrCat(end.prefix, "sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0"));
    }
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
    return Shell(
        absl::StrCat("for ns in blue green place; do ip -n $ns -d address; ip -n $ns neighbor show nud permanent; "
                     "ip -n $ns route show table all proto 110; ip -n $ns -6 route show table all proto 110; done",
                     kSteady, "ip -d address", kSteady,
                     "for at in '' '-n blue'; do tc $at qdisc show | grep 'tbf\\|clsact'; done; "
                     "tc filter show dev h0 ingress 2>/dev/null; tc -n blue filter show dev eth0 ingress 2>/dev/null; "
                     "nft list ruleset; ip netns exec blue nft list ruleset"));
  }

  std::unique_ptr<Process> inside_;
};

TEST_F(VethFieldsTest, EachAlone) { ExpectEachAlone(Base(), Things(inside_->pid())); }

TEST_F(VethFieldsTest, AllTogether) { ExpectAllTogether(Base(), Things(inside_->pid())); }

TEST_F(VethFieldsTest, UpdatesOfEachAloneAndOfAllTogether) {
  // So that the kernel's own values come back.
  const std::string limits =
      "offload_limits { gso_max_size: 65536 gso_max_segments: 65535 gro_max_size: 65536 gso_ipv4_max_size: 65536 "
      "gro_ipv4_max_size: 65536 }";
  ExpectUpdates(Base(absl::StrCat("endpoint_a { ", limits, " } endpoint_b { ", limits, " }")), Things(inside_->pid()),
                Fixed());
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
