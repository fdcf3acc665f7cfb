#include "client/cli/rate_text.h"

#include <string>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace netprov::cli {
namespace {

using ::testing::HasSubstr;

TEST(RateTextTest, RatesAreInPowersOfTen) {
  for (const auto& [text, rate] :
       {std::pair("8000", uint64_t{8000}), std::pair("9600bit", uint64_t{9600}),
        std::pair("500kbit", uint64_t{500'000}), std::pair("10Mbit", uint64_t{10'000'000}),
        std::pair("2.5gbit", uint64_t{2'500'000'000}), std::pair("1tbit", uint64_t{1'000'000'000'000})}) {
    const auto parsed = ParseRate(text);
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(*parsed, rate) << text;
  }
}

TEST(RateTextTest, SizesAreInPowersOfTwo) {
  for (const auto& [text, size] : {std::pair("1514", 1514u), std::pair("1514b", 1514u), std::pair("32k", 32768u),
                                   std::pair("32KB", 32768u), std::pair("1.5m", 1572864u), std::pair("1g", 1u << 30)}) {
    const auto parsed = ParseSize(text);
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(*parsed, size) << text;
  }
}

TEST(RateTextTest, WhatIsNoneIsSaid) {
  for (const std::string text :
       {"", "fast", "mbit", "0", "-1", "+1", "1.2.3mbit", "10 mbit", "10mbps", "10e6", "1e400"}) {
    EXPECT_THAT(std::string(ParseRate(text).status().message()), HasSubstr("such as 500kbit")) << text;
  }
  for (const std::string text : {"", "k", "0", "32kbit", "4g", "99999999999999999999"}) {
    EXPECT_THAT(std::string(ParseSize(text).status().message()), HasSubstr("such as 4000, 32k")) << text;
  }
}

TEST(RateTextTest, ALimitIsPrintedInTheGreatestUnitThatIsWhole) {
  v1::RateLimit limit;
  limit.set_rate(10'000'000);
  limit.set_burst(32768);
  limit.mutable_latency()->set_nanos(50'000'000);
  EXPECT_EQ(FormatLimit(limit), "10mbit burst 32768 latency 50ms");
  limit.set_rate(2'500'000'000);
  EXPECT_THAT(FormatLimit(limit), HasSubstr("2500mbit "));
  limit.set_rate(8001);
  EXPECT_THAT(FormatLimit(limit), HasSubstr("8001bit "));
}

}  // namespace
}  // namespace netprov::cli
