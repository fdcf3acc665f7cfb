#include "server/netlink/nsid.h"

#include <cerrno>

#include "gtest/gtest.h"
#include "server/netlink/scripted_transport.h"

namespace netprov::netlink {
namespace {

TEST(NsidTest, AsksForANumberOfTheKernelsChoice) {
  EXPECT_EQ(ToHex(EncodeNewNsid(7).message), ToHex(FromHex(R"(
    24 00 00 00  58 00 05 00  # 36 bytes, RTM_NEWNSID, NLM_F_REQUEST|NLM_F_ACK
    00 00 00 00  00 00 00 00  # sequence and port
    00 00 00 00               # rtgenmsg
    08 00 01 00  ff ff ff ff  # NETNSA_NSID -1
    08 00 03 00  07 00 00 00  # NETNSA_FD 7
  )")));
}

TEST(NsidTest, AsksForTheNumber) {
  EXPECT_EQ(ToHex(EncodeGetNsid(7).message), ToHex(FromHex(R"(
    1c 00 00 00  5a 00 05 00  # 28 bytes, RTM_GETNSID, NLM_F_REQUEST|NLM_F_ACK
    00 00 00 00  00 00 00 00  # sequence and port
    00 00 00 00               # rtgenmsg
    08 00 03 00  07 00 00 00  # NETNSA_FD 7
  )")));
}

TEST(NsidTest, ReadsTheNumber) {
  EXPECT_EQ(*DecodeNsid(FromHex("00 00 00 00  08 00 01 00  05 00 00 00")), 5);
  EXPECT_EQ(*DecodeNsid(FromHex("00 00 00 00  08 00 01 00  ff ff ff ff")), -1);
}

TEST(NsidTest, RefusesWhatIsMalformed) {
  for (const char* payload :
       {"", "00", "00 00 00 00", "00 00 00 00  06 00 01 00  05 00", "00 00 00 00  08 00 02 00  05 00 00 00"}) {
    KernelResult<int> nsid = DecodeNsid(FromHex(payload));
    ASSERT_FALSE(nsid.ok()) << payload;
    EXPECT_EQ(nsid.error().code, EBADMSG) << payload;
  }
}

}  // namespace
}  // namespace netprov::netlink
