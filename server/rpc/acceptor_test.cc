#include "server/rpc/acceptor.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <spdlog/sinks/null_sink.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace netprov::rpc {
namespace {

class AcceptorTest : public ::testing::Test {
 protected:
  AcceptorTest() : connections_({.unix_total = 8, .per_uid = 8, .tcp_total = 8, .per_address = 8}) {
    char directory[] = "/tmp/acceptor_test.XXXXXX";
    directory_ = ::mkdtemp(directory);
    path_ = directory_ + "/socket";
  }
  ~AcceptorTest() override {
    acceptor_.reset();
    std::filesystem::remove_all(directory_);
  }

  void Start() {
    std::vector<ListeningSocket> sockets;
    sockets.push_back(*ListenUnix(path_, std::nullopt));
    auto acceptor = Acceptor::Start(
        std::move(sockets), connections_,
        {.log = std::make_shared<spdlog::logger>("test", std::make_shared<spdlog::sinks::null_sink_mt>()),
         .hand_over = [this](UniqueFd fd, const ListeningSocket&, size_t place) {
           // Says hello, so that the client knows.
           const std::string hello = std::to_string(connections_.PeerAt(place)->uid);
           EXPECT_EQ(::send(fd.get(), hello.data(), hello.size(), MSG_NOSIGNAL), static_cast<ssize_t>(hello.size()));
           std::lock_guard<std::mutex> lock(mutex_);
           accepted_.push_back(std::move(fd));
         }});
    ASSERT_TRUE(acceptor.ok()) << acceptor.status();
    acceptor_ = *std::move(acceptor);
  }

  UniqueFd Connect() {
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path_.c_str(), sizeof(address.sun_path) - 1);
    EXPECT_EQ(::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    return fd;
  }

  // What the server says first; empty: it closed the connection.
  static std::string Hear(const UniqueFd& fd) {
    char text[64] = {};
    const ssize_t size = ::recv(fd.get(), text, sizeof(text), 0);
    return std::string(text, size > 0 ? size : 0);
  }

  Connections connections_;
  std::string directory_;
  std::string path_;
  std::mutex mutex_;
  std::vector<UniqueFd> accepted_;
  std::unique_ptr<Acceptor> acceptor_;
};

TEST_F(AcceptorTest, AConnectionIsHandedOverWithItsPeer) {
  Start();
  const UniqueFd client = Connect();
  EXPECT_EQ(Hear(client), std::to_string(::geteuid()));
  EXPECT_EQ(connections_.open_unix(), 1u);
}

TEST_F(AcceptorTest, WhatIsTooManyIsClosedAndThereIsRoomOnceOthersLeave) {
  Start();
  std::vector<UniqueFd> clients;
  for (int i = 0; i < 8; ++i) {
    clients.push_back(Connect());
    ASSERT_NE(Hear(clients.back()), "");
  }
  EXPECT_EQ(Hear(Connect()), "");
  {
    std::lock_guard<std::mutex> lock(mutex_);
    accepted_.pop_back();
  }
  // It looks again a moment after a look in vain.
  while (Hear(Connect()).empty()) ::poll(nullptr, 0, 1);
}

TEST_F(AcceptorTest, ALackOfDescriptorsTurnsAwayAndPasses) {
  Start();
  UniqueFd before = Connect();
  ASSERT_NE(Hear(before), "");
  UniqueFd client(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  std::vector<UniqueFd> all;
  rlimit files = {};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &files), 0);
  const rlimit few = {.rlim_cur = 100, .rlim_max = files.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
  for (;;) {
    UniqueFd fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    if (!fd.valid()) break;
    all.push_back(std::move(fd));
  }
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path_.c_str(), sizeof(address.sun_path) - 1);
  ASSERT_EQ(::connect(client.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  EXPECT_EQ(Hear(client), "");
  all.clear();
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &files), 0);
  EXPECT_NE(Hear(Connect()), "");
}

TEST_F(AcceptorTest, ItRemovesTheSocketThatItMade) {
  Start();
  acceptor_->Stop();
  EXPECT_TRUE(std::filesystem::exists(path_));
  acceptor_->Close();
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(AcceptorTest, AConnectionThatWaitsWhenItStopsIsForTheNext) {
  Start();
  // As a process that takes the socket over.
  UniqueFd socket(::fcntl(acceptor_->sockets().front().fd.get(), F_DUPFD_CLOEXEC, 0));
  acceptor_->Stop();
  const UniqueFd client = Connect();
  std::vector<ListeningSocket> sockets;
  sockets.push_back(*AdoptListeningSocket(std::move(socket)));
  auto next = Acceptor::Start(
      std::move(sockets), connections_,
      {.log = std::make_shared<spdlog::logger>("test", std::make_shared<spdlog::sinks::null_sink_mt>()),
       .hand_over = [](UniqueFd fd, const ListeningSocket&, size_t) { ::send(fd.get(), "next", 4, MSG_NOSIGNAL); }});
  ASSERT_TRUE(next.ok());
  EXPECT_EQ(Hear(client), "next");
  (*next)->Close();
  // It is not the next one's to remove.
  EXPECT_TRUE(std::filesystem::exists(path_));
}

// Of TCP on loopback, where the clock stands unless it is told to go.
class ShortConnectionsTest : public ::testing::Test {
 protected:
  ShortConnectionsTest()
      : connections_({.tcp_total = 32, .per_address = 16, .short_per_second = 2}, IsOpen, absl::ZeroDuration(),
                     [this] { return Now(); }) {
    std::vector<ListeningSocket> sockets = *ListenTcp("127.0.0.1:0");
    socklen_t size = sizeof(address_);
    EXPECT_EQ(::getsockname(sockets.front().fd.get(), reinterpret_cast<sockaddr*>(&address_), &size), 0);
    auto acceptor = Acceptor::Start(
        std::move(sockets), connections_,
        {.log = std::make_shared<spdlog::logger>("test", std::make_shared<spdlog::sinks::null_sink_mt>()),
         .hand_over =
             [this](UniqueFd fd, const ListeningSocket&, size_t) {
               // As a server whose peer goes at once, unless it shall stay.
               ::send(fd.get(), "hello", 5, MSG_NOSIGNAL);
               if (stay_) served_.push_back(std::move(fd));
             },
         .clock = [this] { return Now(); }});
    EXPECT_TRUE(acceptor.ok()) << acceptor.status();
    acceptor_ = *std::move(acceptor);
  }

  static bool IsOpen(int fd, ino_t inode) {
    struct stat file = {};
    return ::fstat(fd, &file) == 0 && file.st_ino == inode;
  }
  absl::Duration Now() const { return absl::Milliseconds(now_ms_.load()); }

  UniqueFd Connect(const char* from = "127.0.0.1") {
    UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in source = {};
    source.sin_family = AF_INET;
    EXPECT_EQ(::inet_pton(AF_INET, from, &source.sin_addr), 1);
    EXPECT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&source), sizeof(source)), 0);
    EXPECT_EQ(::connect(fd.get(), reinterpret_cast<sockaddr*>(&address_), sizeof(address_)), 0);
    return fd;
  }
  static std::string Hear(const UniqueFd& fd) {
    char text[64] = {};
    const ssize_t size = ::recv(fd.get(), text, sizeof(text), 0);
    return std::string(text, size > 0 ? size : 0);
  }
  // Takes all that the address may have at once; the next has to wait.
  void Exhaust() {
    for (int i = 0; i < 4; ++i) {
      const UniqueFd fd = Connect();
      ASSERT_EQ(Hear(fd), "hello");
      // Then it is closed at the other end too.
      ASSERT_EQ(Hear(fd), "");
    }
  }
  void AwaitDelayed(uint64_t count) {
    while (acceptor_->statistics().delayed.value() < count) ::poll(nullptr, 0, 1);
  }

  std::atomic<int64_t> now_ms_ = 1'000'000;
  std::atomic<bool> stay_ = false;
  Connections connections_;
  sockaddr_in address_ = {};
  std::vector<UniqueFd> served_;  // of the acceptor's thread
  std::unique_ptr<Acceptor> acceptor_;
};

TEST_F(ShortConnectionsTest, TheOneAfterTheBurstWaitsAndIsServed) {
  Exhaust();
  const UniqueFd first = Connect();
  const UniqueFd second = Connect();
  AwaitDelayed(2);
  EXPECT_EQ(connections_.CountOpen().tcp, 2u) << "they count while they wait";
  // Another address has its own.
  EXPECT_EQ(Hear(Connect("127.0.0.2")), "hello");
  EXPECT_EQ(acceptor_->statistics().accepted_tcp.value(), 5u);
  now_ms_ += 500;
  EXPECT_EQ(Hear(first), "hello");
  EXPECT_EQ(acceptor_->statistics().accepted_tcp.value(), 6u);
  now_ms_ += 500;
  EXPECT_EQ(Hear(second), "hello");
  EXPECT_EQ(acceptor_->statistics().delayed.value(), 2u);
  EXPECT_EQ(acceptor_->statistics().refused_delayed.value(), 0u);
}

TEST_F(ShortConnectionsTest, WhoHasHungUpIsDroppedAndTakesNobodysTurn) {
  Exhaust();
  UniqueFd gone = Connect();
  const UniqueFd next = Connect();
  AwaitDelayed(2);
  // What it said before is unread, and of no use.
  ASSERT_EQ(::send(gone.get(), "hello", 5, MSG_NOSIGNAL), 5);
  gone.Reset();
  while (connections_.CountOpen().tcp != 1) ::poll(nullptr, 0, 1);
  EXPECT_EQ(acceptor_->statistics().accepted_tcp.value(), 4u);
  now_ms_ += 500;
  EXPECT_EQ(Hear(next), "hello");
  EXPECT_EQ(acceptor_->statistics().accepted_tcp.value(), 5u);
  EXPECT_EQ(acceptor_->statistics().refused_delayed.value(), 0u);
}

TEST_F(ShortConnectionsTest, WhoWaitsTooLongIsClosed) {
  Exhaust();
  std::vector<UniqueFd> clients;
  for (int i = 0; i < 14; ++i) clients.push_back(Connect());
  AwaitDelayed(14);
  now_ms_ += 5'000;
  int served = 0;
  for (const UniqueFd& client : clients) served += Hear(client) == "hello" ? 1 : 0;
  // In five seconds the bucket is full again.
  EXPECT_EQ(served, 4);
  EXPECT_EQ(acceptor_->statistics().refused_delayed.value(), 10u);
}

TEST_F(ShortConnectionsTest, WhatWaitsWhenItStopsIsHandedOver) {
  Exhaust();
  stay_ = true;
  const UniqueFd first = Connect();
  const UniqueFd second = Connect();
  AwaitDelayed(2);
  acceptor_->Stop();
  EXPECT_EQ(served_.size(), 2u);
  EXPECT_EQ(Hear(first), "hello");
  EXPECT_EQ(Hear(second), "hello");
  EXPECT_EQ(acceptor_->statistics().accepted_tcp.value(), 6u);
}

}  // namespace
}  // namespace netprov::rpc
