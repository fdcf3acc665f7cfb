#include "server/access/policy.h"

#include <grp.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace netprov::access {
namespace {

struct Method {
  absl::string_view name;
  Power power;
};

// Every method of the API; a test compares this with the protos.
constexpr std::array kMethods = {
    Method{"WhoAmI", Power::kNothing},
    Method{"GetNamespace", Power::kView},
    Method{"ListNamespaces", Power::kView},
    Method{"GetVeth", Power::kView},
    Method{"ListVeths", Power::kView},
    Method{"GetBridge", Power::kView},
    Method{"ListBridges", Power::kView},
    Method{"GetDevice", Power::kView},
    Method{"ListDevices", Power::kView},
    Method{"ListLinks", Power::kView},
    Method{"ListAddresses", Power::kView},
    Method{"ListRoutes", Power::kView},
    Method{"ListNeighbors", Power::kView},
    Method{"GetHostReport", Power::kView},
    Method{"CreateNamespace", Power::kOperate},
    Method{"UpdateNamespace", Power::kOperate},
    Method{"DeleteNamespace", Power::kOperate},
    Method{"CreateVeth", Power::kOperate},
    Method{"UpdateVeth", Power::kOperate},
    Method{"DeleteVeth", Power::kOperate},
    Method{"CreateBridge", Power::kOperate},
    Method{"UpdateBridge", Power::kOperate},
    Method{"DeleteBridge", Power::kOperate},
    Method{"CreateDevice", Power::kOperate},
    Method{"UpdateDevice", Power::kOperate},
    Method{"DeleteDevice", Power::kOperate},
    Method{"RenewLease", Power::kOperate},
    Method{"CollectGarbage", Power::kOperate},
    // They take what somebody else made, or change what is nobody's.
    Method{"AdoptNamespace", Power::kAdminister},
    Method{"ReleaseNamespace", Power::kAdminister},
    Method{"CheckHost", Power::kAdminister},
};

constexpr size_t kRights = 3;

struct NamedKind {
  absl::string_view prefix;
  Principal::Kind kind;
};
// Of the names in certificates.
constexpr std::array kPatterns = {
    NamedKind{"uri:", Principal::Kind::kUri},
    NamedKind{"dns:", Principal::Kind::kDns},
    NamedKind{"cn:", Principal::Kind::kCommonName},
};

bool AnyMatches(const std::string& pattern, const std::vector<std::string>& texts) {
  return std::any_of(texts.begin(), texts.end(), [&](const std::string& text) { return Matches(pattern, text); });
}

bool IsAny(const std::vector<Principal>& principals, const Identity& identity) {
  return std::any_of(principals.begin(), principals.end(), [&](const Principal& who) { return who.Is(identity); });
}

// Owners and the host have none, so that a rule that asks for some is not about them.
bool HasLabels(absl::string_view resource) { return !absl::StartsWith(resource, "owners/") && resource != "host"; }

absl::Status Bad(absl::string_view text, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("`", text, "`: ", why));
}

}  // namespace

std::optional<Power> PowerOf(absl::string_view method) {
  const auto* found =
      std::find_if(kMethods.begin(), kMethods.end(), [method](const Method& known) { return known.name == method; });
  if (found == kMethods.end()) return std::nullopt;
  return found->power;
}

absl::string_view NameOf(Right right) {
  switch (right) {
    case Right::kHost:
      return "host";
    case Right::kPath:
      return "path";
    case Right::kPid:
      return "pid";
  }
  return "";
}

bool Matches(absl::string_view pattern, absl::string_view text) {
  // Where the last `*` was, and how much it stands for: what comes after is tried there, and one character further each
  // time that it does not match.
  size_t star = absl::string_view::npos;
  size_t from = 0;
  size_t p = 0;
  size_t t = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      from = t;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t])) {
      ++p;
      ++t;
    } else if (star != absl::string_view::npos) {
      p = star + 1;
      t = ++from;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

bool Principal::Is(const Identity& identity) const {
  const bool is_tls = identity.kind == Identity::Kind::kTls;
  switch (kind) {
    case Kind::kSelf:
      return identity.kind == Identity::Kind::kSelf;
    case Kind::kPlaintext:
      return identity.kind == Identity::Kind::kPlaintext;
    case Kind::kUid:
      return identity.kind == Identity::Kind::kUnix && identity.uid == id;
    case Kind::kGroup:
      return identity.IsInGroup(id);
    case Kind::kSpiffe:
      // A certificate with a second one is none of SPIFFE's (X.509-SVID 2), but which counts must not be up to its
      // order.
      return is_tls && Matches(pattern, identity.SpiffeId());
    case Kind::kUri:
      return is_tls && AnyMatches(pattern, identity.uris);
    case Kind::kDns:
      return is_tls && AnyMatches(pattern, identity.dns_names);
    case Kind::kCommonName:
      return is_tls && !identity.common_name.empty() && Matches(pattern, identity.common_name);
  }
  return false;
}

std::string Principal::Text() const {
  switch (kind) {
    case Kind::kSelf:
      return "self";
    case Kind::kPlaintext:
      return "plaintext";
    case Kind::kUid:
      return absl::StrCat("uid:", id);
    case Kind::kGroup:
      return absl::StrCat("gid:", id);
    case Kind::kSpiffe:
      return pattern;
    case Kind::kUri:
      return absl::StrCat("uri:", pattern);
    case Kind::kDns:
      return absl::StrCat("dns:", pattern);
    case Kind::kCommonName:
      return absl::StrCat("cn:", pattern);
  }
  return "";
}

absl::StatusOr<Principal> ParsePrincipal(absl::string_view text) {
  if (text == "plaintext") return Principal{.kind = Principal::Kind::kPlaintext};
  if (absl::StartsWith(text, "spiffe://")) {
    if (text == "spiffe://") return Bad(text, "the trust domain is missing, as in spiffe://example.org/ci");
    return Principal{.kind = Principal::Kind::kSpiffe, .pattern = std::string(text)};
  }
  absl::string_view rest = text;
  for (const NamedKind& named : kPatterns) {
    if (!absl::ConsumePrefix(&rest, named.prefix)) continue;
    if (rest.empty()) return Bad(text, "a pattern must follow");
    return Principal{.kind = named.kind, .pattern = std::string(rest)};
  }
  const bool is_uid = absl::ConsumePrefix(&rest, "uid:");
  if (is_uid || absl::ConsumePrefix(&rest, "gid:")) {
    uint32_t id = 0;
    if (!absl::SimpleAtoi(rest, &id) || id == static_cast<uint32_t>(-1)) {
      return Bad(text, "must be a number from 0 to 4294967294");
    }
    return Principal{.kind = is_uid ? Principal::Kind::kUid : Principal::Kind::kGroup, .id = id};
  }
  if (absl::ConsumePrefix(&rest, "user:")) {
    const passwd* user = ::getpwnam(std::string(rest).c_str());
    if (user == nullptr) return Bad(text, "this host has no such user");
    return Principal{.kind = Principal::Kind::kUid, .id = user->pw_uid};
  }
  if (absl::ConsumePrefix(&rest, "group:")) {
    const group* found = ::getgrnam(std::string(rest).c_str());
    if (found == nullptr) return Bad(text, "this host has no such group");
    return Principal{.kind = Principal::Kind::kGroup, .id = found->gr_gid};
  }
  return Bad(text,
             "must be uid:NUMBER, user:NAME, gid:NUMBER, group:NAME, spiffe://..., uri:..., dns:..., cn:... or "
             "plaintext");
}

bool Role::Has(absl::string_view method) const {
  if (const auto* patterns = std::get_if<std::vector<std::string>>(&methods)) {
    return std::any_of(patterns->begin(), patterns->end(),
                       [method](const std::string& pattern) { return Matches(pattern, method); });
  }
  const std::optional<Power> power = PowerOf(method);
  return power.has_value() && *power <= std::get<Power>(methods);
}

std::vector<std::string> MethodsOf(const Role& role) {
  std::vector<std::string> methods;
  for (const Method& method : kMethods) {
    if (role.Has(method.name)) methods.emplace_back(method.name);
  }
  std::sort(methods.begin(), methods.end());
  return methods;
}

// Whether a rule allows what is demanded, of a resource that has the rule's labels.
static bool IsAbout(const Rule& rule, const Identity& identity, const Demand& demand) {
  if (!rule.role.Has(demand.method) || !IsAny(rule.who, identity)) return false;
  if (demand.right.has_value()) return rule.rights.contains(*demand.right);
  if (demand.resource.empty()) return true;
  const bool is_named =
      std::any_of(rule.resources.begin(), rule.resources.end(),
                  [&demand](const std::string& pattern) { return Matches(pattern, demand.resource); });
  return is_named && (rule.labels.empty() || HasLabels(demand.resource));
}

const std::vector<Role>& BuiltInRoles() {
  static const auto* const roles = new std::vector<Role>{{.name = "viewer", .methods = Power::kView},
                                                         {.name = "operator", .methods = Power::kOperate},
                                                         {.name = "admin", .methods = Power::kAdminister}};
  return *roles;
}

Verdict Policy::Decide(const Identity& identity, const Demand& demand, const Labels* labels) const {
  if (PowerOf(demand.method) == Power::kNothing) return Verdict::kAllowed;
  bool is_up_to_labels = false;
  for (const Rule& rule : rules_) {
    if (!IsAbout(rule, identity, demand)) continue;
    if (demand.right.has_value() || demand.resource.empty() || rule.labels.empty()) return Verdict::kAllowed;
    if (labels == nullptr) {
      is_up_to_labels = true;
    } else if (std::includes(labels->begin(), labels->end(), rule.labels.begin(), rule.labels.end())) {
      return Verdict::kAllowed;
    }
  }
  return is_up_to_labels ? Verdict::kUpToLabels : Verdict::kDenied;
}

std::set<Labels> Policy::LabelsThatAllow(const Identity& identity, const Demand& demand) const {
  std::set<Labels> found;
  for (const Rule& rule : rules_) {
    if (!rule.labels.empty() && IsAbout(rule, identity, demand)) found.insert(rule.labels);
  }
  return found;
}

std::vector<const Rule*> Policy::RulesFor(const Identity& identity) const {
  std::vector<const Rule*> found;
  for (const Rule& rule : rules_) {
    if (IsAny(rule.who, identity)) found.push_back(&rule);
  }
  return found;
}

bool Policy::IsUnrestricted(const Identity& identity) const {
  return std::any_of(rules_.begin(), rules_.end(), [&identity](const Rule& rule) {
    const auto* power = std::get_if<Power>(&rule.role.methods);
    return power != nullptr && *power == Power::kAdminister && rule.labels.empty() && rule.rights.size() == kRights &&
           std::find(rule.resources.begin(), rule.resources.end(), "*") != rule.resources.end() &&
           IsAny(rule.who, identity);
  });
}

CallLimits Policy::LimitsFor(const Identity& identity) const {
  if (identity.kind == Identity::Kind::kSelf) return {.concurrent_calls = 0};
  const auto found = std::find_if(limits_.begin(), limits_.end(),
                                  [&identity](const LimitRule& rule) { return IsAny(rule.who, identity); });
  return found == limits_.end() ? CallLimits{} : found->calls;
}

ObjectLimits Policy::ObjectLimitsFor(const Identity& identity) const {
  if (IsOfTheHost(identity)) return {};
  const auto found = std::find_if(limits_.begin(), limits_.end(),
                                  [&identity](const LimitRule& rule) { return IsAny(rule.who, identity); });
  if (found != limits_.end()) return found->objects;
  return identity.kind == Identity::Kind::kUnix ? ObjectLimits{} : kTcpObjectLimits;
}

bool IsOfTheHost(const Identity& identity) {
  if (identity.kind == Identity::Kind::kSelf) return true;
  return identity.kind == Identity::Kind::kUnix && (identity.uid == 0 || identity.uid == ::geteuid());
}

std::vector<Rule> RulesOfTheHost() {
  std::vector<Principal> who = {{.kind = Principal::Kind::kSelf}, {.kind = Principal::Kind::kUid, .id = 0}};
  if (::geteuid() != 0) who.push_back({.kind = Principal::Kind::kUid, .id = ::geteuid()});
  return {{.name = "root",
           .who = std::move(who),
           .role = BuiltInRoles().back(),
           .rights = {Right::kHost, Right::kPath, Right::kPid}}};
}

Policy DefaultPolicy(std::optional<gid_t> socket_group) {
  std::vector<Rule> rules = RulesOfTheHost();
  if (socket_group.has_value()) {
    Rule rule = rules.front();
    rule.name = "the socket's group";
    rule.who = {{.kind = Principal::Kind::kGroup, .id = *socket_group}};
    rules.push_back(std::move(rule));
  }
  return Policy(std::move(rules));
}

}  // namespace netprov::access
