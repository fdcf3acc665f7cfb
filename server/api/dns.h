// How namespaces resolve names, as users say it.
#ifndef NETPROV_SERVER_API_DNS_H_
#define NETPROV_SERVER_API_DNS_H_

#include "absl/strings/string_view.h"
#include "netprov/v1/namespace.pb.h"
#include "server/api/validate.h"
#include "server/engine/objects.h"

namespace netprov::api {

// As v1::Dns says; addresses in the form in which netlink::IpAddress writes them.
engine::DnsSpec ToDns(absl::string_view field, const v1::Dns& proto, Violations& violations);

v1::Dns ToProto(const engine::DnsSpec& dns);

}  // namespace netprov::api

#endif  // NETPROV_SERVER_API_DNS_H_
