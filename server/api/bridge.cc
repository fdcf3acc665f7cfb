#include "server/api/bridge.h"

#include <cstdint>
#include <optional>
#include <utility>
#include <variant>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "google/protobuf/duration.pb.h"
#include "server/api/metadata.h"
#include "server/api/page_token.h"
#include "server/api/request.h"
#include "server/api/resource_name.h"
#include "server/api/timestamp.h"
#include "server/api/update.h"
#include "server/api/veth.h"
#include "server/netlink/link_info.h"

namespace netprov::api {
namespace {

using netlink::Centiseconds;

constexpr char kListMethod[] = "ListBridges";
constexpr char kDefaultInterfaceName[] = "br%d";
constexpr uint32_t kGreatestPriority = 65535;
constexpr uint32_t kGreatestVlan = 4094;
constexpr uint32_t kGreatestMask = 65535;
constexpr uint32_t kReservedGroups = 0x7;  // BR_GROUPFWD_RESTRICTED

constexpr absl::string_view kChangeable[] = {"mac_address",
                                             "mtu",
                                             "admin_state",
                                             "addresses",
                                             "alternative_names",
                                             "stp",
                                             "forward_delay",
                                             "hello_time",
                                             "max_age",
                                             "ageing_time",
                                             "priority",
                                             "vlan_filtering",
                                             "default_pvid",
                                             "multicast_snooping",
                                             "group_forward_mask",
                                             "metadata.owner",
                                             "metadata.labels",
                                             "metadata.ttl",
                                             "metadata.persistent",
                                             "metadata.self_heal"};

v1::Bridge::State ToState(engine::State state) {
  switch (state) {
    case engine::State::kReady:
      return v1::Bridge::STATE_READY;
    case engine::State::kDegraded:
      return v1::Bridge::STATE_DEGRADED;
    case engine::State::kMissing:
    case engine::State::kStale:  // of namespaces only
      return v1::Bridge::STATE_MISSING;
  }
  return v1::Bridge::STATE_UNSPECIFIED;
}

// What a bridge has in common with an end of a pair.
v1::VethEndpoint ToEndpoint(const v1::Bridge& bridge) {
  v1::VethEndpoint endpoint;
  if (bridge.has_host()) endpoint.mutable_host();
  if (bridge.has_namespace_()) endpoint.set_namespace_(bridge.namespace_());
  endpoint.set_interface_name(bridge.interface_name().empty() ? kDefaultInterfaceName : bridge.interface_name());
  endpoint.set_mac_address(bridge.mac_address());
  endpoint.set_mtu(bridge.mtu());
  endpoint.set_admin_state(bridge.admin_state());
  *endpoint.mutable_addresses() = bridge.addresses();
  *endpoint.mutable_alternative_names() = bridge.alternative_names();
  return endpoint;
}

std::optional<Centiseconds> CheckTime(const char* name, bool is_set, const google::protobuf::Duration& proto,
                                      int64_t least_seconds, int64_t greatest_seconds, Violations& violations) {
  if (!is_set) return std::nullopt;
  const absl::Duration time = absl::Seconds(proto.seconds()) + absl::Nanoseconds(proto.nanos());
  if (time < absl::Seconds(least_seconds) || time > absl::Seconds(greatest_seconds)) {
    violations.Add(absl::StrCat("bridge.", name), absl::StrCat("must be ", least_seconds, "s to ", greatest_seconds,
                                                               "s, but is ", absl::FormatDuration(time)));
    return std::nullopt;
  }
  return Centiseconds(static_cast<uint32_t>(time / absl::Milliseconds(10)));
}

template <typename T>
std::optional<T> CheckNumber(const char* name, bool is_set, uint32_t number, uint32_t greatest,
                             Violations& violations) {
  if (!is_set) return std::nullopt;
  if (number > greatest) {
    violations.Add(absl::StrCat("bridge.", name), absl::StrCat("must be 0 to ", greatest, ", but is ", number));
  }
  return static_cast<T>(number);
}

netlink::BridgeInfo ToOptions(const v1::Bridge& bridge, Violations& violations) {
  netlink::BridgeInfo options;
  if (bridge.has_stp()) options.stp = bridge.stp();
  // The bounds of br_set_forward_delay(), br_set_hello_time() and br_set_max_age().
  options.forward_delay =
      CheckTime("forward_delay", bridge.has_forward_delay(), bridge.forward_delay(), 2, 30, violations);
  options.hello_time = CheckTime("hello_time", bridge.has_hello_time(), bridge.hello_time(), 1, 10, violations);
  options.max_age = CheckTime("max_age", bridge.has_max_age(), bridge.max_age(), 6, 40, violations);
  options.ageing_time =
      CheckTime("ageing_time", bridge.has_ageing_time(), bridge.ageing_time(), 0, 1000000, violations);
  options.priority =
      CheckNumber<uint16_t>("priority", bridge.has_priority(), bridge.priority(), kGreatestPriority, violations);
  if (bridge.has_vlan_filtering()) options.vlan_filtering = bridge.vlan_filtering();
  options.default_pvid = CheckNumber<uint16_t>("default_pvid", bridge.has_default_pvid(), bridge.default_pvid(),
                                               kGreatestVlan, violations);
  if (bridge.has_multicast_snooping()) options.multicast_snooping = bridge.multicast_snooping();
  options.group_forward_mask = CheckNumber<uint16_t>("group_forward_mask", bridge.has_group_forward_mask(),
                                                     bridge.group_forward_mask(), kGreatestMask, violations);
  if ((bridge.group_forward_mask() & kReservedGroups) != 0) {
    violations.Add("bridge.group_forward_mask",
                   "must not have the bits 0 to 2: STP, MAC pause and LACP stay on a link");
  }
  return options;
}

void SetTime(const std::optional<Centiseconds>& time, google::protobuf::Duration* (v1::Bridge::*mutable_field)(),
             v1::Bridge& proto) {
  if (!time.has_value()) return;
  google::protobuf::Duration& duration = *(proto.*mutable_field)();
  duration.set_seconds(time->count() / 100);
  duration.set_nanos(static_cast<int32_t>(time->count() % 100) * 10'000'000);
}

void AddOptions(const netlink::BridgeInfo& options, v1::Bridge& proto) {
  if (options.stp.has_value()) proto.set_stp(*options.stp);
  SetTime(options.forward_delay, &v1::Bridge::mutable_forward_delay, proto);
  SetTime(options.hello_time, &v1::Bridge::mutable_hello_time, proto);
  SetTime(options.max_age, &v1::Bridge::mutable_max_age, proto);
  SetTime(options.ageing_time, &v1::Bridge::mutable_ageing_time, proto);
  if (options.priority.has_value()) proto.set_priority(*options.priority);
  if (options.vlan_filtering.has_value()) proto.set_vlan_filtering(*options.vlan_filtering);
  if (options.default_pvid.has_value()) proto.set_default_pvid(*options.default_pvid);
  if (options.multicast_snooping.has_value()) proto.set_multicast_snooping(*options.multicast_snooping);
  if (options.group_forward_mask.has_value()) proto.set_group_forward_mask(*options.group_forward_mask);
}

}  // namespace

static engine::DeviceSpec ToSpec(const v1::Bridge& bridge, Violations& violations) {
  engine::DeviceSpec spec;
  v1::VethEndpoint link = ToEndpoint(bridge);
  if (bridge.location_case() == v1::Bridge::LOCATION_NOT_SET) {
    violations.Add("bridge", "must say where it lives: set host or namespace");
    link.mutable_host();
  }
  spec.link = ToSpec("bridge", link, violations);
  spec.options = ToOptions(bridge, violations);
  const auto& addresses = spec.link.config.ip.addresses;
  for (size_t i = 0; i < addresses.size(); ++i) {
    if (!addresses[i].detect_duplicates) continue;
    violations.Add(absl::StrCat("bridge.addresses[", i, "].duplicate_detection"),
                   "must not be DUPLICATE_DETECTION_WAIT: a bridge without a port would have nobody to ask");
  }
  return spec;
}

absl::StatusOr<engine::CreateDeviceCall> ToCall(const v1::CreateBridgeRequest& request) {
  Violations violations;
  engine::CreateDeviceCall call{.context = {.request_id = CheckRequestId(request.request_id(), violations),
                                            .fingerprint = {},
                                            .validate_only = request.validate_only(),
                                            .stopped = nullptr},
                                .name = engine::BridgeName(request.bridge_id()),
                                .spec = {},
                                .metadata = ToMetadata("bridge.metadata", request.bridge().metadata(), violations),
                                .allow_existing = request.allow_existing()};
  if (!request.bridge_id().empty()) {
    if (netprov::Result<void, NameError> valid = CheckVethId(request.bridge_id()); !valid.ok()) {
      violations.Add("bridge_id", absl::StrCat("must ", valid.error().message, "; left out, the server chooses one"));
    }
  } else if (call.allow_existing) {
    violations.Add("allow_existing", "must not be set without a bridge_id: a bridge is looked for by its id");
  }
  if (!request.has_bridge()) {
    violations.Add("bridge", "must be set: it says what to create");
  } else {
    call.spec = ToSpec(request.bridge(), violations);
  }
  if (!violations.empty()) return violations.ToStatus();
  return call;
}

absl::StatusOr<engine::UpdateDeviceCall> ToCall(const v1::UpdateBridgeRequest& request) {
  Violations violations;
  const v1::Bridge& wanted = request.bridge();
  const google::protobuf::FieldMask mask =
      CheckUpdateMask("update_mask", request.update_mask(), wanted, kChangeable, violations);
  engine::UpdateDeviceCall call{.context = {.request_id = CheckRequestId(request.request_id(), violations),
                                            .fingerprint = {},
                                            .validate_only = request.validate_only(),
                                            .stopped = nullptr},
                                .name = engine::BridgeName(CheckBridgeName("bridge.name", wanted.name(), violations)),
                                .edit = nullptr};
  if (!violations.empty()) return violations.ToStatus();
  call.edit = [wanted, mask](const engine::Asked<engine::DeviceSpec>& present)
      -> netprov::Result<engine::Asked<engine::DeviceSpec>, std::vector<engine::InvalidField>> {
    v1::Bridge bridge = ToBridge({.link = AsAsked(present.spec.link), .options = present.spec.options});
    *bridge.mutable_metadata() = ToProto(present.metadata, std::nullopt);
    Merge(mask, wanted, bridge);
    Violations wrong;
    engine::Asked<engine::DeviceSpec> asked{.spec = ToSpec(bridge, wrong),
                                            .metadata = ToMetadata("bridge.metadata", bridge.metadata(), wrong)};
    if (!wrong.empty()) return ToInvalidFields(wrong);
    return asked;
  };
  return call;
}

absl::StatusOr<engine::DeleteDeviceCall> ToCall(const v1::DeleteBridgeRequest& request) {
  Violations violations;
  engine::DeleteDeviceCall call{.context = {.request_id = CheckRequestId(request.request_id(), violations),
                                            .fingerprint = {},
                                            .validate_only = request.validate_only(),
                                            .stopped = nullptr},
                                .name = engine::BridgeName(CheckBridgeName("name", request.name(), violations)),
                                .allow_missing = request.allow_missing()};
  if (!violations.empty()) return violations.ToStatus();
  return call;
}

absl::StatusOr<ListCall> ToCall(const v1::ListBridgesRequest& request) {
  Violations violations;
  ListCall call = CheckPage(kListMethod, request.page_size(), request.page_token(), violations);
  if (!violations.empty()) return violations.ToStatus();
  return call;
}

absl::StatusOr<std::string> ToCall(const v1::GetBridgeRequest& request) {
  Violations violations;
  std::string id = CheckBridgeName("name", request.name(), violations);
  if (!violations.empty()) return violations.ToStatus();
  return engine::BridgeName(id);
}

v1::Bridge ToBridge(const engine::Device& device) {
  v1::Bridge proto;
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
  *proto.mutable_alternative_names() = link.alternative_names();
  AddOptions(std::get<netlink::BridgeInfo>(device.options), proto);
  *proto.mutable_metadata() = ToProto(device.metadata, device.expire_time, device.creator);
  AddDeviations(device.deviations, proto.mutable_deviations());
  proto.mutable_ports()->Add(device.ports.begin(), device.ports.end());
  return proto;
}

v1::ListBridgesResponse ToBridges(const engine::Page<engine::Device>& page) {
  v1::ListBridgesResponse proto;
  proto.set_next_page_token(FillPage(kListMethod, page, proto.mutable_bridges(), ToBridge));
  return proto;
}

}  // namespace netprov::api
