// Pairs, and what any link has.
#include <cerrno>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/netlink/mac_address.h"
#include "tests/contract/kernel_contract.h"

namespace netprov::testing {
namespace {

using engine::Link;
using engine::LinkSpec;
using engine::NetnsRef;
using netlink::MacAddress;

TEST_P(KernelContractTest, AUsersTextStandsBesideTheTag) {
  const NetnsRef netns = MakeNetns("blue");
  const std::string tag = "netprov:11111111-1111-4111-8111-111111111111:22222222-2222-4222-8222-222222222222:veths/v";
  engine::LinkSpec end{.netns = netns, .name = "eth0"};
  end.options.alias = "to the lab";
  auto made = kernel_.CreateVeth({.name = "h0"}, end, tag);
  ASSERT_TRUE(made.ok()) << made.error().ToString();
  EXPECT_EQ(made->first.options.alias, "");
  const Link link = **kernel_.FindLink(netns, std::string("eth0"));
  EXPECT_EQ(link, made->second);
  EXPECT_EQ(link.alias, tag);
  EXPECT_EQ(link.options.alias, "to the lab");
  ASSERT_EQ(CodeOf(kernel_.SetLink(netns, link.ifindex, {.alias = tag + " elsewhere"})), 0);
  EXPECT_EQ((**kernel_.FindLink(netns, link.ifindex)).options.alias, "elsewhere");
  ASSERT_EQ(CodeOf(kernel_.SetLink(netns, link.ifindex, {.alias = "of somebody"})), 0);
  EXPECT_EQ((**kernel_.FindLink(netns, link.ifindex)).alias, "of somebody");
  // That of a namespace may have a space, and there is nothing beside it.
  const std::string of_namespace = tag.substr(0, tag.size() - 7) + "adopted/my own";
  ASSERT_EQ(CodeOf(kernel_.SetLink(netns, engine::kLoopbackIndex, {.alias = of_namespace})), 0);
  EXPECT_EQ((*kernel_.FindNetns("blue"))->loopback_alias, of_namespace);
}

TEST_P(KernelContractTest, AnnouncementsAreOfALinkThatIsThere) {
  const NetnsRef netns = MakeNetns("blue");
  auto made = kernel_.CreateVeth({.name = "h.0"}, {.netns = netns, .name = "eth0"}, "tag");
  ASSERT_TRUE(made.ok()) << made.error().ToString();
  EXPECT_EQ(CodeOf(kernel_.Announce(netns, made->second.ifindex)), 0);
  EXPECT_EQ(CodeOf(kernel_.Announce(kHost, made->first.ifindex)), 0);
  EXPECT_EQ(**kernel_.FindLink(netns, made->second.ifindex), made->second) << "nothing else changes";
  EXPECT_EQ(CodeOf(kernel_.Announce(netns, 4711)), ENODEV);
  EXPECT_EQ(CodeOf(kernel_.Announce({.name = "none", .cookie = 1}, 1)), ENOENT);
}

TEST_P(KernelContractTest, MakesAPairBetweenTheHostAndANamespace) {
  const NetnsRef netns = MakeNetns("blue");
  auto made = kernel_.CreateVeth({.name = "h0", .mac = MacAddress::Parse("02:00:00:00:00:01"), .mtu = 1400},
                                 {.netns = netns, .name = "eth0", .up = false}, "tag");
  ASSERT_TRUE(made.ok()) << made.error().ToString();
  const auto& [a, b] = *made;
  EXPECT_EQ(a.name, "h0");
  EXPECT_EQ(a.mac, *MacAddress::Parse("02:00:00:00:00:01"));
  EXPECT_EQ(a.mtu, 1400u);
  EXPECT_TRUE(a.up);
  EXPECT_EQ(b.name, "eth0");
  EXPECT_TRUE(b.mac.IsUnicast());
  EXPECT_FALSE(b.mac.IsZero());
  EXPECT_EQ(b.mtu, 1500u);
  EXPECT_FALSE(b.up);
  EXPECT_FALSE((**kernel_.FindLink(netns, std::string("eth0"))).up);
  for (const Link& link : {a, b}) {
    EXPECT_EQ(link.kind, "veth");
    EXPECT_EQ(link.group, engine::kOwnedGroup);
    EXPECT_EQ(link.alias, "tag");
  }
  EXPECT_EQ(a.peer_ifindex, b.ifindex);
  EXPECT_EQ(b.peer_ifindex, a.ifindex);

  EXPECT_EQ(**kernel_.FindLink(kHost, std::string("h0")), a);
  EXPECT_EQ(**kernel_.FindLink(kHost, a.ifindex), a);
  EXPECT_EQ(**kernel_.FindLink(netns, std::string("eth0")), b);
  EXPECT_EQ(**kernel_.FindLink(netns, b.ifindex), b);
  EXPECT_EQ(*kernel_.FindLink(kHost, std::string("eth0")), std::nullopt);
  EXPECT_EQ(*kernel_.FindLink(kHost, uint32_t{9999}), std::nullopt);
}

TEST_P(KernelContractTest, MakesAPairInEveryCombinationOfPlaces) {
  const NetnsRef blue = MakeNetns("blue");
  const NetnsRef green = MakeNetns("green");
  int number = 0;
  for (const auto& [place_a, place_b] : {std::pair(kHost, kHost), std::pair(kHost, blue), std::pair(blue, kHost),
                                         std::pair(blue, green), std::pair(green, green)}) {
    const LinkSpec a{.netns = place_a, .name = absl::StrCat("a", number)};
    const LinkSpec b{.netns = place_b, .name = absl::StrCat("b", number)};
    ++number;
    auto made = kernel_.CreateVeth(a, b, "tag");
    ASSERT_TRUE(made.ok()) << made.error().ToString();
    EXPECT_EQ(**kernel_.FindLink(place_a, a.name), made->first);
    EXPECT_EQ(**kernel_.FindLink(place_b, b.name), made->second);
    EXPECT_EQ(made->first.peer_ifindex, made->second.ifindex);
    EXPECT_EQ(made->second.peer_ifindex, made->first.ifindex);
    EXPECT_TRUE(made->first.up && made->second.up);
  }
}

TEST_P(KernelContractTest, ANameInAnotherNamespaceIsNotTaken) {
  const NetnsRef blue = MakeNetns("blue");
  const NetnsRef green = MakeNetns("green");
  ASSERT_EQ(CodeOf(kernel_.CreateVeth({.name = "same"}, {.netns = blue, .name = "same"}, "")), 0);
  EXPECT_EQ(CodeOf(kernel_.CreateVeth({.netns = green, .name = "same"}, {.name = "other"}, "")), 0)
      << "the host has that name, but the link is not born there";
}

TEST_P(KernelContractTest, ATakenNameOfEitherEndLeavesNothing) {
  const NetnsRef blue = MakeNetns("blue");
  ASSERT_EQ(CodeOf(kernel_.CreateVeth({.name = "h0"}, {.netns = blue, .name = "n0"}, "")), 0);
  EXPECT_EQ(CodeOf(kernel_.CreateVeth({.name = "h0"}, {.netns = blue, .name = "n1"}, "")), EEXIST);
  EXPECT_EQ(CodeOf(kernel_.CreateVeth({.name = "h1"}, {.netns = blue, .name = "n0"}, "")), EEXIST);
  EXPECT_EQ(CodeOf(kernel_.CreateVeth({.name = "h2"}, {.name = "h2"}, "")), EEXIST);
  EXPECT_EQ((**kernel_.FindLink(kHost, std::string("h0"))).alias, "") << "the link that was there is untouched";
  for (const char* name : {"h1", "h2"}) EXPECT_EQ(*kernel_.FindLink(kHost, std::string(name)), std::nullopt);
  EXPECT_EQ(*kernel_.FindLink(blue, std::string("n1")), std::nullopt);
}

TEST_P(KernelContractTest, BadAttributesLeaveNothing) {
  const MacAddress multicast = *MacAddress::Parse("01:00:5e:00:00:01");
  EXPECT_EQ(CodeOf(kernel_.CreateVeth({.name = "h0"}, {.name = "p0", .mac = multicast}, "")), EADDRNOTAVAIL);
  EXPECT_EQ(CodeOf(kernel_.CreateVeth({.name = "h0", .mac = multicast}, {.name = "p0"}, "")), EADDRNOTAVAIL);
  EXPECT_EQ(CodeOf(kernel_.CreateVeth({.name = "h0", .mtu = 67}, {.name = "p0"}, "")), EINVAL);
  EXPECT_EQ(CodeOf(kernel_.CreateVeth({.name = "h0"}, {.name = "p0", .mtu = 65536}, "")), EINVAL);
  EXPECT_EQ(CodeOf(kernel_.CreateVeth({.name = "a/b"}, {.name = "p0"}, "")), EINVAL);
  EXPECT_EQ(CodeOf(kernel_.CreateVeth({.name = "h0"}, {.name = "a b"}, "")), EINVAL);
  EXPECT_EQ(CodeOf(kernel_.CreateVeth({.name = "sixteen-letters."}, {.name = "p0"}, "")), ERANGE);
  for (const char* name : {"h0", "p0"}) EXPECT_EQ(*kernel_.FindLink(kHost, std::string(name)), std::nullopt);
}

TEST_P(KernelContractTest, TheLimitsOfTheMtuAreTaken) {
  auto made = kernel_.CreateVeth({.name = "h0", .mtu = 68}, {.name = "p0", .mtu = 65535}, "");
  ASSERT_TRUE(made.ok()) << made.error().ToString();
  EXPECT_EQ(made->first.mtu, 68u);
  EXPECT_EQ(made->second.mtu, 65535u);
}

TEST_P(KernelContractTest, ANamespaceThatIsGoneOrReplacedIsNotUsed) {
  const NetnsRef blue = MakeNetns("blue");
  world_->RemoveForeignNetns("blue");
  const LinkSpec inside{.netns = blue, .name = "n0"};
  auto expect_all_fail_with = [&](int code) {
    EXPECT_EQ(CodeOf(kernel_.CreateVeth({.name = "h0"}, inside, "")), code);
    EXPECT_EQ(CodeOf(kernel_.CreateVeth(inside, {.name = "h0"}, "")), code);
    EXPECT_EQ(CodeOf(kernel_.DeleteLinksInside(blue)), code);
    EXPECT_EQ(CodeOf(kernel_.DeleteLink(blue, 1)), code);
    EXPECT_EQ(CodeOf(kernel_.FindLink(blue, std::string("lo"))), code);
    EXPECT_EQ(CodeOf(kernel_.ListLinks(blue)), code);
    EXPECT_EQ(CodeOf(kernel_.FreeLinkName(blue, "veth%d", {})), code);
    EXPECT_EQ(*kernel_.FindLink(kHost, std::string("h0")), std::nullopt);
  };
  expect_all_fail_with(ENOENT);
  world_->AddForeignNetns("blue");
  expect_all_fail_with(ESTALE);
  world_->RemoveForeignNetns("blue");
  world_->AddStaleFile("blue", /*empty=*/true);
  expect_all_fail_with(ESTALE);
}

TEST_P(KernelContractTest, DeletingOneEndDeletesTheOther) {
  const NetnsRef blue = MakeNetns("blue");
  for (bool by_a : {true, false}) {
    auto made = kernel_.CreateVeth({.name = "h0"}, {.netns = blue, .name = "n0"}, "");
    ASSERT_TRUE(made.ok());
    EXPECT_EQ(
        CodeOf(by_a ? kernel_.DeleteLink(kHost, made->first.ifindex) : kernel_.DeleteLink(blue, made->second.ifindex)),
        0);
    EXPECT_EQ(*kernel_.FindLink(kHost, std::string("h0")), std::nullopt);
    EXPECT_EQ(*kernel_.FindLink(blue, std::string("n0")), std::nullopt);
    EXPECT_EQ(CodeOf(kernel_.DeleteLink(kHost, made->first.ifindex)), ENODEV);
  }
}

TEST_P(KernelContractTest, TheLoopbackLinkCannotBeDeleted) {
  EXPECT_EQ(CodeOf(kernel_.DeleteLink(MakeNetns("blue"), 1)), EOPNOTSUPP);
}

TEST_P(KernelContractTest, DeletesEveryPairThatEndsInside) {
  const NetnsRef blue = MakeNetns("blue");
  const NetnsRef green = MakeNetns("green");
  EXPECT_EQ(CodeOf(kernel_.DeleteLinksInside(blue)), 0) << "none";
  // More than one batch of netlink requests.
  for (int i = 0; i < 150; ++i) {
    ASSERT_EQ(
        CodeOf(kernel_.CreateVeth({.name = absl::StrCat("h", i)}, {.netns = blue, .name = absl::StrCat("n", i)}, "")),
        0);
  }
  ASSERT_EQ(CodeOf(kernel_.CreateVeth({.netns = green, .name = "g0"}, {.netns = blue, .name = "g0"}, "")), 0);
  ASSERT_EQ(CodeOf(kernel_.CreateVeth({.netns = blue, .name = "self0"}, {.netns = blue, .name = "self1"}, "")), 0);
  ASSERT_EQ(CodeOf(kernel_.CreateVeth({.name = "kept0"}, {.netns = green, .name = "kept1"}, "")), 0);

  ASSERT_EQ(CodeOf(kernel_.DeleteLinksInside(blue)), 0);
  EXPECT_THAT(*kernel_.ListLinks(blue), ::testing::SizeIs(1));
  EXPECT_THAT(*kernel_.ListLinks(green), ::testing::SizeIs(2)) << "lo and kept1";
  for (int i = 0; i < 150; ++i) {
    EXPECT_EQ(*kernel_.FindLink(kHost, absl::StrCat("h", i)), std::nullopt);
  }
  EXPECT_TRUE((*kernel_.FindLink(kHost, std::string("kept0"))).has_value());
}

TEST_P(KernelContractTest, ChoosesTheLowestFreeNumber) {
  const NetnsRef blue = MakeNetns("blue");
  EXPECT_EQ(*kernel_.FreeLinkName(blue, "eth%d", {}), "eth0");
  ASSERT_EQ(CodeOf(kernel_.CreateVeth({.netns = blue, .name = "eth0"}, {.netns = blue, .name = "eth2"}, "")), 0);
  EXPECT_EQ(*kernel_.FreeLinkName(blue, "eth%d", {}), "eth1");
  EXPECT_EQ(*kernel_.FreeLinkName(blue, "eth%d", {"eth1", "eth3"}), "eth4");
  EXPECT_EQ(*kernel_.FreeLinkName(blue, "%dx", {}), "0x");
  EXPECT_EQ(CodeOf(kernel_.FreeLinkName(blue, "abcdefghijklmno%d", {})), ENFILE);
}

TEST_P(KernelContractTest, SetsOfALinkWhatIsAskedFor) {
  const NetnsRef blue = MakeNetns("blue");
  auto made = kernel_.CreateVeth({.name = "h0"}, {.netns = blue, .name = "eth0"}, "tag");
  ASSERT_TRUE(made.ok()) << made.error().ToString();
  const uint32_t ifindex = made->second.ifindex;
  ASSERT_EQ(CodeOf(kernel_.SetLink(blue, ifindex, {})), 0);
  EXPECT_EQ(**kernel_.FindLink(blue, ifindex), made->second) << "nothing";

  const MacAddress mac{{2, 0, 0, 0, 0, 7}};
  ASSERT_EQ(CodeOf(kernel_.SetLink(
                blue, ifindex, {.name = "eth7", .mac = mac, .mtu = 1400, .group = 7, .alias = "other", .up = false})),
            0);
  const Link changed = **kernel_.FindLink(blue, ifindex);
  EXPECT_EQ(changed.name, "eth7");
  EXPECT_EQ(changed.mac, mac);
  EXPECT_EQ(changed.mtu, 1400u);
  EXPECT_EQ(changed.group, 7u);
  EXPECT_EQ(changed.alias, "other");
  EXPECT_FALSE(changed.up);
  // Also the name of a link that is up.
  ASSERT_EQ(CodeOf(kernel_.SetLink(blue, ifindex, {.up = true})), 0);
  ASSERT_EQ(CodeOf(kernel_.SetLink(blue, ifindex, {.name = "eth8"})), 0);
  EXPECT_EQ((**kernel_.FindLink(blue, ifindex)).name, "eth8");
  EXPECT_TRUE((**kernel_.FindLink(blue, ifindex)).up);

  EXPECT_EQ(CodeOf(kernel_.SetLink(blue, ifindex, {.name = "lo"})), EEXIST);
  EXPECT_EQ(CodeOf(kernel_.SetLink(blue, 4711, {.up = true})), ENODEV);
  EXPECT_EQ(CodeOf(kernel_.SetLink({.name = "none", .cookie = 1}, 1, {.up = true})), ENOENT);
  ASSERT_EQ(CodeOf(kernel_.SetLink(blue, engine::kLoopbackIndex, {.alias = "tag", .up = false})), 0);
  EXPECT_FALSE((*kernel_.FindNetns("blue"))->loopback_up);
  EXPECT_EQ((*kernel_.FindNetns("blue"))->loopback_alias, "tag");
  ASSERT_EQ(CodeOf(kernel_.SetLink(blue, engine::kLoopbackIndex, {.alias = ""})), 0);
  EXPECT_EQ((*kernel_.FindNetns("blue"))->loopback_alias, "") << "taken away";
}

TEST_P(KernelContractTest, OptionsAreThereFromBirthAndCanBeSetAgain) {
  LinkSpec spec{.netns = kHost, .name = "c0"};
  spec.options = {.tx_queues = 2, .rx_queues = 3, .promiscuous = true, .all_multicast = true};
  spec.options.limits = {.gso_max_size = 20000,
                         .gso_max_segments = 100,
                         .gro_max_size = 30000,
                         .gso_ipv4_max_size = 20000,
                         .gro_ipv4_max_size = 30000};
  auto made = kernel_.CreateVeth(spec, {.netns = kHost, .name = "c1"}, "tag");
  ASSERT_TRUE(made.ok()) << made.error().ToString();
  EXPECT_EQ((*kernel_.FindLink(kHost, "c0"))->options, spec.options);
  const engine::LinkOptions usual = (*kernel_.FindLink(kHost, "c1"))->options;
  EXPECT_EQ(usual.tx_queues, 1u);
  EXPECT_EQ(usual.rx_queues, 1u);
  EXPECT_FALSE(usual.promiscuous || usual.all_multicast);
  engine::LinkSettings settings;
  settings.promiscuous = settings.all_multicast = true;
  settings.limits = spec.options.limits;
  ASSERT_EQ(CodeOf(kernel_.SetLink(kHost, made->second.ifindex, settings)), 0);
  engine::LinkOptions expected = spec.options;
  expected.tx_queues = expected.rx_queues = 1;
  EXPECT_EQ((*kernel_.FindLink(kHost, "c1"))->options, expected);
}

}  // namespace
}  // namespace netprov::testing
