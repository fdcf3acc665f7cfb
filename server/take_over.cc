#include "server/take_over.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "server/rpc/call_log.h"

namespace netprov {
namespace {

constexpr char kSocketName[] = "take-over.sock";
constexpr char kHeadline[] = "netprov-take-over ";

// Of one message: SCM_MAX_FD in the kernel's include/net/scm.h.
constexpr size_t kMostDescriptors = 253;

// As many names of sockets, none of which is longer than a path of unix(7).
constexpr size_t kLongestPacket = 64 << 10;

std::string Errno() { return strerrordesc_np(errno); }

struct Packet {
  std::string text;
  std::vector<UniqueFd> descriptors;
};

// By way of the directory's descriptor, as the path of a state directory may be longer than the address of a socket
// (unix(7)).
sockaddr_un AddressIn(const UniqueFd& directory) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  const std::string path = absl::StrCat("/proc/self/fd/", directory.get(), "/", kSocketName);
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

std::string OfVersion(absl::string_view body) { return absl::StrCat(kHeadline, kTakeOverVersion, "\n", body); }

// The version of a packet, and what follows; nullopt: it is none of ours.
std::optional<std::pair<int, std::string>> Parse(absl::string_view text) {
  const std::vector<absl::string_view> parts = absl::StrSplit(text, absl::MaxSplits('\n', 1));
  absl::string_view headline = parts.front();
  int version = 0;
  if (parts.size() != 2 || !absl::ConsumePrefix(&headline, kHeadline) || !absl::SimpleAtoi(headline, &version)) {
    return std::nullopt;
  }
  return std::pair(version, std::string(parts[1]));
}

bool Send(int socket, const std::string& text, const std::vector<int>& descriptors = {}) {
  iovec part = {.iov_base = const_cast<char*>(text.data()), .iov_len = text.size()};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  const size_t bytes = descriptors.size() * sizeof(int);
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMostDescriptors * sizeof(int))> control = {};
  if (!descriptors.empty()) {
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(bytes);
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(bytes);
    std::memcpy(CMSG_DATA(header), descriptors.data(), bytes);
  }
  return ::sendmsg(socket, &message, MSG_NOSIGNAL) == static_cast<ssize_t>(text.size());
}

// The next packet. UNAVAILABLE: the other end has closed the connection; DEADLINE_EXCEEDED; CANCELLED: `stop` (an
// eventfd, or -1) has been written to; INVALID_ARGUMENT for one that is cut short.
absl::StatusOr<Packet> Receive(int socket, int stop, absl::Duration patience) {
  const absl::Time deadline = absl::Now() + patience;
  for (;;) {
    pollfd events[] = {{.fd = socket, .events = POLLIN}, {.fd = stop, .events = POLLIN}};
    const int64_t left = std::max<int64_t>(0, absl::ToInt64Milliseconds(deadline - absl::Now()));
    const int ready = ::poll(events, 2, static_cast<int>(std::min<int64_t>(left, 1 << 30)));
    if (ready < 0 && errno == EINTR) continue;
    if (ready < 0) return absl::UnavailableError(absl::StrCat("cannot wait for it: ", Errno()));
    if (events[1].revents != 0) return absl::CancelledError("stopped");
    if (events[0].revents != 0) break;
    if (left == 0)
      return absl::DeadlineExceededError(absl::StrCat("said nothing for ", absl::FormatDuration(patience)));
  }
  Packet packet;
  packet.text.resize(kLongestPacket);
  iovec part = {.iov_base = packet.text.data(), .iov_len = packet.text.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMostDescriptors * sizeof(int))> control;
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t size = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  if (size <= 0) return absl::UnavailableError("closed the connection");
  packet.text.resize(static_cast<size_t>(size));
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    for (size_t i = 0; i < (header->cmsg_len - CMSG_LEN(0)) / sizeof(int); ++i) {
      int descriptor = -1;
      std::memcpy(&descriptor, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
      packet.descriptors.emplace_back(descriptor);
    }
  }
  // Where there are too few descriptors left, the kernel leaves some out.
  if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
    return absl::InvalidArgumentError("sent more than this process can take (RLIMIT_NOFILE)");
  }
  return packet;
}

// Who is at the other end; nullopt: somebody who may not be, or the kernel does not say.
std::optional<pid_t> TrustedPeer(int socket) {
  ucred peer = {};
  socklen_t size = sizeof(peer);
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return std::nullopt;
  if (peer.uid != 0 && peer.uid != ::geteuid()) return std::nullopt;
  return peer.pid;
}

absl::Status Refused(pid_t pid, absl::string_view why) {
  return absl::FailedPreconditionError(absl::StrCat("cannot take over from netprovd (pid ", pid, "), which ", why));
}

// What the predecessor offers.
struct Offered {
  int64_t schema = 0;
  TakenOver all;
};

absl::StatusOr<Offered> ReadOffer(pid_t pid, Packet packet) {
  const auto parsed = Parse(packet.text);
  if (!parsed.has_value()) return Refused(pid, "does not speak as netprovd does");
  const auto& [version, body] = *parsed;
  if (version != kTakeOverVersion) {
    return Refused(pid, absl::StrCat("speaks version ", version, " of the hand-over, and this one version ",
                                     kTakeOverVersion, ": stop it and start this one"));
  }
  Offered offered;
  offered.all.pid = pid;
  size_t next = 0;
  bool has_schema = false;
  for (absl::string_view line : absl::StrSplit(body, '\n', absl::SkipEmpty())) {
    if (absl::ConsumePrefix(&line, "error=")) return Refused(pid, absl::StrCat("refuses: ", line));
    if (absl::ConsumePrefix(&line, "schema=")) {
      has_schema = absl::SimpleAtoi(line, &offered.schema);
      continue;
    }
    const bool is_own = absl::ConsumePrefix(&line, "own=");
    if ((!is_own && !absl::ConsumePrefix(&line, "given=")) || next >= packet.descriptors.size()) {
      return Refused(pid, "offers what is not understood");
    }
    absl::StatusOr<rpc::ListeningSocket> socket = rpc::AdoptListeningSocket(std::move(packet.descriptors[next++]));
    if (!socket.ok()) return socket.status();
    if (socket->Name() != line) return Refused(pid, absl::StrCat("calls a socket ", line, " that is ", socket->Name()));
    socket->is_own = is_own;
    offered.all.sockets.push_back(*std::move(socket));
  }
  if (!has_schema || packet.descriptors.size() != next + 1) return Refused(pid, "offers no schema or no lock");
  offered.all.lock = std::move(packet.descriptors[next]);
  return offered;
}

// Removes the files of sockets that are of a daemon's own.
void RemoveFiles(const std::vector<rpc::ListeningSocket>& sockets) {
  for (const rpc::ListeningSocket& socket : sockets) {
    if (socket.kind == rpc::ListeningSocket::Kind::kUnix && socket.is_own) ::unlink(socket.address.c_str());
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<SuccessorListener>> SuccessorListener::Start(Options options) {
  std::unique_ptr<SuccessorListener> listener(new SuccessorListener(std::move(options)));
  const std::string& state_dir = listener->options_.state_dir;
  auto error = [&state_dir] {
    return absl::UnavailableError(absl::StrCat("cannot listen on ", state_dir, "/", kSocketName, ": ", Errno()));
  };
  listener->directory_ = UniqueFd(::open(state_dir.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  listener->socket_ = UniqueFd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  listener->stop_ = UniqueFd(::eventfd(0, EFD_CLOEXEC));
  if (!listener->directory_.valid() || !listener->socket_.valid() || !listener->stop_.valid()) return error();
  const sockaddr_un address = AddressIn(listener->directory_);
  // What is there is left of one that has ended: this process has the lock. The file is made with the socket's own
  // mode.
  if (::unlinkat(listener->directory_.get(), kSocketName, 0) != 0 && errno != ENOENT) return error();
  if (::fchmod(listener->socket_.get(), 0600) != 0 ||
      ::bind(listener->socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
      ::listen(listener->socket_.get(), 8) != 0) {
    return error();
  }
  listener->thread_ = std::thread([raw = listener.get()] { raw->Run(); });
  ::pthread_setname_np(listener->thread_.native_handle(), "successor");
  return listener;
}

SuccessorListener::~SuccessorListener() { Stop(); }

bool SuccessorListener::is_taken() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return successor_pid_.has_value();
}

std::optional<pid_t> SuccessorListener::Stop() {
  if (thread_.joinable()) {
    const uint64_t one = 1;
    // The counter is far from its limit, so this can't fail.
    [[maybe_unused]] const ssize_t written = ::write(stop_.get(), &one, sizeof(one));
    thread_.join();
    // A successor makes its own, which comes after this one has ended.
    ::unlinkat(directory_.get(), kSocketName, 0);
    socket_.Reset();
  }
  std::lock_guard<std::mutex> lock(mutex_);
  return successor_pid_;
}

void SuccessorListener::Run() {
  while (!is_taken()) {
    pollfd events[] = {{.fd = socket_.get(), .events = POLLIN}, {.fd = stop_.get(), .events = POLLIN}};
    if (::poll(events, 2, -1) < 0 && errno != EINTR) return;
    if (events[1].revents != 0) return;
    UniqueFd connection(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (connection.valid()) {
      Serve(std::move(connection));
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
      // It waits, and would be seen again at once.
      ::poll(&events[1], 1, 100);
    }
  }
  options_.on_taken();
}

void SuccessorListener::Serve(UniqueFd connection) {
  auto give_up = [this](absl::string_view why) {
    options_.log->warn(absl::StrCat("event=take_over_failed reason=", rpc::LogfmtValue(std::string(why))));
  };
  const std::optional<pid_t> pid = TrustedPeer(connection.get());
  if (!pid.has_value()) return give_up("somebody asked who is neither root nor the daemon's user");
  auto refuse = [&](const std::string& why) {
    Send(connection.get(), OfVersion(absl::StrCat("error=", why, "\n")));
    give_up(why);
  };
  absl::StatusOr<Packet> hello = Receive(connection.get(), stop_.get(), options_.patience);
  if (!hello.ok()) return give_up(hello.status().message());
  const auto parsed = Parse(hello->text);
  if (!parsed.has_value()) return refuse("it does not speak as netprovd does");
  if (parsed->first != kTakeOverVersion) {
    return refuse(absl::StrCat("it speaks version ", parsed->first, " of the hand-over, and this one version ",
                               kTakeOverVersion));
  }
  if (parsed->second != "hello\n") return refuse("it does not begin with hello");
  std::string offer = absl::StrCat("schema=", options_.schema, "\n");
  std::vector<int> descriptors;
  for (const rpc::ListeningSocket& socket : *options_.sockets) {
    absl::StrAppend(&offer, socket.is_own ? "own=" : "given=", socket.Name(), "\n");
    descriptors.push_back(socket.fd.get());
  }
  descriptors.push_back(options_.lock);
  if (descriptors.size() > kMostDescriptors) {
    return refuse(absl::StrCat("it has more sockets than ", kMostDescriptors - 1));
  }
  if (!Send(connection.get(), OfVersion(offer), descriptors)) return give_up(Errno());
  absl::StatusOr<Packet> go = Receive(connection.get(), stop_.get(), options_.patience);
  if (!go.ok()) return give_up(go.status().message());
  if (go->text != OfVersion("go\n")) return refuse("it does not say go");
  if (!Send(connection.get(), OfVersion("going\n"))) return give_up(Errno());
  std::lock_guard<std::mutex> lock(mutex_);
  successor_ = std::move(connection);
  successor_pid_ = *pid;
}

absl::StatusOr<std::optional<TakenOver>> TakeOver(const TakeOverOptions& options) {
  const std::string path = absl::StrCat(options.state_dir, "/", kSocketName);
  const UniqueFd directory(::open(options.state_dir.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  const UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return absl::UnavailableError(absl::StrCat("cannot open a socket: ", Errno()));
  if (!directory.valid() && errno == ENOENT) return std::nullopt;
  if (!directory.valid()) return absl::UnavailableError(absl::StrCat("cannot open ", options.state_dir, ": ", Errno()));
  const sockaddr_un address = AddressIn(directory);
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    if (errno == ENOENT || errno == ECONNREFUSED) return std::nullopt;
    return absl::UnavailableError(absl::StrCat("cannot connect to ", path, ": ", Errno()));
  }
  const std::optional<pid_t> pid = TrustedPeer(socket.get());
  if (!pid.has_value()) {
    return absl::FailedPreconditionError(
        absl::StrCat("cannot take over from who listens on ", path, ", which is neither root nor this user"));
  }
  // It may have ended meanwhile, which the next word shows.
  Send(socket.get(), OfVersion("hello\n"));
  absl::StatusOr<Packet> offer = Receive(socket.get(), options.stop, options.patience);
  if (absl::IsUnavailable(offer.status())) return std::nullopt;
  if (absl::IsCancelled(offer.status())) return absl::CancelledError("stopped before it took over");
  if (!offer.ok()) return Refused(*pid, offer.status().message());
  absl::StatusOr<Offered> offered = ReadOffer(*pid, *std::move(offer));
  if (!offered.ok()) return offered.status();
  if (offered->schema > options.schema) {
    return Refused(*pid, absl::StrCat("is a newer netprov (schema ", offered->schema,
                                      " of the registry; this one knows ", options.schema, ")"));
  }
  TakenOver taken = std::move(offered->all);
  std::vector<rpc::ListeningSocket> offered_sockets = std::exchange(taken.sockets, {});
  std::vector<std::string> names;
  for (const rpc::ListeningSocket& offered_socket : offered_sockets) names.push_back(offered_socket.Name());
  // Its group is the predecessor's as long as that may go on; whoever serves gives it its own.
  rpc::ListenAddresses addresses = options.addresses;
  addresses.leaves_group = true;
  absl::StatusOr<std::vector<rpc::ListeningSocket>> listening = rpc::Listen(addresses, offered_sockets);
  if (!listening.ok()) return listening.status();
  taken.sockets = *std::move(listening);
  const absl::Time asked_at = absl::Now();
  Send(socket.get(), OfVersion("go\n"));
  // However long it takes: it must not let go of what nobody takes.
  absl::StatusOr<Packet> going = Receive(socket.get(), -1, absl::InfiniteDuration());
  if (!going.ok() || going->text != OfVersion("going\n")) {
    // Those that were made here; the others are the predecessor's as long as it lives.
    std::erase_if(taken.sockets, [&names](const rpc::ListeningSocket& made) {
      return std::find(names.begin(), names.end(), made.Name()) != names.end();
    });
    RemoveFiles(taken.sockets);
    if (absl::IsUnavailable(going.status())) return std::nullopt;
    return Refused(*pid, going.ok() ? "does not let go" : going.status().message());
  }
  // Nobody asks for them any more.
  RemoveFiles(offered_sockets);
  // It ends, or dies.
  absl::Status end;
  while (end.ok()) end = Receive(socket.get(), options.stop, absl::InfiniteDuration()).status();
  if (absl::IsCancelled(end)) {
    RemoveFiles(taken.sockets);
    return absl::CancelledError(
        absl::StrCat("stopped while it waited for the end of netprovd (pid ", *pid, "), after which nobody serves"));
  }
  options.log->info(
      absl::StrCat("event=taken_over pid=", *pid, " waited_ms=", absl::ToInt64Milliseconds(absl::Now() - asked_at)));
  return taken;
}

}  // namespace netprov
