#include "client/cli/output.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace netprov::cli {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// 2026-01-01T00:00:01Z.
const absl::Time kNow = absl::FromUnixSeconds(1767225601);

v1::Namespace Blue() {
  v1::Namespace ns;
  ns.set_name("namespaces/blue");
  ns.set_uid("5bd4f2d5-0b70-4d38-9b5e-0c8bbd4a9a3e");
  ns.mutable_create_time()->set_seconds(1767225600);
  ns.set_managed(true);
  ns.set_state(v1::Namespace::STATE_READY);
  ns.set_path("/run/netns/blue");
  ns.set_cookie(4097);
  return ns;
}

v1::Namespace Foreign() {
  v1::Namespace ns;
  ns.set_name("namespaces/my%20own");
  ns.set_state(v1::Namespace::STATE_STALE);
  ns.set_path("/run/netns/my own");
  return ns;
}

v1::Veth Uplink() {
  v1::Veth veth;
  veth.set_name("veths/uplink");
  veth.set_uid("9a3e5bd4-0b70-4d38-9b5e-f2d50c8bbd4a");
  veth.mutable_create_time()->set_seconds(1767225600);
  veth.mutable_create_time()->set_nanos(250'000'000);
  veth.set_state(v1::Veth::STATE_READY);
  v1::VethEndpoint& a = *veth.mutable_endpoint_a();
  a.mutable_host();
  a.set_interface_name("veth-host");
  a.set_mac_address("02:00:5e:10:00:01");
  a.set_mtu(1500);
  a.set_admin_state(v1::VethEndpoint::ADMIN_STATE_UP);
  a.set_ifindex(12);
  v1::VethEndpoint& b = *veth.mutable_endpoint_b();
  b.set_namespace_("namespaces/blue");
  b.set_interface_name("veth0");
  b.set_mac_address("02:00:5e:10:00:02");
  b.set_mtu(9000);
  b.set_admin_state(v1::VethEndpoint::ADMIN_STATE_DOWN);
  b.set_ifindex(2);
  return veth;
}

// Uplink as a working network.
v1::Veth Network() {
  v1::Veth veth = Uplink();
  veth.mutable_endpoint_a()->add_addresses()->set_address("10.0.0.1/24");
  v1::VethEndpoint& b = *veth.mutable_endpoint_b();
  b.add_addresses()->set_address("10.0.0.2/24");
  b.add_addresses()->set_address("2001:db8::2/64");
  b.mutable_addresses(1)->set_duplicate_detection(v1::Address::DUPLICATE_DETECTION_WAIT);
  b.add_gateways("10.0.0.1");
  v1::Route& route = *b.add_routes();
  route.set_destination("10.1.0.0/16");
  route.set_gateway("10.0.0.1");
  route.set_metric(100);
  b.add_routes()->set_destination("10.9.0.0/16");
  b.mutable_routes(1)->set_type(v1::Route::TYPE_BLACKHOLE);
  b.add_neighbors()->set_address("10.0.0.1");
  b.mutable_neighbors(0)->set_mac_address("02:00:5e:10:00:01");
  return veth;
}

// Blue with all that an object can have besides its shape.
v1::Namespace Leased() {
  v1::Namespace ns = Blue();
  v1::Metadata& metadata = *ns.mutable_metadata();
  metadata.set_owner("ci/job-17");
  metadata.set_creator("uid:1000");
  (*metadata.mutable_labels())["team"] = "net";
  (*metadata.mutable_labels())["env"] = "";
  (*metadata.mutable_labels())["stage"] = "a=b";
  metadata.mutable_ttl()->set_seconds(300);
  metadata.mutable_expire_time()->set_seconds(1767225900);
  metadata.mutable_expire_time()->set_nanos(500'000'000);
  metadata.set_persistent(true);
  metadata.set_self_heal(true);
  ns.set_state(v1::Namespace::STATE_DEGRADED);
  v1::Deviation& deviation = *ns.add_deviations();
  deviation.set_field("loopback");
  deviation.set_expected("up");
  deviation.set_actual("down");
  return ns;
}

v1::Device Tunnel() {
  v1::Device device;
  device.set_name("devices/tunnel");
  device.set_state(v1::Device::STATE_READY);
  device.set_namespace_("namespaces/blue");
  device.set_interface_name("x0");
  device.set_mac_address("02:00:5e:10:00:02");
  device.set_mtu(1450);
  device.set_ifindex(4);
  device.set_lower_interface("eth0");
  device.set_lower_namespace("namespaces/red");
  device.add_addresses()->set_address("10.0.0.1/24");
  device.add_gateways("10.0.0.254");
  device.mutable_vxlan()->set_vni(42);
  device.mutable_vxlan()->set_port(4789);
  device.mutable_vxlan()->set_learning(true);
  device.mutable_vxlan()->mutable_ageing_time()->set_seconds(300);
  v1::Vxlan::FdbEntry& entry = *device.mutable_vxlan()->add_fdb();
  entry.set_mac_address("00:00:00:00:00:00");
  entry.set_destination("192.0.2.1");
  return device;
}

v1::Bridge Lan() {
  v1::Bridge bridge;
  bridge.set_name("bridges/lan");
  bridge.set_state(v1::Bridge::STATE_READY);
  bridge.set_namespace_("namespaces/blue");
  bridge.set_interface_name("br0");
  bridge.set_mac_address("02:00:5e:10:00:01");
  bridge.set_mtu(1500);
  bridge.set_ifindex(3);
  bridge.add_addresses()->set_address("10.0.0.1/24");
  bridge.add_addresses()->set_address("2001:db8::1/64");
  bridge.set_stp(true);
  bridge.mutable_ageing_time()->set_seconds(300);
  bridge.set_priority(7);
  bridge.add_ports("veths/a");
  bridge.add_ports("veths/b");
  return bridge;
}

TEST(BridgeTest, OneAndMany) {
  EXPECT_EQ(*PrintBridge(Format::kDefault, Lan(), kNow),
            "ID   STATE  INTERFACE  LOCATION  MAC                MTU   ADMIN  IFINDEX\n"
            "lan  READY  br0        blue      02:00:5e:10:00:01  1500  UP     3\n"
            "\n"
            "Addresses:   10.0.0.1/24\n"
            "             2001:db8::1/64\n"
            "Options:     stp on\n"
            "             ageing-time 5m\n"
            "             priority 7\n"
            "Ports:       a\n"
            "             b\n");
  v1::Bridge of_host;
  of_host.set_name("bridges/x");
  of_host.set_state(v1::Bridge::STATE_MISSING);
  of_host.mutable_host();
  EXPECT_EQ(*PrintBridges(Format::kDefault, {Lan(), of_host}, kNow),
            "ID   STATE    INTERFACE  LOCATION  ADDRESSES       PORTS\n"
            "lan  READY    br0        blue      10.0.0.1/24 +1  2\n"
            "x    MISSING  -          (host)    -               0\n");
  EXPECT_EQ(*PrintBridges(Format::kName, {Lan(), of_host}, kNow), "bridges/lan\nbridges/x\n");
  EXPECT_THAT(*PrintBridges(Format::kJson, {Lan()}, kNow), HasSubstr("\"bridges\": ["));
  EXPECT_THAT(*PrintBridge(Format::kYaml, Lan(), kNow), HasSubstr("name: \"bridges/lan\""));
  EXPECT_EQ(DescribeBridge(Lan()), "br0 (in blue)");
}

TEST(VethTest, APortIsShownWithItsBridge) {
  v1::Veth veth = Uplink();
  v1::VethEndpoint& a = *veth.mutable_endpoint_a();
  a.set_bridge("bridges/br0");
  a.mutable_bridge_port()->set_isolated(true);
  v1::BridgeVlan& vlan = *a.mutable_bridge_port()->add_vlans();
  vlan.set_first(10);
  vlan.set_last(10);
  vlan.set_pvid(true);
  const std::string text = *PrintVeth(Format::kDefault, veth, kNow);
  EXPECT_THAT(text, HasSubstr("Port of:     br0: isolated on\n"));
  EXPECT_THAT(text, HasSubstr("VLANs:       10 pvid\n"));
  a.clear_bridge();
  a.set_bridge_interface("br-lan");
  EXPECT_THAT(*PrintVeth(Format::kDefault, veth, kNow),
              HasSubstr("Port of:     br-lan (not netprov's): isolated on\n"));
}

TEST(DeviceTest, APortIsShownWithItsBridgeAndTheBridgeWithIt) {
  v1::Device device = Tunnel();
  device.set_bridge("bridges/lan");
  device.mutable_bridge_port()->set_learning(false);
  device.mutable_bridge_port()->add_vlans()->set_first(10);
  const std::string text = *PrintDevice(Format::kDefault, device, kNow);
  EXPECT_THAT(text, HasSubstr("Port of:     lan: learning off\n"));
  EXPECT_THAT(text, HasSubstr("VLANs:       10\n"));
  v1::Bridge bridge = Lan();
  bridge.add_ports("devices/tunnel");
  const std::string shown = *PrintBridge(Format::kDefault, bridge, kNow);
  EXPECT_THAT(shown, HasSubstr("  b\n"));
  EXPECT_THAT(shown, HasSubstr("devices/tunnel\n"));
}

TEST(NamespaceTest, Table) {
  EXPECT_EQ(*PrintNamespace(Format::kTable, Blue(), kNow),
            "NAME  STATE  MANAGED  CREATED               PATH\n"
            "blue  READY  yes      2026-01-01T00:00:00Z  /run/netns/blue\n"
            "\n"
            "UID:         5bd4f2d5-0b70-4d38-9b5e-0c8bbd4a9a3e\n"
            "Cookie:      4097\n");
  EXPECT_EQ(*PrintNamespace(Format::kDefault, Blue(), kNow), *PrintNamespace(Format::kTable, Blue(), kNow));
}

TEST(NamespaceTest, WhatIsSpecialStandsBelowTheTable) {
  EXPECT_EQ(*PrintNamespace(Format::kTable, Leased(), kNow),
            "NAME  STATE     MANAGED  CREATED               PATH\n"
            "blue  DEGRADED  yes      2026-01-01T00:00:00Z  /run/netns/blue\n"
            "\n"
            "UID:         5bd4f2d5-0b70-4d38-9b5e-0c8bbd4a9a3e\n"
            "Cookie:      4097\n"
            "Owner:       ci/job-17\n"
            "Creator:     uid:1000\n"
            "Labels:      env=\n"
            "             stage=a=b\n"
            "             team=net\n"
            "Lease:       5m after the owner's last sign of life; expires in 4m59s, at 2026-01-01T00:05:00Z\n"
            "Persistent:  is made again after a reboot\n"
            "Self-heal:   is put right when somebody else changes it\n"
            "Deviations:  loopback is down, was made up\n");
}

TEST(NamespaceTest, SysctlsStandInOrder) {
  v1::Namespace ns = Blue();
  ns.mutable_metadata()->set_owner("o");
  for (const char* name : {"net.ipv6.b", "net.ipv4.a", "net.ipv4.tcp_rmem"}) (*ns.mutable_sysctls())[name] = "1 2";
  EXPECT_THAT(*PrintNamespace(Format::kTable, ns, kNow), EndsWith("Cookie:      4097\n"
                                                                  "Sysctls:     net.ipv4.a = 1 2\n"
                                                                  "             net.ipv4.tcp_rmem = 1 2\n"
                                                                  "             net.ipv6.b = 1 2\n"
                                                                  "Owner:       o\n"));
  EXPECT_THAT(*PrintNamespace(Format::kJson, ns, kNow), HasSubstr("\"net.ipv4.a\": \"1 2\""));
}

TEST(NamespaceTest, ShowsWhoIsInside) {
  v1::Namespace ns = Blue();
  for (int pid : {4242, 4243}) {
    v1::Namespace::Process& process = *ns.mutable_processes()->add_first();
    process.set_pid(pid);
    process.set_command("a\nb");
  }
  ns.mutable_processes()->set_count(102);
  EXPECT_THAT(*PrintNamespace(Format::kTable, ns, kNow), EndsWith("\n"
                                                                  "Processes:   4242 a\\x0ab\n"
                                                                  "             4243 a\\x0ab\n"
                                                                  "             and 100 more\n"));
}

TEST(NamespaceTest, LeaseOfWhatIsNotThereYetHasNoEnd) {
  v1::Namespace ns = Blue();
  ns.mutable_metadata()->mutable_ttl()->set_seconds(1);
  ns.mutable_metadata()->mutable_ttl()->set_nanos(500'000'000);
  EXPECT_THAT(*PrintNamespace(Format::kTable, ns, kNow),
              EndsWith("\nLease:       1.5s after the owner's last sign of life\n"));
}

TEST(NamespaceTest, TextOfOthersDoesNothingToTheTerminal) {
  v1::Namespace ns = Blue();
  (*ns.mutable_metadata()->mutable_labels())["a"] = "\x1b[2J";
  ns.add_deviations()->set_field("\n");
  EXPECT_THAT(*PrintNamespace(Format::kTable, ns, kNow),
              EndsWith("\nLabels:      a=\\x1b[2J\nDeviations:  \\x0a is (nothing), was made (nothing)\n"));
}

TEST(NamespaceTest, JsonOfMetadataAndDeviations) {
  EXPECT_THAT(*PrintNamespace(Format::kJson, Leased(), kNow), EndsWith(R"(  "metadata": {
    "owner": "ci/job-17",
    "labels": {
      "env": "",
      "stage": "a=b",
      "team": "net"
    },
    "ttl": "300s",
    "expire_time": "2026-01-01T00:05:00.500Z",
    "persistent": true,
    "self_heal": true,
    "creator": "uid:1000"
  },
  "deviations": [
    {
      "field": "loopback",
      "expected": "up",
      "actual": "down"
    }
  ],
  "sysctls": {},
  "adopted": false
}
)"));
}

TEST(NamespaceTest, Json) {
  EXPECT_EQ(*PrintNamespace(Format::kJson, Blue(), kNow), R"({
  "name": "namespaces/blue",
  "uid": "5bd4f2d5-0b70-4d38-9b5e-0c8bbd4a9a3e",
  "create_time": "2026-01-01T00:00:00Z",
  "managed": true,
  "state": "STATE_READY",
  "path": "/run/netns/blue",
  "cookie": "4097",
  "deviations": [],
  "sysctls": {},
  "adopted": false
}
)");
}

TEST(NamespaceTest, YamlIsTheSameDocument) {
  EXPECT_EQ(*PrintNamespace(Format::kYaml, Blue(), kNow), R"(name: "namespaces/blue"
uid: "5bd4f2d5-0b70-4d38-9b5e-0c8bbd4a9a3e"
create_time: "2026-01-01T00:00:00Z"
managed: true
state: "STATE_READY"
path: "/run/netns/blue"
cookie: "4097"
deviations: []
sysctls: {}
adopted: false
)");
}

TEST(NamespaceTest, Name) { EXPECT_EQ(*PrintNamespace(Format::kName, Blue(), kNow), "namespaces/blue\n"); }

TEST(NamespaceTest, TimeThatJsonCannotExpressIsAnError) {
  v1::Namespace ns = Blue();
  ns.mutable_create_time()->set_seconds(int64_t{1} << 50);
  EXPECT_TRUE(absl::IsInternal(PrintNamespace(Format::kJson, ns, kNow).status()));
}

TEST(NamespaceWithLinksTest, TableOfTheEndsInsideAndWhatTheyHave) {
  v1::Veth elsewhere = Network();
  elsewhere.mutable_endpoint_b()->set_namespace_("namespaces/blue2");
  EXPECT_EQ(*PrintNamespaceWithLinks(Format::kDefault, Blue(), {.veths = {elsewhere, Network()}}, kNow),
            *PrintNamespace(Format::kTable, Blue(), kNow) +
                "\n"
                "INTERFACE  PAIR    STATE  ADMIN  MAC                MTU   PEER       PEER-LOCATION\n"
                "veth0      uplink  READY  DOWN   02:00:5e:10:00:02  9000  veth-host  (host)\n"
                "\n"
                "veth0\n"
                "  Addresses:   10.0.0.2/24\n"
                "               2001:db8::2/64,dad\n"
                "  Gateways:    10.0.0.1\n"
                "  Routes:      10.1.0.0/16 via 10.0.0.1 metric 100\n"
                "               blackhole 10.9.0.0/16\n"
                "  Neighbors:   10.0.0.1=02:00:5e:10:00:01\n");
}

TEST(NamespaceWithLinksTest, PairInsideOneNamespaceHasTwoLines) {
  v1::Veth loop = Uplink();
  loop.mutable_endpoint_a()->set_namespace_("namespaces/blue");
  loop.mutable_endpoint_a()->add_addresses()->set_address("10.0.0.1/24");
  EXPECT_EQ(*PrintNamespaceWithLinks(Format::kTable, Leased(), {.veths = {loop}}, kNow),
            *PrintNamespace(Format::kTable, Leased(), kNow) +
                "\n"
                "INTERFACE  PAIR    STATE  ADMIN  MAC                MTU   PEER       PEER-LOCATION\n"
                "veth-host  uplink  READY  UP     02:00:5e:10:00:01  1500  veth0      blue\n"
                "veth0      uplink  READY  DOWN   02:00:5e:10:00:02  9000  veth-host  blue\n"
                "\n"
                "veth-host\n"
                "  Addresses:   10.0.0.1/24\n");
}

TEST(NamespaceWithLinksTest, WithoutAnyItIsTheNamespaceAlone) {
  v1::Veth elsewhere = Uplink();
  elsewhere.mutable_endpoint_b()->clear_location();
  for (const Format format : {Format::kDefault, Format::kTable, Format::kName}) {
    EXPECT_EQ(*PrintNamespaceWithLinks(format, Blue(), {.veths = {elsewhere}}, kNow),
              *PrintNamespace(format, Blue(), kNow));
  }
}

TEST(NamespaceWithLinksTest, DocumentIsTheNamespaceAndThreeMembersMore) {
  EXPECT_EQ(*PrintNamespaceWithLinks(Format::kYaml, Blue(), {.veths = {}}, kNow),
            *PrintNamespace(Format::kYaml, Blue(), kNow) + "veths: []\nbridges: []\ndevices: []\n");
  v1::Veth elsewhere = Uplink();
  elsewhere.mutable_endpoint_b()->set_namespace_("namespaces/red");
  const std::string list = *PrintVeths(Format::kYaml, {Network()}, kNow);
  EXPECT_EQ(*PrintNamespaceWithLinks(Format::kYaml, Blue(), {.veths = {elsewhere, Network()}}, kNow),
            *PrintNamespace(Format::kYaml, Blue(), kNow) + list + "bridges: []\ndevices: []\n");
  EXPECT_THAT(
      *PrintNamespaceWithLinks(Format::kJson, Blue(), {.veths = {}}, kNow),
      EndsWith(
          "  \"deviations\": [],\n  \"sysctls\": {},\n  \"adopted\": false,\n  \"veths\": [],\n  \"bridges\": [],\n"
          "  \"devices\": []\n}\n"));
}

TEST(NamespaceWithLinksTest, BridgesAndDevicesStandBelow) {
  v1::Bridge bridge;
  bridge.set_name("bridges/inner");
  bridge.set_namespace_("namespaces/blue");
  v1::Bridge of_host;
  of_host.set_name("bridges/outer");
  of_host.mutable_host();
  v1::Device device;
  device.set_name("devices/m0");
  device.set_namespace_("namespaces/blue");
  device.mutable_macvlan();
  v1::Device elsewhere = device;
  elsewhere.set_namespace_("namespaces/red");
  const Links links{.bridges = {of_host, bridge}, .devices = {elsewhere, device}};
  EXPECT_EQ(*PrintNamespaceWithLinks(Format::kTable, Blue(), links, kNow),
            *PrintNamespace(Format::kTable, Blue(), kNow) + "\n" + *PrintBridges(Format::kTable, {bridge}, kNow) +
                "\n" + *PrintDevices(Format::kTable, {device}, kNow));
  EXPECT_EQ(*PrintNamespaceWithLinks(Format::kYaml, Blue(), links, kNow),
            *PrintNamespace(Format::kYaml, Blue(), kNow) + "veths: []\n" +
                *PrintBridges(Format::kYaml, {bridge}, kNow) + *PrintDevices(Format::kYaml, {device}, kNow));
}

TEST(NamespaceWithLinksTest, NamesAreAsWithoutLinks) {
  EXPECT_EQ(*PrintNamespaceWithLinks(Format::kName, Blue(), {.veths = {Uplink()}}, kNow), "namespaces/blue\n");
}

TEST(NamespacesTest, Table) {
  EXPECT_EQ(*PrintNamespaces(Format::kTable, {Blue(), Foreign()}, kNow),
            "NAME      STATE  MANAGED  OWNER  CREATED\n"
            "blue      READY  yes      -      2026-01-01T00:00:00Z\n"
            "my%20own  STALE  no       -      -\n");
}

TEST(NamespacesTest, OneThatWasAdoptedIsKnownByThat) {
  v1::Namespace adopted = Blue();
  adopted.set_adopted(true);
  EXPECT_EQ(*PrintNamespaces(Format::kTable, {adopted}, kNow),
            "NAME  STATE  MANAGED  OWNER  CREATED\n"
            "blue  READY  adopted  -      2026-01-01T00:00:00Z\n");
  EXPECT_THAT(*PrintNamespace(Format::kTable, adopted, kNow), HasSubstr("\nblue  READY  adopted  2026-01-01"));
}

TEST(NamespacesTest, ExpiryIsShownWhereAnyHasOne) {
  EXPECT_EQ(*PrintNamespaces(Format::kTable, {Leased(), Foreign()}, kNow),
            "NAME      STATE     MANAGED  OWNER      CREATED               EXPIRES\n"
            "blue      DEGRADED  yes      ci/job-17  2026-01-01T00:00:00Z  4m59s\n"
            "my%20own  STALE     no       -          -                     -\n");
  EXPECT_THAT(*PrintNamespaces(Format::kTable, {Leased()}, kNow + absl::Hours(1)), EndsWith("Z  0s\n"))
      << "is about to be deleted";
}

TEST(NamespacesTest, EmptyTableIsItsHeader) {
  EXPECT_EQ(*PrintNamespaces(Format::kTable, {}, kNow), "NAME  STATE  MANAGED  OWNER  CREATED\n");
}

TEST(NamespacesTest, JsonHasDefaultsAndLeavesOutWhatIsNotSet) {
  EXPECT_EQ(*PrintNamespaces(Format::kJson, {Foreign()}, kNow), R"({
  "namespaces": [
    {
      "name": "namespaces/my%20own",
      "uid": "",
      "managed": false,
      "state": "STATE_STALE",
      "path": "/run/netns/my own",
      "cookie": "0",
      "deviations": [],
      "sysctls": {},
      "adopted": false
    }
  ]
}
)");
  EXPECT_EQ(*PrintNamespaces(Format::kJson, {}, kNow), "{\n  \"namespaces\": []\n}\n");
}

TEST(NamespacesTest, Yaml) {
  EXPECT_EQ(*PrintNamespaces(Format::kYaml, {Foreign()}, kNow), R"(namespaces:
  - name: "namespaces/my%20own"
    uid: ""
    managed: false
    state: "STATE_STALE"
    path: "/run/netns/my own"
    cookie: "0"
    deviations: []
    sysctls: {}
    adopted: false
)");
  EXPECT_EQ(*PrintNamespaces(Format::kYaml, {}, kNow), "namespaces: []\n");
}

TEST(NamespacesTest, Names) {
  EXPECT_EQ(*PrintNamespaces(Format::kName, {Blue(), Foreign()}, kNow), "namespaces/blue\nnamespaces/my%20own\n");
  EXPECT_EQ(*PrintNamespaces(Format::kName, {}, kNow), "");
}

TEST(VethTest, TableHasALineForEachEnd) {
  EXPECT_EQ(*PrintVeth(Format::kTable, Uplink(), kNow),
            "NAME    STATE  END  INTERFACE  LOCATION  MAC                MTU   ADMIN  IFINDEX\n"
            "uplink  READY  a    veth-host  (host)    02:00:5e:10:00:01  1500  UP     12\n"
            "uplink  READY  b    veth0      blue      02:00:5e:10:00:02  9000  DOWN   2\n");
}

TEST(VethTest, Json) {
  EXPECT_EQ(*PrintVeth(Format::kJson, Uplink(), kNow), R"({
  "name": "veths/uplink",
  "uid": "9a3e5bd4-0b70-4d38-9b5e-f2d50c8bbd4a",
  "create_time": "2026-01-01T00:00:00.250Z",
  "state": "STATE_READY",
  "endpoint_a": {
    "host": {},
    "interface_name": "veth-host",
    "mac_address": "02:00:5e:10:00:01",
    "mtu": 1500,
    "admin_state": "ADMIN_STATE_UP",
    "ifindex": 12,
    "addresses": [],
    "gateways": [],
    "routes": [],
    "neighbors": [],
    "alternative_names": [],
    "tx_queues": 0,
    "rx_queues": 0,
    "promiscuous": false,
    "all_multicast": false,
    "bridge": "",
    "bridge_interface": "",
    "masquerade": false,
    "port_forwards": [],
    "ip_forwarding": false,
    "alias": "",
    "announce": false
  },
  "endpoint_b": {
    "namespace": "namespaces/blue",
    "interface_name": "veth0",
    "mac_address": "02:00:5e:10:00:02",
    "mtu": 9000,
    "admin_state": "ADMIN_STATE_DOWN",
    "ifindex": 2,
    "addresses": [],
    "gateways": [],
    "routes": [],
    "neighbors": [],
    "alternative_names": [],
    "tx_queues": 0,
    "rx_queues": 0,
    "promiscuous": false,
    "all_multicast": false,
    "bridge": "",
    "bridge_interface": "",
    "masquerade": false,
    "port_forwards": [],
    "ip_forwarding": false,
    "alias": "",
    "announce": false
  },
  "deviations": []
}
)");
}

TEST(VethTest, Yaml) {
  EXPECT_EQ(*PrintVeth(Format::kYaml, Uplink(), kNow), R"(name: "veths/uplink"
uid: "9a3e5bd4-0b70-4d38-9b5e-f2d50c8bbd4a"
create_time: "2026-01-01T00:00:00.250Z"
state: "STATE_READY"
endpoint_a:
  host: {}
  interface_name: "veth-host"
  mac_address: "02:00:5e:10:00:01"
  mtu: 1500
  admin_state: "ADMIN_STATE_UP"
  ifindex: 12
  addresses: []
  gateways: []
  routes: []
  neighbors: []
  alternative_names: []
  tx_queues: 0
  rx_queues: 0
  promiscuous: false
  all_multicast: false
  bridge: ""
  bridge_interface: ""
  masquerade: false
  port_forwards: []
  ip_forwarding: false
  alias: ""
  announce: false
endpoint_b:
  namespace: "namespaces/blue"
  interface_name: "veth0"
  mac_address: "02:00:5e:10:00:02"
  mtu: 9000
  admin_state: "ADMIN_STATE_DOWN"
  ifindex: 2
  addresses: []
  gateways: []
  routes: []
  neighbors: []
  alternative_names: []
  tx_queues: 0
  rx_queues: 0
  promiscuous: false
  all_multicast: false
  bridge: ""
  bridge_interface: ""
  masquerade: false
  port_forwards: []
  ip_forwarding: false
  alias: ""
  announce: false
deviations: []
)");
}

TEST(VethTest, WhatIsSpecialStandsBelowTheTable) {
  v1::Veth veth = Uplink();
  veth.mutable_metadata()->set_owner("ci");
  veth.set_state(v1::Veth::STATE_DEGRADED);
  v1::Deviation& mtu = *veth.add_deviations();
  mtu.set_field("endpoint_a.mtu");
  mtu.set_expected("1500");
  mtu.set_actual("1400");
  v1::Deviation& state = *veth.add_deviations();
  state.set_field("endpoint_b.admin_state");
  state.set_expected("up");
  state.set_actual("down");
  EXPECT_THAT(*PrintVeth(Format::kTable, veth, kNow),
              EndsWith("  2\n"
                       "\n"
                       "Owner:       ci\n"
                       "Deviations:  endpoint_a.mtu is 1400, was made 1500\n"
                       "             endpoint_b.admin_state is down, was made up\n"));
}

TEST(VethTest, APlaceIsShownAsItWasGiven) {
  v1::Veth veth = Network();
  veth.mutable_endpoint_a()->set_netns_path("/run/x");
  veth.mutable_endpoint_b()->set_pid(4242);
  const std::string text = *PrintVeth(Format::kTable, veth, kNow);
  EXPECT_THAT(text, HasSubstr("\nuplink  READY  a    veth-host  /run/x      02:"));
  EXPECT_THAT(text, HasSubstr("\nuplink  READY  b    veth0      (pid 4242)  02:"));
  EXPECT_THAT(text, HasSubstr("\na: veth-host in /run/x\n"));
  EXPECT_THAT(text, HasSubstr("\nb: veth0 (pid 4242)\n"));
}

TEST(VethTest, WhatEachEndHasStandsAtTheBottom) {
  v1::Veth veth = Network();
  veth.mutable_metadata()->set_owner("ci");
  EXPECT_THAT(*PrintVeth(Format::kTable, veth, kNow), EndsWith("  2\n"
                                                               "\n"
                                                               "Owner:       ci\n"
                                                               "\n"
                                                               "a: veth-host (host)\n"
                                                               "  Addresses:   10.0.0.1/24\n"
                                                               "\n"
                                                               "b: veth0 in blue\n"
                                                               "  Addresses:   10.0.0.2/24\n"
                                                               "               2001:db8::2/64,dad\n"
                                                               "  Gateways:    10.0.0.1\n"
                                                               "  Routes:      10.1.0.0/16 via 10.0.0.1 metric 100\n"
                                                               "               blackhole 10.9.0.0/16\n"
                                                               "  Neighbors:   10.0.0.1=02:00:5e:10:00:01\n"));
}

TEST(VethTest, LinkOptions) {
  v1::Veth veth = Uplink();
  v1::VethEndpoint& a = *veth.mutable_endpoint_a();
  a.clear_location();
  a.add_alternative_names("wan");
  a.add_alternative_names(
      "to\x1b"
      "blue");
  a.set_tx_queues(4);
  a.set_promiscuous(true);
  a.set_all_multicast(true);
  v1::OffloadLimits& limits = *a.mutable_offload_limits();
  limits.set_gso_max_size(1);
  limits.set_gso_max_segments(2);
  limits.set_gro_max_size(3);
  limits.set_gso_ipv4_max_size(4);
  limits.set_gro_ipv4_max_size(5);
  veth.mutable_endpoint_b()->set_tx_queues(1);
  veth.mutable_endpoint_b()->set_rx_queues(1);
  EXPECT_THAT(*PrintVeth(Format::kTable, veth, kNow), EndsWith("  2\n"
                                                               "\n"
                                                               "a: veth-host\n"
                                                               "  Also named:  wan\n"
                                                               "               to\\x1bblue\n"
                                                               "  Queues:      4 tx, 1 rx\n"
                                                               "  Receives:    what is for others (promiscuous)\n"
                                                               "               all multicast\n"
                                                               "  Limits:      gso-max-size 1\n"
                                                               "               gso-max-segments 2\n"
                                                               "               gro-max-size 3\n"
                                                               "               gso-ipv4-max-size 4\n"
                                                               "               gro-ipv4-max-size 5\n"));
}

TEST(VethTest, Rates) {
  v1::Veth veth = Uplink();
  v1::VethEndpoint& b = *veth.mutable_endpoint_b();
  b.mutable_ingress_limit()->set_rate(10'000'000);
  b.mutable_ingress_limit()->set_burst(32768);
  b.mutable_ingress_limit()->mutable_latency()->set_nanos(50'000'000);
  b.mutable_egress_limit()->set_rate(64000);
  b.mutable_egress_limit()->set_burst(1514);
  b.mutable_egress_limit()->mutable_latency()->set_seconds(1);
  EXPECT_THAT(*PrintVeth(Format::kTable, veth, kNow),
              EndsWith("  Rates:       receives 10mbit burst 32768 latency 50ms\n"
                       "               sends 64kbit burst 1514 latency 1s\n"));
  EXPECT_THAT(*PrintVeth(Format::kJson, veth, kNow), HasSubstr("\"ingress_limit\": {"));
}

TEST(VethTest, WhatIsTranslated) {
  v1::Veth veth = Uplink();
  v1::VethEndpoint& b = *veth.mutable_endpoint_b();
  b.set_masquerade(true);
  v1::PortForward& web = *b.add_port_forwards();
  web.set_host_port(8080);
  web.set_host_port_last(8080);
  web.set_port(80);
  v1::PortForward& dns = *b.add_port_forwards();
  dns.set_protocol(v1::PortForward::PROTOCOL_UDP);
  dns.set_host_address("2001:db8::1");
  dns.set_host_port(53);
  b.set_ip_forwarding(true);
  EXPECT_THAT(*PrintVeth(Format::kTable, veth, kNow), EndsWith("  Masqueraded: as the link that it leaves by\n"
                                                               "  Publishes:   8080:80/tcp\n"
                                                               "               [2001:db8::1]:53:53/udp\n"
                                                               "  Forwarding:  on, where the other end is\n"));
  EXPECT_THAT(*PrintVeth(Format::kJson, veth, kNow), HasSubstr("\"port_forwards\": ["));
}

TEST(VethsTest, AddressesAreShownWhereAnyHasOne) {
  v1::Veth leased = Uplink();
  leased.mutable_metadata()->mutable_expire_time()->set_seconds(1767225600 + 86401);
  EXPECT_EQ(*PrintVeths(Format::kTable, {Network(), leased}, kNow),
            "NAME    STATE  OWNER  INTERFACE  LOCATION  PEER   PEER-LOCATION  ADDRESSES    PEER-ADDRESSES  EXPIRES\n"
            "uplink  READY  -      veth-host  (host)    veth0  blue           10.0.0.1/24  10.0.0.2/24 +1  -\n"
            "uplink  READY  -      veth-host  (host)    veth0  blue           -            -               24h\n");
}

TEST(VethsTest, ExpiryIsShownWhereAnyHasOne) {
  v1::Veth veth = Uplink();
  veth.mutable_metadata()->set_owner("ci");
  veth.set_state(v1::Veth::STATE_MISSING);
  veth.mutable_metadata()->mutable_expire_time()->set_seconds(1767225600 + 86401);
  EXPECT_EQ(*PrintVeths(Format::kTable, {veth}, kNow),
            "NAME    STATE    OWNER  INTERFACE  LOCATION  PEER   PEER-LOCATION  EXPIRES\n"
            "uplink  MISSING  ci     veth-host  (host)    veth0  blue           24h\n");
}

TEST(VethsTest, TableJsonYamlAndNames) {
  EXPECT_EQ(*PrintVeths(Format::kTable, {Uplink()}, kNow),
            "NAME    STATE  OWNER  INTERFACE  LOCATION  PEER   PEER-LOCATION\n"
            "uplink  READY  -      veth-host  (host)    veth0  blue\n");
  EXPECT_EQ(*PrintVeths(Format::kName, {Uplink()}, kNow), "veths/uplink\n");
  EXPECT_EQ(*PrintVeths(Format::kJson, {}, kNow), "{\n  \"veths\": []\n}\n");
  EXPECT_EQ(PrintVeths(Format::kYaml, {Uplink()}, kNow)->find("veths:\n  - name: \"veths/uplink\"\n    uid: "), 0);
}

TEST(VethsTest, ValuesOfALaterServerAreShownAsNumbers) {
  v1::Veth veth = Uplink();
  veth.set_state(static_cast<v1::Veth::State>(9));
  veth.mutable_endpoint_b()->clear_location();
  EXPECT_EQ(*PrintVeths(Format::kTable, {veth}, kNow),
            "NAME    STATE  OWNER  INTERFACE  LOCATION  PEER   PEER-LOCATION\n"
            "uplink  9      -      veth-host  (host)    veth0  -\n");
}

v1::RenewLeaseResponse Renewal(int renewed) {
  v1::RenewLeaseResponse renewal;
  renewal.set_renewed(renewed);
  if (renewed > 0) renewal.mutable_expire_time()->set_seconds(1767225900);
  return renewal;
}

TEST(RenewalTest, Sentence) {
  EXPECT_EQ(*PrintRenewal(Format::kDefault, "ci", Renewal(2), kNow),
            "Renewed 2 leases of ci; the first expires in 4m59s\n");
  EXPECT_EQ(*PrintRenewal(Format::kDefault, "ci", Renewal(1), kNow), "Renewed 1 lease of ci; it expires in 4m59s\n");
  EXPECT_EQ(*PrintRenewal(Format::kDefault, "ci", Renewal(0), kNow), "There are no leases of ci\n");
}

TEST(RenewalTest, OtherForms) {
  EXPECT_EQ(*PrintRenewal(Format::kTable, "ci", Renewal(2), kNow),
            "OWNER  LEASES  EXPIRES\n"
            "ci     2       4m59s\n");
  EXPECT_EQ(*PrintRenewal(Format::kTable, "ci", Renewal(0), kNow),
            "OWNER  LEASES  EXPIRES\n"
            "ci     0       -\n");
  EXPECT_EQ(*PrintRenewal(Format::kJson, "ci", Renewal(2), kNow),
            "{\n  \"renewed\": 2,\n  \"expire_time\": \"2026-01-01T00:05:00Z\"\n}\n");
  EXPECT_EQ(*PrintRenewal(Format::kYaml, "ci", Renewal(0), kNow), "renewed: 0\n");
}

TEST(GarbageTest, AllFormats) {
  v1::CollectGarbageResponse garbage;
  garbage.add_deleted("veths/v1");
  garbage.add_deleted("namespaces/old");
  v1::CollectGarbageResponse::Failure& failure = *garbage.add_failures();
  failure.set_name("namespaces/blue");
  failure.set_message("veths/uplink ends in it");
  EXPECT_EQ(*PrintGarbage(Format::kDefault, garbage, /*trial=*/true), "veths/v1\nnamespaces/old\n");
  EXPECT_EQ(*PrintGarbage(Format::kName, garbage, /*trial=*/false), "veths/v1\nnamespaces/old\n");
  EXPECT_EQ(*PrintGarbage(Format::kTable, garbage, /*trial=*/true),
            "NAME             RESULT\n"
            "veths/v1         would be deleted\n"
            "namespaces/old   would be deleted\n"
            "namespaces/blue  veths/uplink ends in it\n");
  EXPECT_THAT(*PrintGarbage(Format::kTable, garbage, /*trial=*/false), HasSubstr("veths/v1         deleted\n"));
  EXPECT_EQ(*PrintGarbage(Format::kJson, garbage, /*trial=*/false), R"({
  "deleted": [
    "veths/v1",
    "namespaces/old"
  ],
  "failures": [
    {
      "name": "namespaces/blue",
      "message": "veths/uplink ends in it"
    }
  ]
}
)");
  EXPECT_EQ(*PrintGarbage(Format::kYaml, v1::CollectGarbageResponse(), /*trial=*/false), "deleted: []\nfailures: []\n");
}

v1::HostReport Report(const std::vector<std::pair<v1::Finding::Kind, std::string>>& findings) {
  v1::HostReport report;
  report.mutable_time()->set_seconds(1767225600);
  report.set_objects(12);
  for (const auto& [kind, resource] : findings) {
    v1::Finding& finding = *report.add_findings();
    finding.set_kind(kind);
    finding.set_resource(resource);
    finding.set_detail("why " + resource);
  }
  return report;
}

TEST(HostReportTest, AllIsWell) {
  v1::HostReport report = Report({});
  report.set_at_start(true);
  EXPECT_EQ(*PrintHostReport(Format::kDefault, report),
            "Checked at 2026-01-01T00:00:00Z, when the server started: 12 objects compared\n"
            "The registry can be written\n"
            "Nothing needs attention\n");
  report.set_at_start(false);
  report.set_objects(1);
  EXPECT_THAT(*PrintHostReport(Format::kDefault, report),
              StartsWith("Checked at 2026-01-01T00:00:00Z: 1 object compared\n"));
}

TEST(HostReportTest, FindingsAreGroupedAndThoseThatNeedAttentionComeFirst) {
  v1::HostReport report = Report({{v1::Finding::KIND_FOREIGN_TAG, "links/x"},
                                  {v1::Finding::KIND_MISSING, "namespaces/b"},
                                  {v1::Finding::KIND_UNFINISHED, "veths/u"},
                                  {v1::Finding::KIND_MISSING, "namespaces/a"}});
  report.mutable_findings(2)->clear_detail();
  report.set_registry_fault("the disk is full");
  report.add_configuration_faults("the policy is broken");
  EXPECT_EQ(*PrintHostReport(Format::kDefault, report),
            "Checked at 2026-01-01T00:00:00Z: 12 objects compared\n"
            "The registry can't be written (needs attention): the disk is full\n"
            "Configuration is not in use (needs attention): the policy is broken\n"
            "\n"
            "Begun and not finished (needs attention):\n"
            "  veths/u\n"
            "\n"
            "Gone from the kernel (needs attention):\n"
            "  namespaces/b: why namespaces/b\n"
            "  namespaces/a: why namespaces/a\n"
            "\n"
            "Tagged by somebody else, left alone:\n"
            "  links/x: why links/x\n"
            "\n"
            "To look after: the registry, the configuration, 3 findings\n");
}

TEST(WhoAmITest, GrantsAreATable) {
  v1::WhoAmIResponse answer;
  answer.mutable_identity()->set_name("uid:1000");
  answer.mutable_identity()->set_peer("pid:7");
  v1::Grant& grant = *answer.add_grants();
  grant.set_rule("ci");
  grant.set_role("operator");
  grant.add_resources("namespaces/ci-*");
  grant.add_resources("veths/ci-*");
  (*grant.mutable_labels())["team"] = "ci";
  grant.add_rights("host");
  const std::string table =
      "RULE  ROLE      RESOURCES                   LABELS   RIGHTS\n"
      "ci    operator  namespaces/ci-*,veths/ci-*  team=ci  host\n";
  EXPECT_EQ(*PrintWhoAmI(Format::kTable, answer), table);
  EXPECT_EQ(*PrintWhoAmI(Format::kDefault, answer), "You are uid:1000, calling from pid:7\n\nYou may:\n" + table);
  EXPECT_EQ(*PrintWhoAmI(Format::kName, answer), "uid:1000\n");
  answer.mutable_call_limits()->set_calls_per_second(50);
  answer.mutable_call_limits()->set_burst(100);
  answer.mutable_call_limits()->set_concurrent_calls(16);
  v1::Quota& links = *answer.add_quotas();
  links.set_quota("links");
  links.set_usage(12);
  links.set_limit(400);
  answer.add_quotas()->set_quota("routes");
  EXPECT_EQ(*PrintWhoAmI(Format::kDefault, answer),
            "You are uid:1000, calling from pid:7\n\nYou may:\n" + table +
                "\nYour calls, at most: 50 a second, 100 at once after a rest, 16 under way\n"
                "\nQUOTA   IN USE  AT MOST\n"
                "links   12      400\n"
                "routes  0       any number\n");
  EXPECT_EQ(*PrintWhoAmI(Format::kTable, answer), table);
  EXPECT_THAT(*PrintWhoAmI(Format::kJson, answer), HasSubstr("\"resources\": ["));
}

TEST(HostReportTest, WhatWasPutRightOrIsNotOursNeedsNoAttention) {
  for (int number = 1; number < v1::Finding::Kind_ARRAYSIZE; ++number) {
    const auto kind = static_cast<v1::Finding::Kind>(number);
    bool expected = false;
    switch (kind) {
      case v1::Finding::KIND_UNFINISHED:
      case v1::Finding::KIND_ORPHAN:
      case v1::Finding::KIND_NOT_RESTORED:
      case v1::Finding::KIND_MISSING:
      case v1::Finding::KIND_DEGRADED:
      case v1::Finding::KIND_UNREADABLE:
        expected = true;
        break;
      default:
        break;
    }
    const v1::HostReport report = Report({{kind, "namespaces/blue"}});
    EXPECT_EQ(NeedsAttention(report), expected) << v1::Finding::Kind_Name(kind);
    const std::string text = *PrintHostReport(Format::kDefault, report);
    EXPECT_THAT(text, Not(HasSubstr("does not know"))) << v1::Finding::Kind_Name(kind);
    EXPECT_THAT(text, EndsWith(expected ? "To look after: 1 finding\n" : "Nothing needs attention\n"));
  }
}

TEST(HostReportTest, RegistryFaultAndKindsOfALaterServerNeedAttention) {
  v1::HostReport report = Report({});
  EXPECT_FALSE(NeedsAttention(report));
  report.set_registry_fault("read-only file system");
  EXPECT_TRUE(NeedsAttention(report));
  report = Report({{static_cast<v1::Finding::Kind>(99), "bridges/b"}});
  EXPECT_TRUE(NeedsAttention(report));
  EXPECT_THAT(*PrintHostReport(Format::kDefault, report),
              HasSubstr("Of a kind that this program does not know (needs attention):\n  bridges/b: why bridges/b\n"));
  EXPECT_EQ(*PrintHostReport(Format::kTable, report),
            "KIND  RESOURCE   DETAIL\n"
            "99    bridges/b  why bridges/b\n");
}

TEST(HostReportTest, OtherForms) {
  const v1::HostReport report =
      Report({{v1::Finding::KIND_ORPHAN_REMOVED, "links/a"}, {v1::Finding::KIND_DEGRADED, "veths/b"}});
  EXPECT_EQ(*PrintHostReport(Format::kTable, report),
            "KIND            RESOURCE  DETAIL\n"
            "ORPHAN_REMOVED  links/a   why links/a\n"
            "DEGRADED        veths/b   why veths/b\n");
  EXPECT_EQ(*PrintHostReport(Format::kName, report), "links/a\nveths/b\n");
  EXPECT_EQ(*PrintHostReport(Format::kYaml, report), R"(time: "2026-01-01T00:00:00Z"
at_start: false
objects: 12
registry_fault: ""
findings:
  - kind: "KIND_ORPHAN_REMOVED"
    resource: "links/a"
    detail: "why links/a"
  - kind: "KIND_DEGRADED"
    resource: "veths/b"
    detail: "why veths/b"
configuration_faults: []
)");
}

TEST(PrintNameTest, AllFormats) {
  EXPECT_EQ(*PrintName(Format::kName, "veths/uplink"), "veths/uplink\n");
  EXPECT_EQ(*PrintName(Format::kJson, "veths/uplink"), "{\n  \"name\": \"veths/uplink\"\n}\n");
  EXPECT_EQ(*PrintName(Format::kYaml, "veths/uplink"), "name: \"veths/uplink\"\n");
  EXPECT_EQ(*PrintName(Format::kTable, "veths/uplink"), "NAME\nuplink\n");
}

TEST(DescribeVethTest, NamesNamespacesButNotTheHost) {
  v1::Veth veth = Uplink();
  EXPECT_EQ(DescribeVeth(veth), "veth-host <-> veth0 (in blue)");
  veth.mutable_endpoint_a()->set_namespace_("namespaces/red");
  EXPECT_EQ(DescribeVeth(veth), "veth-host (in red) <-> veth0 (in blue)");
  veth.mutable_endpoint_a()->set_netns_path("/run/x");
  veth.mutable_endpoint_b()->set_pid(4242);
  EXPECT_EQ(DescribeVeth(veth), "veth-host (in /run/x) <-> veth0 (in process 4242)");
}

TEST(PrintableTest, ControlCharactersAreEscaped) {
  EXPECT_EQ(Printable("a\x1b[31m\n\x7f\xc3\xa4"), "a\\x1b[31m\\x0a\\x7f\xc3\xa4");
  v1::Namespace ns = Foreign();
  ns.set_path("/run/netns/\x1b[2J");
  EXPECT_NE(PrintNamespace(Format::kTable, ns, kNow)->find("/run/netns/\\x1b[2J"), std::string::npos);
}

std::vector<v1::Link> Links() {
  std::vector<v1::Link> links(3);
  links[0].set_name("host/links/1");
  links[0].set_ifindex(1);
  links[0].set_interface_name("lo");
  links[0].set_mac_address("00:00:00:00:00:00");
  links[0].set_mtu(65536);
  links[0].set_admin_state(v1::VethEndpoint::ADMIN_STATE_UP);
  links[0].mutable_statistics()->set_rx_bytes(uint64_t{1} << 40);
  links[1].set_name("host/links/7");
  links[1].set_ifindex(7);
  links[1].set_interface_name("h0");
  links[1].set_kind("veth");
  links[1].set_mac_address("02:00:5e:10:00:01");
  links[1].set_mtu(1500);
  links[1].set_admin_state(v1::VethEndpoint::ADMIN_STATE_UP);
  links[1].set_oper_state(v1::Link::OPER_STATE_LOWER_LAYER_DOWN);
  links[1].mutable_statistics()->set_tx_bytes(90);
  links[1].set_object("veths/v");
  links[2].set_name("host/links/9");
  links[2].set_ifindex(9);
  links[2].set_interface_name("x\x1b");
  links[2].set_kind("dummy");
  links[2].set_admin_state(v1::VethEndpoint::ADMIN_STATE_DOWN);
  links[2].set_oper_state(static_cast<v1::Link::OperState>(77));
  return links;
}

TEST(InspectionTest, LinksAsATable) {
  EXPECT_EQ(
      *PrintLinks(Format::kDefault, Links()),
      "IFINDEX  INTERFACE  KIND   ADMIN  OPER              MAC                MTU    RX-BYTES       TX-BYTES  OBJECT\n"
      "1        lo         -      UP     -                 00:00:00:00:00:00  65536  1099511627776  0         -\n"
      "7        h0         veth   UP     LOWER_LAYER_DOWN  02:00:5e:10:00:01  1500   0              90        veths/v\n"
      "9        x\\x1b      dummy  DOWN   77                -                  -      0              0         -\n");
}

TEST(InspectionTest, MastersAreNamedWhereThereAreAny) {
  std::vector<v1::Link> links = Links();
  links[0].set_master_ifindex(7);
  links[2].set_master_ifindex(4711);
  const std::string table = *PrintLinks(Format::kTable, links);
  EXPECT_THAT(table, HasSubstr("OBJECT   MASTER\n"));
  EXPECT_THAT(table, HasSubstr(" -        h0\n"));
  EXPECT_THAT(table, HasSubstr(" veths/v  -\n"));
  EXPECT_THAT(table, HasSubstr(" -        4711\n"));
}

TEST(InspectionTest, LinksAsNamesAndDocuments) {
  EXPECT_EQ(*PrintLinks(Format::kName, Links()), "host/links/1\nhost/links/7\nhost/links/9\n");
  const std::string json = *PrintLinks(Format::kJson, Links());
  EXPECT_THAT(json, StartsWith("{\n  \"links\": [\n    {\n      \"name\": \"host/links/1\","));
  EXPECT_THAT(json, HasSubstr("\"rx_bytes\": \"1099511627776\""));
  EXPECT_EQ(*PrintLinks(Format::kJson, {}), "{\n  \"links\": []\n}\n");
  EXPECT_THAT(*PrintLinks(Format::kYaml, Links()), StartsWith("links:\n  - name: \"host/links/1\"\n"));
}

TEST(InspectionTest, Addresses) {
  std::vector<v1::AddressEntry> addresses(3);
  addresses[0].set_interface_name("eth0");
  addresses[0].set_address("10.0.0.2/32");
  addresses[0].set_peer("10.0.0.1");
  addresses[0].set_scope(v1::IP_SCOPE_GLOBAL);
  addresses[0].set_permanent(true);
  addresses[0].set_protocol(110);
  addresses[0].set_object("veths/v");
  addresses[1].set_interface_name("eth0");
  addresses[1].set_address("fe80::1/64");
  addresses[1].set_scope(v1::IP_SCOPE_LINK);
  addresses[1].set_permanent(true);
  addresses[1].set_tentative(true);
  addresses[1].set_protocol(3);
  addresses[2].set_interface_name("eth1");
  addresses[2].set_address("2001:db8::1/64");
  addresses[2].set_secondary(true);
  addresses[2].set_duplicate(true);
  addresses[2].set_deprecated(true);
  addresses[2].set_protocol(77);
  EXPECT_EQ(*PrintAddresses(Format::kDefault, addresses),
            "INTERFACE  ADDRESS         PEER      SCOPE   FLAGS                                   PROTOCOL   OBJECT\n"
            "eth0       10.0.0.2/32     10.0.0.1  global  -                                       netprov    veths/v\n"
            "eth0       fe80::1/64      -         link    tentative                               kernel_ll  -\n"
            "eth1       2001:db8::1/64  -         -       dynamic,secondary,duplicate,deprecated  77         -\n");
  EXPECT_THAT(*PrintAddresses(Format::kJson, addresses), HasSubstr("\"addresses\": ["));
}

TEST(InspectionTest, Routes) {
  std::vector<v1::RouteEntry> routes(3);
  routes[0].set_destination("0.0.0.0/0");
  routes[0].set_type(v1::RouteEntry::TYPE_UNICAST);
  routes[0].set_table(254);
  routes[0].set_scope(v1::IP_SCOPE_GLOBAL);
  routes[0].set_protocol(110);
  routes[0].set_gateway("10.0.0.1");
  routes[0].set_interface_name("eth0");
  routes[0].set_preferred_source("10.0.0.2");
  routes[0].set_object("veths/v");
  routes[1].set_destination("10.9.0.0/16");
  routes[1].set_type(v1::RouteEntry::TYPE_BLACKHOLE);
  routes[1].set_table(1000);
  routes[1].set_metric(7);
  routes[1].set_protocol(2);
  routes[2].set_destination("::/0");
  routes[2].set_type(v1::RouteEntry::TYPE_UNICAST);
  routes[2].set_table(255);
  routes[2].set_protocol(9);
  for (const char* gateway : {"fe80::1", "fe80::2"}) {
    routes[2].add_next_hops()->set_gateway(gateway);
    routes[2].mutable_next_hops()->rbegin()->set_interface_name("eth1");
  }
  EXPECT_EQ(*PrintRoutes(Format::kDefault, routes),
            "DESTINATION            VIA       INTERFACE  METRIC  TABLE  SCOPE   PROTOCOL  SOURCE    OBJECT\n"
            "default                10.0.0.1  eth0       -       main   global  netprov   10.0.0.2  veths/v\n"
            "blackhole 10.9.0.0/16  -         -          7       1000   -       kernel    -         -\n"
            "default                fe80::1   eth1       -       local  -       ra        -         -\n"
            "default                fe80::2   eth1       -       local  -       ra        -         -\n");
  EXPECT_THAT(*PrintRoutes(Format::kYaml, routes), StartsWith("routes:\n"));
}

TEST(InspectionTest, Neighbors) {
  std::vector<v1::NeighborEntry> neighbors(2);
  neighbors[0].set_interface_name("eth0");
  neighbors[0].set_address("10.0.0.1");
  neighbors[0].set_mac_address("02:00:5e:10:00:01");
  neighbors[0].set_state(v1::NeighborEntry::STATE_PERMANENT);
  neighbors[0].set_protocol(110);
  neighbors[0].set_object("veths/v");
  neighbors[1].set_interface_name("eth0");
  neighbors[1].set_address("fe80::1");
  neighbors[1].set_router(true);
  EXPECT_EQ(*PrintNeighbors(Format::kDefault, neighbors),
            "INTERFACE  ADDRESS   MAC                STATE      ROUTER  PROTOCOL  OBJECT\n"
            "eth0       10.0.0.1  02:00:5e:10:00:01  PERMANENT  -       netprov   veths/v\n"
            "eth0       fe80::1   -                  -          yes     -         -\n");
  EXPECT_THAT(*PrintNeighbors(Format::kJson, neighbors), HasSubstr("\"neighbors\": ["));
}

TEST(DeviceTest, IsPrintedInEachFormat) {
  EXPECT_EQ(*PrintDevice(Format::kTable, Tunnel(), kNow),
            "ID      KIND   STATE  INTERFACE  LOCATION  LOWER          MAC                MTU   ADMIN  IFINDEX\n"
            "tunnel  vxlan  READY  x0         blue      eth0 (in red)  02:00:5e:10:00:02  1450  UP     4\n"
            "\n"
            "Addresses:   10.0.0.1/24\n"
            "Gateways:    10.0.0.254\n"
            "Options:     vni 42\n"
            "             port 4789\n"
            "             learning on\n"
            "             ageing-time 5m\n"
            "Entries:     00:00:00:00:00:00 dst 192.0.2.1\n");
  EXPECT_EQ(*PrintDevice(Format::kName, Tunnel(), kNow), "devices/tunnel\n");
  EXPECT_THAT(*PrintDevice(Format::kJson, Tunnel(), kNow), HasSubstr("\"vxlan\": {\n    \"vni\": 42,"));
  EXPECT_EQ(DescribeDevice(Tunnel()), "vxlan x0 (in blue)");
  v1::Device ifb;
  ifb.set_name("devices/i");
  ifb.set_state(v1::Device::STATE_MISSING);
  ifb.mutable_host();
  ifb.set_interface_name("ifb0");
  ifb.mutable_ifb();
  EXPECT_EQ(*PrintDevices(Format::kTable, {Tunnel(), ifb}, kNow),
            "ID      KIND   STATE    INTERFACE  LOCATION  LOWER          ADDRESSES\n"
            "tunnel  vxlan  READY    x0         blue      eth0 (in red)  10.0.0.1/24\n"
            "i       ifb    MISSING  ifb0       (host)    -              -\n");
  EXPECT_EQ(*PrintDevices(Format::kName, {Tunnel(), ifb}, kNow), "devices/tunnel\ndevices/i\n");
  EXPECT_THAT(*PrintDevices(Format::kYaml, {ifb}, kNow), HasSubstr("devices:"));
  EXPECT_EQ(DescribeDevice(ifb), "ifb ifb0");
}

}  // namespace
}  // namespace netprov::cli
