// The flags of one end of a pair.
#ifndef NETPROV_CLIENT_CLI_END_FLAGS_H_
#define NETPROV_CLIENT_CLI_END_FLAGS_H_

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "netprov/v1/veth.pb.h"

namespace netprov::cli {

// Adds the options of one end to a command.
class EndOptions {
 public:
  // How their names begin. The first one of each is in the help.
  struct Prefixes {
    // Of the link.
    std::vector<std::string> link;
    // Of the MTU, which both ends share unless a prefix says otherwise.
    std::vector<std::string> mtu;
    // Of addresses, routes and neighbors, of rates, and of what is translated.
    std::vector<std::string> ip;
  };

  EndOptions(CLI::App& app, std::string group, Prefixes prefixes)
      : app_(app), group_(std::move(group)), prefixes_(std::move(prefixes)) {}

  void AddLinkText(const std::string& name, std::string& target, const char* type, const std::string& help);
  void AddLinkTexts(const std::string& name, std::vector<std::string>& target, const char* type,
                    const std::string& help);
  void AddLinkNumber(const std::string& name, uint32_t& target, const char* unit, const std::string& help);
  void AddLinkFlag(const std::string& name, bool& target, const std::string& help);
  void AddMtu(uint32_t& target, const std::string& help);
  void AddIpText(const std::string& name, std::string& target, const char* type, const std::string& help);
  void AddIpFlag(const std::string& name, bool& target, const std::string& help);
  void AddIpTexts(const std::string& name, std::vector<std::string>& target, const char* type, const std::string& help);

 private:
  // `--mac,--host-mac,--from-mac`.
  static std::string Names(const std::vector<std::string>& prefixes, const std::string& name);

  CLI::Option* Group(CLI::Option* option) const { return option->group(group_); }

  CLI::App& app_;
  const std::string group_;
  const Prefixes prefixes_;
};

// One end of a pair, as typed.
class End {
 public:
  void AddOptions(EndOptions options);

  // `mtu` is that of both ends, 0 if there is none; the prefixes are those in errors. An error's message is for the
  // user.
  absl::Status AddTo(uint32_t mtu, const std::string& link_prefix, const std::string& ip_prefix,
                     v1::VethEndpoint& endpoint) const;

 private:
  absl::Status AddPortTo(const std::string& prefix, v1::VethEndpoint& endpoint) const;

  static absl::Status In(const std::string& option, const absl::Status& status);

  absl::Status AddLimitsTo(const std::string& prefix, v1::VethEndpoint& endpoint) const;

  void AddLinkTo(uint32_t mtu, v1::VethEndpoint& endpoint) const;

  std::string mac_;
  uint32_t mtu_ = 0;
  bool down_ = false;
  std::vector<std::string> altnames_;
  std::string bridge_, bridge_interface_, port_;
  std::vector<std::string> vlans_;
  uint32_t tx_queues_ = 0, rx_queues_ = 0;
  bool promiscuous_ = false, all_multicast_ = false;
  std::string alias_;
  bool announce_ = false;
  uint32_t gso_max_size_ = 0, gso_max_segments_ = 0, gro_max_size_ = 0;
  uint32_t gso_ipv4_max_size_ = 0, gro_ipv4_max_size_ = 0;
  std::vector<std::string> addresses_, gateways_, routes_, neighbors_;
  std::string ingress_rate_, egress_rate_, burst_, latency_;
  bool masquerade_ = false;
  std::vector<std::string> publish_;
  bool ip_forwarding_ = false;
};

}  // namespace netprov::cli

#endif  // NETPROV_CLIENT_CLI_END_FLAGS_H_
