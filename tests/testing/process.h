// Child processes of tests: the real daemon, and commands with their exit codes.
#ifndef NETPROV_TESTS_TESTING_PROCESS_H_
#define NETPROV_TESTS_TESTING_PROCESS_H_

#include <sys/types.h>

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/string_view.h"

namespace netprov::testing {

// The binaries, from where Bazel runs a test that has them as data.
inline constexpr char kNetprovd[] = "server/netprovd";
inline constexpr char kContain[] = "client/cli/contain";

// The flags of a daemon in which one thread makes every change, and makes it the same way each time. With `prepared`,
// another one makes so many namespaces ahead.
inline std::vector<std::string> OneThread(int prepared = 0) {
  return {"--workers", "1", "--prepared-namespaces", std::to_string(prepared)};
}

// A command that has ended.
struct Completed {
  int exit_code = -1;  // 128 + N after signal N
  std::string out;
  std::string err;
};

// Runs a command to its end, without a shell.
Completed RunCommand(const std::vector<std::string>& command);

// A process in the background, whose standard error is collected. Killed when it is destroyed.
class Process {
 public:
  explicit Process(const std::vector<std::string>& command);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }

  // Waits until the log has a line with `text`, or the process has ended. Returns the first such line, or an empty
  // string.
  std::string WaitForLine(const std::string& text);

  // The same, where an end without such a line is no failure: whether there was one.
  bool Reaches(const std::string& text);

  // The first line after the first `from` bytes of the log of which `is_it` holds, once it is there; an empty string:
  // the process has ended without one; nullopt: the time is over.
  std::optional<std::string> NextLine(size_t from, const std::function<bool(absl::string_view)>& is_it,
                                      std::chrono::milliseconds timeout);

  // Sends a signal and waits for the end. Returns the exit code, 128 + N after signal N.
  int Stop(int signal);
  // Waits for the end.
  int Wait();

  std::string log();

 private:
  void Collect(int fd);
  // Waits for a line; empty when the log has ended without one.
  std::string FindLine(const std::string& text);

  pid_t pid_ = -1;
  bool ended_ = false;
  int exit_code_ = -1;
  std::thread collector_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string log_;
  bool closed_ = false;
};

}  // namespace netprov::testing

#endif  // NETPROV_TESTS_TESTING_PROCESS_H_
