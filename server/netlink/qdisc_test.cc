#include "server/netlink/qdisc.h"

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
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

// 100 Mbit/s.
constexpr TokenBucket kBucket = {.rate = 12'500'000, .burst = 32768, .limit = 657768};

TEST(EncodeNewQdiscTest, ATokenBucket) {
  ExpectMessage(EncodeNewQdisc({.ifindex = 3, .options = kBucket}), "RTM_NEWQDISC tbf ifindex 3", R"(
    60 00 00 00  24 00 05 06  # 96 bytes, RTM_NEWQDISC, NLM_F_REQUEST|NLM_F_ACK|NLM_F_EXCL|NLM_F_CREATE
    00 00 00 00  00 00 00 00  # sequence, port
    00 00 00 00  03 00 00 00  # tcmsg: AF_UNSPEC, tcm_ifindex 3
    00 00 00 00  ff ff ff ff  00 00 00 00  #   TC_H_ROOT
    08 00 01 00  74 62 66 00  # TCA_KIND "tbf"
    34 00 02 80               # TCA_OPTIONS, nested, 52 bytes
    28 00 01 00               #   TCA_TBF_PARMS, 40 bytes
    00 01 00 00  ff ff 00 00  #     rate: TC_LINKLAYER_ETHERNET, cell_align -1
    20 bc be 00               #       12,500,000
    00 00 00 00  00 00 00 00  00 00 00 00  # peakrate
    68 09 0a 00               #     limit 657,768
    00 a0 00 00               #     buffer: 40,960 ticks of 64 ns
    00 00 00 00               #     mtu
    08 00 06 00  00 80 00 00  #   TCA_TBF_BURST 32,768
  )");
}

TEST(EncodeNewQdiscTest, ATokenBucketOfMoreThan32Bits) {
  const TokenBucket bucket = {.rate = uint64_t{1} << 32, .burst = 1'000'000, .limit = 1};
  ExpectMessage(EncodeReplaceQdisc({.ifindex = 3, .options = bucket}), "RTM_NEWQDISC tbf ifindex 3", R"(
    6c 00 00 00  24 00 05 05  # 108 bytes, RTM_NEWQDISC, NLM_F_REQUEST|NLM_F_ACK|NLM_F_REPLACE|NLM_F_CREATE
    00 00 00 00  00 00 00 00
    00 00 00 00  03 00 00 00  # tcmsg: AF_UNSPEC, tcm_ifindex 3
    00 00 00 00  ff ff ff ff  00 00 00 00  #   TC_H_ROOT
    08 00 01 00  74 62 66 00  # TCA_KIND "tbf"
    40 00 02 80               # TCA_OPTIONS, nested, 64 bytes
    28 00 01 00               #   TCA_TBF_PARMS, 40 bytes
    00 01 00 00  ff ff 00 00  #     rate: TC_LINKLAYER_ETHERNET, cell_align -1
    ff ff ff ff               #       more than that
    00 00 00 00  00 00 00 00  00 00 00 00  # peakrate
    01 00 00 00               #     limit
    36 0e 00 00               #     buffer: 3,638 ticks, rounded up
    00 00 00 00               #     mtu
    08 00 06 00  40 42 0f 00  #   TCA_TBF_BURST 1,000,000
    0c 00 04 00  00 00 00 00  01 00 00 00  # TCA_TBF_RATE64
  )");
}

TEST(EncodeNewQdiscTest, IngressAndClsact) {
  ExpectMessage(EncodeNewQdisc({.ifindex = 3, .options = Ingress{}}), "RTM_NEWQDISC ingress ifindex 3", R"(
    30 00 00 00  24 00 05 06  # 48 bytes, RTM_NEWQDISC, NLM_F_REQUEST|NLM_F_ACK|NLM_F_EXCL|NLM_F_CREATE
    00 00 00 00  00 00 00 00
    00 00 00 00  03 00 00 00  # tcmsg: AF_UNSPEC, tcm_ifindex 3
    00 00 ff ff  f1 ff ff ff  00 00 00 00  #   handle ffff:, TC_H_INGRESS
    0c 00 01 00  69 6e 67 72  65 73 73 00  # TCA_KIND "ingress"
  )");
  ExpectMessage(EncodeNewQdisc({.ifindex = 3, .options = Clsact{}}), "RTM_NEWQDISC clsact ifindex 3", R"(
    30 00 00 00  24 00 05 06  # 48 bytes, RTM_NEWQDISC, NLM_F_REQUEST|NLM_F_ACK|NLM_F_EXCL|NLM_F_CREATE
    00 00 00 00  00 00 00 00
    00 00 00 00  03 00 00 00  # tcmsg: AF_UNSPEC, tcm_ifindex 3
    00 00 ff ff  f1 ff ff ff  00 00 00 00  #   handle ffff:, TC_H_CLSACT
    0b 00 01 00  63 6c 73 61  63 74 00 00  # TCA_KIND "clsact"
  )");
}

TEST(EncodeDeleteQdiscTest, OfEachPlace) {
  ExpectMessage(EncodeDeleteQdisc({.ifindex = 3, .options = TokenBucket{}}), "RTM_DELQDISC tbf ifindex 3", R"(
    2c 00 00 00  25 00 05 00  # 44 bytes, RTM_DELQDISC, NLM_F_REQUEST|NLM_F_ACK
    00 00 00 00  00 00 00 00
    00 00 00 00  03 00 00 00  # tcmsg: AF_UNSPEC, tcm_ifindex 3
    00 00 00 00  ff ff ff ff  00 00 00 00  #   TC_H_ROOT
    08 00 01 00  74 62 66 00  # TCA_KIND "tbf"
  )");
  ExpectMessage(EncodeDeleteQdisc({.ifindex = 3, .options = Ingress{}}), "RTM_DELQDISC ingress ifindex 3", R"(
    30 00 00 00  25 00 05 00  # 48 bytes, RTM_DELQDISC, NLM_F_REQUEST|NLM_F_ACK
    00 00 00 00  00 00 00 00
    00 00 00 00  03 00 00 00  # tcmsg: AF_UNSPEC, tcm_ifindex 3
    00 00 ff ff  f1 ff ff ff  00 00 00 00  #   handle ffff:, TC_H_INGRESS
    0c 00 01 00  69 6e 67 72  65 73 73 00  # TCA_KIND "ingress"
  )");
}

TEST(EncodeQdiscTest, RefusesWhatIsOutOfRange) {
  EXPECT_THAT(EncodeNewQdisc({.ifindex = 0, .options = Clsact{}}).error, Eq(EINVAL));
  EXPECT_THAT(EncodeDeleteQdisc({.ifindex = -1, .options = Clsact{}}).error, Eq(EINVAL));
  EXPECT_THAT(EncodeNewQdisc({.ifindex = 1}).error, Eq(EINVAL));
  EXPECT_THAT(EncodeDeleteQdisc({.ifindex = 1}).error, Eq(EINVAL));
  for (const TokenBucket& bucket : {
           TokenBucket{.rate = 0, .burst = 1, .limit = 1}, TokenBucket{.rate = 1, .burst = 0, .limit = 1},
           TokenBucket{.rate = 1, .burst = 1, .limit = 0}, TokenBucket{.rate = 1, .burst = 275, .limit = 1},  // 275 s.
       }) {
    EXPECT_THAT(EncodeNewQdisc({.ifindex = 1, .options = bucket}).error, Eq(EINVAL)) << bucket.rate;
  }
  const uint64_t largest = std::numeric_limits<uint64_t>::max();
  for (const TokenBucket& bucket : {TokenBucket{.rate = 1, .burst = 274, .limit = 1},
                                    TokenBucket{.rate = largest, .burst = 4'294'967'295, .limit = 1}}) {
    EXPECT_THAT(EncodeNewQdisc({.ifindex = 1, .options = bucket}).error, Eq(0)) << bucket.rate;
  }
}

TEST(TokenBucketLimitTest, AddsWhatIsSentInTheTime) {
  using std::chrono::microseconds;
  EXPECT_THAT(TokenBucketLimit(kBucket.rate, kBucket.burst, std::chrono::milliseconds(50)), Eq(kBucket.limit));
  EXPECT_THAT(TokenBucketLimit(1, 5, microseconds(999'999)), Eq(5u));
  EXPECT_THAT(TokenBucketLimit(1, 5, microseconds(1'000'000)), Eq(6u));
  EXPECT_THAT(TokenBucketLimit(1, 5, microseconds(-1)), Eq(5u));
  constexpr uint32_t kMost = std::numeric_limits<uint32_t>::max();
  EXPECT_THAT(TokenBucketLimit(std::numeric_limits<uint64_t>::max(), kMost, microseconds::max()), Eq(kMost));
  EXPECT_THAT(TokenBucketLimit(1, kMost, microseconds(1'000'000)), Eq(kMost));
}

TEST(EncodeDumpQdiscsTest, AsksForAll) {
  ExpectMessage(EncodeDumpQdiscs(), "RTM_GETQDISC dump", R"(
    24 00 00 00  26 00 01 03  # 36 bytes, RTM_GETQDISC, NLM_F_REQUEST|NLM_F_DUMP
    00 00 00 00  00 00 00 00
    00 00 00 00  00 00 00 00  00 00 00 00  00 00 00 00  00 00 00 00  # tcmsg
  )");
}

constexpr std::string_view kBucketReply = R"(
    00 00 00 00  03 00 00 00  # tcmsg: AF_UNSPEC, tcm_ifindex 3
    00 00 01 80  ff ff ff ff  02 00 00 00  #   handle 8001:, TC_H_ROOT, referenced twice
    08 00 01 00  74 62 66 00  # TCA_KIND "tbf"
    38 00 02 00               # TCA_OPTIONS, 56 bytes
    28 00 01 00               #   TCA_TBF_PARMS, 40 bytes
    00 01 00 00  ff ff 00 00  20 bc be 00  # rate 12,500,000
    00 00 00 00  00 00 00 00  00 00 00 00  # peakrate
    68 09 0a 00  00 a0 00 00  00 00 00 00  # limit 657,768, buffer 40,960 ticks, mtu
    0c 00 04 00  20 bc be 00  00 00 00 00  #   TCA_TBF_RATE64
    05 00 0c 00  00 00 00 00  # TCA_HW_OFFLOAD, skipped
)";

TEST(DecodeQdiscTest, ReadsATokenBucket) {
  KernelResult<Qdisc> qdisc = DecodeQdisc(FromHex(kBucketReply));
  ASSERT_TRUE(qdisc.ok()) << qdisc.error().ToString();
  EXPECT_TRUE(*qdisc ==
              (Qdisc{.ifindex = 3, .options = kBucket, .kind = "tbf", .handle = 0x80010000, .parent = 0xffffffff}));
}

TEST(DecodeQdiscTest, ReadsATokenBucketAtItsLimits) {
  KernelResult<Qdisc> qdisc = DecodeQdisc(FromHex(R"(
    00 00 00 00  03 00 00 00  00 00 01 80  ff ff ff ff  02 00 00 00
    08 00 01 00  74 62 66 00  # TCA_KIND "tbf"
    38 00 02 00               # TCA_OPTIONS, 56 bytes
    28 00 01 00               #   TCA_TBF_PARMS, 40 bytes
    00 01 00 00  ff ff 00 00  ff ff ff ff  # rate
    00 00 00 00  00 00 00 00  00 00 00 00  # peakrate
    ff ff ff ff  ff ff ff ff  00 00 00 00  # limit, buffer
    0c 00 04 00  ff ff ff ff  ff ff ff ff  #   TCA_TBF_RATE64
  )"));
  ASSERT_TRUE(qdisc.ok()) << qdisc.error().ToString();
  EXPECT_TRUE(std::get<TokenBucket>(qdisc->options) == (TokenBucket{.rate = std::numeric_limits<uint64_t>::max(),
                                                                    .burst = std::numeric_limits<uint32_t>::max(),
                                                                    .limit = std::numeric_limits<uint32_t>::max()}));
}

TEST(DecodeQdiscTest, ReadsOtherKinds) {
  const std::string header = "00 00 00 00  03 00 00 00  00 00 ff ff  f1 ff ff ff  01 00 00 00 ";
  auto decode = [&](std::string_view hex) {
    KernelResult<Qdisc> qdisc = DecodeQdisc(FromHex(header + std::string(hex)));
    EXPECT_TRUE(qdisc.ok()) << qdisc.error().ToString();
    return qdisc.ok() ? *qdisc : Qdisc{};
  };
  const Qdisc ingress = decode("0c 00 01 00  69 6e 67 72  65 73 73 00  04 00 02 00");
  EXPECT_TRUE(std::holds_alternative<Ingress>(ingress.options));
  EXPECT_THAT(ingress.handle, Eq(0xffff0000));
  EXPECT_THAT(ingress.parent, Eq(0xfffffff1));
  EXPECT_TRUE(std::holds_alternative<Clsact>(decode("0b 00 01 00  63 6c 73 61  63 74 00 00").options));
  // Another kind's options are not looked into.
  const Qdisc other = decode("08 00 01 00  68 74 62 00  08 00 02 00  ff ff ff ff");
  EXPECT_TRUE(std::holds_alternative<std::monostate>(other.options));
  EXPECT_THAT(other.kind, Eq("htb"));
}

TEST(DecodeQdiscTest, RefusesEveryTruncationWithinAnAttribute) {
  std::vector<std::byte> reply = FromHex(kBucketReply);
  // Only at the end of the options and of what follows, with or without its padding.
  const std::set<size_t> whole = {84, 89, 90, 91, 92};
  for (size_t size = 0; size <= reply.size(); ++size) {
    KernelResult<Qdisc> qdisc = DecodeQdisc(std::span(reply).first(size));
    EXPECT_THAT(qdisc.ok(), Eq(whole.count(size) == 1)) << size;
    EXPECT_TRUE(qdisc.ok() || qdisc.error().code == EBADMSG) << size;
  }
}

TEST(DecodeQdiscTest, RefusesWrongLengthsAndMissingParts) {
  const std::string header = "00 00 00 00  03 00 00 00  00 00 01 80  ff ff ff ff  02 00 00 00 ";
  const std::string kind = "08 00 01 00  74 62 66 00 ";
  for (const std::string& hex : {
           header,                                                                     // No kind.
           header + "05 00 01 00  00 00 00 00",                                        // An empty one.
           header + "08 00 01 00  74 62 66 66",                                        // One without its NUL.
           "00 00 00 00  00 00 00 00  00 00 01 80  ff ff ff ff  02 00 00 00 " + kind,  // No ifindex.
           header + kind,                                                              // No options.
           header + kind + "0c 00 02 00  08 00 01 00  00 01 00 00",                    // Parameters cut short.
           header + kind + "0c 00 02 00  08 00 04 00  00 01 00 00",                    // A rate of four bytes.
           header + kind + "0c 00 02 00  ff 00 01 00  00 01 00 00",                    // Longer than its nest.
       }) {
    KernelResult<Qdisc> qdisc = DecodeQdisc(FromHex(hex));
    ASSERT_FALSE(qdisc.ok()) << hex;
    EXPECT_THAT(qdisc.error().code, Eq(EBADMSG)) << hex;
    EXPECT_THAT(qdisc.error().operation, StartsWith("RTM_NEWQDISC reply: ")) << hex;
  }
}

}  // namespace
}  // namespace netprov::netlink
