#include "server/engine/device_difference.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/netlink/ip_address.h"
#include "server/netlink/link_info.h"
#include "server/netlink/mac_address.h"

namespace netprov::engine {
namespace {

std::string TextOf(bool value) { return value ? "true" : "false"; }
std::string TextOf(unsigned number) { return absl::StrCat(number); }
std::string TextOf(const netlink::IpAddress& address) { return address.ToString(); }

std::string TextOf(netlink::MacvlanMode mode) {
  switch (mode) {
    case netlink::MacvlanMode::kPrivate:
      return "private";
    case netlink::MacvlanMode::kVepa:
      return "vepa";
    case netlink::MacvlanMode::kBridge:
      return "bridge";
    case netlink::MacvlanMode::kPassthru:
      return "passthru";
    case netlink::MacvlanMode::kSource:
      return "source";
  }
  return TextOf(static_cast<unsigned>(mode));
}

std::string TextOf(netlink::IpvlanMode mode) {
  switch (mode) {
    case netlink::IpvlanMode::kL2:
      return "l2";
    case netlink::IpvlanMode::kL3:
      return "l3";
    case netlink::IpvlanMode::kL3s:
      return "l3s";
  }
  return TextOf(static_cast<unsigned>(mode));
}

std::string TextOf(const std::vector<netlink::MacAddress>& macs) {
  return absl::StrJoin(
      macs, ", ", [](std::string* text, const netlink::MacAddress& mac) { absl::StrAppend(text, mac.ToString()); });
}

std::string TextOf(const std::vector<FdbEntry>& fdb) {
  return absl::StrJoin(fdb, ", ", [](std::string* text, const FdbEntry& entry) {
    absl::StrAppend(text, entry.mac.ToString(), " to ", entry.destination.ToString());
    if (entry.port.has_value()) absl::StrAppend(text, " port ", *entry.port);
    if (entry.vni.has_value()) absl::StrAppend(text, " vni ", *entry.vni);
  });
}

// The kernel keeps them in the order of their hashes.
std::vector<netlink::MacAddress> Sorted(std::vector<netlink::MacAddress> macs) {
  std::sort(macs.begin(), macs.end(), [](const auto& a, const auto& b) { return a.octets < b.octets; });
  return macs;
}

class Comparison {
 public:
  explicit Comparison(LinkDifference& difference) : difference_(difference) {}

  template <typename T>
  void Value(const char* field, const T& expected, const T& actual) {
    if (expected != actual) Add(field, TextOf(expected), TextOf(actual));
  }

  template <typename T>
  void IfAsked(const char* field, const std::optional<T>& expected, const std::optional<T>& actual) {
    if (!expected.has_value() || expected == actual) return;
    Add(field, TextOf(*expected), actual.has_value() ? TextOf(*actual) : "");
  }

  void Add(const char* field, std::string expected, std::string actual) {
    difference_.deviations.push_back({.field = field, .expected = std::move(expected), .actual = std::move(actual)});
    differs_ = true;
  }

  bool differs() const { return differs_; }

 private:
  LinkDifference& difference_;
  bool differs_ = false;
};

void Compare(const netlink::MacvlanInfo& asked, const netlink::MacvlanInfo& now, Comparison& compare) {
  compare.Value("macvlan.mode", asked.mode, now.mode);
  // The kernel forgets the list with the mode.
  if (asked.mode != now.mode) return;
  compare.Value("macvlan.source_mac_addresses", Sorted(asked.sources), Sorted(now.sources));
}

void Compare(const VxlanOptions& asked, const VxlanOptions& now, Comparison& compare) {
  compare.IfAsked("vxlan.remote", asked.info.remote, now.info.remote);
  compare.IfAsked("vxlan.local", asked.info.local, now.info.local);
  compare.Value("vxlan.ttl", unsigned{asked.info.ttl}, unsigned{now.info.ttl});
  compare.Value("vxlan.learning", asked.info.learning, now.info.learning);
  if (asked.info.ageing != now.info.ageing) {
    compare.Add("vxlan.ageing_time", absl::StrCat(asked.info.ageing.count(), "s"),
                absl::StrCat(now.info.ageing.count(), "s"));
  }
  compare.Value("vxlan.fdb", asked.fdb, now.fdb);
}

void Compare(const netlink::IpvlanInfo& asked, const netlink::IpvlanInfo& now, Comparison& compare) {
  compare.Value("ipvlan.mode", asked.mode, now.mode);
  compare.Value("ipvlan.mode_flags", unsigned{asked.flags}, unsigned{now.flags});
}

}  // namespace

void CompareKind(const DeviceOptions& expected, const DeviceOptions& actual, LinkDifference& difference) {
  Comparison compare(difference);
  if (const auto* macvlan = std::get_if<netlink::MacvlanInfo>(&expected); macvlan != nullptr) {
    Compare(*macvlan, std::get<netlink::MacvlanInfo>(actual), compare);
  } else if (const auto* vxlan = std::get_if<VxlanOptions>(&expected); vxlan != nullptr) {
    Compare(*vxlan, std::get<VxlanOptions>(actual), compare);
  } else if (const auto* ipvlan = std::get_if<netlink::IpvlanInfo>(&expected); ipvlan != nullptr) {
    Compare(*ipvlan, std::get<netlink::IpvlanInfo>(actual), compare);
  }
  if (compare.differs()) difference.settings.device = expected;
}

std::vector<FdbEntry> Present(const VxlanOptions& asked, const std::vector<FdbEntry>& there) {
  std::vector<FdbEntry> present;
  for (const FdbEntry& entry : asked.fdb) {
    FdbEntry shown = entry;
    if (shown.port == asked.info.port) shown.port.reset();
    if (shown.vni == asked.info.vni) shown.vni.reset();
    if (absl::c_linear_search(there, shown)) present.push_back(entry);
  }
  return present;
}

DeviceOptions InAskedOrder(const DeviceOptions& asked, DeviceOptions now) {
  const auto* wanted = std::get_if<netlink::MacvlanInfo>(&asked);
  auto* macvlan = std::get_if<netlink::MacvlanInfo>(&now);
  if (wanted == nullptr || macvlan == nullptr) return now;
  auto place = [wanted](const netlink::MacAddress& source) { return absl::c_find(wanted->sources, source); };
  absl::c_stable_sort(macvlan->sources, [&](const auto& a, const auto& b) { return place(a) < place(b); });
  return now;
}

}  // namespace netprov::engine
