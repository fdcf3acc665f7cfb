#include "client/testing/scripted_server.h"

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <cstdlib>
#include <utility>

#include "client/owner.h"
#include "client/status.h"
#include "netprov/v1/host.grpc.pb.h"
#include "netprov/v1/inspection.grpc.pb.h"
#include "netprov/v1/lease.grpc.pb.h"
#include "netprov/v1/namespace.grpc.pb.h"
#include "netprov/v1/veth.grpc.pb.h"

namespace netprov::client {
namespace {

template <typename Request, typename Response>
grpc::Status Answer(const Handler<Request, Response>& handler, const grpc::ServerContext& context,
                    const Request& request, Response& response) {
  if (!handler) return grpc::Status(grpc::StatusCode::UNIMPLEMENTED, "no handler");
  const std::chrono::system_clock::time_point deadline = context.deadline();
  ScriptedCall call;
  call.timeout = deadline == std::chrono::system_clock::time_point::max() ? absl::InfiniteDuration()
                                                                          : absl::FromChrono(deadline) - absl::Now();
  const auto [first, last] = context.client_metadata().equal_range(kOwnerKey);
  for (auto it = first; it != last; ++it) call.owners.emplace_back(it->second.data(), it->second.size());
  return ToGrpcStatus(handler(call, request, response));
}

class Namespaces final : public v1::NamespaceService::Service {
 public:
  explicit Namespaces(const Handlers& handlers) : handlers_(handlers) {}

  grpc::Status CreateNamespace(grpc::ServerContext* context, const v1::CreateNamespaceRequest* request,
                               v1::Namespace* response) override {
    return Answer(handlers_.create_namespace, *context, *request, *response);
  }
  grpc::Status GetNamespace(grpc::ServerContext* context, const v1::GetNamespaceRequest* request,
                            v1::Namespace* response) override {
    return Answer(handlers_.get_namespace, *context, *request, *response);
  }
  grpc::Status ListNamespaces(grpc::ServerContext* context, const v1::ListNamespacesRequest* request,
                              v1::ListNamespacesResponse* response) override {
    return Answer(handlers_.list_namespaces, *context, *request, *response);
  }
  grpc::Status DeleteNamespace(grpc::ServerContext* context, const v1::DeleteNamespaceRequest* request,
                               google::protobuf::Empty* response) override {
    return Answer(handlers_.delete_namespace, *context, *request, *response);
  }

 private:
  const Handlers& handlers_;
};

class Veths final : public v1::VethService::Service {
 public:
  explicit Veths(const Handlers& handlers) : handlers_(handlers) {}

  grpc::Status CreateVeth(grpc::ServerContext* context, const v1::CreateVethRequest* request,
                          v1::Veth* response) override {
    return Answer(handlers_.create_veth, *context, *request, *response);
  }
  grpc::Status GetVeth(grpc::ServerContext* context, const v1::GetVethRequest* request, v1::Veth* response) override {
    return Answer(handlers_.get_veth, *context, *request, *response);
  }
  grpc::Status ListVeths(grpc::ServerContext* context, const v1::ListVethsRequest* request,
                         v1::ListVethsResponse* response) override {
    return Answer(handlers_.list_veths, *context, *request, *response);
  }
  grpc::Status DeleteVeth(grpc::ServerContext* context, const v1::DeleteVethRequest* request,
                          google::protobuf::Empty* response) override {
    return Answer(handlers_.delete_veth, *context, *request, *response);
  }

 private:
  const Handlers& handlers_;
};

class Leases final : public v1::LeaseService::Service {
 public:
  explicit Leases(const Handlers& handlers) : handlers_(handlers) {}

  grpc::Status RenewLease(grpc::ServerContext* context, const v1::RenewLeaseRequest* request,
                          v1::RenewLeaseResponse* response) override {
    return Answer(handlers_.renew_lease, *context, *request, *response);
  }
  grpc::Status CollectGarbage(grpc::ServerContext* context, const v1::CollectGarbageRequest* request,
                              v1::CollectGarbageResponse* response) override {
    return Answer(handlers_.collect_garbage, *context, *request, *response);
  }

 private:
  const Handlers& handlers_;
};

class Host final : public v1::HostService::Service {
 public:
  explicit Host(const Handlers& handlers) : handlers_(handlers) {}

  grpc::Status GetHostReport(grpc::ServerContext* context, const v1::GetHostReportRequest* request,
                             v1::HostReport* response) override {
    return Answer(handlers_.get_host_report, *context, *request, *response);
  }
  grpc::Status CheckHost(grpc::ServerContext* context, const v1::CheckHostRequest* request,
                         v1::HostReport* response) override {
    return Answer(handlers_.check_host, *context, *request, *response);
  }

 private:
  const Handlers& handlers_;
};

class Inspection final : public v1::InspectionService::Service {
 public:
  explicit Inspection(const Handlers& handlers) : handlers_(handlers) {}

  grpc::Status ListLinks(grpc::ServerContext* context, const v1::ListLinksRequest* request,
                         v1::ListLinksResponse* response) override {
    return Answer(handlers_.list_links, *context, *request, *response);
  }
  grpc::Status ListAddresses(grpc::ServerContext* context, const v1::ListAddressesRequest* request,
                             v1::ListAddressesResponse* response) override {
    return Answer(handlers_.list_addresses, *context, *request, *response);
  }
  grpc::Status ListRoutes(grpc::ServerContext* context, const v1::ListRoutesRequest* request,
                          v1::ListRoutesResponse* response) override {
    return Answer(handlers_.list_routes, *context, *request, *response);
  }
  grpc::Status ListNeighbors(grpc::ServerContext* context, const v1::ListNeighborsRequest* request,
                             v1::ListNeighborsResponse* response) override {
    return Answer(handlers_.list_neighbors, *context, *request, *response);
  }

 private:
  const Handlers& handlers_;
};

}  // namespace

struct ScriptedServer::Parts {
  explicit Parts(Handlers h)
      : handlers(std::move(h)),
        namespaces(handlers),
        veths(handlers),
        leases(handlers),
        host(handlers),
        inspection(handlers) {}

  const Handlers handlers;
  Namespaces namespaces;
  Veths veths;
  Leases leases;
  Host host;
  Inspection inspection;
  std::unique_ptr<grpc::Server> server;
};

ScriptedServer::ScriptedServer(Handlers handlers, const std::string& address)
    : parts_(std::make_unique<Parts>(std::move(handlers))) {
  grpc::ServerBuilder builder;
  builder.RegisterService(&parts_->namespaces);
  builder.RegisterService(&parts_->veths);
  builder.RegisterService(&parts_->leases);
  builder.RegisterService(&parts_->host);
  builder.RegisterService(&parts_->inspection);
  if (!address.empty()) builder.AddListeningPort(address, grpc::InsecureServerCredentials());
  parts_->server = builder.BuildAndStart();
  if (parts_->server == nullptr) std::abort();
}

ScriptedServer::~ScriptedServer() { parts_->server->Shutdown(std::chrono::system_clock::now()); }

std::shared_ptr<grpc::Channel> ScriptedServer::channel() {
  return parts_->server->InProcessChannel(grpc::ChannelArguments());
}

}  // namespace netprov::client
