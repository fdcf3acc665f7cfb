// Network namespaces that are made before they are asked for.
#ifndef NETPROV_SERVER_ENGINE_LINUX_NETNS_POOL_H_
#define NETPROV_SERVER_ENGINE_LINUX_NETNS_POOL_H_

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "server/base/kernel_error.h"
#include "server/base/statistics.h"
#include "server/base/unique_fd.h"
#include "server/netlink/mnl_transport.h"
#include "server/netlink/statistics.h"

namespace netprov::engine {

// While namespaces are asked for in quick succession, a thread makes as many ahead as were taken within the last
// second, if they were two at least, so that the next caller does not wait for it (0.3 ms and more). It begins a little
// after one was taken: whoever took it goes on in it, and the kernel does one thing at a time of what both need. Each
// is new, without a name, and given away once: what one tenant does in it, no other ever sees. It ends with the
// process, if nobody took it.
//
// A namespace starts with settings of the machine's first one as they are when it is made (net.ipv4.conf,
// inet_init_net() in the kernel; net.core.devconf_inherit_init_net), so none is given away that is older than a second,
// or than the last Discard(). Thread-safe.
class NetnsPool {
 public:
  struct Options {
    size_t most = 0;  // that are ready at a time; with 0 none ever is, and there is no thread
    std::chrono::milliseconds keep = std::chrono::seconds(1);  // the second that is spoken of above
    // How long after one was taken none is made ahead. About what an attach takes in the kernel.
    std::chrono::microseconds pause = std::chrono::milliseconds(1);
    // Where to count what is said to the kernel; must outlive the pool. Null: nowhere.
    netlink::Statistics* netlink_statistics = nullptr;
  };

  // What was given away, and what is there to be.
  struct Statistics {
    Counter prepared;  // was ready
    Counter made;      // was made for the one who asked
    std::atomic<size_t> ready = 0;
  };

  struct Made {
    UniqueFd netns;
    std::unique_ptr<netlink::MnlTransport> transport;  // in it
  };

  // `home` is the host's namespace, in which the calling thread is, and must outlive the pool.
  NetnsPool(int home, const Options& options);
  ~NetnsPool();
  NetnsPool(const NetnsPool&) = delete;
  NetnsPool& operator=(const NetnsPool&) = delete;

  // A new namespace, made now where none is ready. Its loopback link may be up already. Errors: those of unshare(2) and
  // of sockets.
  KernelResult<Made> Take();

  // Those that are ready go, and so do those that are being made ahead: something that they inherit has changed.
  void Discard();

  const Statistics& statistics() const { return statistics_; }

 private:
  using Clock = std::chrono::steady_clock;
  struct Ready {
    Made made;
    Clock::time_point since;
  };

  KernelResult<Made> Make() const;
  // The oldest of `ready_`.
  std::optional<Made> TakeReady();
  // Those of `ready_` that are too old. Holds the lock.
  std::deque<Ready> TakeLapsed(Clock::time_point now);
  void Run();

  const int home_;
  const Options options_;
  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::deque<Ready> ready_;              // the oldest first; statistics_ has its size
  std::deque<Clock::time_point> taken_;  // when, as many as matter
  size_t takes_ = 0;
  size_t discards_ = 0;
  size_t gave_up_at_ = 0;  // how many had been taken when one could not be made: until the next is taken, none is
  bool stops_ = false;
  Statistics statistics_;
  std::thread thread_;
};

}  // namespace netprov::engine

#endif  // NETPROV_SERVER_ENGINE_LINUX_NETNS_POOL_H_
