#include "server/reloader.h"

#include <sys/stat.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/rpc/call_log.h"

namespace netprov {

// Changes whenever one of the files does. By the files themselves and not by links to them: a directory of secrets is
// swapped by a link.
std::string Reloader::SignatureOf(const std::vector<std::string>& paths) {
  std::string signature;
  for (const std::string& path : paths) {
    struct stat file = {};
    if (::stat(path.c_str(), &file) == 0) {
      absl::StrAppend(&signature, file.st_dev, " ", file.st_ino, " ", file.st_size, " ", file.st_mtim.tv_sec, ".",
                      file.st_mtim.tv_nsec, " ", file.st_ctim.tv_sec, ".", file.st_ctim.tv_nsec);
    }
    absl::StrAppend(&signature, ";");
  }
  return signature;
}

Reloader::Reloader(std::vector<Source> sources, std::shared_ptr<spdlog::logger> log, absl::Duration interval)
    : log_(std::move(log)), interval_(interval) {
  for (Source& source : sources) {
    Record record{.what = source.what, .last_loaded = absl::Now()};
    watched_.push_back({.source = std::move(source), .fault = "", .record = std::move(record)});
  }
}

void Reloader::Start() {
  thread_ = std::thread([this] { Run(); });
}

void Reloader::Stop() {
  if (!thread_.joinable()) return;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  stop_.notify_all();
  thread_.join();
}

void Reloader::Run() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (!stop_.wait_for(lock, absl::ToChronoNanoseconds(interval_), [this] { return stopping_; })) {
    lock.unlock();
    {
      std::lock_guard<std::mutex> loading(loading_);
      Look(/*all=*/false);
    }
    lock.lock();
  }
}

void Reloader::ReloadAll() {
  std::lock_guard<std::mutex> loading(loading_);
  Look(/*all=*/true);
}

void Reloader::Look(bool all) {
  for (Watched& watched : watched_) {
    // Before it is read: a change while that is done is found by the next look.
    std::string seen = SignatureOf(watched.source.paths);
    if (!all && seen == watched.source.seen && watched.fault.empty()) continue;
    watched.source.seen = std::move(seen);
    const absl::Status loaded = watched.source.load();
    std::string fault(loaded.message());
    if (loaded.ok()) {
      log_->info(absl::StrCat("event=reloaded what=", watched.source.what));
    } else if (all || fault != watched.fault) {
      log_->error(absl::StrCat("event=reload_failed what=", watched.source.what, " error=", rpc::LogfmtValue(fault)));
    }
    std::lock_guard<std::mutex> lock(mutex_);
    watched.fault = std::move(fault);
    ++(loaded.ok() ? watched.record.loaded : watched.record.failed);
    if (loaded.ok()) watched.record.last_loaded = absl::Now();
  }
}

std::vector<std::string> Reloader::Faults() const {
  std::lock_guard<std::mutex> lock(mutex_);
  std::vector<std::string> faults;
  for (const Watched& watched : watched_) {
    if (!watched.fault.empty()) faults.push_back(watched.fault);
  }
  return faults;
}

std::vector<Reloader::Record> Reloader::Records() const {
  std::lock_guard<std::mutex> lock(mutex_);
  std::vector<Record> records;
  for (const Watched& watched : watched_) records.push_back(watched.record);
  return records;
}

}  // namespace netprov
