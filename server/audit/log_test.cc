#include "server/audit/log.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/audit/line.h"
#include "server/base/unique_fd.h"

namespace netprov::audit {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

std::string LineOf(const std::string& call_id, absl::Time time = absl::Now()) {
  return FormatLine(time, {.id = call_id, .begun = time, .method = "CreateVeth"}, {.code = "OK"});
}

class LogTest : public ::testing::Test {
 protected:
  LogTest() {
    std::string directory = "/tmp/netprov_XXXXXX";
    EXPECT_NE(::mkdtemp(directory.data()), nullptr);
    directory_ = directory;
    path_ = directory_ + "/audit.log";
  }
  ~LogTest() override { std::filesystem::remove_all(directory_); }

  void Open(bool durable = false) {
    log_ = nullptr;
    auto log = Log::Open(path_, durable);
    ASSERT_TRUE(log.ok()) << log.status();
    log_ = *std::move(log);
  }
  std::string WhyNot() {
    log_ = nullptr;
    auto log = Log::Open(path_, false);
    return log.ok() ? "" : std::string(log.status().message());
  }
  std::vector<std::string> Write(const std::string& call_id) {
    EXPECT_TRUE(log_->Reserve());
    return log_->Write(call_id, LineOf(call_id), /*reserved=*/true, /*durably=*/true);
  }
  void Put(const std::string& path, const std::string& text) { std::ofstream(path) << text; }
  std::string Text(const std::string& path) {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
  }
  std::vector<std::string> IdsIn(const std::string& path) {
    std::vector<std::string> ids;
    for (absl::string_view line : absl::StrSplit(Text(path), '\n', absl::SkipEmpty())) {
      const auto head = HeadOf(line);
      ids.push_back(head.has_value() ? head->call_id : std::string(line));
    }
    return ids;
  }

  std::string directory_;
  std::string path_;
  std::unique_ptr<Log> log_;
};

// Files of this process may have so many bytes and no more: a disk that is full.
class FullDisk {
 public:
  explicit FullDisk(rlim_t bytes) {
    ::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &former_);
    const rlimit limit = {.rlim_cur = bytes, .rlim_max = former_.rlim_max};
    EXPECT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  }
  ~FullDisk() { ::setrlimit(RLIMIT_FSIZE, &former_); }

 private:
  rlimit former_ = {};
};

TEST_F(LogTest, KeepsWhatIsThereAndAddsToIt) {
  for (bool durable : {false, true}) {
    Open(durable);
    EXPECT_THAT(Write(durable ? "b" : "a"), ElementsAre(durable ? "b" : "a"));
  }
  EXPECT_THAT(IdsIn(path_), ElementsAre("a", "b"));
  struct stat status = {};
  ASSERT_EQ(::stat(path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600u);
}

TEST_F(LogTest, RoomIsReservedAhead) {
  {
    const UniqueFd probe(::open((directory_ + "/probe").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (::fallocate(probe.get(), FALLOC_FL_KEEP_SIZE, 0, 1) != 0) GTEST_SKIP() << "not on this file system";
  }
  Open();
  ASSERT_TRUE(log_->Reserve());
  struct stat status = {};
  ASSERT_EQ(::stat(path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_size, 0);
  EXPECT_GE(status.st_blocks * 512, static_cast<blkcnt_t>(kLongestLine)) << "no room on the disk";
}

TEST_F(LogTest, RefusesWhatIsNoFileOfItsOwn) {
  Put(directory_ + "/other", "");
  ASSERT_EQ(::symlink("other", path_.c_str()), 0);
  EXPECT_THAT(WhyNot(), HasSubstr("symbolic link"));
  std::filesystem::remove(path_);
  ASSERT_EQ(::mkfifo(path_.c_str(), 0600), 0);
  EXPECT_THAT(WhyNot(), HasSubstr("must be a file"));
  std::filesystem::remove(path_);
  ASSERT_EQ(::link((directory_ + "/other").c_str(), path_.c_str()), 0);
  EXPECT_THAT(WhyNot(), HasSubstr("one name"));
  std::filesystem::remove(path_);
  Put(path_, "");
  for (const mode_t mode : {0620, 0602}) {
    ASSERT_EQ(::chmod(path_.c_str(), mode), 0);
    EXPECT_THAT(WhyNot(), HasSubstr("only root or the daemon's user can write"));
  }
  // Whoever may read it is up to its owner.
  ASSERT_EQ(::chmod(path_.c_str(), 0640), 0);
  Open();
  auto another = Log::Open(path_, false, absl::ZeroDuration());
  EXPECT_THAT(std::string(another.status().message()), HasSubstr("another process"));
  path_ = directory_ + "/missing/audit.log";
  EXPECT_THAT(WhyNot(), HasSubstr("No such file"));
}

TEST_F(LogTest, WhetherItWouldBeTakenCanBeAskedBefore) {
  EXPECT_TRUE(Log::Check(path_).ok());
  EXPECT_FALSE(std::filesystem::exists(path_)) << "asking makes nothing";
  Open();
  EXPECT_TRUE(Log::Check(path_).ok()) << "also while another has it";
  log_ = nullptr;
  std::filesystem::remove(path_);
  ASSERT_EQ(::symlink("nowhere", path_.c_str()), 0);
  EXPECT_THAT(std::string(Log::Check(path_).message()), HasSubstr("symbolic link"));
  std::filesystem::remove(path_);
  Put(path_, "");
  ASSERT_EQ(::chmod(path_.c_str(), 0620), 0);
  EXPECT_THAT(std::string(Log::Check(path_).message()), HasSubstr("only root or the daemon's user can write"));
  EXPECT_THAT(std::string(Log::Check(directory_ + "/missing/audit.log").message()), HasSubstr("No such file"));
}

TEST_F(LogTest, WhoeverIsOnItsWayOutIsWaitedFor) {
  Open();
  Write("one");
  std::thread leaves([this] {
    absl::SleepFor(absl::Milliseconds(50));
    Write("two");
    log_ = nullptr;
  });
  auto next = Log::Open(path_, false, absl::InfiniteDuration());
  leaves.join();
  ASSERT_TRUE(next.ok()) << next.status();
  EXPECT_THAT(IdsIn(path_), ElementsAre("one", "two"));
  (*next)->Reserve();
  (*next)->Write("three", LineOf("three"), /*reserved=*/true, /*durably=*/true);
  EXPECT_THAT(IdsIn(path_), ElementsAre("one", "two", "three"));
}

TEST_F(LogTest, ALineThatWasNotWrittenWholeGoes) {
  const std::string whole = LineOf("a");
  for (size_t length = 1; length < whole.size(); ++length) {
    Put(path_, whole + whole.substr(0, length));
    Open();
    EXPECT_EQ(Text(path_), whole) << length;
  }
  Put(path_, whole.substr(0, 10));
  Open();
  EXPECT_EQ(Text(path_), "");
}

TEST_F(LogTest, WhatIsSomebodyElsesStays) {
  for (const std::string& text : {std::string("a note"), LineOf("a") + "a note", std::string(20000, '{')}) {
    Put(path_, text);
    Open();
    EXPECT_EQ(Text(path_), text + "\n");
  }
}

TEST_F(LogTest, ALineThatFindsNoRoomWaitsWithThoseAfterIt) {
  Open();
  EXPECT_THAT(Write("a"), ElementsAre("a"));
  {
    // Half a line fits.
    const FullDisk full(LineOf("a").size() * 3 / 2);
    EXPECT_THAT(log_->Write("b", LineOf("b"), false, true), IsEmpty());
    EXPECT_EQ(Text(path_).back(), '\n') << "half a line is left";
    EXPECT_THAT(IdsIn(path_), ElementsAre("a"));
    ASSERT_TRUE(log_->Fault().has_value());
    EXPECT_THAT(*log_->Fault(), HasSubstr(path_));
    EXPECT_FALSE(log_->Reserve());
    EXPECT_THAT(log_->Write("c", LineOf("c"), false, true), IsEmpty());
    EXPECT_THAT(log_->Retry(), IsEmpty());
    EXPECT_TRUE(log_->Fault().has_value());
  }
  EXPECT_THAT(log_->Retry(), ElementsAre("b", "c"));
  EXPECT_FALSE(log_->Fault().has_value());
  EXPECT_TRUE(log_->Reserve());
  EXPECT_THAT(IdsIn(path_), ElementsAre("a", "b", "c"));
}

TEST_F(LogTest, OnlySoManyLinesWaitThatNobodyReservedRoomFor) {
  Open();
  // A call that has room has its line all the same.
  ASSERT_TRUE(log_->Reserve());
  {
    const FullDisk full(0);
    for (size_t i = 0; i < Log::kMostWaiting + 10; ++i) log_->Write(absl::StrCat(i), LineOf("x"), false, false);
    EXPECT_THAT(log_->Write("reserved", LineOf("x"), true, false), IsEmpty());
  }
  const std::vector<std::string> written = log_->Retry();
  EXPECT_THAT(written, SizeIs(Log::kMostWaiting + 1));
  EXPECT_EQ(written.back(), "reserved");
}

TEST_F(LogTest, GoesOnInANewFileWhereTheOldOneWasRenamed) {
  Open(/*durable=*/true);
  Write("a");
  EXPECT_TRUE(log_->Reopen().ok());
  Write("b");
  std::filesystem::rename(path_, path_ + ".1");
  Write("c");
  EXPECT_TRUE(log_->Reopen().ok());
  Write("d");
  EXPECT_THAT(IdsIn(path_ + ".1"), ElementsAre("a", "b", "c"));
  EXPECT_THAT(IdsIn(path_), ElementsAre("d"));
  // One that can't be used leaves the present one in use.
  std::filesystem::rename(path_, path_ + ".0");
  std::filesystem::create_directory(path_);
  EXPECT_FALSE(log_->Reopen().ok());
  Write("e");
  EXPECT_THAT(IdsIn(path_ + ".0"), ElementsAre("d", "e"));
}

TEST_F(LogTest, FindsLinesAlsoInWhatTheFileWasBefore) {
  Open();
  Write("a");
  std::filesystem::rename(path_, path_ + "-20260102");
  ASSERT_TRUE(log_->Reopen().ok());
  Write("b");
  Put(path_ + ".2.gz", "\x1f\x8b");
  Put(directory_ + "/other", LineOf("o"));
  EXPECT_THAT(log_->Find({"a", "b", "c", "o"}, absl::Now()), UnorderedElementsAre("a", "b"));
  EXPECT_THAT(log_->Find({}, absl::Now()), IsEmpty());
}

TEST_F(LogTest, LooksAsFarBackAsTheCallsBegan) {
  const absl::Time begun = absl::Now() - absl::Minutes(10);
  // What came after is more than is looked at at once; what came long before is not looked at.
  std::string text = LineOf("wanted", begun - absl::Hours(1)) + LineOf("found", begun);
  const std::string later = LineOf("later", begun + absl::Seconds(1));
  while (text.size() < (9 << 20)) text += later;
  std::string ancient;
  const std::string old = LineOf("old", begun - absl::Minutes(50));
  while (ancient.size() < (2 << 20)) ancient += old;
  Put(path_, text);
  Open();
  EXPECT_THAT(log_->Find({"found", "missing"}, begun), UnorderedElementsAre("found"));
  Put(path_, LineOf("wanted", begun - absl::Hours(1)) + ancient + LineOf("found", begun));
  EXPECT_THAT(log_->Find({"found", "wanted"}, begun), UnorderedElementsAre("found"));
}

TEST_F(LogTest, LinesOfManyThreadsAreWhole) {
  constexpr int kThreads = 4;
  constexpr int kLines = 200;
  Open(/*durable=*/true);
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([this, thread] {
      for (int i = 0; i < kLines; ++i) Write(absl::StrCat(thread, "-", i));
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::vector<std::string> ids = IdsIn(path_);
  std::sort(ids.begin(), ids.end());
  EXPECT_EQ(std::unique(ids.begin(), ids.end()) - ids.begin(), kThreads * kLines);
}

}  // namespace
}  // namespace netprov::audit
