#include "server/embedded/embedded_server.h"

#include <spdlog/logger.h>
#include <spdlog/sinks/null_sink.h>

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/backend.h"
#include "server/rpc/auditor.h"
#include "server/rpc/server.h"

namespace netprov {
namespace {

// Its user waits for one answer at a time.
constexpr int kWorkers = 2;
constexpr int kReaders = 1;

constexpr absl::Duration kGrace = absl::Seconds(10);

}  // namespace

struct EmbeddedServer::Parts {
  std::unique_ptr<Backend> backend;
  std::unique_ptr<rpc::Auditor> auditor;
  std::unique_ptr<rpc::Server> server;  // over the backend, so it ends first
};

EmbeddedServer::EmbeddedServer(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

EmbeddedServer::~EmbeddedServer() { parts_->server->Shutdown(kGrace); }

absl::StatusOr<std::unique_ptr<EmbeddedServer>> EmbeddedServer::Start(const Options& options) {
  auto parts = std::make_unique<Parts>();
  auto backend = Backend::Open(
      {.state_dir = options.state_dir, .kind = StateLock::Kind::kCommand, .endpoint = "", .wait = options.wait});
  if (!backend.ok()) return backend.status();
  parts->backend = *std::move(backend);
  engine::Engine& engine = parts->backend->engine();
  // A person reads the process's stderr: errors reach them as answers.
  auto quiet = std::make_shared<spdlog::logger>("embedded", std::make_shared<spdlog::sinks::null_sink_mt>());
  quiet->set_level(spdlog::level::off);
  // Where the host's daemon has an audit log, what is changed without it is in there too.
  if (const std::string path = parts->backend->registry().AuditLog(); !path.empty()) {
    auto auditor = rpc::Auditor::Open(path, /*durable=*/false, parts->backend->registry());
    if (!auditor.ok()) return auditor.status();
    parts->auditor = *std::move(auditor);
  }
  auto server = rpc::Server::Start(
      engine,
      {.socket_path = "", .workers = kWorkers, .readers = kReaders, .log = quiet, .auditor = parts->auditor.get()});
  if (!server.ok()) return server.status();
  parts->server = *std::move(server);
  auto report = engine.Recover();
  if (!report.ok()) return absl::InternalError(absl::StrCat("cannot recover: ", report.error().message));
  if (parts->auditor != nullptr) parts->auditor->Recover(*report);
  parts->server->Serve();
  return std::unique_ptr<EmbeddedServer>(new EmbeddedServer(std::move(parts)));
}

std::shared_ptr<grpc::Channel> EmbeddedServer::channel() { return parts_->server->InProcessChannel(); }

}  // namespace netprov
