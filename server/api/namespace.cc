#include "server/api/namespace.h"

#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "server/api/dns.h"
#include "server/api/metadata.h"
#include "server/api/page_token.h"
#include "server/api/request.h"
#include "server/api/resource_name.h"
#include "server/api/sysctl.h"
#include "server/api/text.h"
#include "server/api/timestamp.h"
#include "server/api/update.h"

namespace netprov::api {
namespace {

constexpr char kListMethod[] = "ListNamespaces";

constexpr size_t kLongestValueShown = 300;

// Where ip-netns(8) keeps named namespaces.
constexpr char kDirectory[] = "/run/netns/";

constexpr absl::string_view kChangeable[] = {
    "sysctls", "dns", "metadata.owner", "metadata.labels", "metadata.ttl", "metadata.persistent", "metadata.self_heal"};

v1::Namespace::State ToState(engine::State state) {
  switch (state) {
    case engine::State::kReady:
      return v1::Namespace::STATE_READY;
    case engine::State::kDegraded:
      return v1::Namespace::STATE_DEGRADED;
    case engine::State::kMissing:
      return v1::Namespace::STATE_MISSING;
    case engine::State::kStale:
      return v1::Namespace::STATE_STALE;
  }
  return v1::Namespace::STATE_UNSPECIFIED;
}

v1::Namespace::Processes ToProto(const engine::Inhabitants& inhabitants) {
  v1::Namespace::Processes proto;
  for (const engine::Process& process : inhabitants.first) {
    v1::Namespace::Process& added = *proto.add_first();
    added.set_pid(process.pid);
    added.set_command(IsUtf8(process.command) ? process.command : Printable(process.command, kLongestValueShown));
  }
  proto.set_count(static_cast<int>(inhabitants.count));
  return proto;
}

}  // namespace

absl::StatusOr<engine::CreateNamespaceCall> ToCall(const v1::CreateNamespaceRequest& request) {
  Violations violations;
  engine::CreateNamespaceCall call{
      .context = {.request_id = CheckRequestId(request.request_id(), violations),
                  .fingerprint = {},
                  .validate_only = request.validate_only(),
                  .stopped = nullptr},
      .id = request.namespace_id(),
      .spec = {.sysctls = ToSysctls("namespace.sysctls", request.namespace_().sysctls(), violations),
               .dns = ToDns("namespace.dns", request.namespace_().dns(), violations)},
      .metadata = ToMetadata("namespace.metadata", request.namespace_().metadata(), violations),
      .allow_existing = request.allow_existing()};
  if (netprov::Result<void, NameError> valid = CheckNamespaceId(call.id); !valid.ok()) {
    violations.Add("namespace_id", absl::StrCat("must ", valid.error().message));
  }
  if (!violations.empty()) return violations.ToStatus();
  return call;
}

absl::StatusOr<engine::UpdateNamespaceCall> ToCall(const v1::UpdateNamespaceRequest& request) {
  Violations violations;
  const v1::Namespace& wanted = request.namespace_();
  const google::protobuf::FieldMask mask =
      CheckUpdateMask("update_mask", request.update_mask(), wanted, kChangeable, violations);
  engine::UpdateNamespaceCall call{.context = {.request_id = CheckRequestId(request.request_id(), violations),
                                               .fingerprint = {},
                                               .validate_only = request.validate_only(),
                                               .stopped = nullptr},
                                   .id = CheckNamespaceName("namespace.name", wanted.name(), violations),
                                   .edit = nullptr};
  if (!violations.empty()) return violations.ToStatus();
  call.edit = [wanted, mask](const engine::Asked<engine::NamespaceSpec>& present)
      -> netprov::Result<engine::Asked<engine::NamespaceSpec>, std::vector<engine::InvalidField>> {
    v1::Namespace netns;
    for (const auto& [name, value] : present.spec.sysctls) (*netns.mutable_sysctls())[name] = value;
    *netns.mutable_dns() = ToProto(present.spec.dns);
    *netns.mutable_metadata() = ToProto(present.metadata, std::nullopt);
    Merge(mask, wanted, netns);
    Violations wrong;
    engine::Asked<engine::NamespaceSpec> asked = present;
    asked.spec.sysctls = ToSysctls("namespace.sysctls", netns.sysctls(), wrong);
    asked.spec.dns = ToDns("namespace.dns", netns.dns(), wrong);
    asked.metadata = ToMetadata("namespace.metadata", netns.metadata(), wrong);
    if (!wrong.empty()) return ToInvalidFields(wrong);
    return asked;
  };
  return call;
}

absl::StatusOr<engine::DeleteNamespaceCall> ToCall(const v1::DeleteNamespaceRequest& request) {
  Violations violations;
  engine::DeleteNamespaceCall call{.context = {.request_id = CheckRequestId(request.request_id(), violations),
                                               .fingerprint = {},
                                               .validate_only = request.validate_only(),
                                               .stopped = nullptr},
                                   .id = CheckNamespaceName("name", request.name(), violations),
                                   .allow_missing = request.allow_missing(),
                                   .force = request.force()};
  if (!violations.empty()) return violations.ToStatus();
  return call;
}

absl::StatusOr<engine::AdoptNamespaceCall> ToCall(const v1::AdoptNamespaceRequest& request) {
  Violations violations;
  engine::AdoptNamespaceCall call{
      .context = {.request_id = CheckRequestId(request.request_id(), violations),
                  .fingerprint = {},
                  .validate_only = request.validate_only(),
                  .stopped = nullptr},
      .id = CheckNamespaceName("name", request.name(), violations),
      .spec = {.sysctls = ToSysctls("namespace.sysctls", request.namespace_().sysctls(), violations),
               .dns = ToDns("namespace.dns", request.namespace_().dns(), violations)},
      .metadata = ToMetadata("namespace.metadata", request.namespace_().metadata(), violations),
      .allow_existing = request.allow_existing()};
  // It stands in the records, and in the first lines of files.
  if (!IsUtf8(call.id) || absl::c_any_of(call.id, [](char c) { return absl::ascii_iscntrl(c); })) {
    violations.Add(
        "name", absl::StrCat("must be UTF-8 without control characters to be adopted, but is ", Quote(request.name())));
  }
  if (call.metadata.persistent) {
    violations.Add("namespace.metadata.persistent", engine::kAdoptedIsNotPersistent);
  }
  if (!violations.empty()) return violations.ToStatus();
  return call;
}

absl::StatusOr<engine::ReleaseNamespaceCall> ToCall(const v1::ReleaseNamespaceRequest& request) {
  Violations violations;
  engine::ReleaseNamespaceCall call{.context = {.request_id = CheckRequestId(request.request_id(), violations),
                                                .fingerprint = {},
                                                .validate_only = request.validate_only(),
                                                .stopped = nullptr},
                                    .id = CheckNamespaceName("name", request.name(), violations),
                                    .allow_missing = request.allow_missing()};
  if (!violations.empty()) return violations.ToStatus();
  return call;
}

absl::StatusOr<ListCall> ToCall(const v1::ListNamespacesRequest& request) {
  Violations violations;
  ListCall call = CheckPage(kListMethod, request.page_size(), request.page_token(), violations);
  if (!violations.empty()) return violations.ToStatus();
  return call;
}

absl::StatusOr<GetNamespaceQuery> ToCall(const v1::GetNamespaceRequest& request) {
  Violations violations;
  GetNamespaceQuery query{.id = CheckNamespaceName("name", request.name(), violations),
                          .with_inhabitants = request.view() == v1::NAMESPACE_VIEW_FULL};
  if (!v1::NamespaceView_IsValid(request.view())) {
    violations.Add("view",
                   absl::StrCat("must be NAMESPACE_VIEW_BASIC or NAMESPACE_VIEW_FULL, but is ", request.view()));
  }
  if (!violations.empty()) return violations.ToStatus();
  return query;
}

v1::Namespace ToProto(const engine::Namespace& netns) {
  v1::Namespace proto;
  proto.set_name(FormatNamespaceName(netns.id));
  proto.set_uid(netns.uid);
  if (netns.managed) *proto.mutable_create_time() = ToTimestamp(netns.create_time);
  proto.set_managed(netns.managed);
  proto.set_adopted(netns.adopted);
  proto.set_state(ToState(netns.state));
  // A string that is not UTF-8 would make the whole answer unreadable.
  if (IsUtf8(netns.id)) proto.set_path(absl::StrCat(kDirectory, netns.id));
  proto.set_cookie(netns.cookie);
  if (netns.managed) *proto.mutable_metadata() = ToProto(netns.metadata, netns.expire_time, netns.creator);
  if (!netns.spec.dns.empty()) *proto.mutable_dns() = ToProto(netns.spec.dns);
  AddDeviations(netns.deviations, proto.mutable_deviations());
  if (netns.inhabitants.has_value()) *proto.mutable_processes() = ToProto(*netns.inhabitants);
  for (const auto& [name, value] : netns.spec.sysctls)
    (*proto.mutable_sysctls())[name] = IsUtf8(value) ? value : Printable(value, kLongestValueShown);
  return proto;
}

v1::ListNamespacesResponse ToProto(const engine::Page<engine::Namespace>& page) {
  v1::ListNamespacesResponse proto;
  proto.set_next_page_token(FillPage(kListMethod, page, proto.mutable_namespaces()));
  return proto;
}

}  // namespace netprov::api
