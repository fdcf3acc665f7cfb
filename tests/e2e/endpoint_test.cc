// What an endpoint can have, each alone and all together: as asked for, as Get reads it, and as `ip` shows it.
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"
#include "tests/component/test_client.h"
#include "tests/e2e/host_fixture.h"
#include "tests/testing/private_host.h"

namespace netprov::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// One thing of an endpoint, in the form in which it is answered, and what `ip` says of it.
struct Thing {
  const char* name;
  std::string text;
  // A command, about the link eth0 in the namespace blue, and what it prints.
  std::vector<std::pair<const char*, const char*>> shown;
};

constexpr char kAddresses[] = "ip -n blue -o address show dev eth0";
constexpr char kRoutes[] = "ip -n blue -d route show";
constexpr char kRoutes6[] = "ip -n blue -6 -d route show";
constexpr char kLink[] = "ip -n blue -d link show dev eth0";
constexpr char kNeighbors[] = "ip -n blue neighbor show dev eth0";

constexpr char kV4[] = R"(addresses { address: "10.0.0.2/24" scope: SCOPE_GLOBAL })";
constexpr char kV6[] = R"(addresses { address: "2001:db8::2/64"
                                      duplicate_detection: DUPLICATE_DETECTION_NONE })";

std::vector<Thing> Things() {
  return {
      {"Ipv4", kV4, {{kAddresses, "inet 10.0.0.2/24 scope global eth0"}}},
      {"Ipv6", kV6, {{kAddresses, "inet6 2001:db8::2/64 scope global nodad"}, {kRoutes6, "2001:db8::/64 dev eth0"}}},
      {"Peer",
       R"(addresses { address: "10.0.1.2/32" peer: "10.0.1.1" scope: SCOPE_GLOBAL })",
       {{kAddresses, "inet 10.0.1.2 peer 10.0.1.1/32 scope global"}}},
      {"Scope",
       R"(addresses { address: "10.0.2.2/24" scope: SCOPE_LINK })",
       {{kAddresses, "inet 10.0.2.2/24 scope link"}}},
      {"DuplicateDetection",
       R"(addresses { address: "2001:db8:5::2/64" duplicate_detection: DUPLICATE_DETECTION_WAIT })",
       {{kAddresses, "inet6 2001:db8:5::2/64 scope global"}}},
      {"Gateways",
       absl::StrCat(kV4, R"( gateways: "10.0.0.1" gateways: "fe80::1")"),
       {{kRoutes, "default via 10.0.0.1 dev eth0 proto 110"}, {kRoutes6, "default via fe80::1 dev eth0 proto 110"}}},
      {"RouteOnTheLink",
       R"(routes { destination: "10.2.0.0/16" table: 254 scope: SCOPE_LINK type: TYPE_UNICAST })",
       {{kRoutes, "10.2.0.0/16 dev eth0 proto 110 scope link"}}},
      {"RouteWithAll",
       absl::StrCat(kV4, R"( routes { destination: "10.3.0.0/16" gateway: "192.0.2.1" metric: 7 table: 1000
                             scope: SCOPE_GLOBAL preferred_source: "10.0.0.2" on_link: true mtu: 1400
                             type: TYPE_UNICAST })"),
       {{"ip -n blue -d route show table 1000",
         "10.3.0.0/16 via 192.0.2.1 dev eth0 proto 110 scope global src 10.0.0.2 metric 7 onlink mtu 1400"}}},
      {"Ipv6Route",
       absl::StrCat(
           kV6,
           R"( routes { destination: "2001:db8:1::/48" gateway: "2001:db8::1" metric: 55 table: 254 mtu: 1300 type: TYPE_UNICAST })"),
       {{kRoutes6, "2001:db8:1::/48 via 2001:db8::1 dev eth0 proto 110 scope global metric 55 mtu 1300"}}},
      {"RoutesToNowhere",
       R"(routes { destination: "10.7.0.0/16" table: 254 type: TYPE_BLACKHOLE }
          routes { destination: "10.8.0.0/16" metric: 9 table: 254 type: TYPE_UNREACHABLE }
          routes { destination: "2001:db8:9::/48" metric: 1024 table: 254 type: TYPE_PROHIBIT })",
       {{kRoutes, "blackhole 10.7.0.0/16 proto 110"},
        {kRoutes, "unreachable 10.8.0.0/16 proto 110 scope global metric 9"},
        {kRoutes6, "prohibit 2001:db8:9::/48 dev lo proto 110"}}},
      {"Neighbors",
       R"(neighbors { address: "10.0.0.9" mac_address: "02:00:00:00:00:09" }
          neighbors { address: "2001:db8::9" mac_address: "02:00:00:00:00:0a" })",
       {{kNeighbors, "10.0.0.9 lladdr 02:00:00:00:00:09"}, {kNeighbors, "2001:db8::9 lladdr 02:00:00:00:00:0a"}}},
      {"AlternativeNames",
       R"(alternative_names: "a-name-of-more-than-15-bytes" alternative_names: "short")",
       {{kLink, "altname a-name-of-more-than-15-bytes"}, {kLink, "altname short"}}},
      {"Queues", "tx_queues: 2 rx_queues: 3", {{kLink, "numtxqueues 2 numrxqueues 3"}}},
      {"Flags", "promiscuous: true all_multicast: true", {{kLink, "PROMISC"}, {kLink, "ALLMULTI"}}},
      {"Alias", R"(alias: "to the lab")", {{kLink, ":veths/v to the lab"}}},
      {"Announce",
       "announce: true",
       {{"ip netns exec blue sysctl net.ipv4.conf.eth0.arp_notify", "= 1"},
        {"ip netns exec blue sysctl net.ipv6.conf.eth0.ndisc_notify", "= 1"}}},
      {"OffloadLimits",
       R"(offload_limits { gso_max_size: 20000 gso_max_segments: 100 gro_max_size: 30000 gso_ipv4_max_size: 20000
                           gro_ipv4_max_size: 30000 })",
       {{kLink, "gso_max_size 20000"}, {kLink, "gso_max_segs 100"}}},
      {"MacMtuAndState",
       R"(mac_address: "02:00:00:00:00:0b" mtu: 1400 admin_state: ADMIN_STATE_UP)",
       {{kLink, "02:00:00:00:00:0b"}, {kLink, "mtu 1400"}, {kLink, "UP"}}},
  };
}

class EndpointTest : public HostTest {
 protected:
  void SetUp() override {
    HostTest::SetUp();
    StartDaemon();
    EXPECT_OK(client_->CreateNamespace("blue"));
  }
  void TearDown() override {
    EXPECT_OK(client_->DeleteNamespace("blue"));
    HostTest::TearDown();
  }

  static v1::VethEndpoint Parse(const std::string& text) {
    v1::VethEndpoint endpoint;
    EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &endpoint)) << text;
    return endpoint;
  }

  // A pair `v` from h0 on the host to eth0 in blue, which has `things`.
  static v1::CreateVethRequest RequestFor(const v1::VethEndpoint& things) {
    v1::CreateVethRequest request = VethRequest("v", "h0", "blue", "eth0");
    request.mutable_veth()->mutable_endpoint_b()->MergeFrom(things);
    return request;
  }

  // Expects that it is answered, read and shown.
  void ExpectHas(const v1::VethEndpoint& things, const std::vector<std::pair<const char*, const char*>>& shown) {
    const Reply<v1::Veth> made = client_->Create(RequestFor(things));
    EXPECT_OK(made);
    if (!made.ok()) return;
    v1::VethEndpoint expected = made.value.endpoint_b();
    // What was asked for replaces what was answered: where that is the same, nothing changes.
    for (int number = 1; number <= v1::VethEndpoint::descriptor()->field_count(); ++number) {
      const auto* field = v1::VethEndpoint::descriptor()->FindFieldByNumber(number);
      if (field != nullptr && field->is_repeated() && things.GetReflection()->FieldSize(things, field) > 0) {
        expected.GetReflection()->ClearField(&expected, field);
      }
    }
    expected.MergeFrom(things);
    EXPECT_EQ(made.value.endpoint_b().DebugString(), expected.DebugString());
    const Reply<v1::Veth> read = client_->GetVeth("v");
    EXPECT_OK(read);
    EXPECT_EQ(read.value.state(), v1::Veth::STATE_READY) << read.value.DebugString();
    EXPECT_EQ(read.value.endpoint_b().DebugString(), expected.DebugString());
    for (const auto& [command, text] : shown) EXPECT_THAT(Shell(command), HasSubstr(text)) << command;
  }
};

TEST_F(EndpointTest, EachThingAlone) {
  const std::string before = Shell("ip -n blue -d address; ip -n blue route show table all");
  for (const Thing& thing : Things()) {
    SCOPED_TRACE(thing.name);
    ExpectHas(Parse(thing.text), thing.shown);
    EXPECT_OK(client_->DeleteVeth("v"));
    EXPECT_EQ(Shell("ip -n blue -d address; ip -n blue route show table all"), before);
  }
}

TEST_F(EndpointTest, AllThingsTogether) {
  const std::string before = Shell("ip -n blue -d address; ip -n blue route show table all");
  v1::VethEndpoint all;
  std::vector<std::pair<const char*, const char*>> shown;
  for (const Thing& thing : Things()) {
    v1::VethEndpoint things = Parse(thing.text);
    // Those that several need.
    if (all.addresses_size() > 1 && things.addresses_size() > 0 &&
        (things.addresses(0).address() == "10.0.0.2/24" || things.addresses(0).address() == "2001:db8::2/64")) {
      things.clear_addresses();
    }
    all.MergeFrom(things);
    shown.insert(shown.end(), thing.shown.begin(), thing.shown.end());
  }
  ExpectHas(all, shown);
  // After a restart too.
  KillDaemon();
  StartDaemon();
  EXPECT_THAT(Findings(), IsEmpty());
  EXPECT_EQ(client_->GetVeth("v").value.state(), v1::Veth::STATE_READY);
  EXPECT_OK(client_->DeleteVeth("v"));
  EXPECT_EQ(Shell("ip -n blue -d address; ip -n blue route show table all"), before);
}

TEST_F(EndpointTest, TwoNamespacesTalkOverBothFamilies) {
  EXPECT_OK(client_->CreateNamespace("green"));
  v1::CreateVethRequest request = RequestFor(Parse(absl::StrCat(kV4, kV6)));
  v1::VethEndpoint& other = *request.mutable_veth()->mutable_endpoint_a();
  other = Parse(R"(namespace: "namespaces/green" interface_name: "eth0" addresses { address: "10.0.0.1/24" }
                   addresses { address: "2001:db8::1/64" } gateways: "10.0.0.2" gateways: "2001:db8::2")");
  EXPECT_OK(client_->Create(request));
  for (const char* address : {"10.0.0.2", "2001:db8::2"}) {
    Shell(absl::StrCat("ip netns exec green /usr/bin/python3 tests/kernel/echo_through.py blue ", address));
  }
  EXPECT_OK(client_->DeleteNamespace("green"));
}

TEST_F(EndpointTest, ARefusalNamesWhatWasRefusedAndLeavesNothing) {
  const std::string before = Shell("ip -n blue -d address; ip -n blue route show table all; ip -d address; ip route");
  auto refused = [&](const std::string& things) {
    const Reply<v1::Veth> reply = client_->Create(RequestFor(Parse(things)));
    EXPECT_EQ(Shell("ip -n blue -d address; ip -n blue route show table all; ip -d address; ip route"), before);
    EXPECT_EQ(client_->GetVeth("v").Summary(), "NOT_FOUND VETH_NOT_FOUND");
    return reply;
  };
  Reply<v1::Veth> reply = refused(R"(gateways: "192.0.2.1")");
  EXPECT_EQ(reply.Summary(), "INVALID_ARGUMENT INVALID_FIELD");
  EXPECT_THAT(reply.Fields(), ElementsAre("veth.endpoint_b.gateways[0]"));

  Shell("ip -n blue route add blackhole 10.7.0.0/16");
  const std::string foreign = Shell("ip -n blue route show table all");
  reply = client_->Create(RequestFor(
      Parse(absl::StrCat(kV4, R"(routes { destination: "10.7.0.0/16" gateway: "10.0.0.1" } alternative_names: "x")"))));
  EXPECT_EQ(reply.Summary(), "ALREADY_EXISTS ROUTE_ALREADY_EXISTS") << reply.message;
  EXPECT_THAT(reply.message, HasSubstr("10.7.0.0/16"));
  EXPECT_EQ(reply.Metadata()["step"], "configure eth0");
  reply = client_->Create(RequestFor(Parse(R"(routes { destination: "10.7.0.0/16" type: TYPE_BLACKHOLE })")));
  EXPECT_EQ(reply.Summary(), "ALREADY_EXISTS ROUTE_ALREADY_EXISTS") << reply.message;
  EXPECT_EQ(Shell("ip -n blue route show table all"), foreign) << "somebody's route stays";
  Shell("ip -n blue route del blackhole 10.7.0.0/16");

  Shell("ip netns exec blue sh -c 'echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6'");
  reply = refused(kV6);
  EXPECT_EQ(reply.Summary(), "FAILED_PRECONDITION IP_CONFIG_REFUSED") << reply.message;
  EXPECT_THAT(reply.message, HasSubstr("IPv6 is disabled"));
  Shell("ip netns exec blue sh -c 'echo 0 > /proc/sys/net/ipv6/conf/default/disable_ipv6'");

  reply = refused(R"(alternative_names: "lo")");
  EXPECT_EQ(reply.Summary(), "ALREADY_EXISTS INTERFACE_NAME_TAKEN") << reply.message;
}

TEST_F(EndpointTest, AnAddressThatAnotherHasIsFoundOut) {
  v1::CreateVethRequest request = RequestFor(Parse(R"(addresses {
    address: "2001:db8::2/64" duplicate_detection: DUPLICATE_DETECTION_WAIT })"));
  request.mutable_veth()->mutable_endpoint_a()->MergeFrom(Parse(kV6));
  const Reply<v1::Veth> reply = client_->Create(request);
  EXPECT_EQ(reply.Summary(), "FAILED_PRECONDITION ADDRESS_DUPLICATE") << reply.message;
  EXPECT_THAT(reply.message, HasSubstr("2001:db8::2"));
  EXPECT_THAT(Shell("ip -o link show type veth"), Not(HasSubstr("h0")));
}

TEST_F(EndpointTest, WhatSomebodyTakesAwayIsSeenAndHealed) {
  const std::string things = absl::StrCat(kV4, kV6, R"( gateways: "10.0.0.1" alternative_names: "x" promiscuous: true
      routes { destination: "2001:db8:1::/48" gateway: "2001:db8::1" }
      routes { destination: "10.7.0.0/16" type: TYPE_BLACKHOLE }
      neighbors { address: "10.0.0.9" mac_address: "02:00:00:00:00:09" })");
  v1::CreateVethRequest request = RequestFor(Parse(things));
  request.mutable_veth()->mutable_metadata()->set_self_heal(true);
  const std::string look =
      "ip -n blue -o address show dev eth0 scope global; ip -n blue route; ip -n blue -6 route | grep -v fe80; ip -n "
      "blue neighbor show nud permanent; ip -n blue -d link show eth0 | grep -o 'altname.*\\|PROMISC\\|,UP'";
  for (const char* harm :
       {"ip -n blue address del 10.0.0.2/24 dev eth0", "ip -n blue address flush dev eth0",
        "ip -n blue route del default", "ip -n blue route replace default via 10.0.0.7 dev eth0",
        "ip -n blue route del blackhole 10.7.0.0/16", "ip -n blue link property del dev eth0 altname x",
        "ip -n blue link set eth0 promisc off", "ip -n blue link set eth0 down"}) {
    SCOPED_TRACE(harm);
    // A new one each time: who is healed often has to wait.
    EXPECT_OK(client_->Create(request));
    const std::string whole = Shell(look);
    Shell(harm);
    // Not by the log, where an earlier look may have found a part of the harm.
    std::string now;
    for (int look_number = 0; look_number < 500; ++look_number) {
      now = Shell(look);
      if (now == whole && client_->GetVeth("v").value.state() == v1::Veth::STATE_READY) break;
      absl::SleepFor(absl::Milliseconds(20));
    }
    EXPECT_EQ(now, whole);
    EXPECT_OK(client_->DeleteVeth("v"));
  }
}

TEST_F(EndpointTest, OthersLearnOfItsAddresses) {
  // So that an announcement alone makes an entry.
  Shell("sysctl -qw net.ipv4.conf.default.arp_accept=1");
  const std::string heard =
      "grep Icmp6InNeighborAdvertisements /proc/net/dev_snmp6/h0 | grep -v '[[:space:]]0$' || true";
  // What arrives is looked at by another thread of the kernel.
  auto await = [](const std::string& command) {
    const absl::Time deadline = absl::Now() + absl::Seconds(10);
    std::string shown = Shell(command);
    while (shown.empty() && absl::Now() < deadline) {
      absl::SleepFor(absl::Milliseconds(10));
      shown = Shell(command);
    }
    return shown;
  };
  for (const bool announce : {false, true}) {
    v1::CreateVethRequest request = RequestFor(
        Parse(absl::StrCat(kV4, kV6, R"( neighbors { address: "10.0.0.9" mac_address: "02:00:00:00:00:09" })")));
    request.mutable_veth()->mutable_endpoint_b()->set_announce(announce);
    request.mutable_veth()->mutable_endpoint_a()->add_addresses()->set_address("10.0.0.1/24");
    EXPECT_OK(client_->Create(request));
    if (announce) {
      EXPECT_THAT(await("ip neighbor show dev h0 10.0.0.2"), HasSubstr("lladdr"));
      EXPECT_THAT(await(heard), HasSubstr("Icmp6InNeighborAdvertisements"));
    } else {
      EXPECT_EQ(Shell("ip neighbor show dev h0 10.0.0.2"), "");
    }
    EXPECT_THAT(Shell(kNeighbors), HasSubstr("10.0.0.9"));
    if (announce) {
      // Again whenever it comes up.
      Shell("ip neighbor flush dev h0; ip -n blue link set eth0 down; ip -n blue link set eth0 up");
      EXPECT_THAT(await("ip neighbor show dev h0 10.0.0.2"), HasSubstr("lladdr"));
    }
    EXPECT_OK(client_->DeleteVeth("v"));
  }
}

}  // namespace
}  // namespace netprov::testing
