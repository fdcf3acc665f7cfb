// Checks of single fields, shared by all resources. Each adds what is wrong to a list, so that a caller learns
// everything at once.
#ifndef NETPROV_SERVER_API_VALIDATE_H_
#define NETPROV_SERVER_API_VALIDATE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "server/api/errors.h"
#include "server/netlink/mac_address.h"

namespace netprov::api {

// What is wrong with one request.
class Violations {
 public:
  // `description` reads on after the field's name, as in `must be a UUID, but is "x"`.
  void Add(absl::string_view field, std::string description) {
    violations_.push_back({.field = std::string(field), .description = std::move(description)});
  }

  bool empty() const { return violations_.empty(); }
  size_t size() const { return violations_.size(); }
  const std::vector<FieldViolation>& list() const { return violations_; }
  // INVALID_FIELD with every violation. Must not be empty.
  absl::Status ToStatus() const { return InvalidFields(violations_); }

 private:
  std::vector<FieldViolation> violations_;
};

// Each returns what the engine wants; after a violation, something that must not be used.

// A UUID in lower case, or empty when there is none. The nil UUID, which callers send by mistake, is none (AIP-155).
std::string CheckRequestId(absl::string_view request_id, Violations& violations);

// The id in the resource name that is in `field`.
std::string CheckNamespaceName(absl::string_view field, absl::string_view name, Violations& violations);
std::string CheckVethName(absl::string_view field, absl::string_view name, Violations& violations);
std::string CheckBridgeName(absl::string_view field, absl::string_view name, Violations& violations);
std::string CheckDeviceName(absl::string_view field, absl::string_view name, Violations& violations);

// The name of a link, or a pattern with one `%d` in it; `veth%d` when empty. Besides what the kernel's dev_valid_name()
// refuses, the names `all` and `default` are refused, which it keeps for its settings of all links
// (devinet_sysctl_register()).
std::string CheckInterfaceName(absl::string_view field, absl::string_view name, Violations& violations);

// Whether a name that CheckInterfaceName() accepted is a pattern.
bool IsInterfaceNamePattern(absl::string_view name);

// nullopt when empty.
std::optional<netlink::MacAddress> CheckMacAddress(absl::string_view field, absl::string_view text,
                                                   Violations& violations);

// 68 (the least that IPv4 works with, RFC 791) to 65535, in bytes; nullopt when 0.
std::optional<uint32_t> CheckMtu(absl::string_view field, uint32_t mtu, Violations& violations);

// A page of a list.
struct ListCall {
  std::string after;  // the id behind which it begins; empty: the first page
  size_t limit = 0;   // 1 to 1000
};

// `method` as in FormatPageToken().
ListCall CheckPage(absl::string_view method, int32_t page_size, absl::string_view page_token, Violations& violations);

}  // namespace netprov::api

#endif  // NETPROV_SERVER_API_VALIDATE_H_
