// The flags of a device but for a bridge.
#ifndef NETPROV_CLIENT_CLI_DEVICE_FLAGS_H_
#define NETPROV_CLIENT_CLI_DEVICE_FLAGS_H_

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "netprov/v1/device.pb.h"

namespace netprov::cli {

// A device but for a bridge, as typed.
class DeviceFlags {
 public:
  void AddOptions(CLI::App& app);

  // An error's message is for the user. `name` is the device's, as typed.
  absl::Status AddTo(const std::string& name, v1::Device& device) const;

 private:
  void Of(const char* kinds, CLI::Option* option) { of_kinds_.emplace_back(kinds, option); }

  static CLI::Option* Texts(CLI::App& app, const char* name, std::vector<std::string>& target, const char* type,
                            const char* help);

  static CLI::Option* Number(CLI::App& app, const char* name, uint32_t& target, const char* unit, const char* help);

  absl::Status AddKind(v1::Device& device) const;

  absl::Status AddPort(v1::Device& device) const;

  absl::Status AddVxlan(v1::Vxlan& vxlan) const;

  std::string kind_, ns_, interface_, mac_, lower_, lower_ns_, mode_, mode_flag_, local_, remote_, ageing_time_,
      protocol_, bridge_, bridge_interface_, bridge_port_;
  std::vector<std::string> altnames_, addresses_, gateways_, routes_, sources_, fdb_, bridge_vlans_;
  uint32_t mtu_ = 0, vni_ = 0, port_ = 0, ttl_ = 0, vlan_id_ = 0;
  bool down_ = false, learning_ = false, proxy_ = false;
  CLI::Option* learning_option_;
  // Which kinds an option is for, apart by spaces.
  std::vector<std::pair<const char*, CLI::Option*>> of_kinds_;
};

}  // namespace netprov::cli

#endif  // NETPROV_CLIENT_CLI_DEVICE_FLAGS_H_
