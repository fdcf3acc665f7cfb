#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/engine/engine.h"
#include "server/engine/error.h"
#include "server/engine/plan.h"
#include "server/engine/tag.h"

namespace netprov::engine {
namespace {

// With the zero that follows, all that the kernel takes (IFALIASZ).
constexpr size_t kLongestAlias = 254;

}  // namespace

std::vector<std::string> Engine::UsersOf(const std::string& id) const {
  std::vector<std::string> users;
  for (const VethRecord& veth : registry_.ListVethsOf(id)) users.push_back(VethName(veth.id));
  for (const DeviceRecord& device : registry_.ListDevices()) {
    // Also what is elsewhere and stands on a link in it: to be made again, it needs that link.
    if (device.link.namespace_id == id || device.spec.lower.namespace_id == id) users.push_back(device.name);
  }
  return users;
}

EngineResult<void> Engine::CheckIsAdoptable(const std::string& id, const NetnsEntry& entry) {
  const NetnsPlace place{.path = "/run/netns/" + id};
  const KernelResult<PlaceEntry> at_place = kernel_.FindPlace(place);
  if (!at_place.ok()) return KernelFailure(NamespaceName(id), "look at the namespace", at_place.error());
  // A deletion would delete all of the host's links.
  if (at_place->is_host) return NamespaceNotAdoptable(id, "is the host's own");
  if (const std::optional<Tag> tag = ParseTag(entry.loopback_alias); tag.has_value()) {
    return NamespaceNotAdoptable(
        id, absl::StrCat("has the tag of ", tag->object, " of the registry ", tag->registry,
                         ", which may be another netprov's; take it away from the alias of its loopback link first"));
  }
  if (entry.loopback_alias.size() > kLongestAlias) {
    return NamespaceNotAdoptable(id, "has a loopback link with an alias of 255 bytes, which could not be put back");
  }
  if (const auto other = registry_.FindNamespaceId(kernel_.BootId(), entry.cookie); other.has_value()) {
    return NamespaceNotAdoptable(id, absl::StrCat("is ", NamespaceName(*other), " under another name"));
  }
  // A pair at a place is not found by the name of its namespace, and would not go with it.
  std::vector<std::string> users;
  for (const VethRecord& veth : registry_.ListVethsOf(NetnsKey("", place, entry.cookie))) {
    if (veth.boot_id == kernel_.BootId()) users.push_back(VethName(veth.id));
  }
  if (!users.empty()) return NamespaceInUse(id, users);
  return {};
}

EngineResult<Engine::Claim> Engine::ClaimForPair(const std::string& object, const NetnsRef& netns,
                                                 const std::string& field) {
  if (!netns.place.has_value()) return Claim();
  Claim claim;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (const auto other = adopting_.find(netns.cookie); other != adopting_.end()) {
      const std::string name = NamespaceName(other->second);
      return PlaceUnusable(*netns.place, field, absl::StrCat("is being adopted as ", name, ": use `namespace`"));
    }
    const auto entry = entering_.emplace(netns.cookie, object);
    claim = Claim(nullptr, [this, entry](void*) {
      std::lock_guard<std::mutex> again(mutex_);
      entering_.erase(entry);
    });
  }
  if (const auto id = registry_.FindNamespaceId(kernel_.BootId(), netns.cookie); id.has_value()) {
    return PlaceUnusable(*netns.place, field, absl::StrCat("is in ", NamespaceName(*id), ": use `namespace`"));
  }
  return claim;
}

EngineResult<Engine::Claim> Engine::ClaimForAdoption(const std::string& id, uint64_t cookie) {
  std::lock_guard<std::mutex> lock(mutex_);
  std::vector<std::string> users;
  const auto [first, last] = entering_.equal_range(cookie);
  for (auto entry = first; entry != last; ++entry) users.push_back(entry->second);
  if (!users.empty()) return NamespaceInUse(id, users);
  const auto [entry, is_first] = adopting_.emplace(cookie, id);
  if (!is_first) {
    return NamespaceNotAdoptable(id, absl::StrCat("is being adopted as ", NamespaceName(entry->second)));
  }
  return Claim(nullptr, [this, cookie](void*) {
    std::lock_guard<std::mutex> again(mutex_);
    adopting_.erase(cookie);
  });
}

KernelResult<void> Engine::UndoAdoption(const NamespaceRecord& record) {
  const NetnsRef netns{.name = record.id, .cookie = record.cookie};
  NETPROV_RETURN_IF_ERROR(RemoveDns(record));
  const Adoption& before = *record.adoption;
  if (!before.sysctls.empty()) NETPROV_RETURN_IF_ERROR(UnlessGone(PutSysctlsBack(netns, before.sysctls)));
  // The tag goes last: by it recovery knows that there is something to undo.
  LinkSettings settings{.alias = before.loopback_alias};
  if (!before.loopback_up) settings.up = false;
  return UnlessGone(kernel_.SetLink(netns, kLoopbackIndex, settings));
}

EngineResult<void> Engine::RollBackAdoption(const NamespaceRecord& record) {
  NETPROV_ASSIGN_OR_RETURN(const std::optional<NetnsEntry> entry, FindNetns(record.id));
  // Without the tag, nothing was begun, or the namespace is gone and its files may be there.
  if (!IsThere(record, entry) || entry->loopback_alias != TagFor(record)) {
    KernelResult<void> removed = RemoveDns(record);
    if (removed.ok()) return {};
    return KernelFailure(NamespaceName(record.id), "undo the adoption of namespace " + record.id, removed.error());
  }
  KernelResult<void> undone = UndoAdoption(record);
  if (!undone.ok()) {
    return KernelFailure(NamespaceName(record.id), "undo the adoption of namespace " + record.id, undone.error());
  }
  return {};
}

EngineResult<Namespace> Engine::AdoptNamespace(const AdoptNamespaceCall& call) {
  const std::string object = NamespaceName(call.id);
  NETPROV_ASSIGN_OR_RETURN(std::optional<RequestRecord> answered, Replay(call.context, object));
  if (answered.has_value() && answered->netns.has_value()) return *answered->netns;

  const std::optional<NamespaceRecord> existing = registry_.FindNamespace(call.id);
  NETPROV_ASSIGN_OR_RETURN(const std::optional<NetnsEntry> entry, FindNetns(call.id));
  if (existing.has_value()) {
    if (!IsThere(*existing, entry)) return NamespaceMissing(call.id);
    const bool matches =
        existing->adoption.has_value() && existing->metadata == call.metadata && existing->spec == call.spec;
    if (!call.allow_existing || !matches) return NamespaceAlreadyExists(call.id, matches);
    if (!call.context.validate_only) leases_.Renew(call.metadata.owner);
    NETPROV_ASSIGN_OR_RETURN(Namespace netns, Describe(*existing, entry));
    if (!call.context.validate_only) {
      NETPROV_RETURN_IF_ERROR(RecordAnswer(call.context, object, Answer(call.context, netns, std::nullopt)));
    }
    return netns;
  }
  if (!entry.has_value()) return NamespaceNotFound(call.id);
  if (!entry->is_netns) return NamespaceFileStale(call.id);
  NETPROV_ASSIGN_OR_RETURN(const Claim claim, ClaimForAdoption(call.id, entry->cookie));
  NETPROV_RETURN_IF_ERROR(CheckIsAdoptable(call.id, *entry));

  const NetnsRef netns{.name = call.id, .cookie = entry->cookie};
  NETPROV_ASSIGN_OR_RETURN(Sysctls sysctls, FindFormerSysctls(object, netns, call.spec.sysctls));
  NamespaceRecord record{
      .id = call.id,
      .uid = NewUid(),
      .create_time = absl::Now(),
      .boot_id = kernel_.BootId(),
      .cookie = entry->cookie,
      .spec = call.spec,
      .metadata = call.metadata,
      .creator = call.context.caller,
      .adoption = Adoption{
          .loopback_up = entry->loopback_up, .loopback_alias = entry->loopback_alias, .sysctls = std::move(sysctls)}};
  NETPROV_RETURN_IF_ERROR(PrepareDns(std::nullopt, record));
  if (call.context.validate_only) {
    NETPROV_RETURN_IF_ERROR(
        ExpectRoom(object, {.kind = Intent::Kind::kAdoptNamespace, .netns = record}, call.context.allowance));
    Namespace projected = record.ToNamespace();
    projected.uid.clear();
    return projected;
  }
  if (call.context.stopped != nullptr && call.context.stopped()) return Stopped(object);

  Plan plan;
  auto undo = [&] { return UndoAdoption(record); };
  plan.Add({.name = "tag the loopback link of namespace " + record.id,
            .run = [&] { return kernel_.SetLink(netns, kLoopbackIndex, {.alias = TagFor(record), .up = true}); },
            .undo = undo,
            .sweep = undo});
  if (!record.spec.sysctls.empty()) {
    // What a failure leaves of them is undone with the tag.
    plan.Add({.name = "set the sysctls of namespace " + record.id,
              .run = [&] { return kernel_.SetSysctls(netns, record.spec.sysctls); },
              .undo = NothingToUndo});
  }
  AddDnsStep(record, plan);
  const Intent intent{.kind = Intent::Kind::kAdoptNamespace, .netns = record, .veth = {}, .device = {}, .request = {}};
  EngineResult<void> adopted = Transact(object, intent, plan, call.context.allowance, [&] {
    leases_.Start(record.uid, object, record.metadata);
    Namespace answer = record.ToNamespace();
    answer.expire_time = ExpireTimeOf(record.uid);
    return Outcome{.put_namespaces = {record}, .request = Answer(call.context, std::move(answer), std::nullopt)};
  });
  if (!adopted.ok()) {
    leases_.End(record.uid);
    return std::move(adopted).error();
  }
  leases_.Renew(record.metadata.owner);
  Namespace answer = record.ToNamespace();
  answer.expire_time = ExpireTimeOf(record.uid);
  return answer;
}

EngineResult<void> Engine::ReleaseRecordedNamespace(const NamespaceRecord& record,
                                                    std::optional<RequestRecord> answer) {
  const std::string object = NamespaceName(record.id);
  const NetnsRef netns{.name = record.id, .cookie = record.cookie};
  NETPROV_ASSIGN_OR_RETURN(const std::optional<NetnsEntry> entry, FindNetns(record.id));
  Plan plan;
  AddDnsRemoval(
      record, [&] { return WriteDns(record, record.spec.dns); }, plan);
  // An alias that somebody gave it since is theirs.
  if (IsThere(record, entry) && entry->loopback_alias == TagFor(record)) {
    auto set = [&](const std::string& alias) {
      return UnlessGone(kernel_.SetLink(netns, kLoopbackIndex, {.alias = alias}));
    };
    auto undo = [this, set, &record] { return set(TagFor(record)); };
    plan.Add({.name = "take the tag away from namespace " + record.id,
              .run = [set, &record] { return set(record.adoption.has_value() ? record.adoption->loopback_alias : ""); },
              .undo = undo,
              .sweep = undo});
  }
  const Intent intent{
      .kind = Intent::Kind::kReleaseNamespace, .netns = record, .veth = {}, .device = {}, .request = answer};
  NETPROV_RETURN_IF_ERROR(
      Transact(object, intent, plan, [&] { return Outcome{.remove_namespace = record, .request = answer}; }));
  leases_.End(record.uid);
  return {};
}

EngineResult<void> Engine::ReleaseNamespace(const ReleaseNamespaceCall& call) {
  const std::string object = NamespaceName(call.id);
  NETPROV_ASSIGN_OR_RETURN(std::optional<RequestRecord> answered, Replay(call.context, object));
  if (answered.has_value()) return {};

  const std::optional<NamespaceRecord> record = registry_.FindNamespace(call.id);
  if (!record.has_value()) {
    if (!call.allow_missing) {
      NETPROV_ASSIGN_OR_RETURN(const std::optional<NetnsEntry> entry, FindNetns(call.id));
      if (!entry.has_value()) return NamespaceNotFound(call.id);
      return entry->is_netns ? NamespaceNotManaged(call.id) : NamespaceFileStale(call.id);
    }
    if (call.context.validate_only) return {};
    return RecordAnswer(call.context, object, Answer(call.context, std::nullopt, std::nullopt));
  }
  if (const std::vector<std::string> users = UsersOf(call.id); !users.empty()) return NamespaceInUse(call.id, users);
  if (call.context.validate_only) return {};
  if (call.context.stopped != nullptr && call.context.stopped()) return Stopped(object);
  return ReleaseRecordedNamespace(*record, Answer(call.context, std::nullopt, std::nullopt));
}

}  // namespace netprov::engine
