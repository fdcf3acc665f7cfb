#include "server/engine/registry.h"

#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/engine/record_json.h"

namespace netprov::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

NamespaceRecord NamespaceNamed(const std::string& id) {
  return {.id = id,
          .uid = "uid of " + id,
          .create_time = absl::FromUnixNanos(1234567890123456789),
          .boot_id = "boot",
          .cookie = 18446744073709551615u};
}

VethRecord VethNamed(const std::string& id, const std::string& namespace_id = "") {
  return {
      .id = id,
      .uid = "uid of " + id,
      .create_time = absl::FromUnixNanos(1),
      .boot_id = "boot",
      .spec = {.a = {.interface_name = "veth%d", .mac = netlink::MacAddress::Parse("02:00:00:00:00:01"), .mtu = 1400},
               .b = {.namespace_id = namespace_id, .interface_name = "eth0", .up = false}},
      .a = {.interface_name = "veth0",
            .mac = netlink::MacAddress::Parse("02:00:00:00:00:01"),
            .mtu = 1400,
            .up = true,
            .ifindex = 7},
      .b = {.namespace_id = namespace_id, .interface_name = "eth0", .mtu = 1500, .up = false, .ifindex = 2}};
}

std::vector<std::string> IdsOf(const std::vector<VethRecord>& records) {
  std::vector<std::string> ids;
  for (const VethRecord& record : records) ids.push_back(record.id);
  return ids;
}

class RegistryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ = absl::StrCat(::testing::TempDir(), "/registry-",
                         ::testing::UnitTest::GetInstance()->current_test_info()->name(), "-", ::getpid());
    Open();
  }

  // Also reopens: what was written must come back.
  void Open() {
    registry_.reset();
    auto registry = Registry::Open(path_);
    ASSERT_TRUE(registry.ok()) << registry.error().message;
    registry_ = *std::move(registry);
  }

  // What Open says of the database now.
  std::string WhyNotOpened() {
    registry_.reset();
    auto registry = Registry::Open(path_);
    return registry.ok() ? "" : registry.error().message;
  }

  void Sql(const std::string& sql) {
    registry_.reset();
    sqlite3* database = nullptr;
    ASSERT_EQ(::sqlite3_open(path_.c_str(), &database), SQLITE_OK);
    EXPECT_EQ(::sqlite3_exec(database, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK)
        << ::sqlite3_errmsg(database);
    ::sqlite3_close(database);
  }

  std::string path_;
  std::unique_ptr<Registry> registry_;
};

TEST_F(RegistryTest, EveryFieldComesBackAfterARestart) {
  ASSERT_TRUE(registry_->Commit(0, {.put_namespace = NamespaceNamed("blue"), .put_veth = VethNamed("v", "blue")}).ok());
  for (bool reopened : {false, true}) {
    if (reopened) Open();
    EXPECT_EQ(ToJson(registry_->FindNamespace("blue").value()), ToJson(NamespaceNamed("blue")));
    std::optional<VethRecord> veth = registry_->FindVeth("v");
    ASSERT_TRUE(veth.has_value());
    EXPECT_EQ(ToJson(*veth), ToJson(VethNamed("v", "blue")));
    EXPECT_EQ(veth->spec, VethNamed("v", "blue").spec);
    EXPECT_EQ(veth->b.mac, std::nullopt);
    EXPECT_EQ(veth->create_time, absl::FromUnixNanos(1));
    EXPECT_EQ(registry_->FindNamespace("blue")->cookie, 18446744073709551615u);
  }
  EXPECT_FALSE(registry_->FindNamespace("green").has_value());
  EXPECT_FALSE(registry_->FindVeth("w").has_value());
}

TEST_F(RegistryTest, AnIntentIsPendingUntilItsOutcome) {
  auto first = registry_->Begin({.kind = Intent::Kind::kCreateNamespace, .netns = NamespaceNamed("blue")});
  auto second = registry_->Begin({.kind = Intent::Kind::kDeleteVeth, .veth = VethNamed("v")});
  auto third = registry_->Begin({.kind = Intent::Kind::kDeleteNamespace, .netns = NamespaceNamed("red")});
  auto fourth = registry_->Begin({.kind = Intent::Kind::kCreateVeth, .veth = VethNamed("w")});
  ASSERT_TRUE(first.ok() && second.ok() && third.ok() && fourth.ok());
  Open();
  auto pending = registry_->ListPending();
  ASSERT_TRUE(pending.ok());
  ASSERT_EQ(pending->size(), 4u);
  EXPECT_EQ((*pending)[0].sequence, *first);
  EXPECT_EQ((*pending)[0].intent.kind, Intent::Kind::kCreateNamespace);
  EXPECT_EQ(ToJson((*pending)[0].intent.netns), ToJson(NamespaceNamed("blue")));
  EXPECT_EQ((*pending)[1].intent.kind, Intent::Kind::kDeleteVeth);
  EXPECT_EQ(ToJson((*pending)[1].intent.veth), ToJson(VethNamed("v")));
  EXPECT_EQ((*pending)[2].intent.kind, Intent::Kind::kDeleteNamespace);
  EXPECT_EQ((*pending)[3].intent.kind, Intent::Kind::kCreateVeth);

  ASSERT_TRUE(registry_->Commit(*first, {.put_namespace = NamespaceNamed("blue")}).ok());
  ASSERT_TRUE(registry_->Abort(*second).ok());
  ASSERT_TRUE(registry_->Abort(*third).ok());
  ASSERT_TRUE(registry_->Abort(*fourth).ok());
  Open();
  EXPECT_THAT(*registry_->ListPending(), IsEmpty());
  EXPECT_TRUE(registry_->FindNamespace("blue").has_value());
  EXPECT_FALSE(registry_->FindVeth("v").has_value());
}

TEST_F(RegistryTest, ARemovalIsForOneUidOnly) {
  ASSERT_TRUE(registry_->Commit(0, {.put_namespace = NamespaceNamed("blue"), .put_veth = VethNamed("v")}).ok());
  NamespaceRecord older = NamespaceNamed("blue");
  older.uid = "older";
  VethRecord older_veth = VethNamed("v");
  older_veth.uid = "older";
  ASSERT_TRUE(registry_->Commit(0, {.remove_namespace = older, .remove_veths = {older_veth}}).ok());
  for (bool reopened : {false, true}) {
    if (reopened) Open();
    EXPECT_TRUE(registry_->FindNamespace("blue").has_value());
    EXPECT_TRUE(registry_->FindVeth("v").has_value());
  }
  ASSERT_TRUE(
      registry_->Commit(0, {.remove_namespace = NamespaceNamed("blue"), .remove_veths = {VethNamed("v")}}).ok());
  for (bool reopened : {false, true}) {
    if (reopened) Open();
    EXPECT_FALSE(registry_->FindNamespace("blue").has_value());
    EXPECT_FALSE(registry_->FindVeth("v").has_value());
  }
}

TEST_F(RegistryTest, ListsInOrderAndByNamespace) {
  for (const auto& [id, netns] : {std::pair("c", "blue"), std::pair("a", "green"), std::pair("b", "blue")}) {
    ASSERT_TRUE(registry_->Commit(0, {.put_veth = VethNamed(id, netns)}).ok());
  }
  EXPECT_THAT(IdsOf(registry_->ListVeths("", 10)), ElementsAre("a", "b", "c"));
  EXPECT_THAT(IdsOf(registry_->ListVeths("", 2)), ElementsAre("a", "b"));
  EXPECT_THAT(IdsOf(registry_->ListVeths("a", 10)), ElementsAre("b", "c"));
  EXPECT_THAT(IdsOf(registry_->ListVethsOf("blue")), ElementsAre("b", "c"));
  EXPECT_THAT(IdsOf(registry_->ListVethsOf("red")), IsEmpty());
}

TEST_F(RegistryTest, RemembersAnswers) {
  const std::string fingerprint("with\0zero", 9);
  const Namespace netns{.id = "blue", .uid = "u", .create_time = absl::FromUnixNanos(5), .managed = true, .cookie = 9};
  ASSERT_TRUE(
      registry_->Commit(0, {.request = RequestRecord{.request_id = "r", .fingerprint = fingerprint, .netns = netns}})
          .ok());
  Open();
  auto answer = registry_->FindRequest("r");
  ASSERT_TRUE(answer.ok() && answer->has_value());
  EXPECT_EQ((*answer)->fingerprint, fingerprint);
  EXPECT_EQ((*answer)->netns->uid, "u");
  EXPECT_EQ((*answer)->netns->cookie, 9u);
  EXPECT_TRUE((*answer)->netns->managed);
  EXPECT_FALSE((*answer)->veth.has_value());
  EXPECT_FALSE(registry_->FindRequest("s")->has_value());
}

TEST_F(RegistryTest, ForgetsAnswersAfterTheRetention) {
  ASSERT_TRUE(registry_->Commit(0, {.request = RequestRecord{.request_id = "r"}}).ok());
  Sql(absl::StrCat("UPDATE requests SET answered = answered - ",
                   absl::ToInt64Seconds(Registry::kRequestRetention) - 60));
  Open();
  EXPECT_TRUE(registry_->FindRequest("r")->has_value());
  Sql("UPDATE requests SET answered = answered - 120");
  Open();
  EXPECT_FALSE(registry_->FindRequest("r")->has_value());
}

TEST_F(RegistryTest, ADamagedDatabaseIsRefused) {
  ASSERT_TRUE(registry_->Commit(0, {.put_namespace = NamespaceNamed("blue")}).ok());
  registry_.reset();
  std::ofstream(path_, std::ios::in | std::ios::out) << "this is no database";
  EXPECT_THAT(WhyNotOpened(), HasSubstr("cannot use the registry"));
}

TEST_F(RegistryTest, AnUnreadableRecordIsRefused) {
  Sql("INSERT INTO namespaces VALUES ('blue', 'u', '{}')");
  EXPECT_THAT(WhyNotOpened(), HasSubstr("unreadable namespace {}"));
}

TEST_F(RegistryTest, ANewerSchemaIsRefused) {
  Sql("PRAGMA user_version = 1000");
  EXPECT_THAT(WhyNotOpened(), HasSubstr("written by a newer netprov (schema 1000"));
}

TEST_F(RegistryTest, HasOneUser) {
  auto second = Registry::Open(path_);
  ASSERT_FALSE(second.ok());
  EXPECT_THAT(second.error().message, HasSubstr("locked"));
}

TEST_F(RegistryTest, IsNobodyElsesToRead) {
  struct stat status = {};
  ASSERT_EQ(::stat(path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
}

TEST_F(RegistryTest, ADirectoryThatIsNotThereIsSaid) {
  auto registry = Registry::Open("/nowhere/registry.db");
  ASSERT_FALSE(registry.ok());
  EXPECT_EQ(registry.error().message, "cannot open the registry /nowhere/registry.db: No such file or directory");
}

}  // namespace
}  // namespace netprov::engine
