// strace(1) on a running daemon: records its system calls, kills it at one, or lets one fail.
#ifndef NETPROV_TESTS_E2E_TRACER_H_
#define NETPROV_TESTS_E2E_TRACER_H_

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/testing/process.h"

namespace netprov::testing {

// The threads of a process that have that name.
std::vector<pid_t> ThreadsOf(pid_t process, const std::string& name);
// The thread that makes the changes of a daemon with one worker.
pid_t WorkerOf(pid_t daemon);

// One system call as strace writes it.
struct SystemCall {
  std::string name;
  std::string line;    // all of it, with what each descriptor stands for
  std::string thread;  // its number; empty where one alone is traced

  bool injected() const;
};

// What strace wrote, of the last that was traced.
std::vector<SystemCall> ReadTrace();

// Starts a daemon with one worker whose main thread is traced from the start; `flags` say what to do to it. The process
// is the daemon, and strace beside it.
std::unique_ptr<Process> StartTraced(const std::vector<std::string>& flags);

// strace from its construction, which returns when it is attached, until Detach().
class Tracer {
 public:
  // `flags` say what to do to whom, as in {"-p", "4711", "-e", "inject=all:signal=KILL:when=3"}. System calls are
  // counted for each thread by itself.
  explicit Tracer(const std::vector<std::string>& flags);

  // Lets the traced go on alone, where they still live. Returns what it saw, in order.
  std::vector<SystemCall> Detach();
  // The same where they are dying, with the last call.
  std::vector<SystemCall> AwaitEnd();

 private:
  std::unique_ptr<Process> strace_;
};

}  // namespace netprov::testing

#endif  // NETPROV_TESTS_E2E_TRACER_H_
