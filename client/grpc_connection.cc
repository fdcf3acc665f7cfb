#include "client/grpc_connection.h"

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <fstream>
#include <sstream>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/endpoint.h"
#include "client/owner.h"
#include "client/retry.h"
#include "client/status.h"
#include "client/utf8.h"
#include "client/version.h"
#include "google/protobuf/empty.pb.h"
#include "netprov/v1/access.grpc.pb.h"
#include "netprov/v1/bridge.grpc.pb.h"
#include "netprov/v1/device.grpc.pb.h"
#include "netprov/v1/host.grpc.pb.h"
#include "netprov/v1/inspection.grpc.pb.h"
#include "netprov/v1/lease.grpc.pb.h"
#include "netprov/v1/namespace.grpc.pb.h"
#include "netprov/v1/veth.grpc.pb.h"

namespace netprov::client {
namespace {

// Whether a second call does no harm.
template <typename Mutation>
bool IsRepeatable(const Mutation& request) {
  return !request.request_id().empty() || request.validate_only();
}

absl::Status CheckOwnerOption(const std::string& owner) {
  // gRPC ends the process where a value is none that it can send.
  const absl::Status status = owner.empty() ? absl::OkStatus() : CheckOwner(owner);
  return status.ok() ? status : absl::InvalidArgumentError(absl::StrCat(kOwnerKey, " ", status.message()));
}

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  if (!file.good() || text.str().empty()) {
    return absl::InvalidArgumentError(absl::StrCat("cannot read ", path, ", or it is empty"));
  }
  return text.str();
}

// What a connection shows and trusts. A unix socket says by itself who is at either end.
absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> CredentialsOf(const Endpoint& endpoint,
                                                                        const TlsOptions& tls) {
  if (tls.is_empty()) return grpc::InsecureChannelCredentials();
  if (endpoint.is_local()) return absl::InvalidArgumentError("TLS is for HOST:PORT, not for a unix socket");
  if (tls.ca.empty() || tls.certificate.empty() || tls.key.empty()) {
    return absl::InvalidArgumentError("TLS needs the server's CA, and the client's certificate and key");
  }
  grpc::SslCredentialsOptions options;
  for (const auto& [path, text] :
       {std::pair(&tls.ca, &options.pem_root_certs), std::pair(&tls.certificate, &options.pem_cert_chain),
        std::pair(&tls.key, &options.pem_private_key)}) {
    absl::StatusOr<std::string> read = ReadFile(*path);
    if (!read.ok()) return read.status();
    *text = *std::move(read);
  }
  return grpc::SslCredentials(options);
}

class GrpcConnection final : public Connection {
 public:
  GrpcConnection(std::shared_ptr<grpc::Channel> channel, std::shared_ptr<Clock> clock)
      : namespaces_(v1::NamespaceService::NewStub(channel)),
        veths_(v1::VethService::NewStub(channel)),
        bridges_(v1::BridgeService::NewStub(channel)),
        devices_(v1::DeviceService::NewStub(channel)),
        leases_(v1::LeaseService::NewStub(channel)),
        host_(v1::HostService::NewStub(channel)),
        inspection_(v1::InspectionService::NewStub(channel)),
        access_(v1::AccessService::NewStub(channel)),
        clock_(std::move(clock)) {}

  absl::StatusOr<v1::Namespace> CreateNamespace(const v1::CreateNamespaceRequest& request,
                                                const CallOptions& options) override {
    return Call<v1::Namespace>(*namespaces_, &v1::NamespaceService::Stub::CreateNamespace, request, options,
                               IsRepeatable(request));
  }

  absl::StatusOr<v1::Namespace> GetNamespace(const v1::GetNamespaceRequest& request,
                                             const CallOptions& options) override {
    return Call<v1::Namespace>(*namespaces_, &v1::NamespaceService::Stub::GetNamespace, request, options, true);
  }

  absl::StatusOr<v1::ListNamespacesResponse> ListNamespaces(const v1::ListNamespacesRequest& request,
                                                            const CallOptions& options) override {
    return Call<v1::ListNamespacesResponse>(*namespaces_, &v1::NamespaceService::Stub::ListNamespaces, request, options,
                                            true);
  }

  absl::StatusOr<v1::Namespace> UpdateNamespace(const v1::UpdateNamespaceRequest& request,
                                                const CallOptions& options) override {
    return Call<v1::Namespace>(*namespaces_, &v1::NamespaceService::Stub::UpdateNamespace, request, options,
                               IsRepeatable(request));
  }

  absl::Status DeleteNamespace(const v1::DeleteNamespaceRequest& request, const CallOptions& options) override {
    return Call<google::protobuf::Empty>(*namespaces_, &v1::NamespaceService::Stub::DeleteNamespace, request, options,
                                         IsRepeatable(request))
        .status();
  }

  absl::StatusOr<v1::Namespace> AdoptNamespace(const v1::AdoptNamespaceRequest& request,
                                               const CallOptions& options) override {
    return Call<v1::Namespace>(*namespaces_, &v1::NamespaceService::Stub::AdoptNamespace, request, options,
                               IsRepeatable(request));
  }

  absl::Status ReleaseNamespace(const v1::ReleaseNamespaceRequest& request, const CallOptions& options) override {
    return Call<google::protobuf::Empty>(*namespaces_, &v1::NamespaceService::Stub::ReleaseNamespace, request, options,
                                         IsRepeatable(request))
        .status();
  }

  absl::StatusOr<v1::Veth> CreateVeth(const v1::CreateVethRequest& request, const CallOptions& options) override {
    return Call<v1::Veth>(*veths_, &v1::VethService::Stub::CreateVeth, request, options, IsRepeatable(request));
  }

  absl::StatusOr<v1::Veth> GetVeth(const v1::GetVethRequest& request, const CallOptions& options) override {
    return Call<v1::Veth>(*veths_, &v1::VethService::Stub::GetVeth, request, options, true);
  }

  absl::StatusOr<v1::ListVethsResponse> ListVeths(const v1::ListVethsRequest& request,
                                                  const CallOptions& options) override {
    return Call<v1::ListVethsResponse>(*veths_, &v1::VethService::Stub::ListVeths, request, options, true);
  }

  absl::StatusOr<v1::Veth> UpdateVeth(const v1::UpdateVethRequest& request, const CallOptions& options) override {
    return Call<v1::Veth>(*veths_, &v1::VethService::Stub::UpdateVeth, request, options, IsRepeatable(request));
  }

  absl::Status DeleteVeth(const v1::DeleteVethRequest& request, const CallOptions& options) override {
    return Call<google::protobuf::Empty>(*veths_, &v1::VethService::Stub::DeleteVeth, request, options,
                                         IsRepeatable(request))
        .status();
  }

  absl::StatusOr<v1::Bridge> CreateBridge(const v1::CreateBridgeRequest& request, const CallOptions& options) override {
    return Call<v1::Bridge>(*bridges_, &v1::BridgeService::Stub::CreateBridge, request, options, IsRepeatable(request));
  }

  absl::StatusOr<v1::Bridge> GetBridge(const v1::GetBridgeRequest& request, const CallOptions& options) override {
    return Call<v1::Bridge>(*bridges_, &v1::BridgeService::Stub::GetBridge, request, options, true);
  }

  absl::StatusOr<v1::ListBridgesResponse> ListBridges(const v1::ListBridgesRequest& request,
                                                      const CallOptions& options) override {
    return Call<v1::ListBridgesResponse>(*bridges_, &v1::BridgeService::Stub::ListBridges, request, options, true);
  }

  absl::StatusOr<v1::Bridge> UpdateBridge(const v1::UpdateBridgeRequest& request, const CallOptions& options) override {
    return Call<v1::Bridge>(*bridges_, &v1::BridgeService::Stub::UpdateBridge, request, options, IsRepeatable(request));
  }

  absl::Status DeleteBridge(const v1::DeleteBridgeRequest& request, const CallOptions& options) override {
    return Call<google::protobuf::Empty>(*bridges_, &v1::BridgeService::Stub::DeleteBridge, request, options,
                                         IsRepeatable(request))
        .status();
  }

  absl::StatusOr<v1::Device> CreateDevice(const v1::CreateDeviceRequest& request, const CallOptions& options) override {
    return Call<v1::Device>(*devices_, &v1::DeviceService::Stub::CreateDevice, request, options, IsRepeatable(request));
  }

  absl::StatusOr<v1::Device> GetDevice(const v1::GetDeviceRequest& request, const CallOptions& options) override {
    return Call<v1::Device>(*devices_, &v1::DeviceService::Stub::GetDevice, request, options, true);
  }

  absl::StatusOr<v1::ListDevicesResponse> ListDevices(const v1::ListDevicesRequest& request,
                                                      const CallOptions& options) override {
    return Call<v1::ListDevicesResponse>(*devices_, &v1::DeviceService::Stub::ListDevices, request, options, true);
  }

  absl::StatusOr<v1::Device> UpdateDevice(const v1::UpdateDeviceRequest& request, const CallOptions& options) override {
    return Call<v1::Device>(*devices_, &v1::DeviceService::Stub::UpdateDevice, request, options, IsRepeatable(request));
  }

  absl::Status DeleteDevice(const v1::DeleteDeviceRequest& request, const CallOptions& options) override {
    return Call<google::protobuf::Empty>(*devices_, &v1::DeviceService::Stub::DeleteDevice, request, options,
                                         IsRepeatable(request))
        .status();
  }

  absl::StatusOr<v1::RenewLeaseResponse> RenewLease(const v1::RenewLeaseRequest& request,
                                                    const CallOptions& options) override {
    return Call<v1::RenewLeaseResponse>(*leases_, &v1::LeaseService::Stub::RenewLease, request, options, true);
  }

  absl::StatusOr<v1::CollectGarbageResponse> CollectGarbage(const v1::CollectGarbageRequest& request,
                                                            const CallOptions& options) override {
    return Call<v1::CollectGarbageResponse>(*leases_, &v1::LeaseService::Stub::CollectGarbage, request, options, true);
  }

  absl::StatusOr<v1::HostReport> GetHostReport(const v1::GetHostReportRequest& request,
                                               const CallOptions& options) override {
    return Call<v1::HostReport>(*host_, &v1::HostService::Stub::GetHostReport, request, options, true);
  }

  absl::StatusOr<v1::HostReport> CheckHost(const v1::CheckHostRequest& request, const CallOptions& options) override {
    return Call<v1::HostReport>(*host_, &v1::HostService::Stub::CheckHost, request, options, true);
  }

  absl::StatusOr<v1::WhoAmIResponse> WhoAmI(const v1::WhoAmIRequest& request, const CallOptions& options) override {
    return Call<v1::WhoAmIResponse>(*access_, &v1::AccessService::Stub::WhoAmI, request, options, true);
  }

  absl::StatusOr<v1::ListLinksResponse> ListLinks(const v1::ListLinksRequest& request,
                                                  const CallOptions& options) override {
    return Call<v1::ListLinksResponse>(*inspection_, &v1::InspectionService::Stub::ListLinks, request, options, true);
  }

  absl::StatusOr<v1::ListAddressesResponse> ListAddresses(const v1::ListAddressesRequest& request,
                                                          const CallOptions& options) override {
    return Call<v1::ListAddressesResponse>(*inspection_, &v1::InspectionService::Stub::ListAddresses, request, options,
                                           true);
  }

  absl::StatusOr<v1::ListRoutesResponse> ListRoutes(const v1::ListRoutesRequest& request,
                                                    const CallOptions& options) override {
    return Call<v1::ListRoutesResponse>(*inspection_, &v1::InspectionService::Stub::ListRoutes, request, options, true);
  }

  absl::StatusOr<v1::ListNeighborsResponse> ListNeighbors(const v1::ListNeighborsRequest& request,
                                                          const CallOptions& options) override {
    return Call<v1::ListNeighborsResponse>(*inspection_, &v1::InspectionService::Stub::ListNeighbors, request, options,
                                           true);
  }

 private:
  template <typename Response, typename Stub, typename Request>
  absl::StatusOr<Response> Call(Stub& stub,
                                grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                                const Request& request, const CallOptions& options, bool repeatable) {
    if (absl::Status status = CheckUtf8(request); !status.ok()) return status;
    if (absl::Status status = CheckOwnerOption(options.owner); !status.ok()) return status;
    Response response;
    absl::Status status = CallWithRetries(options, repeatable, *clock_, [&](absl::Duration timeout) {
      grpc::ClientContext context;
      if (timeout != absl::InfiniteDuration()) {
        context.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
      }
      if (!options.owner.empty()) context.AddMetadata(kOwnerKey, options.owner);
      response.Clear();
      return FromGrpcStatus((stub.*method)(&context, request, &response));
    });
    if (!status.ok()) return status;
    return response;
  }

  const std::unique_ptr<v1::NamespaceService::Stub> namespaces_;
  const std::unique_ptr<v1::VethService::Stub> veths_;
  const std::unique_ptr<v1::BridgeService::Stub> bridges_;
  const std::unique_ptr<v1::DeviceService::Stub> devices_;
  const std::unique_ptr<v1::LeaseService::Stub> leases_;
  const std::unique_ptr<v1::HostService::Stub> host_;
  const std::unique_ptr<v1::InspectionService::Stub> inspection_;
  const std::unique_ptr<v1::AccessService::Stub> access_;
  const std::shared_ptr<Clock> clock_;
};

}  // namespace

std::shared_ptr<Connection> MakeConnection(std::shared_ptr<grpc::Channel> channel, std::shared_ptr<Clock> clock) {
  return std::make_shared<GrpcConnection>(std::move(channel), std::move(clock));
}

absl::StatusOr<std::shared_ptr<Connection>> MakeConnection(std::string_view endpoint, const TlsOptions& tls) {
  const absl::StatusOr<Endpoint> parsed = ParseEndpoint(endpoint);
  if (!parsed.ok()) return parsed.status();
  const absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> credentials = CredentialsOf(*parsed, tls);
  if (!credentials.ok()) return credentials.status();
  grpc::ChannelArguments arguments;
  if (!tls.server_name.empty()) arguments.SetSslTargetNameOverride(tls.server_name);
  arguments.SetUserAgentPrefix(absl::StrCat("netprov-cpp/", kVersion));
  // CallWithRetries repeats calls, and no DNS record changes how. gRPC itself repeats only what no server has seen, as
  // where a connection was let go (gRFC A6, transparent retries).
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 1);
  arguments.SetInt(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  // While gRPC waits to connect again, attempts fail without being made; so it has to wait about as long as
  // CallWithRetries does.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 5000);
  return MakeConnection(grpc::CreateCustomChannel(GrpcTarget(*parsed), *credentials, arguments), SystemClock());
}

}  // namespace netprov::client
