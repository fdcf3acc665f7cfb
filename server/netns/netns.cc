#include "server/netns/netns.h"

#include <fcntl.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>

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
