#include <algorithm>
#include <array>
#include <cerrno>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "server/engine/address_translation.h"
#include "server/engine/endpoint.h"
#include "server/engine/engine.h"
#include "server/engine/error.h"
#include "server/engine/plan.h"
#include "server/engine/tag.h"

namespace netprov::engine {
namespace {

using netlink::NatElement;

// One end of a pair, and where its addresses are translated: where the other one is.
struct Translated {
  bool is_a;
  const EndpointSpec* end;
  const char* field;  // of it in the pair
  const EndpointSpec* other_spec;
  const Endpoint* other;
};

std::array<Translated, 2> BothOf(const VethRecord& record) {
  return {Translated{true, &record.spec.a, "endpoint_a", &record.spec.b, &record.b},
          Translated{false, &record.spec.b, "endpoint_b", &record.spec.a, &record.a}};
}

// Those of `elements` that are not in `others`.
std::vector<NatElement> Without(std::vector<NatElement> elements, const std::vector<NatElement>& others) {
  // A text of all that it is.
  auto text = [](const NatElement& element) {
    return absl::StrCat(element.rule.index(), " ", ToString(element), " ", element.tag);
  };
  std::set<std::string> there;
  for (const NatElement& other : others) there.insert(text(other));
  std::erase_if(elements, [&](const NatElement& element) { return there.contains(text(element)); });
  return elements;
}

std::vector<NatElement> OfTag(std::vector<NatElement> elements, const std::string& tag) {
  std::erase_if(elements, [&](const NatElement& element) { return element.tag != tag; });
  return elements;
}

// Whether an element is one that an end wants, on whichever link it hangs.
bool IsWantedSomewhere(const NatElement& element, const EndpointConfig& config) {
  int ifindex = 0;
  if (const auto* masquerade = std::get_if<netlink::Masquerade>(&element.rule)) ifindex = masquerade->ifindex;
  if (const auto* hairpin = std::get_if<netlink::Hairpin>(&element.rule)) ifindex = hairpin->ifindex;
  return absl::c_linear_search(NatElements(config, static_cast<uint32_t>(ifindex), element.tag), element);
}

// A port of the host, for a person.
std::string PortOf(const netlink::PortForward& forward) {
  std::string port =
      absl::StrCat(forward.protocol == netlink::TransportProtocol::kTcp ? "TCP" : "UDP", " port ", forward.host_port);
  if (forward.host_address.has_value()) absl::StrAppend(&port, " of ", forward.host_address->ToString());
  return port;
}

std::string StepOf(const VethRecord& record) { return absl::StrCat("translate addresses of veth ", record.id); }

// The kernel has no nf_tables, so that nothing can be translated.
bool HasNoNat(const KernelError& error) { return error.code == EOPNOTSUPP || error.code == EPROTONOSUPPORT; }

}  // namespace

KernelResult<uint32_t> Engine::NatIfindex(const VethRecord& record, bool is_a, const NetnsRef& netns) {
  const Translated of = BothOf(record)[is_a ? 0 : 1];
  if (!of.other_spec->config.IsPort()) return of.other->ifindex;
  return BridgeIndex(*of.other_spec, netns);
}

KernelResult<std::vector<NatElement>> Engine::NatOf(const VethRecord& record, bool is_a, const NetnsRef& netns) {
  const Translated of = BothOf(record)[is_a ? 0 : 1];
  if (!of.end->config.HasNat()) return std::vector<NatElement>();
  NETPROV_ASSIGN_OR_RETURN(const uint32_t ifindex, NatIfindex(record, is_a, netns));
  return NatElements(of.end->config, ifindex, NatTag(TagFor(record)));
}

KernelResult<void> Engine::ApplyNat(const VethRecord& record) {
  const std::string tag = NatTag(TagFor(record));
  for (const Translated& of : BothOf(record)) {
    const NetnsRef netns = RefOf(record, *of.other);
    KernelResult<std::vector<NatElement>> listed = kernel_.ListNat(netns, registry_.id());
    // With it went what was there.
    if (!listed.ok() && NamespaceIsGone(listed.error())) continue;
    NETPROV_ASSIGN_OR_RETURN(std::vector<NatElement> there, std::move(listed));
    there = OfTag(std::move(there), tag);
    NETPROV_ASSIGN_OR_RETURN(const std::vector<NatElement> wanted, NatOf(record, of.is_a, netns));
    NETPROV_ASSIGN_OR_RETURN(const uint32_t ifindex, NatIfindex(record, of.is_a, netns));
    std::vector<NatElement> lost = Without(there, wanted);
    // Without the bridge, nobody knows by which link its packets come: what hangs on one is not among the wanted.
    if (ifindex == 0) {
      std::erase_if(lost, [&](const NatElement& element) { return IsWantedSomewhere(element, of.end->config); });
    }
    const std::vector<NatElement> gained = Without(wanted, there);
    // An attempt may have left an empty table.
    if (!lost.empty() || wanted.empty()) NETPROV_RETURN_IF_ERROR(kernel_.DeleteNat(netns, registry_.id(), lost));
    if (!gained.empty()) NETPROV_RETURN_IF_ERROR(kernel_.AddNat(netns, registry_.id(), gained));
  }
  return {};
}

KernelResult<void> Engine::DeleteNatOf(const VethRecord& record) {
  if (record.boot_id != kernel_.BootId()) return {};
  const std::optional<VethRecord> now = registry_.FindVeth(record.id);
  const bool is_registered = now.has_value() && now->uid == record.uid;
  for (const Translated& of : BothOf(record)) {
    if (!of.end->config.HasNat()) continue;
    NETPROV_ASSIGN_OR_RETURN(const Endpoint reached, ByAnyWay(record, *of.other));
    const NetnsRef netns = RefOf(record, reached);
    KernelResult<std::vector<NatElement>> there = kernel_.ListNat(netns, registry_.id());
    if (!there.ok()) {
      const KernelError& error = there.error();
      // A process that may not be looked at any more.
      const bool is_closed = reached.place.has_value() && NamespaceIsClosed(error);
      // Of a pair that could not be made for that, nothing was added.
      const bool was_impossible = HasNoNat(error) && !is_registered;
      if (NamespaceIsGone(error) || is_closed || was_impossible) continue;
      return std::move(there).error();
    }
    // Also where there are none: the table may be there.
    const std::vector<NatElement> own = OfTag(*std::move(there), NatTag(TagFor(record)));
    NETPROV_RETURN_IF_ERROR(UnlessGone(kernel_.DeleteNat(netns, registry_.id(), own)));
  }
  return {};
}

void Engine::AddNatSteps(const VethRecord& record, Plan& plan) {
  for (const Translated& of : BothOf(record)) {
    if (!of.end->config.HasNat()) continue;
    auto remove = [this, &record] { return DeleteNatOf(record); };
    plan.Add({.name = StepOf(record),
              .run = [this, &record, of]() -> KernelResult<void> {
                const NetnsRef netns = RefOf(record, *of.other);
                NETPROV_ASSIGN_OR_RETURN(const std::vector<NatElement> wanted, NatOf(record, of.is_a, netns));
                return kernel_.AddNat(netns, registry_.id(), wanted);
              },
              .undo = remove,
              .sweep = remove});
  }
}

EngineResult<void> Engine::CheckNatIsFree(const std::string& object, const VethRecord& record, const NetnsRef& a,
                                          const NetnsRef& b, const std::vector<std::string>& uids) {
  for (const Translated& of : BothOf(record)) {
    const EndpointConfig& config = of.end->config;
    if (!config.HasNat()) continue;
    const NetnsRef& netns = of.is_a ? b : a;
    if (netns.is_unborn()) continue;
    const KernelResult<std::vector<NatElement>> listed = NatOf(record, of.is_a, netns);
    if (!listed.ok()) return KernelFailure(object, "look at what is translated", listed.error());
    const std::vector<NatElement>& wanted = *listed;
    KernelResult<std::vector<NatElement>> there = kernel_.FindNat(netns, registry_.id(), wanted);
    if (!there.ok()) return KernelFailure(object, "look at what is translated", there.error());
    std::map<std::string, std::string> tags;  // by the keys
    for (const NatElement& element : *there) {
      const std::optional<Tag> tag = ParseTag(element.tag);
      if (!tag.has_value() || !absl::c_linear_search(uids, tag->uid)) tags[NatKey(element)] = element.tag;
    }
    for (size_t i = 0; i < config.port_forwards.size(); ++i) {
      for (const NatElement& element : NatElements(config.port_forwards[i], config, "")) {
        const auto found = tags.find(NatKey(element));
        if (found == tags.end()) continue;
        const std::optional<Tag> tag = ParseTag(found->second);
        return PortForwardTaken(object, absl::StrCat(of.field, ".port_forwards[", i, "]"),
                                PortOf(std::get<netlink::PortForward>(element.rule)),
                                tag.has_value() ? tag->object : "");
      }
    }
    for (const NatElement& element : wanted) {
      if (!tags.contains(NatKey(element))) continue;
      return KernelFailure(
          object, StepOf(record),
          {.code = EEXIST, .operation = absl::StrCat("NFT_MSG_NEWSETELEM ", ToString(element)), .extack = {}});
    }
  }
  return {};
}

EngineResult<void> Engine::CompareNat(const VethRecord& record, Veth& veth) {
  const std::string tag = NatTag(TagFor(record));
  for (const Translated& of : BothOf(record)) {
    const EndpointConfig& asked = of.end->config;
    EndpointConfig& config = of.is_a ? veth.a.config : veth.b.config;
    const NetnsRef netns = RefOf(record, *of.other);
    auto add = [&](const char* name, const std::string& expected, const std::string& actual) {
      veth.deviations.push_back({.field = FieldIn(of.field, name), .expected = expected, .actual = actual});
    };
    if (asked.ip_forwarding) {
      const Sysctls wanted = ForwardingSysctls(asked);
      const KernelResult<Sysctls> now = kernel_.FindSysctls(netns, wanted);
      if (!now.ok() && !NamespaceIsGone(now.error())) {
        return KernelFailure(VethName(record.id), "look at the settings of forwarding", now.error());
      }
      config.ip_forwarding = now.ok() && *now == wanted;
      if (!config.ip_forwarding) add("ip_forwarding", "true", "false");
    }
    // Of an end whose bridge is gone, what hangs on it is not known, and that the bridge is gone is said already.
    if (!asked.HasNat()) continue;
    const std::string step = "look at what is translated for veth " + record.id;
    const KernelResult<std::vector<NatElement>> listed = NatOf(record, of.is_a, netns);
    if (!listed.ok()) return KernelFailure(VethName(record.id), step, listed.error());
    const std::vector<NatElement>& wanted = *listed;
    KernelResult<std::vector<NatElement>> now = kernel_.FindNat(netns, registry_.id(), wanted);
    if (!now.ok() && !NamespaceIsGone(now.error())) {
      return KernelFailure(VethName(record.id), step, now.error());
    }
    const std::vector<NatElement> there = now.ok() ? OfTag(*std::move(now), tag) : std::vector<NatElement>();
    for (const NatElement& missing : Without(wanted, there)) {
      if (std::holds_alternative<netlink::PortForward>(missing.rule)) continue;
      const auto* masquerade = std::get_if<netlink::Masquerade>(&missing.rule);
      if (masquerade != nullptr) config.masquerade = false;
      add(masquerade != nullptr ? "masquerade" : "port_forwards",
          masquerade != nullptr ? masquerade->source.ToString() : ToString(missing), "");
    }
    std::erase_if(config.port_forwards, [&](const PortForward& forward) {
      if (Without(NatElements(forward, asked, tag), there).empty()) return false;
      add("port_forwards", ToText(forward), "");
      return true;
    });
  }
  return {};
}

EngineResult<void> Engine::HealNat(const VethRecord& record) {
  const std::string object = VethName(record.id);
  Veth now = record.ToVeth();
  NETPROV_RETURN_IF_ERROR(CompareNat(record, now));
  if (now.deviations.empty()) return {};
  for (const Translated& of : BothOf(record)) {
    if (!of.end->config.ip_forwarding) continue;
    KernelResult<void> set = kernel_.SetSysctls(RefOf(record, *of.other), ForwardingSysctls(of.end->config));
    if (!set.ok()) return KernelFailure(object, "switch on forwarding again", set.error());
  }
  if (!record.spec.a.config.HasNat() && !record.spec.b.config.HasNat()) return {};
  Plan plan;
  plan.Add({.name = StepOf(record),
            .run = [&] { return ApplyNat(record); },
            // What was put right stays so.
            .undo = NothingToUndo,
            .sweep = nullptr});
  // Rolled back, it changes nothing, as the pair is registered.
  const Intent intent{.kind = Intent::Kind::kCreateVeth, .netns = {}, .veth = record, .device = {}, .request = {}};
  EngineResult<void> healed = Transact(object, intent, plan, [&] { return Outcome{.put_veth = record}; });
  if (!healed.ok() && healed.error().reason == Reason::kKernel && healed.error().kernel->code == EEXIST) {
    NETPROV_RETURN_IF_ERROR(
        CheckNatIsFree(object, record, RefOf(record, record.a), RefOf(record, record.b), {record.uid}));
  }
  return healed;
}

EngineResult<void> Engine::FindForwarding(const std::string& object, const VethSpec& ends, const NetnsRef& a,
                                          const NetnsRef& b, Intent::Former& former) {
  for (const bool is_a : {true, false}) {
    const EndpointConfig& config = is_a ? ends.a.config : ends.b.config;
    if (!config.ip_forwarding) continue;
    const Sysctls wanted = ForwardingSysctls(config);
    Sysctls& changed = is_a ? former.forwarding_a : former.forwarding_b;
    if ((is_a ? b : a).is_unborn()) {
      // It goes with all its settings.
      for (const auto& item : wanted) changed.emplace(item.first, "");
      continue;
    }
    Sysctls looked_for = wanted;
    looked_for.emplace(kIpv4RedirectsSysctl, "");
    KernelResult<Sysctls> now = kernel_.FindSysctls(is_a ? b : a, looked_for);
    if (!now.ok()) return KernelFailure(object, "look at the settings of forwarding", now.error());
    for (const auto& [name, value] : wanted) {
      // What the kernel does not have, it will refuse.
      if ((*now)[name] != value) changed[name] = (*now)[name];
    }
    const bool has_redirects = !(*now)[kIpv4RedirectsSysctl].empty();
    if (changed.contains(kIpv4ForwardSysctl) && has_redirects) {
      changed[kIpv4RedirectsSysctl] = (*now)[kIpv4RedirectsSysctl];
    }
    NETPROV_RETURN_IF_ERROR(FindLinkForwarding(object, is_a ? b : a, changed));
  }
  return {};
}

EngineResult<void> Engine::FindLinkForwarding(const std::string& object, const NetnsRef& netns, Sysctls& changed) {
  std::vector<const char*> wholes;
  for (const char* whole : {kIpv4ForwardSysctl, kIpv6ForwardSysctl}) {
    if (changed.contains(whole)) wholes.push_back(whole);
  }
  if (wholes.empty()) return {};
  const std::string step = "look at the settings of forwarding of single links";
  KernelResult<std::vector<Link>> links = kernel_.ListLinks(netns);
  if (!links.ok()) return KernelFailure(object, step, links.error());
  for (const char* whole : wholes) {
    Sysctls singles = {{LinkForwardSysctl(whole, "default"), ""}};
    for (const Link& link : *links) singles.emplace(LinkForwardSysctl(whole, link.name), "");
    KernelResult<Sysctls> now = kernel_.FindSysctls(netns, singles);
    if (!now.ok()) return KernelFailure(object, step, now.error());
    // Those that are as the whole become so again with it.
    for (const auto& [name, value] : *now) {
      if (value != changed[whole]) changed[name] = value;
    }
  }
  return {};
}

void Engine::AddForwardingSteps(const VethRecord& record, const Intent::Former& former, Plan& plan) {
  for (const bool is_a : {true, false}) {
    const Sysctls& changed = is_a ? former.forwarding_a : former.forwarding_b;
    if (changed.empty()) continue;
    Sysctls on;
    for (const char* whole : {kIpv4ForwardSysctl, kIpv6ForwardSysctl}) {
      if (changed.contains(whole)) on.emplace(whole, "1");
    }
    if (on.empty()) continue;
    auto back = [this, &record, &former] { return RestoreForwarding(record, former); };
    plan.Add({.name = "switch on forwarding for veth " + record.id,
              .run = [this, &record, is_a, on]() -> KernelResult<void> {
                KernelResult<void> set = kernel_.SetSysctls(RefOf(record, is_a ? record.b : record.a), on);
                // Those before it may be set.
                if (!set.ok()) set.error().may_have_effect = true;
                return set;
              },
              .undo = back,
              .sweep = back});
  }
}

KernelResult<void> Engine::RestoreForwarding(const VethRecord& record, const Intent::Former& former) {
  for (const Translated& of : BothOf(record)) {
    Sysctls before = of.is_a ? former.forwarding_a : former.forwarding_b;
    std::erase_if(before, [](const auto& item) { return item.second.empty(); });
    if (before.empty()) continue;
    const std::string key = of.other->netns_key();
    const std::vector<VethRecord> others = registry_.ListVethsOf(key);
    for (const VethRecord& other : others) {
      if (other.boot_id != record.boot_id) continue;
      for (const Translated& end : BothOf(other)) {
        if (!end.end->config.ip_forwarding || end.other->netns_key() != key) continue;
        for (const auto& relied_on : ForwardingSysctls(end.end->config)) before.erase(relied_on.first);
      }
    }
    if (before.empty()) continue;
    NETPROV_ASSIGN_OR_RETURN(const Endpoint reached, ByAnyWay(record, *of.other));
    NETPROV_RETURN_IF_ERROR(UnlessGone(RestoreSysctls(RefOf(record, reached), before)));
  }
  return {};
}

KernelResult<void> Engine::RestoreSysctls(const NetnsRef& netns, const Sysctls& former) {
  NETPROV_ASSIGN_OR_RETURN(const Sysctls now, kernel_.FindSysctls(netns, former));
  Sysctls restored = ForwardingToRestore(former, now);
  if (restored.empty()) return {};
  KernelResult<void> set = kernel_.SetSysctls(netns, restored);
  if (set.ok() || set.error().code != EOPNOTSUPP) return set;
  // A link has gone since the look, and its settings with it.
  NETPROV_ASSIGN_OR_RETURN(const Sysctls there, kernel_.FindSysctls(netns, restored));
  std::erase_if(restored, [&there](const auto& item) { return !there.contains(item.first); });
  return kernel_.SetSysctls(netns, restored);
}

EngineResult<void> Engine::RollBackForwarding(const Intent& intent) {
  if (intent.veth.boot_id != kernel_.BootId()) return {};
  KernelResult<void> restored = RestoreForwarding(intent.veth, intent.former);
  if (restored.ok()) return {};
  return KernelFailure(ObjectOf(intent), "switch off forwarding", restored.error());
}

void Engine::CollectOrphanNat(const NetnsRef& netns, bool look_only, const std::string& where, HostReport& report) {
  auto list = [&] { return kernel_.ListNat(netns, registry_.id()); };
  const KernelResult<std::vector<NatElement>> elements = list();
  if (!elements.ok()) {
    if (NamespaceIsGone(elements.error()) || HasNoNat(elements.error())) return;
    return report.Add(
        Finding::Kind::kUnreadable, "nat",
        absl::StrCat("what is translated in ", where, " could not be listed: ", elements.error().ToString()));
  }
  size_t foreign = 0;
  std::map<std::string, std::pair<std::string, std::vector<NatElement>>> by_uid;  // with their objects
  for (const NatElement& element : *elements) {
    const std::optional<Tag> tag = ParseTag(element.tag);
    if (!tag.has_value() || tag->registry != registry_.id()) {
      ++foreign;
      continue;
    }
    auto& [object, own] = by_uid[tag->uid];
    object = tag->object;
    own.push_back(element);
  }
  if (foreign > 0) {
    report.Add(Finding::Kind::kForeignTag, "nat",
               absl::StrCat("in ", where, ", ", foreign, " elements of the table inet netprov are not netprov's"));
  }
  // An intent gives way to its record, so it is looked for first. An object's name may be cut.
  std::erase_if(by_uid, [&](const auto& item) { return registry_.IsPending(item.first); });
  if (by_uid.empty()) return;
  for (const VethRecord& record : registry_.ListVethsOf(netns.key())) by_uid.erase(record.uid);
  if (by_uid.empty()) return;
  // They may have been deleted between our look at the kernel and that at the registry.
  const KernelResult<std::vector<NatElement>> again = list();
  if (!again.ok()) return;
  for (const auto& [uid, item] : by_uid) {
    const auto& [object, own] = item;
    if (Without(own, *again).size() == own.size()) continue;
    const std::string what = absl::StrCat(own.size(), " elements of the table inet netprov in ", where);
    if (look_only) {
      report.Add(Finding::Kind::kOrphan, object, what + " have our tag, and the registry does not know it");
      continue;
    }
    const KernelResult<void> removed = kernel_.DeleteNat(netns, registry_.id(), own);
    if (removed.ok()) {
      report.Add(Finding::Kind::kOrphanRemoved, object, what + " had our tag, and the registry did not know it");
    } else if (!NamespaceIsGone(removed.error())) {
      report.Add(Finding::Kind::kOrphan, object, removed.error().ToString());
    }
  }
}

}  // namespace netprov::engine
