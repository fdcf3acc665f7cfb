#include "server/engine/caretaker.h"

#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/engine/engine.h"
#include "server/engine/fake_kernel.h"
#include "server/engine/registry.h"
#include "server/netlink/link_info.h"

namespace netprov::engine {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const NetnsRef kHost;

class CaretakerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string path =
        absl::StrCat(::testing::TempDir(), "/caretaker-",
                     ::testing::UnitTest::GetInstance()->current_test_info()->name(), "-", ::getpid());
    auto registry = Registry::Open(path);
    ASSERT_TRUE(registry.ok()) << registry.error().message;
    registry_ = *std::move(registry);
    auto clock = [this] { return now_; };
    engine_ = std::make_unique<Engine>(kernel_, *registry_, clock);
    ASSERT_TRUE(engine_->Recover().ok());
    caretaker_ = std::make_unique<Caretaker>(*engine_, kernel_, *registry_, clock);
  }

  void Make(bool self_heal, absl::Duration ttl = absl::ZeroDuration()) {
    Metadata metadata;
    metadata.self_heal = self_heal;
    metadata.owner = "ci";
    metadata.ttl = ttl;
    ASSERT_TRUE(engine_->CreateNamespace({.id = "blue", .metadata = metadata}).ok());
    VethSpec spec = {.a = {.interface_name = "h0"}, .b = {.namespace_id = "blue", .interface_name = "eth0"}};
    auto veth = engine_->CreateVeth({.id = "v", .spec = spec, .metadata = metadata});
    ASSERT_TRUE(veth.ok()) << veth.error().message;
    blue_ = {.name = "blue", .cookie = engine_->GetNamespace("blue")->cookie};
    Settle();
  }

  // What it says until nothing is due any more, as `EVENT RESOURCE`.
  std::vector<std::string> Settle() {
    std::vector<std::string> events;
    while (true) {
      Caretaker::Due due = caretaker_->Wait(std::chrono::milliseconds(0));
      auto add = [&](const std::vector<Notice>& notices) {
        for (const Notice& notice : notices) {
          events.push_back(absl::StrCat(notice.event, " ", notice.resource));
          details_.push_back(notice.detail);
        }
      };
      add(due.notices);
      for (Chore& chore : due.chores) {
        EXPECT_THAT(chore.keys, Not(IsEmpty()));
        add(chore.run());
      }
      if (due.chores.empty() && due.notices.empty()) return events;
    }
  }

  absl::Duration now_ = absl::Hours(1);
  FakeKernel kernel_;
  std::unique_ptr<Registry> registry_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Caretaker> caretaker_;
  NetnsRef blue_;
  std::vector<std::string> details_;
};

TEST_F(CaretakerTest, WhereAllIsWellNothingIsSaid) {
  Make(/*self_heal=*/false);
  EXPECT_THAT(Settle(), IsEmpty());
}

TEST_F(CaretakerTest, DriftIsNoticedOnceAndSoIsItsEnd) {
  Make(/*self_heal=*/false);
  kernel_.SetLinkForTest(kHost, "h0", {.mtu = 1400});
  EXPECT_THAT(Settle(), ElementsAre("drift veths/v"));
  EXPECT_THAT(details_.back(), HasSubstr("endpoint_a.mtu"));
  kernel_.SetLinkForTest(kHost, "h0", {.mtu = 1400});
  EXPECT_THAT(Settle(), IsEmpty());
  kernel_.SetLinkForTest(kHost, "h0", {.mtu = 1500});
  EXPECT_THAT(Settle(), ElementsAre("drift veths/v"));
  EXPECT_EQ(details_.back(), "READY");
}

TEST_F(CaretakerTest, DriftInsideANamespaceIsNoticedAndHealed) {
  Make(/*self_heal=*/true);
  const std::string before = kernel_.DumpForTest();
  kernel_.SetLinkForTest(blue_, "eth0", {.name = "eth7", .up = false});
  kernel_.SetLinkForTest(blue_, "lo", {.up = false});
  EXPECT_THAT(Settle(), ::testing::UnorderedElementsAre("drift veths/v", "healed veths/v", "drift namespaces/blue",
                                                        "healed namespaces/blue"));
  EXPECT_EQ(kernel_.DumpForTest(), before);
}

TEST_F(CaretakerTest, LostAddressesAndRoutesAreNoticedAndHealed) {
  Make(/*self_heal=*/true);
  Metadata metadata;
  metadata.self_heal = true;
  VethSpec spec = {.a = {.interface_name = "h1"}, .b = {.namespace_id = "blue", .interface_name = "eth1"}};
  spec.b.config.ip.addresses = {{.local = *netlink::IpPrefix::Parse("10.0.0.2/24"), .peer = std::nullopt}};
  const std::vector<RouteSpec> nowhere = {{.destination = *netlink::IpPrefix::Parse("10.9.0.0/16"),
                                           .type = RouteType::kBlackhole,
                                           .gateway = {},
                                           .preferred_source = {}}};
  spec.b.config.ip.routes = nowhere;
  ASSERT_TRUE(engine_->CreateVeth({.id = "w", .spec = spec, .metadata = metadata}).ok());
  EXPECT_THAT(Settle(), IsEmpty());
  kernel_.SetIpConfigForTest(blue_, "eth1", {});
  EXPECT_THAT(Settle(), ElementsAre("drift veths/w", "healed veths/w"));
  ASSERT_TRUE(kernel_.DeleteRoutes(blue_, nowhere).ok());
  EXPECT_THAT(Settle(), ElementsAre("drift veths/w", "healed veths/w"));
}

TEST_F(CaretakerTest, LostLimitsAreNoticedAndHealed) {
  Make(/*self_heal=*/true);
  Metadata metadata;
  metadata.self_heal = true;
  VethSpec spec = {.a = {.interface_name = "h1"}, .b = {.namespace_id = "blue", .interface_name = "eth1"}};
  spec.b.config.egress_limit = RateLimit{.rate = 8000, .burst = 1514, .latency = absl::Milliseconds(1)};
  ASSERT_TRUE(engine_->CreateVeth({.id = "w", .spec = spec, .metadata = metadata}).ok());
  EXPECT_THAT(Settle(), IsEmpty());
  const std::vector<Link> links = *kernel_.ListLinks(kHost);
  const auto ifb = std::find_if(links.begin(), links.end(), [](const Link& link) { return link.kind == "ifb"; });
  ASSERT_NE(ifb, links.end());
  // Neither is the pair's end.
  kernel_.SetBucketForTest(kHost, ifb->name, std::nullopt);
  EXPECT_THAT(Settle(), ElementsAre("drift veths/w", "healed veths/w"));
  ASSERT_TRUE(kernel_.DeleteLink(kHost, ifb->ifindex).ok());
  EXPECT_THAT(Settle(), ElementsAre("drift veths/w", "healed veths/w"));
  EXPECT_EQ(engine_->GetVeth("w")->state, State::kReady);
}

TEST_F(CaretakerTest, WhatIsRemovedIsMadeAgain) {
  Make(/*self_heal=*/true);
  kernel_.RemoveForeignNetnsForTest("blue");
  Settle();
  EXPECT_EQ(engine_->GetNamespace("blue")->state, State::kReady);
  EXPECT_EQ(engine_->GetVeth("v")->state, State::kReady);
  // The new namespace is watched too.
  blue_.cookie = engine_->GetNamespace("blue")->cookie;
  kernel_.SetLinkForTest(blue_, "eth0", {.mtu = 1400});
  EXPECT_THAT(Settle(), ElementsAre("drift veths/v", "healed veths/v"));
}

TEST_F(CaretakerTest, WhatCannotBeHealedIsSaidOnceAndTriedAgain) {
  Make(/*self_heal=*/true);
  kernel_.FailNextForTest("SetLink", EPERM);
  kernel_.SetLinkForTest(kHost, "h0", {.mtu = 1400});
  EXPECT_THAT(Settle(), ElementsAre("drift veths/v", "heal_failed veths/v"));
  now_ += Caretaker::kResyncPeriod;
  EXPECT_THAT(Settle(), ElementsAre("healed veths/v"));
}

TEST_F(CaretakerTest, WhoIsHealedInVainHasToWaitThoughEachAttemptLeavesHints) {
  Make(/*self_heal=*/true);
  kernel_.RemoveForeignNetnsForTest("blue");
  int attempts = 0;
  kernel_.SetFaultForTest([&](const std::string& operation) -> std::optional<KernelError> {
    if (operation != "CreateNetns") return std::nullopt;
    ++attempts;
    // As the file that is made and removed again.
    kernel_.AddStaleFileForTest("blue");
    kernel_.RemoveForeignNetnsForTest("blue");
    return KernelError{.code = ENOSPC, .operation = operation, .extack = {}};
  });
  Settle();
  for (int second = 0; second < 60; ++second) {
    now_ += absl::Seconds(1);
    Settle();
  }
  EXPECT_GT(attempts, 2);
  EXPECT_LT(attempts, 40);
  kernel_.SetFaultForTest(nullptr);
  now_ += absl::Minutes(2);
  EXPECT_THAT(Settle(), Contains("healed namespaces/blue"));
  EXPECT_EQ(engine_->GetVeth("v")->state, State::kReady);
}

TEST_F(CaretakerTest, LostHintsAreMadeUpFor) {
  Make(/*self_heal=*/false);
  // As if nobody had told.
  auto forgotten = std::make_unique<Caretaker>(*engine_, kernel_, *registry_, [this] { return now_; });
  kernel_.SetLinkForTest(kHost, "h0", {.mtu = 1400});
  caretaker_->Wait(std::chrono::milliseconds(0));  // drops its chores
  kernel_.OverrunWatchesForTest();
  EXPECT_THAT(Settle(), ElementsAre("drift veths/v"));
}

TEST_F(CaretakerTest, AWatchThatCannotBeOpenedIsSaidOnceAndTriedAgain) {
  kernel_.FailNextForTest("Watch", EMFILE);
  kernel_.FailNextForTest("Watch", EMFILE);
  EXPECT_THAT(Settle(), ElementsAre("watch_failed "));
  Make(/*self_heal=*/false);
  kernel_.SetLinkForTest(kHost, "h0", {.mtu = 1400});
  EXPECT_THAT(Settle(), ElementsAre("drift veths/v"));
}

TEST_F(CaretakerTest, ExpiredLeasesEndOnce) {
  const std::string before = kernel_.DumpForTest();
  Make(/*self_heal=*/true, absl::Seconds(10));
  now_ += absl::Seconds(9);
  EXPECT_THAT(Settle(), IsEmpty());
  now_ += absl::Seconds(1);
  EXPECT_THAT(Settle(), ::testing::Contains("lease_expired namespaces/blue"));
  EXPECT_EQ(kernel_.DumpForTest(), before);
  EXPECT_THAT(Settle(), IsEmpty());
}

TEST_F(CaretakerTest, PortsExpireBeforeTheirBridgeAndTheirNamespaceLast) {
  Metadata leased;
  leased.owner = "ci";
  leased.ttl = absl::Minutes(1);
  const std::string before = kernel_.DumpForTest();
  ASSERT_TRUE(engine_->CreateNamespace({.id = "blue", .metadata = leased}).ok());
  DeviceSpec bridge{.link = {.interface_name = "br0"}, .options = netlink::BridgeInfo()};
  ASSERT_TRUE(engine_->CreateDevice({.name = "bridges/br", .spec = bridge, .metadata = leased}).ok());
  for (int i = 0; i < 8; ++i) {
    VethSpec spec = {.a = {.interface_name = absl::StrCat("h", i)},
                     .b = {.namespace_id = "blue", .interface_name = absl::StrCat("eth", i)}};
    spec.a.config.bridge = "bridges/br";
    ASSERT_TRUE(engine_->CreateVeth({.id = absl::StrCat("v", i), .spec = spec, .metadata = leased}).ok());
  }
  Settle();
  now_ += absl::Minutes(2);
  const std::vector<std::string> events = Settle();
  EXPECT_EQ(events.size(), 10u);
  for (const std::string& event : events) EXPECT_THAT(event, HasSubstr("lease_expired "));
  EXPECT_EQ(events[8], "lease_expired bridges/br");
  EXPECT_EQ(events[9], "lease_expired namespaces/blue");
  EXPECT_EQ(kernel_.DumpForTest(), before);
}

TEST_F(CaretakerTest, AnEndThatFailsIsTriedAgainLater) {
  Make(/*self_heal=*/false, absl::Seconds(10));
  kernel_.SetFaultForTest([](const std::string& operation) -> std::optional<KernelError> {
    if (operation != "RemoveNetns" && operation != "DeleteLink") return std::nullopt;
    return KernelError{.code = EBUSY, .operation = operation, .extack = {}};
  });
  now_ += absl::Seconds(10);
  EXPECT_THAT(Settle(), ::testing::Contains("expiry_failed namespaces/blue"));
  kernel_.SetFaultForTest(nullptr);
  EXPECT_THAT(Settle(), ::testing::Not(::testing::Contains("lease_expired namespaces/blue")));
  now_ += absl::Minutes(1);
  EXPECT_THAT(Settle(), ::testing::Contains("lease_expired namespaces/blue"));
}

TEST_F(CaretakerTest, ManyObjectsAreLookedAtAFewAtATime) {
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(engine_->CreateNamespace({.id = absl::StrCat("n", i)}).ok());
  Settle();
  for (int i = 0; i < 100; ++i) kernel_.RemoveForeignNetnsForTest(absl::StrCat("n", i));
  Caretaker::Due due = caretaker_->Wait(std::chrono::milliseconds(0));
  EXPECT_EQ(due.chores.size(), Caretaker::kMostChores);
  EXPECT_THAT(caretaker_->Wait(std::chrono::milliseconds(0)).chores, IsEmpty()) << "until some are done";
  // What a full queue refuses is not forgotten.
  due.chores.clear();
  EXPECT_THAT(Settle(), ::testing::SizeIs(100));
}

TEST_F(CaretakerTest, WhatAStartCouldNotRestoreIsTriedAgain) {
  Metadata metadata;
  metadata.persistent = true;
  ASSERT_TRUE(engine_->CreateNamespace({.id = "blue", .metadata = metadata}).ok());
  const VethSpec spec = {.a = {.interface_name = "h0"}, .b = {.namespace_id = "blue", .interface_name = "eth0"}};
  ASSERT_TRUE(engine_->CreateVeth({.id = "v", .spec = spec, .metadata = metadata}).ok());
  Settle();
  kernel_.RebootForTest();
  kernel_.AddForeignLinkForTest(kHost, "h0");
  caretaker_.reset();
  auto clock = [this] { return now_; };
  engine_ = std::make_unique<Engine>(kernel_, *registry_, clock);
  EXPECT_EQ(engine_->Recover()->Count(Finding::Kind::kNotRestored), 1);
  caretaker_ = std::make_unique<Caretaker>(*engine_, kernel_, *registry_, clock);
  EXPECT_THAT(Settle(), ElementsAre("drift veths/v", "heal_failed veths/v"));
  now_ += 2 * Caretaker::kResyncPeriod;
  EXPECT_THAT(Settle(), IsEmpty()) << "the same again";
  ASSERT_TRUE(kernel_.DeleteLink(kHost, (*kernel_.FindLink(kHost, std::string("h0")))->ifindex).ok());
  now_ += 2 * Caretaker::kResyncPeriod;
  EXPECT_THAT(Settle(), Contains("healed veths/v"));
  EXPECT_EQ(engine_->GetVeth("v")->state, State::kReady);
  // From then on it is not healed, as nobody asked for that.
  ASSERT_TRUE(kernel_.DeleteLink(kHost, (*kernel_.FindLink(kHost, std::string("h0")))->ifindex).ok());
  now_ += 2 * Caretaker::kResyncPeriod;
  EXPECT_THAT(Settle(), ElementsAre("drift veths/v"));
  EXPECT_EQ(engine_->GetVeth("v")->state, State::kMissing);
}

TEST_F(CaretakerTest, AFightIsNotFoughtForEver) {
  Make(/*self_heal=*/true);
  int heals = 0;
  for (int i = 0; i < 100; ++i) {
    kernel_.SetLinkForTest(kHost, "h0", {.mtu = 1400});
    for (const std::string& event : Settle()) heals += event == "healed veths/v" ? 1 : 0;
    now_ += absl::Milliseconds(100);
  }
  EXPECT_GE(heals, 3);
  EXPECT_LE(heals, 12) << "in ten seconds";
  now_ += 2 * Caretaker::kResyncPeriod;
  Settle();
  EXPECT_EQ(engine_->GetVeth("v")->state, State::kReady);
}

TEST_F(CaretakerTest, WhatItDoesIsCounted) {
  Make(/*self_heal=*/true, absl::Minutes(10));
  EXPECT_THAT(caretaker_->CountUnwell(), IsEmpty());
  kernel_.SetLinkForTest(kHost, "h0", {.mtu = 1400});
  Settle();
  const Caretaker::Statistics& statistics = caretaker_->statistics();
  EXPECT_EQ(statistics.drifts.value(), 1u);
  EXPECT_EQ(statistics.heals.value(), 1u);
  EXPECT_EQ(statistics.failed_heals.value(), 0u);
  EXPECT_THAT(caretaker_->CountUnwell(), IsEmpty());

  // Somebody else takes the name: each attempt counts, and the drift once.
  ASSERT_TRUE(kernel_.DeleteLink(kHost, (*kernel_.FindLink(kHost, std::string("h0")))->ifindex).ok());
  kernel_.AddForeignLinkForTest(kHost, "h0");
  for (int i = 0; i < 3; ++i) {
    now_ += 2 * Caretaker::kResyncPeriod;
    Settle();
  }
  EXPECT_EQ(statistics.drifts.value(), 2u);
  EXPECT_GE(statistics.failed_heals.value(), 3u);
  EXPECT_EQ(statistics.heals.value(), 1u);
  EXPECT_THAT(caretaker_->CountUnwell(), ElementsAre(std::pair(std::pair("veths", State::kMissing), 1u)));

  // What is deleted is not unwell, also before anybody looks again.
  ASSERT_TRUE(engine_->DeleteVeth({.id = "v"}).ok());
  EXPECT_THAT(caretaker_->CountUnwell(), IsEmpty());
  now_ += absl::Minutes(10);
  Settle();
  EXPECT_EQ(statistics.expiries.value(), 1u) << "the namespace";
  EXPECT_EQ(statistics.failed_expiries.value(), 0u);
}

TEST_F(CaretakerTest, WhatIsChangedAndNotHealedStaysCounted) {
  Make(/*self_heal=*/false);
  kernel_.SetLinkForTest(kHost, "h0", {.mtu = 1400});
  Settle();
  EXPECT_THAT(caretaker_->CountUnwell(), ElementsAre(std::pair(std::pair("veths", State::kDegraded), 1u)));
  EXPECT_EQ(caretaker_->statistics().heals.value(), 0u);
}

}  // namespace
}  // namespace netprov::engine
