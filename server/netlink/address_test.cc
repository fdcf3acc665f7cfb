#include "server/netlink/address.h"

#include <linux/if_addr.h>

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

IpAddress Ip(std::string_view text) { return *IpAddress::Parse(text); }

TEST(EncodeNewAddressTest, Ipv4WithPeerScopeAndProtocol) {
  Address address = {.ifindex = 3,
                     .local = {Ip("192.0.2.1"), 32},
                     .peer = Ip("192.0.2.2"),
                     .scope = 253,
                     .flags = IFA_F_NOPREFIXROUTE | IFA_F_NODAD,
                     .protocol = 110};
  ExpectMessage(EncodeNewAddress(address), "RTM_NEWADDR 192.0.2.1/32 ifindex 3", R"(
    38 00 00 00  14 00 05 06  # 56 bytes, RTM_NEWADDR, NLM_F_REQUEST|NLM_F_ACK|NLM_F_EXCL|NLM_F_CREATE
    00 00 00 00  00 00 00 00  # sequence, port
    02 20 02 fd               # ifaddrmsg: AF_INET, /32, the low flags, RT_SCOPE_LINK
    03 00 00 00               #   ifa_index 3
    08 00 02 00  c0 00 02 01  # IFA_LOCAL
    08 00 01 00  c0 00 02 02  # IFA_ADDRESS: the peer
    08 00 08 00  02 02 00 00  # IFA_FLAGS
    05 00 0b 00  6e 00 00 00  # IFA_PROTO 110
  )");
}

TEST(EncodeNewAddressTest, Ipv6WithoutDuplicateAddressDetection) {
  Address address = {.ifindex = 3, .local = {Ip("2001:db8::1"), 64}, .flags = IFA_F_NODAD};
  ExpectMessage(EncodeNewAddress(address), "RTM_NEWADDR 2001:db8::1/64 ifindex 3", R"(
    40 00 00 00  14 00 05 06  # 64 bytes, RTM_NEWADDR, NLM_F_REQUEST|NLM_F_ACK|NLM_F_EXCL|NLM_F_CREATE
    00 00 00 00  00 00 00 00
    0a 40 02 00  03 00 00 00  # ifaddrmsg: AF_INET6, /64, IFA_F_NODAD, RT_SCOPE_UNIVERSE, ifa_index 3
    14 00 02 00  20 01 0d b8  00 00 00 00  00 00 00 00  00 00 00 01  # IFA_LOCAL
    14 00 01 00  20 01 0d b8  00 00 00 00  00 00 00 00  00 00 00 01  # IFA_ADDRESS: itself
  )");
}

TEST(EncodeDeleteAddressTest, NamesAddressAndLink) {
  ExpectMessage(EncodeDeleteAddress({.ifindex = 3, .local = {Ip("10.0.0.1"), 24}}), "RTM_DELADDR 10.0.0.1/24 ifindex 3",
                R"(
    28 00 00 00  15 00 05 00  # 40 bytes, RTM_DELADDR, NLM_F_REQUEST|NLM_F_ACK
    00 00 00 00  00 00 00 00
    02 18 00 00  03 00 00 00  # ifaddrmsg: AF_INET, /24, ifa_index 3
    08 00 02 00  0a 00 00 01  # IFA_LOCAL
    08 00 01 00  0a 00 00 01  # IFA_ADDRESS
  )");
}

TEST(EncodeDumpAddressesTest, OfAllOrOfOneFamilyAndLink) {
  ExpectMessage(EncodeDumpAddresses(), "RTM_GETADDR dump", R"(
    18 00 00 00  16 00 01 03  # 24 bytes, RTM_GETADDR, NLM_F_REQUEST|NLM_F_DUMP
    00 00 00 00  00 00 00 00
    00 00 00 00  00 00 00 00  # ifaddrmsg: AF_UNSPEC
  )");
  ExpectMessage(EncodeDumpAddresses(IpFamily::kIpv6, 3), "RTM_GETADDR dump", R"(
    18 00 00 00  16 00 01 03  # 24 bytes, RTM_GETADDR, NLM_F_REQUEST|NLM_F_DUMP
    00 00 00 00  00 00 00 00
    0a 00 00 00  03 00 00 00  # ifaddrmsg: AF_INET6, ifa_index 3
  )");
  EXPECT_THAT(EncodeDumpAddresses(std::nullopt, 0).error, Eq(EINVAL));
}

TEST(EncodeAddressTest, RefusesContradictions) {
  for (const Address& address : {
           Address{.ifindex = 0, .local = {Ip("10.0.0.1"), 24}},
           Address{.ifindex = -1, .local = {Ip("10.0.0.1"), 24}},
           Address{.ifindex = 1, .local = {Ip("10.0.0.1"), 33}},
           Address{.ifindex = 1, .local = {Ip("::1"), 129}},
           Address{.ifindex = 1, .local = {Ip("10.0.0.1"), 24}, .peer = Ip("::1")},
       }) {
    EXPECT_THAT(EncodeNewAddress(address).error, Eq(EINVAL)) << address.local.ToString();
    EXPECT_THAT(EncodeDeleteAddress(address).error, Eq(EINVAL)) << address.local.ToString();
  }
}

constexpr std::string_view kPeerReply = R"(
    02 18 80 fd  03 00 00 00  # ifaddrmsg: AF_INET, /24, IFA_F_PERMANENT, RT_SCOPE_LINK, ifa_index 3
    08 00 01 00  c0 00 02 02  # IFA_ADDRESS
    08 00 02 00  c0 00 02 01  # IFA_LOCAL
    0a 00 03 00  76 65 74 68  30 00 00 00  # IFA_LABEL, skipped
    08 00 08 00  80 02 00 00  # IFA_FLAGS: IFA_F_NOPREFIXROUTE|IFA_F_PERMANENT
    05 00 0b 00  6e 00 00 00  # IFA_PROTO 110
)";

TEST(DecodeAddressTest, ReadsIpv4WithPeer) {
  KernelResult<Address> address = DecodeAddress(FromHex(kPeerReply));
  ASSERT_TRUE(address.ok()) << address.error().ToString();
  EXPECT_THAT(*address, Eq(Address{.ifindex = 3,
                                   .local = {Ip("192.0.2.1"), 24},
                                   .peer = Ip("192.0.2.2"),
                                   .scope = 253,
                                   .flags = 0x280,
                                   .protocol = 110}));
}

TEST(DecodeAddressTest, ReadsIpv6WithoutPeer) {
  KernelResult<Address> address = DecodeAddress(FromHex(R"(
    0a 40 82 00  03 00 00 00  # ifaddrmsg: AF_INET6, /64, IFA_F_PERMANENT|IFA_F_NODAD, ifa_index 3
    14 00 01 00  20 01 0d b8  00 00 00 00  00 00 00 00  00 00 00 01  # IFA_ADDRESS
  )"));
  ASSERT_TRUE(address.ok()) << address.error().ToString();
  EXPECT_THAT(*address, Eq(Address{.ifindex = 3, .local = {Ip("2001:db8::1"), 64}, .flags = 0x82}));
}

TEST(DecodeAddressTest, AnAddressRepeatedIsNoPeer) {
  KernelResult<Address> address = DecodeAddress(FromHex(R"(
    02 08 80 fe  01 00 00 00
    08 00 01 00  7f 00 00 01
    08 00 02 00  7f 00 00 01
  )"));
  ASSERT_TRUE(address.ok()) << address.error().ToString();
  EXPECT_THAT(address->peer, Eq(std::nullopt));
  EXPECT_THAT(address->scope, Eq(254));
}

TEST(DecodeAddressTest, RefusesEveryTruncationWithinAnAttribute) {
  // The sizes that end with an attribute, from the first address on, with or without its padding.
  const std::set<size_t> whole = {16, 24, 34, 35, 36, 44, 49, 50, 51};
  std::vector<std::byte> reply = FromHex(kPeerReply);
  for (size_t size = 0; size < reply.size(); ++size) {
    KernelResult<Address> address = DecodeAddress(std::span(reply).first(size));
    EXPECT_THAT(address.ok(), Eq(whole.count(size) == 1)) << size;
    EXPECT_TRUE(address.ok() || address.error().code == EBADMSG) << size;
  }
}

TEST(DecodeAddressTest, RefusesWrongLengthsAndMissingParts) {
  const std::string header = "02 18 80 00  03 00 00 00 ";
  const std::string local = "08 00 02 00  0a 00 00 01 ";
  for (const std::string& hex : {
           header,                                       // No address.
           "02 18 80 00  00 00 00 00 " + local,          // No ifindex.
           "02 18 80 00  ff ff ff ff " + local,          // One that is negative as an int.
           "02 21 80 00  03 00 00 00 " + local,          // /33.
           "0a 18 80 00  03 00 00 00 " + local,          // An IPv4 address for AF_INET6.
           header + local + "07 00 01 00  0a 00 00 00",  // An address of three octets.
           header + local + "06 00 08 00  00 00 00 00",  // Flags of two bytes.
           header + local + "08 00 0b 00  00 00 00 00",  // A protocol of four.
       }) {
    KernelResult<Address> address = DecodeAddress(FromHex(hex));
    ASSERT_FALSE(address.ok()) << hex;
    EXPECT_THAT(address.error().code, Eq(EBADMSG)) << hex;
    EXPECT_THAT(address.error().operation, StartsWith("RTM_NEWADDR reply: ")) << hex;
  }
  KernelResult<Address> other = DecodeAddress(FromHex("07 00 00 00  01 00 00 00"));
  ASSERT_FALSE(other.ok());
  EXPECT_THAT(other.error().code, Eq(EAFNOSUPPORT));
}

}  // namespace
}  // namespace netprov::netlink
