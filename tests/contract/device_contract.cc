// Bridges, their ports, and other devices.
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <optional>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/netlink/ip_address.h"
#include "server/netlink/link_info.h"
#include "server/netlink/mac_address.h"
#include "tests/contract/kernel_contract.h"

namespace netprov::testing {
namespace {

using engine::Link;
using engine::LinkSpec;
using engine::NetnsRef;
using netlink::MacAddress;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::UnorderedElementsAre;

TEST_P(KernelContractTest, MakesABridge) {
  const NetnsRef blue = MakeNetns("blue");
  const netlink::BridgeInfo asked{
      .stp = true, .ageing_time = netlink::Centiseconds(6000), .priority = 100, .group_forward_mask = 8};
  for (const NetnsRef& where : {kHost, blue}) {
    KernelResult<Link> made = kernel_.CreateDevice(
        {.netns = where, .name = "br0", .mac = MacAddress{{2, 0, 0, 0, 0, 5}}, .mtu = 1400}, asked, "the bridge");
    ASSERT_TRUE(made.ok()) << made.error().ToString();
    EXPECT_EQ(made->name, "br0");
    EXPECT_EQ(made->kind, "bridge");
    EXPECT_EQ(made->mtu, 1400u);
    EXPECT_EQ(made->mac.ToString(), "02:00:00:00:00:05");
    EXPECT_TRUE(made->up);
    EXPECT_EQ(made->group, engine::kOwnedGroup);
    EXPECT_EQ(made->alias, "the bridge");
    const auto options = std::get<netlink::BridgeInfo>(made->device.value());
    EXPECT_EQ(options.stp, true);
    EXPECT_EQ(options.ageing_time, netlink::Centiseconds(6000));
    EXPECT_EQ(options.priority, 100);
    EXPECT_EQ(options.group_forward_mask, 8);
    EXPECT_EQ(options.multicast_snooping, true);
    EXPECT_EQ(*kernel_.FindLink(where, "br0"), std::optional(*made));
    EXPECT_EQ(CodeOf(kernel_.CreateDevice({.netns = where, .name = "br0"}, asked, "")), EEXIST);
    EXPECT_EQ(CodeOf(kernel_.SetLink(where, made->ifindex, {.device = netlink::BridgeInfo{.stp = false}})), 0);
    const std::optional<Link> changed = *kernel_.FindLink(where, "br0");
    EXPECT_EQ(std::get<netlink::BridgeInfo>(changed->device.value()).stp, false);
    EXPECT_EQ(std::get<netlink::BridgeInfo>(changed->device.value()).priority, 100);
    EXPECT_EQ(CodeOf(kernel_.DeleteLink(where, made->ifindex)), 0);
  }
  EXPECT_EQ(CodeOf(kernel_.CreateDevice({.netns = {.name = "green", .cookie = 1}, .name = "br0"}, asked, "")), ENOENT);
  EXPECT_EQ(CodeOf(kernel_.CreateDevice({.name = "a-name-of-16-byt"}, asked, "")), ERANGE);
}

TEST_P(KernelContractTest, MakesAMacvlanInEachMode) {
  const NetnsRef blue = MakeNetns("blue");
  auto pair = kernel_.CreateVeth({.name = "low0"}, {.name = "low1"}, "");
  ASSERT_TRUE(pair.ok()) << pair.error().ToString();
  const engine::LowerRef lower{.netns = kHost, .ifindex = pair->first.ifindex};
  const MacAddress first = {{2, 0, 0, 0, 0, 1}};
  const MacAddress second = {{2, 0, 0, 0, 0, 2}};
  using netlink::MacvlanMode;
  for (const MacvlanMode mode : {MacvlanMode::kPrivate, MacvlanMode::kVepa, MacvlanMode::kBridge,
                                 MacvlanMode::kPassthru, MacvlanMode::kSource}) {
    netlink::MacvlanInfo asked{.lower = 0, .mode = mode, .flags = 0, .sources = {}};
    if (mode == MacvlanMode::kSource) asked.sources = {first};
    // One of the name is in the host's namespace.
    KernelResult<Link> made = kernel_.CreateDevice({.netns = blue, .name = "low1", .lower = lower}, asked, "the m");
    ASSERT_TRUE(made.ok()) << made.error().ToString();
    EXPECT_EQ(made->kind, "macvlan");
    EXPECT_EQ(made->lower_ifindex, lower.ifindex);
    EXPECT_EQ(made->alias, "the m");
    EXPECT_EQ(made->group, engine::kOwnedGroup);
    EXPECT_TRUE(made->up);
    EXPECT_EQ(made->mtu, pair->first.mtu);
    EXPECT_EQ(made->mac == pair->first.mac, mode == MacvlanMode::kPassthru);
    EXPECT_EQ(made->device, engine::DeviceOptions(asked));
    EXPECT_EQ((*kernel_.FindLink(blue, "low1"))->device, engine::DeviceOptions(asked));
    // Another beside it, and changes.
    const netlink::MacvlanInfo vepa{.lower = 0, .mode = MacvlanMode::kVepa, .flags = 0, .sources = {}};
    const netlink::MacvlanInfo source{.lower = 0, .mode = MacvlanMode::kSource, .flags = 0, .sources = {first, second}};
    const bool passes = mode == MacvlanMode::kPassthru;
    EXPECT_EQ(CodeOf(kernel_.CreateDevice({.netns = blue, .name = "m1", .lower = lower}, vepa, "")),
              passes ? EINVAL : 0);
    for (const netlink::MacvlanInfo& change : {source, vepa, source}) {
      EXPECT_EQ(CodeOf(kernel_.SetLink(blue, made->ifindex, {.device = change})), passes ? EINVAL : 0);
    }
    if (!passes) {
      const auto now = std::get<netlink::MacvlanInfo>((*kernel_.FindLink(blue, made->ifindex))->device.value());
      EXPECT_EQ(now.mode, MacvlanMode::kSource);
      EXPECT_THAT(now.sources, UnorderedElementsAre(first, second));
    }
    EXPECT_EQ(CodeOf(kernel_.DeleteLinksInside(blue)), 0);
  }
  const netlink::MacvlanInfo bridge{.lower = 0, .mode = MacvlanMode::kBridge, .flags = 0, .sources = {}};
  KernelResult<Link> below = kernel_.CreateDevice({.name = "m0", .lower = lower}, bridge, "");
  ASSERT_TRUE(below.ok()) << below.error().ToString();
  // One on a macvlan stands beside it.
  KernelResult<Link> above = kernel_.CreateDevice(
      {.netns = blue, .name = "m1", .mtu = 1400, .lower = engine::LowerRef{.ifindex = below->ifindex}}, bridge, "");
  ASSERT_TRUE(above.ok()) << above.error().ToString();
  EXPECT_EQ(above->lower_ifindex, lower.ifindex);
  EXPECT_EQ(above->mtu, 1400u);
  EXPECT_EQ(CodeOf(kernel_.CreateDevice({.netns = blue, .name = "m2", .mtu = 1600, .lower = lower}, bridge, "")),
            EINVAL);
  EXPECT_EQ(CodeOf(kernel_.CreateDevice({.netns = blue, .name = "m1", .lower = lower}, bridge, "")), EEXIST);
  const engine::LowerRef nothing{.netns = kHost, .ifindex = 99999};
  EXPECT_EQ(CodeOf(kernel_.CreateDevice({.netns = blue, .name = "m2", .lower = nothing}, bridge, "")), ENODEV);
  EXPECT_FALSE(kernel_.FindLink(blue, "m2")->has_value());
  // With what they stand on they go.
  ASSERT_EQ(CodeOf(kernel_.DeleteLink(kHost, pair->second.ifindex)), 0);
  EXPECT_FALSE(kernel_.FindLink(blue, "m1")->has_value());
  EXPECT_FALSE(kernel_.FindLink(kHost, "m0")->has_value());
}

TEST_P(KernelContractTest, MakesAVxlanWithItsEntries) {
  const NetnsRef blue = MakeNetns("blue");
  const NetnsRef green = MakeNetns("green");
  engine::VxlanOptions asked;
  asked.info.vni = 42;
  asked.info.local = Ip("192.0.2.1");
  asked.info.remote = Ip("192.0.2.2");
  asked.info.ttl = 7;
  asked.info.learning = false;
  asked.info.proxy = true;
  asked.info.ageing = std::chrono::seconds(60);
  const MacAddress mac = {{2, 0, 0, 0, 0, 9}};
  asked.fdb = {{.mac = {}, .destination = Ip("192.0.2.3"), .port = 99, .vni = 7},
               {.mac = {}, .destination = Ip("192.0.2.4"), .port = {}, .vni = {}},
               {.mac = mac, .destination = Ip("192.0.2.5"), .port = 4789, .vni = 42}};
  const LinkSpec spec{.netns = blue, .name = "x0", .lower = engine::LowerRef{.netns = green}};
  KernelResult<Link> made = kernel_.CreateDevice(spec, asked, "the x");
  ASSERT_TRUE(made.ok()) << made.error().ToString();
  EXPECT_EQ(made->kind, "vxlan");
  EXPECT_EQ(made->lower_ifindex, 0u);
  EXPECT_EQ(std::get<engine::VxlanOptions>(made->device.value()).info, asked.info);
  auto fdb = kernel_.ListFdb(blue, made->ifindex);
  ASSERT_TRUE(fdb.ok()) << fdb.error().ToString();
  const engine::FdbEntry plain{.mac = mac, .destination = Ip("192.0.2.5"), .port = {}, .vni = {}};
  const engine::FdbEntry remote{.mac = {}, .destination = Ip("192.0.2.2"), .port = {}, .vni = {}};
  EXPECT_THAT(*fdb, UnorderedElementsAre(asked.fdb[0], asked.fdb[1], plain, remote));
  // Changes, and entries that it has or has not.
  engine::VxlanOptions changed = asked;
  changed.info.local = Ip("192.0.2.8");
  changed.info.ttl = 0;
  changed.info.learning = true;
  changed.info.ageing = std::chrono::seconds(7);
  changed.fdb = {asked.fdb[0], {.mac = mac, .destination = Ip("192.0.2.6"), .port = {}, .vni = {}}};
  ASSERT_EQ(CodeOf(kernel_.SetLink(blue, made->ifindex, {.device = changed})), 0);
  EXPECT_EQ(std::get<engine::VxlanOptions>((*kernel_.FindLink(blue, "x0"))->device.value()).info, changed.info);
  EXPECT_THAT(*kernel_.ListFdb(blue, made->ifindex),
              UnorderedElementsAre(asked.fdb[0], asked.fdb[1], changed.fdb[1], remote));
  // What is there of these goes, and what is not is passed over; entries for one address are told apart.
  ASSERT_EQ(CodeOf(kernel_.SetLink(blue, made->ifindex, {.lost_fdb = {asked.fdb[0], plain, changed.fdb[1]}})), 0);
  EXPECT_THAT(*kernel_.ListFdb(blue, made->ifindex), UnorderedElementsAre(asked.fdb[1], remote));
  // No address stands for none.
  changed.info.remote = netlink::IpAddress::Any(netlink::IpFamily::kIpv4);
  changed.info.local = changed.info.remote;
  changed.fdb.clear();
  ASSERT_EQ(CodeOf(kernel_.SetLink(blue, made->ifindex, {.device = changed})), 0);
  changed.info.remote.reset();
  changed.info.local.reset();
  EXPECT_EQ(std::get<engine::VxlanOptions>((*kernel_.FindLink(blue, "x0"))->device.value()).info, changed.info);
  EXPECT_THAT(*kernel_.ListFdb(blue, made->ifindex), ElementsAre(asked.fdb[1]));
  EXPECT_THAT(*kernel_.ListFdb(blue, 9999), IsEmpty());
  // As many entries as may be asked for.
  engine::VxlanOptions large{.info = {.vni = 45}, .fdb = {}};
  for (int i = 0; i < 1024; ++i) {
    const auto low = static_cast<uint8_t>(i);
    const auto high = static_cast<uint8_t>(i / 256);
    large.fdb.push_back({.mac = {{2, 0, 0, 0, high, low}}, .destination = Ip("192.0.2.7"), .port = {}, .vni = {}});
  }
  LinkSpec spacious = spec;
  spacious.name = "x9";
  KernelResult<Link> big = kernel_.CreateDevice(spacious, large, "");
  ASSERT_TRUE(big.ok()) << big.error().ToString();
  EXPECT_EQ(kernel_.ListFdb(blue, big->ifindex)->size(), 1024u);
  // Not the name is taken.
  LinkSpec same = spec;
  same.name = "x1";
  KernelResult<Link> second = kernel_.CreateDevice(same, asked, "");
  EXPECT_EQ(CodeOf(second), EEXIST);
  EXPECT_NE(second.error().extack, "");
  same.lower->netns = blue;
  EXPECT_EQ(CodeOf(kernel_.CreateDevice(same, asked, "")), 0);
  KernelResult<Link> named = kernel_.CreateDevice(spec, engine::VxlanOptions{.info = {.vni = 43}, .fdb = {}}, "");
  EXPECT_EQ(CodeOf(named), EEXIST);
  EXPECT_EQ(named.error().extack, "");
  // On a link, whose MTU counts.
  auto pair = kernel_.CreateVeth({.name = "low0"}, {.name = "low1"}, "");
  ASSERT_TRUE(pair.ok()) << pair.error().ToString();
  const LinkSpec on_link{.netns = blue, .name = "x2", .lower = engine::LowerRef{.ifindex = pair->first.ifindex}};
  KernelResult<Link> above = kernel_.CreateDevice(on_link, engine::VxlanOptions{.info = {.vni = 44}, .fdb = {}}, "");
  ASSERT_TRUE(above.ok()) << above.error().ToString();
  EXPECT_EQ(above->lower_ifindex, pair->first.ifindex);
  EXPECT_EQ(above->mtu, 1450u);
  ASSERT_EQ(CodeOf(kernel_.DeleteLink(kHost, pair->first.ifindex)), 0);
  EXPECT_FALSE(kernel_.FindLink(blue, "x2")->has_value());
}

TEST_P(KernelContractTest, MakesAnIfb) {
  const NetnsRef blue = MakeNetns("blue");
  KernelResult<Link> made = kernel_.CreateDevice({.netns = blue, .name = "i0", .mac = MacAddress{{2, 0, 0, 0, 0, 5}}},
                                                 netlink::IfbInfo(), "the i");
  ASSERT_TRUE(made.ok()) << made.error().ToString();
  EXPECT_EQ(made->kind, "ifb");
  EXPECT_EQ(made->mac, (MacAddress{{2, 0, 0, 0, 0, 5}}));
  EXPECT_EQ(made->mtu, 1500u);
  EXPECT_TRUE(made->up);
  EXPECT_EQ(made->alias, "the i");
  EXPECT_EQ(made->device, engine::DeviceOptions(netlink::IfbInfo()));
  EXPECT_EQ(*kernel_.FindLink(blue, "i0"), *made);
  // What it is born with it keeps.
  EXPECT_EQ(CodeOf(kernel_.SetLink(blue, made->ifindex, {.mac = MacAddress{{2, 0, 0, 0, 0, 6}}})), EOPNOTSUPP);
  EXPECT_EQ(*kernel_.FindLink(blue, "i0"), *made);
  EXPECT_EQ(CodeOf(kernel_.DeleteLink(blue, made->ifindex)), 0);
}

TEST_P(KernelContractTest, PortsJoinTheirBridgeAndLeaveIt) {
  const NetnsRef blue = MakeNetns("blue");
  KernelResult<Link> bridge = kernel_.CreateDevice({.netns = blue, .name = "br0"}, netlink::BridgeInfo(), "");
  ASSERT_TRUE(bridge.ok()) << bridge.error().ToString();
  engine::PortOptions port;
  port.settings.hairpin = true;
  port.settings.learning = false;
  auto pair = kernel_.CreateVeth({.netns = blue, .name = "p0", .master = bridge->ifindex, .port = port},
                                 {.netns = blue, .name = "p1", .master = bridge->ifindex}, "ports");
  ASSERT_TRUE(pair.ok()) << pair.error().ToString();
  for (const Link* end : {&pair->first, &pair->second}) {
    EXPECT_EQ(end->master_ifindex, bridge->ifindex);
    ASSERT_TRUE(end->port.has_value());
    EXPECT_EQ(end->port->state, std::nullopt);
    EXPECT_EQ(end->port->unicast_flood, true);
    EXPECT_EQ(end->alias, "ports");
  }
  EXPECT_EQ(pair->first.port->hairpin, true);
  EXPECT_EQ(pair->first.port->learning, false);
  EXPECT_EQ(pair->second.port->learning, true);
  // Whatever ports it has.
  EXPECT_EQ((*kernel_.FindLink(blue, "br0"))->mac, bridge->mac);

  ASSERT_EQ(CodeOf(kernel_.SetLink(blue, pair->first.ifindex, {.master = 0})), 0);
  EXPECT_EQ((*kernel_.FindLink(blue, "p0"))->master_ifindex, 0u);
  EXPECT_EQ((*kernel_.FindLink(blue, "p0"))->port, std::nullopt);
  ASSERT_EQ(CodeOf(kernel_.SetLink(blue, pair->first.ifindex, {.master = bridge->ifindex, .port = port})), 0);
  EXPECT_EQ((*kernel_.FindLink(blue, "p0"))->port->hairpin, true);
  // Also where the kernel has no VLANs.
  EXPECT_EQ(CodeOf(kernel_.SetLink(blue, pair->first.ifindex, {.no_vlans = true})), 0);
  EXPECT_THAT(kernel_.ListPortVlans(blue)->at(pair->first.ifindex), IsEmpty());
  ASSERT_EQ(CodeOf(kernel_.DeleteLink(blue, bridge->ifindex)), 0);
  EXPECT_EQ((*kernel_.FindLink(blue, "p0"))->master_ifindex, 0u);
  EXPECT_EQ(CodeOf(kernel_.SetLink(blue, pair->first.ifindex, {.no_vlans = true})), EOPNOTSUPP);

  // Of what is no bridge, or not there; nothing of the pair is left.
  EXPECT_EQ(CodeOf(kernel_.CreateVeth({.netns = blue, .name = "q0", .master = bridge->ifindex}, {.name = "q1"}, "")),
            EINVAL);
  EXPECT_EQ(
      CodeOf(kernel_.CreateVeth({.name = "q1"}, {.netns = blue, .name = "q0", .master = pair->first.ifindex}, "")),
      EOPNOTSUPP);
  EXPECT_EQ(*kernel_.FindLink(blue, "q0"), std::nullopt);
  EXPECT_EQ(*kernel_.FindLink(kHost, "q1"), std::nullopt);
}

TEST_P(KernelContractTest, ADeviceIsBornAsAPort) {
  const NetnsRef blue = MakeNetns("blue");
  KernelResult<Link> bridge = kernel_.CreateDevice({.netns = blue, .name = "br0"}, netlink::BridgeInfo(), "");
  ASSERT_TRUE(bridge.ok()) << bridge.error().ToString();
  auto low = kernel_.CreateVeth({.name = "low0"}, {.name = "low1"}, "");
  ASSERT_TRUE(low.ok()) << low.error().ToString();
  LinkSpec spec{.netns = blue, .name = "d0", .master = bridge->ifindex};
  spec.port.settings.isolated = true;
  spec.port.settings.learning = false;
  const engine::LowerRef lower{.netns = kHost, .ifindex = low->first.ifindex};
  struct Case {
    engine::DeviceOptions options;
    std::optional<engine::LowerRef> lower;
    uint32_t cost;
  };
  engine::VxlanOptions vxlan{.info = {.vni = 42}, .fdb = {}};
  vxlan.fdb = {{.mac = {}, .destination = Ip("192.0.2.3"), .port = {}, .vni = {}}};
  const netlink::MacvlanInfo macvlan{.lower = 0, .mode = netlink::MacvlanMode::kBridge, .flags = 0, .sources = {}};
  for (const Case& test : {Case{vxlan, engine::LowerRef{.netns = kHost}, 100}, Case{macvlan, lower, 2},
                           Case{netlink::IfbInfo(), std::nullopt, 100}}) {
    SCOPED_TRACE(engine::KindOf(test.options));
    spec.lower = test.lower;
    KernelResult<Link> made = kernel_.CreateDevice(spec, test.options, "the port");
    ASSERT_TRUE(made.ok()) << made.error().ToString();
    EXPECT_EQ(made->alias, "the port");
    EXPECT_EQ(made->master_ifindex, bridge->ifindex);
    ASSERT_TRUE(made->port.has_value());
    EXPECT_EQ(made->port->isolated, true);
    EXPECT_EQ(made->port->learning, false);
    EXPECT_EQ(made->port->hairpin, false);
    EXPECT_EQ(made->port->cost, test.cost);
    EXPECT_EQ(*kernel_.FindLink(blue, "d0"), std::optional(*made));
    EXPECT_EQ(CodeOf(kernel_.SetLink(blue, made->ifindex, {.master = 0})), 0);
    EXPECT_EQ((*kernel_.FindLink(blue, "d0"))->port, std::nullopt);
    EXPECT_EQ(CodeOf(kernel_.DeleteLink(blue, made->ifindex)), 0);
    // Of a bridge that is not there, or is none, it is no port, and nothing of it is left.
    for (const auto& [master, code] : {std::pair(uint32_t{9999}, EINVAL), std::pair(uint32_t{1}, EOPNOTSUPP)}) {
      LinkSpec nowhere = spec;
      nowhere.master = master;
      const KernelResult<Link> refused = kernel_.CreateDevice(nowhere, test.options, "");
      EXPECT_EQ(CodeOf(refused), code);
      EXPECT_EQ(refused.error().operation.rfind("RTM_SETLINK", 0), 0u) << refused.error().operation;
      EXPECT_EQ(*kernel_.FindLink(blue, "d0"), std::nullopt);
    }
  }
  // A bridge is none, whosever.
  KernelResult<Link> other = kernel_.CreateDevice({.netns = blue, .name = "br1"}, netlink::BridgeInfo(), "");
  ASSERT_TRUE(other.ok()) << other.error().ToString();
  EXPECT_EQ(CodeOf(kernel_.SetLink(blue, other->ifindex, {.master = bridge->ifindex})), ELOOP);
}

TEST_P(KernelContractTest, ANewPortHasTheVlanOfItsBridge) {
  const NetnsRef blue = MakeNetns("blue");
  auto make_bridge = [&](const std::string& name, std::optional<uint16_t> pvid) {
    netlink::BridgeInfo options;
    options.default_pvid = pvid;
    return *kernel_.CreateDevice({.netns = blue, .name = name}, options, "");
  };
  const Link usual = make_bridge("br0", std::nullopt);
  if (!std::get<netlink::BridgeInfo>(usual.device.value()).default_pvid.has_value()) {
    GTEST_SKIP() << "the kernel is built without CONFIG_BRIDGE_VLAN_FILTERING";
  }
  auto pair = kernel_.CreateVeth({.netns = blue, .name = "p0", .master = usual.ifindex}, {.netns = blue, .name = "p1"},
                                 "ports");
  ASSERT_TRUE(pair.ok()) << pair.error().ToString();
  const uint32_t port = pair->first.ifindex;
  auto vlans = [&] { return kernel_.ListPortVlans(blue)->at(port); };
  auto join = [&](const Link& bridge) {
    EXPECT_EQ(CodeOf(kernel_.SetLink(blue, port, {.master = bridge.ifindex})), 0);
  };
  auto untagged = [](uint16_t vlan) {
    return netlink::BridgeVlan{.first = vlan, .last = vlan, .pvid = true, .untagged = true};
  };
  EXPECT_THAT(vlans(), ElementsAre(untagged(1)));
  engine::LinkSettings others;
  others.port.vlans = {{.first = 20, .last = 20, .untagged = true}};
  EXPECT_EQ(CodeOf(kernel_.SetLink(blue, port, others)), 0);
  EXPECT_EQ(vlans(), others.port.vlans);
  join(make_bridge("br1", 7));
  EXPECT_THAT(vlans(), ElementsAre(untagged(7)));
  join(make_bridge("br2", 0));
  EXPECT_THAT(vlans(), IsEmpty());
  join(usual);
  EXPECT_THAT(vlans(), ElementsAre(untagged(1)));
  EXPECT_EQ(CodeOf(kernel_.SetLink(blue, port, {.no_vlans = true})), 0);
  EXPECT_THAT(vlans(), IsEmpty());
}

TEST_P(KernelContractTest, ABridgeHasRoomFor1023Ports) {
  const NetnsRef blue = MakeNetns("blue");
  KernelResult<Link> bridge = kernel_.CreateDevice({.netns = blue, .name = "br0"}, netlink::BridgeInfo(), "");
  ASSERT_TRUE(bridge.ok()) << bridge.error().ToString();
  // Down, as each port that comes up sends to all others.
  auto make = [&](int number, bool both) {
    LinkSpec a{.netns = blue, .name = absl::StrCat("p", number), .up = false, .master = bridge->ifindex};
    LinkSpec b{.netns = blue, .name = absl::StrCat("q", number), .up = false, .master = both ? bridge->ifindex : 0};
    return CodeOf(kernel_.CreateVeth(a, b, ""));
  };
  for (int i = 0; i < 511; ++i) ASSERT_EQ(make(i, /*both=*/true), 0) << i;
  EXPECT_EQ(make(511, /*both=*/true), EXFULL);
  EXPECT_EQ(*kernel_.FindLink(blue, "p511"), std::nullopt);
  EXPECT_EQ(make(511, /*both=*/false), 0);
  EXPECT_EQ(make(512, /*both=*/false), EXFULL);
  EXPECT_EQ(*kernel_.FindLink(blue, "p512"), std::nullopt);
}

TEST_P(KernelContractTest, ABridgeKeepsItsMtuAndItsAddressWhateverPortsItGets) {
  const NetnsRef blue = MakeNetns("blue");
  for (const std::optional<uint32_t> asked : {std::optional<uint32_t>(), std::optional(1500u), std::optional(68u)}) {
    KernelResult<Link> bridge =
        kernel_.CreateDevice({.netns = blue, .name = "br0", .mtu = asked}, netlink::BridgeInfo(), "");
    ASSERT_TRUE(bridge.ok()) << bridge.error().ToString();
    EXPECT_EQ(bridge->mtu, asked.value_or(1500));
    ASSERT_TRUE(kernel_
                    .CreateVeth({.netns = blue,
                                 .name = "p0",
                                 .mac = MacAddress{{2, 0, 0, 0, 0, 1}},
                                 .mtu = 1400,
                                 .master = bridge->ifindex},
                                {.name = "p1"}, "")
                    .ok());
    const Link now = **kernel_.FindLink(blue, "br0");
    EXPECT_EQ(now.mac, bridge->mac);
    if (asked.has_value()) {
      EXPECT_EQ(now.mtu, *asked);
    }
    ASSERT_EQ(CodeOf(kernel_.DeleteLinksInside(blue)), 0);
  }
}

}  // namespace
}  // namespace netprov::testing
