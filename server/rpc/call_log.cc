#include "server/rpc/call_log.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "server/api/errors.h"
#include "server/api/text.h"

namespace netprov::rpc {
namespace {

constexpr size_t kLongestValue = 256;

}  // namespace

std::string LogfmtValue(absl::string_view value) {
  const bool is_word = !value.empty() && std::all_of(value.begin(), value.end(), [](char c) {
    return absl::ascii_isgraph(c) && c != '"' && c != '=' && c != '\\';
  });
  std::string text = api::Printable(value, kLongestValue);
  if (is_word) return text;
  return absl::StrCat("\"", absl::StrReplaceAll(text, {{"\\", "\\\\"}, {"\"", "\\\""}}), "\"");
}

std::string FormatCall(const CallRecord& call) {
  std::string line = absl::StrCat("method=", call.method);
  auto add = [&line](absl::string_view key, absl::string_view value) {
    if (!value.empty()) absl::StrAppend(&line, " ", key, "=", LogfmtValue(value));
  };
  add("resource", call.resource);
  add("code", absl::StatusCodeToString(call.status.code()));
  add("reason", api::ReasonOf(call.status));
  absl::StrAppend(&line, " duration_us=", absl::ToInt64Microseconds(call.duration),
                  " queue_us=", absl::ToInt64Microseconds(call.queued));
  add("caller", call.caller);
  add("peer", call.peer);
  add("request_id", call.request_id);
  if (call.validate_only) add("validate_only", "true");
  add("call_id", call.call_id);
  add("trace_id", call.trace_id);
  add("error", call.status.message());
  return line;
}

}  // namespace netprov::rpc
