// Rate limits of an end: as asked for, as Get reads them, as `tc` shows them at the other end, what passes them, and
// who can't lift them.
#include <chrono>
#include <cstdint>
#include <sstream>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/component/test_client.h"
#include "tests/e2e/host_fixture.h"
#include "tests/testing/private_host.h"

namespace netprov::testing {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// What the host has at the pair's end and beside it, without counters.
constexpr char kShaping[] =
    "tc qdisc show | grep -v noqueue; tc filter show dev h0 ingress | grep -v ' index '; ip -o link show type ifb";

class ShapingTest : public HostTest {
 protected:
  void SetUp() override {
    HostTest::SetUp();
    StartDaemon();
    EXPECT_OK(client_->CreateNamespace("blue"));
    before_ = Shell("ip -d link show; tc qdisc show");
  }
  void TearDown() override {
    if (client_ == nullptr) StartDaemon();
    EXPECT_OK(client_->DeleteNamespace("blue"));
    HostTest::TearDown();
  }

  // A pair from h0 on the host to eth0 in blue. That one's limits are of 2 Mbit/s in and 4 Mbit/s out, low enough for
  // any machine to be faster.
  static v1::CreateVethRequest Request() {
    v1::CreateVethRequest request = VethRequest("v", "h0", "blue", "eth0");
    request.mutable_veth()->mutable_endpoint_a()->add_addresses()->set_address("10.0.0.1/24");
    v1::VethEndpoint& inside = *request.mutable_veth()->mutable_endpoint_b();
    inside.add_addresses()->set_address("10.0.0.2/24");
    inside.mutable_ingress_limit()->set_rate(2'000'000);
    inside.mutable_egress_limit()->set_rate(4'000'000);
    return request;
  }

  // How many bytes came through of so many, and in which time.
  struct Passed {
    int64_t bytes = -1;
    int64_t nanoseconds = 0;
  };
  static Passed Send(const std::string& from, const std::string& to, const std::string& address, int64_t bytes) {
    const std::string printed =
        Shell(absl::StrCat("/usr/bin/python3 tests/e2e/send_through.py ", from, " ", to, " ", address, " ", bytes));
    Passed passed;
    std::istringstream(printed) >> passed.bytes >> passed.nanoseconds;
    EXPECT_EQ(passed.bytes, bytes) << printed;
    return passed;
  }
  // What share of `rate` came through, not counting what may pass at once.
  static double ShareOf(uint64_t rate, const Passed& passed) {
    constexpr int64_t kBurst = 32768;  // the default
    return static_cast<double>(8 * (passed.bytes - kBurst)) * 1e9 / static_cast<double>(passed.nanoseconds) /
           static_cast<double>(rate);
  }

  // The token bucket of a link, with its counters.
  static json Bucket(const std::string& link) {
    const json qdiscs = json::parse(Shell(absl::StrCat("tc -j -s qdisc show dev ", link)));
    for (const json& qdisc : qdiscs) {
      if (qdisc.at("kind") == "tbf") return qdisc;
    }
    ADD_FAILURE() << link << " has no token bucket: " << qdiscs.dump();
    return {{"bytes", 0}, {"overlimits", 0}, {"drops", 0}};
  }
  static int64_t Count(const std::string& link, const std::string& what) {
    return Bucket(link).at(what).get<int64_t>();
  }

  // The only one.
  static std::string Ifb() {
    const json ifbs = json::parse(Shell("ip -j link show type ifb"));
    return ifbs.size() == 1 ? ifbs.at(0).at("ifname").get<std::string>() : "";
  }

  // Waits until the daemon has put the pair right, after `disturbance`.
  void ExpectHeals(const std::string& disturbance) {
    SCOPED_TRACE(disturbance);
    const size_t logged = daemon_->log().size();
    Shell(disturbance);
    // Less than the minute after which it looks by itself.
    const auto line = daemon_->NextLine(
        logged, [](absl::string_view text) { return absl::StrContains(text, "event=healed resource=veths/v"); },
        std::chrono::seconds(40));
    EXPECT_TRUE(line.has_value() && !line->empty()) << daemon_->log();
  }

  std::string before_;
};

TEST_F(ShapingTest, LimitsAreThereAsAskedForAndAtTheOtherEnd) {
  const Reply<v1::Veth> made = client_->Create(Request());
  EXPECT_OK(made);
  const v1::VethEndpoint& inside = made.value.endpoint_b();
  EXPECT_EQ(inside.ingress_limit().ShortDebugString(), "rate: 2000000 burst: 32768 latency { nanos: 50000000 }");
  EXPECT_EQ(inside.egress_limit().ShortDebugString(), "rate: 4000000 burst: 32768 latency { nanos: 50000000 }");
  EXPECT_EQ(Bucket("h0").at("options").at("rate"), 250'000);
  EXPECT_EQ(Bucket("h0").at("options").at("lat"), 50'000);
  EXPECT_EQ(Bucket(Ifb()).at("options").at("rate"), 500'000);
  EXPECT_THAT(Shell("tc -j filter show dev h0 ingress"), HasSubstr(absl::StrCat(R"("to_dev":")", Ifb(), "\"")));
  EXPECT_EQ(Shell("tc -n blue qdisc show dev eth0"), "qdisc noqueue 0: root refcnt 2 \n");
  EXPECT_EQ(Shell("ip -n blue link show type ifb"), "");
  // The ifb is the pair's.
  v1::ListLinksRequest links;
  links.set_parent("host");
  links.set_kind("ifb");
  const Reply<v1::ListLinksResponse> listed = client_->List(links);
  EXPECT_OK(listed);
  ASSERT_EQ(listed.value.links_size(), 1);
  EXPECT_EQ(listed.value.links(0).object(), "veths/v");
  KillDaemon();
  StartDaemon();
  EXPECT_THAT(Findings(), IsEmpty());
  EXPECT_EQ(client_->GetVeth("v").value.DebugString(), made.value.DebugString());
  EXPECT_OK(client_->DeleteVeth("v"));
  EXPECT_EQ(Shell("ip -d link show; tc qdisc show"), before_);
}

TEST_F(ShapingTest, WhatPassesIsHeldToTheRate) {
  constexpr int64_t kBytes = 192 * 1024;
  EXPECT_OK(client_->Create(Request()));
  Send("-", "blue", "10.0.0.2", kBytes);
  EXPECT_GE(Count("h0", "bytes"), kBytes);
  EXPECT_GT(Count("h0", "overlimits"), 0) << "it had to wait";
  EXPECT_LT(Count(Ifb(), "bytes"), kBytes) << "acknowledgements alone";
  Send("blue", "-", "10.0.0.1", kBytes);
  EXPECT_GE(Count(Ifb(), "bytes"), kBytes);
  EXPECT_GT(Count(Ifb(), "overlimits"), 0);
  EXPECT_OK(client_->DeleteVeth("v"));
}

TEST_F(ShapingTest, WhatPassesIsNotFarBelowTheRate) {
  constexpr uint64_t kIn = 8'000'000;
  constexpr uint64_t kOut = 16'000'000;
  v1::CreateVethRequest request = Request();
  v1::VethEndpoint& inside = *request.mutable_veth()->mutable_endpoint_b();
  inside.mutable_ingress_limit()->set_rate(kIn);
  inside.mutable_egress_limit()->set_rate(kOut);
  EXPECT_OK(client_->Create(request));
  const double in = ShareOf(kIn, Send("-", "blue", "10.0.0.2", 1'000'000));
  const double out = ShareOf(kOut, Send("blue", "-", "10.0.0.1", 2'000'000));
  for (const double share : {in, out}) {
    // Headers count, and TCP has to find the rate.
    EXPECT_GE(share, 0.5);
    EXPECT_LE(share, 1.2);
  }
  EXPECT_OK(client_->DeleteVeth("v"));
}

TEST_F(ShapingTest, APacketThatIsLongerThanTheBurstIsCut) {
  constexpr int64_t kBytes = 128 * 1024;
  v1::CreateVethRequest request = Request();
  v1::VethEndpoint& inside = *request.mutable_veth()->mutable_endpoint_b();
  for (v1::RateLimit* limit : {inside.mutable_ingress_limit(), inside.mutable_egress_limit()}) {
    limit->set_rate(8'000'000);
    limit->set_burst(2000);
    // Enough for all of it to wait.
    limit->mutable_latency()->set_seconds(1);
  }
  EXPECT_OK(client_->Create(request));
  Send("-", "blue", "10.0.0.2", kBytes);
  Send("blue", "-", "10.0.0.1", kBytes);
  EXPECT_EQ(Count("h0", "drops"), 0);
  EXPECT_EQ(Count(Ifb(), "drops"), 0);
  EXPECT_OK(client_->DeleteVeth("v"));
}

TEST_F(ShapingTest, TheRootInsideCannotLiftIt) {
  EXPECT_OK(client_->Create(Request()));
  const std::string shaping = Shell(kShaping);
  // Some of them fail.
  Shell(R"sh(ip netns exec blue sh -c '
    tc qdisc del dev eth0 root
    tc qdisc replace dev eth0 root pfifo limit 10000
    tc qdisc del dev eth0 ingress
    tc qdisc replace dev eth0 clsact
    tc filter add dev eth0 egress protocol all u32 match u32 0 0 action pass
    tc qdisc replace dev eth0 root tbf rate 10gbit burst 10mb latency 1s
    ip link set eth0 down; ip link set eth0 txqueuelen 10000; ip link set eth0 up
    ip link set eth0 name other; ip link set other name eth0
    ip link del type ifb' 2>/dev/null; true)sh");
  EXPECT_EQ(Shell(kShaping), shaping);
  constexpr int64_t kBytes = 96 * 1024;
  Send("blue", "-", "10.0.0.1", kBytes);
  EXPECT_GE(Count(Ifb(), "bytes"), kBytes);
  EXPECT_GT(Count(Ifb(), "overlimits"), 0);
  Send("-", "blue", "10.0.0.2", kBytes);
  EXPECT_GE(Count("h0", "bytes"), kBytes);
  EXPECT_GT(Count("h0", "overlimits"), 0);
  EXPECT_OK(client_->DeleteVeth("v"));
}

TEST_F(ShapingTest, WhatTheHostChangesIsShownAndHealed) {
  EXPECT_OK(client_->Create(Request()));
  Shell("tc qdisc replace dev h0 root tbf rate 1gbit burst 32k latency 50ms");
  const v1::Veth changed = client_->GetVeth("v").value;
  EXPECT_EQ(changed.state(), v1::Veth::STATE_DEGRADED);
  ASSERT_EQ(changed.deviations_size(), 1);
  EXPECT_EQ(changed.deviations(0).field(), "endpoint_b.ingress_limit.rate");
  EXPECT_EQ(changed.deviations(0).actual(), "1000000000");
  EXPECT_EQ(changed.endpoint_b().ingress_limit().rate(), 1'000'000'000u);
  EXPECT_OK(client_->DeleteVeth("v"));

  v1::CreateVethRequest request = Request();
  request.mutable_veth()->mutable_metadata()->set_self_heal(true);
  EXPECT_OK(client_->Create(request));
  ExpectHeals("tc qdisc del dev h0 root");
  ExpectHeals("tc qdisc del dev h0 clsact");
  ExpectHeals(absl::StrCat("ip link del ", Ifb()));
  EXPECT_EQ(client_->GetVeth("v").value.state(), v1::Veth::STATE_READY);
  EXPECT_EQ(Bucket(Ifb()).at("options").at("rate"), 500'000);
  EXPECT_OK(client_->DeleteVeth("v"));
  EXPECT_EQ(Shell("ip -d link show; tc qdisc show"), before_);
}

TEST_F(ShapingTest, ItGoesWithTheNamespaceAndALimitAlone) {
  for (const bool is_egress : {false, true}) {
    v1::CreateVethRequest request = Request();
    if (is_egress) {
      request.mutable_veth()->mutable_endpoint_b()->clear_ingress_limit();
    } else {
      request.mutable_veth()->mutable_endpoint_b()->clear_egress_limit();
    }
    EXPECT_OK(client_->Create(request));
    EXPECT_EQ(Ifb().empty(), !is_egress);
    EXPECT_OK(client_->DeleteNamespace("blue"));
    EXPECT_EQ(Shell("ip -d link show; tc qdisc show"), before_);
    EXPECT_OK(client_->CreateNamespace("blue"));
  }
}

}  // namespace
}  // namespace netprov::testing
