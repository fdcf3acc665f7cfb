#include "server/engine/record_json.h"

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/time/time.h"
#include "nlohmann/json.hpp"
#include "server/engine/device_json.h"
#include "server/engine/quota.h"
#include "server/netlink/bridge_port.h"
#include "server/netlink/ip_address.h"
#include "server/netlink/link_info.h"
#include "server/netlink/mac_address.h"
#include "server/netlink/nat.h"

// nlohmann::json finds these by argument-dependent lookup, so each sits in the namespace of its type.
namespace netprov::netlink {

static void to_json(nlohmann::json& json, const MacAddress& mac) { json = mac.ToString(); }

static void from_json(const nlohmann::json& json, MacAddress& mac) {
  std::optional<MacAddress> parsed = MacAddress::Parse(json.get<std::string>());
  if (!parsed.has_value()) throw nlohmann::json::other_error::create(500, "not a MAC address", &json);
  mac = *parsed;
}

static void to_json(nlohmann::json& json, const IpAddress& address) { json = address.ToString(); }

static void from_json(const nlohmann::json& json, IpAddress& address) {
  std::optional<IpAddress> parsed = IpAddress::Parse(json.get<std::string>());
  if (!parsed.has_value()) throw nlohmann::json::other_error::create(500, "not an IP address", &json);
  address = *parsed;
}

static void to_json(nlohmann::json& json, const IpPrefix& prefix) { json = prefix.ToString(); }

static void from_json(const nlohmann::json& json, IpPrefix& prefix) {
  std::optional<IpPrefix> parsed = IpPrefix::Parse(json.get<std::string>());
  if (!parsed.has_value()) throw nlohmann::json::other_error::create(500, "not an IP prefix", &json);
  prefix = *parsed;
}

template <typename T>
static void PutIfSet(nlohmann::json& to, const char* key, const std::optional<T>& value) {
  if (value.has_value()) to[key] = *value;
}

template <typename T>
static void GetIfSet(const nlohmann::json& from, const char* key, std::optional<T>& value) {
  if (auto found = from.find(key); found != from.end()) value = found->get<T>();
}

static void PutIfSet(nlohmann::json& to, const char* key, const std::optional<Centiseconds>& time) {
  if (time.has_value()) to[key] = time->count();
}

static void GetIfSet(const nlohmann::json& from, const char* key, std::optional<Centiseconds>& time) {
  if (auto found = from.find(key); found != from.end()) time = Centiseconds(found->get<uint32_t>());
}

static void to_json(nlohmann::json& to, const BridgeInfo& bridge) {
  to = nlohmann::json::object();
  PutIfSet(to, "stp", bridge.stp);
  PutIfSet(to, "forward_delay", bridge.forward_delay);
  PutIfSet(to, "hello_time", bridge.hello_time);
  PutIfSet(to, "max_age", bridge.max_age);
  PutIfSet(to, "ageing_time", bridge.ageing_time);
  PutIfSet(to, "priority", bridge.priority);
  PutIfSet(to, "vlan_filtering", bridge.vlan_filtering);
  PutIfSet(to, "vlan_protocol", bridge.vlan_protocol);
  PutIfSet(to, "default_pvid", bridge.default_pvid);
  PutIfSet(to, "multicast_snooping", bridge.multicast_snooping);
  PutIfSet(to, "group_forward_mask", bridge.group_forward_mask);
}

static void from_json(const nlohmann::json& from, BridgeInfo& bridge) {
  GetIfSet(from, "stp", bridge.stp);
  GetIfSet(from, "forward_delay", bridge.forward_delay);
  GetIfSet(from, "hello_time", bridge.hello_time);
  GetIfSet(from, "max_age", bridge.max_age);
  GetIfSet(from, "ageing_time", bridge.ageing_time);
  GetIfSet(from, "priority", bridge.priority);
  GetIfSet(from, "vlan_filtering", bridge.vlan_filtering);
  GetIfSet(from, "vlan_protocol", bridge.vlan_protocol);
  GetIfSet(from, "default_pvid", bridge.default_pvid);
  GetIfSet(from, "multicast_snooping", bridge.multicast_snooping);
  GetIfSet(from, "group_forward_mask", bridge.group_forward_mask);
}

static void to_json(nlohmann::json& to, const BridgePort& port) {
  to = nlohmann::json::object();
  PutIfSet(to, "cost", port.cost);
  PutIfSet(to, "priority", port.priority);
  PutIfSet(to, "hairpin", port.hairpin);
  PutIfSet(to, "isolated", port.isolated);
  PutIfSet(to, "learning", port.learning);
  PutIfSet(to, "unicast_flood", port.unicast_flood);
  PutIfSet(to, "multicast_flood", port.multicast_flood);
  PutIfSet(to, "broadcast_flood", port.broadcast_flood);
  PutIfSet(to, "neighbour_suppression", port.neighbour_suppression);
}

static void from_json(const nlohmann::json& from, BridgePort& port) {
  GetIfSet(from, "cost", port.cost);
  GetIfSet(from, "priority", port.priority);
  GetIfSet(from, "hairpin", port.hairpin);
  GetIfSet(from, "isolated", port.isolated);
  GetIfSet(from, "learning", port.learning);
  GetIfSet(from, "unicast_flood", port.unicast_flood);
  GetIfSet(from, "multicast_flood", port.multicast_flood);
  GetIfSet(from, "broadcast_flood", port.broadcast_flood);
  GetIfSet(from, "neighbour_suppression", port.neighbour_suppression);
}

static void to_json(nlohmann::json& to, const BridgeVlan& vlan) {
  to["first"] = vlan.first;
  to["last"] = vlan.last;
  if (vlan.pvid) to["pvid"] = true;
  if (vlan.untagged) to["untagged"] = true;
}

static void from_json(const nlohmann::json& from, BridgeVlan& vlan) {
  vlan.first = from.at("first");
  vlan.last = from.at("last");
  vlan.pvid = from.value("pvid", false);
  vlan.untagged = from.value("untagged", false);
}

}  // namespace netprov::netlink

namespace netprov::engine {
namespace {

using nlohmann::json;

template <typename T>
void Put(json& to, const char* key, const std::optional<T>& value) {
  if (value.has_value()) to[key] = *value;
}

template <typename T>
void Get(const json& from, const char* key, std::optional<T>& value) {
  if (auto found = from.find(key); found != from.end()) value = found->get<T>();
}

absl::Time TimeFrom(const json& from) { return absl::FromUnixNanos(from.at("create_time").get<int64_t>()); }

std::optional<absl::Time> ExpireTimeFrom(const json& from) {
  auto found = from.find("expire_time");
  if (found == from.end()) return std::nullopt;
  return absl::FromUnixNanos(found->get<int64_t>());
}

}  // namespace

static void to_json(json& to, const Metadata& metadata) {
  to = json::object();
  if (!metadata.owner.empty()) to["owner"] = metadata.owner;
  if (!metadata.labels.empty()) to["labels"] = metadata.labels;
  if (metadata.ttl != absl::ZeroDuration()) to["ttl"] = absl::ToInt64Nanoseconds(metadata.ttl);
  if (metadata.persistent) to["persistent"] = true;
  if (metadata.self_heal) to["self_heal"] = true;
}

static void from_json(const json& from, Metadata& metadata) {
  metadata.owner = from.value("owner", std::string());
  metadata.labels = from.value("labels", metadata.labels);
  metadata.ttl = absl::Nanoseconds(from.value("ttl", int64_t{0}));
  metadata.persistent = from.value("persistent", false);
  metadata.self_heal = from.value("self_heal", false);
}

// Most objects have none of it.
static void PutMetadata(json& to, const Metadata& metadata) {
  if (metadata != Metadata()) to["metadata"] = metadata;
}

static void GetMetadata(const json& from, Metadata& metadata) {
  if (auto found = from.find("metadata"); found != from.end()) metadata = *found;
}

// The name of a caller may be any bytes, and JSON is text.
static void PutCreator(json& to, const std::string& creator) {
  if (!creator.empty()) to["creator"] = absl::CEscape(creator);
}

static void GetCreator(const json& from, std::string& creator) {
  const auto found = from.find("creator");
  if (found == from.end()) return;
  if (!absl::CUnescape(found->get<std::string>(), &creator)) {
    throw json::other_error::create(500, "not a creator", &from);
  }
}

// A member for what is not as it mostly is.
template <typename T>
static void PutUnless(const T& usual, json& to, const char* key, const T& value) {
  if (value != usual) to[key] = value;
}

static void to_json(json& to, const HostsEntry& entry) {
  to["address"] = entry.address;
  to["names"] = entry.names;
}

static void from_json(const json& from, HostsEntry& entry) {
  entry.address = from.at("address");
  entry.names = from.at("names").get<std::vector<std::string>>();
}

static void to_json(json& to, const DnsSpec& dns) {
  PutUnless({}, to, "nameservers", dns.nameservers);
  PutUnless({}, to, "searches", dns.searches);
  PutUnless({}, to, "options", dns.options);
  PutUnless({}, to, "hosts", dns.hosts);
}

static void from_json(const json& from, DnsSpec& dns) {
  dns.nameservers = from.value("nameservers", dns.nameservers);
  dns.searches = from.value("searches", dns.searches);
  dns.options = from.value("options", dns.options);
  dns.hosts = from.value("hosts", dns.hosts);
}

// Most namespaces have none of it.
static void PutSpec(json& to, const NamespaceSpec& spec) {
  PutUnless({}, to, "sysctls", spec.sysctls);
  PutUnless({}, to, "dns", spec.dns);
}

static void GetSpec(const json& from, NamespaceSpec& spec) {
  spec.sysctls = from.value("sysctls", spec.sysctls);
  spec.dns = from.value("dns", spec.dns);
}

static void to_json(json& to, const Adoption& adoption) {
  to["loopback_up"] = adoption.loopback_up;
  // Any bytes.
  to["loopback_alias"] = absl::Base64Escape(adoption.loopback_alias);
  PutUnless({}, to, "sysctls", adoption.sysctls);
}

static void from_json(const json& from, Adoption& adoption) {
  adoption.loopback_up = from.at("loopback_up");
  if (!absl::Base64Unescape(from.at("loopback_alias").get<std::string>(), &adoption.loopback_alias)) {
    throw json::other_error::create(500, "not an alias", &from);
  }
  adoption.sysctls = from.value("sysctls", adoption.sysctls);
}

// An initializer list would make an array of each pair before it becomes a member, which takes twice the time.
static void to_json(json& to, const NamespaceRecord& record) {
  to["id"] = record.id;
  to["uid"] = record.uid;
  to["create_time"] = absl::ToUnixNanos(record.create_time);
  to["boot_id"] = record.boot_id;
  to["cookie"] = record.cookie;
  PutSpec(to, record.spec);
  PutMetadata(to, record.metadata);
  PutCreator(to, record.creator);
  Put(to, "adoption", record.adoption);
  PutUnless(false, to, "owns_etc_directory", record.owns_etc_directory);
}

static void from_json(const json& from, NamespaceRecord& record) {
  record.id = from.at("id");
  record.uid = from.at("uid");
  record.create_time = TimeFrom(from);
  record.boot_id = from.at("boot_id");
  record.cookie = from.at("cookie");
  GetSpec(from, record.spec);
  GetMetadata(from, record.metadata);
  GetCreator(from, record.creator);
  Get(from, "adoption", record.adoption);
  record.owns_etc_directory = from.value("owns_etc_directory", false);
}

static void to_json(json& to, const AddressSpec& address) {
  to["local"] = address.local;
  Put(to, "peer", address.peer);
  if (address.scope != kScopeGlobal) to["scope"] = address.scope;
  if (address.detect_duplicates) to["detect_duplicates"] = true;
}

static void from_json(const json& from, AddressSpec& address) {
  address.local = from.at("local");
  Get(from, "peer", address.peer);
  address.scope = from.value("scope", kScopeGlobal);
  address.detect_duplicates = from.value("detect_duplicates", false);
}

static void to_json(json& to, const RouteSpec& route) {
  to["destination"] = route.destination;
  to["type"] = route.type;
  Put(to, "gateway", route.gateway);
  to["metric"] = route.metric;
  to["table"] = route.table;
  to["scope"] = route.scope;
  Put(to, "preferred_source", route.preferred_source);
  if (route.on_link) to["on_link"] = true;
  Put(to, "mtu", route.mtu);
}

static void from_json(const json& from, RouteSpec& route) {
  route.destination = from.at("destination");
  route.type = from.at("type");
  Get(from, "gateway", route.gateway);
  route.metric = from.at("metric");
  route.table = from.at("table");
  route.scope = from.at("scope");
  Get(from, "preferred_source", route.preferred_source);
  route.on_link = from.value("on_link", false);
  Get(from, "mtu", route.mtu);
}

static void to_json(json& to, const NeighbourSpec& neighbour) {
  to["address"] = neighbour.address;
  to["mac"] = neighbour.mac;
}

static void from_json(const json& from, NeighbourSpec& neighbour) {
  neighbour.address = from.at("address");
  neighbour.mac = from.at("mac");
}

static void to_json(json& to, const RateLimit& limit) {
  to["rate"] = limit.rate;
  to["burst"] = limit.burst;
  to["latency"] = absl::ToInt64Nanoseconds(limit.latency);
}

static void from_json(const json& from, RateLimit& limit) {
  limit.rate = from.at("rate");
  limit.burst = from.at("burst");
  limit.latency = absl::Nanoseconds(from.at("latency").get<int64_t>());
}

static void to_json(json& to, const PortForward& forward) {
  to["protocol"] = forward.protocol;
  Put(to, "host_address", forward.host_address);
  to["host_port"] = forward.host_port;
  PutUnless(uint16_t{1}, to, "count", forward.count);
  to["port"] = forward.port;
}

static void from_json(const json& from, PortForward& forward) {
  forward.protocol = from.at("protocol");
  Get(from, "host_address", forward.host_address);
  forward.host_port = from.at("host_port");
  forward.count = from.value("count", uint16_t{1});
  forward.port = from.at("port");
}

static void to_json(json& to, const EndpointConfig& config) {
  to = json::object();
  PutUnless(1u, to, "tx_queues", config.options.tx_queues);
  PutUnless(1u, to, "rx_queues", config.options.rx_queues);
  PutUnless(false, to, "promiscuous", config.options.promiscuous);
  PutUnless(false, to, "all_multicast", config.options.all_multicast);
  PutUnless({}, to, "alias", config.options.alias);
  PutUnless(false, to, "announce", config.announce);
  Put(to, "gso_max_size", config.options.limits.gso_max_size);
  Put(to, "gso_max_segments", config.options.limits.gso_max_segments);
  Put(to, "gro_max_size", config.options.limits.gro_max_size);
  Put(to, "gso_ipv4_max_size", config.options.limits.gso_ipv4_max_size);
  Put(to, "gro_ipv4_max_size", config.options.limits.gro_ipv4_max_size);
  PutUnless({}, to, "alternative_names", config.alternative_names);
  PutUnless({}, to, "gateways", config.gateways);
  PutUnless({}, to, "addresses", config.ip.addresses);
  PutUnless({}, to, "neighbours", config.ip.neighbours);
  PutUnless({}, to, "routes", config.ip.routes);
  PutUnless({}, to, "bridge", config.bridge);
  PutUnless({}, to, "bridge_interface", config.bridge_interface);
  PutUnless({}, to, "port", config.port.settings);
  PutUnless({}, to, "vlans", config.port.vlans);
  Put(to, "ingress_limit", config.ingress_limit);
  Put(to, "egress_limit", config.egress_limit);
  PutUnless(false, to, "masquerade", config.masquerade);
  PutUnless({}, to, "port_forwards", config.port_forwards);
  PutUnless(false, to, "ip_forwarding", config.ip_forwarding);
}

static void from_json(const json& from, EndpointConfig& config) {
  config.options.tx_queues = from.value("tx_queues", 1u);
  config.options.rx_queues = from.value("rx_queues", 1u);
  config.options.promiscuous = from.value("promiscuous", false);
  config.options.all_multicast = from.value("all_multicast", false);
  config.options.alias = from.value("alias", config.options.alias);
  config.announce = from.value("announce", false);
  Get(from, "gso_max_size", config.options.limits.gso_max_size);
  Get(from, "gso_max_segments", config.options.limits.gso_max_segments);
  Get(from, "gro_max_size", config.options.limits.gro_max_size);
  Get(from, "gso_ipv4_max_size", config.options.limits.gso_ipv4_max_size);
  Get(from, "gro_ipv4_max_size", config.options.limits.gro_ipv4_max_size);
  config.alternative_names = from.value("alternative_names", config.alternative_names);
  config.gateways = from.value("gateways", config.gateways);
  config.ip.addresses = from.value("addresses", config.ip.addresses);
  config.ip.neighbours = from.value("neighbours", config.ip.neighbours);
  config.ip.routes = from.value("routes", config.ip.routes);
  config.bridge = from.value("bridge", config.bridge);
  config.bridge_interface = from.value("bridge_interface", config.bridge_interface);
  config.port.settings = from.value("port", config.port.settings);
  config.port.vlans = from.value("vlans", config.port.vlans);
  Get(from, "ingress_limit", config.ingress_limit);
  Get(from, "egress_limit", config.egress_limit);
  config.masquerade = from.value("masquerade", false);
  config.port_forwards = from.value("port_forwards", config.port_forwards);
  config.ip_forwarding = from.value("ip_forwarding", false);
}

// Most ends have none of it.
static void PutConfig(json& to, const EndpointConfig& config) {
  if (config != EndpointConfig()) to["config"] = config;
}

static void GetConfig(const json& from, EndpointConfig& config) {
  if (auto found = from.find("config"); found != from.end()) config = *found;
}

// A record of an end at a place has no `namespace`, so that a netprov that knows no places refuses it and does not take
// the end for one of the host's.
static void PutWhere(json& to, const std::string& namespace_id, const std::optional<NetnsPlace>& place) {
  if (!place.has_value()) {
    to["namespace"] = namespace_id;
  } else if (place->path.empty()) {
    to["pid"] = place->pid;
  } else {
    to["netns_path"] = place->path;
  }
}

static void GetWhere(const json& from, std::string& namespace_id, std::optional<NetnsPlace>& place) {
  if (from.contains("pid")) {
    place = NetnsPlace{.pid = from["pid"]};
  } else if (from.contains("netns_path")) {
    place = NetnsPlace{.path = from["netns_path"]};
  } else {
    namespace_id = from.at("namespace");
  }
}

static void to_json(json& to, const EndpointSpec& spec) {
  PutWhere(to, spec.namespace_id, spec.place);
  to["interface_name"] = spec.interface_name;
  to["up"] = spec.up;
  Put(to, "mac", spec.mac);
  Put(to, "mtu", spec.mtu);
  PutConfig(to, spec.config);
}

static void from_json(const json& from, EndpointSpec& spec) {
  GetWhere(from, spec.namespace_id, spec.place);
  spec.interface_name = from.at("interface_name");
  spec.up = from.at("up");
  Get(from, "mac", spec.mac);
  Get(from, "mtu", spec.mtu);
  GetConfig(from, spec.config);
}

static void to_json(json& to, const Endpoint& endpoint) {
  PutWhere(to, endpoint.namespace_id, endpoint.place);
  PutUnless(uint64_t{0}, to, "netns_cookie", endpoint.netns_cookie);
  to["interface_name"] = endpoint.interface_name;
  to["mtu"] = endpoint.mtu;
  to["up"] = endpoint.up;
  to["ifindex"] = endpoint.ifindex;
  PutUnless(0u, to, "shaper_ifindex", endpoint.shaper_ifindex);
  Put(to, "mac", endpoint.mac);
  PutConfig(to, endpoint.config);
}

static void from_json(const json& from, Endpoint& endpoint) {
  GetWhere(from, endpoint.namespace_id, endpoint.place);
  endpoint.netns_cookie = from.value("netns_cookie", uint64_t{0});
  endpoint.interface_name = from.at("interface_name");
  endpoint.mtu = from.at("mtu");
  endpoint.up = from.at("up");
  endpoint.ifindex = from.at("ifindex");
  endpoint.shaper_ifindex = from.value("shaper_ifindex", 0u);
  Get(from, "mac", endpoint.mac);
  GetConfig(from, endpoint.config);
}

// The kind is the name of the member.
static void PutOptions(json& to, const DeviceOptions& options) {
  if (const auto* bridge = std::get_if<netlink::BridgeInfo>(&options); bridge != nullptr) {
    to["bridge"] = *bridge;
  } else {
    to[KindOf(options)] = KindToJson(options);
  }
}

static void GetOptions(const json& from, DeviceOptions& options) {
  if (KindFromJson(from, options)) return;
  options = from.at("bridge").get<netlink::BridgeInfo>();
}

// Of a device that stands on none there is nothing.
static void PutLower(json& to, const LowerSpec& lower) {
  if (lower != LowerSpec()) to["lower"] = {{"namespace", lower.namespace_id}, {"interface", lower.interface_name}};
}

static void GetLower(const json& from, LowerSpec& lower) {
  const auto found = from.find("lower");
  if (found == from.end()) return;
  lower.namespace_id = found->at("namespace");
  lower.interface_name = found->at("interface");
}

static void to_json(json& to, const VethSpec& spec) {
  to["a"] = spec.a;
  to["b"] = spec.b;
}

static void from_json(const json& from, VethSpec& spec) {
  spec.a = from.at("a");
  spec.b = from.at("b");
}

static void to_json(json& to, const DeviceSpec& spec) {
  to["link"] = spec.link;
  PutOptions(to, spec.options);
  PutLower(to, spec.lower);
}

static void from_json(const json& from, DeviceSpec& spec) {
  spec.link = from.at("link");
  GetOptions(from, spec.options);
  GetLower(from, spec.lower);
}

static void to_json(json& to, const VethRecord& record) {
  to["id"] = record.id;
  to["uid"] = record.uid;
  to["create_time"] = absl::ToUnixNanos(record.create_time);
  to["boot_id"] = record.boot_id;
  to["spec"] = record.spec;
  to["a"] = record.a;
  to["b"] = record.b;
  PutMetadata(to, record.metadata);
  PutCreator(to, record.creator);
}

static void from_json(const json& from, VethRecord& record) {
  record.id = from.at("id");
  record.uid = from.at("uid");
  record.create_time = TimeFrom(from);
  record.boot_id = from.at("boot_id");
  record.spec = from.at("spec");
  record.a = from.at("a");
  record.b = from.at("b");
  GetMetadata(from, record.metadata);
  GetCreator(from, record.creator);
}

static void to_json(json& to, const DeviceRecord& record) {
  to["name"] = record.name;
  to["uid"] = record.uid;
  to["create_time"] = absl::ToUnixNanos(record.create_time);
  to["boot_id"] = record.boot_id;
  to["spec"] = record.spec;
  to["link"] = record.link;
  PutOptions(to["made"], record.options);
  to["netns_cookie"] = record.netns_cookie;
  PutUnless(uint32_t{0}, to, "lower_ifindex", record.lower_ifindex);
  PutMetadata(to, record.metadata);
  PutCreator(to, record.creator);
}

static void from_json(const json& from, DeviceRecord& record) {
  record.name = from.at("name");
  record.uid = from.at("uid");
  record.create_time = TimeFrom(from);
  record.boot_id = from.at("boot_id");
  record.spec = from.at("spec");
  record.link = from.at("link");
  GetOptions(from.at("made"), record.options);
  record.netns_cookie = from.at("netns_cookie");
  record.lower_ifindex = from.value("lower_ifindex", uint32_t{0});
  GetMetadata(from, record.metadata);
  GetCreator(from, record.creator);
}

static void to_json(json& to, const Deviation& deviation) {
  to["field"] = deviation.field;
  to["expected"] = deviation.expected;
  to["actual"] = deviation.actual;
}

static void from_json(const json& from, Deviation& deviation) {
  deviation.field = from.at("field");
  deviation.expected = from.at("expected");
  deviation.actual = from.at("actual");
}

// What was answered with success was there, so its state follows from these.
static void PutState(json& to, State state, const std::vector<Deviation>& deviations) {
  PutUnless(false, to, "missing", state == State::kMissing);
  if (!deviations.empty()) to["deviations"] = deviations;
}

static State GetState(const json& from, std::vector<Deviation>& deviations) {
  if (from.value("missing", false)) return State::kMissing;
  if (auto found = from.find("deviations"); found != from.end()) deviations = *found;
  return deviations.empty() ? State::kReady : State::kDegraded;
}

// An answer is what was said at the time, so it is stored as the object and not as the record.
static void to_json(json& to, const Namespace& netns) {
  to["id"] = netns.id;
  to["uid"] = netns.uid;
  to["create_time"] = absl::ToUnixNanos(netns.create_time);
  to["cookie"] = netns.cookie;
  PutUnless(false, to, "adopted", netns.adopted);
  PutSpec(to, netns.spec);
  PutMetadata(to, netns.metadata);
  PutCreator(to, netns.creator);
  if (netns.expire_time.has_value()) to["expire_time"] = absl::ToUnixNanos(*netns.expire_time);
  PutState(to, netns.state, netns.deviations);
}

static void from_json(const json& from, Namespace& netns) {
  netns.id = from.at("id");
  netns.uid = from.at("uid");
  netns.create_time = TimeFrom(from);
  netns.cookie = from.at("cookie");
  netns.adopted = from.value("adopted", false);
  GetSpec(from, netns.spec);
  GetMetadata(from, netns.metadata);
  GetCreator(from, netns.creator);
  netns.expire_time = ExpireTimeFrom(from);
  netns.managed = true;
  netns.state = GetState(from, netns.deviations);
}

static void to_json(json& to, const Veth& veth) {
  to["id"] = veth.id;
  to["uid"] = veth.uid;
  to["create_time"] = absl::ToUnixNanos(veth.create_time);
  to["a"] = veth.a;
  to["b"] = veth.b;
  PutMetadata(to, veth.metadata);
  PutCreator(to, veth.creator);
  if (veth.expire_time.has_value()) to["expire_time"] = absl::ToUnixNanos(*veth.expire_time);
  PutState(to, veth.state, veth.deviations);
}

static void from_json(const json& from, Veth& veth) {
  veth.id = from.at("id");
  veth.uid = from.at("uid");
  veth.create_time = TimeFrom(from);
  veth.state = GetState(from, veth.deviations);
  veth.a = from.at("a");
  veth.b = from.at("b");
  GetMetadata(from, veth.metadata);
  GetCreator(from, veth.creator);
  veth.expire_time = ExpireTimeFrom(from);
}

static void to_json(json& to, const Device& device) {
  to["name"] = device.name;
  to["uid"] = device.uid;
  to["create_time"] = absl::ToUnixNanos(device.create_time);
  to["link"] = device.link;
  PutOptions(to, device.options);
  PutLower(to, device.lower);
  PutUnless({}, to, "ports", device.ports);
  PutMetadata(to, device.metadata);
  PutCreator(to, device.creator);
  if (device.expire_time.has_value()) to["expire_time"] = absl::ToUnixNanos(*device.expire_time);
  PutState(to, device.state, device.deviations);
}

static void from_json(const json& from, Device& device) {
  device.name = from.at("name");
  device.uid = from.at("uid");
  device.create_time = TimeFrom(from);
  device.state = GetState(from, device.deviations);
  device.link = from.at("link");
  GetOptions(from, device.options);
  GetLower(from, device.lower);
  device.ports = from.value("ports", device.ports);
  GetMetadata(from, device.metadata);
  GetCreator(from, device.creator);
  device.expire_time = ExpireTimeFrom(from);
}

static void to_json(json& to, const Usage& usage) {
  to = json::object();
  for (const CountedKind& kind : kCountedKinds) PutUnless(int64_t{0}, to, kind.name, usage.*kind.used);
}

static void from_json(const json& from, Usage& usage) {
  for (const CountedKind& kind : kCountedKinds) usage.*kind.used = from.value(kind.name, int64_t{0});
}

static void to_json(json& to, const Intent& intent) {
  switch (intent.kind) {
    case Intent::Kind::kCreateNamespace:
      to["create_namespace"] = intent.netns;
      break;
    case Intent::Kind::kDeleteNamespace:
      to["delete_namespace"] = intent.netns;
      break;
    case Intent::Kind::kCreateVeth:
      to["create_veth"] = intent.veth;
      if (!intent.new_namespaces.empty()) to["new_namespaces"] = intent.new_namespaces;
      break;
    case Intent::Kind::kDeleteVeth:
      to["delete_veth"] = intent.veth;
      break;
    case Intent::Kind::kCreateDevice:
      to["create_device"] = intent.device;
      break;
    case Intent::Kind::kDeleteDevice:
      to["delete_device"] = intent.device;
      break;
    case Intent::Kind::kUpdateNamespace:
      to["update_namespace"] = intent.netns;
      to["former"] = json::object();
      PutSpec(to["former"], intent.former.netns);
      break;
    case Intent::Kind::kUpdateVeth:
      to["update_veth"] = intent.veth;
      to["former"] = intent.former.veth;
      break;
    case Intent::Kind::kUpdateDevice:
      to["update_device"] = intent.device;
      to["former"] = intent.former.device;
      break;
    case Intent::Kind::kAdoptNamespace:
      to["adopt_namespace"] = intent.netns;
      break;
    case Intent::Kind::kReleaseNamespace:
      to["release_namespace"] = intent.netns;
      break;
  }
  PutUnless({}, to, "forwarding_a", intent.former.forwarding_a);
  PutUnless({}, to, "forwarding_b", intent.former.forwarding_b);
  Put(to, "usage_after", intent.usage_after);
  if (intent.request.has_value()) {
    // A fingerprint is bytes, and JSON is text.
    to["request"] = {{"id", intent.request->request_id},
                     {"fingerprint", absl::Base64Escape(intent.request->fingerprint)}};
  }
}

static void from_json(const json& from, Intent& intent) {
  if (from.contains("create_namespace")) {
    intent.kind = Intent::Kind::kCreateNamespace;
    intent.netns = from["create_namespace"];
  } else if (from.contains("delete_namespace")) {
    intent.kind = Intent::Kind::kDeleteNamespace;
    intent.netns = from["delete_namespace"];
  } else if (from.contains("create_veth")) {
    intent.kind = Intent::Kind::kCreateVeth;
    intent.veth = from["create_veth"];
    intent.new_namespaces = from.value("new_namespaces", intent.new_namespaces);
  } else if (from.contains("create_device")) {
    intent.kind = Intent::Kind::kCreateDevice;
    intent.device = from["create_device"];
  } else if (from.contains("delete_device")) {
    intent.kind = Intent::Kind::kDeleteDevice;
    intent.device = from["delete_device"];
  } else if (from.contains("update_namespace")) {
    intent.kind = Intent::Kind::kUpdateNamespace;
    intent.netns = from["update_namespace"];
    GetSpec(from.at("former"), intent.former.netns);
  } else if (from.contains("update_veth")) {
    intent.kind = Intent::Kind::kUpdateVeth;
    intent.veth = from["update_veth"];
    intent.former.veth = from.at("former");
  } else if (from.contains("update_device")) {
    intent.kind = Intent::Kind::kUpdateDevice;
    intent.device = from["update_device"];
    intent.former.device = from.at("former");
  } else if (from.contains("adopt_namespace")) {
    intent.kind = Intent::Kind::kAdoptNamespace;
    intent.netns = from["adopt_namespace"];
  } else if (from.contains("release_namespace")) {
    intent.kind = Intent::Kind::kReleaseNamespace;
    intent.netns = from["release_namespace"];
  } else {
    intent.kind = Intent::Kind::kDeleteVeth;
    intent.veth = from.at("delete_veth");
  }
  intent.former.forwarding_a = from.value("forwarding_a", Sysctls());
  intent.former.forwarding_b = from.value("forwarding_b", Sysctls());
  Get(from, "usage_after", intent.usage_after);
  if (auto found = from.find("request"); found != from.end()) {
    RequestRecord& request = intent.request.emplace();
    request.request_id = found->at("id");
    if (!absl::Base64Unescape(found->at("fingerprint").get<std::string>(), &request.fingerprint)) {
      throw json::other_error::create(500, "not a fingerprint", &from);
    }
  }
}

static void to_json(json& to, const RequestRecord& record) {
  to = json::object();
  Put(to, "namespace", record.netns);
  Put(to, "veth", record.veth);
  Put(to, "device", record.device);
}

static void from_json(const json& from, RequestRecord& record) {
  Get(from, "namespace", record.netns);
  Get(from, "veth", record.veth);
  Get(from, "device", record.device);
}

namespace {

// Names and aliases that others gave need not be UTF-8, which JSON is: what of an answer is not becomes U+FFFD.
template <typename T>
std::string Text(const T& value) {
  return json(value).dump(/*indent=*/-1, ' ', /*ensure_ascii=*/false, json::error_handler_t::replace);
}

template <typename T>
std::optional<T> Parse(const std::string& text) {
  // The library reports what is missing or of another type by exceptions only; they go no further than this.
  try {
    return json::parse(text).get<T>();
  } catch (const json::exception&) {
    return std::nullopt;
  }
}

}  // namespace

std::string ToJson(const NamespaceRecord& record) { return Text(record); }
std::string ToJson(const VethRecord& record) { return Text(record); }
std::string ToJson(const DeviceRecord& record) { return Text(record); }
std::string ToJson(const Intent& intent) { return Text(intent); }
std::string AnswerToJson(const RequestRecord& record) { return Text(record); }

std::optional<NamespaceRecord> NamespaceRecordFromJson(const std::string& text) { return Parse<NamespaceRecord>(text); }
std::optional<VethRecord> VethRecordFromJson(const std::string& text) { return Parse<VethRecord>(text); }
std::optional<DeviceRecord> DeviceRecordFromJson(const std::string& text) { return Parse<DeviceRecord>(text); }
std::optional<Intent> IntentFromJson(const std::string& text) { return Parse<Intent>(text); }
std::optional<RequestRecord> AnswerFromJson(const std::string& text) { return Parse<RequestRecord>(text); }

}  // namespace netprov::engine
