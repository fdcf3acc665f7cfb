#include "server/netlink/link.h"

#include <cerrno>
#include <cstddef>
#include <set>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/netlink/scripted_transport.h"

namespace netprov::netlink {
namespace {

using ::testing::Eq;
using ::testing::Optional;

// Golden bytes in these tests are those of a little-endian host, as netlink has the host's byte order.
void ExpectMessage(const Request& request, std::string_view operation, std::string_view golden) {
  EXPECT_THAT(request.error, Eq(0));
  EXPECT_THAT(request.operation, Eq(operation));
  EXPECT_THAT(ToHex(request.message), Eq(ToHex(FromHex(golden))));
}

TEST(EncodeNewVethTest, SaysEverythingInOneMessage) {
  VethRequest veth;
  veth.end = {.name = "veth-host",
              .mac = MacAddress{{2, 0, 0, 0, 0, 1}},
              .mtu = 1400,
              .group = 7,
              .up = true,
              .netns_fd = 5,
              .tx_queues = 1,
              .rx_queues = 4,
              .master = 9,
              .promiscuous = true,
              .all_multicast = true,
              .limits = {.gso_max_size = 65536, .gso_max_segments = 64}};
  veth.peer = {.name = "veth0",
               .mac = MacAddress{{2, 0, 0, 0, 0, 2}},
               .mtu = 9000,
               .group = 8,
               .up = true,
               .netns_fd = 6,
               .tx_queues = 2,
               .rx_queues = 2,
               .limits = {.gro_max_size = 1, .gso_ipv4_max_size = 2, .gro_ipv4_max_size = 3}};
  ExpectMessage(EncodeNewVeth(veth), "RTM_NEWLINK veth-host peer veth0", R"(
    fc 00 00 00  10 00 05 06  # 252 bytes, RTM_NEWLINK, NLM_F_REQUEST|NLM_F_ACK|NLM_F_EXCL|NLM_F_CREATE
    00 00 00 00  00 00 00 00  # sequence, port
    00 00 00 00               # ifinfomsg: AF_UNSPEC, type 0
    00 00 00 00               #   ifi_index
    01 03 00 00  01 03 00 00  #   ifi_flags and ifi_change: IFF_UP|IFF_PROMISC|IFF_ALLMULTI
    0e 00 03 00  76 65 74 68  2d 68 6f 73  74 00 00 00  # IFLA_IFNAME "veth-host"
    0a 00 01 00  02 00 00 00  00 01 00 00  # IFLA_ADDRESS
    08 00 04 00  78 05 00 00  # IFLA_MTU 1400
    08 00 1b 00  07 00 00 00  # IFLA_GROUP 7
    08 00 1f 00  01 00 00 00  # IFLA_NUM_TX_QUEUES 1
    08 00 20 00  04 00 00 00  # IFLA_NUM_RX_QUEUES 4
    08 00 1c 00  05 00 00 00  # IFLA_NET_NS_FD 5
    08 00 0a 00  09 00 00 00  # IFLA_MASTER 9
    08 00 29 00  00 00 01 00  # IFLA_GSO_MAX_SIZE 65536
    08 00 28 00  40 00 00 00  # IFLA_GSO_MAX_SEGS 64
    80 00 12 80               # IFLA_LINKINFO, nested, 128 bytes
    09 00 01 00  76 65 74 68  00 00 00 00  #   IFLA_INFO_KIND "veth"
    70 00 02 80               #   IFLA_INFO_DATA, nested, 112 bytes
    6c 00 01 80               #     VETH_INFO_PEER, nested, 108 bytes
    00 00 00 00  00 00 00 00  01 00 00 00  01 00 00 00  # ifinfomsg: IFF_UP
    0a 00 03 00  76 65 74 68  30 00 00 00  # IFLA_IFNAME "veth0"
    0a 00 01 00  02 00 00 00  00 02 00 00  # IFLA_ADDRESS
    08 00 04 00  28 23 00 00  # IFLA_MTU 9000
    08 00 1b 00  08 00 00 00  # IFLA_GROUP 8
    08 00 1f 00  02 00 00 00  # IFLA_NUM_TX_QUEUES 2
    08 00 20 00  02 00 00 00  # IFLA_NUM_RX_QUEUES 2
    08 00 1c 00  06 00 00 00  # IFLA_NET_NS_FD 6
    08 00 3a 00  01 00 00 00  # IFLA_GRO_MAX_SIZE 1
    08 00 3f 00  02 00 00 00  # IFLA_GSO_IPV4_MAX_SIZE 2
    08 00 40 00  03 00 00 00  # IFLA_GRO_IPV4_MAX_SIZE 3
  )");
}

TEST(EncodeNewVethTest, LeavesOutWhatIsNotSet) {
  VethRequest veth;
  veth.end.name = "a";
  veth.peer.name = "b";
  ExpectMessage(EncodeNewVeth(veth), "RTM_NEWLINK a peer b", R"(
    78 00 00 00  10 00 0d 06  # 120 bytes, RTM_NEWLINK, NLM_F_REQUEST|NLM_F_ACK|NLM_F_ECHO|NLM_F_EXCL|NLM_F_CREATE
    00 00 00 00  00 00 00 00
    00 00 00 00  00 00 00 00  00 00 00 00  00 00 00 00  # ifinfomsg: down
    06 00 03 00  61 00 00 00  # IFLA_IFNAME "a"
    08 00 1f 00  01 00 00 00  # IFLA_NUM_TX_QUEUES 1
    08 00 20 00  01 00 00 00  # IFLA_NUM_RX_QUEUES 1
    40 00 12 80               # IFLA_LINKINFO, nested, 64 bytes
    09 00 01 00  76 65 74 68  00 00 00 00  #   IFLA_INFO_KIND "veth"
    30 00 02 80               #   IFLA_INFO_DATA, nested, 48 bytes
    2c 00 01 80               #     VETH_INFO_PEER, nested, 44 bytes; the peer is down too
    00 00 00 00  00 00 00 00  00 00 00 00  00 00 00 00
    06 00 03 00  62 00 00 00  # IFLA_IFNAME "b"
    08 00 1f 00  01 00 00 00  # IFLA_NUM_TX_QUEUES 1
    08 00 20 00  01 00 00 00  # IFLA_NUM_RX_QUEUES 1
  )");
}

TEST(EncodeNewVethTest, RefusesNamesWithNul) {
  VethRequest veth;
  veth.end.name = "a";
  veth.peer.name = std::string("b\0c", 3);
  EXPECT_THAT(EncodeNewVeth(veth).error, Eq(EINVAL));
}

TEST(EncodeNewVethTest, RefusesAMasterThatIsNone) {
  for (int ifindex : {0, -1}) {
    EXPECT_THAT(EncodeNewVeth({.end = {.name = "a", .master = ifindex}, .peer = {.name = "b"}}).error, Eq(EINVAL));
  }
}

TEST(EncodeSetLinkTest, ChangesEverythingAtOnce) {
  LinkChange change = {.up = true,
                       .name = "new",
                       .mac = MacAddress{{2, 0, 0, 0, 0, 9}},
                       .mtu = 68,
                       .group = 0,
                       .alias = "netprov",
                       .netns_fd = 3,
                       .master = 4,
                       .promiscuous = true,
                       .all_multicast = false,
                       .limits = {.gso_max_size = 0x10000},
                       .address_generation = AddressGeneration::kNone};
  ExpectMessage(EncodeSetLink(258, change), "RTM_SETLINK ifindex 258", R"(
    78 00 00 00  13 00 05 00  # 120 bytes, RTM_SETLINK, NLM_F_REQUEST|NLM_F_ACK
    00 00 00 00  00 00 00 00
    00 00 00 00  02 01 00 00  # ifinfomsg: ifi_index 258
    01 01 00 00  01 03 00 00  #   IFF_UP and IFF_PROMISC to be set, IFF_ALLMULTI to be cleared
    08 00 03 00  6e 65 77 00  # IFLA_IFNAME "new"
    0a 00 01 00  02 00 00 00  00 09 00 00  # IFLA_ADDRESS
    08 00 04 00  44 00 00 00  # IFLA_MTU 68
    08 00 1b 00  00 00 00 00  # IFLA_GROUP 0
    0c 00 14 00  6e 65 74 70  72 6f 76 00  # IFLA_IFALIAS "netprov"
    08 00 1c 00  03 00 00 00  # IFLA_NET_NS_FD 3
    08 00 0a 00  04 00 00 00  # IFLA_MASTER 4
    08 00 29 00  00 00 01 00  # IFLA_GSO_MAX_SIZE 65536
    10 00 1a 80               # IFLA_AF_SPEC, nested, 16 bytes
    0c 00 0a 80               #   AF_INET6, nested, 12 bytes
    05 00 08 00  01 00 00 00  #     IFLA_INET6_ADDR_GEN_MODE none
  )");
}

TEST(EncodeSetLinkTest, TakesDownByName) {
  ExpectMessage(EncodeSetLink("eth0", {.up = false}), "RTM_SETLINK eth0", R"(
    2c 00 00 00  13 00 05 00  # 44 bytes, RTM_SETLINK, NLM_F_REQUEST|NLM_F_ACK
    00 00 00 00  00 00 00 00
    00 00 00 00  00 00 00 00  # ifinfomsg: by name
    00 00 00 00  01 00 00 00  #   IFF_UP, to be cleared
    09 00 03 00  65 74 68 30  00 00 00 00  # IFLA_IFNAME "eth0"
  )");
}

TEST(EncodeSetLinkTest, ChangesNothingUnasked) {
  ExpectMessage(EncodeSetLink(1, {.alias = ""}), "RTM_SETLINK ifindex 1", R"(
    28 00 00 00  13 00 05 00  # 40 bytes, RTM_SETLINK, NLM_F_REQUEST|NLM_F_ACK
    00 00 00 00  00 00 00 00
    00 00 00 00  01 00 00 00  # ifinfomsg: ifi_index 1
    00 00 00 00  00 00 00 00  #   no flags
    05 00 14 00  00 00 00 00  # IFLA_IFALIAS ""
  )");
}

TEST(EncodeSetLinkTest, LeavesItsMaster) {
  ExpectMessage(EncodeSetLink(1, {.master = 0}), "RTM_SETLINK ifindex 1", R"(
    28 00 00 00  13 00 05 00  # 40 bytes, RTM_SETLINK, NLM_F_REQUEST|NLM_F_ACK
    00 00 00 00  00 00 00 00
    00 00 00 00  01 00 00 00  00 00 00 00  00 00 00 00  # ifinfomsg: ifi_index 1
    08 00 0a 00  00 00 00 00  # IFLA_MASTER 0
  )");
  EXPECT_THAT(EncodeSetLink(1, {.master = -1}).error, Eq(EINVAL));
}

TEST(EncodeAlternativeNamesTest, AddsAndDeletesAList) {
  const std::vector<std::string> names = {"abc", "x"};
  ExpectMessage(EncodeAddAlternativeNames(3, names), "RTM_NEWLINKPROP ifindex 3", R"(
    34 00 00 00  6c 00 05 0e  # 52 bytes, RTM_NEWLINKPROP, NLM_F_REQUEST|NLM_F_ACK|NLM_F_EXCL|NLM_F_CREATE|NLM_F_APPEND
    00 00 00 00  00 00 00 00
    00 00 00 00  03 00 00 00  00 00 00 00  00 00 00 00  # ifinfomsg: ifi_index 3
    14 00 34 80               # IFLA_PROP_LIST, nested, 20 bytes
    08 00 35 00  61 62 63 00  #   IFLA_ALT_IFNAME "abc"
    06 00 35 00  78 00 00 00  #   IFLA_ALT_IFNAME "x"
  )");
  ExpectMessage(EncodeDeleteAlternativeNames("v", names), "RTM_DELLINKPROP v", R"(
    3c 00 00 00  6d 00 05 00  # 60 bytes, RTM_DELLINKPROP, NLM_F_REQUEST|NLM_F_ACK
    00 00 00 00  00 00 00 00
    00 00 00 00  00 00 00 00  00 00 00 00  00 00 00 00  # ifinfomsg: by name
    06 00 03 00  76 00 00 00  # IFLA_IFNAME "v"
    14 00 34 80               # IFLA_PROP_LIST, nested, 20 bytes
    08 00 35 00  61 62 63 00  #   IFLA_ALT_IFNAME "abc"
    06 00 35 00  78 00 00 00  #   IFLA_ALT_IFNAME "x"
  )");
  EXPECT_THAT(EncodeAddAlternativeNames(3, {}).error, Eq(EINVAL));
  EXPECT_THAT(EncodeDeleteAlternativeNames(0, names).error, Eq(EINVAL));
}

TEST(EncodeSetLinkTest, RenamesOnlyByIfindex) {
  EXPECT_THAT(EncodeSetLink("eth0", {.name = "eth1"}).error, Eq(EINVAL));
  EXPECT_THAT(EncodeSetLink(0, {.up = true}).error, Eq(EINVAL));
  EXPECT_THAT(EncodeSetLink(-1, {.up = true}).error, Eq(EINVAL));
}

TEST(EncodeGetLinkTest, ByIfindexAndByName) {
  ExpectMessage(EncodeGetLink(3), "RTM_GETLINK ifindex 3", R"(
    28 00 00 00  12 00 05 00  # 40 bytes, RTM_GETLINK, NLM_F_REQUEST|NLM_F_ACK
    00 00 00 00  00 00 00 00
    00 00 00 00  03 00 00 00  00 00 00 00  00 00 00 00  # ifinfomsg: ifi_index 3
    08 00 1d 00  08 00 00 00  # IFLA_EXT_MASK RTEXT_FILTER_SKIP_STATS
  )");
  ExpectMessage(EncodeGetLink("lo"), "RTM_GETLINK lo", R"(
    30 00 00 00  12 00 05 00  # 48 bytes, RTM_GETLINK, NLM_F_REQUEST|NLM_F_ACK
    00 00 00 00  00 00 00 00
    00 00 00 00  00 00 00 00  00 00 00 00  00 00 00 00  # ifinfomsg: by name
    07 00 03 00  6c 6f 00 00  # IFLA_IFNAME "lo"
    08 00 1d 00  08 00 00 00  # IFLA_EXT_MASK RTEXT_FILTER_SKIP_STATS
  )");
  // No interface name is as long, so it is an alternative one.
  ExpectMessage(EncodeGetLink("sixteen-bytes-16"), "RTM_GETLINK sixteen-bytes-16", R"(
    40 00 00 00  12 00 05 00  # 64 bytes, RTM_GETLINK, NLM_F_REQUEST|NLM_F_ACK
    00 00 00 00  00 00 00 00
    00 00 00 00  00 00 00 00  00 00 00 00  00 00 00 00  # ifinfomsg: by name
    15 00 35 00  73 69 78 74  65 65 6e 2d  62 79 74 65  73 2d 31 36  00 00 00 00  # IFLA_ALT_IFNAME
    08 00 1d 00  08 00 00 00  # IFLA_EXT_MASK RTEXT_FILTER_SKIP_STATS
  )");
  EXPECT_THAT(EncodeGetLink(0).error, Eq(EINVAL));
}

TEST(EncodeDumpLinksTest, AsksForAll) {
  ExpectMessage(EncodeDumpLinks(), "RTM_GETLINK dump", R"(
    28 00 00 00  12 00 01 03  # 40 bytes, RTM_GETLINK, NLM_F_REQUEST|NLM_F_DUMP
    00 00 00 00  00 00 00 00
    00 00 00 00  00 00 00 00  00 00 00 00  00 00 00 00  # ifinfomsg: AF_UNSPEC
    08 00 1d 00  08 00 00 00  # IFLA_EXT_MASK RTEXT_FILTER_SKIP_STATS
  )");
}

TEST(EncodeDeleteLinkTest, ByIfindexNameAndGroup) {
  ExpectMessage(EncodeDeleteLink(3), "RTM_DELLINK ifindex 3", R"(
    20 00 00 00  11 00 05 00  # 32 bytes, RTM_DELLINK, NLM_F_REQUEST|NLM_F_ACK
    00 00 00 00  00 00 00 00
    00 00 00 00  03 00 00 00  00 00 00 00  00 00 00 00  # ifinfomsg: ifi_index 3
  )");
  ExpectMessage(EncodeDeleteLink("veth0"), "RTM_DELLINK veth0", R"(
    2c 00 00 00  11 00 05 00  # 44 bytes, RTM_DELLINK, NLM_F_REQUEST|NLM_F_ACK
    00 00 00 00  00 00 00 00
    00 00 00 00  00 00 00 00  00 00 00 00  00 00 00 00  # ifinfomsg: by name
    0a 00 03 00  76 65 74 68  30 00 00 00  # IFLA_IFNAME "veth0"
  )");
  ExpectMessage(EncodeDeleteLinkGroup(0x6e700001), "RTM_DELLINK group 1852833793", R"(
    28 00 00 00  11 00 05 00  # 40 bytes, RTM_DELLINK, NLM_F_REQUEST|NLM_F_ACK
    00 00 00 00  00 00 00 00
    00 00 00 00  00 00 00 00  00 00 00 00  00 00 00 00  # ifinfomsg: by group
    08 00 1b 00  01 00 70 6e  # IFLA_GROUP
  )");
  // With ifindex 0 the message would mean something else.
  EXPECT_THAT(EncodeDeleteLink(0).error, Eq(EINVAL));
}

constexpr std::string_view kVethReply = R"(
    00 00 01 00  05 00 00 00  # ifinfomsg: ARPHRD_ETHER, ifi_index 5
    43 10 01 00  00 00 00 00  #   IFF_UP|IFF_BROADCAST|IFF_RUNNING|IFF_MULTICAST|IFF_LOWER_UP
    0a 00 03 00  76 65 74 68  30 00 00 00  # IFLA_IFNAME "veth0"
    05 00 10 00  06 00 00 00  # IFLA_OPERSTATE IF_OPER_UP
    08 00 04 00  dc 05 00 00  # IFLA_MTU 1500
    08 00 1b 00  07 00 00 00  # IFLA_GROUP 7
    08 00 05 00  04 00 00 00  # IFLA_LINK 4
    06 00 14 00  78 00 00 00  # IFLA_IFALIAS "x"
    0a 00 01 00  02 00 00 00  00 01 00 00  # IFLA_ADDRESS
    08 00 25 00  00 00 00 00  # IFLA_LINK_NETNSID 0
    10 00 12 00               # IFLA_LINKINFO, 16 bytes
    09 00 01 00  76 65 74 68  00 00 00 00  #   IFLA_INFO_KIND "veth"
)";

TEST(DecodeLinkTest, ReadsAVeth) {
  KernelResult<Link> link = DecodeLink(FromHex(kVethReply));
  ASSERT_TRUE(link.ok()) << link.error().ToString();
  EXPECT_THAT(link->ifindex, Eq(5));
  EXPECT_THAT(link->name, Eq("veth0"));
  EXPECT_THAT(link->mac, Optional(MacAddress{{2, 0, 0, 0, 0, 1}}));
  EXPECT_THAT(link->mtu, Eq(1500u));
  EXPECT_THAT(link->flags, Eq(0x11043u));
  EXPECT_TRUE(link->up);
  EXPECT_TRUE(link->running);
  EXPECT_THAT(link->group, Eq(7u));
  EXPECT_THAT(link->alias, Eq("x"));
  EXPECT_THAT(link->kind, Eq("veth"));
  EXPECT_THAT(link->link, Optional(4));
  EXPECT_THAT(link->link_netnsid, Optional(0));
  EXPECT_THAT(link->oper_state, Eq(OperState::kUp));
  EXPECT_THAT(link->master, Eq(std::nullopt));
  EXPECT_THAT(link->alternative_names, testing::IsEmpty());
  EXPECT_FALSE(link->promiscuous || link->all_multicast);
  EXPECT_THAT(link->address_generation, Eq(std::nullopt));
}

TEST(DecodeLinkTest, ReadsAPortWithEverything) {
  KernelResult<Link> link = DecodeLink(FromHex(R"(
    00 00 01 00  05 00 00 00  # ifinfomsg: ARPHRD_ETHER, ifi_index 5
    03 03 00 00  00 00 00 00  #   IFF_UP|IFF_BROADCAST|IFF_PROMISC|IFF_ALLMULTI
    06 00 03 00  76 00 00 00  # IFLA_IFNAME "v"
    08 00 0a 00  09 00 00 00  # IFLA_MASTER 9
    08 00 1e 00  02 00 00 00  # IFLA_PROMISCUITY, skipped
    08 00 1f 00  02 00 00 00  # IFLA_NUM_TX_QUEUES 2
    08 00 20 00  03 00 00 00  # IFLA_NUM_RX_QUEUES 3
    08 00 28 00  ff ff 00 00  # IFLA_GSO_MAX_SEGS 65535
    08 00 29 00  01 00 01 00  # IFLA_GSO_MAX_SIZE 65537
    08 00 3a 00  02 00 01 00  # IFLA_GRO_MAX_SIZE 65538
    08 00 3f 00  03 00 01 00  # IFLA_GSO_IPV4_MAX_SIZE 65539
    08 00 40 00  04 00 01 00  # IFLA_GRO_IPV4_MAX_SIZE 65540
    14 00 34 80               # IFLA_PROP_LIST, nested, 20 bytes
    08 00 35 00  61 62 63 00  #   IFLA_ALT_IFNAME "abc"
    06 00 35 00  78 00 00 00  #   IFLA_ALT_IFNAME "x"
    24 00 1a 00               # IFLA_AF_SPEC, 36 bytes
    0c 00 02 00               #   AF_INET, 12 bytes
    08 00 01 00  00 00 00 00  #     skipped
    14 00 0a 00               #   AF_INET6, 20 bytes
    08 00 01 00  00 00 00 80  #     IFLA_INET6_FLAGS, skipped
    05 00 08 00  01 00 00 00  #     IFLA_INET6_ADDR_GEN_MODE none
  )"));
  ASSERT_TRUE(link.ok()) << link.error().ToString();
  EXPECT_THAT(link->master, Optional(9));
  EXPECT_TRUE(link->promiscuous && link->all_multicast);
  EXPECT_THAT(link->tx_queues, Eq(2u));
  EXPECT_THAT(link->rx_queues, Eq(3u));
  EXPECT_THAT(link->limits, Eq(OffloadLimits{.gso_max_size = 65537,
                                             .gso_max_segments = 65535,
                                             .gro_max_size = 65538,
                                             .gso_ipv4_max_size = 65539,
                                             .gro_ipv4_max_size = 65540}));
  EXPECT_THAT(link->alternative_names, testing::ElementsAre("abc", "x"));
  EXPECT_THAT(link->address_generation, Optional(AddressGeneration::kNone));
  EXPECT_THAT(link->oper_state, Eq(OperState::kUnknown));
}

TEST(DecodeLinkTest, ReadsALinkThatSaysLittle) {
  KernelResult<Link> link = DecodeLink(FromHex(R"(
    00 00 04 03  01 00 00 00  # ifinfomsg: ARPHRD_LOOPBACK, ifi_index 1
    01 00 00 00  00 00 00 00  #   IFF_UP without a carrier
    07 00 03 00  6c 6f 00 00  # IFLA_IFNAME "lo"
    08 00 01 00  0a 00 00 01  # IFLA_ADDRESS of four octets, as of a tunnel
    08 00 25 00  ff ff ff ff  # IFLA_LINK_NETNSID -1
  )"));
  ASSERT_TRUE(link.ok()) << link.error().ToString();
  EXPECT_THAT(link->name, Eq("lo"));
  EXPECT_FALSE(link->mac.has_value());
  EXPECT_TRUE(link->up);
  EXPECT_FALSE(link->running);
  EXPECT_THAT(link->kind, Eq(""));
  EXPECT_THAT(link->link, Eq(std::nullopt));
  EXPECT_THAT(link->link_netnsid, Optional(-1));
}

TEST(DecodeLinkTest, RefusesEveryTruncationWithinAnAttribute) {
  // The sizes that end with an attribute, from the name on, with or without its padding.
  const std::set<size_t> whole = {26, 27, 28, 33, 34, 35, 36, 44, 52, 60, 66, 67, 68, 78, 79, 80, 88};
  std::vector<std::byte> reply = FromHex(kVethReply);
  for (size_t size = 0; size < reply.size(); ++size) {
    KernelResult<Link> link = DecodeLink(std::span(reply).first(size));
    EXPECT_THAT(link.ok(), Eq(whole.count(size) == 1)) << size;
    EXPECT_TRUE(link.ok() || link.error().code == EBADMSG) << size;
  }
}

TEST(DecodeLinkTest, RefusesWrongLengthsAndMissingParts) {
  const std::string header = "00 00 01 00  05 00 00 00  00 00 00 00  00 00 00 00 ";
  const std::string name = "07 00 03 00  6c 6f 00 00 ";
  for (const std::string& hex : {header,                                                        // No name.
                                 header + "05 00 03 00  00 00 00 00",                           // An empty one.
                                 header + "06 00 03 00  6c 6f 00 00",                           // One without its NUL.
                                 "00 00 01 00  00 00 00 00  00 00 00 00  00 00 00 00 " + name,  // No ifindex.
                                 "00 00 01 00  ff ff ff ff  00 00 00 00  00 00 00 00 " + name,  // A negative one.
                                 header + name + "06 00 04 00  dc 05 00 00",                    // MTU of two bytes.
                                 header + name + "05 00 1b 00  07 00 00 00",                    // Group of one.
                                 header + name + "0c 00 05 00  04 00 00 00  00 00 00 00",       // Link of eight.
                                 header + name + "04 00 25 00",                                 // Netnsid of none.
                                 header + name + "08 00 14 00  78 78 78 78",               // Alias without its NUL.
                                 header + name + "0c 00 12 00  ff 00 01 00  76 65 74 68",  // Kind longer than its nest.
                                 header + name + "0c 00 12 00  08 00 01 00  76 65 74 68",  // Kind without its NUL.
                                 header + name + "05 00 0a 00  04 00 00 00",               // Master of one byte.
                                 header + name + "08 00 10 00  06 00 00 00",               // Operational state of four.
                                 header + name + "06 00 1f 00  01 00 00 00",               // Queues of two.
                                 header + name + "06 00 29 00  01 00 00 00",               // A limit of two.
                                 header + name + "0c 00 34 80  08 00 35 00  61 62 63 64",  // Alternative without NUL.
                                 header + name + "0a 00 34 80  08 00 35 00  61 62 00 00",  // One longer than its nest.
                                 header + name + "10 00 1a 00  0c 00 0a 00  08 00 08 00  01 00 00 00",  // Mode of four.
                                 header + name + "0c 00 1a 00  08 00 0a 00  ff 00 08 00",  // One longer than its nest.
                                 header + name + "0c 00 1a 00  ff 00 0a 00  05 00 08 00",  // Family longer than that.
                                 header + name + "03 00 01 00"}) {                         // Shorter than a header.
    KernelResult<Link> link = DecodeLink(FromHex(hex));
    ASSERT_FALSE(link.ok()) << hex;
    EXPECT_THAT(link.error().code, Eq(EBADMSG)) << hex;
    EXPECT_THAT(link.error().operation, testing::StartsWith("RTM_NEWLINK reply: ")) << hex;
  }
}

}  // namespace
}  // namespace netprov::netlink
