#include "tests/simulation/history.h"

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "server/engine/ip_config.h"
#include "server/netlink/ip_address.h"
#include "tests/simulation/random.h"
#include "tests/simulation/traits.h"

namespace netprov::simulation {

using engine::EndpointSpec;
using engine::VethSpec;

const std::vector<std::string> kNamespaceIds = {"blue", "green", "red"};
const std::vector<std::string> kVethIds = {"v", "w", "x"};
const std::vector<std::string> kOwners = {"ci", "lab"};

namespace {

constexpr const char* kMethodNames[] = {
    "CreateNamespace", "DeleteNamespace", "CreateVeth", "DeleteVeth", "UpdateNamespace",
    "UpdateVeth",      "CollectGarbage",  "expire",     "tend",       "GetNamespace",
    "GetVeth",         "ListNamespaces",  "ListVeths"};

constexpr const char* kLossNames[] = {
    "addresses, neighbors and routes", "route without a link", "limits", "ifb", "translation", "forwarding"};

// Time passes by this, and leases last a multiple.
constexpr absl::Duration kTick = absl::Seconds(10);

const std::vector<std::string> kLinkNames = {"h0", "h1", "p0", "veth0"};

std::string ToText(const engine::EndpointConfig& config) {
  std::string text;
  for (const std::string& trait : With(IpTraits(config), RouteTraits(config))) absl::StrAppend(&text, ",", trait);
  if (config.ingress_limit.has_value()) absl::StrAppend(&text, ",ingress ", config.ingress_limit->rate);
  if (config.egress_limit.has_value()) absl::StrAppend(&text, ",egress ", config.egress_limit->rate);
  if (config.masquerade) absl::StrAppend(&text, ",masquerade");
  for (const engine::PortForward& forward : config.port_forwards) absl::StrAppend(&text, ",port ", forward.host_port);
  if (config.ip_forwarding) absl::StrAppend(&text, ",forwarding");
  return text;
}

std::string ToText(const engine::NamespaceSpec& spec) {
  std::string text;
  for (const auto& [name, value] : spec.sysctls) absl::StrAppend(&text, " ", name, "=", value);
  for (const std::string& server : spec.dns.nameservers) absl::StrAppend(&text, " nameserver=", server);
  for (const engine::HostsEntry& entry : spec.dns.hosts) absl::StrAppend(&text, " host=", entry.address);
  return text;
}

std::string ToText(const EndpointSpec& end) {
  return absl::StrCat(end.namespace_id.empty() ? "host" : end.namespace_id, ":", end.interface_name,
                      end.mtu.has_value() ? absl::StrCat(",mtu=", *end.mtu) : "", end.up ? "" : ",down",
                      ToText(end.config));
}

bool IsPattern(const std::string& name) { return name.find('%') != std::string::npos; }

engine::AddressSpec AddressOf(const std::string& text) {
  return {.local = *netlink::IpPrefix::Parse(text), .peer = std::nullopt};
}

engine::RouteSpec RouteOf(const std::string& destination, const std::string& gateway) {
  engine::RouteSpec route{.destination = *netlink::IpPrefix::Parse(destination)};
  if (gateway.empty()) {
    route.type = engine::RouteType::kBlackhole;
  } else {
    route.gateway = *netlink::IpAddress::Parse(gateway);
  }
  return route;
}

engine::RateLimit MakeLimit(Random& random) {
  return {.rate = random.Pick<uint64_t>({8000000, 16000000}), .burst = 20000, .latency = absl::Milliseconds(50)};
}

// What the ends of two pairs can collide in are the ports that are forwarded and the route that belongs to no link.
engine::EndpointConfig MakeConfig(Random& random, const std::string& id, bool is_a) {
  engine::EndpointConfig config;
  const size_t pair = 1 + (id == kVethIds[1] ? 1 : id == kVethIds[2] ? 2 : 0);
  const int own = is_a ? 1 : 2;
  const std::string address = absl::StrCat("10.0.", pair, ".", own);
  if (random.OneIn(4)) config.ingress_limit = MakeLimit(random);
  if (random.OneIn(4)) config.egress_limit = MakeLimit(random);
  if (random.OneIn(8)) config.ip.routes = {RouteOf("10.9.0.0/16", "")};
  if (random.OneIn(3)) return config;
  std::vector<engine::AddressSpec>& addresses = config.ip.addresses;
  if (!random.OneIn(4)) addresses.push_back(AddressOf(absl::StrCat(address, "/24")));
  if (random.OneIn(3)) addresses.push_back(AddressOf(absl::StrCat("10.0.", pair, ".", 10 + own, "/24")));
  const bool is_dual = random.OneIn(4);
  if (is_dual) addresses.push_back(AddressOf(absl::StrCat("fd00:", pair, "::", own, "/64")));
  if (addresses.empty() || (is_dual && addresses.size() == 1)) return config;
  if (random.OneIn(3)) {
    config.ip.routes.push_back(
        RouteOf(absl::StrCat("10.", 20 + own, ".", pair, ".0/24"), absl::StrCat("10.0.", pair, ".99")));
  }
  if (random.OneIn(4)) {
    config.ip.neighbours.push_back({.address = *netlink::IpAddress::Parse(absl::StrCat("10.0.", pair, ".98")),
                                    .mac = {{0x02, 0, 0, 0, 0, static_cast<uint8_t>(random.Below(2))}}});
  }
  config.masquerade = random.OneIn(3);
  for (const uint16_t port : {8080, 8081}) {
    if (random.OneIn(3)) config.port_forwards.push_back({.host_port = port, .port = 80});
  }
  config.ip_forwarding = !is_dual && random.OneIn(3);
  return config;
}

// What the kernel refuses, and so does server/api: routes through a link that is down. And what is not in histories:
// translation between two ends in one namespace.
void Normalize(VethSpec& spec) {
  const bool is_one_place = spec.a.namespace_id == spec.b.namespace_id;
  for (EndpointSpec* end : {&spec.a, &spec.b}) {
    if (!end->up) std::erase_if(end->config.ip.routes, [](const auto& route) { return route.through_link(); });
    if (!is_one_place) continue;
    end->config.masquerade = end->config.ip_forwarding = false;
    end->config.port_forwards.clear();
    // Of both, in the other's place.
    if (end == &spec.b) {
      std::erase_if(end->config.ip.routes, [](const auto& route) { return !route.through_link(); });
    }
  }
}

engine::Sysctls MakeSysctls(Random& random) {
  engine::Sysctls sysctls;
  if (random.OneIn(2)) sysctls["net.core.somaxconn"] = random.Pick({"1024", "2048", "4096"});
  if (random.OneIn(3)) sysctls["net.ipv4.ip_local_port_range"] = random.Pick({"20000 30000", "32768 60999"});
  return sysctls;
}

engine::DnsSpec MakeDns(Random& random) {
  engine::DnsSpec dns;
  if (random.OneIn(2)) dns.nameservers = {random.Pick({"192.0.2.1", "192.0.2.2"})};
  if (random.OneIn(3)) dns.hosts = {{.address = "192.0.2.9", .names = {"gate"}}};
  return dns;
}

engine::NamespaceSpec MakeNamespaceSpec(Random& random) {
  engine::NamespaceSpec spec;
  if (random.OneIn(3)) spec.sysctls = MakeSysctls(random);
  if (random.OneIn(4)) spec.dns = MakeDns(random);
  return spec;
}

VethSpec MakeSpec(Random& random, const std::string& id) {
  VethSpec spec;
  // Mostly from the host to a namespace; few names, so that they are often taken.
  if (random.OneIn(3)) spec.a.namespace_id = random.Pick(kNamespaceIds);
  if (!random.OneIn(4)) spec.b.namespace_id = random.Pick(kNamespaceIds);
  spec.a.interface_name = random.Pick({"h0", "h1", "veth%d", "h%d"});
  spec.b.interface_name = random.Pick({"p0", "h0", "veth%d", "veth0"});
  // The kernel refuses one name for both ends in one place, and so does server/api.
  if (spec.a.namespace_id == spec.b.namespace_id && !IsPattern(spec.a.interface_name) &&
      spec.a.interface_name == spec.b.interface_name) {
    spec.b.interface_name = "p0";
  }
  if (random.OneIn(4)) spec.a.mtu = 1400;
  if (random.OneIn(4)) spec.b.up = false;
  if (!random.OneIn(3)) spec.a.config = MakeConfig(random, id, /*is_a=*/true);
  if (!random.OneIn(3)) spec.b.config = MakeConfig(random, id, /*is_a=*/false);
  Normalize(spec);
  return spec;
}

engine::Metadata MakeMetadata(Random& random) {
  engine::Metadata metadata;
  if (random.OneIn(3)) return metadata;
  metadata.persistent = random.OneIn(3);
  metadata.self_heal = random.OneIn(3);
  if (random.OneIn(4)) return metadata;
  metadata.owner = random.Pick(kOwners);
  if (random.OneIn(2)) metadata.ttl = kTick * random.Pick({1, 3});
  return metadata;
}

Change::End MakeEndChange(Random& random, const std::string& id, bool is_a) {
  Change::End end;
  if (random.OneIn(2)) {
    end.config = MakeConfig(random, id, is_a);
    if (!random.OneIn(4)) return end;
  }
  switch (random.Below(4)) {
    case 0:
      end.mtu = random.Pick<uint32_t>({1300, 1400, 1500});
      break;
    case 1:
      end.any_mtu = true;
      break;
    case 2:
      end.mtu = random.Pick<uint32_t>({1400, 1450});
      end.up = random.OneIn(2);
      break;
    default:
      end.up = random.OneIn(2);
  }
  return end;
}

Change MakeChange(Random& random, const std::string& id, bool of_veth) {
  Change change;
  if (of_veth && !random.OneIn(4)) {
    const size_t ends = random.Below(3);
    if (ends != 0) change.a = MakeEndChange(random, id, /*is_a=*/true);
    if (ends != 1) change.b = MakeEndChange(random, id, /*is_a=*/false);
    if (!random.OneIn(3)) return change;
  }
  if (!of_veth && random.OneIn(2)) {
    if (random.OneIn(2)) change.sysctls = MakeSysctls(random);
    if (random.OneIn(2)) change.dns = MakeDns(random);
  }
  if (random.OneIn(2)) change.label = random.Pick({"red", "blue"});
  if (random.OneIn(3)) change.owner = random.Pick({std::string(), random.Pick(kOwners), random.Pick(kOwners)});
  if (random.OneIn(3)) change.ttl = kTick * random.Pick({0, 1, 3});
  if (random.OneIn(4)) change.persistent = random.OneIn(2);
  if (random.OneIn(4)) change.self_heal = random.OneIn(2);
  return change;
}

// What an owner still has in use, as far as it remembers.
std::vector<std::string> MakeKeep(Random& random) {
  std::vector<std::string> keep;
  for (const std::string& id : kNamespaceIds) {
    if (random.OneIn(4)) keep.push_back(engine::NamespaceName(id));
  }
  for (const std::string& id : kVethIds) {
    if (random.OneIn(4)) keep.push_back(engine::VethName(id));
  }
  return keep;
}

Call MakeCall(Random& random) {
  Call call;
  call.method =
      random.Pick({Call::Method::kCreateNamespace, Call::Method::kCreateNamespace, Call::Method::kCreateNamespace,
                   Call::Method::kDeleteNamespace, Call::Method::kDeleteNamespace, Call::Method::kCreateVeth,
                   Call::Method::kCreateVeth,      Call::Method::kCreateVeth,      Call::Method::kCreateVeth,
                   Call::Method::kDeleteVeth,      Call::Method::kDeleteVeth,      Call::Method::kUpdateNamespace,
                   Call::Method::kUpdateVeth,      Call::Method::kUpdateVeth,      Call::Method::kUpdateVeth,
                   Call::Method::kCollectGarbage,  Call::Method::kGetNamespace,    Call::Method::kGetVeth,
                   Call::Method::kListNamespaces,  Call::Method::kListVeths});
  switch (call.method) {
    case Call::Method::kCreateNamespace:
    case Call::Method::kDeleteNamespace:
    case Call::Method::kGetNamespace:
      call.id = random.Pick(kNamespaceIds);
      break;
    case Call::Method::kCreateVeth:
      call.id = random.Pick(kVethIds);
      call.spec = MakeSpec(random, call.id);
      break;
    case Call::Method::kUpdateNamespace:
      call.id = random.Pick(kNamespaceIds);
      call.change = MakeChange(random, call.id, /*of_veth=*/false);
      break;
    case Call::Method::kUpdateVeth:
      call.id = random.Pick(kVethIds);
      call.change = MakeChange(random, call.id, /*of_veth=*/true);
      break;
    case Call::Method::kDeleteVeth:
    case Call::Method::kGetVeth:
      call.id = random.Pick(kVethIds);
      break;
    case Call::Method::kCollectGarbage:
      call.owner = random.Pick(kOwners);
      call.keep = MakeKeep(random);
      call.validate = random.OneIn(3);
      return call;
    case Call::Method::kExpire:
    case Call::Method::kTend:
    case Call::Method::kListNamespaces:
    case Call::Method::kListVeths:
      break;
  }
  if (call.reads()) return call;
  if (call.method == Call::Method::kCreateNamespace || call.method == Call::Method::kCreateVeth) {
    call.metadata = MakeMetadata(random);
  }
  if (call.method == Call::Method::kCreateNamespace) call.netns = MakeNamespaceSpec(random);
  call.allow = !call.updates() && random.OneIn(4);
  call.validate = random.OneIn(10);
  if (random.OneIn(2)) call.request_id = absl::StrCat("r", random.Below(4));
  return call;
}

Act MakeAct(Random& random) {
  Act act;
  act.kind = random.Pick({Act::Kind::kAddNetns, Act::Kind::kRemoveName, Act::Kind::kRemoveName, Act::Kind::kAddFile,
                          Act::Kind::kAddLink, Act::Kind::kRenameLink, Act::Kind::kDeleteLink});
  const bool in_host = random.OneIn(2);
  act.name = random.Pick(kNamespaceIds);
  if (act.kind >= Act::Kind::kAddLink && in_host) act.name.clear();
  act.empty = random.OneIn(2);
  act.link = random.Pick(kLinkNames);
  act.new_link = random.Pick({std::string("renamed0"), random.Pick(kLinkNames)});
  return act;
}

// Somebody changes what is there.
Act MakeDrift(Random& random) {
  Act act{.kind = random.OneIn(4) ? Act::Kind::kMoveLink : Act::Kind::kSetLink};
  act.end = random.Below(6);
  if (random.OneIn(2)) {
    act.kind = random.Pick({Act::Kind::kTakeAway, Act::Kind::kTakeAway, Act::Kind::kTakeAway, Act::Kind::kTakeAway,
                            Act::Kind::kTakeAway, Act::Kind::kTakeAway, Act::Kind::kSetSysctl, Act::Kind::kRemoveDns,
                            Act::Kind::kAddDns});
    act.loss = random.Pick({Act::Loss::kIp, Act::Loss::kIp, Act::Loss::kIp, Act::Loss::kRoute, Act::Loss::kLimits,
                            Act::Loss::kShaper, Act::Loss::kNat, Act::Loss::kForwarding});
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
  switch (random.Below(4)) {
    case 0:
      act.settings.mtu = 1300;
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

std::string ToText(const engine::LinkSettings& settings) {
  return absl::StrCat(settings.mtu.has_value() ? absl::StrCat(" mtu ", *settings.mtu) : "",
                      settings.mac.has_value() ? " address " + settings.mac->ToString() : "",
                      settings.alias.has_value() ? absl::StrCat(" alias '", *settings.alias, "'") : "",
                      !settings.up.has_value() ? ""
                      : *settings.up           ? " up"
                                               : " down");
}

}  // namespace

const char* LossName(Act::Loss loss) { return kLossNames[static_cast<int>(loss)]; }

std::string ToText(const engine::Metadata& metadata) {
  return absl::StrCat(metadata.owner.empty() ? "" : absl::StrCat(" owner=", metadata.owner),
                      metadata.ttl == absl::ZeroDuration() ? "" : absl::StrCat(" ttl=", ToInt64Seconds(metadata.ttl)),
                      metadata.persistent ? " persistent" : "", metadata.self_heal ? " self_heal" : "",
                      absl::StrJoin(metadata.labels, "", [](std::string* text, const auto& label) {
                        absl::StrAppend(text, " ", label.first, "=", label.second);
                      }));
}

void Change::Apply(VethSpec& spec) const {
  for (const auto& [end, now] : {std::pair(&a, &spec.a), std::pair(&b, &spec.b)}) {
    if (end->mtu.has_value() || end->any_mtu) now->mtu = end->mtu;
    now->up = end->up.value_or(now->up);
    if (end->config.has_value()) now->config = *end->config;
  }
  Normalize(spec);
}

void Change::Apply(engine::NamespaceSpec& spec) const {
  spec.sysctls = sysctls.value_or(spec.sysctls);
  spec.dns = dns.value_or(spec.dns);
}

bool Change::Apply(engine::Metadata& metadata) const {
  metadata.owner = owner.value_or(metadata.owner);
  metadata.ttl = ttl.value_or(metadata.ttl);
  metadata.persistent = persistent.value_or(metadata.persistent);
  metadata.self_heal = self_heal.value_or(metadata.self_heal);
  if (label.has_value()) metadata.labels["label"] = *label;
  return metadata.ttl == absl::ZeroDuration() || !metadata.owner.empty();
}

std::string Change::ToString() const {
  std::string text;
  for (const auto& [end, name] : {std::pair(&a, "a"), std::pair(&b, "b")}) {
    if (end->mtu.has_value()) absl::StrAppend(&text, " ", name, ".mtu=", *end->mtu);
    if (end->any_mtu) absl::StrAppend(&text, " ", name, ".mtu=any");
    if (end->up.has_value()) absl::StrAppend(&text, " ", name, *end->up ? ".up" : ".down");
    if (end->config.has_value()) absl::StrAppend(&text, " ", name, "=(", ToText(*end->config), ")");
  }
  if (sysctls.has_value())
    absl::StrAppend(&text, " sysctls=(", ToText(engine::NamespaceSpec{.sysctls = *sysctls}), ")");
  if (dns.has_value()) absl::StrAppend(&text, " dns=(", ToText(engine::NamespaceSpec{.dns = *dns}), ")");
  if (owner.has_value()) absl::StrAppend(&text, " owner=", *owner);
  if (ttl.has_value()) absl::StrAppend(&text, " ttl=", ToInt64Seconds(*ttl));
  if (label.has_value()) absl::StrAppend(&text, " label=", *label);
  if (persistent.has_value()) absl::StrAppend(&text, " persistent=", *persistent);
  if (self_heal.has_value()) absl::StrAppend(&text, " self_heal=", *self_heal);
  return text;
}

std::string Call::Fingerprint() const {
  std::string text = absl::StrCat(kMethodNames[static_cast<int>(method)], id.empty() ? "" : " ", id);
  if (method == Method::kCreateVeth) absl::StrAppend(&text, " ", ToText(spec.a), " <-> ", ToText(spec.b));
  if (method == Method::kCollectGarbage) absl::StrAppend(&text, " ", owner, " keep=[", absl::StrJoin(keep, " "), "]");
  if (is_chore()) absl::StrAppend(&text, " ", object.name);
  absl::StrAppend(&text, ToText(netns), ToText(metadata), change.ToString());
  if (allow)
    absl::StrAppend(&text, method == Method::kCreateNamespace || method == Method::kCreateVeth ? " allow_existing"
                                                                                               : " allow_missing");
  if (validate) absl::StrAppend(&text, " validate_only");
  return text;
}

std::string Call::ToString() const {
  return absl::StrCat(Fingerprint(), request_id.empty() ? "" : " request_id=", request_id);
}

std::string Act::ToString() const {
  const std::string place = name.empty() ? "the host" : name;
  switch (kind) {
    case Kind::kAddNetns:
      return absl::StrCat("ip netns add ", name);
    case Kind::kRemoveName:
      return absl::StrCat("ip netns delete ", name);
    case Kind::kAddFile:
      return absl::StrCat(empty ? "an empty file " : "a file ", name);
    case Kind::kAddLink:
      return absl::StrCat("a link ", link, " in ", place);
    case Kind::kRenameLink:
      return absl::StrCat("rename ", link, " in ", place, " to ", new_link);
    case Kind::kDeleteLink:
      return absl::StrCat("ip link delete ", link, " in ", place);
    case Kind::kSetLink:
      return absl::StrCat("ip link set ", link, " in ", place, ToText(settings));
    case Kind::kMoveLink:
      return absl::StrCat("move ", link, " in ", place, " to ", new_link, " in ", to.empty() ? "the host" : to);
    case Kind::kTakeAway:
      return absl::StrCat("take ", LossName(loss), " away from ", link, " in ", place, " ",
                          absl::StrJoin(IpTraits(ip), " "));
    case Kind::kSetSysctl:
      return absl::StrCat("set ", sysctl, " to ", value, " in ", place);
    case Kind::kRemoveDns:
      return absl::StrCat("remove the DNS files of ", name);
    case Kind::kAddDns:
      return absl::StrCat("write a resolv.conf for ", name);
  }
  return "";
}

std::vector<Event> MakeHistory(Random& random, bool reboots) {
  std::vector<Event> events;
  const size_t calls = 8 + random.Below(9);
  // Some histories have much of the one kind of trouble, some none.
  const size_t acts = random.Pick<size_t>({0, 0, 4, 8});
  const size_t ends = random.Pick<size_t>({0, 8, 16});
  const size_t quiet = random.Pick<size_t>({0, 2, 4});
  const size_t checks = random.Pick<size_t>({0, 4});
  const size_t drifts = random.Pick<size_t>({0, 0, 2});
  const size_t times = random.Pick<size_t>({0, 2, 4});
  std::vector<Call> made;
  // Something to begin with.
  for (const std::string& id : kNamespaceIds) {
    if (random.OneIn(3)) continue;
    events.push_back({.kind = Event::Kind::kCall,
                      .call = {.method = Call::Method::kCreateNamespace,
                               .id = id,
                               .netns = MakeNamespaceSpec(random),
                               .metadata = MakeMetadata(random)},
                      .act = {}});
  }
  for (size_t i = 0; i < calls; ++i) {
    if (random.OneIn(acts)) events.push_back({.kind = Event::Kind::kAct, .call = {}, .act = MakeAct(random)});
    if (random.OneIn(drifts)) {
      for (size_t more = 1 + random.Below(2); more > 0; --more) {
        events.push_back({.kind = Event::Kind::kAct, .call = {}, .act = MakeDrift(random)});
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
    Call call = repeats ? random.Pick(made) : MakeCall(random);
    // Or somebody asks for the same links under another name.
    if (repeats && call.method == Call::Method::kCreateVeth && random.OneIn(3)) {
      call.id = random.Pick(kVethIds);
      call.request_id.clear();
      // The kernel would refuse those of its like in one namespace.
      for (EndpointSpec* end : {&call.spec.a, &call.spec.b}) {
        std::erase_if(end->config.ip.routes, [](const auto& route) { return route.through_link(); });
      }
    }
    // What is there is changed more often than what is not.
    if (!repeats && call.updates() && !random.OneIn(4)) {
      const bool of_veth = call.method == Call::Method::kUpdateVeth;
      std::vector<std::string> ids;
      for (const Event& event : events) {
        if (event.call.method == (of_veth ? Call::Method::kCreateVeth : Call::Method::kCreateNamespace) &&
            !event.call.id.empty()) {
          ids.push_back(event.call.id);
        }
      }
      if (!ids.empty()) call.id = random.Pick(ids);
    }
    if (!call.reads()) made.push_back(call);
    events.push_back({.kind = Event::Kind::kCall, .call = std::move(call), .act = {}});
  }
  return events;
}

}  // namespace netprov::simulation
