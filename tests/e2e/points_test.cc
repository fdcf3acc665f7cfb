// What is asked of a test that reaches points: that it reaches them.
#include "tests/e2e/points.h"

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest-spi.h"
#include "gtest/gtest.h"

namespace netprov::testing {
namespace {

using ::testing::Contains;
using ::testing::Field;
using ::testing::SizeIs;

SystemCall Call(const std::string& name, const std::string& arguments) {
  return {.name = name, .line = absl::StrCat(name, "(", arguments, ") = 0"), .thread = ""};
}

std::vector<Point> Twenty() {
  std::vector<Point> points;
  for (int n = 1; n <= 20; ++n) points.push_back({.name = "unlink", .n = n, .what = absl::StrCat("unlink #", n)});
  return points;
}

// Reaches all but the last `missed` of twenty points.
void Reach(int missed, Share share) {
  ReachAll(
      Twenty, [missed](const Point& point) { return point.n <= 20 - missed; }, share);
}

TEST(ReachAllTest, OneThatIsNeverReachedIsAnError) {
  Reach(0, Share::kAll);
  EXPECT_NONFATAL_FAILURE(Reach(1, Share::kAll), "never reached: unlink #20");
}

TEST(ReachAllTest, OfAllSystemCallsAFewMayBeMissed) {
  Reach(2, Share::kMost);
  EXPECT_NONFATAL_FAILURE(Reach(3, Share::kMost), "never reached: unlink #18, unlink #19, unlink #20");
  Reach(20, Share::kAny);
}

TEST(ReachAllTest, ThoseOfTheRegistryAreNotCounted) {
  auto record = [] {
    std::vector<Point> points = Twenty();
    points.push_back({.name = "pwrite64", .n = 1, .what = "pwrite64 #1", .is_of_registry = true});
    return points;
  };
  ReachAll(
      record, [](const Point& point) { return point.name == "unlink"; }, Share::kAll);
}

TEST(ReachAllTest, NoPointAtAllIsAnError) {
  auto none = [] { return std::vector<Point>(); };
  auto reach = [](const Point&) { return true; };
  EXPECT_NONFATAL_FAILURE(ReachAll(none, reach, Share::kMost), "no point");
  ReachAll(none, reach, Share::kAny);
}

TEST(ReachAllTest, WhatWasThereOnceIsNotCounted) {
  bool is_first = true;
  auto record = [&is_first] {
    std::vector<Point> points = Twenty();
    if (std::exchange(is_first, false)) {
      for (int n = 1; n <= 30; ++n) points.push_back({.name = "bind", .n = n, .what = absl::StrCat("bind #", n)});
    }
    return points;
  };
  ReachAll(
      record, [](const Point& point) { return point.name == "unlink"; }, Share::kMost);
}

TEST(ReachAllTest, OneThatIsMissedIsTriedAgain) {
  int tries = 0;
  ReachAll([] { return std::vector<Point>{{.name = "unlink", .n = 1, .what = "unlink #1"}}; },
           [&tries](const Point&) { return ++tries == 3; }, Share::kAll);
  EXPECT_EQ(tries, 3);
}

TEST(CallsOfStart, BeginWhenTheSocketHasItsThread) {
  const std::vector<SystemCall> calls = {
      {.name = "listen", .line = "listen(5, 4096) = 0"},
      {.name = "clone3", .line = "clone3({flags=CLONE_VM}, 88) = -1 ENOSYS (Function not implemented)"},
      {.name = "clone", .line = "clone(child_stack=0x1000, flags=CLONE_VM) = 7"},
      {.name = "getdents64", .line = "getdents64(6</run/netns>, 0x1000, 32768) = 48"},
      {.name = "unlink", .line = "unlink(\"/run/netns/blue\") = 0"},
      {.name = "clone3", .line = "clone3({flags=CLONE_VM}, 88) = -1 ENOSYS (Function not implemented)"},
      {.name = "clone", .line = "clone(child_stack=0x1000, flags=CLONE_VM) = 8"},
  };
  size_t ahead = 0;
  EXPECT_EQ(CallsOfStart(calls, ahead).size(), 5U);
  EXPECT_EQ(ahead, 3U);
}

TEST(PointsIn, AreTheCallsThatLeaveSomethingOrAll) {
  const std::vector<SystemCall> calls = {Call("openat", "3, \"a\", O_RDONLY"), Call("unlink", "\"/run/a\""),
                                         Call("pwrite64", "7</var/lib/netprov/registry.db-wal>, \"\""),
                                         Call("unlink", "\"/run/a\"")};
  const std::vector<Point> points = PointsIn(calls, /*every=*/false);
  ASSERT_THAT(points, SizeIs(3));
  EXPECT_EQ(points[0].what, "unlink  \"/run/a\" #1");
  EXPECT_EQ(points[2].n, 2);
  const std::vector<Point> every = PointsIn(calls, /*every=*/true);
  ASSERT_THAT(every, SizeIs(4));
  EXPECT_EQ(every[3].what, "unlink #2");
  for (const auto& of : {points, every}) {
    EXPECT_THAT(of, Contains(Field(&Point::is_of_registry, true)).Times(1));
    EXPECT_FALSE(of[0].is_of_registry);
  }
}

}  // namespace
}  // namespace netprov::testing
