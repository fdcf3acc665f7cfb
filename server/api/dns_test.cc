#include "server/api/dns.h"

#include <string>

#include "gmock/gmock.h"
#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"

namespace netprov::api {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

v1::Dns Parse(const std::string& text) {
  v1::Dns dns;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &dns)) << text;
  return dns;
}

// What is wrong with it; empty: nothing.
std::string FaultOf(const v1::Dns& dns) {
  Violations violations;
  ToDns("f", dns, violations);
  return violations.empty() ? "" : std::string(violations.ToStatus().message());
}

TEST(DnsTest, GoesThereAndBack) {
  const v1::Dns proto = Parse(R"(nameservers: "10.0.0.53" nameservers: "2001:DB8::0053" searches: "example.org"
                                 searches: "." options: "ndots:2" options: "use-vc"
                                 hosts { address: "10.0.0.5" names: "db" names: "db.example.org" })");
  Violations violations;
  const engine::DnsSpec dns = ToDns("f", proto, violations);
  EXPECT_TRUE(violations.empty());
  EXPECT_THAT(dns.nameservers, ElementsAre("10.0.0.53", "2001:db8::53"));
  EXPECT_THAT(dns.searches, ElementsAre("example.org", "."));
  EXPECT_THAT(dns.options, ElementsAre("ndots:2", "use-vc"));
  ASSERT_EQ(dns.hosts.size(), 1u);
  EXPECT_THAT(dns.hosts[0].names, ElementsAre("db", "db.example.org"));
  const v1::Dns back = ToProto(dns);
  EXPECT_EQ(ToDns("f", back, violations), dns);
  EXPECT_EQ(back.nameservers(1), "2001:db8::53");
}

TEST(DnsTest, NothingIsNothing) {
  Violations violations;
  EXPECT_TRUE(ToDns("f", v1::Dns(), violations).empty());
  EXPECT_TRUE(violations.empty());
}

// A file has lines: whatever could begin another one is refused.
TEST(DnsTest, SaysWhatIsWrong) {
  EXPECT_THAT(FaultOf(Parse(R"(nameservers: "dns.example.org")")), HasSubstr("f.nameservers[0] must be an IPv4"));
  EXPECT_THAT(FaultOf(Parse(R"(nameservers: "")")), HasSubstr("f.nameservers[0]"));
  EXPECT_THAT(FaultOf(Parse(R"(searches: "a" searches: "a b")")), HasSubstr("f.searches[1] must be 1 to 253"));
  EXPECT_THAT(FaultOf(Parse(R"(searches: "a\nnameserver 1.1.1.1")")), HasSubstr("f.searches[0]"));
  EXPECT_THAT(FaultOf(Parse(R"(options: "ndots:2 debug")")), HasSubstr("f.options[0] must be 1 to 64"));
  EXPECT_THAT(FaultOf(Parse(R"(options: "")")), HasSubstr("f.options[0]"));
  EXPECT_THAT(FaultOf(Parse(R"(hosts { address: "x" names: "a" })")), HasSubstr("f.hosts[0].address must be"));
  EXPECT_THAT(FaultOf(Parse(R"(hosts { address: "::1" })")), HasSubstr("f.hosts[0].names must be at least one"));
  EXPECT_THAT(FaultOf(Parse(R"(hosts { address: "::1" names: "a" names: "-b" })")), HasSubstr("f.hosts[0].names[1]"));
  EXPECT_THAT(FaultOf(Parse(R"(hosts { address: "::1" names: "#" })")), HasSubstr("f.hosts[0].names[0]"));
}

TEST(DnsTest, HasLimits) {
  v1::Dns dns;
  for (int i = 0; i < 3; ++i) dns.add_nameservers("10.0.0.1");
  for (int i = 0; i < 32; ++i) dns.add_searches(std::string(253, 'a'));
  for (int i = 0; i < 16; ++i) dns.add_options(std::string(64, 'a'));
  for (int i = 0; i < 256; ++i) {
    v1::Dns::Host& host = *dns.add_hosts();
    host.set_address("10.0.0.1");
    for (int name = 0; name < 16; ++name) host.add_names("a");
  }
  EXPECT_EQ(FaultOf(dns), "");
  const v1::Dns most = dns;
  dns.add_nameservers("10.0.0.1");
  EXPECT_THAT(FaultOf(dns), HasSubstr("f.nameservers must be at most 3"));
  dns = most;
  dns.add_searches("a");
  EXPECT_THAT(FaultOf(dns), HasSubstr("f.searches must be at most 32"));
  dns = most;
  dns.add_options("a");
  EXPECT_THAT(FaultOf(dns), HasSubstr("f.options must be at most 16"));
  dns = most;
  dns.mutable_hosts(0)->add_names("a");
  EXPECT_THAT(FaultOf(dns), HasSubstr("f.hosts[0].names must be at most 16"));
  dns = most;
  for (int i = 0; i < 256; ++i) dns.mutable_hosts(i)->set_names(0, std::string(250, 'a'));
  EXPECT_THAT(FaultOf(dns), HasSubstr("f.hosts must be at most 60000 bytes as a file"));
  dns = most;
  dns.add_hosts();
  EXPECT_THAT(FaultOf(dns), HasSubstr("f.hosts must be at most 256"));
}

}  // namespace
}  // namespace netprov::api
