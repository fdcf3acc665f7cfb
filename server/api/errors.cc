#include "server/api/errors.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "google/rpc/error_details.pb.h"
#include "netprov/v1/error_reason.pb.h"
#include "server/api/resource_name.h"
#include "server/api/text.h"
#include "server/engine/kernel_feature.h"

namespace netprov::api {
namespace {

using google::rpc::BadRequest;
using google::rpc::ErrorInfo;
using google::rpc::PreconditionFailure;
using google::rpc::QuotaFailure;
using google::rpc::ResourceInfo;
using google::rpc::RetryInfo;

// The message stands both in the trailer and in google.rpc.Status; see the header for the sum.
constexpr size_t kLongestMessage = 1000;
constexpr size_t kLongestDescription = 300;
constexpr size_t kMostViolations = 12;
constexpr size_t kLongestMetadata = 300;
constexpr size_t kLongestName = 800;  // `namespaces/` and 255 bytes, each percent-encoded

constexpr char kNamespaceType[] = "netprov.v1.Namespace";
constexpr char kVethType[] = "netprov.v1.Veth";
constexpr char kBridgeType[] = "netprov.v1.Bridge";
constexpr char kDeviceType[] = "netprov.v1.Device";
constexpr char kLinkType[] = "link";
constexpr char kLocationType[] = "network namespace";

// How long a caller that found the queue full should wait: the queue's work of some calls.
constexpr int kQueueRetryMilliseconds = 100;
// And one that met a shutdown: a restart takes about so long.
constexpr int kRestartRetryMilliseconds = 1000;
// And one whose quota is used up: nobody knows when something of it goes, and asking does no harm.
constexpr int kQuotaRetryMilliseconds = 30'000;

std::string ReasonName(v1::ErrorReason reason) {
  return std::string(absl::StripPrefix(v1::ErrorReason_Name(reason), "ERROR_REASON_"));
}

// Makes a status piece by piece.
class StatusBuilder {
 public:
  StatusBuilder(absl::StatusCode code, v1::ErrorReason reason, absl::string_view message)
      : status_(code, Printable(message, kLongestMessage)) {
    info_.set_reason(ReasonName(reason));
    info_.set_domain(kErrorDomain);
  }

  StatusBuilder& Metadata(const std::string& key, absl::string_view value) {
    if (!value.empty()) (*info_.mutable_metadata())[key] = Printable(value, kLongestMetadata);
    return *this;
  }

  StatusBuilder& Resource(absl::string_view type, absl::string_view name) {
    ResourceInfo resource;
    resource.set_resource_type(std::string(type));
    resource.set_resource_name(Printable(name, kLongestName));
    resource.set_description(Description());
    return Add(resource);
  }

  StatusBuilder& Precondition(absl::string_view subject) {
    PreconditionFailure failure;
    PreconditionFailure::Violation& violation = *failure.add_violations();
    violation.set_type(info_.reason());
    violation.set_subject(Printable(subject, kLongestName));
    violation.set_description(Description());
    return Add(failure);
  }

  StatusBuilder& Quota(absl::string_view subject) {
    QuotaFailure failure;
    QuotaFailure::Violation& violation = *failure.add_violations();
    violation.set_subject(Printable(subject, kLongestMetadata));
    violation.set_description(Description());
    return Add(failure);
  }

  StatusBuilder& Retry(int milliseconds) {
    RetryInfo retry;
    retry.mutable_retry_delay()->set_seconds(milliseconds / 1000);
    retry.mutable_retry_delay()->set_nanos(milliseconds % 1000 * 1000000);
    return Add(retry);
  }

  StatusBuilder& Fields(const std::vector<FieldViolation>& violations) {
    BadRequest bad;
    for (const FieldViolation& violation : violations) {
      if (static_cast<size_t>(bad.field_violations_size()) == kMostViolations) break;
      BadRequest::FieldViolation& added = *bad.add_field_violations();
      added.set_field(violation.field);
      added.set_description(Printable(violation.description, kLongestDescription));
    }
    return Add(bad);
  }

  StatusBuilder& Field(const std::string& field) {
    if (!field.empty()) Fields({{.field = field, .description = std::string(status_.message())}});
    return *this;
  }

  absl::Status Build() {
    Add(info_);
    return std::move(status_);
  }

 private:
  template <typename Detail>
  StatusBuilder& Add(const Detail& detail) {
    status_.SetPayload(absl::StrCat(kTypeUrlPrefix, Detail::descriptor()->full_name()),
                       absl::Cord(detail.SerializeAsString()));
    return *this;
  }

  std::string Description() const { return Printable(status_.message(), kLongestDescription); }

  absl::Status status_;
  ErrorInfo info_;
};

// The resource name of what an engine error is about: its ids are bytes, and resource names percent-encoded.
std::string ResourceNameOf(const engine::Error& error) {
  absl::string_view id = error.object;
  if (absl::ConsumePrefix(&id, "namespaces/")) return FormatNamespaceName(id);
  absl::ConsumePrefix(&id, "links/");
  return std::string(id);
}

absl::string_view ResourceTypeOf(const engine::Error& error) {
  if (absl::StartsWith(error.object, "veths/")) return kVethType;
  // A place, as engine::PlaceName() writes it.
  if (absl::StartsWith(error.object, "/") || absl::StartsWith(error.object, "processes/")) return kLocationType;
  if (absl::StartsWith(error.object, "devices/")) return kDeviceType;
  if (absl::StartsWith(error.object, "links/")) return kLinkType;
  return absl::StartsWith(error.object, "bridges/") ? kBridgeType : kNamespaceType;
}

// The engine names fields of bodies: of a pair, all of them are of an end.
std::string FieldOf(Method method, const engine::Error& error) {
  if (error.field.empty()) return "";
  if (absl::StartsWith(error.field, "endpoint_")) return absl::StrCat("veth.", error.field);
  const bool is_device = method == Method::kCreateDevice || method == Method::kUpdateDevice;
  return absl::StrCat(is_device ? "device." : "bridge.", error.field);
}

absl::Status DeviceInUse(const engine::Error& error) {
  return StatusBuilder(absl::StatusCode::kFailedPrecondition, v1::ERROR_REASON_DEVICE_IN_USE, error.message)
      .Resource(ResourceTypeOf(error), ResourceNameOf(error))
      .Precondition(ResourceNameOf(error))
      .Build();
}

absl::Status RequestIdReused(const engine::Error& error) {
  return StatusBuilder(absl::StatusCode::kInvalidArgument, v1::ERROR_REASON_REQUEST_ID_REUSED, error.message)
      .Fields({{.field = "request_id", .description = "belongs to another request, which succeeded; use a new UUID"}})
      .Build();
}

absl::Status NotFound(v1::ErrorReason reason, const engine::Error& error) {
  return StatusBuilder(absl::StatusCode::kNotFound, reason, error.message)
      .Resource(ResourceTypeOf(error), ResourceNameOf(error))
      .Metadata("field", error.field)
      .Field(error.field)
      .Build();
}

absl::Status AlreadyExists(v1::ErrorReason reason, const engine::Error& error) {
  return StatusBuilder(absl::StatusCode::kAlreadyExists, reason, error.message)
      .Resource(ResourceTypeOf(error), ResourceNameOf(error))
      .Metadata("specs_match", error.specs_match.value_or(false) ? "true" : "false")
      .Build();
}

// Something is in a state in which it can't be used for this call.
absl::Status Unusable(v1::ErrorReason reason, const engine::Error& error) {
  const std::string name = ResourceNameOf(error);
  return StatusBuilder(absl::StatusCode::kFailedPrecondition, reason, error.message)
      .Resource(ResourceTypeOf(error), name)
      .Precondition(name)
      .Metadata("field", error.field)
      .Field(error.field)
      .Build();
}

absl::Status NamespaceNotManaged(Method method, const engine::Error& error) {
  if (method != Method::kCreateNamespace) {
    return Unusable(v1::ERROR_REASON_NAMESPACE_NOT_MANAGED, error);
  }
  return StatusBuilder(absl::StatusCode::kAlreadyExists, v1::ERROR_REASON_NAMESPACE_NOT_MANAGED, error.message)
      .Resource(kNamespaceType, ResourceNameOf(error))
      .Build();
}

absl::Status NamespaceBusy(const engine::Error& error) {
  const std::string name = ResourceNameOf(error);
  return StatusBuilder(absl::StatusCode::kFailedPrecondition, v1::ERROR_REASON_NAMESPACE_BUSY, error.message)
      .Resource(kNamespaceType, name)
      .Precondition(name)
      .Metadata("processes", ToText(error.inhabitants.first))
      .Metadata("process_count", absl::StrCat(error.inhabitants.count))
      .Build();
}

absl::Status InterfaceNameTaken(const engine::Error& error) {
  return StatusBuilder(absl::StatusCode::kAlreadyExists, v1::ERROR_REASON_INTERFACE_NAME_TAKEN, error.message)
      .Resource(kLinkType, error.interface_name)
      .Metadata("field", error.field)
      .Metadata("interface", error.interface_name)
      .Field(error.field)
      .Build();
}

absl::Status PortForwardTaken(const engine::Error& error) {
  return StatusBuilder(absl::StatusCode::kAlreadyExists, v1::ERROR_REASON_PORT_FORWARD_TAKEN, error.message)
      .Resource(kVethType, error.holder.empty() ? error.object : error.holder)
      .Metadata("field", error.field)
      .Metadata("holder", error.holder)
      .Field(error.field)
      .Build();
}

void AddKernelMetadata(const engine::Error& error, StatusBuilder& builder) {
  builder.Metadata("step", error.step).Metadata("field", error.field);
  if (!error.kernel.has_value()) return;
  const char* symbol = strerrorname_np(error.kernel->code);
  builder.Metadata("errno", symbol != nullptr ? std::string(symbol) : absl::StrCat(error.kernel->code))
      .Metadata("operation", error.kernel->operation)
      .Metadata("extack", error.kernel->extack);
}

absl::Status RefusedDevice(const engine::Error& error) {
  const std::string name = ResourceNameOf(error);
  StatusBuilder builder(absl::StatusCode::kFailedPrecondition, v1::ERROR_REASON_DEVICE_REFUSED, error.message);
  AddKernelMetadata(error, builder);
  return builder.Resource(ResourceTypeOf(error), name).Precondition(name).Build();
}

// What a refusal of the kernel means to the caller, by operation and errno. Whatever is not here is KERNEL_REFUSED: a
// wrong guess, above all a retryable code for what never succeeds, is worse than none.
struct KernelMeaning {
  // The system call or the netlink message that failed: the first word of KernelError::operation. Empty: any.
  absl::string_view operation;
  int code;  // kAnyCode: whatever it is
  absl::StatusCode status;
  v1::ErrorReason reason;
};

constexpr absl::StatusCode kPrecondition = absl::StatusCode::kFailedPrecondition;
constexpr absl::StatusCode kExhausted = absl::StatusCode::kResourceExhausted;

constexpr int kAnyCode = 0;

constexpr KernelMeaning kKernelMeanings[] = {
    // fib_table_insert(), ip6_route_add(): the route is there, or its gateway is out of reach, or its source not local.
    {"RTM_NEWROUTE", EEXIST, absl::StatusCode::kAlreadyExists, v1::ERROR_REASON_ROUTE_ALREADY_EXISTS},
    {"RTM_NEWROUTE", ENETUNREACH, kPrecondition, v1::ERROR_REASON_IP_CONFIG_REFUSED},
    {"RTM_NEWROUTE", EHOSTUNREACH, kPrecondition, v1::ERROR_REASON_IP_CONFIG_REFUSED},
    {"RTM_NEWROUTE", ENETDOWN, kPrecondition, v1::ERROR_REASON_IP_CONFIG_REFUSED},
    {"RTM_NEWROUTE", EINVAL, kPrecondition, v1::ERROR_REASON_IP_CONFIG_REFUSED},
    {"RTM_NEWADDR", EINVAL, kPrecondition, v1::ERROR_REASON_IP_CONFIG_REFUSED},
    {"RTM_NEWNEIGH", EINVAL, kPrecondition, v1::ERROR_REASON_IP_CONFIG_REFUSED},
    // inet6_addr_add(): net.ipv6.conf.*.disable_ipv6.
    {"RTM_NEWADDR", EACCES, kPrecondition, v1::ERROR_REASON_IP_CONFIG_REFUSED},
    {"RTM_NEWROUTE", EACCES, kPrecondition, v1::ERROR_REASON_IP_CONFIG_REFUSED},
    // An alternative name.
    // br_add_if(): BR_MAX_PORTS.
    {"RTM_SETLINK", EXFULL, kExhausted, v1::ERROR_REASON_BRIDGE_FULL},
    {"RTM_NEWLINKPROP", EEXIST, absl::StatusCode::kAlreadyExists, v1::ERROR_REASON_INTERFACE_NAME_TAKEN},
    {"duplicate", EADDRINUSE, kPrecondition, v1::ERROR_REASON_ADDRESS_DUPLICATE},
    // Of what is not a forward: another's address on the same link is translated already. And a table that has another
    // mark than ours.
    {"NFT_MSG_NEWSETELEM", EEXIST, kPrecondition, v1::ERROR_REASON_ADDRESS_DUPLICATE},
    {"table", EBUSY, kPrecondition, v1::ERROR_REASON_NAT_TABLE_TAKEN},
    // A kernel built without CONFIG_NET_NS (unshare(2)).
    {"unshare", EINVAL, kPrecondition, v1::ERROR_REASON_KERNEL_FEATURE_MISSING},
    // The limit user.max_net_namespaces (namespaces(7)).
    {"unshare", ENOSPC, kExhausted, v1::ERROR_REASON_KERNEL_RESOURCES_EXHAUSTED},
    {"unshare", EUSERS, kExhausted, v1::ERROR_REASON_KERNEL_RESOURCES_EXHAUSTED},
    // proc_sys_permission(): it is read only, for the whole host or altogether. EOPNOTSUPP: it is not there.
    {"sysctl", EACCES, kPrecondition, v1::ERROR_REASON_SYSCTL_REFUSED},
    {"sysctl", EPERM, kPrecondition, v1::ERROR_REASON_SYSCTL_REFUSED},
    {"sysctl", EOPNOTSUPP, kPrecondition, v1::ERROR_REASON_SYSCTL_REFUSED},
    // A system call, a kind of link ("Unknown device type"), a socket option or family that this kernel does not have.
    {"", ENOSYS, kPrecondition, v1::ERROR_REASON_KERNEL_FEATURE_MISSING},
    {"", EOPNOTSUPP, kPrecondition, v1::ERROR_REASON_KERNEL_FEATURE_MISSING},
    {"", ENOPROTOOPT, kPrecondition, v1::ERROR_REASON_KERNEL_FEATURE_MISSING},
    {"", EAFNOSUPPORT, kPrecondition, v1::ERROR_REASON_KERNEL_FEATURE_MISSING},
    {"", EPFNOSUPPORT, kPrecondition, v1::ERROR_REASON_KERNEL_FEATURE_MISSING},
    {"", EPROTONOSUPPORT, kPrecondition, v1::ERROR_REASON_KERNEL_FEATURE_MISSING},
    {"", EPERM, kPrecondition, v1::ERROR_REASON_KERNEL_PERMISSION_DENIED},
    {"", EACCES, kPrecondition, v1::ERROR_REASON_KERNEL_PERMISSION_DENIED},
    {"", ENOMEM, kExhausted, v1::ERROR_REASON_KERNEL_RESOURCES_EXHAUSTED},
    {"", ENOBUFS, kExhausted, v1::ERROR_REASON_KERNEL_RESOURCES_EXHAUSTED},
    {"", EMFILE, kExhausted, v1::ERROR_REASON_KERNEL_RESOURCES_EXHAUSTED},
    // File descriptors of the whole machine, or the numbers that a pattern such as `eth%d` can stand for.
    {"", ENFILE, kExhausted, v1::ERROR_REASON_KERNEL_RESOURCES_EXHAUSTED},
    // mount(2): fs.mount-max. open(2): the inodes of the tmpfs.
    {"", ENOSPC, kExhausted, v1::ERROR_REASON_KERNEL_RESOURCES_EXHAUSTED},
    // Each setting refuses values in its own way.
    {"sysctl", kAnyCode, kPrecondition, v1::ERROR_REASON_SYSCTL_REFUSED},
};

absl::string_view FirstWord(absl::string_view operation) {
  return operation.substr(0, std::min(operation.size(), operation.find_first_of(" (")));
}

absl::Status KernelFailed(const engine::Error& error) {
  absl::StatusCode code = absl::StatusCode::kInternal;
  v1::ErrorReason reason = v1::ERROR_REASON_KERNEL_REFUSED;
  if (error.kernel.has_value()) {
    for (const KernelMeaning& meaning : kKernelMeanings) {
      if (meaning.code != kAnyCode && meaning.code != error.kernel->code) continue;
      if (!meaning.operation.empty() && meaning.operation != FirstWord(error.kernel->operation)) continue;
      code = meaning.status;
      reason = meaning.reason;
      break;
    }
  }
  const std::string feature =
      reason == v1::ERROR_REASON_KERNEL_FEATURE_MISSING ? engine::MissingFeature(*error.kernel) : std::string();
  StatusBuilder builder(
      code, reason, feature.empty() ? error.message : absl::StrCat("the kernel has no ", feature, ": ", error.message));
  AddKernelMetadata(error, builder);
  builder.Metadata("feature", feature).Resource(ResourceTypeOf(error), ResourceNameOf(error));
  if (code == kPrecondition) builder.Precondition("kernel");
  if (code == kExhausted) builder.Quota("kernel");
  return builder.Build();
}

absl::Status RollbackFailed(const engine::Error& error) {
  StatusBuilder builder(absl::StatusCode::kInternal, v1::ERROR_REASON_ROLLBACK_FAILED, error.message);
  AddKernelMetadata(error, builder);
  return builder.Metadata("residue", error.residue).Resource(ResourceTypeOf(error), ResourceNameOf(error)).Build();
}

absl::Status QuotaExceeded(const engine::Error& error) {
  const engine::QuotaExcess excess = error.excess.value_or(engine::QuotaExcess());
  StatusBuilder builder(absl::StatusCode::kResourceExhausted, v1::ERROR_REASON_QUOTA_EXCEEDED, error.message);
  builder.Metadata("quota", excess.quota)
      .Metadata("limit", absl::StrCat(excess.limit))
      .Metadata("usage", absl::StrCat(excess.usage))
      .Metadata("caller", excess.whose)
      .Quota(excess.whose.empty() ? "server" : absl::StrCat("caller:", excess.whose));
  // There is room once something is deleted, or a lease ends. For what is too much by itself there never is.
  if (excess.added <= excess.limit) builder.Retry(kQuotaRetryMilliseconds);
  return builder.Build();
}

absl::Status RegistryFailed(const engine::Error& error) {
  return StatusBuilder(absl::StatusCode::kInternal, v1::ERROR_REASON_REGISTRY_FAILED,
                       absl::StrCat("the server's registry failed: ", error.message))
      .Build();
}

}  // namespace

absl::Status InvalidFields(const std::vector<FieldViolation>& violations) {
  const FieldViolation& first = violations.front();
  std::string message = absl::StrCat(first.field, " ", first.description);
  if (violations.size() > 1) absl::StrAppend(&message, " (and ", violations.size() - 1, " more)");
  return StatusBuilder(absl::StatusCode::kInvalidArgument, v1::ERROR_REASON_INVALID_FIELD, message)
      .Fields(violations)
      .Metadata("field", first.field)
      .Build();
}

absl::Status MalformedRequest(const FieldViolation& violation) {
  StatusBuilder builder(
      absl::StatusCode::kInvalidArgument, v1::ERROR_REASON_MALFORMED_REQUEST,
      violation.field.empty() ? violation.description : absl::StrCat(violation.field, " ", violation.description));
  if (!violation.field.empty()) builder.Fields({violation}).Metadata("field", violation.field);
  return builder.Build();
}

absl::Status QueueFull() {
  return StatusBuilder(absl::StatusCode::kUnavailable, v1::ERROR_REASON_QUEUE_FULL, "too many calls are waiting")
      .Retry(kQueueRetryMilliseconds)
      .Build();
}

absl::Status ShuttingDown() {
  return StatusBuilder(absl::StatusCode::kUnavailable, v1::ERROR_REASON_SHUTTING_DOWN, "the server is shutting down")
      .Retry(kRestartRetryMilliseconds)
      .Build();
}

absl::Status AuditFailed() {
  return StatusBuilder(absl::StatusCode::kUnavailable, v1::ERROR_REASON_AUDIT_FAILED,
                       "the audit log can't be written, and nothing is changed without it")
      .Retry(kRestartRetryMilliseconds)
      .Build();
}

absl::Status DeadlineExceeded() {
  return StatusBuilder(absl::StatusCode::kDeadlineExceeded, v1::ERROR_REASON_DEADLINE_EXCEEDED,
                       "the deadline passed before anything was changed")
      .Build();
}

absl::Status CallCancelled() {
  return StatusBuilder(absl::StatusCode::kCancelled, v1::ERROR_REASON_CALL_CANCELLED,
                       "the caller cancelled before anything was changed")
      .Build();
}

absl::Status AccessDenied(absl::string_view caller, absl::string_view method, absl::string_view resource,
                          absl::string_view right, absl::string_view labels) {
  std::string what;
  if (!right.empty()) {
    what = absl::StrCat(" with the right `", right, "`");
  } else if (!resource.empty()) {
    what = absl::StrCat(" for ", Quote(resource));
  }
  return StatusBuilder(absl::StatusCode::kPermissionDenied, v1::ERROR_REASON_ACCESS_DENIED,
                       absl::StrCat(caller, " may not call ", method, what, ": no rule of the policy allows it",
                                    labels.empty() ? "" : " without the labels ", labels))
      .Metadata("caller", caller)
      .Metadata("method", method)
      .Metadata("resource", resource)
      .Metadata("right", right)
      .Metadata("labels", labels)
      .Build();
}

absl::Status CallLimitExceeded(absl::string_view caller, absl::string_view limit, absl::Duration retry_after) {
  return StatusBuilder(absl::StatusCode::kResourceExhausted, v1::ERROR_REASON_CALL_LIMIT_EXCEEDED,
                       absl::StrCat(caller, " ", limit))
      .Metadata("caller", caller)
      .Quota(absl::StrCat("caller:", caller))
      .Retry(static_cast<int>(absl::ToInt64Milliseconds(absl::Ceil(retry_after, absl::Milliseconds(1)))))
      .Build();
}

static absl::Status InvalidChange(const engine::Error& error) {
  std::vector<FieldViolation> violations;
  for (const engine::InvalidField& field : error.invalid) {
    violations.push_back({.field = field.field, .description = field.description});
  }
  return InvalidFields(violations);
}

static absl::Status ByReason(Method method, const engine::Error& error) {
  switch (error.reason) {
    case engine::Reason::kRequestIdReused:
      return RequestIdReused(error);
    case engine::Reason::kNamespaceNotFound:
      return NotFound(v1::ERROR_REASON_NAMESPACE_NOT_FOUND, error);
    case engine::Reason::kNamespaceAlreadyExists:
      return AlreadyExists(v1::ERROR_REASON_NAMESPACE_ALREADY_EXISTS, error);
    case engine::Reason::kNamespaceNotManaged:
      return NamespaceNotManaged(method, error);
    case engine::Reason::kNamespaceFileStale:
      return Unusable(v1::ERROR_REASON_NAMESPACE_FILE_STALE, error);
    case engine::Reason::kNamespaceMissing:
      return Unusable(v1::ERROR_REASON_NAMESPACE_MISSING, error);
    case engine::Reason::kNamespaceBusy:
      return NamespaceBusy(error);
    case engine::Reason::kObjectMissing:
      return Unusable(v1::ERROR_REASON_OBJECT_MISSING, error);
    case engine::Reason::kInvalidChange:
      return InvalidChange(error);
    case engine::Reason::kNamespaceNotAdoptable:
      return Unusable(v1::ERROR_REASON_NAMESPACE_NOT_ADOPTABLE, error);
    case engine::Reason::kNamespaceInUse:
      return Unusable(v1::ERROR_REASON_NAMESPACE_IN_USE, error);
    case engine::Reason::kDnsFileNotManaged:
      return Unusable(v1::ERROR_REASON_DNS_FILE_NOT_MANAGED, error);
    case engine::Reason::kVethNotFound:
      return NotFound(v1::ERROR_REASON_VETH_NOT_FOUND, error);
    case engine::Reason::kVethAlreadyExists:
      return AlreadyExists(v1::ERROR_REASON_VETH_ALREADY_EXISTS, error);
    case engine::Reason::kDeviceNotFound:
      return NotFound(v1::ERROR_REASON_DEVICE_NOT_FOUND, error);
    case engine::Reason::kDeviceAlreadyExists:
      return AlreadyExists(v1::ERROR_REASON_DEVICE_ALREADY_EXISTS, error);
    case engine::Reason::kDeviceInUse:
      return DeviceInUse(error);
    case engine::Reason::kBridgeUnusable:
      return Unusable(v1::ERROR_REASON_BRIDGE_UNUSABLE, error);
    case engine::Reason::kPlaceNotFound:
      return NotFound(v1::ERROR_REASON_LOCATION_NOT_FOUND, error);
    case engine::Reason::kPlaceUnusable:
      return Unusable(v1::ERROR_REASON_LOCATION_UNUSABLE, error);
    case engine::Reason::kLowerNotFound:
      return NotFound(v1::ERROR_REASON_LOWER_INTERFACE_NOT_FOUND, error);
    case engine::Reason::kDeviceRefused:
      return RefusedDevice(error);
    case engine::Reason::kInterfaceNameTaken:
      return InterfaceNameTaken(error);
    case engine::Reason::kPortForwardTaken:
      return PortForwardTaken(error);
    case engine::Reason::kKernel:
      return KernelFailed(error);
    case engine::Reason::kRollbackFailed:
      return RollbackFailed(error);
    case engine::Reason::kQuotaExceeded:
      return QuotaExceeded(error);
    case engine::Reason::kRegistryFailed:
      return RegistryFailed(error);
    case engine::Reason::kStopped:
      return CallCancelled();
  }
  return KernelFailed(error);
}

absl::Status FromEngine(Method method, const engine::Error& error) {
  if (error.field.empty()) return ByReason(method, error);
  engine::Error placed = error;
  placed.field = FieldOf(method, error);
  return ByReason(method, placed);
}

static ErrorInfo InfoOf(const absl::Status& status) {
  const auto payload = status.GetPayload(absl::StrCat(kTypeUrlPrefix, ErrorInfo::descriptor()->full_name()));
  ErrorInfo info;
  if (payload.has_value() && !info.ParseFromString(std::string(*payload))) info.Clear();
  return info;
}

std::string ReasonOf(const absl::Status& status) { return InfoOf(status).reason(); }

KernelWords KernelWordsOf(const absl::Status& status) {
  const ErrorInfo info = InfoOf(status);
  const auto& metadata = info.metadata();
  KernelWords words;
  if (const auto found = metadata.find("errno"); found != metadata.end()) words.error = found->second;
  if (const auto found = metadata.find("extack"); found != metadata.end()) words.extack = found->second;
  return words;
}

}  // namespace netprov::api
