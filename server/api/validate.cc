#include "server/api/validate.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "server/api/page_token.h"
#include "server/api/resource_name.h"
#include "server/api/text.h"
#include "server/engine/objects.h"

namespace netprov::api {
namespace {

constexpr size_t kLongestInterfaceName = 15;  // IFNAMSIZ of linux/if.h, less the terminating zero
constexpr uint32_t kLeastMtu = 68;            // ETH_MIN_MTU of linux/if_ether.h
constexpr uint32_t kGreatestMtu = 65535;      // ETH_MAX_MTU
constexpr size_t kDefaultPageSize = 100;
constexpr size_t kGreatestPageSize = 1000;
constexpr absl::string_view kNilUuid = "00000000-0000-0000-0000-000000000000";

bool IsUuid(absl::string_view text) {
  if (text.size() != kNilUuid.size()) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (kNilUuid[i] == '-' ? text[i] != '-' : !absl::ascii_isxdigit(text[i])) return false;
  }
  return true;
}

bool IsInterfaceName(absl::string_view name) {
  if (name.empty() || name.size() > kLongestInterfaceName || name == "." || name == "..") return false;
  const size_t percent = name.find('%');
  if (percent != absl::string_view::npos) {
    if (name.substr(percent, 2) != "%d" || name.find('%', percent + 1) != absl::string_view::npos) return false;
  }
  return std::all_of(name.begin(), name.end(), [](char c) { return absl::ascii_isgraph(c) && c != '/' && c != ':'; });
}

}  // namespace

std::string CheckRequestId(absl::string_view request_id, Violations& violations) {
  if (request_id.empty()) return "";
  if (!IsUuid(request_id)) {
    violations.Add("request_id",
                   absl::StrCat("must be a UUID, as 8f14e45f-ceea-467f-a0e6-90ab5d3c1f52, but is ", Quote(request_id)));
  } else if (request_id == kNilUuid) {
    violations.Add("request_id", "must be a UUID of this call's own, but is the nil UUID");
  }
  return absl::AsciiStrToLower(request_id);
}

std::string CheckNamespaceName(absl::string_view field, absl::string_view name, Violations& violations) {
  netprov::Result<std::string, NameError> id = ParseNamespaceName(name);
  if (id.ok()) return *std::move(id);
  violations.Add(field, absl::StrCat("must ", id.error().message));
  return "";
}

std::string CheckVethName(absl::string_view field, absl::string_view name, Violations& violations) {
  netprov::Result<std::string, NameError> id = ParseVethName(name);
  if (id.ok()) return *std::move(id);
  violations.Add(field, absl::StrCat("must ", id.error().message));
  return "";
}

std::string CheckBridgeName(absl::string_view field, absl::string_view name, Violations& violations) {
  netprov::Result<std::string, NameError> id = ParseBridgeName(name);
  if (id.ok()) return *std::move(id);
  violations.Add(field, absl::StrCat("must ", id.error().message));
  return "";
}

std::string CheckDeviceName(absl::string_view field, absl::string_view name, Violations& violations) {
  netprov::Result<std::string, NameError> id = ParseDeviceName(name);
  if (id.ok()) return *std::move(id);
  violations.Add(field, absl::StrCat("must ", id.error().message));
  return "";
}

std::string CheckInterfaceName(absl::string_view field, absl::string_view name, Violations& violations) {
  if (name.empty()) return engine::kDefaultInterfaceName;
  if (!IsInterfaceName(name)) {
    violations.Add(
        field,
        absl::StrCat("must be 1 to ", kLongestInterfaceName,
                     " visible ASCII characters without / and :, neither . nor .., and % only in one %d, but is ",
                     Quote(name)));
  } else if (name == "all" || name == "default") {
    violations.Add(field, absl::StrCat("must not be ", Quote(name), ": the kernel keeps it for settings of all links"));
  }
  return std::string(name);
}

bool IsInterfaceNamePattern(absl::string_view name) { return name.find('%') != absl::string_view::npos; }

std::optional<netlink::MacAddress> CheckMacAddress(absl::string_view field, absl::string_view text,
                                                   Violations& violations) {
  if (text.empty()) return std::nullopt;
  std::optional<netlink::MacAddress> mac = netlink::MacAddress::Parse(std::string_view(text.data(), text.size()));
  if (!mac.has_value()) {
    violations.Add(field, absl::StrCat("must be a MAC address, as 02:00:5e:10:00:01, but is ", Quote(text)));
  } else if (mac->IsZero()) {
    violations.Add(field, "must not be all zeros");
  } else if (!mac->IsUnicast()) {
    violations.Add(field,
                   absl::StrCat("must be unicast (the lowest bit of the first octet is 0), but is ", Quote(text)));
  }
  return mac;
}

std::optional<uint32_t> CheckMtu(absl::string_view field, uint32_t mtu, Violations& violations) {
  if (mtu == 0) return std::nullopt;
  if (mtu < kLeastMtu || mtu > kGreatestMtu) {
    violations.Add(
        field, absl::StrCat("must be ", kLeastMtu, " to ", kGreatestMtu, " bytes, or 0 for the default, but is ", mtu));
  }
  return mtu;
}

ListCall CheckPage(absl::string_view method, int32_t page_size, absl::string_view page_token, Violations& violations) {
  ListCall call;
  if (page_size < 0) {
    violations.Add("page_size",
                   absl::StrCat("must not be negative, but is ", page_size, "; 0 means ", kDefaultPageSize));
  } else {
    call.limit = page_size == 0 ? kDefaultPageSize : std::min(static_cast<size_t>(page_size), kGreatestPageSize);
  }
  if (page_token.empty()) return call;
  std::optional<std::string> after = ParsePageToken(method, page_token);
  if (!after.has_value()) {
    violations.Add("page_token", absl::StrCat("must be the next_page_token of an answer to ", method, ", but is ",
                                              Quote(page_token)));
  } else {
    call.after = *std::move(after);
  }
  return call;
}

}  // namespace netprov::api
