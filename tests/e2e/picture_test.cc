// Whatever changes on the host shows in the picture, and what is as it was looks as it did: the crash and failure
// points can see no more than that.
#include "tests/e2e/picture.h"

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/component/test_client.h"
#include "tests/e2e/host_fixture.h"
#include "tests/testing/private_host.h"
#include "tests/testing/process.h"

namespace netprov::testing {
namespace {

constexpr char kPlace[] = "/run/place";

// In the host, `foreign` and the place, with something of each kind; `$elsewhere` enters the place.
constexpr char kWorld[] = R"sh(
ip -n foreign link add x0 type vxlan id 7 dstport 4789 remote 192.0.2.1
ip -n foreign addr add 10.0.0.1/24 dev f0; ip -n foreign link set f0 up
ip -n foreign route add 10.1.0.0/16 dev f0
tc -n foreign qdisc add dev f0 root tbf rate 1mbit burst 10k latency 10ms
tc -n foreign qdisc add dev f1 clsact
mkdir -p /etc/netns/foreign; echo one >/etc/netns/foreign/hosts
nft -f - <<'END'
table inet t {
  set s { type inet_service; elements = { 1, 2, 3 }; }
  map m { type inet_service : verdict; elements = { 1 : accept, 2 : drop }; }
  chain c { tcp dport 22 accept; tcp dport { 80, 443 } drop; udp dport 53 accept; }
  chain d { udp dport 53 accept; }
}
END
$elsewhere ip link add p0 type veth peer name p1)sh";

// What somebody does, and what undoes it.
struct Change {
  const char* doing;
  const char* undoing;
};

constexpr Change kChanges[] = {
    // Links.
    {"ip link set foreign0 mtu 1400", "ip link set foreign0 mtu 1500"},
    {"ip link set foreign0 alias text", "ip link set foreign0 alias ''"},
    {"ip -n foreign link set f1 name f2", "ip -n foreign link set f2 name f1"},
    {"ip -n foreign link property add dev f1 altname another",
     "ip -n foreign link property del dev f1 altname another"},
    {"ip link set foreign0 promisc on", "ip link set foreign0 promisc off"},
    {"ip link add d0 type veth peer name d1", "ip link del d0"},
    // What is on them.
    {"ip -n foreign addr add 10.0.2.1/24 dev f0", "ip -n foreign addr del 10.0.2.1/24 dev f0"},
    {"ip -n foreign route change 10.1.0.0/16 dev f0 mtu 1400", "ip -n foreign route replace 10.1.0.0/16 dev f0"},
    {"ip -n foreign route add 10.9.0.0/16 dev f0 table 1000", "ip -n foreign route del 10.9.0.0/16 table 1000"},
    {"ip rule add from 10.0.0.1 table 1000", "ip rule del from 10.0.0.1 table 1000"},
    {"ip -n foreign neigh add 10.0.0.9 lladdr 02:00:00:00:00:09 dev f0", "ip -n foreign neigh del 10.0.0.9 dev f0"},
    {"bridge -n foreign fdb append 02:00:00:00:00:01 dev x0 dst 192.0.2.2",
     "bridge -n foreign fdb del 02:00:00:00:00:01 dev x0 dst 192.0.2.2"},
    {"tc -n foreign qdisc change dev f0 root tbf rate 2mbit burst 10k latency 10ms",
     "tc -n foreign qdisc change dev f0 root tbf rate 1mbit burst 10k latency 10ms"},
    {"tc -n foreign filter add dev f1 ingress protocol all pref 9 u32 match u32 0 0 flowid 1:1",
     "tc -n foreign filter del dev f1 ingress"},
    // Settings: of a link, of all, of new ones, of the namespace.
    {"sysctl -qw net.ipv4.conf.foreign0.arp_notify=1", "sysctl -qw net.ipv4.conf.foreign0.arp_notify=0"},
    {"ip netns exec foreign sysctl -qw net.ipv6.conf.f0.ndisc_notify=1",
     "ip netns exec foreign sysctl -qw net.ipv6.conf.f0.ndisc_notify=0"},
    {"ip netns exec foreign sysctl -qw net.ipv4.conf.f1.log_martians=1",
     "ip netns exec foreign sysctl -qw net.ipv4.conf.f1.log_martians=0"},
    {"ip netns exec foreign sysctl -qw net.ipv6.conf.f1.hop_limit=63",
     "ip netns exec foreign sysctl -qw net.ipv6.conf.f1.hop_limit=64"},
    {"sysctl -qw net.ipv4.conf.all.arp_notify=1", "sysctl -qw net.ipv4.conf.all.arp_notify=0"},
    {"ip netns exec foreign sysctl -qw net.ipv6.conf.default.ndisc_notify=1",
     "ip netns exec foreign sysctl -qw net.ipv6.conf.default.ndisc_notify=0"},
    {"ip netns exec foreign sysctl -qw net.ipv4.ip_forward=1",
     "ip netns exec foreign sysctl -qw net.ipv4.ip_forward=0 net.ipv4.conf.all.accept_redirects=1"},
    // Rules: those of a chain in another order, the same rule in another chain, an element more, one with another
    // value.
    {"nft 'flush chain inet t c; add rule inet t c tcp dport { 80, 443 } drop; add rule inet t c tcp dport 22 accept; "
     "add rule inet t c udp dport 53 accept'",
     "nft 'flush chain inet t c; add rule inet t c tcp dport 22 accept; add rule inet t c tcp dport { 80, 443 } drop; "
     "add rule inet t c udp dport 53 accept'"},
    {"nft 'flush chain inet t d; add rule inet t c udp dport 53 accept'",
     "nft 'flush chain inet t c; add rule inet t c tcp dport 22 accept; add rule inet t c tcp dport { 80, 443 } drop; "
     "add rule inet t c udp dport 53 accept; add rule inet t d udp dport 53 accept'"},
    {"nft add element inet t s { 4 }", "nft delete element inet t s { 4 }"},
    {"nft 'flush map inet t m; add element inet t m { 1 : drop, 2 : accept }'",
     "nft 'flush map inet t m; add element inet t m { 1 : accept, 2 : drop }'"},
    // Files.
    {"touch /run/netns/another", "rm /run/netns/another"},
    {"mount --bind /run/netns/foreign /run/netns/foreign", "umount /run/netns/foreign"},
    {"echo two >/etc/netns/foreign/hosts", "echo one >/etc/netns/foreign/hosts"},
    {"chmod 600 /etc/netns/foreign/hosts", "chmod 644 /etc/netns/foreign/hosts"},
    // In a namespace that is not at /run/netns.
    {"$elsewhere ip link set p0 mtu 1400", "$elsewhere ip link set p0 mtu 1500"},
    {"$elsewhere ip addr add 10.0.3.1/24 dev p0", "$elsewhere ip addr del 10.0.3.1/24 dev p0"},
    {"$elsewhere sysctl -qw net.ipv4.conf.p1.arp_notify=1", "$elsewhere sysctl -qw net.ipv4.conf.p1.arp_notify=0"},
    {"$elsewhere nft add table inet t", "$elsewhere nft delete table inet t"},
};

class PictureTest : public HostTest {
 protected:
  void SetUp() override {
    HostTest::SetUp();
    inside_ = std::make_unique<Process>(
        std::vector<std::string>{"unshare", "--net", "sh", "-c",
                                 absl::StrCat("touch ", kPlace, "; mount --bind /proc/$$/ns/net ", kPlace,
                                              "; echo here >&2; exec sleep infinity")});
    inside_->WaitForLine("here");
    Elsewhere(kWorld);
    StartDaemon();
  }
  void TearDown() override {
    inside_ = nullptr;
    Shell(absl::StrCat("nft flush ruleset; umount ", kPlace));
    client_ = nullptr;
    daemon_ = nullptr;
    // What is foreign was changed on purpose.
    Shell("ip netns delete foreign; ip link del foreign0; rm -rf /etc/netns /var/lib/netprov");
  }

  static void Elsewhere(const std::string& command) {
    Shell(absl::StrCat("set -e; elsewhere='nsenter --net=", kPlace, "'\n", command));
  }
  std::string Picture() { return PictureOf(*client_, {kPlace}); }

  std::unique_ptr<Process> inside_;
};

TEST_F(PictureTest, ShowsEachChangeAndThatItWasUndone) {
  const std::string before = Picture();
  EXPECT_EQ(Picture(), before);
  for (const Change& change : kChanges) {
    SCOPED_TRACE(change.doing);
    Elsewhere(change.doing);
    EXPECT_NE(Picture(), before);
    Elsewhere(change.undoing);
    ASSERT_EQ(Picture(), before);
  }
}

TEST_F(PictureTest, ShowsVlansOfABridgesPorts) {
  const bool can_filter =
      Shell("if ip link add br0 type bridge vlan_filtering 1 2>/dev/null; then echo yes; fi") == "yes\n";
  if (!can_filter) GTEST_SKIP() << "the kernel has no VLANs of bridges' ports";
  Shell("ip link set foreign0 master br0");
  const std::string before = Picture();
  Shell("bridge vlan add dev foreign0 vid 7");
  EXPECT_NE(Picture(), before);
  Shell("bridge vlan del dev foreign0 vid 7");
  EXPECT_EQ(Picture(), before);
  Shell("ip link del br0");
}

TEST_F(PictureTest, ElementsHaveNoOrder) {
  const std::string before = Picture();
  Shell("nft 'flush set inet t s; add element inet t s { 3 }; add element inet t s { 2 }; add element inet t s { 1 }'");
  EXPECT_EQ(Picture(), before);
}

TEST_F(PictureTest, ShowsObjectsAndTheirTags) {
  EXPECT_OK(client_->CreateNamespace("blue"));
  const std::string before = Picture();
  v1::UpdateNamespaceRequest update;
  update.mutable_namespace_()->set_name("namespaces/blue");
  (*update.mutable_namespace_()->mutable_metadata()->mutable_labels())["team"] = "net";
  update.mutable_update_mask()->add_paths("metadata.labels");
  EXPECT_OK(client_->Update(update));
  EXPECT_NE(Picture(), before);
  // Made anew it is another, and looks the same.
  EXPECT_OK(client_->DeleteNamespace("blue"));
  EXPECT_OK(client_->CreateNamespace("blue"));
  EXPECT_EQ(Picture(), before);
  // But not with the tag of the one before.
  Shell("ip -n blue link set lo alias \"$(ip -n blue link show lo | sed -n 's/.*alias //p' | tr 0-9 1-90)\"");
  EXPECT_NE(Picture(), before);
  EXPECT_OK(client_->DeleteNamespace("blue"));
}

}  // namespace
}  // namespace netprov::testing
