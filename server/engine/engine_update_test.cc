// Updates: what differs is changed, all or none of it.
#include <cerrno>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/engine/engine.h"
#include "server/engine/engine_fixture.h"

namespace netprov::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

AddressSpec Address(const std::string& prefix) {
  return {.local = *netlink::IpPrefix::Parse(prefix), .peer = std::nullopt};
}

RouteSpec Blackhole(const std::string& destination) {
  RouteSpec route;
  route.destination = *netlink::IpPrefix::Parse(destination);
  route.type = RouteType::kBlackhole;
  return route;
}

class EngineUpdateTest : public EngineTest {
 protected:
  template <typename Spec, typename Change>
  static Edit<Spec> Editing(Change change) {
    return [change](const Asked<Spec>& present) -> netprov::Result<Asked<Spec>, std::vector<InvalidField>> {
      Asked<Spec> asked = present;
      change(asked);
      return asked;
    };
  }
  using VethChange = std::function<void(Asked<VethSpec>&)>;
  EngineResult<Veth> Update(VethChange change, CallContext context = {}) {
    return engine_->UpdateVeth(
        {.context = std::move(context), .id = "v", .edit = Editing<VethSpec>(change), .bridges = {}});
  }
  EngineResult<Namespace> UpdateBlue(std::function<void(Asked<NamespaceSpec>&)> change, CallContext context = {}) {
    return engine_->UpdateNamespace(
        {.context = std::move(context), .id = "blue", .edit = Editing<NamespaceSpec>(change)});
  }
  EngineResult<Device> UpdateBridge(std::function<void(Asked<DeviceSpec>&)> change) {
    return engine_->UpdateDevice({.context = {}, .name = "bridges/br", .edit = Editing<DeviceSpec>(change)});
  }

  // Of a pair whose `a` is a port of `bridges/br`.
  void MakeBlueWithPort() {
    ASSERT_TRUE(CreateNamespace("blue").ok());
    ASSERT_TRUE(engine_
                    ->CreateDevice({.name = "bridges/br",
                                    .spec = {.link = {.interface_name = "br0"}, .options = netlink::BridgeInfo()}})
                    .ok());
    VethSpec spec = HostTo("blue");
    spec.a.config.bridge = "bridges/br";
    ASSERT_TRUE(CreateVeth("v", spec).ok());
  }

  // Of which a new port gets VLAN 7.
  void MakeOtherBridge() {
    netlink::BridgeInfo options;
    options.default_pvid = 7;
    ASSERT_TRUE(
        engine_
            ->CreateDevice({.name = "bridges/other", .spec = {.link = {.interface_name = "br1"}, .options = options}})
            .ok());
  }

  // An update of `a` that fails when the link is set, and so does the first way back.
  void LeaveUnfinished(std::function<void(EndpointConfig&)> change) {
    int sets = 0;
    kernel_.SetFaultForTest([&sets](const std::string& operation) -> std::optional<KernelError> {
      const bool fails = operation == "Configure" || (operation == "SetLink" && ++sets == 2);
      return fails ? std::optional(KernelError{.code = ENOMEM, .operation = operation, .extack = {}}) : std::nullopt;
    });
    auto updated = Update([change](Asked<VethSpec>& asked) {
      change(asked.spec.a.config);
      asked.spec.a.config.ip.addresses = {Address("10.0.0.1/24")};
    });
    kernel_.SetFaultForTest(nullptr);
    EXPECT_REFUSED(updated, Reason::kRollbackFailed);
  }
  static void ChangePort(EndpointConfig& config) {
    config.port.settings.hairpin = true;
    config.port.vlans = {{.first = 10, .last = 10, .pvid = true, .untagged = true}};
  }

  // Something of everything.
  static VethSpec Full() {
    VethSpec spec = HostTo("blue");
    spec.a.mtu = 1500;
    spec.b.config.ip.addresses = {Address("10.0.0.2/24"), Address("2001:db8::2/64")};
    spec.b.config.gateways = {*netlink::IpAddress::Parse("10.0.0.1")};
    spec.b.config.ip.routes = {Blackhole("10.9.0.0/16")};
    spec.b.config.alternative_names = {"another"};
    return spec;
  }
  void MakeBlueWithFullVeth() {
    ASSERT_TRUE(CreateNamespace("blue").ok());
    auto veth = CreateVeth("v", Full());
    ASSERT_TRUE(veth.ok()) << veth.error().message;
  }
  // Another of everything.
  static void ChangeAll(Asked<VethSpec>& asked) {
    asked.spec.a.mtu = 1400;
    asked.spec.a.config.ip.addresses = {Address("10.0.1.1/24")};
    EndpointSpec& b = asked.spec.b;
    b.config.egress_limit = RateLimit{.rate = 10'000'000, .burst = 20'000, .latency = absl::Milliseconds(50)};
    b.config.ingress_limit = RateLimit{.rate = 20'000'000, .burst = 20'000, .latency = absl::Milliseconds(50)};
    b.mac = netlink::MacAddress{{2, 0, 0, 0, 0, 9}};
    b.config.options.promiscuous = true;
    b.config.options.alias = "to the lab";
    b.config.options.limits.gso_max_size = 1000;
    b.config.ip.addresses = {Address("10.0.1.2/24"), Address("10.0.0.2/24")};
    b.config.gateways = {*netlink::IpAddress::Parse("10.0.1.1")};
    b.config.ip.routes = {Blackhole("10.8.0.0/16"), Blackhole("10.9.0.0/16")};
    b.config.ip.routes[1].type = RouteType::kUnreachable;
    b.config.alternative_names = {"different"};
    asked.metadata.labels["team"] = "net";
  }
  void MakeBridge() {
    DeviceSpec spec{.link = {.interface_name = "br0"}, .options = netlink::BridgeInfo{}};
    ASSERT_TRUE(engine_->CreateDevice({.context = {}, .name = "bridges/br", .spec = spec, .metadata = {}}).ok());
  }
  // An update of a limit of h0 to 1000 that fails, and so does its undoing.
  void LeaveAnUpdateOfALimit() {
    int calls = 0;
    kernel_.SetFaultForTest([&](const std::string& operation) -> std::optional<KernelError> {
      KernelError error{.code = ENOMEM, .operation = operation, .extack = {}};
      if (operation == "Configure") return error;
      // The second one is the undoing.
      if (operation == "SetLink" && ++calls > 1) return error;
      return std::nullopt;
    });
    auto change = [](Asked<VethSpec>& asked) {
      asked.spec.a.config.options.limits.gso_max_size = 1000;
      asked.spec.a.config.alternative_names = {"new-name"};
    };
    EXPECT_REFUSED(Update(change), Reason::kRollbackFailed);
    EXPECT_EQ(LimitOfH0(), 1000U);
    kernel_.SetFaultForTest(nullptr);
  }
  std::optional<uint32_t> LimitOfH0() { return HostLink("h0").options.limits.gso_max_size; }
  Link HostLink(const std::string& name) { return **kernel_.FindLink(kHost, name); }

  // Makes each operation fail in turn, by `die` as if the process ended there.
  void ExpectAllOrNothing(const std::function<bool()>& call, bool die) {
    // Even the smallest change needs two looks at the link and something done to it.
    constexpr int kFewestPoints = 3;
    const std::string before = kernel_.DumpForTest();
    for (int point = 0;; ++point) {
      int operation = 0;
      bool failed = false;
      kernel_.SetFaultForTest([&](const std::string& name) -> std::optional<KernelError> {
        const int at = operation++;
        if (at < point || (!die && at > point)) return std::nullopt;
        failed = true;
        return KernelError{.code = ENOMEM, .operation = name, .extack = {}, .may_have_effect = false};
      });
      const bool ok = call();
      kernel_.SetFaultForTest(nullptr);
      if (ok) {
        // At every point before this one it failed. The look at what became of it is not needed.
        EXPECT_GE(point, kFewestPoints) << "the fault was hardly injected";
        EXPECT_NE(kernel_.DumpForTest(), before);
        return;
      }
      ASSERT_TRUE(failed);
      if (die) Restart();
      EXPECT_EQ(kernel_.DumpForTest(), before) << point;
      EXPECT_THAT(registry_->ListPending(), IsEmpty()) << point;
    }
  }
};

TEST_F(EngineUpdateTest, EverythingThatCanChangeDoes) {
  MakeBlueWithFullVeth();
  auto before = engine_->GetVeth("v");
  auto updated = Update(ChangeAll);
  ASSERT_TRUE(updated.ok()) << updated.error().message;
  for (bool restarted : {false, true}) {
    if (restarted) Restart();
    auto veth = engine_->GetVeth("v");
    ASSERT_TRUE(veth.ok());
    EXPECT_EQ(veth->state, State::kReady) << ToText(veth->deviations);
    EXPECT_EQ(veth->uid, before->uid);
    EXPECT_EQ(veth->a.ifindex, before->a.ifindex);
    EXPECT_EQ(veth->a.mtu, 1400U);
    EXPECT_EQ(veth->b.mac, (netlink::MacAddress{{2, 0, 0, 0, 0, 9}}));
    EXPECT_TRUE(veth->b.config.options.promiscuous);
    EXPECT_EQ(veth->b.config.options.alias, "to the lab");
    EXPECT_THAT(veth->b.config.ip.addresses, ElementsAre(Address("10.0.1.2/24"), Address("10.0.0.2/24")));
    EXPECT_THAT(veth->b.config.ip.routes, SizeIs(2));
    EXPECT_THAT(veth->b.config.alternative_names, ElementsAre("different"));
    EXPECT_EQ(veth->metadata.labels.at("team"), "net");
  }
  // And nothing else is there.
  auto ip = kernel_.FindIpConfig({.name = "blue", .cookie = engine_->GetNamespace("blue")->cookie}, before->b.ifindex);
  EXPECT_THAT(ip->addresses, SizeIs(2));
  EXPECT_THAT(ip->routes, SizeIs(1));
}

TEST_F(EngineUpdateTest, WhateverFailsNothingIsChanged) {
  MakeBlueWithFullVeth();
  ExpectAllOrNothing([&] { return Update(ChangeAll).ok(); }, /*die=*/false);
}

TEST_F(EngineUpdateTest, WhereverItDiesNothingIsChanged) {
  MakeBlueWithFullVeth();
  ExpectAllOrNothing([&] { return Update(ChangeAll).ok(); }, /*die=*/true);
}

TEST_F(EngineUpdateTest, WhateverFailsABridgeStaysAsItWas) {
  MakeBridge();
  auto change = [](Asked<DeviceSpec>& asked) {
    asked.spec.link.mtu = 1400;
    asked.spec.link.up = false;
    asked.spec.link.config.ip.addresses = {Address("10.0.0.1/24")};
    std::get<netlink::BridgeInfo>(asked.spec.options).stp = true;
    std::get<netlink::BridgeInfo>(asked.spec.options).priority = 7;
  };
  ExpectAllOrNothing([&] { return UpdateBridge(change).ok(); }, /*die=*/false);
  auto bridge = engine_->GetDevice("bridges/br");
  EXPECT_EQ(bridge->state, State::kReady) << ToText(bridge->deviations);
  EXPECT_EQ(std::get<netlink::BridgeInfo>(bridge->options).priority, 7);
  EXPECT_FALSE(bridge->link.up);
}

TEST_F(EngineUpdateTest, AnUnfinishedUpdateOfABridgeIsUndone) {
  MakeBridge();
  ExpectAllOrNothing(
      [&] {
        return UpdateBridge([](Asked<DeviceSpec>& asked) {
                 asked.spec.link.mtu = 1400;
                 asked.spec.link.config.ip.addresses = {Address("10.0.0.1/24")};
                 std::get<netlink::BridgeInfo>(asked.spec.options).priority = 7;
               })
            .ok();
      },
      /*die=*/true);
}

TEST_F(EngineUpdateTest, AnEndJoinsAndLeavesABridge) {
  MakeBlueWithVeth();
  MakeBridge();
  auto join = [](Asked<VethSpec>& asked) {
    asked.spec.a.config.bridge = "bridges/br";
    asked.spec.a.config.port.settings.isolated = true;
  };
  ExpectAllOrNothing([&] { return Update(join).ok(); }, /*die=*/false);
  EXPECT_EQ(HostLink("h0").master_ifindex, HostLink("br0").ifindex);
  EXPECT_EQ(HostLink("h0").port->isolated, true);
  EXPECT_EQ(engine_->GetVeth("v")->state, State::kReady);
  EXPECT_REFUSED(engine_->DeleteDevice({.context = {}, .name = "bridges/br"}), Reason::kDeviceInUse);
  // Another setting alone.
  ASSERT_TRUE(Update([](Asked<VethSpec>& asked) { asked.spec.a.config.port.settings.isolated = false; }).ok());
  EXPECT_EQ(HostLink("h0").port->isolated, false);
  auto leave = [](Asked<VethSpec>& asked) {
    asked.spec.a.config.bridge.clear();
    asked.spec.a.config.port = {};
  };
  ExpectAllOrNothing([&] { return Update(leave).ok(); }, /*die=*/false);
  EXPECT_EQ(HostLink("h0").master_ifindex, 0U);
  EXPECT_TRUE(engine_->DeleteDevice({.context = {}, .name = "bridges/br"}).ok());
  EXPECT_REFUSED(Update(join), Reason::kDeviceNotFound);
}

TEST_F(EngineUpdateTest, LimitsChangeAndGo) {
  MakeBlueWithFullVeth();
  const std::string unlimited = kernel_.DumpForTest();
  auto limit = [](uint64_t rate) {
    return [rate](Asked<VethSpec>& asked) {
      asked.spec.b.config.egress_limit = RateLimit{.rate = rate, .burst = 20'000, .latency = absl::Milliseconds(50)};
    };
  };
  ASSERT_TRUE(Update(limit(10'000'000)).ok());
  ExpectAllOrNothing([&] { return Update(limit(20'000'000)).ok(); }, /*die=*/false);
  EXPECT_EQ(engine_->GetVeth("v")->b.config.egress_limit->rate, 20'000'000U);
  ExpectAllOrNothing([&] { return Update(limit(30'000'000)).ok(); }, /*die=*/true);
  EXPECT_EQ(engine_->GetVeth("v")->state, State::kReady);
  ASSERT_TRUE(Update([](Asked<VethSpec>& asked) { asked.spec.b.config.egress_limit.reset(); }).ok());
  EXPECT_EQ(kernel_.DumpForTest(), unlimited);
}

TEST_F(EngineUpdateTest, WhatSomebodyElseChangedBesidesStaysSo) {
  MakeBlueWithFullVeth();
  const NetnsRef blue{.name = "blue", .cookie = engine_->GetNamespace("blue")->cookie};
  kernel_.SetLinkForTest(kHost, "h0", {.mtu = 9000});
  kernel_.SetIpConfigForTest(blue, "eth0", {});
  auto updated =
      Update([](Asked<VethSpec>& asked) { asked.spec.b.config.ip.addresses.push_back(Address("10.7.0.1/24")); });
  ASSERT_TRUE(updated.ok()) << updated.error().message;
  EXPECT_EQ(updated->state, State::kDegraded);
  EXPECT_EQ(HostLink("h0").mtu, 9000U);
  auto ip = kernel_.FindIpConfig(blue, updated->b.ifindex);
  EXPECT_THAT(ip->addresses, ElementsAre(Address("10.7.0.1/24")));
  // A failure goes back to what was there, and not to what was asked for.
  const std::string before = kernel_.DumpForTest();
  kernel_.FailNextForTest("Configure", ENOMEM);
  EXPECT_REFUSED(Update([](Asked<VethSpec>& asked) {
                   asked.spec.a.mtu = 1400;
                   asked.spec.a.config.alternative_names = {"new-name"};
                 }),
                 Reason::kKernel);
  EXPECT_EQ(kernel_.DumpForTest(), before);
}

TEST_F(EngineUpdateTest, WhatIsTakenIsRefused) {
  MakeBlueWithFullVeth();
  kernel_.AddForeignLinkForTest(kHost, "foreign");
  auto taken = Update([](Asked<VethSpec>& asked) { asked.spec.a.config.alternative_names = {"foreign"}; });
  EXPECT_REFUSED(taken, Reason::kInterfaceNameTaken);
  EXPECT_EQ(taken.error().field, "endpoint_a.alternative_names[0]");
  VethSpec other = HostTo("blue");
  other.a.interface_name = "h1";
  other.b.interface_name = "eth1";
  other.b.config.ip.routes = {Blackhole("10.8.0.0/16")};
  ASSERT_TRUE(CreateVeth("other", other).ok());
  EXPECT_REFUSED(Update(ChangeAll), Reason::kKernel);
}

TEST_F(EngineUpdateTest, AMissingPairChangesItsMetadataAlone) {
  MakeBlueWithVeth();
  ASSERT_TRUE(kernel_.DeleteLink(kHost, HostLink("h0").ifindex).ok());
  EXPECT_REFUSED(Update([](Asked<VethSpec>& asked) { asked.spec.a.mtu = 1400; }), Reason::kObjectMissing);
  auto updated = Update([](Asked<VethSpec>& asked) { asked.metadata.labels["a"] = "b"; });
  ASSERT_TRUE(updated.ok());
  EXPECT_EQ(updated->state, State::kMissing);
  EXPECT_REFUSED(engine_->UpdateVeth({.context = {}, .id = "none", .edit = nullptr, .bridges = {}}),
                 Reason::kVethNotFound);
}

TEST_F(EngineUpdateTest, ARefusedEditNamesItsFields) {
  MakeBlueWithVeth();
  auto refused = engine_->UpdateVeth(
      {.context = {},
       .id = "v",
       .edit = [](const Asked<VethSpec>&) -> netprov::Result<Asked<VethSpec>, std::vector<InvalidField>> {
         return std::vector<InvalidField>{{.field = "veth.endpoint_a.mtu", .description = "must be larger"}};
       },
       .bridges = {}});
  EXPECT_REFUSED(refused, Reason::kInvalidChange);
  ASSERT_THAT(refused.error().invalid, SizeIs(1));
  EXPECT_EQ(refused.error().invalid[0].field, "veth.endpoint_a.mtu");
}

TEST_F(EngineUpdateTest, ARepeatGetsTheFirstAnswerAndValidationChangesNothing) {
  MakeBlueWithVeth();
  const std::string before = kernel_.DumpForTest();
  auto change = [](Asked<VethSpec>& asked) { asked.spec.a.mtu = 1400; };
  auto projected = Update(change, {.request_id = "r", .fingerprint = "f", .validate_only = true});
  ASSERT_TRUE(projected.ok());
  EXPECT_EQ(projected->a.mtu, 1400U);
  EXPECT_EQ(kernel_.DumpForTest(), before);
  const CallContext context{.request_id = "r", .fingerprint = "f"};
  ASSERT_TRUE(Update(change, context).ok());
  ASSERT_TRUE(Update([](Asked<VethSpec>& asked) { asked.spec.a.mtu = 1300; }).ok());
  Restart();
  EXPECT_EQ(Update(change, context)->a.mtu, 1400U);
  EXPECT_EQ(HostLink("h0").mtu, 1300U) << "a repeat changes nothing";
  ASSERT_TRUE(DeleteVeth("v").ok());
  EXPECT_EQ(Update(change, context)->a.mtu, 1400U);
}

TEST_F(EngineUpdateTest, AnUpdateThatCouldNotBeUndoneIsUndoneBeforeTheNext) {
  MakeBlueWithVeth();
  const std::string before = kernel_.DumpForTest();
  int calls = 0;
  kernel_.SetFaultForTest([&](const std::string& operation) -> std::optional<KernelError> {
    if (operation == "Configure") return KernelError{.code = ENOMEM, .operation = operation, .extack = {}};
    // The second one is the undoing.
    if (operation == "SetLink" && ++calls > 1) return KernelError{.code = ENOMEM, .operation = operation, .extack = {}};
    return std::nullopt;
  });
  auto change = [](Asked<VethSpec>& asked) {
    asked.spec.a.config.options.limits.gso_max_size = 1000;
    asked.spec.a.config.alternative_names = {"new-name"};
  };
  EXPECT_REFUSED(Update(change), Reason::kRollbackFailed);
  EXPECT_EQ(LimitOfH0(), 1000U);
  EXPECT_REFUSED(Update(change), Reason::kRollbackFailed);
  kernel_.SetFaultForTest(nullptr);
  ASSERT_TRUE(Update([](Asked<VethSpec>& asked) { asked.metadata.labels["a"] = "b"; }).ok());
  EXPECT_EQ(kernel_.DumpForTest(), before);
  EXPECT_THAT(registry_->ListPending(), IsEmpty());
}

TEST_F(EngineUpdateTest, WhatWasMadeSinceTheCallCameIsNotFound) {
  auto change = [](Asked<VethSpec>& asked) { asked.spec.a.mtu = 1400; };
  auto call = [&] {
    return UpdateVethCall{.context = {}, .id = "v", .edit = Editing<VethSpec>(change), .bridges = {}};
  };
  UpdateVethCall early = call();
  early.context.keys = engine_->Keys(early);
  MakeBlueWithVeth();
  EXPECT_REFUSED(engine_->UpdateVeth(early), Reason::kVethNotFound);
  EXPECT_EQ(HostLink("h0").mtu, 1500U);
  UpdateVethCall now = call();
  now.context.keys = engine_->Keys(now);
  EXPECT_TRUE(engine_->UpdateVeth(now).ok());
  EXPECT_EQ(HostLink("h0").mtu, 1400U);
}

TEST_F(EngineUpdateTest, WithAnotherHardwareAddressTheNeighborsStay) {
  ASSERT_TRUE(CreateNamespace("blue").ok());
  VethSpec spec = Full();
  spec.b.config.ip.neighbours = {
      {.address = *netlink::IpAddress::Parse("10.0.0.1"), .mac = netlink::MacAddress{{2, 0, 0, 0, 0, 1}}}};
  ASSERT_TRUE(CreateVeth("v", spec).ok());
  auto change = [](Asked<VethSpec>& asked) {
    asked.spec.b.mac = netlink::MacAddress{{2, 0, 0, 0, 0, 9}};
    asked.spec.b.config.alternative_names = {"different"};
  };
  ExpectAllOrNothing([&] { return Update(change).ok(); }, /*die=*/false);
  auto veth = engine_->GetVeth("v");
  EXPECT_EQ(veth->state, State::kReady) << ToText(veth->deviations);
  EXPECT_THAT(veth->b.config.ip.neighbours, SizeIs(1));
}

// With another hardware address or down, the link loses them for good.
TEST_F(EngineUpdateTest, AnUpdateThatFailsLeavesNeighborsAndRoutesOfOthers) {
  MakeBlueWithFullVeth();
  const VethRecord record = *registry_->FindVeth("v");
  const NetnsRef blue{.name = "blue", .cookie = registry_->FindNamespace("blue")->cookie};
  IpConfig theirs{.neighbours = {{.address = *netlink::IpAddress::Parse("10.0.0.77"),
                                  .mac = netlink::MacAddress{{2, 0, 0, 0, 0, 77}}}}};
  theirs.routes.push_back({.destination = *netlink::IpPrefix::Parse("10.77.0.0/16")});
  ASSERT_TRUE(kernel_.Configure(blue, record.b.ifindex, {}, theirs, /*anew=*/false).ok());
  // Whatever the order of the routes.
  auto lines = [this] {
    std::vector<std::string> all = absl::StrSplit(kernel_.DumpForTest(), '\n');
    absl::c_sort(all);
    return all;
  };
  const std::vector<std::string> before = lines();
  auto change = [](Asked<VethSpec>& asked) {
    EndpointSpec& b = asked.spec.b;
    b.mac = netlink::MacAddress{{2, 0, 0, 0, 0, 9}};
    b.mtu = 1400;
    b.config.alternative_names = {"different"};
    b.config.ingress_limit = RateLimit{.rate = 20'000'000, .burst = 20'000, .latency = absl::Milliseconds(50)};
    b.config.ip.routes = {Blackhole("10.8.0.0/16")};
  };
  auto go_down = [](Asked<VethSpec>& asked) {
    EndpointSpec& b = asked.spec.b;
    b.up = false;
    b.config.gateways.clear();
    b.config.ingress_limit = RateLimit{.rate = 20'000'000, .burst = 20'000, .latency = absl::Milliseconds(50)};
    b.config.ip.routes = {Blackhole("10.8.0.0/16")};
  };
  for (const char* operation : {"Unconfigure", "Shape", "DeleteRoutes", "AddRoutes"}) {
    for (const std::function<void(Asked<VethSpec>&)>& edit : {std::function(change), std::function(go_down)}) {
      SCOPED_TRACE(operation);
      kernel_.FailNextForTest(operation, ENOMEM);
      EXPECT_REFUSED(Update(edit), Reason::kKernel);
      EXPECT_EQ(lines(), before);
    }
  }
}

// The kernel may refuse it.
TEST_F(EngineUpdateTest, AnMtuComesAheadOfWhatLosesNeighbors) {
  MakeBlueWithFullVeth();
  const netlink::MacAddress mac = HostLink("h0").mac;
  int sets = 0;
  kernel_.SetFaultForTest([&](const std::string& operation) -> std::optional<KernelError> {
    if (operation == "SetLink") ++sets;
    return sets < 2 ? std::nullopt : std::optional(KernelError{.code = EIO, .operation = operation, .extack = {}});
  });
  EXPECT_REFUSED(Update([](Asked<VethSpec>& asked) {
                   asked.spec.a.mac = netlink::MacAddress{{2, 0, 0, 0, 0, 9}};
                   asked.spec.a.mtu = 1400;
                 }),
                 Reason::kRollbackFailed);
  kernel_.SetFaultForTest(nullptr);
  EXPECT_EQ(HostLink("h0").mtu, 1400U);
  EXPECT_EQ(HostLink("h0").mac, mac);
}

// A bridge follows its ports, and what stands on it does not come back.
TEST_F(EngineUpdateTest, WhatJoinsABridgeIsAsItShallBeBefore) {
  MakeBlueWithFullVeth();
  MakeBridge();
  int sets = 0;
  kernel_.SetFaultForTest([&](const std::string& operation) -> std::optional<KernelError> {
    if (operation == "SetLink") ++sets;
    return std::nullopt;
  });
  ASSERT_TRUE(Update([](Asked<VethSpec>& asked) {
                asked.spec.a.mac = netlink::MacAddress{{2, 0, 0, 0, 0, 9}};
                asked.spec.a.mtu = 9000;
                asked.spec.a.config.bridge = "bridges/br";
              }).ok());
  kernel_.SetFaultForTest(nullptr);
  EXPECT_EQ(sets, 1) << "all in one, of which the bridge comes last";
  EXPECT_EQ(HostLink("h0").mtu, 9000U);
}

TEST_F(EngineUpdateTest, AWayBackThatStoppedHalfwayGoesOnToWhatWasLost) {
  ASSERT_TRUE(CreateNamespace("blue").ok());
  VethSpec spec = Full();
  spec.b.config.ip.neighbours = {
      {.address = *netlink::IpAddress::Parse("10.0.0.1"), .mac = netlink::MacAddress{{2, 0, 0, 0, 0, 1}}}};
  ASSERT_TRUE(CreateVeth("v", spec).ok());
  const std::string before = kernel_.DumpForTest();
  for (const bool restarts : {false, true}) {
    int sets = 0;
    kernel_.SetFaultForTest([&](const std::string& operation) -> std::optional<KernelError> {
      if (operation == "SetLink") ++sets;
      // What the end loses can't be brought back, nor what the way back loses.
      const bool fails = operation == "FindIpConfig" && sets > 0;
      return fails ? std::optional(KernelError{.code = EIO, .operation = operation, .extack = {}}) : std::nullopt;
    });
    EXPECT_REFUSED(Update([](Asked<VethSpec>& asked) {
                     asked.spec.b.mac = netlink::MacAddress{{2, 0, 0, 0, 0, 9}};
                   }),
                   Reason::kRollbackFailed);
    kernel_.SetFaultForTest(nullptr);
    EXPECT_EQ(sets, 2);
    EXPECT_NE(kernel_.DumpForTest(), before);
    if (restarts) {
      Restart();
    } else {
      ASSERT_TRUE(Update([](Asked<VethSpec>& asked) { asked.metadata.labels["a"] = "b"; }).ok());
    }
    EXPECT_EQ(kernel_.DumpForTest(), before);
  }
}

TEST_F(EngineUpdateTest, ValidationLeavesAnEarlierUpdateAsItIs) {
  MakeBlueWithVeth();
  LeaveAnUpdateOfALimit();
  auto label = [](Asked<VethSpec>& asked) { asked.metadata.labels["a"] = "b"; };
  ASSERT_TRUE(Update(label, {.validate_only = true}).ok());
  EXPECT_EQ(LimitOfH0(), 1000U);
  EXPECT_THAT(registry_->ListPending(), SizeIs(1));
}

TEST_F(EngineUpdateTest, AnUpdateOfWhatWasMadeAgainSinceIsNotUndone) {
  MakeBlueWithVeth();
  const std::optional<uint32_t> usual = LimitOfH0();
  LinkSettings theirs;
  theirs.limits.gso_max_size = 2000;
  kernel_.SetLinkForTest(kHost, "h0", theirs);
  LeaveAnUpdateOfALimit();
  ASSERT_TRUE(kernel_.DeleteLink(kHost, HostLink("h0").ifindex).ok());
  ASSERT_TRUE(engine_->Heal({.name = "veths/v", .uid = engine_->GetVeth("v")->uid}).ok());
  EXPECT_EQ(LimitOfH0(), usual);
  auto report = engine_->CheckHost(engine_->PlanCheck(/*validate_only=*/false));
  ASSERT_TRUE(report.ok());
  EXPECT_THAT(registry_->ListPending(), IsEmpty());
  EXPECT_EQ(LimitOfH0(), usual);
}

TEST_F(EngineUpdateTest, ARepeatSaysWhatWasMissing) {
  MakeBlueWithVeth();
  ASSERT_TRUE(kernel_.DeleteLink(kHost, HostLink("h0").ifindex).ok());
  kernel_.RemoveForeignNetnsForTest("blue");
  for (int time : {1, 2}) {
    SCOPED_TRACE(time);
    auto veth = Update([](Asked<VethSpec>& asked) { asked.metadata.labels["a"] = "b"; },
                       {.request_id = "r", .fingerprint = "f"});
    ASSERT_TRUE(veth.ok());
    EXPECT_EQ(veth->state, State::kMissing);
    auto blue = UpdateBlue([](Asked<NamespaceSpec>& asked) { asked.metadata.labels["a"] = "b"; },
                           {.request_id = "s", .fingerprint = "g"});
    ASSERT_TRUE(blue.ok());
    EXPECT_EQ(blue->state, State::kMissing);
  }
}

TEST_F(EngineUpdateTest, WhatHasAnotherOwnerIsNoGarbageAnyMore) {
  MakeBlueWithVeth();
  auto give_to = [&](const std::string& owner) {
    ASSERT_TRUE(UpdateBlue([&](Asked<NamespaceSpec>& asked) { asked.metadata.owner = owner; }).ok());
    ASSERT_TRUE(Update([&](Asked<VethSpec>& asked) { asked.metadata.owner = owner; }).ok());
  };
  give_to("ci");
  const CollectGarbageCall call = engine_->PlanGarbage("ci", {});
  EXPECT_THAT(call.doomed, SizeIs(2));
  give_to("lab");
  auto collected = engine_->CollectGarbage(call);
  ASSERT_TRUE(collected.ok());
  EXPECT_THAT(collected->deleted, IsEmpty());
  EXPECT_THAT(collected->failures, IsEmpty());
  EXPECT_EQ(engine_->GetVeth("v")->state, State::kReady);
}

TEST_F(EngineUpdateTest, AnAnswerSaysWhenItExpiresThoughTheKernelCannotBeLookedAt) {
  MakeBlueWithVeth();
  auto lease = [](auto& asked) {
    asked.metadata.owner = "ci";
    asked.metadata.ttl = absl::Minutes(1);
  };
  kernel_.SetFaultForTest([](const std::string& operation) -> std::optional<KernelError> {
    return KernelError{.code = ENOMEM, .operation = operation, .extack = {}};
  });
  auto veth = Update(lease);
  auto blue = UpdateBlue(lease);
  kernel_.SetFaultForTest(nullptr);
  ASSERT_TRUE(veth.ok());
  EXPECT_TRUE(veth->expire_time.has_value());
  ASSERT_TRUE(blue.ok());
  EXPECT_TRUE(blue->expire_time.has_value());
}

TEST_F(EngineUpdateTest, ALeaseChangesWithItsMetadata) {
  MakeBlueWithVeth();
  auto leased = Update([](Asked<VethSpec>& asked) {
    asked.metadata.owner = "ci";
    asked.metadata.ttl = absl::Minutes(1);
  });
  ASSERT_TRUE(leased.ok());
  EXPECT_TRUE(leased->expire_time.has_value());
  EXPECT_EQ(engine_->RenewLease("ci").leases, 1);
  auto forever = Update([](Asked<VethSpec>& asked) { asked.metadata = {}; });
  EXPECT_FALSE(forever->expire_time.has_value());
  EXPECT_EQ(engine_->RenewLease("ci").leases, 0);
}

TEST_F(EngineUpdateTest, SysctlsOfANamespaceChange) {
  ASSERT_TRUE(CreateNamespace("blue").ok());
  auto change = [](Asked<NamespaceSpec>& asked) {
    asked.spec.sysctls = {{"net.core.somaxconn", "128"}, {"net.ipv4.ip_forward", "1"}};
    asked.metadata.labels["a"] = "b";
  };
  for (bool die : {false, true}) {
    SCOPED_TRACE(die);
    const std::string before = kernel_.DumpForTest();
    kernel_.FailNextForTest("SetSysctls", EINVAL);
    EXPECT_REFUSED(UpdateBlue(change), Reason::kKernel);
    EXPECT_EQ(kernel_.DumpForTest(), before);
  }
  auto updated = UpdateBlue(change);
  ASSERT_TRUE(updated.ok()) << updated.error().message;
  EXPECT_EQ(updated->state, State::kReady) << ToText(updated->deviations);
  EXPECT_THAT(updated->spec.sysctls, SizeIs(2));
  // One that nobody asks for any more keeps its value.
  updated = UpdateBlue([](Asked<NamespaceSpec>& asked) { asked.spec.sysctls.clear(); });
  EXPECT_THAT(updated->spec.sysctls, IsEmpty());
  const NetnsRef blue{.name = "blue", .cookie = updated->cookie};
  EXPECT_EQ(kernel_.FindSysctls(blue, {{"net.ipv4.ip_forward", ""}})->at("net.ipv4.ip_forward"), "1");
  kernel_.AddForeignNetnsForTest("theirs");
  EXPECT_REFUSED(engine_->UpdateNamespace({.context = {}, .id = "theirs", .edit = nullptr}),
                 Reason::kNamespaceNotManaged);
  kernel_.RemoveForeignNetnsForTest("blue");
  EXPECT_REFUSED(UpdateBlue(change), Reason::kNamespaceMissing);
}

TEST_F(EngineUpdateTest, AnUpdateThatFailsGivesAPortItsFormerVlansBack) {
  MakeBlueWithPort();
  const auto before = *kernel_.ListPortVlans(kHost);
  kernel_.FailNextForTest("Configure", ENOMEM);
  auto updated = Update([](Asked<VethSpec>& asked) {
    asked.spec.a.config.port.vlans = {{.first = 10, .last = 10, .pvid = true, .untagged = true}};
    asked.spec.a.config.ip.addresses = {Address("10.0.0.1/24")};
  });
  EXPECT_REFUSED(updated, Reason::kKernel);
  EXPECT_EQ(*kernel_.ListPortVlans(kHost), before);
}

TEST_F(EngineUpdateTest, APortThatHadNoVlansHasNoneWhenAnUpdateIsUndone) {
  MakeBlueWithPort();
  MakeOtherBridge();
  const uint32_t ifindex = registry_->FindVeth("v")->a.ifindex;
  ASSERT_TRUE(kernel_.SetLink(kHost, ifindex, {.no_vlans = true}).ok());
  for (const std::string bridge : {"bridges/br", "bridges/other"}) {
    SCOPED_TRACE(bridge);
    LeaveUnfinished([bridge](EndpointConfig& config) {
      ChangePort(config);
      config.bridge = bridge;
    });
    EXPECT_THAT(kernel_.ListPortVlans(kHost)->at(ifindex), SizeIs(1));
    EXPECT_EQ(Restart().Count(Finding::Kind::kUnfinished), 0);
    EXPECT_THAT(kernel_.ListPortVlans(kHost)->at(ifindex), IsEmpty());
  }
}

TEST_F(EngineUpdateTest, APortThatComesBackHasTheVlansThatItHad) {
  MakeBlueWithPort();
  MakeOtherBridge();
  const uint32_t ifindex = registry_->FindVeth("v")->a.ifindex;
  LinkSettings by_somebody_else;
  by_somebody_else.port.vlans = {{.first = 1, .last = 1, .pvid = true, .untagged = true}, {.first = 20, .last = 29}};
  for (const LinkSettings& settings : {by_somebody_else, LinkSettings{.no_vlans = true}}) {
    ASSERT_TRUE(kernel_.SetLink(kHost, ifindex, settings).ok());
    for (const std::string bridge : {"bridges/other", ""}) {
      SCOPED_TRACE(absl::StrCat(settings.port.vlans.size(), " ranges, to '", bridge, "'"));
      auto go = [bridge](EndpointConfig& config) { config.bridge = bridge; };
      kernel_.FailNextForTest("Configure", ENOMEM);
      auto updated = Update([go](Asked<VethSpec>& asked) {
        go(asked.spec.a.config);
        asked.spec.a.config.ip.addresses = {Address("10.0.0.1/24")};
      });
      EXPECT_REFUSED(updated, Reason::kKernel);
      EXPECT_EQ(kernel_.ListPortVlans(kHost)->at(ifindex), settings.port.vlans);
      // By the next process.
      LeaveUnfinished(go);
      const auto away = *kernel_.ListPortVlans(kHost);
      EXPECT_TRUE(bridge.empty() ? !away.contains(ifindex) : away.at(ifindex).front().first == 7);
      EXPECT_EQ(Restart().Count(Finding::Kind::kUnfinished), 0);
      EXPECT_EQ(kernel_.ListPortVlans(kHost)->at(ifindex), settings.port.vlans);
    }
  }
}

TEST_F(EngineUpdateTest, AnUpdateIsUndoneAlsoWhereTheFormerBridgeIsGone) {
  MakeBlueWithPort();
  LeaveUnfinished([](EndpointConfig& config) { config.bridge.clear(); });
  ASSERT_TRUE(kernel_.DeleteLink(kHost, registry_->FindDevice("bridges/br")->link.ifindex).ok());
  EXPECT_EQ(Restart().Count(Finding::Kind::kUnfinished), 0);
  EXPECT_THAT(registry_->ListPending(), IsEmpty());
}

TEST_F(EngineUpdateTest, AnUpdateOfAPortIsUndoneAlsoWhereItsBridgeIsGone) {
  MakeBlueWithPort();
  LeaveUnfinished(ChangePort);
  ASSERT_TRUE(kernel_.DeleteLink(kHost, registry_->FindDevice("bridges/br")->link.ifindex).ok());
  EXPECT_EQ(Restart().Count(Finding::Kind::kUnfinished), 0);
  EXPECT_THAT(registry_->ListPending(), IsEmpty());
}

TEST_F(EngineUpdateTest, APortThatIsAnotherBridgesByNowStaysAsItIs) {
  MakeBlueWithPort();
  LeaveUnfinished(ChangePort);
  auto theirs = kernel_.CreateDevice({.name = "theirs"}, netlink::BridgeInfo(), "");
  ASSERT_TRUE(theirs.ok());
  PortOptions port;
  port.settings.hairpin = true;
  port.vlans = {{.first = 30, .last = 30}};
  const uint32_t ifindex = registry_->FindVeth("v")->a.ifindex;
  ASSERT_TRUE(kernel_.SetLink(kHost, ifindex, {.master = theirs->ifindex, .port = port}).ok());
  EXPECT_EQ(Restart().Count(Finding::Kind::kUnfinished), 0);
  EXPECT_EQ((*kernel_.FindLink(kHost, ifindex))->port->hairpin, true);
  EXPECT_EQ(kernel_.ListPortVlans(kHost)->at(ifindex), port.vlans);
}

TEST_F(EngineUpdateTest, AFailedJoinGoesBackToTheBridgeToWhichSomebodyElseMovedTheEnd) {
  MakeBlueWithPort();
  MakeOtherBridge();
  const uint32_t ifindex = registry_->FindVeth("v")->a.ifindex;
  PortOptions port;
  port.settings.hairpin = true;
  port.vlans = {{.first = 30, .last = 30}};
  const auto theirs = kernel_.CreateDevice({.name = "theirs"}, netlink::BridgeInfo(), "");
  for (const uint32_t bridge : {theirs->ifindex, HostLink("br1").ifindex}) {
    ASSERT_TRUE(kernel_.SetLink(kHost, ifindex, {.master = bridge, .port = port}).ok());
    const std::string before = kernel_.DumpForTest();
    auto leave = [](EndpointConfig& config) { config.LeaveBridge(); };
    kernel_.FailNextForTest("Configure", ENOMEM);
    auto updated = Update([leave](Asked<VethSpec>& asked) {
      leave(asked.spec.a.config);
      asked.spec.a.config.ip.addresses = {Address("10.0.0.1/24")};
    });
    EXPECT_REFUSED(updated, Reason::kKernel);
    EXPECT_EQ(kernel_.DumpForTest(), before);
    // By the next process.
    LeaveUnfinished(leave);
    EXPECT_EQ(HostLink("h0").master_ifindex, 0U);
    EXPECT_EQ(Restart().Count(Finding::Kind::kUnfinished), 0);
    EXPECT_EQ(kernel_.DumpForTest(), before);
  }
}

TEST_F(EngineUpdateTest, ABridgeThatCannotBeLookedAtAfterItsUpdateHasItsPorts) {
  MakeBlueWithPort();
  kernel_.FailNextForTest("FindLink", ENOMEM);
  auto updated = UpdateBridge([](Asked<DeviceSpec>& asked) { asked.metadata.owner = "lab"; });
  ASSERT_TRUE(updated.ok()) << updated.error().message;
  EXPECT_THAT(updated->ports, ElementsAre("veths/v"));
}

TEST_F(EngineUpdateTest, ARouteThatIsAnothersByNowStays) {
  MakeBlueWithFullVeth();
  const NetnsRef blue{.name = "blue", .cookie = registry_->FindNamespace("blue")->cookie};
  const std::vector<RouteSpec> nowhere = {Blackhole("10.9.0.0/16")};
  // The first has lost it, so that the second can have it.
  ASSERT_TRUE(kernel_.DeleteRoutes(blue, nowhere).ok());
  VethSpec second{.a = {.interface_name = "h1"}, .b = {.namespace_id = "blue", .interface_name = "eth1"}};
  second.b.config.ip.routes = nowhere;
  ASSERT_TRUE(CreateVeth("w", second).ok());

  auto drop_it = [](Asked<VethSpec>& asked) { asked.spec.b.config.ip.routes.clear(); };
  for (int nth = 1;; ++nth) {
    int left = nth;
    kernel_.SetFaultForTest([&left](const std::string& operation) -> std::optional<KernelError> {
      if (--left != 0) return std::nullopt;
      return KernelError{.code = EIO, .operation = operation, .extack = {}};
    });
    const bool updated = Update(drop_it).ok();
    kernel_.SetFaultForTest(nullptr);
    EXPECT_EQ(*kernel_.ListRoutesWithoutLink(blue), nowhere) << nth;
    if (updated) break;
  }
  EXPECT_EQ(engine_->GetVeth("v")->state, State::kReady);
  EXPECT_EQ(engine_->GetVeth("w")->state, State::kReady);
}

TEST_F(EngineUpdateTest, SysctlsThatTheKernelChangesWithOthersStay) {
  const std::string redirects = "net.ipv4.conf.all.accept_redirects";
  const std::string forward = "net.ipv4.ip_forward";
  const std::string backlog = "net.core.somaxconn";
  const Sysctls asked = {{redirects, "0"}, {forward, "1"}, {backlog, "128"}};
  ASSERT_TRUE(engine_->CreateNamespace({.id = "blue", .spec = {.sysctls = asked}}).ok());
  const NetnsRef blue{.name = "blue", .cookie = registry_->FindNamespace("blue")->cookie};
  auto stop_forwarding = [&](Asked<NamespaceSpec>& present) { present.spec.sysctls[forward] = "0"; };
  auto now = [&](const std::string& name) { return kernel_.FindSysctls(blue, {{name, ""}})->at(name); };
  ASSERT_EQ(engine_->GetNamespace("blue")->state, State::kReady);
  // Back to all of it, also where only some is asked for by then, by itself or by the next process.
  auto forget_redirects = [&](Asked<NamespaceSpec>& present) {
    stop_forwarding(present);
    present.spec.sysctls.erase(redirects);
    present.spec.dns.nameservers = {"10.0.0.53"};
  };
  for (const bool dies : {false, true}) {
    SCOPED_TRACE(dies);
    int sets = 0;
    kernel_.SetFaultForTest([&](const std::string& operation) -> std::optional<KernelError> {
      const bool fails = operation == "SetEtcFiles" || (dies && operation == "SetSysctls" && ++sets > 1);
      return fails ? std::optional(KernelError{.code = ENOMEM, .operation = operation, .extack = {}}) : std::nullopt;
    });
    auto updated = UpdateBlue(forget_redirects);
    kernel_.SetFaultForTest(nullptr);
    EXPECT_REFUSED(updated, dies ? Reason::kRollbackFailed : Reason::kKernel);
    if (dies) {
      EXPECT_EQ(now(redirects), "1");
      EXPECT_EQ(Restart().Count(Finding::Kind::kUnfinished), 0);
    }
    EXPECT_EQ(*kernel_.FindSysctls(blue, asked), asked);
  }
  // What somebody else changed stays so.
  kernel_.SetSysctlForTest(blue, backlog, "256");
  auto updated = UpdateBlue(stop_forwarding);
  ASSERT_TRUE(updated.ok()) << updated.error().message;
  EXPECT_EQ(now(redirects), "0");
  EXPECT_EQ(now(forward), "0");
  EXPECT_EQ(now(backlog), "256");
  ASSERT_THAT(updated->deviations, SizeIs(1));
  EXPECT_EQ(updated->deviations[0].field, "sysctls[net.core.somaxconn]");
}

TEST_F(EngineUpdateTest, SettingsOfSingleLinksComeBackWithForwarding) {
  MakeBlueWithVeth();
  const NetnsRef blue{.name = "blue", .cookie = registry_->FindNamespace("blue")->cookie};
  const std::string redirects = "net.ipv4.conf.all.accept_redirects";
  const Sysctls single = {{"net.ipv4.conf.eth0.forwarding", "1"}, {redirects, "0"}};
  ASSERT_TRUE(kernel_.SetSysctls(blue, single).ok());
  kernel_.FailNextForTest("SetEtcFiles", ENOMEM);
  auto updated = UpdateBlue([](Asked<NamespaceSpec>& asked) {
    asked.spec.sysctls = {{"net.ipv4.ip_forward", "1"}};
    asked.spec.dns.nameservers = {"10.0.0.53"};
  });
  EXPECT_REFUSED(updated, Reason::kKernel);
  EXPECT_EQ(*kernel_.FindSysctls(blue, single), single);
  EXPECT_EQ(kernel_.FindSysctls(blue, {{"net.ipv4.ip_forward", ""}})->at("net.ipv4.ip_forward"), "0");
}

TEST_F(EngineUpdateTest, APortThatLosesItsVlansHasThoseOfANewOne) {
  MakeBlueWithPort();
  MakeOtherBridge();
  kernel_.AddForeignLinkForTest(kHost, "br-lan", "bridge");
  netlink::BridgeInfo none;
  none.default_pvid = 0;
  kernel_.SetLinkForTest(kHost, "br-lan", {.device = none});
  const uint32_t ifindex = registry_->FindVeth("v")->a.ifindex;
  const std::vector<netlink::BridgeVlan> own = {{.first = 10, .last = 19}};
  auto clear = [](Asked<VethSpec>& asked) { asked.spec.a.config.port.vlans.clear(); };
  auto vlans = [&] { return kernel_.ListPortVlans(kHost)->at(ifindex); };
  struct Case {
    const char* bridge;
    const char* bridge_interface;
    std::vector<netlink::BridgeVlan> of_new_port;
  };
  for (const Case& test :
       {Case{"bridges/br", "", {{.first = 1, .last = 1, .pvid = true, .untagged = true}}},
        Case{"bridges/other", "", {{.first = 7, .last = 7, .pvid = true, .untagged = true}}}, Case{"", "br-lan", {}}}) {
    SCOPED_TRACE(absl::StrCat(test.bridge, test.bridge_interface));
    auto updated = Update([&](Asked<VethSpec>& asked) {
      asked.spec.a.config.bridge = test.bridge;
      asked.spec.a.config.bridge_interface = test.bridge_interface;
      asked.spec.a.config.port.vlans = own;
    });
    ASSERT_TRUE(updated.ok()) << updated.error().message;
    EXPECT_EQ(vlans(), own);
    kernel_.FailNextForTest("Configure", ENOMEM);
    EXPECT_REFUSED(Update([&](Asked<VethSpec>& asked) {
                     clear(asked);
                     asked.spec.a.config.ip.addresses = {Address("10.0.0.1/24")};
                   }),
                   Reason::kKernel);
    EXPECT_EQ(vlans(), own);
    LeaveUnfinished([](EndpointConfig& config) { config.port.vlans.clear(); });
    EXPECT_EQ(vlans(), test.of_new_port);
    EXPECT_EQ(Restart().Count(Finding::Kind::kUnfinished), 0);
    EXPECT_EQ(vlans(), own);
    updated = Update(clear);
    ASSERT_TRUE(updated.ok()) << updated.error().message;
    EXPECT_EQ(vlans(), test.of_new_port);
    EXPECT_EQ(updated->state, State::kReady) << ToText(updated->deviations);
  }
  // One that is no port any more has nothing to lose.
  ASSERT_TRUE(Update([&](Asked<VethSpec>& asked) { asked.spec.a.config.port.vlans = own; }).ok());
  kernel_.SetLinkForTest(kHost, "h0", {.master = 0});
  EXPECT_TRUE(Update(clear).ok());
}

TEST_F(EngineUpdateTest, ALimitOfIpv4IsKeptThoughThatOfAllPacketsChanges) {
  ASSERT_TRUE(CreateNamespace("blue").ok());
  VethSpec spec = HostTo("blue");
  spec.a.config.options.limits.gso_ipv4_max_size = 2000;
  ASSERT_TRUE(CreateVeth("v", spec).ok());
  auto change = [](Asked<VethSpec>& asked) {
    asked.spec.a.config.options.limits.gso_max_size = 3000;
    asked.spec.a.config.options.limits.gro_max_size = 4000;
  };
  const netlink::OffloadLimits before = HostLink("h0").options.limits;
  kernel_.FailNextForTest("Configure", ENOMEM);
  EXPECT_REFUSED(Update([&](Asked<VethSpec>& asked) {
                   change(asked);
                   asked.spec.a.config.alternative_names = {"new-name"};
                 }),
                 Reason::kKernel);
  EXPECT_EQ(HostLink("h0").options.limits, before);
  auto updated = Update(change);
  ASSERT_TRUE(updated.ok()) << updated.error().message;
  EXPECT_EQ(updated->state, State::kReady) << ToText(updated->deviations);
  EXPECT_EQ(HostLink("h0").options.limits.gso_ipv4_max_size, 2000U);
  EXPECT_EQ(HostLink("h0").options.limits.gro_ipv4_max_size, 4000U) << "nobody asked for another one";
}

}  // namespace
}  // namespace netprov::engine
