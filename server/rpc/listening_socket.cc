#include "server/rpc/listening_socket.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace netprov::rpc {
namespace {

// The kernel takes the smaller of this and net.core.somaxconn.
constexpr int kBacklog = 4096;

constexpr mode_t kSocketMode = 0660;

// The reason of the last failed system call, for a person.
std::string Errno() { return strerrordesc_np(errno); }

absl::Status MakeDirectoryOf(const std::string& socket_path) {
  const std::filesystem::path directory = std::filesystem::path(socket_path).parent_path();
  if (directory.empty()) return absl::OkStatus();
  std::error_code error;
  if (!std::filesystem::create_directories(directory, error)) {
    if (!error) return absl::OkStatus();  // It is there.
    return absl::UnavailableError(
        absl::StrCat("cannot make the directory ", directory.string(), " of the socket: ", error.message()));
  }
  if (::chmod(directory.c_str(), 0755) != 0) {
    return absl::UnavailableError(absl::StrCat("cannot set the mode of ", directory.string(), ": ", Errno()));
  }
  return absl::OkStatus();
}

// Makes room for a socket, but takes none from a server that still listens on it.
absl::Status ClearSocketPath(const std::string& path, const sockaddr_un& address) {
  struct stat file = {};
  if (::lstat(path.c_str(), &file) != 0) {
    if (errno == ENOENT) return absl::OkStatus();
    return absl::UnavailableError(absl::StrCat("cannot look at the socket ", path, ": ", Errno()));
  }
  if (!S_ISSOCK(file.st_mode)) {
    return absl::UnavailableError(absl::StrCat("cannot listen on ", path, ": there is a file that is no socket"));
  }
  const UniqueFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!probe.valid()) return absl::UnavailableError(absl::StrCat("cannot open a socket: ", Errno()));
  const bool connected = ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  // EAGAIN: somebody listens, and is busy.
  if (connected || errno == EAGAIN) {
    return absl::UnavailableError(absl::StrCat("cannot listen on ", path, ": another server listens on it"));
  }
  if (errno != ECONNREFUSED) {
    return absl::UnavailableError(absl::StrCat("cannot see whether somebody listens on ", path, ": ", Errno()));
  }
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
    return absl::UnavailableError(absl::StrCat("cannot remove the old socket ", path, ": ", Errno()));
  }
  return absl::OkStatus();
}

// Gives the file of a socket to a group.
absl::Status GiveTo(const std::string& path, gid_t group) {
  struct stat file = {};
  if (::lstat(path.c_str(), &file) == 0 && file.st_gid == group) return absl::OkStatus();
  if (::lchown(path.c_str(), static_cast<uid_t>(-1), group) == 0) return absl::OkStatus();
  return absl::PermissionDeniedError(
      absl::StrCat("cannot give the socket ", path, " to the group ", group, ": ", Errno()));
}

// `127.0.0.1:7001`, `[::1]:7001`.
std::string TextOf(const sockaddr_storage& address) {
  char text[INET6_ADDRSTRLEN] = {};
  if (address.ss_family == AF_INET6) {
    const auto& ipv6 = reinterpret_cast<const sockaddr_in6&>(address);
    ::inet_ntop(AF_INET6, &ipv6.sin6_addr, text, sizeof(text));
    return absl::StrCat("[", text, "]:", ntohs(ipv6.sin6_port));
  }
  const auto& ipv4 = reinterpret_cast<const sockaddr_in&>(address);
  ::inet_ntop(AF_INET, &ipv4.sin_addr, text, sizeof(text));
  return absl::StrCat(text, ":", ntohs(ipv4.sin_port));
}

void SetPort(sockaddr* address, uint16_t port) {
  if (address->sa_family == AF_INET6) {
    reinterpret_cast<sockaddr_in6*>(address)->sin6_port = htons(port);
  } else {
    reinterpret_cast<sockaddr_in*>(address)->sin_port = htons(port);
  }
}

uint16_t PortOf(const sockaddr_storage& address) {
  return ntohs(address.ss_family == AF_INET6 ? reinterpret_cast<const sockaddr_in6&>(address).sin6_port
                                             : reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

absl::StatusOr<ListeningSocket> ListenOn(const addrinfo& info, const std::string& address) {
  auto error = [&address] { return absl::UnavailableError(absl::StrCat("cannot listen on ", address, ": ", Errno())); };
  ListeningSocket listening{.fd = UniqueFd(::socket(info.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)),
                            .kind = ListeningSocket::Kind::kTcp};
  if (!listening.fd.valid()) return error();
  const int on = 1;
  // A restart need not wait for connections of before (tcp(7), TIME_WAIT). Accepted sockets inherit the other one.
  ::setsockopt(listening.fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  ::setsockopt(listening.fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  if (info.ai_family == AF_INET6) {
    const auto& ipv6 = reinterpret_cast<const sockaddr_in6&>(*info.ai_addr);
    const int only = IN6_IS_ADDR_UNSPECIFIED(&ipv6.sin6_addr) ? 0 : 1;
    ::setsockopt(listening.fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only));
  }
  if (::bind(listening.fd.get(), info.ai_addr, info.ai_addrlen) != 0) return error();
  if (::listen(listening.fd.get(), kBacklog) != 0) return error();
  sockaddr_storage bound = {};
  socklen_t size = sizeof(bound);
  if (::getsockname(listening.fd.get(), reinterpret_cast<sockaddr*>(&bound), &size) != 0) return error();
  listening.address = TextOf(bound);
  return listening;
}

// Takes the socket with that name from those given; nullopt: there is none.
std::optional<ListeningSocket> Take(const std::string& name, std::vector<ListeningSocket>& given) {
  const auto found = std::find_if(given.begin(), given.end(),
                                  [&name](const ListeningSocket& socket) { return socket.Name() == name; });
  if (found == given.end()) return std::nullopt;
  ListeningSocket taken = std::move(*found);
  given.erase(found);
  return taken;
}

// The same for a TCP address, of which port 0 is any.
std::optional<ListeningSocket> TakeTcp(const addrinfo& info, std::vector<ListeningSocket>& given) {
  sockaddr_storage wanted = {};
  std::memcpy(&wanted, info.ai_addr, info.ai_addrlen);
  std::string name = TextOf(wanted);
  if (PortOf(wanted) == 0) {
    const std::string host = name.substr(0, name.rfind(':') + 1);
    for (const ListeningSocket& socket : given) {
      if (socket.kind == ListeningSocket::Kind::kTcp && absl::StartsWith(socket.address, host)) name = socket.address;
    }
  }
  return Take(name, given);
}

bool IsLoopback(const sockaddr_storage& address) {
  if (address.ss_family == AF_INET) {
    return ntohl(reinterpret_cast<const sockaddr_in&>(address).sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
  }
  const in6_addr& ipv6 = reinterpret_cast<const sockaddr_in6&>(address).sin6_addr;
  return IN6_IS_ADDR_LOOPBACK(&ipv6) || (IN6_IS_ADDR_V4MAPPED(&ipv6) && ipv6.s6_addr[12] == IN_LOOPBACKNET);
}

}  // namespace

std::string ListeningSocket::Name() const { return kind == Kind::kUnix ? absl::StrCat("unix:", address) : address; }

bool ListeningSocket::is_local() const {
  if (kind == Kind::kUnix) return true;
  sockaddr_storage bound = {};
  socklen_t size = sizeof(bound);
  return ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&bound), &size) == 0 && IsLoopback(bound);
}

absl::Status CheckListenAddress(absl::string_view address) {
  const size_t colon = address.rfind(':');
  const absl::string_view host = address.substr(0, colon == absl::string_view::npos ? 0 : colon);
  int port = 0;
  const bool has_port = colon != absl::string_view::npos && absl::SimpleAtoi(address.substr(colon + 1), &port) &&
                        port >= 0 && port <= 65535;
  const bool is_ipv6 = absl::StartsWith(host, "[") && absl::EndsWith(host, "]");
  if (!has_port || host.empty() || (!is_ipv6 && absl::StrContains(host, ':')) || absl::StrContains(address, '/')) {
    return absl::InvalidArgumentError(
        absl::StrCat("a TCP address to listen on must be HOST:PORT or [IPV6]:PORT with a port of ",
                     "0 to 65535, but is '", address, "'"));
  }
  return absl::OkStatus();
}

absl::StatusOr<ListeningSocket> ListenUnix(const std::string& path, std::optional<gid_t> group) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  const std::string absolute = std::filesystem::absolute(path).lexically_normal().string();
  if (absolute.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(absl::StrCat("the path of the socket is longer than ",
                                                   sizeof(address.sun_path) - 1, " bytes (unix(7)): ", absolute));
  }
  std::memcpy(address.sun_path, absolute.data(), absolute.size());
  if (absl::Status made = MakeDirectoryOf(absolute); !made.ok()) return made;
  if (absl::Status cleared = ClearSocketPath(absolute, address); !cleared.ok()) return cleared;
  ListeningSocket listening{.fd = UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)),
                            .kind = ListeningSocket::Kind::kUnix,
                            .address = absolute};
  auto error = [&absolute] {
    return absl::UnavailableError(absl::StrCat("cannot listen on ", absolute, ": ", Errno()));
  };
  if (!listening.fd.valid()) return error();
  // The file is made with the socket's own mode less the umask (unix_bind() in net/unix/af_unix.c), so that it never is
  // for more than it should be; what a umask took is given after.
  if (::fchmod(listening.fd.get(), kSocketMode) != 0) return error();
  if (::bind(listening.fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) return error();
  const absl::Status given_to = group.has_value() ? GiveTo(absolute, *group) : absl::OkStatus();
  if (!given_to.ok()) {
    ::unlink(absolute.c_str());
    return given_to;
  }
  if (::chmod(absolute.c_str(), kSocketMode) != 0 || ::listen(listening.fd.get(), kBacklog) != 0) {
    const absl::Status failed = error();
    ::unlink(absolute.c_str());
    return failed;
  }
  return listening;
}

absl::StatusOr<std::vector<ListeningSocket>> ListenTcp(const std::string& address) {
  std::vector<ListeningSocket> none;
  return ListenTcp(address, none);
}

absl::StatusOr<std::vector<ListeningSocket>> ListenTcp(const std::string& address,
                                                       std::vector<ListeningSocket>& given) {
  if (absl::Status valid = CheckListenAddress(address); !valid.ok()) return valid;
  const size_t colon = address.rfind(':');
  std::string host = address.substr(0, colon);
  if (host.front() == '[') host = host.substr(1, host.size() - 2);
  addrinfo hints = {};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (const int failed = ::getaddrinfo(host.c_str(), address.c_str() + colon + 1, &hints, &found); failed != 0) {
    return absl::UnavailableError(absl::StrCat("cannot listen on ", address, ": ", ::gai_strerror(failed)));
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> all(found, &::freeaddrinfo);
  std::vector<ListeningSocket> sockets;
  for (addrinfo* info = all.get(); info != nullptr; info = info->ai_next) {
    if (!sockets.empty()) {
      sockaddr_storage first = {};
      socklen_t size = sizeof(first);
      ::getsockname(sockets.front().fd.get(), reinterpret_cast<sockaddr*>(&first), &size);
      SetPort(info->ai_addr, PortOf(first));
    }
    std::optional<ListeningSocket> taken = TakeTcp(*info, given);
    if (taken.has_value()) {
      sockets.push_back(*std::move(taken));
      continue;
    }
    absl::StatusOr<ListeningSocket> listening = ListenOn(*info, address);
    if (!listening.ok()) return listening.status();
    sockets.push_back(*std::move(listening));
  }
  return sockets;
}

absl::StatusOr<std::vector<ListeningSocket>> Listen(const ListenAddresses& addresses,
                                                    std::vector<ListeningSocket>& given) {
  std::vector<ListeningSocket> sockets;
  // A port that is named is not for another address that takes any.
  std::vector<std::string> tcp = addresses.tcp;
  std::stable_partition(tcp.begin(), tcp.end(),
                        [](const std::string& address) { return !absl::EndsWith(address, ":0"); });
  for (const std::string& address : tcp) {
    absl::StatusOr<std::vector<ListeningSocket>> listening = ListenTcp(address, given);
    if (!listening.ok()) return listening.status();
    for (ListeningSocket& socket : *listening) sockets.push_back(std::move(socket));
  }
  // The unix socket comes last, so that an error leaves no file.
  const std::string path =
      addresses.socket_path.empty() ? "" : std::filesystem::absolute(addresses.socket_path).lexically_normal().string();
  std::optional<ListeningSocket> unix_socket = path.empty() ? std::nullopt : Take(absl::StrCat("unix:", path), given);
  for (auto it = given.begin(); it != given.end();) {
    if (it->is_own) {
      ++it;
      continue;
    }
    sockets.push_back(std::move(*it));
    it = given.erase(it);
  }
  for (const ListeningSocket& socket : sockets) {
    using Reach = ListenAddresses::Reach;
    if (socket.kind == ListeningSocket::Kind::kUnix || addresses.tcp_reach == Reach::kAnywhere) continue;
    if (addresses.tcp_reach == Reach::kThisHost && socket.is_local()) continue;
    return absl::FailedPreconditionError(absl::StrCat("cannot serve ", socket.Name(), " without TLS: insecure is for ",
                                                      "addresses that only this host can reach, as 127.0.0.1 and ::1"));
  }
  if (path.empty()) return sockets;
  if (!unix_socket.has_value()) {
    absl::StatusOr<ListeningSocket> listening = ListenUnix(path, addresses.socket_group);
    if (!listening.ok()) return listening.status();
    unix_socket = *std::move(listening);
  } else if (unix_socket->is_own && !addresses.leaves_group) {
    if (absl::Status given_to = GiveTo(path, addresses.socket_group.value_or(::getegid())); !given_to.ok()) {
      return given_to;
    }
  }
  sockets.insert(sockets.begin(), *std::move(unix_socket));
  return sockets;
}

absl::StatusOr<ListeningSocket> AdoptListeningSocket(UniqueFd fd) {
  auto bad = [&fd](absl::string_view why) {
    return absl::InvalidArgumentError(absl::StrCat("the descriptor ", fd.get(), " that was handed over ", why));
  };
  int type = 0;
  int listens = 0;
  socklen_t size = sizeof(type);
  if (::getsockopt(fd.get(), SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_STREAM ||
      ::getsockopt(fd.get(), SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) != 0 || listens == 0) {
    return bad("is no stream socket that listens");
  }
  sockaddr_storage bound = {};
  size = sizeof(bound);
  if (::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&bound), &size) != 0) return bad("has no address");
  ListeningSocket listening{.is_own = false};
  if (bound.ss_family == AF_UNIX) {
    const auto& unix_address = reinterpret_cast<const sockaddr_un&>(bound);
    listening.kind = ListeningSocket::Kind::kUnix;
    const size_t length = size - offsetof(sockaddr_un, sun_path);
    listening.address = std::string(unix_address.sun_path, ::strnlen(unix_address.sun_path, length));
    if (listening.address.empty()) return bad("is a unix socket without a path");
  } else if (bound.ss_family == AF_INET || bound.ss_family == AF_INET6) {
    listening.kind = ListeningSocket::Kind::kTcp;
    listening.address = TextOf(bound);
    const int on = 1;
    ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  } else {
    return bad("is neither a unix socket nor one of TCP");
  }
  const int flags = ::fcntl(fd.get(), F_GETFL);
  if (flags < 0 || ::fcntl(fd.get(), F_SETFL, flags | O_NONBLOCK) != 0 || ::fcntl(fd.get(), F_SETFD, FD_CLOEXEC) != 0) {
    return bad(absl::StrCat("cannot be made non-blocking: ", Errno()));
  }
  listening.fd = std::move(fd);
  return listening;
}

absl::StatusOr<std::vector<ListeningSocket>> InheritedSockets(const char* listen_pid, const char* listen_fds,
                                                              int first) {
  std::vector<ListeningSocket> sockets;
  pid_t pid = 0;
  int count = 0;
  if (listen_pid == nullptr || listen_fds == nullptr) return sockets;
  // Meant for a parent of this process, which left its environment as it was.
  if (!absl::SimpleAtoi(listen_pid, &pid) || pid != ::getpid()) return sockets;
  if (!absl::SimpleAtoi(listen_fds, &count) || count < 0) {
    return absl::InvalidArgumentError(absl::StrCat("LISTEN_FDS is no number of descriptors: ", listen_fds));
  }
  for (int fd = first; fd < first + count; ++fd) {
    absl::StatusOr<ListeningSocket> listening = AdoptListeningSocket(UniqueFd(fd));
    if (!listening.ok()) return listening.status();
    sockets.push_back(*std::move(listening));
  }
  return sockets;
}

}  // namespace netprov::rpc
