// Who a caller is and what it may do, as WhoAmI says it.
#ifndef NETPROV_SERVER_API_ACCESS_H_
#define NETPROV_SERVER_API_ACCESS_H_

#include "netprov/v1/access.pb.h"
#include "server/access/identity.h"
#include "server/access/policy.h"
#include "server/engine/quota.h"

namespace netprov::api {

// `usage` is what the caller has.
v1::WhoAmIResponse ToProto(const access::Identity& identity, const access::Policy& policy, const engine::Usage& usage);

}  // namespace netprov::api

#endif  // NETPROV_SERVER_API_ACCESS_H_
