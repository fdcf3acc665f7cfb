#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/engine/engine.h"
#include "server/engine/error.h"
#include "server/engine/plan.h"
#include "server/engine/tag.h"

namespace netprov::engine {
namespace {

// How many processes a namespace is shown with, and how many an error names.
constexpr size_t kMostInhabitants = 100;
constexpr size_t kMostInhabitantsInError = 5;

// The name of the step that makes a namespace.
std::string BirthOf(const std::string& id) { return "create namespace " + id; }

}  // namespace

std::string Engine::TagFor(const NamespaceRecord& record) const {
  return TagOf(registry_.id(), record.uid,
               record.adoption.has_value() ? AdoptedName(record.id) : NamespaceName(record.id));
}

bool Engine::IsThere(const NamespaceRecord& record, const std::optional<NetnsEntry>& entry) const {
  return record.boot_id == kernel_.BootId() && entry.has_value() && entry->is_netns && entry->cookie == record.cookie;
}

EngineResult<std::optional<NetnsEntry>> Engine::FindNetns(const std::string& id) {
  KernelResult<std::optional<NetnsEntry>> entry = kernel_.FindNetns(id);
  if (!entry.ok()) return KernelFailure(NamespaceName(id), "look at the namespace", entry.error());
  return *std::move(entry);
}

bool Engine::IsInTheMaking(const std::string& id) const {
  for (const PendingIntent& item : registry_.ListPending()) {
    const Intent& intent = item.intent;
    const bool is_it =
        ((intent.kind == Intent::Kind::kCreateNamespace || intent.kind == Intent::Kind::kDeleteNamespace) &&
         intent.netns.id == id) ||
        absl::c_any_of(intent.new_namespaces, [&id](const NamespaceRecord& record) { return record.id == id; });
    std::lock_guard<std::mutex> lock(mutex_);
    if (is_it && !unfinished_.contains(item.sequence)) return true;
  }
  return false;
}

EngineResult<Namespace> Engine::Describe(const NamespaceRecord& record, const std::optional<NetnsEntry>& entry) {
  Namespace netns = record.ToNamespace();
  netns.expire_time = ExpireTimeOf(record.uid);
  KernelResult<Sysctls> sysctls = Sysctls();
  const bool is_there = IsThere(record, entry);
  if (is_there && !record.spec.sysctls.empty()) {
    sysctls = kernel_.FindSysctls({.name = record.id, .cookie = record.cookie}, record.spec.sysctls);
  }
  if (!is_there || (!sysctls.ok() && NamespaceIsGone(sysctls.error()))) {
    netns.state = State::kMissing;
    netns.cookie = 0;
    return netns;
  }
  if (!sysctls.ok()) return KernelFailure(NamespaceName(record.id), "read the sysctls", sysctls.error());
  if (!entry->loopback_up) netns.deviations.push_back({.field = "loopback", .expected = "up", .actual = "down"});
  if (const std::string tag = TagFor(record); entry->loopback_alias != tag) {
    netns.deviations.push_back({.field = "loopback.alias", .expected = tag, .actual = entry->loopback_alias});
  }
  for (const auto& [name, expected] : record.spec.sysctls) {
    auto actual = sysctls->find(name);
    if (actual != sysctls->end() && actual->second == expected) continue;
    netns.deviations.push_back({.field = absl::StrCat("sysctls[", name, "]"),
                                .expected = expected,
                                .actual = actual == sysctls->end() ? "" : actual->second});
  }
  netns.spec.sysctls = *std::move(sysctls);
  NETPROV_ASSIGN_OR_RETURN(std::vector<Deviation> dns, FindDnsDeviations(record));
  netns.deviations.insert(netns.deviations.end(), dns.begin(), dns.end());
  if (!netns.deviations.empty()) netns.state = State::kDegraded;
  return netns;
}

EngineResult<Namespace> Engine::Describe(const std::string& id, const std::optional<NamespaceRecord>& record) {
  NETPROV_ASSIGN_OR_RETURN(std::optional<NetnsEntry> entry, FindNetns(id));
  if (record.has_value()) return Describe(*record, entry);
  if (!entry.has_value()) return NamespaceNotFound(id);
  const std::optional<Tag> tag = ParseTag(entry->loopback_alias);
  if (!entry->is_netns || (tag.has_value() && tag->registry == registry_.id())) {
    // It may be ours, made or taken away between our look at the registry and that at the kernel.
    const bool in_the_making = IsInTheMaking(id);
    if (const auto now = registry_.FindNamespace(id); now.has_value() && (!tag.has_value() || now->uid == tag->uid)) {
      return Describe(id, now);
    }
    if (in_the_making) return NamespaceNotFound(id);
    NETPROV_ASSIGN_OR_RETURN(entry, FindNetns(id));
    if (!entry.has_value()) return NamespaceNotFound(id);
  }
  return Namespace{.id = id, .state = entry->is_netns ? State::kReady : State::kStale, .cookie = entry->cookie};
}

EngineResult<NetnsRef> Engine::FindManaged(const std::string& id) {
  NETPROV_ASSIGN_OR_RETURN(const std::optional<NetnsEntry> entry, FindNetns(id));
  // Asked in this order: what is being made becomes a record.
  const bool in_the_making = IsInTheMaking(id);
  const std::optional<NamespaceRecord> record = registry_.FindNamespace(id);
  if (record.has_value() && IsThere(*record, entry)) return NetnsRef{.name = id, .cookie = record->cookie};
  if (record.has_value()) return NamespaceMissing(id);
  if (!entry.has_value() || in_the_making) return NamespaceNotFound(id);
  return entry->is_netns ? NamespaceNotManaged(id) : NamespaceFileStale(id);
}

EngineResult<Namespace> Engine::CreateNamespace(const CreateNamespaceCall& call) {
  const std::string object = NamespaceName(call.id);
  NETPROV_ASSIGN_OR_RETURN(std::optional<RequestRecord> answered, Replay(call.context, object));
  if (answered.has_value() && answered->netns.has_value()) return *answered->netns;

  std::optional<NamespaceRecord> existing = registry_.FindNamespace(call.id);
  NETPROV_ASSIGN_OR_RETURN(std::optional<NetnsEntry> entry, FindNetns(call.id));
  if (existing.has_value() && IsThere(*existing, entry)) {
    const bool matches = existing->metadata == call.metadata && existing->spec == call.spec;
    if (!call.allow_existing || !matches) return NamespaceAlreadyExists(call.id, matches);
    if (!call.context.validate_only) leases_.Renew(call.metadata.owner);
    // Not by a second look: somebody may take it away between, and what is missing is no success.
    NETPROV_ASSIGN_OR_RETURN(Namespace netns, Describe(*existing, entry));
    if (!call.context.validate_only) {
      NETPROV_RETURN_IF_ERROR(RecordAnswer(call.context, object, Answer(call.context, netns, std::nullopt)));
    }
    return netns;
  }
  // A file without its namespace under a name of ours is what a deletion leaves that was killed half way.
  const bool half_deleted = existing.has_value() && entry.has_value() && !entry->is_netns;
  if (entry.has_value() && !half_deleted) {
    return entry->is_netns ? NamespaceNotManaged(call.id) : NamespaceFileStale(call.id);
  }

  NamespaceRecord record{.id = call.id,
                         .uid = NewUid(),
                         .create_time = absl::Now(),
                         .boot_id = kernel_.BootId(),
                         .cookie = 0,
                         .spec = call.spec,
                         .metadata = call.metadata,
                         .creator = call.context.caller};
  NETPROV_RETURN_IF_ERROR(PrepareDns(existing, record));
  if (call.context.validate_only) {
    NETPROV_RETURN_IF_ERROR(
        ExpectRoom(object, {.kind = Intent::Kind::kCreateNamespace, .netns = record}, call.context.allowance));
    Namespace projected = record.ToNamespace();
    projected.uid.clear();
    return projected;
  }
  if (call.context.stopped != nullptr && call.context.stopped()) return Stopped(object);
  EngineResult<NamespaceRecord> made =
      MakeNamespace(std::move(record), call.context, /*is_new=*/true, /*replaced=*/existing);
  if (!made.ok()) return std::move(made).error();
  Namespace netns = made->ToNamespace();
  netns.expire_time = ExpireTimeOf(made->uid);
  return netns;
}

void Engine::AddBirth(NamespaceRecord& record, Plan& plan) {
  plan.Add({.name = BirthOf(record.id),
            .run = [this, &record]() -> KernelResult<void> {
              KernelResult<uint64_t> cookie = kernel_.CreateNetns(record.id, TagFor(record), record.spec.sysctls);
              // Somebody deleted its file before it was mounted there: as if that had come first.
              for (int i = 1; i < kMostBirths && !cookie.ok() && cookie.error().code == ENOENT; ++i) {
                cookie = kernel_.CreateNetns(record.id, TagFor(record), record.spec.sysctls);
              }
              NETPROV_ASSIGN_OR_RETURN(record.cookie, std::move(cookie));
              return {};
            },
            // Somebody may have unmounted it, or put another in its place.
            .undo = [this, &record] { return ToKernelResult(RollBack(record)); },
            .sweep = nullptr});
}

bool Engine::IsOfName(const Error& error, const std::string& id) {
  return error.reason == Reason::kKernel && error.kernel->code == EEXIST && error.step == BirthOf(id);
}

Error Engine::NameTaken(const std::string& id) {
  const EngineResult<std::optional<NetnsEntry>> entry = FindNetns(id);
  if (!entry.ok()) return entry.error();
  const bool is_file = entry->has_value() && !(*entry)->is_netns;
  // Where it is gone again, it was there when it mattered.
  return is_file ? NamespaceFileStale(id) : NamespaceNotManaged(id);
}

EngineResult<NamespaceRecord> Engine::MakeNamespace(NamespaceRecord record, const CallContext& context, bool is_new,
                                                    const std::optional<NamespaceRecord>& replaced) {
  const std::string object = NamespaceName(record.id);
  Plan plan;
  std::vector<VethRecord> replaced_veths;
  std::vector<DeviceRecord> replaced_devices;
  std::optional<NetnsEntry> remains;
  if (replaced.has_value()) {
    replaced_veths = registry_.ListVethsOf(record.id);
    replaced_devices = registry_.ListDevicesOf(record.id);
    NETPROV_ASSIGN_OR_RETURN(remains, FindNetns(record.id));
    // It is missing, and stays so where the new one can't be made.
    AddStepsForRemains(*replaced, replaced_veths, remains, NothingToUndo, plan);
  }
  // Nobody meets it without them.
  AddDnsStep(record, plan);
  AddBirth(record, plan);
  const Intent intent{.kind = Intent::Kind::kCreateNamespace, .netns = record, .veth = {}, .device = {}, .request = {}};
  EngineResult<void> made = Transact(object, intent, plan, context.allowance, [&] {
    if (is_new) leases_.Start(record.uid, object, record.metadata);
    Namespace answer = record.ToNamespace();
    answer.expire_time = ExpireTimeOf(record.uid);
    Outcome outcome{.put_namespaces = {record}, .request = Answer(context, std::move(answer), std::nullopt)};
    outcome.remove_namespace = replaced;
    outcome.remove_veths = replaced_veths;
    outcome.remove_devices = replaced_devices;
    return outcome;
  });
  if (made.ok()) {
    if (replaced.has_value()) leases_.End(replaced->uid);
    for (const VethRecord& veth : replaced_veths) leases_.End(veth.uid);
    for (const DeviceRecord& device : replaced_devices) leases_.End(device.uid);
    if (is_new) leases_.Renew(record.metadata.owner);
    return record;
  }
  if (is_new) leases_.End(record.uid);
  // Somebody took the name since we looked.
  if (IsOfName(made.error(), record.id)) return NameTaken(record.id);
  return std::move(made).error();
}

EngineResult<Namespace> Engine::GetNamespace(const std::string& id, bool with_inhabitants) {
  NETPROV_ASSIGN_OR_RETURN(Namespace netns, Describe(id, registry_.FindNamespace(id)));
  if (!with_inhabitants || netns.cookie == 0) return netns;
  KernelResult<Inhabitants> inhabitants =
      kernel_.FindInhabitants({.name = id, .cookie = netns.cookie}, kMostInhabitants);
  if (inhabitants.ok()) {
    netns.inhabitants = *std::move(inhabitants);
  } else if (!NamespaceIsGone(inhabitants.error())) {
    return KernelFailure(NamespaceName(id), "look for processes inside", inhabitants.error());
  }
  return netns;
}

EngineResult<Page<Namespace>> Engine::ListNamespaces(const std::string& after, size_t limit) {
  KernelResult<std::vector<std::string>> present = kernel_.ListNetns();
  if (!present.ok()) return KernelFailure("namespaces", "list namespaces", present.error());
  std::vector<std::string> ids = *std::move(present);
  for (const NamespaceRecord& record : registry_.ListNamespaces()) ids.push_back(record.id);
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());

  Page<Namespace> page;
  for (auto id = std::upper_bound(ids.begin(), ids.end(), after); id != ids.end(); ++id) {
    if (page.items.size() == limit) {
      page.more = true;
      break;
    }
    EngineResult<Namespace> netns = GetNamespace(*id);
    if (netns.ok()) {
      page.items.push_back(*std::move(netns));
    } else if (netns.error().reason == Reason::kKernel && NamespaceIsClosed(*netns.error().kernel) &&
               !registry_.FindNamespace(*id).has_value()) {
      // It must not hide the rest. Any other error says nothing about the namespace.
      page.items.push_back({.id = *id, .state = State::kStale});
    } else if (netns.error().reason != Reason::kNamespaceNotFound) {  // Deleted since we listed it.
      return std::move(netns).error();
    }
  }
  return page;
}

void Engine::AddStepsForRemains(const NamespaceRecord& record, const std::vector<VethRecord>& veths,
                                const std::optional<NetnsEntry>& entry, const std::function<KernelResult<void>()>& undo,
                                Plan& plan) {
  // Nobody can enter it by its name, but a process may hold it, and then the pairs' other ends are there still.
  for (const VethRecord& veth : veths) {
    plan.Add({.name = "delete veth " + veth.id, .run = [this, &veth] { return DeleteLinksOf(veth); }, .undo = undo});
  }
  AddDnsRemoval(record, undo, plan);
  if (record.boot_id != kernel_.BootId() || !entry.has_value() || entry->is_netns) return;
  plan.Add({.name = "remove the file " + record.id,
            .run = [this, &record]() -> KernelResult<void> {
              KernelResult<void> removed = kernel_.RemoveStaleNetnsFile(record.id);
              // Then it is somebody's, and stays.
              if (!removed.ok() && removed.error().code == EMEDIUMTYPE) return {};
              return removed;
            },
            .undo = undo});
}

EngineResult<void> Engine::DeleteRecordedNamespace(const NamespaceRecord& record, std::optional<RequestRecord> answer) {
  const std::string object = NamespaceName(record.id);
  const NetnsRef netns{.name = record.id, .cookie = record.cookie};
  NETPROV_ASSIGN_OR_RETURN(std::optional<NetnsEntry> entry, FindNetns(record.id));
  const std::vector<VethRecord> veths = registry_.ListVethsOf(record.id);
  const std::vector<DeviceRecord> devices = registry_.ListDevicesOf(record.id);
  // Somebody may delete it as we do, and another may take its name.
  Plan plan;
  if (IsThere(record, entry)) {
    // Where their other ends are, before the links go.
    for (const VethRecord& veth : veths) {
      if (!veth.spec.a.config.HasNat() && !veth.spec.b.config.HasNat()) continue;
      plan.Add({.name = "delete what is translated for veth " + veth.id,
                .run = [&] { return DeleteNatOf(veth); },
                .undo = nullptr});
    }
    plan.Add({.name = "delete the links of namespace " + record.id,
              .run = [&] { return UnlessGone(kernel_.DeleteLinksInside(netns)); },
              .undo = nullptr});
    // Those of which somebody moved the inner end away.
    for (const VethRecord& veth : veths) {
      plan.Add({.name = "delete veth " + veth.id, .run = [&] { return DeleteLinksOf(veth); }, .undo = nullptr});
    }
    plan.Add({.name = "remove the name " + record.id,
              .run = [&] { return UnlessGone(kernel_.RemoveNetns(netns)); },
              .undo = nullptr});
    AddDnsRemoval(record, /*undo=*/nullptr, plan);
  } else {
    AddStepsForRemains(record, veths, entry, /*undo=*/nullptr, plan);
  }
  const Intent intent{
      .kind = Intent::Kind::kDeleteNamespace, .netns = record, .veth = {}, .device = {}, .request = answer};
  NETPROV_RETURN_IF_ERROR(Transact(object, intent, plan, [&] {
    return Outcome{.remove_namespace = record, .remove_veths = veths, .remove_devices = devices, .request = answer};
  }));
  leases_.End(record.uid);
  for (const VethRecord& veth : veths) leases_.End(veth.uid);
  for (const DeviceRecord& device : devices) leases_.End(device.uid);
  return {};
}

EngineResult<void> Engine::CheckIsVacant(const NamespaceRecord& record) {
  if (record.boot_id != kernel_.BootId()) return {};
  KernelResult<Inhabitants> inhabitants =
      kernel_.FindInhabitants({.name = record.id, .cookie = record.cookie}, kMostInhabitantsInError);
  if (!inhabitants.ok()) {
    if (NamespaceIsGone(inhabitants.error())) return {};
    return KernelFailure(NamespaceName(record.id), "look for processes inside", inhabitants.error());
  }
  if (inhabitants->count > 0) return NamespaceBusy(record.id, *inhabitants);
  return {};
}

EngineResult<void> Engine::DeleteNamespace(const DeleteNamespaceCall& call) {
  const std::string object = NamespaceName(call.id);
  NETPROV_ASSIGN_OR_RETURN(std::optional<RequestRecord> answered, Replay(call.context, object));
  if (answered.has_value()) return {};

  std::optional<NamespaceRecord> record = registry_.FindNamespace(call.id);
  if (!record.has_value()) {
    NETPROV_ASSIGN_OR_RETURN(std::optional<NetnsEntry> entry, FindNetns(call.id));
    if (entry.has_value()) return entry->is_netns ? NamespaceNotManaged(call.id) : NamespaceFileStale(call.id);
    if (!call.allow_missing) return NamespaceNotFound(call.id);
    if (call.context.validate_only) return {};
    return RecordAnswer(call.context, object, Answer(call.context, std::nullopt, std::nullopt));
  }
  if (!call.force) NETPROV_RETURN_IF_ERROR(CheckIsVacant(*record));
  if (call.context.validate_only) return {};
  if (call.context.stopped != nullptr && call.context.stopped()) return Stopped(object);
  return DeleteRecordedNamespace(*record, Answer(call.context, std::nullopt, std::nullopt));
}

}  // namespace netprov::engine
