#include "server/api/dns.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "server/api/text.h"
#include "server/netlink/ip_address.h"

namespace netprov::api {
namespace {

// MAXNS of resolv.conf(5).
constexpr int kMostNameservers = 3;
constexpr int kMostSearches = 32;
constexpr int kMostOptions = 16;
constexpr int kMostHosts = 256;
constexpr int kMostNames = 16;
constexpr size_t kLongestName = 253;
constexpr size_t kLongestHosts = 60000;  // what else is in the file has room within the 64 KiB that are read of it
constexpr size_t kLongestOption = 64;

bool IsHostName(absl::string_view name) {
  return !name.empty() && name.size() <= kLongestName && name[0] != '.' && name[0] != '-' &&
         std::all_of(name.begin(), name.end(),
                     [](char c) { return absl::ascii_isalnum(c) || c == '.' || c == '_' || c == '-'; });
}

bool IsOption(absl::string_view option) {
  return !option.empty() && option.size() <= kLongestOption && std::all_of(option.begin(), option.end(), [](char c) {
    return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '-' || c == '_' || c == ':';
  });
}

// Whether there are not too many.
template <typename Repeated>
bool CheckCount(absl::string_view field, const Repeated& items, int most, Violations& violations) {
  if (items.size() <= most) return true;
  violations.Add(field, absl::StrCat("must be at most ", most, ", but are ", items.size()));
  return false;
}

std::string CheckAddress(absl::string_view field, const std::string& text, Violations& violations) {
  const std::optional<netlink::IpAddress> address = netlink::IpAddress::Parse(text);
  if (address.has_value()) return address->ToString();
  violations.Add(field, absl::StrCat("must be an IPv4 or IPv6 address, but is ", Quote(text)));
  return "";
}

void CheckHostName(absl::string_view field, absl::string_view name, Violations& violations) {
  if (IsHostName(name)) return;
  violations.Add(
      field, absl::StrCat("must be 1 to ", kLongestName,
                          " characters of A-Z a-z 0-9 . _ -, the first a letter, a digit or _, but is ", Quote(name)));
}

std::string At(absl::string_view field, int index) { return absl::StrCat(field, "[", index, "]"); }

engine::HostsEntry ToHost(const std::string& field, const v1::Dns::Host& proto, Violations& violations) {
  engine::HostsEntry entry{.address = CheckAddress(field + ".address", proto.address(), violations),
                           .names = {proto.names().begin(), proto.names().end()}};
  if (proto.names().empty()) violations.Add(field + ".names", "must be at least one");
  if (!CheckCount(field + ".names", proto.names(), kMostNames, violations)) return entry;
  for (int i = 0; i < proto.names_size(); ++i) CheckHostName(At(field + ".names", i), proto.names(i), violations);
  return entry;
}

}  // namespace

engine::DnsSpec ToDns(absl::string_view field, const v1::Dns& proto, Violations& violations) {
  engine::DnsSpec dns;
  const std::string nameservers = absl::StrCat(field, ".nameservers");
  if (CheckCount(nameservers, proto.nameservers(), kMostNameservers, violations)) {
    for (int i = 0; i < proto.nameservers_size(); ++i) {
      dns.nameservers.push_back(CheckAddress(At(nameservers, i), proto.nameservers(i), violations));
    }
  }
  const std::string searches = absl::StrCat(field, ".searches");
  if (CheckCount(searches, proto.searches(), kMostSearches, violations)) {
    for (int i = 0; i < proto.searches_size(); ++i) {
      if (proto.searches(i) != ".") CheckHostName(At(searches, i), proto.searches(i), violations);
      dns.searches.push_back(proto.searches(i));
    }
  }
  const std::string options = absl::StrCat(field, ".options");
  if (CheckCount(options, proto.options(), kMostOptions, violations)) {
    for (int i = 0; i < proto.options_size(); ++i) {
      if (!IsOption(proto.options(i))) {
        violations.Add(At(options, i),
                       absl::StrCat("must be 1 to ", kLongestOption,
                                    " characters of a-z 0-9 - _ :, as ndots:2, but is ", Quote(proto.options(i))));
      }
      dns.options.push_back(proto.options(i));
    }
  }
  const std::string hosts = absl::StrCat(field, ".hosts");
  if (CheckCount(hosts, proto.hosts(), kMostHosts, violations)) {
    for (int i = 0; i < proto.hosts_size(); ++i) {
      dns.hosts.push_back(ToHost(At(hosts, i), proto.hosts(i), violations));
    }
  }
  size_t size = 0;
  for (const engine::HostsEntry& entry : dns.hosts) {
    size += entry.address.size() + 1;
    for (const std::string& name : entry.names) size += name.size() + 1;
  }
  if (size > kLongestHosts) {
    violations.Add(hosts, absl::StrCat("must be at most ", kLongestHosts, " bytes as a file, but are ", size));
  }
  return dns;
}

v1::Dns ToProto(const engine::DnsSpec& dns) {
  v1::Dns proto;
  proto.mutable_nameservers()->Add(dns.nameservers.begin(), dns.nameservers.end());
  proto.mutable_searches()->Add(dns.searches.begin(), dns.searches.end());
  proto.mutable_options()->Add(dns.options.begin(), dns.options.end());
  for (const engine::HostsEntry& entry : dns.hosts) {
    v1::Dns::Host& host = *proto.add_hosts();
    host.set_address(entry.address);
    host.mutable_names()->Add(entry.names.begin(), entry.names.end());
  }
  return proto;
}

}  // namespace netprov::api
