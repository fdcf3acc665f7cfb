// Every system call of every mutation, also of those that the daemon makes by itself, fails once, in each way that its
// man page allows and that can be thought of. The daemon lives on, the caller or the log learns why, the kernel is as
// it was, and the same call, or the next start, then succeeds.
#include <sys/types.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/e2e/descriptors.h"
#include "tests/e2e/failures.h"
#include "tests/e2e/mutation_fixture.h"
#include "tests/e2e/points.h"
#include "tests/e2e/tracer.h"

namespace netprov::testing {
namespace {

using ::testing::Contains;

// What the caller may be told.
std::set<std::string> AllowedEndings(const SystemCall& call, int code, bool can_be_undone) {
  std::set<std::string> allowed = AllowedErrors(call, code);
  // Many a failure is made good: interrupted calls are repeated, lost acknowledgements looked up. Others are named in
  // an answer, or in the log.
  allowed.insert({"OK", "UNKNOWN"});
  if (!can_be_undone) allowed.insert("INTERNAL ROLLBACK_FAILED");
  return allowed;
}

class FailurePointTest : public MutationTest {
 protected:
  static constexpr int kMostTries = 10;

  // The others are made of the same parts as these, which are tested in every way: each of their system calls fails in
  // one way, and the next of its name in the next.
  bool InEveryWay() const {
    const std::set<std::string> names = {"CreateNamespace", "CreateVeth", "DeleteNamespace", "DeleteVeth"};
    return IsLongForm() || names.contains(GetParam().name);
  }

  // Of what makes, heals, updates or deletes by the same parts as another does, in CI only the system calls fail that
  // leave something.
  bool EveryCall() const {
    const std::set<std::string> names = {"CreateDetailedVeth",
                                         "CreateForeignPort",
                                         "CreateHostBridge",
                                         "CreateIfb",
                                         "CreateLimitedVeth",
                                         "CreateNamespaceMadeAhead",
                                         "CreateStack",
                                         "CreateVethAtProcess",
                                         "CreateVxlan",
                                         "CreateVxlanPort",
                                         "DeleteIfb",
                                         "DeleteLimitedVeth",
                                         "DeleteNatVeth",
                                         "Expiry",
                                         "UpdateBridge",
                                         "UpdateDevice",
                                         "UpdateLimits",
                                         "UpdateNat",
                                         "UpdatePort",
                                         "UpdateVethToForeignPort",
                                         "UpdateVethToNoPort",
                                         "UpdateVethToOtherPort",
                                         "UpdateVethToPort",
                                         "HealDeletedLink",
                                         "HealDeletedNamespace",
                                         "HealRates",
                                         "HealNat",
                                         "HealDnsFiles",
                                         "HealBridge",
                                         "HealDevice"};
    return IsLongForm() || !names.contains(GetParam().name);
  }

  // Halfway, a deletion can't be taken back.
  bool CanBeUndone() const { return GetParam().uid != nullptr; }

  // A namespace that may not be entered is somebody's, and a check leaves it.
  bool MayBeOverlooked(int code) const { return GetParam().name == "CheckHost" && (code == EACCES || code == EPERM); }

  // The system calls of a mutation that can fail, made and taken back.
  std::vector<Point> Record() {
    std::vector<SystemCall> calls;
    bool was_ready = false;
    for (int tries = 0; tries < kMostTries && !was_ready; ++tries) {
      Arm();
      Tracer recorder({"-p", absl::StrCat(WorkerOf(daemon_->pid()))});
      EXPECT_TRUE(Call(NewRequestId()).ok());
      calls = recorder.Detach();
      Revert();
      was_ready = WasReady(calls);
    }
    EXPECT_TRUE(was_ready) << "it is never ready when it is watched";
    std::vector<Point> points = ThatMayFail(PointsIn(calls, EveryCall()));
    return HasFailure() ? std::vector<Point>() : points;
  }

  // Lets a system call fail during a mutation, judges what became of it, and goes back to the state
  // before. Returns the system call as it failed; nullopt: there was none.
  std::optional<SystemCall> Fail(const Point& point, int code) {
    Arm();
    const std::vector<std::string> descriptors = OpenDescriptors(daemon_->pid());
    const std::string request_id = NewRequestId();
    Tracer tracer({"-p", absl::StrCat(WorkerOf(daemon_->pid())), "-e",
                   absl::StrCat("inject=", point.name, ":error=", strerrorname_np(code), ":when=", point.n)});
    const Answer first = Call(request_id);
    const std::optional<SystemCall> failed = FailedOf(tracer.Detach());
    const bool reached = failed.has_value();
    SCOPED_TRACE(reached ? failed->line : "it was not reached");
    const bool survived = Survived();
    if (!survived) {
      StartDaemon();
      EXPECT_TRUE(reached && IsFatal(*failed)) << "the daemon ended";
      // All may have been done and said before it looked once more.
      EXPECT_TRUE(first.ok() || first.Summary() == "UNAVAILABLE") << first.Summary();
    } else if (!(reached && IsOfConnection(*failed))) {
      ExpectNoneBesides(descriptors, daemon_->pid());
    }
    // It would be tried again in a minute.
    if (survived && !first.ok() && GetParam().await != nullptr) StartDaemon();
    const std::string found = Found();
    if (!survived) ++fatal_;
    if (!reached || first.ok()) {
      EXPECT_TRUE(first.ok()) << first.Summary() << ": " << first.message;
      if (!MayBeOverlooked(code)) {
        EXPECT_EQ(found, after_);
      }
      if (reached && survived) ++made_good_;
    } else if (!survived) {
      EXPECT_THAT(allowed_, Contains(found));
    } else {
      EXPECT_THAT(AllowedEndings(*failed, code, CanBeUndone()), Contains(first.Summary())) << first.message;
      if (IsOfConnection(*failed)) {
        EXPECT_EQ(found, after_);
      } else if (CanBeUndone()) {
        EXPECT_EQ(found, before_) << first.message;
      }
    }

    const Answer repeat = Repeat(request_id);
    EXPECT_TRUE(repeat.ok()) << "after the fault: " << repeat.Summary() << ": " << repeat.message;
    if (first.ok()) {
      EXPECT_EQ(repeat.object, first.object);
    }
    EXPECT_EQ(Picture(), after_);
    Revert();
    EXPECT_EQ(Picture(), before_);
    if (reached) ++tried_;
    return failed;
  }

  int tried_ = 0;
  int made_good_ = 0;
  int fatal_ = 0;
};

TEST_P(FailurePointTest, AtEverySystemCallOfTheWorker) {
  int system_calls = 0;
  auto attempt = [&](const Point& point) {
    std::vector<int> codes = Failures().at(point.name);
    if (!InEveryWay()) codes = {codes[(point.n - 1) % codes.size()]};
    const std::optional<SystemCall> failed = Fail(point, codes.front());
    if (!failed.has_value()) return false;
    ++system_calls;
    if (InEveryWay() && absl::StrContains(failed->line, "O_CREAT")) {
      codes.insert(codes.end(), CreationFailures().begin(), CreationFailures().end());
    }
    for (size_t i = 1; i < codes.size(); ++i) Fail(point, codes[i]);
    return true;
  };
  ReachAll([this] { return Record(); }, attempt, GetParam().done.empty() ? Share::kMost : Share::kAny);
  EXPECT_GT(system_calls, 0);
  std::printf(
      "%s: %d failures of %d system calls; %d of the calls succeeded all the same, %d ended the daemon by "
      "design\n",
      GetParam().name.c_str(), tried_, system_calls, made_good_, fatal_);
}

INSTANTIATE_TEST_SUITE_P(Each, FailurePointTest, ::testing::ValuesIn(Mutations()), NameOf);

}  // namespace
}  // namespace netprov::testing
