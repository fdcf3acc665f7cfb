#include "server/netlink/ip_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <system_error>

namespace netprov::netlink {

static_assert(static_cast<int>(IpFamily::kIpv4) == AF_INET && static_cast<int>(IpFamily::kIpv6) == AF_INET6);

std::optional<IpAddress> IpAddress::Parse(std::string_view text) {
  // inet_pton wants a C string, and would take what follows a NUL byte for nothing.
  if (text.find('\0') != std::string_view::npos) return std::nullopt;
  std::string terminated(text);
  IpAddress address;
  for (IpFamily family : {IpFamily::kIpv4, IpFamily::kIpv6}) {
    address.family_ = family;
    if (::inet_pton(static_cast<int>(family), terminated.c_str(), address.octets_.data()) == 1) return address;
  }
  return std::nullopt;
}

std::optional<IpAddress> IpAddress::FromBytes(std::span<const std::byte> octets) {
  IpAddress address;
  if (octets.size() == 16) {
    address.family_ = IpFamily::kIpv6;
  } else if (octets.size() != 4) {
    return std::nullopt;
  }
  std::copy(octets.begin(), octets.end(), address.octets_.begin());
  return address;
}

IpAddress IpAddress::Any(IpFamily family) {
  IpAddress address;
  address.family_ = family;
  return address;
}

std::string IpAddress::ToString() const {
  char text[INET6_ADDRSTRLEN];
  return ::inet_ntop(static_cast<int>(family_), octets_.data(), text, sizeof(text));
}

std::optional<IpPrefix> IpPrefix::Parse(std::string_view text) {
  const size_t slash = text.find('/');
  const std::optional<IpAddress> address = IpAddress::Parse(text.substr(0, slash));
  if (!address.has_value()) return std::nullopt;
  IpPrefix prefix{.address = *address, .length = address->max_prefix_length()};
  if (slash == std::string_view::npos) return prefix;
  const std::string_view digits = text.substr(slash + 1);
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), prefix.length);
  const bool leads_with_zero = digits.size() > 1 && digits.front() == '0';
  if (error != std::errc() || end != digits.data() + digits.size() || leads_with_zero ||
      prefix.length > address->max_prefix_length()) {
    return std::nullopt;
  }
  return prefix;
}

IpPrefix IpPrefix::Network() const {
  std::array<std::byte, 16> octets = {};
  const std::span<const std::byte> bytes = address.bytes();
  for (size_t i = 0; i < bytes.size(); ++i) {
    const int bits = std::clamp(static_cast<int>(length) - static_cast<int>(8 * i), 0, 8);
    octets[i] = bytes[i] & static_cast<std::byte>(0xff00 >> bits);
  }
  return {.address = *IpAddress::FromBytes(std::span(octets).first(bytes.size())), .length = length};
}

bool IpPrefix::Contains(const IpAddress& other) const {
  return other.family() == address.family() && IpPrefix{.address = other, .length = length}.Network() == Network();
}

std::string IpPrefix::ToString() const { return address.ToString() + "/" + std::to_string(length); }

}  // namespace netprov::netlink
