// A daemon takes over from another one under load, or does not; and what both tell the service manager.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "client/client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/base/unique_fd.h"
#include "tests/e2e/daemon_fixture.h"
#include "tests/testing/private_host.h"
#include "tests/testing/process.h"

namespace netprov::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;

constexpr char kPki[] = "/run/pki";
constexpr char kPolicy[] = "/run/policy.yaml";
constexpr char kPlain[] = "127.0.0.1:7001";
constexpr char kWithTls[] = "127.0.0.1:7002";
constexpr char kRequestId[] = "0b6c9d5e-6f0e-4f39-9f0e-2f6d0c7b8a11";

// Where clients connect as fast as they can, none of them has to wait.
std::vector<std::string> Plain() {
  return {"--listen", kPlain, "--insecure", "--policy", kPolicy, "--max-short-connections-per-address", "0"};
}

std::vector<std::string> WithTls() {
  return {"--listen",        kWithTls,
          "--policy",        kPolicy,
          "--tls-cert",      absl::StrCat(kPki, "/server.pem"),
          "--tls-key",       absl::StrCat(kPki, "/server-key.pem"),
          "--tls-client-ca", absl::StrCat(kPki, "/ca.pem")};
}

// Whether who connects is served: a server of HTTP/2 speaks first. False: it was refused, or let go without a word.
bool IsServed(bool is_unix, int port) {
  const UniqueFd fd(::socket(is_unix ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un unix_address = {};
  unix_address.sun_family = AF_UNIX;
  std::strncpy(unix_address.sun_path, kSocket, sizeof(unix_address.sun_path) - 1);
  sockaddr_in tcp_address = {};
  tcp_address.sin_family = AF_INET;
  tcp_address.sin_port = htons(static_cast<uint16_t>(port));
  tcp_address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  // So that thousands of them leave no ports behind (tcp(7), TIME_WAIT).
  const linger reset = {.l_onoff = 1, .l_linger = 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
  const int failed = is_unix ? ::connect(fd.get(), reinterpret_cast<sockaddr*>(&unix_address), sizeof(unix_address))
                             : ::connect(fd.get(), reinterpret_cast<sockaddr*>(&tcp_address), sizeof(tcp_address));
  char first = 0;
  return failed == 0 && ::recv(fd.get(), &first, 1, 0) == 1;
}

// A connection to the daemon that does not go keeps it on its way for a while.
UniqueFd ConnectAndStay() {
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, kSocket, sizeof(address.sun_path) - 1);
  EXPECT_EQ(::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  return fd;
}

class TakeOverTest : public DaemonTest {
 protected:
  void SetUp() override {
    Shell("ip link set lo up; rm -rf /run/pki");
    std::ofstream(kPolicy) << "{version: 1, rules: [{who: [plaintext, 'cn:ci'], role: admin}]}\n";
    ASSERT_EQ(::chmod(kPolicy, 0644), 0);
  }
  void TearDown() override {
    daemon_ = nullptr;
    ::unlink(kSocket);
    Shell("for i in $(ls /run/netns 2>/dev/null); do ip netns delete $i; done; rm -rf /var/lib/netprov");
  }

  static std::unique_ptr<Process> Next(std::vector<std::string> flags) {
    flags.insert(flags.begin(), {kNetprovd, "--take-over"});
    return std::make_unique<Process>(flags);
  }

  // A new daemon takes over, and the old one ends as it should.
  void TakeOver(const std::vector<std::string>& flags) {
    std::unique_ptr<Process> next = Next(flags);
    const std::string line = next->WaitForLine("event=taken_over");
    ASSERT_THAT(line, HasSubstr(absl::StrCat("pid=", daemon_->pid(), " ")));
    waited_ += line.substr(line.rfind('=')) + " ";
    EXPECT_EQ(daemon_->Wait(), 0) << daemon_->log();
    EXPECT_THAT(daemon_->log(), HasSubstr(absl::StrCat("event=handed_over pid=", next->pid())));
    next->WaitForLine("listening address=unix:");
    daemon_ = std::move(next);
  }

  // As the client library does: gRPC's own client does not look at a connection that is idle, and learns at its next
  // call that it has gone.
  grpc::Status CreateAgain(const std::string& id, const std::string& request_id) {
    const grpc::Status status = CreateNamespace(id, request_id);
    return status.error_code() == grpc::StatusCode::UNAVAILABLE ? CreateNamespace(id, request_id) : status;
  }

  // How long each successor waited for the one before, in ms.
  std::string waited_;

  // The daemon serves, and a successor that ended without success has changed nothing.
  void ExpectItServesOn() {
    EXPECT_EQ(RunCommand({kContain, "net", "list"}).exit_code, 0);
    EXPECT_TRUE(IsServed(/*is_unix=*/false, 7001));
    struct stat file = {};
    EXPECT_EQ(::stat(kSocket, &file), 0);
  }
};

// Clients that call without a pause, and others that only connect.
class Load {
 public:
  struct Client {
    std::string endpoint;
    client::TlsOptions tls;
    bool retries = true;
  };

  explicit Load(const std::vector<Client>& clients) {
    for (const Client& client : clients) {
      auto connection = client::MakeConnection(client.endpoint, client.tls);
      EXPECT_TRUE(connection.ok()) << connection.status();
      threads_.emplace_back([this, client, connection = *std::move(connection)] { Call(client, connection); });
    }
    for (const bool is_unix : {true, false}) {
      threads_.emplace_back([this, is_unix] {
        const int port = 7001;
        while (!over_) {
          (IsServed(is_unix, port) ? connected : refused) += 1;
        }
      });
    }
  }
  ~Load() { End(); }

  void End() {
    over_ = true;
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

  std::atomic<int> connected = 0;
  std::atomic<int> refused = 0;
  std::atomic<int> calls = 0;      // with retries
  std::atomic<int> failed = 0;     // of them
  std::atomic<int> raw_calls = 0;  // without
  std::atomic<int> raw_failed = 0;
  std::atomic<int64_t> longest_us = 0;

 private:
  void Call(const Client& client, const std::shared_ptr<client::Connection>& connection) {
    const client::Client caller(connection, {.timeout = absl::Seconds(30), .retry = client.retries});
    while (!over_) {
      const absl::Time start = absl::Now();
      const absl::Status status = caller.WhoAmI().status();
      const int64_t took = absl::ToInt64Microseconds(absl::Now() - start);
      int64_t longest = longest_us;
      while (took > longest && !longest_us.compare_exchange_weak(longest, took)) {
      }
      ++(client.retries ? calls : raw_calls);
      if (status.ok()) continue;
      ++(client.retries ? failed : raw_failed);
      std::printf("retries=%d %s\n", client.retries, status.ToString().c_str());
    }
  }

  std::atomic<bool> over_ = false;
  std::vector<std::thread> threads_;
};

TEST_F(TakeOverTest, NobodyIsRefusedWhileOneTakesOverAfterAnother) {
  constexpr int kRounds = 10;
  Start(Plain());
  struct stat before = {};
  ASSERT_EQ(::stat(kSocket, &before), 0);
  const std::string unix_endpoint = absl::StrCat("unix://", kSocket);
  Load load({{unix_endpoint, {}, true},
             {unix_endpoint, {}, true},
             {unix_endpoint, {}, false},
             {kPlain, {}, true},
             {kPlain, {}, false}});
  for (int round = 0; round < kRounds; ++round) {
    SCOPED_TRACE(round);
    const int called = load.calls;
    TakeOver(Plain());
    if (HasFatalFailure()) return;
    // Each round finds them all at work.
    while (load.calls < called + 50) absl::SleepFor(absl::Milliseconds(1));
  }
  load.End();
  std::printf("hand_overs=%d connects=%d refused=%d calls=%d failed=%d raw_calls=%d raw_failed=%d longest_ms=%.1f\n",
              kRounds, load.connected.load(), load.refused.load(), load.calls.load(), load.failed.load(),
              load.raw_calls.load(), load.raw_failed.load(), static_cast<double>(load.longest_us.load()) / 1000);
  std::printf("waited_ms %s\n", waited_.c_str());
  EXPECT_EQ(load.refused, 0);
  EXPECT_EQ(load.failed, 0);
  EXPECT_LE(load.raw_failed, kRounds) << "of two clients, each of which would fail each time";
  struct stat after = {};
  ASSERT_EQ(::stat(kSocket, &after), 0);
  EXPECT_EQ(after.st_ino, before.st_ino) << "it is the same socket";
  EXPECT_EQ(after.st_mode & 07777, 0660u);
  EXPECT_EQ(after.st_gid, before.st_gid);
  EXPECT_EQ(daemon_->Stop(SIGTERM), 0);
  EXPECT_NE(::stat(kSocket, &after), 0) << "the last one removes it";
}

TEST_F(TakeOverTest, NobodyIsRefusedOverTls) {
  constexpr int kRounds = 5;
  Shell(absl::StrCat(kContain, " pki init --dir ", kPki, " --server 127.0.0.1 --client ci"));
  Start(WithTls());
  const client::TlsOptions tls = {.ca = absl::StrCat(kPki, "/ca.pem"),
                                  .certificate = absl::StrCat(kPki, "/ci.pem"),
                                  .key = absl::StrCat(kPki, "/ci-key.pem")};
  std::atomic<bool> over = false;
  std::atomic<int> calls = 0;
  std::vector<std::thread> clients;
  for (int i = 0; i < 2; ++i) {
    clients.emplace_back([&] {
      const client::Client client(*client::MakeConnection(kWithTls, tls));
      while (!over) {
        const auto answer = client.WhoAmI();
        EXPECT_TRUE(answer.ok()) << answer.status();
        ++calls;
      }
    });
  }
  for (int round = 0; round < kRounds; ++round) {
    const int called = calls;
    TakeOver(WithTls());
    // Also the one before has gone without taking the new one's files along.
    while (calls < called + 20 && !HasFailure()) absl::SleepFor(absl::Milliseconds(1));
  }
  over = true;
  for (std::thread& client : clients) client.join();
}

TEST_F(TakeOverTest, WhatWasMadeIsThereAndSoAreAnswersAndLeases) {
  Start(Plain());
  ASSERT_CALL_OK(CreateNamespace("kept", kRequestId));
  const v1::Namespace kept = netns_;
  ASSERT_CALL_OK(CreateVeth("v", "h0", "kept"));
  Shell(absl::StrCat(kContain, " net create leased --owner job --ttl 1h"));
  const std::string links = Shell("ip -o link show type veth | cut -d: -f1,2");
  TakeOver(Plain());
  ASSERT_CALL_OK(CreateAgain("kept", kRequestId));
  EXPECT_EQ(netns_.SerializeAsString(), kept.SerializeAsString()) << "a repeat gets the first answer";
  EXPECT_EQ(Shell("ip -o link show type veth | cut -d: -f1,2"), links);
  EXPECT_THAT(daemon_->log(), HasSubstr("event=recovered objects=3 findings=0 unfinished=0"));
  EXPECT_THAT(Shell(absl::StrCat(kContain, " net list -o yaml")), HasSubstr("owner: \"job\""));
  EXPECT_EQ(RunCommand({kContain, "net", "doctor", "--check"}).exit_code, 0);
  EXPECT_THAT(Shell("cat /var/lib/netprov/lock"), HasSubstr(absl::StrCat("pid=", daemon_->pid(), "\n")));
}

TEST_F(TakeOverTest, OneThatCannotServeLeavesTheOtherServing) {
  Start(Plain());
  auto why = [&](std::vector<std::string> flags) {
    flags.insert(flags.begin(), {kNetprovd, "--take-over"});
    const Completed refused = RunCommand(flags);
    EXPECT_NE(refused.exit_code, 0);
    ExpectItServesOn();
    return refused.err;
  };
  EXPECT_THAT(why({"--listen", "nowhere"}), HasSubstr("--listen"));
  EXPECT_THAT(why({"--policy", "/run/none.yaml"}), HasSubstr("/run/none.yaml"));
  EXPECT_THAT(why({"--socket-group", "no-such-group"}), HasSubstr("no group no-such-group"));
  EXPECT_THAT(why({"--listen", kWithTls, "--tls-cert", "/run/x", "--tls-key", "/run/y", "--tls-client-ca", "/run/z"}),
              HasSubstr("cannot read /run/x"));
  EXPECT_THAT(why({"--listen", "192.0.2.1:7001", "--insecure"}), HasSubstr("cannot listen on 192.0.2.1:7001"));
  EXPECT_THAT(why({"--listen", "0.0.0.0:7003", "--insecure"}), HasSubstr("without TLS"));
  EXPECT_THAT(why({"--audit-log", "/run/none/audit.log"}), HasSubstr("/run/none/audit.log"));
  EXPECT_EQ(daemon_->Stop(SIGTERM), 0);
  // None is there: it starts as ever.
  std::unique_ptr<Process> alone = Next({});
  alone->WaitForLine("listening address=unix:");
  EXPECT_EQ(alone->Stop(SIGTERM), 0);
}

// By a program that speaks as a successor does, and stops at each place.
TEST_F(TakeOverTest, ASuccessorThatDiesBeforeItGoesLeavesTheOtherServing) {
  Start(Plain());
  constexpr char kSuccessor[] =
      "import socket, sys, time\n"
      "s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n"
      "s.connect('/var/lib/netprov/take-over.sock')\n"
      "if sys.argv[1] != 'silent':\n"
      "  s.send(b'netprov-take-over 1\\nhello\\n')\n"
      "  text, fds, flags, address = socket.recv_fds(s, 65536, 16)\n"
      "  assert len(fds) == 3 and b'own=unix:/run/netprov/netprovd.sock' in text, text\n"
      "sys.stderr.write('there\\n')\n"
      "time.sleep(3600)\n";
  for (const char* how : {"silent", "offered"}) {
    Process successor({"/usr/bin/python3", "-c", kSuccessor, how});
    successor.WaitForLine("there");
    // It accepts all the while.
    ExpectItServesOn();
    EXPECT_EQ(successor.Stop(SIGKILL), 128 + SIGKILL);
    ExpectItServesOn();
  }
  TakeOver(Plain());
  ExpectItServesOn();
}

TEST_F(TakeOverTest, AnOldOneThatIsKilledOnItsWayLosesNothing) {
  Start(Plain());
  ASSERT_CALL_OK(CreateNamespace("kept", kRequestId));
  const UniqueFd deaf = ConnectAndStay();
  std::unique_ptr<Process> next = Next(Plain());
  daemon_->WaitForLine("event=handed_over");
  daemon_->Stop(SIGKILL);
  next->WaitForLine("listening address=unix:");
  daemon_ = std::move(next);
  ExpectItServesOn();
  EXPECT_THAT(Shell("ls /run/netns"), HasSubstr("kept"));
  ASSERT_CALL_OK(CreateAgain("kept", kRequestId));
}

// By a program that speaks as a predecessor does, and does not end.
TEST_F(TakeOverTest, OneThatWaitsForTheOldOneCanBeStopped) {
  constexpr char kPredecessor[] =
      "import os, socket, sys, time\n"
      "for path in '/var/lib/netprov', '/run/netprov': os.makedirs(path, 0o700, True)\n"
      "listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n"
      "listener.bind('/var/lib/netprov/take-over.sock')\n"
      "listener.listen()\n"
      "served = socket.socket(socket.AF_UNIX)\n"
      "served.bind('/run/netprov/netprovd.sock')\n"
      "served.listen()\n"
      "lock = open('/var/lib/netprov/lock', 'w')\n"
      "sys.stderr.write('there\\n')\n"
      "s, _ = listener.accept()\n"
      "s.recv(65536)\n"
      "text = b'netprov-take-over 1\\nschema=1\\nown=unix:/run/netprov/netprovd.sock\\n'\n"
      "socket.send_fds(s, [text], [served.fileno(), lock.fileno()])\n"
      "s.recv(65536)\n"
      "s.send(b'netprov-take-over 1\\ngoing\\n')\n"
      "sys.stderr.write('going\\n')\n"
      "time.sleep(3600)\n";
  Process predecessor({"/usr/bin/python3", "-c", kPredecessor});
  predecessor.WaitForLine("there");
  std::unique_ptr<Process> next = Next({});
  predecessor.WaitForLine("going");
  ASSERT_EQ(::kill(next->pid(), SIGTERM), 0);
  EXPECT_THAT(next->WaitForLine("end of netprovd"), HasSubstr(absl::StrCat("(pid ", predecessor.pid(), ")")));
  EXPECT_EQ(next->Wait(), 1);
  EXPECT_NE(::access(kSocket, F_OK), 0);
  EXPECT_EQ(predecessor.Stop(SIGKILL), 128 + SIGKILL);
}

TEST_F(TakeOverTest, AddressesAreThoseOfTheNewConfiguration) {
  Start(Plain());
  std::unique_ptr<Process> next =
      Next({"--socket", "/run/netprov/other.sock", "--listen", "127.0.0.1:7005", "--insecure", "--policy", kPolicy});
  next->WaitForLine("listening address=unix:/run/netprov/other.sock");
  next->WaitForLine("listening address=127.0.0.1:7005");
  EXPECT_EQ(daemon_->Wait(), 0);
  EXPECT_FALSE(IsServed(/*is_unix=*/false, 7001));
  EXPECT_TRUE(IsServed(/*is_unix=*/false, 7005));
  EXPECT_NE(::access(kSocket, F_OK), 0);
  EXPECT_EQ(next->Stop(SIGTERM), 0);
}

// Once the old one has gone, nobody would serve instead.
TEST_F(TakeOverTest, MetricsThatCannotBeServedAreNoReasonToEnd) {
  Start(Plain());
  const UniqueFd taken(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(7009);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::bind(taken.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  ASSERT_EQ(::listen(taken.get(), 1), 0);
  std::vector<std::string> flags = Plain();
  flags.insert(flags.end(), {"--metrics", "127.0.0.1:7009"});
  std::unique_ptr<Process> next = Next(flags);
  next->WaitForLine("listening address=unix:");
  EXPECT_THAT(next->log(), HasSubstr("event=metrics_unavailable"));
  daemon_ = std::move(next);
  ExpectItServesOn();
}

TEST_F(TakeOverTest, ASignalWhileItHandsOverDoesNotCutItsCalls) {
  Start(Plain());
  const UniqueFd deaf = ConnectAndStay();
  std::unique_ptr<Process> next = Next(Plain());
  daemon_->WaitForLine("event=handed_over");
  EXPECT_EQ(daemon_->Stop(SIGTERM), 0) << "the first signal that it gets";
  next->WaitForLine("listening address=unix:");
  daemon_ = std::move(next);
}

// It is bound ahead of the hand-over, while the new one has the privilege.
TEST_F(TakeOverTest, APortThatOnlyRootMayBindIsServed) {
  Start(Plain());
  std::unique_ptr<Process> next = Next({"--listen", "localhost:85", "--insecure", "--policy", kPolicy});
  next->WaitForLine("listening address=127.0.0.1:85");
  EXPECT_EQ(daemon_->Wait(), 0);
  EXPECT_TRUE(IsServed(/*is_unix=*/false, 85));
  EXPECT_EQ(next->Stop(SIGTERM), 0);
}

TEST_F(TakeOverTest, ItNeedsNoMoreDescriptorsThanADaemonDoes) {
  const std::vector<std::string> limited = {"prlimit", "--nofile=256:256", kNetprovd};
  daemon_ = std::make_unique<Process>(limited);
  daemon_->WaitForLine("listening address=unix:");
  std::vector<std::string> command = limited;
  command.push_back("--take-over");
  for (int round = 0; round < 3; ++round) {
    auto next = std::make_unique<Process>(command);
    next->WaitForLine("event=taken_over");
    EXPECT_EQ(daemon_->Wait(), 0);
    next->WaitForLine("listening address=unix:");
    daemon_ = std::move(next);
  }
  // None comes to be more by it.
  const std::string descriptors = absl::StrCat("ls /proc/", daemon_->pid(), "/fd | wc -l");
  EXPECT_LT(std::stoi(Shell(descriptors)), 64);
  EXPECT_EQ(RunCommand({kContain, "net", "list"}).exit_code, 0);
}

TEST_F(TakeOverTest, CommandsDoNotComeBetween) {
  Start();
  std::atomic<bool> over = false;
  std::thread commands([&] {
    while (!over) {
      // Without an endpoint it serves itself where no daemon listens.
      const Completed listed = RunCommand({kContain, "net", "list"});
      EXPECT_EQ(listed.exit_code, 0) << listed.err;
    }
  });
  for (int round = 0; round < 3; ++round) TakeOver({});
  over = true;
  commands.join();
}

// The service manager's end (sd_notify(3)).
class NotifyTest : public TakeOverTest {
 protected:
  void SetUp() override {
    TakeOverTest::SetUp();
    ::unlink(kNotify);
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, kNotify, sizeof(address.sun_path) - 1);
    socket_ = UniqueFd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(::bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    const int on = 1;
    ASSERT_EQ(::setsockopt(socket_.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)), 0);
    ASSERT_EQ(::setenv("NOTIFY_SOCKET", kNotify, 1), 0);
  }
  void TearDown() override {
    ::unsetenv("NOTIFY_SOCKET");
    TakeOverTest::TearDown();
  }

  // The next message and who sent it.
  std::pair<pid_t, std::string> Receive() {
    std::array<char, 1024> text;
    iovec part = {.iov_base = text.data(), .iov_len = text.size()};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(ucred))> control;
    msghdr message = {};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t size = ::recvmsg(socket_.get(), &message, 0);
    ucred sender = {};
    if (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr) {
      std::memcpy(&sender, CMSG_DATA(header), sizeof(sender));
    }
    return {sender.pid, std::string(text.data(), size > 0 ? size : 0)};
  }

  static constexpr char kNotify[] = "/run/notify.sock";
  UniqueFd socket_;
};

int64_t MonotonicMicroseconds() {
  timespec now = {};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * int64_t{1'000'000} + now.tv_nsec / 1000;
}

TEST_F(NotifyTest, ItSaysWhenItServesReadsAgainAndEnds) {
  Start();
  const std::pair<pid_t, std::string> ready = {daemon_->pid(), absl::StrCat("READY=1\nSTATUS=Serving unix:", kSocket)};
  EXPECT_EQ(Receive(), ready);
  const int64_t before = MonotonicMicroseconds();
  ASSERT_EQ(::kill(daemon_->pid(), SIGHUP), 0);
  const std::string reloading = Receive().second;
  const int64_t after = MonotonicMicroseconds();
  // Type=notify-reload waits for a READY=1 that follows the reload by this time.
  ASSERT_THAT(reloading, MatchesRegex("RELOADING=1\nMONOTONIC_USEC=[0-9]+"));
  const int64_t said = std::stoll(reloading.substr(reloading.rfind('=') + 1));
  EXPECT_GE(said, before);
  EXPECT_LE(said, after);
  EXPECT_EQ(Receive(), ready);
  EXPECT_EQ(daemon_->Stop(SIGTERM), 0);
  EXPECT_EQ(Receive().second, "STOPPING=1");
}

TEST_F(NotifyTest, TheOldOneNamesTheNewOneAsTheMainProcess) {
  Start();
  EXPECT_THAT(Receive().second, HasSubstr("READY=1"));
  const pid_t old = daemon_->pid();
  TakeOver({});
  const std::pair<pid_t, std::string> named = {old, absl::StrCat("MAINPID=", daemon_->pid())};
  EXPECT_EQ(Receive(), named) << "which systemd takes from the main process alone";
  const auto [sender, text] = Receive();
  EXPECT_EQ(sender, daemon_->pid());
  EXPECT_THAT(text, HasSubstr("READY=1")) << "and nobody said that the service stops";
}

}  // namespace
}  // namespace netprov::testing
