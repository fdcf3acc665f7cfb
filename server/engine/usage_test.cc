#include "server/engine/usage.h"

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "server/netlink/ip_address.h"
#include "server/netlink/link_info.h"

namespace netprov::engine {
namespace {

void AddAddresses(const std::vector<std::string>& addresses, EndpointConfig& config) {
  for (const std::string& address : addresses) {
    config.ip.addresses.push_back({.local = *netlink::IpPrefix::Parse(address)});
  }
}

RouteSpec RouteTo(const std::string& destination) {
  RouteSpec route;
  route.destination = *netlink::IpPrefix::Parse(destination);
  return route;
}

TEST(UsageTest, ANamespaceIsOne) { EXPECT_EQ(UsageOf(NamespaceRecord()), (Usage{.namespaces = 1})); }

TEST(UsageTest, APairIsTwoLinksAndWhatItsEndsHave) {
  VethRecord record;
  EXPECT_EQ(UsageOf(record), (Usage{.links = 2}));
  EndpointConfig& a = record.spec.a.config;
  EndpointConfig& b = record.spec.b.config;
  AddAddresses({"10.0.0.2/24", "10.0.0.2/16", "2001:db8::2/64"}, a);
  AddAddresses({"10.0.0.1/24"}, b);
  a.gateways = {*netlink::IpAddress::Parse("10.0.0.1"), *netlink::IpAddress::Parse("2001:db8::1")};
  a.ip.routes = {RouteTo("10.1.0.0/16")};
  b.ip.routes = {RouteTo("10.2.0.0/16")};
  b.ip.routes[0].type = RouteType::kBlackhole;
  a.ip.neighbours = {{.address = *netlink::IpAddress::Parse("10.0.0.9"), .mac = {}}};
  a.alternative_names = {"other"};
  EXPECT_EQ(UsageOf(record), (Usage{.links = 2, .addresses = 4, .routes = 4}));
  // Only what an end sends needs an ifb.
  a.ingress_limit = RateLimit{.rate = 8000, .burst = 2000, .latency = absl::Milliseconds(1)};
  EXPECT_EQ(UsageOf(record).links, 2);
  a.egress_limit = a.ingress_limit;
  EXPECT_EQ(UsageOf(record).links, 3);
  b.egress_limit = a.ingress_limit;
  EXPECT_EQ(UsageOf(record).links, 4);
  a.masquerade = true;
  EXPECT_EQ(UsageOf(record).nat_elements, 2) << "one for each address, however often it is there";
  a.port_forwards = {{.host_port = 8000, .count = 10, .port = 80}};
  EXPECT_EQ(UsageOf(record).nat_elements, 2 + 2 * (10 + 1));
}

TEST(UsageTest, ADeviceIsOneLinkAndWhatItHas) {
  DeviceRecord record;
  AddAddresses({"10.0.0.1/24"}, record.spec.link.config);
  record.spec.link.config.ip.routes = {RouteTo("10.1.0.0/16")};
  record.spec.options = netlink::DummyInfo{};
  EXPECT_EQ(UsageOf(record), (Usage{.links = 1, .addresses = 1, .routes = 1}));
  record.spec.options = VxlanOptions{.info = {}, .fdb = std::vector<FdbEntry>(3)};
  EXPECT_EQ(UsageOf(record), (Usage{.links = 1, .addresses = 1, .routes = 4}));
}

TEST(UsageTest, AnIntentCountsForWhatWillBe) {
  VethRecord veth;
  Intent intent{.kind = Intent::Kind::kCreateVeth, .veth = veth, .new_namespaces = {{.id = "a"}, {.id = "b"}}};
  EXPECT_EQ(UsageAfter(intent), (Usage{.namespaces = 2, .links = 2}));
  EXPECT_EQ(UsageAfter({.kind = Intent::Kind::kDeleteVeth, .veth = veth}), Usage());
  EXPECT_EQ(UsageAfter({.kind = Intent::Kind::kReleaseNamespace}), Usage());
  EXPECT_EQ(UsageAfter({.kind = Intent::Kind::kAdoptNamespace}), (Usage{.namespaces = 1}));
  // An update says it itself, as its record may be without what somebody took away.
  EXPECT_EQ(UsageAfter({.kind = Intent::Kind::kUpdateVeth, .veth = veth}), (Usage{.links = 2}));
  const Usage more{.links = 2, .addresses = 7};
  EXPECT_EQ(UsageAfter({.kind = Intent::Kind::kUpdateVeth, .veth = veth, .usage_after = more}), more);
}

TEST(UsageTest, WhatShrinksIsNoGrowth) {
  EXPECT_EQ(Growth({.links = 3, .addresses = 5}, {.links = 2, .addresses = 6, .routes = 1}),
            (Usage{.addresses = 1, .routes = 1}));
}

}  // namespace
}  // namespace netprov::engine
