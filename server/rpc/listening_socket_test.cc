#include "server/rpc/listening_socket.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace netprov::rpc {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class ListeningSocketTest : public ::testing::Test {
 protected:
  ListeningSocketTest() {
    // unix(7) allows 107 bytes, and a test's own directory is longer.
    char directory[] = "/tmp/listening_socket_test.XXXXXX";
    directory_ = ::mkdtemp(directory);
    path_ = directory_ + "/run/socket";
  }
  ~ListeningSocketTest() override { std::filesystem::remove_all(directory_); }

  mode_t ModeOf(const std::string& path) {
    struct stat file = {};
    EXPECT_EQ(::stat(path.c_str(), &file), 0) << path;
    return file.st_mode & 07777;
  }

  std::string directory_;
  std::string path_;
};

TEST_F(ListeningSocketTest, AUnixSocketIsForUserAndGroupWhateverTheUmask) {
  for (const mode_t umask : {mode_t{0}, mode_t{0077}, mode_t{0022}}) {
    const mode_t before = ::umask(umask);
    auto listening = ListenUnix(path_, std::nullopt);
    ::umask(before);
    ASSERT_TRUE(listening.ok()) << listening.status();
    EXPECT_EQ(ModeOf(path_), 0660u);
    EXPECT_EQ(listening->Name(), "unix:" + path_);
    EXPECT_TRUE(listening->is_local());
  }
  EXPECT_EQ(ModeOf(directory_ + "/run"), 0755u);
}

TEST_F(ListeningSocketTest, AUnixSocketBelongsToTheGroup) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root may give files away";
  auto listening = ListenUnix(path_, 4242);
  ASSERT_TRUE(listening.ok()) << listening.status();
  struct stat file = {};
  ASSERT_EQ(::stat(path_.c_str(), &file), 0);
  EXPECT_EQ(file.st_gid, 4242u);
}

TEST_F(ListeningSocketTest, AGroupThatCannotBeGivenLeavesNoSocket) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may give files to any group";
  const auto listening = ListenUnix(path_, 0);
  EXPECT_EQ(listening.status().code(), absl::StatusCode::kPermissionDenied);
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(ListeningSocketTest, ASocketThatIsListenedOnIsLeftAlone) {
  auto first = ListenUnix(path_, std::nullopt);
  ASSERT_TRUE(first.ok());
  const auto second = ListenUnix(path_, std::nullopt);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(second.status().message()), HasSubstr(path_ + ": another server listens on it"));
  first->fd.Reset();
  EXPECT_TRUE(ListenUnix(path_, std::nullopt).ok());
}

TEST_F(ListeningSocketTest, WhatIsNoSocketIsLeftAlone) {
  std::ofstream(directory_ + "/file") << "precious";
  EXPECT_THAT(std::string(ListenUnix(directory_ + "/file", std::nullopt).status().message()),
              HasSubstr("there is a file that is no socket"));
  EXPECT_TRUE(std::filesystem::exists(directory_ + "/file"));
  EXPECT_EQ(ListenUnix(std::string(200, 'x'), std::nullopt).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ListenUnix(directory_ + "/file/socket", std::nullopt).status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(ListeningSocketTest, TcpNamesThePortThatItGot) {
  auto listening = ListenTcp("127.0.0.1:0");
  ASSERT_TRUE(listening.ok()) << listening.status();
  ASSERT_THAT(*listening, SizeIs(1));
  const std::string name = listening->front().Name();
  EXPECT_THAT(name, ::testing::MatchesRegex("127\\.0\\.0\\.1:[1-9][0-9]*"));
  EXPECT_TRUE(listening->front().is_local());
  const auto second = ListenTcp(name);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(second.status().message()), HasSubstr(name));
}

TEST_F(ListeningSocketTest, OnlyLoopbackIsLocal) {
  auto all = ListenTcp("0.0.0.0:0");
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_FALSE(all->front().is_local());
  auto all_ipv6 = ListenTcp("[::]:0");
  ASSERT_TRUE(all_ipv6.ok()) << all_ipv6.status();
  EXPECT_FALSE(all_ipv6->front().is_local());
  auto ipv6 = ListenTcp("[::1]:0");
  ASSERT_TRUE(ipv6.ok()) << ipv6.status();
  EXPECT_TRUE(ipv6->front().is_local());
  EXPECT_THAT(ipv6->front().Name(), ::testing::StartsWith("[::1]:"));
}

TEST_F(ListeningSocketTest, ANameMeansAllOfItsAddressesAtOnePort) {
  auto listening = ListenTcp("localhost:0");
  ASSERT_TRUE(listening.ok()) << listening.status();
  ASSERT_FALSE(listening->empty());
  const std::string first = listening->front().Name();
  for (const ListeningSocket& socket : *listening) {
    EXPECT_EQ(socket.Name().substr(socket.Name().rfind(':')), first.substr(first.rfind(':')));
    EXPECT_TRUE(socket.is_local());
  }
}

TEST_F(ListeningSocketTest, WhatIsNoAddressIsRefused) {
  for (const char* address : {"", "1.2.3.4", ":80", "::1:80", "[::1]", "host:99999", "host:-1", "a/b:80"}) {
    EXPECT_EQ(ListenTcp(address).status().code(), absl::StatusCode::kInvalidArgument) << address;
  }
  EXPECT_EQ(ListenTcp("192.0.2.1:0").status().code(), absl::StatusCode::kUnavailable);
}

// Descriptors of another process come with its numbers.
TEST_F(ListeningSocketTest, SocketsOfWhoeverStartedTheProcessAreTakenOver) {
  auto made = ListenUnix(path_, std::nullopt);
  ASSERT_TRUE(made.ok());
  auto tcp = ListenTcp("127.0.0.1:0");
  ASSERT_TRUE(tcp.ok());
  const int first = ::fcntl(made->fd.get(), F_DUPFD, 300);
  ASSERT_EQ(::fcntl(tcp->front().fd.get(), F_DUPFD, first + 1), first + 1);
  const std::string pid = std::to_string(::getpid());
  auto inherited = InheritedSockets(pid.c_str(), "2", first);
  ASSERT_TRUE(inherited.ok()) << inherited.status();
  ASSERT_THAT(*inherited, SizeIs(2));
  EXPECT_EQ((*inherited)[0].Name(), "unix:" + path_);
  EXPECT_EQ((*inherited)[1].Name(), tcp->front().Name());
  for (const ListeningSocket& socket : *inherited) {
    EXPECT_FALSE(socket.is_own);
    EXPECT_TRUE(::fcntl(socket.fd.get(), F_GETFD) & FD_CLOEXEC);
    EXPECT_TRUE(::fcntl(socket.fd.get(), F_GETFL) & O_NONBLOCK);
  }
}

TEST_F(ListeningSocketTest, SocketsMeantForAnotherProcessAreNone) {
  const std::string pid = std::to_string(::getpid());
  EXPECT_THAT(*InheritedSockets(nullptr, "1"), SizeIs(0));
  EXPECT_THAT(*InheritedSockets(pid.c_str(), nullptr), SizeIs(0));
  EXPECT_THAT(*InheritedSockets("1", "1"), SizeIs(0));
  EXPECT_THAT(*InheritedSockets(pid.c_str(), "0"), SizeIs(0));
  EXPECT_EQ(InheritedSockets(pid.c_str(), "many").status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(ListeningSocketTest, ADescriptorThatDoesNotListenIsRefused) {
  EXPECT_THAT(std::string(AdoptListeningSocket(UniqueFd(::socket(AF_UNIX, SOCK_STREAM, 0))).status().message()),
              HasSubstr("is no stream socket that listens"));
  EXPECT_FALSE(AdoptListeningSocket(UniqueFd(::open("/dev/null", O_RDONLY))).ok());
  EXPECT_FALSE(AdoptListeningSocket(UniqueFd(::socket(AF_INET, SOCK_DGRAM, 0))).ok());
}

TEST_F(ListeningSocketTest, ASocketThatIsThereStandsForItsAddress) {
  std::vector<ListeningSocket> given;
  given.push_back(*ListenUnix(path_, std::nullopt));
  for (const char* address : {"127.0.0.1:0", "127.0.0.2:0", "127.0.0.1:0"}) {
    given.push_back(std::move(ListenTcp(address)->front()));
  }
  given.push_back(std::move(ListenTcp("127.0.0.3:0")->front()));
  given.back().is_own = false;
  const std::vector<std::string> names = {given[0].Name(), given[1].Name(), given[2].Name(), given[3].Name(),
                                          given[4].Name()};
  // Port 0 is any of the address that nobody names.
  auto listening = Listen({.socket_path = directory_ + "/x/../run/socket", .tcp = {"127.0.0.1:0", names[1]}}, given);
  ASSERT_TRUE(listening.ok()) << listening.status();
  std::vector<std::string> listened;
  for (const ListeningSocket& socket : *listening) listened.push_back(socket.Name());
  EXPECT_THAT(listened, ElementsAre(names[0], names[1], names[3], names[4]));
  ASSERT_THAT(given, SizeIs(1)) << "what nobody asks for";
  EXPECT_EQ(given[0].Name(), names[2]);
}

TEST_F(ListeningSocketTest, ASocketThatIsThereIsGivenToTheGroup) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root may give files away";
  std::vector<ListeningSocket> given;
  auto group = [this] {
    struct stat file = {};
    EXPECT_EQ(::stat(path_.c_str(), &file), 0);
    return file.st_gid;
  };
  given.push_back(*ListenUnix(path_, std::nullopt));
  given = *Listen({.socket_path = path_, .socket_group = 4242}, given);
  EXPECT_EQ(group(), 4242u);
  EXPECT_EQ(ModeOf(path_), 0660u);
  given = *Listen({.socket_path = path_}, given);
  EXPECT_EQ(group(), ::getegid());
  given[0].is_own = false;
  given = *Listen({.socket_path = path_, .socket_group = 4242}, given);
  EXPECT_EQ(group(), ::getegid()) << "somebody else's stays as it is";
}

TEST_F(ListeningSocketTest, TcpIsWhereItMayBeReached) {
  using Reach = ListenAddresses::Reach;
  auto listen = [this](const std::string& address, Reach reach) {
    std::vector<ListeningSocket> given;
    return Listen({.socket_path = path_, .tcp = {address}, .tcp_reach = reach}, given).status();
  };
  EXPECT_TRUE(listen("0.0.0.0:0", Reach::kAnywhere).ok());
  EXPECT_TRUE(listen("127.0.0.1:0", Reach::kThisHost).ok());
  std::filesystem::remove(path_);
  EXPECT_EQ(listen("0.0.0.0:0", Reach::kThisHost).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(listen("127.0.0.1:0", Reach::kNowhere).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_FALSE(std::filesystem::exists(path_)) << "an error leaves nothing";
}

}  // namespace
}  // namespace netprov::rpc
