#include "server/engine/registry.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "server/engine/record_json.h"
#include "server/engine/registry_operation.h"
#include "server/engine/registry_statement.h"

namespace netprov::engine {
namespace {

bool IsBridge(absl::string_view device) { return absl::StartsWith(device, "bridges/"); }

size_t HashOf(const std::string& request_id) { return std::hash<std::string>()(request_id); }

}  // namespace

Registry::~Registry() {
  // So that the next start has not to look whether they are there.
  if (database_ != nullptr) (void)ForgetAudited();
}

std::optional<NamespaceRecord> Registry::FindNamespace(const std::string& id) const {
  std::lock_guard<std::mutex> lock(memory_mutex_);
  auto found = namespaces_.find(id);
  if (found == namespaces_.end()) return std::nullopt;
  return found->second;
}

std::vector<NamespaceRecord> Registry::ListNamespaces() const {
  std::lock_guard<std::mutex> lock(memory_mutex_);
  std::vector<NamespaceRecord> records;
  records.reserve(namespaces_.size());
  for (const auto& [id, record] : namespaces_) records.push_back(record);
  return records;
}

std::optional<VethRecord> Registry::FindVeth(const std::string& id) const {
  std::lock_guard<std::mutex> lock(memory_mutex_);
  auto found = veths_.find(id);
  if (found == veths_.end()) return std::nullopt;
  return found->second;
}

std::vector<VethRecord> Registry::ListVeths(const std::string& after, size_t limit) const {
  std::lock_guard<std::mutex> lock(memory_mutex_);
  std::vector<VethRecord> records;
  for (auto next = veths_.upper_bound(after); next != veths_.end() && records.size() < limit; ++next) {
    records.push_back(next->second);
  }
  return records;
}

std::vector<VethRecord> Registry::ListVethsOf(const std::string& netns_key) const {
  std::lock_guard<std::mutex> lock(memory_mutex_);
  std::vector<VethRecord> records;
  for (auto end = ends_.lower_bound({netns_key, ""}); end != ends_.end() && end->first == netns_key; ++end) {
    records.push_back(veths_.at(end->second));
  }
  return records;
}

std::vector<VethRecord> Registry::ListVethsAtPlaces() const {
  std::lock_guard<std::mutex> lock(memory_mutex_);
  std::set<std::string> ids;
  for (auto end = ends_.lower_bound({"/", ""}); end != ends_.end() && end->first[0] == '/'; ++end) {
    ids.insert(end->second);
  }
  std::vector<VethRecord> records;
  records.reserve(ids.size());
  for (const std::string& id : ids) records.push_back(veths_.at(id));
  return records;
}

std::optional<DeviceRecord> Registry::FindDevice(const std::string& name) const {
  std::lock_guard<std::mutex> lock(memory_mutex_);
  auto found = devices_.find(name);
  if (found == devices_.end()) return std::nullopt;
  return found->second;
}

std::vector<DeviceRecord> Registry::ListDevices() const {
  std::lock_guard<std::mutex> lock(memory_mutex_);
  std::vector<DeviceRecord> records;
  records.reserve(devices_.size());
  for (const auto& [name, record] : devices_) records.push_back(record);
  return records;
}

std::vector<DeviceRecord> Registry::ListDevicesOf(const std::string& namespace_id) const {
  std::lock_guard<std::mutex> lock(memory_mutex_);
  std::vector<DeviceRecord> records;
  for (const auto& [name, record] : devices_) {
    if (record.link.namespace_id == namespace_id) records.push_back(record);
  }
  return records;
}

bool Registry::HasUid(const std::string& uid) const {
  std::lock_guard<std::mutex> lock(memory_mutex_);
  return uids_.contains(uid);
}

std::optional<std::string> Registry::FindNamespaceId(const std::string& boot_id, uint64_t cookie) const {
  std::lock_guard<std::mutex> lock(memory_mutex_);
  for (const auto& [id, record] : namespaces_) {
    if (record.cookie == cookie && record.boot_id == boot_id) return id;
  }
  return std::nullopt;
}

Registry::Objects Registry::CountObjects() const {
  std::lock_guard<std::mutex> lock(memory_mutex_);
  return {.namespaces = namespaces_.size(),
          .veths = veths_.size(),
          .bridges = bridges_,
          .devices = devices_.size() - bridges_};
}

void Registry::Put(const NamespaceRecord& record) {
  NamespaceRecord& present = namespaces_[record.id];
  if (!present.uid.empty()) Subtract(ChargeOf(present));
  Add(ChargeOf(record));
  uids_.erase(present.uid);
  uids_.insert(record.uid);
  present = record;
}

void Registry::Put(const DeviceRecord& record) {
  const auto [device, is_new] = devices_.try_emplace(record.name);
  if (is_new && IsBridge(record.name)) ++bridges_;
  DeviceRecord& present = device->second;
  if (!present.uid.empty()) Subtract(ChargeOf(present));
  Add(ChargeOf(record));
  uids_.erase(present.uid);
  uids_.insert(record.uid);
  present = record;
}

void Registry::Put(const VethRecord& record) {
  Remove(record.id);
  veths_.emplace(record.id, record);
  Add(ChargeOf(record));
  uids_.insert(record.uid);
  for (const Endpoint* end : {&record.a, &record.b}) ends_.emplace(end->netns_key(), record.id);
}

void Registry::Remove(const std::string& veth_id) {
  auto found = veths_.find(veth_id);
  if (found == veths_.end()) return;
  for (const Endpoint* end : {&found->second.a, &found->second.b}) ends_.erase({end->netns_key(), veth_id});
  uids_.erase(found->second.uid);
  Subtract(ChargeOf(found->second));
  veths_.erase(found);
}

void Registry::RemoveDevice(std::map<std::string, DeviceRecord>::iterator device) {
  if (IsBridge(device->first)) --bridges_;
  Subtract(ChargeOf(device->second));
  uids_.erase(device->second.uid);
  devices_.erase(device);
}

RegistryResult<std::optional<RequestRecord>> Registry::FindRequest(const std::string& request_id) {
  // Nearly every request id is new.
  std::vector<int64_t> sequences;
  {
    std::lock_guard<std::mutex> lock(memory_mutex_);
    auto [first, last] = answers_.equal_range(HashOf(request_id));
    for (; first != last; ++first) sequences.push_back(first->second);
  }
  // One that has been answered again since the first answer expired has the newer one.
  std::sort(sequences.rbegin(), sequences.rend());
  const int64_t oldest = absl::ToUnixSeconds(absl::Now() - kRequestRetention);
  for (int64_t sequence : sequences) {
    std::lock_guard<std::mutex> lock(database_mutex_);
    NETPROV_PREPARE(find,
                    "SELECT fingerprint, answer FROM journal WHERE sequence = ? AND request_id = ? AND answered > ?");
    NETPROV_ASSIGN_OR_RETURN(bool found, find.Bind(sequence).BindBlob(request_id).Bind(oldest).Step());
    if (!found) continue;
    std::optional<RequestRecord> record = AnswerFromJson(find.Text(1));
    if (!record.has_value()) return Unreadable("journal", absl::StrCat(sequence), find.Text(1));
    record->request_id = request_id;
    record->fingerprint = find.Text(0);
    return record;
  }
  return std::optional<RequestRecord>();
}

void Registry::AddAnswer(const std::string& request_id, int64_t sequence) {
  answers_.emplace(HashOf(request_id), sequence);
}

RegistryResult<void> Registry::Prune() {
  std::vector<std::pair<const size_t, int64_t>> removed;
  {
    NETPROV_PREPARE(prune,
                    "DELETE FROM journal WHERE sequence IN (SELECT sequence FROM journal ORDER BY sequence LIMIT 1024) "
                    "AND answered <= ? AND call_id IS NULL RETURNING request_id, sequence");
    prune.Bind(absl::ToUnixSeconds(absl::Now() - kRequestRetention));
    while (true) {
      NETPROV_ASSIGN_OR_RETURN(bool more, prune.Step());
      if (!more) break;
      removed.emplace_back(HashOf(prune.Text(0)), prune.Number(1));
    }
  }
  std::lock_guard<std::mutex> memory_lock(memory_mutex_);
  for (const auto& one : removed) {
    auto [first, last] = answers_.equal_range(one.first);
    first = std::find(first, last, one);
    if (first != last) answers_.erase(first);
  }
  return {};
}

RegistryResult<int64_t> Registry::Begin(const Intent& intent, const Allowance& allowance, const Origin* origin) {
  const int64_t sequence = next_sequence_++;
  {
    std::lock_guard<std::mutex> lock(memory_mutex_);
    Charge charge = ChargeOf(intent);
    if (std::optional<QuotaExcess> excess = ExcessOf(charge, allowance)) {
      return RegistryError{.message = "a quota is exceeded", .excess = std::move(excess)};
    }
    Reserve(sequence, std::move(charge));
  }
  Operation operation(intent, sequence);
  if (origin != nullptr) {
    operation.trace = {.call_id = origin->call_id, .origin = origin->text, .objects = ObjectsOf(intent)};
  }
  if (RegistryResult<void> written = Write(operation); !written.ok()) {
    std::lock_guard<std::mutex> lock(memory_mutex_);
    Release(sequence);
    return std::move(written).error();
  }
  return sequence;
}

RegistryResult<void> Registry::Commit(int64_t sequence, const Outcome& outcome) {
  Operation operation(outcome, sequence, Fate::kDone);
  if (operation.statements == 0) return {};
  if (sequence == 0 && outcome.request.has_value()) operation.sequence = next_sequence_++;
  operation.is_traced = IsTraced(sequence);
  return Write(operation);
}

RegistryResult<void> Registry::Abort(int64_t sequence, Fate fate) {
  const Outcome nothing;
  Operation operation(nothing, sequence, fate);
  operation.is_traced = IsTraced(sequence);
  return Write(operation);
}

std::vector<PendingIntent> Registry::ListPending() const {
  std::lock_guard<std::mutex> lock(memory_mutex_);
  std::vector<PendingIntent> pending;
  for (const auto& [sequence, intent] : pending_) pending.push_back({sequence, intent});
  return pending;
}

bool Registry::IsPending(const std::string& uid) const {
  std::lock_guard<std::mutex> lock(memory_mutex_);
  return std::any_of(pending_.begin(), pending_.end(), [&](const auto& item) { return IsOf(item.second, uid); });
}

void Registry::Remember(const Operation& operation) {
  if (operation.intent != nullptr) pending_.emplace(operation.sequence, *operation.intent);
  if (operation.intent != nullptr && !operation.trace.call_id.empty()) traced_[operation.sequence] = operation.trace;
  if (operation.is_audit_log) audit_log_ = operation.intent_text;
  if (operation.outcome == nullptr) return;
  const Outcome& outcome = *operation.outcome;
  pending_.erase(operation.sequence);
  Release(operation.sequence);
  if (auto found = traced_.find(operation.sequence); found != traced_.end()) found->second.fate = operation.fate;
  if (const auto& record = outcome.remove_namespace; record.has_value()) {
    auto found = namespaces_.find(record->id);
    if (found != namespaces_.end() && found->second.uid == record->uid) {
      Subtract(ChargeOf(found->second));
      uids_.erase(record->uid);
      namespaces_.erase(found);
    }
  }
  for (const VethRecord& record : outcome.remove_veths) {
    auto found = veths_.find(record.id);
    if (found != veths_.end() && found->second.uid == record.uid) Remove(record.id);
  }
  for (const DeviceRecord& record : outcome.remove_devices) {
    auto found = devices_.find(record.name);
    if (found != devices_.end() && found->second.uid == record.uid) RemoveDevice(found);
  }
  if (outcome.put_device.has_value()) Put(*outcome.put_device);
  for (const NamespaceRecord& record : outcome.put_namespaces) Put(record);
  if (outcome.put_veth.has_value()) Put(*outcome.put_veth);
  if (outcome.request.has_value()) AddAnswer(outcome.request->request_id, operation.sequence);
}

}  // namespace netprov::engine
