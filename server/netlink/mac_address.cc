#include "server/netlink/mac_address.h"

#include <cstddef>

namespace netprov::netlink {
namespace {

// Not std::isxdigit, which depends on the locale.
std::optional<uint8_t> HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return std::nullopt;
}

}  // namespace

std::optional<MacAddress> MacAddress::Parse(std::string_view text) {
  MacAddress address;
  constexpr size_t kLength = 3 * 6 - 1;
  if (text.size() != kLength) return std::nullopt;
  for (size_t i = 0; i < address.octets.size(); ++i) {
    std::optional<uint8_t> high = HexDigit(text[3 * i]);
    std::optional<uint8_t> low = HexDigit(text[3 * i + 1]);
    if (!high || !low) return std::nullopt;
    if (i > 0 && text[3 * i - 1] != ':') return std::nullopt;
    address.octets[i] = static_cast<uint8_t>(*high << 4 | *low);
  }
  return address;
}

std::string MacAddress::ToString() const {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (uint8_t octet : octets) {
    if (!text.empty()) text += ':';
    text += kDigits[octet >> 4];
    text += kDigits[octet & 15];
  }
  return text;
}

}  // namespace netprov::netlink
