// Quotas: two callers with certificates, each with its own, and whoever can do it without netprov.
#include <atomic>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/client.h"
#include "client/status.h"
#include "gmock/gmock.h"
#include "google/rpc/error_details.pb.h"
#include "gtest/gtest.h"
#include "netprov/v1/access.pb.h"
#include "server/access/policy.h"
#include "tests/component/tls_fixture.h"

namespace netprov::testing {
namespace {

using access::ObjectLimits;

// `RESOURCE_EXHAUSTED QUOTA_EXCEEDED links 4/4`; `OK`.
std::string SummaryOf(const absl::Status& status) {
  std::string text(absl::StatusCodeToString(status.code()));
  const auto info = client::GetErrorInfo(status);
  if (!info.has_value()) return absl::StrCat(text, status.ok() ? "" : std::string(status.message()));
  const auto& metadata = info->metadata();
  auto value = [&metadata](const char* key) { return metadata.contains(key) ? metadata.at(key) : std::string("?"); };
  return absl::StrCat(text, " ", info->reason(), " ", value("quota"), " ", value("usage"), "/", value("limit"));
}
template <typename T>
std::string SummaryOf(const absl::StatusOr<T>& result) {
  return SummaryOf(result.status());
}

class QuotaTest : public TlsTest {
 protected:
  void SetUp() override {
    TlsTest::SetUp();
    Start();
  }

  client::Client By(const std::string& name) {
    const auto connection = client::MakeConnection(address_, As(name));
    EXPECT_TRUE(connection.ok()) << connection.status();
    return client::Client(*connection, {.timeout = absl::FromChrono(kDeadline), .retry = false});
  }

  // Everybody may do everything, but ci no more than this.
  void Limit(const ObjectLimits& ci, const ObjectLimits& total = {}) {
    const access::Principal who{.kind = access::Principal::Kind::kCommonName, .pattern = "ci"};
    const access::Principal any{.kind = access::Principal::Kind::kCommonName, .pattern = "*"};
    std::vector<access::Rule> rules = access::RulesOfTheHost();
    rules.push_back(
        {.name = "all", .who = {any}, .role = access::BuiltInRoles().back(), .rights = {access::Right::kHost}});
    server().SetPolicy(access::Policy(std::move(rules), {{.who = {who}, .calls = {}, .objects = ci}}, total));
  }

  // A pair from the host into `blue`, whose end there has all of this.
  static v1::Veth Pair(const std::string& name, int addresses = 0, int routes = 0, int ports = 0) {
    v1::Veth veth;
    veth.mutable_endpoint_a()->mutable_host();
    veth.mutable_endpoint_a()->set_interface_name("h-" + name);
    v1::VethEndpoint& end = *veth.mutable_endpoint_b();
    end.set_namespace_("namespaces/blue");
    end.set_interface_name(name);
    for (int i = 0; i < addresses; ++i) end.add_addresses()->set_address(absl::StrCat("10.0.", i, ".2/24"));
    for (int i = 0; i < routes; ++i) {
      v1::Route& route = *end.add_routes();
      route.set_type(v1::Route::TYPE_BLACKHOLE);
      route.set_destination(absl::StrCat("10.9.", i, ".0/24"));
    }
    if (ports > 0) {
      v1::PortForward& forward = *end.add_port_forwards();
      forward.set_protocol(v1::PortForward::PROTOCOL_TCP);
      forward.set_host_port(8000);
      forward.set_host_port_last(8000 + ports - 1);
      forward.set_port(80);
    }
    return veth;
  }
};

TEST_F(QuotaTest, EachCallerHasItsOwn) {
  Limit({.namespaces = 2});
  const client::Client ci = By("ci");
  const client::Client lab = By("lab");
  const auto blue = ci.CreateNamespace("blue");
  ASSERT_TRUE(blue.ok()) << blue.status();
  EXPECT_EQ(blue->metadata().creator(), "cn:ci");
  EXPECT_EQ(SummaryOf(ci.CreateNamespace("green")), "OK");
  const auto refused = ci.CreateNamespace("red");
  EXPECT_EQ(SummaryOf(refused), "RESOURCE_EXHAUSTED QUOTA_EXCEEDED namespaces 2/2");
  const auto quota = client::GetDetail<google::rpc::QuotaFailure>(refused.status());
  ASSERT_TRUE(quota.has_value());
  EXPECT_EQ(quota->violations(0).subject(), "caller:cn:ci");
  EXPECT_TRUE(client::GetDetail<google::rpc::RetryInfo>(refused.status()).has_value());
  EXPECT_EQ(client_->GetNamespace("red").Summary(), "NOT_FOUND NAMESPACE_NOT_FOUND") << "a refusal changes nothing";
  // Another caller's are another's, and the daemon's own user has none.
  EXPECT_EQ(SummaryOf(lab.CreateNamespace("red")), "OK");
  EXPECT_TRUE(client_->CreateNamespace("root").ok());
  EXPECT_EQ(lab.GetNamespace("red")->metadata().creator(), "spiffe://example.org/lab");
  EXPECT_EQ(lab.GetNamespace("blue")->metadata().creator(), "cn:ci") << "whoever may see it may see who made it";
  // Who deletes it does not matter.
  EXPECT_TRUE(lab.DeleteNamespace("blue").ok());
  EXPECT_EQ(SummaryOf(ci.CreateNamespace("blue")), "OK");
  // What there is stays, whatever the policy says later.
  Limit({.namespaces = 0});
  EXPECT_EQ(SummaryOf(ci.CreateNamespace("grey")), "RESOURCE_EXHAUSTED QUOTA_EXCEEDED namespaces 2/0");
  EXPECT_TRUE(ci.GetNamespace("blue").ok());
  Limit({});
  EXPECT_EQ(SummaryOf(ci.CreateNamespace("grey")), "OK");
}

TEST_F(QuotaTest, EveryKindIsCounted) {
  Limit({});
  const client::Client ci = By("ci");
  ASSERT_TRUE(client_->CreateNamespace("blue").ok());
  struct Case {
    ObjectLimits limits;
    v1::Veth veth;
    std::string refusal;
  };
  const std::vector<Case> cases = {
      {{.links = 1}, Pair("eth0"), "links 0/1"},
      {{.addresses = 2}, Pair("eth0", 3), "addresses 0/2"},
      {{.routes = 2}, Pair("eth0", 0, 3), "routes 0/2"},
      {{.nat_elements = 3}, Pair("eth0", 1, 0, 3), "nat_elements 0/3"},
  };
  for (const Case& one : cases) {
    Limit(one.limits);
    v1::CreateVethRequest request;
    request.set_veth_id("v");
    *request.mutable_veth() = one.veth;
    for (const bool validate_only : {true, false}) {
      request.set_validate_only(validate_only);
      EXPECT_EQ(SummaryOf(ci.CreateVeth(request)), "RESOURCE_EXHAUSTED QUOTA_EXCEEDED " + one.refusal);
    }
  }
  Limit({.links = 3, .addresses = 3, .routes = 3, .nat_elements = 4});
  const auto made = ci.CreateVeth("v", Pair("eth0", 3, 3, 3));
  ASSERT_TRUE(made.ok()) << made.status();
  // What an update adds counts for who made it, and so it is refused to whoever may have no more than that.
  v1::Veth more = *made;
  more.mutable_endpoint_b()->mutable_egress_limit()->set_rate(8'000'000);
  EXPECT_EQ(SummaryOf(ci.UpdateVeth(more, {"endpoint_b.egress_limit"})), "OK") << "an ifb is the third link";
  more.mutable_endpoint_a()->mutable_egress_limit()->set_rate(8'000'000);
  EXPECT_EQ(SummaryOf(ci.UpdateVeth(more, {"endpoint_a.egress_limit"})), "RESOURCE_EXHAUSTED QUOTA_EXCEEDED links 3/3");
  v1::Bridge bridge;
  bridge.mutable_host();
  EXPECT_EQ(SummaryOf(ci.CreateBridge("br", bridge)), "RESOURCE_EXHAUSTED QUOTA_EXCEEDED links 3/3");
  const auto who = ci.WhoAmI();
  ASSERT_TRUE(who.ok()) << who.status();
  std::vector<std::string> quotas;
  for (const v1::Quota& quota : who->quotas()) {
    quotas.push_back(
        absl::StrCat(quota.quota(), " ", quota.usage(), "/", quota.has_limit() ? absl::StrCat(quota.limit()) : "any"));
  }
  EXPECT_THAT(quotas, ::testing::ElementsAre("namespaces 0/any", "links 3/3", "addresses 3/3", "routes 3/3",
                                             "nat_elements 4/4"));
  EXPECT_EQ(who->call_limits().concurrent_calls(), 256u);
  // Of whom the policy says nothing.
  EXPECT_EQ(By("lab").WhoAmI()->quotas(0).limit(), *access::kTcpObjectLimits.namespaces);
}

TEST_F(QuotaTest, TheCountsSurviveARestart) {
  ASSERT_EQ(SummaryOf(By("ci").CreateNamespace("blue")), "OK");
  StopServer();
  Start();
  Limit({.namespaces = 1});
  EXPECT_EQ(By("ci").GetNamespace("blue")->metadata().creator(), "cn:ci");
  EXPECT_EQ(SummaryOf(By("ci").CreateNamespace("green")), "RESOURCE_EXHAUSTED QUOTA_EXCEEDED namespaces 1/1");
}

TEST_F(QuotaTest, AllCallersTogetherHaveOne) {
  Limit({}, {.namespaces = 2});
  EXPECT_EQ(SummaryOf(By("ci").CreateNamespace("a")), "OK");
  EXPECT_EQ(SummaryOf(By("lab").CreateNamespace("b")), "OK");
  EXPECT_EQ(SummaryOf(By("lab").CreateNamespace("c")), "RESOURCE_EXHAUSTED QUOTA_EXCEEDED total.namespaces 2/2");
  EXPECT_TRUE(client_->CreateNamespace("c").ok()) << "whoever runs the host is not locked out";
}

TEST_F(QuotaTest, TheLastPlaceIsTakenOnce) {
  constexpr int kMost = 5;
  Limit({.namespaces = kMost});
  std::atomic<int> made = 0;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([this, thread, &made] {
      const client::Client ci = By("ci");
      for (int i = 0; i < 4; ++i) {
        const std::string summary = SummaryOf(ci.CreateNamespace(absl::StrCat("n", thread, "-", i)));
        if (summary == "OK") {
          ++made;
        } else {
          EXPECT_EQ(summary, absl::StrCat("RESOURCE_EXHAUSTED QUOTA_EXCEEDED namespaces ", kMost, "/", kMost));
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(made, kMost);
}

}  // namespace
}  // namespace netprov::testing
