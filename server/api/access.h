// Who a caller is and what it may do, as WhoAmI says it.
#ifndef NETPROV_SERVER_API_ACCESS_H_
#define NETPROV_SERVER_API_ACCESS_H_

#include "netprov/v1/access.pb.h"
#include "server/access/identity.h"
#include "server/access/policy.h"

namespace netprov::api {

v1::WhoAmIResponse ToProto(const access::Identity& identity, const access::Policy& policy);

}  // namespace netprov::api

#endif  // NETPROV_SERVER_API_ACCESS_H_
