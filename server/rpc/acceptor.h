// Accepts connections and hands them to gRPC.
#ifndef NETPROV_SERVER_RPC_ACCEPTOR_H_
#define NETPROV_SERVER_RPC_ACCEPTOR_H_

#include <spdlog/logger.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/base/statistics.h"
#include "server/base/unique_fd.h"
#include "server/rpc/connections.h"
#include "server/rpc/listening_socket.h"

namespace netprov::rpc {

// A thread that accepts from listening sockets: it asks the kernel who a peer is, refuses what is over the limits by
// closing it at once, and survives a lack of descriptors, of which it keeps a spare one to close and accept with
// (gRPC 1.51's own listener ends for good there: CVE-2023-4785).
class Acceptor {
 public:
  struct Options {
    std::shared_ptr<spdlog::logger> log;
    // Takes over a descriptor that was admitted, with its listening socket and its place among the connections. Called
    // from the thread, never after Stop().
    std::function<void(UniqueFd fd, const ListeningSocket& socket, size_t place)> hand_over;
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
    Counter refused;              // as many as there may be in all were open
    Counter refused_of_one;       // as many as one user, or one address, may have
    Counter without_descriptors;  // turned away, as no descriptors or memory were left
  };
  const Statistics& statistics() const { return statistics_; }

  // Ends the thread; what has not been accepted waits for whoever else holds the socket. Harmless when repeated.
  void Stop();

  // Stops, and leaves the sockets to whoever else has them: Close() removes no file.
  void GiveUp();

  // Stops, closes the sockets, and removes the files of those that were made here.
  void Close();

 private:
  explicit Acceptor(Connections& connections, const Options& options) : connections_(connections), options_(options) {}

  void Run();
  // Accepts one. False: nothing more is there for now.
  bool Accept(const ListeningSocket& socket);
  // There is no descriptor left: turns one peer away with the spare one. False: not even that works.
  bool TurnAway(const ListeningSocket& socket);
  // Counts a connection that was refused, and says so once a second at most.
  void Refused(const std::string& why, const std::string& who);

  Connections& connections_;
  const Options options_;
  std::vector<ListeningSocket> sockets_;
  UniqueFd epoll_;
  UniqueFd stop_;  // an eventfd
  UniqueFd spare_;
  Statistics statistics_;
  absl::Time next_complaint_ = absl::InfinitePast();
  size_t refused_ = 0;  // since the last complaint
  std::thread thread_;
};

}  // namespace netprov::rpc

#endif  // NETPROV_SERVER_RPC_ACCEPTOR_H_
