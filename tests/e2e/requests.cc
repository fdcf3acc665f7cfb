#include "tests/e2e/requests.h"

#include <cstdint>
#include <fstream>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/component/test_client.h"

namespace netprov::testing {
namespace {

constexpr char kMacA[] = "02:00:00:00:00:0a";
constexpr char kMacB[] = "02:00:00:00:00:0b";

// An update of these fields of the pair that `made` has made, to what it is already.
v1::UpdateVethRequest PairUpdate(const v1::CreateVethRequest& made, const std::string& request_id,
                                 const std::vector<std::string>& paths) {
  v1::UpdateVethRequest request;
  request.set_request_id(request_id);
  *request.mutable_veth() = made.veth();
  request.mutable_veth()->set_name("veths/v");
  request.mutable_update_mask()->mutable_paths()->Add(paths.begin(), paths.end());
  return request;
}

}  // namespace

v1::CreateNamespaceRequest BlueRequest(const std::string& request_id, const v1::Metadata& metadata) {
  v1::CreateNamespaceRequest request;
  request.set_namespace_id("blue");
  *request.mutable_namespace_()->mutable_metadata() = metadata;
  request.set_request_id(request_id);
  return request;
}

v1::CreateNamespaceRequest FullBlueRequest(const std::string& request_id) {
  v1::CreateNamespaceRequest request = BlueRequest(request_id);
  auto& sysctls = *request.mutable_namespace_()->mutable_sysctls();
  sysctls["net.ipv4.conf.all.accept_redirects"] = "1";
  // Turns the other one off as it is written.
  sysctls["net.ipv4.ip_forward"] = "1";
  return request;
}

v1::CreateNamespaceRequest ResolvingBlueRequest(const std::string& request_id, const v1::Metadata& metadata) {
  v1::CreateNamespaceRequest request = BlueRequest(request_id, metadata);
  auto& sysctls = *request.mutable_namespace_()->mutable_sysctls();
  sysctls["net.ipv4.conf.all.accept_redirects"] = "1";
  v1::Dns& dns = *request.mutable_namespace_()->mutable_dns();
  dns.add_nameservers("10.0.0.53");
  v1::Dns::Host& host = *dns.add_hosts();
  host.set_address("10.0.0.5");
  host.add_names("db");
  return request;
}

v1::UpdateNamespaceRequest ChangeBlueRequest(const std::string& request_id, bool back) {
  v1::UpdateNamespaceRequest request;
  request.set_request_id(request_id);
  for (const char* path : {"sysctls", "dns", "metadata.labels"}) request.mutable_update_mask()->add_paths(path);
  v1::Namespace& netns = *request.mutable_namespace_();
  netns = ResolvingBlueRequest().namespace_();
  netns.set_name("namespaces/blue");
  if (back) {
    // What an update leaves out keeps its value.
    (*netns.mutable_sysctls())["net.ipv4.ip_forward"] = "0";
    return request;
  }
  (*netns.mutable_sysctls())["net.ipv4.conf.all.accept_redirects"] = "0";
  (*netns.mutable_sysctls())["net.ipv4.ip_forward"] = "1";
  netns.mutable_dns()->set_nameservers(0, "10.0.0.54");
  netns.mutable_dns()->clear_hosts();
  (*netns.mutable_metadata()->mutable_labels())["team"] = "net";
  return request;
}

v1::DeleteNamespaceRequest DeleteBlueRequest(const std::string& request_id) {
  v1::DeleteNamespaceRequest request;
  request.set_name("namespaces/blue");
  request.set_request_id(request_id);
  request.set_force(true);
  return request;
}

v1::AdoptNamespaceRequest AdoptRequest(const std::string& request_id) {
  v1::AdoptNamespaceRequest request;
  request.set_name("namespaces/foreign");
  (*request.mutable_namespace_()->mutable_sysctls())["net.ipv4.ip_forward"] = "1";
  request.set_request_id(request_id);
  return request;
}

v1::ReleaseNamespaceRequest ReleaseRequest(const std::string& request_id) {
  v1::ReleaseNamespaceRequest request;
  request.set_name("namespaces/foreign");
  request.set_request_id(request_id);
  return request;
}

v1::CreateVethRequest PairRequest(const std::string& request_id, const v1::Metadata& metadata) {
  v1::CreateVethRequest request = VethRequest("v", "h0", "blue", "eth0");
  *request.mutable_veth()->mutable_metadata() = metadata;
  request.mutable_veth()->mutable_endpoint_a()->set_mac_address(kMacA);
  request.mutable_veth()->mutable_endpoint_b()->set_mac_address(kMacB);
  request.set_request_id(request_id);
  return request;
}

v1::CreateVethRequest ConfiguredPairRequest(const std::string& request_id) {
  v1::CreateVethRequest request = PairRequest(request_id);
  v1::VethEndpoint& host = *request.mutable_veth()->mutable_endpoint_a();
  host.add_addresses()->set_address("10.0.0.1/24");
  v1::Route& nowhere = *host.add_routes();
  nowhere.set_destination("10.8.0.0/16");
  nowhere.set_type(v1::Route::TYPE_PROHIBIT);
  v1::VethEndpoint& inside = *request.mutable_veth()->mutable_endpoint_b();
  inside.add_addresses()->set_address("10.0.0.2/24");
  inside.add_addresses()->set_address("2001:db8::2/64");
  inside.add_gateways("10.0.0.1");
  inside.add_routes()->set_destination("10.1.0.0/16");
  v1::Route& blackhole = *inside.add_routes();
  blackhole.set_destination("2001:db8:9::/48");
  blackhole.set_type(v1::Route::TYPE_BLACKHOLE);
  v1::Neighbor& neighbor = *inside.add_neighbors();
  neighbor.set_address("10.0.0.9");
  neighbor.set_mac_address("02:00:00:00:00:09");
  inside.add_alternative_names("another-name-of-eth0");
  return request;
}

v1::CreateVethRequest DetailedPairRequest(const std::string& request_id) {
  v1::CreateVethRequest request = PairRequest(request_id);
  v1::VethEndpoint& host = *request.mutable_veth()->mutable_endpoint_a();
  host.set_alias("to blue");
  host.set_tx_queues(2);
  host.set_rx_queues(2);
  v1::VethEndpoint& inside = *request.mutable_veth()->mutable_endpoint_b();
  inside.set_alias("to the host");
  inside.set_announce(true);
  inside.add_addresses()->set_address("10.0.0.2/24");
  v1::Address& alone = *inside.add_addresses();
  alone.set_address("2001:db8::2/64");
  alone.set_duplicate_detection(v1::Address::DUPLICATE_DETECTION_WAIT);
  v1::OffloadLimits& limits = *inside.mutable_offload_limits();
  limits.set_gso_max_size(20'000);
  limits.set_gso_ipv4_max_size(20'000);
  limits.set_gso_max_segments(100);
  limits.set_gro_max_size(30'000);
  limits.set_gro_ipv4_max_size(30'000);
  return request;
}

v1::UpdateVethRequest ChangePairRequest(const std::string& request_id, bool back) {
  v1::UpdateVethRequest request = PairUpdate(ConfiguredPairRequest(), request_id, {"endpoint_a.mtu", "endpoint_b"});
  v1::VethEndpoint& host = *request.mutable_veth()->mutable_endpoint_a();
  v1::VethEndpoint& inside = *request.mutable_veth()->mutable_endpoint_b();
  host.set_mtu(back ? 1500 : 1400);
  inside.set_mtu(1500);
  if (back) return request;
  inside.mutable_addresses()->DeleteSubrange(1, 1);
  inside.add_addresses()->set_address("10.0.1.2/24");
  inside.set_gateways(0, "10.0.1.1");
  inside.mutable_routes(1)->set_type(v1::Route::TYPE_UNREACHABLE);
  inside.clear_neighbors();
  inside.set_promiscuous(true);
  inside.set_alternative_names(0, "changed-name-of-eth0");
  return request;
}

v1::CreateVethRequest LimitedPairRequest(const std::string& request_id, const v1::Metadata& metadata) {
  v1::CreateVethRequest request = PairRequest(request_id, metadata);
  for (v1::VethEndpoint* end :
       {request.mutable_veth()->mutable_endpoint_a(), request.mutable_veth()->mutable_endpoint_b()}) {
    end->mutable_ingress_limit()->set_rate(10'000'000);
    end->mutable_egress_limit()->set_rate(20'000'000);
  }
  return request;
}

v1::UpdateVethRequest ChangeLimitsRequest(const std::string& request_id, bool back) {
  v1::UpdateVethRequest request = PairUpdate(
      LimitedPairRequest(), request_id,
      {"endpoint_a.ingress_limit", "endpoint_a.egress_limit", "endpoint_b.ingress_limit", "endpoint_b.egress_limit"});
  v1::VethEndpoint& host = *request.mutable_veth()->mutable_endpoint_a();
  v1::VethEndpoint& inside = *request.mutable_veth()->mutable_endpoint_b();
  if (back) return request;
  host.mutable_ingress_limit()->set_rate(30'000'000);
  host.clear_egress_limit();
  inside.clear_ingress_limit();
  inside.mutable_egress_limit()->set_rate(40'000'000);
  return request;
}

v1::CreateVethRequest TranslatedPairRequest(const std::string& request_id, const v1::Metadata& metadata) {
  v1::CreateVethRequest request = PairRequest(request_id, metadata);
  v1::VethEndpoint& inside = *request.mutable_veth()->mutable_endpoint_b();
  inside.add_addresses()->set_address("10.0.0.2/24");
  inside.add_addresses()->set_address("2001:db8::2/64");
  inside.set_masquerade(true);
  inside.add_port_forwards()->set_host_port(8080);
  v1::PortForward& range = *inside.add_port_forwards();
  range.set_protocol(v1::PortForward::PROTOCOL_UDP);
  range.set_host_address("10.0.0.1");
  range.set_host_port(5000);
  range.set_host_port_last(5003);
  inside.set_ip_forwarding(true);
  return request;
}

v1::UpdateVethRequest ChangeTranslationRequest(const std::string& request_id, bool back) {
  v1::UpdateVethRequest request =
      PairUpdate(TranslatedPairRequest(), request_id, {"endpoint_b.masquerade", "endpoint_b.port_forwards"});
  if (back) return request;
  v1::VethEndpoint& inside = *request.mutable_veth()->mutable_endpoint_b();
  inside.set_masquerade(false);
  inside.mutable_port_forwards(0)->set_port(81);
  inside.mutable_port_forwards(1)->set_host_port(5001);
  return request;
}

v1::CreateVethRequest PortRequest(const std::string& request_id) {
  v1::CreateVethRequest request = PairRequest(request_id);
  v1::VethEndpoint& inside = *request.mutable_veth()->mutable_endpoint_b();
  inside.set_bridge("bridges/br");
  inside.mutable_bridge_port()->set_isolated(true);
  return request;
}

v1::UpdateVethRequest ChangePortRequest(const std::string& request_id, bool back) {
  v1::UpdateVethRequest request = PairUpdate(PortRequest(), request_id, {"endpoint_b.bridge_port"});
  v1::BridgePort& port = *request.mutable_veth()->mutable_endpoint_b()->mutable_bridge_port();
  port.set_isolated(back);
  port.set_hairpin(!back);
  port.set_cost(back ? 2 : 7);
  port.set_priority(back ? 32 : 5);
  return request;
}

v1::UpdateVethRequest JoinHostBridgeRequest(const std::string& request_id, bool back) {
  v1::UpdateVethRequest request =
      PairUpdate(PairRequest(), request_id, {"endpoint_a.bridge", "endpoint_a.bridge_port"});
  if (back) return request;
  v1::VethEndpoint& host = *request.mutable_veth()->mutable_endpoint_a();
  host.set_bridge("bridges/hostbr");
  host.mutable_bridge_port()->set_hairpin(true);
  return request;
}

v1::UpdateVethRequest LeaveBridgeRequest(const std::string& request_id, bool back) {
  const v1::CreateVethRequest made = back ? PortRequest() : PairRequest();
  return PairUpdate(made, request_id, {"endpoint_b.bridge", "endpoint_b.bridge_port"});
}

v1::CreateVethRequest ForeignPortRequest(const std::string& request_id) {
  v1::CreateVethRequest request = PairRequest(request_id);
  v1::VethEndpoint& inside = *request.mutable_veth()->mutable_endpoint_b();
  inside.set_bridge_interface("br-lan");
  inside.mutable_bridge_port()->set_hairpin(true);
  return request;
}

v1::UpdateVethRequest JoinForeignBridgeRequest(const std::string& request_id, bool back) {
  const v1::CreateVethRequest made = back ? PortRequest() : ForeignPortRequest();
  return PairUpdate(made, request_id, {"endpoint_b.bridge", "endpoint_b.bridge_interface", "endpoint_b.bridge_port"});
}

v1::UpdateVethRequest MovePortRequest(const std::string& request_id, bool back) {
  v1::UpdateVethRequest request =
      PairUpdate(PortRequest(), request_id, {"endpoint_b.bridge", "endpoint_b.bridge_port"});
  if (back) return request;
  v1::VethEndpoint& inside = *request.mutable_veth()->mutable_endpoint_b();
  inside.set_bridge("bridges/other");
  inside.mutable_bridge_port()->set_isolated(false);
  inside.mutable_bridge_port()->set_hairpin(true);
  return request;
}

v1::CreateVethRequest PlacedRequest(const std::string& request_id) {
  v1::CreateVethRequest request = PairRequest(request_id);
  v1::VethEndpoint& elsewhere = *request.mutable_veth()->mutable_endpoint_a();
  elsewhere.set_netns_path(kPlace);
  elsewhere.add_addresses()->set_address("10.0.7.1/24");
  return request;
}

v1::CreateVethRequest InsideRequest(const std::string& request_id) {
  v1::CreateVethRequest request = PlacedRequest(request_id);
  uint32_t pid = 0;
  std::ifstream(kInsidePlace) >> pid;
  request.mutable_veth()->mutable_endpoint_a()->set_pid(pid);
  return request;
}

v1::CreateVethRequest StackRequest(const std::string& netns, int host, const std::string& request_id) {
  v1::CreateVethRequest request = VethRequest(netns, absl::StrCat("p-", netns), netns, "eth0");
  request.set_request_id(request_id);
  request.set_create_namespaces(true);
  v1::VethEndpoint& port = *request.mutable_veth()->mutable_endpoint_a();
  port.set_mac_address(absl::StrCat("02:00:00:00:01:0", host));
  port.set_bridge("bridges/br");
  v1::VethEndpoint& inside = *request.mutable_veth()->mutable_endpoint_b();
  inside.set_mac_address(absl::StrCat("02:00:00:00:02:0", host));
  inside.add_addresses()->set_address(absl::StrCat("10.0.0.", host, "/24"));
  inside.add_addresses()->set_address(absl::StrCat("fd00::", host, "/64"));
  inside.add_gateways("10.0.0.1");
  inside.add_gateways("fd00::1");
  v1::Route& closed = *inside.add_routes();
  closed.set_destination("198.51.100.0/24");
  closed.set_type(v1::Route::TYPE_PROHIBIT);
  inside.set_masquerade(true);
  inside.set_ip_forwarding(true);
  v1::PortForward& forward = *inside.add_port_forwards();
  forward.set_host_port(8000 + host);
  forward.set_port(80);
  for (v1::RateLimit* limit : {inside.mutable_ingress_limit(), inside.mutable_egress_limit()}) {
    limit->set_rate(kStackRate);
    limit->set_burst(kStackBurst);
  }
  return request;
}

v1::DeleteVethRequest DeletePairRequest(const std::string& request_id) {
  v1::DeleteVethRequest request;
  request.set_name("veths/v");
  request.set_request_id(request_id);
  return request;
}

v1::CreateBridgeRequest BridgeRequest(const std::string& request_id, const v1::Metadata& metadata) {
  v1::CreateBridgeRequest request;
  request.set_bridge_id("br");
  request.set_request_id(request_id);
  v1::Bridge& bridge = *request.mutable_bridge();
  *bridge.mutable_metadata() = metadata;
  bridge.set_namespace_("namespaces/blue");
  bridge.set_interface_name("br0");
  bridge.set_mac_address("02:00:00:00:00:0c");
  bridge.set_mtu(1400);
  bridge.add_addresses()->set_address("10.0.9.1/24");
  bridge.add_alternative_names("another-name-of-br0");
  bridge.set_stp(true);
  bridge.set_priority(8);
  return request;
}

v1::UpdateBridgeRequest ChangeBridgeRequest(const std::string& request_id, bool back) {
  v1::UpdateBridgeRequest request;
  request.set_request_id(request_id);
  for (const char* path : {"mtu", "addresses", "alternative_names", "stp", "priority"}) {
    request.mutable_update_mask()->add_paths(path);
  }
  v1::Bridge& bridge = *request.mutable_bridge();
  bridge = BridgeRequest().bridge();
  bridge.set_name("bridges/br");
  if (back) return request;
  bridge.set_mtu(1300);
  bridge.mutable_addresses(0)->set_address("10.0.10.1/24");
  bridge.set_alternative_names(0, "changed-name-of-br0");
  bridge.set_stp(false);
  bridge.set_priority(7);
  return request;
}

v1::DeleteBridgeRequest DeleteBridgeRequest(const std::string& request_id) {
  v1::DeleteBridgeRequest request;
  request.set_name("bridges/br");
  request.set_request_id(request_id);
  return request;
}

v1::CreateBridgeRequest OtherBridgeRequest(const std::string& request_id) {
  v1::CreateBridgeRequest request;
  request.set_bridge_id("other");
  request.set_request_id(request_id);
  v1::Bridge& bridge = *request.mutable_bridge();
  bridge.set_namespace_("namespaces/blue");
  bridge.set_interface_name("br1");
  bridge.set_mac_address("02:00:00:00:00:12");
  return request;
}

v1::CreateBridgeRequest StackBridgeRequest(const std::string& request_id) {
  v1::CreateBridgeRequest request;
  request.set_bridge_id("br");
  request.set_request_id(request_id);
  v1::Bridge& bridge = *request.mutable_bridge();
  bridge.mutable_host();
  bridge.set_interface_name("br0");
  bridge.set_mac_address("02:00:00:00:00:13");
  bridge.add_addresses()->set_address("10.0.0.1/24");
  bridge.add_addresses()->set_address("fd00::1/64");
  return request;
}

v1::CreateBridgeRequest HostBridgeRequest(const std::string& request_id) {
  v1::CreateBridgeRequest request;
  request.set_bridge_id("hostbr");
  request.set_request_id(request_id);
  v1::Bridge& bridge = *request.mutable_bridge();
  bridge.mutable_host();
  bridge.set_interface_name("hostbr0");
  bridge.set_mac_address("02:00:00:00:00:0f");
  bridge.add_addresses()->set_address("10.0.11.1/24");
  return request;
}

v1::DeleteBridgeRequest DeleteHostBridgeRequest(const std::string& request_id) {
  v1::DeleteBridgeRequest request;
  request.set_name("bridges/hostbr");
  request.set_request_id(request_id);
  return request;
}

v1::CreateDeviceRequest MacvlanRequest(const std::string& request_id, const v1::Metadata& metadata) {
  v1::CreateDeviceRequest request;
  request.set_device_id("m");
  request.set_request_id(request_id);
  v1::Device& device = *request.mutable_device();
  *device.mutable_metadata() = metadata;
  device.set_namespace_("namespaces/blue");
  device.set_interface_name("m0");
  device.set_mac_address("02:00:00:00:00:0d");
  device.set_lower_interface("h0");
  device.mutable_macvlan()->set_mode(v1::Macvlan::MODE_PRIVATE);
  device.add_addresses()->set_address("10.0.8.2/24");
  device.add_routes()->set_destination("10.8.0.0/16");
  device.add_alternative_names("another-name-of-m0");
  return request;
}

v1::DeleteDeviceRequest DeleteMacvlanRequest(const std::string& request_id) {
  v1::DeleteDeviceRequest request;
  request.set_name("devices/m");
  request.set_request_id(request_id);
  return request;
}

v1::CreateDeviceRequest VxlanRequest(const std::string& request_id) {
  v1::CreateDeviceRequest request;
  request.set_device_id("x");
  request.set_request_id(request_id);
  v1::Device& device = *request.mutable_device();
  device.set_namespace_("namespaces/blue");
  device.set_interface_name("x0");
  device.set_mac_address("02:00:00:00:00:0e");
  device.set_mtu(1450);
  device.add_addresses()->set_address("10.0.6.2/24");
  v1::Vxlan& vxlan = *device.mutable_vxlan();
  vxlan.set_vni(42);
  vxlan.set_remote("192.0.2.1");
  vxlan.set_ttl(5);
  v1::Vxlan::FdbEntry& entry = *vxlan.add_fdb();
  entry.set_mac_address("02:00:00:00:00:11");
  entry.set_destination("192.0.2.2");
  return request;
}

v1::CreateDeviceRequest VxlanPortRequest(const std::string& request_id) {
  v1::CreateDeviceRequest request = VxlanRequest(request_id);
  v1::Device& device = *request.mutable_device();
  device.set_bridge("bridges/br");
  device.mutable_bridge_port()->set_isolated(true);
  device.mutable_bridge_port()->set_learning(false);
  return request;
}

v1::DeleteDeviceRequest DeleteVxlanRequest(const std::string& request_id) {
  v1::DeleteDeviceRequest request;
  request.set_name("devices/x");
  request.set_request_id(request_id);
  return request;
}

v1::UpdateDeviceRequest ChangeVxlanRequest(const std::string& request_id, bool back) {
  v1::UpdateDeviceRequest request;
  request.set_request_id(request_id);
  for (const char* path : {"mtu", "addresses", "vxlan.remote", "vxlan.ttl", "vxlan.fdb"}) {
    request.mutable_update_mask()->add_paths(path);
  }
  v1::Device& device = *request.mutable_device();
  device = VxlanRequest().device();
  device.set_name("devices/x");
  if (back) return request;
  device.set_mtu(1400);
  device.mutable_addresses(0)->set_address("10.0.5.2/24");
  device.mutable_vxlan()->set_remote("192.0.2.9");
  device.mutable_vxlan()->set_ttl(7);
  device.mutable_vxlan()->mutable_fdb(0)->set_destination("192.0.2.3");
  return request;
}

v1::CreateDeviceRequest IfbRequest(const std::string& request_id) {
  v1::CreateDeviceRequest request;
  request.set_device_id("i");
  request.set_request_id(request_id);
  v1::Device& device = *request.mutable_device();
  device.set_namespace_("namespaces/blue");
  device.set_interface_name("i0");
  device.set_mac_address("02:00:00:00:00:10");
  device.set_mtu(1400);
  device.add_addresses()->set_address("10.0.4.2/24");
  device.add_alternative_names("another-name-of-i0");
  device.mutable_ifb();
  return request;
}

v1::DeleteDeviceRequest DeleteIfbRequest(const std::string& request_id) {
  v1::DeleteDeviceRequest request;
  request.set_name("devices/i");
  request.set_request_id(request_id);
  return request;
}

v1::Metadata SelfHealing() {
  v1::Metadata metadata;
  metadata.set_self_heal(true);
  return metadata;
}

v1::Metadata OwnedBy(const std::string& owner) {
  v1::Metadata metadata;
  metadata.set_owner(owner);
  return metadata;
}

}  // namespace netprov::testing
