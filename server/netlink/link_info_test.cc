#include "server/netlink/link_info.h"

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <set>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/netlink/scripted_transport.h"

namespace netprov::netlink {
namespace {

using ::testing::Eq;
using ::testing::StartsWith;

// Golden bytes in these tests are those of a little-endian host, as netlink has the host's byte order.
void ExpectMessage(const Request& request, std::string_view operation, std::string_view golden) {
  EXPECT_THAT(request.error, Eq(0));
  EXPECT_THAT(request.operation, Eq(operation));
  EXPECT_THAT(ToHex(request.message), Eq(ToHex(FromHex(golden))));
}

IpAddress Ip(std::string_view text) { return *IpAddress::Parse(text); }

// A reply about a link of these attributes.
KernelResult<LinkInfo> DecodeReply(std::string_view attributes) {
  std::vector<std::byte> reply = FromHex("00 00 01 00  05 00 00 00  00 00 00 00  00 00 00 00");
  for (std::byte byte : FromHex(attributes)) reply.push_back(byte);
  return DecodeLinkInfo(reply);
}

void ExpectInfo(std::string_view attributes, const LinkInfo& wanted) {
  KernelResult<LinkInfo> info = DecodeReply(attributes);
  ASSERT_TRUE(info.ok()) << info.error().ToString();
  EXPECT_TRUE(*info == wanted) << info->index();
}

const BridgeInfo kBridge = {.stp = true,
                            .forward_delay = std::chrono::seconds(4),
                            .hello_time = std::chrono::seconds(1),
                            .max_age = std::chrono::seconds(6),
                            .ageing_time = Centiseconds(150),
                            .priority = 4096,
                            .vlan_filtering = true,
                            .vlan_protocol = VlanProtocol::kDot1Ad,
                            .default_pvid = 10,
                            .multicast_snooping = false,
                            .group_forward_mask = 8};

constexpr std::string_view kBridgeInfo = R"(
    6c 00 12 80               # IFLA_LINKINFO, nested, 108 bytes
    0b 00 01 00  62 72 69 64  67 65 00 00  #   IFLA_INFO_KIND "bridge"
    5c 00 02 80               #   IFLA_INFO_DATA, nested, 92 bytes
    08 00 01 00  90 01 00 00  #     IFLA_BR_FORWARD_DELAY 400
    08 00 02 00  64 00 00 00  #     IFLA_BR_HELLO_TIME 100
    08 00 03 00  58 02 00 00  #     IFLA_BR_MAX_AGE 600
    08 00 04 00  96 00 00 00  #     IFLA_BR_AGEING_TIME 150
    08 00 05 00  01 00 00 00  #     IFLA_BR_STP_STATE 1
    06 00 06 00  00 10 00 00  #     IFLA_BR_PRIORITY 4096
    05 00 07 00  01 00 00 00  #     IFLA_BR_VLAN_FILTERING 1
    06 00 08 00  88 a8 00 00  #     IFLA_BR_VLAN_PROTOCOL 802.1ad, in network order
    06 00 09 00  08 00 00 00  #     IFLA_BR_GROUP_FWD_MASK 8
    05 00 17 00  00 00 00 00  #     IFLA_BR_MCAST_SNOOPING 0
    06 00 27 00  0a 00 00 00  #     IFLA_BR_VLAN_DEFAULT_PVID 10
)";

TEST(EncodeNewLinkTest, ABridgeWithAllOptions) {
  ExpectMessage(EncodeNewLink({.name = "br0", .up = true}, kBridge), "RTM_NEWLINK br0 type bridge vlan_filtering", R"(
    a4 00 00 00  10 00 0d 06  # 164 bytes, RTM_NEWLINK, NLM_F_REQUEST|NLM_F_ACK|NLM_F_ECHO|NLM_F_EXCL|NLM_F_CREATE
    00 00 00 00  00 00 00 00  # sequence, port
    00 00 00 00  00 00 00 00  01 00 00 00  01 00 00 00  # ifinfomsg: IFF_UP
    08 00 03 00  62 72 30 00  # IFLA_IFNAME "br0"
    08 00 1f 00  01 00 00 00  # IFLA_NUM_TX_QUEUES 1
    08 00 20 00  01 00 00 00  # IFLA_NUM_RX_QUEUES 1
  )" + std::string(kBridgeInfo));
}

TEST(EncodeNewLinkTest, ABridgeLeavesOutWhatIsNotSet) {
  ExpectMessage(EncodeNewLink({.name = "br0", .netns_fd = 5}, BridgeInfo{}), "RTM_NEWLINK br0 type bridge", R"(
    54 00 00 00  10 00 05 06  # 84 bytes, RTM_NEWLINK, NLM_F_REQUEST|NLM_F_ACK|NLM_F_EXCL|NLM_F_CREATE
    00 00 00 00  00 00 00 00
    00 00 00 00  00 00 00 00  00 00 00 00  00 00 00 00  # ifinfomsg: down
    08 00 03 00  62 72 30 00  # IFLA_IFNAME "br0"
    08 00 1f 00  01 00 00 00  # IFLA_NUM_TX_QUEUES 1
    08 00 20 00  01 00 00 00  # IFLA_NUM_RX_QUEUES 1
    08 00 1c 00  05 00 00 00  # IFLA_NET_NS_FD 5
    14 00 12 80               # IFLA_LINKINFO, nested, 20 bytes
    0b 00 01 00  62 72 69 64  67 65 00 00  #   IFLA_INFO_KIND "bridge"
    04 00 02 80               #   IFLA_INFO_DATA, empty
  )");
}

// What all kinds begin with, here.
constexpr std::string_view kBase = R"(
    00 00 00 00  00 00 00 00
    00 00 00 00  00 00 00 00  00 00 00 00  00 00 00 00  # ifinfomsg: down
    06 00 03 00  6d 00 00 00  # IFLA_IFNAME "m"
    08 00 1f 00  01 00 00 00  # IFLA_NUM_TX_QUEUES 1
    08 00 20 00  01 00 00 00  # IFLA_NUM_RX_QUEUES 1
)";

const MacvlanInfo kMacvlan = {.lower = 4,
                              .mode = MacvlanMode::kSource,
                              .flags = 2,
                              .sources = {MacAddress{{2, 0, 0, 0, 0, 1}}, MacAddress{{2, 0, 0, 0, 0, 2}}}};

TEST(EncodeNewLinkTest, AMacvlan) {
  ExpectMessage(EncodeNewLink({.name = "m"}, kMacvlan), "RTM_NEWLINK m type macvlan",
                "88 00 00 00  10 00 0d 06 " + std::string(kBase) + R"(
    08 00 05 00  04 00 00 00  # IFLA_LINK 4
    48 00 12 80               # IFLA_LINKINFO, nested, 72 bytes
    0c 00 01 00  6d 61 63 76  6c 61 6e 00  #   IFLA_INFO_KIND "macvlan"
    38 00 02 80               #   IFLA_INFO_DATA, nested, 56 bytes
    08 00 01 00  10 00 00 00  #     IFLA_MACVLAN_MODE source
    06 00 02 00  02 00 00 00  #     IFLA_MACVLAN_FLAGS 2
    08 00 03 00  03 00 00 00  #     IFLA_MACVLAN_MACADDR_MODE set
    1c 00 05 80               #     IFLA_MACVLAN_MACADDR_DATA, nested, 28 bytes
    0a 00 04 00  02 00 00 00  00 01 00 00  #   IFLA_MACVLAN_MACADDR
    0a 00 04 00  02 00 00 00  00 02 00 00  #   IFLA_MACVLAN_MACADDR
  )");
  ExpectMessage(EncodeNewLink({.name = "m"}, MacvlanInfo{.lower = 4}), "RTM_NEWLINK m type macvlan",
                "5c 00 00 00  10 00 0d 06 " + std::string(kBase) + R"(
    08 00 05 00  04 00 00 00  # IFLA_LINK 4
    1c 00 12 80               # IFLA_LINKINFO, nested, 28 bytes
    0c 00 01 00  6d 61 63 76  6c 61 6e 00  #   IFLA_INFO_KIND "macvlan"
    0c 00 02 80               #   IFLA_INFO_DATA, nested, 12 bytes
    08 00 01 00  04 00 00 00  #     IFLA_MACVLAN_MODE bridge
  )");
}

TEST(EncodeNewLinkTest, AVxlan) {
  const VxlanInfo ipv4 = {.vni = 0x123456,
                          .local = Ip("192.0.2.1"),
                          .remote = Ip("239.0.0.1"),
                          .lower = 4,
                          .port = 4790,
                          .source_ports = {.first = 1024, .last = 2048},
                          .ttl = 64,
                          .learning = false,
                          .proxy = true,
                          .ageing = std::chrono::seconds(60)};
  ExpectMessage(EncodeNewLink({.name = "m"}, ipv4), "RTM_NEWLINK m type vxlan",
                "9c 00 00 00  10 00 0d 06 " + std::string(kBase) + R"(
    64 00 12 80               # IFLA_LINKINFO, nested, 100 bytes
    0a 00 01 00  76 78 6c 61  6e 00 00 00  #   IFLA_INFO_KIND "vxlan"
    54 00 02 80               #   IFLA_INFO_DATA, nested, 84 bytes
    08 00 01 00  56 34 12 00  #     IFLA_VXLAN_ID
    08 00 02 00  ef 00 00 01  #     IFLA_VXLAN_GROUP
    08 00 03 00  04 00 00 00  #     IFLA_VXLAN_LINK 4
    08 00 04 00  c0 00 02 01  #     IFLA_VXLAN_LOCAL
    05 00 05 00  40 00 00 00  #     IFLA_VXLAN_TTL 64
    05 00 07 00  00 00 00 00  #     IFLA_VXLAN_LEARNING 0
    08 00 08 00  3c 00 00 00  #     IFLA_VXLAN_AGEING 60
    08 00 0a 00  04 00 08 00  #     IFLA_VXLAN_PORT_RANGE 1024 to 2048, in network order
    05 00 0b 00  01 00 00 00  #     IFLA_VXLAN_PROXY 1
    06 00 0f 00  12 b6 00 00  #     IFLA_VXLAN_PORT 4790, in network order
  )");
  const VxlanInfo ipv6 = {.vni = 1, .local = Ip("2001:db8::1"), .remote = Ip("2001:db8::2")};
  ExpectMessage(EncodeNewLink({.name = "m"}, ipv6), "RTM_NEWLINK m type vxlan",
                "a4 00 00 00  10 00 0d 06 " + std::string(kBase) + R"(
    6c 00 12 80               # IFLA_LINKINFO, nested, 108 bytes
    0a 00 01 00  76 78 6c 61  6e 00 00 00  #   IFLA_INFO_KIND "vxlan"
    5c 00 02 80               #   IFLA_INFO_DATA, nested, 92 bytes
    08 00 01 00  01 00 00 00  #     IFLA_VXLAN_ID
    14 00 10 00  20 01 0d b8  00 00 00 00  00 00 00 00  00 00 00 02  # IFLA_VXLAN_GROUP6
    14 00 11 00  20 01 0d b8  00 00 00 00  00 00 00 00  00 00 00 01  # IFLA_VXLAN_LOCAL6
    05 00 05 00  00 00 00 00  #     IFLA_VXLAN_TTL 0
    05 00 07 00  01 00 00 00  #     IFLA_VXLAN_LEARNING 1
    08 00 08 00  2c 01 00 00  #     IFLA_VXLAN_AGEING 300
    05 00 0b 00  00 00 00 00  #     IFLA_VXLAN_PROXY 0
    06 00 0f 00  12 b5 00 00  #     IFLA_VXLAN_PORT 4789, in network order
  )");
}

TEST(EncodeNewLinkTest, AVlanAndAnIpvlan) {
  ExpectMessage(EncodeNewLink({.name = "m"}, VlanInfo{.lower = 4, .id = 100, .protocol = VlanProtocol::kDot1Ad}),
                "RTM_NEWLINK m type vlan", "64 00 00 00  10 00 0d 06 " + std::string(kBase) + R"(
    08 00 05 00  04 00 00 00  # IFLA_LINK 4
    24 00 12 80               # IFLA_LINKINFO, nested, 36 bytes
    09 00 01 00  76 6c 61 6e  00 00 00 00  #   IFLA_INFO_KIND "vlan"
    14 00 02 80               #   IFLA_INFO_DATA, nested, 20 bytes
    06 00 01 00  64 00 00 00  #     IFLA_VLAN_ID 100
    06 00 05 00  88 a8 00 00  #     IFLA_VLAN_PROTOCOL 802.1ad, in network order
  )");
  ExpectMessage(EncodeNewLink({.name = "m"}, IpvlanInfo{.lower = 4, .mode = IpvlanMode::kL3s, .flags = 1}),
                "RTM_NEWLINK m type ipvlan", "64 00 00 00  10 00 0d 06 " + std::string(kBase) + R"(
    08 00 05 00  04 00 00 00  # IFLA_LINK 4
    24 00 12 80               # IFLA_LINKINFO, nested, 36 bytes
    0b 00 01 00  69 70 76 6c  61 6e 00 00  #   IFLA_INFO_KIND "ipvlan"
    14 00 02 80               #   IFLA_INFO_DATA, nested, 20 bytes
    06 00 01 00  02 00 00 00  #     IFLA_IPVLAN_MODE L3S
    06 00 02 00  01 00 00 00  #     IFLA_IPVLAN_FLAGS 1
  )");
}

TEST(EncodeNewLinkTest, ADummyAndAnIfb) {
  ExpectMessage(EncodeNewLink({.name = "m"}, DummyInfo{}), "RTM_NEWLINK m type dummy",
                "4c 00 00 00  10 00 0d 06 " + std::string(kBase) + R"(
    14 00 12 80               # IFLA_LINKINFO, nested, 20 bytes
    0a 00 01 00  64 75 6d 6d  79 00 00 00  #   IFLA_INFO_KIND "dummy"
    04 00 02 80               #   IFLA_INFO_DATA, empty
  )");
  ExpectMessage(EncodeNewLink({.name = "m"}, IfbInfo{}), "RTM_NEWLINK m type ifb",
                "48 00 00 00  10 00 0d 06 " + std::string(kBase) + R"(
    10 00 12 80               # IFLA_LINKINFO, nested, 16 bytes
    08 00 01 00  69 66 62 00  #   IFLA_INFO_KIND "ifb"
    04 00 02 80               #   IFLA_INFO_DATA, empty
  )");
}

TEST(EncodeNewLinkTest, RefusesNoKindAndLowerLinksThatAreNone) {
  for (const LinkInfo& info : {LinkInfo(), LinkInfo(MacvlanInfo{}), LinkInfo(VlanInfo{.lower = -1}),
                               LinkInfo(IpvlanInfo{.lower = 0}), LinkInfo(VxlanInfo{.lower = 0})}) {
    EXPECT_THAT(EncodeNewLink({.name = "m"}, info).error, Eq(EINVAL)) << info.index();
  }
}

TEST(EncodeSetBridgeTest, ChangesOnlyWhatIsSet) {
  ExpectMessage(EncodeSetBridge(3, {.ageing_time = std::chrono::seconds(0)}), "RTM_NEWLINK ifindex 3", R"(
    3c 00 00 00  10 00 05 00  # 60 bytes, RTM_NEWLINK, NLM_F_REQUEST|NLM_F_ACK
    00 00 00 00  00 00 00 00
    00 00 00 00  03 00 00 00  00 00 00 00  00 00 00 00  # ifinfomsg: ifi_index 3
    1c 00 12 80               # IFLA_LINKINFO, nested, 28 bytes
    0b 00 01 00  62 72 69 64  67 65 00 00  #   IFLA_INFO_KIND "bridge"
    0c 00 02 80               #   IFLA_INFO_DATA, nested, 12 bytes
    08 00 04 00  00 00 00 00  #     IFLA_BR_AGEING_TIME 0
  )");
  EXPECT_THAT(EncodeSetBridge(0, {}).error, Eq(EINVAL));
}

TEST(EncodeSetLinkInfoTest, TellsWhatCanBeChanged) {
  ExpectMessage(EncodeSetLinkInfo(3, MacvlanInfo{.lower = 0, .mode = MacvlanMode::kSource, .flags = 0, .sources = {}}),
                "RTM_NEWLINK ifindex 3", R"(
    48 00 00 00  10 00 05 00  # 72 bytes, RTM_NEWLINK, NLM_F_REQUEST|NLM_F_ACK
    00 00 00 00  00 00 00 00
    00 00 00 00  03 00 00 00  00 00 00 00  00 00 00 00  # ifinfomsg: ifi_index 3
    28 00 12 80               # IFLA_LINKINFO, nested, 40 bytes
    0c 00 01 00  6d 61 63 76  6c 61 6e 00  #   IFLA_INFO_KIND "macvlan"
    18 00 02 80               #   IFLA_INFO_DATA, nested, 24 bytes
    08 00 01 00  10 00 00 00  #     IFLA_MACVLAN_MODE source
    08 00 03 00  03 00 00 00  #     IFLA_MACVLAN_MACADDR_MODE set
    04 00 05 80               #     IFLA_MACVLAN_MACADDR_DATA, nested, empty
  )");
  // Without the port and the like, which the kernel refuses.
  ExpectMessage(EncodeSetLinkInfo(3, VxlanInfo{.vni = 42, .ttl = 7, .learning = false}), "RTM_NEWLINK ifindex 3", R"(
    54 00 00 00  10 00 05 00  # 84 bytes, RTM_NEWLINK, NLM_F_REQUEST|NLM_F_ACK
    00 00 00 00  00 00 00 00
    00 00 00 00  03 00 00 00  00 00 00 00  00 00 00 00  # ifinfomsg: ifi_index 3
    34 00 12 80               # IFLA_LINKINFO, nested, 52 bytes
    0a 00 01 00  76 78 6c 61  6e 00 00 00  #   IFLA_INFO_KIND "vxlan"
    24 00 02 80               #   IFLA_INFO_DATA, nested, 36 bytes
    08 00 01 00  2a 00 00 00  #     IFLA_VXLAN_ID 42
    05 00 05 00  07 00 00 00  #     IFLA_VXLAN_TTL 7
    05 00 07 00  00 00 00 00  #     IFLA_VXLAN_LEARNING off
    08 00 08 00  2c 01 00 00  #     IFLA_VXLAN_AGEING 300
  )");
  EXPECT_THAT(EncodeSetLinkInfo(3, DummyInfo{}).error, Eq(EINVAL));
  EXPECT_THAT(EncodeSetLinkInfo(3, LinkInfo{}).error, Eq(EINVAL));
}

TEST(DecodeLinkInfoTest, ReadsABridge) {
  ExpectInfo(kBridgeInfo, kBridge);
  ExpectInfo(R"(
    20 00 12 00               # IFLA_LINKINFO, 32 bytes
    0b 00 01 00  62 72 69 64  67 65 00 00  #   IFLA_INFO_KIND "bridge"
    10 00 02 00               #   IFLA_INFO_DATA, 16 bytes
    0c 00 0a 00  80 00 00 00  00 00 00 00  # IFLA_BR_ROOT_ID, skipped
  )",
             BridgeInfo{});
}

TEST(DecodeLinkInfoTest, ReadsAMacvlan) {
  ExpectInfo(R"(
    48 00 12 00               # IFLA_LINKINFO, 72 bytes
    0c 00 01 00  6d 61 63 76  6c 61 6e 00  #   IFLA_INFO_KIND "macvlan"
    38 00 02 00               #   IFLA_INFO_DATA, 56 bytes
    08 00 01 00  10 00 00 00  #     IFLA_MACVLAN_MODE source
    06 00 02 00  02 00 00 00  #     IFLA_MACVLAN_FLAGS 2
    08 00 06 00  02 00 00 00  #     IFLA_MACVLAN_MACADDR_COUNT, skipped
    1c 00 05 00               #     IFLA_MACVLAN_MACADDR_DATA, 28 bytes
    0a 00 04 00  02 00 00 00  00 01 00 00  #   IFLA_MACVLAN_MACADDR
    0a 00 04 00  02 00 00 00  00 02 00 00  #   IFLA_MACVLAN_MACADDR
    08 00 05 00  04 00 00 00  # IFLA_LINK 4, after the rest
  )",
             kMacvlan);
}

TEST(DecodeLinkInfoTest, ReadsAVxlan) {
  constexpr std::string_view kRest = R"(
    08 00 01 00  2a 00 00 00  #     IFLA_VXLAN_ID 42
    08 00 03 00  04 00 00 00  #     IFLA_VXLAN_LINK 4
    05 00 05 00  40 00 00 00  #     IFLA_VXLAN_TTL 64
    05 00 07 00  00 00 00 00  #     IFLA_VXLAN_LEARNING 0
    08 00 08 00  3c 00 00 00  #     IFLA_VXLAN_AGEING 60
    08 00 0a 00  04 00 08 00  #     IFLA_VXLAN_PORT_RANGE 1024 to 2048
    05 00 0b 00  01 00 00 00  #     IFLA_VXLAN_PROXY 1
    06 00 0f 00  12 b6 00 00  #     IFLA_VXLAN_PORT 4790
  )";
  VxlanInfo wanted = {.vni = 42,
                      .local = Ip("192.0.2.1"),
                      .remote = Ip("192.0.2.2"),
                      .lower = 4,
                      .port = 4790,
                      .source_ports = {.first = 1024, .last = 2048},
                      .ttl = 64,
                      .learning = false,
                      .proxy = true,
                      .ageing = std::chrono::seconds(60)};
  ExpectInfo(R"(
    64 00 12 00               # IFLA_LINKINFO, 100 bytes
    0a 00 01 00  76 78 6c 61  6e 00 00 00  #   IFLA_INFO_KIND "vxlan"
    54 00 02 00               #   IFLA_INFO_DATA, 84 bytes
    08 00 02 00  c0 00 02 02  #     IFLA_VXLAN_GROUP
    08 00 04 00  c0 00 02 01  #     IFLA_VXLAN_LOCAL
  )" + std::string(kRest),
             wanted);
  wanted.local = Ip("2001:db8::1");
  wanted.remote = Ip("2001:db8::2");
  ExpectInfo(R"(
    7c 00 12 00               # IFLA_LINKINFO, 124 bytes
    0a 00 01 00  76 78 6c 61  6e 00 00 00  #   IFLA_INFO_KIND "vxlan"
    6c 00 02 00               #   IFLA_INFO_DATA, 108 bytes
    14 00 10 00  20 01 0d b8  00 00 00 00  00 00 00 00  00 00 00 02  # IFLA_VXLAN_GROUP6
    14 00 11 00  20 01 0d b8  00 00 00 00  00 00 00 00  00 00 00 01  # IFLA_VXLAN_LOCAL6
  )" + std::string(kRest),
             wanted);
}

TEST(DecodeLinkInfoTest, ReadsAVlanAnIpvlanADummyAndAnIfb) {
  ExpectInfo(R"(
    08 00 05 00  04 00 00 00  # IFLA_LINK 4
    24 00 12 00               # IFLA_LINKINFO, 36 bytes
    09 00 01 00  76 6c 61 6e  00 00 00 00  #   IFLA_INFO_KIND "vlan"
    14 00 02 00               #   IFLA_INFO_DATA, 20 bytes
    06 00 05 00  88 a8 00 00  #     IFLA_VLAN_PROTOCOL 802.1ad
    06 00 01 00  64 00 00 00  #     IFLA_VLAN_ID 100
  )",
             VlanInfo{.lower = 4, .id = 100, .protocol = VlanProtocol::kDot1Ad});
  ExpectInfo(R"(
    08 00 05 00  04 00 00 00  # IFLA_LINK 4
    24 00 12 00               # IFLA_LINKINFO, 36 bytes
    0b 00 01 00  69 70 76 6c  61 6e 00 00  #   IFLA_INFO_KIND "ipvlan"
    14 00 02 00               #   IFLA_INFO_DATA, 20 bytes
    06 00 01 00  02 00 00 00  #     IFLA_IPVLAN_MODE L3S
    06 00 02 00  01 00 00 00  #     IFLA_IPVLAN_FLAGS 1
  )",
             IpvlanInfo{.lower = 4, .mode = IpvlanMode::kL3s, .flags = 1});
  ExpectInfo("10 00 12 00  0a 00 01 00  64 75 6d 6d  79 00 00 00", DummyInfo{});
  ExpectInfo("0c 00 12 00  08 00 01 00  69 66 62 00", IfbInfo{});
}

TEST(DecodeLinkInfoTest, HasNothingToSayOfOtherKinds) {
  ExpectInfo("", LinkInfo());
  // A veth, whose data is not looked into.
  ExpectInfo("18 00 12 00  09 00 01 00  76 65 74 68  00 00 00 00  08 00 02 00  ff ff ff ff", LinkInfo());
}

TEST(DecodeLinkInfoTest, RefusesEveryTruncationWithinAnAttribute) {
  std::vector<std::byte> reply = FromHex("00 00 01 00  05 00 00 00  00 00 00 00  00 00 00 00");
  for (std::byte byte : FromHex(kBridgeInfo)) reply.push_back(byte);
  // Only where the nest is missing or whole.
  const std::set<size_t> whole = {16, reply.size()};
  for (size_t size = 0; size <= reply.size(); ++size) {
    KernelResult<LinkInfo> info = DecodeLinkInfo(std::span(reply).first(size));
    EXPECT_THAT(info.ok(), Eq(whole.count(size) == 1)) << size;
    EXPECT_TRUE(info.ok() || info.error().code == EBADMSG) << size;
  }
}

TEST(DecodeLinkInfoTest, RefusesWrongLengthsAndMissingParts) {
  // A nest of a kind whose name takes 8 octets, and of one attribute of 8.
  const std::string bridge = "1c 00 12 00  0b 00 01 00  62 72 69 64  67 65 00 00  0c 00 02 00 ";
  const std::string vxlan = "1c 00 12 00  0a 00 01 00  76 78 6c 61  6e 00 00 00  0c 00 02 00 ";
  const std::string macvlan = "1c 00 12 00  0c 00 01 00  6d 61 63 76  6c 61 6e 00  0c 00 02 00 ";
  const std::string ipvlan = "1c 00 12 00  0b 00 01 00  69 70 76 6c  61 6e 00 00  0c 00 02 00 ";
  const std::string vlan = "1c 00 12 00  09 00 01 00  76 6c 61 6e  00 00 00 00  0c 00 02 00 ";
  const std::string lower = "08 00 05 00  04 00 00 00 ";
  for (const std::string& hex : {
           bridge + "06 00 01 00  00 00 00 00",                   // A time of two bytes.
           bridge + "05 00 05 00  01 00 00 00",                   // STP of one.
           bridge + "08 00 07 00  01 00 00 00",                   // VLAN filtering of four.
           bridge + "05 00 08 00  81 00 00 00",                   // A VLAN protocol of one.
           bridge + "05 00 27 00  01 00 00 00",                   // A default VLAN of one.
           bridge + "09 00 01 00  00 00 00 00",                   // A time longer than its nest.
           macvlan + "08 00 01 00  04 00 00 00",                  // No lower link.
           lower + macvlan + "06 00 01 00  04 00 00 00",          // A mode of two bytes.
           lower + macvlan + "08 00 05 00  04 00 04 00",          // A sender of none.
           vxlan + "05 00 02 00  01 00 00 00",                    // An address of one octet.
           vxlan + "08 00 03 00  00 00 00 00",                    // A lower link that is none.
           vxlan + "06 00 0a 00  04 00 00 00",                    // A range of one port.
           vxlan + "08 00 0f 00  12 b5 00 00",                    // A port of four bytes.
           vlan + "06 00 01 00  64 00 00 00",                     // No lower link.
           lower + vlan + "08 00 01 00  64 00 00 00",             // A VLAN of four bytes.
           lower + ipvlan + "08 00 01 00  00 00 00 00",           // A mode of four.
           std::string("06 00 05 00  04 00 00 00"),               // A lower link of two.
           std::string("0c 00 12 00  08 00 01 00  69 66 62 62"),  // A kind without its NUL.
       }) {
    KernelResult<LinkInfo> info = DecodeReply(hex);
    ASSERT_FALSE(info.ok()) << hex;
    EXPECT_THAT(info.error().code, Eq(EBADMSG)) << hex;
    EXPECT_THAT(info.error().operation, StartsWith("RTM_NEWLINK reply: ")) << hex;
  }
}

}  // namespace
}  // namespace netprov::netlink
