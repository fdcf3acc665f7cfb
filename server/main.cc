// netprovd, the daemon: flags and file -> Config -> Server; nothing else.
#include <grpc/support/log.h>
#include <pthread.h>
#include <signal.h>
#include <spdlog/async.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <variant>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "google/protobuf/stubs/logging.h"
#include "server/api/host.h"
#include "server/backend.h"
#include "server/config.h"
#include "server/rpc/call_log.h"
#include "server/rpc/server.h"

namespace netprov {
namespace {

// A command that serves itself holds the state for one call.
constexpr absl::Duration kWaitForCommands = absl::Seconds(5);

// gRPC aborts where it cannot open what it needs, so that this is said before.
constexpr rlim_t kFewestFiles = 32;

absl::Status CheckLimits(const Config& config) {
  // A namespace that is ready has two.
  const rlim_t fewest = kFewestFiles + 2 * config.prepared_namespaces;
  rlimit files = {};
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur >= fewest) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat("the limit on open files (RLIMIT_NOFILE) is ", files.rlim_cur,
                                                   ", and at least ", fewest, " are needed"));
}

// gRPC's own log goes into ours.
void LogOfGrpc(gpr_log_func_args* args) {
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

// What the recovery at start did. An error when it could not even begin.
absl::Status Recover(engine::Engine& engine, spdlog::logger& log) {
  auto report = engine.Recover();
  if (!report.ok()) return absl::InternalError(absl::StrCat("cannot recover: ", report.error().message));
  log.info(absl::StrCat("event=recovered objects=", report->objects, " findings=", report->findings.size(),
                        " unfinished=", report->Count(engine::Finding::Kind::kUnfinished)));
  for (const engine::Finding& finding : report->findings) {
    log.warn(absl::StrCat("event=finding kind=", api::NameOf(finding.kind), " resource=",
                          rpc::LogfmtValue(finding.resource), " detail=", rpc::LogfmtValue(finding.detail)));
  }
  return absl::OkStatus();
}

int Run(const Config& config, const sigset_t& signals) {
  const std::shared_ptr<spdlog::logger> log = StartLog(config.log_level);
  if (absl::Status limits = CheckLimits(config); !limits.ok()) return Fail(limits);
  const std::string endpoint = config.socket_path.empty() ? config.listen.front() : "unix:" + config.socket_path;
  auto backend = Backend::Open(
      {.state_dir = config.state_dir, .kind = StateLock::Kind::kDaemon, .endpoint = endpoint, .wait = kWaitForCommands},
      {.durability = config.durability == "power" ? engine::Durability::kPower : engine::Durability::kProcess},
      config.prepared_namespaces);
  if (!backend.ok()) return Fail(backend.status());
  auto server = rpc::Server::Start((*backend)->engine(), {.socket_path = config.socket_path,
                                                          .listen = config.listen,
                                                          .insecure = config.insecure,
                                                          .workers = config.workers,
                                                          .queue_limit = config.queue_limit,
                                                          .log = log,
                                                          .caretaker = &(*backend)->caretaker(),
                                                          .registry = &(*backend)->registry()});
  if (!server.ok()) return Fail(server.status());
  if (absl::Status recovered = Recover((*backend)->engine(), *log); !recovered.ok()) return Fail(recovered);
  (*server)->Serve();
  for (const std::string& address : (*server)->addresses()) log->info(absl::StrCat("listening address=", address));

  int signal = 0;
  ::sigwait(&signals, &signal);
  log->info(absl::StrCat("shutting_down signal=", sigabbrev_np(signal)));
  // The second one ends at once. The state is safe: what is unfinished is recovered at the next start.
  std::thread([signals] {
    int second = 0;
    ::sigwait(&signals, &second);
    ::_exit(1);
  }).detach();
  (*server)->Shutdown(config.shutdown_grace);
  server->reset();
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
  auto parsed = netprov::ParseConfig(argc, argv);
  if (const auto* exit = std::get_if<netprov::ExitRequest>(&parsed)) {
    std::fputs(exit->text.c_str(), exit->code == 0 ? stdout : stderr);
    return exit->code;
  }
  // Before any thread starts, so that all of them leave the signals to Run().
  sigset_t signals;
  ::sigemptyset(&signals);
  ::sigaddset(&signals, SIGTERM);
  ::sigaddset(&signals, SIGINT);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  // A terminal that closes is no reason to end.
  ::signal(SIGHUP, SIG_IGN);
  // Nobody may end the daemon by closing the pipe that it logs to.
  ::signal(SIGPIPE, SIG_IGN);
  return netprov::Run(std::get<netprov::Config>(parsed), signals);
}
