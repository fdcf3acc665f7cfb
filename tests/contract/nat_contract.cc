// Address translation.
#include <cerrno>
#include <cstdint>
#include <optional>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/netlink/ip_address.h"
#include "server/netlink/nat.h"
#include "tests/contract/kernel_contract.h"

namespace netprov::testing {
namespace {

using engine::NetnsRef;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAreArray;

constexpr char kRegistry[] = "11111111-2222-4333-8444-555555555555";
constexpr char kOtherRegistry[] = "99999999-2222-4333-8444-555555555555";

netlink::NatElement Forward(const char* host_address, uint16_t host_port, const char* target, const char* tag) {
  netlink::PortForward forward{.protocol = netlink::TransportProtocol::kTcp,
                               .host_address = std::nullopt,
                               .host_port = host_port,
                               .target = Ip(target),
                               .target_port = 80};
  if (*host_address != '\0') forward.host_address = Ip(host_address);
  return {.rule = forward, .tag = tag};
}

// One of each kind, of both families.
std::vector<netlink::NatElement> NatOfAPair() {
  return {{.rule = netlink::Masquerade{.source = Ip("10.0.0.2"), .ifindex = 7}, .tag = "tag"},
          {.rule = netlink::Masquerade{.source = Ip("2001:db8::2"), .ifindex = 7}, .tag = "tag"},
          Forward("", 8080, "10.0.0.2", "tag"),
          Forward("192.0.2.1", 8080, "10.0.0.2", "tag"),
          Forward("", 8080, "2001:db8::2", "tag"),
          {.rule = netlink::Hairpin{.target = Ip("10.0.0.2"), .ifindex = 7}, .tag = "tag"}};
}

TEST_P(KernelContractTest, TranslatesInANamespaceAlone) {
  const NetnsRef blue = MakeNetns("blue");
  EXPECT_THAT(*kernel_.ListNat(blue, kRegistry), IsEmpty());
  EXPECT_EQ(CodeOf(kernel_.DeleteNat(blue, kRegistry, NatOfAPair())), 0) << "there is nothing to delete";
  EXPECT_EQ(CodeOf(kernel_.AddNat(blue, kRegistry, {})), 0);
  ASSERT_EQ(CodeOf(kernel_.AddNat(blue, kRegistry, NatOfAPair())), 0);
  EXPECT_THAT(*kernel_.ListNat(blue, kRegistry), UnorderedElementsAreArray(NatOfAPair()));
  EXPECT_THAT(*kernel_.ListNat(kHost, kRegistry), IsEmpty());
  EXPECT_EQ(CodeOf(kernel_.DeleteNat(blue, kRegistry, NatOfAPair())), 0);
  EXPECT_THAT(*kernel_.ListNat(blue, kRegistry), IsEmpty());
}

TEST_P(KernelContractTest, WhatIsTranslatedIsFoundByItsKey) {
  const NetnsRef blue = MakeNetns("blue");
  EXPECT_THAT(*kernel_.FindNat(blue, kRegistry, NatOfAPair()), IsEmpty()) << "there is no table";
  ASSERT_EQ(CodeOf(kernel_.AddNat(blue, kRegistry, NatOfAPair())), 0);
  // More than one question can hold.
  std::vector<netlink::NatElement> others;
  for (uint16_t port = 1; port <= 100; ++port) others.push_back(Forward("192.0.2.7", port, "10.0.0.7", "other"));
  ASSERT_EQ(CodeOf(kernel_.AddNat(blue, kRegistry, others)), 0);
  EXPECT_THAT(*kernel_.FindNat(blue, kRegistry, NatOfAPair()), UnorderedElementsAreArray(NatOfAPair()));
  EXPECT_THAT(*kernel_.FindNat(blue, kRegistry, others), UnorderedElementsAreArray(others));
  EXPECT_THAT(*kernel_.FindNat(blue, kOtherRegistry, NatOfAPair()), IsEmpty());
  EXPECT_THAT(*kernel_.FindNat(blue, kRegistry, {}), IsEmpty());
  // As it is there, whatever else is asked for; and what is not there is left out.
  const std::vector<netlink::NatElement> asked = {
      Forward("", 8080, "10.0.0.9", "mine"),
      Forward("", 8081, "10.0.0.2", "tag"),
      {.rule = netlink::Masquerade{.source = Ip("10.0.0.2"), .ifindex = 8}, .tag = "tag"}};
  EXPECT_THAT(*kernel_.FindNat(blue, kRegistry, asked), ElementsAre(Forward("", 8080, "10.0.0.2", "tag")));
  EXPECT_EQ(CodeOf(kernel_.FindNat({.name = "gone", .cookie = 1}, kRegistry, asked)), ENOENT);
  others.insert(others.end(), asked.begin(), asked.end());
  EXPECT_EQ(CodeOf(kernel_.DeleteNat(blue, kRegistry, others)), 0);
  EXPECT_THAT(*kernel_.ListNat(blue, kRegistry), UnorderedElementsAreArray(NatOfAPair()));
}

TEST_P(KernelContractTest, AForwardThatIsTakenIsSaidAndNothingOfTheOthersIsAdded) {
  ASSERT_EQ(CodeOf(kernel_.AddNat(kHost, kRegistry, {Forward("", 8080, "10.0.0.2", "first")})), 0);
  const auto second = kernel_.AddNat(
      kHost, kRegistry, {Forward("", 8081, "10.0.0.3", "second"), Forward("", 8080, "10.0.0.3", "second")});
  ASSERT_EQ(CodeOf(second), EEXIST);
  EXPECT_FALSE(second.error().may_have_effect);
  EXPECT_THAT(second.error().operation, HasSubstr("8080"));
  EXPECT_THAT(*kernel_.ListNat(kHost, kRegistry), ElementsAre(Forward("", 8080, "10.0.0.2", "first")));
  // Twice in one request.
  EXPECT_EQ(CodeOf(kernel_.AddNat(kHost, kRegistry,
                                  {Forward("", 9090, "10.0.0.3", "x"), Forward("", 9090, "10.0.0.3", "x")})),
            EEXIST);
  EXPECT_EQ(CodeOf(kernel_.AddNat(kHost, kRegistry, {Forward("", 0, "10.0.0.3", "x")})), EINVAL);
  EXPECT_EQ(CodeOf(kernel_.DeleteNat(kHost, kRegistry, {Forward("", 8080, "10.0.0.2", "first")})), 0);
}

TEST_P(KernelContractTest, AnElementWithAnotherTagIsNotDeleted) {
  const std::vector<netlink::NatElement> theirs = {Forward("", 8080, "10.0.0.2", "theirs")};
  ASSERT_EQ(CodeOf(kernel_.AddNat(kHost, kRegistry, theirs)), 0);
  EXPECT_EQ(CodeOf(kernel_.DeleteNat(kHost, kRegistry, {Forward("", 8080, "10.0.0.2", "ours")})), 0);
  EXPECT_EQ(CodeOf(kernel_.DeleteNat(kHost, kOtherRegistry, theirs)), 0);
  EXPECT_THAT(*kernel_.ListNat(kHost, kRegistry), ElementsAre(theirs[0]));
  EXPECT_EQ(CodeOf(kernel_.DeleteNat(kHost, kRegistry, theirs)), 0);
}

TEST_P(KernelContractTest, ATableIsOneRegistrysUntilItIsEmpty) {
  const std::vector<netlink::NatElement> element = {Forward("", 8080, "10.0.0.2", "tag")};
  ASSERT_EQ(CodeOf(kernel_.AddNat(kHost, kRegistry, element)), 0);
  EXPECT_EQ(CodeOf(kernel_.AddNat(kHost, kOtherRegistry, {Forward("", 9, "10.0.0.2", "tag")})), EBUSY);
  EXPECT_THAT(*kernel_.ListNat(kHost, kOtherRegistry), IsEmpty());
  EXPECT_THAT(*kernel_.ListNat(kHost, kRegistry), ElementsAre(element[0]));
  ASSERT_EQ(CodeOf(kernel_.DeleteNat(kHost, kRegistry, element)), 0);
  EXPECT_EQ(CodeOf(kernel_.AddNat(kHost, kOtherRegistry, element)), 0);
  EXPECT_EQ(CodeOf(kernel_.DeleteNat(kHost, kOtherRegistry, element)), 0);
}

TEST_P(KernelContractTest, ATableWhoseFirstElementIsRefusedIsNotLeft) {
  EXPECT_EQ(CodeOf(kernel_.AddNat(kHost, kRegistry, {Forward("", 0, "10.0.0.2", "tag")})), EINVAL);
  EXPECT_EQ(CodeOf(kernel_.AddNat(kHost, kOtherRegistry, {Forward("", 9, "10.0.0.2", "tag")})), 0);
  EXPECT_EQ(CodeOf(kernel_.DeleteNat(kHost, kOtherRegistry, {Forward("", 9, "10.0.0.2", "tag")})), 0);
}

TEST_P(KernelContractTest, NothingIsTranslatedWhereThereIsNoNamespace) {
  const NetnsRef blue = MakeNetns("blue");
  const NetnsRef replaced{.name = "blue", .cookie = blue.cookie + 1000};
  EXPECT_EQ(CodeOf(kernel_.AddNat({.name = "gone", .cookie = 1}, kRegistry, NatOfAPair())), ENOENT);
  EXPECT_EQ(CodeOf(kernel_.AddNat(replaced, kRegistry, NatOfAPair())), ESTALE);
  EXPECT_EQ(CodeOf(kernel_.DeleteNat(replaced, kRegistry, NatOfAPair())), ESTALE);
  EXPECT_EQ(CodeOf(kernel_.ListNat(replaced, kRegistry)), ESTALE);
}

}  // namespace
}  // namespace netprov::testing
