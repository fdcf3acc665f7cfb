// The gRPC server: listeners, services, health, reflection, and an orderly end.
#ifndef NETPROV_SERVER_RPC_SERVER_H_
#define NETPROV_SERVER_RPC_SERVER_H_

#include <spdlog/logger.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/access/limiter.h"
#include "server/access/policy.h"
#include "server/base/statistics.h"
#include "server/engine/caretaker.h"
#include "server/engine/engine.h"
#include "server/engine/registry.h"
#include "server/rpc/acceptor.h"
#include "server/rpc/call_statistics.h"
#include "server/rpc/connections.h"
#include "server/rpc/listening_socket.h"

namespace grpc {
class Channel;
class Server;
class Service;
namespace experimental {
class ExternalConnectionAcceptor;
}
}  // namespace grpc

namespace netprov::rpc {

class Auditor;
class CallRunner;
class Gate;
class Housekeeper;
class StreamWatch;
class Tls;

// What gRPC is to bear of one connection, and of all of them.
struct TransportLimits {
  // The largest request, in bytes. What is larger is refused with RESOURCE_EXHAUSTED.
  int request_bytes = 1 << 20;

  // The metadata of a call, in bytes as HTTP/2 counts them (RFC 9113, 6.5.2): names, values and 32 for each. More is
  // refused with RESOURCE_EXHAUSTED, and the connection closed.
  int metadata_bytes = 8 << 10;

  // Calls and other streams of one connection at a time. What is beyond waits in the client; where it does not, the
  // connection is closed. As for metadata, gRPC 1.51 begins with that once the client has acknowledged its settings. Of
  // TCP, StreamWatch closes it even where it never does.
  int streams = 256;

  // How long a peer may take to begin to speak. Then it is let go.
  absl::Duration handshake = absl::Seconds(5);

  // How old a connection with TLS becomes, give or take a tenth: whoever lost its certificate loses its connection too,
  // within this time. gRPC tells a client to make a new one, and the calls that are under way have the grace.
  absl::Duration age = absl::Minutes(10);
  absl::Duration age_grace = absl::Minutes(1);

  // Memory for what all connections send, in bytes. What is beyond waits in the sockets.
  size_t memory_bytes = 256 << 20;
};

struct ServerOptions {
  // The unix socket, and the group that it belongs to (ListenUnix()); empty: none.
  std::string socket_path;
  std::optional<gid_t> socket_group;

  // TCP addresses (ListenTcp()). Need `tls` or `insecure`.
  std::vector<std::string> listen;

  // Sockets that somebody else made, or a daemon before this one (rpc::Listen()).
  std::vector<ListeningSocket> inherited;

  // Serve TCP with TLS, to callers with a certificate. Must outlive the server. Null: without.
  Tls* tls = nullptr;

  // Serve TCP without TLS and without knowing who calls, on addresses that only this host can reach.
  bool insecure = false;

  ConnectionLimits connections;

  // Who may do what. Left out: root, the process's own user and the process itself, everything.
  access::Policy policy = access::DefaultPolicy(std::nullopt);

  // Why what is configured is not in use, for GetHostReport. Null: all is.
  std::function<std::vector<std::string>()> configuration_faults;

  int workers = 4;            // threads that change things; with one, no call runs anywhere else
  int readers = 2;            // threads that only look
  size_t queue_limit = 1024;  // calls that may wait, of changes and of reads each

  TransportLimits transport;

  // Where calls are logged. Must be set.
  std::shared_ptr<spdlog::logger> log;

  // What the server does without being called, from Serve() on. Both, and both outlive the server; or neither, and
  // nothing is watched and no lease ends.
  engine::Caretaker* caretaker = nullptr;
  engine::Registry* registry = nullptr;

  // Writes a line for each change before its caller is answered, and refuses calls of which it could not. Must outlive
  // the server. Null: nobody does.
  Auditor* auditor = nullptr;
};

// Serves an engine, which must outlive it.
//
// It begins in two steps, so that a caller can see that it is there while it recovers: Start() opens the listeners,
// with health at NOT_SERVING and calls waiting in the queue; Serve() lets them run.
//
// Threading: thread-safe, but Shutdown() and the destructor must not overlap with anything else.
class Server {
 public:
  // Opens the listeners. Errors, each one sentence that names the address: INVALID_ARGUMENT for an address that can't
  // be one, FAILED_PRECONDITION for TCP without TLS that nobody asked for or that others reach, UNAVAILABLE for an
  // address that can't be listened on.
  static absl::StatusOr<std::unique_ptr<Server>> Start(engine::Engine& engine, ServerOptions options);

  // Shuts down without grace.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // The engine has recovered: runs calls, and sets health to SERVING. While registry or audit log can't be written,
  // health is NOT_SERVING again; reads are answered, and changes refused.
  void Serve();

  // Where it listens, ports resolved: `unix:/run/netprov/netprovd.sock`, `127.0.0.1:43211`.
  const std::vector<std::string>& addresses() const { return addresses_; }

  // The sockets that it accepts from.
  const std::vector<ListeningSocket>& sockets() const;

  // From now on this policy counts.
  void SetPolicy(access::Policy policy);

  // Whether calls get on (Executor::GetsOn()). For one watchdog.
  bool GetsOn();

  // How many calls wait for their turn; a moment later it may be another number.
  size_t waiting() const;

  // What it has counted, and how much there is now. What is pointed to lives as long as the server.
  struct Statistics {
    const CallStatistics* calls = nullptr;
    size_t active_calls = 0;
    size_t waiting_changes = 0;
    size_t waiting_reads = 0;
    const Histogram* change_waits = nullptr;
    const Histogram* read_waits = nullptr;
    const access::Limiter::Statistics* limits = nullptr;
    Connections::Open open;
    const Acceptor::Statistics* accepted = nullptr;  // null: it listens on nothing
    const Counter* hung_up = nullptr;                // null: on no TCP
  };
  // Keeps no call waiting.
  Statistics GetStatistics() const;

  // A channel to a server without any socket: its calls are those of the process itself. Must not outlive it.
  std::shared_ptr<grpc::Channel> InProcessChannel();

  // Ends in order: health says NOT_SERVING, new calls are refused with SHUTTING_DOWN, those that were taken in are
  // finished. When `grace` is over, those that have not changed anything yet are refused too; a change that has begun
  // is finished in any case. Then the listeners are closed and the socket is removed.
  void Shutdown(absl::Duration grace);

  // As Shutdown(), where another process has the sockets too and goes on with them: their files stay. It accepts
  // nothing any more, tells its clients to make their next calls on another connection, which waits for the other
  // process, and goes on with what comes on those that are there until they are gone, no call was under way for half a
  // second, or `grace` is over. No call of a client that does as it is told is refused.
  void HandOver(absl::Duration grace);

 private:
  Server();
  void SetHealth(bool serving);

  std::shared_ptr<spdlog::logger> log_;
  engine::Caretaker* caretaker_ = nullptr;
  Auditor* auditor_ = nullptr;
  engine::Registry* registry_ = nullptr;
  std::unique_ptr<CallStatistics> statistics_;
  std::unique_ptr<Connections> connections_;
  std::unique_ptr<Gate> gate_;
  std::unique_ptr<CallRunner> runner_;
  std::unique_ptr<Housekeeper> housekeeper_;
  std::vector<std::unique_ptr<grpc::Service>> services_;
  std::unique_ptr<grpc::Server> server_;
  // Where connections come in: of unix sockets one for each place among connections_ (PlaceCredentials()).
  std::vector<std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor>> unix_doors_;
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> tcp_door_;
  std::unique_ptr<Acceptor> acceptor_;
  std::unique_ptr<StreamWatch> stream_watch_;
  std::vector<std::string> addresses_;
  bool serving_ = false;
  bool shut_down_ = false;
};

}  // namespace netprov::rpc

#endif  // NETPROV_SERVER_RPC_SERVER_H_
