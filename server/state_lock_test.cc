#include "server/state_lock.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace netprov {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::string NewDirectory() {
  std::string path = absl::StrCat(::testing::TempDir(), "/state_lock_XXXXXX");
  EXPECT_NE(::mkdtemp(path.data()), nullptr);
  return path;
}

class StateLockTest : public ::testing::Test {
 protected:
  StateLock::Options Daemon() const {
    return {.state_dir = directory_,
            .kind = StateLock::Kind::kDaemon,
            .endpoint = "unix:/x.sock",
            .wait = absl::Seconds(10)};
  }
  StateLock::Options Command(absl::Duration wait) const {
    return {.state_dir = directory_, .kind = StateLock::Kind::kCommand, .endpoint = "", .wait = wait};
  }

  const std::string directory_ = NewDirectory() + "/state";
};

TEST_F(StateLockTest, MakesAPrivateDirectory) {
  ASSERT_TRUE(StateLock::Take(Daemon()).ok());
  struct stat directory;
  ASSERT_EQ(::stat(directory_.c_str(), &directory), 0);
  EXPECT_EQ(directory.st_mode & 07777, 0700u);
}

TEST_F(StateLockTest, CanBeTakenAgainAfterItWasLetGo) {
  ASSERT_TRUE(StateLock::Take(Daemon()).ok());
  ASSERT_TRUE(StateLock::Take(Command(absl::ZeroDuration())).ok());
}

TEST_F(StateLockTest, NobodyWaitsForADaemon) {
  const auto lock = StateLock::Take(Daemon());
  ASSERT_TRUE(lock.ok()) << lock.status();
  // An hour: waiting for it would end in the test's timeout.
  StateLock::Options second = Daemon();
  second.wait = absl::Hours(1);
  const absl::Status status = StateLock::Take(second).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(status.message(),
            absl::StrCat("another netprovd (pid ", ::getpid(), ") at unix:/x.sock holds ", directory_));
  EXPECT_EQ(
      StateLock::Take(Command(absl::Hours(1))).status().message(),
      absl::StrCat("netprovd (pid ", ::getpid(), ") holds ", directory_, "; reach it with --endpoint unix:/x.sock"));
}

TEST_F(StateLockTest, EverybodyWaitsForACommand) {
  auto lock = StateLock::Take(Command(absl::ZeroDuration()));
  ASSERT_TRUE(lock.ok());
  const absl::Status refused = StateLock::Take(Command(absl::Milliseconds(1))).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(refused.message()), AllOf(HasSubstr(absl::StrCat("pid ", ::getpid())), HasSubstr("for 1ms")));
  std::thread waiter([&] { EXPECT_TRUE(StateLock::Take(Daemon()).ok()); });
  lock->reset();
  waiter.join();
}

TEST_F(StateLockTest, IsLetGoWhenItsHolderDies) {
  const pid_t child = ::fork();
  if (child == 0) {
    const auto lock = StateLock::Take(Daemon());
    ::_exit(lock.ok() ? 0 : 1);  // Without any clean-up.
  }
  int state = 0;
  ASSERT_EQ(::waitpid(child, &state, 0), child);
  ASSERT_EQ(state, 0);
  EXPECT_TRUE(StateLock::Take(Command(absl::ZeroDuration())).ok());
}

TEST_F(StateLockTest, DoesNotBelieveWhatADeadDaemonLeft) {
  auto lock = StateLock::Take(Command(absl::ZeroDuration()));
  ASSERT_TRUE(lock.ok());
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  // As if the holder had not written its own name yet.
  std::ofstream(directory_ + "/lock") << "pid=" << child << "\nkind=daemon\nendpoint=unix:/x.sock\n";
  std::thread waiter([&] { EXPECT_TRUE(StateLock::Take(Daemon()).ok()); });
  lock->reset();
  waiter.join();
}

TEST_F(StateLockTest, IsNeverFreeWhileItIsHandedOver) {
  auto old = StateLock::Take(Daemon());
  ASSERT_TRUE(old.ok());
  UniqueFd copy(::fcntl((*old)->fd(), F_DUPFD_CLOEXEC, 0));
  old->reset();
  EXPECT_FALSE(StateLock::Take(Command(absl::ZeroDuration())).ok());
  StateLock::Options options = Daemon();
  options.endpoint = "unix:/new.sock";
  auto next = StateLock::TakeOver(std::move(copy), options);
  ASSERT_TRUE(next.ok()) << next.status();
  EXPECT_THAT(std::string(StateLock::Take(Command(absl::Hours(1))).status().message()), HasSubstr("unix:/new.sock"));
  next->reset();
  EXPECT_TRUE(StateLock::Take(Command(absl::ZeroDuration())).ok());
}

TEST_F(StateLockTest, WhatIsHandedOverMustBeTheLock) {
  auto lock = StateLock::Take(Daemon());
  ASSERT_TRUE(lock.ok());
  const absl::Status other = StateLock::TakeOver(UniqueFd(::open("/dev/null", O_RDWR)), Daemon()).status();
  EXPECT_EQ(other.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(other.message()), HasSubstr(directory_ + "/lock"));
  // The right file, but not what holds it.
  EXPECT_FALSE(StateLock::TakeOver(UniqueFd(::open((directory_ + "/lock").c_str(), O_RDWR)), Daemon()).ok());
}

TEST_F(StateLockTest, SaysWhichDirectoryCannotBeUsed) {
  StateLock::Options options = Daemon();
  options.state_dir = "/proc/no/such";
  const absl::Status status = StateLock::Take(options).status();
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()), HasSubstr("cannot make the state directory /proc/no/such: "));
  const std::string elsewhere = NewDirectory();
  ASSERT_EQ(::symlink("/etc/passwd", (elsewhere + "/lock").c_str()), 0);
  options.state_dir = elsewhere;
  EXPECT_THAT(std::string(StateLock::Take(options).status().message()),
              HasSubstr("cannot open " + elsewhere + "/lock"));
}

}  // namespace
}  // namespace netprov
