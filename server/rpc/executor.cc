#include "server/rpc/executor.h"

#include <pthread.h>

#include <utility>

namespace netprov::rpc {

Executor::Executor(const Options& options) : options_(options), paused_(options.paused) {
  for (int i = 0; i < options_.threads; ++i) {
    threads_.emplace_back([this] {
      ::pthread_setname_np(::pthread_self(), options_.name.substr(0, 15).c_str());
      Work();
    });
  }
}

Executor::~Executor() { Shutdown(); }

Executor::Submission Executor::Submit(const std::vector<std::string>& keys, std::function<void()> task) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (shut_down_) return Submission::kShutDown;
  if (tasks_.size() - running_ >= options_.queue_limit) return Submission::kFull;
  Task& added = Add(keys, std::move(task));
  if (added.not_first_in == 0) {
    ready_.push_back(&added);
    if (!paused_) work_.notify_one();
  }
  return Submission::kAccepted;
}

Executor::Submission Executor::RunOrSubmit(const std::vector<std::string>& keys, std::function<void()> task) {
  std::unique_lock<std::mutex> lock(mutex_);
  if (shut_down_ || paused_ || !tasks_.empty()) {
    lock.unlock();
    return Submit(keys, std::move(task));
  }
  runs_here_ = true;
  RunAndRetire(Add(keys, std::move(task)), lock);
  runs_here_ = false;
  if (shut_down_) work_.notify_all();
  return Submission::kAccepted;
}

Executor::Task& Executor::Add(const std::vector<std::string>& keys, std::function<void()> task) {
  Task& added = tasks_.emplace_back();
  added.run = std::move(task);
  added.self = std::prev(tasks_.end());
  added.since = std::chrono::steady_clock::now();
  for (const std::string& key : keys) {
    const auto line = lines_.try_emplace(key).first;
    if (!line->second.empty()) ++added.not_first_in;
    line->second.push_back(&added);
    added.lines.push_back(line);
  }
  return added;
}

void Executor::Resume() {
  std::lock_guard<std::mutex> lock(mutex_);
  paused_ = false;
  work_.notify_all();
}

void Executor::Drain() {
  std::unique_lock<std::mutex> lock(mutex_);
  idle_.wait(lock, [this] { return tasks_.empty(); });
}

void Executor::Shutdown() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    shut_down_ = true;
    paused_ = false;
    work_.notify_all();
  }
  std::lock_guard<std::mutex> lock(join_mutex_);
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

size_t Executor::waiting() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return tasks_.size() - running_;
}

bool Executor::GetsOn() {
  std::lock_guard<std::mutex> lock(mutex_);
  const bool has_ended = std::exchange(ended_before_, ended_) != ended_;
  return has_ended || running_ < static_cast<size_t>(options_.threads);
}

void Executor::Work() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    // After a shutdown, a task that is not ready is so behind one that runs, whose thread will see to it, unless that
    // is none of these.
    work_.wait(lock, [this] { return (!ready_.empty() && !paused_) || (shut_down_ && ready_.empty() && !runs_here_); });
    if (ready_.empty()) return;
    Task& task = *ready_.front();
    ready_.pop_front();
    RunAndRetire(task, lock);
  }
}

void Executor::RunAndRetire(Task& task, std::unique_lock<std::mutex>& lock) noexcept {
  ++running_;
  lock.unlock();
  waits_.Observe(std::chrono::steady_clock::now() - task.since);
  task.run();
  // What the task holds is destroyed outside of the lock, and before others learn that it is done.
  task.run = nullptr;
  lock.lock();
  --running_;
  ++ended_;
  Retire(task);
}

void Executor::Retire(Task& task) {
  for (const auto& line : task.lines) {
    line->second.pop_front();
    if (line->second.empty()) {
      lines_.erase(line);
      continue;
    }
    Task& next = *line->second.front();
    if (--next.not_first_in > 0) continue;
    ready_.push_back(&next);
    work_.notify_one();
  }
  tasks_.erase(task.self);
  if (tasks_.empty()) idle_.notify_all();
}

}  // namespace netprov::rpc
