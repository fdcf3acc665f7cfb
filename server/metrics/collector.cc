#include "server/metrics/collector.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "server/api/host.h"
#include "server/metrics/families.h"
#include "server/metrics/process.h"
#include "server/version.h"

namespace netprov::metrics {
namespace {

using engine::Finding;
using engine::State;

constexpr Finding::Kind kFindings[] = {
    Finding::Kind::kRolledBack,  Finding::Kind::kCompleted,  Finding::Kind::kUnfinished, Finding::Kind::kOrphanRemoved,
    Finding::Kind::kOrphan,      Finding::Kind::kForeignTag, Finding::Kind::kStaleFile,  Finding::Kind::kRestored,
    Finding::Kind::kNotRestored, Finding::Kind::kMissing,    Finding::Kind::kDegraded,   Finding::Kind::kUnreadable,
};

double Number(size_t number) { return static_cast<double>(number); }

void AddCalls(Families& families, const rpc::Server::Statistics& server) {
  families.Counter("netprov_calls_total", "Calls that were answered");
  for (const auto& [name, method] : server.calls->methods()) {
    for (size_t code = 0; code < method.by_code.size(); ++code) {
      const uint64_t count = method.by_code[code].value();
      if (count == 0 && code != 0) continue;
      families.Sample({{"method", name}, {"code", absl::StatusCodeToString(static_cast<absl::StatusCode>(code))}},
                      Number(count));
    }
  }
  families.Histogram("netprov_call_duration_seconds", "Time from the arrival of a call to its answer");
  for (const auto& [name, method] : server.calls->methods()) {
    const bool is_used = std::any_of(method.by_code.begin(), method.by_code.end(),
                                     [](const Counter& count) { return count.value() != 0; });
    if (is_used) families.Sample({{"method", name}}, method.durations);
  }
  families.Counter("netprov_call_errors_total", "Calls that were answered with an error, by its reason");
  for (const auto& [name, count] : server.calls->reasons()) families.Sample({{"reason", name}}, count);
  families.Gauge("netprov_calls_active", "Calls that are under way, waiting ones included")
      .Sample({}, Number(server.active_calls));
  families.Counter("netprov_calls_limited_total", "Calls that were refused for the limits of their caller")
      .Sample({{"limit", "rate"}}, server.limits->rate)
      .Sample({{"limit", "concurrent"}}, server.limits->concurrent);
  families.Gauge("netprov_queue_length", "Calls and work of the daemon's own that wait for a thread or for their turn")
      .Sample({{"queue", "changes"}}, Number(server.waiting_changes))
      .Sample({{"queue", "reads"}}, Number(server.waiting_reads));
  families.Histogram("netprov_queue_wait_seconds", "Time for which they waited")
      .Sample({{"queue", "changes"}}, *server.change_waits)
      .Sample({{"queue", "reads"}}, *server.read_waits);
}

void AddConnections(Families& families, const rpc::Server::Statistics& server) {
  families.Gauge("netprov_connections_open", "Connections that are open")
      .Sample({{"transport", "unix"}}, Number(server.open.unix_sockets))
      .Sample({{"transport", "tcp"}}, Number(server.open.tcp));
  static const rpc::Acceptor::Statistics none;
  const rpc::Acceptor::Statistics& accepted = server.accepted == nullptr ? none : *server.accepted;
  families.Counter("netprov_connections_accepted_total", "Connections that were accepted")
      .Sample({{"transport", "unix"}}, accepted.accepted_unix)
      .Sample({{"transport", "tcp"}}, accepted.accepted_tcp);
  families.Counter("netprov_connections_delayed_total", "Connections that had to wait, as too many before were short")
      .Sample({}, accepted.delayed);
  families.Counter("netprov_connections_refused_total", "Connections that were closed, by what there was no room in")
      .Sample({{"reason", "connections"}}, accepted.refused)
      .Sample({{"reason", "connections_of_one"}}, accepted.refused_of_one)
      .Sample({{"reason", "short_connections"}}, accepted.refused_delayed)
      .Sample({{"reason", "descriptors"}}, accepted.without_descriptors);
  static const Counter zero;
  families
      .Counter("netprov_connections_hung_up_total",
               "Connections that were ended, as their peers began too many streams")
      .Sample({}, server.hung_up == nullptr ? zero : *server.hung_up);
}

void AddConfiguration(Families& families, const Collector::Sources& sources) {
  families.Counter("netprov_tls_handshakes_failed_total", "TLS handshakes that failed, by who refused them");
  if (sources.failed_handshakes != nullptr) families.Sample({{"by", "openssl"}}, *sources.failed_handshakes);
  if (sources.tls != nullptr) families.Sample({{"by", "netprovd"}}, sources.tls->refused_clients());
  families.Gauge("netprov_tls_certificate_expiry_timestamp_seconds",
                 "When the server's certificate expires, in seconds since 1970");
  if (sources.tls != nullptr) families.Sample({}, static_cast<double>(sources.tls->expires_at()));
  const std::vector<Reloader::Record> records = sources.reloader->Records();
  families.Counter("netprov_reloads_total", "Attempts to read configuration again");
  for (const Reloader::Record& record : records) {
    families.Sample({{"what", record.what}, {"result", "ok"}}, static_cast<double>(record.loaded));
    families.Sample({{"what", record.what}, {"result", "failed"}}, static_cast<double>(record.failed));
  }
  families.Gauge("netprov_last_load_timestamp_seconds",
                 "When the configuration that is in use was read, in seconds since 1970");
  for (const Reloader::Record& record : records) {
    families.Sample({{"what", record.what}}, absl::ToDoubleSeconds(record.last_loaded - absl::UnixEpoch()));
  }
}

void AddKernel(Families& families, const netlink::Statistics& netlink, const engine::NetnsPool::Statistics& pool) {
  families.Histogram("netprov_netlink_round_trip_seconds", "Time from a request to the kernel to its last answer")
      .Sample({{"kind", "change"}}, netlink.changes)
      .Sample({{"kind", "get"}}, netlink.gets)
      .Sample({{"kind", "dump"}}, netlink.dumps)
      .Sample({{"kind", "nft_transaction"}}, netlink.transactions);
  families.Counter("netprov_netlink_requests_total", "Messages in these requests").Sample({}, netlink.requests);
  families.Counter("netprov_netlink_dumps_interrupted_total", "Dumps that a change interrupted and that were repeated")
      .Sample({}, netlink.interrupted_dumps);
  families.Counter("netprov_netlink_answers_lost_total", "Round trips whose answer was lost")
      .Sample({{"reason", "late"}}, netlink.late)
      .Sample({{"reason", "overrun"}}, netlink.overrun)
      .Sample({{"reason", "truncated"}}, netlink.truncated)
      .Sample({{"reason", "malformed"}}, netlink.malformed)
      .Sample({{"reason", "other"}}, netlink.other_losses);
  families
      .Counter("netprov_netlink_news_lost_total", "Times that news of the kernel was lost and everything was looked at")
      .Sample({}, netlink.lost_news);
  families.Gauge("netprov_prepared_namespaces", "Namespaces that were made ahead and are ready")
      .Sample({}, Number(pool.ready));
  families.Counter("netprov_new_namespaces_total", "Namespaces that were given to calls, by when they were made")
      .Sample({{"made", "ahead"}}, pool.prepared)
      .Sample({{"made", "on_demand"}}, pool.made);
}

void AddObjects(Families& families, const engine::Registry& registry, const engine::Caretaker& caretaker) {
  const auto unwell = caretaker.CountUnwell();
  const engine::Registry::Objects objects = registry.CountObjects();
  families.Gauge("netprov_objects", "Objects, as they were when they were last looked at");
  const std::pair<std::string, size_t> kinds[] = {{"namespaces", objects.namespaces},
                                                  {"veths", objects.veths},
                                                  {"bridges", objects.bridges},
                                                  {"devices", objects.devices}};
  for (const auto& [kind, total] : kinds) {
    auto count = [&, name = kind](State state) {
      const auto found = unwell.find({name, state});
      return found == unwell.end() ? 0 : found->second;
    };
    const size_t degraded = count(State::kDegraded);
    const size_t missing = count(State::kMissing) + count(State::kStale);
    // One that was deleted between the two counts must not make less than none of the others.
    const size_t ready = total - std::min(total, degraded + missing);
    families.Sample({{"kind", kind}, {"condition", "ready"}}, Number(ready))
        .Sample({{"kind", kind}, {"condition", "degraded"}}, Number(degraded))
        .Sample({{"kind", kind}, {"condition", "missing"}}, Number(missing));
  }
  const engine::Caretaker::Statistics& care = caretaker.statistics();
  families.Counter("netprov_drifts_total", "Times that an object was seen to have been changed by somebody else")
      .Sample({}, care.drifts);
  families.Counter("netprov_heals_total", "Attempts to put an object right")
      .Sample({{"result", "ok"}}, care.heals)
      .Sample({{"result", "failed"}}, care.failed_heals);
  families.Counter("netprov_lease_expiries_total", "Attempts to delete an object whose lease had ended")
      .Sample({{"result", "ok"}}, care.expiries)
      .Sample({{"result", "failed"}}, care.failed_expiries);
  families.Counter("netprov_looks_failed_total", "Looks at an object that failed").Sample({}, care.failed_looks);
}

void AddRegistry(Families& families, const engine::Registry& registry) {
  families.Gauge("netprov_registry_writable", "Whether the last write of the registry succeeded")
      .Sample({}, registry.Fault().has_value() ? 0 : 1);
  families.Counter("netprov_registry_faults_total", "Times that the registry ceased to be writable")
      .Sample({}, registry.statistics().faults);
  families.Histogram("netprov_registry_transaction_seconds", "Time that a transaction of the registry took")
      .Sample({}, registry.statistics().transactions);
}

}  // namespace

void Collector::SetRecovery(const engine::HostReport& report, absl::Duration duration) {
  Recovery recovery{.objects = report.objects, .findings = {}, .duration = duration};
  for (const Finding& finding : report.findings) ++recovery.findings[finding.kind];
  std::lock_guard<std::mutex> lock(mutex_);
  recovery_ = std::move(recovery);
}

void Collector::AddRecovery(Families& families) const {
  std::optional<Recovery> recovery;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    recovery = recovery_;
  }
  families.Gauge("netprov_recovery_duration_seconds", "Time that the recovery at start took");
  if (recovery.has_value()) families.Sample({}, absl::ToDoubleSeconds(recovery->duration));
  families.Gauge("netprov_recovery_objects", "Objects that it compared with the kernel");
  if (recovery.has_value()) families.Sample({}, recovery->objects);
  families.Gauge("netprov_recovery_findings", "What it found that was not as it should be");
  for (const Finding::Kind kind : kFindings) {
    if (!recovery.has_value()) break;
    families.Sample({{"kind", absl::AsciiStrToLower(api::NameOf(kind))}}, recovery->findings[kind]);
  }
}

std::vector<prometheus::MetricFamily> Collector::Collect() const {
  Families families;
  families.Gauge("netprov_build_info", "Always 1; the labels say what runs").Sample({{"version", kVersion}}, 1);
  const rpc::Server::Statistics server = sources_.server->GetStatistics();
  AddCalls(families, server);
  AddConnections(families, server);
  AddConfiguration(families, sources_);
  AddObjects(families, *sources_.registry, *sources_.caretaker);
  AddRecovery(families);
  AddRegistry(families, *sources_.registry);
  AddKernel(families, *sources_.netlink, *sources_.pool);
  AddProcess(families);
  return families.Take();
}

}  // namespace netprov::metrics
