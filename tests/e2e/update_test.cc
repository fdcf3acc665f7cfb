// Updates that change much at once, or nothing at all. That each field can be changed is shown by fields_test.
#include <csignal>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/component/test_client.h"
#include "tests/e2e/host_fixture.h"
#include "tests/testing/private_host.h"
#include "tests/testing/process.h"

namespace netprov::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// How far the kernel is with its own addresses is no change.
constexpr char kLook[] =
    "ip -n blue -d address show dev eth0 | sed 's/ tentative//'; ip -n blue -d link show dev eth0; "
    "ip -n blue -4 route show table all proto 110; ip -n blue -6 route show table all proto 110";

class UpdateTest : public HostTest {
 protected:
  void SetUp() override {
    HostTest::SetUp();
    StartDaemon();
    EXPECT_OK(client_->CreateNamespace("blue"));
    v1::CreateVethRequest request = VethRequest("v", "h0", "blue", "eth0");
    v1::VethEndpoint& end = *request.mutable_veth()->mutable_endpoint_b();
    end.set_mac_address("02:00:00:00:00:0b");
    end.set_mtu(1500);
    end.add_addresses()->set_address("10.0.0.2/24");
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

  // All four limits.
  static constexpr const char* kLimits[] = {"endpoint_a.ingress_limit", "endpoint_a.egress_limit",
                                            "endpoint_b.ingress_limit", "endpoint_b.egress_limit"};
  static void SetLimits(v1::Veth& veth, uint64_t rate) {
    for (v1::VethEndpoint* end : {veth.mutable_endpoint_a(), veth.mutable_endpoint_b()}) {
      end->mutable_ingress_limit()->set_rate(rate);
      end->mutable_egress_limit()->set_rate(rate);
    }
  }

  v1::Veth first_;
};

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

// Neither end is taken down, so that nothing that is under way gets lost.
TEST_F(UpdateTest, NothingIsLostWhileAPairIsUpdated) {
  v1::Veth wanted = first_;
  v1::VethEndpoint& host = *wanted.mutable_endpoint_a();
  v1::VethEndpoint& end = *wanted.mutable_endpoint_b();
  host.add_addresses()->set_address("10.0.0.1/24");
  SetLimits(wanted, 1'000'000'000);
  EXPECT_OK(Update(wanted, {"endpoint_a.addresses", kLimits[0], kLimits[1], kLimits[2], kLimits[3]}));
  Process traffic({"/usr/bin/python3", "tests/e2e/traffic_through.py", "blue", "10.0.0.1"});
  traffic.WaitForLine("begun");
  for (int i = 0; i < 20; ++i) {
    end.set_mtu(i % 2 == 0 ? 1400 : 1500);
    EXPECT_OK(Update(wanted, {"endpoint_b.mtu"}));
    SetLimits(wanted, 1'000'000'000 + i * 1'000'000);
    EXPECT_OK(Update(wanted, {kLimits[0], kLimits[1], kLimits[2], kLimits[3]}));
    end.add_addresses()->set_address(absl::StrCat("10.1.", i, ".1/24"));
    end.add_routes()->set_destination(absl::StrCat("10.2.", i, ".0/24"));
    end.clear_alternative_names();
    end.add_alternative_names(absl::StrCat("name-", i));
    EXPECT_OK(Update(wanted, {"endpoint_b.addresses", "endpoint_b.routes", "endpoint_b.alternative_names"}));
    // Nothing.
    EXPECT_OK(Update(wanted, {"endpoint_b.addresses", "endpoint_b.mtu", kLimits[0]}));
  }
  EXPECT_EQ(traffic.Stop(SIGTERM), 0) << traffic.log();
  EXPECT_THAT(traffic.log(), HasSubstr(" lost=0\n"));
}

// While a limit comes or goes, the kernel has no queue for the link, and may drop what is sent.
TEST_F(UpdateTest, AConnectionOutlivesALimitThatComesAndGoes) {
  v1::Veth wanted = first_;
  wanted.mutable_endpoint_a()->add_addresses()->set_address("10.0.0.1/24");
  EXPECT_OK(Update(wanted, {"endpoint_a.addresses"}));
  Process traffic({"/usr/bin/python3", "tests/e2e/traffic_through.py", "blue", "10.0.0.1"});
  traffic.WaitForLine("begun");
  SetLimits(wanted, 1'000'000'000);
  EXPECT_OK(Update(wanted, {kLimits[0], kLimits[1], kLimits[2], kLimits[3]}));
  EXPECT_OK(Update(first_, {kLimits[0], kLimits[1], kLimits[2], kLimits[3]}));
  EXPECT_EQ(traffic.Stop(SIGTERM), 0) << traffic.log();
  EXPECT_THAT(traffic.log(), HasSubstr("rounds="));
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

TEST_F(UpdateTest, ARefusedSysctlLeavesTheOthersAsTheyWere) {
  v1::UpdateNamespaceRequest netns;
  netns.mutable_namespace_()->set_name("namespaces/blue");
  (*netns.mutable_namespace_()->mutable_sysctls())["net.ipv4.ip_forward"] = "1";
  netns.mutable_update_mask()->add_paths("sysctls");
  EXPECT_OK(client_->Update(netns));
  EXPECT_EQ(Shell("ip netns exec blue sysctl -n net.ipv4.ip_forward"), "1\n");
  (*netns.mutable_namespace_()->mutable_sysctls())["net.ipv4.ip_forward"] = "x";
  (*netns.mutable_namespace_()->mutable_sysctls())["net.ipv4.conf.all.accept_redirects"] = "0";
  const std::string before = Shell("ip netns exec blue sysctl net.ipv4.conf.all.accept_redirects");
  EXPECT_EQ(client_->Update(netns).Summary(), "FAILED_PRECONDITION SYSCTL_REFUSED");
  EXPECT_EQ(Shell("ip netns exec blue sysctl net.ipv4.conf.all.accept_redirects"), before);
  EXPECT_EQ(client_->GetNamespace("blue").value.state(), v1::Namespace::STATE_READY);
}

}  // namespace
}  // namespace netprov::testing
