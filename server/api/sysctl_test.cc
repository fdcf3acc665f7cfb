#include "server/api/sysctl.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace netprov::api {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

using Map = google::protobuf::Map<std::string, std::string>;

Map MapOf(const std::vector<std::pair<std::string, std::string>>& items) {
  Map map;
  for (const auto& [name, value] : items) map[name] = value;
  return map;
}

// What is wrong with one setting; empty: nothing.
std::string FaultOf(const std::string& name, const std::string& value = "1") {
  Violations violations;
  ToSysctls("f", MapOf({{name, value}}), violations);
  return violations.empty() ? "" : std::string(violations.ToStatus().message());
}

TEST(SysctlTest, NamesHaveOneForm) {
  Violations violations;
  const Map map = MapOf({{"net.ipv4.ip_forward", "1"},
                         {"net/netfilter/eth0.1/forwarding", "1"},
                         {"net.netfilter.eth0/2.forwarding", "0"}});
  EXPECT_THAT(ToSysctls("f", map, violations),
              ElementsAre(Pair("net.ipv4.ip_forward", "1"), Pair("net.netfilter.eth0/1.forwarding", "1"),
                          Pair("net.netfilter.eth0/2.forwarding", "0")));
  EXPECT_TRUE(violations.empty());
}

TEST(SysctlTest, WhiteSpaceInAValueIsOneSpace) {
  Violations violations;
  EXPECT_THAT(ToSysctls("f", MapOf({{"net.ipv4.tcp_rmem", " 4096\t131072   6291456 "}}), violations),
              ElementsAre(Pair("net.ipv4.tcp_rmem", "4096 131072 6291456")));
  EXPECT_TRUE(violations.empty());
}

TEST(SysctlTest, TakesWhatIsPerNamespaceAndNothingElse) {
  for (const char* name : {"net.ipv4.ip_forward", "net.ipv6.conf.all.disable_ipv6", "net.netfilter.nf_conntrack_acct",
                           "net.mptcp.enabled", "net.mpls.platform_labels", "net.sctp.auth_enable",
                           "net.core.somaxconn", "net.unix.max_dgram_qlen", "net/core/somaxconn"}) {
    EXPECT_THAT(FaultOf(name), IsEmpty()) << name;
  }
  for (const char* name : {"kernel.hostname", "net.core.rmem_max", "net.core.somaxconn.x", "net.ipv4", "vm.swappiness",
                           "fs.mount-max", "net.core", "NET.ipv4.ip_forward"}) {
    EXPECT_THAT(FaultOf(name), HasSubstr("must be of one namespace")) << name;
  }
}

TEST(SysctlTest, RefusesThoseOfOneLink) {
  for (const char* name : {"net.ipv4.conf.eth0.rp_filter", "net/ipv4/conf/eth0.7/rp_filter",
                           "net.ipv6.neigh.eth0.gc_stale_time", "net.mpls.conf.eth0.input"}) {
    EXPECT_THAT(FaultOf(name), HasSubstr("must not be of one link")) << name;
  }
  for (const char* name : {"net.ipv4.conf.all.rp_filter", "net.ipv4.conf.default.rp_filter",
                           "net.ipv6.conf.lo.disable_ipv6", "net.ipv4.neigh.default.gc_thresh1", "net.ipv4.neigh"}) {
    EXPECT_THAT(FaultOf(name), IsEmpty()) << name;
  }
}

TEST(SysctlTest, RefusesNamesThatLeadElsewhere) {
  for (const std::string& name :
       {std::string(), std::string("net.ipv4."), std::string("net.ipv4..x"), std::string("net/ipv4/../core/rmem_max"),
        std::string("net/ipv4/./x"), std::string("net.ipv4.//.core"), std::string("/net/ipv4/ip_forward"),
        std::string("net/ipv4//x"), std::string("net.ipv4.x y"), std::string("net.ipv4.a\0b", 12),
        std::string("net.ipv4.\xc3\xa4"), absl::StrCat("net.ipv4.", std::string(120, 'x'))}) {
    EXPECT_THAT(FaultOf(name), HasSubstr("must have names of")) << name;
  }
  EXPECT_THAT(FaultOf(absl::StrCat("net.ipv4.", std::string(119, 'x'))), IsEmpty());
}

TEST(SysctlTest, RefusesOtherValues) {
  for (const std::string& value : {std::string(), std::string("  "), std::string("1\n"), std::string("1\n2"),
                                   std::string("\0", 1), std::string(256, '1')}) {
    EXPECT_THAT(FaultOf("net.ipv4.ip_forward", value), HasSubstr("must have values of")) << value;
  }
  EXPECT_THAT(FaultOf("net.ipv4.ip_forward", std::string(255, '1')), IsEmpty());
}

TEST(SysctlTest, RefusesOneNameTwiceAndTooMany) {
  Violations violations;
  ToSysctls("f", MapOf({{"net.ipv4.ip_forward", "1"}, {"net/ipv4/ip_forward", "1"}}), violations);
  ASSERT_EQ(violations.size(), 1u);
  EXPECT_THAT(std::string(violations.ToStatus().message()), HasSubstr("net.ipv4.ip_forward is there twice"));

  Map many;
  for (int i = 0; i < 64; ++i) many[absl::StrCat("net.ipv4.x", i)] = "1";
  Violations none;
  EXPECT_EQ(ToSysctls("f", many, none).size(), 64u);
  EXPECT_TRUE(none.empty());
  many["net.ipv4.y"] = "1";
  ToSysctls("f", many, none);
  EXPECT_EQ(none.size(), 1u);
}

}  // namespace
}  // namespace netprov::api
