#include "tests/simulation/history.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/engine/ip_config.h"
#include "server/netlink/link_info.h"
#include "tests/simulation/random.h"
#include "tests/simulation/specs.h"

namespace netprov::simulation {

using engine::EndpointSpec;
using Method = Call::Method;

const std::vector<std::string> kNamespaceIds = {"blue", "green", "red"};
const std::vector<std::string> kVethIds = {"v", "w", "x"};
const std::vector<std::string> kDeviceNames = {"bridges/br", "bridges/lan", "devices/d", "devices/i", "devices/m",
                                               "devices/p",  "devices/t",   "devices/u", "devices/x", "devices/y"};
const std::vector<std::string> kOwners = {"ci", "lab"};
const std::vector<std::string> kPaths = {"/run/other/netns"};

namespace {

const std::vector<std::string> kLinkNames = {"h0", "h1", "p0", "veth0"};
const std::vector<std::string> kDeviceLinkNames = {"br0", "br1", "d0", "i0", "m0", "x0"};
// Of these, a history has some, so that they meet.
const std::vector<std::vector<std::string>> kDevicesAtOnce = {{"devices/m", "devices/x", "devices/y"},
                                                              {"devices/p", "devices/m", "devices/x"},
                                                              {"devices/d", "devices/t", "devices/u"},
                                                              {"devices/d", "devices/i", "devices/m"},
                                                              {"devices/d", "devices/i", "devices/p"}};

// What a history is about besides namespaces and pairs.
struct Theme {
  bool bridges = false;
  std::vector<std::string> devices = {};  // that stand on others, or alone
  bool births = false;                    // namespaces that come with pairs
  bool adopts = false;                    // namespaces that others made
  bool places = false;                    // to which a path or a process leads

  bool has_devices() const { return bridges || !devices.empty(); }
  std::string PickDevice(Random& random) const {
    std::vector<std::string> names;
    if (bridges || random.OneIn(4)) names = {kDeviceNames[0], kDeviceNames[0], kDeviceNames[1]};
    names.insert(names.end(), devices.begin(), devices.end());
    return random.Pick(names.empty() ? kDeviceNames : names);
  }
};

// What an owner still has in use, as far as it remembers.
std::vector<std::string> MakeKeep(Random& random, const Theme& theme) {
  std::vector<std::string> keep;
  auto add = [&](const std::string& name) {
    if (random.OneIn(4)) keep.push_back(name);
  };
  for (const std::string& id : kNamespaceIds) add(engine::NamespaceName(id));
  for (const std::string& id : kVethIds) add(engine::VethName(id));
  if (theme.has_devices()) {
    for (const std::string& name : kDeviceNames) add(name);
  }
  return keep;
}

Method MakeMethod(Random& random, const Theme& theme) {
  if (theme.adopts && random.OneIn(4)) {
    return random.Pick({Method::kAdoptNamespace, Method::kAdoptNamespace, Method::kReleaseNamespace});
  }
  if (theme.places && random.OneIn(3)) {
    return random.Pick({Method::kCreateVeth, Method::kCreateVeth, Method::kCreateVeth, Method::kUpdateVeth,
                        Method::kUpdateVeth, Method::kDeleteVeth});
  }
  const bool is_of_device = theme.has_devices() && random.OneIn(3);
  if (is_of_device) {
    return random.Pick({Method::kCreateDevice, Method::kCreateDevice, Method::kCreateDevice, Method::kDeleteDevice,
                        Method::kUpdateDevice, Method::kUpdateDevice, Method::kGetDevice, Method::kListDevices});
  }
  return random.Pick(
      {Method::kCreateNamespace, Method::kCreateNamespace, Method::kCreateNamespace, Method::kDeleteNamespace,
       Method::kDeleteNamespace, Method::kCreateVeth,      Method::kCreateVeth,      Method::kCreateVeth,
       Method::kCreateVeth,      Method::kDeleteVeth,      Method::kDeleteVeth,      Method::kUpdateNamespace,
       Method::kUpdateVeth,      Method::kUpdateVeth,      Method::kUpdateVeth,      Method::kCollectGarbage,
       Method::kGetNamespace,    Method::kGetVeth,         Method::kListNamespaces,  Method::kListVeths});
}

Call MakeCreation(Random& random, Method method, const std::string& id, const Theme& theme) {
  Call call{.method = method, .id = id};
  if (method == Method::kCreateVeth) call.spec = MakeVethSpec(random, id, theme.bridges, theme.places);
  if (method == Method::kCreateDevice) call.device = MakeDeviceSpec(random, id);
  call.metadata = MakeMetadata(random);
  call.births = method == Method::kCreateVeth && theme.births && !random.OneIn(3);
  const bool adopts = method == Method::kAdoptNamespace;
  if (adopts || method == Method::kCreateNamespace) call.netns = MakeNamespaceSpec(random);
  // As server/api says.
  if (adopts || HasProcess(call.spec)) call.metadata.persistent = false;
  return call;
}

Call MakeCall(Random& random, const Theme& theme) {
  Call call{.method = MakeMethod(random, theme)};
  switch (call.method) {
    case Method::kCreateNamespace:
    case Method::kDeleteNamespace:
    case Method::kAdoptNamespace:
    case Method::kReleaseNamespace:
    case Method::kGetNamespace:
      call.id = random.Pick(kNamespaceIds);
      break;
    case Method::kCreateVeth:
    case Method::kDeleteVeth:
    case Method::kGetVeth:
      call.id = random.Pick(kVethIds);
      break;
    case Method::kCreateDevice:
    case Method::kDeleteDevice:
    case Method::kGetDevice:
      call.id = theme.PickDevice(random);
      break;
    case Method::kUpdateNamespace:
      call.id = random.Pick(kNamespaceIds);
      call.change = MakeNamespaceChange(random);
      break;
    case Method::kUpdateVeth:
      call.id = random.Pick(kVethIds);
      call.change = MakeVethChange(random, call.id, theme.bridges);
      break;
    case Method::kUpdateDevice:
      call.id = theme.PickDevice(random);
      call.change = MakeDeviceChange(random, call.id);
      break;
    case Method::kCollectGarbage:
      call.owner = random.Pick(kOwners);
      call.keep = MakeKeep(random, theme);
      call.validate = random.OneIn(3);
      return call;
    case Method::kListDevices:
      call.id = random.OneIn(2) ? "bridges/" : "devices/";
      break;
    case Method::kExpire:
    case Method::kTend:
    case Method::kListNamespaces:
    case Method::kListVeths:
      break;
  }
  if (call.reads()) return call;
  if (call.creates()) call = MakeCreation(random, call.method, call.id, theme);
  call.allow = !call.updates() && random.OneIn(4);
  call.validate = random.OneIn(10);
  if (random.OneIn(2)) call.request_id = absl::StrCat("r", random.Below(4));
  return call;
}

// Something of a way into a namespace, or of a link where one leads.
Act MakePlaceAct(Random& random, Act act) {
  act.process = 1 + random.Below(kProcesses);
  if (act.kind >= Act::Kind::kAddLink && random.OneIn(2)) {
    act.name = random.OneIn(2) ? kPaths.front() : engine::PlaceName({.path = "", .pid = StandInOf(act.process)});
    return act;
  }
  act.kind =
      random.Pick({Act::Kind::kBindPath, Act::Kind::kBindPath, Act::Kind::kBindPath, Act::Kind::kUnbindPath,
                   Act::Kind::kStartProcess, Act::Kind::kStartProcess, Act::Kind::kEndProcess, Act::Kind::kUnshare});
  act.path = random.Pick(kPaths);
  if (act.kind == Act::Kind::kBindPath && random.OneIn(3)) act.process = 0;
  return act;
}

Act MakeAct(Random& random, const Theme& theme) {
  Act act;
  act.kind = random.Pick({Act::Kind::kAddNetns, Act::Kind::kRemoveName, Act::Kind::kRemoveName, Act::Kind::kAddFile,
                          Act::Kind::kAddLink, Act::Kind::kRenameLink, Act::Kind::kDeleteLink});
  if (theme.adopts && random.OneIn(3)) act.kind = Act::Kind::kAddNetns;
  const bool in_host = random.OneIn(2);
  act.name = random.Pick(kNamespaceIds);
  if (act.kind >= Act::Kind::kAddLink && in_host) act.name.clear();
  act.empty = random.OneIn(2);
  act.link = random.Pick(theme.has_devices() && random.OneIn(2) ? kDeviceLinkNames : kLinkNames);
  act.new_link = random.Pick({std::string("renamed0"), random.Pick(kLinkNames)});
  if (theme.places && random.OneIn(2)) return MakePlaceAct(random, std::move(act));
  return act;
}

// Somebody changes what is there.
Act MakeDrift(Random& random, const Theme& theme) {
  Act act{.kind = random.OneIn(4) ? Act::Kind::kMoveLink : Act::Kind::kSetLink};
  act.end = random.Below(theme.has_devices() ? 10 : 6);
  if (random.OneIn(2)) {
    act.kind = random.Pick({Act::Kind::kTakeAway, Act::Kind::kTakeAway, Act::Kind::kTakeAway, Act::Kind::kTakeAway,
                            Act::Kind::kTakeAway, Act::Kind::kTakeAway, Act::Kind::kSetSysctl, Act::Kind::kRemoveDns,
                            Act::Kind::kAddDns});
    act.loss = random.Pick({Act::Loss::kIp, Act::Loss::kIp, Act::Loss::kIp, Act::Loss::kRoute, Act::Loss::kLimits,
                            Act::Loss::kShaper, Act::Loss::kNat, Act::Loss::kForwarding});
    if (theme.bridges && random.OneIn(3)) act.loss = Act::Loss::kMembership;
    if (!theme.devices.empty() && random.OneIn(3)) act.loss = Act::Loss::kFdb;
    if (act.kind != Act::Kind::kTakeAway) act.name = random.Pick(kNamespaceIds);
    act.sysctl = "net.core.somaxconn";
    act.value = random.Pick({"1024", "2048", "4096"});
    return act;
  }
  if (act.kind == Act::Kind::kMoveLink) {
    if (!random.OneIn(3)) act.to = random.Pick(kNamespaceIds);
    // Where nobody looks for it, so that it stays there.
    act.new_link = "away0";
    return act;
  }
  if (random.OneIn(4)) {
    act.name = random.Pick(kNamespaceIds);
    act.link = "lo";
    if (random.OneIn(2)) {
      act.settings.up = false;
    } else {
      act.settings.alias = random.Pick({"", "mine"});
    }
    return act;
  }
  if (theme.bridges && random.OneIn(3)) {
    // Of a bridge, or of a port.
    act.settings.device = netlink::BridgeInfo{.priority = 1000};
    if (random.OneIn(2)) act.settings = {.port = {.settings = {.isolated = random.OneIn(2)}, .vlans = {}}};
    return act;
  }
  switch (random.Below(4)) {
    case 0:
      act.settings.mtu = 1350;
      break;
    case 1:
      act.settings.mac = netlink::MacAddress{{0x02, 0xee, 0, 0, 0, static_cast<uint8_t>(random.Below(4))}};
      break;
    case 2:
      act.settings.alias = random.Pick({"", "mine"});
      break;
    default:
      act.settings.up = random.OneIn(2);
  }
  return act;
}

}  // namespace

std::vector<Event> MakeHistory(Random& random, bool reboots, bool vlans) {
  std::vector<Event> events;
  const size_t calls = 8 + random.Below(9);
  // Some histories have much of the one kind of trouble, some none.
  const size_t acts = random.Pick<size_t>({0, 0, 4, 8});
  const size_t ends = random.Pick<size_t>({0, 8, 16});
  const size_t quiet = random.Pick<size_t>({0, 2, 4});
  const size_t checks = random.Pick<size_t>({0, 4});
  const size_t drifts = random.Pick<size_t>({0, 0, 2});
  const size_t times = random.Pick<size_t>({0, 2, 4});
  // Most of them are about few things, so that these meet.
  const std::vector<std::string> devices = random.Pick(kDevicesAtOnce);
  Theme theme = random.Pick({Theme{}, Theme{}, Theme{.bridges = true}, Theme{.bridges = true},
                             Theme{.devices = devices}, Theme{.devices = devices}});
  theme.births = random.OneIn(3);
  theme.adopts = random.OneIn(3);
  theme.places = random.OneIn(4);
  std::vector<Call> made;
  // Something to begin with.
  if (theme.places) {
    for (size_t process = 0; process <= kProcesses; ++process) {
      if (random.OneIn(8)) continue;
      const Act::Kind kind = process == 0 ? Act::Kind::kBindPath : Act::Kind::kStartProcess;
      events.push_back(
          {.kind = Event::Kind::kAct, .call = {}, .act = {.kind = kind, .path = kPaths.front(), .process = process}});
    }
  }
  for (const std::string& id : kNamespaceIds) {
    if (random.OneIn(theme.has_devices() && id == kNamespaceIds.front() ? 8 : 3)) continue;
    events.push_back(
        {.kind = Event::Kind::kCall, .call = MakeCreation(random, Method::kCreateNamespace, id, theme), .act = {}});
  }
  if (theme.adopts) {
    events.push_back({.kind = Event::Kind::kAct,
                      .call = {},
                      .act = {.kind = Act::Kind::kAddNetns, .name = random.Pick(kNamespaceIds)}});
  }
  std::vector<std::string> first = {kDeviceNames[0], kDeviceNames[1]};
  first.insert(first.end(), theme.devices.begin(), theme.devices.end());
  for (const std::string& name : first) {
    if (!theme.has_devices() || random.OneIn(4)) continue;
    // One after the other: there would be too many ways in which they may have ended.
    if (!absl::StartsWith(name, "bridges/")) events.push_back({.kind = Event::Kind::kQuiet, .call = {}, .act = {}});
    events.push_back(
        {.kind = Event::Kind::kCall, .call = MakeCreation(random, Method::kCreateDevice, name, theme), .act = {}});
  }
  for (size_t i = 0; i < calls; ++i) {
    if (random.OneIn(acts)) events.push_back({.kind = Event::Kind::kAct, .call = {}, .act = MakeAct(random, theme)});
    if (theme.places && random.OneIn(4)) {
      events.push_back({.kind = Event::Kind::kAct, .call = {}, .act = MakePlaceAct(random, {})});
    }
    if (random.OneIn(drifts)) {
      for (size_t more = 1 + random.Below(2); more > 0; --more) {
        events.push_back({.kind = Event::Kind::kAct, .call = {}, .act = MakeDrift(random, theme)});
      }
    }
    if (random.OneIn(drifts != 0 ? 2 : 4 * acts)) events.push_back({.kind = Event::Kind::kTend, .call = {}, .act = {}});
    if (random.OneIn(quiet)) events.push_back({.kind = Event::Kind::kQuiet, .call = {}, .act = {}});
    if (random.OneIn(checks)) {
      events.push_back({.kind = Event::Kind::kCheck, .call = {}, .act = {}, .look_only = random.OneIn(2)});
    }
    if (random.OneIn(ends)) {
      Event::Kind kind =
          random.Pick({Event::Kind::kStop, Event::Kind::kCrash, Event::Kind::kCrash, Event::Kind::kReboot});
      if (kind == Event::Kind::kReboot && !reboots) kind = Event::Kind::kCrash;
      events.push_back({.kind = kind, .call = {}, .act = {}});
    }
    if (random.OneIn(times)) {
      events.push_back({.kind = Event::Kind::kAdvance, .call = {}, .act = {}, .time = kTick});
      if (!random.OneIn(4)) events.push_back({.kind = Event::Kind::kExpire, .call = {}, .act = {}});
    }
    if (random.OneIn(2 * times)) {
      events.push_back({.kind = Event::Kind::kRenew, .call = {}, .act = {}, .owner = random.Pick(kOwners)});
    }
    // A client that has no answer, or lost it, repeats.
    const bool repeats = !made.empty() && random.OneIn(4);
    Call call = repeats ? random.Pick(made) : MakeCall(random, theme);
    // Or somebody asks for the same links under another name.
    if (repeats && call.method == Method::kCreateVeth && random.OneIn(3)) {
      call.id = random.Pick(kVethIds);
      call.request_id.clear();
      // The kernel would refuse those of its like in one namespace.
      for (EndpointSpec* end : {&call.spec.a, &call.spec.b}) {
        std::erase_if(end->config.ip.routes, [](const auto& route) { return route.through_link(); });
      }
    }
    // What is there is changed more often than what is not.
    if (!repeats && call.updates() && !random.OneIn(4)) {
      const Method creation = call.method == Method::kUpdateVeth     ? Method::kCreateVeth
                              : call.method == Method::kUpdateDevice ? Method::kCreateDevice
                                                                     : Method::kCreateNamespace;
      std::vector<std::string> ids;
      for (const Event& event : events) {
        if (event.call.method == creation && !event.call.id.empty()) ids.push_back(event.call.id);
      }
      if (!ids.empty()) call.id = random.Pick(ids);
      if (call.method == Method::kUpdateDevice) call.change = MakeDeviceChange(random, call.id);
    }
    if (!call.reads()) made.push_back(call);
    events.push_back({.kind = Event::Kind::kCall, .call = std::move(call), .act = {}});
  }
  for (Event& event : events) {
    if (vlans) break;
    for (engine::PortOptions* port : {&event.call.spec.a.config.port, &event.call.spec.b.config.port,
                                      &event.call.change.a.port, &event.call.change.b.port}) {
      port->vlans.clear();
    }
  }
  return events;
}

}  // namespace netprov::simulation
