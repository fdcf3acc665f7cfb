// The files at /etc/netns by which a namespace resolves names: as `ip netns exec` shows them to programs inside.
#include <csignal>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/component/test_client.h"
#include "tests/e2e/host_fixture.h"
#include "tests/testing/private_host.h"
#include "tests/testing/process.h"

namespace netprov::testing {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class DnsTest : public HostTest {
 protected:
  void SetUp() override {
    HostTest::SetUp();
    StartDaemon();
  }

  static std::string Contain(const std::string& command) { return Shell(absl::StrCat(kContain, " net ", command)); }
  static std::string Inside(const std::string& file) { return Shell("ip netns exec blue cat /etc/" + file); }
  // What is at /etc/netns, with modes and sizes.
  static std::string Etc() {
    return Shell("cd /etc && [ ! -e netns ] || find netns -mindepth 1 -printf '%m %s %p\\n' | sort -k3");
  }
  v1::CreateNamespaceRequest Request(const std::string& nameserver) {
    v1::CreateNamespaceRequest request;
    request.set_namespace_id("blue");
    request.mutable_namespace_()->mutable_dns()->add_nameservers(nameserver);
    return request;
  }
};

TEST_F(DnsTest, ProgramsInsideResolveByIt) {
  Contain(
      "create blue --dns 10.0.0.53 --dns-search example.org --dns-option ndots:2 --add-host "
      "db,db.example.org=10.0.0.5");
  EXPECT_THAT(Inside("resolv.conf"), HasSubstr("\nnameserver 10.0.0.53\nsearch example.org\noptions ndots:2\n"));
  EXPECT_THAT(Shell("ip netns exec blue getent hosts db.example.org localhost"),
              AllOf(HasSubstr("10.0.0.5"), HasSubstr("::1")));
  EXPECT_THAT(Etc(), AllOf(HasSubstr("755 "), HasSubstr("644 "))) << "whoever is inside may read them";
  EXPECT_THAT(Contain("show blue"), AllOf(HasSubstr("10.0.0.53"), HasSubstr("10.0.0.5 db db.example.org")));

  Contain("set blue dns.nameservers=10.0.0.54");
  EXPECT_THAT(Inside("resolv.conf"),
              AllOf(HasSubstr("nameserver 10.0.0.54\nsearch example.org"), Not(HasSubstr(".53"))));
  KillDaemon();
  StartDaemon();
  EXPECT_THAT(Findings(), ElementsAre());
  Contain("delete blue");
  EXPECT_EQ(Etc(), "");
}

TEST_F(DnsTest, FilesOfOthersStay) {
  Shell(
      "mkdir -p /etc/netns/blue; echo 'nameserver 10.0.0.1' > /etc/netns/blue/resolv.conf; echo x > /etc/netns/blue/x");
  const std::string before = Etc();
  const Reply<v1::Namespace> refused = client_->Create(Request("10.0.0.53"));
  EXPECT_EQ(refused.Summary(), "FAILED_PRECONDITION DNS_FILE_NOT_MANAGED");
  EXPECT_THAT(refused.message, HasSubstr("/etc/netns/blue/resolv.conf"));
  EXPECT_EQ(Etc(), before);
  // Not a file, nor where a link leads.
  Shell("rm /etc/netns/blue/resolv.conf; mkfifo /etc/netns/blue/resolv.conf");
  EXPECT_EQ(client_->Create(Request("10.0.0.53")).Summary(), "FAILED_PRECONDITION DNS_FILE_NOT_MANAGED");
  Shell("rm /etc/netns/blue/resolv.conf; ln -s /run/elsewhere /etc/netns/blue/resolv.conf");
  EXPECT_EQ(client_->Create(Request("10.0.0.53")).Summary(), "FAILED_PRECONDITION DNS_FILE_NOT_MANAGED");
  Shell("rm -r /etc/netns/blue; mkdir /run/elsewhere; ln -s /run/elsewhere /etc/netns/blue");
  EXPECT_EQ(client_->Create(Request("10.0.0.53")).Summary(), "FAILED_PRECONDITION DNS_FILE_NOT_MANAGED");
  EXPECT_EQ(Shell("ls /run/elsewhere"), "");
  Shell("rm /etc/netns/blue; rmdir /run/elsewhere; mkdir /etc/netns/blue; echo x > /etc/netns/blue/x");
  EXPECT_OK(client_->Create(Request("10.0.0.53")));
  EXPECT_OK(client_->DeleteNamespace("blue"));
  EXPECT_EQ(Shell("ls /etc/netns/blue"), "x\n");
}

TEST_F(DnsTest, DriftIsFoundAndHealed) {
  v1::CreateNamespaceRequest request = Request("10.0.0.53");
  EXPECT_OK(client_->Create(request));
  Shell("echo 'nameserver 10.0.0.9' >> /etc/netns/blue/resolv.conf");
  EXPECT_EQ(client_->GetNamespace("blue").value.deviations(0).field(), "dns[resolv.conf]");
  const Reply<v1::HostReport> report = client_->Check();
  EXPECT_THAT(FindingsOf(report.value), Contains(HasSubstr("namespaces/blue")));
  v1::UpdateNamespaceRequest update;
  update.mutable_namespace_()->set_name("namespaces/blue");
  update.mutable_namespace_()->mutable_metadata()->set_self_heal(true);
  update.mutable_update_mask()->add_paths("metadata.self_heal");
  EXPECT_OK(client_->Update(update));
  // A start looks at everything.
  KillDaemon();
  StartDaemon();
  const absl::Time deadline = absl::Now() + absl::Seconds(30);
  while (client_->GetNamespace("blue").value.state() != v1::Namespace::STATE_READY && absl::Now() < deadline) {
    absl::SleepFor(absl::Milliseconds(10));
  }
  EXPECT_THAT(Inside("resolv.conf"), Not(HasSubstr("10.0.0.9")));
}

TEST_F(DnsTest, OrphansAreRemoved) {
  EXPECT_OK(client_->Create(Request("10.0.0.53")));
  Shell(
      "mkdir -p /etc/netns/red; sed s/namespaces.blue/namespaces.red/ /etc/netns/blue/resolv.conf > "
      "/etc/netns/red/hosts");
  Shell("sed -i 's/:[0-9a-f-]*:namespaces/:11111111-2222-4333-8444-555555555555:namespaces/' /etc/netns/red/hosts");
  KillDaemon();
  StartDaemon();
  EXPECT_THAT(Findings(), ElementsAre(HasSubstr("ORPHAN_REMOVED namespaces/red")));
  EXPECT_EQ(Shell("ls /etc/netns/red"), "");
  EXPECT_OK(client_->DeleteNamespace("blue"));
  EXPECT_EQ(Shell("ls /etc/netns"), "red\n");
}

}  // namespace
}  // namespace netprov::testing
