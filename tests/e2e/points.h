// The system calls at which a daemon is killed or fails, and which of them make a difference.
#ifndef NETPROV_TESTS_E2E_POINTS_H_
#define NETPROV_TESTS_E2E_POINTS_H_

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "tests/e2e/tracer.h"

namespace netprov::testing {

// Whether all is the same, once the process is killed, with this system call as without. A process that is killed at
// one call leaves what the calls before it did, so that two points with only such calls between them are the same.
// Where nothing is known of a call, it leaves something.
bool LeavesNothing(const SystemCall& call);

// Whether it writes to the audit log, or does something else to it.
bool IsOfAuditLog(const SystemCall& call);

// The kinds of the netlink messages that a call sends, as strace shows them: `RTM_NEWLINK`, `0x10 /* NLMSG_??? */`. Of
// more than 32, the first 32.
std::vector<std::string> MessagesOf(const SystemCall& call);

// A system call of a thread: what strace can act upon, and what it is.
struct Point {
  std::string name;
  int n = 1;         // among the calls of that name
  std::string what;  // the same in each run: what it does and to what, and how often something did that before
  // Whether it is made on the registry's files. Of how many of its pages something is written or read depends on what
  // is there, so that not each such point comes again.
  bool is_of_registry = false;
  bool is_of_audit_log = false;
};

// The points of a recording after the first `skipped` calls: those that leave something, at which to kill is enough; or
// `every` call, which is then known by its name and number alone. Without repetition, where several threads were
// recorded.
std::vector<Point> PointsIn(const std::vector<SystemCall>& calls, bool every, size_t skipped = 0);

// The system calls of a daemon's start, by its main thread, until it has its first thread that serves. `ahead` is how
// many come before the recovery, which begins when the socket is there.
std::vector<SystemCall> CallsOfStart(std::vector<SystemCall> calls, size_t& ahead);

// How many of a hundred points are to be reached, not counting those of the registry. Of all system calls, some depend
// on the heap, as mmap does, and on how threads meet, as futex does, so that a few do not come again; those that leave
// something do. Which of gRPC's threads does what, and in which order the daemon does what nobody called for, is not
// the same each time.
enum class Share { kAny = 0, kMost = 90, kAll = 100 };

// Calls `attempt` with each point that `record` gives, and again, until there is none that is new: how often a call is
// made depends on the state of the registry and of the heap, and on what the daemon looks at beside. `attempt` says
// whether the point was reached; one that was not is tried again after another recording. Ends at the first failure of
// the test, as what fails once tends to fail many times. Expects that as many were reached as `share` says, and that
// there was one at all, but for kAny.
void ReachAll(const std::function<std::vector<Point>()>& record, const std::function<bool(const Point& point)>& attempt,
              Share share);

// Whether to kill at every system call (NETPROV_EVERY_CALL), for which CI has no time, and how many are reached then.
bool IsExhaustive();
Share ShareOfRun();

}  // namespace netprov::testing

#endif  // NETPROV_TESTS_E2E_POINTS_H_
