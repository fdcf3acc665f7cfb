#include "server/rpc/lease_service.h"

#include <string>
#include <utility>
#include <vector>

#include "netprov/v1/lease.grpc.pb.h"
#include "server/api/errors.h"
#include "server/api/lease.h"
#include "server/rpc/work.h"

namespace netprov::rpc {
namespace {

using Reactor = grpc::ServerUnaryReactor;
using Context = grpc::CallbackServerContext;
using Bytes = grpc::ByteBuffer;

using Base = v1::LeaseService::WithRawCallbackMethod_RenewLease<
    v1::LeaseService::WithRawCallbackMethod_CollectGarbage<v1::LeaseService::Service>>;

class LeaseService final : public Base {
 public:
  LeaseService(engine::Engine& engine, const Gate& gate, CallRunner& runner)
      : engine_(engine), gate_(gate), runner_(runner) {}

  Reactor* RenewLease(Context* context, const Bytes* request, Bytes* response) override {
    return runner_.Start<v1::RenewLeaseRequest>(
        {context, request, response, "RenewLease"}, [this](const v1::RenewLeaseRequest& renew) -> absl::StatusOr<Work> {
          absl::StatusOr<std::string> owner = api::ToCall(renew);
          if (!owner.ok()) return owner.status();
          // At once: what it renews must not expire while it waits for its
          // turn. The answer is of later, when the leases are known even if the
          // server has just started.
          engine_.RenewLease(*owner);
          Work work;
          work.run = [this, owner = *owner](const Caller&) { return Respond(api::ToProto(engine_.RenewLease(owner))); };
          return work;
        });
  }

  Reactor* CollectGarbage(Context* context, const Bytes* request, Bytes* response) override {
    return runner_.Start<v1::CollectGarbageRequest>(
        {context, request, response, "CollectGarbage"},
        [this, context](const v1::CollectGarbageRequest& collect) -> absl::StatusOr<Work> {
          absl::StatusOr<api::GarbageQuery> query = api::ToCall(collect);
          if (!query.ok()) return query.status();
          absl::StatusOr<engine::CollectGarbageCall> call = PlanFor(*runner_.CallerOf(*context), *query);
          call->validate_only = query->validate_only;
          return Change(engine_, api::Method::kCollectGarbage, std::move(call), &engine::Engine::CollectGarbage,
                        [](const auto& garbage) { return api::ToProto(*garbage); });
        });
  }

 private:
  // What the caller may not delete is kept, and not talked of.
  engine::CollectGarbageCall PlanFor(const access::Identity& caller, const api::GarbageQuery& query) const {
    engine::CollectGarbageCall call = engine_.PlanGarbage(query.owner, query.keep);
    std::vector<std::string> keep = query.keep;
    for (const engine::ObjectRef& object : call.doomed) {
      if (!gate_.MayDelete(caller, object.name)) keep.push_back(object.name);
    }
    if (keep.size() != query.keep.size()) call = engine_.PlanGarbage(query.owner, keep);
    std::erase_if(call.kept, [&](const auto& kept) { return !gate_.MayDelete(caller, kept.first); });
    return call;
  }

  engine::Engine& engine_;
  const Gate& gate_;
  CallRunner& runner_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeLeaseService(engine::Engine& engine, const Gate& gate, CallRunner& runner) {
  return std::make_unique<LeaseService>(engine, gate, runner);
}

}  // namespace netprov::rpc
