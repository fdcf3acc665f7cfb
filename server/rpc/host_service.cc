#include "server/rpc/host_service.h"

#include <utility>

#include "netprov/v1/host.grpc.pb.h"
#include "server/api/errors.h"
#include "server/api/host.h"
#include "server/rpc/work.h"

namespace netprov::rpc {
namespace {

using Reactor = grpc::ServerUnaryReactor;
using Context = grpc::CallbackServerContext;
using Bytes = grpc::ByteBuffer;

using Base = v1::HostService::WithRawCallbackMethod_GetHostReport<
    v1::HostService::WithRawCallbackMethod_CheckHost<v1::HostService::Service>>;

class HostService final : public Base {
 public:
  HostService(engine::Engine& engine, CallRunner& runner, std::function<std::vector<std::string>()> faults)
      : engine_(engine), runner_(runner), faults_(std::move(faults)) {}

  Reactor* GetHostReport(Context* context, const Bytes* request, Bytes* response) override {
    return runner_.Start<v1::GetHostReportRequest>(
        {context, request, response, "GetHostReport"}, [this](const v1::GetHostReportRequest&) -> absl::StatusOr<Work> {
          Work work;
          work.run = [this](const Caller&) { return Respond(api::ToProto(engine_.GetHostReport(), Faults())); };
          return work;
        });
  }

  Reactor* CheckHost(Context* context, const Bytes* request, Bytes* response) override {
    return runner_.Start<v1::CheckHostRequest>(
        {context, request, response, "CheckHost"}, [this](const v1::CheckHostRequest& check) {
          return Change(engine_, api::Method::kCheckHost,
                        absl::StatusOr<engine::CheckHostCall>(engine_.PlanCheck(check.validate_only())),
                        &engine::Engine::CheckHost,
                        [this](const auto& report) { return api::ToProto(*report, Faults()); });
        });
  }

 private:
  std::vector<std::string> Faults() const { return faults_ == nullptr ? std::vector<std::string>() : faults_(); }

  engine::Engine& engine_;
  CallRunner& runner_;
  const std::function<std::vector<std::string>()> faults_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeHostService(engine::Engine& engine, CallRunner& runner,
                                               std::function<std::vector<std::string>()> configuration_faults) {
  return std::make_unique<HostService>(engine, runner, std::move(configuration_faults));
}

}  // namespace netprov::rpc
