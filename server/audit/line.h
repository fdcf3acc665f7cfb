// What a line of the audit log says.
#ifndef NETPROV_SERVER_AUDIT_LINE_H_
#define NETPROV_SERVER_AUDIT_LINE_H_

#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/access/identity.h"

namespace netprov::audit {

// No line is longer, with its newline: long values are cut, and end in `...`.
inline constexpr size_t kLongestLine = 12288;

// Whose call it is, and what it asks for: what is known before it is done. Text that the caller chose may be anything.
struct Call {
  std::string id;
  absl::Time begun;
  access::Identity who;
  std::string method;      // as in `CreateVeth`
  std::string resource;    // as in `veths/v1`; empty: the request names none
  std::string request_id;  // empty: none
  std::string digest;      // of the request, in hexadecimal digits; empty: it could not be read
  std::string trace_id;    // of the caller's trace, and the span that the call is in; empty: none
  std::string span_id;
  bool validate_only = false;
};

// Whether the caller might do that.
enum class Decision {
  kNone,  // nobody decided: the call was refused before
  kAllowed,
  kDenied,
};

// How it ended.
struct Ending {
  Decision decision = Decision::kNone;
  std::string code;          // of gRPC, as in `NOT_FOUND`; empty: nobody was answered
  std::string reason;        // as in `VETH_NOT_FOUND`; empty: none
  std::string error;         // one sentence
  std::string kernel_errno;  // as in `EEXIST`; empty: the kernel refused nothing
  std::string extack;        // the kernel's words, if it had any
  absl::Duration duration;
  absl::Duration queued;  // of that, in the queue
  // What it changed or tried to change, and what became of that: `{"veths/v1", "done"}`.
  std::vector<std::pair<std::string, std::string>> changes;
};

// A line of JSON with its newline, printable ASCII otherwise, as docs/operations.md describes it. It begins with the
// time, in UTC with microseconds, and the call's id: `{"time":"2026-01-02T03:04:05.678901Z","id":"...",`.
std::string FormatLine(absl::Time now, const Call& call, const Ending& ending);

// The call as one line of JSON, to be kept while it is done; and the line that it gets if the process dies before it
// has written one: `call` is that JSON. What is no such JSON gives a line that has nothing but the id and the changes.
std::string FormatCall(const Call& call);
std::string FormatRecovered(absl::Time now, const std::string& call_id, const std::string& call,
                            const std::vector<std::pair<std::string, std::string>>& changes);
// When a call began that FormatCall() made. nullopt: it was not.
std::optional<absl::Time> BeginningOf(const std::string& call);

// How a line begins.
struct Head {
  absl::Time time;
  std::string call_id;
};
// nullopt: it is no line as the above write them. Reads no further than that.
std::optional<Head> HeadOf(absl::string_view line);

}  // namespace netprov::audit

#endif  // NETPROV_SERVER_AUDIT_LINE_H_
