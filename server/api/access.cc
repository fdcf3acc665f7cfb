#include "server/api/access.h"

#include <cstdint>
#include <optional>
#include <string>

#include "server/api/text.h"

namespace netprov::api {
namespace {

// Far beyond what a name in a certificate may have (RFC 5280, ub-common-name).
constexpr size_t kLongestName = 1024;

v1::Identity::Kind ToProto(access::Identity::Kind kind) {
  switch (kind) {
    case access::Identity::Kind::kSelf:
      return v1::Identity::KIND_SELF;
    case access::Identity::Kind::kUnix:
      return v1::Identity::KIND_UNIX;
    case access::Identity::Kind::kTls:
      return v1::Identity::KIND_TLS;
    case access::Identity::Kind::kPlaintext:
      return v1::Identity::KIND_PLAINTEXT;
  }
  return v1::Identity::KIND_UNSPECIFIED;
}

}  // namespace

v1::WhoAmIResponse ToProto(const access::Identity& identity, const access::Policy& policy, const engine::Usage& usage) {
  v1::WhoAmIResponse response;
  v1::Identity& proto = *response.mutable_identity();
  proto.set_kind(ToProto(identity.kind));
  // What is in a certificate may be any bytes.
  proto.set_name(Printable(identity.Name(), kLongestName));
  proto.set_peer(identity.from);
  if (identity.kind == access::Identity::Kind::kUnix) {
    proto.set_uid(identity.uid);
    proto.add_gids(identity.gid);
    for (const gid_t group : identity.groups) {
      if (group != identity.gid) proto.add_gids(group);
    }
  }
  proto.set_common_name(Printable(identity.common_name, kLongestName));
  for (const std::string& uri : identity.uris) proto.add_uris(Printable(uri, kLongestName));
  for (const std::string& name : identity.dns_names) proto.add_dns_names(Printable(name, kLongestName));
  for (const access::Rule* rule : policy.RulesFor(identity)) {
    v1::Grant& grant = *response.add_grants();
    grant.set_rule(rule->name);
    grant.set_role(rule->role.name);
    for (const std::string& method : access::MethodsOf(rule->role)) grant.add_methods(method);
    for (const std::string& pattern : rule->resources) grant.add_resources(pattern);
    grant.mutable_labels()->insert(rule->labels.begin(), rule->labels.end());
    for (const access::Right right : rule->rights) grant.add_rights(std::string(access::NameOf(right)));
  }
  const access::CallLimits calls = policy.LimitsFor(identity);
  v1::CallLimits& call_limits = *response.mutable_call_limits();
  call_limits.set_calls_per_second(calls.calls_per_second);
  call_limits.set_burst(static_cast<uint32_t>(calls.burst));
  call_limits.set_concurrent_calls(static_cast<uint32_t>(calls.concurrent_calls));
  const access::ObjectLimits limits = policy.ObjectLimitsFor(identity);
  auto add = [&response](const char* name, const std::optional<uint32_t>& limit, int64_t used) {
    v1::Quota& quota = *response.add_quotas();
    quota.set_quota(name);
    if (limit.has_value()) quota.set_limit(*limit);
    quota.set_usage(used);
  };
  add("namespaces", limits.namespaces, usage.namespaces);
  add("links", limits.links, usage.links);
  add("addresses", limits.addresses, usage.addresses);
  add("routes", limits.routes, usage.routes);
  add("nat_elements", limits.nat_elements, usage.nat_elements);
  return response;
}

}  // namespace netprov::api
