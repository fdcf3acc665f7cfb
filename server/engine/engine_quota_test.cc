// How much a caller may make, and whose what is made counts for.
#include <atomic>
#include <cerrno>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/engine/engine.h"
#include "server/engine/engine_fixture.h"
#include "server/netlink/ip_address.h"
#include "server/netlink/link_info.h"

namespace netprov::engine {
namespace {

CallContext By(const std::string& caller, const Quota& own = {}, const Quota& total = {}) {
  return {.caller = caller, .allowance = {.own = own, .total = total}};
}

AddressSpec Address(const std::string& address) { return {.local = *netlink::IpPrefix::Parse(address)}; }

class EngineQuotaTest : public EngineTest {
 protected:
  // Adds an address to endpoint b of a pair.
  EngineResult<Veth> AddAddress(const std::string& id, const std::string& address, CallContext context) {
    return engine_->UpdateVeth({.context = std::move(context), .id = id, .edit = [address](const auto& present) {
                                  Asked<VethSpec> asked = present;
                                  asked.spec.b.config.ip.addresses.push_back(Address(address));
                                  return asked;
                                }});
  }
  EngineResult<Device> CreateDummy(const std::string& id, CallContext context) {
    return engine_->CreateDevice({.context = std::move(context),
                                  .name = DeviceName(id),
                                  .spec = {.link = {.interface_name = id}, .options = netlink::DummyInfo{}}});
  }
};

TEST_F(EngineQuotaTest, WhatWouldBeTooMuchIsNotMade) {
  const Quota two{.namespaces = 2};
  EXPECT_TRUE(CreateNamespace("a", By("alice", two)).ok());
  EXPECT_TRUE(CreateNamespace("b", By("alice", two)).ok());
  const auto refused = CreateNamespace("c", By("alice", two));
  EXPECT_REFUSED(refused, Reason::kQuotaExceeded);
  const QuotaExcess& excess = *refused.error().excess;
  EXPECT_EQ(excess.quota, "namespaces");
  EXPECT_EQ(excess.whose, "alice");
  EXPECT_EQ(excess.limit, 2);
  EXPECT_EQ(excess.usage, 2);
  EXPECT_EQ(excess.added, 1);
  EXPECT_EQ(refused.error().message,
            "there may be at most 2 namespaces at a time: 2 are there, and the call would add 1, counted for alice");
  EXPECT_FALSE(kernel_.FindNetns("c")->has_value());
  EXPECT_TRUE(registry_->ListPending().empty());
  // Another's are another's, and what is deleted makes room.
  EXPECT_TRUE(CreateNamespace("c", By("bob", two)).ok());
  EXPECT_TRUE(DeleteNamespace("a", By("bob", two)).ok());
  EXPECT_TRUE(CreateNamespace("d", By("alice", two)).ok());
  EXPECT_EQ(engine_->UsedBy("alice"), (Usage{.namespaces = 2}));
  EXPECT_EQ(engine_->UsedBy("bob"), (Usage{.namespaces = 1}));
}

TEST_F(EngineQuotaTest, ZeroIsNone) {
  EXPECT_REFUSED(CreateNamespace("a", By("alice", {.namespaces = 0})), Reason::kQuotaExceeded);
  EXPECT_TRUE(CreateNamespace("a", By("alice", {.links = 0})).ok());
  EXPECT_REFUSED(CreateVeth("v", HostTo("a"), By("alice", {.links = 0})), Reason::kQuotaExceeded);
  EXPECT_REFUSED(CreateDummy("d", By("alice", {.links = 0})), Reason::kQuotaExceeded);
}

TEST_F(EngineQuotaTest, ValidateOnlyTellsAndTakesNothing) {
  CallContext context = By("alice", {.namespaces = 1, .links = 2});
  context.validate_only = true;
  EXPECT_TRUE(CreateNamespace("a", context).ok());
  EXPECT_EQ(engine_->UsedBy("alice"), Usage());
  ASSERT_TRUE(CreateNamespace("a", By("alice")).ok());
  EXPECT_REFUSED(CreateNamespace("b", context), Reason::kQuotaExceeded);
  kernel_.AddForeignNetnsForTest("foreign");
  EXPECT_REFUSED(engine_->AdoptNamespace({.context = context, .id = "foreign"}), Reason::kQuotaExceeded);
  EXPECT_TRUE(CreateVeth("v", HostTo("a"), context).ok());
  ASSERT_TRUE(CreateVeth("v", HostTo("a"), By("alice")).ok());
  EXPECT_REFUSED(CreateDummy("d", context), Reason::kQuotaExceeded);
  VethSpec other = HostTo("a");
  other.a.interface_name = "h1";
  other.b.interface_name = "eth1";
  EXPECT_REFUSED(CreateVeth("w", other, context), Reason::kQuotaExceeded);
  context.allowance.own.addresses = 0;
  EXPECT_REFUSED(AddAddress("v", "10.0.0.2/24", context), Reason::kQuotaExceeded);
  EXPECT_EQ(engine_->UsedBy("alice"), (Usage{.namespaces = 1, .links = 2}));
}

TEST_F(EngineQuotaTest, NamespacesThatComeWithAPairCount) {
  const VethSpec spec = HostTo("blue");
  CreateVethCall call{.context = By("alice", {.namespaces = 0}), .id = "v", .spec = spec, .create_namespaces = true};
  EXPECT_REFUSED(engine_->CreateVeth(call), Reason::kQuotaExceeded);
  EXPECT_FALSE(kernel_.FindNetns("blue")->has_value());
  call.context = By("alice", {.namespaces = 1, .links = 2});
  ASSERT_TRUE(engine_->CreateVeth(call).ok());
  EXPECT_EQ(engine_->UsedBy("alice"), (Usage{.namespaces = 1, .links = 2}));
  EXPECT_EQ(engine_->GetNamespace("blue")->creator, "alice");
  EXPECT_EQ(engine_->GetVeth("v")->creator, "alice");
  // It takes the pair along.
  ASSERT_TRUE(DeleteNamespace("blue").ok());
  EXPECT_EQ(engine_->UsedBy("alice"), Usage());
}

TEST_F(EngineQuotaTest, WhatAnUpdateAddsCountsForWhoMadeTheObject) {
  ASSERT_TRUE(CreateNamespace("blue", By("alice")).ok());
  ASSERT_TRUE(CreateVeth("v", HostTo("blue"), By("alice")).ok());
  const Quota one{.addresses = 1};
  ASSERT_TRUE(AddAddress("v", "10.0.0.2/24", By("bob", one)).ok());
  EXPECT_EQ(engine_->UsedBy("alice"), (Usage{.namespaces = 1, .links = 2, .addresses = 1}));
  EXPECT_EQ(engine_->UsedBy("bob"), Usage());
  const auto refused = AddAddress("v", "10.0.0.3/24", By("bob", one));
  EXPECT_REFUSED(refused, Reason::kQuotaExceeded);
  EXPECT_EQ(refused.error().excess->whose, "alice");
  EXPECT_EQ(engine_->GetVeth("v")->state, State::kReady);
  EXPECT_EQ(engine_->GetVeth("v")->b.config.ip.addresses.size(), 1u);
  EXPECT_EQ(engine_->GetVeth("v")->creator, "alice");
  // Who has too much already may still change what adds nothing, and take away.
  auto update = [&](const Edit<VethSpec>& edit) {
    return engine_->UpdateVeth({.context = By("alice", {.links = 0, .addresses = 0}), .id = "v", .edit = edit});
  };
  EXPECT_TRUE(update([](const auto& present) {
                Asked<VethSpec> asked = present;
                asked.spec.a.mtu = 1400;
                return asked;
              }).ok());
  EXPECT_TRUE(update([](const auto& present) {
                Asked<VethSpec> asked = present;
                asked.spec.b.config.ip.addresses.clear();
                return asked;
              }).ok());
  EXPECT_EQ(engine_->UsedBy("alice"), (Usage{.namespaces = 1, .links = 2}));
}

// Somebody took an address away: an update of something else leaves that so, but it is asked for all the same.
TEST_F(EngineQuotaTest, WhatSomebodyTookAwayCountsAllTheSame) {
  ASSERT_TRUE(CreateNamespace("blue", By("alice")).ok());
  VethSpec spec = HostTo("blue");
  spec.b.config.ip.addresses = {Address("10.0.0.2/24")};
  const auto made = CreateVeth("v", spec, By("alice"));
  ASSERT_TRUE(made.ok());
  const NetnsRef blue{.name = "blue", .cookie = engine_->GetNamespace("blue")->cookie};
  ASSERT_TRUE(kernel_.Unconfigure(blue, made->b.ifindex, {}, spec.b.config.ip).ok());
  EXPECT_REFUSED(AddAddress("v", "10.1.0.2/24", By("alice", {.addresses = 1})), Reason::kQuotaExceeded);
  EXPECT_TRUE(AddAddress("v", "10.1.0.2/24", By("alice", {.addresses = 2})).ok());
  EXPECT_EQ(engine_->UsedBy("alice").addresses, 2);
}

TEST_F(EngineQuotaTest, WhatTakesTheMissingOnesPlaceCountsOnce) {
  ASSERT_TRUE(CreateNamespace("blue", By("alice")).ok());
  ASSERT_TRUE(CreateVeth("v", HostTo("blue"), By("alice")).ok());
  ASSERT_TRUE(CreateDummy("d", By("alice")).ok());
  kernel_.RebootForTest();
  Restart();
  ASSERT_EQ(engine_->GetVeth("v")->state, State::kMissing);
  const Usage all{.namespaces = 1, .links = 3};
  EXPECT_EQ(engine_->UsedBy("alice"), all);
  const Quota full{.namespaces = 1, .links = 3};
  EXPECT_TRUE(CreateDummy("d", By("alice", full)).ok());
  // Another's would be one more of the other's, also while the first's is there.
  EXPECT_REFUSED(CreateNamespace("blue", By("bob", {.namespaces = 0})), Reason::kQuotaExceeded);
  // The pair goes with its namespace.
  EXPECT_TRUE(CreateNamespace("blue", By("alice", full)).ok());
  EXPECT_TRUE(CreateVeth("v", HostTo("blue"), By("alice", full)).ok());
  EXPECT_EQ(engine_->UsedBy("alice"), all);
  kernel_.RebootForTest();
  Restart();
  EXPECT_TRUE(CreateNamespace("blue", By("bob", full, {.namespaces = 1})).ok()) << "of all there is one still";
  EXPECT_EQ(engine_->UsedBy("bob"), (Usage{.namespaces = 1}));
  EXPECT_EQ(engine_->UsedBy("alice"), (Usage{.links = 1}));
}

TEST_F(EngineQuotaTest, HealingIsNeverTooMuch) {
  CreateVethCall call{.context = By("alice"),
                      .id = "v",
                      .spec = HostTo("blue"),
                      .metadata = {.persistent = true, .self_heal = true},
                      .create_namespaces = true};
  ASSERT_TRUE(engine_->CreateVeth(call).ok());
  const Usage used = engine_->UsedBy("alice");
  kernel_.RebootForTest();
  EXPECT_EQ(Restart().Count(Finding::Kind::kRestored), 2);
  EXPECT_EQ(engine_->UsedBy("alice"), used);
  EXPECT_EQ(engine_->GetVeth("v")->creator, "alice");
}

TEST_F(EngineQuotaTest, AdoptionCountsUntilTheRelease) {
  kernel_.AddForeignNetnsForTest("a");
  kernel_.AddForeignNetnsForTest("b");
  const Quota one{.namespaces = 1};
  ASSERT_TRUE(engine_->AdoptNamespace({.context = By("alice", one), .id = "a"}).ok());
  EXPECT_REFUSED(engine_->AdoptNamespace({.context = By("alice", one), .id = "b"}), Reason::kQuotaExceeded);
  EXPECT_EQ(kernel_.FindNetns("b")->value().loopback_alias, "");
  ASSERT_TRUE(engine_->ReleaseNamespace({.context = By("bob"), .id = "a"}).ok());
  EXPECT_TRUE(engine_->AdoptNamespace({.context = By("alice", one), .id = "b"}).ok());
}

TEST_F(EngineQuotaTest, AllTogetherMayHaveAMost) {
  const Quota total{.namespaces = 2};
  ASSERT_TRUE(CreateNamespace("a", By("alice", {}, total)).ok());
  ASSERT_TRUE(CreateNamespace("b").ok()) << "also what is nobody's counts";
  const auto refused = CreateNamespace("c", By("bob", {.namespaces = 5}, total));
  EXPECT_REFUSED(refused, Reason::kQuotaExceeded);
  EXPECT_EQ(refused.error().excess->quota, "total.namespaces");
  EXPECT_EQ(refused.error().excess->whose, "");
  // Whoever has no such limit goes on.
  EXPECT_TRUE(CreateNamespace("c").ok());
}

TEST_F(EngineQuotaTest, AnAnsweredRequestIsAnsweredAgainThoughNothingIsLeft) {
  CallContext context = By("alice", {.namespaces = 1});
  context.request_id = "r1";
  context.fingerprint = "f";
  ASSERT_TRUE(CreateNamespace("a", context).ok());
  EXPECT_EQ(CreateNamespace("a", context)->creator, "alice");
  Restart();
  EXPECT_EQ(CreateNamespace("a", context)->creator, "alice") << "from the disk";
  // A refusal is not remembered.
  CallContext later = By("alice", {.namespaces = 1});
  later.request_id = "r2";
  later.fingerprint = "g";
  EXPECT_REFUSED(CreateNamespace("b", later), Reason::kQuotaExceeded);
  ASSERT_TRUE(DeleteNamespace("a").ok());
  EXPECT_TRUE(CreateNamespace("b", later).ok());
}

TEST_F(EngineQuotaTest, WhatCannotBeUndoneCountsUntilItIs) {
  kernel_.SetFaultForTest([](const std::string& name) -> std::optional<KernelError> {
    if (name != "Configure" && name != "DeleteLink") return std::nullopt;
    return KernelError{.code = EIO, .operation = name, .extack = {}};
  });
  VethSpec spec = HostTo("");
  spec.b.interface_name = "h1";
  spec.b.config.ip.addresses = {Address("10.0.0.2/24")};
  EXPECT_REFUSED(CreateVeth("v", spec, By("alice")), Reason::kRollbackFailed);
  const Usage left{.links = 2, .addresses = 1};
  EXPECT_EQ(engine_->UsedBy("alice"), left);
  Restart();
  EXPECT_EQ(engine_->UsedBy("alice"), left) << "recovery could not either";
  kernel_.SetFaultForTest(nullptr);
  Restart();
  EXPECT_EQ(engine_->UsedBy("alice"), Usage());
}

// As two calls do that share no key: each finds what is left of one, and only one gets it.
TEST_F(EngineQuotaTest, TheLastPlaceIsTakenOnce) {
  constexpr int kThreads = 4;
  constexpr int kEach = 25;
  static constexpr int kMost = 30;
  std::atomic<int> made = 0;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([this, thread, &made] {
      for (int i = 0; i < kEach; ++i) {
        const auto netns = CreateNamespace(absl::StrCat("n", thread, "-", i), By("alice", {.namespaces = kMost}));
        if (netns.ok()) {
          ++made;
        } else {
          EXPECT_EQ(netns.error().reason, Reason::kQuotaExceeded) << netns.error().message;
        }
        EXPECT_LE(engine_->UsedBy("alice").namespaces, kMost);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(made, kMost);
  EXPECT_EQ(engine_->UsedBy("alice").namespaces, kMost);
  EXPECT_EQ(registry_->ListNamespaces().size(), static_cast<size_t>(kMost));
}

}  // namespace
}  // namespace netprov::engine
