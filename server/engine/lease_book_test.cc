#include "server/engine/lease_book.h"

#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace netprov::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Optional;

class LeaseBookTest : public ::testing::Test {
 protected:
  void Start(const std::string& uid, const std::string& owner, absl::Duration ttl) {
    Metadata metadata;
    metadata.owner = owner;
    metadata.ttl = ttl;
    book_.Start(uid, "veths/" + uid, metadata);
  }
  std::vector<std::string> Expired() const {
    std::vector<std::string> uids;
    for (const LeaseBook::Lease& lease : book_.Expired()) uids.push_back(lease.uid);
    return uids;
  }

  absl::Duration now_ = absl::Hours(1);
  LeaseBook book_{[this] { return now_; }};
};

TEST_F(LeaseBookTest, ALeaseEndsAfterItsTtl) {
  Start("a", "ci", absl::Seconds(10));
  Start("forever", "ci", absl::ZeroDuration());
  EXPECT_THAT(book_.Remaining("a"), Optional(absl::Seconds(10)));
  EXPECT_EQ(book_.Remaining("forever"), std::nullopt);
  now_ += absl::Seconds(9);
  EXPECT_THAT(Expired(), IsEmpty());
  EXPECT_THAT(book_.UntilNextEnd(), Optional(absl::Seconds(1)));
  now_ += absl::Seconds(1);
  EXPECT_THAT(Expired(), ElementsAre("a"));
  EXPECT_THAT(book_.Expired()[0].object, "veths/a");
  EXPECT_THAT(book_.Expired()[0].owner, "ci");
  now_ += absl::Seconds(1);
  EXPECT_THAT(book_.Remaining("a"), Optional(absl::ZeroDuration()));
  book_.End("a");
  EXPECT_THAT(Expired(), IsEmpty());
  EXPECT_EQ(book_.UntilNextEnd(), std::nullopt);
}

TEST_F(LeaseBookTest, ASignOfTheOwnerRenewsAllThatIsItsOwn) {
  Start("a", "ci", absl::Seconds(10));
  Start("b", "ci", absl::Seconds(20));
  Start("c", "lab", absl::Seconds(10));
  now_ += absl::Seconds(9);
  const LeaseBook::Renewal renewal = book_.Renew("ci");
  EXPECT_EQ(renewal.leases, 2);
  EXPECT_THAT(renewal.shortest, Optional(absl::Seconds(10)));
  now_ += absl::Seconds(9);
  EXPECT_THAT(Expired(), ElementsAre("c"));
  now_ += absl::Seconds(1);
  EXPECT_THAT(Expired(), ElementsAre("a", "c"));
}

TEST_F(LeaseBookTest, MakingAnotherObjectIsASignToo) {
  Start("a", "ci", absl::Seconds(10));
  now_ += absl::Seconds(9);
  Start("b", "ci", absl::Seconds(10));
  now_ += absl::Seconds(9);
  EXPECT_THAT(Expired(), IsEmpty());
}

TEST_F(LeaseBookTest, WhoHasNoLeaseRenewsNone) {
  EXPECT_EQ(book_.Renew("nobody").leases, 0);
  EXPECT_EQ(book_.Renew("nobody").shortest, std::nullopt);
}

TEST_F(LeaseBookTest, WhatIsClaimedIsNotRenewed) {
  Start("a", "ci", absl::Seconds(10));
  EXPECT_FALSE(book_.Claim("a")) << "not yet";
  now_ += absl::Seconds(10);
  EXPECT_TRUE(book_.Claim("a"));
  EXPECT_FALSE(book_.Claim("a")) << "once";
  EXPECT_EQ(book_.Renew("ci").leases, 0) << "too late, and said so";
  EXPECT_THAT(Expired(), IsEmpty());
  book_.Release("a");
  EXPECT_EQ(book_.Renew("ci").leases, 1);
  EXPECT_THAT(Expired(), IsEmpty());
}

}  // namespace
}  // namespace netprov::engine
