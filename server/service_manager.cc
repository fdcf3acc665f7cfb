#include "server/service_manager.h"

#include <systemd/sd-daemon.h>
#include <time.h>

#include <cstdint>

#include "absl/strings/str_cat.h"

namespace netprov {

void ServiceManager::Ready(const std::string& status) {
  ::sd_notify(0, absl::StrCat("READY=1\nSTATUS=", status).c_str());
  uint64_t microseconds = 0;
  if (watchdog_.joinable() || ::sd_watchdog_enabled(0, &microseconds) <= 0) return;
  // Twice as often as it must.
  const absl::Duration interval = absl::Microseconds(static_cast<int64_t>(microseconds)) / 2;
  watchdog_ = std::thread([this, interval] {
    std::unique_lock<std::mutex> lock(mutex_);
    do {
      if (is_alive_()) ::sd_notify(0, "WATCHDOG=1");
    } while (!stop_.wait_for(lock, absl::ToChronoNanoseconds(interval), [this] { return stopping_; }));
  });
}

void ServiceManager::Reloading() {
  timespec now = {};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  const int64_t microseconds = now.tv_sec * int64_t{1'000'000} + now.tv_nsec / 1000;
  ::sd_notify(0, absl::StrCat("RELOADING=1\nMONOTONIC_USEC=", microseconds).c_str());
}

void ServiceManager::Stopping() {
  StopWatchdog();
  ::sd_notify(0, "STOPPING=1");
}

void ServiceManager::HandedOver(pid_t pid) {
  StopWatchdog();
  ::sd_notify(0, absl::StrCat("MAINPID=", pid).c_str());
}

void ServiceManager::StopWatchdog() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  stop_.notify_all();
  if (watchdog_.joinable()) watchdog_.join();
}

}  // namespace netprov
