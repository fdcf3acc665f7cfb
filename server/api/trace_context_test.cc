#include "server/api/trace_context.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace netprov::api {
namespace {

constexpr char kTrace[] = "4bf92f3577b34da6a3ce929d0e0e4736";
constexpr char kSpan[] = "00f067aa0ba902b7";
const std::string kValid = absl::StrCat("00-", kTrace, "-", kSpan, "-01");

TEST(TraceContextTest, TakesTheIds) {
  const auto context = ParseTraceparent(kValid);
  ASSERT_TRUE(context.has_value());
  EXPECT_EQ(context->trace_id, kTrace);
  EXPECT_EQ(context->span_id, kSpan);
}

TEST(TraceContextTest, ALaterVersionMayGoOn) {
  const std::string later = absl::StrCat("cc-", kTrace, "-", kSpan, "-01");
  for (const char* rest : {"", "-", "-what-will-be"}) {
    const auto context = ParseTraceparent(later + rest);
    ASSERT_TRUE(context.has_value()) << rest;
    EXPECT_EQ(context->trace_id, kTrace);
  }
  EXPECT_FALSE(ParseTraceparent(later + ".what").has_value());
  EXPECT_FALSE(ParseTraceparent(kValid + "-more").has_value()) << "version 00 ends there";
}

TEST(TraceContextTest, IgnoresWhatIsNone) {
  EXPECT_FALSE(ParseTraceparent("ff" + kValid.substr(2)).has_value()) << "no version";
  EXPECT_FALSE(ParseTraceparent(absl::StrCat("00-", std::string(32, '0'), "-", kSpan, "-01")).has_value());
  EXPECT_FALSE(ParseTraceparent(absl::StrCat("00-", kTrace, "-", std::string(16, '0'), "-01")).has_value());
  // Cut anywhere, and with any character changed to what may not be there.
  for (size_t i = 0; i < kValid.size(); ++i) {
    EXPECT_FALSE(ParseTraceparent(kValid.substr(0, i)).has_value()) << i;
    for (char c : {'A', 'g', ' ', '\0', '\xff'}) {
      std::string changed = kValid;
      changed[i] = c;
      EXPECT_FALSE(ParseTraceparent(changed).has_value()) << changed;
    }
  }
}

}  // namespace
}  // namespace netprov::api
