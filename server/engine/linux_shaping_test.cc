#include "server/engine/linux_shaping.h"

#include <linux/if.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/netlink/message.h"
#include "server/netlink/qdisc.h"
#include "server/netlink/session.h"
#include "server/netlink/transport.h"

namespace netprov::engine {
namespace {

using ::testing::ElementsAre;

constexpr int kIfb = 7;

// A kernel that has no disciplines and filters yet, and lacks some kinds for good.
class KernelWithout : public netlink::Transport {
 public:
  explicit KernelWithout(std::set<std::string> kinds) : missing_(std::move(kinds)) {}

  KernelResult<void> Send(std::span<const std::byte> datagram) override {
    netlink::MessageReader reader(datagram);
    while (std::optional<netlink::MessageView> message = reader.Next()) Answer(*message);
    return {};
  }
  KernelResult<netlink::Datagram> Receive() override {
    if (replies_.empty()) return KernelError{.code = ETIMEDOUT, .operation = "recvmsg", .extack = {}};
    netlink::Datagram datagram{.bytes = std::move(replies_.front())};
    replies_.pop_front();
    return datagram;
  }
  uint32_t port_id() const override { return 4711; }

  // What was made, by its kind, in order.
  const std::vector<std::string>& made() const { return made_; }

 private:
  void Reply(const netlink::MessageView& to, uint16_t type, uint16_t flags, std::span<const std::byte> payload) {
    nlmsghdr header = {};
    header.nlmsg_len = static_cast<uint32_t>(sizeof(header) + payload.size());
    header.nlmsg_type = type;
    header.nlmsg_flags = flags;
    header.nlmsg_seq = to.sequence;
    header.nlmsg_pid = port_id();
    const std::span<const std::byte> bytes = std::as_bytes(std::span(&header, 1));
    std::vector<std::byte>& reply = replies_.emplace_back(bytes.begin(), bytes.end());
    reply.insert(reply.end(), payload.begin(), payload.end());
  }
  void Acknowledge(const netlink::MessageView& message, int code) {
    nlmsgerr error = {};
    error.error = -code;
    Reply(message, NLMSG_ERROR, NLM_F_CAPPED, std::as_bytes(std::span(&error, 1)));
  }
  void Make(const netlink::MessageView& message, const std::string& kind, int code) {
    if (missing_.contains(kind)) return Acknowledge(message, code);
    made_.push_back(kind);
    Acknowledge(message, 0);
  }
  // As the kernel tells of the ifb. A request has the form of a reply.
  void TellOfIfb(const netlink::MessageView& message) {
    netlink::MessageBuilder reply("", RTM_NEWLINK, 0);
    ifinfomsg header = {};
    header.ifi_index = kIfb;
    header.ifi_flags = IFF_UP;
    reply.PutHeader(header);
    reply.PutString(IFLA_IFNAME, "ifbx");
    reply.PutU32(IFLA_GROUP, kOwnedGroup);
    const size_t info = reply.BeginNest(IFLA_LINKINFO);
    reply.PutString(IFLA_INFO_KIND, "ifb");
    reply.EndNest(info);
    const netlink::Request built = std::move(reply).Build();
    Reply(message, RTM_NEWLINK, 0, std::span(built.message).subspan(sizeof(nlmsghdr)));
    if ((message.flags & NLM_F_ACK) != 0) Acknowledge(message, 0);
  }
  void Answer(const netlink::MessageView& message) {
    const bool has_ifb = std::find(made_.begin(), made_.end(), "ifb") != made_.end();
    const int success = 0;
    switch (message.type) {
      case RTM_GETQDISC:
      case RTM_GETTFILTER:
        return Reply(message, NLMSG_DONE, NLM_F_MULTI, std::as_bytes(std::span(&success, 1)));
      case RTM_GETLINK:
        return has_ifb ? TellOfIfb(message) : Acknowledge(message, ENODEV);
      case RTM_NEWLINK:
        return Make(message, "ifb", EOPNOTSUPP);
      case RTM_NEWQDISC:
      case RTM_NEWTFILTER:
        return Make(message, KindIn(message.payload), ENOENT);
      default:
        return Acknowledge(message, 0);
    }
  }
  static std::string KindIn(std::span<const std::byte> payload) {
    netlink::TakeHeader<tcmsg>(payload);
    netlink::AttributeReader reader(payload);
    while (std::optional<netlink::AttributeView> attribute = reader.Next()) {
      if (attribute->type == TCA_KIND) return std::string(attribute->String().value_or(""));
    }
    return "";
  }

  const std::set<std::string> missing_;
  std::vector<std::string> made_;
  std::deque<std::vector<std::byte>> replies_;
};

ShapingSpec Both() {
  const netlink::TokenBucket bucket{.rate = 1'250'000, .burst = 32768, .limit = 95268};
  return {.egress = bucket, .ingress = bucket, .ifb_name = "ifbx", .alias = "tag"};
}

KernelResult<uint32_t> Shape(KernelWithout& kernel, const ShapingSpec& wanted) {
  netlink::Session session(kernel);
  return ShapeLink(session, 5, wanted);
}

TEST(LinuxShapingTest, NothingIsLedToAnIfbThatHoldsNothingBack) {
  KernelWithout kernel({});
  EXPECT_EQ(*Shape(kernel, Both()), static_cast<uint32_t>(kIfb));
  EXPECT_THAT(kernel.made(), ElementsAre("tbf", "ifb", "tbf", "clsact", "u32"));
}

TEST(LinuxShapingTest, WithoutU32MatchallDoes) {
  KernelWithout kernel({"u32"});
  EXPECT_TRUE(Shape(kernel, Both()).ok());
  EXPECT_THAT(kernel.made(), ElementsAre("tbf", "ifb", "tbf", "clsact", "matchall"));
}

TEST(LinuxShapingTest, WhatTheKernelLacksIsAnError) {
  for (const std::set<std::string>& missing :
       {std::set<std::string>{"tbf"}, {"ifb"}, {"clsact"}, {"u32", "matchall"}}) {
    KernelWithout kernel(missing);
    const KernelResult<uint32_t> shaped = Shape(kernel, Both());
    ASSERT_FALSE(shaped.ok()) << *missing.begin();
    EXPECT_EQ(shaped.error().code, EOPNOTSUPP) << shaped.error().ToString();
  }
  // What is not asked for is not missed.
  ShapingSpec egress = Both();
  egress.ingress.reset();
  KernelWithout kernel({"ifb", "clsact", "u32", "matchall"});
  EXPECT_EQ(*Shape(kernel, egress), 0u);
  EXPECT_THAT(kernel.made(), ElementsAre("tbf"));
}

}  // namespace
}  // namespace netprov::engine
