#include "server/api/device.h"

#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/descriptor.h"
#include "server/api/device_kind.h"
#include "server/api/metadata.h"
#include "server/api/page_token.h"
#include "server/api/request.h"
#include "server/api/resource_name.h"
#include "server/api/text.h"
#include "server/api/timestamp.h"
#include "server/api/update.h"
#include "server/api/veth.h"
#include "server/netlink/ip_address.h"
#include "server/netlink/link_info.h"

namespace netprov::api {
namespace {

constexpr char kListMethod[] = "ListDevices";

// What of a device can become another.
constexpr absl::string_view kChangeable[] = {"mac_address",       "mtu",
                                             "admin_state",       "addresses",
                                             "gateways",          "routes",
                                             "alternative_names", "bridge",
                                             "bridge_port",       "bridge_interface",
                                             "macvlan.mode",      "macvlan.source_mac_addresses",
                                             "vxlan.local",       "vxlan.remote",
                                             "vxlan.ttl",         "vxlan.learning",
                                             "vxlan.ageing_time", "vxlan.fdb",
                                             "ipvlan.mode",       "ipvlan.mode_flag",
                                             "metadata.owner",    "metadata.labels",
                                             "metadata.ttl",      "metadata.persistent",
                                             "metadata.self_heal"};

v1::Device::State ToState(engine::State state) {
  switch (state) {
    case engine::State::kReady:
      return v1::Device::STATE_READY;
    case engine::State::kDegraded:
      return v1::Device::STATE_DEGRADED;
    case engine::State::kMissing:
    case engine::State::kStale:  // of namespaces only
      return v1::Device::STATE_MISSING;
  }
  return v1::Device::STATE_UNSPECIFIED;
}

// What a device has in common with an end of a pair.
v1::VethEndpoint ToEndpoint(const v1::Device& device, const engine::DeviceOptions& options) {
  v1::VethEndpoint endpoint;
  if (device.has_namespace_()) {
    endpoint.set_namespace_(device.namespace_());
  } else {
    endpoint.mutable_host();
  }
  endpoint.set_interface_name(device.interface_name().empty() ? engine::KindOf(options) + "%d"
                                                              : device.interface_name());
  endpoint.set_mac_address(device.mac_address());
  endpoint.set_mtu(device.mtu());
  endpoint.set_admin_state(device.admin_state());
  *endpoint.mutable_addresses() = device.addresses();
  *endpoint.mutable_gateways() = device.gateways();
  *endpoint.mutable_routes() = device.routes();
  *endpoint.mutable_alternative_names() = device.alternative_names();
  endpoint.set_bridge(device.bridge());
  endpoint.set_bridge_interface(device.bridge_interface());
  if (device.has_bridge_port()) *endpoint.mutable_bridge_port() = device.bridge_port();
  return endpoint;
}

engine::DeviceSpec ToSpec(const v1::Device& device, Violations& violations) {
  engine::DeviceSpec spec;
  if (device.location_case() == v1::Device::LOCATION_NOT_SET) {
    violations.Add("device", "must say where it lives: set host or namespace");
  }
  spec.options = ToOptions(device, violations);
  spec.lower = ToLower(device, violations);
  spec.link = ToSpec("device", ToEndpoint(device, spec.options), violations);
  for (size_t i = 0; i < spec.link.config.ip.routes.size(); ++i) {
    if (spec.link.config.ip.routes[i].through_link()) continue;
    violations.Add(absl::StrCat("device.routes[", i, "].type"), "must be TYPE_UNICAST: others belong to no device");
  }
  return spec;
}

// The name of the field that says of which kind it is; empty where none does.
std::string KindFieldOf(const v1::Device& device) {
  const google::protobuf::OneofDescriptor* kind = v1::Device::descriptor()->FindOneofByName("kind");
  const google::protobuf::FieldDescriptor* field = v1::Device::GetReflection()->GetOneofFieldDescriptor(device, kind);
  return field == nullptr ? "" : field->name();
}

// That of a VXLAN device's own addresses, which the kernel lets it have from birth to death.
netlink::IpFamily FamilyOf(const netlink::VxlanInfo& vxlan) {
  for (const auto* address : {&vxlan.local, &vxlan.remote}) {
    if (address->has_value()) return (*address)->family();
  }
  return netlink::IpFamily::kIpv4;
}

void CheckFamily(const engine::DeviceOptions& present, const engine::DeviceOptions& wanted, Violations& violations) {
  const auto* before = std::get_if<engine::VxlanOptions>(&present);
  const auto* after = std::get_if<engine::VxlanOptions>(&wanted);
  if (before == nullptr || after == nullptr) return;
  const netlink::IpFamily family = FamilyOf(before->info);
  if (FamilyOf(after->info) == family) return;
  violations.Add(after->info.local.has_value() ? "device.vxlan.local" : "device.vxlan.remote",
                 absl::StrCat("must be an ", family == netlink::IpFamily::kIpv4 ? "IPv4" : "IPv6",
                              " address: a vxlan keeps the family that it was created with"));
}

// The paths of `mask` that a device of this kind has. A path of another kind, or other values than of the kind, are
// violations, but for the paths of `*`.
google::protobuf::FieldMask CheckKind(const google::protobuf::FieldMask& mask, bool is_all, const v1::Device& wanted,
                                      const std::string& kind, Violations& violations) {
  if (const std::string other = KindFieldOf(wanted); !other.empty() && other != kind) {
    violations.Add(absl::StrCat("device.", other), absl::StrCat("must not be set: the device is a ", kind));
  }
  google::protobuf::FieldMask checked;
  for (const std::string& path : mask.paths()) {
    const absl::string_view first = absl::string_view(path).substr(0, path.find('.'));
    const google::protobuf::FieldDescriptor* field = v1::Device::descriptor()->FindFieldByName(std::string(first));
    const bool is_of_kind = field->containing_oneof() != nullptr && field->containing_oneof()->name() == "kind";
    if (!is_of_kind || first == kind) {
      checked.add_paths(path);
    } else if (!is_all) {
      violations.Add("update_mask",
                     absl::StrCat("must name fields that the device has, but ", Quote(path), " is none of a ", kind));
    }
  }
  return checked;
}

}  // namespace

absl::StatusOr<engine::CreateDeviceCall> ToCall(const v1::CreateDeviceRequest& request) {
  Violations violations;
  engine::CreateDeviceCall call{.context = {.request_id = CheckRequestId(request.request_id(), violations),
                                            .fingerprint = {},
                                            .validate_only = request.validate_only(),
                                            .stopped = nullptr},
                                .name = engine::DeviceName(request.device_id()),
                                .spec = {},
                                .metadata = ToMetadata("device.metadata", request.device().metadata(), violations),
                                .allow_existing = request.allow_existing()};
  if (!request.device_id().empty()) {
    if (netprov::Result<void, NameError> valid = CheckVethId(request.device_id()); !valid.ok()) {
      violations.Add("device_id", absl::StrCat("must ", valid.error().message, "; left out, the server chooses one"));
    }
  } else if (call.allow_existing) {
    violations.Add("allow_existing", "must not be set without a device_id: a device is looked for by its id");
  }
  if (request.has_device()) {
    call.spec = ToSpec(request.device(), violations);
  } else {
    violations.Add("device", "must be set: it says what to create");
  }
  if (!violations.empty()) return violations.ToStatus();
  return call;
}

absl::StatusOr<engine::UpdateDeviceCall> ToCall(const v1::UpdateDeviceRequest& request) {
  Violations violations;
  const v1::Device& wanted = request.device();
  const google::protobuf::FieldMask mask =
      CheckUpdateMask("update_mask", request.update_mask(), wanted, kChangeable, violations);
  const bool is_all = absl::c_linear_search(request.update_mask().paths(), "*");
  engine::UpdateDeviceCall call{.context = {.request_id = CheckRequestId(request.request_id(), violations),
                                            .fingerprint = {},
                                            .validate_only = request.validate_only(),
                                            .stopped = nullptr},
                                .name = engine::DeviceName(CheckDeviceName("device.name", wanted.name(), violations)),
                                .edit = nullptr,
                                .bridges = {}};
  if (!violations.empty()) return violations.ToStatus();
  if (!wanted.bridge().empty()) call.bridges.push_back(wanted.bridge());
  call.edit = [wanted, mask, is_all](const engine::Asked<engine::DeviceSpec>& present)
      -> netprov::Result<engine::Asked<engine::DeviceSpec>, std::vector<engine::InvalidField>> {
    v1::Device device =
        ToDevice({.link = AsAsked(present.spec.link), .options = present.spec.options, .lower = present.spec.lower});
    *device.mutable_metadata() = ToProto(present.metadata, std::nullopt);
    Violations wrong;
    Merge(CheckKind(mask, is_all, wanted, KindFieldOf(device), wrong), wanted, device);
    // One that leaves its bridge is no port any more.
    const bool is_port = !device.bridge().empty() || !device.bridge_interface().empty();
    if (!is_port && !wanted.has_bridge_port()) device.clear_bridge_port();
    engine::Asked<engine::DeviceSpec> asked{.spec = ToSpec(device, wrong),
                                            .metadata = ToMetadata("device.metadata", device.metadata(), wrong)};
    CheckFamily(present.spec.options, asked.spec.options, wrong);
    if (!wrong.empty()) return ToInvalidFields(wrong);
    return asked;
  };
  return call;
}

absl::StatusOr<engine::DeleteDeviceCall> ToCall(const v1::DeleteDeviceRequest& request) {
  Violations violations;
  engine::DeleteDeviceCall call{.context = {.request_id = CheckRequestId(request.request_id(), violations),
                                            .fingerprint = {},
                                            .validate_only = request.validate_only(),
                                            .stopped = nullptr},
                                .name = engine::DeviceName(CheckDeviceName("name", request.name(), violations)),
                                .allow_missing = request.allow_missing()};
  if (!violations.empty()) return violations.ToStatus();
  return call;
}

absl::StatusOr<ListCall> ToCall(const v1::ListDevicesRequest& request) {
  Violations violations;
  ListCall call = CheckPage(kListMethod, request.page_size(), request.page_token(), violations);
  if (!violations.empty()) return violations.ToStatus();
  return call;
}

absl::StatusOr<std::string> ToCall(const v1::GetDeviceRequest& request) {
  Violations violations;
  std::string id = CheckDeviceName("name", request.name(), violations);
  if (!violations.empty()) return violations.ToStatus();
  return engine::DeviceName(id);
}

v1::Device ToDevice(const engine::Device& device) {
  v1::Device proto;
  if (!absl::EndsWith(device.name, "/")) proto.set_name(device.name);
  proto.set_uid(device.uid);
  *proto.mutable_create_time() = ToTimestamp(device.create_time);
  proto.set_state(ToState(device.state));
  const v1::VethEndpoint link = ToProto(device.link);
  if (link.has_namespace_()) {
    proto.set_namespace_(link.namespace_());
  } else {
    proto.mutable_host();
  }
  proto.set_interface_name(link.interface_name());
  proto.set_mac_address(link.mac_address());
  proto.set_mtu(link.mtu());
  proto.set_admin_state(link.admin_state());
  proto.set_ifindex(link.ifindex());
  *proto.mutable_addresses() = link.addresses();
  *proto.mutable_gateways() = link.gateways();
  *proto.mutable_routes() = link.routes();
  *proto.mutable_alternative_names() = link.alternative_names();
  proto.set_bridge(link.bridge());
  proto.set_bridge_interface(link.bridge_interface());
  if (link.has_bridge_port()) *proto.mutable_bridge_port() = link.bridge_port();
  proto.set_lower_interface(device.lower.interface_name);
  if (!device.lower.namespace_id.empty()) proto.set_lower_namespace(FormatNamespaceName(device.lower.namespace_id));
  AddToProto(device.options, proto);
  *proto.mutable_metadata() = ToProto(device.metadata, device.expire_time, device.creator);
  AddDeviations(device.deviations, proto.mutable_deviations());
  return proto;
}

v1::ListDevicesResponse ToDevices(const engine::Page<engine::Device>& page) {
  v1::ListDevicesResponse proto;
  proto.set_next_page_token(FillPage(kListMethod, page, proto.mutable_devices(), ToDevice));
  return proto;
}

}  // namespace netprov::api
