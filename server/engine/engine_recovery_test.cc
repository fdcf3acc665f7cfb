// What a start finds, and puts right: calls that were cut short, orphans, and what a reboot took. The process dies
// after an operation of the kernel, before the outcome is written.
#include <cerrno>
#include <optional>
#include <string>
#include <vector>

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
using ::testing::IsSupersetOf;
using ::testing::SizeIs;

constexpr char kSomeUid[] = "11111111-2222-4333-8444-555555555555";

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

}  // namespace
}  // namespace netprov::engine
