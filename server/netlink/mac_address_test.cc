#include "server/netlink/mac_address.h"

#include <optional>
#include <string_view>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace netprov::netlink {
namespace {

using ::testing::Eq;
using ::testing::Optional;

TEST(MacAddressTest, ReadsEitherCaseAndWritesLower) {
  std::optional<MacAddress> mac = MacAddress::Parse("02:Ab:cD:EF:01:9f");
  ASSERT_THAT(mac, Optional(MacAddress{{0x02, 0xab, 0xcd, 0xef, 0x01, 0x9f}}));
  EXPECT_THAT(mac->ToString(), Eq("02:ab:cd:ef:01:9f"));
  EXPECT_THAT(MacAddress().ToString(), Eq("00:00:00:00:00:00"));
}

TEST(MacAddressTest, RefusesEverythingElse) {
  for (std::string_view text :
       {"", "02", "02:00:00:00:00", "02:00:00:00:00:0", "02:00:00:00:00:001", "02:00:00:00:00:01:", "02-00-00-00-00-01",
        "020000000001", "0200.0000.0001", " 2:00:00:00:00:01", "+2:00:00:00:00:01", "0x:00:00:00:00:01",
        "0g:00:00:00:00:01", "02:00:00:00:00:01 ", "2:0:0:0:0:1", "02:00:00:00:00 01", "02::00:00:00:0001"}) {
    EXPECT_FALSE(MacAddress::Parse(text).has_value()) << text;
  }
  EXPECT_FALSE(MacAddress::Parse(std::string_view("02:00:00:00:00:0\0", 17)).has_value());
}

TEST(MacAddressTest, KnowsZeroAndGroupAddresses) {
  EXPECT_TRUE(MacAddress().IsZero());
  EXPECT_TRUE(MacAddress().IsUnicast());
  EXPECT_FALSE((MacAddress{{0, 0, 0, 0, 0, 1}}).IsZero());
  EXPECT_TRUE((MacAddress{{0xfe, 1, 1, 1, 1, 1}}).IsUnicast());
  EXPECT_FALSE((MacAddress{{0x01, 0, 0x5e, 0, 0, 1}}).IsUnicast());
  EXPECT_FALSE((MacAddress{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}).IsUnicast());
}

}  // namespace
}  // namespace netprov::netlink
