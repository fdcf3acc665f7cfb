#include "client/cli/bridge_text.h"

#include <cstdint>
#include <iterator>
#include <set>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace netprov::cli {
namespace {

struct Flag {
  const char* word;
  void (v1::BridgePort::*set)(bool);
  bool (v1::BridgePort::*has)() const;
  bool (v1::BridgePort::*get)() const;
};

constexpr Flag kFlags[] = {
    {"hairpin", &v1::BridgePort::set_hairpin, &v1::BridgePort::has_hairpin, &v1::BridgePort::hairpin},
    {"isolated", &v1::BridgePort::set_isolated, &v1::BridgePort::has_isolated, &v1::BridgePort::isolated},
    {"learning", &v1::BridgePort::set_learning, &v1::BridgePort::has_learning, &v1::BridgePort::learning},
    {"flood", &v1::BridgePort::set_unicast_flood, &v1::BridgePort::has_unicast_flood, &v1::BridgePort::unicast_flood},
    {"mcast_flood", &v1::BridgePort::set_multicast_flood, &v1::BridgePort::has_multicast_flood,
     &v1::BridgePort::multicast_flood},
    {"bcast_flood", &v1::BridgePort::set_broadcast_flood, &v1::BridgePort::has_broadcast_flood,
     &v1::BridgePort::broadcast_flood},
    {"neigh_suppress", &v1::BridgePort::set_neighbor_suppression, &v1::BridgePort::has_neighbor_suppression,
     &v1::BridgePort::neighbor_suppression},
};

// SimpleAtoi() would take ` +7`.
bool ParseNumber(const std::string& text, uint32_t& number) {
  return text.find_first_not_of("0123456789") == std::string::npos && absl::SimpleAtoi(text, &number);
}

absl::Status SetNumber(const std::string& word, const std::string& value, v1::BridgePort& port) {
  uint32_t number = 0;
  if (!ParseNumber(value, number)) {
    return absl::InvalidArgumentError(absl::StrCat("`", word, "` takes a number, not `", value, "`"));
  }
  if (word == "cost") {
    port.set_cost(number);
  } else {
    port.set_priority(number);
  }
  return absl::OkStatus();
}

absl::Status Set(const std::string& word, const std::string& value, v1::BridgePort& port) {
  if (word == "cost" || word == "priority") return SetNumber(word, value, port);
  for (const Flag& flag : kFlags) {
    if (word != flag.word) continue;
    if (value != "on" && value != "off") {
      return absl::InvalidArgumentError(absl::StrCat("`", word, "` takes on or off, not `", value, "`"));
    }
    (port.*flag.set)(value == "on");
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat("`", word, "` is not known here"));
}

std::vector<std::string> Words(const std::string& text) {
  return absl::StrSplit(text, absl::ByAnyChar(" \t"), absl::SkipEmpty());
}

}  // namespace

absl::StatusOr<v1::BridgePort> ParsePort(const std::string& text) {
  const std::vector<std::string> words = Words(text);
  if (words.empty()) return absl::InvalidArgumentError("it says nothing");
  v1::BridgePort port;
  std::set<std::string> seen;
  for (size_t i = 0; i < words.size(); i += 2) {
    if (!seen.insert(words[i]).second) {
      return absl::InvalidArgumentError(absl::StrCat("`", words[i], "` is there twice"));
    }
    const std::string value = i + 1 < words.size() ? words[i + 1] : "";
    if (const absl::Status status = Set(words[i], value, port); !status.ok()) return status;
  }
  return port;
}

absl::StatusOr<v1::BridgeVlan> ParseVlan(const std::string& text) {
  const std::vector<std::string> words = Words(text);
  if (words.empty()) return absl::InvalidArgumentError("the VLAN is missing");
  const std::vector<std::string> ends = absl::StrSplit(words[0], absl::MaxSplits('-', 1));
  v1::BridgeVlan vlan;
  uint32_t first = 0;
  uint32_t last = 0;
  if (!ParseNumber(ends.front(), first) || !ParseNumber(ends.back(), last)) {
    return absl::InvalidArgumentError(absl::StrCat("must begin with a VLAN, or with the first and the last of a ",
                                                   "range, as in 10-19, not with `", words[0], "`"));
  }
  vlan.set_first(first);
  if (ends.size() > 1) vlan.set_last(last);
  for (auto word = std::next(words.begin()); word != words.end(); ++word) {
    if (*word == "pvid" && !vlan.pvid()) {
      vlan.set_pvid(true);
    } else if (*word == "untagged" && !vlan.untagged()) {
      vlan.set_untagged(true);
    } else {
      return absl::InvalidArgumentError(absl::StrCat(
          "`", *word, *word == "pvid" || *word == "untagged" ? "` is there twice" : "` is not known here"));
    }
  }
  return vlan;
}

std::string FormatPort(const v1::BridgePort& port) {
  std::vector<std::string> words;
  for (const Flag& flag : kFlags) {
    if ((port.*flag.has)()) words.push_back(absl::StrCat(flag.word, (port.*flag.get)() ? " on" : " off"));
  }
  if (port.has_cost()) words.push_back(absl::StrCat("cost ", port.cost()));
  if (port.has_priority()) words.push_back(absl::StrCat("priority ", port.priority()));
  return absl::StrJoin(words, " ");
}

std::string FormatPortUnlikeNew(v1::BridgePort port) {
  if (!port.hairpin()) port.clear_hairpin();
  if (!port.isolated()) port.clear_isolated();
  if (port.learning()) port.clear_learning();
  if (port.unicast_flood()) port.clear_unicast_flood();
  if (port.multicast_flood()) port.clear_multicast_flood();
  if (port.broadcast_flood()) port.clear_broadcast_flood();
  if (!port.neighbor_suppression()) port.clear_neighbor_suppression();
  constexpr uint32_t kPriority = 32;  // 0x8000 >> BR_PORT_BITS
  if (port.priority() == kPriority) port.clear_priority();
  return FormatPort(port);
}

std::string FormatVlan(const v1::BridgeVlan& vlan) {
  std::string text = absl::StrCat(vlan.first());
  if (vlan.last() != 0 && vlan.last() != vlan.first()) absl::StrAppend(&text, "-", vlan.last());
  return absl::StrCat(text, vlan.pvid() ? " pvid" : "", vlan.untagged() ? " untagged" : "");
}

}  // namespace netprov::cli
