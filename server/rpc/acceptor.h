// Accepts connections and hands them to gRPC.
#ifndef NETPROV_SERVER_RPC_ACCEPTOR_H_
#define NETPROV_SERVER_RPC_ACCEPTOR_H_

#include <spdlog/logger.h>
#include <sys/types.h>

#include <cstddef>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/base/boot_time.h"
#include "server/base/statistics.h"
#include "server/base/unique_fd.h"
#include "server/rpc/connections.h"
#include "server/rpc/listening_socket.h"

namespace netprov::rpc {

// A thread that accepts from listening sockets: it asks the kernel who a peer is, refuses what is over the limits by
// closing it at once, lets connections wait of whose address too many were short (ConnectionLimits), and survives a
// lack of descriptors, of which it keeps a spare one to close and accept with (gRPC 1.51's own listener ends for good
// there: CVE-2023-4785).
class Acceptor {
 public:
  struct Options {
    std::shared_ptr<spdlog::logger> log;
    // Takes over a descriptor that was admitted, with its listening socket and its place among the connections. Called
    // from the thread, never after Stop().
    std::function<void(UniqueFd fd, const ListeningSocket& socket, size_t place)> hand_over;
    Connections::Clock clock = BootTime;  // as that of the connections
  };

  // Begins. `connections` must outlive it. UNAVAILABLE where there are no descriptors for it.
  static absl::StatusOr<std::unique_ptr<Acceptor>> Start(std::vector<ListeningSocket> sockets, Connections& connections,
                                                         const Options& options);
  ~Acceptor();
  Acceptor(const Acceptor&) = delete;
  Acceptor& operator=(const Acceptor&) = delete;

  const std::vector<ListeningSocket>& sockets() const { return sockets_; }

  struct Statistics {
    Counter accepted_unix;  // and handed over
    Counter accepted_tcp;
    Counter delayed;              // of TCP: had to wait, whatever became of them then
    Counter refused;              // as many as there may be in all were open
    Counter refused_of_one;       // as many as one user, or one address, may have
    Counter refused_delayed;      // had waited, and it was not their turn yet
    Counter without_descriptors;  // turned away, as no descriptors or memory were left
  };
  const Statistics& statistics() const { return statistics_; }

  // Ends the thread; what has not been accepted waits for whoever else holds the socket, and what was accepted and had
  // to wait is handed over. Harmless when repeated.
  void Stop();

  // Stops, and leaves the sockets to whoever else has them: Close() removes no file.
  void GiveUp();

  // Stops, closes the sockets, and removes the files of those that were made here.
  void Close();

 private:
  // What is said of a kind of connections, once a second at most.
  struct Complaint {
    absl::Time next = absl::InfinitePast();
    size_t count = 0;  // since the last time
  };

  // One of TCP that was admitted and waits for its turn.
  struct Waiting {
    UniqueFd fd;
    ino_t inode;
    const ListeningSocket* socket;
    absl::Duration until;  // of the clock; then it is given up
  };

  explicit Acceptor(Connections& connections, const Options& options) : connections_(connections), options_(options) {}

  void Run();
  // Accepts one. False: nothing more is there for now.
  bool Accept(const ListeningSocket& socket);
  void HandOver(UniqueFd fd, const ListeningSocket& socket, size_t place);
  // Hands over what has waited and whose turn it is, and closes what waits in vain. Returns when there is more to do,
  // from now.
  absl::Duration ServeWaiting();
  void ServeAllWaiting();
  // There is no descriptor left: turns one peer away with the spare one. False: not even that works.
  bool TurnAway(const ListeningSocket& socket);
  void Refused(absl::string_view why, const std::string& who);
  void Complain(Complaint& complaint, absl::string_view what, const std::string& who);

  Connections& connections_;
  const Options options_;
  std::vector<ListeningSocket> sockets_;
  UniqueFd epoll_;
  UniqueFd stop_;  // an eventfd
  UniqueFd spare_;
  Statistics statistics_;
  Complaint refused_;
  Complaint delayed_;
  std::map<std::string, std::deque<Waiting>> waiting_;  // by address, in their order, at least one
  std::thread thread_;
};

}  // namespace netprov::rpc

#endif  // NETPROV_SERVER_RPC_ACCEPTOR_H_
