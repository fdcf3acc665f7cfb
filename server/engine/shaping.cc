#include "server/engine/shaping.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/time/time.h"

namespace netprov::engine {
namespace {

constexpr uint64_t kBitsPerByte = 8;

// The kernel keeps a burst as the time that it takes, in ticks of 64 ns.
bool IsSameBurst(const netlink::TokenBucket& a, const netlink::TokenBucket& b) {
  const double tick = static_cast<double>(a.rate) * 64e-9;
  return static_cast<double>(std::max(a.burst, b.burst) - std::min(a.burst, b.burst)) <= tick + 1;
}

}  // namespace

netlink::TokenBucket ToBucket(const RateLimit& limit) {
  const uint64_t rate = limit.rate / kBitsPerByte;
  return {.rate = rate,
          .burst = limit.burst,
          .limit = netlink::TokenBucketLimit(rate, limit.burst, absl::ToChronoMicroseconds(limit.latency))};
}

RateLimit ToRateLimit(const netlink::TokenBucket& bucket) {
  const uint32_t waiting = bucket.limit > bucket.burst ? bucket.limit - bucket.burst : 0;
  const double seconds = bucket.rate == 0 ? 0 : static_cast<double>(waiting) / static_cast<double>(bucket.rate);
  return {.rate = bucket.rate * kBitsPerByte,
          .burst = bucket.burst,
          .latency = absl::Trunc(absl::Seconds(seconds), absl::Microseconds(1))};
}

std::optional<RateLimit> CompareLimit(const std::string& field, const std::optional<RateLimit>& asked,
                                      const std::optional<netlink::TokenBucket>& now,
                                      std::vector<Deviation>& deviations) {
  if (!asked.has_value()) return std::nullopt;
  auto add = [&](const char* name, const std::string& expected, const std::string& actual) {
    deviations.push_back({.field = absl::StrCat(field, ".", name), .expected = expected, .actual = actual});
  };
  if (!now.has_value()) {
    add("rate", absl::StrCat(asked->rate), "");
    return std::nullopt;
  }
  const netlink::TokenBucket expected = ToBucket(*asked);
  RateLimit actual = ToRateLimit(*now);
  if (now->rate == expected.rate) actual.rate = asked->rate;
  if (IsSameBurst(expected, *now)) actual.burst = asked->burst;
  // What may wait is kept together with the burst.
  const bool is_near = absl::AbsDuration(actual.latency - asked->latency) <= absl::Microseconds(2);
  if (now->limit == expected.limit || is_near) actual.latency = asked->latency;
  if (actual.rate != asked->rate) add("rate", absl::StrCat(asked->rate), absl::StrCat(actual.rate));
  if (actual.burst != asked->burst) add("burst", absl::StrCat(asked->burst), absl::StrCat(actual.burst));
  if (actual.latency != asked->latency) {
    add("latency", absl::FormatDuration(asked->latency), absl::FormatDuration(actual.latency));
  }
  return actual;
}

std::vector<std::string> ShaperNames(const std::string& uid, const VethSpec& spec) {
  std::vector<std::string> names;
  if (spec.a.config.egress_limit.has_value()) names.push_back(ShaperName(uid, 'b'));
  if (spec.b.config.egress_limit.has_value()) names.push_back(ShaperName(uid, 'a'));
  return names;
}

std::string ShaperName(const std::string& uid, char end) {
  // 44 bits of it, all of them random (RFC 9562).
  return absl::StrCat("ifb", std::string(1, end), absl::StrReplaceAll(uid, {{"-", ""}}).substr(0, 11));
}

}  // namespace netprov::engine
