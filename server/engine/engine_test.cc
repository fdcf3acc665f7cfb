// What every call promises.
#include "server/engine/engine.h"

#include <sys/resource.h>

#include <cerrno>
#include <csignal>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/engine/engine_fixture.h"
#include "server/engine/fake_kernel.h"

namespace netprov::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

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
