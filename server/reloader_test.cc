#include "server/reloader.h"

#include <spdlog/sinks/null_sink.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace netprov {
namespace {

using ::testing::ElementsAre;

class ReloaderTest : public ::testing::Test {
 protected:
  ReloaderTest() : path_(absl::StrCat(::testing::TempDir(), "/reloaded")) { Write("first"); }

  void Write(const std::string& text) {
    std::ofstream(path_ + ".new") << text;
    std::filesystem::rename(path_ + ".new", path_);
  }

  std::unique_ptr<Reloader> Start(absl::Duration interval) {
    Reloader::Source source{
        .what = "test", .paths = {path_}, .load = [this] { return Load(); }, .seen = Reloader::SignatureOf({path_})};
    auto reloader = std::make_unique<Reloader>(
        std::vector{source}, std::make_shared<spdlog::logger>("test", std::make_shared<spdlog::sinks::null_sink_mt>()),
        interval);
    reloader->Start();
    return reloader;
  }

  absl::Status Load() {
    std::string text;
    std::ifstream(path_) >> text;
    std::lock_guard<std::mutex> lock(mutex_);
    ++loads_;
    changed_.notify_all();
    if (is_failing_) return absl::UnavailableError("not now");
    if (text == "broken") return absl::InvalidArgumentError("it is broken");
    loaded_ = text;
    return absl::OkStatus();
  }

  void WaitForLoads(int loads) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return loads_ >= loads; });
  }

  const std::string path_;
  std::mutex mutex_;
  std::condition_variable changed_;
  int loads_ = 0;
  std::atomic<bool> is_failing_ = false;
  std::string loaded_;
};

TEST_F(ReloaderTest, LoadsAFileWhenItChangesAndOnlyThen) {
  const auto reloader = Start(absl::Milliseconds(1));
  Write("second");
  WaitForLoads(1);
  Write("third");
  WaitForLoads(2);
  std::lock_guard<std::mutex> lock(mutex_);
  EXPECT_EQ(loaded_, "third");
  EXPECT_EQ(loads_, 2);
}

TEST_F(ReloaderTest, LoadsAllOnRequest) {
  const auto reloader = Start(absl::Hours(1));
  reloader->ReloadAll();
  EXPECT_EQ(loads_, 1);
  EXPECT_EQ(loaded_, "first");
}

TEST_F(ReloaderTest, SaysWhatCannotBeLoadedUntilItCan) {
  const auto reloader = Start(absl::Hours(1));
  reloader->ReloadAll();
  EXPECT_THAT(reloader->Faults(), ElementsAre());
  Write("broken");
  reloader->ReloadAll();
  EXPECT_THAT(reloader->Faults(), ElementsAre("it is broken"));
  EXPECT_EQ(loaded_, "first");
  const Reloader::Record failed = reloader->Records().at(0);
  EXPECT_EQ(failed.what, "test");
  EXPECT_EQ(failed.loaded, 1u);
  EXPECT_EQ(failed.failed, 1u);
  Write("good");
  reloader->ReloadAll();
  EXPECT_THAT(reloader->Faults(), ElementsAre());
  EXPECT_EQ(loaded_, "good");
  EXPECT_EQ(reloader->Records().at(0).loaded, 2u);
  EXPECT_EQ(reloader->Records().at(0).failed, 1u);
  EXPECT_GE(reloader->Records().at(0).last_loaded, failed.last_loaded);
}

TEST_F(ReloaderTest, WhatFailedIsTriedAgainThoughItsFileStays) {
  is_failing_ = true;
  Write("good");
  const auto reloader = Start(absl::Milliseconds(1));
  Write("better");
  WaitForLoads(3);
  EXPECT_THAT(reloader->Faults(), ElementsAre("not now"));
  is_failing_ = false;
  while (!reloader->Faults().empty()) std::this_thread::yield();
  std::lock_guard<std::mutex> lock(mutex_);
  EXPECT_EQ(loaded_, "better");
}

TEST_F(ReloaderTest, AChangeBeforeItBeganIsFound) {
  Reloader reloader({{.what = "test", .paths = {path_}, .load = [this] { return Load(); }, .seen = "before"}},
                    std::make_shared<spdlog::logger>("test", std::make_shared<spdlog::sinks::null_sink_mt>()),
                    absl::Milliseconds(1));
  reloader.Start();
  WaitForLoads(1);
}

TEST_F(ReloaderTest, AFileThatGoesIsAChange) {
  const auto reloader = Start(absl::Milliseconds(1));
  std::filesystem::remove(path_);
  WaitForLoads(1);
}

}  // namespace
}  // namespace netprov
