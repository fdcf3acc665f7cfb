#include "server/rpc/status.h"

#include <map>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "google/rpc/status.pb.h"

namespace netprov::rpc {

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  const auto code = static_cast<grpc::StatusCode>(status.code());
  google::rpc::Status details;
  details.set_code(static_cast<int>(status.code()));
  details.set_message(std::string(status.message()));
  // ForEachPayload() has no order of its own.
  std::map<std::pair<bool, std::string>, std::string> payloads;
  status.ForEachPayload([&](absl::string_view url, const absl::Cord& payload) {
    const bool is_error_info = absl::EndsWith(url, "/google.rpc.ErrorInfo");
    payloads[{!is_error_info, std::string(url)}] = std::string(payload);
  });
  for (auto& [key, payload] : payloads) {
    google::protobuf::Any& detail = *details.add_details();
    detail.set_type_url(key.second);
    detail.set_value(std::move(payload));
  }
  return grpc::Status(code, details.message(), details.SerializeAsString());
}

}  // namespace netprov::rpc
