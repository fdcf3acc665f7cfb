// What takes a link of ours from one shape to another.
#ifndef NETPROV_SERVER_ENGINE_LINK_UPDATE_H_
#define NETPROV_SERVER_ENGINE_LINK_UPDATE_H_

#include <optional>
#include <vector>

#include "server/engine/ip_config.h"
#include "server/engine/kernel.h"
#include "server/engine/objects.h"
#include "server/netlink/bridge_port.h"

namespace netprov::engine {

// What a link is asked to be.
struct LinkShape {
  EndpointSpec link;
  std::optional<DeviceOptions> options;  // of a device

  friend bool operator==(const LinkShape&, const LinkShape&) = default;
};

// The old shape with what the kernel has now of all that `wanted` changes, but for addresses, neighbours, routes and
// alternative names: what to go back to. `vlans` are those that the link has as a port.
LinkShape Former(const LinkShape& old, const LinkShape& wanted, const Link& now,
                 const std::vector<netlink::BridgeVlan>& vlans);

// Takes away of `to` the entries of the forwarding database that `old` has and `former` has not any more.
void RemoveLostEntries(const LinkShape& old, const LinkShape& former, LinkShape& to);

// What sets a link that has the shape `from`, but for its alias, which is set with the tag. What `to` leaves open stays
// as it is. `bridge` is the ifindex of the one that `to` names.
LinkSettings SettingsBetween(const LinkShape& from, const LinkShape& to, uint32_t bridge);

// Takes away of `settings` what the link has already: to be set to the very same, a link may refuse all the same, as
// one of the kind ifb does its own MAC address.
void LeaveOutWhatIs(const Link& now, LinkSettings& settings);

// How the addresses, neighbours and routes of a link become others.
struct IpChange {
  IpConfig in_the_way;  // the kernel has no room for them beside those that are gained: go first
  IpConfig gained;      // to be added in their order, in place of their like
  IpConfig lost;

  bool empty() const { return in_the_way.empty() && gained.empty() && lost.empty(); }
};

// The first address of an IPv4 network that a link gets is the primary one, so those that others shall come before are
// gained anew.
IpChange ChangeBetween(const IpConfig& from, const IpConfig& to);

}  // namespace netprov::engine

#endif  // NETPROV_SERVER_ENGINE_LINK_UPDATE_H_
