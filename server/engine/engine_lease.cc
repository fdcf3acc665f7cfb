#include <algorithm>
#include <optional>
#include <string>
#include <unordered_set>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/engine/engine.h"
#include "server/engine/error.h"
#include "server/netlink/link_info.h"

namespace netprov::engine {

std::optional<std::string> Engine::WhyNeeded(const ObjectRef& object, const std::string& owner,
                                             const std::unordered_set<std::string>& keep) const {
  auto why = [&](const std::string& name, const char* does, const Metadata& metadata) -> std::optional<std::string> {
    if (metadata.owner != owner) return absl::StrCat(name, does, ", which is not the owner's");
    if (keep.contains(name)) return absl::StrCat(name, does, ", which is to be kept");
    return std::nullopt;
  };
  if (const std::optional<std::string> id = NamespaceIdIn(object.name); id.has_value()) {
    for (const VethRecord& veth : registry_.ListVethsOf(*id)) {
      if (auto needed = why(VethName(veth.id), " ends in it", veth.metadata); needed.has_value()) return needed;
    }
    for (const DeviceRecord& device : registry_.ListDevicesOf(*id)) {
      if (auto needed = why(device.name, " is in it", device.metadata); needed.has_value()) return needed;
    }
  } else if (const auto device = registry_.FindDevice(object.name); device.has_value()) {
    for (const std::string& port : PortsOf(*device)) {
      const std::optional<VethRecord> veth = registry_.FindVeth(VethIdIn(port).value_or(""));
      const std::optional<DeviceRecord> other = registry_.FindDevice(port);
      if (!veth.has_value() && !other.has_value()) continue;
      const Metadata& metadata = veth.has_value() ? veth->metadata : other->metadata;
      if (auto needed = why(port, " is its port", metadata); needed.has_value()) return needed;
    }
  }
  return std::nullopt;
}

CollectGarbageCall Engine::PlanGarbage(const std::string& owner, const std::vector<std::string>& keep) const {
  CollectGarbageCall call{.owner = owner,
                          .keep = {keep.begin(), keep.end()},
                          .doomed = {},
                          .kept = {},
                          .validate_only = false,
                          .stopped = nullptr};
  auto add = [&](ObjectRef object, const Metadata& metadata) {
    if (metadata.owner != owner || call.keep.contains(object.name)) return;
    if (std::optional<std::string> why = WhyNeeded(object, owner, call.keep); why.has_value()) {
      call.kept.emplace_back(object.name, *why);
    } else {
      call.doomed.push_back(std::move(object));
    }
  };
  // Pairs first: a namespace would take them along unseen, and a bridge that has ports is refused.
  for (const VethRecord& record : registry_.ListVeths("", SIZE_MAX)) {
    add({.name = VethName(record.id), .uid = record.uid}, record.metadata);
  }
  std::vector<DeviceRecord> devices = registry_.ListDevices();
  std::stable_partition(devices.begin(), devices.end(), [](const DeviceRecord& record) {
    return !std::holds_alternative<netlink::BridgeInfo>(record.spec.options);
  });
  for (const DeviceRecord& record : devices) add({.name = record.name, .uid = record.uid}, record.metadata);
  for (const NamespaceRecord& record : registry_.ListNamespaces()) {
    add({.name = NamespaceName(record.id), .uid = record.uid}, record.metadata);
  }
  return call;
}

std::vector<std::string> Engine::Keys(const CollectGarbageCall& call) const {
  std::vector<std::string> keys;
  for (const ObjectRef& object : call.doomed) {
    for (std::string& key : Keys(object)) keys.push_back(std::move(key));
  }
  std::sort(keys.begin(), keys.end());
  keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
  return keys;
}

static bool IsOf(const std::string& owner, const ObjectRef& object, const Registry& registry) {
  auto is_of = [&owner](const auto& record) { return record.has_value() && record->metadata.owner == owner; };
  if (const auto id = NamespaceIdIn(object.name); id.has_value()) return is_of(registry.FindNamespace(*id));
  if (const auto id = VethIdIn(object.name); id.has_value()) return is_of(registry.FindVeth(*id));
  return is_of(registry.FindDevice(object.name));
}

EngineResult<Garbage> Engine::CollectGarbage(const CollectGarbageCall& call) {
  if (!call.validate_only) leases_.Renew(call.owner);
  Garbage garbage{.deleted = {}, .failures = call.kept};
  for (const ObjectRef& object : call.doomed) {
    if (call.validate_only) {
      garbage.deleted.push_back(object.name);
      continue;
    }
    if (call.stopped != nullptr && call.stopped()) {
      if (garbage.deleted.empty()) return Stopped(object.name);
      garbage.failures.emplace_back(object.name, "the caller gave up before its turn");
      continue;
    }
    // An update may have given it to another owner since.
    if (!IsOf(call.owner, object, registry_)) continue;
    // Somebody may have made a pair since.
    if (std::optional<std::string> why = WhyNeeded(object, call.owner, call.keep); why.has_value()) {
      garbage.failures.emplace_back(object.name, *why);
      continue;
    }
    EngineResult<bool> deleted = DeleteObject(object);
    if (!deleted.ok()) {
      garbage.failures.emplace_back(object.name, deleted.error().message);
    } else if (*deleted) {
      garbage.deleted.push_back(object.name);
    }
  }
  return garbage;
}

EngineResult<bool> Engine::DeleteObject(const ObjectRef& object) {
  if (const auto id = NamespaceIdIn(object.name); id.has_value()) {
    const std::optional<NamespaceRecord> record = registry_.FindNamespace(*id);
    if (!record.has_value() || record->uid != object.uid) return false;
    NETPROV_RETURN_IF_ERROR(DeleteRecordedNamespace(*record, std::nullopt));
    return true;
  }
  if (const auto id = VethIdIn(object.name); id.has_value()) {
    const std::optional<VethRecord> record = registry_.FindVeth(*id);
    if (!record.has_value() || record->uid != object.uid) return false;
    NETPROV_RETURN_IF_ERROR(DeleteRecordedVeth(*record, std::nullopt));
    return true;
  }
  const std::optional<DeviceRecord> record = registry_.FindDevice(object.name);
  if (!record.has_value() || record->uid != object.uid) return false;
  // Somebody may have made a port of it since.
  if (const std::vector<std::string> ports = PortsOf(*record); !ports.empty()) return DeviceInUse(record->name, ports);
  NETPROV_RETURN_IF_ERROR(DeleteRecordedDevice(*record, std::nullopt));
  return true;
}

EngineResult<Engine::Expiry> Engine::DeleteExpired(const ObjectRef& object) {
  if (!leases_.Claim(object.uid)) return Expiry{};
  if (const auto id = NamespaceIdIn(object.name); id.has_value()) {
    const std::optional<NamespaceRecord> record = registry_.FindNamespace(*id);
    std::string kept_because;
    auto keep = [&](const std::string& name, const char* does, const std::string& owner) {
      if (owner.empty() || (record.has_value() && owner == record->metadata.owner)) return;
      kept_because = absl::StrCat(name, " of ", owner, does);
    };
    for (const VethRecord& veth : registry_.ListVethsOf(*id)) {
      keep(VethName(veth.id), " ends in it", veth.metadata.owner);
    }
    for (const DeviceRecord& device : registry_.ListDevicesOf(*id)) {
      keep(device.name, " is in it", device.metadata.owner);
    }
    if (!kept_because.empty()) {
      leases_.Release(object.uid);
      return Expiry{.kept_because = kept_because};
    }
  }
  EngineResult<bool> deleted = DeleteObject(object);
  if (!deleted.ok()) {
    leases_.Release(object.uid);
    if (deleted.error().reason == Reason::kDeviceInUse) return Expiry{.kept_because = deleted.error().message};
    return std::move(deleted).error();
  }
  leases_.End(object.uid);
  return Expiry{.deleted = *deleted};
}

}  // namespace netprov::engine
