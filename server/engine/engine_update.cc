#include <linux/ipv6.h>

#include <cerrno>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/engine/address_translation.h"
#include "server/engine/endpoint.h"
#include "server/engine/engine.h"
#include "server/engine/error.h"
#include "server/engine/link_difference.h"
#include "server/engine/link_update.h"
#include "server/engine/plan.h"
#include "server/engine/tag.h"
#include "server/engine/usage.h"

namespace netprov::engine {
namespace {

// Those of `names` that are not in `others`.
std::vector<std::string> Without(std::vector<std::string> names, const std::vector<std::string>& others) {
  std::erase_if(names, [&](const std::string& name) { return absl::c_linear_search(others, name); });
  return names;
}

bool HaveOtherLimits(const VethSpec& one, const VethSpec& other) {
  auto differ = [](const EndpointConfig& a, const EndpointConfig& b) {
    return a.ingress_limit != b.ingress_limit || a.egress_limit != b.egress_limit;
  };
  return differ(one.a.config, other.a.config) || differ(one.b.config, other.b.config);
}

// Whether something else is translated for an end of the pair, or for the same by another way.
bool HaveOtherNat(const VethSpec& one, const VethSpec& other) {
  auto differ = [](const EndpointSpec& a, const EndpointSpec& b, const EndpointSpec& a_other,
                   const EndpointSpec& b_other) {
    if (!a.config.HasNat() && !b.config.HasNat()) return false;
    return a.config.masquerade != b.config.masquerade || a.config.port_forwards != b.config.port_forwards ||
           a.config.ip.addresses != b.config.ip.addresses || !a_other.config.HasBridgeOf(b_other.config);
  };
  return differ(one.a, other.a, one.b, other.b) || differ(one.b, other.b, one.a, other.a);
}

// Those that are to be switched on by an update.
VethSpec NewForwarding(const VethSpec& old, const VethSpec& wanted) {
  VethSpec added = wanted;
  for (const auto& [end, before] : {std::pair(&added.a, &old.a), std::pair(&added.b, &old.b)}) {
    const bool is_same = before->config.ip_forwarding && before->config.ip.addresses == end->config.ip.addresses;
    if (is_same) end->config.ip_forwarding = false;
  }
  return added;
}

// Whether writing a sysctl changes others too: those of each link, and of forwarding whether redirects are accepted
// (inet_forward_change(), addrconf_fixup_forwarding(), devinet_copy_dflt_conf()).
bool ChangesOthers(const std::string& sysctl) {
  return sysctl == kIpv4ForwardSysctl || absl::StrContains(sysctl, ".conf.all.") ||
         absl::StrContains(sysctl, ".conf.default.");
}

// Takes out of `settings` what comes last of all, as it can't be gone back on without a trace: a link that goes down or
// gets another hardware address loses routes and neighbours of others as well, and the kernel keeps it in mind that
// somebody set a hardware address or an MTU (dev_set_mac_address(), br_change_mtu()).
LinkSettings TakeEnd(const Link& now, LinkSettings& settings) {
  LinkSettings end;
  // A bridge follows the MTU and the hardware address of its ports when they come, and what stands on it does too, and
  // does not come back (br_mtu_auto_adjust(), vlan_device_event()); nor does it forward for one that shall be down.
  if (settings.master.value_or(0) != 0) return end;
  // As IPv6 comes to a link, it gets an address by its hardware address (addrconf_notify()), and may get others.
  if (now.mtu < IPV6_MIN_MTU && settings.mtu.value_or(0) >= IPV6_MIN_MTU) return end;
  end.mtu = std::exchange(settings.mtu, std::nullopt);
  // One that comes up has nothing to lose, and some kinds keep their hardware address from then on
  // (eth_prepare_mac_addr_change()).
  if (settings.up == true) return end;
  end.up = std::exchange(settings.up, std::nullopt);
  end.mac = std::exchange(settings.mac, std::nullopt);
  return end;
}

// Whether a link that gets these may lose addresses, routes or neighbours: its routes and its IPv6 addresses when it
// goes down, or below the least MTU of IPv6, and neighbours with its hardware address (neigh_changeaddr()).
bool MayLoseConfig(const LinkSettings& settings) {
  return settings.up.has_value() || settings.mtu.has_value() || settings.mac.has_value();
}

// Those that go with the link.
IpConfig OnLink(IpConfig ip) {
  std::erase_if(ip.routes, [](const RouteSpec& route) { return !route.through_link(); });
  return ip;
}

}  // namespace

// A link on its way from one shape to another.
struct Engine::LinkTurn {
  std::string field;  // of it in its object, as in `endpoint_a`; empty: the object is the link
  NetnsRef netns;
  uint32_t ifindex = 0;
  std::string name;
  std::string tag;
  LinkShape from;  // as it is, as far as it was asked for
  LinkShape to;
  Link turned;  // as it is then
  bool is_back = false;

  // What its end is about (TakeEnd()).
  bool HasEnd() const {
    return to.link.mac != from.link.mac || to.link.mtu != from.link.mtu || to.link.up != from.link.up;
  }
  std::string BeginningName() const { return "update " + name; }
  std::string EndName() const { return "finish the update of " + name; }
  std::vector<RouteSpec> RoutesGained() const {
    return RoutesWithoutLinkOf(Missing(to.link.config.WholeIp(), from.link.config.WholeIp()));
  }
  std::vector<RouteSpec> RoutesLost() const {
    return RoutesWithoutLinkOf(Missing(from.link.config.WholeIp(), to.link.config.WholeIp()));
  }
  LinkTurn Back() const {
    LinkTurn back = *this;
    std::swap(back.from, back.to);
    back.is_back = true;
    return back;
  }
};

KernelResult<uint32_t> Engine::BridgeIndex(const EndpointSpec& spec, const NetnsRef& netns) {
  if (spec.config.bridge_interface.empty()) {
    const std::optional<DeviceRecord> record = registry_.FindDevice(spec.config.bridge);
    return record.has_value() ? record->link.ifindex : 0;
  }
  EngineResult<uint32_t> bridge = ResolveForeignBridge(spec, netns, "");
  if (bridge.ok()) return *bridge;
  const bool is_known = bridge.error().reason != Reason::kKernel || NamespaceIsGone(*bridge.error().kernel);
  return is_known ? KernelResult<uint32_t>(0) : *std::move(bridge.error().kernel);
}

KernelResult<void> Engine::SetDefaultVlans(const EndpointSpec& spec, const NetnsRef& netns, const Link& link,
                                           LinkSettings& settings) {
  NETPROV_ASSIGN_OR_RETURN(const uint32_t ifindex, BridgeIndex(spec, netns));
  if (ifindex == 0 || link.master_ifindex != ifindex) return {};
  NETPROV_ASSIGN_OR_RETURN(const std::optional<Link> bridge, kernel_.FindLink(netns, ifindex));
  if (!bridge.has_value() || !bridge->device.has_value()) return {};
  const auto* options = std::get_if<netlink::BridgeInfo>(&*bridge->device);
  if (options == nullptr) return {};
  const uint16_t vlan = options->default_pvid.value_or(1);
  settings.no_vlans = vlan == 0;
  if (vlan != 0) settings.port.vlans = {{.first = vlan, .last = vlan, .pvid = true, .untagged = true}};
  return {};
}

KernelResult<Link> Engine::Turn(const LinkTurn& turn) {
  NETPROV_ASSIGN_OR_RETURN(const Link before, LookAt(turn));
  const EndpointConfig& from = turn.from.link.config;
  const EndpointConfig& to = turn.to.link.config;
  const bool needs_bridge = to.IsPort() && (turn.is_back || !to.HasBridgeOf(from));
  uint32_t bridge = 0;
  if (needs_bridge) {
    NETPROV_ASSIGN_OR_RETURN(bridge, BridgeIndex(turn.to.link, turn.netns));
    if (bridge == 0 && !turn.is_back) {
      const std::string& name = to.bridge.empty() ? to.bridge_interface : to.bridge;
      return KernelError{.code = ENODEV, .operation = "RTM_GETLINK " + name, .extack = {}};
    }
  }
  LinkSettings settings = SettingsBetween(turn.from, turn.to, bridge);
  // The kernel has both in one, so that the tag comes back with the text if somebody took it away.
  if (from.options.alias != to.options.alias) settings.alias = JoinAlias(turn.tag, to.options.alias);
  if (turn.is_back && to.IsPort()) {
    bool is_port = bridge != 0 && before.master_ifindex == bridge;
    // What was a port of a bridge that is gone since goes back to be a port of none.
    if (settings.master.has_value()) {
      const EngineResult<uint32_t> there = ResolveBridge(turn.to.link, turn.netns, "", /*by_looking=*/true);
      if (!there.ok() && there.error().reason == Reason::kKernel) return *there.error().kernel;
      is_port = there.ok();
      settings.master = there.ok() ? *there : 0;
    }
    if (is_port) {
      // One that was to get VLANs, or to be a port of another bridge, and has none to go back to had none.
      settings.no_vlans = to.port.vlans.empty() && (settings.master.has_value() || !from.port.vlans.empty());
    } else {
      // Nor is anything set of what is no port of it any more.
      settings.port = {};
    }
  }
  const bool loses_vlans =
      !turn.is_back && !needs_bridge && to.IsPort() && to.port.vlans.empty() && !from.port.vlans.empty();
  if (loses_vlans) NETPROV_RETURN_IF_ERROR(SetDefaultVlans(turn.to.link, turn.netns, before, settings));
  // An earlier way back may have come so far, and no further.
  const bool may_have_lost = turn.is_back && MayLoseConfig(settings);
  // Where the kernel refused the way there, the way back would be refused as well.
  LeaveOutWhatIs(before, settings);
  if (!turn.is_back) TakeEnd(before, settings);
  const bool may_lose = may_have_lost || MayLoseConfig(settings);
  if (settings != LinkSettings()) NETPROV_RETURN_IF_ERROR(kernel_.SetLink(turn.netns, turn.ifindex, settings));

  const IpChange change = ChangeBetween(OnLink(from.WholeIp()), OnLink(to.WholeIp()));
  const std::vector<std::string> names =
      Without(Without(to.alternative_names, from.alternative_names), before.alternative_names);
  const std::vector<std::string> names_lost = Without(from.alternative_names, to.alternative_names);
  if (!change.in_the_way.empty()) {
    NETPROV_RETURN_IF_ERROR(kernel_.Unconfigure(turn.netns, turn.ifindex, {}, change.in_the_way));
  }
  if (!change.gained.empty() || !names.empty()) {
    NETPROV_RETURN_IF_ERROR(kernel_.Configure(turn.netns, turn.ifindex, names, change.gained, /*anew=*/true));
  }
  if (!change.lost.empty() || !names_lost.empty()) {
    NETPROV_RETURN_IF_ERROR(kernel_.Unconfigure(turn.netns, turn.ifindex, names_lost, change.lost));
  }
  // An address may take others and routes with it.
  if (may_lose || !change.empty()) NETPROV_RETURN_IF_ERROR(BringBackLost(turn));
  return LookAt(turn);
}

KernelResult<Link> Engine::EndTurn(const LinkTurn& turn) {
  NETPROV_ASSIGN_OR_RETURN(const Link before, LookAt(turn));
  LinkSettings settings = SettingsBetween(turn.from, turn.to, /*bridge=*/0);
  LeaveOutWhatIs(before, settings);
  LinkSettings end = TakeEnd(before, settings);
  if (end == LinkSettings()) return before;
  // An MTU may be refused, as one above that of what the link stands on: before anything is lost.
  if (end.mtu.has_value()) {
    NETPROV_RETURN_IF_ERROR(kernel_.SetLink(turn.netns, turn.ifindex, {.mtu = std::exchange(end.mtu, std::nullopt)}));
  }
  if (end != LinkSettings()) NETPROV_RETURN_IF_ERROR(kernel_.SetLink(turn.netns, turn.ifindex, end));
  NETPROV_RETURN_IF_ERROR(BringBackLost(turn));
  return LookAt(turn);
}

KernelResult<Link> Engine::LookAt(const LinkTurn& turn) {
  NETPROV_ASSIGN_OR_RETURN(std::optional<Link> link, kernel_.FindLink(turn.netns, turn.ifindex));
  if (link.has_value()) return *std::move(link);
  return KernelError{.code = ENODEV, .operation = "RTM_GETLINK " + turn.name, .extack = {}};
}

KernelResult<void> Engine::BringBackLost(const LinkTurn& turn) {
  const IpConfig wanted = OnLink(turn.to.link.config.WholeIp());
  if (wanted.empty()) return {};
  NETPROV_ASSIGN_OR_RETURN(const IpConfig now, kernel_.FindIpConfig(turn.netns, turn.ifindex));
  const IpConfig missing = Missing(wanted, now);
  if (missing.empty()) return {};
  return kernel_.Configure(turn.netns, turn.ifindex, {}, missing, /*anew=*/true);
}

EngineResult<void> Engine::PrepareTurn(const std::string& object, const std::string& tag, const Endpoint& made,
                                       const Link& link, LinkTurn& turn) {
  const EndpointSpec old = turn.from.link;
  EndpointSpec& wanted = turn.to.link;
  NETPROV_ASSIGN_OR_RETURN(const LinkDifference difference,
                           FindDifference(object, turn.field, turn.netns, made, old, tag, link));
  NETPROV_ASSIGN_OR_RETURN(const Shortage shortage, FindShortage(object, turn.netns, old, link));
  const bool changes_bridge = !wanted.config.HasBridgeOf(old.config);
  if (changes_bridge) NETPROV_RETURN_IF_ERROR(ResolveBridge(wanted, turn.netns, turn.field, /*by_looking=*/true));
  EndpointSpec gained = wanted;
  gained.config.alternative_names = Without(wanted.config.alternative_names, old.config.alternative_names);
  gained.config.ip.routes = turn.RoutesGained();
  NETPROV_RETURN_IF_ERROR(CheckOtherNamesAreFree(gained, turn.netns, turn.field, object));
  NETPROV_RETURN_IF_ERROR(ExpectNoRoutesWithoutLink(object, gained, turn.netns, turn.RoutesLost()));

  std::vector<netlink::BridgeVlan> vlans = difference.vlans;
  // Also those that nobody has asked for are to be gone back to. With its bridge, a port loses them.
  const bool may_lose_vlans = !wanted.config.port.vlans.empty() || changes_bridge;
  if (vlans.empty() && link.port.has_value() && may_lose_vlans) {
    auto by_port = kernel_.ListPortVlans(turn.netns);
    if (!by_port.ok()) return KernelFailure(object, "look at the VLANs of " + link.name, by_port.error());
    vlans = (*by_port)[link.ifindex];
  }
  const LinkShape asked = turn.from;
  turn.from = Former(asked, turn.to, link, vlans);
  RemoveLostEntries(asked, turn.from, turn.to);
  if (changes_bridge && !difference.is_port) {
    NETPROV_RETURN_IF_ERROR(NameBridge(object, turn.netns, link.master_ifindex, turn.from.link.config));
  }
  // What somebody else took away, an update of something else neither brings back nor takes away again.
  for (EndpointConfig* config : {&turn.from.link.config, &turn.to.link.config}) {
    config->Remove(shortage.ip);
    config->alternative_names = Without(config->alternative_names, shortage.alternative_names);
  }
  return {};
}

EngineResult<void> Engine::NameBridge(const std::string& object, const NetnsRef& netns, uint32_t ifindex,
                                      EndpointConfig& config) {
  config.LeaveBridge();
  if (ifindex == 0) return {};
  KernelResult<std::optional<Link>> bridge = kernel_.FindLink(netns, ifindex);
  if (!bridge.ok()) return KernelFailure(object, "look at its bridge", bridge.error());
  if (!bridge->has_value() || (*bridge)->kind != "bridge") return {};
  for (const DeviceRecord& record : registry_.ListDevicesOf(netns.key())) {
    if (!IsRecordOf(record, netns, **bridge)) continue;
    config.bridge = record.name;
    return {};
  }
  config.bridge_interface = (*bridge)->name;
  return {};
}

void Engine::AddTurn(LinkTurn& turn, Plan& plan) {
  auto back = [this, &turn]() -> KernelResult<void> {
    KernelResult<Link> turned = Turn(turn.Back());
    return turned.ok() ? KernelResult<void>() : UnlessGone(std::move(turned).error());
  };
  plan.Add({.name = turn.BeginningName(),
            .run = [this, &turn]() -> KernelResult<void> {
              KernelResult<Link> turned = Turn(turn);
              if (turned.ok()) {
                turn.turned = *std::move(turned);
                return {};
              }
              // Some of it may be done.
              turned.error().may_have_effect = true;
              return std::move(turned).error();
            },
            .undo = back,
            .sweep = back});
  // What it does not know, the kernel passes over.
  plan.Add({.name = "look at what became of " + turn.name,
            .run = [&turn]() -> KernelResult<void> {
              auto missing = [&turn](const std::string& what) {
                return KernelError{
                    .code = EOPNOTSUPP, .operation = absl::StrCat("RTM_NEWLINK ", turn.name, " ", what), .extack = {}};
              };
              const LinkSettings asked = SettingsBetween(turn.from, turn.to, /*bridge=*/0);
              const char* limit = MissingLimit(asked.limits, turn.turned.options.limits);
              if (limit != nullptr) return missing(limit);
              if (!asked.device.has_value() || !turn.turned.device.has_value()) return {};
              const std::optional<std::string> option = MissingOption(*asked.device, *turn.turned.device);
              return option.has_value() ? missing(*option) : KernelResult<void>();
            },
            .undo = NothingToUndo,
            .sweep = nullptr});
  // First, as others may take their place.
  if (const std::vector<RouteSpec> lost = turn.RoutesLost(); !lost.empty()) {
    auto add = [this, &turn, lost] { return AddMissingRoutes(turn.netns, lost); };
    plan.Add({.name = absl::StrCat("delete routes of ", turn.name, " without a link"),
              .run = [this, &turn, lost] { return kernel_.DeleteRoutes(turn.netns, lost); },
              .undo = add,
              .sweep = add});
  }
  if (const std::vector<RouteSpec> gained = turn.RoutesGained(); !gained.empty()) {
    auto remove = [this, &turn, gained] { return UnlessGone(kernel_.DeleteRoutes(turn.netns, gained)); };
    plan.Add({.name = absl::StrCat("add the routes of ", turn.name, " without a link"),
              .run = [this, &turn, gained] { return kernel_.AddRoutes(turn.netns, gained); },
              .undo = remove,
              .sweep = remove});
  }
}

void Engine::AddEndOfTurn(LinkTurn& turn, Plan& plan) {
  if (!turn.HasEnd()) return;
  // The way back of the beginning is the end's too.
  plan.Add({.name = turn.EndName(),
            .run = [this, &turn]() -> KernelResult<void> {
              NETPROV_ASSIGN_OR_RETURN(turn.turned, EndTurn(turn));
              return {};
            },
            .undo = NothingToUndo,
            .sweep = nullptr});
}

KernelResult<void> Engine::AddMissingRoutes(const NetnsRef& netns, std::vector<RouteSpec> routes) {
  NETPROV_ASSIGN_OR_RETURN(const std::vector<RouteSpec> there, kernel_.ListRoutesWithoutLink(netns));
  std::erase_if(routes, [&](const RouteSpec& route) { return absl::c_linear_search(there, route); });
  return routes.empty() ? KernelResult<void>() : kernel_.AddRoutes(netns, routes);
}

KernelResult<void> Engine::TurnBack(const LinkTurn& turn) {
  KernelResult<Link> turned = Turn(turn.Back());
  if (!turned.ok()) NETPROV_RETURN_IF_ERROR(UnlessGone(std::move(turned).error()));
  if (const std::vector<RouteSpec> gained = turn.RoutesGained(); !gained.empty()) {
    NETPROV_RETURN_IF_ERROR(UnlessGone(kernel_.DeleteRoutes(turn.netns, gained)));
  }
  if (const std::vector<RouteSpec> lost = turn.RoutesLost(); !lost.empty()) {
    NETPROV_RETURN_IF_ERROR(UnlessGone(AddMissingRoutes(turn.netns, lost)));
  }
  return {};
}

EngineResult<void> Engine::FinishEarlierUpdate(const std::string& object, const std::string& uid) {
  std::vector<PendingIntent> earlier = registry_.ListPending();
  {
    std::lock_guard<std::mutex> lock(mutex_);
    std::erase_if(earlier, [&](const PendingIntent& item) {
      return UidOf(item.intent) != uid || !IsUpdate(item.intent) || !unfinished_.contains(item.sequence);
    });
  }
  if (earlier.empty()) return {};
  HostReport report;
  FinishIntents(earlier, /*look_only=*/false, report);
  for (const Finding& finding : report.findings) {
    if (finding.kind != Finding::Kind::kUnfinished) continue;
    return RollbackFailure(object, "an earlier update failed", {finding.detail});
  }
  return {};
}

// The endpoint of a link that has become another.
static Endpoint TurnedEndpoint(Endpoint made, const EndpointSpec& old, const EndpointSpec& wanted, const Link& turned) {
  if (wanted.mac != old.mac) made.mac = turned.mac;
  if (wanted.mtu != old.mtu) made.mtu = turned.mtu;
  made.up = wanted.up;
  if (!wanted.config.HasBridgeOf(old.config) || wanted.config.port != old.config.port) {
    made.config.port.settings = turned.port.value_or(netlink::BridgePort());
  }
  return made;
}

void Engine::ChangeLease(const std::string& uid, const std::string& object, const Metadata& from, const Metadata& to) {
  if (from.owner == to.owner && from.ttl == to.ttl) {
    leases_.Renew(to.owner);
    return;
  }
  leases_.End(uid);
  leases_.Start(uid, object, to);
}

EngineResult<Veth> Engine::UpdateVeth(const UpdateVethCall& call) {
  const std::string object = VethName(call.id);
  NETPROV_ASSIGN_OR_RETURN(std::optional<RequestRecord> answered, Replay(call.context, object));
  if (answered.has_value() && answered->veth.has_value()) return *answered->veth;
  const std::optional<VethRecord> record = registry_.FindVeth(call.id);
  if (!record.has_value() || !HoldsPlacesOf(*record, call.context)) return VethNotFound(call.id);
  if (!call.context.validate_only) NETPROV_RETURN_IF_ERROR(FinishEarlierUpdate(object, record->uid));
  auto wanted = call.edit({.spec = record->spec, .metadata = record->metadata});
  if (!wanted.ok()) return InvalidChange(object, std::move(wanted).error());

  const bool is_one_place = record->a.netns_key() == record->b.netns_key();
  NETPROV_RETURN_IF_ERROR(ExpectPlaceForNat(object, wanted->spec, is_one_place));

  VethRecord updated = *record;
  updated.spec = wanted->spec;
  updated.metadata = wanted->metadata;
  std::vector<LinkTurn> turns;
  struct End {
    const char* field;
    const EndpointSpec* old;
    const EndpointSpec* wanted;
    const Endpoint* made;
    const Endpoint* other;
  };
  const End ends[] = {{"endpoint_a", &record->spec.a, &updated.spec.a, &record->a, &record->b},
                      {"endpoint_b", &record->spec.b, &updated.spec.b, &record->b, &record->a}};
  for (const End& end : ends) {
    if (*end.wanted == *end.old) continue;
    KernelResult<std::optional<Link>> link = FindEnd(*record, *end.made, *end.other);
    if (!link.ok()) return KernelFailure(object, "look at " + object, link.error());
    if (!link->has_value()) return ObjectMissing(object);
    LinkTurn turn{.field = end.field,
                  .netns = RefOf(*record, *end.made),
                  .ifindex = end.made->ifindex,
                  .name = (*link)->name,
                  .tag = TagFor(*record),
                  .from = {.link = *end.old, .options = std::nullopt},
                  .to = {.link = *end.wanted, .options = std::nullopt},
                  .turned = {}};
    NETPROV_RETURN_IF_ERROR(PrepareTurn(object, TagFor(*record), *end.made, **link, turn));
    // As what somebody else took away.
    const IpConfig taken{.routes = RoutesOfOthers(*record, *end.made)};
    for (LinkShape* shape : {&turn.from, &turn.to}) shape->link.config.Remove(taken);
    turns.push_back(std::move(turn));
  }
  const bool translates_otherwise = HaveOtherNat(record->spec, updated.spec);
  auto check_nat = [&]() -> EngineResult<void> {
    if (!translates_otherwise) return {};
    return CheckNatIsFree(object, updated, RefOf(*record, record->a), RefOf(*record, record->b), {record->uid});
  };
  NETPROV_RETURN_IF_ERROR(check_nat());
  if (call.context.validate_only) {
    NETPROV_RETURN_IF_ERROR(
        ExpectRoom(object, {.kind = Intent::Kind::kUpdateVeth, .veth = updated}, call.context.allowance));
    Veth projected = updated.ToVeth();
    projected.a = Projected(updated.spec.a, record->a);
    projected.b = Projected(updated.spec.b, record->b);
    projected.expire_time = ExpireTimeOf(record->uid);
    return projected;
  }
  if (call.context.stopped != nullptr && call.context.stopped()) return Stopped(object);
  Plan plan;
  Intent intent{.kind = Intent::Kind::kUpdateVeth, .netns = {}, .veth = updated, .device = {}, .request = {}};
  intent.former.veth = record->spec;
  intent.usage_after = UsageOf(updated);
  for (LinkTurn& turn : turns) {
    const bool is_a = turn.field == "endpoint_a";
    (is_a ? intent.former.veth.a : intent.former.veth.b) = turn.from.link;
    (is_a ? intent.veth.spec.a : intent.veth.spec.b) = turn.to.link;
    AddTurn(turn, plan);
  }
  VethRecord limited_before = *record;
  if (HaveOtherLimits(record->spec, updated.spec)) {
    auto back = [&] { return UnlessGone(ApplyShaping(limited_before, updated.spec)); };
    plan.Add({.name = "limit the rates of " + object,
              .run = [&]() -> KernelResult<void> {
                KernelResult<void> limited = ApplyShaping(updated, record->spec);
                // Some of it may be done.
                if (!limited.ok()) limited.error().may_have_effect = true;
                return limited;
              },
              .undo = back,
              .sweep = back});
  }
  if (translates_otherwise) {
    auto back = [&] { return UnlessGone(ApplyNat(*record)); };
    plan.Add({.name = "translate addresses of " + object,
              .run = [&]() -> KernelResult<void> {
                KernelResult<void> translated = ApplyNat(updated);
                // Some of it may be done.
                if (!translated.ok()) translated.error().may_have_effect = true;
                return translated;
              },
              .undo = back,
              .sweep = back});
  }
  const VethSpec forwarding = NewForwarding(record->spec, updated.spec);
  NETPROV_RETURN_IF_ERROR(
      FindForwarding(object, forwarding, RefOf(*record, record->a), RefOf(*record, record->b), intent.former));
  AddForwardingSteps(updated, intent.former, plan);
  for (LinkTurn& turn : turns) AddEndOfTurn(turn, plan);
  Veth answer;
  EngineResult<void> done = Transact(object, intent, plan, call.context.allowance, [&] {
    for (const LinkTurn& turn : turns) {
      const bool is_a = turn.field == "endpoint_a";
      Endpoint& made = is_a ? updated.a : updated.b;
      made = TurnedEndpoint(made, is_a ? record->spec.a : record->spec.b, is_a ? updated.spec.a : updated.spec.b,
                            turn.turned);
    }
    ChangeLease(updated.uid, object, record->metadata, updated.metadata);
    EngineResult<Veth> now = Describe(updated);
    answer = now.ok() ? *std::move(now) : updated.ToVeth();
    answer.expire_time = ExpireTimeOf(updated.uid);
    return Outcome{.put_veth = updated, .request = Answer(call.context, std::nullopt, answer)};
  });
  if (done.ok()) return answer;
  if (done.error().reason == Reason::kQuotaExceeded) return std::move(done).error();
  ChangeLease(updated.uid, object, updated.metadata, record->metadata);
  if (done.error().reason == Reason::kKernel && done.error().kernel->code == EEXIST) {
    NETPROV_RETURN_IF_ERROR(check_nat());
  }
  return std::move(done).error();
}

bool Engine::IsRefusedTurn(const DeviceOptions& options, const LinkTurn& turn, const Error& error) {
  if (error.reason != Reason::kKernel) return false;
  if (error.step != turn.BeginningName() && error.step != turn.EndName()) return false;
  // Addresses and routes are a part of the step.
  for (const char* of_ip : {"RTM_NEWADDR", "RTM_DELADDR", "RTM_NEWROUTE", "RTM_DELROUTE"}) {
    if (absl::StartsWith(error.kernel->operation, of_ip)) return false;
  }
  if (IsDeviceRefusal(options, *error.kernel)) return true;
  // Of VLANs that it has not, the kernel says nothing else.
  const bool has_other_vlans = turn.to.link.config.port.vlans != turn.from.link.config.port.vlans;
  if (has_other_vlans && error.kernel->extack.empty()) return false;
  // The kind is there, so it is about what was asked of it.
  return !std::holds_alternative<netlink::BridgeInfo>(options) && error.kernel->code == EOPNOTSUPP &&
         (absl::StartsWith(error.kernel->operation, "RTM_NEWLINK") ||
          absl::StartsWith(error.kernel->operation, "RTM_SETLINK"));
}

EngineResult<Device> Engine::UpdateDevice(const UpdateDeviceCall& call) {
  NETPROV_ASSIGN_OR_RETURN(std::optional<RequestRecord> answered, Replay(call.context, call.name));
  if (answered.has_value() && answered->device.has_value()) return *answered->device;
  const std::optional<DeviceRecord> record = registry_.FindDevice(call.name);
  if (!record.has_value() || !HoldsPlacesOf(*record, call.context)) return DeviceNotFound(call.name);
  if (!call.context.validate_only) NETPROV_RETURN_IF_ERROR(FinishEarlierUpdate(call.name, record->uid));
  auto wanted = call.edit({.spec = record->spec, .metadata = record->metadata});
  if (!wanted.ok()) return InvalidChange(call.name, std::move(wanted).error());

  DeviceRecord updated = *record;
  updated.spec = wanted->spec;
  updated.metadata = wanted->metadata;
  std::optional<LinkTurn> turn;
  if (updated.spec != record->spec) {
    KernelResult<std::optional<Link>> link = FindLinkOf(*record);
    if (!link.ok()) return KernelFailure(call.name, "look at " + call.name, link.error());
    if (!link->has_value()) return ObjectMissing(call.name);
    turn = LinkTurn{.field = "",
                    .netns = RefOf(*record),
                    .ifindex = record->link.ifindex,
                    .name = (*link)->name,
                    .tag = TagFor(*record),
                    .from = {.link = record->spec.link, .options = record->spec.options},
                    .to = {.link = updated.spec.link, .options = updated.spec.options},
                    .turned = {}};
    if ((*link)->device.has_value()) NETPROV_RETURN_IF_ERROR(LookAtFdb(*record, **link, *(*link)->device));
    NETPROV_RETURN_IF_ERROR(PrepareTurn(call.name, TagFor(*record), record->link, **link, *turn));
  }
  if (call.context.validate_only) {
    NETPROV_RETURN_IF_ERROR(
        ExpectRoom(call.name, {.kind = Intent::Kind::kUpdateDevice, .device = updated}, call.context.allowance));
    Device projected = updated.ToDevice();
    projected.link = Projected(updated.spec.link, record->link);
    projected.options = updated.spec.options;
    projected.ports = PortsOf(*record);
    projected.expire_time = ExpireTimeOf(record->uid);
    return projected;
  }
  if (call.context.stopped != nullptr && call.context.stopped()) return Stopped(call.name);
  Plan plan;
  Intent intent{.kind = Intent::Kind::kUpdateDevice, .netns = {}, .veth = {}, .device = updated, .request = {}};
  intent.former.device = record->spec;
  intent.usage_after = UsageOf(updated);
  if (turn.has_value()) {
    intent.former.device = {.link = turn->from.link, .options = *turn->from.options};
    intent.device.spec = {.link = turn->to.link, .options = *turn->to.options, .lower = updated.spec.lower};
    AddTurn(*turn, plan);
    AddEndOfTurn(*turn, plan);
  }
  Device answer;
  EngineResult<void> done = Transact(call.name, intent, plan, call.context.allowance, [&] {
    if (turn.has_value()) {
      updated.link = TurnedEndpoint(updated.link, record->spec.link, updated.spec.link, turn->turned);
      updated.options = turn->turned.device.value_or(updated.spec.options);
      if (auto* vxlan = std::get_if<VxlanOptions>(&updated.options); vxlan != nullptr) {
        vxlan->fdb = std::get<VxlanOptions>(updated.spec.options).fdb;
      }
    }
    ChangeLease(updated.uid, call.name, record->metadata, updated.metadata);
    EngineResult<Device> now = Describe(updated);
    answer = now.ok() ? *std::move(now) : updated.ToDevice();
    answer.ports = PortsOf(updated);
    answer.expire_time = ExpireTimeOf(updated.uid);
    Outcome outcome;
    outcome.put_device = updated;
    outcome.request = Answer(call.context, std::nullopt, std::nullopt, answer);
    return outcome;
  });
  if (done.ok()) return answer;
  if (done.error().reason == Reason::kQuotaExceeded) return std::move(done).error();
  ChangeLease(updated.uid, call.name, updated.metadata, record->metadata);
  if (turn.has_value() && IsRefusedTurn(updated.spec.options, *turn, done.error())) {
    if (!updated.spec.link.config.HasBridgeOf(record->spec.link.config)) {
      // As of a bridge that is not there.
      NETPROV_RETURN_IF_ERROR(ResolveBridge(updated.spec.link, turn->netns, "", /*by_looking=*/true));
    }
    return DeviceRefused(std::move(done).error());
  }
  return std::move(done).error();
}

EngineResult<Sysctls> Engine::FindFormerSysctls(const std::string& object, const NetnsRef& netns,
                                                const Sysctls& asked) {
  if (asked.empty()) return Sysctls();
  Sysctls looked_for = asked;
  // It has two names.
  if (asked.contains(LinkForwardSysctl(kIpv4ForwardSysctl, "all"))) looked_for.emplace(kIpv4ForwardSysctl, "");
  if (looked_for.contains(kIpv4ForwardSysctl)) looked_for.emplace(kIpv4RedirectsSysctl, "");
  KernelResult<Sysctls> now = kernel_.FindSysctls(netns, looked_for);
  if (!now.ok()) return KernelFailure(object, "read the sysctls", now.error());
  NETPROV_RETURN_IF_ERROR(FindLinkForwarding(object, netns, *now));
  return *std::move(now);
}

KernelResult<void> Engine::PutSysctlsBack(const NetnsRef& netns, const Sysctls& former) {
  KernelResult<void> set = kernel_.SetSysctls(netns, former);
  if (set.ok() || set.error().code != EOPNOTSUPP) return set;
  NETPROV_ASSIGN_OR_RETURN(const Sysctls there, kernel_.FindSysctls(netns, former));
  Sysctls left = former;
  std::erase_if(left, [&there](const auto& item) { return !there.contains(item.first); });
  return kernel_.SetSysctls(netns, left);
}

EngineResult<Namespace> Engine::UpdateNamespace(const UpdateNamespaceCall& call) {
  const std::string object = NamespaceName(call.id);
  NETPROV_ASSIGN_OR_RETURN(std::optional<RequestRecord> answered, Replay(call.context, object));
  if (answered.has_value() && answered->netns.has_value()) return *answered->netns;
  const std::optional<NamespaceRecord> record = registry_.FindNamespace(call.id);
  if (!record.has_value()) {
    NETPROV_ASSIGN_OR_RETURN(const std::optional<NetnsEntry> entry, FindNetns(call.id));
    if (!entry.has_value()) return NamespaceNotFound(call.id);
    return entry->is_netns ? NamespaceNotManaged(call.id) : NamespaceFileStale(call.id);
  }
  if (!call.context.validate_only) NETPROV_RETURN_IF_ERROR(FinishEarlierUpdate(object, record->uid));
  auto wanted = call.edit({.spec = record->spec, .metadata = record->metadata});
  if (!wanted.ok()) return InvalidChange(object, std::move(wanted).error());
  if (record->adoption.has_value() && wanted->metadata.persistent) {
    return InvalidChange(object, {{.field = "namespace.metadata.persistent", .description = kAdoptedIsNotPersistent}});
  }

  NamespaceRecord updated = *record;
  updated.spec = wanted->spec;
  updated.metadata = wanted->metadata;
  const NetnsRef netns{.name = record->id, .cookie = record->cookie};
  // Of what is not asked for any more, the present value stays.
  Sysctls changed = updated.spec.sysctls;
  std::erase_if(changed, [&](const auto& item) {
    const auto old = record->spec.sysctls.find(item.first);
    return old != record->spec.sysctls.end() && old->second == item.second;
  });
  Sysctls former;
  Sysctls written = changed;
  if (!changed.empty()) {
    NETPROV_ASSIGN_OR_RETURN(const std::optional<NetnsEntry> entry, FindNetns(call.id));
    if (!IsThere(*record, entry)) return NamespaceMissing(call.id);
    Sysctls looked_for = changed;
    const bool changes_others = absl::c_any_of(changed, [](const auto& item) { return ChangesOthers(item.first); });
    if (changes_others) {
      looked_for.insert(updated.spec.sysctls.begin(), updated.spec.sysctls.end());
      looked_for.insert(record->spec.sysctls.begin(), record->spec.sysctls.end());
    }
    NETPROV_ASSIGN_OR_RETURN(former, FindFormerSysctls(object, netns, looked_for));
    // Those that are asked for as before are written again, as the kernel may change them with the others, to what they
    // are now: what somebody else changed of them stays so.
    for (const auto& [name, value] : former) {
      if (changes_others && updated.spec.sysctls.contains(name)) written.emplace(name, value);
    }
  }
  const bool has_other_dns = updated.spec.dns != record->spec.dns;
  if (has_other_dns) {
    NETPROV_ASSIGN_OR_RETURN(const std::optional<NetnsEntry> entry, FindNetns(call.id));
    if (!IsThere(*record, entry)) return NamespaceMissing(call.id);
    NETPROV_RETURN_IF_ERROR(PrepareDns(record, updated));
  }
  if (call.context.validate_only) {
    Namespace projected = updated.ToNamespace();
    projected.expire_time = ExpireTimeOf(record->uid);
    return projected;
  }
  if (call.context.stopped != nullptr && call.context.stopped()) return Stopped(object);
  Plan plan;
  if (!changed.empty()) {
    auto back = [&] { return UnlessGone(PutSysctlsBack(netns, former)); };
    plan.Add({.name = "set the sysctls",
              .run =
                  [&] {
                    KernelResult<void> set = kernel_.SetSysctls(netns, written);
                    // Those before it may be set.
                    if (!set.ok()) set.error().may_have_effect = true;
                    return set;
                  },
              .undo = back,
              .sweep = back});
  }
  if (has_other_dns) {
    auto back = [&] { return WriteDns(updated, record->spec.dns); };
    plan.Add({.name = "write the DNS files",
              .run = [&] { return WriteDns(updated, updated.spec.dns); },
              .undo = back,
              .sweep = back});
  }
  Intent intent{.kind = Intent::Kind::kUpdateNamespace, .netns = updated, .veth = {}, .device = {}, .request = {}};
  intent.former.netns.sysctls = former;
  Namespace answer;
  EngineResult<void> done = Transact(object, intent, plan, [&] {
    ChangeLease(updated.uid, object, record->metadata, updated.metadata);
    EngineResult<Namespace> now = Describe(call.id, updated);
    answer = now.ok() ? *std::move(now) : updated.ToNamespace();
    answer.expire_time = ExpireTimeOf(updated.uid);
    return Outcome{.put_namespaces = {updated}, .request = Answer(call.context, answer, std::nullopt)};
  });
  if (done.ok()) return answer;
  ChangeLease(updated.uid, object, updated.metadata, record->metadata);
  return std::move(done).error();
}

EngineResult<void> Engine::RollBackUpdate(const Intent& intent) {
  const std::string object = ObjectOf(intent);
  KernelResult<void> undone;
  switch (intent.kind) {
    case Intent::Kind::kUpdateNamespace: {
      const auto record = registry_.FindNamespace(intent.netns.id);
      if (!record.has_value() || record->uid != intent.netns.uid) return {};
      if (intent.netns.spec.dns != record->spec.dns) {
        if (undone = WriteDns(intent.netns, record->spec.dns); !undone.ok()) break;
      }
      const Sysctls& former = intent.former.netns.sysctls;
      if (former.empty() || record->boot_id != kernel_.BootId()) return {};
      // One that was made in its stead since is as its record says.
      if (record->boot_id != intent.netns.boot_id || record->cookie != intent.netns.cookie) return {};
      undone = UnlessGone(PutSysctlsBack({.name = record->id, .cookie = record->cookie}, former));
      break;
    }
    case Intent::Kind::kUpdateVeth: {
      const auto record = registry_.FindVeth(intent.veth.id);
      if (!record.has_value() || record->uid != intent.veth.uid) return {};
      const bool has_other_nat = HaveOtherNat(record->spec, intent.veth.spec);
      const bool has_other_limits = HaveOtherLimits(record->spec, intent.veth.spec);
      // As above, but what stands beside the links may still be that of the update.
      if (record->boot_id != intent.veth.boot_id || record->a.ifindex != intent.veth.a.ifindex ||
          record->b.ifindex != intent.veth.b.ifindex) {
        if (has_other_nat && record->boot_id == kernel_.BootId()) undone = UnlessGone(ApplyNat(*record));
        break;
      }
      bool is_there = true;
      for (const bool is_a : {true, false}) {
        const Endpoint& made = is_a ? record->a : record->b;
        KernelResult<std::optional<Link>> link = FindEnd(*record, made, is_a ? record->b : record->a);
        if (!link.ok()) return KernelFailure(object, "look at " + object, link.error());
        is_there = is_there && link->has_value();
        if (!link->has_value()) continue;
        const LinkTurn turn{
            .field = "",
            .netns = RefOf(*record, made),
            .ifindex = made.ifindex,
            .name = made.interface_name,
            .tag = TagFor(*record),
            .from = {.link = is_a ? intent.former.veth.a : intent.former.veth.b, .options = std::nullopt},
            .to = {.link = is_a ? intent.veth.spec.a : intent.veth.spec.b, .options = std::nullopt},
            .turned = {}};
        KernelResult<void> end = TurnBack(turn);
        if (!end.ok()) undone = std::move(end);
      }
      // Of a pair that is not whole all goes that was beside its links; what the record says comes with the pair again.
      if (has_other_nat) {
        KernelResult<void> nat = is_there ? UnlessGone(ApplyNat(*record)) : DeleteNatOf(intent.veth);
        if (!nat.ok()) undone = std::move(nat);
      }
      if (has_other_limits) {
        VethRecord limited = *record;
        KernelResult<void> rates =
            is_there ? UnlessGone(ApplyShaping(limited, intent.veth.spec)) : DeleteShapersOf(intent.veth);
        if (!rates.ok()) undone = std::move(rates);
      }
      if (undone.ok()) NETPROV_RETURN_IF_ERROR(RollBackForwarding(intent));
      break;
    }
    case Intent::Kind::kUpdateDevice: {
      const auto record = registry_.FindDevice(intent.device.name);
      if (!record.has_value() || record->uid != intent.device.uid) return {};
      // As above.
      if (record->boot_id != intent.device.boot_id || record->link.ifindex != intent.device.link.ifindex) return {};
      KernelResult<std::optional<Link>> link = FindLinkOf(*record);
      if (!link.ok()) return KernelFailure(object, "look at " + object, link.error());
      if (!link->has_value()) return {};
      undone = TurnBack({.field = "",
                         .netns = RefOf(*record),
                         .ifindex = record->link.ifindex,
                         .name = record->link.interface_name,
                         .tag = TagFor(*record),
                         .from = {.link = intent.former.device.link, .options = intent.former.device.options},
                         .to = {.link = intent.device.spec.link, .options = intent.device.spec.options},
                         .turned = {}});
      break;
    }
    default:
      return {};
  }
  if (!undone.ok()) return KernelFailure(object, "undo the update of " + object, undone.error());
  return {};
}

}  // namespace netprov::engine
