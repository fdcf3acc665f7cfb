#include "server/netlink/link_monitor.h"

#include <optional>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/netlink/scripted_transport.h"

namespace netprov::netlink {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(LinkMonitorTest, ReadsWhichLinksChanged) {
  const auto datagram = FromHex(R"(
    20 00 00 00  10 00 00 00  00 00 00 00  00 00 00 00  # 32 bytes, RTM_NEWLINK
    00 00 01 00  05 00 00 00  00 00 00 00  00 00 00 00  # ifinfomsg: AF_UNSPEC, ifi_index 5
    20 00 00 00  11 00 00 00  00 00 00 00  00 00 00 00  # 32 bytes, RTM_DELLINK
    00 00 01 00  06 00 00 00  00 00 00 00  00 00 00 00  # ifi_index 6
  )");
  EXPECT_THAT(DecodeLinkEvents(datagram, std::nullopt), ElementsAre(LinkEvent{.nsid = std::nullopt, .ifindex = 5},
                                                                    LinkEvent{.nsid = std::nullopt, .ifindex = 6}));
  EXPECT_THAT(DecodeLinkEvents(datagram, 3),
              ElementsAre(LinkEvent{.nsid = 3, .ifindex = 5}, LinkEvent{.nsid = 3, .ifindex = 6}));
}

TEST(LinkMonitorTest, ReadsWhichLinksLostAnAddressOrARoute) {
  EXPECT_THAT(DecodeLinkEvents(FromHex(R"(
    18 00 00 00  15 00 00 00  00 00 00 00  00 00 00 00  # RTM_DELADDR
    02 18 00 00  05 00 00 00                            # ifaddrmsg: ifa_index 5
    24 00 00 00  19 00 00 00  00 00 00 00  00 00 00 00  # RTM_DELROUTE
    02 10 00 00  fe 6e 00 01  00 00 00 00               # rtmsg: RTN_UNICAST
    08 00 04 00  06 00 00 00                            # RTA_OIF 6
    1c 00 00 00  19 00 00 00  00 00 00 00  00 00 00 00  # RTM_DELROUTE
    02 10 00 00  fe 6e 00 06  00 00 00 00               # RTN_BLACKHOLE
    24 00 00 00  19 00 00 00  00 00 00 00  00 00 00 00  # RTM_DELROUTE
    0a 30 00 00  fe 6e 00 07  00 00 00 00               # RTN_UNREACHABLE of IPv6
    08 00 04 00  01 00 00 00                            # RTA_OIF 1
    24 00 00 00  18 00 00 01  00 00 00 00  00 00 00 00  # RTM_NEWROUTE, NLM_F_REPLACE: another was there before
    02 10 00 00  fe 6e 00 01  00 00 00 00               # RTN_UNICAST
    08 00 04 00  07 00 00 00                            # RTA_OIF 7
  )"),
                               std::nullopt),
              ElementsAre(LinkEvent{.nsid = std::nullopt, .ifindex = 5}, LinkEvent{.nsid = std::nullopt, .ifindex = 6},
                          LinkEvent{.nsid = std::nullopt, .ifindex = 0}, LinkEvent{.nsid = std::nullopt, .ifindex = 0},
                          LinkEvent{.nsid = std::nullopt, .ifindex = 7}));
}

TEST(LinkMonitorTest, TellsOfALinkThatChangesAsAPort) {
  const std::vector<LinkEvent> events = DecodeLinkEvents(FromHex(R"(
    20 00 00 00  10 00 00 00  00 00 00 00  00 00 00 00  # RTM_NEWLINK
    07 00 01 00  05 00 00 00  00 00 00 00  00 00 00 00  # AF_BRIDGE
  )"),
                                                         std::nullopt);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].ifindex, 5);
}

TEST(LinkMonitorTest, TellsOfALinkWhoseQueueingChanges) {
  const std::vector<LinkEvent> events = DecodeLinkEvents(FromHex(R"(
    24 00 00 00  24 00 00 00  00 00 00 00  00 00 00 00  # RTM_NEWQDISC
    00 00 00 00  05 00 00 00  00 00 01 80  ff ff ff ff  # tcmsg: tcm_ifindex 5
    00 00 00 00
    24 00 00 00  25 00 00 00  00 00 00 00  00 00 00 00  # RTM_DELQDISC
    00 00 00 00  06 00 00 00  00 00 01 80  ff ff ff ff
    00 00 00 00
    24 00 00 00  2c 00 00 00  00 00 00 00  00 00 00 00  # RTM_NEWTFILTER
    00 00 00 00  07 00 00 00  00 00 00 00  f2 ff ff ff
    00 00 00 00
    24 00 00 00  2d 00 00 00  00 00 00 00  00 00 00 00  # RTM_DELTFILTER
    00 00 00 00  08 00 00 00  00 00 00 00  f2 ff ff ff
    00 00 00 00
    24 00 00 00  2c 00 00 00  00 00 00 00  00 00 00 00  # RTM_NEWTFILTER of a block (TCM_IFINDEX_MAGIC_BLOCK)
    00 00 00 00  ff ff ff ff  00 00 00 00  01 00 00 00
    00 00 00 00
    18 00 00 00  24 00 00 00  00 00 00 00  00 00 00 00  # RTM_NEWQDISC, cut short
    00 00 00 00  09 00 00 00
  )"),
                                                         std::nullopt);
  EXPECT_THAT(
      events,
      ElementsAre(LinkEvent{.nsid = std::nullopt, .ifindex = 5}, LinkEvent{.nsid = std::nullopt, .ifindex = 6},
                  LinkEvent{.nsid = std::nullopt, .ifindex = 7}, LinkEvent{.nsid = std::nullopt, .ifindex = 8}));
}

TEST(LinkMonitorTest, SkipsWhatIsNoLink) {
  EXPECT_THAT(DecodeLinkEvents(FromHex(R"(
    20 00 00 00  10 00 00 00  00 00 00 00  00 00 00 00  # RTM_NEWLINK
    0a 00 01 00  05 00 00 00  00 00 00 00  00 00 00 00  # AF_INET6
    18 00 00 00  14 00 00 00  00 00 00 00  00 00 00 00  # RTM_NEWADDR
    02 00 00 00  05 00 00 00
    1c 00 00 00  18 00 00 06  00 00 00 00  00 00 00 00  # RTM_NEWROUTE, NLM_F_EXCL | NLM_F_CREATE
    02 10 00 00  fe 6e 00 01  00 00 00 00
    14 00 00 00  15 00 00 00  00 00 00 00  00 00 00 00  # RTM_DELADDR, cut short
    02 18 00 00
    14 00 00 00  10 00 00 00  00 00 00 00  00 00 00 00  # RTM_NEWLINK, cut short
    00 00 01 00
  )"),
                               std::nullopt),
              IsEmpty());
  EXPECT_THAT(DecodeLinkEvents(FromHex("ff ff ff ff  10 00 00 00  00 00 00 00  00 00 00 00"), std::nullopt), IsEmpty());
  EXPECT_THAT(DecodeLinkEvents({}, std::nullopt), IsEmpty());
}

}  // namespace
}  // namespace netprov::netlink
