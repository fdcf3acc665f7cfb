// The daemon is killed at every system call of every mutation, also of those that it makes by itself, and started
// again. What is then there is exactly the state before or the state after, or one between two transactions where the
// call is several; it is the state after if the caller had been told so; and the caller's repeat, or the daemon by
// itself, leads to the state after. The same where the daemon is killed while it recovers.
#include <sys/types.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/e2e/mutation.h"
#include "tests/e2e/tracer.h"
#include "tests/testing/process.h"

namespace netprov::testing {
namespace {

using ::testing::Contains;

class CrashPointTest : public MutationTest {
 protected:
  // Kills the daemon at every system call of a mutation: strace counts the calls of each name, and of each thread, by
  // themselves, so at the first, second, ... of every name, until one gets through. `whom` are the flags of strace that
  // name the threads of a daemon.
  void CrashEverywhere(std::vector<std::string> (*whom)(pid_t daemon)) {
    Arm();
    Tracer recorder(whom(daemon_->pid()));
    ASSERT_TRUE(Call(NewRequestId()).ok());
    std::vector<std::string> names;
    for (const SystemCall& call : recorder.Detach()) {
      if (std::find(names.begin(), names.end(), call.name) == names.end()) names.push_back(call.name);
    }
    Revert();
    ASSERT_EQ(Picture(), before_);

    for (const std::string& name : names) {
      for (int n = 1;; ++n) {
        SCOPED_TRACE(absl::StrCat("killed at ", name, " ", n));
        std::vector<std::string> flags = whom(daemon_->pid());
        flags.insert(flags.end(), {"-e", absl::StrCat("inject=", name, ":signal=KILL:when=", n)});
        if (!Crash(flags)) break;
        // One failure tells enough.
        ASSERT_FALSE(HasFailure());
      }
    }
    const int points = before_count_ + between_count_ + after_count_;
    EXPECT_GT(points, 20) << "the shortest change has more system calls";
    std::printf(
        "%s: %d crash points; the state was then %d times that before, %d times one between and %d times that after, "
        "%d of these acknowledged\n",
        GetParam().name.c_str(), points, before_count_, between_count_, after_count_, acknowledged_);
  }

  int before_count_ = 0;
  int between_count_ = 0;
  int after_count_ = 0;
  int acknowledged_ = 0;

 private:
  // Makes the call under strace, judges what became of it, and goes back to the state before. False: nothing was
  // killed.
  bool Crash(const std::vector<std::string>& flags) {
    const std::string request_id = NewRequestId();
    Arm();
    Tracer tracer(flags);
    const Answer first = Call(request_id);
    tracer.Detach();
    const bool survived = Survived();
    if (survived) {
      EXPECT_TRUE(first.ok()) << first.message;
    } else {
      StartDaemon();
      EXPECT_TRUE(first.ok() || first.Summary() == "UNAVAILABLE") << first.Summary();
    }
    JudgeAndRevert(request_id, first, survived);
    return !survived;
  }

 protected:
  // What became of a call that was killed, and of its repeat.
  void JudgeAndRevert(const std::string& request_id, const Answer& first, bool survived) {
    const std::string found = Found();
    if (first.ok()) {
      EXPECT_EQ(found, after_) << "what was acknowledged is lost";
    } else {
      EXPECT_THAT(allowed_, Contains(found));
    }
    if (!survived) {
      ++(found == after_ ? after_count_ : found == before_ ? before_count_ : between_count_);
      if (first.ok()) ++acknowledged_;
    }
    const std::string uid = GetParam().uid == nullptr ? "" : GetParam().uid(*client_);

    const Answer repeat = Repeat(request_id);
    EXPECT_TRUE(repeat.ok()) << repeat.Summary() << ": " << repeat.message;
    EXPECT_EQ(Picture(), after_);
    if (first.ok()) {
      EXPECT_EQ(repeat.object, first.object) << "a repeat gets the first answer";
    }
    if (found == after_) {
      EXPECT_EQ(repeat.uid, uid) << "a repeat does not make another";
    }
    if (GetParam().uid != nullptr) {
      EXPECT_EQ(repeat.uid, GetParam().uid(*client_));
    }
    Revert();
    EXPECT_EQ(Picture(), before_);
  }
};

TEST_P(CrashPointTest, AtEverySystemCallOfTheWorker) {
  CrashEverywhere([](pid_t daemon) -> std::vector<std::string> { return {"-p", absl::StrCat(WorkerOf(daemon))}; });
}

class AnyThreadCrashPointTest : public CrashPointTest {};

TEST_P(AnyThreadCrashPointTest, AtEverySystemCallOfAnyThread) {
  CrashEverywhere([](pid_t daemon) -> std::vector<std::string> { return {"-f", "-p", absl::StrCat(daemon)}; });
}

class RecoveryCrashPointTest : public CrashPointTest {};

// And where the daemon that puts things right is killed itself.
TEST_P(RecoveryCrashPointTest, AtTheSystemCallsOfARecovery) {
  // The first two writes are the intent; the third begins the outcome, when the kernel has changed already.
  constexpr char kBeforeTheOutcome[] = "inject=pwrite64:signal=KILL:when=3";
  // What changes something, and a good part of what is in between. Most of the others belong to the dynamic linker.
  constexpr const char* kNames[] = {"bind",   "fcntl", "fdatasync", "ftruncate", "getsockopt", "pwrite64",
                                    "sendto", "setns", "statx",     "umount2",   "unlink"};
  int crashes = 0;
  for (const char* name : kNames) {
    for (int n = 1;; ++n) {
      SCOPED_TRACE(absl::StrCat("recovery killed at ", name, " ", n));
      const std::string request_id = NewRequestId();
      Arm();
      Tracer tracer({"-p", absl::StrCat(WorkerOf(daemon_->pid())), "-e", kBeforeTheOutcome});
      const Answer first = Call(request_id);
      tracer.Detach();
      ASSERT_FALSE(Survived());
      EXPECT_EQ(first.Summary(), "UNAVAILABLE");

      // -D: the daemon is the child, and strace beside it. The main thread is the one that recovers.
      Process recovery({"strace", "-D", "-o", "/dev/null", "-e", absl::StrCat("inject=", name, ":signal=KILL:when=", n),
                        kNetprovd, "--workers", "1"});
      const bool recovered = recovery.Reaches("listening address=");
      recovery.Stop(SIGKILL);
      crashes += recovered ? 0 : 1;
      StartDaemon();
      JudgeAndRevert(request_id, first, /*survived=*/false);
      ASSERT_FALSE(HasFailure());
      if (recovered) break;
    }
  }
  EXPECT_GT(crashes, 0);
  std::printf("%s: %d recoveries killed\n", GetParam().name.c_str(), crashes);
}

INSTANTIATE_TEST_SUITE_P(Each, CrashPointTest, ::testing::ValuesIn(Mutations()), NameOf);
// In the others, the threads besides the worker do nothing else.
INSTANTIATE_TEST_SUITE_P(
    Each, AnyThreadCrashPointTest,
    ::testing::ValuesIn(MutationsBut({"CreateConfiguredVeth", "DeleteConfiguredVeth", "CreateLimitedVeth",
                                      "DeleteLimitedVeth", "CreateNatVeth", "CreateBridge", "DeleteBridge",
                                      "CreatePort", "CreateDevice", "CreateNamespaceWithDns", "AdoptNamespace",
                                      "UpdateVeth", "CreateVethAtPath", "DeleteVethAtPath", "CollectGarbage",
                                      "CheckHost", "Expiry", "HealDeletedLink", "HealDeletedNamespace"})),
    NameOf);
// What recovery does after the others is in the engine's tests, or is the same.
INSTANTIATE_TEST_SUITE_P(
    Each, RecoveryCrashPointTest,
    ::testing::ValuesIn(MutationsBut({"UpdateVeth", "DeleteBridge", "DeleteConfiguredVeth", "CreateLimitedVeth",
                                      "DeleteLimitedVeth", "CreateNatVeth", "CreatePort", "CreateDevice",
                                      "CreateNamespaceWithDns", "AdoptNamespace", "DeleteVethAtPath", "CollectGarbage",
                                      "CheckHost", "Expiry", "HealChangedLink", "HealDeletedLink"})),
    NameOf);

}  // namespace
}  // namespace netprov::testing
