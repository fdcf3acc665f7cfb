// The policy as an administrator writes it.
#ifndef NETPROV_SERVER_ACCESS_POLICY_FILE_H_
#define NETPROV_SERVER_ACCESS_POLICY_FILE_H_

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"
#include "server/access/policy.h"

namespace netprov::access {

// The largest policy file, in bytes.
inline constexpr size_t kLongestPolicy = 1 << 20;

// Reads a policy in YAML:
//
//   version: 1
//   roles:                                # beside viewer, operator and admin; may be left out
//     mirror:
//       methods: [GetNamespace, "List*"]  # patterns
//   rules:
//     - name: ci                          # for people; may be left out
//       who: ["spiffe://example.org/ci/*", "group:netprov"]   # ParsePrincipal()
//       role: operator
//       resources: ["namespaces/ci-*", "veths/ci-*"]          # patterns; left out: all
//       labels: {team: ci}                                    # left out: any
//       rights: [host, path, pid]                             # left out: all with the role admin, else none
//   limits:                               # of each caller; the first for it counts; may be left out
//     - who: ["spiffe://example.org/ci/*"]
//       calls_per_second: 50              # left out: any number
//       burst: 100                        # left out: as many as in a second
//       concurrent_calls: 16              # left out: 256
//       namespaces: 100                   # at a time; left out: any number, 0: none, and so of the others
//       links: 400
//       addresses: 1000
//       routes: 1000
//       nat_elements: 200
//   total:                                # of all callers; may be left out, and so may each
//     namespaces: 2000                    # links, addresses, routes, nat_elements
//
// INVALID_ARGUMENT, with one sentence that says where (`line 7: rules[0].role: ...`) and why: text that is no YAML, a
// key that is unknown, missing or there twice, a value of another kind, an unknown role, method, resource, user or
// group.
absl::StatusOr<Policy> ParsePolicy(const std::string& text);

// The policy in the file at `path`, with the rules of the host ahead of its own. Errors as above, the path ahead, and
// UNAVAILABLE for one that can't be read. FAILED_PRECONDITION for one that others than root and the daemon's user can
// write.
absl::StatusOr<Policy> ReadPolicy(const std::string& path);

}  // namespace netprov::access

#endif  // NETPROV_SERVER_ACCESS_POLICY_FILE_H_
