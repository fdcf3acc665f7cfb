#include "server/engine/records.h"

namespace netprov::engine {

Namespace NamespaceRecord::ToNamespace() const {
  return {.id = id,
          .uid = uid,
          .create_time = create_time,
          .managed = true,
          .state = NamespaceState::kActive,
          .cookie = cookie};
}

Veth VethRecord::ToVeth() const {
  return {.id = id, .uid = uid, .create_time = create_time, .state = VethState::kActive, .a = a, .b = b};
}

}  // namespace netprov::engine
