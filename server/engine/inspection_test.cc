#include "server/engine/inspection.h"

#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/engine/engine.h"
#include "server/engine/fake_kernel.h"

namespace netprov::engine {
namespace {

using netlink::IpAddress;
using netlink::IpFamily;
using netlink::IpPrefix;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::IsSupersetOf;

constexpr size_t kAll = 1000;

IpAddress Ip(const char* text) { return *IpAddress::Parse(text); }
IpPrefix Prefix(const std::string& text) { return *IpPrefix::Parse(text); }

class InspectionTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string path =
        absl::StrCat(::testing::TempDir(), "/inspection-",
                     ::testing::UnitTest::GetInstance()->current_test_info()->name(), "-", ::getpid());
    auto registry = Registry::Open(path);
    ASSERT_TRUE(registry.ok()) << registry.error().message;
    registry_ = *std::move(registry);
    engine_ = std::make_unique<Engine>(kernel_, *registry_);
    ASSERT_TRUE(engine_->Recover().ok());
    ASSERT_TRUE(engine_->CreateNamespace({.context = {}, .id = "blue", .metadata = {}}).ok());
    blue_ = {.name = "blue", .cookie = registry_->FindNamespace("blue")->cookie};
  }

  // From h-ID in the host to e-ID in blue, which has an address, a neighbour, a route and one that leads nowhere.
  void MakePair(const std::string& id, int number) {
    VethSpec spec{.a = {.interface_name = "h-" + id}, .b = {.namespace_id = "blue", .interface_name = "e-" + id}};
    IpConfig& ip = spec.b.config.ip;
    ip.addresses = {{.local = Prefix(absl::StrCat("10.", number, ".0.2/24")), .peer = {}}};
    ip.neighbours = {{.address = Ip(absl::StrCat("10.", number, ".0.9").c_str()), .mac = {{2, 0, 0, 0, 0, 9}}}};
    ip.routes = {{.destination = Prefix(absl::StrCat("172.", number, ".0.0/16")),
                  .gateway = Ip(absl::StrCat("10.", number, ".0.1").c_str()),
                  .preferred_source = {}},
                 {.destination = Prefix(absl::StrCat("192.", number, ".0.0/16")),
                  .type = RouteType::kBlackhole,
                  .gateway = {},
                  .preferred_source = {}}};
    auto made = engine_->CreateVeth({.context = {}, .id = id, .spec = spec, .metadata = {}});
    ASSERT_TRUE(made.ok()) << made.error().message;
  }

  // `e-v veths/v`, for each link.
  std::vector<std::string> Links(const LinkFilter& filter) {
    auto page = engine_->ListLinks(filter, "", kAll);
    EXPECT_TRUE(page.ok()) << (page.ok() ? "" : page.error().message);
    std::vector<std::string> texts;
    if (!page.ok()) return texts;
    for (const InspectedLink& item : page->items) {
      texts.push_back(absl::StrCat(item.observed.link.name, " ", item.object));
    }
    return texts;
  }
  std::vector<std::string> Addresses(const IpFilter& filter) {
    auto page = engine_->ListAddresses(filter, "", kAll);
    EXPECT_TRUE(page.ok()) << (page.ok() ? "" : page.error().message);
    std::vector<std::string> texts;
    if (!page.ok()) return texts;
    for (const InspectedAddress& item : page->items) {
      texts.push_back(absl::StrCat(item.address.local.ToString(), " ", item.interface_name, " ", item.object));
    }
    return texts;
  }
  std::vector<std::string> Neighbours(const IpFilter& filter) {
    auto page = engine_->ListNeighbours(filter, "", kAll);
    EXPECT_TRUE(page.ok()) << (page.ok() ? "" : page.error().message);
    std::vector<std::string> texts;
    if (!page.ok()) return texts;
    for (const InspectedNeighbour& item : page->items) {
      texts.push_back(absl::StrCat(item.neighbour.address.ToString(), " ", item.interface_name, " ", item.object));
    }
    return texts;
  }
  std::vector<std::string> Routes(const IpFilter& filter) {
    auto page = engine_->ListRoutes(filter, "", kAll);
    EXPECT_TRUE(page.ok()) << (page.ok() ? "" : page.error().message);
    std::vector<std::string> texts;
    if (!page.ok()) return texts;
    for (const InspectedRoute& item : page->items) {
      texts.push_back(absl::StrCat(item.route.destination.ToString(), " ", item.interface_name, " ", item.object));
    }
    return texts;
  }

  FakeKernel kernel_;
  std::unique_ptr<Registry> registry_;
  std::unique_ptr<Engine> engine_;
  NetnsRef blue_;
};

TEST_F(InspectionTest, TellsWhatBelongsToAPair) {
  MakePair("v", 1);
  MakePair("w", 2);
  kernel_.AddForeignLinkForTest(blue_, "dummy0");
  EXPECT_THAT(Links({.namespace_id = "blue"}), ElementsAre("lo ", "e-v veths/v", "e-w veths/w", "dummy0 "));
  EXPECT_THAT(Links({}), ElementsAre("lo ", "h-v veths/v", "h-w veths/w"));
  EXPECT_THAT(Addresses({.namespace_id = "blue"}), ElementsAre("10.1.0.2/24 e-v veths/v", "10.2.0.2/24 e-w veths/w"));
  EXPECT_THAT(Neighbours({.namespace_id = "blue"}), ElementsAre("10.1.0.9 e-v veths/v", "10.2.0.9 e-w veths/w"));
  EXPECT_THAT(Routes({.namespace_id = "blue"}), ElementsAre("172.1.0.0/16 e-v veths/v", "172.2.0.0/16 e-w veths/w",
                                                            "192.1.0.0/16  veths/v", "192.2.0.0/16  veths/w"));
  EXPECT_THAT(Addresses({}), IsEmpty());
}

TEST_F(InspectionTest, WhatOthersMakeOnAPairIsNotThePairs) {
  MakePair("v", 1);
  kernel_.SetIpConfigForTest(blue_, "e-v",
                             {.addresses = {{.local = Prefix("10.7.0.1/24"), .peer = {}}},
                              .neighbours = {{.address = Ip("10.7.0.9"), .mac = {{2, 0, 0, 0, 0, 9}}}},
                              .routes = {DefaultRoute(Ip("10.7.0.2"))}});
  EXPECT_THAT(Addresses({.namespace_id = "blue"}), ElementsAre("10.7.0.1/24 e-v "));
  EXPECT_THAT(Neighbours({.namespace_id = "blue"}), ElementsAre("10.7.0.9 e-v "));
  EXPECT_THAT(Routes({.namespace_id = "blue"}), ElementsAre("0.0.0.0/0 e-v ", "192.1.0.0/16  veths/v"));
}

TEST_F(InspectionTest, APairIsKnownByItsTagAndWithoutIt) {
  MakePair("v", 1);
  kernel_.RenameLinkForTest(blue_, "e-v", "renamed");
  EXPECT_THAT(Links({.namespace_id = "blue", .kind = "veth"}), ElementsAre("renamed veths/v"));
  kernel_.SetLinkForTest(blue_, "renamed", {.alias = ""});
  EXPECT_THAT(Links({.namespace_id = "blue", .kind = "veth"}), ElementsAre("renamed veths/v"));
  // Another registry's, and one of a pair that this registry does not know.
  for (const std::string& registry : {std::string("99999999-2222-4333-8444-555555555555"), registry_->id()}) {
    const std::string tag = TagOf(registry, "11111111-2222-4333-8444-555555555555", "veths/v");
    kernel_.SetLinkForTest(blue_, "renamed", {.alias = tag});
    EXPECT_THAT(Links({.namespace_id = "blue", .kind = "veth"}), ElementsAre("renamed "));
  }
  // Where it was moved to.
  kernel_.MoveLinkForTest({}, "h-v", blue_);
  EXPECT_THAT(Links({.namespace_id = "blue", .kind = "veth"}), IsSupersetOf({"h-v veths/v"}));
}

TEST_F(InspectionTest, ListsWhatIsAskedFor) {
  MakePair("v", 1);
  MakePair("w", 2);
  EXPECT_THAT(Links({.namespace_id = "blue", .kind = "veth"}), ElementsAre("e-v veths/v", "e-w veths/w"));
  EXPECT_THAT(Links({.namespace_id = "blue", .interface_name = "e-w"}), ElementsAre("e-w veths/w"));
  EXPECT_THAT(Links({.namespace_id = "blue", .kind = "bridge", .interface_name = "e-w"}), IsEmpty());
  EXPECT_THAT(Links({.namespace_id = "blue", .interface_name = "nobody"}), IsEmpty());
  ASSERT_TRUE(kernel_.Configure(blue_, (*kernel_.FindLink(blue_, "e-w"))->ifindex, {"other"}, {}, /*anew=*/false).ok());
  for (const char* name : {"e-w", "other"}) {
    EXPECT_THAT(Links({.namespace_id = "blue", .interface_name = name}), ElementsAre("e-w veths/w"));
    const IpFilter on_it{.namespace_id = "blue", .interface_name = name};
    EXPECT_THAT(Addresses(on_it), ElementsAre("10.2.0.2/24 e-w veths/w"));
    EXPECT_THAT(Neighbours(on_it), ElementsAre("10.2.0.9 e-w veths/w"));
    EXPECT_THAT(Routes(on_it), ElementsAre("172.2.0.0/16 e-w veths/w"));
  }
  const IpFilter nowhere{.namespace_id = "blue", .interface_name = "nobody"};
  EXPECT_THAT(Addresses(nowhere), IsEmpty());
  EXPECT_THAT(Neighbours(nowhere), IsEmpty());
  EXPECT_THAT(Routes(nowhere), IsEmpty());
  const IpFilter ipv6{.namespace_id = "blue", .family = IpFamily::kIpv6};
  EXPECT_THAT(Addresses(ipv6), IsEmpty());
  EXPECT_THAT(Neighbours(ipv6), IsEmpty());
  EXPECT_THAT(Routes(ipv6), IsEmpty());
  EXPECT_THAT(Routes({.namespace_id = "blue", .table = 77}), IsEmpty());
  EXPECT_EQ(Routes({.namespace_id = "blue", .table = kMainTable}).size(), 4u);
}

TEST_F(InspectionTest, RefusesWhatIsNoNamespaceOfOurs) {
  kernel_.AddForeignNetnsForTest("green");
  kernel_.AddStaleFileForTest("red");
  ASSERT_TRUE(engine_->CreateNamespace({.context = {}, .id = "gone", .metadata = {}}).ok());
  kernel_.RemoveForeignNetnsForTest("gone");
  for (const auto& [id, reason] : std::vector<std::pair<std::string, Reason>>{{"nobody", Reason::kNamespaceNotFound},
                                                                              {"green", Reason::kNamespaceNotManaged},
                                                                              {"red", Reason::kNamespaceFileStale},
                                                                              {"gone", Reason::kNamespaceMissing}}) {
    const auto links = engine_->ListLinks({.namespace_id = id}, "", kAll);
    ASSERT_FALSE(links.ok()) << id;
    EXPECT_EQ(links.error().reason, reason) << id;
    EXPECT_EQ(links.error().object, "namespaces/" + id);
    EXPECT_EQ(links.error().field, "");
    EXPECT_EQ(engine_->ListAddresses({.namespace_id = id}, "", kAll).error().reason, reason) << id;
    EXPECT_EQ(engine_->ListRoutes({.namespace_id = id}, "", kAll).error().reason, reason) << id;
    EXPECT_EQ(engine_->ListNeighbours({.namespace_id = id}, "", kAll).error().reason, reason) << id;
  }
}

TEST_F(InspectionTest, ANamespaceThatGoesAwayMeanwhileIsMissing) {
  MakePair("v", 1);
  for (const char* operation : {"ObserveLinks", "ListAddresses", "ListRoutes", "ListNeighbours", "ListLinks"}) {
    kernel_.FailNextForTest(operation, ESTALE);
  }
  // It is there again at the second look.
  EXPECT_THAT(Links({.namespace_id = "blue", .kind = "veth"}), ElementsAre("e-v veths/v"));
  EXPECT_EQ(Addresses({.namespace_id = "blue"}).size(), 1u);
  EXPECT_EQ(Routes({.namespace_id = "blue"}).size(), 2u);
  EXPECT_EQ(Neighbours({.namespace_id = "blue"}).size(), 1u);
  kernel_.SetFaultForTest([this](const std::string& operation) -> std::optional<KernelError> {
    if (operation == "ListAddresses") kernel_.RemoveForeignNetnsForTest("blue");
    return std::nullopt;
  });
  const auto addresses = engine_->ListAddresses({.namespace_id = "blue"}, "", kAll);
  kernel_.SetFaultForTest(nullptr);
  ASSERT_FALSE(addresses.ok());
  EXPECT_EQ(addresses.error().reason, Reason::kNamespaceMissing);
}

TEST_F(InspectionTest, TheKernelsRefusalIsTold) {
  kernel_.FailNextForTest("ListRoutes", EAGAIN, "Dump interrupted");
  const auto routes = engine_->ListRoutes({}, "", kAll);
  ASSERT_FALSE(routes.ok());
  EXPECT_EQ(routes.error().reason, Reason::kKernel);
  EXPECT_EQ(routes.error().object, "host");
  EXPECT_EQ(routes.error().kernel->code, EAGAIN);
  EXPECT_EQ(routes.error().step, "list routes");
}

// All pages of `limit` items, with `between` done after each; what `text` says of each item.
template <typename Item>
std::vector<std::string> Walk(const std::function<EngineResult<Page<Item>>(const std::string& after)>& list,
                              const std::function<std::string(const Item&)>& text,
                              const std::function<void()>& between) {
  std::vector<std::string> texts;
  std::string after;
  for (int pages = 0; pages < 1000; ++pages) {
    auto page = list(after);
    EXPECT_TRUE(page.ok()) << (page.ok() ? "" : page.error().message);
    if (!page.ok()) break;
    for (const Item& item : page->items) texts.push_back(text(item));
    if (!page->more) return texts;
    EXPECT_FALSE(page->items.empty());
    if (page->items.empty()) break;
    after = page->items.back().id;
    between();
  }
  ADD_FAILURE() << "the list has no end";
  return texts;
}

TEST_F(InspectionTest, PagesMissAndRepeatNothingThatStays) {
  for (int i = 0; i < 12; ++i) MakePair(absl::StrCat("stays", i), 100 + i);
  for (int i = 0; i < 12; ++i) MakePair(absl::StrCat("goes", i), 120 + i);
  for (int i = 12; i < 20; ++i) MakePair(absl::StrCat("stays", i), 100 + i);
  int gone = 0;
  int came = 0;
  // One of those on the pages before and after goes, and one comes.
  const auto churn = [&] {
    if (gone < 12) {
      EXPECT_TRUE(engine_->DeleteVeth({.context = {}, .id = absl::StrCat("goes", (gone * 5) % 12)}).ok());
      ++gone;
    }
    if (came < 12) MakePair(absl::StrCat("comes", came), 140 + came);
    ++came;
  };
  const auto expect_whole = [](const std::vector<std::string>& texts, const std::string& what) {
    std::multiset<std::string> seen(texts.begin(), texts.end());
    for (int i = 0; i < 20; ++i) {
      EXPECT_EQ(seen.count(absl::StrCat("veths/stays", i)), 1u) << what << " " << i;
    }
    for (const std::string& text : seen) EXPECT_TRUE(text.empty() || seen.count(text) == 1) << what << " " << text;
  };
  expect_whole(Walk<InspectedLink>(
                   [&](const std::string& after) { return engine_->ListLinks({.namespace_id = "blue"}, after, 3); },
                   [](const InspectedLink& item) { return item.object; }, churn),
               "link");
  EXPECT_GE(gone, 7);
  expect_whole(Walk<InspectedAddress>(
                   [&](const std::string& after) { return engine_->ListAddresses({.namespace_id = "blue"}, after, 7); },
                   [](const InspectedAddress& item) { return item.object; }, churn),
               "address");
  expect_whole(
      Walk<InspectedNeighbour>(
          [&](const std::string& after) { return engine_->ListNeighbours({.namespace_id = "blue"}, after, 7); },
          [](const InspectedNeighbour& item) { return item.object; }, churn),
      "neighbour");
  const auto through = [](const InspectedRoute& item) {
    return item.interface_name.empty() ? std::string() : item.object;
  };
  expect_whole(Walk<InspectedRoute>(
                   [&](const std::string& after) { return engine_->ListRoutes({.namespace_id = "blue"}, after, 3); },
                   through, churn),
               "route");
}

TEST_F(InspectionTest, RoutesThatDifferInAnythingAreAllListed) {
  MakePair("v", 1);
  IpConfig ip;
  const RouteSpec base{.destination = Prefix("10.9.0.0/16"), .gateway = Ip("10.1.0.1"), .preferred_source = {}};
  ip.routes.assign(9, base);
  ip.routes[1].gateway = Ip("10.1.0.2");
  ip.routes[2].metric = 5;
  ip.routes[3].table = 77;
  ip.routes[4].scope = kScopeLink;
  ip.routes[5].preferred_source = Ip("10.1.0.2");
  ip.routes[6].on_link = true;
  ip.routes[7].mtu = 1400;
  // The last one is like the first.
  kernel_.SetIpConfigForTest(blue_, "e-v", ip);
  std::set<std::string> ids;
  const auto texts = Walk<InspectedRoute>(
      [&](const std::string& after) {
        return engine_->ListRoutes({.namespace_id = "blue", .interface_name = "e-v"}, after, 1);
      },
      [&](const InspectedRoute& item) {
        ids.insert(item.id);
        return item.route.destination.ToString();
      },
      [] {});
  EXPECT_EQ(texts.size(), 9u);
  EXPECT_EQ(ids.size(), 9u);
}

TEST_F(InspectionTest, OrdersAsItSays) {
  MakePair("v", 1);
  kernel_.SetIpConfigForTest(
      blue_, "e-v",
      {.addresses = {{.local = Prefix("2001:db8::1/64"), .peer = {}},
                     {.local = Prefix("10.0.0.200/24"), .peer = {}},
                     {.local = Prefix("10.0.0.30/24"), .peer = {}}},
       .routes = {DefaultRoute(Ip("fe80::1")),
                  {.destination = Prefix("10.0.0.0/8"), .gateway = {}, .metric = 300, .preferred_source = {}},
                  {.destination = Prefix("10.0.0.0/8"), .gateway = {}, .metric = 20, .preferred_source = {}},
                  {.destination = Prefix("9.0.0.0/8"), .gateway = {}, .table = 1000, .preferred_source = {}}}});
  EXPECT_THAT(Addresses({.namespace_id = "blue"}),
              ElementsAre("10.0.0.30/24 e-v ", "10.0.0.200/24 e-v ", "2001:db8::1/64 e-v "));
  auto routes = engine_->ListRoutes({.namespace_id = "blue", .interface_name = "e-v"}, "", kAll);
  ASSERT_TRUE(routes.ok());
  std::vector<std::string> texts;
  for (const InspectedRoute& item : routes->items) {
    texts.push_back(
        absl::StrCat(item.route.table, " ", item.route.destination.ToString(), " ", item.route.metric.value_or(0)));
  }
  EXPECT_THAT(texts, ElementsAre("254 10.0.0.0/8 20", "254 10.0.0.0/8 300", "1000 9.0.0.0/8 0", "254 ::/0 1024"));
}

}  // namespace
}  // namespace netprov::engine
