// A file descriptor with one owner.
#ifndef NETPROV_CLIENT_CLI_FD_H_
#define NETPROV_CLIENT_CLI_FD_H_

#include <unistd.h>

namespace netprov::cli {

// Closes its descriptor at the end of its scope.
class ScopedFd {
 public:
  // Takes ownership of `fd`; a negative one is none.
  explicit ScopedFd(int fd) : fd_(fd) {}
  ScopedFd(const ScopedFd&) = delete;
  ScopedFd& operator=(const ScopedFd&) = delete;
  ~ScopedFd() {
    if (fd_ >= 0) ::close(fd_);
  }

  bool valid() const { return fd_ >= 0; }
  int get() const { return fd_; }

 private:
  const int fd_;
};

}  // namespace netprov::cli

#endif  // NETPROV_CLIENT_CLI_FD_H_
