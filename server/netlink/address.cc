#include "server/netlink/address.h"

#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <cerrno>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace netprov::netlink {
namespace {

Request EncodeChange(const char* name, uint16_t type, uint16_t flags, const Address& address) {
  MessageBuilder message(absl::StrCat(name, " ", address.local.ToString(), " ifindex ", address.ifindex), type,
                         flags | NLM_F_ACK);
  const IpAddress& local = address.local.address;
  if (address.ifindex <= 0 || address.local.length > local.max_prefix_length() ||
      (address.peer && address.peer->family() != local.family())) {
    message.Fail(EINVAL);
  }
  message.PutHeader(ifaddrmsg{.ifa_family = static_cast<uint8_t>(local.family()),
                              .ifa_prefixlen = address.local.length,
                              .ifa_flags = static_cast<uint8_t>(address.flags & 0xff),
                              .ifa_scope = address.scope,
                              .ifa_index = static_cast<uint32_t>(address.ifindex)});
  message.PutBytes(IFA_LOCAL, local.bytes());
  message.PutBytes(IFA_ADDRESS, address.peer.value_or(local).bytes());
  if (address.flags > 0xff) message.PutU32(IFA_FLAGS, address.flags);
  if (address.protocol != 0) message.PutU8(IFA_PROTO, address.protocol);
  return std::move(message).Build();
}

KernelError Malformed(int code, const std::string& what) {
  return {.code = code, .operation = absl::StrCat("RTM_NEWADDR reply: ", what), .extack = {}};
}

}  // namespace

Request EncodeNewAddress(const Address& address) {
  return EncodeChange("RTM_NEWADDR", RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, address);
}

Request EncodeDeleteAddress(const Address& address) { return EncodeChange("RTM_DELADDR", RTM_DELADDR, 0, address); }

Request EncodeDumpAddresses(std::optional<IpFamily> family, std::optional<int> ifindex) {
  MessageBuilder message("RTM_GETADDR dump", RTM_GETADDR, NLM_F_DUMP);
  if (ifindex && *ifindex <= 0) message.Fail(EINVAL);
  ifaddrmsg header = {};
  header.ifa_family = family ? static_cast<uint8_t>(*family) : AF_UNSPEC;
  header.ifa_index = static_cast<uint32_t>(ifindex.value_or(0));
  message.PutHeader(header);
  return std::move(message).Build();
}

KernelResult<Address> DecodeAddress(std::span<const std::byte> payload) {
  std::optional<ifaddrmsg> header = TakeHeader<ifaddrmsg>(payload);
  if (!header) return Malformed(EBADMSG, "no ifaddrmsg");
  if (header->ifa_family != AF_INET && header->ifa_family != AF_INET6) {
    return Malformed(EAFNOSUPPORT, absl::StrCat("family ", header->ifa_family));
  }
  IpFamily family = static_cast<IpFamily>(header->ifa_family);
  Address address;
  address.ifindex = static_cast<int>(header->ifa_index);
  address.local.length = header->ifa_prefixlen;
  address.scope = header->ifa_scope;
  address.flags = header->ifa_flags;
  if (address.ifindex <= 0) return Malformed(EBADMSG, "no ifindex");

  std::optional<IpAddress> local;
  std::optional<IpAddress> prefix;
  AttributeReader reader(payload);
  while (std::optional<AttributeView> attribute = reader.Next()) {
    bool good = true;
    switch (attribute->type) {
      case IFA_LOCAL:
        local = IpAddress::FromBytes(attribute->payload);
        good = local && local->family() == family;
        break;
      case IFA_ADDRESS:
        prefix = IpAddress::FromBytes(attribute->payload);
        good = prefix && prefix->family() == family;
        break;
      case IFA_FLAGS:
        good = attribute->U32().has_value();
        address.flags = attribute->U32().value_or(0);
        break;
      case IFA_PROTO:
        good = attribute->U8().has_value();
        address.protocol = attribute->U8().value_or(0);
        break;
      default:
        break;
    }
    if (!good) return Malformed(EBADMSG, absl::StrCat("attribute ", attribute->type));
  }
  if (reader.malformed()) return Malformed(EBADMSG, "attributes cut short");

  // IFA_ADDRESS is the peer if there is one, and else the address itself, which IPv6 then does not repeat in IFA_LOCAL.
  if (!local) local = prefix;
  if (!local) return Malformed(EBADMSG, "no address");
  address.local.address = *local;
  if (prefix && *prefix != *local) address.peer = prefix;
  if (address.local.length > local->max_prefix_length()) return Malformed(EBADMSG, "prefix length");
  return address;
}

}  // namespace netprov::netlink
