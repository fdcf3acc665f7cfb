#include "server/access/policy_file.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "server/base/trusted_file.h"

namespace netprov::access {
namespace {

constexpr const char* kCollections[] = {"namespaces/", "veths/", "bridges/", "devices/", "owners/", "host"};
constexpr Right kRights[] = {Right::kHost, Right::kPath, Right::kPid};

// Thrown and caught in this file only, as yaml-cpp does: what is wrong, and where.
struct Fault {
  int line;
  std::string what;
};

// A node with its path, as in `rules[0].who`.
class Value {
 public:
  Value(YAML::Node node, std::string path) : node_(std::move(node)), path_(std::move(path)) {}

  [[noreturn]] void Fail(absl::string_view why) const {
    throw Fault{.line = std::max(node_.Mark().line, 0) + 1,
                .what = absl::StrCat(path_.empty() ? "the policy" : path_, ": ", why)};
  }

  // The values of a mapping by their keys, each of which is one of `known`.
  std::map<std::string, Value> Fields(const std::set<std::string>& known) const {
    std::map<std::string, Value> fields = Entries();
    for (const auto& [key, value] : fields) {
      if (!known.contains(key)) value.Fail("is unknown");
    }
    return fields;
  }

  std::map<std::string, Value> Entries() const {
    if (!node_.IsMap()) Fail("must be a mapping");
    std::map<std::string, Value> entries;
    for (const auto& entry : node_) {
      if (!entry.first.IsScalar()) Fail("must have text as its keys");
      const std::string key = entry.first.Scalar();
      const Value value(entry.second, path_.empty() ? key : absl::StrCat(path_, ".", key));
      if (!entries.emplace(key, value).second) value.Fail("is there twice");
    }
    return entries;
  }

  std::vector<Value> Items() const {
    if (!node_.IsSequence()) Fail("must be a list");
    std::vector<Value> items;
    for (size_t i = 0; i < node_.size(); ++i) items.emplace_back(node_[i], absl::StrCat(path_, "[", i, "]"));
    return items;
  }

  std::string Text() const {
    if (!node_.IsScalar()) Fail("must be text");
    if (node_.Scalar().empty()) Fail("must not be empty");
    return node_.Scalar();
  }

  // A whole number, at least 1.
  uint32_t Number() const {
    uint32_t number = 0;
    if (!absl::SimpleAtoi(Text(), &number) || number == 0) Fail("must be a whole number from 1 to 4294967295");
    return number;
  }

  // A whole number, 0 among them.
  uint32_t Count() const {
    uint32_t number = 0;
    if (!absl::SimpleAtoi(Text(), &number)) Fail("must be a whole number from 0 to 4294967295");
    return number;
  }

  // A list of at least one text.
  std::vector<std::string> Texts() const {
    std::vector<std::string> texts;
    for (const Value& item : Items()) texts.push_back(item.Text());
    if (texts.empty()) Fail("must not be empty");
    return texts;
  }

 private:
  YAML::Node node_;
  std::string path_;
};

const Value& Required(const Value& parent, const std::map<std::string, Value>& fields, const std::string& key) {
  const auto found = fields.find(key);
  if (found == fields.end()) parent.Fail(absl::StrCat(key, " is missing"));
  return found->second;
}

// A pattern of methods that matches none would silently allow nothing.
void CheckMethod(const Value& value, const std::string& pattern) {
  const bool is_pattern = absl::StrContains(pattern, '*') || absl::StrContains(pattern, '?');
  if (!is_pattern && !PowerOf(pattern).has_value()) {
    value.Fail(absl::StrCat("`", pattern, "` is no method of the API, as CreateVeth is"));
  }
}

// So would a pattern of resources in no collection.
void CheckResource(const Value& value, const std::string& pattern) {
  const std::string fixed = pattern.substr(0, pattern.find_first_of("*?"));
  const bool can_match =
      std::any_of(std::begin(kCollections), std::end(kCollections), [&](const std::string& collection) {
        return absl::StartsWith(fixed, collection) || (fixed != pattern && absl::StartsWith(collection, fixed));
      });
  if (!can_match) {
    value.Fail(absl::StrCat("`", pattern, "` matches no resource: they begin with namespaces/, veths/, bridges/, ",
                            "devices/ or owners/, or are host"));
  }
}

std::set<Right> ReadRights(const Value& value) {
  std::set<Right> rights;
  for (const Value& item : value.Items()) {
    const std::string text = item.Text();
    const auto* right =
        std::find_if(std::begin(kRights), std::end(kRights), [&text](Right known) { return NameOf(known) == text; });
    if (right == std::end(kRights)) item.Fail("must be host, path or pid");
    rights.insert(*right);
  }
  return rights;
}

std::vector<Principal> ReadWho(const Value& value) {
  std::vector<Principal> who;
  for (const Value& item : value.Items()) {
    absl::StatusOr<Principal> principal = ParsePrincipal(item.Text());
    if (!principal.ok()) item.Fail(principal.status().message());
    who.push_back(*std::move(principal));
  }
  if (who.empty()) value.Fail("must not be empty");
  return who;
}

Rule ReadRule(const Value& value, const std::vector<Role>& roles, size_t number) {
  const auto fields = value.Fields({"name", "who", "role", "resources", "labels", "rights"});
  Rule rule{.name = absl::StrCat("rules[", number, "]")};
  if (const auto name = fields.find("name"); name != fields.end()) rule.name = name->second.Text();
  rule.who = ReadWho(Required(value, fields, "who"));
  const Value& role_field = Required(value, fields, "role");
  const std::string role_name = role_field.Text();
  const auto role =
      std::find_if(roles.begin(), roles.end(), [&role_name](const Role& known) { return known.name == role_name; });
  if (role == roles.end()) role_field.Fail(absl::StrCat("there is no role `", role_name, "`"));
  rule.role = *role;
  if (const auto resources = fields.find("resources"); resources != fields.end()) {
    rule.resources = resources->second.Texts();
    for (const Value& item : resources->second.Items()) CheckResource(item, item.Text());
  }
  if (const auto labels = fields.find("labels"); labels != fields.end()) {
    for (const auto& [key, label] : labels->second.Entries()) rule.labels[key] = label.Text();
    if (rule.labels.empty()) labels->second.Fail("must not be empty");
    for (const std::string& pattern : rule.resources) {
      if (pattern != "host" && !absl::StartsWith(pattern, "owners/")) continue;
      labels->second.Fail(absl::StrCat("`", pattern, "` has no labels: give it a rule without"));
    }
  }
  if (const auto rights = fields.find("rights"); rights != fields.end()) {
    rule.rights = ReadRights(rights->second);
  } else if (rule.role == BuiltInRoles().back()) {
    rule.rights = {std::begin(kRights), std::end(kRights)};
  }
  return rule;
}

std::vector<Role> ReadRoles(const Value& value) {
  std::vector<Role> roles = BuiltInRoles();
  for (const auto& [name, role] : value.Entries()) {
    const bool is_taken =
        std::any_of(roles.begin(), roles.end(), [&name = name](const Role& known) { return known.name == name; });
    if (is_taken) role.Fail("is a built-in role");
    const auto fields = role.Fields({"methods"});
    const Value& methods = Required(role, fields, "methods");
    for (const Value& item : methods.Items()) CheckMethod(item, item.Text());
    roles.push_back({.name = name, .methods = methods.Texts()});
  }
  return roles;
}

struct ObjectField {
  const char* name;
  std::optional<uint32_t> ObjectLimits::*most;
};
constexpr ObjectField kObjectFields[] = {{"namespaces", &ObjectLimits::namespaces},
                                         {"links", &ObjectLimits::links},
                                         {"addresses", &ObjectLimits::addresses},
                                         {"routes", &ObjectLimits::routes},
                                         {"nat_elements", &ObjectLimits::nat_elements}};

// Adds the names of the fields that ReadObjectLimits() reads.
std::set<std::string> WithObjectFields(std::set<std::string> names) {
  for (const ObjectField& field : kObjectFields) names.insert(field.name);
  return names;
}

ObjectLimits ReadObjectLimits(const std::map<std::string, Value>& fields) {
  ObjectLimits limits;
  for (const ObjectField& field : kObjectFields) {
    if (const auto value = fields.find(field.name); value != fields.end()) limits.*field.most = value->second.Count();
  }
  return limits;
}

LimitRule ReadLimits(const Value& value) {
  const auto fields = value.Fields(WithObjectFields({"who", "calls_per_second", "burst", "concurrent_calls"}));
  LimitRule rule{.who = ReadWho(Required(value, fields, "who"))};
  if (const auto rate = fields.find("calls_per_second"); rate != fields.end()) {
    rule.calls.calls_per_second = rate->second.Number();
  }
  if (const auto burst = fields.find("burst"); burst != fields.end()) rule.calls.burst = burst->second.Number();
  if (rule.calls.burst != 0 && rule.calls.calls_per_second == 0) value.Fail("burst needs calls_per_second");
  if (const auto calls = fields.find("concurrent_calls"); calls != fields.end()) {
    rule.calls.concurrent_calls = calls->second.Number();
  }
  rule.objects = ReadObjectLimits(fields);
  return rule;
}

Policy Read(const Value& policy) {
  const auto fields = policy.Fields({"version", "roles", "rules", "limits", "total"});
  const Value& version = Required(policy, fields, "version");
  if (version.Text() != "1") version.Fail("must be 1");
  std::vector<Role> roles = BuiltInRoles();
  if (const auto own = fields.find("roles"); own != fields.end()) roles = ReadRoles(own->second);
  std::vector<Rule> rules;
  for (const Value& rule : Required(policy, fields, "rules").Items()) {
    rules.push_back(ReadRule(rule, roles, rules.size()));
  }
  std::vector<LimitRule> limits;
  if (const auto all = fields.find("limits"); all != fields.end()) {
    for (const Value& limit : all->second.Items()) limits.push_back(ReadLimits(limit));
  }
  ObjectLimits total;
  if (const auto all = fields.find("total"); all != fields.end()) {
    total = ReadObjectLimits(all->second.Fields(WithObjectFields({})));
  }
  return Policy(std::move(rules), std::move(limits), total);
}

}  // namespace

absl::StatusOr<Policy> ParsePolicy(const std::string& text) {
  if (text.size() > kLongestPolicy) {
    return absl::InvalidArgumentError(absl::StrCat("is longer than ", kLongestPolicy, " bytes"));
  }
  try {
    return Read(Value(YAML::Load(text), ""));
  } catch (const Fault& fault) {
    return absl::InvalidArgumentError(absl::StrCat("line ", fault.line, ": ", fault.what));
  } catch (const YAML::Exception& fault) {
    return absl::InvalidArgumentError(
        absl::StrCat("line ", std::max(fault.mark.line, 0) + 1, ": is no YAML: ", fault.msg));
  }
}

absl::StatusOr<Policy> ReadPolicy(const std::string& path) {
  absl::StatusOr<std::string> text = ReadTrustedFile(path, {.longest = kLongestPolicy});
  if (!text.ok()) return text.status();
  absl::StatusOr<Policy> own = ParsePolicy(*text);
  if (!own.ok()) return absl::InvalidArgumentError(absl::StrCat("the policy ", path, ": ", own.status().message()));
  std::vector<Rule> rules = RulesOfTheHost();
  rules.insert(rules.end(), own->rules().begin(), own->rules().end());
  return Policy(std::move(rules), own->limits(), own->total());
}

}  // namespace netprov::access
