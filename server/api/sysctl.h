// Kernel settings of namespaces, as users give them.
#ifndef NETPROV_SERVER_API_SYSCTL_H_
#define NETPROV_SERVER_API_SYSCTL_H_

#include <string>

#include "absl/strings/string_view.h"
#include "google/protobuf/map.h"
#include "server/api/validate.h"
#include "server/engine/objects.h"

namespace netprov::api {

// Names and values as v1::Namespace.sysctls says, in the form in which the engine has them.
engine::Sysctls ToSysctls(absl::string_view field, const google::protobuf::Map<std::string, std::string>& proto,
                          Violations& violations);

}  // namespace netprov::api

#endif  // NETPROV_SERVER_API_SYSCTL_H_
