#include "server/rpc/bridge_service.h"

#include <string>

#include "netprov/v1/bridge.grpc.pb.h"
#include "server/api/bridge.h"
#include "server/api/errors.h"
#include "server/rpc/work.h"

namespace netprov::rpc {
namespace {

using Reactor = grpc::ServerUnaryReactor;
using Context = grpc::CallbackServerContext;
using Bytes = grpc::ByteBuffer;

using Base = v1::BridgeService::WithRawCallbackMethod_CreateBridge<v1::BridgeService::WithRawCallbackMethod_GetBridge<
    v1::BridgeService::WithRawCallbackMethod_ListBridges<v1::BridgeService::WithRawCallbackMethod_UpdateBridge<
        v1::BridgeService::WithRawCallbackMethod_DeleteBridge<v1::BridgeService::Service>>>>>;

constexpr auto kToProto = [](const auto& result) { return api::ToBridge(*result); };
constexpr auto kToList = [](const auto& result) { return api::ToBridges(*result); };
constexpr auto kToEmpty = [](const auto&) { return google::protobuf::Empty(); };

class BridgeService final : public Base {
 public:
  BridgeService(engine::Engine& engine, CallRunner& runner) : engine_(engine), runner_(runner) {}

  Reactor* CreateBridge(Context* context, const Bytes* request, Bytes* response) override {
    return runner_.Start<v1::CreateBridgeRequest>(
        {context, request, response, "CreateBridge"}, [this](const v1::CreateBridgeRequest& create) {
          return Change(engine_, api::Method::kCreateBridge, api::ToCall(create), &engine::Engine::CreateDevice,
                        kToProto);
        });
  }

  Reactor* GetBridge(Context* context, const Bytes* request, Bytes* response) override {
    return runner_.Start<v1::GetBridgeRequest>(
        {context, request, response, "GetBridge"}, [this](const v1::GetBridgeRequest& get) {
          return Read(
              api::Method::kGetBridge, api::ToCall(get),
              [this](const std::string& name) { return engine_.GetDevice(name); }, kToProto);
        });
  }

  Reactor* ListBridges(Context* context, const Bytes* request, Bytes* response) override {
    return runner_.Start<v1::ListBridgesRequest>(
        {context, request, response, "ListBridges"}, [this](const v1::ListBridgesRequest& list) {
          return Read(
              api::Method::kListBridges, api::ToCall(list),
              [this](const api::ListCall& call) {
                return engine_.ListDevices(engine::BridgeName(""), call.after, call.limit);
              },
              kToList);
        });
  }

  Reactor* UpdateBridge(Context* context, const Bytes* request, Bytes* response) override {
    return runner_.Start<v1::UpdateBridgeRequest>(
        {context, request, response, "UpdateBridge"}, [this](const v1::UpdateBridgeRequest& update) {
          return Change(engine_, api::Method::kUpdateBridge, api::ToCall(update), &engine::Engine::UpdateDevice,
                        kToProto);
        });
  }

  Reactor* DeleteBridge(Context* context, const Bytes* request, Bytes* response) override {
    return runner_.Start<v1::DeleteBridgeRequest>(
        {context, request, response, "DeleteBridge"}, [this](const v1::DeleteBridgeRequest& del) {
          return Change(engine_, api::Method::kDeleteBridge, api::ToCall(del), &engine::Engine::DeleteDevice, kToEmpty);
        });
  }

 private:
  engine::Engine& engine_;
  CallRunner& runner_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeBridgeService(engine::Engine& engine, CallRunner& runner) {
  return std::make_unique<BridgeService>(engine, runner);
}

}  // namespace netprov::rpc
