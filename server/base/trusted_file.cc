#include "server/base/trusted_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/base/unique_fd.h"

namespace netprov {

absl::StatusOr<std::string> ReadTrustedFile(const std::string& path, TrustedFileRules rules) {
  auto error = [&path] {
    return absl::UnavailableError(absl::StrCat("cannot read ", path, ": ", strerrordesc_np(errno)));
  };
  // A FIFO must not make the daemon wait for somebody to write into it.
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat file = {};
  if (!fd.valid() || ::fstat(fd.get(), &file) != 0) return error();
  if (!S_ISREG(file.st_mode)) return absl::FailedPreconditionError(absl::StrCat(path, ": is no file"));
  const bool is_ours = file.st_uid == 0 || file.st_uid == ::geteuid();
  if (!is_ours || (file.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, ": must be a file that only root or the daemon's user can write"));
  }
  if (rules.is_secret && (file.st_mode & S_IRWXO) != 0) {
    return absl::FailedPreconditionError(absl::StrCat(path, ": others may read the key; make its mode 0600, or 0640"));
  }
  // One byte more, as it may grow while it is read.
  std::string text(rules.longest + 1, '\0');
  size_t size = 0;
  while (size < text.size()) {
    const ssize_t count = ::read(fd.get(), text.data() + size, text.size() - size);
    if (count < 0) return error();
    if (count == 0) break;
    size += count;
  }
  if (size > rules.longest) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": is longer than ", rules.longest, " bytes"));
  }
  text.resize(size);
  return text;
}

}  // namespace netprov
