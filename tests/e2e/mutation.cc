#include "tests/e2e/mutation.h"

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
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

// Each file at /run/netns with the file system under it, then the links of the host and of each namespace.
constexpr char kLook[] = R"sh(cd /run/netns
for name in *; do echo "$name $(stat -f -c %T "$name")"; done
echo; echo host; ip -j -d addr
for name in *; do
  if [ "$(stat -f -c %T "$name")" = nsfs ]; then echo "$name"; ip -n "$name" -j -d addr; fi
done)sh";

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
  for (const char* key : {"address", "group", "ifalias"}) {
    if (link.contains(key)) words.push_back(absl::StrCat(key, " ", link.at(key).get<std::string>()));
  }
  if (link.contains("linkinfo")) words.push_back(link.at("linkinfo").value("info_kind", ""));
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

v1::CreateNamespaceRequest BlueRequest(const std::string& request_id) {
  v1::CreateNamespaceRequest request;
  request.set_namespace_id("blue");
  request.set_request_id(request_id);
  return request;
}

v1::CreateVethRequest PairRequest(const std::string& request_id) {
  v1::CreateVethRequest request = VethRequest("v", "h0", "blue", "eth0");
  request.mutable_veth()->mutable_endpoint_a()->set_mac_address(kMacA);
  request.mutable_veth()->mutable_endpoint_b()->set_mac_address(kMacB);
  request.set_request_id(request_id);
  return request;
}

template <typename T>
Answer AnswerOf(const Reply<T>& reply) {
  Answer answer{reply, {}, {}};
  if constexpr (!std::is_same_v<T, google::protobuf::Empty>) {
    answer.object = reply.value.SerializeAsString();
    answer.uid = reply.value.uid();
  }
  return answer;
}

void ExpectOk(const Ending& ending) { EXPECT_TRUE(ending.ok()) << ending.Summary() << ": " << ending.message; }

void MakeBlue(TestClient& client) { ExpectOk(client.Create(BlueRequest(""))); }
void MakePair(TestClient& client) { ExpectOk(client.Create(PairRequest(""))); }
void MakeBlueAndPair(TestClient& client) {
  MakeBlue(client);
  MakePair(client);
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
    veth.clear_uid();
    veth.clear_create_time();
    for (v1::VethEndpoint* end : {veth.mutable_endpoint_a(), veth.mutable_endpoint_b()}) end->clear_ifindex();
    absl::StrAppend(&objects, veth.ShortDebugString(), "\n");
  }
  return absl::StrCat(objects, absl::StrReplaceAll(PictureOfKernel(), uids));
}

const std::vector<Mutation>& Mutations() {
  static const auto* const mutations = new std::vector<Mutation>{
      {.name = "CreateNamespace",
       .call = [](TestClient& client, const std::string& id) { return AnswerOf(client.Create(BlueRequest(id))); },
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
             return AnswerOf(client.Delete(request));
           },
       .prepare = MakeBlueAndPair,
       .revert = MakeBlueAndPair,
       .uid = nullptr},
      {.name = "DeleteVeth",
       .call =
           [](TestClient& client, const std::string& id) {
             v1::DeleteVethRequest request;
             request.set_name("veths/v");
             request.set_request_id(id);
             return AnswerOf(client.Delete(request));
           },
       .prepare = MakeBlueAndPair,
       .revert = MakePair,
       .uid = nullptr},
  };
  return *mutations;
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
  ExpectOk(Call(NewRequestId()));
  after_ = Picture();
  ASSERT_NE(before_, after_);
  GetParam().revert(*client_);
  ASSERT_EQ(Picture(), before_);
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
  EXPECT_EQ(Shell("ip -o link show type veth"), "");
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
