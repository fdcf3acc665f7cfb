// Ethernet hardware addresses.
#ifndef NETPROV_SERVER_NETLINK_MAC_ADDRESS_H_
#define NETPROV_SERVER_NETLINK_MAC_ADDRESS_H_

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace netprov::netlink {

// Six octets in the order in which they are sent and written.
struct MacAddress {
  std::array<uint8_t, 6> octets = {};

  // From `aa:bb:cc:dd:ee:ff`: six pairs of hexadecimal digits of either case, colons between them, nothing else. None
  // otherwise.
  static std::optional<MacAddress> Parse(std::string_view text);

  // In lower case, as Parse reads it.
  std::string ToString() const;

  bool IsZero() const { return octets == std::array<uint8_t, 6>{}; }

  // Whether the group bit (the lowest of the first octet) is clear. The kernel takes an address for a link if it is
  // unicast and not zero (is_valid_ether_addr).
  bool IsUnicast() const { return (octets[0] & 1) == 0; }

  friend auto operator<=>(const MacAddress&, const MacAddress&) = default;
};

}  // namespace netprov::netlink

#endif  // NETPROV_SERVER_NETLINK_MAC_ADDRESS_H_
