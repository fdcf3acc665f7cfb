// The tutorial, word for word, with the real binaries.
#include <sys/stat.h>

#include <csignal>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/testing/private_host.h"
#include "tests/testing/process.h"

namespace netprov::testing {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr char kSocket[] = "/run/netprov/netprovd.sock";

bool Exists(const std::string& path) {
  struct stat status = {};
  return ::lstat(path.c_str(), &status) == 0;
}

void ExpectPrints(const std::vector<std::string>& arguments, const std::string& out) {
  std::vector<std::string> command = {kContain};
  command.insert(command.end(), arguments.begin(), arguments.end());
  const Completed completed = RunCommand(command);
  EXPECT_EQ(completed.exit_code, 0) << completed.err;
  EXPECT_EQ(completed.out, out);
  EXPECT_THAT(completed.err, IsEmpty());
}

void RunTutorial() {
  ExpectPrints({"net", "create", "test-ns"}, "Created network namespace: test-ns\n");
  EXPECT_THAT(Shell("ip netns list"), HasSubstr("test-ns"));

  ExpectPrints({"net", "veth", "--host", "veth-host", "--ns", "test-ns"},
               "Created veth pair: veth-host <-> veth0 (in test-ns)\n");
  const auto host_end = nlohmann::json::parse(Shell("ip -j link show veth-host")).at(0);
  EXPECT_THAT(host_end.at("flags").get<std::vector<std::string>>(), Contains("UP"));
  EXPECT_EQ(host_end.at("operstate"), "UP");
  EXPECT_THAT(host_end.at("ifalias").get<std::string>(), HasSubstr("netprov:"));
  EXPECT_THAT(Shell("ip netns exec test-ns ip link show"), HasSubstr("veth0"));

  ExpectPrints({"net", "delete", "test-ns"}, "Deleted network namespace: test-ns\n");
  EXPECT_THAT(Shell("ip netns list"), IsEmpty());
  EXPECT_THAT(Shell("ip -o link show type veth"), IsEmpty());
  EXPECT_FALSE(Exists("/run/netns/test-ns"));
}

TEST(TutorialTest, WorksWithNothingStarted) {
  RunTutorial();
  EXPECT_FALSE(Exists(kSocket)) << "no daemon is left behind";
  RunTutorial();
}

TEST(TutorialTest, WorksWithTheDaemon) {
  Process daemon({kNetprovd});
  daemon.WaitForLine("listening address=unix:");
  RunTutorial();
  EXPECT_EQ(daemon.Stop(SIGTERM), 0);
  EXPECT_THAT(daemon.log(), HasSubstr("CreateVeth"));
}

TEST(TutorialTest, WorksAfterTheDaemonWasKilled) {
  {
    Process daemon({kNetprovd});
    daemon.WaitForLine("listening address=unix:");
    daemon.Stop(SIGKILL);
  }
  EXPECT_TRUE(Exists(kSocket)) << "the socket of a dead daemon is left";
  RunTutorial();
}

TEST(TutorialTest, AWorkingNetworkIsOneLine) {
  ExpectPrints({"net", "create", "a"}, "Created network namespace: a\n");
  ExpectPrints({"net", "veth", "--host", "h0", "--ns", "a", "--address", "10.0.0.2/24", "--host-address", "10.0.0.1/24",
                "--gateway", "10.0.0.1"},
               "Created veth pair: h0 <-> veth0 (in a)\n");
  Shell("/usr/bin/python3 tests/kernel/echo_through.py a 10.0.0.2");
  EXPECT_THAT(Shell("ip -n a route"), HasSubstr("default via 10.0.0.1 dev veth0"));
  const Completed shown = RunCommand({kContain, "net", "show", "a"});
  EXPECT_THAT(shown.out, HasSubstr("10.0.0.2/24"));
  EXPECT_THAT(shown.out, HasSubstr("Gateways:    10.0.0.1"));
  const auto json = nlohmann::json::parse(RunCommand({kContain, "net", "show", "a", "-o", "json"}).out);
  EXPECT_EQ(json.at("veths").at(0).at("endpoint_b").at("gateways").at(0), "10.0.0.1");
  ExpectPrints({"net", "delete", "a"}, "Deleted network namespace: a\n");
}

TEST(TutorialTest, ABridgeJoinsNamespaces) {
  ExpectPrints({"net", "bridge", "create", "br0", "--address", "10.1.0.1/24"}, "Created bridge: br0\n");
  for (const auto& [name, address] : {std::pair("a", "10.1.0.2/24"), std::pair("b", "10.1.0.3/24")}) {
    const std::string port = std::string("p-") + name;
    ExpectPrints({"net", "create", name}, std::string("Created network namespace: ") + name + "\n");
    ExpectPrints({"net", "veth", "--host", port, "--bridge", "br0", "--ns", name, "--address", address},
                 "Created veth pair: " + port + " <-> veth0 (in " + name + ")\n");
  }
  Shell("/usr/bin/python3 tests/kernel/echo_through.py a 10.1.0.2");
  Shell("ip netns exec b /usr/bin/python3 tests/kernel/echo_through.py a 10.1.0.2");
  EXPECT_THAT(Shell("ip -o link show master br0"), HasSubstr("p-a"));
  const Completed shown = RunCommand({kContain, "net", "bridge", "show", "br0"});
  EXPECT_THAT(shown.out, HasSubstr("Ports:       p-a\n             p-b\n"));
  const Completed refused = RunCommand({kContain, "net", "bridge", "delete", "br0"});
  EXPECT_NE(refused.exit_code, 0);
  EXPECT_THAT(refused.err, HasSubstr("veths/p-a, veths/p-b"));
  for (const std::string name : {"a", "b"}) {
    ExpectPrints({"net", "delete", name}, "Deleted network namespace: " + name + "\n");
  }
  ExpectPrints({"net", "bridge", "delete", "br0"}, "Deleted bridge: br0\n");
  EXPECT_THAT(Shell("ip -o link show type bridge"), IsEmpty());
}

}  // namespace
}  // namespace netprov::testing
