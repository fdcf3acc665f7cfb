#include "server/engine/link_update.h"

#include <optional>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/netlink/link_info.h"

namespace netprov::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

AddressSpec Address(const std::string& prefix) {
  return {.local = *netlink::IpPrefix::Parse(prefix), .peer = std::nullopt};
}

RouteSpec Route(const std::string& destination, uint32_t metric, RouteType type = RouteType::kUnicast) {
  RouteSpec route;
  route.destination = *netlink::IpPrefix::Parse(destination);
  route.metric = metric;
  route.type = type;
  return route;
}

IpChange Addresses(const std::vector<AddressSpec>& from, const std::vector<AddressSpec>& to) {
  return ChangeBetween({.addresses = from, .neighbours = {}, .routes = {}},
                       {.addresses = to, .neighbours = {}, .routes = {}});
}

TEST(ChangeBetween, WhatIsInBothStays) {
  const IpConfig ip{.addresses = {Address("10.0.0.2/24"), Address("2001:db8::2/64")},
                    .neighbours = {},
                    .routes = {Route("10.1.0.0/16", 0)}};
  EXPECT_TRUE(ChangeBetween(ip, ip).empty());
  IpConfig more = ip;
  more.addresses.push_back(Address("10.0.0.3/24"));
  const IpChange grown = ChangeBetween(ip, more);
  EXPECT_THAT(grown.gained.addresses, ElementsAre(Address("10.0.0.3/24")));
  EXPECT_TRUE(grown.lost.empty());
  const IpChange shrunk = ChangeBetween(more, ip);
  EXPECT_TRUE(shrunk.gained.empty());
  EXPECT_THAT(shrunk.lost.addresses, ElementsAre(Address("10.0.0.3/24")));
}

TEST(ChangeBetween, AnotherPrimaryAddressMakesTheOthersOfItsNetworkNew) {
  const AddressSpec first = Address("10.0.0.2/24");
  const AddressSpec second = Address("10.0.0.3/24");
  const AddressSpec elsewhere = Address("10.0.1.2/24");
  EXPECT_THAT(Addresses({first, elsewhere}, {second, first, elsewhere}).gained.addresses, ElementsAre(second, first));
  EXPECT_THAT(Addresses({first, second}, {second, first}).gained.addresses, ElementsAre(second, first));
  EXPECT_TRUE(Addresses({first, second}, {second, first}).lost.empty());
  // Of IPv6, none is before another.
  const AddressSpec six = Address("2001:db8::2/64");
  const AddressSpec seven = Address("2001:db8::3/64");
  EXPECT_TRUE(Addresses({six, seven}, {seven, six}).empty());
}

TEST(ChangeBetween, AnIpv6AddressWithAnotherPrefixIsInTheWay) {
  const IpChange change = Addresses({Address("2001:db8::2/64")}, {Address("2001:db8::2/96")});
  EXPECT_THAT(change.in_the_way.addresses, ElementsAre(Address("2001:db8::2/64")));
  EXPECT_THAT(change.gained.addresses, ElementsAre(Address("2001:db8::2/96")));
  EXPECT_TRUE(change.lost.empty());
  EXPECT_THAT(Addresses({Address("10.0.0.2/24")}, {Address("10.0.0.2/16")}).in_the_way.addresses, IsEmpty());
}

TEST(ChangeBetween, TheSameWithOtherWordsReplacesWhatWasThere) {
  AddressSpec narrow = Address("10.0.0.2/24");
  narrow.scope = kScopeLink;
  const IpChange address = Addresses({Address("10.0.0.2/24")}, {narrow});
  EXPECT_THAT(address.gained.addresses, ElementsAre(narrow));
  EXPECT_TRUE(address.lost.empty());
  RouteSpec before = Route("10.1.0.0/16", 5);
  RouteSpec after = before;
  after.mtu = 1400;
  const IpChange route = ChangeBetween({.addresses = {}, .neighbours = {}, .routes = {before}},
                                       {.addresses = {}, .neighbours = {}, .routes = {after}});
  EXPECT_THAT(route.in_the_way.routes, ElementsAre(before));
  EXPECT_THAT(route.gained.routes, ElementsAre(after));
  EXPECT_TRUE(route.lost.empty());
  const NeighbourSpec old{.address = *netlink::IpAddress::Parse("10.0.0.9"), .mac = {{2, 0, 0, 0, 0, 1}}};
  const NeighbourSpec now{.address = old.address, .mac = {{2, 0, 0, 0, 0, 2}}};
  const IpChange neighbour = ChangeBetween({.addresses = {}, .neighbours = {old}, .routes = {}},
                                           {.addresses = {}, .neighbours = {now}, .routes = {}});
  EXPECT_THAT(neighbour.gained.neighbours, ElementsAre(now));
  EXPECT_TRUE(neighbour.lost.empty());
}

TEST(SettingsBetween, OnlyWhatDiffersIsSetAndWhatIsLeftOpenStays) {
  LinkShape from{.link = {.interface_name = "h0", .mtu = 1500}, .options = std::nullopt};
  EXPECT_EQ(SettingsBetween(from, from, 7), LinkSettings());
  LinkShape to = from;
  to.link.mtu = 1400;
  to.link.up = false;
  to.link.config.options.promiscuous = true;
  to.link.config.options.limits.gso_max_size = 1000;
  LinkSettings expected{.mtu = 1400, .up = false, .promiscuous = true};
  expected.limits.gso_max_size = 1000;
  EXPECT_EQ(SettingsBetween(from, to, 7), expected);
  to = from;
  to.link.mtu = std::nullopt;
  EXPECT_EQ(SettingsBetween(from, to, 7), LinkSettings());
}

TEST(SettingsBetween, APortIsSetWholeWhereItIsAnotherBridges) {
  LinkShape from{.link = {.interface_name = "h0"}, .options = std::nullopt};
  from.link.config.bridge = "bridges/one";
  from.link.config.port.settings.isolated = true;
  from.link.config.port.settings.cost = 7;
  LinkShape to = from;
  to.link.config.port.settings.cost = 8;
  LinkSettings same_bridge;
  same_bridge.port.settings.cost = 8;
  EXPECT_EQ(SettingsBetween(from, to, 7), same_bridge);
  to.link.config.bridge = "bridges/two";
  EXPECT_EQ(SettingsBetween(from, to, 7), (LinkSettings{.master = 7, .port = to.link.config.port}));
  to.link.config.bridge = "";
  to.link.config.port = {};
  EXPECT_EQ(SettingsBetween(from, to, 7), LinkSettings{.master = 0});
}

TEST(Former, IsWhatTheKernelHasOfAllThatChanges) {
  LinkShape old{.link = {.interface_name = "br0", .mtu = 1500}, .options = netlink::BridgeInfo{.stp = true}};
  LinkShape wanted = old;
  wanted.link.mtu = 1400;
  wanted.link.config.options.alias = "another";
  std::get<netlink::BridgeInfo>(*wanted.options).stp = false;
  std::get<netlink::BridgeInfo>(*wanted.options).priority = 5;
  Link now{.ifindex = 3, .name = "br0", .mtu = 9000, .up = false};
  now.options.alias = "as somebody set it";
  now.device = netlink::BridgeInfo{.stp = false, .ageing_time = netlink::Centiseconds(5), .priority = 32768};
  const LinkShape former = Former(old, wanted, now, {});
  EXPECT_EQ(former.link.mtu, 9000U);
  EXPECT_EQ(former.link.config.options.alias, "as somebody set it");
  EXPECT_TRUE(former.link.up) << "nobody changes it";
  EXPECT_EQ(std::get<netlink::BridgeInfo>(*former.options), (netlink::BridgeInfo{.stp = false, .priority = 32768}));
  // There and back.
  EXPECT_EQ(SettingsBetween(wanted, former, 0).mtu, 9000U);
}

FdbEntry Entry(const char* destination) {
  return {.mac = {}, .destination = *netlink::IpAddress::Parse(destination), .port = std::nullopt, .vni = std::nullopt};
}

TEST(SettingsBetween, OfAVxlanWhatWasLeftOutIsTakenAway) {
  VxlanOptions before{.info = {.vni = 7}, .fdb = {Entry("192.0.2.1"), Entry("192.0.2.2")}};
  before.info.remote = netlink::IpAddress::Parse("2001:db8::1");
  VxlanOptions after{.info = {.vni = 7}, .fdb = {Entry("192.0.2.2"), Entry("192.0.2.3")}};
  const LinkShape from{.link = {}, .options = before};
  LinkShape to{.link = {}, .options = after};
  LinkSettings settings = SettingsBetween(from, to, 0);
  EXPECT_THAT(settings.lost_fdb, ElementsAre(Entry("192.0.2.1")));
  const auto& set = std::get<VxlanOptions>(*settings.device);
  EXPECT_EQ(set.info.remote, netlink::IpAddress::Any(netlink::IpFamily::kIpv6));
  EXPECT_EQ(set.info.local, std::nullopt);
  EXPECT_THAT(set.fdb, ElementsAre(Entry("192.0.2.3")));
  EXPECT_EQ(SettingsBetween(to, to, 0), LinkSettings());

  // What somebody took away, an update of others does not bring back.
  VxlanOptions now = before;
  now.info.ttl = 9;
  now.fdb = {Entry("192.0.2.1")};
  after.fdb.push_back(Entry("192.0.2.1"));
  to.options = after;
  Link link;
  link.device = now;
  const LinkShape former = Former(from, to, link, {});
  RemoveLostEntries(from, former, to);
  EXPECT_EQ(std::get<VxlanOptions>(*former.options).info, before.info);
  EXPECT_THAT(SettingsBetween(former, to, 0).lost_fdb, IsEmpty());
  EXPECT_THAT(std::get<VxlanOptions>(*to.options).fdb, ElementsAre(Entry("192.0.2.3"), Entry("192.0.2.1")));
}

TEST(SettingsBetween, OfAMacvlanAllOrNothing) {
  const LinkShape from{.link = {}, .options = netlink::MacvlanInfo{}};
  const netlink::MacvlanInfo wanted{.lower = 0, .mode = netlink::MacvlanMode::kPrivate, .flags = 0, .sources = {}};
  const LinkShape to{.link = {}, .options = wanted};
  EXPECT_EQ(SettingsBetween(from, from, 0), LinkSettings());
  EXPECT_EQ(SettingsBetween(from, to, 0).device, DeviceOptions(wanted));
  Link link;
  link.device = netlink::MacvlanInfo{.lower = 0, .mode = netlink::MacvlanMode::kVepa, .flags = 0, .sources = {}};
  EXPECT_EQ(Former(from, to, link, {}).options, link.device);
  EXPECT_EQ(Former(from, from, link, {}).options, from.options);
}

TEST(LeaveOutWhatIs, OnlyWhatTheLinkIsNotYetIsLeft) {
  Link now;
  now.mac = {{2, 0, 0, 0, 0, 1}};
  now.mtu = 1500;
  now.up = true;
  now.device = netlink::BridgeInfo{.stp = true, .vlan_filtering = false};
  LinkSettings settings{.mac = now.mac, .mtu = 1400, .up = true, .promiscuous = true, .all_multicast = false};
  settings.device = netlink::BridgeInfo{.stp = false, .vlan_filtering = false};
  LeaveOutWhatIs(now, settings);
  LinkSettings left{.mtu = 1400, .promiscuous = true};
  left.device = netlink::BridgeInfo{.stp = false};
  EXPECT_EQ(settings, left);
  // All of it: nothing is to be said of its kind.
  settings = {.up = true};
  settings.device = netlink::BridgeInfo{.vlan_filtering = false};
  LeaveOutWhatIs(now, settings);
  EXPECT_EQ(settings, LinkSettings());
}

}  // namespace
}  // namespace netprov::engine
