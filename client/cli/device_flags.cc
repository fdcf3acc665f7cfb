#include "client/cli/device_flags.h"

#include <algorithm>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/cli/bridge_text.h"
#include "client/cli/device_text.h"
#include "client/cli/flags.h"
#include "client/cli/ip_text.h"

namespace netprov::cli {

void DeviceFlags::AddOptions(CLI::App& app) {
  app.add_option("--kind", kind_, "What it is")->type_name("macvlan|vxlan|vlan|ipvlan|dummy|ifb")->required();
  app.add_option("--ns", ns_, "The namespace that it is in. Default: the host's")->type_name("NAMESPACE");
  app.add_option("--interface", interface_,
                 "Its interface name; `%d` in it becomes the lowest free number. Default: NAME where that is short "
                 "enough, else KIND%d")
      ->type_name("INTERFACE");
  app.add_option("--mac", mac_, "The MAC address. Default: a random one")->type_name("MAC");
  app.add_option("--mtu", mtu_, "The MTU, 68 to 65535. Default: what --lower allows")
      ->transform(Decimal())
      ->type_name("BYTES");
  app.add_flag("--down", down_, "Leave it down");
  Texts(app, "--altname", altnames_, "INTERFACE", "Another name of the link. Can be repeated");
  Texts(app, "--address", addresses_, "ADDRESS", "An address, as in 10.0.0.2/24. Can be repeated");
  Texts(app, "--gateway", gateways_, "ADDRESS", "Where the default route leads; once for IPv4, once for IPv6");
  Texts(app, "--route", routes_, "ROUTE",
        "A route in the words of `ip route`, as in '10.1.0.0/16 via 10.0.0.1'. Can be repeated");
  app.add_option("--bridge", bridge_, "Make it a port of this bridge, which is in the same place")->type_name("BRIDGE");
  app.add_option("--bridge-interface", bridge_interface_,
                 "Or of this one, which netprov did not make; by its interface name, in the same place")
      ->type_name("INTERFACE");
  app.add_option("--bridge-port", bridge_port_,
                 "As which port, in the words of `bridge link set`, as in 'isolated on learning off cost 7'; also "
                 "hairpin, flood, mcast_flood, bcast_flood, neigh_suppress and priority")
      ->type_name("SETTINGS");
  Texts(app, "--bridge-vlan", bridge_vlans_, "VLAN",
        "With these VLANs, as in '10 pvid untagged' or 20-29. Can be repeated");
  Of("macvlan vxlan vlan ipvlan",
     app.add_option("--lower", lower_, "The link that it stands on")->type_name("INTERFACE"));
  Of("macvlan vxlan vlan ipvlan",
     app.add_option("--lower-ns", lower_ns_,
                    "The namespace where --lower is, or a vxlan's own packets. Default: the host's")
         ->type_name("NAMESPACE"));
  Of("macvlan ipvlan", app.add_option("--mode", mode_,
                                      "Of a macvlan private, vepa, bridge, passthru or source, of an ipvlan l2, l3 "
                                      "or l3s. Default: bridge, l3")
                           ->type_name("MODE"));
  Of("ipvlan", app.add_option("--mode-flag", mode_flag_, "What those on one link exchange. Default: bridge")
                   ->type_name("bridge|private|vepa"));
  Of("macvlan", Texts(app, "--source", sources_, "MAC", "From whom it receives in the mode source. Can be repeated"));
  Of("vxlan", Number(app, "--vni", vni_, "N", "The network identifier, 1 to 16777215"));
  Of("vxlan",
     app.add_option("--local", local_, "The source of what it sends. Default: the route's")->type_name("ADDRESS"));
  Of("vxlan", app.add_option("--remote", remote_, "Where to send what no entry is for: a host or a multicast group")
                  ->type_name("ADDRESS"));
  Of("vxlan", Number(app, "--port", port_, "PORT", "The UDP port. Default: 4789"));
  Of("vxlan", Number(app, "--outer-ttl", ttl_, "N", "Hops of what it sends, 1 to 255. Default: the kernel's"));
  learning_option_ = app.add_flag("--learning,!--no-learning", learning_, "Learn where senders are. Default: yes");
  Of("vxlan", learning_option_);
  Of("vxlan", app.add_flag("--proxy", proxy_, "Answer for neighbors that it knows"));
  Of("vxlan",
     app.add_option("--ageing-time", ageing_time_, "How long that is remembered. Default: 5m")->type_name("DURATION"));
  Of("vxlan", Texts(app, "--fdb", fdb_, "ENTRY",
                    "Where packets go, as in '02:00:00:00:00:07 dst 192.0.2.7', with 00:00:00:00:00:00 for all that "
                    "have no entry; also port and vni. Can be repeated"));
  Of("vlan", Number(app, "--vlan-id", vlan_id_, "VLAN", "The VLAN, 1 to 4094"));
  Of("vlan", app.add_option("--protocol", protocol_, "Of the tags. Default: dot1q")->type_name("dot1q|dot1ad"));
}

absl::Status DeviceFlags::AddTo(const std::string& name, v1::Device& device) const {
  if (const absl::Status status = AddKind(device); !status.ok()) return status;
  for (const auto& [kinds, option] : of_kinds_) {
    const std::vector<std::string> words = absl::StrSplit(kinds, ' ');
    if (option->empty() || std::find(words.begin(), words.end(), kind_) != words.end()) continue;
    return absl::InvalidArgumentError(absl::StrCat(option->get_name(), ": has no meaning for --kind ", kind_));
  }
  SetPlace(ns_, interface_, name, device);
  device.set_mac_address(mac_);
  device.set_mtu(mtu_);
  if (down_) device.set_admin_state(v1::VethEndpoint::ADMIN_STATE_DOWN);
  device.mutable_alternative_names()->Add(altnames_.begin(), altnames_.end());
  device.mutable_gateways()->Add(gateways_.begin(), gateways_.end());
  device.set_lower_interface(lower_);
  if (!lower_ns_.empty()) device.set_lower_namespace(Name(kNamespaces, lower_ns_));
  if (const absl::Status status = AddPort(device); !status.ok()) return status;
  absl::Status status = ParseAll("--address", addresses_, ParseAddress, device.mutable_addresses());
  status.Update(ParseAll("--route", routes_, ParseRoute, device.mutable_routes()));
  return status;
}

CLI::Option* DeviceFlags::Texts(CLI::App& app, const char* name, std::vector<std::string>& target, const char* type,
                                const char* help) {
  return app.add_option(name, target, help)->type_name(type)->allow_extra_args(false);
}

CLI::Option* DeviceFlags::Number(CLI::App& app, const char* name, uint32_t& target, const char* unit,
                                 const char* help) {
  return app.add_option(name, target, help)->transform(Decimal())->type_name(unit);
}

absl::Status DeviceFlags::AddKind(v1::Device& device) const {
  if (kind_ == "macvlan") {
    v1::Macvlan& macvlan = *device.mutable_macvlan();
    macvlan.mutable_source_mac_addresses()->Add(sources_.begin(), sources_.end());
    return SetMacvlanMode(mode_, macvlan);
  }
  if (kind_ == "vxlan") return AddVxlan(*device.mutable_vxlan());
  if (kind_ == "vlan") {
    device.mutable_vlan()->set_id(vlan_id_);
    return SetVlanProtocol(protocol_, *device.mutable_vlan());
  }
  if (kind_ == "ipvlan") {
    absl::Status status = SetIpvlanMode(mode_, *device.mutable_ipvlan());
    status.Update(SetIpvlanModeFlag(mode_flag_, *device.mutable_ipvlan()));
    return status;
  }
  if (kind_ == "dummy") {
    device.mutable_dummy();
  } else if (kind_ == "ifb") {
    device.mutable_ifb();
  } else {
    return absl::InvalidArgumentError("--kind: must be macvlan, vxlan, vlan, ipvlan, dummy or ifb, not `" + kind_ +
                                      "`");
  }
  return absl::OkStatus();
}

absl::Status DeviceFlags::AddPort(v1::Device& device) const {
  if (!bridge_.empty()) device.set_bridge(Name(kBridges, bridge_));
  device.set_bridge_interface(bridge_interface_);
  if (!bridge_port_.empty()) {
    absl::StatusOr<v1::BridgePort> port = ParsePort(bridge_port_);
    if (!port.ok()) return absl::InvalidArgumentError(absl::StrCat("--bridge-port: ", port.status().message()));
    *device.mutable_bridge_port() = *std::move(port);
  }
  if (bridge_vlans_.empty()) return absl::OkStatus();
  return ParseAll("--bridge-vlan", bridge_vlans_, ParseVlan, device.mutable_bridge_port()->mutable_vlans());
}

absl::Status DeviceFlags::AddVxlan(v1::Vxlan& vxlan) const {
  vxlan.set_vni(vni_);
  vxlan.set_local(local_);
  vxlan.set_remote(remote_);
  vxlan.set_port(port_);
  vxlan.set_ttl(ttl_);
  if (!learning_option_->empty()) vxlan.set_learning(learning_);
  vxlan.set_proxy(proxy_);
  if (!ageing_time_.empty()) {
    const absl::StatusOr<google::protobuf::Duration> time = ParseDuration("--ageing-time", ageing_time_, "30s or 5m");
    if (!time.ok()) return time.status();
    *vxlan.mutable_ageing_time() = *time;
  }
  return ParseAll("--fdb", fdb_, ParseFdbEntry, vxlan.mutable_fdb());
}

}  // namespace netprov::cli
