// Links, addresses and routes against the real kernel. `ip -j` is the witness.
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>

#include <cerrno>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/base/unique_fd.h"
#include "server/netlink/address.h"
#include "server/netlink/kernel_fixture.h"
#include "server/netlink/link.h"
#include "server/netlink/link_statistics.h"
#include "server/netlink/route.h"

namespace netprov::netlink {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Eq;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Optional;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

TEST_F(KernelTest, AVethIsBornInPlaceWithAllThatWasAsked) {
  VethRequest veth = Veth("v");
  veth.end.mac = MacAddress{{2, 0, 0, 0, 0, 1}};
  veth.end.mtu = 1400;
  veth.peer.mac = MacAddress{{2, 0, 0, 0, 0, 2}};
  veth.peer.mtu = 9000;
  veth.peer.group = 8888;
  Do(*home_, EncodeNewVeth(veth));
  Do(*away_, EncodeSetLink("vp", {.up = true}));
  EXPECT_THAT(RunIp("-d link show v"), HasSubstr("numtxqueues 1 numrxqueues 1"));

  std::optional<Link> end = Get(*home_, "v");
  std::optional<Link> peer = Get(*away_, "vp");
  ASSERT_TRUE(end && peer);
  EXPECT_THAT(end->kind, Eq("veth"));
  EXPECT_THAT(end->mac, Optional(MacAddress{{2, 0, 0, 0, 0, 1}}));
  EXPECT_THAT(end->mtu, Eq(1400u));
  EXPECT_THAT(end->group, Eq(kGroup));
  EXPECT_TRUE(end->up && end->running);
  EXPECT_THAT(end->link, Optional(peer->ifindex));
  EXPECT_TRUE(end->link_netnsid.has_value());
  EXPECT_THAT(peer->mac, Optional(MacAddress{{2, 0, 0, 0, 0, 2}}));
  EXPECT_THAT(peer->mtu, Eq(9000u));
  EXPECT_THAT(peer->group, Eq(8888u));
  EXPECT_TRUE(peer->up && peer->running);
  EXPECT_THAT(peer->link, Optional(end->ifindex));

  KernelResult<void> again = home_->Execute(EncodeNewVeth(veth));
  ASSERT_FALSE(again.ok());
  EXPECT_THAT(again.error().code, Eq(EEXIST));
  Do(*home_, EncodeDeleteLink("v"));
  EXPECT_FALSE(Get(*home_, "v").has_value());
  EXPECT_FALSE(Get(*away_, "vp").has_value());
}

TEST_F(KernelTest, BothEndsCanBeBornElsewhereAndDown) {
  VethRequest veth = Veth("v");
  veth.end.netns_fd = away_fd_.get();
  veth.end.up = false;
  veth.peer.netns_fd.reset();
  Do(*home_, EncodeNewVeth(veth));
  std::optional<Link> end = Get(*away_, "v");
  std::optional<Link> peer = Get(*home_, "vp");
  ASSERT_TRUE(end && peer);
  EXPECT_FALSE(end->up || peer->up);
}

TEST_F(KernelTest, ALinkChangesInEveryWay) {
  Do(*home_, EncodeNewVeth(Veth("v")));
  std::optional<Link> before = Get(*home_, "v");
  ASSERT_TRUE(before.has_value());
  Do(*home_, EncodeSetLink(before->ifindex, {.up = false,
                                             .name = "w",
                                             .mac = MacAddress{{2, 0, 0, 0, 0, 9}},
                                             .mtu = 1300,
                                             .group = 5,
                                             .alias = "netprov:v"}));
  std::optional<Link> after = Get(*home_, before->ifindex);
  ASSERT_TRUE(after.has_value());
  EXPECT_THAT(after->name, Eq("w"));
  EXPECT_FALSE(after->up);
  EXPECT_THAT(after->mac, Optional(MacAddress{{2, 0, 0, 0, 0, 9}}));
  EXPECT_THAT(after->mtu, Eq(1300u));
  EXPECT_THAT(after->group, Eq(5u));
  EXPECT_THAT(after->alias, Eq("netprov:v"));

  Do(*home_, EncodeSetLink("w", {.up = true, .alias = ""}));
  after = Get(*home_, "w");
  ASSERT_TRUE(after.has_value());
  EXPECT_TRUE(after->up);
  EXPECT_THAT(after->alias, Eq(""));
  EXPECT_THAT(after->mtu, Eq(1300u));

  Do(*home_, EncodeSetLink("w", {.netns_fd = away_fd_.get()}));
  EXPECT_FALSE(Get(*home_, "w").has_value());
  EXPECT_TRUE(Get(*away_, "w").has_value());
}

// What the kernel takes in the create of a pair, and of which end.
TEST_F(KernelTest, AVethIsBornWithMasterFlagsQueuesAndLimits) {
  EXPECT_THAT(RunIp("link add br0 type bridge"), Eq(""));
  const int bridge = Get(*home_, "br0")->ifindex;
  VethRequest veth = Veth("v");
  veth.end.tx_queues = 2;
  veth.end.rx_queues = 3;
  veth.end.master = bridge;
  veth.end.promiscuous = true;
  veth.end.all_multicast = true;
  veth.end.limits = {.gso_max_size = 40000,
                     .gso_max_segments = 100,
                     .gro_max_size = 50000,
                     .gso_ipv4_max_size = 30000,
                     .gro_ipv4_max_size = 20000};
  veth.peer = veth.end;
  veth.peer.name = "vp";
  veth.peer.up = false;
  veth.peer.limits.gso_max_size = 100000;
  Do(*home_, EncodeNewVeth(veth));
  for (const NewLink& wanted : {veth.end, veth.peer}) {
    std::optional<Link> link = Get(*home_, wanted.name);
    ASSERT_TRUE(link.has_value());
    EXPECT_TRUE(link->promiscuous && link->all_multicast) << wanted.name;
    EXPECT_THAT(link->tx_queues, Eq(2u)) << wanted.name;
    EXPECT_THAT(link->rx_queues, Eq(3u)) << wanted.name;
    EXPECT_THAT(link->limits, Eq(wanted.limits)) << wanted.name;
  }
  EXPECT_THAT(Get(*home_, "v")->master, Optional(bridge));
  EXPECT_THAT(Get(*home_, "vp")->master, Eq(std::nullopt));
  EXPECT_THAT(RunIp("-d -j link show v"),
              AllOf(HasSubstr(R"("master":"br0")"), HasSubstr("\"PROMISC\""), HasSubstr("\"ALLMULTI\""),
                    HasSubstr(R"("num_tx_queues":2,"num_rx_queues":3,"gso_max_size":40000,"gso_max_segs":100)"),
                    HasSubstr(R"("gro_max_size":50000)")));

  VethRequest wrong = Veth("w");
  wrong.end.tx_queues = 4097;
  EXPECT_THAT(home_->Execute(EncodeNewVeth(wrong)).error().code, Eq(EINVAL));
  wrong = Veth("w");
  wrong.peer.limits.gso_max_size = 524281;
  EXPECT_THAT(home_->Execute(EncodeNewVeth(wrong)).error().code, Eq(EINVAL));
  EXPECT_FALSE(Get(*home_, "w").has_value());

  // Why NewLink has no address generation: the kernel refuses it in a create.
  MessageBuilder message("RTM_NEWLINK a", RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
  PutNewLink(message, {.name = "a"});
  size_t families = message.BeginNest(IFLA_AF_SPEC);
  size_t ipv6 = message.BeginNest(AF_INET6);
  message.PutU8(IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
  message.EndNest(ipv6);
  message.EndNest(families);
  size_t info = message.BeginNest(IFLA_LINKINFO);
  message.PutString(IFLA_INFO_KIND, "veth");
  message.EndNest(info);
  EXPECT_THAT(home_->Execute(std::move(message).Build()).error().code, Eq(EAFNOSUPPORT));
}

TEST_F(KernelTest, AMasterIsOneOfTheNamespaceOfBirth) {
  Do(*home_, EncodeNewVeth(Veth("filler")));
  ASSERT_EQ(::setns(away_fd_.get(), CLONE_NEWNET), 0);
  EXPECT_THAT(RunIp("link add br0 index 77 type bridge"), Eq(""));
  VethRequest veth = Veth("v");
  veth.end.netns_fd = away_fd_.get();
  veth.end.master = 77;
  veth.peer.netns_fd.reset();
  Do(*home_, EncodeNewVeth(veth));
  EXPECT_THAT(Get(*away_, "v")->master, Optional(77));
}

TEST_F(KernelTest, ALinkJoinsAndLeavesAMasterAndChangesFlagsAndLimits) {
  EXPECT_THAT(RunIp("link add br0 type bridge"), Eq(""));
  const int bridge = Get(*home_, "br0")->ifindex;
  Do(*home_, EncodeNewVeth(Veth("v")));
  const OffloadLimits limits = {.gso_max_size = 100000,
                                .gso_max_segments = 7,
                                .gro_max_size = 524280,
                                .gso_ipv4_max_size = 65536,
                                .gro_ipv4_max_size = 65535};
  Do(*home_, EncodeSetLink("v", {.master = bridge, .promiscuous = true, .all_multicast = true, .limits = limits}));
  std::optional<Link> link = Get(*home_, "v");
  EXPECT_THAT(link->master, Optional(bridge));
  EXPECT_TRUE(link->promiscuous && link->all_multicast && link->up);
  EXPECT_THAT(link->limits, Eq(limits));

  // That the port is still promiscuous for its bridge's sake does not count.
  Do(*home_, EncodeSetLink("v", {.promiscuous = false, .limits = {.gso_max_size = 65000}}));
  link = Get(*home_, "v");
  EXPECT_FALSE(link->promiscuous);
  EXPECT_TRUE(link->all_multicast);
  EXPECT_THAT(link->limits.gso_ipv4_max_size, Optional(65000u));
  EXPECT_THAT(RunIp("-d -j link show v"), HasSubstr(R"("promiscuity":1)"));
  Do(*home_, EncodeSetLink("v", {.master = 0}));
  EXPECT_THAT(Get(*home_, "v")->master, Eq(std::nullopt));

  const int lo = Get(*home_, "lo")->ifindex;
  auto code = [&](const LinkRef& ref, const LinkChange& change) {
    KernelResult<void> result = home_->Execute(EncodeSetLink(ref, change));
    return result.ok() ? 0 : result.error().code;
  };
  EXPECT_THAT(code("v", {.master = 4242}), Eq(EINVAL));
  EXPECT_THAT(code("lo", {.master = bridge}), Eq(EINVAL));
  EXPECT_THAT(code("v", {.master = lo}), Eq(EOPNOTSUPP));
  EXPECT_THAT(RunIp("link add br1 type bridge"), Eq(""));
  EXPECT_THAT(code("br1", {.master = bridge}), Eq(ELOOP));
  EXPECT_THAT(code("v", {.limits = {.gso_max_size = 100}}), Eq(ERANGE));
  EXPECT_THAT(code("v", {.limits = {.gso_max_size = 524281}}), Eq(EINVAL));
  EXPECT_THAT(code("v", {.limits = {.gro_max_size = 524281}}), Eq(EINVAL));
  EXPECT_THAT(code("v", {.limits = {.gso_max_segments = 65536}}), Eq(EINVAL));
}

TEST_F(KernelTest, ALinkGeneratesNoIpv6Addresses) {
  VethRequest veth = Veth("v");
  veth.peer.netns_fd.reset();
  Do(*home_, EncodeNewVeth(veth));
  Do(*home_, EncodeSetLink("v", {.address_generation = AddressGeneration::kNone}));
  EXPECT_THAT(Get(*home_, "v")->address_generation, Optional(AddressGeneration::kNone));
  // With its carrier the link is ready.
  Do(*home_, EncodeSetLink("vp", {.up = true}));
  EXPECT_THAT(Get(*home_, "v")->oper_state, Eq(OperState::kUp));
  EXPECT_THAT(RunIp("-j -6 addr show dev v"), Not(HasSubstr("fe80")));
  Do(*home_, EncodeSetLink("v", {.address_generation = AddressGeneration::kRandom}));
  EXPECT_THAT(Get(*home_, "v")->address_generation, Optional(AddressGeneration::kRandom));
  EXPECT_THAT(
      home_->Execute(EncodeSetLink("v", {.address_generation = AddressGeneration::kStablePrivacy})).error().code,
      Eq(EINVAL));
  Do(*home_, EncodeSetLink("v", {.mtu = 1279}));
  EXPECT_THAT(Get(*home_, "v")->address_generation, Eq(std::nullopt));
  EXPECT_THAT(home_->Execute(EncodeSetLink("v", {.address_generation = AddressGeneration::kNone})).error().code,
              Eq(EAFNOSUPPORT));
}

TEST_F(KernelTest, ALinkHasAlternativeNames) {
  Do(*home_, EncodeNewVeth(Veth("v")));
  Do(*home_, EncodeNewVeth(Veth("w")));
  const std::string longest(127, 'x');
  const std::vector<std::string> names = {"second", longest};
  Do(*home_, EncodeAddAlternativeNames("v", names));
  EXPECT_THAT(Get(*home_, longest)->alternative_names, Eq(names));
  EXPECT_THAT(RunIp("-j link show v"), HasSubstr(R"("altnames":["second",")"));
  auto add = [&](const LinkRef& ref, const std::vector<std::string>& list) {
    return home_->Execute(EncodeAddAlternativeNames(ref, list)).error().code;
  };
  EXPECT_THAT(add("w", {"third", "second"}), Eq(EEXIST));
  EXPECT_THAT(add("w", {"v"}), Eq(EEXIST));
  EXPECT_THAT(add("w", {longest + "x"}), Eq(ERANGE));
  EXPECT_THAT(add("nothing", {"fourth"}), Eq(ENODEV));
  EXPECT_THAT(Get(*home_, "w")->alternative_names, Eq(std::vector<std::string>{"third"}));

  Do(*home_, EncodeSetLink(longest, {.netns_fd = away_fd_.get()}));
  EXPECT_THAT(Get(*away_, "v")->alternative_names, Eq(names));
  auto remove = [&](const std::vector<std::string>& list) {
    return away_->Execute(EncodeDeleteAlternativeNames("v", list)).error().code;
  };
  EXPECT_THAT(remove({"second", "nothing"}), Eq(ENOENT));
  EXPECT_THAT(remove({"v"}), Eq(EINVAL));
  EXPECT_THAT(remove({"wp"}), Eq(EINVAL));
  Do(*away_, EncodeDeleteAlternativeNames("v", std::vector<std::string>{longest}));
  EXPECT_THAT(Get(*away_, "v")->alternative_names, Eq(std::vector<std::string>{}));
}

TEST_F(KernelTest, ABatchGoesOnAfterARefusal) {
  const std::vector<Request> requests = {EncodeNewVeth(Veth("a")), EncodeNewVeth(Veth("a")),
                                         EncodeNewVeth(Veth("a-name-that-is-too-long")), EncodeNewVeth(Veth("b")),
                                         EncodeGetLink("b")};
  std::vector<Outcome> outcomes = home_->ExecuteBatch(requests);
  ASSERT_THAT(outcomes, SizeIs(5));
  EXPECT_TRUE(outcomes[0].ok());
  EXPECT_THAT(outcomes[1].error->code, Eq(EEXIST));
  EXPECT_THAT(outcomes[2].error->code, Eq(ERANGE));
  EXPECT_FALSE(outcomes[2].error->extack.empty());
  EXPECT_TRUE(outcomes[3].ok());
  ASSERT_THAT(outcomes[4].replies, SizeIs(1));
  EXPECT_THAT(DecodeLink(outcomes[4].replies[0])->name, Eq("b"));
  EXPECT_THAT(Names(*home_), UnorderedElementsAre("a", "b"));
}

TEST_F(KernelTest, TheAnswersToTheLargestBatchFitTheSocket) {
  Do(*home_, EncodeNewVeth(Veth("v")));
  std::vector<Request> gets(Session::kMaxBatchRequests, EncodeGetLink("v"));
  for (const Outcome& outcome : home_->ExecuteBatch(gets)) {
    ASSERT_TRUE(outcome.ok()) << outcome.error->ToString();
    EXPECT_THAT(outcome.replies, SizeIs(1));
  }
}

TEST_F(KernelTest, AGroupIsDeletedInOneGo) {
  std::vector<Request> requests;
  for (int i = 0; i < 3; ++i) requests.push_back(EncodeNewVeth(Veth("g" + std::to_string(i))));
  VethRequest other = Veth("other");
  other.end.group = kGroup + 1;
  requests.push_back(EncodeNewVeth(other));
  for (const Outcome& outcome : home_->ExecuteBatch(requests)) EXPECT_TRUE(outcome.ok());

  Do(*home_, EncodeDeleteLinkGroup(kGroup));
  EXPECT_THAT(Names(*home_), UnorderedElementsAre("other"));
  EXPECT_THAT(Names(*away_), UnorderedElementsAre("otherp"));
  EXPECT_THAT(home_->Execute(EncodeDeleteLinkGroup(kGroup)).error().code, Eq(ENODEV));
  EXPECT_THAT(home_->Execute(EncodeDeleteLinkGroup(0)).error().code, Eq(EPERM));
}

TEST_F(KernelTest, AddressesAreAddedListedAndDeleted) {
  Do(*home_, EncodeNewVeth(Veth("v")));
  const int ifindex = Get(*home_, "v")->ifindex;
  const std::vector<Address> wanted = {
      {.ifindex = ifindex, .local = {Ip("192.0.2.1"), 24}, .protocol = 110},
      {.ifindex = ifindex, .local = {Ip("198.51.100.1"), 32}, .peer = Ip("198.51.100.2"), .scope = 253},
      {.ifindex = ifindex, .local = {Ip("2001:db8::1"), 64}, .flags = IFA_F_NODAD | IFA_F_NOPREFIXROUTE},
      {.ifindex = ifindex, .local = {Ip("2001:db8:1::1"), 128}, .peer = Ip("2001:db8:1::2"), .flags = IFA_F_NODAD},
  };
  for (const Address& address : wanted) Do(*home_, EncodeNewAddress(address));
  EXPECT_THAT(home_->Execute(EncodeNewAddress(wanted[0])).error().code, Eq(EEXIST));

  std::vector<Address> found;
  for (IpFamily family : {IpFamily::kIpv4, IpFamily::kIpv6}) {
    KernelResult<std::vector<Payload>> dump = home_->Dump(EncodeDumpAddresses(family, ifindex));
    ASSERT_TRUE(dump.ok()) << dump.error().ToString();
    for (const Payload& payload : *dump) {
      KernelResult<Address> address = DecodeAddress(payload);
      ASSERT_TRUE(address.ok()) << address.error().ToString();
      found.push_back(*address);
    }
  }
  for (Address address : wanted) {
    address.flags |= IFA_F_PERMANENT;
    EXPECT_THAT(found, Contains(address)) << address.local.ToString();
  }
  const std::string witness = RunIp("-j addr show dev v");
  for (const char* text : {R"("local":"192.0.2.1","prefixlen":24)", R"("address":"198.51.100.2","prefixlen":32)",
                           R"("local":"2001:db8::1","prefixlen":64)", R"("nodad":true)", R"("noprefixroute":true)",
                           R"("address":"2001:db8:1::2","prefixlen":128)"}) {
    EXPECT_THAT(witness, HasSubstr(text));
  }

  KernelResult<std::vector<Payload>> all = home_->Dump(EncodeDumpAddresses());
  ASSERT_TRUE(all.ok()) << all.error().ToString();
  EXPECT_GE(all->size(), wanted.size());

  for (const Address& address : wanted) Do(*home_, EncodeDeleteAddress(address));
  EXPECT_THAT(home_->Execute(EncodeDeleteAddress(wanted[0])).error().code, Eq(EADDRNOTAVAIL));
  EXPECT_THAT(RunIp("-j addr show dev v"), Not(HasSubstr("192.0.2.1")));
}

TEST_F(KernelTest, RoutesAreAddedListedAndDeleted) {
  Do(*home_, EncodeNewVeth(Veth("v")));
  const int ifindex = Get(*home_, "v")->ifindex;
  Do(*home_, EncodeNewAddress({.ifindex = ifindex, .local = {Ip("192.0.2.1"), 24}}));
  Do(*home_, EncodeNewAddress({.ifindex = ifindex, .local = {Ip("2001:db8::1"), 64}, .flags = IFA_F_NODAD}));
  const std::vector<Route> wanted = {
      {.destination = {Ip("0.0.0.0"), 0}, .gateway = Ip("192.0.2.2"), .ifindex = ifindex, .protocol = 110},
      {.destination = {Ip("10.1.0.0"), 16}, .ifindex = ifindex, .scope = 253, .preferred_source = Ip("192.0.2.1")},
      {.destination = {Ip("10.2.0.0"), 16},
       .gateway = Ip("203.0.113.1"),
       .ifindex = ifindex,
       .metric = 100,
       .table = 1000,
       .onlink = true,
       .mtu = 1400},
      {.destination = {Ip("::"), 0}, .gateway = Ip("2001:db8::2"), .ifindex = ifindex, .metric = 1024},
      {.destination = {Ip("2001:db8:2::"), 48}, .ifindex = ifindex, .metric = 5, .table = 1000, .mtu = 1400},
  };
  for (const Route& route : wanted) Do(*home_, EncodeNewRoute(route));
  EXPECT_THAT(home_->Execute(EncodeNewRoute(wanted[0])).error().code, Eq(EEXIST));

  EXPECT_THAT(home_->Dump(EncodeDumpRoutes(IpFamily::kIpv4, 4242)).error().code, Eq(ENOENT));

  auto dump_routes = [&](IpFamily family, std::optional<uint32_t> table) {
    std::vector<Route> routes;
    KernelResult<std::vector<Payload>> dump = home_->Dump(EncodeDumpRoutes(family, table));
    EXPECT_TRUE(dump.ok());
    if (!dump.ok()) return routes;
    for (const Payload& payload : *dump) {
      KernelResult<Route> route = DecodeRoute(payload);
      EXPECT_TRUE(route.ok()) << route.error().ToString();
      if (route.ok()) routes.push_back(*route);
    }
    return routes;
  };
  for (const Route& route : wanted) {
    const IpFamily family = route.destination.address.family();
    EXPECT_THAT(dump_routes(family, std::nullopt), Contains(route)) << route.destination.ToString();
    EXPECT_THAT(dump_routes(family, route.table), Contains(route)) << route.destination.ToString();
    EXPECT_THAT(dump_routes(family, 255), Not(Contains(route))) << route.destination.ToString();
  }
  EXPECT_THAT(RunIp("-j route show table all"),
              HasSubstr(R"("dst":"10.2.0.0/16","gateway":"203.0.113.1","dev":"v","table":"1000","protocol":"static")"));
  EXPECT_THAT(RunIp("-6 route show default"), HasSubstr("via 2001:db8::2 dev v proto static metric 1024"));

  for (const Route& route : wanted) Do(*home_, EncodeDeleteRoute(route));
  EXPECT_THAT(home_->Execute(EncodeDeleteRoute(wanted[0])).error().code, Eq(ESRCH));
  for (const Route& route : wanted) {
    EXPECT_THAT(dump_routes(route.destination.address.family(), std::nullopt), Not(Contains(route)));
  }
}

TEST_F(KernelTest, RoutesOfOthersAreReadWhole) {
  Do(*home_, EncodeNewVeth(Veth("v")));
  const int ifindex = Get(*home_, "v")->ifindex;
  Do(*home_, EncodeNewAddress({.ifindex = ifindex, .local = {Ip("192.0.2.1"), 24}}));
  Do(*home_, EncodeNewAddress({.ifindex = ifindex, .local = {Ip("2001:db8::1"), 64}, .flags = IFA_F_NODAD}));
  RunIp("route add 10.1.0.0/16 nexthop via 192.0.2.2 dev v weight 3 nexthop via 192.0.2.3 dev v");
  RunIp("route add 10.2.0.0/16 tos 4 via inet6 2001:db8::2 dev v");
  RunIp("route add 2001:db8:1::/48 nexthop via 2001:db8::2 dev v nexthop via 2001:db8::3 dev v weight 2");

  const std::vector<Route> ipv4 = Dump(*home_, EncodeDumpRoutes(IpFamily::kIpv4), &DecodeRoute);
  EXPECT_THAT(ipv4, Contains(Route{.destination = {Ip("10.1.0.0"), 16},
                                   .protocol = RTPROT_BOOT,
                                   .next_hops = {{.gateway = Ip("192.0.2.2"), .ifindex = ifindex, .weight = 3},
                                                 {.gateway = Ip("192.0.2.3"), .ifindex = ifindex}}}));
  EXPECT_THAT(ipv4, Contains(Route{.destination = {Ip("10.2.0.0"), 16},
                                   .ifindex = ifindex,
                                   .protocol = RTPROT_BOOT,
                                   .tos = 4,
                                   .via = Ip("2001:db8::2")}));
  const std::vector<Route> ipv6 = Dump(*home_, EncodeDumpRoutes(IpFamily::kIpv6), &DecodeRoute);
  EXPECT_THAT(ipv6, Contains(Route{.destination = {Ip("2001:db8:1::"), 48},
                                   .metric = 1024,
                                   .protocol = RTPROT_BOOT,
                                   .next_hops = {{.gateway = Ip("2001:db8::2"), .ifindex = ifindex},
                                                 {.gateway = Ip("2001:db8::3"), .ifindex = ifindex, .weight = 2}}}));
}

TEST_F(KernelTest, RoutesDropAndRefuse) {
  Do(*home_, EncodeSetLink("lo", {.up = true}));
  const int lo = Get(*home_, "lo")->ifindex;
  for (uint8_t type : {RTN_BLACKHOLE, RTN_UNREACHABLE, RTN_PROHIBIT}) {
    const Route ipv4 = {.destination = {Ip("10.1.0.0"), 16}, .metric = 7, .type = type};
    Do(*home_, EncodeNewRoute(ipv4));
    EXPECT_THAT(Dump(*home_, EncodeDumpRoutes(IpFamily::kIpv4), &DecodeRoute), Contains(ipv4));
    Do(*home_, EncodeDeleteRoute(ipv4));
    Route ipv6 = {.destination = {Ip("2001:db8:1::"), 48}, .metric = 7, .type = type};
    Do(*home_, EncodeNewRoute(ipv6));
    ipv6.ifindex = lo;
    EXPECT_THAT(Dump(*home_, EncodeDumpRoutes(IpFamily::kIpv6), &DecodeRoute), Contains(ipv6));
    Do(*home_, EncodeDeleteRoute(ipv6));
  }
  EXPECT_THAT(RunIp("route show table main"), Eq(""));
}

TEST_F(KernelTest, ALinkCountsWhatItCarries) {
  Do(*home_, EncodeSetLink("lo", {.up = true}));
  UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_in target = {};
  target.sin_family = AF_INET;
  target.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::bind(socket.get(), reinterpret_cast<sockaddr*>(&target), sizeof(target)), 0);
  socklen_t length = sizeof(target);
  ASSERT_EQ(::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&target), &length), 0);
  const char data[100] = {};
  auto statistics = [&] {
    KernelResult<Payload> payload = home_->Get(EncodeGetLinkStatistics("lo"));
    EXPECT_TRUE(payload.ok()) << payload.error().ToString();
    KernelResult<LinkStatistics> decoded = DecodeLinkStatistics(*payload);
    EXPECT_TRUE(decoded.ok()) << decoded.error().ToString();
    EXPECT_THAT(DecodeLink(*payload)->name, Eq("lo"));
    return *decoded;
  };
  const LinkStatistics before = statistics();
  ASSERT_EQ(::sendto(socket.get(), data, sizeof(data), 0, reinterpret_cast<sockaddr*>(&target), sizeof(target)), 100);
  const LinkStatistics after = statistics();
  // IPv4 and UDP headers come on top.
  EXPECT_THAT(after.tx_bytes - before.tx_bytes, Eq(100u + 20 + 8));
  EXPECT_THAT(after.tx_packets - before.tx_packets, Eq(1u));
  EXPECT_THAT(after.rx_packets, Eq(after.tx_packets));
  EXPECT_THAT(after.rx_bytes, Eq(after.tx_bytes));
  EXPECT_THAT(RunIp("-s -j link show lo"), HasSubstr("\"rx\":{\"bytes\":" + std::to_string(after.rx_bytes) +
                                                     ",\"packets\":" + std::to_string(after.rx_packets)));
  EXPECT_THAT(Dump(*home_, EncodeDumpLinkStatistics(), &DecodeLinkStatistics), Contains(after));
}

}  // namespace
}  // namespace netprov::netlink
