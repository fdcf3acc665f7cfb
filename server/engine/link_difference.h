// How a link of ours differs from how it was made.
#ifndef NETPROV_SERVER_ENGINE_LINK_DIFFERENCE_H_
#define NETPROV_SERVER_ENGINE_LINK_DIFFERENCE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "server/engine/kernel.h"
#include "server/engine/objects.h"
#include "server/netlink/bridge_port.h"

namespace netprov::engine {

// A link as it was made.
struct LinkExpectation {
  std::string field;  // of it in its object, as in `endpoint_a`; empty: the object is the link
  const Endpoint& made;
  const EndpointConfig& config;
  std::string tag;
  // Of the bridge that it is to be a port of. 0: of none, or of one that is not there.
  uint32_t bridge_ifindex = 0;
};

// The same difference twice: for a person, and as what sets it right. Addresses, neighbours, routes and alternative
// names are not in it.
struct LinkDifference {
  std::vector<Deviation> deviations;
  LinkSettings settings;
  // Whether it is the port that it is to be, and the VLANs that it has then: as they were asked for, where they are the
  // same.
  bool is_port = false;
  std::vector<netlink::BridgeVlan> vlans;
};

// `vlans` are those that it has as a port. Queues can't be changed and are not compared.
LinkDifference Compare(const LinkExpectation& expected, const Link& link,
                       const std::vector<netlink::BridgeVlan>& vlans);

// The first of the asked options that the kernel does not have; nullopt: none. One that is to be off is off then.
std::optional<std::string> MissingOption(const DeviceOptions& asked, const DeviceOptions& actual);

// What of a device's options differs, of those that were asked for; added to `difference`. Where the spanning tree
// protocol is on, times are left out: they are the root's then, and shorter while the tree changes.
void CompareOptions(const DeviceOptions& expected, const DeviceOptions& actual, LinkDifference& difference);

// As in `1-10, 20 pvid untagged`.
std::string ToText(const std::vector<netlink::BridgeVlan>& vlans);

}  // namespace netprov::engine

#endif  // NETPROV_SERVER_ENGINE_LINK_DIFFERENCE_H_
