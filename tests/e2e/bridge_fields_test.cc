// What a bridge can have: as asked for, as Get reads it, as iproute2 shows it, and as updates change it.
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/e2e/field_matrix.h"
#include "tests/testing/private_host.h"

namespace netprov::testing {
namespace {

using google::protobuf::Message;
using nlohmann::json;
using ::testing::HasSubstr;

constexpr char kLink[] = "ip -n blue -j -d link show dev br0";
constexpr char kAddresses[] = "ip -n blue -j address show dev br0";
constexpr char kFiltering[] = "ip link add probe type bridge vlan_filtering 1 && ip link delete probe";

// One of the options of `ip link add type bridge`.
Thing Option(const std::string& text, const std::string& witness, Thing::Kind kind = Thing::kAny) {
  return {text, {{kLink, absl::StrCat(R"([{"linkinfo":{"info_kind":"bridge","info_data":{)", witness, "}}}]")}}, kind};
}

std::vector<Thing> Things() {
  std::vector<Thing> things = {
      {"host {}", {{"ip -j -d link show", R"([{"ifname":"br0","linkinfo":{"info_kind":"bridge"}}])"}}, Thing::kAlone},
      {R"(namespace: "namespaces/green")", {{"ip -n green -j link show", R"([{"ifname":"br0"}])"}}, Thing::kAlone},
      {R"(interface_name: "other0")", {{"ip -n blue -j link show", R"([{"ifname":"other0"}])"}}, Thing::kAlone},
      {R"(mac_address: "02:00:00:00:00:0c")", {{kLink, R"([{"address":"02:00:00:00:00:0c"}])"}}},
      {"mtu: 1400", {{kLink, R"([{"mtu":1400}])"}}},
      {"admin_state: ADMIN_STATE_UP", {{kLink, R"([{"flags":["UP"]}])"}}, Thing::kDefault},
      {"admin_state: ADMIN_STATE_DOWN", {{"ip -n blue -o link show up dev br0 | wc -l", "0"}}, Thing::kAlone},
      {R"(addresses { address: "10.1.0.1/24" } addresses { address: "2001:db8:b::1/64" })",
       {{kAddresses, R"([{"addr_info":[{"local":"10.1.0.1","prefixlen":24},
                                       {"local":"2001:db8:b::1","prefixlen":64,"nodad":true}]}])"}}},
      {R"(alternative_names: "the-lan")", {{kLink, R"([{"altnames":["the-lan"]}])"}}},
      Option("stp: true", R"("stp_state":1)"),
      Option("forward_delay { seconds: 4 }", R"("forward_delay":400)"),
      Option("hello_time { seconds: 1 nanos: 500000000 }", R"("hello_time":150)"),
      Option("max_age { seconds: 6 }", R"("max_age":600)"),
      Option("ageing_time { seconds: 60 }", R"("ageing_time":6000)"),
      Option("priority: 100", R"("priority":100)"),
      Option("multicast_snooping: false", R"("mcast_snooping":0)"),
      Option("group_forward_mask: 16", R"("group_fwd_mask":"0x10")"),
      Option("vlan_filtering: true", R"("vlan_filtering":1)"),
      Option("default_pvid: 7", R"("vlan_default_pvid":7)"),
      {R"(metadata { owner: "ci/job-17" ttl { seconds: 600 } })", {}},
      {R"(metadata { labels { key: "stage" value: "test" } })", {}},
      {"metadata { persistent: true }", {}},
      {"metadata { self_heal: true }", {}},
  };
  for (Thing& thing : things) {
    if (absl::StrContains(thing.text, "vlan_") || absl::StrContains(thing.text, "_pvid")) thing.probe = kFiltering;
  }
  return things;
}

const std::set<std::string> kFixed = {"host", "namespace", "interface_name"};

class BridgeFieldsTest : public FieldMatrixTest {
 protected:
  void SetUp() override {
    HostTest::SetUp();
    StartDaemon();
    for (const char* name : {"blue", "green"}) {
      v1::CreateNamespaceRequest netns;
      netns.set_namespace_id(name);
      netns.mutable_namespace_()->mutable_metadata()->set_persistent(true);
      EXPECT_OK(client_->Create(netns));
    }
  }
  void TearDown() override {
    for (const char* name : {"blue", "green"}) EXPECT_OK(client_->DeleteNamespace(name));
    HostTest::TearDown();
  }

  static v1::Bridge Base() {
    v1::Bridge bridge;
    bridge.set_namespace_("namespaces/blue");
    bridge.set_interface_name("br0");
    return bridge;
  }

  Answer Make(const Message& asked) override {
    v1::CreateBridgeRequest request;
    request.set_bridge_id("br");
    return MakeBy(request, request.mutable_bridge(), asked);
  }
  Answer Read() override { return AnswerOf(client_->GetBridge("br")); }
  Answer Update(const Message& wanted, const std::vector<std::string>& paths, bool validate_only) override {
    v1::UpdateBridgeRequest request;
    return UpdateBy(request, request.mutable_bridge(), wanted, paths, validate_only);
  }
  void Remove() override { EXPECT_OK(client_->DeleteBridge("br")); }

  void Fill(const Message& made, Message& asked) override {
    const auto& answered = static_cast<const v1::Bridge&>(made);
    auto& bridge = static_cast<v1::Bridge&>(asked);
    FillObject(answered, "bridges/br", bridge);
    FillLink(answered, 1500, bridge);
    for (v1::Address& address : *bridge.mutable_addresses()) FillAddress(address);
    if (!bridge.has_stp()) bridge.set_stp(false);
    if (!bridge.has_forward_delay()) bridge.mutable_forward_delay()->set_seconds(15);
    if (!bridge.has_hello_time()) bridge.mutable_hello_time()->set_seconds(2);
    if (!bridge.has_max_age()) bridge.mutable_max_age()->set_seconds(20);
    if (!bridge.has_ageing_time()) bridge.mutable_ageing_time()->set_seconds(300);
    if (!bridge.has_priority()) bridge.set_priority(32768);
    if (!bridge.has_multicast_snooping()) bridge.set_multicast_snooping(true);
    if (!bridge.has_group_forward_mask()) bridge.set_group_forward_mask(0);
    // A kernel without VLAN filtering has neither.
    if (!bridge.has_vlan_filtering()) bridge.set_vlan_filtering(false);
    if (!bridge.has_default_pvid() && answered.has_default_pvid()) bridge.set_default_pvid(1);
  }

  std::string Everything() override {
    return Shell(absl::StrCat("for ns in blue green; do ip -n $ns -d address; done", kSteady, "ip -d address"));
  }
};

TEST_F(BridgeFieldsTest, EachAlone) { ExpectEachAlone(Base(), Things()); }

TEST_F(BridgeFieldsTest, AllTogether) { ExpectAllTogether(Base(), Things()); }

TEST_F(BridgeFieldsTest, UpdatesOfEachAloneAndOfAllTogether) { ExpectUpdates(Base(), Things(), kFixed); }

TEST_F(BridgeFieldsTest, WhatTheServerFillsInIsTheKernels) {
  const Answer made = Make(Base());
  EXPECT_OK(made);
  const auto& bridge = static_cast<const v1::Bridge&>(*made.value);
  const std::string shown = Shell(kLink);
  EXPECT_TRUE(Shows(json::parse(shown, nullptr, false), LinkOf(bridge.ifindex(), bridge.mac_address(), 1500))) << shown;
  EXPECT_THAT(shown, HasSubstr(absl::StrCat(":", bridge.uid(), ":bridges/br")));
  Remove();
}

TEST_F(BridgeFieldsTest, NothingIsForgotten) {
  // What an address can have besides is in the table of pairs.
  ExpectComplete(Base(), Things(), FieldsOf(*v1::Address::descriptor()));
  ExpectRefusesOnly(Base(), kFixed);
}

}  // namespace
}  // namespace netprov::testing
