#include "tests/e2e/tracer.h"

#include <csignal>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <map>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "gtest/gtest.h"

namespace netprov::testing {
namespace {

constexpr char kOutput[] = "/run/strace.out";
constexpr char kWorkerName[] = "worker";

std::vector<std::string> CommandOf(const std::vector<std::string>& flags) {
  // -y: descriptors with their paths; -s: what is sent and written is not of interest.
  std::vector<std::string> command = {"strace", "-y", "-s", "32", "-o", kOutput};
  command.insert(command.end(), flags.begin(), flags.end());
  return command;
}

}  // namespace

std::vector<pid_t> ThreadsOf(pid_t process, const std::string& name) {
  std::vector<pid_t> threads;
  for (const auto& task : std::filesystem::directory_iterator(absl::StrCat("/proc/", process, "/task"))) {
    std::string its_name;
    std::getline(std::ifstream(task.path() / "comm"), its_name);
    int id = 0;
    if (its_name == name && absl::SimpleAtoi(task.path().filename().string(), &id)) threads.push_back(id);
  }
  EXPECT_FALSE(threads.empty()) << "the daemon has no thread '" << name << "'";
  return threads;
}

pid_t WorkerOf(pid_t daemon) {
  const std::vector<pid_t> workers = ThreadsOf(daemon, kWorkerName);
  return workers.empty() ? -1 : workers.front();
}

bool SystemCall::injected() const { return absl::StrContains(line, "(INJECTED)"); }

std::unique_ptr<Process> StartTraced(const std::vector<std::string>& flags) {
  // -D: the daemon is the child, and strace beside it.
  std::vector<std::string> command = CommandOf(flags);
  command.insert(command.end(), {"-D", kNetprovd});
  const std::vector<std::string> one_thread = OneThread();
  command.insert(command.end(), one_thread.begin(), one_thread.end());
  return std::make_unique<Process>(command);
}

Tracer::Tracer(const std::vector<std::string>& flags) {
  strace_ = std::make_unique<Process>(CommandOf(flags));
  for (size_t i = 0; i + 1 < flags.size(); ++i) {
    if (flags[i] == "-p") strace_->WaitForLine(absl::StrCat("Process ", flags[i + 1], " attached"));
  }
}

std::vector<SystemCall> Tracer::Detach() {
  // It writes each line at once. Asked to end by SIGTERM it would wait for each thread to stop, for ever if the daemon
  // is just dying; the kernel detaches at once.
  strace_->Stop(SIGKILL);
  return ReadTrace();
}

std::vector<SystemCall> Tracer::AwaitEnd() {
  strace_->Wait();
  return ReadTrace();
}

std::vector<SystemCall> ReadTrace() {
  constexpr absl::string_view kResumed = " resumed>";
  std::vector<SystemCall> calls;
  std::map<std::string, size_t> last;  // of each thread
  std::ifstream output(kOutput);
  std::string line;
  while (std::getline(output, line)) {
    // With several threads a line starts with the thread's number.
    absl::string_view text = line;
    while (!text.empty() && (absl::ascii_isdigit(text.front()) || text.front() == ' ')) text.remove_prefix(1);
    const std::string thread = line.substr(0, line.size() - text.size());
    // Where another thread's line came between, a call's end is a line of its own: `<... openat resumed>) = 3`.
    const size_t resumed = text.find(kResumed);
    if (absl::StartsWith(text, "<... ") && resumed != absl::string_view::npos && last.contains(thread)) {
      absl::StrAppend(&calls[last[thread]].line, text.substr(resumed + kResumed.size()));
      continue;
    }
    // Other lines tell of signals and of the end: `+++ killed by SIGKILL +++`.
    const size_t end = text.find('(');
    if (end == absl::string_view::npos || end == 0 || !absl::ascii_islower(text.front())) continue;
    last[thread] = calls.size();
    calls.push_back({.name = std::string(text.substr(0, end)), .line = std::string(text), .thread = thread});
  }
  return calls;
}

}  // namespace netprov::testing
