// IPv4 and IPv6 addresses and prefixes.
#ifndef NETPROV_SERVER_NETLINK_IP_ADDRESS_H_
#define NETPROV_SERVER_NETLINK_IP_ADDRESS_H_

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace netprov::netlink {

// Which protocol an address or a route is of; the values are the kernel's AF_INET and AF_INET6.
enum class IpFamily : uint8_t { kIpv4 = 2, kIpv6 = 10 };

// One address. Default-constructed it is 0.0.0.0.
class IpAddress {
 public:
  IpAddress() = default;

  // From the text form of inet_pton(3): four decimal numbers, or any of the forms of RFC 4291, without a zone. None
  // otherwise.
  static std::optional<IpAddress> Parse(std::string_view text);

  // From 4 or 16 octets in network order; none for any other number.
  static std::optional<IpAddress> FromBytes(std::span<const std::byte> octets);

  // 0.0.0.0 or `::`.
  static IpAddress Any(IpFamily family);

  IpFamily family() const { return family_; }

  // The 4 or 16 octets in network order, for as long as this object lives.
  std::span<const std::byte> bytes() const { return std::span(octets_).first(max_prefix_length() / 8); }

  // 32 or 128.
  uint8_t max_prefix_length() const { return family_ == IpFamily::kIpv4 ? 32 : 128; }

  // The text form; for IPv6 the shortest one, in lower case (RFC 5952).
  std::string ToString() const;

  // IPv4 comes before IPv6; within a family by octets.
  friend auto operator<=>(const IpAddress&, const IpAddress&) = default;

 private:
  IpFamily family_ = IpFamily::kIpv4;
  // Those after an IPv4 address are 0.
  std::array<std::byte, 16> octets_ = {};
};

// An address with the number of its leading bits that count: a network, or an interface's address in its network.
struct IpPrefix {
  IpAddress address;

  // 0 to 32 or 128. Encoders fail with EINVAL for more.
  uint8_t length = 0;

  // From `ADDRESS/LENGTH`, or from an address alone, whose bits then all count. The length is a decimal number without
  // leading zeros. None otherwise.
  static std::optional<IpPrefix> Parse(std::string_view text);

  // The address with the bits after the prefix set to 0.
  IpPrefix Network() const;

  // Whether `other` is of the family and begins with the prefix.
  bool Contains(const IpAddress& other) const;

  // As in `10.0.0.1/24`.
  std::string ToString() const;

  friend auto operator<=>(const IpPrefix&, const IpPrefix&) = default;
};

}  // namespace netprov::netlink

#endif  // NETPROV_SERVER_NETLINK_IP_ADDRESS_H_
