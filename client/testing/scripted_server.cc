#include "client/testing/scripted_server.h"

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <cstdlib>
#include <utility>

#include "client/status.h"
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

}  // namespace

struct ScriptedServer::Parts {
  explicit Parts(Handlers h) : handlers(std::move(h)), namespaces(handlers), veths(handlers) {}

  const Handlers handlers;
  Namespaces namespaces;
  Veths veths;
  std::unique_ptr<grpc::Server> server;
};

ScriptedServer::ScriptedServer(Handlers handlers, const std::string& address)
    : parts_(std::make_unique<Parts>(std::move(handlers))) {
  grpc::ServerBuilder builder;
  builder.RegisterService(&parts_->namespaces);
  builder.RegisterService(&parts_->veths);
  if (!address.empty()) builder.AddListeningPort(address, grpc::InsecureServerCredentials());
  parts_->server = builder.BuildAndStart();
  if (parts_->server == nullptr) std::abort();
}

ScriptedServer::~ScriptedServer() { parts_->server->Shutdown(std::chrono::system_clock::now()); }

std::shared_ptr<grpc::Channel> ScriptedServer::channel() {
  return parts_->server->InProcessChannel(grpc::ChannelArguments());
}

}  // namespace netprov::client
