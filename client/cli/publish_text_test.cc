#include "client/cli/publish_text.h"

#include <string>
#include <tuple>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace netprov::cli {
namespace {

using ::testing::HasSubstr;

TEST(PublishTextTest, WhatIsTypedIsReadAndPrintedAgain) {
  for (const auto& [text, message, printed] :
       {std::tuple("8080:80", "host_port: 8080 port: 80", "8080:80/tcp"),
        std::tuple("53:5353/udp", "protocol: PROTOCOL_UDP host_port: 53 port: 5353", "53:5353/udp"),
        std::tuple("1:65535/tcp", "host_port: 1 port: 65535", "1:65535/tcp"),
        std::tuple("192.0.2.1:5000-5009:5000/udp",
                   "protocol: PROTOCOL_UDP host_address: \"192.0.2.1\" host_port: 5000 host_port_last: 5009 port: 5000",
                   "192.0.2.1:5000-5009:5000/udp"),
        std::tuple("[2001:db8::1]:443:8443", "host_address: \"2001:db8::1\" host_port: 443 port: 8443",
                   "[2001:db8::1]:443:8443/tcp")}) {
    const absl::StatusOr<v1::PortForward> parsed = ParsePublish(text);
    ASSERT_TRUE(parsed.ok()) << text;
    EXPECT_EQ(parsed->ShortDebugString(), message);
    EXPECT_EQ(FormatPublish(*parsed), printed);
  }
}

TEST(PublishTextTest, WhatTheServerFillsInIsNotPrinted) {
  v1::PortForward forward;
  forward.set_host_port(80);
  EXPECT_EQ(FormatPublish(forward), "80:80/tcp");
  forward.set_host_port_last(80);
  forward.set_protocol(v1::PortForward::PROTOCOL_TCP);
  EXPECT_EQ(FormatPublish(forward), "80:80/tcp");
}

TEST(PublishTextTest, WhatIsNoForwardIsRefused) {
  for (const char* text : {"",
                           "80",
                           "80:",
                           ":80",
                           "0:80",
                           "80:0",
                           "65536:80",
                           "80:65536",
                           "80-:80",
                           "-90:80",
                           "90-80:80",
                           "80:80-90",
                           "80:80/sctp",
                           "80:80/",
                           "http:80",
                           "+80:80",
                           "192.0.2.1:80",
                           ":80:80",
                           "[]:80:80",
                           "[::1:80:80",
                           "[::1]80:80",
                           "2001:db8::1:80:80",
                           "1.2.3.4:80:80:80"}) {
    const absl::StatusOr<v1::PortForward> parsed = ParsePublish(text);
    ASSERT_FALSE(parsed.ok()) << text;
    EXPECT_THAT(std::string(parsed.status().message()), HasSubstr("must be [HOST_ADDRESS:]")) << text;
  }
}

}  // namespace
}  // namespace netprov::cli
