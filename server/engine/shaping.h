// Rate limits as the kernel has them.
#ifndef NETPROV_SERVER_ENGINE_SHAPING_H_
#define NETPROV_SERVER_ENGINE_SHAPING_H_

#include <optional>
#include <string>
#include <vector>

#include "server/engine/objects.h"
#include "server/netlink/qdisc.h"

namespace netprov::engine {

// The longest that a bucket may take to fill, in seconds: the kernel keeps the time in 32 bits of 64 ns.
inline constexpr int kLongestFill = 274;

netlink::TokenBucket ToBucket(const RateLimit& limit);
// The reverse, as far as the kernel's roundings let it.
RateLimit ToRateLimit(const netlink::TokenBucket& bucket);

// How a limit differs from the one that was asked for; nothing where none was. `field` is the limit's, as in
// `endpoint_a.ingress_limit`. Returns the limit as it is: as asked for, where it is the same.
std::optional<RateLimit> CompareLimit(const std::string& field, const std::optional<RateLimit>& asked,
                                      const std::optional<netlink::TokenBucket>& now,
                                      std::vector<Deviation>& deviations);

// The names that the ifbs of a pair are born with.
std::vector<std::string> ShaperNames(const std::string& uid, const VethSpec& spec);
// The name of the ifb beside end `a` or `b` of the pair with that uid: 15 bytes that no other has.
std::string ShaperName(const std::string& uid, char end);

}  // namespace netprov::engine

#endif  // NETPROV_SERVER_ENGINE_SHAPING_H_
