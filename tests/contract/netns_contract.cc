// Namespaces, their sysctls and their files.
#include <cerrno>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/contract/kernel_contract.h"

namespace netprov::testing {
namespace {

using engine::Link;
using engine::NetnsEntry;
using engine::NetnsRef;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

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

TEST_P(KernelContractTest, KnowsTheBoot) {
  EXPECT_THAT(kernel_.BootId(), Not(IsEmpty()));
  EXPECT_EQ(kernel_.BootId(), kernel_.BootId());
}

}  // namespace
}  // namespace netprov::testing
