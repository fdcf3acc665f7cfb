#include "server/api/resource_name.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "server/api/text.h"

namespace netprov::api {
namespace {

constexpr absl::string_view kNamespaces = "namespaces/";
constexpr absl::string_view kVeths = "veths/";
constexpr absl::string_view kBridges = "bridges/";
constexpr absl::string_view kDevices = "devices/";

bool IsIdByte(char c) { return absl::ascii_isalnum(c) || c == '.' || c == '_' || c == '-'; }

netprov::Result<void, NameError> CheckId(absl::string_view id, size_t longest) {
  const bool valid = !id.empty() && id.size() <= longest && std::all_of(id.begin(), id.end(), IsIdByte) &&
                     id.front() != '.' && id.front() != '-';
  if (valid) return {};
  return NameError{absl::StrCat("be 1 to ", longest,
                                " characters of A-Z a-z 0-9 . _ -, the first one a letter, a digit or _, but is ",
                                id.size() > longest ? absl::StrCat(id.size(), " characters long: ") : "", Quote(id))};
}

std::optional<uint8_t> HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return std::nullopt;
}

std::optional<std::string> PercentDecode(absl::string_view text) {
  std::string bytes;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      bytes += text[i];
      continue;
    }
    if (text.size() - i < 3) return std::nullopt;
    const std::optional<uint8_t> high = HexDigit(text[i + 1]);
    const std::optional<uint8_t> low = HexDigit(text[i + 2]);
    if (!high.has_value() || !low.has_value()) return std::nullopt;
    bytes += static_cast<char>(*high << 4 | *low);
    i += 2;
  }
  return bytes;
}

netprov::Result<std::string, NameError> ParseName(absl::string_view name, absl::string_view collection,
                                                  absl::string_view form) {
  absl::string_view id = name;
  if (!absl::ConsumePrefix(&id, collection)) {
    return NameError{absl::StrCat("have the form ", form, ", but is ", Quote(name))};
  }
  if (netprov::Result<void, NameError> valid = CheckVethId(id); !valid.ok()) {
    return NameError{absl::StrCat("have the form ", form, ", whose id must ", valid.error().message)};
  }
  return std::string(id);
}

}  // namespace

netprov::Result<void, NameError> CheckNamespaceId(absl::string_view id) { return CheckId(id, kLongestNamespaceId); }

netprov::Result<void, NameError> CheckVethId(absl::string_view id) { return CheckId(id, kLongestVethId); }

bool IsSafeFileName(absl::string_view id) {
  return !id.empty() && id.size() <= kLongestNamespaceId && id != "." && id != ".." &&
         std::none_of(id.begin(), id.end(), [](char c) { return c == '/' || c == '\0'; });
}

netprov::Result<std::string, NameError> ParseNamespaceName(absl::string_view name) {
  absl::string_view encoded = name;
  if (!absl::ConsumePrefix(&encoded, kNamespaces)) {
    return NameError{absl::StrCat("have the form namespaces/{namespace}, but is ", Quote(name))};
  }
  std::optional<std::string> id = PercentDecode(encoded);
  if (!id.has_value() || FormatNamespaceName(*id) != name) {
    return NameError{absl::StrCat("have the form namespaces/{namespace}, in which only the bytes other than ",
                                  "A-Z a-z 0-9 . _ - are percent-encoded, as %20, but is ", Quote(name))};
  }
  if (!IsSafeFileName(*id)) {
    return NameError{absl::StrCat("name a file at /run/netns: 1 to ", kLongestNamespaceId,
                                  " bytes, neither . nor .., without / and NUL, but is ", Quote(name))};
  }
  return *std::move(id);
}

netprov::Result<std::string, NameError> ParseVethName(absl::string_view name) {
  return ParseName(name, kVeths, "veths/{veth}");
}

netprov::Result<std::string, NameError> ParseBridgeName(absl::string_view name) {
  return ParseName(name, kBridges, "bridges/{bridge}");
}

netprov::Result<std::string, NameError> ParseDeviceName(absl::string_view name) {
  return ParseName(name, kDevices, "devices/{device}");
}

std::string FormatNamespaceName(absl::string_view id) {
  constexpr char kHex[] = "0123456789ABCDEF";
  std::string name(kNamespaces);
  for (char c : id) {
    if (IsIdByte(c)) {
      name += c;
    } else {
      const auto byte = static_cast<uint8_t>(c);
      name += {'%', kHex[byte >> 4], kHex[byte & 15]};
    }
  }
  return name;
}

std::string FormatVethName(absl::string_view id) { return absl::StrCat(kVeths, id); }

}  // namespace netprov::api
