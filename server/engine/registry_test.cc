#include "server/engine/registry.h"

#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/engine/record_json.h"

namespace netprov::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

NamespaceRecord NamespaceNamed(const std::string& id) {
  return {.id = id,
          .uid = "uid of " + id,
          .create_time = absl::FromUnixNanos(1234567890123456789),
          .boot_id = "boot",
          .cookie = 18446744073709551615u,
          .spec = {.sysctls = {{"net.ipv4.ip_forward", "1"}}}};
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

// A disk that can fail: SQLite's own, as its default, until told otherwise.
class Disk {
 public:
  static Disk& Get() {
    static Disk disk;
    return disk;
  }

  // After so many writes more, `count` fail with `code`; or all until Heal().
  void FailWrites(int code, int after, int count = kAll) {
    code_ = code;
    failures_ = count;
    writes_until_failure_ = after;
  }
  void FailSyncs() { syncs_fail_ = true; }
  void Heal() {
    writes_until_failure_ = kAll;
    syncs_fail_ = false;
  }

  // Lets every sync wait, until Release().
  void Hold() { held_ = true; }
  void WaitUntilOneIsHeld() {
    while (!waiting_) waiting_.wait(false);
  }
  void Release() {
    held_ = false;
    held_.notify_all();
    waiting_ = false;
  }

  int syncs() const { return syncs_; }

 private:
  static constexpr int kAll = 1 << 30;

  // SQLite's own file lies behind it.
  struct File {
    sqlite3_file base;
    sqlite3_file* real() { return reinterpret_cast<sqlite3_file*>(this + 1); }
  };
  static sqlite3_file* Real(sqlite3_file* file) { return reinterpret_cast<File*>(file)->real(); }

  Disk() : real_(::sqlite3_vfs_find(nullptr)), vfs_(*real_) {
    vfs_.szOsFile = static_cast<int>(sizeof(File)) + real_->szOsFile;
    vfs_.zName = "failing";
    vfs_.pNext = nullptr;
    vfs_.xOpen = [](sqlite3_vfs*, const char* name, sqlite3_file* file, int flags, int* out_flags) {
      file->pMethods = nullptr;
      std::memset(static_cast<void*>(Real(file)), 0, static_cast<size_t>(Get().real_->szOsFile));
      const int opened = Get().real_->xOpen(Get().real_, name, Real(file), flags, out_flags);
      if (opened == SQLITE_OK) file->pMethods = &Get().methods_;
      return opened;
    };
    methods_ = {
        .iVersion = 1,  // no shared memory: the registry needs none
        .xClose = [](sqlite3_file* file) { return Real(file)->pMethods->xClose(Real(file)); },
        .xRead = [](sqlite3_file* file, void* to, int size,
                    sqlite3_int64 at) { return Real(file)->pMethods->xRead(Real(file), to, size, at); },
        .xWrite =
            [](sqlite3_file* file, const void* from, int size, sqlite3_int64 at) {
              if (Get().WriteFails()) return Get().code_.load();
              return Real(file)->pMethods->xWrite(Real(file), from, size, at);
            },
        .xTruncate = [](sqlite3_file* file,
                        sqlite3_int64 size) { return Real(file)->pMethods->xTruncate(Real(file), size); },
        .xSync =
            [](sqlite3_file*, int) {
              Get().CountSync();
              // Nobody cuts the power here, so there is no need to wait for the real disk.
              return Get().syncs_fail_ ? SQLITE_IOERR_FSYNC : SQLITE_OK;
            },
        .xFileSize = [](sqlite3_file* file,
                        sqlite3_int64* size) { return Real(file)->pMethods->xFileSize(Real(file), size); },
        .xLock = [](sqlite3_file* file, int lock) { return Real(file)->pMethods->xLock(Real(file), lock); },
        .xUnlock = [](sqlite3_file* file, int lock) { return Real(file)->pMethods->xUnlock(Real(file), lock); },
        .xCheckReservedLock = [](sqlite3_file* file,
                                 int* out) { return Real(file)->pMethods->xCheckReservedLock(Real(file), out); },
        .xFileControl = [](sqlite3_file* file, int op,
                           void* argument) { return Real(file)->pMethods->xFileControl(Real(file), op, argument); },
        .xSectorSize = [](sqlite3_file* file) { return Real(file)->pMethods->xSectorSize(Real(file)); },
        .xDeviceCharacteristics =
            [](sqlite3_file* file) { return Real(file)->pMethods->xDeviceCharacteristics(Real(file)); }};
    ::sqlite3_vfs_register(&vfs_, /*makeDflt=*/1);
  }

  bool WriteFails() {
    const int left = writes_until_failure_;
    if (left == kAll) return false;
    if (left > 0) {
      --writes_until_failure_;
      return false;
    }
    if (failures_ != kAll && --failures_ == 0) writes_until_failure_ = kAll;
    return true;
  }

  void CountSync() {
    ++syncs_;
    if (!held_) return;
    waiting_ = true;
    waiting_.notify_all();
    held_.wait(true);
  }

  sqlite3_vfs* real_;
  sqlite3_vfs vfs_;
  sqlite3_io_methods methods_;
  std::atomic<int> code_ = SQLITE_OK;
  std::atomic<int> failures_ = 0;
  std::atomic<int> writes_until_failure_ = kAll;
  std::atomic<bool> syncs_fail_ = false;
  std::atomic<bool> held_ = false;
  std::atomic<bool> waiting_ = false;
  std::atomic<int> syncs_ = 0;
};

// All that a registry knows, as text.
std::vector<std::string> ContentOf(Registry& registry) {
  std::vector<std::string> content = {registry.id()};
  for (const NamespaceRecord& record : registry.ListNamespaces()) content.push_back(ToJson(record));
  for (const VethRecord& record : registry.ListVeths("", 1000)) content.push_back(ToJson(record));
  for (const DeviceRecord& record : registry.ListDevices()) content.push_back(ToJson(record));
  const auto pending = registry.ListPending();
  for (const PendingIntent& item : pending) content.push_back(absl::StrCat(item.sequence, ToJson(item.intent)));
  for (const char* request_id : {"q", "r", "s"}) {
    auto answer = registry.FindRequest(request_id);
    EXPECT_TRUE(answer.ok());
    if (answer.ok() && answer->has_value()) content.push_back(absl::StrCat(request_id, AnswerToJson(**answer)));
  }
  const Usage used = registry.UsedByAll();
  content.push_back(absl::StrCat("used: ", used.namespaces, " namespaces, ", used.links, " links"));
  return content;
}

class RegistryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    Disk::Get().Heal();
    std::string test = ::testing::UnitTest::GetInstance()->current_test_info()->name();
    std::replace(test.begin(), test.end(), '/', '-');
    path_ = absl::StrCat(::testing::TempDir(), "registry-", test, "-", ::getpid());
    Open();
  }
  void TearDown() override { Disk::Get().Heal(); }

  // Also reopens: what was written must come back.
  void Open(Durability durability = Durability::kProcess) {
    registry_.reset();
    auto registry = Registry::Open(path_, {.durability = durability});
    ASSERT_TRUE(registry.ok()) << registry.error().message;
    registry_ = *std::move(registry);
  }

  void Remove() {
    registry_.reset();
    for (const char* suffix : {"", "-wal"}) std::filesystem::remove(path_ + suffix);
  }

  // What a crash of the process would leave now, at another path.
  std::string CopyOfFiles() {
    const std::string copy = path_ + "-copy";
    for (const char* suffix : {"", "-wal"}) {
      std::filesystem::remove(copy + suffix);
      if (std::filesystem::exists(path_ + suffix)) std::filesystem::copy_file(path_ + suffix, copy + suffix);
    }
    return copy;
  }
  std::vector<std::string> ContentAfterACrash() {
    auto registry = Registry::Open(CopyOfFiles());
    if (!registry.ok()) return {registry.error().message};
    return ContentOf(**registry);
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
    ASSERT_EQ(::sqlite3_open_v2(path_.c_str(), &database, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "unix"),
              SQLITE_OK);
    EXPECT_EQ(::sqlite3_exec(database, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK)
        << ::sqlite3_errmsg(database);
    ::sqlite3_close(database);
  }

  // What the query says.
  int64_t Number(const std::string& query) {
    registry_.reset();
    sqlite3* database = nullptr;
    int64_t number = -1;
    EXPECT_EQ(::sqlite3_open_v2(path_.c_str(), &database, SQLITE_OPEN_READWRITE, "unix"), SQLITE_OK);
    auto read = [](void* to, int, char** values, char**) {
      return absl::SimpleAtoi(values[0], static_cast<int64_t*>(to)) ? 0 : 1;
    };
    EXPECT_EQ(::sqlite3_exec(database, query.c_str(), read, &number, nullptr), SQLITE_OK);
    ::sqlite3_close(database);
    return number;
  }

  std::string path_;
  std::unique_ptr<Registry> registry_;
};

TEST_F(RegistryTest, EveryFieldComesBackAfterARestart) {
  ASSERT_TRUE(
      registry_->Commit(0, {.put_namespaces = {NamespaceNamed("blue")}, .put_veth = VethNamed("v", "blue")}).ok());
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
    EXPECT_EQ(registry_->FindNamespace("blue")->spec, NamespaceNamed("blue").spec);
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
  ASSERT_EQ(pending.size(), 4u);
  EXPECT_EQ(pending[0].sequence, *first);
  EXPECT_EQ(pending[0].intent.kind, Intent::Kind::kCreateNamespace);
  EXPECT_EQ(ToJson(pending[0].intent.netns), ToJson(NamespaceNamed("blue")));
  EXPECT_EQ(pending[1].intent.kind, Intent::Kind::kDeleteVeth);
  EXPECT_EQ(ToJson(pending[1].intent.veth), ToJson(VethNamed("v")));
  EXPECT_EQ(pending[2].intent.kind, Intent::Kind::kDeleteNamespace);
  EXPECT_EQ(pending[3].intent.kind, Intent::Kind::kCreateVeth);

  ASSERT_TRUE(registry_->Commit(*first, {.put_namespaces = {NamespaceNamed("blue")}}).ok());
  ASSERT_TRUE(registry_->Abort(*second).ok());
  ASSERT_TRUE(registry_->Abort(*third).ok());
  ASSERT_TRUE(registry_->Abort(*fourth).ok());
  Open();
  EXPECT_THAT(registry_->ListPending(), IsEmpty());
  EXPECT_TRUE(registry_->FindNamespace("blue").has_value());
  EXPECT_FALSE(registry_->FindVeth("v").has_value());
}

TEST_F(RegistryTest, WhatAnIntentAddsCountsFromItsBeginningToItsOutcome) {
  VethRecord record = VethNamed("v");
  // Any bytes.
  record.creator = "cn:\xff\n\"\\";
  const Allowance room{.own = {.links = 2}, .total = {}};
  const Intent create{.kind = Intent::Kind::kCreateVeth, .veth = record};
  const auto first = registry_->Begin(create, room);
  ASSERT_TRUE(first.ok());
  const Usage pair{.links = 2};
  Intent other = create;
  other.veth.id = "w";
  other.veth.uid = "uid of w";
  for (bool reopened : {false, true}) {
    if (reopened) Open();
    EXPECT_EQ(registry_->UsedBy(record.creator), pair);
    EXPECT_EQ(registry_->UsedByAll(), pair);
    const auto refused = registry_->Begin(other, room);
    ASSERT_FALSE(refused.ok());
    EXPECT_FALSE(refused.error().storage);
    ASSERT_TRUE(refused.error().excess.has_value());
    EXPECT_EQ(refused.error().excess->quota, "links");
    EXPECT_EQ(registry_->FindExcess(other, room)->usage, 2);
    EXPECT_THAT(registry_->ListPending(), SizeIs(1));
    EXPECT_FALSE(registry_->Fault().has_value());
  }
  ASSERT_TRUE(registry_->Commit(*first, {.put_veth = record}).ok());
  for (bool reopened : {false, true}) {
    if (reopened) Open();
    EXPECT_EQ(registry_->UsedBy(record.creator), pair);
  }
  // What it grows by, and no more; what it shrinks by is free only with the outcome.
  Intent update{.kind = Intent::Kind::kUpdateVeth, .veth = record, .usage_after = Usage{.links = 1, .addresses = 3}};
  const auto second = registry_->Begin(update, {.own = {.links = 0, .addresses = 3}, .total = {}});
  ASSERT_TRUE(second.ok());
  for (bool reopened : {false, true}) {
    if (reopened) Open();
    EXPECT_EQ(registry_->UsedBy(record.creator), (Usage{.links = 2, .addresses = 3}));
  }
  ASSERT_TRUE(registry_->Abort(*second).ok());
  EXPECT_EQ(registry_->UsedBy(record.creator), pair);
  const auto third = registry_->Begin({.kind = Intent::Kind::kDeleteVeth, .veth = record}, {.own = {.links = 0}});
  ASSERT_TRUE(third.ok());
  EXPECT_EQ(registry_->UsedBy(record.creator), pair);
  Outcome gone;
  gone.remove_veths = {record};
  ASSERT_TRUE(registry_->Commit(*third, gone).ok());
  EXPECT_EQ(registry_->UsedBy(record.creator), Usage());
  EXPECT_EQ(registry_->UsedByAll(), Usage());
}

TEST_F(RegistryTest, ARecordOfNobodysCountsForAllOnly) {
  ASSERT_TRUE(registry_->Commit(0, {.put_namespaces = {NamespaceNamed("blue")}}).ok());
  Open();
  EXPECT_EQ(registry_->FindNamespace("blue")->creator, "");
  Intent more{.kind = Intent::Kind::kCreateNamespace, .netns = NamespaceNamed("red")};
  EXPECT_FALSE(registry_->FindExcess(more, {.own = {.namespaces = 0}, .total = {}}).has_value());
  const auto excess = registry_->FindExcess(more, {.own = {}, .total = {.namespaces = 1}});
  ASSERT_TRUE(excess.has_value());
  EXPECT_EQ(excess->quota, "total.namespaces");
  EXPECT_EQ(excess->usage, 1);
}

TEST_F(RegistryTest, ARemovalIsForOneUidOnly) {
  ASSERT_TRUE(registry_->Commit(0, {.put_namespaces = {NamespaceNamed("blue")}, .put_veth = VethNamed("v")}).ok());
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

TEST_F(RegistryTest, KnowsTheUidsOfAllThatIsRegistered) {
  DeviceRecord device{.name = "bridges/br", .uid = "uid of br", .boot_id = "boot"};
  Outcome made{.put_namespaces = {NamespaceNamed("blue")}, .put_veth = VethNamed("v")};
  made.put_device = device;
  ASSERT_TRUE(registry_->Commit(0, made).ok());
  for (bool reopened : {false, true}) {
    if (reopened) Open();
    for (const char* uid : {"uid of blue", "uid of v", "uid of br"}) EXPECT_TRUE(registry_->HasUid(uid)) << uid;
    EXPECT_FALSE(registry_->HasUid("uid of w"));
    EXPECT_EQ(registry_->FindNamespaceId("boot", NamespaceNamed("blue").cookie), "blue");
    EXPECT_EQ(registry_->FindNamespaceId("boot", 1), std::nullopt);
    EXPECT_EQ(registry_->FindNamespaceId("another", NamespaceNamed("blue").cookie), std::nullopt);
  }
  // Another takes its place under the same name.
  Outcome replaced{.put_namespaces = {NamespaceNamed("blue")}, .put_veth = VethNamed("v")};
  replaced.put_device = device;
  replaced.put_namespaces[0].uid = "another";
  replaced.put_veth->uid = "another veth";
  replaced.put_device->uid = "another device";
  ASSERT_TRUE(registry_->Commit(0, replaced).ok());
  for (const char* uid : {"uid of blue", "uid of v", "uid of br"}) EXPECT_FALSE(registry_->HasUid(uid)) << uid;
  for (const char* uid : {"another", "another veth", "another device"}) EXPECT_TRUE(registry_->HasUid(uid)) << uid;
  ASSERT_TRUE(registry_
                  ->Commit(0, {.remove_namespace = replaced.put_namespaces[0],
                               .remove_veths = {*replaced.put_veth},
                               .remove_devices = {*replaced.put_device}})
                  .ok());
  for (const char* uid : {"another", "another veth", "another device"}) EXPECT_FALSE(registry_->HasUid(uid)) << uid;
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

TEST_F(RegistryTest, APairAtAPlaceComesBackAndIsFoundByTheCookie) {
  VethRecord record = VethNamed("v", "blue");
  record.spec.a.place = record.a.place = NetnsPlace{.path = "/run/x", .pid = 0};
  record.a.netns_cookie = 18446744073709551615u;
  VethRecord other = VethNamed("w");
  other.spec.a.place = other.a.place = other.spec.b.place = other.b.place = NetnsPlace{.path = "", .pid = 7};
  other.a.netns_cookie = other.b.netns_cookie = 5;
  ASSERT_TRUE(registry_->Commit(0, {.put_veth = record}).ok());
  ASSERT_TRUE(registry_->Commit(0, {.put_veth = other}).ok());
  ASSERT_TRUE(registry_->Commit(0, {.put_veth = VethNamed("x", "blue")}).ok());
  for (bool reopened : {false, true}) {
    if (reopened) Open();
    const VethRecord found = registry_->FindVeth("v").value();
    EXPECT_EQ(found.spec, record.spec);
    EXPECT_EQ(found.a.place, record.a.place);
    EXPECT_EQ(found.a.netns_cookie, record.a.netns_cookie);
    EXPECT_EQ(found.b.place, std::nullopt);
    EXPECT_EQ(registry_->FindVeth("w")->spec, other.spec);
    EXPECT_THAT(IdsOf(registry_->ListVethsOf("blue")), ElementsAre("v", "x"));
    EXPECT_THAT(IdsOf(registry_->ListVethsOf("")), ElementsAre("x")) << "at the host";
    EXPECT_THAT(IdsOf(registry_->ListVethsOf(NetnsKey("", other.a.place, 5))), ElementsAre("w"));
    EXPECT_THAT(IdsOf(registry_->ListVethsOf(record.a.netns_key())), ElementsAre("v"));
    EXPECT_THAT(IdsOf(registry_->ListVethsAtPlaces()), ElementsAre("v", "w"));
  }
  // What knows no places must not take the end for one of the host's.
  EXPECT_THAT(ToJson(other), Not(HasSubstr("\"namespace\"")));
  ASSERT_TRUE(registry_->Commit(0, {.remove_veths = {record, other}}).ok());
  EXPECT_THAT(registry_->ListVethsAtPlaces(), IsEmpty());
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
  Sql(absl::StrCat("UPDATE journal SET answered = answered - ",
                   absl::ToInt64Seconds(Registry::kRequestRetention) - 60));
  Open();
  EXPECT_TRUE(registry_->FindRequest("r")->has_value());
  Sql("UPDATE journal SET answered = answered - 120");
  Open();
  EXPECT_FALSE(registry_->FindRequest("r")->has_value());
}

TEST_F(RegistryTest, OldAnswersGoInTheCourseOfTime) {
  auto begun = registry_->Begin({.kind = Intent::Kind::kCreateVeth, .veth = VethNamed("v")});
  ASSERT_TRUE(begun.ok());
  for (const char* id : {"q", "r"})
    ASSERT_TRUE(registry_->Commit(0, {.request = RequestRecord{.request_id = id}}).ok());
  Sql("UPDATE journal SET answered = answered - 90000 WHERE request_id = CAST('q' AS BLOB)");
  Open();
  for (int i = 0; i < 256; ++i) ASSERT_TRUE(registry_->Probe().ok());
  EXPECT_FALSE(registry_->FindRequest("q")->has_value());
  EXPECT_TRUE(registry_->FindRequest("r")->has_value());
  EXPECT_EQ(Number("SELECT count(*) FROM journal"), 2);
  Open();
  EXPECT_EQ(registry_->ListPending().size(), 1u);
}

// `CALL object fate`, of each traced change.
std::vector<std::string> Traced(const Registry& registry) {
  std::vector<std::string> changes;
  for (const TracedChange& change : registry.ListTraced()) {
    EXPECT_EQ(change.origin, "who and what of " + change.call_id);
    changes.push_back(
        absl::StrCat(change.call_id, " ", absl::StrJoin(change.objects, "+"), " ", static_cast<int>(change.fate)));
  }
  return changes;
}

Origin OriginOf(const std::string& call_id) { return {.call_id = call_id, .text = "who and what of " + call_id}; }

TEST_F(RegistryTest, AChangeIsTracedUntilItsCallIsAudited) {
  const Intent create = {.kind = Intent::Kind::kCreateVeth, .veth = VethNamed("v")};
  const Intent remove = {.kind = Intent::Kind::kDeleteNamespace, .netns = NamespaceNamed("blue")};
  auto begin = [&](const Intent& intent, const std::string& call_id) {
    const Origin origin = OriginOf(call_id);
    auto begun = registry_->Begin(intent, {}, &origin);
    EXPECT_TRUE(begun.ok());
    return *begun;
  };
  begin(create, "open");
  ASSERT_TRUE(registry_->Commit(begin(create, "answered"), {.request = RequestRecord{.request_id = "r"}}).ok());
  ASSERT_TRUE(registry_->Commit(begin(create, "done"), {.put_veth = VethNamed("v", "blue")}).ok());
  ASSERT_TRUE(registry_->Abort(begin(remove, "undone")).ok());
  ASSERT_TRUE(registry_->Abort(begin(remove, "recovered"), Fate::kCompleted).ok());
  const Intent with_namespace = {
      .kind = Intent::Kind::kCreateVeth, .veth = VethNamed("w"), .new_namespaces = {NamespaceNamed("red")}};
  ASSERT_TRUE(registry_->Commit(begin(with_namespace, "more"), {}).ok());
  // Two of one call.
  ASSERT_TRUE(registry_->Commit(begin(create, "two"), {}).ok());
  begin(remove, "two");
  // And one that nobody asks about.
  ASSERT_TRUE(registry_->Begin(create).ok());

  const std::vector<std::string> all = {"open veths/v 0",
                                        "answered veths/v 1",
                                        "done veths/v 1",
                                        "undone namespaces/blue+veths/v 2",
                                        "recovered namespaces/blue+veths/v 4",
                                        "more veths/w+namespaces/red 1",
                                        "two veths/v 1",
                                        "two namespaces/blue+veths/v 0"};
  EXPECT_EQ(Traced(*registry_), all);
  Open();
  EXPECT_EQ(Traced(*registry_), all) << "after a restart";
  EXPECT_THAT(registry_->ListTracedOf("two"), SizeIs(2));
  EXPECT_THAT(registry_->ListPending(), SizeIs(3));
  EXPECT_TRUE(registry_->FindRequest("r")->has_value());

  for (const char* call_id : {"open", "answered", "done", "undone", "recovered", "more", "two"}) {
    registry_->MarkAudited(call_id);
    EXPECT_THAT(registry_->ListTracedOf(call_id), IsEmpty());
  }
  Open();
  EXPECT_THAT(Traced(*registry_), IsEmpty());
  // What was not finished, and what was answered, stay for their own sakes.
  EXPECT_THAT(registry_->ListPending(), SizeIs(3));
  EXPECT_TRUE(registry_->FindRequest("r")->has_value());
  EXPECT_EQ(Number("SELECT count(*) FROM journal"), 4);
}

TEST_F(RegistryTest, AChangeNamesWhatGoesWithItsNamespaceAlsoWithoutAnOutcome) {
  const NamespaceRecord blue = NamespaceNamed("blue");
  const VethRecord veth = VethNamed("v", "blue");
  const DeviceRecord bridge{
      .name = "bridges/br0", .uid = "uid of br0", .boot_id = "boot", .link = {.namespace_id = "blue"}};
  ASSERT_TRUE(registry_->Commit(0, {.put_namespaces = {blue}, .put_veth = veth, .put_device = bridge}).ok());
  auto begin = [&](Intent::Kind kind, const NamespaceRecord& record, const std::string& call_id) {
    const Origin origin = OriginOf(call_id);
    auto begun = registry_->Begin({.kind = kind, .netns = record}, {}, &origin);
    EXPECT_TRUE(begun.ok());
    return *begun;
  };
  NamespaceRecord other = blue;
  other.uid = "another";
  // Of a namespace that is made again nothing goes, nor of one that changes or is released.
  begin(Intent::Kind::kCreateNamespace, blue, "again");
  begin(Intent::Kind::kUpdateNamespace, blue, "update");
  begin(Intent::Kind::kReleaseNamespace, blue, "release");
  begin(Intent::Kind::kDeleteNamespace, blue, "deletion");
  begin(Intent::Kind::kCreateNamespace, other, "no outcome");
  const int64_t done = begin(Intent::Kind::kCreateNamespace, other, "done");
  const Outcome replaced{
      .put_namespaces = {other}, .remove_namespace = blue, .remove_veths = {veth}, .remove_devices = {bridge}};
  ASSERT_TRUE(registry_->Commit(done, replaced).ok());
  begin(Intent::Kind::kDeleteNamespace, other, "nothing left");
  const std::vector<std::string> all = {"again namespaces/blue 0",
                                        "update namespaces/blue 0",
                                        "release namespaces/blue 0",
                                        "deletion namespaces/blue+veths/v+bridges/br0 0",
                                        "no outcome namespaces/blue+veths/v+bridges/br0 0",
                                        "done namespaces/blue+veths/v+bridges/br0 1",
                                        "nothing left namespaces/blue 0"};
  for (bool reopened : {false, true}) {
    if (reopened) Open();
    EXPECT_EQ(Traced(*registry_), all);
  }
}

TEST_F(RegistryTest, WhatIsKeptForAuditedCallsGoesInTheCourseOfWrites) {
  auto traced_after_a_crash = [this] {
    auto registry = Registry::Open(CopyOfFiles());
    return registry.ok() ? static_cast<int>((*registry)->ListTraced().size()) : -1;
  };
  for (int i = 0; i < 64; ++i) {
    EXPECT_EQ(traced_after_a_crash(), i);
    const Origin origin = OriginOf(absl::StrCat("c", i));
    auto begun = registry_->Begin({.kind = Intent::Kind::kCreateVeth, .veth = VethNamed("v")}, {}, &origin);
    ASSERT_TRUE(begun.ok());
    ASSERT_TRUE(registry_->Commit(*begun, {}).ok());
    registry_->MarkAudited(origin.call_id);
  }
  ASSERT_TRUE(registry_->Probe().ok());
  EXPECT_EQ(traced_after_a_crash(), 0);
  EXPECT_EQ(Number("SELECT count(*) FROM journal"), 0);
}

TEST_F(RegistryTest, WhatIsKeptForAuditedCallsGoesWhenItIsAskedFor) {
  for (const char* call_id : {"told", "untold"}) {
    const Origin origin = OriginOf(call_id);
    auto begun = registry_->Begin({.kind = Intent::Kind::kCreateVeth, .veth = VethNamed("v")}, {}, &origin);
    ASSERT_TRUE(begun.ok());
    ASSERT_TRUE(registry_->Commit(*begun, {}).ok());
  }
  registry_->MarkAudited("told");
  registry_->FlushAudited();
  auto after_a_crash = Registry::Open(CopyOfFiles());
  ASSERT_TRUE(after_a_crash.ok());
  EXPECT_THAT(Traced(**after_a_crash), ElementsAre("untold veths/v 1"));
}

TEST_F(RegistryTest, AnOldAnswerStaysWhileItsCallIsNotAudited) {
  const Origin origin = OriginOf("c");
  auto begun = registry_->Begin({.kind = Intent::Kind::kCreateVeth, .veth = VethNamed("v")}, {}, &origin);
  ASSERT_TRUE(registry_->Commit(*begun, {.request = RequestRecord{.request_id = "r"}}).ok());
  Sql("UPDATE journal SET answered = answered - 90000");
  Open();
  for (int i = 0; i < 256; ++i) ASSERT_TRUE(registry_->Probe().ok());
  EXPECT_THAT(Traced(*registry_), ElementsAre("c veths/v 1"));
  Open();
  EXPECT_THAT(Traced(*registry_), ElementsAre("c veths/v 1"));
}

TEST_F(RegistryTest, RemembersWhereTheAuditLogIs) {
  EXPECT_EQ(registry_->AuditLog(), "");
  ASSERT_TRUE(registry_->SetAuditLog("/var/log/netprov/audit.log").ok());
  Open();
  EXPECT_EQ(registry_->AuditLog(), "/var/log/netprov/audit.log");
  ASSERT_TRUE(registry_->SetAuditLog("").ok());
  Open();
  EXPECT_EQ(registry_->AuditLog(), "");
}

TEST_F(RegistryTest, TheNewerAnswerToARequestIdCounts) {
  ASSERT_TRUE(registry_->Commit(0, {.request = RequestRecord{.request_id = "r", .fingerprint = "old"}}).ok());
  ASSERT_TRUE(registry_->Commit(0, {.request = RequestRecord{.request_id = "r", .fingerprint = "new"}}).ok());
  for (bool reopened : {false, true}) {
    if (reopened) Open();
    EXPECT_EQ(registry_->FindRequest("r")->value().fingerprint, "new");
  }
}

TEST_F(RegistryTest, IsPendingFromTheIntentToItsOutcome) {
  EXPECT_FALSE(registry_->IsPending("uid of blue"));
  auto netns = registry_->Begin({.kind = Intent::Kind::kCreateNamespace, .netns = NamespaceNamed("blue")});
  auto veth = registry_->Begin({.kind = Intent::Kind::kDeleteVeth, .veth = VethNamed("v")});
  ASSERT_TRUE(netns.ok() && veth.ok());
  for (bool reopened : {false, true}) {
    if (reopened) Open();
    EXPECT_TRUE(registry_->IsPending("uid of blue"));
    EXPECT_TRUE(registry_->IsPending("uid of v"));
    EXPECT_FALSE(registry_->IsPending(""));
  }
  ASSERT_TRUE(registry_->Commit(*netns, {.put_namespaces = {NamespaceNamed("blue")}}).ok());
  ASSERT_TRUE(registry_->Abort(*veth).ok());
  EXPECT_FALSE(registry_->IsPending("uid of blue"));
  EXPECT_FALSE(registry_->IsPending("uid of v"));
}

TEST_F(RegistryTest, ASequenceIsNotUsedTwice) {
  auto first = registry_->Begin({.kind = Intent::Kind::kDeleteVeth, .veth = VethNamed("v")});
  ASSERT_TRUE(first.ok() && registry_->Abort(*first).ok());
  auto second = registry_->Begin({.kind = Intent::Kind::kDeleteVeth, .veth = VethNamed("v")});
  ASSERT_TRUE(second.ok());
  EXPECT_GT(*first, 0);
  EXPECT_GT(*second, *first);
  Open();
  EXPECT_GT(*registry_->Begin({.kind = Intent::Kind::kDeleteVeth, .veth = VethNamed("w")}), *second);
}

TEST_F(RegistryTest, HasAnIdOfItsOwnForLife) {
  const std::string id = registry_->id();
  EXPECT_EQ(id.size(), 36u);
  Open();
  EXPECT_EQ(registry_->id(), id);
  Remove();
  Open();
  EXPECT_NE(registry_->id(), id);
}

TEST_F(RegistryTest, ADatabaseOfVersion1IsBroughtUpToDate) {
  Remove();
  const std::string veth = ToJson(VethNamed("v", "blue"));
  const std::string intent = ToJson(Intent{.kind = Intent::Kind::kDeleteVeth, .veth = VethNamed("v", "blue")});
  Sql(absl::StrCat(
      R"sql(PRAGMA journal_mode=WAL;
      CREATE TABLE namespaces (id TEXT PRIMARY KEY, uid TEXT NOT NULL, record TEXT NOT NULL) WITHOUT ROWID;
      CREATE TABLE veths (id TEXT PRIMARY KEY, uid TEXT NOT NULL, record TEXT NOT NULL) WITHOUT ROWID;
      CREATE TABLE intents (sequence INTEGER PRIMARY KEY, intent TEXT NOT NULL);
      CREATE TABLE requests (
        sequence INTEGER PRIMARY KEY, request_id BLOB NOT NULL UNIQUE, fingerprint BLOB NOT NULL, answer TEXT NOT NULL,
        answered INTEGER NOT NULL);
      PRAGMA user_version=1;)sql",
      "INSERT INTO namespaces VALUES ('blue', 'uid of blue', '", ToJson(NamespaceNamed("blue")), "');",
      "INSERT INTO veths VALUES ('v', 'uid of v', '", veth, "');",  //
      "INSERT INTO intents VALUES (7, '", intent, "');",
      "INSERT INTO requests VALUES (7, CAST('r' AS BLOB), x'00ff', '{}', unixepoch());",
      "INSERT INTO requests VALUES (9, CAST('s' AS BLOB), x'01', '{}', unixepoch());"));
  Open();
  const std::vector<std::string> content = ContentOf(*registry_);
  EXPECT_THAT(content, ElementsAre(registry_->id(), ToJson(NamespaceNamed("blue")), veth, HasSubstr(intent), "r{}",
                                   "s{}", HasSubstr("used: 1 namespaces")));
  EXPECT_EQ(registry_->id().size(), 36u);
  EXPECT_EQ(registry_->FindRequest("r")->value().fingerprint, std::string("\0\xff", 2));
  Open();
  EXPECT_EQ(ContentOf(*registry_), content);
  ASSERT_TRUE(registry_->Abort(registry_->ListPending().front().sequence).ok());
  EXPECT_EQ(Number("PRAGMA user_version"), Registry::NewestSchema());
  EXPECT_EQ(Number("SELECT count(*) FROM sqlite_schema WHERE name IN ('intents', 'requests')"), 0);
}

TEST_F(RegistryTest, DevicesAreKeptWhole) {
  DeviceRecord device{.name = "bridges/br",
                      .uid = "uid",
                      .create_time = absl::UnixEpoch(),
                      .boot_id = "boot",
                      .spec = {},
                      .link = {.namespace_id = "blue", .interface_name = "br0", .mtu = 1500, .ifindex = 3},
                      .options = {},
                      .metadata = {.owner = "ci"}};
  device.spec.link = {.namespace_id = "blue", .interface_name = "br%d", .mtu = 1500};
  device.spec.options = netlink::BridgeInfo{.stp = true,
                                            .forward_delay = netlink::Centiseconds(201),
                                            .hello_time = netlink::Centiseconds(101),
                                            .max_age = netlink::Centiseconds(601),
                                            .ageing_time = netlink::Centiseconds(0),
                                            .priority = 1,
                                            .vlan_filtering = false,
                                            .vlan_protocol = netlink::VlanProtocol::kDot1Ad,
                                            .default_pvid = 0,
                                            .multicast_snooping = false,
                                            .group_forward_mask = 8};
  device.options = device.spec.options;
  VethRecord port = VethNamed("v", "blue");
  port.spec.b.config.bridge = "bridges/br";
  port.spec.a.config.bridge_interface = "br-lan";
  port.spec.b.config.port = {
      .settings = {.cost = 1,
                   .priority = 2,
                   .hairpin = true,
                   .isolated = true,
                   .learning = false,
                   .unicast_flood = false,
                   .multicast_flood = false,
                   .broadcast_flood = false,
                   .neighbour_suppression = true},
      .vlans = {{.first = 1, .last = 2, .pvid = true}, {.first = 5, .last = 5, .untagged = true}}};
  port.spec.b.config.ingress_limit = RateLimit{.rate = 8000, .burst = 1514, .latency = absl::Milliseconds(1)};
  port.spec.b.config.egress_limit = RateLimit{.rate = 8001, .burst = 1515, .latency = absl::Milliseconds(2)};
  port.a.shaper_ifindex = 7;
  port.spec.b.config.masquerade = true;
  port.spec.b.config.port_forwards = {{.host_port = 80, .port = 8080},
                                      {.protocol = netlink::TransportProtocol::kUdp,
                                       .host_address = netlink::IpAddress::Parse("2001:db8::1"),
                                       .host_port = 5000,
                                       .count = 3,
                                       .port = 6000}};
  port.spec.b.config.ip_forwarding = true;
  Outcome made;
  made.put_device = device;
  made.put_veth = port;
  made.request = RequestRecord{.request_id = "r", .fingerprint = "f"};
  made.request->device = device.ToDevice();
  ASSERT_TRUE(registry_->Commit(0, made).ok());
  ASSERT_TRUE(registry_->Begin({.kind = Intent::Kind::kDeleteDevice, .device = device}).ok());
  const std::vector<std::string> content = ContentOf(*registry_);
  EXPECT_THAT(content, SizeIs(6));
  Open();
  EXPECT_EQ(ContentOf(*registry_), content);
  EXPECT_EQ(registry_->CountObjects().bridges, 1u) << "from the disk too";
  EXPECT_EQ(registry_->CountObjects().devices, 0u);
  EXPECT_EQ(registry_->CountObjects().veths, 1u);
  EXPECT_EQ(registry_->FindDevice("bridges/br")->spec, device.spec);
  EXPECT_EQ(registry_->FindVeth("v")->spec, port.spec);
  EXPECT_EQ(registry_->FindVeth("v")->a.shaper_ifindex, 7u);
  EXPECT_EQ(registry_->FindVeth("v")->b.shaper_ifindex, 0u);
  EXPECT_EQ((*registry_->FindRequest("r"))->device->options, device.spec.options);
  EXPECT_EQ(registry_->ListPending().front().intent.device.name, "bridges/br");
  EXPECT_THAT(registry_->ListDevicesOf("blue"), SizeIs(1));
  EXPECT_THAT(registry_->ListDevicesOf(""), SizeIs(0));
  DeviceRecord another = device;
  another.uid = "another";
  ASSERT_TRUE(registry_->Commit(0, {.remove_devices = {another}}).ok());
  EXPECT_THAT(registry_->ListDevices(), SizeIs(1));
  // Written again it is the same one, and another collection is counted by itself.
  ASSERT_TRUE(registry_->Commit(0, {.put_device = device}).ok());
  DeviceRecord dummy = device;
  dummy.name = "devices/br";
  dummy.uid = "dummy";
  ASSERT_TRUE(registry_->Commit(0, {.put_device = dummy}).ok());
  EXPECT_EQ(registry_->CountObjects().bridges, 1u);
  EXPECT_EQ(registry_->CountObjects().devices, 1u);
  ASSERT_TRUE(registry_->Commit(0, {.remove_devices = {device, dummy}}).ok());
  EXPECT_EQ(registry_->CountObjects().bridges, 0u);
  EXPECT_EQ(registry_->CountObjects().devices, 0u);
  Open();
  EXPECT_THAT(registry_->ListDevices(), SizeIs(0));
}

TEST_F(RegistryTest, ACheckpointKeepsAll) {
  for (int i = 0; i < 300; ++i) {
    ASSERT_TRUE(registry_->Commit(0, {.put_namespaces = {NamespaceNamed(absl::StrCat("n", i % 20))}}).ok());
  }
  const std::vector<std::string> content = ContentOf(*registry_);
  registry_->Checkpoint();
  EXPECT_EQ(ContentAfterACrash(), content);
  ASSERT_TRUE(registry_->Begin({.kind = Intent::Kind::kDeleteVeth, .veth = VethNamed("v")}).ok());
  EXPECT_LT(std::filesystem::file_size(path_), 1 << 20);
  EXPECT_EQ(ContentAfterACrash(), ContentOf(*registry_));
}

// ---- A disk that is full, read-only or failing.

class RegistryFaultTest : public RegistryTest, public ::testing::WithParamInterface<Durability> {
 protected:
  void SetUp() override {
    RegistryTest::SetUp();
    Remake();
  }

  void Remake() {
    Remove();
    Open(GetParam());
    ASSERT_TRUE(registry_->Commit(0, {.put_namespaces = {NamespaceNamed("blue")}, .put_veth = VethNamed("v")}).ok());
    auto begun = registry_->Begin({.kind = Intent::Kind::kCreateVeth, .veth = VethNamed("w")});
    ASSERT_TRUE(begun.ok());
    sequence_ = *begun;
  }

  RegistryResult<void> Change() {
    return registry_->Commit(sequence_, {.put_namespaces = {NamespaceNamed("green")},
                                         .put_veth = VethNamed("w"),
                                         .remove_namespace = NamespaceNamed("blue"),
                                         .remove_veths = {VethNamed("v")},
                                         .request = RequestRecord{.request_id = "r"}});
  }

  int64_t sequence_ = 0;
};

TEST_P(RegistryFaultTest, AFailedWriteChangesNeitherMemoryNorDisk) {
  for (int code : {SQLITE_FULL, SQLITE_IOERR_WRITE, SQLITE_READONLY}) {
    for (int count : {1, 1 << 30}) {
      bool succeeded = false;
      int after = 0;
      for (; !succeeded; ++after) {
        ASSERT_LT(after, 100);
        Disk::Get().Heal();
        Remake();
        const std::vector<std::string> before = ContentOf(*registry_);
        Disk::Get().FailWrites(code, after, count);
        succeeded = Change().ok();
        if (succeeded) break;
        EXPECT_TRUE(registry_->Fault().has_value());
        EXPECT_EQ(ContentOf(*registry_), before) << after;
        EXPECT_EQ(registry_->Probe().ok(), count == 1);
        EXPECT_EQ(registry_->Fault().has_value(), count != 1);
        Disk::Get().Heal();
        EXPECT_EQ(ContentAfterACrash(), before) << after;
        EXPECT_TRUE(registry_->Probe().ok());
        EXPECT_EQ(registry_->Fault(), std::nullopt);
        ASSERT_TRUE(Change().ok());
        EXPECT_EQ(ContentAfterACrash(), ContentOf(*registry_)) << after;
        EXPECT_NE(ContentOf(*registry_), before);
      }
      EXPECT_GT(after, 2);
    }
  }
}

TEST_P(RegistryFaultTest, AFailedSyncChangesNeitherMemoryNorDisk) {
  const std::vector<std::string> before = ContentOf(*registry_);
  Disk::Get().FailSyncs();
  // A checkpoint fails by itself, and writes go on.
  registry_->Checkpoint();
  if (GetParam() == Durability::kProcess) {
    EXPECT_TRUE(Change().ok());
    return;
  }
  RegistryResult<void> changed = Change();
  ASSERT_FALSE(changed.ok());
  EXPECT_TRUE(changed.error().storage);
  EXPECT_THAT(registry_->Fault().value_or(""), HasSubstr("disk I/O error"));
  EXPECT_EQ(registry_->statistics().faults.value(), 1u);
  EXPECT_EQ(ContentOf(*registry_), before);
  EXPECT_EQ(ContentAfterACrash(), before);
  Disk::Get().Heal();
  EXPECT_EQ(ContentAfterACrash(), before);
  EXPECT_TRUE(Change().ok());
  EXPECT_EQ(registry_->Fault(), std::nullopt);
  EXPECT_EQ(ContentAfterACrash(), ContentOf(*registry_));
}

TEST_P(RegistryFaultTest, ADiskThatFailsWhileItIsOpenedIsAnErrorOrNone) {
  for (int code : {SQLITE_FULL, SQLITE_IOERR_WRITE, SQLITE_READONLY}) {
    bool opened = false;
    for (int after = 0; !opened; ++after) {
      ASSERT_LT(after, 200);
      Remove();
      Disk::Get().FailWrites(code, after);
      auto registry = Registry::Open(path_, {.durability = GetParam()});
      opened = registry.ok();
      Disk::Get().Heal();
      if (opened) continue;
      EXPECT_TRUE(registry.error().storage) << registry.error().message;
      Open(GetParam());
      EXPECT_TRUE(registry_->Probe().ok());
    }
  }
}

TEST_P(RegistryFaultTest, WhatNoDiskIsToBlameForIsNoFault) {
  Sql("CREATE TRIGGER refuse BEFORE INSERT ON namespaces WHEN new.id = 'red' BEGIN SELECT raise(ABORT, 'no red'); END");
  Open(GetParam());
  RegistryResult<void> refused = registry_->Commit(0, {.put_namespaces = {NamespaceNamed("red")}});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().message, "registry: no red");
  EXPECT_FALSE(refused.error().storage);
  EXPECT_EQ(registry_->Fault(), std::nullopt);
}

INSTANTIATE_TEST_SUITE_P(Durabilities, RegistryFaultTest, ::testing::Values(Durability::kProcess, Durability::kPower),
                         [](const auto& test) { return test.param == Durability::kPower ? "Power" : "Process"; });

// ---- Several threads.

// Until the thread of this process sleeps, and goes on sleeping: it waits for another, and not for the allocator.
void WaitUntilItSleeps(const std::atomic<pid_t>& thread) {
  constexpr int kLooks = 20;
  while (thread == 0) std::this_thread::yield();
  for (int asleep = 0; asleep < kLooks;) {
    std::string line;
    std::getline(std::ifstream(absl::StrCat("/proc/self/task/", thread.load(), "/stat")), line);
    asleep = line.substr(line.rfind(')') + 1)[1] == 'S' ? asleep + 1 : 0;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

TEST_F(RegistryTest, WritersThatComeDuringASyncShareTheNext) {
  Sql("CREATE TRIGGER refuse BEFORE INSERT ON namespaces WHEN new.id = 'n3' BEGIN SELECT raise(ABORT, 'no n3'); END");
  for (bool one_is_refused : {false, true}) {
    Open(Durability::kPower);
    ASSERT_TRUE(registry_->Probe().ok());
    const int before = Disk::Get().syncs();
    Disk::Get().Hold();
    std::thread first([&] { EXPECT_TRUE(registry_->Probe().ok()); });
    Disk::Get().WaitUntilOneIsHeld();
    // Readers do not wait for the disk.
    EXPECT_FALSE(registry_->FindNamespace("n0").has_value());
    EXPECT_FALSE(registry_->FindRequest("r")->has_value());
    EXPECT_EQ(registry_->Fault(), std::nullopt);

    constexpr int kWriters = 8;
    std::array<std::atomic<pid_t>, kWriters> ids = {};
    std::vector<std::thread> writers;
    for (int i = 0; i < kWriters; ++i) {
      writers.emplace_back([&, i] {
        const std::string id = absl::StrCat("n", i == 3 && !one_is_refused ? 9 : i);
        ids[i] = ::gettid();
        const RegistryResult<void> written = registry_->Commit(0, {.put_namespaces = {NamespaceNamed(id)}});
        EXPECT_EQ(written.ok(), id != "n3");
        EXPECT_EQ(registry_->FindNamespace(id).has_value(), id != "n3");
      });
    }
    for (const auto& id : ids) WaitUntilItSleeps(id);
    Disk::Get().Release();
    first.join();
    for (std::thread& writer : writers) writer.join();
    // One refusal makes each try by itself.
    if (!one_is_refused) {
      EXPECT_LE(Disk::Get().syncs() - before, 3);
    }
    for (bool reopened : {false, true}) {
      if (reopened) Open();
      EXPECT_EQ(registry_->ListNamespaces().size(), one_is_refused ? 7u : 8u);
    }
    for (const NamespaceRecord& record : registry_->ListNamespaces()) {
      ASSERT_TRUE(registry_->Commit(0, {.remove_namespace = record}).ok());
    }
  }
}

TEST_F(RegistryTest, ManyThreadsWriteAndRead) {
  for (Durability durability : {Durability::kProcess, Durability::kPower}) {
    Remove();
    Open(durability);
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&, i] {
        for (int k = 0; k < 40; ++k) {
          const std::string id = absl::StrCat("n", i, "-", k);
          auto sequence = registry_->Begin({.kind = Intent::Kind::kCreateNamespace, .netns = NamespaceNamed(id)});
          ASSERT_TRUE(sequence.ok());
          EXPECT_TRUE(registry_->IsPending("uid of " + id));
          const Outcome outcome{.put_namespaces = {NamespaceNamed(id)}, .request = RequestRecord{.request_id = id}};
          ASSERT_TRUE(registry_->Commit(*sequence, outcome).ok());
          EXPECT_FALSE(registry_->IsPending("uid of " + id));
          EXPECT_TRUE(registry_->FindNamespace(id).has_value());
          EXPECT_TRUE(registry_->FindRequest(id)->has_value());
          if (k % 2 == 0) {
            ASSERT_TRUE(registry_->Commit(0, {.remove_namespace = NamespaceNamed(id)}).ok());
          }
          if (k % 10 == 0) registry_->Checkpoint();
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    const std::vector<std::string> content = ContentOf(*registry_);
    EXPECT_EQ(content.size(), 2u + 4 * 20) << "the id, and what is used, besides";
    EXPECT_EQ(ContentAfterACrash(), content);
  }
}

// ---- A database that is not as it was left.

TEST_F(RegistryTest, AFileThatIsNoDatabaseIsRefused) {
  ASSERT_TRUE(registry_->Commit(0, {.put_namespaces = {NamespaceNamed("blue")}}).ok());
  registry_.reset();
  std::ofstream(path_, std::ios::in | std::ios::out) << "this is no database";
  EXPECT_THAT(WhyNotOpened(), HasSubstr("cannot use the registry"));
}

TEST_F(RegistryTest, ATruncatedDatabaseIsRefusedUnlessNothingIsMissing) {
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(registry_->Commit(0, {.put_namespaces = {NamespaceNamed(absl::StrCat("n", i))}}).ok());
  }
  const std::vector<std::string> content = ContentOf(*registry_);
  registry_.reset();
  int refused = 0;
  for (size_t size = std::filesystem::file_size(path_) - 1; size > 1000; size -= 1000) {
    const std::string copy = CopyOfFiles();
    std::filesystem::resize_file(copy, size);
    auto registry = Registry::Open(copy);
    if (registry.ok()) {
      EXPECT_EQ(ContentOf(**registry), content) << size;
    } else {
      ++refused;
    }
  }
  EXPECT_GT(refused, 20);
}

TEST_F(RegistryTest, AnEmptyDatabaseWithALogIsRefused) {
  ASSERT_TRUE(registry_->Commit(0, {.put_namespaces = {NamespaceNamed("blue")}}).ok());
  const std::string copy = CopyOfFiles();
  std::filesystem::resize_file(copy, 0);
  auto registry = Registry::Open(copy);
  ASSERT_FALSE(registry.ok());
  EXPECT_THAT(registry.error().message, HasSubstr("it is empty, but its log is not"));
}

TEST_F(RegistryTest, ADamagedPageIsRefusedUnlessNothingIsOnIt) {
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(registry_
                    ->Commit(0, {.put_namespaces = {NamespaceNamed(absl::StrCat("n", i))},
                                 .put_veth = VethNamed(absl::StrCat("v", i)),
                                 .request = RequestRecord{.request_id = absl::StrCat("r", i)}})
                    .ok());
  }
  const std::vector<std::string> content = ContentOf(*registry_);
  registry_.reset();
  int refused = 0;
  for (size_t page = 0; page < std::filesystem::file_size(path_) / 4096; ++page) {
    for (const char byte : {'\0', '{', '\xff'}) {
      const std::string copy = CopyOfFiles();
      std::fstream file(copy, std::ios::in | std::ios::out);
      file.seekp(static_cast<std::streamoff>(page * 4096));
      file << std::string(4096, byte) << std::flush;
      auto registry = Registry::Open(copy);
      if (registry.ok()) {
        EXPECT_EQ(ContentOf(**registry), content) << page;
      } else {
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, 20);
}

TEST_F(RegistryTest, OfATruncatedLogTheBeginningCounts) {
  registry_->Checkpoint();
  std::vector<std::string> all;
  for (int i = 0; i < 20; ++i) {
    all.push_back(absl::StrCat("n", 10 + i));
    ASSERT_TRUE(registry_->Commit(0, {.put_namespaces = {NamespaceNamed(all.back())}}).ok());
  }
  const std::string copy = CopyOfFiles();
  registry_.reset();
  std::filesystem::copy_file(copy + "-wal", path_ + "-log");
  std::filesystem::copy_file(copy, path_ + "-database");
  size_t most = all.size();
  for (size_t size = std::filesystem::file_size(path_ + "-log"); size > 100; size -= std::min<size_t>(size, 1234)) {
    std::filesystem::copy_file(path_ + "-database", copy, std::filesystem::copy_options::overwrite_existing);
    std::filesystem::copy_file(path_ + "-log", copy + "-wal", std::filesystem::copy_options::overwrite_existing);
    std::filesystem::resize_file(copy + "-wal", size);
    auto registry = Registry::Open(copy);
    ASSERT_TRUE(registry.ok()) << registry.error().message;
    std::vector<std::string> ids;
    for (const NamespaceRecord& record : (*registry)->ListNamespaces()) ids.push_back(record.id);
    ASSERT_LE(ids.size(), most);
    most = ids.size();
    EXPECT_THAT(ids, ElementsAreArray(all.begin(), all.begin() + static_cast<ptrdiff_t>(most)));
  }
  EXPECT_EQ(most, 0u);
}

TEST_F(RegistryTest, ADirectoryInItsPlaceIsRefused) {
  Remove();
  std::filesystem::create_directory(path_);
  EXPECT_EQ(WhyNotOpened(), "cannot open the registry " + path_ + ": Is a directory");
}

TEST_F(RegistryTest, AnAliasThatCannotBeReadIsNotTakenForAnother) {
  NamespaceRecord record = NamespaceNamed("blue");
  record.adoption = Adoption{.loopback_alias = "theirs"};
  std::string text = ToJson(record);
  ASSERT_EQ(NamespaceRecordFromJson(text)->adoption->loopback_alias, "theirs");
  const std::string alias = "\"dGhlaXJz\"";
  ASSERT_THAT(text, HasSubstr(alias));
  text.replace(text.find(alias), alias.size(), "\"!\"");
  EXPECT_FALSE(NamespaceRecordFromJson(text).has_value());
}

TEST_F(RegistryTest, AnUnreadableRecordIsRefusedByItsTableAndRow) {
  Sql("INSERT INTO namespaces VALUES ('blue', 'u', '{}')");
  EXPECT_THAT(WhyNotOpened(), HasSubstr("table namespaces has an unreadable record in row blue: {}"));
  Sql("DELETE FROM namespaces; INSERT INTO veths VALUES ('v', 'u', 'x')");
  EXPECT_THAT(WhyNotOpened(), HasSubstr("table veths has an unreadable record in row v: x"));
  Sql("DELETE FROM veths; INSERT INTO journal (sequence, intent) VALUES (7, '[]')");
  EXPECT_THAT(WhyNotOpened(), HasSubstr("table journal has an unreadable record in row 7: []"));
  Sql("DELETE FROM journal; INSERT INTO namespaces VALUES ('red', 'u', '" + ToJson(NamespaceNamed("blue")) + "')");
  EXPECT_THAT(WhyNotOpened(), HasSubstr("table namespaces has an unreadable record in row red: "));
  Sql("DELETE FROM namespaces; DELETE FROM meta");
  EXPECT_THAT(WhyNotOpened(), HasSubstr("table meta has no row id"));
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
