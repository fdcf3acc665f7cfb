#include "server/rpc/call_runner.h"

#include <grpcpp/support/proto_buffer_writer.h>
#include <grpcpp/support/slice.h>
#include <openssl/evp.h>

#include <array>
#include <chrono>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "server/api/errors.h"
#include "server/api/request.h"
#include "server/api/trace_context.h"
#include "server/audit/line.h"
#include "server/base/boot_time.h"
#include "server/engine/origin.h"
#include "server/rpc/call_log.h"
#include "server/rpc/handover.h"
#include "server/rpc/status.h"

namespace netprov::rpc {
namespace {

// Documented in netprov/v1/metadata.proto.
constexpr char kOwnerKey[] = "netprov-owner";
constexpr char kTraceKey[] = "traceparent";

// Refused, it would let leases end: it is done also while the audit log can't be written.
constexpr absl::string_view kAlwaysDone = "RenewLease";

absl::Status ReadRequest(const grpc::ByteBuffer& bytes, google::protobuf::Message& request) {
  grpc::Slice slice;
  // A call without any message has no buffer.
  if (!bytes.Valid() || !bytes.DumpToSingleSlice(&slice).ok()) {
    return api::MalformedRequest({.field = "", .description = "the call has no request message"});
  }
  return api::Decode(absl::string_view(reinterpret_cast<const char*>(slice.begin()), slice.size()), request);
}

void WriteResponse(const google::protobuf::Message& message, grpc::ByteBuffer* response) {
  constexpr int kBlockBytes = 1 << 20;
  grpc::ByteBuffer bytes;
  {
    grpc::ProtoBufferWriter writer(&bytes, kBlockBytes, static_cast<int>(message.ByteSizeLong()));
    message.SerializeToZeroCopyStream(&writer);
  }
  response->Swap(&bytes);
}

// In hexadecimal digits.
std::string DigestOf(absl::string_view bytes) {
  // EVP_sha256() is looked for by its name at each use (crypto(7), "Performance").
  static EVP_MD* const kSha256 = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned int size = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), digest.data(), &size, kSha256, nullptr) != 1) return "";
  return absl::BytesToHexString(absl::string_view(reinterpret_cast<const char*>(digest.data()), size));
}

// What the caller is told of a resource whose name the server chose.
std::string NameOf(const google::protobuf::Message& response) { return api::Summarize(response).resource; }

}  // namespace

// One call. It owns itself: gRPC says in OnDone() that nobody needs it any more, which is after Finish() and after
// Start() returned.
class CallRunner::UnaryCall final : public grpc::ServerUnaryReactor {
 public:
  UnaryCall(CallRunner& runner, const Call& call)
      : runner_(runner), call_(call), caller_(runner.caller_(*call.context)) {
    const auto& metadata = call.context->client_metadata();
    // Of two, nobody can say which is the caller's.
    if (metadata.count(kTraceKey) != 1) return;
    const grpc::string_ref& text = metadata.find(kTraceKey)->second;
    if (auto trace = api::ParseTraceparent({text.data(), text.size()})) trace_ = *std::move(trace);
  }

  void Describe(const google::protobuf::Message& request) {
    summary_ = api::Summarize(request);
    if (!has_line_ && summary_.request_id.empty()) return;
    fingerprint_ = api::Fingerprint(call_.method, summary_.resource, request);
    // A repeat with its request id has the same.
    if (has_line_) record_.digest = DigestOf(fingerprint_);
  }

  // Counts the call among those of its caller.
  absl::Status Enter() {
    // Connections without a peer are closed before they make a call, so this is a fault of the server's.
    if (caller_ == nullptr) return api::AccessDenied("nobody known", call_.method, "", "", "");
    absl::Status status = runner_.gate_.Enter(*caller_);
    has_entered_ = status.ok();
    if (!status.ok()) return status;
    ShowLife();
    return BeginLine();
  }

  // Whether its caller may make it, as far as that can be said before its turn.
  absl::Status Pass(google::protobuf::Message& request) {
    entry_ = runner_.gate_.Check(caller_, call_.method, request);
    if (entry_.later == nullptr || !entry_.status.ok()) Decide(entry_.status);
    return entry_.status;
  }

  // Answers at once, in place of Enqueue().
  void Fail(const absl::Status& status) {
    *taken_ = true;
    Answer(status);
  }

  // Gives the work to its executor, which may have answered before this returns: the call must not be touched
  // afterwards.
  void Enqueue(Work work) {
    Executor& executor = work.changes ? runner_.workers_ : runner_.readers_;
    may_change_ = work.changes && !summary_.validate_only;
    queued_at_ = BootTime();
    // Copied, as the work moves.
    const std::vector<std::string> keys = work.keys;
    HandOver(this);
    // Once taken, the call may be gone by the time that its turn comes.
    auto task = [this, taken = taken_, run = std::move(work.run)] {
      if (!taken->exchange(true)) Execute(run);
    };
    CallRunner& runner = runner_;
    // One at a time: gRPC has two threads for all of its work, and the other one must be free.
    const bool may_run_here = runner.may_run_here_ && !runner.runs_here_.exchange(true);
    const Executor::Submission submitted =
        may_run_here ? executor.RunOrSubmit(keys, std::move(task)) : executor.Submit(keys, std::move(task));
    if (may_run_here) runner.runs_here_ = false;
    switch (submitted) {
      case Executor::Submission::kAccepted:
        return;
      case Executor::Submission::kFull:
        return Fail(api::QueueFull());
      case Executor::Submission::kShutDown:
        return Fail(api::ShuttingDown());
    }
  }

  // The caller gave up, or its deadline passed. If the call still waits, it is over now; its place in the queue stays
  // taken until its turn comes.
  void OnCancel() override {
    TakeOver(this);
    if (taken_->exchange(true)) return;
    queued_ = BootTime() - queued_at_;
    IsStopped();
    Answer(stop_status_.ok() ? api::CallCancelled() : stop_status_);
  }

  void OnDone() override {
    TakeOver(this);
    CallRunner& runner = runner_;
    if (has_entered_) runner.gate_.Leave(*caller_);
    // The caller had not to wait until the log's thread is awake.
    if (!line_.empty()) runner.log_->log(level_, line_);
    delete this;
    runner.Forget();
  }

 private:
  // Makes room for the call's line in the audit log, if it has one. A call that the limits refuse is not looked at, and
  // has none: whoever makes too many must not fill the disk with them.
  absl::Status BeginLine() {
    if (runner_.auditor_ == nullptr || !Auditor::IsFor(call_.method)) return absl::OkStatus();
    has_room_ = runner_.auditor_->Reserve();
    if (!has_room_ && call_.method != kAlwaysDone) return api::AuditFailed();
    has_line_ = true;
    record_.id = runner_.auditor_->NewCallId();
    record_.begun = arrival_;
    record_.who = *caller_;
    record_.method = call_.method;
    record_.trace_id = trace_.trace_id;
    record_.span_id = trace_.span_id;
    return absl::OkStatus();
  }

  // What the policy said.
  void Decide(const absl::Status& status) {
    if (status.ok()) {
      decision_ = audit::Decision::kAllowed;
    } else if (status.code() == absl::StatusCode::kPermissionDenied) {
      decision_ = audit::Decision::kDenied;
    }
  }

  const audit::Call& Record() {
    record_.resource = summary_.resource;
    record_.request_id = summary_.request_id;
    record_.validate_only = summary_.validate_only;
    return record_;
  }

  void WriteLine(const absl::Status& status) {
    api::KernelWords kernel = api::KernelWordsOf(status);
    runner_.auditor_->WriteCall(Record(),
                                {.decision = decision_,
                                 .code = absl::StatusCodeToString(status.code()),
                                 .reason = api::ReasonOf(status),
                                 .error = std::string(status.message()),
                                 .kernel_errno = std::move(kernel.error),
                                 .extack = std::move(kernel.extack),
                                 .duration = BootTime() - came_at_,
                                 .queued = queued_,
                                 .changes = std::move(removed_)},
                                has_room_, has_begun_ && may_change_);
  }

  // The call is a sign of life of the owner that it names.
  void ShowLife() {
    if (runner_.on_owner_ == nullptr) return;
    const auto& metadata = call_.context->client_metadata();
    const auto named = metadata.find(kOwnerKey);
    if (named == metadata.end()) return;
    const std::string owner(named->second.data(), named->second.size());
    if (runner_.gate_.MayRenew(*caller_, owner)) runner_.on_owner_(owner);
  }

  void Execute(const std::function<Response(const Caller&)>& run) {
    queued_ = BootTime() - queued_at_;
    if (IsStopped()) return Answer(stop_status_);
    if (entry_.later != nullptr) {
      const absl::Status allowed = entry_.later();
      Decide(allowed);
      if (!allowed.ok()) return Answer(allowed);
    }
    has_begun_ = true;
    Response response = RunWith(run);
    if (response.ok()) {
      if (has_line_ && !summary_.validate_only) removed_ = Auditor::RemovedBy(**response);
      if (entry_.filter != nullptr) entry_.filter(**response);
      WriteResponse(**response, call_.response);
      if (summary_.resource.empty()) summary_.resource = NameOf(**response);
      return Answer(absl::OkStatus());
    }
    // The engine knows that it was stopped, and we why.
    const bool was_stopped = response.status().code() == absl::StatusCode::kCancelled && !stop_status_.ok();
    Answer(was_stopped ? stop_status_ : response.status());
  }

  Response RunWith(const std::function<Response(const Caller&)>& run) {
    const Caller caller{.name = caller_->Name(),
                        .allowance = entry_.allowance,
                        .stopped = [this] { return IsStopped(); },
                        .fingerprint = std::move(fingerprint_)};
    if (!has_line_) return run(caller);
    const engine::OriginScope scope(Auditor::OriginOf(Record()));
    return run(caller);
  }

  bool IsStopped() {
    if (std::chrono::system_clock::now() >= call_.context->deadline()) {
      stop_status_ = api::DeadlineExceeded();
    } else if (call_.context->IsCancelled()) {
      stop_status_ = api::CallCancelled();
    } else if (runner_.abandoning_) {
      stop_status_ = api::ShuttingDown();
    }
    return !stop_status_.ok();
  }

  void Answer(const absl::Status& status) {
    if (has_line_) WriteLine(status);
    const absl::Duration duration = BootTime() - came_at_;
    runner_.statistics_.Answered(call_.method, status, duration);
    // What fails inside of the server is the operator's concern; all else is the caller's.
    const auto level = status.code() == absl::StatusCode::kInternal ? spdlog::level::err : spdlog::level::info;
    if (runner_.log_->should_log(level)) {
      level_ = level;
      line_ = FormatCall({.method = call_.method,
                          .resource = summary_.resource,
                          .status = status,
                          .duration = duration,
                          .queued = queued_,
                          .caller = caller_ == nullptr ? "" : caller_->Name(),
                          .peer = caller_ == nullptr ? "" : caller_->from,
                          .request_id = summary_.request_id,
                          .validate_only = summary_.validate_only,
                          .call_id = record_.id,
                          .trace_id = trace_.trace_id});
    }
    HandOver(this);
    // Frees the call, maybe before it returns.
    Finish(ToGrpcStatus(status));
  }

  CallRunner& runner_;
  const Call call_;
  const absl::Time arrival_ = absl::Now();
  const absl::Duration came_at_ = BootTime();  // the same by a clock that never goes back
  const std::shared_ptr<const access::Identity> caller_;
  bool has_entered_ = false;
  Gate::Entry entry_;
  api::RequestSummary summary_;
  std::string fingerprint_;  // until the engine has it
  api::TraceContext trace_;  // empty: the caller named none
  // Of the audit log.
  bool has_line_ = false;
  bool has_room_ = false;
  audit::Call record_;
  audit::Decision decision_ = audit::Decision::kNone;
  std::vector<std::pair<std::string, std::string>> removed_;  // Auditor::RemovedBy()
  bool may_change_ = false;
  bool has_begun_ = false;
  // Whether somebody sees to the answer already: its turn in the queue, or the caller's end, whichever comes first.
  const std::shared_ptr<std::atomic<bool>> taken_ = std::make_shared<std::atomic<bool>>(false);
  absl::Duration queued_at_;
  absl::Duration queued_;
  absl::Status stop_status_;
  // For the log, once the answer is on its way; empty: nothing.
  std::string line_;
  spdlog::level::level_enum level_ = spdlog::level::info;
};

CallRunner::CallRunner(const Options& options)
    : log_(options.log),
      statistics_(*options.statistics),
      caller_(options.caller),
      gate_(*options.gate),
      on_owner_(options.on_owner),
      auditor_(options.auditor),
      may_run_here_(options.workers > 1),
      workers_({.name = "worker", .threads = options.workers, .queue_limit = options.queue_limit, .paused = true}),
      readers_({.name = "reader", .threads = options.readers, .queue_limit = options.queue_limit, .paused = true}) {}

CallRunner::~CallRunner() { Stop(); }

grpc::ServerUnaryReactor* CallRunner::Run(const Call& call, google::protobuf::Message& request,
                                          const std::function<absl::StatusOr<Work>()>& prepare) {
  // Given up before its request came, as are all that wait for theirs where a connection ends: there is nothing to
  // tell, and whoever makes many of these must not keep the others waiting.
  if (!call.request->Valid() && call.context->IsCancelled()) {
    statistics_.Answered(call.method, api::CallCancelled(), absl::ZeroDuration());
    grpc::ServerUnaryReactor* const reactor = call.context->DefaultReactor();
    reactor->Finish(grpc::Status::CANCELLED);
    return reactor;
  }
  {
    std::lock_guard<std::mutex> lock(mutex_);
    ++active_;
  }
  auto* unary = new UnaryCall(*this, call);
  absl::Status status = unary->Enter();
  if (status.ok()) status = ReadRequest(*call.request, request);
  if (status.ok()) {
    unary->Describe(request);
    if (refusing_) status = api::ShuttingDown();
  }
  if (status.ok()) status = unary->Pass(request);
  if (status.ok()) {
    absl::StatusOr<Work> work = prepare();
    if (work.ok()) {
      unary->Enqueue(*std::move(work));
      return unary;
    }
    status = work.status();
  }
  unary->Fail(status);
  return unary;
}

void CallRunner::Forget() {
  std::lock_guard<std::mutex> lock(mutex_);
  if (--active_ == 0) idle_.notify_all();
}

size_t CallRunner::active() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return active_;
}

void CallRunner::Resume() {
  workers_.Resume();
  readers_.Resume();
}

bool CallRunner::WaitUntilIdle(absl::Time deadline) {
  std::unique_lock<std::mutex> lock(mutex_);
  return idle_.wait_until(lock, absl::ToChronoTime(deadline), [this] { return active_ == 0; });
}

void CallRunner::Stop() {
  workers_.Shutdown();
  readers_.Shutdown();
}

}  // namespace netprov::rpc
