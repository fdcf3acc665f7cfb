// Serves metrics to whoever asks by HTTP: a scraper, or curl.
#ifndef NETPROV_SERVER_METRICS_EXPOSER_H_
#define NETPROV_SERVER_METRICS_EXPOSER_H_

#include <prometheus/collectable.h>

#include <chrono>
#include <cstddef>
#include <list>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "server/base/unique_fd.h"
#include "server/rpc/listening_socket.h"

namespace netprov::metrics {

// One thread that answers `GET /metrics` in Prometheus' text format 0.0.4, one request per connection. Every other
// method is 405, every other path 404, what is no request of HTTP/1 400, and one of more than kLongestRequest bytes
// 431. A body is not read. (ADR 26 says why no HTTP library does this.)
//
// It knows nobody, and has no TLS: who reaches the address may read. Connections that say nothing keep nobody from an
// answer: all are served side by side, each for kPatience at most, and where there are kMostConnections, the oldest
// gives way to a new one. Where the process has no descriptors left, connections wait until there are some.
class Exposer {
 public:
  static constexpr size_t kLongestRequest = 4096;
  static constexpr size_t kMostConnections = 16;
  static constexpr std::chrono::milliseconds kPatience = std::chrono::seconds(5);

  // Listens on what `HOST:PORT` means, and serves what `collectable` collects, at each request, in the thread.
  // `collectable` must outlive it. Errors, each one sentence: those of rpc::ListenTcp(); UNAVAILABLE where there are no
  // descriptors or threads.
  static absl::StatusOr<std::unique_ptr<Exposer>> Start(const std::string& address,
                                                        const prometheus::Collectable& collectable);
  // Ends the thread at once, in the middle of an answer too.
  ~Exposer();
  Exposer(const Exposer&) = delete;
  Exposer& operator=(const Exposer&) = delete;

  // Where it listens, as in `127.0.0.1:28272`, the port resolved.
  std::vector<std::string> addresses() const;

 private:
  using Clock = std::chrono::steady_clock;
  // One connection: it is read until the request is there, written until the answer has gone, then read until its peer
  // has closed it, as a close with something unread would take the answer back.
  struct Connection {
    UniqueFd fd;
    Clock::time_point end;
    std::string request;
    std::string answer;
    size_t written = 0;
  };

  explicit Exposer(const prometheus::Collectable& collectable) : collectable_(collectable) {}

  void Run();
  void Accept(int listening);
  // Goes on with a connection that is ready. False: it is over.
  bool GoOn(Connection& connection) const;
  std::string Answer(const std::string& request) const;

  const prometheus::Collectable& collectable_;
  std::vector<rpc::ListeningSocket> sockets_;
  UniqueFd stop_;                      // an eventfd
  std::list<Connection> connections_;  // the oldest first
  Clock::time_point accept_again_;     // not before, after descriptors were lacking
  std::thread thread_;
};

}  // namespace netprov::metrics

#endif  // NETPROV_SERVER_METRICS_EXPOSER_H_
