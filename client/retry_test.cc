#include "client/retry.h"

#include <vector>

#include "client/status.h"
#include "client/testing/fake_clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace netprov::client {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

absl::Status UnavailableWithDelay(int64_t seconds) {
  absl::Status status = absl::UnavailableError("busy");
  google::rpc::RetryInfo info;
  info.mutable_retry_delay()->set_seconds(seconds);
  SetDetail(status, info);
  return status;
}

// Answers with a script, the last entry again and again, and records the timeouts that it got.
class Script {
 public:
  explicit Script(std::vector<absl::Status> answers) : answers_(std::move(answers)) {}

  absl::Status operator()(absl::Duration timeout) {
    timeouts.push_back(timeout);
    return answers_[std::min(timeouts.size(), answers_.size()) - 1];
  }

  std::vector<absl::Duration> timeouts;

 private:
  std::vector<absl::Status> answers_;
};

class RetryTest : public ::testing::Test {
 protected:
  absl::Status Call(Script& script, bool repeatable = true) {
    return CallWithRetries(options_, repeatable, clock_, std::ref(script));
  }

  FakeClock clock_;
  CallOptions options_;
};

TEST_F(RetryTest, SuccessNeedsOneAttempt) {
  Script script({absl::OkStatus()});
  EXPECT_TRUE(Call(script).ok());
  EXPECT_THAT(script.timeouts, ElementsAre(absl::Seconds(30)));
  EXPECT_THAT(clock_.sleeps(), IsEmpty());
}

TEST_F(RetryTest, UnavailableIsRetriedWithGrowingWaits) {
  options_.backoff = {.initial = absl::Milliseconds(100), .max = absl::Milliseconds(300), .multiplier = 2};
  clock_.set_random(0);
  const absl::Status busy = absl::UnavailableError("busy");
  Script script({busy, busy, busy, busy, absl::OkStatus()});
  EXPECT_TRUE(Call(script).ok());
  EXPECT_THAT(clock_.sleeps(), ElementsAre(absl::Milliseconds(50), absl::Milliseconds(100), absl::Milliseconds(150),
                                           absl::Milliseconds(150)));
}

TEST_F(RetryTest, JitterReachesTheWholeStep) {
  options_.backoff = {.initial = absl::Milliseconds(100), .max = absl::Seconds(1), .multiplier = 2};
  clock_.set_random(0.5);
  Script script({absl::UnavailableError("busy"), absl::OkStatus()});
  EXPECT_TRUE(Call(script).ok());
  EXPECT_THAT(clock_.sleeps(), ElementsAre(absl::Milliseconds(75)));
}

TEST_F(RetryTest, NoOtherCodeIsRetried) {
  for (int code = 1; code <= 16; ++code) {
    if (code == static_cast<int>(absl::StatusCode::kUnavailable)) continue;
    Script script({absl::Status(static_cast<absl::StatusCode>(code), "no"), absl::OkStatus()});
    EXPECT_EQ(Call(script).raw_code(), code);
    EXPECT_EQ(script.timeouts.size(), 1) << code;
  }
}

TEST_F(RetryTest, WhatIsNotRepeatableIsTriedOnce) {
  Script script({absl::UnavailableError("busy"), absl::OkStatus()});
  EXPECT_TRUE(absl::IsUnavailable(Call(script, /*repeatable=*/false)));
  EXPECT_EQ(script.timeouts.size(), 1);
}

TEST_F(RetryTest, RetriesCanBeTurnedOff) {
  options_.retry = false;
  Script script({absl::UnavailableError("busy"), absl::OkStatus()});
  EXPECT_TRUE(absl::IsUnavailable(Call(script)));
  EXPECT_EQ(script.timeouts.size(), 1);
}

TEST_F(RetryTest, TimeoutBoundsAttemptsAndWaits) {
  options_.timeout = absl::Seconds(10);
  options_.backoff = {.initial = absl::Seconds(4), .max = absl::Seconds(4), .multiplier = 1};
  Script script({absl::UnavailableError("busy")});
  EXPECT_TRUE(absl::IsUnavailable(Call(script)));
  EXPECT_THAT(script.timeouts,
              ElementsAre(absl::Seconds(10), absl::Seconds(8), absl::Seconds(6), absl::Seconds(4), absl::Seconds(2)));
  EXPECT_THAT(clock_.sleeps(), ElementsAre(absl::Seconds(2), absl::Seconds(2), absl::Seconds(2), absl::Seconds(2)));
}

TEST_F(RetryTest, TimeSpentInAnAttemptCounts) {
  options_.timeout = absl::Seconds(10);
  int attempts = 0;
  const absl::Status status = CallWithRetries(options_, true, clock_, [&](absl::Duration) {
    ++attempts;
    clock_.Advance(absl::Seconds(11));
    return absl::UnavailableError("busy");
  });
  EXPECT_TRUE(absl::IsUnavailable(status));
  EXPECT_EQ(attempts, 1);
  EXPECT_THAT(clock_.sleeps(), IsEmpty());
}

TEST_F(RetryTest, AttemptTimeoutBoundsEachAttempt) {
  options_.attempt_timeout = absl::Seconds(3);
  options_.timeout = absl::Seconds(4);
  options_.backoff = {.initial = absl::Seconds(4), .max = absl::Seconds(4), .multiplier = 1};
  Script script({absl::UnavailableError("busy"), absl::OkStatus()});
  EXPECT_TRUE(Call(script).ok());
  EXPECT_THAT(script.timeouts, ElementsAre(absl::Seconds(3), absl::Seconds(2)));
}

TEST_F(RetryTest, NoTimeLeftMeansNoAttempt) {
  options_.timeout = absl::ZeroDuration();
  Script script({absl::OkStatus()});
  EXPECT_TRUE(absl::IsDeadlineExceeded(Call(script)));
  EXPECT_THAT(script.timeouts, IsEmpty());
}

TEST_F(RetryTest, NoBoundIsPassedOn) {
  options_.timeout = absl::InfiniteDuration();
  Script script({absl::UnavailableError("busy"), absl::OkStatus()});
  EXPECT_TRUE(Call(script).ok());
  EXPECT_THAT(script.timeouts, ElementsAre(absl::InfiniteDuration(), absl::InfiniteDuration()));
}

TEST_F(RetryTest, RetryInfoLengthensTheWait) {
  Script script({UnavailableWithDelay(7), absl::OkStatus()});
  EXPECT_TRUE(Call(script).ok());
  EXPECT_THAT(clock_.sleeps(), ElementsAre(absl::Seconds(7)));
}

TEST_F(RetryTest, RetryInfoDoesNotShortenTheWait) {
  options_.backoff.initial = absl::Seconds(4);
  Script script({UnavailableWithDelay(1), absl::OkStatus()});
  EXPECT_TRUE(Call(script).ok());
  EXPECT_THAT(clock_.sleeps(), ElementsAre(absl::Seconds(2)));
}

TEST_F(RetryTest, RetryInfoBeyondTheTimeoutEndsTheCallAtOnce) {
  Script script({UnavailableWithDelay(31), absl::OkStatus()});
  EXPECT_TRUE(absl::IsUnavailable(Call(script)));
  EXPECT_EQ(script.timeouts.size(), 1);
  EXPECT_THAT(clock_.sleeps(), IsEmpty());
}

TEST_F(RetryTest, SillyBackoffStillWaits) {
  options_.backoff = {.initial = -absl::Seconds(1), .max = -absl::Seconds(1), .multiplier = 0};
  Script script({absl::UnavailableError("busy"), absl::UnavailableError("busy"), absl::OkStatus()});
  EXPECT_TRUE(Call(script).ok());
  EXPECT_THAT(clock_.sleeps(), ElementsAre(absl::Microseconds(500), absl::Microseconds(500)));
}

}  // namespace
}  // namespace netprov::client
