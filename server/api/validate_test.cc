#include "server/api/validate.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "google/rpc/error_details.pb.h"
#include "gtest/gtest.h"
#include "server/api/page_token.h"

namespace netprov::api {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// The description of the only violation; empty when there is none.
std::string OnlyDescription(const Violations& violations) {
  if (violations.empty()) return "";
  google::rpc::BadRequest bad;
  const absl::Status status = violations.ToStatus();
  EXPECT_TRUE(bad.ParseFromString(std::string(*status.GetPayload("type.googleapis.com/google.rpc.BadRequest"))));
  EXPECT_EQ(bad.field_violations_size(), 1);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  return bad.field_violations(0).field() + ": " + bad.field_violations(0).description();
}

std::string RequestIdFault(absl::string_view request_id) {
  Violations violations;
  CheckRequestId(request_id, violations);
  return OnlyDescription(violations);
}

TEST(CheckRequestIdTest, WantsAUuid) {
  EXPECT_EQ(RequestIdFault(""), "");
  EXPECT_EQ(RequestIdFault("8f14e45f-ceea-467f-a0e6-90ab5d3c1f52"), "");
  EXPECT_THAT(RequestIdFault("8f14e45fceea467fa0e690ab5d3c1f52"), HasSubstr("request_id: must be a UUID"));
  EXPECT_THAT(RequestIdFault("8f14e45f-ceea-467f-a0e6-90ab5d3c1f5g"), HasSubstr("UUID"));
  EXPECT_THAT(RequestIdFault("8f14e45f-ceea-467f-a0e6-90ab5d3c1f522"), HasSubstr("UUID"));
  EXPECT_THAT(RequestIdFault("8f14e45f_ceea_467f_a0e6_90ab5d3c1f52"), HasSubstr("UUID"));
  EXPECT_THAT(RequestIdFault("00000000-0000-0000-0000-000000000000"), HasSubstr("nil UUID"));
}

TEST(CheckRequestIdTest, CaseDoesNotCount) {
  Violations violations;
  EXPECT_EQ(CheckRequestId("8F14E45F-CEEA-467F-A0E6-90AB5D3C1F52", violations), "8f14e45f-ceea-467f-a0e6-90ab5d3c1f52");
  EXPECT_TRUE(violations.empty());
}

std::string InterfaceNameFault(absl::string_view name) {
  Violations violations;
  CheckInterfaceName("f", name, violations);
  return OnlyDescription(violations);
}

TEST(CheckInterfaceNameTest, FollowsTheKernel) {
  for (const char* name : {"eth0", "a", "fifteen-bytes-x", "eth%d", "%d", "x%dy", "a.b", "...", "all0", "@#!\"'\\$"}) {
    EXPECT_EQ(InterfaceNameFault(name), "") << name;
  }
  for (const std::string& name :
       {std::string("sixteen-bytes-xx"), std::string("."), std::string(".."), std::string("a/b"), std::string("a:b"),
        std::string("a b"), std::string("a\tb"), std::string("a\nb"), std::string("a\0b", 3), std::string("\x7f"),
        std::string("\xc3\xbc"), std::string("%"), std::string("%s"), std::string("a%"), std::string("%d%d"),
        std::string("%%d"), std::string("%5d")}) {
    EXPECT_THAT(InterfaceNameFault(name), HasSubstr("f: must be 1 to 15 visible ASCII characters")) << name;
  }
  EXPECT_THAT(InterfaceNameFault("all"), HasSubstr("the kernel keeps it"));
  EXPECT_THAT(InterfaceNameFault("default"), HasSubstr("the kernel keeps it"));
}

TEST(CheckInterfaceNameTest, ChoosesAPatternWhenLeftOut) {
  Violations violations;
  EXPECT_EQ(CheckInterfaceName("f", "", violations), "veth%d");
  EXPECT_TRUE(IsInterfaceNamePattern("veth%d"));
  EXPECT_FALSE(IsInterfaceNamePattern("veth0"));
}

std::string MacFault(absl::string_view text) {
  Violations violations;
  CheckMacAddress("f", text, violations);
  return OnlyDescription(violations);
}

TEST(CheckMacAddressTest, WantsAUnicastAddress) {
  EXPECT_EQ(MacFault(""), "");
  EXPECT_EQ(MacFault("02:00:5e:10:00:01"), "");
  EXPECT_EQ(MacFault("AA:BB:CC:dd:ee:ff"), "");
  for (const char* text : {"02:00:5e:10:00", "02:00:5e:10:00:01:02", "02-00-5e-10-00-01", "0200.5e10.0001",
                           "2:0:5e:10:0:1", "02:00:5e:10:00:0g", " 02:00:5e:10:00:01", "02:00:5e:10:00:01\n", "x"}) {
    EXPECT_THAT(MacFault(text), HasSubstr("must be a MAC address, as 02:00:5e:10:00:01")) << text;
  }
  EXPECT_THAT(MacFault("00:00:00:00:00:00"), HasSubstr("all zeros"));
  EXPECT_THAT(MacFault("01:00:5e:00:00:01"), HasSubstr("unicast"));
  EXPECT_THAT(MacFault("ff:ff:ff:ff:ff:ff"), HasSubstr("unicast"));
}

std::string MtuFault(uint32_t mtu) {
  Violations violations;
  CheckMtu("f", mtu, violations);
  return OnlyDescription(violations);
}

TEST(CheckMtuTest, HasTheKernelsRange) {
  for (uint32_t mtu : {0u, 68u, 1500u, 65535u}) EXPECT_EQ(MtuFault(mtu), "") << mtu;
  for (uint32_t mtu : {1u, 67u, 65536u, 4294967295u}) {
    EXPECT_THAT(MtuFault(mtu), AllOf(HasSubstr("68 to 65535"), HasSubstr(std::to_string(mtu))));
  }
  Violations violations;
  EXPECT_EQ(CheckMtu("f", 0, violations), std::nullopt);
  EXPECT_EQ(CheckMtu("f", 9000, violations), 9000u);
}

TEST(CheckPageTest, BoundsThePage) {
  Violations violations;
  EXPECT_EQ(CheckPage("ListVeths", 0, "", violations).limit, 100u);
  EXPECT_EQ(CheckPage("ListVeths", 1, "", violations).limit, 1u);
  EXPECT_EQ(CheckPage("ListVeths", 1000, "", violations).limit, 1000u);
  EXPECT_EQ(CheckPage("ListVeths", 2147483647, "", violations).limit, 1000u);
  EXPECT_EQ(CheckPage("ListVeths", 5, FormatPageToken("ListVeths", "v7"), violations).after, "v7");
  EXPECT_TRUE(violations.empty());
  CheckPage("ListVeths", -1, "", violations);
  EXPECT_THAT(OnlyDescription(violations), HasSubstr("page_size: must not be negative, but is -1"));
}

TEST(PageTokenTest, ReadsItsOwnOnly) {
  const std::string after("a\xff/\n", 4);
  EXPECT_EQ(ParsePageToken("ListVeths", FormatPageToken("ListVeths", after)), after);
  EXPECT_EQ(ParsePageToken("ListNamespaces", FormatPageToken("ListVeths", after)), std::nullopt);
  for (const char* token : {"", "x", "!!!!", "MQ", "MTpMaXN0VmV0aHM6", "v7"}) {
    EXPECT_EQ(ParsePageToken("ListVeths", token), std::nullopt) << token;
  }
  EXPECT_EQ(ParsePageToken("ListVeths", std::string(100000, 'A')), std::nullopt);
  Violations violations;
  CheckPage("ListVeths", 0, "bogus", violations);
  EXPECT_THAT(OnlyDescription(violations),
              HasSubstr("page_token: must be the next_page_token of an answer to ListVeths"));
}

}  // namespace
}  // namespace netprov::api
