// Many clients at once on few names: the answers must be those of some serial order.
#include <algorithm>
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

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/component/fixture.h"

namespace netprov::testing {
namespace {

constexpr int kClients = 8;
constexpr int kRounds = 40;
constexpr int kNames = 3;

// One call on one object, and what it saw. The object is there, with a uid, or not: that is all the state.
struct Event {
  enum class Kind { kCreated, kFoundExisting, kDeleted, kFoundNothing };
  Kind kind;
  std::string uid;  // of what was created, or read
  int64_t begin;    // of a clock that all share: an event that ended before another began came first
  int64_t end;
};

// Whether the events can be put in an order that respects their times and in which each saw what it must
// (linearizability, by the search of Wing and Gong: at each point, any event may be next that began before the first
// unfinished one ended).
bool IsSerial(std::vector<Event> events) {
  std::sort(events.begin(), events.end(), [](const Event& a, const Event& b) { return a.begin < b.begin; });
  std::vector<bool> done(events.size());
  std::set<std::pair<std::vector<bool>, std::string>> tried;
  auto search = [&](auto& self, size_t left, const std::string& uid) -> bool {
    if (left == 0) return true;
    if (!tried.insert({done, uid}).second) return false;
    int64_t first_end = INT64_MAX;
    for (size_t i = 0; i < events.size(); ++i) {
      if (!done[i]) first_end = std::min(first_end, events[i].end);
    }
    for (size_t i = 0; i < events.size(); ++i) {
      const Event& event = events[i];
      if (event.begin > first_end) break;
      if (done[i]) continue;
      std::string next = uid;
      switch (event.kind) {
        case Event::Kind::kCreated:
          if (!uid.empty()) continue;
          next = event.uid;
          break;
        case Event::Kind::kFoundExisting:
          if (uid.empty() || (!event.uid.empty() && event.uid != uid)) continue;
          break;
        case Event::Kind::kDeleted:
          if (uid.empty()) continue;
          next.clear();
          break;
        case Event::Kind::kFoundNothing:
          if (!uid.empty()) continue;
          break;
      }
      done[i] = true;
      if (self(self, left - 1, next)) return true;
      done[i] = false;
    }
    return false;
  };
  return search(search, events.size(), "");
}

TEST(IsSerialTest, TellsSerialFromNot) {
  using Kind = Event::Kind;
  EXPECT_TRUE(IsSerial({{Kind::kCreated, "u", 0, 1}, {Kind::kFoundExisting, "u", 2, 3}, {Kind::kDeleted, "", 4, 5}}));
  // At the same time, the order is free.
  EXPECT_TRUE(IsSerial({{Kind::kDeleted, "", 0, 9}, {Kind::kCreated, "u", 1, 8}}));
  // Two of the same name.
  EXPECT_FALSE(IsSerial({{Kind::kCreated, "u", 0, 1}, {Kind::kCreated, "v", 2, 3}}));
  EXPECT_FALSE(IsSerial({{Kind::kCreated, "u", 0, 9}, {Kind::kCreated, "v", 0, 9}}));
  // Gone before it was made; lost; another one.
  EXPECT_FALSE(IsSerial({{Kind::kDeleted, "", 0, 1}, {Kind::kCreated, "u", 2, 3}}));
  EXPECT_FALSE(IsSerial({{Kind::kCreated, "u", 0, 1}, {Kind::kFoundNothing, "", 2, 3}}));
  EXPECT_FALSE(IsSerial({{Kind::kCreated, "u", 0, 1}, {Kind::kFoundExisting, "v", 2, 3}}));
}

class ConcurrencyTest : public ServerTest {
 protected:
  // Runs `act` for many random objects from many clients at once, then checks the history of each object.
  template <typename Act>
  void Hammer(const Act& act) {
    std::atomic<int64_t> clock = 0;
    std::mutex mutex;
    std::map<std::string, std::vector<Event>> history;
    std::vector<std::thread> threads;
    for (int number = 0; number < kClients; ++number) {
      threads.emplace_back([&, number] {
        TestClient client(target());
        std::mt19937 random(number);
        for (int round = 0; round < kRounds; ++round) {
          const std::string id = absl::StrCat("x", random() % kNames);
          const int64_t begin = clock++;
          Event event = act(client, id, random() % 3);
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
};

TEST_F(ConcurrencyTest, NamespacesOfTheSameNames) {
  StartServer();
  const std::string before = kernel_.DumpForTest();
  Hammer([](TestClient& client, const std::string& id, int action) -> Event {
    if (action == 0) {
      const auto reply = client.CreateNamespace(id);
      if (reply.ok()) return {Event::Kind::kCreated, reply.value.uid(), 0, 0};
      EXPECT_EQ(reply.Summary(), "ALREADY_EXISTS NAMESPACE_ALREADY_EXISTS");
      return {Event::Kind::kFoundExisting, "", 0, 0};
    }
    const Ending ending = action == 1 ? static_cast<Ending>(client.DeleteNamespace(id)) : Ending();
    if (action == 1) {
      if (ending.ok()) return {Event::Kind::kDeleted, "", 0, 0};
      EXPECT_EQ(ending.Summary(), "NOT_FOUND NAMESPACE_NOT_FOUND");
      return {Event::Kind::kFoundNothing, "", 0, 0};
    }
    // Changes nothing and tells what is there.
    v1::CreateNamespaceRequest request;
    request.set_namespace_id(id);
    request.set_validate_only(true);
    const auto reply = client.Create(request);
    if (reply.ok()) return {Event::Kind::kFoundNothing, "", 0, 0};
    EXPECT_EQ(reply.Summary(), "ALREADY_EXISTS NAMESPACE_ALREADY_EXISTS");
    return {Event::Kind::kFoundExisting, "", 0, 0};
  });
  v1::DeleteNamespaceRequest request;
  request.set_allow_missing(true);
  for (int i = 0; i < kNames; ++i) {
    request.set_name(absl::StrCat("namespaces/x", i));
    EXPECT_TRUE(client_->Delete(request).ok());
  }
  EXPECT_EQ(kernel_.DumpForTest(), before);
}

TEST_F(ConcurrencyTest, PairsOfTheSameIdsAndInterfaceNames) {
  StartServer();
  ASSERT_TRUE(client_->CreateNamespace("blue").ok());
  ASSERT_TRUE(client_->CreateNamespace("green").ok());
  const std::string before = kernel_.DumpForTest();
  Hammer([](TestClient& client, const std::string& id, int action) -> Event {
    if (action != 1) {
      const auto reply = client.Create(VethRequest(id, "h" + id, action == 0 ? "blue" : "green", "p" + id));
      if (reply.ok()) return {Event::Kind::kCreated, reply.value.uid(), 0, 0};
      EXPECT_EQ(reply.Summary(), "ALREADY_EXISTS VETH_ALREADY_EXISTS");
      return {Event::Kind::kFoundExisting, "", 0, 0};
    }
    const auto reply = client.DeleteVeth(id);
    if (reply.ok()) return {Event::Kind::kDeleted, "", 0, 0};
    EXPECT_EQ(reply.Summary(), "NOT_FOUND VETH_NOT_FOUND");
    return {Event::Kind::kFoundNothing, "", 0, 0};
  });
  v1::DeleteVethRequest request;
  request.set_allow_missing(true);
  for (int i = 0; i < kNames; ++i) {
    request.set_name(absl::StrCat("veths/x", i));
    EXPECT_TRUE(client_->Delete(request).ok());
  }
  EXPECT_EQ(kernel_.DumpForTest(), before);
}

// Namespaces go while pairs come: whatever happens, nothing is left of a pair whose namespace is gone.
TEST_F(ConcurrencyTest, PairsWhileTheirNamespaceComesAndGoes) {
  StartServer();
  const std::string before = kernel_.DumpForTest();
  std::vector<std::thread> threads;
  std::atomic<int> created = 0;
  for (int number = 0; number < kClients; ++number) {
    threads.emplace_back([&, number] {
      TestClient client(target());
      std::mt19937 random(number);
      for (int round = 0; round < kRounds; ++round) {
        const std::string netns = absl::StrCat("n", random() % 2);
        Ending ending;
        switch (random() % 5) {
          case 0:
            ending = client.CreateNamespace(netns);
            break;
          case 1:
            ending = client.DeleteNamespace(netns);
            break;
          case 2:
            ending = client.DeleteVeth(absl::StrCat("v", random() % 4));
            break;
          default:
            ending = client.Create(VethRequest(absl::StrCat("v", random() % 4), "", netns, ""));
            if (ending.ok()) ++created;
        }
        if (ending.ok()) continue;
        EXPECT_THAT(ending.Summary(),
                    ::testing::AnyOf("NOT_FOUND NAMESPACE_NOT_FOUND", "ALREADY_EXISTS NAMESPACE_ALREADY_EXISTS",
                                     "NOT_FOUND VETH_NOT_FOUND", "ALREADY_EXISTS VETH_ALREADY_EXISTS"))
            << ending.message;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(created, 0);
  for (const char* netns : {"n0", "n1"}) client_->DeleteNamespace(netns);
  // Every pair ended in one of them.
  EXPECT_EQ(client_->List(v1::ListVethsRequest()).value.veths_size(), 0);
  EXPECT_EQ(kernel_.DumpForTest(), before);
}

// The same request id from many clients at once: one makes the pair, all get it.
TEST_F(ConcurrencyTest, OneRequestIdMakesOnePair) {
  StartServer();
  ASSERT_TRUE(client_->CreateNamespace("blue").ok());
  v1::CreateVethRequest request = VethRequest("", "", "blue", "");
  request.set_request_id(kUuid1);
  std::mutex mutex;
  std::set<std::string> answers;
  std::vector<std::thread> threads;
  for (int number = 0; number < kClients; ++number) {
    threads.emplace_back([&] {
      TestClient client(target());
      const auto reply = client.Create(request);
      EXPECT_TRUE(reply.ok()) << reply.message;
      std::lock_guard<std::mutex> lock(mutex);
      answers.insert(reply.value.SerializeAsString());
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(answers.size(), 1u);
  EXPECT_EQ(client_->List(v1::ListVethsRequest()).value.veths_size(), 1);
}

}  // namespace
}  // namespace netprov::testing
