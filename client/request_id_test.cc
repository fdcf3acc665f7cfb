#include "client/request_id.h"

#include <regex>
#include <set>
#include <string>

#include "gtest/gtest.h"

namespace netprov::client {
namespace {

TEST(NewRequestIdTest, IsAVersion4UuidAndNeverTheSame) {
  const std::regex uuid("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}");
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) {
    const std::string id = NewRequestId();
    EXPECT_TRUE(std::regex_match(id, uuid)) << id;
    EXPECT_TRUE(seen.insert(id).second) << id;
  }
}

}  // namespace
}  // namespace netprov::client
