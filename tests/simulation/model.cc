#include "tests/simulation/model.h"

#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/simulation/outcomes.h"

namespace netprov::simulation {

using engine::EndpointSpec;
using engine::Metadata;
using engine::ObjectRef;
using engine::Reason;
using engine::VethSpec;

Presence PresenceOf(engine::State state) {
  switch (state) {
    case engine::State::kReady:
      return Presence::kThere;
    case engine::State::kDegraded:
      return Presence::kDegraded;
    case engine::State::kMissing:
      return Presence::kMissing;
    case engine::State::kStale:
      return Presence::kStale;
  }
  return Presence::kStale;
}

engine::NamespaceSpec State::SpecNow(const std::string& id, const NamespaceRecord& record) const {
  engine::NamespaceSpec spec = record.spec;
  if (!IsThere(id, record)) return spec;
  const engine::Sysctls& now = files.at(id).sysctls;
  for (auto& [name, value] : spec.sysctls) {
    const auto changed = now.find(name);
    value = changed == now.end() ? UsualSysctl(name) : changed->second;
  }
  return spec;
}

Presence State::PresenceOf(const std::string& id, const NamespaceRecord& record) const {
  if (!IsThere(id, record)) return Presence::kMissing;
  const bool is_as_made = IsAsMade(files.at(id)) && SpecNow(id, record) == record.spec && HasDns(id, record);
  return is_as_made ? Presence::kThere : Presence::kDegraded;
}

bool State::HasDns(const std::string& id, const NamespaceRecord& record) const {
  const auto directory = etc.find(id);
  for (const auto& [file, text] : DnsTraits(record.spec.dns)) {
    if (directory == etc.end()) return false;
    const auto found = directory->second.find(file);
    if (found == directory->second.end() || found->second != std::pair(text, record.instance)) return false;
  }
  return true;
}

NamespaceView State::Describe(const std::string& id) const {
  if (auto record = namespaces.find(id); record != namespaces.end()) {
    return {.id = id,
            .instance = record->second.instance,
            .managed = true,
            .adopted = record->second.former_alias.has_value(),
            .presence = PresenceOf(id, record->second),
            .spec = SpecNow(id, record->second),
            .vague = IsVague(record->second),
            .metadata = record->second.metadata,
            .expires = {}};
  }
  const bool is_netns = files.at(id).kind == File::Kind::kNetns;
  return {.id = id,
          .instance = 0,
          .managed = false,
          .presence = is_netns ? Presence::kThere : Presence::kStale,
          .metadata = {},
          .expires = {}};
}

VethView State::DescribeVeth(const std::string& id) const {
  const VethRecord& record = veths.at(id);
  const VethSpec made = WithoutPorts(record.made);
  VethView view{.id = id,
                .instance = record.instance,
                .presence = Presence::kThere,
                .spec = made,
                .vague = IsVague(record),
                .metadata = record.metadata,
                .expires = {}};
  auto routes_in = [this](int place) {
    const auto found = routes.find(place);
    return found == routes.end() ? Traits() : found->second;
  };
  for (bool is_a : {true, false}) {
    const auto where = Find(record, is_a);
    EndpointSpec& end = is_a ? view.spec.a : view.spec.b;
    std::optional<Words>& port = is_a ? view.a_port : view.b_port;
    if (!end.config.bridge.empty()) port.reset();
    if (!where.has_value()) continue;
    const Link& link = links.at(*where);
    if (!end.config.bridge.empty()) {
      const Words asked = PortWords((is_a ? record.spec.a : record.spec.b).config.port);
      if (link.master != 0 && link.master == BridgeNumber(*this, end)) {
        port = link.port;
        if (!asked.contains(kVlans)) port->erase(kVlans);
        if (!Contains(link.port, asked)) view.presence = Presence::kDegraded;
      } else {
        port = Words();
        end.config.bridge.clear();
      }
    }
    end.interface_name = where->second;
    if (link.mac.has_value()) end.mac = link.mac;
    if (link.mtu.has_value()) end.mtu = link.mtu == end.mtu.value_or(kUsualMtu) ? end.mtu : link.mtu;
    end.up = link.up.value_or(end.up);
    KeepThere(link.ip, routes_in(where->first), end.config);
    (is_a ? view.a_there : view.b_there) = true;
    if (!link.tagged) view.presence = Presence::kDegraded;
  }
  for (bool is_a : {true, false}) {
    // Where the other end is.
    const auto where = Find(record, !is_a);
    if (!view.a_there || !view.b_there || !where.has_value()) continue;
    const auto found = beside.find({where->first, record.instance});
    KeepThere(links.at(*where).limits, found == beside.end() ? Traits() : found->second.nat,
              forwarding.contains(where->first), (is_a ? record.made.a : record.made.b).config,
              (is_a ? view.spec.a : view.spec.b).config);
  }
  if (view.spec != made) view.presence = Presence::kDegraded;
  if (!view.a_there || !view.b_there) view.presence = Presence::kMissing;
  return view;
}

std::optional<std::pair<int, std::string>> State::Find(const VethRecord& veth, bool is_a) const {
  if (veth.boot != boot) return std::nullopt;
  auto found = std::find_if(links.begin(), links.end(), [&](const auto& link) {
    return link.second.pair == veth.pair && link.second.is_a == is_a && !link.second.moved;
  });
  if (found == links.end()) return std::nullopt;
  // Where the place leads elsewhere by now, nobody looks for it.
  const auto& place = (is_a ? veth.spec.a : veth.spec.b).place;
  if (place.has_value() && LeadsTo(*this, *place) != found->first.first) return std::nullopt;
  return found->first;
}

bool State::IsThere(const VethRecord& veth) const {
  return Find(veth, /*is_a=*/true).has_value() && Find(veth, /*is_a=*/false).has_value();
}

bool State::IsThere(const std::string& id, const NamespaceRecord& record) const {
  auto file = files.find(id);
  return record.boot == boot && file != files.end() && file->second.kind == File::Kind::kNetns &&
         file->second.netns == record.netns;
}

bool State::IsVague(const VethRecord& veth) const {
  return veth.vague || std::any_of(unfinished.begin(), unfinished.end(), [&](const Unfinished& item) {
           return item.kind == engine::Intent::Kind::kUpdateVeth && item.instance == veth.instance;
         });
}

bool State::IsVague(const DeviceRecord& device) const {
  return device.vague || std::any_of(unfinished.begin(), unfinished.end(), [&](const Unfinished& item) {
           return item.kind == engine::Intent::Kind::kUpdateDevice && item.instance == device.instance;
         });
}

bool State::IsVague(const NamespaceRecord& record) const {
  return record.vague || std::any_of(unfinished.begin(), unfinished.end(), [&](const Unfinished& item) {
           return item.kind == engine::Intent::Kind::kUpdateNamespace && item.instance == record.instance;
         });
}

bool State::IsAnythingVague() const {
  auto is_vague = [](const auto& record) { return record.second.vague; };
  return !unfinished.empty() || !vague.empty() || std::any_of(veths.begin(), veths.end(), is_vague) ||
         std::any_of(devices.begin(), devices.end(), is_vague);
}

void State::Bear(int netns) {
  if (forwards_at_birth) forwarding.insert(netns);
}

void State::Equip(const VethRecord& veth, int place_a, int place_b) {
  for (auto& [where, link] : links) {
    if (link.pair != veth.pair || link.moved) continue;
    link.ip = IpTraits((link.is_a ? veth.spec.a : veth.spec.b).config);
    link.limits = LimitTraits(veth.spec, link.is_a);
    Join(*this, link.is_a ? veth.spec.a : veth.spec.b, link);
  }
  std::erase_if(beside, [&](const auto& item) { return item.first.second == veth.instance; });
  for (const bool is_a : {true, false}) {
    const int place = is_a ? place_a : place_b;
    const Beside here{.nat = NatTraits(veth.spec, is_a), .shapers = ShaperTraits(veth.spec, is_a)};
    if (here != Beside()) {
      Beside& now = beside[{place, veth.instance}];
      now = {.nat = With(now.nat, here.nat), .shapers = With(now.shapers, here.shapers)};
    }
    const engine::EndpointConfig& config = (is_a ? veth.spec.a : veth.spec.b).config;
    if (const Traits own = RouteTraits(config); !own.empty()) routes[place] = With(routes[place], own);
    if (config.ip_forwarding) forwarding.insert(is_a ? place_b : place_a);
  }
}

void State::Strip(const VethRecord& veth) {
  std::erase_if(beside, [&](const auto& item) { return item.first.second == veth.instance; });
  for (const EndpointSpec* end : {&veth.spec.a, &veth.spec.b}) {
    const std::optional<int> place = PlaceOf(*this, *end);
    if (!place.has_value() || !routes.contains(*place)) continue;
    Traits own = RouteTraits(end->config);
    for (const auto& [id, other] : veths) {
      if (other.instance <= veth.instance) continue;
      for (const EndpointSpec* others : {&other.spec.a, &other.spec.b}) {
        if (PlaceOf(*this, *others) == place) own = Without(own, RouteTraits(others->config));
      }
    }
    routes[*place] = Without(routes[*place], own);
    if (routes[*place].empty()) routes.erase(*place);
  }
}

void State::RemovePair(int pair) {
  std::vector<int> gone = {pair};
  for (size_t i = 0; i < gone.size(); ++i) {
    for (const auto& [where, link] : links) {
      if (link.lower == gone[i]) gone.push_back(link.pair);
    }
  }
  auto is_gone = [&gone](int number) { return std::find(gone.begin(), gone.end(), number) != gone.end(); };
  std::erase_if(links, [&](const auto& link) { return is_gone(link.second.pair); });
  for (auto& [where, link] : links) {
    if (!is_gone(link.master)) continue;
    link.master = 0;
    link.port.clear();
  }
}

void State::RemoveLink(int place, const std::string& name) {
  const auto link = links.find({place, name});
  if (link != links.end()) RemovePair(link->second.pair);
}

void State::RemoveLinksIn(int netns) {
  for (auto link = links.lower_bound({netns, ""}); link != links.end() && link->first.first == netns;
       link = links.lower_bound({netns, ""})) {
    RemoveLink(netns, std::string(link->first.second));
  }
}

void State::ForgetNamespace(const std::string& id) {
  namespaces.erase(id);
  std::erase_if(veths, [&](const auto& veth) { return EndsIn(veth.second, id); });
  std::erase_if(devices, [&](const auto& device) { return device.second.spec.link.namespace_id == id; });
}

std::optional<absl::Duration> State::Remaining(const Metadata& metadata) const {
  if (metadata.ttl == absl::ZeroDuration()) return std::nullopt;
  return std::max(absl::ZeroDuration(), heard.at(metadata.owner) + metadata.ttl - now);
}

bool State::HasLease(const std::string& owner) const {
  bool has = false;
  ForEach([&](const std::string&, const auto& record) {
    has = has || (record.metadata.owner == owner && record.metadata.ttl != absl::ZeroDuration());
  });
  return has;
}

// ---- Transitions

std::vector<Outcome> OutcomesOf(const State& before, const Call& call, const Circumstances& circumstances,
                                const Expected* so_far) {
  if (call.is_piecemeal()) return StepsOf(before, call, circumstances, so_far);
  Outcomes outcomes(before, call, circumstances);
  switch (call.method) {
    case Call::Method::kCreateNamespace:
      CreateNamespace(before, call, outcomes);
      break;
    case Call::Method::kDeleteNamespace:
      DeleteNamespace(before, call, outcomes);
      break;
    case Call::Method::kAdoptNamespace:
      AdoptNamespace(before, call, outcomes);
      break;
    case Call::Method::kReleaseNamespace:
      ReleaseNamespace(before, call, outcomes);
      break;
    case Call::Method::kCreateVeth:
      CreateVeth(before, call, outcomes);
      break;
    case Call::Method::kDeleteVeth:
      DeleteVeth(before, call, outcomes);
      break;
    case Call::Method::kCreateDevice:
      CreateDevice(before, call, outcomes);
      break;
    case Call::Method::kDeleteDevice:
      DeleteDevice(before, call, outcomes);
      break;
    case Call::Method::kUpdateDevice:
      UpdateDevice(before, call, outcomes);
      break;
    case Call::Method::kUpdateNamespace:
      UpdateNamespace(before, call, outcomes);
      break;
    case Call::Method::kUpdateVeth:
      UpdateVeth(before, call, outcomes);
      break;
    case Call::Method::kCollectGarbage: {
      Expected expected{.kept = call.kept};
      for (const ObjectRef& object : call.doomed) expected.deleted.push_back(object.name);
      outcomes.Add(Outcome::Kind::kDone, before, std::move(expected));
      break;
    }
    case Call::Method::kExpire:
      Expire(before, call, outcomes);
      break;
    case Call::Method::kTend:
      Tend(before, call, outcomes);
      break;
    case Call::Method::kGetNamespace:
      outcomes.Fail(before);
      if (!before.namespaces.contains(call.id) && !before.files.contains(call.id)) {
        outcomes.Refuse(Reason::kNamespaceNotFound);
      } else {
        outcomes.Add(Outcome::Kind::kDone, before, {.netns = before.Describe(call.id), .veth = {}});
      }
      break;
    case Call::Method::kGetVeth:
      outcomes.Fail(before);
      if (!before.veths.contains(call.id)) {
        outcomes.Refuse(Reason::kVethNotFound);
      } else {
        outcomes.Add(Outcome::Kind::kDone, before, {.netns = {}, .veth = before.DescribeVeth(call.id)});
      }
      break;
    case Call::Method::kGetDevice:
      outcomes.Fail(before);
      if (!before.devices.contains(call.id)) {
        outcomes.Refuse(Reason::kDeviceNotFound);
      } else {
        outcomes.Add(Outcome::Kind::kDone, before, {.device = before.DescribeDevice(call.id)});
      }
      break;
    case Call::Method::kListNamespaces:
    case Call::Method::kListVeths:
    case Call::Method::kListDevices:
      outcomes.Fail(before);
      outcomes.Add(Outcome::Kind::kDone, before);
      break;
  }
  return std::move(outcomes).Take();
}

// Whether a pair has neither its tag nor its names.
bool IsBeyondKnowing(const State& state, int pair) {
  return std::any_of(state.links.begin(), state.links.end(), [&](const auto& link) {
    return link.second.pair == pair && !link.second.tagged && link.second.renamed;
  });
}

bool HoldsNothingOfOurs(const State& state) {
  return state.namespaces.empty() && state.veths.empty() && state.devices.empty() && state.unfinished.empty() &&
         std::all_of(state.links.begin(), state.links.end(), [&](const auto& link) {
           return link.second.is_foreign() || IsBeyondKnowing(state, link.second.pair);
         });
}

void Hear(const std::string& owner, State& state) {
  if (!owner.empty()) state.heard[owner] = state.now;
}

void HearAll(State& state) {
  for (auto& [owner, heard] : state.heard) heard = state.now;
}

void Reboot(State& state) {
  ++state.boot;
  state.files.clear();
  state.paths.clear();
  state.processes.clear();
  state.links.clear();
  state.beside.clear();
  state.routes.clear();
  state.forwarding.clear();
  state.Bear(0);
  state.vague.clear();
}

}  // namespace netprov::simulation
