#include <optional>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "tests/simulation/model.h"
#include "tests/simulation/outcomes.h"

namespace netprov::simulation {

using engine::VethSpec;

void AdoptNames(const Call& call, const engine::Veth* made, Expected& expected, State& state) {
  auto record = state.veths.find(call.id);
  // One that was renamed later is degraded.
  if (!expected.veth.has_value() || expected.veth->presence != Presence::kThere || record == state.veths.end() ||
      record->second.instance != expected.veth->instance) {
    return;
  }
  for (const auto& [where, link] : state.links) {
    if (link.pair != record->second.pair || !link.renamed) continue;
    if (made != nullptr && where.second != (link.is_a ? made->a : made->b).interface_name) continue;
    for (VethSpec* spec : {&record->second.made, &expected.veth->spec}) {
      (link.is_a ? spec->a : spec->b).interface_name = where.second;
    }
  }
  if (auto request = state.requests.find(call.request_id); request != state.requests.end()) {
    if (request->second.answer.veth.has_value() && request->second.answer.veth->instance == expected.veth->instance) {
      request->second.answer = expected;
    }
  }
}

// Of a link of ours.
static bool IsUp(const State& state, const State::Link& link) {
  if (link.up.has_value()) return *link.up;
  for (const auto& [id, veth] : state.veths) {
    if (veth.pair == link.pair) return (link.is_a ? veth.made.a : veth.made.b).up;
  }
  for (const auto& [name, device] : state.devices) {
    if (device.pair == link.pair) return device.made.link.up;
  }
  return true;
}

// Of the namespace that a name in an act means, where it is a way into one.
static std::optional<int> NumberOf(const State& state, const std::string& name) {
  if (absl::StartsWith(name, "/")) return LeadsTo(state, {.path = name, .pid = 0});
  for (const auto& [pid, number] : state.processes) {
    if (engine::PlaceName({.path = "", .pid = pid}) == name) return number;
  }
  return std::nullopt;
}

bool Apply(const Act& act, State& state) {
  int place = 0;
  auto file = state.files.find(act.name);
  if (!act.name.empty() && file != state.files.end()) place = file->second.netns;
  if (const auto number = NumberOf(state, act.name); number.has_value()) place = *number;
  const bool no_place = !act.name.empty() && place == 0;
  switch (act.kind) {
    case Act::Kind::kAddNetns:
      if (file != state.files.end()) return false;
      state.Bear(state.next_other);
      state.files[act.name] = {.kind = State::File::Kind::kNetns, .netns = state.next_other++};
      return true;
    case Act::Kind::kRemoveName:
      if (file == state.files.end()) return true;
      state.files.erase(act.name);
      if (place != 0) DestroyIfUnused(state, place);
      return true;
    case Act::Kind::kAddFile:
      if (file != state.files.end()) return false;
      state.files[act.name] = {.kind = act.empty ? State::File::Kind::kEmpty : State::File::Kind::kFull, .netns = 0};
      return true;
    case Act::Kind::kAddLink:
      if (no_place) return true;  // Into a namespace that its creator gives up.
      return state.links.try_emplace({place, act.link}, State::Link{.pair = state.next_other++, .kind = ""}).second;
    case Act::Kind::kRenameLink: {
      auto link = state.links.find({place, act.link});
      if (no_place || link == state.links.end()) return true;
      if (state.links.contains({place, act.new_link})) return false;
      state.links[{place, act.new_link}] = link->second;
      state.links[{place, act.new_link}].renamed = true;
      state.links.erase({place, act.link});
      return true;
    }
    case Act::Kind::kSetLink: {
      if (act.link == "lo") {
        if (file == state.files.end()) return false;
        file->second.up = act.settings.up.value_or(file->second.up);
        if (act.settings.alias.has_value()) file->second.alias = act.settings.alias;
        return true;
      }
      auto found = state.links.find({place, act.link});
      if (found == state.links.end()) return false;
      State::Link& link = found->second;
      if (act.settings.mac.has_value()) {
        link.mac = act.settings.mac;
        // neigh_changeaddr()
        std::erase_if(link.ip, [](const std::string& trait) { return absl::StartsWith(trait, "neighbor "); });
      }
      if (act.settings.mtu.has_value()) link.mtu = act.settings.mtu;
      if (act.settings.up == false && IsUp(state, link)) link.ip = AfterDown(link.ip);
      if (act.settings.up.has_value()) link.up = act.settings.up;
      if (act.settings.device.has_value()) link.device = With(link.device, DeviceWords(*act.settings.device));
      link.port = With(link.port, PortWords(act.settings.port));
      if (act.settings.alias.has_value()) {
        link.tagged = false;
        link.alias = act.settings.alias;
      }
      return true;
    }
    case Act::Kind::kMoveLink: {
      auto found = state.links.find({place, act.link});
      int to = 0;
      if (auto target = state.files.find(act.to); target != state.files.end()) to = target->second.netns;
      if (found == state.links.end() || (!act.to.empty() && to == 0)) return false;
      State::Link link = found->second;
      state.links.erase(found);
      link.moved = true;
      link.master = 0;
      link.port.clear();
      return state.links.try_emplace({to, act.new_link}, link).second;
    }
    case Act::Kind::kTakeAway: {
      const auto found = state.links.find({place, act.link});
      if (found == state.links.end()) return false;
      State::Link& link = found->second;
      State::Beside& beside = state.beside[{place, link.instance}];
      switch (act.loss) {
        case Act::Loss::kIp:
          link.ip = AfterLastAddress(Without(link.ip, IpTraits(act.ip)));
          break;
        case Act::Loss::kRoute:
          for (const engine::RouteSpec& route : act.ip.routes) state.routes[place].erase(TraitOf(route));
          if (state.routes[place].empty()) state.routes.erase(place);
          break;
        case Act::Loss::kLimits:
          link.limits.clear();
          beside.shapers.erase(link.is_a ? "ifb a" : "ifb b");
          break;
        case Act::Loss::kShaper:
          std::erase_if(link.limits, [](const std::string& trait) { return absl::StartsWith(trait, "receives"); });
          beside.shapers.erase(link.is_a ? "ifb a" : "ifb b");
          break;
        case Act::Loss::kNat:
          beside.nat.clear();
          break;
        case Act::Loss::kForwarding:
          state.forwarding.erase(place);
          break;
        case Act::Loss::kMembership:
          link.master = 0;
          link.port.clear();
          break;
        case Act::Loss::kFdb:
          link.fdb.clear();
          break;
      }
      if (beside == State::Beside()) state.beside.erase({place, link.instance});
      return true;
    }
    case Act::Kind::kSetSysctl:
      if (file == state.files.end()) return false;
      SetSysctls({{act.sysctl, act.value}}, file->second);
      return true;
    case Act::Kind::kAddDns:
      return state.etc[act.name].emplace("resolv.conf", std::pair(std::string(), 0)).second;
    case Act::Kind::kRemoveDns: {
      const auto files = state.etc.find(act.name);
      if (files == state.etc.end()) return false;
      const int whose = files->second.begin()->second.second;
      std::erase_if(files->second, [&](const auto& item) { return item.second.second == whose; });
      if (files->second.empty()) state.etc.erase(files);
      return true;
    }
    case Act::Kind::kBindPath:
    case Act::Kind::kUnbindPath:
    case Act::Kind::kStartProcess:
    case Act::Kind::kEndProcess:
    case Act::Kind::kUnshare:
      ApplyToPlaces(act, state);
      return true;
    case Act::Kind::kDeleteLink:
      if (!no_place) state.RemoveLink(place, act.link);
      return true;
  }
  return false;
}

}  // namespace netprov::simulation
