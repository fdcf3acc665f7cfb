#include "tests/e2e/mutation.h"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <optional>
#include <thread>
#include <type_traits>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "gmock/gmock.h"
#include "nlohmann/json.hpp"
#include "tests/testing/private_host.h"

namespace netprov::testing {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

// Fixed, so that pictures of the same pair made twice are equal.
constexpr char kMacA[] = "02:00:00:00:00:0a";
constexpr char kMacB[] = "02:00:00:00:00:0b";

// In seconds. The latter is longer than any test.
constexpr int kShortestLease = 1;
constexpr int kLongLease = 24 * 60 * 60;

// Less than the minute after which the daemon looks at everything, so that it has to notice.
constexpr std::chrono::seconds kPatience(40);

// Each file at /run/netns with the file system under it, the routes that are netprov's, the permanent neighbors, the
// queueing disciplines that somebody gave, the filters, the rule set of nftables, whose elements have no order, and the
// sysctls that are set here, of the host and of each namespace, the files at /etc/netns, then the links. The kernel
// chooses a root's handle.
constexpr char kLook[] = R"sh(cd /run/netns
types="$(stat -f -c '%n %T' *)"
echo "$types"
settings="$(printf '/proc/sys/net/%s ' ipv4/ip_forward ipv4/conf/all/accept_redirects ipv6/conf/all/forwarding)"
look() {
  ip $1 -4 route show table all proto 110; ip $1 -6 route show table all proto 110
  ip $1 neighbor show nud permanent
  $2 cat $settings
  rules="$($2 nft list ruleset)"
  if [ -n "$rules" ]; then echo "$rules" | tr '{},' '\n\n\n' | sed 's/^[[:space:]]*//' | sort; fi
  disciplines="$(tc $1 qdisc show)"
  case "$disciplines" in *"qdisc "[!n]*) ;; *) return ;; esac
  echo "$disciplines" | sed '/noqueue/d; s/ [0-9a-f]*: dev / dev /; s/ refcnt [0-9]*//' | sort
  for link in $(echo "$disciplines" | sed -n 's/^qdisc clsact ffff: dev \([^ ]*\) .*/\1/p'); do
    echo "$link has $(tc $1 filter show dev "$link" ingress | grep -o 'pref [0-9]*\|mirred ([^)]*)' | uniq | tr '\n' ' ')"
  done
}
echo "host has"; look
spaces="$(echo "$types" | sed -n 's/ nsfs$//p')"
for name in $spaces; do
  echo "$name has"
  look "-n $name" "nsenter --net=$name"
done
[ ! -e /etc/netns ] || (cd /etc/netns && find . -mindepth 1 | sort && grep -r . . | sort)
echo; echo host; ip -j -d addr
for name in $spaces; do echo "$name"; ip -n "$name" -j -d addr; done)sh";

// One link of a namespace.
struct Seen {
  std::string where;
  json link;

  int index() const { return link.at("ifindex"); }
  int peer_index() const { return link.value("link_index", 0); }
};

// The name of a veth's other end, which is the link elsewhere whose index it has and that has its index.
std::string PeerOf(const Seen& link, const std::vector<Seen>& all) {
  for (const Seen& other : all) {
    if (link.link.contains("link_netnsid") && other.where != link.where && other.index() == link.peer_index() &&
        other.peer_index() == link.index()) {
      return absl::StrCat(other.where, "/", other.link.at("ifname").get<std::string>());
    }
  }
  return link.link.value("link", "");
}

std::string Describe(const Seen& seen, const std::vector<Seen>& all) {
  const json& link = seen.link;
  std::vector<std::string> words = {absl::StrCat(seen.where, "/", link.at("ifname").get<std::string>())};
  const json& flags = link.at("flags");
  words.push_back(std::find(flags.begin(), flags.end(), "UP") != flags.end() ? "up" : "down");
  words.push_back(absl::StrCat("mtu ", link.at("mtu").get<int>()));
  // That of an ifb is always the kernel's choice.
  const bool is_ifb = link.value("linkinfo", json::object()).value("info_kind", "") == "ifb";
  for (const char* key : {"address", "group", "ifalias"}) {
    if (is_ifb && absl::string_view(key) == "address") continue;
    if (link.contains(key)) words.push_back(absl::StrCat(key, " ", link.at(key).get<std::string>()));
  }
  if (link.contains("altnames")) words.push_back("also " + link.at("altnames").dump());
  if (link.contains("linkinfo")) words.push_back(link.at("linkinfo").value("info_kind", ""));
  if (link.contains("master")) {
    words.push_back("port of " + link.at("master").get<std::string>());
    const json port = link.at("linkinfo").value("info_slave_data", json::object());
    for (const char* key : {"hairpin", "isolated", "learning"}) {
      if (port.contains(key)) words.push_back(absl::StrCat(key, " ", port.at(key).dump()));
    }
  }
  if (const std::string peer = PeerOf(seen, all); !peer.empty()) words.push_back("to " + peer);
  for (const json& address : link.at("addr_info")) {
    if (address.at("scope") == "link") continue;
    words.push_back(absl::StrCat(address.at("local").get<std::string>(), "/", address.at("prefixlen").get<int>()));
  }
  return absl::StrJoin(words, " ");
}

std::string PictureOfKernel() {
  const std::pair<std::string, std::string> parts = absl::StrSplit(Shell(kLook), absl::MaxSplits("\n\n", 1));
  std::vector<Seen> links;
  std::string where;
  for (absl::string_view line : absl::StrSplit(parts.second, '\n', absl::SkipEmpty())) {
    const json parsed = json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!parsed.is_array()) {
      where = std::string(line);
      continue;
    }
    for (const json& link : parsed) links.push_back({.where = where, .link = link});
  }
  std::vector<std::string> lines;
  for (const Seen& link : links) lines.push_back(Describe(link, links));
  std::sort(lines.begin(), lines.end());
  return absl::StrCat(parts.first, "\n", absl::StrJoin(lines, "\n"), "\n");
}

v1::CreateNamespaceRequest BlueRequest(const std::string& request_id, const v1::Metadata& metadata = {}) {
  v1::CreateNamespaceRequest request;
  request.set_namespace_id("blue");
  *request.mutable_namespace_()->mutable_metadata() = metadata;
  request.set_request_id(request_id);
  return request;
}

// With both files of its own.
v1::CreateNamespaceRequest ResolvingBlueRequest(const std::string& request_id) {
  v1::CreateNamespaceRequest request = BlueRequest(request_id);
  v1::Dns& dns = *request.mutable_namespace_()->mutable_dns();
  dns.add_nameservers("10.0.0.53");
  v1::Dns::Host& host = *dns.add_hosts();
  host.set_address("10.0.0.5");
  host.add_names("db");
  return request;
}

// Of the foreign namespace.
v1::AdoptNamespaceRequest AdoptRequest(const std::string& request_id) {
  v1::AdoptNamespaceRequest request;
  request.set_name("namespaces/foreign");
  (*request.mutable_namespace_()->mutable_sysctls())["net.ipv4.ip_forward"] = "1";
  request.set_request_id(request_id);
  return request;
}

// The same with something of everything.
v1::CreateNamespaceRequest FullBlueRequest(const std::string& request_id) {
  v1::CreateNamespaceRequest request = BlueRequest(request_id);
  auto& sysctls = *request.mutable_namespace_()->mutable_sysctls();
  sysctls["net.ipv4.conf.all.accept_redirects"] = "1";
  // Turns the other one off as it is written.
  sysctls["net.ipv4.ip_forward"] = "1";
  return request;
}

v1::CreateVethRequest PairRequest(const std::string& request_id, const v1::Metadata& metadata = {}) {
  v1::CreateVethRequest request = VethRequest("v", "h0", "blue", "eth0");
  *request.mutable_veth()->mutable_metadata() = metadata;
  request.mutable_veth()->mutable_endpoint_a()->set_mac_address(kMacA);
  request.mutable_veth()->mutable_endpoint_b()->set_mac_address(kMacB);
  request.set_request_id(request_id);
  return request;
}

// With something of everything that an end can have, at both.
v1::CreateVethRequest ConfiguredPairRequest(const std::string& request_id) {
  v1::CreateVethRequest request = PairRequest(request_id);
  v1::VethEndpoint& host = *request.mutable_veth()->mutable_endpoint_a();
  host.add_addresses()->set_address("10.0.0.1/24");
  v1::Route& nowhere = *host.add_routes();
  nowhere.set_destination("10.8.0.0/16");
  nowhere.set_type(v1::Route::TYPE_PROHIBIT);
  v1::VethEndpoint& inside = *request.mutable_veth()->mutable_endpoint_b();
  inside.add_addresses()->set_address("10.0.0.2/24");
  inside.add_addresses()->set_address("2001:db8::2/64");
  inside.add_gateways("10.0.0.1");
  inside.add_routes()->set_destination("10.1.0.0/16");
  v1::Route& blackhole = *inside.add_routes();
  blackhole.set_destination("2001:db8:9::/48");
  blackhole.set_type(v1::Route::TYPE_BLACKHOLE);
  v1::Neighbor& neighbor = *inside.add_neighbors();
  neighbor.set_address("10.0.0.9");
  neighbor.set_mac_address("02:00:00:00:00:09");
  inside.add_alternative_names("another-name-of-eth0");
  return request;
}

// Makes of the configured pair another one, or of that the first again.
v1::UpdateVethRequest UpdateRequest(const std::string& request_id, bool back = false) {
  v1::UpdateVethRequest request;
  request.set_request_id(request_id);
  *request.mutable_veth() = ConfiguredPairRequest("").veth();
  request.mutable_veth()->set_name("veths/v");
  for (const char* path : {"endpoint_a.mtu", "endpoint_b"}) request.mutable_update_mask()->add_paths(path);
  v1::VethEndpoint& host = *request.mutable_veth()->mutable_endpoint_a();
  v1::VethEndpoint& inside = *request.mutable_veth()->mutable_endpoint_b();
  host.set_mtu(back ? 1500 : 1400);
  inside.set_mtu(1500);
  if (back) return request;
  inside.mutable_addresses()->DeleteSubrange(1, 1);
  inside.add_addresses()->set_address("10.0.1.2/24");
  inside.set_gateways(0, "10.0.1.1");
  inside.mutable_routes(1)->set_type(v1::Route::TYPE_UNREACHABLE);
  inside.clear_neighbors();
  inside.set_promiscuous(true);
  inside.set_alternative_names(0, "changed-name-of-eth0");
  return request;
}

// Both ends with both limits.
v1::CreateVethRequest LimitedPairRequest(const std::string& request_id) {
  v1::CreateVethRequest request = PairRequest(request_id);
  for (v1::VethEndpoint* end :
       {request.mutable_veth()->mutable_endpoint_a(), request.mutable_veth()->mutable_endpoint_b()}) {
    end->mutable_ingress_limit()->set_rate(10'000'000);
    end->mutable_egress_limit()->set_rate(20'000'000);
  }
  return request;
}

// The end inside is masqueraded, has ports of the host, and the host forwards.
v1::CreateVethRequest TranslatedPairRequest(const std::string& request_id) {
  v1::CreateVethRequest request = PairRequest(request_id);
  v1::VethEndpoint& inside = *request.mutable_veth()->mutable_endpoint_b();
  inside.add_addresses()->set_address("10.0.0.2/24");
  inside.add_addresses()->set_address("2001:db8::2/64");
  inside.set_masquerade(true);
  inside.add_port_forwards()->set_host_port(8080);
  v1::PortForward& range = *inside.add_port_forwards();
  range.set_protocol(v1::PortForward::PROTOCOL_UDP);
  range.set_host_address("10.0.0.1");
  range.set_host_port(5000);
  range.set_host_port_last(5003);
  inside.set_ip_forwarding(true);
  return request;
}

// Forwarding stays on where a pair goes.
constexpr char kForwardNoMore[] =
    "sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0 && "
    "sysctl -qw net.ipv4.conf.all.accept_redirects=1";

// With something of everything that a bridge can have.
v1::CreateBridgeRequest BridgeRequest(const std::string& request_id) {
  v1::CreateBridgeRequest request;
  request.set_bridge_id("br");
  request.set_request_id(request_id);
  v1::Bridge& bridge = *request.mutable_bridge();
  bridge.set_namespace_("namespaces/blue");
  bridge.set_interface_name("br0");
  bridge.set_mac_address("02:00:00:00:00:0c");
  bridge.set_mtu(1400);
  bridge.add_addresses()->set_address("10.0.9.1/24");
  bridge.add_alternative_names("another-name-of-br0");
  bridge.set_stp(true);
  return request;
}

// A pair whose end inside is a port of that bridge.
v1::CreateVethRequest PortRequest(const std::string& request_id) {
  v1::CreateVethRequest request = PairRequest(request_id);
  v1::VethEndpoint& inside = *request.mutable_veth()->mutable_endpoint_b();
  inside.set_bridge("bridges/br");
  inside.mutable_bridge_port()->set_isolated(true);
  return request;
}

// A macvlan inside on the pair's end of the host.
v1::CreateDeviceRequest MacvlanRequest(const std::string& request_id) {
  v1::CreateDeviceRequest request;
  request.set_device_id("m");
  request.set_request_id(request_id);
  v1::Device& device = *request.mutable_device();
  device.set_namespace_("namespaces/blue");
  device.set_interface_name("m0");
  device.set_mac_address("02:00:00:00:00:0d");
  device.set_lower_interface("h0");
  device.mutable_macvlan()->set_mode(v1::Macvlan::MODE_PRIVATE);
  device.add_addresses()->set_address("10.0.8.2/24");
  device.add_routes()->set_destination("10.8.0.0/16");
  device.add_alternative_names("another-name-of-m0");
  return request;
}

// A pair of which one end is in a namespace of somebody else's.
v1::CreateVethRequest PlacedRequest(const std::string& request_id) {
  v1::CreateVethRequest request = PairRequest(request_id);
  v1::VethEndpoint& elsewhere = *request.mutable_veth()->mutable_endpoint_a();
  elsewhere.set_netns_path("/run/netns/foreign");
  elsewhere.add_addresses()->set_address("10.0.7.1/24");
  return request;
}

template <typename T>
Answer AnswerOf(const Reply<T>& reply) {
  Answer answer{reply, {}, {}};
  if constexpr (!std::is_same_v<T, google::protobuf::Empty>) {
    // In which maps have an order.
    answer.object = reply.value.ShortDebugString();
    answer.uid = reply.value.uid();
  }
  return answer;
}

Answer DeletePair(TestClient& client, const std::string& request_id) {
  v1::DeleteVethRequest request;
  request.set_name("veths/v");
  request.set_request_id(request_id);
  return AnswerOf(client.Delete(request));
}

void ExpectOk(const Ending& ending) { EXPECT_TRUE(ending.ok()) << ending.Summary() << ": " << ending.message; }

void MakeBlue(TestClient& client) { ExpectOk(client.Create(BlueRequest(""))); }
void MakeBlueAndBridge(TestClient& client) {
  MakeBlue(client);
  ExpectOk(client.Create(BridgeRequest("")));
}
void MakePair(TestClient& client) { ExpectOk(client.Create(PairRequest(""))); }
void MakeBlueAndPair(TestClient& client) {
  MakeBlue(client);
  MakePair(client);
}
void MakeBlueAndPairWith(TestClient& client, const v1::Metadata& metadata) {
  ExpectOk(client.Create(BlueRequest("", metadata)));
  ExpectOk(client.Create(PairRequest("", metadata)));
}

v1::Metadata OwnedBy(const std::string& owner) {
  v1::Metadata metadata;
  metadata.set_owner(owner);
  return metadata;
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

// A namespace and a pair with the tags that this registry gives, of which it does not know.
constexpr char kPlantOrphans[] = R"sh(
registry=$(ip -n kept -j link show lo | sed 's/.*"ifalias":"netprov:\([^:]*\):.*/\1/')
tag() { echo "netprov:$registry:$1-2222-4333-8444-555555555555:$2"; }
ip netns add orphan
ip -n orphan link set lo up alias "$(tag 11111111 namespaces/orphan)"
ip link add o0 type veth peer name o1 netns kept
ip link set o0 group 28272 alias "$(tag 22222222 veths/orphan)"
ip -n kept link set o1 group 28272 alias "$(tag 22222222 veths/orphan)")sh";

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
    return client.GetNamespace("blue").value.state() == v1::Namespace::STATE_READY &&
           client.GetVeth("v").value.state() == v1::Veth::STATE_READY;
  };
  WaitUntil(is_ready, "all is well");
}

void AwaitExpiry(TestClient& client) {
  auto is_gone = [&client] { return client.GetVeth("v").code == absl::StatusCode::kNotFound; };
  WaitUntil(is_gone, "the lease has ended");
}

// What heals itself, and a command of somebody who disturbs it.
Mutation Heal(const std::string& name, const std::string& disturb) {
  auto make = [](TestClient& client) {
    v1::Metadata metadata;
    metadata.set_self_heal(true);
    MakeBlueAndPairWith(client, metadata);
  };
  return {.name = name,
          .call =
              [disturb](TestClient&, const std::string&) {
                Shell(disturb);
                return Answer();
              },
          .prepare = make,
          // Another one: who is disturbed again and again is healed less and less often.
          .revert =
              [make](TestClient& client) {
                ExpectOk(client.DeleteNamespace("blue"));
                make(client);
              },
          .puts_right = true,
          .done = "event=healed resource=veths/v",
          .await = AwaitReady};
}

}  // namespace

std::string PictureOf(TestClient& client) {
  std::string objects;
  std::vector<std::pair<std::string, std::string>> uids;
  Reply<v1::ListNamespacesResponse> namespaces = client.List(v1::ListNamespacesRequest());
  ExpectOk(namespaces);
  for (v1::Namespace& netns : *namespaces.value.mutable_namespaces()) {
    if (!netns.uid().empty()) uids.emplace_back(netns.uid(), absl::StrCat("<", netns.name(), ">"));
    absl::StrAppend(&objects, netns.name(), netns.managed() ? " managed " : " foreign ",
                    v1::Namespace::State_Name(netns.state()), "\n");
  }
  Reply<v1::ListVethsResponse> veths = client.List(v1::ListVethsRequest());
  ExpectOk(veths);
  for (v1::Veth& veth : *veths.value.mutable_veths()) {
    uids.emplace_back(veth.uid(), absl::StrCat("<", veth.name(), ">"));
    // The names of its ifbs.
    const std::string digits = absl::StrReplaceAll(veth.uid(), {{"-", ""}}).substr(0, 11);
    for (const char* side : {"ifba", "ifbb"}) uids.emplace_back(side + digits, absl::StrCat("<", side, ">"));
    veth.clear_uid();
    veth.clear_create_time();
    veth.mutable_metadata()->clear_expire_time();
    veth.mutable_metadata()->clear_ttl();
    for (v1::VethEndpoint* end : {veth.mutable_endpoint_a(), veth.mutable_endpoint_b()}) end->clear_ifindex();
    absl::StrAppend(&objects, veth.ShortDebugString(), "\n");
  }
  Reply<v1::ListBridgesResponse> bridges = client.List(v1::ListBridgesRequest());
  ExpectOk(bridges);
  for (v1::Bridge& bridge : *bridges.value.mutable_bridges()) {
    uids.emplace_back(bridge.uid(), absl::StrCat("<", bridge.name(), ">"));
    bridge.clear_uid();
    bridge.clear_create_time();
    bridge.clear_ifindex();
    absl::StrAppend(&objects, bridge.ShortDebugString(), "\n");
  }
  Reply<v1::ListDevicesResponse> devices = client.List(v1::ListDevicesRequest());
  ExpectOk(devices);
  for (v1::Device& device : *devices.value.mutable_devices()) {
    uids.emplace_back(device.uid(), absl::StrCat("<", device.name(), ">"));
    device.clear_uid();
    device.clear_create_time();
    device.clear_ifindex();
    absl::StrAppend(&objects, device.ShortDebugString(), "\n");
  }
  return absl::StrCat(objects, absl::StrReplaceAll(PictureOfKernel(), uids));
}

const std::vector<Mutation>& Mutations() {
  static const auto* const mutations = new std::vector<Mutation>{
      {.name = "CreateNamespace",
       .call = [](TestClient& client, const std::string& id) { return AnswerOf(client.Create(FullBlueRequest(id))); },
       .prepare = [](TestClient&) {},
       .revert = [](TestClient& client) { ExpectOk(client.DeleteNamespace("blue")); },
       .uid = [](TestClient& client) { return client.GetNamespace("blue").value.uid(); }},
      {.name = "CreateVeth",
       .call = [](TestClient& client, const std::string& id) { return AnswerOf(client.Create(PairRequest(id))); },
       .prepare = MakeBlue,
       .revert = [](TestClient& client) { ExpectOk(client.DeleteVeth("v")); },
       .uid = [](TestClient& client) { return client.GetVeth("v").value.uid(); }},
      {.name = "DeleteNamespace",
       .call =
           [](TestClient& client, const std::string& id) {
             v1::DeleteNamespaceRequest request;
             request.set_name("namespaces/blue");
             request.set_request_id(id);
             // Without, it would look at each process of the machine, a system call apiece, before the first change.
             request.set_force(true);
             return AnswerOf(client.Delete(request));
           },
       .prepare = MakeBlueAndPair,
       .revert = MakeBlueAndPair},
      {.name = "DeleteVeth", .call = DeletePair, .prepare = MakeBlueAndPair, .revert = MakePair},
      {.name = "CreateConfiguredVeth",
       .call = [](TestClient& client,
                  const std::string& id) { return AnswerOf(client.Create(ConfiguredPairRequest(id))); },
       .prepare = MakeBlue,
       .revert = [](TestClient& client) { ExpectOk(client.DeleteVeth("v")); },
       .uid = [](TestClient& client) { return client.GetVeth("v").value.uid(); }},
      {.name = "DeleteConfiguredVeth",
       .call = DeletePair,
       .prepare =
           [](TestClient& client) {
             MakeBlue(client);
             ExpectOk(client.Create(ConfiguredPairRequest("")));
           },
       .revert = [](TestClient& client) { ExpectOk(client.Create(ConfiguredPairRequest(""))); }},
      {.name = "CreateLimitedVeth",
       .call = [](TestClient& client,
                  const std::string& id) { return AnswerOf(client.Create(LimitedPairRequest(id))); },
       .prepare = MakeBlue,
       .revert = [](TestClient& client) { ExpectOk(client.DeleteVeth("v")); },
       .uid = [](TestClient& client) { return client.GetVeth("v").value.uid(); }},
      {.name = "DeleteLimitedVeth",
       .call = DeletePair,
       .prepare =
           [](TestClient& client) {
             MakeBlue(client);
             ExpectOk(client.Create(LimitedPairRequest("")));
           },
       .revert = [](TestClient& client) { ExpectOk(client.Create(LimitedPairRequest(""))); }},
      {.name = "CreateNatVeth",
       .call = [](TestClient& client,
                  const std::string& id) { return AnswerOf(client.Create(TranslatedPairRequest(id))); },
       .prepare =
           [](TestClient& client) {
             MakeBlue(client);
             Shell(kForwardNoMore);
           },
       .revert =
           [](TestClient& client) {
             ExpectOk(client.DeleteVeth("v"));
             Shell(kForwardNoMore);
           },
       .uid = [](TestClient& client) { return client.GetVeth("v").value.uid(); }},
      {.name = "CreateBridge",
       .call = [](TestClient& client, const std::string& id) { return AnswerOf(client.Create(BridgeRequest(id))); },
       .prepare = MakeBlue,
       .revert = [](TestClient& client) { ExpectOk(client.DeleteBridge("br")); },
       .uid = [](TestClient& client) { return client.GetBridge("br").value.uid(); }},
      {.name = "DeleteBridge",
       .call =
           [](TestClient& client, const std::string& id) {
             v1::DeleteBridgeRequest request;
             request.set_name("bridges/br");
             request.set_request_id(id);
             return AnswerOf(client.Delete(request));
           },
       .prepare = MakeBlueAndBridge,
       .revert = [](TestClient& client) { ExpectOk(client.Create(BridgeRequest(""))); }},
      {.name = "CreatePort",
       .call = [](TestClient& client, const std::string& id) { return AnswerOf(client.Create(PortRequest(id))); },
       .prepare = MakeBlueAndBridge,
       .revert = [](TestClient& client) { ExpectOk(client.DeleteVeth("v")); },
       .uid = [](TestClient& client) { return client.GetVeth("v").value.uid(); }},
      {.name = "CreateDevice",
       .call = [](TestClient& client, const std::string& id) { return AnswerOf(client.Create(MacvlanRequest(id))); },
       .prepare = MakeBlueAndPair,
       .revert = [](TestClient& client) { ExpectOk(client.DeleteDevice("m")); },
       .uid = [](TestClient& client) { return client.GetDevice("m").value.uid(); }},
      {.name = "CreateNamespaceWithDns",
       .call = [](TestClient& client,
                  const std::string& id) { return AnswerOf(client.Create(ResolvingBlueRequest(id))); },
       .prepare = [](TestClient&) {},
       .revert = [](TestClient& client) { ExpectOk(client.DeleteNamespace("blue")); },
       .uid = [](TestClient& client) { return client.GetNamespace("blue").value.uid(); }},
      {.name = "AdoptNamespace",
       .call = [](TestClient& client, const std::string& id) { return AnswerOf(client.Adopt(AdoptRequest(id))); },
       // Once up, the loopback link keeps an address.
       .prepare = [](TestClient&) { Shell("ip -n foreign link set lo up; ip -n foreign link set lo down"); },
       .revert =
           [](TestClient& client) {
             ExpectOk(client.ReleaseNamespace("foreign"));
             // A release leaves these.
             Shell("ip -n foreign link set lo down; ip netns exec foreign sysctl -qw net.ipv4.ip_forward=0");
           },
       .uid = [](TestClient& client) { return client.GetNamespace("foreign").value.uid(); }},
      {.name = "UpdateVeth",
       .call = [](TestClient& client, const std::string& id) { return AnswerOf(client.Update(UpdateRequest(id))); },
       .prepare =
           [](TestClient& client) {
             MakeBlue(client);
             ExpectOk(client.Create(ConfiguredPairRequest("")));
             ExpectOk(client.Update(UpdateRequest("", /*back=*/true)));
           },
       .revert = [](TestClient& client) { ExpectOk(client.Update(UpdateRequest("", /*back=*/true))); },
       .uid = [](TestClient& client) { return client.GetVeth("v").value.uid(); }},
      {.name = "CreateVethAtPath",
       .call = [](TestClient& client, const std::string& id) { return AnswerOf(client.Create(PlacedRequest(id))); },
       .prepare = MakeBlue,
       .revert = [](TestClient& client) { ExpectOk(client.DeleteVeth("v")); },
       .uid = [](TestClient& client) { return client.GetVeth("v").value.uid(); }},
      {.name = "DeleteVethAtPath",
       .call = DeletePair,
       .prepare =
           [](TestClient& client) {
             MakeBlue(client);
             ExpectOk(client.Create(PlacedRequest("")));
           },
       .revert = [](TestClient& client) { ExpectOk(client.Create(PlacedRequest(""))); }},
      {.name = "CollectGarbage",
       .call = [](TestClient& client, const std::string&) { return CollectGarbage(client); },
       .prepare =
           [](TestClient& client) {
             MakeBlueAndPairWith(client, OwnedBy("ci"));
             for (const auto& [id, owner] : {std::pair("needed", "ci"), std::pair("another", "other")}) {
               v1::CreateNamespaceRequest request;
               request.set_namespace_id(id);
               request.mutable_namespace_()->mutable_metadata()->set_owner(owner);
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
             MakeBlue(client);
             MakeLeasedPair(client, kLongLease);
           },
       .revert = [](TestClient& client) { MakeLeasedPair(client, kLongLease); },
       .arm =
           [](TestClient& client) {
             ExpectOk(client.DeleteVeth("v"));
             MakeLeasedPair(client, kShortestLease);
           },
       .done = "event=lease_expired resource=veths/v",
       .await = AwaitExpiry},
      Heal("HealChangedLink", "ip link set h0 mtu 1400"),
      Heal("HealDeletedLink", "ip link del h0"),
      Heal("HealDeletedNamespace", "ip netns delete blue"),
  };
  return *mutations;
}

std::vector<Mutation> MutationsBut(const std::set<std::string>& names) {
  std::vector<Mutation> mutations = Mutations();
  std::erase_if(mutations, [&names](const Mutation& mutation) { return names.contains(mutation.name); });
  return mutations;
}

std::string NewRequestId() {
  static int64_t calls = 0;
  return absl::StrFormat("00000000-0000-4000-8000-%012x", ++calls);
}

void MutationTest::SetUp() {
  // Foreign to netprov, and to be left alone.
  Shell("ip netns add foreign && ip -n foreign link add f0 type veth peer name f1");
  StartDaemon();
  ExpectOk(client_->CreateNamespace("kept"));
  ExpectOk(client_->Create(VethRequest("kept", "kept0", "kept", "kept1")));
  GetParam().prepare(*client_);
  before_ = Picture();
  Arm();
  if (GetParam().puts_right && GetParam().arm != nullptr) {
    ASSERT_NE(Picture(), before_);
  }
  ExpectOk(Call(NewRequestId()));
  after_ = Picture();
  ASSERT_EQ(before_ == after_, GetParam().puts_right) << before_ << after_;
  Revert();
  ASSERT_EQ(Picture(), before_);
  allowed_ = {before_, after_};
  if (GetParam().steps.empty()) return;
  for (const auto& step : GetParam().steps) {
    step(*client_);
    allowed_.insert(Picture());
  }
  ASSERT_EQ(Picture(), after_);
  Revert();
}

void MutationTest::Arm() {
  logged_ = daemon_->log().size();
  if (GetParam().arm != nullptr) GetParam().arm(*client_);
}

Answer MutationTest::Call(const std::string& request_id) {
  Answer answer = GetParam().call(*client_, request_id);
  return GetParam().done.empty() ? answer : AwaitDone();
}

Answer MutationTest::AwaitDone() {
  const std::string& done = GetParam().done;
  auto is_end = [&done](absl::string_view line) {
    if (absl::StrContains(line, done)) return true;
    // A pair can't be healed before its namespace is, which it says, and waits.
    return absl::StrContains(line, "_failed resource=") && !absl::StrContains(line, "removed or replaced by somebody");
  };
  const std::optional<std::string> line = daemon_->NextLine(logged_, is_end, kPatience);
  Answer answer;
  if (!line.has_value()) {
    ADD_FAILURE() << "the log does not say '" << done << "':\n" << daemon_->log();
    answer.code = absl::StatusCode::kDeadlineExceeded;
  } else if (line->empty()) {
    answer.code = absl::StatusCode::kUnavailable;
  } else if (!absl::StrContains(*line, done)) {
    answer.code = absl::StatusCode::kUnknown;
    answer.message = *line;
  }
  return answer;
}

Answer MutationTest::Repeat(const std::string& request_id) {
  if (GetParam().await == nullptr) return Call(request_id);
  GetParam().await(*client_);
  return {};
}

std::string MutationTest::Found() {
  if (GetParam().puts_right && GetParam().await != nullptr) GetParam().await(*client_);
  std::string found = Picture();
  // What the daemon does by itself may come between the parts of one look.
  while (GetParam().await != nullptr && !allowed_.contains(found)) {
    std::string again = Picture();
    if (again == found) break;
    found = std::move(again);
  }
  return found;
}

void MutationTest::TearDown() {
  // What failures have left to do is done at a start, and changes nothing for those who went on.
  EXPECT_EQ(daemon_->Stop(SIGTERM), 0);
  StartDaemon();
  EXPECT_EQ(Picture(), before_);
  Reply<v1::ListNamespacesResponse> namespaces = client_->List(v1::ListNamespacesRequest());
  ExpectOk(namespaces);
  for (const v1::Namespace& netns : namespaces.value.namespaces()) {
    if (netns.managed()) ExpectOk(client_->DeleteNamespace(netns.name().substr(11)));
  }
  EXPECT_EQ(Shell("ls /run/netns"), "foreign\n");
  EXPECT_EQ(Shell("[ ! -e /etc/netns ] || ls -A /etc/netns"), "");
  EXPECT_EQ(Shell("ip -o link show type veth"), "");
  EXPECT_EQ(Shell("ip -o link show type ifb"), "");
  EXPECT_EQ(daemon_->Stop(SIGTERM), 0);
  Shell("ip netns delete foreign");
}

void MutationTest::StartDaemon() {
  client_ = nullptr;
  Start({"--workers", "1"});
  EXPECT_THAT(daemon_->WaitForLine("event=recovered "), HasSubstr(" unfinished=0"));
  client_ = std::make_unique<TestClient>(absl::StrCat("unix:", kSocket));
}

bool MutationTest::Survived() {
  // Asked as a client would: a process whose death is under way is there still.
  TestClient another(absl::StrCat("unix:", kSocket));
  if (another.List(v1::ListVethsRequest()).ok()) return true;
  daemon_->Wait();
  return false;
}

void PrintTo(const Mutation& mutation, std::ostream* out) { *out << mutation.name; }

std::string NameOf(const ::testing::TestParamInfo<Mutation>& info) { return info.param.name; }

}  // namespace netprov::testing
