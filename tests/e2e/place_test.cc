// Pairs that end in namespaces which netprov did not make, given by a path or by a process: as the daemon answers, and
// as iproute2 sees it from inside.
#include <csignal>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

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

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kPath[] = "/run/place";

class PlaceTest : public HostTest {
 protected:
  void SetUp() override {
    HostTest::SetUp();
    process_ = StartInside();
    // Of a process that has ended: only the path keeps it.
    const auto maker = StartInside();
    Shell(absl::StrCat("touch ", kPath, " && mount --bind /proc/", maker->pid(), "/ns/net ", kPath));
    StartDaemon();
  }
  void TearDown() override {
    Shell(absl::StrCat("while umount -l ", kPath, " 2>/dev/null; do :; done; rm -f ", kPath, " /run/link"));
    process_ = nullptr;
    HostTest::TearDown();
  }

  // A process in a namespace of its own.
  static std::unique_ptr<Process> StartInside() {
    auto process = std::make_unique<Process>(
        std::vector<std::string>{"unshare", "-n", "sh", "-c", "echo inside >&2; exec sleep infinity"});
    process->WaitForLine("inside");
    return process;
  }

  void SetPath(v1::VethEndpoint& end) { end.set_netns_path(kPath); }
  void SetPid(v1::VethEndpoint& end) { end.set_pid(static_cast<uint32_t>(process_->pid())); }
  // What `ip` says of the links where an end is.
  std::string LinksAt(const v1::VethEndpoint& end) {
    const std::string show = "sh -c 'ip -o link show; ip -o address show scope global'";
    switch (end.location_case()) {
      case v1::VethEndpoint::kNetnsPath:
        return Shell(absl::StrCat("nsenter --net=", end.netns_path(), " ", show));
      case v1::VethEndpoint::kPid:
        return Shell(absl::StrCat("nsenter --net --target ", end.pid(), " ", show));
      case v1::VethEndpoint::kNamespace:
        return Shell(absl::StrCat("ip netns exec blue ", show));
      default:
        return Shell(show);
    }
  }
  // A pair `v` between p0 and p1, with an address each.
  static v1::CreateVethRequest Request() {
    v1::CreateVethRequest request;
    request.set_veth_id("v");
    request.mutable_veth()->mutable_endpoint_a()->set_interface_name("p0");
    request.mutable_veth()->mutable_endpoint_a()->add_addresses()->set_address("10.0.0.1/24");
    request.mutable_veth()->mutable_endpoint_b()->set_interface_name("p1");
    request.mutable_veth()->mutable_endpoint_b()->add_addresses()->set_address("10.0.0.2/24");
    return request;
  }
  std::string LinksOf(const v1::Veth& veth) { return LinksAt(veth.endpoint_a()) + LinksAt(veth.endpoint_b()); }
  // Waits until the daemon, which is told of changes, says so.
  bool Becomes(v1::Veth::State state) {
    for (int look = 0; look < 500; ++look) {
      if (client_->GetVeth("v").value.state() == state) return true;
      absl::SleepFor(absl::Milliseconds(20));
    }
    return false;
  }

  std::unique_ptr<Process> process_;
};

TEST_F(PlaceTest, APairBetweenAnyTwoPlacesIsMadeSurvivesTheDaemonAndIsDeleted) {
  EXPECT_OK(client_->CreateNamespace("blue"));
  std::vector<v1::CreateVethRequest> requests(3, Request());
  requests[0].mutable_veth()->mutable_endpoint_a()->mutable_host();
  SetPid(*requests[0].mutable_veth()->mutable_endpoint_b());
  SetPath(*requests[1].mutable_veth()->mutable_endpoint_a());
  requests[1].mutable_veth()->mutable_endpoint_b()->set_namespace_("namespaces/blue");
  SetPath(*requests[2].mutable_veth()->mutable_endpoint_a());
  SetPid(*requests[2].mutable_veth()->mutable_endpoint_b());
  for (const v1::CreateVethRequest& request : requests) {
    SCOPED_TRACE(request.ShortDebugString());
    const v1::Veth& asked = request.veth();
    const std::string before = LinksOf(asked);
    const Reply<v1::Veth> made = client_->Create(request);
    ASSERT_TRUE(made.ok()) << made.message;
    EXPECT_EQ(made.value.endpoint_a().location_case(), asked.endpoint_a().location_case());
    EXPECT_EQ(made.value.endpoint_a().netns_path(), asked.endpoint_a().netns_path());
    EXPECT_EQ(made.value.endpoint_b().pid(), asked.endpoint_b().pid());
    EXPECT_THAT(LinksAt(asked.endpoint_a()), HasSubstr("p0    inet 10.0.0.1/24"));
    EXPECT_THAT(LinksAt(asked.endpoint_b()), HasSubstr("p1    inet 10.0.0.2/24"));
    EXPECT_THAT(LinksAt(asked.endpoint_b()), HasSubstr("MULTICAST,UP"));
    KillDaemon();
    StartDaemon();
    EXPECT_EQ(client_->GetVeth("v").value.DebugString(), made.value.DebugString());
    EXPECT_OK(client_->DeleteVeth("v"));
    EXPECT_EQ(LinksOf(asked), before);
  }
  EXPECT_OK(client_->DeleteNamespace("blue"));
}

TEST_F(PlaceTest, AnEndedProcessLeavesAMissingPairThatCanBeDeleted) {
  for (const bool daemon_runs : {true, false}) {
    v1::CreateVethRequest request = Request();
    request.mutable_veth()->mutable_endpoint_a()->mutable_host();
    SetPid(*request.mutable_veth()->mutable_endpoint_b());
    EXPECT_OK(client_->Create(request));
    if (!daemon_runs) KillDaemon();
    process_->Stop(SIGKILL);
    if (!daemon_runs) StartDaemon();
    EXPECT_TRUE(Becomes(v1::Veth::STATE_MISSING));
    EXPECT_OK(client_->DeleteVeth("v"));
    EXPECT_THAT(Shell("ip -o link show"), Not(HasSubstr("p0")));
    process_ = StartInside();
  }
}

TEST_F(PlaceTest, WhereThePathIsGoneThePairGoesByItsOtherEndOrByAProcess) {
  v1::CreateVethRequest request = Request();
  SetPath(*request.mutable_veth()->mutable_endpoint_a());
  SetPid(*request.mutable_veth()->mutable_endpoint_b());
  const Process witness({"nsenter", absl::StrCat("--net=", kPath), "sleep", "infinity"});
  const std::string enter = absl::StrCat("nsenter --net --target ", witness.pid(), " ip -o link show");
  EXPECT_OK(client_->Create(request));
  while (Shell(enter).find("p0") == std::string::npos) absl::SleepFor(absl::Milliseconds(5));
  Shell(absl::StrCat("umount -l ", kPath));
  EXPECT_EQ(client_->GetVeth("v").value.state(), v1::Veth::STATE_MISSING);
  EXPECT_THAT(Shell(enter), HasSubstr("p0"));
  EXPECT_OK(client_->DeleteVeth("v"));
  EXPECT_THAT(Shell(enter), Not(HasSubstr("p0")));

  Shell(absl::StrCat("mount --bind /proc/", witness.pid(), "/ns/net ", kPath));
  const auto other = StartInside();
  Shell(absl::StrCat("touch /run/second && mount --bind /proc/", other->pid(), "/ns/net /run/second"));
  request.mutable_veth()->mutable_endpoint_b()->set_netns_path("/run/second");
  EXPECT_OK(client_->Create(request));
  Shell(absl::StrCat("umount -l ", kPath, " && umount -l /run/second && rm /run/second"));
  EXPECT_THAT(Shell(enter), HasSubstr("p0"));
  EXPECT_OK(client_->DeleteVeth("v"));
  EXPECT_THAT(Shell(enter), Not(HasSubstr("p0")));
}

TEST_F(PlaceTest, WhatIsChangedInsideIsHealed) {
  v1::CreateVethRequest request = Request();
  SetPath(*request.mutable_veth()->mutable_endpoint_a());
  SetPid(*request.mutable_veth()->mutable_endpoint_b());
  request.mutable_veth()->mutable_metadata()->set_self_heal(true);
  EXPECT_OK(client_->Create(request));
  Shell(absl::StrCat("nsenter --net=", kPath, " ip link del p0"));
  EXPECT_NE(daemon_->WaitForLine("event=healed"), "");
  EXPECT_TRUE(Becomes(v1::Veth::STATE_READY));
  EXPECT_THAT(LinksAt(request.veth().endpoint_b()), HasSubstr("p1    inet 10.0.0.2/24"));
  EXPECT_OK(client_->DeleteVeth("v"));
}

TEST_F(PlaceTest, WhatIsNoPlaceForAnEndIsRefused) {
  EXPECT_OK(client_->CreateNamespace("blue"));
  Shell(absl::StrCat("ln -sfn ", kPath, " /run/link"));
  auto refused = [&](const std::function<void(v1::VethEndpoint&)>& place) {
    v1::CreateVethRequest request = Request();
    request.mutable_veth()->mutable_endpoint_a()->mutable_host();
    place(*request.mutable_veth()->mutable_endpoint_b());
    Reply<v1::Veth> reply = client_->Create(request);
    EXPECT_THAT(Shell("ip -o link show"), Not(HasSubstr("p0")));
    return reply;
  };
  Reply<v1::Veth> reply = refused([](auto& end) { end.set_netns_path("/run/nothing"); });
  EXPECT_EQ(reply.Summary(), "NOT_FOUND LOCATION_NOT_FOUND");
  EXPECT_THAT(reply.Fields(), ElementsAre("veth.endpoint_b.netns_path"));
  const Completed ended = RunCommand({"sh", "-c", "echo $$"});
  reply = refused([&](auto& end) { end.set_pid(static_cast<uint32_t>(std::stoi(ended.out))); });
  EXPECT_EQ(reply.Summary(), "NOT_FOUND LOCATION_NOT_FOUND");
  EXPECT_THAT(reply.Fields(), ElementsAre("veth.endpoint_b.pid"));
  reply = refused([&](auto& end) { end.set_netns_path(absl::StrCat("/proc/", process_->pid(), "/ns/net")); });
  EXPECT_EQ(reply.Summary(), "FAILED_PRECONDITION LOCATION_UNUSABLE");
  EXPECT_THAT(reply.message, HasSubstr("give the process by its number"));
  reply = refused([](auto& end) { end.set_netns_path("/run/link"); });
  EXPECT_EQ(reply.Summary(), "FAILED_PRECONDITION LOCATION_UNUSABLE");
  EXPECT_THAT(reply.message, HasSubstr("the path without is /run/place"));
  reply = refused([&](auto& end) { end.set_pid(static_cast<uint32_t>(daemon_->pid())); });
  EXPECT_EQ(reply.Summary(), "FAILED_PRECONDITION LOCATION_UNUSABLE");
  EXPECT_THAT(reply.message, HasSubstr("is in the host's namespace: use `host`"));
  reply = refused([](auto& end) { end.set_netns_path("/run/netns/blue"); });
  EXPECT_EQ(reply.Summary(), "FAILED_PRECONDITION LOCATION_UNUSABLE");
  EXPECT_THAT(reply.message, HasSubstr("is in namespaces/blue: use `namespace`"));
  EXPECT_OK(client_->DeleteNamespace("blue"));
}

}  // namespace
}  // namespace netprov::testing
