// netprovd, the daemon: flags and file -> Config -> Server; nothing else.
#include <grp.h>
#include <grpc/support/log.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <spdlog/async.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/synchronization/mutex.h"
#include "google/protobuf/stubs/logging.h"
#include "server/access/policy.h"
#include "server/access/policy_file.h"
#include "server/api/host.h"
#include "server/backend.h"
#include "server/base/statistics.h"
#include "server/base/unique_fd.h"
#include "server/config.h"
#include "server/confinement.h"
#include "server/engine/registry.h"
#include "server/metrics/collector.h"
#include "server/metrics/exposer.h"
#include "server/reloader.h"
#include "server/rpc/auditor.h"
#include "server/rpc/call_log.h"
#include "server/rpc/listening_socket.h"
#include "server/rpc/server.h"
#include "server/rpc/tls.h"
#include "server/service_manager.h"
#include "server/take_over.h"

namespace netprov {
namespace {

// A command that serves itself holds the state for one call.
constexpr absl::Duration kWaitForCommands = absl::Seconds(5);

// gRPC aborts where it cannot open what it needs, so that this is said before.
constexpr rlim_t kFewestFiles = 32;

// What else may be open besides these and connections: namespaces that calls look into, sockets of netlink, the
// registry.
constexpr rlim_t kFilesOfCalls = 64;

// Of whoever reads metrics.
constexpr rlim_t kFilesOfMetrics = metrics::Exposer::kMostConnections + 4;

// Raises the limit on open files as far as that goes, and lowers the limits on connections to what fits below it.
absl::Status FitLimits(Config& config, spdlog::logger& log) {
  rlimit files = {};
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0) return absl::OkStatus();
  files.rlim_cur = files.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &files);
  ::getrlimit(RLIMIT_NOFILE, &files);
  // A namespace that is ready has two.
  const rlim_t fewest = kFewestFiles + 2 * config.prepared_namespaces;
  if (files.rlim_cur < fewest) {
    return absl::ResourceExhaustedError(absl::StrCat("the limit on open files (RLIMIT_NOFILE) is ", files.rlim_cur,
                                                     ", and at least ", fewest, " are needed"));
  }
  const rlim_t others = fewest + kFilesOfCalls + kFilesOfMetrics;
  const rlim_t room = files.rlim_cur > others ? files.rlim_cur - others : 0;
  rpc::ConnectionLimits& limits = config.connections;
  const size_t wanted = limits.unix_total + limits.tcp_total;
  if (wanted <= room) return absl::OkStatus();
  // Each its share, and one at least.
  limits.unix_total = std::max<size_t>(1, limits.unix_total * room / wanted);
  limits.tcp_total = std::max<size_t>(1, limits.tcp_total * room / wanted);
  log.warn(absl::StrCat("event=connections_limited max_unix_connections=", limits.unix_total,
                        " max_tcp_connections=", limits.tcp_total, " open_files=", files.rlim_cur));
  return absl::OkStatus();
}

// The group of the socket, by its name or number.
absl::StatusOr<std::optional<gid_t>> GroupOf(const std::string& text) {
  if (text.empty()) return std::nullopt;
  gid_t number = 0;
  if (absl::SimpleAtoi(text, &number)) return number;
  const group* found = ::getgrnam(text.c_str());
  if (found == nullptr) return absl::NotFoundError(absl::StrCat("--socket-group: this host has no group ", text));
  return found->gr_gid;
}

// TLS handshakes that OpenSSL refused.
Counter failed_handshakes;

// Where the daemon is reached, for whoever finds the state in use.
std::string EndpointOf(const Config& config, const std::vector<rpc::ListeningSocket>& inherited) {
  if (!config.socket_path.empty()) return "unix:" + config.socket_path;
  return config.listen.empty() ? inherited.front().Name() : config.listen.front();
}

// Listens on the configured addresses whose ports need CAP_NET_BIND_SERVICE, but for what one of `given` is bound to,
// and adds the sockets there. What a predecessor serves of them is left to it. Returns the addresses.
absl::StatusOr<std::vector<std::string>> ListenOnReservedPorts(const Config& config,
                                                               std::vector<rpc::ListeningSocket>& given) {
  std::vector<std::string> addresses;
  std::vector<rpc::ListeningSocket> sockets;
  for (const std::string& address : config.listen) {
    int port = 0;
    const bool is_reserved =
        absl::SimpleAtoi(address.substr(address.rfind(':') + 1), &port) && port > 0 && port < IPPORT_RESERVED;
    if (!is_reserved) continue;
    absl::StatusOr<std::vector<rpc::ListeningSocket>> listening = rpc::ListenTcp(address, given);
    if (!listening.ok() && config.take_over) continue;
    if (!listening.ok()) return listening.status();
    addresses.push_back(address);
    std::move(listening->begin(), listening->end(), std::back_inserter(sockets));
  }
  std::move(sockets.begin(), sockets.end(), std::back_inserter(given));
  return addresses;
}

// Filters the system calls. Returns what the log is to say of what is in force. `capabilities` is what DropPrivileges()
// left.
absl::StatusOr<std::string> FinishConfinement(const Config& config, const std::vector<std::string>& capabilities) {
  if (config.no_sandbox) return "event=unconfined reason=--no-sandbox";
  const absl::StatusOr<bool> filtered = FilterSystemCalls();
  if (!filtered.ok()) return filtered.status();
  return absl::StrCat("event=confined caps=", rpc::LogfmtValue(absl::StrJoin(capabilities, ",")),
                      " seccomp=", *filtered ? "on" : "off");
}

// gRPC's own log goes into ours.
void LogOfGrpc(gpr_log_func_args* args) {
  // gRPC 1.51 tells of them in no other way (ssl_transport_security.cc).
  if (absl::StartsWith(args->message, "Handshake failed")) failed_handshakes.Add();
  const auto level = args->severity == GPR_LOG_SEVERITY_ERROR ? spdlog::level::warn : spdlog::level::debug;
  // None is left once the process ends.
  if (auto log = spdlog::default_logger(); log != nullptr && log->should_log(level)) {
    log->log(level, absl::StrCat("source=grpc message=", rpc::LogfmtValue(args->message)));
  }
}

// What Protobuf complains of is in the requests of callers, who are told.
void LogOfProtobuf(google::protobuf::LogLevel, const char*, int, const std::string& message) {
  if (auto log = spdlog::default_logger(); log != nullptr && log->should_log(spdlog::level::debug)) {
    log->debug(absl::StrCat("source=protobuf message=", rpc::LogfmtValue(message)));
  }
}

// Writes to stderr from a thread of its own, and rather loses old lines than holds up a call.
std::shared_ptr<spdlog::logger> StartLog(const std::string& level) {
  auto log = spdlog::create_async_nb<spdlog::sinks::stderr_sink_mt>("netprovd");
  log->set_pattern("time=%Y-%m-%dT%H:%M:%S.%e%z level=%l %v");
  log->set_level(spdlog::level::from_str(level == "error" ? "err" : level));
  spdlog::set_default_logger(log);
  gpr_set_log_function(LogOfGrpc);
  google::protobuf::SetLogHandler(LogOfProtobuf);
  return log;
}

int Fail(const absl::Status& status) {
  spdlog::shutdown();
  std::fprintf(stderr, "netprovd: %s\n", std::string(status.message()).c_str());
  return 1;
}

// Empty: there is none.
std::string AuditLogOf(const Config& config) {
  if (config.audit_log == "none") return "";
  const std::string path = config.audit_log.empty() ? config.state_dir + "/audit.log" : config.audit_log;
  return std::filesystem::absolute(path).string();
}

// Null: there is no audit log.
absl::StatusOr<std::unique_ptr<rpc::Auditor>> AuditorOf(const Config& config, engine::Registry& registry) {
  const std::string path = AuditLogOf(config);
  if (path.empty()) {
    // Nor has a command that serves itself.
    (void)registry.SetAuditLog("");
    return nullptr;
  }
  return rpc::Auditor::Open(path, config.durability == "power", registry);
}

// What the recovery at start did. An error when it could not even begin.
absl::Status Recover(engine::Engine& engine, rpc::Auditor* auditor, metrics::Collector& collector,
                     spdlog::logger& log) {
  const absl::Time begin = absl::Now();
  auto report = engine.Recover();
  if (!report.ok()) return absl::InternalError(absl::StrCat("cannot recover: ", report.error().message));
  collector.SetRecovery(*report, absl::Now() - begin);
  if (auditor != nullptr) auditor->Recover(*report);
  log.info(absl::StrCat("event=recovered objects=", report->objects, " findings=", report->findings.size(),
                        " unfinished=", report->Count(engine::Finding::Kind::kUnfinished)));
  for (const engine::Finding& finding : report->findings) {
    log.warn(absl::StrCat("event=finding kind=", api::NameOf(finding.kind), " resource=",
                          rpc::LogfmtValue(finding.resource), " detail=", rpc::LogfmtValue(finding.detail)));
  }
  return absl::OkStatus();
}

absl::StatusOr<access::Policy> PolicyOf(const Config& config, std::optional<gid_t> group) {
  return config.policy.empty() ? access::DefaultPolicy(group) : access::ReadPolicy(config.policy);
}

// Serves metrics. Null: they are not served, or can't be and need not: at the default address, as whoever wants another
// one may have started this daemon beside a first one; and where nobody else serves any more. Then the log says so.
absl::StatusOr<std::unique_ptr<metrics::Exposer>> ExposerOf(const Config& config, const metrics::Collector& collector,
                                                            bool has_taken_over, spdlog::logger& log) {
  const std::string address = config.metrics.value_or(kDefaultMetricsAddress);
  if (address.empty()) return nullptr;
  auto exposer = metrics::Exposer::Start(address, collector);
  if (exposer.ok()) {
    for (const std::string& name : (*exposer)->addresses()) log.info(absl::StrCat("event=metrics address=", name));
    return exposer;
  }
  const std::string why(exposer.status().message());
  if (config.metrics.has_value() && !has_taken_over) return absl::UnavailableError(absl::StrCat("--metrics: ", why));
  log.warn(absl::StrCat("event=metrics_unavailable address=", address, " error=", rpc::LogfmtValue(why)));
  return nullptr;
}

// Null: TCP is not served, or without TLS.
absl::StatusOr<std::unique_ptr<rpc::Tls>> TlsOf(const Config& config, const std::shared_ptr<spdlog::logger>& log) {
  if (config.tls.certificate.empty()) return nullptr;
  return rpc::Tls::Open(config.tls, config.state_dir + "/tls", log);
}

// What is read again when it changes, from now on; `tls` and `server` are set by the first time.
std::vector<Reloader::Source> SourcesOf(const Config& config, rpc::Tls* const& tls, rpc::Server* const& server) {
  std::vector<Reloader::Source> sources;
  if (!config.tls.certificate.empty()) {
    const std::vector<std::string> paths = config.tls.paths();
    sources.push_back({.what = "tls",
                       .paths = paths,
                       .load = [&tls] { return tls->Reload(); },
                       .seen = Reloader::SignatureOf(paths)});
  }
  if (!config.policy.empty()) {
    auto load = [path = config.policy, &server] {
      absl::StatusOr<access::Policy> policy = access::ReadPolicy(path);
      if (policy.ok()) server->SetPolicy(*std::move(policy));
      return policy.status();
    };
    sources.push_back({.what = "policy",
                       .paths = {config.policy},
                       .load = std::move(load),
                       .seen = Reloader::SignatureOf({config.policy})});
  }
  return sources;
}

// Whether a file of this process's may be given to the group (chown(2)).
absl::Status CheckIsMember(const Config& config, std::optional<gid_t> group) {
  if (!group.has_value() || *group == ::getegid() || (config.no_sandbox && ::geteuid() == 0)) return absl::OkStatus();
  std::vector<gid_t> groups(std::max(0, ::getgroups(0, nullptr)));
  groups.resize(std::max(0, ::getgroups(static_cast<int>(groups.size()), groups.data())));
  if (absl::c_linear_search(groups, *group)) return absl::OkStatus();
  return absl::PermissionDeniedError(
      absl::StrCat("--socket-group: this process may not give its socket to the group ", *group));
}

// Finds what would keep this daemon from serving, as far as that can be looked at while another one serves.
absl::Status CheckBeforeTakingOver(const Config& config, std::optional<gid_t> group) {
  if (absl::Status kernel = Backend::CheckKernel(); !kernel.ok()) return kernel;
  if (!config.tls.certificate.empty()) {
    if (absl::Status tls = rpc::Tls::Check(config.tls); !tls.ok()) return tls;
  }
  if (absl::Status member = CheckIsMember(config, group); !member.ok()) return member;
  const std::string audit_log = AuditLogOf(config);
  return audit_log.empty() ? absl::OkStatus() : rpc::Auditor::CheckFile(audit_log);
}

// Takes over from the daemon that serves, if there is one: all sockets but `sockets`, which are there already, those
// for the `reserved` addresses among them. They are in the result too.
absl::StatusOr<TakenOver> TakeOverFor(const Config& config, std::optional<gid_t> group,
                                      const std::vector<std::string>& reserved,
                                      std::vector<rpc::ListeningSocket> sockets,
                                      const std::shared_ptr<spdlog::logger>& log) {
  if (absl::Status good = CheckBeforeTakingOver(config, group); !good.ok()) return good;
  using Reach = rpc::ListenAddresses::Reach;
  std::vector<std::string> wanted = config.listen;
  std::erase_if(wanted, [&](const std::string& address) { return absl::c_linear_search(reserved, address); });
  // All threads leave these signals to whoever waits for them.
  sigset_t ends;
  ::sigemptyset(&ends);
  ::sigaddset(&ends, SIGTERM);
  ::sigaddset(&ends, SIGINT);
  const UniqueFd stop(::signalfd(-1, &ends, SFD_CLOEXEC));
  auto taken =
      TakeOver({.state_dir = config.state_dir,
                .addresses = {.socket_path = config.socket_path,
                              .socket_group = group,
                              .tcp = std::move(wanted),
                              .tcp_reach = config.tls.certificate.empty() ? Reach::kThisHost : Reach::kAnywhere},
                .schema = engine::Registry::NewestSchema(),
                .log = log,
                .stop = stop.get()});
  if (!taken.ok()) return taken.status();
  if (!taken->has_value()) return TakenOver{.sockets = std::move(sockets)};
  std::move(sockets.begin(), sockets.end(), std::back_inserter((*taken)->sockets));
  return **std::move(taken);
}

// Null, and why in the log: nobody can take over from this daemon.
std::unique_ptr<SuccessorListener> ListenForSuccessor(const Config& config, const Backend& backend,
                                                      const rpc::Server& server,
                                                      const std::shared_ptr<spdlog::logger>& log) {
  auto listener = SuccessorListener::Start({.state_dir = config.state_dir,
                                            .sockets = &server.sockets(),
                                            .lock = backend.lock().fd(),
                                            .schema = engine::Registry::NewestSchema(),
                                            .on_taken = [main = ::pthread_self()] { ::pthread_kill(main, SIGHUP); },
                                            .log = log});
  if (listener.ok()) return *std::move(listener);
  log->error(
      absl::StrCat("event=take_over_unavailable reason=", rpc::LogfmtValue(std::string(listener.status().message()))));
  return nullptr;
}

// Waits for the signal to end, or for a successor. At each SIGHUP, reads everything again, and goes on in a new audit
// log where the old one has another name now. Returns the signal.
int WaitForEnd(const sigset_t& signals, const SuccessorListener* successors, Reloader& reloader, rpc::Auditor* auditor,
               ServiceManager& manager, const std::string& status, spdlog::logger& log) {
  for (;;) {
    int signal = 0;
    ::sigwait(&signals, &signal);
    if (signal != SIGHUP || (successors != nullptr && successors->is_taken())) return signal;
    manager.Reloading();
    reloader.ReloadAll();
    if (auditor != nullptr) {
      if (absl::Status opened = auditor->Reopen(); opened.ok()) {
        log.info("event=reloaded what=audit_log");
      } else {
        log.error(absl::StrCat("event=reload_failed what=audit_log detail=",
                               rpc::LogfmtValue(std::string(opened.message()))));
      }
    }
    manager.Ready(status);
  }
}

// From now on, the second signal to end ends at once: the state is safe, as what is unfinished is recovered at the next
// start. `first` is the signal that this daemon ends by; SIGHUP, that a successor has taken over, does not count.
void EndAtSecondSignal(const sigset_t& signals, int first) {
  std::thread([signals, left = first == SIGHUP ? 2 : 1]() mutable {
    while (left > 0) {
      int next = SIGHUP;
      ::sigwait(&signals, &next);
      if (next != SIGHUP) --left;
    }
    ::_exit(1);
  }).detach();
}

// Serves until a signal or a successor ends that, and lets the calls finish.
void ServeUntilEnd(const Config& config, const sigset_t& signals, rpc::Server& server, SuccessorListener* successors,
                   Reloader& reloader, rpc::Auditor* auditor, spdlog::logger& log) {
  ServiceManager manager([&server] { return server.GetsOn(); });
  const std::string status = absl::StrCat("Serving ", absl::StrJoin(server.addresses(), ", "));
  manager.Ready(status);
  const int signal = WaitForEnd(signals, successors, reloader, auditor, manager, status, log);
  const std::optional<pid_t> successor = successors == nullptr ? std::nullopt : successors->Stop();
  if (successor.has_value()) {
    manager.HandedOver(*successor);
    log.info(absl::StrCat("event=handed_over pid=", *successor));
  } else {
    manager.Stopping();
    log.info(absl::StrCat("shutting_down signal=", sigabbrev_np(signal)));
  }
  reloader.Stop();
  EndAtSecondSignal(signals, signal);
  if (successor.has_value()) {
    server.HandOver(config.shutdown_grace);
  } else {
    server.Shutdown(config.shutdown_grace);
  }
}

// `sockets` are those that whoever started this process listens on for it.
int Run(Config config, std::vector<rpc::ListeningSocket> sockets, const sigset_t& signals) {
  const std::string endpoint = EndpointOf(config, sockets);
  absl::StatusOr<std::optional<gid_t>> group = GroupOf(config.socket_group);
  if (!group.ok()) return Fail(group.status());
  if (config.take_over && !sockets.empty()) {
    return Fail(absl::FailedPreconditionError("--take-over: whoever started this process gave it its sockets already"));
  }
  absl::StatusOr<std::vector<std::string>> reserved = std::vector<std::string>();
  absl::StatusOr<std::vector<std::string>> capabilities = std::vector<std::string>();
  if (!config.no_sandbox) {
    reserved = ListenOnReservedPorts(config, sockets);
    if (!reserved.ok()) return Fail(reserved.status());
    // Ahead of the first thread, which is the log's: each has capabilities of its own.
    capabilities = DropPrivileges(*group);
    if (!capabilities.ok()) return Fail(capabilities.status());
  }
  const std::shared_ptr<spdlog::logger> log = StartLog(config.log_level);
  if (absl::Status limits = FitLimits(config, *log); !limits.ok()) return Fail(limits);
  // Ahead of the first reading, so that no change is missed. It tells the server of changes, which tells callers of
  // faults: it outlives the server, and its thread does not.
  rpc::Tls* serving_tls = nullptr;
  rpc::Server* serving = nullptr;
  Reloader reloader(SourcesOf(config, serving_tls, serving), log);
  auto policy = PolicyOf(config, *group);
  if (!policy.ok()) return Fail(policy.status());
  absl::StatusOr<TakenOver> taken = TakenOver{.sockets = std::move(sockets)};
  if (config.take_over) taken = TakeOverFor(config, *group, *reserved, std::move(taken->sockets), log);
  if (!taken.ok()) return Fail(taken.status());
  // Outlives all that is not its successor's before it is closed.
  std::unique_ptr<SuccessorListener> successors;
  auto backend = Backend::Open(
      {.state_dir = config.state_dir, .kind = StateLock::Kind::kDaemon, .endpoint = endpoint, .wait = kWaitForCommands},
      {.durability = config.durability == "power" ? engine::Durability::kPower : engine::Durability::kProcess},
      config.prepared_namespaces, std::move(taken->lock));
  if (!backend.ok()) return Fail(backend.status());
  auto auditor = AuditorOf(config, (*backend)->registry());
  if (!auditor.ok()) return Fail(auditor.status());
  auto tls = TlsOf(config, log);
  if (!tls.ok()) return Fail(tls.status());
  serving_tls = tls->get();
  // Once what the start alone needs is done, and ahead of the first byte from a caller.
  const absl::StatusOr<std::string> confined = FinishConfinement(config, *capabilities);
  if (!confined.ok()) return Fail(confined.status());
  auto server =
      rpc::Server::Start((*backend)->engine(), {.socket_path = config.socket_path,
                                                .socket_group = *group,
                                                .listen = config.listen,
                                                .inherited = std::move(taken->sockets),
                                                .tls = tls->get(),
                                                .insecure = config.insecure,
                                                .connections = config.connections,
                                                .policy = *std::move(policy),
                                                .configuration_faults = [&reloader] { return reloader.Faults(); },
                                                .workers = config.workers,
                                                .queue_limit = config.queue_limit,
                                                .log = log,
                                                .caretaker = &(*backend)->caretaker(),
                                                .registry = &(*backend)->registry(),
                                                .auditor = auditor->get()});
  if (!server.ok()) return Fail(server.status());
  metrics::Collector collector({.server = server->get(),
                                .registry = &(*backend)->registry(),
                                .caretaker = &(*backend)->caretaker(),
                                .netlink = &(*backend)->kernel().netlink_statistics(),
                                .pool = &(*backend)->kernel().pool_statistics(),
                                .reloader = &reloader,
                                .tls = tls->get(),
                                .failed_handshakes = &failed_handshakes});
  auto exposer = ExposerOf(config, collector, taken->pid != 0, *log);
  if (!exposer.ok()) return Fail(exposer.status());
  // A start that fails says why and nothing else.
  log->log(config.no_sandbox ? spdlog::level::warn : spdlog::level::info, *confined);
  const absl::Status recovered = Recover((*backend)->engine(), auditor->get(), collector, *log);
  if (!recovered.ok()) return Fail(recovered);
  (*server)->Serve();
  serving = server->get();
  reloader.Start();
  successors = ListenForSuccessor(config, **backend, **server, log);
  for (const std::string& address : (*server)->addresses()) log->info(absl::StrCat("listening address=", address));
  ServeUntilEnd(config, signals, **server, successors.get(), reloader, auditor->get(), *log);
  exposer->reset();
  server->reset();
  auditor->reset();
  backend->reset();
  log->info("shut_down");
  spdlog::shutdown();
  return 0;
}

}  // namespace
}  // namespace netprov

int main(int argc, char** argv) {
  // Debian's Abseil looks for deadlocks at every lock that gRPC takes, also in what ships; that costs every call.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  auto inherited = netprov::rpc::InheritedSockets(::getenv("LISTEN_PID"), ::getenv("LISTEN_FDS"));
  if (!inherited.ok()) return netprov::Fail(inherited.status());
  auto parsed = netprov::ParseConfig(argc, argv, *inherited);
  if (const auto* exit = std::get_if<netprov::ExitRequest>(&parsed)) {
    std::fputs(exit->text.c_str(), exit->code == 0 ? stdout : stderr);
    return exit->code;
  }
  // Before any thread starts, so that all of them leave the signals to Run().
  sigset_t signals;
  ::sigemptyset(&signals);
  ::sigaddset(&signals, SIGTERM);
  ::sigaddset(&signals, SIGINT);
  ::sigaddset(&signals, SIGHUP);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  // Nobody may end the daemon by closing the pipe that it logs to.
  ::signal(SIGPIPE, SIG_IGN);
  return netprov::Run(std::get<netprov::Config>(parsed), *std::move(inherited), signals);
}
