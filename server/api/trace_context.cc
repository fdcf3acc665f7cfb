#include "server/api/trace_context.h"

#include <algorithm>
#include <cstddef>

#include "absl/strings/ascii.h"

namespace netprov::api {
namespace {

constexpr size_t kVersionDigits = 2;
constexpr size_t kTraceIdDigits = 32;
constexpr size_t kSpanIdDigits = 16;
constexpr size_t kFlagDigits = 2;

// Takes so many digits from the front. nullopt: they are not there.
std::optional<std::string> TakeDigits(absl::string_view& text, size_t count) {
  if (text.size() < count) return std::nullopt;
  const absl::string_view digits = text.substr(0, count);
  const bool are_digits = std::all_of(digits.begin(), digits.end(),
                                      [](char c) { return absl::ascii_isdigit(c) || (c >= 'a' && c <= 'f'); });
  if (!are_digits) return std::nullopt;
  text.remove_prefix(count);
  return std::string(digits);
}

bool TakeDash(absl::string_view& text) {
  if (text.empty() || text.front() != '-') return false;
  text.remove_prefix(1);
  return true;
}

bool IsZero(const std::string& digits) { return digits.find_first_not_of('0') == std::string::npos; }

}  // namespace

std::optional<TraceContext> ParseTraceparent(absl::string_view text) {
  const std::optional<std::string> version = TakeDigits(text, kVersionDigits);
  if (!version.has_value() || *version == "ff" || !TakeDash(text)) return std::nullopt;
  std::optional<std::string> trace_id = TakeDigits(text, kTraceIdDigits);
  if (!trace_id.has_value() || IsZero(*trace_id) || !TakeDash(text)) return std::nullopt;
  std::optional<std::string> span_id = TakeDigits(text, kSpanIdDigits);
  if (!span_id.has_value() || IsZero(*span_id) || !TakeDash(text)) return std::nullopt;
  if (!TakeDigits(text, kFlagDigits).has_value()) return std::nullopt;
  const bool may_go_on = *version != "00";
  if (!text.empty() && !(may_go_on && text.front() == '-')) return std::nullopt;
  return TraceContext{.trace_id = *std::move(trace_id), .span_id = *std::move(span_id)};
}

}  // namespace netprov::api
