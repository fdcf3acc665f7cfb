// What a split of the daemon costs at least, in which a process without privileges speaks gRPC and another one with
// them talks to the kernel: one hop more per call, over a socketpair, of the request and the answer as bytes. Reads and
// creations of pairs are made of the real daemon, alone and with such a hop ahead of each, in turns. The hop's worker
// parses and answers; checking the request again, which it would have to, is not in it.
#include <grpcpp/grpcpp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "netprov/v1/namespace.grpc.pb.h"
#include "netprov/v1/veth.grpc.pb.h"
#include "server/base/unique_fd.h"
#include "tests/testing/private_host.h"
#include "tests/testing/process.h"

namespace netprov::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr char kTarget[] = "unix:/run/netprov/netprovd.sock";
constexpr size_t kClients = 16;
constexpr std::chrono::milliseconds kTurn(500);
constexpr size_t kPairsInARow = 16;
constexpr size_t kLongestMessage = 65536;

void Require(bool ok, const std::string& what) {
  if (ok) return;
  std::fprintf(stderr, "%s failed\n", what.c_str());
  std::exit(1);
}

void Require(const grpc::Status& status, const char* what) {
  Require(status.ok(), absl::StrCat(what, ": ", status.error_message()));
}

// ---- The hop.

// Both ends of a way to the worker.
struct Way {
  UniqueFd front;
  UniqueFd worker;
};

std::string Receive(int socket) {
  std::string bytes(kLongestMessage, '\0');
  const ssize_t size = ::recv(socket, bytes.data(), bytes.size(), 0);
  bytes.resize(static_cast<size_t>(std::max<ssize_t>(size, 0)));
  return bytes;
}

// The first byte says what the request is; the answer is much like the daemon's.
void Work(int socket, const v1::Namespace& netns, const v1::Veth& veth) {
  for (std::string bytes = Receive(socket); !bytes.empty(); bytes = Receive(socket)) {
    const bool is_read = bytes.front() == 'r';
    bytes.erase(0, 1);
    std::string answer;
    if (is_read) {
      v1::GetNamespaceRequest request;
      Require(request.ParseFromString(bytes) && netns.SerializeToString(&answer), "the worker");
    } else {
      v1::CreateVethRequest request;
      Require(request.ParseFromString(bytes) && veth.SerializeToString(&answer), "the worker");
    }
    Require(::send(socket, answer.data(), answer.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(answer.size()), "send");
  }
}

// Sends a request and takes the answer as a front would.
template <typename Answer, typename Request>
void Hop(int socket, char kind, const Request& request) {
  std::string bytes(1, kind);
  Require(request.AppendToString(&bytes), "a request");
  Require(::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size()), "send");
  Answer answer;
  Require(answer.ParseFromString(Receive(socket)) && !answer.name().empty(), "an answer");
}

// Starts a process that serves each way with a thread of its own; it ends with this one. To be called while there is
// one thread.
void StartWorker(std::vector<Way>& ways) {
  v1::Namespace netns;
  netns.set_name("namespaces/blue");
  netns.set_uid("0b6c9d5e-6f0e-4f39-9f0e-2f6d0c7b8a11");
  v1::Veth veth;
  veth.set_name("veths/v0");
  veth.set_uid(netns.uid());
  for (v1::VethEndpoint* const end : {veth.mutable_endpoint_a(), veth.mutable_endpoint_b()}) {
    end->set_namespace_(netns.name());
    end->set_interface_name("bench-host0");
    end->set_mac_address("02:00:00:00:00:01");
    end->set_mtu(1500);
  }
  const pid_t child = ::fork();
  Require(child >= 0, "fork");
  if (child != 0) {
    for (Way& way : ways) way.worker = UniqueFd();
    return;
  }
  for (Way& way : ways) way.front = UniqueFd();
  std::vector<std::thread> threads;
  threads.reserve(ways.size());
  for (const Way& way : ways) {
    threads.emplace_back([&way, &netns, &veth] { Work(way.worker.get(), netns, veth); });
  }
  for (std::thread& thread : threads) thread.join();
  ::_exit(0);
}

// ---- What is measured.

struct Measured {
  std::string name;
  std::vector<double> per_second = {};  // of each turn
  std::vector<double> us = {};          // of each call
};

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : values[values.size() / 2];
}

double Percentile99(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : values[values.size() * 99 / 100];
}

double Timed(const std::function<void()>& call) {
  const Clock::time_point start = Clock::now();
  call();
  return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

// Calls from so many threads for one turn; `call` has the number of its thread.
void Turn(Measured& measured, size_t clients, const std::function<void(size_t)>& call) {
  std::vector<std::vector<double>> each(clients);
  std::vector<std::thread> threads;
  const Clock::time_point end = Clock::now() + kTurn;
  for (size_t i = 0; i < clients; ++i) {
    threads.emplace_back([&, i] {
      while (Clock::now() < end) each[i].push_back(Timed([&] { call(i); }));
    });
  }
  for (std::thread& thread : threads) thread.join();
  size_t calls = 0;
  for (const std::vector<double>& row : each) {
    calls += row.size();
    measured.us.insert(measured.us.end(), row.begin(), row.end());
  }
  measured.per_second.push_back(static_cast<double>(calls) / std::chrono::duration<double>(kTurn).count());
}

class Host {
 public:
  Host() : daemon_({testing::kNetprovd}) {
    Require(!daemon_.WaitForLine("listening address=unix:").empty(), "the daemon");
    for (size_t i = 0; i < kClients; ++i) {
      grpc::ChannelArguments arguments;
      // A connection of its own.
      arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
      const auto channel = grpc::CreateCustomChannel(kTarget, grpc::InsecureChannelCredentials(), arguments);
      Require(channel->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(10)), "to connect");
      namespaces_.push_back(v1::NamespaceService::NewStub(channel));
      if (i == 0) veths_ = v1::VethService::NewStub(channel);
    }
    v1::CreateNamespaceRequest request;
    request.set_namespace_id("blue");
    v1::Namespace response;
    grpc::ClientContext context;
    Require(namespaces_[0]->CreateNamespace(&context, request, &response), "CreateNamespace");
  }

  static v1::GetNamespaceRequest ReadRequest() {
    v1::GetNamespaceRequest request;
    request.set_name("namespaces/blue");
    return request;
  }

  void Read(size_t client) {
    grpc::ClientContext context;
    v1::Namespace response;
    Require(namespaces_[client]->GetNamespace(&context, ReadRequest(), &response), "GetNamespace");
  }

  static v1::CreateVethRequest CreateRequest(size_t i) {
    v1::CreateVethRequest request;
    request.set_veth_id(absl::StrCat("v", i));
    request.mutable_veth()->mutable_endpoint_a()->mutable_host();
    request.mutable_veth()->mutable_endpoint_a()->set_interface_name(absl::StrCat("bench-host", i));
    request.mutable_veth()->mutable_endpoint_b()->set_namespace_("namespaces/blue");
    request.mutable_veth()->mutable_endpoint_b()->set_interface_name(absl::StrCat("eth", i));
    return request;
  }

  void Create(size_t i) {
    grpc::ClientContext context;
    v1::Veth response;
    Require(veths_->CreateVeth(&context, CreateRequest(i), &response), "CreateVeth");
  }

  void Delete(size_t i) {
    grpc::ClientContext context;
    v1::DeleteVethRequest request;
    request.set_name(absl::StrCat("veths/v", i));
    google::protobuf::Empty response;
    Require(veths_->DeleteVeth(&context, request, &response), "DeleteVeth");
  }

 private:
  testing::Process daemon_;
  std::vector<std::unique_ptr<v1::NamespaceService::Stub>> namespaces_;
  std::unique_ptr<v1::VethService::Stub> veths_;
};

void Print(const std::vector<const Measured*>& rows, bool has_rate) {
  absl::PrintF("%-34s %10s %10s %10s %8s\n", "", "calls/s", "p50 us", "p99 us", "of alone");
  for (const Measured* const row : rows) {
    const double ratio = has_rate ? Median(row->per_second) / Median(rows.front()->per_second)
                                  : Median(row->us) / Median(rows.front()->us);
    absl::PrintF("%-34s %10.0f %10.1f %10.1f %7.0f%%\n", row->name, Median(row->per_second), Median(row->us),
                 Percentile99(row->us), 100 * ratio);
  }
  std::printf("\n");
}

int Main(int argc, char** argv) {
  int turns = 9;
  if (argc > 2 || (argc == 2 && !absl::SimpleAtoi(argv[1], &turns)) || turns < 1 || turns > 1000) {
    std::fprintf(stderr, "usage: %s [TURNS, 1 to 1000]\n", argv[0]);
    return 2;
  }
  const std::string failure = testing::EnterPrivateHost();
  Require(failure.empty(), failure);
  std::vector<Way> ways(kClients);
  for (Way& way : ways) {
    std::array<int, 2> ends = {};
    Require(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) == 0, "socketpair");
    way = {.front = UniqueFd(ends[0]), .worker = UniqueFd(ends[1])};
  }
  StartWorker(ways);
  const auto hop_read = [&](size_t client) { Hop<v1::Namespace>(ways[client].front.get(), 'r', Host::ReadRequest()); };
  const auto hop_create = [&](size_t i) { Hop<v1::Veth>(ways[0].front.get(), 'c', Host::CreateRequest(i)); };
  Host host;
  Measured one{"read"};
  Measured one_hop{"read with a hop"};
  Measured hop{"the hop of a read by itself"};
  Measured many{"16 clients: read"};
  Measured many_hop{"16 clients: read with a hop"};
  Measured create{"create a pair"};
  Measured create_hop{"create a pair with a hop"};
  Measured created_hop{"the hop of a creation by itself"};
  for (int turn = 0; turn < turns; ++turn) {
    Turn(one, 1, [&](size_t i) { host.Read(i); });
    Turn(one_hop, 1, [&](size_t i) {
      hop_read(i);
      host.Read(i);
    });
    Turn(hop, 1, hop_read);
    Turn(many, kClients, [&](size_t i) { host.Read(i); });
    Turn(many_hop, kClients, [&](size_t i) {
      hop_read(i);
      host.Read(i);
    });
    for (const bool hops : {false, true}) {
      for (size_t i = 0; i < kPairsInARow; ++i) {
        Measured& measured = hops ? create_hop : create;
        measured.us.push_back(Timed([&] {
          if (hops) hop_create(i);
          host.Create(i);
        }));
        if (hops) created_hop.us.push_back(Timed([&] { hop_create(i); }));
      }
      for (size_t i = 0; i < kPairsInARow; ++i) host.Delete(i);
    }
  }
  absl::PrintF("%d turns of %d ms, and of %d pairs\n\n", turns, static_cast<int>(kTurn.count()),
               static_cast<int>(kPairsInARow));
  Print({&one, &one_hop, &hop}, /*has_rate=*/false);
  Print({&many, &many_hop}, /*has_rate=*/true);
  Print({&create, &create_hop, &created_hop}, /*has_rate=*/false);
  return 0;
}

}  // namespace
}  // namespace netprov::bench

int main(int argc, char** argv) { return netprov::bench::Main(argc, argv); }
