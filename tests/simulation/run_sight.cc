#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "server/engine/kernel.h"
#include "server/engine/quota.h"
#include "server/engine/tag.h"
#include "server/engine/usage.h"
#include "tests/simulation/model.h"
#include "tests/simulation/run.h"
#include "tests/simulation/traits.h"
#include "tests/simulation/world.h"

namespace netprov::simulation {

using engine::NetnsRef;

namespace {

constexpr absl::string_view kOfProcess = "processes/";

// Of a place that has no name at /run/netns.
std::optional<engine::NetnsPlace> WayOf(const std::string& place) {
  if (absl::StartsWith(place, "/")) return engine::NetnsPlace{.path = place, .pid = 0};
  uint32_t pid = 0;
  if (!absl::StartsWith(place, kOfProcess) || !absl::SimpleAtoi(place.substr(kOfProcess.size()), &pid)) {
    return std::nullopt;
  }
  return engine::NetnsPlace{.path = "", .pid = pid};
}

std::string NameOf(const NetnsRef& ref) { return ref.place.has_value() ? engine::PlaceName(*ref.place) : ref.name; }

}  // namespace

NetnsRef Simulation::RefOf(const std::string& place) {
  if (place.empty()) return {};
  if (const std::optional<engine::NetnsPlace> way = WayOf(place); way.has_value()) {
    auto entry = world_.kernel().FindPlace(*way);
    return {.name = "", .cookie = entry.ok() ? entry->cookie : 0, .place = way};
  }
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
    Sighting::Place& place = sighting.places[NameOf(ref)];
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
  auto see_device = [&](const NetnsRef& place, Sighting::Link& link) {
    link.device_words = DeviceWords(*link.device);
    const auto* vxlan = std::get_if<engine::VxlanOptions>(&*link.device);
    if (vxlan == nullptr) return;
    auto entries = world_.kernel().ListFdb(place, link.ifindex);
    check(entries);
    for (const engine::FdbEntry& entry : *entries) {
      // What has no entry goes to the remote endpoint.
      if (!entry.mac.IsZero() || entry.destination != vxlan->info.remote) link.fdb.insert(TraitOf(entry));
    }
  };
  auto see_links = [&](const NetnsRef& place) {
    see_place(place);
    auto links = world_.kernel().ListLinks(place);
    check(links);
    std::map<uint32_t, std::vector<netlink::BridgeVlan>> vlans;
    if (std::any_of(links->begin(), links->end(), [](const engine::Link& link) { return link.port.has_value(); })) {
      auto by_port = world_.kernel().ListPortVlans(place);
      check(by_port);
      vlans = *std::move(by_port);
    }
    for (const engine::Link& link : *links) {
      // The loopback link, and what the kernel puts into each namespace by itself.
      if (link.name == "lo") {
        if (!place.name.empty()) {
          sighting.files[place.name].alias = link.alias;
          sighting.files[place.name].up = link.up;
        }
      } else if (IsShaper(link.kind, link.name)) {
        const std::optional<engine::Tag> tag = engine::ParseTag(link.alias);
        // `ifba` and 44 bits of the uid.
        sighting.places[NameOf(place)].shapers[tag.has_value() ? tag->uid : ""].insert("ifb " + link.name.substr(3, 1));
      } else if (link.group != 0 || link.kind == "veth" || link.kind == "bridge" || link.kind == "dummy") {
        Sighting::Link& seen = sighting.links[{NameOf(place), link.name}];
        static_cast<engine::Link&>(seen) = link;
        if (link.group != engine::kOwnedGroup) continue;
        if (link.port.has_value()) seen.port_words = PortWords({.settings = *link.port, .vlans = vlans[link.ifindex]});
        if (link.device.has_value()) see_device(place, seen);
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
  std::map<uint64_t, std::string> seen;  // by cookie
  for (const std::string& name : *names) {
    const NetnsRef ref = RefOf(name);
    sighting.files[name].is_netns = ref.cookie != 0;
    if (ref.cookie == 0) continue;
    see_links(ref);
    seen[ref.cookie] = name;
  }
  std::vector<engine::NetnsPlace> ways;
  for (const std::string& path : kPaths) ways.push_back({.path = path, .pid = 0});
  for (const auto& [process, pid] : pids_) ways.push_back({.path = "", .pid = pid});
  for (const engine::NetnsPlace& way : ways) {
    auto entry = world_.kernel().FindPlace(way);
    if (!entry.ok()) continue;
    const auto [place, is_new] = seen.try_emplace(entry->cookie, engine::PlaceName(way));
    sighting.ways[engine::PlaceName(way)] = place->second;
    if (is_new) see_links({.name = "", .cookie = entry->cookie, .place = way});
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

void Simulation::Recount() {
  // What an unfinished intent adds is no more than its whole object.
  std::map<std::string, engine::Usage> least;
  std::map<std::string, engine::Usage> most;
  auto add = [&](const auto& record) {
    least[record.creator] += UsageOf(record);
    most[record.creator] += UsageOf(record);
  };
  for (const auto& record : registry_->ListNamespaces()) add(record);
  for (const auto& record : registry_->ListVeths("", SIZE_MAX)) add(record);
  for (const auto& record : registry_->ListDevices()) add(record);
  for (const engine::PendingIntent& item : registry_->ListPending()) {
    most[engine::CreatorOf(item.intent)] += engine::UsageAfter(item.intent);
  }
  auto compare = [this](const std::string& whose, const engine::Usage& used, const engine::Usage& from,
                        const engine::Usage& to) {
    for (const engine::CountedKind& kind : engine::kCountedKinds) {
      if (from.*kind.used <= used.*kind.used && used.*kind.used <= to.*kind.used) continue;
      Break(absl::StrCat(whose, " must not have ", used.*kind.used, " ", kind.name, ", but ", from.*kind.used, " to ",
                         to.*kind.used));
    }
  };
  engine::Usage all_least;
  engine::Usage all_most;
  for (const auto& [creator, usage] : most) {
    compare(creator, registry_->UsedBy(creator), least[creator], usage);
    all_least += least[creator];
    all_most += usage;
  }
  compare("all together", registry_->UsedByAll(), all_least, all_most);
}

void Simulation::Look() {
  if (!flights_.empty()) return;
  Recount();
  const bool was_armed = std::exchange(armed_, false);
  const Sighting sighting = See();
  std::vector<Config> seen = configs_;
  std::erase_if(seen, [&](Config& config) { return !Matches(sighting, config.state); });
  if (seen.empty()) {
    Break(absl::StrCat("the machine must not be in this state:\n", sighting.ToString(), Describe(configs_)));
  }
  // All but the host's.
  const size_t named = sighting.places.size() - 1;
  if (std::string unnamed = world_.Unnamed(named); !unnamed.empty()) Break(unnamed);
  constexpr size_t kAll = 100;
  auto namespaces = engine_->ListNamespaces("", kAll);
  auto veths = engine_->ListVeths("", kAll);
  auto devices = engine_->ListDevices("", "", kAll);
  if (!namespaces.ok()) Break(absl::StrCat("namespaces cannot be listed: ", namespaces.error().message));
  if (!veths.ok()) Break(absl::StrCat("pairs cannot be listed: ", veths.error().message));
  if (!devices.ok()) Break(absl::StrCat("devices cannot be listed: ", devices.error().message));
  std::erase_if(seen, [&](Config& config) {
    return !MatchesList(namespaces->items, /*disturbed=*/false, config.state) ||
           !MatchesList(veths->items, config.state) || !MatchesList("", devices->items, config.state) ||
           !MatchesLeases(engine_->leases(), config.state);
  });
  if (seen.empty()) {
    Break(absl::StrCat(
        "these must not be listed: ",
        Answer{.ok = true, .namespaces = namespaces->items, .veths = veths->items, .devices = devices->items}
            .ToString(),
        "\n", sighting.ToString(), Describe(configs_)));
  }
  configs_.clear();
  for (Config& config : seen) AddNew(std::move(config), configs_);
  armed_ = was_armed;
}

}  // namespace netprov::simulation
