// Who may do what.
#ifndef NETPROV_SERVER_ACCESS_POLICY_H_
#define NETPROV_SERVER_ACCESS_POLICY_H_

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/access/identity.h"

namespace netprov::access {

// What a method takes from whoever calls it. Each of the built-in roles may call the methods up to one of these.
enum class Power {
  kNothing,     // whoever is known may call it: WhoAmI
  kView,        // viewer: sees, and changes nothing
  kOperate,     // operator: makes, changes and deletes what it may name
  kAdminister,  // admin: everything
};

// The methods of the API by name, as `CreateVeth`, without a service. nullopt: no such method.
std::optional<Power> PowerOf(absl::string_view method);

// What reaches beyond what netprov manages is a right of its own.
enum class Right {
  kHost,  // the host's own network namespace: an endpoint, a bridge or a device there, and looking into it
  kPath,  // a network namespace by the path of its file
  kPid,   // a network namespace by a process
};
absl::string_view NameOf(Right right);  // `host`, `path`, `pid`

using Labels = std::map<std::string, std::string>;

// One thing that a call needs to be allowed: to do `method` to `resource`, or one of the rights with it.
struct Demand {
  std::string method;
  // As `namespaces/blue`, `veths/v1`, `owners/ci`; as the caller wrote it. Empty: nothing in particular.
  std::string resource;
  // Set: this right, of the method, instead of the resource.
  std::optional<Right> right;
};

enum class Verdict {
  kAllowed,
  kDenied,
  kUpToLabels,  // some rule allows it if the resource has the rule's labels
};

// A pattern, in which `*` stands for any text and `?` for one character, as in fnmatch(3) without brackets.
bool Matches(absl::string_view pattern, absl::string_view text);

// Whom a rule is for.
struct Principal {
  enum class Kind { kSelf, kUid, kGroup, kSpiffe, kUri, kDns, kCommonName, kPlaintext };
  Kind kind = Kind::kSelf;
  uid_t id = 0;         // of kUid and kGroup
  std::string pattern;  // of the names of certificates

  bool Is(const Identity& identity) const;
  std::string Text() const;  // as in a policy file, with numbers for users and groups

  friend bool operator==(const Principal&, const Principal&) = default;
};

// As in a policy file: `uid:1000`, `user:bob`, `gid:4`, `group:netprov`, `spiffe://example.org/ci/*`, `uri:PATTERN`,
// `dns:*.example.org`, `cn:PATTERN`, `plaintext`. Users and groups must exist (getpwnam(3), getgrnam(3)).
// INVALID_ARGUMENT, with a sentence.
absl::StatusOr<Principal> ParsePrincipal(absl::string_view text);

// What a rule lets its principals do. Roles of one's own are lists of methods, as patterns.
struct Role {
  std::string name;
  std::variant<Power, std::vector<std::string>> methods = Power::kNothing;

  bool Has(absl::string_view method) const;

  friend bool operator==(const Role&, const Role&) = default;
};
// The methods of the API that it has, ordered by name.
std::vector<std::string> MethodsOf(const Role& role);

// viewer, operator and admin.
const std::vector<Role>& BuiltInRoles();

// Allows its principals the methods of a role, on resources whose name matches a pattern and that have all the labels.
// `owners/OWNER` and `host` have no labels: a rule with labels is not about them.
struct Rule {
  std::string name;  // for people
  std::vector<Principal> who;
  Role role;
  std::vector<std::string> resources = {"*"};
  Labels labels;
  std::set<Right> rights;

  friend bool operator==(const Rule&, const Rule&) = default;
};

// How much one caller may ask for.
struct CallLimits {
  double calls_per_second = 0;    // in the long run; 0: any number
  size_t burst = 0;               // at once, after a rest; 0: as many as in a second
  size_t concurrent_calls = 256;  // under way at once; 0: any number

  friend bool operator==(const CallLimits&, const CallLimits&) = default;
};

// How many objects of each kind there may be at a time (docs/operations.md says what counts); nullopt: any number.
struct ObjectLimits {
  std::optional<uint32_t> namespaces;
  std::optional<uint32_t> links;
  std::optional<uint32_t> addresses;
  std::optional<uint32_t> routes;
  std::optional<uint32_t> nat_elements;

  friend bool operator==(const ObjectLimits&, const ObjectLimits&) = default;
};

// What a caller over TCP may have of whom the policy's limits say nothing: more than a host has of containers, and far
// less than what makes a kernel slow for everybody else.
inline constexpr ObjectLimits kTcpObjectLimits = {
    .namespaces = 1'000, .links = 4'000, .addresses = 8'000, .routes = 8'000, .nat_elements = 8'000};

// Limits for each of some principals.
struct LimitRule {
  std::vector<Principal> who;
  CallLimits calls;
  ObjectLimits objects;  // of what one of them has made

  friend bool operator==(const LimitRule&, const LimitRule&) = default;
};

// Rules, each of which allows something; what no rule allows is denied. Immutable.
class Policy {
 public:
  Policy() = default;
  explicit Policy(std::vector<Rule> rules, std::vector<LimitRule> limits = {}, const ObjectLimits& total = {})
      : rules_(std::move(rules)), limits_(std::move(limits)), total_(total) {}

  // Whether `identity` may do what is demanded. `labels` are those of the resource; null where they are not known yet.
  Verdict Decide(const Identity& identity, const Demand& demand, const Labels* labels) const;

  // The labels of each rule that allows what is demanded of a resource that has them.
  std::set<Labels> LabelsThatAllow(const Identity& identity, const Demand& demand) const;

  // The rules that `identity` is one of the principals of.
  std::vector<const Rule*> RulesFor(const Identity& identity) const;

  // Whether `identity` may do everything, so that nothing has to be looked at.
  bool IsUnrestricted(const Identity& identity) const;

  // The limits of the first rule for `identity`, else the defaults. The process itself has none.
  CallLimits LimitsFor(const Identity& identity) const;

  // How much `identity` may have, by the first rule for it; without one, anything on the unix socket, and over TCP
  // kTcpObjectLimits. Anything of those that IsOfTheHost().
  ObjectLimits ObjectLimitsFor(const Identity& identity) const;
  // How much there may be of all callers together, beyond which only those that IsOfTheHost() make more.
  const ObjectLimits& total() const { return total_; }

  const std::vector<Rule>& rules() const { return rules_; }
  const std::vector<LimitRule>& limits() const { return limits_; }

 private:
  std::vector<Rule> rules_;
  std::vector<LimitRule> limits_;
  ObjectLimits total_;
};

// Whether it is root, the daemon's own user or the process itself, who can do all of it without netprov.
bool IsOfTheHost(const Identity& identity);

// The rules that hold whatever a policy file says: those that IsOfTheHost() are admins.
std::vector<Rule> RulesOfTheHost();

// What holds without a policy file: those above, and the members of the group that the socket is given to.
Policy DefaultPolicy(std::optional<gid_t> socket_group);

}  // namespace netprov::access

#endif  // NETPROV_SERVER_ACCESS_POLICY_H_
