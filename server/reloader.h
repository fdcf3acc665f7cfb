// Configuration that is read again when its files change.
#ifndef NETPROV_SERVER_RELOADER_H_
#define NETPROV_SERVER_RELOADER_H_

#include <spdlog/logger.h>

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace netprov {

// A thread that looks at files once a second, or when it is told to, and loads what has changed. What can't be loaded
// is tried again each time, and said in the log, once, and among Faults() until it can; whoever loads keeps what was
// good.
//
// Threading: thread-safe, but for Start() and Stop().
class Reloader {
 public:
  struct Source {
    std::string what;                    // for the log: `policy`
    std::vector<std::string> paths;      // of its files
    std::function<absl::Status()> load;  // called from the thread
    std::string seen = {};               // SignatureOf() the files from before they were read first
  };

  // What tells files apart from themselves at another time.
  static std::string SignatureOf(const std::vector<std::string>& paths);

  // The sources are loaded already, as their `seen` says.
  Reloader(std::vector<Source> sources, std::shared_ptr<spdlog::logger> log,
           absl::Duration interval = absl::Seconds(1));
  ~Reloader() { Stop(); }
  Reloader(const Reloader&) = delete;
  Reloader& operator=(const Reloader&) = delete;

  void Start();
  // Ends the thread. Harmless when repeated.
  void Stop();

  // Loads everything again, changed or not, and returns when that is done.
  void ReloadAll();

  // Why what is in the files now is not in use: one sentence each.
  std::vector<std::string> Faults() const;

  // What became of loading a source again.
  struct Record {
    std::string what;
    uint64_t loaded = 0;
    uint64_t failed = 0;  // attempts; one that fails is made again each time
    // When its files were last loaded, the first time included.
    absl::Time last_loaded;
  };
  std::vector<Record> Records() const;

 private:
  struct Watched {
    Source source;
    std::string fault;
    Record record;
  };

  void Run();
  // Loads what has changed or could not be loaded, or all. With the loading lock held.
  void Look(bool all);

  const std::shared_ptr<spdlog::logger> log_;
  const absl::Duration interval_;

  std::mutex loading_;  // guards watched_, but for their faults and records
  mutable std::mutex mutex_;
  std::condition_variable stop_;
  bool stopping_ = false;
  std::vector<Watched> watched_;
  std::thread thread_;
};

}  // namespace netprov

#endif  // NETPROV_SERVER_RELOADER_H_
