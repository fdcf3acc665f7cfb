#include <algorithm>
#include <cerrno>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/engine/engine.h"
#include "server/engine/engine_fixture.h"
#include "server/engine/fake_kernel.h"
#include "server/engine/shaping.h"
#include "server/engine/tag.h"

namespace netprov::engine {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr RateLimit kIn{.rate = 10'000'000, .burst = 32768, .latency = absl::Milliseconds(50)};
constexpr RateLimit kOut{.rate = 20'000'000, .burst = 40000, .latency = absl::Milliseconds(20)};

class EngineShapingTest : public EngineTest {
 protected:
  // What the end in the namespace receives and sends.
  static VethSpec LimitedTo(const std::string& netns) {
    VethSpec spec = HostTo(netns);
    spec.b.config.ingress_limit = kIn;
    spec.b.config.egress_limit = kOut;
    return spec;
  }
  Veth MakeLimited(bool self_heal = false) {
    EXPECT_TRUE(CreateNamespace("blue").ok());
    Metadata metadata;
    metadata.self_heal = self_heal;
    auto made = engine_->CreateVeth({.id = "v", .spec = LimitedTo("blue"), .metadata = metadata});
    EXPECT_TRUE(made.ok()) << made.error().message;
    return made.ok() ? *made : Veth();
  }
  std::vector<Link> Ifbs(const NetnsRef& netns = kHost) {
    std::vector<Link> ifbs = *kernel_.ListLinks(netns);
    std::erase_if(ifbs, [](const Link& link) { return link.kind != "ifb"; });
    return ifbs;
  }
  NetnsRef Blue() { return {.name = "blue", .cookie = engine_->GetNamespace("blue")->cookie}; }
  // Whatever the order of the links.
  std::vector<std::string> Lines() const {
    std::vector<std::string> lines = absl::StrSplit(kernel_.DumpForTest(), '\n');
    std::sort(lines.begin(), lines.end());
    return lines;
  }
  std::vector<std::string> Deviations() {
    std::vector<std::string> texts;
    const Veth veth = *engine_->GetVeth("v");
    EXPECT_EQ(veth.state == State::kDegraded, !veth.deviations.empty());
    for (const Deviation& deviation : veth.deviations) {
      texts.push_back(absl::StrCat(deviation.field, " ", deviation.expected, " ", deviation.actual));
    }
    return texts;
  }
  void Heal() {
    auto healed = engine_->Heal({.name = "veths/v", .uid = registry_->FindVeth("v")->uid});
    ASSERT_TRUE(healed.ok()) << healed.error().message;
  }
};

TEST_F(EngineShapingTest, AnEndIsLimitedAtTheOther) {
  ASSERT_TRUE(CreateNamespace("blue").ok());
  const std::string before = kernel_.DumpForTest();
  auto made = CreateVeth("v", LimitedTo("blue"));
  ASSERT_TRUE(made.ok()) << made.error().message;
  EXPECT_EQ(made->b.config.ingress_limit, kIn);
  const Shaping shaping = *kernel_.FindShaping(kHost, made->a.ifindex);
  EXPECT_EQ(shaping.egress, ToBucket(kIn));
  EXPECT_EQ(shaping.ingress, ToBucket(kOut));
  ASSERT_THAT(Ifbs(), SizeIs(1));
  EXPECT_EQ(Ifbs()[0].name, ShaperName(made->uid, 'a'));
  EXPECT_EQ(Ifbs()[0].alias, TagOf(registry_->id(), made->uid, "veths/v"));
  EXPECT_EQ(Ifbs()[0].group, kOwnedGroup);
  // Nothing of it is inside.
  EXPECT_EQ(*kernel_.FindShaping(Blue(), made->b.ifindex), Shaping());
  EXPECT_THAT(Ifbs(Blue()), IsEmpty());
  EXPECT_EQ(Restart().findings.size(), 0u);
  const Veth veth = *engine_->GetVeth("v");
  EXPECT_EQ(veth.state, State::kReady) << ToText(veth.deviations);
  EXPECT_EQ(veth.b.config, LimitedTo("blue").b.config);
  EXPECT_TRUE(CreateVeth("v", LimitedTo("blue"), {}, /*allow_existing=*/true).ok());
  auto links = engine_->ListLinks({.interface_name = Ifbs()[0].name}, "", 10);
  ASSERT_TRUE(links.ok());
  EXPECT_EQ(links->items.at(0).object, "veths/v");
  ASSERT_TRUE(DeleteVeth("v").ok());
  EXPECT_EQ(kernel_.DumpForTest(), before);
}

TEST_F(EngineShapingTest, EachEndCanBeLimited) {
  ASSERT_TRUE(CreateNamespace("blue").ok());
  const std::string before = kernel_.DumpForTest();
  for (const bool both_at_host : {false, true}) {
    VethSpec spec = LimitedTo(both_at_host ? "" : "blue");
    spec.a.config.ingress_limit = kOut;
    spec.a.config.egress_limit = kIn;
    auto made = CreateVeth("v", spec);
    ASSERT_TRUE(made.ok()) << made.error().message;
    const NetnsRef other = both_at_host ? kHost : Blue();
    EXPECT_EQ(kernel_.FindShaping(kHost, made->a.ifindex)->ingress, ToBucket(kOut));
    EXPECT_EQ(kernel_.FindShaping(other, made->b.ifindex)->egress, ToBucket(kOut));
    EXPECT_EQ(kernel_.FindShaping(other, made->b.ifindex)->ingress, ToBucket(kIn));
    EXPECT_THAT(Ifbs(), SizeIs(both_at_host ? 2 : 1));
    EXPECT_THAT(Deviations(), IsEmpty());
    ASSERT_TRUE(DeleteVeth("v").ok());
    EXPECT_EQ(kernel_.DumpForTest(), before);
  }
}

TEST_F(EngineShapingTest, ItGoesWithTheNamespaceAndWithOrphans) {
  const std::string before = kernel_.DumpForTest();
  MakeLimited();
  ASSERT_TRUE(DeleteNamespace("blue").ok());
  EXPECT_EQ(kernel_.DumpForTest(), before);
  const Veth veth = MakeLimited();
  const VethRecord record = *registry_->FindVeth("v");
  ASSERT_TRUE(registry_->Commit(0, {.remove_veths = {record}}).ok());
  EXPECT_GE(Restart().Count(Finding::Kind::kOrphanRemoved), 2);
  EXPECT_THAT(Ifbs(), IsEmpty());
  ASSERT_TRUE(DeleteNamespace("blue").ok());
  EXPECT_EQ(kernel_.DumpForTest(), before);
}

TEST_F(EngineShapingTest, WhateverFailsNothingIsLeft) {
  ASSERT_TRUE(CreateNamespace("blue").ok());
  const std::string before = kernel_.DumpForTest();
  for (int calls = 0;; ++calls) {
    int left = calls;
    bool failed = false;
    kernel_.SetFaultForTest([&](const std::string& operation) -> std::optional<KernelError> {
      if (failed || left-- > 0) return std::nullopt;
      failed = true;
      return KernelError{.code = EIO, .operation = operation, .extack = {}};
    });
    auto made = CreateVeth("v", LimitedTo("blue"));
    kernel_.SetFaultForTest(nullptr);
    if (!failed) {
      EXPECT_TRUE(made.ok());
      EXPECT_GE(calls, 2) << "CreateVeth, Shape";
      break;
    }
    EXPECT_REFUSED(made, Reason::kKernel);
    EXPECT_EQ(kernel_.DumpForTest(), before) << "operation " << calls;
    EXPECT_THAT(registry_->ListPending(), IsEmpty());
  }
  // A deletion that failed can be repeated.
  for (const char* operation : {"DeleteLink", "FindLink"}) {
    for (int times = 0; times < 2; ++times) {
      int left = times;
      kernel_.SetFaultForTest([&](const std::string& asked) -> std::optional<KernelError> {
        if (asked != operation || left-- != 0) return std::nullopt;
        return KernelError{.code = EIO, .operation = asked, .extack = {}};
      });
      auto deleted = DeleteVeth("v");
      kernel_.SetFaultForTest(nullptr);
      if (!deleted.ok()) deleted = DeleteVeth("v");
      EXPECT_TRUE(deleted.ok()) << deleted.error().message;
      EXPECT_EQ(kernel_.DumpForTest(), before) << operation << " " << times;
      ASSERT_TRUE(CreateVeth("v", LimitedTo("blue")).ok());
    }
  }
}

TEST_F(EngineShapingTest, WhatTheKernelCannotDoIsRefused) {
  ASSERT_TRUE(CreateNamespace("blue").ok());
  const std::string before = kernel_.DumpForTest();
  kernel_.FailNextForTest("Shape", EOPNOTSUPP, "no tbf");
  auto refused = CreateVeth("v", LimitedTo("blue"));
  EXPECT_REFUSED(refused, Reason::kKernel);
  EXPECT_EQ(refused.error().step, "limit the rates of veth v");
  EXPECT_EQ(refused.error().kernel->code, EOPNOTSUPP);
  EXPECT_EQ(kernel_.DumpForTest(), before);
}

TEST_F(EngineShapingTest, AnUnfinishedCreateIsRolledBack) {
  ASSERT_TRUE(CreateNamespace("blue").ok());
  const std::string before = kernel_.DumpForTest();
  const std::string uid = "01234567-89ab-4cde-8f01-23456789abcd";
  VethRecord record{.id = "v",
                    .uid = uid,
                    .boot_id = kernel_.BootId(),
                    .spec = LimitedTo("blue"),
                    .a = {.interface_name = "h0"},
                    .b = {.namespace_id = "blue", .interface_name = "eth0"}};
  const std::string tag = TagOf(registry_->id(), uid, "veths/v");
  // Killed before the ifb has its alias, and after; and where the links were deleted by somebody.
  for (const bool has_alias : {false, true}) {
    for (const bool has_links : {false, true}) {
      ASSERT_TRUE(registry_->Begin({.kind = Intent::Kind::kCreateVeth, .veth = record}).ok());
      auto made = kernel_.CreateVeth({.name = "h0"}, {.netns = Blue(), .name = "eth0"}, tag);
      ASSERT_TRUE(made.ok());
      ASSERT_TRUE(kernel_
                      .Shape(kHost, made->first.ifindex,
                             {.egress = std::nullopt,
                              .ingress = ToBucket(kOut),
                              .ifb_name = ShaperName(uid, 'a'),
                              .alias = has_alias ? tag : ""})
                      .ok());
      if (!has_links) {
        ASSERT_TRUE(kernel_.DeleteLink(kHost, made->first.ifindex).ok());
      }
      const HostReport report = *engine_->CheckHost(engine_->PlanCheck(/*validate_only=*/true));
      EXPECT_EQ(report.Count(Finding::Kind::kForeignTag), 0) << "it is under way";
      EXPECT_EQ(Restart().Count(Finding::Kind::kRolledBack), 1);
      EXPECT_EQ(kernel_.DumpForTest(), before);
    }
  }
}

TEST_F(EngineShapingTest, DriftShowsAndIsHealed) {
  const Veth veth = MakeLimited();
  const std::vector<std::string> before = Lines();
  const std::string ifb = Ifbs()[0].name;
  RateLimit other = kIn;
  other.rate = 1'000'000'000;
  kernel_.SetBucketForTest(kHost, "h0", ToBucket(other));
  EXPECT_THAT(Deviations(), Contains("endpoint_b.ingress_limit.rate 10000000 1000000000"));
  EXPECT_EQ(engine_->GetVeth("v")->b.config.ingress_limit->rate, 1'000'000'000u);
  Heal();
  EXPECT_EQ(Lines(), before);

  kernel_.SetBucketForTest(kHost, "h0", std::nullopt);
  kernel_.SetBucketForTest(kHost, ifb, std::nullopt);
  EXPECT_THAT(Deviations(),
              ElementsAre("endpoint_b.ingress_limit.rate 10000000 ", "endpoint_b.egress_limit.rate 20000000 "));
  EXPECT_FALSE(engine_->GetVeth("v")->b.config.HasLimits());
  Heal();
  EXPECT_EQ(Lines(), before);

  const std::string no_egress = "endpoint_b.egress_limit.rate 20000000 ";
  kernel_.RemoveFiltersForTest(kHost, "h0");
  EXPECT_THAT(Deviations(), ElementsAre(no_egress));
  Heal();
  EXPECT_EQ(Lines(), before);

  kernel_.SetLinkForTest(kHost, ifb, {.up = false});
  EXPECT_THAT(Deviations(), ElementsAre(no_egress));
  Heal();
  EXPECT_EQ(Lines(), before);

  ASSERT_TRUE(kernel_.DeleteLink(kHost, Ifbs()[0].ifindex).ok());
  EXPECT_THAT(Deviations(), ElementsAre(no_egress));
  Heal();
  EXPECT_EQ(Lines(), before);
  EXPECT_EQ(registry_->FindVeth("v")->a.shaper_ifindex, Ifbs()[0].ifindex);
  EXPECT_THAT(registry_->ListPending(), IsEmpty());

  // Renamed and without its tag, it is the pair's still.
  kernel_.SetLinkForTest(kHost, ifb, {.name = "other", .alias = ""});
  EXPECT_THAT(Deviations(), IsEmpty());
  EXPECT_EQ(engine_->CheckHost(engine_->PlanCheck(false))->findings.size(), 0u);
  ASSERT_TRUE(DeleteVeth("v").ok());
  EXPECT_THAT(Ifbs(), IsEmpty());
}

TEST_F(EngineShapingTest, AHealThatFailsIsSaidAndCanBeRepeated) {
  MakeLimited();
  const std::vector<std::string> before = Lines();
  kernel_.SetBucketForTest(kHost, "h0", std::nullopt);
  kernel_.FailNextForTest("Shape", ENOMEM);
  auto healed = engine_->Heal({.name = "veths/v", .uid = registry_->FindVeth("v")->uid});
  EXPECT_REFUSED(healed, Reason::kKernel);
  EXPECT_THAT(healed.error().message, HasSubstr("limit the rates"));
  Heal();
  EXPECT_EQ(Lines(), before);
}

TEST_F(EngineShapingTest, APairThatIsMadeAgainIsLimitedAgain) {
  MakeLimited();
  const std::vector<std::string> before = Lines();
  ASSERT_TRUE(kernel_.DeleteLink(kHost, engine_->GetVeth("v")->a.ifindex).ok());
  EXPECT_EQ(engine_->GetVeth("v")->state, State::kMissing);
  EXPECT_THAT(Ifbs(), SizeIs(1));
  Heal();
  EXPECT_EQ(Lines(), before);
  EXPECT_THAT(Deviations(), IsEmpty());
  // One that is missing can be deleted, and made anew under its id.
  ASSERT_TRUE(kernel_.DeleteLink(kHost, engine_->GetVeth("v")->a.ifindex).ok());
  ASSERT_TRUE(CreateVeth("v", HostTo("blue")).ok());
  EXPECT_THAT(Ifbs(), IsEmpty());
}

TEST_F(EngineShapingTest, LimitsAreRestoredAfterAReboot) {
  Metadata metadata;
  metadata.persistent = true;
  ASSERT_TRUE(engine_->CreateNamespace({.id = "blue", .metadata = metadata}).ok());
  ASSERT_TRUE(engine_->CreateVeth({.id = "v", .spec = LimitedTo("blue"), .metadata = metadata}).ok());
  kernel_.RebootForTest();
  // A try that fails, and one that is killed on the way, leave nothing that stays.
  kernel_.FailNextForTest("Shape", ENOMEM);
  EXPECT_EQ(Restart().Count(Finding::Kind::kNotRestored), 1);
  EXPECT_THAT(Ifbs(), IsEmpty());
  VethRecord attempt = *registry_->FindVeth("v");
  attempt.boot_id = kernel_.BootId();
  ASSERT_TRUE(registry_->Begin({.kind = Intent::Kind::kCreateVeth, .veth = attempt}).ok());
  auto left = kernel_.CreateVeth({.name = "h7"}, {.name = "h8"}, "");
  ASSERT_TRUE(kernel_
                  .Shape(kHost, left->first.ifindex,
                         {.egress = std::nullopt,
                          .ingress = ToBucket(kOut),
                          .ifb_name = ShaperName(attempt.uid, 'a'),
                          .alias = TagOf(registry_->id(), attempt.uid, "veths/v")})
                  .ok());
  ASSERT_TRUE(kernel_.DeleteLink(kHost, left->first.ifindex).ok());
  EXPECT_EQ(Restart().Count(Finding::Kind::kRestored), 1);
  EXPECT_THAT(Ifbs(), SizeIs(1));
  EXPECT_THAT(Deviations(), IsEmpty());
}

TEST_F(EngineShapingTest, AnEndAtAPlaceIsLimitedInTheHost) {
  const uint32_t pid = kernel_.StartProcessInNewNetnsForTest("sleep");
  const std::string before = kernel_.DumpForTest();
  VethSpec spec = LimitedTo("");
  spec.b.place = NetnsPlace{.path = "", .pid = pid};
  // And the host's in there.
  spec.a.config.egress_limit = kIn;
  auto made = CreateVeth("v", spec);
  ASSERT_TRUE(made.ok()) << made.error().message;
  EXPECT_THAT(Ifbs(), SizeIs(1));
  EXPECT_THAT(Deviations(), IsEmpty());
  ASSERT_TRUE(DeleteVeth("v").ok());
  EXPECT_EQ(kernel_.DumpForTest(), before);
  ASSERT_TRUE(CreateVeth("v", spec).ok());
  kernel_.EndProcessForTest(pid);
  EXPECT_EQ(engine_->GetVeth("v")->state, State::kMissing);
  ASSERT_TRUE(DeleteVeth("v").ok());
  EXPECT_THAT(Ifbs(), IsEmpty());
}

TEST_F(EngineShapingTest, ABucketOfSomebodyElseStaysWhereTheEndHasNoLimits) {
  const Veth veth = MakeLimited();
  kernel_.SetBucketForTest(Blue(), "eth0", ToBucket(kOut));
  auto theirs = [&] { return kernel_.FindShaping(Blue(), veth.b.ifindex)->egress; };
  auto limit = [this](const std::optional<RateLimit>& wanted) {
    return engine_->UpdateVeth({.context = {}, .id = "v", .edit = [wanted](Asked<VethSpec> asked) {
                                  asked.spec.b.config.ingress_limit = wanted;
                                  return netprov::Result<Asked<VethSpec>, std::vector<InvalidField>>(asked);
                                }});
  };
  ASSERT_TRUE(limit(kOut).ok());
  EXPECT_EQ(theirs(), ToBucket(kOut));
  // What an update leaves of it is undone, by itself or by the next process.
  kernel_.FailNextForTest("Shape", ENOMEM);
  EXPECT_REFUSED(limit(kIn), Reason::kKernel);
  EXPECT_EQ(theirs(), ToBucket(kOut));
  kernel_.FailNextForTest("Shape", ENOMEM);
  kernel_.FailNextForTest("Shape", ENOMEM);
  EXPECT_REFUSED(limit(kIn), Reason::kRollbackFailed);
  EXPECT_EQ(Restart().Count(Finding::Kind::kUnfinished), 0);
  EXPECT_EQ(theirs(), ToBucket(kOut));
  kernel_.SetBucketForTest(kHost, "h0", std::nullopt);
  Heal();
  EXPECT_EQ(theirs(), ToBucket(kOut));
  EXPECT_THAT(Deviations(), IsEmpty());
  // An end that loses its last limit has none.
  ASSERT_TRUE(limit(std::nullopt).ok());
  EXPECT_FALSE(kernel_.FindShaping(kHost, veth.a.ifindex)->egress.has_value());
  EXPECT_EQ(theirs(), ToBucket(kOut));
}

TEST_F(EngineShapingTest, ABucketOfSomebodyElseStaysWhereTheOtherDirectionIsLimited) {
  ASSERT_TRUE(CreateNamespace("blue").ok());
  VethSpec spec = HostTo("blue");
  spec.b.config.egress_limit = kOut;
  auto veth = CreateVeth("v", spec);
  ASSERT_TRUE(veth.ok());
  kernel_.SetBucketForTest(kHost, "h0", ToBucket(kIn));
  auto now = [&] { return *kernel_.FindShaping(kHost, veth->a.ifindex); };
  auto limit = [this](const std::optional<RateLimit>& wanted) {
    return engine_->UpdateVeth({.context = {}, .id = "v", .edit = [wanted](Asked<VethSpec> asked) {
                                  asked.spec.b.config.egress_limit = wanted;
                                  return netprov::Result<Asked<VethSpec>, std::vector<InvalidField>>(asked);
                                }});
  };
  ASSERT_TRUE(limit(kIn).ok());
  EXPECT_EQ(now().ingress, ToBucket(kIn));
  EXPECT_EQ(now().egress, ToBucket(kIn));
  ASSERT_TRUE(kernel_.DeleteLink(kHost, now().ifb_ifindex).ok());
  Heal();
  EXPECT_EQ(now().ingress, ToBucket(kIn));
  EXPECT_EQ(now().egress, ToBucket(kIn));
  ASSERT_TRUE(limit(std::nullopt).ok());
  EXPECT_EQ(now(), (Shaping{.egress = ToBucket(kIn), .ingress = std::nullopt}));
}

}  // namespace
}  // namespace netprov::engine
