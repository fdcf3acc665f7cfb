#include "client/cli/device_text.h"

#include <string>
#include <utility>

#include "gmock/gmock.h"
#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"

namespace netprov::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(DeviceTextTest, ModesAreInTheWordsOfIpLink) {
  v1::Macvlan macvlan;
  EXPECT_TRUE(SetMacvlanMode("", macvlan).ok());
  EXPECT_EQ(macvlan.mode(), v1::Macvlan::MODE_UNSPECIFIED);
  for (const char* mode : {"private", "vepa", "bridge", "passthru", "source"}) {
    EXPECT_TRUE(SetMacvlanMode(mode, macvlan).ok()) << mode;
  }
  EXPECT_EQ(macvlan.mode(), v1::Macvlan::MODE_SOURCE);
  for (const char* mode : {"unspecified", "BRIDGE", "l2"}) {
    EXPECT_THAT(std::string(SetMacvlanMode(mode, macvlan).message()), HasSubstr("--mode: `")) << mode;
  }
  v1::Ipvlan ipvlan;
  EXPECT_TRUE(SetIpvlanMode("l3s", ipvlan).ok());
  EXPECT_EQ(ipvlan.mode(), v1::Ipvlan::MODE_L3S);
  EXPECT_FALSE(SetIpvlanMode("l4", ipvlan).ok());
  EXPECT_TRUE(SetIpvlanModeFlag("vepa", ipvlan).ok());
  EXPECT_EQ(ipvlan.mode_flag(), v1::Ipvlan::MODE_FLAG_VEPA);
  EXPECT_FALSE(SetIpvlanModeFlag("none", ipvlan).ok());
  v1::Vlan vlan;
  EXPECT_TRUE(SetVlanProtocol("dot1ad", vlan).ok());
  EXPECT_EQ(vlan.protocol(), v1::Vlan::PROTOCOL_DOT1AD);
  EXPECT_FALSE(SetVlanProtocol("802.1q", vlan).ok());
}

TEST(DeviceTextTest, EntriesAreReadAndPrinted) {
  for (const char* text : {"02:00:00:00:00:01 dst 192.0.2.1", "00:00:00:00:00:00 dst 2001:db8::1 port 4790 vni 7"}) {
    const auto entry = ParseFdbEntry(text);
    ASSERT_TRUE(entry.ok()) << entry.status();
    EXPECT_EQ(FormatFdbEntry(*entry), text);
  }
  EXPECT_TRUE(ParseFdbEntry(" 02:00:00:00:00:01\tvni 1 dst 192.0.2.1 ").ok());
  const std::pair<const char*, const char*> kWrong[] = {
      {"", "MAC address is missing"},      {"m", "`dst` is missing"},
      {"m dst", "`dst` takes an address"}, {"m dst a port x", "takes a number"},
      {"m dst a vni", "takes a number"},   {"m dst a dst b", "there twice"},
      {"m via a", "`via` is not known"},   {"m dst a port +7", "takes a number"}};
  for (const auto& [text, message] : kWrong) {
    EXPECT_THAT(std::string(ParseFdbEntry(text).status().message()), HasSubstr(message)) << text;
  }
}

TEST(DeviceTextTest, EachKindIsDescribed) {
  const auto device = [](const char* text) {
    v1::Device parsed;
    EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &parsed)) << text;
    return parsed;
  };
  const v1::Device macvlan = device(R"(macvlan { mode: MODE_SOURCE source_mac_addresses: "02:00:00:00:00:01" })");
  EXPECT_EQ(KindName(macvlan), "macvlan");
  EXPECT_THAT(FormatKind(macvlan), ElementsAre("mode source", "source 02:00:00:00:00:01"));
  EXPECT_THAT(FormatKind(device(R"(vxlan { vni: 42 local: "192.0.2.1" remote: "192.0.2.2" port: 4789 ttl: 3
                                           learning: true proxy: true ageing_time { seconds: 90 } })")),
              ElementsAre("vni 42", "local 192.0.2.1", "remote 192.0.2.2", "port 4789", "ttl 3", "learning on",
                          "proxy on", "ageing-time 1m30s"));
  EXPECT_THAT(FormatKind(device("vlan { id: 7 protocol: PROTOCOL_DOT1Q }")),
              ElementsAre("vlan-id 7", "protocol dot1q"));
  EXPECT_THAT(FormatKind(device("ipvlan { mode: MODE_L3 mode_flag: MODE_FLAG_BRIDGE }")),
              ElementsAre("mode l3", "mode-flag bridge"));
  EXPECT_THAT(FormatKind(device("dummy {}")), IsEmpty());
  EXPECT_EQ(KindName(device("ifb {}")), "ifb");
  EXPECT_EQ(KindName(v1::Device()), "");
  // Of a later version.
  v1::Device later;
  later.mutable_macvlan()->set_mode(static_cast<v1::Macvlan::Mode>(9));
  EXPECT_THAT(FormatKind(later), ElementsAre("mode 9"));
}

}  // namespace
}  // namespace netprov::cli
