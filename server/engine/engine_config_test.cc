// What an end of a pair has: addresses, routes, names and options.
#include <cerrno>
#include <optional>
#include <string>
#include <utility>
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
using ::testing::Eq;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

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
  EXPECT_REFUSED(CreateVeth("v", spec, {.validate_only = true}), Reason::kInterfaceNameTaken);
}

TEST_F(EngineTest, AnAlternativeNameThatIsTakenKeepsWhatIsLeftOfAMissingPair) {
  ASSERT_TRUE(CreateNamespace("blue").ok());
  ASSERT_TRUE(CreateNamespace("red").ok());
  const NetnsRef blue{.name = "blue", .cookie = engine_->GetNamespace("blue")->cookie};
  const NetnsRef red{.name = "red", .cookie = engine_->GetNamespace("red")->cookie};
  VethSpec spec = HostTo("blue");
  spec.b.config.alternative_names = {"other"};
  ASSERT_TRUE(CreateVeth("v", spec).ok());
  kernel_.MoveLinkForTest(kHost, "h0", red);
  ASSERT_EQ(engine_->GetVeth("v")->state, State::kMissing);
  kernel_.AddForeignLinkForTest(blue, "foreign");
  const std::string before = kernel_.DumpForTest();
  spec.b.config.alternative_names = {"other", "foreign"};
  EXPECT_REFUSED(CreateVeth("v", spec), Reason::kInterfaceNameTaken);
  EXPECT_EQ(kernel_.DumpForTest(), before);
  // Its own are free with it.
  spec.b.config.alternative_names = {"other"};
  auto again = CreateVeth("v", spec);
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_THAT(again->b.config.alternative_names, ElementsAre("other"));
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

}  // namespace
}  // namespace netprov::engine
