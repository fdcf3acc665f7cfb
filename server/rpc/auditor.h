// Who sees to it that each change has its line in the audit log.
#ifndef NETPROV_SERVER_RPC_AUDITOR_H_
#define NETPROV_SERVER_RPC_AUDITOR_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/message.h"
#include "server/audit/line.h"
#include "server/audit/log.h"
#include "server/engine/caretaker.h"
#include "server/engine/host_report.h"
#include "server/engine/origin.h"
#include "server/engine/registry.h"

namespace netprov::rpc {

// Writes the lines, and tells the registry of each that is written. Between a call's first intent and its line, the
// registry knows what the line needs (engine::Origin), so that the next start writes it if this process does not live
// to do so: Recover().
//
// Threading: thread-safe.
class Auditor {
 public:
  // Over the file at `path` (audit::Log::Open()), whose place the registry remembers. `registry` must outlive it.
  static absl::StatusOr<std::unique_ptr<Auditor>> Open(const std::string& path, bool durable,
                                                       engine::Registry& registry);

  // Whether Open() would take the file (audit::Log::Check()).
  static absl::Status CheckFile(const std::string& path) { return audit::Log::Check(path); }

  // Whether the calls of a method have a line: those that may change something.
  static bool IsFor(absl::string_view method);

  // An id that no other call has.
  std::string NewCallId();

  // Reserves room for a call's line, which WriteCall() must follow. False: there is none, and the call must be refused.
  bool Reserve();

  // What a check of the host has removed, of which no intent tells, by its answer: `{"veths/v1", "removed"}`. Of any
  // other answer nothing.
  static std::vector<std::pair<std::string, std::string>> RemovedBy(const google::protobuf::Message& answer);

  // Adds what the call has changed, as far as intents tell, to its ending, and writes its line. `reserved`: Reserve()
  // has made room for it. `may_have_changed`: something, so that the line is to be as durable as that. What can't be
  // written is written later.
  void WriteCall(const audit::Call& call, audit::Ending ending, bool reserved, bool may_have_changed);

  // Of a chore that is about to begin; and its line, unless nothing came of it.
  audit::Call BeginChore(const engine::Chore& chore);
  void EndChore(const audit::Call& chore, const std::vector<engine::Notice>& notices);

  // After the engine's recovery, and before anything else: writes the lines of calls that the process before has begun
  // and not written any of, and what the recovery did by itself.
  void Recover(const engine::HostReport& report);

  static engine::Origin OriginOf(const audit::Call& call) {
    return {.call_id = call.id, .text = audit::FormatCall(call)};
  }

  // Why lines can't be written, one sentence; nullopt: they can. Tries again.
  std::optional<std::string> Check();

  // Goes on in a new file where the old one has another name now. No later start looks for the lines of calls that were
  // over by then, wherever the old file goes.
  absl::Status Reopen();

 private:
  Auditor(std::unique_ptr<audit::Log> log, engine::Registry& registry);

  // Of what the daemon does by itself.
  audit::Call CallOfSelf(const std::string& method, const std::string& resource);
  void Write(const std::string& call_id, std::string line, bool reserved, bool durably);
  void MarkWritten(const std::vector<std::string>& call_ids);

  const std::unique_ptr<audit::Log> log_;
  engine::Registry& registry_;
  const std::string process_;  // what the ids of its calls begin with
  std::atomic<uint64_t> calls_ = 0;
};

}  // namespace netprov::rpc

#endif  // NETPROV_SERVER_RPC_AUDITOR_H_
