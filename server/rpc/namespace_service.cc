#include "server/rpc/namespace_service.h"

#include <string>

#include "netprov/v1/namespace.grpc.pb.h"
#include "server/api/errors.h"
#include "server/api/namespace.h"
#include "server/rpc/work.h"

namespace netprov::rpc {
namespace {

using Reactor = grpc::ServerUnaryReactor;
using Context = grpc::CallbackServerContext;
using Bytes = grpc::ByteBuffer;

using Base = v1::NamespaceService::WithRawCallbackMethod_CreateNamespace<
    v1::NamespaceService::WithRawCallbackMethod_GetNamespace<v1::NamespaceService::WithRawCallbackMethod_ListNamespaces<
        v1::NamespaceService::WithRawCallbackMethod_UpdateNamespace<
            v1::NamespaceService::WithRawCallbackMethod_DeleteNamespace<
                v1::NamespaceService::WithRawCallbackMethod_AdoptNamespace<
                    v1::NamespaceService::WithRawCallbackMethod_ReleaseNamespace<v1::NamespaceService::Service>>>>>>>;

constexpr auto kToProto = [](const auto& result) { return api::ToProto(*result); };
constexpr auto kToEmpty = [](const auto&) { return google::protobuf::Empty(); };

class NamespaceService final : public Base {
 public:
  NamespaceService(engine::Engine& engine, CallRunner& runner) : engine_(engine), runner_(runner) {}

  Reactor* CreateNamespace(Context* context, const Bytes* request, Bytes* response) override {
    return runner_.Start<v1::CreateNamespaceRequest>(
        {context, request, response, "CreateNamespace"}, [this](const v1::CreateNamespaceRequest& create) {
          return Change(engine_, api::Method::kCreateNamespace, api::ToCall(create), &engine::Engine::CreateNamespace,
                        kToProto);
        });
  }

  Reactor* GetNamespace(Context* context, const Bytes* request, Bytes* response) override {
    return runner_.Start<v1::GetNamespaceRequest>({context, request, response, "GetNamespace"},
                                                  [this](const v1::GetNamespaceRequest& get) {
                                                    return Read(
                                                        api::Method::kGetNamespace, api::ToCall(get),
                                                        [this](const api::GetNamespaceQuery& query) {
                                                          return engine_.GetNamespace(query.id, query.with_inhabitants);
                                                        },
                                                        kToProto);
                                                  });
  }

  Reactor* ListNamespaces(Context* context, const Bytes* request, Bytes* response) override {
    return runner_.Start<v1::ListNamespacesRequest>(
        {context, request, response, "ListNamespaces"}, [this](const v1::ListNamespacesRequest& list) {
          return Read(
              api::Method::kListNamespaces, api::ToCall(list),
              [this](const api::ListCall& call) { return engine_.ListNamespaces(call.after, call.limit); }, kToProto);
        });
  }

  Reactor* UpdateNamespace(Context* context, const Bytes* request, Bytes* response) override {
    return runner_.Start<v1::UpdateNamespaceRequest>(
        {context, request, response, "UpdateNamespace"}, [this](const v1::UpdateNamespaceRequest& update) {
          return Change(engine_, api::Method::kUpdateNamespace, api::ToCall(update), &engine::Engine::UpdateNamespace,
                        kToProto);
        });
  }

  Reactor* DeleteNamespace(Context* context, const Bytes* request, Bytes* response) override {
    return runner_.Start<v1::DeleteNamespaceRequest>(
        {context, request, response, "DeleteNamespace"}, [this](const v1::DeleteNamespaceRequest& del) {
          return Change(engine_, api::Method::kDeleteNamespace, api::ToCall(del), &engine::Engine::DeleteNamespace,
                        kToEmpty);
        });
  }

  Reactor* AdoptNamespace(Context* context, const Bytes* request, Bytes* response) override {
    return runner_.Start<v1::AdoptNamespaceRequest>(
        {context, request, response, "AdoptNamespace"}, [this](const v1::AdoptNamespaceRequest& adopt) {
          return Change(engine_, api::Method::kAdoptNamespace, api::ToCall(adopt), &engine::Engine::AdoptNamespace,
                        kToProto);
        });
  }

  Reactor* ReleaseNamespace(Context* context, const Bytes* request, Bytes* response) override {
    return runner_.Start<v1::ReleaseNamespaceRequest>(
        {context, request, response, "ReleaseNamespace"}, [this](const v1::ReleaseNamespaceRequest& release) {
          return Change(engine_, api::Method::kReleaseNamespace, api::ToCall(release),
                        &engine::Engine::ReleaseNamespace, kToEmpty);
        });
  }

 private:
  engine::Engine& engine_;
  CallRunner& runner_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeNamespaceService(engine::Engine& engine, CallRunner& runner) {
  return std::make_unique<NamespaceService>(engine, runner);
}

}  // namespace netprov::rpc
