// What others change, and how it is put right.
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/engine/engine.h"
#include "server/engine/engine_fixture.h"
#include "server/engine/fake_kernel.h"

namespace netprov::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr char kSomeUid[] = "11111111-2222-4333-8444-555555555555";

TEST_F(EngineTest, DriftShowsAndIsHealed) {
  MakeBlueWithVeth();
  const std::string before = kernel_.DumpForTest();
  const Veth made = *engine_->GetVeth("v");
  const NetnsRef blue{.name = "blue", .cookie = engine_->GetNamespace("blue")->cookie};
  kernel_.SetLinkForTest(kHost, "h0", {.name = "hx", .mtu = 1400, .up = false});
  kernel_.SetLinkForTest(blue, "eth0", {.mac = netlink::MacAddress{{2, 0, 0, 0, 0, 99}}, .alias = "mine"});
  kernel_.SetLinkForTest(blue, "lo", {.up = false});

  const Veth veth = *engine_->GetVeth("v");
  EXPECT_EQ(veth.state, State::kDegraded);
  EXPECT_EQ(veth.a.mtu, 1400u);
  std::vector<std::string> fields;
  for (const Deviation& deviation : veth.deviations) fields.push_back(deviation.field);
  EXPECT_THAT(fields, ElementsAre("endpoint_a.interface_name", "endpoint_a.mtu", "endpoint_a.admin_state",
                                  "endpoint_b.mac_address", "endpoint_b.alias"));
  EXPECT_EQ(veth.deviations[1], (Deviation{"endpoint_a.mtu", "1500", "1400"}));
  const Namespace netns = *engine_->GetNamespace("blue");
  EXPECT_EQ(netns.state, State::kDegraded);
  EXPECT_THAT(netns.deviations, ElementsAre(Deviation{"loopback", "up", "down"}));
  EXPECT_EQ(engine_->CheckHost({})->Count(Finding::Kind::kDegraded), 2);

  ASSERT_TRUE(engine_->Heal({.name = "veths/v", .uid = made.uid}).ok());
  ASSERT_TRUE(engine_->Heal({.name = "namespaces/blue", .uid = netns.uid}).ok());
  EXPECT_EQ(kernel_.DumpForTest(), before);
  EXPECT_EQ(engine_->GetVeth("v")->b.mac, made.b.mac);
  EXPECT_EQ(engine_->GetVeth("v")->state, State::kReady);
  EXPECT_EQ(engine_->GetNamespace("blue")->state, State::kReady);
}

TEST_F(EngineTest, WhatIsGoneIsMadeAgainAsItWas) {
  MakeBlueWithVeth();
  const Veth made = *engine_->GetVeth("v");
  const Namespace netns = *engine_->GetNamespace("blue");
  kernel_.RemoveForeignNetnsForTest("blue");
  EXPECT_EQ(engine_->GetNamespace("blue")->state, State::kMissing);
  EXPECT_FALSE(engine_->Heal({.name = "veths/v", .uid = made.uid}).ok()) << "its namespace must be there first";
  ASSERT_TRUE(engine_->Heal({.name = "namespaces/blue", .uid = netns.uid}).ok());
  auto healed = engine_->Heal({.name = "veths/v", .uid = made.uid});
  ASSERT_TRUE(healed.ok()) << healed.error().message;
  for (bool restarted : {false, true}) {
    if (restarted) {
      EXPECT_THAT(Restart().findings, IsEmpty());
    }
    const Veth again = *engine_->GetVeth("v");
    EXPECT_EQ(again.state, State::kReady);
    EXPECT_EQ(again.uid, made.uid);
    EXPECT_EQ(again.create_time, made.create_time);
    EXPECT_EQ(again.a.interface_name, made.a.interface_name);
    EXPECT_EQ(again.a.mac, made.a.mac);
    EXPECT_EQ(again.b.mac, made.b.mac);
  }
}

TEST_F(EngineTest, HealingNeverTakesAnothersPlace) {
  MakeBlueWithVeth();
  const Veth made = *engine_->GetVeth("v");
  const Namespace netns = *engine_->GetNamespace("blue");
  kernel_.RemoveForeignNetnsForTest("blue");
  kernel_.AddForeignNetnsForTest("blue");
  kernel_.AddForeignLinkForTest(kHost, "h0");
  const std::string before = kernel_.DumpForTest();
  EXPECT_REFUSED(engine_->Heal({.name = "namespaces/blue", .uid = netns.uid}), Reason::kNamespaceNotManaged);
  EXPECT_REFUSED(engine_->Heal({.name = "veths/v", .uid = made.uid}), Reason::kNamespaceMissing);
  EXPECT_EQ(kernel_.DumpForTest(), before);
}

TEST_F(EngineTest, AHealedObjectIsTheOneThatWasMeant) {
  MakeBlueWithVeth();
  const std::string before = kernel_.DumpForTest();
  kernel_.SetLinkForTest(kHost, "h0", {.mtu = 1400});
  ASSERT_TRUE(engine_->Heal({.name = "veths/v", .uid = kSomeUid}).ok());
  EXPECT_NE(kernel_.DumpForTest(), before);
}

TEST_F(EngineTest, AHealedPairIsNotTakenForAnother) {
  for (const char* id : {"n1", "n2"}) ASSERT_TRUE(CreateNamespace(id).ok());
  for (const char* id : {"p1", "p2"}) {
    const std::string name = absl::StrCat("if-", id);
    ASSERT_TRUE(CreateVeth(id, {.a = {.namespace_id = "n1", .interface_name = name},
                                .b = {.namespace_id = "n2", .interface_name = name}})
                    .ok());
  }
  for (const char* id : {"n1", "n2"}) {
    kernel_.RemoveForeignNetnsForTest(id);
    ASSERT_TRUE(engine_->Heal({.name = NamespaceName(id), .uid = engine_->GetNamespace(id)->uid}).ok());
  }
  // In the new namespaces the first to be made gets the indexes that p1 had in the old ones.
  for (const char* id : {"p2", "p1"}) {
    auto healed = engine_->Heal({.name = VethName(id), .uid = engine_->GetVeth(id)->uid});
    ASSERT_TRUE(healed.ok()) << healed.error().message;
  }
  for (const char* id : {"p1", "p2"}) EXPECT_EQ(engine_->GetVeth(id)->state, State::kReady) << id;
  ASSERT_TRUE(DeleteVeth("p1").ok());
  EXPECT_EQ(engine_->GetVeth("p2")->state, State::kReady);
}

TEST_F(EngineTest, WhatAnUnfinishedHealLeftDoesNotUndoALaterOne) {
  MakeBlueWithVeth();
  const Namespace netns = *engine_->GetNamespace("blue");
  const Veth veth = *engine_->GetVeth("v");
  kernel_.RemoveForeignNetnsForTest("blue");
  // As of heals that a full disk stopped between the kernel and the registry.
  const NamespaceRecord record = *registry_->FindNamespace("blue");
  ASSERT_TRUE(registry_->Begin({.kind = Intent::Kind::kCreateNamespace, .netns = record}).ok());
  ASSERT_TRUE(registry_->Begin({.kind = Intent::Kind::kCreateVeth, .veth = *registry_->FindVeth("v")}).ok());
  ASSERT_TRUE(engine_->Heal({.name = "namespaces/blue", .uid = netns.uid}).ok());
  ASSERT_TRUE(engine_->Heal({.name = "veths/v", .uid = veth.uid}).ok());
  EXPECT_EQ(Restart().Count(Finding::Kind::kMissing), 0);
  EXPECT_EQ(engine_->GetNamespace("blue")->state, State::kReady);
  EXPECT_EQ(engine_->GetVeth("v")->state, State::kReady);
  EXPECT_THAT(registry_->ListPending(), IsEmpty());
}

}  // namespace
}  // namespace netprov::engine
