// How system calls fail.
#ifndef NETPROV_TESTS_E2E_FAILURES_H_
#define NETPROV_TESTS_E2E_FAILURES_H_

#include <map>
#include <set>
#include <string>
#include <vector>

namespace netprov::testing {

// What may go wrong with a system call, by its name. Left out are errors that are answers (ENOENT of a name that is not
// there) and those of a wrong argument.
const std::map<std::string, std::vector<int>>& Failures();

// And what may go wrong besides when a file is created.
const std::vector<int>& CreationFailures();

// The system calls that are left alone. Any other must have failures above.
const std::set<std::string>& LeftAlone();

}  // namespace netprov::testing

#endif  // NETPROV_TESTS_E2E_FAILURES_H_
