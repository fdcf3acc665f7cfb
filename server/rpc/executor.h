// Threads that run tasks: in order where tasks share something, side by side where they don't.
#ifndef NETPROV_SERVER_RPC_EXECUTOR_H_
#define NETPROV_SERVER_RPC_EXECUTOR_H_

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "server/base/statistics.h"

namespace netprov::rpc {

// A fixed number of threads behind one bounded queue. A task names keys; tasks that share a key run one after the
// other, in the order in which they were submitted, also where the one in front waits for another key. A task without
// keys waits for nothing but a thread. No thread waits for a key: a task is given to one only when it stands first in
// line for each of its keys, so that there can be no deadlock either.
//
// Threading: thread-safe. Submit() never blocks beyond a short lock, so it may be called from a gRPC callback.
class Executor {
 public:
  struct Options {
    // Of the threads, for ps(1) and debuggers: at most 15 bytes.
    std::string name = "executor";
    int threads = 4;
    // How many tasks may wait, those that run not counted.
    size_t queue_limit = 1024;
    // Tasks are taken in, but none runs until Resume().
    bool paused = false;
  };

  // What became of a task.
  enum class Submission {
    kAccepted,  // it will run, exactly once
    kFull,      // refused: the queue is full
    kShutDown,  // refused: Shutdown() was called
  };

  explicit Executor(const Options& options);
  // Shuts down.
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  // Runs `task` once on one of the threads. `keys` must be sorted and without repetition. The task must not wait for
  // another one.
  Submission Submit(const std::vector<std::string>& keys, std::function<void()> task);

  // Runs `task` right here, before it returns, where nothing runs and nothing waits: waking a thread would cost more
  // than many a task does. Else as Submit(). At most one thread at a time is kept that way.
  Submission RunOrSubmit(const std::vector<std::string>& keys, std::function<void()> task);

  // Ends a pause.
  void Resume();

  // Waits until nothing runs and nothing waits. Tasks may be submitted meanwhile, and are waited for too. Must not be
  // called while paused, nor from a task.
  void Drain();

  // Refuses tasks from now on, runs those that were accepted, also if paused, and ends the threads. Must not be called
  // from a task. Harmless when repeated.
  void Shutdown();

  // Whether it gets on with its work: since the last time that this was asked a task has ended, or a thread has nothing
  // to do. False the first time that all are busy with what they were busy with before.
  bool GetsOn();

  // How many tasks wait; for tests and metrics.
  size_t waiting() const;

  // How long tasks waited that have begun.
  const Histogram& waits() const { return waits_; }

 private:
  struct Task;
  // The tasks that name a key, in the order of their arrival; the first of them may run.
  using Line = std::deque<Task*>;
  struct Task {
    std::function<void()> run;
    std::vector<std::map<std::string, Line>::iterator> lines;
    size_t not_first_in = 0;  // lines in which it is not the first
    std::list<Task>::iterator self;
    std::chrono::steady_clock::time_point since;
  };

  void Work();
  // Takes a task in, whose keys stand in line then. With the lock held.
  Task& Add(const std::vector<std::string>& keys, std::function<void()> task);
  // Runs a task that stands first in each of its lines. An exception ends the process, also where gRPC would catch it.
  void RunAndRetire(Task& task, std::unique_lock<std::mutex>& lock) noexcept;
  // Gives up the task's places in line. With the lock held.
  void Retire(Task& task);

  const Options options_;
  Histogram waits_;

  mutable std::mutex mutex_;
  std::condition_variable work_;  // something is ready, or the end has come
  std::condition_variable idle_;  // tasks_ is empty
  bool paused_;
  bool shut_down_ = false;
  std::list<Task> tasks_;  // all that wait or run
  size_t running_ = 0;
  size_t ended_ = 0;                   // tasks, ever
  size_t ended_before_ = 0;            // when GetsOn() was asked last
  bool runs_here_ = false;             // RunOrSubmit() runs one of them
  std::map<std::string, Line> lines_;  // by key
  std::deque<Task*> ready_;            // first in each of their lines, not yet running

  std::mutex join_mutex_;  // guards threads_; never taken with mutex_ held
  std::vector<std::thread> threads_;
};

}  // namespace netprov::rpc

#endif  // NETPROV_SERVER_RPC_EXECUTOR_H_
