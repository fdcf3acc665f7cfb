#include "server/metrics/exposer.h"

#include <poll.h>
#include <prometheus/text_serializer.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"

namespace netprov::metrics {
namespace {

constexpr char kEndOfRequest[] = "\r\n\r\n";

// Where descriptors lack, trying at once would only burn the processor.
constexpr std::chrono::milliseconds kPause(100);

std::string Response(absl::string_view status, absl::string_view type, absl::string_view body,
                     absl::string_view more = "") {
  return absl::StrCat("HTTP/1.1 ", status, "\r\nContent-Type: ", type, "\r\nContent-Length: ", body.size(), "\r\n",
                      more, "Connection: close\r\n\r\n", body);
}

std::string Refusal(absl::string_view status, absl::string_view more = "") {
  return Response(status, "text/plain; charset=utf-8", absl::StrCat(status, "\n"), more);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Exposer>> Exposer::Start(const std::string& address,
                                                        const prometheus::Collectable& collectable) {
  std::unique_ptr<Exposer> exposer(new Exposer(collectable));
  absl::StatusOr<std::vector<rpc::ListeningSocket>> sockets = rpc::ListenTcp(address);
  if (!sockets.ok()) return sockets.status();
  exposer->sockets_ = *std::move(sockets);
  exposer->stop_ = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!exposer->stop_.valid()) {
    return absl::UnavailableError(absl::StrCat("cannot serve metrics: ", strerrordesc_np(errno)));
  }
  try {
    exposer->thread_ = std::thread([raw = exposer.get()] { raw->Run(); });
  } catch (const std::system_error& error) {
    return absl::UnavailableError(absl::StrCat("cannot serve metrics: ", error.what()));
  }
  ::pthread_setname_np(exposer->thread_.native_handle(), "metrics");
  return exposer;
}

Exposer::~Exposer() {
  if (!thread_.joinable()) return;
  const uint64_t one = 1;
  // The counter is far from its limit, so this can't fail.
  [[maybe_unused]] const ssize_t written = ::write(stop_.get(), &one, sizeof(one));
  thread_.join();
}

std::vector<std::string> Exposer::addresses() const {
  std::vector<std::string> addresses;
  for (const rpc::ListeningSocket& socket : sockets_) addresses.push_back(socket.Name());
  return addresses;
}

void Exposer::Run() {
  for (;;) {
    const Clock::time_point now = Clock::now();
    while (!connections_.empty() && connections_.front().end <= now) connections_.pop_front();
    const bool accepts = accept_again_ <= now;
    std::vector<pollfd> polled = {{.fd = stop_.get(), .events = POLLIN, .revents = 0}};
    for (const rpc::ListeningSocket& socket : sockets_) {
      // poll(2) passes over a negative one.
      polled.push_back({.fd = accepts ? socket.fd.get() : -1, .events = POLLIN, .revents = 0});
    }
    for (const Connection& connection : connections_) {
      const bool writes = connection.written < connection.answer.size();
      polled.push_back(
          {.fd = connection.fd.get(), .events = static_cast<int16_t>(writes ? POLLOUT : POLLIN), .revents = 0});
    }
    Clock::time_point next = connections_.empty() ? Clock::time_point::max() : connections_.front().end;
    if (!accepts) next = std::min(next, accept_again_);
    const int timeout = next == Clock::time_point::max()
                            ? -1
                            : static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(next - now).count());
    if (::poll(polled.data(), polled.size(), timeout) <= 0) continue;
    if (polled[0].revents != 0) return;
    // Before new ones come.
    auto ready = polled.begin() + 1 + static_cast<ptrdiff_t>(sockets_.size());
    for (auto connection = connections_.begin(); connection != connections_.end(); ++ready) {
      connection = ready->revents != 0 && !GoOn(*connection) ? connections_.erase(connection) : std::next(connection);
    }
    for (size_t i = 0; i < sockets_.size(); ++i) {
      if (polled[1 + i].revents != 0) Accept(sockets_[i].fd.get());
    }
  }
}

void Exposer::Accept(int listening) {
  UniqueFd fd(::accept4(listening, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!fd.valid()) {
    // Of a connection that ended before it was accepted, the next may be fine.
    const bool lacks = errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS;
    if (lacks) accept_again_ = Clock::now() + kPause;
    return;
  }
  if (connections_.size() >= kMostConnections) connections_.pop_front();
  connections_.push_back({.fd = std::move(fd), .end = Clock::now() + kPatience, .request = "", .answer = ""});
}

bool Exposer::GoOn(Connection& connection) const {
  if (connection.written < connection.answer.size()) {
    const ssize_t size = ::send(connection.fd.get(), connection.answer.data() + connection.written,
                                connection.answer.size() - connection.written, MSG_NOSIGNAL);
    if (size < 0) return errno == EAGAIN || errno == EINTR;
    connection.written += static_cast<size_t>(size);
    if (connection.written == connection.answer.size()) ::shutdown(connection.fd.get(), SHUT_WR);
    return true;
  }
  std::array<char, 1024> buffer;
  const ssize_t size = ::recv(connection.fd.get(), buffer.data(), buffer.size(), 0);
  if (size < 0) return errno == EAGAIN || errno == EINTR;
  if (size == 0) return false;
  if (!connection.answer.empty()) return true;
  connection.request.append(buffer.data(), static_cast<size_t>(size));
  if (absl::StrContains(connection.request, kEndOfRequest)) {
    connection.answer = Answer(connection.request);
  } else if (connection.request.size() > kLongestRequest) {
    connection.answer = Refusal("431 Request Header Fields Too Large");
  }
  return true;
}

std::string Exposer::Answer(const std::string& request) const {
  if (request.find(kEndOfRequest) + std::strlen(kEndOfRequest) > kLongestRequest) {
    return Refusal("431 Request Header Fields Too Large");
  }
  const std::vector<absl::string_view> words =
      absl::StrSplit(absl::string_view(request).substr(0, request.find("\r\n")), ' ');
  if (words.size() != 3 || words[0].empty() || !absl::StartsWith(words[1], "/") ||
      !absl::StartsWith(words[2], "HTTP/1.")) {
    return Refusal("400 Bad Request");
  }
  if (words[1].substr(0, words[1].find('?')) != "/metrics") return Refusal("404 Not Found");
  if (words[0] != "GET") return Refusal("405 Method Not Allowed", "Allow: GET\r\n");
  return Response("200 OK", "text/plain; version=0.0.4; charset=utf-8",
                  prometheus::TextSerializer().Serialize(collectable_.Collect()));
}

}  // namespace netprov::metrics
