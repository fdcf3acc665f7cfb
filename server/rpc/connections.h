// The connections that are open, and how many more there may be.
#ifndef NETPROV_SERVER_RPC_CONNECTIONS_H_
#define NETPROV_SERVER_RPC_CONNECTIONS_H_

#include <sys/types.h>

#include <cstddef>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "server/access/identity.h"

namespace netprov::rpc {

struct ConnectionLimits {
  size_t unix_total = 256;   // of all unix sockets; the last 16 are for root and for the daemon's own user
  size_t per_uid = 128;      // of them, by one user other than these
  size_t tcp_total = 512;    // of all TCP sockets
  size_t per_address = 128;  // of them, from one IPv4 address or one /64 of IPv6
};

// What becomes of a connection that somebody made.
enum class Admission {
  kAdmitted,
  kTooMany,      // as many as there may be in all are open
  kTooManyHere,  // as many as one user, or one address, may have are open
};

// Counts connections and remembers whose each is.
//
// gRPC owns an accepted descriptor from the moment that it is handed over, and does not say when it closes it. But it
// keeps it open as long as any call of the connection lives, as its streams hold the transport. So a connection counts
// until its descriptor is no longer the same socket, by the inode number; only then its place is given to another, and
// no call can ever be taken for one of somebody else's.
//
// Threading: thread-safe.
class Connections {
 public:
  // Whether the descriptor `fd` is still the socket `inode`; fstat(2).
  using IsOpen = std::function<bool(int fd, ino_t inode)>;

  explicit Connections(const ConnectionLimits& limits);
  // `pause`: for how long nobody looks again after a look that found nothing, so that a flood of connections does not
  // keep everybody else from the lock.
  Connections(const ConnectionLimits& limits, IsOpen is_open, absl::Duration pause);
  Connections(const Connections&) = delete;
  Connections& operator=(const Connections&) = delete;

  // Counts the socket `fd`, with which `peer` connected. Of kAdmitted with a peer of kind kUnix, `place` becomes a
  // number below `limits.unix_total`, by which PeerAt() knows the peer for as long as the connection counts. `address`
  // is the IP address of any other peer.
  Admission Admit(int fd, ino_t inode, const access::Identity& peer, const std::string& address, size_t* place);

  // The peer of a connection that counts, or null where nobody has the place.
  std::shared_ptr<const access::Identity> PeerAt(size_t place) const;

  // How many are open now.
  size_t open_unix();
  size_t open_tcp();

  // The same, without keeping anybody from the lock meanwhile.
  struct Open {
    size_t unix_sockets = 0;
    size_t tcp = 0;
  };
  Open CountOpen() const;

 private:
  struct Connection {
    int fd;
    ino_t inode;
    size_t place;  // of a unix socket
    std::string key;
    bool is_unix;
  };

  // Forgets those that are closed. With the lock held.
  void Sweep();
  bool HasRoom(bool is_unix, bool is_privileged, const std::string& key) const;
  size_t CountOf(const std::string& key) const;

  const ConnectionLimits limits_;
  const IsOpen is_open_;
  const absl::Duration pause_;

  mutable std::mutex mutex_;
  std::list<Connection> connections_;
  std::map<std::string, size_t> by_key_;  // user or address -> how many
  std::vector<std::shared_ptr<const access::Identity>> places_;
  std::vector<size_t> free_places_;
  size_t tcp_ = 0;
  absl::Duration next_sweep_ = -absl::InfiniteDuration();  // of BootTime()
};

}  // namespace netprov::rpc

#endif  // NETPROV_SERVER_RPC_CONNECTIONS_H_
