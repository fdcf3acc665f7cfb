// Namespaces that `ip netns` made, taken into netprov's care and let go: as the daemon answers, and as iproute2 sees
// it.
#include <csignal>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/component/test_client.h"
#include "tests/e2e/host_fixture.h"
#include "tests/testing/private_host.h"
#include "tests/testing/process.h"

namespace netprov::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class AdoptTest : public HostTest {
 protected:
  void SetUp() override {
    HostTest::SetUp();
    Shell(
        "ip netns add lab; ip -n lab link set lo alias theirs; ip -n lab link add l0 type veth peer name l1; "
        "ip -n lab address add 10.9.0.1/24 dev l0");
    StartDaemon();
  }

  // All that `ip` says of it, but for the times of life of addresses.
  static std::string Lab() { return Shell("ip -n lab -d address | grep -v valid_lft; ip -n lab route show table all"); }
  static std::string Contain(const std::string& command) { return Shell(absl::StrCat(kContain, " net ", command)); }

  // Why it is refused.
  std::string RefusalOf(const std::string& id) {
    const Reply<v1::Namespace> refused = client_->AdoptNamespace(id);
    return absl::StrCat(refused.Summary(), ": ", refused.message);
  }
};

TEST_F(AdoptTest, FromIpNetnsAndBack) {
  EXPECT_EQ(Contain("adopt lab --sysctl net.ipv4.ip_forward=1"), "Adopted network namespace: lab\n");
  EXPECT_THAT(Lab(), HasSubstr("adopted/lab"));
  EXPECT_EQ(Shell("ip netns exec lab sysctl -n net.ipv4.ip_forward"), "1\n");
  EXPECT_OK(client_->Create(VethRequest("v", "h0", "lab", "eth0")));
  KillDaemon();
  StartDaemon();
  EXPECT_THAT(Findings(), ElementsAre());
  const Reply<v1::Namespace> lab = client_->GetNamespace("lab");
  EXPECT_EQ(lab.value.state(), v1::Namespace::STATE_READY) << lab.value.ShortDebugString();
  EXPECT_TRUE(lab.value.adopted());

  const Reply<google::protobuf::Empty> refused = client_->ReleaseNamespace("lab");
  EXPECT_EQ(refused.Summary(), "FAILED_PRECONDITION NAMESPACE_IN_USE");
  EXPECT_THAT(refused.message, HasSubstr("veths/v"));
  EXPECT_OK(client_->DeleteVeth("v"));
  EXPECT_EQ(Contain("release lab"), "Released network namespace: lab\n");
  EXPECT_EQ(client_->ReleaseNamespace("lab").Summary(), "FAILED_PRECONDITION NAMESPACE_NOT_MANAGED");
  EXPECT_EQ(Contain("release lab --allow-missing"), "Network namespace is not managed: lab\n");
  EXPECT_THAT(Lab(), AllOf(HasSubstr("alias theirs"), HasSubstr("10.9.0.1/24"), Not(HasSubstr("netprov"))));
  EXPECT_THAT(Shell("ip netns list"), HasSubstr("lab"));
  KillDaemon();
  StartDaemon();
  EXPECT_THAT(Findings(), ElementsAre());
  EXPECT_FALSE(client_->GetNamespace("lab").value.managed());
}

TEST_F(AdoptTest, OneThatNetprovMadeCanBeReleasedAndAdopted) {
  EXPECT_OK(client_->CreateNamespace("blue"));
  EXPECT_OK(client_->ReleaseNamespace("blue"));
  EXPECT_THAT(Shell("ip -n blue link show lo"), AllOf(HasSubstr("UP"), Not(HasSubstr("alias"))));
  EXPECT_OK(client_->AdoptNamespace("blue"));
  EXPECT_OK(client_->DeleteNamespace("blue"));
  EXPECT_EQ(Names(), "lab\n");
}

TEST_F(AdoptTest, WhatIsAdoptedIsDeletedWithAllThatIsInIt) {
  Shell("ip -n lab link add up0 type veth peer name up1 netns foreign");
  EXPECT_OK(client_->AdoptNamespace("lab"));
  EXPECT_OK(client_->DeleteNamespace("lab"));
  EXPECT_EQ(Names(), "");
  EXPECT_THAT(Shell("ip -n foreign link"), Not(HasSubstr("up1")));
}

TEST_F(AdoptTest, RefusesWhatIsNoNamespaceToAdopt) {
  const std::string before = Lab();
  EXPECT_THAT(RefusalOf("none"), HasSubstr("NAMESPACE_NOT_FOUND"));
  Shell("touch /run/netns/file");
  EXPECT_THAT(RefusalOf("file"), HasSubstr("NAMESPACE_FILE_STALE"));
  Shell("touch /run/netns/uts && mount --bind /proc/self/ns/uts /run/netns/uts");
  EXPECT_THAT(RefusalOf("uts"), HasSubstr("NAMESPACE_FILE_STALE"));
  Shell("touch /run/netns/me && mount --bind /proc/self/ns/net /run/netns/me");
  EXPECT_THAT(RefusalOf("me"), AllOf(HasSubstr("NAMESPACE_NOT_ADOPTABLE"), HasSubstr("host's own")));
  EXPECT_OK(client_->CreateNamespace("blue"));
  EXPECT_THAT(RefusalOf("blue"), HasSubstr("NAMESPACE_ALREADY_EXISTS"));
  Shell("touch /run/netns/too && mount --bind /run/netns/blue /run/netns/too");
  EXPECT_THAT(RefusalOf("too"), AllOf(HasSubstr("NAMESPACE_NOT_ADOPTABLE"), HasSubstr("namespaces/blue")));
  v1::CreateVethRequest request = VethRequest("v", "h0", "blue", "eth0");
  request.mutable_veth()->mutable_endpoint_a()->set_netns_path("/run/netns/lab");
  EXPECT_OK(client_->Create(request));
  EXPECT_THAT(RefusalOf("lab"), AllOf(HasSubstr("NAMESPACE_IN_USE"), HasSubstr("veths/v")));
  EXPECT_OK(client_->DeleteVeth("v"));
  EXPECT_EQ(Lab(), before);
}

}  // namespace
}  // namespace netprov::testing
