#include "server/rpc/stream_watch.h"

#include <arpa/inet.h>
#include <grpc/grpc.h>
#include <grpc/support/alloc.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <memory>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "server/base/boot_time.h"

namespace netprov::rpc {
namespace {

using nlohmann::json;

constexpr absl::Duration kReportInterval = absl::Seconds(1);

// How often gRPC is asked how many calls there are: all streams of a connection that is hung up on end at once, and
// keep a thread of gRPC's that long.
constexpr absl::Duration kAsking = absl::Milliseconds(50);

// None of these throw, whatever `of` is.
json Parse(absl::string_view text) { return json::parse(text.begin(), text.end(), nullptr, false); }

const json& Member(const json& of, const char* key) {
  static const json none;
  const auto found = of.find(key);
  return found == of.end() ? none : *found;
}

// Numbers of 64 bits are strings, and are left out where they are 0.
int64_t Number(const json& of, const char* key) {
  const json& text = Member(of, key);
  int64_t number = 0;
  return text.is_string() && absl::SimpleAtoi(text.get_ref<const std::string&>(), &number) ? number : 0;
}

// Of an Address, where it is one of TCP.
std::string NameIn(const json& address) {
  const json& tcp = Member(address, "tcpip_address");
  const json& port = Member(tcp, "port");
  const json& base64 = Member(tcp, "ip_address");
  std::string octets;
  if (!port.is_number_integer() || !base64.is_string() ||
      !absl::Base64Unescape(base64.get_ref<const std::string&>(), &octets)) {
    return "";
  }
  sockaddr_storage peer = {};
  if (auto& ipv4 = reinterpret_cast<sockaddr_in&>(peer); octets.size() == sizeof(ipv4.sin_addr)) {
    ipv4.sin_family = AF_INET;
    ipv4.sin_port = htons(port.get<uint16_t>());
    std::memcpy(&ipv4.sin_addr, octets.data(), octets.size());
    return NameOf(peer);
  }
  if (auto& ipv6 = reinterpret_cast<sockaddr_in6&>(peer); octets.size() == sizeof(ipv6.sin6_addr)) {
    ipv6.sin6_family = AF_INET6;
    ipv6.sin6_port = htons(port.get<uint16_t>());
    std::memcpy(&ipv6.sin6_addr, octets.data(), octets.size());
    return NameOf(peer);
  }
  return "";
}

// What channelz answers; empty: there is no such thing any more.
std::string Take(char* answer) {
  const std::unique_ptr<char, void (*)(void*)> owned(answer, &gpr_free);
  return owned == nullptr ? "" : owned.get();
}

// Of this process, in bytes (proc(5)); 0 where nobody says.
size_t ResidentMemory() {
  std::ifstream statm("/proc/self/statm");
  size_t all = 0;
  size_t resident = 0;
  statm >> all >> resident;
  return resident * static_cast<size_t>(::sysconf(_SC_PAGESIZE));
}

// All sockets of a server, which come in pages in the order of their numbers.
std::vector<int64_t> SocketsOf(int64_t server) {
  std::vector<int64_t> sockets;
  for (intptr_t next = 0;;) {
    const std::vector<int64_t> page = SocketsIn(Take(::grpc_channelz_get_server_sockets(server, next, 0)));
    if (page.empty() || page.back() < next) return sockets;
    sockets.insert(sockets.end(), page.begin(), page.end());
    next = page.back() + 1;
  }
}

}  // namespace

std::vector<ServerCalls> ServersIn(absl::string_view text) {
  std::vector<ServerCalls> servers;
  const json response = Parse(text);
  for (const json& server : Member(response, "server")) {
    const json& data = Member(server, "data");
    servers.push_back({.id = Number(Member(server, "ref"), "serverId"),
                       .started = Number(data, "callsStarted"),
                       .ended = Number(data, "callsSucceeded") + Number(data, "callsFailed")});
  }
  return servers;
}

std::vector<int64_t> SocketsIn(absl::string_view text) {
  std::vector<int64_t> sockets;
  const json response = Parse(text);
  for (const json& socket : Member(response, "socketRef")) sockets.push_back(Number(socket, "socketId"));
  return sockets;
}

Streams StreamsIn(absl::string_view text) {
  const json response = Parse(text);
  const json& socket = Member(response, "socket");
  const json& data = Member(socket, "data");
  return {.from = NameIn(Member(socket, "remote")),
          .started = Number(data, "streamsStarted"),
          .ended = Number(data, "streamsSucceeded") + Number(data, "streamsFailed"),
          .requests = Number(data, "messagesReceived")};
}

bool AreTooMany(const Streams& before, const Streams& now, absl::Duration elapsed, int64_t most) {
  const auto in_vain = [](const Streams& streams) { return streams.started - streams.requests; };
  const double periods = std::max(1.0, absl::FDivDuration(elapsed, kStreamWatchPeriod));
  return now.started - now.ended > 2 * most ||
         static_cast<double>(in_vain(now) - in_vain(before)) > static_cast<double>(most) * periods;
}

int64_t EndedInVain(const Streams& now) { return std::max<int64_t>(0, now.ended - now.requests); }

int64_t WaitingIn(const Streams& now, int64_t over) {
  return std::max<int64_t>(0, std::min(now.started - now.ended, now.started - now.requests - over));
}

std::vector<int64_t> WhereTooManyWait(const std::map<int64_t, int64_t>& waiting, int64_t most) {
  std::vector<std::pair<int64_t, int64_t>> by_number;
  int64_t all = 0;
  for (const auto& [connection, number] : waiting) {
    if (number > 0) by_number.emplace_back(number, connection);
    all += number;
  }
  std::sort(by_number.rbegin(), by_number.rend());
  std::vector<int64_t> found;
  for (const auto& [number, connection] : by_number) {
    if (all <= most) break;
    found.push_back(connection);
    all -= number;
  }
  return found;
}

StreamWatch::StreamWatch(Connections& connections, const Options& options)
    : connections_(connections), options_(options), last_look_(BootTime()), thread_([this] { Run(); }) {}

StreamWatch::~StreamWatch() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  stop_.notify_all();
  thread_.join();
}

void StreamWatch::Run() {
  ::pthread_setname_np(::pthread_self(), "stream-watch");
  std::unique_lock<std::mutex> lock(mutex_);
  while (!stop_.wait_for(lock, absl::ToChronoNanoseconds(kAsking), [this] { return stopping_; })) {
    lock.unlock();
    Look();
    lock.lock();
  }
}

void StreamWatch::Look() {
  const std::vector<ServerCalls> servers = ServersIn(Take(::grpc_channelz_get_servers(0)));
  int64_t calls = 0;
  int64_t open = 0;
  for (const ServerCalls& server : servers) {
    calls += server.started;
    open += server.started - server.ended;
  }
  const absl::Duration now = BootTime();
  const absl::Duration elapsed = now - last_look_;
  open -= uncounted_;
  // Fewer: a server has gone.
  const bool have_many_begun = calls < calls_ || calls - calls_ > options_.streams;
  const bool is_memory_short = open > options_.waiting && ResidentMemory() > options_.memory;
  if (open <= 2 * options_.streams && !is_memory_short && (!have_many_begun || elapsed < kStreamWatchPeriod)) return;
  calls_ = calls;
  last_look_ = now;
  uncounted_ += open;
  std::map<int64_t, Seen> seen;
  std::map<int64_t, int64_t> waiting;
  for (const ServerCalls& server : servers) {
    for (const int64_t socket : SocketsOf(server.id)) {
      Streams streams = StreamsIn(Take(::grpc_channelz_get_socket(socket)));
      uncounted_ -= streams.started - streams.ended;
      if (streams.from.empty()) continue;
      Seen& entry = seen.try_emplace(socket, Seen{.since = now - elapsed}).first->second;
      if (const auto before = seen_.find(socket); before != seen_.end()) entry = before->second;
      entry.now = std::move(streams);
      if (entry.is_hung_up) continue;
      const bool are_too_many = AreTooMany(entry.then, entry.now, now - entry.since, options_.streams);
      // Looks that come sooner don't grant more.
      if (now - entry.since >= kStreamWatchPeriod) {
        entry.then = entry.now;
        entry.since = now;
      }
      entry.over = std::max(entry.over, EndedInVain(entry.now));
      const int64_t are_waiting = WaitingIn(entry.now, entry.over);
      // A request that has just not come yet is no reason.
      waiting[socket] = std::min(std::exchange(entry.waiting, are_waiting), are_waiting);
      if (are_too_many) HangUp(entry);
    }
  }
  if (is_memory_short) {
    for (const int64_t socket : WhereTooManyWait(waiting, options_.waiting)) HangUp(seen.at(socket));
  }
  seen_ = std::move(seen);
}

void StreamWatch::HangUp(Seen& connection) {
  if (connection.is_hung_up || !connections_.HangUp(connection.now.from)) return;
  connection.is_hung_up = true;
  Report(connection.now);
}

void StreamWatch::Report(const Streams& streams) {
  hung_up_.Add();
  ++unreported_;
  if (BootTime() < next_report_) return;
  options_.log->warn(absl::StrCat("event=connection_hung_up address=", streams.from, " streams=", streams.started,
                                  " requests=", streams.requests, " count=", std::exchange(unreported_, 0)));
  next_report_ = BootTime() + kReportInterval;
}

}  // namespace netprov::rpc
