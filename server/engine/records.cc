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

static void AddConfig(const EndpointSpec& spec, Endpoint& made) {
  const netlink::BridgePort port = made.config.port.settings;
  made.config = spec.config;
  if (port != netlink::BridgePort()) made.config.port.settings = port;
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
  AddConfig(spec.a, veth.a);
  AddConfig(spec.b, veth.b);
  return veth;
}

Device DeviceRecord::ToDevice() const {
  Device device{.name = name,
                .uid = uid,
                .create_time = create_time,
                .state = State::kReady,
                .link = link,
                .options = options,
                .ports = {},
                .metadata = metadata,
                .expire_time = std::nullopt,
                .deviations = {}};
  AddConfig(spec.link, device.link);
  return device;
}

}  // namespace netprov::engine
