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

TEST(IpPrefixTest, ReadsAnAddressWithALengthOrWithout) {
  struct Case {
    std::string_view text;
    std::string_view read;
  };
  for (const Case& test :
       {Case{"10.0.0.2/24", "10.0.0.2/24"}, Case{"10.0.0.2", "10.0.0.2/32"}, Case{"0.0.0.0/0", "0.0.0.0/0"},
        Case{"2001:DB8::2/64", "2001:db8::2/64"}, Case{"::/0", "::/0"}, Case{"::1", "::1/128"}}) {
    const std::optional<IpPrefix> prefix = IpPrefix::Parse(test.text);
    ASSERT_TRUE(prefix.has_value()) << test.text;
    EXPECT_THAT(prefix->ToString(), Eq(test.read));
  }
  for (std::string_view text : {"", "/24", "10.0.0.2/", "10.0.0.2/33", "10.0.0.2/024", "10.0.0.2/+8", "10.0.0.2/-1",
                                "10.0.0.2/8 ", "10.0.0.2/8/8", "10.0.0/8", "::1/129", "::1/1000", "x/8"}) {
    EXPECT_FALSE(IpPrefix::Parse(text).has_value()) << text;
  }
}

TEST(IpPrefixTest, NetworkAndWhatIsInIt) {
  EXPECT_THAT(IpPrefix::Parse("10.1.255.2/15")->Network().ToString(), Eq("10.0.0.0/15"));
  EXPECT_THAT(IpPrefix::Parse("10.1.255.2/32")->Network().ToString(), Eq("10.1.255.2/32"));
  EXPECT_THAT(IpPrefix::Parse("10.1.255.2/0")->Network().ToString(), Eq("0.0.0.0/0"));
  EXPECT_THAT(IpPrefix::Parse("2001:db8:ffff::1/33")->Network().ToString(), Eq("2001:db8:8000::/33"));
  const IpPrefix prefix = *IpPrefix::Parse("10.0.0.2/24");
  EXPECT_TRUE(prefix.Contains(*IpAddress::Parse("10.0.0.255")));
  EXPECT_FALSE(prefix.Contains(*IpAddress::Parse("10.0.1.0")));
  EXPECT_FALSE(IpPrefix::Parse("0.0.0.0/0")->Contains(*IpAddress::Parse("::")));
  EXPECT_THAT(IpAddress::Any(IpFamily::kIpv6).ToString(), Eq("::"));
}

}  // namespace
}  // namespace netprov::netlink
