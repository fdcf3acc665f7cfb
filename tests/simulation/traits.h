// What objects have beside names, hardware addresses, MTU and state, as words: equal for equal things, whether they
// were asked for or seen.
#ifndef NETPROV_TESTS_SIMULATION_TRAITS_H_
#define NETPROV_TESTS_SIMULATION_TRAITS_H_

#include <map>
#include <optional>
#include <set>
#include <string>

#include "server/engine/ip_config.h"
#include "server/engine/kernel.h"
#include "server/engine/objects.h"
#include "server/netlink/nat.h"

namespace netprov::simulation {

using Traits = std::set<std::string>;

// Settings by their names.
using Words = std::map<std::string, std::string>;

Traits Without(Traits traits, const Traits& others);
Traits With(Traits traits, const Traits& others);

// ---- As asked for

// On a link: addresses, neighbours, and routes through it.
Traits IpTraits(const engine::EndpointConfig& config);
// In its namespace: routes that belong to no link.
Traits RouteTraits(const engine::EndpointConfig& config);
// Of both ends of a pair, on the link of one: to what it is held for the other.
Traits LimitTraits(const engine::VethSpec& spec, bool on_a);
// The same, in its namespace: what is translated for the other, and the ifb by which that is held.
Traits NatTraits(const engine::VethSpec& spec, bool at_a);
Traits ShaperTraits(const engine::VethSpec& spec, bool at_a);

// What is set of a port's options, and of a device's; the VLANs of a port as one.
Words PortWords(const engine::PortOptions& port);
inline constexpr char kVlans[] = "vlans";
Words DeviceWords(const engine::DeviceOptions& options);
// What a new one has.
Words NewPortWords(bool has_vlans);
Words NewDeviceWords(const engine::DeviceOptions& options);
// Whether its hardware address is that of the link that it stands on. Histories ask for none.
bool FollowsLowerMac(const engine::DeviceOptions& options);
// Whether a link is what an end is held to its limit by, and no device: those have other names in histories.
bool IsShaper(const std::string& kind, const std::string& name);
// The forwarding database of a VXLAN device; of others there is none.
Traits FdbTraits(const engine::DeviceOptions& options);
Words With(Words words, const Words& others);
bool Contains(const Words& words, const Words& others);

// Of a namespace's files at /etc/netns, by name, what they say after their first line.
std::map<std::string, std::string> DnsTraits(const engine::DnsSpec& dns);
// In a new namespace. Histories know these alone.
const engine::Sysctls& UsualSysctls();
const std::string& UsualSysctl(const std::string& name);
inline constexpr char kForwardingSysctl[] = "net.ipv4.ip_forward";

// What is left of it on a link that goes down.
Traits AfterDown(Traits ip);
// On one that loses the last of its IPv4 addresses.
Traits AfterLastAddress(Traits ip);
bool HasIpv4(const Traits& ip);

// Takes away what of a config is not there. `limits` and `nat` are where the other end is, and `asked` is the config
// with all of its addresses.
void KeepThere(const Traits& ip, const Traits& routes, engine::EndpointConfig& config);
void KeepThere(const Traits& limits, const Traits& nat, bool forwards, const engine::EndpointConfig& asked,
               engine::EndpointConfig& config);

// The port of the namespace that a trait is about; empty: none. Nobody else can have it.
std::string NatKeyOf(const std::string& trait);
// Whether somebody asks for a port that another has.
bool Collide(const Traits& nat, const Traits& others);

// ---- As seen

std::string TraitOf(const engine::AddressSpec& address);
std::string TraitOf(const engine::NeighbourSpec& neighbour);
std::string TraitOf(const engine::RouteSpec& route);
std::string TraitOf(const netlink::NatElement& element);
std::string TraitOf(const engine::FdbEntry& entry);
// Without what the kernel gives every link by itself.
Traits IpTraits(const engine::IpConfig& ip);
Traits LimitTraits(const engine::Shaping& shaping);

}  // namespace netprov::simulation

#endif  // NETPROV_TESTS_SIMULATION_TRAITS_H_
