#include "server/metrics/families.h"

#include <chrono>
#include <cstddef>
#include <limits>
#include <utility>

namespace netprov::metrics {
namespace {

double Seconds(std::chrono::nanoseconds duration) { return std::chrono::duration<double>(duration).count(); }

}  // namespace

Families& Families::Begin(std::string name, std::string help, prometheus::MetricType type) {
  prometheus::MetricFamily& family = families_.emplace_back();
  family.name = std::move(name);
  family.help = std::move(help);
  family.type = type;
  return *this;
}

Families& Families::Counter(std::string name, std::string help) {
  return Begin(std::move(name), std::move(help), prometheus::MetricType::Counter);
}

Families& Families::Gauge(std::string name, std::string help) {
  return Begin(std::move(name), std::move(help), prometheus::MetricType::Gauge);
}

Families& Families::Histogram(std::string name, std::string help) {
  return Begin(std::move(name), std::move(help), prometheus::MetricType::Histogram);
}

Families& Families::Sample(Labels labels, double value) {
  prometheus::MetricFamily& family = families_.back();
  prometheus::ClientMetric& sample = family.metric.emplace_back();
  sample.label = std::move(labels);
  (family.type == prometheus::MetricType::Counter ? sample.counter.value : sample.gauge.value) = value;
  return *this;
}

Families& Families::Sample(Labels labels, const netprov::Counter& counter) {
  return Sample(std::move(labels), static_cast<double>(counter.value()));
}

Families& Families::Sample(Labels labels, const netprov::Histogram& histogram) {
  const netprov::Histogram::Snapshot snapshot = histogram.Read();
  prometheus::ClientMetric& sample = families_.back().metric.emplace_back();
  sample.label = std::move(labels);
  uint64_t total = 0;
  for (size_t i = 0; i < snapshot.counts.size(); ++i) {
    total += snapshot.counts[i];
    const bool is_last = i == netprov::Histogram::kBounds.size();
    const double bound = is_last ? std::numeric_limits<double>::infinity() : Seconds(netprov::Histogram::kBounds[i]);
    sample.histogram.bucket.push_back({.cumulative_count = total, .upper_bound = bound});
  }
  sample.histogram.sample_count = total;
  sample.histogram.sample_sum = Seconds(snapshot.sum);
  return *this;
}

}  // namespace netprov::metrics
