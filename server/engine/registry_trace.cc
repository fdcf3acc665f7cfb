// What the registry keeps for the sake of the audit log.
#include <sqlite3.h>

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "server/engine/registry.h"
#include "server/engine/registry_operation.h"
#include "server/engine/registry_statement.h"

namespace netprov::engine {

// Of the intent alone, though its outcome would say the same: one that recovery sees to has none.
std::vector<std::string> Registry::ObjectsOf(const Intent& intent) const {
  std::vector<std::string> objects = {ObjectOf(intent)};
  for (const NamespaceRecord& record : intent.new_namespaces) objects.push_back(NamespaceName(record.id));
  if (!TakesContents(intent)) return objects;
  for (const VethRecord& record : ListVethsOf(intent.netns.id)) objects.push_back(VethName(record.id));
  for (const DeviceRecord& record : ListDevicesOf(intent.netns.id)) objects.push_back(record.name);
  return objects;
}

bool Registry::TakesContents(const Intent& intent) const {
  if (intent.kind == Intent::Kind::kDeleteNamespace) return true;
  if (intent.kind != Intent::Kind::kCreateNamespace) return false;
  // In place of a missing one. One that is made again keeps its uid, and what is registered in it.
  const std::optional<NamespaceRecord> present = FindNamespace(intent.netns.id);
  return present.has_value() && present->uid != intent.netns.uid;
}

bool Registry::IsTraced(int64_t sequence) const {
  std::lock_guard<std::mutex> lock(memory_mutex_);
  return traced_.contains(sequence);
}

std::vector<TracedChange> Registry::ListTraced() const {
  std::lock_guard<std::mutex> lock(memory_mutex_);
  std::vector<TracedChange> changes;
  for (const auto& [sequence, change] : traced_) changes.push_back(change);
  return changes;
}

std::vector<TracedChange> Registry::ListTracedOf(const std::string& call_id) const {
  std::lock_guard<std::mutex> lock(memory_mutex_);
  std::vector<TracedChange> changes;
  for (const auto& [sequence, change] : traced_) {
    if (change.call_id == call_id) changes.push_back(change);
  }
  return changes;
}

void Registry::MarkAudited(const std::string& call_id) {
  std::lock_guard<std::mutex> lock(memory_mutex_);
  std::erase_if(traced_, [&](const auto& item) {
    if (item.second.call_id != call_id) return false;
    audited_.push_back(item.first);
    return true;
  });
}

std::string Registry::AuditLog() const {
  std::lock_guard<std::mutex> lock(memory_mutex_);
  return audit_log_;
}

RegistryResult<void> Registry::SetAuditLog(const std::string& path) {
  if (AuditLog() == path) return {};
  Operation operation;
  operation.is_audit_log = true;
  operation.intent_text = path;
  return Write(operation);
}

void Registry::FlushAudited() {
  std::lock_guard<std::mutex> lock(database_mutex_);
  // What can't be written now is there the next time.
  (void)ForgetAudited();
}

size_t Registry::AuditedRows() const {
  std::lock_guard<std::mutex> memory_lock(memory_mutex_);
  return audited_.size();
}

RegistryResult<void> Registry::ForgetAudited() {
  std::vector<int64_t> sequences;
  {
    std::lock_guard<std::mutex> memory_lock(memory_mutex_);
    sequences.swap(audited_);
  }
  if (sequences.empty()) return {};
  RegistryResult<void> forgotten = ForgetAudited(sequences);
  if (forgotten.ok()) return {};
  if (::sqlite3_get_autocommit(database_.get()) == 0) (void)Execute("ROLLBACK");
  std::lock_guard<std::mutex> memory_lock(memory_mutex_);
  audited_.insert(audited_.end(), sequences.begin(), sequences.end());
  return forgotten;
}

RegistryResult<void> Registry::ForgetAudited(const std::vector<int64_t>& sequences) {
  {
    NETPROV_PREPARE(begin, "BEGIN IMMEDIATE");
    NETPROV_RETURN_IF_ERROR(begin.Run());
  }
  for (const int64_t sequence : sequences) {
    // An intent that could not be undone outlives its call.
    NETPROV_PREPARE(clear,
                    "UPDATE journal SET call_id = NULL, origin = NULL, object = NULL, fate = NULL WHERE sequence = ? "
                    "AND (intent IS NOT NULL OR request_id IS NOT NULL)");
    NETPROV_RETURN_IF_ERROR(clear.Bind(sequence).Run());
    NETPROV_PREPARE(remove, "DELETE FROM journal WHERE sequence = ? AND intent IS NULL AND request_id IS NULL");
    NETPROV_RETURN_IF_ERROR(remove.Bind(sequence).Run());
  }
  NETPROV_PREPARE(commit, "COMMIT");
  return commit.Run();
}

}  // namespace netprov::engine
