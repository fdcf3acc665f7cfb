#include "server/netns/netns_directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "server/netns/netns.h"

namespace netprov::netns {
namespace {

// Linux 5.8; the headers of Debian 12 have it in linux/stat.h only, which clashes with sys/stat.h.
#ifndef STATX_ATTR_MOUNT_ROOT
constexpr unsigned STATX_ATTR_MOUNT_ROOT = 0x2000;
#endif

// Whether something is mounted right on `path`.
KernelResult<bool> IsMountPoint(const std::string& path) {
  struct statx status = {};
  if (::statx(AT_FDCWD, path.c_str(), AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, 0, &status) != 0) {
    return ErrnoError(absl::StrCat("statx(", path, ")"));
  }
  return (status.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
}

// Whether two descriptors are of one file. All namespaces are of one file system.
KernelResult<bool> AreSame(int a, int b) {
  struct stat status_a = {};
  struct stat status_b = {};
  if (::fstat(a, &status_a) != 0 || ::fstat(b, &status_b) != 0) return ErrnoError("fstat(/run/netns)");
  return status_a.st_dev == status_b.st_dev && status_a.st_ino == status_b.st_ino;
}

}  // namespace

KernelResult<void> CheckNetnsName(absl::string_view name) {
  if (name.empty() || name.size() > 255 || name == "." || name == ".." || absl::StrContains(name, '/') ||
      absl::StrContains(name, '\0')) {
    return KernelError{.code = EINVAL, .operation = "the name of a network namespace", .extack = {}};
  }
  return {};
}

std::string NetnsDirectory::PathOf(absl::string_view name) const { return absl::StrCat(path_, "/", name); }

KernelResult<UniqueFd> NetnsDirectory::OpenDirectory() const {
  UniqueFd directory(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!directory.valid()) return ErrnoError(absl::StrCat("open(", path_, ")"));
  return directory;
}

KernelResult<void> NetnsDirectory::Prepare() const {
  if (::mkdir(path_.c_str(), 0755) == 0) {
    // Whatever the umask: others may list what is there, as with ip-netns(8).
    if (::chmod(path_.c_str(), 0755) != 0) return ErrnoError(absl::StrCat("chmod(", path_, ")"));
  } else if (errno != EEXIST) {
    return ErrnoError(absl::StrCat("mkdir(", path_, ")"));
  }
  NETPROV_ASSIGN_OR_RETURN(UniqueFd lock, OpenDirectory());
  while (::flock(lock.get(), LOCK_EX) != 0) {
    if (errno != EINTR) return ErrnoError(absl::StrCat("flock(", path_, ")"));
  }
  NETPROV_ASSIGN_OR_RETURN(bool mounted, IsMountPoint(path_));
  if (!mounted && ::mount(path_.c_str(), path_.c_str(), "none", MS_BIND | MS_REC, nullptr) != 0) {
    return ErrnoError(absl::StrCat("mount(", path_, ")"));
  }
  if (::mount("", path_.c_str(), "none", MS_SHARED | MS_REC, nullptr) != 0) {
    return ErrnoError(absl::StrCat("mount(", path_, ", MS_SHARED)"));
  }
  return {};
}

bool NetnsDirectory::IsPrepared() const {
  KernelResult<bool> mounted = IsMountPoint(path_);
  return mounted.ok() && *mounted;
}

KernelResult<void> NetnsDirectory::Publish(absl::string_view name, int netns) const {
  NETPROV_RETURN_IF_ERROR(CheckNetnsName(name));
  const std::string path = PathOf(name);
  NETPROV_ASSIGN_OR_RETURN(UniqueFd directory, OpenDirectory());
  // The mount is prepared on a descriptor of its own and put onto the very file that was created, so no path is looked
  // up twice.
  UniqueFd tree(::open_tree(netns, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH));
  if (!tree.valid()) return ErrnoError("open_tree");
  const std::string file_name(name);
  UniqueFd file(
      ::openat(directory.get(), file_name.c_str(), O_RDONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0444));
  if (!file.valid()) return ErrnoError(absl::StrCat("open(", path, ")"));
  if (::move_mount(tree.get(), "", file.get(), "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) != 0) {
    KernelError error = ErrnoError(absl::StrCat("move_mount(", path, ")"));
    // ENOENT: somebody else deleted it, and what has the name now may be another's.
    if (error.code != ENOENT) ::unlinkat(directory.get(), file_name.c_str(), 0);
    return error;
  }
  return {};
}

KernelResult<void> NetnsDirectory::Remove(absl::string_view name, int netns) const {
  bool unmounted = false;
  KernelResult<void> removed = UnmountAndUnlink(name, netns, unmounted);
  if (!removed.ok()) removed.error().may_have_effect = unmounted;
  return removed;
}

KernelResult<void> NetnsDirectory::UnmountAndUnlink(absl::string_view name, int netns, bool& unmounted) const {
  NETPROV_RETURN_IF_ERROR(CheckNetnsName(name));
  const std::string path = PathOf(name);
  // More than once only where somebody stacked mounts, which ip-netns(8) did before it took the lock.
  constexpr int kMostMounts = 16;
  bool was_somebodys = false;
  for (int i = 0; i < kMostMounts; ++i) {
    // Looked at and unmounted through one descriptor: another may have the name between.
    const UniqueFd found(::open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    if (!found.valid()) return errno == ENOENT ? KernelResult<void>() : ErrnoError(absl::StrCat("open(", path, ")"));
    NETPROV_ASSIGN_OR_RETURN(bool is_it, AreSame(found.get(), netns));
    if (!is_it) {
      KernelResult<void> removed = RemoveFile(name);
      const bool is_somebodys = !removed.ok() && removed.error().code == EMEDIUMTYPE;
      if (!is_somebodys) return removed;
      // Whose it is now and not whose it was for a moment: a file of ours must not stay.
      if (was_somebodys) return {};
      was_somebodys = true;
      continue;
    }
    KernelResult<void> result = UnmountOpened(found.get());
    if (result.ok()) {
      unmounted = true;
    } else if (result.error().code != EINVAL) {  // Else somebody else unmounted it just now.
      result.error().operation = absl::StrCat("umount2(", path, ")");
      return result;
    }
  }
  return KernelError{.code = EBUSY, .operation = absl::StrCat("umount2(", path, ")"), .extack = {}};
}

KernelResult<void> NetnsDirectory::RemoveFile(absl::string_view name) const {
  NETPROV_RETURN_IF_ERROR(CheckNetnsName(name));
  const std::string path = PathOf(name);
  const KernelError refused{.code = EMEDIUMTYPE, .operation = absl::StrCat("remove(", path, ")"), .extack = {}};
  struct stat status = {};
  if (::lstat(path.c_str(), &status) != 0) {
    return errno == ENOENT ? KernelResult<void>() : ErrnoError(absl::StrCat("lstat(", path, ")"));
  }
  if (!S_ISREG(status.st_mode) || status.st_size != 0) return refused;
  if (::unlink(path.c_str()) == 0 || errno == ENOENT) return {};
  // EBUSY: something else is mounted on it.
  return errno == EBUSY ? refused : ErrnoError(absl::StrCat("unlink(", path, ")"));
}

KernelResult<UniqueFd> NetnsDirectory::Open(absl::string_view name) const {
  NETPROV_RETURN_IF_ERROR(CheckNetnsName(name));
  const std::string path = PathOf(name);
  const UniqueFd found(::open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!found.valid()) return ErrnoError(absl::StrCat("open(", path, ")"));
  return OpenFound(found.get(), absl::StrCat("open(", path, ")"));
}

KernelResult<NetnsDirectory::Kind> NetnsDirectory::Inspect(absl::string_view name) const {
  KernelResult<UniqueFd> netns = Open(name);
  if (netns.ok()) return Kind::kNamespace;
  if (netns.error().code == ENOENT) return Kind::kNone;
  if (netns.error().code == EMEDIUMTYPE) return Kind::kOther;
  return std::move(netns).error();
}

KernelResult<std::vector<NetnsDirectory::Entry>> NetnsDirectory::List() const {
  std::vector<Entry> entries;
  std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(path_.c_str()), &::closedir);
  if (directory == nullptr) {
    if (errno == ENOENT) return entries;
    return ErrnoError(absl::StrCat("opendir(", path_, ")"));
  }
  while (true) {
    errno = 0;
    const dirent* item = ::readdir(directory.get());
    if (item == nullptr) {
      if (errno != 0) return ErrnoError(absl::StrCat("readdir(", path_, ")"));
      break;
    }
    absl::string_view name = item->d_name;
    if (name == "." || name == "..") continue;
    // One that cannot be looked at must not hide the rest.
    const KernelResult<Kind> inspected = Inspect(name);
    const Kind kind = inspected.ok() ? *inspected : Kind::kOther;
    if (kind != Kind::kNone) entries.push_back({std::string(name), kind});  // Removed while we looked.
  }
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.name < b.name; });
  return entries;
}

KernelResult<void> UnmountOpened(int file) {
  const std::string path = absl::StrCat("/proc/self/fd/", file);
  // Not UMOUNT_NOFOLLOW: it is by following that the kernel comes to the mount.
  if (::umount2(path.c_str(), MNT_DETACH) != 0) return ErrnoError(absl::StrCat("umount2(", path, ")"));
  return {};
}

}  // namespace netprov::netns
