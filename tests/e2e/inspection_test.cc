// What the daemon shows of the kernel, with iproute2 as the witness.
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/component/test_client.h"
#include "tests/e2e/daemon_fixture.h"
#include "tests/testing/private_host.h"
#include "tests/testing/process.h"

namespace netprov::testing {
namespace {

using Json = nlohmann::json;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

Json Ip(const std::string& arguments) { return Json::parse(Shell("ip -j " + arguments), nullptr, false); }

// A destination as netprov says it.
std::string Destination(const std::string& text, bool ipv6) {
  if (text == "default") return ipv6 ? "::/0" : "0.0.0.0/0";
  return absl::StrContains(text, '/') ? text : absl::StrCat(text, ipv6 ? "/128" : "/32");
}

uint32_t TableNumber(const Json& route) {
  const std::string table = route.value("table", "main");
  if (table == "main") return 254;
  return table == "local" ? 255 : static_cast<uint32_t>(std::stoul(table));
}

class InspectionTest : public DaemonTest {
 protected:
  void SetUp() override {
    DaemonTest::SetUp();
    client_ = std::make_unique<TestClient>(absl::StrCat("unix:", kSocket));
    ASSERT_CALL_OK(CreateNamespace("blue"));
    v1::CreateVethRequest request = VethRequest("v", "h0", "blue", "eth0");
    v1::VethEndpoint& end = *request.mutable_veth()->mutable_endpoint_b();
    for (const char* address : {"10.0.0.2/24", "10.0.1.2/24", "2001:db8::2/64"}) {
      end.add_addresses()->set_address(address);
    }
    end.add_gateways("10.0.0.1");
    v1::Route& on_link = *end.add_routes();
    on_link.set_destination("10.1.0.0/16");
    on_link.set_gateway("10.0.0.3");
    on_link.set_metric(7);
    on_link.set_table(1000);
    v1::Route& none = *end.add_routes();
    none.set_destination("10.9.0.0/16");
    none.set_type(v1::Route::TYPE_BLACKHOLE);
    v1::Route& none6 = *end.add_routes();
    none6.set_destination("2001:db8:9::/48");
    none6.set_type(v1::Route::TYPE_UNREACHABLE);
    v1::Neighbor& neighbor = *end.add_neighbors();
    neighbor.set_address("10.0.0.1");
    neighbor.set_mac_address("02:00:00:00:00:01");
    const auto made = client_->Create(request);
    ASSERT_TRUE(made.ok()) << made.message;
    // And what somebody else makes.
    Shell("ip -n blue link add br0 type bridge");
    Shell("ip -n blue link set br0 up");
    Shell("ip -n blue link add f0 type veth peer name f1");
    Shell("ip -n blue link set f0 up master br0");
    Shell("ip -n blue link set f1 up");
    Shell("ip -n blue link property add dev f1 altname another-name-of-f1");
    Shell("ip -n blue addr add 172.16.0.1/24 dev f1");
    Shell("ip -n blue addr add 172.16.1.1/32 peer 172.16.1.2 dev f1");
    Shell("ip -n blue route add 172.17.0.0/16 nexthop via 172.16.0.2 dev f1 weight 2 nexthop via 10.0.0.3 dev eth0");
    Shell("ip -n blue route add 172.18.0.0/16 tos 4 via inet6 fe80::1 dev f1");
    Shell("ip -n blue route append 172.19.0.0/16 via 172.16.0.2 dev f1");
    Shell("ip -n blue route append 172.19.0.0/16 via 172.16.0.3 dev f1");
    Shell("ip -n blue neigh add 172.16.0.9 lladdr 02:00:00:00:00:09 dev f1 nud stale");
  }
  void TearDown() override {
    ASSERT_CALL_OK(DeleteNamespace("blue"));
    EXPECT_THAT(Shell("ip -o link show type veth"), IsEmpty());
  }

  // All pages of `size`, with `between` done after each.
  template <typename Request, typename Items>
  auto All(Request request, int size, Items items, const std::function<void()>& between = nullptr) {
    using Item = std::decay_t<decltype(items(client_->List(request).value)[0])>;
    request.set_page_size(size);
    std::vector<Item> all;
    for (int page = 0; page < 1000; ++page) {
      const auto reply = client_->List(request);
      EXPECT_TRUE(reply.ok()) << reply.message;
      for (const Item& item : items(reply.value)) all.push_back(item);
      if (reply.value.next_page_token().empty()) return all;
      request.set_page_token(reply.value.next_page_token());
      if (between != nullptr) between();
    }
    ADD_FAILURE() << "the list has no end";
    return all;
  }
  std::vector<v1::Link> Links(v1::ListLinksRequest request, int size = 1000,
                              const std::function<void()>& between = nullptr) {
    return All(
        std::move(request), size, [](const v1::ListLinksResponse& page) { return page.links(); }, between);
  }
  std::vector<v1::AddressEntry> Addresses(v1::ListAddressesRequest request, int size = 1000) {
    return All(std::move(request), size, [](const v1::ListAddressesResponse& page) { return page.addresses(); });
  }
  std::vector<v1::RouteEntry> Routes(v1::ListRoutesRequest request, int size = 1000) {
    return All(std::move(request), size, [](const v1::ListRoutesResponse& page) { return page.routes(); });
  }
  std::vector<v1::NeighborEntry> Neighbors(v1::ListNeighborsRequest request, int size = 1000) {
    return All(std::move(request), size, [](const v1::ListNeighborsResponse& page) { return page.neighbors(); });
  }
  template <typename Request>
  static Request In(const std::string& parent) {
    Request request;
    request.set_parent(parent);
    return request;
  }

  std::unique_ptr<TestClient> client_;
};

TEST_F(InspectionTest, LinksAreThoseOfIp) {
  for (const auto& [parent, where] :
       std::map<std::string, std::string>{{"host", ""}, {"namespaces/blue", "-n blue "}}) {
    SCOPED_TRACE(parent);
    const Json witness = Ip(where + "-d link show");
    std::map<uint32_t, Json> by_index;
    for (const Json& link : witness) by_index[link["ifindex"]] = link;
    const std::vector<v1::Link> links = Links(In<v1::ListLinksRequest>(parent));
    EXPECT_EQ(links.size(), witness.size());
    uint32_t before = 0;
    for (const v1::Link& link : links) {
      SCOPED_TRACE(link.interface_name());
      ASSERT_TRUE(by_index.contains(link.ifindex()));
      EXPECT_GT(link.ifindex(), before);
      before = link.ifindex();
      const Json& other = by_index[link.ifindex()];
      EXPECT_EQ(link.name(), absl::StrCat(parent, "/links/", link.ifindex()));
      EXPECT_EQ(link.interface_name(), other["ifname"]);
      EXPECT_EQ(link.mtu(), other["mtu"]);
      EXPECT_EQ(link.mac_address(), other.value("address", "00:00:00:00:00:00"));
      EXPECT_EQ(link.kind(), other.contains("linkinfo") ? other["linkinfo"].value("info_kind", "") : "");
      EXPECT_EQ(link.admin_state() == v1::VethEndpoint::ADMIN_STATE_UP,
                other["flags"].dump().find("\"UP\"") != std::string::npos);
      const std::string oper = other["operstate"];
      EXPECT_EQ(link.oper_state() == v1::Link::OPER_STATE_UP, oper == "UP");
      EXPECT_EQ(link.oper_state() == v1::Link::OPER_STATE_UNSPECIFIED, oper == "UNKNOWN");
      EXPECT_EQ(link.alias(), other.value("ifalias", ""));
      EXPECT_EQ(link.object(), link.interface_name() == "h0" || link.interface_name() == "eth0" ? "veths/v" : "");
      EXPECT_EQ(link.alternative_names_size(), static_cast<int>(other.value("altnames", Json::array()).size()));
      if (other.contains("master")) {
        EXPECT_EQ(by_index[link.master_ifindex()]["ifname"], other["master"]);
      } else {
        EXPECT_EQ(link.master_ifindex(), 0u);
      }
    }
  }
}

TEST_F(InspectionTest, StatisticsAreThoseOfIp) {
  Shell(
      "ip netns exec blue python3 -c 'import socket\n"
      "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
      "for _ in range(20):\n"
      "  for to in (\"127.0.0.1\", \"10.0.0.1\"): s.sendto(b\"x\" * 100, (to, 9))'");
  const auto statistics = [](const Json& link, const char* direction, const char* what) -> uint64_t {
    return link["stats64"][direction][what];
  };
  const std::string show = "-s -n blue link show";
  // They may count on meanwhile.
  const Json before = Ip(show);
  const std::vector<v1::Link> links = Links(In<v1::ListLinksRequest>("namespaces/blue"));
  const Json after = Ip(show);
  ASSERT_EQ(before.size(), links.size());
  ASSERT_EQ(after.size(), links.size());
  const auto between = [](uint64_t count, uint64_t least, uint64_t most) { return least <= count && count <= most; };
  for (size_t i = 0; i < links.size(); ++i) {
    const v1::LinkStatistics& counted = links[i].statistics();
    const Json& least = before[i];
    const Json& most = after[i];
    ASSERT_EQ(links[i].interface_name(), least["ifname"]);
    const auto expect = [&](uint64_t count, const char* direction, const char* what) {
      EXPECT_TRUE(between(count, statistics(least, direction, what), statistics(most, direction, what)))
          << links[i].interface_name() << " " << direction << " " << what << " " << count;
    };
    expect(counted.rx_bytes(), "rx", "bytes");
    expect(counted.rx_packets(), "rx", "packets");
    expect(counted.rx_errors(), "rx", "errors");
    expect(counted.rx_dropped(), "rx", "dropped");
    expect(counted.multicast(), "rx", "multicast");
    expect(counted.tx_bytes(), "tx", "bytes");
    expect(counted.tx_packets(), "tx", "packets");
    expect(counted.tx_errors(), "tx", "errors");
    expect(counted.tx_dropped(), "tx", "dropped");
    EXPECT_GE(counted.rx_packets(), links[i].interface_name() == "lo" ? 20u : 0u);
    EXPECT_GE(counted.tx_bytes(), links[i].interface_name() == "eth0" ? 2000u : 0u);
  }
}

TEST_F(InspectionTest, AddressesAreThoseOfIp) {
  std::multiset<std::string> expected;
  for (const Json& link : Ip("-n blue addr show")) {
    for (const Json& address : link["addr_info"]) {
      const std::string peer = address.value("address", "");
      expected.insert(absl::StrCat(link["ifname"].get<std::string>(), " ", address["local"].get<std::string>(), "/",
                                   address["prefixlen"].get<int>(), " ", peer, " ",
                                   address["scope"].get<std::string>()));
    }
  }
  const std::map<v1::IpScope, std::string> scopes = {
      {v1::IP_SCOPE_GLOBAL, "global"}, {v1::IP_SCOPE_LINK, "link"}, {v1::IP_SCOPE_HOST, "host"}};
  for (const int page_size : {1, 1000}) {
    std::multiset<std::string> seen;
    std::set<std::string> ours;
    for (const v1::AddressEntry& address : Addresses(In<v1::ListAddressesRequest>("namespaces/blue"), page_size)) {
      seen.insert(absl::StrCat(address.interface_name(), " ", address.address(), " ", address.peer(), " ",
                               scopes.at(address.scope())));
      if (!address.object().empty()) ours.insert(address.address());
    }
    EXPECT_EQ(seen, expected);
    EXPECT_EQ(ours, (std::set<std::string>{"10.0.0.2/24", "10.0.1.2/24", "2001:db8::2/64"}));
  }
  v1::ListAddressesRequest some = In<v1::ListAddressesRequest>("namespaces/blue");
  some.set_family(v1::IP_FAMILY_IPV4);
  some.set_interface_name("another-name-of-f1");
  EXPECT_EQ(Addresses(some).size(), 2u);
}

TEST_F(InspectionTest, RoutesAreThoseOfIp) {
  std::multiset<std::string> expected;
  for (const bool ipv6 : {false, true}) {
    for (const Json& route : Ip(absl::StrCat(ipv6 ? "-6" : "-4", " -d -n blue route show table all"))) {
      std::string hops;
      for (const Json& hop : route.value("nexthops", Json::array())) {
        absl::StrAppend(&hops, " ", hop.value("gateway", ""), "%", hop.value("dev", ""), "*", hop.value("weight", 1));
      }
      std::string gateway = route.value("gateway", "");
      if (route.contains("via")) gateway = route["via"].value("host", "");
      expected.insert(absl::StrCat(route.value("type", "unicast"), " ",
                                   Destination(route["dst"].get<std::string>(), ipv6), " ", TableNumber(route), " ",
                                   route.value("metric", 0), " ", gateway, " ", route.value("dev", ""), " ",
                                   route.value("prefsrc", ""), hops));
    }
  }
  const std::map<v1::RouteEntry::Type, std::string> types = {
      {v1::RouteEntry::TYPE_UNICAST, "unicast"},        {v1::RouteEntry::TYPE_LOCAL, "local"},
      {v1::RouteEntry::TYPE_BROADCAST, "broadcast"},    {v1::RouteEntry::TYPE_ANYCAST, "anycast"},
      {v1::RouteEntry::TYPE_MULTICAST, "multicast"},    {v1::RouteEntry::TYPE_BLACKHOLE, "blackhole"},
      {v1::RouteEntry::TYPE_UNREACHABLE, "unreachable"}};
  for (const int page_size : {1, 1000}) {
    std::multiset<std::string> seen;
    std::set<std::string> ours;
    for (const v1::RouteEntry& route : Routes(In<v1::ListRoutesRequest>("namespaces/blue"), page_size)) {
      std::string hops;
      for (const v1::RouteEntry::NextHop& hop : route.next_hops()) {
        absl::StrAppend(&hops, " ", hop.gateway(), "%", hop.interface_name(), "*", hop.weight());
      }
      seen.insert(absl::StrCat(types.at(route.type()), " ", route.destination(), " ", route.table(), " ",
                               route.metric(), " ", route.gateway(), " ", route.interface_name(), " ",
                               route.preferred_source(), hops));
      if (!route.object().empty()) ours.insert(route.destination());
    }
    EXPECT_EQ(seen, expected);
    EXPECT_EQ(ours, (std::set<std::string>{"0.0.0.0/0", "10.1.0.0/16", "10.9.0.0/16", "2001:db8:9::/48"}));
  }
  v1::ListRoutesRequest some = In<v1::ListRoutesRequest>("namespaces/blue");
  some.set_table(1000);
  ASSERT_EQ(Routes(some).size(), 1u);
  EXPECT_EQ(Routes(some)[0].destination(), "10.1.0.0/16");
  some.set_table(254);
  some.set_family(v1::IP_FAMILY_IPV4);
  some.set_interface_name("f1");
  // 172.16.0.0/24, 172.16.1.2, 172.17.0.0/16, 172.18.0.0/16 and twice 172.19.0.0/16.
  EXPECT_EQ(Routes(some).size(), 6u);
}

TEST_F(InspectionTest, NeighborsAreThoseOfIp) {
  std::set<std::string> expected;
  for (const Json& neighbor : Ip("-n blue neigh show nud all")) {
    if (!neighbor.contains("lladdr") || neighbor["state"].dump().find("NOARP") != std::string::npos) continue;
    expected.insert(absl::StrCat(neighbor["dev"].get<std::string>(), " ", neighbor["dst"].get<std::string>(), " ",
                                 neighbor["lladdr"].get<std::string>()));
  }
  std::set<std::string> seen;
  std::set<std::string> ours;
  for (const v1::NeighborEntry& neighbor : Neighbors(In<v1::ListNeighborsRequest>("namespaces/blue"), 1)) {
    if (!neighbor.object().empty()) ours.insert(neighbor.address());
    if (neighbor.mac_address().empty() || neighbor.state() == v1::NeighborEntry::STATE_NOARP) continue;
    seen.insert(absl::StrCat(neighbor.interface_name(), " ", neighbor.address(), " ", neighbor.mac_address()));
  }
  EXPECT_EQ(seen, expected);
  EXPECT_THAT(seen, Contains("f1 172.16.0.9 02:00:00:00:00:09"));
  EXPECT_EQ(ours, std::set<std::string>{"10.0.0.1"});
}

TEST_F(InspectionTest, PagesMissAndRepeatNothingWhileLinksComeAndGo) {
  constexpr int kStay = 20;
  for (int i = 0; i < kStay; ++i) {
    Shell(absl::StrCat("ip -n blue link add goes", i, " type veth peer name goesp", i));
    Shell(absl::StrCat("ip -n blue link add stays", i, " type veth peer name staysp", i));
    Shell(absl::StrCat("ip -n blue addr add 10.100.", i, ".1/24 dev stays", i));
  }
  int turn = 0;
  const auto churn = [&turn] {
    // From both sides of where the list stands.
    Shell(absl::StrCat("ip -n blue link delete goes", turn, " 2>/dev/null; ip -n blue link delete goes",
                       kStay - 1 - turn, " 2>/dev/null; ip -n blue link add comes", turn, " type veth peer name comesp",
                       turn));
    ++turn;
  };
  v1::ListLinksRequest request = In<v1::ListLinksRequest>("namespaces/blue");
  std::map<std::string, int> seen;
  uint32_t before = 0;
  for (const v1::Link& link : Links(request, 7, churn)) {
    ++seen[link.interface_name()];
    EXPECT_GT(link.ifindex(), before);
    before = link.ifindex();
  }
  EXPECT_GE(turn, 8);
  for (int i = 0; i < kStay; ++i) {
    EXPECT_EQ(seen[absl::StrCat("stays", i)], 1) << i;
    EXPECT_EQ(seen[absl::StrCat("staysp", i)], 1) << i;
  }
  for (const auto& [name, times] : seen) EXPECT_EQ(times, 1) << name;

  std::map<std::string, int> addresses;
  const std::vector<v1::AddressEntry> found = All(
      In<v1::ListAddressesRequest>("namespaces/blue"), 3,
      [](const v1::ListAddressesResponse& page) { return page.addresses(); }, churn);
  for (const v1::AddressEntry& address : found) ++addresses[address.interface_name() + " " + address.address()];
  for (int i = 0; i < kStay; ++i) {
    EXPECT_EQ(addresses[absl::StrCat("stays", i, " 10.100.", i, ".1/24")], 1) << i;
  }
}

TEST_F(InspectionTest, PagesMissAndRepeatNothingWhileRoutesAndNeighborsComeAndGo) {
  // In one order of destinations and addresses, so that what goes and comes is on both sides of where the list stands.
  constexpr int kStay = 20;
  std::string batch;
  for (int i = 0; i < kStay; ++i) {
    absl::StrAppend(&batch, "route add 10.", 100 + i, ".0.0/16 dev f1\nroute add 10.", 100 + i,
                    ".128.0/17 dev f1\nroute add 2001:db8:", 20 + i, "::/48 dev f1\nneigh add 172.16.0.", 100 + 2 * i,
                    " lladdr 02:00:00:00:01:01 dev f1\nneigh add 172.16.0.", 101 + 2 * i,
                    " lladdr 02:00:00:00:01:01 dev f1\n");
  }
  Shell(absl::StrCat("ip -n blue -batch - <<'END'\n", batch, "END"));
  int turn = 0;
  const auto churn = [&turn] {
    // One that went already can't go again.
    const int goes[] = {turn % kStay, kStay - 1 - turn % kStay};
    std::string changes;
    for (const int i : goes) {
      absl::StrAppend(&changes, "route del 10.", 100 + i, ".128.0/17 dev f1\nneigh del 172.16.0.", 101 + 2 * i,
                      " dev f1\n");
    }
    absl::StrAppend(&changes, "route replace 10.", 99 - turn % 20, ".0.0/16 dev f1\nroute replace 10.", 130 + turn,
                    ".0.0/16 dev f1\nneigh replace 172.16.0.", 99 - turn % 20,
                    " lladdr 02:00:00:00:01:02 dev f1\nneigh replace 172.16.0.", 200 + turn % 50,
                    " lladdr 02:00:00:00:01:02 dev f1\n");
    Shell(absl::StrCat("ip -n blue -force -batch - 2>/dev/null <<'END' || true\n", changes, "END"));
    ++turn;
  };
  std::map<std::string, int> routes;
  for (const v1::RouteEntry& route : All(
           In<v1::ListRoutesRequest>("namespaces/blue"), 7,
           [](const v1::ListRoutesResponse& page) { return page.routes(); }, churn)) {
    ++routes[absl::StrCat(route.destination(), " ", route.interface_name(), " ", route.table(), " ", route.gateway())];
  }
  EXPECT_GE(turn, 8);
  for (int i = 0; i < kStay; ++i) {
    EXPECT_EQ(routes[absl::StrCat("10.", 100 + i, ".0.0/16 f1 254 ")], 1) << i;
    EXPECT_EQ(routes[absl::StrCat("2001:db8:", 20 + i, "::/48 f1 254 ")], 1) << i;
  }
  turn = 0;
  std::map<std::string, int> neighbors;
  for (const v1::NeighborEntry& neighbor : All(
           In<v1::ListNeighborsRequest>("namespaces/blue"), 4,
           [](const v1::ListNeighborsResponse& page) { return page.neighbors(); }, churn)) {
    ++neighbors[absl::StrCat(neighbor.interface_name(), " ", neighbor.address())];
  }
  EXPECT_GE(turn, 8);
  for (int i = 0; i < kStay; ++i) EXPECT_EQ(neighbors[absl::StrCat("f1 172.16.0.", 100 + 2 * i)], 1) << i;
  for (const auto& [name, times] : neighbors) EXPECT_EQ(times, 1) << name;
}

TEST_F(InspectionTest, ListsAreWholeWhileOthersChangeLinksAllTheTime) {
  Process others({"sh", "-c",
                  "for i in $(seq 200); do ip -n blue link add c$((i % 5)) type veth peer name d$((i % 5)); "
                  "ip -n blue link delete c$((i % 5)); done; echo done >&2; exec sleep 60"});
  for (int round = 0; round < 100; ++round) {
    std::set<std::string> names;
    for (const v1::Link& link : Links(In<v1::ListLinksRequest>("namespaces/blue"), 2)) {
      EXPECT_TRUE(names.insert(link.interface_name() + link.name()).second) << link.name();
    }
    for (const char* name : {"lo", "eth0", "br0", "f0", "f1"}) {
      EXPECT_THAT(names, Contains(HasSubstr(std::string(name) + "namespaces/blue/links/")));
    }
  }
  others.WaitForLine("done");
}

TEST_F(InspectionTest, ANamespaceThatGoesAwayBetweenPagesIsAnError) {
  v1::ListLinksRequest request = In<v1::ListLinksRequest>("namespaces/blue");
  request.set_page_size(1);
  const auto first = client_->List(request);
  ASSERT_TRUE(first.ok()) << first.message;
  request.set_page_token(first.value.next_page_token());
  ASSERT_CALL_OK(DeleteNamespace("blue"));
  EXPECT_EQ(client_->List(request).Summary(), "NOT_FOUND NAMESPACE_NOT_FOUND");
  ASSERT_CALL_OK(CreateNamespace("blue"));
  Shell("ip netns delete blue");
  EXPECT_EQ(client_->List(request).Summary(), "FAILED_PRECONDITION NAMESPACE_MISSING");
  Shell("ip netns add foreign");
  EXPECT_EQ(client_->List(In<v1::ListLinksRequest>("namespaces/foreign")).Summary(),
            "FAILED_PRECONDITION NAMESPACE_NOT_MANAGED");
  Shell("ip netns delete foreign");
}

TEST_F(InspectionTest, ContainShowsIt) {
  const std::string contain = absl::StrCat(kContain, " net ");
  EXPECT_THAT(Shell(contain + "links blue"), AllOf(HasSubstr("eth0"), HasSubstr("MASTER"), HasSubstr("br0")));
  EXPECT_THAT(Shell(contain + "links -o name"), HasSubstr("host/links/1\n"));
  const Json links = Json::parse(Shell(contain + "links blue --interface eth0 -o json"), nullptr, false);
  ASSERT_EQ(links["links"].size(), 1u);
  EXPECT_EQ(links["links"][0]["object"], "veths/v");
  EXPECT_THAT(Shell(contain + "addresses blue --interface eth0"), HasSubstr("10.0.0.2/24"));
  EXPECT_THAT(Shell(contain + "routes blue"), AllOf(HasSubstr("blackhole 10.9.0.0/16"), Not(HasSubstr("127.0.0.1"))));
  EXPECT_THAT(Shell(contain + "routes blue --table all"), HasSubstr("local 127.0.0.1/32"));
  EXPECT_THAT(Shell(contain + "neighbors blue -o yaml"), HasSubstr("02:00:00:00:00:01"));
}

}  // namespace
}  // namespace netprov::testing
