// Queueing disciplines and filters against the real kernel. `tc -j` is the witness.
#include <arpa/inet.h>
#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <fstream>
#include <optional>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/base/unique_fd.h"
#include "server/netlink/filter.h"
#include "server/netlink/kernel_fixture.h"
#include "server/netlink/link.h"
#include "server/netlink/link_info.h"
#include "server/netlink/link_statistics.h"
#include "server/netlink/qdisc.h"

namespace netprov::netlink {
namespace {

using ::testing::AllOf;
using ::testing::Eq;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class QdiscKernelTest : public KernelTest {
 protected:
  // A pair, both ends at home and up, and an ifb.
  void SetUp() override {
    KernelTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    VethRequest veth = Veth("v");
    veth.peer.netns_fd.reset();
    Do(*home_, EncodeNewVeth(veth));
    Do(*home_, EncodeSetLink("vp", {.up = true}));
    Do(*home_, EncodeNewLink({.name = "i", .up = true}, IfbInfo{}));
    link_ = Get(*home_, "v")->ifindex;
    ifb_ = Get(*home_, "i")->ifindex;
  }

  std::vector<Qdisc> Qdiscs() {
    std::vector<Qdisc> qdiscs;
    for (const Qdisc& qdisc : Dump(*home_, EncodeDumpQdiscs(), &DecodeQdisc)) {
      if (qdisc.ifindex == link_) qdiscs.push_back(qdisc);
    }
    return qdiscs;
  }

  // The filters that do something.
  std::vector<Filter> Filters(FilterHook hook) {
    std::vector<Filter> filters;
    for (const Filter& filter : Dump(*home_, EncodeDumpFilters(link_, hook), &DecodeFilter)) {
      if (filter.mirred) filters.push_back(filter);
    }
    return filters;
  }

  int link_ = 0;
  int ifb_ = 0;
};

TEST_F(QdiscKernelTest, TicksAreOf64Nanoseconds) {
  std::ifstream file("/proc/net/psched");
  uint32_t microsecond = 0;
  uint32_t tick = 0;
  file >> std::hex >> microsecond >> tick;
  EXPECT_THAT(microsecond, Eq(1000u));
  EXPECT_THAT(tick, Eq(64u));
}

TEST_F(QdiscKernelTest, ATokenBucketIsAddedChangedAndDeleted) {
  for (const TokenBucket& bucket : {
           TokenBucket{.rate = 12'500'000, .burst = 32768, .limit = 657768},
           TokenBucket{.rate = 1000, .burst = 20000, .limit = 4'000'000'000},
           TokenBucket{.rate = uint64_t{1} << 33, .burst = 10'000'000, .limit = 1},
       }) {
    const Qdisc wanted = {.ifindex = link_, .options = bucket};
    Do(*home_, EncodeNewQdisc(wanted));
    EXPECT_THAT(Code(*home_, EncodeNewQdisc(wanted)), Eq(EEXIST));
    ASSERT_THAT(Qdiscs(), SizeIs(1));
    const Qdisc read = Qdiscs()[0];
    EXPECT_THAT(read.kind, Eq("tbf"));
    EXPECT_THAT(read.parent, Eq(0xffffffff));
    const auto& options = std::get<TokenBucket>(read.options);
    EXPECT_THAT(options.rate, Eq(bucket.rate));
    EXPECT_THAT(options.limit, Eq(bucket.limit));
    const double tick = static_cast<double>(bucket.rate) * 64e-9;
    EXPECT_NEAR(options.burst, bucket.burst, tick + 1);
    EXPECT_THAT(Shell("tc -j qdisc show dev v"),
                AllOf(HasSubstr(R"("kind":"tbf")"), HasSubstr("\"rate\":" + std::to_string(bucket.rate))));
    Do(*home_, EncodeDeleteQdisc(wanted));
    EXPECT_THAT(Code(*home_, EncodeDeleteQdisc(wanted)), Eq(EINVAL));
  }
  const TokenBucket bucket = {.rate = 12'500'000, .burst = 32768, .limit = 657768};
  Do(*home_, EncodeReplaceQdisc({.ifindex = link_, .options = bucket}));
  // tc reckons in whole microseconds.
  EXPECT_THAT(Shell("tc -j qdisc show dev v"), HasSubstr(R"("options":{"rate":12500000,"burst":32762,"lat":50000})"));
  const uint32_t handle = Qdiscs()[0].handle;
  TokenBucket changed = bucket;
  changed.rate *= 2;
  Do(*home_, EncodeReplaceQdisc({.ifindex = link_, .options = changed}));
  EXPECT_THAT(std::get<TokenBucket>(Qdiscs()[0].options).rate, Eq(changed.rate));
  EXPECT_THAT(Qdiscs()[0].handle, Eq(handle));
  EXPECT_THAT(Code(*home_, EncodeNewQdisc({.ifindex = 4242, .options = bucket})), Eq(ENODEV));
}

TEST_F(QdiscKernelTest, IngressAndClsactShareAPlace) {
  const Qdisc ingress = {.ifindex = link_, .options = Ingress{}};
  const Qdisc clsact = {.ifindex = link_, .options = Clsact{}};
  EXPECT_THAT(Code(*home_, EncodeDeleteQdisc(clsact)), Eq(ENOENT));
  Do(*home_, EncodeNewQdisc(clsact));
  EXPECT_THAT(Code(*home_, EncodeNewQdisc(clsact)), Eq(EEXIST));
  EXPECT_THAT(Code(*home_, EncodeNewQdisc(ingress)), Eq(EEXIST));
  EXPECT_THAT(Code(*home_, EncodeDeleteQdisc(ingress)), Eq(EINVAL));
  // Beside the root, which a veth need not have.
  Qdisc read = Qdiscs().back();
  EXPECT_TRUE(std::holds_alternative<Clsact>(read.options));
  EXPECT_THAT(read.handle, Eq(0xffff0000));
  EXPECT_THAT(read.parent, Eq(0xfffffff1));
  EXPECT_THAT(Shell("tc -j qdisc show dev v"), HasSubstr(R"("kind":"clsact","handle":"ffff:")"));
  Do(*home_, EncodeReplaceQdisc(clsact));
  Do(*home_, EncodeDeleteQdisc(clsact));
  Do(*home_, EncodeNewQdisc(ingress));
  EXPECT_TRUE(std::holds_alternative<Ingress>(Qdiscs().back().options));
  Do(*home_, EncodeDeleteQdisc(ingress));
  EXPECT_THAT(Shell("tc -j qdisc show dev v"), testing::Not(HasSubstr("ffff:")));
}

class FilterKernelTest : public QdiscKernelTest, public testing::WithParamInterface<Classifier> {};

INSTANTIATE_TEST_SUITE_P(Classifiers, FilterKernelTest, testing::Values(Classifier::kMatchall, Classifier::kU32),
                         [](const auto& test) { return test.param == Classifier::kU32 ? "U32" : "Matchall"; });

TEST_P(FilterKernelTest, FiltersAreAddedListedAndDeleted) {
  const NewFilter wanted = {.ifindex = link_, .priority = 7, .classifier = GetParam(), .mirred = {.ifindex = ifb_}};
  EXPECT_THAT(Code(*home_, EncodeNewFilter(wanted)), Eq(EINVAL));
  EXPECT_THAT(Code(*home_, EncodeDeleteFilters(link_, FilterHook::kIngress, 7)), Eq(EINVAL));
  EXPECT_THAT(Filters(FilterHook::kIngress), IsEmpty());
  Do(*home_, EncodeNewQdisc({.ifindex = link_, .options = Clsact{}}));
  EXPECT_THAT(Code(*home_, EncodeDeleteFilters(link_, FilterHook::kIngress, 7)), Eq(ENOENT));
  KernelResult<void> added = home_->Execute(EncodeNewFilter(wanted));
  if (!added.ok()) {
    ASSERT_THAT(added.error().code, Eq(ENOENT)) << added.error().ToString();
    GTEST_SKIP() << "the kernel is built without this classifier";
  }
  NewFilter mirror = wanted;
  mirror.hook = FilterHook::kEgress;
  mirror.priority = 8;
  mirror.mirred = {.action = MirredAction::kMirrorEgress, .ifindex = ifb_};
  Do(*home_, EncodeNewFilter(mirror));

  std::vector<Filter> filters = Filters(FilterHook::kIngress);
  ASSERT_THAT(filters, SizeIs(1));
  EXPECT_THAT(filters[0].ifindex, Eq(link_));
  EXPECT_THAT(filters[0].priority, Eq(7));
  EXPECT_THAT(filters[0].kind, Eq(GetParam() == Classifier::kU32 ? "u32" : "matchall"));
  EXPECT_TRUE(filters[0].mirred == wanted.mirred);
  filters = Filters(FilterHook::kEgress);
  ASSERT_THAT(filters, SizeIs(1));
  EXPECT_TRUE(filters[0].mirred == mirror.mirred);
  EXPECT_THAT(Shell("tc -j filter show dev v ingress"),
              AllOf(HasSubstr(R"("protocol":"all","pref":7)"),
                    HasSubstr(R"("mirred_action":"redirect","direction":"egress","to_dev":"i")")));

  NewFilter wrong = wanted;
  wrong.priority = 9;
  wrong.mirred.ifindex = 4242;
  EXPECT_THAT(Code(*home_, EncodeNewFilter(wrong)), Eq(ENODEV));
  wrong.ifindex = 4242;
  EXPECT_THAT(Code(*home_, EncodeNewFilter(wrong)), Eq(ENODEV));

  Do(*home_, EncodeDeleteFilters(link_, FilterHook::kEgress, 8));
  EXPECT_THAT(Filters(FilterHook::kEgress), IsEmpty());
  Do(*home_, EncodeDeleteLink("i"));
  EXPECT_THAT(Filters(FilterHook::kIngress)[0].mirred->ifindex, Eq(0));
}

TEST_P(FilterKernelTest, WhatIsReceivedGoesThroughTheIfb) {
  Do(*home_, EncodeNewQdisc({.ifindex = link_, .options = Ingress{}}));
  KernelResult<void> added =
      home_->Execute(EncodeNewFilter({.ifindex = link_, .classifier = GetParam(), .mirred = {.ifindex = ifb_}}));
  if (!added.ok()) GTEST_SKIP() << "the kernel is built without this classifier";
  EXPECT_THAT(RunIp("addr add 192.0.2.1/24 dev vp"), Eq(""));
  EXPECT_THAT(RunIp("neigh add 192.0.2.2 lladdr 02:00:00:00:00:09 dev vp"), Eq(""));
  auto received = [&] { return DecodeLinkStatistics(*home_->Get(EncodeGetLinkStatistics("i")))->rx_packets; };
  const uint64_t before = received();
  UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_in target = {};
  target.sin_family = AF_INET;
  target.sin_port = htons(9);
  target.sin_addr.s_addr = ::inet_addr("192.0.2.2");
  ASSERT_EQ(::sendto(socket.get(), "x", 1, 0, reinterpret_cast<sockaddr*>(&target), sizeof(target)), 1);
  // The veth hands it over in a softirq, which may come a little later.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (received() == before && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  EXPECT_GT(received(), before);
}

}  // namespace
}  // namespace netprov::netlink
