#include "client/cli/end_flags.h"

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "client/cli/bridge_text.h"
#include "client/cli/flags.h"
#include "client/cli/ip_text.h"
#include "client/cli/publish_text.h"
#include "client/cli/rate_text.h"

namespace netprov::cli {

void EndOptions::AddLinkText(const std::string& name, std::string& target, const char* type, const std::string& help) {
  Group(app_.add_option(Names(prefixes_.link, name), target, help))->type_name(type);
}

void EndOptions::AddLinkTexts(const std::string& name, std::vector<std::string>& target, const char* type,
                              const std::string& help) {
  Group(app_.add_option(Names(prefixes_.link, name), target, help))->type_name(type)->allow_extra_args(false);
}

void EndOptions::AddLinkNumber(const std::string& name, uint32_t& target, const char* unit, const std::string& help) {
  Group(app_.add_option(Names(prefixes_.link, name), target, help))->transform(Decimal())->type_name(unit);
}

void EndOptions::AddLinkFlag(const std::string& name, bool& target, const std::string& help) {
  Group(app_.add_flag(Names(prefixes_.link, name), target, help));
}

void EndOptions::AddMtu(uint32_t& target, const std::string& help) {
  Group(app_.add_option(Names(prefixes_.mtu, "mtu"), target, help))->transform(Decimal())->type_name("BYTES");
}

void EndOptions::AddIpText(const std::string& name, std::string& target, const char* type, const std::string& help) {
  Group(app_.add_option(Names(prefixes_.ip, name), target, help))->type_name(type);
}

void EndOptions::AddIpFlag(const std::string& name, bool& target, const std::string& help) {
  Group(app_.add_flag(Names(prefixes_.ip, name), target, help));
}

void EndOptions::AddIpTexts(const std::string& name, std::vector<std::string>& target, const char* type,
                            const std::string& help) {
  Group(app_.add_option(Names(prefixes_.ip, name), target, help))->type_name(type)->allow_extra_args(false);
}

std::string EndOptions::Names(const std::vector<std::string>& prefixes, const std::string& name) {
  const auto append = [&name](std::string* out, const std::string& prefix) { absl::StrAppend(out, prefix, name); };
  return absl::StrJoin(prefixes, ",", append);
}

void End::AddOptions(EndOptions options) {
  options.AddIpTexts("address", addresses_, "ADDRESS",
                     "An address, as in 10.0.0.2/24; 10.0.0.2/32,peer=10.0.0.1 is one with another at the far end, "
                     "2001:db8::2/64,dad waits until it is found to be the only one. Can be repeated");
  options.AddIpTexts("gateway", gateways_, "ADDRESS", "Where the default route leads; once for IPv4, once for IPv6");
  options.AddIpTexts("route", routes_, "ROUTE",
                     "A route in the words of `ip route`, as in '10.1.0.0/16 via 10.0.0.1 metric 100' or 'blackhole "
                     "10.9.0.0/16'; also table, src, mtu, scope and onlink. Can be repeated");
  options.AddIpTexts("neighbor", neighbors_, "ADDRESS=MAC", "A neighbor that need not be asked for. Can be repeated");
  options.AddIpText(
      "ingress-rate", ingress_rate_, "RATE",
      "Hold what it receives to this rate, as in 10mbit; enforced at the other end, so that nobody who is "
      "in its namespace can lift it. Default: no limit");
  options.AddIpText("egress-rate", egress_rate_, "RATE", "The same for what it sends");
  options.AddIpText(
      "burst", burst_, "SIZE",
      "With these rates: how much may pass at once, as in 32k. Default: what passes in 10ms, at least 32k");
  options.AddIpText(
      "latency", latency_, "DURATION",
      "With these rates: how long a packet may wait, 1ms to 10s, beyond which it is dropped. Default: 50ms");
  options.AddIpFlag("masquerade", masquerade_,
                    "What it sends and leaves the other end's namespace has the address of the link that it leaves by");
  options.AddIpTexts("publish", publish_, "FORWARD",
                     "A port where the other end is that leads to it, as in 8080:80, 192.0.2.1:5000-5009:5000/udp or "
                     "[2001:db8::1]:443:8443. Can be repeated");
  options.AddIpFlag("ip-forwarding", ip_forwarding_,
                    "Switch on the forwarding of packets in the other end's namespace, all of it; stays on");
  options.AddLinkText("mac", mac_, "MAC", "The MAC address. Default: a random one");
  options.AddMtu(mtu_, "The MTU, where it is not that of --mtu");
  options.AddLinkFlag("down", down_, "Leave it down");
  options.AddLinkText("alias", alias_, "TEXT", "A text on the link, as `ip link set alias` gives it");
  options.AddLinkFlag("announce", announce_, "Tell others of its addresses whenever it comes up");
  options.AddLinkTexts("altname", altnames_, "INTERFACE", "Another name of the link. Can be repeated");
  options.AddLinkText("bridge", bridge_, "BRIDGE", "Make it a port of this bridge, which is in the same place");
  options.AddLinkText("bridge-interface", bridge_interface_, "INTERFACE",
                      "Or of this one, which netprov did not make; by its interface name, in the same place");
  options.AddLinkText("port", port_, "SETTINGS",
                      "As which port, in the words of `bridge link set`, as in 'isolated on learning off cost 7'; also "
                      "hairpin, flood, mcast_flood, bcast_flood, neigh_suppress and priority");
  options.AddLinkTexts("vlan", vlans_, "VLAN", "With these VLANs, as in '10 pvid untagged' or 20-29. Can be repeated");
  options.AddLinkNumber("tx-queues", tx_queues_, "N", "Transmit queues, 1 to 4096. Default: 1");
  options.AddLinkNumber("rx-queues", rx_queues_, "N", "Receive queues, 1 to 4096. Default: 1");
  options.AddLinkFlag("promiscuous", promiscuous_, "Receive what is for others");
  options.AddLinkFlag("allmulticast", all_multicast_, "Receive all multicast");
  options.AddLinkNumber("gso-max-size", gso_max_size_, "BYTES", "The largest packet that is cut late, 256 to 524280");
  options.AddLinkNumber("gso-max-segments", gso_max_segments_, "N", "Into how many segments, up to 65535");
  options.AddLinkNumber("gro-max-size", gro_max_size_, "BYTES",
                        "The largest packet joined of those received, up to 524280");
  options.AddLinkNumber("gso-ipv4-max-size", gso_ipv4_max_size_, "BYTES", "As --gso-max-size, for IPv4 alone");
  options.AddLinkNumber("gro-ipv4-max-size", gro_ipv4_max_size_, "BYTES", "As --gro-max-size, for IPv4 alone");
}

absl::Status End::AddTo(uint32_t mtu, const std::string& link_prefix, const std::string& ip_prefix,
                        v1::VethEndpoint& endpoint) const {
  AddLinkTo(mtu, endpoint);
  endpoint.mutable_gateways()->Add(gateways_.begin(), gateways_.end());
  if (const absl::Status status = AddPortTo(link_prefix, endpoint); !status.ok()) return status;
  absl::Status status = AddLimitsTo(ip_prefix, endpoint);
  status.Update(ParseAll(ip_prefix + "address", addresses_, ParseAddress, endpoint.mutable_addresses()));
  status.Update(ParseAll(ip_prefix + "route", routes_, ParseRoute, endpoint.mutable_routes()));
  status.Update(ParseAll(ip_prefix + "neighbor", neighbors_, ParseNeighbor, endpoint.mutable_neighbors()));
  endpoint.set_masquerade(masquerade_);
  status.Update(ParseAll(ip_prefix + "publish", publish_, ParsePublish, endpoint.mutable_port_forwards()));
  endpoint.set_ip_forwarding(ip_forwarding_);
  return status;
}

absl::Status End::AddPortTo(const std::string& prefix, v1::VethEndpoint& endpoint) const {
  if (!bridge_.empty()) endpoint.set_bridge(Name(kBridges, bridge_));
  endpoint.set_bridge_interface(bridge_interface_);
  if (!port_.empty()) {
    absl::StatusOr<v1::BridgePort> port = ParsePort(port_);
    if (!port.ok()) return absl::InvalidArgumentError(absl::StrCat(prefix, "port: ", port.status().message()));
    *endpoint.mutable_bridge_port() = *std::move(port);
  }
  if (vlans_.empty()) return absl::OkStatus();
  return ParseAll(prefix + "vlan", vlans_, ParseVlan, endpoint.mutable_bridge_port()->mutable_vlans());
}

absl::Status End::In(const std::string& option, const absl::Status& status) {
  return absl::InvalidArgumentError(absl::StrCat(option, ": ", status.message()));
}

absl::Status End::AddLimitsTo(const std::string& prefix, v1::VethEndpoint& endpoint) const {
  v1::RateLimit limit;
  if (!burst_.empty()) {
    const absl::StatusOr<uint32_t> burst = ParseSize(burst_);
    if (!burst.ok()) return In(prefix + "burst", burst.status());
    limit.set_burst(*burst);
  }
  if (!latency_.empty()) {
    absl::Duration latency;
    if (!ParsePositiveDuration(latency_, latency)) {
      return absl::InvalidArgumentError(
          absl::StrCat(prefix, "latency: must be a positive duration such as 50ms, not `", latency_, "`"));
    }
    Set(latency, *limit.mutable_latency());
  }
  if (limit.ByteSizeLong() > 0 && ingress_rate_.empty() && egress_rate_.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(prefix, burst_.empty() ? "latency" : "burst", " needs ", prefix,
                                                   "ingress-rate or ", prefix, "egress-rate"));
  }
  if (!ingress_rate_.empty()) {
    const absl::StatusOr<uint64_t> rate = ParseRate(ingress_rate_);
    if (!rate.ok()) return In(prefix + "ingress-rate", rate.status());
    *endpoint.mutable_ingress_limit() = limit;
    endpoint.mutable_ingress_limit()->set_rate(*rate);
  }
  if (!egress_rate_.empty()) {
    const absl::StatusOr<uint64_t> rate = ParseRate(egress_rate_);
    if (!rate.ok()) return In(prefix + "egress-rate", rate.status());
    *endpoint.mutable_egress_limit() = limit;
    endpoint.mutable_egress_limit()->set_rate(*rate);
  }
  return absl::OkStatus();
}

void End::AddLinkTo(uint32_t mtu, v1::VethEndpoint& endpoint) const {
  if (!mac_.empty()) endpoint.set_mac_address(mac_);
  endpoint.set_mtu(mtu_ != 0 ? mtu_ : mtu);
  if (down_) endpoint.set_admin_state(v1::VethEndpoint::ADMIN_STATE_DOWN);
  endpoint.set_alias(alias_);
  endpoint.set_announce(announce_);
  endpoint.mutable_alternative_names()->Add(altnames_.begin(), altnames_.end());
  endpoint.set_tx_queues(tx_queues_);
  endpoint.set_rx_queues(rx_queues_);
  endpoint.set_promiscuous(promiscuous_);
  endpoint.set_all_multicast(all_multicast_);
  v1::OffloadLimits limits;
  limits.set_gso_max_size(gso_max_size_);
  limits.set_gso_max_segments(gso_max_segments_);
  limits.set_gro_max_size(gro_max_size_);
  limits.set_gso_ipv4_max_size(gso_ipv4_max_size_);
  limits.set_gro_ipv4_max_size(gro_ipv4_max_size_);
  if (limits.ByteSizeLong() > 0) *endpoint.mutable_offload_limits() = limits;
}

}  // namespace netprov::cli
