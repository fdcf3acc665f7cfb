#include "server/netlink/nat.h"

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/netlink/ip_address.h"
#include "server/netlink/message.h"
#include "server/netlink/nft.h"
#include "server/netlink/scripted_transport.h"

namespace netprov::netlink {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::Eq;
using ::testing::IsEmpty;
using ::testing::SizeIs;

IpAddress Ip(std::string_view text) { return *IpAddress::Parse(text); }

// Golden bytes in these tests are those of a little-endian host, as netlink has the host's byte order.
void ExpectMessage(const Request& request, std::string_view operation, std::string_view golden) {
  EXPECT_THAT(request.error, Eq(0));
  EXPECT_THAT(request.operation, Eq(operation));
  EXPECT_THAT(ToHex(request.message), Eq(ToHex(FromHex(golden))));
}

const NatElement kForward = {.rule = PortForward{.protocol = TransportProtocol::kTcp,
                                                 .host_address = Ip("192.0.2.1"),
                                                 .host_port = 80,
                                                 .target = Ip("10.0.0.2"),
                                                 .target_port = 8080},
                             .tag = "netprov:v1"};
const NatElement kForwardAny = {.rule = PortForward{.protocol = TransportProtocol::kUdp,
                                                    .host_address = std::nullopt,
                                                    .host_port = 53,
                                                    .target = Ip("fd00::2"),
                                                    .target_port = 5353},
                                .tag = {}};

TEST(EncodeNatElementTest, OneOfEach) {
  ExpectMessage(EncodeAddNatElement(kForward),
                "NFT_MSG_NEWSETELEM inet netprov forward4 192.0.2.1 tcp 80 to 10.0.0.2 port 8080", R"(
    70 00 00 00  0c 0a 05 06                 # 112 bytes, NFT_MSG_NEWSETELEM, NLM_F_REQUEST|NLM_F_ACK|NLM_F_CREATE|NLM_F_EXCL
    00 00 00 00  00 00 00 00
    01 00 00 00                              # nfgenmsg: NFPROTO_INET
    0c 00 01 00  6e 65 74 70  72 6f 76 00    # NFTA_SET_ELEM_LIST_TABLE "netprov"
    0d 00 02 00  66 6f 72 77  61 72 64 34  00 00 00 00  # NFTA_SET_ELEM_LIST_SET "forward4"
    40 00 03 80                              # NFTA_SET_ELEM_LIST_ELEMENTS
    3c 00 01 80                              #   NFTA_LIST_ELEM
    14 00 01 80                              #     NFTA_SET_ELEM_KEY
    10 00 01 00  c0 00 02 01  06 00 00 00  00 50 00 00  #       NFTA_DATA_VALUE
    10 00 02 80                              #     NFTA_SET_ELEM_DATA
    0c 00 01 00  0a 00 00 02  1f 90 00 00    #       NFTA_DATA_VALUE
    11 00 06 00  00 0b 6e 65  74 70 72 6f  76 3a 76 31  00 00 00 00  #     NFTA_SET_ELEM_USERDATA: comment "netprov:v1"
  )");
  ExpectMessage(EncodeAddNatElement(kForwardAny),
                "NFT_MSG_NEWSETELEM inet netprov forward6_any udp 53 to fd00::2 port 5353", R"(
    68 00 00 00  0c 0a 05 06                 # 104 bytes, NFT_MSG_NEWSETELEM, NLM_F_REQUEST|NLM_F_ACK|NLM_F_CREATE|NLM_F_EXCL
    00 00 00 00  00 00 00 00
    01 00 00 00                              # nfgenmsg: NFPROTO_INET
    0c 00 01 00  6e 65 74 70  72 6f 76 00    # NFTA_SET_ELEM_LIST_TABLE "netprov"
    11 00 02 00  66 6f 72 77  61 72 64 36  5f 61 6e 79  00 00 00 00  # NFTA_SET_ELEM_LIST_SET "forward6_any"
    34 00 03 80                              # NFTA_SET_ELEM_LIST_ELEMENTS
    30 00 01 80                              #   NFTA_LIST_ELEM
    10 00 01 80                              #     NFTA_SET_ELEM_KEY
    0c 00 01 00  11 00 00 00  00 35 00 00    #       NFTA_DATA_VALUE
    1c 00 02 80                              #     NFTA_SET_ELEM_DATA
    18 00 01 00  fd 00 00 00  00 00 00 00  00 00 00 00  00 00 00 02  14 e9 00 00  #       NFTA_DATA_VALUE
  )");
  ExpectMessage(
      EncodeDeleteNatElement({.rule = Masquerade{.source = Ip("10.0.0.2"), .ifindex = 7}, .tag = "netprov:v1"}),
      "NFT_MSG_DELSETELEM inet netprov masquerade4 10.0.0.2 ifindex 7", R"(
    48 00 00 00  0e 0a 05 00                 # 72 bytes, NFT_MSG_DELSETELEM, NLM_F_REQUEST|NLM_F_ACK
    00 00 00 00  00 00 00 00
    01 00 00 00                              # nfgenmsg: NFPROTO_INET
    0c 00 01 00  6e 65 74 70  72 6f 76 00    # NFTA_SET_ELEM_LIST_TABLE "netprov"
    10 00 02 00  6d 61 73 71  75 65 72 61  64 65 34 00  # NFTA_SET_ELEM_LIST_SET "masquerade4"
    18 00 03 80                              # NFTA_SET_ELEM_LIST_ELEMENTS
    14 00 01 80                              #   NFTA_LIST_ELEM
    10 00 01 80                              #     NFTA_SET_ELEM_KEY
    0c 00 01 00  0a 00 00 02  07 00 00 00    #       NFTA_DATA_VALUE
  )");
  ExpectMessage(EncodeAddNatElement({.rule = Hairpin{.target = Ip("fd00::2"), .ifindex = 7}, .tag = {}}),
                "NFT_MSG_NEWSETELEM inet netprov hairpin6 fd00::2 ifindex 7", R"(
    54 00 00 00  0c 0a 05 06                 # 84 bytes, NFT_MSG_NEWSETELEM, NLM_F_REQUEST|NLM_F_ACK|NLM_F_CREATE|NLM_F_EXCL
    00 00 00 00  00 00 00 00
    01 00 00 00                              # nfgenmsg: NFPROTO_INET
    0c 00 01 00  6e 65 74 70  72 6f 76 00    # NFTA_SET_ELEM_LIST_TABLE "netprov"
    0d 00 02 00  68 61 69 72  70 69 6e 36  00 00 00 00  # NFTA_SET_ELEM_LIST_SET "hairpin6"
    24 00 03 80                              # NFTA_SET_ELEM_LIST_ELEMENTS
    20 00 01 80                              #   NFTA_LIST_ELEM
    1c 00 01 80                              #     NFTA_SET_ELEM_KEY
    18 00 01 00  fd 00 00 00  00 00 00 00  00 00 00 00  00 00 00 02  07 00 00 00  #       NFTA_DATA_VALUE
  )");
}

TEST(EncodeNatElementTest, RefusesWhatIsOutOfRange) {
  auto errors = [](const NatElement& element) {
    return std::pair(EncodeAddNatElement(element).error, EncodeDeleteNatElement(element).error);
  };
  const std::pair wrong(EINVAL, EINVAL);
  for (const int ifindex : {0, -1}) {
    EXPECT_THAT(errors({.rule = Masquerade{.source = Ip("10.0.0.2"), .ifindex = ifindex}, .tag = {}}), Eq(wrong));
    EXPECT_THAT(errors({.rule = Hairpin{.target = Ip("10.0.0.2"), .ifindex = ifindex}, .tag = {}}), Eq(wrong));
  }
  PortForward forward = std::get<PortForward>(kForward.rule);
  forward.host_port = 0;
  EXPECT_THAT(errors({.rule = forward, .tag = {}}), Eq(wrong));
  forward = std::get<PortForward>(kForward.rule);
  forward.target_port = 0;
  EXPECT_THAT(errors({.rule = forward, .tag = {}}), Eq(wrong));
  forward = std::get<PortForward>(kForward.rule);
  forward.host_address = Ip("2001:db8::1");
  EXPECT_THAT(errors({.rule = forward, .tag = {}}), Eq(wrong));
  // A tag is no part of what is deleted.
  EXPECT_THAT(errors({.rule = kForward.rule, .tag = std::string(129, 'x')}), Eq(std::pair(EINVAL, 0)));
}

TEST(DecodeNatElementsTest, ReadsWhatTheEncoderMakes) {
  const std::vector<NatElement> elements = {
      kForward,
      kForwardAny,
      {.rule = PortForward{.protocol = TransportProtocol::kUdp,
                           .host_address = Ip("2001:db8::1"),
                           .host_port = 65535,
                           .target = Ip("fd00::2"),
                           .target_port = 1},
       .tag = "t"},
      {.rule = PortForward{.protocol = TransportProtocol::kTcp,
                           .host_address = std::nullopt,
                           .host_port = 256,
                           .target = Ip("10.0.0.2"),
                           .target_port = 65535},
       .tag = "t"},
      {.rule = Masquerade{.source = Ip("10.0.0.2"), .ifindex = 1}, .tag = "t"},
      {.rule = Masquerade{.source = Ip("fd00::2"), .ifindex = 0x7fffffff}, .tag = "t"},
      {.rule = Hairpin{.target = Ip("10.0.0.2"), .ifindex = 1}, .tag = "t"},
      {.rule = Hairpin{.target = Ip("fd00::2"), .ifindex = 1}, .tag = "t"}};
  for (const NatElement& element : elements) {
    const Request request = EncodeAddNatElement(element);
    ASSERT_THAT(request.error, Eq(0));
    KernelResult<std::vector<NatElement>> decoded = DecodeNatElements(std::span(request.message).subspan(16));
    ASSERT_TRUE(decoded.ok()) << decoded.error().ToString();
    EXPECT_THAT(*decoded, ElementsAre(element)) << ToString(element);
  }
}

TEST(DecodeNatElementsTest, RefusesWhatIsMalformed) {
  const NftElement masquerade = {.key = FromHex("0a 00 00 02  01 00 00 00"), .data = {}, .comment = {}};
  auto code = [](std::string_view set, const NftElement& element) {
    const Request request = EncodeNewNftElement(kNatTable, set, element, "x");
    KernelResult<std::vector<NatElement>> decoded = DecodeNatElements(std::span(request.message).subspan(16));
    return decoded.ok() ? 0 : decoded.error().code;
  };
  EXPECT_THAT(code("masquerade4", masquerade), Eq(0));
  EXPECT_THAT(code("masquerade6", masquerade), Eq(EBADMSG));
  EXPECT_THAT(code("forward4", masquerade), Eq(EBADMSG));
  EXPECT_THAT(code("another", masquerade), Eq(EBADMSG));
  // Data that a set does not have, and that a map needs.
  EXPECT_THAT(code("masquerade4", {.key = masquerade.key, .data = masquerade.key, .comment = {}}), Eq(EBADMSG));
  EXPECT_THAT(code("forward4_any", masquerade), Eq(EBADMSG));
  EXPECT_THAT(DecodeNatElements({}).error().code, Eq(EBADMSG));
}

TEST(EncodeEnsureNatTableTest, IsOneTransactionOfTableSetsChainsAndRules) {
  std::vector<std::string> operations;
  const std::vector<Request> requests = EncodeEnsureNatTable("netprov:r");
  for (const Request& request : requests) {
    EXPECT_THAT(request.error, Eq(0)) << request.operation;
    operations.push_back(request.operation);
  }
  std::vector<std::string> expected = {"NFT_MSG_NEWTABLE inet netprov"};
  for (const char* set :
       {"forward4", "forward4_any", "masquerade4", "hairpin4", "forward6", "forward6_any", "masquerade6", "hairpin6"}) {
    expected.push_back(std::string("NFT_MSG_NEWSET inet netprov ") + set);
  }
  for (const char* chain : {"forward_ports", "prerouting", "output", "postrouting"}) {
    expected.push_back(std::string("NFT_MSG_NEWCHAIN inet netprov ") + chain);
    expected.push_back(std::string("NFT_MSG_DELRULE inet netprov ") + chain);
  }
  const std::pair<const char*, int> rules[] = {
      {"prerouting", 1}, {"output", 3}, {"forward_ports", 8}, {"postrouting", 10}};
  for (const auto& [chain, count] : rules) {
    expected.insert(expected.end(), count, std::string("NFT_MSG_NEWRULE inet netprov ") + chain);
  }
  EXPECT_THAT(operations, ElementsAreArray(expected));
  EXPECT_THAT(EncodeDumpNatElements(), SizeIs(8));
  ExpectMessage(requests[21], "NFT_MSG_NEWRULE inet netprov forward_ports", R"(
    d8 01 00 00  06 0a 05 0c                 # 472 bytes, NFT_MSG_NEWRULE, NLM_F_REQUEST|NLM_F_ACK|NLM_F_CREATE|NLM_F_APPEND
    00 00 00 00  00 00 00 00
    01 00 00 00                              # nfgenmsg: NFPROTO_INET
    0c 00 01 00  6e 65 74 70  72 6f 76 00    # NFTA_RULE_TABLE "netprov"
    12 00 02 00  66 6f 72 77  61 72 64 5f  70 6f 72 74  73 00 00 00  # NFTA_RULE_CHAIN "forward_ports"
    94 01 04 80                              # NFTA_RULE_EXPRESSIONS
    24 00 01 80                              #   NFTA_LIST_ELEM
    09 00 01 00  6d 65 74 61  00 00 00 00    #     NFTA_EXPR_NAME "meta"
    14 00 02 80                              #     NFTA_EXPR_DATA
    08 00 02 00  00 00 00 10                 #       NFTA_META_KEY NFT_META_L4PROTO
    08 00 01 00  00 00 00 08                 #       NFTA_META_DREG register 0
    2c 00 01 80                              #   NFTA_LIST_ELEM
    08 00 01 00  63 6d 70 00                 #     NFTA_EXPR_NAME "cmp"
    20 00 02 80                              #     NFTA_EXPR_DATA
    08 00 01 00  00 00 00 08                 #       NFTA_CMP_SREG register 0
    08 00 02 00  00 00 00 00                 #       NFTA_CMP_OP NFT_CMP_EQ
    0c 00 03 80                              #       NFTA_CMP_DATA
    05 00 01 00  06 00 00 00                 #         NFTA_DATA_VALUE
    24 00 01 80                              #   NFTA_LIST_ELEM
    09 00 01 00  6d 65 74 61  00 00 00 00    #     NFTA_EXPR_NAME "meta"
    14 00 02 80                              #     NFTA_EXPR_DATA
    08 00 02 00  00 00 00 0f                 #       NFTA_META_KEY NFT_META_NFPROTO
    08 00 01 00  00 00 00 08                 #       NFTA_META_DREG register 0
    2c 00 01 80                              #   NFTA_LIST_ELEM
    08 00 01 00  63 6d 70 00                 #     NFTA_EXPR_NAME "cmp"
    20 00 02 80                              #     NFTA_EXPR_DATA
    08 00 01 00  00 00 00 08                 #       NFTA_CMP_SREG register 0
    08 00 02 00  00 00 00 00                 #       NFTA_CMP_OP NFT_CMP_EQ
    0c 00 03 80                              #       NFTA_CMP_DATA
    05 00 01 00  02 00 00 00                 #         NFTA_DATA_VALUE
    34 00 01 80                              #   NFTA_LIST_ELEM
    0c 00 01 00  70 61 79 6c  6f 61 64 00    #     NFTA_EXPR_NAME "payload"
    24 00 02 80                              #     NFTA_EXPR_DATA
    08 00 01 00  00 00 00 08                 #       NFTA_PAYLOAD_DREG register 0
    08 00 02 00  00 00 00 01                 #       NFTA_PAYLOAD_BASE NFT_PAYLOAD_NETWORK_HEADER
    08 00 03 00  00 00 00 10                 #       NFTA_PAYLOAD_OFFSET 16
    08 00 04 00  00 00 00 04                 #       NFTA_PAYLOAD_LEN 4
    24 00 01 80                              #   NFTA_LIST_ELEM
    09 00 01 00  6d 65 74 61  00 00 00 00    #     NFTA_EXPR_NAME "meta"
    14 00 02 80                              #     NFTA_EXPR_DATA
    08 00 02 00  00 00 00 10                 #       NFTA_META_KEY NFT_META_L4PROTO
    08 00 01 00  00 00 00 09                 #       NFTA_META_DREG register 1
    34 00 01 80                              #   NFTA_LIST_ELEM
    0c 00 01 00  70 61 79 6c  6f 61 64 00    #     NFTA_EXPR_NAME "payload"
    24 00 02 80                              #     NFTA_EXPR_DATA
    08 00 01 00  00 00 00 0a                 #       NFTA_PAYLOAD_DREG register 2
    08 00 02 00  00 00 00 02                 #       NFTA_PAYLOAD_BASE NFT_PAYLOAD_TRANSPORT_HEADER
    08 00 03 00  00 00 00 02                 #       NFTA_PAYLOAD_OFFSET 2
    08 00 04 00  00 00 00 02                 #       NFTA_PAYLOAD_LEN 2
    34 00 01 80                              #   NFTA_LIST_ELEM
    0b 00 01 00  6c 6f 6f 6b  75 70 00 00    #     NFTA_EXPR_NAME "lookup"
    24 00 02 80                              #     NFTA_EXPR_DATA
    0d 00 01 00  66 6f 72 77  61 72 64 34  00 00 00 00  #       NFTA_LOOKUP_SET "forward4"
    08 00 02 00  00 00 00 08                 #       NFTA_LOOKUP_SREG register 0
    08 00 03 00  00 00 00 08                 #       NFTA_LOOKUP_DREG register 0
    30 00 01 80                              #   NFTA_LIST_ELEM
    08 00 01 00  6e 61 74 00                 #     NFTA_EXPR_NAME "nat"
    24 00 02 80                              #     NFTA_EXPR_DATA
    08 00 01 00  00 00 00 01                 #       NFTA_NAT_TYPE NFT_NAT_DNAT
    08 00 02 00  00 00 00 02                 #       NFTA_NAT_FAMILY AF_INET
    08 00 03 00  00 00 00 08                 #       NFTA_NAT_REG_ADDR_MIN register 0
    08 00 05 00  00 00 00 09                 #       NFTA_NAT_REG_PROTO_MIN register 1
    0e 00 07 00  6e 08 e7 ba  29 3f b4 87  5f ef 00 00  # NFTA_RULE_USERDATA: FNV-1a of all above, its length (456) included)");
}

TEST(ForwardPortRangeTest, EachPortGoesToTheNext) {
  const PortForward first = {.protocol = TransportProtocol::kUdp,
                             .host_address = Ip("192.0.2.1"),
                             .host_port = 65534,
                             .target = Ip("10.0.0.2"),
                             .target_port = 100};
  PortForward second = first;
  second.host_port = 65535;
  second.target_port = 101;
  EXPECT_THAT(ForwardPortRange(first, 2).value(), ElementsAre(first, second));
  EXPECT_THAT(ForwardPortRange(first, 1).value(), ElementsAre(first));
  EXPECT_THAT(ForwardPortRange(first, 3), Eq(std::nullopt));
  EXPECT_THAT(ForwardPortRange(first, 0), Eq(std::nullopt));
  EXPECT_THAT(ForwardPortRange(first, -1), Eq(std::nullopt));
  const PortForward target_high = {.host_port = 1, .target = Ip("10.0.0.2"), .target_port = 65535};
  EXPECT_THAT(ForwardPortRange(target_high, 2), Eq(std::nullopt));
  const PortForward low = {.host_port = 1, .target = Ip("10.0.0.2"), .target_port = 1};
  EXPECT_THAT(ForwardPortRange(low, kMaxForwardedPorts).value(), SizeIs(kMaxForwardedPorts));
  EXPECT_THAT(ForwardPortRange(low, kMaxForwardedPorts + 1), Eq(std::nullopt));
}

}  // namespace
}  // namespace netprov::netlink
