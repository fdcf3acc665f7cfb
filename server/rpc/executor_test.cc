#include "server/rpc/executor.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <future>
#include <latch>
#include <map>
#include <mutex>
#include <numeric>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace netprov::rpc {
namespace {

using ::testing::ElementsAre;
using Submission = Executor::Submission;

constexpr std::chrono::seconds kPatience(10);

// Something that tasks wait at until the test opens it.
class Gate {
 public:
  void Open() { promise_.set_value(); }
  // Fails the test rather than hang.
  void Wait() { ASSERT_EQ(future_.wait_for(kPatience), std::future_status::ready); }

 private:
  std::promise<void> promise_;
  std::shared_future<void> future_ = promise_.get_future().share();
};

// What happened, in order.
class Trace {
 public:
  void Add(const std::string& event) {
    std::lock_guard<std::mutex> lock(mutex_);
    events_.push_back(event);
  }
  std::vector<std::string> events() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return events_;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> events_;
};

TEST(ExecutorTest, RunsWhatItAccepted) {
  Executor executor({.threads = 2});
  std::atomic<int> runs = 0;
  for (int i = 0; i < 100; ++i) ASSERT_EQ(executor.Submit({}, [&] { ++runs; }), Submission::kAccepted);
  executor.Drain();
  EXPECT_EQ(runs, 100);
  EXPECT_EQ(executor.waiting(), 0u);
}

TEST(ExecutorTest, CallsOnOneKeyKeepTheirOrder) {
  Executor executor({.threads = 4});
  Gate gate;
  Trace trace;
  executor.Submit({"k"}, [&] {
    gate.Wait();
    trace.Add("0");
  });
  for (int i = 1; i < 5; ++i) executor.Submit({"k"}, [&, i] { trace.Add(std::to_string(i)); });
  EXPECT_THAT(trace.events(), ElementsAre());
  gate.Open();
  executor.Drain();
  EXPECT_THAT(trace.events(), ElementsAre("0", "1", "2", "3", "4"));
}

TEST(ExecutorTest, ABusyKeyHoldsNoThread) {
  // One key's line is longer than there are threads; another key still gets one.
  Executor executor({.threads = 2});
  Gate gate;
  Gate other_ran;
  for (int i = 0; i < 10; ++i) executor.Submit({"busy"}, [&] { gate.Wait(); });
  executor.Submit({"other"}, [&] { other_ran.Open(); });
  other_ran.Wait();
  gate.Open();
  executor.Drain();
}

TEST(ExecutorTest, ATaskWaitsForAllItsKeys) {
  Executor executor({.threads = 4});
  Gate a;
  Gate b;
  Gate a_ran;
  Gate a_done;
  Trace trace;
  executor.Submit({"a"}, [&] {
    a.Wait();
    trace.Add("a");
    a_ran.Open();
  });
  executor.Submit({"b"}, [&] {
    b.Wait();
    trace.Add("b");
  });
  executor.Submit({"a", "b"}, [&] { trace.Add("ab"); });
  // In line behind the one with both, though `a` is free sooner.
  executor.Submit({"a"}, [&] {
    trace.Add("a2");
    a_done.Open();
  });
  a.Open();
  a_ran.Wait();
  Gate probe;
  executor.Submit({"c"}, [&] { probe.Open(); });
  probe.Wait();
  b.Open();
  a_done.Wait();
  executor.Drain();
  EXPECT_THAT(trace.events(), ElementsAre("a", "b", "ab", "a2"));
}

TEST(ExecutorTest, ATaskWithoutKeysPasses) {
  Executor executor({.threads = 2});
  Gate gate;
  Gate passed;
  executor.Submit({"k"}, [&] { gate.Wait(); });
  executor.Submit({"k"}, [] {});
  executor.Submit({}, [&] { passed.Open(); });
  passed.Wait();
  gate.Open();
  executor.Drain();
}

TEST(ExecutorTest, AFullQueueRefusesAtOnce) {
  Executor executor({.threads = 1, .queue_limit = 2});
  Gate started;
  Gate gate;
  std::atomic<int> runs = 0;
  executor.Submit({}, [&] {
    started.Open();
    gate.Wait();
  });
  started.Wait();  // What runs does not count.
  EXPECT_EQ(executor.Submit({}, [&] { ++runs; }), Submission::kAccepted);
  EXPECT_EQ(executor.Submit({"k"}, [&] { ++runs; }), Submission::kAccepted);
  EXPECT_EQ(executor.Submit({"k"}, [&] { ++runs; }), Submission::kFull);
  EXPECT_EQ(executor.Submit({}, [&] { ++runs; }), Submission::kFull);
  EXPECT_EQ(executor.waiting(), 2u);
  gate.Open();
  executor.Drain();
  EXPECT_EQ(runs, 2);
  EXPECT_EQ(executor.Submit({"k"}, [&] { ++runs; }), Submission::kAccepted);
  executor.Drain();
  EXPECT_EQ(runs, 3);
}

TEST(ExecutorTest, PausedItTakesTasksInAndRunsNone) {
  Executor executor({.threads = 2, .paused = true});
  Trace trace;
  executor.Submit({"k"}, [&] { trace.Add("1"); });
  executor.Submit({"k"}, [&] { trace.Add("2"); });
  EXPECT_EQ(executor.waiting(), 2u);
  EXPECT_THAT(trace.events(), ElementsAre());
  executor.Resume();
  executor.Drain();
  EXPECT_THAT(trace.events(), ElementsAre("1", "2"));
}

TEST(ExecutorTest, ShutdownRunsWhatWaitsAndRefusesTheRest) {
  std::atomic<int> runs = 0;
  Executor executor({.threads = 3});
  Gate gate;
  executor.Submit({"k"}, [&] { gate.Wait(); });
  for (int i = 0; i < 20; ++i) executor.Submit({"k"}, [&] { ++runs; });
  std::thread opener([&] { gate.Open(); });
  executor.Shutdown();
  opener.join();
  EXPECT_EQ(runs, 20);
  EXPECT_EQ(executor.Submit({}, [&] { ++runs; }), Submission::kShutDown);
  executor.Shutdown();
  EXPECT_EQ(runs, 20);
}

TEST(ExecutorTest, ShutdownEndsAPause) {
  std::atomic<int> runs = 0;
  {
    Executor executor({.threads = 2, .paused = true});
    for (int i = 0; i < 5; ++i) executor.Submit({"k"}, [&] { ++runs; });
  }
  EXPECT_EQ(runs, 5);
}

TEST(ExecutorTest, TasksMaySubmitTasks) {
  Executor executor({.threads = 1});
  std::atomic<int> runs = 0;
  executor.Submit({"k"}, [&] {
    executor.Submit({"k"}, [&] { ++runs; });
    ++runs;
  });
  executor.Drain();
  EXPECT_EQ(runs, 2);
}

TEST(ExecutorTest, WhatATaskHoldsIsGoneWhenItIsDone) {
  Executor executor({.threads = 1});
  auto held = std::make_shared<int>(1);
  std::weak_ptr<int> watch = held;
  executor.Submit({}, [held = std::move(held)] {});
  executor.Drain();
  EXPECT_TRUE(watch.expired());
}

// Tasks of random keys from several threads: each runs once; tasks that share a key never overlap, and those of one
// submitter keep their order.
TEST(ExecutorTest, ATaskThatComesAloneCanRunRightHere) {
  Executor executor({.threads = 1});
  const std::thread::id here = std::this_thread::get_id();
  std::thread::id ran_at;
  EXPECT_EQ(executor.RunOrSubmit({"k"}, [&] { ran_at = std::this_thread::get_id(); }), Submission::kAccepted);
  EXPECT_EQ(ran_at, here) << "and it is done already";
  // Not beside another, whether that runs or waits.
  Gate gate;
  Gate ran;
  executor.Submit({"a"}, [&] { gate.Wait(); });
  executor.RunOrSubmit({"b"}, [&] {
    ran_at = std::this_thread::get_id();
    ran.Open();
  });
  gate.Open();
  ran.Wait();
  EXPECT_NE(ran_at, here);
  executor.Drain();
}

TEST(ExecutorTest, WhatRunsRightHereHoldsItsKeys) {
  Executor executor({.threads = 2});
  Trace trace;
  Gate other;
  executor.RunOrSubmit({"a", "b"}, [&] {
    executor.Submit({"b"}, [&] { trace.Add("b"); });
    executor.Submit({"c"}, [&] {
      trace.Add("c");
      other.Open();
    });
    other.Wait();
    trace.Add("ab");
  });
  executor.Drain();
  EXPECT_THAT(trace.events(), ElementsAre("c", "ab", "b"));
}

TEST(ExecutorTest, AShutdownWaitsForWhatRunsElsewhere) {
  Executor executor({.threads = 1});
  Trace trace;
  Gate begun;
  Gate gate;
  std::thread caller([&] {
    executor.RunOrSubmit({"a"}, [&] {
      begun.Open();
      gate.Wait();
      trace.Add("here");
    });
  });
  begun.Wait();
  executor.Submit({"a"}, [&] { trace.Add("behind"); });
  std::thread shutdown([&] { executor.Shutdown(); });
  while (executor.Submit({}, [] {}) != Submission::kShutDown) std::this_thread::yield();
  EXPECT_EQ(executor.RunOrSubmit({}, [] {}), Submission::kShutDown);
  gate.Open();
  shutdown.join();
  caller.join();
  EXPECT_THAT(trace.events(), ElementsAre("here", "behind"));
}

TEST(ExecutorTest, PausedItRunsNothingHereEither) {
  Executor executor({.threads = 1, .paused = true});
  bool ran = false;
  EXPECT_EQ(executor.RunOrSubmit({}, [&] { ran = true; }), Submission::kAccepted);
  EXPECT_EQ(executor.waiting(), 1u);
  executor.Shutdown();
  EXPECT_TRUE(ran);
}

TEST(ExecutorTest, RandomTasksKeepThePromises) {
  constexpr int kSubmitters = 4;
  constexpr int kTasks = 3000;
  constexpr int kKeys = 7;
  struct PerKey {
    std::atomic<int> inside = 0;
    std::map<int, int> last_by_submitter;  // guarded by the key itself: that is what the executor promises
  };
  std::map<std::string, PerKey> keys;
  for (int i = 0; i < kKeys; ++i) keys["key" + std::to_string(i)];
  std::atomic<int> runs = 0;
  std::atomic<int> overlaps = 0;
  std::atomic<int> disorders = 0;
  {
    Executor executor({.threads = 4, .queue_limit = kSubmitters * kTasks});
    std::vector<std::thread> submitters;
    for (int submitter = 0; submitter < kSubmitters; ++submitter) {
      submitters.emplace_back([&, submitter] {
        std::mt19937 random(submitter);
        for (int number = 1; number <= kTasks; ++number) {
          std::set<std::string> chosen;
          const int count = static_cast<int>(random() % 4);
          for (int i = 0; i < count; ++i) chosen.insert("key" + std::to_string(random() % kKeys));
          const std::vector<std::string> names(chosen.begin(), chosen.end());
          ASSERT_EQ(executor.Submit(names,
                                    [&, submitter, number, names] {
                                      for (const std::string& name : names) {
                                        PerKey& key = keys.at(name);
                                        if (key.inside.fetch_add(1) != 0) ++overlaps;
                                        int& last = key.last_by_submitter[submitter];
                                        if (last >= number) ++disorders;
                                        last = number;
                                      }
                                      ++runs;
                                      for (const std::string& name : names) keys.at(name).inside.fetch_sub(1);
                                    }),
                    Submission::kAccepted);
        }
      });
    }
    for (std::thread& submitter : submitters) submitter.join();
    executor.Drain();
    EXPECT_EQ(runs, kSubmitters * kTasks);
  }
  EXPECT_EQ(overlaps, 0);
  EXPECT_EQ(disorders, 0);
}

TEST(ExecutorTest, GetsOnUnlessAllOfItsThreadsAreStuck) {
  Executor executor({.threads = 2});
  EXPECT_TRUE(executor.GetsOn());
  std::promise<void> go_on;
  std::shared_future<void> gone_on = go_on.get_future().share();
  std::latch begun(2);
  auto stuck = [&] {
    begun.count_down();
    gone_on.wait();
  };
  ASSERT_EQ(executor.Submit({}, stuck), Executor::Submission::kAccepted);
  EXPECT_TRUE(executor.GetsOn()) << "one thread is free";
  ASSERT_EQ(executor.Submit({}, stuck), Executor::Submission::kAccepted);
  begun.wait();
  EXPECT_FALSE(executor.GetsOn());
  go_on.set_value();
  executor.Drain();
  EXPECT_TRUE(executor.GetsOn());
}

TEST(ExecutorTest, EachTaskThatBeginsCountsAmongTheWaits) {
  Executor executor({.threads = 1, .queue_limit = 1, .paused = true});
  auto count = [&executor] {
    const auto counts = executor.waits().Read().counts;
    return std::accumulate(counts.begin(), counts.end(), uint64_t{0});
  };
  ASSERT_EQ(executor.Submit({}, [] {}), Submission::kAccepted);
  ASSERT_EQ(executor.Submit({}, [] {}), Submission::kFull);
  EXPECT_EQ(count(), 0u);
  executor.Resume();
  executor.Drain();
  EXPECT_EQ(count(), 1u);
  ASSERT_EQ(executor.RunOrSubmit({}, [] {}), Submission::kAccepted);
  executor.Drain();
  EXPECT_EQ(count(), 2u);
}

}  // namespace
}  // namespace netprov::rpc
