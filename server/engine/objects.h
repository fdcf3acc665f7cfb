// The domain: what netprov makes, as asked for and as it is. Plain values without proto or kernel types.
#ifndef NETPROV_SERVER_ENGINE_OBJECTS_H_
#define NETPROV_SERVER_ENGINE_OBJECTS_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/engine/ip_config.h"
#include "server/netlink/bridge_port.h"
#include "server/netlink/ip_address.h"
#include "server/netlink/link.h"
#include "server/netlink/link_info.h"
#include "server/netlink/mac_address.h"
#include "server/netlink/nat.h"

namespace netprov::engine {

// A name that the caller leaves to the kernel's numbering: the lowest free `veth%d` (dev_alloc_name()).
inline constexpr char kDefaultInterfaceName[] = "veth%d";

// Whose an object is and how long it lives, as its creator asked. Already validated by server/api.
struct Metadata {
  std::string owner;                          // empty: nobody in particular
  std::map<std::string, std::string> labels;  // the caller's
  absl::Duration ttl;                         // from one sign of the owner's to the object's end; zero: it has none
  bool persistent = false;                    // made again after a reboot
  bool self_heal = false;                     // put right when somebody else changes it

  friend bool operator==(const Metadata&, const Metadata&) = default;
};

// What became of an object in the kernel.
enum class State {
  kReady,     // as it was made
  kDegraded,  // there, but changed by somebody else
  kMissing,   // gone, or replaced, or of another boot
  kStale,     // of a name at /run/netns that is not ours: no network namespace
};

// Something that is not as it was made.
struct Deviation {
  std::string field;  // a path in the object, as in `endpoint_a.mtu`
  std::string expected;
  std::string actual;

  friend bool operator==(const Deviation&, const Deviation&) = default;
};

// `endpoint_a.mtu is 1400 in place of 1500; ...`, for a person.
std::string ToText(const std::vector<Deviation>& deviations);

// Kernel settings inside a namespace, by name with the value as the kernel prints it, runs of white space as one space.
// A name is as in `net.ipv4.conf.eth0/1.forwarding`: with dots, and a slash for a dot within a part (sysctl(8)).
using Sysctls = std::map<std::string, std::string>;

// A line of hosts(5).
struct HostsEntry {
  std::string address;             // as netlink::IpAddress writes it
  std::vector<std::string> names;  // at least one

  friend bool operator==(const HostsEntry&, const HostsEntry&) = default;
};

// How names are resolved in a namespace (resolv.conf(5), hosts(5)).
struct DnsSpec {
  std::vector<std::string> nameservers;  // as netlink::IpAddress writes them
  std::vector<std::string> searches;
  std::vector<std::string> options;
  std::vector<HostsEntry> hosts;

  bool empty() const { return *this == DnsSpec(); }
  friend bool operator==(const DnsSpec&, const DnsSpec&) = default;
};

// A namespace as asked for. Already validated by server/api.
struct NamespaceSpec {
  Sysctls sysctls;
  DnsSpec dns;  // empty: as everywhere at the host

  friend bool operator==(const NamespaceSpec&, const NamespaceSpec&) = default;
};

// A process.
struct Process {
  int pid = 0;
  std::string command;  // /proc/PID/comm; empty: it just ended

  friend bool operator==(const Process&, const Process&) = default;
};

// `4242 sleep, 4243 sh`, for a person.
std::string ToText(const std::vector<Process>& processes);

// The processes whose main thread is inside a namespace.
struct Inhabitants {
  size_t count = 0;
  std::vector<Process> first;  // by number; as many as were asked for

  friend bool operator==(const Inhabitants&, const Inhabitants&) = default;
};

// A named namespace.
struct Namespace {
  std::string id;          // the file name at /run/netns, as bytes
  std::string uid;         // UUID; empty when not managed
  absl::Time create_time;  // meaningful when managed
  bool managed = false;    // netprov made or adopted it
  bool adopted = false;    // somebody else made it
  State state = State::kReady;
  uint64_t cookie = 0;  // SO_NETNS_COOKIE; 0 when it is not there
  NamespaceSpec spec;   // as it is now, where it is there
  Metadata metadata;
  std::string creator;                     // the caller who made or adopted it; empty: unknown
  std::optional<absl::Time> expire_time;   // of its lease
  std::vector<Deviation> deviations;       // with kDegraded
  std::optional<Inhabitants> inhabitants;  // where they were asked for
};

// What a link gets at birth besides.
struct LinkOptions {
  uint32_t tx_queues = 1;
  uint32_t rx_queues = 1;
  bool promiscuous = false;
  bool all_multicast = false;
  netlink::OffloadLimits limits;
  std::string alias;  // of its user's, beside the tag

  friend bool operator==(const LinkOptions&, const LinkOptions&) = default;
};

// How a link is a port of its bridge. What is not said stays as the kernel has it.
struct PortOptions {
  netlink::BridgePort settings;            // but for `state`
  std::vector<netlink::BridgeVlan> vlans;  // in order and apart; none: as the bridge gives them to a new port

  bool empty() const { return *this == PortOptions(); }
  friend bool operator==(const PortOptions&, const PortOptions&) = default;
};

// How much may pass in one direction.
struct RateLimit {
  uint64_t rate = 0;       // bits a second, of which a rest of less than a byte does not count
  uint32_t burst = 0;      // bytes that may pass at once
  absl::Duration latency;  // for which a packet may wait at the rate; what would wait longer is dropped

  friend bool operator==(const RateLimit&, const RateLimit&) = default;
};

// Ports of the namespace where the other end is that lead to ports of an end.
struct PortForward {
  netlink::TransportProtocol protocol = netlink::TransportProtocol::kTcp;
  // 0.0.0.0 or `::`: all that the namespace has of the family. nullopt: all of both, as far as the end has addresses.
  std::optional<netlink::IpAddress> host_address;
  uint16_t host_port = 0;  // the first of them
  uint16_t count = 1;
  uint16_t port = 0;  // of the end, to which the first leads

  friend bool operator==(const PortForward&, const PortForward&) = default;
};

// `tcp 80 to port 8080`, `192.0.2.1 udp 5000-5009 to port 5000`, for a person.
std::string ToText(const PortForward& forward);

// What an end has besides name, hardware address, MTU and state.
struct EndpointConfig {
  LinkOptions options;
  std::vector<std::string> alternative_names;
  std::vector<netlink::IpAddress> gateways;  // of default routes
  IpConfig ip;                               // without these
  std::string bridge;                        // the resource name of the bridge that it is a port of; empty: of none
  std::string bridge_interface;              // or the name of one that is not ours, in the same place
  PortOptions port;                          // as which; empty without either
  std::optional<RateLimit> ingress_limit;    // of what the end receives
  std::optional<RateLimit> egress_limit;     // of what it sends
  bool announce = false;                     // its addresses to others, each time that it comes up
  // All of this is where the other end is.
  bool masquerade = false;  // what it sends has the address of the link that it leaves by
  std::vector<PortForward> port_forwards;
  bool ip_forwarding = false;  // switched on, for the families that the end has addresses of

  // All of it.
  IpConfig WholeIp() const;
  // The routes that belong to no link.
  std::vector<RouteSpec> RoutesWithoutLink() const;
  // Takes away what is not there.
  void Remove(const IpConfig& missing);
  // Whether it is a port of a bridge, whosever.
  bool IsPort() const { return !bridge.empty() || !bridge_interface.empty(); }
  bool HasBridgeOf(const EndpointConfig& other) const {
    return bridge == other.bridge && bridge_interface == other.bridge_interface;
  }
  void LeaveBridge() {
    bridge.clear();
    bridge_interface.clear();
  }
  bool HasLimits() const { return ingress_limit.has_value() || egress_limit.has_value(); }
  // Whether addresses are translated for it.
  bool HasNat() const { return masquerade || !port_forwards.empty(); }

  friend bool operator==(const EndpointConfig&, const EndpointConfig&) = default;
};

// What leads to a network namespace that netprov does not manage: one of the two.
struct NetnsPlace {
  std::string path;  // of a file that is one, absolute
  uint32_t pid = 0;  // of a process inside, as the server's PID namespace numbers it

  friend bool operator==(const NetnsPlace&, const NetnsPlace&) = default;
};

// `/run/netns/blue`, `process 4242`, for a person.
std::string ToText(const NetnsPlace& place);

// Names a place among resources: `/run/netns/blue`, `processes/4242`.
std::string PlaceName(const NetnsPlace& place);

// Tells a namespace from all others of this boot: the id of a managed one, empty for the host's; of one that a place
// leads to its cookie after a `/`, which no id has.
std::string NetnsKey(const std::string& namespace_id, const std::optional<NetnsPlace>& place, uint64_t cookie);

// One end of a pair as asked for. Already validated by server/api.
struct EndpointSpec {
  std::string namespace_id;                // empty: the host's namespace, or where `place` leads
  std::string interface_name;              // a name or a pattern with one %d; never empty
  std::optional<netlink::MacAddress> mac;  // nullopt: the kernel chooses
  std::optional<uint32_t> mtu;             // bytes; nullopt: the kernel's default
  bool up = true;
  EndpointConfig config;
  std::optional<NetnsPlace> place;

  bool is_at_host() const { return namespace_id.empty() && !place.has_value(); }
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
  std::string namespace_id;  // empty: the host's namespace, or where `place` leads
  std::string interface_name;
  std::optional<netlink::MacAddress> mac;  // nullopt only in the answer to validate_only
  uint32_t mtu = 0;                        // 0 only in the answer to validate_only
  bool up = true;
  uint32_t ifindex = 0;  // 0: not there
  EndpointConfig config;
  std::optional<NetnsPlace> place;
  // SO_NETNS_COOKIE of the namespace that `place` led to when the end was made, or that was made with the pair; else 0.
  uint64_t netns_cookie = 0;
  // Of the ifb in the same namespace that holds the other end to its egress_limit; 0: none.
  uint32_t shaper_ifindex = 0;

  std::string netns_key() const { return NetnsKey(namespace_id, place, netns_cookie); }
};

// A pair.
struct Veth {
  std::string id;
  std::string uid;  // UUID
  absl::Time create_time;
  State state = State::kReady;
  Endpoint a;
  Endpoint b;
  Metadata metadata;
  std::string creator;                    // as Namespace::creator
  std::optional<absl::Time> expire_time;  // of its lease
  std::vector<Deviation> deviations;      // with kDegraded
};

// Where a VXLAN device sends packets for a hardware address, beside what it learns.
struct FdbEntry {
  netlink::MacAddress mac;  // zero: all that have no entry; it and a multicast address may have several destinations
  netlink::IpAddress destination;
  std::optional<uint16_t> port;  // nullopt: the device's
  std::optional<uint32_t> vni;   // nullopt: the device's

  friend bool operator==(const FdbEntry&, const FdbEntry&) = default;
};

// A VXLAN device. A destination or a source address that is not said may be any.
struct VxlanOptions {
  netlink::VxlanInfo info;
  std::vector<FdbEntry> fdb;  // in the answer, those of the asked that are there

  friend bool operator==(const VxlanOptions&, const VxlanOptions&) = default;
};

// What a device has by its kind; of a bridge, what is not said is the kernel's default. `lower` is not set in any:
// LowerSpec says what it is to be.
using DeviceOptions = std::variant<netlink::BridgeInfo, netlink::MacvlanInfo, VxlanOptions, netlink::VlanInfo,
                                   netlink::IpvlanInfo, netlink::DummyInfo, netlink::IfbInfo>;

// The name of the kind (IFLA_INFO_KIND), as in `bridge`.
std::string KindOf(const DeviceOptions& options);

// Whether devices of the kind stand on another link: macvlan, vlan, ipvlan, and vxlan, which may.
bool HasLower(const DeviceOptions& options);

// The link that a device stands on. It may be anybody's, and is looked for by its name whenever the device is made.
struct LowerSpec {
  std::string namespace_id;    // a managed one; empty: the host's. Of a VXLAN device, where its own packets are
  std::string interface_name;  // empty: none

  friend bool operator==(const LowerSpec&, const LowerSpec&) = default;
};

// A device as asked for: a link that has no other end, such as a bridge. Already validated by server/api.
struct DeviceSpec {
  EndpointSpec link;  // without place; of a bridge, without gateways and routes, and no port
  DeviceOptions options;
  LowerSpec lower;  // empty where the kind has none

  friend bool operator==(const DeviceSpec&, const DeviceSpec&) = default;
};

// A device.
struct Device {
  std::string name;  // the resource name, as in `bridges/br0`
  std::string uid;   // UUID
  absl::Time create_time;
  State state = State::kReady;
  Endpoint link;
  DeviceOptions
      options;  // as the kernel has them; as asked for in the answer to validate_only or where it is not there
  LowerSpec lower;
  std::vector<std::string>
      ports;  // of a bridge: the pairs and devices of ours that are to be its ports, by their resource names, in order
  Metadata metadata;
  std::string creator;                    // as Namespace::creator
  std::optional<absl::Time> expire_time;  // of its lease
  std::vector<Deviation> deviations;      // with kDegraded
};

// The resource names: `namespaces/blue`, `veths/v1`.
inline std::string NamespaceName(const std::string& id) { return "namespaces/" + id; }
inline std::string VethName(const std::string& id) { return "veths/" + id; }
inline std::string BridgeName(const std::string& id) { return "bridges/" + id; }
// Of a device that is no bridge.
inline std::string DeviceName(const std::string& id) { return "devices/" + id; }

// The reverse; nullopt: it is not the name of a namespace, or of a pair. Any other object is a device.
std::optional<std::string> NamespaceIdIn(absl::string_view name);
std::optional<std::string> VethIdIn(absl::string_view name);

// What of an object decides who may change it.
struct ObjectFacts {
  std::map<std::string, std::string> labels;
  bool is_at_host = false;  // a link of it is in the host's namespace, or it stands on one there
  bool has_path = false;    // an end is given by the path of a namespace
  bool has_pid = false;     // an end is given by a process
};

}  // namespace netprov::engine

#endif  // NETPROV_SERVER_ENGINE_OBJECTS_H_
