#include "tests/testing/process.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"
#include "server/base/unique_fd.h"

extern char** environ;

namespace netprov::testing {
namespace {

struct Pipe {
  UniqueFd read;
  UniqueFd write;
};

Pipe MakePipe() {
  std::array<int, 2> ends;
  EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

// Starts a command with the given descriptors as standard output and error; a negative one is inherited.
pid_t Spawn(const std::vector<std::string>& command, int out, int err) {
  std::vector<char*> arguments;
  for (const std::string& argument : command) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  if (out >= 0) ::posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
  if (err >= 0) ::posix_spawn_file_actions_adddup2(&actions, err, STDERR_FILENO);
  pid_t pid = -1;
  const int failure = ::posix_spawnp(&pid, arguments[0], &actions, nullptr, arguments.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  EXPECT_EQ(failure, 0) << absl::StrJoin(command, " ") << ": " << strerrordesc_np(failure);
  return failure == 0 ? pid : -1;
}

int Reap(pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, 0) == -1) {
    if (errno != EINTR) return -1;
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

std::string ReadAll(int fd) {
  std::string text;
  std::array<char, 4096> buffer;
  ssize_t size = 0;
  while ((size = ::read(fd, buffer.data(), buffer.size())) > 0) text.append(buffer.data(), static_cast<size_t>(size));
  return text;
}

}  // namespace

Completed RunCommand(const std::vector<std::string>& command) {
  Pipe out = MakePipe();
  Pipe err = MakePipe();
  const pid_t pid = Spawn(command, out.write.get(), err.write.get());
  if (pid == -1) return {};
  out.write.Reset();
  err.write.Reset();
  Completed completed;
  std::thread reader([&] { completed.err = ReadAll(err.read.get()); });
  completed.out = ReadAll(out.read.get());
  reader.join();
  completed.exit_code = Reap(pid);
  return completed;
}

Process::Process(const std::vector<std::string>& command) {
  Pipe err = MakePipe();
  pid_ = Spawn(command, -1, err.write.get());
  if (pid_ == -1) {
    ended_ = closed_ = true;
    return;
  }
  collector_ = std::thread([this, fd = std::move(err.read)] { Collect(fd.get()); });
}

Process::~Process() {
  if (!ended_) Stop(SIGKILL);
  if (collector_.joinable()) collector_.join();
}

void Process::Collect(int fd) {
  std::array<char, 4096> buffer;
  while (true) {
    const ssize_t size = ::read(fd, buffer.data(), buffer.size());
    std::lock_guard<std::mutex> lock(mutex_);
    if (size <= 0) closed_ = true;
    if (size > 0) log_.append(buffer.data(), static_cast<size_t>(size));
    changed_.notify_all();
    if (size <= 0) return;
  }
}

std::string Process::FindLine(const std::string& text) {
  // Bazel's limit for a test comes first.
  constexpr std::chrono::hours kForever(24);
  auto has_text = [&text](absl::string_view line) { return absl::StrContains(line, text); };
  return NextLine(0, has_text, kForever).value_or("");
}

std::optional<std::string> Process::NextLine(size_t from, const std::function<bool(absl::string_view)>& is_it,
                                             std::chrono::milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    const std::vector<absl::string_view> lines = absl::StrSplit(absl::string_view(log_).substr(from), '\n');
    // The last piece has no end yet.
    for (size_t i = 0; i + 1 < lines.size(); ++i) {
      if (is_it(lines[i])) return std::string(lines[i]);
    }
    if (closed_) return "";
    if (changed_.wait_until(lock, deadline) == std::cv_status::timeout) return std::nullopt;
  }
}

std::string Process::WaitForLine(const std::string& text) {
  std::string line = FindLine(text);
  if (line.empty()) ADD_FAILURE() << "it ended without a line that has '" << text << "':\n" << log();
  return line;
}

bool Process::Reaches(const std::string& text) { return !FindLine(text).empty(); }

int Process::Stop(int signal) {
  if (!ended_) ::kill(pid_, signal);
  return Wait();
}

int Process::Wait() {
  if (ended_) return exit_code_;
  exit_code_ = Reap(pid_);
  ended_ = true;
  // What it has said is there to be read; what it has started may go on speaking.
  constexpr std::chrono::milliseconds kLastWords(500);
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait_for(lock, kLastWords, [this] { return closed_; });
  return exit_code_;
}

std::string Process::log() {
  std::lock_guard<std::mutex> lock(mutex_);
  return log_;
}

}  // namespace netprov::testing
