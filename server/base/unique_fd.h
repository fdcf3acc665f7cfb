// A file descriptor with one owner.
#ifndef NETPROV_SERVER_BASE_UNIQUE_FD_H_
#define NETPROV_SERVER_BASE_UNIQUE_FD_H_

#include <unistd.h>

#include <utility>

namespace netprov {

// Closes its descriptor when it is destroyed. Movable, not copyable. Thread-compatible.
class UniqueFd {
 public:
  UniqueFd() = default;
  // Takes ownership of `fd`; a negative one is none.
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) {
      Reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  ~UniqueFd() { Reset(); }

  bool valid() const { return fd_ >= 0; }
  // The descriptor, still owned, or -1.
  int get() const { return fd_; }

  // The descriptor, which is the caller's from now on, or -1.
  int Release() { return std::exchange(fd_, -1); }

  // Closes now. close(2)'s errors are not reported: on Linux the descriptor is gone in any case.
  void Reset() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }

 private:
  int fd_ = -1;
};

}  // namespace netprov

#endif  // NETPROV_SERVER_BASE_UNIQUE_FD_H_
