#include "client/example.h"

#include <map>
#include <mutex>
#include <sstream>
#include <string>
#include <utility>

#include "client/testing/scripted_server.h"
#include "gtest/gtest.h"

namespace netprov::client {
namespace {

// Enough of a server for the example: it keeps what is created.
class ExampleTest : public ::testing::Test {
 protected:
  Handlers MakeHandlers() {
    Handlers handlers;
    handlers.create_namespace = [this](const ScriptedCall&, const v1::CreateNamespaceRequest& request,
                                       v1::Namespace& response) {
      std::lock_guard lock(mutex_);
      response.set_name("namespaces/" + request.namespace_id());
      response.set_path("/run/netns/" + request.namespace_id());
      if (!namespaces_.emplace(response.name(), response).second) return absl::AlreadyExistsError(response.name());
      return absl::OkStatus();
    };
    handlers.list_namespaces = [this](const ScriptedCall&, const v1::ListNamespacesRequest&,
                                      v1::ListNamespacesResponse& response) {
      std::lock_guard lock(mutex_);
      for (const auto& [name, ns] : namespaces_) *response.add_namespaces() = ns;
      return absl::OkStatus();
    };
    handlers.delete_namespace = [this](const ScriptedCall&, const v1::DeleteNamespaceRequest& request,
                                       google::protobuf::Empty&) {
      std::lock_guard lock(mutex_);
      veths_.clear();
      return namespaces_.erase(request.name()) == 1 ? absl::OkStatus() : absl::NotFoundError(request.name());
    };
    handlers.create_veth = [this](const ScriptedCall&, const v1::CreateVethRequest& request, v1::Veth& response) {
      std::lock_guard lock(mutex_);
      response = request.veth();
      response.set_name("veths/" + request.veth_id());
      response.set_state(v1::Veth::STATE_READY);
      if (veths_.emplace(response.name(), response).second) return absl::OkStatus();
      absl::Status status = absl::AlreadyExistsError("veths/netprov-example");
      google::rpc::ErrorInfo info;
      info.set_domain("netprov.v1");
      info.set_reason("VETH_ALREADY_EXISTS");
      SetDetail(status, info);
      return status;
    };
    handlers.get_veth = [this](const ScriptedCall&, const v1::GetVethRequest& request, v1::Veth& response) {
      std::lock_guard lock(mutex_);
      const auto it = veths_.find(request.name());
      if (it == veths_.end()) return absl::NotFoundError(request.name());
      response = it->second;
      return absl::OkStatus();
    };
    handlers.delete_veth = [this](const ScriptedCall&, const v1::DeleteVethRequest& request, google::protobuf::Empty&) {
      std::lock_guard lock(mutex_);
      return veths_.erase(request.name()) == 1 ? absl::OkStatus() : absl::NotFoundError(request.name());
    };
    return handlers;
  }

  std::mutex mutex_;
  std::map<std::string, v1::Namespace> namespaces_;
  std::map<std::string, v1::Veth> veths_;
};

TEST_F(ExampleTest, PrintsItsSteps) {
  ScriptedServer server(MakeHandlers());
  std::ostringstream out;
  const absl::Status status = RunExample(Client(MakeConnection(server.channel())), out);
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(out.str(),
            "created namespaces/netprov-example at /run/netns/netprov-example\n"
            "created veths/netprov-example: np-example <-> eth0 in namespaces/netprov-example\n"
            "read veths/netprov-example: STATE_READY, mtu 1400, 10.0.0.2/24\n"
            "listed namespaces/netprov-example\n"
            "refused a second one: VETH_ALREADY_EXISTS\n"
            "deleted veths/netprov-example\n"
            "deleted namespaces/netprov-example\n");
  std::lock_guard lock(mutex_);
  EXPECT_TRUE(namespaces_.empty());
  EXPECT_TRUE(veths_.empty());
}

TEST_F(ExampleTest, CleansUpAfterAFailedStep) {
  Handlers handlers = MakeHandlers();
  handlers.get_veth = [](const ScriptedCall&, const v1::GetVethRequest&, v1::Veth&) {
    return absl::InternalError("the disk is full");
  };
  ScriptedServer server(std::move(handlers));
  std::ostringstream out;
  EXPECT_EQ(RunExample(Client(MakeConnection(server.channel())), out), absl::InternalError("the disk is full"));
  std::lock_guard lock(mutex_);
  EXPECT_TRUE(namespaces_.empty());
}

}  // namespace
}  // namespace netprov::client
