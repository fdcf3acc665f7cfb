#include "server/api/text.h"

#include <string>

#include "gtest/gtest.h"

namespace netprov::api {
namespace {

TEST(TextTest, KnowsUtf8) {
  EXPECT_TRUE(IsUtf8(""));
  EXPECT_TRUE(IsUtf8(absl::string_view("a\0b", 3)));
  EXPECT_TRUE(IsUtf8("\xc3\xbc \xe2\x82\xac \xf0\x9f\x98\x80 \xf4\x8f\xbf\xbf \xed\x9f\xbf \xee\x80\x80"));
  EXPECT_FALSE(IsUtf8("\xff"));
  EXPECT_FALSE(IsUtf8("a\x80"));
  EXPECT_FALSE(IsUtf8("\xc0\x80"));          // overlong
  EXPECT_FALSE(IsUtf8("\xc1\xbf"));          // overlong
  EXPECT_FALSE(IsUtf8("\xe0\x9f\xbf"));      // overlong
  EXPECT_FALSE(IsUtf8("\xf0\x8f\xbf\xbf"));  // overlong
  EXPECT_FALSE(IsUtf8("\xed\xa0\x80"));      // a surrogate
  EXPECT_FALSE(IsUtf8("\xf4\x90\x80\x80"));  // beyond U+10FFFF
  EXPECT_FALSE(IsUtf8("\xf5\x80\x80\x80"));
  EXPECT_FALSE(IsUtf8("\xe2\x82"));  // cut
  EXPECT_FALSE(IsUtf8("\xe2\x82z"));
}

TEST(TextTest, PrintsWhatIsPrintableAndEscapesTheRest) {
  EXPECT_EQ(Printable("a 'b' \"c\" \\", 100), "a 'b' \"c\" \\");
  EXPECT_EQ(Printable(absl::string_view("\0\n\x1b[31m\x7f\xff", 9), 100), "\\x00\\x0a\\x1b[31m\\x7f\\xff");
}

TEST(TextTest, CutsWithoutExceedingTheLimit) {
  EXPECT_EQ(Printable("abcdef", 6), "abcdef");
  EXPECT_EQ(Printable("abcdefg", 6), "abc...");
  EXPECT_EQ(Printable("abc", 3), "abc");
  EXPECT_EQ(Printable("abcd", 3), "...");
  // An escape sequence is left out whole.
  EXPECT_EQ(Printable("a\n\n", 6), "a...");
  EXPECT_EQ(Printable("a\n\n", 9), "a\\x0a\\x0a");
  EXPECT_EQ(Printable("a\n\nb", 9), "a\\x0a...");
}

TEST(TextTest, QuotesHostileValues) {
  EXPECT_EQ(Quote("plain"), "\"plain\"");
  EXPECT_EQ(Quote("a\"b\\c\n"), "\"a\\\"b\\\\c\\x0a\"");
  const std::string long_quote = Quote(std::string(100000, '\x01'));
  EXPECT_LE(long_quote.size(), 66u);
  EXPECT_EQ(long_quote.substr(long_quote.size() - 4), "...\"");
}

}  // namespace
}  // namespace netprov::api
