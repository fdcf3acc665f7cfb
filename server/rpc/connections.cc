#include "server/rpc/connections.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/boot_time.h"

namespace netprov::rpc {
namespace {

// Of the places of unix sockets, so that an administrator gets in whatever others do.
constexpr size_t kReserved = 16;

constexpr absl::Duration kPause = absl::Milliseconds(20);

bool IsSameSocket(int fd, ino_t inode) {
  struct stat file = {};
  return ::fstat(fd, &file) == 0 && S_ISSOCK(file.st_mode) && file.st_ino == inode;
}

}  // namespace

Connections::Connections(const ConnectionLimits& limits) : Connections(limits, IsSameSocket, kPause) {}

Connections::Connections(const ConnectionLimits& limits, IsOpen is_open, absl::Duration pause)
    : limits_(limits), is_open_(std::move(is_open)), pause_(pause), places_(limits.unix_total) {
  for (size_t place = limits.unix_total; place > 0; --place) free_places_.push_back(place - 1);
}

size_t Connections::CountOf(const std::string& key) const {
  const auto found = by_key_.find(key);
  return found == by_key_.end() ? 0 : found->second;
}

bool Connections::HasRoom(bool is_unix, bool is_privileged, const std::string& key) const {
  const size_t has = CountOf(key);
  if (is_unix) {
    const size_t reserved = is_privileged ? 0 : std::min(kReserved, limits_.unix_total / 2);
    return free_places_.size() > reserved && (is_privileged || has < limits_.per_uid);
  }
  return tcp_ < limits_.tcp_total && has < limits_.per_address;
}

Admission Connections::Admit(int fd, ino_t inode, const access::Identity& peer, const std::string& address,
                             size_t* place) {
  const bool is_unix = peer.kind == access::Identity::Kind::kUnix;
  const bool is_privileged = is_unix && (peer.uid == 0 || peer.uid == ::geteuid());
  const std::string key = is_unix ? absl::StrCat("uid:", peer.uid) : address;
  std::lock_guard<std::mutex> lock(mutex_);
  if (!HasRoom(is_unix, is_privileged, key) && BootTime() >= next_sweep_) {
    const size_t before = connections_.size();
    Sweep();
    if (connections_.size() == before) next_sweep_ = BootTime() + pause_;
  }
  if (!HasRoom(is_unix, is_privileged, key)) {
    const size_t may_have = is_unix ? limits_.per_uid : limits_.per_address;
    return !is_privileged && CountOf(key) >= may_have ? Admission::kTooManyHere : Admission::kTooMany;
  }
  Connection connection{.fd = fd, .inode = inode, .place = 0, .key = key, .is_unix = is_unix};
  if (is_unix) {
    connection.place = *place = free_places_.back();
    free_places_.pop_back();
    places_[*place] = std::make_shared<const access::Identity>(peer);
  } else {
    ++tcp_;
  }
  ++by_key_[key];
  connections_.push_back(std::move(connection));
  return Admission::kAdmitted;
}

void Connections::Sweep() {
  for (auto it = connections_.begin(); it != connections_.end();) {
    if (is_open_(it->fd, it->inode)) {
      ++it;
      continue;
    }
    if (it->is_unix) {
      places_[it->place] = nullptr;
      free_places_.push_back(it->place);
    } else {
      --tcp_;
    }
    if (--by_key_[it->key] == 0) by_key_.erase(it->key);
    it = connections_.erase(it);
  }
}

std::shared_ptr<const access::Identity> Connections::PeerAt(size_t place) const {
  std::lock_guard<std::mutex> lock(mutex_);
  return place < places_.size() ? places_[place] : nullptr;
}

size_t Connections::open_unix() {
  std::lock_guard<std::mutex> lock(mutex_);
  Sweep();
  return places_.size() - free_places_.size();
}

size_t Connections::open_tcp() {
  std::lock_guard<std::mutex> lock(mutex_);
  Sweep();
  return tcp_;
}

Connections::Open Connections::CountOpen() const {
  std::vector<Connection> connections;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    connections.assign(connections_.begin(), connections_.end());
  }
  Open open;
  for (const Connection& connection : connections) {
    if (is_open_(connection.fd, connection.inode)) ++(connection.is_unix ? open.unix_sockets : open.tcp);
  }
  return open;
}

}  // namespace netprov::rpc
