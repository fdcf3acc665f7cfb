// Ends at a path or where a process is.
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

#include "tests/simulation/history.h"
#include "tests/simulation/specs.h"

namespace netprov::simulation {

using engine::EndpointSpec;
using engine::NetnsPlace;
using engine::VethSpec;

namespace {

NetnsPlace MakePlace(Random& random) {
  if (random.OneIn(2)) return {.path = "", .pid = StandInOf(1 + random.Below(kProcesses))};
  // Or one that has a name, and may be adopted.
  return {.path = random.OneIn(4) ? "/run/netns/" + random.Pick(kNamespaceIds) : random.Pick(kPaths), .pid = 0};
}

void PutAt(Random& random, EndpointSpec& end) {
  end.namespace_id.clear();
  end.place = MakePlace(random);
}

}  // namespace

uint32_t StandInOf(size_t process) { return kFirstStandIn + static_cast<uint32_t>(process) - 1; }

void PutAtPlaces(Random& random, VethSpec& spec) {
  if (random.OneIn(3)) return;
  PutAt(random, spec.b);
  if (random.OneIn(3)) PutAt(random, spec.a);
  // Where both go with one process, and something else keeps its namespace, nobody can reach them any more.
  if (HasProcess(spec) && spec.a.place == spec.b.place) spec.a.place.reset();
}

void RestrictPlaces(VethSpec& spec) {
  for (EndpointSpec* end : {&spec.a, &spec.b}) {
    const EndpointSpec& other = end == &spec.a ? spec.b : spec.a;
    if (end->place.has_value()) {
      std::erase_if(end->config.ip.routes, [](const auto& route) { return !route.through_link(); });
    }
    if (!other.place.has_value()) continue;
    end->config.masquerade = end->config.ip_forwarding = false;
    end->config.port_forwards.clear();
    end->config.egress_limit.reset();
  }
}

bool HasProcess(const VethSpec& spec) {
  auto is_process = [](const EndpointSpec& end) { return end.place.has_value() && end.place->path.empty(); };
  return is_process(spec.a) || is_process(spec.b);
}

bool MayPersist(const VethSpec& spec, const engine::Metadata& metadata) {
  return !metadata.persistent || !HasProcess(spec);
}

VethSpec WithNumbers(VethSpec spec, const std::map<size_t, uint32_t>& pids) {
  for (EndpointSpec* end : {&spec.a, &spec.b}) {
    for (const auto& [process, pid] : pids) {
      if (end->place.has_value() && end->place->pid == StandInOf(process)) end->place->pid = pid;
    }
  }
  return spec;
}

}  // namespace netprov::simulation
