#include "server/netns/etc_directory.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace netprov::netns {
namespace {

constexpr char kMark[] = "# netprov:ours";
constexpr char kOther[] = "# netprov:an orphan";

class EtcDirectoryTest : public ::testing::Test {
 protected:
  std::string PathOf(const std::string& file) const { return absl::StrCat(path_, "/blue/", file); }
  static std::map<std::string, std::string> Files() {
    return {{"resolv.conf", absl::StrCat(kMark, "\nnameserver ::1\n")}};
  }

  const std::string path_ = absl::StrCat(
      ::testing::TempDir(), "etc-", ::testing::UnitTest::GetInstance()->current_test_info()->name(), "-", ::getpid());
  const EtcDirectory etc_{path_};
};

TEST_F(EtcDirectoryTest, AFileThatIsBeingWrittenIsNobodyElsesToTakeAway) {
  ASSERT_TRUE(etc_.Write("blue", kMark, Files(), /*owns_directory=*/true).ok());
  const std::string draft = PathOf(EtcDirectory::DraftOf("resolv.conf", kMark));
  std::ofstream(draft) << "half";
  // As of an orphan of the same name, which a check of the host removes.
  ASSERT_TRUE(etc_.Write("blue", kOther, {}, /*owns_directory=*/false).ok());
  EXPECT_TRUE(std::filesystem::exists(draft));
  EXPECT_EQ(etc_.Read("blue")->files, Files());
}

TEST_F(EtcDirectoryTest, WhatACrashLeavesOfAFileGoesWithTheNextWrite) {
  ASSERT_TRUE(etc_.Write("blue", kMark, Files(), /*owns_directory=*/true).ok());
  std::ofstream(PathOf(EtcDirectory::DraftOf("resolv.conf", kMark))) << "half";
  std::ofstream(PathOf(EtcDirectory::DraftOf("hosts", kMark))) << "half";
  ASSERT_TRUE(etc_.Write("blue", kMark, {}, /*owns_directory=*/true).ok());
  EXPECT_FALSE(std::filesystem::exists(path_ + "/blue"));
}

}  // namespace
}  // namespace netprov::netns
