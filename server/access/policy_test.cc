#include "server/access/policy.h"

#include <unistd.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace netprov::access {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

Identity Unix(uid_t uid, std::vector<gid_t> groups = {}) {
  return {.kind = Identity::Kind::kUnix, .uid = uid, .gid = uid, .groups = std::move(groups)};
}
Identity Tls(std::vector<std::string> uris, std::vector<std::string> dns_names = {}, std::string common_name = "") {
  return {.kind = Identity::Kind::kTls,
          .common_name = std::move(common_name),
          .dns_names = std::move(dns_names),
          .uris = std::move(uris)};
}

Principal Parsed(const std::string& text) {
  const auto principal = ParsePrincipal(text);
  EXPECT_TRUE(principal.ok()) << principal.status();
  return principal.ok() ? *principal : Principal{};
}

const Role& BuiltIn(const std::string& name) {
  for (const Role& role : BuiltInRoles()) {
    if (role.name == name) return role;
  }
  ADD_FAILURE() << name;
  return BuiltInRoles().front();
}

TEST(IdentityTest, IsKnownByTheMostTellingOfItsNames) {
  EXPECT_EQ(Unix(1000).Name(), "uid:1000");
  EXPECT_EQ((Identity{.kind = Identity::Kind::kSelf}).Name(), "self");
  EXPECT_EQ(Identity{}.Name(), "plaintext");
  EXPECT_EQ(Tls({"https://x", "spiffe://example.org/ci"}, {"ci"}, "ci").Name(), "spiffe://example.org/ci");
  EXPECT_EQ(Tls({"https://x"}, {"ci"}, "ci").Name(), "uri:https://x");
  EXPECT_EQ(Tls({}, {"ci.example.org"}, "ci").Name(), "dns:ci.example.org");
  EXPECT_EQ(Tls({}, {}, "ci").Name(), "cn:ci");
}

TEST(PatternTest, AStarStandsForAnyText) {
  EXPECT_TRUE(Matches("*", ""));
  EXPECT_TRUE(Matches("namespaces/ci-*", "namespaces/ci-1"));
  EXPECT_TRUE(Matches("namespaces/ci-*", "namespaces/ci-"));
  EXPECT_FALSE(Matches("namespaces/ci-*", "namespaces/ci"));
  EXPECT_TRUE(Matches("*/a*b*c", "x/aXbYbZc"));
  EXPECT_FALSE(Matches("*/a*b*c", "x/aXbYbZ"));
  EXPECT_TRUE(Matches("a?c", "abc"));
  EXPECT_FALSE(Matches("a?c", "ac"));
  EXPECT_FALSE(Matches("abc", "abcd"));
  EXPECT_FALSE(Matches("", "a"));
  EXPECT_TRUE(Matches("[a]", "[a]"));
  // Not exponential.
  EXPECT_FALSE(Matches("*a*a*a*a*a*a*a*a*a*a*b", std::string(10'000, 'a')));
}

TEST(PrincipalTest, IsWhomTheTransportVouchesFor) {
  EXPECT_TRUE(Parsed("uid:1000").Is(Unix(1000)));
  EXPECT_FALSE(Parsed("uid:1000").Is(Unix(1001)));
  EXPECT_TRUE(Parsed("gid:7").Is(Unix(1000, {3, 7})));
  EXPECT_TRUE(Parsed("gid:1000").Is(Unix(1000)));
  EXPECT_FALSE(Parsed("gid:7").Is(Unix(1000, {3})));
  EXPECT_TRUE(Parsed("user:root").Is(Unix(0)));
  EXPECT_TRUE(Parsed("group:root").Is(Unix(5, {0})));
  EXPECT_TRUE(Parsed("spiffe://example.org/ci/*").Is(Tls({"spiffe://example.org/ci/7"})));
  EXPECT_FALSE(Parsed("spiffe://example.org/ci/*").Is(Tls({"spiffe://example.com/ci/7"})));
  EXPECT_TRUE(Parsed("uri:https://*").Is(Tls({"urn:x", "https://y"})));
  EXPECT_TRUE(Parsed("dns:*.example.org").Is(Tls({}, {"a.example.org"})));
  EXPECT_FALSE(Parsed("dns:*.example.org").Is(Tls({}, {"example.org"}, "a.example.org")));
  EXPECT_TRUE(Parsed("cn:ci").Is(Tls({}, {}, "ci")));
  EXPECT_FALSE(Parsed("cn:*").Is(Tls({}, {"x"})));
  EXPECT_TRUE(Parsed("plaintext").Is(Identity{}));
  // Names of a certificate mean nothing in another kind of identity.
  Identity liar = Unix(1000);
  liar.common_name = "ci";
  liar.uris = {"spiffe://example.org/ci/7"};
  EXPECT_FALSE(Parsed("cn:ci").Is(liar));
  EXPECT_FALSE(Parsed("spiffe://example.org/ci/*").Is(liar));
  Identity nobody;
  nobody.uid = 0;
  EXPECT_FALSE(Parsed("uid:0").Is(nobody));
}

TEST(PrincipalTest, WhatIsNoneIsRefusedWithWhatIsOne) {
  for (const char* text : {"", "root", "uid:", "uid:-1", "uid:4294967295", "uid:x", "dns:", "cn:", "uri:", "spiffe://",
                           "user:there-is-no-such-user", "group:there-is-no-such-group", "self"}) {
    EXPECT_EQ(ParsePrincipal(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
  EXPECT_THAT(std::string(ParsePrincipal("root").status().message()), HasSubstr("must be uid:NUMBER"));
}

TEST(PolicyTest, NobodyMayDoAnythingWithoutARule) {
  const Policy policy;
  EXPECT_EQ(policy.Decide(Unix(0), {.method = "GetNamespace", .resource = "namespaces/a"}, nullptr), Verdict::kDenied);
  EXPECT_EQ(policy.Decide(Unix(0), {.method = "NoSuchMethod"}, nullptr), Verdict::kDenied);
  // Who one is may always be asked.
  EXPECT_EQ(policy.Decide(Unix(1), {.method = "WhoAmI"}, nullptr), Verdict::kAllowed);
}

TEST(PolicyTest, ARuleAllowsWhatItsRoleAndPatternsSay) {
  const Policy policy({{.name = "ci",
                        .who = {Parsed("uid:1000")},
                        .role = BuiltIn("operator"),
                        .resources = {"namespaces/ci-*", "veths/ci-*"}}});
  auto decide = [&policy](const std::string& method, const std::string& resource, uid_t uid = 1000) {
    return policy.Decide(Unix(uid), {.method = method, .resource = resource}, nullptr);
  };
  EXPECT_EQ(decide("CreateNamespace", "namespaces/ci-1"), Verdict::kAllowed);
  EXPECT_EQ(decide("GetVeth", "veths/ci-1"), Verdict::kAllowed);
  EXPECT_EQ(decide("CreateNamespace", "namespaces/prod"), Verdict::kDenied);
  EXPECT_EQ(decide("AdoptNamespace", "namespaces/ci-1"), Verdict::kDenied);
  EXPECT_EQ(decide("CreateNamespace", "namespaces/ci-1", 1001), Verdict::kDenied);
  // Nothing in particular, as for lists, which are filtered.
  EXPECT_EQ(decide("ListNamespaces", ""), Verdict::kAllowed);
  EXPECT_EQ(decide("ListNamespaces", "", 1001), Verdict::kDenied);
}

TEST(PolicyTest, WhatReachesTheHostIsARightOfItsOwn) {
  Rule rule{.who = {Parsed("uid:1000")}, .role = BuiltIn("operator")};
  auto decide = [&rule](Right right) {
    return Policy({rule}).Decide(Unix(1000), {.method = "CreateVeth", .right = right}, nullptr);
  };
  EXPECT_EQ(decide(Right::kHost), Verdict::kDenied);
  rule.rights = {Right::kHost};
  EXPECT_EQ(decide(Right::kHost), Verdict::kAllowed);
  EXPECT_EQ(decide(Right::kPath), Verdict::kDenied);
  EXPECT_EQ(decide(Right::kPid), Verdict::kDenied);
  // Only with the methods of the rule.
  rule.role = BuiltIn("viewer");
  EXPECT_EQ(decide(Right::kHost), Verdict::kDenied);
}

TEST(PolicyTest, LabelsDecideWhereARuleHasSome) {
  const Policy policy({{.who = {Parsed("uid:1000")}, .role = BuiltIn("operator"), .labels = {{"team", "ci"}}}});
  const Demand demand{.method = "DeleteNamespace", .resource = "namespaces/a"};
  EXPECT_EQ(policy.Decide(Unix(1000), demand, nullptr), Verdict::kUpToLabels);
  const Labels ours = {{"team", "ci"}, {"x", "y"}};
  const Labels others = {{"team", "prod"}};
  const Labels none;
  EXPECT_EQ(policy.Decide(Unix(1000), demand, &ours), Verdict::kAllowed);
  EXPECT_EQ(policy.Decide(Unix(1000), demand, &others), Verdict::kDenied);
  EXPECT_EQ(policy.Decide(Unix(1000), demand, &none), Verdict::kDenied);
  EXPECT_EQ(policy.Decide(Unix(1001), demand, nullptr), Verdict::kDenied);
  // What has no labels is not among what has some.
  EXPECT_EQ(policy.Decide(Unix(1000), {.method = "RenewLease", .resource = "owners/ci"}, nullptr), Verdict::kDenied);
  EXPECT_EQ(policy.Decide(Unix(1000), {.method = "GetHostReport", .resource = "host"}, nullptr), Verdict::kDenied);
}

TEST(PolicyTest, SaysWithWhichLabelsSomethingIsAllowed) {
  const std::vector<Principal> who = {Parsed("uid:1000")};
  const Policy policy({{.who = who, .role = BuiltIn("operator"), .labels = {{"team", "ci"}, {"env", "lab"}}},
                       {.who = who, .role = BuiltIn("operator"), .resources = {"veths/*"}, .labels = {{"a", "b"}}},
                       {.who = who, .role = BuiltIn("viewer"), .labels = {{"c", "d"}}},
                       {.who = {Parsed("uid:1001")}, .role = BuiltIn("operator"), .labels = {{"e", "f"}}}});
  const Demand demand{.method = "DeleteNamespace", .resource = "namespaces/a"};
  EXPECT_THAT(policy.LabelsThatAllow(Unix(1000), demand), ElementsAre(Labels{{"env", "lab"}, {"team", "ci"}}));
  EXPECT_THAT(policy.LabelsThatAllow(Unix(1000), {.method = "GetVeth", .resource = "veths/v"}), SizeIs(3));
  EXPECT_THAT(policy.LabelsThatAllow(Unix(1002), demand), IsEmpty());
  EXPECT_THAT(policy.LabelsThatAllow(Unix(1000), {.method = "RenewLease", .resource = "owners/ci"}), IsEmpty());
}

TEST(PolicyTest, ARoleOfOnesOwnHasTheMethodsThatItNames) {
  const Policy policy({{.who = {Parsed("uid:1000")},
                        .role = {.name = "mirror", .methods = std::vector<std::string>{"GetNamespace", "List*"}}}});
  for (const auto& [method, verdict] : {std::pair("GetNamespace", Verdict::kAllowed),
                                        {"ListVeths", Verdict::kAllowed},
                                        {"GetVeth", Verdict::kDenied},
                                        {"CreateNamespace", Verdict::kDenied}}) {
    EXPECT_EQ(policy.Decide(Unix(1000), {.method = method, .resource = "x"}, nullptr), verdict) << method;
  }
}

TEST(PolicyTest, WithoutAFileRootTheDaemonItselfAndTheSocketsGroupAreAdmins) {
  const Demand demand{.method = "CheckHost", .resource = "host"};
  const Demand right{.method = "CreateVeth", .right = Right::kPid};
  const Policy policy = DefaultPolicy(4242);
  for (const Identity& admin :
       {Unix(0), Unix(::geteuid()), Identity{.kind = Identity::Kind::kSelf}, Unix(1000, {4242})}) {
    EXPECT_EQ(policy.Decide(admin, demand, nullptr), Verdict::kAllowed) << admin.Name();
    EXPECT_EQ(policy.Decide(admin, right, nullptr), Verdict::kAllowed) << admin.Name();
  }
  for (const Identity& stranger : {Unix(100'000), Identity{}, Tls({"spiffe://example.org/ci"}, {"root"}, "root")}) {
    EXPECT_EQ(policy.Decide(stranger, demand, nullptr), Verdict::kDenied) << stranger.Name();
    EXPECT_EQ(policy.Decide(stranger, {.method = "ListNamespaces"}, nullptr), Verdict::kDenied) << stranger.Name();
  }
  EXPECT_EQ(DefaultPolicy(std::nullopt).Decide(Unix(100'000, {4242}), demand, nullptr), Verdict::kDenied);
}

TEST(PolicyTest, OnlyWhoMayDoEverythingIsUnrestricted) {
  Rule rule{.who = {Parsed("uid:1000")}, .role = BuiltIn("admin"), .rights = {Right::kHost, Right::kPath, Right::kPid}};
  auto is_unrestricted = [](const Rule& of, uid_t uid = 1000) { return Policy({of}).IsUnrestricted(Unix(uid)); };
  EXPECT_TRUE(is_unrestricted(rule));
  EXPECT_FALSE(is_unrestricted(rule, 1001));
  Rule less = rule;
  less.rights.erase(Right::kPid);
  EXPECT_FALSE(is_unrestricted(less));
  less = rule;
  less.labels = {{"a", "b"}};
  EXPECT_FALSE(is_unrestricted(less));
  less = rule;
  less.resources = {"namespaces/*"};
  EXPECT_FALSE(is_unrestricted(less));
  less = rule;
  less.role = BuiltIn("operator");
  EXPECT_FALSE(is_unrestricted(less));
}

TEST(PolicyTest, TheFirstLimitsForACallerCount) {
  const Policy policy({}, {{.who = {Parsed("uid:1000")}, .calls = {.calls_per_second = 5}},
                           {.who = {Parsed("uid:1000"), Parsed("uid:1001")}, .calls = {.calls_per_second = 7}}});
  EXPECT_EQ(policy.LimitsFor(Unix(1000)).calls_per_second, 5);
  EXPECT_EQ(policy.LimitsFor(Unix(1001)).calls_per_second, 7);
  EXPECT_EQ(policy.LimitsFor(Unix(1002)), CallLimits{});
  EXPECT_EQ(policy.LimitsFor({.kind = Identity::Kind::kSelf}).concurrent_calls, 0u);
}

TEST(PolicyTest, TheFirstRuleForACallerSaysHowMuchItMayHave) {
  const ObjectLimits few{.namespaces = 3};
  const ObjectLimits none{.namespaces = 0, .links = 0};
  const Policy policy({},
                      {{.who = {Parsed("spiffe://example.org/ci")}, .calls = {}, .objects = few},
                       {.who = {Parsed("spiffe://example.org/*"), Parsed("gid:7")}, .calls = {}, .objects = none}},
                      {.links = 9});
  EXPECT_EQ(policy.ObjectLimitsFor(Tls({"spiffe://example.org/ci"})), few) << "what it does not say is any number";
  EXPECT_EQ(policy.ObjectLimitsFor(Tls({"spiffe://example.org/lab"})), none);
  const uid_t somebody = ::geteuid() + 1000;
  EXPECT_EQ(policy.ObjectLimitsFor(Unix(somebody, {7})), none);
  EXPECT_EQ(policy.ObjectLimitsFor(Unix(somebody)), ObjectLimits());
  EXPECT_EQ(policy.total(), (ObjectLimits{.links = 9}));
  // Of whom nothing is said, and who may be anybody with a certificate or a way to the port.
  EXPECT_EQ(policy.ObjectLimitsFor(Tls({"spiffe://example.com/ci"})), kTcpObjectLimits);
  EXPECT_EQ(policy.ObjectLimitsFor({.kind = Identity::Kind::kPlaintext}), kTcpObjectLimits);
}

TEST(PolicyTest, WhoCanDoItWithoutNetprovHasNoQuota) {
  const Policy policy({}, {{.who = {Parsed("uid:0"), Parsed(absl::StrCat("uid:", ::geteuid())), Parsed("gid:7")},
                            .calls = {},
                            .objects = {.namespaces = 0}}});
  for (const Identity& identity : {Unix(0, {7}), Unix(::geteuid(), {7}), Identity{.kind = Identity::Kind::kSelf}}) {
    EXPECT_TRUE(IsOfTheHost(identity));
    EXPECT_EQ(policy.ObjectLimitsFor(identity), ObjectLimits()) << identity.Name();
  }
  EXPECT_FALSE(IsOfTheHost(Unix(::geteuid() + 1000, {7})));
  // One that says so of itself.
  EXPECT_FALSE(IsOfTheHost(Tls({"uid:0"}, {}, "self")));
}

}  // namespace
}  // namespace netprov::access
