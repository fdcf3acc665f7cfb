#include "server/netlink/neighbour.h"

#include <cerrno>
#include <cstddef>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/netlink/scripted_transport.h"

namespace netprov::netlink {
namespace {

using ::testing::Eq;
using ::testing::StartsWith;

// Golden bytes in these tests are those of a little-endian host, as netlink has the host's byte order.
void ExpectMessage(const Request& request, std::string_view operation, std::string_view golden) {
  EXPECT_THAT(request.error, Eq(0));
  EXPECT_THAT(request.operation, Eq(operation));
  EXPECT_THAT(ToHex(request.message), Eq(ToHex(FromHex(golden))));
}

IpAddress Ip(std::string_view text) { return *IpAddress::Parse(text); }

constexpr MacAddress kMac = {{2, 0, 0, 0, 0, 9}};

TEST(EncodeNeighbourTest, AddsReplacesAndDeletes) {
  const Neighbour ipv4 = {.ifindex = 3, .address = Ip("192.0.2.1"), .mac = kMac, .protocol = 110};
  ExpectMessage(EncodeNewNeighbour(ipv4), "RTM_NEWNEIGH 192.0.2.1 ifindex 3", R"(
    38 00 00 00  1c 00 05 06  # 56 bytes, RTM_NEWNEIGH, NLM_F_REQUEST|NLM_F_ACK|NLM_F_EXCL|NLM_F_CREATE
    00 00 00 00  00 00 00 00  # sequence, port
    02 00 00 00  03 00 00 00  # ndmsg: AF_INET, ndm_ifindex 3
    80 00 00 00               #   NUD_PERMANENT
    08 00 01 00  c0 00 02 01  # NDA_DST
    0a 00 02 00  02 00 00 00  00 09 00 00  # NDA_LLADDR
    05 00 0c 00  6e 00 00 00  # NDA_PROTOCOL 110
  )");
  const Neighbour ipv6 = {
      .ifindex = 3, .address = Ip("2001:db8::1"), .mac = kMac, .state = 0x04, .flags = 0x80, .protocol = 0};
  ExpectMessage(EncodeReplaceNeighbour(ipv6), "RTM_NEWNEIGH 2001:db8::1 ifindex 3", R"(
    3c 00 00 00  1c 00 05 05  # 60 bytes, RTM_NEWNEIGH, NLM_F_REQUEST|NLM_F_ACK|NLM_F_REPLACE|NLM_F_CREATE
    00 00 00 00  00 00 00 00
    0a 00 00 00  03 00 00 00  # ndmsg: AF_INET6, ndm_ifindex 3
    04 00 80 00               #   NUD_STALE, NTF_ROUTER
    14 00 01 00  20 01 0d b8  00 00 00 00  00 00 00 00  00 00 00 01  # NDA_DST
    0a 00 02 00  02 00 00 00  00 09 00 00  # NDA_LLADDR
  )");
  const Neighbour proxy = {.ifindex = 3, .address = Ip("192.0.2.2"), .state = 0, .flags = 0x08};
  ExpectMessage(EncodeDeleteNeighbour(proxy), "RTM_DELNEIGH 192.0.2.2 ifindex 3", R"(
    24 00 00 00  1d 00 05 00  # 36 bytes, RTM_DELNEIGH, NLM_F_REQUEST|NLM_F_ACK
    00 00 00 00  00 00 00 00
    02 00 00 00  03 00 00 00  # ndmsg: AF_INET, ndm_ifindex 3
    00 00 08 00               #   NUD_NONE, NTF_PROXY
    08 00 01 00  c0 00 02 02  # NDA_DST
  )");
  EXPECT_THAT(EncodeNewNeighbour({.ifindex = 0, .address = Ip("::1"), .mac = kMac}).error, Eq(EINVAL));
  EXPECT_THAT(EncodeDeleteNeighbour({.ifindex = -1, .address = Ip("::1")}).error, Eq(EINVAL));
  // Without a hardware address: to delete, or where the state does not claim it.
  EXPECT_THAT(EncodeNewNeighbour({.ifindex = 1, .address = Ip("::1")}).error, Eq(EINVAL));
  EXPECT_THAT(EncodeReplaceNeighbour({.ifindex = 1, .address = Ip("::1"), .state = 0x04}).error, Eq(EINVAL));
  EXPECT_THAT(EncodeNewNeighbour({.ifindex = 1, .address = Ip("::1"), .state = 0}).error, Eq(0));
  EXPECT_THAT(EncodeDeleteNeighbour({.ifindex = 1, .address = Ip("::1")}).error, Eq(0));
}

TEST(EncodeDumpNeighboursTest, OfAllOrOfSome) {
  ExpectMessage(EncodeDumpNeighbours(), "RTM_GETNEIGH dump", R"(
    1c 00 00 00  1e 00 01 03  # 28 bytes, RTM_GETNEIGH, NLM_F_REQUEST|NLM_F_DUMP
    00 00 00 00  00 00 00 00
    00 00 00 00  00 00 00 00  00 00 00 00  # ndmsg: AF_UNSPEC
  )");
  ExpectMessage(EncodeDumpNeighbours({.family = IpFamily::kIpv6, .ifindex = 3, .master = 4}), "RTM_GETNEIGH dump", R"(
    2c 00 00 00  1e 00 01 03  # 44 bytes, RTM_GETNEIGH, NLM_F_REQUEST|NLM_F_DUMP
    00 00 00 00  00 00 00 00
    0a 00 00 00  00 00 00 00  00 00 00 00  # ndmsg: AF_INET6
    08 00 08 00  03 00 00 00  # NDA_IFINDEX 3
    08 00 09 00  04 00 00 00  # NDA_MASTER 4
  )");
  ExpectMessage(EncodeDumpProxies(IpFamily::kIpv4), "RTM_GETNEIGH dump of proxies", R"(
    1c 00 00 00  1e 00 01 03  # 28 bytes, RTM_GETNEIGH, NLM_F_REQUEST|NLM_F_DUMP
    00 00 00 00  00 00 00 00
    02 00 00 00  00 00 00 00  00 00 08 00  # ndmsg: AF_INET, NTF_PROXY
  )");
  EXPECT_THAT(EncodeDumpNeighbours({.ifindex = 0}).error, Eq(EINVAL));
  EXPECT_THAT(EncodeDumpNeighbours({.master = 0}).error, Eq(EINVAL));
}

constexpr std::string_view kNeighbourReply = R"(
    02 00 00 00  03 00 00 00  # ndmsg: AF_INET, ndm_ifindex 3
    80 00 00 01               #   NUD_PERMANENT, RTN_UNICAST
    08 00 01 00  c0 00 02 01  # NDA_DST
    0a 00 02 00  02 00 00 00  00 09 00 00  # NDA_LLADDR
    08 00 04 00  00 00 00 00  # NDA_PROBES, skipped
    05 00 0c 00  6e 00 00 00  # NDA_PROTOCOL 110
)";

TEST(DecodeNeighbourTest, ReadsIpv4AndIpv6) {
  KernelResult<Neighbour> ipv4 = DecodeNeighbour(FromHex(kNeighbourReply));
  ASSERT_TRUE(ipv4.ok()) << ipv4.error().ToString();
  EXPECT_THAT(*ipv4, Eq(Neighbour{.ifindex = 3, .address = Ip("192.0.2.1"), .mac = kMac, .protocol = 110}));

  KernelResult<Neighbour> ipv6 = DecodeNeighbour(FromHex(R"(
    0a 00 00 00  03 00 00 00  # ndmsg: AF_INET6, ndm_ifindex 3
    20 00 80 01               #   NUD_FAILED, NTF_ROUTER
    14 00 01 00  20 01 0d b8  00 00 00 00  00 00 00 00  00 00 00 01  # NDA_DST
    08 00 02 00  0a 00 00 01  # NDA_LLADDR of four octets, as of a tunnel
  )"));
  ASSERT_TRUE(ipv6.ok()) << ipv6.error().ToString();
  EXPECT_THAT(*ipv6, Eq(Neighbour{.ifindex = 3, .address = Ip("2001:db8::1"), .state = 0x20, .flags = 0x80}));
}

TEST(DecodeNeighbourTest, RefusesEveryTruncationWithinAnAttribute) {
  // The sizes that end with an attribute, from the address on, with or without its padding.
  const std::set<size_t> whole = {20, 30, 31, 32, 40, 45, 46, 47, 48};
  std::vector<std::byte> reply = FromHex(kNeighbourReply);
  for (size_t size = 0; size < reply.size(); ++size) {
    KernelResult<Neighbour> neighbour = DecodeNeighbour(std::span(reply).first(size));
    EXPECT_THAT(neighbour.ok(), Eq(whole.count(size) == 1)) << size;
    EXPECT_TRUE(neighbour.ok() || neighbour.error().code == EBADMSG) << size;
  }
}

TEST(DecodeNeighbourTest, RefusesWrongLengthsAndMissingParts) {
  const std::string header = "02 00 00 00  03 00 00 00  80 00 00 01 ";
  const std::string address = "08 00 01 00  0a 00 00 01 ";
  for (const std::string& hex : {
           header,                                              // No address.
           "02 00 00 00  00 00 00 00  80 00 00 01 " + address,  // No ifindex.
           "02 00 00 00  ff ff ff ff  80 00 00 01 " + address,  // A negative one.
           "0a 00 00 00  03 00 00 00  80 00 00 01 " + address,  // An IPv4 address for AF_INET6.
           header + "07 00 01 00  0a 00 00 00",                 // An address of three octets.
           header + address + "08 00 0c 00  6e 00 00 00",       // A protocol of four.
           header + address + "03 00 0c 00",                    // Shorter than a header.
       }) {
    KernelResult<Neighbour> neighbour = DecodeNeighbour(FromHex(hex));
    ASSERT_FALSE(neighbour.ok()) << hex;
    EXPECT_THAT(neighbour.error().code, Eq(EBADMSG)) << hex;
    EXPECT_THAT(neighbour.error().operation, StartsWith("RTM_NEWNEIGH reply: ")) << hex;
  }
  EXPECT_THAT(DecodeNeighbour(FromHex("07 00 00 00  03 00 00 00  80 00 00 01")).error().code, Eq(EAFNOSUPPORT));
}

TEST(EncodeFdbEntryTest, OfABridge) {
  const FdbEntry entry = {.ifindex = 3, .mac = kMac, .flags = 0x04, .state = 0x40, .vlan = 10};
  ExpectMessage(EncodeNewFdbEntry(entry), "RTM_NEWNEIGH 02:00:00:00:00:09 ifindex 3", R"(
    30 00 00 00  1c 00 05 06  # 48 bytes, RTM_NEWNEIGH, NLM_F_REQUEST|NLM_F_ACK|NLM_F_EXCL|NLM_F_CREATE
    00 00 00 00  00 00 00 00
    07 00 00 00  03 00 00 00  40 00 04 00  # ndmsg: AF_BRIDGE, ndm_ifindex 3, NUD_NOARP, NTF_MASTER
    0a 00 02 00  02 00 00 00  00 09 00 00  # NDA_LLADDR
    06 00 05 00  0a 00 00 00  # NDA_VLAN 10
  )");
  ExpectMessage(EncodeDeleteFdbEntry({.ifindex = 3, .mac = kMac, .flags = 0x04}),
                "RTM_DELNEIGH 02:00:00:00:00:09 ifindex 3", R"(
    28 00 00 00  1d 00 05 00  # 40 bytes, RTM_DELNEIGH, NLM_F_REQUEST|NLM_F_ACK
    00 00 00 00  00 00 00 00
    07 00 00 00  03 00 00 00  80 00 04 00  # ndmsg: AF_BRIDGE, ndm_ifindex 3, NUD_PERMANENT, NTF_MASTER
    0a 00 02 00  02 00 00 00  00 09 00 00  # NDA_LLADDR
  )");
}

TEST(EncodeFdbEntryTest, OfAVxlan) {
  const FdbEntry entry = {.ifindex = 3,
                          .mac = MacAddress{},
                          .flags = 0x02,
                          .destination = Ip("192.0.2.1"),
                          .port = 4789,
                          .vni = 0x123456,
                          .lower = 4};
  constexpr std::string_view kRest = R"(
    07 00 00 00  03 00 00 00  80 00 02 00  # ndmsg: AF_BRIDGE, ndm_ifindex 3, NUD_PERMANENT, NTF_SELF
    0a 00 02 00  00 00 00 00  00 00 00 00  # NDA_LLADDR: any
    08 00 01 00  c0 00 02 01  # NDA_DST
    06 00 06 00  12 b5 00 00  # NDA_PORT 4789, in network order
    08 00 07 00  56 34 12 00  # NDA_VNI
    08 00 08 00  04 00 00 00  # NDA_IFINDEX 4
  )";
  const std::string appended =
      "48 00 00 00  1c 00 05 0c  00 00 00 00  00 00 00 00 "  // NLM_F_REQUEST|NLM_F_ACK|NLM_F_CREATE|NLM_F_APPEND
      + std::string(kRest);
  const std::string replaced =
      "48 00 00 00  1c 00 05 05  00 00 00 00  00 00 00 00 "  // NLM_F_REQUEST|NLM_F_ACK|NLM_F_REPLACE|NLM_F_CREATE
      + std::string(kRest);
  ExpectMessage(EncodeAppendFdbEntry(entry), "RTM_NEWNEIGH 00:00:00:00:00:00 ifindex 3", appended);
  ExpectMessage(EncodeReplaceFdbEntry(entry), "RTM_NEWNEIGH 00:00:00:00:00:00 ifindex 3", replaced);
}

TEST(EncodeFdbEntryTest, RefusesIndexesThatAreNone) {
  EXPECT_THAT(EncodeNewFdbEntry({.ifindex = 0, .mac = kMac, .flags = 0x02}).error, Eq(EINVAL));
  EXPECT_THAT(EncodeNewFdbEntry({.ifindex = 1, .mac = kMac, .flags = 0x02, .lower = 0}).error, Eq(EINVAL));
  EXPECT_THAT(EncodeDumpFdb(0).error, Eq(EINVAL));
  EXPECT_THAT(EncodeDumpFdb(std::nullopt, -1).error, Eq(EINVAL));
}

TEST(EncodeFdbEntryTest, IsForOneTable) {
  EXPECT_THAT(EncodeNewFdbEntry({.ifindex = 1, .mac = kMac, .flags = 0x40}).error, Eq(EINVAL));
  EXPECT_THAT(EncodeDeleteFdbEntry({.ifindex = 1, .mac = kMac, .flags = 0x06}).error, Eq(EINVAL));
}

TEST(EncodeDumpFdbTest, OfAllOrOfOneLinkOrBridge) {
  ExpectMessage(EncodeDumpFdb(), "RTM_GETNEIGH dump of forwarding databases", R"(
    1c 00 00 00  1e 00 01 03  # 28 bytes, RTM_GETNEIGH, NLM_F_REQUEST|NLM_F_DUMP
    00 00 00 00  00 00 00 00
    07 00 00 00  00 00 00 00  00 00 00 00  # ndmsg: AF_BRIDGE
  )");
  ExpectMessage(EncodeDumpFdb(3, 4), "RTM_GETNEIGH dump of forwarding databases", R"(
    2c 00 00 00  1e 00 01 03  # 44 bytes, RTM_GETNEIGH, NLM_F_REQUEST|NLM_F_DUMP
    00 00 00 00  00 00 00 00
    07 00 00 00  00 00 00 00  00 00 00 00  # ndmsg: AF_BRIDGE
    08 00 08 00  03 00 00 00  # NDA_IFINDEX 3
    08 00 09 00  04 00 00 00  # NDA_MASTER 4
  )");
}

constexpr std::string_view kFdbReply = R"(
    07 00 00 00  03 00 00 00  # ndmsg: AF_BRIDGE, ndm_ifindex 3
    80 00 02 00               #   NUD_PERMANENT, NTF_SELF
    0a 00 02 00  02 00 00 00  00 09 00 00  # NDA_LLADDR
    14 00 01 00  20 01 0d b8  00 00 00 00  00 00 00 00  00 00 00 01  # NDA_DST
    06 00 06 00  12 b5 00 00  # NDA_PORT 4789
    08 00 07 00  2a 00 00 00  # NDA_VNI 42
    08 00 08 00  04 00 00 00  # NDA_IFINDEX 4
    08 00 09 00  05 00 00 00  # NDA_MASTER 5
    06 00 05 00  0a 00 00 00  # NDA_VLAN 10
    14 00 03 00  00 00 00 00  00 00 00 00  00 00 00 00  00 00 00 00  # NDA_CACHEINFO, skipped
)";

TEST(DecodeFdbEntryTest, ReadsAnEntry) {
  KernelResult<FdbEntry> entry = DecodeFdbEntry(FromHex(kFdbReply));
  ASSERT_TRUE(entry.ok()) << entry.error().ToString();
  EXPECT_THAT(*entry, Eq(FdbEntry{.ifindex = 3,
                                  .mac = kMac,
                                  .flags = 0x02,
                                  .vlan = 10,
                                  .destination = Ip("2001:db8::1"),
                                  .port = 4789,
                                  .vni = 42,
                                  .lower = 4,
                                  .master = 5}));
}

TEST(DecodeFdbEntryTest, KnowsWhoseTableItIs) {
  auto decode = [](const std::string& flags, const std::string& rest) {
    return DecodeFdbEntry(
        FromHex("07 00 00 00  03 00 00 00  80 00 " + flags + " 00  0a 00 02 00  02 00 00 00  00 09 00 00 " + rest));
  };
  EXPECT_THAT(decode("40", "08 00 09 00  05 00 00 00")->flags, Eq(0x44));  // A port's, of a bridge.
  EXPECT_THAT(decode("00", "08 00 09 00  03 00 00 00")->flags, Eq(0x02));  // The bridge's own.
  EXPECT_THAT(decode("00", "")->flags, Eq(0x02));                          // Of no bridge.
  EXPECT_THAT(decode("02", "08 00 09 00  05 00 00 00")->flags, Eq(0x02));  // A port's own.
  EXPECT_THAT(decode("06", "").error().code, Eq(EBADMSG));
}

TEST(DecodeFdbEntryTest, RefusesEveryTruncationWithinAnAttribute) {
  // The sizes that end with an attribute, from the first one on, with or without its padding.
  const std::set<size_t> whole = {22, 23, 24, 44, 50, 51, 52, 60, 68, 76, 82, 83, 84};
  std::vector<std::byte> reply = FromHex(kFdbReply);
  for (size_t size = 0; size < reply.size(); ++size) {
    KernelResult<FdbEntry> entry = DecodeFdbEntry(std::span(reply).first(size));
    EXPECT_THAT(entry.ok(), Eq(whole.count(size) == 1)) << size;
    EXPECT_TRUE(entry.ok() || entry.error().code == EBADMSG) << size;
  }
}

TEST(DecodeFdbEntryTest, RefusesWrongLengthsAndMissingParts) {
  const std::string header = "07 00 00 00  03 00 00 00  80 00 02 00 ";
  const std::string mac = "0a 00 02 00  02 00 00 00  00 09 00 00 ";
  for (const std::string& hex : {
           header,                                          // No hardware address.
           header + "08 00 02 00  0a 00 00 01",             // One of four octets.
           "07 00 00 00  00 00 00 00  80 00 02 00 " + mac,  // No ifindex.
           header + mac + "05 00 01 00  0a 00 00 00",       // A destination of one octet.
           header + mac + "08 00 06 00  12 b5 00 00",       // A port of four bytes.
           header + mac + "06 00 07 00  2a 00 00 00",       // A network identifier of two.
           header + mac + "08 00 05 00  0a 00 00 00",       // A VLAN of four.
           header + mac + "08 00 08 00  00 00 00 00",       // A lower link that is none.
           header + mac + "06 00 09 00  05 00 00 00",       // A master of two bytes.
       }) {
    KernelResult<FdbEntry> entry = DecodeFdbEntry(FromHex(hex));
    ASSERT_FALSE(entry.ok()) << hex;
    EXPECT_THAT(entry.error().code, Eq(EBADMSG)) << hex;
    EXPECT_THAT(entry.error().operation, StartsWith("RTM_NEWNEIGH reply: ")) << hex;
  }
  EXPECT_THAT(DecodeFdbEntry(FromHex("02 00 00 00  03 00 00 00  80 00 02 00")).error().code, Eq(EAFNOSUPPORT));
}

}  // namespace
}  // namespace netprov::netlink
