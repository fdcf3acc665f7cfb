// Addresses of links in rtnetlink: RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR. rtnetlink(7), Linux net/ipv4/devinet.c and
// net/ipv6/addrconf.c. Pure functions; requests are made for Session, and replies come from it.
#ifndef NETPROV_SERVER_NETLINK_ADDRESS_H_
#define NETPROV_SERVER_NETLINK_ADDRESS_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "server/base/kernel_error.h"
#include "server/netlink/ip_address.h"
#include "server/netlink/message.h"

namespace netprov::netlink {

// An address of a link.
struct Address {
  // The link, by its ifindex in the session's namespace; positive.
  int ifindex = 0;

  // The address, and the length of the prefix: of the link's network, or of the peer's where there is a peer.
  IpPrefix local;

  // The address at the other end of a point-to-point link, of the same family.
  std::optional<IpAddress> peer;

  // RT_SCOPE_*: 0 (universe), 253 (link) or 254 (host). For IPv6 the kernel derives it from the address.
  uint8_t scope = 0;

  // IFA_F_*: IFA_F_NODAD (2), IFA_F_NOPREFIXROUTE (0x200) and others. The kernel adds some, such as IFA_F_PERMANENT
  // (0x80).
  uint32_t flags = 0;

  // Who made it (IFA_PROTO, Linux 5.18); 0 says nothing. 1 to 3 are the kernel's own.
  uint8_t protocol = 0;

  friend bool operator==(const Address&, const Address&) = default;
};

// RTM_NEWADDR that adds `address`. EEXIST where the link has it. EINVAL in Session for a prefix too long or a peer of
// another family.
Request EncodeNewAddress(const Address& address);

// RTM_DELADDR. EADDRNOTAVAIL where the link does not have it. The kernel goes by link, address, peer and prefix length.
Request EncodeDeleteAddress(const Address& address);

// RTM_GETADDR for all addresses of a family, or of both, on one link or on all, for Session::Dump.
Request EncodeDumpAddresses(std::optional<IpFamily> family = std::nullopt, std::optional<int> ifindex = std::nullopt);

// Reads a reply to EncodeDumpAddresses. EBADMSG where it is malformed: cut short, an attribute of the wrong length, or
// without ifindex or address. EAFNOSUPPORT for another family than IPv4 and IPv6.
KernelResult<Address> DecodeAddress(std::span<const std::byte> payload);

}  // namespace netprov::netlink

#endif  // NETPROV_SERVER_NETLINK_ADDRESS_H_
