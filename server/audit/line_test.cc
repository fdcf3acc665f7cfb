#include "server/audit/line.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace netprov::audit {
namespace {

using nlohmann::json;

const absl::Time kNow = absl::FromUnixMicros(1767323045678901);

Call CallOf() {
  return {.id = "0123456789abcdef-7",
          .begun = absl::FromUnixMicros(1767323045000000),
          .who = {.kind = access::Identity::Kind::kUnix, .uid = 1000, .gid = 100, .pid = 4711, .from = "pid:4711"},
          .method = "CreateVeth",
          .resource = "veths/v1",
          .request_id = "8f14e45f-ceea-467f-a0e6-90ab5d3c1f51",
          .digest = "abcd",
          .trace_id = "4bf92f3577b34da6a3ce929d0e0e4736",
          .span_id = "00f067aa0ba902b7",
          .validate_only = true};
}

// Whatever the values: one line of printable ASCII, not too long.
void ExpectLine(const std::string& line) {
  ASSERT_FALSE(line.empty());
  EXPECT_LE(line.size(), kLongestLine);
  EXPECT_EQ(line.find('\n'), line.size() - 1);
  EXPECT_TRUE(std::all_of(line.begin(), line.end() - 1, [](char c) { return absl::ascii_isprint(c); }));
}

TEST(LineTest, SaysWhoDidWhatAndWhatCameOfIt) {
  const std::string line = FormatLine(kNow, CallOf(),
                                      {.decision = Decision::kAllowed,
                                       .code = "ALREADY_EXISTS",
                                       .reason = "INTERFACE_NAME_TAKEN",
                                       .error = "it is taken",
                                       .kernel_errno = "EEXIST",
                                       .extack = "File exists",
                                       .duration = absl::Microseconds(912),
                                       .queued = absl::Microseconds(14),
                                       .changes = {{"veths/v1", "undone"}}});
  ExpectLine(line);
  EXPECT_TRUE(absl::StartsWith(line, R"({"time":"2026-01-02T03:04:05.678901Z","id":"0123456789abcdef-7",)")) << line;
  EXPECT_EQ(json::parse(line), json::parse(R"({
    "time": "2026-01-02T03:04:05.678901Z", "id": "0123456789abcdef-7",
    "who": {"name": "uid:1000", "uid": 1000, "gid": 100, "pid": 4711}, "from": "pid:4711",
    "method": "CreateVeth", "resource": "veths/v1", "validate_only": true,
    "request_id": "8f14e45f-ceea-467f-a0e6-90ab5d3c1f51", "request_sha256": "abcd",
    "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "span_id": "00f067aa0ba902b7",
    "decision": "allowed", "code": "ALREADY_EXISTS", "reason": "INTERFACE_NAME_TAKEN", "error": "it is taken",
    "errno": "EEXIST", "extack": "File exists", "changes": [{"resource": "veths/v1", "fate": "undone"}],
    "duration_us": 912, "queue_us": 14})"));
}

TEST(LineTest, WhatIsNotKnownIsLeftOut) {
  const Call call{.id = "p-1", .begun = kNow, .who = {.kind = access::Identity::Kind::kSelf}, .method = "Heal"};
  EXPECT_EQ(json::parse(FormatLine(kNow, call, {.code = "OK"})),
            json::parse(R"({"time": "2026-01-02T03:04:05.678901Z", "id": "p-1", "who": {"name": "self"},
                            "method": "Heal", "decision": "none", "code": "OK", "duration_us": 0, "queue_us": 0})"));
  EXPECT_EQ(json::parse(FormatLine(kNow, call, {.decision = Decision::kDenied})).at("decision"), "denied");
}

TEST(LineTest, ACertificateIsNamedByItsNames) {
  Call call = CallOf();
  call.who = {.kind = access::Identity::Kind::kTls,
              .common_name = "ci",
              .dns_names = {"a.example", "b.example", "c.example", "d.example", "e.example", "f.example"},
              .uris = {"spiffe://example.org/ci"},
              .from = "192.0.2.1:50000"};
  EXPECT_EQ(json::parse(FormatLine(kNow, call, {})).at("who"),
            json::parse(R"({"name": "spiffe://example.org/ci", "common_name": "ci",
                            "dns_names": ["a.example", "b.example", "c.example", "d.example"], "more_dns_names": 2,
                            "uris": ["spiffe://example.org/ci"]})"));
}

TEST(LineTest, HostileTextStaysInItsPlace) {
  // Newlines, quotes, an end of the object, terminal escapes, bidirectional marks, bytes that are no UTF-8, zeros.
  const std::string hostile("\"}\n{\"id\":\"forged\"}\r\\\x1b[2J\xe2\x80\xae\xff\xc0\x80\0end", 34);
  Call call = CallOf();
  call.resource = call.request_id = call.method = call.who.from = hostile;
  const std::string line = FormatLine(kNow, call, {.reason = hostile, .error = hostile, .extack = hostile});
  ExpectLine(line);
  const json parsed = json::parse(line);
  EXPECT_EQ(parsed.at("id"), call.id);
  for (const char* field : {"resource", "request_id", "method", "from", "reason", "error", "extack"}) {
    EXPECT_TRUE(
        absl::StartsWith(parsed.at(field).get<std::string>(), "\"}\n{\"id\":\"forged\"}\r\\\x1b[2J\xe2\x80\xae"));
  }
}

TEST(LineTest, NoLineIsTooLong) {
  for (const char* each : {"a", "\"", "\n", "\xff", "\xf0\x9f\x98\x80"}) {
    std::string longest;
    while (longest.size() < 5000) longest += each;
    Call call = CallOf();
    call.resource = call.request_id = call.method = call.digest = call.trace_id = call.span_id = longest;
    call.who = {.kind = access::Identity::Kind::kTls,
                .common_name = longest,
                .dns_names = std::vector<std::string>(50, longest),
                .uris = std::vector<std::string>(50, longest),
                .from = longest};
    const std::vector<std::pair<std::string, std::string>> changes(50, {longest, "rolled_back"});
    const std::string line = FormatLine(kNow, call,
                                        {.code = longest,
                                         .reason = longest,
                                         .error = longest,
                                         .kernel_errno = longest,
                                         .extack = longest,
                                         .changes = changes});
    ExpectLine(line);
    const json parsed = json::parse(line);
    EXPECT_TRUE(absl::EndsWith(parsed.at("resource").get<std::string>(), "..."));
    EXPECT_EQ(parsed.at("changes").size(), 8u);
    EXPECT_EQ(parsed.at("more_changes"), 42);
    ExpectLine(FormatRecovered(kNow, call.id, FormatCall(call), changes));
  }
}

TEST(LineTest, ValuesOfEachLengthAreWholeOrCut) {
  Call call = CallOf();
  for (size_t length = 245; length < 265; ++length) {
    call.who.from = std::string(length, 'x');
    const std::string from = json::parse(FormatLine(kNow, call, {})).at("from");
    EXPECT_EQ(from, length <= 256 ? call.who.from : std::string(253, 'x') + "...") << length;
  }
}

TEST(LineTest, ACallThatDiedIsToldOfByWhatWasKept) {
  const std::string kept = FormatCall(CallOf());
  EXPECT_EQ(kept.find('\n'), std::string::npos);
  EXPECT_EQ(BeginningOf(kept), CallOf().begun);
  const std::string line = FormatRecovered(kNow, CallOf().id, kept, {{"veths/v1", "rolled_back"}});
  ExpectLine(line);
  json expected = json::parse(FormatLine(kNow, CallOf(), {.decision = Decision::kAllowed}));
  expected.erase("duration_us");
  expected.erase("queue_us");
  expected["recovered"] = true;
  expected["begun"] = "2026-01-02T03:04:05.000000Z";
  expected["changes"] = json::parse(R"([{"resource": "veths/v1", "fate": "rolled_back"}])");
  EXPECT_EQ(json::parse(line), expected);
  EXPECT_EQ(HeadOf(line)->call_id, CallOf().id);

  for (const char* other : {"", "{", "[]", "7", "{\"begun\":\"x\"}"}) {
    EXPECT_FALSE(BeginningOf(other).has_value());
    const json bare = json::parse(FormatRecovered(kNow, "p-1", other, {{"veths/v1", "done"}}));
    EXPECT_EQ(bare.at("id"), "p-1");
    EXPECT_EQ(bare.at("changes").size(), 1u);
  }
}

TEST(LineTest, TheHeadOfALineIsReadAgain) {
  const std::string line = FormatLine(kNow, CallOf(), {});
  const auto head = HeadOf(line);
  ASSERT_TRUE(head.has_value());
  EXPECT_EQ(head->time, kNow);
  EXPECT_EQ(head->call_id, CallOf().id);
  // Up to the quote after the id.
  const size_t enough = line.find(CallOf().id) + CallOf().id.size() + 1;
  for (size_t i = 0; i < enough; ++i) EXPECT_FALSE(HeadOf(line.substr(0, i)).has_value()) << i;
  EXPECT_FALSE(HeadOf(R"({"time":"2026-13-02T03:04:05.678901Z","id":"x"})").has_value());
  EXPECT_FALSE(HeadOf(R"({"id":"x","time":"2026-01-02T03:04:05.678901Z"})").has_value());
}

}  // namespace
}  // namespace netprov::audit
