// The one writer of the registry: of the threads that come, the first writes for all.
#include <sqlite3.h>

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "server/engine/registry.h"
#include "server/engine/registry_operation.h"
#include "server/engine/registry_statement.h"

namespace netprov::engine {
namespace {

// Old answers are removed every so many commits, so that no single call pays for many.
constexpr int64_t kCommitsPerPruning = 256;

// And what was kept for calls that are in the audit log by now, so many rows at once.
constexpr size_t kAuditedAtOnce = 64;

}  // namespace

RegistryResult<void> Registry::Write(Operation& operation) {
  std::unique_lock<std::mutex> queue_lock(queue_mutex_);
  queue_.push_back(&operation);
  operation.wake.wait(queue_lock, [&] { return operation.done || queue_.front() == &operation; });
  if (operation.done) return operation.result;
  std::vector<Operation*> batch(queue_.begin(), queue_.end());
  queue_lock.unlock();
  {
    std::lock_guard<std::mutex> database_lock(database_mutex_);
    if (batch.size() == 1 || !Transact(batch).ok()) {
      // What failed together may do alone, but for the one that is the reason.
      for (Operation* one : batch) one->result = Transact({&one, 1});
    }
    if (++commits_ % kCommitsPerPruning == 0) (void)Prune();
    if (AuditedRows() >= kAuditedAtOnce) (void)ForgetAudited();
    if (log_pages_ >= log_pages_to_checkpoint_) MoveLogIntoDatabase();
  }
  queue_lock.lock();
  queue_.erase(queue_.begin(), queue_.begin() + static_cast<ptrdiff_t>(batch.size()));
  for (Operation* one : batch) {
    one->done = true;
    one->wake.notify_one();
  }
  if (!queue_.empty()) queue_.front()->wake.notify_one();
  return operation.result;
}

RegistryResult<void> Registry::Transact(absl::Span<Operation* const> batch) {
  RegistryResult<void> written = WriteInTransaction(batch);
  if (!written.ok()) {
    if (::sqlite3_get_autocommit(database_.get()) == 0) (void)Execute("ROLLBACK");
    // A commit whose sync failed is whole in the log, and would be there again after a crash, unless something else is
    // written in its place.
    if (written.error().storage) (void)WriteProbe();
  }
  std::lock_guard<std::mutex> memory_lock(memory_mutex_);
  if (written.ok()) {
    fault_.reset();
    for (const Operation* operation : batch) Remember(*operation);
  } else if (written.error().storage) {
    if (!fault_.has_value()) statistics_.faults.Add();
    fault_ = written.error().message;
  }
  return written;
}

RegistryResult<void> Registry::WriteInTransaction(absl::Span<Operation* const> batch) {
  const ScopedTimer timer(&statistics_.transactions);
  if (batch.size() == 1 && batch[0]->statements == 1) return WriteOne(*batch[0]);
  {
    NETPROV_PREPARE(begin, "BEGIN IMMEDIATE");
    NETPROV_RETURN_IF_ERROR(begin.Run());
  }
  for (const Operation* operation : batch) NETPROV_RETURN_IF_ERROR(WriteOne(*operation));
  NETPROV_PREPARE(commit, "COMMIT");
  return commit.Run();
}

RegistryResult<void> Registry::WriteOne(const Operation& operation) {
  if (operation.intent != nullptr && !operation.trace.call_id.empty()) {
    NETPROV_PREPARE(insert, "INSERT INTO journal (sequence, intent, call_id, origin, object) VALUES (?, ?, ?, ?, ?)");
    return insert.Bind(operation.sequence)
        .Bind(operation.intent_text)
        .Bind(operation.trace.call_id)
        .Bind(operation.trace.origin)
        .Bind(absl::StrJoin(operation.trace.objects, "\n"))
        .Run();
  }
  if (operation.intent != nullptr) {
    NETPROV_PREPARE(insert, "INSERT INTO journal (sequence, intent) VALUES (?, ?)");
    return insert.Bind(operation.sequence).Bind(operation.intent_text).Run();
  }
  if (operation.is_audit_log) {
    NETPROV_PREPARE(put, "INSERT OR REPLACE INTO meta VALUES ('audit_log', ?)");
    return put.Bind(operation.intent_text).Run();
  }
  if (operation.outcome == nullptr) return WriteProbe();
  const Outcome& outcome = *operation.outcome;
  if (const auto& record = outcome.remove_namespace; record.has_value()) {
    NETPROV_PREPARE(remove, "DELETE FROM namespaces WHERE id = ? AND uid = ?");
    NETPROV_RETURN_IF_ERROR(remove.Bind(record->id).Bind(record->uid).Run());
  }
  for (const VethRecord& record : outcome.remove_veths) {
    NETPROV_PREPARE(remove, "DELETE FROM veths WHERE id = ? AND uid = ?");
    NETPROV_RETURN_IF_ERROR(remove.Bind(record.id).Bind(record.uid).Run());
  }
  for (const DeviceRecord& record : outcome.remove_devices) {
    NETPROV_PREPARE(remove, "DELETE FROM devices WHERE name = ? AND uid = ?");
    NETPROV_RETURN_IF_ERROR(remove.Bind(record.name).Bind(record.uid).Run());
  }
  for (size_t i = 0; i < outcome.put_namespaces.size(); ++i) {
    const NamespaceRecord& record = outcome.put_namespaces[i];
    NETPROV_PREPARE(put, "INSERT OR REPLACE INTO namespaces (id, uid, record) VALUES (?, ?, ?)");
    NETPROV_RETURN_IF_ERROR(put.Bind(record.id).Bind(record.uid).Bind(operation.namespace_texts[i]).Run());
  }
  if (const auto& record = outcome.put_veth; record.has_value()) {
    NETPROV_PREPARE(put, "INSERT OR REPLACE INTO veths (id, uid, record) VALUES (?, ?, ?)");
    NETPROV_RETURN_IF_ERROR(put.Bind(record->id).Bind(record->uid).Bind(operation.veth_text).Run());
  }
  if (const auto& record = outcome.put_device; record.has_value()) {
    NETPROV_PREPARE(put, "INSERT OR REPLACE INTO devices (name, uid, record) VALUES (?, ?, ?)");
    NETPROV_RETURN_IF_ERROR(put.Bind(record->name).Bind(record->uid).Bind(operation.device_text).Run());
  }
  if (const auto& record = outcome.request; record.has_value() && operation.is_traced) {
    NETPROV_PREPARE(answer,
                    "UPDATE journal SET intent = NULL, request_id = ?, fingerprint = ?, answer = ?, answered = ?, "
                    "fate = ? WHERE sequence = ?");
    return answer.BindBlob(record->request_id)
        .BindBlob(record->fingerprint)
        .Bind(operation.answer_text)
        .Bind(absl::ToUnixSeconds(absl::Now()))
        .Bind(static_cast<int64_t>(operation.fate))
        .Bind(operation.sequence)
        .Run();
  }
  if (const auto& record = outcome.request; record.has_value()) {
    NETPROV_PREPARE(answer,
                    "INSERT OR REPLACE INTO journal (sequence, request_id, fingerprint, answer, answered) "
                    "VALUES (?, ?, ?, ?, ?)");
    return answer.Bind(operation.sequence)
        .BindBlob(record->request_id)
        .BindBlob(record->fingerprint)
        .Bind(operation.answer_text)
        .Bind(absl::ToUnixSeconds(absl::Now()))
        .Run();
  }
  if (operation.sequence == 0) return {};
  if (operation.is_traced) {
    NETPROV_PREPARE(keep, "UPDATE journal SET intent = NULL, fate = ? WHERE sequence = ?");
    return keep.Bind(static_cast<int64_t>(operation.fate)).Bind(operation.sequence).Run();
  }
  NETPROV_PREPARE(forget, "DELETE FROM journal WHERE sequence = ?");
  return forget.Bind(operation.sequence).Run();
}

RegistryResult<void> Registry::WriteProbe() {
  // SQLite leaves alone a page that would not change.
  NETPROV_PREPARE(probe, "INSERT INTO meta VALUES ('probe', 1) ON CONFLICT DO UPDATE SET value = value + 1");
  return probe.Run();
}

RegistryResult<void> Registry::Probe() {
  Operation probe;
  return Write(probe);
}

std::optional<std::string> Registry::Fault() const {
  std::lock_guard<std::mutex> lock(memory_mutex_);
  return fault_;
}

}  // namespace netprov::engine
