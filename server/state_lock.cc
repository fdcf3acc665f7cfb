#include "server/state_lock.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <map>
#include <system_error>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"

namespace netprov {
namespace {

// flock(2) can't wait for a limited time.
constexpr absl::Duration kPollInterval = absl::Milliseconds(10);

// What the file says of its holder.
struct Holder {
  int pid = 0;
  std::string kind;
  std::string endpoint;
};

constexpr char kDaemon[] = "daemon";
constexpr char kCommand[] = "command";

absl::Status SystemError(const std::string& what) {
  const std::string message = absl::StrCat("cannot ", what, ": ", strerrordesc_np(errno));
  if (errno == EACCES || errno == EPERM) return absl::PermissionDeniedError(message);
  return absl::UnavailableError(message);
}

// nullopt of a file that says nothing: its holder has just taken it.
Holder ReadHolder(int file) {
  std::array<char, 1024> buffer;
  const ssize_t length = ::pread(file, buffer.data(), buffer.size(), 0);
  Holder holder;
  if (length <= 0) return holder;
  std::map<std::string, std::string> fields;
  for (absl::string_view line : absl::StrSplit(absl::string_view(buffer.data(), length), '\n')) {
    const std::pair<std::string, std::string> field = absl::StrSplit(line, absl::MaxSplits('=', 1));
    fields.insert(field);
  }
  if (!absl::SimpleAtoi(fields["pid"], &holder.pid)) holder.pid = 0;
  holder.kind = fields["kind"];
  holder.endpoint = fields["endpoint"];
  return holder;
}

// Whether a process of this number is there. What a process that died has left in the file says nothing of the holder.
bool IsAlive(int pid) { return pid > 0 && (::kill(pid, 0) == 0 || errno == EPERM); }

absl::Status WriteHolder(int file, const StateLock::Options& options) {
  const std::string content =
      absl::StrCat("pid=", ::getpid(), "\nkind=", options.kind == StateLock::Kind::kDaemon ? kDaemon : kCommand,
                   "\nendpoint=", options.endpoint, "\n");
  if (::ftruncate(file, 0) != 0 ||
      ::pwrite(file, content.data(), content.size(), 0) != static_cast<ssize_t>(content.size())) {
    return SystemError(absl::StrCat("write to ", options.state_dir, "/lock"));
  }
  return absl::OkStatus();
}

absl::Status HeldBy(const Holder& holder, const StateLock::Options& options) {
  if (holder.kind != kDaemon) {
    return absl::FailedPreconditionError(
        absl::StrCat("another process", holder.pid > 0 ? absl::StrCat(" (pid ", holder.pid, ")") : "", " holds ",
                     options.state_dir, ", and did so for ", absl::FormatDuration(options.wait)));
  }
  const std::string daemon = absl::StrCat("netprovd (pid ", holder.pid, ")");
  const std::string where = holder.endpoint.empty() ? "" : absl::StrCat(" at ", holder.endpoint);
  if (options.kind == StateLock::Kind::kDaemon) {
    return absl::FailedPreconditionError(absl::StrCat("another ", daemon, where, " holds ", options.state_dir));
  }
  return absl::FailedPreconditionError(
      absl::StrCat(daemon, " holds ", options.state_dir,
                   holder.endpoint.empty() ? "; name its address with --endpoint"
                                           : absl::StrCat("; reach it with --endpoint ", holder.endpoint)));
}

// The file of the lock.
std::string PathOf(const StateLock::Options& options) { return absl::StrCat(options.state_dir, "/lock"); }

}  // namespace

absl::StatusOr<std::unique_ptr<StateLock>> StateLock::TakeOver(UniqueFd file, const Options& options) {
  const std::string path = PathOf(options);
  struct stat given = {};
  struct stat there = {};
  if (::stat(path.c_str(), &there) != 0) return SystemError(absl::StrCat("look at ", path));
  if (::fstat(file.get(), &given) != 0 || given.st_dev != there.st_dev || given.st_ino != there.st_ino) {
    return absl::InvalidArgumentError(absl::StrCat("the lock that was handed over is not ", path));
  }
  // It is held already, unless who gave it let it go.
  if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) return SystemError(absl::StrCat("lock ", path));
  if (absl::Status written = WriteHolder(file.get(), options); !written.ok()) return written;
  return std::unique_ptr<StateLock>(new StateLock(std::move(file)));
}

absl::StatusOr<std::unique_ptr<StateLock>> StateLock::Take(const Options& options) {
  std::error_code error;
  if (std::filesystem::create_directories(options.state_dir, error)) {
    if (::chmod(options.state_dir.c_str(), 0700) != 0)
      return SystemError(absl::StrCat("set the mode of ", options.state_dir));
  } else if (error) {
    errno = error.value();
    return SystemError(absl::StrCat("make the state directory ", options.state_dir));
  }
  const std::string path = PathOf(options);
  UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file.valid()) return SystemError(absl::StrCat("open ", path));
  const absl::Time deadline = absl::Now() + options.wait;
  while (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    if (errno != EWOULDBLOCK) return SystemError(absl::StrCat("lock ", path));
    const Holder holder = ReadHolder(file.get());
    if (holder.kind == kDaemon && IsAlive(holder.pid)) return HeldBy(holder, options);
    if (absl::Now() >= deadline) return HeldBy(holder, options);
    absl::SleepFor(kPollInterval);
  }
  if (absl::Status written = WriteHolder(file.get(), options); !written.ok()) return written;
  return std::unique_ptr<StateLock>(new StateLock(std::move(file)));
}

}  // namespace netprov
