#include "server/netns/place.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "server/netns/netns.h"

namespace netprov::netns {
namespace {

// Linux 6.11; the headers of Debian 12 are older.
#ifndef PIDFD_GET_NET_NAMESPACE
#define PIDFD_GET_NET_NAMESPACE _IO(0xFF, 4)
#endif

// -1 and errno, as openat(2).
int OpenWithoutLinks(int directory, const char* path, uint64_t flags) {
  open_how how = {};
  how.flags = flags | O_CLOEXEC;
  how.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  while (true) {
    const int fd = static_cast<int>(::syscall(SYS_openat2, directory, path, &how, sizeof how));
    // EAGAIN: something was renamed meanwhile.
    if (fd >= 0 || (errno != EINTR && errno != EAGAIN)) return fd;
  }
}

// What to give in place of a path with a link in it.
std::string AdviceOn(const std::string& path) {
  if (absl::StartsWith(path, "/proc/") && absl::EndsWith(path, "/ns/net")) {
    return "a link of /proc is not followed: give the process by its number";
  }
  std::array<char, PATH_MAX> real;
  if (::realpath(path.c_str(), real.data()) == nullptr) return "a link is not followed, and this one leads nowhere";
  return absl::StrCat("a link is not followed: the path without is ", real.data());
}

KernelError NoSuchProcess(int pid, const char* call) {
  return {.code = ESRCH, .operation = absl::StrCat(call, "(", pid, ")"), .extack = {}};
}

KernelResult<UniqueFd> OpenProcess(int pid) {
  UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (process.valid()) return process;
  // EINVAL, or ENOENT since Linux 6.15: it is a thread, or no number at all.
  if (errno == EINVAL || errno == ENOENT) return NoSuchProcess(pid, "pidfd_open");
  return ErrnoError(absl::StrCat("pidfd_open(", pid, ")"));
}

// /proc, if its numbers are those of this process.
KernelResult<UniqueFd> OpenProc() {
  const KernelError wrong{.code = EMEDIUMTYPE, .operation = "open(/proc)", .extack = {}};
  UniqueFd proc(OpenWithoutLinks(AT_FDCWD, "/proc", O_PATH | O_DIRECTORY));
  if (!proc.valid()) return ErrnoError("open(/proc)");
  struct statfs file_system = {};
  if (::fstatfs(proc.get(), &file_system) != 0) return ErrnoError("fstatfs(/proc)");
  if (file_system.f_type != PROC_SUPER_MAGIC) return wrong;
  std::array<char, 32> self;
  const ssize_t size = ::readlinkat(proc.get(), "self", self.data(), self.size());
  if (size < 0) return ErrnoError("readlink(/proc/self)");
  if (absl::string_view(self.data(), static_cast<size_t>(size)) != absl::StrCat(::getpid())) return wrong;
  return proc;
}

bool HasEnded(const UniqueFd& process) {
  pollfd polled = {.fd = process.get(), .events = POLLIN, .revents = 0};
  return ::poll(&polled, 1, 0) != 0;
}

KernelResult<UniqueFd> OpenByProc(int pid, const UniqueFd& process) {
  const std::string operation = absl::StrCat("open(/proc/", pid, "/ns/net)");
  NETPROV_ASSIGN_OR_RETURN(const UniqueFd proc, OpenProc());
  const UniqueFd directory(OpenWithoutLinks(proc.get(), absl::StrCat(pid, "/ns").c_str(), O_PATH | O_DIRECTORY));
  UniqueFd netns(directory.valid() ? ::openat(directory.get(), "net", O_RDONLY | O_CLOEXEC) : -1);
  const int code = errno;
  // As long as it lives, nobody else has its number.
  if (HasEnded(process)) return NoSuchProcess(pid, "open");
  if (netns.valid()) return netns;
  // Of a thread that is just ending.
  if (code == ENOENT || code == ESRCH) return NoSuchProcess(pid, "open");
  return KernelError{.code = code, .operation = operation, .extack = {}};
}

}  // namespace

KernelResult<UniqueFd> OpenNetnsAt(const std::string& path) {
  const std::string operation = absl::StrCat("open(", path, ")");
  if (!absl::StartsWith(path, "/") || absl::StrContains(path, '\0')) {
    return KernelError{.code = EINVAL, .operation = operation, .extack = "the path must be absolute"};
  }
  const UniqueFd found(OpenWithoutLinks(AT_FDCWD, path.c_str(), O_PATH));
  if (!found.valid()) {
    KernelError error = ErrnoError(operation);
    if (error.code == ELOOP) error.extack = AdviceOn(path);
    return error;
  }
  return OpenFound(found.get(), operation);
}

KernelResult<UniqueFd> OpenNetnsOfProcess(int pid) {
  NETPROV_ASSIGN_OR_RETURN(const UniqueFd process, OpenProcess(pid));
  UniqueFd netns(::ioctl(process.get(), PIDFD_GET_NET_NAMESPACE, 0));
  if (netns.valid()) return netns;
  // Older kernels do not know it.
  if (errno == ENOTTY || errno == EINVAL || errno == EOPNOTSUPP) return OpenByProc(pid, process);
  return ErrnoError(absl::StrCat("ioctl(PIDFD_GET_NET_NAMESPACE ", pid, ")"));
}

KernelResult<UniqueFd> OpenNetnsOfProcessByProc(int pid) {
  NETPROV_ASSIGN_OR_RETURN(const UniqueFd process, OpenProcess(pid));
  return OpenByProc(pid, process);
}

}  // namespace netprov::netns
