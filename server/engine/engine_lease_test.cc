// Leases and garbage.
#include <cerrno>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/engine/engine.h"
#include "server/engine/engine_fixture.h"
#include "server/engine/fake_kernel.h"

namespace netprov::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::IsSupersetOf;
using ::testing::Pair;
using ::testing::SizeIs;

TEST_F(EngineTest, ALeaseEndsUnlessItsOwnerIsHeardOf) {
  Metadata leased;
  leased.owner = "ci";
  leased.ttl = absl::Minutes(1);
  const std::string before = kernel_.DumpForTest();
  auto made = engine_->CreateNamespace({.id = "blue", .metadata = leased});
  ASSERT_TRUE(made.ok());
  ASSERT_TRUE(made->expire_time.has_value());
  EXPECT_TRUE(engine_->GetNamespace("blue")->expire_time.has_value());
  const ObjectRef object{.name = "namespaces/blue", .uid = made->uid};
  now_ += absl::Seconds(50);
  EXPECT_EQ(engine_->RenewLease("ci").leases, 1);
  now_ += absl::Seconds(50);
  auto deleted = engine_->DeleteExpired(object);
  ASSERT_TRUE(deleted.ok());
  EXPECT_FALSE(deleted->deleted);
  now_ += absl::Seconds(10);
  EXPECT_THAT(engine_->leases().Expired(), SizeIs(1));
  // A start is a sign of every owner.
  Restart();
  EXPECT_THAT(engine_->leases().Expired(), IsEmpty());
  now_ += absl::Minutes(1);
  ASSERT_THAT(engine_->leases().Expired(), SizeIs(1));
  EXPECT_TRUE(engine_->DeleteExpired(object)->deleted);
  EXPECT_EQ(kernel_.DumpForTest(), before);
  EXPECT_THAT(engine_->leases().Expired(), IsEmpty());
  EXPECT_FALSE(engine_->DeleteExpired(object)->deleted);
}

TEST_F(EngineTest, HealingIsNoSignOfTheOwner) {
  Metadata leased;
  leased.owner = "ci";
  leased.ttl = absl::Minutes(1);
  auto made = engine_->CreateNamespace({.id = "blue", .metadata = leased});
  ASSERT_TRUE(made.ok());
  now_ += absl::Seconds(50);
  kernel_.RemoveForeignNetnsForTest("blue");
  ASSERT_TRUE(engine_->Heal({.name = "namespaces/blue", .uid = made->uid}).ok());
  now_ += absl::Seconds(10);
  EXPECT_THAT(engine_->leases().Expired(), SizeIs(1));
}

TEST_F(EngineTest, AnExpiredNamespaceWaitsForAnothersPair) {
  Metadata leased;
  leased.owner = "ci";
  leased.ttl = absl::Minutes(1);
  Metadata lab;
  lab.owner = "lab";
  auto made = engine_->CreateNamespace({.id = "blue", .metadata = leased});
  ASSERT_TRUE(made.ok());
  ASSERT_TRUE(engine_->CreateVeth({.id = "v", .spec = HostTo("blue"), .metadata = lab}).ok());
  VethSpec nobodys = {.a = {.interface_name = "x0"}, .b = {.namespace_id = "blue", .interface_name = "x0"}};
  ASSERT_TRUE(CreateVeth("nobodys", nobodys).ok());
  now_ += absl::Minutes(1);
  const ObjectRef object{.name = "namespaces/blue", .uid = made->uid};
  auto kept = engine_->DeleteExpired(object);
  ASSERT_TRUE(kept.ok());
  EXPECT_FALSE(kept->deleted);
  EXPECT_EQ(kept->kept_because, "veths/v of lab ends in it");
  EXPECT_EQ(engine_->GetVeth("v")->state, State::kReady);
  ASSERT_TRUE(DeleteVeth("v").ok());
  EXPECT_TRUE(engine_->DeleteExpired(object)->deleted);
  EXPECT_REFUSED(engine_->GetVeth("nobodys"), Reason::kVethNotFound);
}

TEST_F(EngineTest, ACreateThatFailsLeavesNoLease) {
  Metadata leased;
  leased.owner = "ci";
  leased.ttl = absl::Minutes(1);
  kernel_.FailNextForTest("CreateNetns", ENOMEM);
  EXPECT_FALSE(engine_->CreateNamespace({.id = "blue", .metadata = leased}).ok());
  EXPECT_EQ(engine_->RenewLease("ci").leases, 0);
}

TEST_F(EngineTest, GarbageOfAnOwnerIsCollectedAndNobodyElses) {
  auto create_namespace = [&](const std::string& id, const std::string& owner) {
    Metadata metadata;
    metadata.owner = owner;
    ASSERT_TRUE(engine_->CreateNamespace({.id = id, .metadata = metadata}).ok());
  };
  auto create_veth = [&](const std::string& id, const std::string& netns, const std::string& owner) {
    Metadata metadata;
    metadata.owner = owner;
    VethSpec spec = {.a = {.interface_name = "h" + id}, .b = {.namespace_id = netns, .interface_name = "eth%d"}};
    ASSERT_TRUE(engine_->CreateVeth({.id = id, .spec = spec, .metadata = metadata}).ok());
  };
  create_namespace("a", "ci");
  create_namespace("b", "ci");
  create_namespace("c", "ci");
  create_namespace("d", "ci");
  create_namespace("lab", "lab");
  create_veth("va", "a", "ci");
  create_veth("vb", "b", "ci");
  create_veth("vc", "c", "lab");
  create_veth("vlab", "lab", "ci");
  create_veth("nobody", "", "");
  const std::string before = kernel_.DumpForTest();

  CollectGarbageCall call = engine_->PlanGarbage("ci", {"namespaces/d", "veths/vb", "namespaces/not-there"});
  EXPECT_THAT(engine_->Keys(call), IsSupersetOf({"namespaces/a", "veths/va", "veths/vlab", "namespaces/lab"}));
  create_namespace("later", "ci");
  call.validate_only = true;
  auto dry = engine_->CollectGarbage(call);
  ASSERT_TRUE(dry.ok());
  EXPECT_THAT(dry->deleted, ElementsAre("veths/va", "veths/vlab", "namespaces/a"));
  EXPECT_THAT(dry->failures, ElementsAre(Pair("namespaces/b", HasSubstr("veths/vb")),
                                         Pair("namespaces/c", HasSubstr("not the owner's"))));
  ASSERT_TRUE(DeleteNamespace("later").ok());
  EXPECT_EQ(kernel_.DumpForTest(), before);
  create_namespace("later", "ci");

  call.validate_only = false;
  auto wet = engine_->CollectGarbage(call);
  ASSERT_TRUE(wet.ok());
  EXPECT_EQ(wet->deleted, dry->deleted);
  EXPECT_EQ(wet->failures, dry->failures);
  std::vector<std::string> left;
  const Page<Namespace> namespaces = *engine_->ListNamespaces("", 100);
  for (const Namespace& netns : namespaces.items) left.push_back(netns.id);
  EXPECT_THAT(left, ElementsAre("b", "c", "d", "lab", "later"));
  left.clear();
  const Page<Veth> veths = *engine_->ListVeths("", 100);
  for (const Veth& veth : veths.items) left.push_back(veth.id);
  EXPECT_THAT(left, ElementsAre("nobody", "vb", "vc"));
}

TEST_F(EngineTest, MetadataIsPartOfWhatAnObjectIs) {
  Metadata metadata;
  metadata.owner = "ci";
  metadata.labels = {{"job", "17"}};
  ASSERT_TRUE(engine_->CreateNamespace({.id = "blue", .metadata = metadata}).ok());
  Restart();
  EXPECT_EQ(engine_->GetNamespace("blue")->metadata, metadata);
  EXPECT_TRUE(engine_->CreateNamespace({.id = "blue", .metadata = metadata, .allow_existing = true}).ok());
  auto other = CreateNamespace("blue", {}, /*allow_existing=*/true);
  EXPECT_REFUSED(other, Reason::kNamespaceAlreadyExists);
  EXPECT_EQ(other.error().specs_match, false);
}

}  // namespace
}  // namespace netprov::engine
