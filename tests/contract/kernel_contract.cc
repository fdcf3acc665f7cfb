#include "tests/contract/kernel_contract.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/netlink/address.h"
#include "server/netlink/ip_address.h"
#include "server/netlink/link.h"
#include "server/netlink/link_info.h"
#include "server/netlink/mac_address.h"
#include "server/netlink/nat.h"
#include "server/netlink/neighbour.h"
#include "server/netlink/qdisc.h"
#include "server/netlink/route.h"

namespace netprov::testing {
namespace {

using engine::AddressSpec;
using engine::IpConfig;
using engine::Link;
using engine::LinkSpec;
using engine::NetnsEntry;
using engine::NetnsPlace;
using engine::NetnsRef;
using engine::RouteSpec;
using netlink::MacAddress;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::UnorderedElementsAre;
using ::testing::UnorderedElementsAreArray;

const NetnsRef kHost;

// The error's code, 0 after success.
template <typename T>
int CodeOf(const KernelResult<T>& result) {
  return result.ok() ? 0 : result.error().code;
}

netlink::IpAddress Ip(const char* text) { return *netlink::IpAddress::Parse(text); }
netlink::IpPrefix Prefix(const std::string& text) { return *netlink::IpPrefix::Parse(text); }

// Something of everything.
IpConfig FullConfig() {
  IpConfig ip;
  ip.addresses = {{.local = Prefix("10.0.0.2/24"), .peer = std::nullopt},
                  {.local = Prefix("10.0.1.2/32"), .peer = Ip("10.0.1.1"), .scope = engine::kScopeLink},
                  {.local = Prefix("2001:db8::2/64"), .peer = std::nullopt}};
  ip.neighbours = {{.address = Ip("10.0.0.9"), .mac = {{2, 0, 0, 0, 0, 9}}},
                   {.address = Ip("2001:db8::9"), .mac = {{2, 0, 0, 0, 0, 9}}}};
  RouteSpec on_link{
      .destination = Prefix("10.2.0.0/16"), .gateway = {}, .scope = engine::kScopeLink, .preferred_source = {}};
  RouteSpec full{.destination = Prefix("10.3.0.0/16"),
                 .gateway = Ip("192.0.2.1"),
                 .metric = 7,
                 .table = 1000,
                 .preferred_source = Ip("10.0.0.2"),
                 .on_link = true,
                 .mtu = 1400};
  RouteSpec v6{.destination = Prefix("2001:db8:1::/48"),
               .gateway = Ip("2001:db8::1"),
               .metric = 1024,
               .preferred_source = {},
               .mtu = 1300};
  ip.routes = {on_link, full, v6, engine::DefaultRoute(Ip("10.0.0.1")), engine::DefaultRoute(Ip("fe80::1"))};
  return ip;
}

}  // namespace

NetnsRef KernelContractTest::MakeNetns(const std::string& name) {
  KernelResult<uint64_t> cookie = kernel_.CreateNetns(name, "alias of " + name.substr(0, 200), {});
  EXPECT_TRUE(cookie.ok()) << cookie.error().ToString();
  return {.name = name, .cookie = cookie.ok() ? *cookie : 0};
}

void KernelContractTest::TearDown() {
  // What a test leaves is cleaned up by the interface itself, as the machine outlives the test.
  KernelResult<std::vector<std::string>> names = kernel_.ListNetns();
  ASSERT_TRUE(names.ok());
  for (const std::string& name : *names) {
    KernelResult<std::optional<NetnsEntry>> entry = kernel_.FindNetns(name);
    ASSERT_TRUE(entry.ok() && entry->has_value());
    if ((*entry)->is_netns) {
      EXPECT_EQ(CodeOf(kernel_.DeleteLinksInside({.name = name, .cookie = (*entry)->cookie})), 0);
      EXPECT_EQ(CodeOf(kernel_.RemoveNetns({.name = name, .cookie = (*entry)->cookie})), 0);
    } else {
      world_->AddStaleFile(name, /*empty=*/true);
      EXPECT_EQ(CodeOf(kernel_.RemoveStaleNetnsFile(name)), 0);
    }
  }
  KernelResult<std::vector<Link>> links = kernel_.ListLinks(kHost);
  ASSERT_TRUE(links.ok());
  for (const Link& link : *links) {
    if (link.kind.empty() || link.kind == "dummy") continue;
    EXPECT_THAT(CodeOf(kernel_.DeleteLink(kHost, link.ifindex)), ::testing::AnyOf(0, ENODEV));
  }
}

TEST_P(KernelContractTest, WritesTheFilesOfANameAndTakesItsOwnAway) {
  const engine::EtcFiles files = {{"hosts", "# tag\n127.0.0.1 localhost\n"}, {"resolv.conf", "# tag\n"}};
  EXPECT_EQ(*kernel_.FindEtcFiles("etc-a"), engine::EtcEntry());
  ASSERT_EQ(CodeOf(kernel_.SetEtcFiles("etc-a", "# tag", {}, true)), 0) << "there is nothing";
  EXPECT_FALSE(kernel_.FindEtcFiles("etc-a")->exists);
  ASSERT_EQ(CodeOf(kernel_.SetEtcFiles("etc-a", "# tag", files, true)), 0);
  EXPECT_EQ(*kernel_.FindEtcFiles("etc-a"), (engine::EtcEntry{.exists = true, .files = files}));
  EXPECT_THAT(*kernel_.ListEtc(), ::testing::Contains("etc-a"));
  ASSERT_EQ(CodeOf(kernel_.SetEtcFiles("etc-a", "# tag", files, true)), 0) << "again";
  // Another text, and one less.
  const engine::EtcFiles fewer = {{"hosts", "# tag\n::1 localhost\n"}};
  ASSERT_EQ(CodeOf(kernel_.SetEtcFiles("etc-a", "# tag", fewer, true)), 0);
  EXPECT_EQ(kernel_.FindEtcFiles("etc-a")->files, fewer);
  ASSERT_EQ(CodeOf(kernel_.SetEtcFiles("etc-a", "# tag", {}, false)), 0);
  EXPECT_EQ(*kernel_.FindEtcFiles("etc-a"), engine::EtcEntry{.exists = true}) << "the directory is somebody's";
  ASSERT_EQ(CodeOf(kernel_.SetEtcFiles("etc-a", "# tag", files, true)), 0);
  ASSERT_EQ(CodeOf(kernel_.SetEtcFiles("etc-a", "# tag", {}, true)), 0);
  EXPECT_FALSE(kernel_.FindEtcFiles("etc-a")->exists);
  EXPECT_EQ(CodeOf(kernel_.SetEtcFiles("../etc-a", "# tag", files, true)), EINVAL);
  EXPECT_EQ(CodeOf(kernel_.FindEtcFiles("a/b")), EINVAL);
}

TEST_P(KernelContractTest, FilesOfOthersAreNeitherWrittenNorTakenAway) {
  const engine::EtcFiles files = {{"hosts", "# tag\n127.0.0.1 localhost\n"}, {"resolv.conf", "# tag\n"}};
  // One that begins like ours, too.
  world_->AddEtcFile("etc-b", "resolv.conf", "# tagged otherwise\n");
  EXPECT_EQ(CodeOf(kernel_.SetEtcFiles("etc-b", "# tag", files, true)), EMEDIUMTYPE);
  const engine::EtcEntry theirs{.exists = true, .files = {{"resolv.conf", "# tagged otherwise\n"}}};
  EXPECT_EQ(*kernel_.FindEtcFiles("etc-b"), theirs) << "not half of them";
  ASSERT_EQ(CodeOf(kernel_.SetEtcFiles("etc-b", "# tag", {{"hosts", "# tag\n"}}, true)), 0);
  EXPECT_EQ(kernel_.FindEtcFiles("etc-b")->files.size(), 2u);
  ASSERT_EQ(CodeOf(kernel_.SetEtcFiles("etc-b", "# tag", {}, true)), 0);
  EXPECT_EQ(*kernel_.FindEtcFiles("etc-b"), theirs);
  ASSERT_EQ(CodeOf(kernel_.SetEtcFiles("etc-b", "# tagged otherwise", {}, true)), 0);
}

TEST_P(KernelContractTest, MakesANamespaceWithItsLoopbackUpAndTagged) {
  const NetnsRef netns = MakeNetns("blue");
  EXPECT_NE(netns.cookie, 0u);

  KernelResult<std::optional<NetnsEntry>> entry = kernel_.FindNetns("blue");
  ASSERT_TRUE(entry.ok());
  EXPECT_EQ(*entry, (NetnsEntry{.name = "blue",
                                .is_netns = true,
                                .cookie = netns.cookie,
                                .loopback_up = true,
                                .loopback_alias = "alias of blue"}));

  KernelResult<std::vector<Link>> links = kernel_.ListLinks(netns);
  ASSERT_TRUE(links.ok()) << links.error().ToString();
  ASSERT_EQ(links->size(), 1u);
  EXPECT_EQ((*links)[0].name, "lo");
  EXPECT_EQ((*links)[0].alias, "alias of blue");
  EXPECT_TRUE((*links)[0].up);
  EXPECT_EQ((*links)[0].kind, "");
}

TEST_P(KernelContractTest, GivesEachNamespaceACookieOfItsOwn) {
  const NetnsRef blue = MakeNetns("blue");
  const NetnsRef green = MakeNetns("green");
  EXPECT_NE(blue.cookie, green.cookie);
  ASSERT_EQ(CodeOf(kernel_.RemoveNetns(blue)), 0);
  EXPECT_NE(MakeNetns("blue").cookie, blue.cookie);
}

TEST_P(KernelContractTest, MakesANamespaceWithSysctls) {
  const engine::Sysctls sysctls = {
      {"net.core.somaxconn", "128"}, {"net.ipv4.ip_forward", "1"}, {"net.ipv4.ip_local_port_range", "10000 20000"}};
  KernelResult<uint64_t> cookie = kernel_.CreateNetns("blue", "", sysctls);
  ASSERT_TRUE(cookie.ok()) << cookie.error().ToString();
  const NetnsRef blue{.name = "blue", .cookie = *cookie};
  EXPECT_EQ(*kernel_.FindSysctls(blue, sysctls), sysctls);
  // Another has its own.
  EXPECT_EQ(kernel_.FindSysctls(MakeNetns("green"), {{"net.ipv4.ip_forward", ""}})->at("net.ipv4.ip_forward"), "0");
}

TEST_P(KernelContractTest, ASysctlThatCannotBeLeavesNothing) {
  struct Refusal {
    const char* name;
    const char* value;
    int code;
    const char* extack;
  };
  for (const auto& [name, value, code, extack] :
       {Refusal{"net.ipv4.no_such_setting", "1", EOPNOTSUPP, "does not have it"},
        Refusal{"net.ipv4.ip_forward", "on", EINVAL, ""},
        Refusal{"net.ipv4.ip_forward", "01", EINVAL, "it reads '1'"}}) {
    KernelResult<uint64_t> made = kernel_.CreateNetns("blue", "", {{"net.core.somaxconn", "128"}, {name, value}});
    ASSERT_EQ(CodeOf(made), code) << name;
    EXPECT_EQ(made.error().operation, absl::StrCat("sysctl ", name));
    EXPECT_THAT(made.error().extack, HasSubstr(extack));
    EXPECT_THAT(*kernel_.ListNetns(), IsEmpty());
  }
}

TEST_P(KernelContractTest, SysctlsCanBeSetAgain) {
  const NetnsRef netns = MakeNetns("blue");
  const engine::Sysctls sysctls = {{"net.ipv4.ip_forward", "1"}};
  ASSERT_EQ(CodeOf(kernel_.SetSysctls(netns, sysctls)), 0);
  EXPECT_EQ(CodeOf(kernel_.SetSysctls(netns, sysctls)), 0);
  EXPECT_EQ(*kernel_.FindSysctls(netns, {{"net.ipv4.ip_forward", ""}, {"net.ipv4.no_such_setting", ""}}), sysctls);
  EXPECT_EQ(CodeOf(kernel_.SetSysctls(netns, {{"net.ipv4.no_such_setting", "1"}})), EOPNOTSUPP);
  // The host's are its own.
  const NetnsRef host;
  EXPECT_EQ(CodeOf(kernel_.SetSysctls(host, {{"net.ipv4.ip_forward", "0"}})), 0);
  EXPECT_EQ(kernel_.FindSysctls(host, {{"net.ipv4.ip_forward", ""}})->at("net.ipv4.ip_forward"), "0");
  EXPECT_EQ(*kernel_.FindSysctls(netns, {{"net.ipv4.ip_forward", ""}}), sysctls);
  const NetnsRef other{.name = "blue", .cookie = netns.cookie + 1};
  EXPECT_EQ(CodeOf(kernel_.SetSysctls(other, sysctls)), ESTALE);
  EXPECT_EQ(CodeOf(kernel_.FindSysctls(other, sysctls)), ESTALE);
  EXPECT_EQ(CodeOf(kernel_.FindSysctls({.name = "gone", .cookie = 1}, sysctls)), ENOENT);
}

TEST_P(KernelContractTest, ForwardingOfTheWholeIsSetOfEachLinkToo) {
  const NetnsRef netns = MakeNetns("blue");
  ASSERT_EQ(CodeOf(kernel_.CreateVeth({.name = "h0"}, {.netns = netns, .name = "eth0.1"}, "")), 0);
  const engine::Sysctls off = {{"net.ipv4.conf.all.accept_redirects", "1"},
                               {"net.ipv4.conf.default.forwarding", "0"},
                               {"net.ipv4.conf.eth0/1.forwarding", "0"},
                               {"net.ipv4.conf.lo.forwarding", "0"},
                               {"net.ipv4.ip_forward", "0"},
                               {"net.ipv6.conf.all.forwarding", "0"},
                               {"net.ipv6.conf.default.forwarding", "0"},
                               {"net.ipv6.conf.eth0/1.forwarding", "0"}};
  engine::Sysctls on = off;
  for (auto& [name, value] : on) value = name == "net.ipv4.conf.all.accept_redirects" ? "0" : "1";
  ASSERT_EQ(CodeOf(kernel_.SetSysctls(netns, off)), 0);
  ASSERT_EQ(CodeOf(kernel_.SetSysctls(netns, {{"net.ipv4.conf.eth0/1.forwarding", "1"}})), 0);
  EXPECT_EQ(kernel_.FindSysctls(netns, {{"net.ipv4.ip_forward", ""}})->at("net.ipv4.ip_forward"), "0");
  ASSERT_EQ(CodeOf(kernel_.SetSysctls(netns, {{"net.ipv4.ip_forward", "1"}, {"net.ipv6.conf.all.forwarding", "1"}})),
            0);
  EXPECT_EQ(*kernel_.FindSysctls(netns, on), on);
  // A link that comes has what the others have.
  ASSERT_EQ(CodeOf(kernel_.CreateVeth({.name = "h1"}, {.netns = netns, .name = "eth1"}, "")), 0);
  const engine::Sysctls born = {{"net.ipv4.conf.eth1.forwarding", "1"}, {"net.ipv6.conf.eth1.forwarding", "1"}};
  EXPECT_EQ(*kernel_.FindSysctls(netns, born), born);
  // What is given beside the whole counts.
  engine::Sysctls mixed = off;
  mixed["net.ipv4.conf.all.accept_redirects"] = "0";
  mixed["net.ipv4.conf.eth0/1.forwarding"] = "1";
  mixed["net.ipv6.conf.default.forwarding"] = "1";
  ASSERT_EQ(CodeOf(kernel_.SetSysctls(netns, mixed)), 0);
  EXPECT_EQ(*kernel_.FindSysctls(netns, mixed), mixed);
}

TEST_P(KernelContractTest, FindsWhoIsInside) {
  const NetnsRef blue = MakeNetns("blue");
  const NetnsRef green = MakeNetns("green");
  EXPECT_EQ(*kernel_.FindInhabitants(blue, 10), engine::Inhabitants());
  for (int i = 0; i < 3; ++i) world_->StartProcess(blue);
  KernelResult<engine::Inhabitants> found = kernel_.FindInhabitants(blue, 10);
  ASSERT_TRUE(found.ok()) << found.error().ToString();
  EXPECT_EQ(found->count, 3u);
  ASSERT_EQ(found->first.size(), 3u);
  EXPECT_LT(found->first[0].pid, found->first[1].pid);
  for (const engine::Process& process : found->first) EXPECT_EQ(process.command, "sleep");
  const std::vector<engine::Process> first_two(found->first.begin(), found->first.begin() + 2);
  EXPECT_EQ(*kernel_.FindInhabitants(blue, 2), (engine::Inhabitants{.count = 3, .first = first_two}));
  EXPECT_EQ(*kernel_.FindInhabitants(green, 10), engine::Inhabitants());
  EXPECT_EQ(CodeOf(kernel_.FindInhabitants({.name = "blue", .cookie = green.cookie}, 10)), ESTALE);
  EXPECT_EQ(CodeOf(kernel_.FindInhabitants({.name = "gone", .cookie = 1}, 10)), ENOENT);
}

TEST_P(KernelContractTest, RefusesANameThatIsTaken) {
  MakeNetns("blue");
  world_->AddForeignNetns("green");
  world_->AddStaleFile("red", /*empty=*/true);
  for (const char* name : {"blue", "green", "red"})
    EXPECT_EQ(CodeOf(kernel_.CreateNetns(name, "", {})), EEXIST) << name;
}

TEST_P(KernelContractTest, RefusesWhatIsNoFileName) {
  for (const std::string& name : {std::string(), std::string("."), std::string(".."), std::string("a/b"),
                                  std::string("../a"), std::string("a\0b", 3), std::string(256, 'a')}) {
    EXPECT_EQ(CodeOf(kernel_.CreateNetns(name, "", {})), EINVAL) << name;
    EXPECT_EQ(CodeOf(kernel_.FindNetns(name)), EINVAL) << name;
  }
  MakeNetns(std::string(255, 'a'));
}

TEST_P(KernelContractTest, RefusesAnAliasOver254BytesAndLeavesNothing) {
  EXPECT_EQ(CodeOf(kernel_.CreateNetns("blue", std::string(255, 'a'), {})), ERANGE);
  EXPECT_EQ(CodeOf(kernel_.CreateVeth({.name = "h0"}, {.name = "p0"}, std::string(255, 'a'))), ERANGE);
  EXPECT_EQ(*kernel_.FindNetns("blue"), std::nullopt);
  EXPECT_EQ(*kernel_.FindLink(kHost, std::string("h0")), std::nullopt);
  EXPECT_EQ(CodeOf(kernel_.CreateNetns("blue", std::string(254, 'a'), {})), 0);
}

TEST_P(KernelContractTest, ListsNamesInOrderWhoeverMadeThem) {
  MakeNetns("c");
  world_->AddForeignNetns("b");
  world_->AddStaleFile("a", /*empty=*/false);
  KernelResult<std::vector<std::string>> names = kernel_.ListNetns();
  ASSERT_TRUE(names.ok());
  EXPECT_THAT(*names, ElementsAre("a", "b", "c"));
}

TEST_P(KernelContractTest, TellsANamespaceFromAFile) {
  world_->AddForeignNetns("netns");
  world_->AddStaleFile("file", /*empty=*/false);
  EXPECT_TRUE((**kernel_.FindNetns("netns")).is_netns);
  EXPECT_EQ(**kernel_.FindNetns("file"), (NetnsEntry{.name = "file"}));
  EXPECT_EQ(*kernel_.FindNetns("nothing"), std::nullopt);
}

TEST_P(KernelContractTest, RemovesOnlyTheNamespaceThatWasMeant) {
  const NetnsRef old = MakeNetns("blue");
  world_->RemoveForeignNetns("blue");
  EXPECT_EQ(CodeOf(kernel_.RemoveNetns(old)), 0) << "nothing to remove is fine";
  world_->AddForeignNetns("blue");
  EXPECT_EQ(CodeOf(kernel_.RemoveNetns(old)), ESTALE);
  EXPECT_TRUE((*kernel_.FindNetns("blue")).has_value());
  world_->RemoveForeignNetns("blue");
  world_->AddStaleFile("blue", /*empty=*/true);
  EXPECT_EQ(CodeOf(kernel_.RemoveNetns(old)), ESTALE);
  EXPECT_TRUE((*kernel_.FindNetns("blue")).has_value());
}

TEST_P(KernelContractTest, AUsersTextStandsBesideTheTag) {
  const NetnsRef netns = MakeNetns("blue");
  const std::string tag = "netprov:11111111-1111-4111-8111-111111111111:22222222-2222-4222-8222-222222222222:veths/v";
  engine::LinkSpec end{.netns = netns, .name = "eth0"};
  end.options.alias = "to the lab";
  auto made = kernel_.CreateVeth({.name = "h0"}, end, tag);
  ASSERT_TRUE(made.ok()) << made.error().ToString();
  EXPECT_EQ(made->first.options.alias, "");
  const Link link = **kernel_.FindLink(netns, std::string("eth0"));
  EXPECT_EQ(link, made->second);
  EXPECT_EQ(link.alias, tag);
  EXPECT_EQ(link.options.alias, "to the lab");
  ASSERT_EQ(CodeOf(kernel_.SetLink(netns, link.ifindex, {.alias = tag + " elsewhere"})), 0);
  EXPECT_EQ((**kernel_.FindLink(netns, link.ifindex)).options.alias, "elsewhere");
  ASSERT_EQ(CodeOf(kernel_.SetLink(netns, link.ifindex, {.alias = "of somebody"})), 0);
  EXPECT_EQ((**kernel_.FindLink(netns, link.ifindex)).alias, "of somebody");
  // That of a namespace may have a space, and there is nothing beside it.
  const std::string of_namespace = tag.substr(0, tag.size() - 7) + "adopted/my own";
  ASSERT_EQ(CodeOf(kernel_.SetLink(netns, engine::kLoopbackIndex, {.alias = of_namespace})), 0);
  EXPECT_EQ((*kernel_.FindNetns("blue"))->loopback_alias, of_namespace);
}

TEST_P(KernelContractTest, AnnouncementsAreOfALinkThatIsThere) {
  const NetnsRef netns = MakeNetns("blue");
  auto made = kernel_.CreateVeth({.name = "h.0"}, {.netns = netns, .name = "eth0"}, "tag");
  ASSERT_TRUE(made.ok()) << made.error().ToString();
  EXPECT_EQ(CodeOf(kernel_.Announce(netns, made->second.ifindex)), 0);
  EXPECT_EQ(CodeOf(kernel_.Announce(kHost, made->first.ifindex)), 0);
  EXPECT_EQ(**kernel_.FindLink(netns, made->second.ifindex), made->second) << "nothing else changes";
  EXPECT_EQ(CodeOf(kernel_.Announce(netns, 4711)), ENODEV);
  EXPECT_EQ(CodeOf(kernel_.Announce({.name = "none", .cookie = 1}, 1)), ENOENT);
}

TEST_P(KernelContractTest, RemovesAStaleFileOnlyIfItIsEmpty) {
  world_->AddStaleFile("empty", /*empty=*/true);
  world_->AddStaleFile("full", /*empty=*/false);
  MakeNetns("netns");
  EXPECT_EQ(CodeOf(kernel_.RemoveStaleNetnsFile("empty")), 0);
  EXPECT_EQ(CodeOf(kernel_.RemoveStaleNetnsFile("nothing")), 0);
  EXPECT_EQ(CodeOf(kernel_.RemoveStaleNetnsFile("full")), EMEDIUMTYPE);
  EXPECT_EQ(CodeOf(kernel_.RemoveStaleNetnsFile("netns")), EMEDIUMTYPE);
  EXPECT_THAT(*kernel_.ListNetns(), ElementsAre("full", "netns"));
}

TEST_P(KernelContractTest, MakesAPairBetweenTheHostAndANamespace) {
  const NetnsRef netns = MakeNetns("blue");
  auto made = kernel_.CreateVeth({.name = "h0", .mac = MacAddress::Parse("02:00:00:00:00:01"), .mtu = 1400},
                                 {.netns = netns, .name = "eth0", .up = false}, "tag");
  ASSERT_TRUE(made.ok()) << made.error().ToString();
  const auto& [a, b] = *made;
  EXPECT_EQ(a.name, "h0");
  EXPECT_EQ(a.mac, *MacAddress::Parse("02:00:00:00:00:01"));
  EXPECT_EQ(a.mtu, 1400u);
  EXPECT_TRUE(a.up);
  EXPECT_EQ(b.name, "eth0");
  EXPECT_TRUE(b.mac.IsUnicast());
  EXPECT_FALSE(b.mac.IsZero());
  EXPECT_EQ(b.mtu, 1500u);
  EXPECT_FALSE(b.up);
  EXPECT_FALSE((**kernel_.FindLink(netns, std::string("eth0"))).up);
  for (const Link& link : {a, b}) {
    EXPECT_EQ(link.kind, "veth");
    EXPECT_EQ(link.group, engine::kOwnedGroup);
    EXPECT_EQ(link.alias, "tag");
  }
  EXPECT_EQ(a.peer_ifindex, b.ifindex);
  EXPECT_EQ(b.peer_ifindex, a.ifindex);

  EXPECT_EQ(**kernel_.FindLink(kHost, std::string("h0")), a);
  EXPECT_EQ(**kernel_.FindLink(kHost, a.ifindex), a);
  EXPECT_EQ(**kernel_.FindLink(netns, std::string("eth0")), b);
  EXPECT_EQ(**kernel_.FindLink(netns, b.ifindex), b);
  EXPECT_EQ(*kernel_.FindLink(kHost, std::string("eth0")), std::nullopt);
  EXPECT_EQ(*kernel_.FindLink(kHost, uint32_t{9999}), std::nullopt);
}

TEST_P(KernelContractTest, MakesAPairInEveryCombinationOfPlaces) {
  const NetnsRef blue = MakeNetns("blue");
  const NetnsRef green = MakeNetns("green");
  int number = 0;
  for (const auto& [place_a, place_b] : {std::pair(kHost, kHost), std::pair(kHost, blue), std::pair(blue, kHost),
                                         std::pair(blue, green), std::pair(green, green)}) {
    const LinkSpec a{.netns = place_a, .name = absl::StrCat("a", number)};
    const LinkSpec b{.netns = place_b, .name = absl::StrCat("b", number)};
    ++number;
    auto made = kernel_.CreateVeth(a, b, "tag");
    ASSERT_TRUE(made.ok()) << made.error().ToString();
    EXPECT_EQ(**kernel_.FindLink(place_a, a.name), made->first);
    EXPECT_EQ(**kernel_.FindLink(place_b, b.name), made->second);
    EXPECT_EQ(made->first.peer_ifindex, made->second.ifindex);
    EXPECT_EQ(made->second.peer_ifindex, made->first.ifindex);
    EXPECT_TRUE(made->first.up && made->second.up);
  }
}

TEST_P(KernelContractTest, ANameInAnotherNamespaceIsNotTaken) {
  const NetnsRef blue = MakeNetns("blue");
  const NetnsRef green = MakeNetns("green");
  ASSERT_EQ(CodeOf(kernel_.CreateVeth({.name = "same"}, {.netns = blue, .name = "same"}, "")), 0);
  EXPECT_EQ(CodeOf(kernel_.CreateVeth({.netns = green, .name = "same"}, {.name = "other"}, "")), 0)
      << "the host has that name, but the link is not born there";
}

TEST_P(KernelContractTest, ATakenNameOfEitherEndLeavesNothing) {
  const NetnsRef blue = MakeNetns("blue");
  ASSERT_EQ(CodeOf(kernel_.CreateVeth({.name = "h0"}, {.netns = blue, .name = "n0"}, "")), 0);
  EXPECT_EQ(CodeOf(kernel_.CreateVeth({.name = "h0"}, {.netns = blue, .name = "n1"}, "")), EEXIST);
  EXPECT_EQ(CodeOf(kernel_.CreateVeth({.name = "h1"}, {.netns = blue, .name = "n0"}, "")), EEXIST);
  EXPECT_EQ(CodeOf(kernel_.CreateVeth({.name = "h2"}, {.name = "h2"}, "")), EEXIST);
  EXPECT_EQ((**kernel_.FindLink(kHost, std::string("h0"))).alias, "") << "the link that was there is untouched";
  for (const char* name : {"h1", "h2"}) EXPECT_EQ(*kernel_.FindLink(kHost, std::string(name)), std::nullopt);
  EXPECT_EQ(*kernel_.FindLink(blue, std::string("n1")), std::nullopt);
}

TEST_P(KernelContractTest, BadAttributesLeaveNothing) {
  const MacAddress multicast = *MacAddress::Parse("01:00:5e:00:00:01");
  EXPECT_EQ(CodeOf(kernel_.CreateVeth({.name = "h0"}, {.name = "p0", .mac = multicast}, "")), EADDRNOTAVAIL);
  EXPECT_EQ(CodeOf(kernel_.CreateVeth({.name = "h0", .mac = multicast}, {.name = "p0"}, "")), EADDRNOTAVAIL);
  EXPECT_EQ(CodeOf(kernel_.CreateVeth({.name = "h0", .mtu = 67}, {.name = "p0"}, "")), EINVAL);
  EXPECT_EQ(CodeOf(kernel_.CreateVeth({.name = "h0"}, {.name = "p0", .mtu = 65536}, "")), EINVAL);
  EXPECT_EQ(CodeOf(kernel_.CreateVeth({.name = "a/b"}, {.name = "p0"}, "")), EINVAL);
  EXPECT_EQ(CodeOf(kernel_.CreateVeth({.name = "h0"}, {.name = "a b"}, "")), EINVAL);
  EXPECT_EQ(CodeOf(kernel_.CreateVeth({.name = "sixteen-letters."}, {.name = "p0"}, "")), ERANGE);
  for (const char* name : {"h0", "p0"}) EXPECT_EQ(*kernel_.FindLink(kHost, std::string(name)), std::nullopt);
}

TEST_P(KernelContractTest, TheLimitsOfTheMtuAreTaken) {
  auto made = kernel_.CreateVeth({.name = "h0", .mtu = 68}, {.name = "p0", .mtu = 65535}, "");
  ASSERT_TRUE(made.ok()) << made.error().ToString();
  EXPECT_EQ(made->first.mtu, 68u);
  EXPECT_EQ(made->second.mtu, 65535u);
}

TEST_P(KernelContractTest, ANamespaceThatIsGoneOrReplacedIsNotUsed) {
  const NetnsRef blue = MakeNetns("blue");
  world_->RemoveForeignNetns("blue");
  const LinkSpec inside{.netns = blue, .name = "n0"};
  auto expect_all_fail_with = [&](int code) {
    EXPECT_EQ(CodeOf(kernel_.CreateVeth({.name = "h0"}, inside, "")), code);
    EXPECT_EQ(CodeOf(kernel_.CreateVeth(inside, {.name = "h0"}, "")), code);
    EXPECT_EQ(CodeOf(kernel_.DeleteLinksInside(blue)), code);
    EXPECT_EQ(CodeOf(kernel_.DeleteLink(blue, 1)), code);
    EXPECT_EQ(CodeOf(kernel_.FindLink(blue, std::string("lo"))), code);
    EXPECT_EQ(CodeOf(kernel_.ListLinks(blue)), code);
    EXPECT_EQ(CodeOf(kernel_.FreeLinkName(blue, "veth%d", {})), code);
    EXPECT_EQ(*kernel_.FindLink(kHost, std::string("h0")), std::nullopt);
  };
  expect_all_fail_with(ENOENT);
  world_->AddForeignNetns("blue");
  expect_all_fail_with(ESTALE);
  world_->RemoveForeignNetns("blue");
  world_->AddStaleFile("blue", /*empty=*/true);
  expect_all_fail_with(ESTALE);
}

TEST_P(KernelContractTest, DeletingOneEndDeletesTheOther) {
  const NetnsRef blue = MakeNetns("blue");
  for (bool by_a : {true, false}) {
    auto made = kernel_.CreateVeth({.name = "h0"}, {.netns = blue, .name = "n0"}, "");
    ASSERT_TRUE(made.ok());
    EXPECT_EQ(
        CodeOf(by_a ? kernel_.DeleteLink(kHost, made->first.ifindex) : kernel_.DeleteLink(blue, made->second.ifindex)),
        0);
    EXPECT_EQ(*kernel_.FindLink(kHost, std::string("h0")), std::nullopt);
    EXPECT_EQ(*kernel_.FindLink(blue, std::string("n0")), std::nullopt);
    EXPECT_EQ(CodeOf(kernel_.DeleteLink(kHost, made->first.ifindex)), ENODEV);
  }
}

TEST_P(KernelContractTest, TheLoopbackLinkCannotBeDeleted) {
  EXPECT_EQ(CodeOf(kernel_.DeleteLink(MakeNetns("blue"), 1)), EOPNOTSUPP);
}

TEST_P(KernelContractTest, DeletesEveryPairThatEndsInside) {
  const NetnsRef blue = MakeNetns("blue");
  const NetnsRef green = MakeNetns("green");
  EXPECT_EQ(CodeOf(kernel_.DeleteLinksInside(blue)), 0) << "none";
  // More than one batch of netlink requests.
  for (int i = 0; i < 150; ++i) {
    ASSERT_EQ(
        CodeOf(kernel_.CreateVeth({.name = absl::StrCat("h", i)}, {.netns = blue, .name = absl::StrCat("n", i)}, "")),
        0);
  }
  ASSERT_EQ(CodeOf(kernel_.CreateVeth({.netns = green, .name = "g0"}, {.netns = blue, .name = "g0"}, "")), 0);
  ASSERT_EQ(CodeOf(kernel_.CreateVeth({.netns = blue, .name = "self0"}, {.netns = blue, .name = "self1"}, "")), 0);
  ASSERT_EQ(CodeOf(kernel_.CreateVeth({.name = "kept0"}, {.netns = green, .name = "kept1"}, "")), 0);

  ASSERT_EQ(CodeOf(kernel_.DeleteLinksInside(blue)), 0);
  EXPECT_THAT(*kernel_.ListLinks(blue), ::testing::SizeIs(1));
  EXPECT_THAT(*kernel_.ListLinks(green), ::testing::SizeIs(2)) << "lo and kept1";
  for (int i = 0; i < 150; ++i) {
    EXPECT_EQ(*kernel_.FindLink(kHost, absl::StrCat("h", i)), std::nullopt);
  }
  EXPECT_TRUE((*kernel_.FindLink(kHost, std::string("kept0"))).has_value());
}

TEST_P(KernelContractTest, ChoosesTheLowestFreeNumber) {
  const NetnsRef blue = MakeNetns("blue");
  EXPECT_EQ(*kernel_.FreeLinkName(blue, "eth%d", {}), "eth0");
  ASSERT_EQ(CodeOf(kernel_.CreateVeth({.netns = blue, .name = "eth0"}, {.netns = blue, .name = "eth2"}, "")), 0);
  EXPECT_EQ(*kernel_.FreeLinkName(blue, "eth%d", {}), "eth1");
  EXPECT_EQ(*kernel_.FreeLinkName(blue, "eth%d", {"eth1", "eth3"}), "eth4");
  EXPECT_EQ(*kernel_.FreeLinkName(blue, "%dx", {}), "0x");
  EXPECT_EQ(CodeOf(kernel_.FreeLinkName(blue, "abcdefghijklmno%d", {})), ENFILE);
}

TEST_P(KernelContractTest, SetsOfALinkWhatIsAskedFor) {
  const NetnsRef blue = MakeNetns("blue");
  auto made = kernel_.CreateVeth({.name = "h0"}, {.netns = blue, .name = "eth0"}, "tag");
  ASSERT_TRUE(made.ok()) << made.error().ToString();
  const uint32_t ifindex = made->second.ifindex;
  ASSERT_EQ(CodeOf(kernel_.SetLink(blue, ifindex, {})), 0);
  EXPECT_EQ(**kernel_.FindLink(blue, ifindex), made->second) << "nothing";

  const MacAddress mac{{2, 0, 0, 0, 0, 7}};
  ASSERT_EQ(CodeOf(kernel_.SetLink(
                blue, ifindex, {.name = "eth7", .mac = mac, .mtu = 1400, .group = 7, .alias = "other", .up = false})),
            0);
  const Link changed = **kernel_.FindLink(blue, ifindex);
  EXPECT_EQ(changed.name, "eth7");
  EXPECT_EQ(changed.mac, mac);
  EXPECT_EQ(changed.mtu, 1400u);
  EXPECT_EQ(changed.group, 7u);
  EXPECT_EQ(changed.alias, "other");
  EXPECT_FALSE(changed.up);
  // Also the name of a link that is up.
  ASSERT_EQ(CodeOf(kernel_.SetLink(blue, ifindex, {.up = true})), 0);
  ASSERT_EQ(CodeOf(kernel_.SetLink(blue, ifindex, {.name = "eth8"})), 0);
  EXPECT_EQ((**kernel_.FindLink(blue, ifindex)).name, "eth8");
  EXPECT_TRUE((**kernel_.FindLink(blue, ifindex)).up);

  EXPECT_EQ(CodeOf(kernel_.SetLink(blue, ifindex, {.name = "lo"})), EEXIST);
  EXPECT_EQ(CodeOf(kernel_.SetLink(blue, 4711, {.up = true})), ENODEV);
  EXPECT_EQ(CodeOf(kernel_.SetLink({.name = "none", .cookie = 1}, 1, {.up = true})), ENOENT);
  ASSERT_EQ(CodeOf(kernel_.SetLink(blue, engine::kLoopbackIndex, {.alias = "tag", .up = false})), 0);
  EXPECT_FALSE((*kernel_.FindNetns("blue"))->loopback_up);
  EXPECT_EQ((*kernel_.FindNetns("blue"))->loopback_alias, "tag");
  ASSERT_EQ(CodeOf(kernel_.SetLink(blue, engine::kLoopbackIndex, {.alias = ""})), 0);
  EXPECT_EQ((*kernel_.FindNetns("blue"))->loopback_alias, "") << "taken away";
}

void IpConfigContractTest::SetUp() {
  blue_ = MakeNetns("blue");
  auto made = kernel_.CreateVeth({.netns = kHost, .name = "c0"}, {.netns = blue_, .name = "c1"}, "tag");
  ASSERT_TRUE(made.ok()) << made.error().ToString();
  host_end_ = made->first.ifindex;
  end_ = made->second.ifindex;
}

IpConfig IpConfigContractTest::MissingOf(const IpConfig& ip) {
  auto there = kernel_.FindIpConfig(blue_, end_);
  EXPECT_TRUE(there.ok());
  auto routes = kernel_.ListRoutesWithoutLink(blue_);
  EXPECT_TRUE(routes.ok());
  if (!there.ok() || !routes.ok()) return ip;
  there->routes.insert(there->routes.end(), routes->begin(), routes->end());
  return engine::Missing(ip, *there);
}

TEST_P(IpConfigContractTest, WhatIsConfiguredIsFoundAndGoesWithTheLink) {
  const IpConfig ip = FullConfig();
  auto configured = kernel_.Configure(blue_, end_, {"first-other-name", "second"}, ip, /*anew=*/false);
  ASSERT_TRUE(configured.ok()) << configured.error().ToString();
  EXPECT_EQ(MissingOf(ip), IpConfig());
  EXPECT_THAT((*kernel_.FindLink(blue_, end_))->alternative_names, ElementsAre("first-other-name", "second"));
  EXPECT_EQ((*kernel_.FindLink(blue_, "first-other-name"))->ifindex, end_);
  // The other end has none of it.
  auto other = kernel_.FindIpConfig(kHost, host_end_);
  ASSERT_TRUE(other.ok());
  EXPECT_EQ(engine::Missing(ip, *other), ip);
  EXPECT_EQ(CodeOf(kernel_.DeleteLink(blue_, end_)), 0);
  auto gone = kernel_.FindIpConfig(blue_, end_);
  ASSERT_TRUE(gone.ok());
  EXPECT_EQ(engine::Missing(ip, *gone), ip);
}

TEST_P(IpConfigContractTest, WhatIsTakenOrOutOfReachIsRefused) {
  const RouteSpec route{
      .destination = Prefix("10.2.0.0/16"), .gateway = {}, .scope = engine::kScopeLink, .preferred_source = {}};
  ASSERT_EQ(CodeOf(kernel_.Configure(blue_, end_, {"taken"}, {.routes = {route}}, /*anew=*/false)), 0);
  EXPECT_EQ(CodeOf(kernel_.Configure(blue_, end_, {"taken"}, {}, /*anew=*/false)), EEXIST);
  EXPECT_EQ(CodeOf(kernel_.Configure(blue_, end_, {}, {.routes = {route}}, /*anew=*/false)), EEXIST);
  const AddressSpec address{.local = Prefix("10.0.0.2/24"), .peer = std::nullopt};
  EXPECT_EQ(CodeOf(kernel_.Configure(blue_, end_, {}, {.addresses = {address}}, /*anew=*/false)), 0);
  EXPECT_EQ(CodeOf(kernel_.Configure(blue_, end_, {}, {.addresses = {address}}, /*anew=*/false)), EEXIST);
  const IpConfig far{.routes = {engine::DefaultRoute(Ip("192.0.2.1"))}};
  auto refused = kernel_.Configure(blue_, end_, {}, far, /*anew=*/false);
  EXPECT_EQ(CodeOf(refused), ENETUNREACH);
  EXPECT_THAT(refused.error().operation, HasSubstr("RTM_NEWROUTE 0.0.0.0/0"));
  // A neighbour takes the place of what is known.
  for (const uint8_t last : {1, 2}) {
    const IpConfig known{.neighbours = {{.address = Ip("10.0.0.9"), .mac = {{2, 0, 0, 0, 0, last}}}}};
    EXPECT_EQ(CodeOf(kernel_.Configure(blue_, end_, {}, known, /*anew=*/false)), 0);
    EXPECT_EQ(MissingOf(known), IpConfig());
  }
  EXPECT_EQ(CodeOf(kernel_.Configure(blue_, 4711, {}, {.addresses = {address}}, /*anew=*/false)), ENODEV);
}

TEST_P(IpConfigContractTest, WhatIsTakenAwayIsGoneAndTheRestStays) {
  const IpConfig ip = FullConfig();
  ASSERT_EQ(CodeOf(kernel_.Configure(blue_, end_, {"first-other-name", "second"}, ip, /*anew=*/false)), 0);
  const IpConfig some{.addresses = {ip.addresses.back()}, .neighbours = ip.neighbours, .routes = {ip.routes.back()}};
  // Also what it does not have, and once more.
  for (int i = 0; i < 2; ++i) {
    auto taken = kernel_.Unconfigure(blue_, end_, {"second", "never"}, some);
    ASSERT_TRUE(taken.ok()) << taken.error().ToString();
    EXPECT_EQ(MissingOf(ip), some);
    EXPECT_THAT((*kernel_.FindLink(blue_, end_))->alternative_names, ElementsAre("first-other-name"));
  }
  EXPECT_EQ(CodeOf(kernel_.Unconfigure(blue_, 4711, {}, some)), ENODEV);
}

TEST_P(IpConfigContractTest, WithTheFirstAddressOfANetworkTheOthersGo) {
  const AddressSpec first{.local = Prefix("10.0.0.2/24"), .peer = std::nullopt};
  const AddressSpec second{.local = Prefix("10.0.0.3/24"), .peer = std::nullopt};
  const AddressSpec elsewhere{.local = Prefix("10.0.1.2/24"), .peer = std::nullopt};
  const IpConfig ip{.addresses = {first, second, elsewhere}};
  ASSERT_EQ(CodeOf(kernel_.Configure(blue_, end_, {}, ip, /*anew=*/false)), 0);
  ASSERT_EQ(CodeOf(kernel_.Unconfigure(blue_, end_, {}, {.addresses = {first}})), 0);
  EXPECT_THAT(MissingOf(ip).addresses, ElementsAre(first, second));
}

TEST_P(IpConfigContractTest, RoutesThatBelongToNoLinkOutliveIt) {
  std::vector<RouteSpec> routes;
  for (const engine::RouteType type :
       {engine::RouteType::kBlackhole, engine::RouteType::kUnreachable, engine::RouteType::kProhibit}) {
    const int n = static_cast<int>(type);
    routes.push_back({.destination = Prefix(absl::StrCat("10.", n, ".0.0/16")),
                      .type = type,
                      .gateway = {},
                      .metric = 3,
                      .preferred_source = {}});
    routes.push_back({.destination = Prefix(absl::StrCat("2001:db8:", n, "::/48")),
                      .type = type,
                      .gateway = {},
                      .metric = 1024,
                      .table = 77,
                      .preferred_source = {}});
  }
  // They are for AddRoutes().
  EXPECT_EQ(CodeOf(kernel_.Configure(blue_, end_, {}, {.routes = routes}, /*anew=*/false)), 0);
  EXPECT_EQ(MissingOf({.routes = routes}), IpConfig{.routes = routes});
  auto added = kernel_.AddRoutes(blue_, routes);
  ASSERT_TRUE(added.ok()) << added.error().ToString();
  EXPECT_EQ(CodeOf(kernel_.DeleteLink(blue_, end_)), 0);
  EXPECT_EQ(MissingOf({.routes = routes}), IpConfig());
  // All or nothing.
  const RouteSpec another{.destination = Prefix("10.99.0.0/16"),
                          .type = engine::RouteType::kBlackhole,
                          .gateway = {},
                          .preferred_source = {}};
  auto refused = kernel_.AddRoutes(blue_, {another, routes[0]});
  EXPECT_EQ(CodeOf(refused), EEXIST);
  EXPECT_FALSE(refused.error().may_have_effect);
  EXPECT_EQ(MissingOf({.routes = {another}}), IpConfig{.routes = {another}});
  EXPECT_EQ(CodeOf(kernel_.DeleteRoutes(blue_, routes)), 0);
  EXPECT_EQ(MissingOf({.routes = routes}), IpConfig{.routes = routes});
  EXPECT_EQ(CodeOf(kernel_.DeleteRoutes(blue_, routes)), 0) << "they are gone already";
}

TEST_P(IpConfigContractTest, ARouteThroughALinkIsNoneWithout) {
  IpConfig through;
  std::vector<RouteSpec> without;
  for (const char* destination : {"10.2.0.0/16", "2001:db8:2::/48"}) {
    RouteSpec route{.destination = Prefix(destination), .gateway = {}, .metric = 1024, .preferred_source = {}};
    if (route.destination.address.family() == netlink::IpFamily::kIpv4) route.scope = engine::kScopeLink;
    through.routes.push_back(route);
    route.type = engine::RouteType::kBlackhole;
    route.scope = engine::kScopeGlobal;
    without.push_back(route);
  }
  ASSERT_EQ(CodeOf(kernel_.Configure(blue_, end_, {}, through, /*anew=*/false)), 0);
  EXPECT_EQ(CodeOf(kernel_.DeleteRoutes(blue_, without)), 0);
  EXPECT_EQ(MissingOf(through), IpConfig());
  EXPECT_EQ(CodeOf(kernel_.AddRoutes(blue_, {without[1]})), EEXIST);
}

TEST_P(IpConfigContractTest, AnewWhatStandsInTheWayGoesFirst) {
  RouteSpec route{
      .destination = Prefix("10.2.0.0/16"), .gateway = {}, .scope = engine::kScopeLink, .preferred_source = {}};
  const AddressSpec address{.local = Prefix("10.0.0.2/24"), .peer = std::nullopt, .scope = engine::kScopeLink};
  ASSERT_EQ(CodeOf(kernel_.Configure(blue_, end_, {}, {.addresses = {address}, .routes = {route}}, /*anew=*/false)), 0);
  IpConfig wanted{.addresses = {address}, .routes = {route}};
  wanted.addresses[0].scope = engine::kScopeGlobal;
  wanted.routes[0].mtu = 1400;
  EXPECT_EQ(CodeOf(kernel_.Configure(blue_, end_, {}, wanted, /*anew=*/false)), EEXIST);
  auto anew = kernel_.Configure(blue_, end_, {}, wanted, /*anew=*/true);
  EXPECT_TRUE(anew.ok()) << anew.error().ToString();
  EXPECT_EQ(MissingOf(wanted), IpConfig());
  // Where nothing is, there is nothing to go.
  wanted.routes[0].destination = Prefix("2001:db8:2::/48");
  wanted.routes[0].metric = 1024;
  wanted.routes[0].scope = engine::kScopeGlobal;
  wanted.addresses[0].local = Prefix("2001:db8::2/64");
  wanted.routes[0].mtu = 1400;
  anew = kernel_.Configure(blue_, end_, {}, wanted, /*anew=*/true);
  EXPECT_TRUE(anew.ok()) << anew.error().ToString();
  EXPECT_EQ(MissingOf(wanted), IpConfig());
}

// What of the listed ones is on that link and was made by netprov.
template <typename Item, typename ToIp>
std::vector<netlink::IpAddress> OwnAddresses(const KernelResult<std::vector<Item>>& items, uint32_t ifindex,
                                             ToIp to_ip) {
  EXPECT_TRUE(items.ok()) << (items.ok() ? "" : items.error().ToString());
  std::vector<netlink::IpAddress> own;
  if (!items.ok()) return own;
  for (const Item& item : *items) {
    if (item.ifindex == static_cast<int>(ifindex) && item.protocol == engine::kOwnedProtocol) {
      own.push_back(to_ip(item));
    }
  }
  return own;
}

TEST_P(IpConfigContractTest, AddressesAreListedWithWhoMadeThem) {
  ASSERT_EQ(CodeOf(kernel_.Configure(blue_, end_, {}, FullConfig(), /*anew=*/false)), 0);
  const auto own = [this](std::optional<netlink::IpFamily> family, std::optional<uint32_t> ifindex) {
    return OwnAddresses(kernel_.ListAddresses(blue_, family, ifindex), end_,
                        [](const netlink::Address& address) { return address.local.address; });
  };
  using netlink::IpFamily;
  const auto ipv4 = UnorderedElementsAre(Ip("10.0.0.2"), Ip("10.0.1.2"));
  const auto both = UnorderedElementsAre(Ip("10.0.0.2"), Ip("10.0.1.2"), Ip("2001:db8::2"));
  EXPECT_THAT(own(std::nullopt, std::nullopt), both);
  EXPECT_THAT(own(std::nullopt, end_), both);
  EXPECT_THAT(own(IpFamily::kIpv4, end_), ipv4);
  EXPECT_THAT(own(IpFamily::kIpv6, std::nullopt), ElementsAre(Ip("2001:db8::2")));
  EXPECT_THAT(own(std::nullopt, engine::kLoopbackIndex), IsEmpty());
  EXPECT_THAT(own(std::nullopt, 4711), IsEmpty());

  auto addresses = kernel_.ListAddresses(blue_, IpFamily::kIpv4, end_);
  ASSERT_TRUE(addresses.ok());
  ASSERT_EQ(addresses->size(), 2u);
  for (const netlink::Address& address : *addresses) {
    const bool has_peer = address.local.address == Ip("10.0.1.2");
    EXPECT_EQ(address.peer.has_value(), has_peer);
    EXPECT_EQ(address.scope, has_peer ? engine::kScopeLink : engine::kScopeGlobal);
    EXPECT_EQ(address.local.length, has_peer ? 32 : 24);
  }
}

TEST_P(IpConfigContractTest, NeighboursAreListedWithWhoMadeThem) {
  ASSERT_EQ(CodeOf(kernel_.Configure(blue_, end_, {}, FullConfig(), /*anew=*/false)), 0);
  const auto own = [this](std::optional<netlink::IpFamily> family, std::optional<uint32_t> ifindex) {
    auto neighbours = kernel_.ListNeighbours(blue_, family, ifindex);
    for (const netlink::Neighbour& neighbour : *neighbours) {
      if (neighbour.protocol != engine::kOwnedProtocol) continue;
      EXPECT_EQ(neighbour.mac, (MacAddress{{2, 0, 0, 0, 0, 9}}));
      EXPECT_EQ(neighbour.state, 0x80) << "NUD_PERMANENT";
    }
    return OwnAddresses(neighbours, end_, [](const netlink::Neighbour& neighbour) { return neighbour.address; });
  };
  const auto both = UnorderedElementsAre(Ip("10.0.0.9"), Ip("2001:db8::9"));
  EXPECT_THAT(own(std::nullopt, std::nullopt), both);
  EXPECT_THAT(own(std::nullopt, end_), both);
  EXPECT_THAT(own(netlink::IpFamily::kIpv4, end_), ElementsAre(Ip("10.0.0.9")));
  EXPECT_THAT(own(netlink::IpFamily::kIpv6, std::nullopt), ElementsAre(Ip("2001:db8::9")));
  EXPECT_THAT(own(std::nullopt, 4711), IsEmpty());
}

TEST_P(IpConfigContractTest, RoutesAreListedWithWhoMadeThem) {
  ASSERT_EQ(CodeOf(kernel_.Configure(blue_, end_, {}, FullConfig(), /*anew=*/false)), 0);
  const RouteSpec none4{.destination = Prefix("10.9.0.0/16"),
                        .type = engine::RouteType::kBlackhole,
                        .gateway = {},
                        .metric = 5,
                        .preferred_source = {}};
  const RouteSpec none6{.destination = Prefix("2001:db8:9::/48"),
                        .type = engine::RouteType::kProhibit,
                        .gateway = {},
                        .metric = 1024,
                        .preferred_source = {}};
  ASSERT_EQ(CodeOf(kernel_.AddRoutes(blue_, {none4, none6})), 0);
  const auto own = [this](std::optional<netlink::IpFamily> family, std::optional<uint32_t> table) {
    auto routes = kernel_.ListRoutes(blue_, family, table);
    EXPECT_TRUE(routes.ok()) << (routes.ok() ? "" : routes.error().ToString());
    std::vector<std::string> texts;
    if (!routes.ok()) return texts;
    for (const netlink::Route& route : *routes) {
      if (route.protocol != engine::kOwnedProtocol) continue;
      texts.push_back(absl::StrCat(route.type, " ", route.destination.ToString(), " ",
                                   route.gateway.has_value() ? route.gateway->ToString() : "-", " ",
                                   route.ifindex.has_value() ? (*route.ifindex == static_cast<int>(end_) ? "end"
                                                                : *route.ifindex == 1                    ? "lo"
                                                                                                         : "?")
                                                             : "-",
                                   " ", route.metric.value_or(0), " ", route.table));
    }
    return texts;
  };
  const std::vector<std::string> ipv4 = {"1 0.0.0.0/0 10.0.0.1 end 0 254", "1 10.2.0.0/16 - end 0 254",
                                         "6 10.9.0.0/16 - - 5 254"};
  const std::vector<std::string> ipv6 = {"1 2001:db8:1::/48 2001:db8::1 end 1024 254", "1 ::/0 fe80::1 end 1024 254",
                                         "8 2001:db8:9::/48 - lo 1024 254"};
  const std::string elsewhere = "1 10.3.0.0/16 192.0.2.1 end 7 1000";
  std::vector<std::string> main = ipv4;
  main.insert(main.end(), ipv6.begin(), ipv6.end());
  std::vector<std::string> all = main;
  all.push_back(elsewhere);
  EXPECT_THAT(own(std::nullopt, std::nullopt), UnorderedElementsAreArray(all));
  EXPECT_THAT(own(std::nullopt, engine::kMainTable), UnorderedElementsAreArray(main));
  EXPECT_THAT(own(netlink::IpFamily::kIpv4, engine::kMainTable), UnorderedElementsAreArray(ipv4));
  EXPECT_THAT(own(netlink::IpFamily::kIpv6, std::nullopt), UnorderedElementsAreArray(ipv6));
  EXPECT_THAT(own(std::nullopt, 1000), ElementsAre(elsewhere));
  EXPECT_THAT(own(std::nullopt, 4711), IsEmpty()) << "there is no such table";
}

TEST_P(IpConfigContractTest, LinksAreObservedWithTheirStatistics) {
  ASSERT_EQ(CodeOf(kernel_.Configure(blue_, end_, {"another-name"}, {}, /*anew=*/false)), 0);
  auto links = kernel_.ObserveLinks(blue_, std::nullopt);
  ASSERT_TRUE(links.ok()) << links.error().ToString();
  std::vector<Link> seen;
  for (const engine::ObservedLink& link : *links) {
    seen.push_back(link.link);
    EXPECT_EQ(link.statistics.ifindex, static_cast<int>(link.link.ifindex));
    EXPECT_EQ(link.link.master_ifindex, 0u);
  }
  auto listed = kernel_.ListLinks(blue_);
  ASSERT_TRUE(listed.ok());
  EXPECT_THAT(seen, UnorderedElementsAreArray(*listed));

  const std::string name = (*kernel_.FindLink(blue_, end_))->name;
  for (const std::string& each : {name, std::string("another-name")}) {
    auto one = kernel_.ObserveLinks(blue_, each);
    ASSERT_TRUE(one.ok()) << one.error().ToString();
    ASSERT_EQ(one->size(), 1u) << each;
    EXPECT_EQ((*one)[0].link.ifindex, end_);
    EXPECT_EQ((*one)[0].oper_state, netlink::OperState::kUp);
  }
  for (const std::string& other : {std::string("nobody"), std::string(100, 'n')}) {
    auto none = kernel_.ObserveLinks(blue_, other);
    ASSERT_TRUE(none.ok()) << none.error().ToString();
    EXPECT_TRUE(none->empty());
  }
}

TEST_P(IpConfigContractTest, NothingIsDoneInANamespaceThatIsGone) {
  const NetnsRef gone{.name = "blue", .cookie = blue_.cookie + 1};
  EXPECT_EQ(CodeOf(kernel_.Configure(gone, end_, {"x"}, {}, /*anew=*/false)), ESTALE);
  EXPECT_EQ(CodeOf(kernel_.Unconfigure(gone, end_, {"x"}, {})), ESTALE);
  EXPECT_EQ(CodeOf(kernel_.FindIpConfig(gone, end_)), ESTALE);
  EXPECT_EQ(CodeOf(kernel_.ListRoutesWithoutLink(gone)), ESTALE);
  EXPECT_EQ(CodeOf(kernel_.AddRoutes(gone, {})), ESTALE);
  EXPECT_EQ(CodeOf(kernel_.DeleteRoutes(gone, {})), ESTALE);
  EXPECT_EQ(CodeOf(kernel_.ObserveLinks(gone, std::nullopt)), ESTALE);
  EXPECT_EQ(CodeOf(kernel_.ListAddresses(gone, std::nullopt, std::nullopt)), ESTALE);
  EXPECT_EQ(CodeOf(kernel_.ListRoutes(gone, std::nullopt, std::nullopt)), ESTALE);
  EXPECT_EQ(CodeOf(kernel_.ListNeighbours(gone, std::nullopt, std::nullopt)), ESTALE);
}

TEST_P(KernelContractTest, OptionsAreThereFromBirthAndCanBeSetAgain) {
  LinkSpec spec{.netns = kHost, .name = "c0"};
  spec.options = {.tx_queues = 2, .rx_queues = 3, .promiscuous = true, .all_multicast = true};
  spec.options.limits = {.gso_max_size = 20000,
                         .gso_max_segments = 100,
                         .gro_max_size = 30000,
                         .gso_ipv4_max_size = 20000,
                         .gro_ipv4_max_size = 30000};
  auto made = kernel_.CreateVeth(spec, {.netns = kHost, .name = "c1"}, "tag");
  ASSERT_TRUE(made.ok()) << made.error().ToString();
  EXPECT_EQ((*kernel_.FindLink(kHost, "c0"))->options, spec.options);
  const engine::LinkOptions usual = (*kernel_.FindLink(kHost, "c1"))->options;
  EXPECT_EQ(usual.tx_queues, 1u);
  EXPECT_EQ(usual.rx_queues, 1u);
  EXPECT_FALSE(usual.promiscuous || usual.all_multicast);
  engine::LinkSettings settings;
  settings.promiscuous = settings.all_multicast = true;
  settings.limits = spec.options.limits;
  ASSERT_EQ(CodeOf(kernel_.SetLink(kHost, made->second.ifindex, settings)), 0);
  engine::LinkOptions expected = spec.options;
  expected.tx_queues = expected.rx_queues = 1;
  EXPECT_EQ((*kernel_.FindLink(kHost, "c1"))->options, expected);
}

TEST_P(KernelContractTest, MakesABridge) {
  const NetnsRef blue = MakeNetns("blue");
  const netlink::BridgeInfo asked{
      .stp = true, .ageing_time = netlink::Centiseconds(6000), .priority = 100, .group_forward_mask = 8};
  for (const NetnsRef& where : {kHost, blue}) {
    KernelResult<Link> made = kernel_.CreateDevice(
        {.netns = where, .name = "br0", .mac = MacAddress{{2, 0, 0, 0, 0, 5}}, .mtu = 1400}, asked, "the bridge");
    ASSERT_TRUE(made.ok()) << made.error().ToString();
    EXPECT_EQ(made->name, "br0");
    EXPECT_EQ(made->kind, "bridge");
    EXPECT_EQ(made->mtu, 1400u);
    EXPECT_EQ(made->mac.ToString(), "02:00:00:00:00:05");
    EXPECT_TRUE(made->up);
    EXPECT_EQ(made->group, engine::kOwnedGroup);
    EXPECT_EQ(made->alias, "the bridge");
    const auto options = std::get<netlink::BridgeInfo>(made->device.value());
    EXPECT_EQ(options.stp, true);
    EXPECT_EQ(options.ageing_time, netlink::Centiseconds(6000));
    EXPECT_EQ(options.priority, 100);
    EXPECT_EQ(options.group_forward_mask, 8);
    EXPECT_EQ(options.multicast_snooping, true);
    EXPECT_EQ(*kernel_.FindLink(where, "br0"), std::optional(*made));
    EXPECT_EQ(CodeOf(kernel_.CreateDevice({.netns = where, .name = "br0"}, asked, "")), EEXIST);
    EXPECT_EQ(CodeOf(kernel_.SetLink(where, made->ifindex, {.device = netlink::BridgeInfo{.stp = false}})), 0);
    const std::optional<Link> changed = *kernel_.FindLink(where, "br0");
    EXPECT_EQ(std::get<netlink::BridgeInfo>(changed->device.value()).stp, false);
    EXPECT_EQ(std::get<netlink::BridgeInfo>(changed->device.value()).priority, 100);
    EXPECT_EQ(CodeOf(kernel_.DeleteLink(where, made->ifindex)), 0);
  }
  EXPECT_EQ(CodeOf(kernel_.CreateDevice({.netns = {.name = "green", .cookie = 1}, .name = "br0"}, asked, "")), ENOENT);
  EXPECT_EQ(CodeOf(kernel_.CreateDevice({.name = "a-name-of-16-byt"}, asked, "")), ERANGE);
}

TEST_P(KernelContractTest, MakesAMacvlanInEachMode) {
  const NetnsRef blue = MakeNetns("blue");
  auto pair = kernel_.CreateVeth({.name = "low0"}, {.name = "low1"}, "");
  ASSERT_TRUE(pair.ok()) << pair.error().ToString();
  const engine::LowerRef lower{.netns = kHost, .ifindex = pair->first.ifindex};
  const MacAddress first = {{2, 0, 0, 0, 0, 1}};
  const MacAddress second = {{2, 0, 0, 0, 0, 2}};
  using netlink::MacvlanMode;
  for (const MacvlanMode mode : {MacvlanMode::kPrivate, MacvlanMode::kVepa, MacvlanMode::kBridge,
                                 MacvlanMode::kPassthru, MacvlanMode::kSource}) {
    netlink::MacvlanInfo asked{.lower = 0, .mode = mode, .flags = 0, .sources = {}};
    if (mode == MacvlanMode::kSource) asked.sources = {first};
    // One of the name is in the host's namespace.
    KernelResult<Link> made = kernel_.CreateDevice({.netns = blue, .name = "low1", .lower = lower}, asked, "the m");
    ASSERT_TRUE(made.ok()) << made.error().ToString();
    EXPECT_EQ(made->kind, "macvlan");
    EXPECT_EQ(made->lower_ifindex, lower.ifindex);
    EXPECT_EQ(made->alias, "the m");
    EXPECT_EQ(made->group, engine::kOwnedGroup);
    EXPECT_TRUE(made->up);
    EXPECT_EQ(made->mtu, pair->first.mtu);
    EXPECT_EQ(made->mac == pair->first.mac, mode == MacvlanMode::kPassthru);
    EXPECT_EQ(made->device, engine::DeviceOptions(asked));
    EXPECT_EQ((*kernel_.FindLink(blue, "low1"))->device, engine::DeviceOptions(asked));
    // Another beside it, and changes.
    const netlink::MacvlanInfo vepa{.lower = 0, .mode = MacvlanMode::kVepa, .flags = 0, .sources = {}};
    const netlink::MacvlanInfo source{.lower = 0, .mode = MacvlanMode::kSource, .flags = 0, .sources = {first, second}};
    const bool passes = mode == MacvlanMode::kPassthru;
    EXPECT_EQ(CodeOf(kernel_.CreateDevice({.netns = blue, .name = "m1", .lower = lower}, vepa, "")),
              passes ? EINVAL : 0);
    for (const netlink::MacvlanInfo& change : {source, vepa, source}) {
      EXPECT_EQ(CodeOf(kernel_.SetLink(blue, made->ifindex, {.device = change})), passes ? EINVAL : 0);
    }
    if (!passes) {
      const auto now = std::get<netlink::MacvlanInfo>((*kernel_.FindLink(blue, made->ifindex))->device.value());
      EXPECT_EQ(now.mode, MacvlanMode::kSource);
      EXPECT_THAT(now.sources, UnorderedElementsAre(first, second));
    }
    EXPECT_EQ(CodeOf(kernel_.DeleteLinksInside(blue)), 0);
  }
  const netlink::MacvlanInfo bridge{.lower = 0, .mode = MacvlanMode::kBridge, .flags = 0, .sources = {}};
  KernelResult<Link> below = kernel_.CreateDevice({.name = "m0", .lower = lower}, bridge, "");
  ASSERT_TRUE(below.ok()) << below.error().ToString();
  // One on a macvlan stands beside it.
  KernelResult<Link> above = kernel_.CreateDevice(
      {.netns = blue, .name = "m1", .mtu = 1400, .lower = engine::LowerRef{.ifindex = below->ifindex}}, bridge, "");
  ASSERT_TRUE(above.ok()) << above.error().ToString();
  EXPECT_EQ(above->lower_ifindex, lower.ifindex);
  EXPECT_EQ(above->mtu, 1400u);
  EXPECT_EQ(CodeOf(kernel_.CreateDevice({.netns = blue, .name = "m2", .mtu = 1600, .lower = lower}, bridge, "")),
            EINVAL);
  EXPECT_EQ(CodeOf(kernel_.CreateDevice({.netns = blue, .name = "m1", .lower = lower}, bridge, "")), EEXIST);
  const engine::LowerRef nothing{.netns = kHost, .ifindex = 99999};
  EXPECT_EQ(CodeOf(kernel_.CreateDevice({.netns = blue, .name = "m2", .lower = nothing}, bridge, "")), ENODEV);
  EXPECT_FALSE(kernel_.FindLink(blue, "m2")->has_value());
  // With what they stand on they go.
  ASSERT_EQ(CodeOf(kernel_.DeleteLink(kHost, pair->second.ifindex)), 0);
  EXPECT_FALSE(kernel_.FindLink(blue, "m1")->has_value());
  EXPECT_FALSE(kernel_.FindLink(kHost, "m0")->has_value());
}

TEST_P(KernelContractTest, MakesAVxlanWithItsEntries) {
  const NetnsRef blue = MakeNetns("blue");
  const NetnsRef green = MakeNetns("green");
  engine::VxlanOptions asked;
  asked.info.vni = 42;
  asked.info.local = Ip("192.0.2.1");
  asked.info.remote = Ip("192.0.2.2");
  asked.info.ttl = 7;
  asked.info.learning = false;
  asked.info.proxy = true;
  asked.info.ageing = std::chrono::seconds(60);
  const MacAddress mac = {{2, 0, 0, 0, 0, 9}};
  asked.fdb = {{.mac = {}, .destination = Ip("192.0.2.3"), .port = 99, .vni = 7},
               {.mac = {}, .destination = Ip("192.0.2.4"), .port = {}, .vni = {}},
               {.mac = mac, .destination = Ip("192.0.2.5"), .port = 4789, .vni = 42}};
  const LinkSpec spec{.netns = blue, .name = "x0", .lower = engine::LowerRef{.netns = green}};
  KernelResult<Link> made = kernel_.CreateDevice(spec, asked, "the x");
  ASSERT_TRUE(made.ok()) << made.error().ToString();
  EXPECT_EQ(made->kind, "vxlan");
  EXPECT_EQ(made->lower_ifindex, 0u);
  EXPECT_EQ(std::get<engine::VxlanOptions>(made->device.value()).info, asked.info);
  auto fdb = kernel_.ListFdb(blue, made->ifindex);
  ASSERT_TRUE(fdb.ok()) << fdb.error().ToString();
  const engine::FdbEntry plain{.mac = mac, .destination = Ip("192.0.2.5"), .port = {}, .vni = {}};
  const engine::FdbEntry remote{.mac = {}, .destination = Ip("192.0.2.2"), .port = {}, .vni = {}};
  EXPECT_THAT(*fdb, UnorderedElementsAre(asked.fdb[0], asked.fdb[1], plain, remote));
  // Changes, and entries that it has or has not.
  engine::VxlanOptions changed = asked;
  changed.info.local = Ip("192.0.2.8");
  changed.info.ttl = 0;
  changed.info.learning = true;
  changed.info.ageing = std::chrono::seconds(7);
  changed.fdb = {asked.fdb[0], {.mac = mac, .destination = Ip("192.0.2.6"), .port = {}, .vni = {}}};
  ASSERT_EQ(CodeOf(kernel_.SetLink(blue, made->ifindex, {.device = changed})), 0);
  EXPECT_EQ(std::get<engine::VxlanOptions>((*kernel_.FindLink(blue, "x0"))->device.value()).info, changed.info);
  EXPECT_THAT(*kernel_.ListFdb(blue, made->ifindex),
              UnorderedElementsAre(asked.fdb[0], asked.fdb[1], changed.fdb[1], remote));
  // What is there of these goes, and what is not is passed over; entries for one address are told apart.
  ASSERT_EQ(CodeOf(kernel_.SetLink(blue, made->ifindex, {.lost_fdb = {asked.fdb[0], plain, changed.fdb[1]}})), 0);
  EXPECT_THAT(*kernel_.ListFdb(blue, made->ifindex), UnorderedElementsAre(asked.fdb[1], remote));
  // No address stands for none.
  changed.info.remote = netlink::IpAddress::Any(netlink::IpFamily::kIpv4);
  changed.info.local = changed.info.remote;
  changed.fdb.clear();
  ASSERT_EQ(CodeOf(kernel_.SetLink(blue, made->ifindex, {.device = changed})), 0);
  changed.info.remote.reset();
  changed.info.local.reset();
  EXPECT_EQ(std::get<engine::VxlanOptions>((*kernel_.FindLink(blue, "x0"))->device.value()).info, changed.info);
  EXPECT_THAT(*kernel_.ListFdb(blue, made->ifindex), ElementsAre(asked.fdb[1]));
  EXPECT_THAT(*kernel_.ListFdb(blue, 9999), IsEmpty());
  // As many entries as may be asked for.
  engine::VxlanOptions large{.info = {.vni = 45}, .fdb = {}};
  for (int i = 0; i < 1024; ++i) {
    const auto low = static_cast<uint8_t>(i);
    const auto high = static_cast<uint8_t>(i / 256);
    large.fdb.push_back({.mac = {{2, 0, 0, 0, high, low}}, .destination = Ip("192.0.2.7"), .port = {}, .vni = {}});
  }
  LinkSpec spacious = spec;
  spacious.name = "x9";
  KernelResult<Link> big = kernel_.CreateDevice(spacious, large, "");
  ASSERT_TRUE(big.ok()) << big.error().ToString();
  EXPECT_EQ(kernel_.ListFdb(blue, big->ifindex)->size(), 1024u);
  // Not the name is taken.
  LinkSpec same = spec;
  same.name = "x1";
  KernelResult<Link> second = kernel_.CreateDevice(same, asked, "");
  EXPECT_EQ(CodeOf(second), EEXIST);
  EXPECT_NE(second.error().extack, "");
  same.lower->netns = blue;
  EXPECT_EQ(CodeOf(kernel_.CreateDevice(same, asked, "")), 0);
  KernelResult<Link> named = kernel_.CreateDevice(spec, engine::VxlanOptions{.info = {.vni = 43}, .fdb = {}}, "");
  EXPECT_EQ(CodeOf(named), EEXIST);
  EXPECT_EQ(named.error().extack, "");
  // On a link, whose MTU counts.
  auto pair = kernel_.CreateVeth({.name = "low0"}, {.name = "low1"}, "");
  ASSERT_TRUE(pair.ok()) << pair.error().ToString();
  const LinkSpec on_link{.netns = blue, .name = "x2", .lower = engine::LowerRef{.ifindex = pair->first.ifindex}};
  KernelResult<Link> above = kernel_.CreateDevice(on_link, engine::VxlanOptions{.info = {.vni = 44}, .fdb = {}}, "");
  ASSERT_TRUE(above.ok()) << above.error().ToString();
  EXPECT_EQ(above->lower_ifindex, pair->first.ifindex);
  EXPECT_EQ(above->mtu, 1450u);
  ASSERT_EQ(CodeOf(kernel_.DeleteLink(kHost, pair->first.ifindex)), 0);
  EXPECT_FALSE(kernel_.FindLink(blue, "x2")->has_value());
}

TEST_P(KernelContractTest, MakesAnIfb) {
  const NetnsRef blue = MakeNetns("blue");
  KernelResult<Link> made = kernel_.CreateDevice({.netns = blue, .name = "i0", .mac = MacAddress{{2, 0, 0, 0, 0, 5}}},
                                                 netlink::IfbInfo(), "the i");
  ASSERT_TRUE(made.ok()) << made.error().ToString();
  EXPECT_EQ(made->kind, "ifb");
  EXPECT_EQ(made->mac, (MacAddress{{2, 0, 0, 0, 0, 5}}));
  EXPECT_EQ(made->mtu, 1500u);
  EXPECT_TRUE(made->up);
  EXPECT_EQ(made->alias, "the i");
  EXPECT_EQ(made->device, engine::DeviceOptions(netlink::IfbInfo()));
  EXPECT_EQ(*kernel_.FindLink(blue, "i0"), *made);
  // What it is born with it keeps.
  EXPECT_EQ(CodeOf(kernel_.SetLink(blue, made->ifindex, {.mac = MacAddress{{2, 0, 0, 0, 0, 6}}})), EOPNOTSUPP);
  EXPECT_EQ(*kernel_.FindLink(blue, "i0"), *made);
  EXPECT_EQ(CodeOf(kernel_.DeleteLink(blue, made->ifindex)), 0);
}

TEST_P(KernelContractTest, PortsJoinTheirBridgeAndLeaveIt) {
  const NetnsRef blue = MakeNetns("blue");
  KernelResult<Link> bridge = kernel_.CreateDevice({.netns = blue, .name = "br0"}, netlink::BridgeInfo(), "");
  ASSERT_TRUE(bridge.ok()) << bridge.error().ToString();
  engine::PortOptions port;
  port.settings.hairpin = true;
  port.settings.learning = false;
  auto pair = kernel_.CreateVeth({.netns = blue, .name = "p0", .master = bridge->ifindex, .port = port},
                                 {.netns = blue, .name = "p1", .master = bridge->ifindex}, "ports");
  ASSERT_TRUE(pair.ok()) << pair.error().ToString();
  for (const Link* end : {&pair->first, &pair->second}) {
    EXPECT_EQ(end->master_ifindex, bridge->ifindex);
    ASSERT_TRUE(end->port.has_value());
    EXPECT_EQ(end->port->state, std::nullopt);
    EXPECT_EQ(end->port->unicast_flood, true);
    EXPECT_EQ(end->alias, "ports");
  }
  EXPECT_EQ(pair->first.port->hairpin, true);
  EXPECT_EQ(pair->first.port->learning, false);
  EXPECT_EQ(pair->second.port->learning, true);
  // Whatever ports it has.
  EXPECT_EQ((*kernel_.FindLink(blue, "br0"))->mac, bridge->mac);

  ASSERT_EQ(CodeOf(kernel_.SetLink(blue, pair->first.ifindex, {.master = 0})), 0);
  EXPECT_EQ((*kernel_.FindLink(blue, "p0"))->master_ifindex, 0u);
  EXPECT_EQ((*kernel_.FindLink(blue, "p0"))->port, std::nullopt);
  ASSERT_EQ(CodeOf(kernel_.SetLink(blue, pair->first.ifindex, {.master = bridge->ifindex, .port = port})), 0);
  EXPECT_EQ((*kernel_.FindLink(blue, "p0"))->port->hairpin, true);
  ASSERT_EQ(CodeOf(kernel_.DeleteLink(blue, bridge->ifindex)), 0);
  EXPECT_EQ((*kernel_.FindLink(blue, "p0"))->master_ifindex, 0u);

  // Of what is no bridge, or not there; nothing of the pair is left.
  EXPECT_EQ(CodeOf(kernel_.CreateVeth({.netns = blue, .name = "q0", .master = bridge->ifindex}, {.name = "q1"}, "")),
            EINVAL);
  EXPECT_EQ(
      CodeOf(kernel_.CreateVeth({.name = "q1"}, {.netns = blue, .name = "q0", .master = pair->first.ifindex}, "")),
      EOPNOTSUPP);
  EXPECT_EQ(*kernel_.FindLink(blue, "q0"), std::nullopt);
  EXPECT_EQ(*kernel_.FindLink(kHost, "q1"), std::nullopt);
}

TEST_P(KernelContractTest, ABridgeHasRoomFor1023Ports) {
  const NetnsRef blue = MakeNetns("blue");
  KernelResult<Link> bridge = kernel_.CreateDevice({.netns = blue, .name = "br0"}, netlink::BridgeInfo(), "");
  ASSERT_TRUE(bridge.ok()) << bridge.error().ToString();
  // Down, as each port that comes up sends to all others.
  auto make = [&](int number, bool both) {
    LinkSpec a{.netns = blue, .name = absl::StrCat("p", number), .up = false, .master = bridge->ifindex};
    LinkSpec b{.netns = blue, .name = absl::StrCat("q", number), .up = false, .master = both ? bridge->ifindex : 0};
    return CodeOf(kernel_.CreateVeth(a, b, ""));
  };
  for (int i = 0; i < 511; ++i) ASSERT_EQ(make(i, /*both=*/true), 0) << i;
  EXPECT_EQ(make(511, /*both=*/true), EXFULL);
  EXPECT_EQ(*kernel_.FindLink(blue, "p511"), std::nullopt);
  EXPECT_EQ(make(511, /*both=*/false), 0);
  EXPECT_EQ(make(512, /*both=*/false), EXFULL);
  EXPECT_EQ(*kernel_.FindLink(blue, "p512"), std::nullopt);
}

TEST_P(KernelContractTest, ABridgeKeepsItsMtuAndItsAddressWhateverPortsItGets) {
  const NetnsRef blue = MakeNetns("blue");
  for (const std::optional<uint32_t> asked : {std::optional<uint32_t>(), std::optional(1500u), std::optional(68u)}) {
    KernelResult<Link> bridge =
        kernel_.CreateDevice({.netns = blue, .name = "br0", .mtu = asked}, netlink::BridgeInfo(), "");
    ASSERT_TRUE(bridge.ok()) << bridge.error().ToString();
    EXPECT_EQ(bridge->mtu, asked.value_or(1500));
    ASSERT_TRUE(kernel_
                    .CreateVeth({.netns = blue,
                                 .name = "p0",
                                 .mac = MacAddress{{2, 0, 0, 0, 0, 1}},
                                 .mtu = 1400,
                                 .master = bridge->ifindex},
                                {.name = "p1"}, "")
                    .ok());
    const Link now = **kernel_.FindLink(blue, "br0");
    EXPECT_EQ(now.mac, bridge->mac);
    if (asked.has_value()) {
      EXPECT_EQ(now.mtu, *asked);
    }
    ASSERT_EQ(CodeOf(kernel_.DeleteLinksInside(blue)), 0);
  }
}

void ShapingContractTest::SetUp() {
  auto made = kernel_.CreateVeth({.name = "c0"}, {.netns = MakeNetns("blue"), .name = "c1"}, "tag");
  ASSERT_TRUE(made.ok()) << made.error().ToString();
  end_ = made->first.ifindex;
  // What the kernel does not round.
  both_ = {.egress = netlink::TokenBucket{.rate = 1'250'000, .burst = 40000, .limit = 102500},
           .ingress = netlink::TokenBucket{.rate = 12'500'000, .burst = 400000, .limit = 1025000},
           .ifb_name = "ifbx",
           .alias = "tag"};
}

std::vector<Link> ShapingContractTest::Ifbs() {
  std::vector<Link> ifbs = *kernel_.ListLinks(kHost);
  std::erase_if(ifbs, [](const Link& link) { return link.kind != "ifb"; });
  return ifbs;
}

TEST_P(ShapingContractTest, ALinkIsShapedAndNoMore) {
  EXPECT_EQ(Now(), engine::Shaping());
  auto shaped = kernel_.Shape(kHost, end_, both_);
  ASSERT_TRUE(shaped.ok()) << shaped.error().ToString();
  EXPECT_EQ(Now(), (engine::Shaping{.egress = both_.egress, .ingress = both_.ingress, .ifb_ifindex = *shaped}));
  ASSERT_EQ(Ifbs().size(), 1u);
  const Link ifb = Ifbs()[0];
  EXPECT_EQ(ifb.ifindex, *shaped);
  EXPECT_EQ(ifb.name, "ifbx");
  EXPECT_EQ(ifb.alias, "tag");
  EXPECT_EQ(ifb.group, engine::kOwnedGroup);
  EXPECT_TRUE(ifb.up);
  // Once more.
  EXPECT_EQ(*kernel_.Shape(kHost, end_, both_), *shaped);
  // With other rates, by the same ifb.
  both_.egress->rate = 2'500'000;
  both_.ingress->rate = 125'000'000;
  EXPECT_EQ(*kernel_.Shape(kHost, end_, both_), *shaped);
  EXPECT_EQ(Now().egress->rate, 2'500'000u);
  EXPECT_EQ(Now().ingress->rate, 125'000'000u);
  // One after the other goes.
  engine::ShapingSpec less = both_;
  less.egress.reset();
  EXPECT_EQ(*kernel_.Shape(kHost, end_, less), *shaped);
  EXPECT_EQ(Now().egress, std::nullopt);
  EXPECT_TRUE(Now().ingress.has_value());
  less.ingress.reset();
  EXPECT_EQ(*kernel_.Shape(kHost, end_, less), 0u);
  EXPECT_EQ(Now(), engine::Shaping());
  EXPECT_THAT(Ifbs(), IsEmpty());
  EXPECT_EQ(*kernel_.Shape(kHost, end_, less), 0u) << "nothing is nothing again";
}

TEST_P(ShapingContractTest, WhatIsThereIsMadeWhatIsWanted) {
  const uint32_t ifb = *kernel_.Shape(kHost, end_, both_);
  ASSERT_EQ(CodeOf(kernel_.SetLink(kHost, ifb, {.name = "renamed", .alias = "", .up = false})), 0);
  EXPECT_EQ(Now(), (engine::Shaping{.egress = both_.egress, .ingress = std::nullopt}))
      << "nothing passes an ifb that is down";
  EXPECT_EQ(*kernel_.Shape(kHost, end_, both_), ifb);
  EXPECT_EQ((*kernel_.FindLink(kHost, ifb))->alias, "tag");
  EXPECT_EQ(Now().ingress, both_.ingress);
  // Without its ifb, what is received goes nowhere.
  ASSERT_EQ(CodeOf(kernel_.DeleteLink(kHost, ifb)), 0);
  EXPECT_EQ(Now(), (engine::Shaping{.egress = both_.egress, .ingress = std::nullopt}));
  const uint32_t another = *kernel_.Shape(kHost, end_, both_);
  EXPECT_EQ(Now().ifb_ifindex, another);
  EXPECT_EQ(Now().ingress, both_.ingress);
  EXPECT_EQ(Ifbs().size(), 1u);
}

TEST_P(ShapingContractTest, OneThatWasLeftIsTaken) {
  const uint32_t ifb = *kernel_.Shape(kHost, end_, both_);
  ASSERT_EQ(CodeOf(kernel_.DeleteLink(kHost, end_)), 0);
  EXPECT_EQ(Now(), engine::Shaping());
  ASSERT_EQ(Ifbs().size(), 1u) << "it does not go with the link";
  auto made = kernel_.CreateVeth({.name = "c0"}, {.name = "c1"}, "tag");
  ASSERT_TRUE(made.ok());
  EXPECT_EQ(*kernel_.Shape(kHost, made->second.ifindex, both_), ifb);
  EXPECT_EQ(kernel_.FindShaping(kHost, made->second.ifindex)->ingress, both_.ingress);
  EXPECT_EQ(*kernel_.FindShaping(kHost, made->first.ifindex), engine::Shaping());
}

TEST_P(ShapingContractTest, WhatCannotBeIsRefused) {
  EXPECT_EQ(CodeOf(kernel_.Shape(kHost, 4711, both_)), ENODEV);
  EXPECT_EQ(*kernel_.FindShaping(kHost, 4711), engine::Shaping());
  const NetnsRef none{.name = "none", .cookie = 1};
  EXPECT_EQ(CodeOf(kernel_.Shape(none, end_, both_)), ENOENT);
  EXPECT_EQ(CodeOf(kernel_.FindShaping(none, end_)), ENOENT);
  // The name is another's.
  both_.egress.reset();
  both_.ifb_name = "c0";
  EXPECT_EQ(CodeOf(kernel_.Shape(kHost, end_, both_)), EEXIST);
  both_.ifb_name = "ifbx";
  ASSERT_EQ(CodeOf(kernel_.Shape(kHost, end_, both_)), 0);
  auto made = kernel_.CreateVeth({.name = "c2"}, {.name = "c3"}, "other");
  ASSERT_TRUE(made.ok());
  both_.alias = "other";
  EXPECT_EQ(CodeOf(kernel_.Shape(kHost, made->first.ifindex, both_)), EEXIST);
  EXPECT_EQ(Now().ingress, both_.ingress);
}

TEST_P(ShapingContractTest, AWatchTellsOfIt) {
  auto watch = kernel_.Watch();
  ASSERT_TRUE(watch.ok()) << watch.error().ToString();
  auto tells = [&](uint32_t ifindex) {
    for (int i = 0; i < 100; ++i) {
      for (const engine::Hint& hint : (*watch)->Wait(std::chrono::milliseconds(100))) {
        if (hint.kind == engine::Hint::Kind::kLink && hint.netns.is_host() && hint.ifindex == ifindex) return true;
      }
    }
    return false;
  };
  engine::ShapingSpec egress = both_;
  egress.ingress.reset();
  ASSERT_EQ(CodeOf(kernel_.Shape(kHost, end_, egress)), 0);
  EXPECT_TRUE(tells(end_));
  const uint32_t ifb = *kernel_.Shape(kHost, end_, both_);
  EXPECT_TRUE(tells(ifb));
  while (!(*watch)->Wait(std::chrono::milliseconds(100)).empty()) {
  }
  both_.ingress->rate *= 2;
  ASSERT_EQ(CodeOf(kernel_.Shape(kHost, end_, both_)), 0);
  EXPECT_TRUE(tells(ifb));
}

TEST_P(KernelContractTest, AWatchTellsOfLinksAndNames) {
  using engine::Hint;
  const NetnsRef blue = MakeNetns("blue");
  auto made = kernel_.CreateVeth({.name = "h0"}, {.netns = blue, .name = "eth0"}, "");
  ASSERT_TRUE(made.ok()) << made.error().ToString();
  auto opened = kernel_.Watch();
  ASSERT_TRUE(opened.ok()) << opened.error().ToString();
  engine::KernelWatch& watch = **opened;
  // Waits until the hint comes; others may come before.
  auto tells = [&watch](const Hint& expected) {
    for (int i = 0; i < 100; ++i) {
      for (const Hint& hint : watch.Wait(std::chrono::milliseconds(100))) {
        if (hint == expected) return true;
      }
    }
    return false;
  };
  const Hint host_end{.kind = Hint::Kind::kLink, .netns = {}, .ifindex = made->first.ifindex};
  const Hint inner_end{.kind = Hint::Kind::kLink, .netns = blue, .ifindex = made->second.ifindex};

  EXPECT_EQ(CodeOf(watch.Track({.name = "none", .cookie = 1})), ENOENT);
  EXPECT_EQ(CodeOf(watch.Track({.name = "blue", .cookie = blue.cookie + 1000})), ESTALE);
  ASSERT_EQ(CodeOf(watch.Track(blue)), 0);
  ASSERT_EQ(CodeOf(watch.Track(blue)), 0) << "once more";
  ASSERT_EQ(CodeOf(kernel_.SetLink({}, made->first.ifindex, {.mtu = 1400})), 0);
  EXPECT_TRUE(tells(host_end));
  ASSERT_EQ(CodeOf(kernel_.SetLink(blue, made->second.ifindex, {.mtu = 1400})), 0);
  EXPECT_TRUE(tells(inner_end));
  ASSERT_EQ(CodeOf(kernel_.SetLink(blue, engine::kLoopbackIndex, {.up = false})), 0);
  EXPECT_TRUE(tells({.kind = Hint::Kind::kLink, .netns = blue, .ifindex = engine::kLoopbackIndex}));
  ASSERT_EQ(CodeOf(kernel_.DeleteLink({}, made->first.ifindex)), 0);
  EXPECT_TRUE(tells(host_end));

  world_->AddForeignNetns("foreign");
  EXPECT_TRUE(tells({.kind = Hint::Kind::kName, .netns = {.name = "foreign", .cookie = 0}, .ifindex = 0}));
  world_->RemoveForeignNetns("foreign");
  EXPECT_TRUE(tells({.kind = Hint::Kind::kName, .netns = {.name = "foreign", .cookie = 0}, .ifindex = 0}));

  // It does not keep a namespace alive, nor does the end of one end it.
  ASSERT_EQ(CodeOf(kernel_.RemoveNetns(blue)), 0);
  EXPECT_TRUE(tells({.kind = Hint::Kind::kName, .netns = {.name = "blue", .cookie = 0}, .ifindex = 0}));
  watch.Wake();
  watch.Wait(std::chrono::hours(1));
}

TEST_P(KernelContractTest, KnowsTheBoot) {
  EXPECT_THAT(kernel_.BootId(), Not(IsEmpty()));
  EXPECT_EQ(kernel_.BootId(), kernel_.BootId());
}

TEST_P(KernelContractTest, FindsWhatAPlaceLeadsTo) {
  const uint32_t pid = world_->StartProcessInNewNetns();
  const std::string path = world_->Mount(pid);
  const NetnsPlace by_path{.path = path, .pid = 0};
  const NetnsPlace by_pid{.path = "", .pid = pid};
  auto entry = kernel_.FindPlace(by_path);
  ASSERT_TRUE(entry.ok()) << entry.error().ToString();
  EXPECT_NE(entry->cookie, 0u);
  EXPECT_FALSE(entry->is_host);
  EXPECT_EQ(*kernel_.FindPlace(by_pid), *entry);
  EXPECT_EQ(*kernel_.FindWayIn(entry->cookie), std::optional(by_pid));
  EXPECT_EQ(*kernel_.FindWayIn(0), std::nullopt);
  // What a namespace of ours is called besides.
  const NetnsRef blue = MakeNetns("blue");
  EXPECT_EQ(kernel_.FindPlace({.path = "/run/netns/blue"})->cookie, blue.cookie);

  world_->EndProcess(pid);
  EXPECT_EQ(CodeOf(kernel_.FindPlace(by_pid)), ESRCH);
  EXPECT_EQ(*kernel_.FindPlace(by_path), *entry) << "the mount keeps it";
  EXPECT_EQ(*kernel_.FindWayIn(entry->cookie), std::nullopt);
  world_->Unmount(path);
  EXPECT_EQ(CodeOf(kernel_.FindPlace({.path = "/run/nothing"})), ENOENT);
  EXPECT_EQ(CodeOf(kernel_.FindPlace({.path = world_->MakeFile()})), EMEDIUMTYPE);
  auto link = kernel_.FindPlace({.path = world_->MakeLink()});
  ASSERT_FALSE(link.ok());
  EXPECT_EQ(link.error().code, ELOOP);
  EXPECT_THAT(link.error().extack, HasSubstr("a link is not followed"));
}

TEST_P(KernelContractTest, APlaceIsLookedUpByEachOperation) {
  const uint32_t pid = world_->StartProcessInNewNetns();
  const uint32_t other = world_->StartProcessInNewNetns();
  NetnsRef at_path{.name = "", .cookie = 0, .place = NetnsPlace{.path = world_->Mount(pid), .pid = 0}};
  at_path.cookie = kernel_.FindPlace(*at_path.place)->cookie;
  NetnsRef at_pid{.name = "", .cookie = 0, .place = NetnsPlace{.path = "", .pid = other}};
  at_pid.cookie = kernel_.FindPlace(*at_pid.place)->cookie;
  ASSERT_NE(at_path.cookie, at_pid.cookie);

  auto ends = kernel_.CreateVeth({.netns = at_path, .name = "p0"}, {.netns = at_pid, .name = "p0"}, "tag");
  ASSERT_TRUE(ends.ok()) << ends.error().ToString();
  EXPECT_EQ(**kernel_.FindLink(at_path, ends->first.ifindex), ends->first);
  EXPECT_EQ(**kernel_.FindLink(at_pid, ends->second.ifindex), ends->second);
  EXPECT_EQ(*kernel_.FindLink(kHost, std::string("p0")), std::nullopt);
  // By another way into the same.
  const NetnsRef by_pid{.name = "", .cookie = at_path.cookie, .place = NetnsPlace{.path = "", .pid = pid}};
  EXPECT_EQ(**kernel_.FindLink(by_pid, ends->first.ifindex), ends->first);
  auto inside = kernel_.CreateVeth({.netns = at_path, .name = "i0"}, {.netns = by_pid, .name = "i1"}, "tag");
  ASSERT_TRUE(inside.ok()) << inside.error().ToString();
  EXPECT_EQ((*kernel_.FindLink(by_pid, std::string("i1")))->peer_ifindex, inside->first.ifindex);

  NetnsRef before = at_pid;
  before.cookie = at_path.cookie;
  EXPECT_EQ(CodeOf(kernel_.FindLink(before, std::string("p0"))), ESTALE) << "another is there by now";
  EXPECT_EQ(CodeOf(kernel_.CreateVeth({.name = "q0"}, {.netns = before, .name = "q1"}, "")), ESTALE);
  EXPECT_EQ(*kernel_.FindLink(kHost, std::string("q0")), std::nullopt);
  for (const std::string& path : {world_->MakeFile(), world_->MakeLink()}) {
    const NetnsRef odd{.name = "", .cookie = at_path.cookie, .place = NetnsPlace{.path = path, .pid = 0}};
    EXPECT_EQ(CodeOf(kernel_.ListLinks(odd)), ESTALE) << path;
  }
  const NetnsRef nowhere{.name = "", .cookie = at_path.cookie, .place = NetnsPlace{.path = "/run/nothing", .pid = 0}};
  EXPECT_EQ(CodeOf(kernel_.ListLinks(nowhere)), ENOENT);
  ASSERT_EQ(CodeOf(kernel_.DeleteLink(at_path, ends->first.ifindex)), 0);
  EXPECT_EQ(*kernel_.FindLink(at_pid, std::string("p0")), std::nullopt);
  world_->EndProcess(other);
  EXPECT_EQ(CodeOf(kernel_.ListLinks(at_pid)), ESTALE);
  world_->Unmount(at_path.place->path);
}

TEST_P(KernelContractTest, AWatchTellsOfLinksAtAPlace) {
  NetnsRef netns{.name = "", .cookie = 0, .place = NetnsPlace{.path = "", .pid = world_->StartProcessInNewNetns()}};
  netns.cookie = kernel_.FindPlace(*netns.place)->cookie;
  auto watch = kernel_.Watch();
  ASSERT_TRUE(watch.ok()) << watch.error().ToString();
  ASSERT_EQ(CodeOf((*watch)->Track(netns)), 0);
  auto ends = kernel_.CreateVeth({.name = "w0"}, {.netns = netns, .name = "w1"}, "");
  ASSERT_TRUE(ends.ok());
  ASSERT_EQ(CodeOf(kernel_.SetLink(netns, ends->second.ifindex, {.mtu = 1400})), 0);
  const engine::Hint wanted{
      .kind = engine::Hint::Kind::kLink, .netns = netns, .ifindex = static_cast<uint32_t>(ends->second.ifindex)};
  bool is_told = false;
  // Others may come before.
  for (int i = 0; i < 100 && !is_told; ++i) {
    const std::vector<engine::Hint> hints = (*watch)->Wait(std::chrono::milliseconds(100));
    is_told = std::find(hints.begin(), hints.end(), wanted) != hints.end();
  }
  EXPECT_TRUE(is_told);
}

constexpr char kRegistry[] = "11111111-2222-4333-8444-555555555555";
constexpr char kOtherRegistry[] = "99999999-2222-4333-8444-555555555555";

netlink::NatElement Forward(const char* host_address, uint16_t host_port, const char* target, const char* tag) {
  netlink::PortForward forward{.protocol = netlink::TransportProtocol::kTcp,
                               .host_address = std::nullopt,
                               .host_port = host_port,
                               .target = Ip(target),
                               .target_port = 80};
  if (*host_address != '\0') forward.host_address = Ip(host_address);
  return {.rule = forward, .tag = tag};
}

// One of each kind, of both families.
std::vector<netlink::NatElement> NatOfAPair() {
  return {{.rule = netlink::Masquerade{.source = Ip("10.0.0.2"), .ifindex = 7}, .tag = "tag"},
          {.rule = netlink::Masquerade{.source = Ip("2001:db8::2"), .ifindex = 7}, .tag = "tag"},
          Forward("", 8080, "10.0.0.2", "tag"),
          Forward("192.0.2.1", 8080, "10.0.0.2", "tag"),
          Forward("", 8080, "2001:db8::2", "tag"),
          {.rule = netlink::Hairpin{.target = Ip("10.0.0.2"), .ifindex = 7}, .tag = "tag"}};
}

TEST_P(KernelContractTest, TranslatesInANamespaceAlone) {
  const NetnsRef blue = MakeNetns("blue");
  EXPECT_THAT(*kernel_.ListNat(blue, kRegistry), IsEmpty());
  EXPECT_EQ(CodeOf(kernel_.DeleteNat(blue, kRegistry, NatOfAPair())), 0) << "there is nothing to delete";
  EXPECT_EQ(CodeOf(kernel_.AddNat(blue, kRegistry, {})), 0);
  ASSERT_EQ(CodeOf(kernel_.AddNat(blue, kRegistry, NatOfAPair())), 0);
  EXPECT_THAT(*kernel_.ListNat(blue, kRegistry), UnorderedElementsAreArray(NatOfAPair()));
  EXPECT_THAT(*kernel_.ListNat(kHost, kRegistry), IsEmpty());
  EXPECT_EQ(CodeOf(kernel_.DeleteNat(blue, kRegistry, NatOfAPair())), 0);
  EXPECT_THAT(*kernel_.ListNat(blue, kRegistry), IsEmpty());
}

TEST_P(KernelContractTest, WhatIsTranslatedIsFoundByItsKey) {
  const NetnsRef blue = MakeNetns("blue");
  EXPECT_THAT(*kernel_.FindNat(blue, kRegistry, NatOfAPair()), IsEmpty()) << "there is no table";
  ASSERT_EQ(CodeOf(kernel_.AddNat(blue, kRegistry, NatOfAPair())), 0);
  // More than one question can hold.
  std::vector<netlink::NatElement> others;
  for (uint16_t port = 1; port <= 100; ++port) others.push_back(Forward("192.0.2.7", port, "10.0.0.7", "other"));
  ASSERT_EQ(CodeOf(kernel_.AddNat(blue, kRegistry, others)), 0);
  EXPECT_THAT(*kernel_.FindNat(blue, kRegistry, NatOfAPair()), UnorderedElementsAreArray(NatOfAPair()));
  EXPECT_THAT(*kernel_.FindNat(blue, kRegistry, others), UnorderedElementsAreArray(others));
  EXPECT_THAT(*kernel_.FindNat(blue, kOtherRegistry, NatOfAPair()), IsEmpty());
  EXPECT_THAT(*kernel_.FindNat(blue, kRegistry, {}), IsEmpty());
  // As it is there, whatever else is asked for; and what is not there is left out.
  const std::vector<netlink::NatElement> asked = {
      Forward("", 8080, "10.0.0.9", "mine"),
      Forward("", 8081, "10.0.0.2", "tag"),
      {.rule = netlink::Masquerade{.source = Ip("10.0.0.2"), .ifindex = 8}, .tag = "tag"}};
  EXPECT_THAT(*kernel_.FindNat(blue, kRegistry, asked), ElementsAre(Forward("", 8080, "10.0.0.2", "tag")));
  EXPECT_EQ(CodeOf(kernel_.FindNat({.name = "gone", .cookie = 1}, kRegistry, asked)), ENOENT);
  others.insert(others.end(), asked.begin(), asked.end());
  EXPECT_EQ(CodeOf(kernel_.DeleteNat(blue, kRegistry, others)), 0);
  EXPECT_THAT(*kernel_.ListNat(blue, kRegistry), UnorderedElementsAreArray(NatOfAPair()));
}

TEST_P(KernelContractTest, AForwardThatIsTakenIsSaidAndNothingOfTheOthersIsAdded) {
  ASSERT_EQ(CodeOf(kernel_.AddNat(kHost, kRegistry, {Forward("", 8080, "10.0.0.2", "first")})), 0);
  const auto second = kernel_.AddNat(
      kHost, kRegistry, {Forward("", 8081, "10.0.0.3", "second"), Forward("", 8080, "10.0.0.3", "second")});
  ASSERT_EQ(CodeOf(second), EEXIST);
  EXPECT_FALSE(second.error().may_have_effect);
  EXPECT_THAT(second.error().operation, HasSubstr("8080"));
  EXPECT_THAT(*kernel_.ListNat(kHost, kRegistry), ElementsAre(Forward("", 8080, "10.0.0.2", "first")));
  // Twice in one request.
  EXPECT_EQ(CodeOf(kernel_.AddNat(kHost, kRegistry,
                                  {Forward("", 9090, "10.0.0.3", "x"), Forward("", 9090, "10.0.0.3", "x")})),
            EEXIST);
  EXPECT_EQ(CodeOf(kernel_.AddNat(kHost, kRegistry, {Forward("", 0, "10.0.0.3", "x")})), EINVAL);
  EXPECT_EQ(CodeOf(kernel_.DeleteNat(kHost, kRegistry, {Forward("", 8080, "10.0.0.2", "first")})), 0);
}

TEST_P(KernelContractTest, AnElementWithAnotherTagIsNotDeleted) {
  const std::vector<netlink::NatElement> theirs = {Forward("", 8080, "10.0.0.2", "theirs")};
  ASSERT_EQ(CodeOf(kernel_.AddNat(kHost, kRegistry, theirs)), 0);
  EXPECT_EQ(CodeOf(kernel_.DeleteNat(kHost, kRegistry, {Forward("", 8080, "10.0.0.2", "ours")})), 0);
  EXPECT_EQ(CodeOf(kernel_.DeleteNat(kHost, kOtherRegistry, theirs)), 0);
  EXPECT_THAT(*kernel_.ListNat(kHost, kRegistry), ElementsAre(theirs[0]));
  EXPECT_EQ(CodeOf(kernel_.DeleteNat(kHost, kRegistry, theirs)), 0);
}

TEST_P(KernelContractTest, ATableIsOneRegistrysUntilItIsEmpty) {
  const std::vector<netlink::NatElement> element = {Forward("", 8080, "10.0.0.2", "tag")};
  ASSERT_EQ(CodeOf(kernel_.AddNat(kHost, kRegistry, element)), 0);
  EXPECT_EQ(CodeOf(kernel_.AddNat(kHost, kOtherRegistry, {Forward("", 9, "10.0.0.2", "tag")})), EBUSY);
  EXPECT_THAT(*kernel_.ListNat(kHost, kOtherRegistry), IsEmpty());
  EXPECT_THAT(*kernel_.ListNat(kHost, kRegistry), ElementsAre(element[0]));
  ASSERT_EQ(CodeOf(kernel_.DeleteNat(kHost, kRegistry, element)), 0);
  EXPECT_EQ(CodeOf(kernel_.AddNat(kHost, kOtherRegistry, element)), 0);
  EXPECT_EQ(CodeOf(kernel_.DeleteNat(kHost, kOtherRegistry, element)), 0);
}

TEST_P(KernelContractTest, ATableWhoseFirstElementIsRefusedIsNotLeft) {
  EXPECT_EQ(CodeOf(kernel_.AddNat(kHost, kRegistry, {Forward("", 0, "10.0.0.2", "tag")})), EINVAL);
  EXPECT_EQ(CodeOf(kernel_.AddNat(kHost, kOtherRegistry, {Forward("", 9, "10.0.0.2", "tag")})), 0);
  EXPECT_EQ(CodeOf(kernel_.DeleteNat(kHost, kOtherRegistry, {Forward("", 9, "10.0.0.2", "tag")})), 0);
}

TEST_P(KernelContractTest, NothingIsTranslatedWhereThereIsNoNamespace) {
  const NetnsRef blue = MakeNetns("blue");
  const NetnsRef replaced{.name = "blue", .cookie = blue.cookie + 1000};
  EXPECT_EQ(CodeOf(kernel_.AddNat({.name = "gone", .cookie = 1}, kRegistry, NatOfAPair())), ENOENT);
  EXPECT_EQ(CodeOf(kernel_.AddNat(replaced, kRegistry, NatOfAPair())), ESTALE);
  EXPECT_EQ(CodeOf(kernel_.DeleteNat(replaced, kRegistry, NatOfAPair())), ESTALE);
  EXPECT_EQ(CodeOf(kernel_.ListNat(replaced, kRegistry)), ESTALE);
}

}  // namespace netprov::testing
