#include "server/netns/inhabitants.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <functional>
#include <memory>
#include <set>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "server/base/unique_fd.h"

namespace netprov::netns {
namespace {

constexpr char kProc[] = "/proc";

// Whether an error says of a process that it is gone, or not for us to see. Any other says nothing about it.
bool IsHidden(int code) { return code == ENOENT || code == ESRCH || code == EACCES || code == EPERM; }

// Calls `visit` with each process that this one may see and what its link reads, as in `net:[4026531840]`.
KernelResult<void> VisitProcesses(const std::function<void(int pid, absl::string_view link)>& visit) {
  std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(kProc), &::closedir);
  if (directory == nullptr) return ErrnoError(absl::StrCat("opendir(", kProc, ")"));
  while (true) {
    errno = 0;
    const dirent* item = ::readdir(directory.get());
    if (item == nullptr) {
      if (errno != 0) return ErrnoError(absl::StrCat("readdir(", kProc, ")"));
      return {};
    }
    int pid = 0;
    if (!absl::SimpleAtoi(item->d_name, &pid)) continue;
    std::array<char, 64> link;
    const ssize_t size =
        ::readlinkat(::dirfd(directory.get()), absl::StrCat(pid, "/ns/net").c_str(), link.data(), link.size());
    if (size < 0 && !IsHidden(errno)) {
      return ErrnoError(absl::StrCat("readlink(/proc/", pid, "/ns/net)"));
    }
    if (size > 0) visit(pid, absl::string_view(link.data(), static_cast<size_t>(size)));
  }
}

}  // namespace

KernelResult<std::vector<int>> FindProcesses(int netns) {
  struct stat status = {};
  if (::fstat(netns, &status) != 0) return ErrnoError("fstat(/proc/PID/ns/net)");
  // As the link reads. All namespaces are of one file system, so the inode alone tells them apart; stat(2) would take a
  // reference to each and twice the time.
  const std::string wanted = absl::StrCat("net:[", status.st_ino, "]");
  std::vector<int> processes;
  NETPROV_RETURN_IF_ERROR(VisitProcesses([&](int pid, absl::string_view link) {
    if (link == wanted) processes.push_back(pid);
  }));
  std::sort(processes.begin(), processes.end());
  return processes;
}

KernelResult<std::vector<int>> FindOneProcessInEach() {
  std::set<std::string, std::less<>> seen;
  std::vector<int> processes;
  NETPROV_RETURN_IF_ERROR(VisitProcesses([&](int pid, absl::string_view link) {
    if (seen.emplace(link).second) processes.push_back(pid);
  }));
  return processes;
}

KernelResult<std::string> CommandOf(int pid) {
  const std::string path = absl::StrCat(kProc, "/", pid, "/comm");
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::array<char, 64> text;
  const ssize_t size = file.valid() ? ::read(file.get(), text.data(), text.size()) : -1;
  if (size < 0) {
    if (IsHidden(errno)) return std::string();
    return ErrnoError(absl::StrCat(file.valid() ? "read(" : "open(", path, ")"));
  }
  return std::string(absl::StripSuffix(absl::string_view(text.data(), static_cast<size_t>(size)), "\n"));
}

}  // namespace netprov::netns
