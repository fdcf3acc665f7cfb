#include "client/cli/command_line.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace netprov::cli {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

using Arguments = std::vector<std::string>;

CommandLine Parse(const Arguments& arguments) {
  const auto parsed = ParseCommandLine(arguments);
  if (const Exit* exit = std::get_if<Exit>(&parsed)) {
    ADD_FAILURE() << exit->text;
    return {};
  }
  return std::get<CommandLine>(parsed);
}

template <typename T>
T ParseAs(const Arguments& arguments) {
  const CommandLine line = Parse(arguments);
  if (!std::holds_alternative<T>(line.command)) {
    ADD_FAILURE() << "another command: " << line.command.index();
    return T();
  }
  return std::get<T>(line.command);
}

// The text for stderr of a usage error.
std::string UsageError(const Arguments& arguments) {
  const auto parsed = ParseCommandLine(arguments);
  const Exit* exit = std::get_if<Exit>(&parsed);
  if (exit == nullptr) {
    ADD_FAILURE() << "was accepted";
    return "";
  }
  EXPECT_EQ(exit->code, 2);
  EXPECT_THAT(exit->text, AllOf(testing::StartsWith("contain: "), testing::EndsWith("more information.\n")));
  return exit->text;
}

std::string Help(const Arguments& arguments) {
  const auto parsed = ParseCommandLine(arguments);
  const Exit* exit = std::get_if<Exit>(&parsed);
  if (exit == nullptr) {
    ADD_FAILURE() << "was accepted";
    return "";
  }
  EXPECT_EQ(exit->code, 0) << exit->text;
  return exit->text;
}

TEST(NetTest, Create) {
  v1::CreateNamespaceRequest request = ParseAs<v1::CreateNamespaceRequest>({"net", "create", "test-ns"});
  EXPECT_EQ(request.namespace_id(), "test-ns");
  EXPECT_EQ(request.request_id(), "");
  EXPECT_FALSE(request.validate_only());
  EXPECT_FALSE(request.allow_existing());

  request = ParseAs<v1::CreateNamespaceRequest>(
      {"net", "create", "--allow-existing", "a", "--validate-only", "--request-id", "some-id"});
  EXPECT_EQ(request.namespace_id(), "a");
  EXPECT_EQ(request.request_id(), "some-id");
  EXPECT_TRUE(request.validate_only());
  EXPECT_TRUE(request.allow_existing());
}

TEST(NetTest, CreateWithMetadata) {
  auto request = ParseAs<v1::CreateNamespaceRequest>({"net", "create", "--label", "team=net", "blue", "--owner",
                                                      "ci/job-17", "--ttl", "1m30.5s", "--persistent", "--self-heal"});
  EXPECT_EQ(
      request.ShortDebugString(),
      "namespace_id: \"blue\" namespace { metadata { owner: \"ci/job-17\" labels { key: \"team\" value: \"net\" } "
      "ttl { seconds: 90 nanos: 500000000 } persistent: true self_heal: true } }");
  request = ParseAs<v1::CreateNamespaceRequest>(
      {"net", "create", "blue", "--label=a=b=c", "--label", "empty=", "--label=also-empty=", "--label", "l=[x,y]"});
  EXPECT_THAT(request.namespace_().metadata().labels(),
              UnorderedElementsAre(Pair("a", "b=c"), Pair("empty", ""), Pair("also-empty", ""), Pair("l", "[x,y]")));
}

TEST(NetTest, CreateWithSysctls) {
  const auto request = ParseAs<v1::CreateNamespaceRequest>(
      {"net", "create", "blue", "--sysctl", "net.ipv4.ip_forward=1", "--sysctl=net.ipv4.tcp_rmem=1 2 3"});
  EXPECT_THAT(request.namespace_().sysctls(),
              UnorderedElementsAre(Pair("net.ipv4.ip_forward", "1"), Pair("net.ipv4.tcp_rmem", "1 2 3")));
  EXPECT_FALSE(request.namespace_().has_metadata());
  EXPECT_FALSE(ParseAs<v1::CreateNamespaceRequest>({"net", "create", "blue"}).has_namespace_());

  for (const char* sysctl : {"net.ipv4.ip_forward", "=1", ""}) {
    EXPECT_THAT(UsageError({"net", "create", "a", "--sysctl", sysctl}), HasSubstr("--sysctl: must be NAME=VALUE"));
  }
  EXPECT_THAT(UsageError({"net", "create", "a", "--sysctl", "n=1", "--sysctl", "n=2"}),
              HasSubstr("`n` is there twice"));
}

TEST(NetTest, CreateWithDns) {
  const auto request = ParseAs<v1::CreateNamespaceRequest>(
      {"net", "create", "blue", "--dns", "10.0.0.53", "--dns", "2001:db8::53", "--dns-search", "example.org",
       "--dns-option", "ndots:2", "--add-host", "db,db.example.org=10.0.0.5"});
  const v1::Dns& dns = request.namespace_().dns();
  EXPECT_THAT(dns.nameservers(), ElementsAre("10.0.0.53", "2001:db8::53"));
  EXPECT_THAT(dns.searches(), ElementsAre("example.org"));
  EXPECT_THAT(dns.options(), ElementsAre("ndots:2"));
  ASSERT_EQ(dns.hosts_size(), 1);
  EXPECT_EQ(dns.hosts(0).address(), "10.0.0.5");
  EXPECT_THAT(dns.hosts(0).names(), ElementsAre("db", "db.example.org"));
  for (const char* host : {"db", "=10.0.0.5"}) {
    EXPECT_THAT(UsageError({"net", "create", "a", "--add-host", host}), HasSubstr("--add-host: must be NAME"));
  }
  EXPECT_FALSE(ParseAs<v1::AdoptNamespaceRequest>({"net", "adopt", "a"}).has_namespace_());
}

TEST(NetTest, WrongMetadataIsAUsageError) {
  for (const char* label : {"a", "=b", ""}) {
    EXPECT_THAT(UsageError({"net", "create", "a", "--label", label}), HasSubstr("--label: must be KEY=VALUE"));
  }
  EXPECT_THAT(UsageError({"net", "create", "a", "--label", "k=v", "--label", "k=w"}), HasSubstr("`k` is there twice"));
  for (const char* ttl : {"0", "0s", "-1s", "10", "1d", "soon", "inf", ""}) {
    EXPECT_THAT(UsageError({"net", "create", "a", "--owner", "o", "--ttl", ttl}), HasSubstr("--ttl: must be")) << ttl;
  }
  EXPECT_THAT(UsageError({"net", "create", "a", "--ttl", "5s"}), HasSubstr("--ttl needs --owner or NETPROV_OWNER"));
  EXPECT_THAT(UsageError({"net", "delete", "a", "--label", "k=v"}), HasSubstr("--label"));
  EXPECT_THAT(UsageError({"net", "veth", "list", "--self-heal"}), HasSubstr("not to `contain net veth list`"));
}

TEST(NetTest, Delete) {
  const auto request = ParseAs<v1::DeleteNamespaceRequest>({"net", "delete", "a", "--allow-missing", "--request-id=x"});
  EXPECT_EQ(request.name(), "namespaces/a");
  EXPECT_TRUE(request.allow_missing());
  EXPECT_EQ(request.request_id(), "x");
  EXPECT_FALSE(request.force());
  EXPECT_TRUE(ParseAs<v1::DeleteNamespaceRequest>({"net", "delete", "a", "--validate-only"}).validate_only());
  EXPECT_TRUE(ParseAs<v1::DeleteNamespaceRequest>({"net", "delete", "a", "--force"}).force());
}

TEST(NetTest, AdoptAndRelease) {
  const auto adopt = ParseAs<v1::AdoptNamespaceRequest>(
      {"net", "adopt", "a", "--allow-existing", "--sysctl", "net.ipv4.ip_forward=1", "--self-heal"});
  EXPECT_EQ(adopt.name(), "namespaces/a");
  EXPECT_TRUE(adopt.allow_existing());
  EXPECT_EQ(adopt.namespace_().sysctls().at("net.ipv4.ip_forward"), "1");
  EXPECT_TRUE(adopt.namespace_().metadata().self_heal());
  const auto release = ParseAs<v1::ReleaseNamespaceRequest>({"net", "release", "a", "--allow-missing"});
  EXPECT_EQ(release.name(), "namespaces/a");
  EXPECT_TRUE(release.allow_missing());
}

TEST(NetTest, ListAndShow) {
  ParseAs<v1::ListNamespacesRequest>({"net", "list"});
  const auto show = ParseAs<v1::GetNamespaceRequest>({"net", "show", "a"});
  EXPECT_EQ(show.name(), "namespaces/a");
  EXPECT_EQ(show.view(), v1::NAMESPACE_VIEW_FULL);
}

TEST(NetTest, ResourceNamesAreAsGoodAsIds) {
  EXPECT_EQ(ParseAs<v1::GetNamespaceRequest>({"net", "show", "namespaces/a"}).name(), "namespaces/a");
  EXPECT_EQ(ParseAs<v1::CreateNamespaceRequest>({"net", "create", "namespaces/a"}).namespace_id(), "a");
  EXPECT_EQ(ParseAs<v1::DeleteVethRequest>({"net", "veth", "delete", "veths/a"}).name(), "veths/a");
}

TEST(NetTest, NamesOfCommandsAreNames) {
  for (const char* name : {"list", "create", "net", "veth", "exec", "show", "delete", "contain"}) {
    EXPECT_EQ(ParseAs<v1::CreateNamespaceRequest>({"net", "create", name}).namespace_id(), name);
    EXPECT_EQ(ParseAs<v1::GetVethRequest>({"net", "veth", "show", name}).name(), std::string("veths/") + name);
    const auto veth = ParseAs<v1::CreateVethRequest>({"net", "veth", "--host", name, "--ns", name});
    EXPECT_EQ(veth.veth_id(), name);
    EXPECT_EQ(veth.veth().endpoint_b().namespace_(), std::string("namespaces/") + name);
    EXPECT_EQ(ParseAs<ExecCommand>({"net", "exec", name, "--", name}).namespace_name,
              std::string("namespaces/") + name);
  }
}

TEST(NetTest, OddNamesAreForTheServerToJudge) {
  for (const char* name : {"", " ", "a b", "a/b", ".", "..", "\xff", "[a,b]", "{}", "'", "%d", "a\nb"}) {
    EXPECT_EQ(ParseAs<v1::CreateNamespaceRequest>({"net", "create", name}).namespace_id(), name) << name;
    EXPECT_EQ(ParseAs<v1::CreateVethRequest>({"net", "veth", "--host", name, "--ns", "a"})
                  .veth()
                  .endpoint_a()
                  .interface_name(),
              name);
  }
  EXPECT_EQ(ParseAs<v1::CreateNamespaceRequest>({"net", "create", "--", "-o"}).namespace_id(), "-o");
}

TEST(VethTest, TutorialForm) {
  const auto request = ParseAs<v1::CreateVethRequest>({"net", "veth", "--host", "veth-host", "--ns", "test-ns"});
  EXPECT_EQ(request.ShortDebugString(),
            "veth_id: \"veth-host\" veth { endpoint_a { host { } interface_name: \"veth-host\" } "
            "endpoint_b { namespace: \"namespaces/test-ns\" interface_name: \"veth%d\" } }");
}

TEST(VethTest, EverythingSaid) {
  const auto request = ParseAs<v1::CreateVethRequest>({"net",          "veth",        "--host",
                                                       "h0",           "--ns",        "a",
                                                       "--peer",       "p0",          "--id",
                                                       "pair",         "--mac",       "02::1",
                                                       "--peer-mac",   "02::2",       "--mtu",
                                                       "1400",         "--peer-mtu",  "9000",
                                                       "--down",       "--peer-down", "--allow-existing",
                                                       "--request-id", "x",           "--validate-only",
                                                       "--create-ns"});
  EXPECT_EQ(request.ShortDebugString(),
            "veth_id: \"pair\" veth { endpoint_a { host { } interface_name: \"h0\" mac_address: \"02::1\" mtu: 1400 "
            "admin_state: ADMIN_STATE_DOWN } endpoint_b { namespace: \"namespaces/a\" interface_name: \"p0\" "
            "mac_address: \"02::2\" mtu: 9000 admin_state: ADMIN_STATE_DOWN } } "
            "request_id: \"x\" validate_only: true allow_existing: true create_namespaces: true");
}

TEST(VethTest, OnlyNamespacesByNameCanBeCreated) {
  EXPECT_TRUE(ParseAs<v1::CreateVethRequest>(
                  {"net", "veth", "--from-ns", "a", "--ns-path", "/run/x", "--id", "v", "--create-ns"})
                  .create_namespaces());
  EXPECT_THAT(UsageError({"net", "veth", "--host", "h0", "--ns-pid", "42", "--create-ns"}),
              HasSubstr("--create-ns needs --ns or --from-ns"));
}

// The end that the options are about, of a pair from the host or from a namespace.
v1::VethEndpoint ParseEnd(bool first, const Arguments& options, bool from_host = true) {
  Arguments arguments = {"net", "veth", from_host ? "--host" : "--from-ns", "x", "--ns", "a"};
  arguments.insert(arguments.end(), options.begin(), options.end());
  const v1::Veth veth = ParseAs<v1::CreateVethRequest>(arguments).veth();
  v1::VethEndpoint end = first ? veth.endpoint_a() : veth.endpoint_b();
  end.clear_location();
  end.clear_interface_name();
  return end;
}

TEST(VethTest, WorkingNetwork) {
  const auto request =
      ParseAs<v1::CreateVethRequest>({"net", "veth", "--host", "h0", "--ns", "a", "--address", "10.0.0.2/24",
                                      "--host-address", "10.0.0.1/24", "--gateway", "10.0.0.1"});
  EXPECT_EQ(
      request.ShortDebugString(),
      "veth_id: \"h0\" veth { endpoint_a { host { } interface_name: \"h0\" addresses { address: \"10.0.0.1/24\" } } "
      "endpoint_b { namespace: \"namespaces/a\" interface_name: \"veth%d\" addresses { address: \"10.0.0.2/24\" } "
      "gateways: \"10.0.0.1\" } }");
}

TEST(VethTest, EverythingOfIp) {
  for (const std::string prefix : {"--", "--peer-", "--host-", "--from-"}) {
    const bool first = prefix == "--host-" || prefix == "--from-";
    const Arguments options = {prefix + "address",  "10.0.0.2/32,peer=10.0.0.1",
                               prefix + "gateway",  "10.0.0.1",
                               prefix + "address",  "2001:db8::2/64,dad",
                               prefix + "route",    "10.1.0.0/16 via 10.0.0.1 metric 100 table 7",
                               prefix + "neighbor", "10.0.0.1=02:00:00:00:00:01",
                               prefix + "gateway",  "fe80::1",
                               prefix + "route",    "blackhole 10.9.0.0/16",
                               prefix + "neighbor", "fe80::1=02:00:00:00:00:02"};
    EXPECT_EQ(ParseEnd(first, options, prefix != "--from-").ShortDebugString(),
              "addresses { address: \"10.0.0.2/32\" peer: \"10.0.0.1\" } "
              "addresses { address: \"2001:db8::2/64\" duplicate_detection: DUPLICATE_DETECTION_WAIT } "
              "gateways: \"10.0.0.1\" gateways: \"fe80::1\" "
              "routes { destination: \"10.1.0.0/16\" gateway: \"10.0.0.1\" metric: 100 table: 7 } "
              "routes { destination: \"10.9.0.0/16\" type: TYPE_BLACKHOLE } "
              "neighbors { address: \"10.0.0.1\" mac_address: \"02:00:00:00:00:01\" } "
              "neighbors { address: \"fe80::1\" mac_address: \"02:00:00:00:00:02\" }")
        << prefix;
    EXPECT_EQ(ParseEnd(!first, options, prefix != "--from-").ShortDebugString(), "") << prefix;
  }
}

TEST(VethTest, WhatIsTranslatedForEitherEnd) {
  for (const std::string prefix : {"--", "--peer-", "--host-", "--from-"}) {
    const bool first = prefix == "--host-" || prefix == "--from-";
    const Arguments options = {prefix + "masquerade", prefix + "publish", "8080:80",
                               prefix + "publish",    "53:53/udp",        prefix + "ip-forwarding"};
    EXPECT_EQ(ParseEnd(first, options, prefix != "--from-").ShortDebugString(),
              "masquerade: true port_forwards { host_port: 8080 port: 80 } "
              "port_forwards { protocol: PROTOCOL_UDP host_port: 53 port: 53 } ip_forwarding: true")
        << prefix;
    EXPECT_EQ(ParseEnd(!first, options, prefix != "--from-").ShortDebugString(), "") << prefix;
  }
  EXPECT_THAT(UsageError({"net", "veth", "--host", "h", "--ns", "a", "--publish", "80"}),
              HasSubstr("--publish: must be [HOST_ADDRESS:]HOST_PORT"));
}

TEST(VethTest, RatesOfEitherEnd) {
  for (const std::string prefix : {"--", "--peer-", "--host-", "--from-"}) {
    const bool first = prefix == "--host-" || prefix == "--from-";
    const Arguments options = {prefix + "ingress-rate", "10mbit", prefix + "egress-rate", "500kbit",
                               prefix + "burst",        "32k",    prefix + "latency",     "1.5s"};
    EXPECT_EQ(ParseEnd(first, options, prefix != "--from-").ShortDebugString(),
              "ingress_limit { rate: 10000000 burst: 32768 latency { seconds: 1 nanos: 500000000 } } "
              "egress_limit { rate: 500000 burst: 32768 latency { seconds: 1 nanos: 500000000 } }")
        << prefix;
    EXPECT_EQ(ParseEnd(!first, options, prefix != "--from-").ShortDebugString(), "") << prefix;
  }
  EXPECT_EQ(ParseEnd(false, {"--egress-rate", "8000"}).ShortDebugString(), "egress_limit { rate: 8000 }");
  for (const auto& [option, value] : {std::pair("--ingress-rate", "fast"), std::pair("--peer-egress-rate", "10mbps"),
                                      std::pair("--host-egress-rate", "1e6")}) {
    EXPECT_THAT(UsageError({"net", "veth", "--host", "h", "--ns", "a", option, value}), HasSubstr("must be a rate"));
  }
  const Arguments limited = {"net", "veth", "--host", "h", "--ns", "a", "--egress-rate", "1mbit"};
  for (const auto& [option, value, why] :
       {std::tuple("--burst", "much", " --burst: must be a size"),
        std::tuple("--latency", "long", " --latency: must be"),
        std::tuple("--latency", "-1s", " --latency: must be a positive duration"),
        std::tuple("--host-burst", "32k", "--host-burst needs --host-ingress-rate or --host-egress-rate"),
        std::tuple("--host-latency", "1s", "--host-latency needs --host-ingress-rate")}) {
    Arguments arguments = limited;
    arguments.insert(arguments.end(), {option, value});
    EXPECT_THAT(UsageError(arguments), HasSubstr(why)) << option << " " << value;
  }
}

TEST(VethTest, AnEndIsAPort) {
  const v1::VethEndpoint end =
      ParseEnd(true, {"--bridge", "br0", "--port", "isolated on cost 7", "--vlan", "10 pvid untagged", "--vlan=20-29"});
  EXPECT_EQ(end.bridge(), "bridges/br0");
  EXPECT_TRUE(end.bridge_port().isolated());
  EXPECT_EQ(end.bridge_port().cost(), 7u);
  ASSERT_EQ(end.bridge_port().vlans_size(), 2);
  EXPECT_TRUE(end.bridge_port().vlans(0).pvid());
  EXPECT_EQ(end.bridge_port().vlans(1).last(), 29u);
  EXPECT_EQ(ParseEnd(false, {"--peer-bridge", "bridges/br1"}).bridge(), "bridges/br1");
  EXPECT_EQ(ParseEnd(true, {"--bridge-interface", "br-lan"}).bridge_interface(), "br-lan");
  EXPECT_EQ(ParseEnd(false, {"--peer-bridge-interface", "br-lan"}).bridge_interface(), "br-lan");
  EXPECT_THAT(UsageError({"net", "veth", "--host", "h", "--ns", "a", "--port", "isolated"}),
              HasSubstr("--port: `isolated` takes on or off"));
  EXPECT_THAT(UsageError({"net", "veth", "--host", "h", "--ns", "a", "--vlan", "x"}), HasSubstr(" --vlan: "));
  EXPECT_THAT(UsageError({"net", "veth", "--host", "h", "--ns", "a", "--peer-vlan", "x"}), HasSubstr(" --peer-vlan: "));
}

TEST(DeviceTest, EachKindAndWhatItHas) {
  auto request = ParseAs<v1::CreateDeviceRequest>({"net",         "device",
                                                   "create",      "m0",
                                                   "--kind",      "macvlan",
                                                   "--mode",      "source",
                                                   "--source",    "02:00:00:00:00:01",
                                                   "--source",    "02:00:00:00:00:02",
                                                   "--lower",     "eth0",
                                                   "--lower-ns",  "red",
                                                   "--ns",        "blue",
                                                   "--mac",       "02:00:00:00:00:03",
                                                   "--mtu",       "1400",
                                                   "--down",      "--altname",
                                                   "other",       "--address",
                                                   "10.0.0.2/24", "--gateway",
                                                   "10.0.0.1",    "--route",
                                                   "10.1.0.0/16", "--label",
                                                   "a=b"});
  EXPECT_EQ(request.device_id(), "m0");
  const v1::Device& device = request.device();
  EXPECT_EQ(device.interface_name(), "m0");
  EXPECT_EQ(device.namespace_(), "namespaces/blue");
  EXPECT_EQ(device.lower_interface(), "eth0");
  EXPECT_EQ(device.lower_namespace(), "namespaces/red");
  EXPECT_EQ(device.macvlan().mode(), v1::Macvlan::MODE_SOURCE);
  EXPECT_EQ(device.macvlan().source_mac_addresses_size(), 2);
  EXPECT_EQ(device.mac_address(), "02:00:00:00:00:03");
  EXPECT_EQ(device.mtu(), 1400u);
  EXPECT_EQ(device.admin_state(), v1::VethEndpoint::ADMIN_STATE_DOWN);
  EXPECT_EQ(device.alternative_names(0), "other");
  EXPECT_EQ(device.addresses(0).address(), "10.0.0.2/24");
  EXPECT_EQ(device.gateways(0), "10.0.0.1");
  EXPECT_EQ(device.routes(0).destination(), "10.1.0.0/16");
  EXPECT_EQ(device.metadata().labels().at("a"), "b");
  request = ParseAs<v1::CreateDeviceRequest>({"net",           "device",
                                              "create",        "a-name-of-16-byt",
                                              "--kind",        "vxlan",
                                              "--vni",         "42",
                                              "--local",       "192.0.2.1",
                                              "--remote",      "192.0.2.2",
                                              "--port",        "4790",
                                              "--outer-ttl",   "3",
                                              "--no-learning", "--proxy",
                                              "--ageing-time", "1m",
                                              "--fdb",         "00:00:00:00:00:00 dst 192.0.2.3"});
  EXPECT_TRUE(request.device().has_host());
  EXPECT_EQ(request.device().interface_name(), "");
  const v1::Vxlan& vxlan = request.device().vxlan();
  EXPECT_EQ(vxlan.vni(), 42u);
  EXPECT_EQ(vxlan.local(), "192.0.2.1");
  EXPECT_EQ(vxlan.remote(), "192.0.2.2");
  EXPECT_EQ(vxlan.port(), 4790u);
  EXPECT_EQ(vxlan.ttl(), 3u);
  EXPECT_TRUE(vxlan.has_learning());
  EXPECT_FALSE(vxlan.learning());
  EXPECT_TRUE(vxlan.proxy());
  EXPECT_EQ(vxlan.ageing_time().seconds(), 60);
  EXPECT_EQ(vxlan.fdb(0).destination(), "192.0.2.3");
  request = ParseAs<v1::CreateDeviceRequest>(
      {"net", "device", "create", "x1", "--kind", "vxlan", "--vni", "43", "--port", "4790", "--bridge", "br0",
       "--bridge-port", "isolated on cost 7", "--bridge-vlan", "10 pvid untagged", "--bridge-vlan=20-29"});
  EXPECT_EQ(request.device().vxlan().port(), 4790u);
  EXPECT_EQ(request.device().bridge(), "bridges/br0");
  EXPECT_TRUE(request.device().bridge_port().isolated());
  EXPECT_EQ(request.device().bridge_port().cost(), 7u);
  ASSERT_EQ(request.device().bridge_port().vlans_size(), 2);
  EXPECT_TRUE(request.device().bridge_port().vlans(0).pvid());
  EXPECT_EQ(request.device().bridge_port().vlans(1).last(), 29u);
  request = ParseAs<v1::CreateDeviceRequest>(
      {"net", "device", "create", "i0", "--kind", "ifb", "--bridge-interface", "br-lan"});
  EXPECT_EQ(request.device().bridge_interface(), "br-lan");
  EXPECT_EQ(request.device().bridge(), "");
  EXPECT_FALSE(request.device().has_bridge_port());
  request = ParseAs<v1::CreateDeviceRequest>({"net", "device", "create", "v0", "--kind", "vlan", "--vlan-id", "7",
                                              "--protocol", "dot1ad", "--lower", "eth0", "--interface", "v%d"});
  EXPECT_EQ(request.device().vlan().id(), 7u);
  EXPECT_EQ(request.device().vlan().protocol(), v1::Vlan::PROTOCOL_DOT1AD);
  EXPECT_EQ(request.device().interface_name(), "v%d");
  request = ParseAs<v1::CreateDeviceRequest>({"net", "device", "create", "i0", "--kind", "ipvlan", "--mode", "l2",
                                              "--mode-flag", "private", "--lower", "eth0"});
  EXPECT_EQ(request.device().ipvlan().mode(), v1::Ipvlan::MODE_L2);
  EXPECT_EQ(request.device().ipvlan().mode_flag(), v1::Ipvlan::MODE_FLAG_PRIVATE);
  EXPECT_TRUE(
      ParseAs<v1::CreateDeviceRequest>({"net", "device", "create", "d", "--kind", "dummy"}).device().has_dummy());
  EXPECT_TRUE(ParseAs<v1::CreateDeviceRequest>({"net", "device", "create", "d", "--kind", "ifb"}).device().has_ifb());
  EXPECT_EQ(ParseAs<v1::GetDeviceRequest>({"net", "device", "show", "devices/m0"}).name(), "devices/m0");
  EXPECT_TRUE(ParseAs<v1::DeleteDeviceRequest>({"net", "device", "delete", "m0", "--allow-missing"}).allow_missing());
  ParseAs<v1::ListDevicesRequest>({"net", "device", "list"});
}

TEST(DeviceTest, WhatIsWrongIsSaid) {
  const auto error = [](std::vector<std::string> more) {
    std::vector<std::string> arguments = {"net", "device", "create", "d"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return UsageError(arguments);
  };
  EXPECT_THAT(error({}), HasSubstr("--kind is required"));
  EXPECT_THAT(error({"--kind", "veth"}), HasSubstr("--kind: must be macvlan, vxlan, vlan, ipvlan, dummy or ifb"));
  EXPECT_THAT(error({"--kind", "macvlan", "--vni", "7"}), HasSubstr("--vni: has no meaning for --kind macvlan"));
  EXPECT_THAT(error({"--kind", "ifb", "--lower", "eth0"}), HasSubstr("--lower: has no meaning for --kind ifb"));
  EXPECT_THAT(error({"--kind", "macvlan", "--mode", "l2"}), HasSubstr("--mode: `l2` is not known here"));
  EXPECT_THAT(error({"--kind", "vxlan", "--ageing-time", "soon"}), HasSubstr("--ageing-time: must be a duration"));
  EXPECT_THAT(error({"--kind", "vxlan", "--fdb", "m via x"}), HasSubstr("--fdb: `via` is not known here"));
  EXPECT_THAT(error({"--kind", "vlan", "--vlan-id", "x"}), HasSubstr("whole number"));
}

TEST(BridgeTest, LeastAndMost) {
  auto request = ParseAs<v1::CreateBridgeRequest>({"net", "bridge", "create", "br0"});
  EXPECT_EQ(request.bridge_id(), "br0");
  EXPECT_TRUE(request.bridge().has_host());
  EXPECT_EQ(request.bridge().interface_name(), "br0");
  EXPECT_FALSE(request.bridge().has_stp());
  request = ParseAs<v1::CreateBridgeRequest>({"net",
                                              "bridge",
                                              "create",
                                              "a-name-of-more-than-15",
                                              "--ns",
                                              "blue",
                                              "--address",
                                              "10.0.0.1/24",
                                              "--address",
                                              "2001:db8::1/64",
                                              "--mac",
                                              "02:00:00:00:00:01",
                                              "--mtu",
                                              "1400",
                                              "--down",
                                              "--altname",
                                              "other",
                                              "--stp",
                                              "--forward-delay",
                                              "2.5s",
                                              "--hello-time",
                                              "1s",
                                              "--max-age",
                                              "6s",
                                              "--ageing-time",
                                              "0s",
                                              "--priority",
                                              "0",
                                              "--no-vlan-filtering",
                                              "--default-pvid",
                                              "0",
                                              "--no-multicast-snooping",
                                              "--group-forward-mask",
                                              "8",
                                              "--label",
                                              "a=b"});
  const v1::Bridge& bridge = request.bridge();
  EXPECT_EQ(bridge.namespace_(), "namespaces/blue");
  EXPECT_EQ(bridge.interface_name(), "");
  EXPECT_EQ(bridge.addresses_size(), 2);
  EXPECT_EQ(bridge.mac_address(), "02:00:00:00:00:01");
  EXPECT_EQ(bridge.mtu(), 1400u);
  EXPECT_EQ(bridge.admin_state(), v1::VethEndpoint::ADMIN_STATE_DOWN);
  EXPECT_EQ(bridge.alternative_names(0), "other");
  EXPECT_TRUE(bridge.stp());
  EXPECT_EQ(bridge.forward_delay().seconds(), 2);
  EXPECT_EQ(bridge.forward_delay().nanos(), 500'000'000);
  EXPECT_TRUE(bridge.has_ageing_time());
  EXPECT_TRUE(bridge.has_priority());
  EXPECT_TRUE(bridge.has_vlan_filtering());
  EXPECT_FALSE(bridge.vlan_filtering());
  EXPECT_TRUE(bridge.has_default_pvid());
  EXPECT_FALSE(bridge.multicast_snooping());
  EXPECT_EQ(bridge.group_forward_mask(), 8u);
  EXPECT_EQ(bridge.metadata().labels().at("a"), "b");
  EXPECT_EQ(ParseAs<v1::GetBridgeRequest>({"net", "bridge", "show", "br0"}).name(), "bridges/br0");
  EXPECT_TRUE(ParseAs<v1::DeleteBridgeRequest>({"net", "bridge", "delete", "br0", "--allow-missing"}).allow_missing());
  ParseAs<v1::ListBridgesRequest>({"net", "bridge", "list"});
  EXPECT_THAT(UsageError({"net", "bridge", "create", "br0", "--max-age", "soon"}), HasSubstr("--max-age: "));
  EXPECT_THAT(UsageError({"net", "bridge", "create", "br0", "--priority", "010x"}), HasSubstr("whole number"));
  EXPECT_NE(UsageError({"net", "bridge"}), "");
}

TEST(VethTest, EverythingOfTheLink) {
  for (const std::string prefix : {"--", "--peer-", "--host-", "--from-"}) {
    const bool first = prefix != "--peer-";
    const Arguments options = {prefix + "mac",
                               "02::1",
                               prefix + "altname",
                               "wan",
                               prefix + "altname=[a,b]",
                               prefix + "tx-queues",
                               "4",
                               prefix + "rx-queues=010",
                               prefix + "promiscuous",
                               prefix + "allmulticast",
                               prefix + "alias",
                               "to the lab",
                               prefix + "announce",
                               prefix + "gso-max-size",
                               "1",
                               prefix + "gso-max-segments",
                               "2",
                               prefix + "gro-max-size",
                               "3",
                               prefix + "gso-ipv4-max-size",
                               "4",
                               prefix + "gro-ipv4-max-size",
                               "5",
                               prefix + "down"};
    EXPECT_EQ(ParseEnd(first, options, prefix != "--from-").ShortDebugString(),
              "mac_address: \"02::1\" admin_state: ADMIN_STATE_DOWN alternative_names: \"wan\" "
              "alternative_names: \"[a,b]\" tx_queues: 4 rx_queues: 10 promiscuous: true all_multicast: true "
              "offload_limits { gso_max_size: 1 gso_max_segments: 2 gro_max_size: 3 gso_ipv4_max_size: 4 "
              "gro_ipv4_max_size: 5 } alias: \"to the lab\" announce: true")
        << prefix;
    EXPECT_EQ(ParseEnd(!first, options, prefix != "--from-").ShortDebugString(), "") << prefix;
  }
}

TEST(VethTest, MtuOfBothEndsAndOfEach) {
  const auto mtus = [](const Arguments& options, bool from_host = true) {
    return std::pair(ParseEnd(true, options, from_host).mtu(), ParseEnd(false, options, from_host).mtu());
  };
  EXPECT_THAT(mtus({"--mtu", "1400"}), Pair(1400, 1400)) << "ends of different MTU lose packets";
  EXPECT_THAT(mtus({"--mtu", "1400", "--peer-mtu", "9000"}), Pair(1400, 9000));
  EXPECT_THAT(mtus({"--mtu", "1400", "--host-mtu", "9000"}), Pair(9000, 1400));
  EXPECT_THAT(mtus({"--from-mtu", "9000"}, /*from_host=*/false), Pair(9000, 0));
  EXPECT_THAT(mtus({"--host-mtu", "1", "--peer-mtu", "2"}), Pair(1, 2));
}

TEST(VethTest, NamesOfTheFirstEndSayWhereItIs) {
  EXPECT_THAT(UsageError({"net", "veth", "--from-ns", "b", "--ns", "a", "--host-address", "10.0.0.1/24"}),
              HasSubstr("--host-address needs --host; with --from-ns it is --from-address"));
  EXPECT_THAT(UsageError({"net", "veth", "--host", "h", "--ns", "a", "--from-mac=02::1"}),
              HasSubstr("--from-mac needs --from-ns; with --host it is --host-mac"));
}

TEST(VethTest, WrongIpIsAUsageErrorThatNamesTheOption) {
  const auto error = [](const std::string& option, const std::string& value) {
    const bool from = option.rfind("--from-", 0) == 0;
    return UsageError({"net", "veth", from ? "--from-ns" : "--host", "x", "--ns", "a", option, value});
  };
  EXPECT_THAT(error("--address", "10.0.0.2/24,dhcp"),
              HasSubstr("contain: --address: `dhcp` is not known here, in `10.0.0.2/24,dhcp`\n"));
  EXPECT_THAT(error("--host-address", ""), HasSubstr("contain: --host-address: the address is missing, in ``\n"));
  EXPECT_THAT(error("--from-address", "a,dad,dad"), HasSubstr("contain: --from-address: `dad` is there twice"));
  EXPECT_THAT(error("--route", "10.1.0.0/16 via"), HasSubstr("contain: --route: `via` lacks its value"));
  EXPECT_THAT(error("--host-route", "10.1.0.0/16 metric x"), HasSubstr("contain: --host-route: `metric` takes a"));
  EXPECT_THAT(error("--from-route", ""), HasSubstr("contain: --from-route: the destination is missing"));
  EXPECT_THAT(error("--neighbor", "10.0.0.1"), HasSubstr("contain: --neighbor: must be ADDRESS=MAC, in `10.0.0.1`"));
  EXPECT_THAT(error("--tx-queues", "many"), HasSubstr("--tx-queues: must be a whole number, not `many`"));
  EXPECT_THAT(error("--peer-gso-max-size", "-1"), HasSubstr("--peer-gso-max-size"));
  for (const char* option : {"--address", "--gateway", "--route", "--neighbor", "--altname", "--host-address"}) {
    EXPECT_THAT(UsageError({"net", "veth", "--host", "h", "--ns", "a", option}), HasSubstr(option));
    EXPECT_THAT(UsageError({"net", "veth", "--host", "h", "--ns", "a", std::string(option) + "="}),
                HasSubstr("the value is missing"));
    EXPECT_THAT(UsageError({"net", "veth", "show", "h", option, "x"}), HasSubstr("not to `contain net veth show`"));
  }
}

TEST(VethTest, OddValuesOfIpAreForTheServerToJudge) {
  for (const char* value : {"x", "{}", "[a]", "10.0.0.300/24"}) {
    EXPECT_EQ(ParseEnd(false, {"--address", value}).ShortDebugString(),
              std::string("addresses { address: \"") + value + "\" }");
    EXPECT_EQ(ParseEnd(false, {"--gateway", value}).ShortDebugString(), std::string("gateways: \"") + value + "\"");
    EXPECT_EQ(ParseEnd(false, {"--peer-altname", value}).ShortDebugString(),
              std::string("alternative_names: \"") + value + "\"");
  }
  EXPECT_EQ(ParseEnd(false, {"--gateway", ""}).ShortDebugString(), "gateways: \"\"");
}

TEST(VethTest, WithMetadata) {
  const auto request =
      ParseAs<v1::CreateVethRequest>({"net", "veth", "--host", "h", "--ns", "a", "--owner", "ci", "--label", "k=v",
                                      "--ttl", "24h", "--persistent", "--self-heal"});
  EXPECT_EQ(request.veth().metadata().ShortDebugString(),
            "owner: \"ci\" labels { key: \"k\" value: \"v\" } ttl { seconds: 86400 } persistent: true self_heal: true");
  EXPECT_THAT(UsageError({"net", "veth", "--host", "h", "--ns", "a", "--label", "k"}), HasSubstr("--label"));
}

TEST(VethTest, BetweenTwoNamespaces) {
  auto request = ParseAs<v1::CreateVethRequest>({"net", "veth", "--from-ns", "red", "--ns", "namespaces/blue"});
  EXPECT_EQ(request.ShortDebugString(),
            "veth { endpoint_a { namespace: \"namespaces/red\" interface_name: \"veth%d\" } "
            "endpoint_b { namespace: \"namespaces/blue\" interface_name: \"veth%d\" } }");
  request = ParseAs<v1::CreateVethRequest>(
      {"net", "veth", "--from-ns", "red", "--interface", "r0", "--ns", "blue", "--peer", "b0", "--id", "veths/x"});
  EXPECT_EQ(request.veth_id(), "x");
  EXPECT_EQ(request.veth().endpoint_a().interface_name(), "r0");
  EXPECT_EQ(request.veth().endpoint_b().interface_name(), "b0");
}

TEST(VethTest, AnEndIsAtAPathOrAProcess) {
  auto request = ParseAs<v1::CreateVethRequest>(
      {"net", "veth", "--host", "h0", "--ns-path", "/run/x", "--peer", "eth0", "--address", "10.0.0.2/24"});
  EXPECT_EQ(request.veth().ShortDebugString(),
            "endpoint_a { host { } interface_name: \"h0\" } endpoint_b { interface_name: \"eth0\" "
            "addresses { address: \"10.0.0.2/24\" } netns_path: \"/run/x\" }");
  request = ParseAs<v1::CreateVethRequest>({"net", "veth", "--from-ns-path=/run/x", "--interface", "p0", "--from-mtu",
                                            "1400", "--ns-pid", "4242", "--id", "v"});
  EXPECT_EQ(request.veth().endpoint_a().netns_path(), "/run/x");
  EXPECT_EQ(request.veth().endpoint_a().interface_name(), "p0");
  EXPECT_EQ(request.veth().endpoint_a().mtu(), 1400u);
  EXPECT_EQ(request.veth().endpoint_b().pid(), 4242u);
  request = ParseAs<v1::CreateVethRequest>({"net", "veth", "--from-ns-pid", "4242", "--ns", "blue"});
  EXPECT_EQ(request.veth().endpoint_a().pid(), 4242u);
  EXPECT_EQ(request.veth().endpoint_a().interface_name(), "veth%d");

  const std::vector<std::vector<std::string>> ways = {
      {"--ns", "a"},          {"--ns-path", "/x"}, {"--ns-pid", "7"}, {"--from-ns", "a"}, {"--from-ns-path", "/x"},
      {"--from-ns-pid", "7"}, {"--host", "h"}};
  // Each end is in one place only.
  for (size_t i = 0; i < ways.size(); ++i) {
    for (size_t k = 0; k < ways.size(); ++k) {
      const bool same_end = (i < 3) == (k < 3);
      if (i == k || !same_end) continue;
      std::vector<std::string> line = {"net", "veth", ways[i][0], ways[i][1], ways[k][0], ways[k][1]};
      const std::vector<std::string>& other_end = i < 3 ? ways.back() : ways.front();
      line.insert(line.end(), other_end.begin(), other_end.end());
      EXPECT_THAT(UsageError(line), HasSubstr("excludes")) << ways[i][0] << " " << ways[k][0];
    }
  }
  EXPECT_THAT(UsageError({"net", "veth", "--host", "h", "--ns-pid", "0x10"}), HasSubstr("--ns-pid"));
  EXPECT_THAT(UsageError({"net", "veth", "--from-ns-pid", "7", "--ns", "a", "--host-mtu", "1400"}),
              HasSubstr("--host-mtu needs --host"));
}

TEST(VethTest, ServerChoosesTheIdWhereTheInterfaceNameIsNone) {
  for (const char* name : {"veth%d", "-a", ".a", "a+b", "a@b"}) {
    EXPECT_EQ(ParseAs<v1::CreateVethRequest>({"net", "veth", std::string("--host=") + name, "--ns", "a"}).veth_id(),
              "");
  }
  EXPECT_THAT(UsageError({"net", "veth", "--host", "veth%d", "--ns", "a", "--allow-existing"}),
              HasSubstr("--allow-existing needs --id"));
}

TEST(VethTest, ListShowDelete) {
  ParseAs<v1::ListVethsRequest>({"net", "veth", "list"});
  EXPECT_EQ(ParseAs<v1::GetVethRequest>({"net", "veth", "show", "veth-host"}).name(), "veths/veth-host");
  const auto request = ParseAs<v1::DeleteVethRequest>(
      {"net", "veth", "delete", "veth-host", "--allow-missing", "--validate-only", "--request-id", "x"});
  EXPECT_EQ(request.ShortDebugString(),
            "name: \"veths/veth-host\" request_id: \"x\" validate_only: true allow_missing: true");
}

TEST(VethTest, UsageErrors) {
  EXPECT_THAT(UsageError({"net", "veth"}), HasSubstr("--host or --from-ns is required"));
  EXPECT_THAT(UsageError({"net", "veth", "--ns", "a"}), HasSubstr("--host or --from-ns is required"));
  EXPECT_THAT(UsageError({"net", "veth", "--host", "h"}), HasSubstr("--ns is required"));
  EXPECT_THAT(UsageError({"net", "veth", "--host", "h", "--from-ns", "b", "--ns", "a"}), HasSubstr("--from-ns"));
  EXPECT_THAT(UsageError({"net", "veth", "--host", "h", "--interface", "i", "--ns", "a"}), HasSubstr("--from-ns"));
  EXPECT_THAT(UsageError({"net", "veth", "--host", "h", "--host", "i", "--ns", "a"}), HasSubstr("--host"));
  EXPECT_THAT(UsageError({"net", "veth", "--host"}), HasSubstr("--host"));
  for (const char* mtu : {"-1", "x", "", "1.5", "0x10", "4294967296", "+1", "1 "}) {
    EXPECT_THAT(UsageError({"net", "veth", "--host", "h", "--ns", "a", std::string("--mtu=") + mtu}),
                HasSubstr("--mtu"))
        << mtu;
  }
  const auto one_mtu = ParseAs<v1::CreateVethRequest>({"net", "veth", "--host", "h", "--ns", "a", "--mtu", "1400"});
  EXPECT_EQ(one_mtu.veth().endpoint_a().mtu(), 1400u);
  EXPECT_EQ(one_mtu.veth().endpoint_b().mtu(), 1400u) << "ends of different MTU lose packets";
  EXPECT_EQ(ParseAs<v1::CreateVethRequest>({"net", "veth", "--host", "h", "--ns", "a", "--mtu", "010"})
                .veth()
                .endpoint_a()
                .mtu(),
            10);
}

TEST(VethTest, FlagsOfTheCreationAreNoneOfTheOthers) {
  EXPECT_THAT(UsageError({"net", "veth", "list", "--host", "h"}), HasSubstr("not to `contain net veth list`"));
  EXPECT_THAT(UsageError({"net", "veth", "--down", "show", "h"}), HasSubstr("not to `contain net veth show`"));
  EXPECT_THAT(UsageError({"net", "veth", "delete", "h", "--allow-existing"}),
              HasSubstr("not to `contain net veth delete`"));
}

TEST(RenewTest, NeedsAnOwner) {
  EXPECT_EQ(ParseAs<v1::RenewLeaseRequest>({"net", "renew", "--owner", "ci"}).owner(), "ci");
  EXPECT_THAT(UsageError({"net", "renew"}), HasSubstr("--owner or NETPROV_OWNER is required"));
  EXPECT_THAT(UsageError({"net", "renew", "--owner", "ci", "-o", "name"}), HasSubstr("--output"));
}

TEST(GcTest, LooksOnlyUnlessToldOtherwise) {
  EXPECT_EQ(ParseAs<v1::CollectGarbageRequest>({"net", "gc", "--owner", "ci"}).ShortDebugString(),
            "owner: \"ci\" validate_only: true");
  EXPECT_EQ(ParseAs<v1::CollectGarbageRequest>({"net", "gc", "--owner", "ci", "--keep", "blue", "--apply", "--keep",
                                                "veths/v1", "--keep=namespaces/red"})
                .ShortDebugString(),
            "owner: \"ci\" keep: \"namespaces/blue\" keep: \"veths/v1\" keep: \"namespaces/red\"");
}

TEST(GcTest, UsageErrors) {
  EXPECT_THAT(UsageError({"net", "gc", "--apply"}), HasSubstr("--owner or NETPROV_OWNER is required"));
  for (const char* keep : {"", "veth/v1", "a/b", "namespaces/", "veths/", "veths/a/b", "/blue"}) {
    EXPECT_THAT(UsageError({"net", "gc", "--owner", "ci", "--apply", "--keep", keep}),
                HasSubstr("--keep: must be NAME, namespaces/NAME, veths/ID, bridges/ID or devices/ID"))
        << "what was meant to stay would be deleted: " << keep;
  }
  EXPECT_THAT(UsageError({"net", "gc", "--owner", "ci", "--keep", "blue", "red"}), HasSubstr("red"));
}

TEST(DoctorTest, ShowsOrChecks) {
  ParseAs<v1::GetHostReportRequest>({"net", "doctor"});
  EXPECT_FALSE(ParseAs<v1::CheckHostRequest>({"net", "doctor", "--check"}).validate_only());
  EXPECT_TRUE(ParseAs<v1::CheckHostRequest>({"net", "doctor", "--look-only", "--check"}).validate_only());
  EXPECT_THAT(UsageError({"net", "doctor", "--look-only"}), HasSubstr("--check"));
}

TEST(AccessTest, WhoAmIAndPki) {
  ParseAs<v1::WhoAmIRequest>({"whoami"});
  const PkiCommand init = ParseAs<PkiCommand>(
      {"pki", "init", "--dir", "d", "--server", "a", "--server", "::1", "--client", "ci", "--days", "7"});
  EXPECT_EQ(init.action, PkiCommand::Action::kInit);
  EXPECT_EQ(init.directory, "d");
  EXPECT_THAT(init.servers, ElementsAre("a", "::1"));
  EXPECT_THAT(init.clients, ElementsAre("ci"));
  EXPECT_EQ(init.lifetime, absl::Hours(7 * 24));
  EXPECT_EQ(ParseAs<PkiCommand>({"pki", "issue", "--dir", "d", "--client", "x"}).action, PkiCommand::Action::kIssue);
  const PkiCommand revoke = ParseAs<PkiCommand>({"pki", "revoke", "--dir", "d", "a.pem", "b.pem"});
  EXPECT_EQ(revoke.action, PkiCommand::Action::kRevoke);
  EXPECT_THAT(revoke.revoked, ElementsAre("a.pem", "b.pem"));
  EXPECT_FALSE(init.renew);
  const PkiCommand renewal =
      ParseAs<PkiCommand>({"pki", "issue", "--dir", "d", "--client", "spiffe://a/x", "--name", "a-x", "--renew"});
  EXPECT_TRUE(renewal.renew);
  EXPECT_EQ(renewal.name, "a-x");
  EXPECT_THAT(UsageError({"pki", "init", "--dir", "d", "--renew"}), HasSubstr("--renew"));
  EXPECT_THAT(UsageError({"pki", "init"}), HasSubstr("--dir"));
  EXPECT_THAT(UsageError({"pki", "issue", "--dir", "d"}), HasSubstr("--server or --client is required"));
  EXPECT_THAT(UsageError({"pki", "init", "--dir", "d", "--days", "0"}), HasSubstr("--days"));
  EXPECT_THAT(UsageError({"pki", "revoke", "--dir", "d"}), HasSubstr("CERTIFICATE"));
  EXPECT_THAT(UsageError({"-o", "json", "pki", "init", "--dir", "d"}), HasSubstr("--output"));
}

TEST(AccessTest, TlsIsForTcp) {
  const auto parsed = ParseCommandLine(
      {"--endpoint", "h:1", "--tls-ca", "a", "--tls-cert", "c", "--tls-key", "k", "--tls-server-name", "n", "whoami"});
  ASSERT_TRUE(std::holds_alternative<CommandLine>(parsed));
  EXPECT_EQ(std::get<CommandLine>(parsed).tls,
            (client::TlsOptions{.ca = "a", .certificate = "c", .key = "k", .server_name = "n"}));
  EXPECT_THAT(UsageError({"--endpoint", "unix:///x", "--tls-ca", "a", "whoami"}), HasSubstr("--tls-ca"));
  EXPECT_THAT(UsageError({"--state-dir", "/x", "--tls-key", "a", "whoami"}), HasSubstr("--tls-key"));
}

TEST(OwnerTest, FlagComesBeforeTheVariable) {
  const auto owner = [](const Arguments& arguments, const std::optional<std::string>& variable) {
    const auto parsed = ParseCommandLine(arguments, variable);
    return std::holds_alternative<CommandLine>(parsed) ? std::get<CommandLine>(parsed).owner : "a usage error";
  };
  EXPECT_EQ(owner({"net", "list"}, std::nullopt), std::nullopt);
  EXPECT_EQ(owner({"net", "list"}, ""), std::nullopt);
  EXPECT_EQ(owner({"net", "list"}, "lab"), "lab");
  EXPECT_EQ(owner({"--owner", "ci", "net", "list"}, "lab"), "ci");
  EXPECT_EQ(owner({"net", "list", "--owner=ci"}, "not one"), "ci");
}

TEST(OwnerTest, VariableIsTheOwnerOfWhatIsCreatedToo) {
  const auto parsed = ParseCommandLine({"net", "create", "blue", "--ttl", "5s"}, "lab");
  ASSERT_TRUE(std::holds_alternative<CommandLine>(parsed));
  EXPECT_EQ(std::get<v1::CreateNamespaceRequest>(std::get<CommandLine>(parsed).command).namespace_().metadata().owner(),
            "lab");
  const auto gc = ParseCommandLine({"net", "gc"}, "lab");
  EXPECT_EQ(std::get<v1::CollectGarbageRequest>(std::get<CommandLine>(gc).command).owner(), "lab");
}

TEST(OwnerTest, WrongOwnerIsAUsageError) {
  EXPECT_THAT(UsageError({"net", "list", "--owner", "a b"}), HasSubstr("--owner: must be 1 to 128 characters"));
  EXPECT_THAT(UsageError({"net", "list", "--owner", ""}), HasSubstr("--owner: must be"));
  EXPECT_THAT(UsageError({"net", "list", "--owner="}), HasSubstr("the value is missing"));
  const auto parsed = ParseCommandLine({"net", "list"}, "a b");
  ASSERT_TRUE(std::holds_alternative<Exit>(parsed));
  EXPECT_THAT(std::get<Exit>(parsed).text, HasSubstr("contain: NETPROV_OWNER: must be"));
}

TEST(ExecTest, TakesEverythingAfterTheMark) {
  const auto command = ParseAs<ExecCommand>({"net", "exec", "blue", "--", "sh", "-c", "[a,b]", "", "--", "-o", "json"});
  EXPECT_EQ(command.namespace_name, "namespaces/blue");
  EXPECT_THAT(command.command, ElementsAre("sh", "-c", "[a,b]", "", "--", "-o", "json"));
}

TEST(ExecTest, UsageErrors) {
  EXPECT_THAT(UsageError({"net", "exec", "blue"}), HasSubstr("the command is missing"));
  EXPECT_THAT(UsageError({"net", "exec", "blue", "--"}), HasSubstr("the command is missing"));
  EXPECT_THAT(UsageError({"net", "exec", "blue", "ls"}), HasSubstr("contain net exec blue -- ls\n"));
  EXPECT_THAT(UsageError({"net", "exec", "blue", "ip", "addr"}),
              HasSubstr("put -- before the command: contain net exec blue -- ip addr\n"));
  EXPECT_THAT(UsageError({"net", "exec", "blue", "a", "b", "--", "ls"}),
              HasSubstr("these arguments were not expected: a b\n"));
  EXPECT_THAT(UsageError({"net", "list", "a"}), HasSubstr("this argument was not expected: a\n"));
  EXPECT_THAT(UsageError({"net", "exec", "--", "ls"}), HasSubstr("NAME"));
  EXPECT_THAT(UsageError({"net", "exec", "blue", "-o", "json", "--", "ls"}), HasSubstr("--output"));
}

TEST(GlobalFlagTest, Defaults) {
  const CommandLine line = Parse({"net", "list"});
  EXPECT_EQ(line.endpoint, std::nullopt);
  EXPECT_EQ(line.state_dir, std::nullopt);
  EXPECT_EQ(line.timeout, absl::Seconds(30));
  EXPECT_EQ(line.format, Format::kDefault);
}

TEST(GlobalFlagTest, StandAnywhere) {
  for (const Arguments& arguments : std::vector<Arguments>{
           {"--endpoint", "host:1", "-o", "json", "--timeout", "5s", "net", "veth", "show", "a"},
           {"net", "--endpoint=host:1", "veth", "-o", "json", "show", "--timeout=5s", "a"},
           {"net", "veth", "show", "a", "--endpoint", "host:1", "--output", "json", "--timeout", "5s"}}) {
    const CommandLine line = Parse(arguments);
    EXPECT_EQ(line.endpoint, "host:1");
    EXPECT_EQ(line.format, Format::kJson);
    EXPECT_EQ(line.timeout, absl::Seconds(5));
  }
}

TEST(GlobalFlagTest, Output) {
  EXPECT_EQ(Parse({"net", "list", "-o", "table"}).format, Format::kTable);
  EXPECT_EQ(Parse({"net", "list", "-oyaml"}).format, Format::kYaml);
  EXPECT_EQ(Parse({"net", "list", "-o", "name"}).format, Format::kName);
  EXPECT_THAT(UsageError({"net", "list", "-o", "xml"}), HasSubstr("must be table, json, yaml or name, not `xml`"));
  EXPECT_THAT(UsageError({"net", "list", "-o", ""}), HasSubstr("--output"));
}

TEST(GlobalFlagTest, Timeout) {
  EXPECT_EQ(Parse({"--timeout", "1m30s", "net", "list"}).timeout, absl::Seconds(90));
  for (const char* text : {"0", "0s", "-1s", "10", "soon", "inf", ""}) {
    EXPECT_THAT(UsageError({"net", "list", std::string("--timeout=") + text}), HasSubstr("--timeout")) << text;
  }
}

TEST(GlobalFlagTest, EndpointAndStateDir) {
  EXPECT_EQ(Parse({"--state-dir", "/tmp/x", "net", "list"}).state_dir, "/tmp/x");
  EXPECT_THAT(UsageError({"--endpoint", "nowhere", "net", "list"}), HasSubstr("unix:///PATH or HOST:PORT"));
  EXPECT_THAT(UsageError({"--endpoint=", "net", "list"}), HasSubstr("--endpoint"));
  EXPECT_THAT(UsageError({"--state-dir=", "net", "list"}), HasSubstr("--state-dir"));
  EXPECT_THAT(UsageError({"--endpoint", "host:1", "--state-dir", "/x", "net", "list"}), HasSubstr("exclude"));
}

TEST(UsageTest, CommandsAreNeeded) {
  EXPECT_THAT(UsageError({}), HasSubstr("subcommand"));
  EXPECT_THAT(UsageError({"net"}), HasSubstr("subcommand"));
  UsageError({"bridge"});
  UsageError({"net", "rename", "a"});
  UsageError({"net", "create"});
  UsageError({"net", "create", "a", "b"});
  UsageError({"net", "create", "a", "--color"});
  UsageError({"net", "list", "a"});
  UsageError({"net", "list", "--allow-missing"});
}

TEST(UsageTest, ControlCharactersDoNotReachTheTerminal) {
  EXPECT_EQ(UsageError({"net", "list", "\x1b[2J"}).find('\x1b'), std::string::npos);
}

TEST(HelpTest, EveryCommandHasAnExample) {
  for (const Arguments& command : std::vector<Arguments>{{"net", "create"},
                                                         {"net", "delete"},
                                                         {"net", "list"},
                                                         {"net", "show"},
                                                         {"net", "veth"},
                                                         {"net", "veth", "list"},
                                                         {"net", "veth", "show"},
                                                         {"net", "veth", "delete"},
                                                         {"net", "renew"},
                                                         {"net", "gc"},
                                                         {"net", "doctor"},
                                                         {"net", "exec"}}) {
    Arguments arguments = command;
    arguments.push_back("--help");
    std::string words = "contain";
    for (const std::string& word : command) words += " " + word;
    const std::string help = Help(arguments);
    EXPECT_THAT(help, AllOf(HasSubstr("Usage: " + words), HasSubstr("Examples:\n  " + words))) << help;
  }
  EXPECT_THAT(Help({"net", "list", "--help"}), HasSubstr("contain net list -o json"));
  EXPECT_THAT(
      Help({"net", "veth", "--help"}),
      AllOf(HasSubstr("\n  -h,--help "), HasSubstr("\n  --host-address ADDRESS "), HasSubstr("\n  --mac MAC "),
            HasSubstr("\n  --host-mtu BYTES "), HasSubstr("\n  --address ADDRESS "), HasSubstr("\n  --peer-mac MAC ")));
  EXPECT_THAT(Help({"net", "exec", "-h"}), HasSubstr("NAME -- COMMAND [ARGUMENT...]"));
}

TEST(HelpTest, TopLevel) {
  EXPECT_THAT(Help({"--help"}),
              AllOf(HasSubstr("--endpoint"), HasSubstr("--timeout"), HasSubstr("--owner"), HasSubstr("net")));
  EXPECT_THAT(Help({"net", "-h"}), AllOf(HasSubstr("create"), HasSubstr("exec")));
}

TEST(HelpTest, Version) {
  EXPECT_EQ(Help({"--version"}), "contain 0.1.0\n");
  EXPECT_EQ(Help({"net", "list", "--version"}), "contain 0.1.0\n");
}

TEST(InspectionTest, TheHostIsTheDefault) {
  v1::ListLinksRequest links = ParseAs<v1::ListLinksRequest>({"net", "links"});
  EXPECT_EQ(links.parent(), "host");
  EXPECT_EQ(links.kind(), "");
  EXPECT_EQ(links.interface_name(), "");
  links = ParseAs<v1::ListLinksRequest>({"net", "links", "blue", "--kind", "veth", "--interface", "eth0"});
  EXPECT_EQ(links.parent(), "namespaces/blue");
  EXPECT_EQ(links.kind(), "veth");
  EXPECT_EQ(links.interface_name(), "eth0");
  EXPECT_EQ(ParseAs<v1::ListLinksRequest>({"net", "links", "namespaces/blue"}).parent(), "namespaces/blue");
  // A namespace of that name is one.
  EXPECT_EQ(ParseAs<v1::ListLinksRequest>({"net", "links", "host"}).parent(), "namespaces/host");
}

TEST(InspectionTest, FamiliesAndTablesHaveNames) {
  EXPECT_EQ(ParseAs<v1::ListAddressesRequest>({"net", "addresses"}).family(), v1::IP_FAMILY_UNSPECIFIED);
  EXPECT_EQ(ParseAs<v1::ListAddressesRequest>({"net", "addresses", "--family", "ipv4"}).family(), v1::IP_FAMILY_IPV4);
  EXPECT_EQ(ParseAs<v1::ListNeighborsRequest>({"net", "neighbors", "--family=ipv6"}).family(), v1::IP_FAMILY_IPV6);
  EXPECT_EQ(ParseAs<v1::ListNeighborsRequest>({"net", "neighbors", "--interface", "h0"}).interface_name(), "h0");
  EXPECT_EQ(ParseAs<v1::ListRoutesRequest>({"net", "routes", "blue"}).table(), 254u);
  for (const auto& [text, table] :
       std::vector<std::pair<std::string, uint32_t>>{{"main", 254}, {"local", 255}, {"all", 0}, {"1000", 1000}}) {
    EXPECT_EQ(ParseAs<v1::ListRoutesRequest>({"net", "routes", "blue", "--table", text}).table(), table) << text;
  }
  const v1::ListRoutesRequest some =
      ParseAs<v1::ListRoutesRequest>({"net", "routes", "blue", "--family", "ipv6", "--interface", "eth0"});
  EXPECT_EQ(some.family(), v1::IP_FAMILY_IPV6);
  EXPECT_EQ(some.interface_name(), "eth0");
}

TEST(InspectionTest, WhatHasNoMeaningIsAnError) {
  EXPECT_THAT(UsageError({"net", "addresses", "--family", "4"}), HasSubstr("--family: must be ipv4 or ipv6, not `4`"));
  for (const char* table : {"0", "x", "-1", "4294967296"}) {
    EXPECT_THAT(UsageError({"net", "routes", "--table", table}), HasSubstr("--table")) << table;
  }
  EXPECT_THAT(UsageError({"net", "routes", "-o", "name"}), HasSubstr("`name` has no meaning for `contain net routes`"));
  EXPECT_THAT(UsageError({"net", "addresses", "-o", "name"}), HasSubstr("contain net addresses"));
  EXPECT_THAT(UsageError({"net", "neighbors", "-o", "name"}), HasSubstr("contain net neighbors"));
  UsageError({"net", "links", "--family", "ipv4"});
  UsageError({"net", "addresses", "--kind", "veth"});
  UsageError({"net", "neighbors", "--table", "main"});
}

TEST(CommandLineTest, SetIsAnUpdateOfWhatIsNamed) {
  auto parsed = ParseCommandLine({"net", "set", "veths/v", "endpoint_b.mtu=1400", "metadata.labels=a=b",
                                  "metadata.labels=c=d", "--validate-only"});
  ASSERT_TRUE(std::holds_alternative<CommandLine>(parsed)) << std::get<Exit>(parsed).text;
  const auto& veth = std::get<v1::UpdateVethRequest>(std::get<CommandLine>(parsed).command);
  EXPECT_EQ(veth.veth().name(), "veths/v");
  EXPECT_EQ(veth.veth().endpoint_b().mtu(), 1400U);
  EXPECT_EQ(veth.veth().metadata().labels_size(), 2);
  EXPECT_EQ(veth.update_mask().paths_size(), 2);
  EXPECT_TRUE(veth.validate_only());
  parsed = ParseCommandLine({"net", "set", "bridges/br", "stp=yes"});
  ASSERT_TRUE(std::holds_alternative<CommandLine>(parsed)) << std::get<Exit>(parsed).text;
  EXPECT_TRUE(std::get<v1::UpdateBridgeRequest>(std::get<CommandLine>(parsed).command).bridge().stp());
  parsed = ParseCommandLine({"net", "set", "devices/x0", "vxlan.fdb=00:00:00:00:00:00 dst 192.0.2.3 vni 7"});
  ASSERT_TRUE(std::holds_alternative<CommandLine>(parsed)) << std::get<Exit>(parsed).text;
  const auto& device = std::get<v1::UpdateDeviceRequest>(std::get<CommandLine>(parsed).command);
  EXPECT_EQ(device.device().name(), "devices/x0");
  ASSERT_EQ(device.device().vxlan().fdb_size(), 1);
  EXPECT_EQ(device.device().vxlan().fdb(0).vni(), 7U);
  EXPECT_EQ(device.update_mask().paths(0), "vxlan.fdb");
  for (const char* name : {"blue", "namespaces/blue"}) {
    parsed = ParseCommandLine({"net", "set", name, "sysctls=net.ipv4.ip_forward=1"});
    ASSERT_TRUE(std::holds_alternative<CommandLine>(parsed)) << std::get<Exit>(parsed).text;
    const auto& netns = std::get<v1::UpdateNamespaceRequest>(std::get<CommandLine>(parsed).command);
    EXPECT_EQ(netns.namespace_().name(), "namespaces/blue");
    EXPECT_EQ(netns.namespace_().sysctls().at("net.ipv4.ip_forward"), "1");
  }
  EXPECT_THAT(UsageError({"net", "set", "h0", "endpoint_b.mtu=1400"}), HasSubstr("did you mean veths/h0?"));
  EXPECT_THAT(UsageError({"net", "set", "br0", "stp=yes"}), HasSubstr("did you mean bridges/br0?"));
  EXPECT_THAT(UsageError({"net", "set", "namespaces/h0", "endpoint_b.mtu=1400"}), Not(HasSubstr("did you mean")));
  EXPECT_THAT(UsageError({"net", "set", "h0", "color=red"}), Not(HasSubstr("did you mean")));
  for (const std::vector<std::string>& arguments :
       std::vector<std::vector<std::string>>{{"net", "set", "blue"},
                                             {"net", "set"},
                                             {"net", "set", "blue", "color=red"},
                                             {"net", "set", "blue", "sysctls"}}) {
    auto refused = ParseCommandLine(arguments);
    ASSERT_TRUE(std::holds_alternative<Exit>(refused));
    EXPECT_EQ(std::get<Exit>(refused).code, 2);
  }
}

}  // namespace
}  // namespace netprov::cli
