#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "server/engine/tag.h"
#include "tests/simulation/model.h"
#include "tests/simulation/outcomes.h"

namespace netprov::simulation {

namespace {

// The uid in a tag; empty if it is none.
std::string UidOf(const std::string& alias) {
  const std::optional<engine::Tag> tag = engine::ParseTag(alias);
  return tag.has_value() ? tag->uid : "";
}

State::File& FileOf(State& state, int number) {
  return std::find_if(state.files.begin(), state.files.end(),
                      [number](const auto& file) { return file.second.netns == number; })
      ->second;
}

// Of a record that is vague: what its link has is learnt, unless an update is still to be undone.
enum class Knowledge { kUnknown, kLearnt, kKnown };
Knowledge KnowledgeOf(const State& state, const State::Link& link) {
  auto of = [&](const auto& record) {
    return record.vague ? Knowledge::kLearnt : state.IsVague(record) ? Knowledge::kUnknown : Knowledge::kKnown;
  };
  if (link.moved) return Knowledge::kUnknown;
  for (const auto& [id, veth] : state.veths) {
    if (veth.pair == link.pair && veth.boot == state.boot) return of(veth);
  }
  for (const auto& [name, device] : state.devices) {
    if (device.pair == link.pair && device.boot == state.boot) return of(device);
  }
  return Knowledge::kUnknown;
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
    if (number != 0 && state.files.contains(name) && FileOf(state, number).sysctls != seen.sysctls) {
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

bool IsAsSeen(const State::Link& link, const Sighting::Link& seen) {
  return seen.ip == link.ip && seen.limits == link.limits && seen.port_words == link.port &&
         seen.device_words == link.device && seen.fdb == link.fdb;
}

// Which links are ports of which bridges. What is vague is learnt.
bool MatchesMasters(const Sighting& sighting, const std::map<int, std::string>& places, State& state) {
  std::map<std::pair<int, uint32_t>, int> numbers;  // by the namespace's number and the link's index
  for (const auto& [where, link] : state.links) {
    numbers[{where.first, sighting.links.at({places.at(where.first), where.second}).ifindex}] = link.pair;
  }
  for (auto& [where, link] : state.links) {
    const uint32_t index = sighting.links.at({places.at(where.first), where.second}).master_ifindex;
    const auto master = numbers.find({where.first, index});
    const int number = master == numbers.end() ? 0 : master->second;
    switch (KnowledgeOf(state, link)) {
      case Knowledge::kUnknown:
        break;
      case Knowledge::kLearnt:
        link.master = number;
        break;
      case Knowledge::kKnown:
        if (link.master != number) return false;
    }
  }
  return true;
}

// Nothing is vague any more but what is still to be undone.
void Learnt(State& state) {
  for (auto& [id, veth] : state.veths) veth.vague = false;
  for (auto& [name, device] : state.devices) device.vague = false;
  for (auto& [id, record] : state.namespaces) record.vague = false;
}

}  // namespace

// Every way leads where it must. Adds the places of namespaces that have no name.
static bool MatchesWays(const Sighting& sighting, const State& state, std::map<int, std::string>& places) {
  std::map<std::string, int> ways = state.paths;
  for (const auto& [path, number] : state.paths) places.try_emplace(number, path);
  for (const auto& [pid, number] : state.processes) {
    const std::string way = engine::PlaceName({.path = "", .pid = pid});
    places.try_emplace(number, way);
    ways[way] = number;
  }
  return std::equal(ways.begin(), ways.end(), sighting.ways.begin(), sighting.ways.end(),
                    [&](const auto& way, const auto& seen) {
                      return way.first == seen.first && places.at(way.second) == seen.second;
                    });
}

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
  if (!MatchesWays(sighting, state, places)) return false;
  std::map<int, const engine::Link*> first_ends;
  for (auto& [where, link] : state.links) {
    auto place = places.find(where.first);
    if (place == places.end()) return false;
    auto found = sighting.links.find({place->second, where.second});
    if (found == sighting.links.end()) return false;
    const Sighting::Link& seen = found->second;
    if (link.is_foreign()) {
      if (!seen.alias.empty() || seen.group == engine::kOwnedGroup) return false;
      continue;
    }
    if (seen.kind != link.kind || seen.group != engine::kOwnedGroup) return false;
    if (link.tagged ? !Learn(state, link.instance, UidOf(seen.alias)) : seen.alias != link.alias.value_or(""))
      return false;
    auto [first, is_first] = first_ends.try_emplace(link.pair, &seen);
    if (!is_first && (first->second->peer_ifindex != seen.ifindex || seen.peer_ifindex != first->second->ifindex)) {
      return false;
    }
    const Knowledge knowledge = KnowledgeOf(state, link);
    if (knowledge == Knowledge::kKnown && !IsAsSeen(link, seen)) return false;
  }
  if (!MatchesMasters(sighting, places, state)) return false;
  if (!MatchesPlaces(sighting, places, state) || !MatchesEtc(sighting, state)) return false;
  for (auto& [where, link] : state.links) {
    if (link.is_foreign() || KnowledgeOf(state, link) != Knowledge::kLearnt) continue;
    const Sighting::Link& seen = sighting.links.at({places.at(where.first), where.second});
    link.ip = seen.ip;
    link.limits = seen.limits;
    link.port = seen.port_words;
    link.device = seen.device_words;
    link.fdb = seen.fdb;
  }
  Learnt(state);
  return true;
}

}  // namespace netprov::simulation
