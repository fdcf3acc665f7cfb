// A Connection for tests of code that uses Client.
#ifndef NETPROV_CLIENT_MOCK_CONNECTION_H_
#define NETPROV_CLIENT_MOCK_CONNECTION_H_

#include "client/connection.h"
#include "gmock/gmock.h"

namespace netprov::client {

// Answers as the test tells it to.
class MockConnection : public Connection {
 public:
  MOCK_METHOD(absl::StatusOr<v1::Namespace>, CreateNamespace, (const v1::CreateNamespaceRequest&, const CallOptions&),
              (override));
  MOCK_METHOD(absl::StatusOr<v1::Namespace>, GetNamespace, (const v1::GetNamespaceRequest&, const CallOptions&),
              (override));
  MOCK_METHOD(absl::StatusOr<v1::ListNamespacesResponse>, ListNamespaces,
              (const v1::ListNamespacesRequest&, const CallOptions&), (override));
  MOCK_METHOD(absl::StatusOr<v1::Namespace>, UpdateNamespace, (const v1::UpdateNamespaceRequest&, const CallOptions&),
              (override));
  MOCK_METHOD(absl::Status, DeleteNamespace, (const v1::DeleteNamespaceRequest&, const CallOptions&), (override));
  MOCK_METHOD(absl::StatusOr<v1::Namespace>, AdoptNamespace, (const v1::AdoptNamespaceRequest&, const CallOptions&),
              (override));
  MOCK_METHOD(absl::Status, ReleaseNamespace, (const v1::ReleaseNamespaceRequest&, const CallOptions&), (override));
  MOCK_METHOD(absl::StatusOr<v1::Veth>, CreateVeth, (const v1::CreateVethRequest&, const CallOptions&), (override));
  MOCK_METHOD(absl::StatusOr<v1::Veth>, GetVeth, (const v1::GetVethRequest&, const CallOptions&), (override));
  MOCK_METHOD(absl::StatusOr<v1::ListVethsResponse>, ListVeths, (const v1::ListVethsRequest&, const CallOptions&),
              (override));
  MOCK_METHOD(absl::StatusOr<v1::Veth>, UpdateVeth, (const v1::UpdateVethRequest&, const CallOptions&), (override));
  MOCK_METHOD(absl::Status, DeleteVeth, (const v1::DeleteVethRequest&, const CallOptions&), (override));
  MOCK_METHOD(absl::StatusOr<v1::Bridge>, CreateBridge, (const v1::CreateBridgeRequest&, const CallOptions&),
              (override));
  MOCK_METHOD(absl::StatusOr<v1::Bridge>, GetBridge, (const v1::GetBridgeRequest&, const CallOptions&), (override));
  MOCK_METHOD(absl::StatusOr<v1::ListBridgesResponse>, ListBridges, (const v1::ListBridgesRequest&, const CallOptions&),
              (override));
  MOCK_METHOD(absl::StatusOr<v1::Bridge>, UpdateBridge, (const v1::UpdateBridgeRequest&, const CallOptions&),
              (override));
  MOCK_METHOD(absl::Status, DeleteBridge, (const v1::DeleteBridgeRequest&, const CallOptions&), (override));
  MOCK_METHOD(absl::StatusOr<v1::Device>, CreateDevice, (const v1::CreateDeviceRequest&, const CallOptions&),
              (override));
  MOCK_METHOD(absl::StatusOr<v1::Device>, GetDevice, (const v1::GetDeviceRequest&, const CallOptions&), (override));
  MOCK_METHOD(absl::StatusOr<v1::ListDevicesResponse>, ListDevices, (const v1::ListDevicesRequest&, const CallOptions&),
              (override));
  MOCK_METHOD(absl::StatusOr<v1::Device>, UpdateDevice, (const v1::UpdateDeviceRequest&, const CallOptions&),
              (override));
  MOCK_METHOD(absl::Status, DeleteDevice, (const v1::DeleteDeviceRequest&, const CallOptions&), (override));
  MOCK_METHOD(absl::StatusOr<v1::RenewLeaseResponse>, RenewLease, (const v1::RenewLeaseRequest&, const CallOptions&),
              (override));
  MOCK_METHOD(absl::StatusOr<v1::CollectGarbageResponse>, CollectGarbage,
              (const v1::CollectGarbageRequest&, const CallOptions&), (override));
  MOCK_METHOD(absl::StatusOr<v1::HostReport>, GetHostReport, (const v1::GetHostReportRequest&, const CallOptions&),
              (override));
  MOCK_METHOD(absl::StatusOr<v1::HostReport>, CheckHost, (const v1::CheckHostRequest&, const CallOptions&), (override));
  MOCK_METHOD(absl::StatusOr<v1::WhoAmIResponse>, WhoAmI, (const v1::WhoAmIRequest&, const CallOptions&), (override));
  MOCK_METHOD(absl::StatusOr<v1::ListLinksResponse>, ListLinks, (const v1::ListLinksRequest&, const CallOptions&),
              (override));
  MOCK_METHOD(absl::StatusOr<v1::ListAddressesResponse>, ListAddresses,
              (const v1::ListAddressesRequest&, const CallOptions&), (override));
  MOCK_METHOD(absl::StatusOr<v1::ListRoutesResponse>, ListRoutes, (const v1::ListRoutesRequest&, const CallOptions&),
              (override));
  MOCK_METHOD(absl::StatusOr<v1::ListNeighborsResponse>, ListNeighbors,
              (const v1::ListNeighborsRequest&, const CallOptions&), (override));
};

}  // namespace netprov::client

#endif  // NETPROV_CLIENT_MOCK_CONNECTION_H_
