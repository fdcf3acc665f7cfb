// What the daemon counts, as Prometheus has it.
#ifndef NETPROV_SERVER_METRICS_COLLECTOR_H_
#define NETPROV_SERVER_METRICS_COLLECTOR_H_

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <map>
#include <mutex>
#include <optional>
#include <vector>

#include "absl/time/time.h"
#include "server/base/statistics.h"
#include "server/engine/caretaker.h"
#include "server/engine/host_report.h"
#include "server/engine/linux_netns_pool.h"
#include "server/engine/registry.h"
#include "server/metrics/families.h"
#include "server/netlink/statistics.h"
#include "server/reloader.h"
#include "server/rpc/server.h"
#include "server/rpc/tls.h"

namespace netprov::metrics {

// Reads what the layers have counted. docs/metrics.md lists every family; a test compares the two.
//
// Labels have values that the program knows beforehand: methods, codes, reasons, kinds. Never what a caller chose, and
// never who called. All families are there at every collection, also those that have no samples yet.
//
// A collection keeps no call waiting: it reads memory and /proc/self, never the host's network, and holds no lock but
// for as long as it takes to copy some numbers.
class Collector : public prometheus::Collectable {
 public:
  // What is read; all of it must outlive the collector.
  struct Sources {
    const rpc::Server* server = nullptr;
    const engine::Registry* registry = nullptr;
    const engine::Caretaker* caretaker = nullptr;
    const netlink::Statistics* netlink = nullptr;
    const engine::NetnsPool::Statistics* pool = nullptr;
    const Reloader* reloader = nullptr;
    const rpc::Tls* tls = nullptr;  // null: TCP has no TLS
    // TLS handshakes that failed before a certificate was looked at by netprov.
    const Counter* failed_handshakes = nullptr;
  };

  explicit Collector(const Sources& sources) : sources_(sources) {}

  // What the recovery at start did, and how long it took. Until it is told, there are no samples of it.
  void SetRecovery(const engine::HostReport& report, absl::Duration duration);

  // Thread-safe.
  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  struct Recovery {
    int objects = 0;
    std::map<engine::Finding::Kind, int> findings;
    absl::Duration duration;
  };
  void AddRecovery(Families& families) const;

  const Sources sources_;
  mutable std::mutex mutex_;
  std::optional<Recovery> recovery_;
};

}  // namespace netprov::metrics

#endif  // NETPROV_SERVER_METRICS_COLLECTOR_H_
