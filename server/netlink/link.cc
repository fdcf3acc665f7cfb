#include "server/netlink/link.h"

#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace netprov::netlink {
namespace {

std::string Describe(const char* message, const LinkRef& link) {
  if (const int* ifindex = std::get_if<int>(&link)) return absl::StrCat(message, " ifindex ", *ifindex);
  return absl::StrCat(message, " ", std::get<std::string>(link));
}

// For the kernel an ifindex of 0 means that another attribute says which link, or all of them.
void PutLinkRef(MessageBuilder& message, ifinfomsg header, const LinkRef& link) {
  const int* ifindex = std::get_if<int>(&link);
  if (ifindex != nullptr) {
    if (*ifindex <= 0) message.Fail(EINVAL);
    header.ifi_index = *ifindex;
  }
  message.PutHeader(header);
  if (ifindex == nullptr) message.PutString(IFLA_IFNAME, std::get<std::string>(link));
}

void PutMac(MessageBuilder& message, const MacAddress& mac) {
  message.PutBytes(IFLA_ADDRESS, std::as_bytes(std::span(mac.octets)));
}

// Everything about one end of a veth but its link info.
void PutVethEnd(MessageBuilder& message, const VethEnd& end) {
  ifinfomsg header = {};
  if (end.up) {
    header.ifi_flags = IFF_UP;
    header.ifi_change = IFF_UP;
  }
  message.PutHeader(header);
  message.PutString(IFLA_IFNAME, end.name);
  if (end.mac) PutMac(message, *end.mac);
  if (end.mtu) message.PutU32(IFLA_MTU, *end.mtu);
  if (end.group != 0) message.PutU32(IFLA_GROUP, end.group);
  message.PutU32(IFLA_NUM_TX_QUEUES, end.queues);
  message.PutU32(IFLA_NUM_RX_QUEUES, end.queues);
  if (end.netns_fd) message.PutU32(IFLA_NET_NS_FD, static_cast<uint32_t>(*end.netns_fd));
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
    default:
      return true;
  }
}

}  // namespace

Request EncodeNewVeth(const VethRequest& veth) {
  // The echo goes to the socket that has our port number where the link is born, whoever's that is.
  const uint16_t echo = veth.end.netns_fd ? 0 : NLM_F_ECHO;
  MessageBuilder message(absl::StrCat("RTM_NEWLINK ", veth.end.name, " peer ", veth.peer.name), RTM_NEWLINK,
                         NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK | echo);
  PutVethEnd(message, veth.end);
  size_t info = message.BeginNest(IFLA_LINKINFO);
  message.PutString(IFLA_INFO_KIND, "veth");
  size_t data = message.BeginNest(IFLA_INFO_DATA);
  size_t peer = message.BeginNest(VETH_INFO_PEER);
  PutVethEnd(message, veth.peer);
  message.EndNest(peer);
  message.EndNest(data);
  message.EndNest(info);
  return std::move(message).Build();
}

Request EncodeSetLink(const LinkRef& link, const LinkChange& change) {
  MessageBuilder message(Describe("RTM_SETLINK", link), RTM_SETLINK, NLM_F_ACK);
  ifinfomsg header = {};
  if (change.up) {
    header.ifi_flags = *change.up ? IFF_UP : 0;
    header.ifi_change = IFF_UP;
  }
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
  return std::move(message).Build();
}

Request EncodeGetLink(const LinkRef& link) {
  MessageBuilder message(Describe("RTM_GETLINK", link), RTM_GETLINK, NLM_F_ACK);
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
  MessageBuilder message(Describe("RTM_DELLINK", link), RTM_DELLINK, NLM_F_ACK);
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
