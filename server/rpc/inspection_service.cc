#include "server/rpc/inspection_service.h"

#include <string>
#include <utility>

#include "netprov/v1/inspection.grpc.pb.h"
#include "server/api/errors.h"
#include "server/api/inspection.h"
#include "server/rpc/work.h"

namespace netprov::rpc {
namespace {

using Reactor = grpc::ServerUnaryReactor;
using Context = grpc::CallbackServerContext;
using Bytes = grpc::ByteBuffer;
using engine::Engine;

using Base = v1::InspectionService::WithRawCallbackMethod_ListLinks<
    v1::InspectionService::WithRawCallbackMethod_ListAddresses<v1::InspectionService::WithRawCallbackMethod_ListRoutes<
        v1::InspectionService::WithRawCallbackMethod_ListNeighbors<v1::InspectionService::Service>>>>;

class InspectionService final : public Base {
 public:
  InspectionService(Engine& engine, CallRunner& runner) : engine_(engine), runner_(runner) {}

  Reactor* ListLinks(Context* context, const Bytes* request, Bytes* response) override {
    return Start<v1::ListLinksRequest>({context, request, response, "ListLinks"}, api::Method::kListLinks,
                                       &Engine::ListLinks);
  }

  Reactor* ListAddresses(Context* context, const Bytes* request, Bytes* response) override {
    return Start<v1::ListAddressesRequest>({context, request, response, "ListAddresses"}, api::Method::kListAddresses,
                                           &Engine::ListAddresses);
  }

  Reactor* ListRoutes(Context* context, const Bytes* request, Bytes* response) override {
    return Start<v1::ListRoutesRequest>({context, request, response, "ListRoutes"}, api::Method::kListRoutes,
                                        &Engine::ListRoutes);
  }

  Reactor* ListNeighbors(Context* context, const Bytes* request, Bytes* response) override {
    return Start<v1::ListNeighborsRequest>({context, request, response, "ListNeighbors"}, api::Method::kListNeighbors,
                                           &Engine::ListNeighbours);
  }

 private:
  // `list` is the engine's method.
  template <typename Request, typename List>
  Reactor* Start(const CallRunner::Call& call, api::Method method, List list) {
    return runner_.Start<Request>(call, [this, method, list](const Request& request) {
      return Read(
          method, api::ToCall(request),
          [this, list](const auto& what) {
            auto page = (engine_.*list)(what.filter, what.page.after, what.page.limit);
            using Answer = engine::EngineResult<decltype(api::ToProto(what, *page))>;
            if (!page.ok()) return Answer(std::move(page).error());
            return Answer(api::ToProto(what, *page));
          },
          [](auto& answer) { return *std::move(answer); });
    });
  }

  Engine& engine_;
  CallRunner& runner_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeInspectionService(Engine& engine, CallRunner& runner) {
  return std::make_unique<InspectionService>(engine, runner);
}

}  // namespace netprov::rpc
