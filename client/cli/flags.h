// What the flags of several commands have in common.
#ifndef NETPROV_CLIENT_CLI_FLAGS_H_
#define NETPROV_CLIENT_CLI_FLAGS_H_

#include <CLI/CLI.hpp>
#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "google/protobuf/duration.pb.h"

namespace netprov::cli {

// The collections of resource names.
inline constexpr char kNamespaces[] = "namespaces/";
inline constexpr char kVeths[] = "veths/";
inline constexpr char kBridges[] = "bridges/";
inline constexpr char kDevices[] = "devices/";
inline constexpr char kHost[] = "host";

// Users may give an id or, as `-o name` prints it, a resource name.
std::string Name(const char* collection, const std::string& text);
std::string Id(const char* collection, const std::string& text);

// A whole number; CLI11 would take `010` for 8.
CLI::Validator Decimal();

bool ParsePositiveDuration(const std::string& text, absl::Duration& duration);
void Set(absl::Duration duration, google::protobuf::Duration& proto);

// The duration that `text` says, which may be none at all. `option` is what an error is about, and has `examples`.
absl::StatusOr<google::protobuf::Duration> ParseDuration(const std::string& option, const std::string& text,
                                                         const char* examples);

// Where a bridge or another device is, and its interface name: `name`, as typed, where that is one.
template <typename Device>
void SetPlace(const std::string& ns, const std::string& interface, const std::string& name, Device& device) {
  constexpr size_t kLongestInterfaceName = 15;
  if (ns.empty()) {
    device.mutable_host();
  } else {
    device.set_namespace_(Name(kNamespaces, ns));
  }
  if (!interface.empty()) {
    device.set_interface_name(interface);
  } else if (name.size() <= kLongestInterfaceName) {
    device.set_interface_name(name);
  }
}

// Adds what `parse` makes of each text. `option` is what an error is about.
template <typename Parse, typename Messages>
absl::Status ParseAll(const std::string& option, const std::vector<std::string>& texts, Parse parse,
                      Messages* messages) {
  for (const std::string& text : texts) {
    auto message = parse(text);
    if (!message.ok()) {
      return absl::InvalidArgumentError(absl::StrCat(option, ": ", message.status().message(), ", in `", text, "`"));
    }
    *messages->Add() = *std::move(message);
  }
  return absl::OkStatus();
}

}  // namespace netprov::cli

#endif  // NETPROV_CLIENT_CLI_FLAGS_H_
