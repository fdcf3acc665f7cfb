// Errors of netprov in C++: an absl::Status with the server's details in it.
//
// On the wire an error is a grpc::Status whose error_details() hold a serialized google.rpc.Status. In C++ it is an
// absl::Status of the same code and message, with one payload per detail: the key is the detail's type URL, as in
// `type.googleapis.com/google.rpc.ErrorInfo`, and the value the serialized message. GetDetail() reads them.
#ifndef NETPROV_CLIENT_STATUS_H_
#define NETPROV_CLIENT_STATUS_H_

#include <grpcpp/support/status.h>

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "google/rpc/error_details.pb.h"

namespace netprov::client {

// The C++ side of what came over the wire. A code outside of gRPC's is UNKNOWN. Of two details of one type the first is
// kept. error_details() that don't parse are dropped; code and message are kept.
absl::Status FromGrpcStatus(const grpc::Status& status);

// The reverse: payloads become details, ordered by type URL. Without payloads, error_details() is empty. A payload
// whose key has no
// `/` in it is no type URL and is dropped.
grpc::Status ToGrpcStatus(const absl::Status& status);

// The key of the payload that holds a T: `type.googleapis.com/` and its full name.
template <typename T>
std::string DetailTypeUrl() {
  return "type.googleapis.com/" + T::descriptor()->full_name();
}

// The detail of type T, a message of google.rpc; nullopt when there is none or it does not parse.
template <typename T>
std::optional<T> GetDetail(const absl::Status& status) {
  const auto payload = status.GetPayload(DetailTypeUrl<T>());
  T detail;
  if (!payload.has_value() || !detail.ParseFromString(std::string(*payload))) return std::nullopt;
  return detail;
}

// Adds `detail`, or replaces the one of its type. Does nothing to an OK status.
template <typename T>
void SetDetail(absl::Status& status, const T& detail) {
  status.SetPayload(DetailTypeUrl<T>(), absl::Cord(detail.SerializeAsString()));
}

// Why the call failed: the domain is `netprov.v1`, and the reason a value of netprov.v1.ErrorReason without its prefix.
std::optional<google::rpc::ErrorInfo> GetErrorInfo(const absl::Status& status);

// Which fields of the request are wrong, and what is wrong with them.
std::optional<google::rpc::BadRequest> GetBadRequest(const absl::Status& status);

}  // namespace netprov::client

#endif  // NETPROV_CLIENT_STATUS_H_
