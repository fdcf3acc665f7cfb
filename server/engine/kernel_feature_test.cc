#include "server/engine/kernel_feature.h"

#include <linux/netfilter/nf_tables.h>

#include <cerrno>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/engine/endpoint.h"
#include "server/engine/link_difference.h"
#include "server/netlink/address.h"
#include "server/netlink/bridge_port.h"
#include "server/netlink/filter.h"
#include "server/netlink/ip_address.h"
#include "server/netlink/link.h"
#include "server/netlink/link_info.h"
#include "server/netlink/nft.h"
#include "server/netlink/qdisc.h"
#include "server/netlink/route.h"

namespace netprov::engine {
namespace {

using ::testing::Contains;
using ::testing::ElementsAreArray;
using ::testing::IsEmpty;

constexpr char kUnknownKind[] = "Unknown device type";

// What is missing where a request of netprov's is refused.
std::string Missing(const netlink::Request& request, const std::string& extack = "") {
  EXPECT_EQ(request.error, 0);
  return MissingFeature({.code = EOPNOTSUPP, .operation = request.operation, .extack = extack});
}

std::string Missing(const std::string& operation, const std::string& extack = "") {
  return MissingFeature({.code = EOPNOTSUPP, .operation = operation, .extack = extack});
}

netlink::Request NewLink(const std::string& name, const netlink::LinkInfo& info) {
  netlink::NewLink link;
  link.name = name;
  return netlink::EncodeNewLink(link, info);
}

TEST(MissingFeatureTest, KindsOfLinks) {
  const std::vector<std::pair<netlink::LinkInfo, std::string>> kinds = {
      {netlink::BridgeInfo(), "CONFIG_BRIDGE"},
      {netlink::DummyInfo(), "CONFIG_DUMMY"},
      {netlink::IfbInfo(), "CONFIG_IFB"},
      {netlink::IpvlanInfo{.lower = 2}, "CONFIG_IPVLAN"},
      {netlink::MacvlanInfo{.lower = 2}, "CONFIG_MACVLAN"},
      {netlink::VlanInfo{.lower = 2, .id = 7}, "CONFIG_VLAN_8021Q"},
      {netlink::VxlanInfo{.vni = 7}, "CONFIG_VXLAN"},
  };
  for (const auto& [info, feature] : kinds) {
    EXPECT_EQ(Missing(NewLink("x0", info), kUnknownKind), feature);
    // Whatever the link's name.
    EXPECT_EQ(Missing(NewLink("type", info), kUnknownKind), feature);
    EXPECT_EQ(Missing(NewLink("vlan_filtering", info), kUnknownKind), feature);
    // What is not supported then is something else.
    EXPECT_EQ(Missing(NewLink("x0", info), "Underlying device does not do this"), "RTM_NEWLINK");
  }
  netlink::VethRequest veth;
  veth.end.name = "a0";
  veth.peer.name = "gso_max_size";
  EXPECT_EQ(Missing(netlink::EncodeNewVeth(veth), kUnknownKind), "CONFIG_VETH");
  EXPECT_EQ(Missing(NewLink("x0", netlink::VxlanInfo{.vni = 7}), "IPv6 support not enabled in the kernel"),
            "CONFIG_IPV6");
}

TEST(MissingFeatureTest, VlanFilteringOfBridges) {
  EXPECT_EQ(Missing(NewLink("br0", netlink::BridgeInfo{.vlan_filtering = true})), "CONFIG_BRIDGE_VLAN_FILTERING");
  EXPECT_EQ(Missing(NewLink("br0", netlink::BridgeInfo{.vlan_filtering = true}), kUnknownKind), "CONFIG_BRIDGE");
  EXPECT_EQ(Missing(NewLink("br0", netlink::BridgeInfo{.stp = true})), "RTM_NEWLINK");
  for (const netlink::LinkRef& link : {netlink::LinkRef(3), netlink::LinkRef("br0")}) {
    EXPECT_EQ(Missing(netlink::EncodeSetBridge(link, {.vlan_filtering = true})), "CONFIG_BRIDGE_VLAN_FILTERING");
    EXPECT_EQ(Missing(netlink::EncodeSetBridge(link, {.stp = true})), "RTM_NEWLINK");
  }
}

TEST(MissingFeatureTest, OptionsThatTheKernelPassesOver) {
  auto option = [](const netlink::BridgeInfo& asked) {
    return Missing(absl::StrCat("RTM_NEWLINK br0 ", *MissingOption(asked, netlink::BridgeInfo())));
  };
  EXPECT_EQ(option({.vlan_filtering = true}), "CONFIG_BRIDGE_VLAN_FILTERING");
  EXPECT_EQ(option({.default_pvid = 1}), "CONFIG_BRIDGE_VLAN_FILTERING");
  EXPECT_EQ(option({.multicast_snooping = true}), "CONFIG_BRIDGE_IGMP_SNOOPING");
  EXPECT_EQ(option({.group_forward_mask = 8}), "IFLA_BR_GROUP_FWD_MASK");
  auto limit = [](const netlink::OffloadLimits& asked) {
    return Missing(absl::StrCat("RTM_NEWLINK veth0 ", MissingLimit(asked, netlink::OffloadLimits())));
  };
  EXPECT_EQ(limit({.gso_max_size = 9}), "IFLA_GSO_MAX_SIZE");
  EXPECT_EQ(limit({.gso_max_segments = 9}), "IFLA_GSO_MAX_SEGS");
  EXPECT_EQ(limit({.gro_max_size = 9}), "IFLA_GRO_MAX_SIZE");
  EXPECT_EQ(limit({.gso_ipv4_max_size = 9}), "IFLA_GSO_IPV4_MAX_SIZE");
  EXPECT_EQ(limit({.gro_ipv4_max_size = 9}), "IFLA_GRO_IPV4_MAX_SIZE");
}

TEST(MissingFeatureTest, VlansOfPorts) {
  const std::vector<netlink::BridgeVlan> vlans = {{.first = 7, .last = 7}};
  EXPECT_EQ(Missing(netlink::EncodeAddBridgeVlans(3, netlink::VlanMember::kPort, vlans)),
            "CONFIG_BRIDGE_VLAN_FILTERING");
  EXPECT_EQ(Missing(netlink::EncodeDeleteBridgeVlans(3, netlink::VlanMember::kPort, vlans)),
            "CONFIG_BRIDGE_VLAN_FILTERING");
  EXPECT_EQ(Missing(netlink::EncodeSetBridgePort(3, {.isolated = true})), "RTM_SETLINK");
}

TEST(MissingFeatureTest, TrafficControl) {
  const netlink::TokenBucket bucket = {.rate = 1250000, .burst = 32768, .limit = 100000};
  EXPECT_EQ(Missing(netlink::EncodeDumpQdiscs()), "CONFIG_NET_SCHED");
  EXPECT_EQ(Missing(netlink::EncodeReplaceQdisc({.ifindex = 3, .options = bucket})), "CONFIG_NET_SCH_TBF");
  EXPECT_EQ(Missing(netlink::EncodeNewQdisc({.ifindex = 3, .options = netlink::Clsact{}})), "CONFIG_NET_SCH_INGRESS");
  EXPECT_EQ(Missing(netlink::EncodeDumpFilters(3, netlink::FilterHook::kIngress)), "CONFIG_NET_CLS");
  auto filter = [](netlink::Classifier classifier) {
    return netlink::EncodeNewFilter({.ifindex = 3, .classifier = classifier, .mirred = {.ifindex = 9}});
  };
  EXPECT_EQ(Missing(filter(netlink::Classifier::kU32), "TC classifier not found"), "CONFIG_NET_CLS_U32");
  EXPECT_EQ(Missing(filter(netlink::Classifier::kMatchall), "TC classifier not found"), "CONFIG_NET_CLS_MATCHALL");
  for (const netlink::Classifier classifier : {netlink::Classifier::kU32, netlink::Classifier::kMatchall}) {
    EXPECT_EQ(Missing(filter(classifier), "Failed to load TC action module"), "CONFIG_NET_ACT_MIRRED");
    EXPECT_EQ(
        Missing(filter(classifier), "Classifier actions are not supported per compile options (CONFIG_NET_CLS_ACT)"),
        "CONFIG_NET_CLS_ACT");
  }
}

TEST(MissingFeatureTest, Nftables) {
  EXPECT_EQ(Missing("socket(NETLINK_NETFILTER)"), "CONFIG_NETFILTER_NETLINK");
  EXPECT_EQ(Missing(netlink::EncodeGetNftGeneration()), "CONFIG_NF_TABLES");
  EXPECT_EQ(Missing(netlink::EncodeGetNftTable("netprov")), "CONFIG_NF_TABLES_INET");
  EXPECT_EQ(Missing(netlink::EncodeNewNftTable({.name = "netprov", .comment = ""})), "CONFIG_NF_TABLES_INET");
  EXPECT_EQ(Missing(netlink::EncodeNewNftChain("netprov", "output", netlink::NftNatHook{})), "CONFIG_NF_NAT");
  // With the expression that the kernel means, as Session adds it.
  const std::string rule = netlink::NftRuleBuilder("netprov", "nat").Build().operation;
  EXPECT_EQ(Missing(rule + " ct"), "CONFIG_NFT_CT");
  EXPECT_EQ(Missing(rule + " fib"), "CONFIG_NFT_FIB_INET");
  EXPECT_EQ(Missing(rule + " masq"), "CONFIG_NFT_MASQ");
  EXPECT_EQ(Missing(rule + " nat"), "CONFIG_NFT_NAT");
  EXPECT_EQ(Missing(rule), "NFT_MSG_NEWRULE");
}

TEST(MissingFeatureTest, Ipv6) {
  const netlink::IpPrefix prefix = *netlink::IpPrefix::Parse("fd00::1/64");
  EXPECT_EQ(Missing(netlink::EncodeNewAddress({.ifindex = 3, .local = prefix, .peer = std::nullopt})), "CONFIG_IPV6");
  netlink::Route route;
  route.destination = *netlink::IpPrefix::Parse("::/0");
  EXPECT_EQ(Missing(netlink::EncodeNewRoute(route)), "CONFIG_IPV6");
  EXPECT_EQ(Missing("RTM_NEWNEIGH fd00::2 ifindex 3"), "CONFIG_IPV6");
  EXPECT_EQ(Missing("RTM_NEWNEIGH 02:00:00:00:00:01 ifindex 3"), "RTM_NEWNEIGH");
  EXPECT_EQ(Missing("RTM_NEWADDR 10.0.0.1/24 ifindex 3"), "RTM_NEWADDR");
}

TEST(MissingFeatureTest, Namespaces) {
  EXPECT_EQ(Missing("unshare(CLONE_NEWNET)"), "CONFIG_NET_NS");
  EXPECT_EQ(Missing("getsockopt(SO_NETNS_COOKIE)"), "SO_NETNS_COOKIE");
}

TEST(MissingFeatureTest, WhereNoSymbolIsKnownItIsWhatWasAskedFor) {
  EXPECT_EQ(Missing("open_tree(/run/netns/my ns)"), "open_tree");
  EXPECT_EQ(Missing("RTM_SETLINK ifindex 7"), "RTM_SETLINK");
  EXPECT_THAT(Missing(""), IsEmpty());
}

TEST(KernelFeaturesTest, AreThoseThatTheDocumentationLists) {
  std::ifstream file("docs/errors.md");
  ASSERT_TRUE(file.is_open());
  std::vector<std::string> listed;
  bool in_table = false;
  for (std::string line; std::getline(file, line);) {
    if (absl::StartsWith(line, "| Feature |")) in_table = true;
    if (line.empty()) in_table = false;
    absl::string_view cell = line;
    if (!in_table || !absl::ConsumePrefix(&cell, "| `")) continue;
    listed.emplace_back(cell.substr(0, cell.find('`')));
  }
  EXPECT_THAT(listed, ElementsAreArray(KernelFeatures())) << "in alphabetical order";
  EXPECT_THAT(listed, Contains("CONFIG_VLAN_8021Q"));
}

}  // namespace
}  // namespace netprov::engine
