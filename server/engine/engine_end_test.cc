// An end's alias, beside the tag, and its announcements.
#include <cerrno>
#include <optional>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "server/engine/engine.h"
#include "server/engine/engine_fixture.h"
#include "server/engine/tag.h"
#include "server/netlink/ip_address.h"
#include "server/netlink/mac_address.h"

namespace netprov::engine {
namespace {

class EndTest : public EngineTest {
 protected:
  void SetUp() override {
    EngineTest::SetUp();
    ASSERT_TRUE(CreateNamespace("blue").ok());
  }

  NetnsRef Blue() { return {.name = "blue", .cookie = (*kernel_.FindNetns("blue"))->cookie}; }
  static VethSpec Spec() {
    VethSpec spec = HostTo("blue");
    spec.b.config.options.alias = "to the lab";
    spec.b.config.announce = true;
    spec.b.config.ip.addresses = {{.local = *netlink::IpPrefix::Parse("10.0.0.2/24"), .peer = std::nullopt}};
    spec.b.config.ip.neighbours = {{.address = *netlink::IpAddress::Parse("10.0.0.9"), .mac = {{2, 0, 0, 0, 0, 9}}}};
    return spec;
  }
};

TEST_F(EndTest, HasItsUsersTextBesideTheTag) {
  ASSERT_TRUE(CreateVeth("v", Spec()).ok());
  Restart();
  const EngineResult<Veth> veth = engine_->GetVeth("v");
  EXPECT_EQ(veth->state, State::kReady) << ToText(veth->deviations);
  EXPECT_EQ(veth->b.config.options.alias, "to the lab");
  EXPECT_EQ(veth->a.config.options.alias, "");
  EXPECT_TRUE(veth->b.config.announce);
  const Link link = **kernel_.FindLink(Blue(), std::string("eth0"));
  EXPECT_EQ(ParseTag(link.alias)->object, "veths/v");
  ASSERT_TRUE(DeleteVeth("v").ok());
}

TEST_F(EndTest, ATextThatSomebodyChangedHeals) {
  Metadata metadata;
  metadata.self_heal = true;
  ASSERT_TRUE(engine_->CreateVeth({.id = "v", .spec = Spec(), .metadata = metadata}).ok());
  const ObjectRef object{.name = "veths/v", .uid = registry_->FindVeth("v")->uid};
  const std::string tag = (**kernel_.FindLink(Blue(), std::string("eth0"))).alias;
  for (const std::string& alias : {tag, tag + " elsewhere", std::string("elsewhere")}) {
    kernel_.SetLinkForTest(Blue(), "eth0", {.alias = alias});
    const EngineResult<Veth> veth = engine_->GetVeth("v");
    ASSERT_EQ(veth->deviations.size(), 1u) << alias;
    EXPECT_EQ(veth->deviations[0].field, "endpoint_b.alias");
    EXPECT_EQ(veth->deviations[0].expected, tag + " to the lab");
    ASSERT_TRUE(engine_->Heal(object).ok());
    EXPECT_EQ((**kernel_.FindLink(Blue(), std::string("eth0"))).options.alias, "to the lab");
  }
}

TEST_F(EndTest, AnnouncesWhenItIsMadeAndKeepsItsNeighbors) {
  ASSERT_TRUE(CreateVeth("v", Spec()).ok());
  EXPECT_EQ(kernel_.AnnouncementsForTest(Blue(), "eth0"), 1);
  EXPECT_EQ(kernel_.AnnouncementsForTest(kHost, "h0"), 0);
  const EngineResult<Veth> veth = engine_->GetVeth("v");
  EXPECT_EQ(veth->state, State::kReady) << ToText(veth->deviations);
  EXPECT_EQ(veth->b.config.ip.neighbours.size(), 1u);
}

TEST_F(EndTest, WhateverFailsLeavesNothing) {
  const std::string before = kernel_.DumpForTest();
  int failures = 0;
  for (int nth = 1;; ++nth) {
    int left = nth;
    kernel_.SetFaultForTest([&left](const std::string& operation) -> std::optional<KernelError> {
      if (--left != 0) return std::nullopt;
      return KernelError{.code = EIO, .operation = operation, .extack = {}};
    });
    const bool made = CreateVeth("v", Spec()).ok();
    kernel_.SetFaultForTest(nullptr);
    if (left > 0) break;
    if (made) {
      ASSERT_TRUE(DeleteVeth("v").ok());
      continue;
    }
    ++failures;
    EXPECT_EQ(kernel_.DumpForTest(), before) << "operation " << nth;
  }
  EXPECT_GT(failures, 3);
}

TEST_F(EndTest, AnUpdateOfOtherFieldsKeepsThem) {
  ASSERT_TRUE(CreateVeth("v", Spec()).ok());
  const EngineResult<Veth> updated =
      engine_->UpdateVeth({.context = {}, .id = "v", .edit = [](Asked<VethSpec> asked) {
                             asked.spec.b.mtu = 1400;
                             return netprov::Result<Asked<VethSpec>, std::vector<InvalidField>>(asked);
                           }});
  ASSERT_TRUE(updated.ok()) << updated.error().message;
  EXPECT_EQ(updated->b.config.options.alias, "to the lab");
  EXPECT_TRUE(updated->b.config.announce);
  EXPECT_EQ(updated->state, State::kReady) << ToText(updated->deviations);
}

}  // namespace
}  // namespace netprov::engine
