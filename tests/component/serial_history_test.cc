#include "tests/component/serial_history.h"

#include "gtest/gtest.h"

namespace netprov::testing {
namespace {

TEST(SerialHistoryTest, TellsSerialFromNot) {
  using Kind = Event::Kind;
  EXPECT_TRUE(IsSerial({{Kind::kCreated, "u", 0, 1}, {Kind::kFoundExisting, "u", 2, 3}, {Kind::kDeleted, "", 4, 5}}));
  // At the same time, the order is free.
  EXPECT_TRUE(IsSerial({{Kind::kDeleted, "", 0, 9}, {Kind::kCreated, "u", 1, 8}}));
  // Two of the same name.
  EXPECT_FALSE(IsSerial({{Kind::kCreated, "u", 0, 1}, {Kind::kCreated, "v", 2, 3}}));
  EXPECT_FALSE(IsSerial({{Kind::kCreated, "u", 0, 9}, {Kind::kCreated, "v", 0, 9}}));
  // Gone before it was made; lost; another one.
  EXPECT_FALSE(IsSerial({{Kind::kDeleted, "", 0, 1}, {Kind::kCreated, "u", 2, 3}}));
  EXPECT_FALSE(IsSerial({{Kind::kCreated, "u", 0, 1}, {Kind::kFoundNothing, "", 2, 3}}));
  EXPECT_FALSE(IsSerial({{Kind::kCreated, "u", 0, 1}, {Kind::kFoundExisting, "v", 2, 3}}));
}

}  // namespace
}  // namespace netprov::testing
