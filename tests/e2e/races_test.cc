// Many clients at once on the same few names, on the real kernel, alone and beside an administrator who does the same
// with iproute2. Each answer is one that some serial order explains, and in the end the registry has what the kernel
// has.
#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/component/serial_history.h"
#include "tests/component/test_client.h"
#include "tests/e2e/host_fixture.h"
#include "tests/testing/private_host.h"
#include "tests/testing/process.h"

namespace netprov::testing {
namespace {

using ::testing::AnyOf;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

constexpr int kClients = 8;
constexpr int kRounds = 60;
constexpr int kNames = 3;
constexpr int kAdministrators = 2;
constexpr int kActs = 100;

class RacesTest : public HostTest {
 protected:
  void SetUp() override {
    HostTest::SetUp();
    StartDaemon();
  }

  // Runs `act` of many clients at once on random names, then checks the history of each name.
  template <typename Act>
  static void Hammer(const Act& act) {
    std::atomic<int64_t> clock = 0;
    std::mutex mutex;
    std::map<std::string, std::vector<Event>> history;
    std::vector<std::thread> threads;
    for (int number = 0; number < kClients; ++number) {
      threads.emplace_back([&, number] {
        TestClient client(absl::StrCat("unix:", kSocket));
        std::mt19937 random(number);
        for (int round = 0; round < kRounds; ++round) {
          const std::string id = absl::StrCat("x", random() % kNames);
          const int64_t begin = clock++;
          Event event = act(client, id, static_cast<int>(random() % 3));
          event.begin = begin;
          event.end = clock++;
          std::lock_guard<std::mutex> lock(mutex);
          history[id].push_back(std::move(event));
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (const auto& [id, events] : history) EXPECT_TRUE(IsSerial(events)) << id;
  }

  // Expects that the registry and the kernel have the same, and then deletes it.
  void ExpectSameAndClear() {
    // What others took away is missing. And `ip netns add`, which made its file before ours was there and mounts on it
    // after, hides one of ours until `ip netns delete` takes it away again: what nobody knows of any more by then is
    // collected.
    const Reply<v1::HostReport> first = client_->Check();
    EXPECT_OK(first);
    EXPECT_THAT(FindingsOf(first.value),
                Each(AnyOf(StartsWith("KIND_MISSING "), StartsWith("KIND_ORPHAN_REMOVED namespaces/"))));
    const Reply<v1::HostReport> second = client_->Check();
    EXPECT_OK(second);
    EXPECT_THAT(FindingsOf(second.value), Each(StartsWith("KIND_MISSING ")));
    std::set<std::string> uids;
    const v1::ListVethsResponse veths = client_->List(v1::ListVethsRequest()).value;
    for (const v1::Veth& veth : veths.veths()) {
      if (veth.state() == v1::Veth::STATE_READY) uids.insert(veth.uid());
    }
    // One end of each on the host.
    const std::string aliases = Shell("ip -d link show type veth | grep -o 'netprov:.*' | cut -d: -f3; true");
    for (absl::string_view uid : absl::StrSplit(aliases, '\n', absl::SkipEmpty())) {
      EXPECT_EQ(uids.erase(std::string(uid)), 1u) << uid;
    }
    EXPECT_THAT(uids, IsEmpty());
    for (const v1::Veth& veth : veths.veths()) EXPECT_OK(client_->DeleteVeth(veth.name().substr(6)));
    const v1::ListNamespacesResponse namespaces = client_->List(v1::ListNamespacesRequest()).value;
    for (const v1::Namespace& netns : namespaces.namespaces()) {
      if (netns.managed()) EXPECT_OK(client_->DeleteNamespace(netns.name().substr(11)));
    }
    // Where one of ours is still hidden below one of theirs, `ip netns delete` takes theirs away and then says that the
    // file is busy; a check collects ours.
    for (int i = 0; i < 4 && !Names().empty(); ++i) {
      Shell("for name in $(ls /run/netns | grep -vx foreign); do ip netns delete $name 2>/dev/null || true; done");
      EXPECT_OK(client_->Check());
    }
    EXPECT_THAT(FindingsOf(client_->Check().value), IsEmpty());
    EXPECT_EQ(Names(), "");
    EXPECT_THAT(Shell("ip -d link show type veth"), Not(HasSubstr("netprov:")));
  }
};

TEST_F(RacesTest, NamespacesOfTheSameNames) {
  Hammer([](TestClient& client, const std::string& id, int action) -> Event {
    if (action == 0) {
      const auto reply = client.CreateNamespace(id);
      if (reply.ok()) return {Event::Kind::kCreated, reply.value.uid(), 0, 0};
      EXPECT_EQ(reply.Summary(), "ALREADY_EXISTS NAMESPACE_ALREADY_EXISTS") << reply.message;
      return {Event::Kind::kFoundExisting, "", 0, 0};
    }
    if (action == 1) {
      const Ending ending = client.DeleteNamespace(id);
      if (ending.ok()) return {Event::Kind::kDeleted, "", 0, 0};
      EXPECT_EQ(ending.Summary(), "NOT_FOUND NAMESPACE_NOT_FOUND") << ending.message;
      return {Event::Kind::kFoundNothing, "", 0, 0};
    }
    const auto reply = client.GetNamespace(id);
    if (reply.ok()) {
      EXPECT_TRUE(reply.value.managed()) << reply.value.ShortDebugString();
      return {Event::Kind::kFoundExisting, reply.value.uid(), 0, 0};
    }
    EXPECT_EQ(reply.Summary(), "NOT_FOUND NAMESPACE_NOT_FOUND") << reply.message;
    return {Event::Kind::kFoundNothing, "", 0, 0};
  });
  EXPECT_THAT(FindingsOf(client_->Check(/*look_only=*/true).value), IsEmpty());
  ExpectSameAndClear();
}

TEST_F(RacesTest, PairsOfTheSameNames) {
  EXPECT_OK(client_->CreateNamespace("blue"));
  EXPECT_OK(client_->CreateNamespace("green"));
  Hammer([](TestClient& client, const std::string& id, int action) -> Event {
    if (action == 0) {
      static std::atomic<int> count = 0;
      const auto reply = client.Create(VethRequest(id, "h-" + id, count++ % 2 == 0 ? "blue" : "green", "e-" + id));
      if (reply.ok()) return {Event::Kind::kCreated, reply.value.uid(), 0, 0};
      EXPECT_EQ(reply.Summary(), "ALREADY_EXISTS VETH_ALREADY_EXISTS") << reply.message;
      return {Event::Kind::kFoundExisting, "", 0, 0};
    }
    if (action == 1) {
      const Ending ending = client.DeleteVeth(id);
      if (ending.ok()) return {Event::Kind::kDeleted, "", 0, 0};
      EXPECT_EQ(ending.Summary(), "NOT_FOUND VETH_NOT_FOUND") << ending.message;
      return {Event::Kind::kFoundNothing, "", 0, 0};
    }
    const auto reply = client.GetVeth(id);
    if (reply.ok()) return {Event::Kind::kFoundExisting, reply.value.uid(), 0, 0};
    EXPECT_EQ(reply.Summary(), "NOT_FOUND VETH_NOT_FOUND") << reply.message;
    return {Event::Kind::kFoundNothing, "", 0, 0};
  });
  EXPECT_THAT(FindingsOf(client_->Check(/*look_only=*/true).value), IsEmpty());
  ExpectSameAndClear();
}

TEST_F(RacesTest, BesideAnAdministrator) {
  std::vector<std::thread> threads;
  std::atomic<int> made = 0;
  for (int number = 0; number < kClients; ++number) {
    threads.emplace_back([&, number] {
      TestClient client(absl::StrCat("unix:", kSocket));
      std::mt19937 random(number);
      for (int round = 0; round < kRounds; ++round) {
        const std::string netns = absl::StrCat("n", random() % kNames);
        const std::string veth = absl::StrCat("v", random() % kNames);
        Ending ending;
        switch (random() % 6) {
          case 0:
          case 1:
            ending = client.CreateNamespace(netns);
            EXPECT_THAT(ending.Summary(),
                        AnyOf("OK", "ALREADY_EXISTS NAMESPACE_ALREADY_EXISTS", "ALREADY_EXISTS NAMESPACE_NOT_MANAGED",
                              "FAILED_PRECONDITION NAMESPACE_FILE_STALE"))
                << ending.message;
            break;
          case 2:
            ending = client.DeleteNamespace(netns);
            EXPECT_THAT(ending.Summary(),
                        AnyOf("OK", "NOT_FOUND NAMESPACE_NOT_FOUND", "FAILED_PRECONDITION NAMESPACE_NOT_MANAGED",
                              "FAILED_PRECONDITION NAMESPACE_FILE_STALE"))
                << ending.message;
            break;
          case 3:
            ending = client.Create(VethRequest(veth, "h-" + veth, netns, "e-" + veth));
            if (ending.ok()) ++made;
            EXPECT_THAT(ending.Summary(),
                        AnyOf("OK", "NOT_FOUND NAMESPACE_NOT_FOUND", "FAILED_PRECONDITION NAMESPACE_NOT_MANAGED",
                              "FAILED_PRECONDITION NAMESPACE_MISSING", "FAILED_PRECONDITION NAMESPACE_FILE_STALE",
                              "ALREADY_EXISTS VETH_ALREADY_EXISTS",
                              // The kernel takes its time to end a namespace that `ip netns delete` has unmounted.
                              "ALREADY_EXISTS INTERFACE_NAME_TAKEN"))
                << ending.message;
            break;
          case 4:
            ending = client.DeleteVeth(veth);
            EXPECT_THAT(ending.Summary(), AnyOf("OK", "NOT_FOUND VETH_NOT_FOUND")) << ending.message;
            break;
          default:
            ending = client.List(v1::ListNamespacesRequest());
            EXPECT_EQ(ending.Summary(), "OK") << ending.message;
            ending = client.List(v1::ListVethsRequest());
            EXPECT_EQ(ending.Summary(), "OK") << ending.message;
        }
      }
    });
  }
  for (int number = 0; number < kAdministrators; ++number) {
    threads.emplace_back([number] {
      std::mt19937 random(100 + number);
      for (int act = 0; act < kActs; ++act) {
        const std::string netns = absl::StrCat("n", random() % kNames);
        // Each may fail, as the name is there or is not.
        switch (random() % 4) {
          case 0:
            RunCommand({"ip", "netns", "add", netns});
            break;
          case 1:
          case 2:
            RunCommand({"ip", "netns", "delete", netns});
            break;
          default:
            RunCommand({"ip", "link", "del", absl::StrCat("h-v", random() % kNames)});
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(made, 0);
  ExpectSameAndClear();
}

}  // namespace
}  // namespace netprov::testing
