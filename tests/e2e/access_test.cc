// Who may reach the daemon: over TLS from another namespace, by a policy that changes, and however many try.
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/base/unique_fd.h"
#include "tests/e2e/daemon_fixture.h"
#include "tests/testing/private_host.h"
#include "tests/testing/process.h"

namespace netprov::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr char kPki[] = "/run/pki";
constexpr char kPolicy[] = "/run/policy.yaml";

// Everything for those that `who` names.
std::string PolicyFor(const std::string& who) {
  return absl::StrCat("version: 1\nrules:\n- {name: test, who: [\"", who, "\"], role: admin}\n");
}

void Write(const std::string& path, const std::string& text) {
  std::ofstream(path + ".new") << text;
  ASSERT_EQ(::chmod((path + ".new").c_str(), 0644), 0);
  ASSERT_EQ(::rename((path + ".new").c_str(), path.c_str()), 0);
}

class AccessTest : public DaemonTest {
 protected:
  void SetUp() override { Shell(absl::StrCat("ip link set lo up; rm -rf ", kPki)); }
  void TearDown() override {
    daemon_ = nullptr;
    // What a daemon leaves that is killed.
    ::unlink(kSocket);
  }

  // Serves TLS at an address that the namespace `client` reaches through a pair.
  void StartRemote() {
    Shell(absl::StrCat(
        "ip netns add client && ip link add to-client type veth peer name eth0 netns client && "
        "ip addr add 10.9.0.1/24 dev to-client && ip link set to-client up && "
        "ip -n client addr add 10.9.0.2/24 dev eth0 && ip -n client link set eth0 up && ip -n client link set lo up"));
    Shell(absl::StrCat(kContain, " pki init --dir ", kPki, " --server 10.9.0.1 --client ci --client stranger"));
    Write(kPolicy, PolicyFor("cn:ci"));
    Start({"--listen", kEndpoint, "--policy", kPolicy, "--tls-cert", absl::StrCat(kPki, "/server.pem"), "--tls-key",
           absl::StrCat(kPki, "/server-key.pem"), "--tls-client-ca", absl::StrCat(kPki, "/ca.pem"), "--tls-crl",
           absl::StrCat(kPki, "/crl.pem")});
  }

  // `contain` inside `client`, as the caller whose certificate that is.
  static Completed ContainAs(const std::string& name, const std::vector<std::string>& arguments) {
    std::vector<std::string> command = {"ip",
                                        "netns",
                                        "exec",
                                        "client",
                                        kContain,
                                        "--endpoint",
                                        kEndpoint,
                                        "--tls-ca",
                                        absl::StrCat(kPki, "/ca.pem"),
                                        "--tls-cert",
                                        absl::StrCat(kPki, "/", name, ".pem"),
                                        "--tls-key",
                                        absl::StrCat(kPki, "/", name, "-key.pem")};
    command.insert(command.end(), arguments.begin(), arguments.end());
    return RunCommand(command);
  }

  static constexpr char kEndpoint[] = "10.9.0.1:7001";
};

TEST_F(AccessTest, ARemoteCallerIsWhoItsCertificateSays) {
  StartRemote();
  const Completed who = ContainAs("ci", {"whoami"});
  EXPECT_EQ(who.exit_code, 0) << who.err;
  EXPECT_THAT(who.out, StartsWith("You are cn:ci, calling from 10.9.0.2:"));
  const Completed created = ContainAs("ci", {"net", "veth", "--host", "far", "--ns", "blue", "--create-ns"});
  EXPECT_EQ(created.exit_code, 0) << created.err;
  EXPECT_EQ(created.out, "Created veth pair: far <-> veth0 (in blue)\n");
  EXPECT_THAT(Shell("ip -n blue link show veth0"), HasSubstr("veth0"));
  EXPECT_EQ(ContainAs("ci", {"net", "delete", "blue"}).exit_code, 0);

  const Completed stranger = ContainAs("stranger", {"net", "create", "red"});
  EXPECT_EQ(stranger.exit_code, 64 + grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_THAT(stranger.err, HasSubstr("cn:stranger may not call CreateNamespace"));
  EXPECT_EQ(ContainAs("stranger", {"whoami"}).exit_code, 0);
  Shell(absl::StrCat(kContain, " pki revoke --dir ", kPki, " ", kPki, "/stranger.pem"));
  daemon_->WaitForLine("event=reloaded what=tls");
  EXPECT_EQ(ContainAs("stranger", {"--timeout", "2s", "whoami"}).exit_code, 64 + grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(ContainAs("ci", {"whoami"}).exit_code, 0);
  // Without TLS there is nothing to talk to.
  EXPECT_NE(
      RunCommand({"ip", "netns", "exec", "client", kContain, "--endpoint", kEndpoint, "--timeout", "2s", "whoami"})
          .exit_code,
      0);
  Shell("ip link delete to-client; ip netns delete client");
}

TEST_F(AccessTest, AnIndependentClientCallsOverTlsFromAnotherNamespace) {
  StartRemote();
  ASSERT_EQ(::setenv("PYTHONPATH", "proto:third_party", 1), 0);
  const Completed client =
      RunCommand({"ip", "netns", "exec", "client", "/usr/bin/python3", "tests/e2e/python_client.py", kEndpoint, kPki,
                  "ci", absl::StrCat("/proc/", ::getpid(), "/ns/net")});
  EXPECT_EQ(client.exit_code, 0) << client.err;
  EXPECT_EQ(client.out, "all calls answered as they should\n");
  Shell("ip link delete to-client; ip netns delete client");
}

TEST_F(AccessTest, ThePolicyIsReadAgainWhenItChangesAndTheLastGoodOneStays) {
  // Of TCP, as root may do everything on the unix socket.
  Write(kPolicy, PolicyFor("plaintext"));
  Start({"--listen", "127.0.0.1:7001", "--insecure", "--policy", kPolicy});
  auto create = [](const std::string& name) {
    return RunCommand({kContain, "--endpoint", "127.0.0.1:7001", "net", "create", name}).exit_code;
  };
  EXPECT_EQ(create("a"), 0);
  Write(kPolicy, "version: 1\nrules: []\n");
  daemon_->WaitForLine("event=reloaded what=policy");
  EXPECT_EQ(create("b"), 64 + grpc::StatusCode::PERMISSION_DENIED);
  Write(kPolicy, "version: 1\nrules: [{who: [plaintext]}]\n");
  EXPECT_THAT(daemon_->WaitForLine("event=reload_failed what=policy"), HasSubstr("rules[0]: role is missing"));
  EXPECT_EQ(create("b"), 64 + grpc::StatusCode::PERMISSION_DENIED);
  const Completed doctor = RunCommand({kContain, "net", "doctor"});
  EXPECT_EQ(doctor.exit_code, 1);
  EXPECT_THAT(doctor.out, HasSubstr("Configuration is not in use (needs attention): the policy /run/policy.yaml"));
  // Root is not locked out.
  EXPECT_EQ(RunCommand({kContain, "net", "create", "root"}).exit_code, 0);
  Write(kPolicy, PolicyFor("plaintext"));
  ASSERT_EQ(::kill(daemon_->pid(), SIGHUP), 0);
  while (create("b") != 0) absl::SleepFor(absl::Milliseconds(10));
  EXPECT_EQ(RunCommand({kContain, "net", "doctor"}).exit_code, 0);
  Shell(absl::StrCat("for i in a b root; do ", kContain, " net delete $i; done"));
}

TEST_F(AccessTest, ABrokenConfigurationKeepsItFromStarting) {
  Write(kPolicy, "version: 7\nrules: []\n");
  const Completed policy = RunCommand({kNetprovd, "--policy", kPolicy});
  EXPECT_EQ(policy.exit_code, 1);
  EXPECT_THAT(policy.err, HasSubstr("/run/policy.yaml: line 1: version: must be 1"));
  const Completed tls = RunCommand({kNetprovd, "--listen", "127.0.0.1:0", "--tls-cert", "/run/x", "--tls-key", "/run/y",
                                    "--tls-client-ca", "/run/z"});
  EXPECT_EQ(tls.exit_code, 1);
  EXPECT_THAT(tls.err, HasSubstr("cannot read /run/x"));
  const Completed exposed = RunCommand({kNetprovd, "--listen", "0.0.0.0:0", "--insecure"});
  EXPECT_EQ(exposed.exit_code, 1);
  EXPECT_THAT(exposed.err, HasSubstr("without TLS"));
  EXPECT_NE(::access(kSocket, F_OK), 0);
}

// What starts a program with a socket that listens at `address`, as systemd does (sd_listen_fds(3)), in Python.
std::string Activate(const std::string& family, const std::string& address) {
  return absl::StrCat("import os, socket, sys\n", "s = socket.socket(socket.", family, ")\n", "s.bind(", address, ")\n",
                      "s.listen(8)\n"
                      "os.dup2(s.fileno(), 3)\n"
                      "os.set_inheritable(3, True)\n"
                      "os.environ['LISTEN_PID'] = str(os.getpid())\n"
                      "os.environ['LISTEN_FDS'] = '1'\n"
                      "os.execv(sys.argv[1], sys.argv[1:])\n");
}

TEST_F(AccessTest, SocketsOfWhoeverStartsItAreServedAndStay) {
  daemon_ = std::make_unique<Process>(std::vector<std::string>{
      "/usr/bin/python3", "-c", Activate("AF_UNIX", "'/run/given.sock'"), kNetprovd, "--socket", "/run/given.sock"});
  daemon_->WaitForLine("listening address=unix:/run/given.sock");
  EXPECT_EQ(RunCommand({kContain, "--endpoint", "unix:///run/given.sock", "whoami"}).exit_code, 0);
  EXPECT_EQ(daemon_->Stop(SIGTERM), 0);
  EXPECT_EQ(::access("/run/given.sock", F_OK), 0) << "it is not the daemon's to remove";
}

TEST_F(AccessTest, ASocketOfTcpThatIsGivenIsEnough) {
  const std::vector<std::string> start = {"/usr/bin/python3", "-c",       Activate("AF_INET", "('127.0.0.1', 7003)"),
                                          kNetprovd,          "--socket", ""};
  const Completed bare = RunCommand(start);
  EXPECT_EQ(bare.exit_code, 2);
  EXPECT_THAT(bare.err, HasSubstr("the socket 127.0.0.1:7003 that was handed over needs --tls-cert"));
  std::vector<std::string> open = start;
  open.push_back("--insecure");
  daemon_ = std::make_unique<Process>(open);
  daemon_->WaitForLine("listening address=127.0.0.1:7003");
  const Completed whoami = RunCommand({kContain, "--endpoint", "127.0.0.1:7003", "whoami"});
  EXPECT_EQ(whoami.exit_code, 0) << whoami.err;
  EXPECT_EQ(daemon_->Stop(SIGTERM), 0);
}

TEST_F(AccessTest, MoreConnectionsThanDescriptorsHarmNobody) {
  constexpr rlim_t kFiles = 256;
  rlimit files = {};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &files), 0);
  files.rlim_cur = files.rlim_max;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &files), 0);
  ASSERT_GT(files.rlim_cur, 11 * kFiles);
  daemon_ = std::make_unique<Process>(
      std::vector<std::string>{"prlimit", absl::StrCat("--nofile=", kFiles, ":", kFiles), kNetprovd});
  daemon_->WaitForLine("listening address=unix:");
  namespaces_ = v1::NamespaceService::NewStub(
      grpc::CreateChannel(absl::StrCat("unix:", kSocket), grpc::InsecureChannelCredentials()));
  ASSERT_CALL_OK(CreateNamespace("before"));

  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, kSocket, sizeof(address.sun_path) - 1);
  std::vector<UniqueFd> clients;
  size_t calls = 0;
  for (rlim_t i = 0; i < 10 * kFiles; ++i) {
    UniqueFd client(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(::connect(client.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0) << i;
    clients.push_back(std::move(client));
    if (i % 64 != 0) continue;
    // Who is connected is served.
    ASSERT_CALL_OK(CreateNamespace(absl::StrCat("n", i)));
    ASSERT_CALL_OK(DeleteNamespace(absl::StrCat("n", i)));
    ++calls;
  }
  daemon_->WaitForLine("event=connections_refused");
  clients.clear();
  const absl::Time left = absl::Now();
  while (RunCommand({kContain, "--timeout", "1s", "net", "delete", "before"}).exit_code != 0) {
    ASSERT_LT(absl::Now() - left, absl::Minutes(1)) << daemon_->log();
  }
  std::printf("connections=%zu calls_meanwhile=%zu answered_again_ms=%lld\n", static_cast<size_t>(10 * kFiles),
              2 * calls, static_cast<long long>(absl::ToInt64Milliseconds(absl::Now() - left)));
}

}  // namespace
}  // namespace netprov::testing
