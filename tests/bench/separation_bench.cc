// What a split of the daemon costs at least, in which a process without privileges speaks gRPC and another one with
// them talks to the kernel: one hop more per call, over a socketpair, of the request and the answer as bytes. Reads and
// creations of pairs are made of the real daemon, alone and with such a hop ahead of each, in turns. The hop's worker
// parses and answers; checking the request again, which it would have to, is not in it. Beside the time that a call
// takes stands the processor time of all three processes, which other work on the machine changes least.
#include <grpcpp/grpcpp.h>
#include <sys/socket.h>
#include <time.h>
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
// one thread. Returns its number.
pid_t StartWorker(std::vector<Way>& ways) {
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
    return child;
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
  std::vector<double> cpu_us = {};      // of a call, in each turn
};

// The processor time in microseconds that these processes have had.
class Processors {
 public:
  explicit Processors(const std::vector<pid_t>& processes) {
    for (const pid_t process : processes) {
      clockid_t clock = 0;
      Require(::clock_getcpuclockid(process, &clock) == 0, "clock_getcpuclockid");
      clocks_.push_back(clock);
    }
  }

  double Time() const {
    double us = 0;
    for (const clockid_t clock : clocks_) {
      timespec time = {};
      Require(::clock_gettime(clock, &time) == 0, "clock_gettime");
      us += static_cast<double>(time.tv_sec) * 1e6 + static_cast<double>(time.tv_nsec) / 1e3;
    }
    return us;
  }

 private:
  std::vector<clockid_t> clocks_;
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
void Turn(Measured& measured, const Processors& processors, size_t clients, const std::function<void(size_t)>& call) {
  std::vector<std::vector<double>> each(clients);
  std::vector<std::thread> threads;
  const double before = processors.Time();
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
  measured.cpu_us.push_back((processors.Time() - before) / static_cast<double>(std::max<size_t>(calls, 1)));
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

  pid_t daemon() const { return daemon_.pid(); }

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

// Each beside the first.
void Print(const std::vector<const Measured*>& rows) {
  absl::PrintF("%-34s %9s %9s %9s %9s %9s %9s\n", "", "calls/s", "p50 us", "p99 us", "of alone", "cpu us", "of alone");
  for (const Measured* const row : rows) {
    absl::PrintF("%-34s %9.0f %9.1f %9.1f %8.0f%% %9.1f %8.0f%%\n", row->name, Median(row->per_second), Median(row->us),
                 Percentile99(row->us), 100 * Median(row->us) / Median(rows.front()->us), Median(row->cpu_us),
                 100 * Median(row->cpu_us) / Median(rows.front()->cpu_us));
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
  const pid_t worker = StartWorker(ways);
  const auto hop_read = [&](size_t client) { Hop<v1::Namespace>(ways[client].front.get(), 'r', Host::ReadRequest()); };
  const auto hop_create = [&](size_t i) { Hop<v1::Veth>(ways[0].front.get(), 'c', Host::CreateRequest(i)); };
  Host host;
  const Processors processors({::getpid(), worker, host.daemon()});
  Measured one{"read"};
  Measured one_hop{"read with a hop"};
  Measured hop{"the hop of a read by itself"};
  Measured many{"16 clients: read"};
  Measured many_hop{"16 clients: read with a hop"};
  Measured create{"create a pair"};
  Measured create_hop{"create a pair with a hop"};
  Measured created_hop{"the hop of a creation by itself"};
  for (int turn = 0; turn < turns; ++turn) {
    Turn(one, processors, 1, [&](size_t i) { host.Read(i); });
    Turn(one_hop, processors, 1, [&](size_t i) {
      hop_read(i);
      host.Read(i);
    });
    Turn(hop, processors, 1, hop_read);
    Turn(many, processors, kClients, [&](size_t i) { host.Read(i); });
    Turn(many_hop, processors, kClients, [&](size_t i) {
      hop_read(i);
      host.Read(i);
    });
    for (Measured* const measured : {&create, &create_hop, &created_hop}) {
      const double before = processors.Time();
      for (size_t i = 0; i < kPairsInARow; ++i) {
        measured->us.push_back(Timed([&] {
          if (measured != &create) hop_create(i);
          if (measured != &created_hop) host.Create(i);
        }));
      }
      measured->cpu_us.push_back((processors.Time() - before) / kPairsInARow);
      if (measured == &created_hop) continue;
      for (size_t i = 0; i < kPairsInARow; ++i) host.Delete(i);
    }
  }
  absl::PrintF("%d turns of %d ms, and of %d pairs\n\n", turns, static_cast<int>(kTurn.count()),
               static_cast<int>(kPairsInARow));
  Print({&one, &one_hop, &hop});
  Print({&many, &many_hop});
  Print({&create, &create_hop, &created_hop});
  return 0;
}

}  // namespace
}  // namespace netprov::bench

int main(int argc, char** argv) { return netprov::bench::Main(argc, argv); }
