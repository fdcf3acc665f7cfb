// The flags of a bridge.
#ifndef NETPROV_CLIENT_CLI_BRIDGE_FLAGS_H_
#define NETPROV_CLIENT_CLI_BRIDGE_FLAGS_H_

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "google/protobuf/duration.pb.h"
#include "netprov/v1/bridge.pb.h"

namespace netprov::cli {

// A bridge, as typed.
class BridgeFlags {
 public:
  void AddOptions(CLI::App& app);

  // An error's message is for the user. `name` is the bridge's, as typed.
  absl::Status AddTo(const std::string& name, v1::Bridge& bridge) const;

 private:
  static void Number(CLI::App& app, const char* name, std::optional<uint32_t>& target, const char* unit,
                     const char* help);

  static absl::Status AddTime(const char* option, const std::string& text,
                              google::protobuf::Duration* (v1::Bridge::*mutable_field)(), v1::Bridge& bridge);

  std::string ns_, interface_, mac_;
  std::vector<std::string> addresses_, altnames_;
  bool down_ = false;
  CLI::Option* stp_option_;
  CLI::Option* vlan_filtering_option_;
  CLI::Option* multicast_snooping_option_;
  bool stp_ = false, vlan_filtering_ = false, multicast_snooping_ = false;
  std::optional<uint32_t> mtu_, priority_, default_pvid_, group_forward_mask_;
  std::string forward_delay_, hello_time_, max_age_, ageing_time_;
};

}  // namespace netprov::cli

#endif  // NETPROV_CLIENT_CLI_BRIDGE_FLAGS_H_
