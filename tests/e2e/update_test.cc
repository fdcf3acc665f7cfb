// Updates: each field alone and all together, as asked for, as Get reads them and as `ip` shows them.
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"
#include "tests/component/test_client.h"
#include "tests/e2e/host_fixture.h"
#include "tests/testing/private_host.h"

namespace netprov::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// A field of the end in blue, what it becomes, and what iproute2 then says of eth0 there.
struct Field {
  const char* path;
  const char* text;
  const char* shown;
};

constexpr Field kFields[] = {
    {"mac_address", R"(mac_address: "02:00:00:00:00:0c")", "02:00:00:00:00:0c"},
    {"mtu", "mtu: 1400", "mtu 1400"},
    {"admin_state", "admin_state: ADMIN_STATE_DOWN", "state DOWN"},
    {"promiscuous", "promiscuous: true", "PROMISC"},
    {"all_multicast", "all_multicast: true", "ALLMULTI"},
    {"alias", R"(alias: "to the lab")", ":veths/v to the lab"},
    {"alternative_names", R"(alternative_names: "the-link")", "altname the-link"},
    {"offload_limits", "offload_limits { gso_max_size: 40000 gso_max_segments: 100 }", "gso_max_size 40000"},
    {"addresses",
     R"(addresses { address: "10.0.0.3/24" } addresses { address: "10.0.0.2/24" } addresses { address: "2001:db8::3/64" })",
     "inet 10.0.0.2/24 scope global secondary"},
    {"neighbors", R"(neighbors { address: "10.0.0.9" mac_address: "02:00:00:00:00:09" })", "02:00:00:00:00:09"},
    {"bridge", R"(bridge: "bridges/br")", "master br0"},
    {"ingress_limit", "ingress_limit { rate: 10000000 burst: 20000 latency { nanos: 50000000 } }", "rate 10Mbit"},
    {"egress_limit", "egress_limit { rate: 20000000 burst: 20000 latency { nanos: 50000000 } }", "rate 20Mbit"},
};

// How far the kernel is with its own addresses is no change.
constexpr char kLook[] =
    "ip -n blue -d address show dev eth0 | sed 's/ tentative//'; ip -n blue -d link show dev eth0; ip -n blue neighbor "
    "show nud permanent; "
    "ip -n blue -4 route show table all proto 110; ip -n blue -6 route show table all proto 110; tc qdisc show | grep "
    "tbf; "
    "tc filter show dev h0 ingress; ip -o link show type ifb | wc -l";

class UpdateTest : public HostTest {
 protected:
  void SetUp() override {
    HostTest::SetUp();
    StartDaemon();
    EXPECT_OK(client_->CreateNamespace("blue"));
    v1::CreateBridgeRequest bridge;
    bridge.set_bridge_id("br");
    bridge.mutable_bridge()->set_namespace_("namespaces/blue");
    bridge.mutable_bridge()->set_interface_name("br0");
    EXPECT_OK(client_->Create(bridge));
    v1::CreateVethRequest request = VethRequest("v", "h0", "blue", "eth0");
    v1::VethEndpoint& end = *request.mutable_veth()->mutable_endpoint_b();
    end.set_mac_address("02:00:00:00:00:0b");
    end.set_mtu(1500);
    end.add_addresses()->set_address("10.0.0.2/24");
    // So that the same comes back.
    end.mutable_offload_limits()->set_gso_max_size(65536);
    end.mutable_offload_limits()->set_gso_max_segments(65535);
    const Reply<v1::Veth> made = client_->Create(request);
    EXPECT_OK(made);
    first_ = made.value;
  }
  void TearDown() override {
    EXPECT_OK(client_->DeleteNamespace("blue"));
    HostTest::TearDown();
  }

  Reply<v1::Veth> Update(const v1::Veth& veth, const std::vector<std::string>& paths) {
    v1::UpdateVethRequest request;
    *request.mutable_veth() = veth;
    request.mutable_update_mask()->mutable_paths()->Add(paths.begin(), paths.end());
    return client_->Update(request);
  }

  // The answer to a change of some fields is the pair with these alone changed, and so is what Get says.
  void ExpectChanged(const std::string& things, const std::vector<std::string>& paths) {
    v1::Veth wanted = first_;
    v1::VethEndpoint& end = *wanted.mutable_endpoint_b();
    const google::protobuf::Descriptor& type = *end.GetDescriptor();
    for (const std::string& path : paths) {
      end.GetReflection()->ClearField(&end, type.FindFieldByName(path.substr(path.find('.') + 1)));
    }
    v1::VethEndpoint change;
    EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(things, &change)) << things;
    end.MergeFrom(change);
    const Reply<v1::Veth> updated = Update(wanted, paths);
    EXPECT_OK(updated);
    EXPECT_EQ(updated.value.state(), v1::Veth::STATE_READY) << updated.value.ShortDebugString();
    v1::Veth expected = wanted;
    // All settings of a port are told.
    *expected.mutable_endpoint_b()->mutable_bridge_port() = updated.value.endpoint_b().bridge_port();
    if (!updated.value.endpoint_b().has_bridge_port()) expected.mutable_endpoint_b()->clear_bridge_port();
    // What an address is besides.
    *expected.mutable_endpoint_b()->mutable_addresses() = updated.value.endpoint_b().addresses();
    EXPECT_EQ(updated.value.endpoint_b().addresses_size(), end.addresses_size());
    EXPECT_EQ(updated.value.DebugString(), expected.DebugString());
    EXPECT_EQ(client_->GetVeth("v").value.DebugString(), updated.value.DebugString());
  }

  v1::Veth first_;
};

TEST_F(UpdateTest, EachFieldAloneAndBackAndAllTogether) {
  const std::string before = Shell(kLook);
  std::string all;
  std::vector<std::string> paths;
  for (const Field& field : kFields) {
    SCOPED_TRACE(field.text);
    const std::string path = absl::StrCat("endpoint_b.", field.path);
    ASSERT_THAT(before, Not(HasSubstr(field.shown)));
    ExpectChanged(field.text, {path});
    EXPECT_THAT(Shell(kLook), HasSubstr(field.shown));
    EXPECT_OK(Update(first_, {path}));
    EXPECT_EQ(Shell(kLook), before);
    EXPECT_EQ(client_->GetVeth("v").value.DebugString(), first_.DebugString());
    // A link that is down has no neighbors.
    if (path == "endpoint_b.admin_state") continue;
    absl::StrAppend(&all, field.text, "\n");
    paths.push_back(path);
  }
  ExpectChanged(all, paths);
  for (const Field& field : kFields) {
    if (std::string(field.path) == "admin_state") continue;
    EXPECT_THAT(Shell(kLook), HasSubstr(field.shown)) << field.path;
  }
  // As it was updated, so it is known after a death.
  KillDaemon();
  StartDaemon();
  EXPECT_EQ(client_->GetVeth("v").value.state(), v1::Veth::STATE_READY);
  EXPECT_EQ(client_->GetVeth("v").value.endpoint_b().mtu(), 1400U);
  EXPECT_OK(Update(first_, paths));
  EXPECT_EQ(Shell(kLook), before);
}

TEST_F(UpdateTest, RoutesOfEveryKind) {
  v1::Veth wanted = first_;
  v1::VethEndpoint& end = *wanted.mutable_endpoint_b();
  end.add_gateways("10.0.0.1");
  v1::Route& through = *end.add_routes();
  through.set_destination("10.1.0.0/16");
  through.set_metric(7);
  v1::Route& nowhere = *end.add_routes();
  nowhere.set_destination("10.9.0.0/16");
  nowhere.set_type(v1::Route::TYPE_BLACKHOLE);
  const std::vector<std::string> paths = {"endpoint_b.gateways", "endpoint_b.routes"};
  const std::string before = Shell(kLook);
  EXPECT_OK(Update(wanted, paths));
  const std::string shown = Shell(kLook);
  EXPECT_THAT(shown, HasSubstr("default via 10.0.0.1 dev eth0"));
  EXPECT_THAT(shown, HasSubstr("10.1.0.0/16 dev eth0"));
  EXPECT_THAT(shown, HasSubstr("blackhole 10.9.0.0/16"));
  // The same destinations by other ways, which the kernel has no room for beside the old ones.
  through.set_gateway("10.0.0.1");
  nowhere.set_type(v1::Route::TYPE_UNREACHABLE);
  EXPECT_OK(Update(wanted, paths));
  EXPECT_THAT(Shell(kLook), HasSubstr("10.1.0.0/16 via 10.0.0.1 dev eth0"));
  EXPECT_THAT(Shell(kLook), HasSubstr("unreachable 10.9.0.0/16"));
  EXPECT_THAT(Shell(kLook), Not(HasSubstr("blackhole")));
  EXPECT_OK(Update(first_, paths));
  EXPECT_EQ(Shell(kLook), before);
}

TEST_F(UpdateTest, WhatTheKernelRefusesLeavesAllAsItWas) {
  Shell("ip -n blue link add taken type veth peer name taken1");
  Shell("ip -n blue route add blackhole 10.8.0.0/16");
  const std::string before = Shell(kLook);
  v1::Veth wanted = first_;
  v1::VethEndpoint& end = *wanted.mutable_endpoint_b();
  end.set_mtu(1400);
  end.clear_addresses();
  end.add_addresses()->set_address("10.0.1.2/24");
  end.add_routes()->set_destination("10.8.0.0/16");
  const std::vector<std::string> paths = {"endpoint_b.mtu", "endpoint_b.addresses", "endpoint_b.routes",
                                          "endpoint_b.alternative_names"};
  EXPECT_EQ(Update(wanted, paths).Summary(), "ALREADY_EXISTS ROUTE_ALREADY_EXISTS");
  EXPECT_EQ(Shell(kLook), before);
  end.clear_routes();
  end.add_alternative_names("taken");
  EXPECT_EQ(Update(wanted, paths).Summary(), "ALREADY_EXISTS INTERFACE_NAME_TAKEN");
  EXPECT_EQ(Shell(kLook), before);
  EXPECT_EQ(client_->GetVeth("v").value.DebugString(), first_.DebugString());
}

TEST_F(UpdateTest, ABridgeAndANamespace) {
  v1::UpdateBridgeRequest bridge;
  bridge.mutable_bridge()->set_name("bridges/br");
  bridge.mutable_bridge()->set_stp(true);
  bridge.mutable_bridge()->mutable_ageing_time()->set_seconds(60);
  bridge.mutable_bridge()->set_mtu(1400);
  bridge.mutable_bridge()->add_addresses()->set_address("10.0.9.1/24");
  for (const char* path : {"stp", "ageing_time", "mtu", "addresses"}) bridge.mutable_update_mask()->add_paths(path);
  const Reply<v1::Bridge> changed = client_->Update(bridge);
  EXPECT_OK(changed);
  EXPECT_EQ(changed.value.state(), v1::Bridge::STATE_READY);
  const std::string shown = Shell("ip -n blue -d link show br0; ip -n blue address show br0");
  for (const char* word : {"stp_state 1", "ageing_time 6000", "mtu 1400", "10.0.9.1/24"}) {
    EXPECT_THAT(shown, HasSubstr(word));
  }
  v1::UpdateNamespaceRequest netns;
  netns.mutable_namespace_()->set_name("namespaces/blue");
  (*netns.mutable_namespace_()->mutable_sysctls())["net.ipv4.ip_forward"] = "1";
  netns.mutable_update_mask()->add_paths("sysctls");
  EXPECT_OK(client_->Update(netns));
  EXPECT_EQ(Shell("ip netns exec blue sysctl -n net.ipv4.ip_forward"), "1\n");
  (*netns.mutable_namespace_()->mutable_sysctls())["net.ipv4.ip_forward"] = "x";
  (*netns.mutable_namespace_()->mutable_sysctls())["net.ipv4.conf.all.accept_redirects"] = "0";
  EXPECT_EQ(client_->Update(netns).Summary(), "FAILED_PRECONDITION SYSCTL_REFUSED");
  EXPECT_EQ(client_->GetNamespace("blue").value.state(), v1::Namespace::STATE_READY);
}

}  // namespace
}  // namespace netprov::testing
