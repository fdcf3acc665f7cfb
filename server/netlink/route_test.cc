#include "server/netlink/route.h"

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

// With every field set.
Route FullRoute() {
  return {.destination = {Ip("10.1.0.0"), 16},
          .gateway = Ip("192.0.2.2"),
          .ifindex = 3,
          .metric = 100,
          .table = 1000,
          .scope = 0,
          .type = 1,
          .protocol = 110,
          .preferred_source = Ip("192.0.2.1"),
          .onlink = true,
          .mtu = 1400};
}

TEST(EncodeNewRouteTest, SaysEverything) {
  ExpectMessage(EncodeNewRoute(FullRoute()), "RTM_NEWROUTE 10.1.0.0/16", R"(
    58 00 00 00  18 00 05 06  # 88 bytes, RTM_NEWROUTE, NLM_F_REQUEST|NLM_F_ACK|NLM_F_EXCL|NLM_F_CREATE
    00 00 00 00  00 00 00 00  # sequence, port
    02 10 00 00               # rtmsg: AF_INET, /16, no source prefix, no TOS
    00 6e 00 01               #   table elsewhere, protocol 110, RT_SCOPE_UNIVERSE, RTN_UNICAST
    04 00 00 00               #   RTNH_F_ONLINK
    08 00 01 00  0a 01 00 00  # RTA_DST
    08 00 05 00  c0 00 02 02  # RTA_GATEWAY
    08 00 04 00  03 00 00 00  # RTA_OIF 3
    08 00 06 00  64 00 00 00  # RTA_PRIORITY 100
    08 00 0f 00  e8 03 00 00  # RTA_TABLE 1000
    08 00 07 00  c0 00 02 01  # RTA_PREFSRC
    0c 00 08 80               # RTA_METRICS, nested, 12 bytes
    08 00 02 00  78 05 00 00  #   RTAX_MTU 1400
  )");
}

TEST(EncodeNewRouteTest, Ipv4DefaultThroughAGateway) {
  ExpectMessage(EncodeNewRoute({.destination = {}, .gateway = Ip("10.0.0.1")}), "RTM_NEWROUTE 0.0.0.0/0", R"(
    24 00 00 00  18 00 05 06  # 36 bytes, RTM_NEWROUTE, NLM_F_REQUEST|NLM_F_ACK|NLM_F_EXCL|NLM_F_CREATE
    00 00 00 00  00 00 00 00
    02 00 00 00  fe 04 00 01  00 00 00 00  # rtmsg: AF_INET, /0, main table, RTPROT_STATIC, RTN_UNICAST
    08 00 05 00  0a 00 00 01  # RTA_GATEWAY
  )");
}

TEST(EncodeNewRouteTest, Ipv6OntoALink) {
  ExpectMessage(EncodeNewRoute({.destination = {Ip("2001:db8::"), 32}, .ifindex = 3, .scope = 253}),
                "RTM_NEWROUTE 2001:db8::/32", R"(
    38 00 00 00  18 00 05 06  # 56 bytes, RTM_NEWROUTE, NLM_F_REQUEST|NLM_F_ACK|NLM_F_EXCL|NLM_F_CREATE
    00 00 00 00  00 00 00 00
    0a 20 00 00  fe 04 fd 01  00 00 00 00  # rtmsg: AF_INET6, /32, main table, RTPROT_STATIC, RT_SCOPE_LINK, RTN_UNICAST
    14 00 01 00  20 01 0d b8  00 00 00 00  00 00 00 00  00 00 00 00  # RTA_DST
    08 00 04 00  03 00 00 00  # RTA_OIF 3
  )");
}

TEST(EncodeDeleteRouteTest, NamesWhatIsSet) {
  ExpectMessage(EncodeDeleteRoute({.destination = {Ip("10.1.0.0"), 16}, .ifindex = 3}), "RTM_DELROUTE 10.1.0.0/16", R"(
    2c 00 00 00  19 00 05 00  # 44 bytes, RTM_DELROUTE, NLM_F_REQUEST|NLM_F_ACK
    00 00 00 00  00 00 00 00
    02 10 00 00  fe 04 00 01  00 00 00 00  # rtmsg: AF_INET, /16, main table, RTPROT_STATIC, RTN_UNICAST
    08 00 01 00  0a 01 00 00  # RTA_DST
    08 00 04 00  03 00 00 00  # RTA_OIF 3
  )");
}

TEST(EncodeDumpRoutesTest, OfAllTablesOrOfOne) {
  ExpectMessage(EncodeDumpRoutes(IpFamily::kIpv4), "RTM_GETROUTE dump", R"(
    1c 00 00 00  1a 00 01 03  # 28 bytes, RTM_GETROUTE, NLM_F_REQUEST|NLM_F_DUMP
    00 00 00 00  00 00 00 00
    02 00 00 00  00 00 00 00  00 00 00 00  # rtmsg: AF_INET
  )");
  ExpectMessage(EncodeDumpRoutes(IpFamily::kIpv6, 254), "RTM_GETROUTE dump", R"(
    24 00 00 00  1a 00 01 03  # 36 bytes, RTM_GETROUTE, NLM_F_REQUEST|NLM_F_DUMP
    00 00 00 00  00 00 00 00
    0a 00 00 00  00 00 00 00  00 00 00 00  # rtmsg: AF_INET6
    08 00 0f 00  fe 00 00 00  # RTA_TABLE 254
  )");
}

TEST(EncodeDumpRulesTest, OfAFamily) {
  ExpectMessage(EncodeDumpRules(IpFamily::kIpv4), "RTM_GETRULE ipv4", R"(
    1c 00 00 00  22 00 01 03  # 28 bytes, RTM_GETRULE, NLM_F_REQUEST|NLM_F_DUMP
    00 00 00 00  00 00 00 00
    02 00 00 00  00 00 00 00  00 00 00 00  # fib_rule_hdr: AF_INET
  )");
  ExpectMessage(EncodeDumpRules(IpFamily::kIpv6), "RTM_GETRULE ipv6", R"(
    1c 00 00 00  22 00 01 03  # 28 bytes, RTM_GETRULE, NLM_F_REQUEST|NLM_F_DUMP
    00 00 00 00  00 00 00 00
    0a 00 00 00  00 00 00 00  00 00 00 00  # fib_rule_hdr: AF_INET6
  )");
}

TEST(EncodeRouteTest, RefusesContradictions) {
  for (const Route& route : {
           Route{.destination = {Ip("10.0.0.0"), 33}},
           Route{.destination = {Ip("::"), 129}},
           Route{.destination = {Ip("10.0.0.0"), 8}, .gateway = Ip("::1")},
           Route{.destination = {Ip("::"), 0}, .preferred_source = Ip("10.0.0.1")},
           Route{.destination = {Ip("10.0.0.0"), 8}, .ifindex = 0},
           Route{.destination = {Ip("10.0.0.0"), 8}, .table = 0},
       }) {
    EXPECT_THAT(EncodeNewRoute(route).error, Eq(EINVAL)) << route.destination.ToString();
    EXPECT_THAT(EncodeDeleteRoute(route).error, Eq(EINVAL)) << route.destination.ToString();
  }
}

constexpr std::string_view kFullReply = R"(
    02 10 00 00  fc 6e 00 01  04 00 00 00  # rtmsg: AF_INET, /16, RT_TABLE_COMPAT, protocol 110, RTNH_F_ONLINK
    08 00 0f 00  e8 03 00 00  # RTA_TABLE 1000
    08 00 01 00  0a 01 00 00  # RTA_DST
    08 00 06 00  64 00 00 00  # RTA_PRIORITY 100
    0c 00 08 00  08 00 02 00  78 05 00 00  # RTA_METRICS: RTAX_MTU 1400
    08 00 07 00  c0 00 02 01  # RTA_PREFSRC
    05 00 14 00  00 00 00 00  # RTA_PREF, skipped
    08 00 05 00  c0 00 02 02  # RTA_GATEWAY
    08 00 04 00  03 00 00 00  # RTA_OIF 3
)";

TEST(DecodeRouteTest, ReadsEverything) {
  KernelResult<Route> route = DecodeRoute(FromHex(kFullReply));
  ASSERT_TRUE(route.ok()) << route.error().ToString();
  EXPECT_THAT(*route, Eq(FullRoute()));
}

TEST(DecodeRouteTest, ReadsDefaultRoutesOfBothFamilies) {
  KernelResult<Route> v4 = DecodeRoute(FromHex("02 00 00 00  fe 04 00 01  00 00 00 00"));
  ASSERT_TRUE(v4.ok()) << v4.error().ToString();
  EXPECT_THAT(*v4, Eq(Route{}));
  KernelResult<Route> v6 = DecodeRoute(FromHex("0a 00 00 00  fe 04 00 01  00 00 00 00"));
  ASSERT_TRUE(v6.ok()) << v6.error().ToString();
  EXPECT_THAT(*v6, Eq(Route{.destination = {Ip("::"), 0}}));
}

// Over two next hops, one of them of the other family, and with a type of service.
constexpr char kTwoWays[] = R"(
    02 10 00 10  fe 04 00 01  00 00 00 00  # rtmsg: AF_INET, /16, TOS 0x10
    08 00 01 00  0a 01 00 00  # RTA_DST
    34 00 09 00               # RTA_MULTIPATH, 52 bytes
    10 00 00 00  03 00 00 00  #   rtnexthop: 16 bytes, weight 1, ifindex 3
    08 00 05 00  c0 00 02 02  #     RTA_GATEWAY
    20 00 04 02  04 00 00 00  #   rtnexthop: 32 bytes, RTNH_F_ONLINK, weight 3, ifindex 4
    16 00 12 00  0a 00        #     RTA_VIA, AF_INET6
    20 01 0d b8  00 00 00 00  00 00 00 00  00 00 00 02  00 00
)";

TEST(DecodeRouteTest, ReadsSeveralNextHops) {
  KernelResult<Route> route = DecodeRoute(FromHex(kTwoWays));
  ASSERT_TRUE(route.ok()) << route.error().ToString();
  EXPECT_THAT(*route,
              Eq(Route{.destination = {Ip("10.1.0.0"), 16},
                       .tos = 0x10,
                       .next_hops = {{.gateway = Ip("192.0.2.2"), .ifindex = 3},
                                     {.gateway = Ip("2001:db8::2"), .ifindex = 4, .weight = 3, .onlink = true}}}));
}

TEST(DecodeRouteTest, ReadsAGatewayOfTheOtherFamily) {
  KernelResult<Route> route = DecodeRoute(FromHex(R"(
    02 10 00 00  fe 04 00 01  00 00 00 00  08 00 01 00  0a 01 00 00
    16 00 12 00  0a 00  20 01 0d b8  00 00 00 00  00 00 00 00  00 00 00 02
  )"));
  ASSERT_TRUE(route.ok()) << route.error().ToString();
  EXPECT_THAT(*route, Eq(Route{.destination = {Ip("10.1.0.0"), 16}, .via = Ip("2001:db8::2")}));
}

TEST(EncodeNewRouteTest, RefusesWhatIsOnlyRead) {
  for (const Route& route : {Route{.tos = 4}, Route{.via = Ip("::1")}, Route{.next_hops = {{.ifindex = 1}}}}) {
    EXPECT_THAT(EncodeNewRoute(route).error, Eq(EINVAL));
    EXPECT_THAT(EncodeDeleteRoute(route).error, Eq(EINVAL));
  }
}

TEST(DecodeRouteTest, RefusesEveryTruncationWithinAnAttribute) {
  // The sizes that end with the header or an attribute, with or without its padding.
  const std::set<size_t> whole = {12, 20, 28, 36, 48, 56, 61, 62, 63, 64, 72};
  std::vector<std::byte> reply = FromHex(kFullReply);
  for (size_t size = 0; size < reply.size(); ++size) {
    KernelResult<Route> route = DecodeRoute(std::span(reply).first(size));
    EXPECT_THAT(route.ok(), Eq(whole.count(size) == 1)) << size;
    EXPECT_TRUE(route.ok() || route.error().code == EBADMSG) << size;
  }
}

TEST(DecodeRouteTest, RefusesWrongLengths) {
  const std::string header = "02 10 00 00  fe 04 00 01  00 00 00 00 ";
  for (const std::string& hex : {
           std::string("02 21 00 00  fe 04 00 01  00 00 00 00"),  // /33.
           header + "07 00 01 00  0a 01 00 00",                   // A destination of three octets.
           header + "14 00 05 00  00 00 00 00  00 00 00 00  00 00 00 00  00 00 00 01",  // An IPv6 gateway.
           header + "05 00 07 00  0a 00 00 00",                                         // A source of one octet.
           header + "08 00 04 00  00 00 00 00",                                         // A link of ifindex 0.
           header + "06 00 04 00  03 00 00 00",                                         // A link of two bytes.
           header + "06 00 06 00  03 00 00 00",                                         // A metric of two bytes.
           header + "05 00 0f 00  fe 00 00 00",                                         // A table of one byte.
           header + "0c 00 08 00  06 00 02 00  78 05 00 00",                            // An MTU of two bytes.
           header + "0c 00 08 00  09 00 02 00  78 05 00 00",                            // An MTU longer than its nest.
           header + "04 00 09 00",                                                      // No next hop.
           header + "08 00 09 00  08 00 00 00",                                         // Half a next hop.
           header + "0c 00 09 00  04 00 00 00  03 00 00 00",                            // One of four bytes.
           header + "0c 00 09 00  10 00 00 00  03 00 00 00",                            // One longer than its nest.
           header + "14 00 09 00  10 00 00 00  03 00 00 00  06 00 05 00  c0 00 00 00",  // A gateway of two octets.
           header + "09 00 12 00  02 00 c0 00  02 00 00 00",                            // A gateway of three octets.
           header + "05 00 12 00  02 00 00 00",                                         // One without an address.
       }) {
    KernelResult<Route> route = DecodeRoute(FromHex(hex));
    ASSERT_FALSE(route.ok()) << hex;
    EXPECT_THAT(route.error().code, Eq(EBADMSG)) << hex;
    EXPECT_THAT(route.error().operation, StartsWith("RTM_NEWROUTE reply: ")) << hex;
  }
  KernelResult<Route> other = DecodeRoute(FromHex("80 00 00 00  fe 04 00 01  00 00 00 00"));
  ASSERT_FALSE(other.ok());
  EXPECT_THAT(other.error().code, Eq(EAFNOSUPPORT));
}

}  // namespace
}  // namespace netprov::netlink
