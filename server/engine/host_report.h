// What a check of the host found.
#ifndef NETPROV_SERVER_ENGINE_HOST_REPORT_H_
#define NETPROV_SERVER_ENGINE_HOST_REPORT_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"

namespace netprov::engine {

// One thing that was not as it should be. What the kinds mean stands in netprov/v1/host.proto.
struct Finding {
  enum class Kind {
    kRolledBack,
    kCompleted,
    kUnfinished,
    kOrphanRemoved,
    kOrphan,
    kForeignTag,
    kStaleFile,
    kRestored,
    kNotRestored,
    kMissing,
    kDegraded,
    kUnreadable,
  };

  Kind kind;
  std::string resource;  // `namespaces/blue`, `veths/v1`, `links/veth7`
  std::string detail;    // one sentence without a full stop

  friend bool operator==(const Finding&, const Finding&) = default;
};

struct HostReport {
  absl::Time time;
  bool at_start = false;
  int objects = 0;             // managed ones that were compared
  std::string registry_fault;  // why it can't be written; empty: it can
  std::vector<Finding> findings;

  void Add(Finding::Kind kind, std::string resource, std::string detail) {
    findings.push_back({.kind = kind, .resource = std::move(resource), .detail = std::move(detail)});
  }
  int Count(Finding::Kind kind) const {
    int count = 0;
    for (const Finding& finding : findings) count += finding.kind == kind ? 1 : 0;
    return count;
  }
};

}  // namespace netprov::engine

#endif  // NETPROV_SERVER_ENGINE_HOST_REPORT_H_
