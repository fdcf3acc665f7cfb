#include "server/engine/plan.h"

#include <cerrno>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace netprov::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Adds steps that say what they do.
class PlanTest : public ::testing::Test {
 protected:
  void Add(const std::string& name, bool fails = false, bool undo_fails = false) {
    plan_.Add({.name = name, .run = Say("do " + name, fails), .undo = Say("undo " + name, undo_fails)});
  }
  void AddForGood(const std::string& name) {
    plan_.Add({.name = name, .run = Say("do " + name, false), .undo = nullptr});
  }
  std::function<KernelResult<void>()> Say(const std::string& what, bool fails) {
    return [this, what, fails]() -> KernelResult<void> {
      said_.push_back(what);
      if (fails) return KernelError{.code = EPERM, .operation = what, .extack = {}};
      return {};
    };
  }

  Plan plan_;
  std::vector<std::string> said_;
};

TEST_F(PlanTest, RunsInOrder) {
  Add("a");
  Add("b");
  EXPECT_TRUE(plan_.Run().ok());
  EXPECT_THAT(said_, ElementsAre("do a", "do b"));
}

TEST_F(PlanTest, AFailureUndoesWhatWasDoneInReverse) {
  Add("a");
  Add("b");
  Add("c", /*fails=*/true);
  Add("d");
  auto result = plan_.Run();
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().step, "c");
  EXPECT_EQ(result.error().error.code, EPERM);
  EXPECT_THAT(result.error().residue, IsEmpty());
  EXPECT_THAT(said_, ElementsAre("do a", "do b", "do c", "undo b", "undo a"));
}

TEST_F(PlanTest, AFailedUndoIsToldAndTheRestIsUndone) {
  Add("a");
  Add("b", /*fails=*/false, /*undo_fails=*/true);
  Add("c", /*fails=*/true);
  auto result = plan_.Run();
  EXPECT_THAT(result.error().residue,
              ElementsAre(HasSubstr("'b' could not be undone: undo b: Operation not permitted")));
  EXPECT_THAT(said_, ElementsAre("do a", "do b", "do c", "undo b", "undo a"));
}

TEST_F(PlanTest, WhatCannotBeUndoneIsResidue) {
  AddForGood("a");
  Add("b", /*fails=*/true);
  EXPECT_THAT(plan_.Run().error().residue, ElementsAre("'a' is done for good"));
}

TEST_F(PlanTest, ACompletePlanCanBeUndoneOnce) {
  Add("a");
  Add("b");
  ASSERT_TRUE(plan_.Run().ok());
  EXPECT_THAT(plan_.Undo(), IsEmpty());
  EXPECT_THAT(plan_.Undo(), IsEmpty());
  EXPECT_THAT(said_, ElementsAre("do a", "do b", "undo b", "undo a"));
}

TEST_F(PlanTest, WhatMayHaveLeftSomethingIsSwept) {
  for (const bool may_have_left : {false, true}) {
    for (const bool sweep_fails : {false, true}) {
      Plan plan;
      said_.clear();
      plan.Add({.name = "a",
                .run = [&]() -> KernelResult<void> {
                  return KernelError{.code = EIO, .operation = "a", .extack = {}, .may_have_effect = may_have_left};
                },
                .undo = Say("undo a", false),
                .sweep = Say("sweep a", sweep_fails)});
      auto result = plan.Run();
      ASSERT_FALSE(result.ok());
      EXPECT_EQ(said_, may_have_left ? std::vector<std::string>{"sweep a"} : std::vector<std::string>());
      EXPECT_EQ(result.error().residue.size(), may_have_left && sweep_fails ? 1u : 0u);
    }
  }
}

}  // namespace
}  // namespace netprov::engine
