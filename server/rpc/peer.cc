#include "server/rpc/peer.h"

#include <grpc/grpc_security_constants.h>
#include <grpcpp/security/auth_context.h>
#include <grpcpp/security/auth_metadata_processor.h>

#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_replace.h"
#include "server/rpc/handover.h"

namespace netprov::rpc {
namespace {

constexpr char kPlaceProperty[] = "netprov_place";

// Leaves the place's number with a connection when its first call comes.
class PlaceMarker final : public grpc::AuthMetadataProcessor {
 public:
  explicit PlaceMarker(size_t place) : place_(std::to_string(place)) { HandOver(this); }
  ~PlaceMarker() override { TakeOver(this); }

  // It does nothing that takes time, and another thread would.
  bool IsBlocking() const override { return false; }

  grpc::Status Process(const InputMetadata&, grpc::AuthContext* context, OutputMetadata*, OutputMetadata*) override {
    TakeOver(this);
    {
      // The properties belong to the connection, whose calls may come on several threads. Each passes here before
      // anybody reads them, and once there is one, nobody writes.
      std::lock_guard<std::mutex> lock(mutex_);
      if (context->FindPropertyValues(kPlaceProperty).empty()) context->AddProperty(kPlaceProperty, place_);
    }
    HandOver(this);
    return grpc::Status::OK;
  }

 private:
  std::mutex mutex_;
  const std::string place_;
};

std::string FirstOf(const grpc::AuthContext& context, const char* property) {
  const std::vector<grpc::string_ref> values = context.FindPropertyValues(property);
  return values.empty() ? "" : std::string(values.front().data(), values.front().size());
}

std::vector<std::string> AllOf(const grpc::AuthContext& context, const char* property) {
  std::vector<std::string> all;
  for (const grpc::string_ref& value : context.FindPropertyValues(property)) {
    all.emplace_back(value.data(), value.size());
  }
  return all;
}

// `127.0.0.1:50000` and `[::1]:50000`, of what gRPC calls `ipv4:127.0.0.1:50000` and `ipv6:%5B::1%5D:50000`.
std::string AddressOf(const std::string& peer) {
  return absl::StrReplaceAll(peer.substr(peer.find(':') + 1), {{"%5B", "["}, {"%5D", "]"}});
}

}  // namespace

std::shared_ptr<grpc::ServerCredentials> PlaceCredentials(size_t place) {
  std::shared_ptr<grpc::ServerCredentials> credentials = grpc::experimental::LocalServerCredentials(UDS);
  credentials->SetAuthMetadataProcessor(std::make_shared<PlaceMarker>(place));
  return credentials;
}

std::shared_ptr<const access::Identity> CallerOf(const grpc::ServerContextBase& context,
                                                 const Connections& connections) {
  const std::shared_ptr<const grpc::AuthContext> auth = context.auth_context();
  if (auth != nullptr) {
    if (const std::string place = FirstOf(*auth, kPlaceProperty); !place.empty()) {
      size_t number = 0;
      return absl::SimpleAtoi(place, &number) ? connections.PeerAt(number) : nullptr;
    }
  }
  access::Identity caller;
  const std::string peer = context.peer();
  if (!absl::StartsWith(peer, "ipv4:") && !absl::StartsWith(peer, "ipv6:")) return nullptr;
  caller.from = AddressOf(peer);
  if (auth != nullptr && auth->IsPeerAuthenticated()) {
    caller.kind = access::Identity::Kind::kTls;
    caller.common_name = FirstOf(*auth, GRPC_X509_CN_PROPERTY_NAME);
    caller.dns_names = AllOf(*auth, GRPC_PEER_DNS_PROPERTY_NAME);
    caller.uris = AllOf(*auth, GRPC_PEER_URI_PROPERTY_NAME);
  }
  return std::make_shared<const access::Identity>(std::move(caller));
}

}  // namespace netprov::rpc
