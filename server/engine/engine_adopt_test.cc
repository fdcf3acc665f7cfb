// Namespaces that others made, taken into netprov's care and let go.
#include <cerrno>
#include <optional>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/engine/engine.h"
#include "server/engine/engine_fixture.h"
#include "server/engine/tag.h"
#include "server/netlink/link_info.h"

namespace netprov::engine {
namespace {

using ::testing::HasSubstr;

class AdoptTest : public EngineTest {
 protected:
  void SetUp() override {
    EngineTest::SetUp();
    kernel_.AddForeignNetnsForTest("blue");
    kernel_.AddForeignLinkForTest(Blue(), "theirs");
    foreign_ = kernel_.DumpForTest();
  }

  NetnsEntry Entry() { return **kernel_.FindNetns("blue"); }
  NetnsRef Blue() { return {.name = "blue", .cookie = Entry().cookie}; }

  AdoptNamespaceCall Call(const std::string& request_id = "") {
    return {.context = {.request_id = request_id, .fingerprint = "f"},
            .id = "blue",
            .spec = {.sysctls = {{"net.ipv4.ip_forward", "1"}}}};
  }
  EngineResult<Namespace> Adopt() { return engine_->AdoptNamespace(Call()); }
  EngineResult<void> Release() { return engine_->ReleaseNamespace({.id = "blue"}); }
  // The record of an adoption that is about to be tried.
  NamespaceRecord AdoptionOfBlue() {
    return {.id = "blue",
            .uid = NewUid(),
            .boot_id = kernel_.BootId(),
            .cookie = Entry().cookie,
            .spec = {.sysctls = {{"net.ipv4.ip_forward", "1"}}},
            .adoption = Adoption{.loopback_up = Entry().loopback_up,
                                 .loopback_alias = Entry().loopback_alias,
                                 .sysctls = {{"net.ipv4.ip_forward", "0"}}}};
  }
  void Tag(const std::string& registry, const NamespaceRecord& record) {
    kernel_.SetLinkForTest(Blue(), "lo", {.alias = TagOf(registry, record.uid, AdoptedName("blue")), .up = true});
  }

  std::string foreign_;
};

TEST_F(AdoptTest, TagsTheLoopbackAndKeepsWhatIsThere) {
  const EngineResult<Namespace> adopted = Adopt();
  ASSERT_TRUE(adopted.ok()) << adopted.error().message;
  EXPECT_TRUE(adopted->managed);
  EXPECT_TRUE(adopted->adopted);
  EXPECT_TRUE(Entry().loopback_up);
  EXPECT_EQ(ParseTag(Entry().loopback_alias)->uid, adopted->uid);
  EXPECT_TRUE((*kernel_.FindLink(Blue(), "theirs")).has_value());
  EXPECT_EQ(kernel_.FindSysctls(Blue(), {{"net.ipv4.ip_forward", ""}})->at("net.ipv4.ip_forward"), "1");
  Restart();
  const EngineResult<Namespace> found = engine_->GetNamespace("blue");
  EXPECT_EQ(found->state, State::kReady) << ToText(found->deviations);
  EXPECT_TRUE(found->adopted);
  EXPECT_TRUE(CreateVeth("v", HostTo("blue")).ok());
  ASSERT_TRUE(DeleteNamespace("blue").ok());
  EXPECT_FALSE((*kernel_.FindNetns("blue")).has_value());
}

TEST_F(AdoptTest, AnAliasThatIsNoTextComesBack) {
  const std::string alias = "\xff\xfe";
  kernel_.SetLinkForTest(Blue(), "lo", {.alias = alias});
  ASSERT_TRUE(engine_->AdoptNamespace(Call("r")).ok());
  Restart();
  EXPECT_TRUE(engine_->AdoptNamespace(Call("r")).ok());
  ASSERT_TRUE(Release().ok());
  EXPECT_EQ(Entry().loopback_alias, alias);
}

TEST_F(AdoptTest, WhatCouldNotBePutBackIsLeftAlone) {
  kernel_.SetLinkForTest(Blue(), "lo", {.alias = std::string(255, 'a')});
  const std::string before = kernel_.DumpForTest();
  EXPECT_REFUSED(Adopt(), Reason::kNamespaceNotAdoptable);
  EXPECT_EQ(kernel_.DumpForTest(), before);
}

TEST_F(AdoptTest, AnAnswerOfWhatIsNoTextIsRemembered) {
  ASSERT_TRUE(Adopt().ok());
  // As somebody inside can.
  kernel_.SetLinkForTest(Blue(), "lo", {.alias = "\xff"});
  auto label =
      [](const Asked<NamespaceSpec>& present) -> netprov::Result<Asked<NamespaceSpec>, std::vector<InvalidField>> {
    return present;
  };
  for (int time : {1, 2}) {
    SCOPED_TRACE(time);
    auto updated =
        engine_->UpdateNamespace({.context = {.request_id = "r", .fingerprint = "f"}, .id = "blue", .edit = label});
    ASSERT_TRUE(updated.ok());
    EXPECT_EQ(updated->state, State::kDegraded);
  }
}

TEST_F(AdoptTest, ARepeatGetsTheFirstAnswer) {
  const EngineResult<Namespace> first = engine_->AdoptNamespace(Call("r"));
  ASSERT_TRUE(first.ok());
  const EngineResult<Namespace> second = engine_->AdoptNamespace(Call("r"));
  ASSERT_TRUE(second.ok());
  EXPECT_EQ(second->uid, first->uid);
  EXPECT_TRUE(second->adopted);
  EXPECT_REFUSED(Adopt(), Reason::kNamespaceAlreadyExists);
  AdoptNamespaceCall tolerant = Call();
  tolerant.allow_existing = true;
  EXPECT_EQ(engine_->AdoptNamespace(tolerant)->uid, first->uid);
  tolerant.spec = {};
  EXPECT_REFUSED(engine_->AdoptNamespace(tolerant), Reason::kNamespaceAlreadyExists);
}

TEST_F(AdoptTest, ValidatingChangesNothing) {
  AdoptNamespaceCall call = Call();
  call.context.validate_only = true;
  const EngineResult<Namespace> projected = engine_->AdoptNamespace(call);
  ASSERT_TRUE(projected.ok());
  EXPECT_EQ(projected->uid, "");
  EXPECT_EQ(kernel_.DumpForTest(), foreign_);
  EXPECT_FALSE(registry_->FindNamespace("blue").has_value());
}

TEST_F(AdoptTest, RefusesWhatCannotBeAdopted) {
  AdoptNamespaceCall call = Call();
  call.id = "nothing";
  EXPECT_REFUSED(engine_->AdoptNamespace(call), Reason::kNamespaceNotFound);
  kernel_.AddStaleFileForTest("file");
  call.id = "file";
  EXPECT_REFUSED(engine_->AdoptNamespace(call), Reason::kNamespaceFileStale);
  ASSERT_TRUE(CreateNamespace("ours").ok());
  call.id = "ours";
  EXPECT_REFUSED(engine_->AdoptNamespace(call), Reason::kNamespaceAlreadyExists);
  Tag("22222222-2222-4222-8222-222222222222", AdoptionOfBlue());
  EXPECT_REFUSED(Adopt(), Reason::kNamespaceNotAdoptable);
}

TEST_F(AdoptTest, APairThatEndsThereByAPathIsInTheWay) {
  ASSERT_TRUE(CreateVeth("v", {.a = {.interface_name = "h0"},
                               .b = {.interface_name = "eth0", .place = NetnsPlace{.path = "/run/netns/blue"}}})
                  .ok());
  const EngineResult<Namespace> refused = Adopt();
  EXPECT_REFUSED(refused, Reason::kNamespaceInUse);
  EXPECT_THAT(refused.error().message, HasSubstr("veths/v"));
}

TEST_F(AdoptTest, APairOnItsWayThereByAnotherWayIsInTheWay) {
  const uint32_t pid = kernel_.StartProcessForTest(Blue(), "sleep");
  kernel_.MountForTest(pid, "/run/other");
  for (const NetnsPlace& place : {NetnsPlace{.path = "", .pid = pid}, NetnsPlace{.path = "/run/other", .pid = 0}}) {
    const VethSpec spec{.a = {.interface_name = "h0"}, .b = {.interface_name = "eth0", .place = place}};
    int adoptions = 0;
    kernel_.SetFaultForTest([&](const std::string& operation) -> std::optional<KernelError> {
      if (operation != "CreateVeth" || adoptions++ > 0) return std::nullopt;
      const EngineResult<Namespace> refused = Adopt();
      EXPECT_FALSE(refused.ok());
      if (refused.ok()) return std::nullopt;
      EXPECT_EQ(refused.error().reason, Reason::kNamespaceInUse);
      EXPECT_THAT(refused.error().message, HasSubstr("veths/v"));
      return std::nullopt;
    });
    auto made = CreateVeth("v", spec);
    kernel_.SetFaultForTest(nullptr);
    ASSERT_TRUE(made.ok()) << made.error().message;
    EXPECT_EQ(adoptions, 1);
    ASSERT_TRUE(DeleteVeth("v").ok());
  }
  // What was in the way is so no more.
  EXPECT_TRUE(Adopt().ok());
}

TEST_F(AdoptTest, ItKeepsOffPairsAndOtherAdoptionsMeanwhile) {
  const uint32_t pid = kernel_.StartProcessForTest(Blue(), "sleep");
  kernel_.MountForTest(pid, "/run/netns/second");
  const VethSpec spec{.a = {.interface_name = "h0"},
                      .b = {.interface_name = "eth0", .place = NetnsPlace{.path = "", .pid = pid}}};
  int tags = 0;
  kernel_.SetFaultForTest([&](const std::string& operation) -> std::optional<KernelError> {
    if (operation != "SetLink" || tags++ > 0) return std::nullopt;
    auto pair = CreateVeth("v", spec);
    EXPECT_FALSE(pair.ok());
    if (!pair.ok()) {
      EXPECT_EQ(pair.error().reason, Reason::kPlaceUnusable);
      EXPECT_THAT(pair.error().message, HasSubstr("is being adopted as namespaces/blue"));
      EXPECT_EQ(pair.error().field, "endpoint_b.pid");
    }
    AdoptNamespaceCall second = Call();
    second.id = "second";
    const EngineResult<Namespace> refused = engine_->AdoptNamespace(second);
    EXPECT_FALSE(refused.ok());
    if (!refused.ok()) {
      EXPECT_EQ(refused.error().reason, Reason::kNamespaceNotAdoptable);
      EXPECT_THAT(refused.error().message, HasSubstr("is being adopted as namespaces/blue"));
    }
    return std::nullopt;
  });
  const EngineResult<Namespace> adopted = Adopt();
  kernel_.SetFaultForTest(nullptr);
  ASSERT_TRUE(adopted.ok()) << adopted.error().message;
  EXPECT_EQ(tags, 1);
  EXPECT_REFUSED(CreateVeth("v", spec), Reason::kPlaceUnusable);
  ASSERT_TRUE(Release().ok());
  EXPECT_TRUE(CreateVeth("v", spec).ok());
}

TEST_F(AdoptTest, APairThatLookedBeforeItIsRefusedAfterIt) {
  const uint32_t pid = kernel_.StartProcessForTest(Blue(), "sleep");
  VethSpec spec{.a = {.interface_name = "h%d"},
                .b = {.interface_name = "eth0", .place = NetnsPlace{.path = "", .pid = pid}}};
  // The name is chosen after the look at the place.
  int adoptions = 0;
  kernel_.SetFaultForTest([&](const std::string& operation) -> std::optional<KernelError> {
    if (operation == "FreeLinkName" && adoptions++ == 0) {
      EXPECT_TRUE(Adopt().ok());
    }
    return std::nullopt;
  });
  auto refused = CreateVeth("v", spec);
  kernel_.SetFaultForTest(nullptr);
  EXPECT_REFUSED(refused, Reason::kPlaceUnusable);
  EXPECT_THAT(refused.error().message, HasSubstr("is in namespaces/blue: use `namespace`"));
}

TEST_F(AdoptTest, WhateverFailsLeavesItAsItWas) {
  int failures = 0;
  for (int nth = 1;; ++nth) {
    int left = nth;
    kernel_.SetFaultForTest([&left](const std::string& operation) -> std::optional<KernelError> {
      if (--left != 0) return std::nullopt;
      return KernelError{.code = EIO, .operation = operation, .extack = {}};
    });
    const EngineResult<Namespace> adopted = Adopt();
    kernel_.SetFaultForTest(nullptr);
    if (adopted.ok()) break;
    ++failures;
    EXPECT_EQ(kernel_.DumpForTest(), foreign_) << nth;
    EXPECT_FALSE(registry_->FindNamespace("blue").has_value());
    EXPECT_TRUE(registry_->ListPending().empty());
  }
  // The looks at its name and its place, the sysctls, its links and theirs, the tag, the sysctls again.
  EXPECT_EQ(failures, 7);
}

TEST_F(AdoptTest, AnUnfinishedAdoptionIsUndoneAndTheNamespaceStays) {
  const NamespaceRecord record = AdoptionOfBlue();
  for (int done = 0; done < 3; ++done) {
    ASSERT_TRUE(registry_->Begin({.kind = Intent::Kind::kAdoptNamespace, .netns = record}).ok());
    if (done > 0) Tag(registry_->id(), record);
    if (done > 1) kernel_.SetSysctlForTest(Blue(), "net.ipv4.ip_forward", "1");
    const HostReport report = Restart();
    EXPECT_EQ(report.Count(Finding::Kind::kRolledBack), 1);
    EXPECT_EQ(report.Count(Finding::Kind::kOrphanRemoved), 0);
    EXPECT_EQ(kernel_.DumpForTest(), foreign_) << done;
    EXPECT_TRUE(registry_->ListPending().empty());
  }
}

TEST_F(AdoptTest, IsNeverAnOrphan) {
  Tag(registry_->id(), AdoptionOfBlue());
  const std::string before = kernel_.DumpForTest();
  const HostReport report = Restart();
  EXPECT_EQ(report.Count(Finding::Kind::kForeignTag), 1);
  EXPECT_EQ(report.Count(Finding::Kind::kOrphanRemoved), 0);
  EXPECT_EQ(kernel_.DumpForTest(), before);
}

TEST_F(AdoptTest, IsForeignToAnotherRegistry) {
  ASSERT_TRUE(Adopt().ok());
  const std::string before = kernel_.DumpForTest();
  path_ += "-new";
  const HostReport report = Restart();
  EXPECT_EQ(report.Count(Finding::Kind::kForeignTag), 1);
  EXPECT_EQ(kernel_.DumpForTest(), before);
}

TEST_F(AdoptTest, IsNotMadeAgain) {
  AdoptNamespaceCall call = Call();
  call.metadata.self_heal = true;
  const EngineResult<Namespace> adopted = engine_->AdoptNamespace(call);
  ASSERT_TRUE(adopted.ok());
  const ObjectRef object{.name = "namespaces/blue", .uid = adopted->uid};
  kernel_.SetLinkForTest(Blue(), "lo", {.up = false});
  ASSERT_TRUE(engine_->Heal(object).ok());
  EXPECT_TRUE(Entry().loopback_up);
  kernel_.RemoveForeignNetnsForTest("blue");
  EXPECT_REFUSED(engine_->Heal(object), Reason::kNamespaceMissing);
  EXPECT_FALSE((*kernel_.FindNetns("blue")).has_value());
  EXPECT_TRUE(Release().ok());
  EXPECT_REFUSED(engine_->GetNamespace("blue"), Reason::kNamespaceNotFound);
}

TEST_F(AdoptTest, AnUpdateCannotMakeItPersistent) {
  ASSERT_TRUE(Adopt().ok());
  for (const bool persistent : {true, false}) {
    const EngineResult<Namespace> updated =
        engine_->UpdateNamespace({.context = {}, .id = "blue", .edit = [persistent](Asked<NamespaceSpec> asked) {
                                    asked.metadata.owner = "ci";
                                    asked.metadata.persistent = persistent;
                                    return netprov::Result<Asked<NamespaceSpec>, std::vector<InvalidField>>(asked);
                                  }});
    EXPECT_EQ(updated.ok(), !persistent);
    if (!updated.ok()) {
      EXPECT_EQ(updated.error().reason, Reason::kInvalidChange);
    }
  }
  EXPECT_TRUE(engine_->GetNamespace("blue")->adopted);
}

TEST_F(AdoptTest, AReleaseGivesTheAliasBackAndKeepsTheRest) {
  kernel_.SetLinkForTest(Blue(), "lo", {.alias = "of somebody"});
  ASSERT_TRUE(Adopt().ok());
  ASSERT_TRUE(CreateVeth("v", HostTo("blue")).ok());
  const EngineResult<void> refused = Release();
  EXPECT_REFUSED(refused, Reason::kNamespaceInUse);
  EXPECT_THAT(refused.error().message, HasSubstr("veths/v"));
  ASSERT_TRUE(DeleteVeth("v").ok());
  ASSERT_TRUE(Release().ok());
  EXPECT_EQ(Entry().loopback_alias, "of somebody");
  EXPECT_TRUE((*kernel_.FindLink(Blue(), "theirs")).has_value());
  EXPECT_FALSE(engine_->GetNamespace("blue")->managed);
  EXPECT_REFUSED(Release(), Reason::kNamespaceNotManaged);
  EXPECT_TRUE(engine_->ReleaseNamespace({.id = "blue", .allow_missing = true}).ok());
  EXPECT_EQ(Restart().findings.size(), 0u);
}

TEST_F(AdoptTest, ADeviceThatStandsOnALinkInsideIsInTheWay) {
  ASSERT_TRUE(Adopt().ok());
  ASSERT_TRUE(engine_
                  ->CreateDevice({.name = DeviceName("m"),
                                  .spec = {.link = {.interface_name = "m0"},
                                           .options = netlink::MacvlanInfo{.mode = netlink::MacvlanMode::kBridge},
                                           .lower = {.namespace_id = "blue", .interface_name = "theirs"}}})
                  .ok());
  const EngineResult<void> refused = Release();
  EXPECT_REFUSED(refused, Reason::kNamespaceInUse);
  EXPECT_THAT(refused.error().message, HasSubstr("devices/m"));
  ASSERT_TRUE(engine_->DeleteDevice({.name = DeviceName("m")}).ok());
  EXPECT_TRUE(Release().ok());
}

TEST_F(AdoptTest, WhatNetprovMadeCanBeReleasedToo) {
  ASSERT_TRUE(CreateNamespace("ours").ok());
  ASSERT_TRUE(engine_->ReleaseNamespace({.id = "ours"}).ok());
  EXPECT_EQ((*kernel_.FindNetns("ours"))->loopback_alias, "");
  EXPECT_EQ(Restart().findings.size(), 0u);
  EXPECT_TRUE((*kernel_.FindNetns("ours")).has_value());
}

TEST_F(AdoptTest, AReleaseThatFailsChangesNothing) {
  ASSERT_TRUE(Adopt().ok());
  const std::string before = kernel_.DumpForTest();
  kernel_.FailNextForTest("SetLink", EIO);
  EXPECT_REFUSED(Release(), Reason::kKernel);
  EXPECT_EQ(kernel_.DumpForTest(), before);
  EXPECT_EQ(engine_->GetNamespace("blue")->state, State::kReady);
}

TEST_F(AdoptTest, AnUnfinishedReleaseIsCompleted) {
  for (const bool untagged : {false, true}) {
    ASSERT_TRUE(Adopt().ok());
    const NamespaceRecord record = *registry_->FindNamespace("blue");
    ASSERT_TRUE(registry_->Begin({.kind = Intent::Kind::kReleaseNamespace, .netns = record}).ok());
    if (untagged) kernel_.SetLinkForTest(Blue(), "lo", {.alias = ""});
    const HostReport report = Restart();
    EXPECT_EQ(report.Count(Finding::Kind::kCompleted), 1);
    EXPECT_EQ(Entry().loopback_alias, "");
    EXPECT_FALSE(engine_->GetNamespace("blue")->managed);
  }
}

TEST_F(AdoptTest, WhatTheKernelChangesWithASysctlComesBackToo) {
  const Sysctls theirs = {{"net.ipv4.conf.all.accept_redirects", "0"}, {"net.ipv4.conf.theirs.forwarding", "1"}};
  ASSERT_TRUE(kernel_.SetSysctls(Blue(), theirs).ok());
  const std::string before = kernel_.DumpForTest();
  AdoptNamespaceCall call = Call();
  call.spec.dns.nameservers = {"10.0.0.53"};
  kernel_.FailNextForTest("SetEtcFiles", ENOMEM);
  EXPECT_REFUSED(engine_->AdoptNamespace(call), Reason::kKernel);
  EXPECT_EQ(*kernel_.FindSysctls(Blue(), theirs), theirs);
  EXPECT_EQ(kernel_.DumpForTest(), before);
}

TEST_F(AdoptTest, ALinkThatHasGoneSinceKeepsNothingFromBeingPutBack) {
  NamespaceRecord record = AdoptionOfBlue();
  record.adoption->sysctls["net.ipv4.conf.theirs.forwarding"] = "1";
  ASSERT_TRUE(registry_->Begin({.kind = Intent::Kind::kAdoptNamespace, .netns = record}).ok());
  Tag(registry_->id(), record);
  kernel_.SetSysctlForTest(Blue(), "net.ipv4.ip_forward", "1");
  ASSERT_TRUE(kernel_.DeleteLink(Blue(), (*kernel_.FindLink(Blue(), "theirs"))->ifindex).ok());
  EXPECT_EQ(Restart().Count(Finding::Kind::kRolledBack), 1);
  EXPECT_EQ(kernel_.FindSysctls(Blue(), {{"net.ipv4.ip_forward", ""}})->at("net.ipv4.ip_forward"), "0");
  EXPECT_TRUE(registry_->ListPending().empty());
}

}  // namespace
}  // namespace netprov::engine
