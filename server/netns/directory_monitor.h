// The kernel's own news of the names at /run/netns.
#ifndef NETPROV_SERVER_NETNS_DIRECTORY_MONITOR_H_
#define NETPROV_SERVER_NETNS_DIRECTORY_MONITOR_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "server/base/kernel_error.h"
#include "server/base/unique_fd.h"

namespace netprov::netns {

// Tells which names were made, renamed or removed in a directory (inotify(7)). A mount on a name, or its end without
// the end of the file, is not told. For one thread.
class DirectoryMonitor {
 public:
  // Fails with the system call's error.
  static KernelResult<std::unique_ptr<DirectoryMonitor>> Open(const std::string& path);

  // Readable when there is news.
  int fd() const { return inotify_.get(); }

  struct News {
    std::vector<std::string> names;
    // More happened than the kernel kept, or the directory itself went away.
    bool lost = false;
  };

  // All that has come.
  KernelResult<News> Read();

 private:
  explicit DirectoryMonitor(UniqueFd inotify) : inotify_(std::move(inotify)) {}

  UniqueFd inotify_;
};

}  // namespace netprov::netns

#endif  // NETPROV_SERVER_NETNS_DIRECTORY_MONITOR_H_
