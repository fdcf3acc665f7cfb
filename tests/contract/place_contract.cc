// Namespaces at a path or of a process, and news of what changes.
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/contract/kernel_contract.h"

namespace netprov::testing {
namespace {

using engine::NetnsPlace;
using engine::NetnsRef;
using ::testing::HasSubstr;

TEST_P(KernelContractTest, AWatchTellsOfLinksAndNames) {
  using engine::Hint;
  const NetnsRef blue = MakeNetns("blue");
  auto made = kernel_.CreateVeth({.name = "h0"}, {.netns = blue, .name = "eth0"}, "");
  ASSERT_TRUE(made.ok()) << made.error().ToString();
  auto opened = kernel_.Watch();
  ASSERT_TRUE(opened.ok()) << opened.error().ToString();
  engine::KernelWatch& watch = **opened;
  // Waits until the hint comes; others may come before.
  auto tells = [&watch](const Hint& expected) {
    for (int i = 0; i < 100; ++i) {
      for (const Hint& hint : watch.Wait(std::chrono::milliseconds(100))) {
        if (hint == expected) return true;
      }
    }
    return false;
  };
  const Hint host_end{.kind = Hint::Kind::kLink, .netns = {}, .ifindex = made->first.ifindex};
  const Hint inner_end{.kind = Hint::Kind::kLink, .netns = blue, .ifindex = made->second.ifindex};

  EXPECT_EQ(CodeOf(watch.Track({.name = "none", .cookie = 1})), ENOENT);
  EXPECT_EQ(CodeOf(watch.Track({.name = "blue", .cookie = blue.cookie + 1000})), ESTALE);
  ASSERT_EQ(CodeOf(watch.Track(blue)), 0);
  ASSERT_EQ(CodeOf(watch.Track(blue)), 0) << "once more";
  ASSERT_EQ(CodeOf(kernel_.SetLink({}, made->first.ifindex, {.mtu = 1400})), 0);
  EXPECT_TRUE(tells(host_end));
  ASSERT_EQ(CodeOf(kernel_.SetLink(blue, made->second.ifindex, {.mtu = 1400})), 0);
  EXPECT_TRUE(tells(inner_end));
  ASSERT_EQ(CodeOf(kernel_.SetLink(blue, engine::kLoopbackIndex, {.up = false})), 0);
  EXPECT_TRUE(tells({.kind = Hint::Kind::kLink, .netns = blue, .ifindex = engine::kLoopbackIndex}));
  ASSERT_EQ(CodeOf(kernel_.DeleteLink({}, made->first.ifindex)), 0);
  EXPECT_TRUE(tells(host_end));

  world_->AddForeignNetns("foreign");
  EXPECT_TRUE(tells({.kind = Hint::Kind::kName, .netns = {.name = "foreign", .cookie = 0}, .ifindex = 0}));
  world_->RemoveForeignNetns("foreign");
  EXPECT_TRUE(tells({.kind = Hint::Kind::kName, .netns = {.name = "foreign", .cookie = 0}, .ifindex = 0}));

  // It does not keep a namespace alive, nor does the end of one end it.
  ASSERT_EQ(CodeOf(kernel_.RemoveNetns(blue)), 0);
  EXPECT_TRUE(tells({.kind = Hint::Kind::kName, .netns = {.name = "blue", .cookie = 0}, .ifindex = 0}));
  watch.Wake();
  watch.Wait(std::chrono::hours(1));
}

TEST_P(KernelContractTest, FindsWhatAPlaceLeadsTo) {
  const uint32_t pid = world_->StartProcessInNewNetns();
  const std::string path = world_->Mount(pid);
  const NetnsPlace by_path{.path = path, .pid = 0};
  const NetnsPlace by_pid{.path = "", .pid = pid};
  auto entry = kernel_.FindPlace(by_path);
  ASSERT_TRUE(entry.ok()) << entry.error().ToString();
  EXPECT_NE(entry->cookie, 0u);
  EXPECT_FALSE(entry->is_host);
  EXPECT_EQ(*kernel_.FindPlace(by_pid), *entry);
  EXPECT_EQ(*kernel_.FindWayIn(entry->cookie), std::optional(by_pid));
  EXPECT_EQ(*kernel_.FindWayIn(0), std::nullopt);
  // What a namespace of ours is called besides.
  const NetnsRef blue = MakeNetns("blue");
  EXPECT_EQ(kernel_.FindPlace({.path = "/run/netns/blue"})->cookie, blue.cookie);

  world_->EndProcess(pid);
  EXPECT_EQ(CodeOf(kernel_.FindPlace(by_pid)), ESRCH);
  EXPECT_EQ(*kernel_.FindPlace(by_path), *entry) << "the mount keeps it";
  EXPECT_EQ(*kernel_.FindWayIn(entry->cookie), std::nullopt);
  world_->Unmount(path);
  EXPECT_EQ(CodeOf(kernel_.FindPlace({.path = "/run/nothing"})), ENOENT);
  EXPECT_EQ(CodeOf(kernel_.FindPlace({.path = world_->MakeFile()})), EMEDIUMTYPE);
  auto link = kernel_.FindPlace({.path = world_->MakeLink()});
  ASSERT_FALSE(link.ok());
  EXPECT_EQ(link.error().code, ELOOP);
  EXPECT_THAT(link.error().extack, HasSubstr("a link is not followed"));
}

TEST_P(KernelContractTest, APlaceIsLookedUpByEachOperation) {
  const uint32_t pid = world_->StartProcessInNewNetns();
  const uint32_t other = world_->StartProcessInNewNetns();
  NetnsRef at_path{.name = "", .cookie = 0, .place = NetnsPlace{.path = world_->Mount(pid), .pid = 0}};
  at_path.cookie = kernel_.FindPlace(*at_path.place)->cookie;
  NetnsRef at_pid{.name = "", .cookie = 0, .place = NetnsPlace{.path = "", .pid = other}};
  at_pid.cookie = kernel_.FindPlace(*at_pid.place)->cookie;
  ASSERT_NE(at_path.cookie, at_pid.cookie);

  auto ends = kernel_.CreateVeth({.netns = at_path, .name = "p0"}, {.netns = at_pid, .name = "p0"}, "tag");
  ASSERT_TRUE(ends.ok()) << ends.error().ToString();
  EXPECT_EQ(**kernel_.FindLink(at_path, ends->first.ifindex), ends->first);
  EXPECT_EQ(**kernel_.FindLink(at_pid, ends->second.ifindex), ends->second);
  EXPECT_EQ(*kernel_.FindLink(kHost, std::string("p0")), std::nullopt);
  // By another way into the same.
  const NetnsRef by_pid{.name = "", .cookie = at_path.cookie, .place = NetnsPlace{.path = "", .pid = pid}};
  EXPECT_EQ(**kernel_.FindLink(by_pid, ends->first.ifindex), ends->first);
  auto inside = kernel_.CreateVeth({.netns = at_path, .name = "i0"}, {.netns = by_pid, .name = "i1"}, "tag");
  ASSERT_TRUE(inside.ok()) << inside.error().ToString();
  EXPECT_EQ((*kernel_.FindLink(by_pid, std::string("i1")))->peer_ifindex, inside->first.ifindex);

  NetnsRef before = at_pid;
  before.cookie = at_path.cookie;
  EXPECT_EQ(CodeOf(kernel_.FindLink(before, std::string("p0"))), ESTALE) << "another is there by now";
  EXPECT_EQ(CodeOf(kernel_.CreateVeth({.name = "q0"}, {.netns = before, .name = "q1"}, "")), ESTALE);
  EXPECT_EQ(*kernel_.FindLink(kHost, std::string("q0")), std::nullopt);
  for (const std::string& path : {world_->MakeFile(), world_->MakeLink()}) {
    const NetnsRef odd{.name = "", .cookie = at_path.cookie, .place = NetnsPlace{.path = path, .pid = 0}};
    EXPECT_EQ(CodeOf(kernel_.ListLinks(odd)), ESTALE) << path;
  }
  const NetnsRef nowhere{.name = "", .cookie = at_path.cookie, .place = NetnsPlace{.path = "/run/nothing", .pid = 0}};
  EXPECT_EQ(CodeOf(kernel_.ListLinks(nowhere)), ENOENT);
  ASSERT_EQ(CodeOf(kernel_.DeleteLink(at_path, ends->first.ifindex)), 0);
  EXPECT_EQ(*kernel_.FindLink(at_pid, std::string("p0")), std::nullopt);
  world_->EndProcess(other);
  EXPECT_EQ(CodeOf(kernel_.ListLinks(at_pid)), ESTALE);
  world_->Unmount(at_path.place->path);
}

TEST_P(KernelContractTest, AWatchTellsOfLinksAtAPlace) {
  NetnsRef netns{.name = "", .cookie = 0, .place = NetnsPlace{.path = "", .pid = world_->StartProcessInNewNetns()}};
  netns.cookie = kernel_.FindPlace(*netns.place)->cookie;
  auto watch = kernel_.Watch();
  ASSERT_TRUE(watch.ok()) << watch.error().ToString();
  ASSERT_EQ(CodeOf((*watch)->Track(netns)), 0);
  auto ends = kernel_.CreateVeth({.name = "w0"}, {.netns = netns, .name = "w1"}, "");
  ASSERT_TRUE(ends.ok());
  ASSERT_EQ(CodeOf(kernel_.SetLink(netns, ends->second.ifindex, {.mtu = 1400})), 0);
  const engine::Hint wanted{
      .kind = engine::Hint::Kind::kLink, .netns = netns, .ifindex = static_cast<uint32_t>(ends->second.ifindex)};
  bool is_told = false;
  // Others may come before.
  for (int i = 0; i < 100 && !is_told; ++i) {
    const std::vector<engine::Hint> hints = (*watch)->Wait(std::chrono::milliseconds(100));
    is_told = std::find(hints.begin(), hints.end(), wanted) != hints.end();
  }
  EXPECT_TRUE(is_told);
}

}  // namespace
}  // namespace netprov::testing
