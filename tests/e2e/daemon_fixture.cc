#include "tests/e2e/daemon_fixture.h"

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"

namespace netprov::testing {

using ::testing::HasSubstr;

Context::Context() { set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10)); }

void DaemonTest::Start(std::vector<std::string> flags) {
  flags.insert(flags.begin(), kNetprovd);
  daemon_ = nullptr;
  daemon_ = std::make_unique<Process>(flags);
  ASSERT_THAT(daemon_->WaitForLine("listening address=unix:"), HasSubstr(kSocket));
  auto channel = grpc::CreateChannel(absl::StrCat("unix:", kSocket), grpc::InsecureChannelCredentials());
  namespaces_ = v1::NamespaceService::NewStub(channel);
  veths_ = v1::VethService::NewStub(channel);
}

grpc::Status DaemonTest::CreateNamespace(const std::string& id, const std::string& request_id) {
  Context context;
  v1::CreateNamespaceRequest request;
  request.set_namespace_id(id);
  request.set_request_id(request_id);
  return namespaces_->CreateNamespace(&context, request, &netns_);
}

grpc::Status DaemonTest::DeleteNamespace(const std::string& id, bool force) {
  Context context;
  v1::DeleteNamespaceRequest request;
  request.set_name("namespaces/" + id);
  request.set_force(force);
  google::protobuf::Empty response;
  return namespaces_->DeleteNamespace(&context, request, &response);
}

grpc::Status DaemonTest::CreateVeth(const std::string& id, const std::string& host_interface,
                                    const std::string& netns) {
  Context context;
  v1::CreateVethRequest request;
  request.set_veth_id(id);
  request.mutable_veth()->mutable_endpoint_a()->mutable_host();
  request.mutable_veth()->mutable_endpoint_a()->set_interface_name(host_interface);
  request.mutable_veth()->mutable_endpoint_b()->set_namespace_("namespaces/" + netns);
  return veths_->CreateVeth(&context, request, &veth_);
}

grpc::Status DaemonTest::DeleteVeth(const std::string& id) {
  Context context;
  v1::DeleteVethRequest request;
  request.set_name("veths/" + id);
  google::protobuf::Empty response;
  return veths_->DeleteVeth(&context, request, &response);
}

}  // namespace netprov::testing
