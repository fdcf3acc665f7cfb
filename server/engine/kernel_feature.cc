#include "server/engine/kernel_feature.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"

namespace netprov::engine {
namespace {

constexpr absl::string_view kIpv6 = "CONFIG_IPV6";

// What the kernel's explanation says by itself, whatever was asked: a filter needs its action as well as its classifier
// (tc_action_load_ops(), tcf_exts_validate_ex()), and a VXLAN with IPv6 addresses more than one without
// (vxlan_config_validate()).
struct Explanation {
  absl::string_view text;
  absl::string_view feature;
};

constexpr Explanation kExplanations[] = {
    {"Failed to load TC action module", "CONFIG_NET_ACT_MIRRED"},
    {"CONFIG_NET_CLS_ACT", "CONFIG_NET_CLS_ACT"},
    {"IPv6 support not enabled", kIpv6},
};

// What an operation needs that begins with these words; `*` is any one.
struct Need {
  absl::string_view operation;
  absl::string_view feature;
};

constexpr Need kNeeds[] = {
    // Options of links, most of which the kernel passes over where it does not have them.
    {"RTM_NEWLINK * type bridge vlan_filtering", "CONFIG_BRIDGE_VLAN_FILTERING"},
    {"RTM_NEWLINK ifindex * vlan_filtering", "CONFIG_BRIDGE_VLAN_FILTERING"},
    {"RTM_NEWLINK * vlan_filtering", "CONFIG_BRIDGE_VLAN_FILTERING"},
    {"RTM_NEWLINK * default_pvid", "CONFIG_BRIDGE_VLAN_FILTERING"},
    {"RTM_NEWLINK * multicast_snooping", "CONFIG_BRIDGE_IGMP_SNOOPING"},
    {"RTM_NEWLINK * group_forward_mask", "IFLA_BR_GROUP_FWD_MASK"},
    {"RTM_NEWLINK * gso_max_size", "IFLA_GSO_MAX_SIZE"},
    {"RTM_NEWLINK * gso_max_segments", "IFLA_GSO_MAX_SEGS"},
    {"RTM_NEWLINK * gro_max_size", "IFLA_GRO_MAX_SIZE"},
    {"RTM_NEWLINK * gso_ipv4_max_size", "IFLA_GSO_IPV4_MAX_SIZE"},
    {"RTM_NEWLINK * gro_ipv4_max_size", "IFLA_GRO_IPV4_MAX_SIZE"},
    {"RTM_SETLINK bridge vlan", "CONFIG_BRIDGE_VLAN_FILTERING"},
    {"RTM_DELLINK bridge vlan", "CONFIG_BRIDGE_VLAN_FILTERING"},
    // Tables of routes.
    {"RTM_GETRULE ipv4", "CONFIG_IP_MULTIPLE_TABLES"},
    {"RTM_GETRULE ipv6", "CONFIG_IPV6_MULTIPLE_TABLES"},
    // Queueing disciplines and filters.
    {"RTM_GETQDISC", "CONFIG_NET_SCHED"},
    {"RTM_NEWQDISC tbf", "CONFIG_NET_SCH_TBF"},
    {"RTM_NEWQDISC clsact", "CONFIG_NET_SCH_INGRESS"},
    {"RTM_GETTFILTER", "CONFIG_NET_CLS"},
    {"RTM_NEWTFILTER u32", "CONFIG_NET_CLS_U32"},
    {"RTM_NEWTFILTER matchall", "CONFIG_NET_CLS_MATCHALL"},
    // nf_tables: itself, the family, the type of chains, and the expressions that are not always there.
    {"socket(NETLINK_NETFILTER)", "CONFIG_NETFILTER_NETLINK"},
    {"NFT_MSG_GETGEN", "CONFIG_NF_TABLES"},
    {"NFT_MSG_GETTABLE", "CONFIG_NF_TABLES_INET"},
    {"NFT_MSG_NEWTABLE", "CONFIG_NF_TABLES_INET"},
    {"NFT_MSG_NEWCHAIN", "CONFIG_NF_NAT"},
    {"NFT_MSG_NEWRULE * * * ct", "CONFIG_NFT_CT"},
    {"NFT_MSG_NEWRULE * * * fib", "CONFIG_NFT_FIB_INET"},
    {"NFT_MSG_NEWRULE * * * masq", "CONFIG_NFT_MASQ"},
    {"NFT_MSG_NEWRULE * * * nat", "CONFIG_NFT_NAT"},
    // Namespaces.
    {"unshare(CLONE_NEWNET)", "CONFIG_NET_NS"},
    {"getsockopt(SO_NETNS_COOKIE)", "SO_NETNS_COOKIE"},
};

// Kinds of links, which rtnl_newlink() says that it does not know; whatever it says else is about something else.
constexpr absl::string_view kUnknownKind = "Unknown device type";
constexpr Need kKinds[] = {
    {"RTM_NEWLINK * peer", "CONFIG_VETH"},
    {"RTM_NEWLINK * type bridge", "CONFIG_BRIDGE"},
    {"RTM_NEWLINK * type dummy", "CONFIG_DUMMY"},
    {"RTM_NEWLINK * type ifb", "CONFIG_IFB"},
    {"RTM_NEWLINK * type ipvlan", "CONFIG_IPVLAN"},
    {"RTM_NEWLINK * type macvlan", "CONFIG_MACVLAN"},
    {"RTM_NEWLINK * type vlan", "CONFIG_VLAN_8021Q"},
    {"RTM_NEWLINK * type vxlan", "CONFIG_VXLAN"},
};

using Words = std::vector<absl::string_view>;

Words WordsOf(absl::string_view text) { return absl::StrSplit(text, ' ', absl::SkipEmpty()); }

bool BeginsWith(const Words& operation, const Words& pattern) {
  return operation.size() >= pattern.size() &&
         std::equal(pattern.begin(), pattern.end(), operation.begin(),
                    [](absl::string_view wanted, absl::string_view word) { return wanted == "*" || wanted == word; });
}

// Whether `text` is an IPv6 address, with or without the length of its prefix.
bool IsIpv6(absl::string_view text) {
  const std::string address(text.substr(0, text.find('/')));
  std::array<unsigned char, sizeof(in6_addr)> bytes;
  return ::inet_pton(AF_INET6, address.c_str(), bytes.data()) == 1;
}

}  // namespace

std::string MissingFeature(const KernelError& error) {
  for (const Explanation& explanation : kExplanations) {
    if (absl::StrContains(error.extack, explanation.text)) return std::string(explanation.feature);
  }
  const Words words = WordsOf(error.operation);
  if (error.extack == kUnknownKind) {
    for (const Need& kind : kKinds) {
      if (BeginsWith(words, WordsOf(kind.operation))) return std::string(kind.feature);
    }
  }
  for (const Need& need : kNeeds) {
    if (BeginsWith(words, WordsOf(need.operation))) return std::string(need.feature);
  }
  // Of rtnetlink's families.
  if (words.size() > 1 && absl::StartsWith(words[0], "RTM_") && IsIpv6(words[1])) return std::string(kIpv6);
  return error.operation.substr(0, error.operation.find_first_of(" ("));
}

std::vector<std::string> KernelFeatures() {
  std::set<std::string> features = {std::string(kIpv6)};
  for (const Explanation& explanation : kExplanations) features.emplace(explanation.feature);
  for (const Need& need : kNeeds) features.emplace(need.feature);
  for (const Need& kind : kKinds) features.emplace(kind.feature);
  return {features.begin(), features.end()};
}

}  // namespace netprov::engine
