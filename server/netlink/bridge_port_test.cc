#include "server/netlink/bridge_port.h"

#include <cerrno>
#include <cstddef>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/netlink/scripted_transport.h"

namespace netprov::netlink {
namespace {

using ::testing::Eq;
using ::testing::Optional;
using ::testing::StartsWith;

// Golden bytes in these tests are those of a little-endian host, as netlink has the host's byte order.
void ExpectMessage(const Request& request, std::string_view operation, std::string_view golden) {
  EXPECT_THAT(request.error, Eq(0));
  EXPECT_THAT(request.operation, Eq(operation));
  EXPECT_THAT(ToHex(request.message), Eq(ToHex(FromHex(golden))));
}

TEST(EncodeSetBridgePortTest, ChangesEverythingAtOnce) {
  const BridgePort port = {.state = PortState::kForwarding,
                           .cost = 100,
                           .priority = 5,
                           .hairpin = true,
                           .isolated = true,
                           .learning = false,
                           .unicast_flood = false,
                           .multicast_flood = true,
                           .broadcast_flood = false,
                           .neighbour_suppression = true};
  ExpectMessage(EncodeSetBridgePort(3, port), "RTM_SETLINK bridge ifindex 3", R"(
    74 00 00 00  13 00 05 00  # 116 bytes, RTM_SETLINK, NLM_F_REQUEST|NLM_F_ACK
    00 00 00 00  00 00 00 00  # sequence, port
    07 00 00 00  03 00 00 00  00 00 00 00  00 00 00 00  # ifinfomsg: AF_BRIDGE, ifi_index 3
    54 00 0c 80               # IFLA_PROTINFO, nested, 84 bytes
    05 00 01 00  03 00 00 00  #   IFLA_BRPORT_STATE forwarding
    06 00 02 00  05 00 00 00  #   IFLA_BRPORT_PRIORITY 5
    08 00 03 00  64 00 00 00  #   IFLA_BRPORT_COST 100
    05 00 04 00  01 00 00 00  #   IFLA_BRPORT_MODE: hairpin
    05 00 08 00  00 00 00 00  #   IFLA_BRPORT_LEARNING
    05 00 09 00  00 00 00 00  #   IFLA_BRPORT_UNICAST_FLOOD
    05 00 1b 00  01 00 00 00  #   IFLA_BRPORT_MCAST_FLOOD
    05 00 1e 00  00 00 00 00  #   IFLA_BRPORT_BCAST_FLOOD
    05 00 20 00  01 00 00 00  #   IFLA_BRPORT_NEIGH_SUPPRESS
    05 00 21 00  01 00 00 00  #   IFLA_BRPORT_ISOLATED
  )");
}

TEST(EncodeSetBridgePortTest, ChangesNothingUnasked) {
  ExpectMessage(EncodeSetBridgePort(3, {.isolated = false}), "RTM_SETLINK bridge ifindex 3", R"(
    2c 00 00 00  13 00 05 00  # 44 bytes, RTM_SETLINK, NLM_F_REQUEST|NLM_F_ACK
    00 00 00 00  00 00 00 00
    07 00 00 00  03 00 00 00  00 00 00 00  00 00 00 00  # ifinfomsg: AF_BRIDGE, ifi_index 3
    0c 00 0c 80               # IFLA_PROTINFO, nested, 12 bytes
    05 00 21 00  00 00 00 00  #   IFLA_BRPORT_ISOLATED
  )");
  EXPECT_THAT(EncodeSetBridgePort(0, {}).error, Eq(EINVAL));
  EXPECT_THAT(EncodeSetBridgePort(-1, {}).error, Eq(EINVAL));
}

constexpr std::string_view kPortReply = R"(
    00 00 01 00  05 00 00 00  00 00 00 00  00 00 00 00  # ifinfomsg: ifi_index 5
    78 00 12 00               # IFLA_LINKINFO, 120 bytes
    09 00 01 00  76 65 74 68  00 00 00 00  #   IFLA_INFO_KIND "veth", skipped
    0b 00 04 00  62 72 69 64  67 65 00 00  #   IFLA_INFO_SLAVE_KIND "bridge"
    5c 00 05 00               #   IFLA_INFO_SLAVE_DATA, 92 bytes
    05 00 01 00  04 00 00 00  #     IFLA_BRPORT_STATE blocking
    06 00 02 00  20 00 00 00  #     IFLA_BRPORT_PRIORITY 32
    08 00 03 00  02 00 00 00  #     IFLA_BRPORT_COST 2
    05 00 04 00  00 00 00 00  #     IFLA_BRPORT_MODE: no hairpin
    05 00 05 00  01 00 00 00  #     IFLA_BRPORT_GUARD, skipped
    05 00 08 00  01 00 00 00  #     IFLA_BRPORT_LEARNING
    05 00 09 00  01 00 00 00  #     IFLA_BRPORT_UNICAST_FLOOD
    05 00 1b 00  00 00 00 00  #     IFLA_BRPORT_MCAST_FLOOD
    05 00 1e 00  01 00 00 00  #     IFLA_BRPORT_BCAST_FLOOD
    05 00 20 00  00 00 00 00  #     IFLA_BRPORT_NEIGH_SUPPRESS
    05 00 21 00  01 00 00 00  #     IFLA_BRPORT_ISOLATED
)";

TEST(DecodeBridgePortTest, ReadsAPort) {
  KernelResult<std::optional<BridgePort>> port = DecodeBridgePort(FromHex(kPortReply));
  ASSERT_TRUE(port.ok()) << port.error().ToString();
  EXPECT_THAT(*port, Optional(BridgePort{.state = PortState::kBlocking,
                                         .cost = 2,
                                         .priority = 32,
                                         .hairpin = false,
                                         .isolated = true,
                                         .learning = true,
                                         .unicast_flood = true,
                                         .multicast_flood = false,
                                         .broadcast_flood = true,
                                         .neighbour_suppression = false}));
}

TEST(DecodeBridgePortTest, OtherLinksAreNone) {
  const std::string header = "00 00 01 00  05 00 00 00  00 00 00 00  00 00 00 00 ";
  for (const std::string& hex : {
           header,
           // A port of a bond, whose data is not looked into.
           header + "18 00 12 00  09 00 04 00  62 6f 6e 64  00 00 00 00  08 00 05 00  ff ff ff ff",
       }) {
    KernelResult<std::optional<BridgePort>> port = DecodeBridgePort(FromHex(hex));
    ASSERT_TRUE(port.ok()) << port.error().ToString();
    EXPECT_THAT(*port, Eq(std::nullopt));
  }
}

TEST(DecodeBridgePortTest, RefusesEveryTruncationWithinAnAttribute) {
  std::vector<std::byte> reply = FromHex(kPortReply);
  // Only where the nest is missing or whole.
  const std::set<size_t> whole = {16, reply.size()};
  for (size_t size = 0; size <= reply.size(); ++size) {
    KernelResult<std::optional<BridgePort>> port = DecodeBridgePort(std::span(reply).first(size));
    EXPECT_THAT(port.ok(), Eq(whole.count(size) == 1)) << size;
    EXPECT_TRUE(port.ok() || port.error().code == EBADMSG) << size;
  }
}

TEST(DecodeBridgePortTest, RefusesWrongLengths) {
  const std::string header = "00 00 01 00  05 00 00 00  00 00 00 00  00 00 00 00 ";
  const std::string port = header + "1c 00 12 00  0b 00 04 00  62 72 69 64  67 65 00 00  0c 00 05 00 ";
  for (const std::string& hex : {
           port + "08 00 01 00  03 00 00 00",                 // A state of four bytes.
           port + "08 00 02 00  20 00 00 00",                 // A priority of four.
           port + "06 00 03 00  02 00 00 00",                 // A cost of two.
           port + "06 00 21 00  01 00 00 00",                 // A flag of two.
           port + "09 00 01 00  03 00 00 00",                 // Longer than its nest.
           header + "0c 00 12 00  08 00 04 00  62 72 69 64",  // A kind without its NUL.
       }) {
    KernelResult<std::optional<BridgePort>> result = DecodeBridgePort(FromHex(hex));
    ASSERT_FALSE(result.ok()) << hex;
    EXPECT_THAT(result.error().code, Eq(EBADMSG)) << hex;
    EXPECT_THAT(result.error().operation, StartsWith("RTM_NEWLINK reply: ")) << hex;
  }
}

TEST(EncodeBridgeVlansTest, OfAPort) {
  const std::vector<BridgeVlan> vlans = {{.first = 10, .last = 10, .pvid = true, .untagged = true},
                                         {.first = 20, .last = 4094}};
  ExpectMessage(EncodeAddBridgeVlans(3, VlanMember::kPort, vlans), "RTM_SETLINK bridge vlan ifindex 3", R"(
    3c 00 00 00  13 00 05 00  # 60 bytes, RTM_SETLINK, NLM_F_REQUEST|NLM_F_ACK
    00 00 00 00  00 00 00 00
    07 00 00 00  03 00 00 00  00 00 00 00  00 00 00 00  # ifinfomsg: AF_BRIDGE, ifi_index 3
    1c 00 1a 80               # IFLA_AF_SPEC, nested, 28 bytes
    08 00 02 00  06 00 0a 00  #   IFLA_BRIDGE_VLAN_INFO: PVID|UNTAGGED, 10
    08 00 02 00  08 00 14 00  #   IFLA_BRIDGE_VLAN_INFO: RANGE_BEGIN, 20
    08 00 02 00  10 00 fe 0f  #   IFLA_BRIDGE_VLAN_INFO: RANGE_END, 4094
  )");
}

TEST(EncodeBridgeVlansTest, OfABridge) {
  const std::vector<BridgeVlan> vlans = {{.first = 1, .last = 2, .untagged = true}};
  ExpectMessage(EncodeDeleteBridgeVlans(3, VlanMember::kBridge, vlans), "RTM_DELLINK bridge vlan ifindex 3", R"(
    3c 00 00 00  11 00 05 00  # 60 bytes, RTM_DELLINK, NLM_F_REQUEST|NLM_F_ACK
    00 00 00 00  00 00 00 00
    07 00 00 00  03 00 00 00  00 00 00 00  00 00 00 00  # ifinfomsg: AF_BRIDGE, ifi_index 3
    1c 00 1a 80               # IFLA_AF_SPEC, nested, 28 bytes
    06 00 00 00  02 00 00 00  #   IFLA_BRIDGE_FLAGS: BRIDGE_FLAGS_SELF
    08 00 02 00  0c 00 01 00  #   IFLA_BRIDGE_VLAN_INFO: RANGE_BEGIN|UNTAGGED, 1
    08 00 02 00  14 00 02 00  #   IFLA_BRIDGE_VLAN_INFO: RANGE_END|UNTAGGED, 2
  )");
}

TEST(EncodeBridgeVlansTest, RefusesWhatIsOutOfRange) {
  for (const BridgeVlan& vlan :
       {BridgeVlan{.first = 0, .last = 1}, BridgeVlan{.first = 2, .last = 1}, BridgeVlan{.first = 1, .last = 4095},
        BridgeVlan{.first = 1, .last = 2, .pvid = true}}) {
    EXPECT_THAT(EncodeAddBridgeVlans(3, VlanMember::kPort, std::span(&vlan, 1)).error, Eq(EINVAL));
  }
  const BridgeVlan good = {.first = 1, .last = 1};
  EXPECT_THAT(EncodeAddBridgeVlans(0, VlanMember::kPort, std::span(&good, 1)).error, Eq(EINVAL));
  EXPECT_THAT(EncodeDeleteBridgeVlans(3, VlanMember::kPort, {}).error, Eq(EINVAL));
}

TEST(EncodeDumpBridgeVlansTest, AsksForRanges) {
  ExpectMessage(EncodeDumpBridgeVlans(), "RTM_GETLINK dump of bridges", R"(
    28 00 00 00  12 00 01 03  # 40 bytes, RTM_GETLINK, NLM_F_REQUEST|NLM_F_DUMP
    00 00 00 00  00 00 00 00
    07 00 00 00  00 00 00 00  00 00 00 00  00 00 00 00  # ifinfomsg: AF_BRIDGE
    08 00 1d 00  04 00 00 00  # IFLA_EXT_MASK RTEXT_FILTER_BRVLAN_COMPRESSED
  )");
}

constexpr std::string_view kVlansReply = R"(
    07 00 01 00  05 00 00 00  00 00 00 00  00 00 00 00  # ifinfomsg: AF_BRIDGE, ifi_index 5
    06 00 03 00  76 00 00 00  # IFLA_IFNAME "v", skipped
    08 00 0a 00  09 00 00 00  # IFLA_MASTER 9
    1c 00 1a 00               # IFLA_AF_SPEC, 28 bytes
    08 00 02 00  06 00 01 00  #   IFLA_BRIDGE_VLAN_INFO: PVID|UNTAGGED, 1
    08 00 02 00  08 00 0a 00  #   IFLA_BRIDGE_VLAN_INFO: RANGE_BEGIN, 10
    08 00 02 00  10 00 14 00  #   IFLA_BRIDGE_VLAN_INFO: RANGE_END, 20
)";

TEST(DecodeBridgeVlansTest, ReadsAPortAndABridge) {
  KernelResult<BridgeVlans> port = DecodeBridgeVlans(FromHex(kVlansReply));
  ASSERT_TRUE(port.ok()) << port.error().ToString();
  EXPECT_THAT(
      *port,
      Eq(BridgeVlans{.ifindex = 5,
                     .master = 9,
                     .vlans = {{.first = 1, .last = 1, .pvid = true, .untagged = true}, {.first = 10, .last = 20}}}));
  KernelResult<BridgeVlans> bridge = DecodeBridgeVlans(FromHex(R"(
    07 00 01 00  09 00 00 00  00 00 00 00  00 00 00 00  # ifinfomsg: AF_BRIDGE, ifi_index 9
    08 00 0a 00  09 00 00 00  # IFLA_MASTER: itself
  )"));
  ASSERT_TRUE(bridge.ok()) << bridge.error().ToString();
  EXPECT_THAT(*bridge, Eq(BridgeVlans{.ifindex = 9}));
}

TEST(DecodeBridgeVlansTest, RefusesEveryTruncationWithinAnAttribute) {
  std::vector<std::byte> reply = FromHex(kVlansReply);
  // The sizes that end with an attribute, with or without its padding.
  const std::set<size_t> whole = {16, 22, 23, 24, 32, reply.size()};
  for (size_t size = 0; size <= reply.size(); ++size) {
    KernelResult<BridgeVlans> link = DecodeBridgeVlans(std::span(reply).first(size));
    EXPECT_THAT(link.ok(), Eq(whole.count(size) == 1)) << size;
    EXPECT_TRUE(link.ok() || link.error().code == EBADMSG) << size;
  }
}

TEST(DecodeBridgeVlansTest, RefusesWrongLengthsAndMissingParts) {
  const std::string header = "07 00 01 00  05 00 00 00  00 00 00 00  00 00 00 00 ";
  const std::string one = header + "0c 00 1a 00 ";
  const std::string two = header + "14 00 1a 00 ";
  for (const std::string& hex : {
           std::string("07 00 01 00  00 00 00 00  00 00 00 00  00 00 00 00"),  // No ifindex.
           header + "06 00 0a 00  09 00 00 00",                                // A master of two bytes.
           one + "06 00 02 00  06 00 00 00",                                   // A VLAN of two.
           one + "08 00 02 00  08 00 0a 00",                                   // A begin without its end.
           one + "08 00 02 00  10 00 14 00",                                   // An end without its begin.
           one + "08 00 02 00  18 00 14 00",                                   // Both in one.
           two + "08 00 02 00  08 00 0a 00  08 00 02 00  00 00 14 00",         // Another one in a range.
           two + "08 00 02 00  08 00 0a 00  08 00 02 00  10 00 09 00",         // An end before its begin.
       }) {
    KernelResult<BridgeVlans> link = DecodeBridgeVlans(FromHex(hex));
    ASSERT_FALSE(link.ok()) << hex;
    EXPECT_THAT(link.error().code, Eq(EBADMSG)) << hex;
  }
  EXPECT_THAT(DecodeBridgeVlans(FromHex("00 00 01 00  05 00 00 00  00 00 00 00  00 00 00 00")).error().code,
              Eq(EAFNOSUPPORT));
}

}  // namespace
}  // namespace netprov::netlink
