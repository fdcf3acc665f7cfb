#include "client/cli/bridge_flags.h"

#include "absl/status/statusor.h"
#include "client/cli/flags.h"
#include "client/cli/ip_text.h"

namespace netprov::cli {

void BridgeFlags::AddOptions(CLI::App& app) {
  app.add_option("--ns", ns_, "It is in this namespace. Default: in the host")->type_name("NAMESPACE");
  app.add_option("--interface", interface_, "Its interface name. Default: NAME")->type_name("INTERFACE");
  app.add_option("--address", addresses_, "An address, as in 10.0.0.1/24. Can be repeated")
      ->type_name("ADDRESS")
      ->allow_extra_args(false);
  app.add_option("--mac", mac_, "The MAC address. Default: a random one, which it keeps")->type_name("MAC");
  Number(app, "--mtu", mtu_, "BYTES", "The MTU, 68 to 65535. Default: the smallest of its ports'");
  app.add_flag("--down", down_, "Leave it down");
  app.add_option("--altname", altnames_, "Another name of the link. Can be repeated")
      ->type_name("INTERFACE")
      ->allow_extra_args(false);
  stp_option_ = app.add_flag("--stp,!--no-stp", stp_, "Speak the spanning tree protocol. Default: no");
  app.add_option("--forward-delay", forward_delay_, "How long a port listens and learns, 2s to 30s. Default: 15s")
      ->type_name("DURATION");
  app.add_option("--hello-time", hello_time_, "Between the root's messages, 1s to 10s. Default: 2s")
      ->type_name("DURATION");
  app.add_option("--max-age", max_age_, "After which the root is taken for lost, 6s to 40s. Default: 20s")
      ->type_name("DURATION");
  app.add_option("--ageing-time", ageing_time_, "How long an address is remembered. Default: 5m")
      ->type_name("DURATION");
  Number(app, "--priority", priority_, "N", "Of the spanning tree, 0 to 65535. Default: 32768");
  vlan_filtering_option_ =
      app.add_flag("--vlan-filtering,!--no-vlan-filtering", vlan_filtering_, "Mind VLANs. Default: no");
  Number(app, "--default-pvid", default_pvid_, "VLAN", "The VLAN of untagged packets, 0 to 4094. Default: 1");
  multicast_snooping_option_ = app.add_flag("--multicast-snooping,!--no-multicast-snooping", multicast_snooping_,
                                            "Send multicast only where it is wanted. Default: yes");
  Number(app, "--group-forward-mask", group_forward_mask_, "BITS", "Which link-local groups to forward. Default: 0");
}

absl::Status BridgeFlags::AddTo(const std::string& name, v1::Bridge& bridge) const {
  SetPlace(ns_, interface_, name, bridge);
  bridge.set_mac_address(mac_);
  bridge.set_mtu(mtu_.value_or(0));
  if (down_) bridge.set_admin_state(v1::VethEndpoint::ADMIN_STATE_DOWN);
  bridge.mutable_alternative_names()->Add(altnames_.begin(), altnames_.end());
  if (!stp_option_->empty()) bridge.set_stp(stp_);
  if (priority_.has_value()) bridge.set_priority(*priority_);
  if (!vlan_filtering_option_->empty()) bridge.set_vlan_filtering(vlan_filtering_);
  if (default_pvid_.has_value()) bridge.set_default_pvid(*default_pvid_);
  if (!multicast_snooping_option_->empty()) bridge.set_multicast_snooping(multicast_snooping_);
  if (group_forward_mask_.has_value()) bridge.set_group_forward_mask(*group_forward_mask_);
  absl::Status status = ParseAll("--address", addresses_, ParseAddress, bridge.mutable_addresses());
  status.Update(AddTime("--forward-delay", forward_delay_, &v1::Bridge::mutable_forward_delay, bridge));
  status.Update(AddTime("--hello-time", hello_time_, &v1::Bridge::mutable_hello_time, bridge));
  status.Update(AddTime("--max-age", max_age_, &v1::Bridge::mutable_max_age, bridge));
  status.Update(AddTime("--ageing-time", ageing_time_, &v1::Bridge::mutable_ageing_time, bridge));
  return status;
}

void BridgeFlags::Number(CLI::App& app, const char* name, std::optional<uint32_t>& target, const char* unit,
                         const char* help) {
  app.add_option(name, target, help)->transform(Decimal())->type_name(unit);
}

absl::Status BridgeFlags::AddTime(const char* option, const std::string& text,
                                  google::protobuf::Duration* (v1::Bridge::*mutable_field)(), v1::Bridge& bridge) {
  if (text.empty()) return absl::OkStatus();
  const absl::StatusOr<google::protobuf::Duration> time = ParseDuration(option, text, "2s, 1.5s or 5m");
  if (time.ok()) *(bridge.*mutable_field)() = *time;
  return time.status();
}

}  // namespace netprov::cli
