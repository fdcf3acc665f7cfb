#include "server/rpc/device_service.h"

#include <string>

#include "netprov/v1/device.grpc.pb.h"
#include "server/api/device.h"
#include "server/api/errors.h"
#include "server/rpc/work.h"

namespace netprov::rpc {
namespace {

using Reactor = grpc::ServerUnaryReactor;
using Context = grpc::CallbackServerContext;
using Bytes = grpc::ByteBuffer;

using Base = v1::DeviceService::WithRawCallbackMethod_CreateDevice<v1::DeviceService::WithRawCallbackMethod_GetDevice<
    v1::DeviceService::WithRawCallbackMethod_ListDevices<v1::DeviceService::WithRawCallbackMethod_UpdateDevice<
        v1::DeviceService::WithRawCallbackMethod_DeleteDevice<v1::DeviceService::Service>>>>>;

constexpr auto kToProto = [](const auto& result) { return api::ToDevice(*result); };
constexpr auto kToList = [](const auto& result) { return api::ToDevices(*result); };
constexpr auto kToEmpty = [](const auto&) { return google::protobuf::Empty(); };

class DeviceService final : public Base {
 public:
  DeviceService(engine::Engine& engine, CallRunner& runner) : engine_(engine), runner_(runner) {}

  Reactor* CreateDevice(Context* context, const Bytes* request, Bytes* response) override {
    return runner_.Start<v1::CreateDeviceRequest>(
        {context, request, response, "CreateDevice"}, [this](const v1::CreateDeviceRequest& create) {
          return Change(engine_, api::Method::kCreateDevice, api::ToCall(create), &engine::Engine::CreateDevice,
                        kToProto);
        });
  }

  Reactor* GetDevice(Context* context, const Bytes* request, Bytes* response) override {
    return runner_.Start<v1::GetDeviceRequest>(
        {context, request, response, "GetDevice"}, [this](const v1::GetDeviceRequest& get) {
          return Read(
              api::Method::kGetDevice, api::ToCall(get),
              [this](const std::string& name) { return engine_.GetDevice(name); }, kToProto);
        });
  }

  Reactor* ListDevices(Context* context, const Bytes* request, Bytes* response) override {
    return runner_.Start<v1::ListDevicesRequest>(
        {context, request, response, "ListDevices"}, [this](const v1::ListDevicesRequest& list) {
          return Read(
              api::Method::kListDevices, api::ToCall(list),
              [this](const api::ListCall& call) {
                return engine_.ListDevices(engine::DeviceName(""), call.after, call.limit);
              },
              kToList);
        });
  }

  Reactor* UpdateDevice(Context* context, const Bytes* request, Bytes* response) override {
    return runner_.Start<v1::UpdateDeviceRequest>(
        {context, request, response, "UpdateDevice"}, [this](const v1::UpdateDeviceRequest& update) {
          return Change(engine_, api::Method::kUpdateDevice, api::ToCall(update), &engine::Engine::UpdateDevice,
                        kToProto);
        });
  }

  Reactor* DeleteDevice(Context* context, const Bytes* request, Bytes* response) override {
    return runner_.Start<v1::DeleteDeviceRequest>(
        {context, request, response, "DeleteDevice"}, [this](const v1::DeleteDeviceRequest& del) {
          return Change(engine_, api::Method::kDeleteDevice, api::ToCall(del), &engine::Engine::DeleteDevice, kToEmpty);
        });
  }

 private:
  engine::Engine& engine_;
  CallRunner& runner_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeDeviceService(engine::Engine& engine, CallRunner& runner) {
  return std::make_unique<DeviceService>(engine, runner);
}

}  // namespace netprov::rpc
