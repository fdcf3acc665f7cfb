// What the objects of the registry count for, and whether there is room for more.
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/engine/registry.h"
#include "server/engine/usage.h"

namespace netprov::engine {

template <typename Record>
Registry::Charge Registry::ChargeOf(const Record& record) {
  const Usage usage = UsageOf(record);
  return {.creator = record.creator, .own = usage, .total = usage};
}

// Where records come and go is another file.
template Registry::Charge Registry::ChargeOf(const NamespaceRecord& record);
template Registry::Charge Registry::ChargeOf(const VethRecord& record);
template Registry::Charge Registry::ChargeOf(const DeviceRecord& record);

Registry::Charge Registry::ChargeOf(const Intent& intent) const {
  // The one that is there under the name: it is changed, made again, or another takes its place.
  Usage before;
  Usage before_of_all;
  const std::string& creator = CreatorOf(intent);
  auto look = [&](const auto& records, const std::string& name) {
    const auto found = records.find(name);
    if (found == records.end()) return;
    before_of_all = UsageOf(found->second);
    if (found->second.creator == creator) before = before_of_all;
  };
  look(namespaces_, intent.netns.id);
  look(veths_, intent.veth.id);
  look(devices_, intent.device.name);
  const Usage after = UsageAfter(intent);
  return {.creator = creator, .own = Growth(before, after), .total = Growth(before_of_all, after)};
}

void Registry::Add(const Charge& charge) {
  used_by_all_ += charge.total;
  if (charge.own != Usage()) used_[charge.creator] += charge.own;
}

void Registry::Subtract(const Charge& charge) {
  used_by_all_ -= charge.total;
  const auto used = used_.find(charge.creator);
  if (used == used_.end()) return;
  used->second -= charge.own;
  if (used->second == Usage()) used_.erase(used);
}

std::optional<QuotaExcess> Registry::ExcessOf(const Charge& charge, const Allowance& allowance) const {
  auto look = [](const Quota& quota, const Usage& used, const Usage& growth) -> std::optional<QuotaExcess> {
    for (const CountedKind& kind : kCountedKinds) {
      const std::optional<int64_t>& most = quota.*kind.most;
      const int64_t added = growth.*kind.used;
      if (!most.has_value() || added == 0 || used.*kind.used + added <= *most) continue;
      return QuotaExcess{.quota = kind.name, .whose = "", .limit = *most, .usage = used.*kind.used, .added = added};
    }
    return std::nullopt;
  };
  // Of what is nobody's, nobody has too much.
  if (!charge.creator.empty()) {
    const auto used = used_.find(charge.creator);
    auto excess = look(allowance.own, used == used_.end() ? Usage() : used->second, charge.own);
    if (excess.has_value()) {
      excess->whose = charge.creator;
      return excess;
    }
  }
  auto excess = look(allowance.total, used_by_all_, charge.total);
  if (excess.has_value()) excess->quota = absl::StrCat("total.", excess->quota);
  return excess;
}

void Registry::Reserve(int64_t sequence, Charge charge) {
  if (charge.own == Usage() && charge.total == Usage()) return;
  Add(charge);
  reserved_.emplace(sequence, std::move(charge));
}

void Registry::Release(int64_t sequence) {
  const auto reserved = reserved_.find(sequence);
  if (reserved == reserved_.end()) return;
  Subtract(reserved->second);
  reserved_.erase(reserved);
}

std::optional<QuotaExcess> Registry::FindExcess(const Intent& intent, const Allowance& allowance) const {
  std::lock_guard<std::mutex> lock(memory_mutex_);
  return ExcessOf(ChargeOf(intent), allowance);
}

Usage Registry::UsedBy(const std::string& creator) const {
  std::lock_guard<std::mutex> lock(memory_mutex_);
  const auto used = used_.find(creator);
  return used == used_.end() ? Usage() : used->second;
}

Usage Registry::UsedByAll() const {
  std::lock_guard<std::mutex> lock(memory_mutex_);
  return used_by_all_;
}

}  // namespace netprov::engine
