// What stands before every call: whether its caller may make it, and how much.
#ifndef NETPROV_SERVER_RPC_GATE_H_
#define NETPROV_SERVER_RPC_GATE_H_

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/message.h"
#include "server/access/identity.h"
#include "server/access/limiter.h"
#include "server/access/policy.h"
#include "server/engine/engine.h"
#include "server/rpc/page_seal.h"

namespace netprov::rpc {

// Decides by the policy. A call that was let in keeps the policy that it came under.
//
// Threading: thread-safe, and nothing blocks beyond a short lock.
class Gate {
 public:
  // `engine` must outlive it.
  Gate(const engine::Engine& engine, access::Policy policy);
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;

  // From now on `policy` counts.
  void SetPolicy(access::Policy policy);
  std::shared_ptr<const access::Policy> policy() const;

  // What became of a call at the gate.
  struct Entry {
    // ACCESS_DENIED: the call must not be made.
    absl::Status status;
    // What could not be decided before its turn, as it is up to what the call finds: must be asked with the call's keys
    // held, before anything is changed. ACCESS_DENIED. Null: nothing is left to decide.
    std::function<absl::Status()> later;
    // Takes out of the answer what the caller may not see. Null: it may see all of it.
    std::function<void(google::protobuf::Message& response)> filter;
    // How much there may be once the call is done.
    engine::Allowance allowance;
  };
  // Opens the page token in the request, if the caller may not see what is in those (PageSeal): INVALID_FIELD for one
  // that is not the caller's.
  Entry Check(const std::shared_ptr<const access::Identity>& caller, absl::string_view method,
              google::protobuf::Message& request) const;

  // Whether the caller may delete an object that is there, of which nobody asks by its name: garbage.
  bool MayDelete(const access::Identity& caller, const std::string& resource) const;

  // What the caller has made and still has.
  engine::Usage UsageOf(const access::Identity& caller) const { return engine_.UsedBy(caller.Name()); }

  // Whether a call with the owner's name in its metadata is a sign of the owner's life.
  bool MayRenew(const access::Identity& caller, const std::string& owner) const;

  // Counts a call that begins, which Leave() must follow then. CALL_LIMIT_EXCEEDED.
  absl::Status Enter(const access::Identity& caller);
  void Leave(const access::Identity& caller);

  const access::Limiter& limiter() const { return limiter_; }

 private:
  const engine::Engine& engine_;
  const PageSeal seal_;
  access::Limiter limiter_;
  mutable std::mutex mutex_;
  std::shared_ptr<const access::Policy> policy_;
};

}  // namespace netprov::rpc

#endif  // NETPROV_SERVER_RPC_GATE_H_
