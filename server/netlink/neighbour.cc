#include "server/netlink/neighbour.h"

#include <arpa/inet.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace netprov::netlink {
namespace {

// NUD_VALID of Linux include/net/neighbour.h: the states in which the hardware address is known.
constexpr uint16_t kKnown = NUD_PERMANENT | NUD_NOARP | NUD_REACHABLE | NUD_PROBE | NUD_STALE | NUD_DELAY;

Request EncodeChange(const char* name, uint16_t type, uint16_t flags, const Neighbour& neighbour) {
  MessageBuilder message(absl::StrCat(name, " ", neighbour.address.ToString(), " ifindex ", neighbour.ifindex), type,
                         flags | NLM_F_ACK);
  const bool incomplete = type == RTM_NEWNEIGH && (neighbour.state & kKnown) != 0 && !neighbour.mac;
  if (neighbour.ifindex <= 0 || incomplete) message.Fail(EINVAL);
  ndmsg header = {};
  header.ndm_family = static_cast<uint8_t>(neighbour.address.family());
  header.ndm_ifindex = neighbour.ifindex;
  header.ndm_state = neighbour.state;
  header.ndm_flags = neighbour.flags;
  message.PutHeader(header);
  message.PutBytes(NDA_DST, neighbour.address.bytes());
  if (neighbour.mac) message.PutBytes(NDA_LLADDR, std::as_bytes(std::span(neighbour.mac->octets)));
  if (neighbour.protocol != 0) message.PutU8(NDA_PROTOCOL, neighbour.protocol);
  return std::move(message).Build();
}

Request EncodeChange(const char* name, uint16_t type, uint16_t flags, const FdbEntry& entry) {
  MessageBuilder message(absl::StrCat(name, " ", entry.mac.ToString(), " ifindex ", entry.ifindex), type,
                         flags | NLM_F_ACK);
  // The kernel takes neither for master, but only where there is no other flag.
  const bool one_table = ((entry.flags & NTF_SELF) != 0) != ((entry.flags & NTF_MASTER) != 0);
  if (entry.ifindex <= 0 || entry.lower.value_or(1) <= 0 || !one_table) message.Fail(EINVAL);
  ndmsg header = {};
  header.ndm_family = AF_BRIDGE;
  header.ndm_ifindex = entry.ifindex;
  header.ndm_state = entry.state;
  header.ndm_flags = entry.flags;
  message.PutHeader(header);
  message.PutBytes(NDA_LLADDR, std::as_bytes(std::span(entry.mac.octets)));
  if (entry.vlan) message.PutU16(NDA_VLAN, *entry.vlan);
  if (entry.destination) message.PutBytes(NDA_DST, entry.destination->bytes());
  if (entry.port) message.PutU16(NDA_PORT, htons(*entry.port));
  if (entry.vni) message.PutU32(NDA_VNI, *entry.vni);
  if (entry.lower) message.PutU32(NDA_IFINDEX, static_cast<uint32_t>(*entry.lower));
  return std::move(message).Build();
}

// With strict checking the kernel takes these filters, and refuses them in the header.
void PutFilter(MessageBuilder& message, std::optional<int> ifindex, std::optional<int> master) {
  if (ifindex.value_or(1) <= 0 || master.value_or(1) <= 0) message.Fail(EINVAL);
  if (ifindex) message.PutU32(NDA_IFINDEX, static_cast<uint32_t>(*ifindex));
  if (master) message.PutU32(NDA_MASTER, static_cast<uint32_t>(*master));
}

KernelError Malformed(int code, const std::string& what) {
  return {.code = code, .operation = absl::StrCat("RTM_NEWNEIGH reply: ", what), .extack = {}};
}

// Stores a value that was read; false where it was not.
template <typename T, typename U>
bool Store(std::optional<U> value, T& target) {
  if (!value) return false;
  target = static_cast<T>(*value);
  return true;
}

std::optional<MacAddress> ReadMac(std::span<const std::byte> payload) {
  MacAddress mac;
  if (payload.size() != mac.octets.size()) return std::nullopt;
  std::memcpy(mac.octets.data(), payload.data(), mac.octets.size());
  return mac;
}

bool DecodeAttribute(const AttributeView& attribute, FdbEntry& entry, bool& has_mac) {
  switch (attribute.type) {
    case NDA_LLADDR:
      has_mac = true;
      return Store(ReadMac(attribute.payload), entry.mac);
    case NDA_VLAN:
      return Store(attribute.U16(), entry.vlan.emplace());
    case NDA_DST:
      return Store(IpAddress::FromBytes(attribute.payload), entry.destination.emplace());
    case NDA_PORT:
      if (!Store(attribute.U16(), entry.port.emplace())) return false;
      entry.port = ntohs(*entry.port);
      return true;
    case NDA_VNI:
      return Store(attribute.U32(), entry.vni.emplace());
    case NDA_IFINDEX:
      return Store(attribute.U32(), entry.lower.emplace()) && *entry.lower > 0;
    case NDA_MASTER:
      return Store(attribute.U32(), entry.master.emplace());
    default:
      return true;
  }
}

}  // namespace

Request EncodeNewNeighbour(const Neighbour& neighbour) {
  return EncodeChange("RTM_NEWNEIGH", RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_EXCL, neighbour);
}

Request EncodeReplaceNeighbour(const Neighbour& neighbour) {
  return EncodeChange("RTM_NEWNEIGH", RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, neighbour);
}

Request EncodeDeleteNeighbour(const Neighbour& neighbour) {
  return EncodeChange("RTM_DELNEIGH", RTM_DELNEIGH, 0, neighbour);
}

Request EncodeDumpNeighbours(const NeighbourFilter& filter) {
  MessageBuilder message("RTM_GETNEIGH dump", RTM_GETNEIGH, NLM_F_DUMP);
  ndmsg header = {};
  header.ndm_family = filter.family ? static_cast<uint8_t>(*filter.family) : AF_UNSPEC;
  message.PutHeader(header);
  PutFilter(message, filter.ifindex, filter.master);
  return std::move(message).Build();
}

Request EncodeDumpProxies(std::optional<IpFamily> family) {
  MessageBuilder message("RTM_GETNEIGH dump of proxies", RTM_GETNEIGH, NLM_F_DUMP);
  ndmsg header = {};
  header.ndm_family = family ? static_cast<uint8_t>(*family) : AF_UNSPEC;
  header.ndm_flags = NTF_PROXY;
  message.PutHeader(header);
  return std::move(message).Build();
}

KernelResult<Neighbour> DecodeNeighbour(std::span<const std::byte> payload) {
  std::optional<ndmsg> header = TakeHeader<ndmsg>(payload);
  if (!header) return Malformed(EBADMSG, "no ndmsg");
  if (header->ndm_family != AF_INET && header->ndm_family != AF_INET6) {
    return Malformed(EAFNOSUPPORT, absl::StrCat("family ", header->ndm_family));
  }
  const IpFamily family = static_cast<IpFamily>(header->ndm_family);
  Neighbour neighbour;
  neighbour.ifindex = header->ndm_ifindex;
  neighbour.state = header->ndm_state;
  neighbour.flags = header->ndm_flags;
  if (neighbour.ifindex <= 0) return Malformed(EBADMSG, "no ifindex");

  std::optional<IpAddress> address;
  AttributeReader reader(payload);
  while (std::optional<AttributeView> attribute = reader.Next()) {
    bool good = true;
    switch (attribute->type) {
      case NDA_DST:
        address = IpAddress::FromBytes(attribute->payload);
        good = address && address->family() == family;
        break;
      case NDA_LLADDR:
        neighbour.mac = ReadMac(attribute->payload);
        break;
      case NDA_PROTOCOL:
        good = Store(attribute->U8(), neighbour.protocol);
        break;
      default:
        break;
    }
    if (!good) return Malformed(EBADMSG, absl::StrCat("attribute ", attribute->type));
  }
  if (reader.malformed()) return Malformed(EBADMSG, "attributes cut short");
  if (!address) return Malformed(EBADMSG, "no address");
  neighbour.address = *address;
  return neighbour;
}

Request EncodeNewFdbEntry(const FdbEntry& entry) {
  return EncodeChange("RTM_NEWNEIGH", RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_EXCL, entry);
}

Request EncodeAppendFdbEntry(const FdbEntry& entry) {
  return EncodeChange("RTM_NEWNEIGH", RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_APPEND, entry);
}

Request EncodeReplaceFdbEntry(const FdbEntry& entry) {
  return EncodeChange("RTM_NEWNEIGH", RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, entry);
}

Request EncodeDeleteFdbEntry(const FdbEntry& entry) { return EncodeChange("RTM_DELNEIGH", RTM_DELNEIGH, 0, entry); }

Request EncodeDumpFdb(std::optional<int> ifindex, std::optional<int> master) {
  MessageBuilder message("RTM_GETNEIGH dump of forwarding databases", RTM_GETNEIGH, NLM_F_DUMP);
  ndmsg header = {};
  header.ndm_family = AF_BRIDGE;
  message.PutHeader(header);
  PutFilter(message, ifindex, master);
  return std::move(message).Build();
}

KernelResult<FdbEntry> DecodeFdbEntry(std::span<const std::byte> payload) {
  std::optional<ndmsg> header = TakeHeader<ndmsg>(payload);
  if (!header) return Malformed(EBADMSG, "no ndmsg");
  if (header->ndm_family != AF_BRIDGE) return Malformed(EAFNOSUPPORT, absl::StrCat("family ", header->ndm_family));
  FdbEntry entry;
  entry.ifindex = header->ndm_ifindex;
  entry.state = header->ndm_state;
  entry.flags = header->ndm_flags;
  if (entry.ifindex <= 0) return Malformed(EBADMSG, "no ifindex");

  bool has_mac = false;
  AttributeReader reader(payload);
  while (std::optional<AttributeView> attribute = reader.Next()) {
    if (!DecodeAttribute(*attribute, entry, has_mac)) {
      return Malformed(EBADMSG, absl::StrCat("attribute ", attribute->type));
    }
  }
  if (reader.malformed()) return Malformed(EBADMSG, "attributes cut short");
  if (!has_mac) return Malformed(EBADMSG, "no hardware address");
  // A bridge says what it is of, and not that; an address of its own has the bridge for both.
  constexpr uint8_t kTables = NTF_SELF | NTF_MASTER;
  if ((entry.flags & kTables) == 0) {
    entry.flags |= entry.master && *entry.master != entry.ifindex ? NTF_MASTER : NTF_SELF;
  } else if ((entry.flags & kTables) == kTables) {
    return Malformed(EBADMSG, "two tables");
  }
  return entry;
}

}  // namespace netprov::netlink
