#include "server/netlink/ip_address.h"

#include <optional>
#include <string_view>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/netlink/scripted_transport.h"

namespace netprov::netlink {
namespace {

using ::testing::Eq;

TEST(IpAddressTest, ReadsAndWritesBothFamilies) {
  std::optional<IpAddress> v4 = IpAddress::Parse("192.0.2.1");
  ASSERT_TRUE(v4.has_value());
  EXPECT_THAT(v4->family(), Eq(IpFamily::kIpv4));
  EXPECT_THAT(v4->max_prefix_length(), Eq(32));
  EXPECT_THAT(ToHex(v4->bytes()), Eq("c0 00 02 01\n"));
  EXPECT_THAT(v4->ToString(), Eq("192.0.2.1"));

  std::optional<IpAddress> v6 = IpAddress::Parse("2001:DB8:0:0::1");
  ASSERT_TRUE(v6.has_value());
  EXPECT_THAT(v6->family(), Eq(IpFamily::kIpv6));
  EXPECT_THAT(v6->max_prefix_length(), Eq(128));
  EXPECT_THAT(ToHex(v6->bytes()), Eq("20 01 0d b8\n00 00 00 00\n00 00 00 00\n00 00 00 01\n"));
  EXPECT_THAT(v6->ToString(), Eq("2001:db8::1"));
  EXPECT_LT(*v4, *v6);
  EXPECT_THAT((IpPrefix{*v6, 64}).ToString(), Eq("2001:db8::1/64"));
  EXPECT_THAT(IpAddress().ToString(), Eq("0.0.0.0"));
}

TEST(IpAddressTest, RefusesOtherText) {
  for (std::string_view text : {"", "1", "1.2.3", "1.2.3.4.5", "256.0.0.1", "1.2.3.4 ", " 1.2.3.4", "1.2.3.4/24",
                                "0x1.2.3.4", ":", ":::", "1::2::3", "12345::", "fe80::1%eth0", "g::"}) {
    EXPECT_FALSE(IpAddress::Parse(text).has_value()) << text;
  }
  EXPECT_FALSE(IpAddress::Parse(std::string_view("1.2.3.4\0", 8)).has_value());
}

TEST(IpAddressTest, FromBytesTakesFourOrSixteen) {
  for (size_t size = 0; size <= 20; ++size) {
    std::vector<std::byte> octets(size, std::byte{1});
    std::optional<IpAddress> address = IpAddress::FromBytes(octets);
    EXPECT_THAT(address.has_value(), Eq(size == 4 || size == 16)) << size;
    if (address) {
      EXPECT_THAT(ToHex(address->bytes()), Eq(ToHex(octets)));
    }
  }
}

}  // namespace
}  // namespace netprov::netlink
