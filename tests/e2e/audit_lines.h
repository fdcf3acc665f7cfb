// What the daemon's audit log says.
#ifndef NETPROV_TESTS_E2E_AUDIT_LINES_H_
#define NETPROV_TESTS_E2E_AUDIT_LINES_H_

#include <string>
#include <vector>

#include "nlohmann/json.hpp"

namespace netprov::testing {

// Where it is by default.
inline constexpr char kAuditLog[] = "/var/lib/netprov/audit.log";

// Its lines, in their order; none where there is no file. Expects that each is whole and JSON, and that no call has
// two.
std::vector<nlohmann::json> AuditLines(const std::string& path = kAuditLog);

// Whether a line is of a call, and not of what the daemon did by itself.
bool IsOfCall(const nlohmann::json& line);

// Whether it says that all of what was wanted was changed: `done` or `completed`.
bool SaysDone(const nlohmann::json& line);

}  // namespace netprov::testing

#endif  // NETPROV_TESTS_E2E_AUDIT_LINES_H_
