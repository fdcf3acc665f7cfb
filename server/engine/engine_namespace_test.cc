// Namespaces and their sysctls.
#include <cerrno>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/engine/engine.h"
#include "server/engine/engine_fixture.h"
#include "server/engine/fake_kernel.h"
#include "server/engine/tag.h"

namespace netprov::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr char kSomeUid[] = "11111111-2222-4333-8444-555555555555";

TEST_F(EngineTest, AllowExistingNeverAnswersWithAMissingNamespace) {
  auto created = CreateNamespace("blue");
  ASSERT_TRUE(created.ok());
  // Somebody takes it away as soon as it has been looked at.
  int looks = 0;
  kernel_.SetFaultForTest([&](const std::string& operation) -> std::optional<KernelError> {
    if (operation == "FindNetns" && ++looks == 2) kernel_.RemoveForeignNetnsForTest("blue");
    return std::nullopt;
  });
  auto again = CreateNamespace("blue", {}, /*allow_existing=*/true);
  kernel_.SetFaultForTest(nullptr);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->state, State::kReady);
  EXPECT_EQ(again->cookie, created->cookie);
}

const Sysctls kForwarding = {{"net.ipv4.ip_forward", "1"}};

TEST_F(EngineTest, ANamespaceHasItsSysctls) {
  const CreateNamespaceCall call{.id = "blue", .spec = {.sysctls = kForwarding}};
  auto made = engine_->CreateNamespace(call);
  ASSERT_TRUE(made.ok()) << made.error().message;
  EXPECT_EQ(made->spec.sysctls, kForwarding);
  const NetnsRef blue{.name = "blue", .cookie = made->cookie};
  EXPECT_EQ(*kernel_.FindSysctls(blue, kForwarding), kForwarding);
  Restart();
  auto read = engine_->GetNamespace("blue");
  EXPECT_EQ(read->spec.sysctls, kForwarding);
  EXPECT_EQ(read->state, State::kReady);

  // Another spec is another namespace.
  auto again = call;
  again.allow_existing = true;
  EXPECT_TRUE(engine_->CreateNamespace(again).ok());
  again.spec.sysctls["net.core.somaxconn"] = "128";
  auto other = engine_->CreateNamespace(again);
  EXPECT_REFUSED(other, Reason::kNamespaceAlreadyExists);
  EXPECT_EQ(other.error().specs_match, false);
  EXPECT_THAT(other.error().message, HasSubstr("is not the one asked for"));
}

TEST_F(EngineTest, ASysctlThatIsRefusedLeavesNothing) {
  const std::string before = kernel_.DumpForTest();
  auto refused = engine_->CreateNamespace({.id = "blue", .spec = {.sysctls = {{"net.ipv4.nothing", "1"}}}});
  EXPECT_REFUSED(refused, Reason::kKernel);
  EXPECT_EQ(refused.error().kernel->operation, "sysctl net.ipv4.nothing");
  EXPECT_EQ(kernel_.DumpForTest(), before);
  EXPECT_REFUSED(engine_->GetNamespace("blue"), Reason::kNamespaceNotFound);
}

TEST_F(EngineTest, AChangedSysctlShowsAndIsHealed) {
  auto made =
      engine_->CreateNamespace({.id = "blue", .spec = {.sysctls = kForwarding}, .metadata = {.self_heal = true}});
  ASSERT_TRUE(made.ok());
  kernel_.SetSysctlForTest({.name = "blue", .cookie = made->cookie}, "net.ipv4.ip_forward", "0");
  auto read = engine_->GetNamespace("blue");
  EXPECT_EQ(read->state, State::kDegraded);
  EXPECT_THAT(read->deviations,
              ElementsAre(Deviation{.field = "sysctls[net.ipv4.ip_forward]", .expected = "1", .actual = "0"}));
  EXPECT_EQ(read->spec.sysctls.at("net.ipv4.ip_forward"), "0");
  ASSERT_TRUE(engine_->Heal({.name = "namespaces/blue", .uid = made->uid}).ok());
  EXPECT_EQ(engine_->GetNamespace("blue")->state, State::kReady);
}

TEST_F(EngineTest, SysctlsAreRestoredAfterAReboot) {
  auto made =
      engine_->CreateNamespace({.id = "blue", .spec = {.sysctls = kForwarding}, .metadata = {.persistent = true}});
  ASSERT_TRUE(made.ok());
  kernel_.RebootForTest();
  Restart();
  auto read = engine_->GetNamespace("blue");
  EXPECT_EQ(read->state, State::kReady);
  EXPECT_EQ(*kernel_.FindSysctls({.name = "blue", .cookie = read->cookie}, kForwarding), kForwarding);
}

TEST_F(EngineTest, ANamespaceWithoutSysctlsIsNotAskedForThem) {
  kernel_.SetFaultForTest([](const std::string& operation) -> std::optional<KernelError> {
    EXPECT_NE(operation, "FindSysctls");
    EXPECT_NE(operation, "SetSysctls");
    return std::nullopt;
  });
  auto made = CreateNamespace("blue");
  ASSERT_TRUE(made.ok());
  EXPECT_TRUE(engine_->GetNamespace("blue").ok());
  EXPECT_TRUE(engine_->Heal({.name = "namespaces/blue", .uid = made->uid}).ok());
}

TEST_F(EngineTest, AnAnswerWithSysctlsIsRepeated) {
  const CreateNamespaceCall call{
      .context = {.request_id = "r", .fingerprint = "f"}, .id = "blue", .spec = {.sysctls = kForwarding}};
  auto made = engine_->CreateNamespace(call);
  ASSERT_TRUE(made.ok());
  Restart();
  auto again = engine_->CreateNamespace(call);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->uid, made->uid);
  EXPECT_EQ(again->spec.sysctls, kForwarding);
}

TEST_F(EngineTest, ANamespaceWithProcessesInsideIsNotDeletedUnlessByForce) {
  MakeBlueWithVeth();
  const NetnsRef blue{.name = "blue", .cookie = engine_->GetNamespace("blue")->cookie};
  for (int i = 0; i < 7; ++i) kernel_.StartProcessForTest(blue, "sleep");
  const std::string before = kernel_.DumpForTest();
  for (bool validate_only : {true, false}) {
    auto refused = DeleteNamespace("blue", {.validate_only = validate_only});
    EXPECT_REFUSED(refused, Reason::kNamespaceBusy);
    EXPECT_THAT(refused.error().message, HasSubstr("has 7 processes inside: 1000 sleep, 1001 sleep"));
    EXPECT_THAT(refused.error().message, HasSubstr("1004 sleep and more;"));
    EXPECT_EQ(refused.error().inhabitants.count, 7u);
  }
  EXPECT_EQ(kernel_.DumpForTest(), before);
  EXPECT_THAT(registry_->ListPending(), IsEmpty());

  EXPECT_EQ(engine_->GetNamespace("blue")->inhabitants, std::nullopt);
  EXPECT_THAT(engine_->GetNamespace("blue", /*with_inhabitants=*/true)->inhabitants->first, SizeIs(7));
  ASSERT_TRUE(engine_->DeleteNamespace({.id = "blue", .force = true}).ok());
  EXPECT_REFUSED(engine_->GetNamespace("blue"), Reason::kNamespaceNotFound);
}

TEST_F(EngineTest, WhatGoesByItselfGoesWithProcessesInside) {
  for (const char* id : {"leased", "garbage"}) {
    auto made = engine_->CreateNamespace(
        {.id = id, .metadata = {.owner = id, .ttl = *id == 'l' ? absl::Seconds(1) : absl::ZeroDuration()}});
    ASSERT_TRUE(made.ok());
    kernel_.StartProcessForTest({.name = id, .cookie = made->cookie}, "sleep");
  }
  const std::string uid = engine_->GetNamespace("leased")->uid;
  now_ += absl::Seconds(2);
  auto expired = engine_->DeleteExpired({.name = "namespaces/leased", .uid = uid});
  ASSERT_TRUE(expired.ok());
  EXPECT_TRUE(expired->deleted);
  auto collected = engine_->CollectGarbage(engine_->PlanGarbage("garbage", {}));
  EXPECT_THAT(collected->deleted, ElementsAre("namespaces/garbage"));
}

TEST_F(EngineTest, ADeletionThatCannotLookForProcessesChangesNothing) {
  MakeBlueWithVeth();
  const std::string before = kernel_.DumpForTest();
  kernel_.FailNextForTest("FindInhabitants", EMFILE);
  EXPECT_REFUSED(DeleteNamespace("blue"), Reason::kKernel);
  EXPECT_EQ(kernel_.DumpForTest(), before);
  // What is gone has nobody inside.
  kernel_.RemoveForeignNetnsForTest("blue");
  EXPECT_TRUE(DeleteNamespace("blue").ok());
}

TEST_F(EngineTest, ANamespaceInTheMakingIsNobodyElses) {
  // It is made between the look at the registry and that at the kernel.
  kernel_.SetFaultForTest([&](const std::string& operation) -> std::optional<KernelError> {
    if (operation == "FindNetns") {
      kernel_.SetFaultForTest(nullptr);
      EXPECT_TRUE(CreateNamespace("blue").ok());
    }
    return std::nullopt;
  });
  auto read = engine_->GetNamespace("blue");
  ASSERT_TRUE(read.ok()) << read.error().message;
  EXPECT_TRUE(read->managed);
  EXPECT_EQ(read->uid, engine_->GetNamespace("blue")->uid);

  // It is there, and its record is not written yet.
  const NamespaceRecord record{.id = "green", .uid = kSomeUid, .boot_id = kernel_.BootId()};
  ASSERT_TRUE(registry_->Begin({.kind = Intent::Kind::kCreateNamespace, .netns = record}).ok());
  ASSERT_TRUE(kernel_.CreateNetns("green", TagOf(registry_->id(), kSomeUid, "namespaces/green"), {}).ok());
  EXPECT_REFUSED(engine_->GetNamespace("green"), Reason::kNamespaceNotFound);
  EXPECT_THAT(engine_->ListNamespaces("", 10)->items, SizeIs(1));

  // So is a file that has no namespace yet.
  const NamespaceRecord third{.id = "third", .uid = kSomeUid, .boot_id = kernel_.BootId()};
  ASSERT_TRUE(registry_->Begin({.kind = Intent::Kind::kCreateNamespace, .netns = third}).ok());
  kernel_.AddStaleFileForTest("third");
  EXPECT_REFUSED(engine_->GetNamespace("third"), Reason::kNamespaceNotFound);
}

TEST_F(EngineTest, CreatesAndReadsANamespace) {
  auto created = CreateNamespace("blue");
  ASSERT_TRUE(created.ok());
  EXPECT_EQ(created->id, "blue");
  EXPECT_EQ(created->uid.size(), 36u);
  EXPECT_TRUE(created->managed);
  EXPECT_NE(created->cookie, 0u);
  for (bool restarted : {false, true}) {
    if (restarted) Restart();
    auto read = engine_->GetNamespace("blue");
    ASSERT_TRUE(read.ok());
    EXPECT_EQ(read->uid, created->uid);
    EXPECT_EQ(read->cookie, created->cookie);
    EXPECT_EQ(read->create_time, created->create_time);
    EXPECT_EQ(read->state, State::kReady);
  }
  EXPECT_THAT(kernel_.DumpForTest(), HasSubstr(TagOf(registry_->id(), created->uid, "namespaces/blue")));
}

TEST_F(EngineTest, ANamespaceThatExistsIsRefusedOrReturned) {
  auto created = CreateNamespace("blue");
  auto again = CreateNamespace("blue");
  EXPECT_REFUSED(again, Reason::kNamespaceAlreadyExists);
  EXPECT_EQ(again.error().specs_match, true);
  auto allowed = CreateNamespace("blue", {}, /*allow_existing=*/true);
  ASSERT_TRUE(allowed.ok());
  EXPECT_EQ(allowed->uid, created->uid);
}

TEST_F(EngineTest, ForeignNamesAreShownAndLeftAlone) {
  kernel_.AddForeignNetnsForTest("foreign");
  kernel_.AddStaleFileForTest("stale");
  const std::string before = kernel_.DumpForTest();
  auto foreign = engine_->GetNamespace("foreign");
  ASSERT_TRUE(foreign.ok());
  EXPECT_FALSE(foreign->managed);
  EXPECT_EQ(foreign->state, State::kReady);
  EXPECT_EQ(engine_->GetNamespace("stale")->state, State::kStale);
  for (bool allow : {false, true}) {
    EXPECT_REFUSED(CreateNamespace("foreign", {}, allow), Reason::kNamespaceNotManaged);
    EXPECT_REFUSED(CreateNamespace("stale", {}, allow), Reason::kNamespaceFileStale);
    EXPECT_REFUSED(DeleteNamespace("foreign", {}, allow), Reason::kNamespaceNotManaged);
    EXPECT_REFUSED(DeleteNamespace("stale", {}, allow), Reason::kNamespaceFileStale);
  }
  EXPECT_REFUSED(CreateVeth("v", HostTo("foreign")), Reason::kNamespaceNotManaged);
  EXPECT_REFUSED(CreateVeth("v", HostTo("stale")), Reason::kNamespaceFileStale);
  EXPECT_EQ(kernel_.DumpForTest(), before);
}

TEST_F(EngineTest, DeletingANamespaceTakesItsPairsWithIt) {
  const std::string before = kernel_.DumpForTest();
  MakeBlueWithVeth();
  kernel_.AddForeignLinkForTest({.name = "blue", .cookie = engine_->GetNamespace("blue")->cookie}, "dummy0");
  ASSERT_TRUE(DeleteNamespace("blue").ok());
  EXPECT_EQ(kernel_.DumpForTest(), before);
  EXPECT_REFUSED(engine_->GetVeth("v"), Reason::kVethNotFound);
  EXPECT_REFUSED(engine_->GetNamespace("blue"), Reason::kNamespaceNotFound);
  Restart();
  EXPECT_REFUSED(engine_->GetVeth("v"), Reason::kVethNotFound);
  MakeBlueWithVeth();
}

TEST_F(EngineTest, DeletingWhatIsNotThere) {
  EXPECT_REFUSED(DeleteNamespace("blue"), Reason::kNamespaceNotFound);
  EXPECT_TRUE(DeleteNamespace("blue", {}, /*allow_missing=*/true).ok());
  EXPECT_REFUSED(DeleteVeth("v"), Reason::kVethNotFound);
  EXPECT_TRUE(DeleteVeth("v", {}, /*allow_missing=*/true).ok());
}

TEST_F(EngineTest, ListsOursAndOthersInPages) {
  for (const char* id : {"d", "b"}) ASSERT_TRUE(CreateNamespace(id).ok());
  kernel_.AddForeignNetnsForTest("a");
  kernel_.AddForeignNetnsForTest("c");
  std::vector<std::string> seen;
  std::string after;
  while (true) {
    auto page = engine_->ListNamespaces(after, 3);
    ASSERT_TRUE(page.ok());
    for (const Namespace& netns : page->items) seen.push_back(absl::StrCat(netns.id, netns.managed ? " ours" : ""));
    if (!page->more) break;
    after = page->items.back().id;
  }
  EXPECT_THAT(seen, ElementsAre("a", "b ours", "c", "d ours"));
}

TEST_F(EngineTest, AnExactlyFullLastPageSaysSo) {
  for (const char* id : {"a", "b"}) ASSERT_TRUE(CreateNamespace(id).ok());
  EXPECT_FALSE(engine_->ListNamespaces("", 2)->more);
  EXPECT_TRUE(engine_->ListNamespaces("", 1)->more);
}

TEST_F(EngineTest, ANamespaceThatWasRemovedBehindOurBackIsMissingAndCanBeMadeAnew) {
  MakeBlueWithVeth();
  const std::string uid = engine_->GetNamespace("blue")->uid;
  kernel_.RemoveForeignNetnsForTest("blue");
  EXPECT_EQ(engine_->GetNamespace("blue")->state, State::kMissing);
  EXPECT_EQ(engine_->GetVeth("v")->state, State::kMissing);
  EXPECT_EQ(engine_->ListNamespaces("", 10)->items.size(), 1u);
  EXPECT_REFUSED(CreateVeth("w", HostTo("blue")), Reason::kNamespaceMissing);
  auto again = CreateNamespace("blue");
  ASSERT_TRUE(again.ok());
  EXPECT_NE(again->uid, uid);
  EXPECT_REFUSED(engine_->GetVeth("v"), Reason::kVethNotFound);
  EXPECT_TRUE(CreateVeth("v", HostTo("blue")).ok());
}

TEST_F(EngineTest, AMissingNamespaceCanBeDeleted) {
  MakeBlueWithVeth();
  kernel_.RemoveForeignNetnsForTest("blue");
  ASSERT_TRUE(DeleteNamespace("blue").ok());
  EXPECT_REFUSED(engine_->GetNamespace("blue"), Reason::kNamespaceNotFound);
}

TEST_F(EngineTest, ANamespaceThatWasReplacedIsNeverTouched) {
  MakeBlueWithVeth();
  kernel_.RemoveForeignNetnsForTest("blue");
  kernel_.AddForeignNetnsForTest("blue");
  const std::string before = kernel_.DumpForTest();
  EXPECT_EQ(engine_->GetNamespace("blue")->state, State::kMissing);
  EXPECT_REFUSED(CreateNamespace("blue"), Reason::kNamespaceNotManaged);
  EXPECT_REFUSED(CreateVeth("w", HostTo("blue")), Reason::kNamespaceMissing);
  ASSERT_TRUE(DeleteNamespace("blue").ok()) << "our record of it can go";
  EXPECT_EQ(kernel_.DumpForTest(), before);
  EXPECT_FALSE(engine_->GetNamespace("blue")->managed);
}

TEST_F(EngineTest, ADeleteThatWasKilledBeforeTheFileWentIsCompleted) {
  const std::string empty = kernel_.DumpForTest();
  for (const bool by_recovery : {true, false}) {
    MakeBlueWithVeth();
    if (by_recovery) {
      ASSERT_TRUE(
          registry_->Begin({.kind = Intent::Kind::kDeleteNamespace, .netns = *registry_->FindNamespace("blue")}).ok());
    }
    kernel_.RemoveForeignNetnsForTest("blue");
    kernel_.AddStaleFileForTest("blue");
    if (by_recovery) {
      EXPECT_EQ(Restart().Count(Finding::Kind::kCompleted), 1);
    } else {
      EXPECT_TRUE(DeleteNamespace("blue").ok());
    }
    EXPECT_EQ(kernel_.DumpForTest(), empty);
  }
  MakeBlueWithVeth();
  kernel_.RemoveForeignNetnsForTest("blue");
  kernel_.AddStaleFileForTest("blue");
  EXPECT_TRUE(CreateNamespace("blue").ok()) << "nor is it in the way of a create";
}

TEST_F(EngineTest, AForeignNamespaceThatCannotBeReadDoesNotHideTheOthers) {
  ASSERT_TRUE(CreateNamespace("blue").ok());
  kernel_.AddForeignNetnsForTest("another");
  kernel_.FailNextForTest("FindNetns", EPERM);
  auto page = engine_->ListNamespaces("", 10);
  ASSERT_TRUE(page.ok());
  ASSERT_EQ(page->items.size(), 2u);
  EXPECT_EQ(page->items[0].id, "another");
  EXPECT_EQ(page->items[0].state, State::kStale);
  EXPECT_FALSE(page->items[0].managed);
}

TEST_F(EngineTest, AListIsNotAnsweredFromWhatAFailureLeaves) {
  kernel_.AddForeignNetnsForTest("another");
  kernel_.FailNextForTest("FindNetns", EMFILE);
  auto page = engine_->ListNamespaces("", 10);
  ASSERT_FALSE(page.ok()) << "a namespace is no stale file because of a lack of descriptors";
  EXPECT_EQ(page.error().kernel->code, EMFILE);
}

TEST_F(EngineTest, AfterARebootEverythingIsMissingAndCanBeMadeAnew) {
  MakeBlueWithVeth();
  kernel_.RebootForTest();
  Restart();
  EXPECT_EQ(engine_->GetNamespace("blue")->state, State::kMissing);
  auto veth = engine_->GetVeth("v");
  EXPECT_EQ(veth->state, State::kMissing);
  EXPECT_EQ(veth->a.ifindex, 0u);
  MakeBlueWithVeth();
  EXPECT_EQ(engine_->GetVeth("v")->state, State::kReady);
}

}  // namespace
}  // namespace netprov::engine
