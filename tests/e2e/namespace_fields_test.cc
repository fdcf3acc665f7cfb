// What a namespace can have: as asked for, as Get reads it, as sysctl and the programs inside see it, and as updates
// change it.
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/e2e/field_matrix.h"
#include "tests/testing/private_host.h"

namespace netprov::testing {
namespace {

using google::protobuf::Message;
using ::testing::HasSubstr;

constexpr char kResolver[] = "ip netns exec blue cat /etc/resolv.conf";

Thing Sysctl(const std::string& name, const std::string& value) {
  return {absl::StrCat("sysctls { key: \"", name, "\" value: \"", value, "\" }"),
          {{"ip netns exec blue sysctl " + name, absl::StrCat(name, " = ", value, "\n")}}};
}

std::vector<Thing> Things() {
  return {
      // One of each family of settings.
      Sysctl("net.ipv4.ip_forward", "1"),
      Sysctl("net.ipv4.conf.default.rp_filter", "2"),
      Sysctl("net.ipv6.conf.default.accept_dad", "0"),
      Sysctl("net.netfilter.nf_conntrack_tcp_loose", "0"),
      Sysctl("net.mptcp.enabled", "0"),
      Sysctl("net.core.somaxconn", "1000"),
      Sysctl("net.unix.max_dgram_qlen", "100"),
      {R"(dns { nameservers: "10.0.0.53" nameservers: "2001:db8::53" })",
       {{kResolver, "\nnameserver 10.0.0.53\nnameserver 2001:db8::53\n"}}},
      {R"(dns { searches: "example.org" searches: "example.com" })",
       {{kResolver, "\nsearch example.org example.com\n"}}},
      {R"(dns { options: "ndots:2" options: "edns0" })", {{kResolver, "\noptions ndots:2 edns0\n"}}},
      {R"(dns { hosts { address: "10.0.0.5" names: "db" names: "db.example.org" } })",
       {{"ip netns exec blue cat /etc/hosts", "\n10.0.0.5 db db.example.org\n"},
        {"ip netns exec blue getent hosts db.example.org || true", "10.0.0.5"}}},
      {R"(metadata { owner: "ci/job-17" ttl { seconds: 600 } })", {}},
      {R"(metadata { labels { key: "stage" value: "test" } })", {}},
      {"metadata { persistent: true }", {}},
      {"metadata { self_heal: true }", {}},
  };
}

class NamespaceFieldsTest : public FieldMatrixTest {
 protected:
  void SetUp() override {
    HostTest::SetUp();
    StartDaemon();
  }

  Answer Make(const Message& asked) override {
    v1::CreateNamespaceRequest request;
    request.set_namespace_id("blue");
    return MakeBy(request, request.mutable_namespace_(), asked);
  }
  Answer Read() override { return AnswerOf(client_->GetNamespace("blue")); }
  Answer Update(const Message& wanted, const std::vector<std::string>& paths, bool validate_only) override {
    v1::UpdateNamespaceRequest request;
    return UpdateBy(request, request.mutable_namespace_(), wanted, paths, validate_only);
  }
  void Remove() override { EXPECT_OK(client_->DeleteNamespace("blue")); }

  void Fill(const Message& made, Message& asked) override {
    const auto& answered = static_cast<const v1::Namespace&>(made);
    auto& netns = static_cast<v1::Namespace&>(asked);
    FillObject(answered, "namespaces/blue", netns);
    netns.set_managed(true);
    netns.set_path("/run/netns/blue");
    EXPECT_NE(answered.cookie(), 0U);
    netns.set_cookie(answered.cookie());
  }

  // The namespace itself is there in an update. A sysctl that is taken away keeps its value.
  std::string Everything() override {
    return Shell(
        "ls /run/netns; cd /etc && [ ! -e netns ] || find netns -type f -exec tail -n +2 {} +; "
        "[ ! -e /run/netns/blue ] || ip -n blue address");
  }
};

TEST_F(NamespaceFieldsTest, EachAlone) { ExpectEachAlone(v1::Namespace(), Things()); }

TEST_F(NamespaceFieldsTest, AllTogether) { ExpectAllTogether(v1::Namespace(), Things()); }

TEST_F(NamespaceFieldsTest, UpdatesOfEachAloneAndOfAllTogether) { ExpectUpdates(v1::Namespace(), Things(), {}); }

TEST_F(NamespaceFieldsTest, WhatTheServerFillsInIsTheKernels) {
  const Answer made = Make(v1::Namespace());
  EXPECT_OK(made);
  const auto& netns = static_cast<const v1::Namespace&>(*made.value);
  EXPECT_THAT(Shell("ip -n blue -j link show dev lo"), HasSubstr(absl::StrCat(":", netns.uid(), ":namespaces/blue")));
  constexpr char kCookie[] =
      "ip netns exec blue /usr/bin/python3 -c 'import socket; SO_NETNS_COOKIE = 71; "
      "print(int.from_bytes(socket.socket().getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8), \"little\"))'";
  EXPECT_EQ(Shell(kCookie), absl::StrCat(netns.cookie(), "\n"));
  Remove();
}

TEST_F(NamespaceFieldsTest, NothingIsForgotten) {
  ExpectComplete(v1::Namespace(), Things());
  ExpectRefusesOnly(v1::Namespace(), {});
}

}  // namespace
}  // namespace netprov::testing
