#include "server/rpc/acceptor.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/access/identity.h"
#include "server/rpc/call_log.h"

namespace netprov::rpc {
namespace {

// A socket with many who wait does not keep the others from their turn.
constexpr int kAcceptedAtOnce = 64;

constexpr absl::Duration kComplaintInterval = absl::Seconds(1);

// Where descriptors or memory lack and not even the spare one helps, trying at once would only burn the processor.
constexpr absl::Duration kPause = absl::Milliseconds(20);

// For how long a connection waits for its turn before it is closed.
constexpr absl::Duration kLongestWait = absl::Seconds(5);

UniqueFd OpenSpare() { return UniqueFd(::open("/dev/null", O_RDONLY | O_CLOEXEC)); }

// The supplementary groups of the peer (SO_PEERGROUPS, Linux 4.13).
std::vector<gid_t> GroupsOf(int fd) {
  std::vector<gid_t> groups(32);
  for (int i = 0; i < 2; ++i) {
    socklen_t size = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
    const int failed = ::getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &size);
    if (failed != 0 && errno != ERANGE) return {};
    groups.resize(size / sizeof(gid_t));
    if (failed == 0) return groups;
  }
  return {};
}

// Who connected to a unix socket. False: the kernel does not say.
bool ReadPeer(int fd, access::Identity& peer) {
  ucred credentials = {};
  socklen_t size = sizeof(credentials);
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) return false;
  peer.kind = access::Identity::Kind::kUnix;
  peer.uid = credentials.uid;
  peer.gid = credentials.gid;
  peer.pid = credentials.pid;
  peer.groups = GroupsOf(fd);
  peer.from = absl::StrCat("pid:", peer.pid);
  return true;
}

// Whether the peer has closed the connection. What it has sent before may be unread, so recv(2) does not tell.
bool HasHungUp(int fd) {
  pollfd events = {.fd = fd, .events = POLLRDHUP, .revents = 0};
  return ::poll(&events, 1, 0) > 0;
}

// In milliseconds, never too short.
int TimeoutOf(absl::Duration wait) {
  if (wait == absl::InfiniteDuration()) return -1;
  return static_cast<int>(absl::ToInt64Milliseconds(absl::Ceil(wait, absl::Milliseconds(1))));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Acceptor>> Acceptor::Start(std::vector<ListeningSocket> sockets,
                                                          Connections& connections, const Options& options) {
  std::unique_ptr<Acceptor> acceptor(new Acceptor(connections, options));
  acceptor->sockets_ = std::move(sockets);
  acceptor->epoll_ = UniqueFd(::epoll_create1(EPOLL_CLOEXEC));
  acceptor->stop_ = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  acceptor->spare_ = OpenSpare();
  auto watch = [&acceptor](int fd, ListeningSocket* socket) {
    epoll_event event = {};
    event.events = EPOLLIN;
    event.data.ptr = socket;
    return ::epoll_ctl(acceptor->epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
  };
  bool watches = acceptor->epoll_.valid() && acceptor->stop_.valid() && acceptor->spare_.valid() &&
                 watch(acceptor->stop_.get(), nullptr);
  for (ListeningSocket& socket : acceptor->sockets_) watches = watches && watch(socket.fd.get(), &socket);
  if (!watches) {
    const std::string reason = strerrordesc_np(errno);
    acceptor->Close();
    return absl::UnavailableError(absl::StrCat("cannot wait for connections: ", reason));
  }
  acceptor->thread_ = std::thread([raw = acceptor.get()] { raw->Run(); });
  ::pthread_setname_np(acceptor->thread_.native_handle(), "acceptor");
  return acceptor;
}

Acceptor::~Acceptor() { Close(); }

void Acceptor::Stop() {
  if (!thread_.joinable()) return;
  const uint64_t one = 1;
  // The counter is far from its limit, so this can't fail.
  [[maybe_unused]] const ssize_t written = ::write(stop_.get(), &one, sizeof(one));
  thread_.join();
}

void Acceptor::GiveUp() {
  Stop();
  for (ListeningSocket& socket : sockets_) socket.is_own = false;
}

void Acceptor::Close() {
  Stop();
  for (const ListeningSocket& socket : sockets_) {
    if (socket.kind == ListeningSocket::Kind::kUnix && socket.is_own) ::unlink(socket.address.c_str());
  }
  sockets_.clear();
}

void Acceptor::Run() {
  epoll_event events[16];
  for (;;) {
    const int count = ::epoll_wait(epoll_.get(), events, 16, TimeoutOf(ServeWaiting()));
    for (int i = 0; i < count; ++i) {
      const auto* socket = static_cast<const ListeningSocket*>(events[i].data.ptr);
      if (socket == nullptr) return ServeAllWaiting();
      for (int accepted = 0; accepted < kAcceptedAtOnce && Accept(*socket); ++accepted) {
      }
    }
  }
}

bool Acceptor::Accept(const ListeningSocket& socket) {
  sockaddr_storage address = {};
  socklen_t size = sizeof(address);
  UniqueFd fd(::accept4(socket.fd.get(), reinterpret_cast<sockaddr*>(&address), &size, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!fd.valid()) {
    // Of a connection that ended before it was accepted, the next may be fine (accept(2), "Error handling").
    if (errno == EAGAIN || errno == EWOULDBLOCK) return false;
    return errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS ? TurnAway(socket) : true;
  }
  access::Identity peer;
  std::string ip_address;
  if (socket.kind == ListeningSocket::Kind::kUnix) {
    if (!ReadPeer(fd.get(), peer)) return true;
  } else {
    ip_address = KeyOf(address);
    peer.from = NameOf(address);
  }
  struct stat file = {};
  if (::fstat(fd.get(), &file) != 0) return true;
  size_t place = 0;
  switch (connections_.Admit(fd.get(), file.st_ino, peer, ip_address, &place)) {
    case Admission::kAdmitted:
      // Who comes later does not get in ahead of who waits.
      if (!ip_address.empty() &&
          (waiting_.contains(ip_address) || connections_.WaitFor(ip_address) > absl::ZeroDuration())) {
        waiting_[ip_address].push_back(
            {.fd = std::move(fd), .inode = file.st_ino, .socket = &socket, .until = options_.clock() + kLongestWait});
        statistics_.delayed.Add();
        Complain(delayed_, "event=connections_delayed", ip_address);
        break;
      }
      HandOver(std::move(fd), socket, place);
      break;
    case Admission::kTooMany:
      statistics_.refused.Add();
      Refused("connections", ip_address.empty() ? peer.Name() : ip_address);
      break;
    case Admission::kTooManyHere:
      statistics_.refused_of_one.Add();
      Refused("connections_of_one", ip_address.empty() ? peer.Name() : ip_address);
      break;
  }
  return true;
}

void Acceptor::HandOver(UniqueFd fd, const ListeningSocket& socket, size_t place) {
  (socket.kind == ListeningSocket::Kind::kUnix ? statistics_.accepted_unix : statistics_.accepted_tcp).Add();
  options_.hand_over(std::move(fd), socket, place);
}

absl::Duration Acceptor::ServeWaiting() {
  absl::Duration next = absl::InfiniteDuration();
  for (auto entry = waiting_.begin(); entry != waiting_.end();) {
    auto& [address, queue] = *entry;
    for (; !queue.empty(); queue.pop_front()) {
      Waiting& first = queue.front();
      if (HasHungUp(first.fd.get())) {
        connections_.GiveUp(first.fd.get(), first.inode, address);
        continue;
      }
      const absl::Duration wait = connections_.WaitFor(address);
      if (wait == absl::ZeroDuration()) {
        connections_.EndWait(first.fd.get(), first.inode, address);
        HandOver(std::move(first.fd), *first.socket, 0);
        continue;
      }
      const absl::Duration left = first.until - options_.clock();
      if (left > absl::ZeroDuration()) {
        next = std::min({next, wait, left});
        break;
      }
      connections_.GiveUp(first.fd.get(), first.inode, address);
      statistics_.refused_delayed.Add();
      Refused("short_connections", address);
    }
    entry = queue.empty() ? waiting_.erase(entry) : std::next(entry);
  }
  return next;
}

void Acceptor::ServeAllWaiting() {
  for (auto& [address, queue] : waiting_) {
    for (Waiting& each : queue) HandOver(std::move(each.fd), *each.socket, 0);
  }
  waiting_.clear();
}

bool Acceptor::TurnAway(const ListeningSocket& socket) {
  const std::string reason = strerrorname_np(errno);
  spare_.Reset();
  const bool turned_away = UniqueFd(::accept4(socket.fd.get(), nullptr, nullptr, SOCK_CLOEXEC)).valid();
  spare_ = OpenSpare();
  statistics_.without_descriptors.Add();
  Refused(reason, socket.Name());
  if (!turned_away || !spare_.valid()) absl::SleepFor(kPause);
  return turned_away;
}

void Acceptor::Refused(absl::string_view why, const std::string& who) {
  Complain(refused_, absl::StrCat("event=connections_refused reason=", why), who);
}

void Acceptor::Complain(Complaint& complaint, absl::string_view what, const std::string& who) {
  ++complaint.count;
  if (absl::Now() < complaint.next) return;
  options_.log->warn(absl::StrCat(what, " count=", complaint.count, " last=", LogfmtValue(who)));
  complaint = {.next = absl::Now() + kComplaintInterval};
}

}  // namespace netprov::rpc
