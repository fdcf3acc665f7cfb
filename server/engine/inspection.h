// What a namespace has in the kernel, whoever made it, as the engine reports it.
#ifndef NETPROV_SERVER_ENGINE_INSPECTION_H_
#define NETPROV_SERVER_ENGINE_INSPECTION_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "server/engine/kernel.h"
#include "server/netlink/address.h"
#include "server/netlink/ip_address.h"
#include "server/netlink/neighbour.h"
#include "server/netlink/route.h"

namespace netprov::engine {

// Which links are meant.
struct LinkFilter {
  std::string namespace_id;    // empty: the host's namespace
  std::string kind;            // IFLA_INFO_KIND; empty: any
  std::string interface_name;  // the name, or an alternative one; empty: any
};

// Which addresses, routes or neighbours are meant.
struct IpFilter {
  std::string namespace_id;  // empty: the host's namespace
  std::optional<netlink::IpFamily> family;
  std::string interface_name;     // of their link, or of one that a route leads through; empty: any, or none
  std::optional<uint32_t> table;  // of routes only
};

// Each has an `id`: bytes that tell it from all others of its kind in the namespace for as long as it exists, and by
// whose order lists go on where they stopped. `object` is the one of ours that it belongs to, by its resource name;
// empty: to none.

// Ordered by ifindex.
struct InspectedLink {
  std::string id;
  ObservedLink observed;
  std::string object;
};

// Ordered by ifindex, family and address.
struct InspectedAddress {
  std::string id;
  netlink::Address address;
  std::string interface_name;
  std::string object;
};

// Ordered by family, table, destination and metric.
struct InspectedRoute {
  std::string id;
  netlink::Route route;
  std::string interface_name;               // empty: it has no link of its own
  std::vector<std::string> next_hop_names;  // the links of route.next_hops
  std::string object;
};

// Ordered by ifindex, family and address.
struct InspectedNeighbour {
  std::string id;
  netlink::Neighbour neighbour;
  std::string interface_name;
  std::string object;
};

}  // namespace netprov::engine

#endif  // NETPROV_SERVER_ENGINE_INSPECTION_H_
