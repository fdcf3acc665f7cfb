#include "server/api/inspection.h"

#include <cstdint>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "google/rpc/error_details.pb.h"
#include "gtest/gtest.h"
#include "server/api/page_token.h"
#include "server/netlink/ip_address.h"

namespace netprov::api {
namespace {

using engine::InspectedAddress;
using engine::InspectedLink;
using engine::InspectedNeighbour;
using engine::InspectedRoute;
using engine::Page;
using netlink::IpAddress;
using netlink::IpPrefix;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

IpAddress Ip(const char* text) { return *IpAddress::Parse(text); }
IpPrefix Prefix(const char* text) { return *IpPrefix::Parse(text); }

std::vector<std::string> FieldsOf(const absl::Status& status) {
  std::vector<std::string> fields;
  google::rpc::BadRequest bad;
  const auto payload = status.GetPayload("type.googleapis.com/google.rpc.BadRequest");
  if (!payload.has_value() || !bad.ParseFromString(std::string(*payload))) return fields;
  for (const auto& violation : bad.field_violations()) fields.push_back(violation.field());
  return fields;
}

v1::ListRoutesRequest RoutesOf(const std::string& parent) {
  v1::ListRoutesRequest request;
  request.set_parent(parent);
  return request;
}

TEST(InspectionRequestTest, ParentsAreTheHostAndNamespaces) {
  EXPECT_EQ(ToCall(RoutesOf("host"))->filter.namespace_id, "");
  EXPECT_EQ(ToCall(RoutesOf("namespaces/blue"))->filter.namespace_id, "blue");
  EXPECT_EQ(ToCall(RoutesOf("namespaces/my%20net"))->filter.namespace_id, "my net");
  for (const char* parent : {"", "blue", "hosts", "host/", "namespaces/", "namespaces/a/b", "veths/v"}) {
    EXPECT_THAT(FieldsOf(ToCall(RoutesOf(parent)).status()), ElementsAre("parent")) << parent;
  }
}

TEST(InspectionRequestTest, FiltersBecomeThoseOfTheEngine) {
  v1::ListRoutesRequest routes = RoutesOf("host");
  auto call = ToCall(routes);
  ASSERT_TRUE(call.ok()) << call.status();
  EXPECT_EQ(call->filter.family, std::nullopt);
  EXPECT_EQ(call->filter.table, std::nullopt);
  EXPECT_EQ(call->page.limit, 100u);
  routes.set_family(v1::IP_FAMILY_IPV6);
  routes.set_table(1000);
  routes.set_interface_name("eth0");
  call = ToCall(routes);
  ASSERT_TRUE(call.ok()) << call.status();
  EXPECT_EQ(call->filter.family, netlink::IpFamily::kIpv6);
  EXPECT_EQ(call->filter.table, 1000u);
  EXPECT_EQ(call->filter.interface_name, "eth0");

  v1::ListLinksRequest links;
  links.set_parent("namespaces/blue");
  links.set_kind("veth");
  links.set_interface_name("eth0");
  links.set_page_size(7);
  const auto links_call = ToCall(links);
  ASSERT_TRUE(links_call.ok()) << links_call.status();
  EXPECT_EQ(links_call->filter.namespace_id, "blue");
  EXPECT_EQ(links_call->filter.kind, "veth");
  EXPECT_EQ(links_call->filter.interface_name, "eth0");
  EXPECT_EQ(links_call->page.limit, 7u);

  v1::ListAddressesRequest addresses;
  addresses.set_parent("host");
  addresses.set_family(v1::IP_FAMILY_IPV4);
  EXPECT_EQ(ToCall(addresses)->filter.family, netlink::IpFamily::kIpv4);
  v1::ListNeighborsRequest neighbors;
  neighbors.set_parent("host");
  neighbors.set_interface_name("eth0");
  EXPECT_EQ(ToCall(neighbors)->filter.interface_name, "eth0");
}

TEST(InspectionRequestTest, TellsAllThatIsWrong) {
  v1::ListRoutesRequest routes = RoutesOf("blue");
  routes.set_family(static_cast<v1::IpFamily>(7));
  routes.set_interface_name(std::string(128, 'x'));
  routes.set_page_size(-1);
  routes.set_page_token("?");
  EXPECT_THAT(FieldsOf(ToCall(routes).status()),
              ElementsAre("parent", "family", "interface_name", "page_size", "page_token"));
  v1::ListLinksRequest links;
  links.set_parent("host");
  links.set_kind(std::string("a\0b", 3));
  EXPECT_THAT(FieldsOf(ToCall(links).status()), ElementsAre("kind"));
}

// One link of that index.
InspectedLink LinkOf(uint32_t ifindex) {
  InspectedLink item{.id = std::string("\0\0\0", 3) + static_cast<char>(ifindex), .observed = {}, .object = {}};
  item.observed.link.ifindex = ifindex;
  return item;
}

TEST(InspectionRequestTest, ATokenGoesOnOnlyWithItsOwnList) {
  v1::ListLinksRequest request;
  request.set_parent("namespaces/blue");
  request.set_kind("veth");
  const auto call = ToCall(request);
  ASSERT_TRUE(call.ok()) << call.status();
  EXPECT_EQ(call->page.after, "");
  const auto answer = ToProto(*call, Page<InspectedLink>{.items = {LinkOf(3)}, .more = true});
  request.set_page_token(answer.next_page_token());
  // The size of a page may change.
  request.set_page_size(5);
  ASSERT_TRUE(ToCall(request).ok()) << ToCall(request).status();
  EXPECT_EQ(ToCall(request)->page.after, std::string("\0\0\0\3", 4));

  v1::ListLinksRequest other = request;
  other.set_parent("host");
  EXPECT_THAT(FieldsOf(ToCall(other).status()), ElementsAre("page_token"));
  other = request;
  other.clear_kind();
  EXPECT_THAT(FieldsOf(ToCall(other).status()), ElementsAre("page_token"));
  other = request;
  other.set_interface_name("eth0");
  EXPECT_THAT(FieldsOf(ToCall(other).status()), ElementsAre("page_token"));
  v1::ListRoutesRequest routes = RoutesOf("namespaces/blue");
  routes.set_page_token(answer.next_page_token());
  EXPECT_THAT(FieldsOf(ToCall(routes).status()), ElementsAre("page_token"));
  // Of another making.
  other = request;
  other.set_page_token(FormatPageToken("ListLinks", "x"));
  EXPECT_THAT(FieldsOf(ToCall(other).status()), ElementsAre("page_token"));
}

TEST(InspectionRequestTest, ATokenOfTheLongestNamesIsTaken) {
  v1::ListLinksRequest request;
  request.set_parent("namespaces/" + std::string(255, 'n'));
  request.set_kind(std::string(127, 'k'));
  request.set_interface_name(std::string(127, 'i'));
  const auto answer = ToProto(*ToCall(request), Page<InspectedLink>{.items = {LinkOf(3)}, .more = true});
  request.set_page_token(answer.next_page_token());
  EXPECT_TRUE(ToCall(request).ok());
}

TEST(InspectionAnswerTest, ALinkIsToldWhole) {
  InspectedLink item = LinkOf(2);
  engine::Link& link = item.observed.link;
  link.name = "eth\xff";
  link.mac = {{2, 0, 0, 0, 0, 1}};
  link.mtu = 1400;
  link.up = true;
  link.group = 28272;
  link.alias = "a text";
  link.kind = "veth";
  link.peer_ifindex = 9;
  link.options = {.tx_queues = 2, .rx_queues = 3, .promiscuous = true, .all_multicast = true, .limits = {}};
  link.options.limits.gso_max_size = 65536;
  link.alternative_names = {"other"};
  item.observed.oper_state = netlink::OperState::kLowerLayerDown;
  item.observed.link.master_ifindex = 4;
  // More than 32 bits.
  constexpr uint64_t kMany = uint64_t{1} << 40;
  item.observed.statistics = {.ifindex = 2,
                              .rx_packets = kMany + 1,
                              .tx_packets = kMany + 2,
                              .rx_bytes = kMany + 3,
                              .tx_bytes = kMany + 4,
                              .rx_errors = kMany + 5,
                              .tx_errors = kMany + 6,
                              .rx_dropped = kMany + 7,
                              .tx_dropped = kMany + 8,
                              .multicast = kMany + 9,
                              .rx_no_handler = kMany + 10};
  item.object = "veths/v1";
  v1::ListLinksRequest request;
  request.set_parent("namespaces/blue");
  const auto answer = ToProto(*ToCall(request), Page<InspectedLink>{.items = {item}});
  EXPECT_EQ(answer.next_page_token(), "");
  ASSERT_EQ(answer.links_size(), 1);
  const v1::Link& proto = answer.links(0);
  EXPECT_EQ(proto.name(), "namespaces/blue/links/2");
  EXPECT_EQ(proto.ifindex(), 2u);
  EXPECT_EQ(proto.interface_name(), "eth\\xff");
  EXPECT_THAT(proto.alternative_names(), ElementsAre("other"));
  EXPECT_EQ(proto.kind(), "veth");
  EXPECT_EQ(proto.mac_address(), "02:00:00:00:00:01");
  EXPECT_EQ(proto.mtu(), 1400u);
  EXPECT_EQ(proto.admin_state(), v1::VethEndpoint::ADMIN_STATE_UP);
  EXPECT_EQ(proto.oper_state(), v1::Link::OPER_STATE_LOWER_LAYER_DOWN);
  EXPECT_EQ(proto.master_ifindex(), 4u);
  EXPECT_EQ(proto.peer_ifindex(), 9u);
  EXPECT_EQ(proto.group(), 28272u);
  EXPECT_EQ(proto.alias(), "a text");
  EXPECT_EQ(proto.tx_queues(), 2u);
  EXPECT_EQ(proto.rx_queues(), 3u);
  EXPECT_TRUE(proto.promiscuous());
  EXPECT_TRUE(proto.all_multicast());
  EXPECT_EQ(proto.offload_limits().gso_max_size(), 65536u);
  EXPECT_EQ(proto.statistics().rx_packets(), kMany + 1);
  EXPECT_EQ(proto.statistics().tx_packets(), kMany + 2);
  EXPECT_EQ(proto.statistics().rx_bytes(), kMany + 3);
  EXPECT_EQ(proto.statistics().tx_bytes(), kMany + 4);
  EXPECT_EQ(proto.statistics().rx_errors(), kMany + 5);
  EXPECT_EQ(proto.statistics().tx_errors(), kMany + 6);
  EXPECT_EQ(proto.statistics().rx_dropped(), kMany + 7);
  EXPECT_EQ(proto.statistics().tx_dropped(), kMany + 8);
  EXPECT_EQ(proto.statistics().multicast(), kMany + 9);
  EXPECT_EQ(proto.statistics().rx_no_handler(), kMany + 10);
  EXPECT_EQ(proto.object(), "veths/v1");
}

TEST(InspectionAnswerTest, AddressesSayWhatBecameOfThem) {
  Page<InspectedAddress> page;
  page.items.push_back({.id = "1",
                        .address = {.ifindex = 2,
                                    .local = Prefix("10.0.0.2/32"),
                                    .peer = Ip("10.0.0.1"),
                                    .scope = 253,
                                    .flags = 0x80 | 0x01,
                                    .protocol = 110},
                        .interface_name = "eth0",
                        .object = "veths/v1"});
  page.items.push_back({.id = "2",
                        .address = {.ifindex = 3, .local = Prefix("2001:db8::2/64"), .flags = 0x40 | 0x08 | 0x20},
                        .interface_name = "eth1",
                        .object = ""});
  v1::ListAddressesRequest request;
  request.set_parent("host");
  const auto answer = ToProto(*ToCall(request), page);
  ASSERT_EQ(answer.addresses_size(), 2);
  const v1::AddressEntry& first = answer.addresses(0);
  EXPECT_EQ(first.ifindex(), 2u);
  EXPECT_EQ(first.interface_name(), "eth0");
  EXPECT_EQ(first.address(), "10.0.0.2/32");
  EXPECT_EQ(first.peer(), "10.0.0.1");
  EXPECT_EQ(first.scope(), v1::IP_SCOPE_LINK);
  EXPECT_TRUE(first.permanent() && first.secondary());
  EXPECT_FALSE(first.tentative() || first.duplicate() || first.deprecated());
  EXPECT_EQ(first.protocol(), 110u);
  EXPECT_EQ(first.object(), "veths/v1");
  const v1::AddressEntry& second = answer.addresses(1);
  EXPECT_EQ(second.scope(), v1::IP_SCOPE_GLOBAL);
  EXPECT_TRUE(second.tentative() && second.duplicate() && second.deprecated());
  EXPECT_FALSE(second.permanent() || second.secondary());
  EXPECT_EQ(second.object(), "");
}

TEST(InspectionAnswerTest, RoutesSayWhereTheyLead) {
  Page<InspectedRoute> page;
  page.items.push_back({.id = "1",
                        .route = {.destination = Prefix("10.1.0.0/16"),
                                  .gateway = Ip("10.0.0.1"),
                                  .ifindex = 2,
                                  .metric = 7,
                                  .table = 1000,
                                  .type = 1,
                                  .protocol = 110,
                                  .preferred_source = Ip("10.0.0.2"),
                                  .onlink = true,
                                  .mtu = 1400,
                                  .tos = 4},
                        .interface_name = "eth0",
                        .next_hop_names = {},
                        .object = "veths/v1"});
  page.items.push_back({.id = "2",
                        .route = {.destination = Prefix("0.0.0.0/0"),
                                  .next_hops = {{.gateway = Ip("10.0.0.1"), .ifindex = 2, .weight = 3},
                                                {.gateway = std::nullopt, .ifindex = 3, .onlink = true}}},
                        .interface_name = "",
                        .next_hop_names = {"eth0", "eth1"},
                        .object = ""});
  page.items.push_back({.id = "3",
                        .route = {.destination = Prefix("10.2.0.0/16"), .type = 9, .via = Ip("fe80::1")},
                        .interface_name = "",
                        .next_hop_names = {},
                        .object = ""});
  const auto answer = ToProto(*ToCall(RoutesOf("host")), page);
  ASSERT_EQ(answer.routes_size(), 3);
  const v1::RouteEntry& first = answer.routes(0);
  EXPECT_EQ(first.destination(), "10.1.0.0/16");
  EXPECT_EQ(first.type(), v1::RouteEntry::TYPE_UNICAST);
  EXPECT_EQ(first.table(), 1000u);
  EXPECT_EQ(first.metric(), 7u);
  EXPECT_EQ(first.tos(), 4u);
  EXPECT_EQ(first.scope(), v1::IP_SCOPE_GLOBAL);
  EXPECT_EQ(first.protocol(), 110u);
  EXPECT_EQ(first.gateway(), "10.0.0.1");
  EXPECT_EQ(first.ifindex(), 2u);
  EXPECT_EQ(first.interface_name(), "eth0");
  EXPECT_EQ(first.preferred_source(), "10.0.0.2");
  EXPECT_TRUE(first.on_link());
  EXPECT_EQ(first.mtu(), 1400u);
  EXPECT_THAT(first.next_hops(), IsEmpty());
  EXPECT_EQ(first.object(), "veths/v1");
  const v1::RouteEntry& second = answer.routes(1);
  EXPECT_EQ(second.gateway(), "");
  EXPECT_EQ(second.ifindex(), 0u);
  ASSERT_EQ(second.next_hops_size(), 2);
  EXPECT_EQ(second.next_hops(0).gateway(), "10.0.0.1");
  EXPECT_EQ(second.next_hops(0).interface_name(), "eth0");
  EXPECT_EQ(second.next_hops(0).weight(), 3u);
  EXPECT_EQ(second.next_hops(1).gateway(), "");
  EXPECT_EQ(second.next_hops(1).ifindex(), 3u);
  EXPECT_TRUE(second.next_hops(1).on_link());
  EXPECT_EQ(answer.routes(2).type(), v1::RouteEntry::TYPE_THROW);
  EXPECT_EQ(answer.routes(2).gateway(), "fe80::1");
}

TEST(InspectionAnswerTest, NeighborsSayHowSureTheKernelIs) {
  Page<InspectedNeighbour> page;
  page.items.push_back({.id = "1",
                        .neighbour = {.ifindex = 2,
                                      .address = Ip("10.0.0.9"),
                                      .mac = netlink::MacAddress{{2, 0, 0, 0, 0, 9}},
                                      .protocol = 110},
                        .interface_name = "eth0",
                        .object = "veths/v1"});
  page.items.push_back(
      {.id = "2",
       .neighbour = {.ifindex = 3, .address = Ip("fe80::1"), .mac = std::nullopt, .state = 0x20, .flags = 0x80},
       .interface_name = "eth1",
       .object = ""});
  v1::ListNeighborsRequest request;
  request.set_parent("host");
  const auto answer = ToProto(*ToCall(request), page);
  ASSERT_EQ(answer.neighbors_size(), 2);
  EXPECT_EQ(answer.neighbors(0).address(), "10.0.0.9");
  EXPECT_EQ(answer.neighbors(0).mac_address(), "02:00:00:00:00:09");
  EXPECT_EQ(answer.neighbors(0).state(), v1::NeighborEntry::STATE_PERMANENT);
  EXPECT_EQ(answer.neighbors(0).protocol(), 110u);
  EXPECT_EQ(answer.neighbors(0).interface_name(), "eth0");
  EXPECT_EQ(answer.neighbors(0).object(), "veths/v1");
  EXPECT_FALSE(answer.neighbors(0).router());
  EXPECT_EQ(answer.neighbors(1).mac_address(), "");
  EXPECT_EQ(answer.neighbors(1).state(), v1::NeighborEntry::STATE_FAILED);
  EXPECT_TRUE(answer.neighbors(1).router());
}

}  // namespace
}  // namespace netprov::api
