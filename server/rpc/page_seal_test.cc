#include "server/rpc/page_seal.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace netprov::rpc {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(PageSealTest, OnlyWhoGotATokenCanUseIt) {
  const PageSeal seal;
  for (const std::string& token : {std::string(), std::string("1:ListVeths:secret"), std::string(1000, 'x')}) {
    const std::string sealed = seal.Seal(token, "uid:1000");
    EXPECT_EQ(seal.Open(sealed, "uid:1000"), token);
    EXPECT_EQ(seal.Open(sealed, "uid:1001"), std::nullopt);
    EXPECT_THAT(sealed, Not(HasSubstr("secret")));
  }
}

TEST(PageSealTest, NoTwoAreAlikeAndNoneCanBeMade) {
  const PageSeal seal;
  const std::string sealed = seal.Seal("token", "a");
  EXPECT_NE(seal.Seal("token", "a"), sealed);
  // The last character has bits that do not count.
  for (size_t i = 0; i + 1 < sealed.size(); ++i) {
    std::string bent = sealed;
    bent[i] = bent[i] == 'A' ? 'B' : 'A';
    EXPECT_EQ(seal.Open(bent, "a"), std::nullopt) << i;
  }
  for (const char* text : {"", "token", "!!!", "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE"}) {
    EXPECT_EQ(seal.Open(text, "a"), std::nullopt) << text;
  }
  EXPECT_EQ(PageSeal().Open(sealed, "a"), std::nullopt) << "of another process";
}

}  // namespace
}  // namespace netprov::rpc
