// One CreateVeth call makes a namespace and gives it all of its network: on a bridge in the host, of both families,
// with a way out, a way in, and a limit. What passes is seen from everywhere.
//
//   client 192.0.2.2, 2001:db8::2 --- out 192.0.2.1, 2001:db8::1 | the host | br0 10.0.0.1, fd00::1 --- blue 10.0.0.2,
//   fd00::2 and green 10.0.0.3, fd00::3
#include <cstdint>
#include <sstream>
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/component/test_client.h"
#include "tests/e2e/host_fixture.h"
#include "tests/e2e/requests.h"
#include "tests/testing/private_host.h"

namespace netprov::testing {
namespace {

using ::testing::IsEmpty;

// A client elsewhere, which has no way back to what is behind the host.
constexpr char kWorld[] = R"sh(
sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0
ip link set lo up
ip netns add client
ip link add out type veth peer name c0 netns client; ip link set out addrgenmode none; ip -n client link set c0 addrgenmode none
ip addr add 192.0.2.1/24 dev out; ip addr add 2001:db8::1/64 dev out nodad; ip link set out up
ip -n client addr add 192.0.2.2/24 dev c0; ip -n client addr add 2001:db8::2/64 dev c0 nodad
ip -n client link set c0 up; ip -n client link set lo up)sh";

// Links, addresses, routes, rules, disciplines and files of all namespaces. How far the kernel is with addresses of its
// own is left out.
constexpr char kEverything[] = R"sh(
ls /run/netns
look() {
  ip $1 -d link show; ip $1 address show | sed 's/ tentative//'; ip $1 -4 route show table all; ip $1 -6 route show table all
  ip $1 rule show; ip $1 -6 rule show; tc $1 qdisc show
}
look
nft list ruleset
for name in $(ls /run/netns); do look "-n $name"; nsenter --net="/run/netns/$name" nft list ruleset; done)sh";

class StackTest : public HostTest {
 protected:
  void SetUp() override {
    HostTest::SetUp();
    Shell(kWorld);
    StartDaemon();
  }
  void TearDown() override {
    EXPECT_EQ(Shell("nft list ruleset"), "");
    HostTest::TearDown();
    Shell("sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0");
  }

  static bool Pings(const std::string& from, const std::string& address) {
    return Shell(absl::StrCat("if ip netns exec ", from, " ping -n -q -c 2 -i 0.2 -W 10 ", address,
                              " >/dev/null; then echo yes; fi")) == "yes\n";
  }

  // Which address the listener saw.
  static std::string Talk(const std::string& from, const std::string& to, const std::string& listener) {
    return std::string(absl::StripAsciiWhitespace(
        Shell(absl::StrCat("/usr/bin/python3 tests/e2e/talk_through.py tcp ", from, " ", to, " ", listener))));
  }

  // Expects that so many bytes pass, and not faster than the limit.
  static void ExpectHeldToTheRate(const std::string& from, const std::string& to, const std::string& address) {
    constexpr int64_t kBytes = 1'500'000;
    const std::string printed =
        Shell(absl::StrCat("/usr/bin/python3 tests/e2e/send_through.py ", from, " ", to, " ", address, " ", kBytes));
    int64_t received = -1;
    int64_t nanoseconds = 0;
    std::istringstream(printed) >> received >> nanoseconds;
    EXPECT_EQ(received, kBytes) << printed;
    // A slow machine takes longer, and no machine less.
    EXPECT_GE(static_cast<double>(nanoseconds) / 1e9, static_cast<double>(8 * (kBytes - kStackBurst)) / kStackRate);
  }
};

TEST_F(StackTest, OneCallGivesANamespaceAWorkingNetwork) {
  // Forwarding stays on, as others may rely on it.
  Shell("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
  const std::string before = Shell(kEverything);
  EXPECT_OK(client_->Create(StackBridgeRequest()));
  for (const auto& [netns, host] : {std::pair("blue", 2), std::pair("green", 3)}) {
    const Reply<v1::Veth> made = client_->Create(StackRequest(netns, host));
    EXPECT_OK(made);
    EXPECT_EQ(made.value.state(), v1::Veth::STATE_READY) << made.value.DebugString();
    EXPECT_EQ(client_->GetVeth(netns).value.DebugString(), made.value.DebugString());
  }
  // Between the namespaces.
  EXPECT_TRUE(Pings("blue", "10.0.0.3"));
  EXPECT_TRUE(Pings("green", "fd00::2"));
  EXPECT_EQ(Talk("blue", "10.0.0.3 7000", "green 10.0.0.3 7000"), "10.0.0.2");
  EXPECT_EQ(Talk("green", "fd00::2 7000", "blue fd00::2 7000"), "fd00::3");
  // Through the host, out and in.
  EXPECT_TRUE(Pings("blue", "192.0.2.2"));
  EXPECT_TRUE(Pings("blue", "2001:db8::2"));
  EXPECT_EQ(Talk("green", "192.0.2.2 7000", "client 192.0.2.2 7000"), "192.0.2.1");
  EXPECT_EQ(Talk("green", "2001:db8::2 7000", "client 2001:db8::2 7000"), "2001:db8::1");
  EXPECT_EQ(Talk("client", "192.0.2.1 8002", "blue 10.0.0.2 80"), "192.0.2.2");
  EXPECT_EQ(Talk("client", "2001:db8::1 8003", "green fd00::3 80"), "2001:db8::2");
  // Held to the rate, both ways.
  ExpectHeldToTheRate("blue", "client", "192.0.2.2");
  ExpectHeldToTheRate("-", "blue", "10.0.0.2");
  // And after a crash.
  KillDaemon();
  StartDaemon();
  EXPECT_THAT(Findings(), IsEmpty());
  EXPECT_TRUE(Pings("blue", "192.0.2.2"));
  EXPECT_EQ(client_->GetVeth("blue").value.state(), v1::Veth::STATE_READY);
  for (const char* name : {"blue", "green"}) EXPECT_OK(client_->DeleteNamespace(name));
  EXPECT_OK(client_->DeleteBridge("br"));
  EXPECT_EQ(Shell(kEverything), before);
}

}  // namespace
}  // namespace netprov::testing
