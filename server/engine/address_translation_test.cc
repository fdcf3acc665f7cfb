#include "server/engine/address_translation.h"

#include <string>
#include <variant>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace netprov::engine {
namespace {

using netlink::IpAddress;
using netlink::IpFamily;
using netlink::IpPrefix;
using netlink::NatElement;
using ::testing::IsEmpty;
using ::testing::SizeIs;

EndpointConfig WithAddresses(const std::vector<std::string>& addresses) {
  EndpointConfig config;
  for (const std::string& address : addresses) config.ip.addresses.push_back({.local = *IpPrefix::Parse(address)});
  return config;
}

TEST(AddressTranslationTest, EachAddressIsMasqueradedOnceButTheLinkLocalOnes) {
  EndpointConfig config = WithAddresses({"10.0.0.2/24", "10.0.0.2/16", "fe80::2/64", "2001:db8::2/64"});
  EXPECT_THAT(NatElements(config, 7, "tag"), IsEmpty());
  config.masquerade = true;
  const std::vector<NatElement> elements = NatElements(config, 7, "tag");
  ASSERT_THAT(elements, SizeIs(2));
  EXPECT_EQ(elements[0].rule, (std::variant<netlink::Masquerade, netlink::PortForward, netlink::Hairpin>(
                                  netlink::Masquerade{.source = *IpAddress::Parse("10.0.0.2"), .ifindex = 7})));
  EXPECT_EQ(elements[1].tag, "tag");
  EXPECT_THAT(NatElements(config, 0, "tag"), IsEmpty()) << "nobody knows by which link its packets come";
}

TEST(AddressTranslationTest, AForwardLeadsToTheFirstAddressOfEachFamily) {
  EndpointConfig config = WithAddresses({"fe80::2/64", "10.0.0.2/24", "10.0.0.3/24", "2001:db8::2/64"});
  EXPECT_EQ(NatTarget(config, IpFamily::kIpv4), IpAddress::Parse("10.0.0.2"));
  EXPECT_EQ(NatTarget(config, IpFamily::kIpv6), IpAddress::Parse("2001:db8::2"));
  PortForward forward{.host_port = 8000, .count = 2, .port = 80};
  EXPECT_THAT(NatElements(forward, config, ""), SizeIs(4)) << "two ports of two families";
  forward.host_address = IpAddress::Parse("::");
  EXPECT_THAT(NatElements(forward, config, ""), SizeIs(2));
  config.port_forwards = {forward};
  EXPECT_THAT(NatElements(config, 7, ""), SizeIs(3)) << "and one hairpin";
  EXPECT_THAT(NatElements(config, 0, ""), SizeIs(2));
  forward.host_address = IpAddress::Parse("192.0.2.1");
  forward.count = 1;
  const std::vector<NatElement> elements = NatElements(forward, config, "");
  ASSERT_THAT(elements, SizeIs(1));
  EXPECT_EQ(std::get<netlink::PortForward>(elements[0].rule).host_address, IpAddress::Parse("192.0.2.1"));
  EXPECT_EQ(std::get<netlink::PortForward>(elements[0].rule).target, *IpAddress::Parse("10.0.0.2"));
  EXPECT_THAT(NatElements(forward, WithAddresses({"2001:db8::2/64"}), ""), IsEmpty());
}

TEST(AddressTranslationTest, TheCountIsThatOfTheElements) {
  const PortForward any{.host_port = 8000, .count = 3, .port = 80};
  PortForward v4 = any;
  v4.host_address = IpAddress::Parse("192.0.2.1");
  PortForward v6 = any;
  v6.host_address = IpAddress::Parse("::");
  const std::vector<std::vector<PortForward>> all_forwards = {{}, {any}, {v4}, {v6}, {any, v4, v6}};
  const std::vector<std::vector<std::string>> all_addresses = {
      {},
      {"fe80::2/64"},
      {"10.0.0.2/24"},
      {"2001:db8::2/64"},
      {"10.0.0.2/24", "10.0.0.2/16", "fe80::2/64"},
      {"10.0.0.2/24", "10.0.0.3/24", "2001:db8::2/64", "2001:db8::3/64"}};
  for (const auto& addresses : all_addresses) {
    for (const auto& forwards : all_forwards) {
      for (const bool masquerade : {false, true}) {
        EndpointConfig config = WithAddresses(addresses);
        config.port_forwards = forwards;
        config.masquerade = masquerade;
        EXPECT_EQ(CountNatElements(config), NatElements(config, 7, "tag").size());
      }
    }
  }
}

TEST(AddressTranslationTest, ElementsWithOneKeyCannotBothBe) {
  const EndpointConfig one = WithAddresses({"10.0.0.2/24"});
  const EndpointConfig other = WithAddresses({"10.0.0.3/24", "2001:db8::3/64"});
  PortForward forward{.host_port = 80, .port = 80};
  const std::string key = NatKey(NatElements(forward, one, "tag")[0]);
  EXPECT_EQ(NatKey(NatElements(forward, other, "another")[0]), key) << "wherever it leads, whoever's it is";
  EXPECT_NE(NatKey(NatElements(forward, other, "")[1]), key);
  forward.protocol = netlink::TransportProtocol::kUdp;
  EXPECT_NE(NatKey(NatElements(forward, one, "")[0]), key);
  forward.protocol = netlink::TransportProtocol::kTcp;
  forward.host_address = IpAddress::Parse("192.0.2.1");
  EXPECT_NE(NatKey(NatElements(forward, one, "")[0]), key) << "one address comes before all";
}

TEST(AddressTranslationTest, AnAddressCanBeMasqueradedAndForwardedTo) {
  const IpAddress address = *IpAddress::Parse("10.0.0.2");
  EXPECT_NE(NatKey({.rule = netlink::Masquerade{.source = address, .ifindex = 2}, .tag = ""}),
            NatKey({.rule = netlink::Hairpin{.target = address, .ifindex = 2}, .tag = ""}));
}

TEST(AddressTranslationTest, TheFamiliesOfItsAddressesAreForwarded) {
  EXPECT_THAT(ForwardingSysctls({}), IsEmpty());
  EXPECT_EQ(ForwardingSysctls(WithAddresses({"10.0.0.2/24"})), (Sysctls{{"net.ipv4.ip_forward", "1"}}));
  EXPECT_EQ(ForwardingSysctls(WithAddresses({"10.0.0.2/24", "2001:db8::2/64"})),
            (Sysctls{{"net.ipv4.ip_forward", "1"}, {"net.ipv6.conf.all.forwarding", "1"}}));
}

TEST(AddressTranslationTest, WhatSomebodyHasChangedSinceIsNotPutBack) {
  const std::string of_link = LinkForwardSysctl(kIpv4ForwardSysctl, "eth0.7");
  EXPECT_EQ(of_link, "net.ipv4.conf.eth0/7.forwarding");
  const std::string ipv6_of_link = LinkForwardSysctl(kIpv6ForwardSysctl, "eth0");
  EXPECT_EQ(ipv6_of_link, "net.ipv6.conf.eth0.forwarding");
  const Sysctls former = {{kIpv4ForwardSysctl, "0"},
                          {kIpv4RedirectsSysctl, "0"},
                          {of_link, "1"},
                          {kIpv6ForwardSysctl, "0"},
                          {ipv6_of_link, "1"}};
  Sysctls now = former;
  now[kIpv4ForwardSysctl] = now[kIpv6ForwardSysctl] = "1";
  EXPECT_EQ(ForwardingToRestore(former, now), former);
  // A single one.
  now[of_link] = "0";
  now[kIpv4RedirectsSysctl] = "1";
  Sysctls expected = former;
  expected[of_link] = "0";
  expected[kIpv4RedirectsSysctl] = "1";
  EXPECT_EQ(ForwardingToRestore(former, now), expected);
  // A link that is gone.
  now.erase(of_link);
  expected.erase(of_link);
  EXPECT_EQ(ForwardingToRestore(former, now), expected);
  // The whole of a family.
  now[kIpv4ForwardSysctl] = "0";
  EXPECT_EQ(ForwardingToRestore(former, now), (Sysctls{{kIpv6ForwardSysctl, "0"}, {ipv6_of_link, "1"}}));
  // Of one that stays on, and of what was not switched on, nothing.
  EXPECT_THAT(ForwardingToRestore({{of_link, "1"}}, former), IsEmpty());
  EXPECT_THAT(ForwardingToRestore({}, former), IsEmpty());
}

TEST(AddressTranslationTest, ATagIsCutToWhatAnElementHasRoomFor) {
  EXPECT_EQ(NatTag(std::string(300, 'x')), std::string(128, 'x'));
  EXPECT_EQ(NatTag("short"), "short");
}

TEST(AddressTranslationTest, AForwardForAPerson) {
  EXPECT_EQ(ToText(PortForward{.host_port = 80, .port = 8080}), "tcp 80 to port 8080");
  EXPECT_EQ(ToText(PortForward{.protocol = netlink::TransportProtocol::kUdp,
                               .host_address = IpAddress::Parse("192.0.2.1"),
                               .host_port = 5000,
                               .count = 10,
                               .port = 5000}),
            "192.0.2.1 udp 5000-5009 to port 5000");
}

}  // namespace
}  // namespace netprov::engine
