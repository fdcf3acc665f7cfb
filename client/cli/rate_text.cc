#include "client/cli/rate_text.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"

namespace netprov::cli {
namespace {

using Units = std::vector<std::pair<const char*, uint64_t>>;

const Units& RateUnits() {
  static const auto* const units = new Units{
      {"", 1}, {"bit", 1}, {"kbit", 1000}, {"mbit", 1'000'000}, {"gbit", 1'000'000'000}, {"tbit", 1'000'000'000'000}};
  return *units;
}

const Units& SizeUnits() {
  static const auto* const units = new Units{{"", 1},        {"b", 1},        {"k", 1 << 10}, {"kb", 1 << 10},
                                             {"m", 1 << 20}, {"mb", 1 << 20}, {"g", 1 << 30}, {"gb", 1 << 30}};
  return *units;
}

// A positive number with one of the units. nullopt: it is none, or above `greatest`.
std::optional<uint64_t> Parse(const std::string& text, const Units& units, uint64_t greatest) {
  const size_t end = std::min(text.find_first_not_of("0123456789."), text.size());
  double number = 0;
  if (end == 0 || !absl::SimpleAtod(text.substr(0, end), &number)) return std::nullopt;
  const std::string unit = absl::AsciiStrToLower(text.substr(end));
  for (const auto& [name, factor] : units) {
    if (unit != name) continue;
    const double value = std::round(number * static_cast<double>(factor));
    if (value < 1 || value > static_cast<double>(greatest)) return std::nullopt;
    return static_cast<uint64_t>(value);
  }
  return std::nullopt;
}

}  // namespace

absl::StatusOr<uint64_t> ParseRate(const std::string& text) {
  // More than any link has.
  constexpr uint64_t kGreatest = 1'000'000'000'000'000;
  const std::optional<uint64_t> rate = Parse(text, RateUnits(), kGreatest);
  if (rate.has_value()) return *rate;
  return absl::InvalidArgumentError(
      absl::StrCat("must be a rate such as 500kbit, 10mbit or 2.5gbit, not `", text, "`"));
}

absl::StatusOr<uint32_t> ParseSize(const std::string& text) {
  const std::optional<uint64_t> size = Parse(text, SizeUnits(), std::numeric_limits<uint32_t>::max());
  if (size.has_value()) return static_cast<uint32_t>(*size);
  return absl::InvalidArgumentError(absl::StrCat("must be a size such as 4000, 32k or 1m, not `", text, "`"));
}

std::string FormatLimit(const v1::RateLimit& limit) {
  const char* unit = "bit";
  uint64_t divisor = 1;
  for (const auto& [name, factor] : RateUnits()) {
    if (limit.rate() < factor || limit.rate() % factor != 0 || name[0] == '\0') continue;
    unit = name;
    divisor = factor;
  }
  const absl::Duration latency = absl::Seconds(limit.latency().seconds()) + absl::Nanoseconds(limit.latency().nanos());
  return absl::StrCat(limit.rate() / divisor, unit, " burst ", limit.burst(), " latency ",
                      absl::FormatDuration(latency));
}

}  // namespace netprov::cli
