// What a history asks for: on few names, so that it collides.
#ifndef NETPROV_TESTS_SIMULATION_SPECS_H_
#define NETPROV_TESTS_SIMULATION_SPECS_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "server/engine/objects.h"
#include "tests/simulation/history.h"
#include "tests/simulation/random.h"

namespace netprov::simulation {

// Time passes by this, and leases last a multiple.
inline constexpr absl::Duration kTick = absl::Seconds(10);

engine::NamespaceSpec MakeNamespaceSpec(Random& random);
// With ports of bridges, or without.
engine::VethSpec MakeVethSpec(Random& random, const std::string& id, bool has_ports, bool has_places);
// Where others have made namespaces, or will.
void PutAtPlaces(Random& random, engine::VethSpec& spec);
// Takes away what does not go with a link, and what is not in histories there.
void RestrictPlaces(engine::VethSpec& spec);
uint32_t StandInOf(size_t process);
// With the number that each process has, in the place of what stands for it.
engine::VethSpec WithNumbers(engine::VethSpec spec, const std::map<size_t, uint32_t>& pids);
// Of the kind that the name stands for.
engine::DeviceSpec MakeDeviceSpec(Random& random, const std::string& name);
engine::Metadata MakeMetadata(Random& random);
Change MakeNamespaceChange(Random& random);
Change MakeVethChange(Random& random, const std::string& id, bool has_ports);
Change MakeDeviceChange(Random& random, const std::string& name);

}  // namespace netprov::simulation

#endif  // NETPROV_TESTS_SIMULATION_SPECS_H_
