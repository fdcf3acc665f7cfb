#include "tests/contract/kernel_contract.h"

#include <cerrno>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace netprov::testing {

using engine::Link;
using engine::NetnsEntry;
using engine::NetnsRef;

NetnsRef KernelContractTest::MakeNetns(const std::string& name) {
  KernelResult<uint64_t> cookie = kernel_.CreateNetns(name, "alias of " + name.substr(0, 200), {});
  EXPECT_TRUE(cookie.ok()) << cookie.error().ToString();
  return {.name = name, .cookie = cookie.ok() ? *cookie : 0};
}

void KernelContractTest::TearDown() {
  // What a test leaves is cleaned up by the interface itself, as the machine outlives the test.
  KernelResult<std::vector<std::string>> names = kernel_.ListNetns();
  ASSERT_TRUE(names.ok());
  for (const std::string& name : *names) {
    KernelResult<std::optional<NetnsEntry>> entry = kernel_.FindNetns(name);
    ASSERT_TRUE(entry.ok() && entry->has_value());
    if ((*entry)->is_netns) {
      EXPECT_EQ(CodeOf(kernel_.DeleteLinksInside({.name = name, .cookie = (*entry)->cookie})), 0);
      EXPECT_EQ(CodeOf(kernel_.RemoveNetns({.name = name, .cookie = (*entry)->cookie})), 0);
    } else {
      world_->AddStaleFile(name, /*empty=*/true);
      EXPECT_EQ(CodeOf(kernel_.RemoveStaleNetnsFile(name)), 0);
    }
  }
  KernelResult<std::vector<Link>> links = kernel_.ListLinks(kHost);
  ASSERT_TRUE(links.ok());
  for (const Link& link : *links) {
    if (link.kind.empty() || link.kind == "dummy") continue;
    EXPECT_THAT(CodeOf(kernel_.DeleteLink(kHost, link.ifindex)), ::testing::AnyOf(0, ENODEV));
  }
}

}  // namespace netprov::testing
