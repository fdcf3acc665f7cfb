#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/engine/address_translation.h"
#include "server/engine/engine.h"
#include "server/engine/engine_fixture.h"
#include "server/engine/fake_kernel.h"
#include "server/engine/tag.h"
#include "server/netlink/ip_address.h"
#include "server/netlink/nat.h"

namespace netprov::engine {
namespace {

using netlink::IpAddress;
using netlink::IpPrefix;
using netlink::NatElement;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr char kIpv6Forwarding[] = "net.ipv6.conf.all.forwarding";
constexpr char kUid[] = "01234567-89ab-4cde-8f01-23456789abcd";

class EngineNatTest : public EngineTest {
 protected:
  // The end in the namespace is masqueraded, and has TCP 8080 of the host and UDP 5000 to 5002 of one address of it.
  static VethSpec Translated(const std::string& netns, const std::string& host_end = "h0") {
    VethSpec spec = HostTo(netns);
    spec.a.interface_name = host_end;
    EndpointConfig& config = spec.b.config;
    config.ip.addresses = {{.local = *IpPrefix::Parse("10.0.0.2/24")}, {.local = *IpPrefix::Parse("fd00::2/64")}};
    config.masquerade = true;
    config.port_forwards = {{.host_port = 8080, .port = 80},
                            {.protocol = netlink::TransportProtocol::kUdp,
                             .host_address = IpAddress::Parse("192.0.2.1"),
                             .host_port = 5000,
                             .count = 3,
                             .port = 6000}};
    return spec;
  }
  static VethSpec Forwarding(const std::string& netns) {
    VethSpec spec = Translated(netns);
    spec.b.config.ip_forwarding = true;
    return spec;
  }
  Veth Make(const VethSpec& spec) {
    EXPECT_TRUE(CreateNamespace("blue").ok());
    auto made = CreateVeth("v", spec);
    EXPECT_TRUE(made.ok()) << made.error().message;
    return made.ok() ? *made : Veth();
  }
  NetnsRef Blue() { return {.name = "blue", .cookie = engine_->GetNamespace("blue")->cookie}; }
  std::vector<NatElement> Nat(const NetnsRef& netns = kHost) { return *kernel_.ListNat(netns, registry_->id()); }
  std::string SysctlOf(const std::string& name) { return (*kernel_.FindSysctls(kHost, {{name, ""}}))[name]; }
  std::vector<std::string> Deviations() {
    std::vector<std::string> texts;
    const Veth veth = *engine_->GetVeth("v");
    EXPECT_EQ(veth.state == State::kDegraded, !veth.deviations.empty());
    for (const Deviation& deviation : veth.deviations) {
      texts.push_back(absl::StrCat(deviation.field, " ", deviation.expected, " ", deviation.actual));
    }
    return texts;
  }
  EngineResult<void> Heal() { return engine_->Heal({.name = "veths/v", .uid = registry_->FindVeth("v")->uid}); }
  EngineResult<Veth> Update(const VethSpec& spec) {
    return engine_->UpdateVeth({.context = {}, .id = "v", .edit = [spec](const Asked<VethSpec>& present) {
                                  return netprov::Result<Asked<VethSpec>, std::vector<InvalidField>>(
                                      Asked<VethSpec>{.spec = spec, .metadata = present.metadata});
                                }});
  }
  // Whatever the order of addresses.
  std::vector<std::string> Lines() const {
    std::vector<std::string> lines = absl::StrSplit(kernel_.DumpForTest(), '\n');
    std::sort(lines.begin(), lines.end());
    return lines;
  }
  // Makes each operation of a call fail once, and expects that nothing of it is left, until none fails any more.
  // `call` says whether it succeeded.
  void ExpectNothingIsLeft(const std::function<bool()>& call) {
    const std::vector<std::string> before = Lines();
    for (int calls = 0;; ++calls) {
      ASSERT_LT(calls, 1000);
      int left = calls;
      bool failed = false;
      kernel_.SetFaultForTest([&](const std::string& operation) -> std::optional<KernelError> {
        if (failed || left-- > 0) return std::nullopt;
        failed = true;
        return KernelError{.code = EIO, .operation = operation, .extack = {}};
      });
      const bool succeeded = call();
      kernel_.SetFaultForTest(nullptr);
      if (!failed) {
        EXPECT_TRUE(succeeded);
        EXPECT_GE(calls, 3);
        return;
      }
      if (succeeded) continue;
      EXPECT_EQ(Lines(), before) << "operation " << calls;
      EXPECT_THAT(registry_->ListPending(), IsEmpty());
    }
  }
};

TEST_F(EngineNatTest, AnEndIsTranslatedWhereTheOtherIs) {
  ASSERT_TRUE(CreateNamespace("blue").ok());
  const std::string before = kernel_.DumpForTest();
  auto made = CreateVeth("v", Translated("blue"));
  ASSERT_TRUE(made.ok()) << made.error().message;
  EXPECT_EQ(made->b.config, Translated("blue").b.config);
  const std::vector<NatElement> elements = Nat();
  EXPECT_THAT(elements, SizeIs(2 + 2 + 2 + 3)) << "masquerade, hairpin, a port of both families, three of one";
  for (const NatElement& element : elements) {
    EXPECT_EQ(element.tag, TagOf(registry_->id(), made->uid, "veths/v"));
    if (const auto* masquerade = std::get_if<netlink::Masquerade>(&element.rule)) {
      EXPECT_EQ(masquerade->ifindex, static_cast<int>(made->a.ifindex));
    }
  }
  EXPECT_THAT(Nat(Blue()), IsEmpty());
  EXPECT_EQ(SysctlOf(kIpv4ForwardSysctl), "0") << "nobody asked";
  EXPECT_EQ(Restart().findings.size(), 0u);
  const Veth veth = *engine_->GetVeth("v");
  EXPECT_EQ(veth.state, State::kReady) << ToText(veth.deviations);
  EXPECT_EQ(veth.b.config, Translated("blue").b.config);
  EXPECT_TRUE(CreateVeth("v", Translated("blue"), {}, /*allow_existing=*/true).ok());
  ASSERT_TRUE(DeleteVeth("v").ok());
  EXPECT_EQ(kernel_.DumpForTest(), before);
}

TEST_F(EngineNatTest, EachEndCanBeTranslated) {
  ASSERT_TRUE(CreateNamespace("blue").ok());
  ASSERT_TRUE(CreateNamespace("green").ok());
  const std::string before = kernel_.DumpForTest();
  VethSpec spec = Translated("blue");
  spec.a.namespace_id = "green";
  spec.a.config.ip.addresses = {{.local = *IpPrefix::Parse("10.0.0.1/24")}};
  spec.a.config.masquerade = true;
  ASSERT_TRUE(CreateVeth("v", spec).ok());
  EXPECT_THAT(Nat(Blue()), SizeIs(1));
  EXPECT_THAT(Nat({.name = "green", .cookie = engine_->GetNamespace("green")->cookie}), SizeIs(9));
  EXPECT_THAT(Nat(), IsEmpty());
  EXPECT_THAT(Deviations(), IsEmpty());
  ASSERT_TRUE(DeleteVeth("v").ok());
  EXPECT_EQ(kernel_.DumpForTest(), before);
}

TEST_F(EngineNatTest, OfAPortThePacketsComeByTheBridge) {
  ASSERT_TRUE(CreateNamespace("blue").ok());
  auto bridge = engine_->CreateDevice({.name = "bridges/br0", .spec = {.link = {.interface_name = "br0"}}});
  ASSERT_TRUE(bridge.ok()) << bridge.error().message;
  VethSpec spec = Translated("blue");
  spec.a.config.bridge = "bridges/br0";
  ASSERT_TRUE(CreateVeth("v", spec).ok());
  EXPECT_THAT(Nat(), Contains(NatElement{.rule = netlink::Masquerade{.source = *IpAddress::Parse("10.0.0.2"),
                                                                     .ifindex = static_cast<int>(bridge->link.ifindex)},
                                         .tag = TagOf(registry_->id(), registry_->FindVeth("v")->uid, "veths/v")}));
  // Another of the same address on the same bridge can't be told from it.
  ASSERT_TRUE(CreateNamespace("green").ok());
  VethSpec same = Translated("green", "h1");
  same.a.config.bridge = "bridges/br0";
  same.b.config.port_forwards.clear();
  const std::string before = kernel_.DumpForTest();
  auto refused = CreateVeth("w", same);
  EXPECT_REFUSED(refused, Reason::kKernel);
  EXPECT_EQ(refused.error().kernel->code, EEXIST);
  EXPECT_EQ(kernel_.DumpForTest(), before);
}

TEST_F(EngineNatTest, WithoutTheBridgeWhatIsNotWantedAnyMoreGoesAndTheRestStays) {
  ASSERT_TRUE(CreateNamespace("blue").ok());
  ASSERT_TRUE(engine_->CreateDevice({.name = "bridges/br0", .spec = {.link = {.interface_name = "br0"}}}).ok());
  VethSpec spec = Translated("blue");
  spec.a.config.bridge = "bridges/br0";
  ASSERT_TRUE(CreateVeth("v", spec).ok());
  ASSERT_TRUE(registry_->Commit(0, {.remove_devices = {*registry_->FindDevice("bridges/br0")}}).ok());
  auto count = [this](auto is_it) {
    const std::vector<NatElement> elements = Nat();
    return std::count_if(elements.begin(), elements.end(), is_it);
  };
  auto is_masquerade = [](const NatElement& element) {
    return std::holds_alternative<netlink::Masquerade>(element.rule);
  };
  auto is_hairpin = [](const NatElement& element) { return std::holds_alternative<netlink::Hairpin>(element.rule); };
  VethSpec fewer = spec;
  fewer.b.config.port_forwards.erase(fewer.b.config.port_forwards.begin());
  auto updated = Update(fewer);
  ASSERT_TRUE(updated.ok()) << updated.error().message;
  EXPECT_THAT(Nat(), SizeIs(2 + 1 + 3)) << "of the second forward, of IPv4 alone";
  EXPECT_EQ(count(is_masquerade), 2);
  EXPECT_EQ(count(is_hairpin), 1);
  fewer.b.config.masquerade = false;
  ASSERT_TRUE(Update(fewer).ok());
  EXPECT_THAT(Nat(), SizeIs(1 + 3));
  // A port can be added, which hangs on no link.
  fewer.b.config.port_forwards.push_back({.host_port = 9, .port = 9});
  ASSERT_TRUE(Update(fewer).ok());
  EXPECT_THAT(Nat(), SizeIs(1 + 3 + 2));
  fewer.b.config.port_forwards.clear();
  ASSERT_TRUE(Update(fewer).ok());
  EXPECT_THAT(Nat(), IsEmpty());
}

TEST_F(EngineNatTest, APortThatIsForwardedIsTaken) {
  Make(Translated("blue"));
  ASSERT_TRUE(CreateNamespace("green").ok());
  const std::string before = kernel_.DumpForTest();
  VethSpec spec = Translated("green", "h1");
  spec.b.config.port_forwards = {{.host_port = 1, .port = 1},
                                 {.protocol = netlink::TransportProtocol::kUdp,
                                  .host_address = IpAddress::Parse("192.0.2.1"),
                                  .host_port = 5002,
                                  .port = 1}};
  for (const bool validate_only : {true, false}) {
    auto refused = CreateVeth("w", spec, {.validate_only = validate_only});
    EXPECT_REFUSED(refused, Reason::kPortForwardTaken);
    EXPECT_EQ(refused.error().message, "UDP port 5002 of 192.0.2.1 is forwarded already, by veths/v");
    EXPECT_EQ(refused.error().field, "endpoint_b.port_forwards[1]");
    EXPECT_EQ(refused.error().holder, "veths/v");
    EXPECT_EQ(kernel_.DumpForTest(), before);
    EXPECT_THAT(registry_->ListPending(), IsEmpty());
  }
  // Of another address, and of all, it is free.
  spec.b.config.port_forwards[1].host_address = std::nullopt;
  EXPECT_TRUE(CreateVeth("w", spec).ok());
  // An update is refused too, and changes nothing.
  const std::string both = kernel_.DumpForTest();
  VethSpec changed = Translated("blue");
  changed.b.config.port_forwards.push_back({.host_port = 1, .port = 1});
  auto refused = Update(changed);
  EXPECT_REFUSED(refused, Reason::kPortForwardTaken);
  EXPECT_EQ(refused.error().holder, "veths/w");
  EXPECT_EQ(kernel_.DumpForTest(), both);
  // Somebody else's has no name.
  std::vector<NatElement> elements = Nat();
  elements.push_back(
      {.rule = netlink::PortForward{.host_port = 7, .target = *IpAddress::Parse("10.9.9.9"), .target_port = 7},
       .tag = "mine"});
  kernel_.SetNatForTest(kHost, elements);
  changed.b.config.port_forwards.back().host_port = 7;
  auto foreign = Update(changed);
  EXPECT_REFUSED(foreign, Reason::kPortForwardTaken);
  EXPECT_EQ(foreign.error().holder, "");
  EXPECT_THAT(foreign.error().message, HasSubstr("by somebody else"));
}

TEST_F(EngineNatTest, WhateverFailsNothingIsLeft) {
  ASSERT_TRUE(CreateNamespace("blue").ok());
  ExpectNothingIsLeft([&] { return CreateVeth("v", Forwarding("blue")).ok(); });
  EXPECT_THAT(Nat(), SizeIs(9));
  // A deletion that failed can be repeated.
  for (const char* operation : {"ListNat", "DeleteNat", "DeleteLink", "FindLink"}) {
    for (int times = 0; times < 2; ++times) {
      int left = times;
      kernel_.SetFaultForTest([&](const std::string& asked) -> std::optional<KernelError> {
        if (asked != operation || left-- != 0) return std::nullopt;
        return KernelError{.code = EIO, .operation = asked, .extack = {}};
      });
      auto deleted = DeleteVeth("v");
      kernel_.SetFaultForTest(nullptr);
      if (!deleted.ok()) deleted = DeleteVeth("v");
      EXPECT_TRUE(deleted.ok()) << deleted.error().message;
      EXPECT_THAT(Nat(), IsEmpty()) << operation << " " << times;
      ASSERT_TRUE(CreateVeth("v", Forwarding("blue")).ok());
    }
  }
}

TEST_F(EngineNatTest, WhateverFailsOfAnUpdateNothingIsLeft) {
  VethSpec plain = Translated("blue");
  plain.b.config.masquerade = false;
  plain.b.config.port_forwards.clear();
  Make(plain);
  const std::vector<std::string> before = Lines();
  ExpectNothingIsLeft([&] { return Update(Forwarding("blue")).ok(); });
  EXPECT_THAT(Nat(), SizeIs(9));
  EXPECT_EQ(SysctlOf(kIpv4ForwardSysctl), "1");
  EXPECT_THAT(Deviations(), IsEmpty());
  VethSpec other = Forwarding("blue");
  other.b.config.ip.addresses = {{.local = *IpPrefix::Parse("10.0.0.7/24")}};
  other.b.config.port_forwards[1].count = 2;
  ExpectNothingIsLeft([&] { return Update(other).ok(); });
  EXPECT_THAT(Nat(), SizeIs(1 + 1 + 1 + 2));
  EXPECT_THAT(Deviations(), IsEmpty());
  ASSERT_TRUE(Update(plain).ok());
  EXPECT_THAT(Nat(), IsEmpty());
  EXPECT_EQ(SysctlOf(kIpv4ForwardSysctl), "1") << "it stays on";
  kernel_.SetSysctlForTest(kHost, kIpv4ForwardSysctl, "0");
  kernel_.SetSysctlForTest(kHost, kIpv6Forwarding, "0");
  EXPECT_EQ(Lines(), before);
}

TEST_F(EngineNatTest, ForwardingIsSwitchedOnWhereAskedAndStaysOn) {
  Make(Forwarding("blue"));
  EXPECT_EQ(SysctlOf(kIpv4ForwardSysctl), "1");
  EXPECT_EQ(SysctlOf(kIpv6Forwarding), "1");
  EXPECT_TRUE(engine_->GetVeth("v")->b.config.ip_forwarding);
  EXPECT_EQ((*kernel_.FindSysctls(Blue(), {{kIpv4ForwardSysctl, ""}}))[kIpv4ForwardSysctl], "0") << "only there";
  // One that fails leaves on what others rely on.
  ASSERT_TRUE(CreateNamespace("green").ok());
  VethSpec second = Forwarding("green");
  second.a.interface_name = "h1";
  second.b.config.port_forwards.clear();
  kernel_.SetSysctlForTest(kHost, kIpv4ForwardSysctl, "0");
  kernel_.FailNextForTest("SetSysctls", EACCES);
  EXPECT_REFUSED(CreateVeth("w", second), Reason::kKernel);
  EXPECT_EQ(SysctlOf(kIpv6Forwarding), "1");
  EXPECT_THAT(Deviations(), ElementsAre("endpoint_b.ip_forwarding true false"));
  EXPECT_FALSE(engine_->GetVeth("v")->b.config.ip_forwarding);
  ASSERT_TRUE(Heal().ok());
  EXPECT_THAT(Deviations(), IsEmpty());
  ASSERT_TRUE(DeleteVeth("v").ok());
  EXPECT_EQ(SysctlOf(kIpv4ForwardSysctl), "1");
}

TEST_F(EngineNatTest, SingleLinksForwardAgainAsTheyDidBefore) {
  ASSERT_TRUE(CreateNamespace("blue").ok());
  kernel_.AddForeignLinkForTest(kHost, "uplink0");
  kernel_.AddForeignLinkForTest(kHost, "uplink1");
  kernel_.SetSysctlForTest(kHost, "net.ipv4.conf.uplink0.forwarding", "1");
  kernel_.SetSysctlForTest(kHost, "net.ipv6.conf.uplink1.forwarding", "1");
  kernel_.SetSysctlForTest(kHost, kIpv4RedirectsSysctl, "0");
  ExpectNothingIsLeft([&] { return CreateVeth("v", Forwarding("blue")).ok(); });
  EXPECT_EQ(SysctlOf("net.ipv6.conf.uplink0.forwarding"), "1");
  // An update, too.
  kernel_.SetSysctlForTest(kHost, kIpv4ForwardSysctl, "0");
  kernel_.SetSysctlForTest(kHost, kIpv6Forwarding, "0");
  kernel_.SetSysctlForTest(kHost, "net.ipv4.conf.uplink1.forwarding", "1");
  ASSERT_TRUE(DeleteVeth("v").ok());
  ASSERT_TRUE(CreateVeth("v", Translated("blue")).ok());
  ExpectNothingIsLeft([&] { return Update(Forwarding("blue")).ok(); });
}

TEST_F(EngineNatTest, OfALinkThatIsGoneOrThatSomebodyChangedNothingIsPutBack) {
  ASSERT_TRUE(CreateNamespace("blue").ok());
  for (const char* link : {"uplink0", "uplink1", "uplink2"}) {
    kernel_.AddForeignLinkForTest(kHost, link);
    kernel_.SetSysctlForTest(kHost, absl::StrCat("net.ipv4.conf.", link, ".forwarding"), "1");
  }
  const uint32_t gone = (*kernel_.FindLink(kHost, std::string("uplink1")))->ifindex;
  int sets = 0;
  kernel_.SetFaultForTest([&](const std::string& operation) -> std::optional<KernelError> {
    if (operation != "SetSysctls") return std::nullopt;
    ++sets;
    if (sets == 1) {
      // What was switched on in the meantime is as the call would have done it.
      kernel_.SetSysctlForTest(kHost, kIpv4ForwardSysctl, "1");
      kernel_.SetSysctlForTest(kHost, "net.ipv4.conf.uplink2.forwarding", "0");
      return KernelError{.code = EIO, .operation = operation, .extack = {}};
    }
    // Since the look at what is to be put back.
    if (sets == 2) {
      EXPECT_TRUE(kernel_.DeleteLink(kHost, gone).ok());
    }
    return std::nullopt;
  });
  auto failed = CreateVeth("v", Forwarding("blue"));
  kernel_.SetFaultForTest(nullptr);
  EXPECT_REFUSED(failed, Reason::kKernel);
  EXPECT_EQ(sets, 3);
  EXPECT_EQ(SysctlOf(kIpv4ForwardSysctl), "0");
  EXPECT_EQ(SysctlOf("net.ipv4.conf.uplink0.forwarding"), "1");
  EXPECT_EQ(SysctlOf("net.ipv4.conf.uplink2.forwarding"), "0");
  EXPECT_THAT(registry_->ListPending(), IsEmpty());
}

TEST_F(EngineNatTest, OfOneFamilyOnlyThatIsForwarded) {
  VethSpec spec = Forwarding("blue");
  spec.b.config.ip.addresses.pop_back();
  Make(spec);
  EXPECT_EQ(SysctlOf(kIpv4ForwardSysctl), "1");
  EXPECT_EQ(SysctlOf(kIpv6Forwarding), "0");
  EXPECT_THAT(Deviations(), IsEmpty());
  // One that fails leaves on the family that others rely on, and not the other one.
  ASSERT_TRUE(CreateNamespace("green").ok());
  VethSpec second = Forwarding("green");
  second.a.interface_name = "h1";
  second.b.config.port_forwards.clear();
  ExpectNothingIsLeft([&] { return CreateVeth("w", second).ok(); });
  EXPECT_EQ(SysctlOf(kIpv6Forwarding), "1");
}

TEST_F(EngineNatTest, TwoThatSwitchForwardingOnInTheHostWaitForEachOther) {
  const CreateVethCall call{.id = "v", .spec = Forwarding("blue")};
  EXPECT_THAT(engine_->Keys(call), Contains(std::string(kHostForwardingKey)));
  EXPECT_THAT(engine_->Keys(CreateVethCall{.id = "v", .spec = Translated("blue")}),
              ::testing::Not(Contains(std::string(kHostForwardingKey))));
  EXPECT_THAT(engine_->Keys(UpdateVethCall{.id = "v", .ip_forwarding = true}),
              Contains(std::string(kHostForwardingKey)));
  Make(Forwarding("blue"));
  EXPECT_THAT(engine_->Keys(ObjectRef{.name = "veths/v"}), Contains(std::string(kHostForwardingKey)));
}

TEST_F(EngineNatTest, AnUnfinishedCreateIsRolledBack) {
  ASSERT_TRUE(CreateNamespace("blue").ok());
  const std::string before = kernel_.DumpForTest();
  VethRecord record{.id = "v",
                    .uid = kUid,
                    .boot_id = kernel_.BootId(),
                    .spec = Forwarding("blue"),
                    .a = {.interface_name = "h0"},
                    .b = {.namespace_id = "blue", .interface_name = "eth0"}};
  const std::string tag = TagOf(registry_->id(), kUid, "veths/v");
  for (const bool has_links : {true, false}) {
    Intent intent{.kind = Intent::Kind::kCreateVeth, .veth = record};
    intent.former.forwarding_b = {{kIpv4ForwardSysctl, "0"}, {kIpv6Forwarding, "0"}};
    ASSERT_TRUE(registry_->Begin(intent).ok());
    auto made = kernel_.CreateVeth({.name = "h0"}, {.netns = Blue(), .name = "eth0"}, tag);
    ASSERT_TRUE(made.ok());
    ASSERT_TRUE(
        kernel_.AddNat(kHost, registry_->id(), NatElements(record.spec.b.config, made->first.ifindex, tag)).ok());
    kernel_.SetSysctlForTest(kHost, kIpv4ForwardSysctl, "1");
    if (!has_links) {
      ASSERT_TRUE(kernel_.DeleteLink(kHost, made->first.ifindex).ok());
    }
    const HostReport report = *engine_->CheckHost(engine_->PlanCheck(/*validate_only=*/true));
    EXPECT_EQ(report.Count(Finding::Kind::kOrphan), 0) << "it is under way";
    EXPECT_EQ(Restart().Count(Finding::Kind::kRolledBack), 1);
    EXPECT_EQ(kernel_.DumpForTest(), before);
  }
}

TEST_F(EngineNatTest, AnUnfinishedUpdateIsUndone) {
  VethSpec plain = Translated("blue");
  plain.b.config.masquerade = false;
  plain.b.config.port_forwards.clear();
  const Veth veth = Make(plain);
  const std::string before = kernel_.DumpForTest();
  VethRecord updated = *registry_->FindVeth("v");
  Intent intent{.kind = Intent::Kind::kUpdateVeth, .veth = updated};
  intent.former.veth = updated.spec;
  intent.veth.spec = Forwarding("blue");
  intent.former.forwarding_b = {{kIpv4ForwardSysctl, "0"}, {kIpv6Forwarding, "0"}};
  ASSERT_TRUE(registry_->Begin(intent).ok());
  const std::string tag = TagOf(registry_->id(), veth.uid, "veths/v");
  ASSERT_TRUE(kernel_.AddNat(kHost, registry_->id(), NatElements(intent.veth.spec.b.config, veth.a.ifindex, tag)).ok());
  kernel_.SetSysctlForTest(kHost, kIpv6Forwarding, "1");
  EXPECT_EQ(Restart().Count(Finding::Kind::kRolledBack), 1);
  EXPECT_EQ(kernel_.DumpForTest(), before);
}

TEST_F(EngineNatTest, AnUnfinishedUpdateOfWhatIsGoneSinceLeavesNothing) {
  VethSpec plain = Translated("blue");
  plain.b.config.masquerade = false;
  plain.b.config.port_forwards.clear();
  const Veth veth = Make(plain);
  Intent intent{.kind = Intent::Kind::kUpdateVeth, .veth = *registry_->FindVeth("v")};
  intent.former.veth = intent.veth.spec;
  intent.veth.spec = Translated("blue");
  ASSERT_TRUE(registry_->Begin(intent).ok());
  const std::string tag = TagOf(registry_->id(), veth.uid, "veths/v");
  ASSERT_TRUE(kernel_.AddNat(kHost, registry_->id(), NatElements(intent.veth.spec.b.config, veth.a.ifindex, tag)).ok());
  kernel_.RemoveForeignNetnsForTest("blue");
  Restart();
  EXPECT_THAT(Nat(), IsEmpty());
  EXPECT_EQ(engine_->GetVeth("v")->state, State::kMissing);
}

TEST_F(EngineNatTest, ItGoesWithTheNamespaceBeforeItsLinksDo) {
  const std::string before = kernel_.DumpForTest();
  Make(Translated("blue"));
  std::vector<std::string> operations;
  kernel_.SetFaultForTest([&](const std::string& operation) -> std::optional<KernelError> {
    if (absl::StartsWith(operation, "Delete")) operations.push_back(operation);
    return std::nullopt;
  });
  ASSERT_TRUE(DeleteNamespace("blue").ok());
  kernel_.SetFaultForTest(nullptr);
  ASSERT_THAT(operations, SizeIs(::testing::Ge(2)));
  EXPECT_EQ(operations[0], "DeleteNat");
  EXPECT_EQ(kernel_.DumpForTest(), before);
  Make(Translated("blue"));
  operations.clear();
  kernel_.SetFaultForTest([&](const std::string& operation) -> std::optional<KernelError> {
    if (absl::StartsWith(operation, "Delete")) operations.push_back(operation);
    return std::nullopt;
  });
  ASSERT_TRUE(DeleteVeth("v").ok());
  kernel_.SetFaultForTest(nullptr);
  EXPECT_EQ(operations.at(0), "DeleteNat");
}

TEST_F(EngineNatTest, OrphansAreRemovedAndOthersReported) {
  Make(Translated("blue"));
  const VethRecord record = *registry_->FindVeth("v");
  std::vector<NatElement> elements = Nat();
  const NatElement foreign{
      .rule = netlink::PortForward{.host_port = 7, .target = *IpAddress::Parse("10.9.9.9"), .target_port = 7},
      .tag = "mine"};
  elements.push_back(foreign);
  kernel_.SetNatForTest(kHost, elements);
  HostReport report = *engine_->CheckHost(engine_->PlanCheck(/*validate_only=*/false));
  EXPECT_EQ(report.Count(Finding::Kind::kForeignTag), 1);
  EXPECT_EQ(report.findings.size(), 1u);
  ASSERT_TRUE(registry_->Commit(0, {.remove_veths = {record}}).ok());
  report = *engine_->CheckHost(engine_->PlanCheck(/*validate_only=*/true));
  EXPECT_GE(report.Count(Finding::Kind::kOrphan), 2) << "a link and what is translated";
  EXPECT_THAT(Nat(), SizeIs(10));
  EXPECT_GE(Restart().Count(Finding::Kind::kOrphanRemoved), 2);
  EXPECT_THAT(Nat(), ElementsAre(foreign));
  kernel_.SetFaultForTest([&](const std::string& operation) -> std::optional<KernelError> {
    if (operation != "ListNat") return std::nullopt;
    return KernelError{.code = EIO, .operation = operation, .extack = {}};
  });
  report = *engine_->CheckHost(engine_->PlanCheck(/*validate_only=*/false));
  kernel_.SetFaultForTest(nullptr);
  EXPECT_GE(report.Count(Finding::Kind::kUnreadable), 1);
}

TEST_F(EngineNatTest, WhereThereIsNoNatNothingIsMissed) {
  MakeBlueWithVeth();
  kernel_.SetFaultForTest([&](const std::string& operation) -> std::optional<KernelError> {
    if (!absl::EndsWith(operation, "Nat")) return std::nullopt;
    return KernelError{.code = EOPNOTSUPP, .operation = operation, .extack = {}};
  });
  EXPECT_EQ(engine_->CheckHost(engine_->PlanCheck(/*validate_only=*/false))->findings.size(), 0u);
  EXPECT_EQ(engine_->GetVeth("v")->state, State::kReady);
  EXPECT_TRUE(DeleteVeth("v").ok());
  EXPECT_REFUSED(CreateVeth("v", Translated("blue")), Reason::kKernel);
  kernel_.SetFaultForTest(nullptr);
}

TEST_F(EngineNatTest, DriftShowsAndIsHealed) {
  Make(Translated("blue"));
  const std::vector<NatElement> elements = Nat();
  auto without = [&](auto is_it) {
    std::vector<NatElement> left = elements;
    std::erase_if(left, is_it);
    kernel_.SetNatForTest(kHost, left);
  };
  without([](const NatElement& element) { return std::holds_alternative<netlink::Masquerade>(element.rule); });
  EXPECT_THAT(Deviations(), ElementsAre("endpoint_b.masquerade 10.0.0.2 ", "endpoint_b.masquerade fd00::2 "));
  EXPECT_FALSE(engine_->GetVeth("v")->b.config.masquerade);
  ASSERT_TRUE(Heal().ok());
  EXPECT_THAT(Nat(), ::testing::UnorderedElementsAreArray(elements));

  without([](const NatElement& element) {
    const auto* forward = std::get_if<netlink::PortForward>(&element.rule);
    return forward != nullptr && forward->host_port == 5001;
  });
  EXPECT_THAT(Deviations(), ElementsAre("endpoint_b.port_forwards 192.0.2.1 udp 5000-5002 to port 6000 "));
  EXPECT_THAT(engine_->GetVeth("v")->b.config.port_forwards, ElementsAre(Translated("blue").b.config.port_forwards[0]));
  ASSERT_TRUE(Heal().ok());

  without([](const NatElement& element) { return std::holds_alternative<netlink::Hairpin>(element.rule); });
  EXPECT_THAT(Deviations(), SizeIs(2));
  ASSERT_TRUE(Heal().ok());
  EXPECT_THAT(Deviations(), IsEmpty());

  // Somebody gave it another target, which is not ours to take away unless it has our tag.
  std::vector<NatElement> turned = elements;
  for (NatElement& element : turned) {
    auto* forward = std::get_if<netlink::PortForward>(&element.rule);
    if (forward != nullptr && forward->host_port == 8080) forward->target_port = 81;
  }
  kernel_.SetNatForTest(kHost, turned);
  EXPECT_THAT(Deviations(), SizeIs(1));
  ASSERT_TRUE(Heal().ok());
  EXPECT_THAT(Nat(), ::testing::UnorderedElementsAreArray(elements));
  for (NatElement& element : turned) element.tag = "mine";
  kernel_.SetNatForTest(kHost, turned);
  EXPECT_REFUSED(Heal(), Reason::kPortForwardTaken);
  kernel_.SetNatForTest(kHost, {});
  kernel_.FailNextForTest("AddNat", ENOMEM);
  EXPECT_REFUSED(Heal(), Reason::kKernel);
  ASSERT_TRUE(Heal().ok());
  EXPECT_THAT(Nat(), ::testing::UnorderedElementsAreArray(elements));
  EXPECT_THAT(registry_->ListPending(), IsEmpty());
}

TEST_F(EngineNatTest, APairThatIsMadeAgainIsTranslatedAgain) {
  Make(Translated("blue"));
  ASSERT_TRUE(kernel_.DeleteLink(kHost, engine_->GetVeth("v")->a.ifindex).ok());
  EXPECT_EQ(engine_->GetVeth("v")->state, State::kMissing);
  EXPECT_THAT(Nat(), SizeIs(9));
  auto healed = Heal();
  ASSERT_TRUE(healed.ok()) << healed.error().message;
  EXPECT_THAT(Nat(), SizeIs(9));
  EXPECT_THAT(Deviations(), IsEmpty());
  // One that is missing can be deleted, and made anew under its id, with the same ports.
  ASSERT_TRUE(kernel_.DeleteLink(kHost, engine_->GetVeth("v")->a.ifindex).ok());
  auto anew = CreateVeth("v", Translated("blue"));
  ASSERT_TRUE(anew.ok()) << anew.error().message;
  EXPECT_THAT(Nat(), SizeIs(9));
  ASSERT_TRUE(kernel_.DeleteLink(kHost, engine_->GetVeth("v")->a.ifindex).ok());
  ASSERT_TRUE(DeleteVeth("v").ok());
  EXPECT_THAT(Nat(), IsEmpty());
}

TEST_F(EngineNatTest, ItIsRestoredAfterAReboot) {
  Metadata metadata;
  metadata.persistent = true;
  ASSERT_TRUE(engine_->CreateNamespace({.id = "blue", .metadata = metadata}).ok());
  ASSERT_TRUE(engine_->CreateVeth({.id = "v", .spec = Forwarding("blue"), .metadata = metadata}).ok());
  kernel_.RebootForTest();
  EXPECT_THAT(Nat(), IsEmpty());
  kernel_.FailNextForTest("AddNat", ENOMEM);
  EXPECT_EQ(Restart().Count(Finding::Kind::kNotRestored), 1);
  EXPECT_THAT(Nat(), IsEmpty());
  EXPECT_EQ(SysctlOf(kIpv4ForwardSysctl), "0");
  EXPECT_EQ(Restart().Count(Finding::Kind::kRestored), 1);
  EXPECT_THAT(Nat(), SizeIs(9));
  EXPECT_EQ(SysctlOf(kIpv4ForwardSysctl), "1");
  EXPECT_THAT(Deviations(), IsEmpty());
}

TEST_F(EngineNatTest, WhatIsTranslatedNeedsTheOtherEndElsewhereByWhicheverWay) {
  const uint32_t pid = kernel_.StartProcessInNewNetnsForTest("sleep");
  kernel_.MountForTest(pid, "/run/theirs");
  VethSpec spec = Forwarding("");
  spec.a.place = NetnsPlace{.path = "/run/theirs", .pid = 0};
  spec.b.place = NetnsPlace{.path = "", .pid = pid};
  const std::string before = kernel_.DumpForTest();
  for (const bool validate_only : {true, false}) {
    auto refused = CreateVeth("v", spec, {.validate_only = validate_only});
    EXPECT_REFUSED(refused, Reason::kInvalidChange);
    std::vector<std::string> fields;
    for (const InvalidField& field : refused.error().invalid) fields.push_back(field.field);
    EXPECT_THAT(fields, ElementsAre("veth.endpoint_b.masquerade", "veth.endpoint_b.port_forwards",
                                    "veth.endpoint_b.ip_forwarding"));
    EXPECT_EQ(kernel_.DumpForTest(), before);
  }
  VethSpec plain = spec;
  plain.b.config.masquerade = plain.b.config.ip_forwarding = false;
  plain.b.config.port_forwards.clear();
  ASSERT_TRUE(CreateVeth("v", plain).ok());
  EXPECT_REFUSED(Update(spec), Reason::kInvalidChange);
  EXPECT_THAT(Deviations(), IsEmpty());
  // A path that leads to the other end by now: the pair can't be made again there.
  ASSERT_TRUE(DeleteVeth("v").ok());
  const uint32_t other = kernel_.StartProcessInNewNetnsForTest("sleep");
  kernel_.MountForTest(other, "/run/theirs");
  ASSERT_TRUE(CreateVeth("v", spec).ok());
  EXPECT_THAT(Deviations(), IsEmpty());
  kernel_.MountForTest(pid, "/run/theirs");
  EXPECT_REFUSED(Heal(), Reason::kInvalidChange);
}

TEST_F(EngineNatTest, WhatAPairHasIsLookedUpWithoutThatOfTheOthers) {
  Make(Translated("blue"));
  int lists = 0;
  int finds = 0;
  kernel_.SetFaultForTest([&](const std::string& operation) -> std::optional<KernelError> {
    lists += operation == "ListNat" ? 1 : 0;
    finds += operation == "FindNat" ? 1 : 0;
    return std::nullopt;
  });
  for (int i = 1; i < 5; ++i) {
    VethSpec spec = HostTo("blue");
    spec.a.interface_name = absl::StrCat("h", i);
    spec.b.interface_name = absl::StrCat("eth", i);
    spec.b.config.ip.addresses = {{.local = *IpPrefix::Parse(absl::StrCat("10.0.", i, ".2/24"))}};
    spec.b.config.masquerade = true;
    ASSERT_TRUE(CreateVeth(absl::StrCat("w", i), spec).ok());
  }
  EXPECT_EQ(lists, 0);
  EXPECT_EQ(finds, 0);
  EXPECT_EQ(engine_->ListVeths("", 100)->items.size(), 5u);
  EXPECT_EQ(lists, 0);
  EXPECT_EQ(finds, 5);
  // A check lists the table of each place once, for what is nobody's.
  const int in_a_check = 2;
  EXPECT_EQ(engine_->CheckHost(engine_->PlanCheck(/*validate_only=*/false))->findings.size(), 0u);
  EXPECT_EQ(lists, in_a_check);
  EXPECT_EQ(finds, 10);
  ASSERT_TRUE(Heal().ok());
  EXPECT_EQ(lists, in_a_check);
  EXPECT_EQ(finds, 11);
  kernel_.SetFaultForTest(nullptr);
}

TEST_F(EngineNatTest, AnEndAtAPlaceIsTranslatedInTheHost) {
  const uint32_t pid = kernel_.StartProcessInNewNetnsForTest("sleep");
  const std::string before = kernel_.DumpForTest();
  VethSpec spec = Translated("");
  spec.b.place = NetnsPlace{.path = "", .pid = pid};
  // And the host's in there.
  spec.a.config.ip.addresses = {{.local = *IpPrefix::Parse("10.0.0.1/24")}};
  spec.a.config.masquerade = true;
  auto made = CreateVeth("v", spec);
  ASSERT_TRUE(made.ok()) << made.error().message;
  EXPECT_THAT(Nat(), SizeIs(9));
  EXPECT_THAT(Deviations(), IsEmpty());
  ASSERT_TRUE(DeleteVeth("v").ok());
  EXPECT_EQ(kernel_.DumpForTest(), before);
  ASSERT_TRUE(CreateVeth("v", spec).ok());
  kernel_.EndProcessForTest(pid);
  ASSERT_TRUE(DeleteVeth("v").ok());
  EXPECT_THAT(Nat(), IsEmpty());
}

}  // namespace
}  // namespace netprov::engine
