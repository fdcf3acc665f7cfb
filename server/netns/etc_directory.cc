#include "server/netns/etc_directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "server/netns/netns_directory.h"

namespace netprov::netns {
namespace {

constexpr size_t kLongestFile = 65536;

// FNV-1a: the same in each process, so that the next one finds what this one left.
uint64_t HashOf(absl::string_view text) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return hash;
}

// It is a link, or no directory: somebody's.
bool IsOdd(int code) { return code == ENOTDIR || code == ELOOP; }

// nullopt: there is none. Empty: it is no file that could be one of ours.
KernelResult<std::optional<std::string>> ReadFile(int directory, const std::string& file, const std::string& path) {
  struct stat status = {};
  if (::fstatat(directory, file.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return std::optional<std::string>();
    return ErrnoError(absl::StrCat("stat(", path, ")"));
  }
  std::string text;
  // Opening a FIFO or a device may block or have effects.
  if (!S_ISREG(status.st_mode) || status.st_size > static_cast<off_t>(kLongestFile)) return std::optional(text);
  const UniqueFd opened(::openat(directory, file.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!opened.valid()) {
    if (errno == ENOENT) return std::optional<std::string>();
    return ErrnoError(absl::StrCat("open(", path, ")"));
  }
  text.resize(kLongestFile);
  size_t size = 0;
  while (size < text.size()) {
    const ssize_t read = ::pread(opened.get(), text.data() + size, text.size() - size, static_cast<off_t>(size));
    if (read < 0) return ErrnoError(absl::StrCat("read(", path, ")"));
    if (read == 0) break;
    size += static_cast<size_t>(read);
  }
  text.resize(size);
  return std::optional(std::move(text));
}

KernelResult<void> Fill(int draft, absl::string_view text, const std::string& path) {
  // Whatever the umask: whoever enters the namespace reads it.
  if (::fchmod(draft, 0644) != 0) return ErrnoError(absl::StrCat("chmod(", path, ")"));
  for (size_t done = 0; done < text.size();) {
    const ssize_t written = ::pwrite(draft, text.data() + done, text.size() - done, static_cast<off_t>(done));
    if (written < 0) return ErrnoError(absl::StrCat("write(", path, ")"));
    done += static_cast<size_t>(written);
  }
  // Else it may be empty after a power failure.
  if (::fdatasync(draft) != 0) return ErrnoError(absl::StrCat("fdatasync(", path, ")"));
  return {};
}

// Puts a file in its place, of one that may be there only with `replace`.
KernelResult<void> WriteFile(int directory, const std::string& file, const std::string& draft, absl::string_view text,
                             bool replace, const std::string& path) {
  const UniqueFd opened(::openat(directory, draft.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644));
  if (!opened.valid()) return ErrnoError(absl::StrCat("open(", path, ")"));
  KernelResult<void> written = Fill(opened.get(), text, path);
  if (written.ok() &&
      ::renameat2(directory, draft.c_str(), directory, file.c_str(), replace ? 0 : RENAME_NOREPLACE) != 0) {
    written = ErrnoError(absl::StrCat("rename(", path, ")"));
    // Somebody was faster.
    if (written.error().code == EEXIST) written.error().code = EMEDIUMTYPE;
  }
  if (!written.ok()) ::unlinkat(directory, draft.c_str(), 0);
  return written;
}

// Makes a directory that all may read; whether it was made now does not matter.
KernelResult<void> MakeDirectory(const std::string& path) {
  if (::mkdir(path.c_str(), 0755) != 0) {
    return errno == EEXIST ? KernelResult<void>() : ErrnoError(absl::StrCat("mkdir(", path, ")"));
  }
  // Whatever the umask.
  if (::chmod(path.c_str(), 0755) != 0) return ErrnoError(absl::StrCat("chmod(", path, ")"));
  return {};
}

bool HasMark(absl::string_view text, absl::string_view mark) {
  return text.size() > mark.size() && text.substr(0, mark.size()) == mark && text[mark.size()] == '\n';
}

}  // namespace

std::string EtcDirectory::DraftOf(absl::string_view file, absl::string_view mark) {
  return absl::StrCat(".", file, ".", absl::Hex(HashOf(mark), absl::kZeroPad16), ".netprov");
}

std::string EtcDirectory::PathOf(absl::string_view name) const { return absl::StrCat(path_, "/", name); }

KernelResult<EtcDirectory::Entry> EtcDirectory::Read(absl::string_view name) const {
  NETPROV_RETURN_IF_ERROR(CheckNetnsName(name));
  const std::string path = PathOf(name);
  Entry entry;
  const UniqueFd directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!directory.valid()) {
    if (errno == ENOENT) return entry;
    if (!IsOdd(errno)) return ErrnoError(absl::StrCat("open(", path, ")"));
    entry.exists = true;
    for (const absl::string_view file : kFiles) entry.files[std::string(file)];
    return entry;
  }
  entry.exists = true;
  for (const absl::string_view name_of_file : kFiles) {
    const std::string file(name_of_file);
    NETPROV_ASSIGN_OR_RETURN(std::optional<std::string> text,
                             ReadFile(directory.get(), file, absl::StrCat(path, "/", file)));
    if (text.has_value()) entry.files[file] = *std::move(text);
  }
  return entry;
}

KernelResult<UniqueFd> EtcDirectory::Make(absl::string_view name) const {
  const std::string path = PathOf(name);
  NETPROV_RETURN_IF_ERROR(MakeDirectory(path_));
  NETPROV_RETURN_IF_ERROR(MakeDirectory(path));
  UniqueFd directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (directory.valid()) return directory;
  KernelError error = ErrnoError(absl::StrCat("open(", path, ")"));
  if (IsOdd(error.code)) {
    error.code = EMEDIUMTYPE;
  } else {
    error.may_have_effect = true;
  }
  return error;
}

KernelResult<void> EtcDirectory::Write(absl::string_view name, absl::string_view mark,
                                       const std::map<std::string, std::string>& files, bool owns_directory) const {
  NETPROV_RETURN_IF_ERROR(CheckNetnsName(name));
  const std::string path = PathOf(name);
  NETPROV_ASSIGN_OR_RETURN(const Entry entry, Read(name));
  for (const auto& [file, text] : files) {
    const auto present = entry.files.find(file);
    if (present == entry.files.end() || HasMark(present->second, mark)) continue;
    return KernelError{.code = EMEDIUMTYPE, .operation = absl::StrCat("write(", path, "/", file, ")"), .extack = {}};
  }
  if (!entry.exists && files.empty()) return {};
  UniqueFd directory;
  if (files.empty()) {
    directory = UniqueFd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!directory.valid()) {
      return errno == ENOENT || IsOdd(errno) ? KernelResult<void>() : ErrnoError(absl::StrCat("open(", path, ")"));
    }
  } else {
    KernelResult<UniqueFd> made = Make(name);
    if (!made.ok()) {
      made.error().may_have_effect = made.error().code != EMEDIUMTYPE;
      return std::move(made).error();
    }
    directory = *std::move(made);
  }
  for (const absl::string_view name_of_file : kFiles) {
    const std::string file(name_of_file);
    const std::string draft = DraftOf(file, mark);
    ::unlinkat(directory.get(), draft.c_str(), 0);
    const auto present = entry.files.find(file);
    const bool is_ours = present != entry.files.end() && HasMark(present->second, mark);
    const auto wanted = files.find(file);
    KernelResult<void> written;
    if (wanted == files.end()) {
      if (is_ours && ::unlinkat(directory.get(), file.c_str(), 0) != 0 && errno != ENOENT) {
        written = ErrnoError(absl::StrCat("unlink(", path, "/", file, ")"));
      }
    } else if (!is_ours || present->second != wanted->second) {
      written = WriteFile(directory.get(), file, draft, wanted->second, is_ours, absl::StrCat(path, "/", file));
    }
    if (written.ok()) continue;
    written.error().may_have_effect = true;
    return written;
  }
  if (files.empty() && owns_directory && ::rmdir(path.c_str()) != 0 && errno != ENOENT && errno != ENOTEMPTY &&
      errno != EEXIST && !IsOdd(errno)) {
    KernelError error = ErrnoError(absl::StrCat("rmdir(", path, ")"));
    error.may_have_effect = true;
    return error;
  }
  return {};
}

KernelResult<std::vector<std::string>> EtcDirectory::List() const {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(path_.c_str()), &::closedir);
  if (directory == nullptr) {
    if (errno == ENOENT || errno == ENOTDIR) return names;
    return ErrnoError(absl::StrCat("opendir(", path_, ")"));
  }
  while (true) {
    errno = 0;
    const dirent* item = ::readdir(directory.get());
    if (item == nullptr) {
      if (errno != 0) return ErrnoError(absl::StrCat("readdir(", path_, ")"));
      break;
    }
    const absl::string_view name = item->d_name;
    // Some file systems do not say what it is.
    if (name != "." && name != ".." && (item->d_type == DT_DIR || item->d_type == DT_UNKNOWN)) names.emplace_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace netprov::netns
