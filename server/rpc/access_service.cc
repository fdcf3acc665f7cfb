#include "server/rpc/access_service.h"

#include "netprov/v1/access.grpc.pb.h"
#include "server/api/access.h"
#include "server/rpc/work.h"

namespace netprov::rpc {
namespace {

using Base = v1::AccessService::WithRawCallbackMethod_WhoAmI<v1::AccessService::Service>;

class AccessService final : public Base {
 public:
  AccessService(const Gate& gate, CallRunner& runner) : gate_(gate), runner_(runner) {}

  grpc::ServerUnaryReactor* WhoAmI(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                   grpc::ByteBuffer* response) override {
    return runner_.Start<v1::WhoAmIRequest>(
        {context, request, response, "WhoAmI"}, [this, context](const v1::WhoAmIRequest&) -> absl::StatusOr<Work> {
          Work work;
          work.run = [this, caller = runner_.CallerOf(*context)](const Caller&) {
            return Respond(api::ToProto(*caller, *gate_.policy(), gate_.UsageOf(*caller)));
          };
          return work;
        });
  }

 private:
  const Gate& gate_;
  CallRunner& runner_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeAccessService(const Gate& gate, CallRunner& runner) {
  return std::make_unique<AccessService>(gate, runner);
}

}  // namespace netprov::rpc
