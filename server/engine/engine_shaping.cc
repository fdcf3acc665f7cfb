#include <array>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/engine/engine.h"
#include "server/engine/error.h"
#include "server/engine/plan.h"
#include "server/engine/shaping.h"

namespace netprov::engine {
namespace {

// One end of a pair, and where it is held to its limits.
struct Held {
  const EndpointSpec* end;
  const char* field;  // of it in the pair
  char other_name;
  Endpoint VethRecord::*other;
};

std::array<Held, 2> BothOf(const VethRecord& record) {
  return {Held{&record.spec.a, "endpoint_a", 'b', &VethRecord::b},
          Held{&record.spec.b, "endpoint_b", 'a', &VethRecord::a}};
}

bool HasLimits(const VethSpec& spec) { return spec.a.config.HasLimits() || spec.b.config.HasLimits(); }

// What holds the end to its limits where the other one is, when it was held to those of `before`.
ShapingSpec ShapingOf(const VethRecord& record, const Held& held, const EndpointConfig& before,
                      const std::string& tag) {
  const EndpointConfig& config = held.end->config;
  // What the one receives, the other sends.
  ShapingSpec wanted{.egress = std::nullopt,
                     .ingress = std::nullopt,
                     .ifb_name = ShaperName(record.uid, held.other_name),
                     .alias = tag};
  if (config.ingress_limit.has_value()) wanted.egress = ToBucket(*config.ingress_limit);
  if (config.egress_limit.has_value()) wanted.ingress = ToBucket(*config.egress_limit);
  // Where nothing is wanted and nothing was, what is there is somebody else's.
  wanted.leaves_root = !config.ingress_limit.has_value() && !before.ingress_limit.has_value();
  return wanted;
}

}  // namespace

KernelResult<void> Engine::ApplyShaping(VethRecord& record, const VethSpec& former) {
  for (const Held& held : BothOf(record)) {
    const EndpointSpec& before = held.end == &record.spec.a ? former.a : former.b;
    // As above.
    if (!held.end->config.HasLimits() && !before.config.HasLimits()) continue;
    Endpoint& other = record.*held.other;
    NETPROV_ASSIGN_OR_RETURN(
        other.shaper_ifindex,
        kernel_.Shape(RefOf(record, other), other.ifindex, ShapingOf(record, held, before.config, TagFor(record))));
  }
  return {};
}

void Engine::AddShapingStep(VethRecord& record, Plan& plan) {
  if (!HasLimits(record.spec)) return;
  plan.Add({.name = absl::StrCat("limit the rates of veth ", record.id),
            .run = [this, &record]() -> KernelResult<void> {
              for (const Held& held : BothOf(record)) {
                // Where nothing is wanted, nothing can be there yet.
                if (!held.end->config.HasLimits()) continue;
                Endpoint& other = record.*held.other;
                NETPROV_ASSIGN_OR_RETURN(
                    other.shaper_ifindex,
                    kernel_.Shape(RefOf(record, other), other.ifindex, ShapingOf(record, held, {}, TagFor(record))));
              }
              return {};
            },
            // All of it goes with the pair (DeleteLinksOf()).
            .undo = NothingToUndo,
            .sweep = nullptr});
}

KernelResult<void> Engine::DeleteShapersOf(const VethRecord& record) {
  if (record.boot_id != kernel_.BootId()) return {};
  auto is_it = [this, &record](const std::optional<Link>& link) {
    return link.has_value() && link->kind == "ifb" &&
           (link->alias == TagFor(record) || (link->alias.empty() && link->group == kOwnedGroup));
  };
  for (const Held& held : BothOf(record)) {
    const Endpoint& other = record.*held.other;
    if (!held.end->config.egress_limit.has_value() && other.shaper_ifindex == 0) continue;
    NETPROV_ASSIGN_OR_RETURN(const Endpoint reached, ByAnyWay(record, other));
    const NetnsRef netns = RefOf(record, reached);
    // Somebody may have renamed it, and one that was not recorded yet has its name.
    KernelResult<std::optional<Link>> link = std::optional<Link>();
    if (other.shaper_ifindex != 0) link = kernel_.FindLink(netns, other.shaper_ifindex);
    if (link.ok() && !is_it(*link)) link = kernel_.FindLink(netns, ShaperName(record.uid, held.other_name));
    if (!link.ok()) {
      if (NamespaceIsGone(link.error())) continue;
      return std::move(link).error();
    }
    if (is_it(*link)) NETPROV_RETURN_IF_ERROR(UnlessGone(kernel_.DeleteLink(netns, (*link)->ifindex)));
  }
  return {};
}

EngineResult<void> Engine::CompareLimits(const VethRecord& record, Veth& veth) {
  for (const Held& held : BothOf(record)) {
    const EndpointConfig& asked = held.end->config;
    if (!asked.HasLimits()) continue;
    const Endpoint& other = record.*held.other;
    const KernelResult<Shaping> now = kernel_.FindShaping(RefOf(record, other), other.ifindex);
    if (!now.ok() && !NamespaceIsGone(now.error())) {
      return KernelFailure(VethName(record.id), "look at the limits of veth " + record.id, now.error());
    }
    const Shaping& shaping = now.ok() ? *now : Shaping();
    EndpointConfig& config = held.end == &record.spec.a ? veth.a.config : veth.b.config;
    const std::string field = absl::StrCat(held.field, ".");
    config.ingress_limit = CompareLimit(field + "ingress_limit", asked.ingress_limit, shaping.egress, veth.deviations);
    config.egress_limit = CompareLimit(field + "egress_limit", asked.egress_limit, shaping.ingress, veth.deviations);
  }
  return {};
}

EngineResult<void> Engine::HealLimits(const VethRecord& record) {
  Veth now = record.ToVeth();
  NETPROV_RETURN_IF_ERROR(CompareLimits(record, now));
  if (now.deviations.empty()) return {};
  VethRecord again = record;
  Plan plan;
  plan.Add({.name = absl::StrCat("limit the rates of veth ", record.id),
            .run = [this, &again] { return ApplyShaping(again, again.spec); },
            .undo = NothingToUndo,
            .sweep = nullptr});
  // Rolled back, it changes nothing, as the pair is registered.
  const Intent intent{.kind = Intent::Kind::kCreateVeth, .netns = {}, .veth = record, .device = {}, .request = {}};
  return Transact(VethName(record.id), intent, plan, [&] { return Outcome{.put_veth = again}; });
}

}  // namespace netprov::engine
