// What the daemon takes away from itself, so that whoever makes it run their code has less than root
// (capabilities(7), seccomp(2), prctl(2)). SECURITY.md says what that leaves.
#ifndef NETPROV_SERVER_CONFINEMENT_H_
#define NETPROV_SERVER_CONFINEMENT_H_

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace netprov {

// The capabilities that are kept, as cap_to_text(3) names them: `cap_net_admin`. docs/operations.md says what for.
std::vector<std::string> KeptCapabilities();

// The names of the system calls that FilterSystemCalls() leaves, some of them for certain arguments only.
std::vector<std::string> AllowedSystemCalls();

// Drops all capabilities from all sets of the process but those of KeptCapabilities() that it has as permitted and
// effective ones, and forbids that it ever gains any by execve(2) (PR_SET_NO_NEW_PRIVS), that it leaves a core, and
// that others without CAP_SYS_PTRACE look into its memory (PR_SET_DUMPABLE). With `group`, joins that group where it
// may: who has no CAP_CHOWN can give a file to a group of its own only.
//
// To be called while the process has one thread, as each has capabilities of its own. Where the bounding set can't be
// made smaller for want of CAP_SETPCAP, it stays: what has it is never executed. Returns the capabilities that are
// effective now, as above. INTERNAL: which step failed and why; what was done before it stays.
absl::StatusOr<std::vector<std::string>> DropPrivileges(std::optional<gid_t> group);

// Leaves all threads of the process, and those that they start, the system calls that the daemon makes once it has
// opened what it needs, and of those that could make it something else only the ways in which it makes them: namespaces
// but those of the network, mounts of file systems, sockets but those that it uses, programs, other processes and
// memory that is both written and executed are out of reach. What is not allowed does nothing and fails with EPERM; but
// clone3(2), whose arguments a filter can't see, with ENOSYS, at which glibc takes clone(2). There is no way back.
//
// Returns whether it did: built with a sanitizer, whose runtime makes system calls of its own, it does nothing.
// INTERNAL: the kernel has no seccomp filters, or refuses this one.
absl::StatusOr<bool> FilterSystemCalls();

}  // namespace netprov

#endif  // NETPROV_SERVER_CONFINEMENT_H_
