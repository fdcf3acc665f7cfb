#include "server/engine/caretaker.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace netprov::engine {
namespace {

// So that what is due and can't be done does not keep a processor busy.
constexpr std::chrono::milliseconds kShortestWait(50);
constexpr absl::Duration kExpiryRetry = absl::Minutes(1);
// The second heal comes at once too; from then on the pause doubles.
constexpr absl::Duration kShortestPause = absl::Milliseconds(100);
constexpr int kHealsWithoutPause = 2;

// Pairs first, then the other ports of bridges, and namespaces last.
int RankOf(const std::string& object) {
  if (VethIdIn(object).has_value()) return 0;
  if (NamespaceIdIn(object).has_value()) return 3;
  return absl::StartsWith(object, BridgeName("")) ? 2 : 1;
}

std::string StateName(State state) {
  switch (state) {
    case State::kReady:
      return "READY";
    case State::kDegraded:
      return "DEGRADED";
    case State::kMissing:
      return "MISSING";
    case State::kStale:
      return "STALE";
  }
  return "";
}

std::string Describe(const Engine::Condition& condition) {
  return absl::StrCat(StateName(condition.state), condition.deviations.empty() ? "" : ": ",
                      ToText(condition.deviations));
}

}  // namespace

void Caretaker::Wake() {
  std::shared_ptr<KernelWatch> watch;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    watch = watch_;
  }
  if (watch != nullptr) watch->Wake();
  woken_.notify_all();
}

void Caretaker::MarkObject(const std::string& name, const std::string& uid) {
  std::lock_guard<std::mutex> lock(mutex_);
  marked_[uid] = name;
}

void Caretaker::MarkDependents(const ObjectRef& object) {
  auto mark = [this](const std::string& name, const std::string& uid) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      heals_.erase(uid);
      not_before_.erase(uid);
    }
    MarkObject(name, uid);
  };
  if (const auto id = NamespaceIdIn(object.name); id.has_value()) {
    for (const DeviceRecord& device : registry_.ListDevicesOf(*id)) mark(device.name, device.uid);
    for (const VethRecord& veth : registry_.ListVethsOf(*id)) mark(VethName(veth.id), veth.uid);
  } else if (const auto device = registry_.FindDevice(object.name); device.has_value()) {
    for (const VethRecord& veth : registry_.ListVethsOf(device->link.namespace_id)) {
      const bool is_port = veth.spec.a.config.bridge == object.name || veth.spec.b.config.bridge == object.name;
      if (is_port) mark(VethName(veth.id), veth.uid);
    }
  }
  for (const DeviceRecord& device : registry_.ListDevices()) {
    const bool is_port = device.spec.link.config.bridge == object.name;
    if (is_port || StandsOn(device, object)) mark(device.name, device.uid);
  }
}

bool Caretaker::StandsOn(const DeviceRecord& device, const ObjectRef& object) const {
  const LowerSpec& lower = device.spec.lower;
  if (lower.interface_name.empty()) return false;
  auto is_it = [&lower](const Endpoint& link) {
    return !link.place.has_value() && link.namespace_id == lower.namespace_id &&
           link.interface_name == lower.interface_name;
  };
  if (const auto id = NamespaceIdIn(object.name); id.has_value()) return *id == lower.namespace_id;
  if (const auto id = VethIdIn(object.name); id.has_value()) {
    const std::optional<VethRecord> veth = registry_.FindVeth(*id);
    return veth.has_value() && (is_it(veth->a) || is_it(veth->b));
  }
  const std::optional<DeviceRecord> other = registry_.FindDevice(object.name);
  return other.has_value() && is_it(other->link);
}

void Caretaker::MarkEverything() {
  for (const NamespaceRecord& record : registry_.ListNamespaces()) MarkObject(NamespaceName(record.id), record.uid);
  for (const DeviceRecord& record : registry_.ListDevices()) MarkObject(record.name, record.uid);
  for (const VethRecord& record : registry_.ListVeths("", SIZE_MAX)) MarkObject(VethName(record.id), record.uid);
  // What was deleted while it was not well.
  std::lock_guard<std::mutex> lock(mutex_);
  std::erase_if(conditions_, [this](const auto& item) { return !marked_.contains(item.first); });
  std::erase_if(not_before_, [this](const auto& item) { return !marked_.contains(item.first); });
  // Whoever was well at the last one too may be healed at once again.
  std::erase_if(heals_, [this](const auto& item) { return !conditions_.contains(item.first); });
}

void Caretaker::Mark(const Hint& hint) {
  if (hint.kind == Hint::Kind::kEverything) {
    last_resync_.reset();
    return;
  }
  const std::string& id = hint.netns.name;
  if (hint.kind == Hint::Kind::kName || hint.ifindex == kLoopbackIndex) {
    if (std::optional<NamespaceRecord> record = registry_.FindNamespace(id); record.has_value()) {
      MarkObject(NamespaceName(id), record->uid);
    }
    if (hint.kind == Hint::Kind::kLink) return;
  }
  const std::string key = hint.netns.key();
  for (const DeviceRecord& record : registry_.ListDevicesOf(key)) {
    if (hint.kind == Hint::Kind::kName || record.link.ifindex == hint.ifindex) MarkObject(record.name, record.uid);
  }
  for (const VethRecord& record : registry_.ListVethsOf(key)) {
    auto is_it = [&](const Endpoint& end, const EndpointSpec& spec) {
      if (end.netns_key() != key) return false;
      if (hint.ifindex == 0) return !spec.config.RoutesWithoutLink().empty();
      return end.ifindex == hint.ifindex || end.shaper_ifindex == hint.ifindex;
    };
    if (hint.kind == Hint::Kind::kName || is_it(record.a, record.spec.a) || is_it(record.b, record.spec.b)) {
      MarkObject(VethName(record.id), record.uid);
    }
  }
}

void Caretaker::Watch(std::vector<Notice>& notices) {
  if (watch_ == nullptr) {
    KernelResult<std::unique_ptr<KernelWatch>> watch = kernel_.Watch();
    if (!watch.ok()) {
      // Once, and not each time that it is tried again.
      if (!std::exchange(watch_failed_, true)) {
        notices.push_back({.level = Notice::Level::kWarning,
                           .event = "watch_failed",
                           .resource = "",
                           .detail = watch.error().ToString()});
      }
      return;
    }
    tracked_.clear();
    last_resync_.reset();
    std::lock_guard<std::mutex> lock(mutex_);
    watch_ = *std::move(watch);
  }
  std::set<std::string> present;
  // Returns whether it is new.
  auto track = [&](const std::string& key, const NetnsRef& netns) {
    if (!present.insert(key).second || tracked_.contains(key)) return false;
    // Where it is not there, the look says so; what happened before it was tracked too.
    KernelResult<void> tracked = watch_->Track(netns);
    if (!tracked.ok() && !NamespaceIsGone(tracked.error())) present.erase(key);  // tried again
    for (const VethRecord& veth : registry_.ListVethsOf(netns.key())) MarkObject(VethName(veth.id), veth.uid);
    return true;
  };
  for (const NamespaceRecord& record : registry_.ListNamespaces()) {
    // Made again, it has another cookie.
    const std::string key = absl::StrCat(record.uid, " ", record.cookie);
    if (!track(key, {.name = record.id, .cookie = record.cookie})) continue;
    MarkObject(NamespaceName(record.id), record.uid);
    for (const DeviceRecord& device : registry_.ListDevicesOf(record.id)) MarkObject(device.name, device.uid);
  }
  for (const VethRecord& record : registry_.ListVethsAtPlaces()) {
    if (record.boot_id != kernel_.BootId()) continue;
    for (const Endpoint* end : {&record.a, &record.b}) {
      if (!end->place.has_value()) continue;
      const NetnsRef netns{.name = "", .cookie = end->netns_cookie, .place = end->place};
      track(absl::StrCat(PlaceName(*end->place), " ", end->netns_cookie), netns);
    }
  }
  tracked_ = std::move(present);
}

std::optional<absl::Duration> Caretaker::UntilNextLook(absl::Duration now) const {
  if (busy_.size() >= kMostChores) return std::nullopt;
  std::optional<absl::Duration> next;
  for (const auto& [uid, name] : marked_) {
    if (busy_.contains(uid)) continue;
    auto again = not_before_.find(uid);
    const absl::Duration wait = again == not_before_.end() ? absl::ZeroDuration() : again->second - now;
    next = std::min(next.value_or(absl::InfiniteDuration()), std::max(wait, absl::ZeroDuration()));
    if (*next == absl::ZeroDuration()) break;
  }
  return next;
}

std::vector<ObjectRef> Caretaker::TakeMarked(absl::Duration now) {
  std::vector<ObjectRef> taken;
  for (auto next = marked_.begin(); next != marked_.end() && busy_.size() < kMostChores;) {
    auto again = not_before_.find(next->first);
    const bool is_due = again == not_before_.end() || now >= again->second;
    if (is_due && busy_.insert(next->first).second) {
      taken.push_back({.name = next->second, .uid = next->first});
      next = marked_.erase(next);
    } else {
      ++next;
    }
  }
  return taken;
}

Caretaker::Due Caretaker::Wait(std::chrono::milliseconds timeout) {
  Due due;
  Watch(due.notices);
  absl::Duration now = clock_();
  if (!last_resync_.has_value() || now - *last_resync_ >= kResyncPeriod) {
    last_resync_ = now;
    MarkEverything();
  }
  if (const std::optional<absl::Duration> end = engine_.leases().UntilNextEnd(); end.has_value()) {
    timeout = std::clamp(absl::ToChronoMilliseconds(*end), kShortestWait, std::max(timeout, kShortestWait));
  }
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (const std::optional<absl::Duration> next = UntilNextLook(now); next.has_value()) {
      timeout = std::min(timeout, absl::ToChronoMilliseconds(*next));
    }
  }
  if (watch_ != nullptr) {
    for (const Hint& hint : watch_->Wait(timeout)) Mark(hint);
  } else {
    std::unique_lock<std::mutex> lock(mutex_);
    woken_.wait_for(lock, timeout);
  }

  now = clock_();
  std::vector<LeaseBook::Lease> expired = engine_.leases().Expired();
  std::vector<ObjectRef> to_look_at;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    std::erase_if(expired, [&](const LeaseBook::Lease& lease) {
      auto again = not_before_.find(lease.uid);
      return (again != not_before_.end() && now < again->second) || busy_.size() >= kMostChores ||
             !busy_.insert(lease.uid).second;
    });
    to_look_at = TakeMarked(now);
  }
  // What stands on something goes before it.
  std::stable_sort(expired.begin(), expired.end(), [](const LeaseBook::Lease& a, const LeaseBook::Lease& b) {
    return RankOf(a.object) < RankOf(b.object);
  });
  for (const LeaseBook::Lease& lease : expired) due.chores.push_back(Expire(lease));
  for (const ObjectRef& object : to_look_at) due.chores.push_back(Look(object));
  return due;
}

std::shared_ptr<bool> Caretaker::Busy(const ObjectRef& object) {
  return {new bool(false), [this, object](const bool* looked) {
            bool more = false;
            {
              std::lock_guard<std::mutex> lock(mutex_);
              busy_.erase(object.uid);
              if (!*looked) marked_[object.uid] = object.name;
              more = !marked_.empty();
            }
            delete looked;
            if (more) Wake();
          }};
}

Chore Caretaker::Look(const ObjectRef& object) {
  return {.keys = engine_.Keys(object),
          .run =
              [this, object, looked = Busy(object)] {
                *looked = true;
                return LookNow(object);
              },
          .act = "Heal",
          .object = object.name};
}

Chore Caretaker::Expire(const LeaseBook::Lease& lease) {
  const ObjectRef object{.name = lease.object, .uid = lease.uid};
  return {
      .keys = engine_.Keys(object),
      .run =
          [this, object, owner = lease.owner, looked = Busy(object)] {
            *looked = true;
            std::vector<Notice> notices;
            EngineResult<Engine::Expiry> expiry = engine_.DeleteExpired(object);
            const std::string why = !expiry.ok() ? expiry.error().message : expiry->kept_because;
            if (!why.empty()) {
              statistics_.failed_expiries.Add();
              notices.push_back(
                  {.level = Notice::Level::kWarning, .event = "expiry_failed", .resource = object.name, .detail = why});
              std::lock_guard<std::mutex> lock(mutex_);
              not_before_[object.uid] = clock_() + kExpiryRetry;
            } else if (expiry->deleted) {
              statistics_.expiries.Add();
              notices.push_back({.level = Notice::Level::kInfo,
                                 .event = "lease_expired",
                                 .resource = object.name,
                                 .detail = absl::StrCat("no sign of ", owner)});
            }
            return notices;
          },
      .act = "Expire",
      .object = object.name};
}

std::vector<Notice> Caretaker::LookNow(const ObjectRef& object) {
  EngineResult<std::optional<Engine::Condition>> found = engine_.Inspect(object);
  if (!found.ok()) {
    statistics_.failed_looks.Add();
    return {{.level = Notice::Level::kError,
             .event = "look_failed",
             .resource = object.name,
             .detail = found.error().message}};
  }
  const bool well = !found->has_value() || (*found)->state == State::kReady;
  bool is_news = false;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    auto before = conditions_.find(object.uid);
    const bool was_well = before == conditions_.end();
    is_news = well ? !was_well : was_well || before->second.condition != **found;
    if (well) {
      conditions_.erase(object.uid);
    } else {
      conditions_[object.uid] = {.name = object.name, .condition = **found};
      if (is_news) statistics_.drifts.Add();
    }
  }
  std::vector<Notice> notices;
  if (!found->has_value()) return notices;
  if (is_news) {
    notices.push_back({.level = well ? Notice::Level::kInfo : Notice::Level::kWarning,
                       .event = "drift",
                       .resource = object.name,
                       .detail = Describe(**found)});
  }
  if (well || !(*found)->is_to_be_healed) return notices;
  EngineResult<void> healed = engine_.Heal(object);
  if (!healed.ok()) {
    statistics_.failed_heals.Add();
    // The same each time that it is tried again.
    if (is_news) {
      notices.push_back({.level = Notice::Level::kError,
                         .event = "heal_failed",
                         .resource = object.name,
                         .detail = healed.error().message});
    }
    // An attempt may have left hints of its own.
    std::lock_guard<std::mutex> lock(mutex_);
    PauseAfterHeal(object.uid);
    return notices;
  }
  statistics_.heals.Add();
  notices.push_back({.level = Notice::Level::kInfo, .event = "healed", .resource = object.name, .detail = ""});
  {
    std::lock_guard<std::mutex> lock(mutex_);
    conditions_.erase(object.uid);
    PauseAfterHeal(object.uid);
  }
  // What stands on something that was made again can be made again now.
  MarkDependents(object);
  return notices;
}

std::map<std::pair<std::string, State>, size_t> Caretaker::CountUnwell() const {
  std::vector<std::pair<ObjectRef, State>> unwell;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    for (const auto& [uid, seen] : conditions_) {
      unwell.push_back({{.name = seen.name, .uid = uid}, seen.condition.state});
    }
  }
  std::map<std::pair<std::string, State>, size_t> counts;
  for (const auto& [object, state] : unwell) {
    if (registry_.HasUid(object.uid)) ++counts[{object.name.substr(0, object.name.find('/')), state}];
  }
  return counts;
}

void Caretaker::PauseAfterHeal(const std::string& uid) {
  const int heals = ++heals_[uid];
  if (heals < kHealsWithoutPause) return;
  const absl::Duration pause = kShortestPause * std::exp2(std::min(heals - kHealsWithoutPause, 20));
  not_before_[uid] = clock_() + std::min(pause, kLongestPause);
}

}  // namespace netprov::engine
