#include "tests/e2e/tracer.h"

#include <csignal>
#include <filesystem>
#include <fstream>

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

}  // namespace

pid_t WorkerOf(pid_t daemon) {
  for (const auto& task : std::filesystem::directory_iterator(absl::StrCat("/proc/", daemon, "/task"))) {
    std::string name;
    std::getline(std::ifstream(task.path() / "comm"), name);
    int id = 0;
    if (name == kWorkerName && absl::SimpleAtoi(task.path().filename().string(), &id)) return id;
  }
  ADD_FAILURE() << "the daemon has no thread '" << kWorkerName << "'";
  return -1;
}

bool SystemCall::injected() const { return absl::StrContains(line, "(INJECTED)"); }

Tracer::Tracer(const std::vector<std::string>& flags) {
  // -y: descriptors with their paths; -s: what is sent and written is not of interest.
  std::vector<std::string> command = {"strace", "-y", "-s", "32", "-o", kOutput};
  command.insert(command.end(), flags.begin(), flags.end());
  strace_ = std::make_unique<Process>(command);
  strace_->WaitForLine(" attached");
}

std::vector<SystemCall> Tracer::Detach() {
  // It writes each line at once. Asked to end by SIGTERM it would wait for each thread to stop, for ever if the daemon
  // is just dying; the kernel detaches at once.
  strace_->Stop(SIGKILL);
  return ReadTrace(kOutput);
}

std::vector<SystemCall> ReadTrace(const std::string& path) {
  std::vector<SystemCall> calls;
  std::ifstream output(path);
  std::string line;
  while (std::getline(output, line)) {
    // Other lines tell of signals and of the end: `+++ killed by SIGKILL +++`. With several
    // threads a line starts with the thread's number.
    absl::string_view text = line;
    while (!text.empty() && (absl::ascii_isdigit(text.front()) || text.front() == ' ')) text.remove_prefix(1);
    const size_t end = text.find('(');
    if (end == absl::string_view::npos || end == 0 || !absl::ascii_islower(text.front())) continue;
    calls.push_back({.name = std::string(text.substr(0, end)), .line = std::string(text)});
  }
  return calls;
}

}  // namespace netprov::testing
