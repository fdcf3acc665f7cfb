#include "server/api/resource_name.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace netprov::api {
namespace {

using ::testing::HasSubstr;

TEST(NamespaceIdTest, FollowsTheDocumentedRule) {
  for (const char* id : {"a", "0", "_", "blue", "A.b_c-D", "a..b", "..."}) {
    EXPECT_EQ(CheckNamespaceId(id).ok(), id[0] != '.') << id;
  }
  EXPECT_TRUE(CheckNamespaceId(std::string(255, 'a')).ok());
  EXPECT_FALSE(CheckNamespaceId(std::string(256, 'a')).ok());
  for (const std::string& id :
       {std::string(), std::string("."), std::string(".."), std::string("-a"), std::string("a/b"), std::string("a b"),
        std::string("a\tb"), std::string("a\0b", 3), std::string("b\xc3\xbcro"), std::string("a%20"),
        std::string("../../etc/passwd"), std::string("\n")}) {
    EXPECT_FALSE(CheckNamespaceId(id).ok()) << id;
  }
}

TEST(NamespaceIdTest, SaysWhatIsWrongAndWhatIsAllowed) {
  const std::string message = CheckNamespaceId(std::string(300, 'x')).error().message;
  EXPECT_THAT(message, HasSubstr("1 to 255 characters of A-Z a-z 0-9 . _ -"));
  EXPECT_THAT(message, HasSubstr("300 characters long"));
  EXPECT_THAT(CheckNamespaceId("a\nb").error().message, HasSubstr("\"a\\x0ab\""));
}

TEST(VethIdTest, IsShorter) {
  EXPECT_TRUE(CheckVethId(std::string(63, 'v')).ok());
  EXPECT_FALSE(CheckVethId(std::string(64, 'v')).ok());
  EXPECT_FALSE(CheckVethId("").ok());
  EXPECT_FALSE(CheckVethId("a/b").ok());
}

TEST(NamespaceNameTest, ParsesWhatItFormats) {
  EXPECT_EQ(FormatNamespaceName("blue"), "namespaces/blue");
  EXPECT_EQ(FormatNamespaceName("my net"), "namespaces/my%20net");
  EXPECT_EQ(FormatNamespaceName("50%"), "namespaces/50%25");
  EXPECT_EQ(FormatNamespaceName("\xff"), "namespaces/%FF");
  for (int byte = 1; byte < 256; ++byte) {
    if (byte == '/') continue;
    const std::string id = absl::StrCat("x", std::string(1, static_cast<char>(byte)));
    auto parsed = ParseNamespaceName(FormatNamespaceName(id));
    ASSERT_TRUE(parsed.ok()) << byte << ": " << parsed.error().message;
    EXPECT_EQ(*parsed, id);
  }
  EXPECT_EQ(*ParseNamespaceName("namespaces/.hidden"), ".hidden");
  EXPECT_EQ(*ParseNamespaceName("namespaces/-x"), "-x");
  EXPECT_EQ(*ParseNamespaceName(FormatNamespaceName(std::string(255, ' '))), std::string(255, ' '));
}

TEST(NamespaceNameTest, NeverLeadsOutOfTheDirectory) {
  for (const char* name : {"",
                           "blue",
                           "namespaces",
                           "namespaces/",
                           "Namespaces/blue",
                           "/namespaces/blue",
                           "namespaces//blue",
                           "namespaces/a/b",
                           "namespaces/.",
                           "namespaces/..",
                           "namespaces/%2E%2E",
                           "namespaces/%2e%2e",
                           "namespaces/a%2Fb",
                           "namespaces/a%2fb",
                           "namespaces/..%2F..%2Fetc",
                           "namespaces/%00",
                           "namespaces/a%00b",
                           "namespaces/%",
                           "namespaces/%2",
                           "namespaces/%zz",
                           "namespaces/%252F/",
                           "namespaces/a b",
                           "namespaces/b\xc3\xbcro",
                           "veths/blue",
                           "namespaces/%41"}) {
    EXPECT_FALSE(ParseNamespaceName(name).ok()) << name;
  }
  EXPECT_FALSE(ParseNamespaceName(absl::string_view("namespaces/a\0b", 14)).ok());
  EXPECT_FALSE(ParseNamespaceName(FormatNamespaceName(std::string(256, 'a'))).ok());
  // Decoded once: this is a file whose name holds a percent sign.
  EXPECT_EQ(*ParseNamespaceName("namespaces/%252F"), "%2F");
}

TEST(VethNameTest, ParsesWhatItFormats) {
  EXPECT_EQ(FormatVethName("v1"), "veths/v1");
  EXPECT_EQ(*ParseVethName("veths/v1"), "v1");
  for (const char* name : {"", "v1", "veths/", "veths/.", "veths/..", "veths/a/b", "veths/a%20b", "namespaces/v1"}) {
    EXPECT_FALSE(ParseVethName(name).ok()) << name;
  }
  EXPECT_THAT(ParseVethName("pairs/x").error().message, HasSubstr("veths/{veth}"));
}

}  // namespace
}  // namespace netprov::api
