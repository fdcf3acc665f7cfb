#include "server/api/host.h"

#include <string>

#include "absl/strings/strip.h"
#include "server/api/resource_name.h"
#include "server/api/text.h"
#include "server/api/timestamp.h"

namespace netprov::api {
namespace {

constexpr size_t kLongestText = 500;

v1::Finding::Kind ToProto(engine::Finding::Kind kind) {
  using Kind = engine::Finding::Kind;
  switch (kind) {
    case Kind::kRolledBack:
      return v1::Finding::KIND_ROLLED_BACK;
    case Kind::kCompleted:
      return v1::Finding::KIND_COMPLETED;
    case Kind::kUnfinished:
      return v1::Finding::KIND_UNFINISHED;
    case Kind::kOrphanRemoved:
      return v1::Finding::KIND_ORPHAN_REMOVED;
    case Kind::kOrphan:
      return v1::Finding::KIND_ORPHAN;
    case Kind::kForeignTag:
      return v1::Finding::KIND_FOREIGN_TAG;
    case Kind::kStaleFile:
      return v1::Finding::KIND_STALE_FILE;
    case Kind::kRestored:
      return v1::Finding::KIND_RESTORED;
    case Kind::kNotRestored:
      return v1::Finding::KIND_NOT_RESTORED;
    case Kind::kMissing:
      return v1::Finding::KIND_MISSING;
    case Kind::kDegraded:
      return v1::Finding::KIND_DEGRADED;
    case Kind::kUnreadable:
      return v1::Finding::KIND_UNREADABLE;
  }
  return v1::Finding::KIND_UNSPECIFIED;
}

// Names of namespaces and links that somebody else made are bytes.
std::string ResourceText(const std::string& resource) {
  absl::string_view id = resource;
  if (absl::ConsumePrefix(&id, "namespaces/")) return FormatNamespaceName(id);
  return Printable(resource, kLongestText);
}

}  // namespace

std::string NameOf(engine::Finding::Kind kind) {
  const std::string& name = v1::Finding::Kind_Name(ToProto(kind));
  return std::string(absl::StripPrefix(name, "KIND_"));
}

v1::HostReport ToProto(const engine::HostReport& report, const std::vector<std::string>& configuration_faults) {
  v1::HostReport proto;
  *proto.mutable_time() = ToTimestamp(report.time);
  proto.set_at_start(report.at_start);
  proto.set_objects(report.objects);
  proto.set_registry_fault(Printable(report.registry_fault, kLongestText));
  for (const std::string& fault : configuration_faults) {
    proto.add_configuration_faults(Printable(fault, kLongestText));
  }
  for (const engine::Finding& finding : report.findings) {
    v1::Finding& added = *proto.add_findings();
    added.set_kind(ToProto(finding.kind));
    added.set_resource(ResourceText(finding.resource));
    added.set_detail(Printable(finding.detail, kLongestText));
  }
  return proto;
}

}  // namespace netprov::api
