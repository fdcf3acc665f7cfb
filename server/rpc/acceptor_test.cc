#include "server/rpc/acceptor.h"

#include <fcntl.h>
#include <poll.h>
#include <spdlog/sinks/null_sink.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

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

}  // namespace
}  // namespace netprov::rpc
