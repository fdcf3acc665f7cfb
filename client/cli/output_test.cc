#include "client/cli/output.h"

#include "gtest/gtest.h"

namespace netprov::cli {
namespace {

v1::Namespace Blue() {
  v1::Namespace ns;
  ns.set_name("namespaces/blue");
  ns.set_uid("5bd4f2d5-0b70-4d38-9b5e-0c8bbd4a9a3e");
  ns.mutable_create_time()->set_seconds(1767225600);
  ns.set_managed(true);
  ns.set_state(v1::Namespace::STATE_ACTIVE);
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
  veth.set_state(v1::Veth::STATE_ACTIVE);
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

TEST(NamespaceTest, Table) {
  EXPECT_EQ(
      *PrintNamespace(Format::kTable, Blue()),
      "NAME  STATE   MANAGED  CREATED               UID                                   COOKIE  PATH\n"
      "blue  ACTIVE  yes      2026-01-01T00:00:00Z  5bd4f2d5-0b70-4d38-9b5e-0c8bbd4a9a3e  4097    /run/netns/blue\n");
  EXPECT_EQ(*PrintNamespace(Format::kDefault, Blue()), *PrintNamespace(Format::kTable, Blue()));
}

TEST(NamespaceTest, Json) {
  EXPECT_EQ(*PrintNamespace(Format::kJson, Blue()), R"({
  "name": "namespaces/blue",
  "uid": "5bd4f2d5-0b70-4d38-9b5e-0c8bbd4a9a3e",
  "create_time": "2026-01-01T00:00:00Z",
  "managed": true,
  "state": "STATE_ACTIVE",
  "path": "/run/netns/blue",
  "cookie": "4097"
}
)");
}

TEST(NamespaceTest, YamlIsTheSameDocument) {
  EXPECT_EQ(*PrintNamespace(Format::kYaml, Blue()), R"(name: "namespaces/blue"
uid: "5bd4f2d5-0b70-4d38-9b5e-0c8bbd4a9a3e"
create_time: "2026-01-01T00:00:00Z"
managed: true
state: "STATE_ACTIVE"
path: "/run/netns/blue"
cookie: "4097"
)");
}

TEST(NamespaceTest, Name) { EXPECT_EQ(*PrintNamespace(Format::kName, Blue()), "namespaces/blue\n"); }

TEST(NamespaceTest, TimeThatJsonCannotExpressIsAnError) {
  v1::Namespace ns = Blue();
  ns.mutable_create_time()->set_seconds(int64_t{1} << 50);
  EXPECT_TRUE(absl::IsInternal(PrintNamespace(Format::kJson, ns).status()));
}

TEST(NamespacesTest, Table) {
  EXPECT_EQ(*PrintNamespaces(Format::kTable, {Blue(), Foreign()}),
            "NAME      STATE   MANAGED  CREATED\n"
            "blue      ACTIVE  yes      2026-01-01T00:00:00Z\n"
            "my%20own  STALE   no       -\n");
}

TEST(NamespacesTest, EmptyTableIsItsHeader) {
  EXPECT_EQ(*PrintNamespaces(Format::kTable, {}), "NAME  STATE  MANAGED  CREATED\n");
}

TEST(NamespacesTest, JsonHasDefaultsAndLeavesOutWhatIsNotSet) {
  EXPECT_EQ(*PrintNamespaces(Format::kJson, {Foreign()}), R"({
  "namespaces": [
    {
      "name": "namespaces/my%20own",
      "uid": "",
      "managed": false,
      "state": "STATE_STALE",
      "path": "/run/netns/my own",
      "cookie": "0"
    }
  ]
}
)");
  EXPECT_EQ(*PrintNamespaces(Format::kJson, {}), "{\n  \"namespaces\": []\n}\n");
}

TEST(NamespacesTest, Yaml) {
  EXPECT_EQ(*PrintNamespaces(Format::kYaml, {Foreign()}), R"(namespaces:
  - name: "namespaces/my%20own"
    uid: ""
    managed: false
    state: "STATE_STALE"
    path: "/run/netns/my own"
    cookie: "0"
)");
  EXPECT_EQ(*PrintNamespaces(Format::kYaml, {}), "namespaces: []\n");
}

TEST(NamespacesTest, Names) {
  EXPECT_EQ(*PrintNamespaces(Format::kName, {Blue(), Foreign()}), "namespaces/blue\nnamespaces/my%20own\n");
  EXPECT_EQ(*PrintNamespaces(Format::kName, {}), "");
}

TEST(VethTest, TableHasALineForEachEnd) {
  EXPECT_EQ(*PrintVeth(Format::kTable, Uplink()),
            "NAME    STATE   END  INTERFACE  LOCATION  MAC                MTU   ADMIN  IFINDEX\n"
            "uplink  ACTIVE  a    veth-host  (host)    02:00:5e:10:00:01  1500  UP     12\n"
            "uplink  ACTIVE  b    veth0      blue      02:00:5e:10:00:02  9000  DOWN   2\n");
}

TEST(VethTest, Json) {
  EXPECT_EQ(*PrintVeth(Format::kJson, Uplink()), R"({
  "name": "veths/uplink",
  "uid": "9a3e5bd4-0b70-4d38-9b5e-f2d50c8bbd4a",
  "create_time": "2026-01-01T00:00:00.250Z",
  "state": "STATE_ACTIVE",
  "endpoint_a": {
    "host": {},
    "interface_name": "veth-host",
    "mac_address": "02:00:5e:10:00:01",
    "mtu": 1500,
    "admin_state": "ADMIN_STATE_UP",
    "ifindex": 12
  },
  "endpoint_b": {
    "namespace": "namespaces/blue",
    "interface_name": "veth0",
    "mac_address": "02:00:5e:10:00:02",
    "mtu": 9000,
    "admin_state": "ADMIN_STATE_DOWN",
    "ifindex": 2
  }
}
)");
}

TEST(VethTest, Yaml) {
  EXPECT_EQ(*PrintVeth(Format::kYaml, Uplink()), R"(name: "veths/uplink"
uid: "9a3e5bd4-0b70-4d38-9b5e-f2d50c8bbd4a"
create_time: "2026-01-01T00:00:00.250Z"
state: "STATE_ACTIVE"
endpoint_a:
  host: {}
  interface_name: "veth-host"
  mac_address: "02:00:5e:10:00:01"
  mtu: 1500
  admin_state: "ADMIN_STATE_UP"
  ifindex: 12
endpoint_b:
  namespace: "namespaces/blue"
  interface_name: "veth0"
  mac_address: "02:00:5e:10:00:02"
  mtu: 9000
  admin_state: "ADMIN_STATE_DOWN"
  ifindex: 2
)");
}

TEST(VethsTest, TableJsonYamlAndNames) {
  EXPECT_EQ(*PrintVeths(Format::kTable, {Uplink()}),
            "NAME    STATE   INTERFACE  LOCATION  PEER   PEER-LOCATION\n"
            "uplink  ACTIVE  veth-host  (host)    veth0  blue\n");
  EXPECT_EQ(*PrintVeths(Format::kName, {Uplink()}), "veths/uplink\n");
  EXPECT_EQ(*PrintVeths(Format::kJson, {}), "{\n  \"veths\": []\n}\n");
  EXPECT_EQ(PrintVeths(Format::kYaml, {Uplink()})->find("veths:\n  - name: \"veths/uplink\"\n    uid: "), 0);
}

TEST(VethsTest, ValuesOfALaterServerAreShownAsNumbers) {
  v1::Veth veth = Uplink();
  veth.set_state(static_cast<v1::Veth::State>(9));
  veth.mutable_endpoint_b()->clear_location();
  EXPECT_EQ(*PrintVeths(Format::kTable, {veth}),
            "NAME    STATE  INTERFACE  LOCATION  PEER   PEER-LOCATION\n"
            "uplink  9      veth-host  (host)    veth0  -\n");
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
}

TEST(PrintableTest, ControlCharactersAreEscaped) {
  EXPECT_EQ(Printable("a\x1b[31m\n\x7f\xc3\xa4"), "a\\x1b[31m\\x0a\\x7f\xc3\xa4");
  v1::Namespace ns = Foreign();
  ns.set_path("/run/netns/\x1b[2J");
  EXPECT_NE(PrintNamespace(Format::kTable, ns)->find("/run/netns/\\x1b[2J"), std::string::npos);
}

}  // namespace
}  // namespace netprov::cli
