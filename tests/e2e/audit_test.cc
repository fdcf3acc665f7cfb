// The audit log of the real daemon: on a disk that fills up, renamed by others, after kill -9, and where `contain`
// serves itself.
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/component/test_client.h"
#include "tests/e2e/audit_lines.h"
#include "tests/e2e/daemon_fixture.h"
#include "tests/testing/private_host.h"
#include "tests/testing/process.h"

namespace netprov::testing {
namespace {

using ::nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

constexpr char kElsewhere[] = "/run/audit/audit.log";
constexpr int kServing = 1;
constexpr int kNotServing = 2;

class AuditTest : public DaemonTest {
 protected:
  void SetUp() override { Shell("rm -rf /var/lib/netprov /run/audit && mkdir /run/audit"); }
  void TearDown() override {
    daemon_ = nullptr;
    Shell(
        "for name in $(ls /run/netns); do ip netns delete $name; done; umount /run/audit 2>/dev/null; "
        "rm -rf /var/lib/netprov /run/audit /run/netprov/netprovd.sock");
  }

  // `METHOD resource`, of each line.
  static std::vector<std::string> Told(const std::string& path = kAuditLog) {
    std::vector<std::string> told;
    for (const json& line : AuditLines(path)) {
      told.push_back(absl::StrCat(line.value("method", ""), " ", line.value("resource", "")));
    }
    return told;
  }
};

TEST_F(AuditTest, IsInTheStateDirectoryAndForItsOwnersEyes) {
  Start();
  ASSERT_CALL_OK(CreateNamespace("blue"));
  EXPECT_THAT(Told(), ElementsAre("CreateNamespace namespaces/blue"));
  struct stat status = {};
  ASSERT_EQ(::stat(kAuditLog, &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  const json line = AuditLines().front();
  EXPECT_EQ(line.at("who").at("uid"), 0);
  EXPECT_EQ(line.at("from"), absl::StrCat("pid:", ::getpid()));
}

TEST_F(AuditTest, GoesOnInANewFileAtSighup) {
  Start({"--audit-log", kElsewhere});
  ASSERT_CALL_OK(CreateNamespace("a"));
  // As logrotate does.
  std::filesystem::rename(kElsewhere, absl::StrCat(kElsewhere, ".1"));
  ASSERT_CALL_OK(CreateNamespace("b"));
  ASSERT_EQ(::kill(daemon_->pid(), SIGHUP), 0);
  EXPECT_THAT(daemon_->WaitForLine("what=audit_log"), HasSubstr("event=reloaded"));
  ASSERT_CALL_OK(CreateNamespace("c"));
  EXPECT_THAT(Told(absl::StrCat(kElsewhere, ".1")),
              ElementsAre("CreateNamespace namespaces/a", "CreateNamespace namespaces/b"));
  EXPECT_THAT(Told(kElsewhere), ElementsAre("CreateNamespace namespaces/c"));
  // What is in the file of before is not written again, wherever that is by now.
  std::filesystem::rename(absl::StrCat(kElsewhere, ".1"), "/run/audit/compressed");
  daemon_->Stop(SIGKILL);
  Start({"--audit-log", kElsewhere});
  EXPECT_THAT(Told(kElsewhere), SizeIs(1));
}

TEST_F(AuditTest, OnAFullDiskNothingIsChangedUntilThereIsRoom) {
  Shell("mount -t tmpfs -o size=1m tmpfs /run/audit");
  Start({"--audit-log", kElsewhere});
  TestClient client(absl::StrCat("unix:", kSocket));
  ASSERT_CALL_OK(CreateNamespace("blue"));
  Shell("dd if=/dev/zero of=/run/audit/filler bs=4k status=none; true");
  // What was reserved is enough for some calls. The one that is refused has changed nothing, and those before have
  // their lines.
  Ending ending;
  int made = 0;
  for (; made < 5000 && ending.ok(); ++made) {
    v1::UpdateNamespaceRequest update;
    update.mutable_namespace_()->set_name("namespaces/blue");
    (*update.mutable_namespace_()->mutable_metadata()->mutable_labels())["made"] = absl::StrCat(made);
    update.mutable_update_mask()->add_paths("metadata.labels");
    ending = client.Update(update);
  }
  EXPECT_EQ(ending.Summary(), "UNAVAILABLE AUDIT_FAILED");
  EXPECT_GT(made, 1);
  EXPECT_EQ(client.GetNamespace("blue").value.metadata().labels().at("made"), absl::StrCat(made - 2));
  EXPECT_THAT(Told(kElsewhere), SizeIs(made)) << "the creation, and all updates but the refused one";
  EXPECT_EQ(client.CreateNamespace("green").Summary(), "UNAVAILABLE AUDIT_FAILED");
  EXPECT_EQ(client.DeleteNamespace("blue").Summary(), "UNAVAILABLE AUDIT_FAILED");
  EXPECT_EQ(Shell("ls /run/netns"), "blue\n");
  EXPECT_THAT(daemon_->WaitForLine("event=audit_fault"), HasSubstr("No space left on device"));
  EXPECT_EQ(client.Health("").value, kNotServing);
  // A full disk must not end leases.
  v1::RenewLeaseRequest renew;
  renew.set_owner("ci");
  EXPECT_TRUE(client.Renew(renew).ok());

  Shell("rm /run/audit/filler");
  daemon_->WaitForLine("event=audit_writable");
  EXPECT_EQ(client.Health("").value, kServing);
  EXPECT_TRUE(client.CreateNamespace("green").ok());
  const std::vector<std::string> told = Told(kElsewhere);
  EXPECT_EQ(told.back(), "CreateNamespace namespaces/green");
  EXPECT_THAT(told, SizeIs(made + 2)) << "the lease's line has waited";
}

TEST_F(AuditTest, WithoutOneNothingIsWritten) {
  Start({"--audit-log", "none"});
  ASSERT_CALL_OK(CreateNamespace("blue"));
  EXPECT_FALSE(std::filesystem::exists(kAuditLog));
}

TEST_F(AuditTest, OneThatCantBeOpenedIsSaid) {
  Shell(absl::StrCat("ln -s /run/audit/other ", kElsewhere));
  Process daemon({kNetprovd, "--audit-log", kElsewhere});
  EXPECT_THAT(daemon.WaitForLine("audit log"), HasSubstr("must not be a symbolic link"));
  EXPECT_EQ(daemon.Wait(), 1);
}

TEST_F(AuditTest, AContainThatServesItselfWritesWhereTheDaemonDoes) {
  Start({"--audit-log", kElsewhere});
  ASSERT_CALL_OK(CreateNamespace("a"));
  EXPECT_EQ(daemon_->Stop(SIGTERM), 0);
  const Completed made = RunCommand({kContain, "net", "create", "b"});
  EXPECT_EQ(made.exit_code, 0) << made.err;
  const std::vector<json> lines = AuditLines(kElsewhere);
  ASSERT_THAT(lines, SizeIs(2));
  EXPECT_EQ(lines[1].at("who").at("name"), "self");
  EXPECT_EQ(lines[1].at("resource"), "namespaces/b");
  // And where the daemon has none, it has none.
  Start({"--audit-log", "none"});
  EXPECT_EQ(daemon_->Stop(SIGTERM), 0);
  EXPECT_EQ(RunCommand({kContain, "net", "create", "c"}).exit_code, 0);
  EXPECT_THAT(AuditLines(kElsewhere), SizeIs(2));
}

TEST_F(AuditTest, WhatTheDaemonDoesByItselfHasALine) {
  Start();
  TestClient client(absl::StrCat("unix:", kSocket));
  v1::CreateNamespaceRequest create;
  create.set_namespace_id("healed");
  create.mutable_namespace_()->mutable_metadata()->set_self_heal(true);
  ASSERT_TRUE(client.Create(create).ok());
  // Where it is healed between its unmounting and its unlinking, `ip` says that it is busy.
  Shell("ip netns delete healed 2>/dev/null || true");
  daemon_->WaitForLine("event=healed");
  const json line = AuditLines().back();
  EXPECT_FALSE(IsOfCall(line));
  EXPECT_EQ(line.at("method"), "Heal");
  EXPECT_EQ(line.at("resource"), "namespaces/healed");
  EXPECT_TRUE(SaysDone(line)) << line;
}

}  // namespace
}  // namespace netprov::testing
