#include "server/rpc/connections.h"

#include <unistd.h>

#include <set>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace netprov::rpc {
namespace {

constexpr uid_t kSomebody = 100'000;
constexpr uid_t kSomebodyElse = 100'001;

class ConnectionsTest : public ::testing::Test {
 protected:
  explicit ConnectionsTest(ConnectionLimits limits = {.unix_total = 6, .per_uid = 2, .tcp_total = 3, .per_address = 2})
      : connections_(
            limits, [this](int fd, ino_t) { return open_.contains(fd); }, absl::ZeroDuration()) {}

  // Connects with the next descriptor.
  Admission Unix(uid_t uid) {
    access::Identity peer{.kind = access::Identity::Kind::kUnix, .uid = uid, .from = "pid:1"};
    return Admit(peer, "");
  }
  Admission Tcp(const std::string& address) { return Admit({}, address); }
  void Close(int fd) { open_.erase(fd); }

  Connections connections_;
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
      {.unix_total = 4}, [](int, ino_t inode) { return inode == 2; }, absl::ZeroDuration());
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

}  // namespace
}  // namespace netprov::rpc
