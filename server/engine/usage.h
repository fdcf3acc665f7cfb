// What each object counts for.
#ifndef NETPROV_SERVER_ENGINE_USAGE_H_
#define NETPROV_SERVER_ENGINE_USAGE_H_

#include <string>

#include "server/engine/quota.h"
#include "server/engine/records.h"

namespace netprov::engine {

// As asked for, whatever the kernel has of it:
//   - a namespace is one, with all that it has itself;
//   - a pair is two links, and one more for each end with an egress_limit, the ifb that holds it to that; a bridge or
//     another device is one;
//   - addresses are those of its ends or of its link;
//   - routes too, those of its gateways among them, and the entries of a VXLAN device's forwarding database;
//   - NAT elements are those that translate addresses for its ends (CountNatElements()).
// What is bounded for each link alone, such as neighbors, VLANs and other names, is not counted.
Usage UsageOf(const NamespaceRecord& record);
Usage UsageOf(const VethRecord& record);
Usage UsageOf(const DeviceRecord& record);

// What the object of an intent counts for once it is carried out, the namespaces that come with a pair among it; of a
// deletion nothing.
Usage UsageAfter(const Intent& intent);

// What `after` has more of than `before`, of each kind by itself.
Usage Growth(const Usage& before, const Usage& after);

}  // namespace netprov::engine

#endif  // NETPROV_SERVER_ENGINE_USAGE_H_
