// The connections that are open, and how many more there may be.
#ifndef NETPROV_SERVER_RPC_CONNECTIONS_H_
#define NETPROV_SERVER_RPC_CONNECTIONS_H_

#include <sys/socket.h>
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
  // Of one address, connections that end within 10 seconds: so many a second, and twice as many at once. What comes
  // after more than these is to wait. 0: any number.
  size_t short_per_second = 8;
};

// The IP address of a peer of TCP, by which its connections are counted, without its port. Of IPv6 the first half: a
// host mostly has all that begin with it. IPv4 within IPv6 is IPv4.
std::string KeyOf(const sockaddr_storage& peer);

// Such an address with its port, in whole: `10.0.0.7:51234`, `[::1]:51234`. Of no two connections that are open, but of
// the same link-local address on two links.
std::string NameOf(const sockaddr_storage& peer);

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
// A TLS handshake takes some milliseconds of the processor, so whoever ends connections as fast as it makes them would
// keep the others from theirs. A connection of TCP that ends soon is charged to its address when it is found to have
// ended, and not when it is made: clients that come again after a restart stay, and pay nothing.
//
// Threading: thread-safe.
class Connections {
 public:
  // Whether the descriptor `fd` is still the socket `inode`; fstat(2).
  using IsOpen = std::function<bool(int fd, ino_t inode)>;
  using Clock = std::function<absl::Duration()>;  // as BootTime()

  explicit Connections(const ConnectionLimits& limits);
  // `pause`: for how long nobody looks again after a look that found nothing, so that a flood of connections does not
  // keep everybody else from the lock.
  Connections(const ConnectionLimits& limits, IsOpen is_open, absl::Duration pause, Clock clock);
  Connections(const Connections&) = delete;
  Connections& operator=(const Connections&) = delete;

  // Counts the socket `fd`, with which `peer` connected. Of kAdmitted with a peer of kind kUnix, `place` becomes a
  // number below `limits.unix_total`, by which PeerAt() knows the peer for as long as the connection counts. `address`
  // is the KeyOf() any other peer, and `peer.from` its NameOf().
  Admission Admit(int fd, ino_t inode, const access::Identity& peer, const std::string& address, size_t* place);

  // For how long a connection of TCP that was admitted is to wait, as `address` has had too many short ones. Zero: it
  // is its turn.
  absl::Duration WaitFor(const std::string& address) const;

  // Of a connection that was admitted, is still open, and had to wait. It is its turn: it is charged now, however long
  // it lasts.
  void EndWait(int fd, ino_t inode, const std::string& address);
  // It is given up, and about to be closed: it counts no more, and is not charged.
  void GiveUp(int fd, ino_t inode, const std::string& address);

  // Ends the connection of TCP with the peer of this NameOf(): both sides see its end, and gRPC closes it. False: there
  // is none, or it can't be ended.
  bool HangUp(const std::string& from);

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
    bool is_unix;
    bool is_charged;       // or never will be
    absl::Duration since;  // of the clock
    std::string from;      // of TCP
  };
  using List = std::list<Connection>;  // the oldest first

  // All with the lock held.

  // Forgets those that are closed.
  void Sweep(absl::Duration now);
  // The same for the last of one address, so that what it does counts at once.
  void Look(const std::string& address, absl::Duration now);
  static List::iterator Find(List& of_key, int fd, ino_t inode);
  List::iterator Forget(const std::string& key, List& of_key, List::iterator connection, absl::Duration now);
  void Charge(const std::string& address, absl::Duration now);
  absl::Duration Price() const;  // of a short connection, in the time in which it is paid
  bool HasRoom(bool is_unix, bool is_privileged, const std::string& key) const;
  size_t CountOf(const std::string& key) const;

  const ConnectionLimits limits_;
  const IsOpen is_open_;
  const absl::Duration pause_;
  const Clock clock_;

  mutable std::mutex mutex_;
  std::map<std::string, List> by_key_;  // user or address -> its own, at least one
  // Address -> when all is paid that it was charged, where that is not yet. It has to wait while that is too far ahead:
  // a token bucket that can be overdrawn.
  std::map<std::string, absl::Duration> paid_at_;
  std::vector<std::shared_ptr<const access::Identity>> places_;
  std::vector<size_t> free_places_;
  size_t tcp_ = 0;
  absl::Duration next_sweep_ = -absl::InfiniteDuration();
  absl::Duration next_look_ = -absl::InfiniteDuration();
  absl::Duration next_clearing_ = -absl::InfiniteDuration();  // of paid_at_
};

}  // namespace netprov::rpc

#endif  // NETPROV_SERVER_RPC_CONNECTIONS_H_
