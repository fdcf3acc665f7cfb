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

namespace {

std::string NameOf(const NamespaceRecord& record) { return NamespaceName(record.id); }
std::string NameOf(const VethRecord& record) { return VethName(record.id); }
std::string NameOf(const DeviceRecord& record) { return record.name; }

}  // namespace

std::string ObjectOf(const Intent& intent) {
  return VisitRecord(intent, [](const auto& record) { return NameOf(record); });
}

const std::string& UidOf(const Intent& intent) {
  return VisitRecord(intent, [](const auto& record) -> const std::string& { return record.uid; });
}

const std::string& CreatorOf(const Intent& intent) {
  return VisitRecord(intent, [](const auto& record) -> const std::string& { return record.creator; });
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
