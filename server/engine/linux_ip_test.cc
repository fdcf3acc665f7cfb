#include "server/engine/linux_ip.h"

#include <linux/rtnetlink.h>

#include <cerrno>
#include <string>

#include "gtest/gtest.h"
#include "server/engine/kernel_feature.h"
#include "server/netlink/ip_address.h"
#include "server/netlink/route.h"
#include "server/netlink/scripted_transport.h"
#include "server/netlink/session.h"

namespace netprov::engine {
namespace {

using netlink::IpFamily;

RouteSpec Route(const std::string& destination, uint32_t table) {
  RouteSpec route{.destination = *netlink::IpPrefix::Parse(destination), .type = RouteType::kBlackhole};
  route.table = table;
  return route;
}

// A kernel without policy routing would put them into its one table, without a word.
TEST(RouteTableTest, IsMissingWithoutPolicyRouting) {
  const RouteSpec own_table = Route("10.0.0.0/8", 100);
  const RouteSpec own_table_ipv6 = Route("2001:db8::/32", RT_TABLE_LOCAL);
  // Of a family without rules, or of none with any (rtnetlink_rcv_msg(), fib_nl_dumprule()).
  for (const int code : {EOPNOTSUPP, EAFNOSUPPORT}) {
    for (const auto& [route, feature] : {std::pair(own_table, "CONFIG_IP_MULTIPLE_TABLES"),
                                         std::pair(own_table_ipv6, "CONFIG_IPV6_MULTIPLE_TABLES")}) {
      for (const bool through_link : {true, false}) {
        netlink::ScriptedTransport transport;
        netlink::Session session(transport);
        transport.ExpectSend({netlink::EncodeDumpRules(route.destination.address.family())});
        transport.Reply({netlink::ScriptedAck(code)});
        const KernelResult<void> added =
            through_link
                ? ConfigureLink(session, 5, {}, {.routes = {Route("10.1.0.0/16", RT_TABLE_MAIN), route}}, false)
                : AddRoutesWithoutLink(session, {route});
        ASSERT_FALSE(added.ok());
        EXPECT_EQ(added.error().code, EOPNOTSUPP);
        EXPECT_FALSE(added.error().may_have_effect);
        EXPECT_EQ(MissingFeature(added.error()), feature);
      }
    }
  }
}

TEST(RouteTableTest, IsNotLookedForWhereTheKernelAlwaysHasIt) {
  netlink::ScriptedTransport transport;
  netlink::Session session(transport);
  transport.ExpectAnySend();
  transport.Reply({netlink::ScriptedAck()});
  EXPECT_TRUE(AddRoutesWithoutLink(session, {Route("10.0.0.0/8", RT_TABLE_MAIN)}).ok());
  transport.ExpectAnySend();
  transport.Reply({netlink::ScriptedAck()});
  EXPECT_TRUE(AddRoutesWithoutLink(session, {Route("10.0.0.0/8", RT_TABLE_LOCAL)}).ok());
}

}  // namespace
}  // namespace netprov::engine
