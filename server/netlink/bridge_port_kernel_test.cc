// Ports of bridges and their VLANs against the real kernel. `ip -d -j` and `bridge -j` are the witnesses.
#include <cerrno>
#include <optional>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/netlink/bridge_port.h"
#include "server/netlink/kernel_fixture.h"
#include "server/netlink/link.h"
#include "server/netlink/link_info.h"

namespace netprov::netlink {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Eq;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Optional;

class BridgePortKernelTest : public KernelTest {
 protected:
  // A bridge with a port that is up and has its carrier.
  void SetUp() override {
    KernelTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    Do(*home_, EncodeNewLink({.name = "br0", .up = true}, BridgeInfo{}));
    bridge_ = Get(*home_, "br0")->ifindex;
    VethRequest veth = Veth("v");
    veth.end.master = bridge_;
    Do(*home_, EncodeNewVeth(veth));
    Do(*away_, EncodeSetLink("vp", {.up = true}));
    port_ = Get(*home_, "v")->ifindex;
  }

  std::optional<BridgePort> Port(const LinkRef& ref) {
    KernelResult<Payload> payload = home_->Get(EncodeGetLink(ref));
    if (!payload.ok()) return std::nullopt;
    KernelResult<std::optional<BridgePort>> port = DecodeBridgePort(*payload);
    EXPECT_TRUE(port.ok()) << port.error().ToString();
    return port.ok() ? *port : std::nullopt;
  }

  int bridge_ = 0;
  int port_ = 0;
};

TEST_F(BridgePortKernelTest, APortHasOptionsAndChangesThem) {
  BridgePort wanted = {.state = PortState::kForwarding,
                       .cost = 2,
                       .priority = 32,
                       .hairpin = false,
                       .isolated = false,
                       .learning = true,
                       .unicast_flood = true,
                       .multicast_flood = true,
                       .broadcast_flood = true,
                       .neighbour_suppression = false};
  EXPECT_THAT(Port("v"), Optional(wanted));
  EXPECT_THAT(Port("br0"), Eq(std::nullopt));

  wanted = {.state = PortState::kLearning,
            .cost = 65535,
            .priority = 63,
            .hairpin = true,
            .isolated = true,
            .learning = false,
            .unicast_flood = false,
            .multicast_flood = false,
            .broadcast_flood = false,
            .neighbour_suppression = true};
  Do(*home_, EncodeSetBridgePort(port_, wanted));
  EXPECT_THAT(Port("v"), Optional(wanted));
  EXPECT_THAT(Shell("bridge -d -j link show dev v"),
              AllOf(HasSubstr(R"("state":"learning","priority":63,"cost":65535,"hairpin":true)"),
                    HasSubstr(R"("learning":false,"flood":false,"mcast_flood":false,"bcast_flood":false)"),
                    HasSubstr(R"("neigh_suppress":true)"), HasSubstr(R"("isolated":true)")));
  Do(*home_, EncodeSetBridgePort(port_, {.isolated = false}));
  wanted.isolated = false;
  EXPECT_THAT(Port("v"), Optional(wanted));
}

TEST_F(BridgePortKernelTest, AWrongOptionIsRefused) {
  auto code = [&](int ifindex, const BridgePort& port) { return Code(*home_, EncodeSetBridgePort(ifindex, port)); };
  EXPECT_THAT(code(port_, {.cost = 0}), Eq(ERANGE));
  EXPECT_THAT(code(port_, {.cost = 65536}), Eq(ERANGE));
  EXPECT_THAT(code(port_, {.priority = 64}), Eq(ERANGE));
  EXPECT_THAT(code(4242, {.hairpin = true}), Eq(ENODEV));
  EXPECT_THAT(code(Get(*home_, "lo")->ifindex, {.hairpin = true}), Eq(EOPNOTSUPP));
  EXPECT_THAT(code(bridge_, {.hairpin = true}), Eq(EOPNOTSUPP));
  // The port itself: of its carrier the bridge hears a while later.
  Do(*home_, EncodeSetLink("v", {.up = false}));
  EXPECT_THAT(code(port_, {.state = PortState::kForwarding}), Eq(ENETDOWN));
  Do(*home_, EncodeSetBridge("br0", {.stp = true}));
  EXPECT_THAT(code(port_, {.state = PortState::kForwarding}), Eq(EBUSY));
}

TEST_F(BridgePortKernelTest, VlansAreAddedListedAndDeleted) {
  const std::vector<BridgeVlan> untagged = {{.first = 10, .last = 10, .pvid = true, .untagged = true}};
  const std::vector<BridgeVlan> range = {{.first = 20, .last = 30}};
  // The dump lists bridge and port also where the kernel has no VLANs for them.
  std::vector<BridgeVlans> links = Dump(*home_, EncodeDumpBridgeVlans(), &DecodeBridgeVlans);
  ASSERT_THAT(links, testing::SizeIs(2));
  for (const BridgeVlans& link : links) {
    EXPECT_THAT(link.master, Eq(link.ifindex == port_ ? std::optional(bridge_) : std::nullopt));
  }
  const int lo = Get(*home_, "lo")->ifindex;
  EXPECT_THAT(Code(*home_, EncodeAddBridgeVlans(lo, VlanMember::kPort, untagged)), Eq(EOPNOTSUPP));

  KernelResult<void> added = home_->Execute(EncodeAddBridgeVlans(port_, VlanMember::kPort, untagged));
  if (!added.ok()) {
    ASSERT_THAT(added.error().code, Eq(EOPNOTSUPP)) << added.error().ToString();
    EXPECT_THAT(Code(*home_, EncodeAddBridgeVlans(bridge_, VlanMember::kBridge, range)), Eq(EOPNOTSUPP));
    Do(*home_, EncodeDeleteBridgeVlans(port_, VlanMember::kPort, range));
    GTEST_SKIP() << "the kernel is built without CONFIG_BRIDGE_VLAN_FILTERING";
  }
  Do(*home_, EncodeAddBridgeVlans(port_, VlanMember::kPort, range));
  Do(*home_, EncodeAddBridgeVlans(bridge_, VlanMember::kBridge, range));
  // VLAN 1 is the bridge's default.
  links = Dump(*home_, EncodeDumpBridgeVlans(), &DecodeBridgeVlans);
  EXPECT_THAT(links,
              Contains(BridgeVlans{.ifindex = port_,
                                   .master = bridge_,
                                   .vlans = {{.first = 1, .last = 1, .untagged = true}, untagged[0], range[0]}}));
  EXPECT_THAT(links,
              Contains(BridgeVlans{.ifindex = bridge_,
                                   .vlans = {{.first = 1, .last = 1, .pvid = true, .untagged = true}, range[0]}}));
  EXPECT_THAT(Shell("bridge -j vlan show dev v"), HasSubstr(R"({"vlan":20,"vlanEnd":30})"));

  Do(*home_, EncodeDeleteBridgeVlans(port_, VlanMember::kPort, range));
  EXPECT_THAT(Shell("bridge -j vlan show dev v"), Not(HasSubstr(R"("vlan":20)")));
  Do(*home_, EncodeDeleteBridgeVlans(port_, VlanMember::kPort, range));
}

}  // namespace
}  // namespace netprov::netlink
