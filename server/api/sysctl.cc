#include "server/api/sysctl.h"

#include <algorithm>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "server/api/text.h"

namespace netprov::api {
namespace {

constexpr int kMostSysctls = 64;
constexpr size_t kLongestName = 128;
constexpr size_t kLongestValue = 255;

// What is per namespace. Within these the kernel itself keeps settings of the whole host from being written in a
// namespace (ensure_safe_net_sysctl()).
constexpr absl::string_view kTrees[] = {"net.ipv4.",  "net.ipv6.", "net.netfilter.",
                                        "net.mptcp.", "net.mpls.", "net.sctp."};
constexpr absl::string_view kSettings[] = {"net.core.somaxconn", "net.unix.max_dgram_qlen"};

// With dots between the parts, and slashes for dots within them: as it is, unless the first of both is a slash.
std::string Canonical(absl::string_view name) {
  std::string canonical(name);
  const size_t separator = name.find_first_of("./");
  if (separator == absl::string_view::npos || name[separator] == '.') return canonical;
  for (char& c : canonical) {
    if (c == '.') {
      c = '/';
    } else if (c == '/') {
      c = '.';
    }
  }
  return canonical;
}

bool IsPart(absl::string_view part) {
  return !part.empty() && part != "/" && part != "//" && std::all_of(part.begin(), part.end(), [](char c) {
    return absl::ascii_isalnum(c) || c == '_' || c == '-' || c == '/';
  });
}

bool IsName(absl::string_view canonical) {
  if (canonical.size() > kLongestName) return false;
  const std::vector<absl::string_view> parts = absl::StrSplit(canonical, '.');
  return std::all_of(parts.begin(), parts.end(), IsPart);
}

bool IsAllowed(absl::string_view canonical) {
  return std::any_of(std::begin(kTrees), std::end(kTrees),
                     [&](absl::string_view tree) { return absl::StartsWith(canonical, tree); }) ||
         std::find(std::begin(kSettings), std::end(kSettings), canonical) != std::end(kSettings);
}

// Whether it belongs to one link, as net.ipv4.conf.eth0.forwarding: one that the namespace does not have when it is
// made, and made again after a reboot.
bool IsOfOneLink(absl::string_view canonical) {
  const std::vector<absl::string_view> parts = absl::StrSplit(canonical, '.');
  if (parts.size() < 4 || (parts[2] != "conf" && parts[2] != "neigh")) return false;
  return parts[3] != "all" && parts[3] != "default" && parts[3] != "lo";
}

bool IsValue(absl::string_view value) {
  return !value.empty() && value.size() <= kLongestValue &&
         std::none_of(value.begin(), value.end(), [](char c) { return absl::ascii_iscntrl(c) && c != '\t'; });
}

}  // namespace

engine::Sysctls ToSysctls(absl::string_view field, const google::protobuf::Map<std::string, std::string>& proto,
                          Violations& violations) {
  engine::Sysctls sysctls;
  if (proto.size() > kMostSysctls) {
    violations.Add(field, absl::StrCat("must be at most ", kMostSysctls, ", but are ", proto.size()));
    return sysctls;
  }
  for (const auto& [name, text] : proto) {
    const std::string canonical = Canonical(name);
    const std::string value = absl::StrJoin(absl::StrSplit(text, absl::ByAnyChar(" \t"), absl::SkipEmpty()), " ");
    if (!IsName(canonical)) {
      violations.Add(field, absl::StrCat("must have names of at most ", kLongestName,
                                         " characters, with parts of A-Z a-z 0-9 _ - . that are neither . nor .., as "
                                         "net.ipv4.ip_forward, but one is ",
                                         Quote(name)));
    } else if (!IsAllowed(canonical)) {
      violations.Add(field,
                     absl::StrCat("must be of one namespace: net.ipv4, net.ipv6, net.netfilter, net.mptcp, "
                                  "net.mpls, net.sctp, net.core.somaxconn or net.unix.max_dgram_qlen, but one is ",
                                  Quote(name)));
    } else if (IsOfOneLink(canonical)) {
      violations.Add(field,
                     absl::StrCat("must not be of one link, as those come after the namespace: of conf and neigh "
                                  "only all, default and lo, but one is ",
                                  Quote(name)));
    } else if (!IsValue(text) || value.empty()) {
      violations.Add(field,
                     absl::StrCat("must have values of 1 to ", kLongestValue,
                                  " bytes without control characters, but that of ", canonical, " is ", Quote(text)));
    } else if (!sysctls.emplace(canonical, value).second) {
      violations.Add(field, absl::StrCat("must have each name once, but ", canonical, " is there twice"));
    }
  }
  return sysctls;
}

}  // namespace netprov::api
