// Queues, deadlines, cancellation, health, reflection, listeners and the server's end.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <fstream>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/access/policy.h"
#include "server/base/unique_fd.h"
#include "tests/component/fixture.h"

namespace netprov::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

constexpr int kServing = 1;
constexpr int kNotServing = 2;

// What a call gets that may meet the server at any point of its end. gRPC itself cancels one that arrives at the very
// last moment.
const auto kRefused = ::testing::AnyOf(absl::StatusCode::kUnavailable, absl::StatusCode::kCancelled);

class LifecycleTest : public ServerTest {
 protected:
  // A call that holds the only worker until `go_on_` is opened.
  std::future<Reply<v1::Namespace>> HoldTheWorker() {
    BlockNext("CreateNetns", reached_, go_on_);
    auto held = std::async(std::launch::async, [this] { return client_->CreateNamespace("held"); });
    reached_.Wait();
    return held;
  }

  // Waits until so many calls wait in the server, or `over` has a result.
  template <typename T>
  bool WaitForWaiting(size_t calls, const std::future<T>& over) {
    while (server().waiting() < calls) {
      if (over.wait_for(std::chrono::seconds(0)) == std::future_status::ready) return false;
      std::this_thread::yield();
    }
    return true;
  }

  Gate reached_;
  Gate go_on_;
};

TEST_F(LifecycleTest, AFullQueueRefusesAtOnceAndSaysWhenToTryAgain) {
  StartServer({.workers = 1, .queue_limit = 1});
  auto held = HoldTheWorker();
  auto waiting = std::async(std::launch::async, [this] { return client_->CreateNamespace("waiting"); });
  // Of two more, at most one finds a place: the refusal shows that the queue is full.
  auto second = std::async(std::launch::async, [this] { return client_->CreateNamespace("second"); });
  ASSERT_TRUE(log_.WaitFor({"reason=QUEUE_FULL", "queue_us=0"}));
  // Reads have a queue of their own.
  EXPECT_EQ(client_->GetNamespace("nothing").Summary(), "NOT_FOUND NAMESPACE_NOT_FOUND");
  go_on_.Open();
  EXPECT_TRUE(held.get().ok());
  const auto a = waiting.get();
  const auto b = second.get();
  EXPECT_NE(a.ok(), b.ok());
  const auto& refused = a.ok() ? b : a;
  EXPECT_EQ(refused.Summary(), "UNAVAILABLE QUEUE_FULL");
  const auto retry = refused.Get<google::rpc::RetryInfo>();
  ASSERT_TRUE(retry.has_value());
  EXPECT_GT(retry->retry_delay().nanos() + retry->retry_delay().seconds(), 0);
}

TEST_F(LifecycleTest, ADeadlineThatPassesInTheQueueKeepsTheCallFromTheEngine) {
  StartServer({.workers = 1});
  auto held = HoldTheWorker();
  v1::CreateNamespaceRequest request;
  request.set_namespace_id("late");
  bool arrived = false;
  while (!arrived) {
    auto late = std::async(std::launch::async,
                           [&] { return client_->Create(request, {.deadline = std::chrono::milliseconds(100)}); });
    // On a busy machine the deadline may pass before the call reaches the server.
    arrived = WaitForWaiting(1, late);
    EXPECT_EQ(late.get().code, absl::StatusCode::kDeadlineExceeded);
  }
  // The server sees it too, though the worker is busy still. gRPC may tell it of the client's end before its own clock
  // does.
  ASSERT_TRUE(log_.WaitFor({"resource=namespaces/late"}));
  EXPECT_THAT(log_.All(), ::testing::Contains(::testing::AllOf(HasSubstr("resource=namespaces/late"),
                                                               ::testing::AnyOf(HasSubstr("reason=DEADLINE_EXCEEDED"),
                                                                                HasSubstr("reason=CALL_CANCELLED")))));
  go_on_.Open();
  EXPECT_TRUE(held.get().ok());
  EXPECT_EQ(client_->GetNamespace("late").Summary(), "NOT_FOUND NAMESPACE_NOT_FOUND");
}

TEST_F(LifecycleTest, ACallThatIsCancelledInTheQueueNeverReachesTheEngine) {
  StartServer({.workers = 1});
  auto held = HoldTheWorker();
  v1::CreateNamespaceRequest request;
  request.set_namespace_id("unwanted");
  std::promise<std::function<void()>> cancel;
  auto unwanted = std::async(std::launch::async, [&] {
    return client_->Create(request,
                           {.started = [&](std::function<void()> function) { cancel.set_value(std::move(function)); }});
  });
  ASSERT_TRUE(WaitForWaiting(1, unwanted));
  cancel.get_future().get()();
  EXPECT_EQ(unwanted.get().code, absl::StatusCode::kCancelled);
  // The server sees it too, though the worker is busy still.
  ASSERT_TRUE(log_.WaitFor({"resource=namespaces/unwanted", "code=CANCELLED reason=CALL_CANCELLED"}));
  go_on_.Open();
  EXPECT_TRUE(held.get().ok());
  EXPECT_EQ(client_->GetNamespace("unwanted").Summary(), "NOT_FOUND NAMESPACE_NOT_FOUND");
}

TEST_F(LifecycleTest, AChangeThatHasBegunIsFinishedThoughItsCallerIsGone) {
  StartServer();
  BlockNext("CreateNetns", reached_, go_on_);
  v1::CreateNamespaceRequest request;
  request.set_namespace_id("begun");
  request.set_request_id(kUuid1);
  std::promise<std::function<void()>> cancel;
  auto call = std::async(std::launch::async, [&] {
    return client_->Create(request,
                           {.started = [&](std::function<void()> function) { cancel.set_value(std::move(function)); }});
  });
  reached_.Wait();
  cancel.get_future().get()();
  EXPECT_EQ(call.get().code, absl::StatusCode::kCancelled);
  go_on_.Open();
  ASSERT_TRUE(log_.WaitFor({"resource=namespaces/begun", "code=OK"}));
  // A repeat finds out what became of it.
  const auto repeat = client_->Create(request);
  ASSERT_TRUE(repeat.ok()) << repeat.message;
  EXPECT_EQ(repeat.value.uid(), client_->GetNamespace("begun").value.uid());
}

TEST_F(LifecycleTest, CallsOnOneNameKeepTheirOrder) {
  StartServer({.workers = 4});
  auto held = HoldTheWorker();
  auto second = std::async(std::launch::async, [this] { return client_->DeleteNamespace("held"); });
  // Another name passes meanwhile.
  EXPECT_TRUE(client_->CreateNamespace("other").ok());
  go_on_.Open();
  EXPECT_TRUE(held.get().ok());
  EXPECT_TRUE(second.get().ok());
}

TEST_F(LifecycleTest, ACallThatIsDoneInPlaceHoldsNobodyUp) {
  StartServer({.workers = 4});
  auto held = HoldTheWorker();
  for (int i = 0; i < 20; ++i) {
    TestClient other(target());
    EXPECT_TRUE(other.CreateNamespace(absl::StrCat("other", i)).ok());
    EXPECT_TRUE(client_->GetNamespace(absl::StrCat("other", i)).ok());
  }
  EXPECT_EQ(client_->Health("").value, kServing);
  go_on_.Open();
  EXPECT_TRUE(held.get().ok());
}

TEST_F(LifecycleTest, HealthSaysNotServingUntilTheEngineHasRecovered) {
  StartServer({}, /*serve=*/false);
  EXPECT_EQ(client_->Health("").value, kNotServing);
  EXPECT_EQ(client_->Health("netprov.v1.VethService").value, kNotServing);
  // A call waits for it.
  auto early = std::async(std::launch::async, [this] { return client_->CreateNamespace("early"); });
  EXPECT_EQ(client_->Health("netprov.v1.NamespaceService").value, kNotServing);
  EXPECT_TRUE(engine().Recover().ok());
  server().Serve();
  EXPECT_TRUE(early.get().ok());
  for (const char* service : {"", "netprov.v1.NamespaceService", "netprov.v1.VethService"}) {
    EXPECT_EQ(client_->Health(service).value, kServing) << service;
  }
  EXPECT_EQ(client_->Health("no.such.Service").code, absl::StatusCode::kNotFound);
}

TEST_F(LifecycleTest, ReflectionListsTheServices) {
  StartServer();
  // ServerReflectionRequest{list_services = 7}.
  const auto list =
      client_->RawStream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", std::string("\x3a\0", 2));
  EXPECT_TRUE(list.ok()) << list.message;
  EXPECT_THAT(list.value, HasSubstr("netprov.v1.NamespaceService"));
  EXPECT_THAT(list.value, HasSubstr("netprov.v1.VethService"));
  EXPECT_THAT(list.value, HasSubstr("grpc.health.v1.Health"));
  // ServerReflectionRequest{file_containing_symbol = 4}: a client learns the messages too.
  const std::string symbol = "netprov.v1.VethEndpoint";
  const auto file = client_->RawStream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
                                       absl::StrCat("\x22", std::string(1, static_cast<char>(symbol.size())), symbol));
  EXPECT_THAT(file.value, HasSubstr("interface_name"));
}

TEST_F(LifecycleTest, ShutdownFinishesWhatItTookInAndRefusesTheRest) {
  StartServer({.workers = 1});
  auto held = HoldTheWorker();
  TestClient other(target());
  EXPECT_EQ(other.Health("").value, kServing);
  std::thread shutdown([this] { server().Shutdown(absl::FromChrono(kDeadline)); });
  // Until the held call is over, the server still answers, and says what is going on.
  Reply<v1::Namespace> refused;
  do {
    refused = other.GetNamespace("nothing");
  } while (refused.Summary() == "NOT_FOUND NAMESPACE_NOT_FOUND");
  EXPECT_EQ(refused.Summary(), "UNAVAILABLE SHUTTING_DOWN");
  EXPECT_TRUE(refused.Get<google::rpc::RetryInfo>().has_value());
  EXPECT_EQ(other.Health("").value, kNotServing);
  go_on_.Open();
  EXPECT_TRUE(held.get().ok());
  shutdown.join();
  EXPECT_NE(::access(socket_path_.c_str(), F_OK), 0);
  EXPECT_EQ(other.CreateNamespace("after").code, absl::StatusCode::kUnavailable);
}

TEST_F(LifecycleTest, AfterTheGraceWhatHasNotBegunIsRefused) {
  StartServer({.workers = 1});
  auto held = HoldTheWorker();
  auto queued = std::async(std::launch::async, [this] {
    v1::DeleteNamespaceRequest request;
    request.set_name("namespaces/held");
    return client_->Delete(request);
  });
  TestClient other(target());
  std::thread shutdown([this] { server().Shutdown(absl::ZeroDuration()); });
  Reply<v1::Namespace> refused;
  do {
    refused = other.GetNamespace("nothing");
  } while (refused.Summary() == "NOT_FOUND NAMESPACE_NOT_FOUND");
  EXPECT_EQ(refused.code, absl::StatusCode::kUnavailable);
  go_on_.Open();
  shutdown.join();
  // What had begun is finished; what waited is refused, or was refused on arrival.
  held.wait();
  EXPECT_THAT(kernel_.DumpForTest(), HasSubstr("netns held"));
  EXPECT_THAT(queued.get().code, kRefused);
}

TEST_F(LifecycleTest, AServerThatNeverServedRefusesWhatWaits) {
  StartServer({}, /*serve=*/false);
  auto early = std::async(std::launch::async, [this] { return client_->CreateNamespace("early"); });
  TestClient other(target());
  // Reaches the server, so that it is up; the other call comes when it comes.
  EXPECT_EQ(other.Health("").value, kNotServing);
  server().Shutdown(absl::FromChrono(kDeadline));
  EXPECT_THAT(early.get().code, kRefused);
  EXPECT_THAT(kernel_.DumpForTest(), ::testing::Not(HasSubstr("early")));
}

TEST_F(LifecycleTest, TheSocketIsForItsGroupOnly) {
  StartServer();
  struct stat socket = {};
  ASSERT_EQ(::stat(socket_path_.c_str(), &socket), 0);
  EXPECT_EQ(socket.st_mode & 07777, 0660u);
  EXPECT_TRUE(S_ISSOCK(socket.st_mode));
  struct stat directory = {};
  ASSERT_EQ(::stat((directory_ + "/run").c_str(), &directory), 0);
  EXPECT_EQ(directory.st_mode & 07777, 0755u);
  EXPECT_THAT(server().addresses(), ElementsAre("unix:" + socket_path_));
}

TEST_F(LifecycleTest, ASocketThatNobodyListensOnIsReplaced) {
  ASSERT_EQ(::mkdir((directory_ + "/run").c_str(), 0755), 0);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, socket_path_.c_str(), sizeof(address.sun_path) - 1);
  {
    const UniqueFd left(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(::bind(left.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  }
  StartServer();
  EXPECT_TRUE(client_->CreateNamespace("blue").ok());
}

TEST_F(LifecycleTest, ASocketThatIsInUseIsLeftAlone) {
  StartServer();
  const auto second = rpc::Server::Start(engine(), {.socket_path = socket_path_});
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(second.status().message()), HasSubstr("another server listens on it"));
  EXPECT_TRUE(client_->CreateNamespace("blue").ok());
}

TEST_F(LifecycleTest, AFileInTheSocketsPlaceIsLeftAlone) {
  StartServer();
  const std::string path = directory_ + "/file";
  std::ofstream(path) << "precious";
  const auto second = rpc::Server::Start(engine(), {.socket_path = path});
  EXPECT_THAT(std::string(second.status().message()), HasSubstr("there is a file that is no socket"));
  EXPECT_EQ(::access(path.c_str(), F_OK), 0);
  EXPECT_EQ(rpc::Server::Start(engine(), {.socket_path = std::string(200, 'x')}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(LifecycleTest, TcpNeedsToBeAskedForTwice) {
  StartServer();
  const auto refused = rpc::Server::Start(engine(), {.listen = {"127.0.0.1:0"}});
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("127.0.0.1:0"));
  EXPECT_EQ(rpc::Server::Start(engine(), {.listen = {"nonsense"}, .insecure = true}).status().code(),
            absl::StatusCode::kInvalidArgument);
  const auto exposed = rpc::Server::Start(engine(), {.listen = {"0.0.0.0:0"}, .insecure = true});
  EXPECT_EQ(exposed.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(exposed.status().message()), HasSubstr("without TLS"));
}

TEST_F(LifecycleTest, TcpServesOnThePortThatItNames) {
  const access::Rule anybody{
      .name = "anybody", .who = {{.kind = access::Principal::Kind::kPlaintext}}, .role = access::BuiltInRoles().back()};
  StartServer(
      {.listen = {"127.0.0.1:0", "127.0.0.2:0"}, .insecure = true, .policy = access::Policy(std::vector{anybody})});
  ASSERT_THAT(server().addresses(), SizeIs(3));
  for (size_t i : {1, 2}) {
    EXPECT_THAT(server().addresses()[i], ::testing::Not(HasSubstr(":0")));
    TestClient tcp(server().addresses()[i]);
    EXPECT_TRUE(tcp.CreateNamespace(absl::StrCat("n", i)).ok());
  }
  // Without a rule it is nobody's.
  server().SetPolicy(access::DefaultPolicy(std::nullopt));
  EXPECT_EQ(TestClient(server().addresses()[1]).CreateNamespace("n3").Summary(), "PERMISSION_DENIED ACCESS_DENIED");
  EXPECT_TRUE(log_.WaitFor({"resource=namespaces/n1", "caller=plaintext peer=127.0.0.1:"}));
  // A port that is taken is not shared.
  const auto second = rpc::Server::Start(engine(), {.listen = {server().addresses()[1]}, .insecure = true});
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(second.status().message()), HasSubstr(server().addresses()[1]));
}

TEST_F(LifecycleTest, EachCallIsOneLine) {
  StartServer();
  v1::CreateNamespaceRequest request;
  request.set_namespace_id("blue");
  request.set_request_id(kUuid1);
  request.set_validate_only(true);
  ASSERT_TRUE(client_->Create(request).ok());
  ASSERT_TRUE(log_.WaitFor({"method=CreateNamespace resource=namespaces/blue code=OK duration_us=", " queue_us=",
                            absl::StrCat(" caller=uid:", ::geteuid(), " peer=pid:", ::getpid()),
                            absl::StrCat("request_id=", kUuid1), "validate_only=true"}));
  client_->GetNamespace("nothing");
  ASSERT_TRUE(
      log_.WaitFor({"method=GetNamespace resource=namespaces/nothing code=NOT_FOUND reason=NAMESPACE_NOT_FOUND"}));
  EXPECT_THAT(log_.All(), SizeIs(2));
}

// Each client has a call under way, or makes one, at any moment of it.
TEST_F(LifecycleTest, NoCallIsRefusedWhileTheSocketsGoToAnotherServer) {
  constexpr int kClients = 4;
  constexpr int kRounds = 20;
  StartServer();
  ASSERT_TRUE(client_->CreateNamespace("kept").ok());
  std::atomic<bool> over = false;
  std::atomic<int> broken = 0;
  std::atomic<int> done[kClients] = {};
  std::vector<std::thread> clients;
  for (std::atomic<int>& calls : done) {
    clients.emplace_back([&] {
      TestClient client(target());
      while (!over) {
        const auto reply = client.GetNamespace("kept");
        ++calls;
        if (reply.ok()) continue;
        // gRPC's client may use a connection in the moment in which the server closes it.
        EXPECT_EQ(reply.code, absl::StatusCode::kUnavailable) << reply.message;
        EXPECT_EQ(reply.details.details_size(), 0) << "no call reaches a server that refuses it";
        ++broken;
      }
    });
  }
  for (int round = 0; round < kRounds; ++round) {
    for (std::atomic<int>& calls : done) {
      for (const int before = calls; calls < before + 10;) std::this_thread::yield();
    }
    std::vector<rpc::ListeningSocket> sockets;
    for (const rpc::ListeningSocket& socket : server().sockets()) {
      sockets.push_back(*rpc::AdoptListeningSocket(UniqueFd(::fcntl(socket.fd.get(), F_DUPFD_CLOEXEC, 0))));
      sockets.back().is_own = true;
    }
    ASSERT_THAT(sockets, SizeIs(1));
    server().HandOver(absl::FromChrono(kDeadline));
    struct stat file = {};
    EXPECT_EQ(::stat(socket_path_.c_str(), &file), 0) << "it is the next one's";
    StopServer();
    StartServer({.inherited = std::move(sockets)}, /*serve=*/false);
    EXPECT_EQ(client_->Health("").value, kNotServing);
    ASSERT_TRUE(engine().Recover().ok());
    server().Serve();
    EXPECT_EQ(client_->Health("").value, kServing);
  }
  over = true;
  for (std::thread& client : clients) client.join();
  // Else it is one of each client and round, at least.
  EXPECT_LE(broken, kClients * kRounds / 10);
  StopServer();
  struct stat file = {};
  EXPECT_NE(::stat(socket_path_.c_str(), &file), 0) << "the last one removes it";
}

TEST_F(LifecycleTest, AConnectionThatDoesNotGoIsWaitedForOnlyWhileItCalls) {
  StartServer({.workers = 1});
  auto held = HoldTheWorker();
  // Speaks HTTP/2, hears of nothing, and stays.
  const UniqueFd deaf(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, socket_path_.c_str(), sizeof(address.sun_path) - 1);
  ASSERT_EQ(::connect(deaf.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  // The preface and an empty SETTINGS frame (RFC 9113, section 3.4).
  constexpr char kHello[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
  ASSERT_EQ(::send(deaf.get(), kHello, sizeof(kHello) - 1, 0), static_cast<ssize_t>(sizeof(kHello) - 1));
  char answer = 0;
  ASSERT_EQ(::recv(deaf.get(), &answer, 1, 0), 1);
  auto handed_over = std::async(std::launch::async, [this] { server().HandOver(absl::Hours(1)); });
  EXPECT_EQ(handed_over.wait_for(std::chrono::seconds(1)), std::future_status::timeout);
  go_on_.Open();
  EXPECT_TRUE(held.get().ok());
  handed_over.get();
}

TEST_F(LifecycleTest, AHandOverEndsWithItsGrace) {
  StartServer({.workers = 1});
  auto held = HoldTheWorker();
  auto handed_over = std::async(std::launch::async, [this] { server().HandOver(absl::ZeroDuration()); });
  // A change that has begun is finished in any case.
  go_on_.Open();
  EXPECT_TRUE(held.get().ok());
  handed_over.get();
}

}  // namespace
}  // namespace netprov::testing
