// The file that the audit log is.
#ifndef NETPROV_SERVER_AUDIT_LOG_H_
#define NETPROV_SERVER_AUDIT_LOG_H_

#include <sys/types.h>

#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/audit/line.h"
#include "server/base/unique_fd.h"

namespace netprov::audit {

// Lines at the end of a file, each written whole, by one write(2), so that whoever reads the file finds whole lines. Of
// a line that the process did not live to write whole, nothing is left after the next Open().
//
// Room for the lines of calls is reserved on the disk before they do anything (fallocate(2), FALLOC_FL_KEEP_SIZE), so
// that a disk which fills up refuses calls and not their lines. A file system that can't reserve takes lines as long as
// it has room. A line that can't be written waits, and those after it, in memory, until one can again.
//
// Threading: thread-safe. Write() waits for the disk where lines are to be durable, and shares that wait with others.
class Log {
 public:
  // How many lines of what no call reserved room for (Write()) may wait. What is beyond is dropped.
  static constexpr size_t kMostWaiting = 4096;

  // Opens the file, or makes it with mode 0600. Its directory must exist. With `durable`, lines that are so written
  // have reached the disk when Write() returns (fdatasync(2)).
  //
  // Another process that has it is waited for as long as `patience` says: one that was killed may still be on its way.
  //
  // Errors, each one sentence that names the path: UNAVAILABLE where it can't be opened or another process keeps it,
  // FAILED_PRECONDITION for what is no file of root's or the daemon's user's alone to write (a symbolic link is none).
  static absl::StatusOr<std::unique_ptr<Log>> Open(const std::string& path, bool durable,
                                                   absl::Duration patience = absl::Seconds(5));

  // Whether Open() would take the file, as far as that can be said without taking it from another process, and without
  // making it. Errors as there.
  static absl::Status Check(const std::string& path);

  // Reserves room for a line, which Write() must follow. False: there is none now, and Fault() says why.
  bool Reserve();

  // Writes the line of a call. `reserved`: Reserve() came before. `durably`: where the log is durable, waits for the
  // disk. Returns the ids of the calls whose lines are now in the file, and on the disk as far as is wanted: this one's
  // and those of others that have waited, or none.
  std::vector<std::string> Write(const std::string& call_id, std::string line, bool reserved, bool durably);

  // Tries again what could not be done. As Write().
  std::vector<std::string> Retry();

  // Why lines can't be written, one sentence; nullopt: they can.
  std::optional<std::string> Fault() const;

  // Goes on in a new file where somebody has given the old one another name. With an error the old one stays in use.
  absl::Status Reopen();

  // Which of the calls have a line: in the file, or in one that it was before, which has the file's name and an
  // extension, as in `audit.log.1` and `audit.log-20260102`, and is not compressed. They began at `since` at the
  // earliest. What can't be read has no lines.
  std::set<std::string> Find(const std::set<std::string>& call_ids, absl::Time since) const;

  const std::string& path() const { return path_; }

 private:
  struct Line {
    std::string call_id;
    std::string text;
  };
  // A file that is open for writing, and how long it is.
  struct File {
    UniqueFd fd;
    off_t size = 0;
  };

  Log(std::string path, bool durable) : path_(std::move(path)), durable_(durable) {}

  static absl::StatusOr<UniqueFd> OpenOwn(const std::string& path, int more_flags);
  static absl::StatusOr<File> OpenFile(const std::string& path, absl::Duration patience);

  // With mutex_ held.
  bool MakeRoom();
  // Writes what waits. Returns what was written; the rest still waits.
  std::vector<Line> Flush();
  bool WriteWhole(const std::string& text);

  // Waits, if it is to, until what was written up to now is on the disk. Returns the ids of the lines, or none.
  std::vector<std::string> Settle(const std::vector<Line>& lines, bool waits);

  const std::string path_;
  const bool durable_;

  mutable std::mutex mutex_;
  std::shared_ptr<const UniqueFd> fd_;  // shared, as one who waits for the disk may have the old file
  off_t size_ = 0;
  off_t allocated_ = 0;  // up to where the disk has room for the file
  bool can_allocate_ = true;
  size_t reserved_ = 0;  // lines
  std::deque<Line> waiting_;
  std::optional<std::string> fault_;
  int64_t written_ = 0;  // lines, in all files

  std::mutex disk_mutex_;  // taken before mutex_, not within it
  int64_t settled_ = 0;    // of written_, how many are on the disk
};

}  // namespace netprov::audit

#endif  // NETPROV_SERVER_AUDIT_LOG_H_
