// The examples of the documentation, as they stand there, with the real binaries.
//
// A block of code without a language is of a shell: its commands run one after the other on an empty host with a
// daemon, and all must succeed. Where lines begin with `$ `, these are the commands, and each prints what stands below
// it. One of Python runs too. Right before a block, where readers of the page don't see it, may stand what it takes for
// granted, `<!-- before: COMMANDS -->`, which feature of the kernel it needs that not every kernel has,
// `<!-- needs: FEATURE -->`, or why it can't run, `<!-- not run: REASON -->`. `container` starts a process in a network
// namespace of its own, whose number is then `$pid`. Where the kernel lacks the feature, the first command of the block
// that fails must name it, and that it is missing.
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/e2e/host_fixture.h"
#include "tests/testing/private_host.h"
#include "tests/testing/process.h"

namespace netprov::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

struct Block {
  std::string page;
  int line = 0;
  std::string language;
  std::vector<std::string> lines;
  // Commands that come before.
  std::string before;
  // A feature, as errors name it.
  std::string needs;
  std::string not_run;
};

void PrintTo(const Block& block, std::ostream* out) { *out << block.page << ":" << block.line; }

// Takes `<!-- KEY: TEXT -->` off, the text into `value`.
bool TakeComment(const std::string& comment, absl::string_view key, std::string& value) {
  absl::string_view text = comment;
  if (!absl::ConsumePrefix(&text, absl::StrCat("<!-- ", key, ": ")) || !absl::ConsumeSuffix(&text, " -->")) {
    return false;
  }
  value = std::string(text);
  return true;
}

std::vector<Block> BlocksOf(const std::string& page) {
  std::ifstream file(page);
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  std::vector<Block> blocks;
  // Right before the line.
  std::vector<std::string> comments;
  bool is_inside = false;
  int number = 0;
  for (const std::string& line : std::vector<std::string>(absl::StrSplit(text, '\n'))) {
    ++number;
    if (absl::StartsWith(line, "```")) {
      is_inside = !is_inside;
      if (!is_inside) continue;
      blocks.push_back({.page = page, .line = number, .language = line.substr(3)});
      for (const std::string& comment : comments) {
        TakeComment(comment, "before", blocks.back().before);
        TakeComment(comment, "needs", blocks.back().needs);
        TakeComment(comment, "not run", blocks.back().not_run);
      }
      comments.clear();
    } else if (is_inside) {
      blocks.back().lines.push_back(line);
    } else if (absl::StartsWith(line, "<!--")) {
      comments.push_back(line);
    } else if (!comments.empty() && !absl::EndsWith(comments.back(), "-->")) {
      absl::StrAppend(&comments.back(), "\n", line);
    } else {
      comments.clear();
    }
  }
  return blocks;
}

bool IsShell(const Block& block) { return block.language.empty(); }

std::vector<Block> ThatRun(const std::string& page) {
  std::vector<Block> that_run;
  for (Block& block : BlocksOf(page)) {
    if (block.not_run.empty() && (IsShell(block) || block.language == "python")) that_run.push_back(std::move(block));
  }
  return that_run;
}

// What runs in the background ends with the rest.
constexpr char kPrelude[] = R"sh(
exec 2>&1
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
container() {
  unshare --net sleep 600 >/dev/null &
  pid=$!
  while [[ $(readlink "/proc/$pid/ns/net") == $(readlink /proc/self/ns/net) ]]; do sleep 0.01; done
}
)sh";

class DocsTest : public HostTest, public ::testing::WithParamInterface<Block> {
 protected:
  void SetUp() override {
    HostTest::SetUp();
    StartDaemon();
  }

  void TearDown() override {
    HostTest::TearDown();
    Shell(
        "for kind in bridge vxlan; do for link in $(ip -o link show type $kind | sed 's/^[0-9]*: "
        "\\([^@:]*\\).*/\\1/'); "
        "do ip link delete $link; done; done; nft flush ruleset");
  }

  // Expects that it ends well, or that a command of `contain` ends it which says that the kernel has no `needs`, where
  // that is not empty. Returns what it printed.
  static std::string Run(const std::string& script, const std::string& needs) {
    const char* path = std::getenv("PATH");
    const Completed ended =
        RunCommand({"/usr/bin/env", absl::StrCat("PATH=", "client/cli:", path != nullptr ? path : "/usr/bin:/bin"),
                    "/bin/bash", "-euo", "pipefail", "-c", absl::StrCat(kPrelude, script)});
    // FAILED_PRECONDITION.
    if (!needs.empty() && ended.exit_code == 64 + 9) {
      EXPECT_THAT(ended.out, HasSubstr("  reason: KERNEL_FEATURE_MISSING\n")) << script;
      EXPECT_THAT(ended.out, HasSubstr(absl::StrCat("  feature: ", needs, "\n"))) << script;
      return ended.out;
    }
    EXPECT_EQ(ended.exit_code, 0) << script << "\n" << ended.out;
    return ended.out;
  }
};

TEST_P(DocsTest, DoesWhatItSays) {
  const Block& block = GetParam();
  const std::string text = absl::StrJoin(block.lines, "\n");
  if (block.language == "python") {
    const Completed ended =
        RunCommand({"/usr/bin/env", "PYTHONPATH=proto:third_party", "/usr/bin/python3", "-c", text});
    EXPECT_EQ(ended.exit_code, 0) << ended.err;
    EXPECT_THAT(ended.out, Not(IsEmpty()));
    return;
  }
  // What comes after a line of its own that nothing else prints is a command's.
  constexpr char kMark[] = "the-next-command-prints:";
  std::string script = block.before;
  std::vector<std::string> expected;
  for (const std::string& line : block.lines) {
    absl::string_view command = line;
    if (absl::ConsumePrefix(&command, "$ ")) {
      absl::StrAppend(&script, "\necho ", kMark);
      expected.emplace_back();
    } else if (!expected.empty()) {
      absl::StrAppend(&expected.back(), line, "\n");
      continue;
    }
    absl::StrAppend(&script, "\n", command);
  }
  const std::vector<std::string> printed = absl::StrSplit(Run(script, block.needs), absl::StrCat(kMark, "\n"));
  ASSERT_THAT(printed, SizeIs(expected.size() + 1));
  for (size_t i = 0; i < expected.size(); ++i) {
    // The last one may say nothing of what it prints.
    if (expected[i].empty() && i + 1 == expected.size()) continue;
    EXPECT_EQ(printed[i + 1], expected[i]);
  }
}

std::string NameOf(const ::testing::TestParamInfo<Block>& block) { return absl::StrCat("Line", block.param.line); }

INSTANTIATE_TEST_SUITE_P(Readme, DocsTest, ::testing::ValuesIn(ThatRun("README.md")), NameOf);
INSTANTIATE_TEST_SUITE_P(Api, DocsTest, ::testing::ValuesIn(ThatRun("docs/api.md")), NameOf);
INSTANTIATE_TEST_SUITE_P(Guide, DocsTest, ::testing::ValuesIn(ThatRun("docs/guide.md")), NameOf);

TEST(DocsPagesTest, WhatIsNotRunSaysWhy) {
  for (const char* page : {"README.md", "docs/api.md", "docs/guide.md"}) {
    int run = 0;
    for (const Block& block : BlocksOf(page)) {
      EXPECT_FALSE(block.lines.empty()) << page << ":" << block.line;
      EXPECT_TRUE(block.not_run.empty() || IsShell(block)) << page << ":" << block.line;
      if (IsShell(block) && block.not_run.empty()) ++run;
    }
    EXPECT_GT(run, 1) << page;
  }
}

}  // namespace
}  // namespace netprov::testing
