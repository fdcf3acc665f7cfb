// The small languages of the API: names of resources, addresses, prefixes, MAC addresses, principals, patterns and the
// context of a trace. What is accepted has one form, which is read as the same again.
//
// The input's first byte chooses the language.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/access/policy.h"
#include "server/api/resource_name.h"
#include "server/api/trace_context.h"
#include "server/netlink/ip_address.h"
#include "server/netlink/mac_address.h"

namespace netprov {
namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

// The least clever way to match.
bool MatchesSlowly(absl::string_view pattern, absl::string_view text) {
  if (pattern.empty()) return text.empty();
  if (pattern[0] == '*') {
    return MatchesSlowly(pattern.substr(1), text) || (!text.empty() && MatchesSlowly(pattern, text.substr(1)));
  }
  return !text.empty() && (pattern[0] == '?' || pattern[0] == text[0]) &&
         MatchesSlowly(pattern.substr(1), text.substr(1));
}

template <typename Value>
void CheckRoundTrip(std::string_view text) {
  const std::optional<Value> value = Value::Parse(text);
  if (!value.has_value()) return;
  const std::optional<Value> again = Value::Parse(value->ToString());
  Require(again.has_value() && *again == *value);
}

void Check(uint8_t language, const std::string& text) {
  switch (language % 8) {
    case 0: {
      const auto id = api::ParseNamespaceName(text);
      if (!id.ok()) return Require(!id.error().message.empty());
      Require(api::IsSafeFileName(*id) && api::FormatNamespaceName(*id) == text);
      return;
    }
    case 1: {
      const auto id = api::ParseVethName(text);
      if (!id.ok()) return Require(!id.error().message.empty());
      Require(api::CheckVethId(*id).ok() && api::FormatVethName(*id) == text);
      return;
    }
    case 2:
      return CheckRoundTrip<netlink::IpAddress>(text);
    case 3:
      return CheckRoundTrip<netlink::IpPrefix>(text);
    case 4:
      return CheckRoundTrip<netlink::MacAddress>(text);
    case 5: {
      const absl::StatusOr<access::Principal> who = access::ParsePrincipal(text);
      if (!who.ok()) return Require(!who.status().message().empty());
      const absl::StatusOr<access::Principal> again = access::ParsePrincipal(who->Text());
      Require(again.ok() && *again == *who);
      return;
    }
    case 7: {
      const std::optional<api::TraceContext> context = api::ParseTraceparent(text);
      if (!context.has_value()) return;
      const std::string again = "00-" + context->trace_id + "-" + context->span_id + "-00";
      Require(text.size() >= again.size() && text.substr(3, 49) == again.substr(3, 49));
      const std::optional<api::TraceContext> read = api::ParseTraceparent(again);
      Require(read.has_value() && read->trace_id == context->trace_id && read->span_id == context->span_id);
      return;
    }
    default: {
      // A pattern, a newline, and what it may match. Short, as the slow way takes long.
      const size_t end = text.find('\n');
      if (end == std::string::npos || text.size() > 24) return;
      const absl::string_view pattern(text.data(), end);
      const absl::string_view rest(text.data() + end + 1, text.size() - end - 1);
      Require(access::Matches(pattern, rest) == MatchesSlowly(pattern, rest));
    }
  }
}

}  // namespace
}  // namespace netprov

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 0) netprov::Check(data[0], std::string(reinterpret_cast<const char*>(data) + 1, size - 1));
  return 0;
}
