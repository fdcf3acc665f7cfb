// Runs what the server does without being called.
#ifndef NETPROV_SERVER_RPC_HOUSEKEEPER_H_
#define NETPROV_SERVER_RPC_HOUSEKEEPER_H_

#include <spdlog/logger.h>

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "server/engine/caretaker.h"
#include "server/engine/registry.h"
#include "server/rpc/auditor.h"
#include "server/rpc/call_runner.h"

namespace netprov::rpc {

// A thread that gives the caretaker's chores to the workers, where they take their turn among the calls, and logs what
// comes of them; that sees to the registry's log; and that says when registry or audit log can't be written, and when
// they can again.
class Housekeeper {
 public:
  struct Options {
    std::shared_ptr<spdlog::logger> log;
    // Called, from the thread, with whether registry and audit log can be written, each time that changes.
    std::function<void(bool)> on_writable;
    // Writes a line for each chore that changes something. Null: nobody does.
    Auditor* auditor = nullptr;
  };

  // Begins. All of them must outlive it.
  Housekeeper(engine::Caretaker& caretaker, engine::Registry& registry, CallRunner& runner, const Options& options);
  // Must not be destroyed before the runner has stopped, as chores that were handed on refer to it.
  ~Housekeeper();
  Housekeeper(const Housekeeper&) = delete;
  Housekeeper& operator=(const Housekeeper&) = delete;

  // Ends the thread. Chores that wait for their turn are dropped when it comes. Harmless when repeated.
  void Stop();

 private:
  void Run();
  std::vector<engine::Notice> Do(const engine::Chore& chore);
  void WatchDisk();
  // Takes in whether one of the two can be written, as `registry`, and says so where that has changed.
  void Tell(const char* what, const std::optional<std::string>& fault, bool& is_writable);
  void Log(const std::vector<engine::Notice>& notices) const;

  engine::Caretaker& caretaker_;
  engine::Registry& registry_;
  CallRunner& runner_;
  const Options options_;
  bool registry_is_writable_ = true;
  bool audit_log_is_writable_ = true;
  std::atomic<bool> stopping_ = false;
  std::thread thread_;
};

}  // namespace netprov::rpc

#endif  // NETPROV_SERVER_RPC_HOUSEKEEPER_H_
