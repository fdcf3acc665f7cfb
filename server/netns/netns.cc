#include "server/netns/netns.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/vfs.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>

#include "absl/strings/str_cat.h"

namespace netprov::netns {
namespace {

void GoHomeOrDie(int home) {
  if (::setns(home, CLONE_NEWNET) == 0) return;
  std::perror("netprov: cannot return to the host's network namespace");
  std::abort();
}

}  // namespace

KernelResult<UniqueFd> OpenCurrent() {
  UniqueFd fd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return ErrnoError("open(/proc/thread-self/ns/net)");
  return fd;
}

KernelResult<bool> IsNetns(int fd) {
  const int type = ::ioctl(fd, NS_GET_NSTYPE);
  // ENOTTY: no namespace at all. Any other error, such as a security module's, says nothing about the file.
  if (type == -1 && errno != ENOTTY) return ErrnoError("ioctl(NS_GET_NSTYPE)");
  return type == CLONE_NEWNET;
}

KernelResult<UniqueFd> OpenFound(int found, const std::string& operation) {
  const KernelError no_netns{.code = EMEDIUMTYPE, .operation = operation, .extack = {}};
  struct statfs file_system = {};
  if (::fstatfs(found, &file_system) != 0) return ErrnoError(operation);
  if (file_system.f_type != NSFS_MAGIC) return no_netns;
  UniqueFd netns(::open(absl::StrCat("/proc/self/fd/", found).c_str(), O_RDONLY | O_CLOEXEC));
  if (!netns.valid()) return ErrnoError(operation);
  NETPROV_ASSIGN_OR_RETURN(const bool is_netns, IsNetns(netns.get()));
  if (!is_netns) return no_netns;
  return netns;
}

KernelResult<void> RunInside(int netns, int home, const std::function<void()>& body) {
  if (::setns(netns, CLONE_NEWNET) != 0) return ErrnoError("setns(CLONE_NEWNET)");
  body();
  GoHomeOrDie(home);
  return {};
}

KernelResult<UniqueFd> MakeAnonymous(int home, const std::function<void()>& body) {
  if (::unshare(CLONE_NEWNET) != 0) return ErrnoError("unshare(CLONE_NEWNET)");
  KernelResult<UniqueFd> netns = OpenCurrent();
  if (netns.ok()) body();
  GoHomeOrDie(home);
  return netns;
}

KernelResult<uint64_t> Cookie(int socket) {
  uint64_t cookie = 0;
  socklen_t size = sizeof cookie;
  if (::getsockopt(socket, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) != 0) {
    return ErrnoError("getsockopt(SO_NETNS_COOKIE)");
  }
  return cookie;
}

}  // namespace netprov::netns
