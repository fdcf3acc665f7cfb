// What one caller with a good certificate and bad manners costs another: that one is served throughout. How much later
// is printed, and no reason to fail, as it is up to what else the machine does.
#include <grpcpp/grpcpp.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "netprov/v1/namespace.grpc.pb.h"
#include "tests/e2e/daemon_fixture.h"
#include "tests/testing/private_host.h"
#include "tests/testing/process.h"

namespace netprov::testing {
namespace {

using ::testing::SizeIs;
using Clock = std::chrono::steady_clock;

constexpr char kPki[] = "/run/pki";
constexpr char kEndpoint[] = "127.0.0.1:7001";

// A caller has its limits, as whoever serves strangers will have set them.
constexpr char kPolicy[] =
    "version: 1\n"
    "rules:\n"
    "- {name: good, who: [\"cn:good\"], role: operator}\n"
    "- {name: bad, who: [\"cn:bad\"], role: viewer}\n"
    "limits:\n"
    "- {who: [\"cn:bad\"], calls_per_second: 100, burst: 100, concurrent_calls: 16}\n";

// rpc::TransportLimits::memory_bytes.
constexpr int64_t kMemoryOfConnections = 256 << 20;

constexpr int kRounds = 4;
constexpr std::chrono::milliseconds kShortPhase(500);
constexpr std::chrono::milliseconds kPace(2);

// What an attack has done of its own before it is measured.
constexpr int kFewestUnits = 20;

// At the start of a phase, until what the one before has left is done with.
constexpr std::chrono::milliseconds kSettling(100);

// As NETPROV_HOSTILE_SECONDS says, or in CI.
std::chrono::milliseconds PhaseLength() {
  const char* text = std::getenv("NETPROV_HOSTILE_SECONDS");
  int seconds = 0;
  const bool is_set = text != nullptr && absl::SimpleAtoi(text, &seconds) && seconds > 0 && seconds <= 30;
  return is_set ? std::chrono::seconds(seconds) : kShortPhase;
}

std::string Read(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// Of microseconds.
double Percentile99(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() * 99 / 100];
}

struct Attack {
  const char* name;
  int units_per_second;
  enum class End { kNone, kMayComeToOne, kIsHungUpOn };
  End end = End::kNone;  // of its connections
  bool takes_memory = false;
};

void PrintTo(const Attack& attack, std::ostream* out) { *out << attack.name; }

// What the other caller and the daemon had of the phases without an attack, or with one.
struct Side {
  std::vector<double> microseconds;  // of each call
  double cpu_seconds = 0;            // of the daemon
};

// What the attacker says that it did.
struct Deeds {
  int64_t units = 0;
  int64_t lost = 0;  // connections
};

class HostileTest : public DaemonTest, public ::testing::WithParamInterface<Attack> {
 protected:
  void SetUp() override {
    Shell(absl::StrCat("ip link set lo up; rm -rf ", kPki));
    Shell(absl::StrCat(kContain, " pki init --dir ", kPki, " --server 127.0.0.1 --client good --client bad"));
    std::ofstream("/run/policy.yaml") << kPolicy;
    Start({"--listen", kEndpoint, "--policy", "/run/policy.yaml", "--tls-cert", absl::StrCat(kPki, "/server.pem"),
           "--tls-key", absl::StrCat(kPki, "/server-key.pem"), "--tls-client-ca", absl::StrCat(kPki, "/ca.pem")});
    ASSERT_CALL_OK(CreateNamespace("blue"));
    grpc::ChannelArguments arguments;
    // As netprov's clients do.
    arguments.SetServiceConfigJSON(
        R"({"methodConfig": [{"name": [{}], "retryPolicy": {"maxAttempts": 5, "initialBackoff": "0.005s", )"
        R"("maxBackoff": "0.1s", "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]}}]})");
    const auto channel =
        grpc::CreateCustomChannel(kEndpoint,
                                  grpc::SslCredentials({.pem_root_certs = Read(absl::StrCat(kPki, "/ca.pem")),
                                                        .pem_private_key = Read(absl::StrCat(kPki, "/good-key.pem")),
                                                        .pem_cert_chain = Read(absl::StrCat(kPki, "/good.pem"))}),
                                  arguments);
    namespaces_ = v1::NamespaceService::NewStub(channel);
  }

  void TearDown() override {
    EXPECT_EQ(RunCommand({kContain, "net", "delete", "blue"}).exit_code, 0);
    EXPECT_EQ(daemon_->Stop(SIGTERM), 0);
  }

  // Reads, one at a time and each at its time, for a phase; adds what they took and what the daemon did.
  void CallForAPhase(Side& side) {
    v1::GetNamespaceRequest request;
    request.set_name("namespaces/blue");
    const Clock::time_point begin = Clock::now() + kSettling;
    const Clock::time_point end = begin + PhaseLength();
    double cpu_before = CpuSeconds();
    bool has_settled = false;
    for (Clock::time_point next = Clock::now(); next < end; next += kPace) {
      std::this_thread::sleep_until(next);
      if (!has_settled && next >= begin) {
        has_settled = true;
        cpu_before = CpuSeconds();
      }
      Context context;
      v1::Namespace response;
      const Clock::time_point start = Clock::now();
      ASSERT_CALL_OK(namespaces_->GetNamespace(&context, request, &response));
      ++calls_;
      if (!has_settled) continue;
      side.microseconds.push_back(std::chrono::duration<double, std::micro>(Clock::now() - start).count());
    }
    side.cpu_seconds += CpuSeconds() - cpu_before;
  }

  void CallUnderAttack(Side& side, Deeds& deeds) {
    const std::unique_ptr<Process> attacker = Begin();
    ASSERT_NO_FATAL_FAILURE(CallForAPhase(side));
    // Changes too.
    ASSERT_CALL_OK(CreateNamespace("red"));
    ASSERT_CALL_OK(DeleteNamespace("red"));
    ASSERT_EQ(attacker->Stop(SIGTERM), 0) << attacker->log();
    const std::string log = attacker->log();
    const size_t last = log.rfind("units=");
    ASSERT_NE(last, std::string::npos) << log;
    Deeds did;
    ASSERT_EQ(std::sscanf(log.c_str() + last, "units=%" SCNd64 " connections_lost=%" SCNd64, &did.units, &did.lost), 2)
        << log;
    // What does not get through is no attack.
    if (HasWork()) {
      EXPECT_GE(did.units, kFewestUnits) << log;
    }
    if (GetParam().end == Attack::End::kNone) {
      EXPECT_EQ(did.lost, 0) << log;
    }
    deeds.units += did.units;
    deeds.lost += did.lost;
  }

  // Processor time of the daemon, of all its threads (proc(5)).
  double CpuSeconds() {
    const std::string stat = Read(absl::StrCat("/proc/", daemon_->pid(), "/stat"));
    // The program's name, in parentheses, may have spaces in it.
    const std::vector<std::string> fields = absl::StrSplit(stat.substr(stat.rfind(')') + 2), ' ');
    return static_cast<double>(std::stoll(fields.at(11)) + std::stoll(fields.at(12))) /
           static_cast<double>(::sysconf(_SC_CLK_TCK));
  }

  // From where the daemon has seen the other caller.
  std::set<std::string> Peers() {
    std::set<std::string> peers;
    const std::string log = daemon_->log();
    for (const absl::string_view line : absl::StrSplit(log, '\n')) {
      const size_t peer = line.find(" peer=");
      if (!absl::StrContains(line, " caller=cn:good ") || peer == absl::string_view::npos) continue;
      peers.insert(std::string(line.substr(peer, line.find(' ', peer + 1) - peer)));
    }
    return peers;
  }

  // The most that the daemon has had in memory, in bytes (proc(5), VmHWM).
  int64_t PeakMemory() {
    const std::string status = Read(absl::StrCat("/proc/", daemon_->pid(), "/status"));
    return 1024 * std::stoll(status.substr(status.find("VmHWM:") + 6));
  }

  bool HasWork() const { return GetParam().units_per_second > 0; }

  // Returns once the attack has begun. From there on the attacker has what nobody else wants of the processor
  // (SCHED_IDLE): that of another machine would not be this one's, and what it takes here is not the daemon's doing.
  std::unique_ptr<Process> Begin() {
    auto attacker = std::make_unique<Process>(
        std::vector<std::string>{"/usr/bin/python3", "tests/e2e/hostile_client.py", GetParam().name, kEndpoint, kPki,
                                 "bad", absl::StrCat(GetParam().units_per_second), absl::StrCat(kFewestUnits)});
    EXPECT_TRUE(attacker->Reaches(HasWork() ? "at work" : "attacking")) << attacker->log();
    return attacker;
  }

  size_t calls_ = 0;
};

TEST_P(HostileTest, AnotherIsServed) {
  Side quiet;
  Side attacked;
  Deeds deeds;
  for (int round = -1; round < kRounds; ++round) {
    // The first one warms up, and what it took is not looked at.
    if (round == 0) {
      quiet = attacked = {};
      deeds = {};
    }
    // In turns, so that what becomes slower or faster meanwhile is no difference.
    for (const bool is_attacked : {round % 2 != 0, round % 2 == 0}) {
      if (is_attacked) {
        ASSERT_NO_FATAL_FAILURE(CallUnderAttack(attacked, deeds));
      } else {
        ASSERT_NO_FATAL_FAILURE(CallForAPhase(quiet));
      }
    }
  }
  // What netprov and its libraries need takes a part of the rest.
  EXPECT_LT(PeakMemory(), kMemoryOfConnections + (128 << 20));
  // Where memory for what comes is used up, gRPC ends connections that have no call.
  if (!GetParam().takes_memory) {
    EXPECT_THAT(Peers(), SizeIs(1)) << "it had to connect again";
  }
  if (GetParam().end == Attack::End::kIsHungUpOn) {
    EXPECT_GT(deeds.lost, 0);
    EXPECT_TRUE(absl::StrContains(daemon_->log(), "event=connection_hung_up address=127.0.0.1:"));
  }
  const double before = Percentile99(quiet.microseconds);
  const double during = Percentile99(attacked.microseconds);
  std::printf("%s p99_us=%.0f->%.0f ratio=%.2f units=%" PRId64 " connections_lost=%" PRId64
              " daemon_cpu_s=%.2f->%.2f seconds=%.1f calls=%zu peak_mb=%.0f\n",
              GetParam().name, before, during, during / before, deeds.units, deeds.lost, quiet.cpu_seconds,
              attacked.cpu_seconds, kRounds * std::chrono::duration<double>(PhaseLength()).count(), calls_,
              static_cast<double>(PeakMemory()) / (1 << 20));
}

// `none` is how far apart the two are by themselves. What is ended where it is too much, or too slow, loses
// connections.
using End = Attack::End;
INSTANTIATE_TEST_SUITE_P(Each, HostileTest,
                         ::testing::Values(Attack{"none", 0}, Attack{"resets", 2000, End::kMayComeToOne},
                                           Attack{"streams", 2000}, Attack{"unacknowledged", 4000, End::kIsHungUpOn},
                                           Attack{"headers", 500, End::kMayComeToOne}, Attack{"unbound_headers", 500},
                                           Attack{"slow_reads", 2000},
                                           Attack{"bodies", 2000, End::kMayComeToOne, /*takes_memory=*/true},
                                           Attack{"handshakes", 2000, End::kMayComeToOne}),
                         [](const auto& attack) { return std::string(attack.param.name); });

}  // namespace
}  // namespace netprov::testing
