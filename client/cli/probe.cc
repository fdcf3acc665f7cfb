#include "client/cli/probe.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "client/cli/fd.h"

namespace netprov::cli {

absl::StatusOr<bool> IsListening(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    return absl::FailedPreconditionError(absl::StrCat(path, ": too long for a unix socket"));
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  const ScopedFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return absl::FailedPreconditionError(absl::StrCat("socket: ", std::strerror(errno)));
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) return true;
  switch (errno) {
    case EAGAIN:  // The backlog is full.
      return true;
    case ENOENT:
    case ECONNREFUSED:
      return false;
    case EACCES:
    case EPERM:
      return absl::PermissionDeniedError(absl::StrCat(path, ": ", std::strerror(errno)));
    default:
      return absl::FailedPreconditionError(absl::StrCat(path, ": ", std::strerror(errno)));
  }
}

}  // namespace netprov::cli
