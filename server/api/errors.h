// Every error that the server answers with, each made here and by a named function, with its details.
//
// An error is an absl::Status whose payloads are serialized messages of google.rpc under their type URLs, such as
// `type.googleapis.com/google.rpc.ErrorInfo`. That one is always there; docs/errors.md says what else goes with which
// reason. All text in it is printable ASCII, and the whole stays well below the 8 KiB that gRPC allows for trailing
// metadata.
#ifndef NETPROV_SERVER_API_ERRORS_H_
#define NETPROV_SERVER_API_ERRORS_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/engine/error.h"

namespace netprov::api {

inline constexpr char kErrorDomain[] = "netprov.v1";
inline constexpr char kTypeUrlPrefix[] = "type.googleapis.com/";

// A field of the request that is wrong.
struct FieldViolation {
  std::string field;        // its path, as in `veth.endpoint_a.mtu`; empty where it is not known
  std::string description;  // a sentence: what is wrong and what is allowed
};

// Which call failed. The same failure can mean different things to different callers.
enum class Method {
  kCreateNamespace,
  kGetNamespace,
  kListNamespaces,
  kDeleteNamespace,
  kUpdateNamespace,
  kAdoptNamespace,
  kReleaseNamespace,
  kCreateVeth,
  kGetVeth,
  kListVeths,
  kDeleteVeth,
  kUpdateVeth,
  kCreateBridge,
  kGetBridge,
  kListBridges,
  kDeleteBridge,
  kUpdateBridge,
  kCreateDevice,
  kUpdateDevice,
  kGetDevice,
  kListDevices,
  kDeleteDevice,
  kCollectGarbage,
  kCheckHost,
  kListLinks,
  kListAddresses,
  kListRoutes,
  kListNeighbors,
};

// INVALID_FIELD. `violations` must not be empty; the first 12 of them are told.
absl::Status InvalidFields(const std::vector<FieldViolation>& violations);

// MALFORMED_REQUEST.
absl::Status MalformedRequest(const FieldViolation& violation);

// QUEUE_FULL, SHUTTING_DOWN, DEADLINE_EXCEEDED, CALL_CANCELLED: nothing was changed.
absl::Status QueueFull();
absl::Status ShuttingDown();
absl::Status DeadlineExceeded();
absl::Status CallCancelled();

// AUDIT_FAILED: nothing was changed. Why the audit log can't be written is for the operator to know.
absl::Status AuditFailed();

// ACCESS_DENIED. `resource` and `right` are what is not allowed, one of them empty; `labels`, such as `a=b,c=d or e=f`,
// with which the resource would be.
absl::Status AccessDenied(absl::string_view caller, absl::string_view method, absl::string_view resource,
                          absl::string_view right, absl::string_view labels);

// CALL_LIMIT_EXCEEDED. `limit` says which, as a sentence without its caller.
absl::Status CallLimitExceeded(absl::string_view caller, absl::string_view limit, absl::Duration retry_after);

// What the engine refused or failed with. Its Reason::kStopped becomes CALL_CANCELLED; who knows that the cause was
// another one answers with that instead.
absl::Status FromEngine(Method method, const engine::Error& error);

// The reason in the status's ErrorInfo, as in `NAMESPACE_NOT_FOUND`; empty when it has none.
std::string ReasonOf(const absl::Status& status);

// What it says of the kernel's refusal: its error, as in `EEXIST`, and its words; empty where the kernel refused
// nothing, or said nothing.
struct KernelWords {
  std::string error;
  std::string extack;
};
KernelWords KernelWordsOf(const absl::Status& status);

}  // namespace netprov::api

#endif  // NETPROV_SERVER_API_ERRORS_H_
