#include "server/rpc/server.h"

#include <grpcpp/alarm.h>
#include <grpcpp/channel.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <algorithm>
#include <future>
#include <iterator>
#include <memory>
#include <mutex>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/base/boot_time.h"
#include "server/base/unique_fd.h"
#include "server/rpc/access_service.h"
#include "server/rpc/bridge_service.h"
#include "server/rpc/call_runner.h"
#include "server/rpc/device_service.h"
#include "server/rpc/gate.h"
#include "server/rpc/handover.h"
#include "server/rpc/host_service.h"
#include "server/rpc/housekeeper.h"
#include "server/rpc/inspection_service.h"
#include "server/rpc/lease_service.h"
#include "server/rpc/namespace_service.h"
#include "server/rpc/peer.h"
#include "server/rpc/stream_watch.h"
#include "server/rpc/tls.h"
#include "server/rpc/veth_service.h"

namespace netprov::rpc {

// Member function of gRPC's server: sends GOAWAY on all its connections, which go on until their calls have ended. gRPC
// 1.51 exports it and declares it in no public header; its Shutdown() does the same, but from then on ends calls that
// clients made before they heard of it with CANCELLED.
void SendGoaways(grpc_server* server) __asm__("_ZN9grpc_core6Server11SendGoawaysEv");

namespace {

constexpr const char* kServices[] = {"netprov.v1.AccessService",     "netprov.v1.BridgeService",
                                     "netprov.v1.DeviceService",     "netprov.v1.HostService",
                                     "netprov.v1.InspectionService", "netprov.v1.LeaseService",
                                     "netprov.v1.NamespaceService",  "netprov.v1.VethService"};

// Reflection is served by gRPC's synchronous threads. It needs few, but an open stream holds one, and gRPC would make
// another for each: what is beyond is refused.
constexpr int kReflectionThreads = 2;
constexpr int kMostReflectionThreads = 8;

// Streams of health and reflection would last forever; our own calls are over by then.
constexpr absl::Duration kStreamGrace = absl::Milliseconds(100);

// A peer that is gone without a word is noticed, and a call that it waited for given up.
constexpr int kKeepaliveTimeMs = 60'000;
constexpr int kKeepaliveTimeoutMs = 20'000;

int ToMilliseconds(absl::Duration duration) { return static_cast<int>(absl::ToInt64Milliseconds(duration)); }

// Where its sockets are given to another process: how often one looks whether the connections have gone, and tells
// those to go that have come meanwhile.
constexpr absl::Duration kLookInterval = absl::Milliseconds(2);
constexpr absl::Duration kGoAwayInterval = absl::Milliseconds(20);

// For how long no call is under way before a connection that has not gone, as it watches health or its peer is stopped,
// is not waited for any more. More than it takes to tell a client at the other end of the world.
constexpr absl::Duration kQuiet = absl::Milliseconds(500);

ListenAddresses::Reach ReachOf(const ServerOptions& options) {
  if (options.tls != nullptr) return ListenAddresses::Reach::kAnywhere;
  return options.insecure ? ListenAddresses::Reach::kThisHost : ListenAddresses::Reach::kNowhere;
}

// Tells the peers of all connections to make their next calls on another one. Returns when that is on its way.
void TellToGo(grpc::Server& server) {
  auto told = std::make_shared<std::promise<void>>();
  // On a thread of gRPC's, which has what its functions need (grpc_core::ExecCtx).
  static char order;
  std::function<void(bool)> tell = [told, &server](bool) {
    rpc::TakeOver(&order);
    SendGoaways(server.c_server());
    told->set_value();
  };
  grpc::Alarm alarm;
  rpc::HandOver(&order);
  alarm.Set(gpr_now(GPR_CLOCK_MONOTONIC), std::move(tell));
  told->get_future().wait();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::Start(engine::Engine& engine, ServerOptions options) {
  for (const std::string& address : options.listen) {
    if (absl::Status valid = CheckListenAddress(address); !valid.ok()) return valid;
  }
  if (!options.listen.empty() && options.tls == nullptr && !options.insecure) {
    return absl::FailedPreconditionError(absl::StrCat("listening on TCP (", options.listen.front(),
                                                      ") needs TLS, or the ",
                                                      "option insecure and an address that only this host can reach"));
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
  server->auditor_ = options.auditor;
  server->statistics_ =
      std::make_unique<CallStatistics>(std::vector<std::string>(std::begin(kServices), std::end(kServices)));
  server->connections_ = std::make_unique<Connections>(options.connections);
  const bool has_socket = !options.socket_path.empty() || !options.inherited.empty();
  const bool has_tcp = !options.listen.empty() || !options.inherited.empty();
  // Without a socket, whoever calls is in this process.
  std::function<std::shared_ptr<const access::Identity>(const grpc::CallbackServerContext&)> caller =
      [self = std::make_shared<const access::Identity>(
           access::Identity{.kind = access::Identity::Kind::kSelf, .from = "self"})](const auto&) { return self; };
  if (has_socket || has_tcp) {
    caller = [connections = server->connections_.get()](const auto& context) {
      return CallerOf(context, *connections);
    };
  }
  server->gate_ = std::make_unique<Gate>(engine, std::move(options.policy));
  server->runner_ = std::make_unique<CallRunner>(
      CallRunner::Options{.workers = options.workers,
                          .readers = options.readers,
                          .queue_limit = options.queue_limit,
                          .log = options.log,
                          .statistics = server->statistics_.get(),
                          .caller = std::move(caller),
                          .gate = server->gate_.get(),
                          .on_owner = [&engine](const std::string& owner) { engine.RenewLease(owner); },
                          .auditor = options.auditor});
  server->services_.push_back(MakeAccessService(*server->gate_, *server->runner_));
  server->services_.push_back(MakeHostService(engine, *server->runner_, options.configuration_faults));
  server->services_.push_back(MakeBridgeService(engine, *server->runner_));
  server->services_.push_back(MakeDeviceService(engine, *server->runner_));
  server->services_.push_back(MakeInspectionService(engine, *server->runner_));
  server->services_.push_back(MakeLeaseService(engine, *server->gate_, *server->runner_));
  server->services_.push_back(MakeNamespaceService(engine, *server->runner_));
  server->services_.push_back(MakeVethService(engine, *server->runner_));

  grpc::ServerBuilder builder;
  builder.SetMaxReceiveMessageSize(options.transport.request_bytes);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, options.transport.metadata_bytes);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, options.transport.streams);
  // For StreamWatch. It is the default, but of a library that may be another one day.
  builder.AddChannelArgument(GRPC_ARG_ENABLE_CHANNELZ, 1);
  builder.AddChannelArgument("grpc.server_handshake_timeout_ms", ToMilliseconds(options.transport.handshake));
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveTimeMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  if (options.tls != nullptr) {
    builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_MS, ToMilliseconds(options.transport.age));
    builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS, ToMilliseconds(options.transport.age_grace));
  }
  grpc::ResourceQuota quota("netprovd");
  quota.Resize(options.transport.memory_bytes);
  quota.SetMaxThreads(kMostReflectionThreads);
  builder.SetResourceQuota(quota);
  builder.SetSyncServerOption(grpc::ServerBuilder::NUM_CQS, 1);
  builder.SetSyncServerOption(grpc::ServerBuilder::MAX_POLLERS, kReflectionThreads);
  for (const std::unique_ptr<grpc::Service>& service : server->services_) builder.RegisterService(service.get());
  constexpr auto kFromFd = grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD;
  for (size_t place = 0; has_socket && place < options.connections.unix_total; ++place) {
    server->unix_doors_.push_back(
        builder.experimental().AddExternalConnectionAcceptor(kFromFd, PlaceCredentials(place)));
  }
  if (has_tcp) {
    server->tcp_door_ = builder.experimental().AddExternalConnectionAcceptor(
        kFromFd, options.tls != nullptr ? options.tls->Credentials() : grpc::InsecureServerCredentials());
  }
  server->server_ = builder.BuildAndStart();
  if (server->server_ == nullptr) return absl::UnavailableError("the gRPC server cannot start");
  server->SetHealth(false);

  absl::StatusOr<std::vector<ListeningSocket>> sockets = Listen({.socket_path = options.socket_path,
                                                                 .socket_group = options.socket_group,
                                                                 .tcp = options.listen,
                                                                 .tcp_reach = ReachOf(options)},
                                                                options.inherited);
  if (!sockets.ok()) return sockets.status();
  for (const ListeningSocket& socket : *sockets) server->addresses_.push_back(socket.Name());
  if (sockets->empty()) return server;
  absl::StatusOr<std::unique_ptr<Acceptor>> acceptor = Acceptor::Start(
      *std::move(sockets), *server->connections_,
      {.log = options.log, .hand_over = [raw = server.get()](UniqueFd fd, const ListeningSocket& socket, size_t place) {
         grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters connection;
         connection.listener_fd = socket.fd.get();
         connection.fd = fd.Release();
         const bool is_unix = socket.kind == ListeningSocket::Kind::kUnix;
         (is_unix ? raw->unix_doors_[place] : raw->tcp_door_)->HandleNewConnection(&connection);
       }});
  if (!acceptor.ok()) return acceptor.status();
  server->acceptor_ = *std::move(acceptor);
  const std::vector<ListeningSocket>& listens = server->acceptor_->sockets();
  if (std::any_of(listens.begin(), listens.end(),
                  [](const ListeningSocket& socket) { return socket.kind == ListeningSocket::Kind::kTcp; })) {
    server->stream_watch_ = std::make_unique<StreamWatch>(
        *server->connections_,
        StreamWatch::Options{
            .log = options.log, .streams = options.transport.streams, .memory = options.transport.memory_bytes / 2});
  }
  return server;
}

Server::Server() = default;

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
      Housekeeper::Options{
          .log = log_, .on_writable = [this](bool writable) { SetHealth(writable); }, .auditor = auditor_});
}

void Server::SetPolicy(access::Policy policy) { gate_->SetPolicy(std::move(policy)); }

bool Server::GetsOn() { return runner_->GetsOn(); }

size_t Server::waiting() const { return runner_->waiting(); }

Server::Statistics Server::GetStatistics() const {
  return {.calls = statistics_.get(),
          .active_calls = runner_->active(),
          .waiting_changes = runner_->workers().waiting(),
          .waiting_reads = runner_->readers().waiting(),
          .change_waits = &runner_->workers().waits(),
          .read_waits = &runner_->readers().waits(),
          .limits = &gate_->limiter().statistics(),
          .open = connections_->CountOpen(),
          .accepted = acceptor_ == nullptr ? nullptr : &acceptor_->statistics(),
          .hung_up = stream_watch_ == nullptr ? nullptr : &stream_watch_->hung_up()};
}

std::shared_ptr<grpc::Channel> Server::InProcessChannel() { return server_->InProcessChannel({}); }

const std::vector<ListeningSocket>& Server::sockets() const {
  static const std::vector<ListeningSocket> none;
  return acceptor_ == nullptr ? none : acceptor_->sockets();
}

void Server::HandOver(absl::Duration grace) {
  const absl::Duration end = BootTime() + grace;
  if (acceptor_ != nullptr && !shut_down_) {
    acceptor_->GiveUp();
    absl::Duration last_call = BootTime();
    for (absl::Duration told = -absl::InfiniteDuration(); connections_->open_unix() + connections_->open_tcp() > 0;) {
      const absl::Duration now = BootTime();
      if (!runner_->WaitUntilIdle(absl::UnixEpoch())) last_call = now;
      if (now >= end || now - last_call >= kQuiet) break;
      if (now - told >= kGoAwayInterval) {
        TellToGo(*server_);
        told = now;
      }
      absl::SleepFor(kLookInterval);
    }
  }
  Shutdown(std::max(end - BootTime(), absl::ZeroDuration()));
}

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
    if (acceptor_ != nullptr) acceptor_->Close();
    server_->Shutdown(absl::ToChronoTime(absl::Now() + kStreamGrace));
    server_->Wait();
  }
}

}  // namespace netprov::rpc
