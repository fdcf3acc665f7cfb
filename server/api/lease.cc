#include "server/api/lease.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/api/metadata.h"
#include "server/api/text.h"
#include "server/api/timestamp.h"
#include "server/api/validate.h"

namespace netprov::api {
namespace {

constexpr size_t kLongestMessage = 300;

}  // namespace

absl::StatusOr<std::string> ToCall(const v1::RenewLeaseRequest& request) {
  Violations violations;
  std::string owner = CheckOwner("owner", request.owner(), violations);
  if (!violations.empty()) return violations.ToStatus();
  return owner;
}

absl::StatusOr<GarbageQuery> ToCall(const v1::CollectGarbageRequest& request) {
  Violations violations;
  GarbageQuery query{.owner = CheckOwner("owner", request.owner(), violations),
                     .keep = {request.keep().begin(), request.keep().end()},
                     .validate_only = request.validate_only()};
  // A name that can't be, as one with a typing error in it, must not cost an object.
  for (int i = 0; i < request.keep_size(); ++i) {
    const std::string field = absl::StrCat("keep[", i, "]");
    const std::string& name = request.keep(i);
    if (absl::StartsWith(name, "veths/")) {
      CheckVethName(field, name, violations);
    } else if (absl::StartsWith(name, "bridges/")) {
      CheckBridgeName(field, name, violations);
    } else if (absl::StartsWith(name, "devices/")) {
      CheckDeviceName(field, name, violations);
    } else if (absl::StartsWith(name, "namespaces/")) {
      CheckNamespaceName(field, name, violations);
    } else {
      violations.Add(field, absl::StrCat("must be namespaces/{namespace}, veths/{veth}, bridges/{bridge} or ",
                                         "devices/{device}, but is ", Quote(name)));
    }
  }
  if (!violations.empty()) return violations.ToStatus();
  return query;
}

v1::RenewLeaseResponse ToProto(const engine::LeaseBook::Renewal& renewal) {
  v1::RenewLeaseResponse proto;
  proto.set_renewed(renewal.leases);
  if (renewal.shortest.has_value()) *proto.mutable_expire_time() = ToTimestamp(absl::Now() + *renewal.shortest);
  return proto;
}

v1::CollectGarbageResponse ToProto(const engine::Garbage& garbage) {
  v1::CollectGarbageResponse proto;
  for (const std::string& name : garbage.deleted) proto.add_deleted(name);
  for (const auto& [name, message] : garbage.failures) {
    v1::CollectGarbageResponse::Failure& failure = *proto.add_failures();
    failure.set_name(name);
    failure.set_message(Printable(message, kLongestMessage));
  }
  return proto;
}

}  // namespace netprov::api
