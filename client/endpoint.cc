#include "client/endpoint.h"

#include <sys/un.h>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace netprov::client {
namespace {

absl::Status Bad(std::string_view text, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("endpoint `", std::string(text), "`: ", why));
}

bool IsHostCharacter(char c, bool bracketed) {
  if (absl::ascii_isalnum(c) || c == '.' || c == '-' || c == '_') return true;
  return bracketed && (c == ':' || c == '%');
}

// RFC 3986 allows more characters as they are; these suffice for common paths and hosts.
std::string PercentEncode(std::string_view text, std::string_view keep) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  std::string encoded;
  for (const char c : text) {
    if (absl::ascii_isalnum(c) || keep.find(c) != std::string_view::npos) {
      encoded += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      encoded += '%';
      encoded += kDigits[byte >> 4];
      encoded += kDigits[byte & 0x0f];
    }
  }
  return encoded;
}

}  // namespace

absl::StatusOr<Endpoint> ParseEndpoint(std::string_view text) {
  absl::string_view rest(text.data(), text.size());
  Endpoint endpoint;
  if (absl::ConsumePrefix(&rest, "unix:")) {
    absl::ConsumePrefix(&rest, "//");
    if (rest.empty() || rest.front() != '/')
      return Bad(text, "the socket's path must be absolute, as in unix:///run/x");
    if (rest.size() >= sizeof(sockaddr_un::sun_path)) {
      return Bad(text,
                 absl::StrCat("the socket's path must have at most ", sizeof(sockaddr_un::sun_path) - 1, " bytes"));
    }
    if (rest.find('\0') != absl::string_view::npos) return Bad(text, "the socket's path must not hold a NUL");
    endpoint.socket_path = std::string(rest);
    return endpoint;
  }
  const size_t colon = rest.rfind(':');
  if (colon == absl::string_view::npos || rest.find('/') != absl::string_view::npos)
    return Bad(text, "must be unix:///PATH or HOST:PORT");
  absl::string_view host = rest.substr(0, colon);
  const absl::string_view port = rest.substr(colon + 1);
  const bool bracketed = absl::ConsumePrefix(&host, "[");
  if (bracketed && !absl::ConsumeSuffix(&host, "]")) return Bad(text, "`]` is missing");
  if (host.empty()) return Bad(text, "the host is missing");
  for (const char c : host) {
    if (IsHostCharacter(c, bracketed)) continue;
    if (c == ':') return Bad(text, "an IPv6 address must be in brackets, as in [::1]:50051");
    return Bad(text, "must be unix:///PATH or HOST:PORT");
  }
  if (port.empty() || port.find_first_not_of("0123456789") != absl::string_view::npos ||
      !absl::SimpleAtoi(port, &endpoint.port) || endpoint.port < 1 || endpoint.port > 65535) {
    return Bad(text, "the port must be a number from 1 to 65535");
  }
  endpoint.host = std::string(host);
  return endpoint;
}

std::string GrpcTarget(const Endpoint& endpoint) {
  if (endpoint.is_local()) return absl::StrCat("unix:", PercentEncode(endpoint.socket_path, "/._-"));
  const bool bracketed = endpoint.host.find(':') != std::string::npos;
  const std::string host = PercentEncode(endpoint.host, "._-:");
  return absl::StrCat("dns:///", bracketed ? "[" : "", host, bracketed ? "]:" : ":", endpoint.port);
}

}  // namespace netprov::client
