// What a process has open.
#ifndef NETPROV_TESTS_E2E_DESCRIPTORS_H_
#define NETPROV_TESTS_E2E_DESCRIPTORS_H_

#include <sys/types.h>

#include <string>
#include <vector>

namespace netprov::testing {

// What each descriptor of a daemon stands for, in order, but for connections, which go when gRPC comes to it.
std::vector<std::string> OpenDescriptors(pid_t daemon);

// Expects that the daemon has no others than there were, once what it does by itself is through.
void ExpectNoneBesides(const std::vector<std::string>& before, pid_t daemon);

}  // namespace netprov::testing

#endif  // NETPROV_TESTS_E2E_DESCRIPTORS_H_
