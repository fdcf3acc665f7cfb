// Where calls go: the seam between Client and the transport, and the one to mock.
#ifndef NETPROV_CLIENT_CONNECTION_H_
#define NETPROV_CLIENT_CONNECTION_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/options.h"
#include "netprov/v1/access.pb.h"
#include "netprov/v1/bridge.pb.h"
#include "netprov/v1/device.pb.h"
#include "netprov/v1/host.pb.h"
#include "netprov/v1/inspection.pb.h"
#include "netprov/v1/lease.pb.h"
#include "netprov/v1/namespace.pb.h"
#include "netprov/v1/veth.pb.h"

namespace netprov::client {

// One method per RPC of netprov.v1. A method blocks until the call has ended, with all its attempts. Its error carries
// the server's details as payloads (client/status.h).
//
// Implementations are thread-safe. client/grpc_connection.h has the real one, client/mock_connection.h the one for
// tests.
class Connection {
 public:
  virtual ~Connection() = default;

  virtual absl::StatusOr<v1::Namespace> CreateNamespace(const v1::CreateNamespaceRequest& request,
                                                        const CallOptions& options) = 0;
  virtual absl::StatusOr<v1::Namespace> GetNamespace(const v1::GetNamespaceRequest& request,
                                                     const CallOptions& options) = 0;
  virtual absl::StatusOr<v1::ListNamespacesResponse> ListNamespaces(const v1::ListNamespacesRequest& request,
                                                                    const CallOptions& options) = 0;
  virtual absl::StatusOr<v1::Namespace> UpdateNamespace(const v1::UpdateNamespaceRequest& request,
                                                        const CallOptions& options) = 0;
  virtual absl::Status DeleteNamespace(const v1::DeleteNamespaceRequest& request, const CallOptions& options) = 0;
  virtual absl::StatusOr<v1::Namespace> AdoptNamespace(const v1::AdoptNamespaceRequest& request,
                                                       const CallOptions& options) = 0;
  virtual absl::Status ReleaseNamespace(const v1::ReleaseNamespaceRequest& request, const CallOptions& options) = 0;

  virtual absl::StatusOr<v1::Veth> CreateVeth(const v1::CreateVethRequest& request, const CallOptions& options) = 0;
  virtual absl::StatusOr<v1::Veth> GetVeth(const v1::GetVethRequest& request, const CallOptions& options) = 0;
  virtual absl::StatusOr<v1::ListVethsResponse> ListVeths(const v1::ListVethsRequest& request,
                                                          const CallOptions& options) = 0;
  virtual absl::StatusOr<v1::Veth> UpdateVeth(const v1::UpdateVethRequest& request, const CallOptions& options) = 0;
  virtual absl::Status DeleteVeth(const v1::DeleteVethRequest& request, const CallOptions& options) = 0;

  virtual absl::StatusOr<v1::Bridge> CreateBridge(const v1::CreateBridgeRequest& request,
                                                  const CallOptions& options) = 0;
  virtual absl::StatusOr<v1::Bridge> GetBridge(const v1::GetBridgeRequest& request, const CallOptions& options) = 0;
  virtual absl::StatusOr<v1::ListBridgesResponse> ListBridges(const v1::ListBridgesRequest& request,
                                                              const CallOptions& options) = 0;
  virtual absl::StatusOr<v1::Bridge> UpdateBridge(const v1::UpdateBridgeRequest& request,
                                                  const CallOptions& options) = 0;
  virtual absl::Status DeleteBridge(const v1::DeleteBridgeRequest& request, const CallOptions& options) = 0;

  virtual absl::StatusOr<v1::Device> CreateDevice(const v1::CreateDeviceRequest& request,
                                                  const CallOptions& options) = 0;
  virtual absl::StatusOr<v1::Device> GetDevice(const v1::GetDeviceRequest& request, const CallOptions& options) = 0;
  virtual absl::StatusOr<v1::ListDevicesResponse> ListDevices(const v1::ListDevicesRequest& request,
                                                              const CallOptions& options) = 0;
  virtual absl::StatusOr<v1::Device> UpdateDevice(const v1::UpdateDeviceRequest& request,
                                                  const CallOptions& options) = 0;
  virtual absl::Status DeleteDevice(const v1::DeleteDeviceRequest& request, const CallOptions& options) = 0;

  virtual absl::StatusOr<v1::RenewLeaseResponse> RenewLease(const v1::RenewLeaseRequest& request,
                                                            const CallOptions& options) = 0;
  virtual absl::StatusOr<v1::CollectGarbageResponse> CollectGarbage(const v1::CollectGarbageRequest& request,
                                                                    const CallOptions& options) = 0;

  virtual absl::StatusOr<v1::HostReport> GetHostReport(const v1::GetHostReportRequest& request,
                                                       const CallOptions& options) = 0;
  virtual absl::StatusOr<v1::HostReport> CheckHost(const v1::CheckHostRequest& request, const CallOptions& options) = 0;

  virtual absl::StatusOr<v1::WhoAmIResponse> WhoAmI(const v1::WhoAmIRequest& request, const CallOptions& options) = 0;

  virtual absl::StatusOr<v1::ListLinksResponse> ListLinks(const v1::ListLinksRequest& request,
                                                          const CallOptions& options) = 0;
  virtual absl::StatusOr<v1::ListAddressesResponse> ListAddresses(const v1::ListAddressesRequest& request,
                                                                  const CallOptions& options) = 0;
  virtual absl::StatusOr<v1::ListRoutesResponse> ListRoutes(const v1::ListRoutesRequest& request,
                                                            const CallOptions& options) = 0;
  virtual absl::StatusOr<v1::ListNeighborsResponse> ListNeighbors(const v1::ListNeighborsRequest& request,
                                                                  const CallOptions& options) = 0;
};

}  // namespace netprov::client

#endif  // NETPROV_CLIENT_CONNECTION_H_
