// Who was heard of when, and what expires when nobody is.
#ifndef NETPROV_SERVER_ENGINE_LEASE_BOOK_H_
#define NETPROV_SERVER_ENGINE_LEASE_BOOK_H_

#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "server/base/boot_time.h"
#include "server/engine/objects.h"

namespace netprov::engine {

// The leases of objects, in memory only: a lease that begins anew with the process errs on the side of what is needed.
// Thread-safe; never blocks.
class LeaseBook {
 public:
  using Clock = std::function<absl::Duration()>;

  explicit LeaseBook(Clock clock = BootTime) : clock_(std::move(clock)) {}

  // An object was made, or found at start. Without a ttl it has no lease, and nothing is kept. A sign of its owner.
  void Start(const std::string& uid, const std::string& object, const Metadata& metadata);

  // An object is gone.
  void End(const std::string& uid);

  struct Renewal {
    int leases = 0;                          // how many the owner has
    std::optional<absl::Duration> shortest;  // from now to the end of the first of them
  };
  // A sign of an owner's.
  Renewal Renew(const std::string& owner);

  // From now to the end of the object's lease, not less than zero; nullopt: it has none.
  std::optional<absl::Duration> Remaining(const std::string& uid) const;

  // From now to the first end of any lease, not less than zero; nullopt: there is none.
  std::optional<absl::Duration> UntilNextEnd() const;

  struct Lease {
    std::string uid;
    std::string object;  // its resource name
    std::string owner;
  };
  // Whether the lease has ended, and nobody has claimed it: then it is the caller's to end the object, and no sign of
  // its owner's renews it any more, until End() or Release().
  bool Claim(const std::string& uid);
  // The object could not be ended.
  void Release(const std::string& uid);

  // What has expired, and nobody has claimed, as often as it is asked.
  std::vector<Lease> Expired() const;

 private:
  struct Entry {
    std::string object;
    std::string owner;
    absl::Duration ttl;
    bool claimed = false;
  };
  // When the lease ends. With the lock held.
  absl::Duration EndOf(const Entry& entry) const;

  const Clock clock_;
  mutable std::mutex mutex_;
  std::map<std::string, Entry> entries_;         // by uid
  std::map<std::string, absl::Duration> heard_;  // by owner: the last sign; only of those with a lease
};

}  // namespace netprov::engine

#endif  // NETPROV_SERVER_ENGINE_LEASE_BOOK_H_
