// What the daemon does without being called, on the real kernel: it notices what others change, puts right what asks
// for it, and ends leases. The tests wait for lines of its log.
#include <csignal>
#include <ostream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/e2e/host_fixture.h"
#include "tests/e2e/picture.h"
#include "tests/testing/private_host.h"

namespace netprov::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::UnorderedElementsAre;

// Something that an administrator does to `blue` and its pair `v`.
struct Drift {
  std::string name;
  std::string command;
  std::vector<std::string> degraded;  // fields that deviate
  std::vector<std::string> missing;   // resources that are gone
  std::string object;                 // the resource that tells, and is healed last
  std::vector<std::string> findings;  // of a check
};

void PrintTo(const Drift& drift, std::ostream* out) { *out << drift.name; }

const std::vector<Drift>& Drifts() {
  static const auto* const drifts = new std::vector<Drift>{
      {.name = "LinkDown",
       .command = "ip link set h0 down",
       .degraded = {"endpoint_a.admin_state"},
       .missing = {},
       .object = "veths/v",
       .findings = {"KIND_DEGRADED veths/v"}},
      {.name = "LinkDownInside",
       .command = "ip netns exec blue ip link set eth0 down",
       .degraded = {"endpoint_b.admin_state"},
       .missing = {},
       .object = "veths/v",
       .findings = {"KIND_DEGRADED veths/v"}},
      {.name = "Mtu",
       .command = "ip link set h0 mtu 1400",
       .degraded = {"endpoint_a.mtu"},
       .missing = {},
       .object = "veths/v",
       .findings = {"KIND_DEGRADED veths/v"}},
      {.name = "MtuInside",
       .command = "ip -n blue link set eth0 mtu 9000",
       .degraded = {"endpoint_b.mtu"},
       .missing = {},
       .object = "veths/v",
       .findings = {"KIND_DEGRADED veths/v"}},
      {.name = "Mac",
       .command = "ip -n blue link set eth0 address 02:00:00:00:00:99",
       .degraded = {"endpoint_b.mac_address"},
       .missing = {},
       .object = "veths/v",
       .findings = {"KIND_DEGRADED veths/v"}},
      {.name = "Group",
       .command = "ip link set h0 group 0",
       .degraded = {"endpoint_a.group"},
       .missing = {},
       .object = "veths/v",
       .findings = {"KIND_DEGRADED veths/v"}},
      {.name = "Alias",
       .command = "ip link set h0 alias mine",
       .degraded = {"endpoint_a.alias"},
       .missing = {},
       .object = "veths/v",
       .findings = {"KIND_DEGRADED veths/v"}},
      {.name = "Renamed",
       .command = "ip link set h0 down name other up || ip link set h0 name other",
       .degraded = {"endpoint_a.interface_name"},
       .missing = {},
       .object = "veths/v",
       .findings = {"KIND_DEGRADED veths/v"}},
      {.name = "RenamedInside",
       .command = "ip -n blue link set eth0 name other",
       .degraded = {"endpoint_b.interface_name"},
       .missing = {},
       .object = "veths/v",
       .findings = {"KIND_DEGRADED veths/v"}},
      {.name = "MovedAway",
       .command = "ip link set h0 netns foreign",
       .degraded = {},
       .missing = {"veths/v"},
       .object = "veths/v",
       .findings = {"KIND_MISSING veths/v"}},
      {.name = "Deleted",
       .command = "ip link del h0",
       .degraded = {},
       .missing = {"veths/v"},
       .object = "veths/v",
       .findings = {"KIND_MISSING veths/v"}},
      {.name = "DeletedInside",
       .command = "ip netns exec blue ip link del eth0",
       .degraded = {},
       .missing = {"veths/v"},
       .object = "veths/v",
       .findings = {"KIND_MISSING veths/v"}},
      {.name = "LoopbackDown",
       .command = "ip -n blue link set lo down",
       .degraded = {"loopback"},
       .missing = {},
       .object = "namespaces/blue",
       .findings = {"KIND_DEGRADED namespaces/blue"}},
      {.name = "NamespaceDeleted",
       .command = "ip netns delete blue",
       .degraded = {},
       .missing = {"namespaces/blue", "veths/v"},
       .object = "veths/v",
       .findings = {"KIND_MISSING namespaces/blue", "KIND_MISSING veths/v"}},
  };
  return *drifts;
}

class DriftTest : public HostTest, public ::testing::WithParamInterface<Drift> {
 protected:
  // The fields that deviate, as the API tells them.
  std::vector<std::string> Deviating() {
    std::vector<std::string> fields;
    const v1::Namespace netns = client_->GetNamespace("blue").value;
    for (const v1::Deviation& deviation : netns.deviations()) fields.push_back(deviation.field());
    const v1::Veth veth = client_->GetVeth("v").value;
    for (const v1::Deviation& deviation : veth.deviations()) fields.push_back(deviation.field());
    return fields;
  }
};

TEST_P(DriftTest, IsToldAndLeft) {
  StartDaemon();
  MakeBlueWithPair();
  EXPECT_THAT(Deviating(), IsEmpty());
  Shell(GetParam().command);
  const std::string line = daemon_->WaitForLine("event=drift resource=" + GetParam().object);
  for (const std::string& field : GetParam().degraded) EXPECT_THAT(line, HasSubstr(field));
  EXPECT_EQ(Deviating(), GetParam().degraded);
  for (const std::string& name : GetParam().missing) {
    daemon_->WaitForLine(absl::StrCat("event=drift resource=", name, " detail=MISSING"));
  }
  const auto state = client_->GetVeth("v").value.state();
  EXPECT_EQ(state == v1::Veth::STATE_MISSING, !GetParam().missing.empty());
  const Reply<v1::HostReport> looked = client_->Check(/*look_only=*/true);
  EXPECT_OK(looked);
  EXPECT_THAT(FindingsOf(looked.value), ::testing::UnorderedElementsAreArray(GetParam().findings));
  EXPECT_FALSE(looked.value.at_start());
  EXPECT_EQ(Findings(), FindingsOf(looked.value));
  EXPECT_THAT(daemon_->log(), Not(HasSubstr("event=healed")));
  // Nobody asked for it to be put right, and it can be taken away as it is.
  EXPECT_OK(client_->DeleteVeth("v"));
  EXPECT_OK(client_->DeleteNamespace("blue"));
  EXPECT_EQ(Names(), "");
  EXPECT_THAT(FindingsOf(client_->Check().value), IsEmpty());
  for (const char* name : {"h0", "other"}) {
    EXPECT_THAT(Shell("ip -br link show type veth"), Not(HasSubstr(absl::StrCat(name, "@"))));
    EXPECT_THAT(Shell("ip -n foreign -br link show type veth"), Not(HasSubstr(absl::StrCat(name, "@"))));
  }
}

TEST_P(DriftTest, IsPutRight) {
  StartDaemon();
  v1::Metadata metadata;
  metadata.set_self_heal(true);
  MakeBlueWithPair(metadata);
  const std::string before = PictureOf(*client_);
  const std::string blue = client_->GetNamespace("blue").value.uid();
  const v1::Veth pair = client_->GetVeth("v").value;
  Shell(GetParam().command);
  daemon_->WaitForLine("event=drift resource=" + GetParam().object);
  daemon_->WaitForLine("event=healed resource=" + GetParam().object);
  EXPECT_EQ(PictureOf(*client_), before);
  EXPECT_EQ(client_->GetNamespace("blue").value.uid(), blue);
  const v1::Veth healed = client_->GetVeth("v").value;
  EXPECT_EQ(healed.uid(), pair.uid());
  EXPECT_EQ(healed.create_time().DebugString(), pair.create_time().DebugString());
  EXPECT_EQ(healed.endpoint_a().mac_address(), pair.endpoint_a().mac_address());
  EXPECT_EQ(healed.endpoint_b().mac_address(), pair.endpoint_b().mac_address());
  EXPECT_THAT(FindingsOf(client_->Check().value), IsEmpty());
  // It lasts, and is as good as the first one.
  KillDaemon();
  StartDaemon();
  EXPECT_THAT(Findings(), IsEmpty());
  EXPECT_EQ(PictureOf(*client_), before);
  EXPECT_OK(client_->DeleteNamespace("blue"));
  EXPECT_EQ(client_->GetVeth("v").Summary(), "NOT_FOUND VETH_NOT_FOUND");
  EXPECT_THAT(Shell("ip -br link show type veth"), Not(HasSubstr("h0@")));
}

std::string NameOf(const ::testing::TestParamInfo<Drift>& tested) { return tested.param.name; }

INSTANTIATE_TEST_SUITE_P(Each, DriftTest, ::testing::ValuesIn(Drifts()), NameOf);

class CaretakerTest : public HostTest {
 protected:
  void SetUp() override {
    HostTest::SetUp();
    StartDaemon();
  }

  Reply<v1::Namespace> Create(const std::string& id, const std::string& owner, int ttl_seconds = 0,
                              const std::string& caller = "") {
    v1::CreateNamespaceRequest request;
    request.set_namespace_id(id);
    v1::Metadata& metadata = *request.mutable_namespace_()->mutable_metadata();
    metadata.set_owner(owner);
    if (ttl_seconds > 0) metadata.mutable_ttl()->set_seconds(ttl_seconds);
    return client_->Create(request, {.owner = caller});
  }
  Ending CreatePair(const std::string& id, const std::string& owner, const std::string& netns) {
    v1::CreateVethRequest request = VethRequest(id, "h-" + id, netns, "e-" + id);
    request.mutable_veth()->mutable_metadata()->set_owner(owner);
    return client_->Create(request);
  }
  Reply<v1::CollectGarbageResponse> Collect(const std::string& owner, const std::vector<std::string>& keep,
                                            bool look_only = false) {
    v1::CollectGarbageRequest request;
    request.set_owner(owner);
    for (const std::string& name : keep) request.add_keep(name);
    request.set_validate_only(look_only);
    return client_->Collect(request);
  }
};

// A forged name is not healed over, and what was healed once is healed again.
TEST_F(CaretakerTest, AForeignNamespaceInThePlaceOfOursIsLeft) {
  v1::CreateNamespaceRequest request;
  request.set_namespace_id("blue");
  request.mutable_namespace_()->mutable_metadata()->set_self_heal(true);
  EXPECT_OK(client_->Create(request));
  KillDaemon();
  Shell("ip netns delete blue && ip netns add blue");
  const std::string before = Shell("ip -n blue -j -d addr");
  StartDaemon();
  EXPECT_THAT(daemon_->WaitForLine("event=heal_failed resource=namespaces/blue"), HasSubstr("not made by netprov"));
  EXPECT_EQ(Shell("ip -n blue -j -d addr"), before);
  // Once it is gone, its place is ours again, maybe before `ip` is done, which says then that it is busy.
  Shell("ip netns delete blue 2>/dev/null || true");
  daemon_->WaitForLine("event=healed resource=namespaces/blue");
  EXPECT_EQ(client_->GetNamespace("blue").value.state(), v1::Namespace::STATE_READY);
}

TEST_F(CaretakerTest, WhatASilentOwnerHasIsDeleted) {
  EXPECT_OK(Create("lasting", "silent"));
  EXPECT_OK(Create("short", "silent", 1));
  EXPECT_OK(CreatePair("p", "silent", "short"));
  EXPECT_TRUE(client_->GetNamespace("short").value.metadata().has_expire_time());
  EXPECT_FALSE(client_->GetNamespace("lasting").value.metadata().has_expire_time());
  EXPECT_THAT(daemon_->WaitForLine("event=lease_expired resource=namespaces/short"), HasSubstr("silent"));
  EXPECT_EQ(Names(), "lasting\n");
  EXPECT_EQ(client_->GetNamespace("short").Summary(), "NOT_FOUND NAMESPACE_NOT_FOUND");
  EXPECT_EQ(client_->GetVeth("p").Summary(), "NOT_FOUND VETH_NOT_FOUND");
  EXPECT_EQ(client_->Renew("silent").value.renewed(), 0);
}

// What it has of another's stays, and the namespace with it.
TEST_F(CaretakerTest, WhatASilentOwnerSharesIsKept) {
  EXPECT_OK(Create("shared", "silent", 1));
  EXPECT_OK(CreatePair("p", "other", "shared"));
  EXPECT_THAT(daemon_->WaitForLine("event=expiry_failed resource=namespaces/shared"), HasSubstr("veths/p of other"));
  EXPECT_EQ(client_->GetVeth("p").value.state(), v1::Veth::STATE_READY);
  EXPECT_OK(client_->DeleteVeth("p"));
  EXPECT_OK(client_->DeleteNamespace("shared"));
}

// While another's lease of the same length comes and goes, those of owners who are heard of stay.
TEST_F(CaretakerTest, WhatAnOwnerRenewsStays) {
  EXPECT_OK(Create("renewed", "renewing", 2));
  EXPECT_OK(Create("called", "calling", 2));
  EXPECT_OK(Create("silent", "silent", 2));
  const std::string line = "event=lease_expired resource=namespaces/";
  while (client_->GetNamespace("silent").ok()) {
    const Reply<v1::RenewLeaseResponse> renewed = client_->Renew("renewing");
    EXPECT_EQ(renewed.value.renewed(), 1);
    EXPECT_TRUE(renewed.value.has_expire_time());
    EXPECT_OK(client_->List(v1::ListVethsRequest(), {.owner = "calling"}));
  }
  daemon_->WaitForLine(line + "silent");
  EXPECT_EQ(client_->GetNamespace("renewed").value.state(), v1::Namespace::STATE_READY);
  EXPECT_EQ(client_->GetNamespace("called").value.state(), v1::Namespace::STATE_READY);
  // Both fall silent.
  daemon_->WaitForLine(line + "renewed");
  daemon_->WaitForLine(line + "called");
  EXPECT_EQ(Names(), "");
}

// A start counts as a sign of every owner, and a lease goes on afterwards.
TEST_F(CaretakerTest, ALeaseOutlivesTheDaemon) {
  EXPECT_OK(Create("short", "silent", 1));
  KillDaemon();
  StartDaemon();
  EXPECT_THAT(Findings(), IsEmpty());
  daemon_->WaitForLine("event=lease_expired resource=namespaces/short");
  EXPECT_EQ(Names(), "");
}

TEST_F(CaretakerTest, GarbageIsCollectedByOwner) {
  EXPECT_OK(Create("a", "ci"));
  EXPECT_OK(Create("b", "ci"));
  EXPECT_OK(Create("c", "ci"));
  EXPECT_OK(Create("other", "other"));
  EXPECT_OK(CreatePair("pa", "ci", "a"));
  EXPECT_OK(CreatePair("pb", "other", "b"));
  EXPECT_OK(CreatePair("pc", "ci", "c"));
  const std::string before = PictureOf(*client_);
  const std::vector<std::string> keep = {"veths/pc", "namespaces/nobody"};

  const Reply<v1::CollectGarbageResponse> looked = Collect("ci", keep, /*look_only=*/true);
  EXPECT_OK(looked);
  EXPECT_THAT(looked.value.deleted(), ElementsAre("veths/pa", "namespaces/a"));
  EXPECT_EQ(PictureOf(*client_), before);

  const Reply<v1::CollectGarbageResponse> collected = Collect("ci", keep);
  EXPECT_OK(collected);
  EXPECT_THAT(collected.value.deleted(), ElementsAre("veths/pa", "namespaces/a"));
  ASSERT_EQ(collected.value.failures_size(), 2);
  EXPECT_EQ(collected.value.failures(0).name(), "namespaces/b");
  EXPECT_THAT(collected.value.failures(0).message(), HasSubstr("veths/pb"));
  EXPECT_EQ(collected.value.failures(1).name(), "namespaces/c");
  EXPECT_THAT(collected.value.failures(1).message(), HasSubstr("veths/pc"));
  EXPECT_EQ(Names(), "b\nc\nother\n");
  EXPECT_THAT(Shell("ip -br link show type veth"), Not(HasSubstr("h-pa@")));

  EXPECT_OK(client_->DeleteVeth("pb"));
  EXPECT_THAT(Collect("ci", {}).value.deleted(), UnorderedElementsAre("veths/pc", "namespaces/b", "namespaces/c"));
  EXPECT_THAT(Collect("ci", {}).value.deleted(), IsEmpty());
  EXPECT_EQ(Names(), "other\n");
  EXPECT_EQ(client_->GetNamespace("other").value.state(), v1::Namespace::STATE_READY);
}

TEST_F(CaretakerTest, ACheckFindsWhatCameSinceTheStart) {
  EXPECT_OK(client_->CreateNamespace("blue"));
  EXPECT_THAT(Findings(), IsEmpty());
  Shell("touch /run/netns/stale");
  Shell("ip -n blue link set lo down");
  // The report is that of the last check.
  EXPECT_THAT(Findings(), IsEmpty());
  EXPECT_TRUE(client_->GetReport().value.at_start());
  const Reply<v1::HostReport> checked = client_->Check();
  EXPECT_OK(checked);
  EXPECT_THAT(FindingsOf(checked.value),
              UnorderedElementsAre("KIND_STALE_FILE namespaces/stale", "KIND_DEGRADED namespaces/blue"));
  EXPECT_EQ(checked.value.objects(), 1);
  EXPECT_EQ(client_->GetReport().value.SerializeAsString(), checked.value.SerializeAsString());
}

}  // namespace
}  // namespace netprov::testing
