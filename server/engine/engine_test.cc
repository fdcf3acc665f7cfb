#include "server/engine/engine.h"

#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/engine/engine_fixture.h"
#include "server/engine/fake_kernel.h"
#include "server/engine/tag.h"

namespace netprov::engine {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Eq;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::IsSupersetOf;
using ::testing::Not;
using ::testing::Pair;
using ::testing::SizeIs;
using ::testing::StartsWith;

constexpr char kSomeUid[] = "11111111-2222-4333-8444-555555555555";

// ---- Namespaces

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

// ---- Veth pairs

TEST_F(EngineTest, CreatesAndReadsAPair) {
  ASSERT_TRUE(CreateNamespace("blue").ok());
  VethSpec spec = HostTo("blue");
  spec.a.mac = netlink::MacAddress::Parse("02:00:00:00:00:07");
  spec.b.mtu = 9000;
  spec.b.up = false;
  auto created = CreateVeth("v", spec);
  ASSERT_TRUE(created.ok()) << created.error().message;
  EXPECT_EQ(created->a.interface_name, "h0");
  EXPECT_EQ(created->a.mac, spec.a.mac);
  EXPECT_EQ(created->a.mtu, 1500u);
  EXPECT_TRUE(created->a.up);
  EXPECT_EQ(created->b.namespace_id, "blue");
  EXPECT_EQ(created->b.mtu, 9000u);
  EXPECT_FALSE(created->b.up);
  EXPECT_TRUE(created->b.mac.has_value());
  EXPECT_NE(created->b.ifindex, 0u);
  for (bool restarted : {false, true}) {
    if (restarted) Restart();
    auto read = engine_->GetVeth("v");
    ASSERT_TRUE(read.ok());
    EXPECT_EQ(read->uid, created->uid);
    EXPECT_EQ(read->state, State::kReady);
    EXPECT_EQ(read->a.ifindex, created->a.ifindex);
    EXPECT_EQ(read->b.mac, created->b.mac);
  }
  EXPECT_THAT(kernel_.DumpForTest(), HasSubstr("h0 1500 up 28272 " + TagOf(registry_->id(), created->uid, "veths/v")));
}

TEST_F(EngineTest, PatternsBecomeTheLowestFreeName) {
  ASSERT_TRUE(CreateNamespace("blue").ok());
  kernel_.AddForeignLinkForTest(kHost, "veth0");
  auto first =
      CreateVeth("a", {.a = {.interface_name = "veth%d"}, .b = {.namespace_id = "blue", .interface_name = "veth%d"}});
  ASSERT_TRUE(first.ok()) << first.error().message;
  EXPECT_EQ(first->a.interface_name, "veth1");
  EXPECT_EQ(first->b.interface_name, "veth0");
  auto both_here = CreateVeth("b", {.a = {.interface_name = "veth%d"}, .b = {.interface_name = "veth%d"}});
  ASSERT_TRUE(both_here.ok()) << both_here.error().message;
  EXPECT_EQ(both_here->a.interface_name, "veth2");
  EXPECT_EQ(both_here->b.interface_name, "veth3");
  auto fixed_b = CreateVeth("c", {.a = {.interface_name = "veth%d"}, .b = {.interface_name = "veth4"}});
  ASSERT_TRUE(fixed_b.ok()) << fixed_b.error().message;
  EXPECT_EQ(fixed_b->a.interface_name, "veth5");
}

TEST_F(EngineTest, APatternIsTriedAgainWhenSomebodyTakesTheName) {
  int races = 3;
  kernel_.SetFaultForTest([&](const std::string& operation) -> std::optional<KernelError> {
    if (operation == "CreateVeth" && races > 0) {
      kernel_.AddForeignLinkForTest(kHost, absl::StrCat("veth", 3 - races));
      --races;
    }
    return std::nullopt;
  });
  auto made = CreateVeth("v", {.a = {.interface_name = "veth%d"}, .b = {.interface_name = "p0"}});
  ASSERT_TRUE(made.ok()) << made.error().message;
  EXPECT_EQ(made->a.interface_name, "veth3");
  EXPECT_THAT(registry_->ListPending(), IsEmpty());
}

TEST_F(EngineTest, APairThatIsJustBornIsNotSweptByACallThatWantsItsNames) {
  const VethSpec in_the_host{.a = {.interface_name = "h0"}, .b = {.interface_name = "h1"}};
  // Both ends in the host's namespace: the two calls share no key.
  kernel_.SetBornForTest([&] {
    kernel_.SetBornForTest(nullptr);
    EXPECT_REFUSED(CreateVeth("w", in_the_host), Reason::kInterfaceNameTaken);
  });
  auto made = CreateVeth("v", in_the_host);
  ASSERT_TRUE(made.ok()) << made.error().message;
  EXPECT_EQ(engine_->GetVeth("v")->state, State::kReady);
}

TEST_F(EngineTest, ANamespaceWhoseFileSomebodyDeletesAtBirthIsMadeAgain) {
  kernel_.FailNextForTest("CreateNetns", ENOENT);
  auto made = CreateNamespace("blue");
  ASSERT_TRUE(made.ok()) << made.error().message;
  EXPECT_EQ(engine_->GetNamespace("blue")->state, State::kReady);
}

TEST_F(EngineTest, ANameThatWasTakenForAMomentIsSomebodyElses) {
  kernel_.FailNextForTest("CreateNetns", EEXIST);
  EXPECT_REFUSED(CreateNamespace("blue"), Reason::kNamespaceNotManaged);
  EXPECT_TRUE(CreateNamespace("blue").ok());
}

// Whichever step of the deletion it comes before.
TEST_F(EngineTest, ANamespaceThatSomebodyReplacesWhileItIsDeletedIsDeleted) {
  for (const char* step : {"DeleteLinksInside", "RemoveNetns"}) {
    SCOPED_TRACE(step);
    MakeBlueWithVeth();
    kernel_.SetFaultForTest([&](const std::string& operation) -> std::optional<KernelError> {
      if (operation == step) {
        kernel_.SetFaultForTest(nullptr);
        kernel_.RemoveForeignNetnsForTest("blue");
        kernel_.AddForeignNetnsForTest("blue");
      }
      return std::nullopt;
    });
    auto deleted = DeleteNamespace("blue");
    ASSERT_TRUE(deleted.ok()) << deleted.error().message;
    EXPECT_FALSE(engine_->GetNamespace("blue")->managed);
    EXPECT_REFUSED(engine_->GetVeth("v"), Reason::kVethNotFound);
    kernel_.RemoveForeignNetnsForTest("blue");
  }
}

TEST_F(EngineTest, APairThatSomebodyDeletesAtBirthIsMadeAgain) {
  ASSERT_TRUE(CreateNamespace("blue").ok());
  kernel_.SetBornForTest([&] {
    kernel_.SetBornForTest(nullptr);
    auto link = kernel_.FindLink(kHost, "h0");
    ASSERT_TRUE(link.ok() && link->has_value());
    ASSERT_TRUE(kernel_.DeleteLink(kHost, (*link)->ifindex).ok());
  });
  auto made = CreateVeth("v", HostTo("blue"));
  ASSERT_TRUE(made.ok()) << made.error().message;
  EXPECT_EQ(engine_->GetVeth("v")->state, State::kReady);
}

TEST_F(EngineTest, ANamespaceThatWasGoneForAMomentIsTriedAgain) {
  ASSERT_TRUE(CreateNamespace("blue").ok());
  kernel_.FailNextForTest("CreateVeth", ESTALE);
  auto made = CreateVeth("v", HostTo("blue"));
  ASSERT_TRUE(made.ok()) << made.error().message;
  EXPECT_THAT(registry_->ListPending(), IsEmpty());
}

TEST_F(EngineTest, SaysWhichEndsNameIsTaken) {
  ASSERT_TRUE(CreateNamespace("blue").ok());
  const NetnsRef blue{.name = "blue", .cookie = engine_->GetNamespace("blue")->cookie};
  kernel_.AddForeignLinkForTest(blue, "eth0");
  auto taken_b = CreateVeth("v", HostTo("blue"));
  EXPECT_REFUSED(taken_b, Reason::kInterfaceNameTaken);
  EXPECT_EQ(taken_b.error().field, "endpoint_b.interface_name");
  EXPECT_EQ(taken_b.error().interface_name, "eth0");
  kernel_.AddForeignLinkForTest(kHost, "h0");
  auto taken_a = CreateVeth("v", HostTo("blue"));
  EXPECT_REFUSED(taken_a, Reason::kInterfaceNameTaken);
  EXPECT_EQ(taken_a.error().field, "endpoint_a.interface_name");
  auto validated = CreateVeth("v", HostTo("blue"), {.validate_only = true});
  EXPECT_REFUSED(validated, Reason::kInterfaceNameTaken);
  EXPECT_THAT(registry_->ListPending(), IsEmpty());
}

TEST_F(EngineTest, SaysWhichNamespaceCannotBeUsed) {
  ASSERT_TRUE(CreateNamespace("blue").ok());
  auto unknown_b = CreateVeth("v", HostTo("green"));
  EXPECT_REFUSED(unknown_b, Reason::kNamespaceNotFound);
  EXPECT_EQ(unknown_b.error().field, "endpoint_b.namespace");
  EXPECT_EQ(unknown_b.error().object, "namespaces/green");
  auto unknown_a = CreateVeth(
      "v", {.a = {.namespace_id = "red", .interface_name = "a"}, .b = {.namespace_id = "blue", .interface_name = "b"}});
  EXPECT_REFUSED(unknown_a, Reason::kNamespaceNotFound);
  EXPECT_EQ(unknown_a.error().field, "endpoint_a.namespace");
  EXPECT_REFUSED(CreateVeth("v", HostTo("green"), {.validate_only = true}), Reason::kNamespaceNotFound);
}

TEST_F(EngineTest, ANamespaceThatGoesWhileThePairIsMadeIsSaid) {
  ASSERT_TRUE(CreateNamespace("blue").ok());
  kernel_.SetFaultForTest([&](const std::string& operation) -> std::optional<KernelError> {
    if (operation == "CreateVeth") kernel_.RemoveForeignNetnsForTest("blue");
    return std::nullopt;
  });
  auto refused = CreateVeth("v", HostTo("blue"));
  EXPECT_REFUSED(refused, Reason::kNamespaceMissing);
  EXPECT_EQ(refused.error().field, "endpoint_b.namespace");
}

TEST_F(EngineTest, APairThatExistsIsRefusedOrReturned) {
  MakeBlueWithVeth();
  auto same = CreateVeth("v", HostTo("blue"));
  EXPECT_REFUSED(same, Reason::kVethAlreadyExists);
  EXPECT_EQ(same.error().specs_match, true);
  VethSpec other = HostTo("blue");
  other.b.mtu = 9000;
  for (bool allow : {false, true}) {
    auto refused = CreateVeth("v", other, {}, allow);
    EXPECT_REFUSED(refused, Reason::kVethAlreadyExists);
    EXPECT_EQ(refused.error().specs_match, false);
  }
  auto allowed = CreateVeth("v", HostTo("blue"), {}, /*allow_existing=*/true);
  ASSERT_TRUE(allowed.ok());
  EXPECT_EQ(allowed->uid, engine_->GetVeth("v")->uid);
}

TEST_F(EngineTest, ChoosesAnIdWhereNoneIsGiven) {
  auto made = CreateVeth("", {.a = {.interface_name = "a"}, .b = {.interface_name = "b"}});
  ASSERT_TRUE(made.ok());
  EXPECT_THAT(made->id, StartsWith("veth-"));
  EXPECT_TRUE(engine_->GetVeth(made->id).ok());
}

TEST_F(EngineTest, DeletesAPair) {
  ASSERT_TRUE(CreateNamespace("blue").ok());
  const std::string before = kernel_.DumpForTest();
  ASSERT_TRUE(CreateVeth("v", HostTo("blue")).ok());
  ASSERT_TRUE(DeleteVeth("v").ok());
  EXPECT_EQ(kernel_.DumpForTest(), before);
  EXPECT_REFUSED(engine_->GetVeth("v"), Reason::kVethNotFound);
}

TEST_F(EngineTest, APairThatWasRenamedIsStillOurs) {
  MakeBlueWithVeth();
  kernel_.RenameLinkForTest(kHost, "h0", "uplink");
  auto read = engine_->GetVeth("v");
  EXPECT_EQ(read->state, State::kDegraded);
  EXPECT_EQ(read->a.interface_name, "uplink");
  ASSERT_TRUE(DeleteVeth("v").ok());
  EXPECT_THAT(kernel_.DumpForTest(), Not(HasSubstr("uplink")));
}

TEST_F(EngineTest, APairThatSomebodyRemovedIsMissingAndCanBeDeletedOrMadeAnew) {
  MakeBlueWithVeth();
  ASSERT_TRUE(kernel_.DeleteLink(kHost, engine_->GetVeth("v")->a.ifindex).ok());
  EXPECT_EQ(engine_->GetVeth("v")->state, State::kMissing);
  ASSERT_TRUE(CreateVeth("v", HostTo("blue")).ok());
  EXPECT_EQ(engine_->GetVeth("v")->state, State::kReady);
  ASSERT_TRUE(kernel_.DeleteLink(kHost, engine_->GetVeth("v")->a.ifindex).ok());
  kernel_.AddForeignLinkForTest(kHost, "h0");
  ASSERT_TRUE(DeleteVeth("v").ok());
  EXPECT_THAT(kernel_.DumpForTest(), HasSubstr("h0")) << "another's link of the same name stays";
}

TEST_F(EngineTest, WhatIsLeftOfAPairGoesOnlyWhenTheNewOneCanBeMade) {
  MakeBlueWithVeth();
  ASSERT_TRUE(CreateNamespace("green").ok());
  // Its other end is not where it was.
  kernel_.FailNextForTest("FindLink", ENOENT);
  ASSERT_EQ(engine_->GetVeth("v")->state, State::kMissing);
  kernel_.AddForeignLinkForTest(kHost, "taken");
  const std::string before = kernel_.DumpForTest();
  VethSpec spec = HostTo("green");
  spec.a.interface_name = "taken";
  kernel_.FailNextForTest("FindLink", ENOENT);
  EXPECT_REFUSED(CreateVeth("v", spec), Reason::kInterfaceNameTaken);
  EXPECT_EQ(kernel_.DumpForTest(), before);
  EXPECT_TRUE(engine_->GetVeth("v").ok());
  // The name of the old pair itself is not in its own way.
  for (const bool validate_only : {true, false}) {
    kernel_.FailNextForTest("FindLink", ENOENT);
    auto made = CreateVeth("v", HostTo("green"), {.validate_only = validate_only});
    EXPECT_TRUE(made.ok()) << made.error().message;
  }
}

TEST_F(EngineTest, ANameThatCannotBeLookedAtIsNotSaidToBeTaken) {
  MakeBlueWithVeth();
  // Its other end is not where it was, and the one that is left cannot be told from somebody else's.
  int looks = 0;
  kernel_.SetFaultForTest([&looks](const std::string& operation) -> std::optional<KernelError> {
    if (operation != "FindLink") return std::nullopt;
    ++looks;
    if (looks == 2) return KernelError{.code = ENOENT, .operation = operation, .extack = {}};
    if (looks == 4) return KernelError{.code = ENOMEM, .operation = operation, .extack = {}};
    return std::nullopt;
  });
  auto refused = CreateVeth("v", HostTo("blue"));
  kernel_.SetFaultForTest(nullptr);
  EXPECT_REFUSED(refused, Reason::kKernel);
}

TEST_F(EngineTest, AFailedCreateIsSwept) {
  ASSERT_TRUE(CreateNamespace("blue").ok());
  const std::string before = kernel_.DumpForTest();
  // The pair was made, but the answer was lost and reading back failed.
  const NetnsRef blue{.name = "blue", .cookie = engine_->GetNamespace("blue")->cookie};
  bool first = true;
  kernel_.SetFaultForTest([&](const std::string& operation) -> std::optional<KernelError> {
    if (operation != "CreateVeth" || !std::exchange(first, false)) return std::nullopt;
    EXPECT_TRUE(kernel_.CreateVeth({.name = "h0"}, {.netns = blue, .name = "eth0"}, "").ok());
    return KernelError{.code = ETIMEDOUT, .operation = operation, .extack = {}, .may_have_effect = true};
  });
  EXPECT_REFUSED(CreateVeth("v", HostTo("blue")), Reason::kKernel);
  EXPECT_EQ(kernel_.DumpForTest(), before);

  first = true;
  kernel_.FailNextForTest("DeleteLink", ENOMEM);
  EXPECT_REFUSED(CreateVeth("v", HostTo("blue")), Reason::kRollbackFailed);
  kernel_.SetFaultForTest(nullptr);
  EXPECT_EQ(Restart().Count(Finding::Kind::kRolledBack), 1) << "the intent was kept";
  EXPECT_EQ(kernel_.DumpForTest(), before);
}

// ---- What every mutation promises

TEST_F(EngineTest, ValidateOnlyChangesNothing) {
  MakeBlueWithVeth();
  const std::string before = kernel_.DumpForTest();
  const CallContext validate{.request_id = "r", .fingerprint = "f", .validate_only = true};
  auto netns = CreateNamespace("green", validate);
  ASSERT_TRUE(netns.ok());
  EXPECT_EQ(netns->uid, "");
  auto veth = CreateVeth("w", {.a = {.interface_name = "veth%d"}, .b = {.namespace_id = "blue", .interface_name = "p"}},
                         validate);
  ASSERT_TRUE(veth.ok());
  EXPECT_EQ(veth->a.interface_name, "veth0");
  EXPECT_EQ(veth->a.ifindex, 0u);
  EXPECT_TRUE(DeleteVeth("v", validate).ok());
  EXPECT_TRUE(DeleteNamespace("blue", validate).ok());
  EXPECT_EQ(kernel_.DumpForTest(), before);
  EXPECT_FALSE(registry_->FindRequest("r")->has_value());
  EXPECT_REFUSED(engine_->GetNamespace("green"), Reason::kNamespaceNotFound);
  EXPECT_TRUE(engine_->GetVeth("v").ok());
}

TEST_F(EngineTest, ARepeatedRequestGetsTheFirstAnswer) {
  const CallContext create{.request_id = "r1", .fingerprint = "create blue"};
  const CallContext create_veth{.request_id = "r2", .fingerprint = "create v"};
  const CallContext remove{.request_id = "r3", .fingerprint = "delete blue"};
  auto netns = CreateNamespace("blue", create);
  auto veth = CreateVeth("", HostTo("blue"), create_veth);
  ASSERT_TRUE(netns.ok() && veth.ok());
  for (bool restarted : {false, true}) {
    if (restarted) Restart();
    EXPECT_EQ(CreateNamespace("blue", create)->uid, netns->uid);
    auto repeated = CreateVeth("", HostTo("blue"), create_veth);
    EXPECT_EQ(repeated->uid, veth->uid);
    EXPECT_EQ(repeated->id, veth->id);
    EXPECT_EQ(repeated->a.ifindex, veth->a.ifindex);
    EXPECT_EQ(repeated->b.mac, veth->b.mac);
  }
  EXPECT_EQ(engine_->ListVeths("", 10)->items.size(), 1u);
  ASSERT_TRUE(DeleteNamespace("blue", remove).ok());
  EXPECT_TRUE(DeleteNamespace("blue", remove).ok());
  ASSERT_TRUE(CreateNamespace("blue").ok());
  Restart();
  EXPECT_TRUE(DeleteNamespace("blue", remove).ok());
  EXPECT_TRUE(engine_->GetNamespace("blue").ok()) << "the repeat of a delete must not delete what came after it";
  EXPECT_EQ(CreateNamespace("blue", create)->uid, netns->uid) << "the first answer, though another is there now";
}

TEST_F(EngineTest, ARequestIdBelongsToOneRequest) {
  ASSERT_TRUE(CreateNamespace("blue", {.request_id = "r", .fingerprint = "create blue"}).ok());
  const CallContext reused{.request_id = "r", .fingerprint = "another"};
  EXPECT_REFUSED(CreateNamespace("green", reused), Reason::kRequestIdReused);
  EXPECT_REFUSED(DeleteNamespace("blue", reused), Reason::kRequestIdReused);
  EXPECT_REFUSED(CreateVeth("v", HostTo("blue"), reused), Reason::kRequestIdReused);
  EXPECT_REFUSED(DeleteVeth("v", reused), Reason::kRequestIdReused);
}

TEST_F(EngineTest, AFailedRequestIsNotRemembered) {
  const CallContext context{.request_id = "r", .fingerprint = "create blue"};
  kernel_.FailNextForTest("CreateNetns", ENOSPC);
  EXPECT_REFUSED(CreateNamespace("blue", context), Reason::kKernel);
  EXPECT_TRUE(CreateNamespace("blue", context).ok());
}

TEST_F(EngineTest, AllowedAnswersAreRememberedToo) {
  ASSERT_TRUE(CreateNamespace("blue").ok());
  const CallContext create{.request_id = "r1", .fingerprint = "f1"};
  const CallContext remove{.request_id = "r2", .fingerprint = "f2"};
  auto existing = CreateNamespace("blue", create, /*allow_existing=*/true);
  ASSERT_TRUE(existing.ok());
  ASSERT_TRUE(DeleteNamespace("green", remove, /*allow_missing=*/true).ok());
  ASSERT_TRUE(DeleteNamespace("blue").ok());
  ASSERT_TRUE(CreateNamespace("green").ok());
  EXPECT_EQ(CreateNamespace("blue", create, true)->uid, existing->uid);
  ASSERT_TRUE(DeleteNamespace("green", remove, true).ok());
  EXPECT_TRUE(engine_->GetNamespace("green").ok());
}

TEST_F(EngineTest, AnAnswerIsRememberedAsItWas) {
  MakeBlueWithVeth();
  const CallContext netns{.request_id = "r1", .fingerprint = "f1"};
  const CallContext veth{.request_id = "r2", .fingerprint = "f2"};
  kernel_.SetLinkForTest({.name = "blue", .cookie = engine_->GetNamespace("blue")->cookie}, "lo", {.up = false});
  kernel_.SetLinkForTest(kHost, "h0", {.mtu = 1300});
  auto first_netns = CreateNamespace("blue", netns, /*allow_existing=*/true);
  auto first_veth = CreateVeth("v", HostTo("blue"), veth, /*allow_existing=*/true);
  ASSERT_TRUE(first_netns.ok());
  ASSERT_TRUE(first_veth.ok());
  ASSERT_EQ(first_netns->state, State::kDegraded);
  ASSERT_EQ(first_veth->state, State::kDegraded);
  ASSERT_TRUE(DeleteNamespace("blue").ok());
  auto netns_again = CreateNamespace("blue", netns, /*allow_existing=*/true);
  auto veth_again = CreateVeth("v", HostTo("blue"), veth, /*allow_existing=*/true);
  EXPECT_EQ(netns_again->state, State::kDegraded);
  EXPECT_EQ(netns_again->deviations, first_netns->deviations);
  EXPECT_EQ(veth_again->state, State::kDegraded);
  EXPECT_EQ(veth_again->deviations, first_veth->deviations);
}

TEST_F(EngineTest, ACallerThatGaveUpChangesNothing) {
  MakeBlueWithVeth();
  const std::string before = kernel_.DumpForTest();
  const CallContext stopped{.stopped = [] { return true; }};
  EXPECT_REFUSED(CreateNamespace("green", stopped), Reason::kStopped);
  EXPECT_REFUSED(CreateVeth("w", {.a = {.interface_name = "a"}, .b = {.interface_name = "b"}}, stopped),
                 Reason::kStopped);
  EXPECT_REFUSED(DeleteVeth("v", stopped), Reason::kStopped);
  EXPECT_REFUSED(DeleteNamespace("blue", stopped), Reason::kStopped);
  EXPECT_EQ(kernel_.DumpForTest(), before);
}

// Fails each kernel operation of a call in turn, until the call gets through: whatever fails, nothing is left.
TEST_F(EngineTest, WhateverFailsNothingIsLeft) {
  MakeBlueWithVeth();
  struct Case {
    const char* name;
    std::function<bool()> call;
    std::function<void()> undo;
  };
  const std::vector<Case> cases = {
      {"CreateNamespace", [&] { return CreateNamespace("green").ok(); },
       [&] { EXPECT_TRUE(DeleteNamespace("green").ok()); }},
      {"CreateVeth",
       [&] {
         return CreateVeth("w",
                           {.a = {.interface_name = "veth%d"}, .b = {.namespace_id = "blue", .interface_name = "p"}})
             .ok();
       },
       [&] { EXPECT_TRUE(DeleteVeth("w").ok()); }},
  };
  for (const Case& test : cases) {
    const std::string before = kernel_.DumpForTest();
    for (int point = 0;; ++point) {
      int operation = 0;
      bool failed = false;
      kernel_.SetFaultForTest([&](const std::string& name) -> std::optional<KernelError> {
        if (operation++ != point) return std::nullopt;
        failed = true;
        return KernelError{.code = ENOMEM, .operation = name, .extack = {}};
      });
      const bool ok = test.call();
      kernel_.SetFaultForTest(nullptr);
      if (!failed) {
        EXPECT_TRUE(ok) << test.name;
        EXPECT_GT(point, 1) << "the fault was never injected";
        break;
      }
      EXPECT_FALSE(ok) << test.name << " " << point;
      EXPECT_EQ(kernel_.DumpForTest(), before) << test.name << " " << point;
      EXPECT_THAT(registry_->ListPending(), IsEmpty()) << test.name << " " << point;
    }
    test.undo();
    EXPECT_EQ(kernel_.DumpForTest(), before);
  }
}

TEST_F(EngineTest, AKernelErrorNamesTheStepAndCarriesTheKernelsWords) {
  ASSERT_TRUE(CreateNamespace("blue").ok());
  kernel_.FailNextForTest("CreateVeth", ERANGE, "too many");
  auto refused = CreateVeth("v", HostTo("blue"));
  EXPECT_REFUSED(refused, Reason::kKernel);
  EXPECT_EQ(refused.error().step, "create veth h0 <-> eth0");
  EXPECT_EQ(refused.error().kernel->code, ERANGE);
  EXPECT_EQ(refused.error().kernel->extack, "too many");
  EXPECT_EQ(refused.error().object, "veths/v");
}

TEST_F(EngineTest, ADeleteThatFailsHalfWaySaysWhatIsLeftAndCanBeRepeated) {
  const std::string before = kernel_.DumpForTest();
  MakeBlueWithVeth();
  kernel_.FailNextForTest("RemoveNetns", EBUSY);
  auto refused = DeleteNamespace("blue");
  EXPECT_REFUSED(refused, Reason::kRollbackFailed);
  EXPECT_THAT(refused.error().residue, HasSubstr("'delete the links of namespace blue' is done for good"));
  EXPECT_EQ(engine_->GetNamespace("blue")->state, State::kReady);
  EXPECT_EQ(engine_->GetVeth("v")->state, State::kMissing);
  // Somebody goes on with what is left, and a restart must not take it from him.
  ASSERT_TRUE(CreateVeth("w", HostTo("blue")).ok());
  EXPECT_EQ(Restart().Count(Finding::Kind::kCompleted), 0);
  EXPECT_EQ(engine_->GetVeth("w")->state, State::kReady);
  ASSERT_TRUE(DeleteNamespace("blue").ok());
  EXPECT_EQ(kernel_.DumpForTest(), before);
  EXPECT_REFUSED(engine_->GetVeth("v"), Reason::kVethNotFound);
}

// While it lives, files of this process cannot be written, as on a full disk.
class FullDisk {
 public:
  FullDisk() {
    std::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit none{.rlim_cur = 0, .rlim_max = before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &none);
  }
  ~FullDisk() { ::setrlimit(RLIMIT_FSIZE, &before_); }
  FullDisk(const FullDisk&) = delete;
  FullDisk& operator=(const FullDisk&) = delete;

 private:
  rlimit before_;
};

TEST_F(EngineTest, AnIntentThatCannotBeWithdrawnIsSaid) {
  MakeBlueWithVeth();
  std::unique_ptr<FullDisk> full;
  kernel_.SetFaultForTest([&](const std::string& name) -> std::optional<KernelError> {
    if (name != "DeleteLinksInside") return std::nullopt;
    full = std::make_unique<FullDisk>();
    return KernelError{.code = ENOMEM, .operation = name, .extack = {}};
  });
  auto refused = DeleteNamespace("blue");
  full.reset();
  kernel_.SetFaultForTest(nullptr);
  EXPECT_REFUSED(refused, Reason::kRollbackFailed);
  EXPECT_THAT(refused.error().residue, HasSubstr("the intent could not be withdrawn"));
  EXPECT_EQ(refused.error().kernel->code, ENOMEM);
  EXPECT_EQ(Restart().Count(Finding::Kind::kCompleted), 1) << "as was said";
}

TEST_F(EngineTest, AnUpdateDoesNotCompleteADeletion) {
  MakeBlueWithVeth();
  std::unique_ptr<FullDisk> full;
  kernel_.SetFaultForTest([&](const std::string& name) -> std::optional<KernelError> {
    if (name != "DeleteLink") return std::nullopt;
    full = std::make_unique<FullDisk>();
    return KernelError{.code = ENOMEM, .operation = name, .extack = {}};
  });
  auto refused = DeleteVeth("v");
  full.reset();
  kernel_.SetFaultForTest(nullptr);
  EXPECT_REFUSED(refused, Reason::kRollbackFailed);
  auto label = [](const Asked<VethSpec>& present) -> netprov::Result<Asked<VethSpec>, std::vector<InvalidField>> {
    Asked<VethSpec> asked = present;
    asked.metadata.labels["a"] = "b";
    return asked;
  };
  auto updated = engine_->UpdateVeth({.context = {}, .id = "v", .edit = label, .bridges = {}});
  ASSERT_TRUE(updated.ok()) << updated.error().message;
  EXPECT_EQ(updated->state, State::kReady);
  EXPECT_EQ(Restart().Count(Finding::Kind::kCompleted), 1);
  EXPECT_REFUSED(engine_->GetVeth("v"), Reason::kVethNotFound);
}

TEST_F(EngineTest, APairIsNotMadeUnderAnIntentThatCannotBeWithdrawn) {
  ASSERT_TRUE(CreateNamespace("blue").ok());
  const std::string before = kernel_.DumpForTest();
  std::unique_ptr<FullDisk> full;
  int looks = 0;
  kernel_.SetFaultForTest([&](const std::string& name) -> std::optional<KernelError> {
    // A look at who has the name would be for the next attempt.
    if (name == "FindLink" && ++looks == 1) full.reset();
    if (name != "CreateVeth" || full != nullptr) return std::nullopt;
    full = std::make_unique<FullDisk>();
    return KernelError{.code = EEXIST, .operation = name, .extack = {}};
  });
  // The name is free again at once: a second attempt would succeed, and Recover() take it for the first.
  auto made = CreateVeth("v", HostTo("blue"));
  full.reset();
  kernel_.SetFaultForTest(nullptr);
  EXPECT_REFUSED(made, Reason::kRollbackFailed);
  EXPECT_EQ(Restart().Count(Finding::Kind::kRolledBack), 1);
  EXPECT_EQ(kernel_.DumpForTest(), before);
}

// ---- Recovery: the process dies after an operation of the kernel, before the outcome is written.

TEST_F(EngineTest, AnUnfinishedCreateIsRolledBack) {
  const std::string empty = kernel_.DumpForTest();
  auto netns = registry_->Begin(
      {.kind = Intent::Kind::kCreateNamespace, .netns = {.id = "blue", .uid = "u", .boot_id = kernel_.BootId()}});
  ASSERT_TRUE(netns.ok());
  ASSERT_TRUE(kernel_.CreateNetns("blue", TagOf(registry_->id(), "u", "namespaces/blue"), {}).ok());
  EXPECT_EQ(Restart().Count(Finding::Kind::kRolledBack), 1);
  EXPECT_EQ(kernel_.DumpForTest(), empty);

  ASSERT_TRUE(CreateNamespace("blue").ok());
  const std::string before = kernel_.DumpForTest();
  const NetnsRef blue{.name = "blue", .cookie = engine_->GetNamespace("blue")->cookie};
  for (const std::string& alias : {std::string(), TagOf(registry_->id(), "u", "veths/v")}) {
    ASSERT_TRUE(registry_
                    ->Begin({.kind = Intent::Kind::kCreateVeth,
                             .veth = {.id = "v",
                                      .uid = "u",
                                      .boot_id = kernel_.BootId(),
                                      .a = {.interface_name = "h0"},
                                      .b = {.namespace_id = "blue", .interface_name = "eth0"}}})
                    .ok());
    ASSERT_TRUE(kernel_.CreateVeth({.name = "h0"}, {.netns = blue, .name = "eth0"}, alias).ok());
    EXPECT_EQ(Restart().Count(Finding::Kind::kRolledBack), 1);
    EXPECT_EQ(kernel_.DumpForTest(), before);
  }
  EXPECT_THAT(registry_->ListPending(), IsEmpty());
}

TEST_F(EngineTest, AnUnfinishedPairIsRolledBackUnderAnyName) {
  ASSERT_TRUE(CreateNamespace("blue").ok());
  const std::string before = kernel_.DumpForTest();
  const NetnsRef blue{.name = "blue", .cookie = engine_->GetNamespace("blue")->cookie};
  ASSERT_TRUE(registry_
                  ->Begin({.kind = Intent::Kind::kCreateVeth,
                           .veth = {.id = "v",
                                    .uid = kSomeUid,
                                    .boot_id = kernel_.BootId(),
                                    .a = {.interface_name = "h0"},
                                    .b = {.namespace_id = "blue", .interface_name = "eth0"}}})
                  .ok());
  ASSERT_TRUE(
      kernel_.CreateVeth({.name = "h0"}, {.netns = blue, .name = "eth0"}, TagOf(registry_->id(), kSomeUid, "veths/v"))
          .ok());
  kernel_.RenameLinkForTest(kHost, "h0", "uplink");
  kernel_.RenameLinkForTest(blue, "eth0", "downlink");
  EXPECT_EQ(Restart().Count(Finding::Kind::kRolledBack), 1);
  EXPECT_EQ(kernel_.DumpForTest(), before);
}

TEST_F(EngineTest, AnIntentThatWasNotBegunIsForgotten) {
  ASSERT_TRUE(registry_
                  ->Begin({.kind = Intent::Kind::kCreateNamespace,
                           .netns = {.id = "blue", .uid = "u", .boot_id = kernel_.BootId()}})
                  .ok());
  EXPECT_EQ(Restart().Count(Finding::Kind::kRolledBack), 1);
  EXPECT_TRUE(CreateNamespace("blue").ok());
}

TEST_F(EngineTest, RollingBackNeverTouchesAnothers) {
  for (const char* id : {"foreign", "stale", "full"}) {
    ASSERT_TRUE(registry_
                    ->Begin({.kind = Intent::Kind::kCreateNamespace,
                             .netns = {.id = id, .uid = "u", .boot_id = kernel_.BootId()}})
                    .ok());
  }
  kernel_.AddForeignNetnsForTest("foreign");
  kernel_.AddStaleFileForTest("stale", /*empty=*/true);
  kernel_.AddStaleFileForTest("full", /*empty=*/false);
  ASSERT_TRUE(registry_
                  ->Begin({.kind = Intent::Kind::kCreateVeth,
                           .veth = {.id = "v",
                                    .uid = "u",
                                    .boot_id = kernel_.BootId(),
                                    .a = {.interface_name = "h0"},
                                    .b = {.interface_name = "h1"}}})
                  .ok());
  kernel_.AddForeignLinkForTest(kHost, "h0");
  ASSERT_TRUE(kernel_.CreateVeth({.name = "h1"}, {.name = "h2"}, "netprov:another:veths/w").ok());
  Restart();
  EXPECT_THAT(*kernel_.ListNetns(), ElementsAre("foreign", "full")) << "an empty file is what our own half-made one is";
  for (const char* name : {"h0", "h1", "h2"}) EXPECT_TRUE((*kernel_.FindLink(kHost, std::string(name))).has_value());
}

TEST_F(EngineTest, AFailedCreateSparesAPairThatLostItsTags) {
  MakeBlueWithVeth();
  const NetnsRef blue{.name = "blue", .cookie = engine_->GetNamespace("blue")->cookie};
  kernel_.SetLinkForTest(kHost, "h0", {.alias = ""});
  kernel_.SetLinkForTest(blue, "eth0", {.alias = ""});
  // The same names, and nobody says that they are taken.
  kernel_.FailNextForTest("CreateVeth", ENOBUFS);
  EXPECT_REFUSED(CreateVeth("w", HostTo("blue")), Reason::kKernel);
  EXPECT_EQ(engine_->GetVeth("v")->state, State::kDegraded);
  // In a recovery neither.
  VethRecord record{.id = "w", .uid = kSomeUid, .boot_id = kernel_.BootId(), .spec = HostTo("blue")};
  record.a = {.interface_name = "h0"};
  record.b = {.namespace_id = "blue", .interface_name = "eth0"};
  ASSERT_TRUE(registry_->Begin({.kind = Intent::Kind::kCreateVeth, .netns = {}, .veth = record}).ok());
  Restart();
  EXPECT_EQ(engine_->GetVeth("v")->state, State::kDegraded);
}

TEST_F(EngineTest, AnUnfinishedDeleteIsCompleted) {
  const std::string empty = kernel_.DumpForTest();
  MakeBlueWithVeth();
  ASSERT_TRUE(registry_->Begin({.kind = Intent::Kind::kDeleteVeth, .veth = *registry_->FindVeth("v")}).ok());
  EXPECT_EQ(Restart().Count(Finding::Kind::kCompleted), 1);
  EXPECT_REFUSED(engine_->GetVeth("v"), Reason::kVethNotFound);
  ASSERT_TRUE(CreateVeth("v", HostTo("blue")).ok());
  ASSERT_TRUE(
      registry_->Begin({.kind = Intent::Kind::kDeleteNamespace, .netns = *registry_->FindNamespace("blue")}).ok());
  EXPECT_EQ(Restart().Count(Finding::Kind::kCompleted), 1);
  EXPECT_EQ(kernel_.DumpForTest(), empty);
  EXPECT_EQ(Restart().Count(Finding::Kind::kCompleted), 0);
}

TEST_F(EngineTest, ADeleteThatRecoveryCompletedIsAnsweredWhenItIsRepeated) {
  MakeBlueWithVeth();
  const CallContext of_veth{.request_id = "r1", .fingerprint = std::string("\0\xff", 2)};
  const CallContext of_namespace{.request_id = "r2", .fingerprint = "f"};
  // As written before the first change. The calls then fail, which takes the intents back.
  std::vector<PendingIntent> written;
  kernel_.SetFaultForTest([&](const std::string& operation) -> std::optional<KernelError> {
    if (operation != "DeleteLink" && operation != "DeleteLinksInside") return std::nullopt;
    written.push_back(registry_->ListPending().back());
    return KernelError{.code = EIO, .operation = operation, .extack = {}};
  });
  EXPECT_REFUSED(DeleteVeth("v", of_veth), Reason::kKernel);
  EXPECT_REFUSED(DeleteNamespace("blue", of_namespace), Reason::kKernel);
  kernel_.SetFaultForTest(nullptr);
  ASSERT_EQ(written.size(), 2u);
  for (const PendingIntent& pending : written) ASSERT_TRUE(registry_->Begin(pending.intent).ok());
  EXPECT_EQ(Restart().Count(Finding::Kind::kCompleted), 2);

  EXPECT_TRUE(DeleteVeth("v", of_veth).ok());
  EXPECT_TRUE(DeleteNamespace("blue", of_namespace).ok());
  EXPECT_REFUSED(DeleteVeth("v"), Reason::kVethNotFound);
  EXPECT_REFUSED(DeleteNamespace("blue", {.request_id = "r2", .fingerprint = "another"}), Reason::kRequestIdReused);
}

TEST_F(EngineTest, ADeleteThatWasCompletedAfterACrashIsAnsweredToo) {
  MakeBlueWithVeth();
  // Bytes that are no text.
  const CallContext veth{.request_id = "r1", .fingerprint = "delete \xff v"};
  const CallContext netns{.request_id = "r2", .fingerprint = "delete blue"};
  const RequestRecord veth_answer{.request_id = veth.request_id, .fingerprint = veth.fingerprint};
  const RequestRecord netns_answer{.request_id = netns.request_id, .fingerprint = netns.fingerprint};
  ASSERT_TRUE(
      registry_->Begin({.kind = Intent::Kind::kDeleteVeth, .veth = *registry_->FindVeth("v"), .request = veth_answer})
          .ok());
  ASSERT_TRUE(registry_
                  ->Begin({.kind = Intent::Kind::kDeleteNamespace,
                           .netns = *registry_->FindNamespace("blue"),
                           .request = netns_answer})
                  .ok());
  EXPECT_EQ(Restart().Count(Finding::Kind::kCompleted), 2);
  // The callers ask again, as their answers were lost.
  EXPECT_TRUE(DeleteVeth("v", veth).ok());
  EXPECT_TRUE(DeleteNamespace("blue", netns).ok());
  EXPECT_REFUSED(DeleteVeth("v", {.request_id = "r1", .fingerprint = "delete v"}), Reason::kRequestIdReused);
}

TEST_F(EngineTest, AnOldDeleteDoesNotTouchWhatWasMadeSince) {
  MakeBlueWithVeth();
  ASSERT_TRUE(registry_->Begin({.kind = Intent::Kind::kDeleteVeth, .veth = *registry_->FindVeth("v")}).ok());
  ASSERT_TRUE(
      registry_->Begin({.kind = Intent::Kind::kDeleteNamespace, .netns = *registry_->FindNamespace("blue")}).ok());
  // The caller tries again, and goes on.
  ASSERT_TRUE(DeleteNamespace("blue").ok());
  MakeBlueWithVeth();
  const std::string before = kernel_.DumpForTest();
  Restart();
  EXPECT_EQ(kernel_.DumpForTest(), before);
  EXPECT_EQ(engine_->GetVeth("v")->state, State::kReady);
  EXPECT_THAT(registry_->ListPending(), IsEmpty());
}

TEST_F(EngineTest, WhatRecoveryCannotDoIsReportedAndTriedAgain) {
  MakeBlueWithVeth();
  ASSERT_TRUE(registry_->Begin({.kind = Intent::Kind::kDeleteVeth, .veth = *registry_->FindVeth("v")}).ok());
  kernel_.FailNextForTest("FindLink", ENOMEM);
  const HostReport report = Restart();
  EXPECT_EQ(report.Count(Finding::Kind::kCompleted), 0);
  EXPECT_EQ(report.Count(Finding::Kind::kUnfinished), 1);
  EXPECT_EQ(report.findings[0].resource, "veths/v");
  EXPECT_THAT(report.findings[0].detail, HasSubstr("delete veth v failed"));
  EXPECT_EQ(Restart().Count(Finding::Kind::kCompleted), 1);
}

TEST_F(EngineTest, ACheckFinishesWhatWasLeft) {
  MakeBlueWithVeth();
  const std::string before = kernel_.DumpForTest();
  // The pair cannot be tagged, and not be deleted again either.
  kernel_.SetFaultForTest([](const std::string& operation) -> std::optional<KernelError> {
    if (operation != "CreateVeth") return std::nullopt;
    return KernelError{.code = ENOMEM, .operation = operation, .extack = {}, .may_have_effect = true};
  });
  kernel_.FailNextForTest("FindLink", ENOMEM);
  VethSpec spec = HostTo("blue");
  spec.a.interface_name = "h1";
  spec.b.interface_name = "eth1";
  EXPECT_REFUSED(CreateVeth("w", spec), Reason::kRollbackFailed);
  kernel_.SetFaultForTest(nullptr);
  auto looked = engine_->CheckHost(engine_->PlanCheck(/*validate_only=*/true));
  ASSERT_TRUE(looked.ok());
  EXPECT_EQ(looked->Count(Finding::Kind::kUnfinished), 1);
  EXPECT_THAT(registry_->ListPending(), SizeIs(1));
  const CheckHostCall check = engine_->PlanCheck(/*validate_only=*/false);
  EXPECT_THAT(engine_->Keys(check), IsSupersetOf({"host", "namespaces/blue", "veths/w"}));
  auto checked = engine_->CheckHost(check);
  ASSERT_TRUE(checked.ok());
  EXPECT_EQ(checked->Count(Finding::Kind::kRolledBack), 1);
  EXPECT_EQ(checked->objects, 2);
  EXPECT_THAT(registry_->ListPending(), IsEmpty());
  EXPECT_EQ(kernel_.DumpForTest(), before);
  EXPECT_EQ(engine_->GetHostReport().findings, checked->findings);
  EXPECT_FALSE(engine_->GetHostReport().at_start);
}

TEST_F(EngineTest, ACheckDoesNotSayThatWhatItDeletedWasRestored) {
  Metadata persistent;
  persistent.persistent = true;
  ASSERT_TRUE(engine_->CreateNamespace({.id = "blue", .metadata = persistent}).ok());
  kernel_.RebootForTest();
  kernel_.FailNextForTest("CreateNetns", ENOMEM);
  EXPECT_EQ(Restart().Count(Finding::Kind::kNotRestored), 1);
  auto sequence =
      registry_->Begin({.kind = Intent::Kind::kDeleteNamespace, .netns = *registry_->FindNamespace("blue")});
  ASSERT_TRUE(sequence.ok());
  CheckHostCall call = engine_->PlanCheck(/*validate_only=*/false);
  call.unfinished = {*sequence};
  auto report = engine_->CheckHost(call);
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->Count(Finding::Kind::kCompleted), 1);
  EXPECT_EQ(report->Count(Finding::Kind::kRestored), 0);
}

TEST_F(EngineTest, ACheckDoesNotMistakeWhatIsUnderWay) {
  // As a call on another thread would have it just now.
  ASSERT_TRUE(registry_
                  ->Begin({.kind = Intent::Kind::kCreateNamespace,
                           .netns = {.id = "blue", .uid = kSomeUid, .boot_id = kernel_.BootId()}})
                  .ok());
  ASSERT_TRUE(kernel_.CreateNetns("blue", TagOf(registry_->id(), kSomeUid, "namespaces/blue"), {}).ok());
  auto checked = engine_->CheckHost({});
  ASSERT_TRUE(checked.ok());
  EXPECT_THAT(checked->findings, IsEmpty());
  EXPECT_TRUE((*kernel_.FindNetns("blue")).has_value());
  EXPECT_THAT(registry_->ListPending(), SizeIs(1));
}

// ---- Orphans

TEST_F(EngineTest, OrphansOfOursAreRemovedAndOthersLeftAlone) {
  MakeBlueWithVeth();
  const NetnsRef blue{.name = "blue", .cookie = engine_->GetNamespace("blue")->cookie};
  ASSERT_TRUE(kernel_.CreateNetns("others", TagOf(kSomeUid, kSomeUid, "namespaces/others"), {}).ok());
  ASSERT_TRUE(kernel_.CreateVeth({.name = "o0"}, {.name = "o1"}, TagOf(kSomeUid, kSomeUid, "veths/o")).ok());
  ASSERT_TRUE(kernel_.CreateVeth({.name = "u0"}, {.name = "u1"}, "").ok());
  kernel_.AddForeignNetnsForTest("foreign");
  kernel_.AddStaleFileForTest("stale");
  const std::string before = kernel_.DumpForTest();
  const std::string orphan = TagOf(registry_->id(), kSomeUid, "namespaces/lost");
  auto lost = kernel_.CreateNetns("lost", orphan, {});
  ASSERT_TRUE(lost.ok());
  const NetnsRef in_lost{.name = "lost", .cookie = *lost};
  ASSERT_TRUE(kernel_.CreateVeth({.name = "l0"}, {.netns = in_lost, .name = "l1"}, "").ok());
  ASSERT_TRUE(kernel_
                  .CreateVeth({.netns = blue, .name = "m0"}, {.netns = blue, .name = "m1"},
                              TagOf(registry_->id(), kSomeUid, "veths/lost"))
                  .ok());

  auto looked = engine_->CheckHost({.validate_only = true});
  ASSERT_TRUE(looked.ok());
  EXPECT_GE(looked->Count(Finding::Kind::kOrphan), 2);
  EXPECT_NE(kernel_.DumpForTest(), before);

  const HostReport report = Restart();
  EXPECT_EQ(report.Count(Finding::Kind::kOrphanRemoved), 2);
  EXPECT_EQ(report.Count(Finding::Kind::kStaleFile), 1);
  // The namespace, both ends of the pair with another's tag, both of that with none.
  EXPECT_EQ(report.Count(Finding::Kind::kForeignTag), 5);
  EXPECT_EQ(report.Count(Finding::Kind::kMissing), 0);
  EXPECT_EQ(kernel_.DumpForTest(), before);
}

// It has no tag, so it would be taken for somebody's.
TEST_F(EngineTest, TheFileOfAnOrphanWhoseRemovalWasCutShortGoesToo) {
  const std::string before = kernel_.DumpForTest();
  for (const bool killed : {true, false}) {
    ASSERT_TRUE(kernel_.CreateNetns("lost", TagOf(registry_->id(), kSomeUid, "namespaces/lost"), {}).ok());
    // The name is gone, its file is there, and nothing works any more.
    bool cut = false;
    kernel_.SetFaultForTest([this, &cut](const std::string& operation) {
      if (operation == "RemoveNetns") {
        cut = true;
        kernel_.RemoveForeignNetnsForTest("lost");
        kernel_.AddStaleFileForTest("lost");
      }
      return cut ? std::optional(
                       KernelError{.code = EIO, .operation = operation, .extack = {}, .may_have_effect = true})
                 : std::nullopt;
    });
    (void)engine_->CheckHost({});
    kernel_.SetFaultForTest(nullptr);
    EXPECT_NE(kernel_.DumpForTest(), before);
    const HostReport report = killed ? Restart() : *engine_->CheckHost(engine_->PlanCheck(/*validate_only=*/false));
    EXPECT_EQ(report.Count(Finding::Kind::kRolledBack), 1);
    EXPECT_EQ(report.Count(Finding::Kind::kStaleFile), 0);
    EXPECT_EQ(kernel_.DumpForTest(), before);
  }
}

TEST_F(EngineTest, AnOrphanThatCannotBeLookedAtIsReported) {
  ASSERT_TRUE(kernel_.CreateVeth({.name = "m0"}, {.name = "m1"}, TagOf(registry_->id(), kSomeUid, "veths/lost")).ok());
  kernel_.FailNextForTest("FindLink", ENOMEM);
  kernel_.FailNextForTest("FindLink", ENOMEM);
  EXPECT_EQ(Restart().Count(Finding::Kind::kOrphan), 2);
  EXPECT_EQ(Restart().Count(Finding::Kind::kOrphanRemoved), 1);
}

// One that nobody lets us enter is another's; of any other it is not known whose it is.
TEST_F(EngineTest, ACheckSaysWhichNamespacesItCouldNotLookAt) {
  kernel_.AddForeignNetnsForTest("another");
  for (const bool look_only : {true, false}) {
    kernel_.FailNextForTest("FindNetns", EPERM);
    EXPECT_THAT(engine_->CheckHost({.validate_only = look_only})->findings, IsEmpty());
    kernel_.FailNextForTest("FindNetns", EMFILE);
    const auto report = engine_->CheckHost({.validate_only = look_only});
    ASSERT_TRUE(report.ok());
    ASSERT_THAT(report->findings, SizeIs(1));
    EXPECT_EQ(report->findings[0].kind, Finding::Kind::kUnreadable);
    EXPECT_EQ(report->findings[0].resource, "namespaces/another");
  }
}

TEST_F(EngineTest, ACheckSaysWhereItCouldNotLookForRoutes) {
  kernel_.FailNextForTest("ListRoutesWithoutLink", ENOBUFS);
  const auto report = engine_->CheckHost({.validate_only = true});
  ASSERT_THAT(report->findings, SizeIs(1));
  EXPECT_EQ(report->findings[0].kind, Finding::Kind::kUnreadable);
  EXPECT_EQ(report->findings[0].resource, "host");
}

TEST_F(EngineTest, WhatACheckCouldNotLookAtTwiceIsReportedAsItWasFirst) {
  kernel_.AddStaleFileForTest("stale");
  ASSERT_TRUE(kernel_.CreateVeth({.name = "u0"}, {.name = "u1"}, "").ok());
  int looks = 0;
  kernel_.SetFaultForTest([&looks](const std::string& operation) {
    const bool fails = operation == "FindLink" || (operation == "FindNetns" && ++looks == 2);
    return fails ? std::optional(KernelError{.code = ENOMEM, .operation = operation, .extack = {}}) : std::nullopt;
  });
  const auto report = engine_->CheckHost({.validate_only = true});
  kernel_.SetFaultForTest(nullptr);
  EXPECT_EQ(report->Count(Finding::Kind::kStaleFile), 1);
  EXPECT_EQ(report->Count(Finding::Kind::kForeignTag), 2);
}

TEST_F(EngineTest, ANamespaceOfOursUnderASecondNameIsNoOrphan) {
  MakeBlueWithVeth();
  ASSERT_TRUE(
      kernel_.CreateNetns("second", TagOf(registry_->id(), engine_->GetNamespace("blue")->uid, "namespaces/blue"), {})
          .ok());
  const HostReport report = Restart();
  ASSERT_THAT(report.findings, SizeIs(1));
  EXPECT_EQ(report.findings[0].kind, Finding::Kind::kForeignTag);
  EXPECT_EQ(report.findings[0].resource, "namespaces/second");
  EXPECT_TRUE((*kernel_.FindNetns("second")).has_value());
}

// ---- Drift and healing

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

// ---- Addresses, routes and what else an end has

netlink::IpAddress Ip(const char* text) { return *netlink::IpAddress::Parse(text); }

RouteSpec RouteTo(const char* destination, RouteType type = RouteType::kUnicast) {
  return {.destination = *netlink::IpPrefix::Parse(destination), .type = type, .gateway = {}, .preferred_source = {}};
}

// Of everything something, for the end in the namespace.
EndpointConfig FullConfig() {
  EndpointConfig config;
  config.options.promiscuous = true;
  config.options.limits.gso_max_size = 20000;
  config.alternative_names = {"other-name"};
  config.gateways = {Ip("10.0.0.1")};
  config.ip.addresses = {{.local = *netlink::IpPrefix::Parse("10.0.0.2/24"), .peer = std::nullopt}};
  config.ip.neighbours = {{.address = Ip("10.0.0.1"), .mac = {{2, 0, 0, 0, 0, 1}}}};
  config.ip.routes = {RouteTo("10.1.0.0/16"), RouteTo("10.9.0.0/16", RouteType::kBlackhole)};
  return config;
}

TEST_F(EngineTest, AnEndHasAllThatWasAskedFor) {
  ASSERT_TRUE(CreateNamespace("blue").ok());
  const std::string before = kernel_.DumpForTest();
  VethSpec spec = HostTo("blue");
  spec.b.config = FullConfig();
  auto made = CreateVeth("v", spec);
  ASSERT_TRUE(made.ok()) << made.error().message;
  EXPECT_EQ(made->b.config, FullConfig());
  Restart();
  const Veth veth = *engine_->GetVeth("v");
  EXPECT_EQ(veth.state, State::kReady) << ToText(veth.deviations);
  EXPECT_EQ(veth.b.config, FullConfig());
  EXPECT_EQ(veth.a.config, EndpointConfig());
  EXPECT_TRUE(CreateVeth("v", spec, {}, /*allow_existing=*/true).ok());
  spec.b.config.gateways.clear();
  EXPECT_REFUSED(CreateVeth("v", spec, {}, /*allow_existing=*/true), Reason::kVethAlreadyExists);
  ASSERT_TRUE(DeleteVeth("v").ok());
  EXPECT_EQ(kernel_.DumpForTest(), before);
}

TEST_F(EngineTest, WhereAnyStepFailsNothingOfTheConfigIsLeft) {
  ASSERT_TRUE(CreateNamespace("blue").ok());
  VethSpec spec = HostTo("blue");
  spec.a.config.ip.routes = {RouteTo("10.8.0.0/16", RouteType::kProhibit)};
  spec.b.config = FullConfig();
  const std::string before = kernel_.DumpForTest();
  for (const char* operation : {"Configure", "AddRoutes"}) {
    kernel_.FailNextForTest(operation, EINVAL, "because");
    auto refused = CreateVeth("v", spec);
    EXPECT_REFUSED(refused, Reason::kKernel);
    EXPECT_EQ(refused.error().kernel->extack, "because");
    EXPECT_EQ(kernel_.DumpForTest(), before);
    EXPECT_THAT(registry_->ListPending(), IsEmpty());
  }
  // Half way within a step: the gateway is out of reach.
  VethSpec unreachable = spec;
  unreachable.b.config.gateways = {Ip("192.0.2.1")};
  auto refused = CreateVeth("v", unreachable);
  EXPECT_REFUSED(refused, Reason::kKernel);
  EXPECT_EQ(refused.error().step, "configure eth0");
  EXPECT_EQ(kernel_.DumpForTest(), before);
  ASSERT_TRUE(CreateVeth("v", spec).ok());
  const std::string with_v = kernel_.DumpForTest();
  VethSpec second = {.a = {.interface_name = "h1"}, .b = {.namespace_id = "blue", .interface_name = "eth1"}};
  second.b.config.ip.routes = {RouteTo("10.9.0.0/16", RouteType::kBlackhole)};
  refused = CreateVeth("w", second);
  EXPECT_REFUSED(refused, Reason::kKernel);
  EXPECT_EQ(refused.error().kernel->code, EEXIST);
  EXPECT_EQ(kernel_.DumpForTest(), with_v) << "the first pair's route stays";
  ASSERT_TRUE(DeleteVeth("v").ok());
  EXPECT_EQ(kernel_.DumpForTest(), before);
}

TEST_F(EngineTest, AMissingPairsRouteWithoutALinkIsNotInTheWayOfItsSuccessor) {
  ASSERT_TRUE(CreateNamespace("blue").ok());
  const NetnsRef blue{.name = "blue", .cookie = engine_->GetNamespace("blue")->cookie};
  VethSpec spec = HostTo("blue");
  spec.b.config.ip.routes = {RouteTo("10.9.0.0/16", RouteType::kBlackhole)};
  const auto first = CreateVeth("v", spec);
  ASSERT_TRUE(first.ok());
  ASSERT_TRUE(kernel_.DeleteLink({}, first->a.ifindex).ok());
  const auto second = CreateVeth("v", spec);
  ASSERT_TRUE(second.ok()) << second.error().message;
  EXPECT_THAT(*kernel_.ListRoutesWithoutLink(blue), ElementsAre(spec.b.config.ip.routes[0]));
  ASSERT_TRUE(DeleteVeth("v").ok());
  EXPECT_THAT(*kernel_.ListRoutesWithoutLink(blue), IsEmpty());
}

TEST_F(EngineTest, ARouteWithoutALinkIsThePairsThatMadeIt) {
  ASSERT_TRUE(CreateNamespace("blue").ok());
  const NetnsRef blue{.name = "blue", .cookie = engine_->GetNamespace("blue")->cookie};
  const std::string before = kernel_.DumpForTest();
  const std::vector<RouteSpec> nowhere = {RouteTo("10.9.0.0/16", RouteType::kBlackhole)};
  VethSpec spec = HostTo("blue");
  spec.b.config.ip.routes = nowhere;
  // Another daemon's: an intent that is rolled back is none of it.
  ASSERT_TRUE(kernel_.AddRoutes(blue, nowhere).ok());
  const std::string others = kernel_.DumpForTest();
  EXPECT_REFUSED(CreateVeth("v", spec), Reason::kKernel);
  EXPECT_THAT(registry_->ListPending(), IsEmpty());
  EXPECT_EQ(kernel_.DumpForTest(), others);
  EXPECT_EQ(Restart().Count(Finding::Kind::kForeignTag), 1) << "and it is told of";
  ASSERT_TRUE(kernel_.DeleteRoutes(blue, nowhere).ok());

  // The first has lost all, so that the second can have it: it is the second's, and goes with it.
  const Veth first = *CreateVeth("v", spec);
  ASSERT_TRUE(kernel_.DeleteLink({}, first.a.ifindex).ok());
  ASSERT_TRUE(kernel_.DeleteRoutes(blue, nowhere).ok());
  spec.a.interface_name = "h1";
  ASSERT_TRUE(CreateVeth("w", spec).ok());
  const std::string with_w = kernel_.DumpForTest();
  EXPECT_EQ(Restart().Count(Finding::Kind::kForeignTag), 0);
  ASSERT_TRUE(DeleteVeth("v").ok());
  EXPECT_EQ(kernel_.DumpForTest(), with_w);
  ASSERT_TRUE(DeleteVeth("w").ok());
  EXPECT_EQ(kernel_.DumpForTest(), before);
}

TEST_F(EngineTest, AFailedCreateLeavesTheMissingObjectOfItsName) {
  ASSERT_TRUE(CreateNamespace("blue").ok());
  const Veth old = *CreateVeth("v", HostTo("blue"));
  ASSERT_TRUE(kernel_.DeleteLink({}, old.a.ifindex).ok());
  kernel_.FailNextForTest("CreateVeth", ENOMEM);
  EXPECT_REFUSED(CreateVeth("v", HostTo("blue")), Reason::kKernel);
  EXPECT_EQ(engine_->GetVeth("v")->uid, old.uid);
  const std::string uid = engine_->GetNamespace("blue")->uid;
  kernel_.RemoveForeignNetnsForTest("blue");
  kernel_.FailNextForTest("CreateNetns", ENOMEM);
  EXPECT_REFUSED(CreateNamespace("blue"), Reason::kKernel);
  EXPECT_EQ(engine_->GetNamespace("blue")->uid, uid);
  EXPECT_EQ(engine_->GetVeth("v")->uid, old.uid);
  // And one that succeeds takes their place in one write.
  ASSERT_TRUE(CreateNamespace("blue").ok());
  EXPECT_NE(engine_->GetNamespace("blue")->uid, uid);
  EXPECT_REFUSED(engine_->GetVeth("v"), Reason::kVethNotFound);
}

TEST_F(EngineTest, ALimitThatTheKernelPassesOverIsRefused) {
  ASSERT_TRUE(CreateNamespace("blue").ok());
  const std::string before = kernel_.DumpForTest();
  // As one does that is too old for it.
  kernel_.SetBornForTest([this] {
    LinkSettings settings;
    settings.limits.gso_ipv4_max_size = 65536;
    kernel_.SetLinkForTest({}, "h0", settings);
  });
  VethSpec spec = HostTo("blue");
  spec.a.config.options.limits.gso_ipv4_max_size = 20000;
  auto refused = CreateVeth("v", spec);
  EXPECT_REFUSED(refused, Reason::kKernel);
  EXPECT_EQ(refused.error().kernel->code, EOPNOTSUPP);
  EXPECT_THAT(refused.error().message, HasSubstr("gso_ipv4_max_size"));
  EXPECT_EQ(kernel_.DumpForTest(), before);
}

TEST_F(EngineTest, AnAlternativeNameThatIsTakenIsNamed) {
  ASSERT_TRUE(CreateNamespace("blue").ok());
  VethSpec spec = HostTo("blue");
  spec.b.config.alternative_names = {"free", "lo"};
  auto refused = CreateVeth("v", spec);
  EXPECT_REFUSED(refused, Reason::kInterfaceNameTaken);
  EXPECT_EQ(refused.error().field, "endpoint_b.alternative_names[1]");
  EXPECT_EQ(refused.error().interface_name, "lo");
}

TEST_F(EngineTest, APairThatIsBeingDeletedIsNotMissing) {
  MakeBlueWithVeth();
  bool looked = false;
  kernel_.SetFaultForTest([&](const std::string& operation) -> std::optional<KernelError> {
    if (operation != "RemoveNetns" || std::exchange(looked, true)) return std::nullopt;
    // The links are gone by now, and the record is not.
    auto read = engine_->GetVeth("v");
    EXPECT_TRUE(!read.ok() && read.error().reason == Reason::kVethNotFound);
    EXPECT_THAT(engine_->ListVeths("", 10)->items, IsEmpty());
    return std::nullopt;
  });
  ASSERT_TRUE(DeleteNamespace("blue").ok());
  kernel_.SetFaultForTest(nullptr);
  EXPECT_TRUE(looked);
}

TEST_F(EngineTest, AnUnfinishedConfigIsRolledBack) {
  ASSERT_TRUE(CreateNamespace("blue").ok());
  const std::string before = kernel_.DumpForTest();
  VethSpec spec = HostTo("blue");
  spec.b.config = FullConfig();
  ASSERT_TRUE(CreateVeth("v", spec).ok());
  // As if the process had died before the outcome was written.
  const VethRecord record = *registry_->FindVeth("v");
  ASSERT_TRUE(registry_->Commit(0, {.remove_veths = {record}}).ok());
  ASSERT_TRUE(registry_->Begin({.kind = Intent::Kind::kCreateVeth, .veth = record}).ok());
  EXPECT_EQ(Restart().Count(Finding::Kind::kRolledBack), 1);
  EXPECT_EQ(kernel_.DumpForTest(), before);
}

TEST_F(EngineTest, WhatIsMissingOfAConfigIsADeviationAndIsHealed) {
  ASSERT_TRUE(CreateNamespace("blue").ok());
  VethSpec spec = HostTo("blue");
  spec.b.config = FullConfig();
  const Veth made = *CreateVeth("v", spec);
  const std::string whole = kernel_.DumpForTest();
  const NetnsRef blue{.name = "blue", .cookie = engine_->GetNamespace("blue")->cookie};
  kernel_.SetIpConfigForTest(blue, "eth0", {});
  ASSERT_TRUE(kernel_.DeleteRoutes(blue, FullConfig().RoutesWithoutLink()).ok());
  LinkSettings settings;
  settings.promiscuous = false;
  settings.limits.gso_max_size = 65536;
  kernel_.SetLinkForTest(blue, "eth0", settings);
  const Veth veth = *engine_->GetVeth("v");
  EXPECT_EQ(veth.state, State::kDegraded);
  std::vector<std::string> fields;
  for (const Deviation& deviation : veth.deviations) fields.push_back(deviation.field + " " + deviation.expected);
  EXPECT_THAT(fields,
              ElementsAre("endpoint_b.promiscuous true", "endpoint_b.offload_limits.gso_max_size 20000",
                          "endpoint_b.addresses 10.0.0.2/24", "endpoint_b.neighbors 10.0.0.1 lladdr 02:00:00:00:00:01",
                          "endpoint_b.routes 10.1.0.0/16", "endpoint_b.routes blackhole 10.9.0.0/16",
                          "endpoint_b.routes 0.0.0.0/0 via 10.0.0.1"));
  EXPECT_THAT(veth.b.config.ip, Eq(IpConfig()));
  EXPECT_THAT(veth.b.config.gateways, IsEmpty());
  ASSERT_TRUE(engine_->Heal({.name = "veths/v", .uid = made.uid}).ok());
  EXPECT_EQ(kernel_.DumpForTest(), whole);
  EXPECT_EQ(engine_->GetVeth("v")->state, State::kReady);
  // And where all of it is gone.
  ASSERT_TRUE(kernel_.DeleteLink(blue, made.b.ifindex).ok());
  ASSERT_TRUE(engine_->Heal({.name = "veths/v", .uid = made.uid}).ok());
  EXPECT_EQ(kernel_.DumpForTest(), whole);
}

// ---- After a reboot

TEST_F(EngineTest, PersistentObjectsAreRestoredAfterAReboot) {
  Metadata persistent;
  persistent.persistent = true;
  ASSERT_TRUE(engine_->CreateNamespace({.id = "blue", .metadata = persistent}).ok());
  ASSERT_TRUE(CreateNamespace("green").ok());
  ASSERT_TRUE(engine_->CreateVeth({.id = "v", .spec = HostTo("blue"), .metadata = persistent}).ok());
  VethSpec to_green = {.a = {.interface_name = "g0"}, .b = {.namespace_id = "green", .interface_name = "eth0"}};
  ASSERT_TRUE(engine_->CreateVeth({.id = "w", .spec = to_green, .metadata = persistent}).ok());
  const Veth made = *engine_->GetVeth("v");
  kernel_.RebootForTest();
  const HostReport report = Restart();
  EXPECT_EQ(report.Count(Finding::Kind::kRestored), 2);
  ASSERT_EQ(report.Count(Finding::Kind::kNotRestored), 1);
  EXPECT_EQ(report.Count(Finding::Kind::kMissing), 2) << "green, and the pair into it";
  const Veth again = *engine_->GetVeth("v");
  EXPECT_EQ(again.state, State::kReady);
  EXPECT_EQ(again.uid, made.uid);
  EXPECT_EQ(again.a.mac, made.a.mac);
  EXPECT_EQ(engine_->GetVeth("w")->state, State::kMissing);
  EXPECT_EQ(Restart().Count(Finding::Kind::kRestored), 0);
}

TEST_F(EngineTest, WhatCouldNotBeRestoredIsTriedAgainByACheck) {
  Metadata persistent;
  persistent.persistent = true;
  ASSERT_TRUE(engine_->CreateNamespace({.id = "blue", .metadata = persistent}).ok());
  ASSERT_TRUE(engine_->CreateVeth({.id = "v", .spec = HostTo("blue"), .metadata = persistent}).ok());
  kernel_.RebootForTest();
  kernel_.AddForeignNetnsForTest("blue");
  EXPECT_EQ(Restart().Count(Finding::Kind::kNotRestored), 2);
  kernel_.RemoveForeignNetnsForTest("blue");
  EXPECT_EQ(engine_->CheckHost(engine_->PlanCheck(/*validate_only=*/true))->Count(Finding::Kind::kRestored), 0);
  EXPECT_EQ(engine_->GetVeth("v")->state, State::kMissing);
  const CheckHostCall check = engine_->PlanCheck(/*validate_only=*/false);
  EXPECT_THAT(engine_->Keys(check), IsSupersetOf({"namespaces/blue", "veths/v"}));
  EXPECT_EQ(engine_->CheckHost(check)->Count(Finding::Kind::kRestored), 2);
  EXPECT_EQ(engine_->GetVeth("v")->state, State::kReady);
}

// ---- Leases and garbage

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

// ---- Keys

TEST_F(EngineTest, KeysNameAllThatACallTouches) {
  MakeBlueWithVeth();
  EXPECT_THAT(engine_->Keys(CreateNamespaceCall{.context = {.request_id = "r"}, .id = "blue"}),
              ElementsAre("/run/netns/blue", "namespaces/blue", "requests/r"));
  EXPECT_THAT(engine_->Keys(DeleteNamespaceCall{.id = "blue"}), ElementsAre("namespaces/blue", "veths/v"));
  EXPECT_THAT(engine_->Keys(DeleteVethCall{.id = "v"}), ElementsAre("namespaces/blue", "veths/v"));
  EXPECT_THAT(engine_->Keys(DeleteVethCall{.id = "w"}), ElementsAre("veths/w"));
  EXPECT_THAT(
      engine_->Keys(CreateVethCall{.id = "w", .spec = {.a = {.namespace_id = "red"}, .b = {.namespace_id = "blue"}}}),
      ElementsAre("namespaces/blue", "namespaces/red", "veths/w"));
  EXPECT_THAT(engine_->Keys(CreateVethCall{.spec = {.a = {.namespace_id = "blue"}, .b = {.namespace_id = "blue"}}}),
              ElementsAre("namespaces/blue"));
}

}  // namespace
}  // namespace netprov::engine
