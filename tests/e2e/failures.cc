#include "tests/e2e/failures.h"

#include <cerrno>

namespace netprov::testing {

const std::map<std::string, std::vector<int>>& Failures() {
  static const auto* const failures = new std::map<std::string, std::vector<int>>{
      {"bind", {EACCES, EADDRINUSE, ENOMEM}},
      {"fdatasync", {EDQUOT, EIO, ENOSPC}},
      {"fstatfs", {EINTR, EIO, ENOMEM, ENOSYS}},
      {"ftruncate", {EINTR, EIO}},
      {"getdents64", {EIO, ENOMEM}},
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
      {"openat2", {EACCES, EMFILE, ENFILE, ENOMEM, EPERM}},
      {"pread64", {EINTR, EIO}},
      {"pwrite64", {EDQUOT, EFBIG, EINTR, EIO, ENOSPC, EPERM}},
      {"read", {EIO, EINTR}},
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

}  // namespace netprov::testing
