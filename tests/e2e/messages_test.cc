// What a call sends to the kernel: as few messages as it takes, in as few system calls, however much there is to do.
#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/component/test_client.h"
#include "tests/e2e/host_fixture.h"
#include "tests/e2e/points.h"
#include "tests/e2e/tracer.h"
#include "tests/testing/process.h"

namespace netprov::testing {
namespace {

using ::testing::SizeIs;

// The traffic of one call with the kernel by netlink.
struct Traffic {
  int sockets = 0;                 // that are opened
  size_t messages = 0;             // that are sent
  std::vector<std::string> sends;  // the messages of each system call, as MessagesOf() has them
};

class MessagesTest : public HostTest {
 protected:
  void SetUp() override {
    HostTest::SetUp();
    StartDaemon(OneThread());
    EXPECT_OK(client_->CreateNamespace("blue"));
  }
  void TearDown() override {
    EXPECT_OK(client_->DeleteNamespace("blue"));
    HostTest::TearDown();
  }

  // Of a pair that is created, from the intent to the outcome, ahead of and after which the worker may look at
  // something else. It is gone afterwards.
  Traffic Creating(const v1::CreateVethRequest& request) {
    Tracer tracer({"-p", absl::StrCat(WorkerOf(daemon_->pid()))});
    const Reply<v1::Veth> made = client_->Create(request);
    const std::vector<SystemCall> calls = tracer.Detach();
    EXPECT_OK(made);
    EXPECT_OK(client_->DeleteVeth("v"));
    const auto writes = [](const SystemCall& call) {
      return call.name == "pwrite64" && absl::StrContains(call.line, "</var/lib/netprov/");
    };
    const auto intent = std::find_if(calls.begin(), calls.end(), writes);
    const auto outcome = std::find_if(calls.rbegin(), calls.rend(), writes).base();
    Traffic traffic;
    for (auto call = intent; call < outcome; ++call) {
      const std::vector<std::string> messages = MessagesOf(*call);
      traffic.sockets += call->name == "socket" && absl::StrContains(call->line, "AF_NETLINK");
      if (!absl::StartsWith(call->name, "send") || messages.empty()) continue;
      traffic.messages += messages.size();
      traffic.sends.push_back(absl::StrJoin(messages, " "));
    }
    return traffic;
  }

  // Each end with so many addresses, routes, neighbors and other names.
  static v1::CreateVethRequest WithOfEach(int n) {
    v1::CreateVethRequest request = VethRequest("v", "h0", "blue", "eth0");
    int subnet = 0;
    for (v1::VethEndpoint* end :
         {request.mutable_veth()->mutable_endpoint_a(), request.mutable_veth()->mutable_endpoint_b()}) {
      ++subnet;
      for (int i = 0; i < n; ++i) {
        end->add_addresses()->set_address(absl::StrCat("10.0.", i, ".", subnet, "/24"));
        end->add_routes()->set_destination(absl::StrCat("10.", 100 + i, ".0.0/16"));
        v1::Neighbor& neighbor = *end->add_neighbors();
        neighbor.set_address(absl::StrCat("10.0.", i, ".9"));
        neighbor.set_mac_address("02:00:00:00:00:09");
        end->add_alternative_names(absl::StrCat("another-name-", subnet, "-", i));
      }
    }
    return request;
  }
};

TEST_F(MessagesTest, APairWithNothingIsOneMessageAndItsTags) {
  const Traffic bare = Creating(WithOfEach(0));
  // Both ends at once; the tag of the one; in the other namespace that of the other, which is read back.
  EXPECT_THAT(bare.sends, SizeIs(3)) << absl::StrJoin(bare.sends, "\n");
  EXPECT_EQ(bare.messages, 4U) << absl::StrJoin(bare.sends, "\n");
  EXPECT_EQ(bare.sockets, 2);
}

TEST_F(MessagesTest, WhatAnEndHasIsOneSendHoweverMuchItIs) {
  constexpr size_t kEnds = 2;
  // An address, a route and a neighbor are a message each.
  constexpr size_t kKinds = 3;
  const Traffic bare = Creating(WithOfEach(0));
  for (const size_t n : {1, 2, 8}) {
    SCOPED_TRACE(n);
    const Traffic full = Creating(WithOfEach(static_cast<int>(n)));
    EXPECT_THAT(full.sends, SizeIs(bare.sends.size() + kEnds)) << absl::StrJoin(full.sends, "\n");
    // And all names are one.
    EXPECT_EQ(full.messages, bare.messages + kEnds * (1 + kKinds * n)) << absl::StrJoin(full.sends, "\n");
    EXPECT_EQ(full.sockets, 4) << "one for each step in each namespace";
  }
}

}  // namespace
}  // namespace netprov::testing
