#include "server/netlink/filter.h"

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
using ::testing::StartsWith;

// Golden bytes in these tests are those of a little-endian host, as netlink has the host's byte order.
void ExpectMessage(const Request& request, std::string_view operation, std::string_view golden) {
  EXPECT_THAT(request.error, Eq(0));
  EXPECT_THAT(request.operation, Eq(operation));
  EXPECT_THAT(ToHex(request.message), Eq(ToHex(FromHex(golden))));
}

TEST(EncodeNewFilterTest, AMatchallThatRedirects) {
  ExpectMessage(EncodeNewFilter({.ifindex = 3, .mirred = {.ifindex = 9}}), "RTM_NEWTFILTER matchall ifindex 3 ingress",
                R"(
    70 00 00 00  2c 00 05 06  # 112 bytes, RTM_NEWTFILTER, NLM_F_REQUEST|NLM_F_ACK|NLM_F_EXCL|NLM_F_CREATE
    00 00 00 00  00 00 00 00  # sequence, port
    00 00 00 00  03 00 00 00  # tcmsg: AF_UNSPEC, tcm_ifindex 3
    00 00 00 00  f2 ff ff ff  #   ffff:fff2, the ingress of a clsact
    00 03 01 00               #   ETH_P_ALL in network order, priority 1
    0d 00 01 00  6d 61 74 63  68 61 6c 6c  00 00 00 00  # TCA_KIND "matchall"
    3c 00 02 80               # TCA_OPTIONS, nested, 60 bytes
    38 00 02 80               #   TCA_MATCHALL_ACT, nested, 56 bytes
    34 00 01 80               #     action 1, nested, 52 bytes
    0b 00 01 00  6d 69 72 72  65 64 00 00  # TCA_ACT_KIND "mirred"
    24 00 02 80               #       TCA_ACT_OPTIONS, nested, 36 bytes
    20 00 02 00               #         TCA_MIRRED_PARMS, 32 bytes
    00 00 00 00  00 00 00 00  04 00 00 00  # TC_ACT_STOLEN
    00 00 00 00  00 00 00 00
    01 00 00 00  09 00 00 00  #           TCA_EGRESS_REDIR to 9
  )");
}

TEST(EncodeNewFilterTest, AU32ThatCopies) {
  const NewFilter filter = {.ifindex = 3,
                            .hook = FilterHook::kEgress,
                            .priority = 0xabcd,
                            .classifier = Classifier::kU32,
                            .mirred = {.action = MirredAction::kMirrorEgress, .ifindex = 9}};
  ExpectMessage(EncodeNewFilter(filter), "RTM_NEWTFILTER u32 ifindex 3 egress", R"(
    8c 00 00 00  2c 00 05 06  # 140 bytes, RTM_NEWTFILTER, NLM_F_REQUEST|NLM_F_ACK|NLM_F_EXCL|NLM_F_CREATE
    00 00 00 00  00 00 00 00
    00 00 00 00  03 00 00 00  # tcmsg: AF_UNSPEC, tcm_ifindex 3
    00 00 00 00  f3 ff ff ff  #   ffff:fff3, the egress of a clsact
    00 03 cd ab               #   ETH_P_ALL in network order, the priority
    08 00 01 00  75 33 32 00  # TCA_KIND "u32"
    60 00 02 80               # TCA_OPTIONS, nested, 96 bytes
    24 00 05 00               #   TCA_U32_SEL, 36 bytes
    01 00 01 00  00 00 00 00  00 00 00 00  00 00 00 00  # TC_U32_TERMINAL, one key
    00 00 00 00  00 00 00 00  00 00 00 00  00 00 00 00  #   of value 0 under mask 0
    38 00 07 80               #   TCA_U32_ACT, nested, 56 bytes
    34 00 01 80               #     action 1, nested, 52 bytes
    0b 00 01 00  6d 69 72 72  65 64 00 00  # TCA_ACT_KIND "mirred"
    24 00 02 80               #       TCA_ACT_OPTIONS, nested, 36 bytes
    20 00 02 00               #         TCA_MIRRED_PARMS, 32 bytes
    00 00 00 00  00 00 00 00  03 00 00 00  # TC_ACT_PIPE
    00 00 00 00  00 00 00 00
    02 00 00 00  09 00 00 00  #           TCA_EGRESS_MIRROR to 9
  )");
}

TEST(EncodeDeleteFiltersTest, OfAPriority) {
  ExpectMessage(EncodeDeleteFilters(3, FilterHook::kIngress, 2), "RTM_DELTFILTER ifindex 3 ingress", R"(
    24 00 00 00  2d 00 05 00  # 36 bytes, RTM_DELTFILTER, NLM_F_REQUEST|NLM_F_ACK
    00 00 00 00  00 00 00 00
    00 00 00 00  03 00 00 00  # tcmsg: AF_UNSPEC, tcm_ifindex 3
    00 00 00 00  f2 ff ff ff  00 03 02 00  # ffff:fff2, ETH_P_ALL, priority 2
  )");
}

TEST(EncodeDumpFiltersTest, OfOneLink) {
  ExpectMessage(EncodeDumpFilters(3, FilterHook::kEgress), "RTM_GETTFILTER dump ifindex 3 egress", R"(
    24 00 00 00  2e 00 01 03  # 36 bytes, RTM_GETTFILTER, NLM_F_REQUEST|NLM_F_DUMP
    00 00 00 00  00 00 00 00
    00 00 00 00  03 00 00 00  # tcmsg: AF_UNSPEC, tcm_ifindex 3
    00 00 00 00  f3 ff ff ff  00 00 00 00  # ffff:fff3
  )");
}

TEST(EncodeFilterTest, RefusesIndexesAndPrioritiesThatAreNone) {
  EXPECT_THAT(EncodeNewFilter({.ifindex = 0, .mirred = {.ifindex = 9}}).error, Eq(EINVAL));
  EXPECT_THAT(EncodeNewFilter({.ifindex = 3, .mirred = {.ifindex = 0}}).error, Eq(EINVAL));
  EXPECT_THAT(EncodeNewFilter({.ifindex = 3, .priority = 0, .mirred = {.ifindex = 9}}).error, Eq(EINVAL));
  EXPECT_THAT(EncodeDeleteFilters(3, FilterHook::kIngress, 0).error, Eq(EINVAL));
  EXPECT_THAT(EncodeDeleteFilters(0, FilterHook::kIngress, 1).error, Eq(EINVAL));
  EXPECT_THAT(EncodeDumpFilters(-1, FilterHook::kIngress).error, Eq(EINVAL));
}

constexpr std::string_view kU32Reply = R"(
    00 00 00 00  03 00 00 00  # tcmsg: AF_UNSPEC, tcm_ifindex 3
    00 08 00 80  f2 ff ff ff  00 03 01 00  #   800::800, ffff:fff2, ETH_P_ALL, priority 1
    08 00 01 00  75 33 32 00  # TCA_KIND "u32"
    08 00 0b 00  00 00 00 00  # TCA_CHAIN, skipped
    48 00 02 00               # TCA_OPTIONS, 72 bytes
    08 00 02 00  00 00 00 80  #   TCA_U32_HASH, skipped
    3c 00 07 00               #   TCA_U32_ACT, 60 bytes
    38 00 01 00               #     action 1, 56 bytes
    0b 00 01 00  6d 69 72 72  65 64 00 00  # TCA_ACT_KIND "mirred"
    28 00 02 00               #       TCA_ACT_OPTIONS, 40 bytes
    20 00 02 00               #         TCA_MIRRED_PARMS, 32 bytes
    01 00 00 00  00 00 00 00  04 00 00 00  01 00 00 00  01 00 00 00
    01 00 00 00  09 00 00 00  #           TCA_EGRESS_REDIR to 9
    04 00 01 00               #         TCA_MIRRED_TM, skipped
)";

TEST(DecodeFilterTest, ReadsAU32AndAMatchall) {
  KernelResult<Filter> u32 = DecodeFilter(FromHex(kU32Reply));
  ASSERT_TRUE(u32.ok()) << u32.error().ToString();
  EXPECT_TRUE(*u32 == (Filter{.ifindex = 3,
                              .priority = 1,
                              .kind = "u32",
                              .handle = 0x80000800,
                              .mirred = Mirred{.action = MirredAction::kRedirectEgress, .ifindex = 9}}));

  KernelResult<Filter> matchall = DecodeFilter(FromHex(R"(
    00 00 00 00  03 00 00 00  01 00 00 00  f2 ff ff ff  00 03 02 00  # handle 1, priority 2
    0d 00 01 00  6d 61 74 63  68 61 6c 6c  00 00 00 00  # TCA_KIND "matchall"
    3c 00 02 00               # TCA_OPTIONS, 60 bytes
    38 00 02 00               #   TCA_MATCHALL_ACT, 56 bytes
    34 00 01 00               #     action 1, 52 bytes
    0b 00 01 00  6d 69 72 72  65 64 00 00  # TCA_ACT_KIND "mirred"
    24 00 02 00               #       TCA_ACT_OPTIONS, 36 bytes
    20 00 02 00               #         TCA_MIRRED_PARMS, 32 bytes
    01 00 00 00  00 00 00 00  03 00 00 00  01 00 00 00  01 00 00 00
    04 00 00 00  00 00 00 00  #           TCA_INGRESS_MIRROR to a link that is gone
  )"));
  ASSERT_TRUE(matchall.ok()) << matchall.error().ToString();
  EXPECT_TRUE(*matchall == (Filter{.ifindex = 3,
                                   .priority = 2,
                                   .kind = "matchall",
                                   .handle = 1,
                                   .mirred = Mirred{.action = MirredAction::kMirrorIngress, .ifindex = 0}}));
}

TEST(DecodeFilterTest, ReadsWhatHasNoSuchAction) {
  const std::string header = "00 00 00 00  03 00 00 00  00 00 00 00  f2 ff ff ff  00 03 01 00 ";
  for (const std::string& hex : {
           // A priority.
           header + "08 00 01 00  75 33 32 00",
           // Another classifier, whose options are not looked into.
           header + "08 00 01 00  62 70 66 00  08 00 02 00  ff ff ff ff",
           // Another action, as little.
           header +
               "08 00 01 00  75 33 32 00  20 00 02 00  1c 00 07 00  18 00 01 00  09 00 01 00  67 61 63 74  00 00 00 00"
               "  08 00 02 00  ff ff ff ff",
       }) {
    KernelResult<Filter> filter = DecodeFilter(FromHex(hex));
    ASSERT_TRUE(filter.ok()) << hex << filter.error().ToString();
    EXPECT_THAT(filter->mirred.has_value(), Eq(false)) << hex;
    EXPECT_THAT(filter->priority, Eq(1)) << hex;
  }
}

TEST(DecodeFilterTest, RefusesEveryTruncationWithinAnAttribute) {
  std::vector<std::byte> reply = FromHex(kU32Reply);
  // The sizes that end with an attribute, from the kind on.
  const std::set<size_t> whole = {28, 36, reply.size()};
  for (size_t size = 0; size <= reply.size(); ++size) {
    KernelResult<Filter> filter = DecodeFilter(std::span(reply).first(size));
    EXPECT_THAT(filter.ok(), Eq(whole.count(size) == 1)) << size;
    EXPECT_TRUE(filter.ok() || filter.error().code == EBADMSG) << size;
  }
}

TEST(DecodeFilterTest, RefusesWrongLengthsAndMissingParts) {
  const std::string header = "00 00 00 00  03 00 00 00  00 00 00 00  f2 ff ff ff  00 03 01 00 ";
  const std::string kind = "08 00 01 00  75 33 32 00 ";
  const std::string mirred = "0b 00 01 00  6d 69 72 72  65 64 00 00 ";
  for (const std::string& hex : {
           header,                                                                     // No kind.
           header + "08 00 01 00  75 33 32 32",                                        // One without its NUL.
           "00 00 00 00  ff ff ff ff  00 00 00 00  f2 ff ff ff  00 03 01 00 " + kind,  // A negative ifindex.
           header + kind + "08 00 02 00  ff 00 07 00",                                 // Longer than its nest.
           header + kind + "0c 00 02 00  08 00 07 00  ff 00 01 00",                    // The action, longer than its.
           header + kind + "18 00 02 00  14 00 07 00  10 00 01 00 " + mirred,          // No parameters.
           header + kind + "20 00 02 00  1c 00 07 00  18 00 01 00 " + mirred +
               "08 00 02 00  04 00 02 00",  // Empty ones.
           // A negative link.
           header + kind + "3c 00 02 00  38 00 07 00  34 00 01 00 " + mirred +
               "24 00 02 00  20 00 02 00  01 00 00 00  00 00 00 00  04 00 00 00  01 00 00 00  01 00 00 00"
               "  01 00 00 00  ff ff ff ff",
       }) {
    KernelResult<Filter> filter = DecodeFilter(FromHex(hex));
    ASSERT_FALSE(filter.ok()) << hex;
    EXPECT_THAT(filter.error().code, Eq(EBADMSG)) << hex;
    EXPECT_THAT(filter.error().operation, StartsWith("RTM_NEWTFILTER reply: ")) << hex;
  }
}

}  // namespace
}  // namespace netprov::netlink
