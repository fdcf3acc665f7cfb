// The table of address translation against the real kernel. `nft` is the witness.
#include <linux/capability.h>
#include <linux/netfilter/nf_tables.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/netlink/kernel_fixture.h"
#include "server/netlink/mnl_transport.h"
#include "server/netlink/nat.h"
#include "server/netlink/nat_table.h"
#include "server/netlink/nft.h"

namespace netprov::netlink {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::Eq;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;
using ::testing::UnorderedElementsAreArray;

constexpr char kRegistry[] = "11111111-2222-4333-8444-555555555555";

NatElement Forward(TransportProtocol protocol, const char* host_address, uint16_t host_port, const char* target,
                   uint16_t target_port, std::string tag = "netprov:tag") {
  PortForward forward{.protocol = protocol,
                      .host_address = std::nullopt,
                      .host_port = host_port,
                      .target = Ip(target),
                      .target_port = target_port};
  if (*host_address != '\0') forward.host_address = Ip(host_address);
  return {.rule = forward, .tag = std::move(tag)};
}

// One of each kind.
std::vector<NatElement> OneOfEach() {
  return {Forward(TransportProtocol::kTcp, "192.0.2.1", 80, "10.0.0.2", 8080, "netprov:reg:uid:veths/v1"),
          Forward(TransportProtocol::kUdp, "", 53, "10.0.0.2", 5353),
          Forward(TransportProtocol::kUdp, "2001:db8::1", 443, "fd00::2", 8443),
          Forward(TransportProtocol::kTcp, "", 65535, "fd00::2", 1),
          {.rule = Masquerade{.source = Ip("10.0.0.2"), .ifindex = 1}, .tag = "netprov:m4"},
          {.rule = Masquerade{.source = Ip("fd00::2"), .ifindex = 1}, .tag = "netprov:m6"},
          {.rule = Hairpin{.target = Ip("10.0.0.2"), .ifindex = 1}, .tag = "netprov:h4"},
          {.rule = Hairpin{.target = Ip("fd00::2"), .ifindex = 1}, .tag = {}}};
}

// What a person would have written.
constexpr char kListing[] = R"(table inet netprov {
	comment "netprov:11111111-2222-4333-8444-555555555555"
	map forward4 {
		type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service
		elements = { 192.0.2.1 . tcp . 80 comment "netprov:reg:uid:veths/v1" : 10.0.0.2 . 8080 }
	}

	map forward4_any {
		type inet_proto . inet_service : ipv4_addr . inet_service
		elements = { udp . 53 comment "netprov:tag" : 10.0.0.2 . 5353 }
	}

	set masquerade4 {
		type ipv4_addr . iface_index
		elements = { 10.0.0.2 . "lo" comment "netprov:m4" }
	}

	set hairpin4 {
		type ipv4_addr . iface_index
		elements = { 10.0.0.2 . "lo" comment "netprov:h4" }
	}

	map forward6 {
		type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service
		elements = { 2001:db8::1 . udp . 443 comment "netprov:tag" : fd00::2 . 8443 }
	}

	map forward6_any {
		type inet_proto . inet_service : ipv6_addr . inet_service
		elements = { tcp . 65535 comment "netprov:tag" : fd00::2 . 1 }
	}

	set masquerade6 {
		type ipv6_addr . iface_index
		elements = { fd00::2 . "lo" comment "netprov:m6" }
	}

	set hairpin6 {
		type ipv6_addr . iface_index
		elements = { fd00::2 . "lo" }
	}

	chain forward_ports {
		dnat ip to ip daddr . meta l4proto . tcp dport map @forward4
		dnat ip to ip daddr . meta l4proto . udp dport map @forward4
		meta nfproto ipv4 dnat ip to meta l4proto . tcp dport map @forward4_any
		meta nfproto ipv4 dnat ip to meta l4proto . udp dport map @forward4_any
		dnat ip6 to ip6 daddr . meta l4proto . tcp dport map @forward6
		dnat ip6 to ip6 daddr . meta l4proto . udp dport map @forward6
		meta nfproto ipv6 dnat ip6 to meta l4proto . tcp dport map @forward6_any
		meta nfproto ipv6 dnat ip6 to meta l4proto . udp dport map @forward6_any
	}

	chain prerouting {
		type nat hook prerouting priority dstnat; policy accept;
		fib daddr type local jump forward_ports
	}

	chain output {
		type nat hook output priority -100; policy accept;
		ip daddr 127.0.0.0/8 return
		ip6 daddr ::1 return
		fib daddr type local jump forward_ports
	}

	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		ct status dnat ip daddr . iif @hairpin4 ip daddr . oif @hairpin4 masquerade
		ct status dnat ip saddr . oif @hairpin4 masquerade
		ip saddr . oif @masquerade4 return
		ip daddr . oif @masquerade4 return
		ip saddr . iif @masquerade4 masquerade
		ct status dnat ip6 daddr . iif @hairpin6 ip6 daddr . oif @hairpin6 masquerade
		ct status dnat ip6 saddr . oif @hairpin6 masquerade
		ip6 saddr . oif @masquerade6 return
		ip6 daddr . oif @masquerade6 return
		ip6 saddr . iif @masquerade6 masquerade
	}
}
)";

class NatKernelTest : public KernelTest {
 protected:
  void SetUp() override {
    KernelTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    netfilter_ = OpenNetfilter();
    ASSERT_NE(netfilter_, nullptr);
    table_.emplace(*netfilter_, kRegistry);
  }

  static std::unique_ptr<Session> OpenNetfilter() {
    KernelResult<std::unique_ptr<MnlTransport>> transport =
        MnlTransport::Open(MnlTransport::kDefaultTimeout, NetlinkProtocol::kNetfilter);
    if (!transport.ok()) {
      ADD_FAILURE() << transport.error().ToString();
      return nullptr;
    }
    return std::make_unique<Session>(std::move(transport).value());
  }

  void Ensure() {
    KernelResult<void> made = table_->EnsureTable();
    ASSERT_TRUE(made.ok()) << made.error().ToString();
  }
  void Add(const std::vector<NatElement>& elements) {
    Result<void, TransactionError> added = table_->AddElements(elements);
    ASSERT_TRUE(added.ok()) << added.error().error.ToString();
  }
  void Delete(const std::vector<NatElement>& elements) {
    Result<void, TransactionError> deleted = table_->DeleteElements(elements);
    ASSERT_TRUE(deleted.ok()) << deleted.error().error.ToString();
  }
  std::vector<NatElement> List() {
    KernelResult<std::vector<NatElement>> elements = table_->ListElements();
    EXPECT_TRUE(elements.ok()) << elements.error().ToString();
    return elements.ok() ? *elements : std::vector<NatElement>();
  }

  std::unique_ptr<Session> netfilter_;
  std::optional<NatTable> table_;
};

// Which error, and of which request.
std::pair<int, std::optional<size_t>> Why(const Result<void, TransactionError>& result) {
  if (result.ok()) return {0, std::nullopt};
  return {result.error().error.code, result.error().request};
}

TEST_F(NatKernelTest, NftShowsTheTableAsAPersonWouldHaveWrittenIt) {
  Ensure();
  Add(OneOfEach());
  EXPECT_THAT(Shell("nft list ruleset"), Eq(kListing));
  EXPECT_THAT(List(), UnorderedElementsAreArray(OneOfEach()));
  EXPECT_THAT(Shell("nft -j list table inet netprov"),
              AllOf(HasSubstr(R"("comment": "netprov:reg:uid:veths/v1")"), HasSubstr(R"("hook": "postrouting")")));

  // Who saves his rule set with ours in it can load it again.
  EXPECT_THAT(Shell("nft list ruleset > $TEST_TMPDIR/saved && nft flush ruleset && nft -f $TEST_TMPDIR/saved"),
              IsEmpty());
  EXPECT_THAT(Shell("nft list ruleset"), Eq(kListing));
  EXPECT_THAT(List(), UnorderedElementsAreArray(OneOfEach()));
}

TEST_F(NatKernelTest, AnExpressionThatTheKernelDoesNotHaveIsNamed) {
  Ensure();
  NftRuleBuilder rule(kNatTable, "postrouting");
  rule.LoadMeta(NFT_META_IIF, 0);
  rule.Masquerade();
  std::vector<Request> requests = {std::move(rule).Build()};
  // `masq` becomes one that no kernel has.
  const std::string_view wanted = "masq";
  std::vector<std::byte>& message = requests[0].message;
  const auto name = std::search(message.begin(), message.end(), wanted.begin(), wanted.end(),
                                [](std::byte byte, char c) { return byte == static_cast<std::byte>(c); });
  ASSERT_TRUE(name != message.end());
  *name = std::byte{'x'};
  const Result<void, TransactionError> done = netfilter_->ExecuteTransaction(requests, 0);
  EXPECT_THAT(Why(done), Eq(std::pair(ENOENT, std::optional<size_t>(0))));
  EXPECT_THAT(done.error().error.operation, Eq("NFT_MSG_NEWRULE inet netprov postrouting xasq"));
}

TEST_F(NatKernelTest, EnsureTableKeepsElementsAndMendsTheRest) {
  Ensure();
  Add(OneOfEach());
  // What is as it should be is not made anew: the same handles.
  const std::string with_handles = Shell("nft -a list ruleset");
  Ensure();
  EXPECT_THAT(Shell("nft -a list ruleset"), Eq(with_handles));
  EXPECT_THAT(Shell("nft list ruleset"), Eq(kListing));
  // A rule that somebody replaced by another.
  EXPECT_THAT(Shell("nft replace rule inet netprov prerouting handle $(nft -a list chain inet netprov prerouting | sed "
                    "-n 's/.*jump.*handle //p') accept"),
              IsEmpty());
  EXPECT_THAT(Shell("nft list ruleset"), Not(Eq(kListing)));
  Ensure();
  EXPECT_THAT(Shell("nft list ruleset"), Eq(kListing));
  EXPECT_THAT(Shell("nft flush chain inet netprov postrouting && nft add rule inet netprov prerouting accept"),
              IsEmpty());
  Ensure();
  EXPECT_THAT(Shell("nft list ruleset"), Eq(kListing));
  EXPECT_THAT(Shell("nft flush chain inet netprov output && nft delete chain inet netprov output"), IsEmpty());
  Ensure();
  EXPECT_THAT(Shell("nft list ruleset"), HasSubstr("type nat hook output priority -100"));
}

TEST_F(NatKernelTest, WhatNobodyChangedIsNotMadeAgain) {
  auto generation = [this] {
    const KernelResult<Payload> payload = netfilter_->Get(EncodeGetNftGeneration());
    return payload.ok() ? DecodeNftGeneration(*payload).value() : 0;
  };
  Ensure();
  EXPECT_THAT(table_->settled(), Eq(generation()));
  Add(OneOfEach());
  EXPECT_THAT(table_->settled(), Eq(generation()));
  const uint32_t before = generation();
  table_.emplace(*netfilter_, kRegistry, table_->settled());
  Ensure();
  EXPECT_THAT(generation(), Eq(before));
  EXPECT_THAT(Shell("nft list ruleset"), Eq(kListing));
  // Somebody did.
  Shell("nft flush chain inet netprov postrouting");
  EXPECT_THAT(table_->settled(), Not(Eq(generation())));
  Ensure();
  EXPECT_THAT(Shell("nft list ruleset"), Eq(kListing));
  EXPECT_THAT(table_->settled(), Eq(generation()));
}

TEST_F(NatKernelTest, EnsureTableSaysWhatIsOfAnotherKind) {
  EXPECT_THAT(Shell(std::string("nft add table inet netprov '{ comment \"netprov:") + kRegistry +
                    "\"; chain prerouting { type filter hook input priority 0; }; }'"),
              IsEmpty());
  const std::string before = Shell("nft list ruleset");
  KernelResult<void> made = table_->EnsureTable();
  ASSERT_FALSE(made.ok());
  EXPECT_THAT(made.error().code, AnyOf(EEXIST, EOPNOTSUPP)) << made.error().ToString();
  EXPECT_THAT(made.error().operation, Eq("NFT_MSG_NEWCHAIN inet netprov prerouting"));
  EXPECT_THAT(Shell("nft list ruleset"), Eq(before));
}

TEST_F(NatKernelTest, SomebodyElsesTableIsNotTouched) {
  for (const char* foreign :
       {"nft add table inet netprov", "nft add table inet netprov '{ comment \"netprov:another registry\"; }'"}) {
    EXPECT_THAT(Shell("nft flush ruleset"), IsEmpty());
    EXPECT_THAT(Shell(foreign), IsEmpty());
    EXPECT_THAT(Shell("nft add map inet netprov forward4 '{ type ipv4_addr . inet_proto . inet_service : ipv4_addr . "
                      "inet_service; elements = { 192.0.2.1 . tcp . 80 : 10.0.0.2 . 8080 }; }'"),
                IsEmpty());
    const std::string before = Shell("nft list ruleset");
    const std::vector<NatElement> theirs = {Forward(TransportProtocol::kTcp, "192.0.2.1", 80, "10.0.0.2", 8080)};
    const std::vector<NatElement> ours = {Forward(TransportProtocol::kTcp, "192.0.2.1", 81, "10.0.0.2", 8080)};
    EXPECT_THAT(table_->EnsureTable().error().code, Eq(EEXIST));
    EXPECT_THAT(Why(table_->AddElements(ours)), Eq(std::pair(ENOENT, std::optional<size_t>())));
    EXPECT_THAT(Why(table_->DeleteElements(theirs)), Eq(std::pair(ENOENT, std::optional<size_t>())));
    EXPECT_THAT(table_->ListElements().error().code, Eq(ENOENT));
    EXPECT_TRUE(table_->DeleteTableIfEmpty().value());
    EXPECT_THAT(Shell("nft list ruleset"), Eq(before));
  }
}

TEST_F(NatKernelTest, NobodyElsesRulesAreTouched) {
  EXPECT_THAT(Shell("nft -f - <<'END'\n"
                    "table inet filter {\n"
                    "  set blocked { type ipv4_addr; flags interval; elements = { 198.51.100.0/24 }; }\n"
                    "  chain input { type filter hook input priority 0; ip saddr @blocked counter drop; }\n"
                    "}\n"
                    "table ip nat { chain PREROUTING { type nat hook prerouting priority -100; tcp dport 80 redirect; "
                    "}; }\n"
                    "table ip netprov {\n comment \"of another family\"\n }\n"
                    "END\n"),
              IsEmpty());
  const std::string before = Shell("nft -a list ruleset");
  Ensure();
  Add(OneOfEach());
  EXPECT_THAT(Shell("nft -a list ruleset"), AllOf(StartsWith(before), Not(Eq(before))));
  EXPECT_FALSE(table_->DeleteTableIfEmpty().value());
  Delete(OneOfEach());
  EXPECT_THAT(List(), IsEmpty());
  EXPECT_TRUE(table_->DeleteTableIfEmpty().value());
  EXPECT_THAT(Shell("nft -a list ruleset"), Eq(before));
  EXPECT_TRUE(table_->DeleteTableIfEmpty().value());
  EXPECT_THAT(Shell("cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding"), Eq("0\n0\n"));
}

TEST_F(NatKernelTest, ATransactionWithAClashLeavesNothing) {
  Ensure();
  const NatElement theirs = Forward(TransportProtocol::kTcp, "", 80, "10.0.0.9", 80, "netprov:theirs");
  Add({theirs});
  // Also where the element is the same to the letter.
  for (const char* target : {"10.0.0.2", "10.0.0.9"}) {
    const std::vector<NatElement> wanted = {Forward(TransportProtocol::kTcp, "", 79, "10.0.0.2", 79),
                                            Forward(TransportProtocol::kTcp, "", 80, target, 80, "netprov:theirs"),
                                            Forward(TransportProtocol::kTcp, "", 81, "10.0.0.2", 81)};
    Result<void, TransactionError> added = table_->AddElements(wanted);
    EXPECT_THAT(Why(added), Eq(std::pair(EEXIST, std::optional<size_t>(1))));
    EXPECT_THAT(added.error().error.operation,
                Eq(std::string("NFT_MSG_NEWSETELEM inet netprov forward4_any tcp 80 to ") + target + " port 80"));
    EXPECT_FALSE(added.error().error.may_have_effect);
    EXPECT_THAT(List(), UnorderedElementsAreArray({theirs}));
  }
  // Two of one key in one transaction.
  const NatElement twice = Forward(TransportProtocol::kTcp, "", 90, "10.0.0.2", 1);
  EXPECT_THAT(Why(table_->AddElements(std::vector{twice, twice})), Eq(std::pair(EEXIST, std::optional<size_t>(1))));
  // An element that is not there to delete.
  EXPECT_THAT(Why(table_->DeleteElements(std::vector{theirs, twice})), Eq(std::pair(ENOENT, std::optional<size_t>(1))));
  EXPECT_THAT(List(), UnorderedElementsAreArray({theirs}));
}

TEST_F(NatKernelTest, WithoutATable) {
  EXPECT_THAT(Why(table_->AddElements(OneOfEach())), Eq(std::pair(ENOENT, std::optional<size_t>())));
  EXPECT_THAT(Why(table_->DeleteElements(OneOfEach())), Eq(std::pair(ENOENT, std::optional<size_t>())));
  EXPECT_THAT(table_->ListElements().error().code, Eq(ENOENT));
  EXPECT_THAT(Shell("nft list ruleset"), IsEmpty());
}

TEST_F(NatKernelTest, ARangeOfPortsIsOneTransaction) {
  Ensure();
  PortForward first{
      .host_address = Ip("2001:db8::1"), .host_port = 20000, .target = Ip("fd00::2"), .target_port = 30000};
  std::optional<std::vector<PortForward>> range = ForwardPortRange(first, kMaxForwardedPorts);
  ASSERT_TRUE(range.has_value());
  std::vector<NatElement> elements;
  for (const PortForward& forward : *range) {
    elements.push_back({.rule = forward, .tag = std::string(kMaxNftComment, 'x')});
  }
  Add(elements);
  EXPECT_THAT(List(), UnorderedElementsAreArray(elements));
  // As many refusals as elements, of which the first is told.
  EXPECT_THAT(Why(table_->AddElements(elements)), Eq(std::pair(EEXIST, std::optional<size_t>(0))));
  Delete(elements);
  EXPECT_THAT(List(), IsEmpty());
}

TEST_F(NatKernelTest, ALargeTransactionFitsTheSocket) {
  Ensure();
  std::vector<NatElement> elements;
  for (size_t i = 0; i < Session::kMaxTransactionRequests; ++i) {
    elements.push_back(Forward(TransportProtocol::kTcp, "2001:db8::1", static_cast<uint16_t>(1 + i), "fd00::2", 80,
                               std::string(128, 'x')));
  }
  Add(elements);
  EXPECT_THAT(Why(table_->AddElements(elements)), Eq(std::pair(EEXIST, std::optional<size_t>(0))));
  EXPECT_THAT(List(), SizeIs(elements.size()));
  elements.push_back(elements[0]);
  EXPECT_THAT(Why(table_->DeleteElements(elements)), Eq(std::pair(E2BIG, std::optional<size_t>())));
}

TEST_F(NatKernelTest, AnOldGenerationIsRefused) {
  Ensure();
  KernelResult<Payload> payload = netfilter_->Get(EncodeGetNftGeneration());
  ASSERT_TRUE(payload.ok()) << payload.error().ToString();
  KernelResult<uint32_t> generation = DecodeNftGeneration(*payload);
  ASSERT_TRUE(generation.ok()) << generation.error().ToString();
  const Request one = EncodeAddNatElement(OneOfEach()[0]);
  const Request two = EncodeAddNatElement(OneOfEach()[1]);
  EXPECT_TRUE(netfilter_->ExecuteTransaction(std::span(&one, 1), *generation).ok());
  EXPECT_THAT(Why(netfilter_->ExecuteTransaction(std::span(&two, 1), *generation)),
              Eq(std::pair(ERESTART, std::optional<size_t>())));
  EXPECT_THAT(List(), SizeIs(1));
}

TEST_F(NatKernelTest, ForeignCommentsInOurTableAreRead) {
  Ensure();
  EXPECT_THAT(Shell("nft add element inet netprov forward4_any '{ sctp . 9 : 10.0.0.5 . 9 }'"), IsEmpty());
  EXPECT_THAT(List(),
              UnorderedElementsAreArray({Forward(static_cast<TransportProtocol>(132), "", 9, "10.0.0.5", 9, "")}));
  EXPECT_FALSE(table_->DeleteTableIfEmpty().value());
}

TEST_F(NatKernelTest, WithoutTheCapability) {
  Ensure();
  Add(OneOfEach());
  // Capabilities are a thread's.
  std::thread([&] {
    __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    const __user_cap_data_struct none[2] = {};
    ASSERT_EQ(::syscall(SYS_capset, &header, none), 0);
    std::unique_ptr<Session> session = OpenNetfilter();
    ASSERT_NE(session, nullptr);
    NatTable table(*session, kRegistry);
    EXPECT_THAT(table.EnsureTable().error().code, Eq(EPERM));
    EXPECT_THAT(table.ListElements().error().code, Eq(EPERM));
    EXPECT_THAT(Why(table.DeleteElements(OneOfEach())), Eq(std::pair(EPERM, std::optional<size_t>())));
    const Request request = EncodeDeleteNftTable(kNatTable);
    EXPECT_THAT(Why(session->ExecuteTransaction(std::span(&request, 1))),
                Eq(std::pair(EPERM, std::optional<size_t>())));
  }).join();
  EXPECT_THAT(List(), SizeIs(OneOfEach().size()));
}

}  // namespace
}  // namespace netprov::netlink
