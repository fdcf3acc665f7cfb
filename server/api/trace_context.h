// W3C Trace Context: the trace that a caller's call is a part of.
#ifndef NETPROV_SERVER_API_TRACE_CONTEXT_H_
#define NETPROV_SERVER_API_TRACE_CONTEXT_H_

#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace netprov::api {

struct TraceContext {
  std::string trace_id;  // 32 hexadecimal digits, lower case, not all of them 0
  std::string span_id;   // 16 of them: what the recommendation calls parent-id, the caller's span
};

// Reads a `traceparent` (https://www.w3.org/TR/trace-context/, 3.2): `00-TRACE_ID-PARENT_ID-FLAGS`. One of a later
// version may go on after the flags. nullopt: it is none, and is to be ignored.
std::optional<TraceContext> ParseTraceparent(absl::string_view text);

}  // namespace netprov::api

#endif  // NETPROV_SERVER_API_TRACE_CONTEXT_H_
