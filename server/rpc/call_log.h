// One line per call.
#ifndef NETPROV_SERVER_RPC_CALL_LOG_H_
#define NETPROV_SERVER_RPC_CALL_LOG_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace netprov::rpc {

// A call that was answered. Text that the caller chose may be anything.
struct CallRecord {
  std::string method;       // as in `CreateVeth`
  std::string resource;     // as in `veths/v1`
  absl::Status status;      // as made by server/api
  absl::Duration duration;  // from its arrival to its answer
  absl::Duration queued;    // of that, in the queue
  std::string caller;       // access::Identity::Name(): `uid:0`, `spiffe://example.org/ci`
  std::string peer;         // where it calls from: `pid:4711`, `127.0.0.1:50000`
  std::string request_id;
  bool validate_only = false;
  std::string call_id;   // in the audit log; empty: it has no line there
  std::string trace_id;  // of the caller's trace; empty: it named none
};

// The value of a logfmt pair: as it is, or in quotes where it would not read as one word, with quotes and backslashes
// within it escaped. Always one line of printable ASCII; what is longer than 256 bytes, not counting those escapes, is
// cut.
std::string LogfmtValue(absl::string_view value);

// The call as logfmt: `method=CreateVeth resource=veths/v1 code=OK duration_us=912 queue_us=14 caller=uid:0
// peer=pid:42`. Pairs without a value are left out.
std::string FormatCall(const CallRecord& call);

}  // namespace netprov::rpc

#endif  // NETPROV_SERVER_RPC_CALL_LOG_H_
