// A plain gRPC client for tests: generated stubs and a deadline, nothing of netprov's own client library.
#ifndef NETPROV_TESTS_COMPONENT_TEST_CLIENT_H_
#define NETPROV_TESTS_COMPONENT_TEST_CLIENT_H_

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "google/protobuf/empty.pb.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "netprov/v1/bridge.pb.h"
#include "netprov/v1/device.pb.h"
#include "netprov/v1/host.pb.h"
#include "netprov/v1/inspection.pb.h"
#include "netprov/v1/lease.pb.h"
#include "netprov/v1/namespace.pb.h"
#include "netprov/v1/veth.pb.h"

namespace netprov::testing {

// How long any call of a test may take. Never reached unless something is broken.
inline constexpr std::chrono::seconds kDeadline(10);

// How a call ended, as a client without any of our code sees it.
struct Ending {
  absl::StatusCode code = absl::StatusCode::kOk;
  std::string message;
  google::rpc::Status details;  // empty when the error came without

  bool ok() const { return code == absl::StatusCode::kOk; }
  template <typename Detail>
  std::optional<Detail> Get() const {
    Detail detail;
    for (const auto& any : details.details()) {
      if (any.UnpackTo(&detail)) return detail;
    }
    return std::nullopt;
  }
  // `NOT_FOUND NAMESPACE_NOT_FOUND`; `OK`.
  std::string Summary() const;
  std::map<std::string, std::string> Metadata() const;
  // The fields that BadRequest names.
  std::vector<std::string> Fields() const;
};

template <typename T>
struct Reply : Ending {
  T value;
};

// How to make one call.
struct CallOptions {
  std::chrono::milliseconds deadline = kDeadline;
  // Whose sign of life the call is (`netprov-owner`); empty: nobody's.
  std::string owner = {};
  // The metadata `traceparent`, as often as it is named.
  std::vector<std::string> traceparents = {};
  // Called once the call is under way, with what cancels it.
  std::function<void(std::function<void()> cancel)> started = nullptr;
};

// Thread-safe.
class TestClient {
 public:
  // `target` as gRPC reads it: `unix:/path`, `127.0.0.1:7001`.
  explicit TestClient(const std::string& target);
  ~TestClient();

  Reply<v1::Namespace> Create(const v1::CreateNamespaceRequest& request, const CallOptions& options = {});
  Reply<v1::Namespace> Get(const v1::GetNamespaceRequest& request, const CallOptions& options = {});
  Reply<v1::ListNamespacesResponse> List(const v1::ListNamespacesRequest& request, const CallOptions& options = {});
  Reply<v1::Namespace> Update(const v1::UpdateNamespaceRequest& request, const CallOptions& options = {});
  Reply<google::protobuf::Empty> Delete(const v1::DeleteNamespaceRequest& request, const CallOptions& options = {});
  Reply<v1::Namespace> Adopt(const v1::AdoptNamespaceRequest& request, const CallOptions& options = {});
  Reply<google::protobuf::Empty> Release(const v1::ReleaseNamespaceRequest& request, const CallOptions& options = {});
  Reply<v1::Veth> Create(const v1::CreateVethRequest& request, const CallOptions& options = {});
  Reply<v1::Veth> Get(const v1::GetVethRequest& request, const CallOptions& options = {});
  Reply<v1::ListVethsResponse> List(const v1::ListVethsRequest& request, const CallOptions& options = {});
  Reply<v1::Veth> Update(const v1::UpdateVethRequest& request, const CallOptions& options = {});
  Reply<google::protobuf::Empty> Delete(const v1::DeleteVethRequest& request, const CallOptions& options = {});
  Reply<v1::Bridge> Create(const v1::CreateBridgeRequest& request, const CallOptions& options = {});
  Reply<v1::Bridge> Get(const v1::GetBridgeRequest& request, const CallOptions& options = {});
  Reply<v1::ListBridgesResponse> List(const v1::ListBridgesRequest& request, const CallOptions& options = {});
  Reply<v1::Bridge> Update(const v1::UpdateBridgeRequest& request, const CallOptions& options = {});
  Reply<google::protobuf::Empty> Delete(const v1::DeleteBridgeRequest& request, const CallOptions& options = {});
  Reply<v1::Device> Create(const v1::CreateDeviceRequest& request, const CallOptions& options = {});
  Reply<v1::Device> Get(const v1::GetDeviceRequest& request, const CallOptions& options = {});
  Reply<v1::ListDevicesResponse> List(const v1::ListDevicesRequest& request, const CallOptions& options = {});
  Reply<v1::Device> Update(const v1::UpdateDeviceRequest& request, const CallOptions& options = {});
  Reply<google::protobuf::Empty> Delete(const v1::DeleteDeviceRequest& request, const CallOptions& options = {});
  Reply<v1::RenewLeaseResponse> Renew(const v1::RenewLeaseRequest& request, const CallOptions& options = {});
  Reply<v1::CollectGarbageResponse> Collect(const v1::CollectGarbageRequest& request, const CallOptions& options = {});
  Reply<v1::HostReport> GetReport(const v1::GetHostReportRequest& request, const CallOptions& options = {});
  Reply<v1::HostReport> Check(const v1::CheckHostRequest& request, const CallOptions& options = {});
  Reply<v1::ListLinksResponse> List(const v1::ListLinksRequest& request, const CallOptions& options = {});
  Reply<v1::ListAddressesResponse> List(const v1::ListAddressesRequest& request, const CallOptions& options = {});
  Reply<v1::ListRoutesResponse> List(const v1::ListRoutesRequest& request, const CallOptions& options = {});
  Reply<v1::ListNeighborsResponse> List(const v1::ListNeighborsRequest& request, const CallOptions& options = {});

  // The same in short.
  Reply<v1::Namespace> CreateNamespace(const std::string& id);
  Reply<v1::Namespace> GetNamespace(const std::string& id);
  Reply<google::protobuf::Empty> DeleteNamespace(const std::string& id);
  Reply<v1::Namespace> AdoptNamespace(const std::string& id);
  Reply<google::protobuf::Empty> ReleaseNamespace(const std::string& id);
  Reply<v1::Veth> GetVeth(const std::string& id);
  Reply<google::protobuf::Empty> DeleteVeth(const std::string& id);
  Reply<v1::Bridge> GetBridge(const std::string& id);
  Reply<google::protobuf::Empty> DeleteBridge(const std::string& id);
  Reply<v1::Device> GetDevice(const std::string& id);
  Reply<google::protobuf::Empty> DeleteDevice(const std::string& id);
  Reply<v1::RenewLeaseResponse> Renew(const std::string& owner);
  Reply<v1::HostReport> GetReport();
  // Acts on what it finds, or only looks.
  Reply<v1::HostReport> Check(bool look_only = false);

  // Sends these bytes as the request of a method, such as `/netprov.v1.VethService/GetVeth`; the answer's bytes.
  Reply<std::string> Raw(const std::string& method, const std::string& bytes);
  // Sends one message on a stream and returns the first answer.
  Reply<std::string> RawStream(const std::string& method, const std::string& bytes);
  // grpc.health.v1: 1 is SERVING, 2 NOT_SERVING.
  Reply<int> Health(const std::string& service);

 private:
  struct Stubs;
  std::unique_ptr<Stubs> stubs_;
};

// `KIND_MISSING veths/v`, for each finding of a report.
std::vector<std::string> FindingsOf(const v1::HostReport& report);

// A pair between the host (`host_name`) and a namespace (`peer_name`); empty names are left out.
v1::CreateVethRequest VethRequest(const std::string& id, const std::string& host_name, const std::string& namespace_id,
                                  const std::string& peer_name);

}  // namespace netprov::testing

#endif  // NETPROV_TESTS_COMPONENT_TEST_CLIENT_H_
