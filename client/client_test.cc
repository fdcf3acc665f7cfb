#include "client/client.h"

#include <string>
#include <utility>

#include "client/mock_connection.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace netprov::client {
namespace {

using ::testing::_;
using ::testing::AllOf;
using ::testing::DoAll;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::Property;
using ::testing::Return;
using ::testing::SaveArg;
using ::testing::SizeIs;
using ::testing::StrictMock;

constexpr char kId[] = "5bd4f2d5-0b70-4d38-9b5e-0c8bbd4a9a3e";

class ClientTest : public ::testing::Test {
 protected:
  const std::shared_ptr<StrictMock<MockConnection>> connection_ = std::make_shared<StrictMock<MockConnection>>();
  const Client client_{connection_};
};

TEST_F(ClientTest, CreateNamespaceSendsTheIdAndAFreshRequestId) {
  v1::CreateNamespaceRequest first, second;
  v1::Namespace answer;
  answer.set_name("namespaces/blue");
  EXPECT_CALL(*connection_, CreateNamespace)
      .WillOnce(DoAll(SaveArg<0>(&first), Return(answer)))
      .WillOnce(DoAll(SaveArg<0>(&second), Return(answer)));
  EXPECT_EQ(client_.CreateNamespace("blue")->name(), "namespaces/blue");
  EXPECT_TRUE(client_.CreateNamespace("blue").ok());
  EXPECT_EQ(first.namespace_id(), "blue");
  EXPECT_THAT(first.request_id(), SizeIs(36));
  EXPECT_NE(first.request_id(), second.request_id());
}

TEST_F(ClientTest, RequestIdOfTheRequestStays) {
  v1::CreateNamespaceRequest request;
  request.set_request_id(kId);
  EXPECT_CALL(*connection_, CreateNamespace(Property(&v1::CreateNamespaceRequest::request_id, kId), _))
      .WillOnce(Return(v1::Namespace()));
  EXPECT_TRUE(client_.CreateNamespace(request).ok());
}

TEST_F(ClientTest, EveryMutationGetsARequestId) {
  EXPECT_CALL(*connection_, DeleteNamespace(Property(&v1::DeleteNamespaceRequest::request_id, SizeIs(36)), _))
      .WillOnce(Return(absl::OkStatus()));
  EXPECT_CALL(*connection_, CreateVeth(Property(&v1::CreateVethRequest::request_id, SizeIs(36)), _))
      .WillOnce(Return(v1::Veth()));
  EXPECT_CALL(*connection_, DeleteVeth(Property(&v1::DeleteVethRequest::request_id, SizeIs(36)), _))
      .WillOnce(Return(absl::OkStatus()));
  EXPECT_TRUE(client_.DeleteNamespace("blue").ok());
  EXPECT_TRUE(client_.CreateVeth("uplink", v1::Veth()).ok());
  EXPECT_TRUE(client_.DeleteVeth("uplink").ok());
}

TEST_F(ClientTest, ValidationNeedsNoRequestId) {
  v1::DeleteVethRequest request;
  request.set_validate_only(true);
  EXPECT_CALL(*connection_, DeleteVeth(Property(&v1::DeleteVethRequest::request_id, ""), _))
      .WillOnce(Return(absl::OkStatus()));
  EXPECT_TRUE(client_.DeleteVeth(request).ok());
}

TEST_F(ClientTest, RequestIdsCanBeTurnedOffAndOn) {
  const Client without(connection_, {.generate_request_id = false});
  EXPECT_CALL(*connection_, DeleteVeth(Property(&v1::DeleteVethRequest::request_id, ""), _))
      .WillOnce(Return(absl::OkStatus()));
  EXPECT_TRUE(without.DeleteVeth("uplink").ok());
  EXPECT_CALL(*connection_, DeleteVeth(Property(&v1::DeleteVethRequest::request_id, SizeIs(36)), _))
      .WillOnce(Return(absl::OkStatus()));
  EXPECT_TRUE(without.DeleteVeth("uplink", {.generate_request_id = true}).ok());
}

TEST_F(ClientTest, IdsBecomeNames) {
  EXPECT_CALL(*connection_, GetNamespace(Property(&v1::GetNamespaceRequest::name, "namespaces/blue"), _))
      .WillOnce(Return(v1::Namespace()));
  EXPECT_CALL(*connection_, DeleteNamespace(Property(&v1::DeleteNamespaceRequest::name, "namespaces/blue"), _))
      .WillOnce(Return(absl::OkStatus()));
  EXPECT_CALL(*connection_, GetVeth(Property(&v1::GetVethRequest::name, "veths/uplink"), _))
      .WillOnce(Return(v1::Veth()));
  EXPECT_CALL(*connection_, DeleteVeth(Property(&v1::DeleteVethRequest::name, "veths/uplink"), _))
      .WillOnce(Return(absl::OkStatus()));
  EXPECT_TRUE(client_.GetNamespace("blue").ok());
  EXPECT_TRUE(client_.DeleteNamespace("blue").ok());
  EXPECT_TRUE(client_.GetVeth("uplink").ok());
  EXPECT_TRUE(client_.DeleteVeth("uplink").ok());
}

TEST_F(ClientTest, Bridges) {
  v1::CreateBridgeRequest sent;
  EXPECT_CALL(*connection_, CreateBridge).WillOnce(DoAll(SaveArg<0>(&sent), Return(v1::Bridge())));
  v1::Bridge bridge;
  bridge.set_interface_name("br0");
  EXPECT_TRUE(client_.CreateBridge("br", bridge).ok());
  EXPECT_EQ(sent.bridge_id(), "br");
  EXPECT_EQ(sent.bridge().interface_name(), "br0");
  EXPECT_THAT(sent.request_id(), SizeIs(36));
  EXPECT_CALL(*connection_, GetBridge(Property(&v1::GetBridgeRequest::name, "bridges/br"), _))
      .WillOnce(Return(v1::Bridge()));
  EXPECT_TRUE(client_.GetBridge("br").ok());
  v1::ListBridgesResponse page;
  page.add_bridges();
  EXPECT_CALL(*connection_, ListBridges).WillOnce(Return(page));
  EXPECT_THAT(*client_.ListBridges(), SizeIs(1));
  EXPECT_CALL(*connection_, DeleteBridge(Property(&v1::DeleteBridgeRequest::request_id, SizeIs(36)), _))
      .WillOnce(Return(absl::OkStatus()));
  EXPECT_TRUE(client_.DeleteBridge("br").ok());
}

TEST_F(ClientTest, Devices) {
  v1::CreateDeviceRequest sent;
  EXPECT_CALL(*connection_, CreateDevice).WillOnce(DoAll(SaveArg<0>(&sent), Return(v1::Device())));
  v1::Device device;
  device.mutable_ifb();
  EXPECT_TRUE(client_.CreateDevice("i", device).ok());
  EXPECT_EQ(sent.device_id(), "i");
  EXPECT_TRUE(sent.device().has_ifb());
  EXPECT_THAT(sent.request_id(), SizeIs(36));
  EXPECT_CALL(*connection_, GetDevice(Property(&v1::GetDeviceRequest::name, "devices/i"), _))
      .WillOnce(Return(v1::Device()));
  EXPECT_TRUE(client_.GetDevice("i").ok());
  v1::ListDevicesResponse page;
  page.add_devices();
  EXPECT_CALL(*connection_, ListDevices).WillOnce(Return(page));
  EXPECT_THAT(*client_.ListDevices(), SizeIs(1));
  EXPECT_CALL(*connection_, DeleteDevice(Property(&v1::DeleteDeviceRequest::request_id, SizeIs(36)), _))
      .WillOnce(Return(absl::OkStatus()));
  EXPECT_TRUE(client_.DeleteDevice("i").ok());
}

TEST_F(ClientTest, CreateVethSendsIdAndSpec) {
  v1::Veth veth;
  veth.mutable_endpoint_a()->set_interface_name("a0");
  v1::CreateVethRequest sent;
  EXPECT_CALL(*connection_, CreateVeth).WillOnce(DoAll(SaveArg<0>(&sent), Return(veth)));
  EXPECT_TRUE(client_.CreateVeth("uplink", veth).ok());
  EXPECT_EQ(sent.veth_id(), "uplink");
  EXPECT_EQ(sent.veth().endpoint_a().interface_name(), "a0");
}

TEST_F(ClientTest, DefaultsAreAsWritten) {
  CallOptions options;
  EXPECT_CALL(*connection_, GetVeth).WillOnce(DoAll(SaveArg<1>(&options), Return(v1::Veth())));
  EXPECT_TRUE(client_.GetVeth("uplink").ok());
  EXPECT_EQ(options.timeout, absl::Seconds(30));
  EXPECT_EQ(options.attempt_timeout, absl::InfiniteDuration());
  EXPECT_TRUE(options.retry);
  EXPECT_EQ(options.backoff.initial, absl::Milliseconds(100));
  EXPECT_EQ(options.backoff.max, absl::Seconds(5));
  EXPECT_EQ(options.backoff.multiplier, 2);
  EXPECT_EQ(options.owner, "");
}

TEST_F(ClientTest, CallComesBeforeClientAndClientBeforeDefault) {
  const Backoff slow{.initial = absl::Seconds(1), .max = absl::Seconds(9), .multiplier = 3};
  const Client client(connection_, {.timeout = absl::Seconds(5), .retry = false, .backoff = slow});
  CallOptions options;
  EXPECT_CALL(*connection_, GetVeth).WillOnce(DoAll(SaveArg<1>(&options), Return(v1::Veth())));
  EXPECT_TRUE(client.GetVeth("uplink", {.timeout = absl::Seconds(2), .attempt_timeout = absl::Seconds(1)}).ok());
  EXPECT_EQ(
      options,
      (CallOptions{.timeout = absl::Seconds(2), .attempt_timeout = absl::Seconds(1), .retry = false, .backoff = slow}));
}

TEST_F(ClientTest, CreateNamespaceSendsMetadata) {
  v1::Metadata metadata;
  metadata.set_owner("ci");
  metadata.set_persistent(true);
  v1::CreateNamespaceRequest sent;
  EXPECT_CALL(*connection_, CreateNamespace).WillOnce(DoAll(SaveArg<0>(&sent), Return(v1::Namespace())));
  EXPECT_TRUE(client_.CreateNamespace("blue", metadata, {.timeout = absl::Seconds(2)}).ok());
  EXPECT_EQ(sent.namespace_id(), "blue");
  EXPECT_EQ(sent.namespace_().ShortDebugString(), "metadata { owner: \"ci\" persistent: true }");
  EXPECT_THAT(sent.request_id(), SizeIs(36));
}

TEST_F(ClientTest, OwnerOfTheCallComesBeforeThatOfTheClient) {
  const Client client(connection_, {.owner = "ci"});
  EXPECT_CALL(*connection_, GetVeth(_, Field(&CallOptions::owner, "ci"))).WillOnce(Return(v1::Veth()));
  EXPECT_TRUE(client.GetVeth("uplink").ok());
  EXPECT_CALL(*connection_, GetVeth(_, Field(&CallOptions::owner, "lab"))).WillOnce(Return(v1::Veth()));
  EXPECT_TRUE(client.GetVeth("uplink", {.owner = "lab"}).ok());
  EXPECT_CALL(*connection_, GetVeth(_, Field(&CallOptions::owner, ""))).WillOnce(Return(v1::Veth()));
  EXPECT_TRUE(client.GetVeth("uplink", {.owner = ""}).ok());
}

TEST_F(ClientTest, RenewLeaseSendsTheOwner) {
  v1::RenewLeaseResponse answer;
  answer.set_renewed(3);
  EXPECT_CALL(*connection_, RenewLease(Property(&v1::RenewLeaseRequest::owner, "ci"), _)).WillOnce(Return(answer));
  EXPECT_EQ(client_.RenewLease("ci")->renewed(), 3);
}

TEST_F(ClientTest, CollectGarbageSendsWhatToKeep) {
  v1::CollectGarbageResponse answer;
  answer.add_deleted("namespaces/old");
  v1::CollectGarbageRequest sent;
  EXPECT_CALL(*connection_, CollectGarbage).WillOnce(DoAll(SaveArg<0>(&sent), Return(answer)));
  EXPECT_THAT(client_.CollectGarbage("ci", {"namespaces/blue", "veths/uplink"})->deleted(),
              ElementsAre("namespaces/old"));
  EXPECT_EQ(sent.ShortDebugString(), "owner: \"ci\" keep: \"namespaces/blue\" keep: \"veths/uplink\"");
}

TEST_F(ClientTest, CollectGarbageCanOnlyLook) {
  v1::CollectGarbageRequest request;
  request.set_validate_only(true);
  EXPECT_CALL(*connection_, CollectGarbage(Property(&v1::CollectGarbageRequest::validate_only, true), _))
      .WillOnce(Return(v1::CollectGarbageResponse()));
  EXPECT_TRUE(client_.CollectGarbage(request).ok());
}

TEST_F(ClientTest, AsksWhoItIs) {
  v1::WhoAmIResponse answer;
  answer.mutable_identity()->set_name("uid:7");
  EXPECT_CALL(*connection_, WhoAmI).WillOnce(Return(answer));
  EXPECT_EQ(client_.WhoAmI()->identity().name(), "uid:7");
}

TEST_F(ClientTest, HostIsReportedAndChecked) {
  v1::HostReport report;
  report.set_objects(7);
  EXPECT_CALL(*connection_, GetHostReport).WillOnce(Return(report));
  EXPECT_EQ(client_.GetHostReport()->objects(), 7);
  EXPECT_CALL(*connection_, CheckHost(Property(&v1::CheckHostRequest::validate_only, false), _))
      .WillOnce(Return(report));
  EXPECT_EQ(client_.CheckHost()->objects(), 7);
  v1::CheckHostRequest look;
  look.set_validate_only(true);
  EXPECT_CALL(*connection_, CheckHost(Property(&v1::CheckHostRequest::validate_only, true), _))
      .WillOnce(Return(report));
  EXPECT_EQ(client_.CheckHost(look)->objects(), 7);
}

TEST_F(ClientTest, ListNamespacesGoesThroughAllPages) {
  v1::ListNamespacesResponse first, second;
  first.add_namespaces()->set_name("namespaces/a");
  first.add_namespaces()->set_name("namespaces/b");
  first.set_next_page_token("more");
  second.add_namespaces()->set_name("namespaces/c");
  EXPECT_CALL(*connection_, ListNamespaces(Property(&v1::ListNamespacesRequest::page_token, ""), _))
      .WillOnce(Return(first));
  EXPECT_CALL(*connection_, ListNamespaces(Property(&v1::ListNamespacesRequest::page_token, "more"), _))
      .WillOnce(Return(second));
  const absl::StatusOr<std::vector<v1::Namespace>> all = client_.ListNamespaces();
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_THAT(
      *all, ElementsAre(Property(&v1::Namespace::name, "namespaces/a"), Property(&v1::Namespace::name, "namespaces/b"),
                        Property(&v1::Namespace::name, "namespaces/c")));
}

TEST_F(ClientTest, ListVethsGoesThroughAllPages) {
  v1::ListVethsResponse first, second;
  first.set_next_page_token("more");  // An empty page need not be the last one.
  second.add_veths()->set_name("veths/a");
  EXPECT_CALL(*connection_, ListVeths(Property(&v1::ListVethsRequest::page_token, ""), _)).WillOnce(Return(first));
  EXPECT_CALL(*connection_, ListVeths(Property(&v1::ListVethsRequest::page_token, "more"), _)).WillOnce(Return(second));
  EXPECT_THAT(*client_.ListVeths(), ElementsAre(Property(&v1::Veth::name, "veths/a")));
}

// The pages of a list of the kernel's: the filters stay, and the token moves on.
TEST_F(ClientTest, InspectionListsGoThroughAllPages) {
  v1::ListLinksRequest links;
  links.set_parent("namespaces/a");
  links.set_kind("veth");
  v1::ListLinksResponse first_links, second_links;
  first_links.add_links()->set_ifindex(1);
  first_links.set_next_page_token("more");
  second_links.add_links()->set_ifindex(2);
  const auto same_list =
      AllOf(Property(&v1::ListLinksRequest::parent, "namespaces/a"), Property(&v1::ListLinksRequest::kind, "veth"),
            Property(&v1::ListLinksRequest::page_size, 1000));
  EXPECT_CALL(*connection_, ListLinks(AllOf(same_list, Property(&v1::ListLinksRequest::page_token, "")), _))
      .WillOnce(Return(first_links));
  EXPECT_CALL(*connection_, ListLinks(AllOf(same_list, Property(&v1::ListLinksRequest::page_token, "more")), _))
      .WillOnce(Return(second_links));
  EXPECT_THAT(*client_.ListLinks(links), ElementsAre(Property(&v1::Link::ifindex, 1), Property(&v1::Link::ifindex, 2)));

  v1::ListAddressesResponse addresses;
  addresses.add_addresses()->set_address("10.0.0.1/24");
  EXPECT_CALL(*connection_, ListAddresses).WillOnce(Return(addresses));
  EXPECT_THAT(*client_.ListAddresses({}), ElementsAre(Property(&v1::AddressEntry::address, "10.0.0.1/24")));
  v1::ListRoutesResponse routes;
  routes.add_routes()->set_destination("::/0");
  EXPECT_CALL(*connection_, ListRoutes).WillOnce(Return(routes));
  EXPECT_THAT(*client_.ListRoutes({}), ElementsAre(Property(&v1::RouteEntry::destination, "::/0")));
  v1::ListNeighborsResponse neighbors;
  neighbors.add_neighbors()->set_address("10.0.0.2");
  EXPECT_CALL(*connection_, ListNeighbors).WillOnce(Return(neighbors));
  EXPECT_THAT(*client_.ListNeighbors({}), ElementsAre(Property(&v1::NeighborEntry::address, "10.0.0.2")));
}

TEST_F(ClientTest, InspectionPagesAreAsAskedFor) {
  v1::ListRoutesRequest request;
  request.set_page_size(7);
  v1::ListRoutesResponse page;
  page.set_next_page_token("more");
  EXPECT_CALL(*connection_, ListRoutes(Property(&v1::ListRoutesRequest::page_size, 7), _)).WillOnce(Return(page));
  EXPECT_EQ(client_.ListRoutesPage(request)->next_page_token(), "more");
  EXPECT_CALL(*connection_, ListLinks).WillOnce(Return(absl::NotFoundError("no namespace")));
  EXPECT_EQ(client_.ListLinksPage({}).status(), absl::NotFoundError("no namespace"));
  EXPECT_CALL(*connection_, ListAddresses).WillOnce(Return(v1::ListAddressesResponse()));
  EXPECT_TRUE(client_.ListAddressesPage({}).ok());
  EXPECT_CALL(*connection_, ListNeighbors).WillOnce(Return(v1::ListNeighborsResponse()));
  EXPECT_TRUE(client_.ListNeighborsPage({}).ok());
}

TEST_F(ClientTest, ListFailsWhole) {
  v1::ListVethsResponse first;
  first.add_veths()->set_name("veths/a");
  first.set_next_page_token("more");
  EXPECT_CALL(*connection_, ListVeths)
      .WillOnce(Return(first))
      .WillOnce(Return(absl::UnavailableError("shutting down")));
  EXPECT_EQ(client_.ListVeths().status(), absl::UnavailableError("shutting down"));
}

TEST_F(ClientTest, ListEndsWhereTheServerTurnsInCircles) {
  v1::ListVethsResponse same;
  same.set_next_page_token("same");
  EXPECT_CALL(*connection_, ListVeths).Times(2).WillRepeatedly(Return(same));
  EXPECT_TRUE(absl::IsInternal(client_.ListVeths().status()));
}

TEST_F(ClientTest, OnePageIsPassedThrough) {
  v1::ListNamespacesRequest request;
  request.set_page_size(7);
  v1::ListNamespacesResponse response;
  response.set_next_page_token("more");
  EXPECT_CALL(*connection_, ListNamespaces(Property(&v1::ListNamespacesRequest::page_size, 7), _))
      .WillOnce(Return(response));
  EXPECT_EQ(client_.ListNamespacesPage(request)->next_page_token(), "more");
}

}  // namespace
}  // namespace netprov::client
