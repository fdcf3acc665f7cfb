// Pairs that end in namespaces which netprov does not manage, to which a path or a process leads.
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/engine/caretaker.h"
#include "server/engine/engine.h"
#include "server/engine/fake_kernel.h"
#include "server/engine/tag.h"

namespace netprov::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const NetnsRef kHost;
constexpr char kPath[] = "/run/other/netns";
constexpr char kUid[] = "11111111-2222-4333-8444-555555555555";

class EnginePlaceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ = absl::StrCat(::testing::TempDir(), "/engine-place-",
                         ::testing::UnitTest::GetInstance()->current_test_info()->name(), "-", ::getpid());
    Restart();
    // A namespace with a process and a path, and one with a process only.
    at_path_ = kernel_.StartProcessInNewNetnsForTest("pause");
    kernel_.MountForTest(at_path_, kPath);
    process_ = kernel_.StartProcessInNewNetnsForTest("sleep");
    before_ = kernel_.DumpForTest();
  }

  HostReport Restart() {
    engine_.reset();
    registry_.reset();
    auto registry = Registry::Open(path_);
    EXPECT_TRUE(registry.ok()) << registry.error().message;
    registry_ = *std::move(registry);
    engine_ = std::make_unique<Engine>(kernel_, *registry_);
    auto report = engine_->Recover();
    EXPECT_TRUE(report.ok());
    return *report;
  }

  static NetnsPlace Path() { return {.path = kPath, .pid = 0}; }
  static NetnsPlace Pid(uint32_t pid) { return {.path = "", .pid = pid}; }
  NetnsRef RefTo(const NetnsPlace& place) {
    return {.name = "", .cookie = kernel_.FindPlace(place)->cookie, .place = place};
  }

  static VethSpec HostTo(const NetnsPlace& place) {
    return {.a = {.interface_name = "h0"}, .b = {.interface_name = "eth0", .place = place}};
  }
  VethSpec PathToProcess() {
    return {.a = {.interface_name = "p0", .place = Path()}, .b = {.interface_name = "eth0", .place = Pid(process_)}};
  }
  EngineResult<Veth> Create(const VethSpec& spec, const Metadata& metadata = {}) {
    return engine_->CreateVeth({.id = "v", .spec = spec, .metadata = metadata});
  }
  EngineResult<void> Delete() { return engine_->DeleteVeth({.id = "v"}); }
  State StateOf(const std::string& id = "v") { return engine_->GetVeth(id)->state; }
  std::optional<Link> FindLink(const NetnsRef& netns, const std::string& name) {
    KernelResult<std::optional<Link>> link = kernel_.FindLink(netns, name);
    return link.ok() ? *link : std::nullopt;
  }

  std::string path_;
  std::string before_;
  FakeKernel kernel_;
  uint32_t at_path_ = 0;  // a process
  uint32_t process_ = 0;
  std::unique_ptr<Registry> registry_;
  std::unique_ptr<Engine> engine_;
};

TEST_F(EnginePlaceTest, APairIsMadeReadAndDeleted) {
  const std::vector<VethSpec> specs = {HostTo(Path()), HostTo(Pid(process_)), PathToProcess()};
  for (const VethSpec& spec : specs) {
    auto made = Create(spec);
    ASSERT_TRUE(made.ok()) << made.error().message;
    EXPECT_TRUE(FindLink(RefTo(*spec.b.place), "eth0").has_value());
    Restart();
    auto read = engine_->GetVeth("v");
    ASSERT_TRUE(read.ok());
    EXPECT_EQ(read->state, State::kReady);
    EXPECT_EQ(read->a.place, spec.a.place);
    EXPECT_EQ(read->b.place, spec.b.place);
    auto again = engine_->CreateVeth({.id = "v", .spec = spec, .allow_existing = true});
    ASSERT_TRUE(again.ok());
    EXPECT_EQ(again->uid, made->uid);
    ASSERT_TRUE(Delete().ok());
    EXPECT_EQ(kernel_.DumpForTest(), before_);
  }
}

TEST_F(EnginePlaceTest, APlaceThatLeadsToNoneIsRefused) {
  kernel_.AddOddPathForTest("/run/file", EMEDIUMTYPE);
  kernel_.AddOddPathForTest("/run/link", ELOOP);
  const uint32_t on_host = kernel_.StartProcessForTest(kHost, "init");
  auto blue = engine_->CreateNamespace({.id = "blue"});
  ASSERT_TRUE(blue.ok());
  const uint32_t in_blue = kernel_.StartProcessForTest({.name = "blue", .cookie = blue->cookie}, "sleep");
  const std::string before = kernel_.DumpForTest();
  struct Case {
    NetnsPlace place;
    Reason reason;
    std::string message;
  };
  const std::vector<Case> cases = {
      {{.path = "/run/nothing"}, Reason::kPlaceNotFound, "there is nothing at /run/nothing"},
      {Pid(999999), Reason::kPlaceNotFound, "there is no process 999999"},
      {{.path = "/run/file"}, Reason::kPlaceUnusable, "/run/file is no network namespace"},
      {{.path = "/run/link"}, Reason::kPlaceUnusable, "/run/link can't be used: a link is not followed"},
      {Pid(on_host), Reason::kPlaceUnusable, "is in the host's namespace: use `host`"},
      {Pid(in_blue), Reason::kPlaceUnusable, "is in namespaces/blue: use `namespace`"},
      {{.path = "/run/netns/blue"}, Reason::kPlaceUnusable, "/run/netns/blue is in namespaces/blue: use `namespace`"}};
  for (const Case& item : cases) {
    for (const bool validate_only : {false, true}) {
      auto refused =
          engine_->CreateVeth({.context = {.validate_only = validate_only}, .id = "v", .spec = HostTo(item.place)});
      ASSERT_FALSE(refused.ok()) << item.message;
      EXPECT_EQ(refused.error().reason, item.reason) << item.message;
      EXPECT_THAT(refused.error().message, HasSubstr(item.message));
      EXPECT_EQ(refused.error().field, item.place.path.empty() ? "endpoint_b.pid" : "endpoint_b.netns_path");
      EXPECT_EQ(refused.error().object, PlaceName(item.place));
    }
  }
  kernel_.FailNextForTest("FindPlace", EACCES);
  EXPECT_EQ(Create(HostTo(Path())).error().reason, Reason::kKernel);
  EXPECT_EQ(kernel_.DumpForTest(), before);
}

TEST_F(EnginePlaceTest, ANamedNamespaceOfOthersIsReachedByItsPath) {
  kernel_.AddForeignNetnsForTest("theirs");
  ASSERT_TRUE(Create(HostTo({.path = "/run/netns/theirs"})).ok());
  EXPECT_EQ(StateOf(), State::kReady);
}

TEST_F(EnginePlaceTest, TwoWaysIntoOneNamespaceAreOnePlace) {
  VethSpec spec{.a = {.interface_name = "veth%d", .place = Path()},
                .b = {.interface_name = "veth%d", .place = Pid(at_path_)}};
  auto made = Create(spec);
  ASSERT_TRUE(made.ok()) << made.error().message;
  EXPECT_EQ(made->a.interface_name, "veth0");
  EXPECT_EQ(made->b.interface_name, "veth1");
  EXPECT_EQ(StateOf(), State::kReady);
  ASSERT_TRUE(Delete().ok());
  spec.a.interface_name = spec.b.interface_name = "eth0";
  auto refused = Create(spec);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().reason, Reason::kInterfaceNameTaken);
  EXPECT_EQ(refused.error().field, "endpoint_b.interface_name");
  EXPECT_THAT(refused.error().message, HasSubstr("in the namespace of process"));
}

TEST_F(EnginePlaceTest, ANameThatIsTakenThereIsSaid) {
  kernel_.AddForeignLinkForTest(RefTo(Path()), "eth0");
  auto refused = Create(HostTo(Path()));
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().reason, Reason::kInterfaceNameTaken);
  EXPECT_EQ(refused.error().field, "endpoint_b.interface_name");
  EXPECT_EQ(refused.error().message, "there is a link 'eth0' in the namespace of /run/other/netns");
}

TEST_F(EnginePlaceTest, ANamespaceThatIsReplacedWhileThePairIsMadeIsSaid) {
  kernel_.SetFaultForTest([&](const std::string& operation) -> std::optional<KernelError> {
    if (operation == "CreateVeth") kernel_.MountForTest(process_, kPath);
    return std::nullopt;
  });
  auto refused = Create(HostTo(Path()));
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().reason, Reason::kPlaceNotFound);
  EXPECT_EQ(refused.error().message, "/run/other/netns leads to another network namespace than before");
  EXPECT_EQ(kernel_.DumpForTest(), before_);
}

TEST_F(EnginePlaceTest, WhereThePlaceGoesBeforeThePairIsWholeNothingIsLeft) {
  VethSpec spec{.a = HostTo(Path()).b, .b = HostTo(Path()).a};
  spec.b.config.alternative_names = {"lo"};
  kernel_.SetFaultForTest([&](const std::string& operation) -> std::optional<KernelError> {
    if (operation == "Configure") kernel_.UnmountForTest(kPath);
    return std::nullopt;
  });
  EXPECT_FALSE(Create(spec).ok());
  kernel_.SetFaultForTest(nullptr);
  EXPECT_FALSE(FindLink(kHost, "h0").has_value());
  EXPECT_THAT(registry_->ListPending(), IsEmpty());
}

TEST_F(EnginePlaceTest, WithAnotherNamespaceInItsPlaceThePairIsMissing) {
  ASSERT_TRUE(Create(HostTo(Path())).ok());
  kernel_.MountForTest(process_, kPath);
  EXPECT_EQ(StateOf(), State::kMissing);
  EXPECT_EQ(engine_->GetVeth("v")->b.ifindex, 0u);
  EXPECT_NE(engine_->GetVeth("v")->a.ifindex, 0u);
  // A new one of the same id takes its place.
  auto made = Create(HostTo(Path()));
  ASSERT_TRUE(made.ok()) << made.error().message;
  EXPECT_TRUE(FindLink(RefTo(Pid(process_)), "eth0").has_value());
  EXPECT_FALSE(FindLink(RefTo(Pid(at_path_)), "eth0").has_value());
  ASSERT_TRUE(Delete().ok());
  EXPECT_EQ(kernel_.DumpForTest(), before_);
}

TEST_F(EnginePlaceTest, APairOfAProcessThatEndedIsMissingAndCanBeDeleted) {
  ASSERT_TRUE(Create(HostTo(Pid(process_))).ok());
  kernel_.EndProcessForTest(process_);
  EXPECT_EQ(StateOf(), State::kMissing);
  ASSERT_TRUE(Delete().ok());
  EXPECT_FALSE(FindLink(kHost, "h0").has_value());
}

TEST_F(EnginePlaceTest, WhereAPlaceIsGoneThePairIsDeletedByItsOtherEnd) {
  ASSERT_TRUE(Create(HostTo(Path())).ok());
  // The process keeps the namespace.
  kernel_.UnmountForTest(kPath);
  EXPECT_EQ(StateOf(), State::kMissing);
  EXPECT_TRUE(FindLink(kHost, "h0").has_value());
  ASSERT_TRUE(Delete().ok());
  EXPECT_EQ(kernel_.DumpForTest(), before_);
}

TEST_F(EnginePlaceTest, WhereAnEndMayNotBeLookedAtThePairIsDeletedByItsOther) {
  ASSERT_TRUE(Create({.a = HostTo(Pid(process_)).b, .b = HostTo(Path()).a}).ok());
  kernel_.FailNextForTest("FindLink", EACCES);
  ASSERT_TRUE(Delete().ok());
  EXPECT_EQ(kernel_.DumpForTest(), before_);
  // Where the other one is gone, nobody knows.
  ASSERT_TRUE(Create(PathToProcess()).ok());
  kernel_.UnmountForTest(kPath);
  int looks = 0;
  kernel_.SetFaultForTest([&](const std::string& operation) -> std::optional<KernelError> {
    if (operation != "FindLink" || ++looks != 2) return std::nullopt;
    return KernelError{.code = EACCES, .operation = "open", .extack = {}};
  });
  auto refused = Delete();
  kernel_.SetFaultForTest(nullptr);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().kernel->code, EACCES);
  EXPECT_TRUE(Delete().ok());
}

TEST_F(EnginePlaceTest, WhereBothPlacesAreGoneThePairIsDeletedByAProcessInside) {
  const uint32_t other = kernel_.StartProcessForTest(RefTo(Pid(process_)), "helper");
  VethSpec spec = PathToProcess();
  spec.b.config.ip.routes = {
      {.destination = *netlink::IpPrefix::Parse("10.9.0.0/16"), .type = RouteType::kBlackhole, .gateway = {}}};
  ASSERT_TRUE(Create(spec).ok());
  kernel_.UnmountForTest(kPath);
  kernel_.EndProcessForTest(process_);
  EXPECT_EQ(StateOf(), State::kMissing);
  ASSERT_TRUE(FindLink(RefTo(Pid(other)), "eth0").has_value());
  ASSERT_TRUE(Delete().ok());
  EXPECT_EQ(kernel_.DumpForTest(), before_);
  EXPECT_FALSE(FindLink(RefTo(Pid(at_path_)), "p0").has_value());
}

TEST_F(EnginePlaceTest, AnUnfinishedPairIsRolledBack) {
  const NetnsRef at_path = RefTo(Path());
  const NetnsRef at_process = RefTo(Pid(process_));
  kernel_.StartProcessForTest(at_process, "helper");
  for (const bool place_is_gone : {false, true}) {
    for (const std::string& alias : {std::string(), TagOf(registry_->id(), kUid, "veths/v")}) {
      Endpoint a{.interface_name = "p0", .place = at_path.place, .netns_cookie = at_path.cookie};
      Endpoint b{.interface_name = "eth0", .place = at_process.place, .netns_cookie = at_process.cookie};
      const VethRecord record{.id = "v", .uid = kUid, .boot_id = kernel_.BootId(), .a = a, .b = b};
      ASSERT_TRUE(registry_->Begin({.kind = Intent::Kind::kCreateVeth, .veth = record}).ok());
      ASSERT_TRUE(
          kernel_.CreateVeth({.netns = at_path, .name = "p0"}, {.netns = at_process, .name = "eth0"}, alias).ok());
      if (place_is_gone) kernel_.UnmountForTest(kPath);
      EXPECT_EQ(Restart().Count(Finding::Kind::kRolledBack), 1);
      EXPECT_EQ(kernel_.DumpForTest(), before_);
      EXPECT_THAT(registry_->ListPending(), IsEmpty());
      kernel_.MountForTest(at_path_, kPath);
    }
  }
}

TEST_F(EnginePlaceTest, AnUnfinishedDeleteIsCompleted) {
  ASSERT_TRUE(Create(PathToProcess()).ok());
  const VethRecord record = *registry_->FindVeth("v");
  ASSERT_TRUE(registry_->Begin({.kind = Intent::Kind::kDeleteVeth, .veth = record}).ok());
  EXPECT_EQ(Restart().Count(Finding::Kind::kCompleted), 1);
  EXPECT_EQ(kernel_.DumpForTest(), before_);
}

TEST_F(EnginePlaceTest, OrphansAreFoundWherePairsEnd) {
  ASSERT_TRUE(Create(PathToProcess()).ok());
  const std::string before = kernel_.DumpForTest();
  ASSERT_TRUE(kernel_
                  .CreateVeth({.netns = RefTo(Path()), .name = "l0"}, {.netns = RefTo(Pid(process_)), .name = "l1"},
                              TagOf(registry_->id(), kUid, "veths/lost"))
                  .ok());
  const HostReport looked = *engine_->CheckHost({.validate_only = true});
  EXPECT_EQ(looked.Count(Finding::Kind::kOrphan), 2) << "each end";
  EXPECT_THAT(looked.findings.front().detail, HasSubstr("in the namespace of "));
  EXPECT_EQ(Restart().Count(Finding::Kind::kOrphanRemoved), 1);
  EXPECT_EQ(kernel_.DumpForTest(), before);
}

TEST_F(EnginePlaceTest, WhatWasChangedThereIsHealed) {
  VethSpec spec = PathToProcess();
  spec.a.config.ip.addresses = {{.local = *netlink::IpPrefix::Parse("10.0.0.1/24"), .peer = std::nullopt}};
  spec.b.config.ip.routes = {
      {.destination = *netlink::IpPrefix::Parse("10.9.0.0/16"), .type = RouteType::kBlackhole, .gateway = {}}};
  ASSERT_TRUE(Create(spec).ok());
  const std::string made = kernel_.DumpForTest();
  const ObjectRef object{.name = "veths/v", .uid = engine_->GetVeth("v")->uid};
  kernel_.SetIpConfigForTest(RefTo(Path()), "p0", {});
  kernel_.SetLinkForTest(RefTo(Pid(process_)), "eth0", {.mtu = 1400});
  ASSERT_TRUE(kernel_.DeleteRoutes(RefTo(Pid(process_)), spec.b.config.ip.routes).ok());
  EXPECT_EQ(ToText(engine_->GetVeth("v")->deviations),
            "endpoint_a.addresses is '' in place of '10.0.0.1/24'; endpoint_b.mtu is '1400' in place of '1500'; "
            "endpoint_b.routes is '' in place of 'blackhole 10.9.0.0/16'");
  ASSERT_TRUE(engine_->Heal(object).ok());
  EXPECT_EQ(StateOf(), State::kReady);
  EXPECT_EQ(kernel_.DumpForTest(), made);
  // Gone altogether.
  ASSERT_TRUE(kernel_.DeleteLink(RefTo(Path()), engine_->GetVeth("v")->a.ifindex).ok());
  EXPECT_EQ(StateOf(), State::kMissing);
  ASSERT_TRUE(engine_->Heal(object).ok());
  EXPECT_EQ(kernel_.DumpForTest(), made);
  // A route that belongs to no link goes with the pair.
  ASSERT_TRUE(Delete().ok());
  EXPECT_EQ(kernel_.DumpForTest(), before_);
}

TEST_F(EnginePlaceTest, AHealedPairFollowsAPathAndNeverANumber) {
  ASSERT_TRUE(Create(HostTo(Path())).ok());
  ObjectRef object{.name = "veths/v", .uid = engine_->GetVeth("v")->uid};
  const uint32_t other = kernel_.StartProcessInNewNetnsForTest("pause");
  kernel_.MountForTest(other, kPath);
  ASSERT_TRUE(engine_->Heal(object).ok());
  EXPECT_EQ(StateOf(), State::kReady);
  EXPECT_TRUE(FindLink(RefTo(Pid(other)), "eth0").has_value());
  EXPECT_FALSE(FindLink(RefTo(Pid(at_path_)), "eth0").has_value());
  ASSERT_TRUE(Delete().ok());

  ASSERT_TRUE(Create(HostTo(Pid(process_))).ok());
  object.uid = engine_->GetVeth("v")->uid;
  kernel_.UnshareForTest(process_);
  auto healed = engine_->Heal(object);
  ASSERT_FALSE(healed.ok());
  EXPECT_EQ(healed.error().reason, Reason::kPlaceNotFound);
  EXPECT_THAT(healed.error().message, HasSubstr("another network namespace than before"));
  EXPECT_FALSE(FindLink(RefTo(Pid(process_)), "eth0").has_value());
}

TEST_F(EnginePlaceTest, APairThatIsHealedElsewhereLeavesNothingWhereItWas) {
  VethSpec spec = HostTo(Path());
  spec.a.place = Path();
  ASSERT_TRUE(Create(spec).ok());
  // The process keeps the namespace.
  kernel_.MountForTest(process_, kPath);
  ASSERT_TRUE(engine_->Heal({.name = "veths/v", .uid = engine_->GetVeth("v")->uid}).ok());
  EXPECT_EQ(StateOf(), State::kReady);
  EXPECT_TRUE(FindLink(RefTo(Pid(process_)), "eth0").has_value());
  EXPECT_FALSE(FindLink(RefTo(Pid(at_path_)), "eth0").has_value());
  ASSERT_TRUE(Delete().ok());
}

TEST_F(EnginePlaceTest, APairWhoseEndsCameToOnePlaceUnderOneNameIsNotTouched) {
  VethSpec spec = PathToProcess();
  spec.a.interface_name = "eth0";
  ASSERT_TRUE(Create(spec).ok());
  kernel_.MountForTest(process_, kPath);
  const std::string before = kernel_.DumpForTest();
  auto healed = engine_->Heal({.name = "veths/v", .uid = engine_->GetVeth("v")->uid});
  ASSERT_FALSE(healed.ok());
  EXPECT_EQ(healed.error().reason, Reason::kInterfaceNameTaken);
  EXPECT_EQ(kernel_.DumpForTest(), before);
  ASSERT_TRUE(Delete().ok());
}

TEST_F(EnginePlaceTest, APersistentPairAtAPathIsRestoredOnceItIsThere) {
  Metadata persistent;
  persistent.persistent = true;
  ASSERT_TRUE(Create(HostTo(Path()), persistent).ok());
  const Veth made = *engine_->GetVeth("v");
  kernel_.RebootForTest();
  const HostReport report = Restart();
  ASSERT_EQ(report.Count(Finding::Kind::kNotRestored), 1);
  EXPECT_EQ(report.findings.front().detail, "there is nothing at /run/other/netns");
  EXPECT_EQ(StateOf(), State::kMissing);
  kernel_.MountForTest(kernel_.StartProcessInNewNetnsForTest("pause"), kPath);
  EXPECT_EQ(engine_->CheckHost(engine_->PlanCheck(/*validate_only=*/false))->Count(Finding::Kind::kRestored), 1);
  EXPECT_EQ(StateOf(), State::kReady);
  EXPECT_EQ(engine_->GetVeth("v")->b.mac, made.b.mac);
}

// The machine counts cookies from the start again.
TEST_F(EnginePlaceTest, ACookieOfAnotherBootIsNotBelieved) {
  VethSpec spec = HostTo(Path());
  const RouteSpec route{
      .destination = *netlink::IpPrefix::Parse("10.9.0.0/16"), .type = RouteType::kBlackhole, .gateway = {}};
  spec.b.config.ip.routes = {route};
  ASSERT_TRUE(Create(spec).ok());
  kernel_.RebootForTest();
  const uint32_t others = kernel_.StartProcessInNewNetnsForTest("pause");
  kernel_.MountForTest(others, kPath);
  ASSERT_EQ(RefTo(Path()).cookie, registry_->FindVeth("v")->b.netns_cookie);
  ASSERT_TRUE(kernel_.AddRoutes(RefTo(Path()), {route}).ok());
  Restart();
  EXPECT_EQ(StateOf(), State::kMissing);
  ASSERT_TRUE(Delete().ok());
  EXPECT_THAT(*kernel_.ListRoutesWithoutLink(RefTo(Path())), ElementsAre(route));
}

TEST_F(EnginePlaceTest, AProcessOfAnotherBootIsNotTheSame) {
  ASSERT_TRUE(Create(HostTo(Pid(at_path_))).ok());
  const ObjectRef object{.name = "veths/v", .uid = engine_->GetVeth("v")->uid};
  kernel_.RebootForTest();
  ASSERT_EQ(kernel_.StartProcessInNewNetnsForTest("somebody"), at_path_);
  ASSERT_EQ(RefTo(Pid(at_path_)).cookie, registry_->FindVeth("v")->b.netns_cookie);
  Restart();
  const std::string before = kernel_.DumpForTest();
  auto healed = engine_->Heal(object);
  ASSERT_FALSE(healed.ok());
  EXPECT_EQ(healed.error().reason, Reason::kPlaceNotFound);
  EXPECT_EQ(kernel_.DumpForTest(), before);
}

TEST_F(EnginePlaceTest, AnEndAtAPlaceIsNotTakenForOneOfTheHosts) {
  ASSERT_TRUE(Create(PathToProcess()).ok());
  // A pair of numbers that are the same, with our group and without a tag.
  const NetnsRef elsewhere = RefTo(Pid(kernel_.StartProcessInNewNetnsForTest("sleep")));
  auto same = kernel_.CreateVeth({.name = "x0"}, {.netns = elsewhere, .name = "x1"}, "");
  ASSERT_TRUE(same.ok());
  ASSERT_EQ(same->first.ifindex, engine_->GetVeth("v")->a.ifindex);
  ASSERT_EQ(same->second.ifindex, engine_->GetVeth("v")->b.ifindex);
  auto links = engine_->ListLinks({}, "", 10);
  ASSERT_TRUE(links.ok());
  for (const InspectedLink& link : links->items) EXPECT_EQ(link.object, "") << link.observed.link.name;
  EXPECT_EQ(engine_->CheckHost({.validate_only = true})->Count(Finding::Kind::kForeignTag), 1);
}

TEST_F(EnginePlaceTest, CallsOnOnePlaceKeepTheirOrder) {
  EXPECT_THAT(engine_->Keys(CreateVethCall{.id = "v", .spec = HostTo(Path())}),
              ElementsAre(kPath, "links/h0", "veths/v"));
  EXPECT_THAT(engine_->Keys(CreateVethCall{.id = "v", .spec = HostTo(Pid(7))}),
              ElementsAre("links/h0", "processes/7", "veths/v"));
  ASSERT_TRUE(Create(PathToProcess()).ok());
  EXPECT_THAT(engine_->Keys(DeleteVethCall{.id = "v"}),
              ElementsAre(kPath, absl::StrCat("processes/", process_), "veths/v"));
}

TEST_F(EnginePlaceTest, ChangesThereAreNoticed) {
  Metadata healing;
  healing.self_heal = true;
  ASSERT_TRUE(Create(PathToProcess(), healing).ok());
  Caretaker caretaker(*engine_, kernel_, *registry_);
  auto settle = [&] {
    std::vector<std::string> events;
    while (true) {
      Caretaker::Due due = caretaker.Wait(std::chrono::milliseconds(0));
      for (Chore& chore : due.chores) {
        for (const Notice& notice : chore.run()) events.push_back(absl::StrCat(notice.event, " ", notice.resource));
      }
      if (due.chores.empty()) return events;
    }
  };
  EXPECT_THAT(settle(), IsEmpty());
  for (const auto& [place, name] : {std::pair(Path(), "p0"), std::pair(Pid(process_), "eth0")}) {
    kernel_.SetLinkForTest(RefTo(place), name, {.mtu = 1400});
    EXPECT_THAT(settle(), ElementsAre("drift veths/v", "healed veths/v"));
    EXPECT_EQ(FindLink(RefTo(place), name)->mtu, 1500u);
  }
}

}  // namespace
}  // namespace netprov::engine
