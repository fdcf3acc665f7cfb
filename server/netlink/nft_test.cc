#include "server/netlink/nft.h"

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include <cerrno>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/netlink/ip_address.h"
#include "server/netlink/message.h"
#include "server/netlink/scripted_transport.h"

namespace netprov::netlink {
namespace {

using ::testing::ElementsAre;
using ::testing::Eq;
using ::testing::IsEmpty;

// Golden bytes in these tests are those of a little-endian host, as netlink has the host's byte order.
void ExpectMessage(const Request& request, std::string_view operation, std::string_view golden) {
  EXPECT_THAT(request.error, Eq(0));
  EXPECT_THAT(request.operation, Eq(operation));
  EXPECT_THAT(ToHex(request.message), Eq(ToHex(FromHex(golden))));
}

const std::vector<std::byte> kKey = FromHex("01 01 01 01");

TEST(EncodeNftGenerationTest, Get) {
  ExpectMessage(EncodeGetNftGeneration(), "NFT_MSG_GETGEN", R"(
    14 00 00 00  10 0a 05 00                 # 20 bytes, NFT_MSG_GETGEN, NLM_F_REQUEST|NLM_F_ACK
    00 00 00 00  00 00 00 00
    01 00 00 00                              # nfgenmsg: NFPROTO_INET
  )");
}

TEST(EncodeNftTableTest, NewDeleteAndGet) {
  ExpectMessage(EncodeNewNftTable({.name = "t", .comment = "hi"}), "NFT_MSG_NEWTABLE inet t", R"(
    28 00 00 00  00 0a 05 04                 # 40 bytes, NFT_MSG_NEWTABLE, NLM_F_REQUEST|NLM_F_ACK|NLM_F_CREATE
    00 00 00 00  00 00 00 00
    01 00 00 00                              # nfgenmsg: NFPROTO_INET
    06 00 01 00  74 00 00 00                 # NFTA_TABLE_NAME "t"
    09 00 06 00  00 03 68 69  00 00 00 00    # NFTA_TABLE_USERDATA: comment "hi"
  )");
  ExpectMessage(EncodeDeleteNftTable("t"), "NFT_MSG_DELTABLE inet t", R"(
    1c 00 00 00  02 0a 05 00                 # 28 bytes, NFT_MSG_DELTABLE, NLM_F_REQUEST|NLM_F_ACK
    00 00 00 00  00 00 00 00
    01 00 00 00                              # nfgenmsg: NFPROTO_INET
    06 00 01 00  74 00 00 00                 # NFTA_TABLE_NAME "t"
  )");
  ExpectMessage(EncodeGetNftTable("t"), "NFT_MSG_GETTABLE inet t", R"(
    1c 00 00 00  01 0a 05 00                 # 28 bytes, NFT_MSG_GETTABLE, NLM_F_REQUEST|NLM_F_ACK
    00 00 00 00  00 00 00 00
    01 00 00 00                              # nfgenmsg: NFPROTO_INET
    06 00 01 00  74 00 00 00                 # NFTA_TABLE_NAME "t"
  )");
}

TEST(EncodeNftChainTest, ABaseChain) {
  ExpectMessage(EncodeNewNftChain("t", "c", NftNatHook{.hook = NF_INET_POST_ROUTING, .priority = -100}),
                "NFT_MSG_NEWCHAIN inet t c", R"(
    48 00 00 00  03 0a 05 04                 # 72 bytes, NFT_MSG_NEWCHAIN, NLM_F_REQUEST|NLM_F_ACK|NLM_F_CREATE
    00 00 00 00  00 00 00 00
    01 00 00 00                              # nfgenmsg: NFPROTO_INET
    06 00 01 00  74 00 00 00                 # NFTA_CHAIN_TABLE "t"
    06 00 03 00  63 00 00 00                 # NFTA_CHAIN_NAME "c"
    14 00 04 80                              # NFTA_CHAIN_HOOK
    08 00 01 00  00 00 00 04                 #   NFTA_HOOK_HOOKNUM NF_INET_POST_ROUTING
    08 00 02 00  ff ff ff 9c                 #   NFTA_HOOK_PRIORITY -100
    08 00 05 00  00 00 00 01                 # NFTA_CHAIN_POLICY NF_ACCEPT
    08 00 07 00  6e 61 74 00                 # NFTA_CHAIN_TYPE "nat"
  )");
}

TEST(EncodeNftChainTest, AnotherChainAndItsFlush) {
  ExpectMessage(EncodeNewNftChain("t", "c", std::nullopt), "NFT_MSG_NEWCHAIN inet t c", R"(
    24 00 00 00  03 0a 05 04                 # 36 bytes, NFT_MSG_NEWCHAIN, NLM_F_REQUEST|NLM_F_ACK|NLM_F_CREATE
    00 00 00 00  00 00 00 00
    01 00 00 00                              # nfgenmsg: NFPROTO_INET
    06 00 01 00  74 00 00 00                 # NFTA_CHAIN_TABLE "t"
    06 00 03 00  63 00 00 00                 # NFTA_CHAIN_NAME "c"
  )");
  ExpectMessage(EncodeFlushNftChain("t", "c"), "NFT_MSG_DELRULE inet t c", R"(
    24 00 00 00  08 0a 05 00                 # 36 bytes, NFT_MSG_DELRULE, NLM_F_REQUEST|NLM_F_ACK
    00 00 00 00  00 00 00 00
    01 00 00 00                              # nfgenmsg: NFPROTO_INET
    06 00 01 00  74 00 00 00                 # NFTA_RULE_TABLE "t"
    06 00 02 00  63 00 00 00                 # NFTA_RULE_CHAIN "c"
  )");
}

TEST(EncodeNewNftSetTest, ASetAndAMap) {
  ExpectMessage(EncodeNewNftSet("t", {.name = "s", .key = {NftType::kIpv4Address, NftType::kIfindex}, .data = {}}, 1),
                "NFT_MSG_NEWSET inet t s", R"(
    44 00 00 00  09 0a 05 04                 # 68 bytes, NFT_MSG_NEWSET, NLM_F_REQUEST|NLM_F_ACK|NLM_F_CREATE
    00 00 00 00  00 00 00 00
    01 00 00 00                              # nfgenmsg: NFPROTO_INET
    06 00 01 00  74 00 00 00                 # NFTA_SET_TABLE "t"
    06 00 02 00  73 00 00 00                 # NFTA_SET_NAME "s"
    08 00 03 00  00 00 00 00                 # NFTA_SET_FLAGS none
    08 00 04 00  00 00 01 d4                 # NFTA_SET_KEY_TYPE ipv4_addr . iface_index
    08 00 05 00  00 00 00 08                 # NFTA_SET_KEY_LEN 8
    08 00 0a 00  00 00 00 01                 # NFTA_SET_ID 1
  )");
  const NftSet map = {.name = "m",
                      .key = {NftType::kInetProtocol, NftType::kInetService},
                      .data = {NftType::kIpv6Address, NftType::kInetService}};
  ExpectMessage(EncodeNewNftSet("t", map, 2), "NFT_MSG_NEWSET inet t m", R"(
    54 00 00 00  09 0a 05 04                 # 84 bytes, NFT_MSG_NEWSET, NLM_F_REQUEST|NLM_F_ACK|NLM_F_CREATE
    00 00 00 00  00 00 00 00
    01 00 00 00                              # nfgenmsg: NFPROTO_INET
    06 00 01 00  74 00 00 00                 # NFTA_SET_TABLE "t"
    06 00 02 00  6d 00 00 00                 # NFTA_SET_NAME "m"
    08 00 03 00  00 00 00 08                 # NFTA_SET_FLAGS NFT_SET_MAP
    08 00 04 00  00 00 03 0d                 # NFTA_SET_KEY_TYPE inet_proto . inet_service
    08 00 05 00  00 00 00 08                 # NFTA_SET_KEY_LEN 8
    08 00 06 00  00 00 02 0d                 # NFTA_SET_DATA_TYPE ipv6_addr . inet_service
    08 00 07 00  00 00 00 14                 # NFTA_SET_DATA_LEN 20
    08 00 0a 00  00 00 00 02                 # NFTA_SET_ID 2
  )");
}

TEST(EncodeNftElementTest, NewDeleteAndDump) {
  ExpectMessage(EncodeNewNftElement("t", "s", {.key = kKey, .data = {}, .comment = {}}, "x"),
                "NFT_MSG_NEWSETELEM inet t s x", R"(
    38 00 00 00  0c 0a 05 06                 # 56 bytes, NFT_MSG_NEWSETELEM, NLM_F_REQUEST|NLM_F_ACK|NLM_F_CREATE|NLM_F_EXCL
    00 00 00 00  00 00 00 00
    01 00 00 00                              # nfgenmsg: NFPROTO_INET
    06 00 01 00  74 00 00 00                 # NFTA_SET_ELEM_LIST_TABLE "t"
    06 00 02 00  73 00 00 00                 # NFTA_SET_ELEM_LIST_SET "s"
    14 00 03 80                              # NFTA_SET_ELEM_LIST_ELEMENTS
    10 00 01 80                              #   NFTA_LIST_ELEM
    0c 00 01 80                              #     NFTA_SET_ELEM_KEY
    08 00 01 00  01 01 01 01                 #       NFTA_DATA_VALUE
  )");
  ExpectMessage(
      EncodeNewNftElement("t", "m", {.key = kKey, .data = FromHex("02 02 02 02 02 02 02 02"), .comment = "hi"}, "x"),
      "NFT_MSG_NEWSETELEM inet t m x", R"(
    54 00 00 00  0c 0a 05 06                 # 84 bytes, NFT_MSG_NEWSETELEM, NLM_F_REQUEST|NLM_F_ACK|NLM_F_CREATE|NLM_F_EXCL
    00 00 00 00  00 00 00 00
    01 00 00 00                              # nfgenmsg: NFPROTO_INET
    06 00 01 00  74 00 00 00                 # NFTA_SET_ELEM_LIST_TABLE "t"
    06 00 02 00  6d 00 00 00                 # NFTA_SET_ELEM_LIST_SET "m"
    30 00 03 80                              # NFTA_SET_ELEM_LIST_ELEMENTS
    2c 00 01 80                              #   NFTA_LIST_ELEM
    0c 00 01 80                              #     NFTA_SET_ELEM_KEY
    08 00 01 00  01 01 01 01                 #       NFTA_DATA_VALUE
    10 00 02 80                              #     NFTA_SET_ELEM_DATA
    0c 00 01 00  02 02 02 02  02 02 02 02    #       NFTA_DATA_VALUE
    09 00 06 00  00 03 68 69  00 00 00 00    #     NFTA_SET_ELEM_USERDATA: comment "hi"
  )");
  ExpectMessage(EncodeDeleteNftElement("t", "s", kKey, "x"), "NFT_MSG_DELSETELEM inet t s x", R"(
    38 00 00 00  0e 0a 05 00                 # 56 bytes, NFT_MSG_DELSETELEM, NLM_F_REQUEST|NLM_F_ACK
    00 00 00 00  00 00 00 00
    01 00 00 00                              # nfgenmsg: NFPROTO_INET
    06 00 01 00  74 00 00 00                 # NFTA_SET_ELEM_LIST_TABLE "t"
    06 00 02 00  73 00 00 00                 # NFTA_SET_ELEM_LIST_SET "s"
    14 00 03 80                              # NFTA_SET_ELEM_LIST_ELEMENTS
    10 00 01 80                              #   NFTA_LIST_ELEM
    0c 00 01 80                              #     NFTA_SET_ELEM_KEY
    08 00 01 00  01 01 01 01                 #       NFTA_DATA_VALUE
  )");
  ExpectMessage(EncodeGetNftElement("t", "s", kKey, "x"), "NFT_MSG_GETSETELEM inet t s x", R"(
    38 00 00 00  0d 0a 05 00                 # 56 bytes, NFT_MSG_GETSETELEM, NLM_F_REQUEST|NLM_F_ACK
    00 00 00 00  00 00 00 00
    01 00 00 00                              # nfgenmsg: NFPROTO_INET
    06 00 01 00  74 00 00 00                 # NFTA_SET_ELEM_LIST_TABLE "t"
    06 00 02 00  73 00 00 00                 # NFTA_SET_ELEM_LIST_SET "s"
    14 00 03 80                              # NFTA_SET_ELEM_LIST_ELEMENTS
    10 00 01 80                              #   NFTA_LIST_ELEM
    0c 00 01 80                              #     NFTA_SET_ELEM_KEY
    08 00 01 00  01 01 01 01                 #       NFTA_DATA_VALUE
  )");
  ExpectMessage(EncodeDumpNftElements("t", "s"), "NFT_MSG_GETSETELEM dump of inet t s", R"(
    24 00 00 00  0d 0a 01 03                 # 36 bytes, NFT_MSG_GETSETELEM, NLM_F_REQUEST|NLM_F_DUMP
    00 00 00 00  00 00 00 00
    01 00 00 00                              # nfgenmsg: NFPROTO_INET
    06 00 01 00  74 00 00 00                 # NFTA_SET_ELEM_LIST_TABLE "t"
    06 00 02 00  73 00 00 00                 # NFTA_SET_ELEM_LIST_SET "s"
  )");
}

TEST(DecodeNftRuleTest, TakesChainAndUserData) {
  NftRuleBuilder builder("t", "c");
  builder.Return();
  const Request request = std::move(builder).BuildWithDigest();
  const std::span<const std::byte> payload = std::span(request.message).subspan(16);
  KernelResult<NftRule> rule = DecodeNftRule(payload);
  ASSERT_TRUE(rule.ok()) << rule.error().ToString();
  EXPECT_THAT(rule->chain, Eq("c"));
  EXPECT_THAT(rule->user_data.size(), Eq(10u));
  NftRuleBuilder other("t", "c");
  other.Masquerade();
  const Request another = std::move(other).BuildWithDigest();
  EXPECT_FALSE(*DecodeNftRule(std::span(another.message).subspan(16)) == *rule);
  EXPECT_THAT(DecodeNftRule({}).error().code, Eq(EBADMSG));
  EXPECT_THAT(DecodeNftRule(payload.first(8)).error().code, Eq(EBADMSG));
}

TEST(NftRuleBuilderTest, LoadsFromThePacket) {
  NftRuleBuilder first("t", "c");
  first.LoadMeta(NFT_META_NFPROTO, 1);
  first.LoadNetworkHeader(16, 4, 0);
  ExpectMessage(std::move(first).Build(), "NFT_MSG_NEWRULE inet t c", R"(
    80 00 00 00  06 0a 05 0c                 # 128 bytes, NFT_MSG_NEWRULE, NLM_F_REQUEST|NLM_F_ACK|NLM_F_CREATE|NLM_F_APPEND
    00 00 00 00  00 00 00 00
    01 00 00 00                              # nfgenmsg: NFPROTO_INET
    06 00 01 00  74 00 00 00                 # NFTA_RULE_TABLE "t"
    06 00 02 00  63 00 00 00                 # NFTA_RULE_CHAIN "c"
    5c 00 04 80                              # NFTA_RULE_EXPRESSIONS
    24 00 01 80                              #   NFTA_LIST_ELEM
    09 00 01 00  6d 65 74 61  00 00 00 00    #     NFTA_EXPR_NAME "meta"
    14 00 02 80                              #     NFTA_EXPR_DATA
    08 00 02 00  00 00 00 0f                 #       NFTA_META_KEY NFT_META_NFPROTO
    08 00 01 00  00 00 00 09                 #       NFTA_META_DREG register 1
    34 00 01 80                              #   NFTA_LIST_ELEM
    0c 00 01 00  70 61 79 6c  6f 61 64 00    #     NFTA_EXPR_NAME "payload"
    24 00 02 80                              #     NFTA_EXPR_DATA
    08 00 01 00  00 00 00 08                 #       NFTA_PAYLOAD_DREG register 0
    08 00 02 00  00 00 00 01                 #       NFTA_PAYLOAD_BASE NFT_PAYLOAD_NETWORK_HEADER
    08 00 03 00  00 00 00 10                 #       NFTA_PAYLOAD_OFFSET 16
    08 00 04 00  00 00 00 04                 #       NFTA_PAYLOAD_LEN 4
  )");
  NftRuleBuilder second("t", "c");
  second.LoadTransportHeader(2, 2, 1);
  second.LoadConntrack(NFT_CT_STATUS, 15);
  second.LoadDestinationType(0);
  ExpectMessage(std::move(second).Build(), "NFT_MSG_NEWRULE inet t c", R"(
    a4 00 00 00  06 0a 05 0c                 # 164 bytes, NFT_MSG_NEWRULE, NLM_F_REQUEST|NLM_F_ACK|NLM_F_CREATE|NLM_F_APPEND
    00 00 00 00  00 00 00 00
    01 00 00 00                              # nfgenmsg: NFPROTO_INET
    06 00 01 00  74 00 00 00                 # NFTA_RULE_TABLE "t"
    06 00 02 00  63 00 00 00                 # NFTA_RULE_CHAIN "c"
    80 00 04 80                              # NFTA_RULE_EXPRESSIONS
    34 00 01 80                              #   NFTA_LIST_ELEM
    0c 00 01 00  70 61 79 6c  6f 61 64 00    #     NFTA_EXPR_NAME "payload"
    24 00 02 80                              #     NFTA_EXPR_DATA
    08 00 01 00  00 00 00 09                 #       NFTA_PAYLOAD_DREG register 1
    08 00 02 00  00 00 00 02                 #       NFTA_PAYLOAD_BASE NFT_PAYLOAD_TRANSPORT_HEADER
    08 00 03 00  00 00 00 02                 #       NFTA_PAYLOAD_OFFSET 2
    08 00 04 00  00 00 00 02                 #       NFTA_PAYLOAD_LEN 2
    20 00 01 80                              #   NFTA_LIST_ELEM
    07 00 01 00  63 74 00 00                 #     NFTA_EXPR_NAME "ct"
    14 00 02 80                              #     NFTA_EXPR_DATA
    08 00 02 00  00 00 00 02                 #       NFTA_CT_KEY NFT_CT_STATUS
    08 00 01 00  00 00 00 17                 #       NFTA_CT_DREG register 15
    28 00 01 80                              #   NFTA_LIST_ELEM
    08 00 01 00  66 69 62 00                 #     NFTA_EXPR_NAME "fib"
    1c 00 02 80                              #     NFTA_EXPR_DATA
    08 00 01 00  00 00 00 08                 #       NFTA_FIB_DREG register 0
    08 00 02 00  00 00 00 03                 #       NFTA_FIB_RESULT NFT_FIB_RESULT_ADDRTYPE
    08 00 03 00  00 00 00 02                 #       NFTA_FIB_FLAGS NFTA_FIB_F_DADDR
  )");
}

TEST(NftRuleBuilderTest, Compares) {
  NftRuleBuilder rule("t", "c");
  rule.Equal(0, kKey);
  rule.AnyBit(1, 32);
  ExpectMessage(std::move(rule).Build(), "NFT_MSG_NEWRULE inet t c", R"(
    c4 00 00 00  06 0a 05 0c                 # 196 bytes, NFT_MSG_NEWRULE, NLM_F_REQUEST|NLM_F_ACK|NLM_F_CREATE|NLM_F_APPEND
    00 00 00 00  00 00 00 00
    01 00 00 00                              # nfgenmsg: NFPROTO_INET
    06 00 01 00  74 00 00 00                 # NFTA_RULE_TABLE "t"
    06 00 02 00  63 00 00 00                 # NFTA_RULE_CHAIN "c"
    a0 00 04 80                              # NFTA_RULE_EXPRESSIONS
    2c 00 01 80                              #   NFTA_LIST_ELEM
    08 00 01 00  63 6d 70 00                 #     NFTA_EXPR_NAME "cmp"
    20 00 02 80                              #     NFTA_EXPR_DATA
    08 00 01 00  00 00 00 08                 #       NFTA_CMP_SREG register 0
    08 00 02 00  00 00 00 00                 #       NFTA_CMP_OP NFT_CMP_EQ
    0c 00 03 80                              #       NFTA_CMP_DATA
    08 00 01 00  01 01 01 01                 #         NFTA_DATA_VALUE
    44 00 01 80                              #   NFTA_LIST_ELEM
    0c 00 01 00  62 69 74 77  69 73 65 00    #     NFTA_EXPR_NAME "bitwise"
    34 00 02 80                              #     NFTA_EXPR_DATA
    08 00 01 00  00 00 00 09                 #       NFTA_BITWISE_SREG register 1
    08 00 02 00  00 00 00 09                 #       NFTA_BITWISE_DREG register 1
    08 00 03 00  00 00 00 04                 #       NFTA_BITWISE_LEN 4
    0c 00 04 80                              #       NFTA_BITWISE_MASK
    08 00 01 00  20 00 00 00                 #         NFTA_DATA_VALUE
    0c 00 05 80                              #       NFTA_BITWISE_XOR
    08 00 01 00  00 00 00 00                 #         NFTA_DATA_VALUE
    2c 00 01 80                              #   NFTA_LIST_ELEM
    08 00 01 00  63 6d 70 00                 #     NFTA_EXPR_NAME "cmp"
    20 00 02 80                              #     NFTA_EXPR_DATA
    08 00 01 00  00 00 00 09                 #       NFTA_CMP_SREG register 1
    08 00 02 00  00 00 00 01                 #       NFTA_CMP_OP NFT_CMP_NEQ
    0c 00 03 80                              #       NFTA_CMP_DATA
    08 00 01 00  00 00 00 00                 #         NFTA_DATA_VALUE
  )");
}

TEST(NftRuleBuilderTest, LooksUp) {
  NftRuleBuilder rule("t", "c");
  rule.Lookup(0, "s");
  rule.Lookup(0, "m", 1);
  ExpectMessage(std::move(rule).Build(), "NFT_MSG_NEWRULE inet t c", R"(
    78 00 00 00  06 0a 05 0c                 # 120 bytes, NFT_MSG_NEWRULE, NLM_F_REQUEST|NLM_F_ACK|NLM_F_CREATE|NLM_F_APPEND
    00 00 00 00  00 00 00 00
    01 00 00 00                              # nfgenmsg: NFPROTO_INET
    06 00 01 00  74 00 00 00                 # NFTA_RULE_TABLE "t"
    06 00 02 00  63 00 00 00                 # NFTA_RULE_CHAIN "c"
    54 00 04 80                              # NFTA_RULE_EXPRESSIONS
    24 00 01 80                              #   NFTA_LIST_ELEM
    0b 00 01 00  6c 6f 6f 6b  75 70 00 00    #     NFTA_EXPR_NAME "lookup"
    14 00 02 80                              #     NFTA_EXPR_DATA
    06 00 01 00  73 00 00 00                 #       NFTA_LOOKUP_SET "s"
    08 00 02 00  00 00 00 08                 #       NFTA_LOOKUP_SREG register 0
    2c 00 01 80                              #   NFTA_LIST_ELEM
    0b 00 01 00  6c 6f 6f 6b  75 70 00 00    #     NFTA_EXPR_NAME "lookup"
    1c 00 02 80                              #     NFTA_EXPR_DATA
    06 00 01 00  6d 00 00 00                 #       NFTA_LOOKUP_SET "m"
    08 00 02 00  00 00 00 08                 #       NFTA_LOOKUP_SREG register 0
    08 00 03 00  00 00 00 09                 #       NFTA_LOOKUP_DREG register 1
  )");
}

TEST(NftRuleBuilderTest, Decides) {
  NftRuleBuilder nat("t", "c");
  nat.Dnat(IpFamily::kIpv4, 0, 1);
  ExpectMessage(std::move(nat).Build(), "NFT_MSG_NEWRULE inet t c", R"(
    58 00 00 00  06 0a 05 0c                 # 88 bytes, NFT_MSG_NEWRULE, NLM_F_REQUEST|NLM_F_ACK|NLM_F_CREATE|NLM_F_APPEND
    00 00 00 00  00 00 00 00
    01 00 00 00                              # nfgenmsg: NFPROTO_INET
    06 00 01 00  74 00 00 00                 # NFTA_RULE_TABLE "t"
    06 00 02 00  63 00 00 00                 # NFTA_RULE_CHAIN "c"
    34 00 04 80                              # NFTA_RULE_EXPRESSIONS
    30 00 01 80                              #   NFTA_LIST_ELEM
    08 00 01 00  6e 61 74 00                 #     NFTA_EXPR_NAME "nat"
    24 00 02 80                              #     NFTA_EXPR_DATA
    08 00 01 00  00 00 00 01                 #       NFTA_NAT_TYPE NFT_NAT_DNAT
    08 00 02 00  00 00 00 02                 #       NFTA_NAT_FAMILY AF_INET
    08 00 03 00  00 00 00 08                 #       NFTA_NAT_REG_ADDR_MIN register 0
    08 00 05 00  00 00 00 09                 #       NFTA_NAT_REG_PROTO_MIN register 1
  )");
  NftRuleBuilder verdicts("t", "c");
  verdicts.Masquerade();
  verdicts.Return();
  verdicts.Jump("d");
  ExpectMessage(std::move(verdicts).Build(), "NFT_MSG_NEWRULE inet t c", R"(
    a4 00 00 00  06 0a 05 0c                 # 164 bytes, NFT_MSG_NEWRULE, NLM_F_REQUEST|NLM_F_ACK|NLM_F_CREATE|NLM_F_APPEND
    00 00 00 00  00 00 00 00
    01 00 00 00                              # nfgenmsg: NFPROTO_INET
    06 00 01 00  74 00 00 00                 # NFTA_RULE_TABLE "t"
    06 00 02 00  63 00 00 00                 # NFTA_RULE_CHAIN "c"
    80 00 04 80                              # NFTA_RULE_EXPRESSIONS
    14 00 01 80                              #   NFTA_LIST_ELEM
    09 00 01 00  6d 61 73 71  00 00 00 00    #     NFTA_EXPR_NAME "masq"
    04 00 02 80                              #     NFTA_EXPR_DATA
    30 00 01 80                              #   NFTA_LIST_ELEM
    0e 00 01 00  69 6d 6d 65  64 69 61 74  65 00 00 00  #     NFTA_EXPR_NAME "immediate"
    1c 00 02 80                              #     NFTA_EXPR_DATA
    08 00 01 00  00 00 00 00                 #       NFTA_IMMEDIATE_DREG NFT_REG_VERDICT
    10 00 02 80                              #       NFTA_IMMEDIATE_DATA
    0c 00 02 80                              #         NFTA_DATA_VERDICT
    08 00 01 00  ff ff ff fb                 #           NFTA_VERDICT_CODE NFT_RETURN
    38 00 01 80                              #   NFTA_LIST_ELEM
    0e 00 01 00  69 6d 6d 65  64 69 61 74  65 00 00 00  #     NFTA_EXPR_NAME "immediate"
    24 00 02 80                              #     NFTA_EXPR_DATA
    08 00 01 00  00 00 00 00                 #       NFTA_IMMEDIATE_DREG NFT_REG_VERDICT
    18 00 02 80                              #       NFTA_IMMEDIATE_DATA
    14 00 02 80                              #         NFTA_DATA_VERDICT
    08 00 01 00  ff ff ff fd                 #           NFTA_VERDICT_CODE NFT_JUMP
    06 00 02 00  64 00 00 00                 #           NFTA_VERDICT_CHAIN "d"
  )");
}

TEST(EncodeNftTest, RefusesComments) {
  auto error = [](std::string comment) {
    return EncodeNewNftTable({.name = "t", .comment = std::move(comment)}).error;
  };
  EXPECT_THAT(error(std::string(kMaxNftComment, 'x')), Eq(0));
  EXPECT_THAT(error(std::string(kMaxNftComment + 1, 'x')), Eq(EINVAL));
  EXPECT_THAT(error(std::string("a\0b", 3)), Eq(EINVAL));
  EXPECT_THAT(EncodeNewNftElement("t", "s", {.key = kKey, .data = {}, .comment = std::string(129, 'x')}, "x").error,
              Eq(EINVAL));
}

TEST(DecodeNftGenerationTest, ReadsTheNumber) {
  EXPECT_THAT(DecodeNftGeneration(FromHex("01 00 00 02  08 00 01 00  00 00 01 02")).value(), Eq(0x102u));
  for (const char* wrong : {"", "01 00 00", "01 00 00 02", "01 00 00 02  08 00 01 00  00 00 00 00",
                            "01 00 00 02  06 00 01 00  00 01 00 00", "01 00 00 02  08 00 01 00  00 00 01"}) {
    KernelResult<uint32_t> generation = DecodeNftGeneration(FromHex(wrong));
    ASSERT_FALSE(generation.ok()) << wrong;
    EXPECT_THAT(generation.error().code, Eq(EBADMSG));
  }
}

// A table `t` with the user data.
std::vector<std::byte> Table(const std::string& user_data) {
  return FromHex("01 00 00 05  06 00 01 00 74 00 00 00  08 00 02 00 00 00 00 00 " + user_data);
}

TEST(DecodeNftTableTest, ReadsNameAndComment) {
  EXPECT_THAT(DecodeNftTable(Table("")).value(), Eq(NftTable{.name = "t", .comment = ""}));
  EXPECT_THAT(DecodeNftTable(Table("09 00 06 00  00 03 68 69 00 00 00 00")).value(),
              Eq(NftTable{.name = "t", .comment = "hi"}));
  // Behind another of libnftnl's attributes.
  EXPECT_THAT(DecodeNftTable(Table("0c 00 06 00  05 01 ff 00 03 68 69 00")).value(),
              Eq(NftTable{.name = "t", .comment = "hi"}));
}

TEST(DecodeNftTableTest, TakesUserDataOfAnotherFormForNoComment) {
  for (const char* user_data : {"05 00 06 00  00 00 00 00", "06 00 06 00  00 00 00 00", "06 00 06 00  00 04 00 00",
                                "08 00 06 00  00 02 68 69", "08 00 06 00  68 65 6c 6c", "04 00 06 00"}) {
    KernelResult<NftTable> table = DecodeNftTable(Table(user_data));
    ASSERT_TRUE(table.ok()) << user_data;
    EXPECT_THAT(table->comment, IsEmpty()) << user_data;
  }
}

TEST(DecodeNftTableTest, RefusesWhatIsMalformed) {
  for (const char* wrong : {"", "01 00 00", "01 00 00 05", "01 00 00 05  06 00 01 00 74 74 00 00",
                            "01 00 00 05  06 00 01 00 74 00 00 00  09 00 06 00 00 03 68 69",
                            "01 00 00 05  06 00 01 00 74 00 00 00  03 00 06 00"}) {
    KernelResult<NftTable> table = DecodeNftTable(FromHex(wrong));
    ASSERT_FALSE(table.ok()) << wrong;
    EXPECT_THAT(table.error().code, Eq(EBADMSG));
  }
}

TEST(DecodeNftElementsTest, ReadsTheElementsOfASet) {
  KernelResult<NftElements> reply = DecodeNftElements(FromHex(R"(
    01 00 00 05
    06 00 01 00  74 00 00 00               # NFTA_SET_ELEM_LIST_TABLE "t"
    06 00 02 00  73 00 00 00               # NFTA_SET_ELEM_LIST_SET "s"
    48 00 03 80                            # NFTA_SET_ELEM_LIST_ELEMENTS
    2c 00 01 80                            #   NFTA_LIST_ELEM
    0c 00 01 80  08 00 01 00  01 01 01 01  #     NFTA_SET_ELEM_KEY
    10 00 02 80                            #     NFTA_SET_ELEM_DATA
    0c 00 01 00  02 02 02 02  02 02 02 02
    09 00 06 00  00 03 68 69  00 00 00 00  #     NFTA_SET_ELEM_USERDATA: comment "hi"
    18 00 01 80                            #   NFTA_LIST_ELEM
    0c 00 01 80  08 00 01 00  03 03 03 03  #     NFTA_SET_ELEM_KEY
    08 00 03 00  00 00 00 01               #     NFTA_SET_ELEM_FLAGS
  )"));
  ASSERT_TRUE(reply.ok()) << reply.error().ToString();
  EXPECT_THAT(reply->set, Eq("s"));
  EXPECT_THAT(reply->elements,
              ElementsAre(NftElement{.key = kKey, .data = FromHex("02 02 02 02  02 02 02 02"), .comment = "hi"},
                          NftElement{.key = FromHex("03 03 03 03"), .data = {}, .comment = {}}));
  // What the encoder makes is what the decoder reads.
  const NftElement element = {.key = kKey, .data = FromHex("02 02"), .comment = std::string(kMaxNftComment, 'x')};
  const Request request = EncodeNewNftElement("t", "s", element, "x");
  reply = DecodeNftElements(std::span(request.message).subspan(16));
  ASSERT_TRUE(reply.ok()) << reply.error().ToString();
  EXPECT_THAT(reply->elements, ElementsAre(element));
}

TEST(DecodeNftElementsTest, ASetWithoutElements) {
  KernelResult<NftElements> reply = DecodeNftElements(FromHex("01 00 00 05  06 00 02 00 73 00 00 00"));
  ASSERT_TRUE(reply.ok()) << reply.error().ToString();
  EXPECT_THAT(reply->elements, IsEmpty());
}

TEST(DecodeNftElementsTest, RefusesWhatIsMalformed) {
  const std::string set = "01 00 00 05  06 00 02 00 73 00 00 00 ";
  for (const std::string& wrong : {std::string(), std::string("01 00 00 05"), set + "08 00 03 80  05 00 01",
                                   set + "08 00 03 80  04 00 01 80",               // An element without a key.
                                   set + "0c 00 03 80  08 00 01 80  04 00 01 80",  // A key without a value.
                                   set + "10 00 03 80  0c 00 01 80  08 00 01 80  05 00 01 00",  // A value cut short.
                                   // Data without a value.
                                   set + "18 00 03 80  14 00 01 80  0c 00 01 80  08 00 01 00 01 01 01 01  04 00 02 80",
                                   set + "08 00 03 80  ff 00 01 80"}) {
    KernelResult<NftElements> reply = DecodeNftElements(FromHex(wrong));
    ASSERT_FALSE(reply.ok()) << wrong;
    EXPECT_THAT(reply.error().code, Eq(EBADMSG));
  }
}

TEST(NftLengthTest, FieldsTakeMultiplesOfFourBytes) {
  EXPECT_THAT(NftLength({}), Eq(0u));
  EXPECT_THAT(NftLength(std::vector{NftType::kIpv4Address, NftType::kInetProtocol, NftType::kInetService}), Eq(12u));
  EXPECT_THAT(NftLength(std::vector{NftType::kIpv6Address, NftType::kIfindex}), Eq(20u));
}

}  // namespace
}  // namespace netprov::netlink
