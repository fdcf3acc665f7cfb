#include "server/audit/line.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "nlohmann/json.hpp"

namespace netprov::audit {
namespace {

using Json = nlohmann::ordered_json;

// The longest values, as they are written. Their sum, with all names and punctuation, stays below kLongestLine.
constexpr size_t kLongestName = 256;
constexpr size_t kLongestResource = 1024;
constexpr size_t kLongestError = 1024;
// Lists name the first few, and say how many they leave out.
constexpr size_t kMostNames = 4;
constexpr size_t kMostChanges = 8;

constexpr char kTimeFormat[] = "%Y-%m-%d%ET%H:%M:%E6SZ";
constexpr size_t kTimeLength = 27;
constexpr absl::string_view kBeforeTime = "{\"time\":\"";
constexpr absl::string_view kBeforeId = "\",\"id\":\"";

std::string TimeText(absl::Time time) { return absl::FormatTime(kTimeFormat, time, absl::UTCTimeZone()); }

// What a byte takes at most once it is written: `\u0000` of any that does not stand for itself.
size_t CostOf(char c) {
  if (!absl::ascii_isprint(c)) return 6;
  return c == '"' || c == '\\' ? 2 : 1;
}

// What takes at most `limit` bytes when it is written.
std::string Cut(absl::string_view value, size_t limit = kLongestName) {
  constexpr absl::string_view kRest = "...";
  size_t cost = 0;
  size_t fits = 0;  // bytes that leave room for the dots
  for (size_t i = 0; i < value.size(); ++i) {
    cost += CostOf(value[i]);
    if (cost > limit) return absl::StrCat(value.substr(0, fits), kRest);
    if (cost <= limit - kRest.size()) fits = i + 1;
  }
  return std::string(value);
}

void Add(Json& to, const char* key, absl::string_view value, size_t limit = kLongestName) {
  if (!value.empty()) to[key] = Cut(value, limit);
}

void AddList(Json& to, const char* key, const std::vector<std::string>& values) {
  if (values.empty()) return;
  Json& list = to[key] = Json::array();
  for (const std::string& value : values) {
    if (list.size() == kMostNames) {
      to[absl::StrCat("more_", key)] = values.size() - kMostNames;
      return;
    }
    list.push_back(Cut(value));
  }
}

Json WhoIs(const access::Identity& who) {
  Json json = {{"name", Cut(who.Name())}};
  switch (who.kind) {
    case access::Identity::Kind::kSelf:
    case access::Identity::Kind::kPlaintext:
      break;
    case access::Identity::Kind::kUnix:
      json["uid"] = who.uid;
      json["gid"] = who.gid;
      json["pid"] = who.pid;
      break;
    case access::Identity::Kind::kTls:
      Add(json, "common_name", who.common_name);
      AddList(json, "dns_names", who.dns_names);
      AddList(json, "uris", who.uris);
      break;
  }
  return json;
}

void AddCall(Json& to, const Call& call) {
  to["who"] = WhoIs(call.who);
  Add(to, "from", call.who.from);
  Add(to, "method", call.method);
  Add(to, "resource", call.resource, kLongestResource);
  if (call.validate_only) to["validate_only"] = true;
  Add(to, "request_id", call.request_id);
  Add(to, "request_sha256", call.digest);
  Add(to, "trace_id", call.trace_id);
  Add(to, "span_id", call.span_id);
}

void AddChanges(Json& to, const std::vector<std::pair<std::string, std::string>>& changes) {
  if (changes.empty()) return;
  Json& list = to["changes"] = Json::array();
  for (const auto& [resource, fate] : changes) {
    if (list.size() == kMostChanges) {
      to["more_changes"] = changes.size() - kMostChanges;
      return;
    }
    list.push_back({{"resource", Cut(resource)}, {"fate", fate}});
  }
}

// Bytes that are no UTF-8 become U+FFFD, and what is not ASCII is escaped: a line is a line for whoever looks at it.
std::string Dump(const Json& json) {
  return json.dump(/*indent=*/-1, ' ', /*ensure_ascii=*/true, Json::error_handler_t::replace);
}

}  // namespace

std::string FormatLine(absl::Time now, const Call& call, const Ending& ending) {
  Json line = {{"time", TimeText(now)}, {"id", call.id}};
  AddCall(line, call);
  switch (ending.decision) {
    case Decision::kNone:
      line["decision"] = "none";
      break;
    case Decision::kAllowed:
      line["decision"] = "allowed";
      break;
    case Decision::kDenied:
      line["decision"] = "denied";
      break;
  }
  Add(line, "code", ending.code);
  Add(line, "reason", ending.reason);
  Add(line, "error", ending.error, kLongestError);
  Add(line, "errno", ending.kernel_errno);
  Add(line, "extack", ending.extack, kLongestError);
  AddChanges(line, ending.changes);
  line["duration_us"] = absl::ToInt64Microseconds(ending.duration);
  line["queue_us"] = absl::ToInt64Microseconds(ending.queued);
  return Dump(line) + "\n";
}

std::string FormatCall(const Call& call) {
  Json json = {{"begun", absl::ToUnixMicros(call.begun)}};
  AddCall(json, call);
  return Dump(json);
}

std::string FormatRecovered(absl::Time now, const std::string& call_id, const std::string& call,
                            const std::vector<std::pair<std::string, std::string>>& changes) {
  Json line = {{"time", TimeText(now)}, {"id", call_id}};
  if (Json known = Json::parse(call, nullptr, /*allow_exceptions=*/false); known.is_object()) {
    for (auto& [key, value] : known.items()) {
      if (key != "begun") line[key] = std::move(value);
    }
    if (const auto begun = BeginningOf(call); begun.has_value()) line["begun"] = TimeText(*begun);
  }
  // Whoever may not call does not get so far.
  line["decision"] = "allowed";
  line["recovered"] = true;
  AddChanges(line, changes);
  return Dump(line) + "\n";
}

std::optional<absl::Time> BeginningOf(const std::string& call) {
  const Json known = Json::parse(call, nullptr, /*allow_exceptions=*/false);
  if (!known.is_object()) return std::nullopt;
  const auto begun = known.find("begun");
  if (begun == known.end() || !begun->is_number_integer()) return std::nullopt;
  return absl::FromUnixMicros(begun->get<int64_t>());
}

std::optional<Head> HeadOf(absl::string_view line) {
  if (!absl::ConsumePrefix(&line, kBeforeTime) || line.size() < kTimeLength) return std::nullopt;
  Head head;
  if (!absl::ParseTime(kTimeFormat, line.substr(0, kTimeLength), &head.time, nullptr)) return std::nullopt;
  line.remove_prefix(kTimeLength);
  if (!absl::ConsumePrefix(&line, kBeforeId)) return std::nullopt;
  const size_t end = line.find('"');
  if (end == absl::string_view::npos || end == 0) return std::nullopt;
  head.call_id = std::string(line.substr(0, end));
  return head;
}

}  // namespace netprov::audit
