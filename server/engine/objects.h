// The domain: what netprov makes, as asked for and as it is. Plain values without proto or kernel types.
#ifndef NETPROV_SERVER_ENGINE_OBJECTS_H_
#define NETPROV_SERVER_ENGINE_OBJECTS_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "server/netlink/mac_address.h"

namespace netprov::engine {

// A name that the caller leaves to the kernel's numbering: the lowest free `veth%d` (dev_alloc_name()).
inline constexpr char kDefaultInterfaceName[] = "veth%d";

enum class NamespaceState { kActive, kMissing, kStale };

// A named namespace.
struct Namespace {
  std::string id;          // the file name at /run/netns, as bytes
  std::string uid;         // UUID; empty when not managed
  absl::Time create_time;  // meaningful when managed
  bool managed = false;    // netprov made it
  NamespaceState state = NamespaceState::kActive;
  uint64_t cookie = 0;  // SO_NETNS_COOKIE; 0 unless kActive
};

// One end of a pair as asked for. Already validated by server/api.
struct EndpointSpec {
  std::string namespace_id;                // empty: the host's namespace
  std::string interface_name;              // a name or a pattern with one %d; never empty
  std::optional<netlink::MacAddress> mac;  // nullopt: the kernel chooses
  std::optional<uint32_t> mtu;             // bytes; nullopt: the kernel's default
  bool up = true;

  friend bool operator==(const EndpointSpec&, const EndpointSpec&) = default;
};

// A pair as asked for.
struct VethSpec {
  EndpointSpec a;
  EndpointSpec b;

  friend bool operator==(const VethSpec&, const VethSpec&) = default;
};

// One end of a pair as it was made.
struct Endpoint {
  std::string namespace_id;  // empty: the host's namespace
  std::string interface_name;
  std::optional<netlink::MacAddress> mac;  // nullopt only in the answer to validate_only
  uint32_t mtu = 0;                        // 0 only in the answer to validate_only
  bool up = true;
  uint32_t ifindex = 0;  // 0: not there
};

enum class VethState { kActive, kMissing };

// A pair.
struct Veth {
  std::string id;
  std::string uid;  // UUID
  absl::Time create_time;
  VethState state = VethState::kActive;
  Endpoint a;
  Endpoint b;
};

// The resource names: `namespaces/blue`, `veths/v1`.
inline std::string NamespaceName(const std::string& id) { return "namespaces/" + id; }
inline std::string VethName(const std::string& id) { return "veths/" + id; }

}  // namespace netprov::engine

#endif  // NETPROV_SERVER_ENGINE_OBJECTS_H_
