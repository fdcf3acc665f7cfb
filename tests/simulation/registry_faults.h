// Write errors and deaths around the transactions of a Registry, from below: through SQLite's own commit hook.
#ifndef NETPROV_TESTS_SIMULATION_REGISTRY_FAULTS_H_
#define NETPROV_TESTS_SIMULATION_REGISTRY_FAULTS_H_

#include <functional>
#include <string>

namespace netprov::simulation {

// Asks `may_commit` before every transaction of every SQLite database of this process that changes something: false
// refuses it, as a full disk does. One per process; null ends it. The function is called in the middle of SQLite, so
// it must not throw or yield: what wants to die there refuses, now or from the next transaction on, and dies at the
// next operation of the kernel.
void InterceptCommits(std::function<bool()> may_commit);

// The database at `from` as the death of its user leaves it, copied to `to`: the main file and the write-ahead log.
void CopyDatabase(const std::string& from, const std::string& to);

}  // namespace netprov::simulation

#endif  // NETPROV_TESTS_SIMULATION_REGISTRY_FAULTS_H_
