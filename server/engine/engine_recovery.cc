#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/engine/address_translation.h"
#include "server/engine/engine.h"
#include "server/engine/error.h"
#include "server/engine/plan.h"
#include "server/engine/shaping.h"
#include "server/engine/tag.h"

namespace netprov::engine {

namespace {

// More would not help anybody, and not fit into an answer.
constexpr size_t kMostFindings = 2000;

// `a create`, for a person.
const char* WhatIs(const Intent& intent) {
  if (intent.kind == Intent::Kind::kAdoptNamespace) return "an adoption";
  if (intent.kind == Intent::Kind::kReleaseNamespace) return "a release";
  if (IsDeletion(intent)) return "a delete";
  return IsUpdate(intent) ? "an update" : "a create";
}

// The resource names of all that an intent touches, as far as it says.
std::vector<std::string> NamesOf(const Intent& intent) {
  std::vector<std::string> names = {ObjectOf(intent)};
  for (const Endpoint* end : {&intent.veth.a, &intent.veth.b, &intent.device.link}) {
    if (!end->namespace_id.empty()) names.push_back(NamespaceName(end->namespace_id));
    if (end->place.has_value()) names.push_back(PlaceName(*end->place));
    if (!end->interface_name.empty()) names.push_back("links/" + end->interface_name);
  }
  for (const auto& [spec, other] :
       {std::pair(&intent.veth.spec.a, &intent.veth.spec.b), std::pair(&intent.veth.spec.b, &intent.veth.spec.a)}) {
    if (spec->config.ip_forwarding && other->is_at_host()) names.push_back(kHostForwardingKey);
  }
  for (const std::string& shaper : ShaperNames(intent.veth.uid, intent.veth.spec)) names.push_back("links/" + shaper);
  return names;
}

// The resource name of a namespace.
std::string ResourceOf(const NetnsRef& netns) {
  if (netns.place.has_value()) return PlaceName(*netns.place);
  return netns.is_host() ? std::string("host") : NamespaceName(netns.name);
}

// Where a link is, for a person.
std::string PlaceOf(const NetnsRef& netns) {
  if (netns.place.has_value()) return absl::StrCat("the namespace of ", ToText(*netns.place));
  return netns.is_host() ? std::string("the host's namespace") : absl::StrCat("namespace ", netns.name);
}

// `what` is what could not be listed: `links`.
void ReportUnreadable(const NetnsRef& netns, const std::string& what, const KernelError& error, HostReport& report) {
  report.Add(Finding::Kind::kUnreadable, ResourceOf(netns),
             absl::StrCat("its ", what, " could not be listed: ", error.ToString()));
}

}  // namespace

EngineResult<HostReport> Engine::Recover() {
  std::vector<PendingIntent> pending = registry_.ListPending();
  HostReport report;
  report.at_start = true;
  FinishIntents(pending, /*look_only=*/false, report);
  NETPROV_RETURN_IF_ERROR(CollectOrphans(/*look_only=*/false, report));
  Restore(Unrestored(), report);
  for (const NamespaceRecord& record : registry_.ListNamespaces()) {
    leases_.Start(record.uid, NamespaceName(record.id), record.metadata);
  }
  for (const DeviceRecord& record : registry_.ListDevices()) {
    leases_.Start(record.uid, record.name, record.metadata);
  }
  for (const VethRecord& record : registry_.ListVeths("", SIZE_MAX)) {
    leases_.Start(record.uid, VethName(record.id), record.metadata);
  }
  CompareObjects(report);
  Publish(report);
  report.registry_fault = registry_.Fault().value_or("");
  return report;
}

EngineResult<HostReport> Engine::CheckHost(const CheckHostCall& call) {
  std::vector<PendingIntent> pending = registry_.ListPending();
  HostReport report;
  // The others are calls that are under way.
  std::erase_if(pending, [&call](const PendingIntent& item) { return !call.unfinished.contains(item.sequence); });
  FinishIntents(pending, call.validate_only, report);
  NETPROV_RETURN_IF_ERROR(CollectOrphans(call.validate_only, report));
  if (!call.validate_only) Restore(call.unrestored, report);
  CompareObjects(report);
  Publish(report);
  return GetHostReport();
}

HostReport Engine::GetHostReport() const {
  HostReport report;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    report = report_;
  }
  report.registry_fault = registry_.Fault().value_or("");
  return report;
}

void Engine::Publish(HostReport report) {
  report.time = absl::Now();
  if (report.findings.size() > kMostFindings) report.findings.resize(kMostFindings);
  std::lock_guard<std::mutex> lock(mutex_);
  report_ = std::move(report);
}

CheckHostCall Engine::PlanCheck(bool validate_only) const {
  std::lock_guard<std::mutex> lock(mutex_);
  return {.validate_only = validate_only, .unfinished = unfinished_, .unrestored = Unrestored()};
}

std::vector<std::string> Engine::Keys(const CheckHostCall& call) const {
  std::vector<std::string> keys;
  if (call.validate_only) return keys;
  // One at a time.
  keys.push_back("host");
  for (const ObjectRef& object : call.unrestored) {
    for (std::string& key : Keys(object)) keys.push_back(std::move(key));
  }
  for (const PendingIntent& item : registry_.ListPending()) {
    if (!call.unfinished.contains(item.sequence)) continue;
    for (std::string& name : NamesOf(item.intent)) keys.push_back(std::move(name));
    for (std::string& key : Keys(ObjectRef{.name = ObjectOf(item.intent), .uid = ""})) keys.push_back(std::move(key));
  }
  std::sort(keys.begin(), keys.end());
  keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
  return keys;
}

bool Engine::IsUnderWay(const std::string& name) const {
  for (const PendingIntent& item : registry_.ListPending()) {
    const std::vector<std::string> names = NamesOf(item.intent);
    if (std::find(names.begin(), names.end(), name) != names.end()) return true;
  }
  return false;
}

void Engine::FinishIntents(const std::vector<PendingIntent>& intents, bool look_only, HostReport& report) {
  for (const PendingIntent& item : intents) {
    const Intent& intent = item.intent;
    const bool was_delete = IsDeletion(intent);
    const std::string what = WhatIs(intent);
    const std::string object = ObjectOf(intent);
    if (look_only) {
      report.Add(Finding::Kind::kUnfinished, object, what + " did not finish");
      continue;
    }
    EngineResult<void> finished;
    switch (intent.kind) {
      case Intent::Kind::kCreateNamespace:
        finished = RollBack(intent.netns);
        break;
      case Intent::Kind::kCreateVeth:
        finished = RollBackPair(intent);
        break;
      case Intent::Kind::kDeleteNamespace:
        // Where a later call has deleted it, or made another of the same name since, nothing is left to do.
        if (auto now = registry_.FindNamespace(intent.netns.id); now.has_value() && now->uid == intent.netns.uid) {
          finished = DeleteRecordedNamespace(*now, intent.request);
        }
        break;
      case Intent::Kind::kAdoptNamespace:
        finished = RollBackAdoption(intent.netns);
        break;
      case Intent::Kind::kReleaseNamespace:
        if (auto now = registry_.FindNamespace(intent.netns.id); now.has_value() && now->uid == intent.netns.uid) {
          // Where something was made in it since, it is wanted again.
          if (UsersOf(now->id).empty()) finished = ReleaseRecordedNamespace(*now, intent.request);
        }
        break;
      case Intent::Kind::kDeleteVeth:
        if (auto now = registry_.FindVeth(intent.veth.id); now.has_value() && now->uid == intent.veth.uid) {
          finished = DeleteRecordedVeth(*now, intent.request);
        }
        break;
      case Intent::Kind::kCreateDevice:
        finished = RollBack(intent.device);
        break;
      case Intent::Kind::kDeleteDevice:
        if (auto now = registry_.FindDevice(intent.device.name); now.has_value() && now->uid == intent.device.uid) {
          // Where it was given a port since, it is wanted again.
          if (PortsOf(*now).empty()) finished = DeleteRecordedDevice(*now, intent.request);
        }
        break;
      case Intent::Kind::kUpdateNamespace:
      case Intent::Kind::kUpdateVeth:
      case Intent::Kind::kUpdateDevice:
        finished = RollBackUpdate(intent);
        break;
    }
    if (finished.ok()) {
      // A deletion that was completed had an intent of its own.
      const Fate fate = was_delete ? Fate::kCompleted : Fate::kRolledBack;
      if (RegistryResult<void> forgotten = registry_.Abort(item.sequence, fate); !forgotten.ok()) {
        finished = RegistryFailure(object, forgotten.error().message);
      }
    }
    if (!finished.ok()) {
      report.Add(Finding::Kind::kUnfinished, object, finished.error().message);
    }
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (finished.ok()) {
        unfinished_.erase(item.sequence);
      } else {
        unfinished_.insert(item.sequence);
      }
    }
    if (!finished.ok()) continue;
    if (was_delete) {
      report.Add(Finding::Kind::kCompleted, object, what + " that did not finish was completed");
    } else {
      report.Add(Finding::Kind::kRolledBack, object, what + " that did not finish was undone");
    }
  }
}

bool Engine::IsKnown(const Tag& tag) const {
  // An intent gives way to its record, so it is looked for first.
  return registry_.IsPending(tag.uid) || registry_.HasUid(tag.uid);
}

bool Engine::IsRegistered(const NetnsRef& netns, uint32_t ifindex) const {
  for (const DeviceRecord& record : registry_.ListDevicesOf(netns.key())) {
    if (record.link.ifindex == ifindex && record.netns_cookie == netns.cookie && record.boot_id == kernel_.BootId()) {
      return true;
    }
  }
  for (const VethRecord& record : registry_.ListVethsOf(netns.key())) {
    // Of another boot, the index is of a link that is gone.
    if (record.boot_id != kernel_.BootId()) continue;
    for (const Endpoint* end : {&record.a, &record.b}) {
      if (end->netns_key() != netns.key()) continue;
      if (end->ifindex == ifindex || end->shaper_ifindex == ifindex) return true;
    }
  }
  return false;
}

EngineResult<void> Engine::CollectOrphans(bool look_only, HostReport& report) {
  KernelResult<std::vector<std::string>> names = kernel_.ListNetns();
  if (!names.ok()) return KernelFailure("namespaces", "list namespaces", names.error());
  for (const std::string& name : *names) {
    const std::string object = NamespaceName(name);
    KernelResult<std::optional<NetnsEntry>> found = kernel_.FindNetns(name);
    if (!found.ok()) {
      // Of those that we know, CompareObjects() tells.
      if (NamespaceIsClosed(found.error()) || registry_.FindNamespace(name).has_value()) continue;
      report.Add(Finding::Kind::kUnreadable, object, found.error().ToString());
      continue;
    }
    if (!found->has_value()) continue;
    const NetnsEntry& entry = **found;
    if (!entry.is_netns) {
      // Of one of ours, CompareObjects() tells; one that is being made is a file for a moment.
      if (!registry_.FindNamespace(name).has_value() && !IsUnderWay(object)) {
        KernelResult<std::optional<NetnsEntry>> again = kernel_.FindNetns(name);
        if (again.ok() && (!again->has_value() || (*again)->is_netns)) continue;
        report.Add(Finding::Kind::kStaleFile, object, "the file is no network namespace");
      }
      continue;
    }
    const std::optional<Tag> tag = ParseTag(entry.loopback_alias);
    const NetnsRef netns{.name = name, .cookie = entry.cookie};
    if (!tag.has_value()) continue;
    if (tag->registry != registry_.id()) {
      report.Add(Finding::Kind::kForeignTag, object,
                 absl::StrCat("it has the tag of another registry, ", tag->registry));
      continue;
    }
    const std::optional<NamespaceRecord> record = registry_.FindNamespace(name);
    if (record.has_value() && record->uid == tag->uid) continue;
    if (IsKnown(*tag)) {
      // In the making, or given a second name by somebody.
      if (!registry_.IsPending(tag->uid)) {
        report.Add(Finding::Kind::kForeignTag, object, absl::StrCat("somebody gave ", tag->object, " this name"));
      }
      continue;
    }
    if (absl::StartsWith(tag->object, kAdopted)) {
      report.Add(Finding::Kind::kForeignTag, object, "it was adopted, and the registry does not know it");
      continue;
    }
    if (look_only) {
      // It may have been deleted between our look at the kernel and that at the registry.
      KernelResult<std::optional<NetnsEntry>> again = kernel_.FindNetns(name);
      if (again.ok() && (!again->has_value() || (*again)->cookie != entry.cookie)) continue;
      report.Add(Finding::Kind::kOrphan, object, "it has our tag, and the registry does not know it");
      continue;
    }
    EngineResult<void> removed = RemoveOrphan(netns, tag->uid);
    if (removed.ok()) {
      report.Add(Finding::Kind::kOrphanRemoved, object, "it had our tag, and the registry did not know it");
    } else if (!removed.error().kernel.has_value() || !NamespaceIsGone(*removed.error().kernel)) {
      report.Add(Finding::Kind::kOrphan, object, removed.error().message);
    }
  }
  CollectOrphanFiles(look_only, report);
  NETPROV_RETURN_IF_ERROR(CollectOrphanLinks({}, look_only, report));
  const std::vector<NetnsRef> namespaces = NamespacesOfOurs();
  for (const NetnsRef& netns : namespaces) NETPROV_RETURN_IF_ERROR(CollectOrphanLinks(netns, look_only, report));
  ReportUnclaimedRoutes({}, report);
  for (const NetnsRef& netns : namespaces) ReportUnclaimedRoutes(netns, report);
  CollectOrphanNat({}, look_only, PlaceOf({}), report);
  for (const NetnsRef& netns : namespaces) CollectOrphanNat(netns, look_only, PlaceOf(netns), report);
  return {};
}

std::vector<NetnsRef> Engine::NamespacesOfOurs() const {
  std::vector<NetnsRef> namespaces;
  for (const NamespaceRecord& record : registry_.ListNamespaces()) {
    if (record.boot_id == kernel_.BootId()) namespaces.push_back({.name = record.id, .cookie = record.cookie});
  }
  for (const VethRecord& record : registry_.ListVethsAtPlaces()) {
    if (record.boot_id != kernel_.BootId()) continue;
    for (const Endpoint* end : {&record.a, &record.b}) {
      if (!end->place.has_value()) continue;
      const KernelResult<PlaceEntry> entry = kernel_.FindPlace(*end->place);
      if (!entry.ok() || entry->cookie != end->netns_cookie) continue;
      auto is_it = [end](const NetnsRef& netns) { return netns.key() == end->netns_key(); };
      if (std::none_of(namespaces.begin(), namespaces.end(), is_it)) namespaces.push_back(RefOf(record, *end));
    }
  }
  return namespaces;
}

// Their protocol number says netprov's, but not which netprov's, so they stay.
void Engine::ReportUnclaimedRoutes(const NetnsRef& netns, HostReport& report) {
  KernelResult<std::vector<RouteSpec>> routes = kernel_.ListRoutesWithoutLink(netns);
  if (!routes.ok()) {
    if (!NamespaceIsGone(routes.error())) ReportUnreadable(netns, "routes", routes.error(), report);
    return;
  }
  if (routes->empty()) return;
  auto unclaim = [&](const VethRecord& record) {
    for (const auto& [spec, end] : {std::pair(&record.spec.a, &record.a), std::pair(&record.spec.b, &record.b)}) {
      if (end->netns_key() != netns.key()) continue;
      for (const RouteSpec& route : spec->config.RoutesWithoutLink()) std::erase(*routes, route);
    }
  };
  // An intent gives way to its record, so it is looked for first.
  for (const PendingIntent& item : registry_.ListPending()) unclaim(item.intent.veth);
  for (const VethRecord& record : registry_.ListVethsOf(netns.key())) unclaim(record);
  for (const RouteSpec& route : *routes) {
    report.Add(
        Finding::Kind::kForeignTag, "routes/" + route.destination.ToString(),
        absl::StrCat(ToText(route), " in ", PlaceOf(netns), " has netprov's protocol, and no pair has asked for it"));
  }
}

EngineResult<void> Engine::RemoveOrphan(const NetnsRef& netns, const std::string& uid) {
  const std::string object = NamespaceName(netns.name);
  // The cookie is checked again by each.
  KernelResult<void> cleared = kernel_.DeleteLinksInside(netns);
  if (!cleared.ok()) return KernelFailure(object, "delete the links of an orphan", cleared.error());
  // The name goes before its file does, and the file alone has no tag: it would be taken for somebody's. So the orphan
  // is undone as a creation is.
  NamespaceRecord record;
  record.id = netns.name;
  record.uid = uid;
  record.boot_id = kernel_.BootId();
  record.cookie = netns.cookie;
  Plan plan;
  plan.Add({.name = "remove the name " + netns.name,
            .run = [&] { return kernel_.RemoveNetns(netns); },
            .undo = NothingToUndo,
            .sweep = [&] { return ToKernelResult(RollBack(record)); }});
  const Intent intent{.kind = Intent::Kind::kCreateNamespace, .netns = record, .veth = {}, .device = {}, .request = {}};
  return Transact(object, intent, plan, [] { return Outcome(); });
}

EngineResult<void> Engine::CollectOrphanLinks(const NetnsRef& netns, bool look_only, HostReport& report) {
  KernelResult<std::vector<Link>> links = kernel_.ListLinks(netns);
  if (!links.ok()) {
    if (!NamespaceIsGone(links.error())) ReportUnreadable(netns, "links", links.error(), report);
    return {};
  }
  for (const Link& link : *links) {
    const std::optional<Tag> tag = ParseTag(link.alias);
    const std::string object = "links/" + link.name;
    // The namespace itself.
    if (link.ifindex == kLoopbackIndex) continue;
    if (!tag.has_value()) {
      if (link.group != kOwnedGroup || IsRegistered(netns, link.ifindex)) continue;
      // One that is being made has no tag yet.
      if (IsUnderWay(object)) continue;
      KernelResult<std::optional<Link>> again = kernel_.FindLink(netns, link.ifindex);
      if (!again.ok() && NamespaceIsGone(again.error())) continue;
      if (again.ok() && (!again->has_value() || ParseTag((*again)->alias).has_value())) continue;
      report.Add(Finding::Kind::kForeignTag, object,
                 absl::StrCat("in ", PlaceOf(netns), ", it has netprov's group and no tag"));
      continue;
    }
    if (tag->registry != registry_.id()) {
      report.Add(Finding::Kind::kForeignTag, object,
                 absl::StrCat("in ", PlaceOf(netns), ", it has the tag of another registry, ", tag->registry));
      continue;
    }
    if (IsKnown(*tag)) continue;
    // It may have been deleted between our look at the kernel and that at the registry.
    KernelResult<std::optional<Link>> again = kernel_.FindLink(netns, link.ifindex);
    if (!again.ok() && !NamespaceIsGone(again.error())) {
      report.Add(Finding::Kind::kOrphan, tag->object, again.error().ToString());
      continue;
    }
    if (!again.ok() || !again->has_value() || (*again)->alias != link.alias) continue;
    if (look_only) {
      report.Add(Finding::Kind::kOrphan, tag->object,
                 absl::StrCat(link.name, " in ", PlaceOf(netns), " has our tag, and the registry does not know it"));
      continue;
    }
    KernelResult<void> removed = kernel_.DeleteLink(netns, link.ifindex);
    if (removed.ok()) {
      report.Add(Finding::Kind::kOrphanRemoved, tag->object,
                 absl::StrCat(link.name, " in ", PlaceOf(netns), " had our tag, and the registry did not know it"));
    } else if (removed.error().code != ENODEV && !NamespaceIsGone(removed.error())) {
      report.Add(Finding::Kind::kOrphan, tag->object, removed.error().ToString());
    }
  }
  return {};
}

// Each after those that it stands on, as far as they are of ours.
static std::vector<DeviceRecord> FromBelow(std::vector<DeviceRecord> devices) {
  std::map<std::pair<std::string, std::string>, const DeviceRecord*> by_place;
  for (const DeviceRecord& record : devices) {
    by_place[{record.link.namespace_id, record.link.interface_name}] = &record;
  }
  // By name; in a circle, which names that were given away can make, there is no end.
  std::map<std::string, size_t> depths;
  for (const DeviceRecord& record : devices) {
    size_t depth = 0;
    for (const DeviceRecord* at = &record; at != nullptr && depth < devices.size(); ++depth) {
      const auto lower = by_place.find({at->spec.lower.namespace_id, at->spec.lower.interface_name});
      at = lower == by_place.end() ? nullptr : lower->second;
    }
    depths[record.name] = depth;
  }
  std::stable_sort(devices.begin(), devices.end(), [&depths](const DeviceRecord& a, const DeviceRecord& b) {
    return depths.at(a.name) < depths.at(b.name);
  });
  return devices;
}

std::vector<ObjectRef> Engine::Unrestored() const {
  const std::string boot = kernel_.BootId();
  std::vector<ObjectRef> objects;
  for (const NamespaceRecord& record : registry_.ListNamespaces()) {
    if (!record.metadata.persistent || record.boot_id == boot) continue;
    objects.push_back({.name = NamespaceName(record.id), .uid = record.uid});
  }
  // Ends of pairs and other devices are ports of bridges, which come first by their names; and devices stand on any
  // link.
  const std::vector<DeviceRecord> devices = FromBelow(registry_.ListDevices());
  auto add_devices = [&](bool standing) {
    for (const DeviceRecord& record : devices) {
      if (!record.metadata.persistent || record.boot_id == boot) continue;
      if (HasLower(record.spec.options) != standing) continue;
      objects.push_back({.name = record.name, .uid = record.uid});
    }
  };
  add_devices(/*standing=*/false);
  for (const VethRecord& record : registry_.ListVeths("", SIZE_MAX)) {
    if (!record.metadata.persistent || record.boot_id == boot) continue;
    objects.push_back({.name = VethName(record.id), .uid = record.uid});
  }
  add_devices(/*standing=*/true);
  return objects;
}

void Engine::Restore(const std::vector<ObjectRef>& objects, HostReport& report) {
  // What an unfinished deletion took is none of them any more.
  const std::vector<ObjectRef> left = Unrestored();
  for (const ObjectRef& object : objects) {
    if (std::none_of(left.begin(), left.end(), [&](const ObjectRef& now) { return now.uid == object.uid; })) continue;
    EngineResult<void> restored = Heal(object);
    if (restored.ok()) {
      report.Add(Finding::Kind::kRestored, object.name, "it was made again after a reboot");
    } else {
      report.Add(Finding::Kind::kNotRestored, object.name, restored.error().message);
    }
  }
}

void Engine::CompareObjects(HostReport& report) {
  auto is_under_way = [this](const std::string& name) {
    if (IsUnderWay(name)) return true;
    if (NamespaceIdIn(name).has_value()) return false;
    const std::optional<std::string> id = VethIdIn(name);
    if (!id.has_value()) {
      const std::optional<DeviceRecord> device = registry_.FindDevice(name);
      return !device.has_value() || IsUnderWay(NamespaceName(device->link.namespace_id));
    }
    const std::optional<VethRecord> record = registry_.FindVeth(*id);
    if (!record.has_value()) return true;
    return IsUnderWay(NamespaceName(record->a.namespace_id)) || IsUnderWay(NamespaceName(record->b.namespace_id));
  };
  auto compare = [&](const std::string& name, const std::string& uid) {
    const ObjectRef object{.name = name, .uid = uid};
    EngineResult<std::optional<Condition>> condition = Inspect(object);
    // What does not look well may be a call's work that is under way, so it is looked at between two moments in which
    // none is.
    if (!condition.ok() || (condition->has_value() && (*condition)->state != State::kReady)) {
      if (is_under_way(name)) return;
      condition = Inspect(object);
      if (is_under_way(name)) return;
    }
    if (!condition.ok()) return report.Add(Finding::Kind::kUnreadable, name, condition.error().message);
    if (!condition->has_value()) return;
    ++report.objects;
    if ((*condition)->state == State::kMissing) {
      report.Add(Finding::Kind::kMissing, name, "it is gone from the kernel");
    } else if ((*condition)->state == State::kDegraded) {
      report.Add(Finding::Kind::kDegraded, name, ToText((*condition)->deviations));
    }
  };
  for (const NamespaceRecord& record : registry_.ListNamespaces()) compare(NamespaceName(record.id), record.uid);
  for (const DeviceRecord& record : registry_.ListDevices()) compare(record.name, record.uid);
  for (const VethRecord& record : registry_.ListVeths("", SIZE_MAX)) compare(VethName(record.id), record.uid);
}

EngineResult<void> Engine::RollBack(const NamespaceRecord& record) {
  const std::string object = NamespaceName(record.id);
  // Where the attempt was to heal it, it has them already, or the next attempt writes them.
  if (const auto now = registry_.FindNamespace(record.id); !now.has_value() || now->uid != record.uid) {
    // They outlive a boot.
    KernelResult<void> removed = RemoveDns(record);
    if (!removed.ok()) return KernelFailure(object, "remove the DNS files of namespace " + record.id, removed.error());
  }
  // Links and namespaces of another boot are gone; files at /run/netns too, as it is a tmpfs.
  if (record.boot_id != kernel_.BootId()) return {};
  NETPROV_ASSIGN_OR_RETURN(std::optional<NetnsEntry> entry, FindNetns(record.id));
  if (!entry.has_value()) return {};
  KernelResult<void> removed;
  if (entry->is_netns) {
    // Another's, made since.
    if (entry->loopback_alias != TagFor(record)) return {};
    // An attempt to heal it that did not finish, and a later one that did.
    if (auto now = registry_.FindNamespace(record.id); now.has_value() && IsThere(*now, entry)) return {};
    const NetnsRef netns{.name = record.id, .cookie = entry->cookie};
    // Left to the kernel, ends of pairs would stay elsewhere for a while.
    removed = UnlessGone(kernel_.DeleteLinksInside(netns));
    if (removed.ok()) removed = kernel_.RemoveNetns(netns);
  } else {
    removed = kernel_.RemoveStaleNetnsFile(record.id);
    if (!removed.ok() && removed.error().code == EMEDIUMTYPE) return {};
  }
  if (!removed.ok()) return KernelFailure(object, "roll back namespace " + record.id, removed.error());
  return {};
}

EngineResult<void> Engine::RollBack(const VethRecord& record) {
  if (record.boot_id != kernel_.BootId()) return {};
  const std::optional<VethRecord> now = registry_.FindVeth(record.id);
  const bool is_its_own = now.has_value() && now->uid == record.uid;
  // Where the attempt was to heal it, they are its own, and the next attempt sees to them.
  const bool is_of_this_boot = is_its_own && now->boot_id == record.boot_id;
  KernelResult<void> translated = is_of_this_boot ? KernelResult<void>() : DeleteNatOf(record);
  if (!translated.ok()) {
    return KernelFailure(VethName(record.id), "delete what is translated for veth " + record.id, translated.error());
  }
  NETPROV_RETURN_IF_ERROR(RollBackLinks(record));
  if (is_of_this_boot) return {};
  // Of one that was not made in this boot, the ifbs are left from the attempt alone.
  KernelResult<void> deleted = is_its_own ? DeleteShapersOf(record) : DeleteRestOf(record);
  if (!deleted.ok()) {
    return KernelFailure(VethName(record.id), "delete what is left of veth " + record.id, deleted.error());
  }
  return {};
}

EngineResult<void> Engine::RollBackPair(const Intent& intent) {
  VethRecord record = intent.veth;
  for (const NamespaceRecord& made : intent.new_namespaces) {
    NETPROV_ASSIGN_OR_RETURN(const std::optional<NetnsEntry> entry, FindNetns(made.id));
    if (!entry.has_value() || entry->loopback_alias != TagFor(made)) continue;
    for (Endpoint* end : {&record.a, &record.b}) {
      if (end->namespace_id == made.id) end->netns_cookie = entry->cookie;
    }
  }
  NETPROV_RETURN_IF_ERROR(RollBack(record));
  NETPROV_RETURN_IF_ERROR(RollBackForwarding(intent));
  for (const NamespaceRecord& made : intent.new_namespaces) NETPROV_RETURN_IF_ERROR(RollBack(made));
  return {};
}

EngineResult<void> Engine::RollBackLinks(const VethRecord& record) {
  const std::string object = VethName(record.id);
  // A pair is born and dies with both ends, so one that has only one where we would have put it is another's.
  std::vector<Link> links;
  std::vector<NetnsRef> places;
  for (const Endpoint* end : {&record.a, &record.b}) {
    const KernelResult<Endpoint> reached = ByAnyWay(record, *end);
    if (!reached.ok()) return KernelFailure(object, "look for " + end->interface_name, reached.error());
    places.push_back(RefOf(record, *reached));
    KernelResult<std::optional<Link>> link = kernel_.FindLink(places.back(), end->interface_name);
    if (!link.ok() && !NamespaceIsGone(link.error())) {
      return KernelFailure(object, "look for " + end->interface_name, link.error());
    }
    if (!link.ok() || !link->has_value()) return {};
    // It is born with the group and gets the alias a moment later.
    const bool may_be_ours = (*link)->group == kOwnedGroup && (*link)->kind == "veth" &&
                             ((*link)->alias.empty() || (*link)->alias == TagFor(record));
    if (!may_be_ours) return {};
    links.push_back(**link);
  }
  if (links[0].peer_ifindex != links[1].ifindex || links[1].peer_ifindex != links[0].ifindex) return {};
  // As above; or another pair of ours, of which somebody took the tags away.
  auto is_end = [](const Endpoint& of, const Endpoint& place, const Link& link) {
    return of.netns_key() == place.netns_key() && of.ifindex == link.ifindex;
  };
  for (const VethRecord& now : registry_.ListVeths("", SIZE_MAX)) {
    if (now.boot_id != record.boot_id) continue;
    if ((is_end(now.a, record.a, links[0]) && is_end(now.b, record.b, links[1])) ||
        (is_end(now.b, record.a, links[0]) && is_end(now.a, record.b, links[1]))) {
      return {};
    }
  }
  KernelResult<void> deleted = kernel_.DeleteLink(places[0], links[0].ifindex);
  if (!deleted.ok() && deleted.error().code != ENODEV) {
    return KernelFailure(object, "roll back veth " + record.id, deleted.error());
  }
  return {};
}

}  // namespace netprov::engine
