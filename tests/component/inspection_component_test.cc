// Links, addresses, routes and neighbors, as a client sees them.
#include <cerrno>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/component/fixture.h"

namespace netprov::testing {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::SizeIs;

class InspectionComponentTest : public ServerTest {
 protected:
  void SetUp() override { StartServer(); }

  // A namespace, and a pair that leads there with an address, a route and a neighbor.
  void MakeBlueWithPair() {
    ASSERT_TRUE(client_->CreateNamespace("blue").ok());
    v1::CreateVethRequest request = VethRequest("v", "h0", "blue", "eth0");
    v1::VethEndpoint& end = *request.mutable_veth()->mutable_endpoint_b();
    end.add_addresses()->set_address("10.0.0.2/24");
    end.add_gateways("10.0.0.1");
    v1::Neighbor& neighbor = *end.add_neighbors();
    neighbor.set_address("10.0.0.1");
    neighbor.set_mac_address("02:00:00:00:00:01");
    const auto made = client_->Create(request);
    ASSERT_TRUE(made.ok()) << made.message;
  }

  template <typename Request>
  static Request In(const std::string& parent) {
    Request request;
    request.set_parent(parent);
    return request;
  }
};

TEST_F(InspectionComponentTest, ShowsWhatAPairHas) {
  MakeBlueWithPair();
  const auto links = client_->List(In<v1::ListLinksRequest>("namespaces/blue"));
  ASSERT_TRUE(links.ok()) << links.message;
  ASSERT_THAT(links.value.links(), SizeIs(2));
  EXPECT_EQ(links.value.links(0).interface_name(), "lo");
  EXPECT_EQ(links.value.links(0).object(), "");
  const v1::Link& end = links.value.links(1);
  EXPECT_EQ(end.name(), absl::StrCat("namespaces/blue/links/", end.ifindex()));
  EXPECT_EQ(end.interface_name(), "eth0");
  EXPECT_EQ(end.kind(), "veth");
  EXPECT_EQ(end.object(), "veths/v");
  EXPECT_TRUE(end.has_statistics());

  const auto addresses = client_->List(In<v1::ListAddressesRequest>("namespaces/blue"));
  ASSERT_THAT(addresses.value.addresses(), SizeIs(1));
  EXPECT_EQ(addresses.value.addresses(0).address(), "10.0.0.2/24");
  EXPECT_EQ(addresses.value.addresses(0).interface_name(), "eth0");
  EXPECT_EQ(addresses.value.addresses(0).object(), "veths/v");
  const auto routes = client_->List(In<v1::ListRoutesRequest>("namespaces/blue"));
  ASSERT_THAT(routes.value.routes(), SizeIs(1));
  EXPECT_EQ(routes.value.routes(0).destination(), "0.0.0.0/0");
  EXPECT_EQ(routes.value.routes(0).gateway(), "10.0.0.1");
  EXPECT_EQ(routes.value.routes(0).object(), "veths/v");
  const auto neighbors = client_->List(In<v1::ListNeighborsRequest>("namespaces/blue"));
  ASSERT_THAT(neighbors.value.neighbors(), SizeIs(1));
  EXPECT_EQ(neighbors.value.neighbors(0).state(), v1::NeighborEntry::STATE_PERMANENT);
  EXPECT_EQ(neighbors.value.neighbors(0).object(), "veths/v");

  v1::ListLinksRequest host = In<v1::ListLinksRequest>("host");
  host.set_kind("veth");
  const auto of_host = client_->List(host);
  ASSERT_THAT(of_host.value.links(), SizeIs(1));
  EXPECT_EQ(of_host.value.links(0).interface_name(), "h0");
  EXPECT_EQ(of_host.value.links(0).object(), "veths/v");
  EXPECT_THAT(client_->List(In<v1::ListAddressesRequest>("host")).value.addresses(), IsEmpty());
}

TEST_F(InspectionComponentTest, FiltersAreObeyed) {
  MakeBlueWithPair();
  v1::ListAddressesRequest addresses = In<v1::ListAddressesRequest>("namespaces/blue");
  addresses.set_family(v1::IP_FAMILY_IPV6);
  EXPECT_THAT(client_->List(addresses).value.addresses(), IsEmpty());
  addresses.set_family(v1::IP_FAMILY_IPV4);
  addresses.set_interface_name("eth0");
  EXPECT_THAT(client_->List(addresses).value.addresses(), SizeIs(1));
  addresses.set_interface_name("lo");
  EXPECT_THAT(client_->List(addresses).value.addresses(), IsEmpty());
  v1::ListRoutesRequest routes = In<v1::ListRoutesRequest>("namespaces/blue");
  routes.set_table(254);
  EXPECT_THAT(client_->List(routes).value.routes(), SizeIs(1));
  routes.set_table(255);
  EXPECT_THAT(client_->List(routes).value.routes(), IsEmpty());
  v1::ListLinksRequest links = In<v1::ListLinksRequest>("namespaces/blue");
  links.set_interface_name("eth0");
  EXPECT_THAT(client_->List(links).value.links(), SizeIs(1));
  v1::ListNeighborsRequest neighbors = In<v1::ListNeighborsRequest>("namespaces/blue");
  neighbors.set_interface_name("nobody");
  const auto none = client_->List(neighbors);
  EXPECT_TRUE(none.ok()) << none.message;
  EXPECT_THAT(none.value.neighbors(), IsEmpty());
}

TEST_F(InspectionComponentTest, ErrorsAreThoseOfNamespaces) {
  ASSERT_TRUE(client_->CreateNamespace("gone").ok());
  kernel_.RemoveForeignNetnsForTest("gone");
  kernel_.AddForeignNetnsForTest("green");
  kernel_.AddStaleFileForTest("red");
  const std::vector<std::pair<std::string, std::string>> kErrors = {
      {"namespaces/nobody", "NOT_FOUND NAMESPACE_NOT_FOUND"},
      {"namespaces/gone", "FAILED_PRECONDITION NAMESPACE_MISSING"},
      {"namespaces/green", "FAILED_PRECONDITION NAMESPACE_NOT_MANAGED"},
      {"namespaces/red", "FAILED_PRECONDITION NAMESPACE_FILE_STALE"},
      {"blue", "INVALID_ARGUMENT INVALID_FIELD"},
      {"", "INVALID_ARGUMENT INVALID_FIELD"}};
  for (const auto& [parent, error] : kErrors) {
    const auto links = client_->List(In<v1::ListLinksRequest>(parent));
    EXPECT_EQ(links.Summary(), error) << parent;
    if (links.code == absl::StatusCode::kInvalidArgument) {
      EXPECT_THAT(links.Fields(), ElementsAre("parent"));
    } else {
      const auto resource = links.Get<google::rpc::ResourceInfo>();
      ASSERT_TRUE(resource.has_value());
      EXPECT_EQ(resource->resource_name(), parent);
      EXPECT_EQ(resource->resource_type(), "netprov.v1.Namespace");
      EXPECT_THAT(links.Fields(), IsEmpty());
    }
    EXPECT_EQ(client_->List(In<v1::ListAddressesRequest>(parent)).Summary(), error) << parent;
    EXPECT_EQ(client_->List(In<v1::ListRoutesRequest>(parent)).Summary(), error) << parent;
    EXPECT_EQ(client_->List(In<v1::ListNeighborsRequest>(parent)).Summary(), error) << parent;
  }
}

TEST_F(InspectionComponentTest, TheKernelsWordsAreTold) {
  kernel_.FailNextForTest("ObserveLinks", EAGAIN, "interrupted");
  const auto links = client_->List(In<v1::ListLinksRequest>("host"));
  EXPECT_EQ(links.Summary(), "INTERNAL KERNEL_REFUSED");
  EXPECT_THAT(links.Metadata(), Contains(Pair("errno", "EAGAIN")));
  EXPECT_THAT(links.Metadata(), Contains(Pair("extack", "interrupted")));
  EXPECT_THAT(links.Metadata(), Contains(Pair("step", "list links")));
}

TEST_F(InspectionComponentTest, PagesGoOnAfterTheLastLinkWhateverBecomesOfIt) {
  for (int i = 0; i < 5; ++i) kernel_.AddForeignLinkForTest({}, absl::StrCat("d", i));
  v1::ListLinksRequest request = In<v1::ListLinksRequest>("host");
  request.set_page_size(2);
  std::vector<std::string> names;
  for (int page = 0; page < 10; ++page) {
    const auto links = client_->List(request);
    ASSERT_TRUE(links.ok()) << links.message;
    EXPECT_LE(links.value.links_size(), 2);
    for (const v1::Link& link : links.value.links()) names.push_back(link.interface_name());
    if (links.value.next_page_token().empty()) break;
    request.set_page_token(links.value.next_page_token());
    if (page > 0) continue;
    // The last one of the page goes, one comes, and the server is another.
    const auto last = kernel_.FindLink({}, "d0");
    ASSERT_TRUE(last.ok() && last->has_value());
    ASSERT_TRUE(kernel_.DeleteLink({}, (*last)->ifindex).ok());
    kernel_.AddForeignLinkForTest({}, "new");
    Restart();
  }
  EXPECT_THAT(names, ElementsAre("lo", "d0", "d1", "d2", "d3", "d4", "new"));
  request.set_parent("namespaces/blue");
  EXPECT_THAT(client_->List(request).Fields(), ElementsAre("page_token"));
}

TEST_F(InspectionComponentTest, ReadsGoOnWhileChangesWait) {
  MakeBlueWithPair();
  Gate reached;
  Gate go_on;
  BlockNext("DeleteLink", reached, go_on);
  std::thread deletion([this] { EXPECT_TRUE(client_->DeleteVeth("v").ok()); });
  reached.Wait();
  EXPECT_THAT(client_->List(In<v1::ListLinksRequest>("namespaces/blue")).value.links(), SizeIs(2));
  go_on.Open();
  deletion.join();
  EXPECT_THAT(client_->List(In<v1::ListLinksRequest>("namespaces/blue")).value.links(), SizeIs(1));
}

TEST_F(InspectionComponentTest, HealthKnowsTheService) {
  EXPECT_EQ(client_->Health("netprov.v1.InspectionService").value, 1);
}

TEST_F(InspectionComponentTest, TheLogNamesTheParent) {
  ASSERT_TRUE(client_->CreateNamespace("blue").ok());
  ASSERT_TRUE(client_->List(In<v1::ListRoutesRequest>("namespaces/blue")).ok());
  EXPECT_TRUE(log_.WaitFor({"ListRoutes", "namespaces/blue"}));
}

}  // namespace
}  // namespace netprov::testing
