#include "server/engine/device_json.h"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "server/netlink/ip_address.h"
#include "server/netlink/link_info.h"
#include "server/netlink/mac_address.h"

namespace netprov::engine {
namespace {

using nlohmann::json;

template <typename T>
T Parsed(const json& from) {
  std::optional<T> parsed = T::Parse(from.get<std::string>());
  if (!parsed.has_value()) throw json::other_error::create(500, "not an address", &from);
  return *parsed;
}

void PutAddress(json& to, const char* key, const std::optional<netlink::IpAddress>& address) {
  if (address.has_value()) to[key] = address->ToString();
}

void GetAddress(const json& from, const char* key, std::optional<netlink::IpAddress>& address) {
  if (auto found = from.find(key); found != from.end()) address = Parsed<netlink::IpAddress>(*found);
}

json ToJson(const netlink::MacvlanInfo& macvlan) {
  json to = {{"mode", static_cast<uint32_t>(macvlan.mode)}, {"sources", json::array()}};
  for (const netlink::MacAddress& source : macvlan.sources) to["sources"].push_back(source.ToString());
  return to;
}

void FromJson(const json& from, netlink::MacvlanInfo& macvlan) {
  macvlan.mode = static_cast<netlink::MacvlanMode>(from.at("mode").get<uint32_t>());
  for (const json& source : from.at("sources")) macvlan.sources.push_back(Parsed<netlink::MacAddress>(source));
}

json ToJson(const FdbEntry& entry) {
  json to = {{"mac", entry.mac.ToString()}, {"destination", entry.destination.ToString()}};
  if (entry.port.has_value()) to["port"] = *entry.port;
  if (entry.vni.has_value()) to["vni"] = *entry.vni;
  return to;
}

FdbEntry EntryFromJson(const json& from) {
  FdbEntry entry{.mac = Parsed<netlink::MacAddress>(from.at("mac")),
                 .destination = Parsed<netlink::IpAddress>(from.at("destination")),
                 .port = std::nullopt,
                 .vni = std::nullopt};
  if (from.contains("port")) entry.port = from["port"].get<uint16_t>();
  if (from.contains("vni")) entry.vni = from["vni"].get<uint32_t>();
  return entry;
}

json ToJson(const VxlanOptions& vxlan) {
  json to = {{"vni", vxlan.info.vni},     {"port", vxlan.info.port},
             {"ttl", vxlan.info.ttl},     {"learning", vxlan.info.learning},
             {"proxy", vxlan.info.proxy}, {"ageing", vxlan.info.ageing.count()},
             {"fdb", json::array()}};
  PutAddress(to, "local", vxlan.info.local);
  PutAddress(to, "remote", vxlan.info.remote);
  for (const FdbEntry& entry : vxlan.fdb) to["fdb"].push_back(ToJson(entry));
  return to;
}

void FromJson(const json& from, VxlanOptions& vxlan) {
  vxlan.info.vni = from.at("vni");
  vxlan.info.port = from.at("port");
  vxlan.info.ttl = from.at("ttl");
  vxlan.info.learning = from.at("learning");
  vxlan.info.proxy = from.at("proxy");
  vxlan.info.ageing = std::chrono::duration<uint32_t>(from.at("ageing").get<uint32_t>());
  GetAddress(from, "local", vxlan.info.local);
  GetAddress(from, "remote", vxlan.info.remote);
  for (const json& entry : from.at("fdb")) vxlan.fdb.push_back(EntryFromJson(entry));
}

json ToJson(const netlink::VlanInfo& vlan) {
  return {{"id", vlan.id}, {"protocol", static_cast<uint16_t>(vlan.protocol)}};
}

void FromJson(const json& from, netlink::VlanInfo& vlan) {
  vlan.id = from.at("id");
  vlan.protocol = static_cast<netlink::VlanProtocol>(from.at("protocol").get<uint16_t>());
}

json ToJson(const netlink::IpvlanInfo& ipvlan) {
  return {{"mode", static_cast<uint16_t>(ipvlan.mode)}, {"flags", ipvlan.flags}};
}

void FromJson(const json& from, netlink::IpvlanInfo& ipvlan) {
  ipvlan.mode = static_cast<netlink::IpvlanMode>(from.at("mode").get<uint16_t>());
  ipvlan.flags = from.at("flags");
}

json ToJson(const netlink::DummyInfo&) { return json::object(); }
void FromJson(const json&, netlink::DummyInfo&) {}
json ToJson(const netlink::IfbInfo&) { return json::object(); }
void FromJson(const json&, netlink::IfbInfo&) {}

// Bridges are record_json.cc's.
json ToJson(const netlink::BridgeInfo&) { return json(); }

template <typename T>
bool Get(const json& from, DeviceOptions& options) {
  T info;
  const auto found = from.find(KindOf(DeviceOptions(info)));
  if (found == from.end()) return false;
  FromJson(*found, info);
  options = std::move(info);
  return true;
}

}  // namespace

json KindToJson(const DeviceOptions& options) {
  return std::visit([](const auto& of_kind) { return ToJson(of_kind); }, options);
}

bool KindFromJson(const json& from, DeviceOptions& options) {
  return Get<netlink::MacvlanInfo>(from, options) || Get<VxlanOptions>(from, options) ||
         Get<netlink::VlanInfo>(from, options) || Get<netlink::IpvlanInfo>(from, options) ||
         Get<netlink::DummyInfo>(from, options) || Get<netlink::IfbInfo>(from, options);
}

}  // namespace netprov::engine
