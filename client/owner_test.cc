#include "client/owner.h"

#include <string>

#include "gtest/gtest.h"

namespace netprov::client {
namespace {

TEST(CheckOwnerTest, NamesAsTheApiHasThem) {
  for (const std::string& owner : {std::string("a"), std::string("ci/job-17@host:2.x_Y"), std::string(128, 'a')}) {
    EXPECT_TRUE(CheckOwner(owner).ok()) << owner;
  }
}

TEST(CheckOwnerTest, EverythingElseIsRefused) {
  for (const std::string& owner : {std::string(), std::string(129, 'a'), std::string("a b"), std::string("a\n"),
                                   std::string("a\0b", 3), std::string("\xc3\xa4"), std::string("a,b")}) {
    EXPECT_TRUE(absl::IsInvalidArgument(CheckOwner(owner))) << owner;
  }
}

}  // namespace
}  // namespace netprov::client
