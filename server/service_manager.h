// Tells the service manager how the daemon is: sd_notify(3).
#ifndef NETPROV_SERVER_SERVICE_MANAGER_H_
#define NETPROV_SERVER_SERVICE_MANAGER_H_

#include <sys/types.h>

#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "absl/time/time.h"

namespace netprov {

// Speaks to whoever NOTIFY_SOCKET names, and to nobody where it is not set: each call then does nothing.
//
// Threading: one thread.
class ServiceManager {
 public:
  // `is_alive` says whether the daemon gets on with its work; it is asked from a thread of the watchdog's.
  explicit ServiceManager(std::function<bool()> is_alive) : is_alive_(std::move(is_alive)) {}
  // Ends the watchdog.
  ~ServiceManager() { StopWatchdog(); }
  ServiceManager(const ServiceManager&) = delete;
  ServiceManager& operator=(const ServiceManager&) = delete;

  // It serves; `status` is a line for people. From now on it says that it is alive as often as WATCHDOG_USEC asks for
  // (sd_watchdog_enabled(3)), as long as it is.
  void Ready(const std::string& status);
  // It reads its configuration again, until the next Ready().
  void Reloading();
  // It ends, and need not be alive any more.
  void Stopping();
  // The same where another process goes on in its place, which is the service's main one from now on.
  void HandedOver(pid_t pid);

 private:
  void StopWatchdog();

  const std::function<bool()> is_alive_;
  std::mutex mutex_;
  std::condition_variable stop_;
  bool stopping_ = false;
  std::thread watchdog_;
};

}  // namespace netprov

#endif  // NETPROV_SERVER_SERVICE_MANAGER_H_
