// Families of samples, one after the other.
#ifndef NETPROV_SERVER_METRICS_FAMILIES_H_
#define NETPROV_SERVER_METRICS_FAMILIES_H_

#include <prometheus/metric_family.h>

#include <string>
#include <utility>
#include <vector>

#include "server/base/statistics.h"

namespace netprov::metrics {

// Builds a list of families: a sample belongs to the family that was begun last.
class Families {
 public:
  using Labels = std::vector<prometheus::ClientMetric::Label>;

  // Begin a family. `help` is a sentence without a full stop. A histogram is of durations, in seconds.
  Families& Counter(std::string name, std::string help);
  Families& Gauge(std::string name, std::string help);
  Families& Histogram(std::string name, std::string help);

  // Of a counter or a gauge.
  Families& Sample(Labels labels, double value);
  Families& Sample(Labels labels, const netprov::Counter& counter);
  // Of a histogram.
  Families& Sample(Labels labels, const netprov::Histogram& histogram);

  std::vector<prometheus::MetricFamily> Take() { return std::move(families_); }

 private:
  Families& Begin(std::string name, std::string help, prometheus::MetricType type);

  std::vector<prometheus::MetricFamily> families_;
};

}  // namespace netprov::metrics

#endif  // NETPROV_SERVER_METRICS_FAMILIES_H_
