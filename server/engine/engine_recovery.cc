#include <cerrno>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/engine/engine.h"
#include "server/engine/error.h"
#include "server/engine/plan.h"
#include "server/engine/tag.h"

namespace netprov::engine {

EngineResult<RecoveryReport> Engine::Recover() {
  RegistryResult<std::vector<PendingIntent>> pending = registry_.ListPending();
  if (!pending.ok()) return RegistryFailure("registry", pending.error().message);
  RecoveryReport report;
  for (const PendingIntent& item : *pending) {
    const Intent& intent = item.intent;
    EngineResult<void> recovered;
    switch (intent.kind) {
      case Intent::Kind::kCreateNamespace:
        recovered = RollBack(intent.netns);
        break;
      case Intent::Kind::kCreateVeth:
        recovered = RollBack(intent.veth);
        break;
      case Intent::Kind::kDeleteNamespace:
        // Where a later call has deleted it, or made another of the same name since, nothing is left to do.
        if (auto now = registry_.FindNamespace(intent.netns.id); now.has_value() && now->uid == intent.netns.uid) {
          recovered = DeleteRecordedNamespace(*now, intent.request);
        }
        break;
      case Intent::Kind::kDeleteVeth:
        if (auto now = registry_.FindVeth(intent.veth.id); now.has_value() && now->uid == intent.veth.uid) {
          recovered = DeleteRecordedVeth(*now, intent.request);
        }
        break;
    }
    if (recovered.ok()) {
      // A deletion that was completed had an intent of its own.
      if (RegistryResult<void> forgotten = registry_.Abort(item.sequence); !forgotten.ok()) {
        return RegistryFailure("registry", forgotten.error().message);
      }
      const bool was_create = intent.kind == Intent::Kind::kCreateNamespace || intent.kind == Intent::Kind::kCreateVeth;
      ++(was_create ? report.rolled_back : report.completed);
    } else {
      report.failures.push_back(absl::StrCat(recovered.error().object, ": ", recovered.error().message));
    }
  }
  return report;
}

EngineResult<void> Engine::RollBack(const NamespaceRecord& record) {
  const std::string object = NamespaceName(record.id);
  // Links and namespaces of another boot are gone; files at /run/netns too, as it is a tmpfs.
  if (record.boot_id != kernel_.BootId()) return {};
  NETPROV_ASSIGN_OR_RETURN(std::optional<NetnsEntry> entry, FindNetns(record.id));
  if (!entry.has_value()) return {};
  KernelResult<void> removed;
  if (entry->is_netns) {
    const NetnsRef netns{.name = record.id, .cookie = entry->cookie};
    KernelResult<std::optional<Link>> loopback = kernel_.FindLink(netns, std::string("lo"));
    if (!loopback.ok()) return KernelFailure(object, "look at the loopback link", loopback.error());
    // Another's, made since.
    if (!loopback->has_value() || (*loopback)->alias != TagOf(record.uid, object)) return {};
    removed = kernel_.RemoveNetns(netns);
  } else {
    removed = kernel_.RemoveStaleNetnsFile(record.id);
    if (!removed.ok() && removed.error().code == EMEDIUMTYPE) return {};
  }
  if (!removed.ok()) return KernelFailure(object, "roll back namespace " + record.id, removed.error());
  return {};
}

EngineResult<void> Engine::RollBack(const VethRecord& record) {
  const std::string object = VethName(record.id);
  if (record.boot_id != kernel_.BootId()) return {};
  // A pair is born and dies with both ends, so one that has only one where we would have put it is another's.
  std::vector<Link> links;
  for (const Endpoint* end : {&record.a, &record.b}) {
    KernelResult<std::optional<Link>> link = kernel_.FindLink(RefOf(end->namespace_id), end->interface_name);
    if (!link.ok() && !NamespaceIsGone(link.error())) {
      return KernelFailure(object, "look for " + end->interface_name, link.error());
    }
    if (!link.ok() || !link->has_value()) return {};
    // It is born with the group and gets the alias a moment later.
    const bool may_be_ours = (*link)->group == kOwnedGroup && (*link)->kind == "veth" &&
                             ((*link)->alias.empty() || (*link)->alias == TagOf(record.uid, object));
    if (!may_be_ours) return {};
    links.push_back(**link);
  }
  if (links[0].peer_ifindex != links[1].ifindex || links[1].peer_ifindex != links[0].ifindex) return {};
  KernelResult<void> deleted = kernel_.DeleteLink(RefOf(record.a.namespace_id), links[0].ifindex);
  if (!deleted.ok() && deleted.error().code != ENODEV) {
    return KernelFailure(object, "roll back veth " + record.id, deleted.error());
  }
  return {};
}

}  // namespace netprov::engine
