#include "server/rpc/connections.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "server/base/boot_time.h"
#include "server/base/unique_fd.h"

namespace netprov::rpc {
namespace {

constexpr uid_t kSomebody = 100'000;
constexpr uid_t kSomebodyElse = 100'001;

class ConnectionsTest : public ::testing::Test {
 protected:
  explicit ConnectionsTest(ConnectionLimits limits = {.unix_total = 6, .per_uid = 2, .tcp_total = 3, .per_address = 2})
      : connections_(
            limits, [this](int fd, ino_t) { return open_.contains(fd); }, absl::ZeroDuration(),
            [this] { return now_; }) {}

  // Connects with the next descriptor.
  Admission Unix(uid_t uid) {
    access::Identity peer{.kind = access::Identity::Kind::kUnix, .uid = uid, .from = "pid:1"};
    return Admit(peer, "");
  }
  Admission Tcp(const std::string& address) { return Admit({}, address); }
  void Close(int fd) { open_.erase(fd); }

  Connections connections_;
  absl::Duration now_ = absl::Hours(1);
  std::set<int> open_;
  int last_ = 0;
  size_t place_ = 0;

 private:
  Admission Admit(const access::Identity& peer, const std::string& address) {
    ++last_;
    const Admission admission = connections_.Admit(last_, 1000 + last_, peer, address, &place_);
    if (admission == Admission::kAdmitted) open_.insert(last_);
    return admission;
  }
};

TEST_F(ConnectionsTest, APlaceKnowsItsPeerAsLongAsTheConnectionIsOpen) {
  ASSERT_EQ(Unix(kSomebody), Admission::kAdmitted);
  const size_t first = place_;
  ASSERT_EQ(Unix(kSomebodyElse), Admission::kAdmitted);
  ASSERT_NE(place_, first);
  EXPECT_EQ(connections_.PeerAt(first)->uid, kSomebody);
  EXPECT_EQ(connections_.PeerAt(place_)->uid, kSomebodyElse);
  EXPECT_EQ(connections_.open_unix(), 2u);
  Close(1);
  EXPECT_EQ(connections_.open_unix(), 1u);
  EXPECT_EQ(connections_.PeerAt(first), nullptr);
  EXPECT_EQ(connections_.PeerAt(1'000), nullptr);
}

TEST_F(ConnectionsTest, APlaceIsNotGivenAwayWhileItsDescriptorIsOpen) {
  std::set<size_t> places;
  for (int i = 0; i < 6; ++i) {
    ASSERT_EQ(Unix(0), Admission::kAdmitted);
    EXPECT_TRUE(places.insert(place_).second) << place_;
  }
  EXPECT_EQ(Unix(0), Admission::kTooMany);
  Close(3);
  EXPECT_EQ(Unix(0), Admission::kAdmitted);
  EXPECT_EQ(Unix(0), Admission::kTooMany);
}

TEST_F(ConnectionsTest, OneUserCannotTakeAllAndRootAlwaysGetsIn) {
  EXPECT_EQ(Unix(kSomebody), Admission::kAdmitted);
  EXPECT_EQ(Unix(kSomebody), Admission::kAdmitted);
  EXPECT_EQ(Unix(kSomebody), Admission::kTooManyHere);
  EXPECT_EQ(Unix(kSomebodyElse), Admission::kAdmitted);
  // Half of so few is for root.
  EXPECT_EQ(Unix(kSomebodyElse), Admission::kTooMany);
  EXPECT_EQ(Unix(0), Admission::kAdmitted);
  EXPECT_EQ(Unix(::geteuid()), Admission::kAdmitted);
  EXPECT_EQ(Unix(0), Admission::kAdmitted);
  EXPECT_EQ(Unix(0), Admission::kTooMany);
  Close(1);
  Close(2);
  EXPECT_EQ(Unix(kSomebody), Admission::kTooMany);
  EXPECT_EQ(Unix(0), Admission::kAdmitted);
}

TEST_F(ConnectionsTest, OneAddressCannotTakeAll) {
  EXPECT_EQ(Tcp("10.0.0.1"), Admission::kAdmitted);
  EXPECT_EQ(Tcp("10.0.0.1"), Admission::kAdmitted);
  EXPECT_EQ(Tcp("10.0.0.1"), Admission::kTooManyHere);
  EXPECT_EQ(Tcp("10.0.0.2"), Admission::kAdmitted);
  EXPECT_EQ(Tcp("10.0.0.3"), Admission::kTooMany);
  EXPECT_EQ(connections_.open_tcp(), 3u);
  Close(1);
  EXPECT_EQ(Tcp("10.0.0.1"), Admission::kAdmitted);
  // Unix sockets are counted apart.
  EXPECT_EQ(Unix(kSomebody), Admission::kAdmitted);
}

// The number of a closed descriptor may be that of a new connection already.
TEST(ConnectionsInodeTest, ANumberThatWasGivenToAnotherSocketIsNotTheConnection) {
  Connections connections(
      {.unix_total = 4}, [](int, ino_t inode) { return inode == 2; }, absl::ZeroDuration(), BootTime);
  const access::Identity peer{.kind = access::Identity::Kind::kUnix, .uid = 0};
  size_t place = 0;
  ASSERT_EQ(connections.Admit(7, 1, peer, "", &place), Admission::kAdmitted);
  ASSERT_EQ(connections.Admit(7, 2, peer, "", &place), Admission::kAdmitted);
  EXPECT_EQ(connections.open_unix(), 1u);
  EXPECT_NE(connections.PeerAt(place), nullptr);
}

TEST_F(ConnectionsTest, ACountTellsWhatIsOpenAndForgetsNothing) {
  ASSERT_EQ(Unix(kSomebody), Admission::kAdmitted);
  const size_t place = place_;
  const int fd = last_;
  ASSERT_EQ(Tcp("192.0.2.1"), Admission::kAdmitted);
  ASSERT_EQ(Tcp("192.0.2.2"), Admission::kAdmitted);
  EXPECT_EQ(connections_.CountOpen().unix_sockets, 1u);
  EXPECT_EQ(connections_.CountOpen().tcp, 2u);
  Close(last_);
  Close(fd);
  EXPECT_EQ(connections_.CountOpen().unix_sockets, 0u);
  EXPECT_EQ(connections_.CountOpen().tcp, 1u);
  EXPECT_NE(connections_.PeerAt(place), nullptr) << "only a look for room gives a place away";
}

// The real question, of real sockets.
TEST(ConnectionsFileTest, AConnectionCountsUntilItsSocketIsClosed) {
  Connections connections(ConnectionLimits{});
  size_t place = 0;
  // No socket at all: as one that gRPC has closed.
  ASSERT_EQ(connections.Admit(0, 1, {.kind = access::Identity::Kind::kUnix, .uid = 0}, "", &place),
            Admission::kAdmitted);
  EXPECT_EQ(connections.open_unix(), 0u);
}

// Two that are connected with each other, of which the first is admitted as one of TCP.
class HangUpTest : public ::testing::Test {
 protected:
  HangUpTest() {
    int ends[2] = {};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
    ours_ = UniqueFd(ends[0]);
    peers_ = UniqueFd(ends[1]);
    struct stat file = {};
    EXPECT_EQ(::fstat(ours_.get(), &file), 0);
    size_t place = 0;
    EXPECT_EQ(connections_.Admit(ours_.get(), file.st_ino, {.from = "10.0.0.1:1234"}, "10.0.0.1", &place),
              Admission::kAdmitted);
  }

  bool IsAtItsEnd(const UniqueFd& fd) {
    char byte = 0;
    return ::recv(fd.get(), &byte, 1, 0) == 0;
  }

  Connections connections_{ConnectionLimits{}};
  UniqueFd ours_;
  UniqueFd peers_;
};

TEST_F(HangUpTest, BothSidesSeeTheEnd) {
  EXPECT_TRUE(connections_.HangUp("10.0.0.1:1234"));
  EXPECT_TRUE(IsAtItsEnd(peers_));
  EXPECT_TRUE(IsAtItsEnd(ours_));
  EXPECT_EQ(connections_.open_tcp(), 1u) << "until its descriptor is closed";
  ours_.Reset();
  EXPECT_EQ(connections_.open_tcp(), 0u);
  EXPECT_FALSE(connections_.HangUp("10.0.0.1:1234"));
}

TEST_F(HangUpTest, OthersAreLeftAlone) {
  EXPECT_FALSE(connections_.HangUp("10.0.0.1:1235"));
  EXPECT_FALSE(connections_.HangUp(""));
  EXPECT_FALSE(IsAtItsEnd(peers_));
}

TEST_F(HangUpTest, AnotherSocketOfTheSameNumberIsLeftAlone) {
  const int number = ours_.get();
  int ends[2] = {};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
  const UniqueFd another(ends[0]);
  const UniqueFd its_peer(ends[1]);
  ASSERT_EQ(::dup2(another.get(), number), number);
  EXPECT_FALSE(connections_.HangUp("10.0.0.1:1234"));
  EXPECT_FALSE(IsAtItsEnd(its_peer));
}

sockaddr_storage PeerOf(const char* text) {
  sockaddr_storage peer = {};
  auto& ipv4 = reinterpret_cast<sockaddr_in&>(peer);
  auto& ipv6 = reinterpret_cast<sockaddr_in6&>(peer);
  if (::inet_pton(AF_INET, text, &ipv4.sin_addr) == 1) {
    peer.ss_family = AF_INET;
  } else {
    peer.ss_family = AF_INET6;
    EXPECT_EQ(::inet_pton(AF_INET6, text, &ipv6.sin6_addr), 1) << text;
  }
  return peer;
}

std::string KeyOf(const char* text) { return rpc::KeyOf(PeerOf(text)); }

std::string NameOf(const char* text, uint16_t port) {
  sockaddr_storage peer = PeerOf(text);
  // At the same place in both.
  reinterpret_cast<sockaddr_in&>(peer).sin_port = htons(port);
  return rpc::NameOf(peer);
}

TEST(ConnectionsKeyTest, AHostHasOneAddressOrSixtyFourBitsOfThem) {
  EXPECT_EQ(KeyOf("192.0.2.1"), "192.0.2.1");
  EXPECT_EQ(KeyOf("::ffff:192.0.2.1"), "192.0.2.1");
  EXPECT_EQ(KeyOf("2001:db8:0:1::2"), "2001:db8:0:1::");
  EXPECT_EQ(KeyOf("2001:db8:0:1:ffff::3"), "2001:db8:0:1::");
  EXPECT_EQ(KeyOf("2001:db8:0:2::2"), "2001:db8:0:2::");
}

TEST(ConnectionsKeyTest, APeerHasAnAddressInWholeAndAPort) {
  EXPECT_EQ(NameOf("192.0.2.1", 51234), "192.0.2.1:51234");
  EXPECT_EQ(NameOf("::ffff:192.0.2.1", 51234), "192.0.2.1:51234");
  EXPECT_EQ(NameOf("2001:db8:0:1::2", 1), "[2001:db8:0:1::2]:1");
}

class ShortConnectionsTest : public ConnectionsTest {
 protected:
  explicit ShortConnectionsTest(size_t per_second = 4)
      : ConnectionsTest(
            {.unix_total = 64, .per_uid = 64, .tcp_total = 512, .per_address = 256, .short_per_second = per_second}) {}

  // So many connections, each of which ends after `age`; found to have done so once all have.
  void Have(int count, const std::string& address, absl::Duration age = absl::ZeroDuration()) {
    for (int i = 0; i < count; ++i) {
      ASSERT_EQ(Tcp(address), Admission::kAdmitted);
      now_ += age;
      Close(last_);
    }
    EXPECT_LE(connections_.open_tcp(), 512u);
  }
  double Wait(const std::string& address) { return absl::ToDoubleSeconds(connections_.WaitFor(address)); }
};

TEST_F(ShortConnectionsTest, TwiceAsManyAsASecondMayHaveAreForNothing) {
  Have(7, "10.0.0.1");
  EXPECT_EQ(Wait("10.0.0.1"), 0);
  Have(1, "10.0.0.1");
  EXPECT_EQ(Wait("10.0.0.1"), 0.25);
  EXPECT_EQ(Wait("10.0.0.2"), 0) << "others do not pay for it";
  now_ += absl::Milliseconds(250);
  EXPECT_EQ(Wait("10.0.0.1"), 0);
  // It is full again after two seconds, and not fuller.
  now_ += absl::Hours(1);
  Have(7, "10.0.0.1");
  EXPECT_EQ(Wait("10.0.0.1"), 0);
  Have(1, "10.0.0.1");
  EXPECT_EQ(Wait("10.0.0.1"), 0.25);
}

TEST_F(ShortConnectionsTest, TheNextOneFindsThoseThatEnded) {
  for (int i = 0; i < 8; ++i) {
    ASSERT_EQ(Tcp("10.0.0.1"), Admission::kAdmitted);
    Close(last_);
    EXPECT_EQ(Wait("10.0.0.1"), 0);
  }
  ASSERT_EQ(Tcp("10.0.0.1"), Admission::kAdmitted);
  EXPECT_EQ(Wait("10.0.0.1"), 0.25);
}

TEST_F(ShortConnectionsTest, WhatStaysOrLastsIsNotCharged) {
  for (int i = 0; i < 100; ++i) ASSERT_EQ(Tcp("10.0.0.1"), Admission::kAdmitted);
  EXPECT_EQ(connections_.open_tcp(), 100u);
  EXPECT_EQ(Wait("10.0.0.1"), 0);
  now_ += absl::Seconds(10);
  open_.clear();
  EXPECT_EQ(connections_.open_tcp(), 0u);
  EXPECT_EQ(Wait("10.0.0.1"), 0);
  Have(8, "10.0.0.1", absl::Milliseconds(1));
  EXPECT_GT(Wait("10.0.0.1"), 0);
}

TEST_F(ShortConnectionsTest, ManyAtOnceArePaidForToo) {
  for (int i = 0; i < 16; ++i) ASSERT_EQ(Tcp("10.0.0.1"), Admission::kAdmitted);
  open_.clear();
  ASSERT_EQ(Tcp("10.0.0.1"), Admission::kAdmitted);
  EXPECT_EQ(Wait("10.0.0.1"), 2.25);
  // But not forever.
  for (int i = 0; i < 100; ++i) ASSERT_EQ(Tcp("10.0.0.1"), Admission::kAdmitted);
  open_.clear();
  ASSERT_EQ(Tcp("10.0.0.1"), Admission::kAdmitted);
  EXPECT_EQ(Wait("10.0.0.1"), 4.25);
}

TEST_F(ShortConnectionsTest, WhoHasWaitedPaysOnceAndWhoGaveUpNothing) {
  Have(8, "10.0.0.1");
  ASSERT_EQ(Tcp("10.0.0.1"), Admission::kAdmitted);
  const int served = last_;
  ASSERT_EQ(Tcp("10.0.0.1"), Admission::kAdmitted);
  now_ += absl::Milliseconds(250);
  ASSERT_EQ(Wait("10.0.0.1"), 0);
  connections_.EndWait(served, 1000 + served, "10.0.0.1");
  EXPECT_EQ(Wait("10.0.0.1"), 0.25);
  connections_.GiveUp(last_, 1000 + last_, "10.0.0.1");
  EXPECT_EQ(connections_.open_tcp(), 1u);
  Close(served);
  EXPECT_EQ(connections_.open_tcp(), 0u);
  EXPECT_EQ(Wait("10.0.0.1"), 0.25);
}

TEST_F(ShortConnectionsTest, AHostOfIpv6PaysForAllOfItsAddresses) {
  for (int i = 0; i < 8; ++i) Have(1, KeyOf(absl::StrCat("2001:db8::", i).c_str()));
  EXPECT_EQ(Wait(KeyOf("2001:db8::ffff")), 0.25);
  EXPECT_EQ(Wait(KeyOf("2001:db8:0:1::1")), 0);
}

TEST_F(ShortConnectionsTest, UnixSocketsAreNotConcerned) {
  for (int i = 0; i < 1000; ++i) {
    ASSERT_EQ(Unix(kSomebody), Admission::kAdmitted);
    Close(last_);
    EXPECT_EQ(connections_.open_unix(), 0u);
  }
  EXPECT_EQ(Wait("uid:100000"), 0);
}

class AnyNumberOfConnectionsTest : public ShortConnectionsTest {
 protected:
  AnyNumberOfConnectionsTest() : ShortConnectionsTest(0) {}
};

TEST_F(AnyNumberOfConnectionsTest, ZeroIsNoLimit) {
  Have(1000, "10.0.0.1");
  ASSERT_EQ(Tcp("10.0.0.1"), Admission::kAdmitted);
  EXPECT_EQ(Wait("10.0.0.1"), 0);
}

}  // namespace
}  // namespace netprov::rpc
