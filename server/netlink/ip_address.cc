#include "server/netlink/ip_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>

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

std::string IpAddress::ToString() const {
  char text[INET6_ADDRSTRLEN];
  return ::inet_ntop(static_cast<int>(family_), octets_.data(), text, sizeof(text));
}

std::string IpPrefix::ToString() const { return address.ToString() + "/" + std::to_string(length); }

}  // namespace netprov::netlink
