// Every system call of every read, and of the other calls that change nothing on the host, fails once. The answer is
// then the same or an error with the right code and reason, and never one with less than there is; nothing on the host
// has changed, nothing has leaked, and the next answer is as before.
#include <sys/types.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
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
#include "tests/component/test_client.h"
#include "tests/e2e/descriptors.h"
#include "tests/e2e/failures.h"
#include "tests/e2e/host_fixture.h"
#include "tests/e2e/tracer.h"
#include "tests/testing/private_host.h"
#include "tests/testing/process.h"

namespace netprov::testing {
namespace {

using ::testing::AnyOf;
using ::testing::Contains;

constexpr char kReader[] = "reader";

// Each process of the machine is looked at by the same line of code: so many of these fail, and that of the process
// inside.
constexpr int kMostProcesses = 3;

// What a host may have besides what was asked for: a change by hand, a route and a file of nobody's, an orphan, which
// the daemon removes as it starts. Done twice, it changes nothing.
constexpr char kDisturb[] = R"sh(
ip link set h0 mtu 1400
ip route replace prohibit 10.99.0.0/16 proto 110
touch /run/netns/stale
[ -e /run/netns/orphan ] && exit
registry=$(ip -n blue -j link show lo | sed 's/.*"ifalias":"netprov:\([^:]*\):.*/\1/')
ip netns add orphan
ip -n orphan link set lo up alias "netprov:$registry:11111111-2222-4333-8444-555555555555:namespaces/orphan")sh";

// The links, addresses, routes and neighbors of the host and of each namespace.
constexpr char kLook[] = R"sh(cd /run/netns
look() {
  ip $1 -j -d addr; ip $1 -4 route show table all; ip $1 -6 route show table all; ip $1 neighbor show nud permanent
}
look
for name in *; do
  echo "$name $(stat -f -c %T "$name")"
  [ "$(stat -f -c %T "$name")" != nsfs ] || look "-n $name"
done)sh";

// Addresses of the kernel's own, and with them routes, change until it knows that they are alone.
constexpr char kSettled[] = "ip -6 addr show tentative; ip -n blue -6 addr show tentative";

// An answer as text. UNKNOWN, which the daemon never answers: it says that something could not be looked at.
struct Seen : Ending {
  std::string text;
};

// A call, and the threads that carry it out.
struct Look {
  std::string name;
  std::function<Seen(TestClient& client)> call;
  const char* threads = kReader;
};

template <typename T>
Seen SeenOf(const Reply<T>& reply) {
  return {reply, reply.value.DebugString()};
}

Seen GetNamespace(TestClient& client, v1::NamespaceView view) {
  v1::GetNamespaceRequest request;
  request.set_name("namespaces/blue");
  request.set_view(view);
  Reply<v1::Namespace> reply = client.Get(request);
  reply.value.mutable_metadata()->clear_expire_time();
  return SeenOf(reply);
}

Seen ListNamespaces(TestClient& client) {
  Reply<v1::ListNamespacesResponse> reply = client.List(v1::ListNamespacesRequest());
  for (v1::Namespace& netns : *reply.value.mutable_namespaces()) netns.mutable_metadata()->clear_expire_time();
  return SeenOf(reply);
}

// In `blue`.
template <typename Request>
auto ListInside(TestClient& client) {
  Request request;
  request.set_parent("namespaces/blue");
  return client.List(request);
}

Seen ListLinks(TestClient& client) {
  auto reply = ListInside<v1::ListLinksRequest>(client);
  for (v1::Link& link : *reply.value.mutable_links()) link.clear_statistics();
  return SeenOf(reply);
}

// The others come and go.
Seen ListPermanentNeighbors(TestClient& client) {
  auto reply = ListInside<v1::ListNeighborsRequest>(client);
  Seen seen{reply, {}};
  for (const v1::NeighborEntry& neighbor : reply.value.neighbors()) {
    if (neighbor.state() == v1::NeighborEntry::STATE_PERMANENT) absl::StrAppend(&seen.text, neighbor.DebugString());
  }
  return seen;
}

Seen RenewLease(TestClient& client) {
  Reply<v1::RenewLeaseResponse> reply = client.Renew("ci");
  reply.value.clear_expire_time();
  return SeenOf(reply);
}

Seen SeenOfReport(Reply<v1::HostReport> reply) {
  reply.value.clear_time();
  Seen seen = SeenOf(reply);
  for (const v1::Finding& finding : reply.value.findings()) {
    if (finding.kind() != v1::Finding::KIND_UNREADABLE) continue;
    seen.code = absl::StatusCode::kUnknown;
    seen.message = seen.text;
  }
  return seen;
}

const std::vector<Look>& Looks() {
  static const auto* const looks = new std::vector<Look>{
      {.name = "GetNamespace",
       .call = [](TestClient& client) { return GetNamespace(client, v1::NAMESPACE_VIEW_BASIC); }},
      {.name = "GetNamespaceWithProcesses",
       .call = [](TestClient& client) { return GetNamespace(client, v1::NAMESPACE_VIEW_FULL); }},
      {.name = "ListNamespaces", .call = ListNamespaces},
      {.name = "GetVeth", .call = [](TestClient& client) { return SeenOf(client.GetVeth("v")); }},
      {.name = "ListVeths", .call = [](TestClient& client) { return SeenOf(client.List(v1::ListVethsRequest())); }},
      {.name = "GetBridge", .call = [](TestClient& client) { return SeenOf(client.GetBridge("br")); }},
      {.name = "ListBridges", .call = [](TestClient& client) { return SeenOf(client.List(v1::ListBridgesRequest())); }},
      {.name = "ListLinks", .call = ListLinks},
      {.name = "ListAddresses",
       .call = [](TestClient& client) { return SeenOf(ListInside<v1::ListAddressesRequest>(client)); }},
      {.name = "ListRoutes",
       .call = [](TestClient& client) { return SeenOf(ListInside<v1::ListRoutesRequest>(client)); }},
      {.name = "ListNeighbors", .call = ListPermanentNeighbors},
      // Both have what they answer in memory, and the former renews on gRPC's thread too.
      {.name = "RenewLease", .call = RenewLease},
      {.name = "GetHostReport", .call = [](TestClient& client) { return SeenOfReport(client.GetReport()); }},
      {.name = "CheckHostLookingOnly",
       .call = [](TestClient& client) { return SeenOfReport(client.Check(/*look_only=*/true)); },
       .threads = "worker"},
  };
  return *looks;
}

class ReadPointTest : public HostTest, public ::testing::WithParamInterface<Look> {
 protected:
  void SetUp() override {
    HostTest::SetUp();
    StartDaemon(OneThread());
    MakeObjects();
    inside_ =
        std::make_unique<Process>(std::vector<std::string>{"nsenter", "--net=/run/netns/blue", "sleep", "infinity"});
    Shell(kDisturb);
    auto is_ready = [this] {
      return Shell(kSettled).empty() &&
             absl::StrContains(GetNamespace(*client_, v1::NAMESPACE_VIEW_FULL).text, "\"sleep\"");
    };
    const auto deadline = std::chrono::steady_clock::now() + kDeadline;
    while (!is_ready()) ASSERT_LT(std::chrono::steady_clock::now(), deadline);
    before_ = Shell(kLook);
    whole_ = Call();
    ASSERT_TRUE(whole_.ok()) << whole_.Summary() << ": " << whole_.message;
  }

  void TearDown() override {
    EXPECT_EQ(Shell(kLook), before_);
    inside_ = nullptr;
    HostTest::TearDown();
  }

  // Something of everything that these calls show.
  void MakeObjects() {
    v1::CreateNamespaceRequest netns;
    netns.set_namespace_id("blue");
    netns.mutable_namespace_()->mutable_metadata()->set_owner("ci");
    netns.mutable_namespace_()->mutable_metadata()->mutable_ttl()->set_seconds(24 * 60 * 60);
    (*netns.mutable_namespace_()->mutable_sysctls())["net.ipv4.ip_forward"] = "1";
    EXPECT_OK(client_->Create(netns));
    v1::CreateBridgeRequest bridge;
    bridge.set_bridge_id("br");
    bridge.mutable_bridge()->set_namespace_("namespaces/blue");
    bridge.mutable_bridge()->add_addresses()->set_address("10.0.8.1/24");
    bridge.mutable_bridge()->set_stp(true);
    // Else it is for a moment not known to be without a carrier.
    bridge.mutable_bridge()->set_admin_state(v1::VethEndpoint::ADMIN_STATE_DOWN);
    EXPECT_OK(client_->Create(bridge));
    v1::CreateVethRequest pair = VethRequest("v", "h0", "blue", "eth0");
    v1::VethEndpoint& end = *pair.mutable_veth()->mutable_endpoint_b();
    end.add_addresses()->set_address("10.0.0.2/24");
    end.add_addresses()->set_address("2001:db8::2/64");
    end.add_routes()->set_destination("10.1.0.0/16");
    v1::Route& blackhole = *end.add_routes();
    blackhole.set_destination("10.9.0.0/16");
    blackhole.set_type(v1::Route::TYPE_BLACKHOLE);
    v1::Neighbor& neighbor = *end.add_neighbors();
    neighbor.set_address("10.0.0.9");
    neighbor.set_mac_address("02:00:00:00:00:09");
    end.add_alternative_names("another-name-of-eth0");
    EXPECT_OK(client_->Create(pair));
  }

  Seen Call() { return GetParam().call(*client_); }

  // strace's flags, with those that say what fails.
  std::vector<std::string> Whom(const std::vector<std::string>& what = {}) const {
    std::vector<std::string> flags = what;
    for (const pid_t thread : ThreadsOf(daemon_->pid(), GetParam().threads)) {
      flags.insert(flags.end(), {"-p", absl::StrCat(thread)});
    }
    return flags;
  }

  // A namespace that may not be entered is somebody's: a list does not say more of it, and a check leaves it. A process
  // that may not be looked at is not counted.
  bool MayBeOverlooked(const SystemCall& call, int code) const {
    if (code != EACCES && code != EPERM) return false;
    if (GetParam().name == "GetNamespaceWithProcesses") {
      return call.name == "readlinkat" || absl::StrContains(call.line, "/comm\"");
    }
    return GetParam().name == "ListNamespaces" || GetParam().name == "CheckHostLookingOnly";
  }

  // Whether another process than that inside is looked at.
  bool IsOfAnother(const SystemCall& call) const {
    return call.name == "readlinkat" && !absl::StrContains(call.line, absl::StrCat("\"", inside_->pid(), "/"));
  }

  // Lets the n-th system call of that name fail during the call, and judges the answer and the next one. Returns the
  // system call as it failed; nullopt: there was none.
  std::optional<SystemCall> Fail(const std::string& name, int n, int code) {
    const std::vector<std::string> descriptors = OpenDescriptors(daemon_->pid());
    Tracer tracer(Whom({"-e", absl::StrCat("inject=", name, ":error=", strerrorname_np(code), ":when=", n)}));
    const Seen seen = Call();
    std::optional<SystemCall> failed;
    for (const SystemCall& call : tracer.Detach()) {
      if (call.injected()) failed = call;
    }
    SCOPED_TRACE(absl::StrCat("number ", n, ": ", failed.has_value() ? failed->line : name + " was not reached"));
    // As another client would ask: a process whose death is under way is there still.
    TestClient another(absl::StrCat("unix:", kSocket));
    const Seen next = GetParam().call(another);
    if (!failed.has_value() || !IsFatal(*failed)) {
      EXPECT_EQ(next.Summary(), "OK") << next.message;
      EXPECT_EQ(next.text, whole_.text);
    }
    if (!failed.has_value()) {
      EXPECT_EQ(seen.Summary(), "OK") << seen.message;
      EXPECT_EQ(seen.text, whole_.text);
      return std::nullopt;
    }
    ++tried_;
    if (IsFatal(*failed)) {
      // It may have looked once more when it had answered.
      EXPECT_THAT(seen.Summary(), AnyOf("OK", "UNAVAILABLE")) << seen.message;
      ++fatal_;
      StartAnew();
    } else if (seen.ok()) {
      if (!MayBeOverlooked(*failed, code)) {
        EXPECT_EQ(seen.text, whole_.text);
      }
      ++made_good_;
    } else {
      std::set<std::string> allowed = AllowedErrors(*failed, code);
      if (GetParam().name == "CheckHostLookingOnly") allowed.insert("UNKNOWN");
      EXPECT_THAT(allowed, Contains(seen.Summary())) << seen.message;
    }
    if (!IsFatal(*failed) && !IsOfConnection(*failed)) ExpectNoneBesides(descriptors, daemon_->pid());
    return failed;
  }

  // After the daemon has ended, with the host as it was.
  void StartAnew() {
    daemon_->Wait();
    StartDaemon(OneThread());
    Shell(kDisturb);
    before_ = Shell(kLook);
    whole_ = Call();
    ASSERT_TRUE(whole_.ok()) << whole_.Summary() << ": " << whole_.message;
  }

  std::unique_ptr<Process> inside_;
  std::string before_;
  Seen whole_;
  int tried_ = 0;
  int made_good_ = 0;
  int fatal_ = 0;
};

TEST_P(ReadPointTest, AtEverySystemCall) {
  Tracer recorder(Whom());
  ASSERT_TRUE(Call().ok());
  std::map<std::string, std::vector<SystemCall>> calls;
  for (const SystemCall& call : recorder.Detach()) {
    if (LeftAlone().contains(call.name)) continue;
    ASSERT_TRUE(Failures().contains(call.name)) << "say how this may fail: " << call.line;
    calls[call.name].push_back(call);
  }
  int system_calls = 0;
  for (const auto& [name, recorded] : calls) {
    // Until the name does not occur any more: how often depends on the state of the heap.
    for (int n = 1;; ++n) {
      const size_t index = static_cast<size_t>(n) - 1;
      if (n > kMostProcesses && index < recorded.size() && IsOfAnother(recorded[index])) continue;
      // Processes come and go, so that the number says who it was only for a while.
      if (n > kMostProcesses && index >= recorded.size() && name == "readlinkat") break;
      std::vector<int> codes = Failures().at(name);
      if (!IsLongForm()) codes = {codes[index % codes.size()]};
      if (!Fail(name, n, codes.front()).has_value()) break;
      ++system_calls;
      for (size_t i = 1; i < codes.size(); ++i) Fail(name, n, codes[i]);
      // What fails once tends to fail many times.
      ASSERT_FALSE(HasFailure());
    }
  }
  std::printf(
      "%s: %d failures of %d system calls; %d of the calls succeeded all the same, %d ended the daemon by design\n",
      GetParam().name.c_str(), tried_, system_calls, made_good_, fatal_);
}

void PrintTo(const Look& look, std::ostream* out) { *out << look.name; }

std::string NameOf(const ::testing::TestParamInfo<Look>& info) { return info.param.name; }

INSTANTIATE_TEST_SUITE_P(Each, ReadPointTest, ::testing::ValuesIn(Looks()), NameOf);

}  // namespace
}  // namespace netprov::testing
