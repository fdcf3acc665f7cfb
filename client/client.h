// The C++ client of netprovd.
//
//   absl::StatusOr<std::shared_ptr<netprov::client::Connection>> connection =
//       netprov::client::MakeConnection(netprov::client::kDefaultEndpoint);
//   if (!connection.ok()) return connection.status();
//   netprov::client::Client client(*connection);
//   absl::StatusOr<netprov::v1::Namespace> blue = client.CreateNamespace("blue");
//   if (!blue.ok()) std::cerr << blue.status().message();
//
// example.cc is a whole program.
#ifndef NETPROV_CLIENT_CLIENT_H_
#define NETPROV_CLIENT_CLIENT_H_

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/connection.h"
#include "client/endpoint.h"         // IWYU pragma: export
#include "client/grpc_connection.h"  // IWYU pragma: export
#include "client/options.h"
#include "client/status.h"  // IWYU pragma: export

namespace netprov::client {

// Calls netprovd. Each method blocks until its call has ended, and returns what the server answered, or an error with
// the server's details (client/status.h). What the calls do and how they fail stands in netprov/v1/*.proto.
//
// Every call whose request has rarer fields (request_id, validate_only, allow_existing, allow_missing) has an overload
// that takes the whole request. The other overloads take ids, without `namespaces/` or `veths/`.
//
// A call that changes something and whose request has no request_id gets a fresh one unless it only validates or
// Options say otherwise, so it can be retried. Options of a call come before the client's, and those before the
// defaults (client/options.h).
//
// A value type: copies are cheap and share the connection. Thread-safe.
class Client {
 public:
  explicit Client(std::shared_ptr<Connection> connection, Options options = {});

  absl::StatusOr<v1::Namespace> CreateNamespace(std::string_view namespace_id, const Options& options = {}) const;
  absl::StatusOr<v1::Namespace> CreateNamespace(std::string_view namespace_id, const v1::Metadata& metadata,
                                                const Options& options = {}) const;
  absl::StatusOr<v1::Namespace> CreateNamespace(const v1::CreateNamespaceRequest& request,
                                                const Options& options = {}) const;

  absl::StatusOr<v1::Namespace> GetNamespace(std::string_view namespace_id, const Options& options = {}) const;
  absl::StatusOr<v1::Namespace> GetNamespace(const v1::GetNamespaceRequest& request, const Options& options = {}) const;

  // All namespaces, page after page. INTERNAL when the server sends the same page token twice in a row.
  absl::StatusOr<std::vector<v1::Namespace>> ListNamespaces(const Options& options = {}) const;
  // One page.
  absl::StatusOr<v1::ListNamespacesResponse> ListNamespacesPage(const v1::ListNamespacesRequest& request,
                                                                const Options& options = {}) const;

  // Changes what the mask names, as in {"metadata.labels"}; the resource has its name in it. The others likewise.
  absl::StatusOr<v1::Namespace> UpdateNamespace(const v1::Namespace& netns, const std::vector<std::string>& mask,
                                                const Options& options = {}) const;
  absl::StatusOr<v1::Namespace> UpdateNamespace(const v1::UpdateNamespaceRequest& request,
                                                const Options& options = {}) const;

  absl::Status DeleteNamespace(std::string_view namespace_id, const Options& options = {}) const;
  absl::Status DeleteNamespace(const v1::DeleteNamespaceRequest& request, const Options& options = {}) const;

  // Takes a namespace into netprov's care that somebody else made, and lets one go.
  absl::StatusOr<v1::Namespace> AdoptNamespace(std::string_view namespace_id, const Options& options = {}) const;
  absl::StatusOr<v1::Namespace> AdoptNamespace(const v1::AdoptNamespaceRequest& request,
                                               const Options& options = {}) const;
  absl::Status ReleaseNamespace(std::string_view namespace_id, const Options& options = {}) const;
  absl::Status ReleaseNamespace(const v1::ReleaseNamespaceRequest& request, const Options& options = {}) const;

  // An empty `veth_id` lets the server choose one.
  absl::StatusOr<v1::Veth> CreateVeth(std::string_view veth_id, const v1::Veth& veth,
                                      const Options& options = {}) const;
  absl::StatusOr<v1::Veth> CreateVeth(const v1::CreateVethRequest& request, const Options& options = {}) const;

  absl::StatusOr<v1::Veth> GetVeth(std::string_view veth_id, const Options& options = {}) const;
  absl::StatusOr<v1::Veth> GetVeth(const v1::GetVethRequest& request, const Options& options = {}) const;

  // As with namespaces.
  absl::StatusOr<std::vector<v1::Veth>> ListVeths(const Options& options = {}) const;
  absl::StatusOr<v1::ListVethsResponse> ListVethsPage(const v1::ListVethsRequest& request,
                                                      const Options& options = {}) const;

  absl::StatusOr<v1::Veth> UpdateVeth(const v1::Veth& veth, const std::vector<std::string>& mask,
                                      const Options& options = {}) const;
  absl::StatusOr<v1::Veth> UpdateVeth(const v1::UpdateVethRequest& request, const Options& options = {}) const;

  absl::Status DeleteVeth(std::string_view veth_id, const Options& options = {}) const;
  absl::Status DeleteVeth(const v1::DeleteVethRequest& request, const Options& options = {}) const;

  // An empty `bridge_id` lets the server choose one.
  absl::StatusOr<v1::Bridge> CreateBridge(std::string_view bridge_id, const v1::Bridge& bridge,
                                          const Options& options = {}) const;
  absl::StatusOr<v1::Bridge> CreateBridge(const v1::CreateBridgeRequest& request, const Options& options = {}) const;

  absl::StatusOr<v1::Bridge> GetBridge(std::string_view bridge_id, const Options& options = {}) const;
  absl::StatusOr<v1::Bridge> GetBridge(const v1::GetBridgeRequest& request, const Options& options = {}) const;

  // As with namespaces.
  absl::StatusOr<std::vector<v1::Bridge>> ListBridges(const Options& options = {}) const;
  absl::StatusOr<v1::ListBridgesResponse> ListBridgesPage(const v1::ListBridgesRequest& request,
                                                          const Options& options = {}) const;

  absl::StatusOr<v1::Bridge> UpdateBridge(const v1::Bridge& bridge, const std::vector<std::string>& mask,
                                          const Options& options = {}) const;
  absl::StatusOr<v1::Bridge> UpdateBridge(const v1::UpdateBridgeRequest& request, const Options& options = {}) const;

  absl::Status DeleteBridge(std::string_view bridge_id, const Options& options = {}) const;
  absl::Status DeleteBridge(const v1::DeleteBridgeRequest& request, const Options& options = {}) const;

  // An empty `device_id` lets the server choose one.
  absl::StatusOr<v1::Device> CreateDevice(std::string_view device_id, const v1::Device& device,
                                          const Options& options = {}) const;
  absl::StatusOr<v1::Device> CreateDevice(const v1::CreateDeviceRequest& request, const Options& options = {}) const;

  absl::StatusOr<v1::Device> GetDevice(std::string_view device_id, const Options& options = {}) const;
  absl::StatusOr<v1::Device> GetDevice(const v1::GetDeviceRequest& request, const Options& options = {}) const;

  // As with namespaces.
  absl::StatusOr<std::vector<v1::Device>> ListDevices(const Options& options = {}) const;
  absl::StatusOr<v1::ListDevicesResponse> ListDevicesPage(const v1::ListDevicesRequest& request,
                                                          const Options& options = {}) const;

  absl::StatusOr<v1::Device> UpdateDevice(const v1::Device& device, const std::vector<std::string>& mask,
                                          const Options& options = {}) const;
  absl::StatusOr<v1::Device> UpdateDevice(const v1::UpdateDeviceRequest& request, const Options& options = {}) const;

  absl::Status DeleteDevice(std::string_view device_id, const Options& options = {}) const;
  absl::Status DeleteDevice(const v1::DeleteDeviceRequest& request, const Options& options = {}) const;

  // A sign of life from an owner. Any other call is one, too, if its Options name the owner.
  absl::StatusOr<v1::RenewLeaseResponse> RenewLease(std::string_view owner, const Options& options = {}) const;
  absl::StatusOr<v1::RenewLeaseResponse> RenewLease(const v1::RenewLeaseRequest& request,
                                                    const Options& options = {}) const;

  // Deletes the owner's objects but for those to keep. `keep` holds resource names, with `namespaces/`, `veths/`,
  // `bridges/` or `devices/`. OK does not mean that all of them could be deleted: see `failures`. After a retry,
  // `deleted` leaves out what an attempt deleted whose answer was lost.
  absl::StatusOr<v1::CollectGarbageResponse> CollectGarbage(std::string_view owner,
                                                            const std::vector<std::string>& keep,
                                                            const Options& options = {}) const;
  absl::StatusOr<v1::CollectGarbageResponse> CollectGarbage(const v1::CollectGarbageRequest& request,
                                                            const Options& options = {}) const;

  // The report of the last check of the host.
  absl::StatusOr<v1::HostReport> GetHostReport(const Options& options = {}) const;
  // Checks the host, and puts right what was left unfinished.
  absl::StatusOr<v1::HostReport> CheckHost(const Options& options = {}) const;
  absl::StatusOr<v1::HostReport> CheckHost(const v1::CheckHostRequest& request, const Options& options = {}) const;

  // Who the server takes this client for, and what it lets it do.
  absl::StatusOr<v1::WhoAmIResponse> WhoAmI(const Options& options = {}) const;

  // What the kernel has in a `parent`, `host` or `namespaces/{namespace}`, whoever made it: all that the request's
  // filters let through, page after page from its page_token on. INTERNAL as with ListNamespaces().
  absl::StatusOr<std::vector<v1::Link>> ListLinks(const v1::ListLinksRequest& request,
                                                  const Options& options = {}) const;
  absl::StatusOr<std::vector<v1::AddressEntry>> ListAddresses(const v1::ListAddressesRequest& request,
                                                              const Options& options = {}) const;
  absl::StatusOr<std::vector<v1::RouteEntry>> ListRoutes(const v1::ListRoutesRequest& request,
                                                         const Options& options = {}) const;
  absl::StatusOr<std::vector<v1::NeighborEntry>> ListNeighbors(const v1::ListNeighborsRequest& request,
                                                               const Options& options = {}) const;
  // One page.
  absl::StatusOr<v1::ListLinksResponse> ListLinksPage(const v1::ListLinksRequest& request,
                                                      const Options& options = {}) const;
  absl::StatusOr<v1::ListAddressesResponse> ListAddressesPage(const v1::ListAddressesRequest& request,
                                                              const Options& options = {}) const;
  absl::StatusOr<v1::ListRoutesResponse> ListRoutesPage(const v1::ListRoutesRequest& request,
                                                        const Options& options = {}) const;
  absl::StatusOr<v1::ListNeighborsResponse> ListNeighborsPage(const v1::ListNeighborsRequest& request,
                                                              const Options& options = {}) const;

 private:
  std::shared_ptr<Connection> connection_;
  Options options_;
};

}  // namespace netprov::client

#endif  // NETPROV_CLIENT_CLIENT_H_
