// A machine of its own for a test process: what it does to namespaces and links reaches nobody else.
#ifndef NETPROV_TESTS_TESTING_PRIVATE_HOST_H_
#define NETPROV_TESTS_TESTING_PRIVATE_HOST_H_

#include <string>

namespace netprov::testing {

// Puts the calling process, which must have one thread, into new network and mount namespaces with an empty tmpfs at
// /run, and an /etc of its own, in which all but netns is the host's. Without root into a new user namespace first, in
// which it is root. Returns what went wrong, empty after success.
std::string EnterPrivateHost();

// Whether the environment says to leave the kernel tests out: NETPROV_TEST_SKIP_KERNEL=1.
bool SkipKernelTests();

// The output of a shell command, stdout and stderr. A failure is a test failure that shows it. `ip -j` and its like are
// how tests see what the kernel holds through other eyes than ours.
std::string Shell(const std::string& command);

}  // namespace netprov::testing

#endif  // NETPROV_TESTS_TESTING_PRIVATE_HOST_H_
