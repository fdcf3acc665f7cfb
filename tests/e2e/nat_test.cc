// Masquerading, forwarded ports and forwarding: as asked for, as Get reads them, as `nft` shows them, what passes, and
// that nobody else's rules are touched.
//
//   client 192.0.2.2, 2001:db8::2 --- out 192.0.2.1, 2001:db8::1 | the host | h0 10.0.0.1, fd00::1 --- blue 10.0.0.2,
//   fd00::2
#include <algorithm>
#include <chrono>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/component/test_client.h"
#include "tests/e2e/host_fixture.h"
#include "tests/testing/private_host.h"
#include "tests/testing/process.h"

namespace netprov::testing {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

constexpr char kForwarding[] =
    "sysctl net.ipv4.ip_forward net.ipv6.conf.all.forwarding net.ipv4.conf.all.accept_redirects";

// Rules of others, whose table has even the name of ours, and a way to a client elsewhere. Forwarding is off.
constexpr char kWorld[] = R"sh(
sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0
nft -f - <<'END'
table ip netprov { chain mine { tcp dport 22 accept comment "mine"; }; }
table inet other {
  set ports { type inet_service; elements = { 1, 2, 3 }; }
  chain prerouting { type nat hook prerouting priority dstnat + 10; tcp dport 9999 redirect to :22; }
}
END
ip link set lo up
ip netns add client
ip link add out type veth peer name c0 netns client
ip addr add 192.0.2.1/24 dev out; ip addr add 2001:db8::1/64 dev out nodad; ip link set out up
ip -n client addr add 192.0.2.2/24 dev c0; ip -n client addr add 2001:db8::2/64 dev c0 nodad
ip -n client link set c0 up; ip -n client link set lo up)sh";

class NatTest : public HostTest {
 protected:
  void SetUp() override {
    HostTest::SetUp();
    Shell(kWorld);
    StartDaemon();
    EXPECT_OK(client_->CreateNamespace("blue"));
    rules_ = Shell("nft list ruleset");
    EXPECT_THAT(rules_, HasSubstr("tcp dport 22 accept"));
  }
  void TearDown() override {
    if (client_ == nullptr) StartDaemon();
    EXPECT_OK(client_->DeleteNamespace("blue"));
    EXPECT_EQ(Shell("nft list ruleset"), rules_);
    HostTest::TearDown();
    Shell("nft flush ruleset; sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0");
  }

  static v1::CreateVethRequest Request() {
    v1::CreateVethRequest request = VethRequest("v", "h0", "blue", "eth0");
    v1::VethEndpoint& host = *request.mutable_veth()->mutable_endpoint_a();
    host.add_addresses()->set_address("10.0.0.1/24");
    host.add_addresses()->set_address("fd00::1/64");
    v1::VethEndpoint& inside = *request.mutable_veth()->mutable_endpoint_b();
    inside.add_addresses()->set_address("10.0.0.2/24");
    inside.add_addresses()->set_address("fd00::2/64");
    inside.add_gateways("10.0.0.1");
    inside.add_gateways("fd00::1");
    return request;
  }
  // Masqueraded, with TCP 8080 of all addresses, UDP 5000 to 5002 of one, and a TCP port of an IPv6 address.
  static v1::CreateVethRequest TranslatedRequest() {
    v1::CreateVethRequest request = Request();
    v1::VethEndpoint& inside = *request.mutable_veth()->mutable_endpoint_b();
    inside.set_masquerade(true);
    v1::PortForward& web = *inside.add_port_forwards();
    web.set_host_port(8080);
    web.set_port(80);
    v1::PortForward& range = *inside.add_port_forwards();
    range.set_protocol(v1::PortForward::PROTOCOL_UDP);
    range.set_host_address("192.0.2.1");
    range.set_host_port(5000);
    range.set_host_port_last(5002);
    range.set_port(6000);
    v1::PortForward& ipv6 = *inside.add_port_forwards();
    ipv6.set_host_address("2001:db8::1");
    ipv6.set_host_port(443);
    ipv6.set_port(8443);
    inside.set_ip_forwarding(true);
    return request;
  }

  // Which address the listener saw; `nothing`: it heard nothing.
  static std::string Talk(const std::string& protocol, const std::string& from, const std::string& to,
                          const std::string& listener, bool is_refused = false) {
    return std::string(
        absl::StripAsciiWhitespace(Shell(absl::StrCat("/usr/bin/python3 tests/e2e/talk_through.py ", protocol, " ",
                                                      from, " ", to, " ", listener, is_refused ? " refused" : ""))));
  }

  // The elements of one set or map of our table, as `nft -j` has them.
  static json Elements(const std::string& kind, const std::string& name) {
    const json listed = json::parse(Shell(absl::StrCat("nft -j list ", kind, " inet netprov ", name)));
    for (const json& item : listed.at("nftables")) {
      if (item.contains(kind)) return item.at(kind).value("elem", json::array());
    }
    ADD_FAILURE() << listed.dump();
    return {};
  }
  // Our table, with the handles of its chains, rules, sets and maps, and, apart, each element of the latter.
  struct Table {
    json parts;
    std::multiset<std::string> elements;
  };
  static Table ReadTable() {
    Table table;
    const json listed = json::parse(Shell("nft -j list table inet netprov"));
    for (json item : listed.at("nftables")) {
      if (item.contains("metainfo")) continue;
      for (const char* kind : {"set", "map"}) {
        if (!item.contains(kind)) continue;
        for (const json& element : item[kind].value("elem", json::array())) {
          table.elements.insert(absl::StrCat(item[kind].at("name").get<std::string>(), " ", element.dump()));
        }
        item[kind].erase("elem");
      }
      table.parts.push_back(item);
    }
    return table;
  }
  static bool HasTable() { return absl::StrContains(Shell("nft list tables"), "table inet netprov\n"); }

  std::string rules_;
};

TEST_F(NatTest, WhatIsAskedForIsThereAndNothingElseChanges) {
  const std::string forwarding = Shell(kForwarding);
  const Reply<v1::Veth> made = client_->Create(TranslatedRequest());
  EXPECT_OK(made);
  const v1::VethEndpoint& inside = made.value.endpoint_b();
  EXPECT_TRUE(inside.masquerade());
  EXPECT_TRUE(inside.ip_forwarding());
  ASSERT_EQ(inside.port_forwards_size(), 3);
  EXPECT_EQ(inside.port_forwards(0).ShortDebugString(),
            "protocol: PROTOCOL_TCP host_port: 8080 host_port_last: 8080 port: 80");
  EXPECT_EQ(Elements("set", "masquerade4").size(), 1u);
  EXPECT_EQ(Elements("set", "masquerade6").size(), 1u);
  EXPECT_EQ(Elements("map", "forward4_any").size(), 1u);
  EXPECT_EQ(Elements("map", "forward6_any").size(), 1u);
  EXPECT_EQ(Elements("map", "forward4").size(), 3u);
  EXPECT_EQ(Elements("map", "forward6").size(), 1u);
  EXPECT_THAT(Elements("map", "forward4_any").dump(), HasSubstr(R"({"concat":["tcp",8080]})"));
  EXPECT_THAT(Elements("map", "forward4_any").dump(), HasSubstr(R"({"concat":["10.0.0.2",80]})"));
  EXPECT_THAT(Elements("set", "masquerade4").dump(), HasSubstr(R"(["10.0.0.2","h0"])"));
  EXPECT_THAT(Elements("set", "masquerade4").dump(), HasSubstr(":veths/v\""));
  EXPECT_THAT(Shell("nft list ruleset"), HasSubstr(rules_)) << "nobody else's rules are touched";
  EXPECT_EQ(Shell("ip netns exec blue nft list ruleset"), "");

  KillDaemon();
  StartDaemon();
  EXPECT_THAT(Findings(), IsEmpty());
  EXPECT_EQ(client_->GetVeth("v").value.DebugString(), made.value.DebugString());
  EXPECT_OK(client_->DeleteVeth("v"));
  EXPECT_EQ(Shell("nft list ruleset"), rules_);
  EXPECT_NE(Shell(kForwarding), forwarding) << "it stays on";
}

TEST_F(NatTest, NothingIsForwardedUnlessAsked) {
  const std::string forwarding = Shell(kForwarding);
  v1::CreateVethRequest request = TranslatedRequest();
  request.mutable_veth()->mutable_endpoint_b()->set_ip_forwarding(false);
  const Reply<v1::Veth> made = client_->Create(request);
  EXPECT_OK(made);
  EXPECT_FALSE(made.value.endpoint_b().ip_forwarding());
  EXPECT_EQ(Shell(kForwarding), forwarding);
  EXPECT_EQ(Talk("tcp", "client", "192.0.2.1 8080", "blue 10.0.0.2 80", /*is_refused=*/true), "nothing");
  EXPECT_OK(client_->DeleteVeth("v"));
}

TEST_F(NatTest, WhatIsForwardedArrives) {
  EXPECT_OK(client_->Create(TranslatedRequest()));
  // From elsewhere, the end sees who connects.
  EXPECT_EQ(Talk("tcp", "client", "192.0.2.1 8080", "blue 10.0.0.2 80"), "192.0.2.2");
  EXPECT_EQ(Talk("udp", "client", "192.0.2.1 5000", "blue 10.0.0.2 6000"), "192.0.2.2");
  EXPECT_EQ(Talk("udp", "client", "192.0.2.1 5002", "blue 10.0.0.2 6002"), "192.0.2.2");
  EXPECT_EQ(Talk("tcp", "client", "2001:db8::1 8080", "blue fd00::2 80"), "2001:db8::2");
  EXPECT_EQ(Talk("tcp", "client", "2001:db8::1 443", "blue fd00::2 8443"), "2001:db8::2");
  // From the host itself, but not by a loopback address.
  EXPECT_EQ(Talk("tcp", "-", "192.0.2.1 8080", "blue 10.0.0.2 80"), "192.0.2.1");
  EXPECT_EQ(Talk("tcp", "-", "127.0.0.1 8080", "blue 10.0.0.2 80", /*is_refused=*/true), "nothing");
  // From the end itself, for which it has the host's address.
  EXPECT_EQ(Talk("tcp", "blue", "192.0.2.1 8080", "blue 10.0.0.2 80"), "10.0.0.1");
  // Another address's port is not forwarded.
  EXPECT_EQ(Talk("udp", "client", "10.0.0.1 5000", "blue 10.0.0.2 6000", /*is_refused=*/true), "nothing");
  EXPECT_OK(client_->DeleteVeth("v"));
}

TEST_F(NatTest, WhatIsSentIsMasqueraded) {
  EXPECT_OK(client_->Create(TranslatedRequest()));
  // The client has no way back to the end.
  EXPECT_EQ(Talk("tcp", "blue", "192.0.2.2 7000", "client 192.0.2.2 7000"), "192.0.2.1");
  EXPECT_EQ(Talk("udp", "blue", "2001:db8::2 7000", "client 2001:db8::2 7000"), "2001:db8::1");
  // What stays between the two keeps its source.
  EXPECT_EQ(Talk("tcp", "blue", "10.0.0.1 7000", "- 10.0.0.1 7000"), "10.0.0.2");
  EXPECT_OK(client_->DeleteVeth("v"));
}

TEST_F(NatTest, APortIsTakenOnce) {
  EXPECT_OK(client_->Create(TranslatedRequest()));
  const std::string rules = Shell("nft list ruleset | tr ',' '\\n' | sort");
  v1::CreateVethRequest second = VethRequest("w", "h1", "blue", "eth1");
  v1::VethEndpoint& inside = *second.mutable_veth()->mutable_endpoint_b();
  inside.add_addresses()->set_address("10.0.1.2/24");
  inside.add_port_forwards()->set_host_port(8080);
  const Reply<v1::Veth> refused = client_->Create(second);
  EXPECT_EQ(refused.Summary(), "ALREADY_EXISTS PORT_FORWARD_TAKEN");
  EXPECT_EQ(refused.message, "TCP port 8080 is forwarded already, by veths/v");
  EXPECT_EQ(Shell("nft list ruleset | tr ',' '\\n' | sort"), rules);
  EXPECT_EQ(Shell("ip link show h1 2>/dev/null || true"), "");
  inside.mutable_port_forwards(0)->set_protocol(v1::PortForward::PROTOCOL_UDP);
  EXPECT_OK(client_->Create(second));
  EXPECT_OK(client_->DeleteVeth("w"));
  EXPECT_EQ(Shell("nft list ruleset | tr ',' '\\n' | sort"), rules) << "one more is one element, and no rewrite";
  EXPECT_OK(client_->DeleteVeth("v"));
  EXPECT_FALSE(HasTable());
}

TEST_F(NatTest, OneMoreIsItsElementsAlone) {
  EXPECT_OK(client_->Create(TranslatedRequest()));
  const Table before = ReadTable();
  // The table, 8 sets and maps, 4 chains and 22 rules.
  EXPECT_EQ(before.parts.size(), 35u);
  for (const json& part : before.parts) {
    EXPECT_TRUE(absl::StrContains(part.dump(), "\"handle\":")) << part.dump();
  }
  EXPECT_EQ(before.elements.size(), 10u);
  // The kernel says what is changed, also where something is replaced by the same.
  Process monitor({"sh", "-c", "exec stdbuf -oL nft monitor >&2"});
  // It says nothing when it listens.
  const auto listens = [&monitor] {
    Shell("nft 'add table inet listens; delete table inet listens'");
    return absl::StrContains(monitor.log(), "delete table inet listens");
  };
  while (!listens()) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  // What changed from `begin` to `end`.
  const auto changes = [&monitor](const std::string& begin, const std::string& end) {
    Shell(absl::StrCat("nft 'add table inet ", end, "; delete table inet ", end, "'"));
    monitor.WaitForLine(absl::StrCat("delete table inet ", end));
    std::vector<std::string> lines;
    bool is_between = false;
    for (absl::string_view line : absl::StrSplit(monitor.log(), '\n', absl::SkipEmpty())) {
      if (absl::StrContains(line, absl::StrCat("add table inet ", end))) break;
      if (is_between && !absl::StartsWith(line, "#")) lines.emplace_back(line);
      if (absl::StrContains(line, absl::StrCat("delete table inet ", begin))) is_between = true;
    }
    return lines;
  };
  changes("listens", "begin");

  v1::CreateVethRequest second = VethRequest("w", "h1", "blue", "eth1");
  v1::VethEndpoint& inside = *second.mutable_veth()->mutable_endpoint_b();
  inside.add_addresses()->set_address("10.0.1.2/24");
  inside.set_masquerade(true);
  inside.add_port_forwards()->set_host_port(8081);
  EXPECT_OK(client_->Create(second));
  EXPECT_THAT(changes("begin", "made"),
              UnorderedElementsAre(HasSubstr("element inet netprov masquerade4 { 10.0.1.2 ."),
                                   HasSubstr("element inet netprov hairpin4 { 10.0.1.2 ."),
                                   HasSubstr("element inet netprov forward4_any { tcp . 8081 ")));
  const Table with = ReadTable();
  EXPECT_EQ(with.parts, before.parts);
  EXPECT_EQ(with.elements.size(), before.elements.size() + 3);
  EXPECT_TRUE(std::includes(with.elements.begin(), with.elements.end(), before.elements.begin(), before.elements.end()))
      << json(with.elements) << json(before.elements);

  EXPECT_OK(client_->DeleteVeth("w"));
  EXPECT_THAT(changes("made", "deleted"),
              UnorderedElementsAre(HasSubstr("delete element inet netprov masquerade4 { 10.0.1.2 ."),
                                   HasSubstr("delete element inet netprov hairpin4 { 10.0.1.2 ."),
                                   HasSubstr("delete element inet netprov forward4_any { tcp . 8081 ")));
  const Table after = ReadTable();
  EXPECT_EQ(after.parts, before.parts);
  EXPECT_EQ(after.elements, before.elements);
  EXPECT_OK(client_->DeleteVeth("v"));
}

TEST_F(NatTest, AnotherOnesTableIsNotTouched) {
  Shell("nft add table inet netprov '{ comment \"netprov:another\"; }'");
  const std::string rules = Shell("nft list ruleset");
  EXPECT_EQ(client_->Create(TranslatedRequest()).Summary(), "FAILED_PRECONDITION NAT_TABLE_TAKEN");
  EXPECT_EQ(Shell("nft list ruleset"), rules);
  EXPECT_EQ(Shell("ip link show h0 2>/dev/null || true"), "");
  EXPECT_THAT(Shell(kForwarding), HasSubstr("net.ipv4.ip_forward = 0"));
  Shell("nft delete table inet netprov");
}

TEST_F(NatTest, AnUpdateChangesIt) {
  EXPECT_OK(client_->Create(Request()));
  EXPECT_FALSE(HasTable());
  v1::UpdateVethRequest update;
  *update.mutable_veth() = TranslatedRequest().veth();
  update.mutable_veth()->set_name("veths/v");
  for (const char* field : {"masquerade", "port_forwards", "ip_forwarding"}) {
    update.mutable_update_mask()->add_paths(absl::StrCat("endpoint_b.", field));
  }
  const Reply<v1::Veth> updated = client_->Update(update);
  EXPECT_OK(updated);
  EXPECT_TRUE(updated.value.endpoint_b().ip_forwarding());
  EXPECT_EQ(client_->GetVeth("v").value.endpoint_b().DebugString(), updated.value.endpoint_b().DebugString());
  EXPECT_EQ(Talk("tcp", "client", "192.0.2.1 8080", "blue 10.0.0.2 80"), "192.0.2.2");
  update.mutable_veth()->mutable_endpoint_b()->mutable_port_forwards(0)->set_port(81);
  EXPECT_OK(client_->Update(update));
  EXPECT_EQ(Talk("tcp", "client", "192.0.2.1 8080", "blue 10.0.0.2 81"), "192.0.2.2");
  update.mutable_veth()->mutable_endpoint_b()->clear_masquerade();
  update.mutable_veth()->mutable_endpoint_b()->clear_port_forwards();
  EXPECT_OK(client_->Update(update));
  EXPECT_EQ(Shell("nft list ruleset"), rules_);
  EXPECT_OK(client_->DeleteVeth("v"));
}

TEST_F(NatTest, WhatTheHostChangesIsShownAndHealed) {
  EXPECT_OK(client_->Create(TranslatedRequest()));
  const std::string rules = Shell("nft list ruleset | tr ',' '\\n' | sort");
  Shell(
      "nft flush map inet netprov forward4_any; nft flush set inet netprov masquerade4; sysctl -qw "
      "net.ipv4.ip_forward=0");
  const v1::Veth changed = client_->GetVeth("v").value;
  EXPECT_EQ(changed.state(), v1::Veth::STATE_DEGRADED);
  EXPECT_EQ(changed.deviations_size(), 3);
  EXPECT_FALSE(changed.endpoint_b().masquerade());
  EXPECT_FALSE(changed.endpoint_b().ip_forwarding());
  EXPECT_EQ(changed.endpoint_b().port_forwards_size(), 2);
  v1::UpdateVethRequest heal;
  heal.mutable_veth()->set_name("veths/v");
  heal.mutable_veth()->mutable_metadata()->set_self_heal(true);
  heal.mutable_update_mask()->add_paths("metadata.self_heal");
  EXPECT_OK(client_->Update(heal));
  // The daemon looks at a pair when its link changes, and else within a minute.
  size_t logged = daemon_->log().size();
  Shell("ip link set h0 mtu 1400");
  while (client_->GetVeth("v").value.state() != v1::Veth::STATE_READY) {
    const auto line = daemon_->NextLine(
        logged, [](absl::string_view text) { return absl::StrContains(text, "event=healed resource=veths/v"); },
        std::chrono::seconds(40));
    ASSERT_TRUE(line.has_value() && !line->empty()) << daemon_->log();
    logged = daemon_->log().size();
  }
  EXPECT_EQ(Shell("nft list ruleset | tr ',' '\\n' | sort"), rules);
  EXPECT_THAT(Shell(kForwarding), HasSubstr("net.ipv4.ip_forward = 1"));
  EXPECT_OK(client_->DeleteVeth("v"));
}

TEST_F(NatTest, ItGoesWithTheNamespace) {
  EXPECT_OK(client_->Create(TranslatedRequest()));
  EXPECT_TRUE(HasTable());
  EXPECT_OK(client_->DeleteNamespace("blue"));
  EXPECT_EQ(Shell("nft list ruleset"), rules_);
  EXPECT_OK(client_->CreateNamespace("blue"));
}

}  // namespace
}  // namespace netprov::testing
