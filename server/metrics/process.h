// What the kernel says of this process.
#ifndef NETPROV_SERVER_METRICS_PROCESS_H_
#define NETPROV_SERVER_METRICS_PROCESS_H_

#include "server/metrics/families.h"

namespace netprov::metrics {

// Adds the families that Prometheus' client libraries have in common (process_cpu_seconds_total and its like), from
// proc(5) and getrlimit(2). What can't be read has no sample.
void AddProcess(Families& families);

}  // namespace netprov::metrics

#endif  // NETPROV_SERVER_METRICS_PROCESS_H_
