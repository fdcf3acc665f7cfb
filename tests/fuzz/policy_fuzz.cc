// A policy file, whatever is in it: it is refused with a line and a reason, or each of its rules can be asked.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "server/access/identity.h"
#include "server/access/policy.h"
#include "server/access/policy_file.h"

namespace netprov::access {
namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

void Check(const Policy& policy) {
  const Identity stranger{.kind = Identity::Kind::kTls, .uris = {"spiffe://nowhere/nobody"}};
  for (const Rule& rule : policy.rules()) {
    Require(!rule.who.empty() && !rule.resources.empty() && !rule.name.empty());
    // What it does not say it does not allow.
    if (policy.rules().size() == 1 && policy.RulesFor(stranger).empty()) {
      Require(policy.Decide(stranger, {.method = "CreateNamespace", .resource = "namespaces/a"}, nullptr) ==
              Verdict::kDenied);
    }
    for (const Principal& who : rule.who) Require(!who.Text().empty());
    for (const std::string& method : MethodsOf(rule.role)) Require(PowerOf(method).has_value());
  }
  for (const LimitRule& limits : policy.limits()) Require(limits.calls.calls_per_second >= 0);
}

}  // namespace
}  // namespace netprov::access

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::StatusOr<netprov::access::Policy> policy =
      netprov::access::ParsePolicy(std::string(reinterpret_cast<const char*>(data), size));
  if (policy.ok()) {
    netprov::access::Check(*policy);
  } else {
    netprov::access::Require(policy.status().code() == absl::StatusCode::kInvalidArgument);
    netprov::access::Require(absl::StartsWith(policy.status().message(), "line ") ||
                             absl::StartsWith(policy.status().message(), "is longer"));
  }
  return 0;
}
