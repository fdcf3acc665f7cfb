#include "server/access/policy_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace netprov::access {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

constexpr char kWhole[] = R"(version: 1
roles:
  mirror:
    methods: [GetNamespace, "List*"]
rules:
  - name: ci
    who: ["spiffe://example.org/ci/*", "uid:1000"]
    role: operator
    resources: ["namespaces/ci-*", "veths/ci-*"]
    labels: {team: ci}
    rights: [host, pid]
  - who: ["dns:mirror.example.org"]
    role: mirror
  - who: ["gid:4"]
    role: admin
limits:
  - who: ["uid:1000"]
    calls_per_second: 50
    burst: 100
    concurrent_calls: 16
    namespaces: 10
    links: 40
    addresses: 100
    routes: 4294967295
    nat_elements: 0
  - who: ["plaintext"]
    concurrent_calls: 1
total:
  namespaces: 2000
  nat_elements: 5000
)";

TEST(PolicyFileTest, ReadsEveryField) {
  const auto policy = ParsePolicy(kWhole);
  ASSERT_TRUE(policy.ok()) << policy.status();
  const std::vector<Rule>& rules = policy->rules();
  ASSERT_THAT(rules, SizeIs(3));
  const Rule& ci = rules[0];
  EXPECT_EQ(ci.name, "ci");
  EXPECT_THAT(ci.who, ElementsAre(*ParsePrincipal("spiffe://example.org/ci/*"), *ParsePrincipal("uid:1000")));
  EXPECT_EQ(ci.role.name, "operator");
  EXPECT_THAT(ci.resources, ElementsAre("namespaces/ci-*", "veths/ci-*"));
  EXPECT_EQ(ci.labels, (Labels{{"team", "ci"}}));
  EXPECT_THAT(ci.rights, ElementsAre(Right::kHost, Right::kPid));
  const Rule& mirror = rules[1];
  EXPECT_EQ(mirror.name, "rules[1]");
  EXPECT_TRUE(mirror.role.Has("ListVeths"));
  EXPECT_FALSE(mirror.role.Has("GetVeth"));
  EXPECT_THAT(mirror.resources, ElementsAre("*"));
  EXPECT_THAT(mirror.rights, SizeIs(0));
  // An admin has all rights unless it says otherwise.
  EXPECT_THAT(rules[2].rights, SizeIs(3));
  ASSERT_THAT(policy->limits(), SizeIs(2));
  EXPECT_EQ(policy->limits()[0].calls, (CallLimits{.calls_per_second = 50, .burst = 100, .concurrent_calls = 16}));
  EXPECT_EQ(policy->limits()[1].calls, (CallLimits{.concurrent_calls = 1}));
  EXPECT_EQ(policy->limits()[0].objects,
            (ObjectLimits{.namespaces = 10, .links = 40, .addresses = 100, .routes = 4294967295, .nat_elements = 0}));
  EXPECT_EQ(policy->limits()[1].objects, ObjectLimits());
  EXPECT_EQ(policy->total(), (ObjectLimits{.namespaces = 2000, .nat_elements = 5000}));
}

TEST(PolicyFileTest, NoRulesAreAPolicyToo) { EXPECT_THAT(ParsePolicy("{version: 1, rules: []}")->rules(), SizeIs(0)); }

struct Broken {
  const char* text;
  const char* error;
};

TEST(PolicyFileTest, WhatIsWrongIsSaidWithItsPlace) {
  const Broken all[] = {
      {"", "line 1: the policy: must be a mapping"},
      {"version: 1\nrules: [", "is no YAML"},
      {"version: 2\nrules: []", "line 1: version: must be 1"},
      {"rules: []", "version is missing"},
      {"version: 1", "rules is missing"},
      {"version: 1\nrules: {}", "line 2: rules: must be a list"},
      {"version: 1\nrules: []\nrule: []", "line 3: rule: is unknown"},
      {"version: 1\nversion: 1\nrules: []", "line 2: version: is there twice"},
      {"version: 1\nrules:\n- role: admin", "line 3: rules[0]: who is missing"},
      {"version: 1\nrules:\n- who: ['uid:1']", "rules[0]: role is missing"},
      {"version: 1\nrules:\n- {who: [], role: admin}", "rules[0].who: must not be empty"},
      {"version: 1\nrules:\n- {who: ['uid:1'], role: boss}", "rules[0].role: there is no role `boss`"},
      {"version: 1\nrules:\n- {who: [bob], role: admin}", "rules[0].who[0]: `bob`: must be uid:NUMBER"},
      {"version: 1\nrules:\n- {who: ['uid:1'], role: admin, resources: [netns/a]}",
       "resources[0]: `netns/a` matches no"},
      {"version: 1\nrules:\n- {who: ['uid:1'], role: admin, resources: []}", "rules[0].resources: must not be empty"},
      {"version: 1\nrules:\n- {who: ['uid:1'], role: admin, labels: {}}", "rules[0].labels: must not be empty"},
      {"version: 1\nrules:\n- {who: ['uid:1'], role: admin, labels: {a: [b]}}", "rules[0].labels.a: must be text"},
      {"version: 1\nrules:\n- {who: ['uid:1'], role: admin, rights: [root]}", "rights[0]: must be host, path or pid"},
      {"version: 1\nrules:\n- {who: ['uid:1'], role: admin, rihgts: []}", "rules[0].rihgts: is unknown"},
      {"version: 1\nrules:\n- {who: ['uid:1'], role: admin, resources: [owners/a], labels: {a: b}}",
       "rules[0].labels: `owners/a` has no labels"},
      {"version: 1\nroles: {viewer: {methods: [GetVeth]}}\nrules: []", "roles.viewer: is a built-in role"},
      {"version: 1\nroles: {x: {methods: [MakeVeth]}}\nrules: []", "`MakeVeth` is no method of the API"},
      {"version: 1\nrules: []\nlimits: [{who: ['uid:1'], burst: 5}]", "limits[0]: burst needs calls_per_second"},
      {"version: 1\nrules: []\nlimits: [{who: ['uid:1'], concurrent_calls: 0}]", "concurrent_calls: must be a whole"},
      {"version: 1\nrules: []\nlimits: [{burst: 5}]", "limits[0]: who is missing"},
      {"version: 1\nrules: []\nlimits: [{who: ['uid:1'], namespaces: -1}]",
       "line 3: limits[0].namespaces: must be a whole number from 0 to 4294967295"},
      {"version: 1\nrules: []\nlimits: [{who: ['uid:1'], links: many}]", "limits[0].links: must be a whole number"},
      {"version: 1\nrules: []\nlimits: [{who: ['uid:1'], addresses: [1]}]", "limits[0].addresses: must be text"},
      {"version: 1\nrules: []\nlimits: [{who: ['uid:1'], routes: 4294967296}]", "limits[0].routes: must be a whole"},
      {"version: 1\nrules: []\nlimits: [{who: ['uid:1'], nat_elements: 1.5}]", "limits[0].nat_elements: must be a"},
      {"version: 1\nrules: []\nlimits: [{who: ['uid:1'], veths: 1}]", "limits[0].veths: is unknown"},
      {"version: 1\nrules: []\ntotal: 7", "line 3: total: must be a mapping"},
      {"version: 1\nrules: []\ntotal: {links: ''}", "total.links: must not be empty"},
      {"version: 1\nrules: []\ntotal: {links: -7}", "total.links: must be a whole number"},
      {"version: 1\nrules: []\ntotal: {concurrent_calls: 7}", "total.concurrent_calls: is unknown"},
      {"version: 1\nroles: {x: {}}\nrules: []", "roles.x: methods is missing"},
      {"version: 1\nroles: {x: {methods: []}}\nrules: []", "roles.x.methods: must not be empty"},
  };
  for (const Broken& broken : all) {
    const auto policy = ParsePolicy(broken.text);
    EXPECT_EQ(policy.status().code(), absl::StatusCode::kInvalidArgument) << broken.text;
    EXPECT_THAT(std::string(policy.status().message()), HasSubstr(broken.error)) << broken.text;
  }
  EXPECT_FALSE(ParsePolicy(std::string(kLongestPolicy + 1, ' ')).ok());
}

TEST(PolicyFileTest, AFileThatOthersCanWriteIsNotTrusted) {
  const std::string path = absl::StrCat(::testing::TempDir(), "/policy.yaml");
  std::ofstream(path) << kWhole;
  ASSERT_EQ(::chmod(path.c_str(), 0644), 0);
  const auto policy = ReadPolicy(path);
  ASSERT_TRUE(policy.ok()) << policy.status();
  // Root is not locked out.
  EXPECT_THAT(policy->rules(), SizeIs(4));
  EXPECT_EQ(policy->rules().front(), RulesOfTheHost().front());
  EXPECT_THAT(policy->limits(), SizeIs(2));
  EXPECT_EQ(policy->total().namespaces, 2000);
  for (const mode_t mode : {mode_t{0664}, mode_t{0646}}) {
    ASSERT_EQ(::chmod(path.c_str(), mode), 0);
    EXPECT_EQ(ReadPolicy(path).status().code(), absl::StatusCode::kFailedPrecondition);
  }
  EXPECT_EQ(ReadPolicy(::testing::TempDir()).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ReadPolicy(path + ".gone").status().code(), absl::StatusCode::kUnavailable);
  ASSERT_EQ(::chmod(path.c_str(), 0644), 0);
  std::ofstream(path) << "version: 3";
  EXPECT_THAT(std::string(ReadPolicy(path).status().message()), HasSubstr(absl::StrCat(path, ": line 1: version")));
}

// What docs/operations.md shows is a policy, as it stands there.
TEST(PolicyFileTest, TheExampleOfTheGuideIsOne) {
  std::ifstream file("docs/operations.md");
  ASSERT_TRUE(file.is_open());
  const std::string page((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const size_t start = page.find("# /etc/netprov/policy.yaml\n");
  ASSERT_NE(start, std::string::npos);
  const auto policy = ParsePolicy(page.substr(start, page.find("```", start) - start));
  ASSERT_TRUE(policy.ok()) << policy.status();
  EXPECT_THAT(policy->rules(), SizeIs(3));
  EXPECT_THAT(policy->limits(), SizeIs(1));
}

}  // namespace
}  // namespace netprov::access
