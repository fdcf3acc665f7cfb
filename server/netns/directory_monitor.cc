#include "server/netns/directory_monitor.h"

#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace netprov::netns {

KernelResult<std::unique_ptr<DirectoryMonitor>> DirectoryMonitor::Open(const std::string& path) {
  UniqueFd inotify(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!inotify.valid()) return ErrnoError("inotify_init1");
  if (::inotify_add_watch(inotify.get(), path.c_str(),
                          IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF | IN_ONLYDIR) < 0) {
    return ErrnoError(absl::StrCat("inotify_add_watch(", path, ")"));
  }
  return std::unique_ptr<DirectoryMonitor>(new DirectoryMonitor(std::move(inotify)));
}

KernelResult<DirectoryMonitor::News> DirectoryMonitor::Read() {
  News news;
  alignas(inotify_event) std::array<char, 16384> buffer;
  while (true) {
    const ssize_t size = ::read(inotify_.get(), buffer.data(), buffer.size());
    if (size < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN) return news;
      return ErrnoError("read(inotify)");
    }
    for (ssize_t at = 0; at < size;) {
      inotify_event event;
      std::memcpy(&event, buffer.data() + at, sizeof(event));
      const char* name = buffer.data() + at + sizeof(event);
      if ((event.mask & (IN_Q_OVERFLOW | IN_IGNORED | IN_DELETE_SELF | IN_UNMOUNT)) != 0) {
        news.lost = true;
      } else if (event.len > 0) {
        news.names.emplace_back(name);
      }
      at += static_cast<ssize_t>(sizeof(event)) + event.len;
    }
  }
}

}  // namespace netprov::netns
