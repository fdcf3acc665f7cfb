#include "server/engine/lease_book.h"

#include <algorithm>
#include <utility>

namespace netprov::engine {

absl::Duration LeaseBook::EndOf(const Entry& entry) const { return heard_.at(entry.owner) + entry.ttl; }

void LeaseBook::Start(const std::string& uid, const std::string& object, const Metadata& metadata) {
  if (metadata.ttl == absl::ZeroDuration()) return;
  std::lock_guard<std::mutex> lock(mutex_);
  entries_[uid] = {.object = object, .owner = metadata.owner, .ttl = metadata.ttl};
  heard_[metadata.owner] = clock_();
}

void LeaseBook::End(const std::string& uid) {
  std::lock_guard<std::mutex> lock(mutex_);
  auto found = entries_.find(uid);
  if (found == entries_.end()) return;
  const std::string owner = found->second.owner;
  entries_.erase(found);
  const bool has_more =
      std::any_of(entries_.begin(), entries_.end(), [&owner](const auto& item) { return item.second.owner == owner; });
  if (!has_more) heard_.erase(owner);
}

LeaseBook::Renewal LeaseBook::Renew(const std::string& owner) {
  std::lock_guard<std::mutex> lock(mutex_);
  Renewal renewal;
  auto heard = heard_.find(owner);
  if (heard == heard_.end()) return renewal;
  heard->second = clock_();
  for (const auto& [uid, entry] : entries_) {
    if (entry.owner != owner || entry.claimed) continue;
    ++renewal.leases;
    renewal.shortest = std::min(renewal.shortest.value_or(entry.ttl), entry.ttl);
  }
  return renewal;
}

std::optional<absl::Duration> LeaseBook::Remaining(const std::string& uid) const {
  std::lock_guard<std::mutex> lock(mutex_);
  auto found = entries_.find(uid);
  if (found == entries_.end()) return std::nullopt;
  return std::max(absl::ZeroDuration(), EndOf(found->second) - clock_());
}

bool LeaseBook::Claim(const std::string& uid) {
  std::lock_guard<std::mutex> lock(mutex_);
  auto found = entries_.find(uid);
  if (found == entries_.end() || found->second.claimed || EndOf(found->second) > clock_()) return false;
  found->second.claimed = true;
  return true;
}

void LeaseBook::Release(const std::string& uid) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (auto found = entries_.find(uid); found != entries_.end()) found->second.claimed = false;
}

std::optional<absl::Duration> LeaseBook::UntilNextEnd() const {
  std::lock_guard<std::mutex> lock(mutex_);
  std::optional<absl::Duration> next;
  for (const auto& [uid, entry] : entries_) {
    if (entry.claimed) continue;
    next = std::min(next.value_or(absl::InfiniteDuration()), EndOf(entry));
  }
  if (next.has_value()) next = std::max(absl::ZeroDuration(), *next - clock_());
  return next;
}

std::vector<LeaseBook::Lease> LeaseBook::Expired() const {
  std::lock_guard<std::mutex> lock(mutex_);
  const absl::Duration now = clock_();
  std::vector<Lease> expired;
  for (const auto& [uid, entry] : entries_) {
    if (entry.claimed || EndOf(entry) > now) continue;
    expired.push_back({.uid = uid, .object = entry.object, .owner = entry.owner});
  }
  return expired;
}

}  // namespace netprov::engine
