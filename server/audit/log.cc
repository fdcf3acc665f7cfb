#include "server/audit/log.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "server/base/boot_time.h"

namespace netprov::audit {
namespace {

// How much is reserved at once, besides what is needed.
constexpr off_t kReserve = 256 << 10;

// Of the files that the log was before, how many are looked into, the latest first.
constexpr size_t kMostFiles = 3;

// How far back lines are looked for; the first look reaches less far, and then ever further.
constexpr off_t kFirstLook = 1 << 20;
constexpr off_t kFurthestLook = 256 << 20;

// flock(2) can't wait for a limited time.
constexpr absl::Duration kPollInterval = absl::Milliseconds(5);

// By how much the host's clock may have been set back.
constexpr absl::Duration kClockSlack = absl::Minutes(1);

std::string Failure(absl::string_view what, const std::string& path) {
  return absl::StrCat("cannot ", what, " the audit log ", path, ": ", strerrordesc_np(errno));
}

absl::Status Unavailable(absl::string_view what, const std::string& path) {
  return absl::UnavailableError(Failure(what, path));
}

// `size` bytes from `offset`; fewer at the end of the file, and where it can't be read.
std::string ReadAt(int fd, off_t offset, size_t size) {
  std::string bytes(size, '\0');
  size_t read = 0;
  while (read < size) {
    const ssize_t count = ::pread(fd, bytes.data() + read, size - read, offset + static_cast<off_t>(read));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    read += count;
  }
  bytes.resize(read);
  return bytes;
}

// Ends the file where its last whole line does. What is no beginning of one of ours stays, as a line of its own.
absl::Status MendEnd(int fd, const std::string& path, off_t& size) {
  const off_t begin = std::max<off_t>(0, size - static_cast<off_t>(kLongestLine));
  const std::string tail = ReadAt(fd, begin, size - begin);
  if (tail.empty() || tail.back() == '\n') return absl::OkStatus();
  const size_t last = tail.rfind('\n');
  const absl::string_view torn =
      last == std::string::npos ? absl::string_view(tail) : absl::string_view(tail).substr(last + 1);
  if ((last != std::string::npos || begin == 0) && torn.front() == '{') {
    size -= static_cast<off_t>(torn.size());
    return ::ftruncate(fd, size) == 0 ? absl::OkStatus() : Unavailable("mend", path);
  }
  if (::write(fd, "\n", 1) != 1) return Unavailable("mend", path);
  ++size;
  return absl::OkStatus();
}

// Takes out of `left` the calls that have a line at the end of a file, and puts them into `found`.
void FindIn(const std::string& path, absl::Time since, std::set<std::string>& left, std::set<std::string>& found) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  struct stat status = {};
  if (!fd.valid() || ::fstat(fd.get(), &status) != 0 || !S_ISREG(status.st_mode)) return;
  for (off_t reach = kFirstLook; !left.empty(); reach *= 4) {
    const off_t begin = std::max<off_t>(0, status.st_size - reach);
    const std::string text = ReadAt(fd.get(), begin, status.st_size - begin);
    bool is_far_enough = begin == 0 || reach >= kFurthestLook;
    bool is_first = true;
    size_t at = begin == 0 ? 0 : text.find('\n') + 1;
    for (size_t end = text.find('\n', at); end != std::string::npos; at = end + 1, end = text.find('\n', at)) {
      const std::optional<Head> head = HeadOf(absl::string_view(text).substr(at, end - at));
      if (!head.has_value()) continue;
      if (std::exchange(is_first, false) && head->time < since - kClockSlack) is_far_enough = true;
      if (left.erase(head->call_id) > 0) found.insert(head->call_id);
    }
    if (is_far_enough) return;
  }
}

}  // namespace

absl::StatusOr<UniqueFd> Log::OpenOwn(const std::string& path, int more_flags) {
  // A FIFO must not make the daemon wait for somebody to read from it.
  constexpr int kFlags = O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
  UniqueFd fd(::open(path.c_str(), kFlags | more_flags, 0600));
  struct stat status = {};
  if (!fd.valid() && errno == ELOOP) {
    return absl::FailedPreconditionError(absl::StrCat("the audit log ", path, " must not be a symbolic link"));
  }
  if (!fd.valid() || ::fstat(fd.get(), &status) != 0) return Unavailable("open", path);
  if (!S_ISREG(status.st_mode)) {
    return absl::FailedPreconditionError(absl::StrCat("the audit log ", path, " must be a file"));
  }
  const bool is_ours = status.st_uid == 0 || status.st_uid == ::geteuid();
  if (!is_ours || (status.st_mode & (S_IWGRP | S_IWOTH)) != 0 || status.st_nlink != 1) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the audit log ", path, " must be a file that only root or the daemon's user can write, with one name"));
  }
  return fd;
}

absl::Status Log::Check(const std::string& path) {
  const absl::StatusOr<UniqueFd> fd = OpenOwn(path, 0);
  struct stat there = {};
  if (fd.ok() || ::lstat(path.c_str(), &there) == 0 || errno != ENOENT) return fd.status();
  const std::filesystem::path directory = std::filesystem::path(path).parent_path();
  return ::access(directory.c_str(), W_OK | X_OK) == 0 ? absl::OkStatus() : Unavailable("make", path);
}

absl::StatusOr<Log::File> Log::OpenFile(const std::string& path, absl::Duration patience) {
  absl::StatusOr<UniqueFd> fd = OpenOwn(path, O_CREAT);
  if (!fd.ok()) return fd.status();
  const absl::Duration deadline = BootTime() + patience;
  while (::flock(fd->get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    if (errno != EWOULDBLOCK) return Unavailable("lock", path);
    if (BootTime() >= deadline) {
      return absl::UnavailableError(absl::StrCat("another process writes to the audit log ", path));
    }
    absl::SleepFor(kPollInterval);
  }
  // Whoever had it may have written until now.
  struct stat status = {};
  if (::fstat(fd->get(), &status) != 0) return Unavailable("open", path);
  off_t size = status.st_size;
  if (absl::Status mended = MendEnd(fd->get(), path, size); !mended.ok()) return mended;
  return File{.fd = *std::move(fd), .size = size};
}

absl::StatusOr<std::unique_ptr<Log>> Log::Open(const std::string& path, bool durable, absl::Duration patience) {
  absl::StatusOr<File> file = OpenFile(path, patience);
  if (!file.ok()) return file.status();
  std::unique_ptr<Log> log(new Log(path, durable));
  log->fd_ = std::make_shared<const UniqueFd>(std::move(file->fd));
  log->size_ = file->size;
  log->allocated_ = file->size;
  return log;
}

bool Log::MakeRoom() {
  const off_t needed = size_ + static_cast<off_t>((reserved_ + 1) * kLongestLine);
  if (!can_allocate_ || needed <= allocated_) return true;
  const off_t end = needed + kReserve;
  int failed = 0;
  do {
    failed = ::fallocate(fd_->get(), FALLOC_FL_KEEP_SIZE, size_, end - size_);
  } while (failed != 0 && errno == EINTR);
  if (failed == 0) {
    allocated_ = end;
    return true;
  }
  can_allocate_ = errno != EOPNOTSUPP && errno != ENOSYS;
  if (!can_allocate_) return true;
  fault_ = Failure("make room in", path_);
  return false;
}

bool Log::Reserve() {
  std::lock_guard<std::mutex> lock(mutex_);
  // Whoever tries again says what was written: not here.
  if (fault_.has_value() || !MakeRoom()) return false;
  ++reserved_;
  return true;
}

bool Log::WriteWhole(const std::string& text) {
  ssize_t count = 0;
  do {
    count = ::write(fd_->get(), text.data(), text.size());
  } while (count < 0 && errno == EINTR);
  if (count == static_cast<ssize_t>(text.size())) {
    size_ += count;
    ++written_;
    return true;
  }
  fault_ = count < 0 ? Failure("write to", path_) : absl::StrCat("cannot write a whole line to the audit log ", path_);
  // Half a line would spoil the next one. Where the end is, the file knows best.
  if (struct stat status = {}; count > 0 && ::fstat(fd_->get(), &status) == 0) {
    size_ = ::ftruncate(fd_->get(), status.st_size - count) == 0 ? status.st_size - count : status.st_size;
  }
  return false;
}

std::vector<Log::Line> Log::Flush() {
  std::vector<Line> lines;
  while (!waiting_.empty() && WriteWhole(waiting_.front().text)) {
    lines.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
  }
  return lines;
}

std::vector<std::string> Log::Write(const std::string& call_id, std::string line, bool reserved, bool durably) {
  std::vector<Line> lines;
  const bool waits = durable_ && durably;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (reserved) --reserved_;
    if (!reserved && waiting_.size() >= kMostWaiting) return {};
    waiting_.push_back({.call_id = call_id, .text = std::move(line)});
    // Those that wait have been tried, and are tried again by one who has the time.
    if (!fault_.has_value()) lines = Flush();
  }
  return Settle(lines, waits);
}

std::vector<std::string> Log::Retry() {
  std::vector<Line> lines;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!fault_.has_value()) return {};
    fault_.reset();
    lines = Flush();
    if (!fault_.has_value()) MakeRoom();
  }
  // Also where nothing waited: it may have been the disk that failed.
  return Settle(lines, durable_);
}

std::vector<std::string> Log::Settle(const std::vector<Line>& lines, bool waits) {
  if (waits) {
    int64_t mine = 0;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      mine = written_;
    }
    std::lock_guard<std::mutex> disk_lock(disk_mutex_);
    if (settled_ < mine) {
      std::shared_ptr<const UniqueFd> fd;
      int64_t all = 0;
      {
        std::lock_guard<std::mutex> lock(mutex_);
        fd = fd_;
        all = written_;
      }
      if (::fdatasync(fd->get()) != 0) {
        std::lock_guard<std::mutex> lock(mutex_);
        fault_ = Failure("write to the disk of", path_);
        return {};
      }
      settled_ = all;
    }
  }
  std::vector<std::string> call_ids;
  for (const Line& line : lines) call_ids.push_back(line.call_id);
  return call_ids;
}

std::optional<std::string> Log::Fault() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return fault_;
}

absl::Status Log::Reopen() {
  struct stat there = {};
  struct stat ours = {};
  // Nobody may wait for the disk with the old file and take that of the new one for it.
  std::lock_guard<std::mutex> disk_lock(disk_mutex_);
  std::lock_guard<std::mutex> lock(mutex_);
  if (::stat(path_.c_str(), &there) == 0 && ::fstat(fd_->get(), &ours) == 0 && there.st_dev == ours.st_dev &&
      there.st_ino == ours.st_ino) {
    return absl::OkStatus();
  }
  // Calls wait meanwhile.
  absl::StatusOr<File> file = OpenFile(path_, absl::ZeroDuration());
  if (!file.ok()) return file.status();
  if (durable_ && ::fdatasync(fd_->get()) == 0) settled_ = written_;
  // What was reserved and not used.
  if (::fstat(fd_->get(), &ours) == 0) (void)!::ftruncate(fd_->get(), ours.st_size);
  fd_ = std::make_shared<const UniqueFd>(std::move(file->fd));
  size_ = file->size;
  allocated_ = file->size;
  can_allocate_ = true;
  // Calls that are under way keep their room. Where there is none, that is a fault of its own.
  MakeRoom();
  return absl::OkStatus();
}

std::set<std::string> Log::Find(const std::set<std::string>& call_ids, absl::Time since) const {
  namespace fs = std::filesystem;
  std::set<std::string> left = call_ids;
  std::set<std::string> found;
  if (left.empty()) return found;
  FindIn(path_, since, left, found);
  const fs::path here(path_);
  const std::string name = here.filename().string();
  std::vector<std::pair<fs::file_time_type, std::string>> former;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(here.has_parent_path() ? here.parent_path() : ".", ignored)) {
    const std::string other = entry.path().filename().string();
    if (!absl::StartsWith(other, name + ".") && !absl::StartsWith(other, name + "-")) continue;
    former.emplace_back(entry.last_write_time(ignored), entry.path().string());
  }
  std::sort(former.rbegin(), former.rend());
  if (former.size() > kMostFiles) former.resize(kMostFiles);
  for (const auto& [time, path] : former) FindIn(path, since, left, found);
  return found;
}

}  // namespace netprov::audit
