// A clock that never goes back.
#ifndef NETPROV_SERVER_BASE_BOOT_TIME_H_
#define NETPROV_SERVER_BASE_BOOT_TIME_H_

#include <ctime>

#include "absl/time/time.h"

namespace netprov {

// The time since the host was started, suspended or not, without jumps (CLOCK_BOOTTIME, clock_gettime(2)).
inline absl::Duration BootTime() {
  timespec now = {};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return absl::DurationFromTimespec(now);
}

}  // namespace netprov

#endif  // NETPROV_SERVER_BASE_BOOT_TIME_H_
