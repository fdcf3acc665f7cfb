// The mutations of the API, one call each.
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <set>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/e2e/mutation.h"
#include "tests/e2e/requests.h"
#include "tests/testing/private_host.h"

namespace netprov::testing {
namespace {

// Forwarding stays on where a pair goes.
constexpr char kForwardNoMore[] =
    "sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0 && "
    "sysctl -qw net.ipv4.conf.all.accept_redirects=1";

// The kernel asks for duplicates, but waits neither before nor after it.
constexpr char kDetectAtOnce[] =
    "ip netns exec blue sysctl -qw net.ipv6.conf.default.dad_transmits=0 "
    "net.ipv6.conf.default.router_solicitation_delay=0";

// How many namespaces are made ahead at a time. With fewer taken in a second, none is.
constexpr int kAhead = 2;
constexpr const char* kTaken[kAhead] = {"taken1", "taken2"};

// How many network namespaces the daemon has a descriptor of, besides the one where it and this process are. Its number
// is in the lock file of its registry.
size_t HeldNamespaces() {
  const std::string daemon = Shell("sed -n s/^pid=//p /var/lib/netprov/lock | tr -d '\\n'");
  std::error_code gone;
  const std::string home = std::filesystem::read_symlink("/proc/self/ns/net").string();
  std::set<std::string> held;
  for (const auto& fd : std::filesystem::directory_iterator(absl::StrCat("/proc/", daemon, "/fd"))) {
    const std::string target = std::filesystem::read_symlink(fd.path(), gone).string();
    if (absl::StartsWith(target, "net:[") && target != home) held.insert(target);
  }
  return held.size();
}

// Takes namespaces in quick succession, and waits until as many are ready. They are so for a second.
void HaveNamespacesReady(TestClient& client) {
  for (const char* id : kTaken) ExpectOk(client.DeleteNamespace(id));
  for (const char* id : kTaken) ExpectOk(client.CreateNamespace(id));
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(1);
  while (HeldNamespaces() < kAhead && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

// Something to do in a certain order, ending in a state.
using Steps = std::function<void(TestClient& client)>;

Steps Nothing() {
  return [](TestClient&) {};
}
template <typename Request>
Steps Creating(Request request) {
  return [request](TestClient& client) { ExpectOk(client.Create(request)); };
}
template <typename Request>
Steps Updating(Request request) {
  return [request](TestClient& client) { ExpectOk(client.Update(request)); };
}
template <typename Request>
Steps Deleting(Request request) {
  return [request](TestClient& client) { ExpectOk(client.Delete(request)); };
}
Steps OneAfterTheOther(std::vector<Steps> all) {
  return [all](TestClient& client) {
    for (const Steps& steps : all) steps(client);
  };
}
Steps Running(const std::string& command) {
  return [command](TestClient&) { Shell(command); };
}

std::string UidOfBlue(TestClient& client) { return client.GetNamespace("blue").value.uid(); }
std::string UidOfForeign(TestClient& client) { return client.GetNamespace("foreign").value.uid(); }
std::string UidOfPair(TestClient& client) { return client.GetVeth("v").value.uid(); }
std::string UidOfStack(TestClient& client) { return client.GetVeth("blue").value.uid(); }
std::string UidOfBridge(TestClient& client) { return client.GetBridge("br").value.uid(); }
std::string UidOfHostBridge(TestClient& client) { return client.GetBridge("hostbr").value.uid(); }
std::string UidOfMacvlan(TestClient& client) { return client.GetDevice("m").value.uid(); }
std::string UidOfIfb(TestClient& client) { return client.GetDevice("i").value.uid(); }
std::string UidOfVxlan(TestClient& client) { return client.GetDevice("x").value.uid(); }

// What the call makes is deleted by `revert`; it is made by the request that `request` gives for an id.
template <typename Request>
Mutation Create(const std::string& name, Request (*request)(const std::string& id), Steps prepare, Steps revert,
                std::string (*uid)(TestClient& client)) {
  return {.name = name,
          .call = [request](TestClient& client, const std::string& id) { return AnswerOf(client.Create(request(id))); },
          .prepare = std::move(prepare),
          .revert = std::move(revert),
          .uid = uid};
}

// What `make` makes is changed, and changed back.
template <typename Request>
Mutation Update(const std::string& name, Request (*request)(const std::string& id, bool back), Steps make,
                std::string (*uid)(TestClient& client)) {
  const Steps back = Updating(request("", /*back=*/true));
  return {.name = name,
          .call = [request](TestClient& client,
                            const std::string& id) { return AnswerOf(client.Update(request(id, /*back=*/false))); },
          // What an update asks for that was left to the kernel is asked for from then on.
          .prepare = OneAfterTheOther({make, back}),
          .revert = back,
          .uid = uid};
}

// What `make` makes, beside what `prepare` does, is deleted.
template <typename Request>
Mutation Delete(const std::string& name, Request (*request)(const std::string& id), const Steps& prepare,
                const Steps& make) {
  return {.name = name,
          .call = [request](TestClient& client, const std::string& id) { return AnswerOf(client.Delete(request(id))); },
          .prepare = OneAfterTheOther({prepare, make}),
          .revert = make};
}

}  // namespace

std::vector<Mutation> CallMutations() {
  const Steps blue = Creating(BlueRequest());
  const Steps pair = Creating(PairRequest());
  const Steps blue_and_pair = OneAfterTheOther({blue, pair});
  const Steps blue_and_bridge = OneAfterTheOther({blue, Creating(BridgeRequest())});
  const Steps blue_that_detects = OneAfterTheOther({blue, Running(kDetectAtOnce)});
  const Steps no_blue = Deleting(DeleteBlueRequest());
  const Steps no_pair = Deleting(DeletePairRequest());
  // A bridge of somebody else's takes the address of a port, unless it has one.
  const Steps foreign_bridge =
      Running("ip -n blue link add br-lan address 02:00:00:00:00:1a type bridge && ip -n blue link set br-lan up");
  const Steps forward_no_more = Running(kForwardNoMore);
  auto create_pair = [](const std::string& id) { return PairRequest(id); };
  auto bridge = [](const std::string& id) { return BridgeRequest(id); };
  auto stack = [](const std::string& id) { return StackRequest("blue", 2, id); };
  auto pair_with_blue = [](const std::string& id) {
    v1::CreateVethRequest request = PairRequest(id);
    request.set_create_namespaces(true);
    return request;
  };
  auto limited_pair = [](const std::string& id) { return LimitedPairRequest(id); };
  auto translated_pair = [](const std::string& id) { return TranslatedPairRequest(id); };
  auto resolving_blue = [](const std::string& id) { return ResolvingBlueRequest(id); };
  auto macvlan = [](const std::string& id) { return MacvlanRequest(id); };
  // Once up, the loopback link keeps an address; a release leaves what the adoption changed.
  const Steps loopback_was_up = Running("ip -n foreign link set lo up; ip -n foreign link set lo down");
  const Steps adopt = [](TestClient& client) { ExpectOk(client.Adopt(AdoptRequest())); };
  const Steps release = [](TestClient& client) {
    ExpectOk(client.Release(ReleaseRequest()));
    Shell("ip -n foreign link set lo down; ip netns exec foreign sysctl -qw net.ipv4.ip_forward=0");
  };
  Mutation created_ahead = Create(
      "CreateNamespaceMadeAhead", FullBlueRequest,
      [](TestClient& client) {
        for (const char* id : kTaken) ExpectOk(client.CreateNamespace(id));
      },
      no_blue, UidOfBlue);
  created_ahead.arm = HaveNamespacesReady;
  created_ahead.prepared = kAhead;
  created_ahead.unready = "unshare";
  return {
      Create("CreateNamespace", FullBlueRequest, Nothing(), no_blue, UidOfBlue),
      Create("CreateVeth", +create_pair, blue, no_pair, UidOfPair),
      Create("CreateVethAndNamespace", +pair_with_blue, Nothing(), no_blue, UidOfPair),
      Delete("DeleteNamespace", DeleteBlueRequest, Nothing(), blue_and_pair),
      Delete("DeleteVeth", DeletePairRequest, blue, pair),
      Create("CreateConfiguredVeth", ConfiguredPairRequest, blue, no_pair, UidOfPair),
      Update("UpdateVeth", ChangePairRequest, OneAfterTheOther({blue, Creating(ConfiguredPairRequest())}), UidOfPair),
      Delete("DeleteConfiguredVeth", DeletePairRequest, blue, Creating(ConfiguredPairRequest())),
      Create("CreateDetailedVeth", DetailedPairRequest, blue_that_detects, no_pair, UidOfPair),
      Create("CreateLimitedVeth", +limited_pair, blue, no_pair, UidOfPair),
      Update("UpdateLimits", ChangeLimitsRequest, OneAfterTheOther({blue, Creating(LimitedPairRequest())}), UidOfPair),
      Delete("DeleteLimitedVeth", DeletePairRequest, blue, Creating(LimitedPairRequest())),
      Create("CreateNatVeth", +translated_pair, OneAfterTheOther({blue, forward_no_more}),
             OneAfterTheOther({no_pair, forward_no_more}), UidOfPair),
      Update("UpdateNat", ChangeTranslationRequest, OneAfterTheOther({blue, Creating(TranslatedPairRequest())}),
             UidOfPair),
      Delete("DeleteNatVeth", DeletePairRequest, blue, Creating(TranslatedPairRequest())),
      Create("CreatePort", PortRequest, blue_and_bridge, no_pair, UidOfPair),
      Update("UpdatePort", ChangePortRequest, OneAfterTheOther({blue_and_bridge, Creating(PortRequest())}), UidOfPair),
      Update("UpdateVethToPort", JoinHostBridgeRequest, OneAfterTheOther({blue, pair, Creating(HostBridgeRequest())}),
             UidOfPair),
      Update("UpdateVethToNoPort", LeaveBridgeRequest, OneAfterTheOther({blue_and_bridge, Creating(PortRequest())}),
             UidOfPair),
      Create("CreateForeignPort", ForeignPortRequest, OneAfterTheOther({blue, foreign_bridge}), no_pair, UidOfPair),
      Update("UpdateVethToForeignPort", JoinForeignBridgeRequest,
             OneAfterTheOther({blue_and_bridge, foreign_bridge, Creating(PortRequest())}), UidOfPair),
      Update("UpdateVethToOtherPort", MovePortRequest,
             OneAfterTheOther({blue_and_bridge, Creating(OtherBridgeRequest()), Creating(PortRequest())}), UidOfPair),
      Create("CreateStack", +stack, OneAfterTheOther({Creating(StackBridgeRequest()), forward_no_more}),
             OneAfterTheOther({no_blue, forward_no_more}), UidOfStack),
      Create("CreateVethAtProcess", InsideRequest, blue, no_pair, UidOfPair),
      Create("CreateVethAtPath", PlacedRequest, blue, no_pair, UidOfPair),
      Delete("DeleteVethAtPath", DeletePairRequest, blue, Creating(PlacedRequest())),
      Create("CreateBridge", +bridge, blue, Deleting(DeleteBridgeRequest()), UidOfBridge),
      Create("CreateHostBridge", HostBridgeRequest, Nothing(), Deleting(DeleteHostBridgeRequest()), UidOfHostBridge),
      Update("UpdateBridge", ChangeBridgeRequest, blue_and_bridge, UidOfBridge),
      Delete("DeleteBridge", DeleteBridgeRequest, blue, Creating(BridgeRequest())),
      Create("CreateDevice", +macvlan, blue_and_pair, Deleting(DeleteMacvlanRequest()), UidOfMacvlan),
      Create("CreateVxlan", VxlanRequest, blue, Deleting(DeleteVxlanRequest()), UidOfVxlan),
      Update("UpdateDevice", ChangeVxlanRequest, OneAfterTheOther({blue, Creating(VxlanRequest())}), UidOfVxlan),
      Delete("DeleteDevice", DeleteMacvlanRequest, blue_and_pair, Creating(MacvlanRequest())),
      Create("CreateVxlanPort", VxlanPortRequest, blue_and_bridge, Deleting(DeleteVxlanRequest()), UidOfVxlan),
      Create("CreateIfb", IfbRequest, blue, Deleting(DeleteIfbRequest()), UidOfIfb),
      Delete("DeleteIfb", DeleteIfbRequest, blue, Creating(IfbRequest())),
      Create("CreateNamespaceWithDns", +resolving_blue, Nothing(), no_blue, UidOfBlue),
      Update("UpdateNamespace", ChangeBlueRequest, Creating(ResolvingBlueRequest()), UidOfBlue),
      Delete("DeleteNamespaceWithDns", DeleteBlueRequest, Nothing(), Creating(ResolvingBlueRequest())),
      created_ahead,
      {.name = "AdoptNamespace",
       .call = [](TestClient& client, const std::string& id) { return AnswerOf(client.Adopt(AdoptRequest(id))); },
       .prepare = loopback_was_up,
       .revert = release,
       .uid = UidOfForeign},
      {.name = "ReleaseNamespace",
       .call = [](TestClient& client, const std::string& id) { return AnswerOf(client.Release(ReleaseRequest(id))); },
       .prepare = OneAfterTheOther({loopback_was_up, adopt}),
       .revert = adopt},
  };
}

}  // namespace netprov::testing
