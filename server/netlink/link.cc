#include "server/netlink/link.h"

#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace netprov::netlink {
namespace {

// IFLA_GSO_IPV4_MAX_SIZE and IFLA_GRO_IPV4_MAX_SIZE of Linux 6.3.
constexpr uint16_t kGsoIpv4MaxSize = 63;
constexpr uint16_t kGroIpv4MaxSize = 64;

// For the kernel an ifindex of 0 means that another attribute says which link, or all of them.
void PutLinkRef(MessageBuilder& message, ifinfomsg header, const LinkRef& link) {
  const int* ifindex = std::get_if<int>(&link);
  if (ifindex != nullptr) {
    if (*ifindex <= 0) message.Fail(EINVAL);
    header.ifi_index = *ifindex;
  }
  message.PutHeader(header);
  if (ifindex != nullptr) return;
  const std::string& name = std::get<std::string>(link);
  message.PutString(name.size() < IFNAMSIZ ? IFLA_IFNAME : IFLA_ALT_IFNAME, name);
}

void PutMac(MessageBuilder& message, const MacAddress& mac) {
  message.PutBytes(IFLA_ADDRESS, std::as_bytes(std::span(mac.octets)));
}

void PutLimits(MessageBuilder& message, const OffloadLimits& limits) {
  if (limits.gso_max_size) message.PutU32(IFLA_GSO_MAX_SIZE, *limits.gso_max_size);
  if (limits.gso_max_segments) message.PutU32(IFLA_GSO_MAX_SEGS, *limits.gso_max_segments);
  if (limits.gro_max_size) message.PutU32(IFLA_GRO_MAX_SIZE, *limits.gro_max_size);
  if (limits.gso_ipv4_max_size) message.PutU32(kGsoIpv4MaxSize, *limits.gso_ipv4_max_size);
  if (limits.gro_ipv4_max_size) message.PutU32(kGroIpv4MaxSize, *limits.gro_ipv4_max_size);
}

void ChangeFlag(ifinfomsg& header, uint32_t flag, std::optional<bool> value) {
  if (!value) return;
  header.ifi_change |= flag;
  if (*value) header.ifi_flags |= flag;
}

Request EncodeNames(const char* name, uint16_t type, uint16_t flags, const LinkRef& link,
                    std::span<const std::string> names) {
  MessageBuilder message(DescribeLink(name, link), type, flags | NLM_F_ACK);
  if (names.empty()) message.Fail(EINVAL);
  PutLinkRef(message, {}, link);
  size_t list = message.BeginNest(IFLA_PROP_LIST);
  for (const std::string& alternative : names) message.PutString(IFLA_ALT_IFNAME, alternative);
  message.EndNest(list);
  return std::move(message).Build();
}

KernelError Malformed(const std::string& what) {
  return {.code = EBADMSG, .operation = absl::StrCat("RTM_NEWLINK reply: ", what), .extack = {}};
}

// Stores a value that was read; false where it was not.
template <typename T, typename U>
bool Store(std::optional<U> value, T& target) {
  if (!value) return false;
  target = static_cast<T>(*value);
  return true;
}

bool DecodeLinkInfo(std::span<const std::byte> attributes, Link& link) {
  AttributeReader reader(attributes);
  while (std::optional<AttributeView> attribute = reader.Next()) {
    if (attribute->type == IFLA_INFO_KIND && !Store(attribute->String(), link.kind)) return false;
  }
  return !reader.malformed();
}

bool DecodeAlternativeNames(std::span<const std::byte> attributes, Link& link) {
  AttributeReader reader(attributes);
  while (std::optional<AttributeView> attribute = reader.Next()) {
    if (attribute->type == IFLA_ALT_IFNAME && !Store(attribute->String(), link.alternative_names.emplace_back())) {
      return false;
    }
  }
  return !reader.malformed();
}

bool DecodeIpv6(std::span<const std::byte> attributes, Link& link) {
  AttributeReader reader(attributes);
  while (std::optional<AttributeView> attribute = reader.Next()) {
    if (attribute->type == IFLA_INET6_ADDR_GEN_MODE && !Store(attribute->U8(), link.address_generation.emplace())) {
      return false;
    }
  }
  return !reader.malformed();
}

// One nest for each address family.
bool DecodeFamilies(std::span<const std::byte> attributes, Link& link) {
  AttributeReader reader(attributes);
  while (std::optional<AttributeView> attribute = reader.Next()) {
    if (attribute->type == AF_INET6 && !DecodeIpv6(attribute->payload, link)) return false;
  }
  return !reader.malformed();
}

bool DecodeAttribute(const AttributeView& attribute, Link& link) {
  switch (attribute.type) {
    case IFLA_IFNAME:
      return Store(attribute.String(), link.name);
    case IFLA_ADDRESS: {
      MacAddress mac;
      if (attribute.payload.size() == mac.octets.size()) {
        std::memcpy(mac.octets.data(), attribute.payload.data(), mac.octets.size());
        link.mac = mac;
      }
      return true;
    }
    case IFLA_MTU:
      return Store(attribute.U32(), link.mtu);
    case IFLA_GROUP:
      return Store(attribute.U32(), link.group);
    case IFLA_IFALIAS:
      return Store(attribute.String(), link.alias);
    case IFLA_LINK:
      return Store(attribute.U32(), link.link.emplace());
    case IFLA_LINK_NETNSID:
      return Store(attribute.U32(), link.link_netnsid.emplace());
    case IFLA_LINKINFO:
      return DecodeLinkInfo(attribute.payload, link);
    case IFLA_MASTER:
      return Store(attribute.U32(), link.master.emplace());
    case IFLA_PROP_LIST:
      return DecodeAlternativeNames(attribute.payload, link);
    case IFLA_NUM_TX_QUEUES:
      return Store(attribute.U32(), link.tx_queues);
    case IFLA_NUM_RX_QUEUES:
      return Store(attribute.U32(), link.rx_queues);
    case IFLA_GSO_MAX_SIZE:
      return Store(attribute.U32(), link.limits.gso_max_size.emplace());
    case IFLA_GSO_MAX_SEGS:
      return Store(attribute.U32(), link.limits.gso_max_segments.emplace());
    case IFLA_GRO_MAX_SIZE:
      return Store(attribute.U32(), link.limits.gro_max_size.emplace());
    case kGsoIpv4MaxSize:
      return Store(attribute.U32(), link.limits.gso_ipv4_max_size.emplace());
    case kGroIpv4MaxSize:
      return Store(attribute.U32(), link.limits.gro_ipv4_max_size.emplace());
    case IFLA_AF_SPEC:
      return DecodeFamilies(attribute.payload, link);
    case IFLA_OPERSTATE:
      return Store(attribute.U8(), link.oper_state);
    default:
      return true;
  }
}

}  // namespace

std::string DescribeLink(const char* message, const LinkRef& link) {
  if (const int* ifindex = std::get_if<int>(&link)) return absl::StrCat(message, " ifindex ", *ifindex);
  return absl::StrCat(message, " ", std::get<std::string>(link));
}

void PutLinkRef(MessageBuilder& message, const LinkRef& link, uint8_t family) {
  PutLinkRef(message, ifinfomsg{.ifi_family = family}, link);
}

void PutNewLink(MessageBuilder& message, const NewLink& link) {
  ifinfomsg header = {};
  if (link.up) ChangeFlag(header, IFF_UP, true);
  if (link.promiscuous) ChangeFlag(header, IFF_PROMISC, true);
  if (link.all_multicast) ChangeFlag(header, IFF_ALLMULTI, true);
  message.PutHeader(header);
  message.PutString(IFLA_IFNAME, link.name);
  if (link.mac) PutMac(message, *link.mac);
  if (link.mtu) message.PutU32(IFLA_MTU, *link.mtu);
  if (link.group != 0) message.PutU32(IFLA_GROUP, link.group);
  message.PutU32(IFLA_NUM_TX_QUEUES, link.tx_queues);
  message.PutU32(IFLA_NUM_RX_QUEUES, link.rx_queues);
  if (link.netns_fd) message.PutU32(IFLA_NET_NS_FD, static_cast<uint32_t>(*link.netns_fd));
  if (link.master) {
    if (*link.master <= 0) message.Fail(EINVAL);
    message.PutU32(IFLA_MASTER, static_cast<uint32_t>(*link.master));
  }
  PutLimits(message, link.limits);
}

Request EncodeNewVeth(const VethRequest& veth) {
  // The echo goes to the socket that has our port number where the link is born, whoever's that is.
  const uint16_t echo = veth.end.netns_fd ? 0 : NLM_F_ECHO;
  MessageBuilder message(absl::StrCat("RTM_NEWLINK ", veth.end.name, " peer ", veth.peer.name), RTM_NEWLINK,
                         NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK | echo);
  PutNewLink(message, veth.end);
  size_t info = message.BeginNest(IFLA_LINKINFO);
  message.PutString(IFLA_INFO_KIND, "veth");
  size_t data = message.BeginNest(IFLA_INFO_DATA);
  size_t peer = message.BeginNest(VETH_INFO_PEER);
  PutNewLink(message, veth.peer);
  message.EndNest(peer);
  message.EndNest(data);
  message.EndNest(info);
  return std::move(message).Build();
}

Request EncodeSetLink(const LinkRef& link, const LinkChange& change) {
  MessageBuilder message(DescribeLink("RTM_SETLINK", link), RTM_SETLINK, NLM_F_ACK);
  ifinfomsg header = {};
  ChangeFlag(header, IFF_UP, change.up);
  ChangeFlag(header, IFF_PROMISC, change.promiscuous);
  ChangeFlag(header, IFF_ALLMULTI, change.all_multicast);
  PutLinkRef(message, header, link);
  if (change.name) {
    // The attribute would be taken for the name of the link to change.
    if (std::holds_alternative<std::string>(link)) message.Fail(EINVAL);
    message.PutString(IFLA_IFNAME, *change.name);
  }
  if (change.mac) PutMac(message, *change.mac);
  if (change.mtu) message.PutU32(IFLA_MTU, *change.mtu);
  if (change.group) message.PutU32(IFLA_GROUP, *change.group);
  if (change.alias) message.PutString(IFLA_IFALIAS, *change.alias);
  if (change.netns_fd) message.PutU32(IFLA_NET_NS_FD, static_cast<uint32_t>(*change.netns_fd));
  if (change.master) {
    if (*change.master < 0) message.Fail(EINVAL);
    message.PutU32(IFLA_MASTER, static_cast<uint32_t>(*change.master));
  }
  PutLimits(message, change.limits);
  if (change.address_generation) {
    size_t families = message.BeginNest(IFLA_AF_SPEC);
    size_t ipv6 = message.BeginNest(AF_INET6);
    message.PutU8(IFLA_INET6_ADDR_GEN_MODE, static_cast<uint8_t>(*change.address_generation));
    message.EndNest(ipv6);
    message.EndNest(families);
  }
  return std::move(message).Build();
}

Request EncodeAddAlternativeNames(const LinkRef& link, std::span<const std::string> names) {
  return EncodeNames("RTM_NEWLINKPROP", RTM_NEWLINKPROP, NLM_F_CREATE | NLM_F_EXCL | NLM_F_APPEND, link, names);
}

Request EncodeDeleteAlternativeNames(const LinkRef& link, std::span<const std::string> names) {
  return EncodeNames("RTM_DELLINKPROP", RTM_DELLINKPROP, 0, link, names);
}

Request EncodeGetLink(const LinkRef& link) {
  MessageBuilder message(DescribeLink("RTM_GETLINK", link), RTM_GETLINK, NLM_F_ACK);
  PutLinkRef(message, {}, link);
  message.PutU32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  return std::move(message).Build();
}

Request EncodeDumpLinks() {
  MessageBuilder message("RTM_GETLINK dump", RTM_GETLINK, NLM_F_DUMP);
  message.PutHeader(ifinfomsg{});
  message.PutU32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  return std::move(message).Build();
}

Request EncodeDeleteLink(const LinkRef& link) {
  MessageBuilder message(DescribeLink("RTM_DELLINK", link), RTM_DELLINK, NLM_F_ACK);
  PutLinkRef(message, {}, link);
  return std::move(message).Build();
}

Request EncodeDeleteLinkGroup(uint32_t group) {
  MessageBuilder message(absl::StrCat("RTM_DELLINK group ", group), RTM_DELLINK, NLM_F_ACK);
  message.PutHeader(ifinfomsg{});
  message.PutU32(IFLA_GROUP, group);
  return std::move(message).Build();
}

KernelResult<Link> DecodeLink(std::span<const std::byte> payload) {
  std::optional<ifinfomsg> header = TakeHeader<ifinfomsg>(payload);
  if (!header) return Malformed("no ifinfomsg");
  Link link;
  link.ifindex = header->ifi_index;
  link.flags = header->ifi_flags;
  link.up = (link.flags & IFF_UP) != 0;
  constexpr uint32_t kRunning = IFF_UP | IFF_LOWER_UP | IFF_RUNNING;
  link.running = (link.flags & kRunning) == kRunning;
  link.promiscuous = (link.flags & IFF_PROMISC) != 0;
  link.all_multicast = (link.flags & IFF_ALLMULTI) != 0;
  if (link.ifindex <= 0) return Malformed("no ifindex");

  AttributeReader reader(payload);
  while (std::optional<AttributeView> attribute = reader.Next()) {
    if (!DecodeAttribute(*attribute, link)) return Malformed(absl::StrCat("attribute ", attribute->type));
  }
  if (reader.malformed()) return Malformed("attributes cut short");
  if (link.name.empty()) return Malformed("no name");
  return link;
}

}  // namespace netprov::netlink
