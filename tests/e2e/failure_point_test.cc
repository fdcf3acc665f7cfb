// Every system call of every mutation fails once, in each way that its man page allows and that can be thought of. The
// daemon lives on, the caller learns why, the kernel is as it was, and the same call then succeeds.
#include <sys/types.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
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
#include "tests/e2e/mutation.h"
#include "tests/e2e/tracer.h"

namespace netprov::testing {
namespace {

using ::testing::AnyOf;
using ::testing::Contains;

// What may go wrong with a system call. Left out are errors that are answers (ENOENT of a name that is not there) and
// those of a wrong argument.
const std::map<std::string, std::vector<int>>& Failures() {
  static const auto* const failures = new std::map<std::string, std::vector<int>>{
      {"bind", {EACCES, EADDRINUSE, ENOMEM}},
      {"fdatasync", {EDQUOT, EIO, ENOSPC}},
      {"fstatfs", {EINTR, EIO, ENOMEM, ENOSYS}},
      {"ftruncate", {EINTR, EIO}},
      {"getsockname", {ENOBUFS}},
      {"getsockopt", {ENOMEM, ENOPROTOOPT}},
      // Of a security module; the call itself can't fail on a namespace.
      {"ioctl", {EACCES}},
      {"mmap", {ENOMEM}},
      {"move_mount", {EBUSY, EINVAL, ENOMEM, ENOSPC, EPERM}},
      {"mprotect", {ENOMEM}},
      {"newfstatat", {EACCES, ENOMEM}},
      {"open_tree", {EMFILE, ENFILE, ENOMEM, ENOSPC, EPERM}},
      {"openat", {EACCES, EINTR, EIO, EMFILE, ENFILE, ENOMEM, EPERM}},
      {"pread64", {EINTR, EIO}},
      {"pwrite64", {EDQUOT, EFBIG, EINTR, EIO, ENOSPC, EPERM}},
      {"recvmsg", {EAGAIN, EINTR, ENOBUFS, ENOMEM}},
      {"sendmsg", {ECONNRESET, EINTR, ENOMEM, EPIPE}},
      {"sendto", {EAGAIN, ECONNREFUSED, EINTR, ENOBUFS, ENOMEM, EPERM}},
      {"setns", {EINVAL, ENOMEM, EPERM}},
      {"setsockopt", {ENOBUFS, ENOMEM, ENOPROTOOPT, EPERM}},
      {"socket", {EACCES, EAFNOSUPPORT, EMFILE, ENFILE, ENOBUFS, ENOMEM, EPROTONOSUPPORT}},
      {"statx", {EACCES, ENOMEM}},
      {"umount2", {EBUSY, EINVAL, ENOMEM, EPERM}},
      {"unlink", {EACCES, EBUSY, EIO, ENOMEM, EPERM, EROFS}},
      {"unshare", {EINVAL, ENOMEM, ENOSPC, EPERM}},
  };
  return *failures;
}

// And what may go wrong besides when a file is created.
constexpr int kCreationFailures[] = {EEXIST, ENOSPC, EROFS};

// The system calls of a worker that are left alone. Any other must have failures above.
const std::set<std::string>& LeftAlone() {
  static const auto* const calls = new std::set<std::string>{
      // Fails for a wrong address or value only, at which glibc ends the process.
      "futex",
      // The descriptor is gone whatever close(2) returns, but not where strace puts an error in the place of the call:
      // that would be a leak of strace's making.
      "close",
      // Gives back memory; who calls them can't do anything about it.
      "madvise", "munmap",
      // 16 bytes after the start of the system never fail (random(7)).
      "getrandom",
      // How gRPC, Abseil and glibc wait and wake: an error is a wrong argument.
      "clock_nanosleep", "epoll_ctl", "gettid", "sched_getparam", "sched_getscheduler", "sched_yield", "write",
      // strace's own doing: what was interrupted when it attached.
      "restart_syscall"};
  return *calls;
}

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
std::set<std::string> AllowedEndings(const SystemCall& call, int code, bool is_delete) {
  // Many a failure is made good: interrupted calls are repeated, lost acknowledgements looked up.
  std::set<std::string> allowed = {"OK"};
  // Halfway, a deletion can't be taken back.
  if (is_delete) allowed.insert("INTERNAL ROLLBACK_FAILED");
  if (IsOfConnection(call)) {
    // There is nobody to tell.
    allowed.insert("UNAVAILABLE");
  } else if (IsOfRegistry(call)) {
    allowed.insert("INTERNAL REGISTRY_FAILED");
  } else {
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
  bool IsDelete() const { return GetParam().uid == nullptr; }

  // How many descriptors the daemon has, but for connections, which go when gRPC comes to it.
  int OpenDescriptors() const {
    const std::string process = absl::StrCat("/proc/", daemon_->pid());
    std::set<std::string> connections;
    std::ifstream unix_sockets(process + "/net/unix");
    std::string line;
    while (std::getline(unix_sockets, line)) {
      const std::vector<std::string> fields = absl::StrSplit(line, ' ', absl::SkipEmpty());
      if (fields.size() > 6) connections.insert(absl::StrCat("socket:[", fields[6], "]"));
    }
    int count = 0;
    for (const auto& descriptor : std::filesystem::directory_iterator(process + "/fd")) {
      std::error_code closed_since;
      if (!connections.contains(std::filesystem::read_symlink(descriptor.path(), closed_since).string())) ++count;
    }
    return count;
  }

  // Lets the n-th system call of that name fail during a mutation, judges what became of it, and goes back to the state
  // before. Returns the system call as it failed; nullopt: there was none.
  std::optional<SystemCall> Fail(const std::string& name, int n, int code) {
    const int descriptors = OpenDescriptors();
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
      EXPECT_EQ(first.Summary(), "UNAVAILABLE");
    }
    const std::string found = Picture();
    if (!survived) {
      ++fatal_;
      EXPECT_THAT(found, AnyOf(before_, after_));
    } else if (!reached || first.ok()) {
      EXPECT_TRUE(first.ok()) << first.Summary() << ": " << first.message;
      EXPECT_EQ(found, after_);
      if (reached) ++made_good_;
    } else {
      EXPECT_THAT(AllowedEndings(*failed, code, IsDelete()), Contains(first.Summary())) << first.message;
      if (IsOfConnection(*failed)) {
        EXPECT_EQ(found, after_);
      } else if (!IsDelete()) {
        EXPECT_EQ(found, before_) << first.message;
      }
    }
    if (survived && !(reached && IsOfConnection(*failed))) {
      EXPECT_EQ(OpenDescriptors(), descriptors);
    }

    const Answer repeat = Call(request_id);
    EXPECT_TRUE(repeat.ok()) << "after the fault: " << repeat.Summary() << ": " << repeat.message;
    if (first.ok()) {
      EXPECT_EQ(repeat.object, first.object);
    }
    EXPECT_EQ(Picture(), after_);
    GetParam().revert(*client_);
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
  Tracer recorder({"-p", absl::StrCat(WorkerOf(daemon_->pid()))});
  ASSERT_TRUE(Call(NewRequestId()).ok());
  std::set<std::string> names;
  for (const SystemCall& call : recorder.Detach()) {
    if (LeftAlone().contains(call.name)) continue;
    ASSERT_TRUE(Failures().contains(call.name)) << "say how this may fail: " << call.line;
    names.insert(call.name);
  }
  GetParam().revert(*client_);
  int system_calls = 0;
  for (const std::string& name : names) {
    // Until the name does not occur any more: how often depends on the state of the registry and of the heap.
    for (int n = 1;; ++n) {
      std::vector<int> codes = Failures().at(name);
      const std::optional<SystemCall> failed = Fail(name, n, codes.front());
      if (!failed.has_value()) break;
      ++system_calls;
      if (absl::StrContains(failed->line, "O_CREAT")) {
        codes.insert(codes.end(), std::begin(kCreationFailures), std::end(kCreationFailures));
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
