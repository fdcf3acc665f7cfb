#include "client/cli/ip_text.h"

#include <cstddef>
#include <cstdint>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace netprov::cli {
namespace {

// RT_TABLE_MAIN.
constexpr uint32_t kMainTable = 254;

template <typename Enum>
using Words = std::vector<std::pair<std::string, Enum>>;

template <typename Message>
const Words<typename Message::Scope>& Scopes() {
  static const Words<typename Message::Scope> words = {
      {"global", Message::SCOPE_GLOBAL}, {"link", Message::SCOPE_LINK}, {"host", Message::SCOPE_HOST}};
  return words;
}

const Words<v1::Route::Type>& Types() {
  static const Words<v1::Route::Type> words = {{"unicast", v1::Route::TYPE_UNICAST},
                                               {"blackhole", v1::Route::TYPE_BLACKHOLE},
                                               {"unreachable", v1::Route::TYPE_UNREACHABLE},
                                               {"prohibit", v1::Route::TYPE_PROHIBIT}};
  return words;
}

// False where `word` is none of `words`.
template <typename Enum>
bool Find(const Words<Enum>& words, const std::string& word, Enum& value) {
  for (const auto& [name, meaning] : words) {
    if (name != word) continue;
    value = meaning;
    return true;
  }
  return false;
}

template <typename Enum>
std::string Name(const Words<Enum>& words, Enum value) {
  for (const auto& [name, meaning] : words) {
    if (meaning == value) return name;
  }
  return absl::StrCat(static_cast<int>(value));
}

absl::Status Wrong(const std::string& word, const std::string& takes, const std::string& value) {
  return absl::InvalidArgumentError(absl::StrCat("`", word, "` takes ", takes, ", not `", value, "`"));
}
absl::Status LacksItsValue(const std::string& word) {
  return absl::InvalidArgumentError(absl::StrCat("`", word, "` lacks its value"));
}
absl::Status Unknown(const std::string& word) {
  return absl::InvalidArgumentError(absl::StrCat("`", word, "` is not known here"));
}
absl::Status ThereTwice(const std::string& word) {
  return absl::InvalidArgumentError(absl::StrCat("`", word, "` is there twice"));
}

template <typename Message>
absl::Status SetScope(const std::string& value, Message& message) {
  typename Message::Scope scope = Message::SCOPE_UNSPECIFIED;
  if (!Find(Scopes<Message>(), value, scope)) return Wrong("scope", "global, link or host", value);
  message.set_scope(scope);
  return absl::OkStatus();
}

// SimpleAtoi() would take ` +7`.
bool ParseNumber(const std::string& text, uint32_t& number) {
  return text.find_first_not_of("0123456789") == std::string::npos && absl::SimpleAtoi(text, &number);
}

bool TakesValue(const std::string& word) {
  static const std::set<std::string> words = {"via", "metric", "table", "src", "mtu", "scope"};
  return words.contains(word);
}

bool IsOption(const std::string& word) { return word == "onlink" || TakesValue(word); }

absl::Status SetOption(const std::string& word, const std::string& value, v1::Route& route) {
  if (word == "scope") return SetScope(value, route);
  if (word == "via") {
    route.set_gateway(value);
    return absl::OkStatus();
  }
  if (word == "src") {
    route.set_preferred_source(value);
    return absl::OkStatus();
  }
  uint32_t number = kMainTable;
  const bool is_main = word == "table" && value == "main";
  if (!is_main && !ParseNumber(value, number)) {
    return Wrong(word, word == "table" ? "a whole number or `main`" : "a whole number", value);
  }
  if (word == "metric") route.set_metric(number);
  if (word == "table") route.set_table(number);
  if (word == "mtu") route.set_mtu(number);
  return absl::OkStatus();
}

bool IsIpv6(const std::string& address) { return absl::StrContains(address, ':'); }

// What the scope is where none is said.
v1::Route::Scope ImpliedScope(const v1::Route& route) {
  return route.gateway().empty() ? v1::Route::SCOPE_LINK : v1::Route::SCOPE_GLOBAL;
}

}  // namespace

absl::StatusOr<v1::Address> ParseAddress(const std::string& text) {
  const std::vector<std::string> parts = absl::StrSplit(text, ',');
  if (parts[0].empty()) return absl::InvalidArgumentError("the address is missing");
  v1::Address address;
  address.set_address(parts[0]);
  std::set<std::string> seen;
  for (size_t i = 1; i < parts.size(); ++i) {
    const std::pair<std::string, std::string> option = absl::StrSplit(parts[i], absl::MaxSplits('=', 1));
    const auto [word, value] = option;
    const bool is_flag = parts[i] == "dad" || parts[i] == "nodad";
    if (!is_flag && word != "peer" && word != "scope") return Unknown(parts[i]);
    if (!is_flag && value.empty()) return LacksItsValue(word);
    if (!seen.insert(is_flag ? "dad" : word).second) return ThereTwice(word);
    if (is_flag) {
      address.set_duplicate_detection(word == "dad" ? v1::Address::DUPLICATE_DETECTION_WAIT
                                                    : v1::Address::DUPLICATE_DETECTION_NONE);
    } else if (word == "peer") {
      address.set_peer(value);
    } else if (const absl::Status status = SetScope(value, address); !status.ok()) {
      return status;
    }
  }
  return address;
}

absl::StatusOr<v1::Route> ParseRoute(const std::string& text) {
  const std::vector<std::string> words = absl::StrSplit(text, ' ', absl::SkipEmpty());
  v1::Route route;
  size_t i = 0;
  v1::Route::Type type = v1::Route::TYPE_UNSPECIFIED;
  if (i < words.size() && Find(Types(), words[i], type)) {
    route.set_type(type);
    ++i;
  }
  if (i == words.size() || IsOption(words[i])) return absl::InvalidArgumentError("the destination is missing");
  route.set_destination(words[i++]);

  std::set<std::string> seen;
  while (i < words.size()) {
    const std::string& word = words[i++];
    // People copy routes from `ip route`.
    if (word == "dev") return absl::InvalidArgumentError("`dev` is not needed: the route leads through this end");
    if (!IsOption(word)) return Unknown(word);
    if (!seen.insert(word).second) return ThereTwice(word);
    if (!TakesValue(word)) {
      route.set_on_link(true);
      continue;
    }
    if (i == words.size() || IsOption(words[i])) return LacksItsValue(word);
    if (const absl::Status status = SetOption(word, words[i++], route); !status.ok()) return status;
  }
  if (route.destination() == "default") {
    const bool ipv6 = IsIpv6(route.gateway()) || IsIpv6(route.preferred_source());
    route.set_destination(ipv6 ? "::/0" : "0.0.0.0/0");
  }
  return route;
}

absl::StatusOr<v1::Neighbor> ParseNeighbor(const std::string& text) {
  const std::pair<std::string, std::string> parts = absl::StrSplit(text, absl::MaxSplits('=', 1));
  if (parts.first.empty() || parts.second.empty()) return absl::InvalidArgumentError("must be ADDRESS=MAC");
  v1::Neighbor neighbor;
  neighbor.set_address(parts.first);
  neighbor.set_mac_address(parts.second);
  return neighbor;
}

std::string FormatAddress(const v1::Address& address) {
  std::string text = address.address();
  if (!address.peer().empty()) absl::StrAppend(&text, ",peer=", address.peer());
  if (address.scope() != v1::Address::SCOPE_UNSPECIFIED && address.scope() != v1::Address::SCOPE_GLOBAL) {
    absl::StrAppend(&text, ",scope=", Name(Scopes<v1::Address>(), address.scope()));
  }
  if (address.duplicate_detection() == v1::Address::DUPLICATE_DETECTION_WAIT) text += ",dad";
  return text;
}

std::string FormatRoute(const v1::Route& route) {
  std::string text;
  if (route.type() != v1::Route::TYPE_UNSPECIFIED && route.type() != v1::Route::TYPE_UNICAST) {
    absl::StrAppend(&text, Name(Types(), route.type()), " ");
  }
  text += route.destination();
  if (!route.gateway().empty()) absl::StrAppend(&text, " via ", route.gateway());
  if (route.metric() != 0) absl::StrAppend(&text, " metric ", route.metric());
  if (route.table() != 0 && route.table() != kMainTable) absl::StrAppend(&text, " table ", route.table());
  if (!route.preferred_source().empty()) absl::StrAppend(&text, " src ", route.preferred_source());
  if (route.mtu() != 0) absl::StrAppend(&text, " mtu ", route.mtu());
  if (route.scope() != v1::Route::SCOPE_UNSPECIFIED && route.scope() != ImpliedScope(route)) {
    absl::StrAppend(&text, " scope ", Name(Scopes<v1::Route>(), route.scope()));
  }
  if (route.on_link()) text += " onlink";
  return text;
}

std::string FormatNeighbor(const v1::Neighbor& neighbor) {
  return absl::StrCat(neighbor.address(), "=", neighbor.mac_address());
}

}  // namespace netprov::cli
