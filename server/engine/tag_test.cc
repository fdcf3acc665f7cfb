#include "server/engine/tag.h"

#include <optional>
#include <string>

#include "gtest/gtest.h"

namespace netprov::engine {
namespace {

TEST(TagTest, IsReadAsItWasWritten) {
  const std::string registry = NewUid();
  const std::string uid = NewUid();
  const std::string alias = TagOf(registry, uid, "veths/v:1");
  EXPECT_EQ(alias, "netprov:" + registry + ":" + uid + ":veths/v:1");
  const std::optional<Tag> tag = ParseTag(alias);
  ASSERT_TRUE(tag.has_value());
  EXPECT_EQ(tag->registry, registry);
  EXPECT_EQ(tag->uid, uid);
  EXPECT_EQ(tag->object, "veths/v:1");
}

TEST(TagTest, ALongNameIsCutAndTheIdsAreNot) {
  const std::string registry = NewUid();
  const std::string uid = NewUid();
  const std::string alias = TagOf(registry, uid, "namespaces/" + std::string(255, 'n'));
  EXPECT_EQ(alias.size(), 254u);
  ASSERT_TRUE(ParseTag(alias).has_value());
  EXPECT_EQ(ParseTag(alias)->uid, uid);
}

TEST(TagTest, WhatOthersWriteIsNoTag) {
  for (const char* alias : {"", "uplink", "netprov", "netprov:", "netprov:a:b:c", "netprov:::", "Netprov:x"}) {
    EXPECT_FALSE(ParseTag(alias).has_value()) << alias;
  }
}

TEST(TagTest, AUsersTextFollowsIt) {
  const std::string tag =
      TagOf("11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222", "veths/v");
  EXPECT_EQ(JoinAlias(tag, ""), tag);
  EXPECT_EQ(JoinAlias(tag, "to the lab"), tag + " to the lab");
  for (const char* text : {"", "uplink", "to the lab", " a: b "}) {
    EXPECT_EQ(SplitAlias(JoinAlias(tag, text)), std::pair(tag, std::string(text)));
  }
  for (const char* other : {"", "of somebody", "netprov:a b"}) {
    EXPECT_EQ(SplitAlias(other), std::pair(std::string(other), std::string()));
  }
}

}  // namespace
}  // namespace netprov::engine
