#include "server/rpc/veth_service.h"

#include <string>

#include "netprov/v1/veth.grpc.pb.h"
#include "server/api/errors.h"
#include "server/api/veth.h"
#include "server/rpc/work.h"

namespace netprov::rpc {
namespace {

using Reactor = grpc::ServerUnaryReactor;
using Context = grpc::CallbackServerContext;
using Bytes = grpc::ByteBuffer;

using Base = v1::VethService::WithRawCallbackMethod_CreateVeth<v1::VethService::WithRawCallbackMethod_GetVeth<
    v1::VethService::WithRawCallbackMethod_ListVeths<v1::VethService::WithRawCallbackMethod_UpdateVeth<
        v1::VethService::WithRawCallbackMethod_DeleteVeth<v1::VethService::Service>>>>>;

constexpr auto kToProto = [](const auto& result) { return api::ToProto(*result); };
constexpr auto kToEmpty = [](const auto&) { return google::protobuf::Empty(); };

class VethService final : public Base {
 public:
  VethService(engine::Engine& engine, CallRunner& runner) : engine_(engine), runner_(runner) {}

  Reactor* CreateVeth(Context* context, const Bytes* request, Bytes* response) override {
    return runner_.Start<v1::CreateVethRequest>(
        {context, request, response, "CreateVeth"}, [this](const v1::CreateVethRequest& create) {
          return Change(engine_, api::Method::kCreateVeth, api::ToCall(create), &engine::Engine::CreateVeth, kToProto);
        });
  }

  Reactor* GetVeth(Context* context, const Bytes* request, Bytes* response) override {
    return runner_.Start<v1::GetVethRequest>(
        {context, request, response, "GetVeth"}, [this](const v1::GetVethRequest& get) {
          return Read(
              api::Method::kGetVeth, api::ToCall(get), [this](const std::string& id) { return engine_.GetVeth(id); },
              kToProto);
        });
  }

  Reactor* ListVeths(Context* context, const Bytes* request, Bytes* response) override {
    return runner_.Start<v1::ListVethsRequest>(
        {context, request, response, "ListVeths"}, [this](const v1::ListVethsRequest& list) {
          return Read(
              api::Method::kListVeths, api::ToCall(list),
              [this](const api::ListCall& call) { return engine_.ListVeths(call.after, call.limit); }, kToProto);
        });
  }

  Reactor* UpdateVeth(Context* context, const Bytes* request, Bytes* response) override {
    return runner_.Start<v1::UpdateVethRequest>(
        {context, request, response, "UpdateVeth"}, [this](const v1::UpdateVethRequest& update) {
          return Change(engine_, api::Method::kUpdateVeth, api::ToCall(update), &engine::Engine::UpdateVeth, kToProto);
        });
  }

  Reactor* DeleteVeth(Context* context, const Bytes* request, Bytes* response) override {
    return runner_.Start<v1::DeleteVethRequest>(
        {context, request, response, "DeleteVeth"}, [this](const v1::DeleteVethRequest& del) {
          return Change(engine_, api::Method::kDeleteVeth, api::ToCall(del), &engine::Engine::DeleteVeth, kToEmpty);
        });
  }

 private:
  engine::Engine& engine_;
  CallRunner& runner_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeVethService(engine::Engine& engine, CallRunner& runner) {
  return std::make_unique<VethService>(engine, runner);
}

}  // namespace netprov::rpc
