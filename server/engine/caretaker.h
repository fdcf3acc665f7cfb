// What netprov does without being called: it notices drift, heals, and ends leases.
#ifndef NETPROV_SERVER_ENGINE_CARETAKER_H_
#define NETPROV_SERVER_ENGINE_CARETAKER_H_

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "server/base/statistics.h"
#include "server/engine/engine.h"
#include "server/engine/kernel.h"
#include "server/engine/lease_book.h"
#include "server/engine/registry.h"

namespace netprov::engine {

// Something to tell the operator, for the log.
struct Notice {
  enum class Level { kInfo, kWarning, kError };

  Level level = Level::kInfo;
  std::string event;     // one word: `drift`, `healed`, `heal_failed`, `lease_expired`, `watch_failed`, ...
  std::string resource;  // empty: it is about the server
  std::string detail;
};

// Work that is due. Runs like a call: after those before it that share a key, on a thread that may block.
struct Chore {
  std::vector<std::string> keys;
  std::function<std::vector<Notice>()> run;
  // What may be done, and to what, for the audit log: `Expire`, or `Heal` where a look shows that it is to be healed.
  const char* act = "";
  std::string object;
};

// Watches the kernel and the leases, and says what is to be done. Objects are looked at when the kernel hints at them,
// and all of them when hints were lost and each kResyncPeriod, as there are changes of which no hint comes. An object
// that could not be healed is tried again then. One that somebody changes again and again is healed less and less
// often, down to once in kLongestPause.
//
// Threading: Wait() is for one thread at a time; a chore may run on any, or be dropped, but not after the Caretaker is
// gone. The engine must have recovered before the first Wait().
class Caretaker {
 public:
  static constexpr absl::Duration kResyncPeriod = absl::Minutes(1);
  static constexpr absl::Duration kLongestPause = absl::Minutes(1);
  // So that calls find room beside them.
  static constexpr size_t kMostChores = 32;

  Caretaker(Engine& engine, Kernel& kernel, Registry& registry, LeaseBook::Clock clock = BootTime)
      : engine_(engine), kernel_(kernel), registry_(registry), clock_(std::move(clock)) {}

  struct Due {
    std::vector<Chore> chores;
    std::vector<Notice> notices;
  };
  // Waits until something is due, Wake() is called or the time is over. One object is in one chore at a time.
  Due Wait(std::chrono::milliseconds timeout);

  // Ends a Wait(). Thread-safe.
  void Wake();

  struct Statistics {
    Counter drifts;           // times that an object was seen to be another way than before, not counting back to well
    Counter heals;            // that were done
    Counter failed_heals;     // attempts
    Counter expiries;         // objects that were deleted at the end of their lease
    Counter failed_expiries;  // attempts
    Counter failed_looks;
  };
  const Statistics& statistics() const { return statistics_; }

  // The objects that were not well when they were last looked at, without those that were deleted since: how many of
  // each collection, as in `veths`, and state. From memory. Thread-safe.
  std::map<std::pair<std::string, State>, size_t> CountUnwell() const;

 private:
  // Opens the watch, if it is not open; tracks the namespaces that are new to it.
  void Watch(std::vector<Notice>& notices);
  void Mark(const Hint& hint);
  void MarkEverything();
  void MarkObject(const std::string& name, const std::string& uid);
  // What stands on an object, and may be healed at once now.
  void MarkDependents(const ObjectRef& object);
  // Whether the device is to stand on a link of the object, or on one in it.
  bool StandsOn(const DeviceRecord& device, const ObjectRef& object) const;

  // While the result lives, the object counts as busy. Where it is false to the end, nobody looked, and the object is
  // to be looked at again.
  std::shared_ptr<bool> Busy(const ObjectRef& object);
  // Moves what may be looked at now from marked_ to busy_; with mutex_ held.
  std::vector<ObjectRef> TakeMarked(absl::Duration now);
  // How long nothing more may be looked at, as far as is known; with mutex_ held.
  std::optional<absl::Duration> UntilNextLook(absl::Duration now) const;
  Chore Look(const ObjectRef& object);
  Chore Expire(const LeaseBook::Lease& lease);
  std::vector<Notice> LookNow(const ObjectRef& object);
  // As last seen.
  struct Seen {
    std::string name;
    Engine::Condition condition;
  };

  // With the lock held: somebody who is healed often, or in vain, has to wait.
  void PauseAfterHeal(const std::string& uid);

  Engine& engine_;
  Kernel& kernel_;
  Registry& registry_;
  const LeaseBook::Clock clock_;

  // Of the thread that waits.
  std::set<std::string> tracked_;  // namespaces, each by its uid or place, and its cookie
  std::optional<absl::Duration> last_resync_;
  bool watch_failed_ = false;

  Statistics statistics_;
  mutable std::mutex mutex_;
  std::condition_variable woken_;  // where there is no watch
  std::shared_ptr<KernelWatch> watch_;
  std::map<std::string, std::string> marked_;         // uid -> name: to be looked at
  std::set<std::string> busy_;                        // uids with a chore
  std::map<std::string, absl::Duration> not_before_;  // by uid: when to end or to heal it again
  std::map<std::string, int> heals_;                  // by uid: since it was last well at a resync
  std::map<std::string, Seen> conditions_;            // by uid: only where it is not well
};

}  // namespace netprov::engine

#endif  // NETPROV_SERVER_ENGINE_CARETAKER_H_
