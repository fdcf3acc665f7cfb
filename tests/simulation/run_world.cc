#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/engine/engine.h"
#include "server/engine/tag.h"
#include "tests/simulation/history.h"
#include "tests/simulation/model.h"
#include "tests/simulation/run.h"
#include "tests/simulation/world.h"

namespace netprov::simulation {

using engine::NetnsRef;

namespace {

std::string UidOf(const engine::Link& link) {
  const std::optional<engine::Tag> tag = engine::ParseTag(link.alias);
  return tag.has_value() ? tag->uid : "";
}

// One of them, but for an address before others of its network, with which these would go.
engine::IpConfig OneOf(const engine::IpConfig& ip, size_t which) {
  engine::IpConfig one;
  switch (which % 3) {
    case 0:
      if (!ip.addresses.empty()) one.addresses = {ip.addresses.back()};
      break;
    case 1:
      if (!ip.neighbours.empty()) one.neighbours = {ip.neighbours.back()};
      break;
    default:
      if (!ip.routes.empty() && ip.routes.back().through_link()) one.routes = {ip.routes.back()};
  }
  return one;
}

}  // namespace

// Where a pair ends at a process, nobody may find it again by the other end, which is moved.
static bool IsOfProcess(const engine::Registry& registry, const NetnsRef& place, uint32_t ifindex) {
  const std::vector<engine::VethRecord> veths = registry.ListVeths("", SIZE_MAX);
  return std::any_of(veths.begin(), veths.end(), [&](const engine::VethRecord& record) {
    auto is_it = [&](const engine::Endpoint& end) {
      return end.namespace_id == place.name && end.place == place.place && end.ifindex == ifindex;
    };
    return (is_it(record.a) || is_it(record.b)) && HasProcess(record.spec);
  });
}

bool Simulation::IsOurs(const NetnsRef& place, uint32_t ifindex, bool tagged) {
  const std::string boot = world_.kernel().BootId();
  const std::string name = WhereIs(engine::Endpoint{.namespace_id = place.name, .place = place.place});
  if (ifindex == engine::kLoopbackIndex) {
    const auto record = registry_->FindNamespace(place.name);
    return record.has_value() && record->boot_id == boot && record->cookie == place.cookie;
  }
  for (const engine::DeviceRecord& record : registry_->ListDevices()) {
    if (record.boot_id != boot || record.link.namespace_id != name || record.link.ifindex != ifindex) continue;
    auto link = world_.kernel().FindLink(place, ifindex);
    if (!link.ok() || !link->has_value() || (*link)->kind != engine::KindOf(record.spec.options)) return false;
    const std::optional<engine::Tag> tag = engine::ParseTag((*link)->alias);
    return tag.has_value() ? tag->uid == record.uid : !tagged && (*link)->group == engine::kOwnedGroup;
  }
  for (const engine::VethRecord& record : registry_->ListVeths("", SIZE_MAX)) {
    auto is_it = [&](const engine::Endpoint& end) {
      return WhereIs(end) == name && end.ifindex == ifindex && (!end.place || end.netns_cookie == place.cookie);
    };
    if (record.boot_id != boot || (!is_it(record.a) && !is_it(record.b))) continue;
    auto is_there = [&](const engine::Endpoint& end, const engine::Endpoint& other) {
      auto link = world_.kernel().FindLink(RefOf(WhereIs(end)), end.ifindex);
      if (!link.ok() || !link->has_value() || (*link)->peer_ifindex != other.ifindex) return false;
      const std::optional<engine::Tag> tag = engine::ParseTag((*link)->alias);
      return tag.has_value() ? tag->uid == record.uid : !tagged && (*link)->group == engine::kOwnedGroup;
    };
    return is_there(record.a, record.b) && is_there(record.b, record.a);
  }
  return false;
}

Act Simulation::Aim(Act act) {
  const bool is_of_end =
      act.kind == Act::Kind::kSetLink || act.kind == Act::Kind::kMoveLink || act.kind == Act::Kind::kTakeAway;
  if (!is_of_end || !act.link.empty()) return act;
  std::vector<std::pair<engine::Endpoint, engine::EndpointSpec>> ends;
  for (const engine::VethRecord& veth : registry_->ListVeths("", SIZE_MAX)) {
    ends.insert(ends.end(), {{veth.a, veth.spec.a}, {veth.b, veth.spec.b}});
  }
  for (const engine::DeviceRecord& device : registry_->ListDevices()) ends.push_back({device.link, device.spec.link});
  // Options of a port are those of a port.
  if (!act.settings.port.empty()) {
    std::erase_if(ends, [](const auto& end) { return end.second.config.bridge.empty(); });
  }
  // Mostly somebody takes away what is there.
  auto has_it = [&act](const auto& of) {
    if (act.loss == Act::Loss::kRoute) return !RoutesWithoutLinkOf(of.second.config.ip).empty();
    if (act.loss == Act::Loss::kShaper) return of.first.shaper_ifindex != 0;
    return act.loss != Act::Loss::kMembership || !of.second.config.bridge.empty();
  };
  if (act.kind == Act::Kind::kTakeAway) std::erase_if(ends, [&](const auto& of) { return !has_it(of); });
  if (ends.empty()) return act;
  const auto& [end, spec] = ends[act.end % ends.size()];
  auto link = world_.kernel().FindLink(RefOf(WhereIs(end)), end.ifindex);
  if (!link.ok() || !link->has_value()) return act;
  act.name = WhereIs(end);
  act.link = (*link)->name;
  if (act.loss == Act::Loss::kIp) act.ip = OneOf(spec.config.ip, act.end);
  if (act.loss == Act::Loss::kRoute) act.ip.routes = RoutesWithoutLinkOf(spec.config.ip);
  return act;
}

bool Simulation::TakeAway(const Act& act, const NetnsRef& place, const engine::Link& link) {
  engine::Kernel& kernel = world_.kernel();
  const std::string uid = UidOf(link);
  switch (act.loss) {
    case Act::Loss::kIp:
      return !act.ip.empty() && kernel.Unconfigure(place, link.ifindex, {}, act.ip).ok();
    case Act::Loss::kRoute: {
      auto there = kernel.ListRoutesWithoutLink(place);
      // Of two pairs that have asked for one, it is anybody's.
      if (act.ip.routes.empty() || there->empty()) return false;
      return kernel.DeleteRoutes(place, act.ip.routes).ok();
    }
    case Act::Loss::kLimits: {
      if (link.kind != "veth") return false;
      const engine::ShapingSpec nothing{.egress = {}, .ingress = {}, .ifb_name = "", .alias = link.alias};
      auto held = kernel.FindShaping(place, link.ifindex);
      if (!held.ok() || *held == engine::Shaping()) return false;
      return kernel.Shape(place, link.ifindex, nothing).ok();
    }
    case Act::Loss::kShaper: {
      auto held = kernel.FindShaping(place, link.ifindex);
      return held.ok() && held->ifb_ifindex != 0 && kernel.DeleteLink(place, held->ifb_ifindex).ok();
    }
    case Act::Loss::kNat: {
      auto there = kernel.ListNat(place, registry_->id());
      std::erase_if(*there, [&](const netlink::NatElement& element) {
        const std::optional<engine::Tag> tag = engine::ParseTag(element.tag);
        return !tag.has_value() || tag->uid != uid;
      });
      return !there->empty() && kernel.DeleteNat(place, registry_->id(), *there).ok();
    }
    case Act::Loss::kForwarding:
      return kernel.SetSysctls(place, {{kForwardingSysctl, "0"}}).ok();
    case Act::Loss::kMembership:
      return link.master_ifindex != 0 && kernel.SetLink(place, link.ifindex, {.master = 0}).ok();
    case Act::Loss::kFdb: {
      if (link.kind != "vxlan") return false;
      auto entries = kernel.ListFdb(place, link.ifindex);
      std::erase_if(*entries, [](const engine::FdbEntry& entry) { return entry.mac.IsZero(); });
      return !entries->empty() && kernel.SetLink(place, link.ifindex, {.lost_fdb = *entries}).ok();
    }
  }
  return false;
}

void Simulation::Meddle(const Act& meant) {
  // What is read back as it was made, or has just been looked at, is not changed: the model is too plain for that.
  const bool drifts = meant.kind >= Act::Kind::kSetLink;
  const bool waits = std::any_of(flights_.begin(), flights_.end(), [&](const auto& flight) {
    return flight.second.turn != nullptr && (flight.second.call.method == Call::Method::kTend ||
                                             flight.second.call.updates() || (drifts && flight.second.call.creates()));
  });
  // Nor what leads into namespaces where that would leave too many ways in which several calls may go on.
  const bool is_way = meant.kind >= Act::Kind::kBindPath && meant.kind <= Act::Kind::kUnshare;
  const auto begun =
      std::count_if(flights_.begin(), flights_.end(), [](const auto& flight) { return flight.second.turn != nullptr; });
  constexpr size_t kManyConfigs = 50;
  if (waits || (is_way && (begun > 1 || configs_.size() > kManyConfigs))) Drain();
  Act act = Aim(meant);
  act.name = WithNumber(act.name);
  const NetnsRef place = RefOf(act.name);
  const bool is_place = act.name.empty() || place.cookie != 0;
  auto there = [&](const std::string& link) {
    if (!is_place) return false;
    auto found = world_.kernel().FindLink(place, link);
    return found.ok() && found->has_value();
  };
  const bool has_name = !act.name.empty() && !place.place.has_value();
  const bool name_taken = has_name && *world_.kernel().FindNetns(act.name) != std::nullopt;
  // What fails for another program changes nothing.
  bool done = false;
  std::string kind;  // of the link that drifts
  switch (act.kind) {
    case Act::Kind::kAddNetns:
      if ((done = !name_taken)) world_.AddNetns(act.name);
      break;
    case Act::Kind::kRemoveName:
      if ((done = name_taken)) {
        if (is_place) {
          world_.RemoveNetns(act.name);
        } else {
          world_.RemoveFile(act.name);
        }
      }
      break;
    case Act::Kind::kAddFile:
      if ((done = !name_taken)) world_.AddFile(act.name, act.empty);
      break;
    case Act::Kind::kAddLink:
      if ((done = is_place && !there(act.link))) world_.AddLink(place, act.link);
      break;
    case Act::Kind::kBindPath:
    case Act::Kind::kUnbindPath:
    case Act::Kind::kStartProcess:
    case Act::Kind::kEndProcess:
    case Act::Kind::kUnshare:
      done = ChangeWays(act);
      break;
    case Act::Kind::kRenameLink:
      if ((done = there(act.link) && !there(act.new_link))) world_.RenameLink(place, act.link, act.new_link);
      break;
    case Act::Kind::kDeleteLink:
      if ((done = there(act.link))) {
        const auto link = *world_.kernel().FindLink(place, act.link);
        (void)world_.kernel().DeleteLink(place, link->ifindex);
      }
      break;
    case Act::Kind::kSetLink:
      if (there(act.link)) {
        const auto link = *world_.kernel().FindLink(place, act.link);
        const bool changes = !act.settings.mac.has_value() || act.settings.mac != link->mac;
        // Options of a bridge or of a port.
        const bool fits = (!act.settings.device.has_value() || link->kind == "bridge") &&
                          (act.settings.port.empty() || link->port.has_value());
        done = changes && fits && IsOurs(place, link->ifindex, /*tagged=*/false) &&
               world_.kernel().SetLink(place, link->ifindex, act.settings).ok();
        kind = link->kind;
      }
      break;
    case Act::Kind::kTakeAway:
      if (there(act.link)) {
        const auto link = *world_.kernel().FindLink(place, act.link);
        done = IsOurs(place, link->ifindex, /*tagged=*/true) && TakeAway(act, place, *link);
      }
      break;
    case Act::Kind::kSetSysctl:
      if (is_place && IsOurs(place, engine::kLoopbackIndex, /*tagged=*/false)) {
        done = world_.kernel().SetSysctls(place, {{act.sysctl, act.value}}).ok();
      }
      break;
    case Act::Kind::kRemoveDns:
    case Act::Kind::kAddDns: {
      // What an update left it may have to put back.
      if (!registry_->ListPending().empty()) break;
      auto files = world_.kernel().FindEtcFiles(act.name)->files;
      constexpr char kSomebody[] = "# somebody";
      if (act.kind == Act::Kind::kAddDns) {
        if (files.contains("resolv.conf")) break;
        done = world_.kernel().SetEtcFiles(act.name, kSomebody, {{"resolv.conf", "# somebody\n"}}, false).ok();
      } else if (!files.empty()) {
        const std::string& text = files.begin()->second;
        done = world_.kernel().SetEtcFiles(act.name, text.substr(0, text.find('\n')), {}, true).ok();
      }
      break;
    }
    case Act::Kind::kMoveLink: {
      const NetnsRef to = RefOf(act.to);
      const bool fits = (act.to.empty() || to.cookie != 0) && act.to != act.name && !there(act.new_link) &&
                        !*world_.kernel().FindLink(to, act.new_link);
      if (!fits || !there(act.link)) break;
      const auto link = *world_.kernel().FindLink(place, act.link);
      if (link->kind != "veth" || IsOfProcess(*registry_, place, link->ifindex)) break;
      if ((done = IsOurs(place, link->ifindex, /*tagged=*/true))) {
        world_.RenameLink(place, act.link, act.new_link);
        world_.MoveLink(place, act.new_link, to);
      }
      break;
    }
  }
  if (!done) return;
  Log(absl::StrCat("somebody: ", act.ToString()));
  Count("act");
  if (act.kind == Act::Kind::kMoveLink) Count("drift: moved");
  if (act.kind == Act::Kind::kTakeAway) Count(absl::StrCat("drift: lost ", LossName(act.loss)));
  if (act.kind == Act::Kind::kSetSysctl) Count("drift: sysctl");
  if (act.kind == Act::Kind::kRemoveDns || act.kind == Act::Kind::kAddDns) Count("drift: DNS files");
  if (!kind.empty()) Count("drift: of a link of kind " + kind);
  if (act.kind == Act::Kind::kSetLink) {
    Count(absl::StrCat("drift: ", act.link == "lo" ? "lo " : "",
                       act.settings.mtu.has_value()      ? "mtu"
                       : act.settings.mac.has_value()    ? "mac"
                       : act.settings.alias.has_value()  ? "alias"
                       : act.settings.device.has_value() ? "options of a bridge"
                       : !act.settings.port.empty()      ? "options of a port"
                                                         : "admin state"));
  }
  for (auto& [number, flight] : flights_) {
    // What has not begun finds what is there then, but garbage was planned before.
    if (flight.turn == nullptr && !flight.call.is_piecemeal()) continue;
    flight.overlapped = flight.disturbed = true;
  }
  std::vector<Config> closed;
  for (const Config& config : configs_) Close(config, /*dies=*/false, closed);
  std::vector<Config> applied;
  for (Config& config : closed) {
    if (Apply(act, config.state)) AddNew(std::move(config), applied);
  }
  if (applied.empty()) {
    Break(absl::StrCat("somebody could do what must not be possible: ", act.ToString(), "\n", Describe(configs_)));
  }
  configs_ = std::move(applied);
  if (options_.looks_often) Look();
}

}  // namespace netprov::simulation
