#include "server/netns/sysctl.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "server/base/unique_fd.h"

namespace netprov::netns {
namespace {

constexpr char kDirectory[] = "/proc/sys/net";

// The path below kDirectory: dots and slashes change places.
std::string PathOf(const std::string& name) {
  std::string path(absl::StripPrefix(name, "net."));
  for (char& c : path) {
    if (c == '.') {
      c = '/';
    } else if (c == '/') {
      c = '.';
    }
  }
  return path;
}

std::string OperationOf(const std::string& name) { return absl::StrCat("sysctl ", name); }

KernelResult<UniqueFd> Open(const std::string& name, int flags) {
  UniqueFd directory(::open(kDirectory, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!directory.valid()) return ErrnoError(absl::StrCat("open(", kDirectory, ")"));
  const std::string path = PathOf(name);
  struct open_how how = {};
  how.flags = static_cast<uint64_t>(flags | O_CLOEXEC);
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;
  UniqueFd file(static_cast<int>(::syscall(SYS_openat2, directory.get(), path.c_str(), &how, sizeof how)));
  if (file.valid()) return file;
  KernelError error = ErrnoError(OperationOf(name));
  if (error.code == ENOENT || error.code == ENOTDIR) {
    // Not ENOENT, which would say that the namespace is not there.
    error.code = EOPNOTSUPP;
    error.extack = absl::StrCat("there is no ", kDirectory, "/", path,
                                " in the namespace: the kernel does not have it, not per namespace, or not before the "
                                "module is loaded that has it");
  }
  return error;
}

KernelResult<void> Write(const std::string& name, const std::string& value) {
  NETPROV_ASSIGN_OR_RETURN(UniqueFd file, Open(name, O_WRONLY));
  // The kernel takes a setting whole or not at all.
  if (::pwrite(file.get(), value.data(), value.size(), 0) < 0) return ErrnoError(OperationOf(name));
  return {};
}

}  // namespace

KernelResult<std::string> ReadSysctl(const std::string& name) {
  NETPROV_ASSIGN_OR_RETURN(UniqueFd file, Open(name, O_RDONLY));
  std::array<char, 4096> text;
  const ssize_t size = ::pread(file.get(), text.data(), text.size(), 0);
  if (size < 0) return ErrnoError(OperationOf(name));
  const absl::string_view value(text.data(), static_cast<size_t>(size));
  return absl::StrJoin(absl::StrSplit(value, absl::ByAnyChar(" \t\n"), absl::SkipEmpty()), " ");
}

KernelResult<void> WriteSysctls(const std::map<std::string, std::string>& sysctls) {
  // Some settings change others, as net.ipv4.ip_forward does with those of all links, so those are written once more.
  constexpr int kRounds = 2;
  for (int round = 0; round < kRounds; ++round) {
    for (const auto& [name, value] : sysctls) {
      KernelResult<std::string> now = ReadSysctl(name);
      if (now.ok() && *now == value) continue;
      NETPROV_RETURN_IF_ERROR(Write(name, value));
    }
  }
  for (const auto& [name, value] : sysctls) {
    NETPROV_ASSIGN_OR_RETURN(const std::string now, ReadSysctl(name));
    if (now == value) continue;
    return KernelError{.code = EINVAL,
                       .operation = OperationOf(name),
                       .extack = absl::StrCat("it reads '", now, "' after '", value, "' was written")};
  }
  return {};
}

}  // namespace netprov::netns
