// Pairs that bring the namespaces of their ends with them.
#include <cerrno>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/engine/engine.h"
#include "server/engine/engine_fixture.h"
#include "server/engine/tag.h"
#include "server/netlink/ip_address.h"

namespace netprov::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class NewNamespacesTest : public EngineTest {
 protected:
  static CreateVethCall Call(VethSpec spec, CallContext context = {}) {
    return {.context = std::move(context), .id = "v", .spec = std::move(spec), .create_namespaces = true};
  }

  // With all that happens to a pair where it is made: in the host, in a namespace, and in both.
  static VethSpec Whole() {
    VethSpec spec = HostTo("blue");
    spec.a.config.ip.addresses = {{.local = *netlink::IpPrefix::Parse("10.0.0.1/24"), .peer = std::nullopt}};
    spec.b.config.ip.addresses = {{.local = *netlink::IpPrefix::Parse("10.0.0.2/24"), .peer = std::nullopt}};
    spec.b.config.ip.routes = {
        {.destination = *netlink::IpPrefix::Parse("192.0.2.0/24"), .type = RouteType::kBlackhole}};
    spec.b.config.ingress_limit = spec.b.config.egress_limit =
        RateLimit{.rate = 1000000, .burst = 10000, .latency = absl::Milliseconds(50)};
    spec.b.config.masquerade = true;
    spec.b.config.ip_forwarding = true;
    return spec;
  }
  static VethSpec Between() {
    VethSpec spec{.a = {.namespace_id = "blue", .interface_name = "eth%d"},
                  .b = {.namespace_id = "red", .interface_name = "eth%d"}};
    spec.a.config.egress_limit = RateLimit{.rate = 1000000, .burst = 10000, .latency = absl::Milliseconds(50)};
    // Where nothing is, forwarding is off too.
    spec.a.config.ip.addresses = {{.local = *netlink::IpPrefix::Parse("10.0.0.1/24"), .peer = std::nullopt}};
    spec.a.config.masquerade = spec.a.config.ip_forwarding = true;
    return spec;
  }
  static VethSpec InOne() {
    return {.a = {.namespace_id = "blue", .interface_name = "eth%d"},
            .b = {.namespace_id = "blue", .interface_name = "eth%d"}};
  }

  std::vector<std::string> Namespaces() {
    std::vector<std::string> ids;
    for (const NamespaceRecord& record : registry_->ListNamespaces()) ids.push_back(record.id);
    return ids;
  }
};

TEST_F(NewNamespacesTest, AreLikeAnyOthers) {
  CreateVethCall call = Call(Whole());
  call.metadata.owner = "ci";
  call.metadata.labels["a"] = "b";
  const std::string before = kernel_.DumpForTest();
  ASSERT_TRUE(engine_->CreateVeth(call).ok());
  for (int i = 0; i < 2; ++i) {
    const EngineResult<Namespace> netns = engine_->GetNamespace("blue");
    ASSERT_TRUE(netns.ok());
    EXPECT_EQ(netns->state, State::kReady);
    EXPECT_TRUE(netns->managed);
    EXPECT_EQ(netns->metadata, call.metadata);
    const EngineResult<Veth> veth = engine_->GetVeth("v");
    EXPECT_EQ(veth->state, State::kReady) << ToText(veth->deviations);
    EXPECT_TRUE(Restart().findings.empty());
  }
  const std::string made = kernel_.DumpForTest();
  ASSERT_TRUE(DeleteVeth("v").ok());
  EXPECT_TRUE(engine_->GetNamespace("blue").ok());
  // As if each had been asked for by itself.
  ASSERT_TRUE(engine_->CreateVeth({.id = "v", .spec = Whole()}).ok());
  EXPECT_EQ(kernel_.DumpForTest().size(), made.size());
  ASSERT_TRUE(DeleteNamespace("blue").ok());
  kernel_.SetSysctlForTest(kHost, "net.ipv4.ip_forward", "0");
  EXPECT_EQ(kernel_.DumpForTest(), before);
}

TEST_F(NewNamespacesTest, AreMadeOnlyWhereThereIsNone) {
  EXPECT_REFUSED(CreateVeth("v", HostTo("blue")), Reason::kNamespaceNotFound);
  ASSERT_TRUE(CreateNamespace("blue").ok());
  const std::string uid = registry_->FindNamespace("blue")->uid;
  ASSERT_TRUE(engine_
                  ->CreateVeth(Call({.a = {.namespace_id = "blue", .interface_name = "eth%d"},
                                     .b = {.namespace_id = "red", .interface_name = "eth%d"}}))
                  .ok());
  EXPECT_EQ(registry_->FindNamespace("blue")->uid, uid);
  EXPECT_THAT(Namespaces(), ElementsAre("blue", "red"));
  // What is missing is a matter of its own.
  kernel_.RemoveForeignNetnsForTest("red");
  EXPECT_REFUSED(engine_->CreateVeth(Call(HostTo("red"))), Reason::kNamespaceMissing);
}

TEST_F(NewNamespacesTest, WhatAFailureHasLeftInThemGoesAtOnce) {
  bool is_left = false;
  kernel_.SetFaultForTest([&](const std::string& operation) -> std::optional<KernelError> {
    if (operation == "RemoveNetns") is_left = is_left || absl::StrContains(kernel_.DumpForTest(), " eth0 ");
    // The pair can't be finished, nor undone by itself.
    if (operation != "Shape" && operation != "ListNat") return std::nullopt;
    return KernelError{.code = ENOMEM, .operation = operation, .extack = {}};
  });
  EXPECT_REFUSED(engine_->CreateVeth(Call(Between())), Reason::kRollbackFailed);
  EXPECT_FALSE(is_left);
  EXPECT_FALSE(absl::StrContains(kernel_.DumpForTest(), "netns blue"));
}

TEST_F(NewNamespacesTest, BothEndsMayBeInOneOrEachInAnother) {
  ASSERT_TRUE(engine_->CreateVeth(Call(InOne())).ok());
  EXPECT_EQ(engine_->GetVeth("v")->a.interface_name, "eth0");
  EXPECT_EQ(engine_->GetVeth("v")->b.interface_name, "eth1");
  ASSERT_TRUE(DeleteNamespace("blue").ok());
  ASSERT_TRUE(engine_->CreateVeth(Call(Between())).ok());
  const EngineResult<Veth> veth = engine_->GetVeth("v");
  EXPECT_EQ(veth->state, State::kReady) << ToText(veth->deviations);
  EXPECT_THAT(Namespaces(), ElementsAre("blue", "red"));
}

TEST_F(NewNamespacesTest, AnothersNameIsRefused) {
  kernel_.AddForeignNetnsForTest("blue");
  kernel_.AddStaleFileForTest("red");
  const std::string before = kernel_.DumpForTest();
  for (const bool validate_only : {true, false}) {
    const auto refused = engine_->CreateVeth(Call(HostTo("blue"), {.validate_only = validate_only}));
    EXPECT_REFUSED(refused, Reason::kNamespaceNotManaged);
    EXPECT_EQ(refused.error().field, "endpoint_b.namespace");
    EXPECT_REFUSED(engine_->CreateVeth(Call(HostTo("red"), {.validate_only = validate_only})),
                   Reason::kNamespaceFileStale);
    const auto loopback = engine_->CreateVeth(
        Call({.a = {.namespace_id = "green", .interface_name = "lo"}, .b = {.interface_name = "h0"}},
             {.validate_only = validate_only}));
    EXPECT_REFUSED(loopback, Reason::kInterfaceNameTaken);
    EXPECT_EQ(loopback.error().field, "endpoint_a.interface_name");
  }
  EXPECT_EQ(kernel_.DumpForTest(), before);
}

TEST_F(NewNamespacesTest, ValidateOnlySaysWhatWouldBe) {
  const std::string before = kernel_.DumpForTest();
  const EngineResult<Veth> projected = engine_->CreateVeth(Call(Between(), {.validate_only = true}));
  ASSERT_TRUE(projected.ok()) << projected.error().message;
  EXPECT_EQ(projected->b.interface_name, "eth0");
  EXPECT_EQ(kernel_.DumpForTest(), before);
  EXPECT_THAT(Namespaces(), IsEmpty());
}

TEST_F(NewNamespacesTest, ARepeatGetsTheFirstAnswer) {
  const CallContext context{.request_id = "r", .fingerprint = "f"};
  const EngineResult<Veth> first = engine_->CreateVeth(Call(Whole(), context));
  ASSERT_TRUE(first.ok());
  Restart();
  EXPECT_EQ(engine_->CreateVeth(Call(Whole(), context))->uid, first->uid);
  CreateVethCall tolerant = Call(Whole());
  tolerant.allow_existing = true;
  EXPECT_EQ(engine_->CreateVeth(tolerant)->uid, first->uid);
}

TEST_F(NewNamespacesTest, WhateverFailsNothingIsLeft) {
  for (const VethSpec& spec : {Whole(), Between(), InOne()}) {
    const std::string before = kernel_.DumpForTest();
    int failures = 0;
    for (int nth = 1;; ++nth) {
      int left = nth;
      kernel_.SetFaultForTest([&left](const std::string& operation) -> std::optional<KernelError> {
        if (--left != 0) return std::nullopt;
        return KernelError{.code = EIO, .operation = operation, .extack = {}};
      });
      const EngineResult<Veth> made = engine_->CreateVeth(Call(spec));
      kernel_.SetFaultForTest(nullptr);
      if (left > 0) {
        EXPECT_TRUE(made.ok());
        break;
      }
      ASSERT_FALSE(made.ok()) << nth;
      ++failures;
      EXPECT_EQ(kernel_.DumpForTest(), before) << nth;
      EXPECT_THAT(Namespaces(), IsEmpty());
      EXPECT_THAT(registry_->ListPending(), IsEmpty());
    }
    EXPECT_GE(failures, 2);
    for (const std::string& id : Namespaces()) ASSERT_TRUE(DeleteNamespace(id).ok());
    kernel_.SetSysctlForTest(kHost, "net.ipv4.ip_forward", "0");
    EXPECT_EQ(kernel_.DumpForTest(), before);
  }
}

// Killed after each operation on the kernel: what recovery finds is then an intent and what was done.
TEST_F(NewNamespacesTest, AnUnfinishedCreateIsRolledBack) {
  for (const VethSpec& spec : {Whole(), Between(), InOne()}) {
    const std::string before = kernel_.DumpForTest();
    int crashes = 0;
    for (int nth = 1;; ++nth) {
      int left = nth;
      // From then on nothing gets through, as of a process that is gone.
      kernel_.SetFaultForTest([&left](const std::string& operation) -> std::optional<KernelError> {
        if (--left > 0) return std::nullopt;
        return KernelError{.code = EIO, .operation = operation, .extack = {}};
      });
      const EngineResult<Veth> made = engine_->CreateVeth(Call(spec));
      kernel_.SetFaultForTest(nullptr);
      if (made.ok()) break;
      crashes += registry_->ListPending().empty() ? 0 : 1;
      Restart();
      EXPECT_EQ(kernel_.DumpForTest(), before) << nth;
      EXPECT_THAT(Namespaces(), IsEmpty());
      EXPECT_THAT(registry_->ListPending(), IsEmpty());
    }
    EXPECT_GE(crashes, 1);
    for (const std::string& id : Namespaces()) ASSERT_TRUE(DeleteNamespace(id).ok());
    kernel_.SetSysctlForTest(kHost, "net.ipv4.ip_forward", "0");
  }
}

TEST_F(NewNamespacesTest, RollingBackSparesWhatAnotherMadeUnderTheName) {
  const CreateVethCall call = Call(HostTo("blue"));
  Intent intent{
      .kind = Intent::Kind::kCreateVeth,
      .veth = {.id = "v",
               .uid = "01234567-89ab-4cde-8f01-23456789abcd",
               .boot_id = kernel_.BootId(),
               .spec = call.spec,
               .a = {.interface_name = "h0"},
               .b = {.namespace_id = "blue", .interface_name = "eth0"}},
      .new_namespaces = {{.id = "blue", .uid = "11234567-89ab-4cde-8f01-23456789abcd", .boot_id = kernel_.BootId()}}};
  kernel_.AddForeignNetnsForTest("blue");
  const std::string before = kernel_.DumpForTest();
  ASSERT_TRUE(registry_->Begin(intent).ok());
  EXPECT_REFUSED(engine_->GetVeth("v"), Reason::kVethNotFound);
  EXPECT_EQ(Restart().Count(Finding::Kind::kRolledBack), 1);
  EXPECT_EQ(kernel_.DumpForTest(), before);
}

// Whatever happens to the call, such a file is somebody's.
TEST_F(NewNamespacesTest, AFileOfSomebodysOutlivesACallThatWantedItsName) {
  kernel_.AddStaleFileForTest("red");
  const std::string before = kernel_.DumpForTest();
  EXPECT_REFUSED(engine_->CreateVeth(Call(Between())), Reason::kNamespaceFileStale);
  EXPECT_THAT(registry_->ListPending(), IsEmpty());
  Restart();
  EXPECT_EQ(kernel_.DumpForTest(), before);
}

TEST_F(NewNamespacesTest, WhatIsLeftOfAPairStaysWhereTheNameIsTaken) {
  ASSERT_TRUE(CreateNamespace("green").ok());
  ASSERT_TRUE(CreateVeth("v", HostTo("green")).ok());
  kernel_.AddForeignNetnsForTest("elsewhere");
  const NetnsRef green{.name = "green", .cookie = (*kernel_.FindNetns("green"))->cookie};
  const NetnsRef elsewhere{.name = "elsewhere", .cookie = (*kernel_.FindNetns("elsewhere"))->cookie};
  kernel_.MoveLinkForTest(green, "eth0", elsewhere);
  ASSERT_EQ(engine_->GetVeth("v")->state, State::kMissing);
  const std::string before = kernel_.DumpForTest();
  EXPECT_REFUSED(engine_->CreateVeth(Call(HostTo("elsewhere"))), Reason::kNamespaceNotManaged);
  EXPECT_EQ(kernel_.DumpForTest(), before);
}

TEST_F(NewNamespacesTest, ANameThatSomebodyTakesInTheMiddleIsTheirs) {
  kernel_.SetFaultForTest([this](const std::string& operation) -> std::optional<KernelError> {
    if (operation != "CreateVeth") return std::nullopt;
    kernel_.RemoveForeignNetnsForTest("blue");
    kernel_.AddForeignNetnsForTest("blue");
    return std::nullopt;
  });
  const auto refused = engine_->CreateVeth(Call(HostTo("blue")));
  kernel_.SetFaultForTest(nullptr);
  EXPECT_REFUSED(refused, Reason::kNamespaceNotManaged);
  EXPECT_EQ(refused.error().field, "endpoint_b.namespace");
  EXPECT_THAT(registry_->ListPending(), IsEmpty());
  EXPECT_TRUE((*kernel_.FindNetns("blue"))->is_netns);
}

TEST_F(NewNamespacesTest, NobodyComesInByAPlaceMeanwhile) {
  const std::vector<std::string> keys = engine_->Keys(Call(HostTo("blue")));
  EXPECT_THAT(keys, ::testing::IsSupersetOf({"/run/netns/blue", "namespaces/blue"}));
}

TEST_F(NewNamespacesTest, AreNobodyElsesWhileTheyAreMade) {
  bool looked = false;
  kernel_.SetBornForTest([&] {
    looked = true;
    EXPECT_REFUSED(engine_->GetNamespace("blue"), Reason::kNamespaceNotFound);
    const HostReport report = *engine_->CheckHost(engine_->PlanCheck(/*validate_only=*/true));
    EXPECT_THAT(report.findings, IsEmpty());
  });
  ASSERT_TRUE(engine_->CreateVeth(Call(HostTo("blue"))).ok());
  EXPECT_TRUE(looked);
}

TEST_F(NewNamespacesTest, ComeBackWithTheirPairAfterAReboot) {
  CreateVethCall call = Call(HostTo("blue"));
  call.metadata.persistent = true;
  ASSERT_TRUE(engine_->CreateVeth(call).ok());
  kernel_.RebootForTest();
  EXPECT_EQ(Restart().Count(Finding::Kind::kRestored), 2);
  EXPECT_EQ(engine_->GetVeth("v")->state, State::kReady);
}

}  // namespace
}  // namespace netprov::engine
