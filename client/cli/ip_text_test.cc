#include "client/cli/ip_text.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace netprov::cli {
namespace {

using ::testing::HasSubstr;

template <typename Message>
std::string Text(const absl::StatusOr<Message>& message) {
  return message.ok() ? message->ShortDebugString() : message.status().ToString();
}

template <typename Message>
std::string Error(const absl::StatusOr<Message>& message) {
  if (message.ok()) return "was accepted: " + message->ShortDebugString();
  EXPECT_TRUE(absl::IsInvalidArgument(message.status()));
  return std::string(message.status().message());
}

TEST(ParseAddressTest, AllForms) {
  EXPECT_EQ(Text(ParseAddress("10.0.0.2/24")), "address: \"10.0.0.2/24\"");
  EXPECT_EQ(Text(ParseAddress("10.0.0.2/32,peer=10.0.0.1")), "address: \"10.0.0.2/32\" peer: \"10.0.0.1\"");
  EXPECT_EQ(Text(ParseAddress("2001:db8::2/64,dad")),
            "address: \"2001:db8::2/64\" duplicate_detection: DUPLICATE_DETECTION_WAIT");
  EXPECT_EQ(Text(ParseAddress("fe80::2,nodad")), "address: \"fe80::2\" duplicate_detection: DUPLICATE_DETECTION_NONE");
  EXPECT_EQ(Text(ParseAddress("127.0.0.9,scope=host,peer=x")), "address: \"127.0.0.9\" peer: \"x\" scope: SCOPE_HOST");
  EXPECT_EQ(Text(ParseAddress("10.0.0.2,scope=global")), "address: \"10.0.0.2\" scope: SCOPE_GLOBAL");
  EXPECT_EQ(Text(ParseAddress("10.0.0.2,scope=link")), "address: \"10.0.0.2\" scope: SCOPE_LINK");
}

TEST(ParseAddressTest, ValuesAreForTheServerToJudge) {
  for (const char* address : {"x", "10.0.0.300/24", "10.0.0.2/99", "[fe80::1]", "{}", "10.0.0.2/24 "}) {
    const absl::StatusOr<v1::Address> parsed = ParseAddress(address);
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(parsed->address(), address);
  }
}

TEST(ParseAddressTest, SyntaxErrors) {
  EXPECT_EQ(Error(ParseAddress("")), "the address is missing");
  EXPECT_EQ(Error(ParseAddress(",dad")), "the address is missing");
  EXPECT_EQ(Error(ParseAddress("a,")), "`` is not known here");
  EXPECT_EQ(Error(ParseAddress("a,via=b")), "`via=b` is not known here");
  EXPECT_EQ(Error(ParseAddress("a,dad=1")), "`dad=1` is not known here");
  EXPECT_EQ(Error(ParseAddress("a, dad")), "` dad` is not known here");
  EXPECT_EQ(Error(ParseAddress("a,10.0.0.3/24")), "`10.0.0.3/24` is not known here");
  EXPECT_EQ(Error(ParseAddress("a,peer")), "`peer` lacks its value");
  EXPECT_EQ(Error(ParseAddress("a,peer=")), "`peer` lacks its value");
  EXPECT_EQ(Error(ParseAddress("a,peer=b,peer=c")), "`peer` is there twice");
  EXPECT_EQ(Error(ParseAddress("a,dad,nodad")), "`nodad` is there twice");
  EXPECT_EQ(Error(ParseAddress("a,scope=site")), "`scope` takes global, link or host, not `site`");
}

TEST(ParseRouteTest, AllForms) {
  EXPECT_EQ(Text(ParseRoute("10.1.0.0/16 via 10.0.0.1 metric 100 table 7 src 10.0.0.2 mtu 1400 scope global onlink")),
            "destination: \"10.1.0.0/16\" gateway: \"10.0.0.1\" metric: 100 table: 7 scope: SCOPE_GLOBAL "
            "preferred_source: \"10.0.0.2\" on_link: true mtu: 1400");
  EXPECT_EQ(Text(ParseRoute("  10.1.0.0/16  onlink  via 10.0.0.1 ")),
            "destination: \"10.1.0.0/16\" gateway: \"10.0.0.1\" on_link: true");
  EXPECT_EQ(Text(ParseRoute("10.1.0.0/16")), "destination: \"10.1.0.0/16\"");
  EXPECT_EQ(Text(ParseRoute("10.1.0.0/16 table main scope link")),
            "destination: \"10.1.0.0/16\" table: 254 scope: SCOPE_LINK");
  EXPECT_EQ(Text(ParseRoute("10.1.0.1 scope host metric 4294967295")),
            "destination: \"10.1.0.1\" metric: 4294967295 scope: SCOPE_HOST");
}

TEST(ParseRouteTest, Types) {
  EXPECT_EQ(Text(ParseRoute("blackhole 10.9.0.0/16")), "destination: \"10.9.0.0/16\" type: TYPE_BLACKHOLE");
  EXPECT_EQ(Text(ParseRoute("unreachable ::/0 metric 9")), "destination: \"::/0\" metric: 9 type: TYPE_UNREACHABLE");
  EXPECT_EQ(Text(ParseRoute("prohibit 10.9.0.0/16 table 9")),
            "destination: \"10.9.0.0/16\" table: 9 type: TYPE_PROHIBIT");
  EXPECT_EQ(Text(ParseRoute("unicast 10.9.0.0/16")), "destination: \"10.9.0.0/16\" type: TYPE_UNICAST");
}

TEST(ParseRouteTest, DefaultHasTheFamilyOfWhatElseIsSaid) {
  EXPECT_EQ(ParseRoute("default via 10.0.0.1")->destination(), "0.0.0.0/0");
  EXPECT_EQ(ParseRoute("default via fe80::1")->destination(), "::/0");
  EXPECT_EQ(ParseRoute("default src 2001:db8::2")->destination(), "::/0");
  EXPECT_EQ(ParseRoute("blackhole default")->destination(), "0.0.0.0/0");
}

TEST(ParseRouteTest, ValuesAreForTheServerToJudge) {
  EXPECT_EQ(Text(ParseRoute("blackhole x via y")), "destination: \"x\" gateway: \"y\" type: TYPE_BLACKHOLE");
}

TEST(ParseRouteTest, SyntaxErrors) {
  for (const char* text : {"", " ", "blackhole", "via 10.0.0.1", "onlink", "prohibit metric 1"}) {
    EXPECT_EQ(Error(ParseRoute(text)), "the destination is missing") << text;
  }
  EXPECT_EQ(Error(ParseRoute("a via")), "`via` lacks its value");
  EXPECT_EQ(Error(ParseRoute("a src via b")), "`src` lacks its value");
  EXPECT_EQ(Error(ParseRoute("a via onlink")), "`via` lacks its value");
  EXPECT_EQ(Error(ParseRoute("a via b via c")), "`via` is there twice");
  EXPECT_EQ(Error(ParseRoute("a onlink onlink")), "`onlink` is there twice");
  EXPECT_EQ(Error(ParseRoute("a proto static")), "`proto` is not known here");
  EXPECT_EQ(Error(ParseRoute("a b")), "`b` is not known here");
  EXPECT_THAT(Error(ParseRoute("a via b dev eth0")), HasSubstr("`dev` is not needed"));
  EXPECT_EQ(Error(ParseRoute("a scope site")), "`scope` takes global, link or host, not `site`");
  for (const std::string number : {"-1", "x", "1.5", "0x10", "4294967296", "+1"}) {
    EXPECT_EQ(Error(ParseRoute("a metric " + number)), "`metric` takes a whole number, not `" + number + "`");
    EXPECT_EQ(Error(ParseRoute("a mtu " + number)), "`mtu` takes a whole number, not `" + number + "`");
    EXPECT_EQ(Error(ParseRoute("a table " + number)), "`table` takes a whole number or `main`, not `" + number + "`");
  }
}

TEST(ParseNeighborTest, AddressAndMac) {
  EXPECT_EQ(Text(ParseNeighbor("10.0.0.1=02:00:00:00:00:01")),
            "address: \"10.0.0.1\" mac_address: \"02:00:00:00:00:01\"");
  EXPECT_EQ(Text(ParseNeighbor("fe80::1=x=y")), "address: \"fe80::1\" mac_address: \"x=y\"");
  for (const char* text : {"", "=", "10.0.0.1", "10.0.0.1=", "=02:00:00:00:00:01", "10.0.0.1 02:00:00:00:00:01"}) {
    EXPECT_EQ(Error(ParseNeighbor(text)), "must be ADDRESS=MAC") << text;
  }
}

TEST(FormatTest, IsWhatIsParsed) {
  for (const std::string text : {"10.0.0.2/24", "10.0.0.2/32,peer=10.0.0.1", "2001:db8::2/64,dad",
                                 "10.0.0.2/24,peer=10.0.0.1,scope=link", "127.0.0.9/8,scope=host"}) {
    EXPECT_EQ(FormatAddress(*ParseAddress(text)), text);
  }
  for (const std::string text :
       {"10.1.0.0/16", "10.1.0.0/16 via 10.0.0.1 metric 100 table 7 src 10.0.0.2 mtu 1400 onlink",
        "10.1.0.0/16 via 10.0.0.1 scope link", "10.1.0.0/16 scope global", "10.1.0.0/16 scope host",
        "blackhole 10.9.0.0/16", "unreachable ::/0 metric 9", "prohibit 10.9.0.0/16 table 9"}) {
    EXPECT_EQ(FormatRoute(*ParseRoute(text)), text);
  }
  const std::string neighbor = "fe80::1=02:00:00:00:00:01";
  EXPECT_EQ(FormatNeighbor(*ParseNeighbor(neighbor)), neighbor);
}

TEST(FormatTest, WhatIsSoAnywayIsNotSaid) {
  EXPECT_EQ(FormatAddress(*ParseAddress("10.0.0.2/24,scope=global,nodad")), "10.0.0.2/24");
  EXPECT_EQ(FormatRoute(*ParseRoute("unicast default via 10.0.0.1 scope global table main metric 0")),
            "0.0.0.0/0 via 10.0.0.1");
  EXPECT_EQ(FormatRoute(*ParseRoute("10.1.0.0/16 scope link")), "10.1.0.0/16");
}

TEST(FormatTest, ValuesOfALaterServerAreShownAsNumbers) {
  v1::Address address;
  address.set_address("10.0.0.2/24");
  address.set_scope(static_cast<v1::Address::Scope>(9));
  EXPECT_EQ(FormatAddress(address), "10.0.0.2/24,scope=9");
  v1::Route route;
  route.set_destination("10.0.0.0/8");
  route.set_scope(static_cast<v1::Route::Scope>(9));
  route.set_type(static_cast<v1::Route::Type>(8));
  EXPECT_EQ(FormatRoute(route), "8 10.0.0.0/8 scope 9");
}

}  // namespace
}  // namespace netprov::cli
