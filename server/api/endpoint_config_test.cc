#include "server/api/endpoint_config.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"
#include "server/api/errors.h"

namespace netprov::api {
namespace {

using ::testing::HasSubstr;

v1::VethEndpoint Endpoint(const std::string& text) {
  v1::VethEndpoint endpoint;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &endpoint)) << text;
  return endpoint;
}

// What is read of `text`, written again.
std::string ReadAndWrite(const std::string& text) {
  Violations violations;
  const engine::EndpointConfig config = ToConfig("veth.endpoint_b", Endpoint(text), {}, violations);
  EXPECT_TRUE(violations.empty()) << (violations.empty() ? "" : violations.ToStatus().ToString());
  v1::VethEndpoint written;
  AddToProto(config, written);
  return written.ShortDebugString();
}

// The first violation; empty: there is none.
std::string Violation(const std::string& text, const engine::EndpointSpec& spec = {}) {
  Violations violations;
  ToConfig("b", Endpoint(text), spec, violations);
  return violations.empty() ? "" : std::string(violations.ToStatus().message());
}

TEST(EndpointConfigTest, AnAliasIsALineOfText) {
  const std::string longest(100, 'a');
  EXPECT_EQ(ReadAndWrite(R"(alias: "zum Labor \303\274ber" announce: true)"),
            R"(tx_queues: 1 rx_queues: 1 alias: "zum Labor \303\274ber" announce: true)");
  EXPECT_EQ(Violation(absl::StrCat("alias: '", longest, "'")), "");
  EXPECT_THAT(Violation(absl::StrCat("alias: '", longest, "a'")), HasSubstr("b.alias must be at most 100 bytes"));
  EXPECT_THAT(Violation(R"(alias: "a\nb")"), HasSubstr("b.alias must be"));
}

TEST(EndpointConfigTest, ABridgeIsNetprovsOrSomebodyElses) {
  EXPECT_EQ(ReadAndWrite(R"(bridge_interface: "br-lan" bridge_port { isolated: true })"),
            R"(tx_queues: 1 rx_queues: 1 bridge_port { isolated: true } bridge_interface: "br-lan")");
  EXPECT_THAT(Violation(R"(bridge: "bridges/br" bridge_interface: "br-lan")"),
              HasSubstr("b.bridge_interface must not be set beside bridge"));
  EXPECT_THAT(Violation(R"(bridge_interface: "br%d")"), HasSubstr("b.bridge_interface must be the name of a bridge"));
  EXPECT_THAT(Violation(R"(bridge_interface: "a-name-of-16-byt")"), HasSubstr("b.bridge_interface must be 1 to 15"));
  EXPECT_THAT(Violation(R"(bridge_interface: "bridges/br")"), HasSubstr("b.bridge_interface must be 1 to 15"));
  EXPECT_THAT(Violation("bridge_port {}"),
              HasSubstr("b.bridge_port must not be set without a bridge or a bridge_interface"));
}

TEST(EndpointConfigTest, NothingIsOneQueueEach) { EXPECT_EQ(ReadAndWrite(""), "tx_queues: 1 rx_queues: 1"); }

TEST(EndpointConfigTest, WhatIsLeftOutIsFilledIn) {
  EXPECT_EQ(ReadAndWrite(R"(addresses { address: "10.0.0.2/24" } addresses { address: "2001:DB8:0::2/64" }
                            gateways: "10.0.0.1"
                            routes { destination: "10.1.0.0/16" gateway: "10.0.0.1" }
                            routes { destination: "10.2.0.0/16" }
                            routes { destination: "2001:db8:1::/48" gateway: "fe80::1" }
                            routes { destination: "10.9.0.0/16" type: TYPE_BLACKHOLE }
                            neighbors { address: "10.0.0.1" mac_address: "02:00:00:00:00:0A" })"),
            R"(addresses { address: "10.0.0.2/24" scope: SCOPE_GLOBAL } )"
            R"(addresses { address: "2001:db8::2/64" )"
            R"(duplicate_detection: DUPLICATE_DETECTION_NONE } gateways: "10.0.0.1" )"
            R"(routes { destination: "10.1.0.0/16" gateway: "10.0.0.1" table: 254 scope: SCOPE_GLOBAL )"
            R"(type: TYPE_UNICAST } )"
            R"(routes { destination: "10.2.0.0/16" table: 254 scope: SCOPE_LINK type: TYPE_UNICAST } )"
            R"(routes { destination: "2001:db8:1::/48" gateway: "fe80::1" metric: 1024 table: 254 )"
            R"(type: TYPE_UNICAST } )"
            R"(routes { destination: "10.9.0.0/16" table: 254 type: TYPE_BLACKHOLE } )"
            R"(neighbors { address: "10.0.0.1" mac_address: "02:00:00:00:00:0a" } tx_queues: 1 rx_queues: 1)");
}

TEST(EndpointConfigTest, WhatIsGivenIsKept) {
  const std::string text =
      R"(addresses { address: "10.0.0.2/32" peer: "10.0.0.1" scope: SCOPE_LINK } )"
      R"(addresses { address: "2001:db8::2/64" duplicate_detection: DUPLICATE_DETECTION_WAIT } )"
      R"(gateways: "10.0.0.1" gateways: "fe80::1" )"
      R"(routes { destination: "10.1.0.0/16" gateway: "192.0.2.1" metric: 7 table: 1000 scope: SCOPE_GLOBAL )"
      R"(preferred_source: "10.0.0.2" on_link: true mtu: 1400 type: TYPE_UNICAST } )"
      R"(alternative_names: "a-name-of-more-than-fifteen-bytes" tx_queues: 2 rx_queues: 4096 promiscuous: true )"
      R"(all_multicast: true offload_limits { gso_max_size: 256 gso_max_segments: 65535 gro_max_size: 524280 )"
      R"(gso_ipv4_max_size: 65536 gro_ipv4_max_size: 1 })";
  EXPECT_EQ(ReadAndWrite(text), text);
}

TEST(EndpointConfigTest, EachViolationNamesItsFieldAndTheReason) {
  struct Case {
    const char* text;
    const char* violation;
  };
  const std::vector<Case> cases = {
      {R"(addresses { address: "10.0.0.2/33" })",
       "b.addresses[0].address must be an address with the length of its prefix"},
      {R"(addresses { address: "0.0.0.0/0" })", "b.addresses[0].address must be the address of one host"},
      {R"(addresses { address: "224.0.0.1/24" })", "b.addresses[0].address must be the address of one host"},
      {R"(addresses { address: "255.255.255.255" })", "b.addresses[0].address must be the address of one host"},
      {R"(addresses { address: "ff02::1/64" })", "b.addresses[0].address must be the address of one host"},
      {R"(addresses { address: "10.0.0.2/24" peer: "x" })", "b.addresses[0].peer must be an IP address"},
      {R"(addresses { address: "10.0.0.2/24" peer: "::1" })", "b.addresses[0].peer must be an IPv4 address"},
      {R"(addresses { address: "10.0.0.2/24" peer: "10.0.0.2" })", "b.addresses[0].peer must differ"},
      {R"(addresses { address: "10.0.0.2/24" scope: 77 })", "b.addresses[0].scope must be one of"},
      {R"(addresses { address: "fd00::2/64" scope: SCOPE_LINK })", "b.addresses[0].scope must be left out"},
      {R"(addresses { address: "10.0.0.2/24" duplicate_detection: DUPLICATE_DETECTION_WAIT })",
       "b.addresses[0].duplicate_detection must be left out"},
      {R"(addresses { address: "10.0.0.2/24" duplicate_detection: 9 })",
       "b.addresses[0].duplicate_detection must be one of"},
      {R"(addresses { address: "10.0.0.2/24" } addresses { address: "10.0.0.2/24" })",
       "b.addresses[1].address must not be there twice"},
      {R"(addresses { address: "fd00::2/64" } addresses { address: "fd00::2/48" })",
       "b.addresses[1].address must not be there twice"},
      {R"(gateways: "10.0.0.1")", "b.gateways[0] must be within the prefix"},
      {R"(gateways: "10.0.0.0/8")", "b.gateways[0] must be an IP address"},
      {R"(addresses { address: "10.0.0.2/24" } gateways: "10.0.0.2")", "b.gateways[0] must be another host's"},
      {R"(addresses { address: "10.0.0.2/24" } gateways: "10.0.0.1" gateways: "10.0.0.3")",
       "b.gateways[1] must differ from every other route"},
      {R"(gateways: "fe80::1" gateways: "fe80::2" gateways: "fe80::3")", "b.gateways must have at most 2 items"},
      {R"(routes { destination: "10.0.0.1/24" })", "b.routes[0].destination must have no bits after the prefix"},
      {R"(routes { destination: "" })", "b.routes[0].destination must be a network"},
      {R"(routes { destination: "10.0.0.0/24" gateway: "fe80::1" })", "b.routes[0].gateway must be an IPv4 address"},
      {R"(routes { destination: "10.0.0.0/24" gateway: "10.0.0.1" })", "b.routes[0].gateway must be within the prefix"},
      {R"(routes { destination: "10.0.0.0/24" on_link: true })", "b.routes[0].on_link must be left out"},
      {R"(routes { destination: "fd00::/64" scope: SCOPE_LINK })", "b.routes[0].scope must be left out"},
      {R"(routes { destination: "10.0.0.0/24" preferred_source: "10.0.0.1" })",
       "b.routes[0].preferred_source must be one of the endpoint's"},
      {R"(routes { destination: "10.0.0.0/24" mtu: 67 })", "b.routes[0].mtu must be at least 68"},
      {R"(routes { destination: "fd00::/64" mtu: 1279 })", "b.routes[0].mtu must be at least 1280"},
      {R"(routes { destination: "10.0.0.0/24" type: 77 })", "b.routes[0].type must be one of"},
      {R"(routes { destination: "10.0.0.0/24" type: TYPE_BLACKHOLE mtu: 1400 })",
       "b.routes[0] must have a destination"},
      {R"(routes { destination: "10.0.0.0/24" } routes { destination: "10.0.0.0/24" table: 254 })",
       "b.routes[1].destination must differ"},
      {R"(routes { destination: "::/0" } gateways: "fe80::1")", "b.gateways[0] must differ from every other route"},
      {R"(neighbors { address: "10.0.0.1" })", "b.neighbors[0].mac_address must be set"},
      {R"(neighbors { address: "x" mac_address: "02:00:00:00:00:01" })",
       "b.neighbors[0].address must be an IP address"},
      {R"(neighbors { address: "10.0.0.1" mac_address: "01:00:00:00:00:01" })",
       "b.neighbors[0].mac_address must be unicast"},
      {R"(neighbors { address: "10.0.0.1" mac_address: "02:00:00:00:00:01" }
          neighbors { address: "10.0.0.1" mac_address: "02:00:00:00:00:02" })",
       "b.neighbors[1].address must not be there twice"},
      {R"(alternative_names: "")", "b.alternative_names[0] must be 1 to 127"},
      {R"(alternative_names: "a%d")", "b.alternative_names[0] must be 1 to 127"},
      {R"(alternative_names: "x" alternative_names: "x")",
       "b.alternative_names[1] \"x\" is a name of the link already"},
      {R"(ingress_limit {})", "b.ingress_limit.rate must be 8000 to 1000000000000 bits a second, but is 0"},
      {R"(egress_limit { rate: 1000000000001 })", "b.egress_limit.rate must be 8000 to"},
      {R"(ingress_limit { rate: 8000 burst: 1513 })", "b.ingress_limit.burst must be 1514, a packet of the MTU"},
      {R"(ingress_limit { rate: 8000 burst: 273001 })", "to 273000 bytes at this rate, but is 273001"},
      {R"(egress_limit { rate: 8000 latency {} })", "b.egress_limit.latency must be 1ms to 10s, but is 0"},
      {R"(egress_limit { rate: 8000 latency { seconds: 10 nanos: 1000 } })", "b.egress_limit.latency must be 1ms to"},
      {R"(tx_queues: 4097)", "b.tx_queues must be 1 to 4096"},
      {R"(rx_queues: 4097)", "b.rx_queues must be 1 to 4096"},
      {R"(offload_limits { gso_max_size: 255 })", "b.offload_limits.gso_max_size must be 256 to 524280"},
      {R"(offload_limits { gro_max_size: 524281 })", "b.offload_limits.gro_max_size must be 1 to 524280"},
      {R"(offload_limits { gso_max_segments: 65536 })", "b.offload_limits.gso_max_segments must be 1 to 65535"},
  };
  for (const Case& test : cases) EXPECT_THAT(Violation(test.text), HasSubstr(test.violation)) << test.text;
}

constexpr char kBothFamilies[] = R"(addresses { address: "10.0.0.2/24" } addresses { address: "2001:db8::2/64" } )";

TEST(EndpointConfigTest, AForwardIsFilledInAndKept) {
  const std::string rest = R"(addresses { address: "10.0.0.2/24" scope: SCOPE_GLOBAL } )"
                           R"(addresses { address: "2001:db8::2/64" duplicate_detection: DUPLICATE_DETECTION_NONE } )"
                           R"(tx_queues: 1 rx_queues: 1)";
  EXPECT_EQ(ReadAndWrite(absl::StrCat(kBothFamilies, "port_forwards { host_port: 80 }")),
            rest + " port_forwards { protocol: PROTOCOL_TCP host_port: 80 host_port_last: 80 port: 80 }");
  const std::string whole =
      R"( masquerade: true )"
      R"(port_forwards { protocol: PROTOCOL_UDP host_address: "2001:db8::1" host_port: 5000 host_port_last: 5009 port: 6000 } )"
      R"(port_forwards { protocol: PROTOCOL_TCP host_address: "0.0.0.0" host_port: 80 host_port_last: 80 port: 65535 } )"
      R"(port_forwards { protocol: PROTOCOL_TCP host_address: "192.0.2.1" host_port: 80 host_port_last: 80 port: 1 } )"
      R"(ip_forwarding: true)";
  EXPECT_EQ(ReadAndWrite(kBothFamilies + whole), rest + whole);
}

TEST(EndpointConfigTest, WhatCannotBeForwardedIsRefused) {
  for (const auto& [text, why] : {
           std::pair(R"(masquerade: true)", "b.masquerade needs the endpoint to have an address"),
           std::pair(R"(addresses { address: "fe80::2/64" } masquerade: true)", "other than a link-local one"),
           std::pair(R"(ip_forwarding: true)", "b.ip_forwarding needs the endpoint to have an address"),
           std::pair(R"(port_forwards { host_port: 80 })", "b.port_forwards[0] needs the endpoint to have an address"),
       }) {
    EXPECT_THAT(Violation(text), HasSubstr(why)) << text;
  }
  EXPECT_THAT(Violation(R"(addresses { address: "10.0.0.2/24" } port_forwards { host_address: "::" host_port: 80 })"),
              HasSubstr("b.port_forwards[0].host_address needs the endpoint to have an IPv6 address"));
  for (const auto& [forward, why] : {
           std::pair("", "b.port_forwards[0].host_port must be 1 to 65535, but is 0"),
           std::pair("host_port: 65536", "must be 1 to 65535, but is 65536"),
           std::pair("host_port: 80 host_port_last: 79", "host_port_last must be 80, the first, to 65535, but is 79"),
           std::pair("host_port: 80 host_port_last: 65536", "host_port_last must be 80"),
           std::pair("host_port: 80 port: 65536", "port must be 1 to 65535, so that"),
           std::pair("host_port: 80 host_port_last: 81 port: 65535", "port must be 1 to 65534, so that"),
           std::pair("host_port: 80 port: 4294967295", "but is 4294967295"),
           std::pair("host_port: 1 host_port_last: 1025", "must make at most 1024 ports, but makes 1025"),
           std::pair("host_port: 1 host_port_last: 513",
                     "at most 1024 ports in all, those of both families counted twice, but has 1026"),
           std::pair("host_port: 80 protocol: 7", "protocol must be PROTOCOL_TCP or PROTOCOL_UDP, but is 7"),
           std::pair(R"(host_port: 80 host_address: "host")", "host_address must be an IP address"),
           std::pair(R"(host_port: 80 host_address: "127.0.0.1")", "must not be a loopback address"),
           std::pair(R"(host_port: 80 host_address: "::1")", "must not be a loopback address"),
           std::pair(R"(host_port: 80 host_address: "224.0.0.1")", "must be the address of one host"),
           std::pair(R"(host_port: 80 host_address: "ff02::1")", "must be the address of one host"),
           std::pair(R"(host_port: 80 host_address: "255.255.255.255")", "must be the address of one host"),
       }) {
    EXPECT_THAT(Violation(absl::StrCat(kBothFamilies, "port_forwards { ", forward, " }")), HasSubstr(why)) << forward;
  }
  for (const auto& [first, second] : {
           std::pair("host_port: 80", "host_port: 80"),
           std::pair("host_port: 80 host_port_last: 90", "host_port: 90 host_port_last: 91"),
           std::pair("host_port: 80", R"(host_port: 80 host_address: "::")"),
           std::pair(R"(host_port: 80 host_address: "192.0.2.1")", R"(host_port: 80 host_address: "192.0.2.1")"),
       }) {
    EXPECT_THAT(Violation(absl::StrCat(kBothFamilies, "port_forwards { ", first, " } port_forwards { ", second, " }")),
                HasSubstr("b.port_forwards[1] must have other ports than"));
  }
  for (const auto& [first, second] : {
           std::pair("host_port: 80", "host_port: 81"),
           std::pair("host_port: 80", "protocol: PROTOCOL_UDP host_port: 80"),
           std::pair(R"(host_port: 80 host_address: "0.0.0.0")", R"(host_port: 80 host_address: "::")"),
           std::pair("host_port: 80", R"(host_port: 80 host_address: "192.0.2.1")"),
       }) {
    EXPECT_EQ(Violation(absl::StrCat(kBothFamilies, "port_forwards { ", first, " } port_forwards { ", second, " }")),
              "");
  }
  std::string many = kBothFamilies;
  for (int i = 1; i <= 65; ++i) absl::StrAppend(&many, "port_forwards { host_port: ", i, " }");
  EXPECT_THAT(Violation(many), HasSubstr("b.port_forwards must have at most 64 items, but has 65"));
}

TEST(EndpointConfigTest, ALimitIsFilledInAndKept) {
  const std::string queues = "tx_queues: 1 rx_queues: 1 ";
  EXPECT_EQ(ReadAndWrite("ingress_limit { rate: 10000000 }"),
            queues + "ingress_limit { rate: 10000000 burst: 32768 latency { nanos: 50000000 } }");
  // What passes in 10 ms.
  EXPECT_EQ(ReadAndWrite("egress_limit { rate: 1000000000000 }"),
            queues + "egress_limit { rate: 1000000000000 burst: 1250000000 latency { nanos: 50000000 } }");
  const std::string given =
      "ingress_limit { rate: 8001 burst: 1514 latency { nanos: 1000000 } } "
      "egress_limit { rate: 8000 burst: 273000 latency { seconds: 10 } }";
  EXPECT_EQ(ReadAndWrite(given), queues + given);
  // In whole microseconds.
  EXPECT_EQ(ReadAndWrite("ingress_limit { rate: 8000 burst: 1514 latency { nanos: 1000999 } }"),
            queues + "ingress_limit { rate: 8000 burst: 1514 latency { nanos: 1000000 } }");
}

TEST(EndpointConfigTest, ABurstHasRoomForAPacket) {
  EXPECT_THAT(Violation("ingress_limit { rate: 8000 burst: 9013 }", {.mtu = 9000}),
              HasSubstr("b.ingress_limit.burst must be 9014"));
  EXPECT_EQ(Violation("ingress_limit { rate: 8000 burst: 9014 }", {.mtu = 9000}), "");
  Violations violations;
  const engine::EndpointConfig config =
      ToConfig("b", Endpoint("ingress_limit { rate: 8000 }"), {.mtu = 65535}, violations);
  EXPECT_TRUE(violations.empty());
  EXPECT_EQ(config.ingress_limit->burst, 65549u);
}

TEST(EndpointConfigTest, ManyAreTooMany) {
  std::string text;
  for (int i = 0; i < 65; ++i) absl::StrAppend(&text, "addresses { address: '10.0.0.", i + 1, "/24' } ");
  EXPECT_THAT(Violation(text), HasSubstr("b.addresses must have at most 64 items, but has 65"));
}

TEST(EndpointConfigTest, RoutesNeedTheEndUpAndIpv6AnMtu) {
  EXPECT_THAT(Violation(R"(routes { destination: "10.0.0.0/24" })", {.up = false}),
              HasSubstr("b.routes[0] needs the end to be up"));
  EXPECT_EQ(Violation(R"(routes { destination: "10.0.0.0/24" type: TYPE_PROHIBIT })", {.up = false}), "");
  EXPECT_THAT(Violation(R"(gateways: "fe80::1")", {.up = false}), HasSubstr("b.gateways[0] needs the end to be up"));
  EXPECT_EQ(Violation(R"(addresses { address: "10.0.0.2/24" })", {.mtu = 576, .up = false}), "");
  EXPECT_THAT(Violation(R"(addresses { address: "fd00::2/64" })", {.mtu = 1279}),
              HasSubstr("b.addresses[0].address needs an MTU of at least 1280"));
}

TEST(EndpointConfigTest, AGatewayCanBeReachedInSeveralWays) {
  EXPECT_EQ(Violation(R"(addresses { address: "10.0.0.2" peer: "10.0.0.1" } gateways: "10.0.0.1")"), "");
  EXPECT_EQ(Violation(R"(addresses { address: "10.0.0.2" } routes { destination: "192.0.2.1" }
                         gateways: "192.0.2.1")"),
            "");
  EXPECT_EQ(Violation(R"(routes { destination: "0.0.0.0/0" gateway: "192.0.2.1" on_link: true })"), "");
}

}  // namespace
}  // namespace netprov::api
