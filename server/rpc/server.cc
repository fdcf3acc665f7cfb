#include "server/rpc/server.h"

#include <grpcpp/channel.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/base/unique_fd.h"
#include "server/rpc/bridge_service.h"
#include "server/rpc/call_runner.h"
#include "server/rpc/device_service.h"
#include "server/rpc/host_service.h"
#include "server/rpc/housekeeper.h"
#include "server/rpc/inspection_service.h"
#include "server/rpc/lease_service.h"
#include "server/rpc/namespace_service.h"
#include "server/rpc/veth_service.h"

namespace netprov::rpc {
namespace {

constexpr const char* kServices[] = {
    "netprov.v1.BridgeService", "netprov.v1.DeviceService",    "netprov.v1.HostService", "netprov.v1.InspectionService",
    "netprov.v1.LeaseService",  "netprov.v1.NamespaceService", "netprov.v1.VethService"};

// Of one connection. What is beyond waits in the client.
constexpr int kMaxConcurrentCalls = 1024;

// Reflection is served by gRPC's synchronous threads. It needs few, and an idle stream holds one.
constexpr int kReflectionThreads = 2;

// Streams of health and reflection would last forever; our own calls are over by then.
constexpr absl::Duration kStreamGrace = absl::Milliseconds(100);

// The reason of the last failed system call, for a person.
std::string Errno() { return strerrordesc_np(errno); }

// Files made while it lives are not for others, and not executable: a socket's mode becomes 0660. The umask is the
// process's, so this must not last.
class SocketUmask {
 public:
  SocketUmask() : before_(::umask(0117)) {}
  ~SocketUmask() { ::umask(before_); }
  SocketUmask(const SocketUmask&) = delete;
  SocketUmask& operator=(const SocketUmask&) = delete;

 private:
  const mode_t before_;
};

absl::Status MakeDirectoryOf(const std::string& socket_path) {
  const std::filesystem::path directory = std::filesystem::path(socket_path).parent_path();
  if (directory.empty()) return absl::OkStatus();
  std::error_code error;
  if (!std::filesystem::create_directories(directory, error)) {
    if (!error) return absl::OkStatus();  // It is there.
    return absl::UnavailableError(
        absl::StrCat("cannot make the directory ", directory.string(), " of the socket: ", error.message()));
  }
  if (::chmod(directory.c_str(), 0755) != 0) {
    return absl::UnavailableError(absl::StrCat("cannot set the mode of ", directory.string(), ": ", Errno()));
  }
  return absl::OkStatus();
}

// Makes room for a socket: gRPC would silently take the path from a server that still listens on it.
absl::Status ClearSocketPath(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(absl::StrCat("the path of the socket is longer than ",
                                                   sizeof(address.sun_path) - 1, " bytes (unix(7)): ", path));
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  struct stat file = {};
  if (::lstat(path.c_str(), &file) != 0) {
    if (errno == ENOENT) return absl::OkStatus();
    return absl::UnavailableError(absl::StrCat("cannot look at the socket ", path, ": ", Errno()));
  }
  if (!S_ISSOCK(file.st_mode)) {
    return absl::UnavailableError(absl::StrCat("cannot listen on ", path, ": there is a file that is no socket"));
  }
  const UniqueFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!probe.valid()) return absl::UnavailableError(absl::StrCat("cannot open a socket: ", Errno()));
  const bool connected = ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  // EAGAIN: somebody listens, and is busy.
  if (connected || errno == EAGAIN) {
    return absl::UnavailableError(absl::StrCat("cannot listen on ", path, ": another server listens on it"));
  }
  if (errno != ECONNREFUSED) {
    return absl::UnavailableError(absl::StrCat("cannot see whether somebody listens on ", path, ": ", Errno()));
  }
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
    return absl::UnavailableError(absl::StrCat("cannot remove the old socket ", path, ": ", Errno()));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckListenAddress(absl::string_view address) {
  const size_t colon = address.rfind(':');
  const absl::string_view host = address.substr(0, colon == absl::string_view::npos ? 0 : colon);
  int port = 0;
  const bool has_port = colon != absl::string_view::npos && absl::SimpleAtoi(address.substr(colon + 1), &port) &&
                        port >= 0 && port <= 65535;
  const bool is_ipv6 = absl::StartsWith(host, "[") && absl::EndsWith(host, "]");
  if (!has_port || host.empty() || (!is_ipv6 && absl::StrContains(host, ':')) || absl::StrContains(address, '/')) {
    return absl::InvalidArgumentError(
        absl::StrCat("a TCP address to listen on must be HOST:PORT or [IPV6]:PORT with a port of ",
                     "0 to 65535, but is '", address, "'"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Server>> Server::Start(engine::Engine& engine, const ServerOptions& options) {
  for (const std::string& address : options.listen) {
    if (absl::Status valid = CheckListenAddress(address); !valid.ok()) return valid;
  }
  if (!options.listen.empty() && !options.insecure) {
    return absl::FailedPreconditionError(absl::StrCat("listening on TCP (", options.listen.front(),
                                                      ") needs the option insecure: there is no TLS yet, so whoever ",
                                                      "reaches the port controls the network of this host"));
  }
  if (!options.socket_path.empty()) {
    if (absl::Status made = MakeDirectoryOf(options.socket_path); !made.ok()) return made;
    if (absl::Status cleared = ClearSocketPath(options.socket_path); !cleared.ok()) return cleared;
  }
  static std::once_flag plugins;
  std::call_once(plugins, [] {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  });

  std::unique_ptr<Server> server(new Server());
  server->log_ = options.log;
  server->caretaker_ = options.caretaker;
  server->registry_ = options.registry;
  server->runner_ = std::make_unique<CallRunner>(
      CallRunner::Options{.workers = options.workers,
                          .readers = options.readers,
                          .queue_limit = options.queue_limit,
                          .log = options.log,
                          .on_owner = [&engine](const std::string& owner) { engine.RenewLease(owner); }});
  server->services_.push_back(MakeHostService(engine, *server->runner_));
  server->services_.push_back(MakeBridgeService(engine, *server->runner_));
  server->services_.push_back(MakeDeviceService(engine, *server->runner_));
  server->services_.push_back(MakeInspectionService(engine, *server->runner_));
  server->services_.push_back(MakeLeaseService(engine, *server->runner_));
  server->services_.push_back(MakeNamespaceService(engine, *server->runner_));
  server->services_.push_back(MakeVethService(engine, *server->runner_));

  grpc::ServerBuilder builder;
  builder.SetMaxReceiveMessageSize(options.max_request_bytes);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxConcurrentCalls);
  // Else a second server could take half of the connections of the same port.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.SetSyncServerOption(grpc::ServerBuilder::NUM_CQS, 1);
  builder.SetSyncServerOption(grpc::ServerBuilder::MAX_POLLERS, kReflectionThreads);
  for (const std::unique_ptr<grpc::Service>& service : server->services_) builder.RegisterService(service.get());
  int socket_port = 0;
  if (!options.socket_path.empty()) {
    server->socket_path_ = std::filesystem::absolute(options.socket_path).lexically_normal().string();
    builder.AddListeningPort(absl::StrCat("unix:", server->socket_path_), grpc::InsecureServerCredentials(),
                             &socket_port);
  }
  std::vector<int> ports(options.listen.size());
  for (size_t i = 0; i < options.listen.size(); ++i) {
    builder.AddListeningPort(options.listen[i], grpc::InsecureServerCredentials(), &ports[i]);
  }
  {
    const SocketUmask umask;
    server->server_ = builder.BuildAndStart();
  }
  // gRPC says only which one failed; its own log says why.
  if (!options.socket_path.empty() && socket_port == 0) {
    return absl::UnavailableError(
        absl::StrCat("cannot listen on ", options.socket_path, ": the socket cannot be made there"));
  }
  for (size_t i = 0; i < ports.size(); ++i) {
    if (ports[i] == 0) {
      return absl::UnavailableError(
          absl::StrCat("cannot listen on ", options.listen[i], ": the address is in use or not one of this host"));
    }
  }
  if (server->server_ == nullptr) return absl::UnavailableError("the gRPC server cannot start");
  server->SetHealth(false);

  if (!options.socket_path.empty()) server->addresses_.push_back(absl::StrCat("unix:", server->socket_path_));
  for (size_t i = 0; i < ports.size(); ++i) {
    const std::string& address = options.listen[i];
    server->addresses_.push_back(absl::StrCat(address.substr(0, address.rfind(':')), ":", ports[i]));
  }
  return server;
}

Server::~Server() { Shutdown(absl::ZeroDuration()); }

void Server::SetHealth(bool serving) {
  grpc::HealthCheckServiceInterface* health = server_->GetHealthCheckService();
  health->SetServingStatus("", serving);
  for (const char* service : kServices) health->SetServingStatus(service, serving);
}

void Server::Serve() {
  serving_ = true;
  runner_->Resume();
  SetHealth(true);
  if (caretaker_ == nullptr) return;
  housekeeper_ = std::make_unique<Housekeeper>(
      *caretaker_, *registry_, *runner_,
      Housekeeper::Options{.log = log_, .on_writable = [this](bool writable) { SetHealth(writable); }});
}

size_t Server::waiting() const { return runner_->waiting(); }

std::shared_ptr<grpc::Channel> Server::InProcessChannel() { return server_->InProcessChannel({}); }

void Server::Shutdown(absl::Duration grace) {
  if (std::exchange(shut_down_, true)) return;
  if (server_ != nullptr) {
    if (housekeeper_ != nullptr) housekeeper_->Stop();
    SetHealth(false);
    runner_->Refuse();
    if (!serving_ || !runner_->WaitUntilIdle(absl::Now() + grace)) runner_->Abandon();
    // Ends a pause too: what waits behind it is answered.
    runner_->Stop();
    housekeeper_.reset();
    runner_->WaitUntilIdle(absl::Now() + kStreamGrace);
    server_->Shutdown(absl::ToChronoTime(absl::Now() + kStreamGrace));
    server_->Wait();
  }
  // gRPC has removed the socket as it closed it; where it could not, it must not look as if somebody listened.
  if (!socket_path_.empty()) ::unlink(socket_path_.c_str());
}

}  // namespace netprov::rpc
