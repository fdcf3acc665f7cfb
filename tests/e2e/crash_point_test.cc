// The daemon is killed at every system call of every mutation, also of those that it makes by itself, and started
// again. What is then there is exactly the state before or the state after, or one between two transactions where the
// call is several; it is the state after if the caller had been told so; and the caller's repeat, or the daemon by
// itself, leads to the state after. The same where the daemon is killed while it recovers, or where a system call of
// the recovery fails.
//
// A process that is killed at a call leaves what the calls before it did, so that to kill it at each call that leaves
// something, and once all is done, shows all that there is to see: between two of these, one death is like another
// (points.h). With NETPROV_EVERY_CALL the daemon is killed at the others too.
#include <sys/types.h>

#include <algorithm>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <iterator>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/component/test_client.h"
#include "tests/e2e/audit_lines.h"
#include "tests/e2e/failures.h"
#include "tests/e2e/mutation_fixture.h"
#include "tests/e2e/points.h"
#include "tests/e2e/tracer.h"
#include "tests/testing/process.h"

namespace netprov::testing {
namespace {

using ::testing::Contains;

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

class CrashPointTest : public MutationTest {
 protected:
  // How often what goes otherwise than it is meant to is tried in a row.
  static constexpr int kMostTries = 10;

  // The system calls of a mutation, made and taken back.
  std::vector<SystemCall> Record(Whom whom) {
    for (int tries = 0; tries < kMostTries; ++tries) {
      std::vector<SystemCall> calls = RecordOnce(whom);
      if (whom != TheWorker || WasReady(calls) || HasFailure()) return calls;
    }
    ADD_FAILURE() << "it is never ready when it is watched";
    return {};
  }
  std::vector<SystemCall> RecordOnce(Whom whom) {
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
    const bool comes_again = whom == TheWorker && GetParam().done.empty();
    ReachAll([&] { return PointsIn(Record(whom), IsExhaustive()); },
             [&](const Point& point) { return CrashAt(point, whom); }, comes_again ? ShareOfRun() : Share::kAny);
    if (HasFailure()) return;
    if (whom == TheWorker) {
      EXPECT_GT(system_calls_, 20U) << "the shortest change has more system calls";
      // What is killed between its intent and its line has one all the same.
      if (GetParam().done.empty() && !GetParam().puts_right) {
        EXPECT_GT(recovered_lines_, 0);
      }
      CrashWhenDone();
    }
    std::printf(
        "%s: %d crash points among %zu system calls; the state was then %d times that before, %d times one between and "
        "%d times that after, %d of these acknowledged; %d lines of the audit log were written by the next start\n",
        GetParam().name.c_str(), before_count_ + between_count_ + after_count_, system_calls_, before_count_,
        between_count_, after_count_, acknowledged_, recovered_lines_);
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
  int recovered_lines_ = 0;  // of the audit log, that the start after a kill has written

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
    const size_t lines = JudgeLines(first, found, survived);

    const Answer repeat = Repeat(request_id);
    EXPECT_TRUE(repeat.ok()) << repeat.Summary() << ": " << repeat.message;
    EXPECT_EQ(Picture(), after_);
    if (GetParam().done.empty()) {
      EXPECT_EQ(CallLines().size(), lines + 1) << "the repeat is a call";
    }
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
  // The audit log's lines of calls since the state was that before.
  std::vector<nlohmann::json> CallLines() const {
    std::vector<nlohmann::json> lines = AuditLines();
    lines.erase(lines.begin(), lines.begin() + static_cast<ptrdiff_t>(std::min(audited_, lines.size())));
    std::erase_if(lines, [](const nlohmann::json& line) { return !IsOfCall(line); });
    return lines;
  }

  // Whoever was answered has one line, and so has whoever has begun to change something, if only for a moment. Returns
  // how many lines calls have.
  size_t JudgeLines(const Answer& first, const std::string& found, bool survived) {
    // What no call asked for has lines of the daemon's own.
    const std::vector<nlohmann::json> lines = CallLines();
    if (!GetParam().done.empty()) return lines.size();
    EXPECT_LE(lines.size(), 1U);
    const std::string log = daemon_->log();
    const bool was_recovered = !survived && (absl::StrContains(log, "that did not finish was undone") ||
                                             absl::StrContains(log, "that did not finish was completed"));
    const bool changed = !GetParam().puts_right && found != before_;
    if (first.ok() || was_recovered || changed) {
      EXPECT_EQ(lines.size(), 1U) << "acknowledged or begun, and not told of";
    }
    for (const nlohmann::json& line : lines) {
      if (GetParam().uid != nullptr && found == after_) {
        EXPECT_TRUE(SaysDone(line)) << line;
      } else if (found == before_ && !GetParam().puts_right) {
        EXPECT_FALSE(SaysDone(line)) << line;
      }
      if (first.ok() && survived) {
        EXPECT_EQ(line.value("code", ""), "OK") << line;
      }
      if (line.value("recovered", false)) ++recovered_lines_;
    }
    return lines.size();
  }

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
      if (!interruption_.has_value()) continue;
      request_id_ = NewRequestId();
      Arm();
      Tracer tracer({"-p", absl::StrCat(WorkerOf(daemon_->pid())), "-e", KillAt(*interruption_)});
      first_ = Call(request_id_);
      const auto [survived, calls] = End(tracer);
      if (!survived && IsRight(calls)) return;
      interruption_.reset();
      at_outcome_ = !at_outcome_;
      if (!survived) StartDaemon();
      JudgeAndRevert(request_id_, first_, survived);
    }
    ADD_FAILURE() << "the call is never interrupted where it should be";
  }

  // Interrupts a call, and starts the daemon under strace with these flags. Whether it came to serve.
  bool InterruptAndStart(const std::vector<std::string>& flags) {
    Interrupt();
    client_ = nullptr;
    daemon_ = StartTraced(flags);
    return daemon_->Reaches(kListening);
  }

  // Starts the daemon again, judges what became of the call, and goes back to the state before.
  void Recover() {
    StartDaemon();
    JudgeAndRevert(request_id_, first_, /*survived=*/false);
  }

  // The points of a start that recovers. What comes ahead of the recovery is the same for all.
  std::vector<Point> PointsOfRecovery() {
    EXPECT_TRUE(InterruptAndStart({})) << daemon_->log();
    told_ = Told();
    daemon_->Stop(SIGKILL);
    size_t ahead = 0;
    const std::vector<SystemCall> calls = CallsOfStart(ReadTrace(), ahead);
    const bool is_first = GetParam().name == Mutations().front().name;
    std::vector<Point> points = PointsIn(calls, IsExhaustive(), is_first ? 0 : ahead);
    Recover();
    return points;
  }

  // Of the others the recovery is that of a creation or of a pair's deletion.
  static bool FailsToo() {
    const std::set<std::string> others = {"CollectGarbage",       "Expiry",     "HealBridge", "HealDeletedLink",
                                          "HealDeletedNamespace", "HealDevice", "HealNat",    "HealRates"};
    return !others.contains(GetParam().name);
  }

  // Kills a recovery. False: it was not killed there.
  bool Kill(const Point& point) {
    const bool recovered = InterruptAndStart({"-e", KillAt(point)});
    kills_ += recovered ? 0 : 1;
    Recover();
    return !recovered;
  }

  // Lets a system call of a recovery fail. The daemon refuses to start and says why, or it serves; what it could not do
  // then it says too. False: it was not reached.
  bool Fail(const Point& point) {
    if (ThatMayFail({point}).empty()) return true;
    const bool serves = InterruptAndStart({"-e", FailAt(point)});
    const std::optional<SystemCall> failed = FailedOf(ReadTrace());
    const bool reached = failed.has_value();
    SCOPED_TRACE(reached ? failed->line : "it did not fail");
    failures_ += reached ? 1 : 0;
    if (!serves) {
      ++refused_;
      EXPECT_TRUE(reached);
      ExpectRefusal(daemon_->log());
    } else if (reached && TellsOfMore()) {
      ++reported_;
    } else {
      client_ = std::make_unique<TestClient>(absl::StrCat("unix:", kSocket));
      EXPECT_THAT(allowed_, Contains(Found()));
    }
    Recover();
    return reached;
  }

  int kills_ = 0;
  int failures_ = 0;
  int refused_ = 0;
  int reported_ = 0;

 private:
  // What was found at the start.
  std::set<std::string> Told() {
    client_ = std::make_unique<TestClient>(absl::StrCat("unix:", kSocket));
    const Reply<v1::HostReport> report = client_->GetReport();
    ExpectOk(report);
    const std::vector<std::string> findings = FindingsOf(report.value);
    return {findings.begin(), findings.end()};
  }

  // Whether the start told of something besides what a recovery tells of at which nothing fails.
  bool TellsOfMore() {
    const std::set<std::string> now = Told();
    return !std::includes(told_.begin(), told_.end(), now.begin(), now.end());
  }

  bool CanBeUndone() const { return GetParam().uid != nullptr || GetParam().puts_right; }

  // What the call leaves, and of that what it changes on the host; the answer is not of it, nor is the audit log's
  // line.
  static std::vector<Point> Effects(const std::vector<SystemCall>& calls) {
    std::vector<Point> effects = PointsIn(calls, /*every=*/false);
    std::erase_if(effects, [](const Point& point) { return point.name == "sendmsg" || point.is_of_audit_log; });
    return effects;
  }
  static std::vector<Point> ChangesOfHost(const std::vector<SystemCall>& calls) {
    std::vector<Point> changes = Effects(calls);
    std::erase_if(changes, [](const Point& point) { return point.is_of_registry; });
    return changes;
  }

  void FindInterruption() {
    const std::vector<SystemCall> calls = Record(TheWorker);
    const std::vector<Point> changes = ChangesOfHost(calls);
    changes_.clear();
    for (const Point& change : changes) changes_.insert(change.what);
    // What the daemon does by itself may have been done before it was watched.
    if (changes.empty()) return;
    // A check of the host has no outcome.
    const bool has_outcome = Effects(calls).back().is_of_registry;
    interruption_ = CanBeUndone() && !has_outcome ? changes.back() : changes.front();
    if (!CanBeUndone() || !has_outcome) return;
    // After the last change. The number of the next call is shifted by what the daemon looks at beside, that of the
    // outcome by pages of the registry, so that they are tried in turn.
    const std::vector<Point> all = at_outcome_ ? Effects(calls) : PointsIn(calls, /*every=*/true);
    const Point& last = changes.back();
    auto is_last = [&last](const Point& point) { return point.name == last.name && point.n == last.n; };
    interruption_ = *std::next(std::find_if(all.begin(), all.end(), is_last));
  }

  // Whether a call was killed where it should be. The last of the system calls was not made.
  bool IsRight(const std::vector<SystemCall>& calls) const {
    std::vector<Point> effects = Effects(calls);
    if (effects.empty()) return false;
    const bool is_effect = !LeavesNothing(calls.back());
    if (changes_.contains(interruption_->what)) return is_effect && effects.back().what == interruption_->what;
    if (is_effect && !effects.back().is_of_registry) return false;
    if (is_effect) effects.pop_back();
    return !effects.empty() && changes_.contains(effects.back().what) && ChangesOfHost(calls).size() == changes_.size();
  }

  std::optional<Point> interruption_;
  bool at_outcome_ = true;  // or at the call after the last change
  std::set<std::string> changes_;
  std::set<std::string> told_;
  std::string request_id_;
  Answer first_;
};

// And where the daemon that puts things right is killed itself, or cannot do something of it.
TEST_P(RecoveryCrashPointTest, AtTheSystemCallsOfARecovery) {
  StartAnew();
  auto attempt = [this](const Point& point) { return Kill(point) && (!FailsToo() || Fail(point)); };
  ReachAll([this] { return PointsOfRecovery(); }, attempt, ShareOfRun());
  EXPECT_GT(kills_, 0);
  EXPECT_EQ(failures_ > 0, FailsToo());
  std::printf(
      "%s: %d recoveries killed; %d failures of recoveries, %d kept the daemon from starting, %d were reported\n",
      GetParam().name.c_str(), kills_, failures_, refused_, reported_);
}

INSTANTIATE_TEST_SUITE_P(Each, CrashPointTest, ::testing::ValuesIn(Mutations()), NameOf);
// In the others, the threads besides the worker do nothing else.
INSTANTIATE_TEST_SUITE_P(Each, OtherThreadsCrashPointTest,
                         ::testing::ValuesIn(MutationsOf({"CreateNamespace", "CreateNamespaceMadeAhead", "CreateVeth",
                                                          "DeleteNamespace", "DeleteVeth", "HealChangedLink"})),
                         NameOf);
// What leaves no intent leaves recovery nothing to do, and what a namespace is made of makes no difference to it.
INSTANTIATE_TEST_SUITE_P(
    Each, RecoveryCrashPointTest,
    ::testing::ValuesIn(MutationsBut({"HealChangedLink", "HealDnsFiles", "CreateNamespaceMadeAhead"})), NameOf);

}  // namespace
}  // namespace netprov::testing
