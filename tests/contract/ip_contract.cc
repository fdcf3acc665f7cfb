// Addresses, neighbours and routes, and lists of what is there.
#include <cerrno>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/netlink/address.h"
#include "server/netlink/ip_address.h"
#include "server/netlink/mac_address.h"
#include "server/netlink/neighbour.h"
#include "server/netlink/route.h"
#include "tests/contract/kernel_contract.h"

namespace netprov::testing {
namespace {

using engine::AddressSpec;
using engine::IpConfig;
using engine::Link;
using engine::NetnsRef;
using engine::RouteSpec;
using netlink::MacAddress;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;
using ::testing::UnorderedElementsAreArray;

// Something of everything.
IpConfig FullConfig() {
  IpConfig ip;
  ip.addresses = {{.local = Prefix("10.0.0.2/24"), .peer = std::nullopt},
                  {.local = Prefix("10.0.1.2/32"), .peer = Ip("10.0.1.1"), .scope = engine::kScopeLink},
                  {.local = Prefix("2001:db8::2/64"), .peer = std::nullopt}};
  ip.neighbours = {{.address = Ip("10.0.0.9"), .mac = {{2, 0, 0, 0, 0, 9}}},
                   {.address = Ip("2001:db8::9"), .mac = {{2, 0, 0, 0, 0, 9}}}};
  RouteSpec on_link{
      .destination = Prefix("10.2.0.0/16"), .gateway = {}, .scope = engine::kScopeLink, .preferred_source = {}};
  RouteSpec full{.destination = Prefix("10.3.0.0/16"),
                 .gateway = Ip("192.0.2.1"),
                 .metric = 7,
                 .table = 1000,
                 .preferred_source = Ip("10.0.0.2"),
                 .on_link = true,
                 .mtu = 1400};
  RouteSpec v6{.destination = Prefix("2001:db8:1::/48"),
               .gateway = Ip("2001:db8::1"),
               .metric = 1024,
               .preferred_source = {},
               .mtu = 1300};
  ip.routes = {on_link, full, v6, engine::DefaultRoute(Ip("10.0.0.1")), engine::DefaultRoute(Ip("fe80::1"))};
  return ip;
}

// What of the listed ones is on that link and was made by netprov.
template <typename Item, typename ToIp>
std::vector<netlink::IpAddress> OwnAddresses(const KernelResult<std::vector<Item>>& items, uint32_t ifindex,
                                             ToIp to_ip) {
  EXPECT_TRUE(items.ok()) << (items.ok() ? "" : items.error().ToString());
  std::vector<netlink::IpAddress> own;
  if (!items.ok()) return own;
  for (const Item& item : *items) {
    if (item.ifindex == static_cast<int>(ifindex) && item.protocol == engine::kOwnedProtocol) {
      own.push_back(to_ip(item));
    }
  }
  return own;
}

}  // namespace

void IpConfigContractTest::SetUp() {
  blue_ = MakeNetns("blue");
  auto made = kernel_.CreateVeth({.netns = kHost, .name = "c0"}, {.netns = blue_, .name = "c1"}, "tag");
  ASSERT_TRUE(made.ok()) << made.error().ToString();
  host_end_ = made->first.ifindex;
  end_ = made->second.ifindex;
}

IpConfig IpConfigContractTest::MissingOf(const IpConfig& ip) {
  auto there = kernel_.FindIpConfig(blue_, end_);
  EXPECT_TRUE(there.ok());
  auto routes = kernel_.ListRoutesWithoutLink(blue_);
  EXPECT_TRUE(routes.ok());
  if (!there.ok() || !routes.ok()) return ip;
  there->routes.insert(there->routes.end(), routes->begin(), routes->end());
  return engine::Missing(ip, *there);
}

TEST_P(IpConfigContractTest, WhatIsConfiguredIsFoundAndGoesWithTheLink) {
  const IpConfig ip = FullConfig();
  auto configured = kernel_.Configure(blue_, end_, {"first-other-name", "second"}, ip, /*anew=*/false);
  ASSERT_TRUE(configured.ok()) << configured.error().ToString();
  EXPECT_EQ(MissingOf(ip), IpConfig());
  EXPECT_THAT((*kernel_.FindLink(blue_, end_))->alternative_names, ElementsAre("first-other-name", "second"));
  EXPECT_EQ((*kernel_.FindLink(blue_, "first-other-name"))->ifindex, end_);
  // The other end has none of it.
  auto other = kernel_.FindIpConfig(kHost, host_end_);
  ASSERT_TRUE(other.ok());
  EXPECT_EQ(engine::Missing(ip, *other), ip);
  EXPECT_EQ(CodeOf(kernel_.DeleteLink(blue_, end_)), 0);
  auto gone = kernel_.FindIpConfig(blue_, end_);
  ASSERT_TRUE(gone.ok());
  EXPECT_EQ(engine::Missing(ip, *gone), ip);
}

TEST_P(IpConfigContractTest, WhatIsTakenOrOutOfReachIsRefused) {
  const RouteSpec route{
      .destination = Prefix("10.2.0.0/16"), .gateway = {}, .scope = engine::kScopeLink, .preferred_source = {}};
  ASSERT_EQ(CodeOf(kernel_.Configure(blue_, end_, {"taken"}, {.routes = {route}}, /*anew=*/false)), 0);
  EXPECT_EQ(CodeOf(kernel_.Configure(blue_, end_, {"taken"}, {}, /*anew=*/false)), EEXIST);
  EXPECT_EQ(CodeOf(kernel_.Configure(blue_, end_, {}, {.routes = {route}}, /*anew=*/false)), EEXIST);
  const AddressSpec address{.local = Prefix("10.0.0.2/24"), .peer = std::nullopt};
  EXPECT_EQ(CodeOf(kernel_.Configure(blue_, end_, {}, {.addresses = {address}}, /*anew=*/false)), 0);
  EXPECT_EQ(CodeOf(kernel_.Configure(blue_, end_, {}, {.addresses = {address}}, /*anew=*/false)), EEXIST);
  const IpConfig far{.routes = {engine::DefaultRoute(Ip("192.0.2.1"))}};
  auto refused = kernel_.Configure(blue_, end_, {}, far, /*anew=*/false);
  EXPECT_EQ(CodeOf(refused), ENETUNREACH);
  EXPECT_THAT(refused.error().operation, HasSubstr("RTM_NEWROUTE 0.0.0.0/0"));
  // A neighbour takes the place of what is known.
  for (const uint8_t last : {1, 2}) {
    const IpConfig known{.neighbours = {{.address = Ip("10.0.0.9"), .mac = {{2, 0, 0, 0, 0, last}}}}};
    EXPECT_EQ(CodeOf(kernel_.Configure(blue_, end_, {}, known, /*anew=*/false)), 0);
    EXPECT_EQ(MissingOf(known), IpConfig());
  }
  EXPECT_EQ(CodeOf(kernel_.Configure(blue_, 4711, {}, {.addresses = {address}}, /*anew=*/false)), ENODEV);
}

TEST_P(IpConfigContractTest, WhatIsTakenAwayIsGoneAndTheRestStays) {
  const IpConfig ip = FullConfig();
  ASSERT_EQ(CodeOf(kernel_.Configure(blue_, end_, {"first-other-name", "second"}, ip, /*anew=*/false)), 0);
  const IpConfig some{.addresses = {ip.addresses.back()}, .neighbours = ip.neighbours, .routes = {ip.routes.back()}};
  // Also what it does not have, and once more.
  for (int i = 0; i < 2; ++i) {
    auto taken = kernel_.Unconfigure(blue_, end_, {"second", "never"}, some);
    ASSERT_TRUE(taken.ok()) << taken.error().ToString();
    EXPECT_EQ(MissingOf(ip), some);
    EXPECT_THAT((*kernel_.FindLink(blue_, end_))->alternative_names, ElementsAre("first-other-name"));
  }
  EXPECT_EQ(CodeOf(kernel_.Unconfigure(blue_, 4711, {}, some)), ENODEV);
}

TEST_P(IpConfigContractTest, WithTheFirstAddressOfANetworkTheOthersGo) {
  const AddressSpec first{.local = Prefix("10.0.0.2/24"), .peer = std::nullopt};
  const AddressSpec second{.local = Prefix("10.0.0.3/24"), .peer = std::nullopt};
  const AddressSpec elsewhere{.local = Prefix("10.0.1.2/24"), .peer = std::nullopt};
  const IpConfig ip{.addresses = {first, second, elsewhere}};
  ASSERT_EQ(CodeOf(kernel_.Configure(blue_, end_, {}, ip, /*anew=*/false)), 0);
  ASSERT_EQ(CodeOf(kernel_.Unconfigure(blue_, end_, {}, {.addresses = {first}})), 0);
  EXPECT_THAT(MissingOf(ip).addresses, ElementsAre(first, second));
}

TEST_P(IpConfigContractTest, RoutesThatBelongToNoLinkOutliveIt) {
  std::vector<RouteSpec> routes;
  for (const engine::RouteType type :
       {engine::RouteType::kBlackhole, engine::RouteType::kUnreachable, engine::RouteType::kProhibit}) {
    const int n = static_cast<int>(type);
    routes.push_back({.destination = Prefix(absl::StrCat("10.", n, ".0.0/16")),
                      .type = type,
                      .gateway = {},
                      .metric = 3,
                      .preferred_source = {}});
    routes.push_back({.destination = Prefix(absl::StrCat("2001:db8:", n, "::/48")),
                      .type = type,
                      .gateway = {},
                      .metric = 1024,
                      .table = 77,
                      .preferred_source = {}});
  }
  // They are for AddRoutes().
  EXPECT_EQ(CodeOf(kernel_.Configure(blue_, end_, {}, {.routes = routes}, /*anew=*/false)), 0);
  EXPECT_EQ(MissingOf({.routes = routes}), IpConfig{.routes = routes});
  auto added = kernel_.AddRoutes(blue_, routes);
  ASSERT_TRUE(added.ok()) << added.error().ToString();
  EXPECT_EQ(CodeOf(kernel_.DeleteLink(blue_, end_)), 0);
  EXPECT_EQ(MissingOf({.routes = routes}), IpConfig());
  // All or nothing.
  const RouteSpec another{.destination = Prefix("10.99.0.0/16"),
                          .type = engine::RouteType::kBlackhole,
                          .gateway = {},
                          .preferred_source = {}};
  auto refused = kernel_.AddRoutes(blue_, {another, routes[0]});
  EXPECT_EQ(CodeOf(refused), EEXIST);
  EXPECT_FALSE(refused.error().may_have_effect);
  EXPECT_EQ(MissingOf({.routes = {another}}), IpConfig{.routes = {another}});
  EXPECT_EQ(CodeOf(kernel_.DeleteRoutes(blue_, routes)), 0);
  EXPECT_EQ(MissingOf({.routes = routes}), IpConfig{.routes = routes});
  EXPECT_EQ(CodeOf(kernel_.DeleteRoutes(blue_, routes)), 0) << "they are gone already";
}

TEST_P(IpConfigContractTest, ARouteThroughALinkIsNoneWithout) {
  IpConfig through;
  std::vector<RouteSpec> without;
  for (const char* destination : {"10.2.0.0/16", "2001:db8:2::/48"}) {
    RouteSpec route{.destination = Prefix(destination), .gateway = {}, .metric = 1024, .preferred_source = {}};
    if (route.destination.address.family() == netlink::IpFamily::kIpv4) route.scope = engine::kScopeLink;
    through.routes.push_back(route);
    route.type = engine::RouteType::kBlackhole;
    route.scope = engine::kScopeGlobal;
    without.push_back(route);
  }
  ASSERT_EQ(CodeOf(kernel_.Configure(blue_, end_, {}, through, /*anew=*/false)), 0);
  EXPECT_EQ(CodeOf(kernel_.DeleteRoutes(blue_, without)), 0);
  EXPECT_EQ(MissingOf(through), IpConfig());
  EXPECT_EQ(CodeOf(kernel_.AddRoutes(blue_, {without[1]})), EEXIST);
}

TEST_P(IpConfigContractTest, AnewWhatStandsInTheWayGoesFirst) {
  RouteSpec route{
      .destination = Prefix("10.2.0.0/16"), .gateway = {}, .scope = engine::kScopeLink, .preferred_source = {}};
  const AddressSpec address{.local = Prefix("10.0.0.2/24"), .peer = std::nullopt, .scope = engine::kScopeLink};
  ASSERT_EQ(CodeOf(kernel_.Configure(blue_, end_, {}, {.addresses = {address}, .routes = {route}}, /*anew=*/false)), 0);
  IpConfig wanted{.addresses = {address}, .routes = {route}};
  wanted.addresses[0].scope = engine::kScopeGlobal;
  wanted.routes[0].mtu = 1400;
  EXPECT_EQ(CodeOf(kernel_.Configure(blue_, end_, {}, wanted, /*anew=*/false)), EEXIST);
  auto anew = kernel_.Configure(blue_, end_, {}, wanted, /*anew=*/true);
  EXPECT_TRUE(anew.ok()) << anew.error().ToString();
  EXPECT_EQ(MissingOf(wanted), IpConfig());
  // Where nothing is, there is nothing to go.
  wanted.routes[0].destination = Prefix("2001:db8:2::/48");
  wanted.routes[0].metric = 1024;
  wanted.routes[0].scope = engine::kScopeGlobal;
  wanted.addresses[0].local = Prefix("2001:db8::2/64");
  wanted.routes[0].mtu = 1400;
  anew = kernel_.Configure(blue_, end_, {}, wanted, /*anew=*/true);
  EXPECT_TRUE(anew.ok()) << anew.error().ToString();
  EXPECT_EQ(MissingOf(wanted), IpConfig());
}

TEST_P(IpConfigContractTest, AddressesAreListedWithWhoMadeThem) {
  ASSERT_EQ(CodeOf(kernel_.Configure(blue_, end_, {}, FullConfig(), /*anew=*/false)), 0);
  const auto own = [this](std::optional<netlink::IpFamily> family, std::optional<uint32_t> ifindex) {
    return OwnAddresses(kernel_.ListAddresses(blue_, family, ifindex), end_,
                        [](const netlink::Address& address) { return address.local.address; });
  };
  using netlink::IpFamily;
  const auto ipv4 = UnorderedElementsAre(Ip("10.0.0.2"), Ip("10.0.1.2"));
  const auto both = UnorderedElementsAre(Ip("10.0.0.2"), Ip("10.0.1.2"), Ip("2001:db8::2"));
  EXPECT_THAT(own(std::nullopt, std::nullopt), both);
  EXPECT_THAT(own(std::nullopt, end_), both);
  EXPECT_THAT(own(IpFamily::kIpv4, end_), ipv4);
  EXPECT_THAT(own(IpFamily::kIpv6, std::nullopt), ElementsAre(Ip("2001:db8::2")));
  EXPECT_THAT(own(std::nullopt, engine::kLoopbackIndex), IsEmpty());
  EXPECT_THAT(own(std::nullopt, 4711), IsEmpty());

  auto addresses = kernel_.ListAddresses(blue_, IpFamily::kIpv4, end_);
  ASSERT_TRUE(addresses.ok());
  ASSERT_EQ(addresses->size(), 2u);
  for (const netlink::Address& address : *addresses) {
    const bool has_peer = address.local.address == Ip("10.0.1.2");
    EXPECT_EQ(address.peer.has_value(), has_peer);
    EXPECT_EQ(address.scope, has_peer ? engine::kScopeLink : engine::kScopeGlobal);
    EXPECT_EQ(address.local.length, has_peer ? 32 : 24);
  }
}

TEST_P(IpConfigContractTest, NeighboursAreListedWithWhoMadeThem) {
  ASSERT_EQ(CodeOf(kernel_.Configure(blue_, end_, {}, FullConfig(), /*anew=*/false)), 0);
  const auto own = [this](std::optional<netlink::IpFamily> family, std::optional<uint32_t> ifindex) {
    auto neighbours = kernel_.ListNeighbours(blue_, family, ifindex);
    for (const netlink::Neighbour& neighbour : *neighbours) {
      if (neighbour.protocol != engine::kOwnedProtocol) continue;
      EXPECT_EQ(neighbour.mac, (MacAddress{{2, 0, 0, 0, 0, 9}}));
      EXPECT_EQ(neighbour.state, 0x80) << "NUD_PERMANENT";
    }
    return OwnAddresses(neighbours, end_, [](const netlink::Neighbour& neighbour) { return neighbour.address; });
  };
  const auto both = UnorderedElementsAre(Ip("10.0.0.9"), Ip("2001:db8::9"));
  EXPECT_THAT(own(std::nullopt, std::nullopt), both);
  EXPECT_THAT(own(std::nullopt, end_), both);
  EXPECT_THAT(own(netlink::IpFamily::kIpv4, end_), ElementsAre(Ip("10.0.0.9")));
  EXPECT_THAT(own(netlink::IpFamily::kIpv6, std::nullopt), ElementsAre(Ip("2001:db8::9")));
  EXPECT_THAT(own(std::nullopt, 4711), IsEmpty());
}

TEST_P(IpConfigContractTest, RoutesAreListedWithWhoMadeThem) {
  ASSERT_EQ(CodeOf(kernel_.Configure(blue_, end_, {}, FullConfig(), /*anew=*/false)), 0);
  const RouteSpec none4{.destination = Prefix("10.9.0.0/16"),
                        .type = engine::RouteType::kBlackhole,
                        .gateway = {},
                        .metric = 5,
                        .preferred_source = {}};
  const RouteSpec none6{.destination = Prefix("2001:db8:9::/48"),
                        .type = engine::RouteType::kProhibit,
                        .gateway = {},
                        .metric = 1024,
                        .preferred_source = {}};
  ASSERT_EQ(CodeOf(kernel_.AddRoutes(blue_, {none4, none6})), 0);
  const auto own = [this](std::optional<netlink::IpFamily> family, std::optional<uint32_t> table) {
    auto routes = kernel_.ListRoutes(blue_, family, table);
    EXPECT_TRUE(routes.ok()) << (routes.ok() ? "" : routes.error().ToString());
    std::vector<std::string> texts;
    if (!routes.ok()) return texts;
    for (const netlink::Route& route : *routes) {
      if (route.protocol != engine::kOwnedProtocol) continue;
      texts.push_back(absl::StrCat(route.type, " ", route.destination.ToString(), " ",
                                   route.gateway.has_value() ? route.gateway->ToString() : "-", " ",
                                   route.ifindex.has_value() ? (*route.ifindex == static_cast<int>(end_) ? "end"
                                                                : *route.ifindex == 1                    ? "lo"
                                                                                                         : "?")
                                                             : "-",
                                   " ", route.metric.value_or(0), " ", route.table));
    }
    return texts;
  };
  const std::vector<std::string> ipv4 = {"1 0.0.0.0/0 10.0.0.1 end 0 254", "1 10.2.0.0/16 - end 0 254",
                                         "6 10.9.0.0/16 - - 5 254"};
  const std::vector<std::string> ipv6 = {"1 2001:db8:1::/48 2001:db8::1 end 1024 254", "1 ::/0 fe80::1 end 1024 254",
                                         "8 2001:db8:9::/48 - lo 1024 254"};
  const std::string elsewhere = "1 10.3.0.0/16 192.0.2.1 end 7 1000";
  std::vector<std::string> main = ipv4;
  main.insert(main.end(), ipv6.begin(), ipv6.end());
  std::vector<std::string> all = main;
  all.push_back(elsewhere);
  EXPECT_THAT(own(std::nullopt, std::nullopt), UnorderedElementsAreArray(all));
  EXPECT_THAT(own(std::nullopt, engine::kMainTable), UnorderedElementsAreArray(main));
  EXPECT_THAT(own(netlink::IpFamily::kIpv4, engine::kMainTable), UnorderedElementsAreArray(ipv4));
  EXPECT_THAT(own(netlink::IpFamily::kIpv6, std::nullopt), UnorderedElementsAreArray(ipv6));
  EXPECT_THAT(own(std::nullopt, 1000), ElementsAre(elsewhere));
  EXPECT_THAT(own(std::nullopt, 4711), IsEmpty()) << "there is no such table";
}

TEST_P(IpConfigContractTest, LinksAreObservedWithTheirStatistics) {
  ASSERT_EQ(CodeOf(kernel_.Configure(blue_, end_, {"another-name"}, {}, /*anew=*/false)), 0);
  auto links = kernel_.ObserveLinks(blue_, std::nullopt);
  ASSERT_TRUE(links.ok()) << links.error().ToString();
  std::vector<Link> seen;
  for (const engine::ObservedLink& link : *links) {
    seen.push_back(link.link);
    EXPECT_EQ(link.statistics.ifindex, static_cast<int>(link.link.ifindex));
    EXPECT_EQ(link.link.master_ifindex, 0u);
  }
  auto listed = kernel_.ListLinks(blue_);
  ASSERT_TRUE(listed.ok());
  EXPECT_THAT(seen, UnorderedElementsAreArray(*listed));

  const std::string name = (*kernel_.FindLink(blue_, end_))->name;
  for (const std::string& each : {name, std::string("another-name")}) {
    auto one = kernel_.ObserveLinks(blue_, each);
    ASSERT_TRUE(one.ok()) << one.error().ToString();
    ASSERT_EQ(one->size(), 1u) << each;
    EXPECT_EQ((*one)[0].link.ifindex, end_);
    EXPECT_EQ((*one)[0].oper_state, netlink::OperState::kUp);
  }
  for (const std::string& other : {std::string("nobody"), std::string(100, 'n')}) {
    auto none = kernel_.ObserveLinks(blue_, other);
    ASSERT_TRUE(none.ok()) << none.error().ToString();
    EXPECT_TRUE(none->empty());
  }
}

TEST_P(IpConfigContractTest, NothingIsDoneInANamespaceThatIsGone) {
  const NetnsRef gone{.name = "blue", .cookie = blue_.cookie + 1};
  EXPECT_EQ(CodeOf(kernel_.Configure(gone, end_, {"x"}, {}, /*anew=*/false)), ESTALE);
  EXPECT_EQ(CodeOf(kernel_.Unconfigure(gone, end_, {"x"}, {})), ESTALE);
  EXPECT_EQ(CodeOf(kernel_.FindIpConfig(gone, end_)), ESTALE);
  EXPECT_EQ(CodeOf(kernel_.ListRoutesWithoutLink(gone)), ESTALE);
  EXPECT_EQ(CodeOf(kernel_.AddRoutes(gone, {})), ESTALE);
  EXPECT_EQ(CodeOf(kernel_.DeleteRoutes(gone, {})), ESTALE);
  EXPECT_EQ(CodeOf(kernel_.ObserveLinks(gone, std::nullopt)), ESTALE);
  EXPECT_EQ(CodeOf(kernel_.ListAddresses(gone, std::nullopt, std::nullopt)), ESTALE);
  EXPECT_EQ(CodeOf(kernel_.ListRoutes(gone, std::nullopt, std::nullopt)), ESTALE);
  EXPECT_EQ(CodeOf(kernel_.ListNeighbours(gone, std::nullopt, std::nullopt)), ESTALE);
}

}  // namespace netprov::testing
