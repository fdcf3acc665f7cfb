#include "client/cli/field_text.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "netprov/v1/bridge.pb.h"
#include "netprov/v1/namespace.pb.h"
#include "netprov/v1/veth.pb.h"

namespace netprov::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(FieldText, AFieldIsSetInTheWordsOfItsType) {
  v1::Veth veth;
  google::protobuf::FieldMask mask;
  const absl::Status status = SetFields(
      {"endpoint_a.mtu=1400", "endpoint_a.mac_address=02:00:00:00:00:01", "endpoint_a.admin_state=down",
       "endpoint_a.promiscuous=yes", "endpoint_b.addresses=10.0.0.2/24", "endpoint_b.addresses=2001:db8::2/64",
       "endpoint_b.gateways=10.0.0.1", "endpoint_b.routes=blackhole 10.9.0.0/16", "endpoint_b.bridge=bridges/br",
       "endpoint_b.alias=to the lab", "endpoint_b.bridge_port.isolated=on",
       "endpoint_b.offload_limits.gso_max_size=1000", "metadata.ttl=90s", "metadata.labels=team=net",
       "metadata.labels=zone=a=b"},
      veth, mask);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(veth.endpoint_a().mtu(), 1400U);
  EXPECT_EQ(veth.endpoint_a().mac_address(), "02:00:00:00:00:01");
  EXPECT_EQ(veth.endpoint_a().admin_state(), v1::VethEndpoint::ADMIN_STATE_DOWN);
  EXPECT_TRUE(veth.endpoint_a().promiscuous());
  ASSERT_EQ(veth.endpoint_b().addresses_size(), 2);
  EXPECT_EQ(veth.endpoint_b().addresses(1).address(), "2001:db8::2/64");
  EXPECT_THAT(veth.endpoint_b().gateways(), ElementsAre("10.0.0.1"));
  EXPECT_EQ(veth.endpoint_b().routes(0).type(), v1::Route::TYPE_BLACKHOLE);
  EXPECT_EQ(veth.endpoint_b().alias(), "to the lab");
  EXPECT_TRUE(veth.endpoint_b().bridge_port().isolated());
  EXPECT_EQ(veth.endpoint_b().offload_limits().gso_max_size(), 1000U);
  EXPECT_EQ(veth.metadata().ttl().seconds(), 90);
  EXPECT_EQ(veth.metadata().labels().at("team"), "net");
  EXPECT_EQ(veth.metadata().labels().at("zone"), "a=b");
  EXPECT_THAT(mask.paths(),
              ElementsAre("endpoint_a.mtu", "endpoint_a.mac_address", "endpoint_a.admin_state",
                          "endpoint_a.promiscuous", "endpoint_b.addresses", "endpoint_b.gateways", "endpoint_b.routes",
                          "endpoint_b.bridge", "endpoint_b.alias", "endpoint_b.bridge_port.isolated",
                          "endpoint_b.offload_limits.gso_max_size", "metadata.ttl", "metadata.labels"));
}

TEST(FieldText, AWholePortAndABridgesTimes) {
  v1::Veth veth;
  google::protobuf::FieldMask mask;
  ASSERT_TRUE(SetFields({"endpoint_a.bridge_port=isolated on cost 7"}, veth, mask).ok());
  EXPECT_EQ(veth.endpoint_a().bridge_port().cost(), 7U);
  v1::Bridge bridge;
  ASSERT_TRUE(SetFields({"ageing_time=1m30s", "stp=no"}, bridge, mask).ok());
  EXPECT_EQ(bridge.ageing_time().seconds(), 90);
  EXPECT_TRUE(bridge.has_stp());
}

TEST(FieldText, AForwardIsInTheWordsOfItsOption) {
  v1::Veth veth;
  google::protobuf::FieldMask mask;
  const absl::Status status =
      SetFields({"endpoint_b.port_forwards=8080:80", "endpoint_b.port_forwards=53:53/udp", "endpoint_b.masquerade=yes"},
                veth, mask);
  ASSERT_TRUE(status.ok()) << status.message();
  ASSERT_EQ(veth.endpoint_b().port_forwards_size(), 2);
  EXPECT_EQ(veth.endpoint_b().port_forwards(1).ShortDebugString(), "protocol: PROTOCOL_UDP host_port: 53 port: 53");
  EXPECT_TRUE(veth.endpoint_b().masquerade());
  EXPECT_FALSE(SetFields({"endpoint_b.port_forwards=80"}, veth, mask).ok());
}

TEST(FieldText, ALimitIsInTheWordsOfTc) {
  v1::Veth veth;
  google::protobuf::FieldMask mask;
  const absl::Status status = SetFields({"endpoint_b.ingress_limit.rate=10mbit", "endpoint_b.ingress_limit.burst=32k",
                                         "endpoint_b.ingress_limit.latency=50ms"},
                                        veth, mask);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(veth.endpoint_b().ingress_limit().rate(), 10'000'000U);
  EXPECT_EQ(veth.endpoint_b().ingress_limit().burst(), 32768U);
  EXPECT_EQ(veth.endpoint_b().ingress_limit().latency().nanos(), 50'000'000);
  EXPECT_FALSE(SetFields({"endpoint_b.ingress_limit.rate=fast"}, veth, mask).ok());
}

TEST(FieldText, WhatHasNoValueIsInTheMaskAlone) {
  v1::Veth veth;
  google::protobuf::FieldMask mask;
  ASSERT_TRUE(SetFields({"endpoint_a.addresses=", "metadata.labels="}, veth, mask).ok());
  EXPECT_EQ(veth.ByteSizeLong(), 0U);
  EXPECT_THAT(mask.paths(), ElementsAre("endpoint_a.addresses", "metadata.labels"));
}

TEST(FieldText, MistakesAreNamed) {
  struct Case {
    std::string setting;
    std::string error;
  };
  for (const Case& test : std::vector<Case>{
           {"mtu", "must be FIELD=VALUE"},
           {"=1", "must be FIELD=VALUE"},
           {"endpoint_a.color=red", "there is no field `color`"},
           {"endpoint_a.mtu.more=1", "nothing is below `mtu`"},
           {"endpoint_a.addresses.address=1", "nothing is below `addresses`"},
           {"endpoint_a.mtu=big", "endpoint_a.mtu: is not what the field takes"},
           {"endpoint_a.admin_state=sideways", "is not what the field takes"},
           {"endpoint_a.promiscuous=perhaps", "is not what the field takes"},
           {"endpoint_a.routes=via", "endpoint_a.routes: "},
           {"metadata.labels=team", "must be KEY=VALUE"},
           {"metadata.ttl=soon", "must be a duration"},
           {"endpoint_a.offload_limits=7", "must be JSON"},
       }) {
    v1::Veth veth;
    google::protobuf::FieldMask mask;
    EXPECT_THAT(SetFields({test.setting}, veth, mask).message(), HasSubstr(test.error)) << test.setting;
  }
}

}  // namespace
}  // namespace netprov::cli
