#include "client/grpc_connection.h"

#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "client/status.h"
#include "client/testing/fake_clock.h"
#include "client/testing/scripted_server.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace netprov::client {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::Gt;
using ::testing::IsEmpty;
using ::testing::Lt;
using ::testing::SizeIs;

absl::Status Busy() {
  absl::Status status = absl::UnavailableError("too many calls are waiting");
  google::rpc::ErrorInfo info;
  info.set_domain("netprov.v1");
  info.set_reason("QUEUE_FULL");
  SetDetail(status, info);
  return status;
}

// Keeps the requests that a server got. Thread-safe.
template <typename Request>
class Log {
 public:
  // Returns how many there are now.
  size_t Add(const Request& request) {
    std::lock_guard lock(mutex_);
    requests_.push_back(request);
    return requests_.size();
  }
  std::vector<Request> requests() const {
    std::lock_guard lock(mutex_);
    return requests_;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<Request> requests_;
};

class GrpcConnectionTest : public ::testing::Test {
 protected:
  GrpcConnectionTest() { options_.timeout = absl::Seconds(10); }

  std::shared_ptr<Connection> Connect(Handlers handlers) {
    server_ = std::make_unique<ScriptedServer>(std::move(handlers));
    return MakeConnection(server_->channel(), clock_);
  }

  const std::shared_ptr<FakeClock> clock_ = std::make_shared<FakeClock>();
  CallOptions options_;
  std::unique_ptr<ScriptedServer> server_;
};

TEST_F(GrpcConnectionTest, EveryMethodReachesItsOwnRpc) {
  Handlers handlers;
  handlers.create_namespace = [](const ScriptedCall&, const v1::CreateNamespaceRequest& request,
                                 v1::Namespace& response) {
    response.set_name("created " + request.namespace_id());
    return absl::OkStatus();
  };
  handlers.get_namespace = [](const ScriptedCall&, const v1::GetNamespaceRequest& request, v1::Namespace& response) {
    response.set_name("got " + request.name());
    return absl::OkStatus();
  };
  handlers.list_namespaces = [](const ScriptedCall&, const v1::ListNamespacesRequest& request,
                                v1::ListNamespacesResponse& response) {
    response.set_next_page_token("after " + request.page_token());
    return absl::OkStatus();
  };
  handlers.delete_namespace = [](const ScriptedCall&, const v1::DeleteNamespaceRequest& request,
                                 google::protobuf::Empty&) {
    return request.name() == "namespaces/a" ? absl::OkStatus() : absl::NotFoundError(request.name());
  };
  handlers.create_veth = [](const ScriptedCall&, const v1::CreateVethRequest& request, v1::Veth& response) {
    response.set_name("created " + request.veth_id());
    return absl::OkStatus();
  };
  handlers.get_veth = [](const ScriptedCall&, const v1::GetVethRequest& request, v1::Veth& response) {
    response.set_name("got " + request.name());
    return absl::OkStatus();
  };
  handlers.list_veths = [](const ScriptedCall&, const v1::ListVethsRequest& request, v1::ListVethsResponse& response) {
    response.set_next_page_token("after " + request.page_token());
    return absl::OkStatus();
  };
  handlers.delete_veth = [](const ScriptedCall&, const v1::DeleteVethRequest& request, google::protobuf::Empty&) {
    return request.name() == "veths/a" ? absl::OkStatus() : absl::NotFoundError(request.name());
  };
  handlers.renew_lease = [](const ScriptedCall&, const v1::RenewLeaseRequest& request,
                            v1::RenewLeaseResponse& response) {
    response.set_renewed(static_cast<int>(request.owner().size()));
    return absl::OkStatus();
  };
  handlers.collect_garbage = [](const ScriptedCall&, const v1::CollectGarbageRequest& request,
                                v1::CollectGarbageResponse& response) {
    response.add_deleted("all but " + request.keep(0));
    return absl::OkStatus();
  };
  handlers.get_host_report = [](const ScriptedCall&, const v1::GetHostReportRequest&, v1::HostReport& response) {
    response.set_at_start(true);
    return absl::OkStatus();
  };
  handlers.check_host = [](const ScriptedCall&, const v1::CheckHostRequest& request, v1::HostReport& response) {
    response.set_objects(request.validate_only() ? 1 : 2);
    return absl::OkStatus();
  };
  handlers.list_links = [](const ScriptedCall&, const v1::ListLinksRequest& request, v1::ListLinksResponse& response) {
    response.set_next_page_token("links of " + request.parent());
    return absl::OkStatus();
  };
  handlers.list_addresses = [](const ScriptedCall&, const v1::ListAddressesRequest& request,
                               v1::ListAddressesResponse& response) {
    response.set_next_page_token("addresses of " + request.parent());
    return absl::OkStatus();
  };
  handlers.list_routes = [](const ScriptedCall&, const v1::ListRoutesRequest& request,
                            v1::ListRoutesResponse& response) {
    response.set_next_page_token("routes of " + request.parent());
    return absl::OkStatus();
  };
  handlers.list_neighbors = [](const ScriptedCall&, const v1::ListNeighborsRequest& request,
                               v1::ListNeighborsResponse& response) {
    response.set_next_page_token("neighbors of " + request.parent());
    return absl::OkStatus();
  };
  const std::shared_ptr<Connection> connection = Connect(std::move(handlers));

  v1::CreateNamespaceRequest create_namespace;
  create_namespace.set_namespace_id("a");
  EXPECT_EQ(connection->CreateNamespace(create_namespace, options_)->name(), "created a");
  v1::GetNamespaceRequest get_namespace;
  get_namespace.set_name("namespaces/a");
  EXPECT_EQ(connection->GetNamespace(get_namespace, options_)->name(), "got namespaces/a");
  v1::ListNamespacesRequest list_namespaces;
  list_namespaces.set_page_token("x");
  EXPECT_EQ(connection->ListNamespaces(list_namespaces, options_)->next_page_token(), "after x");
  v1::DeleteNamespaceRequest delete_namespace;
  delete_namespace.set_name("namespaces/a");
  EXPECT_TRUE(connection->DeleteNamespace(delete_namespace, options_).ok());
  delete_namespace.set_name("namespaces/b");
  EXPECT_EQ(connection->DeleteNamespace(delete_namespace, options_), absl::NotFoundError("namespaces/b"));

  v1::CreateVethRequest create_veth;
  create_veth.set_veth_id("a");
  EXPECT_EQ(connection->CreateVeth(create_veth, options_)->name(), "created a");
  v1::GetVethRequest get_veth;
  get_veth.set_name("veths/a");
  EXPECT_EQ(connection->GetVeth(get_veth, options_)->name(), "got veths/a");
  v1::ListVethsRequest list_veths;
  list_veths.set_page_token("y");
  EXPECT_EQ(connection->ListVeths(list_veths, options_)->next_page_token(), "after y");
  v1::DeleteVethRequest delete_veth;
  delete_veth.set_name("veths/a");
  EXPECT_TRUE(connection->DeleteVeth(delete_veth, options_).ok());
  delete_veth.set_name("veths/b");
  EXPECT_EQ(connection->DeleteVeth(delete_veth, options_), absl::NotFoundError("veths/b"));

  v1::RenewLeaseRequest renew_lease;
  renew_lease.set_owner("abc");
  EXPECT_EQ(connection->RenewLease(renew_lease, options_)->renewed(), 3);
  v1::CollectGarbageRequest collect_garbage;
  collect_garbage.add_keep("veths/a");
  EXPECT_THAT(connection->CollectGarbage(collect_garbage, options_)->deleted(), ElementsAre("all but veths/a"));
  EXPECT_TRUE(connection->GetHostReport({}, options_)->at_start());
  v1::CheckHostRequest check_host;
  EXPECT_EQ(connection->CheckHost(check_host, options_)->objects(), 2);
  check_host.set_validate_only(true);
  EXPECT_EQ(connection->CheckHost(check_host, options_)->objects(), 1);
  v1::ListLinksRequest list_links;
  list_links.set_parent("host");
  EXPECT_EQ(connection->ListLinks(list_links, options_)->next_page_token(), "links of host");
  v1::ListAddressesRequest list_addresses;
  list_addresses.set_parent("host");
  EXPECT_EQ(connection->ListAddresses(list_addresses, options_)->next_page_token(), "addresses of host");
  v1::ListRoutesRequest list_routes;
  list_routes.set_parent("host");
  EXPECT_EQ(connection->ListRoutes(list_routes, options_)->next_page_token(), "routes of host");
  v1::ListNeighborsRequest list_neighbors;
  list_neighbors.set_parent("host");
  EXPECT_EQ(connection->ListNeighbors(list_neighbors, options_)->next_page_token(), "neighbors of host");
}

TEST_F(GrpcConnectionTest, ErrorKeepsItsDetails) {
  Handlers handlers;
  handlers.get_veth = [](const ScriptedCall&, const v1::GetVethRequest&, v1::Veth&) {
    absl::Status status = absl::NotFoundError("no such veth: a");
    google::rpc::ErrorInfo info;
    info.set_domain("netprov.v1");
    info.set_reason("VETH_NOT_FOUND");
    SetDetail(status, info);
    return status;
  };
  const absl::Status status = Connect(std::move(handlers))->GetVeth({}, options_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(status.message(), "no such veth: a");
  ASSERT_TRUE(GetErrorInfo(status).has_value());
  EXPECT_EQ(GetErrorInfo(status)->reason(), "VETH_NOT_FOUND");
}

TEST_F(GrpcConnectionTest, MutationWithRequestIdIsRepeatedAsItIs) {
  Log<v1::CreateNamespaceRequest> log;
  Handlers handlers;
  handlers.create_namespace = [&log](const ScriptedCall&, const v1::CreateNamespaceRequest& request,
                                     v1::Namespace& response) {
    if (log.Add(request) < 3) return Busy();
    response.set_name("namespaces/a");
    return absl::OkStatus();
  };
  v1::CreateNamespaceRequest request;
  request.set_namespace_id("a");
  request.set_request_id("5bd4f2d5-0b70-4d38-9b5e-0c8bbd4a9a3e");

  const absl::StatusOr<v1::Namespace> response = Connect(std::move(handlers))->CreateNamespace(request, options_);

  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->name(), "namespaces/a");
  ASSERT_THAT(log.requests(), SizeIs(3));
  for (const v1::CreateNamespaceRequest& sent : log.requests()) {
    EXPECT_EQ(sent.SerializeAsString(), request.SerializeAsString());
  }
  EXPECT_THAT(clock_->sleeps(), SizeIs(2));
}

TEST_F(GrpcConnectionTest, MutationWithoutRequestIdIsSentOnce) {
  std::atomic<int> calls = 0;
  Handlers handlers;
  handlers.create_namespace = [&calls](const ScriptedCall&, const v1::CreateNamespaceRequest&, v1::Namespace&) {
    ++calls;
    return Busy();
  };
  handlers.delete_namespace = [&calls](const ScriptedCall&, const v1::DeleteNamespaceRequest&,
                                       google::protobuf::Empty&) {
    ++calls;
    return Busy();
  };
  handlers.create_veth = [&calls](const ScriptedCall&, const v1::CreateVethRequest&, v1::Veth&) {
    ++calls;
    return Busy();
  };
  handlers.delete_veth = [&calls](const ScriptedCall&, const v1::DeleteVethRequest&, google::protobuf::Empty&) {
    ++calls;
    return Busy();
  };
  const std::shared_ptr<Connection> connection = Connect(std::move(handlers));
  EXPECT_EQ(connection->CreateNamespace({}, options_).status(), Busy());
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(connection->DeleteNamespace({}, options_), Busy());
  EXPECT_EQ(calls, 2);
  EXPECT_EQ(connection->CreateVeth({}, options_).status(), Busy());
  EXPECT_EQ(calls, 3);
  EXPECT_EQ(connection->DeleteVeth({}, options_), Busy());
  EXPECT_EQ(calls, 4);
  EXPECT_THAT(clock_->sleeps(), IsEmpty());
}

TEST_F(GrpcConnectionTest, ReadsAndValidationsAreRepeated) {
  std::atomic<int> calls = 0;
  const auto every_second = [&calls] { return ++calls % 2 == 1 ? Busy() : absl::OkStatus(); };
  Handlers handlers;
  handlers.get_namespace = [&](const ScriptedCall&, const v1::GetNamespaceRequest&, v1::Namespace&) {
    return every_second();
  };
  handlers.list_namespaces = [&](const ScriptedCall&, const v1::ListNamespacesRequest&, v1::ListNamespacesResponse&) {
    return every_second();
  };
  handlers.get_veth = [&](const ScriptedCall&, const v1::GetVethRequest&, v1::Veth&) { return every_second(); };
  handlers.list_veths = [&](const ScriptedCall&, const v1::ListVethsRequest&, v1::ListVethsResponse&) {
    return every_second();
  };
  handlers.delete_veth = [&](const ScriptedCall&, const v1::DeleteVethRequest&, google::protobuf::Empty&) {
    return every_second();
  };
  const std::shared_ptr<Connection> connection = Connect(std::move(handlers));
  EXPECT_TRUE(connection->GetNamespace({}, options_).ok());
  EXPECT_TRUE(connection->ListNamespaces({}, options_).ok());
  EXPECT_TRUE(connection->GetVeth({}, options_).ok());
  EXPECT_TRUE(connection->ListVeths({}, options_).ok());
  v1::DeleteVethRequest validation;
  validation.set_validate_only(true);
  EXPECT_TRUE(connection->DeleteVeth(validation, options_).ok());
  EXPECT_EQ(calls, 10);
}

TEST_F(GrpcConnectionTest, WhatIsIdempotentByNatureIsRepeated) {
  std::atomic<int> calls = 0;
  const auto every_second = [&calls] { return ++calls % 2 == 1 ? Busy() : absl::OkStatus(); };
  Handlers handlers;
  handlers.renew_lease = [&](const ScriptedCall&, const v1::RenewLeaseRequest&, v1::RenewLeaseResponse&) {
    return every_second();
  };
  handlers.collect_garbage = [&](const ScriptedCall&, const v1::CollectGarbageRequest&, v1::CollectGarbageResponse&) {
    return every_second();
  };
  handlers.get_host_report = [&](const ScriptedCall&, const v1::GetHostReportRequest&, v1::HostReport&) {
    return every_second();
  };
  handlers.check_host = [&](const ScriptedCall&, const v1::CheckHostRequest&, v1::HostReport&) {
    return every_second();
  };
  handlers.list_links = [&](const ScriptedCall&, const v1::ListLinksRequest&, v1::ListLinksResponse&) {
    return every_second();
  };
  handlers.list_addresses = [&](const ScriptedCall&, const v1::ListAddressesRequest&, v1::ListAddressesResponse&) {
    return every_second();
  };
  handlers.list_routes = [&](const ScriptedCall&, const v1::ListRoutesRequest&, v1::ListRoutesResponse&) {
    return every_second();
  };
  handlers.list_neighbors = [&](const ScriptedCall&, const v1::ListNeighborsRequest&, v1::ListNeighborsResponse&) {
    return every_second();
  };
  const std::shared_ptr<Connection> connection = Connect(std::move(handlers));
  EXPECT_TRUE(connection->RenewLease({}, options_).ok());
  EXPECT_TRUE(connection->CollectGarbage({}, options_).ok());
  EXPECT_TRUE(connection->GetHostReport({}, options_).ok());
  EXPECT_TRUE(connection->CheckHost({}, options_).ok());
  EXPECT_TRUE(connection->ListLinks({}, options_).ok());
  EXPECT_TRUE(connection->ListAddresses({}, options_).ok());
  EXPECT_TRUE(connection->ListRoutes({}, options_).ok());
  EXPECT_TRUE(connection->ListNeighbors({}, options_).ok());
  EXPECT_EQ(calls, 16);
}

TEST_F(GrpcConnectionTest, EveryAttemptCarriesTheOwner) {
  std::mutex mutex;
  std::vector<std::vector<std::string>> owners;
  Handlers handlers;
  handlers.get_veth = [&](const ScriptedCall& call, const v1::GetVethRequest&, v1::Veth&) {
    std::lock_guard lock(mutex);
    owners.push_back(call.owners);
    return owners.size() == 1 ? Busy() : absl::OkStatus();
  };
  const std::shared_ptr<Connection> connection = Connect(std::move(handlers));
  options_.owner = "ci/job-17@host:2";
  EXPECT_TRUE(connection->GetVeth({}, options_).ok());
  options_.owner = "";
  EXPECT_TRUE(connection->GetVeth({}, options_).ok());
  std::lock_guard lock(mutex);
  EXPECT_THAT(owners, ElementsAre(ElementsAre("ci/job-17@host:2"), ElementsAre("ci/job-17@host:2"), IsEmpty()));
}

TEST_F(GrpcConnectionTest, OwnerThatNoHeaderCanHoldIsNotSent) {
  std::atomic<int> calls = 0;
  Handlers handlers;
  handlers.get_veth = [&calls](const ScriptedCall&, const v1::GetVethRequest&, v1::Veth&) {
    ++calls;
    return absl::OkStatus();
  };
  options_.owner = "a\nb";
  EXPECT_EQ(Connect(std::move(handlers))->GetVeth({}, options_).status(),
            absl::InvalidArgumentError("netprov-owner must be 1 to 128 characters of A-Z a-z 0-9 . _ - / : @"));
  EXPECT_EQ(calls, 0);
}

TEST_F(GrpcConnectionTest, RetryInfoFromTheWireIsHonoured) {
  std::atomic<int> calls = 0;
  Handlers handlers;
  handlers.get_veth = [&calls](const ScriptedCall&, const v1::GetVethRequest&, v1::Veth&) {
    if (++calls > 1) return absl::OkStatus();
    absl::Status status = Busy();
    google::rpc::RetryInfo info;
    info.mutable_retry_delay()->set_seconds(3);
    info.mutable_retry_delay()->set_nanos(500'000'000);
    SetDetail(status, info);
    return status;
  };
  EXPECT_TRUE(Connect(std::move(handlers))->GetVeth({}, options_).ok());
  EXPECT_THAT(clock_->sleeps(), ElementsAre(absl::Milliseconds(3500)));
}

TEST_F(GrpcConnectionTest, FieldsOfAFailedAttemptDoNotStay) {
  std::atomic<int> calls = 0;
  Handlers handlers;
  handlers.get_veth = [&calls](const ScriptedCall&, const v1::GetVethRequest&, v1::Veth& response) {
    if (++calls == 1) {
      response.set_uid("of the first attempt");
      return Busy();
    }
    response.set_name("veths/a");
    return absl::OkStatus();
  };
  const absl::StatusOr<v1::Veth> veth = Connect(std::move(handlers))->GetVeth({}, options_);
  ASSERT_TRUE(veth.ok()) << veth.status();
  EXPECT_EQ(veth->name(), "veths/a");
  EXPECT_EQ(veth->uid(), "");
}

TEST_F(GrpcConnectionTest, ServerSeesTheDeadline) {
  std::mutex mutex;
  std::vector<absl::Duration> timeouts;
  Handlers handlers;
  handlers.get_veth = [&](const ScriptedCall& call, const v1::GetVethRequest&, v1::Veth&) {
    std::lock_guard lock(mutex);
    timeouts.push_back(call.timeout);
    return absl::OkStatus();
  };
  const std::shared_ptr<Connection> connection = Connect(std::move(handlers));
  options_.timeout = absl::Hours(2);
  EXPECT_TRUE(connection->GetVeth({}, options_).ok());
  options_.attempt_timeout = absl::Hours(1);
  EXPECT_TRUE(connection->GetVeth({}, options_).ok());
  options_.attempt_timeout = absl::InfiniteDuration();
  options_.timeout = absl::InfiniteDuration();
  EXPECT_TRUE(connection->GetVeth({}, options_).ok());
  std::lock_guard lock(mutex);
  // gRPC rounds up a little on the wire.
  EXPECT_THAT(timeouts, ElementsAre(AllOf(Gt(absl::Minutes(90)), Lt(absl::Minutes(121))),
                                    AllOf(Gt(absl::Minutes(30)), Lt(absl::Minutes(61))), absl::InfiniteDuration()));
}

TEST_F(GrpcConnectionTest, ServerThatDoesNotAnswerIsLeftAtTheDeadline) {
  std::mutex mutex;
  std::condition_variable changed;
  bool may_answer = false;
  Handlers handlers;
  handlers.get_veth = [&](const ScriptedCall&, const v1::GetVethRequest&, v1::Veth&) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return may_answer; });
    return absl::OkStatus();
  };
  const std::shared_ptr<Connection> connection = Connect(std::move(handlers));
  options_.timeout = absl::Milliseconds(20);
  EXPECT_TRUE(absl::IsDeadlineExceeded(connection->GetVeth({}, options_).status()));
  {
    std::lock_guard lock(mutex);
    may_answer = true;
  }
  changed.notify_all();
  server_.reset();  // Waits for the handler, which uses what stands here.
}

TEST_F(GrpcConnectionTest, TextThatIsNotUtf8IsNotSent) {
  std::atomic<int> calls = 0;
  Handlers handlers;
  handlers.get_veth = [&calls](const ScriptedCall&, const v1::GetVethRequest&, v1::Veth&) {
    ++calls;
    return absl::OkStatus();
  };
  v1::GetVethRequest request;
  request.set_name("veths/\xff");
  const absl::Status status = Connect(std::move(handlers))->GetVeth(request, options_).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_EQ(GetBadRequest(status)->field_violations(0).field(), "name");
  EXPECT_EQ(calls, 0);
}

TEST(MakeConnectionTest, ReachesAServerOnAUnixSocket) {
  // Not in TempDir(): a socket's path has at most 107 characters (unix(7)).
  std::string directory = "/tmp/netprov-socket-XXXXXX";
  ASSERT_NE(mkdtemp(directory.data()), nullptr);
  const std::string path = directory + "/a b.sock";
  {
    Handlers handlers;
    handlers.get_veth = [](const ScriptedCall&, const v1::GetVethRequest& request, v1::Veth& response) {
      response.set_name(request.name());
      return absl::OkStatus();
    };
    ScriptedServer server(std::move(handlers), "unix:" + directory + "/a%20b.sock");
    const absl::StatusOr<std::shared_ptr<Connection>> connection = MakeConnection("unix://" + path);
    ASSERT_TRUE(connection.ok()) << connection.status();
    v1::GetVethRequest request;
    request.set_name("veths/a");
    const absl::StatusOr<v1::Veth> veth = (*connection)->GetVeth(request, {});
    ASSERT_TRUE(veth.ok()) << veth.status();
    EXPECT_EQ(veth->name(), "veths/a");
  }
  unlink(path.c_str());
  rmdir(directory.c_str());
}

TEST(MakeConnectionTest, NobodyThereIsUnavailable) {
  const absl::StatusOr<std::shared_ptr<Connection>> connection = MakeConnection("unix:///tmp/netprov-nobody.sock");
  ASSERT_TRUE(connection.ok()) << connection.status();
  CallOptions options;
  options.retry = false;
  EXPECT_TRUE(absl::IsUnavailable((*connection)->GetVeth({}, options).status()));
}

TEST(MakeConnectionTest, BadEndpointIsRefused) {
  EXPECT_TRUE(absl::IsInvalidArgument(MakeConnection("nowhere").status()));
}

}  // namespace
}  // namespace netprov::client
