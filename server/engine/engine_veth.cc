#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
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

}  // namespace

std::string Engine::TagFor(const VethRecord& record) const {
  return TagOf(registry_.id(), record.uid, VethName(record.id));
}

EngineResult<NetnsRef> Engine::Resolve(const EndpointSpec& spec, const std::string& field) {
  if (spec.namespace_id.empty()) return NetnsRef{};
  std::optional<NamespaceRecord> record = registry_.FindNamespace(spec.namespace_id);
  // Whether it is there the kernel says when it is used: looking first would cost a visit to the namespace.
  if (record.has_value() && record->boot_id == kernel_.BootId()) {
    return NetnsRef{.name = spec.namespace_id, .cookie = record->cookie};
  }
  return ResolveByLooking(spec, field);
}

EngineResult<NetnsRef> Engine::ResolveByLooking(const EndpointSpec& spec, const std::string& field) {
  if (spec.namespace_id.empty()) return NetnsRef{};
  EngineResult<NetnsRef> netns = FindManaged(spec.namespace_id);
  if (!netns.ok() && netns.error().reason != Reason::kKernel) netns.error().field = FieldIn(field, "namespace");
  return netns;
}

NetnsRef Engine::RefOf(const std::string& namespace_id) const {
  if (namespace_id.empty()) return {};
  std::optional<NamespaceRecord> record = registry_.FindNamespace(namespace_id);
  // A cookie is never 0, so a reference to a namespace that we do not know matches none.
  return {.name = namespace_id, .cookie = record.has_value() ? record->cookie : 0};
}

KernelResult<std::optional<Link>> Engine::FindEnd(const VethRecord& record, const Endpoint& end,
                                                  const Endpoint& other) {
  if (record.boot_id != kernel_.BootId()) return std::optional<Link>();
  KernelResult<std::optional<Link>> link = kernel_.FindLink(RefOf(end.namespace_id), end.ifindex);
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
  for (const auto& [end, other] : {std::pair(&record.a, &record.b), std::pair(&record.b, &record.a)}) {
    NETPROV_ASSIGN_OR_RETURN(std::optional<Link> link, FindEnd(record, *end, *other));
    if (!link.has_value()) continue;
    KernelResult<void> deleted = kernel_.DeleteLink(RefOf(end->namespace_id), link->ifindex);
    if (deleted.ok()) break;  // And the other end with it.
    NETPROV_RETURN_IF_ERROR(UnlessGone(std::move(deleted)));
  }
  return DeleteRoutesWithoutLinkOf(record);
}

KernelResult<void> Engine::DeleteRoutesWithoutLinkOf(const VethRecord& record) {
  for (const EndpointSpec* end : {&record.spec.a, &record.spec.b}) {
    std::vector<RouteSpec> routes = end->config.RoutesWithoutLink();
    if (routes.empty()) continue;
    // A later pair can only have been given the same route when this one had lost it (ExpectNoRoutesWithoutLink()). Of
    // a creation that failed, any other's claim is better.
    const std::optional<VethRecord> now = registry_.FindVeth(record.id);
    const bool is_registered = now.has_value() && now->uid == record.uid;
    for (const VethRecord& other : registry_.ListVethsOf(end->namespace_id)) {
      if (other.uid == record.uid || (is_registered && other.create_time <= record.create_time)) continue;
      for (const EndpointSpec* place : {&other.spec.a, &other.spec.b}) {
        if (place->namespace_id != end->namespace_id) continue;
        for (const RouteSpec& route : place->config.RoutesWithoutLink()) std::erase(routes, route);
      }
    }
    NETPROV_RETURN_IF_ERROR(UnlessGone(kernel_.DeleteRoutes(RefOf(end->namespace_id), routes)));
  }
  return {};
}

EngineResult<void> Engine::ExpectNoRoutesWithoutLink(const std::string& object, const EndpointSpec& spec,
                                                     const NetnsRef& netns) {
  const std::vector<RouteSpec> routes = spec.config.RoutesWithoutLink();
  if (routes.empty()) return {};
  KernelResult<std::vector<RouteSpec>> there = kernel_.ListRoutesWithoutLink(netns);
  if (!there.ok()) return KernelFailure(object, "look at the routes where " + object + " shall end", there.error());
  for (const RouteSpec& route : routes) {
    if (!absl::c_any_of(*there, [&](const RouteSpec& other) { return HaveOneKey(other, route); })) continue;
    return KernelFailure(object, "look for " + ToText(route),
                         {.code = EEXIST, .operation = "RTM_NEWROUTE " + route.destination.ToString(), .extack = {}});
  }
  return {};
}

EngineResult<Engine::Shortage> Engine::FindShortage(const std::string& object, const EndpointSpec& spec,
                                                    const Link& link) {
  Shortage shortage;
  for (const std::string& name : spec.config.alternative_names) {
    if (!absl::c_linear_search(link.alternative_names, name)) shortage.alternative_names.push_back(name);
  }
  const IpConfig expected = spec.config.WholeIp();
  // Most pairs have none, and to look costs some 20 us and more.
  if (expected.empty()) return shortage;
  KernelResult<IpConfig> actual = kernel_.FindIpConfig(RefOf(spec.namespace_id), link.ifindex);
  if (!actual.ok()) {
    return KernelFailure(object, absl::StrCat("look at the addresses and routes of ", link.name), actual.error());
  }
  if (!spec.config.RoutesWithoutLink().empty()) {
    KernelResult<std::vector<RouteSpec>> without_link = kernel_.ListRoutesWithoutLink(RefOf(spec.namespace_id));
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
                                                    const Endpoint& made, const EndpointSpec& spec,
                                                    const std::string& tag, const Link& link) {
  LinkExpectation expected{.field = field, .made = made, .config = spec.config, .tag = tag, .bridge_ifindex = 0};
  std::vector<netlink::BridgeVlan> vlans;
  if (!spec.config.bridge.empty()) {
    EngineResult<uint32_t> bridge = ResolveBridge(spec, field, /*by_looking=*/true);
    if (bridge.ok()) {
      expected.bridge_ifindex = *bridge;
    } else if (bridge.error().reason == Reason::kKernel) {
      return std::move(bridge).error();
    }
    if (!spec.config.port.vlans.empty()) {
      auto by_port = kernel_.ListPortVlans(RefOf(spec.namespace_id));
      if (!by_port.ok()) return KernelFailure(object, "look at the VLANs of " + link.name, by_port.error());
      vlans = (*by_port)[link.ifindex];
    }
  }
  return Compare(expected, link, vlans);
}

EngineResult<uint32_t> Engine::ResolveBridge(const EndpointSpec& spec, const std::string& field, bool by_looking) {
  const std::string& name = spec.config.bridge;
  if (name.empty()) return 0;
  const std::string bridge_field = FieldIn(field, "bridge");
  const std::optional<DeviceRecord> record = registry_.FindDevice(name);
  if (!record.has_value()) return AtField(DeviceNotFound(name), bridge_field);
  if (record->link.namespace_id != spec.namespace_id) {
    return AtField(BridgeUnusable(name, "lives elsewhere than the link that shall be its port"), bridge_field);
  }
  // As Resolve().
  if (!by_looking && record->boot_id == kernel_.BootId()) return record->link.ifindex;
  KernelResult<std::optional<Link>> link = FindLinkOf(*record);
  if (!link.ok()) return KernelFailure(name, "look at " + name, link.error());
  if (!link->has_value()) {
    return AtField(BridgeUnusable(name, "was removed by somebody else"), bridge_field);
  }
  return record->link.ifindex;
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
    const EndpointConfig& asked = end.spec->config;
    EngineResult<LinkDifference> difference =
        FindDifference(VethName(record.id), end.field, *end.made, *end.spec, tag, link);
    EngineResult<Shortage> shortage = FindShortage(VethName(record.id), *end.spec, link);
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
    config.Remove(shortage->ip);
    std::erase_if(config.alternative_names,
                  [&](const std::string& name) { return !absl::c_linear_search(link.alternative_names, name); });
    if (asked.bridge.empty()) continue;
    const bool is_port = link.port.has_value() && !difference->settings.master.has_value();
    if (!is_port) config.bridge.clear();
    config.port = is_port ? PortOptions{.settings = *link.port, .vlans = asked.port.vlans} : PortOptions();
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
  KernelResult<std::string> name = kernel_.FreeLinkName(netns, spec.interface_name, taken);
  if (name.ok()) return *std::move(name);
  Error error = KernelFailure(object, "choose a name for " + spec.interface_name, name.error());
  error.field = FieldIn(field, "interface_name");
  return error;
}

EngineResult<void> Engine::CheckNameIsFree(const EndpointSpec& spec, const NetnsRef& netns, const std::string& field,
                                           const std::string& object, const std::optional<VethRecord>& replaced) {
  if (IsPattern(spec.interface_name)) return {};
  KernelResult<std::optional<Link>> link = kernel_.FindLink(netns, spec.interface_name);
  if (!link.ok()) return KernelFailure(object, "look for " + spec.interface_name, link.error());
  if (!link->has_value()) return {};
  if (replaced.has_value()) {
    for (const auto& [end, other] : {std::pair(&replaced->a, &replaced->b), std::pair(&replaced->b, &replaced->a)}) {
      if (end->namespace_id != spec.namespace_id) continue;
      KernelResult<std::optional<Link>> old = FindEnd(*replaced, *end, *other);
      if (!old.ok()) return KernelFailure(object, "look at veth " + replaced->id, old.error());
      if (old->has_value() && (*old)->ifindex == (*link)->ifindex) return {};
    }
    // The kernel may have destroyed it between our looks, as it does a while after its namespace is gone.
    link = kernel_.FindLink(netns, spec.interface_name);
    if (!link.ok()) return KernelFailure(object, "look for " + spec.interface_name, link.error());
    if (!link->has_value()) return {};
  }
  return InterfaceNameTaken(object, field, spec.interface_name, spec.namespace_id);
}

EngineResult<void> Engine::CheckOtherNamesAreFree(const EndpointSpec& spec, const NetnsRef& netns,
                                                  const std::string& field, const std::string& object) {
  const std::vector<std::string>& names = spec.config.alternative_names;
  for (size_t i = 0; i < names.size(); ++i) {
    KernelResult<std::optional<Link>> link = kernel_.FindLink(netns, names[i]);
    if (!link.ok()) return KernelFailure(object, "look for " + names[i], link.error());
    if (!link->has_value()) continue;
    Error taken = InterfaceNameTaken(object, field, names[i], spec.namespace_id);
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
                    .metadata = call.metadata};
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

  NETPROV_ASSIGN_OR_RETURN(const NetnsRef netns_a, Resolve(call.spec.a, "endpoint_a"));
  NETPROV_ASSIGN_OR_RETURN(const NetnsRef netns_b, Resolve(call.spec.b, "endpoint_b"));
  NETPROV_ASSIGN_OR_RETURN(const uint32_t bridge_a,
                           ResolveBridge(call.spec.a, "endpoint_a", call.context.validate_only));
  NETPROV_ASSIGN_OR_RETURN(const uint32_t bridge_b,
                           ResolveBridge(call.spec.b, "endpoint_b", call.context.validate_only));
  // The kernel says EEXIST without saying of which end, so a name that is taken is looked for: here for the sake of
  // validate_only, and after a refusal.
  auto check_names = [&]() -> EngineResult<void> {
    NETPROV_RETURN_IF_ERROR(CheckNameIsFree(call.spec.a, netns_a, "endpoint_a", object, existing));
    return CheckNameIsFree(call.spec.b, netns_b, "endpoint_b", object, existing);
  };
  // A namespace is gone: says which.
  auto check_namespaces = [&]() -> EngineResult<void> {
    NETPROV_RETURN_IF_ERROR(ResolveByLooking(call.spec.a, "endpoint_a"));
    NETPROV_RETURN_IF_ERROR(ResolveByLooking(call.spec.b, "endpoint_b"));
    return {};
  };
  // Nor may what is left of an old pair of the same id go before it is clear that the new one can be made.
  if (call.context.validate_only || existing.has_value()) {
    NETPROV_RETURN_IF_ERROR(check_namespaces());
    NETPROV_RETURN_IF_ERROR(check_names());
  }

  for (int attempt = 1;; ++attempt) {
    // A fixed name in the same place is taken as well, whichever end has it.
    std::vector<std::string> taken_by_b;
    if (netns_a == netns_b && !IsPattern(call.spec.b.interface_name)) taken_by_b.push_back(call.spec.b.interface_name);
    EngineResult<std::string> name_a = ChooseName(call.spec.a, netns_a, "endpoint_a", taken_by_b, object);
    std::vector<std::string> taken_by_a;
    if (netns_a == netns_b && name_a.ok()) taken_by_a.push_back(*name_a);
    EngineResult<std::string> name_b = ChooseName(call.spec.b, netns_b, "endpoint_b", taken_by_a, object);
    for (EngineResult<std::string>* name : {&name_a, &name_b}) {
      if (name->ok()) continue;
      if (NamespaceIsGone(*name->error().kernel)) NETPROV_RETURN_IF_ERROR(check_namespaces());
      return std::move(*name).error();
    }
    record.a = Projected(call.spec.a, *name_a);
    record.b = Projected(call.spec.b, *name_b);
    if (call.context.validate_only) {
      Veth projected = record.ToVeth();
      projected.uid.clear();
      if (call.id.empty()) projected.id.clear();
      return projected;
    }
    if (call.context.stopped != nullptr && call.context.stopped()) return Stopped(object);
    EngineResult<VethRecord> made =
        MakeVeth(record, ToLinkSpec(call.spec.a, netns_a, *name_a, bridge_a),
                 ToLinkSpec(call.spec.b, netns_b, *name_b, bridge_b), call.context, /*is_new=*/true,
                 /*replaced=*/existing);
    if (made.ok()) {
      Veth veth = made->ToVeth();
      veth.expire_time = ExpireTimeOf(made->uid);
      return veth;
    }
    if (made.error().reason != Reason::kKernel) return std::move(made).error();
    if (NamespaceIsGone(*made.error().kernel)) {
      // Gone for a moment, as when somebody mounted another on it: tried again.
      NETPROV_RETURN_IF_ERROR(check_namespaces());
    } else if (made.error().kernel->code == EEXIST && made.error().step == BirthOf(*name_a, *name_b)) {
      NETPROV_RETURN_IF_ERROR(check_names());
    } else if (made.error().kernel->code == EINVAL && (bridge_a != 0 || bridge_b != 0)) {
      // As of a bridge that is not there.
      NETPROV_RETURN_IF_ERROR(ResolveBridge(call.spec.a, "endpoint_a", /*by_looking=*/true));
      NETPROV_RETURN_IF_ERROR(ResolveBridge(call.spec.b, "endpoint_b", /*by_looking=*/true));
      return std::move(made).error();
    } else if (made.error().kernel->code == EEXIST &&
               absl::StartsWith(made.error().kernel->operation, "RTM_NEWLINKPROP")) {
      NETPROV_RETURN_IF_ERROR(CheckOtherNamesAreFree(call.spec.a, netns_a, "endpoint_a", object));
      NETPROV_RETURN_IF_ERROR(CheckOtherNamesAreFree(call.spec.b, netns_b, "endpoint_b", object));
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

EngineResult<VethRecord> Engine::MakeVeth(VethRecord record, const LinkSpec& a, const LinkSpec& b,
                                          const CallContext& context, bool is_new,
                                          const std::optional<VethRecord>& replaced) {
  const std::string object = VethName(record.id);
  NETPROV_RETURN_IF_ERROR(ExpectNoRoutesWithoutLink(object, record.spec.a, a.netns));
  NETPROV_RETURN_IF_ERROR(ExpectNoRoutesWithoutLink(object, record.spec.b, b.netns));
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
  plan.Add({.name = BirthOf(a.name, b.name),
            .run = [&]() -> KernelResult<void> {
              auto ends = kernel_.CreateVeth(a, b, TagFor(record));
              // Somebody deleted the pair before it had its tag: as if that had come first.
              for (int i = 1; i < kMostBirths && !ends.ok() && ends.error().code == ENODEV; ++i) {
                ends = kernel_.CreateVeth(a, b, TagFor(record));
              }
              if (!ends.ok()) return std::move(ends).error();
              record.a = ToEndpoint(record.a.namespace_id, ends->first);
              record.b = ToEndpoint(record.b.namespace_id, ends->second);
              limits_a = ends->first.options.limits;
              limits_b = ends->second.options.limits;
              return {};
            },
            .undo = [&] { return UnlessGone(kernel_.DeleteLink(a.netns, record.a.ifindex)); },
            .sweep = [&]() -> KernelResult<void> {
              EngineResult<void> swept = RollBack(record);
              if (swept.ok()) return {};
              return *swept.error().kernel;
            }});
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
  AddConfigSteps(record, record.spec.a, a, record.a, plan);
  AddConfigSteps(record, record.spec.b, b, record.b, plan);
  const Intent intent{.kind = Intent::Kind::kCreateVeth, .netns = {}, .veth = record, .request = {}};
  EngineResult<void> made = Transact(object, intent, plan, [&] {
    if (is_new) leases_.Start(record.uid, object, record.metadata);
    Veth answer = record.ToVeth();
    answer.expire_time = ExpireTimeOf(record.uid);
    Outcome outcome{.put_veth = record, .request = Answer(context, std::nullopt, std::move(answer))};
    if (replaced.has_value()) outcome.remove_veths = {*replaced};
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
