// What TLS and the policy cost a read: calls per second over a unix socket, TCP in plain text and TCP with certificates
// of both sides, of one server over the fake kernel, in turns.
#include <grpcpp/grpcpp.h>
#include <spdlog/sinks/null_sink.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "client/cli/pki.h"
#include "netprov/v1/namespace.grpc.pb.h"
#include "server/access/policy.h"
#include "server/engine/engine.h"
#include "server/engine/fake_kernel.h"
#include "server/engine/registry.h"
#include "server/rpc/server.h"
#include "server/rpc/tls.h"

namespace netprov::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kClients = 16;
constexpr std::chrono::milliseconds kTurn(1000);

void Require(bool ok, const char* what) {
  if (ok) return;
  std::fprintf(stderr, "%s failed\n", what);
  std::exit(1);
}

// The value of a result.
template <typename T>
auto Get(T result, const char* what) {
  Require(result.ok(), what);
  return *std::move(result);
}

std::string Read(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// A server with one namespace, and everybody an admin.
struct Host {
  Host(const std::string& directory, rpc::ServerOptions options) {
    registry = Get(engine::Registry::Open(directory + "/registry.db"), "the registry");
    engine = std::make_unique<engine::Engine>(kernel, *registry);
    access::Rule everybody{.who = {{.kind = access::Principal::Kind::kPlaintext},
                                   {.kind = access::Principal::Kind::kCommonName, .pattern = "*"},
                                   {.kind = access::Principal::Kind::kUid, .id = ::geteuid()}},
                           .role = access::BuiltInRoles().back()};
    // Not the rule of root, which is not looked at closely.
    everybody.resources = {"namespaces/*"};
    options.policy = access::Policy({everybody});
    options.log = std::make_shared<spdlog::logger>("bench", std::make_shared<spdlog::sinks::null_sink_mt>());
    options.log->set_level(spdlog::level::off);
    server = Get(rpc::Server::Start(*engine, std::move(options)), "the server");
    Require(engine->Recover().ok(), "the recovery");
    Require(engine->CreateNamespace({.id = "blue"}).ok(), "the namespace");
    server->Serve();
  }

  engine::FakeKernel kernel;
  std::unique_ptr<engine::Registry> registry;
  std::unique_ptr<engine::Engine> engine;
  std::unique_ptr<rpc::Server> server;
};

// A way to reach a server, and what each turn came to.
struct Way {
  std::string name;
  std::string target;
  std::shared_ptr<grpc::ChannelCredentials> credentials;
  std::vector<std::unique_ptr<v1::NamespaceService::Stub>> stubs = {};
  std::vector<double> per_second = {};
  std::vector<double> latency_us = {};  // of all calls
};

// Connects each client, so that no turn has a handshake in it.
void Connect(Way& way) {
  for (int i = 0; i < kClients; ++i) {
    grpc::ChannelArguments arguments;
    // A connection of its own.
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    const auto channel = grpc::CreateCustomChannel(way.target, way.credentials, arguments);
    Require(channel->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(10)), "to connect");
    way.stubs.push_back(v1::NamespaceService::NewStub(channel));
  }
}

void Turn(Way& way) {
  std::vector<std::vector<double>> each(kClients);
  std::vector<std::thread> clients;
  const Clock::time_point end = Clock::now() + kTurn;
  for (int i = 0; i < kClients; ++i) {
    clients.emplace_back([&, i] {
      v1::GetNamespaceRequest request;
      request.set_name("namespaces/blue");
      v1::Namespace response;
      while (Clock::now() < end) {
        grpc::ClientContext context;
        const Clock::time_point start = Clock::now();
        const grpc::Status status = way.stubs[i]->GetNamespace(&context, request, &response);
        if (!status.ok()) {
          std::fprintf(stderr, "%s: %s\n", way.name.c_str(), status.error_message().c_str());
          std::exit(1);
        }
        each[i].push_back(std::chrono::duration<double, std::micro>(Clock::now() - start).count());
      }
    });
  }
  for (std::thread& client : clients) client.join();
  size_t calls = 0;
  for (const auto& row : each) {
    calls += row.size();
    way.latency_us.insert(way.latency_us.end(), row.begin(), row.end());
  }
  way.per_second.push_back(static_cast<double>(calls) / std::chrono::duration<double>(kTurn).count());
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

int Main(int argc, char** argv) {
  // As the daemon does.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  int turns = 9;
  if (argc > 2 || (argc == 2 && !absl::SimpleAtoi(argv[1], &turns)) || turns < 1 || turns > 1000) {
    std::fprintf(stderr, "usage: %s [TURNS, 1 to 1000]\n", argv[0]);
    return 2;
  }
  char name[] = "/tmp/transport_bench.XXXXXX";
  const std::string directory = ::mkdtemp(name);
  const std::string pki = directory + "/pki";
  Require(cli::RunPki({.action = cli::PkiCommand::Action::kInit,
                       .directory = pki,
                       .servers = {"127.0.0.1"},
                       .clients = {"bench"},
                       .lifetime = absl::Hours(24)},
                      absl::Now())
              .ok(),
          "pki");
  {
    std::filesystem::create_directories(directory + "/plain");
    std::filesystem::create_directories(directory + "/secure");
    const Host plain(directory + "/plain",
                     {.socket_path = directory + "/socket", .listen = {"127.0.0.1:0"}, .insecure = true});
    const auto tls = Get(rpc::Tls::Open({.certificate = pki + "/server.pem",
                                         .key = pki + "/server-key.pem",
                                         .client_ca = pki + "/ca.pem",
                                         .crl = pki + "/crl.pem"},
                                        directory + "/tls", nullptr),
                         "TLS");
    const Host secure(directory + "/secure", {.listen = {"127.0.0.1:0"}, .tls = tls.get()});
    std::array<Way, 3> ways = {
        Way{"unix", "unix:" + directory + "/socket", grpc::InsecureChannelCredentials()},
        Way{"tcp", plain.server->addresses().back(), grpc::InsecureChannelCredentials()},
        Way{"tcp+mtls", secure.server->addresses().back(),
            grpc::SslCredentials({.pem_root_certs = Read(pki + "/ca.pem"),
                                  .pem_private_key = Read(pki + "/bench-key.pem"),
                                  .pem_cert_chain = Read(pki + "/bench.pem")})},
    };
    for (Way& way : ways) Connect(way);
    for (int turn = 0; turn < turns; ++turn) {
      for (Way& way : ways) Turn(way);
    }
    absl::PrintF("GetNamespace, %d clients with a connection each, %d turns of %d ms\n\n", kClients, turns,
                 static_cast<int>(kTurn.count()));
    absl::PrintF("%-10s %12s %12s %12s %12s\n", "transport", "calls/s", "p50 us", "p99 us", "of tcp");
    for (Way& way : ways) {
      std::vector<double> ratios;
      for (int turn = 0; turn < turns; ++turn) ratios.push_back(way.per_second[turn] / ways[1].per_second[turn]);
      std::sort(way.latency_us.begin(), way.latency_us.end());
      absl::PrintF("%-10s %12.0f %12.0f %12.0f %11.0f%%\n", way.name, Median(way.per_second),
                   way.latency_us[way.latency_us.size() / 2], way.latency_us[way.latency_us.size() * 99 / 100],
                   100 * Median(ratios));
    }
  }
  std::filesystem::remove_all(directory);
  return 0;
}

}  // namespace
}  // namespace netprov::bench

int main(int argc, char** argv) { return netprov::bench::Main(argc, argv); }
