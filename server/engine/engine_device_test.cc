#include <algorithm>
#include <cerrno>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/engine/engine.h"
#include "server/engine/engine_fixture.h"
#include "server/engine/fake_kernel.h"
#include "server/engine/tag.h"
#include "server/netlink/bridge_port.h"
#include "server/netlink/ip_address.h"
#include "server/netlink/link_info.h"

namespace netprov::engine {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::IsSupersetOf;
using ::testing::Pair;
using ::testing::SizeIs;

class EngineDeviceTest : public EngineTest {
 protected:
  static DeviceSpec Bridge(const std::string& interface_name, const std::string& namespace_id = "") {
    DeviceSpec spec{.link = {.namespace_id = namespace_id, .interface_name = interface_name},
                    .options = netlink::BridgeInfo{.stp = true, .ageing_time = netlink::Centiseconds(6000)}};
    spec.link.config.ip.addresses = {{.local = *netlink::IpPrefix::Parse("10.0.0.1/24"), .peer = std::nullopt}};
    return spec;
  }
  EngineResult<Device> CreateBridge(const std::string& id, DeviceSpec spec, Metadata metadata = {},
                                    CallContext context = {}, bool allow_existing = false) {
    return engine_->CreateDevice({.context = std::move(context),
                                  .name = BridgeName(id),
                                  .spec = std::move(spec),
                                  .metadata = std::move(metadata),
                                  .allow_existing = allow_existing});
  }
  EngineResult<void> DeleteBridge(const std::string& id, CallContext context = {}, bool allow_missing = false) {
    return engine_->DeleteDevice(
        {.context = std::move(context), .name = BridgeName(id), .allow_missing = allow_missing});
  }
  // From a bridge of the host's to `netns`.
  static VethSpec PortTo(const std::string& netns, const std::string& bridge, const std::string& host = "h0") {
    VethSpec spec{.a = {.interface_name = host}, .b = {.namespace_id = netns, .interface_name = "eth0"}};
    spec.a.config.bridge = BridgeName(bridge);
    spec.a.config.port.settings.isolated = true;
    return spec;
  }
  void MakeBridgeWithPort() {
    ASSERT_TRUE(CreateNamespace("blue").ok());
    auto bridge = CreateBridge("br", Bridge("br0"));
    ASSERT_TRUE(bridge.ok()) << bridge.error().message;
    auto veth = CreateVeth("v", PortTo("blue", "br"));
    ASSERT_TRUE(veth.ok()) << veth.error().message;
  }
  // Whatever the order of the links.
  std::vector<std::string> Lines() const {
    std::vector<std::string> lines = absl::StrSplit(kernel_.DumpForTest(), '\n');
    std::sort(lines.begin(), lines.end());
    return lines;
  }
  Link LinkNamed(const std::string& name) { return **kernel_.FindLink(kHost, name); }
  netlink::BridgeInfo OptionsOf(const std::string& name) {
    return std::get<netlink::BridgeInfo>(*LinkNamed(name).device);
  }
};

TEST_F(EngineDeviceTest, ABridgeHasWhatWasAskedFor) {
  const std::string before = kernel_.DumpForTest();
  auto made = CreateBridge("br", Bridge("br%d"));
  ASSERT_TRUE(made.ok()) << made.error().message;
  EXPECT_EQ(made->name, "bridges/br");
  EXPECT_EQ(made->link.interface_name, "br0");
  EXPECT_EQ(made->link.mtu, 1500u);
  // All that the kernel has, also in the answer.
  EXPECT_EQ(std::get<netlink::BridgeInfo>(made->options).priority, 32768);
  EXPECT_EQ(OptionsOf("br0").stp, true);
  EXPECT_EQ(OptionsOf("br0").ageing_time, netlink::Centiseconds(6000));
  EXPECT_EQ(LinkNamed("br0").alias, TagOf(registry_->id(), made->uid, "bridges/br"));
  EXPECT_THAT(kernel_.FindIpConfig(kHost, made->link.ifindex)->addresses, SizeIs(1));
  Restart();
  auto read = engine_->GetDevice("bridges/br");
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->state, State::kReady) << ToText(read->deviations);
  EXPECT_EQ(read->uid, made->uid);
  EXPECT_THAT(read->link.config.ip.addresses, SizeIs(1));
  EXPECT_EQ(std::get<netlink::BridgeInfo>(read->options).priority, 32768);
  EXPECT_THAT(engine_->ListDevices("bridges/", "", 10)->items, SizeIs(1));
  EXPECT_THAT(engine_->ListDevices("bridges/", "bridges/br", 10)->items, IsEmpty());
  EXPECT_THAT(engine_->ListDevices("vxlans/", "", 10)->items, IsEmpty());
  ASSERT_TRUE(DeleteBridge("br").ok());
  EXPECT_EQ(kernel_.DumpForTest(), before);
  EXPECT_REFUSED(engine_->GetDevice("bridges/br"), Reason::kDeviceNotFound);
  EXPECT_REFUSED(DeleteBridge("br"), Reason::kDeviceNotFound);
  EXPECT_TRUE(DeleteBridge("br", {}, /*allow_missing=*/true).ok());
}

TEST_F(EngineDeviceTest, ABridgeThatExistsIsRefusedOrReturned) {
  auto made = CreateBridge("br", Bridge("br0"));
  ASSERT_TRUE(made.ok());
  auto again = CreateBridge("br", Bridge("br0"));
  EXPECT_REFUSED(again, Reason::kDeviceAlreadyExists);
  EXPECT_EQ(again.error().specs_match, true);
  again = CreateBridge("br", Bridge("br1"));
  EXPECT_REFUSED(again, Reason::kDeviceAlreadyExists);
  EXPECT_EQ(again.error().specs_match, false);
  EXPECT_EQ(CreateBridge("br", Bridge("br0"), {}, {}, /*allow_existing=*/true)->uid, made->uid);
  auto other = CreateBridge("other", Bridge("br0"));
  EXPECT_REFUSED(other, Reason::kInterfaceNameTaken);
  EXPECT_EQ(other.error().field, "interface_name");
  auto nowhere = CreateBridge("nowhere", Bridge("br9", "blue"));
  EXPECT_REFUSED(nowhere, Reason::kNamespaceNotFound);
  EXPECT_EQ(nowhere.error().field, "namespace");
  auto chosen = CreateBridge("", Bridge("br7"));
  ASSERT_TRUE(chosen.ok());
  EXPECT_THAT(chosen->name, ::testing::StartsWith("bridges/bridge-"));
}

TEST_F(EngineDeviceTest, ARepeatedRequestGetsTheFirstAnswer) {
  const CallContext create{.request_id = "r1", .fingerprint = "create"};
  auto made = CreateBridge("br", Bridge("br0"), {}, create);
  ASSERT_TRUE(made.ok());
  Restart();
  EXPECT_EQ(CreateBridge("br", Bridge("br0"), {}, create)->uid, made->uid);
  const CallContext del{.request_id = "r2", .fingerprint = "delete"};
  ASSERT_TRUE(DeleteBridge("br", del).ok());
  Restart();
  EXPECT_TRUE(DeleteBridge("br", del).ok());
  auto repeated = CreateBridge("br", Bridge("br0"), {}, create);
  ASSERT_TRUE(repeated.ok());
  EXPECT_EQ(std::get<netlink::BridgeInfo>(repeated->options).stp, true);
  EXPECT_REFUSED(engine_->GetDevice("bridges/br"), Reason::kDeviceNotFound);
}

TEST_F(EngineDeviceTest, ValidateOnlyChangesNothing) {
  const std::string before = kernel_.DumpForTest();
  auto projected = CreateBridge("br", Bridge("br%d"), {}, {.validate_only = true});
  ASSERT_TRUE(projected.ok());
  EXPECT_EQ(projected->link.interface_name, "br0");
  EXPECT_EQ(projected->uid, "");
  EXPECT_EQ(kernel_.DumpForTest(), before);
  ASSERT_TRUE(CreateBridge("br", Bridge("br0")).ok());
  EXPECT_TRUE(DeleteBridge("br", {.validate_only = true}).ok());
  EXPECT_TRUE(engine_->GetDevice("bridges/br").ok());
}

TEST_F(EngineDeviceTest, AnEndBecomesAPort) {
  MakeBridgeWithPort();
  EXPECT_EQ(LinkNamed("h0").master_ifindex, LinkNamed("br0").ifindex);
  EXPECT_EQ(LinkNamed("h0").port->isolated, true);
  auto veth = engine_->GetVeth("v");
  EXPECT_EQ(veth->state, State::kReady) << ToText(veth->deviations);
  EXPECT_EQ(veth->a.config.bridge, "bridges/br");
  // What it is now, and not only what was asked for.
  EXPECT_EQ(veth->a.config.port.settings.learning, true);
  EXPECT_THAT(engine_->GetDevice("bridges/br")->ports, ElementsAre("veths/v"));
  auto refused = DeleteBridge("br");
  EXPECT_REFUSED(refused, Reason::kDeviceInUse);
  EXPECT_THAT(refused.error().message, HasSubstr("veths/v"));
  ASSERT_TRUE(DeleteVeth("v").ok());
  EXPECT_TRUE(DeleteBridge("br").ok());
}

TEST_F(EngineDeviceTest, APortHasItsVlans) {
  ASSERT_TRUE(CreateNamespace("blue").ok());
  ASSERT_TRUE(CreateBridge("br", Bridge("br0")).ok());
  VethSpec spec = PortTo("blue", "br");
  spec.a.config.port.vlans = {{.first = 10, .last = 10, .pvid = true, .untagged = true}, {.first = 20, .last = 29}};
  auto made = CreateVeth("v", spec);
  ASSERT_TRUE(made.ok()) << made.error().message;
  EXPECT_EQ(kernel_.ListPortVlans(kHost)->at(made->a.ifindex), spec.a.config.port.vlans);
  EXPECT_EQ(engine_->GetVeth("v")->state, State::kReady);
  EXPECT_EQ(engine_->GetVeth("v")->a.config.port.vlans, spec.a.config.port.vlans);
  PortOptions changed;
  changed.vlans = {{.first = 1, .last = 1}};
  ASSERT_TRUE(kernel_.SetLink(kHost, made->a.ifindex, {.port = changed}).ok());
  auto veth = engine_->GetVeth("v");
  ASSERT_THAT(veth->deviations, SizeIs(1));
  EXPECT_EQ(veth->deviations[0].field, "endpoint_a.bridge_port.vlans");
  EXPECT_EQ(veth->deviations[0].expected, "10 pvid untagged, 20-29");
  ASSERT_TRUE(engine_->Heal({.name = "veths/v", .uid = veth->uid}).ok());
  EXPECT_EQ(engine_->GetVeth("v")->state, State::kReady);
}

TEST_F(EngineDeviceTest, ABridgeThatCannotBeUsedIsNamed) {
  ASSERT_TRUE(CreateNamespace("blue").ok());
  auto unknown = CreateVeth("v", PortTo("blue", "br"));
  EXPECT_REFUSED(unknown, Reason::kDeviceNotFound);
  EXPECT_EQ(unknown.error().field, "endpoint_a.bridge");
  ASSERT_TRUE(CreateBridge("inside", Bridge("br0", "blue")).ok());
  auto elsewhere = CreateVeth("v", PortTo("blue", "inside"));
  EXPECT_REFUSED(elsewhere, Reason::kBridgeUnusable);
  EXPECT_EQ(elsewhere.error().field, "endpoint_a.bridge");
  ASSERT_TRUE(CreateBridge("br", Bridge("br0")).ok());
  ASSERT_TRUE(kernel_.DeleteLink(kHost, LinkNamed("br0").ifindex).ok());
  const std::string before = kernel_.DumpForTest();
  for (const bool validate_only : {true, false}) {
    auto missing = CreateVeth("v", PortTo("blue", "br"), {.validate_only = validate_only});
    EXPECT_REFUSED(missing, Reason::kBridgeUnusable);
    EXPECT_EQ(missing.error().object, "bridges/br");
  }
  EXPECT_EQ(kernel_.DumpForTest(), before);
}

TEST_F(EngineDeviceTest, ABridgeWithoutRoomRefusesTheWholePair) {
  ASSERT_TRUE(CreateNamespace("blue").ok());
  ASSERT_TRUE(CreateBridge("br", Bridge("br0")).ok());
  const uint32_t bridge = LinkNamed("br0").ifindex;
  for (int i = 0; i < 1023; ++i) {
    const std::string name = absl::StrCat("f", i);
    kernel_.AddForeignLinkForTest(kHost, name);
    ASSERT_TRUE(kernel_.SetLink(kHost, LinkNamed(name).ifindex, {.master = bridge}).ok());
  }
  const std::string before = kernel_.DumpForTest();
  auto full = CreateVeth("v", PortTo("blue", "br"));
  EXPECT_REFUSED(full, Reason::kKernel);
  EXPECT_EQ(full.error().kernel->code, EXFULL);
  EXPECT_EQ(kernel_.DumpForTest(), before);
}

TEST_F(EngineDeviceTest, ABridgeGoesWithItsNamespace) {
  const std::string before = kernel_.DumpForTest();
  ASSERT_TRUE(CreateNamespace("blue").ok());
  ASSERT_TRUE(CreateBridge("br", Bridge("br0", "blue")).ok());
  VethSpec spec = PortTo("blue", "br");
  std::swap(spec.a.config, spec.b.config);
  auto veth = CreateVeth("v", spec);
  ASSERT_TRUE(veth.ok()) << veth.error().message;
  EXPECT_THAT(engine_->Keys(DeleteNamespaceCall{.id = "blue"}), IsSupersetOf({"bridges/br", "veths/v"}));
  ASSERT_TRUE(DeleteNamespace("blue").ok());
  EXPECT_EQ(kernel_.DumpForTest(), before);
  EXPECT_THAT(registry_->ListDevices(), IsEmpty());
}

TEST_F(EngineDeviceTest, WhateverFailsNothingIsLeft) {
  ASSERT_TRUE(CreateNamespace("blue").ok());
  ASSERT_TRUE(CreateBridge("br", Bridge("br0")).ok());
  struct Case {
    const char* name;
    std::function<bool()> call;
    std::function<void()> undo;
  };
  const std::vector<Case> cases = {
      {"CreateBridge", [&] { return CreateBridge("other", Bridge("br%d")).ok(); },
       [&] { EXPECT_TRUE(DeleteBridge("other").ok()); }},
      {"CreateVeth", [&] { return CreateVeth("v", PortTo("blue", "br")).ok(); },
       [&] { EXPECT_TRUE(DeleteVeth("v").ok()); }},
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
        EXPECT_GT(point, 0) << "the fault was never injected";
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

TEST_F(EngineDeviceTest, WhatACrashLeftIsPutInOrder) {
  const std::string empty = kernel_.DumpForTest();
  const std::string uid = NewUid();
  const std::string tag = TagOf(registry_->id(), uid, "bridges/br");
  const DeviceRecord record{.name = "bridges/br",
                            .uid = uid,
                            .create_time = absl::Now(),
                            .boot_id = kernel_.BootId(),
                            .spec = Bridge("br0"),
                            .link = {.interface_name = "br0"},
                            .options = {},
                            .metadata = {}};
  for (const std::string& alias : {std::string(), tag}) {
    ASSERT_TRUE(registry_->Begin({.kind = Intent::Kind::kCreateDevice, .device = record}).ok());
    ASSERT_TRUE(kernel_.CreateDevice({.name = "br0"}, netlink::BridgeInfo(), alias).ok());
    EXPECT_EQ(Restart().Count(Finding::Kind::kRolledBack), 1);
    EXPECT_EQ(kernel_.DumpForTest(), empty);
  }
  // Another's.
  ASSERT_TRUE(registry_->Begin({.kind = Intent::Kind::kCreateDevice, .device = record}).ok());
  kernel_.AddForeignLinkForTest(kHost, "br0");
  const std::string foreign = kernel_.DumpForTest();
  Restart();
  EXPECT_EQ(kernel_.DumpForTest(), foreign);

  ASSERT_TRUE(CreateBridge("br", Bridge("br1")).ok());
  ASSERT_TRUE(
      registry_->Begin({.kind = Intent::Kind::kDeleteDevice, .device = *registry_->FindDevice("bridges/br")}).ok());
  EXPECT_EQ(Restart().Count(Finding::Kind::kCompleted), 1);
  EXPECT_EQ(kernel_.DumpForTest(), foreign);
  EXPECT_THAT(registry_->ListDevices(), IsEmpty());

  ASSERT_TRUE(kernel_.CreateDevice({.name = "lost"}, netlink::BridgeInfo(), tag).ok());
  EXPECT_EQ(Restart().Count(Finding::Kind::kOrphanRemoved), 1);
  EXPECT_EQ(kernel_.DumpForTest(), foreign);
}

TEST_F(EngineDeviceTest, DriftShowsAndIsHealed) {
  MakeBridgeWithPort();
  const std::vector<std::string> made = Lines();
  const ObjectRef bridge{.name = "bridges/br", .uid = engine_->GetDevice("bridges/br")->uid};
  const ObjectRef port{.name = "veths/v", .uid = engine_->GetVeth("v")->uid};
  kernel_.SetLinkForTest(kHost, "br0", {.up = false, .device = netlink::BridgeInfo{.stp = false, .priority = 1}});
  kernel_.SetIpConfigForTest(kHost, "br0", {});
  std::vector<std::string> fields;
  auto seen = engine_->Inspect(bridge);
  EXPECT_EQ((*seen)->state, State::kDegraded);
  for (const Deviation& deviation : (*seen)->deviations) fields.push_back(deviation.field);
  // Nobody has asked for a priority.
  EXPECT_THAT(fields, ElementsAre("admin_state", "stp", "addresses"));
  ASSERT_TRUE(engine_->Heal(bridge).ok());
  EXPECT_EQ((*engine_->Inspect(bridge))->state, State::kReady);
  EXPECT_EQ(OptionsOf("br0").priority, 1);

  kernel_.SetLinkForTest(kHost, "h0", {.master = 0});
  auto veth = engine_->GetVeth("v");
  ASSERT_THAT(veth->deviations, SizeIs(1));
  EXPECT_EQ(veth->deviations[0].field, "endpoint_a.bridge");
  EXPECT_EQ(veth->a.config.bridge, "");
  ASSERT_TRUE(engine_->Heal(port).ok());
  EXPECT_EQ(Lines(), made);
  EXPECT_EQ(LinkNamed("h0").port->isolated, true);

  // A bridge that is made again has another index; its ports come back after it.
  ASSERT_TRUE(kernel_.DeleteLink(kHost, LinkNamed("br0").ifindex).ok());
  EXPECT_EQ((*engine_->Inspect(bridge))->state, State::kMissing);
  EXPECT_EQ((*engine_->Inspect(port))->state, State::kDegraded);
  ASSERT_TRUE(engine_->Heal(bridge).ok());
  ASSERT_TRUE(engine_->Heal(port).ok());
  EXPECT_EQ(engine_->GetVeth("v")->state, State::kReady);
  EXPECT_EQ(Lines(), made);
}

TEST_F(EngineDeviceTest, ABridgeThatSomebodyMovedIsMadeAgainInItsPlace) {
  ASSERT_TRUE(CreateNamespace("blue").ok());
  const NetnsRef blue{.name = "blue", .cookie = engine_->GetNamespace("blue")->cookie};
  ASSERT_TRUE(CreateBridge("br", Bridge("br0")).ok());
  const std::vector<std::string> made = Lines();
  const ObjectRef bridge{.name = "bridges/br", .uid = engine_->GetDevice("bridges/br")->uid};
  kernel_.MoveLinkForTest(kHost, "br0", blue);
  EXPECT_EQ(engine_->GetDevice("bridges/br")->state, State::kMissing);
  ASSERT_TRUE(engine_->Heal(bridge).ok());
  EXPECT_EQ(Lines(), made);
}

// Indexes begin anew in a namespace that was made again.
TEST_F(EngineDeviceTest, AnIndexOfAnotherNamespaceOfTheNameIsNoBridge) {
  auto blue = CreateNamespace("blue");
  ASSERT_TRUE(blue.ok());
  ASSERT_TRUE(CreateBridge("lost", Bridge("br0", "blue")).ok());
  ASSERT_TRUE(CreateBridge("healed", Bridge("br1", "blue")).ok());
  const uint32_t index = engine_->GetDevice("bridges/lost")->link.ifindex;
  kernel_.RemoveForeignNetnsForTest("blue");
  ASSERT_TRUE(engine_->Heal({.name = "namespaces/blue", .uid = blue->uid}).ok());
  ASSERT_TRUE(engine_->Heal({.name = "bridges/healed", .uid = engine_->GetDevice("bridges/healed")->uid}).ok());
  ASSERT_EQ(engine_->GetDevice("bridges/healed")->link.ifindex, index);
  EXPECT_EQ(engine_->GetDevice("bridges/lost")->state, State::kMissing);
  VethSpec spec = PortTo("blue", "lost");
  std::swap(spec.a.config, spec.b.config);
  EXPECT_REFUSED(CreateVeth("v", spec), Reason::kBridgeUnusable);
  ASSERT_TRUE(DeleteBridge("lost").ok());
  EXPECT_EQ(engine_->GetDevice("bridges/healed")->state, State::kReady);
}

// By it, recovery finds what is left.
TEST_F(EngineDeviceTest, AnIntentKnowsItsNamespace) {
  auto blue = CreateNamespace("blue");
  ASSERT_TRUE(blue.ok());
  const std::string before = kernel_.DumpForTest();
  int asked = 0;
  kernel_.SetFaultForTest([&](const std::string& operation) -> std::optional<KernelError> {
    if (operation != "CreateDevice" || ++asked > 1) return std::nullopt;
    EXPECT_EQ(registry_->ListPending().front().intent.device.netns_cookie, blue->cookie);
    // Born, and its maker does not know.
    EXPECT_TRUE(
        kernel_
            .CreateDevice({.netns = {.name = "blue", .cookie = blue->cookie}, .name = "br0"}, netlink::BridgeInfo(), "")
            .ok());
    return KernelError{.code = EIO, .operation = operation, .extack = {}, .may_have_effect = true};
  });
  EXPECT_REFUSED(CreateBridge("br", Bridge("br0", "blue")), Reason::kKernel);
  kernel_.SetFaultForTest(nullptr);
  EXPECT_EQ(kernel_.DumpForTest(), before);
}

TEST_F(EngineDeviceTest, VlansThatTheKernelTellsOfAsOneAreTheSame) {
  ASSERT_TRUE(CreateNamespace("blue").ok());
  ASSERT_TRUE(CreateBridge("br", Bridge("br0")).ok());
  VethSpec spec = PortTo("blue", "br");
  spec.a.config.port.vlans = {
      {.first = 1, .last = 1, .pvid = true}, {.first = 10, .last = 19}, {.first = 20, .last = 29}};
  auto made = CreateVeth("v", spec);
  ASSERT_TRUE(made.ok());
  PortOptions merged;
  merged.vlans = {{.first = 1, .last = 1, .pvid = true}, {.first = 10, .last = 29}};
  ASSERT_TRUE(kernel_.SetLink(kHost, made->a.ifindex, {.port = merged}).ok());
  auto veth = engine_->GetVeth("v");
  EXPECT_EQ(veth->state, State::kReady) << ToText(veth->deviations);
  EXPECT_EQ(veth->a.config.port.vlans, spec.a.config.port.vlans);
}

TEST_F(EngineDeviceTest, TimesOfASpanningTreeAreTheRoots) {
  DeviceSpec spec = Bridge("br0");
  std::get<netlink::BridgeInfo>(spec.options).forward_delay = netlink::Centiseconds(500);
  ASSERT_TRUE(CreateBridge("br", spec).ok());
  netlink::BridgeInfo times{.forward_delay = netlink::Centiseconds(1000), .ageing_time = netlink::Centiseconds(2000)};
  kernel_.SetLinkForTest(kHost, "br0", {.device = times});
  EXPECT_EQ(engine_->GetDevice("bridges/br")->state, State::kReady);
  times.stp = false;
  kernel_.SetLinkForTest(kHost, "br0", {.device = times});
  EXPECT_THAT(engine_->GetDevice("bridges/br")->deviations, SizeIs(3)) << "stp, forward_delay and ageing_time";
}

TEST_F(EngineDeviceTest, AnEndWithoutItsBridgeIsNotHealed) {
  MakeBridgeWithPort();
  const ObjectRef port{.name = "veths/v", .uid = engine_->GetVeth("v")->uid};
  ASSERT_TRUE(kernel_.DeleteLink(kHost, LinkNamed("br0").ifindex).ok());
  kernel_.SetLinkForTest(kHost, "h0", {.up = false});
  auto veth = engine_->GetVeth("v");
  EXPECT_EQ(veth->a.config.bridge, "");
  EXPECT_TRUE(veth->a.config.port.empty());
  EXPECT_REFUSED(engine_->Heal(port), Reason::kBridgeUnusable);
  EXPECT_TRUE(LinkNamed("h0").up);
  // Nor where somebody made it a port of another.
  ASSERT_TRUE(CreateBridge("other", Bridge("br1")).ok());
  kernel_.SetLinkForTest(kHost, "h0", {.master = LinkNamed("br1").ifindex});
  EXPECT_EQ(engine_->GetVeth("v")->a.config.bridge, "");
}

TEST_F(EngineDeviceTest, AMissingBridgeWithPortsStaysInItsPlace) {
  MakeBridgeWithPort();
  ASSERT_TRUE(kernel_.DeleteLink(kHost, LinkNamed("br0").ifindex).ok());
  EXPECT_REFUSED(CreateBridge("br", Bridge("br0", "blue")), Reason::kDeviceInUse);
  EXPECT_TRUE(CreateBridge("br", Bridge("br0")).ok());
}

TEST_F(EngineDeviceTest, AnOldDeletionSparesABridgeThatHasAPortAgain) {
  MakeBridgeWithPort();
  ASSERT_TRUE(
      registry_->Begin({.kind = Intent::Kind::kDeleteDevice, .device = *registry_->FindDevice("bridges/br")}).ok());
  Restart();
  EXPECT_EQ(engine_->GetVeth("v")->state, State::kReady);
  EXPECT_THAT(registry_->ListPending(), IsEmpty());
}

TEST_F(EngineDeviceTest, PersistentObjectsComeBackInTheirOrder) {
  Metadata persistent;
  persistent.persistent = true;
  ASSERT_TRUE(engine_->CreateNamespace({.id = "blue", .metadata = persistent}).ok());
  ASSERT_TRUE(CreateBridge("br", Bridge("br0"), persistent).ok());
  ASSERT_TRUE(engine_->CreateVeth({.id = "a", .spec = PortTo("blue", "br"), .metadata = persistent}).ok());
  const std::string made = kernel_.DumpForTest();
  kernel_.RebootForTest();
  const HostReport report = Restart();
  EXPECT_EQ(report.Count(Finding::Kind::kRestored), 3);
  EXPECT_EQ(report.Count(Finding::Kind::kNotRestored), 0);
  EXPECT_EQ(kernel_.DumpForTest(), made);
}

TEST_F(EngineDeviceTest, AMissingBridgeIsReplacedInOneTransaction) {
  auto made = CreateBridge("br", Bridge("br0"));
  ASSERT_TRUE(made.ok());
  const std::string before = kernel_.DumpForTest();
  ASSERT_TRUE(kernel_.DeleteLink(kHost, made->link.ifindex).ok());
  kernel_.FailNextForTest("CreateDevice", ENOMEM);
  EXPECT_REFUSED(CreateBridge("br", Bridge("br0")), Reason::kKernel);
  EXPECT_EQ(engine_->GetDevice("bridges/br")->state, State::kMissing);
  auto again = CreateBridge("br", Bridge("br0"));
  ASSERT_TRUE(again.ok());
  EXPECT_NE(again->uid, made->uid);
  EXPECT_THAT(registry_->ListDevices(), SizeIs(1));
  ASSERT_TRUE(DeleteBridge("br").ok());
  ASSERT_TRUE(CreateBridge("br", Bridge("br0")).ok());
}

TEST_F(EngineDeviceTest, LeasesAndGarbage) {
  Metadata ci;
  ci.owner = "ci";
  ci.ttl = absl::Minutes(1);
  Metadata lab;
  lab.owner = "lab";
  ASSERT_TRUE(CreateNamespace("blue").ok());
  ASSERT_TRUE(CreateBridge("br", Bridge("br0"), ci).ok());
  ASSERT_TRUE(CreateBridge("spare", Bridge("br1"), ci).ok());
  ASSERT_TRUE(engine_->CreateVeth({.id = "v", .spec = PortTo("blue", "br"), .metadata = lab}).ok());
  CollectGarbageCall call = engine_->PlanGarbage("ci", {});
  auto garbage = engine_->CollectGarbage(call);
  ASSERT_TRUE(garbage.ok());
  EXPECT_THAT(garbage->deleted, ElementsAre("bridges/spare"));
  EXPECT_THAT(garbage->failures, ElementsAre(Pair("bridges/br", HasSubstr("veths/v is its port"))));

  now_ += absl::Minutes(2);
  const ObjectRef bridge{.name = "bridges/br", .uid = engine_->GetDevice("bridges/br")->uid};
  ASSERT_THAT(engine_->leases().Expired(), SizeIs(1));
  auto kept = engine_->DeleteExpired(bridge);
  ASSERT_TRUE(kept.ok());
  EXPECT_FALSE(kept->deleted);
  EXPECT_THAT(kept->kept_because, HasSubstr("veths/v"));
  ASSERT_TRUE(DeleteVeth("v").ok());
  EXPECT_TRUE(engine_->DeleteExpired(bridge)->deleted);

  // In a namespace that is the owner's.
  ASSERT_TRUE(engine_->CreateNamespace({.id = "green", .metadata = ci}).ok());
  ASSERT_TRUE(CreateBridge("inside", Bridge("br0", "green"), lab).ok());
  garbage = engine_->CollectGarbage(engine_->PlanGarbage("ci", {}));
  EXPECT_THAT(garbage->failures, ElementsAre(Pair("namespaces/green", HasSubstr("bridges/inside is in it"))));
}

TEST_F(EngineDeviceTest, InspectionSaysWhatIsOfABridge) {
  MakeBridgeWithPort();
  auto links = engine_->ListLinks({}, "", 100);
  ASSERT_TRUE(links.ok());
  std::vector<std::pair<std::string, std::string>> objects;
  for (const InspectedLink& item : links->items) objects.emplace_back(item.observed.link.name, item.object);
  EXPECT_THAT(objects, ElementsAre(Pair("lo", ""), Pair("br0", "bridges/br"), Pair("h0", "veths/v")));
  auto addresses = engine_->ListAddresses({}, "", 100);
  ASSERT_THAT(addresses->items, SizeIs(1));
  EXPECT_EQ(addresses->items[0].object, "bridges/br");
  kernel_.SetLinkForTest(kHost, "br0", {.alias = ""});
  EXPECT_EQ(engine_->ListLinks({.interface_name = "br0"}, "", 100)->items[0].object, "bridges/br");
}

TEST_F(EngineDeviceTest, KeysNameTheBridge) {
  EXPECT_THAT(engine_->Keys(CreateDeviceCall{.name = "bridges/br", .spec = Bridge("br0", "blue")}),
              ElementsAre("bridges/br", "namespaces/blue"));
  EXPECT_THAT(engine_->Keys(CreateDeviceCall{.name = "bridges/", .spec = Bridge("br0")}), ElementsAre("links/br0"));
  EXPECT_THAT(engine_->Keys(CreateVethCall{.id = "v", .spec = PortTo("blue", "br")}), Contains("bridges/br"));
}

// Indexes begin anew with a namespace.
TEST_F(EngineDeviceTest, WhatARestoreLeftIsNotTakenForAnEndOfTheBootBefore) {
  Metadata persistent;
  persistent.persistent = true;
  ASSERT_TRUE(engine_->CreateNamespace({.id = "blue", .metadata = persistent}).ok());
  ASSERT_TRUE(engine_->CreateVeth({.id = "v", .spec = HostTo("blue"), .metadata = persistent}).ok());
  ASSERT_TRUE(CreateBridge("br", Bridge("br0", "blue"), persistent).ok());
  const uint32_t old_index = registry_->FindVeth("v")->b.ifindex;
  kernel_.RebootForTest();
  kernel_.SetFaultForTest([](const std::string& operation) -> std::optional<KernelError> {
    if (operation != "CreateVeth" && operation != "CreateDevice") return std::nullopt;
    return KernelError{.code = ENOMEM, .operation = operation, .extack = {}};
  });
  EXPECT_EQ(Restart().Count(Finding::Kind::kNotRestored), 2);
  kernel_.SetFaultForTest(nullptr);

  // Killed as it was made again.
  DeviceRecord record = *registry_->FindDevice("bridges/br");
  record.boot_id = kernel_.BootId();
  record.netns_cookie = registry_->FindNamespace("blue")->cookie;
  ASSERT_TRUE(registry_->Begin({.kind = Intent::Kind::kCreateDevice, .device = record}).ok());
  const NetnsRef blue{.name = "blue", .cookie = record.netns_cookie};
  const auto left = kernel_.CreateDevice({.netns = blue, .name = "br0"}, record.spec.options,
                                         TagOf(registry_->id(), record.uid, "bridges/br"));
  ASSERT_TRUE(left.ok());
  ASSERT_EQ(left->ifindex, old_index);
  EXPECT_EQ(Restart().Count(Finding::Kind::kRestored), 2);
  EXPECT_EQ(engine_->GetDevice("bridges/br")->state, State::kReady);
}

}  // namespace
}  // namespace netprov::engine
