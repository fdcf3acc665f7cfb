// What packets become of, sent through namespaces of the test's own:
//
//   client 192.0.2.2, 2001:db8::2 --- out | router | br0 10.0.0.1, fd00::1 --- a 10.0.0.2, fd00::2
//                                         |        |                      \-- b 10.0.0.3, fd00::3
//                                         |        | c0 10.0.1.1 ------------- c 10.0.1.2
//
// The router is `home_`; its table is what is tested. Each endpoint has a route to everywhere through the router, and
// the client has none to them.
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/base/unique_fd.h"
#include "server/netlink/kernel_fixture.h"
#include "server/netlink/mnl_transport.h"
#include "server/netlink/nat.h"
#include "server/netlink/nat_table.h"

namespace netprov::netlink {
namespace {

using ::testing::Eq;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr TransportProtocol kTcp = TransportProtocol::kTcp;
constexpr TransportProtocol kUdp = TransportProtocol::kUdp;

// How long an answer that comes may take, and how long one is waited for that must not come.
constexpr timeval kPatience = {.tv_sec = 10, .tv_usec = 0};
constexpr timeval kImpatience = {.tv_sec = 0, .tv_usec = 200'000};

struct Socket {
  sockaddr_storage storage = {};
  socklen_t size = 0;
};

Socket SocketAddress(const IpAddress& address, uint16_t port) {
  Socket socket;
  if (address.family() == IpFamily::kIpv4) {
    sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {}, .sin_zero = {}};
    std::memcpy(&in.sin_addr, address.bytes().data(), sizeof(in.sin_addr));
    std::memcpy(&socket.storage, &in, socket.size = sizeof(in));
  } else {
    sockaddr_in6 in6 = {};
    in6.sin6_family = AF_INET6;
    in6.sin6_port = htons(port);
    std::memcpy(&in6.sin6_addr, address.bytes().data(), sizeof(in6.sin6_addr));
    std::memcpy(&socket.storage, &in6, socket.size = sizeof(in6));
  }
  return socket;
}

std::string AddressOf(const Socket& socket) {
  const auto* start = reinterpret_cast<const std::byte*>(&socket.storage);
  const bool ipv4 = socket.storage.ss_family == AF_INET;
  const size_t offset = ipv4 ? offsetof(sockaddr_in, sin_addr) : offsetof(sockaddr_in6, sin6_addr);
  return IpAddress::FromBytes(std::span(start + offset, ipv4 ? 4 : 16))->ToString();
}

sockaddr* Pointer(Socket& socket) { return reinterpret_cast<sockaddr*>(&socket.storage); }

std::string Failed(const char* call) { return std::string(call) + ": " + strerrorname_np(errno); }

class NatTrafficTest : public KernelTest {
 protected:
  void SetUp() override {
    KernelTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    router_ = UniqueFd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    KernelResult<std::unique_ptr<MnlTransport>> transport =
        MnlTransport::Open(MnlTransport::kDefaultTimeout, NetlinkProtocol::kNetfilter);
    ASSERT_TRUE(transport.ok()) << transport.error().ToString();
    netfilter_ = std::make_unique<Session>(std::move(transport).value());
    table_.emplace(*netfilter_, "registry");
    for (UniqueFd* netns : {&client_, &a_, &b_, &c_}) {
      ASSERT_EQ(::unshare(CLONE_NEWNET), 0);
      *netns = UniqueFd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
      ASSERT_EQ(::setns(router_.get(), CLONE_NEWNET), 0);
    }
    Quietly("ip link set lo up");
    Quietly("ip link add br0 type bridge && ip link set br0 up");
    Plug("out", client_, "192.0.2.1/24", "192.0.2.2/24", "2001:db8::1/64", "2001:db8::2/64", "");
    Plug("a0", a_, "", "10.0.0.2/24", "", "fd00::2/64", "br0");
    Plug("b0", b_, "", "10.0.0.3/24", "", "fd00::3/64", "br0");
    Plug("c0", c_, "10.0.1.1/24", "10.0.1.2/24", "fd01::1/64", "fd01::2/64", "");
    Quietly("ip addr add 10.0.0.1/24 dev br0 && ip addr add fd00::1/64 dev br0 nodad");
    for (UniqueFd* netns : {&a_, &b_}) {
      Quietly(In(*netns, "ip route add default via 10.0.0.1"));
      Quietly(In(*netns, "ip route add default via fd00::1"));
    }
    Quietly(In(c_, "ip route add default via 10.0.1.1"));
    Quietly(In(c_, "ip route add default via fd01::1"));
    Quietly("echo 1 > /proc/sys/net/ipv4/ip_forward && echo 1 > /proc/sys/net/ipv6/conf/all/forwarding");
    if (HasFailure()) return;
    KernelResult<void> made = table_->EnsureTable();
    ASSERT_TRUE(made.ok()) << made.error().ToString();
    bridge_ = Get(*home_, "br0")->ifindex;
    c0_ = Get(*home_, "c0")->ifindex;
  }

  static void Quietly(const std::string& command) { EXPECT_THAT(Shell(command), IsEmpty()) << command; }

  static std::string PathOf(const UniqueFd& netns) {
    return "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(netns.get());
  }

  static std::string In(const UniqueFd& netns, const std::string& command) {
    return "nsenter --net=" + PathOf(netns) + " " + command;
  }

  // A pair from the router to a namespace, where it is `eth0`; a port of `bridge`, or with addresses of its own.
  static void Plug(const std::string& name, const UniqueFd& netns, const std::string& near4, const std::string& far4,
                   const std::string& near6, const std::string& far6, const std::string& bridge) {
    Quietly("ip link add " + name + " type veth peer name eth0 netns " + PathOf(netns));
    if (!bridge.empty()) Quietly("ip link set " + name + " master " + bridge);
    if (!near4.empty()) Quietly("ip addr add " + near4 + " dev " + name);
    if (!near6.empty()) Quietly("ip addr add " + near6 + " dev " + name + " nodad");
    Quietly("ip link set " + name + " up");
    Quietly(In(netns, "ip link set lo up"));
    Quietly(In(netns, "ip addr add " + far4 + " dev eth0"));
    Quietly(In(netns, "ip addr add " + far6 + " dev eth0 nodad"));
    Quietly(In(netns, "ip link set eth0 up"));
  }

  // Whether the router's bridge sends what it forwards through the chains; false where the kernel can't.
  static bool SetBridgeCalls(bool on) {
    const std::string directory = "/proc/sys/net/bridge/bridge-nf-call-";
    if (::access((directory + "iptables").c_str(), F_OK) != 0) return false;
    for (const char* name : {"iptables", "ip6tables"}) {
      Quietly("echo " + std::string(on ? "1" : "0") + " > " + directory + name);
    }
    return true;
  }

  // A socket of a namespace, which it stays in.
  static UniqueFd Open(const UniqueFd& netns, IpFamily family, TransportProtocol protocol, timeval patience) {
    UniqueFd socket;
    std::thread([&] {
      ASSERT_EQ(::setns(netns.get(), CLONE_NEWNET), 0);
      const int type = protocol == kTcp ? SOCK_STREAM : SOCK_DGRAM;
      socket = UniqueFd(::socket(static_cast<int>(family), type | SOCK_CLOEXEC, 0));
    }).join();
    EXPECT_TRUE(socket.valid());
    const int on = 1;
    ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    return socket;
  }

  struct End {
    const UniqueFd& netns;
    const char* address;
    uint16_t port = 0;
  };

  // Sends from a namespace to an address, and back from whoever listens there. Returns which address the listener saw,
  // or what failed.
  static std::string Talk(TransportProtocol protocol, const UniqueFd& from, std::string_view to, uint16_t port,
                          const End& listener, timeval patience = kPatience) {
    const IpFamily family = Ip(to).family();
    UniqueFd server = Open(listener.netns, family, protocol, patience);
    Socket own = SocketAddress(Ip(listener.address), listener.port);
    if (::bind(server.get(), Pointer(own), own.size) != 0) return Failed("bind");
    if (protocol == kTcp && ::listen(server.get(), 1) != 0) return Failed("listen");

    UniqueFd client = Open(from, family, protocol, patience);
    Socket target = SocketAddress(Ip(to), port);
    if (::connect(client.get(), Pointer(target), target.size) != 0) return Failed("connect");
    Socket peer;
    peer.size = sizeof(peer.storage);
    if (protocol == kTcp) {
      server = UniqueFd(::accept4(server.get(), Pointer(peer), &peer.size, SOCK_CLOEXEC));
      if (!server.valid()) return Failed("accept");
      ::setsockopt(server.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    }
    char byte = 'x';
    if (::send(client.get(), &byte, 1, MSG_NOSIGNAL) != 1) return Failed("send");
    Socket sender;
    sender.size = sizeof(sender.storage);
    if (::recvfrom(server.get(), &byte, 1, 0, Pointer(sender), &sender.size) != 1) return Failed("recvfrom");
    if (protocol == kUdp) peer = sender;
    if (::sendto(server.get(), &byte, 1, MSG_NOSIGNAL, protocol == kUdp ? Pointer(peer) : nullptr,
                 protocol == kUdp ? peer.size : 0) != 1) {
      return Failed("sendto");
    }
    // A connected UDP socket takes answers from nobody but its peer.
    if (::recv(client.get(), &byte, 1, 0) != 1) return Failed("recv");
    return AddressOf(peer);
  }

  NatElement Forward(TransportProtocol protocol, const char* host_address, uint16_t host_port, const char* target,
                     uint16_t target_port) {
    PortForward forward{.protocol = protocol,
                        .host_address = std::nullopt,
                        .host_port = host_port,
                        .target = Ip(target),
                        .target_port = target_port};
    if (*host_address != '\0') forward.host_address = Ip(host_address);
    return {.rule = forward, .tag = "netprov:test"};
  }

  static NatElement Masquerading(const char* source, int ifindex) {
    return {.rule = Masquerade{.source = Ip(source), .ifindex = ifindex}, .tag = "netprov:test"};
  }

  static NatElement Hairpinning(const char* target, int ifindex) {
    return {.rule = Hairpin{.target = Ip(target), .ifindex = ifindex}, .tag = "netprov:test"};
  }

  void Add(const std::vector<NatElement>& elements) {
    Result<void, TransactionError> added = table_->AddElements(elements);
    EXPECT_TRUE(added.ok()) << added.error().error.ToString();
  }

  void Delete(const std::vector<NatElement>& elements) {
    Result<void, TransactionError> deleted = table_->DeleteElements(elements);
    EXPECT_TRUE(deleted.ok()) << deleted.error().error.ToString();
  }

  UniqueFd router_, client_, a_, b_, c_;
  std::unique_ptr<Session> netfilter_;
  std::optional<NatTable> table_;
  int bridge_ = 0;
  int c0_ = 0;
};

TEST_F(NatTrafficTest, APortIsForwardedFromWhenItIsAddedUntilItIsDeleted) {
  for (const TransportProtocol protocol : {kTcp, kUdp}) {
    for (const char* host_address : {"192.0.2.1", ""}) {
      const std::vector<NatElement> elements = {Forward(protocol, host_address, 8000, "10.0.0.2", 80)};
      const End a = {a_, "10.0.0.2", 80};
      EXPECT_THAT(Talk(protocol, client_, "192.0.2.1", 8000, a, kImpatience), HasSubstr(": E"));
      Add(elements);
      EXPECT_THAT(Talk(protocol, client_, "192.0.2.1", 8000, a), Eq("192.0.2.2"));
      // The other protocol and the next port are not.
      EXPECT_THAT(Talk(protocol == kTcp ? kUdp : kTcp, client_, "192.0.2.1", 8000, a, kImpatience), HasSubstr(": E"));
      EXPECT_THAT(Talk(protocol, client_, "192.0.2.1", 8001, a, kImpatience), HasSubstr(": E"));
      Delete(elements);
      EXPECT_THAT(Talk(protocol, client_, "192.0.2.1", 8000, a, kImpatience), HasSubstr(": E"));
    }
  }
}

TEST_F(NatTrafficTest, AHostAddressComesBeforeAllAddresses) {
  Add({Forward(kTcp, "", 8000, "10.0.0.2", 80), Forward(kTcp, "192.0.2.1", 8000, "10.0.0.3", 80)});
  EXPECT_THAT(Talk(kTcp, client_, "192.0.2.1", 8000, {b_, "10.0.0.3", 80}), Eq("192.0.2.2"));
  // Another of the host's addresses.
  EXPECT_THAT(Talk(kTcp, c_, "10.0.1.1", 8000, {a_, "10.0.0.2", 80}), Eq("10.0.1.2"));
}

TEST_F(NatTrafficTest, WhatIsNotForTheHostIsNotForwarded) {
  Add({Forward(kTcp, "", 80, "10.0.0.2", 80)});
  Quietly(In(client_, "ip route add 10.0.1.0/24 via 192.0.2.1"));
  EXPECT_THAT(Talk(kTcp, client_, "10.0.1.2", 80, {c_, "10.0.1.2", 80}), Eq("192.0.2.2"));
}

TEST_F(NatTrafficTest, ARangeOfPorts) {
  std::optional<std::vector<PortForward>> range = ForwardPortRange({.protocol = kTcp,
                                                                    .host_address = std::nullopt,
                                                                    .host_port = 8000,
                                                                    .target = Ip("10.0.0.2"),
                                                                    .target_port = 9000},
                                                                   3);
  ASSERT_TRUE(range.has_value());
  std::vector<NatElement> elements;
  for (const PortForward& forward : *range) elements.push_back({.rule = forward, .tag = {}});
  Add(elements);
  for (const uint16_t i : {0, 1, 2}) {
    const End a = {a_, "10.0.0.2", static_cast<uint16_t>(9000 + i)};
    EXPECT_THAT(Talk(kTcp, client_, "192.0.2.1", 8000 + i, a), Eq("192.0.2.2"));
  }
  EXPECT_THAT(Talk(kTcp, client_, "192.0.2.1", 8003, {a_, "10.0.0.2", 9003}), Eq("connect: ECONNREFUSED"));
}

TEST_F(NatTrafficTest, Ipv6) {
  SetBridgeCalls(false);
  Add({Forward(kTcp, "2001:db8::1", 8000, "fd00::2", 80), Forward(kUdp, "", 8000, "fd00::3", 80),
       Masquerading("fd00::2", bridge_), Hairpinning("fd00::3", bridge_)});
  EXPECT_THAT(Talk(kTcp, client_, "2001:db8::1", 8000, {a_, "fd00::2", 80}), Eq("2001:db8::2"));
  EXPECT_THAT(Talk(kUdp, client_, "2001:db8::1", 8000, {b_, "fd00::3", 80}), Eq("2001:db8::2"));
  EXPECT_THAT(Talk(kTcp, a_, "2001:db8::2", 7000, {client_, "2001:db8::2", 7000}), Eq("2001:db8::1"));
  EXPECT_THAT(Talk(kUdp, a_, "fd00::1", 8000, {b_, "fd00::3", 80}), Eq("fd00::1"));
  EXPECT_THAT(Talk(kUdp, router_, "2001:db8::1", 8000, {b_, "fd00::3", 80}), Eq("2001:db8::1"));
}

TEST_F(NatTrafficTest, AnEndpointThatIsMasqueradedHasTheHostsAddressOutside) {
  const End outside = {client_, "192.0.2.2", 7000};
  EXPECT_THAT(Talk(kTcp, a_, "192.0.2.2", 7000, outside, kImpatience), Eq("connect: EINPROGRESS"));
  Add({Masquerading("10.0.0.2", bridge_), Masquerading("10.0.1.2", c0_)});
  for (const TransportProtocol protocol : {kTcp, kUdp}) {
    EXPECT_THAT(Talk(protocol, a_, "192.0.2.2", 7000, outside), Eq("192.0.2.1"));
    EXPECT_THAT(Talk(protocol, c_, "192.0.2.2", 7000, outside), Eq("192.0.2.1"));
  }
  EXPECT_THAT(Talk(kTcp, b_, "192.0.2.2", 7000, outside, kImpatience), Eq("connect: EINPROGRESS"));
}

TEST_F(NatTrafficTest, EndpointsSeeEachOtherAsTheyAre) {
  Add({Masquerading("10.0.0.2", bridge_), Masquerading("10.0.0.3", bridge_), Masquerading("10.0.1.2", c0_)});
  EXPECT_THAT(Talk(kTcp, a_, "10.0.0.3", 80, {b_, "10.0.0.3", 80}), Eq("10.0.0.2"));
  EXPECT_THAT(Talk(kTcp, a_, "10.0.1.2", 80, {c_, "10.0.1.2", 80}), Eq("10.0.0.2"));
  EXPECT_THAT(Talk(kTcp, c_, "10.0.0.2", 80, {a_, "10.0.0.2", 80}), Eq("10.0.1.2"));
  // The host too.
  EXPECT_THAT(Talk(kTcp, a_, "192.0.2.1", 22, {router_, "192.0.2.1", 22}), Eq("10.0.0.2"));
  // One that is not masqueraded may know no way back.
  Delete({Masquerading("10.0.1.2", c0_)});
  EXPECT_THAT(Talk(kTcp, a_, "10.0.1.2", 80, {c_, "10.0.1.2", 80}), Eq("10.0.1.1"));
}

// Bridges call the chains by default, where the kernel has that at all.
TEST_F(NatTrafficTest, AnEndpointReachesAForwardedPortOfItsOwnLink) {
  SetBridgeCalls(false);
  Add({Forward(kTcp, "", 8000, "10.0.0.3", 80), Forward(kUdp, "", 8000, "10.0.0.3", 80)});
  const End b = {b_, "10.0.0.3", 80};
  // Without it, the answer comes from where nobody asked.
  EXPECT_THAT(Talk(kTcp, a_, "192.0.2.1", 8000, b, kImpatience), Eq("connect: EINPROGRESS"));
  Add({Hairpinning("10.0.0.3", bridge_)});
  for (const TransportProtocol protocol : {kTcp, kUdp}) {
    for (const char* host_address : {"192.0.2.1", "10.0.0.1"}) {
      // Its neighbour, itself, and one of another link, which needs no help.
      EXPECT_THAT(Talk(protocol, a_, host_address, 8000, b), Eq("10.0.0.1"));
      EXPECT_THAT(Talk(protocol, b_, host_address, 8000, b), Eq("10.0.0.1"));
      EXPECT_THAT(Talk(protocol, c_, host_address, 8000, b), Eq("10.0.1.2"));
    }
  }
  EXPECT_THAT(Talk(kTcp, client_, "192.0.2.1", 8000, b), Eq("192.0.2.2"));
  // On the link neighbours see each other as they are.
  EXPECT_THAT(Talk(kTcp, a_, "10.0.0.3", 80, b), Eq("10.0.0.2"));
}

TEST_F(NatTrafficTest, AnEndpointReachesAForwardedPortOfItsOwnLinkWhereBridgesCallTheChains) {
  if (!SetBridgeCalls(true)) GTEST_SKIP() << "the kernel has no br_netfilter";
  Quietly("bridge link set dev b0 hairpin on");
  Add({Forward(kTcp, "", 8000, "10.0.0.3", 80), Forward(kUdp, "", 8000, "10.0.0.3", 80),
       Forward(kTcp, "", 8000, "fd00::3", 80), Hairpinning("10.0.0.3", bridge_), Hairpinning("fd00::3", bridge_),
       Masquerading("10.0.0.2", bridge_), Masquerading("10.0.0.3", bridge_)});
  const End b = {b_, "10.0.0.3", 80};
  for (const TransportProtocol protocol : {kTcp, kUdp}) {
    EXPECT_THAT(Talk(protocol, a_, "192.0.2.1", 8000, b), Eq("10.0.0.2"));
    EXPECT_THAT(Talk(protocol, b_, "192.0.2.1", 8000, b), Eq("10.0.0.1"));
    EXPECT_THAT(Talk(protocol, c_, "192.0.2.1", 8000, b), Eq("10.0.1.2"));
  }
  EXPECT_THAT(Talk(kTcp, b_, "2001:db8::1", 8000, {b_, "fd00::3", 80}), Eq("fd00::1"));
  EXPECT_THAT(Talk(kTcp, a_, "10.0.0.3", 80, b), Eq("10.0.0.2"));
}

TEST_F(NatTrafficTest, AnEndpointOnItsOwnLinkReachesItself) {
  Add({Forward(kTcp, "", 8000, "10.0.1.2", 80), Hairpinning("10.0.1.2", c0_), Masquerading("10.0.1.2", c0_)});
  EXPECT_THAT(Talk(kTcp, c_, "192.0.2.1", 8000, {c_, "10.0.1.2", 80}), Eq("10.0.1.1"));
}

TEST_F(NatTrafficTest, TheHostReachesAForwardedPortButByLoopback) {
  Add({Forward(kTcp, "", 8000, "10.0.0.2", 80), Forward(kUdp, "192.0.2.1", 8000, "10.0.0.2", 80),
       Forward(kTcp, "", 8000, "fd00::2", 80)});
  EXPECT_THAT(Talk(kTcp, router_, "192.0.2.1", 8000, {a_, "10.0.0.2", 80}), Eq("192.0.2.1"));
  EXPECT_THAT(Talk(kUdp, router_, "192.0.2.1", 8000, {a_, "10.0.0.2", 80}), Eq("192.0.2.1"));
  // What listens on the loopback addresses keeps its port.
  EXPECT_THAT(Talk(kTcp, router_, "127.0.0.1", 8000, {router_, "127.0.0.1", 8000}), Eq("127.0.0.1"));
  EXPECT_THAT(Talk(kTcp, router_, "::1", 8000, {router_, "::1", 8000}), Eq("::1"));
}

}  // namespace
}  // namespace netprov::netlink
