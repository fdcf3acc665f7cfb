// Clients that create, update and delete as fast as they can, while the daemon is killed again and again. Nothing that
// was acknowledged is lost, and nothing is left that nobody knows of. The long form is tests/e2e/storm.sh.
//
// Environment:
//   NETPROV_STORM_KILLS    how often the daemon is killed
//   NETPROV_STORM_ALIVE    how many namespaces and pairs, together, are there all the time
#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/component/test_client.h"
#include "tests/e2e/audit_lines.h"
#include "tests/e2e/daemon_fixture.h"
#include "tests/testing/private_host.h"

namespace netprov::testing {
namespace {

using ::testing::IsEmpty;
using Clock = std::chrono::steady_clock;

constexpr int kClients = 8;
constexpr int kDefaultKills = 15;
constexpr int kDefaultAlive = 1000;
// Of each client. Two of three have a pair.
constexpr int kSlots = 6;
// How many calls are answered between a start and the next kill.
constexpr int kFewestCalls = 20;
constexpr int kMostCalls = 120;

int Environment(const char* name, int otherwise) {
  const char* text = std::getenv(name);
  int value = 0;
  return text != nullptr && absl::SimpleAtoi(text, &value) ? value : otherwise;
}

std::string RequestId(uint64_t number) { return absl::StrFormat("00000000-0000-4000-8000-%012x", number); }

double MillisecondsSince(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

// One namespace, or the pair into it or the device inside, as its client believes it to be.
struct Object {
  enum class Act { kCreate, kUpdate, kDelete };
  std::string name;
  std::string uid;          // while it is there
  uint64_t request = 0;     // of the call whose answer is awaited; 0: none is
  Act act = Act::kCreate;   // what that call does
  uint64_t updated_by = 0;  // of a pair: the last call that has updated it; 0: none has

  bool creating() const { return act == Act::kCreate; }
};

// What such a call makes the MTU of the end in the namespace.
uint32_t MtuOf(uint64_t request) { return request == 0 ? 1500 : 1280 + static_cast<uint32_t>(request % 200); }

// A namespace and a pair from the host into it, together with a bridge, whose port the pair is, or with a VXLAN device;
// or without a pair, with an ifb device.
struct Slot {
  enum class Kind { kAlone, kBridged, kTranslated };
  std::string id;
  int number = 0;  // of all slots
  Kind kind = Kind::kAlone;
  Object netns;
  Object device;
  Object pair;

  bool has_pair() const { return kind != Kind::kAlone; }
};

// Answered calls, which is what the killer waits for.
class Progress {
 public:
  void Add() {
    std::lock_guard<std::mutex> lock(mutex_);
    ++calls_;
    changed_.notify_all();
  }
  // Before the clients of a round start.
  void Begin() {
    std::lock_guard<std::mutex> lock(mutex_);
    begun_with_ = calls_;
    ended_ = false;
  }
  // A client goes no further.
  void End() {
    std::lock_guard<std::mutex> lock(mutex_);
    ended_ = true;
    changed_.notify_all();
  }
  // Waits for so many calls since Begin(), or for the end of a client.
  void WaitFor(int64_t calls) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return ended_ || calls_ >= begun_with_ + calls; });
  }
  int64_t calls() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return calls_;
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  int64_t calls_ = 0;
  int64_t begun_with_ = 0;
  bool ended_ = false;
};

// Thread-compatible: each has objects of its own, and a thread of its own while the storm blows.
class Client {
 public:
  Client(int number, Progress& progress) : progress_(progress), random_(static_cast<unsigned>(number)) {
    next_request_ = (static_cast<uint64_t>(number) + 1) << 40;
    for (int i = 0; i < kSlots; ++i) {
      Slot slot;
      slot.id = absl::StrCat("s", number, "-", i);
      slot.number = number * kSlots + i;
      slot.kind = static_cast<Slot::Kind>(i % 3);
      slot.device.name = (slot.kind == Slot::Kind::kBridged ? "bridges/" : "devices/") + slot.id;
      slot.netns.name = "namespaces/" + slot.id;
      slot.pair.name = "veths/" + slot.id;
      slots_.push_back(slot);
    }
  }

  const std::vector<Slot>& slots() const { return slots_; }

  // How often each call was made, by its request id, and whether it had to change something.
  struct Attempts {
    int count = 0;
    bool changes = false;
  };
  const std::map<std::string, Attempts>& attempts() const { return attempts_; }

  // Makes calls until the daemon dies under one.
  void Run(TestClient& server) {
    while (Advance(slots_[random_() % slots_.size()], server)) {
    }
    progress_.End();
  }

  // Repeats the calls whose answers were lost; each must succeed now.
  void Resume(TestClient& server) {
    for (Slot& slot : slots_) {
      for (Object* object : {&slot.netns, &slot.device, &slot.pair}) {
        if (object->request == 0) continue;
        EXPECT_TRUE(Call(slot, *object, server)) << object->name;
      }
    }
  }

 private:
  // The slot's next call. False: it got no answer.
  bool Advance(Slot& slot, TestClient& server) {
    Object* object = &slot.netns;
    bool create = slot.netns.uid.empty();
    // Where there is no pair, the device inside comes and goes half of the time.
    if (!create && !slot.has_pair() && random_() % 2 == 0) {
      object = &slot.device;
      create = slot.device.uid.empty();
    }
    // A pair is made next, and half of them are deleted by themselves, half with their namespace.
    if (!create && slot.has_pair() && (slot.pair.uid.empty() || random_() % 2 == 0)) {
      object = slot.device.uid.empty() ? &slot.device : &slot.pair;
      // A bridge goes with its namespace, and a VXLAN device also by itself.
      if (slot.kind == Slot::Kind::kTranslated && random_() % 4 == 0) object = &slot.device;
      create = object->uid.empty();
      // Not for ever.
      if (create && random_() % 4 == 0) {
        object = &slot.netns;
        create = false;
      }
    }
    object->request = ++next_request_;
    object->act = create ? Object::Act::kCreate : Object::Act::kDelete;
    if (object == &slot.pair && !create && random_() % 2 == 0) object->act = Object::Act::kUpdate;
    return Call(slot, *object, server);
  }

  // Makes the call that the object waits for, maybe again.
  bool Call(Slot& slot, Object& object, TestClient& server) {
    const std::string request_id = RequestId(object.request);
    ++attempts_[request_id].count;
    // An update may ask for what is so already.
    attempts_[request_id].changes = object.act != Object::Act::kUpdate;
    Ending ending;
    std::string uid;
    if (&object == &slot.netns && object.creating()) {
      v1::CreateNamespaceRequest request;
      request.set_namespace_id(slot.id);
      request.set_request_id(request_id);
      if (slot.has_pair()) {
        request.mutable_namespace_()->mutable_dns()->add_nameservers("192.0.2.1");
        (*request.mutable_namespace_()->mutable_sysctls())["net.core.somaxconn"] = "1024";
      }
      const Reply<v1::Namespace> reply = server.Create(request);
      uid = reply.value.uid();
      ending = reply;
    } else if (&object == &slot.netns) {
      v1::DeleteNamespaceRequest request;
      request.set_name(object.name);
      request.set_request_id(request_id);
      ending = server.Delete(request);
    } else if (&object == &slot.device && object.creating()) {
      std::tie(ending, uid) = CreateDevice(slot, request_id, server);
    } else if (&object == &slot.device) {
      v1::DeleteDeviceRequest request;
      request.set_name(object.name);
      request.set_request_id(request_id);
      ending = server.Delete(request);
    } else if (object.creating()) {
      v1::CreateVethRequest request = VethRequest(slot.id, slot.id, slot.id, "eth0");
      v1::VethEndpoint& inside = *request.mutable_veth()->mutable_endpoint_b();
      inside.add_addresses()->set_address("10.0.0.2/24");
      inside.add_gateways("10.0.0.1");
      v1::Route& nowhere = *inside.add_routes();
      nowhere.set_destination("10.9.0.0/16");
      nowhere.set_type(v1::Route::TYPE_BLACKHOLE);
      inside.mutable_egress_limit()->set_rate(100'000'000);
      if (slot.kind == Slot::Kind::kBridged) {
        inside.set_bridge(slot.device.name);
        inside.mutable_ingress_limit()->set_rate(200'000'000);
      } else {
        inside.set_masquerade(true);
        inside.add_port_forwards()->set_host_port(static_cast<uint32_t>(20000 + slot.number));
      }
      request.set_request_id(request_id);
      const Reply<v1::Veth> reply = server.Create(request);
      uid = reply.value.uid();
      ending = reply;
    } else if (object.act == Object::Act::kUpdate) {
      v1::UpdateVethRequest request;
      request.set_request_id(request_id);
      request.mutable_veth()->set_name(object.name);
      v1::VethEndpoint& inside = *request.mutable_veth()->mutable_endpoint_b();
      inside.set_mtu(MtuOf(object.request));
      inside.mutable_egress_limit()->set_rate(100'000'000 + object.request % 200);
      request.mutable_update_mask()->add_paths("endpoint_b.mtu");
      request.mutable_update_mask()->add_paths("endpoint_b.egress_limit");
      const Reply<v1::Veth> reply = server.Update(request);
      uid = reply.value.uid();
      ending = reply;
    } else {
      v1::DeleteVethRequest request;
      request.set_name(object.name);
      request.set_request_id(request_id);
      ending = server.Delete(request);
    }
    if (!ending.ok()) {
      EXPECT_EQ(ending.Summary(), "UNAVAILABLE") << object.name << ": " << ending.message;
      return false;
    }
    object.updated_by = object.act == Object::Act::kUpdate ? object.request : 0;
    object.request = 0;
    object.uid = object.act == Object::Act::kDelete ? "" : uid;
    // With a namespace goes what is in it.
    if (&object == &slot.netns && object.act == Object::Act::kDelete) {
      slot.device.uid.clear();
      slot.pair.uid.clear();
    }
    progress_.Add();
    return true;
  }

  static std::pair<Ending, std::string> CreateDevice(const Slot& slot, const std::string& request_id,
                                                     TestClient& server) {
    if (slot.kind == Slot::Kind::kBridged) {
      v1::CreateBridgeRequest request;
      request.set_bridge_id(slot.id);
      request.set_request_id(request_id);
      request.mutable_bridge()->set_namespace_(slot.netns.name);
      request.mutable_bridge()->set_interface_name("br0");
      const Reply<v1::Bridge> reply = server.Create(request);
      return {reply, reply.value.uid()};
    }
    v1::CreateDeviceRequest request;
    request.set_device_id(slot.id);
    request.set_request_id(request_id);
    v1::Device& device = *request.mutable_device();
    device.set_namespace_(slot.netns.name);
    if (!slot.has_pair()) {
      device.set_interface_name("ifb0");
      device.add_alternative_names("the-other-name");
      device.mutable_ifb();
      const Reply<v1::Device> reply = server.Create(request);
      return {reply, reply.value.uid()};
    }
    device.set_interface_name("vx0");
    device.mutable_vxlan()->set_vni(static_cast<uint32_t>(slot.number + 1));
    v1::Vxlan::FdbEntry& entry = *device.mutable_vxlan()->add_fdb();
    entry.set_mac_address("02:00:00:00:00:01");
    entry.set_destination("192.0.2.1");
    const Reply<v1::Device> reply = server.Create(request);
    return {reply, reply.value.uid()};
  }

  Progress& progress_;
  std::mt19937 random_;
  uint64_t next_request_ = 0;
  std::vector<Slot> slots_;
  std::map<std::string, Attempts> attempts_;
};

class StormTest : public DaemonTest {
 protected:
  static std::unique_ptr<TestClient> Connect() { return std::make_unique<TestClient>(absl::StrCat("unix:", kSocket)); }

  // What the API lists, all pages: uids by resource name, and in `mtus` the pairs' MTUs inside.
  static std::map<std::string, std::string> Registered(TestClient& server, std::map<std::string, uint32_t>& mtus) {
    std::map<std::string, std::string> uids;
    v1::ListNamespacesRequest list_namespaces;
    do {
      Reply<v1::ListNamespacesResponse> page = server.List(list_namespaces);
      EXPECT_TRUE(page.ok()) << page.message;
      for (const v1::Namespace& netns : page.value.namespaces()) {
        EXPECT_TRUE(netns.managed()) << netns.name() << " is nobody's";
        EXPECT_EQ(netns.state(), v1::Namespace::STATE_READY) << netns.name();
        uids[netns.name()] = netns.uid();
      }
      list_namespaces.set_page_token(page.value.next_page_token());
    } while (!list_namespaces.page_token().empty());
    v1::ListVethsRequest list_veths;
    do {
      Reply<v1::ListVethsResponse> page = server.List(list_veths);
      EXPECT_TRUE(page.ok()) << page.message;
      for (const v1::Veth& veth : page.value.veths()) {
        EXPECT_EQ(veth.state(), v1::Veth::STATE_READY) << veth.name();
        uids[veth.name()] = veth.uid();
        mtus[veth.name()] = veth.endpoint_b().mtu();
      }
      list_veths.set_page_token(page.value.next_page_token());
    } while (!list_veths.page_token().empty());
    v1::ListBridgesRequest list_bridges;
    do {
      Reply<v1::ListBridgesResponse> page = server.List(list_bridges);
      EXPECT_TRUE(page.ok()) << page.message;
      for (const v1::Bridge& bridge : page.value.bridges()) {
        EXPECT_EQ(bridge.state(), v1::Bridge::STATE_READY) << bridge.name();
        uids[bridge.name()] = bridge.uid();
      }
      list_bridges.set_page_token(page.value.next_page_token());
    } while (!list_bridges.page_token().empty());
    v1::ListDevicesRequest list_devices;
    do {
      Reply<v1::ListDevicesResponse> page = server.List(list_devices);
      EXPECT_TRUE(page.ok()) << page.message;
      for (const v1::Device& device : page.value.devices()) {
        EXPECT_EQ(device.state(), v1::Device::STATE_READY) << device.name();
        uids[device.name()] = device.uid();
      }
      list_devices.set_page_token(page.value.next_page_token());
    } while (!list_devices.page_token().empty());
    return uids;
  }

  // What the kernel holds: uids by resource name, from the tags of the host's ends of pairs, and of what is no end of
  // one in `looked_into`. Every other name at /run/netns stands with an empty uid.
  static std::map<std::string, std::string> InKernel(const std::set<std::string>& looked_into) {
    std::map<std::string, std::string> uids;
    std::string command = "ip -j -d link show type veth; ls /run/netns; echo";
    for (const std::string& id : looked_into) absl::StrAppend(&command, "; ip -n ", id, " -j -d link show");
    const std::string text = Shell(command);
    const size_t names_at = text.find('\n');
    const size_t loopbacks_at = text.find("\n\n", names_at);
    auto add = [&](absl::string_view links, bool at_host) {
      for (const auto& link : nlohmann::json::parse(links)) {
        if (link.empty()) continue;  // What `ip` prints for a link of another type.
        const std::string kind = link.value("linkinfo", nlohmann::json::object()).value("info_kind", "");
        // The other ends, and what the kernel puts into each namespace.
        if (!at_host && (kind == "veth" || (link.at("ifname") != "lo" && link.value("ifalias", "").empty()))) continue;
        // netprov:REGISTRY:UID:OBJECT
        const std::vector<std::string> tag = absl::StrSplit(link.value("ifalias", ""), ':');
        if (tag.size() == 4) {
          EXPECT_TRUE(uids.emplace(tag[3], tag[2]).second || uids[tag[3]].empty()) << "twice: " << tag[3];
          uids[tag[3]] = tag[2];
        } else {
          ADD_FAILURE() << "a link that is nobody's: " << link.dump();
        }
      }
    };
    for (absl::string_view name :
         absl::StrSplit(text.substr(names_at, loopbacks_at - names_at), '\n', absl::SkipEmpty())) {
      uids[absl::StrCat("namespaces/", name)] = "";
    }
    add(absl::string_view(text).substr(0, names_at), /*at_host=*/true);
    for (absl::string_view line : absl::StrSplit(text.substr(loopbacks_at), '\n', absl::SkipEmpty())) {
      add(line, /*at_host=*/false);
    }
    return uids;
  }

  // Compares what the clients believe, what the API says and what the kernel holds. `all`: looks into every namespace.
  void Check(const std::vector<std::unique_ptr<Client>>& clients, TestClient& server, bool all) {
    std::map<std::string, uint32_t> mtus;
    const std::map<std::string, std::string> registered = Registered(server, mtus);
    std::set<std::string> looked_into;
    for (const auto& [name, uid] : registered) {
      if (absl::StartsWith(name, "namespaces/") && (all || !kept_.contains(name))) looked_into.insert(name.substr(11));
    }
    std::map<std::string, std::string> in_kernel = InKernel(looked_into);
    for (auto& [name, uid] : in_kernel) {
      if (uid.empty() && kept_.contains(name)) uid = kept_.at(name);
    }
    EXPECT_EQ(in_kernel, registered) << "what is there is registered, and what is registered is there";

    std::map<std::string, std::string> believed = kept_;
    std::set<std::string> unsure;  // what a lost answer was about
    for (const auto& client : clients) {
      for (const Slot& slot : client->slots()) {
        for (const Object* object : {&slot.netns, &slot.device, &slot.pair}) {
          if (!object->uid.empty()) believed[object->name] = object->uid;
          if (object->request != 0) unsure.insert(object->name);
        }
        if (slot.netns.request == 0) {
          if (slot.pair.request == 0 && !slot.pair.uid.empty()) {
            EXPECT_EQ(mtus[slot.pair.name], MtuOf(slot.pair.updated_by)) << "updated and lost: " << slot.pair.name;
          }
          continue;
        }
        unsure.insert(slot.device.name);
        unsure.insert(slot.pair.name);
      }
    }
    for (const auto& [name, uid] : believed) {
      if (unsure.contains(name)) continue;
      const auto found = registered.find(name);
      EXPECT_TRUE(found != registered.end() && found->second == uid) << "acknowledged and lost: " << name;
    }
    for (const auto& [name, uid] : registered) {
      EXPECT_TRUE(believed.contains(name) || unsure.contains(name)) << "deleted and still there: " << name;
    }
  }

  // Makes namespaces and pairs that stay: a third and two thirds.
  void Fill(TestClient& server, int count) {
    for (int i = 0; i < count; ++i) {
      const std::string id = absl::StrCat("k", i / 3);
      if (i % 3 == 0) {
        const Reply<v1::Namespace> made = server.CreateNamespace(id);
        ASSERT_TRUE(made.ok()) << made.message;
        kept_[made.value.name()] = made.value.uid();
        continue;
      }
      const std::string name = absl::StrCat("k", i);
      const Reply<v1::Veth> made = server.Create(VethRequest(name, name, id, absl::StrCat("eth", i % 3)));
      ASSERT_TRUE(made.ok()) << made.message;
      kept_[made.value.name()] = made.value.uid();
    }
  }

  // Of each call that was answered there is one line, and at most one of each whose answer was lost; and what was asked
  // for was done by one of them, and no more.
  static void CheckLines(const std::vector<std::unique_ptr<Client>>& clients) {
    std::map<std::string, std::vector<nlohmann::json>> by_request;
    for (nlohmann::json& line : AuditLines()) {
      const std::string request_id = line.value("request_id", "");
      by_request[request_id].push_back(std::move(line));
    }
    size_t recovered = 0;
    for (const auto& client : clients) {
      for (const auto& [request_id, attempts] : client->attempts()) {
        const std::vector<nlohmann::json>& lines = by_request[request_id];
        EXPECT_GE(lines.size(), 1U) << request_id;
        EXPECT_LE(lines.size(), static_cast<size_t>(attempts.count)) << request_id;
        EXPECT_EQ(lines.empty() ? "" : lines.back().value("code", ""), "OK") << request_id;
        const auto done = std::count_if(lines.begin(), lines.end(), SaysDone);
        EXPECT_LE(done, 1) << request_id;
        if (attempts.changes) {
          EXPECT_EQ(done, 1) << request_id;
        }
        recovered += std::count_if(lines.begin(), lines.end(),
                                   [](const nlohmann::json& line) { return line.value("recovered", false); });
      }
    }
    std::printf("audit_lines_by_recovery=%zu\n", recovered);
  }

  std::map<std::string, std::string> kept_;  // uids by resource name
};

TEST_F(StormTest, KillsLoseNothingAndLeakNothing) {
  const int kills = Environment("NETPROV_STORM_KILLS", kDefaultKills);
  const int alive = Environment("NETPROV_STORM_ALIVE", kDefaultAlive);
  Progress progress;
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < kClients; ++i) clients.push_back(std::make_unique<Client>(i, progress));
  std::unique_ptr<TestClient> server = Connect();
  ASSERT_NO_FATAL_FAILURE(Fill(*server, alive));

  std::mt19937 random(20260101);
  int repeated = 0;
  double storming = 0;
  std::vector<double> recoveries;
  for (int kill = 1; kill <= kills; ++kill) {
    SCOPED_TRACE(absl::StrCat("kill ", kill));
    const Clock::time_point begin = Clock::now();
    progress.Begin();
    std::vector<std::thread> threads;
    for (const auto& client : clients) {
      threads.emplace_back([&client] { client->Run(*Connect()); });
    }
    progress.WaitFor(kFewestCalls + static_cast<int>(random() % (kMostCalls - kFewestCalls)));
    daemon_->Stop(SIGKILL);
    storming += MillisecondsSince(begin);
    for (std::thread& thread : threads) thread.join();

    const Clock::time_point start = Clock::now();
    Start();
    recoveries.push_back(MillisecondsSince(start));
    server = Connect();
    EXPECT_EQ(server->Health("netprov.v1.NamespaceService").value, 1) << "SERVING";
    Check(clients, *server, /*all=*/kill == kills);
    for (const auto& client : clients) {
      for (const Slot& slot : client->slots()) {
        repeated += (slot.netns.request != 0) + (slot.device.request != 0) + (slot.pair.request != 0);
      }
      client->Resume(*server);
    }
    Check(clients, *server, /*all=*/false);
    ASSERT_FALSE(HasFailure());
  }
  std::sort(recoveries.begin(), recoveries.end());
  std::printf(
      "kills=%d objects_kept_alive=%d calls=%d calls_per_second=%.0f lost_answers_repeated=%d leaked=0 lost=0 "
      "recovery_ms_median=%.0f recovery_ms_max=%.0f\n",
      kills, alive, static_cast<int>(progress.calls()), static_cast<double>(progress.calls()) / storming * 1000,
      repeated, recoveries[recoveries.size() / 2], recoveries.back());

  CheckLines(clients);

  // And all goes when it shall.
  std::map<std::string, uint32_t> mtus;
  for (const auto& [name, uid] : Registered(*server, mtus)) {
    if (absl::StartsWith(name, "namespaces/")) {
      const Ending ending = server->DeleteNamespace(name.substr(11));
      EXPECT_TRUE(ending.ok()) << ending.message;
    }
  }
  EXPECT_THAT(Shell("ip -o link show type veth; ip -o link show type ifb; ls /run/netns; ls /etc/netns 2>/dev/null; "
                    "nft list table inet netprov 2>/dev/null; true"),
              IsEmpty());
}

}  // namespace
}  // namespace netprov::testing
