// The daemon is killed at every system call of every mutation, also of those that it makes by itself, and started
// again. What is then there is exactly the state before or the state after, or one between two transactions where the
// call is several; it is the state after if the caller had been told so; and the caller's repeat, or the daemon by
// itself, leads to the state after. The same where the daemon is killed while it recovers.
//
// A process that is killed at a call leaves what the calls before it did, so that to kill it at each call that leaves
// something, and once all is done, shows all that there is to see: between two of these, one death is like another
// (points.h). With NETPROV_EVERY_CALL the daemon is killed at the others too.
#include <sys/types.h>

#include <csignal>
#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/e2e/mutation_fixture.h"
#include "tests/e2e/points.h"
#include "tests/e2e/tracer.h"
#include "tests/testing/process.h"

namespace netprov::testing {
namespace {

using ::testing::Contains;
using ::testing::Each;
using ::testing::HasSubstr;

constexpr char kListening[] = "listening address=";

std::string KillAt(const Point& point) { return absl::StrCat("inject=", point.name, ":signal=KILL:when=", point.n); }

// strace's flags that name the threads of a daemon.
using Whom = std::vector<std::string> (*)(pid_t daemon);

std::vector<std::string> TheWorker(pid_t daemon) { return {"-p", absl::StrCat(WorkerOf(daemon))}; }

std::vector<std::string> TheOthers(pid_t daemon) {
  const std::string worker = absl::StrCat(WorkerOf(daemon));
  std::vector<std::string> flags;
  for (const auto& task : std::filesystem::directory_iterator(absl::StrCat("/proc/", daemon, "/task"))) {
    const std::string thread = task.path().filename().string();
    if (thread != worker) flags.insert(flags.end(), {"-p", thread});
  }
  return flags;
}

// Expects that nothing else was missed: how much of the registry's file a transaction writes depends on what is there.
// Of all system calls some always depend on something, such as the heap.
void ExpectAreOfRegistry(const std::vector<std::string>& missed) {
  if (!IsExhaustive()) {
    EXPECT_THAT(missed, Each(HasSubstr("</var/lib/netprov/")));
  }
}

class CrashPointTest : public MutationTest {
 protected:
  // The system calls of a mutation, made and taken back.
  std::vector<SystemCall> Record(Whom whom) {
    Arm();
    Tracer recorder(whom(daemon_->pid()));
    const Answer answer = Call(NewRequestId());
    std::vector<SystemCall> calls = recorder.Detach();
    system_calls_ = calls.size();
    EXPECT_TRUE(answer.ok()) << answer.Summary() << ": " << answer.message;
    Revert();
    EXPECT_EQ(Picture(), before_);
    return calls;
  }

  // How often a call is made depends on the state of the registry and of the heap. This is that of a daemon that was
  // killed and did what it has to do.
  void StartAnew() {
    EXPECT_EQ(daemon_->Stop(SIGKILL), 128 + SIGKILL);
    StartDaemon();
    Arm();
    EXPECT_TRUE(Call(NewRequestId()).ok());
    Revert();
  }

  // Kills the daemon wherever it makes a difference. strace counts the calls of each name, and of each thread, by
  // themselves.
  void CrashEverywhere(Whom whom) {
    StartAnew();
    const std::vector<std::string> missed = ReachAll([&] { return PointsIn(Record(whom), IsExhaustive()); },
                                                     [&](const Point& point) { return CrashAt(point, whom); });
    if (HasFailure()) return;
    // Which of gRPC's threads does what, and in which order the daemon does what nobody called for, is not the same
    // each time.
    if (whom == TheWorker && GetParam().done.empty()) ExpectAreOfRegistry(missed);
    if (whom == TheWorker) {
      EXPECT_GT(system_calls_, 20U) << "the shortest change has more system calls";
      CrashWhenDone();
    }
    std::printf(
        "%s: %d crash points among %zu system calls; the state was then %d times that before, %d times one between and "
        "%d times that after, %d of these acknowledged\n",
        GetParam().name.c_str(), before_count_ + between_count_ + after_count_, system_calls_, before_count_,
        between_count_, after_count_, acknowledged_);
  }

  // What was traced, and whether the daemon lives on. What it does by itself may reach a point after what it was
  // watched for, until nobody traces it any more.
  std::pair<bool, std::vector<SystemCall>> End(Tracer& tracer) {
    const bool goes_on = Survived();
    std::vector<SystemCall> calls = goes_on ? tracer.Detach() : tracer.AwaitEnd();
    return {goes_on && Survived(), std::move(calls)};
  }

  size_t system_calls_ = 0;  // of the last recording
  int before_count_ = 0;
  int between_count_ = 0;
  int after_count_ = 0;
  int acknowledged_ = 0;

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

 private:
  // Makes the call under strace, judges what became of it, and goes back to the state before. False: the daemon was not
  // killed there.
  bool CrashAt(const Point& point, Whom whom) {
    const std::string request_id = NewRequestId();
    Arm();
    std::vector<std::string> flags = whom(daemon_->pid());
    flags.insert(flags.end(), {"-e", KillAt(point)});
    Tracer tracer(flags);
    const Answer first = Call(request_id);
    const auto [survived, calls] = End(tracer);
    if (survived) {
      EXPECT_TRUE(first.ok()) << first.message;
    } else {
      StartDaemon();
      EXPECT_TRUE(first.ok() || first.Summary() == "UNAVAILABLE") << first.Summary();
    }
    JudgeAndRevert(request_id, first, survived);
    // What the daemon looked at beside may have shifted the numbers.
    const std::vector<Point> points = PointsIn(calls, IsExhaustive());
    return !survived && (whom != TheWorker || (!points.empty() && points.back().what == point.what));
  }

  // After the last call that leaves something.
  void CrashWhenDone() {
    SCOPED_TRACE("killed when all was done");
    const std::string request_id = NewRequestId();
    Arm();
    const Answer first = Call(request_id);
    EXPECT_TRUE(first.ok()) << first.message;
    EXPECT_EQ(daemon_->Stop(SIGKILL), 128 + SIGKILL);
    StartDaemon();
    JudgeAndRevert(request_id, first, /*survived=*/false);
  }
};

TEST_P(CrashPointTest, AtEverySystemCallOfTheWorker) { CrashEverywhere(TheWorker); }

class OtherThreadsCrashPointTest : public CrashPointTest {};

TEST_P(OtherThreadsCrashPointTest, AtEverySystemCallOfTheOtherThreads) { CrashEverywhere(TheOthers); }

class RecoveryCrashPointTest : public CrashPointTest {
 protected:
  // Kills the daemon where a call leaves recovery the most to do: what can be undone, when all of it is done but for
  // the outcome; what can't, when nothing is done but the intent is written.
  void Interrupt() {
    for (int tries = 0; tries < kMostTries; ++tries) {
      if (!interruption_.has_value()) FindInterruption();
      if (HasFailure()) return;
      request_id_ = NewRequestId();
      Arm();
      Tracer tracer({"-p", absl::StrCat(WorkerOf(daemon_->pid())), "-e", KillAt(*interruption_)});
      first_ = Call(request_id_);
      const auto [survived, calls] = End(tracer);
      if (!survived && IsRight(calls)) return;
      // How much of the registry's file the intent takes is not the same each time.
      interruption_.reset();
      if (!survived) StartDaemon();
      JudgeAndRevert(request_id_, first_, survived);
    }
    ADD_FAILURE() << "the call is never interrupted where it should be";
  }

  // Starts the daemon again, judges what became of the call, and goes back to the state before.
  void Recover() {
    StartDaemon();
    JudgeAndRevert(request_id_, first_, /*survived=*/false);
  }

  // The points of a start that recovers. What comes ahead of the recovery is the same for all.
  std::vector<Point> PointsOfRecovery() const {
    size_t ahead = 0;
    const std::vector<SystemCall> calls = CallsOfStart(ReadTrace(), ahead);
    const bool is_first = GetParam().name == Mutations().front().name;
    return PointsIn(calls, IsExhaustive(), is_first ? 0 : ahead);
  }

 private:
  // How often the call is interrupted at the wrong place in a row.
  static constexpr int kMostTries = 10;

  bool CanBeUndone() const { return GetParam().uid != nullptr || GetParam().puts_right; }

  static bool IsOfRegistry(const Point& point) { return absl::StrContains(point.what, "</var/lib/netprov/"); }
  // What the call changes on the host; the answer is not of it.
  static std::vector<Point> ChangesOfHost(const std::vector<SystemCall>& calls) {
    std::vector<Point> changes = PointsIn(calls, /*every=*/false);
    std::erase_if(changes, [](const Point& point) { return IsOfRegistry(point) || point.name == "sendmsg"; });
    return changes;
  }

  void FindInterruption() {
    const std::vector<SystemCall> calls = Record(TheWorker);
    changes_.clear();
    for (const Point& change : ChangesOfHost(calls)) changes_.insert(change.what);
    ASSERT_FALSE(changes_.empty()) << "it changes nothing";
    for (const Point& point : PointsIn(calls, /*every=*/false)) {
      if (!CanBeUndone() && changes_.contains(point.what)) {
        interruption_ = point;
        return;
      }
      // The first of the registry after the last change of the host.
      if (changes_.contains(point.what)) interruption_.reset();
      if (IsOfRegistry(point) && !interruption_.has_value()) interruption_ = point;
    }
    // A check of the host has no outcome.
    if (!interruption_.has_value()) interruption_ = ChangesOfHost(calls).back();
  }

  // Whether a call was killed where it should be. The last of its system calls was not made.
  bool IsRight(std::vector<SystemCall> calls) const {
    if (!CanBeUndone()) return ChangesOfHost(calls).size() == 1;
    const std::vector<Point> points = PointsIn(calls, /*every=*/false);
    if (!points.empty() && IsOfRegistry(points.back())) calls.pop_back();
    return ChangesOfHost(calls).size() == changes_.size();
  }

  std::optional<Point> interruption_;
  std::set<std::string> changes_;
  std::string request_id_;
  Answer first_;
};

// And where the daemon that puts things right is killed itself.
TEST_P(RecoveryCrashPointTest, AtTheSystemCallsOfARecovery) {
  StartAnew();
  int crashes = 0;
  auto record = [&] {
    Interrupt();
    daemon_ = StartTraced({});
    EXPECT_TRUE(daemon_->Reaches(kListening)) << daemon_->log();
    daemon_->Stop(SIGKILL);
    std::vector<Point> points = PointsOfRecovery();
    Recover();
    return points;
  };
  auto attempt = [&](const Point& point) {
    Interrupt();
    daemon_ = StartTraced({"-e", KillAt(point)});
    const bool recovered = daemon_->Reaches(kListening);
    crashes += recovered ? 0 : 1;
    Recover();
    return !recovered;
  };
  ExpectAreOfRegistry(ReachAll(record, attempt));
  EXPECT_GT(crashes, 0);
  std::printf("%s: %d recoveries killed\n", GetParam().name.c_str(), crashes);
}

INSTANTIATE_TEST_SUITE_P(Each, CrashPointTest, ::testing::ValuesIn(Mutations()), NameOf);
// In the others, the threads besides the worker do nothing else.
INSTANTIATE_TEST_SUITE_P(Each, OtherThreadsCrashPointTest,
                         ::testing::ValuesIn(MutationsOf({"CreateNamespace", "CreateVeth", "DeleteNamespace",
                                                          "DeleteVeth", "HealChangedLink"})),
                         NameOf);
// What leaves no intent leaves recovery nothing to do.
INSTANTIATE_TEST_SUITE_P(Each, RecoveryCrashPointTest,
                         ::testing::ValuesIn(MutationsBut({"HealChangedLink", "HealDnsFiles"})), NameOf);

}  // namespace
}  // namespace netprov::testing
