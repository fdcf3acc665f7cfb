// The lock on a state directory: at most one process works with it at a time.
#ifndef NETPROV_SERVER_STATE_LOCK_H_
#define NETPROV_SERVER_STATE_LOCK_H_

#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/base/unique_fd.h"

namespace netprov {

// Holds flock(2) on STATE_DIR/lock; the kernel lets it go with the process, however that ends. The file says who holds
// it.
//
// Two kinds of holders: the daemon, which stays, and a command that serves itself for one call, which is gone in a
// moment. So nobody waits for a daemon, and everybody waits for a command.
class StateLock {
 public:
  enum class Kind { kDaemon, kCommand };

  struct Options {
    std::string state_dir;  // made if missing, with mode 0700
    Kind kind = Kind::kDaemon;
    std::string endpoint;  // where the daemon is reached, as `unix:/run/netprov/netprovd.sock`; for others to read
    absl::Duration wait;   // how long to wait for a command that holds it
  };

  // Takes the lock. Errors, each one sentence: FAILED_PRECONDITION when a daemon holds it, or a command did for all of
  // `wait`; PERMISSION_DENIED or UNAVAILABLE when the directory or the file can't be used.
  static absl::StatusOr<std::unique_ptr<StateLock>> Take(const Options& options);

  // Takes over the lock that a daemon held, by a copy of its descriptor (dup(2), SCM_RIGHTS): so it was never free.
  // Errors as Take(), and INVALID_ARGUMENT for a descriptor that is not of this directory's lock.
  static absl::StatusOr<std::unique_ptr<StateLock>> TakeOver(UniqueFd file, const Options& options);

  // What to give to whoever takes over.
  int fd() const { return file_.get(); }

  StateLock(const StateLock&) = delete;
  StateLock& operator=(const StateLock&) = delete;

 private:
  explicit StateLock(UniqueFd file) : file_(std::move(file)) {}

  UniqueFd file_;
};

}  // namespace netprov

#endif  // NETPROV_SERVER_STATE_LOCK_H_
