#include "server/engine/records.h"

#include "absl/algorithm/container.h"

namespace netprov::engine {

Namespace NamespaceRecord::ToNamespace() const {
  return {.id = id,
          .uid = uid,
          .create_time = create_time,
          .managed = true,
          .adopted = adoption.has_value(),
          .state = State::kReady,
          .cookie = cookie,
          .spec = spec,
          .metadata = metadata,
          .creator = creator,
          .expire_time = std::nullopt,
          .deviations = {},
          .inhabitants = std::nullopt};
}

static void AddConfig(const EndpointSpec& spec, Endpoint& made) {
  const netlink::BridgePort port = made.config.port.settings;
  made.config = spec.config;
  if (port != netlink::BridgePort()) made.config.port.settings = port;
}

Veth VethRecord::ToVeth() const {
  Veth veth{.id = id,
            .uid = uid,
            .create_time = create_time,
            .state = State::kReady,
            .a = a,
            .b = b,
            .metadata = metadata,
            .creator = creator,
            .expire_time = std::nullopt,
            .deviations = {}};
  AddConfig(spec.a, veth.a);
  AddConfig(spec.b, veth.b);
  return veth;
}

Device DeviceRecord::ToDevice() const {
  Device device{.name = name,
                .uid = uid,
                .create_time = create_time,
                .state = State::kReady,
                .link = link,
                .options = options,
                .lower = spec.lower,
                .ports = {},
                .metadata = metadata,
                .creator = creator,
                .expire_time = std::nullopt,
                .deviations = {}};
  AddConfig(spec.link, device.link);
  return device;
}

std::string ObjectOf(const Intent& intent) {
  switch (intent.kind) {
    case Intent::Kind::kCreateNamespace:
    case Intent::Kind::kDeleteNamespace:
    case Intent::Kind::kUpdateNamespace:
    case Intent::Kind::kAdoptNamespace:
    case Intent::Kind::kReleaseNamespace:
      return NamespaceName(intent.netns.id);
    case Intent::Kind::kCreateVeth:
    case Intent::Kind::kDeleteVeth:
    case Intent::Kind::kUpdateVeth:
      return VethName(intent.veth.id);
    case Intent::Kind::kCreateDevice:
    case Intent::Kind::kDeleteDevice:
    case Intent::Kind::kUpdateDevice:
      break;
  }
  return intent.device.name;
}

const std::string& UidOf(const Intent& intent) {
  switch (intent.kind) {
    case Intent::Kind::kCreateNamespace:
    case Intent::Kind::kDeleteNamespace:
    case Intent::Kind::kUpdateNamespace:
    case Intent::Kind::kAdoptNamespace:
    case Intent::Kind::kReleaseNamespace:
      return intent.netns.uid;
    case Intent::Kind::kCreateVeth:
    case Intent::Kind::kDeleteVeth:
    case Intent::Kind::kUpdateVeth:
      return intent.veth.uid;
    case Intent::Kind::kCreateDevice:
    case Intent::Kind::kDeleteDevice:
    case Intent::Kind::kUpdateDevice:
      break;
  }
  return intent.device.uid;
}

bool IsOf(const Intent& intent, const std::string& uid) {
  return UidOf(intent) == uid ||
         absl::c_any_of(intent.new_namespaces, [&uid](const NamespaceRecord& record) { return record.uid == uid; });
}

bool IsDeletion(const Intent& intent) {
  return intent.kind == Intent::Kind::kDeleteNamespace || intent.kind == Intent::Kind::kDeleteVeth ||
         intent.kind == Intent::Kind::kDeleteDevice || intent.kind == Intent::Kind::kReleaseNamespace;
}

bool IsUpdate(const Intent& intent) {
  return intent.kind == Intent::Kind::kUpdateNamespace || intent.kind == Intent::Kind::kUpdateVeth ||
         intent.kind == Intent::Kind::kUpdateDevice;
}

}  // namespace netprov::engine
