// What the ends of a pair do with what they have: they talk, refuse, are healed and make themselves known. That they
// have it is shown by fields_test.
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
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

constexpr char kV4[] = R"(addresses { address: "10.0.0.2/24" scope: SCOPE_GLOBAL })";
constexpr char kV6[] = R"(addresses { address: "2001:db8::2/64"
                                      duplicate_detection: DUPLICATE_DETECTION_NONE })";

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
};

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
  Shell(
      "sysctl -qw net.ipv4.conf.default.arp_accept=1 net.ipv6.conf.all.forwarding=1 "
      "net.ipv6.conf.default.accept_untracked_na=1");
  // What h0 has heard of an address by itself: a hardware address. What arrives is looked at by another thread of the
  // kernel.
  auto heard = [](const std::string& address, absl::Duration patience) {
    const absl::Time deadline = absl::Now() + patience;
    while (true) {
      const auto entries = nlohmann::json::parse(Shell("ip -j neighbor show dev h0 " + address), nullptr, false);
      if (entries.is_array() && !entries.empty() && entries[0].contains("lladdr")) {
        return entries[0]["lladdr"].get<std::string>();
      }
      if (absl::Now() > deadline) return std::string();
      absl::SleepFor(absl::Milliseconds(10));
    }
  };
  for (const bool announce : {false, true}) {
    v1::CreateVethRequest request = RequestFor(
        Parse(absl::StrCat(kV4, kV6, R"( neighbors { address: "10.0.0.9" mac_address: "02:00:00:00:00:09" })")));
    request.mutable_veth()->mutable_endpoint_b()->set_announce(announce);
    request.mutable_veth()->mutable_endpoint_a()->MergeFrom(
        Parse(R"(addresses { address: "10.0.0.1/24" } addresses { address: "2001:db8::1/64" })"));
    const Reply<v1::Veth> made = client_->Create(request);
    EXPECT_OK(made);
    const std::string mac = made.value.endpoint_b().mac_address();
    for (const char* address : {"10.0.0.2", "2001:db8::2"}) {
      EXPECT_EQ(heard(address, announce ? absl::Seconds(10) : absl::ZeroDuration()), announce ? mac : "") << address;
    }
    EXPECT_THAT(Shell("ip -n blue neighbor show dev eth0"), HasSubstr("10.0.0.9"));
    if (announce) {
      // Again whenever it comes up.
      Shell("ip neighbor flush dev h0; ip -n blue link set eth0 down; ip -n blue link set eth0 up");
      EXPECT_EQ(heard("10.0.0.2", absl::Seconds(10)), mac);
      // And with another hardware address.
      Shell("ip neighbor flush dev h0; ip -n blue link set eth0 address 02:00:00:00:00:77");
      EXPECT_EQ(heard("10.0.0.2", absl::Seconds(10)), "02:00:00:00:00:77");
    }
    EXPECT_OK(client_->DeleteVeth("v"));
  }
}

}  // namespace
}  // namespace netprov::testing
