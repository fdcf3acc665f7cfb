// The daemon starts on hosts that others, crashes and full disks have left in a mess. It starts or refuses with one
// sentence, tells in its report what it found, and leaves alone what is not its own.
#include <sys/stat.h>

#include <csignal>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/e2e/host_fixture.h"
#include "tests/testing/private_host.h"
#include "tests/testing/process.h"

namespace netprov::testing {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::UnorderedElementsAre;

constexpr char kOtherUid[] = "11111111-2222-4333-8444-555555555555";
constexpr int kServing = 1;
constexpr int kNotServing = 2;

class DirtyStartTest : public HostTest {
 protected:
  // The tag that this registry would give to an object of which it does not know.
  static std::string TagOfNobody(const std::string& object) {
    const std::string known = Shell("ip -n blue -j link show lo | sed 's/.*ifalias\":\"\\([^\"]*\\)\".*/\\1/'");
    const std::vector<std::string> parts = absl::StrSplit(known, ':');
    EXPECT_EQ(parts[0], "netprov") << known;
    return absl::StrCat(parts[0], ":", parts.at(1), ":", kOtherUid, ":", object);
  }

  // A pair of the host with these aliases, as netprov makes it.
  static void AddTaggedPair(const std::string& a, const std::string& b, const std::string& tag) {
    Shell(absl::StrCat("ip link add ", a, " type veth peer name ", b));
    for (const std::string& name : {a, b}) {
      Shell(absl::StrCat("ip link set ", name, " group 28272 alias '", tag, "'"));
    }
  }

  // Links and names, but for the operational states, which the kernel sets on its own time.
  static std::string Picture() {
    return Shell(
        "ip -j -d link | sed 's/\"operstate\":\"[A-Z]*\"//g'; "
        "for name in $(ls /run/netns); do echo $name; stat -f -c %T /run/netns/$name; done");
  }

  v1::Namespace::State StateOfBlue() { return client_->GetNamespace("blue").value.state(); }
  v1::Veth::State StateOfPair() { return client_->GetVeth("v").value.state(); }
};

TEST_F(DirtyStartTest, AnEmptyHostHasNothingToReport) {
  StartDaemon();
  EXPECT_THAT(Findings(), IsEmpty());
  const v1::HostReport report = client_->GetReport().value;
  EXPECT_TRUE(report.at_start());
  EXPECT_TRUE(report.has_time());
  EXPECT_EQ(report.objects(), 0);
  EXPECT_EQ(report.registry_fault(), "");
}

TEST_F(DirtyStartTest, AnEmptyStaleFileStays) {
  Shell("touch /run/netns/stale");
  StartDaemon();
  EXPECT_THAT(Findings(), ElementsAre("KIND_STALE_FILE namespaces/stale"));
  EXPECT_EQ(client_->CreateNamespace("stale").Summary(), "FAILED_PRECONDITION NAMESPACE_FILE_STALE");
  EXPECT_EQ(Names(), "stale\n");
}

TEST_F(DirtyStartTest, FilesOfOthersStay) {
  Shell("cd /run/netns && echo precious > precious && mkfifo pipe && mkdir folder && ln -s /etc/passwd link");
  StartDaemon();
  EXPECT_THAT(Findings(),
              UnorderedElementsAre("KIND_STALE_FILE namespaces/folder", "KIND_STALE_FILE namespaces/link",
                                   "KIND_STALE_FILE namespaces/pipe", "KIND_STALE_FILE namespaces/precious"));
  EXPECT_OK(client_->Check());
  EXPECT_EQ(Shell("cd /run/netns && cat precious && test -p pipe && test -d folder && readlink link"),
            "precious\n/etc/passwd\n");
}

TEST_F(DirtyStartTest, ADoubleMountOnOurName) {
  StartDaemon();
  MakeBlueWithPair();
  KillDaemon();
  Shell("mount --bind /run/netns/blue /run/netns/blue");
  StartDaemon();
  EXPECT_THAT(Findings(), IsEmpty());
  EXPECT_EQ(StateOfBlue(), v1::Namespace::STATE_READY);
  EXPECT_OK(client_->DeleteNamespace("blue"));
  EXPECT_EQ(Names(), "");
}

TEST_F(DirtyStartTest, OurNamespaceUnderAnotherName) {
  StartDaemon();
  MakeBlueWithPair();
  KillDaemon();
  Shell("cd /run/netns && touch moved && mount --bind blue moved && umount blue && rm blue");
  StartDaemon();
  EXPECT_THAT(Findings(), UnorderedElementsAre("KIND_FOREIGN_TAG namespaces/moved", "KIND_MISSING namespaces/blue",
                                               "KIND_MISSING veths/v"));
  EXPECT_EQ(StateOfBlue(), v1::Namespace::STATE_MISSING);
  EXPECT_FALSE(client_->GetNamespace("moved").value.managed());
  EXPECT_EQ(client_->DeleteNamespace("moved").Summary(), "FAILED_PRECONDITION NAMESPACE_NOT_MANAGED");
  // Once nobody knows of it any more, it is what a lost registry leaves.
  EXPECT_OK(client_->DeleteNamespace("blue"));
  EXPECT_EQ(Names(), "moved\n");
  EXPECT_THAT(FindingsOf(client_->Check(/*look_only=*/true).value), ElementsAre("KIND_ORPHAN namespaces/moved"));
  EXPECT_EQ(Names(), "moved\n");
  EXPECT_THAT(FindingsOf(client_->Check().value), ElementsAre("KIND_ORPHAN_REMOVED namespaces/moved"));
  EXPECT_EQ(Names(), "");
}

TEST_F(DirtyStartTest, ASecondNameOfOurNamespace) {
  StartDaemon();
  MakeBlueWithPair();
  KillDaemon();
  Shell("cd /run/netns && touch second && mount --bind blue second");
  StartDaemon();
  EXPECT_THAT(Findings(), ElementsAre("KIND_FOREIGN_TAG namespaces/second"));
  EXPECT_EQ(StateOfBlue(), v1::Namespace::STATE_READY);
  EXPECT_EQ(StateOfPair(), v1::Veth::STATE_READY);
}

TEST_F(DirtyStartTest, AForeignNamespaceUnderOurName) {
  StartDaemon();
  MakeBlueWithPair();
  KillDaemon();
  Shell("ip netns delete blue && ip netns add blue && ip -n blue link add own type veth peer name own-peer");
  const std::string before = Shell("ip -n blue -j -d addr");
  StartDaemon();
  EXPECT_THAT(Findings(), UnorderedElementsAre("KIND_MISSING namespaces/blue", "KIND_MISSING veths/v"));
  EXPECT_EQ(StateOfBlue(), v1::Namespace::STATE_MISSING);
  EXPECT_EQ(client_->Create(VethRequest("w", "h1", "blue", "eth1")).Summary(), "FAILED_PRECONDITION NAMESPACE_MISSING");
  EXPECT_OK(client_->DeleteNamespace("blue"));
  EXPECT_FALSE(client_->GetNamespace("blue").value.managed());
  EXPECT_EQ(client_->DeleteNamespace("blue").Summary(), "FAILED_PRECONDITION NAMESPACE_NOT_MANAGED");
  EXPECT_OK(client_->Check());
  EXPECT_EQ(Shell("ip -n blue -j -d addr"), before);
}

TEST_F(DirtyStartTest, APairWithOurTagThatNobodyKnowsGoes) {
  StartDaemon();
  MakeBlueWithPair();
  KillDaemon();
  AddTaggedPair("o0", "o1", TagOfNobody("veths/lost"));
  StartDaemon();
  EXPECT_THAT(Findings(), ElementsAre("KIND_ORPHAN_REMOVED veths/lost"));
  EXPECT_THAT(Shell("ip -br link show type veth"), Not(HasSubstr("o0")));
  EXPECT_THAT(Shell("ip -br link show type veth"), Not(HasSubstr("o1")));
  EXPECT_EQ(StateOfPair(), v1::Veth::STATE_READY);
}

TEST_F(DirtyStartTest, ANamespaceWithOurTagThatNobodyKnowsGoes) {
  StartDaemon();
  MakeBlueWithPair();
  KillDaemon();
  Shell(absl::StrCat("ip netns add lost && ip -n lost link set lo up alias '", TagOfNobody("namespaces/lost"), "'"));
  StartDaemon();
  EXPECT_THAT(Findings(), ElementsAre("KIND_ORPHAN_REMOVED namespaces/lost"));
  EXPECT_EQ(Names(), "blue\n");
}

TEST_F(DirtyStartTest, WhatAnotherRegistryTaggedStays) {
  StartDaemon();
  MakeBlueWithPair();
  KillDaemon();
  const std::string tag = absl::StrCat("netprov:", kOtherUid, ":", kOtherUid, ":");
  AddTaggedPair("o0", "o1", tag + "veths/theirs");
  Shell(absl::StrCat("ip netns add theirs && ip -n theirs link set lo up alias '", tag, "namespaces/theirs'"));
  const std::string before = Shell("ip -j -d addr show dev o0; ip -j -d addr show dev o1; ip -n theirs -j -d addr");
  StartDaemon();
  EXPECT_THAT(Findings(), UnorderedElementsAre("KIND_FOREIGN_TAG links/o0", "KIND_FOREIGN_TAG links/o1",
                                               "KIND_FOREIGN_TAG namespaces/theirs"));
  EXPECT_OK(client_->Check());
  EXPECT_EQ(Shell("ip -j -d addr show dev o0; ip -j -d addr show dev o1; ip -n theirs -j -d addr"), before);
}

TEST_F(DirtyStartTest, ALinkOfOurGroupWithoutTagStays) {
  Shell("ip link add o0 type veth peer name o1 && ip link set o0 group 28272");
  const std::string before = Shell("ip -j -d addr show dev o0");
  StartDaemon();
  EXPECT_THAT(Findings(), ElementsAre("KIND_FOREIGN_TAG links/o0"));
  EXPECT_EQ(Shell("ip -j -d addr show dev o0"), before);
}

TEST_F(DirtyStartTest, ARegistryOfAnotherBoot) {
  StartDaemon();
  MakeBlueWithPair();
  v1::Metadata lasting;
  lasting.set_persistent(true);
  v1::CreateNamespaceRequest netns;
  netns.set_namespace_id("lasting");
  *netns.mutable_namespace_()->mutable_metadata() = lasting;
  const Reply<v1::Namespace> made = client_->Create(netns);
  EXPECT_OK(made);
  v1::CreateVethRequest veth = VethRequest("lasting", "h1", "lasting", "eth0");
  *veth.mutable_veth()->mutable_metadata() = lasting;
  veth.mutable_veth()->mutable_endpoint_b()->set_mtu(1400);
  const Reply<v1::Veth> pair = client_->Create(veth);
  EXPECT_OK(pair);
  KillDaemon();
  Shell("for i in blue lasting; do ip link del h0; ip link del h1; ip netns delete $i; done 2>/dev/null; true");
  BelongToAnotherBoot();
  StartDaemon();
  EXPECT_THAT(Findings(), UnorderedElementsAre("KIND_RESTORED namespaces/lasting", "KIND_RESTORED veths/lasting",
                                               "KIND_MISSING namespaces/blue", "KIND_MISSING veths/v"));
  EXPECT_EQ(Names(), "lasting\n");
  const v1::Namespace restored = client_->GetNamespace("lasting").value;
  EXPECT_EQ(restored.state(), v1::Namespace::STATE_READY);
  EXPECT_EQ(restored.uid(), made.value.uid());
  const v1::Veth again = client_->GetVeth("lasting").value;
  EXPECT_EQ(again.state(), v1::Veth::STATE_READY);
  EXPECT_EQ(again.uid(), pair.value.uid());
  EXPECT_EQ(again.endpoint_a().mac_address(), pair.value.endpoint_a().mac_address());
  EXPECT_THAT(Shell("ip -n lasting -o link show eth0"),
              AllOf(HasSubstr(pair.value.endpoint_b().mac_address()), HasSubstr("mtu 1400"), HasSubstr(",UP")));
  // What is gone makes room, and is not restored a second time.
  EXPECT_OK(client_->DeleteNamespace("blue"));
  KillDaemon();
  StartDaemon();
  EXPECT_THAT(Findings(), IsEmpty());
}

TEST_F(DirtyStartTest, ALogThatWasCutOff) {
  StartDaemon();
  EXPECT_OK(client_->CreateNamespace("early"));
  const std::string size = Shell("stat -c %s /var/lib/netprov/registry.db-wal");
  MakeBlueWithPair();
  KillDaemon();
  // Into the first page of what came after.
  Shell(absl::StrCat("truncate -s $((", absl::StrReplaceAll(size, {{"\n", ""}}),
                     " + 1000)) /var/lib/netprov/registry.db-wal"));
  StartDaemon();
  EXPECT_THAT(Findings(), ElementsAre("KIND_ORPHAN_REMOVED namespaces/blue"));
  EXPECT_EQ(client_->GetNamespace("early").value.state(), v1::Namespace::STATE_READY);
  EXPECT_EQ(client_->GetNamespace("blue").Summary(), "NOT_FOUND NAMESPACE_NOT_FOUND");
  EXPECT_EQ(client_->GetVeth("v").Summary(), "NOT_FOUND VETH_NOT_FOUND");
  EXPECT_EQ(Names(), "early\n");
  EXPECT_THAT(Shell("ip -br link show type veth"), Not(HasSubstr("h0")));
  MakeBlueWithPair();
}

TEST_F(DirtyStartTest, ALogThatIsEmpty) {
  StartDaemon();
  EXPECT_OK(client_->CreateNamespace("early"));
  EXPECT_EQ(daemon_->Stop(SIGTERM), 0);
  StartDaemon();
  MakeBlueWithPair();
  KillDaemon();
  Shell("truncate -s 0 /var/lib/netprov/registry.db-wal");
  StartDaemon();
  EXPECT_THAT(Findings(), ElementsAre("KIND_ORPHAN_REMOVED namespaces/blue"));
  EXPECT_EQ(client_->GetNamespace("early").value.state(), v1::Namespace::STATE_READY);
  EXPECT_EQ(Names(), "early\n");
  MakeBlueWithPair();
}

TEST_F(DirtyStartTest, ADamagedDatabaseIsRefused) {
  StartDaemon();
  MakeBlueWithPair();
  EXPECT_EQ(daemon_->Stop(SIGTERM), 0);
  Shell("printf 'garbage garbage garbage' | dd of=/var/lib/netprov/registry.db conv=notrunc status=none");
  const std::string database = Shell("md5sum /var/lib/netprov/registry.db");
  const std::string before = Picture();
  EXPECT_THAT(Refusal(), AllOf(HasSubstr("/var/lib/netprov/registry.db"), HasSubstr("not a database")));
  EXPECT_EQ(Shell("md5sum /var/lib/netprov/registry.db"), database);
  EXPECT_EQ(Picture(), before);
}

TEST_F(DirtyStartTest, ARecordThatCannotBeReadIsNamed) {
  StartDaemon();
  MakeBlueWithPair();
  EXPECT_EQ(daemon_->Stop(SIGTERM), 0);
  Sql("UPDATE namespaces SET record = 'nonsense';");
  const std::string before = Picture();
  EXPECT_THAT(Refusal(), AllOf(HasSubstr("namespaces"), HasSubstr("blue")));
  EXPECT_EQ(Picture(), before);
}

TEST_F(DirtyStartTest, ANewerDatabaseIsRefused) {
  StartDaemon();
  MakeBlueWithPair();
  EXPECT_EQ(daemon_->Stop(SIGTERM), 0);
  Sql("PRAGMA user_version=99;");
  const std::string before = Picture();
  EXPECT_THAT(Refusal(), AllOf(HasSubstr("/var/lib/netprov/registry.db"), HasSubstr("newer netprov (schema 99;")));
  EXPECT_EQ(Picture(), before);
}

TEST_F(DirtyStartTest, RunIsReadOnly) {
  Shell("mount -t tmpfs tmpfs /run && mount -o remount,ro /run");
  EXPECT_THAT(Refusal(), AllOf(HasSubstr("/run/netns"), HasSubstr("Read-only file system")));
  Shell("umount -l /run");
  StartDaemon();
  EXPECT_THAT(Findings(), IsEmpty());
  MakeBlueWithPair();
}

TEST_F(DirtyStartTest, TheDiskIsFullAtStart) {
  Shell("mkdir /var/lib/netprov && mount -t tmpfs -o size=1m tmpfs /var/lib/netprov");
  Shell("dd if=/dev/zero of=/var/lib/netprov/filler bs=4k status=none; true");
  EXPECT_THAT(Refusal(), AllOf(HasSubstr("/var/lib/netprov"), HasSubstr("No space left on device")));
  // As much as the lock takes, and nothing more.
  Shell("truncate -s -4096 /var/lib/netprov/filler");
  EXPECT_THAT(Refusal(), AllOf(HasSubstr("/var/lib/netprov/registry.db"), HasSubstr("full")));
  EXPECT_EQ(Names(), "");
  Shell("rm /var/lib/netprov/filler");
  StartDaemon();
  EXPECT_THAT(Findings(), IsEmpty());
  MakeBlueWithPair();
}

TEST_F(DirtyStartTest, TheDiskFillsUpWhileItRuns) {
  Shell("mkdir /var/lib/netprov && mount -t tmpfs -o size=1m tmpfs /var/lib/netprov");
  StartDaemon();
  MakeBlueWithPair();
  Shell("dd if=/dev/zero of=/var/lib/netprov/filler bs=4k status=none; true");
  const std::string before = Picture();
  // A page of the log may have room for some.
  Ending failed;
  int made = 0;
  for (; made < 100 && failed.ok(); ++made) failed = client_->CreateNamespace(absl::StrCat("n", made));
  EXPECT_EQ(failed.Summary(), "INTERNAL REGISTRY_FAILED");
  EXPECT_THAT(failed.message, HasSubstr("full"));
  for (int i = 0; i + 1 < made; ++i) EXPECT_THAT(Names(), HasSubstr(absl::StrCat("n", i, "\n")));
  EXPECT_THAT(Names(), Not(HasSubstr(absl::StrCat("n", made - 1, "\n"))));
  daemon_->WaitForLine("event=registry_fault");
  EXPECT_EQ(client_->Health("").value, kNotServing);
  EXPECT_EQ(client_->Health("netprov.v1.VethService").value, kNotServing);
  // It reads, and changes nothing.
  const std::string full = Picture();
  EXPECT_EQ(StateOfBlue(), v1::Namespace::STATE_READY);
  EXPECT_EQ(StateOfPair(), v1::Veth::STATE_READY);
  EXPECT_OK(client_->List(v1::ListNamespacesRequest()));
  EXPECT_EQ(client_->DeleteVeth("v").Summary(), "INTERNAL REGISTRY_FAILED");
  EXPECT_EQ(client_->DeleteNamespace("blue").Summary(), "INTERNAL REGISTRY_FAILED");
  EXPECT_EQ(client_->Create(VethRequest("w", "h1", "blue", "eth1")).Summary(), "INTERNAL REGISTRY_FAILED");
  const Reply<v1::HostReport> report = client_->Check();
  EXPECT_OK(report);
  EXPECT_THAT(report.value.registry_fault(), HasSubstr("full"));
  EXPECT_THAT(FindingsOf(report.value), IsEmpty());
  EXPECT_EQ(Picture(), full);

  Shell("rm /var/lib/netprov/filler");
  daemon_->WaitForLine("event=registry_writable");
  EXPECT_EQ(client_->Health("").value, kServing);
  EXPECT_EQ(client_->Health("netprov.v1.VethService").value, kServing);
  EXPECT_OK(client_->Create(VethRequest("w", "h1", "blue", "eth1")));
  EXPECT_OK(client_->DeleteVeth("w"));
  for (int i = 0; i + 1 < made; ++i) EXPECT_OK(client_->DeleteNamespace(absl::StrCat("n", i)));
  EXPECT_EQ(client_->Check().value.registry_fault(), "");
  EXPECT_EQ(Picture(), before);
  KillDaemon();
  StartDaemon();
  EXPECT_THAT(Findings(), IsEmpty());
}

TEST_F(DirtyStartTest, NoFileDescriptorIsLeftWhileItRuns) {
  StartDaemon();
  MakeBlueWithPair();
  const std::string before = Picture();
  const std::string pid = absl::StrCat(daemon_->pid());
  // What is open stays open.
  Shell(absl::StrCat("prlimit --pid ", pid, " --nofile=3:4096"));
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(client_->CreateNamespace("green").Summary(), "RESOURCE_EXHAUSTED KERNEL_RESOURCES_EXHAUSTED");
    const Ending pair = client_->Create(VethRequest("w", "h1", "blue", "eth1"));
    EXPECT_EQ(pair.Summary(), "RESOURCE_EXHAUSTED KERNEL_RESOURCES_EXHAUSTED");
    EXPECT_THAT(pair.message, HasSubstr("Too many open files"));
    EXPECT_EQ(client_->GetVeth("v").Summary(), "RESOURCE_EXHAUSTED KERNEL_RESOURCES_EXHAUSTED");
    EXPECT_EQ(client_->DeleteVeth("v").Summary(), "RESOURCE_EXHAUSTED KERNEL_RESOURCES_EXHAUSTED");
    EXPECT_EQ(client_->DeleteNamespace("blue").Summary(), "RESOURCE_EXHAUSTED KERNEL_RESOURCES_EXHAUSTED");
  }
  EXPECT_EQ(Picture(), before);
  Shell(absl::StrCat("prlimit --pid ", pid, " --nofile=1024:4096"));
  EXPECT_EQ(StateOfPair(), v1::Veth::STATE_READY);
  EXPECT_OK(client_->CreateNamespace("green"));
  EXPECT_OK(client_->DeleteNamespace("green"));
  // Now it can.
  EXPECT_THAT(FindingsOf(client_->Check().value), Each("KIND_ROLLED_BACK veths/w"));
  EXPECT_THAT(FindingsOf(client_->Check().value), IsEmpty());
  EXPECT_EQ(Picture(), before);
}

TEST_F(DirtyStartTest, TooFewFileDescriptorsAreRefused) {
  for (const char* limit : {"4", "8", "12", "16"}) {
    EXPECT_THAT(Refusal({"prlimit", absl::StrCat("--nofile=", limit), kNetprovd}),
                AllOf(HasSubstr("RLIMIT_NOFILE"), HasSubstr(limit), HasSubstr("at least 48 are needed")));
  }
  EXPECT_EQ(Names(), "");
}

TEST_F(DirtyStartTest, AFileInThePlaceOfTheSocketIsRefused) {
  Shell("mkdir /run/netprov && echo precious > /run/netprov/netprovd.sock");
  EXPECT_THAT(Refusal(), AllOf(HasSubstr(kSocket), HasSubstr("no socket")));
  EXPECT_EQ(Shell("cat /run/netprov/netprovd.sock"), "precious\n");
}

TEST_F(DirtyStartTest, AFileInThePlaceOfTheSocketsFolderIsRefused) {
  Shell("echo precious > /run/netprov");
  EXPECT_THAT(Refusal(), AllOf(HasSubstr("/run/netprov"), HasSubstr("Not a directory")));
  EXPECT_EQ(Shell("cat /run/netprov"), "precious\n");
}

// As a volume that containers share: whose it is and who may enter it is its owner's business, the socket's is ours.
TEST_F(DirtyStartTest, ASocketsFolderOfSomebodyElseIsLeftAsItIs) {
  Shell("mkdir -m 0711 /run/netprov && chown 65534:65534 /run/netprov");
  // Root has no right to override modes any more by then.
  EXPECT_THAT(Refusal(), AllOf(HasSubstr(kSocket), HasSubstr("Permission denied")));
  Shell("chmod 0777 /run/netprov");
  StartDaemon();
  MakeBlueWithPair();
  EXPECT_EQ(Shell("stat -c '%a %u:%g' /run/netprov"), "777 65534:65534\n");
  EXPECT_EQ(Shell(absl::StrCat("stat -c '%a %u:%g' ", kSocket)), "660 0:0\n");
}

TEST_F(DirtyStartTest, ASocketThatNobodyListensOnIsReplaced) {
  StartDaemon();
  KillDaemon();
  Shell(absl::StrCat("test -S ", kSocket));
  StartDaemon();
  MakeBlueWithPair();
}

TEST_F(DirtyStartTest, WhatWasDeletedWhileItWasDownIsMissing) {
  StartDaemon();
  MakeBlueWithPair();
  EXPECT_OK(client_->CreateNamespace("green"));
  EXPECT_OK(client_->Create(VethRequest("w", "h1", "green", "eth0")));
  KillDaemon();
  Shell("ip netns delete blue && ip link del h1");
  StartDaemon();
  EXPECT_THAT(Findings(),
              UnorderedElementsAre("KIND_MISSING namespaces/blue", "KIND_MISSING veths/v", "KIND_MISSING veths/w"));
  EXPECT_EQ(client_->GetReport().value.objects(), 4);
  EXPECT_EQ(StateOfBlue(), v1::Namespace::STATE_MISSING);
  EXPECT_EQ(StateOfPair(), v1::Veth::STATE_MISSING);
  EXPECT_OK(client_->DeleteNamespace("blue"));
  EXPECT_OK(client_->DeleteVeth("w"));
  EXPECT_THAT(FindingsOf(client_->Check().value), IsEmpty());
  MakeBlueWithPair();
}

TEST_F(DirtyStartTest, WhatWasChangedWhileItWasDownIsDegraded) {
  StartDaemon();
  MakeBlueWithPair();
  KillDaemon();
  Shell("ip link set h0 mtu 1400 && ip -n blue link set lo down");
  StartDaemon();
  EXPECT_THAT(Findings(), UnorderedElementsAre("KIND_DEGRADED namespaces/blue", "KIND_DEGRADED veths/v"));
  EXPECT_EQ(StateOfBlue(), v1::Namespace::STATE_DEGRADED);
  EXPECT_EQ(StateOfPair(), v1::Veth::STATE_DEGRADED);
  EXPECT_THAT(Shell("ip -o link show h0"), HasSubstr("mtu 1400"));
}

}  // namespace
}  // namespace netprov::testing
