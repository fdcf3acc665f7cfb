// Veth pairs.
#include <cerrno>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/engine/engine.h"
#include "server/engine/engine_fixture.h"
#include "server/engine/fake_kernel.h"
#include "server/engine/tag.h"
#include "server/netlink/ip_address.h"

namespace netprov::engine {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

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

TEST_F(EngineTest, NobodyIsToldOfAnEndBeforeAllElseIsDone) {
  ASSERT_TRUE(CreateNamespace("blue").ok());
  VethSpec spec = HostTo("blue");
  spec.a.config.announce = spec.b.config.announce = true;
  spec.b.config.ip.addresses = {{.local = *netlink::IpPrefix::Parse("10.0.0.2/24"), .peer = std::nullopt}};
  spec.b.config.masquerade = true;
  spec.b.config.ip_forwarding = true;
  std::vector<std::string> operations;
  kernel_.SetFaultForTest([&operations](const std::string& operation) -> std::optional<KernelError> {
    operations.push_back(operation);
    return std::nullopt;
  });
  auto made = CreateVeth("v", spec);
  kernel_.SetFaultForTest(nullptr);
  ASSERT_TRUE(made.ok()) << made.error().message;
  EXPECT_THAT(operations, Contains("AddNat"));
  EXPECT_THAT(operations, Contains("SetSysctls"));
  ASSERT_GE(operations.size(), 2u);
  EXPECT_EQ(std::vector<std::string>(operations.end() - 2, operations.end()),
            (std::vector<std::string>{"Announce", "Announce"}));
}

}  // namespace
}  // namespace netprov::engine
