// The life of every call, the same for all methods.
#ifndef NETPROV_SERVER_RPC_CALL_RUNNER_H_
#define NETPROV_SERVER_RPC_CALL_RUNNER_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>
#include <spdlog/logger.h>

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "google/protobuf/message.h"
#include "server/access/identity.h"
#include "server/rpc/auditor.h"
#include "server/rpc/call_statistics.h"
#include "server/rpc/executor.h"
#include "server/rpc/gate.h"
#include "server/rpc/work.h"

namespace netprov::rpc {

// Takes a call from gRPC, reads and checks its request, waits for its turn on an executor, does it, answers, and logs
// one line. Where nobody else is at work, the thread that took a call also does it (ADR 19).
//
// Requests are read here and not by gRPC, which answers a message that it can't parse with INTERNAL and no word about
// the field.
//
// Deadline and cancellation count until the first change: a call that is given up while it waits is answered at once
// and never reaches the engine, and one that has begun to change things is finished, answered to nobody, and can be
// asked for again by its request id.
//
// Threading: thread-safe. Start() is called on gRPC's callback threads, of which it keeps at most one at a time.
class CallRunner {
 public:
  struct Options {
    int workers = 4;            // threads for mutations; with one, no call runs anywhere else
    int readers = 2;            // threads for reads
    size_t queue_limit = 1024;  // of each of the two
    std::shared_ptr<spdlog::logger> log;
    // Where calls are counted; must outlive the runner.
    CallStatistics* statistics = nullptr;
    // Who calls; null where nobody knows, whose call is refused. Must not block.
    std::function<std::shared_ptr<const access::Identity>(const grpc::CallbackServerContext&)> caller;
    // Decides whether a call may be made; must outlive the runner.
    Gate* gate = nullptr;
    // Called with the owner that a call names in its metadata `netprov-owner` and may renew the leases of, whatever it
    // is. Must not block. Null: not.
    std::function<void(const std::string&)> on_owner;
    // Writes a line for each call that may change something, before it is answered; must outlive the runner. Null:
    // nobody does.
    Auditor* auditor = nullptr;
  };

  // What gRPC hands to a method. `method` is its name and must live forever.
  struct Call {
    grpc::CallbackServerContext* context;
    const grpc::ByteBuffer* request;
    grpc::ByteBuffer* response;
    const char* method;
  };

  // Nothing runs until Resume().
  explicit CallRunner(const Options& options);
  // Every call must have ended (WaitUntilIdle()).
  ~CallRunner();

  // Begins a call. `prepare` checks the request and says what to do; it must not block. The result is gRPC's to keep.
  template <typename Request>
  grpc::ServerUnaryReactor* Start(const Call& call,
                                  const std::function<absl::StatusOr<Work>(const Request&)>& prepare) {
    Request request;
    return Run(call, request, [&] { return prepare(request); });
  }

  // Who makes a call; null where nobody knows.
  std::shared_ptr<const access::Identity> CallerOf(const grpc::CallbackServerContext& context) const {
    return caller_(context);
  }

  // Work that is no call takes its turn among them. False: the queue is full or closed, and `task` was dropped.
  bool Submit(const std::vector<std::string>& keys, std::function<void()> task) {
    return workers_.Submit(keys, std::move(task)) == Executor::Submission::kAccepted;
  }

  void Resume();

  // From now on, new calls are answered with SHUTTING_DOWN.
  void Refuse() { refusing_ = true; }
  // So are those that have not changed anything yet.
  void Abandon() { abandoning_ = true; }
  // Whether all calls ended before the deadline, their answers handed to the transport.
  bool WaitUntilIdle(absl::Time deadline);
  // Runs what waits and ends the threads.
  void Stop();

  // Whether both kinds of threads get on with their work (Executor::GetsOn()).
  bool GetsOn() {
    const bool workers = workers_.GetsOn();
    return readers_.GetsOn() && workers;
  }

  // How many calls wait for their turn, those included that were given up meanwhile.
  size_t waiting() const { return workers_.waiting() + readers_.waiting(); }

  // How many calls have begun and are not over.
  size_t active() const;

  const Executor& workers() const { return workers_; }
  const Executor& readers() const { return readers_; }

 private:
  class UnaryCall;

  grpc::ServerUnaryReactor* Run(const Call& call, google::protobuf::Message& request,
                                const std::function<absl::StatusOr<Work>()>& prepare);
  void Forget();

  const std::shared_ptr<spdlog::logger> log_;
  CallStatistics& statistics_;
  const std::function<std::shared_ptr<const access::Identity>(const grpc::CallbackServerContext&)> caller_;
  Gate& gate_;
  const std::function<void(const std::string&)> on_owner_;
  Auditor* const auditor_;
  const bool may_run_here_;
  std::atomic<bool> runs_here_ = false;  // one of gRPC's threads does a call itself
  std::atomic<bool> refusing_ = false;
  std::atomic<bool> abandoning_ = false;

  mutable std::mutex mutex_;
  std::condition_variable idle_;
  size_t active_ = 0;

  Executor workers_;
  Executor readers_;
};

}  // namespace netprov::rpc

#endif  // NETPROV_SERVER_RPC_CALL_RUNNER_H_
