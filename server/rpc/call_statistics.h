// What is counted of calls.
#ifndef NETPROV_SERVER_RPC_CALL_STATISTICS_H_
#define NETPROV_SERVER_RPC_CALL_STATISTICS_H_

#include <array>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/base/statistics.h"

namespace netprov::rpc {

// Counts calls by method, code and reason: names of the API, and nothing that a caller chose. Thread-safe, without a
// lock.
class CallStatistics {
 public:
  struct Method {
    std::array<Counter, 17> by_code;  // by absl::StatusCode
    Histogram durations;              // from a call's arrival to its answer
  };

  // Of all methods of these services, by their full names, and of all reasons of netprov.v1.ErrorReason.
  explicit CallStatistics(const std::vector<std::string>& services);
  CallStatistics(const CallStatistics&) = delete;
  CallStatistics& operator=(const CallStatistics&) = delete;

  // A call that is answered. `status` is as made by server/api.
  void Answered(absl::string_view method, const absl::Status& status, absl::Duration duration);

  // By the method's name, as in `CreateVeth`.
  const std::map<std::string, Method, std::less<>>& methods() const { return methods_; }
  // Errors by their reason, as in `NAMESPACE_NOT_FOUND`.
  const std::map<std::string, Counter, std::less<>>& reasons() const { return reasons_; }

 private:
  // What they hold is counted; their keys stay as they were made.
  std::map<std::string, Method, std::less<>> methods_;
  std::map<std::string, Counter, std::less<>> reasons_;
};

}  // namespace netprov::rpc

#endif  // NETPROV_SERVER_RPC_CALL_STATISTICS_H_
