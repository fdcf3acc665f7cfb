// What is several transactions, or done by the daemon without a call: the collection of garbage, the check of the host,
// the end of a lease, and healing.
#include <algorithm>
#include <chrono>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/e2e/mutation.h"
#include "tests/e2e/requests.h"
#include "tests/testing/private_host.h"

namespace netprov::testing {
namespace {

// In seconds. The latter is longer than any test.
constexpr int kShortestLease = 1;
constexpr int kLongLease = 24 * 60 * 60;

// Within the shortest lease.
constexpr std::chrono::milliseconds kLookAtNew(300);

// Less than the minute after which the daemon looks at everything, so that it has to notice.
constexpr std::chrono::seconds kPatience(40);

// A namespace and a pair with the tags that this registry gives, of which it does not know.
constexpr char kPlantOrphans[] = R"sh(
registry=$(ip -n kept -j link show lo | sed 's/.*"ifalias":"netprov:\([^:]*\):.*/\1/')
tag() { echo "netprov:$registry:$1-2222-4333-8444-555555555555:$2"; }
ip netns add orphan
ip -n orphan link set lo up alias "$(tag 11111111 namespaces/orphan)"
ip link add o0 type veth peer name o1 netns kept
ip link set o0 group 28272 alias "$(tag 22222222 veths/orphan)"
ip -n kept link set o1 group 28272 alias "$(tag 22222222 veths/orphan)")sh";

// Of what is held to its limits, the link that holds the end h0 to one of them goes.
constexpr char kDeleteIfb[] = R"sh(ip link del "$(ip -br link show type ifb | sed 's/ .*//')")sh";
// nftables tells nobody, so that it is the link that makes the daemon look.
constexpr char kDropRules[] =
    "nft 'flush map inet netprov forward4_any; flush set inet netprov masquerade4'; ip link set h0 mtu 1400";
// The same with the files.
constexpr char kChangeFiles[] =
    "rm /etc/netns/blue/hosts; sed -i /nameserver/s/53/99/ /etc/netns/blue/resolv.conf; ip -n blue link set lo down";

void MakeBlueAndPairWith(TestClient& client, const v1::Metadata& metadata) {
  ExpectOk(client.Create(BlueRequest("", metadata)));
  ExpectOk(client.Create(PairRequest("", metadata)));
}

void MakeLeasedPair(TestClient& client, int ttl_seconds) {
  v1::Metadata metadata = OwnedBy("silent");
  metadata.mutable_ttl()->set_seconds(ttl_seconds);
  ExpectOk(client.Create(PairRequest("", metadata)));
}

// An answer that names failures counts as one.
template <typename T>
Answer Incomplete(const Reply<T>& reply) {
  Answer answer{reply, {}, {}};
  answer.code = absl::StatusCode::kUnknown;
  answer.message = reply.value.ShortDebugString();
  return answer;
}

Answer CollectGarbage(TestClient& client) {
  const std::vector<std::string> order = {"veths/v", "namespaces/blue"};
  v1::CollectGarbageRequest request;
  request.set_owner("ci");
  request.add_keep("namespaces/needed");
  const Reply<v1::CollectGarbageResponse> reply = client.Collect(request);
  if (reply.value.failures_size() > 0) return Incomplete(reply);
  // A repeat finds the rest.
  const auto& deleted = reply.value.deleted();
  const bool is_rest = deleted.size() <= 2 && std::equal(deleted.rbegin(), deleted.rend(), order.rbegin());
  EXPECT_TRUE(is_rest) << reply.value.ShortDebugString();
  return {reply, {}, {}};
}

Answer CheckHost(TestClient& client) {
  const Reply<v1::HostReport> reply = client.Check();
  for (const std::string& finding : FindingsOf(reply.value)) {
    if (!absl::StartsWith(finding, "KIND_ORPHAN_REMOVED ")) return Incomplete(reply);
  }
  return {reply, {}, {}};
}

// Waits until something is so, which it is unless something is broken.
void WaitUntil(const std::function<bool()>& is_so, const std::string& what) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (!is_so()) {
    if (std::chrono::steady_clock::now() > deadline) {
      ADD_FAILURE() << "it never came to be that " << what;
      return;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

void AwaitReady(TestClient& client) {
  auto is_ready = [&client] {
    const Reply<v1::ListNamespacesResponse> namespaces = client.List(v1::ListNamespacesRequest());
    const Reply<v1::ListVethsResponse> veths = client.List(v1::ListVethsRequest());
    const Reply<v1::ListBridgesResponse> bridges = client.List(v1::ListBridgesRequest());
    const Reply<v1::ListDevicesResponse> devices = client.List(v1::ListDevicesRequest());
    auto all_are = [](const auto& objects, auto ready) {
      return std::all_of(objects.begin(), objects.end(), [ready](const auto& it) { return it.state() == ready; });
    };
    return namespaces.ok() && veths.ok() && bridges.ok() && devices.ok() &&
           all_are(namespaces.value.namespaces(), v1::Namespace::STATE_READY) &&
           all_are(veths.value.veths(), v1::Veth::STATE_READY) &&
           all_are(bridges.value.bridges(), v1::Bridge::STATE_READY) &&
           all_are(devices.value.devices(), v1::Device::STATE_READY);
  };
  WaitUntil(is_ready, "all is well");
}

void AwaitExpiry(TestClient& client) {
  auto is_gone = [&client] { return client.GetVeth("v").code == absl::StatusCode::kNotFound; };
  WaitUntil(is_gone, "the lease has ended");
}

// Runs a command of which the daemon sees all or nothing: its number is in the lock file of its registry.
std::string WhileItSleeps(const std::string& command) {
  return absl::StrCat("daemon=$(sed -n s/^pid=//p /var/lib/netprov/lock); kill -STOP $daemon; ", command,
                      "; status=$?; kill -CONT $daemon; exit $status");
}

// What heals itself, a command of somebody who disturbs it, and the object that is healed last.
Mutation Heal(const std::string& name, const std::string& disturb, const std::string& healed,
              const std::function<void(TestClient& client)>& make) {
  return {.name = name,
          .call =
              [disturb](TestClient&, const std::string&) {
                Shell(WhileItSleeps(disturb));
                return Answer();
              },
          .prepare = make,
          // Another one: who is disturbed again and again is healed less and less often.
          .revert =
              [make](TestClient& client) {
                ExpectOk(client.Delete(DeleteBlueRequest()));
                make(client);
              },
          .puts_right = true,
          .done = absl::StrCat("event=healed resource=", healed),
          .await = AwaitReady};
}

Mutation HealPair(const std::string& name, const std::string& disturb,
                  v1::CreateVethRequest (*pair)(const std::string& id, const v1::Metadata& metadata)) {
  return Heal(name, disturb, "veths/v", [pair](TestClient& client) {
    ExpectOk(client.Create(BlueRequest("", SelfHealing())));
    ExpectOk(client.Create(pair("", SelfHealing())));
  });
}

}  // namespace

std::vector<Mutation> UpkeepMutations() {
  return {
      {.name = "CollectGarbage",
       .call = [](TestClient& client, const std::string&) { return CollectGarbage(client); },
       .prepare =
           [](TestClient& client) {
             MakeBlueAndPairWith(client, OwnedBy("ci"));
             for (const auto& [id, owner] : {std::pair("needed", "ci"), std::pair("another", "other")}) {
               v1::CreateNamespaceRequest request;
               request.set_namespace_id(id);
               *request.mutable_namespace_()->mutable_metadata() = OwnedBy(owner);
               ExpectOk(client.Create(request));
             }
           },
       .revert = [](TestClient& client) { MakeBlueAndPairWith(client, OwnedBy("ci")); },
       .steps = {[](TestClient& client) { ExpectOk(client.DeleteVeth("v")); },
                 [](TestClient& client) { ExpectOk(client.DeleteNamespace("blue")); }}},
      {.name = "CheckHost",
       .call = [](TestClient& client, const std::string&) { return CheckHost(client); },
       .prepare = [](TestClient&) {},
       .revert = [](TestClient&) {},
       .arm = [](TestClient&) { Shell(kPlantOrphans); },
       .puts_right = true},
      {.name = "Expiry",
       .call = [](TestClient&, const std::string&) { return Answer(); },
       .prepare =
           [](TestClient& client) {
             ExpectOk(client.Create(BlueRequest()));
             MakeLeasedPair(client, kLongLease);
           },
       .revert = [](TestClient& client) { MakeLeasedPair(client, kLongLease); },
       .arm =
           [](TestClient& client) {
             ExpectOk(client.DeleteVeth("v"));
             MakeLeasedPair(client, kShortestLease);
             // It looks at what is new first, and who watches it counts what it does then.
             std::this_thread::sleep_for(kLookAtNew);
           },
       .done = "event=lease_expired resource=veths/v",
       .await = AwaitExpiry},
      HealPair("HealChangedLink", "ip link set h0 mtu 1400", PairRequest),
      HealPair("HealDeletedLink", "ip link del h0", PairRequest),
      // Where it is healed between its unmounting and its unlinking, `ip` says that it is busy.
      HealPair("HealDeletedNamespace", "ip netns delete blue 2>/dev/null || true", PairRequest),
      HealPair("HealRates", kDeleteIfb, LimitedPairRequest),
      HealPair("HealNat", kDropRules, TranslatedPairRequest),
      Heal("HealDnsFiles", kChangeFiles, "namespaces/blue",
           [](TestClient& client) { ExpectOk(client.Create(ResolvingBlueRequest("", SelfHealing()))); }),
      Heal("HealBridge", "ip -n blue link del br0", "bridges/br",
           [](TestClient& client) {
             ExpectOk(client.Create(BlueRequest("", SelfHealing())));
             ExpectOk(client.Create(BridgeRequest("", SelfHealing())));
           }),
      Heal("HealDevice", "ip -n blue link del m0", "devices/m",
           [](TestClient& client) {
             MakeBlueAndPairWith(client, SelfHealing());
             ExpectOk(client.Create(MacvlanRequest("", SelfHealing())));
           }),
  };
}

}  // namespace netprov::testing
