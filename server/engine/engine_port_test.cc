// Ports of bridges that are not ends of pairs, and bridges that are not netprov's.
#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/engine/engine.h"
#include "server/engine/engine_fixture.h"
#include "server/engine/fake_kernel.h"
#include "server/engine/tag.h"
#include "server/netlink/bridge_port.h"
#include "server/netlink/ip_address.h"
#include "server/netlink/link_info.h"
#include "server/netlink/nat.h"

namespace netprov::engine {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::SizeIs;

class EnginePortTest : public EngineTest {
 protected:
  void SetUp() override {
    EngineTest::SetUp();
    ASSERT_TRUE(CreateNamespace("blue").ok());
  }

  EngineResult<Device> CreateBridge(const std::string& id = "br", const std::string& namespace_id = "",
                                    Metadata metadata = {}) {
    return engine_->CreateDevice(
        {.name = BridgeName(id),
         .spec = {.link = {.namespace_id = namespace_id, .interface_name = id + "0"}, .options = netlink::BridgeInfo()},
         .metadata = std::move(metadata)});
  }
  EngineResult<void> DeleteBridge(const std::string& id = "br") {
    return engine_->DeleteDevice({.name = BridgeName(id)});
  }
  // An overlay's: x0 of the host, which is an isolated port of `bridge` or of `bridge_interface`.
  static DeviceSpec Vxlan(const std::string& bridge, const std::string& bridge_interface = "") {
    VxlanOptions options;
    options.info.vni = 10;
    DeviceSpec spec{.link = {.interface_name = "x0"}, .options = options};
    if (!bridge.empty()) spec.link.config.bridge = BridgeName(bridge);
    spec.link.config.bridge_interface = bridge_interface;
    spec.link.config.port.settings.isolated = true;
    spec.link.config.port.settings.learning = false;
    return spec;
  }
  EngineResult<Device> CreateDevice(const std::string& id, DeviceSpec spec, CallContext context = {},
                                    Metadata metadata = {}) {
    return engine_->CreateDevice({.context = std::move(context),
                                  .name = DeviceName(id),
                                  .spec = std::move(spec),
                                  .metadata = std::move(metadata)});
  }
  // From h0 of the host, which is an isolated port of the foreign bridge, to blue.
  static VethSpec ForeignPort(const std::string& bridge_interface = "br-lan") {
    VethSpec spec = HostTo("blue");
    spec.a.config.bridge_interface = bridge_interface;
    spec.a.config.port.settings.isolated = true;
    return spec;
  }
  template <typename Spec>
  static Edit<Spec> To(const Spec& spec) {
    return [spec](const Asked<Spec>& present) -> netprov::Result<Asked<Spec>, std::vector<InvalidField>> {
      return Asked<Spec>{.spec = spec, .metadata = present.metadata};
    };
  }
  EngineResult<Device> Update(const std::string& id, const DeviceSpec& spec) {
    return engine_->UpdateDevice({.name = DeviceName(id), .edit = To(spec)});
  }
  EngineResult<Veth> Update(const VethSpec& spec) { return engine_->UpdateVeth({.id = "v", .edit = To(spec)}); }
  EngineResult<void> Heal(const std::string& name) {
    const std::optional<std::string> veth = VethIdIn(name);
    const std::string uid = veth.has_value() ? registry_->FindVeth(*veth)->uid : registry_->FindDevice(name)->uid;
    return engine_->Heal({.name = name, .uid = uid});
  }
  Device Read(const std::string& name) {
    auto device = engine_->GetDevice(name);
    EXPECT_TRUE(device.ok()) << device.error().message;
    return device.ok() ? *device : Device();
  }
  Link LinkNamed(const std::string& name, const NetnsRef& netns = kHost) { return **kernel_.FindLink(netns, name); }
  void DeleteLink(const std::string& name) { ASSERT_TRUE(kernel_.DeleteLink(kHost, LinkNamed(name).ifindex).ok()); }
  // Whatever the order of the links.
  std::vector<std::string> Lines() const {
    std::vector<std::string> lines = absl::StrSplit(kernel_.DumpForTest(), '\n');
    std::sort(lines.begin(), lines.end());
    return lines;
  }

  // With how the links are ports.
  std::string Picture() {
    std::string text = kernel_.DumpForTest();
    for (const char* name : {"h0", "x0"}) {
      const std::optional<Link> link = *kernel_.FindLink(kHost, name);
      if (!link.has_value() || !link->port.has_value()) continue;
      absl::StrAppend(&text, name, *link->port->isolated ? " isolated" : "", *link->port->learning ? " learning" : "",
                      "\n");
    }
    return text;
  }

  // Makes each operation fail in turn, where it `dies` as if the process ended there.
  void ExpectAllOrNothing(const std::function<bool()>& call, bool dies) {
    const std::string before = Picture();
    for (int point = 0;; ++point) {
      int operation = 0;
      bool failed = false;
      kernel_.SetFaultForTest([&](const std::string& name) -> std::optional<KernelError> {
        const int at = operation++;
        if (at < point || (!dies && at > point)) return std::nullopt;
        failed = true;
        return KernelError{.code = ENOMEM, .operation = name, .extack = {}, .may_have_effect = false};
      });
      const bool ok = call();
      kernel_.SetFaultForTest(nullptr);
      if (ok) {
        EXPECT_GT(point, 0) << "the fault was never injected";
        EXPECT_NE(Picture(), before);
        return;
      }
      ASSERT_TRUE(failed);
      if (dies) Restart();
      EXPECT_EQ(Picture(), before) << point;
      EXPECT_THAT(registry_->ListPending(), IsEmpty()) << point;
    }
  }
};

TEST_F(EnginePortTest, ADeviceIsAPortAsAnEndIs) {
  ASSERT_TRUE(CreateBridge().ok());
  VethSpec veth = HostTo("blue");
  veth.a.config.bridge = "bridges/br";
  ASSERT_TRUE(CreateVeth("v", veth).ok());
  auto made = CreateDevice("x", Vxlan("br"));
  ASSERT_TRUE(made.ok()) << made.error().message;
  EXPECT_EQ(LinkNamed("x0").master_ifindex, LinkNamed("br0").ifindex);
  Restart();
  const Device device = Read("devices/x");
  EXPECT_EQ(device.state, State::kReady) << ToText(device.deviations);
  EXPECT_EQ(device.link.config.bridge, "bridges/br");
  // What it is now, and not only what was asked for.
  EXPECT_EQ(device.link.config.port.settings.isolated, true);
  EXPECT_EQ(device.link.config.port.settings.learning, false);
  EXPECT_EQ(device.link.config.port.settings.hairpin, false);
  EXPECT_EQ(made->link.config.port, device.link.config.port);
  EXPECT_THAT(Read("bridges/br").ports, ElementsAre("devices/x", "veths/v"));
  ASSERT_TRUE(DeleteVeth("v").ok());
  auto refused = DeleteBridge();
  EXPECT_REFUSED(refused, Reason::kDeviceInUse);
  EXPECT_THAT(refused.error().message, HasSubstr("devices/x"));
  ASSERT_TRUE(engine_->DeleteDevice({.name = "devices/x"}).ok());
  EXPECT_TRUE(DeleteBridge().ok());
}

TEST_F(EnginePortTest, AnyKindIsMadeAPortUnlessTheKernelRefuses) {
  kernel_.AddForeignLinkForTest(kHost, "eth0");
  ASSERT_TRUE(CreateBridge().ok());
  DeviceSpec spec = Vxlan("br");
  for (const DeviceOptions& options :
       std::vector<DeviceOptions>{netlink::MacvlanInfo{.mode = netlink::MacvlanMode::kBridge}, netlink::DummyInfo(),
                                  netlink::VlanInfo{.id = 7}, netlink::IfbInfo()}) {
    SCOPED_TRACE(KindOf(options));
    spec.options = options;
    spec.lower.interface_name = HasLower(options) ? "eth0" : "";
    auto made = CreateDevice("x", spec);
    ASSERT_TRUE(made.ok()) << made.error().message;
    EXPECT_EQ(LinkNamed("x0").port->isolated, true);
    EXPECT_EQ(Read("devices/x").state, State::kReady);
    ASSERT_TRUE(engine_->DeleteDevice({.name = "devices/x"}).ok());
  }
  const std::string before = kernel_.DumpForTest();
  kernel_.SetFaultForTest([](const std::string& operation) -> std::optional<KernelError> {
    if (operation != "CreateDevice") return std::nullopt;
    return KernelError{.code = EOPNOTSUPP,
                       .operation = "RTM_SETLINK ifindex 7",
                       .extack = "Device does not allow enslaving to a bridge"};
  });
  auto refused = CreateDevice("x", spec);
  EXPECT_REFUSED(refused, Reason::kDeviceRefused);
  EXPECT_THAT(refused.error().kernel->extack, HasSubstr("enslaving"));
  // Of one that is to be no port, it is something else.
  spec.link.config.bridge.clear();
  spec.link.config.port = {};
  EXPECT_REFUSED(CreateDevice("x", spec), Reason::kKernel);
  kernel_.SetFaultForTest(nullptr);
  EXPECT_EQ(kernel_.DumpForTest(), before);
}

TEST_F(EnginePortTest, VlansThatTheKernelHasNotAreNoRefusalOfTheDevice) {
  ASSERT_TRUE(CreateBridge().ok());
  ASSERT_TRUE(CreateDevice("x", Vxlan("br")).ok());
  DeviceSpec with_vlans = Vxlan("br");
  with_vlans.link.config.port.vlans = {{.first = 10, .last = 10, .pvid = true}};
  int sets = 0;
  kernel_.SetFaultForTest([&sets](const std::string& operation) -> std::optional<KernelError> {
    // The second one undoes what the first may have done.
    const bool fails = operation == "CreateDevice" || (operation == "SetLink" && ++sets == 1);
    if (!fails) return std::nullopt;
    return KernelError{.code = EOPNOTSUPP, .operation = "RTM_SETLINK ifindex 7", .extack = {}};
  });
  EXPECT_REFUSED(Update("x", with_vlans), Reason::kKernel);
  with_vlans.link.interface_name = "x1";
  std::get<VxlanOptions>(with_vlans.options).info.vni = 11;
  EXPECT_REFUSED(CreateDevice("y", with_vlans), Reason::kKernel);
  kernel_.SetFaultForTest(nullptr);
  EXPECT_EQ(Read("devices/x").state, State::kReady);
}

TEST_F(EnginePortTest, ABridgeThatADeviceCannotUseIsNamed) {
  auto unknown = CreateDevice("x", Vxlan("br"));
  EXPECT_REFUSED(unknown, Reason::kDeviceNotFound);
  EXPECT_EQ(unknown.error().field, "bridge");
  ASSERT_TRUE(CreateBridge("inside", "blue").ok());
  auto elsewhere = CreateDevice("x", Vxlan("inside"));
  EXPECT_REFUSED(elsewhere, Reason::kBridgeUnusable);
  EXPECT_EQ(elsewhere.error().field, "bridge");
  ASSERT_TRUE(CreateBridge().ok());
  DeleteLink("br0");
  const std::string before = kernel_.DumpForTest();
  for (const bool validate_only : {true, false}) {
    auto missing = CreateDevice("x", Vxlan("br"), {.validate_only = validate_only});
    EXPECT_REFUSED(missing, Reason::kBridgeUnusable);
    EXPECT_EQ(missing.error().object, "bridges/br");
  }
  EXPECT_EQ(kernel_.DumpForTest(), before);
  DeviceSpec alone = Vxlan("");
  alone.link.config.port = {};
  ASSERT_TRUE(CreateDevice("x", alone).ok());
  EXPECT_REFUSED(Update("x", Vxlan("br")), Reason::kBridgeUnusable);
}

TEST_F(EnginePortTest, ABridgeWithoutRoomRefusesTheDevice) {
  ASSERT_TRUE(CreateBridge().ok());
  const uint32_t bridge = LinkNamed("br0").ifindex;
  for (int i = 0; i < 1023; ++i) {
    const std::string name = absl::StrCat("f", i);
    kernel_.AddForeignLinkForTest(kHost, name);
    ASSERT_TRUE(kernel_.SetLink(kHost, LinkNamed(name).ifindex, {.master = bridge}).ok());
  }
  const std::string before = kernel_.DumpForTest();
  auto full = CreateDevice("x", Vxlan("br"));
  EXPECT_REFUSED(full, Reason::kKernel);
  EXPECT_EQ(full.error().kernel->code, EXFULL);
  EXPECT_EQ(kernel_.DumpForTest(), before);
}

TEST_F(EnginePortTest, WhereverACallForADeviceFailsOrDiesNothingIsLeftOfIt) {
  kernel_.AddForeignLinkForTest(kHost, "br-lan", "bridge");
  ASSERT_TRUE(CreateBridge().ok());
  DeviceSpec alone = Vxlan("");
  alone.link.config.port = {};
  DeviceSpec other = Vxlan("br");
  other.link.config.port.settings.isolated = false;
  for (const bool dies : {false, true}) {
    SCOPED_TRACE(dies ? "dies" : "fails");
    ExpectAllOrNothing([&] { return CreateDevice("x", Vxlan("br")).ok(); }, dies);
    ExpectAllOrNothing([&] { return Update("x", other).ok(); }, dies);
    EXPECT_EQ(LinkNamed("x0").port->isolated, false);
    ExpectAllOrNothing([&] { return Update("x", Vxlan("", "br-lan")).ok(); }, dies);
    EXPECT_EQ(LinkNamed("x0").master_ifindex, LinkNamed("br-lan").ifindex);
    EXPECT_EQ(LinkNamed("x0").port->isolated, true);
    EXPECT_TRUE(DeleteBridge().ok());
    ASSERT_TRUE(CreateBridge().ok());
    ExpectAllOrNothing([&] { return Update("x", alone).ok(); }, dies);
    EXPECT_EQ(LinkNamed("x0").master_ifindex, 0u);
    ExpectAllOrNothing([&] { return Update("x", Vxlan("br")).ok(); }, dies);
    EXPECT_EQ(Read("devices/x").state, State::kReady);
    ASSERT_TRUE(engine_->DeleteDevice({.name = "devices/x"}).ok());
  }
}

TEST_F(EnginePortTest, DriftOfADeviceShowsAndIsHealed) {
  ASSERT_TRUE(CreateBridge().ok());
  ASSERT_TRUE(CreateDevice("x", Vxlan("br")).ok());
  const std::vector<std::string> made = Lines();
  kernel_.SetLinkForTest(kHost, "x0", {.master = 0});
  Device device = Read("devices/x");
  ASSERT_THAT(device.deviations, SizeIs(1));
  EXPECT_EQ(device.deviations[0].field, "bridge");
  EXPECT_EQ(device.deviations[0].expected, "bridges/br");
  EXPECT_EQ(device.link.config.bridge, "");
  EXPECT_TRUE(device.link.config.port.empty());
  ASSERT_TRUE(Heal("devices/x").ok());
  EXPECT_EQ(Lines(), made);
  PortOptions changed;
  changed.settings.isolated = false;
  ASSERT_TRUE(kernel_.SetLink(kHost, LinkNamed("x0").ifindex, {.port = changed}).ok());
  device = Read("devices/x");
  ASSERT_THAT(device.deviations, SizeIs(1));
  EXPECT_EQ(device.deviations[0].field, "bridge_port.isolated");
  ASSERT_TRUE(Heal("devices/x").ok());
  EXPECT_EQ(Lines(), made);
  // Without the bridge it waits, and comes after it.
  DeleteLink("br0");
  EXPECT_EQ(Read("devices/x").state, State::kDegraded);
  EXPECT_REFUSED(Heal("devices/x"), Reason::kBridgeUnusable);
  DeleteLink("x0");
  EXPECT_REFUSED(Heal("devices/x"), Reason::kBridgeUnusable);
  ASSERT_TRUE(Heal("bridges/br").ok());
  ASSERT_TRUE(Heal("devices/x").ok());
  EXPECT_EQ(Read("devices/x").state, State::kReady);
  EXPECT_EQ(Lines(), made);
}

TEST_F(EnginePortTest, PersistentDevicesComeBackAfterTheirBridge) {
  Metadata persistent;
  persistent.persistent = true;
  ASSERT_TRUE(CreateBridge("br", "", persistent).ok());
  // One that stands on nothing, and has a name before all others.
  DeviceSpec ifb = Vxlan("br");
  ifb.link.interface_name = "a0";
  ifb.options = netlink::IfbInfo();
  ASSERT_TRUE(CreateDevice("a", ifb, {}, persistent).ok());
  ASSERT_TRUE(CreateDevice("x", Vxlan("br"), {}, persistent).ok());
  ASSERT_TRUE(DeleteNamespace("blue").ok());
  const std::vector<std::string> made = Lines();
  kernel_.RebootForTest();
  const HostReport report = Restart();
  EXPECT_EQ(report.Count(Finding::Kind::kRestored), 3);
  EXPECT_EQ(report.Count(Finding::Kind::kNotRestored), 0);
  EXPECT_EQ(Lines(), made);
  EXPECT_THAT(Read("bridges/br").ports, ElementsAre("devices/a", "devices/x"));
}

TEST_F(EnginePortTest, KeysNameTheBridge) {
  EXPECT_THAT(engine_->Keys(CreateDeviceCall{.name = "devices/x", .spec = Vxlan("br")}),
              ElementsAre("bridges/br", "devices/x", "links/x0"));
  ASSERT_TRUE(CreateBridge().ok());
  ASSERT_TRUE(CreateDevice("x", Vxlan("br")).ok());
  EXPECT_THAT(engine_->Keys(DeleteDeviceCall{.name = "devices/x"}), ElementsAre("bridges/br", "devices/x"));
  EXPECT_THAT(engine_->Keys(UpdateDeviceCall{.name = "devices/x", .edit = nullptr, .bridges = {"bridges/other"}}),
              ElementsAre("bridges/br", "bridges/other", "devices/x"));
  EXPECT_THAT(engine_->Keys(ObjectRef{.name = "devices/x", .uid = ""}), Contains("bridges/br"));
}

TEST_F(EnginePortTest, GarbageGoesFromThePortsDown) {
  Metadata ci;
  ci.owner = "ci";
  Metadata lab;
  lab.owner = "lab";
  ASSERT_TRUE(CreateBridge("br", "", ci).ok());
  ASSERT_TRUE(CreateDevice("x", Vxlan("br"), {}, lab).ok());
  auto garbage = engine_->CollectGarbage(engine_->PlanGarbage("ci", {}));
  ASSERT_TRUE(garbage.ok());
  EXPECT_THAT(garbage->failures, ElementsAre(Pair("bridges/br", HasSubstr("devices/x is its port, which is not"))));
  ASSERT_TRUE(engine_->DeleteDevice({.name = "devices/x"}).ok());
  ASSERT_TRUE(CreateDevice("x", Vxlan("br"), {}, ci).ok());
  garbage = engine_->CollectGarbage(engine_->PlanGarbage("ci", {"devices/x"}));
  EXPECT_THAT(garbage->failures, ElementsAre(Pair("bridges/br", HasSubstr("devices/x is its port, which is to be"))));
  garbage = engine_->CollectGarbage(engine_->PlanGarbage("ci", {}));
  EXPECT_THAT(garbage->deleted, ElementsAre("devices/x", "bridges/br"));
  EXPECT_THAT(garbage->failures, IsEmpty());
}

TEST_F(EnginePortTest, OfAForeignBridgeOnlyThePortIsOurs) {
  kernel_.AddForeignLinkForTest(kHost, "br-lan", "bridge");
  const std::string before = kernel_.DumpForTest();
  auto veth = CreateVeth("v", ForeignPort());
  ASSERT_TRUE(veth.ok()) << veth.error().message;
  ASSERT_TRUE(CreateDevice("x", Vxlan("", "br-lan")).ok());
  for (const char* name : {"h0", "x0"}) {
    EXPECT_EQ(LinkNamed(name).master_ifindex, LinkNamed("br-lan").ifindex) << name;
    EXPECT_EQ(LinkNamed(name).port->isolated, true) << name;
  }
  EXPECT_EQ(veth->a.config.bridge_interface, "br-lan");
  Restart();
  veth = engine_->GetVeth("v");
  EXPECT_EQ(veth->state, State::kReady) << ToText(veth->deviations);
  EXPECT_EQ(veth->a.config.bridge_interface, "br-lan");
  EXPECT_EQ(veth->a.config.bridge, "");
  EXPECT_EQ(veth->a.config.port.settings.learning, true);
  EXPECT_EQ(Read("devices/x").link.config.bridge_interface, "br-lan");
  EXPECT_THAT(engine_->ListDevices("bridges/", "", 10)->items, IsEmpty());
  ASSERT_TRUE(DeleteVeth("v").ok());
  ASSERT_TRUE(engine_->DeleteDevice({.name = "devices/x"}).ok());
  EXPECT_EQ(kernel_.DumpForTest(), before);
}

TEST_F(EnginePortTest, AForeignBridgeIsWhereTheEndIs) {
  const uint32_t pid = kernel_.StartProcessInNewNetnsForTest("server");
  const NetnsPlace place{.path = "", .pid = pid};
  const NetnsRef outside{.name = "", .cookie = kernel_.FindPlace(place)->cookie, .place = place};
  const NetnsRef blue{.name = "blue", .cookie = engine_->GetNamespace("blue")->cookie};
  // Not that of the host.
  kernel_.AddForeignLinkForTest(kHost, "br-lan", "bridge");
  VethSpec spec{.a = {.interface_name = "p0", .place = place}, .b = {.namespace_id = "blue", .interface_name = "eth0"}};
  spec.a.config.bridge_interface = "br-lan";
  spec.b.config.bridge_interface = "br-in";
  kernel_.AddForeignLinkForTest(outside, "br-lan", "bridge");
  auto missing = CreateVeth("v", spec);
  EXPECT_REFUSED(missing, Reason::kBridgeUnusable);
  EXPECT_EQ(missing.error().field, "endpoint_b.bridge_interface");
  kernel_.AddForeignLinkForTest(blue, "br-in", "bridge");
  auto made = CreateVeth("v", spec);
  ASSERT_TRUE(made.ok()) << made.error().message;
  EXPECT_EQ(LinkNamed("p0", outside).master_ifindex, LinkNamed("br-lan", outside).ifindex);
  EXPECT_EQ(LinkNamed("eth0", blue).master_ifindex, LinkNamed("br-in", blue).ifindex);
  EXPECT_EQ(engine_->GetVeth("v")->state, State::kReady);
}

TEST_F(EnginePortTest, AForeignBridgeThatCannotBeUsedIsNamed) {
  kernel_.AddForeignLinkForTest(kHost, "eth0");
  auto ours = CreateBridge();
  ASSERT_TRUE(ours.ok());
  const std::string before = kernel_.DumpForTest();
  struct Case {
    const char* name;
    const char* why;
  };
  for (const Case& test : {Case{"br-lan", "is not there"}, Case{"eth0", "is a link of another kind"},
                           Case{"br0", "is bridges/br: use `bridge`"}}) {
    for (const bool validate_only : {true, false}) {
      SCOPED_TRACE(test.name);
      auto refused = CreateVeth("v", ForeignPort(test.name), {.validate_only = validate_only});
      EXPECT_REFUSED(refused, Reason::kBridgeUnusable);
      EXPECT_EQ(refused.error().field, "endpoint_a.bridge_interface");
      EXPECT_THAT(refused.error().message, HasSubstr(test.why));
      auto device = CreateDevice("x", Vxlan("", test.name), {.validate_only = validate_only});
      EXPECT_REFUSED(device, Reason::kBridgeUnusable);
      EXPECT_EQ(device.error().field, "bridge_interface");
    }
  }
  EXPECT_EQ(kernel_.DumpForTest(), before);
  // Ours is known as such also without its tag, and by its tag without a record.
  kernel_.SetLinkForTest(kHost, "br0", {.alias = ""});
  EXPECT_REFUSED(CreateVeth("v", ForeignPort("br0")), Reason::kBridgeUnusable);
  kernel_.SetLinkForTest(kHost, "br0", {.alias = TagOf(registry_->id(), ours->uid, "bridges/br")});
  ASSERT_TRUE(registry_->Commit(0, {.remove_devices = {*registry_->FindDevice("bridges/br")}}).ok());
  EXPECT_REFUSED(CreateVeth("v", ForeignPort("br0")), Reason::kBridgeUnusable);
  // Nor is there one in a namespace that is made with the pair.
  VethSpec unborn{.a = {.interface_name = "h0"}, .b = {.namespace_id = "new", .interface_name = "eth0"}};
  unborn.b.config.bridge_interface = "br-lan";
  auto refused = engine_->CreateVeth({.id = "v", .spec = unborn, .create_namespaces = true});
  EXPECT_REFUSED(refused, Reason::kBridgeUnusable);
  EXPECT_EQ(refused.error().field, "endpoint_b.bridge_interface");
  EXPECT_REFUSED(engine_->GetNamespace("new"), Reason::kNamespaceNotFound);
}

TEST_F(EnginePortTest, WithTheForeignBridgeThePortGoesAndComesBack) {
  kernel_.AddForeignLinkForTest(kHost, "br-lan", "bridge");
  ASSERT_TRUE(CreateVeth("v", ForeignPort()).ok());
  const std::vector<std::string> made = Lines();
  // Taken off it.
  kernel_.SetLinkForTest(kHost, "h0", {.master = 0});
  auto veth = engine_->GetVeth("v");
  ASSERT_THAT(veth->deviations, SizeIs(1));
  EXPECT_EQ(veth->deviations[0].field, "endpoint_a.bridge_interface");
  EXPECT_EQ(veth->deviations[0].expected, "br-lan");
  EXPECT_EQ(veth->a.config.bridge_interface, "");
  ASSERT_TRUE(Heal("veths/v").ok());
  EXPECT_EQ(Lines(), made);
  // Gone, renamed, and another in its place.
  const uint32_t old_index = LinkNamed("br-lan").ifindex;
  kernel_.RenameLinkForTest(kHost, "br-lan", "br-wan");
  EXPECT_EQ(engine_->GetVeth("v")->state, State::kDegraded);
  EXPECT_REFUSED(Heal("veths/v"), Reason::kBridgeUnusable);
  DeleteLink("br-wan");
  EXPECT_EQ(engine_->GetVeth("v")->state, State::kDegraded);
  EXPECT_REFUSED(Heal("veths/v"), Reason::kBridgeUnusable);
  kernel_.AddForeignLinkForTest(kHost, "br-lan", "bridge");
  EXPECT_NE(LinkNamed("br-lan").ifindex, old_index);
  EXPECT_EQ(engine_->GetVeth("v")->state, State::kDegraded);
  ASSERT_TRUE(Heal("veths/v").ok());
  EXPECT_EQ(engine_->GetVeth("v")->state, State::kReady);
  EXPECT_EQ(Lines(), made);
  // One of ours that takes the name is not the one that was meant.
  DeleteLink("br-lan");
  DeviceSpec own{.link = {.interface_name = "br-lan"}, .options = netlink::BridgeInfo()};
  ASSERT_TRUE(engine_->CreateDevice({.name = "bridges/own", .spec = own}).ok());
  EXPECT_REFUSED(Heal("veths/v"), Reason::kBridgeUnusable);
  EXPECT_EQ(LinkNamed("h0").master_ifindex, 0u);
}

TEST_F(EnginePortTest, APersistentPairWaitsForTheForeignBridge) {
  Metadata persistent;
  persistent.persistent = true;
  ASSERT_TRUE(DeleteNamespace("blue").ok());
  ASSERT_TRUE(engine_->CreateNamespace({.id = "blue", .metadata = persistent}).ok());
  kernel_.AddForeignLinkForTest(kHost, "br-lan", "bridge");
  ASSERT_TRUE(engine_->CreateVeth({.id = "v", .spec = ForeignPort(), .metadata = persistent}).ok());
  const std::vector<std::string> made = Lines();
  kernel_.RebootForTest();
  EXPECT_EQ(Restart().Count(Finding::Kind::kNotRestored), 1);
  EXPECT_EQ(engine_->GetVeth("v")->state, State::kMissing);
  kernel_.AddForeignLinkForTest(kHost, "br-lan", "bridge");
  auto report = engine_->CheckHost(engine_->PlanCheck(/*validate_only=*/false));
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->Count(Finding::Kind::kRestored), 1);
  EXPECT_EQ(Lines(), made);
}

TEST_F(EnginePortTest, AnUpdateLeadsFromOneBridgeToTheOtherAndBack) {
  kernel_.AddForeignLinkForTest(kHost, "br-lan", "bridge");
  ASSERT_TRUE(CreateBridge().ok());
  VethSpec own = HostTo("blue");
  own.a.config.bridge = "bridges/br";
  ASSERT_TRUE(CreateVeth("v", own).ok());
  for (const bool dies : {false, true}) {
    SCOPED_TRACE(dies ? "dies" : "fails");
    VethSpec foreign = ForeignPort();
    // Something that comes after it, so that it is undone.
    foreign.a.config.ip.addresses = {{.local = *netlink::IpPrefix::Parse("10.0.0.1/24"), .peer = std::nullopt}};
    ExpectAllOrNothing([&] { return Update(foreign).ok(); }, dies);
    EXPECT_EQ(LinkNamed("h0").master_ifindex, LinkNamed("br-lan").ifindex);
    EXPECT_EQ(LinkNamed("h0").port->isolated, true);
    EXPECT_EQ(engine_->GetVeth("v")->state, State::kReady);
    EXPECT_THAT(Read("bridges/br").ports, IsEmpty());
    ExpectAllOrNothing([&] { return Update(own).ok(); }, dies);
    EXPECT_EQ(LinkNamed("h0").master_ifindex, LinkNamed("br0").ifindex);
  }
  ASSERT_TRUE(Update(HostTo("blue")).ok());
  EXPECT_EQ(LinkNamed("h0").master_ifindex, 0u);
  auto missing = Update(ForeignPort("br-wan"));
  EXPECT_REFUSED(missing, Reason::kBridgeUnusable);
  EXPECT_EQ(missing.error().field, "endpoint_a.bridge_interface");
}

TEST_F(EnginePortTest, AnUpdateThatIsUndoneSparesABridgeThatIsGone) {
  kernel_.AddForeignLinkForTest(kHost, "br-lan", "bridge");
  ASSERT_TRUE(CreateVeth("v", ForeignPort()).ok());
  VethSpec alone = HostTo("blue");
  alone.a.config.ip.addresses = {{.local = *netlink::IpPrefix::Parse("10.0.0.1/24"), .peer = std::nullopt}};
  kernel_.SetFaultForTest([this](const std::string& operation) -> std::optional<KernelError> {
    if (operation != "Configure") return std::nullopt;
    kernel_.SetFaultForTest(nullptr);
    DeleteLink("br-lan");
    return KernelError{.code = ENOMEM, .operation = operation, .extack = {}};
  });
  EXPECT_REFUSED(Update(alone), Reason::kKernel);
  EXPECT_EQ(LinkNamed("h0").master_ifindex, 0u);
  EXPECT_THAT(registry_->ListPending(), IsEmpty());
}

TEST_F(EnginePortTest, WhatIsTranslatedHangsOnTheForeignBridge) {
  kernel_.AddForeignLinkForTest(kHost, "br-lan", "bridge");
  VethSpec spec = ForeignPort();
  spec.b.config.ip.addresses = {{.local = *netlink::IpPrefix::Parse("10.0.0.2/24"), .peer = std::nullopt}};
  spec.b.config.masquerade = true;
  ASSERT_TRUE(CreateVeth("v", spec).ok());
  auto ifindexes = [this] {
    std::vector<int> indexes;
    const auto elements = kernel_.ListNat(kHost, registry_->id());
    for (const netlink::NatElement& element : *elements) {
      indexes.push_back(std::get<netlink::Masquerade>(element.rule).ifindex);
    }
    return indexes;
  };
  EXPECT_THAT(ifindexes(), ElementsAre(LinkNamed("br-lan").ifindex));
  DeleteLink("br-lan");
  // That is said of the bridge alone.
  EXPECT_THAT(engine_->GetVeth("v")->deviations, SizeIs(1));
  kernel_.AddForeignLinkForTest(kHost, "br-lan", "bridge");
  ASSERT_TRUE(Heal("veths/v").ok());
  EXPECT_EQ(engine_->GetVeth("v")->state, State::kReady);
  EXPECT_THAT(ifindexes(), ElementsAre(LinkNamed("br-lan").ifindex));
  ASSERT_TRUE(DeleteVeth("v").ok());
  EXPECT_THAT(ifindexes(), IsEmpty());
}

}  // namespace
}  // namespace netprov::engine
