#include "tests/e2e/failures.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <iterator>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace netprov::testing {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::Not;

// Part of the line of a system call at whose failure the daemon ends on purpose, and why.
struct Fatal {
  const char* name;
  const char* line;
  const char* why;
};
constexpr Fatal kFatal[] = {
    {"setns", "<net:", "the way home: the thread would serve others from inside a tenant's namespace"},
};

bool IsOfRegistry(const SystemCall& call) { return absl::StrContains(call.line, "/var/lib/netprov/"); }

}  // namespace

const std::map<std::string, std::vector<int>>& Failures() {
  static const auto* const failures = new std::map<std::string, std::vector<int>>{
      {"bind", {EACCES, EADDRINUSE, ENOMEM}},
      {"connect", {EAGAIN, ENOMEM}},
      {"eventfd2", {EMFILE, ENFILE, ENOMEM}},
      {"chmod", {EACCES, EIO, ENOMEM, EPERM, EROFS}},
      {"fchmod", {EIO, EPERM, EROFS}},
      {"fchown", {EIO, EPERM, EROFS}},
      {"fcntl", {ENOMEM}},
      {"fallocate", {EDQUOT, EINTR, EIO, ENOSPC}},
      {"fdatasync", {EDQUOT, EIO, ENOSPC}},
      {"fstatfs", {EINTR, EIO, ENOMEM, ENOSYS}},
      {"ftruncate", {EINTR, EIO}},
      {"getdents64", {EIO, ENOMEM}},
      {"getsockname", {ENOBUFS}},
      {"getsockopt", {ENOMEM, ENOPROTOOPT}},
      // Of a security module; the call itself can't fail on a namespace.
      {"ioctl", {EACCES}},
      {"listen", {EADDRINUSE}},
      {"mkdir", {EACCES, EDQUOT, ENOMEM, ENOSPC, EPERM, EROFS}},
      {"mount", {EBUSY, ENOMEM, EPERM}},
      {"mmap", {ENOMEM}},
      {"move_mount", {EBUSY, EINVAL, ENOMEM, ENOSPC, EPERM}},
      {"mprotect", {ENOMEM}},
      {"newfstatat", {EACCES, ENOMEM}},
      {"open_tree", {EMFILE, ENFILE, ENOMEM, ENOSPC, EPERM}},
      {"openat", {EACCES, EINTR, EIO, EMFILE, ENFILE, ENOMEM, EPERM}},
      {"openat2", {EACCES, EMFILE, ENFILE, ENOMEM, EPERM}},
      {"pidfd_open", {EMFILE, ENFILE, ENOMEM}},
      {"pread64", {EINTR, EIO}},
      {"pwrite64", {EDQUOT, EFBIG, EINTR, EIO, ENOSPC, EPERM}},
      {"read", {EIO, EINTR}},
      {"readlinkat", {EACCES, EIO, ENOMEM}},
      {"recvmsg", {EAGAIN, EINTR, ENOBUFS, ENOMEM}},
      {"renameat", {EACCES, EDQUOT, EIO, ENOMEM, ENOSPC, EPERM, EROFS}},
      {"renameat2", {EACCES, EDQUOT, EIO, ENOMEM, ENOSPC, EPERM, EROFS}},
      {"rmdir", {EACCES, EBUSY, ENOMEM, EPERM, EROFS}},
      {"sendmsg", {ECONNRESET, EINTR, ENOMEM, EPIPE}},
      {"sendto", {EAGAIN, ECONNREFUSED, EINTR, ENOBUFS, ENOMEM, EPERM}},
      {"setns", {EINVAL, ENOMEM, EPERM}},
      {"setsockopt", {ENOBUFS, ENOMEM, ENOPROTOOPT, EPERM}},
      {"socket", {EACCES, EAFNOSUPPORT, EMFILE, ENFILE, ENOBUFS, ENOMEM, EPROTONOSUPPORT}},
      {"statx", {EACCES, ENOMEM}},
      {"umount2", {EBUSY, EINVAL, ENOMEM, EPERM}},
      {"unlink", {EACCES, EBUSY, EIO, ENOMEM, EPERM, EROFS}},
      {"unlinkat", {EACCES, EBUSY, EIO, ENOMEM, EPERM, EROFS}},
      {"unshare", {EINVAL, ENOMEM, ENOSPC, EPERM}},
  };
  return *failures;
}

const std::vector<int>& CreationFailures() {
  static const auto* const failures = new std::vector<int>{EEXIST, ENOSPC, EROFS};
  return *failures;
}

const std::set<std::string>& LeftAlone() {
  static const auto* const calls = new std::set<std::string>{
      // Fails for a wrong address or value only, at which glibc ends the process.
      "futex",
      // The descriptor is gone whatever close(2) returns, but not where strace puts an error in the place of the call:
      // that would be a leak of strace's making.
      "close",
      // Where it fails, malloc(3) takes memory by mmap(2).
      "brk",
      // A start that gets no thread ends (std::thread).
      "clone", "clone3",
      // Gives back memory; who calls them can't do anything about it.
      "madvise", "munmap",
      // 16 bytes after the start of the system never fail (random(7)).
      "getrandom",
      // How gRPC, Abseil and glibc wait and wake: an error is a wrong argument.
      "clock_nanosleep", "epoll_ctl", "getpid", "gettid", "rt_sigprocmask", "sched_getparam", "sched_getscheduler",
      "sched_yield", "write",
      // strace's own doing: what was interrupted when it attached.
      "restart_syscall"};
  return *calls;
}

std::vector<Point> ThatMayFail(std::vector<Point> points) {
  std::erase_if(points, [](const Point& point) { return LeftAlone().contains(point.name); });
  std::erase_if(points, [](const Point& point) {
    EXPECT_TRUE(Failures().contains(point.name)) << "say how this may fail: " << point.what;
    return !Failures().contains(point.name);
  });
  return points;
}

std::string FailAt(const Point& point) {
  const std::vector<int>& codes = Failures().at(point.name);
  const int code = codes[static_cast<size_t>(point.n - 1) % codes.size()];
  return absl::StrCat("inject=", point.name, ":error=", strerrorname_np(code), ":when=", point.n);
}

std::optional<SystemCall> FailedOf(const std::vector<SystemCall>& calls) {
  const auto failed = std::find_if(calls.begin(), calls.end(), [](const SystemCall& call) { return call.injected(); });
  return failed == calls.end() ? std::nullopt : std::optional(*failed);
}

void ExpectRefusal(const std::string& log) {
  // The last: no memory for the stack of a thread, when all else is done.
  EXPECT_THAT(log,
              AnyOf(HasSubstr("netprovd: "), HasSubstr("cannot return to the host's"), HasSubstr("std::system_error")));
  EXPECT_THAT(log, Not(HasSubstr("Assertion")));
}

bool IsLongForm() { return std::getenv("NETPROV_EVERY_ERRNO") != nullptr; }

bool IsFatal(const SystemCall& call) {
  return std::any_of(std::begin(kFatal), std::end(kFatal), [&](const Fatal& fatal) {
    return call.name == fatal.name && absl::StrContains(call.line, fatal.line);
  });
}

bool IsOfConnection(const SystemCall& call) { return call.name == "sendmsg"; }

std::set<std::string> AllowedErrors(const SystemCall& call, int code) {
  // There is nobody to tell.
  if (IsOfConnection(call)) return {"UNAVAILABLE"};
  if (IsOfAuditLog(call)) return {"UNAVAILABLE AUDIT_FAILED"};
  if (IsOfRegistry(call)) return {"INTERNAL REGISTRY_FAILED"};
  // Whatever it is, but for what the machine is out of.
  std::set<std::string> allowed;
  if (absl::StrContains(call.line, "/proc/sys/net")) allowed.insert("FAILED_PRECONDITION SYSCTL_REFUSED");
  switch (code) {
    case EEXIST:
      // As if somebody had had the name for a moment.
      allowed.insert({"ALREADY_EXISTS NAMESPACE_NOT_MANAGED", "INTERNAL KERNEL_REFUSED"});
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
  return allowed;
}

}  // namespace netprov::testing
