#include "server/netlink/nfnetlink.h"

#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>

#include <string_view>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/netlink/scripted_transport.h"

namespace netprov::netlink {
namespace {

using ::testing::Eq;

// Golden bytes in these tests are those of a little-endian host, as netlink has the host's byte order.
void ExpectMessage(const Request& request, std::string_view operation, std::string_view golden) {
  EXPECT_THAT(request.error, Eq(0));
  EXPECT_THAT(request.operation, Eq(operation));
  EXPECT_THAT(ToHex(request.message), Eq(ToHex(FromHex(golden))));
}

TEST(EncodeBatchTest, BeginAndEnd) {
  ExpectMessage(EncodeBatchBegin(0), "nf_tables transaction", R"(
    14 00 00 00  10 00 01 00                 # 20 bytes, NFNL_MSG_BATCH_BEGIN, NLM_F_REQUEST
    00 00 00 00  00 00 00 00
    00 00 00 0a                              # nfgenmsg: AF_UNSPEC, res_id NFNL_SUBSYS_NFTABLES
  )");
  ExpectMessage(EncodeBatchBegin(7), "nf_tables transaction", R"(
    1c 00 00 00  10 00 01 00                 # 28 bytes, NFNL_MSG_BATCH_BEGIN, NLM_F_REQUEST
    00 00 00 00  00 00 00 00
    00 00 00 0a                              # nfgenmsg: AF_UNSPEC, res_id NFNL_SUBSYS_NFTABLES
    08 00 01 00  00 00 00 07                 # NFNL_BATCH_GENID 7
  )");
  ExpectMessage(EncodeBatchEnd(), "nf_tables transaction", R"(
    14 00 00 00  11 00 01 00                 # 20 bytes, NFNL_MSG_BATCH_END, NLM_F_REQUEST
    00 00 00 00  00 00 00 00
    00 00 00 0a                              # nfgenmsg: AF_UNSPEC, res_id NFNL_SUBSYS_NFTABLES
  )");
}

TEST(NftExpressionAtTest, IsTheOneThatBeginsThere) {
  const Request rule{.operation = "NFT_MSG_NEWRULE inet t c", .message = FromHex(R"(
    50 00 00 00  06 0a 05 0c  00 00 00 00  00 00 00 00
    01 00 00 00                              # nfgenmsg: NFPROTO_INET
    06 00 01 00  74 00 00 00                 # NFTA_RULE_TABLE "t"
    06 00 02 00  63 00 00 00                 # NFTA_RULE_CHAIN "c"
    2c 00 04 80                              # NFTA_RULE_EXPRESSIONS
    14 00 01 80                              #   at 40: NFTA_LIST_ELEM
    07 00 01 00  63 74 00 00                 #     NFTA_EXPR_NAME "ct"
    04 00 02 80                              #     NFTA_EXPR_DATA
    00 00 00 00
    14 00 01 80                              #   at 60: NFTA_LIST_ELEM
    09 00 01 00  6d 61 73 71  00 00 00 00    #     NFTA_EXPR_NAME "masq"
    04 00 02 80                              #     NFTA_EXPR_DATA
  )")};
  EXPECT_THAT(NftExpressionAt(rule, 40), Eq("ct"));
  EXPECT_THAT(NftExpressionAt(rule, 60), Eq("masq"));
  for (const uint32_t elsewhere : {0u, 16u, 36u, 44u, 80u, 0xffffffffu}) {
    EXPECT_THAT(NftExpressionAt(rule, elsewhere), Eq("")) << elsewhere;
  }
  EXPECT_THAT(NftExpressionAt(EncodeBatchBegin(0), 40), Eq(""));
  EXPECT_THAT(NftExpressionAt({.operation = "", .message = {}}, 0), Eq(""));
}

TEST(IsNftTest, BySubsystem) {
  EXPECT_TRUE(IsNft(NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWTABLE));
  EXPECT_FALSE(IsNft(NFNL_SUBSYS_CTNETLINK << 8));
  EXPECT_FALSE(IsNft(NFNL_MSG_BATCH_BEGIN));
  EXPECT_FALSE(IsNft(RTM_NEWLINK));
}

}  // namespace
}  // namespace netprov::netlink
