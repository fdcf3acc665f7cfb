// The engine on the real kernel, with `ip` as the witness.
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "server/base/unique_fd.h"
#include "server/engine/engine.h"
#include "server/engine/linux_kernel.h"
#include "server/engine/registry.h"
#include "server/engine/tag.h"
#include "server/netlink/ip_address.h"
#include "tests/testing/private_host.h"
#include "tests/testing/process.h"

namespace netprov::testing {
namespace {

using engine::Engine;
using engine::EngineResult;
using engine::Intent;
using engine::LinuxKernel;
using engine::Reason;
using engine::Registry;
using engine::Veth;
using engine::VethSpec;
using nlohmann::json;
using ::testing::Contains;
using ::testing::IsEmpty;
using ::testing::Not;

// Everything that a test could leave: names, and the links of every place, without what changes by itself.
std::string Snapshot() {
  return Shell(
      "ls /run/netns; ip -o link show | sed 's/^[0-9]*: //';"
      "for netns in $(ls /run/netns); do ip netns exec $netns ip -o link show 2>/dev/null | sed 's/^[0-9]*: //'; done; "
      "true");
}

json LinkShown(const std::string& name, const std::string& netns = "") {
  return json::parse(Shell(absl::StrCat("ip -j -d ", netns.empty() ? "" : "-n " + netns, " link show ", name))).at(0);
}

class EngineKernelTest : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ = absl::StrCat("/run/registry-", ::testing::UnitTest::GetInstance()->current_test_info()->name());
    auto kernel = LinuxKernel::Open();
    ASSERT_TRUE(kernel.ok()) << kernel.error().ToString();
    kernel_ = *std::move(kernel);
    Restart();
  }

  void TearDown() override {
    Shell("for netns in $(ls /run/netns); do ip netns delete $netns || rm -f /run/netns/$netns; done");
    Shell(
        "for link in $(ip -o link show type veth | sed 's/^[0-9]*: \\([^@:]*\\).*/\\1/'); do ip link delete $link "
        "2>/dev/null; done; true");
  }

  engine::HostReport Restart() {
    engine_.reset();
    registry_.reset();
    auto registry = Registry::Open(path_);
    EXPECT_TRUE(registry.ok()) << registry.error().message;
    registry_ = *std::move(registry);
    engine_ = std::make_unique<Engine>(*kernel_, *registry_);
    auto report = engine_->Recover();
    EXPECT_TRUE(report.ok());
    return *report;
  }

  EngineResult<Veth> CreateVeth(const std::string& id, VethSpec spec) {
    return engine_->CreateVeth({.id = id, .spec = std::move(spec)});
  }
  static VethSpec HostTo(const std::string& netns) {
    return {.a = {.interface_name = "h0"}, .b = {.namespace_id = netns, .interface_name = "veth%d"}};
  }

  std::string path_;
  std::unique_ptr<LinuxKernel> kernel_;
  std::unique_ptr<Registry> registry_;
  std::unique_ptr<Engine> engine_;
};

TEST_F(EngineKernelTest, EveryFieldIsWhatIpShows) {
  ASSERT_TRUE(engine_->CreateNamespace({.id = "blue"}).ok());
  ASSERT_TRUE(engine_->CreateNamespace({.id = "green"}).ok());
  auto made = CreateVeth("v", {.a = {.namespace_id = "blue",
                                     .interface_name = "left",
                                     .mac = netlink::MacAddress::Parse("02:00:00:00:00:0a"),
                                     .mtu = 9000},
                               .b = {.namespace_id = "green", .interface_name = "eth%d", .up = false}});
  ASSERT_TRUE(made.ok()) << made.error().message;
  EXPECT_EQ(made->b.interface_name, "eth0");

  const json left = LinkShown("left", "blue");
  EXPECT_EQ(left.at("address"), "02:00:00:00:00:0a");
  EXPECT_EQ(left.at("mtu"), 9000);
  EXPECT_EQ(left.at("ifindex"), made->a.ifindex);
  EXPECT_EQ(left.at("num_tx_queues"), 1);
  EXPECT_EQ(left.at("group"), "28272");
  EXPECT_EQ(left.at("ifalias"), engine::TagOf(registry_->id(), made->uid, "veths/v"));
  EXPECT_THAT(left.at("flags").get<std::vector<std::string>>(), Contains("UP"));
  const json right = LinkShown("eth0", "green");
  EXPECT_EQ(right.at("address"), made->b.mac->ToString());
  EXPECT_EQ(right.at("mtu"), 1500);
  EXPECT_EQ(right.at("ifindex"), made->b.ifindex);
  EXPECT_EQ(right.at("group"), "28272");
  EXPECT_EQ(right.at("ifalias"), engine::TagOf(registry_->id(), made->uid, "veths/v"));
  EXPECT_THAT(right.at("flags").get<std::vector<std::string>>(), Not(Contains("UP")));
  EXPECT_EQ(left.at("link_index"), right.at("ifindex"));
}

TEST_F(EngineKernelTest, SysctlsAreWhatSysctlShows) {
  const std::string host = Shell("sysctl -n net.ipv4.ip_forward net.ipv4.tcp_rmem");
  const engine::Sysctls sysctls = {{"net.ipv4.conf.all.accept_redirects", "1"},
                                   {"net.ipv4.conf.default.rp_filter", "2"},
                                   // Turns accept_redirects off as it is written.
                                   {"net.ipv4.ip_forward", "1"},
                                   {"net.ipv4.tcp_rmem", "4096 65536 1048576"},
                                   {"net.ipv6.conf.all.disable_ipv6", "1"}};
  auto made = engine_->CreateNamespace({.id = "blue", .spec = {.sysctls = sysctls}});
  ASSERT_TRUE(made.ok()) << made.error().message;
  EXPECT_EQ(Shell("ip netns exec blue sysctl -n net.ipv4.conf.all.accept_redirects net.ipv4.conf.default.rp_filter "
                  "net.ipv4.ip_forward net.ipv4.tcp_rmem net.ipv6.conf.all.disable_ipv6"),
            "1\n2\n1\n4096\t65536\t1048576\n1\n");
  EXPECT_EQ(Shell("sysctl -n net.ipv4.ip_forward net.ipv4.tcp_rmem"), host);

  Shell("ip netns exec blue sysctl -q -w net.ipv4.tcp_rmem='4096 65536 2097152'");
  auto read = engine_->GetNamespace("blue");
  EXPECT_EQ(engine::ToText(read->deviations),
            "sysctls[net.ipv4.tcp_rmem] is '4096 65536 2097152' in place of '4096 65536 1048576'");
  ASSERT_TRUE(engine_->Heal({.name = "namespaces/blue", .uid = made->uid}).ok());
  EXPECT_EQ(engine_->GetNamespace("blue")->state, engine::State::kReady);
}

TEST_F(EngineKernelTest, ASysctlThatTheKernelRefusesLeavesNothing) {
  const std::string before = Snapshot();
  for (const auto& [name, value] :
       {std::pair("net.ipv4.ip_forward", "many"), std::pair("net.ipv4.no_such_setting", "1"),
        // Of the whole host.
        std::pair("net.ipv4.tcp_ehash_entries", "1"), std::pair("net.core.rmem_max", "1"),
        // A way out of the namespace's settings, if it were one.
        std::pair("net.//.//.kernel.hostname", "x"),
        // Can be written and not read.
        std::pair("net.ipv4.route.flush", "1")}) {
    auto refused = engine_->CreateNamespace({.id = "blue", .spec = {.sysctls = {{name, value}}}});
    ASSERT_FALSE(refused.ok()) << name;
    EXPECT_EQ(refused.error().kernel->operation, absl::StrCat("sysctl ", name));
    EXPECT_EQ(Snapshot(), before);
  }
}

TEST_F(EngineKernelTest, TrafficPasses) {
  ASSERT_TRUE(engine_->CreateNamespace({.id = "blue"}).ok());
  ASSERT_TRUE(CreateVeth("v", HostTo("blue")).ok());
  Shell("ip address add 10.9.0.1/24 dev h0 && ip -n blue address add 10.9.0.2/24 dev veth0");
  Shell("/usr/bin/python3 tests/kernel/echo_through.py blue 10.9.0.2");
}

TEST_F(EngineKernelTest, ARefusalLeavesTheKernelAsItWas) {
  ASSERT_TRUE(engine_->CreateNamespace({.id = "blue"}).ok());
  ASSERT_TRUE(CreateVeth("v", HostTo("blue")).ok());
  Shell("ip netns add foreign; touch /run/netns/stale");
  const std::string before = Snapshot();
  auto reason_of = [](const auto& result) { return result.ok() ? Reason::kStopped : result.error().reason; };
  EXPECT_EQ(reason_of(engine_->CreateNamespace({.id = "blue"})), Reason::kNamespaceAlreadyExists);
  EXPECT_EQ(reason_of(engine_->CreateNamespace({.id = "foreign"})), Reason::kNamespaceNotManaged);
  EXPECT_EQ(reason_of(engine_->CreateNamespace({.id = "stale"})), Reason::kNamespaceFileStale);
  EXPECT_EQ(reason_of(engine_->DeleteNamespace({.id = "foreign"})), Reason::kNamespaceNotManaged);
  auto taken_a = CreateVeth("w", HostTo("blue"));
  EXPECT_EQ(reason_of(taken_a), Reason::kInterfaceNameTaken);
  EXPECT_EQ(taken_a.error().field, "endpoint_a.interface_name");
  auto taken_b =
      CreateVeth("w", {.a = {.interface_name = "h1"}, .b = {.namespace_id = "blue", .interface_name = "veth0"}});
  EXPECT_EQ(reason_of(taken_b), Reason::kInterfaceNameTaken);
  EXPECT_EQ(taken_b.error().field, "endpoint_b.interface_name");
  EXPECT_EQ(reason_of(CreateVeth("w", HostTo("foreign"))), Reason::kNamespaceNotManaged);
  EXPECT_EQ(reason_of(CreateVeth("w", HostTo("nowhere"))), Reason::kNamespaceNotFound);
  EXPECT_EQ(Snapshot(), before);
}

TEST_F(EngineKernelTest, DeletingANamespaceFreesEveryNameAtOnce) {
  const std::string before = Snapshot();
  ASSERT_TRUE(engine_->CreateNamespace({.id = "blue"}).ok());
  ASSERT_TRUE(CreateVeth("v", HostTo("blue")).ok());
  Shell("ip link add foreign-host type veth peer name foreign-in netns blue");
  ASSERT_TRUE(engine_->DeleteNamespace({.id = "blue"}).ok());
  EXPECT_EQ(Snapshot(), before);
}

TEST_F(EngineKernelTest, ProcessesInsideAreSeenAndKeepANamespaceUnlessForced) {
  ASSERT_TRUE(engine_->CreateNamespace({.id = "blue"}).ok());
  ASSERT_TRUE(engine_->CreateNamespace({.id = "green"}).ok());
  ASSERT_TRUE(CreateVeth("v", HostTo("blue")).ok());
  const std::string before = Snapshot();
  Process inside({"ip", "netns", "exec", "blue", "sh", "-c", "echo inside >&2; exec sleep 60"});
  inside.WaitForLine("inside");
  while (Shell(absl::StrCat("cat /proc/", inside.pid(), "/comm")) != "sleep\n") {
  }
  auto refused = engine_->DeleteNamespace({.id = "blue"});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().reason, Reason::kNamespaceBusy);
  ASSERT_EQ(refused.error().inhabitants.count, 1u);
  EXPECT_EQ(refused.error().inhabitants.first[0], (engine::Process{.pid = inside.pid(), .command = "sleep"}));
  EXPECT_EQ(Snapshot(), before);
  EXPECT_EQ(engine_->GetNamespace("blue", /*with_inhabitants=*/true)->inhabitants, refused.error().inhabitants);
  EXPECT_EQ(engine_->GetNamespace("green", /*with_inhabitants=*/true)->inhabitants, engine::Inhabitants());
  ASSERT_TRUE(engine_->DeleteNamespace({.id = "blue", .force = true}).ok());
  EXPECT_THAT(Shell("ip -o link show type veth"), IsEmpty());
  ASSERT_TRUE(engine_->DeleteNamespace({.id = "green"}).ok());
}

TEST_F(EngineKernelTest, NoLinkOutlivesItsNamespaceInTheHandsOfAProcess) {
  ASSERT_TRUE(engine_->CreateNamespace({.id = "blue"}).ok());
  Shell("ip -n blue link add br0 type bridge; ip -n blue address add 192.0.2.9/24 dev br0; ip -n blue link set br0 up");
  const std::string kept = "/run/kept-" + std::to_string(::getpid());
  Shell("touch " + kept + "; mount --bind /run/netns/blue " + kept);
  ASSERT_TRUE(engine_->DeleteNamespace({.id = "blue"}).ok());
  EXPECT_THAT(Shell("nsenter --net=" + kept + " ip -o link show type bridge"), IsEmpty());
  Shell("umount " + kept);
}

TEST_F(EngineKernelTest, WhatIpDeletesIsMissingAndCanBeMadeAnew) {
  ASSERT_TRUE(engine_->CreateNamespace({.id = "blue"}).ok());
  ASSERT_TRUE(CreateVeth("v", HostTo("blue")).ok());
  Shell("ip link delete h0");
  EXPECT_EQ(engine_->GetVeth("v")->state, engine::State::kMissing);
  ASSERT_TRUE(CreateVeth("v", HostTo("blue")).ok());
  Shell("ip link delete h0; ip netns delete blue; ip netns add blue");
  EXPECT_EQ(engine_->GetNamespace("blue")->state, engine::State::kMissing);
  ASSERT_TRUE(engine_->DeleteNamespace({.id = "blue"}).ok());
  EXPECT_FALSE(engine_->GetNamespace("blue")->managed) << "the namespace of the same name is another's, and stays";
}

TEST_F(EngineKernelTest, APairOfWhichBothEndsWereMovedIsMadeAnewAndTheOldOneGoes) {
  ASSERT_TRUE(engine_->CreateNamespace({.id = "blue"}).ok());
  EngineResult<Veth> made = CreateVeth("v", HostTo("blue"));
  ASSERT_TRUE(made.ok());
  Shell("ip netns add lab && ip link set h0 netns lab && ip -n blue link set veth0 netns lab");
  ASSERT_TRUE(engine_->Heal({.name = "veths/v", .uid = made->uid}).ok());
  EXPECT_EQ(engine_->GetVeth("v")->state, engine::State::kReady);
  EXPECT_EQ(Shell("ip -n lab -o link show type veth"), "");
}

TEST_F(EngineKernelTest, WithoutDescriptorsACreateIsRefusedAndNothingIsLeft) {
  ASSERT_TRUE(engine_->CreateNamespace({.id = "blue"}).ok());
  const std::string before = Snapshot();
  rlimit limit;
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  const UniqueFd lowest_free(::dup(STDIN_FILENO));
  ASSERT_TRUE(lowest_free.valid());
  const auto in_use = static_cast<rlim_t>(lowest_free.get());
  // One more each time, until there are enough.
  for (rlim_t more = 1; more < 20; ++more) {
    const rlimit few{.rlim_cur = in_use + more, .rlim_max = limit.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
    EngineResult<Veth> made = CreateVeth("v", HostTo("blue"));
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
    if (made.ok()) {
      EXPECT_GT(more, 1u);
      return;
    }
    EXPECT_EQ(made.error().reason, Reason::kKernel) << made.error().message;
    EXPECT_EQ(made.error().kernel->code, EMFILE);
    EXPECT_EQ(Snapshot(), before);
  }
  FAIL() << "there were never enough";
}

TEST_F(EngineKernelTest, ACallThatFailsLeavesForwardingAsItWasOnEachLink) {
  ASSERT_TRUE(engine_->CreateNamespace({.id = "blue"}).ok());
  const auto settings = [] {
    return Shell("cd /proc/sys/net; grep . ipv4/ip_forward ipv4/conf/all/accept_redirects ipv[46]/conf/*/forwarding");
  };
  const auto write = [](const std::string& value, const std::string& files) {
    Shell(absl::StrCat("cd /proc/sys/net; for file in ", files, "; do echo ", value, " > $file; done"));
  };
  write("0", "ipv4/ip_forward ipv6/conf/all/forwarding ipv4/conf/all/accept_redirects");
  Shell("ip link add t0 type veth peer name t1");
  write("1", "ipv4/conf/t0/forwarding ipv6/conf/t0/forwarding ipv4/conf/default/forwarding");
  const std::string before = settings();
  EXPECT_THAT(before, ::testing::HasSubstr("ipv4/conf/t0/forwarding:1\nipv4/conf/t1/forwarding:0\n"));
  // The last thing that can fail.
  registry_.reset();
  Shell(
      "/usr/bin/python3 - <<END\nimport sqlite3\ndatabase = sqlite3.connect('" + path_ + "')\n" +
      R"(database.execute("CREATE TRIGGER refuse BEFORE INSERT ON veths BEGIN SELECT raise(ABORT, 'no veths'); END"))" +
      "\ndatabase.commit()\nEND");
  Restart();
  VethSpec spec = HostTo("blue");
  spec.b.config.ip.addresses = {{.local = *netlink::IpPrefix::Parse("10.0.0.2/24"), .peer = std::nullopt},
                                {.local = *netlink::IpPrefix::Parse("2001:db8::2/64"), .peer = std::nullopt}};
  spec.b.config.ip_forwarding = true;
  auto failed = CreateVeth("v", spec);
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().reason, Reason::kRegistryFailed) << failed.error().message;
  EXPECT_EQ(settings(), before);
  EXPECT_THAT(registry_->ListPending(), IsEmpty());
}

TEST_F(EngineKernelTest, WhatACrashLeftIsRolledBack) {
  ASSERT_TRUE(engine_->CreateNamespace({.id = "blue"}).ok());
  const std::string before = Snapshot();
  const engine::NetnsRef blue{.name = "blue", .cookie = engine_->GetNamespace("blue")->cookie};
  ASSERT_TRUE(registry_
                  ->Begin({.kind = Intent::Kind::kCreateNamespace,
                           .netns = {.id = "half", .uid = "u", .boot_id = kernel_->BootId()}})
                  .ok());
  ASSERT_TRUE(registry_
                  ->Begin({.kind = Intent::Kind::kCreateNamespace,
                           .netns = {.id = "file", .uid = "u", .boot_id = kernel_->BootId()}})
                  .ok());
  ASSERT_TRUE(registry_
                  ->Begin({.kind = Intent::Kind::kCreateVeth,
                           .veth = {.id = "v",
                                    .uid = "u",
                                    .boot_id = kernel_->BootId(),
                                    .a = {.interface_name = "h0"},
                                    .b = {.namespace_id = "blue", .interface_name = "veth0"}}})
                  .ok());
  ASSERT_TRUE(kernel_->CreateNetns("half", engine::TagOf(registry_->id(), "u", "namespaces/half"), {}).ok());
  Shell("touch /run/netns/file");
  // Born, but without its alias.
  Shell("ip link add h0 group 28272 type veth peer name veth0 netns blue group 28272");
  EXPECT_EQ(Restart().Count(engine::Finding::Kind::kRolledBack), 3);
  EXPECT_EQ(Snapshot(), before);
}

TEST_F(EngineKernelTest, ADirectoryThatCannotBeWrittenIsSaid) {
  ASSERT_EQ(::mount("none", "/run/netns", nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY, nullptr), 0);
  auto refused = engine_->CreateNamespace({.id = "blue"});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().kernel->code, EROFS);
  ASSERT_EQ(::mount("none", "/run/netns", nullptr, MS_REMOUNT | MS_BIND, nullptr), 0);
  EXPECT_THAT(Shell("ls /run/netns"), IsEmpty());
}

}  // namespace
}  // namespace netprov::testing
