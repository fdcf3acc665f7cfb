// A request that was understood: what is to be done, as a value, apart from gRPC.
#ifndef NETPROV_SERVER_RPC_WORK_H_
#define NETPROV_SERVER_RPC_WORK_H_

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "google/protobuf/empty.pb.h"
#include "google/protobuf/message.h"
#include "server/api/errors.h"
#include "server/engine/engine.h"

namespace netprov::rpc {

// The answer to a call. Never null after success.
using Response = absl::StatusOr<std::unique_ptr<google::protobuf::Message>>;

// Who waits for the answer.
struct Caller {
  std::string name;               // access::Identity::Name()
  engine::Allowance allowance;    // how much there may be after a change of its
  std::function<bool()> stopped;  // whether it has given up
  std::string fingerprint;        // api::Fingerprint() of what it asks for
};

struct Work {
  // Engine::Keys().
  std::vector<std::string> keys;
  // Whether it may change something. Changes wait for the kernel, so they run apart from reads.
  bool changes = false;
  // Does it. Blocks, so it must run on an executor's thread. Called at most once.
  std::function<Response(const Caller& caller)> run;
};

template <typename Proto>
Response Respond(Proto proto) {
  return std::make_unique<Proto>(std::move(proto));
}

// A mutation: `run` is a method of the engine and `to_proto` makes the answer of its result.
template <typename Call, typename Result, typename ToProto>
absl::StatusOr<Work> Change(engine::Engine& engine, api::Method method, absl::StatusOr<Call> call,
                            engine::EngineResult<Result> (engine::Engine::*run)(const Call&), ToProto to_proto) {
  if (!call.ok()) return call.status();
  Work work{.keys = engine.Keys(*call), .changes = true, .run = nullptr};
  if constexpr (requires { call->context; }) call->context.keys = work.keys;
  work.run = [&engine, method, run, to_proto, call = *std::move(call)](const Caller& caller) mutable -> Response {
    if constexpr (requires { call.context; }) {
      call.context.caller = caller.name;
      call.context.allowance = caller.allowance;
      call.context.stopped = caller.stopped;
      call.context.fingerprint = caller.fingerprint;
    }
    if constexpr (requires { call.stopped; }) call.stopped = caller.stopped;
    auto result = (engine.*run)(call);
    if (!result.ok()) return api::FromEngine(method, result.error());
    return Respond(to_proto(result));
  };
  return work;
}

// A read: `run` takes the call and returns the engine's result.
template <typename Call, typename Run, typename ToProto>
absl::StatusOr<Work> Read(api::Method method, absl::StatusOr<Call> call, Run run, ToProto to_proto) {
  if (!call.ok()) return call.status();
  Work work;
  work.run = [method, run, to_proto, call = *std::move(call)](const Caller&) -> Response {
    auto result = run(call);
    if (!result.ok()) return api::FromEngine(method, result.error());
    return Respond(to_proto(result));
  };
  return work;
}

}  // namespace netprov::rpc

#endif  // NETPROV_SERVER_RPC_WORK_H_
