// Sockets that are listened on: made here, or handed to the process by whoever started it.
#ifndef NETPROV_SERVER_RPC_LISTENING_SOCKET_H_
#define NETPROV_SERVER_RPC_LISTENING_SOCKET_H_

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/base/unique_fd.h"

namespace netprov::rpc {

// A socket that listens, non-blocking and close-on-exec.
struct ListeningSocket {
  enum class Kind { kUnix, kTcp };

  UniqueFd fd;
  Kind kind = Kind::kUnix;
  std::string address;  // of kUnix, an absolute path; of kTcp, as in `127.0.0.1:7001` or `[::1]:7001`
  // Whether it was made here, or by a daemon that this one took over from, so that the file of a unix socket is removed
  // at the end. Others keep theirs: whoever made them listens on.
  bool is_own = true;

  // As in `unix:/run/netprov/netprovd.sock` or `127.0.0.1:7001`.
  std::string Name() const;
  // Whether only this host can reach it.
  bool is_local() const;
};

// Checks `HOST:PORT` or `[IPV6]:PORT`, port 0 to 65535, without resolving the host. INVALID_ARGUMENT, with a sentence.
absl::Status CheckListenAddress(absl::string_view address);

// Listens on the unix socket at `path`, whose directory is made if it is missing (0755). The socket has mode 0660, from
// its first moment on nothing wider, and belongs to `group` if that is set. A socket that nobody listens on any more is
// replaced.
//
// Errors, each one sentence that names the path: INVALID_ARGUMENT for a path that is too long (unix(7)), UNAVAILABLE
// for one that can't be listened on, PERMISSION_DENIED where the group can't be given.
absl::StatusOr<ListeningSocket> ListenUnix(const std::string& path, std::optional<gid_t> group);

// Listens on every address that `HOST:PORT` or `[IPV6]:PORT` means, at least one; `[::]` takes IPv4 too. Port 0: any
// that is free, the same on all of them. Errors as above.
absl::StatusOr<std::vector<ListeningSocket>> ListenTcp(const std::string& address);
// The same, where one of `given` stands for an address that it is bound to, and is taken from there.
absl::StatusOr<std::vector<ListeningSocket>> ListenTcp(const std::string& address, std::vector<ListeningSocket>& given);

// Where to listen.
struct ListenAddresses {
  // From where TCP may be reached.
  enum class Reach { kAnywhere, kThisHost, kNowhere };

  std::string socket_path;            // as for ListenUnix(); empty: no unix socket
  std::optional<gid_t> socket_group;  // as for ListenUnix()
  std::vector<std::string> tcp;       // each as for ListenTcp()
  Reach tcp_reach = Reach::kAnywhere;
  bool leaves_group = false;  // of a unix socket that was given
};

// All sockets for these addresses. One of `given` stands for an address that it is bound to (port 0 means the port that
// it has), and a unix socket of a daemon's own then belongs to the group as if it were made here, unless
// `leaves_group`. The rest of `given` is served too if it is not a daemon's own, and else stays there, as nobody asks
// for it. After an error nothing has changed but `given`, of which any may be closed: no file is left that was not
// there before.
//
// Errors: as below, and FAILED_PRECONDITION for an address that others reach than
// `tcp_reach` says.
absl::StatusOr<std::vector<ListeningSocket>> Listen(const ListenAddresses& addresses,
                                                    std::vector<ListeningSocket>& given);

// The sockets that systemd, or whoever started this process, listens on for it: sd_listen_fds(3). `listen_pid` and
// `listen_fds` are the environment's LISTEN_PID and LISTEN_FDS, null where it has none; they count only if LISTEN_PID
// names this process. Descriptors begin at `first`. INVALID_ARGUMENT where one is no stream socket that listens.
absl::StatusOr<std::vector<ListeningSocket>> InheritedSockets(const char* listen_pid, const char* listen_fds,
                                                              int first = 3);

// Takes over a socket that somebody else made. INVALID_ARGUMENT where it is no stream socket that listens.
absl::StatusOr<ListeningSocket> AdoptListeningSocket(UniqueFd fd);

}  // namespace netprov::rpc

#endif  // NETPROV_SERVER_RPC_LISTENING_SOCKET_H_
