#include "client/cli/publish_text.h"

#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"

namespace netprov::cli {
namespace {

constexpr uint32_t kGreatestPort = std::numeric_limits<uint16_t>::max();

// A positive decimal number that a port can be. False: it is none.
bool ParsePort(absl::string_view text, uint32_t& port) {
  if (text.empty() || text.find_first_not_of("0123456789") != absl::string_view::npos) return false;
  return absl::SimpleAtoi(text, &port) && port >= 1 && port <= kGreatestPort;
}

// Takes `/udp` off the end. False: it is no protocol.
bool TakeProtocol(absl::string_view& text, v1::PortForward& forward) {
  const size_t slash = text.find('/');
  if (slash == absl::string_view::npos) return true;
  const absl::string_view protocol = text.substr(slash + 1);
  text.remove_suffix(text.size() - slash);
  if (protocol == "udp") forward.set_protocol(v1::PortForward::PROTOCOL_UDP);
  return protocol == "udp" || protocol == "tcp";
}

// Takes `192.0.2.1:` or `[2001:db8::1]:` off the beginning, where there are more than two parts.
bool TakeAddress(absl::string_view& text, v1::PortForward& forward) {
  if (absl::ConsumePrefix(&text, "[")) {
    const size_t end = text.find("]:");
    if (end == absl::string_view::npos || end == 0) return false;
    forward.set_host_address(std::string(text.substr(0, end)));
    text.remove_prefix(end + 2);
    return true;
  }
  const size_t first = text.find(':');
  if (first == absl::string_view::npos || text.find(':', first + 1) == absl::string_view::npos) return true;
  if (first == 0) return false;
  forward.set_host_address(std::string(text.substr(0, first)));
  text.remove_prefix(first + 1);
  return true;
}

bool TakePorts(absl::string_view text, v1::PortForward& forward) {
  const std::pair<absl::string_view, absl::string_view> parts = absl::StrSplit(text, absl::MaxSplits(':', 1));
  const std::pair<absl::string_view, absl::string_view> range = absl::StrSplit(parts.first, absl::MaxSplits('-', 1));
  uint32_t first = 0;
  uint32_t last = 0;
  uint32_t port = 0;
  if (!ParsePort(range.first, first) || !ParsePort(parts.second, port)) return false;
  if (absl::StrContains(parts.first, '-') && (!ParsePort(range.second, last) || last < first)) return false;
  forward.set_host_port(first);
  forward.set_host_port_last(last);
  forward.set_port(port);
  return true;
}

}  // namespace

absl::StatusOr<v1::PortForward> ParsePublish(const std::string& text) {
  v1::PortForward forward;
  absl::string_view rest = text;
  if (TakeProtocol(rest, forward) && TakeAddress(rest, forward) && TakePorts(rest, forward)) return forward;
  return absl::InvalidArgumentError(
      absl::StrCat("must be [HOST_ADDRESS:]HOST_PORT[-LAST]:PORT[/udp], as in 8080:80, 192.0.2.1:5000-5009:5000/udp or "
                   "[2001:db8::1]:443:8443, not `",
                   text, "`"));
}

std::string FormatPublish(const v1::PortForward& forward) {
  std::string text = absl::StrCat(forward.host_port());
  if (forward.host_port_last() > forward.host_port()) absl::StrAppend(&text, "-", forward.host_port_last());
  const uint32_t port = forward.port() == 0 ? forward.host_port() : forward.port();
  absl::StrAppend(&text, ":", port, forward.protocol() == v1::PortForward::PROTOCOL_UDP ? "/udp" : "/tcp");
  const std::string& address = forward.host_address();
  if (address.empty()) return text;
  return absl::StrContains(address, ':') ? absl::StrCat("[", address, "]:", text) : absl::StrCat(address, ":", text);
}

}  // namespace netprov::cli
