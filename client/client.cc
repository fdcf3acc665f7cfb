#include "client/client.h"

#include <utility>

#include "client/request_id.h"

namespace netprov::client {
namespace {

// The most that the server puts on one page.
constexpr int kPageSize = 1000;

template <typename T>
void Choose(T& target, const std::optional<T>& of_call, const std::optional<T>& of_client) {
  if (of_call.has_value()) {
    target = *of_call;
  } else if (of_client.has_value()) {
    target = *of_client;
  }
}

CallOptions Resolve(const Options& of_call, const Options& of_client) {
  CallOptions options;
  Choose(options.timeout, of_call.timeout, of_client.timeout);
  Choose(options.attempt_timeout, of_call.attempt_timeout, of_client.attempt_timeout);
  Choose(options.retry, of_call.retry, of_client.retry);
  Choose(options.backoff, of_call.backoff, of_client.backoff);
  Choose(options.owner, of_call.owner, of_client.owner);
  return options;
}

// The request as it is sent: with a request_id, if it shall have one.
template <typename Mutation>
Mutation Named(Mutation request, const Options& of_call, const Options& of_client) {
  bool generate = true;
  Choose(generate, of_call.generate_request_id, of_client.generate_request_id);
  if (generate && request.request_id().empty() && !request.validate_only()) request.set_request_id(NewRequestId());
  return request;
}

template <typename Request>
Request WithName(std::string_view collection, std::string_view id) {
  Request request;
  request.set_name(std::string(collection).append(id));
  return request;
}

constexpr char kNamespaces[] = "namespaces/";
constexpr char kVeths[] = "veths/";
constexpr char kBridges[] = "bridges/";
constexpr char kDevices[] = "devices/";

// All items of a paged list that `request` asks for. `page` calls the RPC, and `items` takes them out of its response.
template <typename Item, typename Request, typename Page, typename Items>
absl::StatusOr<std::vector<Item>> ListAll(Request request, Page page, Items items) {
  std::vector<Item> all;
  if (request.page_size() == 0) request.set_page_size(kPageSize);
  for (;;) {
    auto response = page(request);
    if (!response.ok()) return response.status();
    for (Item& item : *items(*response)) all.push_back(std::move(item));
    if (response->next_page_token().empty()) return all;
    if (response->next_page_token() == request.page_token()) {
      return absl::InternalError("the server sent the same page token twice");
    }
    request.set_page_token(response->next_page_token());
  }
}

}  // namespace

Client::Client(std::shared_ptr<Connection> connection, Options options)
    : connection_(std::move(connection)), options_(std::move(options)) {}

absl::StatusOr<v1::Namespace> Client::CreateNamespace(std::string_view namespace_id, const Options& options) const {
  v1::CreateNamespaceRequest request;
  request.set_namespace_id(std::string(namespace_id));
  return CreateNamespace(request, options);
}

absl::StatusOr<v1::Namespace> Client::CreateNamespace(std::string_view namespace_id, const v1::Metadata& metadata,
                                                      const Options& options) const {
  v1::CreateNamespaceRequest request;
  request.set_namespace_id(std::string(namespace_id));
  *request.mutable_namespace_()->mutable_metadata() = metadata;
  return CreateNamespace(request, options);
}

absl::StatusOr<v1::Namespace> Client::CreateNamespace(const v1::CreateNamespaceRequest& request,
                                                      const Options& options) const {
  return connection_->CreateNamespace(Named(request, options, options_), Resolve(options, options_));
}

absl::StatusOr<v1::Namespace> Client::GetNamespace(std::string_view namespace_id, const Options& options) const {
  return GetNamespace(WithName<v1::GetNamespaceRequest>(kNamespaces, namespace_id), options);
}

absl::StatusOr<v1::Namespace> Client::GetNamespace(const v1::GetNamespaceRequest& request,
                                                   const Options& options) const {
  return connection_->GetNamespace(request, Resolve(options, options_));
}

absl::StatusOr<std::vector<v1::Namespace>> Client::ListNamespaces(const Options& options) const {
  return ListAll<v1::Namespace>(
      v1::ListNamespacesRequest(),
      [&](const v1::ListNamespacesRequest& request) { return ListNamespacesPage(request, options); },
      [](v1::ListNamespacesResponse& response) { return response.mutable_namespaces(); });
}

absl::StatusOr<v1::ListNamespacesResponse> Client::ListNamespacesPage(const v1::ListNamespacesRequest& request,
                                                                      const Options& options) const {
  return connection_->ListNamespaces(request, Resolve(options, options_));
}

absl::StatusOr<v1::Namespace> Client::UpdateNamespace(const v1::Namespace& netns, const std::vector<std::string>& mask,
                                                      const Options& options) const {
  v1::UpdateNamespaceRequest request;
  *request.mutable_namespace_() = netns;
  request.mutable_update_mask()->mutable_paths()->Add(mask.begin(), mask.end());
  return UpdateNamespace(request, options);
}

absl::StatusOr<v1::Namespace> Client::UpdateNamespace(const v1::UpdateNamespaceRequest& request,
                                                      const Options& options) const {
  return connection_->UpdateNamespace(Named(request, options, options_), Resolve(options, options_));
}

absl::Status Client::DeleteNamespace(std::string_view namespace_id, const Options& options) const {
  return DeleteNamespace(WithName<v1::DeleteNamespaceRequest>(kNamespaces, namespace_id), options);
}

absl::Status Client::DeleteNamespace(const v1::DeleteNamespaceRequest& request, const Options& options) const {
  return connection_->DeleteNamespace(Named(request, options, options_), Resolve(options, options_));
}

absl::StatusOr<v1::Namespace> Client::AdoptNamespace(std::string_view namespace_id, const Options& options) const {
  return AdoptNamespace(WithName<v1::AdoptNamespaceRequest>(kNamespaces, namespace_id), options);
}

absl::StatusOr<v1::Namespace> Client::AdoptNamespace(const v1::AdoptNamespaceRequest& request,
                                                     const Options& options) const {
  return connection_->AdoptNamespace(Named(request, options, options_), Resolve(options, options_));
}

absl::Status Client::ReleaseNamespace(std::string_view namespace_id, const Options& options) const {
  return ReleaseNamespace(WithName<v1::ReleaseNamespaceRequest>(kNamespaces, namespace_id), options);
}

absl::Status Client::ReleaseNamespace(const v1::ReleaseNamespaceRequest& request, const Options& options) const {
  return connection_->ReleaseNamespace(Named(request, options, options_), Resolve(options, options_));
}

absl::StatusOr<v1::Veth> Client::CreateVeth(std::string_view veth_id, const v1::Veth& veth,
                                            const Options& options) const {
  v1::CreateVethRequest request;
  request.set_veth_id(std::string(veth_id));
  *request.mutable_veth() = veth;
  return CreateVeth(request, options);
}

absl::StatusOr<v1::Veth> Client::CreateVeth(const v1::CreateVethRequest& request, const Options& options) const {
  return connection_->CreateVeth(Named(request, options, options_), Resolve(options, options_));
}

absl::StatusOr<v1::Veth> Client::GetVeth(std::string_view veth_id, const Options& options) const {
  return GetVeth(WithName<v1::GetVethRequest>(kVeths, veth_id), options);
}

absl::StatusOr<v1::Veth> Client::GetVeth(const v1::GetVethRequest& request, const Options& options) const {
  return connection_->GetVeth(request, Resolve(options, options_));
}

absl::StatusOr<std::vector<v1::Veth>> Client::ListVeths(const Options& options) const {
  return ListAll<v1::Veth>(
      v1::ListVethsRequest(), [&](const v1::ListVethsRequest& request) { return ListVethsPage(request, options); },
      [](v1::ListVethsResponse& response) { return response.mutable_veths(); });
}

absl::StatusOr<v1::ListVethsResponse> Client::ListVethsPage(const v1::ListVethsRequest& request,
                                                            const Options& options) const {
  return connection_->ListVeths(request, Resolve(options, options_));
}

absl::StatusOr<v1::Veth> Client::UpdateVeth(const v1::Veth& veth, const std::vector<std::string>& mask,
                                            const Options& options) const {
  v1::UpdateVethRequest request;
  *request.mutable_veth() = veth;
  request.mutable_update_mask()->mutable_paths()->Add(mask.begin(), mask.end());
  return UpdateVeth(request, options);
}

absl::StatusOr<v1::Veth> Client::UpdateVeth(const v1::UpdateVethRequest& request, const Options& options) const {
  return connection_->UpdateVeth(Named(request, options, options_), Resolve(options, options_));
}

absl::Status Client::DeleteVeth(std::string_view veth_id, const Options& options) const {
  return DeleteVeth(WithName<v1::DeleteVethRequest>(kVeths, veth_id), options);
}

absl::Status Client::DeleteVeth(const v1::DeleteVethRequest& request, const Options& options) const {
  return connection_->DeleteVeth(Named(request, options, options_), Resolve(options, options_));
}

absl::StatusOr<v1::Bridge> Client::CreateBridge(std::string_view bridge_id, const v1::Bridge& bridge,
                                                const Options& options) const {
  v1::CreateBridgeRequest request;
  request.set_bridge_id(std::string(bridge_id));
  *request.mutable_bridge() = bridge;
  return CreateBridge(request, options);
}

absl::StatusOr<v1::Bridge> Client::CreateBridge(const v1::CreateBridgeRequest& request, const Options& options) const {
  return connection_->CreateBridge(Named(request, options, options_), Resolve(options, options_));
}

absl::StatusOr<v1::Bridge> Client::GetBridge(std::string_view bridge_id, const Options& options) const {
  return GetBridge(WithName<v1::GetBridgeRequest>(kBridges, bridge_id), options);
}

absl::StatusOr<v1::Bridge> Client::GetBridge(const v1::GetBridgeRequest& request, const Options& options) const {
  return connection_->GetBridge(request, Resolve(options, options_));
}

absl::StatusOr<std::vector<v1::Bridge>> Client::ListBridges(const Options& options) const {
  return ListAll<v1::Bridge>(
      v1::ListBridgesRequest(),
      [&](const v1::ListBridgesRequest& request) { return ListBridgesPage(request, options); },
      [](v1::ListBridgesResponse& response) { return response.mutable_bridges(); });
}

absl::StatusOr<v1::ListBridgesResponse> Client::ListBridgesPage(const v1::ListBridgesRequest& request,
                                                                const Options& options) const {
  return connection_->ListBridges(request, Resolve(options, options_));
}

absl::StatusOr<v1::Bridge> Client::UpdateBridge(const v1::Bridge& bridge, const std::vector<std::string>& mask,
                                                const Options& options) const {
  v1::UpdateBridgeRequest request;
  *request.mutable_bridge() = bridge;
  request.mutable_update_mask()->mutable_paths()->Add(mask.begin(), mask.end());
  return UpdateBridge(request, options);
}

absl::StatusOr<v1::Bridge> Client::UpdateBridge(const v1::UpdateBridgeRequest& request, const Options& options) const {
  return connection_->UpdateBridge(Named(request, options, options_), Resolve(options, options_));
}

absl::Status Client::DeleteBridge(std::string_view bridge_id, const Options& options) const {
  return DeleteBridge(WithName<v1::DeleteBridgeRequest>(kBridges, bridge_id), options);
}

absl::Status Client::DeleteBridge(const v1::DeleteBridgeRequest& request, const Options& options) const {
  return connection_->DeleteBridge(Named(request, options, options_), Resolve(options, options_));
}

absl::StatusOr<v1::Device> Client::CreateDevice(std::string_view device_id, const v1::Device& device,
                                                const Options& options) const {
  v1::CreateDeviceRequest request;
  request.set_device_id(std::string(device_id));
  *request.mutable_device() = device;
  return CreateDevice(request, options);
}

absl::StatusOr<v1::Device> Client::CreateDevice(const v1::CreateDeviceRequest& request, const Options& options) const {
  return connection_->CreateDevice(Named(request, options, options_), Resolve(options, options_));
}

absl::StatusOr<v1::Device> Client::GetDevice(std::string_view device_id, const Options& options) const {
  return GetDevice(WithName<v1::GetDeviceRequest>(kDevices, device_id), options);
}

absl::StatusOr<v1::Device> Client::GetDevice(const v1::GetDeviceRequest& request, const Options& options) const {
  return connection_->GetDevice(request, Resolve(options, options_));
}

absl::StatusOr<std::vector<v1::Device>> Client::ListDevices(const Options& options) const {
  return ListAll<v1::Device>(
      v1::ListDevicesRequest(),
      [&](const v1::ListDevicesRequest& request) { return ListDevicesPage(request, options); },
      [](v1::ListDevicesResponse& response) { return response.mutable_devices(); });
}

absl::StatusOr<v1::ListDevicesResponse> Client::ListDevicesPage(const v1::ListDevicesRequest& request,
                                                                const Options& options) const {
  return connection_->ListDevices(request, Resolve(options, options_));
}

absl::StatusOr<v1::Device> Client::UpdateDevice(const v1::Device& device, const std::vector<std::string>& mask,
                                                const Options& options) const {
  v1::UpdateDeviceRequest request;
  *request.mutable_device() = device;
  request.mutable_update_mask()->mutable_paths()->Add(mask.begin(), mask.end());
  return UpdateDevice(request, options);
}

absl::StatusOr<v1::Device> Client::UpdateDevice(const v1::UpdateDeviceRequest& request, const Options& options) const {
  return connection_->UpdateDevice(Named(request, options, options_), Resolve(options, options_));
}

absl::Status Client::DeleteDevice(std::string_view device_id, const Options& options) const {
  return DeleteDevice(WithName<v1::DeleteDeviceRequest>(kDevices, device_id), options);
}

absl::Status Client::DeleteDevice(const v1::DeleteDeviceRequest& request, const Options& options) const {
  return connection_->DeleteDevice(Named(request, options, options_), Resolve(options, options_));
}

absl::StatusOr<v1::RenewLeaseResponse> Client::RenewLease(std::string_view owner, const Options& options) const {
  v1::RenewLeaseRequest request;
  request.set_owner(std::string(owner));
  return RenewLease(request, options);
}

absl::StatusOr<v1::RenewLeaseResponse> Client::RenewLease(const v1::RenewLeaseRequest& request,
                                                          const Options& options) const {
  return connection_->RenewLease(request, Resolve(options, options_));
}

absl::StatusOr<v1::CollectGarbageResponse> Client::CollectGarbage(std::string_view owner,
                                                                  const std::vector<std::string>& keep,
                                                                  const Options& options) const {
  v1::CollectGarbageRequest request;
  request.set_owner(std::string(owner));
  request.mutable_keep()->Add(keep.begin(), keep.end());
  return CollectGarbage(request, options);
}

absl::StatusOr<v1::CollectGarbageResponse> Client::CollectGarbage(const v1::CollectGarbageRequest& request,
                                                                  const Options& options) const {
  return connection_->CollectGarbage(request, Resolve(options, options_));
}

absl::StatusOr<v1::HostReport> Client::GetHostReport(const Options& options) const {
  return connection_->GetHostReport({}, Resolve(options, options_));
}

absl::StatusOr<v1::HostReport> Client::CheckHost(const Options& options) const {
  return CheckHost(v1::CheckHostRequest(), options);
}

absl::StatusOr<v1::HostReport> Client::CheckHost(const v1::CheckHostRequest& request, const Options& options) const {
  return connection_->CheckHost(request, Resolve(options, options_));
}

absl::StatusOr<v1::WhoAmIResponse> Client::WhoAmI(const Options& options) const {
  return connection_->WhoAmI({}, Resolve(options, options_));
}

absl::StatusOr<std::vector<v1::Link>> Client::ListLinks(const v1::ListLinksRequest& request,
                                                        const Options& options) const {
  return ListAll<v1::Link>(
      request, [&](const v1::ListLinksRequest& page) { return ListLinksPage(page, options); },
      [](v1::ListLinksResponse& response) { return response.mutable_links(); });
}

absl::StatusOr<v1::ListLinksResponse> Client::ListLinksPage(const v1::ListLinksRequest& request,
                                                            const Options& options) const {
  return connection_->ListLinks(request, Resolve(options, options_));
}

absl::StatusOr<std::vector<v1::AddressEntry>> Client::ListAddresses(const v1::ListAddressesRequest& request,
                                                                    const Options& options) const {
  return ListAll<v1::AddressEntry>(
      request, [&](const v1::ListAddressesRequest& page) { return ListAddressesPage(page, options); },
      [](v1::ListAddressesResponse& response) { return response.mutable_addresses(); });
}

absl::StatusOr<v1::ListAddressesResponse> Client::ListAddressesPage(const v1::ListAddressesRequest& request,
                                                                    const Options& options) const {
  return connection_->ListAddresses(request, Resolve(options, options_));
}

absl::StatusOr<std::vector<v1::RouteEntry>> Client::ListRoutes(const v1::ListRoutesRequest& request,
                                                               const Options& options) const {
  return ListAll<v1::RouteEntry>(
      request, [&](const v1::ListRoutesRequest& page) { return ListRoutesPage(page, options); },
      [](v1::ListRoutesResponse& response) { return response.mutable_routes(); });
}

absl::StatusOr<v1::ListRoutesResponse> Client::ListRoutesPage(const v1::ListRoutesRequest& request,
                                                              const Options& options) const {
  return connection_->ListRoutes(request, Resolve(options, options_));
}

absl::StatusOr<std::vector<v1::NeighborEntry>> Client::ListNeighbors(const v1::ListNeighborsRequest& request,
                                                                     const Options& options) const {
  return ListAll<v1::NeighborEntry>(
      request, [&](const v1::ListNeighborsRequest& page) { return ListNeighborsPage(page, options); },
      [](v1::ListNeighborsResponse& response) { return response.mutable_neighbors(); });
}

absl::StatusOr<v1::ListNeighborsResponse> Client::ListNeighborsPage(const v1::ListNeighborsRequest& request,
                                                                    const Options& options) const {
  return connection_->ListNeighbors(request, Resolve(options, options_));
}

}  // namespace netprov::client
