// What gRPC is held to: sizes, streams and times.
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/base/unique_fd.h"
#include "tests/component/tls_fixture.h"

namespace netprov::testing {
namespace {

using ::testing::HasSubstr;

class TransportTest : public ServerTest {
 protected:
  // Waits until so many calls wait for their turn.
  bool WaitForCalls(size_t count) {
    const auto deadline = std::chrono::steady_clock::now() + kDeadline;
    while (server().waiting() < count && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return server().waiting() >= count;
  }
};

TEST_F(TransportTest, ARequestOfAMebibyteIsReadAndALargerOneIsNot) {
  StartServer();
  const std::string most(1 << 20, '\xff');
  EXPECT_EQ(client_->Raw("/netprov.v1.VethService/GetVeth", most).Summary(), "INVALID_ARGUMENT MALFORMED_REQUEST");
  const auto refused = client_->Raw("/netprov.v1.VethService/GetVeth", most + '\xff');
  EXPECT_EQ(refused.code, absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(refused.message, HasSubstr("larger than max (1048577 vs. 1048576)"));
  EXPECT_TRUE(client_->CreateNamespace("a").ok()) << "the connection is as good as before";
}

TEST_F(TransportTest, MetadataOfSevenKibibytesAreReadAndNineAreNot) {
  StartServer();
  v1::GetNamespaceRequest request;
  request.set_name("namespaces/a");
  EXPECT_EQ(client_->Get(request, {.owner = std::string(7 << 10, 'x')}).Summary(), "NOT_FOUND NAMESPACE_NOT_FOUND");
  const auto refused = client_->Get(request, {.owner = std::string(9 << 10, 'x')});
  EXPECT_EQ(refused.code, absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(refused.message, HasSubstr("metadata size exceeds"));
  // gRPC closes that connection; the next one is as good.
  const auto deadline = std::chrono::steady_clock::now() + kDeadline;
  std::string next;
  do {
    next = client_->CreateNamespace("a").Summary();
  } while (next == "UNAVAILABLE" && std::chrono::steady_clock::now() < deadline);
  EXPECT_EQ(next, "OK");
}

TEST_F(TransportTest, StreamsBeyondTheMostWaitInTheClient) {
  StartServer({.transport = {.streams = 2}}, /*serve=*/false);
  auto begin = [](TestClient& client) {
    return std::async(std::launch::async, [&client] { return client.GetNamespace("a"); });
  };
  std::vector<std::future<Reply<v1::Namespace>>> calls;
  for (int i = 0; i < 16; ++i) calls.push_back(begin(*client_));
  ASSERT_TRUE(WaitForCalls(2));
  // Of another connection they come, and nothing of the first one comes before them.
  TestClient other(target());
  for (int i = 0; i < 2; ++i) calls.push_back(begin(other));
  ASSERT_TRUE(WaitForCalls(4));
  EXPECT_EQ(server().waiting(), 4u);
  ASSERT_TRUE(engine().Recover().ok());
  server().Serve();
  for (auto& call : calls) EXPECT_EQ(call.get().Summary(), "NOT_FOUND NAMESPACE_NOT_FOUND");
}

TEST_F(TransportTest, WhoDoesNotSpeakIsLetGo) {
  StartServer({.transport = {.handshake = absl::Milliseconds(100)}});
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = {}};
  std::strncpy(address.sun_path, socket_path_.c_str(), sizeof(address.sun_path) - 1);
  ASSERT_EQ(::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  const timeval deadline = {.tv_sec = kDeadline.count(), .tv_usec = 0};
  ASSERT_EQ(::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof(deadline)), 0);
  // The server says its part, and then that it is over.
  char bytes[4096];
  ssize_t read = 0;
  do {
    read = ::recv(fd.get(), bytes, sizeof(bytes), 0);
  } while (read > 0);
  EXPECT_EQ(read, 0) << std::strerror(errno);
}

class OldConnectionTest : public TlsTest {
 protected:
  std::shared_ptr<grpc::Channel> Connect() {
    grpc::SslCredentialsOptions options{.pem_root_certs = Read(pki_ + "/ca.pem"),
                                        .pem_private_key = Read(pki_ + "/ci-key.pem"),
                                        .pem_cert_chain = Read(pki_ + "/ci.pem")};
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    return grpc::CreateCustomChannel(address_, grpc::SslCredentials(options), arguments);
  }
};

TEST_F(OldConnectionTest, AConnectionWithTlsEndsAtItsAgeAndTheNextIsAsGood) {
  Start({.age = absl::Milliseconds(200)});
  const std::shared_ptr<grpc::Channel> channel = Connect();
  const auto deadline = std::chrono::system_clock::now() + kDeadline;
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(channel->WaitForConnected(deadline));
    // The server ends it, though nobody asks it for anything.
    ASSERT_TRUE(channel->WaitForStateChange(GRPC_CHANNEL_READY, deadline));
  }
}

TEST_F(OldConnectionTest, ACallThatIsUnderWayIsFinished) {
  Start({.age = absl::Milliseconds(200)});
  Gate reached;
  Gate go_on;
  BlockNext("CreateNetns", reached, go_on);
  const auto connection = client::MakeConnection(address_, As("ci"));
  ASSERT_TRUE(connection.ok()) << connection.status();
  const client::Client ci(*connection, {.timeout = absl::FromChrono(kDeadline), .retry = false});
  auto held = std::async(std::launch::async, [&ci] { return ci.CreateNamespace("held"); });
  reached.Wait();
  // Another connection that is younger has come to its end.
  const std::shared_ptr<grpc::Channel> younger = Connect();
  const auto deadline = std::chrono::system_clock::now() + kDeadline;
  ASSERT_TRUE(younger->WaitForConnected(deadline));
  ASSERT_TRUE(younger->WaitForStateChange(GRPC_CHANNEL_READY, deadline));
  go_on.Open();
  const auto made = held.get();
  EXPECT_TRUE(made.ok()) << made.status();
}

}  // namespace
}  // namespace netprov::testing
