// Namespaces: requests to calls of the engine, and its answers to messages.
#ifndef NETPROV_SERVER_API_NAMESPACE_H_
#define NETPROV_SERVER_API_NAMESPACE_H_

#include <string>

#include "absl/status/statusor.h"
#include "netprov/v1/namespace.pb.h"
#include "server/api/validate.h"
#include "server/engine/engine.h"
#include "server/engine/objects.h"

namespace netprov::api {

// Checks everything that can be checked without looking at the machine. INVALID_FIELD, with every field that is wrong.
absl::StatusOr<engine::CreateNamespaceCall> ToCall(const v1::CreateNamespaceRequest& request);
absl::StatusOr<engine::UpdateNamespaceCall> ToCall(const v1::UpdateNamespaceRequest& request);
absl::StatusOr<engine::DeleteNamespaceCall> ToCall(const v1::DeleteNamespaceRequest& request);
absl::StatusOr<engine::AdoptNamespaceCall> ToCall(const v1::AdoptNamespaceRequest& request);
absl::StatusOr<engine::ReleaseNamespaceCall> ToCall(const v1::ReleaseNamespaceRequest& request);
absl::StatusOr<ListCall> ToCall(const v1::ListNamespacesRequest& request);
// Which namespace to read, and how much of it.
struct GetNamespaceQuery {
  std::string id;
  bool with_inhabitants = false;
};
absl::StatusOr<GetNamespaceQuery> ToCall(const v1::GetNamespaceRequest& request);

v1::Namespace ToProto(const engine::Namespace& netns);
v1::ListNamespacesResponse ToProto(const engine::Page<engine::Namespace>& page);

}  // namespace netprov::api

#endif  // NETPROV_SERVER_API_NAMESPACE_H_
