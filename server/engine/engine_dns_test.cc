// The files at /etc/netns by which a namespace resolves names.
#include <cerrno>
#include <optional>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/engine/engine.h"
#include "server/engine/engine_fixture.h"
#include "server/engine/tag.h"

namespace netprov::engine {
namespace {

using ::testing::HasSubstr;

class DnsTest : public EngineTest {
 protected:
  static DnsSpec Dns(const std::string& nameserver = "10.0.0.53") {
    return {.nameservers = {nameserver},
            .searches = {},
            .options = {},
            .hosts = {{.address = "10.0.0.5", .names = {"db"}}}};
  }
  CreateNamespaceCall Call(bool self_heal = false) {
    CreateNamespaceCall call{.id = "blue", .spec = {.dns = Dns()}};
    call.metadata.self_heal = self_heal;
    return call;
  }
  EngineResult<Namespace> Create() { return engine_->CreateNamespace(Call()); }
  EngineResult<Namespace> Update(const DnsSpec& dns) {
    return engine_->UpdateNamespace({.context = {}, .id = "blue", .edit = [dns](Asked<NamespaceSpec> asked) {
                                       asked.spec.dns = dns;
                                       return netprov::Result<Asked<NamespaceSpec>, std::vector<InvalidField>>(asked);
                                     }});
  }
  EtcEntry Etc(const std::string& name = "blue") { return *kernel_.FindEtcFiles(name); }
  std::string TextOf(const std::string& file) {
    const EtcFiles files = Etc().files;
    return files.contains(file) ? files.at(file) : "none";
  }
  std::string DeviationsOfBlue() { return ToText(engine_->GetNamespace("blue")->deviations); }
  // What is to be tried is tried with each operation failing in turn, from the same state, which stays as it is.
  template <typename Try>
  void WhateverFailsChangesNothing(Try attempt) {
    const std::string before = kernel_.DumpForTest();
    int failures = 0;
    for (int nth = 1;; ++nth) {
      int left = nth;
      kernel_.SetFaultForTest([&left](const std::string& operation) -> std::optional<KernelError> {
        if (--left != 0) return std::nullopt;
        return KernelError{.code = EIO, .operation = operation, .extack = {}};
      });
      const bool done = attempt();
      kernel_.SetFaultForTest(nullptr);
      if (left > 0) {
        EXPECT_TRUE(done);
        break;
      }
      if (done) continue;
      ++failures;
      EXPECT_EQ(kernel_.DumpForTest(), before) << "operation " << nth;
      EXPECT_TRUE(registry_->ListPending().empty());
    }
    EXPECT_GT(failures, 1);
  }
};

TEST_F(DnsTest, ComesWithTheNamespaceAndGoesWithIt) {
  const std::string before = kernel_.DumpForTest();
  const EngineResult<Namespace> made = Create();
  ASSERT_TRUE(made.ok()) << made.error().message;
  EXPECT_EQ(made->spec.dns, Dns());
  EXPECT_THAT(TextOf("resolv.conf"), HasSubstr("nameserver 10.0.0.53\n"));
  EXPECT_THAT(TextOf("hosts"), HasSubstr("10.0.0.5 db\n"));
  Restart();
  const EngineResult<Namespace> found = engine_->GetNamespace("blue");
  EXPECT_EQ(found->spec.dns, Dns());
  EXPECT_EQ(found->state, State::kReady) << ToText(found->deviations);
  ASSERT_TRUE(DeleteNamespace("blue").ok());
  EXPECT_EQ(kernel_.DumpForTest(), before);
}

TEST_F(DnsTest, ADirectoryOfSomebodyElsesStaysWithWhatIsInIt) {
  kernel_.SetEtcFileForTest("blue", "nsswitch.conf", "theirs\n");
  const std::string before = kernel_.DumpForTest();
  ASSERT_TRUE(Create().ok());
  ASSERT_TRUE(DeleteNamespace("blue").ok());
  EXPECT_EQ(kernel_.DumpForTest(), before);
  kernel_.SetEtcFileForTest("blue", "nsswitch.conf", std::nullopt);
  ASSERT_TRUE(Create().ok());
  ASSERT_TRUE(DeleteNamespace("blue").ok());
  EXPECT_TRUE(Etc().exists) << "an empty one is somebody's too";
}

TEST_F(DnsTest, AFileOfSomebodyElsesIsInTheWay) {
  kernel_.SetEtcFileForTest("blue", "hosts", "10.0.0.1 theirs\n");
  const std::string before = kernel_.DumpForTest();
  for (const bool validate_only : {true, false}) {
    CreateNamespaceCall call = Call();
    call.context.validate_only = validate_only;
    const EngineResult<Namespace> refused = engine_->CreateNamespace(call);
    EXPECT_REFUSED(refused, Reason::kDnsFileNotManaged);
    EXPECT_THAT(refused.error().message, HasSubstr("/etc/netns/blue/hosts"));
  }
  EXPECT_EQ(kernel_.DumpForTest(), before);
  // Where it asks for none of that name, it is in nobody's way.
  CreateNamespaceCall call = Call();
  call.spec.dns.hosts.clear();
  ASSERT_TRUE(engine_->CreateNamespace(call).ok());
  EXPECT_REFUSED(Update(Dns()), Reason::kDnsFileNotManaged);
  ASSERT_TRUE(DeleteNamespace("blue").ok());
  EXPECT_EQ(kernel_.DumpForTest(), before);
}

TEST_F(DnsTest, WhateverFailsOfACreationLeavesNothing) {
  WhateverFailsChangesNothing([&] { return Create().ok(); });
}

TEST_F(DnsTest, WhateverFailsOfAnUpdateLeavesWhatWas) {
  ASSERT_TRUE(Create().ok());
  WhateverFailsChangesNothing([&] { return Update({.searches = {"example.org"}}).ok(); });
  EXPECT_THAT(TextOf("resolv.conf"), HasSubstr("search example.org\n"));
  EXPECT_EQ(TextOf("hosts"), "none");
}

TEST_F(DnsTest, WhateverFailsOfAnAdoptionLeavesItAsItWas) {
  kernel_.AddForeignNetnsForTest("blue");
  const AdoptNamespaceCall call{.id = "blue", .spec = {.dns = Dns()}};
  WhateverFailsChangesNothing([&] { return engine_->AdoptNamespace(call).ok(); });
  EXPECT_THAT(TextOf("resolv.conf"), HasSubstr("adopted/blue"));
  WhateverFailsChangesNothing([&] { return engine_->ReleaseNamespace({.id = "blue"}).ok(); });
  EXPECT_FALSE(Etc().exists) << "they go with the tag";
}

TEST_F(DnsTest, UpdatesAddChangeAndTakeAway) {
  ASSERT_TRUE(CreateNamespace("blue").ok());
  EXPECT_FALSE(Etc().exists);
  const EngineResult<Namespace> added = Update(Dns());
  ASSERT_TRUE(added.ok()) << added.error().message;
  EXPECT_EQ(added->spec.dns, Dns());
  ASSERT_TRUE(Update(Dns("10.0.0.54")).ok());
  EXPECT_THAT(TextOf("resolv.conf"), HasSubstr("nameserver 10.0.0.54\n"));
  EXPECT_EQ(DeviationsOfBlue(), "");
  ASSERT_TRUE(Update({}).ok());
  EXPECT_FALSE(Etc().exists);
  EXPECT_EQ(engine_->GetNamespace("blue")->spec.dns, DnsSpec());
}

TEST_F(DnsTest, WhatSomebodyDidToAFileIsADeviationAndHeals) {
  ASSERT_TRUE(engine_->CreateNamespace(Call(/*self_heal=*/true)).ok());
  const ObjectRef object{.name = "namespaces/blue", .uid = registry_->FindNamespace("blue")->uid};
  const EtcFiles files = Etc().files;
  kernel_.SetEtcFileForTest("blue", "resolv.conf", TextOf("resolv.conf") + "nameserver 10.0.0.9\n");
  kernel_.SetEtcFileForTest("blue", "hosts", std::nullopt);
  EXPECT_THAT(DeviationsOfBlue(), AllOf(HasSubstr("dns[hosts]"), HasSubstr("missing"), HasSubstr("dns[resolv.conf]"),
                                        HasSubstr("changed")));
  ASSERT_TRUE(engine_->Heal(object).ok());
  EXPECT_EQ(Etc().files, files);
  kernel_.SetEtcFileForTest("blue", "resolv.conf", "theirs\n");
  EXPECT_THAT(DeviationsOfBlue(), HasSubstr("somebody else's"));
  EXPECT_FALSE(engine_->Heal(object).ok());
  EXPECT_EQ(TextOf("resolv.conf"), "theirs\n");
  ASSERT_TRUE(DeleteNamespace("blue").ok());
  EXPECT_EQ(TextOf("resolv.conf"), "theirs\n");
  EXPECT_EQ(TextOf("hosts"), "none");
}

TEST_F(DnsTest, OutlivesABootAndIsTakenOver) {
  ASSERT_TRUE(engine_->CreateNamespace(Call(/*self_heal=*/true)).ok());
  const EtcFiles files = Etc().files;
  kernel_.RebootForTest();
  EXPECT_EQ(Restart().Count(Finding::Kind::kOrphanRemoved), 0);
  EXPECT_EQ(Etc().files, files);
  // Healed it has the same files; made anew it has its own.
  ASSERT_TRUE(engine_->Heal({.name = "namespaces/blue", .uid = registry_->FindNamespace("blue")->uid}).ok());
  EXPECT_EQ(Etc().files, files);
  kernel_.RebootForTest();
  Restart();
  const EngineResult<Namespace> made = Create();
  ASSERT_TRUE(made.ok()) << made.error().message;
  EXPECT_THAT(TextOf("resolv.conf"), HasSubstr(made->uid));
  kernel_.RebootForTest();
  Restart();
  ASSERT_TRUE(DeleteNamespace("blue").ok());
  EXPECT_FALSE(Etc().exists);
}

TEST_F(DnsTest, UnfinishedChangesAreUndone) {
  const std::string nothing = kernel_.DumpForTest();
  NamespaceRecord record{.id = "blue", .uid = NewUid(), .boot_id = kernel_.BootId(), .spec = {.dns = Dns()}};
  record.owns_etc_directory = true;
  ASSERT_TRUE(registry_->Begin({.kind = Intent::Kind::kCreateNamespace, .netns = record}).ok());
  const std::string tag = TagOf(registry_->id(), record.uid, "namespaces/blue");
  ASSERT_TRUE(kernel_.SetEtcFiles("blue", "# " + tag, {{"hosts", "# " + tag + "\n"}}, true).ok());
  EXPECT_EQ(Restart().Count(Finding::Kind::kRolledBack), 1);
  EXPECT_EQ(kernel_.DumpForTest(), nothing);

  ASSERT_TRUE(Create().ok());
  const EtcFiles files = Etc().files;
  NamespaceRecord updated = *registry_->FindNamespace("blue");
  updated.spec.dns = {.nameservers = {"10.0.0.54"}};
  Intent update{.kind = Intent::Kind::kUpdateNamespace, .netns = updated};
  update.former.netns.dns = Dns();
  ASSERT_TRUE(registry_->Begin(update).ok());
  kernel_.SetEtcFileForTest("blue", "hosts", std::nullopt);
  EXPECT_EQ(Restart().Count(Finding::Kind::kRolledBack), 1);
  EXPECT_EQ(Etc().files, files);
}

TEST_F(DnsTest, OrphansAreRemovedAndOthersStay) {
  const std::string tag = TagOf(registry_->id(), NewUid(), "namespaces/red");
  kernel_.SetEtcFileForTest("red", "resolv.conf", "# " + tag + "\nnameserver 10.0.0.1\n");
  kernel_.SetEtcFileForTest("red", "hosts", "theirs\n");
  const std::string other = TagOf("33333333-3333-4333-8333-333333333333", NewUid(), "namespaces/green");
  kernel_.SetEtcFileForTest("green", "hosts", "# " + other + "\n");
  const EngineResult<HostReport> look = engine_->CheckHost(engine_->PlanCheck(/*validate_only=*/true));
  ASSERT_TRUE(look.ok());
  EXPECT_EQ(look->Count(Finding::Kind::kOrphan), 1);
  EXPECT_EQ(Etc("red").files.size(), 2u);
  EXPECT_EQ(Restart().Count(Finding::Kind::kOrphanRemoved), 1);
  EXPECT_EQ(Etc("red").files.size(), 1u);
  EXPECT_EQ(Etc("green").files.size(), 1u);
}

}  // namespace
}  // namespace netprov::engine
