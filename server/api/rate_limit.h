// Rate limits: proto <-> domain.
#ifndef NETPROV_SERVER_API_RATE_LIMIT_H_
#define NETPROV_SERVER_API_RATE_LIMIT_H_

#include <cstdint>
#include <optional>
#include <string>

#include "netprov/v1/veth.pb.h"
#include "server/api/validate.h"
#include "server/engine/objects.h"

namespace netprov::api {

// Checks the limit in `field` of an end that is asked for with that MTU, and fills in what is left out.
engine::RateLimit ToRateLimit(const std::string& field, const v1::RateLimit& proto, std::optional<uint32_t> mtu,
                              Violations& violations);

v1::RateLimit ToProto(const engine::RateLimit& limit);

// As it was asked for: a burst that is what a limit of that rate gets which has none is left out, so that it follows
// the rate and the MTU when they change.
engine::RateLimit WithoutUsualBurst(engine::RateLimit limit, std::optional<uint32_t> mtu);

}  // namespace netprov::api

#endif  // NETPROV_SERVER_API_RATE_LIMIT_H_
