// Links of all kinds against the real kernel. `ip -d -j` is the witness.
#include <cerrno>
#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/netlink/kernel_fixture.h"
#include "server/netlink/link.h"
#include "server/netlink/link_info.h"

namespace netprov::netlink {
namespace {

using ::testing::AllOf;
using ::testing::Eq;
using ::testing::HasSubstr;
using ::testing::Optional;

class LinkInfoKernelTest : public KernelTest {
 protected:
  // What a link's kind says.
  static LinkInfo Info(Session& session, const LinkRef& ref) {
    KernelResult<Payload> payload = session.Get(EncodeGetLink(ref));
    if (!payload.ok()) {
      ADD_FAILURE() << payload.error().ToString();
      return {};
    }
    KernelResult<LinkInfo> info = DecodeLinkInfo(*payload);
    EXPECT_TRUE(info.ok()) << info.error().ToString();
    return info.ok() ? *info : LinkInfo();
  }

  // Makes a link; false where the kernel does not have its kind.
  bool Make(const NewLink& link, const LinkInfo& info) {
    KernelResult<void> made = home_->Execute(EncodeNewLink(link, info));
    if (made.ok()) return true;
    EXPECT_THAT(made.error().code, Eq(EOPNOTSUPP)) << made.error().ToString();
    EXPECT_THAT(made.error().extack, Eq("Unknown device type")) << made.error().ToString();
    return false;
  }

  // A veth to stand on.
  int Lower() {
    if (!Get(*home_, "lower")) Do(*home_, EncodeNewVeth(Veth("lower")));
    return Get(*home_, "lower")->ifindex;
  }
};

TEST_F(LinkInfoKernelTest, ABridgeIsBornAndChangesItsOptions) {
  const BridgeInfo wanted = {.stp = false,
                             .forward_delay = std::chrono::seconds(4),
                             .hello_time = std::chrono::seconds(1),
                             .max_age = std::chrono::seconds(6),
                             .ageing_time = std::chrono::seconds(60),
                             .priority = 4096,
                             .multicast_snooping = false,
                             .group_forward_mask = 8};
  KernelResult<Payload> echo =
      home_->Get(EncodeNewLink({.name = "br0", .mac = MacAddress{{2, 0, 0, 0, 0, 1}}, .up = true}, wanted));
  ASSERT_TRUE(echo.ok()) << echo.error().ToString();
  EXPECT_THAT(DecodeLink(*echo)->name, Eq("br0"));
  BridgeInfo bridge = std::get<BridgeInfo>(Info(*home_, "br0"));
  // These are none of our business here.
  bridge.vlan_filtering.reset();
  bridge.vlan_protocol.reset();
  bridge.default_pvid.reset();
  EXPECT_TRUE(bridge == wanted);
  EXPECT_THAT(RunIp("-d -j link show br0"),
              AllOf(HasSubstr(R"("forward_delay":400,"hello_time":100,"max_age":600,"ageing_time":6000,"stp_state":0)"),
                    HasSubstr(R"("priority":4096)"), HasSubstr(R"("group_fwd_mask":"0x8")"),
                    HasSubstr(R"("mcast_snooping":0)")));

  Do(*home_, EncodeSetBridge("br0", {.stp = true, .ageing_time = std::chrono::seconds(0)}));
  bridge = std::get<BridgeInfo>(Info(*home_, "br0"));
  EXPECT_THAT(bridge.stp, Optional(true));
  EXPECT_THAT(bridge.ageing_time, Optional(Centiseconds(0)));
  EXPECT_THAT(bridge.priority, Optional(4096));
  EXPECT_THAT(RunIp("-d -j link show br0"), HasSubstr(R"("stp_state":1)"));

  using std::chrono::seconds;
  EXPECT_THAT(Code(*home_, EncodeSetBridge("br0", {.forward_delay = seconds(1)})), Eq(ERANGE));
  EXPECT_THAT(Code(*home_, EncodeSetBridge("br0", {.forward_delay = seconds(31)})), Eq(ERANGE));
  EXPECT_THAT(Code(*home_, EncodeSetBridge("br0", {.hello_time = Centiseconds(99)})), Eq(ERANGE));
  EXPECT_THAT(Code(*home_, EncodeSetBridge("br0", {.hello_time = seconds(11)})), Eq(ERANGE));
  EXPECT_THAT(Code(*home_, EncodeSetBridge("br0", {.max_age = seconds(5)})), Eq(ERANGE));
  EXPECT_THAT(Code(*home_, EncodeSetBridge("br0", {.max_age = seconds(41)})), Eq(ERANGE));
  EXPECT_THAT(Code(*home_, EncodeSetBridge("br0", {.group_forward_mask = 1})), Eq(EINVAL));
  EXPECT_THAT(Code(*home_, EncodeSetBridge("nothing", {.stp = true})), Eq(ENODEV));
  Lower();
  EXPECT_THAT(Code(*home_, EncodeSetBridge("lower", {.stp = true})), Eq(EOPNOTSUPP));
}

TEST_F(LinkInfoKernelTest, ABridgeMindsVlans) {
  Do(*home_, EncodeNewLink({.name = "br0"}, BridgeInfo{}));
  KernelResult<void> set = home_->Execute(EncodeSetBridge("br0", {.vlan_filtering = true}));
  if (!set.ok()) {
    ASSERT_THAT(set.error().code, Eq(EOPNOTSUPP)) << set.error().ToString();
    Do(*home_, EncodeSetBridge("br0", {.vlan_protocol = VlanProtocol::kDot1Ad, .default_pvid = 10}));
    GTEST_SKIP() << "the kernel is built without CONFIG_BRIDGE_VLAN_FILTERING";
  }
  Do(*home_, EncodeSetBridge("br0", {.vlan_protocol = VlanProtocol::kDot1Ad, .default_pvid = 10}));
  const BridgeInfo bridge = std::get<BridgeInfo>(Info(*home_, "br0"));
  EXPECT_THAT(bridge.vlan_filtering, Optional(true));
  EXPECT_THAT(bridge.vlan_protocol, Optional(VlanProtocol::kDot1Ad));
  EXPECT_THAT(bridge.default_pvid, Optional(10));
}

TEST_F(LinkInfoKernelTest, AMacvlanOfEachModeIsBornElsewhere) {
  const int lower = Lower();
  for (MacvlanMode mode : {MacvlanMode::kPrivate, MacvlanMode::kVepa, MacvlanMode::kBridge, MacvlanMode::kSource,
                           MacvlanMode::kPassthru}) {
    MacvlanInfo wanted = {.lower = lower, .mode = mode};
    if (mode == MacvlanMode::kSource) {
      wanted.flags = 2;
      wanted.sources = {MacAddress{{2, 0, 0, 0, 0, 1}}, MacAddress{{2, 0, 0, 0, 0, 2}}};
    }
    if (mode == MacvlanMode::kPassthru) wanted.flags = 1;
    NewLink link = {.name = "m", .mtu = 1400, .group = kGroup, .up = true, .netns_fd = away_fd_.get()};
    if (mode != MacvlanMode::kPassthru) link.mac = MacAddress{{2, 0, 0, 0, 0, 9}};
    Do(*home_, EncodeNewLink(link, wanted));
    std::optional<Link> made = Get(*away_, "m");
    ASSERT_TRUE(made.has_value());
    EXPECT_TRUE(made->up);
    EXPECT_THAT(made->mtu, Eq(1400u));
    EXPECT_THAT(made->group, Eq(kGroup));
    EXPECT_THAT(made->kind, Eq("macvlan"));
    EXPECT_THAT(made->link, Optional(lower));
    EXPECT_TRUE(made->link_netnsid.has_value());
    MacvlanInfo info = std::get<MacvlanInfo>(Info(*away_, "m"));
    EXPECT_THAT(info.sources, testing::UnorderedElementsAreArray(wanted.sources));
    info.sources = wanted.sources;
    EXPECT_TRUE(info == wanted) << static_cast<int>(mode);
    Do(*away_, EncodeDeleteLink("m"));
  }
}

TEST_F(LinkInfoKernelTest, AMacvlanIsRefusedWhereItsModeSaysSo) {
  const int lower = Lower();
  Do(*home_, EncodeNewLink({.name = "m"}, MacvlanInfo{.lower = lower}));
  EXPECT_THAT(RunIp("-d -j link show m"), HasSubstr(R"("info_kind":"macvlan","info_data":{"mode":"bridge")"));
  auto code = [&](const MacvlanInfo& info) { return Code(*home_, EncodeNewLink({.name = "n"}, info)); };
  EXPECT_THAT(code({.lower = lower, .mode = MacvlanMode::kPassthru}), Eq(EINVAL));
  EXPECT_THAT(code({.lower = lower, .flags = 4}), Eq(EINVAL));
  EXPECT_THAT(code({.lower = lower, .sources = {MacAddress{{2, 0, 0, 0, 0, 1}}}}), Eq(EINVAL));
  EXPECT_THAT(code({.lower = lower, .mode = MacvlanMode::kSource, .sources = {MacAddress{{1, 0, 0, 0, 0, 1}}}}),
              Eq(EADDRNOTAVAIL));
  EXPECT_THAT(code({.lower = 4242}), Eq(ENODEV));
  Do(*home_, EncodeNewLink({.name = "br0"}, BridgeInfo{}));
  Do(*home_, EncodeNewVeth(Veth("port")));
  Do(*home_, EncodeSetLink("port", {.master = Get(*home_, "br0")->ifindex}));
  EXPECT_THAT(code({.lower = Get(*home_, "port")->ifindex}), Eq(EBUSY));
}

TEST_F(LinkInfoKernelTest, AVxlanIsBornElsewhereAndSendsFromHome) {
  const int lower = Lower();
  const VxlanInfo group = {.vni = 0xffffff,
                           .local = Ip("192.0.2.1"),
                           .remote = Ip("239.0.0.1"),
                           .lower = lower,
                           .port = 4790,
                           .source_ports = {.first = 1024, .last = 2048},
                           .ttl = 64,
                           .learning = false,
                           .proxy = true,
                           .ageing = std::chrono::seconds(60)};
  Do(*home_, EncodeNewLink({.name = "vx", .netns_fd = away_fd_.get()}, group));
  EXPECT_TRUE(std::get<VxlanInfo>(Info(*away_, "vx")) == group);
  // Identifier and port are taken where it sends from.
  EXPECT_THAT(Code(*home_, EncodeNewLink({.name = "vy"}, group)), Eq(EEXIST));

  const VxlanInfo ipv6 = {.vni = 7, .local = Ip("2001:db8::1"), .remote = Ip("2001:db8::2")};
  Do(*home_, EncodeNewLink({.name = "vx6"}, ipv6));
  EXPECT_TRUE(std::get<VxlanInfo>(Info(*home_, "vx6")) == ipv6);
  const VxlanInfo bare = {.vni = 8};
  Do(*home_, EncodeNewLink({.name = "bare"}, bare));
  EXPECT_TRUE(std::get<VxlanInfo>(Info(*home_, "bare")) == bare);
  EXPECT_THAT(RunIp("-d -j link show vx6"),
              AllOf(HasSubstr(R"("id":7)"), HasSubstr(R"("remote6":"2001:db8::2","local6":"2001:db8::1")"),
                    HasSubstr(R"("port":4789)"), HasSubstr(R"("learning":true)"), HasSubstr(R"("ageing":300)")));

  auto code = [&](const VxlanInfo& info) { return Code(*home_, EncodeNewLink({.name = "n"}, info)); };
  EXPECT_THAT(code({.vni = 1 << 24}), Eq(ERANGE));
  EXPECT_THAT(code({.vni = 9, .remote = Ip("239.0.0.1")}), Eq(EINVAL));
  EXPECT_THAT(code({.vni = 9, .local = Ip("192.0.2.1"), .remote = Ip("2001:db8::2")}), Eq(EINVAL));
  EXPECT_THAT(code({.vni = 9, .local = Ip("239.0.0.1")}), Eq(EINVAL));
  EXPECT_THAT(code({.vni = 9, .source_ports = {.first = 2, .last = 1}}), Eq(EINVAL));
}

TEST_F(LinkInfoKernelTest, AVlanIsBornElsewhere) {
  const VlanInfo wanted = {.lower = Lower(), .id = 4094};
  if (!Make({.name = "vl", .netns_fd = away_fd_.get()}, wanted)) GTEST_SKIP() << "the kernel has no vlan links";
  EXPECT_TRUE(std::get<VlanInfo>(Info(*away_, "vl")) == wanted);
  EXPECT_THAT(Code(*home_, EncodeNewLink({.name = "vm"}, wanted)), Eq(EEXIST));
  EXPECT_THAT(Code(*home_, EncodeNewLink({.name = "vm"}, VlanInfo{.lower = Lower(), .id = 4095})), Eq(ERANGE));
  const VlanInfo service = {.lower = Lower(), .id = 4094, .protocol = VlanProtocol::kDot1Ad};
  Do(*home_, EncodeNewLink({.name = "vm"}, service));
  EXPECT_TRUE(std::get<VlanInfo>(Info(*home_, "vm")) == service);
}

TEST_F(LinkInfoKernelTest, AnIpvlanOfEachModeIsBornElsewhere) {
  for (IpvlanMode mode : {IpvlanMode::kL2, IpvlanMode::kL3, IpvlanMode::kL3s}) {
    const IpvlanInfo wanted = {.lower = Lower(), .mode = mode, .flags = 1};
    if (!Make({.name = "ipv", .netns_fd = away_fd_.get()}, wanted)) GTEST_SKIP() << "the kernel has no ipvlan links";
    EXPECT_TRUE(std::get<IpvlanInfo>(Info(*away_, "ipv")) == wanted);
    Do(*away_, EncodeDeleteLink("ipv"));
  }
  EXPECT_THAT(Code(*home_, EncodeNewLink({.name = "ipv"}, IpvlanInfo{.lower = Lower(), .flags = 3})), Eq(EINVAL));
}

TEST_F(LinkInfoKernelTest, ADummyIsBorn) {
  if (!Make({.name = "d", .up = true}, DummyInfo{})) GTEST_SKIP() << "the kernel has no dummy links";
  EXPECT_TRUE(std::holds_alternative<DummyInfo>(Info(*home_, "d")));
  EXPECT_TRUE(Get(*home_, "d")->up);
}

TEST_F(LinkInfoKernelTest, AnIfbIsBornElsewhereAndUp) {
  Do(*home_, EncodeNewLink({.name = "i", .up = true, .netns_fd = away_fd_.get(), .tx_queues = 2}, IfbInfo{}));
  EXPECT_TRUE(std::holds_alternative<IfbInfo>(Info(*away_, "i")));
  EXPECT_TRUE(Get(*away_, "i")->running);
  EXPECT_THAT(Get(*away_, "i")->tx_queues, Eq(2u));
  // Without a carrier to wait for it has its address before the mode is changed in the same request.
  Do(*home_, EncodeNewLink({.name = "j"}, IfbInfo{}));
  Do(*home_, EncodeSetLink("j", {.up = true, .address_generation = AddressGeneration::kNone}));
  EXPECT_THAT(RunIp("-j -6 addr show dev j"), HasSubstr("fe80"));
}

TEST_F(LinkInfoKernelTest, OtherKindsSayNothing) {
  EXPECT_TRUE(std::holds_alternative<std::monostate>(Info(*home_, "lo")));
  Lower();
  EXPECT_TRUE(std::holds_alternative<std::monostate>(Info(*home_, "lower")));
}

}  // namespace
}  // namespace netprov::netlink
