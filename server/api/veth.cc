#include "server/api/veth.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/api/endpoint_config.h"
#include "server/api/metadata.h"
#include "server/api/page_token.h"
#include "server/api/rate_limit.h"
#include "server/api/request.h"
#include "server/api/resource_name.h"
#include "server/api/text.h"
#include "server/api/timestamp.h"
#include "server/api/update.h"
#include "server/engine/address_translation.h"

namespace netprov::api {
namespace {

constexpr char kListMethod[] = "ListVeths";

constexpr size_t kLongestPath = 4095;       // PATH_MAX less the terminating zero
constexpr uint32_t kGreatestPid = 4194304;  // PID_MAX_LIMIT

constexpr absl::string_view kChangeable[] = {"endpoint_a.mac_address",
                                             "endpoint_a.mtu",
                                             "endpoint_a.admin_state",
                                             "endpoint_a.addresses",
                                             "endpoint_a.gateways",
                                             "endpoint_a.routes",
                                             "endpoint_a.neighbors",
                                             "endpoint_a.alternative_names",
                                             "endpoint_a.promiscuous",
                                             "endpoint_a.all_multicast",
                                             "endpoint_a.offload_limits",
                                             "endpoint_a.alias",
                                             "endpoint_a.bridge",
                                             "endpoint_a.bridge_port",
                                             "endpoint_a.bridge_interface",
                                             "endpoint_a.ingress_limit",
                                             "endpoint_a.egress_limit",
                                             "endpoint_a.masquerade",
                                             "endpoint_a.port_forwards",
                                             "endpoint_a.ip_forwarding",
                                             "endpoint_b.mac_address",
                                             "endpoint_b.mtu",
                                             "endpoint_b.admin_state",
                                             "endpoint_b.addresses",
                                             "endpoint_b.gateways",
                                             "endpoint_b.routes",
                                             "endpoint_b.neighbors",
                                             "endpoint_b.alternative_names",
                                             "endpoint_b.promiscuous",
                                             "endpoint_b.all_multicast",
                                             "endpoint_b.offload_limits",
                                             "endpoint_b.alias",
                                             "endpoint_b.bridge",
                                             "endpoint_b.bridge_port",
                                             "endpoint_b.bridge_interface",
                                             "endpoint_b.ingress_limit",
                                             "endpoint_b.egress_limit",
                                             "endpoint_b.masquerade",
                                             "endpoint_b.port_forwards",
                                             "endpoint_b.ip_forwarding",
                                             "metadata.owner",
                                             "metadata.labels",
                                             "metadata.ttl",
                                             "metadata.persistent",
                                             "metadata.self_heal"};

v1::Veth::State ToState(engine::State state) {
  switch (state) {
    case engine::State::kReady:
      return v1::Veth::STATE_READY;
    case engine::State::kDegraded:
      return v1::Veth::STATE_DEGRADED;
    case engine::State::kMissing:
    case engine::State::kStale:  // of namespaces only
      return v1::Veth::STATE_MISSING;
  }
  return v1::Veth::STATE_UNSPECIFIED;
}

// Of a network namespace.
std::string CheckPath(const std::string& field, const std::string& path, Violations& violations) {
  if (!absl::StartsWith(path, "/") || path.size() > kLongestPath || absl::StrContains(path, '\0')) {
    violations.Add(field, absl::StrCat("must be an absolute path of up to ", kLongestPath,
                                       " bytes without NUL, but is ", Quote(path)));
  }
  return path;
}

uint32_t CheckPid(const std::string& field, uint32_t pid, Violations& violations) {
  if (pid == 0 || pid > kGreatestPid) {
    violations.Add(field, absl::StrCat("must be 1 to ", kGreatestPid, ", but is ", pid));
  }
  return pid;
}

}  // namespace

engine::EndpointSpec ToSpec(const std::string& field, const v1::VethEndpoint& endpoint, Violations& violations) {
  engine::EndpointSpec spec;
  switch (endpoint.location_case()) {
    case v1::VethEndpoint::kHost:
      break;
    case v1::VethEndpoint::kNamespace:
      spec.namespace_id = CheckNamespaceName(field + ".namespace", endpoint.namespace_(), violations);
      break;
    case v1::VethEndpoint::kNetnsPath:
      spec.place = engine::NetnsPlace{.path = CheckPath(field + ".netns_path", endpoint.netns_path(), violations)};
      break;
    case v1::VethEndpoint::kPid:
      spec.place = engine::NetnsPlace{.path = "", .pid = CheckPid(field + ".pid", endpoint.pid(), violations)};
      break;
    case v1::VethEndpoint::LOCATION_NOT_SET:
      violations.Add(field, "must say where it lives: set host, namespace, netns_path or pid");
      break;
  }
  spec.interface_name = CheckInterfaceName(field + ".interface_name", endpoint.interface_name(), violations);
  spec.mac = CheckMacAddress(field + ".mac_address", endpoint.mac_address(), violations);
  spec.mtu = CheckMtu(field + ".mtu", endpoint.mtu(), violations);
  switch (endpoint.admin_state()) {
    case v1::VethEndpoint::ADMIN_STATE_UNSPECIFIED:
    case v1::VethEndpoint::ADMIN_STATE_UP:
      spec.up = true;
      break;
    case v1::VethEndpoint::ADMIN_STATE_DOWN:
      spec.up = false;
      break;
    default:
      violations.Add(field + ".admin_state",
                     absl::StrCat("must be ADMIN_STATE_UP or ADMIN_STATE_DOWN, but is ", endpoint.admin_state()));
  }
  spec.config = ToConfig(field, endpoint, spec, violations);
  return spec;
}

v1::VethEndpoint ToProto(const engine::Endpoint& endpoint) {
  v1::VethEndpoint proto;
  if (endpoint.place.has_value() && endpoint.place->path.empty()) {
    proto.set_pid(endpoint.place->pid);
  } else if (endpoint.place.has_value()) {
    proto.set_netns_path(endpoint.place->path);
  } else if (endpoint.namespace_id.empty()) {
    proto.mutable_host();
  } else {
    proto.set_namespace_(FormatNamespaceName(endpoint.namespace_id));
  }
  // Another program may have given the link a name that a string can't hold.
  proto.set_interface_name(IsUtf8(endpoint.interface_name) ? endpoint.interface_name
                                                           : Printable(endpoint.interface_name, 64));
  if (endpoint.mac.has_value()) proto.set_mac_address(endpoint.mac->ToString());
  proto.set_mtu(endpoint.mtu);
  proto.set_admin_state(endpoint.up ? v1::VethEndpoint::ADMIN_STATE_UP : v1::VethEndpoint::ADMIN_STATE_DOWN);
  proto.set_ifindex(endpoint.ifindex);
  AddToProto(endpoint.config, proto);
  return proto;
}

engine::Endpoint AsAsked(const engine::EndpointSpec& spec) {
  engine::EndpointConfig config = spec.config;
  for (std::optional<engine::RateLimit>* limit : {&config.ingress_limit, &config.egress_limit}) {
    if (limit->has_value()) *limit = WithoutUsualBurst(**limit, spec.mtu);
  }
  return {.namespace_id = spec.namespace_id,
          .interface_name = spec.interface_name,
          .mac = spec.mac,
          .mtu = spec.mtu.value_or(0),
          .up = spec.up,
          .config = std::move(config),
          .place = spec.place};
}

static engine::VethSpec ToSpec(const v1::Veth& veth, const engine::Metadata& metadata, Violations& violations) {
  engine::VethSpec pair;
  const size_t before = violations.size();
  if (veth.has_endpoint_a()) pair.a = ToSpec("veth.endpoint_a", veth.endpoint_a(), violations);
  if (!veth.has_endpoint_a()) violations.Add("veth.endpoint_a", "must be set: a pair has two ends");
  if (veth.has_endpoint_b()) pair.b = ToSpec("veth.endpoint_b", veth.endpoint_b(), violations);
  if (!veth.has_endpoint_b()) violations.Add("veth.endpoint_b", "must be set: a pair has two ends");
  // Whether two ways lead to one place, only the engine sees.
  const bool is_one_place = pair.a.namespace_id == pair.b.namespace_id && pair.a.place == pair.b.place;
  if (violations.size() == before && is_one_place && pair.a.interface_name == pair.b.interface_name &&
      !IsInterfaceNamePattern(pair.b.interface_name)) {
    violations.Add("veth.endpoint_b.interface_name",
                   absl::StrCat("must differ from that of endpoint_a, as both ends live in the same place, but is ",
                                Quote(pair.b.interface_name)));
  }
  for (const auto& [field, spec, other] :
       {std::tuple("veth.endpoint_a", &pair.a, &pair.b), std::tuple("veth.endpoint_b", &pair.b, &pair.a)}) {
    if (metadata.persistent && spec->place.has_value() && spec->place->path.empty()) {
      violations.Add("veth.metadata.persistent",
                     absl::StrCat("can't be set where ", field, " has a pid, which says nothing after a reboot"));
    }
    for (size_t i = 0; i < spec->config.ip.addresses.size(); ++i) {
      if (!spec->config.ip.addresses[i].detect_duplicates || other->up) continue;
      violations.Add(absl::StrCat(field, ".addresses[", i, "].duplicate_detection"),
                     "needs the other end to be up: there is nobody to ask otherwise");
    }
  }
  if (const auto apart = engine::ExpectPlaceForNat("", pair, is_one_place); !apart.ok()) {
    for (const engine::InvalidField& wrong : apart.error().invalid) violations.Add(wrong.field, wrong.description);
  }
  return pair;
}

absl::StatusOr<engine::CreateVethCall> ToCall(const v1::CreateVethRequest& request) {
  Violations violations;
  engine::CreateVethCall call{.context = {.request_id = CheckRequestId(request.request_id(), violations),
                                          .fingerprint = {},
                                          .validate_only = request.validate_only(),
                                          .stopped = nullptr},
                              .id = request.veth_id(),
                              .spec = {},
                              .metadata = ToMetadata("veth.metadata", request.veth().metadata(), violations),
                              .allow_existing = request.allow_existing(),
                              .create_namespaces = request.create_namespaces()};
  if (!call.id.empty()) {
    if (netprov::Result<void, NameError> valid = CheckVethId(call.id); !valid.ok()) {
      violations.Add("veth_id", absl::StrCat("must ", valid.error().message, "; left out, the server chooses one"));
    }
  } else if (call.allow_existing) {
    violations.Add("allow_existing", "must not be set without a veth_id: a pair is looked for by its id");
  }
  if (!request.has_veth()) violations.Add("veth", "must be set: it says what to create");
  if (request.has_veth()) call.spec = ToSpec(request.veth(), call.metadata, violations);
  if (call.create_namespaces && !request.veth().endpoint_a().has_namespace_() &&
      !request.veth().endpoint_b().has_namespace_()) {
    violations.Add("create_namespaces", "must not be set where neither end has a namespace");
  }
  if (!violations.empty()) return violations.ToStatus();
  return call;
}

absl::StatusOr<engine::UpdateVethCall> ToCall(const v1::UpdateVethRequest& request) {
  Violations violations;
  const v1::Veth& wanted = request.veth();
  const google::protobuf::FieldMask mask =
      CheckUpdateMask("update_mask", request.update_mask(), wanted, kChangeable, violations);
  engine::UpdateVethCall call{.context = {.request_id = CheckRequestId(request.request_id(), violations),
                                          .fingerprint = {},
                                          .validate_only = request.validate_only(),
                                          .stopped = nullptr},
                              .id = CheckVethName("veth.name", wanted.name(), violations),
                              .edit = nullptr,
                              .bridges = {}};
  if (!violations.empty()) return violations.ToStatus();
  for (const v1::VethEndpoint* end : {&wanted.endpoint_a(), &wanted.endpoint_b()}) {
    if (!end->bridge().empty()) call.bridges.push_back(end->bridge());
    call.ip_forwarding = call.ip_forwarding || end->ip_forwarding();
  }
  call.edit = [wanted, mask](const engine::Asked<engine::VethSpec>& present)
      -> netprov::Result<engine::Asked<engine::VethSpec>, std::vector<engine::InvalidField>> {
    v1::Veth veth;
    *veth.mutable_endpoint_a() = ToProto(AsAsked(present.spec.a));
    *veth.mutable_endpoint_b() = ToProto(AsAsked(present.spec.b));
    *veth.mutable_metadata() = ToProto(present.metadata, std::nullopt);
    Merge(mask, wanted, veth);
    // An end that leaves its bridge is no port any more.
    for (auto [end, asked] : {std::pair(veth.mutable_endpoint_a(), &wanted.endpoint_a()),
                              std::pair(veth.mutable_endpoint_b(), &wanted.endpoint_b())}) {
      const bool is_port = !end->bridge().empty() || !end->bridge_interface().empty();
      if (!is_port && !asked->has_bridge_port()) end->clear_bridge_port();
    }
    Violations wrong;
    engine::Asked<engine::VethSpec> asked{.spec = {}, .metadata = ToMetadata("veth.metadata", veth.metadata(), wrong)};
    asked.spec = ToSpec(veth, asked.metadata, wrong);
    if (!wrong.empty()) return ToInvalidFields(wrong);
    return asked;
  };
  return call;
}

absl::StatusOr<engine::DeleteVethCall> ToCall(const v1::DeleteVethRequest& request) {
  Violations violations;
  engine::DeleteVethCall call{.context = {.request_id = CheckRequestId(request.request_id(), violations),
                                          .fingerprint = {},
                                          .validate_only = request.validate_only(),
                                          .stopped = nullptr},
                              .id = CheckVethName("name", request.name(), violations),
                              .allow_missing = request.allow_missing()};
  if (!violations.empty()) return violations.ToStatus();
  return call;
}

absl::StatusOr<ListCall> ToCall(const v1::ListVethsRequest& request) {
  Violations violations;
  ListCall call = CheckPage(kListMethod, request.page_size(), request.page_token(), violations);
  if (!violations.empty()) return violations.ToStatus();
  return call;
}

absl::StatusOr<std::string> ToCall(const v1::GetVethRequest& request) {
  Violations violations;
  std::string id = CheckVethName("name", request.name(), violations);
  if (!violations.empty()) return violations.ToStatus();
  return id;
}

v1::Veth ToProto(const engine::Veth& veth) {
  v1::Veth proto;
  if (!veth.id.empty()) proto.set_name(FormatVethName(veth.id));
  proto.set_uid(veth.uid);
  *proto.mutable_create_time() = ToTimestamp(veth.create_time);
  proto.set_state(ToState(veth.state));
  *proto.mutable_endpoint_a() = ToProto(veth.a);
  *proto.mutable_endpoint_b() = ToProto(veth.b);
  *proto.mutable_metadata() = ToProto(veth.metadata, veth.expire_time, veth.creator);
  AddDeviations(veth.deviations, proto.mutable_deviations());
  return proto;
}

v1::ListVethsResponse ToProto(const engine::Page<engine::Veth>& page) {
  v1::ListVethsResponse proto;
  proto.set_next_page_token(FillPage(kListMethod, page, proto.mutable_veths()));
  return proto;
}

}  // namespace netprov::api
