// What an end of a pair wants translated, as elements of netprov's table (netlink/nat.h).
#ifndef NETPROV_SERVER_ENGINE_ADDRESS_TRANSLATION_H_
#define NETPROV_SERVER_ENGINE_ADDRESS_TRANSLATION_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "server/engine/error.h"
#include "server/engine/objects.h"
#include "server/netlink/ip_address.h"
#include "server/netlink/nat.h"

namespace netprov::engine {

// The key of calls (Engine::Keys()) that switch on forwarding in the host's namespace.
inline constexpr char kHostForwardingKey[] = "forwarding/host";

// Of a whole namespace. Writing one sets that of each link and of those to come, too, and the first one also whether
// redirects are accepted (inet_forward_change(), addrconf_forward_change()).
inline constexpr char kIpv4ForwardSysctl[] = "net.ipv4.ip_forward";
inline constexpr char kIpv6ForwardSysctl[] = "net.ipv6.conf.all.forwarding";
inline constexpr char kIpv4RedirectsSysctl[] = "net.ipv4.conf.all.accept_redirects";

// The tag of an element: that of the pair, cut to what an element has room for.
std::string NatTag(const std::string& tag);

// Whether an address can be masqueraded and forwarded to: all but the link-local ones of IPv6.
bool IsTranslatable(const netlink::IpAddress& address);
// The address of an end to which ports are forwarded: the first one that is translatable.
std::optional<netlink::IpAddress> NatTarget(const EndpointConfig& config, netlink::IpFamily family);

// The elements of one of the end's forwards: for each port one of each family.
std::vector<netlink::NatElement> NatElements(const PortForward& forward, const EndpointConfig& config,
                                             const std::string& tag);
// All elements of an end, each once. `ifindex` is that of the link by which the end's packets come in (Masquerade::
// ifindex); 0: it is not known, and only forwards are returned.
std::vector<netlink::NatElement> NatElements(const EndpointConfig& config, uint32_t ifindex, const std::string& tag);

// How many that are, where the link is known.
size_t CountNatElements(const EndpointConfig& config);

// Equal for elements of which the table can have only one.
std::string NatKey(const netlink::NatElement& element);

// What is done for an end is done where the other one is, which must be another namespace, by whichever ways the two
// are reached: what is translated for one could not be told from what is translated for the other. kInvalidChange.
EngineResult<void> ExpectPlaceForNat(const std::string& object, const VethSpec& spec, bool is_one_place);

// The setting of a link, or of those to come where the name is `default`, that writing `whole` sets too.
std::string LinkForwardSysctl(const std::string& whole, const std::string& link);

// What puts settings back that were `former` before forwarding was switched on, and are `now`. What somebody has
// changed since stays as it is: a single one, or, where the whole is off by now, all of its family.
Sysctls ForwardingToRestore(const Sysctls& former, const Sysctls& now);

// The settings that let packets of an end's families be forwarded, with the value of that.
Sysctls ForwardingSysctls(const EndpointConfig& config);

}  // namespace netprov::engine

#endif  // NETPROV_SERVER_ENGINE_ADDRESS_TRANSLATION_H_
