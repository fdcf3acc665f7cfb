// A gRPC server in this process that answers as a test tells it to.
#ifndef NETPROV_CLIENT_TESTING_SCRIPTED_SERVER_H_
#define NETPROV_CLIENT_TESTING_SCRIPTED_SERVER_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "google/protobuf/empty.pb.h"
#include "netprov/v1/host.pb.h"
#include "netprov/v1/inspection.pb.h"
#include "netprov/v1/lease.pb.h"
#include "netprov/v1/namespace.pb.h"
#include "netprov/v1/veth.pb.h"

namespace grpc {
class Channel;
}  // namespace grpc

namespace netprov::client {

// What a handler may know of its call besides the request.
struct ScriptedCall {
  // How long until the caller's deadline; infinite without one.
  absl::Duration timeout;
  // The values of `netprov-owner` in the call's metadata.
  std::vector<std::string> owners;
};

// The answer to one RPC: fills in the response, or returns an error, whose payloads become error details. Runs on the
// server's threads.
template <typename Request, typename Response>
using Handler = std::function<absl::Status(const ScriptedCall& call, const Request& request, Response& response)>;

// An RPC without a handler is UNIMPLEMENTED. Set before the first call.
struct Handlers {
  Handler<v1::CreateNamespaceRequest, v1::Namespace> create_namespace;
  Handler<v1::GetNamespaceRequest, v1::Namespace> get_namespace;
  Handler<v1::ListNamespacesRequest, v1::ListNamespacesResponse> list_namespaces;
  Handler<v1::DeleteNamespaceRequest, google::protobuf::Empty> delete_namespace;
  Handler<v1::CreateVethRequest, v1::Veth> create_veth;
  Handler<v1::GetVethRequest, v1::Veth> get_veth;
  Handler<v1::ListVethsRequest, v1::ListVethsResponse> list_veths;
  Handler<v1::DeleteVethRequest, google::protobuf::Empty> delete_veth;
  Handler<v1::RenewLeaseRequest, v1::RenewLeaseResponse> renew_lease;
  Handler<v1::CollectGarbageRequest, v1::CollectGarbageResponse> collect_garbage;
  Handler<v1::GetHostReportRequest, v1::HostReport> get_host_report;
  Handler<v1::CheckHostRequest, v1::HostReport> check_host;
  Handler<v1::ListLinksRequest, v1::ListLinksResponse> list_links;
  Handler<v1::ListAddressesRequest, v1::ListAddressesResponse> list_addresses;
  Handler<v1::ListRoutesRequest, v1::ListRoutesResponse> list_routes;
  Handler<v1::ListNeighborsRequest, v1::ListNeighborsResponse> list_neighbors;
};

// Serves from its construction to its destruction, which cancels what is still running.
class ScriptedServer {
 public:
  // Listens at `address` besides, in gRPC's form (`unix:/path`), if it is not empty.
  explicit ScriptedServer(Handlers handlers, const std::string& address = "");
  ~ScriptedServer();

  // An in-process channel to it.
  std::shared_ptr<grpc::Channel> channel();

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace netprov::client

#endif  // NETPROV_CLIENT_TESTING_SCRIPTED_SERVER_H_
