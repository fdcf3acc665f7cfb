// How system calls fail, and what a caller may be told then.
#ifndef NETPROV_TESTS_E2E_FAILURES_H_
#define NETPROV_TESTS_E2E_FAILURES_H_

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "tests/e2e/points.h"
#include "tests/e2e/tracer.h"

namespace netprov::testing {

// What may go wrong with a system call, by its name. Left out are errors that are answers (ENOENT of a name that is not
// there) and those of a wrong argument.
const std::map<std::string, std::vector<int>>& Failures();

// And what may go wrong besides when a file is created.
const std::vector<int>& CreationFailures();

// The system calls that are left alone. Any other must have failures above.
const std::set<std::string>& LeftAlone();

// The points whose system call may fail. Expects that it is said above how.
std::vector<Point> ThatMayFail(std::vector<Point> points);

// What strace does to a system call to let it fail: in the first of its ways, and the next of its name in the next.
std::string FailAt(const Point& point);

// The system call that failed by strace's doing; nullopt: it was not reached.
std::optional<SystemCall> FailedOf(const std::vector<SystemCall>& calls);

// Expects that the log of a daemon which did not come to serve says why.
void ExpectRefusal(const std::string& log);

// Whether every call's system calls are to fail in every way (NETPROV_EVERY_ERRNO), for which CI has no time.
bool IsLongForm();

// Whether it is a system call at whose failure the daemon ends on purpose.
bool IsFatal(const SystemCall& call);
// Whether it sends an answer.
bool IsOfConnection(const SystemCall& call);

// How a call may end, as Ending::Summary() has it, that gives up because that system call failed.
std::set<std::string> AllowedErrors(const SystemCall& call, int code);

}  // namespace netprov::testing

#endif  // NETPROV_TESTS_E2E_FAILURES_H_
