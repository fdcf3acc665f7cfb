#include "tests/component/test_client.h"

#include <grpc/grpc.h>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/completion_queue.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/security/credentials.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "netprov/v1/bridge.grpc.pb.h"
#include "netprov/v1/device.grpc.pb.h"
#include "netprov/v1/host.grpc.pb.h"
#include "netprov/v1/inspection.grpc.pb.h"
#include "netprov/v1/lease.grpc.pb.h"
#include "netprov/v1/namespace.grpc.pb.h"
#include "netprov/v1/veth.grpc.pb.h"

namespace netprov::testing {
namespace {

void SetEnding(const grpc::Status& status, Ending& ending) {
  ending.code = static_cast<absl::StatusCode>(status.error_code());
  ending.message = status.error_message();
  ending.details.ParseFromString(status.error_details());
}

// Makes a call by a method of a stub.
template <typename Stub, typename Request, typename Response>
Reply<Response> Call(Stub& stub, grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                     const Request& request, const CallOptions& options) {
  // Shared, as TryCancel() still works on it when the call has ended by it.
  auto context = std::make_shared<grpc::ClientContext>();
  context->set_deadline(std::chrono::system_clock::now() + options.deadline);
  if (!options.owner.empty()) context->AddMetadata("netprov-owner", options.owner);
  for (const std::string& trace : options.traceparents) context->AddMetadata("traceparent", trace);
  if (options.started != nullptr) options.started([context] { context->TryCancel(); });
  Reply<Response> reply;
  SetEnding((stub.*method)(context.get(), request, &reply.value), reply);
  return reply;
}

std::string BytesOf(const grpc::ByteBuffer& buffer) {
  grpc::Slice slice;
  if (!buffer.Valid() || !buffer.DumpToSingleSlice(&slice).ok()) return "";
  return std::string(reinterpret_cast<const char*>(slice.begin()), slice.size());
}

}  // namespace

std::string Ending::Summary() const {
  std::string summary = absl::StatusCodeToString(code);
  if (const auto info = Get<google::rpc::ErrorInfo>(); info.has_value()) absl::StrAppend(&summary, " ", info->reason());
  return summary;
}

std::map<std::string, std::string> Ending::Metadata() const {
  const auto info = Get<google::rpc::ErrorInfo>();
  if (!info.has_value()) return {};
  return {info->metadata().begin(), info->metadata().end()};
}

std::vector<std::string> Ending::Fields() const {
  std::vector<std::string> fields;
  const auto bad = Get<google::rpc::BadRequest>();
  if (!bad.has_value()) return fields;
  for (const auto& violation : bad->field_violations()) fields.push_back(violation.field());
  return fields;
}

struct TestClient::Stubs {
  explicit Stubs(std::shared_ptr<grpc::Channel> to)
      : channel(std::move(to)),
        namespaces(channel),
        veths(channel),
        bridges(channel),
        devices(channel),
        leases(channel),
        host(channel),
        inspection(channel),
        generic(channel) {}

  std::shared_ptr<grpc::Channel> channel;
  v1::NamespaceService::Stub namespaces;
  v1::VethService::Stub veths;
  v1::BridgeService::Stub bridges;
  v1::DeviceService::Stub devices;
  v1::LeaseService::Stub leases;
  v1::HostService::Stub host;
  v1::InspectionService::Stub inspection;
  grpc::GenericStub generic;
};

TestClient::TestClient(const std::string& target) {
  // Never shut down: gRPC would wait for its idle client threads, for up to 10 s, each time that the last user goes.
  static const bool initialized = (grpc_init(), true);
  (void)initialized;
  grpc::ChannelArguments arguments;
  // Else all clients of a process share one connection.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  stubs_ = std::make_unique<Stubs>(grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(), arguments));
}

TestClient::~TestClient() = default;

using NamespaceStub = v1::NamespaceService::Stub;
using VethStub = v1::VethService::Stub;
using BridgeStub = v1::BridgeService::Stub;
using DeviceStub = v1::DeviceService::Stub;
using LeaseStub = v1::LeaseService::Stub;
using HostStub = v1::HostService::Stub;
using InspectionStub = v1::InspectionService::Stub;

Reply<v1::Namespace> TestClient::Create(const v1::CreateNamespaceRequest& request, const CallOptions& options) {
  return Call(stubs_->namespaces, &NamespaceStub::CreateNamespace, request, options);
}
Reply<v1::Namespace> TestClient::Get(const v1::GetNamespaceRequest& request, const CallOptions& options) {
  return Call(stubs_->namespaces, &NamespaceStub::GetNamespace, request, options);
}
Reply<v1::ListNamespacesResponse> TestClient::List(const v1::ListNamespacesRequest& request,
                                                   const CallOptions& options) {
  return Call(stubs_->namespaces, &NamespaceStub::ListNamespaces, request, options);
}
Reply<v1::Namespace> TestClient::Update(const v1::UpdateNamespaceRequest& request, const CallOptions& options) {
  return Call(stubs_->namespaces, &NamespaceStub::UpdateNamespace, request, options);
}
Reply<google::protobuf::Empty> TestClient::Delete(const v1::DeleteNamespaceRequest& request,
                                                  const CallOptions& options) {
  return Call(stubs_->namespaces, &NamespaceStub::DeleteNamespace, request, options);
}
Reply<v1::Namespace> TestClient::Adopt(const v1::AdoptNamespaceRequest& request, const CallOptions& options) {
  return Call(stubs_->namespaces, &NamespaceStub::AdoptNamespace, request, options);
}
Reply<google::protobuf::Empty> TestClient::Release(const v1::ReleaseNamespaceRequest& request,
                                                   const CallOptions& options) {
  return Call(stubs_->namespaces, &NamespaceStub::ReleaseNamespace, request, options);
}
Reply<v1::Veth> TestClient::Create(const v1::CreateVethRequest& request, const CallOptions& options) {
  return Call(stubs_->veths, &VethStub::CreateVeth, request, options);
}
Reply<v1::Veth> TestClient::Get(const v1::GetVethRequest& request, const CallOptions& options) {
  return Call(stubs_->veths, &VethStub::GetVeth, request, options);
}
Reply<v1::ListVethsResponse> TestClient::List(const v1::ListVethsRequest& request, const CallOptions& options) {
  return Call(stubs_->veths, &VethStub::ListVeths, request, options);
}
Reply<v1::Veth> TestClient::Update(const v1::UpdateVethRequest& request, const CallOptions& options) {
  return Call(stubs_->veths, &VethStub::UpdateVeth, request, options);
}
Reply<google::protobuf::Empty> TestClient::Delete(const v1::DeleteVethRequest& request, const CallOptions& options) {
  return Call(stubs_->veths, &VethStub::DeleteVeth, request, options);
}
Reply<v1::Bridge> TestClient::Create(const v1::CreateBridgeRequest& request, const CallOptions& options) {
  return Call(stubs_->bridges, &BridgeStub::CreateBridge, request, options);
}
Reply<v1::Bridge> TestClient::Get(const v1::GetBridgeRequest& request, const CallOptions& options) {
  return Call(stubs_->bridges, &BridgeStub::GetBridge, request, options);
}
Reply<v1::ListBridgesResponse> TestClient::List(const v1::ListBridgesRequest& request, const CallOptions& options) {
  return Call(stubs_->bridges, &BridgeStub::ListBridges, request, options);
}
Reply<v1::Bridge> TestClient::Update(const v1::UpdateBridgeRequest& request, const CallOptions& options) {
  return Call(stubs_->bridges, &BridgeStub::UpdateBridge, request, options);
}
Reply<google::protobuf::Empty> TestClient::Delete(const v1::DeleteBridgeRequest& request, const CallOptions& options) {
  return Call(stubs_->bridges, &BridgeStub::DeleteBridge, request, options);
}
Reply<v1::Device> TestClient::Create(const v1::CreateDeviceRequest& request, const CallOptions& options) {
  return Call(stubs_->devices, &DeviceStub::CreateDevice, request, options);
}
Reply<v1::Device> TestClient::Get(const v1::GetDeviceRequest& request, const CallOptions& options) {
  return Call(stubs_->devices, &DeviceStub::GetDevice, request, options);
}
Reply<v1::ListDevicesResponse> TestClient::List(const v1::ListDevicesRequest& request, const CallOptions& options) {
  return Call(stubs_->devices, &DeviceStub::ListDevices, request, options);
}
Reply<v1::Device> TestClient::Update(const v1::UpdateDeviceRequest& request, const CallOptions& options) {
  return Call(stubs_->devices, &DeviceStub::UpdateDevice, request, options);
}
Reply<google::protobuf::Empty> TestClient::Delete(const v1::DeleteDeviceRequest& request, const CallOptions& options) {
  return Call(stubs_->devices, &DeviceStub::DeleteDevice, request, options);
}
Reply<v1::RenewLeaseResponse> TestClient::Renew(const v1::RenewLeaseRequest& request, const CallOptions& options) {
  return Call(stubs_->leases, &LeaseStub::RenewLease, request, options);
}
Reply<v1::CollectGarbageResponse> TestClient::Collect(const v1::CollectGarbageRequest& request,
                                                      const CallOptions& options) {
  return Call(stubs_->leases, &LeaseStub::CollectGarbage, request, options);
}
Reply<v1::HostReport> TestClient::GetReport(const v1::GetHostReportRequest& request, const CallOptions& options) {
  return Call(stubs_->host, &HostStub::GetHostReport, request, options);
}
Reply<v1::HostReport> TestClient::Check(const v1::CheckHostRequest& request, const CallOptions& options) {
  return Call(stubs_->host, &HostStub::CheckHost, request, options);
}
Reply<v1::ListLinksResponse> TestClient::List(const v1::ListLinksRequest& request, const CallOptions& options) {
  return Call(stubs_->inspection, &InspectionStub::ListLinks, request, options);
}
Reply<v1::ListAddressesResponse> TestClient::List(const v1::ListAddressesRequest& request, const CallOptions& options) {
  return Call(stubs_->inspection, &InspectionStub::ListAddresses, request, options);
}
Reply<v1::ListRoutesResponse> TestClient::List(const v1::ListRoutesRequest& request, const CallOptions& options) {
  return Call(stubs_->inspection, &InspectionStub::ListRoutes, request, options);
}
Reply<v1::ListNeighborsResponse> TestClient::List(const v1::ListNeighborsRequest& request, const CallOptions& options) {
  return Call(stubs_->inspection, &InspectionStub::ListNeighbors, request, options);
}

Reply<v1::Namespace> TestClient::CreateNamespace(const std::string& id) {
  v1::CreateNamespaceRequest request;
  request.set_namespace_id(id);
  return Create(request);
}
Reply<v1::Namespace> TestClient::GetNamespace(const std::string& id) {
  v1::GetNamespaceRequest request;
  request.set_name("namespaces/" + id);
  return Get(request);
}
Reply<google::protobuf::Empty> TestClient::DeleteNamespace(const std::string& id) {
  v1::DeleteNamespaceRequest request;
  request.set_name("namespaces/" + id);
  return Delete(request);
}
Reply<v1::Namespace> TestClient::AdoptNamespace(const std::string& id) {
  v1::AdoptNamespaceRequest request;
  request.set_name("namespaces/" + id);
  return Adopt(request);
}
Reply<google::protobuf::Empty> TestClient::ReleaseNamespace(const std::string& id) {
  v1::ReleaseNamespaceRequest request;
  request.set_name("namespaces/" + id);
  return Release(request);
}
Reply<v1::Veth> TestClient::GetVeth(const std::string& id) {
  v1::GetVethRequest request;
  request.set_name("veths/" + id);
  return Get(request);
}
Reply<google::protobuf::Empty> TestClient::DeleteVeth(const std::string& id) {
  v1::DeleteVethRequest request;
  request.set_name("veths/" + id);
  return Delete(request);
}
Reply<v1::Bridge> TestClient::GetBridge(const std::string& id) {
  v1::GetBridgeRequest request;
  request.set_name("bridges/" + id);
  return Get(request);
}
Reply<v1::Device> TestClient::GetDevice(const std::string& id) {
  v1::GetDeviceRequest request;
  request.set_name("devices/" + id);
  return Get(request);
}
Reply<google::protobuf::Empty> TestClient::DeleteDevice(const std::string& id) {
  v1::DeleteDeviceRequest request;
  request.set_name("devices/" + id);
  return Delete(request);
}
Reply<google::protobuf::Empty> TestClient::DeleteBridge(const std::string& id) {
  v1::DeleteBridgeRequest request;
  request.set_name("bridges/" + id);
  return Delete(request);
}
Reply<v1::RenewLeaseResponse> TestClient::Renew(const std::string& owner) {
  v1::RenewLeaseRequest request;
  request.set_owner(owner);
  return Renew(request);
}
Reply<v1::HostReport> TestClient::GetReport() { return GetReport(v1::GetHostReportRequest()); }
Reply<v1::HostReport> TestClient::Check(bool look_only) {
  v1::CheckHostRequest request;
  request.set_validate_only(look_only);
  return Check(request);
}

Reply<std::string> TestClient::Raw(const std::string& method, const std::string& bytes) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kDeadline);
  grpc::CompletionQueue queue;
  const grpc::Slice slice(bytes);
  const grpc::ByteBuffer request(&slice, 1);
  grpc::ByteBuffer response;
  grpc::Status status;
  auto call = stubs_->generic.PrepareUnaryCall(&context, method, request, &queue);
  call->StartCall();
  call->Finish(&response, &status, &context);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  Reply<std::string> reply;
  SetEnding(status, reply);
  reply.value = BytesOf(response);
  return reply;
}

Reply<std::string> TestClient::RawStream(const std::string& method, const std::string& bytes) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kDeadline);
  grpc::CompletionQueue queue;
  const grpc::Slice slice(bytes);
  const grpc::ByteBuffer request(&slice, 1);
  grpc::ByteBuffer response;
  grpc::Status status;
  void* tag = nullptr;
  bool ok = false;
  auto call = stubs_->generic.PrepareCall(&context, method, &queue);
  call->StartCall(&tag);
  queue.Next(&tag, &ok);
  call->Write(request, &tag);
  queue.Next(&tag, &ok);
  call->Read(&response, &tag);
  queue.Next(&tag, &ok);
  call->WritesDone(&tag);
  queue.Next(&tag, &ok);
  call->Finish(&status, &tag);
  queue.Next(&tag, &ok);
  Reply<std::string> reply;
  SetEnding(status, reply);
  reply.value = BytesOf(response);
  return reply;
}

Reply<int> TestClient::Health(const std::string& service) {
  // HealthCheckRequest{service = 1}, HealthCheckResponse{status = 1}.
  const std::string request =
      service.empty() ? "" : absl::StrCat("\x0a", std::string(1, static_cast<char>(service.size())), service);
  const Reply<std::string> answer = Raw("/grpc.health.v1.Health/Check", request);
  Reply<int> reply;
  static_cast<Ending&>(reply) = answer;
  reply.value = answer.value.size() == 2 ? answer.value[1] : -1;
  return reply;
}

std::vector<std::string> FindingsOf(const v1::HostReport& report) {
  std::vector<std::string> findings;
  for (const v1::Finding& finding : report.findings()) {
    findings.push_back(absl::StrCat(v1::Finding::Kind_Name(finding.kind()), " ", finding.resource()));
  }
  return findings;
}

v1::CreateVethRequest VethRequest(const std::string& id, const std::string& host_name, const std::string& namespace_id,
                                  const std::string& peer_name) {
  v1::CreateVethRequest request;
  request.set_veth_id(id);
  request.mutable_veth()->mutable_endpoint_a()->mutable_host();
  request.mutable_veth()->mutable_endpoint_a()->set_interface_name(host_name);
  request.mutable_veth()->mutable_endpoint_b()->set_namespace_("namespaces/" + namespace_id);
  request.mutable_veth()->mutable_endpoint_b()->set_interface_name(peer_name);
  return request;
}

}  // namespace netprov::testing
