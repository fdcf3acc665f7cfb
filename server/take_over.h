// A new process takes over from the daemon that serves: its sockets, so that nobody who connects is refused, and the
// lock on the state, so that nobody comes between.
//
// They speak at STATE_DIR/take-over.sock (mode 0600, in a directory of mode 0700), by packets of text (SOCK_SEQPACKET).
// Each lets only root and its own user be at the other end (SO_PEERCRED). The first line of every packet is
// `netprov-take-over VERSION`, in all versions; what follows is of that version, and of version 1:
//
//   successor    "hello\n"
//   predecessor  "schema=N\n", of the registry, then for each socket "own=NAME\n" or "given=NAME\n" by
//                ListeningSocket::is_own, with as many descriptors (SCM_RIGHTS) and one more, of the lock;
//                or "error=SENTENCE\n"
//   successor    "go\n"
//   predecessor  "going\n": from here on there is no way back
//
// Until then the predecessor goes on as ever, whatever becomes of the successor. Afterwards it lets its connections go,
// ends, and closes the connection last of all: the state is the successor's then, as it is when the predecessor dies.
#ifndef NETPROV_SERVER_TAKE_OVER_H_
#define NETPROV_SERVER_TAKE_OVER_H_

#include <spdlog/logger.h>
#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/base/unique_fd.h"
#include "server/rpc/listening_socket.h"

namespace netprov {

// The version that this program speaks.
inline constexpr int kTakeOverVersion = 1;

// Where a daemon waits for its successor: a thread.
//
// Threading: Stop() and the destructor from one thread.
class SuccessorListener {
 public:
  struct Options {
    std::string state_dir;
    const std::vector<rpc::ListeningSocket>* sockets = nullptr;  // both must live until Stop()
    int lock = -1;
    int64_t schema = 0;
    // Called once from the thread when a successor has taken over.
    std::function<void()> on_taken;
    std::shared_ptr<spdlog::logger> log;
    // How long a successor may leave it waiting for its next word.
    absl::Duration patience = absl::Seconds(30);
  };

  // Takes the place of a socket that is left there. UNAVAILABLE where it can't be made.
  static absl::StatusOr<std::unique_ptr<SuccessorListener>> Start(Options options);
  // Stops, and closes the connection to the successor, which waits for that.
  ~SuccessorListener();
  SuccessorListener(const SuccessorListener&) = delete;
  SuccessorListener& operator=(const SuccessorListener&) = delete;

  // Whether somebody has taken over.
  bool is_taken() const;

  // From now on nobody can; removes the socket, unless it is the successor's. Returns the process that has taken over,
  // if there is one. Harmless when repeated.
  std::optional<pid_t> Stop();

 private:
  explicit SuccessorListener(Options options) : options_(std::move(options)) {}
  void Run();
  // Speaks with one that has connected, and keeps the connection if it takes over.
  void Serve(UniqueFd connection);

  const Options options_;
  UniqueFd directory_;
  UniqueFd socket_;
  UniqueFd stop_;  // an eventfd
  mutable std::mutex mutex_;
  UniqueFd successor_;
  std::optional<pid_t> successor_pid_;
  std::thread thread_;
};

// What was taken over.
struct TakenOver {
  pid_t pid = 0;  // whose it was
  std::vector<rpc::ListeningSocket> sockets;
  UniqueFd lock;
};

struct TakeOverOptions {
  std::string state_dir;
  // All of these are listened on when it returns, and nothing else that the predecessor listened on by itself.
  rpc::ListenAddresses addresses;
  // The newest of the registry that this program knows.
  int64_t schema = 0;
  std::shared_ptr<spdlog::logger> log;
  // How long the predecessor may take for its offer. Its end takes as long as its calls do.
  absl::Duration patience = absl::Seconds(10);
  // A descriptor that becomes readable when whoever started this process wants it to end; -1: none does.
  int stop = -1;
};

// Takes over from the daemon of that state, and returns when it has ended. nullopt: none waits there, or it ended
// before anything was taken over. Errors, each one sentence, after each of which it serves on: FAILED_PRECONDITION
// where it speaks another version, has a registry of a newer schema, is another user's or refuses; DEADLINE_EXCEEDED
// where it says nothing; UNAVAILABLE; and those of rpc::Listen(). CANCELLED: `stop`; once the predecessor is on its
// way, nobody serves after that.
absl::StatusOr<std::optional<TakenOver>> TakeOver(const TakeOverOptions& options);

}  // namespace netprov

#endif  // NETPROV_SERVER_TAKE_OVER_H_
