// What the daemon shows of the kernel, with iproute2 as the witness.
#include <algorithm>
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

// Every field of every link, but the statistics.
TEST_F(InspectionTest, LinksAreThoseOfIp) {
  Shell(
      "ip -n blue link set f1 promisc on allmulticast on group 7 gso_max_size 20000 gso_max_segs 100 gro_max_size "
      "30000");
  Shell(
      "ip -n blue link set br0 mtu 1400; ip -n blue link add down0 type dummy || ip -n blue link add down0 type "
      "bridge");
  const std::map<std::string, v1::Link::OperState> states = {
      {"UNKNOWN", v1::Link::OPER_STATE_UNSPECIFIED},
      {"NOTPRESENT", v1::Link::OPER_STATE_NOT_PRESENT},
      {"DOWN", v1::Link::OPER_STATE_DOWN},
      {"LOWERLAYERDOWN", v1::Link::OPER_STATE_LOWER_LAYER_DOWN},
      {"TESTING", v1::Link::OPER_STATE_TESTING},
      {"DORMANT", v1::Link::OPER_STATE_DORMANT},
      {"UP", v1::Link::OPER_STATE_UP},
  };
  for (const auto& [parent, where] :
       std::map<std::string, std::string>{{"host", ""}, {"namespaces/blue", "-n blue "}}) {
    SCOPED_TRACE(parent);
    Json witness = Ip(where + "-d -N link show");
    std::sort(witness.begin(), witness.end(), [](const Json& a, const Json& b) { return a["ifindex"] < b["ifindex"]; });
    std::map<std::string, uint32_t> indexes;
    for (const Json& link : witness) indexes[link["ifname"]] = link["ifindex"];
    const std::vector<v1::Link> links = Links(In<v1::ListLinksRequest>(parent));
    ASSERT_EQ(links.size(), witness.size());
    for (size_t i = 0; i < links.size(); ++i) {
      const v1::Link& link = links[i];
      SCOPED_TRACE(link.interface_name());
      const Json& other = witness[i];
      const auto has_flag = [&other](const char* flag) {
        return absl::StrContains(other["flags"].dump(), absl::StrCat("\"", flag, "\""));
      };
      v1::Link expected;
      const std::string name = other["ifname"];
      expected.set_name(absl::StrCat(parent, "/links/", other["ifindex"].get<uint32_t>()));
      expected.set_ifindex(other["ifindex"]);
      expected.set_interface_name(name);
      for (const Json& altname : other.value("altnames", Json::array())) expected.add_alternative_names(altname);
      const Json info = other.value("linkinfo", Json::object());
      expected.set_kind(info.value("info_kind", ""));
      expected.set_mac_address(other.value("address", "00:00:00:00:00:00"));
      expected.set_mtu(other["mtu"]);
      expected.set_admin_state(has_flag("UP") ? v1::VethEndpoint::ADMIN_STATE_UP : v1::VethEndpoint::ADMIN_STATE_DOWN);
      expected.set_oper_state(states.at(other["operstate"]));
      if (other.contains("master")) expected.set_master_ifindex(indexes.at(other["master"]));
      // By its name where it is in the same namespace.
      if (expected.kind() == "veth") {
        expected.set_peer_ifindex(other.contains("link_index") ? other["link_index"].get<uint32_t>()
                                                               : indexes.at(other["link"]));
      }
      expected.set_group(static_cast<uint32_t>(std::stoul(other["group"].get<std::string>())));
      expected.set_alias(other.value("ifalias", ""));
      expected.set_tx_queues(other["num_tx_queues"]);
      expected.set_rx_queues(other["num_rx_queues"]);
      expected.set_promiscuous(has_flag("PROMISC"));
      expected.set_all_multicast(has_flag("ALLMULTI"));
      v1::OffloadLimits& limits = *expected.mutable_offload_limits();
      limits.set_gso_max_size(other["gso_max_size"]);
      limits.set_gso_max_segments(other["gso_max_segs"]);
      limits.set_gro_max_size(other["gro_max_size"]);
      // What this `ip` does not know of.
      limits.set_gso_ipv4_max_size(link.offload_limits().gso_ipv4_max_size());
      limits.set_gro_ipv4_max_size(link.offload_limits().gro_ipv4_max_size());
      if (name == "h0" || name == "eth0") expected.set_object("veths/v");
      v1::Link seen = link;
      seen.clear_statistics();
      EXPECT_EQ(seen.DebugString(), expected.DebugString());
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

// Every field of every address.
TEST_F(InspectionTest, AddressesAreThoseOfIp) {
  // One of a network that it has an address of, one that was learnt and is not chosen any more, and one that is taken.
  Shell("ip -n blue addr add 172.16.0.77/24 dev f1");
  Shell("ip -n blue addr add 2001:db8:7::1/64 dev f1 valid_lft 1000 preferred_lft 0");
  Shell("ip -n blue addr add 2001:db8:8::1/64 dev br0 nodad; ip -n blue addr add 2001:db8:8::1/64 dev f1");
  Shell("until ip -n blue addr show dev f1 | grep -q dadfailed; do sleep 0.02; done");
  // The kernel's own come on their own time.
  Shell("while ip -n blue addr show | grep tentative | grep -vq dadfailed; do sleep 0.02; done");
  std::multiset<std::string> expected;
  for (const Json& link : Ip("-n blue -N -d addr show")) {
    for (const Json& address : link["addr_info"]) {
      v1::AddressEntry entry;
      entry.set_ifindex(link["ifindex"]);
      entry.set_interface_name(link["ifname"]);
      const std::string local = address["local"];
      entry.set_address(absl::StrCat(local, "/", address["prefixlen"].get<int>()));
      entry.set_peer(address.value("address", ""));
      const std::map<std::string, v1::IpScope> scopes = {
          {"0", v1::IP_SCOPE_GLOBAL}, {"253", v1::IP_SCOPE_LINK}, {"254", v1::IP_SCOPE_HOST}};
      entry.set_scope(scopes.at(address["scope"]));
      entry.set_permanent(!address.value("dynamic", false));
      entry.set_tentative(address.value("tentative", false));
      entry.set_duplicate(address.value("dadfailed", false));
      entry.set_deprecated(address.value("deprecated", false));
      entry.set_secondary(address.value("secondary", false) || address.value("temporary", false));
      // Who made it, of which this `ip` knows nothing: what netprov did it says.
      if (link["ifname"] == "eth0" && address["scope"] == "0") {
        entry.set_protocol(110);
        entry.set_object("veths/v");
      }
      expected.insert(entry.DebugString());
    }
  }
  EXPECT_THAT(expected, Contains(HasSubstr("secondary: true")));
  EXPECT_THAT(expected, Contains(HasSubstr("deprecated: true")));
  EXPECT_THAT(expected, Contains(HasSubstr("duplicate: true")));
  for (const int page_size : {1, 1000}) {
    std::multiset<std::string> seen;
    for (v1::AddressEntry& address : Addresses(In<v1::ListAddressesRequest>("namespaces/blue"), page_size)) {
      if (address.protocol() != 110) address.clear_protocol();
      seen.insert(address.DebugString());
    }
    EXPECT_EQ(seen, expected);
  }
  v1::ListAddressesRequest some = In<v1::ListAddressesRequest>("namespaces/blue");
  some.set_family(v1::IP_FAMILY_IPV4);
  some.set_interface_name("another-name-of-f1");
  EXPECT_EQ(Addresses(some).size(), 3u);
}

// Every field of every route.
TEST_F(InspectionTest, RoutesAreThoseOfIp) {
  Shell("ip -n blue route add 172.20.0.0/16 via 192.0.2.9 dev f1 onlink mtu 1300 src 172.16.0.1 metric 5 proto static");
  Shell(
      "ip -n blue route add 172.21.0.0/16 nexthop via 192.0.2.9 dev f1 onlink nexthop via 172.16.0.2 dev f1 weight 7");
  Shell("ip -n blue route add prohibit 172.22.0.0/16 table 1001; ip -n blue route add throw 172.23.0.0/16 table 1001");
  const std::map<std::string, v1::RouteEntry::Type> types = {
      {"1", v1::RouteEntry::TYPE_UNICAST},     {"2", v1::RouteEntry::TYPE_LOCAL},
      {"3", v1::RouteEntry::TYPE_BROADCAST},   {"4", v1::RouteEntry::TYPE_ANYCAST},
      {"5", v1::RouteEntry::TYPE_MULTICAST},   {"6", v1::RouteEntry::TYPE_BLACKHOLE},
      {"7", v1::RouteEntry::TYPE_UNREACHABLE}, {"8", v1::RouteEntry::TYPE_PROHIBIT},
      {"9", v1::RouteEntry::TYPE_THROW}};
  const std::map<std::string, v1::IpScope> scopes = {{"0", v1::IP_SCOPE_GLOBAL},
                                                     {"200", v1::IP_SCOPE_SITE},
                                                     {"253", v1::IP_SCOPE_LINK},
                                                     {"254", v1::IP_SCOPE_HOST},
                                                     {"255", v1::IP_SCOPE_NOWHERE}};
  std::map<std::string, uint32_t> indexes;
  for (const Json& link : Ip("-n blue link show")) indexes[link["ifname"]] = link["ifindex"];
  const auto has_flag = [](const Json& from, const char* flag) {
    return absl::StrContains(from.value("flags", Json::array()).dump(), absl::StrCat("\"", flag, "\""));
  };
  const auto gateway = [](const Json& from) {
    return from.contains("via") ? from["via"].value("host", "") : from.value("gateway", "");
  };
  std::multiset<std::string> expected;
  const std::set<std::string> ours = {"0.0.0.0/0", "10.1.0.0/16", "10.9.0.0/16", "2001:db8:9::/48"};
  for (const bool ipv6 : {false, true}) {
    for (const Json& route : Ip(absl::StrCat(ipv6 ? "-6" : "-4", " -d -N -n blue route show table all"))) {
      v1::RouteEntry entry;
      entry.set_destination(Destination(route["dst"].get<std::string>(), ipv6));
      entry.set_type(types.at(route["type"]));
      entry.set_table(static_cast<uint32_t>(std::stoul(route.value("table", "254"))));
      entry.set_metric(route.value("metric", 0));
      entry.set_tos(static_cast<uint32_t>(std::stoul(route.value("tos", "0"), nullptr, 0)));
      entry.set_scope(scopes.at(route.value("scope", "0")));
      entry.set_protocol(static_cast<uint32_t>(std::stoul(route["protocol"].get<std::string>())));
      entry.set_gateway(gateway(route));
      if (route.contains("dev")) {
        entry.set_interface_name(route["dev"]);
        entry.set_ifindex(indexes.at(route["dev"]));
      }
      entry.set_preferred_source(route.value("prefsrc", ""));
      entry.set_on_link(has_flag(route, "onlink"));
      for (const Json& metric : route.value("metrics", Json::array())) entry.set_mtu(metric.value("mtu", 0));
      for (const Json& hop : route.value("nexthops", Json::array())) {
        v1::RouteEntry::NextHop& next = *entry.add_next_hops();
        next.set_gateway(gateway(hop));
        next.set_interface_name(hop["dev"]);
        next.set_ifindex(indexes.at(hop["dev"]));
        next.set_weight(hop.value("weight", 1));
        next.set_on_link(has_flag(hop, "onlink"));
      }
      if (ours.contains(entry.destination())) entry.set_object("veths/v");
      expected.insert(entry.DebugString());
    }
  }
  for (const int page_size : {1, 1000}) {
    std::multiset<std::string> seen;
    std::set<std::string> with_object;
    for (const v1::RouteEntry& route : Routes(In<v1::ListRoutesRequest>("namespaces/blue"), page_size)) {
      seen.insert(route.DebugString());
      if (!route.object().empty()) with_object.insert(route.destination());
    }
    EXPECT_EQ(seen, expected);
    EXPECT_EQ(with_object, ours);
  }
  v1::ListRoutesRequest some = In<v1::ListRoutesRequest>("namespaces/blue");
  some.set_table(1000);
  ASSERT_EQ(Routes(some).size(), 1u);
  EXPECT_EQ(Routes(some)[0].destination(), "10.1.0.0/16");
  some.set_table(254);
  some.set_family(v1::IP_FAMILY_IPV4);
  some.set_interface_name("f1");
  // 172.16.0.0/24, 172.16.1.2, 172.17.0.0/16, 172.18.0.0/16, twice 172.19.0.0/16, 172.20.0.0/16 and 172.21.0.0/16.
  EXPECT_EQ(Routes(some).size(), 8u);
}

// Every field of every neighbor.
TEST_F(InspectionTest, NeighborsAreThoseOfIp) {
  Shell("ip -n blue neigh add 2001:db8::9 lladdr 02:00:00:00:00:19 dev eth0 nud permanent router protocol static");
  Shell(
      "ip -n blue neigh add 172.16.0.8 dev f1 nud failed; ip -n blue neigh add 172.16.0.7 lladdr 02:00:00:00:00:07 dev "
      "f1 nud noarp");
  const std::map<std::string, v1::NeighborEntry::State> states = {
      {"INCOMPLETE", v1::NeighborEntry::STATE_INCOMPLETE}, {"REACHABLE", v1::NeighborEntry::STATE_REACHABLE},
      {"STALE", v1::NeighborEntry::STATE_STALE},           {"DELAY", v1::NeighborEntry::STATE_DELAY},
      {"PROBE", v1::NeighborEntry::STATE_PROBE},           {"FAILED", v1::NeighborEntry::STATE_FAILED},
      {"NOARP", v1::NeighborEntry::STATE_NOARP},           {"PERMANENT", v1::NeighborEntry::STATE_PERMANENT}};
  std::map<std::string, uint32_t> indexes;
  for (const Json& link : Ip("-n blue link show")) indexes[link["ifname"]] = link["ifindex"];
  const auto expected = [&] {
    std::multiset<std::string> all;
    for (const Json& neighbor : Ip("-n blue -N neigh show nud all")) {
      v1::NeighborEntry entry;
      entry.set_interface_name(neighbor["dev"]);
      entry.set_ifindex(indexes.at(neighbor["dev"]));
      entry.set_address(neighbor["dst"]);
      entry.set_mac_address(neighbor.value("lladdr", ""));
      const Json state = neighbor.value("state", Json::array());
      if (!state.empty()) entry.set_state(states.at(state[0]));
      entry.set_router(neighbor.contains("router"));
      entry.set_protocol(static_cast<uint32_t>(std::stoul(neighbor.value("protocol", "0"))));
      if (entry.address() == "10.0.0.1") entry.set_object("veths/v");
      all.insert(entry.DebugString());
    }
    return all;
  };
  // The kernel looks for routers and groups on its own time.
  std::multiset<std::string> before;
  std::multiset<std::string> seen;
  do {
    before = expected();
    seen.clear();
    for (const v1::NeighborEntry& neighbor : Neighbors(In<v1::ListNeighborsRequest>("namespaces/blue"), 1)) {
      seen.insert(neighbor.DebugString());
    }
  } while (expected() != before);
  EXPECT_EQ(seen, before);
  EXPECT_THAT(seen, Contains(AllOf(HasSubstr("\"172.16.0.9\""), HasSubstr("STATE_STALE"))));
  EXPECT_THAT(seen, Contains(AllOf(HasSubstr("\"2001:db8::9\""), HasSubstr("router: true"), HasSubstr("protocol: 4"))));
  EXPECT_THAT(seen, Contains(AllOf(HasSubstr("\"10.0.0.1\""), HasSubstr("protocol: 110"))));
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
