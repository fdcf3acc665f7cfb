#include "server/netlink/link_statistics.h"

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

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

TEST(EncodeLinkStatisticsTest, OfOneLinkOrAll) {
  ExpectMessage(EncodeGetLinkStatistics("lo"), "RTM_GETLINK lo", R"(
    28 00 00 00  12 00 05 00  # 40 bytes, RTM_GETLINK, NLM_F_REQUEST|NLM_F_ACK
    00 00 00 00  00 00 00 00
    00 00 00 00  00 00 00 00  00 00 00 00  00 00 00 00  # ifinfomsg: by name
    07 00 03 00  6c 6f 00 00  # IFLA_IFNAME "lo"
  )");
  ExpectMessage(EncodeDumpLinkStatistics(), "RTM_GETLINK dump with statistics", R"(
    20 00 00 00  12 00 01 03  # 32 bytes, RTM_GETLINK, NLM_F_REQUEST|NLM_F_DUMP
    00 00 00 00  00 00 00 00
    00 00 00 00  00 00 00 00  00 00 00 00  00 00 00 00  # ifinfomsg: AF_UNSPEC
  )");
  EXPECT_THAT(EncodeGetLinkStatistics(0).error, Eq(EINVAL));
}

const std::string kHeader = "00 00 01 00  05 00 00 00  00 00 00 00  00 00 00 00 ";

// Statistics of the first `count` counters, of which the n-th is n, with a large first one.
std::string Counters(int count) {
  char length[16];
  std::snprintf(length, sizeof(length), "%02x 00 17 00 ", 4 + 8 * count);
  std::string hex = length;
  for (int i = 1; i <= count; ++i) {
    char counter[32];
    std::snprintf(counter, sizeof(counter), "%02x 00 00 00  %02x 00 00 00 ", i, i == 1 ? 2 : 0);
    hex += counter;
  }
  return hex;
}

TEST(DecodeLinkStatisticsTest, ReadsThoseOfOldAndNewKernels) {
  for (int count : {24, 25, 26}) {
    KernelResult<LinkStatistics> statistics = DecodeLinkStatistics(FromHex(kHeader + Counters(count)));
    ASSERT_TRUE(statistics.ok()) << statistics.error().ToString();
    EXPECT_THAT(*statistics, Eq(LinkStatistics{.ifindex = 5,
                                               .rx_packets = 0x200000001,
                                               .tx_packets = 2,
                                               .rx_bytes = 3,
                                               .tx_bytes = 4,
                                               .rx_errors = 5,
                                               .tx_errors = 6,
                                               .rx_dropped = 7,
                                               .tx_dropped = 8,
                                               .multicast = 9,
                                               .rx_no_handler = 24}));
  }
}

TEST(DecodeLinkStatisticsTest, RefusesEveryTruncation) {
  std::vector<std::byte> reply = FromHex(kHeader + Counters(24));
  for (size_t size = 0; size < reply.size(); ++size) {
    KernelResult<LinkStatistics> statistics = DecodeLinkStatistics(std::span(reply).first(size));
    ASSERT_FALSE(statistics.ok()) << size;
    EXPECT_THAT(statistics.error().code, Eq(EBADMSG)) << size;
  }
}

TEST(DecodeLinkStatisticsTest, RefusesWhatIsMissingOrTooShort) {
  for (const std::string& hex : {
           kHeader + "06 00 03 00  76 00 00 00",                                 // No statistics.
           kHeader + Counters(23),                                               // Too short.
           "00 00 01 00  00 00 00 00  00 00 00 00  00 00 00 00" + Counters(24),  // No ifindex.
           kHeader + Counters(24) + "03 00 01 00",                               // Shorter than a header.
       }) {
    KernelResult<LinkStatistics> statistics = DecodeLinkStatistics(FromHex(hex));
    ASSERT_FALSE(statistics.ok()) << hex;
    EXPECT_THAT(statistics.error().code, Eq(EBADMSG)) << hex;
    EXPECT_THAT(statistics.error().operation, testing::StartsWith("RTM_NEWLINK reply: ")) << hex;
  }
}

}  // namespace
}  // namespace netprov::netlink
