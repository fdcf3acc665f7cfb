#include "client/cli/bridge_text.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace netprov::cli {
namespace {

using ::testing::HasSubstr;

TEST(BridgeTextTest, APortIsReadAndPrintedInTheWordsOfBridge) {
  const std::string all =
      "hairpin on isolated off learning off flood on mcast_flood off bcast_flood off neigh_suppress on cost 7 "
      "priority 0";
  const auto port = ParsePort(all);
  ASSERT_TRUE(port.ok()) << port.status();
  EXPECT_TRUE(port->hairpin());
  EXPECT_TRUE(port->has_isolated());
  EXPECT_FALSE(port->isolated());
  EXPECT_EQ(port->cost(), 7u);
  EXPECT_TRUE(port->has_priority());
  EXPECT_EQ(FormatPort(*port), all);
  EXPECT_EQ(FormatPort(*ParsePort("  cost 1  hairpin\ton ")), "hairpin on cost 1");
  EXPECT_EQ(FormatPort({}), "");
}

TEST(PortTest, APersonReadsWhatIsUnlikeANewPort) {
  const std::string as_new =
      "hairpin off isolated off learning on flood on mcast_flood on bcast_flood on neigh_suppress off cost 2 priority "
      "32";
  EXPECT_EQ(FormatPortUnlikeNew(*ParsePort(as_new)), "cost 2");
  const std::string unlike =
      "hairpin on isolated on learning off flood off mcast_flood off bcast_flood off neigh_suppress on cost 3 priority "
      "1";
  EXPECT_EQ(FormatPortUnlikeNew(*ParsePort(unlike)), unlike);
}

TEST(BridgeTextTest, WhatIsNoPortIsSaid) {
  for (const auto& [text, why] : {std::pair("", "says nothing"), std::pair("hairpin", "takes on or off"),
                                  std::pair("hairpin yes", "takes on or off, not `yes`"),
                                  std::pair("hairpin on hairpin off", "`hairpin` is there twice"),
                                  std::pair("cost +7", "takes a number"), std::pair("colour on", "`colour` is not")}) {
    EXPECT_THAT(std::string(ParsePort(text).status().message()), HasSubstr(why)) << text;
  }
}

TEST(BridgeTextTest, Vlans) {
  for (const std::string text : {"10", "10-19", "1 pvid untagged", "20-29 untagged"}) {
    const auto vlan = ParseVlan(text);
    ASSERT_TRUE(vlan.ok()) << text << ": " << vlan.status();
    EXPECT_EQ(FormatVlan(*vlan), text);
  }
  for (const auto& [text, why] :
       {std::pair("", "missing"), std::pair("ten", "must begin with a VLAN"), std::pair("1-", "must begin with a VLAN"),
        std::pair("1 pvid pvid", "there twice"), std::pair("1 tagged", "`tagged` is not known")}) {
    EXPECT_THAT(std::string(ParseVlan(text).status().message()), HasSubstr(why)) << text;
  }
}

}  // namespace
}  // namespace netprov::cli
