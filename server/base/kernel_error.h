// The kernel's refusal of one operation, in its own words.
#ifndef NETPROV_SERVER_BASE_KERNEL_ERROR_H_
#define NETPROV_SERVER_BASE_KERNEL_ERROR_H_

#include <string>

#include "server/base/result.h"

namespace netprov {

// What a system call or a netlink request failed with. Which gRPC code that is depends on who asked for what, so only
// server/api translates it.
struct KernelError {
  // errno, positive (errno(3)).
  int code = 0;

  // What was tried, for a person: a system call with its path, or a netlink message with its object, as in
  // `mount(/run/netns/blue)` or `RTM_NEWLINK veth0`.
  std::string operation;

  // The kernel's explanation of a netlink refusal (NLMSGERR_ATTR_MSG), mostly empty.
  std::string extack;

  // Whether it may have taken effect all the same: the answer was lost, or what was done could not be taken back. Who
  // must know has to look.
  bool may_have_effect = false;

  // `RTM_NEWLINK veth0: Numerical result out of range (ERANGE): IFNAME too long`, without what is empty.
  std::string ToString() const;

  friend bool operator==(const KernelError&, const KernelError&) = default;
};

template <typename T>
using KernelResult = Result<T, KernelError>;

// The error of the system call that just failed: reads errno.
KernelError ErrnoError(std::string operation);

}  // namespace netprov

#endif  // NETPROV_SERVER_BASE_KERNEL_ERROR_H_
