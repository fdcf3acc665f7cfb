// A start that makes persistent objects again after a reboot is killed wherever it makes a difference (points.h), and
// every system call of it fails once. The next start ends with all of them as they were.
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <functional>
#include <memory>
#include <optional>
#include <ostream>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/e2e/failures.h"
#include "tests/e2e/host_fixture.h"
#include "tests/e2e/picture.h"
#include "tests/e2e/points.h"
#include "tests/e2e/requests.h"
#include "tests/e2e/tracer.h"
#include "tests/testing/private_host.h"
#include "tests/testing/process.h"

namespace netprov::testing {
namespace {

using ::testing::AnyOf;
using ::testing::Each;
using ::testing::StartsWith;

constexpr char kListening[] = "listening address=";

// Nothing is there, the settings are those of every new host, and the registry and the files say what was. A vxlan has
// its number in the host, until the kernel, on its own time, destroys the namespace in which it is.
constexpr char kReboot[] = R"sh(
ip -n blue link del x0 2>/dev/null
ip link del h0 2>/dev/null
ip -br link show type ifb | while read -r ifb rest; do ip link del "$ifb"; done
nft flush ruleset
sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0
ip netns delete blue 2>/dev/null
rm -rf /var/lib/netprov /etc/netns
cp -a /run/before /var/lib/netprov
[ ! -e /run/etc ] || cp -a /run/etc /etc/netns)sh";

v1::Metadata Persistent() {
  v1::Metadata metadata;
  metadata.set_persistent(true);
  return metadata;
}

// Persistent objects in and about `blue`.
struct Objects {
  std::string name;
  std::function<void(TestClient& client)> make;
  std::set<std::string> names;
};

void PrintTo(const Objects& objects, std::ostream* out) { *out << objects.name; }
std::string NameOf(const ::testing::TestParamInfo<Objects>& info) { return info.param.name; }

const std::vector<Objects>& AllObjects() {
  static const auto* const all = new std::vector<Objects>{
      {.name = "NamespaceAndPair",
       .make =
           [](TestClient& client) {
             EXPECT_OK(client.Create(BlueRequest("", Persistent())));
             EXPECT_OK(client.Create(PairRequest("", Persistent())));
           },
       .names = {"namespaces/blue", "veths/v"}},
      // A namespace with settings and files, a bridge in it, a pair with limits and translation whose end inside is a
      // port, and another device that is one.
      {.name = "SomethingOfEverything",
       .make =
           [](TestClient& client) {
             v1::CreateNamespaceRequest blue = ResolvingBlueRequest("", Persistent());
             (*blue.mutable_namespace_()->mutable_sysctls())["net.ipv4.ip_forward"] = "1";
             EXPECT_OK(client.Create(blue));
             v1::CreateBridgeRequest bridge = BridgeRequest();
             *bridge.mutable_bridge()->mutable_metadata() = Persistent();
             EXPECT_OK(client.Create(bridge));
             v1::CreateVethRequest pair = PortRequest();
             *pair.mutable_veth()->mutable_metadata() = Persistent();
             v1::VethEndpoint& host = *pair.mutable_veth()->mutable_endpoint_a();
             host.add_addresses()->set_address("10.0.0.1/24");
             host.add_routes()->set_destination("10.8.0.0/16");
             host.mutable_ingress_limit()->set_rate(10'000'000);
             host.mutable_egress_limit()->set_rate(20'000'000);
             host.set_masquerade(true);
             host.set_ip_forwarding(true);
             EXPECT_OK(client.Create(pair));
             v1::CreateDeviceRequest vxlan = VxlanPortRequest();
             *vxlan.mutable_device()->mutable_metadata() = Persistent();
             EXPECT_OK(client.Create(vxlan));
           },
       .names = {"namespaces/blue", "bridges/br", "veths/v", "devices/x"}},
  };
  return *all;
}

class RestorePointTest : public HostTest, public ::testing::WithParamInterface<Objects> {
 protected:
  void SetUp() override {
    HostTest::SetUp();
    StartDaemon();
    GetParam().make(*client_);
    restored_ = PictureOf(*client_);
    EXPECT_EQ(daemon_->Stop(SIGTERM), 0);
    BelongToAnotherBoot();
    Shell("cp -a /var/lib/netprov /run/before; [ ! -e /etc/netns ] || cp -a /etc/netns /run/etc");
  }

  void TearDown() override {
    HostTest::TearDown();
    Shell("rm -rf /run/before /run/etc; nft flush ruleset");
  }

  // As after a start of the host.
  void Reboot() {
    client_ = nullptr;
    daemon_ = nullptr;
    Shell(kReboot);
  }

  // Starts the daemon under strace, with these flags. Whether it came to serve.
  bool StartUnderTrace(const std::vector<std::string>& flags) {
    daemon_ = StartTraced(flags);
    return daemon_->Reaches(kListening);
  }

  // The system calls of a restore, with those of the start ahead of it, and how many these are.
  std::vector<SystemCall> Record(size_t& ahead) {
    Reboot();
    EXPECT_TRUE(StartUnderTrace({}));
    daemon_->Stop(SIGKILL);
    std::vector<SystemCall> calls = CallsOfStart(ReadTrace(), ahead);
    const bool restores =
        std::any_of(calls.begin(), calls.end(), [](const SystemCall& call) { return call.name == "move_mount"; });
    EXPECT_TRUE(restores) << "it restores nothing";
    return calls;
  }

  // The points of a restore.
  std::vector<Point> PointsOfRestore(bool every) {
    size_t ahead = 0;
    const std::vector<SystemCall> calls = Record(ahead);
    return PointsIn(calls, every, ahead);
  }

  // Starts the daemon again, and expects what there was before the reboot.
  void ExpectRestored() {
    StartDaemon();
    EXPECT_EQ(PictureOf(*client_), restored_);
    EXPECT_THAT(Findings(), Each(AnyOf(StartsWith("KIND_RESTORED "), StartsWith("KIND_ROLLED_BACK "))));
  }

  std::string restored_;  // a picture
};

TEST_P(RestorePointTest, KilledAtEverySystemCall) {
  int points = 0;
  auto attempt = [&](const Point& point) {
    Reboot();
    const bool served = StartUnderTrace({"-e", absl::StrCat("inject=", point.name, ":signal=KILL:when=", point.n)});
    if (!served) ++points;
    ExpectRestored();
    return !served;
  };
  ReachAll([&] { return PointsOfRestore(IsExhaustive()); }, attempt, ShareOfRun());
  std::printf("%s: %d crash points\n", GetParam().name.c_str(), points);
}

TEST_P(RestorePointTest, EverySystemCallFails) {
  int failures = 0;
  int refused = 0;
  int reported = 0;
  std::set<std::string> whole;
  for (const std::string& name : GetParam().names) whole.insert("KIND_RESTORED " + name);
  // The objects in their diversity are made by many of the same parts: in CI what leaves something fails, in the long
  // form everything.
  const bool every = IsLongForm() || GetParam().names.size() == 2;
  auto record = [&] {
    std::vector<Point> points = ThatMayFail(PointsOfRestore(every));
    return HasFailure() ? std::vector<Point>() : points;
  };
  auto attempt = [&](const Point& point) {
    Reboot();
    const bool served = StartUnderTrace({"-e", FailAt(point)});
    const std::optional<SystemCall> failed = FailedOf(ReadTrace());
    if (!failed.has_value()) return false;
    SCOPED_TRACE(failed->line);
    ++failures;
    if (!served) {
      ++refused;
      ExpectRefusal(daemon_->log());
    } else {
      client_ = std::make_unique<TestClient>(absl::StrCat("unix:", kSocket));
      const std::vector<std::string> findings = Findings();
      if (std::set<std::string>(findings.begin(), findings.end()) == whole) {
        EXPECT_EQ(PictureOf(*client_), restored_);
      } else {
        ++reported;
      }
    }
    ExpectRestored();
    return true;
  };
  ReachAll(record, attempt, every ? Share::kMost : Share::kAll);
  EXPECT_GT(failures, 50);
  std::printf("%s: %d failures; %d kept the daemon from starting, %d were reported\n", GetParam().name.c_str(),
              failures, refused, reported);
}

INSTANTIATE_TEST_SUITE_P(Each, RestorePointTest, ::testing::ValuesIn(AllObjects()), NameOf);

}  // namespace
}  // namespace netprov::testing
