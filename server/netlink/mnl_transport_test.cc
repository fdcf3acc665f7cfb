// Reads the links of the namespace it runs in, and sends datagrams from one of its own sockets to another. Changes
// nothing.
#include "server/netlink/mnl_transport.h"

#include <fcntl.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/base/unique_fd.h"
#include "server/netlink/link.h"
#include "server/netlink/session.h"

namespace netprov::netlink {
namespace {

using ::testing::Eq;
using ::testing::Ne;

std::unique_ptr<MnlTransport> OpenOrDie(std::chrono::milliseconds timeout = MnlTransport::kDefaultTimeout) {
  KernelResult<std::unique_ptr<MnlTransport>> transport = MnlTransport::Open(timeout);
  EXPECT_TRUE(transport.ok()) << transport.error().ToString();
  return std::move(transport).value();
}

int OptionOf(int fd, int level, int option) {
  int value = -1;
  socklen_t size = sizeof(value);
  EXPECT_THAT(::getsockopt(fd, level, option, &value, &size), Eq(0)) << option;
  return value;
}

TEST(MnlTransportTest, OpensWithTheOptionsItPromises) {
  std::unique_ptr<MnlTransport> transport = OpenOrDie();
  EXPECT_THAT(transport->port_id(), Ne(0u));
  EXPECT_TRUE(::fcntl(transport->fd(), F_GETFD) & FD_CLOEXEC);
  EXPECT_THAT(OptionOf(transport->fd(), SOL_NETLINK, NETLINK_EXT_ACK), Eq(1));
  EXPECT_THAT(OptionOf(transport->fd(), SOL_NETLINK, NETLINK_CAP_ACK), Eq(1));
  EXPECT_THAT(OptionOf(transport->fd(), SOL_NETLINK, NETLINK_GET_STRICT_CHK), Eq(1));
}

TEST(MnlTransportTest, RefusesATimeoutThatWouldBeForever) {
  EXPECT_THAT(MnlTransport::Open(std::chrono::milliseconds(0)).error().code, Eq(EINVAL));
  EXPECT_THAT(MnlTransport::Open(std::chrono::milliseconds(-1)).error().code, Eq(EINVAL));
}

TEST(MnlTransportTest, ReadsTheLoopbackLink) {
  Session session(OpenOrDie());
  KernelResult<std::vector<Payload>> dump = session.Dump(EncodeDumpLinks());
  ASSERT_TRUE(dump.ok()) << dump.error().ToString();
  std::string names;
  for (const Payload& payload : *dump) {
    KernelResult<Link> link = DecodeLink(payload);
    ASSERT_TRUE(link.ok()) << link.error().ToString();
    if (link->name == "lo") {
      KernelResult<Payload> by_name = session.Get(EncodeGetLink("lo"));
      ASSERT_TRUE(by_name.ok()) << by_name.error().ToString();
      EXPECT_THAT(DecodeLink(*by_name)->ifindex, Eq(link->ifindex));
      KernelResult<Payload> by_ifindex = session.Get(EncodeGetLink(link->ifindex));
      ASSERT_TRUE(by_ifindex.ok()) << by_ifindex.error().ToString();
      EXPECT_THAT(DecodeLink(*by_ifindex)->name, Eq("lo"));
      return;
    }
    names += link->name + " ";
  }
  FAIL() << "no loopback link among " << names;
}

TEST(MnlTransportTest, PassesOnTheKernelsWords) {
  Session session(OpenOrDie());
  const std::string too_long(128, 'x');
  KernelResult<Payload> reply = session.Get(EncodeGetLink(too_long));
  ASSERT_FALSE(reply.ok());
  EXPECT_THAT(reply.error().code, Eq(ERANGE));
  EXPECT_THAT(reply.error().operation, Eq("RTM_GETLINK " + too_long));
  EXPECT_FALSE(reply.error().extack.empty());
}

TEST(MnlTransportTest, TimesOut) {
  std::unique_ptr<MnlTransport> transport = OpenOrDie(std::chrono::milliseconds(1));
  EXPECT_THAT(transport->Receive().error().code, Eq(ETIMEDOUT));
}

TEST(MnlTransportTest, TellsSenderAndTruncation) {
  std::unique_ptr<MnlTransport> transport = OpenOrDie();
  UniqueFd stranger(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  ASSERT_TRUE(stranger.valid());
  sockaddr_nl own = {};
  own.nl_family = AF_NETLINK;
  ASSERT_THAT(::bind(stranger.get(), reinterpret_cast<sockaddr*>(&own), sizeof(own)), Eq(0));
  socklen_t size = sizeof(own);
  ASSERT_THAT(::getsockname(stranger.get(), reinterpret_cast<sockaddr*>(&own), &size), Eq(0));

  sockaddr_nl target = {};
  target.nl_family = AF_NETLINK;
  target.nl_pid = transport->port_id();
  auto send = [&](size_t length) {
    std::vector<char> bytes(length, 'x');
    return ::sendto(stranger.get(), bytes.data(), length, 0, reinterpret_cast<sockaddr*>(&target), sizeof(target));
  };
  if (send(5) < 0 && errno == EPERM) GTEST_SKIP() << "needs CAP_NET_ADMIN to send to a process";
  KernelResult<Datagram> received = transport->Receive();
  ASSERT_TRUE(received.ok()) << received.error().ToString();
  EXPECT_THAT(received->bytes.size(), Eq(5u));
  EXPECT_THAT(received->sender, Eq(own.nl_pid));
  EXPECT_FALSE(received->truncated);

  ASSERT_THAT(send(100'000), Eq(100'000));
  received = transport->Receive();
  ASSERT_TRUE(received.ok()) << received.error().ToString();
  EXPECT_TRUE(received->truncated);
}

}  // namespace
}  // namespace netprov::netlink
