// Metrics of the real daemon, read by a client that is not ours.
#include <csignal>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/e2e/host_fixture.h"
#include "tests/testing/private_host.h"
#include "tests/testing/process.h"

namespace netprov::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

constexpr char kDefault[] = "127.0.0.1:28272";

// Prints the status and the body.
constexpr char kAsk[] =
    "import http.client, sys\n"
    "connection = http.client.HTTPConnection(sys.argv[1], timeout=10)\n"
    "connection.request(sys.argv[2], sys.argv[3])\n"
    "answer = connection.getresponse()\n"
    "print(answer.status)\n"
    "print(answer.read().decode(), end='')\n";

class MetricsTest : public HostTest {
 protected:
  void SetUp() override {
    HostTest::SetUp();
    Shell("ip link set lo up");
  }

  static Completed Ask(const std::string& address, const std::string& method = "GET",
                       const std::string& path = "/metrics") {
    return RunCommand({"/usr/bin/python3", "-c", kAsk, address, method, path});
  }
  static std::string Read(const std::string& address = kDefault) {
    const Completed answer = Ask(address);
    EXPECT_EQ(answer.exit_code, 0) << answer.err;
    EXPECT_THAT(answer.out, StartsWith("200\n"));
    return answer.out;
  }
  // The value of the line that begins so; empty: there is none.
  static std::string Value(const std::string& text, const std::string& sample) {
    for (const std::string& line : std::vector<std::string>(absl::StrSplit(text, '\n'))) {
      if (line.starts_with(sample + " ")) return line.substr(sample.size() + 1);
    }
    return "";
  }
};

TEST_F(MetricsTest, AreServedOnLoopbackByDefault) {
  StartDaemon();
  EXPECT_THAT(daemon_->WaitForLine("event=metrics "), HasSubstr(absl::StrCat("address=", kDefault)));
  MakeBlueWithPair();
  const std::string text = Read();
  EXPECT_EQ(Value(text, "netprov_calls_total{method=\"CreateNamespace\",code=\"OK\"}"), "1");
  EXPECT_EQ(Value(text, "netprov_objects{kind=\"veths\",condition=\"ready\"}"), "1");
  EXPECT_EQ(Value(text, "netprov_recovery_objects"), "0");
  EXPECT_EQ(Value(text, "netprov_registry_writable"), "1");
  EXPECT_EQ(Value(text, "netprov_new_namespaces_total{made=\"on_demand\"}"), "1");
  EXPECT_GE(std::stoi(Value(text, "netprov_netlink_round_trip_seconds_count{kind=\"change\"}")), 3);
  EXPECT_GE(std::stoi(Value(text, "netprov_netlink_round_trip_seconds_count{kind=\"dump\"}")), 1);
  EXPECT_GE(std::stoi(Value(text, "netprov_registry_transaction_seconds_count")), 4);
  EXPECT_THAT(text, AllOf(Not(HasSubstr("blue")), Not(HasSubstr("h0")), Not(HasSubstr("uid:"))));
  // What somebody else does shows without being asked for.
  Shell("ip link set h0 mtu 1400");
  daemon_->WaitForLine("event=drift resource=veths/v");
  EXPECT_EQ(Value(Read(), "netprov_objects{kind=\"veths\",condition=\"degraded\"}"), "1");
  // And nobody else's address is listened on.
  EXPECT_THAT(Shell("ss -Hltn"), AllOf(HasSubstr(kDefault), Not(HasSubstr("0.0.0.0:2")), Not(HasSubstr("*:2"))));
  EXPECT_EQ(Ask(kDefault, "POST").out.substr(0, 4), "405\n");
  EXPECT_EQ(Ask(kDefault, "GET", "/").out.substr(0, 4), "404\n");
}

TEST_F(MetricsTest, AreServedWhereItIsSaid) {
  StartDaemon({"--metrics", "[::1]:0"});
  const std::string line = daemon_->WaitForLine("event=metrics ");
  const std::string address = line.substr(line.find("address=") + 8);
  ASSERT_THAT(address, StartsWith("[::1]:"));
  EXPECT_THAT(Read(address), HasSubstr("\nnetprov_build_info{version=\"0.1.0\"} 1\n"));
  EXPECT_NE(Ask(kDefault).exit_code, 0);
}

TEST_F(MetricsTest, AreNotServedWhereTheyAreOff) {
  for (const char* off : {"off", ""}) {
    StartDaemon({"--metrics", off});
    EXPECT_THAT(Shell("ss -Hltn"), IsEmpty());
    EXPECT_THAT(daemon_->log(), Not(HasSubstr("event=metrics")));
  }
}

TEST_F(MetricsTest, ADefaultThatIsTakenIsSaidAndOneThatWasNamedIsAnError) {
  const Process other({"/usr/bin/python3", "-u", "-m", "http.server", "--bind", "127.0.0.1", "28272"});
  while (Shell("ss -Hltn").find(kDefault) == std::string::npos) {
  }
  EXPECT_THAT(Refusal({kNetprovd, "--metrics", kDefault}),
              AllOf(HasSubstr("--metrics"), HasSubstr(kDefault), HasSubstr("in use")));
  StartDaemon();
  EXPECT_THAT(daemon_->WaitForLine("event=metrics_unavailable"), AllOf(HasSubstr(kDefault), HasSubstr("in use")));
  MakeBlueWithPair();
}

TEST_F(MetricsTest, AScraperThatStaysDoesNotHoldUpTheEnd) {
  StartDaemon();
  daemon_->WaitForLine("event=metrics ");
  constexpr char kStay[] =
      "import socket, sys, time\n"
      "stay = socket.create_connection(('127.0.0.1', 28272))\n"
      "print('connected', file=sys.stderr, flush=True)\n"
      "time.sleep(1000)\n";
  Process stays({"/usr/bin/python3", "-c", kStay});
  stays.WaitForLine("connected");
  EXPECT_EQ(daemon_->Stop(SIGTERM), 0);
}

TEST_F(MetricsTest, HandshakesThatFailAreCounted) {
  for (const char* pki : {"/run/pki", "/run/stranger"}) {
    const Completed made =
        RunCommand({kContain, "pki", "init", "--dir", pki, "--server", "127.0.0.1", "--client", "ci"});
    ASSERT_EQ(made.exit_code, 0) << made.err;
  }
  StartDaemon({"--listen", "127.0.0.1:7001", "--tls-cert", "/run/pki/server.pem", "--tls-key",
               "/run/pki/server-key.pem", "--tls-client-ca", "/run/pki/ca.pem"});
  daemon_->WaitForLine("event=metrics ");
  EXPECT_EQ(Value(Read(), "netprov_tls_handshakes_failed_total{by=\"openssl\"}"), "0");
  EXPECT_GT(std::stod(Value(Read(), "netprov_tls_certificate_expiry_timestamp_seconds")), 1.7e9);
  auto ask = [](const std::string& pki) {
    return RunCommand({kContain, "--endpoint", "127.0.0.1:7001", "--tls-ca", "/run/pki/ca.pem", "--tls-cert",
                       pki + "/ci.pem", "--tls-key", pki + "/ci-key.pem", "--timeout", "1s", "whoami"})
        .exit_code;
  };
  EXPECT_EQ(ask("/run/pki"), 0);
  EXPECT_EQ(Value(Read(), "netprov_tls_handshakes_failed_total{by=\"openssl\"}"), "0");
  EXPECT_NE(ask("/run/stranger"), 0);
  EXPECT_GE(std::stoi(Value(Read(), "netprov_tls_handshakes_failed_total{by=\"openssl\"}")), 1);
  EXPECT_EQ(Value(Read(), "netprov_tls_handshakes_failed_total{by=\"netprovd\"}"), "0");
  Shell("rm -rf /run/pki /run/stranger");
}

}  // namespace
}  // namespace netprov::testing
