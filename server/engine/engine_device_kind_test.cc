// Devices that are no bridges. What they share with bridges is in engine_device_test.cc.
#include <cerrno>
#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/engine/engine.h"
#include "server/engine/engine_fixture.h"
#include "server/engine/fake_kernel.h"
#include "server/engine/tag.h"
#include "server/netlink/ip_address.h"
#include "server/netlink/link_info.h"
#include "server/netlink/mac_address.h"

namespace netprov::engine {
namespace {

using netlink::IpAddress;
using netlink::IpvlanInfo;
using netlink::IpvlanMode;
using netlink::MacAddress;
using netlink::MacvlanInfo;
using netlink::MacvlanMode;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr MacAddress kFirst = {{2, 0, 0, 0, 0, 1}};
constexpr MacAddress kSecond = {{2, 0, 0, 0, 0, 2}};

MacvlanInfo Macvlan(MacvlanMode mode, std::vector<MacAddress> sources = {}) {
  return {.lower = 0, .mode = mode, .flags = 0, .sources = std::move(sources)};
}

FdbEntry Entry(const MacAddress& mac, const char* destination) {
  return {.mac = mac, .destination = *IpAddress::Parse(destination), .port = std::nullopt, .vni = std::nullopt};
}

VxlanOptions Vxlan(uint32_t vni) {
  VxlanOptions options;
  options.info.vni = vni;
  return options;
}

class EngineDeviceKindTest : public EngineTest {
 protected:
  void SetUp() override {
    EngineTest::SetUp();
    kernel_.AddForeignLinkForTest(kHost, "eth0");
    ASSERT_TRUE(CreateNamespace("blue").ok());
  }

  // In blue, with an address and a default route; on eth0 of the host's if it stands on anything.
  static DeviceSpec Spec(DeviceOptions options) {
    DeviceSpec spec{
        .link = {.namespace_id = "blue", .interface_name = "d0"}, .options = std::move(options), .lower = {}};
    if (HasLower(spec.options)) spec.lower.interface_name = "eth0";
    spec.link.config.ip.addresses = {{.local = *netlink::IpPrefix::Parse("10.0.0.2/24"), .peer = std::nullopt}};
    spec.link.config.gateways = {*IpAddress::Parse("10.0.0.1")};
    return spec;
  }
  EngineResult<Device> Create(const std::string& id, DeviceSpec spec, Metadata metadata = {},
                              CallContext context = {}) {
    return engine_->CreateDevice({.context = std::move(context),
                                  .name = DeviceName(id),
                                  .spec = std::move(spec),
                                  .metadata = std::move(metadata)});
  }
  EngineResult<void> Delete(const std::string& id) { return engine_->DeleteDevice({.name = DeviceName(id)}); }
  EngineResult<Device> Update(const std::string& id, const std::function<void(DeviceSpec&)>& change) {
    return engine_->UpdateDevice({.context = {},
                                  .name = DeviceName(id),
                                  .edit = [&change](const Asked<DeviceSpec>& present)
                                      -> netprov::Result<Asked<DeviceSpec>, std::vector<InvalidField>> {
                                    Asked<DeviceSpec> asked = present;
                                    change(asked.spec);
                                    return asked;
                                  }});
  }
  Device Read(const std::string& id) {
    auto device = engine_->GetDevice(DeviceName(id));
    EXPECT_TRUE(device.ok()) << device.error().message;
    return device.ok() ? *device : Device();
  }
  EngineResult<void> Heal(const std::string& id) {
    return engine_->Heal({.name = DeviceName(id), .uid = registry_->FindDevice(DeviceName(id))->uid});
  }
  NetnsRef Blue() { return {.name = "blue", .cookie = (*kernel_.FindNetns("blue"))->cookie}; }
  std::optional<Link> In(const NetnsRef& netns, const std::string& name) { return *kernel_.FindLink(netns, name); }

  static std::vector<DeviceOptions> AllKinds() {
    VxlanOptions vxlan = Vxlan(42);
    vxlan.info.local = IpAddress::Parse("192.0.2.1");
    vxlan.info.remote = IpAddress::Parse("192.0.2.2");
    vxlan.info.port = 4790;
    vxlan.info.ttl = 7;
    vxlan.info.learning = false;
    vxlan.info.proxy = true;
    vxlan.info.ageing = std::chrono::seconds(60);
    vxlan.fdb = {Entry({}, "192.0.2.3"), Entry(kFirst, "192.0.2.4")};
    vxlan.fdb[0].port = 99;
    vxlan.fdb[1].vni = 7;
    return {Macvlan(MacvlanMode::kPrivate),
            Macvlan(MacvlanMode::kVepa),
            Macvlan(MacvlanMode::kBridge),
            Macvlan(MacvlanMode::kPassthru),
            Macvlan(MacvlanMode::kSource, {kFirst, kSecond}),
            vxlan,
            netlink::VlanInfo{.lower = 0, .id = 7, .protocol = netlink::VlanProtocol::kDot1Ad},
            IpvlanInfo{.lower = 0, .mode = IpvlanMode::kL3s, .flags = 2},
            netlink::DummyInfo(),
            netlink::IfbInfo()};
  }
};

TEST_F(EngineDeviceKindTest, EachKindHasWhatWasAskedFor) {
  const std::string before = kernel_.DumpForTest();
  for (const DeviceOptions& options : AllKinds()) {
    SCOPED_TRACE(KindOf(options));
    auto made = Create("d", Spec(options));
    ASSERT_TRUE(made.ok()) << made.error().message;
    EXPECT_EQ(made->options, options);
    const std::optional<Link> link = In(Blue(), "d0");
    ASSERT_TRUE(link.has_value());
    EXPECT_EQ(link->kind, KindOf(options));
    EXPECT_EQ(link->lower_ifindex, HasLower(options) ? In(kHost, "eth0")->ifindex : 0);
    EXPECT_EQ(link->alias, TagOf(registry_->id(), made->uid, "devices/d"));
    EXPECT_THAT(kernel_.FindIpConfig(Blue(), link->ifindex)->routes, SizeIs(1));
    // Also as the registry keeps it.
    Restart();
    const Device read = Read("d");
    EXPECT_EQ(read.state, State::kReady) << ToText(read.deviations);
    EXPECT_EQ(read.options, options);
    EXPECT_EQ(read.lower, made->lower);
    EXPECT_EQ(read.link.mac, made->link.mac);
    EXPECT_THAT(read.link.config.gateways, SizeIs(1));
    EXPECT_THAT(engine_->ListDevices("devices/", "", 10)->items, SizeIs(1));
    EXPECT_THAT(engine_->ListDevices("bridges/", "", 10)->items, IsEmpty());
    ASSERT_TRUE(Delete("d").ok());
    EXPECT_EQ(kernel_.DumpForTest(), before);
  }
}

TEST_F(EngineDeviceKindTest, RepeatsAndTrials) {
  const CallContext context{.request_id = "r", .fingerprint = "f"};
  auto made = Create("d", Spec(Macvlan(MacvlanMode::kBridge)), {}, context);
  ASSERT_TRUE(made.ok()) << made.error().message;
  Restart();
  auto repeated = Create("d", Spec(Macvlan(MacvlanMode::kBridge)), {}, context);
  ASSERT_TRUE(repeated.ok());
  EXPECT_EQ(repeated->uid, made->uid);
  EXPECT_EQ(repeated->lower, made->lower);
  EXPECT_EQ(repeated->options, made->options);
  auto again = Create("d", Spec(Macvlan(MacvlanMode::kVepa)));
  EXPECT_REFUSED(again, Reason::kDeviceAlreadyExists);
  EXPECT_EQ(again.error().specs_match, false);
  ASSERT_TRUE(Delete("d").ok());

  const std::string before = kernel_.DumpForTest();
  auto trial = Create("", Spec(Vxlan(1)), {}, {.validate_only = true});
  ASSERT_TRUE(trial.ok()) << trial.error().message;
  EXPECT_EQ(trial->name, "devices/");
  DeviceSpec nowhere = Spec(Vxlan(1));
  nowhere.lower.interface_name = "eth9";
  EXPECT_REFUSED(Create("d", nowhere, {}, {.validate_only = true}), Reason::kLowerNotFound);
  EXPECT_EQ(kernel_.DumpForTest(), before);
  auto chosen = Create("", Spec(Vxlan(1)));
  ASSERT_TRUE(chosen.ok());
  EXPECT_THAT(chosen->name, ::testing::StartsWith("devices/vxlan-"));
}

TEST_F(EngineDeviceKindTest, WhatItStandsOnIsLookedForWhereItIsSaid) {
  DeviceSpec spec = Spec(Macvlan(MacvlanMode::kBridge));
  spec.lower = {.namespace_id = "green", .interface_name = "eth0"};
  auto nowhere = Create("d", spec);
  EXPECT_REFUSED(nowhere, Reason::kNamespaceNotFound);
  EXPECT_EQ(nowhere.error().field, "lower_namespace");
  ASSERT_TRUE(CreateNamespace("green").ok());
  auto missing = Create("d", spec);
  EXPECT_REFUSED(missing, Reason::kLowerNotFound);
  EXPECT_EQ(missing.error().field, "lower_interface");
  EXPECT_EQ(missing.error().interface_name, "eth0");
  EXPECT_FALSE(In(Blue(), "d0").has_value());
  ASSERT_TRUE(
      CreateVeth("v", {.a = {.namespace_id = "green", .interface_name = "eth0"}, .b = {.interface_name = "h0"}}).ok());
  ASSERT_TRUE(Create("d", spec).ok());
  // A VXLAN's packets are where it is said, with and without a link.
  DeviceSpec vxlan = Spec(Vxlan(1));
  vxlan.link = {.namespace_id = "blue", .interface_name = "x0"};
  vxlan.lower = {.namespace_id = "green", .interface_name = ""};
  ASSERT_TRUE(Create("x", vxlan).ok());
  // With the namespace goes what stands in it.
  ASSERT_TRUE(DeleteNamespace("green").ok());
  EXPECT_EQ(Read("d").state, State::kMissing);
  EXPECT_EQ(Read("x").state, State::kMissing);
  EXPECT_TRUE(Delete("d").ok());
  EXPECT_TRUE(Delete("x").ok());
}

TEST_F(EngineDeviceKindTest, WhatTheKernelRefusesIsSaid) {
  const std::string before = kernel_.DumpForTest();
  kernel_.FailNextForTest("CreateDevice", EOPNOTSUPP, "Unknown device type");
  auto lacking = Create("d", Spec(netlink::DummyInfo()));
  EXPECT_REFUSED(lacking, Reason::kKernel);
  EXPECT_EQ(lacking.error().kernel->extack, "Unknown device type");
  EXPECT_EQ(lacking.error().step, "create dummy d0");
  EXPECT_EQ(kernel_.DumpForTest(), before);

  ASSERT_TRUE(Create("d", Spec(Macvlan(MacvlanMode::kPassthru))).ok());
  DeviceSpec second = Spec(Macvlan(MacvlanMode::kBridge));
  second.link.interface_name = "d1";
  EXPECT_REFUSED(Create("e", second), Reason::kDeviceRefused);
  ASSERT_TRUE(Delete("d").ok());

  // Not the name, but the identifier is taken; with a pattern too.
  ASSERT_TRUE(Create("d", Spec(Vxlan(42))).ok());
  for (const char* name : {"d1", "d%d"}) {
    DeviceSpec same = Spec(Vxlan(42));
    same.link.interface_name = name;
    auto refused = Create("e", same);
    EXPECT_REFUSED(refused, Reason::kDeviceRefused);
    EXPECT_EQ(refused.error().kernel->code, EEXIST);
  }
  DeviceSpec taken = Spec(Vxlan(43));
  EXPECT_REFUSED(Create("e", taken), Reason::kInterfaceNameTaken);
  ASSERT_TRUE(Delete("d").ok());
  EXPECT_EQ(kernel_.DumpForTest(), before);
}

TEST_F(EngineDeviceKindTest, WhateverFailsNothingIsLeft) {
  VxlanOptions vxlan = Vxlan(1);
  vxlan.fdb = {Entry({}, "192.0.2.3")};
  const std::string before = kernel_.DumpForTest();
  for (const char* operation : {"FindLink", "CreateDevice", "Configure"}) {
    SCOPED_TRACE(operation);
    kernel_.FailNextForTest(operation, ENOMEM);
    EXPECT_FALSE(Create("d", Spec(vxlan)).ok());
    EXPECT_EQ(kernel_.DumpForTest(), before);
    EXPECT_THAT(Restart().findings, IsEmpty());
    EXPECT_REFUSED(engine_->GetDevice("devices/d"), Reason::kDeviceNotFound);
  }
  ASSERT_TRUE(Create("d", Spec(vxlan)).ok());
  kernel_.FailNextForTest("ListFdb", ENOMEM);
  EXPECT_REFUSED(engine_->GetDevice("devices/d"), Reason::kKernel);
  EXPECT_EQ(Read("d").state, State::kReady);
}

TEST_F(EngineDeviceKindTest, WhatACrashLeftIsPutInOrder) {
  const std::string before = kernel_.DumpForTest();
  // Born, and nothing else was done.
  kernel_.SetFaultForTest([](const std::string& operation) -> std::optional<KernelError> {
    if (operation != "Configure" && operation != "DeleteLink") return std::nullopt;
    return KernelError{.code = ENOMEM, .operation = operation, .extack = {}};
  });
  EXPECT_REFUSED(Create("d", Spec(Macvlan(MacvlanMode::kBridge))), Reason::kRollbackFailed);
  EXPECT_NE(kernel_.DumpForTest(), before);
  kernel_.SetFaultForTest(nullptr);
  Restart();
  EXPECT_EQ(kernel_.DumpForTest(), before);
  EXPECT_REFUSED(engine_->GetDevice("devices/d"), Reason::kDeviceNotFound);
}

TEST_F(EngineDeviceKindTest, WhatExcludesEachOtherOnOneLinkIsRefused) {
  const netlink::VlanInfo vlan{.lower = 0, .id = 7};
  const struct {
    DeviceOptions there;
    DeviceOptions asked;
    int code;  // 0: both may be
  } kCases[] = {{Macvlan(MacvlanMode::kBridge), IpvlanInfo(), EBUSY},
                {IpvlanInfo(), Macvlan(MacvlanMode::kBridge), EBUSY},
                {vlan, vlan, EEXIST},
                {vlan, netlink::VlanInfo{.lower = 0, .id = 7, .protocol = netlink::VlanProtocol::kDot1Ad}, 0},
                {vlan, netlink::VlanInfo{.lower = 0, .id = 8}, 0},
                {vlan, IpvlanInfo(), 0}};
  for (const auto& [there, asked, code] : kCases) {
    ASSERT_TRUE(Create("d", Spec(there)).ok());
    DeviceSpec second = Spec(asked);
    second.link.interface_name = "d1";
    second.link.config = {};
    const std::string before = kernel_.DumpForTest();
    auto made = Create("e", second);
    EXPECT_EQ(made.ok(), code == 0) << KindOf(there) << " and " << KindOf(asked);
    if (made.ok()) {
      ASSERT_TRUE(Delete("e").ok());
    } else {
      EXPECT_REFUSED(made, Reason::kDeviceRefused);
      EXPECT_EQ(made.error().kernel->code, code);
      EXPECT_EQ(kernel_.DumpForTest(), before);
    }
    ASSERT_TRUE(Delete("d").ok());
  }
}

TEST_F(EngineDeviceKindTest, DriftOfAMacvlanShowsAndIsHealed) {
  const DeviceOptions options = Macvlan(MacvlanMode::kSource, {kFirst, kSecond});
  ASSERT_TRUE(Create("d", Spec(options)).ok());
  // Another order is no difference.
  kernel_.SetLinkForTest(Blue(), "d0", {.device = Macvlan(MacvlanMode::kSource, {kSecond, kFirst})});
  EXPECT_EQ(Read("d").state, State::kReady);
  kernel_.SetLinkForTest(Blue(), "d0", {.device = Macvlan(MacvlanMode::kSource, {kFirst})});
  EXPECT_THAT(Read("d").deviations, ElementsAre(Deviation{.field = "macvlan.source_mac_addresses",
                                                          .expected = "02:00:00:00:00:01, 02:00:00:00:00:02",
                                                          .actual = "02:00:00:00:00:01"}));
  ASSERT_TRUE(Heal("d").ok());
  EXPECT_EQ(Read("d").state, State::kReady);
  kernel_.SetLinkForTest(Blue(), "d0", {.device = Macvlan(MacvlanMode::kVepa)});
  EXPECT_THAT(Read("d").deviations,
              ElementsAre(Deviation{.field = "macvlan.mode", .expected = "source", .actual = "vepa"}));
  ASSERT_TRUE(Heal("d").ok());
  EXPECT_EQ(Read("d").state, State::kReady);
  EXPECT_EQ(Read("d").options, options);
}

TEST_F(EngineDeviceKindTest, DriftOfAVxlanShowsAndIsHealed) {
  VxlanOptions asked = Vxlan(42);
  asked.info.local = IpAddress::Parse("192.0.2.1");
  asked.info.remote = IpAddress::Parse("192.0.2.2");
  asked.fdb = {Entry({}, "192.0.2.3"), Entry(kFirst, "192.0.2.4")};
  // What is the device's own makes no difference.
  asked.fdb[1].port = asked.info.port;
  asked.fdb[1].vni = 42;
  ASSERT_TRUE(Create("d", Spec(asked)).ok());
  EXPECT_EQ(Read("d").state, State::kReady) << ToText(Read("d").deviations);
  VxlanOptions changed = Vxlan(42);
  changed.info.local = IpAddress::Parse("192.0.2.8");
  changed.info.remote = IpAddress::Parse("192.0.2.9");
  changed.info.ttl = 3;
  changed.info.learning = false;
  changed.info.ageing = std::chrono::seconds(7);
  kernel_.SetLinkForTest(Blue(), "d0", {.device = changed});
  kernel_.DeleteFdbForTest(Blue(), "d0");
  const Device drifted = Read("d");
  EXPECT_EQ(drifted.state, State::kDegraded);
  std::vector<std::string> fields;
  for (const Deviation& deviation : drifted.deviations) fields.push_back(deviation.field);
  EXPECT_THAT(fields, ElementsAre("vxlan.remote", "vxlan.local", "vxlan.ttl", "vxlan.learning", "vxlan.ageing_time",
                                  "vxlan.fdb"));
  EXPECT_EQ(drifted.deviations.back().expected,
            "00:00:00:00:00:00 to 192.0.2.3, 02:00:00:00:00:01 to 192.0.2.4 port 4789 vni 42");
  ASSERT_TRUE(Heal("d").ok());
  EXPECT_EQ(Read("d").state, State::kReady) << ToText(Read("d").deviations);
  EXPECT_EQ(Read("d").options, DeviceOptions(asked));
}

TEST_F(EngineDeviceKindTest, DriftOfAnIpvlanShowsAndIsHealed) {
  const DeviceOptions options = IpvlanInfo{.lower = 0, .mode = IpvlanMode::kL2, .flags = 1};
  ASSERT_TRUE(Create("d", Spec(options)).ok());
  kernel_.SetLinkForTest(Blue(), "d0", {.device = IpvlanInfo{.lower = 0, .mode = IpvlanMode::kL3s, .flags = 2}});
  // The address of the link that it stands on is no drift.
  kernel_.SetLinkForTest(Blue(), "d0", {.mac = kSecond});
  EXPECT_THAT(Read("d").deviations,
              ElementsAre(Deviation{.field = "ipvlan.mode", .expected = "l2", .actual = "l3s"},
                          Deviation{.field = "ipvlan.mode_flags", .expected = "1", .actual = "2"}));
  ASSERT_TRUE(Heal("d").ok());
  EXPECT_EQ(Read("d").state, State::kReady);
}

TEST_F(EngineDeviceKindTest, AMovedLowerLinkShows) {
  ASSERT_TRUE(Create("d", Spec(Macvlan(MacvlanMode::kBridge))).ok());
  ASSERT_TRUE(CreateNamespace("green").ok());
  const NetnsRef green{.name = "green", .cookie = (*kernel_.FindNetns("green"))->cookie};
  for (int i = 0; i < 3; ++i) kernel_.AddForeignLinkForTest(green, "x" + std::to_string(i));
  kernel_.MoveLinkForTest(kHost, "eth0", green);
  const Device moved = Read("d");
  EXPECT_EQ(moved.state, State::kDegraded);
  ASSERT_THAT(moved.deviations, SizeIs(1));
  EXPECT_EQ(moved.deviations[0].field, "lower_interface");
}

TEST_F(EngineDeviceKindTest, WithWhatItStandsOnItGoesAndComesBack) {
  ASSERT_TRUE(CreateVeth("v", HostTo("blue")).ok());
  DeviceSpec spec = Spec(Macvlan(MacvlanMode::kVepa));
  spec.lower.interface_name = "h0";
  auto made = Create("d", spec);
  ASSERT_TRUE(made.ok()) << made.error().message;
  ASSERT_TRUE(DeleteVeth("v").ok());
  EXPECT_EQ(Read("d").state, State::kMissing);
  EXPECT_REFUSED(Heal("d"), Reason::kLowerNotFound);
  ASSERT_TRUE(CreateVeth("w", HostTo("blue")).ok());
  ASSERT_TRUE(Heal("d").ok());
  const Device healed = Read("d");
  EXPECT_EQ(healed.state, State::kReady);
  EXPECT_EQ(healed.uid, made->uid);
  EXPECT_EQ(healed.link.mac, made->link.mac);
}

TEST_F(EngineDeviceKindTest, PersistentDevicesComeBackAfterWhatTheyStandOn) {
  const Metadata persistent{.persistent = true};
  ASSERT_TRUE(engine_->CreateNamespace({.id = "green", .metadata = persistent}).ok());
  VethSpec veth{.a = {.interface_name = "h0"}, .b = {.namespace_id = "green", .interface_name = "eth0"}};
  ASSERT_TRUE(engine_->CreateVeth({.id = "v", .spec = veth, .metadata = persistent}).ok());
  // By name, each comes before what it stands on.
  DeviceSpec vxlan = Spec(Vxlan(1));
  vxlan.link = {.interface_name = "x0"};
  vxlan.lower.interface_name = "m0";
  DeviceSpec macvlan = Spec(Macvlan(MacvlanMode::kBridge));
  macvlan.link = {.interface_name = "m0"};
  macvlan.lower.interface_name = "h0";
  ASSERT_TRUE(Create("b-below", macvlan, persistent).ok());
  ASSERT_TRUE(Create("a-above", vxlan, persistent).ok());
  kernel_.RebootForTest();
  std::vector<std::string> restored;
  for (const Finding& finding : Restart().findings) {
    if (finding.kind == Finding::Kind::kRestored) restored.push_back(finding.resource);
  }
  EXPECT_THAT(restored, ElementsAre("namespaces/green", "veths/v", "devices/b-below", "devices/a-above"));
  EXPECT_EQ(Read("a-above").state, State::kReady);
}

TEST_F(EngineDeviceKindTest, OwnersNamespacesAndInspection) {
  ASSERT_TRUE(Create("d", Spec(netlink::IfbInfo()), {.owner = "ci"}).ok());
  LinkFilter filter;
  filter.namespace_id = "blue";
  filter.interface_name = "d0";
  auto links = engine_->ListLinks(filter, "", 10);
  ASSERT_TRUE(links.ok());
  ASSERT_THAT(links->items, SizeIs(1));
  EXPECT_EQ(links->items[0].object, "devices/d");
  auto garbage = engine_->CollectGarbage(engine_->PlanGarbage("ci", {}));
  ASSERT_TRUE(garbage.ok());
  EXPECT_THAT(garbage->deleted, ElementsAre("devices/d"));
  // A namespace takes its devices along.
  ASSERT_TRUE(Create("d", Spec(netlink::IfbInfo())).ok());
  ASSERT_TRUE(DeleteNamespace("blue").ok());
  EXPECT_REFUSED(engine_->GetDevice("devices/d"), Reason::kDeviceNotFound);
}

TEST_F(EngineDeviceKindTest, KeysNameBothNamespaces) {
  CreateDeviceCall call{.name = "devices/d", .spec = Spec(Macvlan(MacvlanMode::kBridge))};
  call.spec.lower.namespace_id = "green";
  EXPECT_THAT(engine_->Keys(call), ElementsAre("devices/d", "namespaces/blue", "namespaces/green"));
}

// Another of everything.
void ChangeVxlan(DeviceSpec& spec) {
  auto& vxlan = std::get<VxlanOptions>(spec.options);
  vxlan.info.local.reset();
  vxlan.info.remote = IpAddress::Parse("192.0.2.9");
  vxlan.info.ttl = 9;
  vxlan.info.learning = true;
  vxlan.info.ageing = std::chrono::seconds(7);
  vxlan.fdb = {vxlan.fdb[0], Entry(kSecond, "192.0.2.5")};
  spec.link.mtu = 1300;
  spec.link.config.ip.addresses = {{.local = *netlink::IpPrefix::Parse("10.0.0.3/24"), .peer = std::nullopt}};
}

TEST_F(EngineDeviceKindTest, WhereverAnUpdateFailsOrDiesTheDeviceStaysAsItWas) {
  for (const DeviceOptions& options : AllKinds()) {
    for (bool dies : {false, true}) {
      SCOPED_TRACE(absl::StrCat(KindOf(options), dies ? " dies" : " fails"));
      auto made = Create("d", Spec(options));
      ASSERT_TRUE(made.ok()) << made.error().message;
      const std::string before = kernel_.DumpForTest();
      auto change = [](DeviceSpec& spec) {
        if (std::holds_alternative<VxlanOptions>(spec.options)) ChangeVxlan(spec);
        if (auto* macvlan = std::get_if<MacvlanInfo>(&spec.options); macvlan != nullptr) {
          if (macvlan->mode != MacvlanMode::kPassthru) *macvlan = Macvlan(MacvlanMode::kSource, {kSecond});
        }
        if (auto* ipvlan = std::get_if<IpvlanInfo>(&spec.options); ipvlan != nullptr) {
          *ipvlan = {.lower = 0, .mode = IpvlanMode::kL2, .flags = 1};
        }
        spec.link.config.ip.addresses.push_back(
            {.local = *netlink::IpPrefix::Parse("10.0.1.1/24"), .peer = std::nullopt});
      };
      bool failed = true;
      for (int point = 0; failed; ++point) {
        int operation = 0;
        failed = false;
        kernel_.SetFaultForTest([&](const std::string& name) -> std::optional<KernelError> {
          const int at = operation++;
          if (at < point || (!dies && at > point)) return std::nullopt;
          failed = true;
          return KernelError{.code = ENOMEM, .operation = name, .extack = {}, .may_have_effect = false};
        });
        const bool ok = Update("d", change).ok();
        kernel_.SetFaultForTest(nullptr);
        if (ok) break;
        if (dies) Restart();
        EXPECT_EQ(kernel_.DumpForTest(), before) << point;
        EXPECT_THAT(registry_->ListPending(), IsEmpty()) << point;
      }
      const Device changed = Read("d");
      EXPECT_EQ(changed.state, State::kReady) << ToText(changed.deviations);
      EXPECT_EQ(changed.options, registry_->FindDevice(DeviceName("d"))->spec.options);
      EXPECT_NE(kernel_.DumpForTest(), before);
      ASSERT_TRUE(Delete("d").ok());
    }
  }
}

TEST_F(EngineDeviceKindTest, AnEntryThatSomebodyTookAwayStaysAway) {
  VxlanOptions vxlan = Vxlan(42);
  vxlan.fdb = {Entry(kFirst, "192.0.2.3"), Entry(kSecond, "192.0.2.4")};
  ASSERT_TRUE(Create("d", Spec(vxlan)).ok());
  kernel_.DeleteFdbForTest(Blue(), "d0");
  auto updated = Update("d", [](DeviceSpec& spec) {
    std::get<VxlanOptions>(spec.options).fdb.push_back(Entry(kFirst, "192.0.2.5"));
    std::get<VxlanOptions>(spec.options).fdb.erase(std::get<VxlanOptions>(spec.options).fdb.begin());
  });
  ASSERT_TRUE(updated.ok()) << updated.error().message;
  EXPECT_THAT(std::get<VxlanOptions>(updated->options).fdb, ElementsAre(Entry(kFirst, "192.0.2.5")));
  ASSERT_THAT(updated->deviations, SizeIs(1));
  EXPECT_EQ(updated->deviations[0].field, "vxlan.fdb");
}

TEST_F(EngineDeviceKindTest, AnAlternativeNameThatIsTakenIsSaidAheadOfAChange) {
  DeviceSpec spec = Spec(netlink::DummyInfo());
  spec.link.config.alternative_names = {"lo"};
  const std::string before = kernel_.DumpForTest();
  EXPECT_REFUSED(Create("d", spec, {}, {.validate_only = true}), Reason::kInterfaceNameTaken);
  EXPECT_REFUSED(Create("d", spec), Reason::kInterfaceNameTaken);
  EXPECT_EQ(kernel_.DumpForTest(), before);
}

TEST_F(EngineDeviceKindTest, ARouteThatIsRefusedIsNoRefusalOfTheDevice) {
  DeviceSpec spec = Spec(netlink::DummyInfo());
  spec.link.config.gateways.clear();
  ASSERT_TRUE(Create("d", spec).ok());
  kernel_.SetLinkForTest(Blue(), "d0", {.up = false});
  auto refused = Update("d", [](DeviceSpec& asked) { asked.link.config.gateways = {*IpAddress::Parse("10.0.0.1")}; });
  EXPECT_REFUSED(refused, Reason::kKernel);
  EXPECT_EQ(refused.error().kernel->code, ENETDOWN);
}

TEST_F(EngineDeviceKindTest, OnlyTheRequestItselfIsARefusalOfTheDevice) {
  for (const auto& [operation, reason] : {std::pair("bind(NETLINK_ROUTE)", Reason::kKernel),
                                          std::pair("RTM_NEWLINK d0 type macvlan", Reason::kDeviceRefused)}) {
    kernel_.SetFaultForTest([&, where = operation](const std::string& name) -> std::optional<KernelError> {
      if (name != "CreateDevice") return std::nullopt;
      return KernelError{.code = EADDRINUSE, .operation = where, .extack = {}};
    });
    auto refused = Create("d", Spec(Macvlan(MacvlanMode::kBridge)));
    kernel_.SetFaultForTest(nullptr);
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().reason, reason) << operation;
  }
}

TEST_F(EngineDeviceKindTest, WhatADeviceCannotBecomeIsRefused) {
  ASSERT_TRUE(Create("d", Spec(Macvlan(MacvlanMode::kBridge))).ok());
  auto refused =
      Update("d", [](DeviceSpec& spec) { std::get<MacvlanInfo>(spec.options).mode = MacvlanMode::kPassthru; });
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().reason, Reason::kDeviceRefused);
  EXPECT_EQ(Read("d").state, State::kReady);
}

TEST_F(EngineDeviceKindTest, WhatTheKernelNeverSetsIsRefusedAndTheNextUpdateTaken) {
  ASSERT_TRUE(Create("d", Spec(netlink::IfbInfo())).ok());
  auto refused = Update("d", [](DeviceSpec& spec) {
    spec.link.mac = kFirst;
    spec.link.mtu = 1400;
  });
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().reason, Reason::kDeviceRefused);
  EXPECT_THAT(registry_->ListPending(), IsEmpty());
  EXPECT_EQ(Read("d").state, State::kReady);
  EXPECT_TRUE(Update("d", [](DeviceSpec& spec) { spec.link.mtu = 1400; }).ok());
}

TEST_F(EngineDeviceKindTest, SendersAreToldInTheOrderInWhichTheyWereAskedFor) {
  ASSERT_TRUE(Create("d", Spec(Macvlan(MacvlanMode::kSource, {kFirst, kSecond}))).ok());
  kernel_.SetLinkForTest(Blue(), "d0", {.device = Macvlan(MacvlanMode::kSource, {kSecond, kFirst})});
  const Device device = Read("d");
  EXPECT_EQ(device.state, State::kReady);
  EXPECT_THAT(std::get<MacvlanInfo>(device.options).sources, ElementsAre(kFirst, kSecond));
}

}  // namespace
}  // namespace netprov::engine
