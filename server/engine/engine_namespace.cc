#include <algorithm>
#include <cerrno>
#include <cstdint>
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

bool Engine::IsThere(const NamespaceRecord& record, const std::optional<NetnsEntry>& entry) {
  return record.boot_id == kernel_.BootId() && entry.has_value() && entry->is_netns && entry->cookie == record.cookie;
}

EngineResult<std::optional<NetnsEntry>> Engine::FindNetns(const std::string& id) {
  KernelResult<std::optional<NetnsEntry>> entry = kernel_.FindNetns(id);
  if (!entry.ok()) return KernelFailure(NamespaceName(id), "look at the namespace", entry.error());
  return *std::move(entry);
}

EngineResult<Namespace> Engine::Describe(const std::string& id, const std::optional<NamespaceRecord>& record) {
  NETPROV_ASSIGN_OR_RETURN(std::optional<NetnsEntry> entry, FindNetns(id));
  if (record.has_value()) {
    Namespace netns = record->ToNamespace();
    if (!IsThere(*record, entry)) {
      netns.state = NamespaceState::kMissing;
      netns.cookie = 0;
    }
    return netns;
  }
  if (!entry.has_value()) return NamespaceNotFound(id);
  return Namespace{
      .id = id, .state = entry->is_netns ? NamespaceState::kActive : NamespaceState::kStale, .cookie = entry->cookie};
}

EngineResult<Namespace> Engine::CreateNamespace(const CreateNamespaceCall& call) {
  const std::string object = NamespaceName(call.id);
  NETPROV_ASSIGN_OR_RETURN(std::optional<RequestRecord> answered, Replay(call.context, object));
  if (answered.has_value() && answered->netns.has_value()) return *answered->netns;

  std::optional<NamespaceRecord> existing = registry_.FindNamespace(call.id);
  NETPROV_ASSIGN_OR_RETURN(std::optional<NetnsEntry> entry, FindNetns(call.id));
  if (existing.has_value() && IsThere(*existing, entry)) {
    if (!call.allow_existing) {
      return NamespaceAlreadyExists(call.id);
    }
    Namespace netns = existing->ToNamespace();
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

  NamespaceRecord record{
      .id = call.id, .uid = NewUid(), .create_time = absl::Now(), .boot_id = kernel_.BootId(), .cookie = 0};
  if (call.context.validate_only) {
    Namespace projected = record.ToNamespace();
    projected.uid.clear();
    return projected;
  }
  if (call.context.stopped != nullptr && call.context.stopped()) return Stopped(object);
  // Ours once, and gone since: what is left of it makes room for the new one.
  if (existing.has_value()) NETPROV_RETURN_IF_ERROR(DeleteRecordedNamespace(*existing, std::nullopt));

  Plan plan;
  plan.Add({.name = "create namespace " + call.id,
            .run = [&]() -> KernelResult<void> {
              NETPROV_ASSIGN_OR_RETURN(record.cookie, kernel_.CreateNetns(call.id, TagOf(record.uid, object)));
              return {};
            },
            .undo = [&] { return kernel_.RemoveNetns({.name = call.id, .cookie = record.cookie}); }});
  EngineResult<void> made =
      Transact(object, {.kind = Intent::Kind::kCreateNamespace, .netns = record, .veth = {}}, plan, [&] {
        return Outcome{.put_namespace = record, .request = Answer(call.context, record.ToNamespace(), std::nullopt)};
      });
  if (made.ok()) return record.ToNamespace();
  if (made.error().reason == Reason::kKernel && made.error().kernel->code == EEXIST) {
    // Somebody took the name since we looked.
    NETPROV_ASSIGN_OR_RETURN(entry, FindNetns(call.id));
    if (entry.has_value()) return entry->is_netns ? NamespaceNotManaged(call.id) : NamespaceFileStale(call.id);
  }
  return std::move(made).error();
}

EngineResult<Namespace> Engine::GetNamespace(const std::string& id) {
  return Describe(id, registry_.FindNamespace(id));
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
    } else if (netns.error().reason == Reason::kKernel && !registry_.FindNamespace(*id).has_value()) {
      // Somebody's that cannot be entered, such as one of another user namespace, must not hide the rest.
      page.items.push_back({.id = *id, .state = NamespaceState::kStale});
    } else if (netns.error().reason != Reason::kNamespaceNotFound) {  // Deleted since we listed it.
      return std::move(netns).error();
    }
  }
  return page;
}

EngineResult<void> Engine::DeleteRecordedNamespace(const NamespaceRecord& record, std::optional<RequestRecord> answer) {
  const std::string object = NamespaceName(record.id);
  const NetnsRef netns{.name = record.id, .cookie = record.cookie};
  NETPROV_ASSIGN_OR_RETURN(std::optional<NetnsEntry> entry, FindNetns(record.id));
  const std::vector<VethRecord> veths = registry_.ListVethsOf(record.id);
  Plan plan;
  if (IsThere(record, entry)) {
    plan.Add({.name = "delete the links of namespace " + record.id,
              .run = [&] { return kernel_.DeleteLinksInside(netns); },
              .undo = nullptr});
    plan.Add(
        {.name = "remove the name " + record.id, .run = [&] { return kernel_.RemoveNetns(netns); }, .undo = nullptr});
  } else {
    // Nobody can enter it by its name, but a process may hold it, and then the pairs' other ends are there still.
    for (const VethRecord& veth : veths) {
      plan.Add({.name = "delete veth " + veth.id, .run = [&] { return DeleteLinksOf(veth); }, .undo = nullptr});
    }
    if (record.boot_id == kernel_.BootId() && entry.has_value() && !entry->is_netns) {
      plan.Add({.name = "remove the file " + record.id,
                .run = [&]() -> KernelResult<void> {
                  KernelResult<void> removed = kernel_.RemoveStaleNetnsFile(record.id);
                  // Then it is somebody's, and stays.
                  if (!removed.ok() && removed.error().code == EMEDIUMTYPE) return {};
                  return removed;
                },
                .undo = nullptr});
    }
  }
  return Transact(object, {.kind = Intent::Kind::kDeleteNamespace, .netns = record, .veth = {}, .request = answer},
                  plan, [&] { return Outcome{.remove_namespace = record, .remove_veths = veths, .request = answer}; });
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
  if (call.context.validate_only) return {};
  if (call.context.stopped != nullptr && call.context.stopped()) return Stopped(object);
  return DeleteRecordedNamespace(*record, Answer(call.context, std::nullopt, std::nullopt));
}

}  // namespace netprov::engine
