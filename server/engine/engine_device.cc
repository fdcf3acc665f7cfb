#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/engine/device_difference.h"
#include "server/engine/endpoint.h"
#include "server/engine/engine.h"
#include "server/engine/error.h"
#include "server/engine/plan.h"
#include "server/engine/tag.h"
#include "server/netlink/link_info.h"

namespace netprov::engine {
namespace {

std::string BirthOf(const DeviceRecord& record, const LinkSpec& link) {
  return absl::StrCat("create ", KindOf(record.spec.options), " ", link.name);
}

// Whether its hardware address is that of the link that it stands on, and follows it.
bool FollowsLowerMac(const DeviceSpec& spec) {
  if (std::holds_alternative<netlink::IpvlanInfo>(spec.options)) return true;
  if (std::holds_alternative<netlink::VlanInfo>(spec.options)) return !spec.link.mac.has_value();
  const auto* macvlan = std::get_if<netlink::MacvlanInfo>(&spec.options);
  return macvlan != nullptr && macvlan->mode == netlink::MacvlanMode::kPassthru;
}

// How its link is to be, where it is `link` now.
Endpoint Expected(const DeviceRecord& record, const Link& link) {
  Endpoint made = record.link;
  // Else it follows that of a bridge's ports, or of the link that it stands on.
  if (!record.spec.link.mtu.has_value()) made.mtu = link.mtu;
  if (FollowsLowerMac(record.spec)) made.mac = link.mac;
  return made;
}

}  // namespace

std::string Engine::TagFor(const DeviceRecord& record) const { return TagOf(registry_.id(), record.uid, record.name); }

KernelResult<std::optional<Link>> Engine::FindLinkOf(const DeviceRecord& record) {
  if (record.boot_id != kernel_.BootId()) return std::optional<Link>();
  KernelResult<std::optional<Link>> link = kernel_.FindLink(RefOf(record), record.link.ifindex);
  if (!link.ok()) {
    if (NamespaceIsGone(link.error())) return std::optional<Link>();
    return link;
  }
  if (!link->has_value()) return link;
  // Of another namespace of the name there is none, as its cookie is another. Where somebody took the tag away: the
  // kernel hands out indexes in sequence, so that the same number is the same link, and the group tells it from one
  // that was moved here and kept its number.
  const bool is_untagged = !ParseTag((*link)->alias).has_value() && (*link)->group == kOwnedGroup;
  if ((*link)->kind != KindOf(record.spec.options) || ((*link)->alias != TagFor(record) && !is_untagged)) {
    link->reset();
  }
  return link;
}

KernelResult<void> Engine::DeleteLinkOf(const DeviceRecord& record) {
  NETPROV_ASSIGN_OR_RETURN(const std::optional<Link> link, FindLinkOf(record));
  if (!link.has_value()) return {};
  return UnlessGone(kernel_.DeleteLink(RefOf(record), link->ifindex));
}

std::vector<std::string> Engine::PortsOf(const DeviceRecord& bridge) const {
  std::vector<std::string> ports;
  if (!std::holds_alternative<netlink::BridgeInfo>(bridge.spec.options)) return ports;
  for (const DeviceRecord& device : registry_.ListDevicesOf(bridge.link.namespace_id)) {
    if (device.spec.link.config.bridge == bridge.name) ports.push_back(device.name);
  }
  for (const VethRecord& veth : registry_.ListVethsOf(bridge.link.namespace_id)) {
    for (const EndpointSpec* end : {&veth.spec.a, &veth.spec.b}) {
      if (end->config.bridge == bridge.name) ports.push_back(VethName(veth.id));
    }
  }
  ports.erase(std::unique(ports.begin(), ports.end()), ports.end());
  return ports;
}

EngineResult<Device> Engine::Describe(const DeviceRecord& record) {
  Device device = record.ToDevice();
  device.expire_time = ExpireTimeOf(record.uid);
  device.ports = PortsOf(record);
  auto miss = [&device] {
    device.state = State::kMissing;
    device.link.ifindex = 0;
    device.deviations.clear();
    return device;
  };
  const std::string step = "look at " + record.name;
  KernelResult<std::optional<Link>> found = FindLinkOf(record);
  if (!found.ok()) return KernelFailure(record.name, step, found.error());
  if (!found->has_value()) return miss();
  const Link& link = **found;
  device.link.interface_name = link.name;
  device.link.mac = link.mac;
  device.link.mtu = link.mtu;
  device.link.up = link.up;
  EngineResult<LinkDifference> difference = FindDifference(record, Expected(record, link), link, device.options);
  EngineResult<Shortage> shortage = FindShortage(record.name, RefOf(record), record.spec.link, link);
  const bool looks_well = difference.ok() && difference->deviations.empty() && shortage.ok() &&
                          shortage->alternative_names.empty() && shortage->ip.empty();
  if (!looks_well) {
    // It may have gone between our looks.
    KernelResult<std::optional<Link>> again = FindLinkOf(record);
    if (again.ok() && !again->has_value()) return miss();
  }
  if (!difference.ok()) return std::move(difference).error();
  if (!shortage.ok()) return std::move(shortage).error();
  device.deviations = difference->deviations;
  AddShortage("", *shortage, device.deviations);
  device.link.config.Remove(shortage->ip);
  std::erase_if(device.link.config.alternative_names,
                [&](const std::string& name) { return !absl::c_linear_search(link.alternative_names, name); });
  ShowPort(link, *difference, device.link.config);
  if (!device.deviations.empty()) device.state = State::kDegraded;
  return device;
}

EngineResult<LinkDifference> Engine::FindDifference(const DeviceRecord& record, const Endpoint& made, const Link& link,
                                                    DeviceOptions& now) {
  NETPROV_ASSIGN_OR_RETURN(LinkDifference difference, FindDifference(record.name, "", RefOf(record), made,
                                                                     record.spec.link, TagFor(record), link));
  if (!link.device.has_value()) return difference;
  now = InAskedOrder(record.spec.options, *link.device);
  NETPROV_RETURN_IF_ERROR(LookAtFdb(record, link, now));
  // It can't be put back, but by making the device anew.
  if (link.lower_ifindex != record.lower_ifindex) {
    difference.deviations.push_back(
        {.field = "lower_interface",
         .expected = absl::StrCat(record.spec.lower.interface_name, " of index ", record.lower_ifindex),
         .actual = link.lower_ifindex == 0 ? "" : absl::StrCat("index ", link.lower_ifindex)});
  }
  CompareOptions(record.spec.options, now, difference);
  return difference;
}

EngineResult<void> Engine::LookAtFdb(const DeviceRecord& record, const Link& link, DeviceOptions& now) {
  auto* vxlan = std::get_if<VxlanOptions>(&now);
  if (vxlan == nullptr) return {};
  const auto& asked = std::get<VxlanOptions>(record.spec.options);
  // Most have none.
  if (asked.fdb.empty()) return {};
  KernelResult<std::vector<FdbEntry>> there = kernel_.ListFdb(RefOf(record), link.ifindex);
  if (!there.ok()) return KernelFailure(record.name, "look at the forwarding database of " + link.name, there.error());
  vxlan->fdb = Present(asked, *there);
  return {};
}

EngineResult<void> Engine::AddLower(const DeviceRecord& record, LinkSpec& link) {
  if (!HasLower(record.spec.options)) return {};
  const LowerSpec& spec = record.spec.lower;
  const EndpointSpec where{.namespace_id = spec.namespace_id, .interface_name = spec.interface_name};
  auto at_field = [](Error error) {
    return error.field.empty() ? std::move(error) : AtField(std::move(error), "lower_namespace");
  };
  EngineResult<NetnsRef> netns = Resolve(where, "");
  if (!netns.ok()) return at_field(std::move(netns).error());
  link.lower = LowerRef{.netns = *std::move(netns)};
  if (spec.interface_name.empty()) return {};
  KernelResult<std::optional<Link>> lower = kernel_.FindLink(link.lower->netns, spec.interface_name);
  if (!lower.ok()) {
    if (NamespaceIsGone(lower.error())) {
      netns = ResolveByLooking(where, "");
      if (!netns.ok()) return at_field(std::move(netns).error());
    }
    return KernelFailure(record.name, "look for " + spec.interface_name, lower.error());
  }
  if (!lower->has_value()) return LowerNotFound(record.name, spec.interface_name, spec.namespace_id);
  link.lower->ifindex = (*lower)->ifindex;
  return {};
}

bool Engine::IsBeingDeleted(const DeviceRecord& record) const {
  // An intent gives way to its outcome, so it is looked for first.
  const std::vector<PendingIntent> pending = registry_.ListPending();
  const std::optional<DeviceRecord> now = registry_.FindDevice(record.name);
  if (!now.has_value() || now->uid != record.uid) return true;
  std::lock_guard<std::mutex> lock(mutex_);
  return absl::c_any_of(pending, [&](const PendingIntent& item) {
    if (unfinished_.contains(item.sequence)) return false;
    const Intent& intent = item.intent;
    return (intent.kind == Intent::Kind::kDeleteDevice && intent.device.uid == record.uid) ||
           (intent.kind == Intent::Kind::kDeleteNamespace && record.link.namespace_id == intent.netns.id);
  });
}

EngineResult<bool> Engine::IsLeftOf(const DeviceRecord& replaced, const std::string& namespace_id, const Link& link) {
  if (replaced.link.namespace_id != namespace_id) return false;
  KernelResult<std::optional<Link>> old = FindLinkOf(replaced);
  if (!old.ok()) return KernelFailure(replaced.name, "look at " + replaced.name, old.error());
  return old->has_value() && (*old)->ifindex == link.ifindex;
}

EngineResult<void> Engine::CheckNameIsFree(const DeviceRecord& record, const NetnsRef& netns,
                                           const std::optional<DeviceRecord>& replaced) {
  const std::string& name = record.link.interface_name;
  KernelResult<std::optional<Link>> link = kernel_.FindLink(netns, name);
  if (!link.ok()) return KernelFailure(record.name, "look for " + name, link.error());
  if (!link->has_value()) return {};
  if (replaced.has_value()) {
    NETPROV_ASSIGN_OR_RETURN(const bool makes_room, IsLeftOf(*replaced, record.link.namespace_id, **link));
    if (makes_room) return {};
  }
  return InterfaceNameTaken(record.name, "", name, record.link.namespace_id, std::nullopt);
}

EngineResult<Device> Engine::CreateDevice(const CreateDeviceCall& call) {
  const EndpointSpec& spec = call.spec.link;
  DeviceRecord record{.name = call.name,
                      .uid = NewUid(),
                      .create_time = absl::Now(),
                      .boot_id = kernel_.BootId(),
                      .spec = call.spec,
                      .link = {},
                      .options = call.spec.options,
                      .metadata = call.metadata,
                      .creator = call.context.caller};
  const bool chooses_id = absl::EndsWith(call.name, "/");
  if (chooses_id) {
    absl::StrAppend(&record.name, KindOf(call.spec.options), "-", record.uid.substr(0, 8), record.uid.substr(9, 4));
  }
  NETPROV_ASSIGN_OR_RETURN(std::optional<RequestRecord> answered, Replay(call.context, record.name));
  if (answered.has_value() && answered->device.has_value()) return *answered->device;

  const std::optional<DeviceRecord> existing = registry_.FindDevice(record.name);
  if (existing.has_value()) {
    NETPROV_ASSIGN_OR_RETURN(Device device, Describe(*existing));
    const bool matches = existing->spec == call.spec && existing->metadata == call.metadata;
    if (device.state != State::kMissing) {
      if (!call.allow_existing || !matches) return DeviceAlreadyExists(record.name, matches);
      if (!call.context.validate_only) {
        leases_.Renew(call.metadata.owner);
        NETPROV_RETURN_IF_ERROR(
            RecordAnswer(call.context, record.name, Answer(call.context, std::nullopt, std::nullopt, device)));
      }
      return device;
    }
    // They could never join it there.
    if (existing->link.namespace_id != spec.namespace_id && !device.ports.empty()) {
      return DeviceInUse(record.name, device.ports);
    }
  }

  NETPROV_ASSIGN_OR_RETURN(const NetnsRef netns, Resolve(spec, ""));
  record.netns_cookie = netns.cookie;
  // Nor may what is left of an old one go before it is clear that the new one can be made.
  const bool looks_first = call.context.validate_only || existing.has_value();
  NETPROV_ASSIGN_OR_RETURN(const uint32_t bridge, ResolveBridge(spec, netns, "", looks_first));
  if (looks_first) {
    NETPROV_RETURN_IF_ERROR(ResolveByLooking(spec, ""));
    auto makes_room = [&](const Link& link) -> EngineResult<bool> {
      if (!existing.has_value()) return false;
      return IsLeftOf(*existing, spec.namespace_id, link);
    };
    NETPROV_RETURN_IF_ERROR(CheckOtherNamesAreFree(spec, netns, "", record.name, makes_room));
  }
  for (int attempt = 1;; ++attempt) {
    EngineResult<std::string> name = ChooseName(spec, netns, "", {}, record.name);
    if (!name.ok()) {
      if (NamespaceIsGone(*name.error().kernel)) NETPROV_RETURN_IF_ERROR(ResolveByLooking(spec, ""));
      return std::move(name).error();
    }
    record.link = Projected(spec, *name);
    if (looks_first) NETPROV_RETURN_IF_ERROR(CheckNameIsFree(record, netns, existing));
    LinkSpec link = ToLinkSpec(spec, netns, *name, bridge);
    NETPROV_RETURN_IF_ERROR(AddLower(record, link));
    if (call.context.validate_only) {
      NETPROV_RETURN_IF_ERROR(
          ExpectRoom(record.name, {.kind = Intent::Kind::kCreateDevice, .device = record}, call.context.allowance));
      Device projected = record.ToDevice();
      projected.uid.clear();
      if (chooses_id) projected.name = call.name;
      return projected;
    }
    if (call.context.stopped != nullptr && call.context.stopped()) return Stopped(record.name);
    EngineResult<DeviceRecord> made = MakeDevice(record, link, call.context, /*is_new=*/true, /*replaced=*/existing);
    if (made.ok()) {
      Device device = made->ToDevice();
      device.expire_time = ExpireTimeOf(made->uid);
      device.ports = PortsOf(*made);
      return device;
    }
    if (made.error().reason != Reason::kKernel) return std::move(made).error();
    const KernelError& refusal = *made.error().kernel;
    const bool is_birth = absl::StartsWith(made.error().step, "create ");
    // Of what it does not let be a port of any bridge (IFF_DONT_BRIDGE). Of VLANs that it has not, it says no more than
    // the code.
    const bool is_no_port = bridge != 0 && refusal.code == EOPNOTSUPP &&
                            absl::StartsWith(refusal.operation, "RTM_SETLINK") && !refusal.extack.empty();
    if (is_birth && (is_no_port || IsDeviceRefusal(call.spec.options, refusal))) {
      // As of a bridge that is not there.
      NETPROV_RETURN_IF_ERROR(ResolveBridge(spec, netns, "", /*by_looking=*/true));
      return DeviceRefused(std::move(made).error());
    }
    if (NamespaceIsGone(refusal)) {
      // Gone for a moment, as when somebody mounted another on it: tried again.
      NETPROV_RETURN_IF_ERROR(ResolveByLooking(spec, ""));
    } else if (refusal.code == EEXIST && is_birth) {
      if (!IsPattern(spec.interface_name)) NETPROV_RETURN_IF_ERROR(CheckNameIsFree(record, netns, existing));
    } else if (refusal.code == EEXIST && absl::StartsWith(refusal.operation, "RTM_NEWLINKPROP")) {
      NETPROV_RETURN_IF_ERROR(CheckOtherNamesAreFree(spec, netns, "", record.name));
    } else if (refusal.code != ENODEV) {  // Else somebody deleted it before it was whole.
      return std::move(made).error();
    }
    if (attempt == kMostNamingAttempts) return std::move(made).error();
  }
}

EngineResult<DeviceRecord> Engine::MakeDevice(DeviceRecord record, const LinkSpec& link, const CallContext& context,
                                              bool is_new, const std::optional<DeviceRecord>& replaced) {
  Plan plan;
  if (replaced.has_value()) {
    // It is missing, and stays so where the new one can't be made.
    plan.Add({.name = "delete what is left of " + record.name,
              .run = [&] { return DeleteLinkOf(*replaced); },
              .undo = NothingToUndo,
              .sweep = nullptr});
  }
  plan.Add({.name = BirthOf(record, link),
            .run = [&]() -> KernelResult<void> {
              auto born = kernel_.CreateDevice(link, record.spec.options, TagFor(record));
              // Somebody deleted it before it had its tag: as if that had come first.
              for (int i = 1; i < kMostBirths && !born.ok() && born.error().code == ENODEV; ++i) {
                born = kernel_.CreateDevice(link, record.spec.options, TagFor(record));
              }
              if (!born.ok()) return std::move(born).error();
              record.link = ToEndpoint(record.link, *born);
              record.options = InAskedOrder(record.spec.options, born->device.value_or(record.spec.options));
              record.lower_ifindex = born->lower_ifindex;
              if (auto* vxlan = std::get_if<VxlanOptions>(&record.options); vxlan != nullptr) {
                vxlan->fdb = std::get<VxlanOptions>(record.spec.options).fdb;
              }
              return {};
            },
            .undo = [&] { return UnlessGone(kernel_.DeleteLink(link.netns, record.link.ifindex)); },
            .sweep = [&] { return ToKernelResult(RollBack(record)); }});
  // What it does not know, the kernel passes over.
  plan.Add({.name = "look at the options of " + link.name,
            .run = [&]() -> KernelResult<void> {
              const std::optional<std::string> missing = MissingOption(record.spec.options, record.options);
              if (!missing.has_value()) return {};
              return KernelError{.code = EOPNOTSUPP,
                                 .operation = absl::StrCat("RTM_NEWLINK ", link.name, " ", *missing),
                                 .extack = {}};
            },
            .undo = NothingToUndo,
            .sweep = nullptr});
  AddConfigStep(record.spec.link, link, record.link, plan);
  const Intent intent{.kind = Intent::Kind::kCreateDevice, .netns = {}, .veth = {}, .device = record, .request = {}};
  EngineResult<void> made = Transact(record.name, intent, plan, context.allowance, [&] {
    if (is_new) leases_.Start(record.uid, record.name, record.metadata);
    Device answer = record.ToDevice();
    answer.expire_time = ExpireTimeOf(record.uid);
    answer.ports = PortsOf(record);
    Outcome outcome;
    outcome.put_device = record;
    outcome.request = Answer(context, std::nullopt, std::nullopt, std::move(answer));
    if (replaced.has_value()) outcome.remove_devices = {*replaced};
    return outcome;
  });
  if (made.ok()) {
    if (replaced.has_value()) leases_.End(replaced->uid);
    if (is_new) leases_.Renew(record.metadata.owner);
    return record;
  }
  if (is_new) leases_.End(record.uid);
  return std::move(made).error();
}

EngineResult<Device> Engine::GetDevice(const std::string& name) {
  const std::optional<DeviceRecord> record = registry_.FindDevice(name);
  if (!record.has_value()) return DeviceNotFound(name);
  NETPROV_ASSIGN_OR_RETURN(Device device, Describe(*record));
  if (device.state == State::kMissing && IsBeingDeleted(*record)) return DeviceNotFound(name);
  return device;
}

EngineResult<Page<Device>> Engine::ListDevices(const std::string& collection, const std::string& after, size_t limit) {
  Page<Device> page;
  for (const DeviceRecord& record : registry_.ListDevices()) {
    if (!absl::StartsWith(record.name, collection) || record.name <= after) continue;
    if (page.items.size() == limit) {
      page.more = true;
      break;
    }
    NETPROV_ASSIGN_OR_RETURN(Device device, Describe(record));
    if (device.state == State::kMissing && IsBeingDeleted(record)) continue;
    page.items.push_back(std::move(device));
  }
  return page;
}

EngineResult<void> Engine::DeleteRecordedDevice(const DeviceRecord& record, std::optional<RequestRecord> answer) {
  Plan plan;
  plan.Add({.name = "delete " + record.name, .run = [&] { return DeleteLinkOf(record); }, .undo = nullptr});
  const Intent intent{
      .kind = Intent::Kind::kDeleteDevice, .netns = {}, .veth = {}, .device = record, .request = answer};
  NETPROV_RETURN_IF_ERROR(Transact(record.name, intent, plan, [&] {
    Outcome outcome;
    outcome.remove_devices = {record};
    outcome.request = answer;
    return outcome;
  }));
  leases_.End(record.uid);
  return {};
}

EngineResult<void> Engine::DeleteDevice(const DeleteDeviceCall& call) {
  NETPROV_ASSIGN_OR_RETURN(std::optional<RequestRecord> answered, Replay(call.context, call.name));
  if (answered.has_value()) return {};
  const std::optional<DeviceRecord> record = registry_.FindDevice(call.name);
  if (!record.has_value()) {
    if (!call.allow_missing) return DeviceNotFound(call.name);
    if (call.context.validate_only) return {};
    return RecordAnswer(call.context, call.name, Answer(call.context, std::nullopt, std::nullopt));
  }
  if (const std::vector<std::string> ports = PortsOf(*record); !ports.empty()) return DeviceInUse(call.name, ports);
  if (call.context.validate_only) return {};
  if (call.context.stopped != nullptr && call.context.stopped()) return Stopped(call.name);
  return DeleteRecordedDevice(*record, Answer(call.context, std::nullopt, std::nullopt));
}

EngineResult<void> Engine::HealDevice(const DeviceRecord& record) {
  const EndpointSpec& spec = record.spec.link;
  KernelResult<std::optional<Link>> found = FindLinkOf(record);
  if (!found.ok()) return KernelFailure(record.name, "look at " + record.name, found.error());
  if (found->has_value()) {
    const Link& link = **found;
    const Endpoint made = Expected(record, link);
    DeviceOptions now;
    NETPROV_ASSIGN_OR_RETURN(const LinkDifference difference, FindDifference(record, made, link, now));
    EngineResult<void> healed = Reset(record.name, RefOf(record), made, difference);
    // Then what may have gone with it: a link that goes down loses its IPv6 addresses.
    if (EngineResult<void> supplied = Supply(record.name, RefOf(record), spec, link); !supplied.ok()) healed = supplied;
    // Without its bridge it is no port, whatever was put right.
    EngineResult<uint32_t> bridge = ResolveBridge(spec, RefOf(record), "", /*by_looking=*/true);
    if (!bridge.ok()) healed = std::move(bridge).error();
    return healed;
  }
  EndpointSpec place{.namespace_id = spec.namespace_id, .interface_name = record.link.interface_name};
  NETPROV_ASSIGN_OR_RETURN(const NetnsRef netns, ResolveByLooking(place, ""));
  NETPROV_RETURN_IF_ERROR(CheckNameIsFree(record, netns, record));
  // Before these are there, the device waits.
  NETPROV_ASSIGN_OR_RETURN(const uint32_t bridge, ResolveBridge(spec, netns, "", /*by_looking=*/true));
  LinkSpec link = ToLinkSpec(spec, netns, record.link.interface_name, bridge);
  if (!FollowsLowerMac(record.spec)) link.mac = record.link.mac;
  NETPROV_RETURN_IF_ERROR(AddLower(record, link));
  KernelResult<void> cleared = DeleteStrayLinks(KindOf(record.spec.options), TagFor(record));
  if (!cleared.ok()) return KernelFailure(record.name, "delete what is left of " + record.name, cleared.error());
  DeviceRecord again = record;
  again.boot_id = kernel_.BootId();
  again.netns_cookie = netns.cookie;
  EngineResult<DeviceRecord> made = MakeDevice(again, link, {}, /*is_new=*/false, /*replaced=*/std::nullopt);
  if (!made.ok()) return std::move(made).error();
  return {};
}

EngineResult<void> Engine::RollBack(const DeviceRecord& record) {
  if (record.boot_id != kernel_.BootId()) return {};
  const NetnsRef netns = RefOf(record);
  KernelResult<std::optional<Link>> link = kernel_.FindLink(netns, record.link.interface_name);
  if (!link.ok() && !NamespaceIsGone(link.error())) {
    return KernelFailure(record.name, "look for " + record.link.interface_name, link.error());
  }
  if (!link.ok() || !link->has_value()) return {};
  const Link& left = **link;
  // It is born with the group and gets the alias a moment later.
  const bool may_be_ours = left.group == kOwnedGroup && left.kind == KindOf(record.spec.options) &&
                           (left.alias.empty() || left.alias == TagFor(record));
  // Or another of ours, of which somebody took the tag away.
  if (!may_be_ours || IsRegistered(netns, left.ifindex)) return {};
  KernelResult<void> deleted = kernel_.DeleteLink(netns, left.ifindex);
  if (!deleted.ok() && deleted.error().code != ENODEV) {
    return KernelFailure(record.name, "roll back " + record.name, deleted.error());
  }
  return {};
}

}  // namespace netprov::engine
