#include "client/cli/exec.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "client/cli/error_text.h"
#include "client/cli/fd.h"

namespace netprov::cli {
namespace {

// Linux 5.14; Debian 12's libc has it not yet in <sys/socket.h> on all architectures.
#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

ExecFailure Fail(absl::StatusCode code, std::string message) {
  return {.exit_code = ExitCode(absl::Status(code, "")), .message = std::move(message)};
}

// The failure of the system call that just failed: reads errno.
ExecFailure SystemFailure(const std::string& what) {
  const int error = errno;
  const bool denied = error == EPERM || error == EACCES;
  return Fail(denied ? absl::StatusCode::kPermissionDenied : absl::StatusCode::kInternal,
              absl::StrCat(what, ": ", std::strerror(error)));
}

// Binds the namespace's own configuration files over the host's.
void BindEtc(const std::string& name, const std::function<void(const std::string&)>& warn) {
  const std::string directory = absl::StrCat("/etc/netns/", name);
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(opendir(directory.c_str()), closedir);
  if (entries == nullptr) return;
  while (const dirent* entry = readdir(entries.get())) {
    const std::string file = entry->d_name;
    if (file == "." || file == "..") continue;
    const std::string source = absl::StrCat(directory, "/", file);
    const std::string target = absl::StrCat("/etc/", file);
    if (mount(source.c_str(), target.c_str(), "none", MS_BIND, nullptr) != 0) {
      warn(absl::StrCat("binding ", source, " to ", target, ": ", std::strerror(errno)));
    }
  }
}

}  // namespace

ExecFailure ExecInNamespace(const ExecRequest& request, const std::function<void(const std::string&)>& warn) {
  const std::string& path = request.path;
  {
    const ScopedFd ns(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
    if (!ns.valid()) {
      if (errno == ENOENT) return Fail(absl::StatusCode::kFailedPrecondition, absl::StrCat(path, ": is not there"));
      return SystemFailure(path);
    }
    struct statfs filesystem = {};
    if (fstatfs(ns.get(), &filesystem) != 0) return SystemFailure(path);
    if (filesystem.f_type != NSFS_MAGIC || ioctl(ns.get(), NS_GET_NSTYPE) != CLONE_NEWNET) {
      return Fail(absl::StatusCode::kFailedPrecondition, absl::StrCat(path, ": is no network namespace"));
    }
    if (setns(ns.get(), CLONE_NEWNET) != 0) return SystemFailure(absl::StrCat("entering ", path));
  }
  if (request.cookie != 0) {
    const ScopedFd fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    uint64_t cookie = 0;
    socklen_t size = sizeof(cookie);
    if (!fd.valid() || getsockopt(fd.get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) != 0) {
      return SystemFailure(absl::StrCat(path, ": SO_NETNS_COOKIE"));
    }
    if (cookie != request.cookie) {
      return Fail(
          absl::StatusCode::kFailedPrecondition,
          absl::StrCat(path, ": is another namespace than the server's; does the server see another /run/netns?"));
    }
  }

  if (unshare(CLONE_NEWNS) != 0) return SystemFailure("unshare(CLONE_NEWNS)");
  // What is mounted from here on must not show outside; what is mounted outside shall still show here.
  if (mount("", "/", "none", MS_SLAVE | MS_REC, nullptr) != 0) return SystemFailure("making / a slave mount");
  struct statvfs sys = {};
  const bool read_only = statvfs("/sys", &sys) == 0 && (sys.f_flag & ST_RDONLY) != 0;
  const unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC | (read_only ? MS_RDONLY : 0);
  if (mount("netprov", "/sys", "sysfs", flags, nullptr) != 0) return SystemFailure("mounting /sys");
  BindEtc(path.substr(path.rfind('/') + 1), warn);

  std::vector<char*> arguments;
  for (const std::string& argument : request.command) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  execvp(arguments[0], arguments.data());
  const int error = errno;
  return {.exit_code = error == ENOENT ? 127 : 126,
          .message = absl::StrCat(request.command[0], ": ", std::strerror(error))};
}

}  // namespace netprov::cli
