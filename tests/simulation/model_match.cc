#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "server/engine/tag.h"
#include "tests/simulation/model.h"
#include "tests/simulation/outcomes.h"

namespace netprov::simulation {

using engine::EndpointSpec;
using engine::Metadata;

namespace {

// An answer that was kept says it too.
template <typename View>
bool MatchesLease(const View& view, const std::optional<absl::Time>& expire_time) {
  const bool has_lease = view.instance != 0 && view.metadata.ttl != absl::ZeroDuration();
  return expire_time.has_value() == view.expires.value_or(has_lease);
}

bool MatchesPresence(bool vague, Presence expected, engine::State state) {
  auto is_whole = [](Presence presence) { return presence == Presence::kThere || presence == Presence::kDegraded; };
  const Presence seen = PresenceOf(state);
  return seen == expected || (vague && is_whole(seen) && is_whole(expected));
}

bool MatchesView(const NamespaceView& view, const engine::Namespace& netns, State& state) {
  return netns.metadata == view.metadata && MatchesLease(view, netns.expire_time) && netns.id == view.id &&
         netns.managed == view.managed &&
         (MatchesPresence(view.vague, view.presence, netns.state) && (view.vague || netns.spec == view.spec)) &&
         Learn(state, view.instance, netns.uid);
}

bool MatchesEnd(const VethView& view, bool is_a, const engine::Endpoint& end, State& state) {
  const EndpointSpec& spec = is_a ? view.spec.a : view.spec.b;
  if (end.namespace_id != spec.namespace_id || end.interface_name != spec.interface_name || end.up != spec.up ||
      (!view.vague && end.config != spec.config)) {
    return false;
  }
  if (view.instance == 0) return end.ifindex == 0 && end.mtu == spec.mtu.value_or(0);
  if (end.mtu != spec.mtu.value_or(kUsualMtu) || (end.ifindex != 0) != (is_a ? view.a_there : view.b_there))
    return false;
  return spec.mac.has_value() ? end.mac == spec.mac : Learn(state, view.instance, is_a, *end.mac);
}

bool MatchesView(const VethView& view, const engine::Veth& veth, State& state) {
  if (veth.metadata != view.metadata || !MatchesLease(view, veth.expire_time)) return false;
  if (veth.id != view.id || !MatchesPresence(view.vague, view.presence, veth.state) ||
      !Learn(state, view.instance, veth.uid)) {
    return false;
  }
  return MatchesEnd(view, /*is_a=*/true, veth.a, state) && MatchesEnd(view, /*is_a=*/false, veth.b, state);
}

// The uid in a tag; empty if it is none.
std::string UidOf(const std::string& alias) {
  const std::optional<engine::Tag> tag = engine::ParseTag(alias);
  return tag.has_value() ? tag->uid : "";
}

}  // namespace

bool Learn(State& state, int instance, const std::string& uid) {
  if (instance == 0) return uid.empty();
  if (uid.empty()) return false;
  auto [known, is_new] = state.uids.try_emplace(instance, uid);
  if (!is_new) return known->second == uid;
  // Nobody else's.
  return std::count_if(state.uids.begin(), state.uids.end(), [&](const auto& other) { return other.second == uid; }) ==
         1;
}

// A pair keeps its addresses, unless somebody changes them for a time.
bool Learn(State& state, int instance, bool is_a, const netlink::MacAddress& mac) {
  return state.macs.try_emplace({instance, is_a}, mac).first->second == mac;
}

bool Matches(const Expected& expected, const Answer& answer, State& state) {
  if (answer.ok != expected.ok) return false;
  if (!answer.ok) return answer.error->reason == expected.reason && answer.error->specs_match == expected.specs_match;
  if (answer.presence != expected.presence || answer.healed != expected.healed) return false;
  if (answer.deleted != expected.deleted || answer.kept != expected.kept) return false;
  if (answer.netns.has_value() != expected.netns.has_value() || answer.veth.has_value() != expected.veth.has_value()) {
    return false;
  }
  if (answer.netns.has_value() && !MatchesView(*expected.netns, *answer.netns, state)) return false;
  return !answer.veth.has_value() || MatchesView(*expected.veth, *answer.veth, state);
}

bool MatchesList(const std::vector<engine::Namespace>& namespaces, bool disturbed, State& state) {
  std::set<std::string> ids;
  for (const auto& [id, file] : state.files) ids.insert(id);
  for (const auto& [id, record] : state.namespaces) ids.insert(id);
  if (ids.size() != namespaces.size()) return false;
  auto id = ids.begin();
  return std::all_of(namespaces.begin(), namespaces.end(), [&](const engine::Namespace& netns) {
    NamespaceView view = state.Describe(*id++);
    // What is not ours and cannot be entered is listed all the same.
    if (disturbed && !view.managed && netns.state == engine::State::kStale) view.presence = Presence::kStale;
    return MatchesView(view, netns, state);
  });
}

bool MatchesList(const std::vector<engine::Veth>& veths, State& state) {
  if (state.veths.size() != veths.size()) return false;
  auto record = state.veths.begin();
  return std::all_of(veths.begin(), veths.end(), [&](const engine::Veth& veth) {
    return MatchesView(state.DescribeVeth((record++)->first), veth, state);
  });
}

bool MatchesLeases(const engine::LeaseBook& leases, const State& state) {
  std::optional<absl::Duration> next;
  size_t expired = 0;
  auto matches = [&](int instance, const Metadata& metadata) {
    const std::optional<absl::Duration> remaining = state.Remaining(metadata);
    if (remaining.has_value()) next = std::min(next.value_or(*remaining), *remaining);
    if (remaining == absl::ZeroDuration()) ++expired;
    auto uid = state.uids.find(instance);
    return uid == state.uids.end() || leases.Remaining(uid->second) == remaining;
  };
  for (const auto& [id, record] : state.namespaces) {
    if (!matches(record.instance, record.metadata)) return false;
  }
  for (const auto& [id, record] : state.veths) {
    if (!matches(record.instance, record.metadata)) return false;
  }
  return leases.UntilNextEnd() == next && leases.Expired().size() == expired;
}

bool MatchesRenewal(const engine::LeaseBook::Renewal& renewal, const std::string& owner, const State& state) {
  engine::LeaseBook::Renewal expected;
  auto count = [&](const Metadata& metadata) {
    if (metadata.owner != owner || metadata.ttl == absl::ZeroDuration()) return;
    ++expected.leases;
    expected.shortest = std::min(expected.shortest.value_or(metadata.ttl), metadata.ttl);
  };
  for (const auto& [id, record] : state.namespaces) count(record.metadata);
  for (const auto& [id, record] : state.veths) count(record.metadata);
  return renewal.leases == expected.leases && renewal.shortest == expected.shortest;
}

namespace {

State::File& FileOf(State& state, int number) {
  return std::find_if(state.files.begin(), state.files.end(),
                      [number](const auto& file) { return file.second.netns == number; })
      ->second;
}

const State::VethRecord* FindPair(const State& state, int pair) {
  for (const auto& [id, veth] : state.veths) {
    if (veth.pair == pair && veth.boot == state.boot) return &veth;
  }
  return nullptr;
}

bool IsVague(const State& state, int pair) {
  const State::VethRecord* veth = FindPair(state, pair);
  return veth != nullptr && state.IsVague(*veth);
}

template <typename Map>
Traits At(const Map& map, const typename Map::key_type& key) {
  const auto found = map.find(key);
  return found == map.end() ? Traits() : found->second;
}

// What is beside the links. What is vague is learnt, unless an update is still to be undone.
bool MatchesPlaces(const Sighting& sighting, const std::map<int, std::string>& places, State& state) {
  for (const auto& [number, name] : places) {
    const Sighting::Place& seen = sighting.places.at(name);
    std::map<std::string, Traits> nat = seen.nat;
    std::map<std::string, Traits> shapers = seen.shapers;
    for (const auto& [id, veth] : state.veths) {
      const auto uid = state.uids.find(veth.instance);
      if (uid == state.uids.end()) continue;
      const State::Beside now{.nat = At(nat, uid->second), .shapers = At(shapers, uid->second)};
      nat.erase(uid->second);
      shapers.erase(uid->second);
      const auto known = state.beside.find({number, veth.instance});
      if (!state.IsVague(veth)) {
        if (now != (known == state.beside.end() ? State::Beside() : known->second)) return false;
      } else if (now == State::Beside()) {
        state.beside.erase({number, veth.instance});
      } else {
        state.beside[{number, veth.instance}] = now;
      }
    }
    // What is nobody's is what a creation has left.
    if ((!nat.empty() || !shapers.empty()) && state.unfinished.empty()) return false;
    if (number != 0 && FileOf(state, number).sysctls != seen.sysctls) {
      const auto record = state.namespaces.find(name);
      const bool is_vague = record != state.namespaces.end() && state.IsVague(record->second);
      if (!is_vague) return false;
      FileOf(state, number).sysctls = seen.sysctls;
    }
    const Traits routes = At(state.routes, number);
    // What is left of a creation or an update is not counted in.
    if (!state.unfinished.empty()) continue;
    if (state.vague.contains(number)) {
      if (seen.routes.empty()) {
        state.routes.erase(number);
      } else {
        state.routes[number] = seen.routes;
      }
      if (seen.forwards) {
        state.forwarding.insert(number);
      } else {
        state.forwarding.erase(number);
      }
    } else if (routes != seen.routes || state.forwarding.contains(number) != seen.forwards) {
      return false;
    }
  }
  if (state.unfinished.empty()) state.vague.clear();
  return true;
}

bool MatchesEtc(const Sighting& sighting, State& state) {
  std::map<std::string, State::Etc> seen;
  for (const auto& [name, files] : sighting.etc) {
    for (const auto& [file, text] : files) {
      const size_t end = text.find('\n') + 1;
      const std::string uid = UidOf(text.substr(0, end - 1).substr(2));
      int instance = 0;
      for (const auto& [number, known] : state.uids) {
        if (known == uid) instance = number;
      }
      const auto record = state.namespaces.find(name);
      if (instance == 0 && !uid.empty() && record != state.namespaces.end() &&
          !state.uids.contains(record->second.instance)) {
        if (Learn(state, record->second.instance, uid)) instance = record->second.instance;
      }
      const bool is_known = record != state.namespaces.end() && record->second.instance == instance;
      // What a creation has left.
      if (!uid.empty() && !is_known && !state.unfinished.empty()) continue;
      seen[name][file] = {text.substr(end), instance};
    }
  }
  for (auto& [id, record] : state.namespaces) {
    if (!state.IsVague(record)) continue;
    if (seen.contains(id)) {
      state.etc[id] = seen[id];
    } else {
      state.etc.erase(id);
    }
  }
  return seen == state.etc;
}

// Nothing is vague any more but what is still to be undone.
void Learnt(State& state) {
  for (auto& [id, veth] : state.veths) veth.vague = false;
  for (auto& [id, record] : state.namespaces) record.vague = false;
}

}  // namespace

bool Matches(const Sighting& sighting, State& state) {
  if (sighting.files.size() != state.files.size() || sighting.links.size() != state.links.size()) return false;
  std::map<int, std::string> places = {{0, ""}};
  for (const auto& [name, file] : state.files) {
    auto seen = sighting.files.find(name);
    if (seen == sighting.files.end() || seen->second.is_netns != (file.kind == State::File::Kind::kNetns)) return false;
    if (file.kind != State::File::Kind::kNetns) continue;
    places[file.netns] = name;
    // Somebody else's has no alias; ours has one with a uid, also when its creation has not been undone yet.
    if (file.alias.has_value() || file.instance == 0) {
      if (seen->second.alias != file.alias.value_or("")) return false;
    } else if (!Learn(state, file.instance, UidOf(seen->second.alias))) {
      return false;
    }
    // Whoever makes a namespace may leave it down.
    if (file.instance != 0 && seen->second.up != file.up) return false;
  }
  std::map<int, const engine::Link*> first_ends;
  for (const auto& [where, link] : state.links) {
    auto place = places.find(where.first);
    if (place == places.end()) return false;
    auto found = sighting.links.find({place->second, where.second});
    if (found == sighting.links.end()) return false;
    const engine::Link& seen = found->second;
    if (link.pair == 0) {
      if (!seen.alias.empty() || seen.kind == "veth") return false;
      continue;
    }
    if (seen.kind != "veth" || seen.group != engine::kOwnedGroup) return false;
    if (link.tagged ? !Learn(state, link.instance, UidOf(seen.alias)) : seen.alias != link.alias.value_or(""))
      return false;
    auto [first, is_first] = first_ends.try_emplace(link.pair, &seen);
    if (!is_first && (first->second->peer_ifindex != seen.ifindex || seen.peer_ifindex != first->second->ifindex)) {
      return false;
    }
    const bool is_known = IsRecorded(state, link.pair) && !link.moved && !IsVague(state, link.pair);
    if (is_known && (found->second.ip != link.ip || found->second.limits != link.limits)) return false;
  }
  if (!MatchesPlaces(sighting, places, state) || !MatchesEtc(sighting, state)) return false;
  for (auto& [where, link] : state.links) {
    const auto place = places.find(where.first);
    if (!IsRecorded(state, link.pair) || !IsVague(state, link.pair) || place == places.end()) continue;
    const Sighting::Link& seen = sighting.links.at({place->second, where.second});
    const State::VethRecord& veth = *FindPair(state, link.pair);
    // An update that could not be undone yet goes back to what was before.
    if (!veth.vague) continue;
    link.ip = seen.ip;
    link.limits = seen.limits;
  }
  Learnt(state);
  return true;
}

}  // namespace netprov::simulation
