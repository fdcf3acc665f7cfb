#include "server/rpc/connections.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/boot_time.h"
#include "server/base/unique_fd.h"

namespace netprov::rpc {
namespace {

// Of the places of unix sockets, so that an administrator gets in whatever others do.
constexpr size_t kReserved = 16;

constexpr absl::Duration kPause = absl::Milliseconds(20);

// What ends sooner than this was short.
constexpr absl::Duration kShort = absl::Seconds(10);

// The bucket of an address, in the time that it takes to fill; and how far it is overdrawn at most, so that whoever
// waits has its turn before the acceptor gives it up.
constexpr absl::Duration kBurst = absl::Seconds(2);
constexpr absl::Duration kMostDebt = absl::Seconds(4);

// How many connections of an address are looked at when it makes one more: all that it has by default.
constexpr int kLookedAt = 128;

// How often addresses are forgotten that owe nothing.
constexpr absl::Duration kClearing = absl::Seconds(1);

bool IsSameSocket(int fd, ino_t inode) {
  struct stat file = {};
  return ::fstat(fd, &file) == 0 && S_ISSOCK(file.st_mode) && file.st_ino == inode;
}

}  // namespace

std::string KeyOf(const sockaddr_storage& peer) {
  char text[INET6_ADDRSTRLEN] = {};
  if (peer.ss_family == AF_INET6) {
    in6_addr ipv6 = reinterpret_cast<const sockaddr_in6&>(peer).sin6_addr;
    if (IN6_IS_ADDR_V4MAPPED(&ipv6)) {
      ::inet_ntop(AF_INET, &ipv6.s6_addr[12], text, sizeof(text));
      return text;
    }
    std::fill(std::begin(ipv6.s6_addr) + 8, std::end(ipv6.s6_addr), 0);
    ::inet_ntop(AF_INET6, &ipv6, text, sizeof(text));
  } else {
    ::inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in&>(peer).sin_addr, text, sizeof(text));
  }
  return text;
}

std::string NameOf(const sockaddr_storage& peer) {
  char text[INET6_ADDRSTRLEN] = {};
  if (peer.ss_family == AF_INET6) {
    const auto& ipv6 = reinterpret_cast<const sockaddr_in6&>(peer);
    const uint16_t port = ntohs(ipv6.sin6_port);
    if (IN6_IS_ADDR_V4MAPPED(&ipv6.sin6_addr)) {
      ::inet_ntop(AF_INET, &ipv6.sin6_addr.s6_addr[12], text, sizeof(text));
      return absl::StrCat(text, ":", port);
    }
    ::inet_ntop(AF_INET6, &ipv6.sin6_addr, text, sizeof(text));
    return absl::StrCat("[", text, "]:", port);
  }
  const auto& ipv4 = reinterpret_cast<const sockaddr_in&>(peer);
  ::inet_ntop(AF_INET, &ipv4.sin_addr, text, sizeof(text));
  return absl::StrCat(text, ":", ntohs(ipv4.sin_port));
}

Connections::Connections(const ConnectionLimits& limits) : Connections(limits, IsSameSocket, kPause, BootTime) {}

Connections::Connections(const ConnectionLimits& limits, IsOpen is_open, absl::Duration pause, Clock clock)
    : limits_(limits),
      is_open_(std::move(is_open)),
      pause_(pause),
      clock_(std::move(clock)),
      places_(limits.unix_total) {
  for (size_t place = limits.unix_total; place > 0; --place) free_places_.push_back(place - 1);
}

size_t Connections::CountOf(const std::string& key) const {
  const auto found = by_key_.find(key);
  return found == by_key_.end() ? 0 : found->second.size();
}

Connections::List::iterator Connections::Find(List& of_key, int fd, ino_t inode) {
  return std::find_if(of_key.begin(), of_key.end(),
                      [fd, inode](const Connection& each) { return each.fd == fd && each.inode == inode; });
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
  const absl::Duration now = clock_();
  if (!is_unix) Look(key, now);
  if (!HasRoom(is_unix, is_privileged, key) && now >= next_sweep_) {
    const auto count = [this] { return tcp_ + places_.size() - free_places_.size(); };
    const size_t before = count();
    Sweep(now);
    if (count() == before) next_sweep_ = now + pause_;
  }
  if (!HasRoom(is_unix, is_privileged, key)) {
    const size_t may_have = is_unix ? limits_.per_uid : limits_.per_address;
    return !is_privileged && CountOf(key) >= may_have ? Admission::kTooManyHere : Admission::kTooMany;
  }
  Connection connection{.fd = fd, .inode = inode, .place = 0, .is_unix = is_unix, .is_charged = is_unix, .since = now};
  if (is_unix) {
    connection.place = *place = free_places_.back();
    free_places_.pop_back();
    places_[*place] = std::make_shared<const access::Identity>(peer);
  } else {
    connection.from = peer.from;
    ++tcp_;
  }
  by_key_[key].push_back(std::move(connection));
  return Admission::kAdmitted;
}

Connections::List::iterator Connections::Forget(const std::string& key, List& of_key, List::iterator connection,
                                                absl::Duration now) {
  if (connection->is_unix) {
    places_[connection->place] = nullptr;
    free_places_.push_back(connection->place);
  } else {
    --tcp_;
  }
  if (!connection->is_charged && now - connection->since < kShort) Charge(key, now);
  return of_key.erase(connection);
}

void Connections::Sweep(absl::Duration now) {
  for (auto entry = by_key_.begin(); entry != by_key_.end();) {
    auto& [key, of_key] = *entry;
    for (auto it = of_key.begin(); it != of_key.end();) {
      it = is_open_(it->fd, it->inode) ? std::next(it) : Forget(key, of_key, it, now);
    }
    entry = of_key.empty() ? by_key_.erase(entry) : std::next(entry);
  }
}

void Connections::Look(const std::string& address, absl::Duration now) {
  if (limits_.short_per_second == 0 || now < next_look_) return;
  const auto found = by_key_.find(address);
  if (found == by_key_.end()) return;
  List& of_key = found->second;
  const size_t before = of_key.size();
  auto it = of_key.end();
  for (int i = 0; i < kLookedAt && it != of_key.begin(); ++i) {
    --it;
    if (now - it->since >= kShort) break;
    if (!is_open_(it->fd, it->inode)) it = Forget(address, of_key, it, now);
  }
  if (of_key.size() == before) next_look_ = now + pause_;
  if (of_key.empty()) by_key_.erase(found);
}

absl::Duration Connections::Price() const { return absl::Seconds(1) / static_cast<int64_t>(limits_.short_per_second); }

void Connections::Charge(const std::string& address, absl::Duration now) {
  if (limits_.short_per_second == 0) return;
  if (now >= next_clearing_) {
    std::erase_if(paid_at_, [now](const auto& entry) { return entry.second <= now; });
    next_clearing_ = now + kClearing;
  }
  absl::Duration& paid_at = paid_at_.try_emplace(address, now).first->second;
  paid_at = std::min(std::max(paid_at, now) + Price(), now + kBurst + kMostDebt);
}

absl::Duration Connections::WaitFor(const std::string& address) const {
  std::lock_guard<std::mutex> lock(mutex_);
  const auto found = paid_at_.find(address);
  if (found == paid_at_.end()) return absl::ZeroDuration();
  return std::max(found->second - clock_() - (kBurst - Price()), absl::ZeroDuration());
}

void Connections::EndWait(int fd, ino_t inode, const std::string& address) {
  std::lock_guard<std::mutex> lock(mutex_);
  List& of_key = by_key_.at(address);
  Find(of_key, fd, inode)->is_charged = true;
  Charge(address, clock_());
}

void Connections::GiveUp(int fd, ino_t inode, const std::string& address) {
  std::lock_guard<std::mutex> lock(mutex_);
  List& of_key = by_key_.at(address);
  const List::iterator connection = Find(of_key, fd, inode);
  connection->is_charged = true;
  Forget(address, of_key, connection, clock_());
  if (of_key.empty()) by_key_.erase(address);
}

bool Connections::HangUp(const std::string& from) {
  std::vector<std::pair<int, ino_t>> sockets;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    for (const auto& [key, of_key] : by_key_) {
      for (const Connection& each : of_key) {
        if (!each.is_unix && each.from == from) sockets.emplace_back(each.fd, each.inode);
      }
    }
  }
  bool has_ended_one = false;
  for (const auto& [fd, inode] : sockets) {
    // gRPC may close it at any moment, and its number be another socket's then. A copy stays what it is, so nobody else
    // is cut off. While there is one, gRPC may hear of what it has closed, as it does of events that it fetched before.
    const UniqueFd copy(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
    if (!copy.valid() || !is_open_(copy.get(), inode)) continue;
    has_ended_one |= ::shutdown(copy.get(), SHUT_RDWR) == 0;
  }
  return has_ended_one;
}

std::shared_ptr<const access::Identity> Connections::PeerAt(size_t place) const {
  std::lock_guard<std::mutex> lock(mutex_);
  return place < places_.size() ? places_[place] : nullptr;
}

size_t Connections::open_unix() {
  std::lock_guard<std::mutex> lock(mutex_);
  Sweep(clock_());
  return places_.size() - free_places_.size();
}

size_t Connections::open_tcp() {
  std::lock_guard<std::mutex> lock(mutex_);
  Sweep(clock_());
  return tcp_;
}

Connections::Open Connections::CountOpen() const {
  std::vector<Connection> connections;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    for (const auto& [key, of_key] : by_key_) connections.insert(connections.end(), of_key.begin(), of_key.end());
  }
  Open open;
  for (const Connection& connection : connections) {
    if (is_open_(connection.fd, connection.inode)) ++(connection.is_unix ? open.unix_sockets : open.tcp);
  }
  return open;
}

}  // namespace netprov::rpc
