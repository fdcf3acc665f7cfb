#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "server/engine/address_translation.h"
#include "server/engine/endpoint.h"
#include "server/engine/engine.h"
#include "server/engine/error.h"
#include "server/engine/link_difference.h"
#include "server/engine/plan.h"
#include "server/engine/tag.h"

namespace netprov::engine {
namespace {

// The name of the step that makes a pair.
std::string BirthOf(const std::string& a, const std::string& b) { return absl::StrCat("create veth ", a, " <-> ", b); }

// By a pattern, in a namespace where nothing is.
std::string FirstName(const std::string& pattern, const std::vector<std::string>& taken) {
  for (int number = 0;; ++number) {
    std::string name = absl::StrReplaceAll(pattern, {{"%d", absl::StrCat(number)}});
    if (name != kLoopbackName && !absl::c_linear_search(taken, name)) return name;
  }
}

// The routes without a link that a pair has asked for in a namespace.
std::vector<RouteSpec> RoutesOf(const std::optional<VethRecord>& record, const NetnsRef& netns) {
  std::vector<RouteSpec> routes;
  if (!record.has_value()) return routes;
  for (const auto& [spec, end] : {std::pair(&record->spec.a, &record->a), std::pair(&record->spec.b, &record->b)}) {
    if (end->netns_key() != netns.key()) continue;
    const std::vector<RouteSpec> own = spec->config.RoutesWithoutLink();
    routes.insert(routes.end(), own.begin(), own.end());
  }
  return routes;
}

}  // namespace

std::string Engine::TagFor(const VethRecord& record) const {
  return TagOf(registry_.id(), record.uid, VethName(record.id));
}

EngineResult<NetnsRef> Engine::Resolve(const EndpointSpec& spec, const std::string& field) {
  if (spec.is_at_host()) return NetnsRef{};
  if (spec.place.has_value()) return ResolvePlace(*spec.place, field);
  std::optional<NamespaceRecord> record = registry_.FindNamespace(spec.namespace_id);
  // Whether it is there the kernel says when it is used: looking first would cost a visit to the namespace.
  if (record.has_value() && record->boot_id == kernel_.BootId()) {
    return NetnsRef{.name = spec.namespace_id, .cookie = record->cookie};
  }
  return ResolveByLooking(spec, field);
}

EngineResult<NetnsRef> Engine::ResolveByLooking(const EndpointSpec& spec, const std::string& field) {
  if (spec.is_at_host()) return NetnsRef{};
  if (spec.place.has_value()) return ResolvePlace(*spec.place, field);
  EngineResult<NetnsRef> netns = FindManaged(spec.namespace_id);
  if (!netns.ok() && netns.error().reason != Reason::kKernel) netns.error().field = FieldIn(field, "namespace");
  return netns;
}

EngineResult<NetnsRef> Engine::ResolveOrPlan(const CreateVethCall& call, const EndpointSpec& spec,
                                             const std::string& field, std::vector<NamespaceRecord>& births) {
  const std::string& id = spec.namespace_id;
  if (!call.create_namespaces || id.empty() || registry_.FindNamespace(id).has_value()) return Resolve(spec, field);
  // Before the intent, by which recovery would take a file without a namespace for what is left of ours.
  NETPROV_ASSIGN_OR_RETURN(const std::optional<NetnsEntry> entry, FindNetns(id));
  if (entry.has_value()) return AtField(NameTaken(id), FieldIn(field, "namespace"));
  if (absl::c_none_of(births, [&id](const NamespaceRecord& birth) { return birth.id == id; })) {
    births.push_back({.id = id,
                      .uid = NewUid(),
                      .create_time = absl::Now(),
                      .boot_id = kernel_.BootId(),
                      .cookie = 0,
                      .spec = {},
                      .metadata = call.metadata,
                      .creator = call.context.caller,
                      .adoption = std::nullopt});
  }
  return NetnsRef{.name = id, .cookie = 0, .place = std::nullopt};
}

EngineResult<NetnsRef> Engine::ResolvePlace(const NetnsPlace& place, const std::string& field) {
  const KernelResult<PlaceEntry> entry = kernel_.FindPlace(place);
  if (!entry.ok()) return PlaceFailure(place, field, entry.error());
  if (entry->is_host) return PlaceUnusable(place, field, "is in the host's namespace: use `host`");
  // A namespace has one name in the API, by which its calls are ordered and its pairs go with it.
  if (const auto id = registry_.FindNamespaceId(kernel_.BootId(), entry->cookie); id.has_value()) {
    return PlaceUnusable(place, field, absl::StrCat("is in ", NamespaceName(*id), ": use `namespace`"));
  }
  return NetnsRef{.name = "", .cookie = entry->cookie, .place = place};
}

EngineResult<NetnsRef> Engine::ResolveAgain(const Endpoint& made, const std::string& field) {
  const EndpointSpec where{
      .namespace_id = made.namespace_id, .interface_name = made.interface_name, .place = made.place};
  NETPROV_ASSIGN_OR_RETURN(NetnsRef netns, ResolveByLooking(where, field));
  if (made.place.has_value() && made.place->path.empty() && netns.cookie != made.netns_cookie) {
    return PlaceReplaced(*made.place, field);
  }
  return netns;
}

NetnsRef Engine::RefOf(const VethRecord& record, const Endpoint& end) const {
  // A cookie is never 0, so a reference to a namespace that we do not know matches none.
  if (end.place.has_value()) {
    return {.name = "", .cookie = record.boot_id == kernel_.BootId() ? end.netns_cookie : 0, .place = end.place};
  }
  if (end.namespace_id.empty()) return {};
  std::optional<NamespaceRecord> netns = registry_.FindNamespace(end.namespace_id);
  if (netns.has_value()) return {.name = end.namespace_id, .cookie = netns->cookie};
  // One that is being made with the pair.
  return {.name = end.namespace_id, .cookie = record.boot_id == kernel_.BootId() ? end.netns_cookie : 0};
}

NetnsRef Engine::RefOf(const DeviceRecord& record) const {
  const std::string& id = record.link.namespace_id;
  if (id.empty()) return {};
  return {.name = id, .cookie = record.netns_cookie};
}

KernelResult<std::optional<Link>> Engine::FindEnd(const VethRecord& record, const Endpoint& end,
                                                  const Endpoint& other) {
  if (record.boot_id != kernel_.BootId()) return std::optional<Link>();
  KernelResult<std::optional<Link>> link = kernel_.FindLink(RefOf(record, end), end.ifindex);
  if (!link.ok()) {
    if (NamespaceIsGone(link.error())) return std::optional<Link>();
    return link;
  }
  // A tag is one pair's alone. Where somebody took it away: the kernel hands out indexes in sequence, so that the same
  // number at both ends is the same pair, and the group tells it from one of another machine's namespace that has the
  // same numbers.
  if (!link->has_value()) return link;
  const bool untagged_pair =
      !ParseTag((*link)->alias).has_value() && (*link)->group == kOwnedGroup && (*link)->peer_ifindex == other.ifindex;
  if ((*link)->kind != "veth" || ((*link)->alias != TagFor(record) && !untagged_pair)) {
    link->reset();
  }
  return link;
}

KernelResult<void> Engine::DeleteLinksOf(const VethRecord& record) {
  // Before the links: nothing is ever sent on to an address that is not there.
  NETPROV_RETURN_IF_ERROR(DeleteNatOf(record));
  std::optional<KernelError> closed;
  for (const auto& [end, other] : {std::pair(&record.a, &record.b), std::pair(&record.b, &record.a)}) {
    KernelResult<std::optional<Link>> link = FindEnd(record, *end, *other);
    if (!link.ok()) {
      // A process that may not be looked at any more.
      if (!end->place.has_value()) return std::move(link).error();
      closed = std::move(link).error();
      continue;
    }
    if (!link->has_value()) continue;
    KernelResult<void> deleted = kernel_.DeleteLink(RefOf(record, *end), (*link)->ifindex);
    // And the other end with it.
    if (deleted.ok()) return DeleteRestOf(record);
    NETPROV_RETURN_IF_ERROR(UnlessGone(std::move(deleted)));
  }
  if (closed.has_value()) return *std::move(closed);
  // A namespace may live on though the place does not lead there any more.
  for (const auto& [end, other] : {std::pair(&record.a, &record.b), std::pair(&record.b, &record.a)}) {
    if (!end->place.has_value()) continue;
    NETPROV_ASSIGN_OR_RETURN(const Endpoint reached, ByAnyWay(record, *end));
    NETPROV_ASSIGN_OR_RETURN(const std::optional<Link> link, FindEnd(record, reached, *other));
    if (!link.has_value()) continue;
    NETPROV_RETURN_IF_ERROR(UnlessGone(kernel_.DeleteLink(RefOf(record, reached), link->ifindex)));
  }
  return DeleteRestOf(record);
}

KernelResult<void> Engine::DeleteRestOf(const VethRecord& record) {
  NETPROV_RETURN_IF_ERROR(DeleteShapersOf(record));
  return DeleteRoutesWithoutLinkOf(record);
}

KernelResult<Endpoint> Engine::ByAnyWay(const VethRecord& record, const Endpoint& end) {
  if (!end.place.has_value() || record.boot_id != kernel_.BootId()) return end;
  const KernelResult<PlaceEntry> entry = kernel_.FindPlace(*end.place);
  if (entry.ok() && entry->cookie == end.netns_cookie) return end;
  NETPROV_ASSIGN_OR_RETURN(std::optional<NetnsPlace> way, kernel_.FindWayIn(end.netns_cookie));
  Endpoint reached = end;
  if (way.has_value()) reached.place = std::move(way);
  return reached;
}

std::vector<RouteSpec> Engine::RoutesOfOthers(const VethRecord& record, const Endpoint& end) const {
  const std::optional<VethRecord> now = registry_.FindVeth(record.id);
  const bool is_registered = now.has_value() && now->uid == record.uid;
  std::vector<RouteSpec> routes;
  for (const VethRecord& other : registry_.ListVethsOf(end.netns_key())) {
    if (other.uid == record.uid || (is_registered && other.create_time <= record.create_time)) continue;
    // The cookie is one of another boot.
    if (end.place.has_value() && other.boot_id != record.boot_id) continue;
    for (const auto& [others, where] : {std::pair(&other.spec.a, &other.a), std::pair(&other.spec.b, &other.b)}) {
      if (where->netns_key() != end.netns_key()) continue;
      for (const RouteSpec& route : others->config.RoutesWithoutLink()) routes.push_back(route);
    }
  }
  return routes;
}

KernelResult<void> Engine::DeleteRoutesWithoutLinkOf(const VethRecord& record) {
  for (const auto& [spec, end] : {std::pair(&record.spec.a, &record.a), std::pair(&record.spec.b, &record.b)}) {
    std::vector<RouteSpec> routes = spec->config.RoutesWithoutLink();
    if (routes.empty()) continue;
    for (const RouteSpec& route : RoutesOfOthers(record, *end)) std::erase(routes, route);
    NETPROV_ASSIGN_OR_RETURN(const Endpoint reached, ByAnyWay(record, *end));
    NETPROV_RETURN_IF_ERROR(UnlessGone(kernel_.DeleteRoutes(RefOf(record, reached), routes)));
  }
  return {};
}

EngineResult<void> Engine::ExpectNoRoutesWithoutLink(const std::string& object, const EndpointSpec& spec,
                                                     const NetnsRef& netns, const std::vector<RouteSpec>& leaving) {
  const std::vector<RouteSpec> routes = spec.config.RoutesWithoutLink();
  if (routes.empty() || netns.is_unborn()) return {};
  KernelResult<std::vector<RouteSpec>> there = kernel_.ListRoutesWithoutLink(netns);
  if (!there.ok()) return KernelFailure(object, "look at the routes where " + object + " shall end", there.error());
  std::erase_if(*there, [&](const RouteSpec& route) { return absl::c_linear_search(leaving, route); });
  for (const RouteSpec& route : routes) {
    if (!absl::c_any_of(*there, [&](const RouteSpec& other) { return HaveOneKey(other, route); })) continue;
    return KernelFailure(object, "look for " + ToText(route),
                         {.code = EEXIST, .operation = "RTM_NEWROUTE " + route.destination.ToString(), .extack = {}});
  }
  return {};
}

EngineResult<Engine::Shortage> Engine::FindShortage(const std::string& object, const NetnsRef& netns,
                                                    const EndpointSpec& spec, const Link& link) {
  Shortage shortage;
  for (const std::string& name : spec.config.alternative_names) {
    if (!absl::c_linear_search(link.alternative_names, name)) shortage.alternative_names.push_back(name);
  }
  const IpConfig expected = spec.config.WholeIp();
  // Most pairs have none, and to look costs some 20 us and more.
  if (expected.empty()) return shortage;
  KernelResult<IpConfig> actual = kernel_.FindIpConfig(netns, link.ifindex);
  if (!actual.ok()) {
    return KernelFailure(object, absl::StrCat("look at the addresses and routes of ", link.name), actual.error());
  }
  if (!spec.config.RoutesWithoutLink().empty()) {
    KernelResult<std::vector<RouteSpec>> without_link = kernel_.ListRoutesWithoutLink(netns);
    if (!without_link.ok()) {
      return KernelFailure(object, "look at the routes without a link", without_link.error());
    }
    actual->routes.insert(actual->routes.end(), without_link->begin(), without_link->end());
  }
  shortage.ip = Missing(expected, *actual);
  return shortage;
}

void Engine::AddShortage(const std::string& field, const Shortage& shortage, std::vector<Deviation>& deviations) {
  auto add = [&](const char* name, const std::string& expected) {
    deviations.push_back({.field = FieldIn(field, name), .expected = expected, .actual = ""});
  };
  for (const std::string& name : shortage.alternative_names) add("alternative_names", name);
  for (const AddressSpec& address : shortage.ip.addresses) add("addresses", ToText(address));
  for (const NeighbourSpec& neighbour : shortage.ip.neighbours) add("neighbors", ToText(neighbour));
  for (const RouteSpec& route : shortage.ip.routes) add("routes", ToText(route));
}

EngineResult<LinkDifference> Engine::FindDifference(const std::string& object, const std::string& field,
                                                    const NetnsRef& netns, const Endpoint& made,
                                                    const EndpointSpec& spec, const std::string& tag,
                                                    const Link& link) {
  LinkExpectation expected{.field = field, .made = made, .config = spec.config, .tag = tag, .bridge_ifindex = 0};
  std::vector<netlink::BridgeVlan> vlans;
  if (spec.config.IsPort()) {
    EngineResult<uint32_t> bridge = ResolveBridge(spec, netns, field, /*by_looking=*/true);
    if (bridge.ok()) {
      expected.bridge_ifindex = *bridge;
    } else if (bridge.error().reason == Reason::kKernel) {
      return std::move(bridge).error();
    }
    if (!spec.config.port.vlans.empty() && bridge.ok()) {
      auto by_port = kernel_.ListPortVlans(netns);
      if (!by_port.ok()) return KernelFailure(object, "look at the VLANs of " + link.name, by_port.error());
      vlans = (*by_port)[link.ifindex];
    }
  }
  return Compare(expected, link, vlans);
}

bool Engine::IsRecordOf(const DeviceRecord& record, const NetnsRef& netns, const Link& link) const {
  return record.link.ifindex == link.ifindex && record.netns_cookie == netns.cookie &&
         record.boot_id == kernel_.BootId();
}

EngineResult<uint32_t> Engine::ResolveForeignBridge(const EndpointSpec& spec, const NetnsRef& netns,
                                                    const std::string& field) {
  const std::string& name = spec.config.bridge_interface;
  auto unusable = [&](const std::string& why) {
    Error error = BridgeUnusable(name, why);
    error.object = "links/" + name;
    return AtField(std::move(error), FieldIn(field, "bridge_interface"));
  };
  if (netns.is_unborn()) return unusable("is not there: its namespace is made with the pair");
  KernelResult<std::optional<Link>> link = kernel_.FindLink(netns, name);
  if (!link.ok()) {
    if (NamespaceIsGone(link.error())) NETPROV_RETURN_IF_ERROR(ResolveByLooking(spec, field));
    return KernelFailure("links/" + name, "look for the bridge " + name, link.error());
  }
  if (!link->has_value()) return unusable("is not there");
  if ((*link)->kind != "bridge") return unusable("is a link of another kind");
  // By its name in the API it is known who may use it, and that it has ports.
  auto ours = [&](const std::string& object) { return unusable(absl::StrCat("is ", object, ": use `bridge`")); };
  if (const std::optional<Tag> tag = ParseTag((*link)->alias); tag.has_value() && tag->registry == registry_.id()) {
    return ours(tag->object);
  }
  for (const DeviceRecord& record : registry_.ListDevicesOf(netns.key())) {
    if (IsRecordOf(record, netns, **link)) return ours(record.name);
  }
  return (*link)->ifindex;
}

EngineResult<uint32_t> Engine::ResolveBridge(const EndpointSpec& spec, const NetnsRef& netns, const std::string& field,
                                             bool by_looking) {
  if (!spec.config.bridge_interface.empty()) return ResolveForeignBridge(spec, netns, field);
  const std::string& name = spec.config.bridge;
  if (name.empty()) return 0;
  const std::string bridge_field = FieldIn(field, "bridge");
  const std::optional<DeviceRecord> record = registry_.FindDevice(name);
  if (!record.has_value()) return AtField(DeviceNotFound(name), bridge_field);
  if (record->link.namespace_id != spec.namespace_id || spec.place.has_value()) {
    return AtField(BridgeUnusable(name, "lives elsewhere than the link that shall be its port"), bridge_field);
  }
  // As Resolve(): in the same namespace, the index is nobody else's.
  const bool is_same = spec.namespace_id.empty() || netns.cookie == record->netns_cookie;
  if (!by_looking && is_same && record->boot_id == kernel_.BootId()) return record->link.ifindex;
  KernelResult<std::optional<Link>> link = FindLinkOf(*record);
  if (!link.ok()) return KernelFailure(name, "look at " + name, link.error());
  if (!link->has_value()) {
    return AtField(BridgeUnusable(name, "was removed by somebody else"), bridge_field);
  }
  return record->link.ifindex;
}

void Engine::ShowPort(const Link& link, const LinkDifference& difference, EndpointConfig& config) {
  if (!config.IsPort()) return;
  config.port = {};
  if (difference.is_port) {
    config.port = {.settings = link.port.value_or(netlink::BridgePort()), .vlans = difference.vlans};
  } else {
    config.LeaveBridge();
  }
}

EngineResult<Veth> Engine::Describe(const VethRecord& record) {
  Veth veth = record.ToVeth();
  veth.expire_time = ExpireTimeOf(record.uid);
  const std::string tag = TagFor(record);
  struct End {
    const char* field;
    Endpoint* now;
    const EndpointSpec* spec;
    const Endpoint* made;
    const Endpoint* other;
  };
  for (const End& end : {End{"endpoint_a", &veth.a, &record.spec.a, &record.a, &record.b},
                         End{"endpoint_b", &veth.b, &record.spec.b, &record.b, &record.a}}) {
    KernelResult<std::optional<Link>> found = FindEnd(record, *end.made, *end.other);
    if (!found.ok()) return KernelFailure(VethName(record.id), "look at veth " + record.id, found.error());
    if (!found->has_value()) {
      veth.state = State::kMissing;
      end.now->ifindex = 0;
      continue;
    }
    const Link& link = **found;
    end.now->interface_name = link.name;
    end.now->mac = link.mac;
    end.now->mtu = link.mtu;
    end.now->up = link.up;
    EngineResult<LinkDifference> difference =
        FindDifference(VethName(record.id), end.field, RefOf(record, *end.made), *end.made, *end.spec, tag, link);
    EngineResult<Shortage> shortage = FindShortage(VethName(record.id), RefOf(record, *end.made), *end.spec, link);
    if (!difference.ok() || !shortage.ok() || !shortage->alternative_names.empty() || !shortage->ip.empty()) {
      // It may have gone between our looks.
      found = FindEnd(record, *end.made, *end.other);
      if (found.ok() && !found->has_value()) {
        veth.state = State::kMissing;
        end.now->ifindex = 0;
        continue;
      }
    }
    if (!difference.ok()) return std::move(difference).error();
    if (!shortage.ok()) return std::move(shortage).error();
    veth.deviations.insert(veth.deviations.end(), difference->deviations.begin(), difference->deviations.end());
    AddShortage(end.field, *shortage, veth.deviations);
    EndpointConfig& config = end.now->config;
    config.options.promiscuous = link.options.promiscuous;
    config.options.all_multicast = link.options.all_multicast;
    config.options.alias = link.options.alias;
    config.Remove(shortage->ip);
    std::erase_if(config.alternative_names,
                  [&](const std::string& name) { return !absl::c_linear_search(link.alternative_names, name); });
    ShowPort(link, *difference, config);
  }
  if (veth.state != State::kMissing) {
    const size_t deviations = veth.deviations.size();
    NETPROV_RETURN_IF_ERROR(CompareLimits(record, veth));
    NETPROV_RETURN_IF_ERROR(CompareNat(record, veth));
    // As above.
    const bool is_odd = veth.deviations.size() > deviations;
    KernelResult<std::optional<Link>> found = is_odd ? FindEnd(record, record.a, record.b) : std::optional<Link>();
    if (is_odd && found.ok() && !found->has_value()) {
      veth.state = State::kMissing;
      veth.a.ifindex = veth.b.ifindex = 0;
    }
  }
  if (veth.state == State::kMissing) veth.deviations.clear();
  if (!veth.deviations.empty()) veth.state = State::kDegraded;
  return veth;
}

EngineResult<void> Engine::DeleteRecordedVeth(const VethRecord& record, std::optional<RequestRecord> answer) {
  Plan plan;
  plan.Add({.name = "delete veth " + record.id, .run = [&] { return DeleteLinksOf(record); }, .undo = nullptr});
  const Intent intent{.kind = Intent::Kind::kDeleteVeth, .netns = {}, .veth = record, .request = answer};
  NETPROV_RETURN_IF_ERROR(Transact(VethName(record.id), intent, plan,
                                   [&] { return Outcome{.remove_veths = {record}, .request = answer}; }));
  leases_.End(record.uid);
  return {};
}

EngineResult<std::string> Engine::ChooseName(const EndpointSpec& spec, const NetnsRef& netns, const std::string& field,
                                             const std::vector<std::string>& taken, const std::string& object) {
  if (!IsPattern(spec.interface_name)) return spec.interface_name;
  if (netns.is_unborn()) return FirstName(spec.interface_name, taken);
  KernelResult<std::string> name = kernel_.FreeLinkName(netns, spec.interface_name, taken);
  if (name.ok()) return *std::move(name);
  Error error = KernelFailure(object, "choose a name for " + spec.interface_name, name.error());
  error.field = FieldIn(field, "interface_name");
  return error;
}

EngineResult<void> Engine::CheckNameIsFree(const EndpointSpec& spec, const NetnsRef& netns, const std::string& field,
                                           const std::string& object, const std::optional<VethRecord>& replaced) {
  if (IsPattern(spec.interface_name)) return {};
  if (netns.is_unborn()) {
    if (spec.interface_name != kLoopbackName) return {};
    return InterfaceNameTaken(object, field, spec.interface_name, spec.namespace_id, spec.place);
  }
  KernelResult<std::optional<Link>> link = kernel_.FindLink(netns, spec.interface_name);
  if (!link.ok()) return KernelFailure(object, "look for " + spec.interface_name, link.error());
  if (!link->has_value()) return {};
  if (replaced.has_value()) {
    NETPROV_ASSIGN_OR_RETURN(const bool makes_room, IsLeftOf(*replaced, netns, **link));
    if (makes_room) return {};
    // The kernel may have destroyed it between our looks, as it does a while after its namespace is gone.
    link = kernel_.FindLink(netns, spec.interface_name);
    if (!link.ok()) return KernelFailure(object, "look for " + spec.interface_name, link.error());
    if (!link->has_value()) return {};
  }
  return InterfaceNameTaken(object, field, spec.interface_name, spec.namespace_id, spec.place);
}

EngineResult<bool> Engine::IsLeftOf(const VethRecord& replaced, const NetnsRef& netns, const Link& link) {
  for (const auto& [end, other] : {std::pair(&replaced.a, &replaced.b), std::pair(&replaced.b, &replaced.a)}) {
    if (end->netns_key() != netns.key()) continue;
    KernelResult<std::optional<Link>> old = FindEnd(replaced, *end, *other);
    if (!old.ok()) return KernelFailure(VethName(replaced.id), "look at veth " + replaced.id, old.error());
    if (old->has_value() && (*old)->ifindex == link.ifindex) return true;
  }
  return false;
}

EngineResult<void> Engine::CheckOtherNamesAreFree(
    const EndpointSpec& spec, const NetnsRef& netns, const std::string& field, const std::string& object,
    const std::function<EngineResult<bool>(const Link& link)>& makes_room) {
  const std::vector<std::string>& names = spec.config.alternative_names;
  if (netns.is_unborn()) return {};
  for (size_t i = 0; i < names.size(); ++i) {
    KernelResult<std::optional<Link>> link = kernel_.FindLink(netns, names[i]);
    if (!link.ok()) return KernelFailure(object, "look for " + names[i], link.error());
    if (!link->has_value()) continue;
    if (makes_room != nullptr) {
      NETPROV_ASSIGN_OR_RETURN(const bool is_left, makes_room(**link));
      if (is_left) continue;
    }
    Error taken = InterfaceNameTaken(object, field, names[i], spec.namespace_id, spec.place);
    taken.field = FieldIn(field, absl::StrCat("alternative_names[", i, "]"));
    return taken;
  }
  return {};
}

EngineResult<Veth> Engine::CreateVeth(const CreateVethCall& call) {
  VethRecord record{.id = call.id,
                    .uid = NewUid(),
                    .create_time = absl::Now(),
                    .boot_id = kernel_.BootId(),
                    .spec = call.spec,
                    .a = {},
                    .b = {},
                    .metadata = call.metadata,
                    .creator = call.context.caller};
  if (record.id.empty()) record.id = absl::StrCat("veth-", record.uid.substr(0, 8), record.uid.substr(9, 4));
  const std::string object = VethName(record.id);
  NETPROV_ASSIGN_OR_RETURN(std::optional<RequestRecord> answered, Replay(call.context, object));
  if (answered.has_value() && answered->veth.has_value()) return *answered->veth;

  const std::optional<VethRecord> existing = registry_.FindVeth(record.id);
  if (existing.has_value()) {
    NETPROV_ASSIGN_OR_RETURN(Veth veth, Describe(*existing));
    const bool matches = existing->spec == call.spec && existing->metadata == call.metadata;
    if (veth.state != State::kMissing) {
      if (!call.allow_existing || !matches) {
        return VethAlreadyExists(call.id, matches);
      }
      if (!call.context.validate_only) {
        leases_.Renew(call.metadata.owner);
        NETPROV_RETURN_IF_ERROR(RecordAnswer(call.context, object, Answer(call.context, std::nullopt, veth)));
      }
      return veth;
    }
  }

  std::vector<NamespaceRecord> births;
  NETPROV_ASSIGN_OR_RETURN(const NetnsRef netns_a, ResolveOrPlan(call, call.spec.a, "endpoint_a", births));
  NETPROV_ASSIGN_OR_RETURN(const NetnsRef netns_b, ResolveOrPlan(call, call.spec.b, "endpoint_b", births));
  // Nor may what is left of an old pair of the same id go before it is clear that the new one can be made.
  const bool looks_first = call.context.validate_only || existing.has_value();
  NETPROV_ASSIGN_OR_RETURN(const uint32_t bridge_a, ResolveBridge(call.spec.a, netns_a, "endpoint_a", looks_first));
  NETPROV_ASSIGN_OR_RETURN(const uint32_t bridge_b, ResolveBridge(call.spec.b, netns_b, "endpoint_b", looks_first));
  // The kernel says EEXIST without saying of which end, so a name that is taken is looked for: here for the sake of
  // validate_only, and after a refusal.
  auto check_names = [&]() -> EngineResult<void> {
    NETPROV_RETURN_IF_ERROR(CheckNameIsFree(call.spec.a, netns_a, "endpoint_a", object, existing));
    return CheckNameIsFree(call.spec.b, netns_b, "endpoint_b", object, existing);
  };
  auto check_other_names = [&](const EndpointSpec& spec, const NetnsRef& netns, const char* field) {
    return CheckOtherNamesAreFree(spec, netns, field, object, [&](const Link& link) -> EngineResult<bool> {
      if (!existing.has_value()) return false;
      return IsLeftOf(*existing, netns, link);
    });
  };
  // A namespace is gone: says which.
  auto check_namespaces = [&]() -> EngineResult<void> {
    for (const auto& [spec, netns, field] :
         {std::tuple(&call.spec.a, &netns_a, "endpoint_a"), std::tuple(&call.spec.b, &netns_b, "endpoint_b")}) {
      if (netns->is_unborn()) continue;
      NETPROV_ASSIGN_OR_RETURN(const NetnsRef now, ResolveByLooking(*spec, field));
      if (spec->place.has_value() && now != *netns) return PlaceReplaced(*spec->place, field);
    }
    return {};
  };
  auto check_nat = [&] {
    std::vector<std::string> uids = {record.uid};
    if (existing.has_value()) uids.push_back(existing->uid);
    return CheckNatIsFree(object, record, netns_a, netns_b, uids);
  };
  if (looks_first) {
    NETPROV_RETURN_IF_ERROR(check_namespaces());
    NETPROV_RETURN_IF_ERROR(check_names());
    NETPROV_RETURN_IF_ERROR(check_other_names(call.spec.a, netns_a, "endpoint_a"));
    NETPROV_RETURN_IF_ERROR(check_other_names(call.spec.b, netns_b, "endpoint_b"));
    NETPROV_RETURN_IF_ERROR(check_nat());
  }

  const bool is_one_place = netns_a.key() == netns_b.key();
  NETPROV_RETURN_IF_ERROR(ExpectPlaceForNat(object, call.spec, is_one_place));
  // Two ways may lead to one place, and then the kernel refuses a name that is free.
  if (is_one_place && !IsPattern(call.spec.b.interface_name) &&
      call.spec.a.interface_name == call.spec.b.interface_name) {
    return InterfaceNameTaken(object, "endpoint_b", call.spec.b.interface_name, call.spec.b.namespace_id,
                              call.spec.b.place);
  }
  for (int attempt = 1;; ++attempt) {
    // A fixed name in the same place is taken as well, whichever end has it.
    std::vector<std::string> taken_by_b;
    if (is_one_place && !IsPattern(call.spec.b.interface_name)) taken_by_b.push_back(call.spec.b.interface_name);
    EngineResult<std::string> name_a = ChooseName(call.spec.a, netns_a, "endpoint_a", taken_by_b, object);
    std::vector<std::string> taken_by_a;
    if (is_one_place && name_a.ok()) taken_by_a.push_back(*name_a);
    EngineResult<std::string> name_b = ChooseName(call.spec.b, netns_b, "endpoint_b", taken_by_a, object);
    for (EngineResult<std::string>* name : {&name_a, &name_b}) {
      if (name->ok()) continue;
      if (NamespaceIsGone(*name->error().kernel)) NETPROV_RETURN_IF_ERROR(check_namespaces());
      return std::move(*name).error();
    }
    record.a = Projected(call.spec.a, *name_a);
    record.b = Projected(call.spec.b, *name_b);
    if (call.context.validate_only) {
      NETPROV_RETURN_IF_ERROR(ExpectRoom(object,
                                         {.kind = Intent::Kind::kCreateVeth, .veth = record, .new_namespaces = births},
                                         call.context.allowance));
      Veth projected = record.ToVeth();
      projected.uid.clear();
      if (call.id.empty()) projected.id.clear();
      return projected;
    }
    if (call.context.stopped != nullptr && call.context.stopped()) return Stopped(object);
    EngineResult<VethRecord> made =
        MakeVeth(record, ToLinkSpec(call.spec.a, netns_a, *name_a, bridge_a),
                 ToLinkSpec(call.spec.b, netns_b, *name_b, bridge_b), call.context, /*is_new=*/true,
                 /*replaced=*/existing, births);
    if (made.ok()) {
      Veth veth = made->ToVeth();
      veth.expire_time = ExpireTimeOf(made->uid);
      return veth;
    }
    if (made.error().reason != Reason::kKernel) return std::move(made).error();
    for (const NamespaceRecord& birth : births) {
      if (!IsOfName(made.error(), birth.id)) continue;
      const bool is_of_a = birth.id == call.spec.a.namespace_id;
      return AtField(NameTaken(birth.id), FieldIn(is_of_a ? "endpoint_a" : "endpoint_b", "namespace"));
    }
    if (NamespaceIsGone(*made.error().kernel)) {
      // Gone for a moment, as when somebody mounted another on it: tried again.
      NETPROV_RETURN_IF_ERROR(check_namespaces());
    } else if (made.error().kernel->code == EEXIST && made.error().step == BirthOf(*name_a, *name_b)) {
      NETPROV_RETURN_IF_ERROR(check_names());
    } else if ((made.error().kernel->code == EINVAL || made.error().kernel->code == EOPNOTSUPP) &&
               (bridge_a != 0 || bridge_b != 0)) {
      // As of a bridge that is not there.
      NETPROV_RETURN_IF_ERROR(ResolveBridge(call.spec.a, netns_a, "endpoint_a", /*by_looking=*/true));
      NETPROV_RETURN_IF_ERROR(ResolveBridge(call.spec.b, netns_b, "endpoint_b", /*by_looking=*/true));
      return std::move(made).error();
    } else if (made.error().kernel->code == EEXIST &&
               absl::StartsWith(made.error().kernel->operation, "RTM_NEWLINKPROP")) {
      NETPROV_RETURN_IF_ERROR(CheckOtherNamesAreFree(call.spec.a, netns_a, "endpoint_a", object));
      NETPROV_RETURN_IF_ERROR(CheckOtherNamesAreFree(call.spec.b, netns_b, "endpoint_b", object));
    } else if (made.error().kernel->code == EEXIST &&
               absl::StartsWith(made.error().kernel->operation, "NFT_MSG_NEWSETELEM")) {
      NETPROV_RETURN_IF_ERROR(check_nat());
    } else if (made.error().kernel->code != ENODEV) {  // Else somebody deleted it before it was whole.
      return std::move(made).error();
    }
    if (attempt == kMostNamingAttempts) return std::move(made).error();
  }
}

void Engine::AddConfigStep(const EndpointSpec& spec, const LinkSpec& link, const Endpoint& made, Plan& plan) {
  const EndpointConfig& config = spec.config;
  // All but the routes goes with the link.
  if (IpConfig ip = config.WholeIp(); !ip.empty() || !config.alternative_names.empty()) {
    plan.Add({.name = absl::StrCat("configure ", link.name),
              .run =
                  [this, &config, &link, &made, ip = std::move(ip)] {
                    return kernel_.Configure(link.netns, made.ifindex, config.alternative_names, ip, /*anew=*/false);
                  },
              .undo = NothingToUndo,
              .sweep = nullptr});
  }
}

void Engine::AddAnnouncement(const EndpointSpec& spec, const LinkSpec& link, const Endpoint& made, Plan& plan) {
  if (!spec.config.announce) return;
  // What it sets goes with the link.
  plan.Add({.name = absl::StrCat("announce ", link.name),
            .run = [this, &link, &made]() -> KernelResult<void> { return kernel_.Announce(link.netns, made.ifindex); },
            .undo = NothingToUndo,
            .sweep = nullptr});
  const std::vector<NeighbourSpec>& neighbours = spec.config.ip.neighbours;
  if (neighbours.empty()) return;
  plan.Add({.name = absl::StrCat("add the neighbors of ", link.name),
            .run =
                [this, &link, &made, &neighbours] {
                  return kernel_.Configure(link.netns, made.ifindex, {}, {.neighbours = neighbours}, /*anew=*/false);
                },
            .undo = NothingToUndo,
            .sweep = nullptr});
}

void Engine::AddConfigSteps(const VethRecord& record, const EndpointSpec& spec, const LinkSpec& link,
                            const Endpoint& made, Plan& plan) {
  AddConfigStep(spec, link, made, plan);
  const std::vector<RouteSpec> routes = spec.config.RoutesWithoutLink();
  if (routes.empty()) return;
  plan.Add({.name = absl::StrCat("add the routes of ", link.name, " without a link"),
            .run = [this, &link, routes] { return kernel_.AddRoutes(link.netns, routes); },
            .undo = [this, &link, routes] { return UnlessGone(kernel_.DeleteRoutes(link.netns, routes)); },
            .sweep = [this, &record] { return DeleteRoutesWithoutLinkOf(record); }});
}

EngineResult<VethRecord> Engine::MakeVeth(VethRecord record, LinkSpec a, LinkSpec b, const CallContext& context,
                                          bool is_new, const std::optional<VethRecord>& replaced,
                                          std::vector<NamespaceRecord> births) {
  const std::string object = VethName(record.id);
  // For the intent too.
  if (record.a.place.has_value()) record.a.netns_cookie = a.netns.cookie;
  if (record.b.place.has_value()) record.b.netns_cookie = b.netns.cookie;
  NETPROV_ASSIGN_OR_RETURN(const Claim claim_a, ClaimForPair(object, a.netns, "endpoint_a"));
  NETPROV_ASSIGN_OR_RETURN(const Claim claim_b, ClaimForPair(object, b.netns, "endpoint_b"));
  // A path may lead to the other end by now.
  NETPROV_RETURN_IF_ERROR(ExpectPlaceForNat(object, record.spec, a.netns.key() == b.netns.key()));
  NETPROV_RETURN_IF_ERROR(ExpectNoRoutesWithoutLink(object, record.spec.a, a.netns, RoutesOf(replaced, a.netns)));
  NETPROV_RETURN_IF_ERROR(ExpectNoRoutesWithoutLink(object, record.spec.b, b.netns, RoutesOf(replaced, b.netns)));
  netlink::OffloadLimits limits_a;
  netlink::OffloadLimits limits_b;
  Plan plan;
  if (replaced.has_value()) {
    // It is missing, and stays so where the new one can't be made.
    plan.Add({.name = "delete what is left of veth " + record.id,
              .run = [&] { return DeleteLinksOf(*replaced); },
              .undo = NothingToUndo,
              .sweep = nullptr});
  }
  for (NamespaceRecord& birth : births) AddBirth(birth, plan);
  plan.Add({.name = BirthOf(a.name, b.name),
            .run = [&]() -> KernelResult<void> {
              for (const NamespaceRecord& birth : births) {
                for (const auto& [link, end] : {std::pair(&a, &record.a), std::pair(&b, &record.b)}) {
                  if (end->namespace_id == birth.id) link->netns.cookie = end->netns_cookie = birth.cookie;
                }
              }
              auto ends = kernel_.CreateVeth(a, b, TagFor(record));
              // Somebody deleted the pair before it had its tag: as if that had come first.
              for (int i = 1; i < kMostBirths && !ends.ok() && ends.error().code == ENODEV; ++i) {
                ends = kernel_.CreateVeth(a, b, TagFor(record));
              }
              if (!ends.ok()) return std::move(ends).error();
              record.a = ToEndpoint(record.a, ends->first);
              record.b = ToEndpoint(record.b, ends->second);
              limits_a = ends->first.options.limits;
              limits_b = ends->second.options.limits;
              return {};
            },
            // By either end: where one's namespace is not found any more, it may live on.
            .undo = [&] { return DeleteLinksOf(record); },
            .sweep = [&] { return ToKernelResult(RollBack(record)); }});
  // What it does not know, the kernel passes over.
  plan.Add({.name = "look at the limits of both ends",
            .run = [&]() -> KernelResult<void> {
              for (const auto& [spec, link] : {std::pair(&a, &limits_a), std::pair(&b, &limits_b)}) {
                if (const char* limit = MissingLimit(spec->options.limits, *link); limit != nullptr) {
                  return KernelError{.code = EOPNOTSUPP,
                                     .operation = absl::StrCat("RTM_NEWLINK ", spec->name, " ", limit),
                                     .extack = {}};
                }
              }
              return {};
            },
            .undo = NothingToUndo,
            .sweep = nullptr});
  AddShapingStep(record, plan);
  AddConfigSteps(record, record.spec.a, a, record.a, plan);
  AddConfigSteps(record, record.spec.b, b, record.b, plan);
  AddNatSteps(record, plan);
  Intent intent{.kind = Intent::Kind::kCreateVeth,
                .netns = {},
                .veth = record,
                .device = {},
                .new_namespaces = births,
                .request = {}};
  NETPROV_RETURN_IF_ERROR(FindForwarding(object, record.spec, a.netns, b.netns, intent.former));
  AddForwardingSteps(record, intent.former, plan);
  // Last of all: who was told of an end can't be made to forget it, whatever fails after that. What is left are
  // neighbors, which an announcement flushes.
  AddAnnouncement(record.spec.a, a, record.a, plan);
  AddAnnouncement(record.spec.b, b, record.b, plan);
  EngineResult<void> made = Transact(object, intent, plan, context.allowance, [&] {
    if (is_new) leases_.Start(record.uid, object, record.metadata);
    for (const NamespaceRecord& birth : births) leases_.Start(birth.uid, NamespaceName(birth.id), birth.metadata);
    Veth answer = record.ToVeth();
    answer.expire_time = ExpireTimeOf(record.uid);
    Outcome outcome{
        .put_namespaces = births, .put_veth = record, .request = Answer(context, std::nullopt, std::move(answer))};
    if (replaced.has_value()) outcome.remove_veths = {*replaced};
    return outcome;
  });
  if (made.ok()) {
    if (replaced.has_value()) leases_.End(replaced->uid);
    if (is_new) leases_.Renew(record.metadata.owner);
    return record;
  }
  if (is_new) leases_.End(record.uid);
  for (const NamespaceRecord& birth : births) leases_.End(birth.uid);
  return std::move(made).error();
}

EngineResult<Veth> Engine::GetVeth(const std::string& id) {
  std::optional<VethRecord> record = registry_.FindVeth(id);
  if (!record.has_value()) return VethNotFound(id);
  NETPROV_ASSIGN_OR_RETURN(Veth veth, Describe(*record));
  if (veth.state == State::kMissing && IsBeingDeleted(*record)) return VethNotFound(id);
  return veth;
}

bool Engine::IsBeingDeleted(const VethRecord& record) const {
  // An intent gives way to its outcome, so it is looked for first.
  const std::vector<PendingIntent> pending = registry_.ListPending();
  const std::optional<VethRecord> now = registry_.FindVeth(record.id);
  if (!now.has_value() || now->uid != record.uid) return true;
  std::lock_guard<std::mutex> lock(mutex_);
  return absl::c_any_of(pending, [&](const PendingIntent& item) {
    if (unfinished_.contains(item.sequence)) return false;
    const Intent& intent = item.intent;
    return (intent.kind == Intent::Kind::kDeleteVeth && intent.veth.uid == record.uid) ||
           (intent.kind == Intent::Kind::kDeleteNamespace && record.EndsIn(intent.netns.id));
  });
}

EngineResult<Page<Veth>> Engine::ListVeths(const std::string& after, size_t limit) {
  std::vector<VethRecord> records = registry_.ListVeths(after, limit + 1);
  Page<Veth> page;
  page.more = records.size() > limit;
  if (page.more) records.pop_back();
  for (const VethRecord& record : records) {
    NETPROV_ASSIGN_OR_RETURN(Veth veth, Describe(record));
    if (veth.state == State::kMissing && IsBeingDeleted(record)) continue;
    page.items.push_back(std::move(veth));
  }
  return page;
}

EngineResult<void> Engine::DeleteVeth(const DeleteVethCall& call) {
  const std::string object = VethName(call.id);
  NETPROV_ASSIGN_OR_RETURN(std::optional<RequestRecord> answered, Replay(call.context, object));
  if (answered.has_value()) return {};
  std::optional<VethRecord> record = registry_.FindVeth(call.id);
  if (!record.has_value()) {
    if (!call.allow_missing) return VethNotFound(call.id);
    if (call.context.validate_only) return {};
    return RecordAnswer(call.context, object, Answer(call.context, std::nullopt, std::nullopt));
  }
  if (call.context.validate_only) return {};
  if (call.context.stopped != nullptr && call.context.stopped()) return Stopped(object);
  return DeleteRecordedVeth(*record, Answer(call.context, std::nullopt, std::nullopt));
}

}  // namespace netprov::engine
