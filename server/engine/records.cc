#include "server/engine/records.h"

namespace netprov::engine {

Namespace NamespaceRecord::ToNamespace() const {
  return {.id = id,
          .uid = uid,
          .create_time = create_time,
          .managed = true,
          .state = State::kReady,
          .cookie = cookie,
          .spec = spec,
          .metadata = metadata,
          .expire_time = std::nullopt,
          .deviations = {},
          .inhabitants = std::nullopt};
}

Veth VethRecord::ToVeth() const {
  Veth veth{.id = id,
            .uid = uid,
            .create_time = create_time,
            .state = State::kReady,
            .a = a,
            .b = b,
            .metadata = metadata,
            .expire_time = std::nullopt,
            .deviations = {}};
  veth.a.config = spec.a.config;
  veth.b.config = spec.b.config;
  return veth;
}

}  // namespace netprov::engine
