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

NetnsRef Simulation::RefOf(const std::string& place) {
  if (place.empty()) return {};
  auto entry = world_.kernel().FindNetns(place);
  const bool is_netns = entry.ok() && entry->has_value() && (*entry)->is_netns;
  return {.name = place, .cookie = is_netns ? (*entry)->cookie : 0};
}

Sighting Simulation::See() {
  Sighting sighting;
  auto check = [this](const auto& result) {
    if (!result.ok()) Break(absl::StrCat("the machine cannot be looked at: ", result.error().ToString()));
  };
  auto see_place = [&](const NetnsRef& ref) {
    Sighting::Place& place = sighting.places[ref.name];
    auto nat = world_.kernel().ListNat(ref, registry_->id());
    check(nat);
    for (const netlink::NatElement& element : *nat) {
      const std::optional<engine::Tag> tag = engine::ParseTag(element.tag);
      place.nat[tag.has_value() ? tag->uid : ""].insert(TraitOf(element));
    }
    auto routes = world_.kernel().ListRoutesWithoutLink(ref);
    check(routes);
    for (const engine::RouteSpec& route : *routes) place.routes.insert(TraitOf(route));
    engine::Sysctls wanted = UsualSysctls();
    wanted.emplace(kForwardingSysctl, "");
    auto sysctls = world_.kernel().FindSysctls(ref, wanted);
    check(sysctls);
    place.forwards = sysctls->at(kForwardingSysctl) == "1";
    place.sysctls = *std::move(sysctls);
    std::erase_if(place.sysctls, [](const auto& item) {
      return item.first == kForwardingSysctl || item.second == UsualSysctl(item.first);
    });
  };
  auto see_links = [&](const NetnsRef& place) {
    see_place(place);
    auto links = world_.kernel().ListLinks(place);
    check(links);
    for (const engine::Link& link : *links) {
      // The loopback link, and what the kernel puts into each namespace by itself.
      if (link.name == "lo") {
        if (!place.is_host()) {
          sighting.files[place.name].alias = link.alias;
          sighting.files[place.name].up = link.up;
        }
      } else if (link.kind == "ifb") {
        const std::optional<engine::Tag> tag = engine::ParseTag(link.alias);
        // `ifba` and 44 bits of the uid.
        sighting.places[place.name].shapers[tag.has_value() ? tag->uid : ""].insert("ifb " + link.name.substr(3, 1));
      } else if (link.group != 0 || link.kind == "veth" || link.kind == "bridge" || link.kind == "dummy") {
        Sighting::Link& seen = sighting.links[{place.name, link.name}];
        static_cast<engine::Link&>(seen) = link;
        if (link.group != engine::kOwnedGroup) continue;
        auto ip = world_.kernel().FindIpConfig(place, link.ifindex);
        check(ip);
        seen.ip = IpTraits(*ip);
        if (link.kind != "veth") continue;
        auto shaping = world_.kernel().FindShaping(place, link.ifindex);
        check(shaping);
        seen.limits = LimitTraits(*shaping);
      }
    }
  };
  see_links({});
  auto names = world_.kernel().ListNetns();
  check(names);
  for (const std::string& name : *names) {
    const NetnsRef ref = RefOf(name);
    sighting.files[name].is_netns = ref.cookie != 0;
    if (ref.cookie != 0) see_links(ref);
  }
  auto etc = world_.kernel().ListEtc();
  check(etc);
  for (const std::string& name : *etc) {
    auto entry = world_.kernel().FindEtcFiles(name);
    check(entry);
    if (!entry->files.empty()) sighting.etc[name] = entry->files;
  }
  return sighting;
}

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

bool Simulation::IsOurs(const NetnsRef& place, uint32_t ifindex, bool tagged) {
  const std::string boot = world_.kernel().BootId();
  if (ifindex == engine::kLoopbackIndex) {
    const auto record = registry_->FindNamespace(place.name);
    return record.has_value() && record->boot_id == boot && record->cookie == place.cookie;
  }
  for (const engine::VethRecord& record : registry_->ListVeths("", SIZE_MAX)) {
    auto is_it = [&](const engine::Endpoint& end) { return end.namespace_id == place.name && end.ifindex == ifindex; };
    if (record.boot_id != boot || (!is_it(record.a) && !is_it(record.b))) continue;
    auto is_there = [&](const engine::Endpoint& end, const engine::Endpoint& other) {
      auto link = world_.kernel().FindLink(RefOf(end.namespace_id), end.ifindex);
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
  const std::vector<engine::VethRecord> veths = registry_->ListVeths("", SIZE_MAX);
  if (veths.empty()) return act;
  const engine::VethRecord& veth = veths[act.end / 2 % veths.size()];
  const engine::Endpoint& end = act.end % 2 == 0 ? veth.a : veth.b;
  auto link = world_.kernel().FindLink(RefOf(end.namespace_id), end.ifindex);
  if (!link.ok() || !link->has_value()) return act;
  act.name = end.namespace_id;
  act.link = (*link)->name;
  const engine::EndpointSpec& spec = act.end % 2 == 0 ? veth.spec.a : veth.spec.b;
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
  }
  return false;
}

void Simulation::Meddle(const Act& meant) {
  // What is read back as it was made, or has just been looked at, is not changed: the model is too plain for that.
  const bool drifts = meant.kind >= Act::Kind::kSetLink;
  const bool waits = std::any_of(flights_.begin(), flights_.end(), [&](const auto& flight) {
    return flight.second.turn != nullptr &&
           (flight.second.call.method == Call::Method::kTend || flight.second.call.updates() ||
            (drifts && flight.second.call.method == Call::Method::kCreateVeth));
  });
  if (waits) Drain();
  const Act act = Aim(meant);
  const NetnsRef place = RefOf(act.name);
  const bool is_place = act.name.empty() || place.cookie != 0;
  auto there = [&](const std::string& link) {
    if (!is_place) return false;
    auto found = world_.kernel().FindLink(place, link);
    return found.ok() && found->has_value();
  };
  const bool name_taken = !act.name.empty() && *world_.kernel().FindNetns(act.name) != std::nullopt;
  // What fails for another program changes nothing.
  bool done = false;
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
        if ((done = changes && IsOurs(place, link->ifindex, /*tagged=*/false)))
          (void)world_.kernel().SetLink(place, link->ifindex, act.settings);
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
  if (act.kind == Act::Kind::kSetLink) {
    Count(absl::StrCat("drift: ", act.link == "lo" ? "lo " : "",
                       act.settings.mtu.has_value()     ? "mtu"
                       : act.settings.mac.has_value()   ? "mac"
                       : act.settings.alias.has_value() ? "alias"
                                                        : "admin state"));
  }
  for (auto& [number, flight] : flights_) flight.overlapped = flight.disturbed = true;
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

void Simulation::Look() {
  if (!flights_.empty()) return;
  const bool was_armed = std::exchange(armed_, false);
  const Sighting sighting = See();
  std::vector<Config> seen = configs_;
  std::erase_if(seen, [&](Config& config) { return !Matches(sighting, config.state); });
  if (seen.empty()) {
    Break(absl::StrCat("the machine must not be in this state:\n", sighting.ToString(), Describe(configs_)));
  }
  size_t named = 0;
  for (const auto& [name, file] : sighting.files) named += file.is_netns ? 1 : 0;
  if (std::string unnamed = world_.Unnamed(named); !unnamed.empty()) Break(unnamed);
  constexpr size_t kAll = 100;
  auto namespaces = engine_->ListNamespaces("", kAll);
  auto veths = engine_->ListVeths("", kAll);
  if (!namespaces.ok()) Break(absl::StrCat("namespaces cannot be listed: ", namespaces.error().message));
  if (!veths.ok()) Break(absl::StrCat("pairs cannot be listed: ", veths.error().message));
  std::erase_if(seen, [&](Config& config) {
    return !MatchesList(namespaces->items, /*disturbed=*/false, config.state) ||
           !MatchesList(veths->items, config.state) || !MatchesLeases(engine_->leases(), config.state);
  });
  if (seen.empty()) {
    Break(absl::StrCat("these must not be listed: ",
                       Answer{.ok = true, .namespaces = namespaces->items, .veths = veths->items}.ToString(), "\n",
                       sighting.ToString(), Describe(configs_)));
  }
  configs_.clear();
  for (Config& config : seen) AddNew(std::move(config), configs_);
  armed_ = was_armed;
}

}  // namespace netprov::simulation
