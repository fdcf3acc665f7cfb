// The daemon as its users have it: the real binary, a real socket, the real kernel.
#include <grpcpp/grpcpp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "google/protobuf/stubs/logging.h"
#include "gtest/gtest.h"
#include "netprov/v1/namespace.grpc.pb.h"
#include "netprov/v1/veth.grpc.pb.h"
#include "tests/e2e/daemon_fixture.h"
#include "tests/testing/private_host.h"
#include "tests/testing/process.h"

namespace netprov::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;

constexpr char kRequestId[] = "0b6c9d5e-6f0e-4f39-9f0e-2f6d0c7b8a11";

TEST_F(DaemonTest, TheSocketIsForItsOwnerAndGroup) {
  struct stat status = {};
  ASSERT_EQ(::stat(kSocket, &status), 0);
  EXPECT_TRUE(S_ISSOCK(status.st_mode));
  EXPECT_EQ(status.st_mode & 0777, 0660u);
}

TEST_F(DaemonTest, NamesAreFreeAtOnceAThousandTimes) {
  for (int round = 0; round < 1000; ++round) {
    SCOPED_TRACE(round);
    ASSERT_CALL_OK(CreateNamespace("again"));
    ASSERT_CALL_OK(CreateVeth("again", "again-host", "again"));
    EXPECT_EQ(veth_.endpoint_b().interface_name(), "veth0");
    if (round % 10 == 0) {
      ASSERT_CALL_OK(DeleteVeth("again"));
      ASSERT_CALL_OK(CreateVeth("again", "again-host", "again"));
    }
    ASSERT_CALL_OK(DeleteNamespace("again"));
  }
  EXPECT_THAT(Shell("ip -o link show type veth"), IsEmpty());
  EXPECT_THAT(Shell("ip netns list"), IsEmpty());
}

TEST_F(DaemonTest, AProcessInsideDoesNotKeepTheNames) {
  for (int round = 0; round < 3; ++round) {
    ASSERT_CALL_OK(CreateNamespace("held"));
    ASSERT_CALL_OK(CreateVeth("held", "held-host", "held"));
    // Keeps the namespace of this round alive beyond the end of the test's round.
    Process inside({"ip", "netns", "exec", "held", "sh", "-c", "echo inside >&2; exec sleep 60"});
    inside.WaitForLine("inside");
    const grpc::Status refused = DeleteNamespace("held");
    EXPECT_EQ(refused.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
    EXPECT_THAT(refused.error_message(), HasSubstr(absl::StrCat("1 process inside: ", inside.pid(), " ")));
    ASSERT_CALL_OK(DeleteNamespace("held", /*force=*/true));
    EXPECT_THAT(Shell("ip -o link show type veth"), IsEmpty());
  }
}

// 10,000 names that a hostile caller may try. Each holds a mark, so that what it makes anywhere can be found.
TEST_F(DaemonTest, HostileNamesNeverLeaveTheDirectory) {
  const std::string mark = absl::StrCat("hostile", ::getpid());
  const std::vector<std::string> pieces = {"..",
                                           "/",
                                           "../",
                                           "../../",
                                           "/etc/",
                                           "/run/",
                                           std::string(1, '\0'),
                                           " ",
                                           "\n",
                                           "\t",
                                           ".",
                                           "%2F",
                                           "%2e",
                                           "\\",
                                           "\xff",
                                           "\xc3\xa9",
                                           "\xed\xa0\x80",
                                           "a",
                                           "Z",
                                           "-",
                                           "_",
                                           "$(id)",
                                           "`id`",
                                           ";",
                                           "\x1b[2J",
                                           "*",
                                           "~",
                                           "%s%n",
                                           "|",
                                           "\x7f",
                                           "0",
                                           "//",
                                           "/proc/self/root/",
                                           "...",
                                           "\r"};
  const std::string before = Shell("find /run /var/lib -not -path '/var/lib/netprov*' | sort");
  google::protobuf::SetLogHandler(nullptr);  // It would print each string that is not UTF-8.
  std::mt19937 random(20260101);
  std::set<std::string> created;
  int refused = 0;
  for (int i = 0; i < 10000; ++i) {
    std::string name;
    const size_t count = random() % 6;
    for (size_t k = 0; k < count; ++k) name += pieces[random() % pieces.size()];
    name += mark;
    for (size_t k = 0; k < random() % 4; ++k) name += pieces[random() % pieces.size()];
    if (i % 50 == 0) name += std::string(255, 'x');
    const grpc::Status status = CreateNamespace(name);
    if (status.ok()) {
      created.insert(name);
    } else if (status.error_code() == grpc::StatusCode::ALREADY_EXISTS) {
      EXPECT_TRUE(created.contains(name));
    } else {
      ++refused;
      EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << status.error_message();
      EXPECT_THAT(status.error_message(), HasSubstr("namespace_id"));
    }
  }
  EXPECT_GT(refused, 5000);
  EXPECT_GT(created.size(), 10u) << "some are harmless";

  std::set<std::string> present;
  for (const auto& entry : std::filesystem::directory_iterator("/run/netns")) {
    present.insert(entry.path().filename().string());
  }
  EXPECT_EQ(present, created);
  for (const std::string& name : created) {
    EXPECT_THAT(name, MatchesRegex("[A-Za-z0-9_][A-Za-z0-9._-]*"));
    ASSERT_CALL_OK(DeleteNamespace(name));
  }
  EXPECT_EQ(Shell("find /run /var/lib -not -path '/var/lib/netprov*' | sort"), before);
  // Others may remove files while it looks.
  EXPECT_THAT(Shell(absl::StrCat("find / -xdev -name '*", mark, "*' -not -path '/proc/*' 2>/dev/null || true")),
              IsEmpty());
}

TEST_F(DaemonTest, AKillLosesNothing) {
  ASSERT_CALL_OK(CreateNamespace("kept", kRequestId));
  const v1::Namespace kept = netns_;
  ASSERT_CALL_OK(CreateVeth("kept", "kept-host", "kept"));
  const v1::Veth veth = veth_;
  daemon_->Stop(SIGKILL);
  Start();
  {
    Context context;
    v1::GetNamespaceRequest request;
    request.set_name("namespaces/kept");
    v1::Namespace read;
    ASSERT_CALL_OK(namespaces_->GetNamespace(&context, request, &read));
    EXPECT_EQ(read.SerializeAsString(), kept.SerializeAsString());
  }
  {
    Context context;
    v1::GetVethRequest request;
    request.set_name("veths/kept");
    v1::Veth read;
    ASSERT_CALL_OK(veths_->GetVeth(&context, request, &read));
    EXPECT_EQ(read.SerializeAsString(), veth.SerializeAsString());
  }
  ASSERT_CALL_OK(CreateNamespace("kept", kRequestId));
  EXPECT_EQ(netns_.SerializeAsString(), kept.SerializeAsString())
      << "a repeat gets the first answer, also after a restart";
  ASSERT_CALL_OK(DeleteNamespace("kept"));
}

TEST_F(DaemonTest, AKillAtAnyMomentLeavesAllOrNothing) {
  std::mt19937 random(1);
  for (int round = 0; round < 30; ++round) {
    SCOPED_TRACE(round);
    // A client that is in the middle of something, and gives up soon when nobody answers.
    Process client(
        {"sh", "-c",
         absl::StrCat("for i in 1 2 3 4 5 6 7 8; do ", kContain, " --timeout 300ms --endpoint unix:", kSocket,
                      " net create k$i >/dev/null 2>&1 && ", kContain, " --timeout 300ms --endpoint unix:", kSocket,
                      " net veth --host kh$i --ns k$i --id k$i >/dev/null 2>&1 || exit 0; "
                      "[ $((i % 2)) = 1 ] || ",
                      kContain, " --timeout 300ms --endpoint unix:", kSocket,
                      " net delete k$i >/dev/null 2>&1 || exit 0; done")});
    ::usleep(random() % 150000);
    daemon_->Stop(SIGKILL);
    client.Wait();
    Start();
    // What is registered is whole, and what is there is registered.
    std::set<std::string> registered;
    Context context;
    v1::ListNamespacesResponse listed;
    ASSERT_CALL_OK(namespaces_->ListNamespaces(&context, v1::ListNamespacesRequest(), &listed));
    for (const v1::Namespace& netns : listed.namespaces()) {
      EXPECT_TRUE(netns.managed()) << netns.name();
      EXPECT_EQ(netns.state(), v1::Namespace::STATE_READY) << netns.name();
    }
    Context veth_context;
    v1::ListVethsResponse veths;
    ASSERT_CALL_OK(veths_->ListVeths(&veth_context, v1::ListVethsRequest(), &veths));
    for (const v1::Veth& veth : veths.veths()) EXPECT_EQ(veth.state(), v1::Veth::STATE_READY) << veth.name();
    const std::string links = Shell("ip -o link show type veth");
    EXPECT_EQ(std::count(links.begin(), links.end(), '\n'), veths.veths_size()) << links;
    for (const v1::Namespace& netns : listed.namespaces()) ASSERT_CALL_OK(DeleteNamespace(netns.name().substr(11)));
    EXPECT_THAT(Shell("ip -o link show type veth"), IsEmpty());
    EXPECT_THAT(Shell("ls /run/netns"), IsEmpty());
  }
}

TEST_F(DaemonTest, ATerminalThatClosesDoesNotEndIt) {
  ASSERT_EQ(::kill(daemon_->pid(), SIGHUP), 0);
  ASSERT_CALL_OK(CreateNamespace("still"));
  ASSERT_CALL_OK(DeleteNamespace("still"));
}

TEST_F(DaemonTest, StopsOnSigtermAndTakesItsSocketAlong) {
  EXPECT_EQ(daemon_->Stop(SIGTERM), 0);
  struct stat status = {};
  EXPECT_NE(::stat(kSocket, &status), 0);
}

TEST_F(DaemonTest, ASecondDaemonOnTheSameStateIsRefused) {
  const Completed second = RunCommand({kNetprovd, "--socket", "/run/other.sock"});
  EXPECT_EQ(second.exit_code, 1);
  EXPECT_THAT(second.err, HasSubstr(absl::StrCat(daemon_->pid())));
  ASSERT_CALL_OK(CreateNamespace("still"));
  ASSERT_CALL_OK(DeleteNamespace("still"));
}

TEST_F(DaemonTest, ContainDoesNotServeItselfBesideADaemon) {
  daemon_->Stop(SIGTERM);
  Process elsewhere({kNetprovd, "--socket", "/run/elsewhere.sock"});
  elsewhere.WaitForLine("listening address=unix:");
  const Completed refused = RunCommand({kContain, "--timeout", "1s", "net", "create", "blue"});
  EXPECT_NE(refused.exit_code, 0);
  EXPECT_THAT(refused.err, HasSubstr("/run/elsewhere.sock"));
  EXPECT_THAT(Shell("ls /run/netns"), IsEmpty());
}

TEST_F(DaemonTest, ContainDoesNotServeItselfInsideANamespace) {
  daemon_->Stop(SIGTERM);
  Shell(absl::StrCat(kContain, " net create outer"));
  const Completed inside = RunCommand({"ip", "netns", "exec", "outer", kContain, "net", "create", "inner"});
  EXPECT_EQ(inside.exit_code, 64 + grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(inside.err, HasSubstr("another network namespace"));
  EXPECT_THAT(Shell("ls /run/netns"), "outer\n");
  Shell(absl::StrCat(kContain, " net delete outer"));
}

TEST_F(DaemonTest, AnEndpointWhereNobodyListensIsSaidAtOnce) {
  const Completed failed =
      RunCommand({kContain, "--endpoint", "unix:/run/nobody.sock", "--timeout", "1h", "net", "list"});
  EXPECT_EQ(failed.exit_code, 64 + grpc::StatusCode::UNAVAILABLE);
  EXPECT_THAT(failed.err, HasSubstr("unix:/run/nobody.sock"));
}

TEST_F(DaemonTest, ManyContainInProcessWaitForEachOther) {
  daemon_->Stop(SIGTERM);
  Shell(absl::StrCat("for i in 1 2 3 4 5 6; do ", kContain, " net create p$i & done; wait"));
  EXPECT_THAT(Shell("ls /run/netns"), "p1\np2\np3\np4\np5\np6\n");
  Shell(absl::StrCat("for i in 1 2 3 4 5 6; do ", kContain, " net delete p$i & done; wait"));
  EXPECT_THAT(Shell("ls /run/netns"), IsEmpty());
}

TEST_F(DaemonTest, PlaintextNeedsAWordAndARule) {
  daemon_->Stop(SIGTERM);
  const Completed refused = RunCommand({kNetprovd, "--listen", "127.0.0.1:0"});
  EXPECT_NE(refused.exit_code, 0);
  EXPECT_THAT(refused.err, HasSubstr("--insecure"));

  Shell("ip link set lo up; echo '{version: 1, rules: [{who: [plaintext], role: operator}]}' >/run/policy.yaml");
  Process daemon({kNetprovd, "--listen", "127.0.0.1:0", "--insecure", "--policy", "/run/policy.yaml"});
  const std::string line = daemon.WaitForLine("listening address=127.0.0.1:");
  const std::vector<std::string> parts = absl::StrSplit(line, "address=");
  const std::string endpoint = parts.back();
  const Completed listed = RunCommand({kContain, "--endpoint", endpoint, "net", "create", "remote"});
  EXPECT_EQ(listed.exit_code, 0) << listed.err;
  EXPECT_EQ(RunCommand({kContain, "--endpoint", endpoint, "net", "delete", "remote"}).exit_code, 0);
}

TEST_F(DaemonTest, ServesAnIndependentClient) {
  ASSERT_EQ(::setenv("PYTHONPATH", "proto:third_party", 1), 0);
  const Completed client =
      RunCommand({"/usr/bin/python3", "tests/e2e/python_client.py", absl::StrCat("unix:", kSocket)});
  EXPECT_EQ(client.exit_code, 0) << client.err;
  EXPECT_EQ(client.out, "all calls answered as they should\n");
}

TEST_F(DaemonTest, RunsTheExampleOfTheClientLibrary) {
  const Completed example = RunCommand({"client/example", absl::StrCat("unix:", kSocket)});
  EXPECT_EQ(example.exit_code, 0) << example.err;
  EXPECT_THAT(example.out, Not(IsEmpty()));
  EXPECT_THAT(Shell("ls /run/netns"), IsEmpty());
}

}  // namespace
}  // namespace netprov::testing
