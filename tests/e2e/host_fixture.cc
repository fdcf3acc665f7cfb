#include "tests/e2e/host_fixture.h"

#include <csignal>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "tests/testing/private_host.h"

namespace netprov::testing {

using ::testing::StartsWith;

namespace {

constexpr char kForeign[] =
    "ip -j -d addr show dev foreign0; ip -j -d addr show dev foreign1; ip -n foreign -j -d addr; "
    "stat -f -c %T /run/netns/foreign";

// Whatever a test has left, by names and kinds.
constexpr char kClear[] = R"sh(
mount -o remount,rw /run 2>/dev/null
while umount -l /var/lib/netprov 2>/dev/null; do :; done
cd /run/netns && for name in *; do
  while umount -l "$name" 2>/dev/null; do :; done
  rm -rf "$name"
done
for link in $(ip -o link show type ifb | sed 's/^[0-9]*: \([^@:]*\).*/\1/'); do ip link del $link 2>/dev/null; done
for link in $(ip -o link show type veth | sed 's/^[0-9]*: \([^@:]*\).*/\1/'); do ip link del $link 2>/dev/null; done
rm -rf /var/lib/netprov /run/netprov /etc/netns
true)sh";

}  // namespace

void HostTest::SetUp() {
  Shell(
      "ip netns add foreign && ip -n foreign link add f0 type veth peer name f1 && "
      "ip link add foreign0 type veth peer name foreign1");
  foreign_ = Shell(kForeign);
}

void HostTest::TearDown() {
  EXPECT_EQ(Shell(kForeign), foreign_);
  client_ = nullptr;
  daemon_ = nullptr;
  Shell(kClear);
}

void HostTest::StartDaemon(std::vector<std::string> flags) {
  client_ = nullptr;
  Start(std::move(flags));
  daemon_->WaitForLine("event=recovered ");
  client_ = std::make_unique<TestClient>(absl::StrCat("unix:", kSocket));
}

void HostTest::KillDaemon() {
  client_ = nullptr;
  EXPECT_EQ(daemon_->Stop(SIGKILL), 128 + SIGKILL);
}

std::string HostTest::Refusal(const std::vector<std::string>& command) {
  const Completed refused = RunCommand(command);
  EXPECT_EQ(refused.exit_code, 1) << refused.err;
  EXPECT_THAT(refused.err, StartsWith("netprovd: "));
  EXPECT_EQ(refused.err.find('\n'), refused.err.size() - 1) << refused.err;
  return refused.err;
}

void HostTest::Sql(const std::string& statements) {
  const Completed done = RunCommand({"/usr/bin/python3", "-c",
                                     "import sqlite3, sys\n"
                                     "database = sqlite3.connect('/var/lib/netprov/registry.db')\n"
                                     "database.executescript(sys.argv[1])\n"
                                     "database.close()\n",
                                     statements});
  EXPECT_EQ(done.exit_code, 0) << done.err;
}

void HostTest::BelongToAnotherBoot() {
  Sql("UPDATE namespaces SET record = json_set(record, '$.boot_id', 'another');"
      "UPDATE veths SET record = json_set(record, '$.boot_id', 'another');"
      "UPDATE devices SET record = json_set(record, '$.boot_id', 'another');");
}

void HostTest::MakeBlueWithPair(const v1::Metadata& metadata) {
  v1::CreateNamespaceRequest netns;
  netns.set_namespace_id("blue");
  *netns.mutable_namespace_()->mutable_metadata() = metadata;
  EXPECT_OK(client_->Create(netns));
  v1::CreateVethRequest veth = VethRequest("v", "h0", "blue", "eth0");
  *veth.mutable_veth()->mutable_metadata() = metadata;
  EXPECT_OK(client_->Create(veth));
}

std::vector<std::string> HostTest::Findings() {
  const Reply<v1::HostReport> report = client_->GetReport();
  EXPECT_OK(report);
  return FindingsOf(report.value);
}

std::string HostTest::Names() { return Shell("ls /run/netns | grep -vx foreign; true"); }

}  // namespace netprov::testing
