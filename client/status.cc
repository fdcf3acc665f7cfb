#include "client/status.h"

#include <map>

#include "absl/strings/cord.h"
#include "google/rpc/status.pb.h"

namespace netprov::client {

absl::Status FromGrpcStatus(const grpc::Status& status) {
  const int code = status.error_code();
  const bool known = code >= 0 && code <= static_cast<int>(absl::StatusCode::kUnauthenticated);
  absl::Status result(known ? static_cast<absl::StatusCode>(code) : absl::StatusCode::kUnknown, status.error_message());
  google::rpc::Status details;
  if (result.ok() || !details.ParseFromString(status.error_details())) return result;
  for (const google::protobuf::Any& detail : details.details()) {
    if (result.GetPayload(detail.type_url()).has_value()) continue;
    result.SetPayload(detail.type_url(), absl::Cord(detail.value()));
  }
  return result;
}

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  std::map<std::string, std::string> payloads;
  status.ForEachPayload([&payloads](absl::string_view type_url, const absl::Cord& value) {
    if (type_url.find('/') != absl::string_view::npos) payloads.emplace(type_url, value);
  });
  google::rpc::Status details;
  for (auto& [type_url, value] : payloads) {
    google::protobuf::Any& detail = *details.add_details();
    detail.set_type_url(type_url);
    detail.set_value(value);
  }
  const auto code = static_cast<grpc::StatusCode>(status.raw_code());
  const std::string message(status.message());
  if (payloads.empty()) return grpc::Status(code, message);
  details.set_code(code);
  details.set_message(message);
  return grpc::Status(code, message, details.SerializeAsString());
}

std::optional<google::rpc::ErrorInfo> GetErrorInfo(const absl::Status& status) {
  return GetDetail<google::rpc::ErrorInfo>(status);
}

std::optional<google::rpc::BadRequest> GetBadRequest(const absl::Status& status) {
  return GetDetail<google::rpc::BadRequest>(status);
}

}  // namespace netprov::client
