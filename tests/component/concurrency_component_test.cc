// Many clients at once on few names: the answers must be those of some serial order.
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
#include "tests/component/serial_history.h"

namespace netprov::testing {
namespace {

constexpr int kClients = 8;
constexpr int kRounds = 40;
constexpr int kNames = 3;

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
