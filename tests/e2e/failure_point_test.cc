// Every system call of every mutation, also of those that the daemon makes by itself, fails once, in each way that its
// man page allows and that can be thought of. The daemon lives on, the caller or the log learns why, the kernel is as
// it was, and the same call, or the next start, then succeeds.
#include <sys/types.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <set>
#include <string>
#include <system_error>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/e2e/failures.h"
#include "tests/e2e/mutation.h"
#include "tests/e2e/tracer.h"

namespace netprov::testing {
namespace {

using ::testing::Contains;
using ::testing::IsEmpty;

// Part of the line of a system call at whose failure the daemon ends on purpose, and why.
struct Fatal {
  const char* name;
  const char* line;
  const char* why;
};
constexpr Fatal kFatal[] = {
    {"setns", "<net:", "the way home: the thread would serve others from inside a tenant's namespace"},
};

bool IsFatal(const SystemCall& call) {
  return std::any_of(std::begin(kFatal), std::end(kFatal), [&](const Fatal& fatal) {
    return call.name == fatal.name && absl::StrContains(call.line, fatal.line);
  });
}

// Where a system call belongs.
bool IsOfRegistry(const SystemCall& call) { return absl::StrContains(call.line, "/var/lib/netprov/"); }
bool IsOfConnection(const SystemCall& call) { return call.name == "sendmsg"; }

// What the caller may be told.
std::set<std::string> AllowedEndings(const SystemCall& call, int code, bool can_be_undone) {
  // Many a failure is made good: interrupted calls are repeated, lost acknowledgements looked up. Others are named in
  // an answer, or in the log.
  std::set<std::string> allowed = {"OK", "UNKNOWN"};
  if (!can_be_undone) allowed.insert("INTERNAL ROLLBACK_FAILED");
  if (IsOfConnection(call)) {
    // There is nobody to tell.
    allowed.insert("UNAVAILABLE");
  } else if (IsOfRegistry(call)) {
    allowed.insert("INTERNAL REGISTRY_FAILED");
  } else {
    // Whatever it is, but for what the machine is out of.
    if (absl::StrContains(call.line, "/proc/sys/net")) allowed.insert("FAILED_PRECONDITION SYSCTL_REFUSED");
    switch (code) {
      case EEXIST:
        // As if somebody had had the name for a moment.
        allowed.insert("ALREADY_EXISTS NAMESPACE_NOT_MANAGED");
        allowed.insert("INTERNAL KERNEL_REFUSED");
        break;
      case EMFILE:
      case ENFILE:
      case ENOBUFS:
      case ENOMEM:
      case ENOSPC:
        allowed.insert("RESOURCE_EXHAUSTED KERNEL_RESOURCES_EXHAUSTED");
        break;
      case EACCES:
      case EPERM:
        allowed.insert("FAILED_PRECONDITION KERNEL_PERMISSION_DENIED");
        break;
      case EAFNOSUPPORT:
      case ENOPROTOOPT:
      case ENOSYS:
      case EPROTONOSUPPORT:
        allowed.insert("FAILED_PRECONDITION KERNEL_FEATURE_MISSING");
        break;
      default:
        allowed.insert(call.name == "unshare" && code == EINVAL ? "FAILED_PRECONDITION KERNEL_FEATURE_MISSING"
                                                                : "INTERNAL KERNEL_REFUSED");
    }
  }
  return allowed;
}

class FailurePointTest : public MutationTest {
 protected:
  // The others are made of the same parts as these, which are tested in every way: each of their system calls fails in
  // one way, and the next of its name in the next.
  bool InEveryWay() const {
    const std::set<std::string> names = {"CreateNamespace", "CreateVeth", "DeleteNamespace", "DeleteVeth"};
    return names.contains(GetParam().name);
  }

  // Halfway, a deletion can't be taken back.
  bool CanBeUndone() const { return GetParam().uid != nullptr; }

  // A namespace that may not be entered is somebody's, and a check leaves it.
  bool MayBeOverlooked(int code) const { return GetParam().name == "CheckHost" && (code == EACCES || code == EPERM); }

  // What descriptors the daemon has, but for connections, which go when gRPC comes to it.
  std::vector<std::string> OpenDescriptors() const {
    const std::string process = absl::StrCat("/proc/", daemon_->pid());
    std::set<std::string> connections;
    std::ifstream unix_sockets(process + "/net/unix");
    std::string line;
    while (std::getline(unix_sockets, line)) {
      const std::vector<std::string> fields = absl::StrSplit(line, ' ', absl::SkipEmpty());
      if (fields.size() > 6) connections.insert(absl::StrCat("socket:[", fields[6], "]"));
    }
    std::vector<std::string> descriptors;
    for (const auto& descriptor : std::filesystem::directory_iterator(process + "/fd")) {
      std::error_code closed_since;
      const std::string target = std::filesystem::read_symlink(descriptor.path(), closed_since).string();
      if (!target.empty() && !connections.contains(target)) descriptors.push_back(target);
    }
    std::sort(descriptors.begin(), descriptors.end());
    return descriptors;
  }

  // Expects no other descriptors than there were, once what the daemon does by itself is through.
  void ExpectNoneBesides(const std::vector<std::string>& before) const {
    const auto deadline = std::chrono::steady_clock::now() + kDeadline;
    std::vector<std::string> leaked;
    do {
      leaked.clear();
      const std::vector<std::string> now = OpenDescriptors();
      std::set_difference(now.begin(), now.end(), before.begin(), before.end(), std::back_inserter(leaked));
    } while (!leaked.empty() && std::chrono::steady_clock::now() < deadline);
    EXPECT_THAT(leaked, IsEmpty());
  }

  // Lets the n-th system call of that name fail during a mutation, judges what became of it, and goes back to the state
  // before. Returns the system call as it failed; nullopt: there was none.
  std::optional<SystemCall> Fail(const std::string& name, int n, int code) {
    Arm();
    const std::vector<std::string> descriptors = OpenDescriptors();
    const std::string request_id = NewRequestId();
    Tracer tracer({"-p", absl::StrCat(WorkerOf(daemon_->pid())), "-e",
                   absl::StrCat("inject=", name, ":error=", strerrorname_np(code), ":when=", n)});
    const Answer first = Call(request_id);
    const std::vector<SystemCall> calls = tracer.Detach();
    const auto failed =
        std::find_if(calls.begin(), calls.end(), [](const SystemCall& call) { return call.injected(); });
    const bool reached = failed != calls.end();
    SCOPED_TRACE(absl::StrCat("number ", n, ": ", reached ? failed->line : name + " was not reached"));
    const bool survived = Survived();
    if (!survived) {
      StartDaemon();
      EXPECT_TRUE(reached && IsFatal(*failed)) << "the daemon ended";
      // What it does by itself may have been done before it looked once more.
      const bool may_be_done = first.ok() && GetParam().await != nullptr;
      EXPECT_TRUE(may_be_done || first.Summary() == "UNAVAILABLE") << first.Summary();
    } else if (!(reached && IsOfConnection(*failed))) {
      ExpectNoneBesides(descriptors);
    }
    // It would be tried again in a minute.
    if (survived && !first.ok() && GetParam().await != nullptr) StartDaemon();
    const std::string found = Found();
    if (!survived) {
      ++fatal_;
      EXPECT_THAT(allowed_, Contains(found));
    } else if (!reached || first.ok()) {
      EXPECT_TRUE(first.ok()) << first.Summary() << ": " << first.message;
      if (!MayBeOverlooked(code)) {
        EXPECT_EQ(found, after_);
      }
      if (reached) ++made_good_;
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
    if (!reached) return std::nullopt;
    ++tried_;
    return *failed;
  }

  int tried_ = 0;
  int made_good_ = 0;
  int fatal_ = 0;
};

TEST_P(FailurePointTest, AtEverySystemCallOfTheWorker) {
  Arm();
  Tracer recorder({"-p", absl::StrCat(WorkerOf(daemon_->pid()))});
  ASSERT_TRUE(Call(NewRequestId()).ok());
  std::set<std::string> names;
  for (const SystemCall& call : recorder.Detach()) {
    if (LeftAlone().contains(call.name)) continue;
    ASSERT_TRUE(Failures().contains(call.name)) << "say how this may fail: " << call.line;
    names.insert(call.name);
  }
  Revert();
  int system_calls = 0;
  for (const std::string& name : names) {
    // Until the name does not occur any more: how often depends on the state of the registry and of the heap.
    for (int n = 1;; ++n) {
      std::vector<int> codes = Failures().at(name);
      if (!InEveryWay()) codes = {codes[(n - 1) % codes.size()]};
      const std::optional<SystemCall> failed = Fail(name, n, codes.front());
      if (!failed.has_value()) break;
      ++system_calls;
      if (InEveryWay() && absl::StrContains(failed->line, "O_CREAT")) {
        codes.insert(codes.end(), CreationFailures().begin(), CreationFailures().end());
      }
      for (size_t i = 1; i < codes.size(); ++i) Fail(name, n, codes[i]);
      // What fails once tends to fail many times.
      ASSERT_FALSE(HasFailure());
    }
  }
  std::printf(
      "%s: %d failures of %d system calls; %d of the calls succeeded all the same, %d ended the daemon by "
      "design\n",
      GetParam().name.c_str(), tried_, system_calls, made_good_, fatal_);
}

INSTANTIATE_TEST_SUITE_P(Each, FailurePointTest, ::testing::ValuesIn(Mutations()), NameOf);

}  // namespace
}  // namespace netprov::testing
