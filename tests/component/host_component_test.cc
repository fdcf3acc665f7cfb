// Metadata, leases, garbage and the check of the host, as a client sees them.
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/component/fixture.h"

namespace netprov::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

class HostComponentTest : public ServerTest {
 protected:
  void SetUp() override { StartServer(); }

  Reply<v1::Namespace> Create(const std::string& id, const v1::Metadata& metadata) {
    v1::CreateNamespaceRequest request;
    request.set_namespace_id(id);
    *request.mutable_namespace_()->mutable_metadata() = metadata;
    return client_->Create(request);
  }
  Reply<v1::Veth> CreatePair(const std::string& id, const std::string& netns, const v1::Metadata& metadata) {
    v1::CreateVethRequest request = VethRequest(id, "h-" + id, netns, "e-" + id);
    *request.mutable_veth()->mutable_metadata() = metadata;
    return client_->Create(request);
  }
  static v1::Metadata OwnedBy(const std::string& owner, int ttl_seconds = 0) {
    v1::Metadata metadata;
    metadata.set_owner(owner);
    if (ttl_seconds > 0) metadata.mutable_ttl()->set_seconds(ttl_seconds);
    return metadata;
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

TEST_F(HostComponentTest, MetadataComesBackAsItWasGiven) {
  v1::Metadata metadata = OwnedBy("ci/job:7@host", 3600);
  metadata.mutable_ttl()->set_nanos(500000000);
  metadata.set_persistent(true);
  metadata.set_self_heal(true);
  auto& labels = *metadata.mutable_labels();
  labels["a"] = "";
  labels["team.example/name-1_x"] = "gr\xc3\xbc\xc3\x9f \"quoted\" {\\}";
  labels[std::string(63, 'k')] = std::string(255, 'v');
  for (int i = 0; i < 61; ++i) labels[absl::StrCat("n", i)] = absl::StrCat(i);

  const auto created = Create("blue", metadata);
  ASSERT_TRUE(created.ok()) << created.message;
  const auto pair = CreatePair("v", "blue", metadata);
  ASSERT_TRUE(pair.ok()) << pair.message;
  for (int round = 0; round < 2; ++round) {
    v1::Namespace netns = client_->GetNamespace("blue").value;
    v1::Veth veth = client_->GetVeth("v").value;
    EXPECT_TRUE(netns.metadata().has_expire_time());
    EXPECT_TRUE(veth.metadata().has_expire_time());
    for (v1::Metadata* got : {netns.mutable_metadata(), veth.mutable_metadata()}) {
      got->clear_expire_time();
      EXPECT_EQ(std::map(got->labels().begin(), got->labels().end()), std::map(labels.begin(), labels.end()));
      EXPECT_EQ(got->owner(), metadata.owner());
      EXPECT_EQ(got->ttl().seconds(), 3600);
      EXPECT_EQ(got->ttl().nanos(), 500000000);
      EXPECT_TRUE(got->persistent());
      EXPECT_TRUE(got->self_heal());
      EXPECT_EQ(got->creator(), absl::StrCat("uid:", ::getuid()));
    }
    // And from the disk.
    Restart();
  }
  const auto list = client_->List(v1::ListNamespacesRequest());
  ASSERT_EQ(list.value.namespaces_size(), 1);
  EXPECT_EQ(list.value.namespaces(0).metadata().labels_size(), 64);
}

TEST_F(HostComponentTest, BadMetadataIsRefusedByField) {
  ASSERT_TRUE(client_->CreateNamespace("blue").ok());
  const std::string before = kernel_.DumpForTest();
  const std::vector<std::pair<std::string, std::function<void(v1::Metadata&)>>> cases = {
      {"owner", [](auto& metadata) { metadata.set_owner("a b"); }},
      {"owner", [](auto& metadata) { metadata.set_owner(std::string(129, 'a')); }},
      {"owner", [](auto& metadata) { metadata.set_owner("x\n"); }},
      {"labels", [](auto& metadata) { (*metadata.mutable_labels())[""] = "v"; }},
      {"labels", [](auto& metadata) { (*metadata.mutable_labels())["Key"] = "v"; }},
      {"labels", [](auto& metadata) { (*metadata.mutable_labels())["-key"] = "v"; }},
      {"labels", [](auto& metadata) { (*metadata.mutable_labels())[std::string(64, 'k')] = "v"; }},
      {"labels", [](auto& metadata) { (*metadata.mutable_labels())["k"] = "a\nb"; }},
      {"labels", [](auto& metadata) { (*metadata.mutable_labels())["k"] = std::string(256, 'v'); }},
      {"labels",
       [](auto& metadata) {
         for (int i = 0; i < 65; ++i) (*metadata.mutable_labels())[absl::StrCat("k", i)] = "v";
       }},
      {"ttl", [](auto& metadata) { metadata.mutable_ttl()->set_seconds(60); }},  // without an owner
      {"ttl",
       [](auto& metadata) {
         metadata.set_owner("o");
         metadata.mutable_ttl()->set_nanos(999999999);
       }},
      {"ttl",
       [](auto& metadata) {
         metadata.set_owner("o");
         metadata.mutable_ttl()->set_seconds(-5);
       }},
      {"ttl",
       [](auto& metadata) {
         metadata.set_owner("o");
         metadata.mutable_ttl()->set_seconds(INT64_MIN);
       }},
      {"ttl",
       [](auto& metadata) {
         metadata.set_owner("o");
         metadata.mutable_ttl()->set_nanos(INT32_MIN);
       }},
      {"ttl",
       [](auto& metadata) {
         metadata.set_owner("o");
         metadata.mutable_ttl()->set_seconds(11LL * 366 * 86400);
       }},
  };
  for (size_t i = 0; i < cases.size(); ++i) {
    SCOPED_TRACE(i);
    const auto& [field, change] = cases[i];
    v1::Metadata metadata;
    change(metadata);
    const auto netns = Create("green", metadata);
    EXPECT_EQ(netns.Summary(), "INVALID_ARGUMENT INVALID_FIELD");
    EXPECT_THAT(netns.Fields(), ElementsAre("namespace.metadata." + field));
    const auto pair = CreatePair("v", "blue", metadata);
    EXPECT_EQ(pair.Summary(), "INVALID_ARGUMENT INVALID_FIELD");
    EXPECT_THAT(pair.Fields(), ElementsAre("veth.metadata." + field));
  }
  EXPECT_EQ(kernel_.DumpForTest(), before);
}

TEST_F(HostComponentTest, ExistingIsAllowedWithTheSameMetadataOnly) {
  v1::CreateNamespaceRequest request;
  request.set_namespace_id("blue");
  request.set_allow_existing(true);
  *request.mutable_namespace_()->mutable_metadata() = OwnedBy("ci");
  const auto first = client_->Create(request);
  ASSERT_TRUE(first.ok()) << first.message;
  EXPECT_EQ(client_->Create(request).value.uid(), first.value.uid());
  (*request.mutable_namespace_()->mutable_metadata()->mutable_labels())["a"] = "b";
  const auto other = client_->Create(request);
  EXPECT_EQ(other.Summary(), "ALREADY_EXISTS NAMESPACE_ALREADY_EXISTS");
  EXPECT_THAT(other.Metadata(), ElementsAre(Pair("specs_match", "false")));
}

TEST_F(HostComponentTest, RenewLeaseCountsTheOwnersLeases) {
  ASSERT_TRUE(Create("a", OwnedBy("ci", 3600)).ok());
  ASSERT_TRUE(Create("b", OwnedBy("ci", 60)).ok());
  ASSERT_TRUE(Create("c", OwnedBy("ci")).ok());
  ASSERT_TRUE(Create("d", OwnedBy("other", 10)).ok());
  const auto renewed = client_->Renew("ci");
  ASSERT_TRUE(renewed.ok()) << renewed.message;
  EXPECT_EQ(renewed.value.renewed(), 2);
  // The first to end.
  const int64_t b = client_->GetNamespace("b").value.metadata().expire_time().seconds();
  EXPECT_NEAR(static_cast<double>(renewed.value.expire_time().seconds()), static_cast<double>(b), 30);
  const auto nobody = client_->Renew("nobody");
  EXPECT_TRUE(nobody.ok());
  EXPECT_EQ(nobody.value.renewed(), 0);
  EXPECT_FALSE(nobody.value.has_expire_time());
  for (const char* owner : {"", "a b", "\x7f"}) {
    const auto refused = client_->Renew(owner);
    EXPECT_EQ(refused.Summary(), "INVALID_ARGUMENT INVALID_FIELD");
    EXPECT_THAT(refused.Fields(), ElementsAre("owner"));
  }
  // What is deleted has no lease any more.
  EXPECT_TRUE(client_->DeleteNamespace("b").ok());
  EXPECT_EQ(client_->Renew("ci").value.renewed(), 1);
}

TEST_F(HostComponentTest, GarbageIsTheOwnersAlone) {
  ASSERT_TRUE(Create("a", OwnedBy("ci")).ok());
  ASSERT_TRUE(Create("b", OwnedBy("ci")).ok());
  ASSERT_TRUE(Create("c", OwnedBy("other")).ok());
  ASSERT_TRUE(client_->CreateNamespace("nobodys").ok());
  ASSERT_TRUE(CreatePair("p", "a", OwnedBy("ci")).ok());
  ASSERT_TRUE(CreatePair("q", "b", OwnedBy("other")).ok());
  const std::string before = kernel_.DumpForTest();
  const auto looked = Collect("ci", {}, /*look_only=*/true);
  ASSERT_TRUE(looked.ok()) << looked.message;
  EXPECT_THAT(looked.value.deleted(), ElementsAre("veths/p", "namespaces/a"));
  EXPECT_EQ(kernel_.DumpForTest(), before);
  const auto kept = Collect("ci", {"namespaces/a", "namespaces/b", "veths/p"});
  EXPECT_THAT(kept.value.deleted(), IsEmpty());
  EXPECT_EQ(kept.value.failures_size(), 0);
  EXPECT_EQ(kernel_.DumpForTest(), before);

  const auto collected = Collect("ci", {});
  EXPECT_THAT(collected.value.deleted(), ElementsAre("veths/p", "namespaces/a"));
  ASSERT_EQ(collected.value.failures_size(), 1);
  EXPECT_EQ(collected.value.failures(0).name(), "namespaces/b");
  EXPECT_THAT(collected.value.failures(0).message(), HasSubstr("veths/q"));
  for (const char* stays : {"b", "c", "nobodys"}) EXPECT_TRUE(client_->GetNamespace(stays).ok()) << stays;
  EXPECT_TRUE(client_->GetVeth("q").ok());
  EXPECT_FALSE(client_->GetNamespace("a").ok());
}

TEST_F(HostComponentTest, GarbageThatCannotGoDoesNotKeepTheRest) {
  ASSERT_TRUE(Create("a", OwnedBy("ci")).ok());
  ASSERT_TRUE(Create("b", OwnedBy("ci")).ok());
  kernel_.FailNextForTest("RemoveNetns", EIO);
  const auto collected = Collect("ci", {});
  ASSERT_TRUE(collected.ok()) << collected.message;
  EXPECT_THAT(collected.value.deleted(), ElementsAre("namespaces/b"));
  ASSERT_EQ(collected.value.failures_size(), 1);
  EXPECT_EQ(collected.value.failures(0).name(), "namespaces/a");
  // A later call tries again.
  EXPECT_THAT(Collect("ci", {}).value.deleted(), ElementsAre("namespaces/a"));
}

TEST_F(HostComponentTest, WhatIsToBeKeptMustBeNamedRight) {
  ASSERT_TRUE(Create("a", OwnedBy("ci")).ok());
  const auto refused = Collect("ci", {"namespaces/a", "a", "namespaces/", "veths/..", ""});
  EXPECT_EQ(refused.Summary(), "INVALID_ARGUMENT INVALID_FIELD");
  EXPECT_THAT(refused.Fields(), ElementsAre("keep[1]", "keep[2]", "keep[3]", "keep[4]"));
  EXPECT_THAT(Collect("", {}).Fields(), ElementsAre("owner"));
  EXPECT_TRUE(client_->GetNamespace("a").ok());
}

TEST_F(HostComponentTest, TheReportOfTheStart) {
  const auto report = client_->GetReport();
  ASSERT_TRUE(report.ok()) << report.message;
  EXPECT_TRUE(report.value.at_start());
  EXPECT_TRUE(report.value.has_time());
  EXPECT_EQ(report.value.objects(), 0);
  EXPECT_THAT(FindingsOf(report.value), IsEmpty());

  ASSERT_TRUE(client_->CreateNamespace("blue").ok());
  ASSERT_TRUE(CreatePair("v", "blue", {}).ok());
  StopServer();
  kernel_.AddStaleFileForTest("st le");
  kernel_.AddForeignNetnsForTest("foreign");
  kernel_.RemoveForeignNetnsForTest("blue");
  StartServer();
  const auto again = client_->GetReport();
  EXPECT_EQ(again.value.objects(), 2);
  EXPECT_THAT(FindingsOf(again.value), UnorderedElementsAre("KIND_STALE_FILE namespaces/st%20le",
                                                            "KIND_MISSING namespaces/blue", "KIND_MISSING veths/v"));
}

TEST_F(HostComponentTest, AReboot) {
  v1::Metadata lasting;
  lasting.set_persistent(true);
  ASSERT_TRUE(Create("lasting", lasting).ok());
  const auto pair = CreatePair("lasting", "lasting", lasting);
  ASSERT_TRUE(pair.ok());
  ASSERT_TRUE(client_->CreateNamespace("fleeting").ok());
  ASSERT_TRUE(CreatePair("half", "fleeting", lasting).ok());
  StopServer();
  kernel_.RebootForTest();
  StartServer();
  EXPECT_THAT(FindingsOf(client_->GetReport().value),
              UnorderedElementsAre("KIND_RESTORED namespaces/lasting", "KIND_RESTORED veths/lasting",
                                   "KIND_NOT_RESTORED veths/half", "KIND_MISSING namespaces/fleeting",
                                   "KIND_MISSING veths/half"));
  const v1::Veth restored = client_->GetVeth("lasting").value;
  EXPECT_EQ(restored.state(), v1::Veth::STATE_READY);
  EXPECT_EQ(restored.uid(), pair.value.uid());
  EXPECT_EQ(restored.endpoint_a().mac_address(), pair.value.endpoint_a().mac_address());
}

TEST_F(HostComponentTest, ACheckLooksOrActs) {
  ASSERT_TRUE(client_->CreateNamespace("blue").ok());
  ASSERT_TRUE(CreatePair("v", "blue", {}).ok());
  kernel_.SetLinkForTest({}, "h-v", {.mtu = 1400});
  const std::string before = kernel_.DumpForTest();
  const auto looked = client_->Check(/*look_only=*/true);
  ASSERT_TRUE(looked.ok()) << looked.message;
  EXPECT_FALSE(looked.value.at_start());
  EXPECT_EQ(looked.value.objects(), 2);
  EXPECT_THAT(FindingsOf(looked.value), ElementsAre("KIND_DEGRADED veths/v"));
  EXPECT_THAT(looked.value.findings(0).detail(), HasSubstr("endpoint_a.mtu is '1400' in place of '1500'"));
  EXPECT_EQ(client_->GetReport().value.SerializeAsString(), looked.value.SerializeAsString());
  const auto acted = client_->Check();
  ASSERT_TRUE(acted.ok()) << acted.message;
  EXPECT_THAT(FindingsOf(acted.value), ElementsAre("KIND_DEGRADED veths/v"));
  EXPECT_EQ(kernel_.DumpForTest(), before);
}

TEST_F(HostComponentTest, DeviationsStandInGetAndList) {
  ASSERT_TRUE(client_->CreateNamespace("blue").ok());
  ASSERT_TRUE(CreatePair("v", "blue", {}).ok());
  const uint64_t cookie = client_->GetNamespace("blue").value.cookie();
  kernel_.SetLinkForTest({}, "h-v", {.mtu = 1400, .up = false});
  kernel_.RenameLinkForTest({.name = "blue", .cookie = cookie}, "e-v", "other");
  kernel_.SetLinkForTest({.name = "blue", .cookie = cookie}, "lo", {.up = false});

  const v1::Veth veth = client_->GetVeth("v").value;
  EXPECT_EQ(veth.state(), v1::Veth::STATE_DEGRADED);
  std::vector<std::string> told;
  for (const v1::Deviation& deviation : veth.deviations()) {
    told.push_back(absl::StrCat(deviation.field(), " ", deviation.expected(), " ", deviation.actual()));
  }
  EXPECT_THAT(told, ElementsAre("endpoint_a.mtu 1500 1400", "endpoint_a.admin_state up down",
                                "endpoint_b.interface_name e-v other"));
  const auto veths = client_->List(v1::ListVethsRequest());
  ASSERT_EQ(veths.value.veths_size(), 1);
  EXPECT_EQ(veths.value.veths(0).SerializeAsString(), veth.SerializeAsString());

  const v1::Namespace netns = client_->GetNamespace("blue").value;
  EXPECT_EQ(netns.state(), v1::Namespace::STATE_DEGRADED);
  ASSERT_EQ(netns.deviations_size(), 1);
  EXPECT_EQ(netns.deviations(0).ShortDebugString(), R"(field: "loopback" expected: "up" actual: "down")");
  const auto namespaces = client_->List(v1::ListNamespacesRequest());
  ASSERT_EQ(namespaces.value.namespaces_size(), 1);
  EXPECT_EQ(namespaces.value.namespaces(0).SerializeAsString(), netns.SerializeAsString());

  // What is gone does not deviate.
  kernel_.RemoveForeignNetnsForTest("blue");
  EXPECT_EQ(client_->GetVeth("v").value.state(), v1::Veth::STATE_MISSING);
  EXPECT_EQ(client_->GetVeth("v").value.deviations_size(), 0);
}

TEST_F(HostComponentTest, HealthNamesTheNewServices) {
  EXPECT_EQ(client_->Health("netprov.v1.HostService").value, 1);
  EXPECT_EQ(client_->Health("netprov.v1.LeaseService").value, 1);
}

}  // namespace
}  // namespace netprov::testing
