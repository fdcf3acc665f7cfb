#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <fstream>
#include <memory>
#include <numeric>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/base/kernel_error.h"
#include "server/base/result.h"
#include "server/base/statistics.h"
#include "server/base/trusted_file.h"
#include "server/base/unique_fd.h"

namespace netprov {
namespace {

using ::testing::Eq;

bool IsOpen(int fd) { return ::fcntl(fd, F_GETFD) != -1; }

TEST(UniqueFdTest, ClosesOnceAtTheEndOfItsOwner) {
  int raw = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  {
    UniqueFd first(raw);
    UniqueFd second(std::move(first));
    EXPECT_FALSE(first.valid());  // NOLINT(bugprone-use-after-move): what a move leaves is the contract here.
    EXPECT_THAT(second.get(), Eq(raw));
    EXPECT_TRUE(IsOpen(raw));
  }
  EXPECT_FALSE(IsOpen(raw));
}

TEST(UniqueFdTest, AssignmentClosesWhatItReplaces) {
  int raw = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  UniqueFd fd(raw);
  fd = UniqueFd();
  EXPECT_FALSE(IsOpen(raw));
}

TEST(KernelErrorTest, ReadsLikeASentence) {
  KernelError error{.code = ERANGE, .operation = "RTM_NEWLINK veth0", .extack = "too long"};
  EXPECT_EQ(error.ToString(), "RTM_NEWLINK veth0: Numerical result out of range (ERANGE): too long");
  error.extack.clear();
  error.code = 100000;
  EXPECT_EQ(error.ToString(), "RTM_NEWLINK veth0: unknown error (errno 100000)");
}

TEST(KernelErrorTest, TakesErrno) {
  EXPECT_EQ(::open("/dev/null/nothing", O_RDONLY | O_CLOEXEC), -1);
  EXPECT_EQ(ErrnoError("open(x)"), (KernelError{.code = ENOTDIR, .operation = "open(x)", .extack = ""}));
}

Result<int, std::string> Half(int number) {
  if (number % 2 != 0) return std::string("odd");
  return number / 2;
}

Result<std::unique_ptr<int>, std::string> Quarter(int number) {
  NETPROV_ASSIGN_OR_RETURN(int half, Half(number));
  NETPROV_ASSIGN_OR_RETURN(int quarter, Half(half));
  return std::make_unique<int>(quarter);
}

Result<void, std::string> CheckEven(int number) {
  NETPROV_RETURN_IF_ERROR(Half(number));
  return {};
}

TEST(ResultTest, CarriesAValueOrAnError) {
  EXPECT_EQ(**Quarter(8), 2);
  EXPECT_EQ(Quarter(6).error(), "odd");
  EXPECT_TRUE(CheckEven(2).ok());
  EXPECT_EQ(CheckEven(3).error(), "odd");
}

class TrustedFileTest : public ::testing::Test {
 protected:
  TrustedFileTest() { std::ofstream(path_) << "0123456789"; }

  absl::StatusCode CodeAt(mode_t mode, TrustedFileRules rules) const {
    EXPECT_EQ(::chmod(path_.c_str(), mode), 0);
    return ReadTrustedFile(path_, rules).status().code();
  }

  const std::string path_ = absl::StrCat(::testing::TempDir(), "/trusted_file");
};

TEST_F(TrustedFileTest, WhatOthersCanWriteIsNotTrustedNorASecretThatTheyCanRead) {
  for (const mode_t mode : {0600, 0640, 0644}) {
    EXPECT_EQ(CodeAt(mode, {.longest = 10}), absl::StatusCode::kOk) << mode;
  }
  for (const mode_t mode : {0660, 0602}) {
    EXPECT_EQ(CodeAt(mode, {.longest = 10}), absl::StatusCode::kFailedPrecondition) << mode;
  }
  for (const mode_t mode : {0600, 0640}) {
    EXPECT_EQ(CodeAt(mode, {.longest = 10, .is_secret = true}), absl::StatusCode::kOk) << mode;
  }
  for (const mode_t mode : {0604, 0601, 0620}) {
    EXPECT_EQ(CodeAt(mode, {.longest = 10, .is_secret = true}), absl::StatusCode::kFailedPrecondition) << mode;
  }
}

TEST_F(TrustedFileTest, IsReadWholeOrNotAtAll) {
  ASSERT_EQ(::chmod(path_.c_str(), 0644), 0);
  EXPECT_EQ(*ReadTrustedFile(path_, {.longest = 10}), "0123456789");
  EXPECT_EQ(ReadTrustedFile(path_, {.longest = 9}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReadTrustedFile(path_ + ".gone", {.longest = 9}).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ReadTrustedFile(::testing::TempDir(), {.longest = 9}).status().code(),
            absl::StatusCode::kFailedPrecondition);
  // Nobody writes into it, and nothing waits for that.
  const std::string fifo = path_ + ".fifo";
  ::unlink(fifo.c_str());
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_EQ(ReadTrustedFile(fifo, {.longest = 9}).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(TrustedFileTest, BelongsToRootOrTheDaemonsUser) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root may give files away";
  ASSERT_EQ(::chown(path_.c_str(), 65534, 65534), 0);
  EXPECT_EQ(CodeAt(0644, {.longest = 10}), absl::StatusCode::kFailedPrecondition);
}

TEST(HistogramTest, ADurationIsInTheFirstBucketThatHoldsIt) {
  Histogram histogram;
  const auto last = Histogram::kBounds.size();
  for (const Histogram::Duration duration :
       {Histogram::Duration(-5), Histogram::Duration(0), Histogram::kBounds[0],
        Histogram::kBounds[0] + Histogram::Duration(1), Histogram::kBounds[last - 1],
        Histogram::kBounds[last - 1] + Histogram::Duration(1)}) {
    histogram.Observe(duration);
  }
  const Histogram::Snapshot snapshot = histogram.Read();
  EXPECT_EQ(snapshot.counts[0], 3u);
  EXPECT_EQ(snapshot.counts[1], 1u);
  EXPECT_EQ(snapshot.counts[last - 1], 1u);
  EXPECT_EQ(snapshot.counts[last], 1u);
  EXPECT_EQ(snapshot.sum, 2 * Histogram::kBounds[0] + 2 * Histogram::kBounds[last - 1] + Histogram::Duration(2));
  EXPECT_TRUE(std::is_sorted(Histogram::kBounds.begin(), Histogram::kBounds.end()));
}

TEST(HistogramTest, ATimerObservesOnceAndOneWithoutAHistogramNothing) {
  Histogram histogram;
  { const ScopedTimer timer(&histogram); }
  { const ScopedTimer timer(nullptr); }
  const auto counts = histogram.Read().counts;
  EXPECT_EQ(std::accumulate(counts.begin(), counts.end(), uint64_t{0}), 1u);
}

TEST(CounterTest, ManyThreadsLoseNothing) {
  Counter counter;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&counter] {
      for (int n = 0; n < 10'000; ++n) counter.Add();
    });
  }
  for (std::thread& thread : threads) thread.join();
  counter.Add(5);
  EXPECT_EQ(counter.value(), 40'005u);
}

}  // namespace
}  // namespace netprov
