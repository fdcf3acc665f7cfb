#include "server/netlink/route.h"

#include <linux/fib_rules.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace netprov::netlink {
namespace {

Request EncodeChange(const char* name, uint16_t type, uint16_t flags, const Route& route) {
  MessageBuilder message(absl::StrCat(name, " ", route.destination.ToString()), type, flags | NLM_F_ACK);
  const IpAddress& destination = route.destination.address;
  auto other_family = [&](const std::optional<IpAddress>& address) {
    return address && address->family() != destination.family();
  };
  const bool only_read = route.tos != 0 || route.via.has_value() || !route.next_hops.empty();
  if (route.destination.length > destination.max_prefix_length() || other_family(route.gateway) ||
      other_family(route.preferred_source) || route.ifindex.value_or(1) <= 0 || route.table == RT_TABLE_UNSPEC ||
      only_read) {
    message.Fail(EINVAL);
  }
  rtmsg header = {};
  header.rtm_family = static_cast<uint8_t>(destination.family());
  header.rtm_dst_len = route.destination.length;
  header.rtm_table = static_cast<uint8_t>(route.table <= 0xff ? route.table : 0);
  header.rtm_protocol = route.protocol;
  header.rtm_scope = route.scope;
  header.rtm_type = route.type;
  header.rtm_flags = route.onlink ? RTNH_F_ONLINK : 0;
  message.PutHeader(header);
  if (route.destination.length > 0) message.PutBytes(RTA_DST, destination.bytes());
  if (route.gateway) message.PutBytes(RTA_GATEWAY, route.gateway->bytes());
  if (route.ifindex) message.PutU32(RTA_OIF, static_cast<uint32_t>(*route.ifindex));
  if (route.metric) message.PutU32(RTA_PRIORITY, *route.metric);
  if (route.table > 0xff) message.PutU32(RTA_TABLE, route.table);
  if (route.preferred_source) message.PutBytes(RTA_PREFSRC, route.preferred_source->bytes());
  if (route.mtu) {
    size_t metrics = message.BeginNest(RTA_METRICS);
    message.PutU32(RTAX_MTU, *route.mtu);
    message.EndNest(metrics);
  }
  return std::move(message).Build();
}

KernelError Malformed(int code, const std::string& what) {
  return {.code = code, .operation = absl::StrCat("RTM_NEWROUTE reply: ", what), .extack = {}};
}

// Reads an address of `family`; false where it is none.
bool ReadAddress(const AttributeView& attribute, IpFamily family, std::optional<IpAddress>& target) {
  target = IpAddress::FromBytes(attribute.payload);
  return target && target->family() == family;
}

bool ReadU32(const AttributeView& attribute, std::optional<uint32_t>& target) {
  target = attribute.U32();
  return target.has_value();
}

// RTA_VIA: a family and an address of it.
bool ReadVia(std::span<const std::byte> payload, std::optional<IpAddress>& target) {
  if (payload.size() < sizeof(rtvia)) return false;
  target = IpAddress::FromBytes(payload.subspan(sizeof(rtvia)));
  return target.has_value();
}

bool DecodeNextHop(const rtnexthop& header, std::span<const std::byte> attributes, IpFamily family, NextHop& hop) {
  hop.ifindex = header.rtnh_ifindex;
  hop.weight = uint32_t{header.rtnh_hops} + 1;
  hop.onlink = (header.rtnh_flags & RTNH_F_ONLINK) != 0;
  AttributeReader reader(attributes);
  while (std::optional<AttributeView> attribute = reader.Next()) {
    if (attribute->type == RTA_GATEWAY && !ReadAddress(*attribute, family, hop.gateway)) return false;
    if (attribute->type == RTA_VIA && !ReadVia(attribute->payload, hop.gateway)) return false;
  }
  return !reader.malformed();
}

// RTA_MULTIPATH: one header after the other, each with its attributes.
bool DecodeNextHops(std::span<const std::byte> payload, IpFamily family, std::vector<NextHop>& hops) {
  while (!payload.empty()) {
    rtnexthop header;
    if (payload.size() < sizeof(header)) return false;
    std::memcpy(&header, payload.data(), sizeof(header));
    if (header.rtnh_len < sizeof(header) || header.rtnh_len > payload.size()) return false;
    const std::span<const std::byte> one = payload.first(header.rtnh_len);
    if (!DecodeNextHop(header, one.subspan(sizeof(header)), family, hops.emplace_back())) return false;
    payload = payload.subspan(std::min(payload.size(), RTNH_ALIGN(size_t{header.rtnh_len})));
  }
  return !hops.empty();
}

bool DecodeMetrics(std::span<const std::byte> attributes, Route& route) {
  AttributeReader reader(attributes);
  while (std::optional<AttributeView> attribute = reader.Next()) {
    if (attribute->type == RTAX_MTU && !ReadU32(*attribute, route.mtu)) return false;
  }
  return !reader.malformed();
}

}  // namespace

Request EncodeNewRoute(const Route& route) {
  return EncodeChange("RTM_NEWROUTE", RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, route);
}

Request EncodeDeleteRoute(const Route& route) { return EncodeChange("RTM_DELROUTE", RTM_DELROUTE, 0, route); }

Request EncodeDumpRoutes(IpFamily family, std::optional<uint32_t> table, std::optional<int> ifindex) {
  MessageBuilder message("RTM_GETROUTE dump", RTM_GETROUTE, NLM_F_DUMP);
  rtmsg header = {};
  header.rtm_family = static_cast<uint8_t>(family);
  message.PutHeader(header);
  if (table) message.PutU32(RTA_TABLE, *table);
  if (ifindex) message.PutU32(RTA_OIF, static_cast<uint32_t>(*ifindex));
  return std::move(message).Build();
}

Request EncodeDumpRules(IpFamily family) {
  const char* const operation = family == IpFamily::kIpv4 ? "RTM_GETRULE ipv4" : "RTM_GETRULE ipv6";
  MessageBuilder message(operation, RTM_GETRULE, NLM_F_DUMP);
  fib_rule_hdr header = {};
  header.family = static_cast<uint8_t>(family);
  message.PutHeader(header);
  return std::move(message).Build();
}

KernelResult<Route> DecodeRoute(std::span<const std::byte> payload) {
  std::optional<rtmsg> header = TakeHeader<rtmsg>(payload);
  if (!header) return Malformed(EBADMSG, "no rtmsg");
  if (header->rtm_family != AF_INET && header->rtm_family != AF_INET6) {
    return Malformed(EAFNOSUPPORT, absl::StrCat("family ", header->rtm_family));
  }
  IpFamily family = static_cast<IpFamily>(header->rtm_family);
  Route route;
  route.table = header->rtm_table;
  route.scope = header->rtm_scope;
  route.type = header->rtm_type;
  route.protocol = header->rtm_protocol;
  route.tos = header->rtm_tos;
  route.onlink = (header->rtm_flags & RTNH_F_ONLINK) != 0;

  std::optional<IpAddress> destination;
  AttributeReader reader(payload);
  while (std::optional<AttributeView> attribute = reader.Next()) {
    bool good = true;
    switch (attribute->type) {
      case RTA_DST:
        good = ReadAddress(*attribute, family, destination);
        break;
      case RTA_GATEWAY:
        good = ReadAddress(*attribute, family, route.gateway);
        break;
      case RTA_PREFSRC:
        good = ReadAddress(*attribute, family, route.preferred_source);
        break;
      case RTA_OIF:
        route.ifindex = static_cast<int>(attribute->U32().value_or(0));
        good = *route.ifindex > 0;
        break;
      case RTA_PRIORITY:
        good = ReadU32(*attribute, route.metric);
        break;
      case RTA_TABLE:
        good = attribute->U32().has_value();
        route.table = attribute->U32().value_or(0);
        break;
      case RTA_VIA:
        good = ReadVia(attribute->payload, route.via);
        break;
      case RTA_MULTIPATH:
        good = DecodeNextHops(attribute->payload, family, route.next_hops);
        break;
      case RTA_METRICS:
        good = DecodeMetrics(attribute->payload, route);
        break;
      default:
        break;
    }
    if (!good) return Malformed(EBADMSG, absl::StrCat("attribute ", attribute->type));
  }
  if (reader.malformed()) return Malformed(EBADMSG, "attributes cut short");

  // A default route has no destination attribute.
  static constexpr std::byte kZeros[16] = {};
  size_t octets = family == IpFamily::kIpv4 ? 4 : 16;
  route.destination.address = destination ? *destination : *IpAddress::FromBytes(std::span(kZeros).first(octets));
  route.destination.length = header->rtm_dst_len;
  if (route.destination.length > route.destination.address.max_prefix_length()) {
    return Malformed(EBADMSG, "prefix length");
  }
  return route;
}

}  // namespace netprov::netlink
